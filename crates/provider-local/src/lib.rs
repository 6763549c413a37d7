//! Machines of a pool as processes on this machine: stock `buildbot-worker`s, each in a directory of its own.
//!
//! A machine outlives the master that started it, and is found again by the next one, so all that is known of it is on
//! disk, in the pool's directory:
//!
//! | path | what | whose |
//! |---|---|---|
//! | `instance-17.json` | the record: token, process, what is meant to become of it | the master's |
//! | `instance-17.console` | what it prints, its end | the master's |
//! | `lock` | locked by whoever changes records | the master's |
//! | `instance-17/` | the worker's directory and home: `metadata.json`, `buildbot.tac`, `info/`, the builds | the worker's |
//!
//! A record is written before there is a process, and a process does nothing before it is in the record: it waits for a
//! word from the master, and ends when the master dies before saying it. So a crash at any point leaves nothing that the
//! next listing does not show. A [`Resident`] is a worker that is no machine of a pool: it ends with its master. Needs Linux (`/proc`), `sh`, and `setsid` of util-linux or BusyBox.

mod cgroup;
mod clock;
mod ending;
mod fate;
mod machine;
mod process;
mod provider;
mod record;
mod resident;
mod settings;
mod start;
mod yard;

pub use crate::{
    ending::end_all,
    provider::Local,
    resident::Resident,
    settings::{Cgroup, Settings, SettingsError, Trouble},
};
