//! Files that go from a worker to the master and back (`buildbot_worker/commands/transfer.py`,
//! `buildslave/commands/transfer.py`).

use bytestring::ByteString;
use perspective_broker::Value;

use super::{Arguments, CommandUnsupported};
use crate::version::{KEEP_TIMES, WORKER_WORDS};

/// Largest block of file data, in bytes: Twisted drops a connection over a longer string
/// (`twisted/spread/banana.py`, `SIZE_LIMIT`). Larger block sizes are cut to it.
pub const MAX_BLOCK: u32 = 640 * 1024;

/// Sends a file to the master; the data come as [`crate::Event::Write`].
#[derive(Clone, Debug)]
pub struct UploadFile {
    /// Directory that `path` is relative to.
    pub workdir: ByteString,
    /// The file; `~` is the worker's home directory.
    pub path: ByteString,
    /// Bytes in one block.
    pub block_size: u32,
    /// Bytes after which the upload is cut off and fails.
    pub max_size: Option<u64>,
    /// Also send when the file was read and written, as [`crate::Event::SetTimes`]; from 0.8.4 on.
    pub keep_times: bool,
}

impl UploadFile {
    /// The upload of a file in blocks of 256 KiB.
    pub fn new(workdir: impl Into<ByteString>, path: impl Into<ByteString>) -> Self {
        Self {
            workdir: workdir.into(),
            path: path.into(),
            block_size: 256 * 1024,
            max_size: None,
            keep_times: false,
        }
    }

    pub(super) fn encode(
        &self,
        arguments: &mut Arguments<'_>,
        writer: Value,
    ) -> Result<(), CommandUnsupported> {
        arguments.require_command("uploadFile", "every known worker has it")?;
        if self.keep_times && arguments.version() < KEEP_TIMES {
            return Err(CommandUnsupported::Argument {
                command: "uploadFile",
                argument: "keepstamp",
                needs: KEEP_TIMES,
                has: arguments.version(),
            });
        }
        arguments.set_text("workdir", &self.workdir);
        set_source(arguments, &self.path);
        arguments.set("writer", writer);
        set_sizes(arguments, self.block_size, self.max_size);
        arguments.set_bool("keepstamp", self.keep_times);
        Ok(())
    }
}

/// Sends a directory to the master as one tar stream; the data come as [`crate::Event::Write`], then
/// [`crate::Event::Unpack`].
#[derive(Clone, Debug)]
pub struct UploadDirectory {
    /// Directory that `path` is relative to.
    pub workdir: ByteString,
    /// The directory; `~` is the worker's home directory.
    pub path: ByteString,
    /// Bytes in one block.
    pub block_size: u32,
    /// Bytes after which the upload is cut off and fails.
    pub max_size: Option<u64>,
    /// How the tar stream is compressed.
    pub compression: Compression,
}

impl UploadDirectory {
    /// The upload of a directory in blocks of 256 KiB, not compressed.
    pub fn new(workdir: impl Into<ByteString>, path: impl Into<ByteString>) -> Self {
        Self {
            workdir: workdir.into(),
            path: path.into(),
            block_size: 256 * 1024,
            max_size: None,
            compression: Compression::None,
        }
    }

    pub(super) fn encode(
        &self,
        arguments: &mut Arguments<'_>,
        writer: Value,
    ) -> Result<(), CommandUnsupported> {
        arguments.require_command("uploadDirectory", "every known worker has it")?;
        arguments.set_text("workdir", &self.workdir);
        set_source(arguments, &self.path);
        arguments.set("writer", writer);
        set_sizes(arguments, self.block_size, self.max_size);
        let compress = match self.compression {
            Compression::None => Value::None,
            Compression::Gzip => arguments.word("gz"),
            Compression::Bzip2 => arguments.word("bz2"),
        };
        arguments.set("compress", compress);
        Ok(())
    }
}

/// Compression of an uploaded directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// A plain tar stream.
    #[default]
    None,
    /// `gz`
    Gzip,
    /// `bz2`
    Bzip2,
}

/// Fetches a file from the master; the worker asks for the data by [`crate::Event::Read`].
#[derive(Clone, Debug)]
pub struct DownloadFile {
    /// Directory that `path` is relative to.
    pub workdir: ByteString,
    /// Where the file goes; directories are made as needed, `~` is the worker's home directory.
    pub path: ByteString,
    /// Bytes the worker asks for at once.
    pub block_size: u32,
    /// Bytes after which the download is cut off and fails.
    pub max_size: Option<u64>,
    /// The file's permission bits; the worker's default when `None`.
    pub mode: Option<u32>,
}

impl DownloadFile {
    /// The download of a file in blocks of 256 KiB.
    pub fn new(workdir: impl Into<ByteString>, path: impl Into<ByteString>) -> Self {
        Self {
            workdir: workdir.into(),
            path: path.into(),
            block_size: 256 * 1024,
            max_size: None,
            mode: None,
        }
    }

    pub(super) fn encode(
        &self,
        arguments: &mut Arguments<'_>,
        reader: Value,
    ) -> Result<(), CommandUnsupported> {
        arguments.require_command("downloadFile", "every known worker has it")?;
        arguments.set_text("workdir", &self.workdir);
        let key = if arguments.version() < WORKER_WORDS { "slavedest" } else { "workerdest" };
        arguments.set_text(key, &self.path);
        arguments.set("reader", reader);
        set_sizes(arguments, self.block_size, self.max_size);
        arguments.set("mode", self.mode.map_or(Value::None, |mode| Value::Int(mode.into())));
        Ok(())
    }
}

fn set_source(arguments: &mut Arguments<'_>, path: &ByteString) {
    let key = if arguments.version() < WORKER_WORDS { "slavesrc" } else { "workersrc" };
    arguments.set_text(key, path);
}

fn set_sizes(arguments: &mut Arguments<'_>, block_size: u32, max_size: Option<u64>) {
    arguments.set("blocksize", Value::Int(block_size.clamp(1, MAX_BLOCK).into()));
    arguments.set_count("maxsize", max_size);
}
