//! The text of logs, and what is added to it.

use std::collections::BTreeMap;

use engine::Notice;
use engine::notice::Heard;
use model::{BuildId, LogId};
use storage::{LogRow, StepRow, log::LogKind};
use tokio::io::AsyncWrite;

use super::{
    Line, LogEnd, LogSelector, LogText, Notification, Refusal, Stream,
    house::House,
    server::{Answers, internal},
    view::{self, unreadable},
};

/// How many lines are read at a time.
const LINES: u32 = 2000;

/// How many bytes of text are put into one notification. One line that is longer has one of its own.
const TEXT: usize = 256 << 10;

/// A log that is shown.
struct Shown {
    step: String,
    number: i64,
    log: String,
    kind: LogKind,
    /// How many lines were sent.
    sent: i64,
}

/// Answers `log`.
pub(super) async fn run<W: AsyncWrite + Unpin>(
    house: &House,
    selector: LogSelector,
    answers: &mut Answers<W>,
) -> Result<LogEnd, Refusal> {
    // Before the first look at the tables, so that nothing falls in between.
    let mut notices = house.master.subscribe();
    let mut build = view::find_build(house, &selector.build).await?;
    let mut shown = BTreeMap::new();
    loop {
        // What is read after a build is complete is all there is.
        let complete = build.complete_at.is_some();
        look(house, build.id, &selector, &mut shown, answers).await?;
        if complete || !selector.follow {
            if shown.is_empty()
                && let Some(missing) = missing(&selector)
            {
                return Err(Refusal::not_found(format!(
                    "{} has no {missing}",
                    view::name_of(house, &build).await?
                )));
            }
            return Ok(LogEnd { build: view::Names::new(house).build(build).await? });
        }
        loop {
            match notices.next().await {
                Heard::Notice(notice) => match &*notice {
                    Notice::LogAppended { log, build: of, .. } if *of == build.id => {
                        if let Some(one) = shown.get_mut(log) {
                            send(house, *log, one, answers).await?;
                        }
                    }
                    Notice::LogAdded { build: of, .. } | Notice::BuildFinished { build: of, .. }
                        if *of == build.id =>
                    {
                        break;
                    }
                    _ => {}
                },
                Heard::Missed(_) => break,
                Heard::End => return Err(Refusal::new(Refusal::TRY_AGAIN, "the master has ended")),
            }
        }
        build = house
            .store
            .build(build.id)
            .await
            .map_err(unreadable)?
            .ok_or_else(|| Refusal::not_found("the build was removed"))?;
    }
}

/// Sends what is new in all logs of the build, in the order of its steps.
async fn look<W: AsyncWrite + Unpin>(
    house: &House,
    build: BuildId,
    selector: &LogSelector,
    shown: &mut BTreeMap<LogId, Shown>,
    answers: &mut Answers<W>,
) -> Result<(), Refusal> {
    for step in house.store.steps(build).await.map_err(unreadable)? {
        if selector.step.as_ref().is_some_and(|name| *name != step.name) {
            continue;
        }
        for log in house.store.logs(step.id).await.map_err(unreadable)? {
            if selector.log.as_ref().is_some_and(|name| *name != log.name && *name != log.slug) {
                continue;
            }
            let one = shown.entry(log.id).or_insert_with(|| Shown::new(&step, &log));
            send(house, log.id, one, answers).await?;
        }
    }
    Ok(())
}

/// Sends what is new in one log.
async fn send<W: AsyncWrite + Unpin>(
    house: &House,
    log: LogId,
    shown: &mut Shown,
    answers: &mut Answers<W>,
) -> Result<(), Refusal> {
    loop {
        let found = house.store.log_lines(log, shown.sent, LINES).await.map_err(unreadable)?;
        if found.num_lines == 0 {
            return Ok(());
        }
        let mut lines = Vec::new();
        let (mut first_line, mut bytes) = (found.first_line, 0);
        for line in found.text.split_inclusive('\n') {
            let line = shown.line(line);
            bytes += line.1.len();
            lines.push(line);
            if bytes >= TEXT {
                let count = i64::try_from(lines.len()).unwrap_or(0);
                notify(answers, shown, first_line, std::mem::take(&mut lines)).await?;
                (first_line, bytes) = (first_line + count, 0);
            }
        }
        if !lines.is_empty() {
            notify(answers, shown, first_line, lines).await?;
        }
        shown.sent = found.first_line + found.num_lines;
    }
}

async fn notify<W: AsyncWrite + Unpin>(
    answers: &mut Answers<W>,
    shown: &Shown,
    first_line: i64,
    lines: Vec<Line>,
) -> Result<(), Refusal> {
    let (step, number, log) = (shown.step.clone(), shown.number, shown.log.clone());
    let text = LogText { step, number, log, first_line, lines };
    answers.notify(&Notification::LogText(text)).await.map_err(internal)
}

fn missing(selector: &LogSelector) -> Option<String> {
    match (&selector.step, &selector.log) {
        (Some(step), Some(log)) => Some(format!("step {step:?} with a log {log:?}")),
        (Some(step), None) => Some(format!("step {step:?} with a log")),
        (None, Some(log)) => Some(format!("log {log:?}")),
        (None, None) => None,
    }
}

impl Shown {
    fn new(step: &StepRow, log: &LogRow) -> Self {
        Self { step: step.name.clone(), number: step.number, log: log.name.clone(), kind: log.kind, sent: 0 }
    }

    fn line(&self, line: &str) -> Line {
        let line = line.strip_suffix('\n').unwrap_or(line);
        let stream = match (self.kind, line.as_bytes().first()) {
            (LogKind::Stdio, Some(b'e')) => Stream::Stderr,
            (LogKind::Stdio, Some(b'h')) => Stream::Header,
            _ => Stream::Stdout,
        };
        let text = if self.kind == LogKind::Stdio { line.get(1..).unwrap_or_default() } else { line };
        Line(stream, text.to_owned())
    }
}
