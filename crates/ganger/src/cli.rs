//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{commands, exit::Exit};

/// A Buildbot master that stock Buildbot workers connect to.
#[derive(Debug, Parser)]
#[command(name = "ganger", version, after_help = Exit::table(), subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Say more: -v tells what is done, -vv also how.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// When to use colours. `auto`: on a terminal, unless NO_COLOR is set.
    #[arg(long, global = true, value_enum, default_value_t)]
    pub(crate) color: Color,

    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Makes it the rule for all output.
    pub(crate) fn write_global(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show it all: a master, a stock worker from PyPI and a build, in a scratch directory.
    Quickstart(commands::quickstart::Quickstart),
    /// Make a directory with a commented ganger.toml to start from.
    New(commands::new::New),
    /// Say everything that is wrong with a ganger.toml.
    Check(commands::check::Check),
    /// Run the master of a directory in the foreground. HUP reloads, TERM and INT end it.
    Start(commands::start::Start),
    /// Show workers, builders and what runs.
    Status(commands::status::Status),
    /// Ask for a build.
    Force(commands::force::Force),
    /// Report a change, for schedulers to act on.
    Change(Box<commands::change::Change>),
    /// List builds, newest first.
    Builds(commands::builds::Builds),
    /// Show one build with its steps and properties.
    Build(commands::build::Build),
    /// Print the logs of a build; with -f as they come.
    Log(commands::log::Log),
    /// Stop a running build.
    StopBuild(commands::stop_build::StopBuild),
    /// Cancel a build request, or stop the build that answers it.
    Cancel(commands::cancel::Cancel),
    /// Pause a worker, and let it build again.
    Worker(commands::worker::Worker),
    /// Pools of machines: what they have, what they do and why, and what somebody else decides.
    Pool(commands::pool::Pool),
    /// Delete what is older than `[janitor]` says, now.
    Prune(commands::prune::Prune),
    /// Read the configuration again.
    Reload(commands::reload::Reload),
    /// End the master, after the builds that run.
    Shutdown(commands::shutdown::Shutdown),
    /// Try a pool on recorded demand: how long builds would wait, and what machines would cost.
    Simulate(Box<commands::simulate::Simulate>),
    /// Print a completion script for a shell.
    Completions(commands::completions::Completions),
}

/// Which master a command talks to, and how it answers.
#[derive(Args, Debug)]
pub(crate) struct Remote {
    /// The directory of the master.
    #[arg(short = 'C', long = "directory", value_name = "DIR", default_value = ".")]
    pub(crate) directory: PathBuf,

    /// Print JSON: one object, or one on each line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn help_tells_the_exit_codes() {
        let help = Cli::command().render_help().to_string();
        assert!(help.contains("69  no master answers on the control socket"), "{help}");
    }
}
