//! Files that go to the worker (`buildbot/steps/transfer.py`).

use model::{Json, Results, SourceStamp};
use worker_protocol::{Command, DownloadFile};

use crate::build::{
    halt::Halt,
    running::Wiring,
    step::{Step, base_name},
    transfer::Transfer,
};

/// A file of the master.
pub(super) async fn file(step: &mut Step) -> Result<Results, Halt> {
    let source = step.args.needed("mastersrc")?;
    begin(step).await?;
    let path = step.master_path(&source);
    match Transfer::file(&path).await {
        Ok(transfer) => send(step, transfer).await,
        Err(error) => {
            tracing::debug!(path = %path.display(), %error, "file for a download cannot be opened");
            step.text_log("stderr", &format!("File '{source}' not available at master")).await?;
            Ok(Results::Failure)
        }
    }
}

/// A text.
pub(super) async fn string(step: &mut Step) -> Result<Results, Halt> {
    let text = step.args.needed("s")?;
    begin(step).await?;
    send(step, Transfer::text(text)).await
}

/// A value as JSON.
pub(super) async fn json_string(step: &mut Step) -> Result<Results, Halt> {
    let text = storage::python_json(step.args.get("o"));
    begin(step).await?;
    send(step, Transfer::text(text)).await
}

/// The build's properties and source stamps as JSON.
pub(super) async fn json_properties(step: &mut Step) -> Result<Results, Halt> {
    let properties = step.build.properties.values();
    let stamps: Vec<Json> = step.build.order.sourcestamps.iter().map(SourceStamp::facts).collect();
    let text = storage::python_json(&serde_json::json!({"properties": properties, "sourcestamps": stamps}));
    begin(step).await?;
    send(step, Transfer::text(text)).await
}

async fn begin(step: &mut Step) -> Result<(), Halt> {
    step.log("stdio").await?;
    let destination = step.args.needed("workerdest")?;
    step.summary.done = vec![format!("downloading to {}", base_name(&destination))];
    Ok(())
}

async fn send(step: &mut Step, mut transfer: Transfer) -> Result<Results, Halt> {
    let mut command = DownloadFile::new(step.workdir(), step.args.needed("workerdest")?);
    command.block_size = block_size(step)?;
    command.max_size = step.args.count("maxsize")?;
    command.mode = mode(step)?;
    let wiring = Wiring { transfer: Some(&mut transfer), ..Wiring::log(step.log("stdio").await?) };
    let finished = step.command(Command::DownloadFile(command), wiring).await?;
    Ok(if finished.rc.is_none_or(|rc| rc == 0) { Results::Success } else { Results::Failure })
}

/// How many bytes go in one message.
pub(super) fn block_size(step: &Step) -> Result<u32, Halt> {
    let size = step.args.count("blocksize")?.unwrap_or(16 * 1024);
    Ok(u32::try_from(size).unwrap_or(u32::MAX))
}

/// The permissions of the file.
pub(super) fn mode(step: &Step) -> Result<Option<u32>, Halt> {
    Ok(step.args.count("mode")?.map(|mode| (mode & 0o7777) as u32))
}
