//! Keys and passwords for git (`buildbot/util/git.py`, `GitStepAuth`; `buildbot/util/git_credential.py`).
//!
//! They are on the worker, in files beside the directory of the builder, while the step runs, and never in the words of a
//! command.

use bytes::Bytes;
use model::{Json, template::to_text};
use worker_protocol::{Command, DownloadFile, EnvValue, MakeDirectory, RemoveDirectory};

use super::{Features, Git, Method};
use crate::build::{halt::Halt, running::Wiring, step::Step, transfer::Transfer};

/// Commands that talk to servers.
const COMMANDS: [&str; 7] = ["clone", "credential", "checkout", "fetch", "ls-remote", "push", "submodule"];

/// What git proves who it is with.
pub(super) struct Auth {
    private_key: Option<String>,
    /// A file `known_hosts`.
    known_hosts: Option<String>,
    /// What `git credential approve` reads, each.
    credentials: Vec<String>,
    /// The credential store is used, and told whether paths count.
    store: Option<Option<bool>>,
    /// The directory on the worker with all this; known as soon as there is something in it.
    directory: Option<String>,
}

impl Auth {
    /// From the arguments of the step. What is written there is a secret, however it came there.
    pub(super) fn new(step: &mut Step, repository: &str) -> Self {
        let args = &step.args;
        let given = |name| args.text(name).filter(|text| !text.trim().is_empty());
        let private_key = given("sshPrivateKey").map(with_line_end);
        let known_hosts =
            given("sshKnownHosts").or_else(|| given("sshHostKey").map(|key| format!("* {key}")));
        let mut credentials = Vec::new();
        let mut store = None;
        let mut secrets: Vec<(&str, String)> = Vec::new();
        if let [user, password] = args.texts("auth_credentials").as_slice() {
            credentials.push(format!("url={repository}\nusername={user}\npassword={password}\n"));
            secrets.push(("auth_credentials", password.clone()));
            store = Some(None);
        }
        let table = args.within(args.get("git_credentials"));
        for credential in table.get("credentials").as_array().into_iter().flatten() {
            store = Some(None);
            let text = credential_text(credential);
            let password = text.lines().filter_map(|line| line.strip_prefix("password="));
            secrets.extend(password.map(|password| ("git_credentials", password.to_owned())));
            credentials.push(text);
        }
        if store.is_some() {
            store = Some(table.maybe_truth("use_http_path"));
        }
        secrets.extend(private_key.clone().map(|key| ("sshPrivateKey", key)));
        for (name, secret) in secrets {
            step.build.scrubber.add(name, &secret);
        }
        Self { private_key, known_hosts, credentials, store, directory: None }
    }

    fn is_needed(&self) -> bool {
        self.private_key.is_some() || self.store.is_some()
    }

    /// What a git command gets to use it: words, and variables.
    pub(super) fn words(
        &self,
        features: Features,
        command: &str,
    ) -> Result<(Vec<String>, Vec<EnvVar>), Halt> {
        let (mut words, mut env) = (Vec::new(), Vec::new());
        let Some(directory) = self.directory.as_deref().filter(|_| COMMANDS.contains(&command)) else {
            return Ok((words, env));
        };
        let file = |name| file(directory, name);
        if self.private_key.is_some() {
            let mut ssh = format!("ssh -o \"BatchMode=yes\" -i \"{}\"", file("ssh-key"));
            if self.known_hosts.is_some() {
                ssh.push_str(&format!(" -o \"UserKnownHostsFile={}\"", file("ssh-known-hosts")));
            }
            if features.ssh_config {
                words.extend(["-c".to_owned(), format!("core.sshCommand={ssh}")]);
            } else if features.ssh_env {
                env.push(("GIT_SSH_COMMAND".into(), EnvValue::Set(ssh.into())));
            } else {
                return Err(Halt::Broken("`sshPrivateKey` needs git 2.3 on the worker".to_owned()));
            }
        }
        if let Some(use_http_path) = self.store {
            if !features.credential_store {
                return Err(Halt::Broken("credentials need git 1.7.9 on the worker".to_owned()));
            }
            let store = format!("credential.helper=store \"--file={}\"", file(".git-credentials"));
            words.extend(["-c".to_owned(), "credential.helper=".to_owned(), "-c".to_owned(), store]);
            if let Some(path) = use_http_path {
                words.extend(["-c".to_owned(), format!("credential.useHttpPath={path}")]);
            }
        }
        Ok((words, env))
    }
}

type EnvVar = (bytestring::ByteString, EnvValue);

impl Git<'_> {
    /// Brings what git needs to the worker.
    pub(super) async fn put_auth(&mut self) -> Result<(), Halt> {
        if !self.auth.is_needed() {
            return Ok(());
        }
        let directory = self.auth_directory()?;
        // A build that was cut off may have left its own, which nobody can write to.
        self.remove(&directory).await?;
        let make = Command::MakeDirectory(MakeDirectory { dir: directory.as_str().into() });
        self.step.command(make, Wiring::log(self.log)).await?;
        self.auth.directory = Some(directory.clone());
        let files = [("ssh-key", &self.auth.private_key), ("ssh-known-hosts", &self.auth.known_hosts)];
        let files: Vec<_> =
            files.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))).collect();
        if self.auth.private_key.is_some() {
            for (name, text) in files {
                let mut transfer = Transfer::text(Bytes::from(text));
                let mut command = DownloadFile::new(directory.as_str(), file(&directory, name));
                command.block_size = 32 * 1024;
                command.mode = Some(0o400);
                let wiring = Wiring { transfer: Some(&mut transfer), ..Wiring::log(self.log) };
                if !self.step.command(Command::DownloadFile(command), wiring).await?.is_success() {
                    return Err(Halt::Failed);
                }
            }
        }
        for credential in self.auth.credentials.clone() {
            self.git(&["credential", "approve"]).stdin(&credential).await?;
        }
        Ok(())
    }

    /// Takes it away again, also when the build was stopped.
    pub(super) async fn remove_auth(&mut self) -> Result<(), Halt> {
        let Some(directory) = self.auth.directory.take() else { return Ok(()) };
        // Otherwise the command would hear of it, and not be sent.
        if let Some(reason) = self.step.build.hear() {
            self.step.note_stop(&reason).await?;
        }
        let stopped = std::mem::take(&mut self.step.stopped);
        let mut remove = RemoveDirectory::new([directory]);
        remove.log_environ = false;
        let removed = self.step.command(Command::RemoveDirectory(remove), Wiring::log(self.log)).await;
        self.step.stopped |= stopped;
        removed?;
        if self.step.stopped { Err(Halt::Stopped) } else { Ok(()) }
    }

    /// Beside the directory of the builder, as git clones only into a directory that is empty.
    fn auth_directory(&self) -> Result<String, Halt> {
        let workdir = if self.method == Method::Copy { super::COPY_SOURCE } else { &self.workdir };
        let workdir = workdir.trim_end_matches(['/', '\\']);
        let (parent, name) = workdir.rsplit_once(['/', '\\']).unwrap_or(("", workdir));
        let name = format!(".{}.{name}.buildbot", self.step.build.order.builder.workerbuilddir);
        let info = self.step.worker();
        let is_absolute = self.step.join("x", workdir) == workdir;
        if is_absolute {
            return Ok(self.step.join(if parent.is_empty() { "/" } else { parent }, &name));
        }
        let Some(base) = &info.basedir else {
            return Err(Halt::Broken("the worker does not say where its directory is".to_owned()));
        };
        let parent = if parent.is_empty() { base.clone() } else { self.step.join(base, parent) };
        Ok(self.step.join(&parent, &name))
    }
}

fn file(directory: &str, name: &str) -> String {
    let separator = if directory.contains('\\') { '\\' } else { '/' };
    format!("{directory}{separator}{name}")
}

/// A key needs the line end that secrets are often without.
fn with_line_end(mut key: String) -> String {
    if !key.ends_with(['\n', '\r']) {
        key.push('\n');
    }
    key
}

/// What `git credential` reads: the URL first, as it overwrites the rest.
fn credential_text(credential: &Json) -> String {
    let Json::Object(attributes) = credential else { return to_text(credential) };
    let attributes = attributes.iter().filter(|(_, value)| !value.is_null());
    let (url, others): (Vec<_>, Vec<_>) = attributes.partition(|(name, _)| *name == "url");
    url.into_iter().chain(others).map(|(name, value)| format!("{name}={}\n", to_text(value))).collect()
}
