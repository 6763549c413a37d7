//! `ganger prune`.

use clap::Args;

use crate::{
    cli::Remote,
    control::{Prune as Order, Pruned, Request},
    exit::{Exit, Failure},
    output,
};

/// Delete what is older than `[janitor]` says, now.
#[derive(Args, Debug)]
pub(crate) struct Prune {
    /// Only say how much that would be.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    remote: Remote,
}

impl Prune {
    /// Waits until it is done.
    pub(crate) async fn run(&self) -> Result<Exit, Failure> {
        let order = Request::Prune(Order { dry_run: self.dry_run });
        let Pruned { logs, build_data, builds, changes } = self.remote.connect().await?.call(&order).await?;
        if self.remote.json {
            output::json(&Pruned { logs, build_data, builds, changes })?;
        } else {
            let what = if self.dry_run { "would delete" } else { "deleted" };
            output::text(format_args!(
                "{what} the lines of {logs} logs, {build_data} pieces of build data, {builds} builds and {changes} changes"
            ))?;
        }
        Ok(Exit::Ok)
    }
}
