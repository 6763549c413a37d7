//! Directories and single files on a worker (`buildbot_worker/commands/fs.py`, `buildslave/commands/fs.py`).

use std::time::Duration;

use bytestring::ByteString;
use perspective_broker::Value;

use super::{Arguments, CommandUnsupported, WireCommand};
use crate::version::{REMOVE_FILE, REMOVE_MANY};

const NEEDS_0_8_3: &str = "it needs buildslave 0.8.3 or newer";
const NEEDS_0_8_9: &str = "it needs buildslave 0.8.9 or newer";

/// Makes a directory and its parents; one that exists is no error.
#[derive(Clone, Debug)]
pub struct MakeDirectory {
    /// The directory.
    pub dir: ByteString,
}

impl MakeDirectory {
    pub(super) fn encode(&self, arguments: &mut Arguments<'_>) -> Result<(), CommandUnsupported> {
        arguments.require_command("mkdir", NEEDS_0_8_3)?;
        arguments.set_text("dir", &self.dir);
        Ok(())
    }
}

/// Removes directories with everything in them; one that does not exist is no error.
///
/// The exit status is that of the last directory that could not be removed.
#[derive(Clone, Debug)]
pub struct RemoveDirectory {
    /// The directories, at least one.
    pub dirs: Vec<ByteString>,
    /// Limits on the removal.
    pub timeout: Option<Duration>,
    /// It is given up after that long.
    pub max_time: Option<Duration>,
    /// Begin the log with the whole environment.
    pub log_environ: bool,
}

impl RemoveDirectory {
    /// The removal of some directories with Buildbot's default of two minutes without output.
    pub fn new<T: Into<ByteString>>(dirs: impl IntoIterator<Item = T>) -> Self {
        let dirs = dirs.into_iter().map(Into::into).collect();
        Self { dirs, timeout: Some(Duration::from_secs(120)), max_time: None, log_environ: false }
    }

    pub(super) fn encode(
        &self,
        arguments: &mut Arguments<'_>,
    ) -> Result<Vec<WireCommand>, CommandUnsupported> {
        arguments.require_command("rmdir", NEEDS_0_8_3)?;
        if self.dirs.is_empty() {
            return Err(CommandUnsupported::Invalid { command: "rmdir", problem: "no directory is named" });
        }
        if self.dirs.len() > 1 && arguments.version() >= REMOVE_MANY {
            arguments.set_texts("dir", &self.dirs);
            return Ok(vec![self.finish(arguments)]);
        }
        Ok(self
            .dirs
            .iter()
            .map(|dir| {
                arguments.set_text("dir", dir);
                self.finish(arguments)
            })
            .collect())
    }

    fn finish(&self, arguments: &mut Arguments<'_>) -> WireCommand {
        arguments.set_seconds("timeout", self.timeout);
        arguments.set_seconds("maxTime", self.max_time);
        arguments.set_bool("logEnviron", self.log_environ);
        arguments.finish("rmdir")
    }
}

/// Copies a directory with everything in it.
#[derive(Clone, Debug)]
pub struct CopyDirectory {
    /// What is copied.
    pub from: ByteString,
    /// What the copy is called.
    pub to: ByteString,
    /// It is given up after that long without output.
    pub timeout: Option<Duration>,
    /// It is given up after that long.
    pub max_time: Option<Duration>,
    /// Begin the log with the whole environment.
    pub log_environ: bool,
}

impl CopyDirectory {
    /// A copy with Buildbot's default of two minutes without output.
    pub fn new(from: impl Into<ByteString>, to: impl Into<ByteString>) -> Self {
        let timeout = Some(Duration::from_secs(120));
        Self { from: from.into(), to: to.into(), timeout, max_time: None, log_environ: false }
    }

    pub(super) fn encode(&self, arguments: &mut Arguments<'_>) -> Result<(), CommandUnsupported> {
        arguments.require_command("cpdir", NEEDS_0_8_3)?;
        arguments.set_text("fromdir", &self.from);
        arguments.set_text("todir", &self.to);
        arguments.set_seconds("timeout", self.timeout);
        arguments.set_seconds("maxTime", self.max_time);
        arguments.set_bool("logEnviron", self.log_environ);
        Ok(())
    }
}

/// Looks at one file; the answer is [`crate::Update::Stat`].
#[derive(Clone, Debug)]
pub struct StatFile {
    /// The file, relative to `workdir`.
    pub file: ByteString,
    /// Empty for the builder's own directory.
    pub workdir: ByteString,
}

impl StatFile {
    pub(super) fn encode(&self, arguments: &mut Arguments<'_>) -> Result<(), CommandUnsupported> {
        arguments.require_command("stat", NEEDS_0_8_3)?;
        arguments.set_text("file", &self.file);
        arguments.set_text("workdir", &self.workdir);
        Ok(())
    }
}

/// Finds files by a pattern; the answer is [`crate::Update::Files`] with absolute paths. `**` crosses directories
/// on workers from 2.5 on that run on Python 3.
#[derive(Clone, Debug)]
pub struct Glob {
    /// The pattern.
    pub path: ByteString,
}

impl Glob {
    pub(super) fn encode(&self, arguments: &mut Arguments<'_>) -> Result<(), CommandUnsupported> {
        arguments.require_command("glob", NEEDS_0_8_9)?;
        arguments.set_text("path", &self.path);
        Ok(())
    }
}

/// Lists the names in a directory; the answer is [`crate::Update::Files`].
#[derive(Clone, Debug)]
pub struct ListDirectory {
    /// The directory.
    pub dir: ByteString,
}

impl ListDirectory {
    pub(super) fn encode(&self, arguments: &mut Arguments<'_>) -> Result<(), CommandUnsupported> {
        arguments.require_command("listdir", NEEDS_0_8_9)?;
        arguments.set_text("dir", &self.dir);
        Ok(())
    }
}

/// Removes one file.
///
/// A worker before 0.9.8 has no command for it and is told `rmdir` instead, as Buildbot does
/// (`buildbot/steps/worker.py`, `runRmFile`): there a file that does not exist is no error.
#[derive(Clone, Debug)]
pub struct RemoveFile {
    /// The file.
    pub path: ByteString,
}

impl RemoveFile {
    pub(super) fn encode(
        &self,
        arguments: &mut Arguments<'_>,
    ) -> Result<Vec<WireCommand>, CommandUnsupported> {
        if arguments.version() >= REMOVE_FILE && arguments.has_command("rmfile") {
            arguments.set_text("path", &self.path);
            arguments.set("logEnviron", Value::Bool(false));
            return Ok(vec![arguments.finish("rmfile")]);
        }
        arguments.require_command("rmdir", NEEDS_0_8_3)?;
        RemoveDirectory::new([self.path.clone()]).encode(arguments)
    }
}
