//! Steps that count the warnings in the output of a command (`buildbot/steps/shell.py`,
//! `WarningCountingShellCommand`, `Compile`, `Test`).

use std::sync::{Arc, Mutex, PoisonError};

use model::{Json, Pattern, Results};
use worker_protocol::{Command, UploadFile};

use super::shell::{decode_rc, prepare};
use crate::build::{
    arguments::Arguments, halt::Halt, lines::LineReader, running::Wiring, step::Step, transfer::Transfer,
};

/// The source of the property `warnings-count`, also for subclasses.
const SOURCE: &str = "WarningCountingShellCommand";
/// Lines with warnings that are kept for the log, in bytes. More are counted only.
const MAX_KEPT: usize = 8 << 20;
/// The longest suppression file, in bytes.
const MAX_SUPPRESSIONS: u64 = 1 << 20;
/// Directories within directories that are followed.
const MAX_DEPTH: usize = 4096;

/// Runs the command and counts warnings.
pub(super) async fn run(step: &mut Step) -> Result<Results, Halt> {
    let decode = decode_rc(&step.args)?;
    let max_warnings = step.args.count("maxWarnCount")?;
    let mut counter = Counter::new(&step.args)?;
    if let Some(file) = step.args.text("suppressionFile") {
        let text = fetch(step, &file).await?;
        counter.suppressions.extend(parse_suppressions(&text, &step.args)?);
    }
    let counter = Arc::new(Mutex::new(counter));
    let looking = Arc::clone(&counter);
    let mut lines = LineReader::new(Box::new(move |line| {
        looking.lock().unwrap_or_else(PoisonError::into_inner).look(line);
    }));
    let program = step.args.command("command")?;
    let (shell, wiring) = prepare(step, program, "stdio").await?;
    let wiring = Wiring { lines: Some(&mut lines), ..wiring };
    let finished = step.command(Command::Shell(Box::new(shell)), wiring).await?;
    let (count, kept) = {
        let mut counter = counter.lock().unwrap_or_else(PoisonError::into_inner);
        (counter.count, std::mem::take(&mut counter.kept))
    };
    if count > 0 {
        step.text_log(&format!("warnings ({count})"), &kept).await?;
    }
    let earlier = step.build.properties.get("warnings-count").and_then(Json::as_u64).unwrap_or(0);
    step.set_property("warnings-count", Json::from(earlier.saturating_add(count)), SOURCE).await?;
    let results = finished.results(&decode);
    Ok(match max_warnings {
        Some(most) if count > most => results.worst(Results::Failure),
        _ if count > 0 => results.worst(Results::Warnings),
        _ => results,
    })
}

/// Finds warnings in lines.
struct Counter {
    warning: Pattern,
    enter: Option<Pattern>,
    leave: Option<Pattern>,
    /// File, line and text of a warning are groups of the pattern; else the text is the whole line.
    by_groups: bool,
    suppressions: Vec<Suppression>,
    directories: Vec<String>,
    count: u64,
    kept: String,
}

/// Warnings that do not count.
struct Suppression {
    file: Option<Pattern>,
    text: Option<Pattern>,
    lines: Option<(u64, u64)>,
}

impl Counter {
    fn new(args: &Arguments) -> Result<Self, Halt> {
        let pattern = |name: &str| match args.text(name) {
            Some(pattern) if !pattern.is_empty() => parse(args, name, &pattern).map(Some),
            _ => Ok(None),
        };
        let suppressions = args.get("suppressionList").as_array();
        let suppressions = suppressions.into_iter().flatten().map(|entry| suppression(args, entry));
        Ok(Self {
            warning: pattern("warningPattern")?
                .ok_or_else(|| args.wrong("warningPattern", "has no value", ""))?,
            enter: pattern("directoryEnterPattern")?,
            leave: pattern("directoryLeavePattern")?,
            by_groups: args.text("warningExtractor").as_deref() == Some("warnExtractFromRegexpGroups"),
            suppressions: suppressions.collect::<Result<_, _>>()?,
            directories: Vec::new(),
            count: 0,
            kept: String::new(),
        })
    }

    fn look(&mut self, line: &str) {
        if let Some(entered) = self.enter.as_ref().and_then(|enter| enter.search(line)) {
            if self.directories.len() < MAX_DEPTH {
                self.directories.push(entered.get(1).unwrap_or_default().to_owned());
            }
            return;
        }
        if !self.directories.is_empty()
            && self.leave.as_ref().is_some_and(|leave| leave.search(line).is_some())
        {
            self.directories.pop();
            return;
        }
        let Some(found) = self.warning.at_start(line) else { return };
        let (file, number, text) = if self.by_groups {
            (
                found.get(1),
                found.get(2).and_then(|number| number.parse().ok()),
                found.get(3).unwrap_or_default(),
            )
        } else {
            (None, None, line)
        };
        let file = file.filter(|file| !file.is_empty()).map(|file| match self.directories.join("/") {
            directory if directory.is_empty() => file.to_owned(),
            directory => format!("{directory}/{file}"),
        });
        if self.suppressions.iter().any(|suppression| suppression.hides(file.as_deref(), number, text)) {
            return;
        }
        self.count += 1;
        if self.kept.len() + line.len() < MAX_KEPT {
            self.kept.push_str(line);
            self.kept.push('\n');
        }
    }
}

impl Suppression {
    fn hides(&self, file: Option<&str>, number: Option<u64>, text: &str) -> bool {
        // A warning without a file is hidden whatever file is asked for.
        let file_fits = match (&self.file, file) {
            (Some(pattern), Some(file)) => pattern.begins(file),
            _ => true,
        };
        let text_fits = self.text.as_ref().is_none_or(|pattern| pattern.search(text).is_some());
        let line_fits = self
            .lines
            .is_none_or(|(first, last)| number.is_some_and(|number| (first..=last).contains(&number)));
        file_fits && text_fits && line_fits
    }
}

fn suppression(args: &Arguments, entry: &Json) -> Result<Suppression, Halt> {
    let entry = args.within(entry);
    let pattern = |name: &str| entry.text(name).map(|pattern| parse(&entry, name, &pattern)).transpose();
    Ok(Suppression {
        file: pattern("file")?,
        text: pattern("text")?,
        lines: entry.count("start")?.zip(entry.count("end")?),
    })
}

/// Reads a suppression file: `FILE : TEXT [: LINE[-LINE]]`, with `#` for remarks.
fn parse_suppressions(text: &str, args: &Arguments) -> Result<Vec<Suppression>, Halt> {
    let form =
        parse(args, "suppressionFile", r"^\s*(.+?)\s*:\s*(.+?)\s*(?:[:]\s*([0-9]+)(?:-([0-9]+))?\s*)?$")?;
    let mut suppressions = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        let Some(parts) = form.search(line) else { continue };
        let first: Option<u64> = parts.get(3).and_then(|line| line.parse().ok());
        let last = parts.get(4).and_then(|line| line.parse().ok()).or(first);
        let pattern = |at| parts.get(at).map(|pattern| parse(args, "suppressionFile", pattern)).transpose();
        suppressions.push(Suppression { file: pattern(1)?, text: pattern(2)?, lines: first.zip(last) });
    }
    Ok(suppressions)
}

fn parse(args: &Arguments, name: &str, pattern: &str) -> Result<Pattern, Halt> {
    Pattern::parse(pattern)
        .map_err(|error| args.wrong(name, &format!("is no regular expression ({pattern:?}): {error}"), ""))
}

/// The contents of a file of the worker.
async fn fetch(step: &mut Step, file: &str) -> Result<String, Halt> {
    let spool =
        tempfile::tempdir().map_err(|error| Halt::Broken(format!("no temporary directory: {error}")))?;
    let path = spool.path().join("suppressions");
    let mut transfer = Transfer::upload(&path, Some(MAX_SUPPRESSIONS)).await.map_err(Halt::Broken)?;
    let mut command = UploadFile::new(step.workdir(), file);
    command.block_size = 32 * 1024;
    let wiring = Wiring { transfer: Some(&mut transfer), ..Wiring::default() };
    if !step.command(Command::UploadFile(command), wiring).await?.is_success() {
        return Err(Halt::Failed);
    }
    transfer.keep(None).await.map_err(Halt::Broken)?;
    let text = tokio::fs::read(&path)
        .await
        .map_err(|error| Halt::Broken(format!("the suppression file cannot be read: {error}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
