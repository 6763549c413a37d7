//! Recorded conversations: `protocol-fixtures/conversations/*/*.pbc` and Twisted's decoding of them, `*.sexp`.

use bytes::BytesMut;
use perspective_broker::{Decoder, Dialect, Element, Limits};
use std::path::{Path, PathBuf};

/// What happened on a recorded connection.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Bytes of one side.
    Bytes(Side, Vec<u8>),
    /// That side sends no more.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Who connected: a worker or another client.
    Client,
    /// Who listened: the master.
    Server,
}

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocol-fixtures")
}

/// Every recorded conversation, in a fixed order.
pub(crate) fn recordings() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = read_dir(&fixtures().join("conversations"))
        .iter()
        .flat_map(|directory| read_dir(directory))
        .filter(|path| path.extension().is_some_and(|extension| extension == "pbc"))
        .collect();
    found.sort();
    assert!(found.len() > 100, "only {} recorded conversations found", found.len());
    found
}

fn read_dir(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The steps of one conversation.
pub(crate) fn read(path: &Path) -> Vec<Step> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| match (&line[..1], line.get(2..)) {
            ("C", Some(bytes)) => Step::Bytes(Side::Client, unescape(bytes)),
            ("S", Some(bytes)) => Step::Bytes(Side::Server, unescape(bytes)),
            ("c" | "s", None) => Step::End,
            _ => panic!("{}: strange line {line:?}", path.display()),
        })
        .collect()
}

/// Everything that one side sent.
pub(crate) fn stream(steps: &[Step], wanted: Side) -> Vec<u8> {
    let of_side = steps.iter().filter_map(|step| match step {
        Step::Bytes(side, bytes) if *side == wanted => Some(bytes.as_slice()),
        _ => None,
    });
    of_side.collect::<Vec<_>>().concat()
}

/// A top-level expression and the bytes that it was.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) element: Element,
    pub(crate) bytes: Vec<u8>,
}

/// Takes the expressions of one direction apart.
pub(crate) struct Splitter {
    decoder: Decoder,
    input: BytesMut,
    held: Vec<u8>,
}

impl Splitter {
    pub(crate) fn new() -> Self {
        let mut decoder = Decoder::new(&Limits::default());
        // What is said before the choice of a dialect holds no vocabulary words.
        decoder.set_dialect(Dialect::Pb);
        Self { decoder, input: BytesMut::new(), held: Vec::new() }
    }

    /// The expressions that are complete with these bytes.
    pub(crate) fn split(&mut self, bytes: &[u8]) -> Vec<Said> {
        self.input.extend_from_slice(bytes);
        self.held.extend_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(element) = self.decoder.next(&mut self.input).unwrap() {
            let rest = self.held.split_off(self.held.len() - self.input.len());
            found.push(Said { element, bytes: std::mem::replace(&mut self.held, rest) });
        }
        found
    }
}

/// Twisted's decoding: who sent an expression, and its text.
pub(crate) fn expected(path: &Path) -> Vec<(Side, String)> {
    let text = std::fs::read_to_string(path.with_extension("sexp")).unwrap();
    let line = |line: &str| match line.split_once(' ') {
        Some(("C", expression)) => (Side::Client, expression.to_owned()),
        Some(("S", expression)) => (Side::Server, expression.to_owned()),
        _ => panic!("strange line {line:?}"),
    };
    text.lines().map(line).collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        rest = &rest[at + 1..];
        let used = match rest.as_bytes()[0] {
            b'\\' => {
                bytes.push(b'\\');
                1
            }
            b'x' => {
                bytes.push(byte(&rest[1..3]));
                3
            }
            b'*' => {
                let (run, _) = rest.split_once(';').unwrap();
                let count: usize = run[4..].parse().unwrap();
                bytes.resize(bytes.len() + count, byte(&run[1..3]));
                run.len() + 1
            }
            other => panic!("strange escape {other:#x}"),
        };
        rest = &rest[used..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

fn byte(digits: &str) -> u8 {
    u8::from_str_radix(digits, 16).unwrap()
}
