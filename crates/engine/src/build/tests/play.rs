//! A played worker: it does what a test says, and remembers what it was told.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::Results;
use tokio::sync::{Notify, mpsc};
use worker_protocol::{Command, EnvValue, Program, Update, Word, WorkerInfo};

use crate::{
    BuildControl,
    build::{Commander, Report, Running},
    worker::{CommandError, LinkLost},
};

/// What the played worker does next.
#[derive(Debug)]
pub(crate) enum Act {
    /// Tells something.
    Tell(Report),
    /// Tells nothing until it is interrupted.
    UntilInterrupted,
    /// Tells nothing until somebody opens the gate.
    Gate(Arc<Notify>),
    /// Somebody stops the build; what it tells next is heard before that.
    Stop(mpsc::Sender<BuildControl>),
    /// Asks for a download to its end, in blocks of so many bytes.
    ReadAll(usize),
}

impl Act {
    pub(crate) fn out(text: &str) -> Self {
        Self::Tell(Report::Update(Update::Stdout(text.into())))
    }

    pub(crate) fn err(text: &str) -> Self {
        Self::Tell(Report::Update(Update::Stderr(text.into())))
    }

    pub(crate) fn header(text: &str) -> Self {
        Self::Tell(Report::Update(Update::Header(text.into())))
    }

    pub(crate) fn update(update: Update) -> Self {
        Self::Tell(Report::Update(update))
    }

    /// The last two things that most commands tell.
    pub(crate) fn end(rc: i64) -> [Self; 2] {
        [Self::update(Update::Rc(rc)), Self::Tell(Report::Complete(None))]
    }
}

/// Plays a command: what it tells in answer to what it is told.
type Part = Box<dyn FnMut(&Command) -> Vec<Act> + Send>;

/// A played worker.
pub(crate) struct Player {
    info: WorkerInfo,
    part: Mutex<Part>,
    seen: Mutex<Vec<String>>,
    told: Arc<Told>,
    /// Commands that have started wait to be noticed here.
    started: Notify,
    lost: Mutex<Option<String>>,
}

impl Player {
    /// A worker of Buildbot 4.3.0 that plays `part`.
    pub(crate) fn new(part: impl FnMut(&Command) -> Vec<Act> + Send + 'static) -> Arc<Self> {
        let commands = [
            "shell",
            "stat",
            "listdir",
            "glob",
            "mkdir",
            "rmdir",
            "cpdir",
            "uploadFile",
            "uploadDirectory",
            "downloadFile",
        ];
        let commands = commands.iter().map(|name| ((*name).to_owned(), "3.3".to_owned())).collect();
        let info = WorkerInfo {
            basedir: Some("/w".into()),
            host: Some("box".into()),
            worker_words: true,
            commands,
            ..WorkerInfo::default()
        };
        Arc::new(Self {
            info,
            part: Mutex::new(Box::new(part)),
            seen: Mutex::default(),
            told: Arc::default(),
            started: Notify::new(),
            lost: Mutex::default(),
        })
    }

    /// A worker whose commands go as the list says, one after the other; after that all succeed.
    pub(crate) fn of(parts: Vec<Vec<Act>>) -> Arc<Self> {
        let mut parts = VecDeque::from(parts);
        Self::new(move |_| parts.pop_front().unwrap_or_else(|| Act::end(0).into()))
    }

    /// The commands so far, each on a line.
    pub(crate) fn seen(&self) -> Vec<String> {
        lock(&self.seen).clone()
    }

    /// Why it was interrupted, each time.
    pub(crate) fn interrupts(&self) -> Vec<String> {
        lock(&self.told.interrupts).clone()
    }

    /// What it fetched.
    pub(crate) fn fetched(&self) -> Vec<Bytes> {
        lock(&self.told.fetched).clone()
    }

    /// How many reports were taken from it.
    pub(crate) fn told(&self) -> usize {
        self.told.reports.load(Ordering::Relaxed)
    }

    /// Waits for the next command to start.
    pub(crate) async fn started(&self) {
        self.started.notified().await;
    }

    /// It is gone before the build starts.
    pub(crate) fn lose(&self, why: &str) {
        *lock(&self.lost) = Some(why.to_owned());
    }

    fn check(&self) -> Result<(), LinkLost> {
        lock(&self.lost).clone().map_or(Ok(()), |why| Err(LinkLost { why }))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What commands were told while they ran.
#[derive(Default)]
struct Told {
    interrupts: Mutex<Vec<String>>,
    /// What was fetched by each download, in order.
    fetched: Mutex<Vec<Bytes>>,
    reports: AtomicUsize,
}

impl Commander for Player {
    fn info(&self) -> &WorkerInfo {
        &self.info
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), LinkLost>> {
        Box::pin(async { self.check() })
    }

    fn start_build<'a>(&'a self, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn command<'a>(
        &'a self,
        builder: &'a str,
        command: Command,
    ) -> BoxFuture<'a, Result<Box<dyn Running>, CommandError>> {
        Box::pin(async move {
            self.check()?;
            assert_eq!(builder, "b");
            lock(&self.seen).push(describe(&command));
            let acts = lock(&self.part)(&command).into();
            self.started.notify_one();
            let told = Arc::clone(&self.told);
            Ok(Box::new(Scene { told, acts, interrupted: Notify::new(), file: Vec::new() })
                as Box<dyn Running>)
        })
    }
}

/// A command that runs.
struct Scene {
    told: Arc<Told>,
    acts: VecDeque<Act>,
    interrupted: Notify,
    file: Vec<u8>,
}

impl Running for Scene {
    fn next(&mut self) -> BoxFuture<'_, Report> {
        Box::pin(async move {
            loop {
                match self.acts.front() {
                    Some(Act::UntilInterrupted) => {
                        self.interrupted.notified().await;
                        self.acts.pop_front();
                    }
                    Some(Act::Gate(gate)) => {
                        Arc::clone(gate).notified().await;
                        self.acts.pop_front();
                    }
                    Some(Act::Stop(stop)) => {
                        let reason = "late".to_owned();
                        stop.try_send(BuildControl::Stop { reason, results: Results::Cancelled }).unwrap();
                        self.acts.pop_front();
                    }
                    Some(Act::ReadAll(block)) => return Report::Read(*block),
                    _ => match self.acts.pop_front() {
                        Some(Act::Tell(report)) => {
                            self.told.reports.fetch_add(1, Ordering::Relaxed);
                            return report;
                        }
                        _ => return Report::Lost("the play is over".to_owned()),
                    },
                }
            }
        })
    }

    fn interrupt<'a>(&'a mut self, why: &'a str) -> BoxFuture<'a, ()> {
        lock(&self.told.interrupts).push(why.to_owned());
        self.interrupted.notify_one();
        Box::pin(async {})
    }

    fn answer_write(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn answer_read(&mut self, data: Bytes) -> BoxFuture<'_, ()> {
        self.file.extend_from_slice(&data);
        if data.is_empty() {
            self.acts.pop_front();
            lock(&self.told.fetched).push(std::mem::take(&mut self.file).into());
        }
        Box::pin(async {})
    }
}

/// A command in one line: its words, then what differs from the defaults.
pub(crate) fn describe(command: &Command) -> String {
    let seconds = |name: &str, time: Option<std::time::Duration>| {
        time.map(|time| format!(" {name}={}", time.as_secs_f64())).unwrap_or_default()
    };
    let mut line = command.name().to_owned();
    match command {
        Command::Shell(shell) => {
            match &shell.command {
                Program::Line(text) => write!(line, " {text}").unwrap(),
                Program::Words(words) => {
                    for word in words {
                        match word {
                            Word::Plain(word) => write!(line, " {word}").unwrap(),
                            Word::Obfuscated { real, shown } => {
                                write!(line, " {real} shown as {shown}").unwrap()
                            }
                        }
                    }
                }
            }
            if shell.workdir != "build" {
                write!(line, " workdir={}", shell.workdir).unwrap();
            }
            if !shell.env.is_empty() {
                let value = |value: &EnvValue| match value {
                    EnvValue::Set(value) => value.to_string(),
                    EnvValue::Path(parts) => parts.iter().map(|part| &**part).collect::<Vec<_>>().join(":"),
                    EnvValue::Unset => "unset".to_owned(),
                };
                let env: Vec<_> =
                    shell.env.iter().map(|(name, it)| format!("{name}={}", value(it))).collect();
                write!(line, " env={}", env.join(",")).unwrap();
            }
            if shell.timeout != Some(std::time::Duration::from_secs(1200)) {
                line.push_str(&seconds("timeout", shell.timeout));
            }
            line.push_str(&seconds("maxTime", shell.max_time));
            if let Some(lines) = shell.max_lines {
                write!(line, " max_lines={lines}").unwrap();
            }
            if !shell.log_environ {
                line.push_str(" logEnviron=false");
            }
            if let Some(text) = &shell.initial_stdin {
                write!(line, " <<{}", serde_json::to_string(&**text).unwrap()).unwrap();
            }
            for file in &shell.logfiles {
                let follow = if file.follow { "+" } else { "" };
                write!(line, " log:{}={}{follow}", file.name, file.path).unwrap();
            }
            if let Some(pty) = shell.use_pty {
                write!(line, " usePTY={pty}").unwrap();
            }
        }
        Command::MakeDirectory(command) => write!(line, " {}", command.dir).unwrap(),
        Command::RemoveDirectory(command) => {
            write!(line, " {}", command.dirs.join(" ")).unwrap();
            if command.timeout != Some(std::time::Duration::from_secs(120)) {
                line.push_str(&seconds("timeout", command.timeout));
            }
            write!(line, " logEnviron={}", command.log_environ).unwrap();
        }
        Command::CopyDirectory(command) => {
            write!(line, " {} {}", command.from, command.to).unwrap();
            line.push_str(&seconds("timeout", command.timeout));
            line.push_str(&seconds("maxTime", command.max_time));
            write!(line, " logEnviron={}", command.log_environ).unwrap();
        }
        Command::Stat(command) if command.workdir.is_empty() => write!(line, " {}", command.file).unwrap(),
        Command::Stat(command) => write!(line, " {} workdir={}", command.file, command.workdir).unwrap(),
        Command::Glob(command) => write!(line, " {}", command.path).unwrap(),
        Command::ListDirectory(command) => write!(line, " {}", command.dir).unwrap(),
        Command::RemoveFile(command) => write!(line, " {}", command.path).unwrap(),
        Command::UploadFile(command) => {
            write!(line, " {} {} blocksize={}", command.workdir, command.path, command.block_size).unwrap();
            if let Some(size) = command.max_size {
                write!(line, " maxsize={size}").unwrap();
            }
            if command.keep_times {
                line.push_str(" keepstamp");
            }
        }
        Command::UploadDirectory(command) => {
            write!(line, " {} {} blocksize={}", command.workdir, command.path, command.block_size).unwrap();
            write!(line, " compress={:?}", command.compression).unwrap();
        }
        Command::DownloadFile(command) => {
            write!(line, " {} {} blocksize={}", command.workdir, command.path, command.block_size).unwrap();
            if let Some(size) = command.max_size {
                write!(line, " maxsize={size}").unwrap();
            }
            if let Some(mode) = command.mode {
                write!(line, " mode={mode:o}").unwrap();
            }
        }
        other => panic!("{other:?}"),
    }
    line
}
