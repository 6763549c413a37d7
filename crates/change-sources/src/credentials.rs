//! What git needs to be let in: keys of ssh as files that only we can read, for as long as one look takes.

use std::{
    ffi::OsString, fs::OpenOptions, io, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path,
};

use config::{Secrets, Ssh};
use model::template::{Context, RenderError};
use secrecy::ExposeSecret as _;
use tempfile::TempDir;

/// Files for one look; they are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Credentials {
    _directory: Option<TempDir>,
    pub(crate) env: Vec<(String, OsString)>,
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Files for them cannot be made.
    #[error("make files for ssh")]
    Files(#[from] io::Error),
    /// A secret is missing.
    #[error(transparent)]
    Secret(#[from] RenderError),
}

impl Credentials {
    pub(crate) fn new(ssh: Option<&Ssh>, secrets: &Secrets, within: &Path) -> Result<Self, CredentialsError> {
        let name = || "GIT_SSH_COMMAND".to_owned();
        let Some(ssh) = ssh else {
            // Somebody's own command is left alone.
            let quiet =
                std::env::var_os("GIT_SSH_COMMAND").is_none() && std::env::var_os("GIT_SSH").is_none();
            let env = quiet.then(|| (name(), "ssh -oBatchMode=yes".into())).into_iter().collect();
            return Ok(Self { _directory: None, env });
        };
        let render = |template: &model::template::Template| template.render(&Only(secrets));
        let directory = tempfile::Builder::new().prefix(".ganger-ssh").tempdir_in(within)?;
        let key = directory.path().join("key");
        write(&key, &render(&ssh.private_key)?)?;
        let mut command = String::from("ssh -oBatchMode=yes -oIdentitiesOnly=yes");
        command.push_str(&format!(" -i {}", quoted(&key)));
        let known = match (&ssh.known_hosts, &ssh.host_key) {
            (Some(known), _) => Some(render(known)?),
            (None, Some(key)) => Some(format!("* {}", render(key)?)),
            (None, None) => None,
        };
        if let Some(known) = known {
            let path = directory.path().join("known_hosts");
            write(&path, &known)?;
            command.push_str(&format!(" -oUserKnownHostsFile={}", quoted(&path)));
            command.push_str(" -oStrictHostKeyChecking=yes");
        }
        Ok(Self { _directory: Some(directory), env: vec![(name(), command.into())] })
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    // A key whose last line does not end is none.
    if text.ends_with('\n') { Ok(()) } else { file.write_all(b"\n") }
}

/// For the shell that git runs its ssh with.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

/// Secrets, and nothing else.
struct Only<'a>(&'a Secrets);

impl Context for Only<'_> {
    fn secret(&self, name: &str) -> Option<String> {
        Some(self.0.get(name)?.expose_secret().to_owned())
    }
}
