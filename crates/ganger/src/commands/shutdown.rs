//! `ganger shutdown`.

use clap::Args;

use crate::{
    cli::Remote,
    control::{self, Nothing, Request},
    exit::{Exit, Failure},
    output,
};

/// End the master, after the builds that run.
#[derive(Args, Debug)]
pub(crate) struct Shutdown {
    /// Do not wait for running builds: the next master builds them again.
    #[arg(long)]
    now: bool,

    /// Return at once, while the master still waits for its builds.
    #[arg(long)]
    no_wait: bool,

    #[command(flatten)]
    remote: Remote,
}

impl Shutdown {
    /// Waits until the master has ended.
    pub(crate) async fn run(&self) -> Result<Exit, Failure> {
        let mut client = self.remote.connect().await?;
        let done: Nothing = client.call(&Request::Shutdown(control::Shutdown { now: self.now })).await?;
        if !self.no_wait {
            client.closed().await;
        }
        if self.remote.json {
            output::json(&done)?;
        } else {
            output::text(if self.no_wait { "the master is ending" } else { "the master has ended" })?;
        }
        Ok(Exit::Ok)
    }
}
