//! The fake worker against a real session.

use perspective_broker::Limits;

use super::*;
use crate::{
    Command, CommandVersion, DownloadFile, Event, MakeDirectory, Program, Session, SessionLimits, Shell,
    StatFile, Update, UploadDirectory, UploadFile,
};

struct Pair {
    master: Broker,
    session: Option<Session>,
    worker: Broker,
    fake: FakeWorker,
}

impl Pair {
    fn new(options: FakeOptions) -> Self {
        let mut worker = Broker::client(Limits::default());
        let mut fake = FakeWorker::new(options);
        fake.start(&mut worker);
        Self { master: Broker::server(Limits::default()), session: None, worker, fake }
    }

    fn with_builder(options: FakeOptions) -> Self {
        let mut pair = Self::new(options);
        assert!(matches!(pair.events()[..], [Event::Attached(_)]));
        pair.session.as_mut().unwrap().set_builders(&mut pair.master, &[("b", "b")]).unwrap();
        assert!(matches!(pair.events()[..], [Event::BuildersSet]));
        pair
    }

    /// All that happens until both sides wait; writes are taken and reads get `file` by the way.
    fn play(&mut self, mut file: Bytes) -> (Vec<Event>, Vec<u8>) {
        let (mut events, mut written) = (Vec::new(), Vec::new());
        loop {
            let mut bytes = self.master.outgoing().split();
            self.worker.receive(&mut bytes).unwrap();
            let mut bytes = self.worker.outgoing().split();
            self.master.receive(&mut bytes).unwrap();
            while let Some(event) = self.worker.poll_event() {
                self.fake.handle(&mut self.worker, event);
            }
            while let Some(event) = self.master.poll_event() {
                match (&mut self.session, event) {
                    (None, BrokerEvent::Login { login, proof, mind, .. }) => {
                        assert!(proof.verify(b"sekrit"));
                        let perspective = self.master.export();
                        self.master.accept_login(login, perspective).unwrap();
                        let mut session = Session::new(mind.unwrap(), perspective, SessionLimits::default());
                        session.start(&mut self.master).unwrap();
                        self.session = Some(session);
                    }
                    (Some(session), event) => session.handle(&mut self.master, event).unwrap(),
                    (None, _) => {}
                }
            }
            while let Some(event) = self.session.as_mut().and_then(Session::poll_event) {
                let session = self.session.as_mut().unwrap();
                match event {
                    Event::Write { data, ticket, .. } => {
                        written.extend_from_slice(&data);
                        session.answer_write(&mut self.master, ticket).unwrap();
                    }
                    Event::Unpack { ticket, .. } => session.answer_write(&mut self.master, ticket).unwrap(),
                    Event::Read { max, ticket, .. } => {
                        let block = file.split_to(max.min(file.len()));
                        session.answer_read(&mut self.master, ticket, block).unwrap();
                    }
                    event => events.push(event),
                }
            }
            if self.master.outgoing().is_empty() && self.worker.outgoing().is_empty() {
                return (events, written);
            }
        }
    }

    fn events(&mut self) -> Vec<Event> {
        self.play(Bytes::new()).0
    }

    fn start(&mut self, command: &Command) -> crate::CommandId {
        self.session.as_mut().unwrap().start_command(&mut self.master, "b", command).unwrap()
    }

    /// Standard output and exit status of a command that ended well.
    fn run(&mut self, command: &Command) -> (String, Option<i64>) {
        self.start(command);
        let events = self.events();
        assert!(matches!(events.last(), Some(Event::Complete { failure: None, .. })), "{events:?}");
        let (mut stdout, mut rc) = (String::new(), None);
        for event in events {
            match event {
                Event::Update { update: Update::Stdout(text), .. } => stdout.push_str(&text),
                Event::Update { update: Update::Rc(status), .. } => rc = Some(status),
                _ => {}
            }
        }
        (stdout, rc)
    }
}

fn options() -> FakeOptions {
    FakeOptions::new("w1", "sekrit")
}

fn shell(words: &[&'static str]) -> Command {
    Command::Shell(Box::new(Shell::new("build", Program::words(words.iter().copied()))))
}

#[test]
fn it_plays_programs_in_every_generation() {
    for (version, python2) in [((3, 3), false), ((3, 1), true), ((2, 16), true)] {
        let command_version = CommandVersion::new(version.0, version.1);
        let mut pair = Pair::with_builder(FakeOptions { command_version, python2, ..options() });
        let info = pair.session.as_ref().unwrap().info().unwrap();
        assert_eq!((info.python2, info.command_version("shell")), (python2, Some(command_version)));
        assert_eq!(pair.run(&shell(&["echo", "grüße"])), ("grüße\n".into(), Some(0)));
        assert_eq!(pair.run(&shell(&["exit", "3"])), (String::new(), Some(3)));
        assert_eq!(pair.run(&shell(&["make"])), (String::new(), Some(0)));
        let (output, _) = pair.run(&shell(&["emit", "3000", "99"]));
        assert_eq!(output.len(), 300_000);
        assert_eq!(pair.run(&Command::MakeDirectory(MakeDirectory { dir: "d".into() })).1, Some(0));
        let missing = Command::Stat(StatFile { file: "f".into(), workdir: "".into() });
        assert_eq!(pair.run(&missing).1, Some(2));
    }
}

#[test]
fn it_moves_files() {
    let block: Bytes = (0..5000_u32).map(|n| n as u8).collect::<Vec<_>>().into();
    let mut options = options();
    options.files.insert("f".into(), block.clone());
    options.files.insert("d".into(), Bytes::from_static(b"a tar stream"));
    let mut pair = Pair::with_builder(options);
    pair.start(&Command::UploadFile(UploadFile { block_size: 1000, ..UploadFile::new("build", "f") }));
    let (events, written) = pair.play(Bytes::new());
    assert!(written == block && matches!(events.last(), Some(Event::Complete { .. })));
    pair.start(&Command::UploadDirectory(UploadDirectory::new("build", "d")));
    assert_eq!(pair.play(Bytes::new()).1, b"a tar stream");
    assert_eq!(pair.run(&Command::UploadFile(UploadFile::new("build", "none"))).1, Some(1));
    pair.start(&Command::DownloadFile(DownloadFile {
        block_size: 1000,
        ..DownloadFile::new("build", "new")
    }));
    let (events, _) = pair.play(block.clone());
    assert!(matches!(events.last(), Some(Event::Complete { .. })));
    assert_eq!(pair.fake.files()["new"], block);
}

#[test]
fn it_hangs_until_somebody_ends_it() {
    let mut pair = Pair::with_builder(options());
    let id = pair.start(&shell(&["hang"]));
    assert!(!pair.events().iter().any(|event| matches!(event, Event::Complete { .. })));
    pair.fake.print(&mut pair.worker, "b", "stdout", "still here\n");
    assert!(matches!(pair.events()[..], [Event::Update { .. }]));
    pair.session.as_mut().unwrap().interrupt(&mut pair.master, id, "enough").unwrap();
    let events = pair.events();
    assert!(events.iter().any(|event| matches!(event, Event::Update { update: Update::Rc(-1), .. })));
    assert!(matches!(events.last(), Some(Event::Complete { .. })));

    pair.start(&shell(&["hang"]));
    pair.events();
    pair.fake.complete(&mut pair.worker, "b", Some(Failure::new("builtins.RuntimeError", "broken")));
    assert!(
        matches!(&pair.events()[..], [Event::Complete { failure: Some(failure), .. }] if failure.value == "broken")
    );
}

#[test]
fn it_misbehaves_as_told() {
    let mut pair = Pair::with_builder(options());
    pair.fake.faults().never_complete = true;
    pair.start(&shell(&["exit", "0"]));
    let events = pair.events();
    assert!(events.iter().any(|event| matches!(event, Event::Update { update: Update::Rc(0), .. })));
    assert!(!events.iter().any(|event| matches!(event, Event::Complete { .. })));
    pair.fake.faults().silent = true;
    pair.session.as_mut().unwrap().ping(&mut pair.master, "there?").unwrap();
    assert!(pair.events().is_empty());

    let faults = Faults { info_error: true, ..Faults::default() };
    let mut pair = Pair::new(FakeOptions { faults, ..options() });
    assert!(matches!(&pair.events()[..], [Event::Attached(info)] if info.admin.is_none()));
}

#[test]
fn it_speaks_first() {
    let mut pair = Pair::with_builder(options());
    pair.fake.keepalive(&mut pair.worker);
    pair.fake.request_shutdown(&mut pair.worker);
    assert!(matches!(pair.events()[..], [Event::Keepalive, Event::ShutdownRequested]));
    pair.session.as_mut().unwrap().shutdown(&mut pair.master).unwrap();
    pair.events();
    let told: Vec<_> = std::iter::from_fn(|| pair.fake.poll_event()).collect();
    assert!(
        matches!(told[..], [FakeEvent::LoggedIn, FakeEvent::Builders(_), FakeEvent::ShutDown]),
        "{told:?}"
    );
}
