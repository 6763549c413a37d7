//! Clean workspaces: all that is in the directory of the builder on the worker is removed.

use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use model::Results;
use storage::log::Stream;
use worker_protocol::{
    Command, CommandVersion, DownloadFile, ListDirectory, Program, RemoveDirectory, Shell, StatFile, System,
};

use crate::build::{halt::Halt, logs::LogRef, running::Wiring, step::Step, transfer::Transfer};

/// A file that is as old as the last cleaning.
const MARK: &str = ".ganger-workspace";
/// From this version on workers list directories.
const LISTS_DIRECTORIES: CommandVersion = CommandVersion::new(2, 16);
/// What steps of Buildbot leave in a directory that cannot be listed.
const USUAL: [&str; 2] = ["build", "source"];
/// Big trees take long to remove, and say nothing meanwhile.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Removes it, if a condition holds or there is none.
pub(super) async fn clean(step: &mut Step) -> Result<Results, Halt> {
    let older_than = step.args.seconds("older-than")?;
    let free_below = step.args.count("free-below")?;
    let keep = step.args.texts("keep");
    let log = step.log("stdio").await?;
    let mut due = older_than.is_none() && free_below.is_none();
    let mut kept = Results::Skipped;
    if let Some(limit) = older_than {
        let age = age(step, log).await?;
        due |= age.is_none_or(|age| age >= limit.as_secs());
        let text = match age {
            Some(age) => format!("last cleaned {age} s ago, the limit is {} s\n", limit.as_secs()),
            None => "it was never cleaned\n".to_owned(),
        };
        step.append(log, Stream::Header, &text).await?;
    }
    if let Some(limit) = free_below.filter(|_| !due) {
        let free = free(step, log).await?;
        due |= free.is_some_and(|free| free < limit);
        let text = match free {
            Some(free) => format!("{free} bytes are free, the limit is {limit}\n"),
            None => "the worker does not say how much is free\n".to_owned(),
        };
        step.append(log, Stream::Header, &text).await?;
        if free.is_none() {
            kept = Results::Warnings;
        }
    }
    if !due {
        step.summary.done = vec!["workspace kept".to_owned()];
        return Ok(kept);
    }
    let mut there = list(step, log).await?;
    there.retain(|name| !keep.contains(name));
    if !there.is_empty() {
        let mut remove = RemoveDirectory::new(there);
        remove.timeout = Some(PATIENCE);
        remove.log_environ = false;
        if !step.command(Command::RemoveDirectory(remove), Wiring::log(log)).await?.is_success() {
            return Ok(Results::Failure);
        }
    }
    if older_than.is_some() {
        let mut transfer = Transfer::text(Bytes::from_static(b"as old as the last cleaning\n"));
        let wiring = Wiring { transfer: Some(&mut transfer), ..Wiring::log(log) };
        step.command(Command::DownloadFile(DownloadFile::new(".", MARK)), wiring).await?;
    }
    Ok(Results::Success)
}

/// How many seconds ago it was cleaned, by the clocks of worker and master; `None` where it never was.
async fn age(step: &mut Step, log: LogRef) -> Result<Option<u64>, Halt> {
    let stat = StatFile { file: MARK.into(), workdir: ByteString::new() };
    let finished = step.command(Command::Stat(stat), Wiring::log(log)).await?;
    let now = step.build.journal.now().epoch_seconds();
    let mark = finished.stat.filter(|_| finished.rc == Some(0));
    Ok(mark.map(|mark| u64::try_from(now.saturating_sub(mark.modified)).unwrap_or(0)))
}

/// How many bytes are free on the disk with the directory, if the worker's system can tell.
async fn free(step: &mut Step, log: LogRef) -> Result<Option<u64>, Halt> {
    let words = match step.worker().system {
        System::Posix => vec!["df", "-Pk", "."],
        System::Nt => vec!["powershell", "-NoProfile", "-Command", "(Get-Item .).PSDrive.Free"],
    };
    let is_posix = step.worker().system == System::Posix;
    let mut shell = Shell::new(".", Program::words(words));
    shell.env = step.merged_env()?;
    shell.log_environ = false;
    let wiring = Wiring { collect_stdout: true, ..Wiring::log(log) };
    let told = step.command(Command::Shell(Box::new(shell)), wiring).await?.stdout;
    Ok(if is_posix { available(&told) } else { told.trim().parse().ok() })
}

/// From what `df -Pk` writes: kilobytes stand before the percentage, in the last line.
fn available(told: &str) -> Option<u64> {
    let fields: Vec<&str> = told.lines().last()?.split_whitespace().collect();
    let percentage = fields.iter().position(|field| field.ends_with('%'))?;
    fields.get(percentage.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1024)
}

async fn list(step: &mut Step, log: LogRef) -> Result<Vec<String>, Halt> {
    if step.worker().command_version("listdir").is_none_or(|version| version < LISTS_DIRECTORIES) {
        return Ok(USUAL.map(str::to_owned).to_vec());
    }
    let list = Command::ListDirectory(ListDirectory { dir: ".".into() });
    Ok(step.command(list, Wiring::log(log)).await?.files.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::available;

    #[test]
    fn free_space_is_before_the_percentage() {
        let told =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/my disk 100 60 40 60% /a 5% b\n";
        assert_eq!(available(told), Some(40 * 1024));
        assert_eq!(available("df: not found"), None);
        assert_eq!(available("60%"), None);
        assert_eq!(available(""), None);
    }
}
