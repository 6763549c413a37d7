//! `ganger worker`.

use clap::{Args, Subcommand};

use crate::{
    cli::Remote,
    control::{Nothing, Request, WorkerName, WorkerPause},
    exit::{Exit, Failure},
    output::{self, strong},
};

/// Pause a worker, and let it build again.
#[derive(Args, Debug)]
pub(crate) struct Worker {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Give a worker no new builds, also after a restart; those that run go on.
    Pause(Pause),
    /// Let a worker build again that was paused, or left alone after a failure.
    Unpause(Unpause),
}

#[derive(Args, Debug)]
struct Pause {
    /// The worker.
    worker: String,

    /// Why; it is shown with the worker.
    #[arg(long, default_value = "paused from the command line")]
    reason: String,

    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Debug)]
struct Unpause {
    /// The worker.
    worker: String,

    #[command(flatten)]
    remote: Remote,
}

impl Worker {
    /// Waits until it is done.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let (remote, worker, request, done) = match self.what {
            What::Pause(Pause { worker, reason, remote }) => {
                let request = Request::WorkerPause(WorkerPause { worker: worker.clone(), reason });
                (remote, worker, request, "gets no new builds")
            }
            What::Unpause(Unpause { worker, remote }) => {
                let request = Request::WorkerUnpause(WorkerName { worker: worker.clone() });
                (remote, worker, request, "builds again")
            }
        };
        let answer: Nothing = remote.connect().await?.call(&request).await?;
        if remote.json {
            output::json(&answer)?;
        } else {
            output::text(format_args!("worker {} {done}", strong(output::for_terminal(&worker))))?;
        }
        Ok(Exit::Ok)
    }
}
