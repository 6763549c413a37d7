//! What is known of a machine: a small file that is replaced as a whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use model::{InstanceId, Time, pool::Money};
use pools::Token;
use serde::{Deserialize, Serialize};

/// The only version that there is.
const VERSION: u32 = 1;

/// More than any record has.
const LIMIT: u64 = 64 * 1024;

/// What is known of a machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) deployment: String,
    pub(crate) pool: String,
    pub(crate) instance: InstanceId,
    pub(crate) token: Token,
    pub(crate) offering: String,
    pub(crate) template: String,
    pub(crate) price: Money,
    pub(crate) launched_at: Time,
    /// What is meant to become of it.
    pub(crate) intent: Intent,
    /// Its newest process.
    pub(crate) boot: Option<Boot>,
    /// When it was first seen to be gone for good.
    pub(crate) ended_at: Option<Time>,
}

/// What is meant to become of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Intent {
    /// It is to run.
    Run,
    /// It is to stop, and can be started again.
    Stop,
    /// It is to end, and its directory with it.
    End,
}

/// A process that is, or was, a machine. A number alone would not do: they are used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Boot {
    /// What all processes of the machine have in their environment as `GANGER_BOOT_ID`.
    pub(crate) id: String,
    /// The process, and the session that it leads.
    pub(crate) pid: i32,
    /// When it started, in ticks of the kernel's since the host did.
    pub(crate) started: u64,
    /// The host's own boot (`/proc/sys/kernel/random/boot_id`), without which ticks mean nothing.
    pub(crate) host: String,
}

impl Record {
    /// A machine that is about to be made.
    pub(crate) fn new(deployment: &str, pool: &str, instance: InstanceId, token: Token) -> Self {
        Self {
            version: VERSION,
            deployment: deployment.to_owned(),
            pool: pool.to_owned(),
            instance,
            token,
            offering: String::new(),
            template: String::new(),
            price: Money::default(),
            launched_at: crate::clock::now(),
            intent: Intent::Run,
            boot: None,
            ended_at: None,
        }
    }

    /// What the file says; `None` when there is none.
    pub(crate) fn read(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = Vec::new();
        file.take(LIMIT).read_to_end(&mut text)?;
        let record: Self = serde_json::from_slice(&text)?;
        if record.version != VERSION {
            return Err(io::Error::other(format!(
                "it has version {}, and this program knows version {VERSION}",
                record.version
            )));
        }
        Ok(Some(record))
    }

    /// Replaces the file: who reads it sees what was there before or all of this, whatever crashes.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let next = path.with_extension("next");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_data()?;
        fs::rename(next, path)
    }
}
