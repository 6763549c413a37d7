//! How machines of one pool are made.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use model::pool::Money;
use pools::metadata;

use crate::{start::Starter, yard::Yard};

/// How machines of one pool are made.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The pool.
    pub pool: String,
    /// Names this installation; machines of another one are never touched.
    pub deployment: String,
    /// Where workers find the master: `HOST:PORT`.
    pub master: String,
    /// Where machines live; made when it is not there. Pools may share one if they have the same deployment.
    pub directory: PathBuf,
    /// `buildbot-worker`; a bare name is looked up in the master's `PATH`.
    pub program: PathBuf,
    /// More environment variables of the workers. Beyond these they have `PATH`, `LANG`, `LC_ALL` and `TZ` as the master
    /// has them, `HOME`, and `GANGER_BOOT_ID`.
    pub environment: BTreeMap<String, String>,
    /// The user that workers run as; `None` is the master's own. Another one takes root.
    pub user: Option<String>,
    /// The control group that machines live in.
    pub cgroup: Option<Cgroup>,
    /// What an hour of a machine costs.
    pub price: Money,
    /// Seconds between the workers' signs of life; 0 is none.
    pub keepalive: u32,
    /// A worker that has no master for so long ends by itself; zero is never.
    pub silence: Duration,
    /// How long a worker may take to end before it is killed.
    pub grace: Duration,
    /// What goes wrong on purpose.
    pub trouble: Trouble,
}

impl Settings {
    /// What a pool needs at least; all else has its default.
    pub fn new(pool: &str, deployment: &str, master: &str, directory: PathBuf) -> Self {
        Self {
            pool: pool.to_owned(),
            deployment: deployment.to_owned(),
            master: master.to_owned(),
            directory,
            program: "buildbot-worker".into(),
            environment: BTreeMap::new(),
            user: None,
            cgroup: None,
            price: Money::default(),
            keepalive: metadata::Settings::default().keepalive,
            silence: metadata::Settings::SILENCE,
            grace: Duration::from_secs(10),
            trouble: Trouble::default(),
        }
    }
}

impl Settings {
    /// All that stands against machines like this here. Unlike [`Local::open`](crate::Local::open) this makes and changes
    /// nothing. Blocks for a moment.
    pub fn problems(&self) -> Vec<SettingsError> {
        let mut problems = Starter::problems(self);
        let cgroup = self.cgroup.as_ref().map_or(Ok(()), Cgroup::look);
        let directory = Yard::look(&self.directory)
            .map_err(|error| SettingsError::Directory { directory: self.directory.clone(), error });
        problems.extend([self.check_values(), cgroup, directory].into_iter().filter_map(Result::err));
        problems
    }

    /// Whether values can be at all, wherever that is.
    pub(crate) fn check_values(&self) -> Result<(), SettingsError> {
        let master = metadata::Master { address: self.master.clone() };
        if master.host_and_port().is_none() {
            let problem = format!("{:?}; workers need HOST:PORT", self.master);
            return Err(SettingsError::Value { field: "master", problem });
        }
        let trouble = &self.trouble;
        for (field, share) in [("fail", trouble.fail), ("hang", trouble.hang), ("vanish", trouble.vanish)] {
            if !(0.0..=1.0).contains(&share) {
                let problem = format!("{share}; a share is from 0 to 1");
                return Err(SettingsError::Value { field, problem });
            }
        }
        Ok(())
    }
}

/// A control group (version 2) that was delegated to the master, and what each machine may use of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Cgroup {
    /// Its directory; each machine gets a group of its own below.
    pub parent: PathBuf,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Processors, by time: 1.5 is one and a half.
    pub cpus: Option<f64>,
}

/// What goes wrong on purpose, for demonstrations and tests. Which machine has which fate follows from its id and the seed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trouble {
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

/// Why no machine can be made like this. Every one is for whoever writes the configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A program is not there.
    #[error("{} cannot be found{}", .program.display(), .place)]
    Program {
        /// Which.
        program: PathBuf,
        /// Where it was looked for.
        place: String,
    },
    /// The directory is not of use.
    #[error("machines cannot live in {}: {error}", .directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The user is not of use.
    #[error("machines cannot run as user `{user}`: {problem}")]
    User {
        /// Who.
        user: String,
        /// Why.
        problem: String,
    },
    /// The control group is not of use.
    #[error("machines cannot live in the control group {}: {problem}", .parent.display())]
    Cgroup {
        /// Which.
        parent: PathBuf,
        /// Why.
        problem: String,
    },
    /// A value cannot be.
    #[error("`{field}` is {problem}")]
    Value {
        /// Which.
        field: &'static str,
        /// Why.
        problem: String,
    },
    /// This system does not say what processes there are.
    #[error("local machines need Linux with /proc: {0}")]
    Proc(std::io::Error),
}
