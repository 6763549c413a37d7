//! What a machine finds in its directory: the document, and a stock worker that does as it says.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, chown},
    path::Path,
};

use pools::metadata::Document;
use secrecy::ExposeSecret;

/// The worker's configuration. `buildbot-worker` takes a directory for its own by the words of the application's name
/// (`buildbot_worker/scripts/base.py`, 4.3.0: `isWorkerDir`).
const CONFIGURATION: &str = include_str!("buildbot.tac");

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
    let info = home.join("info");
    fs::create_dir(&info)?;
    let files = [
        (home.join("metadata.json"), text.expose_secret()),
        (home.join("buildbot.tac"), CONFIGURATION),
        (info.join("admin"), &format!("the pool {pool}\n")),
        (info.join("host"), &format!("a machine of the pool {pool}, a process beside its master\n")),
    ];
    for (path, text) in &files {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
    }
    if let Some(Owner { uid, gid }) = owner {
        // The directory last: until then nobody else can change what is in it.
        for path in files.iter().map(|(path, _)| path.as_path()).chain([&*info, home]) {
            chown(path, Some(uid), Some(gid))?;
        }
    }
    Ok(())
}
