//! Who may log in.

use std::{collections::HashMap, time::Duration};

use config::Config;
use perspective_broker::Proof;
use secrecy::{ExposeSecret, SecretString};

/// Names and passwords, and what a connection must know about its worker. A snapshot of one configuration.
#[derive(Debug, Default)]
pub struct Credentials {
    workers: HashMap<String, Account>,
    changes: Option<(String, SecretString)>,
}

#[derive(Debug)]
struct Account {
    password: SecretString,
    keepalive: Duration,
}

/// Who somebody is that knew the password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The worker of this name.
    Worker,
    /// A client that reports changes.
    Changes,
}

impl Credentials {
    /// Those of this configuration.
    pub fn new(config: &Config) -> Self {
        let workers = config.workers.iter().map(|worker| {
            let account = Account { password: worker.password.clone(), keepalive: worker.keepalive_interval };
            (worker.name.clone(), account)
        });
        Self { workers: workers.collect(), changes: config.master.changes.clone() }
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
            changes: changes.map(|(name, password)| (name.to_owned(), password)),
        }
    }

    /// Who it is. An unknown name takes the same way as a wrong password, through the same check.
    pub(super) fn check(&self, user: &str, proof: &Proof) -> Option<Identity> {
        let worker = self.workers.get(user).map(|account| (Identity::Worker, &account.password));
        let client = self.changes.as_ref().filter(|(name, _)| name == user);
        let known = worker.or_else(|| client.map(|(_, password)| (Identity::Changes, password)));
        let password = known.map_or("", |(_, password)| password.expose_secret());
        let right = proof.verify(password.as_bytes());
        known.map(|(identity, _)| identity).filter(|_| right)
    }

    /// How often a silent worker is asked whether it is there; `None` when it is not a worker (any more).
    pub(super) fn keepalive(&self, worker: &str) -> Option<Duration> {
        self.workers.get(worker).map(|account| account.keepalive)
    }
}
