//! A database in a file, which SQLite keeps.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    path::{Path, PathBuf},
};

use super::{Location, Opened, Options, check_version, ready};
use crate::{
    database::{Connection, Error, sqlite},
    error::OpenError,
    schema,
};

/// More than a process and the name of a master take in the lock file.
const LOCK_TEXT: u64 = 16 << 10;

pub(super) fn open(path: &Path, options: &Options) -> Result<Opened, OpenError> {
    let location = Location::from(path);
    let failed = |error: Error| OpenError::database(&location, error);
    let (mut lock, before) = take_lock(path)?;
    create(path)?;
    let connection = Connection::Sqlite(sqlite::open(path).map_err(|error| failed(error.into()))?);
    if connection.is_empty().map_err(failed)? {
        let transaction = connection.begin().map_err(failed)?;
        transaction.batch(schema::CREATE).map_err(failed)?;
        transaction.commit().map_err(failed)?;
    } else {
        check_version(&location, &connection)?;
    }
    connection.batch(schema::ADDITIONS).map_err(failed)?;
    let mut opened = ready(connection, before, options).map_err(failed)?;
    sign_lock(&mut lock, Some(&options.master)).map_err(|cause| OpenError::System {
        what: "write the lock file",
        path: lock_path(path),
        cause,
    })?;
    opened.lock = Some(lock);
    Ok(opened)
}

/// Makes the database, if there is none, for its owner only: who can read it can log in as a machine of a pool. SQLite
/// gives the files beside it the mode of the database; that of one that is there is its owner's affair.
fn create(path: &Path) -> Result<(), OpenError> {
    match for_the_owner().create_new(true).open(path) {
        Err(cause) if cause.kind() != ErrorKind::AlreadyExists => {
            Err(OpenError::System { what: "create the database", path: path.to_owned(), cause })
        }
        _ => Ok(()),
    }
}

/// Files that are made are nobody else's to read.
fn for_the_owner() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Takes the lock file beside the database, and tells the name of the master that had it last: after the directory was
/// moved or the host was renamed, that is another than ours. The lock is the operating system's: it ends with the process,
/// whatever ends it, and the file stays. (A lock on the database itself would disturb SQLite's own.)
fn take_lock(database: &Path) -> Result<(File, Option<String>), OpenError> {
    let path = lock_path(database);
    let failed = |what, cause| OpenError::System { what, path: path.clone(), cause };
    let mut file = for_the_owner()
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|cause| failed("open the lock file", cause))?;
    let locked = file.try_lock();
    let (process, master) = read_lock(&mut file);
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let by = process.map(|process| format!("process {process}"));
            return Err(OpenError::InUse { database: database.display().to_string(), by });
        }
        Err(TryLockError::Error(cause)) => return Err(failed("lock", cause)),
    }
    // Until that master is noted as dead, the file goes on naming it.
    sign_lock(&mut file, master.as_deref()).map_err(|cause| failed("write the lock file", cause))?;
    Ok((file, master))
}

/// What the holder of the lock wrote: its process, and the name of its master. Whatever else is there is nobody.
fn read_lock(file: &mut File) -> (Option<u32>, Option<String>) {
    let mut text = String::new();
    if file.take(LOCK_TEXT).read_to_string(&mut text).is_err() {
        return (None, None);
    }
    let (process, master) = text.split_once('\n').unwrap_or((&text, ""));
    let master = master.strip_suffix('\n').unwrap_or(master);
    (process.trim().parse().ok(), (!master.is_empty()).then(|| master.to_owned()))
}

fn sign_lock(file: &mut File, master: Option<&str>) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    let master = master.map_or_else(String::new, |name| format!("{name}\n"));
    file.write_all(format!("{}\n{master}", std::process::id()).as_bytes())
}
