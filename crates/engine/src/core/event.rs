//! What the core is told.

use std::{fmt, sync::Arc};

use config::Config;
use model::{BuildId, BuildRequestId, Change, InstanceId, Json, Properties, Results, StepId};

use super::Values;

/// One connection of a worker, from login to loss. Never used twice while the master runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names whoever waits for the answer to an event. Given out by the driver of the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);

/// Something that happened, or that somebody asks for.
#[derive(Clone, Debug)]
pub enum Event {
    /// A worker proved who it is. Answered by `Action::Admit` or `Action::Refuse`, perhaps after a probe of another
    /// connection of the same name.
    LoggedIn {
        /// The new connection.
        session: SessionId,
        /// The name it logged in with.
        worker: String,
    },
    /// A worker proved that it belongs to a pool. Answered as [`Self::LoggedIn`] is.
    PoolLoggedIn {
        /// The new connection.
        session: SessionId,
        /// The pool.
        pool: String,
        /// The instance whose secret it knows; `None` when it knows the pool's own password.
        instance: Option<InstanceId>,
        /// Where it comes from, for people.
        peer: String,
    },
    /// Somebody who wanted to be a worker of a pool was turned away before he was let in.
    PoolLoginRefused {
        /// The pool.
        pool: String,
        /// The instance that he wanted to be, if he named one.
        instance: Option<InstanceId>,
        /// Why, for people.
        why: String,
    },
    /// The answer to `Action::Probe`, or that none came in time.
    ProbeAnswered {
        /// The connection that was probed (the old one).
        session: SessionId,
        /// Whether the worker behind it answered.
        alive: bool,
    },
    /// The worker said what it is.
    Attached {
        /// Its connection.
        session: SessionId,
        /// What it told, for `workers.info`.
        info: Json,
        /// Names the boot of its machine, if it said so.
        boot: Option<String>,
    },
    /// The worker has its list of builders: builds may start.
    Ready {
        /// Its connection.
        session: SessionId,
    },
    /// A connection has ended. Comes once for every session that logged in, also after `Action::Refuse`.
    Lost {
        /// The connection.
        session: SessionId,
        /// Why, for people.
        why: String,
    },
    /// The worker asks for a graceful shutdown: no new builds, and `Action::ShutdownWorker` once none runs.
    WorkerShutdownRequested {
        /// Its connection.
        session: SessionId,
    },
    /// A step is to have locks before it runs; `Action::Locks` answers.
    TakeLocks {
        /// Its build.
        build: BuildId,
        /// Which.
        step: StepId,
        /// Which locks, each once.
        locks: Vec<config::LockAccess>,
    },
    /// A step is done with its locks, or does not wait for them any longer.
    ReturnLocks {
        /// Its build.
        build: BuildId,
        /// Which.
        step: StepId,
    },
    /// A build ended. Comes exactly once for each `Action::StartBuild`, also when its worker is lost.
    BuildFinished {
        /// Which.
        build: BuildId,
        /// How.
        results: Results,
        /// In words: `build successful`, `failed make`.
        state_string: String,
    },
    /// A change was reported.
    Change {
        /// What changed.
        change: Box<Change>,
        /// Hears `Answer::Change`.
        reply: ReplyId,
    },
    /// Somebody asks a force scheduler to build.
    Force {
        /// What is asked.
        force: Box<Force>,
        /// Hears `Answer::Forced`.
        reply: ReplyId,
    },
    /// A running build triggers schedulers. Answered by `Answer::Triggered` or `Answer::Refused`; then, where it waits, by an
    /// `Answer::TriggeredRequest` for each request; then by `Answer::Done`.
    Trigger {
        /// What it triggers.
        trigger: Box<Trigger>,
        /// Hears the answers.
        reply: ReplyId,
    },
    /// Somebody stops a running build.
    StopBuild {
        /// Which.
        build: BuildId,
        /// Why.
        reason: String,
        /// Hears `Answer::Done`.
        reply: ReplyId,
    },
    /// Somebody cancels a request: one that waits is completed CANCELLED, one that is being built has its build
    /// stopped.
    CancelRequest {
        /// Which.
        request: BuildRequestId,
        /// Why.
        reason: String,
        /// Hears `Answer::Done`.
        reply: ReplyId,
    },
    /// Somebody pauses a worker: it gets no new builds.
    PauseWorker {
        /// Its name.
        worker: String,
        /// Why, for people.
        reason: String,
        /// Hears `Answer::Done`.
        reply: ReplyId,
    },
    /// A paused worker may build again, and so may one that was left alone for a while after a failure of the machinery.
    UnpauseWorker {
        /// Its name.
        worker: String,
        /// Hears `Answer::Done`.
        reply: ReplyId,
    },
    /// A new configuration.
    Reconfigure {
        /// The configuration.
        config: Arc<Config>,
        /// What the tables know of its names.
        known: Box<super::Known>,
        /// Hears `Answer::Reconfigured`.
        reply: ReplyId,
    },
    /// Something for the pools: what a provider answered, a lease, a warning.
    Pools(pools::Event),
    /// Somebody decides about a pool or an instance.
    Operate {
        /// What.
        operator: pools::Operator,
        /// Hears `Answer::Done`.
        reply: ReplyId,
    },
    /// A machine asks who its worker is; what was signed was checked.
    Enroll {
        /// Who asks.
        applicant: Box<pools::Applicant>,
        /// What checks the credential that it is given.
        verifier: pools::Verifier,
        /// Hears `Answer::Enrolled`.
        reply: ReplyId,
    },
    /// A machine of a pool warns of its own end.
    Warned {
        /// Which.
        instance: InstanceId,
        /// Of what.
        warning: pools::Warning,
        /// Hears `Answer::Done`.
        reply: ReplyId,
    },
    /// A machine of a pool wants no builds for a while.
    Rest {
        /// Which.
        instance: InstanceId,
        /// For how many seconds at most, and why; `None` takes builds again.
        rest: Option<(u32, String)>,
        /// Hears `Answer::Done`.
        reply: ReplyId,
    },
    /// Start no more builds; `Action::Drained` when none runs.
    Drain {
        /// Hears `Answer::Done` at once.
        reply: ReplyId,
    },
    /// The master stops: start no more builds, end those that run with RETRY; `Action::Drained` when none runs.
    Stop,
}

/// What a running build triggers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trigger {
    /// The build.
    pub build: BuildId,
    /// The schedulers. All of them are triggered, or none.
    pub schedulers: Vec<String>,
    /// What to build, as far as it is said.
    pub sourcestamps: Vec<super::StampAsked>,
    /// Properties of the builds; those of the schedulers win.
    pub properties: Properties,
    /// Whether it waits until the builds have ended.
    pub waits: bool,
    /// What it is to the builds (`Triggered from`).
    pub relationship: String,
}

/// What somebody asks a force scheduler for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Force {
    /// The scheduler.
    pub scheduler: String,
    /// Which of its builders; empty for all.
    pub builder_names: Vec<String>,
    /// Why; `None` takes the scheduler's default.
    pub reason: Option<String>,
    /// Who asks; empty when nobody says, and then a parameter may tell.
    pub owner: String,
    /// Branch to build; `None` takes the scheduler's default.
    pub branch: Option<String>,
    /// Commit to build; `None` takes the scheduler's default.
    pub revision: Option<String>,
    /// Where the code is; `None` takes the scheduler's default.
    pub repository: Option<String>,
    /// Project; `None` takes the scheduler's default.
    pub project: Option<String>,
    /// Priority of the requests; `None` takes the scheduler's.
    pub priority: Option<i64>,
    /// Values of other parameters, as they are said.
    pub values: Values,
    /// Properties of the builds that no parameter stands for.
    pub properties: Properties,
}
