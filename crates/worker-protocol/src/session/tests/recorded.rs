//! What real workers said to a real master, in the order in which they said it (`protocol-fixtures/conversations`).

use std::path::{Path, PathBuf};

use bytes::BytesMut;
use perspective_broker::{Decoder, Dialect, Element, unjelly};

use super::*;

/// One expression of a conversation.
enum Said {
    Master(Vec<Element>),
    Worker(Vec<Element>),
}

fn conversations() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocol-fixtures/conversations");
    let directories = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = directories
        .filter(|directory| directory.is_dir())
        .flat_map(|directory| std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pbc"))
        .collect();
    files.sort();
    files
}

/// Bytes of one line, in the escapes of `protocol-fixtures/conversation.py`: `\\`, `\xNN`, and `\*NNxCOUNT;` for a run.
fn unescape(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let hex = |from: usize| u8::from_str_radix(&escape[from..from + 2], 16).unwrap();
        rest = match &escape[..1] {
            "\\" => {
                bytes.push(b'\\');
                &escape[1..]
            }
            "x" => {
                bytes.push(hex(1));
                &escape[3..]
            }
            "*" => {
                let (run, tail) = escape.split_once(';').unwrap();
                let (_, count) = run.split_once('x').unwrap();
                bytes.extend(std::iter::repeat_n(hex(1), count.parse().unwrap()));
                tail
            }
            other => panic!("unknown escape {other:?}"),
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn decoded(decoder: &mut Decoder, input: &mut BytesMut, path: &Path) -> Option<Element> {
    decoder.next(input).unwrap_or_else(|error| panic!("{}: {error:?}", path.display()))
}

fn read(path: &Path) -> Vec<Said> {
    let limits = Limits::default();
    let (mut master, mut worker) = (Decoder::new(&limits), Decoder::new(&limits));
    let (mut from_master, mut from_worker) = (BytesMut::new(), BytesMut::new());
    let mut said = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        match line.split_at_checked(2) {
            Some(("S ", bytes)) => from_master.extend_from_slice(&unescape(bytes)),
            Some(("C ", bytes)) => from_worker.extend_from_slice(&unescape(bytes)),
            _ => continue,
        }
        while let Some(element) = decoded(&mut master, &mut from_master, path) {
            if let Element::List(items) = element {
                said.push(Said::Master(items));
            }
        }
        while let Some(element) = decoded(&mut worker, &mut from_worker, path) {
            match element {
                Element::List(items) => said.push(Said::Worker(items)),
                _ => {
                    master.set_dialect(Dialect::Pb);
                    worker.set_dialect(Dialect::Pb);
                }
            }
        }
    }
    said
}

/// A conversation as it is played to a session: the numbers on record stand for objects and calls of today.
struct Playback {
    pair: Pair,
    objects: HashMap<i64, RemoteId>,
    calls: HashMap<i64, ReplyId>,
    started: usize,
    /// How many the worker ended, and how many of these the session told.
    ended: usize,
    told: usize,
}

impl Playback {
    fn new(python2: bool) -> Self {
        let kind = if python2 { StringKind::Bytes } else { StringKind::Unicode };
        let (pair, ..) = Pair::attached(if python2 { "2.16" } else { "3.3" }, kind);
        Self { pair, objects: HashMap::new(), calls: HashMap::new(), started: 0, ended: 0, told: 0 }
    }

    /// A new builder for each command: the names of the recorded ones are of no matter.
    fn start(&mut self, request: i64, args: &[Value]) {
        let [Value::Remote(object), _, name, arguments] = args else { panic!("startCommand{args:?}") };
        let stream = arguments.get("writer").or_else(|| arguments.get("reader")).and_then(Value::as_remote);
        let command = match name.as_text().unwrap() {
            "uploadFile" | "uploadDirectory" => Command::UploadFile(UploadFile::new("build", "f")),
            "downloadFile" => Command::DownloadFile(DownloadFile::new("build", "f")),
            _ => shell(),
        };
        let busy: Vec<_> = self.pair.session.builders.running_names();
        let builder = format!("builder-{}", self.started);
        let list: Vec<_> = busy.iter().chain([&builder]).map(|name| (name.clone(), "dir")).collect();
        self.pair.session.set_builders(&mut self.pair.master, &list).unwrap();
        let call = self.pair.called("setBuilderList");
        let answer = list.iter().map(|(name, _)| {
            let object = self.pair.worker.export();
            (self.pair.kind.text(name.clone()), Value::Local(object))
        });
        let answer = Value::Dict(answer.collect());
        self.pair.worker.answer(call.reply, answer).unwrap();
        self.pair.pump().unwrap();
        let (_, call, today, stream_today) = self.pair.start(&builder, &command);
        self.objects.insert(object.get(), today);
        self.objects.extend(stream.map(RemoteId::get).zip(stream_today));
        self.calls.insert(request, call.reply);
        self.started += 1;
    }

    fn say(&mut self, said: Vec<Element>, path: &Path) {
        let [Element::Bytes(verb), Element::Int(number), rest @ ..] = &said[..] else { return };
        match (&**verb, rest) {
            (b"message", [Element::Int(object), Element::Bytes(method), _, args, _]) => {
                let Some(target) = self.objects.get(object).copied() else { return };
                let args = unjelly(args.clone()).unwrap().into_list().unwrap();
                let method = std::str::from_utf8(method).unwrap().to_owned();
                self.ended += usize::from(method == "complete");
                self.pair.call(target, &method, args);
            }
            (b"answer", _) => {
                let Some(reply) = self.calls.remove(number) else { return };
                self.pair.worker.answer(reply, Value::None).unwrap();
            }
            (b"error", _) => {
                let Some(reply) = self.calls.remove(number) else { return };
                self.ended += 1;
                self.pair.worker.fail(reply, Failure::new("builtins.Exception", "")).unwrap();
            }
            _ => return,
        }
        for event in self.pair.events() {
            match event {
                Event::Write { ticket, .. } | Event::Unpack { ticket, .. } => {
                    self.pair.session.answer_write(&mut self.pair.master, ticket).unwrap();
                }
                Event::Read { ticket, .. } => {
                    self.pair.session.answer_read(&mut self.pair.master, ticket, Bytes::new()).unwrap();
                }
                Event::Update { update: Update::Other { key, value }, .. } => {
                    panic!("{}: {key} {value:?} is not understood", path.display())
                }
                Event::Complete { .. } | Event::StartFailed { .. } => self.told += 1,
                _ => {}
            }
        }
    }
}

#[test]
fn all_that_real_workers_said_is_understood() {
    let mut ended = 0;
    for path in conversations() {
        let python2 = ["slave-", "-py27"].iter().any(|part| path.display().to_string().contains(part));
        let mut playback = Playback::new(python2);
        for said in read(&path) {
            match said {
                Said::Worker(items) => playback.say(items, &path),
                Said::Master(items) => {
                    if let [_, Element::Int(request), _, Element::Bytes(method), _, args, _] = &items[..]
                        && &**method == b"startCommand"
                    {
                        let args = unjelly(args.clone()).unwrap().into_list().unwrap();
                        playback.start(*request, &args);
                    }
                }
            }
        }
        assert_eq!(playback.told, playback.ended, "{}", path.display());
        ended += playback.ended;
    }
    assert!(ended > 100, "only {ended} commands on record");
}
