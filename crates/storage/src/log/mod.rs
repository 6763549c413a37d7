//! The text of logs, as the tables hold it.
//!
//! A log is a row in `logs` and its lines in chunks in `logchunks`. [`ChunkBuilder`] makes chunks from text as it comes
//! from a worker, [`Compression`] packs and unpacks them. Both are pure: they can run on any thread, beside the engine.
//!
//! Source: `buildbot/db/logs.py`, `buildbot/db/compression/`, `buildbot/process/log.py` and
//! `buildbot/util/lineboundaries.py` (4.3.0).

mod chunk;
mod compression;
mod cursor;
mod kind;
mod merge;

#[cfg(test)]
mod tests;

pub use chunk::{Chunk, ChunkBuilder, MAX_CHUNK_BYTES, MAX_CHUNK_LINES, MAX_LINE_BYTES, Scattered};
pub(crate) use compression::MAX_UNPACKED;
pub use compression::{Compression, UnpackError};
pub use kind::{LogKind, Stream};
