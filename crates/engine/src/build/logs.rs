//! The logs of one step: text goes from the worker to the store's chunks here, beside the core.
//!
//! Memory is bounded: a log holds at most a chunk, an unfinished line of each stream and what may be the beginning of a
//! secret. A store that is slow makes [`Logs::append`] wait, the command's next report is then not read, and the
//! worker's stream waits by TCP. Nothing is dropped.

use std::time::Duration;

use model::{LogId, StepId};
use storage::{
    StorageError, Store, Write,
    log::{ChunkBuilder, Compression, LogKind, Stream},
};
use tokio::time::Instant;

use super::{
    journal::Journal,
    scrub::{Scrubbed, Scrubber},
};
use crate::Notice;

/// How long whole lines wait for more before they are stored and subscribers hear of them.
pub(crate) const FLUSH_AFTER: Duration = Duration::from_millis(250);

/// `logs.slug` holds so many characters.
const MAX_SLUG: usize = 50;

/// The logs of one step.
#[derive(Debug)]
pub(crate) struct Logs {
    step: StepId,
    compression: Compression,
    logs: Vec<Log>,
    flush_at: Option<Instant>,
}

/// A log of a step, as an index that stays valid while the step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogRef(usize);

#[derive(Debug)]
struct Log {
    id: LogId,
    name: String,
    slug: String,
    chunks: ChunkBuilder,
    streams: [Tail; 3],
    /// Lines that are in submitted chunks.
    stored: i64,
    /// Lines that subscribers were told of.
    told: i64,
}

/// The end of a stream so far.
#[derive(Debug, Default)]
struct Tail {
    scrubbed: Scrubbed,
    /// Its last line has no end yet.
    open: bool,
}

const STREAMS: [Stream; 3] = [Stream::Stdout, Stream::Stderr, Stream::Header];

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
        Stream::Header => 2,
    }
}

impl Logs {
    pub(crate) fn new(step: StepId, compression: Compression) -> Self {
        Self { step, compression, logs: Vec::new(), flush_at: None }
    }

    /// The log of this name, if it was opened.
    pub(crate) fn find(&self, name: &str) -> Option<LogRef> {
        self.logs.iter().position(|log| log.name == name).map(LogRef)
    }

    /// Opens a log; its name may be in use already, its slug is made unique.
    pub(crate) async fn open(
        &mut self,
        journal: &mut Journal,
        name: &str,
        kind: LogKind,
    ) -> Result<LogRef, StorageError> {
        let id = journal.store().ids().next_log();
        let mut slug = identifier(name);
        while self.logs.iter().any(|log| log.slug == slug) {
            slug = next_identifier(&slug);
        }
        let write = Write::Log { id, step: self.step, name: name.to_owned(), slug: slug.clone(), kind };
        journal.submit(vec![write]).await?;
        let build = journal.build();
        journal.hold(Notice::LogAdded { log: id, step: self.step, build, name: name.to_owned() });
        self.logs.push(Log {
            id,
            name: name.to_owned(),
            slug,
            chunks: ChunkBuilder::new(kind, self.compression),
            streams: Default::default(),
            stored: 0,
            told: 0,
        });
        self.soon();
        Ok(LogRef(self.logs.len() - 1))
    }

    /// Adds text in any pieces. Waits while the store has too much to do.
    pub(crate) async fn append(
        &mut self,
        journal: &mut Journal,
        scrubber: &Scrubber,
        LogRef(at): LogRef,
        stream: Stream,
        text: &str,
    ) -> Result<(), StorageError> {
        let Some(log) = self.logs.get_mut(at) else { return Ok(()) };
        let tail = &mut log.streams[index(stream)];
        let text = tail.scrubbed.push(scrubber, text);
        if let Some(last) = text.as_bytes().last() {
            tail.open = *last != b'\n';
            log.chunks.push(stream, text.as_bytes());
        }
        log.store(journal).await?;
        if log.stored > log.told || log.chunks.has_unflushed_lines() {
            self.soon();
        }
        Ok(())
    }

    /// Ends the lines that a command left without an end, in every log: what follows is another command's.
    pub(crate) async fn end_lines(
        &mut self,
        journal: &mut Journal,
        scrubber: &Scrubber,
    ) -> Result<(), StorageError> {
        for at in 0..self.logs.len() {
            for stream in STREAMS {
                let log = &mut self.logs[at];
                let tail = &mut log.streams[index(stream)];
                let rest = tail.scrubbed.finish(scrubber);
                if !rest.is_empty() {
                    tail.open = !rest.ends_with('\n');
                    log.chunks.push(stream, rest.as_bytes());
                }
                if tail.open {
                    tail.open = false;
                    log.chunks.push(stream, b"\n");
                }
            }
            self.append(journal, scrubber, LogRef(at), Stream::Stdout, "").await?;
        }
        Ok(())
    }

    /// When [`flush`](Self::flush) is due.
    pub(crate) fn flush_at(&self) -> Option<Instant> {
        self.flush_at
    }

    /// Stores the whole lines there are, waits until they are durable, and tells subscribers.
    pub(crate) async fn flush(&mut self, journal: &mut Journal) -> Result<(), StorageError> {
        self.flush_at = None;
        let build = journal.build();
        for log in &mut self.logs {
            log.chunks.flush();
            log.store(journal).await?;
            if log.stored > log.told {
                log.told = log.stored;
                journal.hold(Notice::LogAppended { log: log.id, step: self.step, build, lines: log.stored });
            }
        }
        journal.commit(Vec::new()).await
    }

    /// Ends all logs. They are complete once the journal's next commit is.
    pub(crate) async fn finish(
        &mut self,
        journal: &mut Journal,
        scrubber: &Scrubber,
    ) -> Result<(), StorageError> {
        self.end_lines(journal, scrubber).await?;
        self.flush_at = None;
        let build = journal.build();
        for mut log in self.logs.drain(..) {
            log.chunks.finish();
            log.store(journal).await?;
            if log.stored > log.told {
                journal.hold(Notice::LogAppended { log: log.id, step: self.step, build, lines: log.stored });
            }
            let lines = log.chunks.num_lines();
            journal.submit(vec![Write::LogFinished { log: log.id, num_lines: lines }]).await?;
            journal.hold(Notice::LogFinished { log: log.id, step: self.step, build, lines });
            merge(journal.store(), &mut log, self.compression);
        }
        Ok(())
    }

    fn soon(&mut self) {
        self.flush_at.get_or_insert_with(|| Instant::now() + FLUSH_AFTER);
    }
}

impl Log {
    async fn store(&mut self, journal: &mut Journal) -> Result<(), StorageError> {
        while let Some(chunk) = self.chunks.next_chunk() {
            self.stored = chunk.last_line + 1;
            journal.submit(vec![chunk.into_write(self.id)]).await?;
        }
        Ok(())
    }
}

/// Chunks that were cut for viewers become fewer, beside the build.
fn merge(store: &Store, log: &mut Log, compression: Compression) {
    let scattered = log.chunks.take_scattered();
    if scattered.is_empty() {
        return;
    }
    let (store, log) = (store.clone(), log.id);
    tokio::spawn(async move {
        if let Err(error) = store.merge_chunks(log, scattered, compression).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(log.id = log.0, error, "the log stays in small chunks");
        }
    });
}

/// A name as it can stand in an address (`buildbot/util/identifiers.py`, `forceIdentifier`, 4.3.0).
fn identifier(name: &str) -> String {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '-' || c >= '\u{a0}';
    let fits = |(at, c): (usize, char)| is_letter(c) || at > 0 && c.is_ascii_digit();
    if !name.is_empty() && name.chars().count() <= MAX_SLUG && name.chars().enumerate().all(fits) {
        return name.to_owned();
    }
    // A name that has to be changed at all also loses its letters beyond ASCII.
    let mut slug: String = name
        .chars()
        .take(MAX_SLUG)
        .enumerate()
        .map(|(at, c)| if c.is_ascii() && fits((at, c)) { c } else { '_' })
        .collect();
    if slug.is_empty() {
        slug.push('_');
    }
    slug
}

/// The next identifier after one that is in use: `stdio`, `stdio_2`, `stdio_3` (`incrementIdentifier`).
fn next_identifier(slug: &str) -> String {
    let numbered = slug
        .rsplit_once('_')
        .filter(|(_, digits)| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()))
        .and_then(|(stem, digits)| Some((stem, digits.parse::<u64>().ok()?)));
    let (stem, number) = numbered.unwrap_or((slug, 1));
    let number = format!("_{}", number.saturating_add(1));
    let stem: String = stem.chars().take(MAX_SLUG.saturating_sub(number.len())).collect();
    stem + &number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_buildbots() {
        let check = |name: &str, expect: &str| assert_eq!(identifier(name), expect, "{name:?}");
        check("stdio", "stdio");
        check("err.text", "err_text");
        check("warnings (4)", "warnings__4_");
        check("property changes", "property_changes");
        check("1log", "_log");
        check("größe", "größe");
        check("größe 1", "gr__e_1");
        check("", "_");
        check(&"x".repeat(60), &"x".repeat(50));
        assert_eq!(next_identifier("stdio"), "stdio_2");
        assert_eq!(next_identifier("stdio_9"), "stdio_10");
        assert_eq!(next_identifier("a_b"), "a_b_2");
        assert_eq!(next_identifier(&"x".repeat(50)), "x".repeat(48) + "_2");
    }
}
