//! Directories and files on the worker (`buildbot/steps/worker.py`). Like Buildbot's, these steps have no logs.

use bytestring::ByteString;
use model::Results;
use worker_protocol::{Command, CopyDirectory, MakeDirectory, RemoveDirectory, StatFile};

use crate::build::{halt::Halt, running::Wiring, step::Step};

/// Whether there is a file.
pub(super) async fn file_exists(step: &mut Step) -> Result<Results, Halt> {
    let file = step.args.needed("file")?.into();
    let command = Command::Stat(StatFile { file, workdir: ByteString::new() });
    let finished = step.command(command, Wiring::default()).await?;
    let (done, results) = match finished.stat {
        Some(stat) if finished.is_success() && stat.is_file() => ("File found.", Results::Success),
        Some(_) if finished.is_success() => ("Not a file.", Results::Failure),
        _ => ("File not found.", Results::Failure),
    };
    step.summary.done = vec![done.to_owned()];
    Ok(results)
}

/// Makes a directory.
pub(super) async fn make(step: &mut Step) -> Result<Results, Halt> {
    let dir = step.args.needed("dir")?.into();
    run(step, Command::MakeDirectory(MakeDirectory { dir }), "Create failed.").await
}

/// Removes a directory.
pub(super) async fn remove(step: &mut Step) -> Result<Results, Halt> {
    let remove = RemoveDirectory::new([step.args.needed("dir")?]);
    run(step, Command::RemoveDirectory(remove), "Delete failed.").await
}

/// Copies a directory.
pub(super) async fn copy(step: &mut Step) -> Result<Results, Halt> {
    let (from, to) = (step.args.needed("src")?, step.args.needed("dest")?);
    let mut copy = CopyDirectory::new(from.as_str(), to.as_str());
    copy.timeout = step.args.seconds("timeout")?;
    copy.max_time = step.args.seconds("maxTime")?.filter(|time| !time.is_zero());
    step.summary.done = vec![format!("Copied {from} to {to}")];
    run(step, Command::CopyDirectory(copy), &format!("Copying {from} to {to} failed.")).await
}

async fn run(step: &mut Step, command: Command, failed: &str) -> Result<Results, Halt> {
    if step.command(command, Wiring::default()).await?.is_success() {
        return Ok(Results::Success);
    }
    step.summary.done = vec![failed.to_owned()];
    Ok(Results::Failure)
}
