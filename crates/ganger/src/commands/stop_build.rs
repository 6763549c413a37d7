//! `ganger stop-build`.

use clap::Args;

use super::WhichBuild;
use crate::{
    cli::Remote,
    control::{BuildStop, Nothing, Request},
    exit::{Exit, Failure},
    output,
};

/// Stop a running build.
#[derive(Args, Debug)]
pub(crate) struct StopBuild {
    #[command(flatten)]
    which: WhichBuild,

    /// Why; it is shown with the build.
    #[arg(long, default_value = "stopped from the command line")]
    reason: String,

    #[command(flatten)]
    remote: Remote,
}

impl StopBuild {
    /// Waits until the build was told.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let stop = BuildStop { build: self.which.selector(), reason: self.reason };
        let done: Nothing = self.remote.connect().await?.call(&Request::BuildStop(stop)).await?;
        if self.remote.json {
            output::json(&done)?;
        } else {
            output::text("the build is being stopped")?;
        }
        Ok(Exit::Ok)
    }
}
