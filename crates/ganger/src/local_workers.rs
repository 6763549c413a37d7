//! Workers that the master runs itself: `LocalWorker`.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use config::{Config, LocalWorker, StartProblem, Worker};
use provider_local::{Resident, SettingsError};
use secrecy::SecretString;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::password;

/// What local workers log in with: made when a worker is first heard of, and kept in memory and in the directory of the
/// worker, for its user alone.
#[derive(Debug, Default)]
pub(crate) struct LocalWorkers(Mutex<BTreeMap<String, SecretString>>);

impl LocalWorkers {
    /// Gives local workers of a configuration their passwords.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn let_in(&self, config: &mut Config) -> io::Result<()> {
        let mut passwords = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for worker in config.workers.iter_mut().filter(|worker| worker.local.is_some()) {
            let password = match passwords.get(&worker.name) {
                Some(known) => known.clone(),
                None => {
                    let new = password::random::<32>()?;
                    passwords.insert(worker.name.clone(), new.clone());
                    new
                }
            };
            Arc::make_mut(worker).password = Some(password);
        }
        Ok(())
    }
}

/// All that stands against a local worker on this machine. Nothing is made or changed.
pub(crate) fn problems(worker: &Worker) -> Vec<StartProblem> {
    let Some(local) = &worker.local else { return Vec::new() };
    // Where the master is does not matter here.
    let master = "127.0.0.1:9989".to_owned();
    let problems = resident(worker, local, SecretString::default(), master).problems();
    let problems = problems.into_iter().map(|error| StartProblem {
        key: match &error {
            SettingsError::Program { program, .. } if *program == local.program => Some("program"),
            SettingsError::Directory { .. } => Some("workdir"),
            _ => None,
        },
        message: format!("worker {} cannot run here: {error}", worker.name),
    });
    problems.collect()
}

fn resident(worker: &Worker, local: &LocalWorker, password: SecretString, master: String) -> Resident {
    Resident {
        name: worker.name.clone(),
        password,
        master,
        directory: local.directory.clone(),
        program: local.program.clone(),
    }
}

/// One that is kept running.
struct Kept {
    local: LocalWorker,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Keeps the local workers of the configuration in force running, until `stop`. `master` is where they find it.
pub(crate) async fn run(
    mut config: watch::Receiver<Arc<Config>>,
    master: Option<String>,
    stop: CancellationToken,
) {
    let mut kept: BTreeMap<String, Kept> = BTreeMap::new();
    loop {
        let now = Arc::clone(&config.borrow_and_update());
        let wanted = |name: &str, local: &LocalWorker| {
            now.workers.iter().any(|worker| worker.name == name && worker.local.as_ref() == Some(local))
        };
        let gone: Vec<String> = kept
            .iter()
            .filter(|(name, one)| !wanted(name, &one.local))
            .map(|(name, _)| name.clone())
            .collect();
        end(gone.iter().filter_map(|name| kept.remove(name))).await;
        for worker in &now.workers {
            let (Some(local), Some(password)) = (&worker.local, &worker.password) else { continue };
            let Some(master) = &master else {
                tracing::error!(
                    worker = worker.name,
                    "local worker finds no master: `listen` has no address without TLS"
                );
                continue;
            };
            kept.entry(worker.name.clone()).or_insert_with(|| {
                let resident = resident(worker, local, password.clone(), master.clone());
                let stop = stop.child_token();
                let task = tokio::spawn(resident.run(stop.clone().cancelled_owned()));
                Kept { local: local.clone(), stop, task }
            });
        }
        tokio::select! {
            changed = config.changed() => if changed.is_err() { stop.cancelled().await },
            () = stop.cancelled() => {}
        }
        if stop.is_cancelled() {
            return end(kept.into_values()).await;
        }
    }
}

/// Ends workers, all at once.
async fn end(kept: impl Iterator<Item = Kept>) {
    let kept: Vec<Kept> = kept.inspect(|one| one.stop.cancel()).collect();
    for one in kept {
        if let Err(error) = one.task.await {
            tracing::error!(%error, "what keeps a local worker has failed");
        }
    }
}
