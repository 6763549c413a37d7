//! The commands a worker can be told to run, with typed arguments.
//!
//! The argument types are the same for every worker. What a worker of some age calls them, whether it knows them at
//! all, and in which kind of string it wants them is settled when they are put on the wire, in this module alone.

mod arguments;
mod files;
mod shell;
mod source;
#[cfg(test)]
mod tests;
mod transfer;

use perspective_broker::{LocalId, Value};

pub use self::files::{
    CopyDirectory, Glob, ListDirectory, MakeDirectory, RemoveDirectory, RemoveFile, StatFile,
};
pub use self::shell::{EnvValue, LogFile, Program, Shell, Word};
pub use self::source::{Mode, Patch, Repository, Retry, Source, SourcePassword};
pub use self::transfer::{Compression, DownloadFile, MAX_BLOCK, UploadDirectory, UploadFile};

pub(crate) use self::arguments::Arguments;
use crate::info::WorkerInfo;
use crate::version::CommandVersion;

/// One command for a worker.
///
/// Paths are in the form of the worker's system, relative to the directory of the builder that the command runs for,
/// or absolute.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Run a program.
    Shell(Box<Shell>),
    /// Make a directory and its parents.
    MakeDirectory(MakeDirectory),
    /// Remove directories with everything in them.
    RemoveDirectory(RemoveDirectory),
    /// Copy a directory with everything in it.
    CopyDirectory(CopyDirectory),
    /// Look at one file.
    Stat(StatFile),
    /// Find files by a pattern.
    Glob(Glob),
    /// List the names in a directory.
    ListDirectory(ListDirectory),
    /// Remove one file.
    RemoveFile(RemoveFile),
    /// Send a file to the master.
    UploadFile(UploadFile),
    /// Send a directory to the master, as a tar stream.
    UploadDirectory(UploadDirectory),
    /// Fetch a file from the master.
    DownloadFile(DownloadFile),
    /// Check out source code: only buildslave 0.8 does that itself.
    Source(Box<Source>),
}

/// Why a command cannot be put to this worker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandUnsupported {
    /// The worker's release does not have the command.
    #[error("the worker has no command {command:?}; {hint}")]
    Missing {
        /// Buildbot's name of the command.
        command: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// The worker's release does not know an argument without which the command would do something else.
    #[error(
        "the worker's {command:?} is of version {has}, but {argument:?} needs {needs}; upgrade the worker"
    )]
    Argument {
        /// Buildbot's name of the command.
        command: &'static str,
        /// Buildbot's name of the argument.
        argument: &'static str,
        /// Version that introduced it.
        needs: CommandVersion,
        /// Version of the worker.
        has: CommandVersion,
    },
    /// The arguments make no sense for any worker.
    #[error("{command:?} cannot be run: {problem}")]
    Invalid {
        /// Buildbot's name of the command.
        command: &'static str,
        /// What is wrong with the arguments.
        problem: &'static str,
    },
}

/// What a command's own object on the master's side is for, besides the command itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The worker writes into it.
    Writer,
    /// The worker reads from it.
    Reader,
}

/// One `startCommand`, ready but for its references.
#[derive(Debug)]
pub(crate) struct WireCommand {
    pub(crate) name: &'static str,
    pub(crate) arguments: Vec<(Value, Value)>,
}

impl Command {
    /// Buildbot's name of the command.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Shell(_) => "shell",
            Self::MakeDirectory(_) => "mkdir",
            Self::RemoveDirectory(_) => "rmdir",
            Self::CopyDirectory(_) => "cpdir",
            Self::Stat(_) => "stat",
            Self::Glob(_) => "glob",
            Self::ListDirectory(_) => "listdir",
            Self::RemoveFile(_) => "rmfile",
            Self::UploadFile(_) => "uploadFile",
            Self::UploadDirectory(_) => "uploadDirectory",
            Self::DownloadFile(_) => "downloadFile",
            Self::Source(source) => source.repository.command(),
        }
    }

    /// Says why this worker cannot run the command, without running it.
    ///
    /// # Errors
    ///
    /// The reason, when there is one.
    pub fn check(&self, worker: &WorkerInfo) -> Result<(), CommandUnsupported> {
        // Encoding is the check; no object is made for it, so any number will do.
        let mut arguments = Arguments::new(worker);
        self.lower(&mut arguments, Value::None).map(drop)
    }

    pub(crate) fn stream(&self) -> Option<Stream> {
        match self {
            Self::UploadFile(_) | Self::UploadDirectory(_) => Some(Stream::Writer),
            Self::DownloadFile(_) => Some(Stream::Reader),
            _ => None,
        }
    }

    /// The command as this worker wants it; more than one where the worker cannot do it in one go.
    pub(crate) fn encode(
        &self,
        worker: &WorkerInfo,
        stream: Option<LocalId>,
    ) -> Result<Vec<WireCommand>, CommandUnsupported> {
        let stream = stream.map_or(Value::None, Value::Local);
        self.lower(&mut Arguments::new(worker), stream)
    }

    fn lower(
        &self,
        arguments: &mut Arguments<'_>,
        stream: Value,
    ) -> Result<Vec<WireCommand>, CommandUnsupported> {
        match self {
            Self::Shell(shell) => shell.encode(arguments)?,
            Self::MakeDirectory(command) => command.encode(arguments)?,
            Self::RemoveDirectory(command) => return command.encode(arguments),
            Self::CopyDirectory(command) => command.encode(arguments)?,
            Self::Stat(command) => command.encode(arguments)?,
            Self::Glob(command) => command.encode(arguments)?,
            Self::ListDirectory(command) => command.encode(arguments)?,
            Self::RemoveFile(command) => return command.encode(arguments),
            Self::UploadFile(command) => command.encode(arguments, stream)?,
            Self::UploadDirectory(command) => command.encode(arguments, stream)?,
            Self::DownloadFile(command) => command.encode(arguments, stream)?,
            Self::Source(source) => source.encode(arguments)?,
        }
        Ok(vec![arguments.finish(self.name())])
    }
}
