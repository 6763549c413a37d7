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
    Local(LocalTemplate),
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
}
