//! What machines of a pool that are containers are made from, as it is configured. Words are those of the Engine API, of
//! `docker run`, and of `DockerLatentWorker`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};

use crate::pool::Money;

/// What a pool's containers are made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Where the engine is: `unix:///var/run/docker.sock`, `tcp://HOST:PORT`.
    pub docker_host: String,
    /// How an engine at `tcp://` is trusted, and trusts the master; `None` is without TLS.
    pub tls: Option<Tls>,
    /// The image.
    pub image: String,
    /// When the image is pulled.
    pub pull: Pull,
    /// Who pulls it; `None` is nobody in particular.
    pub registry: Option<Registry>,
    /// What runs in the container; empty is the image's own command.
    pub command: Vec<String>,
    /// How the worker is told who it is.
    pub credentials: Credentials,
    /// More environment variables.
    pub environment: BTreeMap<String, String>,
    /// `USER`, `UID` or `UID:GID` that the container runs as; `None` is the image's own.
    pub user: Option<String>,
    /// The host name that every container has; `None` is one of its own.
    pub hostname: Option<String>,
    /// `/HOST:/CONTAINER[:ro]`, or a volume's name in place of the first.
    pub volumes: Vec<String>,
    /// Directories in memory, with their options: `/tmp` and `size=64m`.
    pub tmpfs: BTreeMap<String, String>,
    /// Devices of the engine's machine.
    pub devices: Vec<Device>,
    /// `bridge`, `host`, `none`, or a network's name; `None` is the engine's own choice.
    pub network_mode: Option<String>,
    /// More lines of `/etc/hosts`: `NAME:ADDRESS`.
    pub extra_hosts: Vec<String>,
    /// Name servers.
    pub dns: Vec<String>,
    /// Bytes of memory.
    pub mem_limit: Option<u64>,
    /// Bytes of `/dev/shm`.
    pub shm_size: Option<u64>,
    /// Processors, by time: 1.5 is one and a half.
    pub cpus: Option<f64>,
    /// Processors, by their numbers: `0-3`.
    pub cpuset_cpus: Option<String>,
    /// The most processes.
    pub pids_limit: Option<u32>,
    /// Limits of processes.
    pub ulimits: Vec<Ulimit>,
    /// Whether the engine's own init reaps what builds leave behind.
    pub init: bool,
    /// Whether builds may do all that root of the engine's machine may.
    pub privileged: bool,
    /// Capabilities beyond the engine's own choice.
    pub cap_add: Vec<String>,
    /// Capabilities of the engine's own choice that are taken away; `ALL` is all of them.
    pub cap_drop: Vec<String>,
    /// As `docker run --security-opt` takes them: `no-new-privileges`.
    pub security_opt: Vec<String>,
    /// More groups of the container's user.
    pub group_add: Vec<String>,
    /// The runtime; `None` is the engine's own choice.
    pub runtime: Option<String>,
    /// What an hour of a machine costs.
    pub price: Money,
    /// A worker that has no master for so long ends by itself; zero is never.
    pub silence: Duration,
}

impl Template {
    /// A template with nothing but an image; all else has its default.
    pub fn new(docker_host: &str, image: &str) -> Self {
        Self {
            docker_host: docker_host.to_owned(),
            tls: None,
            image: image.to_owned(),
            pull: Pull::default(),
            registry: None,
            command: Vec::new(),
            credentials: Credentials::default(),
            environment: BTreeMap::new(),
            user: None,
            hostname: None,
            volumes: Vec::new(),
            tmpfs: BTreeMap::new(),
            devices: Vec::new(),
            network_mode: None,
            extra_hosts: Vec::new(),
            dns: Vec::new(),
            mem_limit: None,
            shm_size: None,
            cpus: None,
            cpuset_cpus: None,
            pids_limit: None,
            ulimits: Vec::new(),
            init: true,
            privileged: false,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            security_opt: Vec::new(),
            group_add: Vec::new(),
            runtime: None,
            price: Money::default(),
            silence: Duration::from_mins(30),
        }
    }

    /// Whether a container shares the network of this machine.
    pub fn is_here(&self) -> bool {
        self.docker_host.starts_with("unix:") && self.network_mode.as_deref() == Some("host")
    }
}

/// Files (PEM) for an engine that is reached over TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Who may sign the engine's certificate, beyond whom the system trusts.
    pub ca_cert: PathBuf,
    /// The master's certificate.
    pub client_cert: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
}

/// When the image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pull {
    /// Never: the engine has it.
    #[default]
    Never,
    /// When the engine has none of that name.
    Missing,
    /// Before each launch.
    Always,
}

/// A user of the registry that the image is of.
#[derive(Clone, Debug)]
pub struct Registry {
    /// The name.
    pub user: String,
    /// The password, or a token that the registry takes for one.
    pub password: SecretString,
}

impl PartialEq for Registry {
    fn eq(&self, other: &Self) -> bool {
        self.user == other.user && self.password.expose_secret() == other.password.expose_secret()
    }
}

/// How a worker is told who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// By `/run/ganger/document.json`, which only the container's user can read.
    #[default]
    File,
    /// By `BUILDMASTER`, `BUILDMASTER_PORT`, `WORKERNAME` and `WORKERPASS`, as `DockerLatentWorker` does. Whoever can ask
    /// the engine can read them.
    Environment,
}

/// A device of the engine's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What it is called there.
    pub host: String,
    /// What it is called in the container.
    pub container: String,
    /// Of `r`, `w` and `m`.
    pub permissions: String,
}

/// A limit of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// `nofile`.
    pub name: String,
    /// What holds.
    pub soft: i64,
    /// What it may be raised to.
    pub hard: i64,
}
