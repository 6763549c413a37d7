//! Chunks of lines, made from text as it comes.

use std::{collections::VecDeque, mem};

use bytes::Bytes;
use memchr::memchr;
use model::LogId;

use super::{Compression, LogKind, Stream, cursor};
use crate::write::Write;

/// A chunk has at most so many bytes of text, unless a single line is longer.
pub const MAX_CHUNK_BYTES: usize = 64 << 10;
/// A chunk has at most so many lines.
pub const MAX_CHUNK_LINES: usize = 1000;
/// A line of more bytes is cut into several; none of it is lost.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// Some lines of a log, packed as `logchunks` holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Number of the first line, from 0.
    pub first_line: i64,
    /// Number of the last line.
    pub last_line: i64,
    /// The lines with newlines between them, none after the last.
    pub content: Bytes,
    /// How the content is compressed.
    pub compression: Compression,
}

impl Chunk {
    /// The write that puts it into the database.
    pub fn into_write(self, log: LogId) -> Write {
        let Self { first_line, last_line, content, compression } = self;
        Write::LogChunk { log, first_line, last_line, content, compression }
    }
}

/// Makes chunks of the text of one log. Takes text in any pieces, keeps the streams apart, turns line ends and cursor
/// movements of any kind into newlines, and replaces what is not UTF-8 (a reader refuses it).
///
/// It compresses in [`push`](Self::push), [`flush`](Self::flush) and [`finish`](Self::finish): about a millisecond for
/// 64 KiB. Between calls it holds at most a chunk, an unfinished line of each stream and the chunks not yet taken.
#[derive(Debug)]
pub struct ChunkBuilder {
    kind: LogKind,
    compression: Compression,
    streams: [Unfinished; 3],
    buffer: Vec<u8>,
    buffered_lines: usize,
    first_line: i64,
    ready: VecDeque<Chunk>,
    /// The last chunks, as long as they are no more than one.
    group: Scattered,
    scattered: Vec<Scattered>,
}

/// Neighbouring chunks that would fit into one: a log that is seen while it grows is cut wherever it was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scattered {
    /// Number of the first line in them.
    pub first_line: i64,
    /// Number of the last line in them.
    pub last_line: i64,
    /// How many chunks they are.
    pub chunks: usize,
    bytes: usize,
}

/// What a stream has after its last newline.
#[derive(Debug, Default)]
struct Unfinished {
    /// Text of a line.
    line: Vec<u8>,
    /// The beginning of what may be a cursor movement.
    held: Vec<u8>,
}

impl ChunkBuilder {
    /// For a log of this kind without lines.
    pub fn new(kind: LogKind, compression: Compression) -> Self {
        Self {
            kind,
            compression,
            streams: Default::default(),
            buffer: Vec::new(),
            buffered_lines: 0,
            first_line: 0,
            ready: VecDeque::new(),
            group: Scattered::default(),
            scattered: Vec::new(),
        }
    }

    /// Adds text of a stream; a log that is not [`LogKind::Stdio`] has only one.
    pub fn push(&mut self, stream: Stream, text: &[u8]) {
        let stream = if self.kind == LogKind::Stdio { stream } else { Stream::Stdout };
        let mut unfinished = mem::take(&mut self.streams[stream.index()]);
        if unfinished.held.is_empty() && !cursor::has_cursor_moves(text) {
            self.lines(stream, &mut unfinished.line, text);
        } else {
            let mut held = mem::take(&mut unfinished.held);
            let text = if held.is_empty() {
                text
            } else {
                held.extend_from_slice(text);
                &held
            };
            let mut plain = Vec::with_capacity(text.len());
            let taken = cursor::line_ends(text, &mut plain);
            self.lines(stream, &mut unfinished.line, &plain);
            unfinished.held = text[taken..].to_vec();
        }
        self.streams[stream.index()] = unfinished;
    }

    /// Makes a chunk of the whole lines there are, so that they can be stored and seen. Lines still without their end
    /// wait.
    pub fn flush(&mut self) {
        if self.buffered_lines > 0 {
            self.seal();
        }
    }

    /// Ends the log: also what has no newline becomes a line.
    pub fn finish(&mut self) {
        for stream in Stream::ALL {
            let Unfinished { mut line, held } = mem::take(&mut self.streams[stream.index()]);
            if held != b"\r" {
                line.extend_from_slice(&held);
            }
            if !line.is_empty() || !held.is_empty() {
                self.line(stream, &line);
            }
        }
        self.flush();
    }

    /// The next finished chunk.
    pub fn next_chunk(&mut self) -> Option<Chunk> {
        self.ready.pop_front()
    }

    /// The chunks so far that [`Store::merge_chunks`](crate::Store::merge_chunks) can make fewer of. Leaves none.
    pub fn take_scattered(&mut self) -> Vec<Scattered> {
        self.close_group();
        mem::take(&mut self.scattered)
    }

    /// Whether there are whole lines that [`flush`](Self::flush) would make a chunk of.
    pub fn has_unflushed_lines(&self) -> bool {
        self.buffered_lines > 0
    }

    /// How many whole lines the log has so far, in chunks or not.
    pub fn num_lines(&self) -> i64 {
        self.first_line + self.buffered_lines as i64
    }

    fn lines(&mut self, stream: Stream, unfinished: &mut Vec<u8>, mut text: &[u8]) {
        while let Some(end) = memchr(b'\n', text) {
            if unfinished.is_empty() {
                self.line(stream, &text[..end]);
            } else {
                unfinished.extend_from_slice(&text[..end]);
                self.line(stream, unfinished);
                unfinished.clear();
                // A long line leaves no more memory behind than a chunk.
                unfinished.shrink_to(MAX_CHUNK_BYTES);
            }
            text = &text[end + 1..];
        }
        while unfinished.len() + text.len() > MAX_LINE_BYTES {
            // One byte more than a line shows whether a character is cut.
            let room = (MAX_LINE_BYTES + 1).saturating_sub(unfinished.len());
            let (now, later) = text.split_at(room.min(text.len()));
            unfinished.extend_from_slice(now);
            let cut = character_boundary(unfinished, MAX_LINE_BYTES);
            self.line(stream, &unfinished[..cut]);
            unfinished.drain(..cut);
            text = later;
        }
        unfinished.extend_from_slice(text);
    }

    /// Adds one whole line, without its newline.
    fn line(&mut self, stream: Stream, mut line: &[u8]) {
        while line.len() > MAX_LINE_BYTES {
            let (now, later) = line.split_at(character_boundary(line, MAX_LINE_BYTES));
            self.short_line(stream, now);
            line = later;
        }
        self.short_line(stream, line);
    }

    fn short_line(&mut self, stream: Stream, line: &[u8]) {
        let replaced;
        let line = match std::str::from_utf8(line) {
            Ok(_) => line,
            Err(_) => {
                replaced = String::from_utf8_lossy(line);
                replaced.as_bytes()
            }
        };
        // The newline before it, and its letter.
        if self.buffered_lines == MAX_CHUNK_LINES
            || self.buffered_lines > 0 && self.buffer.len() + line.len() + 2 > MAX_CHUNK_BYTES
        {
            self.seal();
        }
        if self.buffered_lines > 0 {
            self.buffer.push(b'\n');
        }
        if self.kind == LogKind::Stdio {
            self.buffer.push(stream.letter());
        }
        self.buffer.extend_from_slice(line);
        self.buffered_lines += 1;
    }

    fn close_group(&mut self) {
        let group = mem::take(&mut self.group);
        if group.chunks > 1 {
            self.scattered.push(group);
        }
    }

    fn seal(&mut self) {
        let next_line = self.num_lines();
        let (first, last, bytes) =
            (self.group.first_line, next_line - 1, self.group.bytes + self.buffer.len() + 1);
        if bytes > MAX_CHUNK_BYTES || last - first >= MAX_CHUNK_LINES as i64 {
            self.close_group();
        }
        if self.group.chunks == 0 {
            self.group.first_line = self.first_line;
        }
        self.group.last_line = last;
        self.group.chunks += 1;
        self.group.bytes += self.buffer.len() + 1;
        let (content, compression) = self.compression.pack(mem::take(&mut self.buffer));
        self.ready.push_back(Chunk {
            first_line: self.first_line,
            last_line: next_line - 1,
            content,
            compression,
        });
        self.first_line = next_line;
        self.buffered_lines = 0;
    }
}

/// The last place not after `limit` where no UTF-8 character is cut; `limit` where the bytes are no UTF-8.
fn character_boundary(text: &[u8], limit: usize) -> usize {
    (limit.saturating_sub(3)..=limit)
        .rev()
        .find(|&at| text.get(at).is_none_or(|byte| byte & 0xc0 != 0x80))
        .unwrap_or(limit)
}
