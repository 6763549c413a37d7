//! A worker that the master keeps running beside it: Buildbot's `LocalWorker`, as a process of its own.
//!
//! Its directory stays, with all that builds leave there. In it are also what it prints (`worker.console`) and which process
//! it is (`worker.process`), so that a master that comes after a crash ends what the one before has left.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    pin::pin,
    time::{Duration, Instant},
};

use pools::metadata;
use rustix::process::Signal;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use tokio::{
    process::Child,
    time::{sleep, timeout},
};

use crate::{
    Settings, SettingsError,
    fate::{End, Fate},
    machine,
    record::Boot,
    start::Starter,
};

/// How long to wait before a worker that has ended is started again: at first, and at most.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// How long a worker may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A worker that has no master for so long ends by itself: nobody may be left to end it.
const SILENCE: Duration = Duration::from_mins(5);

/// A worker that the master keeps running beside it.
#[derive(Clone, Debug)]
pub struct Resident {
    /// Its name, which it logs in with.
    pub name: String,
    /// What it proves to know.
    pub password: SecretString,
    /// Where it finds the master: `HOST:PORT`.
    pub master: String,
    /// Its directory, absolute; made when it is not there.
    pub directory: PathBuf,
    /// `buildbot-worker`; a bare name is looked up in the master's `PATH`.
    pub program: PathBuf,
}

/// What it prints, and its process: files of its directory.
const CONSOLE: &str = "worker.console";
const PROCESS: &str = "worker.process";

/// Why a worker could not be started.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("its directory {} is of no use: {error}", .directory.display())]
    Directory { directory: PathBuf, error: io::Error },
    #[error("its process cannot be started: {0}")]
    Process(#[from] io::Error),
}

/// What the worker's configuration reads.
#[derive(Serialize)]
struct Document<'a> {
    worker: metadata::Worker,
    master: metadata::Master,
    settings: &'a metadata::Settings,
}

struct Running {
    child: Child,
    boot: Boot,
    host: String,
}

impl Resident {
    /// All that stands against running it here. Nothing is made or changed. Blocks for a moment.
    pub fn problems(&self) -> Vec<SettingsError> {
        let mut problems = self.settings().problems();
        let directory = self.own_directory();
        problems.extend(
            directory
                .err()
                .map(|error| SettingsError::Directory { directory: self.directory.clone(), error }),
        );
        problems
    }

    /// The directory may be new, or one of ours: whatever else is there stays as it is.
    fn own_directory(&self) -> io::Result<()> {
        if machine::is_anothers(&self.directory)? {
            return Err(io::Error::other("another worker or master lives there: choose another `workdir`"));
        }
        Ok(())
    }

    fn settings(&self) -> Settings {
        let settings = Settings::new(&self.name, "", &self.master, self.directory.clone());
        Settings { program: self.program.clone(), ..settings }
    }

    /// Keeps the worker running until `stop` is done, and ends it then.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut rest = REST.0;
        loop {
            let since = Instant::now();
            match self.start().await {
                Ok(mut running) => {
                    tracing::info!(worker = self.name, pid = running.boot.pid, "local worker started");
                    tokio::select! {
                        status = running.child.wait() => {
                            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                            let console = self.directory.join(CONSOLE);
                            tracing::warn!(
                                worker = self.name, status, console = %console.display(),
                                "local worker has ended by itself; it is started again",
                            );
                            running.sweep().await;
                        }
                        () = &mut stop => return running.end(&self.name).await,
                    }
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(
                        worker = self.name,
                        error,
                        "local worker cannot be started; it is tried again"
                    );
                }
            }
            if since.elapsed() > REST.1 {
                rest = REST.0;
            }
            tokio::select! {
                () = sleep(rest) => rest = (rest * 2).min(REST.1),
                () = &mut stop => return,
            }
        }
    }

    async fn start(&self) -> Result<Running, StartError> {
        let this = self.clone();
        let started = tokio::task::spawn_blocking(move || this.start_now());
        started.await.map_err(io::Error::other)?
    }

    /// Blocks; needs a runtime around it.
    fn start_now(&self) -> Result<Running, StartError> {
        let settings = self.settings();
        settings.check_values()?;
        let starter = Starter::new(&settings)?;
        let refuse = |error| StartError::Directory { directory: self.directory.clone(), error };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(refuse)?;
        self.own_directory().map_err(refuse)?;
        self.end_last(&starter);
        let document = Document {
            worker: metadata::Worker { name: self.name.clone(), password: self.password.clone() },
            master: metadata::Master { address: self.master.clone() },
            settings: &metadata::Settings {
                silence: u32::try_from(SILENCE.as_secs()).unwrap_or(u32::MAX),
                ..metadata::Settings::default()
            },
        };
        let document = SecretString::from(serde_json::to_string(&document).map_err(io::Error::other)?);
        let (text, host) = (document.expose_secret(), "a process beside its master\n");
        machine::write(&self.directory, text, "the master\n", host, None).map_err(refuse)?;
        // The worker reads it too, to keep its end when it gets long.
        let console = machine::fresh(&self.directory.join(CONSOLE)).map_err(refuse)?;
        let fate = Fate { boot: Duration::ZERO, end: End::Well };
        let started = starter.start(&settings, &self.directory, console, fate)?;
        let boot = started.boot.clone();
        let record = serde_json::to_vec(&boot).map_err(io::Error::other)?;
        let file = machine::fresh(&self.directory.join(PROCESS));
        file.and_then(|mut file| file.write_all(&record)).map_err(refuse)?;
        Ok(Running { child: started.go()?, boot, host: starter.host().to_owned() })
    }

    /// Ends what a master has left that was killed.
    fn end_last(&self, starter: &Starter) {
        let Ok(record) = fs::read(self.directory.join(PROCESS)) else { return };
        let Ok(boot) = serde_json::from_slice::<Boot>(&record) else { return };
        if boot.is_alive(starter.host()) {
            tracing::info!(worker = self.name, pid = boot.pid, "local worker of an earlier master is ended");
        }
        boot.signal(starter.host(), Signal::KILL);
        boot.sweep(starter.host());
    }
}

impl Running {
    async fn end(mut self, name: &str) {
        for (signal, within) in [(Signal::TERM, GRACE), (Signal::KILL, GRACE)] {
            self.boot.signal(&self.host, signal);
            if timeout(within, self.child.wait()).await.is_ok() {
                self.sweep().await;
                return tracing::info!(worker = name, "local worker has ended");
            }
        }
        tracing::warn!(worker = name, pid = self.boot.pid, "local worker does not die");
    }

    /// Kills what it has left behind.
    async fn sweep(&self) {
        let (boot, host) = (self.boot.clone(), self.host.clone());
        if tokio::task::spawn_blocking(move || boot.sweep(&host)).await.is_err() {
            tracing::warn!(
                pid = self.boot.pid,
                "what a local worker has left behind could not be looked for"
            );
        }
    }
}
