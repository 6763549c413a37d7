//! The one task that owns the core: it makes the core's rows durable and lets its actions out in order.
//!
//! [`start`] takes up what the tables hold; [`Owner::run`] is the task; [`Master`] is what everybody else holds: the
//! control socket, the web, the command line.
//!
//! # What is durable, and when it is not
//!
//! Nothing leaves before its rows are durable: no build starts, no answer is given, no notice is sent. The core goes on
//! meanwhile; up to [`Limits::under_way`] events may be ahead of the disk, then workers and callers wait.
//!
//! When the disk is full or stuck, storage tries again by itself. After [`Limits::stall`] without progress the master
//! says so: callers get [`MasterError::Stalled`] (nothing was done) or, if the core had taken note already,
//! [`MasterError::Unconfirmed`]. Workers wait, and so do their builds; nothing is dropped. As soon as storage goes on,
//! so does the master.
//!
//! When storage gives up, or refuses a row, what is in memory is not what is on disk. Then the master ends at once with
//! [`Ended::Storage`] and lets nothing more out; started again, it goes on from what the tables hold, as after a crash:
//! builds that ran are done again.

//!
//! # Machines of pools
//!
//! What the core's pools order of a provider is done by tasks of their own, bounded in number and time: nobody waits for a
//! provider. What a pool decides rests on its lease, which is renewed all the time; when it is over, the pool's rows are
//! refused, nothing that rests on them leaves, and everything but that pool goes on.
//!
//! When the master stops, its pools' machines stay as they are, and so do their workers, which try to come back: the next
//! master finds them in the tables and at the provider, and takes them over. Calls that were under way are cut off; their
//! rows say so, and the next master finds out what became of them before it starts anything. From the moment that no more
//! builds are started no more machines are either. To have none left, `ganger pool scale` and `ganger pool drain` first.

mod builds;
mod hiring;
mod leased;
mod leases;
mod ledger;
mod mint;
mod owner;
mod pipe;
mod ports;
mod providers;
#[cfg(test)]
mod tests;
mod turns;
mod unmade;
mod workshop;

use std::{fmt, sync::Arc, time::Duration};

use config::Config;
use model::{BuildId, BuildRequestId, BuildsetId, Change, ChangeId, InstanceId};
use pools::{Instance, Operator, PoolStatus, plan::PoolPlan};
use storage::StorageError;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

pub use self::{
    ledger::Ledger,
    owner::{Owner, Parts, start},
    ports::{Connections, Runner},
    providers::{NoProviders, ProviderLimits, ProviderUnusable, Providers},
    turns::Turns,
    workshop::Workshop,
};
use self::{providers::Suppliers, turns::Meter};
use crate::{
    NoticeSender, Notices,
    core::{Answer, Event, Force, Reason, Refusal, ReplyId, Status, Unknown},
};

/// Bounds on the master's own doings.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Events whose rows may be under way to the disk at once.
    pub under_way: usize,
    /// Requests of callers that may wait for the core.
    pub requests: usize,
    /// How long storage may make no progress before callers are told.
    pub stall: Duration,
    /// How long builds may take to end when the master stops.
    pub grace: Duration,
    /// How often the master gives a sign of life in the tables.
    pub sign_of_life: Duration,
    /// What is asked of providers of machines.
    pub providers: ProviderLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            under_way: 4096,
            requests: 256,
            stall: Duration::from_secs(5),
            grace: Duration::from_secs(15),
            sign_of_life: Duration::from_secs(60),
            providers: ProviderLimits::default(),
        }
    }
}

/// Why something asked of the master is not done.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MasterError {
    /// It cannot be done; the asker's mistake.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The database does not answer. Nothing was done; try again later.
    #[error("the database does not answer; nothing was done")]
    Stalled,
    /// The database does not answer. It was asked for, and is done once the database answers again, unless the master
    /// ends before that.
    #[error("the database does not answer; it is done once the database does, unless the master ends before")]
    Unconfirmed,
    /// The master is ending. What was under way may or may not be done.
    #[error("the master is ending")]
    Ending,
    /// The tables cannot be read.
    #[error("look up what the tables know")]
    Storage(#[from] StorageError),
    /// A pool of a new configuration cannot have machines. The old configuration stays in force.
    #[error(transparent)]
    Provider(#[from] Arc<ProviderUnusable>),
}

/// Why the master has ended other than in good order.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Ended {
    /// Rows could not be written; see the module's documentation.
    #[error("keep the tables in line with the truth")]
    Storage(#[source] StorageError),
}

/// How the master fares with its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It writes.
    Good,
    /// The database does not answer.
    Stalled,
    /// The master is ending.
    Ending,
}

/// Builds that were asked for.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Forced {
    /// The set.
    pub buildset: BuildsetId,
    /// Its requests by builder name.
    pub requests: Vec<(String, BuildRequestId)>,
}

/// Something for the owner to look at.
type Look<T> = oneshot::Sender<T>;

/// What callers ask of the owner.
enum Request {
    Ask { event: Box<dyn FnOnce(ReplyId) -> Event + Send>, answer: oneshot::Sender<Answer> },
    Status(Look<Status>),
    Why(BuildRequestId, Look<Reason>),
    Unknown(Arc<Config>, Look<Unknown>),
    Provide(Suppliers),
    Pools(Look<Vec<PoolStatus>>),
    PlanPools(Look<Vec<PoolPlan>>),
    Instance(InstanceId, Look<Option<Box<Instance>>>),
}

/// A handle to the master. Cheap to clone.
#[derive(Clone)]
pub struct Master {
    requests: mpsc::Sender<Request>,
    health: watch::Receiver<Health>,
    drained: watch::Receiver<bool>,
    notices: NoticeSender,
    ledger: Arc<dyn Ledger>,
    providers: Arc<dyn Providers>,
    /// What is in force, or about to be.
    suppliers: Arc<Mutex<Suppliers>>,
    meter: Arc<Meter>,
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Master").field("health", &*self.health.borrow()).finish_non_exhaustive()
    }
}

impl Master {
    /// Records a change, and tells the schedulers.
    ///
    /// # Errors
    /// See [`MasterError`]; a change is never refused.
    pub async fn add_change(&self, change: Change) -> Result<ChangeId, MasterError> {
        let change = Box::new(change);
        match self.ask(|reply| Event::Change { change, reply }).await? {
            Answer::Change(id) => Ok(id),
            _ => Err(MasterError::Ending),
        }
    }

    /// Asks a force scheduler for builds.
    ///
    /// # Errors
    /// There is no such scheduler, it is of another kind, or does not build on a builder that is named.
    pub async fn force(&self, force: Force) -> Result<Forced, MasterError> {
        let force = Box::new(force);
        match self.ask(|reply| Event::Force { force, reply }).await? {
            Answer::Forced { buildset, requests } => Ok(Forced { buildset, requests }),
            _ => Err(MasterError::Ending),
        }
    }

    /// Stops a running build; it ends CANCELLED.
    ///
    /// # Errors
    /// The build does not run.
    pub async fn stop_build(&self, build: BuildId, reason: impl Into<String>) -> Result<(), MasterError> {
        let reason = reason.into();
        self.ask(move |reply| Event::StopBuild { build, reason, reply }).await.map(drop)
    }

    /// Cancels a request, or stops the build that answers it.
    ///
    /// # Errors
    /// The request does not wait and is not being built.
    pub async fn cancel_request(
        &self,
        request: BuildRequestId,
        reason: impl Into<String>,
    ) -> Result<(), MasterError> {
        let reason = reason.into();
        self.ask(move |reply| Event::CancelRequest { request, reason, reply }).await.map(drop)
    }

    /// Gives a worker no new builds until it is unpaused. Outlives restarts.
    ///
    /// # Errors
    /// There is no such worker.
    pub async fn pause_worker(
        &self,
        worker: impl Into<String>,
        reason: impl Into<String>,
    ) -> Result<(), MasterError> {
        let (worker, reason) = (worker.into(), reason.into());
        self.ask(move |reply| Event::PauseWorker { worker, reason, reply }).await.map(drop)
    }

    /// Lets a worker build again that was paused, or left alone after a failure.
    ///
    /// # Errors
    /// There is no such worker.
    pub async fn unpause_worker(&self, worker: impl Into<String>) -> Result<(), MasterError> {
        let worker = worker.into();
        self.ask(move |reply| Event::UnpauseWorker { worker, reply }).await.map(drop)
    }

    /// Puts a new configuration in force; builds that run go on. Says what changed, one line each.
    ///
    /// Passwords are checked elsewhere: hand the new ones to the sessions first.
    ///
    /// # Errors
    /// A pool cannot have machines as it is configured, the tables cannot be read, or the master is ending.
    pub async fn reload(&self, config: Arc<Config>) -> Result<Vec<String>, MasterError> {
        // One at a time.
        let mut suppliers = self.suppliers.lock().await;
        let new = providers::make(&*self.providers, &config, &suppliers).map_err(Arc::new)?;
        let (look, unknown) = oneshot::channel();
        self.send(Request::Unknown(Arc::clone(&config), look)).await?;
        let unknown = self.hear(unknown).await?;
        let known = Box::new(self.ledger.known(unknown).await?);
        self.send(Request::Provide(new.clone())).await?;
        *suppliers = new;
        match self.ask(|reply| Event::Reconfigure { config, known, reply }).await? {
            Answer::Reconfigured { changes } => Ok(changes),
            _ => Err(MasterError::Ending),
        }
    }

    /// Starts no more builds. See [`Self::drained`].
    ///
    /// # Errors
    /// See [`MasterError`].
    pub async fn drain(&self) -> Result<(), MasterError> {
        self.ask(|reply| Event::Drain { reply }).await.map(drop)
    }

    /// Waits until no build runs any more, after [`Self::drain`].
    ///
    /// # Errors
    /// The master has ended.
    pub async fn drained(&self) -> Result<(), MasterError> {
        let mut drained = self.drained.clone();
        drained.wait_for(|drained| *drained).await.map(drop).map_err(|_| MasterError::Ending)
    }

    /// Everything at one moment.
    ///
    /// # Errors
    /// See [`MasterError`].
    pub async fn status(&self) -> Result<Status, MasterError> {
        let (look, status) = oneshot::channel();
        self.send(Request::Status(look)).await?;
        let mut status = self.hear(status).await?;
        for build in &mut status.running {
            build.step = self.notices.current_step(build.build);
        }
        Ok(status)
    }

    /// Why a request waits, or that it does not.
    ///
    /// # Errors
    /// See [`MasterError`].
    pub async fn why(&self, request: BuildRequestId) -> Result<Reason, MasterError> {
        let (look, why) = oneshot::channel();
        self.send(Request::Why(request, look)).await?;
        self.hear(why).await
    }

    /// All pools, as they are now.
    ///
    /// # Errors
    /// See [`MasterError`].
    pub async fn pools(&self) -> Result<Vec<PoolStatus>, MasterError> {
        let (look, status) = oneshot::channel();
        self.send(Request::Pools(look)).await?;
        self.hear(status).await
    }

    /// What the pools would do now, and why. Nothing is done.
    ///
    /// # Errors
    /// See [`MasterError`].
    pub async fn plan_pools(&self) -> Result<Vec<PoolPlan>, MasterError> {
        let (look, plan) = oneshot::channel();
        self.send(Request::PlanPools(look)).await?;
        self.hear(plan).await
    }

    /// An instance of a pool, also one that has gone lately; `None` when the pools do not know it (any more).
    ///
    /// # Errors
    /// See [`MasterError`].
    pub async fn instance(&self, instance: InstanceId) -> Result<Option<Instance>, MasterError> {
        let (look, row) = oneshot::channel();
        self.send(Request::Instance(instance, look)).await?;
        Ok(self.hear(row).await?.map(|row| *row))
    }

    /// Decides about a pool or an instance.
    ///
    /// # Errors
    /// There is no such pool, or no such instance (any more).
    pub async fn operate(&self, operator: Operator) -> Result<(), MasterError> {
        self.ask(|reply| Event::Operate { operator, reply }).await.map(drop)
    }

    /// A machine asks who its worker is; `verifier` checks what it is given. What was signed was checked before.
    ///
    /// # Errors
    /// See [`MasterError`]; why the machine is not told is inside.
    pub async fn enroll(
        &self,
        applicant: pools::Applicant,
        verifier: pools::Verifier,
    ) -> Result<Result<InstanceId, pools::EnrollError>, MasterError> {
        let applicant = Box::new(applicant);
        match self.ask(|reply| Event::Enroll { applicant, verifier, reply }).await? {
            Answer::Enrolled { result, .. } => Ok(result),
            _ => Err(MasterError::Ending),
        }
    }

    /// A machine of a pool warns of its own end.
    ///
    /// # Errors
    /// See [`MasterError`].
    pub async fn warn(&self, instance: InstanceId, warning: pools::Warning) -> Result<(), MasterError> {
        self.ask(move |reply| Event::Warned { instance, warning, reply }).await.map(drop)
    }

    /// Gives a machine of a pool no builds for so many seconds (ten minutes at most), or (`None`) builds again.
    ///
    /// # Errors
    /// It has builds, or no worker of it was ever connected.
    pub async fn rest(&self, instance: InstanceId, rest: Option<(u32, String)>) -> Result<(), MasterError> {
        self.ask(move |reply| Event::Rest { instance, rest, reply }).await.map(drop)
    }

    /// Everything that happens from now on.
    pub fn subscribe(&self) -> Notices {
        self.notices.subscribe()
    }

    /// How the master fares with its database.
    pub fn health(&self) -> Health {
        *self.health.borrow()
    }

    /// How often the core was woken because something was due (a pass of the pools, a timer), and how long that took.
    pub fn turns(&self) -> Turns {
        self.meter.turns()
    }

    async fn ask(
        &self,
        event: impl FnOnce(ReplyId) -> Event + Send + 'static,
    ) -> Result<Answer, MasterError> {
        let (answer, heard) = oneshot::channel();
        self.send(Request::Ask { event: Box::new(event), answer }).await?;
        match self.hear(heard).await? {
            Answer::Refused(refusal) => Err(refusal.into()),
            answer => Ok(answer),
        }
    }

    /// Hands a request over, unless the database does not answer.
    async fn send(&self, request: Request) -> Result<(), MasterError> {
        let mut health = self.health.clone();
        tokio::select! {
            biased;
            state = health.wait_for(|health| *health != Health::Good) => match state.as_deref() {
                Ok(Health::Stalled) => Err(MasterError::Stalled),
                _ => Err(MasterError::Ending),
            },
            sent = self.requests.send(request) => sent.map_err(|_| MasterError::Ending),
        }
    }

    /// Waits for an answer, unless the database does not answer.
    async fn hear<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, MasterError> {
        let mut health = self.health.clone();
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| MasterError::Ending),
            state = health.wait_for(|health| *health == Health::Stalled) => match state {
                Ok(_) => Err(MasterError::Unconfirmed),
                Err(_) => Err(MasterError::Ending),
            },
        }
    }
}
