//! `ganger quickstart`.

use std::path::PathBuf;

use clap::Args;

use crate::{
    exit::{Exit, Failure},
    quickstart,
};

/// Show it all: a master, a stock worker from PyPI and a build, in a scratch directory.
///
/// Needs python3 with venv, git, and PyPI or an index that pip is set up for.
#[derive(Args, Debug)]
pub(crate) struct Quickstart {
    /// The directory; one below the system's directory for temporary files when left out. It is kept.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,

    /// End after the build, with exit code 1 when it did not succeed. Otherwise all goes on until Ctrl-C.
    #[arg(long)]
    once: bool,

    /// The Python that the worker runs on.
    #[arg(long, default_value = "python3")]
    python: PathBuf,

    /// The version of buildbot-worker.
    #[arg(long, value_name = "VERSION", default_value = "4.3.0")]
    worker_version: String,
}

impl Quickstart {
    /// Runs until the build is complete, or until Ctrl-C.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let Self { directory, once, python, worker_version } = self;
        quickstart::run(quickstart::Wishes { directory, once, python, worker_version }).await
    }
}
