//! `ganger reload`.

use clap::Args;

use crate::{
    cli::Remote,
    control::{Nothing, Reloaded, Request},
    exit::{Exit, Failure},
    output,
};

/// Read the configuration again.
#[derive(Args, Debug)]
pub(crate) struct Reload {
    #[command(flatten)]
    remote: Remote,
}

impl Reload {
    /// Waits until the new configuration is in use.
    pub(crate) async fn run(&self) -> Result<Exit, Failure> {
        let done: Reloaded = self.remote.connect().await?.call(&Request::Reload(Nothing {})).await?;
        if self.remote.json {
            output::json(&done)?;
        } else {
            if !done.warnings.is_empty() {
                output::note(&done.warnings)?;
            }
            output::text("the master uses the new configuration")?;
            for change in &done.changes {
                output::text(format_args!("  {}", output::for_terminal(change)))?;
            }
        }
        Ok(Exit::Ok)
    }
}
