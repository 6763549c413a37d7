//! `ganger cancel`.

use clap::Args;

use crate::{
    cli::Remote,
    control::{Nothing, Request, RequestCancel},
    exit::{Exit, Failure},
    output,
};

/// Cancel a build request, or stop the build that answers it.
#[derive(Args, Debug)]
pub(crate) struct Cancel {
    /// The number of the request; `ganger status --json` has those that wait.
    #[arg(value_name = "REQUEST")]
    request: i64,

    /// Why; it is shown with the build.
    #[arg(long, default_value = "cancelled from the command line")]
    reason: String,

    #[command(flatten)]
    remote: Remote,
}

impl Cancel {
    /// Waits until it is cancelled, or its build was told.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let cancel = RequestCancel { buildrequestid: self.request, reason: self.reason };
        let done: Nothing = self.remote.connect().await?.call(&Request::RequestCancel(cancel)).await?;
        if self.remote.json {
            output::json(&done)?;
        } else {
            output::text(format_args!(
                "build request {} is cancelled, or its build is being stopped",
                self.request
            ))?;
        }
        Ok(Exit::Ok)
    }
}
