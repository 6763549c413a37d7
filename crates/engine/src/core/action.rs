//! What the core decides, for others to carry out.

use std::sync::Arc;

use model::{
    BuildId, BuildNumber, BuildRequestId, BuilderId, BuildsetId, Change, ChangeId, InstanceId, Properties,
    Results, SourceStamp, StepId, Time, WorkerId,
};
use pools::{Order, Verifier};
use storage::Write;

use super::{ReplyId, SessionId};
use crate::Notice;

/// What one event leads to. Actions and notices may leave only when the writes are durable.
#[derive(Debug, Default)]
pub struct Batch {
    /// Rows to write, in this order.
    pub writes: Vec<Write>,
    /// What is to be done, in this order.
    pub actions: Vec<Action>,
    /// What subscribers hear, in this order.
    pub notices: Vec<Notice>,
}

impl Batch {
    /// Whether there is nothing to do at all.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.actions.is_empty() && self.notices.is_empty()
    }
}

/// Something to do outside of the core.
#[derive(Debug)]
pub enum Action {
    /// Let a worker in that logged in, and give it its builders.
    Admit {
        /// Its connection.
        session: SessionId,
        /// Names and directories of its builders.
        builders: Vec<BuilderDir>,
    },
    /// Turn a worker away that logged in: its connection is closed, it comes back by itself.
    Refuse {
        /// Its connection.
        session: SessionId,
        /// Why, for people.
        why: String,
    },
    /// Find out whether the worker behind a connection still answers; `Event::ProbeAnswered` within 10 s.
    Probe {
        /// The connection.
        session: SessionId,
    },
    /// Give an attached worker its builders anew. No event answers this.
    SetBuilders {
        /// Its connection.
        session: SessionId,
        /// Names and directories of all its builders.
        builders: Vec<BuilderDir>,
    },
    /// Close a connection; `Event::Lost` follows.
    Disconnect {
        /// The connection.
        session: SessionId,
        /// Why, for people.
        why: String,
    },
    /// Tell the worker to shut down for good; `Event::Lost` follows.
    ShutdownWorker {
        /// Its connection.
        session: SessionId,
    },
    /// Run a build; `Event::BuildFinished` follows in every case.
    StartBuild(Box<BuildOrder>),
    /// Stop a running build; its `Event::BuildFinished` tells how it ended.
    InterruptBuild {
        /// Which.
        build: BuildId,
        /// Why, for people.
        reason: String,
        /// What it ends as: CANCELLED when somebody stopped it, RETRY when its worker is gone.
        results: Results,
    },
    /// Tell a step about the locks that it asked for.
    Locks {
        /// Its build.
        build: BuildId,
        /// Which.
        step: StepId,
        /// `None`: it has them. Else what it waits for, for people.
        wait: Option<String>,
    },
    /// Have a provider do something: `Launch`, `List`, `Terminate`, `Reap`, `Cancel`, `Stop`, `Resume` or `Console`. An
    /// `Event::Pools` follows where the order says so.
    Provider(Order),
    /// From now on, this is what a login for an instance must prove.
    Credential {
        /// Which.
        instance: InstanceId,
        /// Its pool.
        pool: String,
        /// What; `None` lets nobody in.
        verifier: Option<Verifier>,
    },
    /// Answer whoever asked.
    Reply {
        /// Who waits.
        to: ReplyId,
        /// The answer.
        answer: Answer,
    },
    /// After `Event::Drain` or `Event::Stop`: no build runs any more.
    Drained,
}

/// A builder as a worker gets to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderDir {
    /// Its name.
    pub name: String,
    /// Its directory below the worker's base directory.
    pub dir: String,
}

/// Everything an executor needs to run a build. Nothing in it refers to the core.
#[derive(Clone, Debug)]
pub struct BuildOrder {
    /// The build.
    pub build: BuildId,
    /// Its number within the builder.
    pub number: BuildNumber,
    /// What to do. A reload does not change a build that runs.
    pub builder: Arc<config::Builder>,
    /// The id of the builder that it is recorded under: this one's, or a virtual one's.
    pub builder_id: BuilderId,
    /// Where to do it.
    pub worker: Arc<config::Worker>,
    /// The worker's id.
    pub worker_id: WorkerId,
    /// The worker's connection.
    pub session: SessionId,
    /// The requests that it answers; at least one.
    pub requests: Vec<BuildRequestId>,
    /// The set that the first request belongs to.
    pub buildset: BuildsetId,
    /// What to build, one for each codebase.
    pub sourcestamps: Vec<SourceStamp>,
    /// The changes that it builds, oldest first.
    pub changes: Vec<Arc<Change>>,
    /// All properties known before it starts, merged in Buildbot's order; their rows are written with the build's. Those
    /// that need the worker's directories (`basedir`, `builddir`) are the executor's to add.
    pub properties: Properties,
    /// Why it is built, for people.
    pub reason: String,
    /// Whom it is built for: authors of its changes, and who asked; sorted.
    pub owners: Vec<String>,
    /// When it was started.
    pub started_at: Time,
}

/// What a running build is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildControl {
    /// Interrupt the running step, run only the steps that always run, and end.
    Stop {
        /// Why, for people.
        reason: String,
        /// What the build ends as (if it did not fare worse by itself).
        results: Results,
    },
    /// About the locks that a step asked for.
    Locks {
        /// Which step.
        step: StepId,
        /// `None`: it has them. Else what it waits for, for people.
        wait: Option<String>,
    },
}

/// What a running build asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildWish {
    /// Locks for a step, each once. [`BuildControl::Locks`] answers.
    TakeLocks {
        /// Which step.
        step: StepId,
        /// Which locks.
        locks: Vec<config::LockAccess>,
    },
    /// A step is done with its locks, or does not wait for them any longer.
    ReturnLocks {
        /// Which step.
        step: StepId,
    },
}

/// How a build ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its results; RETRY requeues its requests.
    pub results: Results,
    /// In words.
    pub state_string: String,
}

/// The answer to an event that somebody waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Done, or under way.
    Done,
    /// The change is recorded.
    Change(ChangeId),
    /// The build is asked for.
    Forced {
        /// The new buildset.
        buildset: BuildsetId,
        /// Its requests, by builder name.
        requests: Vec<(String, BuildRequestId)>,
    },
    /// What a build has triggered, in the order it was asked for.
    Triggered(Vec<TriggeredScheduler>),
    /// A request that a build has triggered, and waits for, is complete.
    TriggeredRequest {
        /// Which.
        request: BuildRequestId,
        /// How it ended.
        results: Results,
        /// The builds of it, in their order; the earlier ones were lost.
        builds: Vec<TriggeredBuild>,
    },
    /// The configuration is in force. One line for each thing that changed.
    Reconfigured {
        /// In words: `builder b1 added`.
        changes: Vec<String>,
    },
    /// What became of a machine that asked who its worker is.
    Enrolled {
        /// Its pool, by its own words.
        pool: String,
        /// Which instance it is, or why it is not told.
        result: Result<InstanceId, pools::EnrollError>,
    },
    /// It cannot be done.
    Refused(Refusal),
}

/// What a scheduler has made of being triggered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggeredScheduler {
    /// The scheduler.
    pub scheduler: String,
    /// Its requests.
    pub requests: Vec<BuildRequestId>,
}

/// A build that another one has waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggeredBuild {
    /// Its builder.
    pub builder: String,
    /// The builder's id.
    pub builder_id: BuilderId,
    /// Its number within the builder.
    pub number: BuildNumber,
    /// How it ended.
    pub results: Results,
}

/// Why the core refuses what somebody asks for. The asker's mistake, each of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No build of this id runs.
    #[error("no build {0} is running")]
    NoSuchBuild(BuildId),
    /// No request of this id waits or is built.
    #[error("build request {0} does not wait and is not being built")]
    NoSuchRequest(BuildRequestId),
    /// No scheduler has this name.
    #[error("no scheduler is called {0:?}")]
    NoSuchScheduler(String),
    /// The scheduler is of another kind.
    #[error("scheduler {0:?} is not a ForceScheduler")]
    NotAForceScheduler(String),
    /// Builds cannot trigger the scheduler.
    #[error("scheduler {0:?} cannot be triggered: it is no Triggerable and no NightlyTriggerable")]
    NotTriggerable(String),
    /// The scheduler does not build on this builder.
    #[error("scheduler {scheduler:?} does not build on builder {builder:?}")]
    NotABuilderOf {
        /// The scheduler.
        scheduler: String,
        /// The builder.
        builder: String,
    },
    /// What is said is not what the scheduler takes: what is wrong, by the full names of its parameters.
    #[error("{}", lines(.0))]
    Form(Vec<(String, String)>),
    /// No worker has this name.
    #[error("no worker is called {0:?}")]
    NoSuchWorker(String),
    /// No pool has this name.
    #[error("no pool is called {0:?}")]
    NoSuchPool(String),
    /// The machine has builds.
    #[error("instance {0} has builds")]
    Builds(InstanceId),
    /// No pool has this instance (any more).
    #[error("no pool has an instance {0}")]
    NoSuchInstance(InstanceId),
}

/// A line for each mistake, as Buildbot has it.
fn lines(mistakes: &[(String, String)]) -> String {
    let lines: Vec<String> = mistakes.iter().map(|(name, mistake)| format!("{name}:{mistake}")).collect();
    lines.join("\n")
}
