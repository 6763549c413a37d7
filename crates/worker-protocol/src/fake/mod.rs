//! A worker without a process, for tests: it speaks the protocol as a stock worker does and can be told to misbehave.
//!
//! It is the other end of a [`crate::Session`], and like it does no input and output: its owner hands it the events
//! of a client's [`Broker`]. What it runs is make-believe: a `shell` command's first word says what to play.
//!
//! | words | |
//! |---|---|
//! | `echo TEXT..` | prints the words |
//! | `exit STATUS` | prints nothing and ends so |
//! | `emit LINES BYTES` | prints that many lines of that many bytes |
//! | `hang` | goes on until it is interrupted, or until the test ends it with [`FakeWorker::complete`] |
//! | anything else | prints nothing and ends well |

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use bytestring::ByteString;
use perspective_broker::{
    Broker, Event as BrokerEvent, Failure, LocalId, RemoteId, ReplyId, RequestId, Target, Value,
};

use crate::text::{StringKind, lossy};
use crate::version::CommandVersion;

/// What a fake worker is.
#[derive(Clone, Debug)]
pub struct FakeOptions {
    /// Name it logs in with.
    pub name: String,
    /// Password it logs in with.
    pub password: String,
    /// It speaks byte strings, as on Python 2.
    pub python2: bool,
    /// Version of its commands; before 3.0 it is a slave.
    pub command_version: CommandVersion,
    /// Files it can upload, and those it downloaded, by path; a directory is its tar stream.
    pub files: BTreeMap<String, Bytes>,
    /// What goes wrong with it.
    pub faults: Faults,
}

impl FakeOptions {
    /// A worker of the newest release.
    pub fn new(name: &str, password: &str) -> Self {
        Self {
            name: name.into(),
            password: password.into(),
            python2: false,
            command_version: CommandVersion::new(3, 3),
            files: BTreeMap::new(),
            faults: Faults::default(),
        }
    }
}

/// What goes wrong with a fake worker. May be changed while it runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// It answers nothing any more, as if its process were frozen.
    pub silent: bool,
    /// Its commands report their exit status and then never end.
    pub never_complete: bool,
    /// It accepts an interruption and goes on.
    pub ignore_interrupt: bool,
    /// It cannot describe itself (its environment is not UTF-8).
    pub info_error: bool,
}

/// What a fake worker tells the test.
#[derive(Debug)]
#[non_exhaustive]
pub enum FakeEvent {
    /// The master took it.
    LoggedIn,
    /// The master refused it.
    Refused(Failure),
    /// Its builders were set.
    Builders(Vec<String>),
    /// A command began.
    Started {
        /// Builder it runs on.
        builder: String,
        /// Its name.
        command: String,
        /// Its arguments.
        arguments: Vec<(Value, Value)>,
    },
    /// The master interrupted what runs on a builder.
    Interrupted {
        /// The builder.
        builder: String,
    },
    /// The master wants it to stop: close the connection.
    ShutDown,
}

/// The worker.
#[derive(Debug)]
pub struct FakeWorker {
    options: FakeOptions,
    bot: Option<LocalId>,
    login: Option<RequestId>,
    perspective: Option<RemoteId>,
    builders: BTreeMap<LocalId, String>,
    jobs: BTreeMap<String, Job>,
    transfers: BTreeMap<RequestId, Transfer>,
    events: VecDeque<FakeEvent>,
}

/// A command that runs.
#[derive(Debug)]
struct Job {
    object: RemoteId,
    stream: Option<RemoteId>,
}

/// A block that waits for its answer.
#[derive(Debug)]
struct Transfer {
    builder: String,
    path: String,
    /// Of an upload: what is left. Of a download: what there is.
    data: Bytes,
    block: usize,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Write { unpack: bool },
    Read,
    End,
}

impl FakeWorker {
    /// A worker that is not connected yet.
    pub fn new(options: FakeOptions) -> Self {
        Self {
            options,
            bot: None,
            login: None,
            perspective: None,
            builders: BTreeMap::new(),
            jobs: BTreeMap::new(),
            transfers: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }

    /// Logs in over a fresh client's broker.
    pub fn start(&mut self, broker: &mut Broker) {
        let bot = broker.export();
        self.bot = Some(bot);
        // What cannot be sent is lost, here and below, as on a connection that is going down.
        self.login = broker.login(&self.options.name, self.options.password.as_bytes(), Some(bot)).ok();
    }

    /// What goes wrong from now on.
    pub fn faults(&mut self) -> &mut Faults {
        &mut self.options.faults
    }

    /// The files it has.
    pub fn files(&self) -> &BTreeMap<String, Bytes> {
        &self.options.files
    }

    /// The next thing it has to tell.
    pub fn poll_event(&mut self) -> Option<FakeEvent> {
        self.events.pop_front()
    }

    /// Sends its keepalive.
    pub fn keepalive(&mut self, broker: &mut Broker) {
        self.call_perspective(broker, "keepalive");
    }

    /// Asks the master to be shut down.
    pub fn request_shutdown(&mut self, broker: &mut Broker) {
        self.call_perspective(broker, "shutdown");
    }

    /// Sends an update of the command that runs on a builder.
    pub fn update(&mut self, broker: &mut Broker, builder: &str, key: &'static str, value: Value) {
        if let Some(job) = self.jobs.get(builder) {
            let pair = Value::List(vec![Value::Dict(vec![(self.text(key), value)]), Value::Int(0)]);
            self.call(broker, job.object, "update", vec![Value::List(vec![pair])]);
        }
    }

    /// Sends text of the command that runs on a builder: `stdout`, `stderr` or `header`.
    pub fn print(
        &mut self,
        broker: &mut Broker,
        builder: &str,
        key: &'static str,
        text: impl Into<ByteString>,
    ) {
        let value = self.text(text);
        self.update(broker, builder, key, value);
    }

    /// Ends the command that runs on a builder.
    pub fn complete(&mut self, broker: &mut Broker, builder: &str, failure: Option<Failure>) {
        if self.options.faults.never_complete {
            return;
        }
        if let Some(job) = self.jobs.remove(builder) {
            let result = Value::from(failure);
            self.call(broker, job.object, "complete", vec![result]);
            for object in [Some(job.object), job.stream].into_iter().flatten() {
                drop(broker.release(object));
            }
        }
    }

    /// Takes one event of the connection's broker.
    pub fn handle(&mut self, broker: &mut Broker, event: BrokerEvent) {
        match event {
            BrokerEvent::LoggedIn { request, perspective } if self.login == Some(request) => {
                self.perspective = Some(perspective);
                self.events.push_back(FakeEvent::LoggedIn);
            }
            BrokerEvent::Failed { request, failure } if self.login == Some(request) => {
                self.events.push_back(FakeEvent::Refused(failure));
            }
            _ if self.options.faults.silent => {}
            BrokerEvent::Call { target: Target::Local(object), method, args, reply, .. } => {
                if Some(object) == self.bot {
                    self.bot_called(broker, &method, &args, reply);
                } else if let Some(builder) = self.builders.get(&object).cloned() {
                    self.builder_called(broker, &builder, &method, args, reply);
                }
            }
            BrokerEvent::Answered { request, value } => self.block_answered(broker, request, value),
            _ => {}
        }
    }

    fn bot_called(&mut self, broker: &mut Broker, method: &str, args: &[Value], reply: Option<ReplyId>) {
        let slave = self.options.command_version < crate::version::WORKER_WORDS;
        let result = match method {
            "getWorkerInfo" if !slave && self.options.faults.info_error => {
                return fail(
                    broker,
                    reply,
                    Failure::new("builtins.UnicodeEncodeError", "surrogates not allowed"),
                );
            }
            "getWorkerInfo" if !slave => {
                let mut entries = self.info();
                entries.push((self.text("version"), self.text("4.3.0")));
                entries.push((self.text("worker_commands"), self.commands()));
                Value::Dict(entries)
            }
            "getSlaveInfo" if slave => Value::Dict(self.info()),
            "getCommands" => self.commands(),
            "getVersion" => self.text("fake"),
            "print" => Value::None,
            "setBuilderList" => self.set_builders(broker, args),
            "shutdown" => {
                self.events.push_back(FakeEvent::ShutDown);
                Value::None
            }
            _ => return fail(broker, reply, Failure::no_such_method(method)),
        };
        answer(broker, reply, result);
    }

    fn info(&self) -> Vec<(Value, Value)> {
        [("admin", "nobody"), ("host", "nowhere"), ("system", "posix"), ("basedir", "/fake")]
            .into_iter()
            .map(|(key, value)| (self.text(key), self.text(value)))
            .chain([(self.text("numcpus"), Value::Int(2)), (self.text("environ"), Value::Dict(Vec::new()))])
            .collect()
    }

    fn commands(&self) -> Value {
        let version = self.options.command_version;
        let mut names = vec!["shell", "uploadFile", "uploadDirectory", "downloadFile"];
        names.extend(["mkdir", "rmdir", "cpdir", "stat", "glob", "listdir"]);
        names.extend((version >= crate::version::REMOVE_FILE).then_some("rmfile"));
        let version = self.text(version.to_string());
        Value::Dict(names.into_iter().map(|name| (self.text(name), version.clone())).collect())
    }

    /// Builders that stay keep their objects; the others are dropped with what runs there.
    fn set_builders(&mut self, broker: &mut Broker, args: &[Value]) -> Value {
        let names: Vec<ByteString> = args
            .first()
            .and_then(Value::as_list)
            .unwrap_or_default()
            .iter()
            .filter_map(|pair| lossy(pair.as_list()?.first()?))
            .collect();
        let mut old = std::mem::take(&mut self.builders);
        let mut references = Vec::new();
        for name in &names {
            let known = old.iter().find(|(_, builder)| **builder == **name).map(|(object, _)| *object);
            let object = known.unwrap_or_else(|| broker.export());
            old.remove(&object);
            self.builders.insert(object, name.to_string());
            references.push((self.text(name.clone()), Value::Local(object)));
        }
        for (object, name) in old {
            broker.retire(object);
            self.jobs.remove(&name);
        }
        self.events.push_back(FakeEvent::Builders(names.iter().map(ToString::to_string).collect()));
        Value::Dict(references)
    }

    fn builder_called(
        &mut self,
        broker: &mut Broker,
        builder: &str,
        method: &str,
        args: Vec<Value>,
        reply: Option<ReplyId>,
    ) {
        match method {
            "startBuild" | "print" => answer(broker, reply, Value::None),
            "startCommand" => self.start_command(broker, builder, args, reply),
            "interruptCommand" => {
                answer(broker, reply, Value::None);
                self.events.push_back(FakeEvent::Interrupted { builder: builder.to_owned() });
                if !self.options.faults.ignore_interrupt && self.jobs.contains_key(builder) {
                    self.print(broker, builder, "header", "\ncommand interrupted\n");
                    self.end(broker, builder, -1);
                }
            }
            _ => fail(broker, reply, Failure::no_such_method(method)),
        }
    }

    fn start_command(
        &mut self,
        broker: &mut Broker,
        builder: &str,
        args: Vec<Value>,
        reply: Option<ReplyId>,
    ) {
        let mut args = args.into_iter();
        let (Some(Value::Remote(object)), _, Some(name), Some(Value::Dict(arguments))) =
            (args.next(), args.next(), args.next(), args.next())
        else {
            return fail(
                broker,
                reply,
                Failure::new("builtins.TypeError", "startCommand takes four arguments"),
            );
        };
        let command = lossy(&name).unwrap_or_default();
        let argument = |key: &str| {
            arguments
                .iter()
                .find(|(name, _)| lossy(name).as_deref() == Some(key))
                .map(|(_, value)| value.clone())
        };
        let stream = match argument("writer").or_else(|| argument("reader")) {
            Some(Value::Remote(stream)) => Some(stream),
            _ => None,
        };
        let path = ["workersrc", "slavesrc", "workerdest", "slavedest"].into_iter().find_map(argument);
        let path = path.as_ref().and_then(lossy).unwrap_or_default().to_string();
        let block =
            argument("blocksize").and_then(|size| size.as_int()).unwrap_or(1024).clamp(1, 655_360) as usize;
        let words: Vec<String> = match argument("command") {
            Some(Value::List(words)) => words.iter().filter_map(lossy).map(|word| word.to_string()).collect(),
            Some(line) => lossy(&line).unwrap_or_default().split(' ').map(str::to_owned).collect(),
            None => Vec::new(),
        };
        self.events.push_back(FakeEvent::Started {
            builder: builder.to_owned(),
            command: command.to_string(),
            arguments,
        });
        self.jobs.insert(builder.to_owned(), Job { object, stream });
        let transfer =
            |data, step| Transfer { builder: builder.to_owned(), path: path.clone(), data, block, step };
        match &*command {
            // Over at once: the answer comes last.
            "mkdir" | "rmfile" => self.end(broker, builder, 0),
            "stat" => self.end(broker, builder, 2),
            "glob" | "listdir" => {
                self.update(broker, builder, "files", Value::List(Vec::new()));
                self.end(broker, builder, 0);
            }
            // The others go on after the answer.
            "rmdir" | "cpdir" => {
                answer(broker, reply, Value::None);
                return self.end(broker, builder, 0);
            }
            "uploadFile" | "uploadDirectory" => {
                answer(broker, reply, Value::None);
                let unpack = &*command == "uploadDirectory";
                let data = self.options.files.get(&path).cloned();
                match data {
                    Some(data) => self.go_on(broker, transfer(data, Step::Write { unpack })),
                    None => {
                        self.print(
                            broker,
                            builder,
                            "stderr",
                            format!("Cannot open file {path:?} for upload"),
                        );
                        self.end(broker, builder, 1);
                    }
                }
                return;
            }
            "downloadFile" => {
                answer(broker, reply, Value::None);
                return self.go_on(broker, transfer(Bytes::new(), Step::Read));
            }
            "shell" => {
                answer(broker, reply, Value::None);
                return self.play(broker, builder, &words);
            }
            _ => {
                self.jobs.remove(builder);
                return fail(
                    broker,
                    reply,
                    Failure::new("buildbot_worker.base.UnknownCommand", command.to_string()),
                );
            }
        }
        answer(broker, reply, Value::None);
    }

    fn play(&mut self, broker: &mut Broker, builder: &str, words: &[String]) {
        let number =
            |at: usize| words.get(at).and_then(|word| word.parse::<usize>().ok()).unwrap_or_default();
        self.print(broker, builder, "header", format!("{}\n", words.join(" ")));
        match words.first().map(String::as_str) {
            Some("hang") => return,
            Some("echo") => {
                let text = words.get(1..).unwrap_or_default().join(" ");
                self.print(broker, builder, "stdout", format!("{text}\n"));
            }
            Some("emit") => {
                let line = format!("{}\n", "x".repeat(number(2)));
                let at_once = (60_000 / line.len()).max(1);
                let mut left = number(1);
                while left > 0 {
                    let lines = left.min(at_once);
                    self.print(broker, builder, "stdout", line.repeat(lines));
                    left -= lines;
                }
            }
            _ => {}
        }
        let rc = if words.first().is_some_and(|word| word == "exit") { number(1) as i64 } else { 0 };
        self.end(broker, builder, rc);
    }

    fn end(&mut self, broker: &mut Broker, builder: &str, rc: i64) {
        self.update(broker, builder, "rc", Value::Int(rc));
        if rc >= 0 {
            self.print(broker, builder, "header", "elapsedTime=0.01\n");
            self.update(broker, builder, "elapsed", Value::Float(0.01));
        }
        self.complete(broker, builder, None);
    }

    /// Sends the next block, or what comes after the last.
    fn go_on(&mut self, broker: &mut Broker, mut transfer: Transfer) {
        let Some(stream) = self.jobs.get(&transfer.builder).and_then(|job| job.stream) else { return };
        let (method, args) = match transfer.step {
            Step::Write { .. } if !transfer.data.is_empty() => {
                let block = transfer.data.split_to(transfer.block.min(transfer.data.len()));
                ("write", vec![Value::Bytes(block)])
            }
            Step::Write { unpack } => {
                transfer.step = Step::End;
                (if unpack { "unpack" } else { "close" }, Vec::new())
            }
            Step::Read => ("read", vec![Value::Int(transfer.block as i64)]),
            Step::End => return self.end(broker, &transfer.builder, 0),
        };
        if let Some(request) = self.call(broker, stream, method, args) {
            self.transfers.insert(request, transfer);
        }
    }

    fn block_answered(&mut self, broker: &mut Broker, request: RequestId, value: Value) {
        let Some(mut transfer) = self.transfers.remove(&request) else { return };
        if transfer.step == Step::Read {
            let Value::Bytes(block) = value else { return };
            if block.is_empty() {
                self.options.files.insert(transfer.path.clone(), transfer.data.clone());
                transfer.step = Step::End;
                let stream = self.jobs.get(&transfer.builder).and_then(|job| job.stream);
                let request = stream.and_then(|stream| self.call(broker, stream, "close", Vec::new()));
                self.transfers.extend(request.map(|request| (request, transfer)));
                return;
            }
            transfer.data = [&*transfer.data, &*block].concat().into();
        }
        self.go_on(broker, transfer);
    }

    fn call_perspective(&self, broker: &mut Broker, method: &str) {
        if let Some(perspective) = self.perspective {
            self.call(broker, perspective, method, Vec::new());
        }
    }

    /// A call that cannot be sent is lost, as on a connection that is going down.
    fn call(
        &self,
        broker: &mut Broker,
        target: RemoteId,
        method: &str,
        args: Vec<Value>,
    ) -> Option<RequestId> {
        broker.call(target, method, args, Vec::new()).ok()
    }

    fn text(&self, text: impl Into<ByteString>) -> Value {
        let kind = if self.options.python2 { StringKind::Bytes } else { StringKind::Unicode };
        kind.text(text)
    }
}

fn answer(broker: &mut Broker, reply: Option<ReplyId>, value: Value) {
    if let Some(reply) = reply {
        drop(broker.answer(reply, value));
    }
}

fn fail(broker: &mut Broker, reply: Option<ReplyId>, failure: Failure) {
    if let Some(reply) = reply {
        drop(broker.fail(reply, failure));
    }
}
