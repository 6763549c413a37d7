//! The directory that machines live in.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use model::InstanceId;
use rustix::fs::Access;

use crate::record::Record;

/// How much of a console is shown.
const CONSOLE: u64 = 64 * 1024;

/// The directory that machines live in. What changes records holds its lock, always for a short time and never on a
/// thread of the runtime.
#[derive(Debug)]
pub(crate) struct Yard {
    directory: PathBuf,
}

/// The right to change records: nobody else has it until this is dropped, in this process or another. A master that is
/// about to lose its pool may still be at work while the next one lists.
#[derive(Debug)]
#[must_use]
pub(crate) struct Changing {
    _lock: File,
}

/// A machine's name with its provider, and of its files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn of(instance: InstanceId) -> Self {
        Self(format!("instance-{instance}"))
    }

    /// A name that somebody handed in; nothing else is ever made a path of.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let id: i64 = text.strip_prefix("instance-")?.parse().ok()?;
        let name = Self::of(InstanceId(id));
        (name.0 == text).then_some(name)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Yard {
    /// Makes the directory. Others may pass through it when workers run as somebody else.
    pub(crate) fn open(directory: &Path, shared: bool) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let directory = directory.canonicalize()?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(if shared { 0o711 } else { 0o700 }))?;
        Ok(Self { directory })
    }

    /// Whether [`Yard::open`] could make the directory, as far as can be seen.
    pub(crate) fn look(directory: &Path) -> io::Result<()> {
        // What is not there is made in the nearest directory that is.
        let there = directory.ancestors().find(|path| path.symlink_metadata().is_ok());
        let there = there.ok_or(io::ErrorKind::NotFound)?;
        if !there.metadata()?.is_dir() {
            let text = format!("{} is no directory", there.display());
            return Err(io::Error::new(io::ErrorKind::NotADirectory, text));
        }
        Ok(rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK)?)
    }

    /// To be held while records change. Waits for its turn.
    pub(crate) fn changing(&self) -> io::Result<Changing> {
        let path = self.directory.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.lock()?;
        Ok(Changing { _lock: file })
    }

    /// The worker's directory.
    pub(crate) fn home(&self, name: &Name) -> PathBuf {
        self.directory.join(&name.0)
    }

    fn record(&self, name: &Name) -> PathBuf {
        self.directory.join(format!("{}.json", name.0))
    }

    fn console(&self, name: &Name) -> PathBuf {
        self.directory.join(format!("{}.console", name.0))
    }

    pub(crate) fn read(&self, name: &Name) -> io::Result<Option<Record>> {
        let path = self.record(name);
        Record::read(&path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    pub(crate) fn write(&self, name: &Name, record: &Record) -> io::Result<()> {
        record.write(&self.record(name))
    }

    /// All machines that there are records of.
    pub(crate) fn names(&self) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let file = entry?.file_name();
            names.extend(file.to_str().and_then(|file| file.strip_suffix(".json")).and_then(Name::parse));
        }
        names.sort();
        Ok(names)
    }

    /// A console to write to, started anew.
    pub(crate) fn open_console(&self, name: &Name) -> io::Result<File> {
        let path = self.console(name);
        remove(fs::remove_file(&path))?;
        // The worker reads it too, to keep its end when it gets long.
        OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path)
    }

    /// The end of what a machine has printed; nothing when there is nothing.
    pub(crate) fn read_console(&self, name: &Name) -> io::Result<String> {
        let mut file = match File::open(self.console(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(CONSOLE)))?;
        let mut bytes = Vec::new();
        file.take(CONSOLE).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Removes all of a machine but its record.
    pub(crate) fn remove_files(&self, name: &Name) -> io::Result<()> {
        let home = self.home(name);
        match remove(fs::remove_dir_all(&home)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                // A build may take its own rights away.
                unlock(&home)?;
                remove(fs::remove_dir_all(&home))?;
            }
            done => done?,
        }
        remove(fs::remove_file(self.console(name)))
    }

    /// Whether there is more of a machine than its record.
    pub(crate) fn has_files(&self, name: &Name) -> bool {
        self.home(name).symlink_metadata().is_ok()
    }

    pub(crate) fn forget(&self, name: &Name) -> io::Result<()> {
        remove(fs::remove_file(self.record(name)))
    }
}

/// What is gone is removed.
fn remove(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Gives the owner all rights on the directories below.
fn unlock(directory: &Path) -> io::Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        // Not through links: this says what the entry itself is.
        if entry.file_type()?.is_dir() {
            unlock(&entry.path())?;
        }
    }
    Ok(())
}
