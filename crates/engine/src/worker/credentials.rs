//! Who may log in.

use std::{collections::HashMap, time::Duration};

use config::Config;
use model::InstanceId;
use perspective_broker::Proof;
use secrecy::{ExposeSecret, SecretString};

use super::verifiers::Verifiers;

/// Names and passwords, and what a connection must know about its worker. A snapshot of one configuration.
#[derive(Debug, Default)]
pub struct Credentials {
    workers: HashMap<String, Account>,
    pools: HashMap<String, PoolAccount>,
    changes: Option<(String, SecretString)>,
}

#[derive(Debug)]
struct Account {
    password: SecretString,
    keepalive: Duration,
}

/// What a connection must know about a pool.
#[derive(Debug)]
struct PoolAccount {
    /// What machines prove that somebody else started; without one there are none.
    password: Option<SecretString>,
    keepalive: Duration,
}

/// Who somebody is that knew the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The worker of this name.
    Worker(String),
    /// A worker of a pool.
    Pool {
        /// The pool.
        pool: String,
        /// The instance that it is, or (`None`) a guest that knows the pool's password.
        instance: Option<InstanceId>,
    },
    /// A client that reports changes.
    Changes,
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stranger {
    /// An unknown name or a wrong password.
    Unknown,
    /// Somebody who wanted to be a worker of a pool.
    Pool {
        /// The pool.
        pool: String,
        /// The instance that he wanted to be, if he named one.
        instance: Option<InstanceId>,
        /// Why not.
        why: &'static str,
    },
}

impl Credentials {
    /// Those of this configuration.
    pub fn new(config: &Config) -> Self {
        let workers = config.workers.iter().filter_map(|worker| {
            let account =
                Account { password: worker.password.clone()?, keepalive: worker.keepalive_interval };
            Some((worker.name.clone(), account))
        });
        let pools = config.pools.iter().map(|pool| {
            let account = PoolAccount { password: pool.password.clone(), keepalive: pool.keepalive_interval };
            (pool.spec.name.clone(), account)
        });
        Self { workers: workers.collect(), pools: pools.collect(), changes: config.master.changes.clone() }
    }

    /// These workers with one password and how often each is asked whether it is there, and one client.
    #[cfg(test)]
    pub(super) fn for_tests(
        password: &str,
        workers: &HashMap<&str, Duration>,
        changes: Option<(&str, SecretString)>,
    ) -> Self {
        let workers = workers.iter().map(|(name, keepalive)| {
            ((*name).to_owned(), Account { password: password.into(), keepalive: *keepalive })
        });
        Self {
            workers: workers.collect(),
            pools: HashMap::new(),
            changes: changes.map(|(name, password)| (name.to_owned(), password)),
        }
    }

    /// The same with a pool, and perhaps a password of its own.
    #[cfg(test)]
    pub(super) fn with_pool(mut self, name: &str, password: Option<&str>) -> Self {
        let account =
            PoolAccount { password: password.map(SecretString::from), keepalive: Duration::from_secs(600) };
        self.pools.insert(name.to_owned(), account);
        self
    }

    /// Who it is. An unknown name takes the same way as a wrong password, through the same check.
    pub(super) fn check(
        &self,
        user: &str,
        proof: &Proof,
        verifiers: &Verifiers,
    ) -> Result<Identity, Stranger> {
        if let Some(worker) = self.workers.get(user) {
            let right = proof.verify(worker.password.expose_secret().as_bytes());
            return if right { Ok(Identity::Worker(user.to_owned())) } else { Err(Stranger::Unknown) };
        }
        if let Some((pool, account, id)) = self.pool(user) {
            return check_pool(pool, account, id, proof, verifiers);
        }
        let client = self.changes.as_ref().filter(|(name, _)| name == user);
        let password = client.map_or("", |(_, password)| password.expose_secret());
        let right = proof.verify(password.as_bytes());
        client.filter(|_| right).map(|_| Identity::Changes).ok_or(Stranger::Unknown)
    }

    /// The pool that a login is for, and what stands behind the `@`.
    fn pool<'a>(&self, user: &'a str) -> Option<(&'a str, &PoolAccount, Option<&'a str>)> {
        let (pool, id) = match user.split_once('@') {
            Some((pool, id)) => (pool, Some(id)),
            None => (user, None),
        };
        Some((pool, self.pools.get(pool)?, id))
    }

    /// How often a silent worker is asked whether it is there; `None` when it is not a worker (any more).
    pub(super) fn keepalive(&self, who: &Identity) -> Option<Duration> {
        match who {
            Identity::Worker(name) => self.workers.get(name).map(|account| account.keepalive),
            Identity::Pool { pool, .. } => self.pools.get(pool).map(|account| account.keepalive),
            Identity::Changes => None,
        }
    }
}

fn check_pool(
    pool: &str,
    account: &PoolAccount,
    id: Option<&str>,
    proof: &Proof,
    verifiers: &Verifiers,
) -> Result<Identity, Stranger> {
    let pool = pool.to_owned();
    let Some(id) = id else {
        let password = account.password.as_ref().map_or("", |password| password.expose_secret());
        let right = proof.verify(password.as_bytes());
        return match account.password {
            Some(_) if right => Ok(Identity::Pool { pool, instance: None }),
            Some(_) => Err(Stranger::Pool { pool, instance: None, why: "wrong password of the pool" }),
            None => {
                let why = "the pool has no password, so it takes only machines that it started itself";
                Err(Stranger::Pool { pool, instance: None, why })
            }
        };
    };
    // One number is written in one way.
    let instance = id.parse().ok().map(InstanceId).filter(|instance| instance.to_string() == id);
    // A number that no instance has takes as long as one that some instance has.
    match (verifiers.verify(&pool, instance.unwrap_or(InstanceId(0)), proof), instance) {
        (Ok(()), Some(_)) => Ok(Identity::Pool { pool, instance }),
        (_, None) => Err(Stranger::Pool { pool, instance, why: "what stands behind the @ is no instance" }),
        (Err(why), Some(_)) => Err(Stranger::Pool { pool, instance, why }),
    }
}
