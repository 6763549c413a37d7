//! A master just big enough to drive one worker.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use perspective_broker::{Broker, Event as BrokerEvent, Limits, Transport};
use testkit::venv::Venv;
use testkit::worker::{StockWorker, WorkerKind, WorkerOptions};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use worker_protocol::{
    Command, CommandId, CommandUnsupported, Event, FileStat, Session, SessionLimits, StartError, Update,
    WorkerInfo,
};

/// No step of a test takes this long on any machine.
const LIMIT: Duration = Duration::from_secs(90);
const PASSWORD: &str = "sekrit";

/// A worker that is attached, and its master.
pub(crate) struct Attached {
    pub(crate) kind: WorkerKind,
    pub(crate) worker: StockWorker,
    pub(crate) info: WorkerInfo,
    pub(crate) session: Session,
    transport: Transport<TcpStream>,
    ended: bool,
}

/// All that came of one command.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) header: String,
    pub(crate) logs: BTreeMap<String, String>,
    pub(crate) rc: Option<i64>,
    pub(crate) elapsed: Option<f64>,
    pub(crate) files: Option<Vec<String>>,
    pub(crate) stat: Option<FileStat>,
    pub(crate) reason: Option<String>,
    pub(crate) revision: Option<String>,
    pub(crate) failure: Option<String>,
    pub(crate) written: Vec<u8>,
    pub(crate) closed: bool,
    pub(crate) unpacked: bool,
    pub(crate) times: Option<(f64, f64)>,
}

impl Attached {
    /// Starts a worker, takes its login and lets it describe itself.
    pub(crate) async fn new(kind: WorkerKind, venv: &Venv, change: impl FnOnce(&mut WorkerOptions)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut options = WorkerOptions::new(listener.local_addr().unwrap().port(), "w1", PASSWORD);
        change(&mut options);
        let worker = StockWorker::start(kind, venv, &options).unwrap();
        let (stream, _) = timeout(LIMIT, listener.accept())
            .await
            .unwrap_or_else(|_| panic!("{} does not connect:\n{}", kind.name, worker.log()))
            .unwrap();
        let mut transport = Transport::new(stream, Broker::server(Limits::default()));
        let session = loop {
            let event = timeout(LIMIT, transport.next()).await.expect("a login in time").unwrap();
            if let BrokerEvent::Login { login, user, proof, mind } = event.expect("the worker stays") {
                assert_eq!(&*user, "w1");
                assert!(proof.verify(PASSWORD.as_bytes()), "{}: wrong password", kind.name);
                let perspective = transport.broker().export();
                transport.broker().accept_login(login, perspective).unwrap();
                break Session::new(
                    mind.expect("a worker has a mind"),
                    perspective,
                    SessionLimits::default(),
                );
            }
        };
        let info = WorkerInfo::default();
        let mut attached = Self { kind, worker, info, session, transport, ended: false };
        attached.session.start(attached.transport.broker()).unwrap();
        match attached.next().await {
            Event::Attached(info) => attached.info = (*info).clone(),
            other => panic!("{}: {other:?} in place of the attachment", kind.name),
        }
        attached
    }

    /// The same with builders of these names.
    pub(crate) async fn with_builders(kind: WorkerKind, venv: &Venv, builders: &[&str]) -> Self {
        let mut attached = Self::new(kind, venv, |_| {}).await;
        attached.set_builders(builders).await;
        attached
    }

    pub(crate) async fn set_builders(&mut self, builders: &[&str]) {
        let builders: Vec<_> = builders.iter().map(|name| (*name, format!("dir-{name}"))).collect();
        self.session.set_builders(self.transport.broker(), &builders).unwrap();
        match self.next().await {
            Event::BuildersSet => {}
            other => panic!("{}: {other:?} in place of the builders", self.kind.name),
        }
    }

    /// The next event, or the end of the connection.
    pub(crate) async fn next_or_end(&mut self) -> Option<Event> {
        let end = tokio::time::Instant::now() + LIMIT;
        loop {
            if let Some(event) = self.session.poll_event() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            let event = tokio::time::timeout_at(end, self.transport.next()).await;
            let event = event.unwrap_or_else(|_| {
                panic!("{} says nothing any more; its log:\n{}", self.kind.name, self.worker.log())
            });
            match event {
                Ok(Some(event)) => self.session.handle(self.transport.broker(), event).unwrap(),
                // A worker process that ends may reset its connection.
                Ok(None) | Err(_) => self.ended = true,
            }
        }
    }

    pub(crate) async fn next(&mut self) -> Event {
        match self.next_or_end().await {
            Some(event) => event,
            None => panic!("{} closed the connection; its log:\n{}", self.kind.name, self.worker.log()),
        }
    }

    pub(crate) fn ping(&mut self, text: &str) {
        self.session.ping(self.transport.broker(), text).unwrap();
    }

    pub(crate) fn start_build(&mut self, builder: &str) {
        self.session.start_build(self.transport.broker(), builder).unwrap();
    }

    pub(crate) fn shutdown(&mut self) {
        self.session.shutdown(self.transport.broker()).unwrap();
    }

    pub(crate) fn interrupt(&mut self, command: CommandId) {
        self.session.interrupt(self.transport.broker(), command, "the test says so").unwrap();
    }

    pub(crate) fn start(&mut self, builder: &str, command: &Command) -> Result<CommandId, StartError> {
        self.session.start_command(self.transport.broker(), builder, command)
    }

    /// Runs a command to its end; a download gets this file.
    pub(crate) async fn run_with(&mut self, command: &Command, mut file: Bytes) -> Outcome {
        let id = match self.start("b1", command) {
            Ok(id) => id,
            Err(error) => panic!("{}: {error}", self.kind.name),
        };
        let mut outcome = Outcome::default();
        loop {
            let event = self.next().await;
            if self.take(id, event, &mut outcome, &mut file) {
                return outcome;
            }
        }
    }

    pub(crate) async fn run(&mut self, command: &Command) -> Outcome {
        self.run_with(command, Bytes::new()).await
    }

    /// Runs a command, or says why this worker has no way to.
    pub(crate) async fn try_run(&mut self, command: &Command) -> Result<Outcome, CommandUnsupported> {
        command.check(&self.info)?;
        Ok(self.run(command).await)
    }

    /// Takes one event of a command; true for the last.
    pub(crate) fn take(
        &mut self,
        id: CommandId,
        event: Event,
        outcome: &mut Outcome,
        file: &mut Bytes,
    ) -> bool {
        let broker = self.transport.broker();
        match event {
            Event::Update { command, update } => {
                assert_eq!(command, id);
                outcome.update(update);
            }
            Event::Complete { command, failure } => {
                assert_eq!(command, id);
                outcome.failure = failure.map(|failure| format!("{}: {}", failure.kind, failure.value));
                return true;
            }
            Event::StartFailed { failure, .. } => {
                outcome.failure = Some(format!("{}: {}", failure.kind, failure.value));
                return true;
            }
            Event::Write { data, ticket, .. } => {
                outcome.written.extend_from_slice(&data);
                self.session.answer_write(broker, ticket).unwrap();
            }
            Event::Unpack { ticket, .. } => {
                outcome.unpacked = true;
                self.session.answer_write(broker, ticket).unwrap();
            }
            Event::Read { ticket, max, .. } => {
                let block = file.split_to(max.min(file.len()));
                self.session.answer_read(broker, ticket, block).unwrap();
            }
            Event::CloseWrite { .. } | Event::CloseRead { .. } => outcome.closed = true,
            Event::SetTimes { accessed, modified, .. } => outcome.times = Some((accessed, modified)),
            Event::Started { .. } | Event::Keepalive => {}
            other => panic!("{}: {other:?} during a command", self.kind.name),
        }
        false
    }
}

impl Outcome {
    fn update(&mut self, update: Update) {
        match update {
            Update::Stdout(text) => self.stdout.push_str(&text),
            Update::Stderr(text) => self.stderr.push_str(&text),
            Update::Header(text) => self.header.push_str(&text),
            Update::Log { name, text } => self.logs.entry(name.to_string()).or_default().push_str(&text),
            Update::Rc(rc) => {
                assert_eq!(self.rc, None, "one exit status");
                self.rc = Some(rc);
            }
            Update::Elapsed(seconds) => self.elapsed = Some(seconds),
            Update::Files(files) => self.files = Some(files),
            Update::Stat(stat) => self.stat = Some(stat),
            Update::GotRevision(revision) => self.revision = revision,
            Update::FailureReason(reason) => self.reason = Some(reason),
            other => panic!("{other:?}"),
        }
    }
}
