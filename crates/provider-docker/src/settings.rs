//! How machines of one pool are made.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use model::pool::Money;
use pools::metadata;

/// How machines of one pool are made.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The pool.
    pub pool: String,
    /// Names this installation; machines of another one are never touched.
    pub deployment: String,
    /// Where workers find the master, as seen from the container: `HOST:PORT`.
    pub master: String,
    /// Where the engine is: `unix:///var/run/docker.sock`, `tcp://HOST:PORT`.
    pub host: String,
    /// How an engine at `tcp://` is trusted, and trusts the master; `None` is without TLS.
    pub tls: Option<Tls>,
    /// The image.
    pub image: String,
    /// When the image is pulled.
    pub pull: Pull,
    /// What runs in the container; empty is the image's own command.
    pub command: Vec<String>,
    /// How the worker is told who it is.
    pub credentials: Credentials,
    /// More environment variables.
    pub environment: BTreeMap<String, String>,
    /// `UID` or `UID:GID` that the container runs as; `None` is the image's own.
    pub user: Option<String>,
    /// `/HOST:/CONTAINER[:ro]`, or a volume's name in place of the first.
    pub volumes: Vec<String>,
    /// `bridge`, `host`, `none`, or a network's name; `None` is the engine's own choice.
    pub network: Option<String>,
    /// More lines of `/etc/hosts`: `NAME:ADDRESS`.
    pub extra_hosts: Vec<String>,
    /// Name servers.
    pub dns: Vec<String>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Processors, by time: 1.5 is one and a half.
    pub cpus: Option<f64>,
    /// The most processes.
    pub pids: Option<u32>,
    /// Bytes of `/dev/shm`.
    pub shm_size: Option<u64>,
    /// Capabilities beyond the engine's own choice.
    pub cap_add: Vec<String>,
    /// Capabilities of the engine's own choice that are taken away; `ALL` is all of them.
    pub cap_drop: Vec<String>,
    /// As `docker run --security-opt` takes them: `no-new-privileges`.
    pub security: Vec<String>,
    /// What an hour of a machine costs.
    pub price: Money,
    /// A worker that has no master for so long ends by itself, if its image cares; zero is never.
    pub silence: Duration,
    /// How long a container may take to end before it is killed.
    pub grace: Duration,
}

/// Files (PEM) for an engine that is reached over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Who may sign the engine's certificate, beyond whom the system trusts.
    pub ca: PathBuf,
    /// The master's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// When the image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pull {
    /// When the engine has none of that name.
    #[default]
    Missing,
    /// Before each launch.
    Always,
    /// Never.
    Never,
}

/// How a worker is told who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// By `/run/ganger/document.json`, which only the container's user can read.
    #[default]
    File,
    /// By `BUILDMASTER`, `BUILDMASTER_PORT`, `WORKERNAME` and `WORKERPASS`, as Buildbot's own images want it. Whoever can
    /// ask the engine can read them.
    Environment,
}

impl Settings {
    /// What a pool needs at least; all else has its default.
    pub fn new(pool: &str, deployment: &str, master: &str, host: &str, image: &str) -> Self {
        Self {
            pool: pool.to_owned(),
            deployment: deployment.to_owned(),
            master: master.to_owned(),
            host: host.to_owned(),
            tls: None,
            image: image.to_owned(),
            pull: Pull::default(),
            command: Vec::new(),
            credentials: Credentials::default(),
            environment: BTreeMap::new(),
            user: None,
            volumes: Vec::new(),
            network: None,
            extra_hosts: Vec::new(),
            dns: Vec::new(),
            memory: None,
            cpus: None,
            pids: None,
            shm_size: None,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            security: Vec::new(),
            price: Money::default(),
            silence: metadata::Settings::SILENCE,
            grace: Duration::from_secs(10),
        }
    }

    /// All that stands against machines like this, wherever the engine is. The engine is not asked.
    pub fn problems(&self) -> Vec<SettingsError> {
        let mut problems = Vec::new();
        let mut wrong = |field, problem: String| problems.push(SettingsError { field, problem });
        let master = metadata::Master { address: self.master.clone() };
        if master.host_and_port().is_none() {
            wrong("master", format!("{:?}; workers need HOST:PORT", self.master));
        }
        let tcp = self.host.starts_with("tcp://");
        if !tcp && !self.host.starts_with("unix:///") {
            wrong("host", format!("{:?}; an engine is at unix:///PATH or tcp://HOST:PORT", self.host));
        }
        if self.tls.is_some() && !tcp {
            wrong("tls", "of no use without a host at tcp://".to_owned());
        }
        if self.image.is_empty() {
            wrong("image", "empty".to_owned());
        }
        if let Some(user) = self.user.as_deref().filter(|user| owner(user).is_none()) {
            wrong("user", format!("{user:?}; it takes numbers: UID or UID:GID"));
        }
        if self.cpus.is_some_and(|cpus| !(0.01..=1e6).contains(&cpus)) {
            wrong("cpus", "no number of processors".to_owned());
        }
        if let Some(name) = self.environment.keys().find(|name| name.is_empty() || name.contains(['=', '\0']))
        {
            wrong("environment", format!("wrong: {name:?} cannot name a variable"));
        }
        problems
    }
}

/// A user and a group by their numbers, as images and `docker run --user` have them; empty is root.
pub(crate) fn owner(user: &str) -> Option<(u32, u32)> {
    let (uid, gid) = user.split_once(':').unwrap_or((user, "0"));
    let uid = if uid.is_empty() { 0 } else { uid.parse().ok()? };
    Some((uid, gid.parse().ok()?))
}

/// Why no machine can be made like this. For whoever writes the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` is {problem}")]
pub struct SettingsError {
    /// Which value.
    pub field: &'static str,
    /// Why.
    pub problem: String,
}
