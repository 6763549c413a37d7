//! Files and directories that come from the worker (`buildbot/steps/transfer.py`).

use std::path::{Path, PathBuf};

use bytestring::ByteString;
use model::Results;
use worker_protocol::{Command, Compression, Glob, StatFile, UploadDirectory, UploadFile};

use super::download::{block_size, mode};
use crate::build::{
    halt::Halt,
    running::Wiring,
    step::{Step, base_name},
    transfer::{Transfer, blocking},
    unpack::{Limits, unpack},
};

/// One file.
pub(super) async fn file(step: &mut Step) -> Result<Results, Halt> {
    let (source, destination) = (step.args.needed("workersrc")?, step.args.needed("masterdest")?);
    step.log("stdio").await?;
    if step.summary.description.is_empty() {
        step.summary.description = vec![format!("uploading {}", base_name(&source))];
        step.say().await?;
    }
    if step.summary.done.is_empty() {
        step.summary.done = step.summary.description.clone();
    }
    add_link(step, &destination).await?;
    let path = step.master_path(&destination);
    upload_file(step, &source, &path).await
}

/// One directory.
pub(super) async fn directory(step: &mut Step) -> Result<Results, Halt> {
    let (source, destination) = (step.args.needed("workersrc")?, step.args.needed("masterdest")?);
    step.log("stdio").await?;
    step.summary.done = vec![format!("uploading {}", base_name(&source))];
    add_link(step, &destination).await?;
    let path = step.master_path(&destination);
    upload_directory(step, &source, &path).await
}

/// Any number of files and directories, each under its own name.
pub(super) async fn multiple(step: &mut Step) -> Result<Results, Halt> {
    let destination = step.args.needed("masterdest")?;
    let mut sources = step.args.texts("workersrcs");
    step.log("stdio").await?;
    if sources.is_empty() {
        return Ok(Results::Skipped);
    }
    if step.args.truth("glob") {
        sources = find(step, &sources).await?;
    }
    let files = if sources.len() == 1 { "file" } else { "files" };
    step.summary.done = vec![format!("uploading {} {files}", sources.len())];
    let mut results = if sources.is_empty() { Results::Skipped } else { Results::Success };
    let into = step.master_path(&destination);
    for source in &sources {
        if upload_any(step, source, &into).await? == Results::Failure {
            results = Results::Failure;
            break;
        }
    }
    add_link(step, &destination).await?;
    Ok(results)
}

/// What the patterns match on the worker. A worker that finds nothing has nothing.
async fn find(step: &mut Step, patterns: &[String]) -> Result<Vec<String>, Halt> {
    let mut found = Vec::new();
    for pattern in patterns {
        let path = step.join(&step.workdir(), pattern).into();
        let finished = step.command(Command::Glob(Glob { path }), Wiring::default()).await?;
        found.extend(finished.files.into_iter().flatten());
    }
    Ok(found)
}

async fn upload_any(step: &mut Step, source: &str, into: &Path) -> Result<Results, Halt> {
    let workdir = step.workdir();
    let stat = StatFile { file: source.into(), workdir: workdir.clone() };
    let wiring = Wiring::log(step.log("stdio").await?);
    let finished = step.command(Command::Stat(stat), wiring).await?;
    let problem = match finished.stat.filter(|_| finished.is_success()) {
        Some(stat) => {
            // A worker on Windows names files its own way.
            let name = base_name(source).rsplit('\\').next().unwrap_or_default();
            let name =
                if step.worker().system == worker_protocol::System::Nt { name } else { base_name(source) };
            match plain_name(name) {
                Some(name) if stat.is_directory() => {
                    return upload_directory(step, source, &into.join(name)).await;
                }
                Some(name) if stat.is_file() => return upload_file(step, source, &into.join(name)).await,
                Some(_) => format!("{source} is neither a regular file, nor a directory"),
                None => format!("{source} has no name that a file of the master could have"),
            }
        }
        None => format!("File {workdir}/{source} not available at worker"),
    };
    step.text_log("stderr", &problem).await?;
    Ok(Results::Failure)
}

/// A name that stays in its directory: it may come from the worker.
fn plain_name(name: &str) -> Option<&str> {
    (!matches!(name, "" | "." | "..") && !name.contains('/')).then_some(name)
}

async fn upload_file(step: &mut Step, source: &str, destination: &Path) -> Result<Results, Halt> {
    let max_size = step.args.count("maxsize")?;
    let mut transfer = Transfer::upload(destination, max_size).await.map_err(Halt::Broken)?;
    let mut command = UploadFile::new(step.workdir(), source);
    command.block_size = block_size(step)?;
    command.max_size = max_size;
    command.keep_times = step.args.truth("keepstamp");
    let mode = mode(step)?;
    let wiring = Wiring { transfer: Some(&mut transfer), ..Wiring::log(step.log("stdio").await?) };
    let finished = step.command(Command::UploadFile(command), wiring).await?;
    if finished.rc.is_some_and(|rc| rc != 0) {
        return Ok(Results::Failure);
    }
    transfer.keep(mode).await.map_err(Halt::Broken)?;
    Ok(Results::Success)
}

async fn upload_directory(step: &mut Step, source: &str, destination: &Path) -> Result<Results, Halt> {
    let max_size = step.args.count("maxsize")?;
    let compression = match step.args.text("compress").as_deref() {
        Some("gz") => Compression::Gzip,
        Some("bz2") => Compression::Bzip2,
        _ => Compression::None,
    };
    // The archive waits beside what it becomes, where there is room for it.
    let archive: PathBuf = destination.with_added_extension("ganger-tar");
    let mut transfer = Transfer::upload(&archive, max_size).await.map_err(Halt::Broken)?;
    let mut command = UploadDirectory::new(step.workdir(), ByteString::from(source));
    command.block_size = block_size(step)?;
    command.max_size = max_size;
    command.compression = compression;
    let wiring = Wiring { transfer: Some(&mut transfer), ..Wiring::log(step.log("stdio").await?) };
    let finished = step.command(Command::UploadDirectory(command), wiring).await?;
    if finished.rc.is_some_and(|rc| rc != 0) {
        return Ok(Results::Failure);
    }
    let archive = transfer.take().map_err(Halt::Broken)?;
    let to = destination.to_owned();
    let unpacked = blocking(move || unpack(&archive, compression, &to, Limits::default())).await;
    unpacked.map_err(|error| {
        let shown = destination.display();
        Halt::Broken(format!("the uploaded directory cannot be unpacked to {shown}: {error}"))
    })?;
    Ok(Results::Success)
}

async fn add_link(step: &mut Step, destination: &str) -> Result<(), Halt> {
    let Some(url) = step.args.text("url") else { return Ok(()) };
    let text = step.args.text("urlText");
    let text = text.unwrap_or_else(|| base_name(destination.trim_end_matches('/')).to_owned());
    step.add_url(&text, &url).await
}
