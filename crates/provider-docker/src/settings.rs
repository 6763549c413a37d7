//! How machines of one pool are made.

use std::{sync::Arc, time::Duration};

use model::docker::Template;
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
    /// What containers are made from.
    pub template: Arc<Template>,
    /// How long a container may take to end before it is killed.
    pub grace: Duration,
}

impl Settings {
    /// What a pool needs; a container may take ten seconds to end, as with `docker stop`.
    pub fn new(pool: &str, deployment: &str, master: &str, template: Arc<Template>) -> Self {
        Self {
            pool: pool.to_owned(),
            deployment: deployment.to_owned(),
            master: master.to_owned(),
            template,
            grace: Duration::from_secs(10),
        }
    }

    /// What stands against machines like this, wherever the engine is. The engine is not asked.
    ///
    /// # Errors
    /// No worker could find the master.
    pub fn check(&self) -> Result<(), SettingsError> {
        let master = metadata::Master { address: self.master.clone() };
        match master.host_and_port() {
            Some(_) => Ok(()),
            None => Err(SettingsError::Master(self.master.clone())),
        }
    }
}

/// Why no machine can be made like this. For whoever writes the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// No worker could find the master.
    #[error("{0:?} is not where workers find the master: they need HOST:PORT")]
    Master(String),
}
