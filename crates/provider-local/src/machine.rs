//! What a machine finds in its directory: the document, and a stock worker that does as it says.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    path::Path,
};

use pools::metadata::Document;
use secrecy::ExposeSecret;

/// The worker's configuration. `buildbot-worker` takes a directory for its own by the words of the application's name
/// (`buildbot_worker/scripts/base.py`, 4.3.0: `isWorkerDir`).
const CONFIGURATION: &str = include_str!("buildbot.tac");

/// A file for its owner alone, made anew.
pub(crate) fn fresh(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(path)
}

/// Whether a worker lives in a directory that is none of ours.
pub(crate) fn is_anothers(home: &Path) -> io::Result<bool> {
    let ours = CONFIGURATION.lines().next().unwrap_or_default().as_bytes();
    let mut found = Vec::new();
    match File::open(home.join("buildbot.tac")) {
        Ok(file) => file.take(ours.len() as u64).read_to_end(&mut found)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    Ok(found != ours)
}

/// A user that workers run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Makes a machine's directory. What a crash left of it is replaced.
pub(crate) fn make(home: &Path, document: &Document, owner: Option<Owner>) -> io::Result<()> {
    match fs::remove_dir_all(home) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let text = document.to_json().map_err(io::Error::other)?;
    let pool = &document.pool;
    fs::create_dir(home)?;
    fs::set_permissions(home, fs::Permissions::from_mode(0o700))?;
    let host = format!("a machine of the pool {pool}, a process beside its master\n");
    write(home, text.expose_secret(), &format!("the pool {pool}\n"), &host, owner)
}

/// Writes what a worker finds in its directory: the document, what reads it, and what it says about itself. What is there of
/// an earlier one is replaced.
pub(crate) fn write(
    home: &Path,
    document: &str,
    admin: &str,
    host: &str,
    owner: Option<Owner>,
) -> io::Result<()> {
    let info = home.join("info");
    match fs::create_dir(&info) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let files = [
        (home.join("metadata.json"), document),
        (home.join("buildbot.tac"), CONFIGURATION),
        (info.join("admin"), admin),
        (info.join("host"), host),
    ];
    for (path, text) in &files {
        fresh(path)?.write_all(text.as_bytes())?;
    }
    if let Some(Owner { uid, gid }) = owner {
        // The directory last: until then nobody else can change what is in it.
        for path in files.iter().map(|(path, _)| path.as_path()).chain([&*info, home]) {
            chown(path, Some(uid), Some(gid))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_another_worker_is_known() {
        let home = tempfile::tempdir().expect("a directory");
        assert!(!is_anothers(home.path()).expect("it can be read"));
        fs::write(home.path().join("buildbot.tac"), CONFIGURATION).expect("it can be written");
        assert!(!is_anothers(home.path()).expect("it can be read"));
        fs::write(home.path().join("buildbot.tac"), "import os\n").expect("it can be written");
        assert!(is_anothers(home.path()).expect("it can be read"));
    }
}
