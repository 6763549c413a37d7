//! A pool, as the rest of Ganger sees it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use ::model::{
    Properties,
    pool::{Money, PoolSpec},
};
use secrecy::{ExposeSecret as _, SecretString};

/// A pool of machines that the master starts and ends.
#[derive(Clone, Debug)]
pub struct Pool {
    /// What its machines are decided by.
    pub spec: Arc<PoolSpec>,
    /// What machines prove to know at login that somebody else started; without one there are none.
    pub password: Option<SecretString>,
    /// How often a silent worker is asked whether it is there.
    pub keepalive_interval: Duration,
    /// Properties that its builds get.
    pub properties: Properties,
    /// Properties that its builds get unless something else sets them.
    pub default_properties: Properties,
    /// Where its machines come from.
    pub provider: PoolProvider,
    /// Where its workers find the master, `HOST:PORT`; `None` is the first address that is bound.
    pub master: Option<String>,
}

impl Pool {
    /// Whether its machines have to ask who their workers are: see `enroll` of `[master]`.
    pub fn enrolls(&self) -> bool {
        self.provider.enrolls()
    }
}

impl PartialEq for Pool {
    fn eq(&self, other: &Self) -> bool {
        let password = |pool: &Self| pool.password.as_ref().map(|secret| secret.expose_secret().to_owned());
        self.spec == other.spec
            && password(self) == password(other)
            && self.keepalive_interval == other.keepalive_interval
            && self.properties == other.properties
            && self.default_properties == other.default_properties
            && self.provider == other.provider
            && self.master == other.master
    }
}

/// Where the machines of a pool come from.
#[derive(Clone, Debug, PartialEq)]
pub enum PoolProvider {
    /// Processes on this machine.
    Local(Box<LocalTemplate>),
    /// Containers.
    Docker(Arc<::model::docker::Template>),
    /// Instances of EC2.
    Ec2(Arc<::model::ec2::Template>),
}

impl PoolProvider {
    /// What an hour of a machine costs at the least, as far as that is configured.
    pub fn price(&self) -> Money {
        match self {
            Self::Local(template) => template.price,
            Self::Docker(template) => template.price,
            Self::Ec2(template) => template.types.iter().map(|choice| choice.price).min().unwrap_or_default(),
        }
    }

    /// Whether machines have to ask who their workers are.
    pub fn enrolls(&self) -> bool {
        matches!(self, Self::Ec2(_))
    }
}

/// What a machine is made from that is a process on this machine.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalTemplate {
    /// Where machines live, absolute.
    pub directory: PathBuf,
    /// `buildbot-worker`; a bare name is looked up in the master's `PATH`.
    pub program: PathBuf,
    /// More environment variables of the workers.
    pub environment: BTreeMap<String, String>,
    /// What an hour of a machine costs.
    pub price: Money,
    /// The user that workers run as; `None` is the master's own.
    pub user: Option<String>,
    /// The control group (version 2) that was delegated to the master, absolute; with one, machines have groups of their
    /// own below it.
    pub cgroup: Option<PathBuf>,
    /// Bytes of memory that a machine may use; needs the control group.
    pub memory: Option<u64>,
    /// Processors that a machine may use, by time: 1.5 is one and a half; needs the control group.
    pub cpus: Option<f64>,
    /// A worker that has no master for so long ends by itself; zero is never. Half an hour unless configured.
    pub silence: Duration,
    /// What goes wrong on purpose.
    pub trouble: LocalTrouble,
}

impl LocalTemplate {
    /// A template with nothing but a directory; all else has its default.
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            program: "buildbot-worker".into(),
            environment: BTreeMap::new(),
            price: Money::default(),
            user: None,
            cgroup: None,
            memory: None,
            cpus: None,
            silence: Duration::from_mins(30),
            trouble: LocalTrouble::default(),
        }
    }
}

/// What goes wrong on purpose, for demonstrations and tests. Which machine has which fate follows from its id and the seed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalTrouble {
    /// Other seeds, other fates.
    pub seed: u64,
    /// How long every machine waits before its worker starts.
    pub boot: Duration,
    /// How much longer it waits at most; evenly spread.
    pub boot_spread: Duration,
    /// The share of machines whose worker ends as it starts, from 0 to 1.
    pub fail: f64,
    /// The share whose worker never connects.
    pub hang: f64,
    /// The share that dies without a word after a time.
    pub vanish: f64,
    /// That time, from the start of the worker.
    pub vanish_after: Duration,
}
