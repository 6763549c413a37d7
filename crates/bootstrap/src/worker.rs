//! The stock worker: its directory and its process.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, chown},
    path::Path,
    process::Stdio,
};

use secrecy::ExposeSecret as _;
use tokio::process::{Child, Command};

use crate::{
    document::{Document, LIMIT, Worker, split},
    options::Options,
    user::User,
};

/// The worker's configuration. `buildbot-worker` takes a directory for its own by the words of the application's name
/// (`buildbot_worker/scripts/base.py`, 4.3.0: `isWorkerDir`).
const CONFIGURATION: &str = include_str!("buildbot.tac");

/// Names the boot of this machine; Linux makes a new one at each.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// Why there is no worker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    #[error("cannot make the worker's directory {0}")]
    Directory(String, #[source] io::Error),
    #[error("cannot start {0}: is buildbot-worker in the image?")]
    Start(String, #[source] io::Error),
}

/// Makes the worker's directory, or brings it up to date.
pub(crate) fn furnish(
    directory: &Path,
    user: User,
    document: &Document,
    worker: &Worker,
    machine: &str,
) -> Result<(), WorkerError> {
    let (host, port) = split(&document.master.address).unwrap_or_default();
    let settings = serde_json::json!({
        "host": host,
        "port": port,
        "name": worker.name,
        "password": worker.password.expose_secret(),
        "keepalive": if document.settings.keepalive == 0 { serde_json::Value::Null } else { document.settings.keepalive.into() },
    });
    let files = BTreeMap::from([
        ("buildbot.tac", CONFIGURATION.to_owned()),
        ("worker.json", settings.to_string()),
        ("info/admin", format!("the pool {}\n", document.pool)),
        ("info/host", format!("{machine}\n")),
    ]);
    let make = || {
        if !directory.exists() {
            fs::DirBuilder::new().recursive(true).create(directory.parent().unwrap_or(directory))?;
            fs::DirBuilder::new().mode(0o700).create(directory)?;
            chown(directory, Some(user.uid), Some(user.gid))?;
        }
        let mut child = user.runs_this()?.arg("furnish").arg(directory).stdin(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&serde_json::to_vec(&files)?)?;
        }
        let status = child.wait()?;
        if status.success() { Ok(()) } else { Err(io::Error::other("its user cannot write there")) }
    };
    make().map_err(|error| WorkerError::Directory(directory.display().to_string(), error))
}

/// Writes the worker's files, which standard input has. Runs as the worker's user, so that what builds made of the
/// directory can lead nowhere.
pub(crate) fn write_files(directory: &Path) -> io::Result<()> {
    let mut text = Vec::new();
    io::stdin().take(2 * LIMIT as u64).read_to_end(&mut text)?;
    let files: BTreeMap<String, String> = serde_json::from_slice(&text)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory.join("info"))?;
    for (name, text) in files {
        let path = directory.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// Starts the worker.
pub(crate) fn start(options: &Options, user: User) -> Result<Child, WorkerError> {
    let boot = fs::read_to_string(BOOT).unwrap_or_default();
    let directory = &options.directory;
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    Command::new(&options.twistd)
        .args(["--nodaemon", "--pidfile=", "--python=buildbot.tac"])
        .current_dir(directory)
        .env_clear()
        .env("PATH", path)
        .env("HOME", directory)
        .env("USER", &options.user)
        .env("LOGNAME", &options.user)
        .env("LANG", "C.UTF-8")
        .env("GANGER_BOOT_ID", boot.trim())
        // The standard library lets go of root's other groups, too.
        .uid(user.uid)
        .gid(user.gid)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| WorkerError::Start(options.twistd.display().to_string(), error))
}
