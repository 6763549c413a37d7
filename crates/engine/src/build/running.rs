//! One command on the worker, from its start to its end.

use std::{borrow::Cow, collections::BTreeMap};

use model::Results;
use perspective_broker::Failure;
use storage::log::Stream;
use worker_protocol::{Command, CommandVersion, FileStat, Program, Update, Word};

use super::{
    commander::{Report, Running},
    halt::Halt,
    lines::LineReader,
    logs::LogRef,
    step::Step,
    transfer::Transfer,
};

/// The most text that a step keeps of a command's output, in bytes.
const MAX_COLLECTED: usize = 1 << 20;

/// From this version on workers take words that they do not show.
const HIDES_WORDS: CommandVersion = CommandVersion::new(2, 16);

/// What a step does with what a command tells.
#[derive(Default)]
pub(crate) struct Wiring<'a> {
    /// The log of its output; `None` keeps nothing of it.
    pub(crate) stdio: Option<LogRef>,
    /// Logs of the files that it follows. Those without a log get one when something comes.
    pub(crate) logfiles: Vec<(String, Option<LogRef>)>,
    /// Keep its standard output for the step.
    pub(crate) collect_stdout: bool,
    /// Keep its standard error for the step.
    pub(crate) collect_stderr: bool,
    /// Hears its output line by line.
    pub(crate) lines: Option<&'a mut LineReader>,
    /// The other end of an upload or download.
    pub(crate) transfer: Option<&'a mut Transfer>,
}

impl Wiring<'_> {
    /// Output goes to this log.
    pub(crate) fn log(stdio: LogRef) -> Self {
        Self { stdio: Some(stdio), ..Self::default() }
    }
}

/// What a command has told.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    /// Its exit status.
    pub(crate) rc: Option<i64>,
    /// The last answer to a glob or a listing.
    pub(crate) files: Option<Vec<String>>,
    /// The last answer to a stat.
    pub(crate) stat: Option<FileStat>,
    /// Its standard output, if it was to be kept.
    pub(crate) stdout: String,
    /// Its standard error, if it was to be kept.
    pub(crate) stderr: String,
}

impl Finished {
    /// Whether it did what it should.
    pub(crate) fn is_success(&self) -> bool {
        self.rc == Some(0)
    }

    /// Its results: FAILURE for an exit status that has none.
    pub(crate) fn results(&self, decode: &BTreeMap<i64, Results>) -> Results {
        self.rc.and_then(|rc| decode.get(&rc).copied()).unwrap_or(Results::Failure)
    }
}

impl Step {
    /// Runs a command and takes all that it tells. Nothing is sent when the build is stopped.
    ///
    /// # Errors
    ///
    /// When the build is stopped, the worker is lost, refuses the command or has trouble with it, and when the master's
    /// end of a transfer fails. The failure of a program is no error.
    pub(crate) async fn command(
        &mut self,
        command: Command,
        mut wiring: Wiring<'_>,
    ) -> Result<Finished, Halt> {
        if let Some(reason) = self.build.hear() {
            self.note_stop(&reason).await?;
        }
        if self.stopped {
            return Err(Halt::Stopped);
        }
        // All rows that the command rests on.
        self.build.journal.commit(Vec::new()).await?;
        let builder = self.build.order.builder.name.clone();
        let name = command.name();
        let command = self.with_hidden_words(command);
        let mut running = self.build.worker.command(&builder, command).await?;
        let mut finished = Finished::default();
        let mut interrupted = false;
        let ended = loop {
            let flush_at = self.logs.flush_at();
            let flush = async {
                match flush_at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let report = tokio::select! {
                biased;
                (reason, _) = self.build.stop() => {
                    self.note_stop(&reason).await?;
                    running.interrupt(&reason).await;
                    interrupted = true;
                    continue;
                }
                () = flush => {
                    self.logs.flush(&mut self.build.journal).await?;
                    continue;
                }
                report = running.next() => report,
            };
            match report {
                Report::Update(update) => self.update(update, &mut wiring, &mut finished).await?,
                Report::Complete(None) => break Ok(()),
                Report::Complete(Some(failure)) => break Err(broken(name, "had trouble with", &failure)),
                Report::Refused(failure) => break Err(broken(name, "refused", &failure)),
                Report::Lost(why) => break Err(Halt::Lost(why)),
                report => transfer(report, wiring.transfer.as_deref_mut(), running.as_mut()).await,
            }
        };
        self.logs.end_lines(&mut self.build.journal, &self.build.scrubber).await?;
        if let Some(lines) = wiring.lines.as_deref_mut() {
            lines.finish();
        }
        if let Err(Halt::Lost(why)) = &ended {
            self.build.lost = Some(why.clone());
        } else if interrupted {
            return Err(Halt::Stopped);
        }
        ended?;
        for kept in [&mut finished.stdout, &mut finished.stderr] {
            *kept = self.build.scrubber.clean(kept).into_owned();
        }
        if let Some(error) = wiring.transfer.and_then(|transfer| transfer.error()) {
            return Err(Halt::Broken(error));
        }
        Ok(finished)
    }

    /// The command, with the words that hold secrets marked, so that the worker does not show them.
    fn with_hidden_words(&self, mut command: Command) -> Command {
        let scrubber = &self.build.scrubber;
        if let Command::Shell(shell) = &mut command
            && let Program::Words(words) = &mut shell.command
            && self.worker().command_version("shell").is_some_and(|version| version >= HIDES_WORDS)
        {
            for word in words {
                if let Word::Plain(real) = word
                    && let Cow::Owned(shown) = scrubber.clean(real)
                {
                    *word = Word::Obfuscated { real: real.clone(), shown: shown.into() };
                }
            }
        }
        command
    }

    /// Waits, unless the build is stopped in the meantime.
    pub(crate) async fn sleep(&mut self, time: std::time::Duration) -> Result<(), Halt> {
        self.logs.flush(&mut self.build.journal).await?;
        self.unless_stopped(tokio::time::sleep(time)).await
    }

    /// Waits for something, unless the build is stopped in the meantime.
    pub(crate) async fn unless_stopped<T>(&mut self, wait: impl Future<Output = T>) -> Result<T, Halt> {
        let reason = tokio::select! {
            done = wait => return Ok(done),
            (reason, _) = self.build.stop() => reason,
        };
        self.note_stop(&reason).await?;
        Err(Halt::Stopped)
    }

    /// Leaves a log of who stopped the step and why, where Buildbot has it.
    pub(crate) async fn note_stop(&mut self, reason: &str) -> Result<(), Halt> {
        self.stopped = true;
        let name = if super::steps::is_transfer(self.config.kind) { "interrupt" } else { "cancelled" };
        if self.logs.find(name).is_none() {
            self.text_log(name, reason).await?;
        }
        Ok(())
    }

    async fn update(
        &mut self,
        update: Update,
        wiring: &mut Wiring<'_>,
        finished: &mut Finished,
    ) -> Result<(), Halt> {
        match update {
            Update::Stdout(text) => {
                if wiring.collect_stdout {
                    collect(&mut finished.stdout, &text);
                }
                self.output(Stream::Stdout, &text, wiring).await
            }
            Update::Stderr(text) => {
                if wiring.collect_stderr {
                    collect(&mut finished.stderr, &text);
                }
                self.output(Stream::Stderr, &text, wiring).await
            }
            Update::Header(text) => self.output(Stream::Header, &text, wiring).await,
            Update::Log { name, text } => {
                let Some((_, log)) = wiring.logfiles.iter_mut().find(|(known, _)| *known == *name) else {
                    tracing::debug!(log = &*name, "worker sent a log that it was not asked for");
                    return Ok(());
                };
                let log = match *log {
                    Some(log) => log,
                    None => *log.insert(self.log(&name).await?),
                };
                self.append(log, Stream::Stdout, &text).await
            }
            Update::Rc(rc) => {
                finished.rc = Some(rc);
                self.output(Stream::Header, &format!("program finished with exit code {rc}\n"), wiring).await
            }
            Update::Files(files) => {
                finished.files = Some(files);
                Ok(())
            }
            Update::Stat(stat) => {
                finished.stat = Some(stat);
                Ok(())
            }
            Update::FailureReason(reason) => {
                match reason.as_str() {
                    "timeout" | "timeout_without_output" => self.summary.timed_out = true,
                    "max_lines_failure" => self.summary.too_many_lines = true,
                    _ => tracing::debug!(reason, "worker killed the command for an unknown reason"),
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    async fn output(&mut self, stream: Stream, text: &str, wiring: &mut Wiring<'_>) -> Result<(), Halt> {
        if let Some(lines) = wiring.lines.as_deref_mut() {
            lines.push(stream, text);
        }
        match wiring.stdio {
            Some(log) => self.append(log, stream, text).await,
            None => Ok(()),
        }
    }
}

/// Answers what a worker asks of the master's end of a transfer. It is always answered: a worker that gets an error, or
/// nothing, never ends its command.
async fn transfer(report: Report, transfer: Option<&mut Transfer>, running: &mut dyn Running) {
    let Some(transfer) = transfer else {
        match report {
            Report::Write(_) | Report::Unpack => running.answer_write().await,
            Report::Read(_) => running.answer_read(bytes::Bytes::new()).await,
            _ => {}
        }
        return;
    };
    let was_well = transfer.error().is_none();
    match report {
        Report::Write(data) => {
            transfer.write(&data).await;
            running.answer_write().await;
        }
        Report::CloseWrite => transfer.close().await,
        Report::SetTimes { accessed, modified } => transfer.set_times(accessed, modified),
        Report::Unpack => {
            transfer.close().await;
            running.answer_write().await;
        }
        Report::Read(max) => {
            let data = transfer.read(max).await;
            running.answer_read(data).await;
        }
        _ => {}
    }
    if was_well && transfer.error().is_some() {
        running.interrupt("the master's end of the transfer failed").await;
    }
}

fn collect(collected: &mut String, text: &str) {
    let room = MAX_COLLECTED.saturating_sub(collected.len());
    collected.push_str(&text[..text.floor_char_boundary(room)]);
}

fn broken(command: &str, did: &str, failure: &Failure) -> Halt {
    let Failure { kind, value, traceback, .. } = failure;
    Halt::Broken(format!("the worker {did} the command {command:?}: {kind}: {value}\n{traceback}"))
}
