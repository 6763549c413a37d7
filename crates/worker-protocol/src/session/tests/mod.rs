//! A session against a scripted worker in memory: every peculiarity of real workers that was ever seen.

mod recorded;

use perspective_broker::{Limits, Shared};

use super::*;
use crate::command::{Command, DownloadFile, MakeDirectory, Program, RemoveDirectory, Shell, UploadFile};
use crate::text::lossy;
use crate::update::Update;

/// Both ends of one connection. The worker's end does only what a test says.
struct Pair {
    master: Broker,
    session: Session,
    worker: Broker,
    bot: LocalId,
    perspective: RemoteId,
    inbox: VecDeque<BrokerEvent>,
    /// What the worker's strings are.
    kind: StringKind,
}

struct Call {
    target: LocalId,
    method: String,
    args: Vec<Value>,
    reply: ReplyId,
}

impl Pair {
    fn new(kind: StringKind) -> Self {
        let mut master = Broker::server(Limits::default());
        let mut worker = Broker::client(Limits::default());
        let bot = worker.export();
        worker.login("w1", b"sekrit", Some(bot)).unwrap();
        let (mut session, mut perspective) = (None, None);
        while perspective.is_none() {
            exchange(&mut master, &mut worker);
            while let Some(event) = master.poll_event() {
                if let BrokerEvent::Login { login, mind, .. } = event {
                    let object = master.export();
                    master.accept_login(login, object).unwrap();
                    session = Some(Session::new(mind.unwrap(), object, SessionLimits::default()));
                }
            }
            while let Some(event) = worker.poll_event() {
                if let BrokerEvent::LoggedIn { perspective: object, .. } = event {
                    perspective = Some(object);
                }
            }
        }
        let mut session = session.unwrap();
        session.start(&mut master).unwrap();
        Self { master, session, worker, bot, perspective: perspective.unwrap(), inbox: VecDeque::new(), kind }
    }

    /// A worker of this version with the builders `a` and `b`.
    fn attached(version: &'static str, kind: StringKind) -> (Self, LocalId, LocalId) {
        let mut pair = Self::new(kind);
        let names = ["shell", "uploadFile", "downloadFile", "mkdir", "rmdir", "rmfile"];
        let versions = names.map(|name| (kind.text(name), kind.text(version)));
        if version < "3" {
            pair.refuse_call("getWorkerInfo");
            pair.answer_call("getSlaveInfo", Value::Dict(vec![]));
            pair.answer_call("getCommands", Value::Dict(versions.into()));
            pair.answer_call("getVersion", kind.text("0.8"));
        } else {
            let info = vec![(kind.text("worker_commands"), Value::Dict(versions.into()))];
            pair.answer_call("getWorkerInfo", Value::Dict(info));
        }
        assert!(matches!(pair.events()[..], [Event::Attached(_)]));
        let (a, b) = (pair.worker.export(), pair.worker.export());
        pair.set_builders(&[("a", a), ("b", b)]);
        (pair, a, b)
    }

    fn new_worker() -> (Self, LocalId, LocalId) {
        Self::attached("3.3", StringKind::Unicode)
    }

    fn set_builders(&mut self, builders: &[(&'static str, LocalId)]) {
        let names: Vec<_> = builders.iter().map(|(name, _)| (*name, *name)).collect();
        self.session.set_builders(&mut self.master, &names).unwrap();
        let answer = builders.iter().map(|(name, object)| (self.kind.text(*name), Value::Local(*object)));
        let answer = Value::Dict(answer.collect());
        self.answer_call("setBuilderList", answer);
        assert!(matches!(self.events()[..], [Event::BuildersSet]));
    }

    /// Lets everything arrive.
    fn pump(&mut self) -> Result<(), SessionError> {
        loop {
            exchange(&mut self.master, &mut self.worker);
            while let Some(event) = self.master.poll_event() {
                self.session.handle(&mut self.master, event)?;
            }
            while let Some(event) = self.worker.poll_event() {
                self.inbox.push_back(event);
            }
            if self.master.outgoing().is_empty() && self.worker.outgoing().is_empty() {
                return Ok(());
            }
        }
    }

    fn events(&mut self) -> Vec<Event> {
        self.pump().unwrap();
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    fn updates(&mut self) -> Vec<Update> {
        let update = |event| match event {
            Event::Update { update, .. } => update,
            other => panic!("{other:?} is no update"),
        };
        self.events().into_iter().map(update).collect()
    }

    /// Everything that reached the worker and was not looked at.
    fn arrived(&mut self) -> Vec<BrokerEvent> {
        self.pump().unwrap();
        self.inbox.drain(..).collect()
    }

    /// The next call that reached the worker.
    fn called(&mut self, expected: &str) -> Call {
        self.pump().unwrap();
        while let Some(event) = self.inbox.pop_front() {
            if let BrokerEvent::Call { target: Target::Local(target), method, args, reply, .. } = event {
                assert_eq!(&*method, expected);
                return Call { target, method: method.to_string(), args, reply: reply.unwrap() };
            }
        }
        panic!("the worker was not called for {expected}");
    }

    fn answer_call(&mut self, method: &str, value: Value) {
        let call = self.called(method);
        self.worker.answer(call.reply, value).unwrap();
    }

    fn refuse_call(&mut self, method: &str) {
        let call = self.called(method);
        self.worker.fail(call.reply, Failure::no_such_method(method)).unwrap();
    }

    fn call(&mut self, target: RemoteId, method: &str, args: Vec<Value>) -> RequestId {
        self.worker.call(target, method, args, vec![]).unwrap()
    }

    fn update(&mut self, command: RemoteId, key: &'static str, value: Value) -> RequestId {
        let entries = Value::Dict(vec![(self.kind.text(key), value)]);
        let updates = Value::List(vec![Value::List(vec![entries, Value::Int(0)])]);
        self.call(command, "update", vec![updates])
    }

    fn complete(&mut self, command: RemoteId) -> RequestId {
        self.call(command, "complete", vec![Value::None])
    }

    /// What came back for a call of the worker's.
    fn result(&mut self, wanted: RequestId) -> Result<Value, Failure> {
        self.pump().unwrap();
        let at = self.inbox.iter().position(|event| match event {
            BrokerEvent::Answered { request, .. } | BrokerEvent::Failed { request, .. } => *request == wanted,
            _ => false,
        });
        match self.inbox.remove(at.expect("an answer")) {
            Some(BrokerEvent::Answered { value, .. }) => Ok(value),
            Some(BrokerEvent::Failed { failure, .. }) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    /// Starts a command and gives back the worker's view: the call, its object, its writer or reader.
    fn start(&mut self, builder: &str, command: &Command) -> (CommandId, Call, RemoteId, Option<RemoteId>) {
        let id = self.session.start_command(&mut self.master, builder, command).unwrap();
        let call = self.called("startCommand");
        let (object, stream) = references(&call);
        (id, call, object, stream)
    }

    fn shell(&mut self) -> (CommandId, RemoteId) {
        let (id, call, object, _) = self.start("a", &shell());
        self.worker.answer(call.reply, Value::None).unwrap();
        assert!(matches!(self.events()[..], [Event::Started { command }] if command == id));
        (id, object)
    }
}

fn references(call: &Call) -> (RemoteId, Option<RemoteId>) {
    let [Value::Remote(object), _, _, Value::Dict(arguments)] = &call.args[..] else {
        panic!("{}: {:?}", call.method, call.args)
    };
    let stream = arguments.iter().find_map(|(_, value)| match value {
        Value::Remote(stream) => Some(*stream),
        _ => None,
    });
    (*object, stream)
}

fn exchange(one: &mut Broker, other: &mut Broker) {
    while !one.outgoing().is_empty() || !other.outgoing().is_empty() {
        let mut bytes = one.outgoing().split();
        other.receive(&mut bytes).unwrap();
        let mut bytes = other.outgoing().split();
        one.receive(&mut bytes).unwrap();
    }
}

fn shell() -> Command {
    Command::Shell(Box::new(Shell::new("build", Program::words(["make"]))))
}

fn text(text: &'static str) -> Value {
    Value::Text(text.into())
}

fn bytes(text: &'static [u8]) -> Value {
    Value::Bytes(Bytes::from_static(text))
}

#[test]
fn a_new_worker_is_asked_once() {
    let mut pair = Pair::new(StringKind::Unicode);
    let info = vec![
        (text("admin"), text("Ann")),
        (text("worker_commands"), Value::Dict(vec![(text("shell"), text("3.3"))])),
    ];
    pair.answer_call("getWorkerInfo", Value::Dict(info));
    let [Event::Attached(info)] = &pair.events()[..] else { panic!("not attached") };
    assert_eq!((info.admin.as_deref(), info.python2, info.worker_words), (Some("Ann"), false, true));
    assert!(pair.arrived().is_empty());
}

#[test]
fn a_slave_is_asked_in_three_questions_and_spoken_to_in_bytes() {
    let mut pair = Pair::new(StringKind::Bytes);
    pair.refuse_call("getWorkerInfo");
    pair.answer_call("getSlaveInfo", Value::Dict(vec![]));
    pair.answer_call("getCommands", Value::Dict(vec![(bytes(b"shell"), bytes(b"2.16"))]));
    assert!(pair.events().is_empty(), "not before all is known");
    pair.answer_call("getVersion", bytes(b"0.8.14"));
    let [Event::Attached(info)] = &pair.events()[..] else { panic!("not attached") };
    assert_eq!((info.version.as_deref(), info.python2, info.worker_words), (Some("0.8.14"), true, false));
    pair.session.set_builders(&mut pair.master, &[("a", "dir")]).unwrap();
    let call = pair.called("setBuilderList");
    assert_eq!(call.target, pair.bot);
    assert_eq!(call.args, [Value::List(vec![Value::Tuple(vec![bytes(b"a"), bytes(b"dir")])])]);
}

/// Trap 24.
#[test]
fn a_worker_that_cannot_describe_itself_is_taken() {
    let mut pair = Pair::new(StringKind::Unicode);
    let call = pair.called("getWorkerInfo");
    pair.worker
        .fail(call.reply, Failure::new("builtins.UnicodeEncodeError", "surrogates not allowed"))
        .unwrap();
    pair.answer_call("getCommands", Value::Dict(vec![(text("shell"), text("3.3"))]));
    let call = pair.called("getVersion");
    pair.worker.fail(call.reply, Failure::new("builtins.Exception", "no")).unwrap();
    let [Event::Attached(info)] = &pair.events()[..] else { panic!("not attached") };
    assert_eq!(info.command_version("shell"), Some(crate::CommandVersion::new(3, 3)));
    assert!(info.worker_words && info.admin.is_none());
}

/// Trap 22: the program's version may be a date, and decides nothing.
#[test]
fn a_date_as_version_changes_nothing() {
    let mut pair = Pair::new(StringKind::Unicode);
    let commands = Value::Dict(vec![(text("shell"), text("3.1"))]);
    let info = vec![(text("version"), text("2026.11.23")), (text("worker_commands"), commands)];
    pair.answer_call("getWorkerInfo", Value::Dict(info));
    let [Event::Attached(info)] = &pair.events()[..] else { panic!("not attached") };
    assert_eq!(info.version.as_deref(), Some("2026.11.23"));
    assert_eq!(info.version_for_arguments(), crate::CommandVersion::new(3, 1));
}

/// Trap 3.
#[test]
fn an_answer_may_come_after_the_end() {
    let (mut pair, ..) = Pair::new_worker();
    let command = Command::MakeDirectory(MakeDirectory { dir: "d".into() });
    let (id, call, object, _) = pair.start("a", &command);
    pair.update(object, "rc", Value::Int(0));
    pair.complete(object);
    let events = pair.events();
    let [Event::Update { update: Update::Rc(0), .. }, Event::Complete { command, failure: None }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(*command, id);
    // The builder is free, although the answer is still to come.
    let (second, ..) = pair.start("a", &shell());
    assert_ne!(second, id);
    pair.worker.answer(call.reply, Value::None).unwrap();
    assert!(pair.events().is_empty());
}

#[test]
fn an_error_after_the_end_changes_nothing() {
    let (mut pair, ..) = Pair::new_worker();
    let (_, call, object, _) = pair.start("a", &shell());
    pair.complete(object);
    assert!(matches!(pair.events()[..], [Event::Complete { .. }]));
    pair.worker.fail(call.reply, Failure::new("builtins.Exception", "too late")).unwrap();
    assert!(pair.events().is_empty());
}

#[test]
fn a_refused_command_ends_with_that() {
    let (mut pair, ..) = Pair::new_worker();
    let (id, call, ..) = pair.start("a", &shell());
    pair.worker.fail(call.reply, Failure::new("buildbot_worker.base.UnknownCommand", "shell")).unwrap();
    let events = pair.events();
    assert!(matches!(&events[..], [Event::StartFailed { command, .. }] if *command == id), "{events:?}");
    pair.start("a", &shell());
}

/// Trap 4.
#[test]
fn updates_follow_the_exit_status() {
    let (mut pair, ..) = Pair::new_worker();
    let (_, object) = pair.shell();
    pair.update(object, "rc", Value::Int(0));
    pair.update(object, "header", text("elapsedTime=0.1\n"));
    pair.update(object, "elapsed", Value::Float(0.1));
    let request = pair.update(object, "stdout", text("the last line"));
    let expected = [
        Update::Rc(0),
        Update::Header("elapsedTime=0.1\n".into()),
        Update::Elapsed(0.1),
        Update::Stdout("the last line".into()),
    ];
    assert_eq!(pair.updates(), expected);
    assert_eq!(pair.result(request), Ok(Value::Int(0)));
    let request = pair.complete(object);
    assert!(matches!(pair.events()[..], [Event::Complete { failure: None, .. }]));
    assert_eq!(pair.result(request), Ok(Value::None));
}

#[test]
fn one_update_may_hold_several_keys() {
    let (mut pair, ..) = Pair::attached("2.16", StringKind::Bytes);
    let (_, object) = pair.shell();
    let entries = Value::Dict(vec![(text("stderr"), bytes(b"no\n")), (bytes(b"rc"), Value::Int(1))]);
    let updates = Value::List(vec![Value::List(vec![entries, Value::Int(0)])]);
    pair.call(object, "update", vec![updates]);
    assert_eq!(pair.updates(), [Update::Stderr("no\n".into()), Update::Rc(1)]);
}

/// Trap 23: a Python object that occurs twice travels as a back reference.
#[test]
fn containers_that_occur_twice_are_understood() {
    let (mut pair, ..) = Pair::new_worker();
    let (_, object) = pair.shell();
    let entries = Value::Dict(vec![(text("stdout"), text("a"))]);
    let line = Value::from(Shared::new(Value::List(vec![Shared::new(entries).into(), Value::Int(0)])));
    let request = pair.call(object, "update", vec![Value::List(vec![line.clone(), line])]);
    assert_eq!(pair.updates(), [Update::Stdout("a".into()), Update::Stdout("a".into())]);
    assert_eq!(pair.result(request), Ok(Value::Int(0)));
}

/// Trap 17.
#[test]
fn a_character_cut_between_updates_is_joined_and_a_rest_is_shown() {
    let (mut pair, ..) = Pair::attached("2.16", StringKind::Bytes);
    let (_, object) = pair.shell();
    pair.update(object, "stdout", bytes(b"\xe2\x82"));
    pair.update(object, "stdout", bytes(b"\xac\xe2"));
    pair.complete(object);
    let events = pair.events();
    let texts = events.iter().filter_map(|event| match event {
        Event::Update { update: Update::Stdout(text), .. } => Some(&**text),
        _ => None,
    });
    assert_eq!(texts.collect::<Vec<_>>(), ["€", "\u{fffd}"]);
    assert!(matches!(events.last(), Some(Event::Complete { .. })));
}

#[test]
fn the_text_of_an_update_is_not_copied() {
    let mut streams = crate::update::Streams::default();
    for value in [Value::Text("line\n".into()), bytes(b"line\n")] {
        let at = match &value {
            Value::Text(text) => text.as_ptr(),
            Value::Bytes(bytes) => bytes.as_ptr(),
            _ => unreachable!(),
        };
        let Some(Update::Stdout(out)) = streams.decode(text("stdout"), value) else { panic!("no text") };
        assert_eq!(out.as_ptr(), at);
    }
}

/// Trap 5.
#[test]
fn calls_of_a_transfer_never_fail() {
    let (mut pair, ..) = Pair::new_worker();
    let (id, call, object, writer) = pair.start("a", &Command::UploadFile(UploadFile::new("build", "f")));
    let writer = writer.unwrap();
    pair.worker.answer(call.reply, Value::None).unwrap();
    assert!(matches!(pair.events()[..], [Event::Started { .. }]));
    let write = pair.call(writer, "write", vec![bytes(b"data")]);
    let mut events = pair.events();
    let Some(Event::Write { data, ticket, .. }) = events.pop() else { panic!("no block") };
    assert_eq!(&*data, b"data");
    assert!(pair.arrived().is_empty(), "not answered before the block is consumed");
    pair.session.answer_write(&mut pair.master, ticket).unwrap();
    assert_eq!(pair.result(write), Ok(Value::None));
    for (method, args) in [
        ("close", vec![]),
        ("utime", vec![Value::Tuple(vec![Value::None, Value::None])]),
        ("utime", vec![Value::None]),
        ("read", vec![Value::Int(1)]),
        ("of the future", vec![]),
    ] {
        let request = pair.call(writer, method, args);
        assert_eq!(pair.result(request), Ok(Value::None), "{method}");
    }
    let times = Value::Tuple(vec![Value::Float(1.5), Value::Float(2.5)]);
    pair.call(writer, "utime", vec![times]);
    pair.complete(object);
    let events = pair.events();
    let [
        Event::CloseWrite { .. },
        Event::SetTimes { accessed, modified, .. },
        Event::Complete { command, .. },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*accessed, *modified, *command), (1.5, 2.5, id));
}

/// Trap 9.
#[test]
fn a_download_is_read_in_byte_strings() {
    let (mut pair, ..) = Pair::new_worker();
    let (_, call, _, reader) = pair.start("a", &Command::DownloadFile(DownloadFile::new("build", "f")));
    pair.worker.answer(call.reply, Value::None).unwrap();
    pair.events();
    for (data, asked) in [(&b"block"[..], 8), (b"None", 4), (b"", 8), (b"x", i64::MAX)] {
        let request = pair.call(reader.unwrap(), "read", vec![Value::Int(asked)]);
        let Some(Event::Read { max, ticket, .. }) = pair.events().pop() else { panic!("no read") };
        assert_eq!(max, usize::try_from(asked).unwrap().min(655_360));
        pair.session.answer_read(&mut pair.master, ticket, Bytes::from_static(data)).unwrap();
        assert_eq!(pair.result(request), Ok(bytes(data)));
    }
    let request = pair.call(reader.unwrap(), "read", vec![Value::Int(2)]);
    let Some(Event::Read { ticket, .. }) = pair.events().pop() else { panic!("no read") };
    let refused = pair.session.answer_read(&mut pair.master, ticket, Bytes::from_static(b"abc")).unwrap_err();
    let ReadError::TooLong { len: 3, ticket } = refused else { panic!("{refused}") };
    pair.session.answer_read(&mut pair.master, ticket, Bytes::from_static(b"ab")).unwrap();
    assert_eq!(pair.result(request), Ok(bytes(b"ab")));
    let request = pair.call(reader.unwrap(), "close", vec![]);
    assert_eq!(pair.result(request), Ok(Value::None));
    assert!(matches!(pair.events()[..], [Event::CloseRead { .. }]));
}

#[test]
fn a_worker_that_does_not_wait_for_its_answers_is_dropped() {
    let (mut pair, ..) = Pair::new_worker();
    let (_, _, _, writer) = pair.start("a", &Command::UploadFile(UploadFile::new("build", "f")));
    for _ in 0..=SessionLimits::default().unanswered_blocks {
        pair.call(writer.unwrap(), "write", vec![bytes(b"x")]);
    }
    assert!(matches!(pair.pump(), Err(SessionError::TooManyBlocks { limit: 4 })));
}

/// Trap 12.
#[test]
fn references_to_builders_are_given_back_exactly() {
    let (mut pair, a, b) = Pair::new_worker();
    pair.set_builders(&[("a", a), ("b", b)]);
    pair.set_builders(&[("a", a), ("b", b)]);
    let released = |pair: &mut Pair| -> Vec<LocalId> {
        let events = pair.arrived().into_iter();
        events
            .filter_map(|event| if let BrokerEvent::Released { local } = event { Some(local) } else { None })
            .collect()
    };
    assert_eq!(released(&mut pair), [], "one reference to each is left");
    pair.set_builders(&[("a", a)]);
    assert_eq!(released(&mut pair), [b]);
    let again = pair.worker.export();
    pair.set_builders(&[("a", a), ("b", again)]);
    pair.set_builders(&[]);
    let mut gone = released(&mut pair);
    gone.sort();
    assert_eq!(gone, [a, again]);
}

/// Trap 13.
#[test]
fn a_late_release_or_call_for_a_command_is_harmless() {
    let (mut pair, ..) = Pair::new_worker();
    let (_, object) = pair.shell();
    pair.complete(object);
    assert!(matches!(pair.events()[..], [Event::Complete { .. }]));
    let late = pair.update(object, "stdout", text("late"));
    assert!(pair.result(late).is_err());
    pair.worker.release(object).unwrap();
    assert!(pair.events().is_empty());
    let (_, next) = pair.shell();
    // On Python 2 the reference may go before the answer.
    pair.complete(next);
    pair.worker.release(next).unwrap();
    assert!(matches!(pair.events()[..], [Event::Complete { .. }]));
}

/// Trap 14.
#[test]
fn an_interruption_is_only_sent_to_a_command_that_runs() {
    let (mut pair, a, _) = Pair::new_worker();
    let (id, object) = pair.shell();
    pair.session.interrupt(&mut pair.master, id, "enough").unwrap();
    let call = pair.called("interruptCommand");
    assert_eq!((call.target, &call.args[..]), (a, &[text("1"), text("enough")][..]));
    pair.worker.answer(call.reply, Value::None).unwrap();
    pair.update(object, "rc", Value::Int(-1));
    pair.complete(object);
    assert!(matches!(pair.events()[..], [Event::Update { .. }, Event::Complete { .. }]));
    pair.arrived();
    pair.session.interrupt(&mut pair.master, id, "enough").unwrap();
    assert!(pair.arrived().is_empty());
}

/// Trap 15.
#[test]
fn a_builder_runs_one_command() {
    let (mut pair, ..) = Pair::new_worker();
    let (id, _) = pair.shell();
    let error = pair.session.start_command(&mut pair.master, "a", &shell()).unwrap_err();
    assert!(matches!(error, StartError::Busy { running, .. } if running == id), "{error}");
    assert!(pair.arrived().is_empty());
    pair.start("b", &shell());
    let error = pair.session.start_command(&mut pair.master, "c", &shell()).unwrap_err();
    assert!(matches!(error, StartError::NoBuilder { .. }));
}

/// Trap 16.
#[test]
fn a_builder_that_runs_a_command_is_not_taken_away() {
    let (mut pair, _, b) = Pair::new_worker();
    let (_, object) = pair.shell();
    let error = pair.session.set_builders(&mut pair.master, &[("b", "b")]).unwrap_err();
    assert_eq!(error.to_string(), "builder \"a\" runs a command and cannot be taken from the worker now");
    assert!(pair.arrived().is_empty());
    pair.complete(object);
    pair.events();
    pair.session.set_builders(&mut pair.master, &[("b", "b")]).unwrap();
    // It ends when the worker reads the list, so it is unusable from now on.
    let error = pair.session.start_command(&mut pair.master, "a", &shell()).unwrap_err();
    assert!(matches!(error, StartError::NoBuilder { .. }));
    pair.answer_call("setBuilderList", Value::Dict(vec![(text("b"), Value::Local(b))]));
    assert!(matches!(pair.events()[..], [Event::BuildersSet]));
}

#[test]
fn a_builder_that_goes_and_comes_back_is_another_one() {
    let (mut pair, a, b) = Pair::new_worker();
    pair.session.set_builders(&mut pair.master, &[("b", "b")]).unwrap();
    pair.session.set_builders(&mut pair.master, &[("a", "a"), ("b", "b")]).unwrap();
    // The one that is known here ends when the worker reads the first list.
    let error = pair.session.start_command(&mut pair.master, "a", &shell()).unwrap_err();
    assert!(matches!(error, StartError::NoBuilder { .. }));
    pair.answer_call("setBuilderList", Value::Dict(vec![(text("b"), Value::Local(b))]));
    assert!(matches!(pair.events()[..], [Event::BuildersSet]));
    let error = pair.session.start_command(&mut pair.master, "a", &shell()).unwrap_err();
    assert!(matches!(error, StartError::NoBuilder { .. }));
    let again = [("a", a), ("b", b)].map(|(name, object)| (text(name), Value::Local(object)));
    pair.answer_call("setBuilderList", Value::Dict(again.into()));
    assert!(matches!(pair.events()[..], [Event::BuildersSet]));
    pair.start("a", &shell());
}

#[test]
fn a_refused_list_leaves_the_old_one() {
    let (mut pair, ..) = Pair::new_worker();
    pair.session.set_builders(&mut pair.master, &[("b", "b")]).unwrap();
    let call = pair.called("setBuilderList");
    pair.worker.fail(call.reply, Failure::new("builtins.OSError", "disk full")).unwrap();
    assert!(
        matches!(&pair.events()[..], [Event::BuildersRefused(failure)] if failure.is("builtins.OSError"))
    );
    pair.start("a", &shell());
    let many: Vec<_> = (0..2000).map(|n| (n.to_string(), "d")).collect();
    let error = pair.session.set_builders(&mut pair.master, &many).unwrap_err();
    assert!(matches!(error, BuildersError::TooMany { count: 2000, limit: 1023 }));
}

#[test]
fn several_directories_on_an_old_worker_are_one_command_here() {
    let (mut pair, ..) = Pair::attached("2.13", StringKind::Bytes);
    let command = Command::RemoveDirectory(RemoveDirectory::new(["d", "e", "f"]));
    let (id, mut call, mut object, _) = pair.start("a", &command);
    for (dir, rc) in [(b"d", 0), (b"e", 1), (b"f", 0)] {
        let Value::Dict(arguments) = &call.args[3] else { panic!("no arguments") };
        assert_eq!(arguments[0].1, bytes(dir));
        pair.worker.answer(call.reply, Value::None).unwrap();
        pair.update(object, "rc", Value::Int(rc));
        pair.update(object, "elapsed", Value::Float(0.5));
        pair.complete(object);
        if dir == b"f" {
            break;
        }
        call = pair.called("startCommand");
        object = references(&call).0;
    }
    let events = pair.events();
    let [
        Event::Started { .. },
        Event::Update { update: Update::Rc(1), .. },
        Event::Update { update: Update::Elapsed(elapsed), .. },
        Event::Complete { command, failure: None },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*elapsed, *command), (1.5, id));
}

#[test]
fn an_interruption_ends_the_rest_of_several_directories() {
    let (mut pair, ..) = Pair::attached("2.13", StringKind::Bytes);
    let (id, _, object, _) = pair.start("a", &Command::RemoveDirectory(RemoveDirectory::new(["d", "e"])));
    pair.session.interrupt(&mut pair.master, id, "enough").unwrap();
    pair.update(object, "rc", Value::Int(-1));
    pair.complete(object);
    assert!(matches!(
        pair.events()[..],
        [Event::Update { update: Update::Rc(-1), .. }, Event::Complete { .. }]
    ));
}

#[test]
fn a_failure_of_the_worker_itself_comes_with_the_end() {
    let (mut pair, ..) = Pair::new_worker();
    let (_, object) = pair.shell();
    let failure =
        Value::Failure(Box::new(Failure::new("builtins.RuntimeError", "SIGKILL failed to kill process")));
    pair.call(object, "complete", vec![failure]);
    let events = pair.events();
    let [Event::Complete { failure: Some(failure), .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(failure.value, "SIGKILL failed to kill process");
}

#[test]
fn malformed_calls_end_the_session() {
    for args in [
        vec![],
        vec![Value::Int(1)],
        vec![Value::List(vec![Value::Int(1)])],
        vec![Value::List(vec![Value::List(vec![])])],
    ] {
        let (mut pair, ..) = Pair::new_worker();
        let (_, object) = pair.shell();
        pair.call(object, "update", args);
        assert!(matches!(pair.pump(), Err(SessionError::Malformed { .. })));
    }
    let (mut pair, ..) = Pair::new_worker();
    pair.session.set_builders(&mut pair.master, &[("a", "a")]).unwrap();
    pair.answer_call("setBuilderList", Value::Dict(vec![(text("a"), Value::Int(1))]));
    assert!(matches!(pair.pump(), Err(SessionError::Malformed { .. })));
}

#[test]
fn the_worker_speaks_for_itself() {
    let (mut pair, ..) = Pair::new_worker();
    let keepalive = pair.call(pair.perspective, "keepalive", vec![]);
    assert_eq!(pair.result(keepalive), Ok(Value::None));
    let shutdown = pair.call(pair.perspective, "shutdown", vec![]);
    assert_eq!(pair.result(shutdown), Ok(Value::None));
    assert!(matches!(pair.events()[..], [Event::Keepalive, Event::ShutdownRequested]));
    let odd = pair.call(pair.perspective, "explode", vec![]);
    assert!(pair.result(odd).unwrap_err().is("twisted.spread.flavors.NoSuchMethod"));
}

#[test]
fn a_ping_is_answered_or_fails() {
    let (mut pair, ..) = Pair::new_worker();
    pair.session.ping(&mut pair.master, "hello").unwrap();
    let call = pair.called("print");
    assert_eq!(lossy(&call.args[0]).as_deref(), Some("hello"));
    pair.worker.answer(call.reply, Value::None).unwrap();
    assert!(matches!(pair.events()[..], [Event::Pong]));
    pair.session.ping(&mut pair.master, "hello").unwrap();
    let call = pair.called("print");
    pair.worker.fail(call.reply, Failure::new("builtins.OSError", "disk full")).unwrap();
    assert!(matches!(pair.events()[..], [Event::PingFailed(_)]));
}

#[test]
fn the_oldest_slaves_are_shut_down_by_a_builder() {
    let (mut pair, a, b) = Pair::attached("2.9", StringKind::Bytes);
    pair.session.shutdown(&mut pair.master).unwrap();
    pair.refuse_call("shutdown");
    let call = pair.called("shutdown");
    assert!([a, b].contains(&call.target));
    pair.worker.fail(call.reply, Failure::new("exceptions.Exception", "no")).unwrap();
    assert!(matches!(pair.events()[..], [Event::ShutdownFailed(_)]));
    let (mut pair, ..) = Pair::new_worker();
    pair.session.shutdown(&mut pair.master).unwrap();
    assert_eq!(pair.called("shutdown").target, pair.bot);
}

/// References in places where nobody wants them are not kept.
#[test]
fn unwanted_references_are_given_back() {
    let (mut pair, ..) = Pair::new_worker();
    let (_, object) = pair.shell();
    let odd = pair.worker.export();
    pair.update(object, "novelty", Value::List(vec![Value::Local(odd)]));
    assert!(matches!(pair.updates()[..], [Update::Other { .. }]));
    let released = |pair: &mut Pair| {
        pair.arrived().iter().any(|event| matches!(event, BrokerEvent::Released { local } if *local == odd))
    };
    assert!(released(&mut pair));
    let odd = pair.worker.export();
    pair.call(pair.perspective, "keepalive", vec![Value::Dict(vec![(text("x"), Value::Local(odd))])]);
    let arrived = pair.arrived();
    assert!(arrived.iter().any(|event| matches!(event, BrokerEvent::Released { local } if *local == odd)));
}
