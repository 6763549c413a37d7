//! What can be said on the command line. Nothing of it is secret.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Makes this machine the worker of a Ganger pool: reads its metadata, enrolls with the master, runs the stock worker.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, args_override_self = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// The instance metadata service, version 2.
    #[arg(long, value_name = "URL", default_value = "http://169.254.169.254")]
    pub(crate) metadata: String,

    /// A file with the machine's document, instead of the metadata service.
    #[arg(long, value_name = "FILE")]
    pub(crate) document: Option<PathBuf>,

    /// The user that the worker and its builds run as.
    #[arg(long, value_name = "NAME", default_value = "buildbot")]
    pub(crate) user: String,

    /// The worker's directory.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/buildbot-worker")]
    pub(crate) directory: PathBuf,

    /// Where this program keeps what it learned at enrollment, for itself alone.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/ganger")]
    pub(crate) state: PathBuf,

    /// Twisted's launcher, beside which `buildbot-worker` is installed.
    #[arg(long, value_name = "FILE", default_value = "/opt/buildbot-worker/bin/twistd")]
    pub(crate) twistd: PathBuf,

    /// What powers the machine off.
    #[arg(long, value_name = "COMMAND", default_value = "systemctl poweroff")]
    pub(crate) power_off: String,

    /// Run the worker although its user can reach the metadata service.
    #[arg(long)]
    pub(crate) allow_metadata: bool,

    /// How many seconds to try to enroll before the machine is given up.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub(crate) enroll_within: u64,

    /// Free space, in MiB, below which the workspace is emptied when there is no build.
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    pub(crate) min_free: u64,

    /// How many seconds a machine that cannot become a worker stays, for somebody to read its console.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(crate) linger: u64,

    /// How many seconds lie between two looks at the machine.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, hide = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) look: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Says with its exit code whether an address can be reached: 0 when it can.
    #[command(hide = true)]
    Reach {
        /// `HOST:PORT`.
        address: String,
    },
    /// Writes the worker's files, which standard input has as JSON; run as the worker's user.
    #[command(hide = true)]
    Furnish {
        /// The worker's directory.
        directory: PathBuf,
    },
    /// Removes what builds left; run as the worker's user.
    #[command(hide = true)]
    Clean {
        /// The worker's directory.
        directory: PathBuf,
    },
}
