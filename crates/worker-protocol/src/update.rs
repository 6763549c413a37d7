//! What a running command reports.

use bytestring::ByteString;
use perspective_broker::Value;

use crate::text::{Utf8Tail, lossy};

/// One report of a running command.
///
/// Text is always valid UTF-8: characters that a worker cut between two updates are joined, bytes that are no
/// characters are replaced by U+FFFD. It is not cut at line ends.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Update {
    /// The program's standard output.
    Stdout(ByteString),
    /// The program's standard error.
    Stderr(ByteString),
    /// A remark of the worker itself.
    Header(ByteString),
    /// Text of a log file.
    Log {
        /// Name of the log, as the command named it.
        name: ByteString,
        /// Its next piece.
        text: ByteString,
    },
    /// Exit status: -1 for a program that was killed, an error number for a file command that failed. Not the last
    /// update of a command: text may follow.
    Rc(i64),
    /// Seconds that the command took; not sent after an interrupt, nor before 0.8.4.
    Elapsed(f64),
    /// Answer to a glob (absolute paths) or a listing (names).
    Files(Vec<String>),
    /// Answer to a stat.
    Stat(FileStat),
    /// Why the worker killed the command: `timeout_without_output`, `timeout` (both since 3.10) or
    /// `max_lines_failure` (since 4.1).
    FailureReason(String),
    /// The revision that a 0.8 source command checked out, when it could tell.
    GotRevision(Option<String>),
    /// What the 0.8 `repo` command downloaded.
    RepoDownloaded(String),
    /// A key that no known worker sends, or a known one with a value of the wrong form.
    Other {
        /// The key.
        key: String,
        /// The value, as received.
        value: Value,
    },
}

/// What the worker's system says about a file: Python's `os.stat`. Numbers that do not fit are the largest that do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStat {
    /// Kind and permission bits.
    pub mode: i64,
    /// Number of the file.
    pub inode: i64,
    /// Number of the device.
    pub device: i64,
    /// Number of names.
    pub links: i64,
    /// Owner.
    pub uid: i64,
    /// Group.
    pub gid: i64,
    /// Size in bytes.
    pub size: i64,
    /// Last access, in seconds since 1970.
    pub accessed: i64,
    /// Last change of the contents, in seconds since 1970.
    pub modified: i64,
    /// Last change of the entry (creation on Windows), in seconds since 1970.
    pub changed: i64,
}

impl FileStat {
    const KIND: i64 = 0o170_000;

    /// It is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & Self::KIND == 0o040_000
    }

    /// It is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & Self::KIND == 0o100_000
    }

    fn decode(value: &Value) -> Option<Self> {
        let numbers = value.as_list()?;
        let number = |at: usize| -> Option<i64> {
            match numbers.get(at)?.resolved() {
                Value::BigInt(_) => Some(i64::MAX),
                // Some systems report times as fractions.
                Value::Float(seconds) => Some(*seconds as i64),
                other => other.as_int(),
            }
        };
        Some(Self {
            mode: number(0)?,
            inode: number(1)?,
            device: number(2)?,
            links: number(3)?,
            uid: number(4)?,
            gid: number(5)?,
            size: number(6)?,
            accessed: number(7)?,
            modified: number(8)?,
            changed: number(9)?,
        })
    }
}

/// The text streams of one command, with the characters that were cut at the end of their last chunk.
///
/// Only streams with such a rest are kept, so a flood of log names costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    tails: Vec<(Stream, Utf8Tail)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
    Header,
    Log(ByteString),
}

impl Stream {
    fn update(self, text: ByteString) -> Update {
        match self {
            Self::Stdout => Update::Stdout(text),
            Self::Stderr => Update::Stderr(text),
            Self::Header => Update::Header(text),
            Self::Log(name) => Update::Log { name, text },
        }
    }
}

/// More streams than this with a cut character at once are no work of a stock worker; the cut character is replaced.
const MAX_CUT_STREAMS: usize = 64;

impl Streams {
    /// Decodes one entry of an update dictionary; `None` for a piece of text that is empty so far.
    pub(crate) fn decode(&mut self, key: Value, value: Value) -> Option<Update> {
        let name: &[u8] = match &key {
            Value::Text(text) => text.as_bytes(),
            Value::Bytes(bytes) => bytes,
            _ => return Some(other(&key, value)),
        };
        match name {
            b"stdout" => self.text(Stream::Stdout, &key, value),
            b"stderr" => self.text(Stream::Stderr, &key, value),
            b"header" => self.text(Stream::Header, &key, value),
            b"log" => self.log(&key, value),
            b"rc" => Some(match value.as_int() {
                Some(rc) => Update::Rc(rc),
                None => other(&key, value),
            }),
            b"elapsed" => Some(match value.as_float() {
                Some(seconds) => Update::Elapsed(seconds),
                None => other(&key, value),
            }),
            b"files" => Some(match texts(&value) {
                Some(files) => Update::Files(files),
                None => other(&key, value),
            }),
            b"stat" => Some(match FileStat::decode(&value) {
                Some(stat) => Update::Stat(stat),
                None => other(&key, value),
            }),
            b"failure_reason" => Some(match lossy(&value) {
                Some(reason) => Update::FailureReason(reason.to_string()),
                None => other(&key, value),
            }),
            b"got_revision" => Some(match (&value, printable(&value)) {
                (Value::None, _) => Update::GotRevision(None),
                (_, Some(revision)) => Update::GotRevision(Some(revision)),
                _ => other(&key, value),
            }),
            b"repo_downloaded" => Some(match lossy(&value) {
                Some(text) => Update::RepoDownloaded(text.to_string()),
                None => other(&key, value),
            }),
            _ => Some(other(&key, value)),
        }
    }

    /// The cut characters that never got their rest, when the command is over.
    pub(crate) fn flush(&mut self) -> impl Iterator<Item = Update> + '_ {
        self.tails.drain(..).filter_map(|(stream, mut tail)| Some(stream.update(tail.flush()?)))
    }

    fn text(&mut self, stream: Stream, key: &Value, value: Value) -> Option<Update> {
        match self.piece(&stream, value) {
            Ok(text) if text.is_empty() => None,
            Ok(text) => Some(stream.update(text)),
            Err(value) => Some(other(key, value)),
        }
    }

    fn log(&mut self, key: &Value, value: Value) -> Option<Update> {
        let Some([name, _]) = value.as_list() else { return Some(other(key, value)) };
        let Some(name) = lossy(name) else { return Some(other(key, value)) };
        let text = value.into_list().and_then(|mut pair| pair.pop()).unwrap_or(Value::None);
        self.text(Stream::Log(name), key, text)
    }

    /// The text of a log entry: itself, or the first of (text, line ends, times), the form of newer protocols.
    fn piece(&mut self, stream: &Stream, value: Value) -> Result<ByteString, Value> {
        match value {
            Value::Text(text) if self.tails.is_empty() => Ok(text),
            Value::Text(text) => Ok(self.decode_chunk(stream, text.into_bytes())),
            Value::Bytes(bytes) => Ok(self.decode_chunk(stream, bytes)),
            value => match value.as_list() {
                Some([text @ (Value::Text(_) | Value::Bytes(_)), _, _]) => {
                    let text = text.clone();
                    self.piece(stream, text)
                }
                _ => Err(value),
            },
        }
    }

    fn decode_chunk(&mut self, stream: &Stream, chunk: bytes::Bytes) -> ByteString {
        let at = self.tails.iter().position(|(tail_of, _)| tail_of == stream);
        let mut tail = at.map(|at| self.tails.swap_remove(at).1).unwrap_or_default();
        let text = tail.decode(chunk);
        if tail.is_empty() {
            return text;
        }
        if self.tails.len() >= MAX_CUT_STREAMS {
            return format!("{text}{}", char::REPLACEMENT_CHARACTER).into();
        }
        self.tails.push((stream.clone(), tail));
        text
    }
}

fn other(key: &Value, value: Value) -> Update {
    Update::Other { key: printable(key).unwrap_or_default(), value }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_list()?.iter().map(|item| lossy(item).map(|text| text.to_string())).collect()
}

fn printable(value: &Value) -> Option<String> {
    lossy(value).map(|text| text.to_string()).or_else(|| value.as_int().map(|n| n.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn decode(key: &'static str, value: Value) -> Option<Update> {
        let mut streams = Streams::default();
        let bytes = streams.decode(Value::Bytes(Bytes::from_static(key.as_bytes())), value.clone());
        let text = streams.decode(Value::Text(ByteString::from_static(key)), value);
        assert_eq!(bytes, text, "keys of both kinds mean the same");
        text
    }

    fn text(text: &'static str) -> Value {
        Value::Text(ByteString::from_static(text))
    }

    #[test]
    fn every_key() {
        assert_eq!(decode("stdout", text("a")), Some(Update::Stdout("a".into())));
        assert_eq!(
            decode("stderr", Value::Bytes(Bytes::from_static(b"b"))),
            Some(Update::Stderr("b".into()))
        );
        assert_eq!(decode("header", text("h")), Some(Update::Header("h".into())));
        assert_eq!(decode("rc", Value::Int(-1)), Some(Update::Rc(-1)));
        assert_eq!(decode("elapsed", Value::Float(0.5)), Some(Update::Elapsed(0.5)));
        assert_eq!(
            decode("files", Value::List(vec![text("a"), Value::Bytes(Bytes::from_static(b"b"))])),
            Some(Update::Files(vec!["a".into(), "b".into()]))
        );
        assert_eq!(decode("failure_reason", text("timeout")), Some(Update::FailureReason("timeout".into())));
        assert_eq!(decode("got_revision", Value::Int(7)), Some(Update::GotRevision(Some("7".into()))));
        assert_eq!(decode("got_revision", Value::None), Some(Update::GotRevision(None)));
        assert_eq!(decode("repo_downloaded", text("x")), Some(Update::RepoDownloaded("x".into())));
        assert_eq!(
            decode("new", Value::Int(1)),
            Some(Update::Other { key: "new".into(), value: Value::Int(1) })
        );
        assert_eq!(decode("rc", text("x")), Some(Update::Other { key: "rc".into(), value: text("x") }));
    }

    #[test]
    fn both_shapes_of_log_text() {
        let lines = Value::List(vec![
            text("a\n"),
            Value::List(vec![Value::Int(1)]),
            Value::List(vec![Value::Float(1.0)]),
        ]);
        let plain = Update::Log { name: "l".into(), text: "a\n".into() };
        assert_eq!(decode("log", Value::Tuple(vec![text("l"), text("a\n")])), Some(plain.clone()));
        assert_eq!(decode("log", Value::List(vec![text("l"), lines.clone()])), Some(plain));
        assert_eq!(decode("stdout", lines), Some(Update::Stdout("a\n".into())));
    }

    #[test]
    fn stat_is_ten_numbers() {
        let numbers: Vec<Value> = [0o040_755, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(Value::Int).into();
        let Some(Update::Stat(stat)) = decode("stat", Value::Tuple(numbers)) else { panic!("no stat") };
        assert!(stat.is_directory() && !stat.is_file());
        assert_eq!((stat.size, stat.changed), (6, 9));
        assert!(matches!(decode("stat", Value::Tuple(vec![Value::Int(1)])), Some(Update::Other { .. })));
    }

    #[test]
    fn a_character_is_joined_within_its_own_stream() {
        let bytes = |bytes: &'static [u8]| Value::Bytes(Bytes::from_static(bytes));
        let mut streams = Streams::default();
        assert_eq!(streams.decode(text("stdout"), bytes(b"a\xc3")), Some(Update::Stdout("a".into())));
        assert_eq!(streams.decode(text("stderr"), bytes(b"\xc3")), None);
        assert_eq!(streams.decode(text("stdout"), bytes(b"\xa9z")), Some(Update::Stdout("éz".into())));
        let rest: Vec<_> = streams.flush().collect();
        assert_eq!(rest, [Update::Stderr("\u{fffd}".into())]);
    }

    #[test]
    fn many_cut_streams_stay_bounded() {
        let mut streams = Streams::default();
        for n in 0..10_000 {
            let name = Value::Text(format!("log{n}").into());
            streams.decode(text("log"), Value::Tuple(vec![name, Value::Bytes(Bytes::from_static(b"\xc3"))]));
        }
        assert_eq!(streams.flush().count(), MAX_CUT_STREAMS);
    }
}
