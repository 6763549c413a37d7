//! `ganger quickstart`.

use std::path::PathBuf;

use clap::Args;

use crate::{
    exit::{Exit, Failure},
    quickstart,
};

/// Show it all: a master, a stock worker from PyPI and a build, in a scratch directory. Or a pool of workers.
///
/// Needs python3 with venv, git, and PyPI or an index that pip is set up for. With --pool a burst of requests of mixed
/// priorities waits for a pool that has no worker yet; it grows, builds them, and shrinks to nothing.
#[derive(Args, Debug)]
pub(crate) struct Quickstart {
    /// The directory; one below the system's directory for temporary files when left out. It is kept, but with --pool only
    /// one that was named.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,

    /// End after the build, with exit code 1 when it did not succeed. Otherwise all goes on until Ctrl-C.
    #[arg(long)]
    once: bool,

    /// Show a pool of workers; ends when all is built and the last worker is gone.
    #[arg(long, conflicts_with = "once")]
    pool: bool,

    /// How many requests the pool has to build.
    #[arg(long, requires = "pool", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=2000))]
    requests: u32,

    /// The pool, and where the master listens: the beginning of a ganger.toml whose pool is called `demo`. Otherwise its
    /// machines are processes of this one.
    #[arg(long, requires = "pool", value_name = "FILE")]
    site: Option<PathBuf>,

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
        let Self { directory, once, pool, requests, site, python, worker_version } = self;
        let pool = pool.then_some(requests);
        quickstart::run(quickstart::Wishes { pool, site, directory, once, python, worker_version }).await
    }
}
