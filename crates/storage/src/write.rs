//! Everything that can be written.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use model::{
    BuildId, BuildNumber, BuildRequestId, BuilderId, BuildsetId, Change, ChangeId, Json, LogId, Properties,
    Results, SchedulerId, SourceStamp, StepId, Time, WorkerId,
};

use crate::{
    log::{Compression, LogKind},
    pools::{DecisionRow, InstanceRow},
};

/// About what the state of a pool takes; it is looked at without walking through it.
const POOL_STATE_WEIGHT: usize = 8 << 10;

/// About what the JSON of an instance takes.
const INSTANCE_WEIGHT: usize = 1 << 10;

/// One thing that happened, to be written. Rows belong to the master that the store was opened for.
///
/// A batch of writes is applied as a whole or not at all, and in its order: a row comes before the rows that name it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Write {
    /// The master is alive. Written at start and then every minute. Other masters that have been silent for ten minutes are
    /// cleaned up after, as [`crate::Store::restore`] does. Refused when another master did so with this one.
    MasterActive {
        /// Now.
        at: Time,
    },
    /// The master stops in good order: it no longer has builders, schedulers or workers, and whatever is still open is
    /// closed as it would be after a crash (see [`crate::Store::restore`]).
    MasterStopped {
        /// Now.
        at: Time,
    },

    /// A builder of the configuration: made or brought up to date, and tied to this master.
    Builder {
        /// Its id, from `Restored` or [`crate::Ids::next_builder`].
        id: BuilderId,
        /// Its name; never changes for an id.
        name: String,
        /// Shown to users.
        description: Option<String>,
        /// All its tags.
        tags: Vec<String>,
    },
    /// A builder that builds of others are recorded under: made or brought up to date.
    VirtualBuilder {
        /// Its id, from `Restored` or [`crate::Ids::next_builder`].
        id: BuilderId,
        /// Its name; never changes for an id.
        name: String,
        /// Shown to users.
        description: Option<String>,
        /// The project that it belongs to.
        project: Option<String>,
        /// All its tags.
        tags: Vec<String>,
    },
    /// A builder is no longer in the configuration. Its builds stay.
    BuilderGone {
        /// Which.
        builder: BuilderId,
    },
    /// A worker of the configuration: made if it is not there.
    Worker {
        /// Its id, from `Restored` or [`crate::Ids::next_worker`].
        id: WorkerId,
        /// Its name; never changes for an id.
        name: String,
    },
    /// Which builders of this master a worker works for, all of them.
    ConfiguredWorker {
        /// The worker.
        worker: WorkerId,
        /// Its builders; empty when it is no longer in the configuration.
        builders: Vec<BuilderId>,
    },
    /// A worker has connected to this master.
    WorkerConnected {
        /// The worker.
        worker: WorkerId,
        /// What it said about itself: `admin`, `host`, `access_uri`, `version`.
        info: Json,
    },
    /// A worker has gone.
    WorkerDisconnected {
        /// The worker.
        worker: WorkerId,
    },
    /// What people decided about a worker.
    WorkerState {
        /// The worker.
        worker: WorkerId,
        /// It gets no new builds.
        paused: bool,
        /// Why it is paused.
        pause_reason: Option<String>,
        /// It is shut down once its builds are done.
        graceful: bool,
    },
    /// A scheduler of the configuration: made if it is not there, and tied to this master.
    Scheduler {
        /// Its id, from `Restored` or [`crate::Ids::next_scheduler`].
        id: SchedulerId,
        /// Its name; never changes for an id.
        name: String,
    },
    /// A scheduler is no longer in the configuration.
    SchedulerGone {
        /// Which.
        scheduler: SchedulerId,
    },
    /// Somebody switched a scheduler on or off.
    SchedulerEnabled {
        /// Which.
        scheduler: SchedulerId,
        /// Whether it acts.
        enabled: bool,
    },

    /// A change came in. Its source stamp is made if it is not there, and the newest earlier change of the same
    /// branch, repository, project and codebase becomes its parent.
    Change {
        /// Its id.
        id: ChangeId,
        /// The change.
        change: Arc<Change>,
        /// Now.
        at: Time,
    },
    /// A scheduler wants to remember a change until its timer fires.
    SchedulerChange {
        /// The scheduler.
        scheduler: SchedulerId,
        /// The change.
        change: ChangeId,
        /// Whether it is reason enough to build.
        important: bool,
    },
    /// A scheduler has dealt with changes that it remembered.
    SchedulerChangesDone {
        /// The scheduler.
        scheduler: SchedulerId,
        /// Which changes.
        changes: Classified,
    },

    /// A set of requests that belong together. Source stamps are made where they are not there.
    Buildset {
        /// Its id.
        id: BuildsetId,
        /// A name that its submitter knows it by.
        external_id: Option<String>,
        /// Why it was asked for.
        reason: String,
        /// When it was asked for.
        submitted_at: Time,
        /// What to build; one for each codebase.
        sourcestamps: Vec<SourceStamp>,
        /// Properties of its builds.
        properties: Properties,
        /// The build that asked for it.
        parent: Option<Parent>,
        /// The build that it repeats.
        rebuilt_build: Option<BuildId>,
    },
    /// One builder is to build a buildset.
    Request {
        /// Its id.
        id: BuildRequestId,
        /// The buildset.
        buildset: BuildsetId,
        /// The builder.
        builder: BuilderId,
        /// Higher is sooner.
        priority: i64,
        /// When it was asked for.
        submitted_at: Time,
        /// Somebody waits for it: it is never merged with others.
        waited_for: bool,
    },
    /// Somebody changed the priority of a request.
    RequestPriority {
        /// The request; it is not complete.
        request: BuildRequestId,
        /// Higher is sooner.
        priority: i64,
    },
    /// This master takes a request. Rejected when it is taken already.
    Claim {
        /// The request.
        request: BuildRequestId,
        /// Now.
        at: Time,
    },
    /// This master gives a request back.
    Unclaim {
        /// The request.
        request: BuildRequestId,
    },
    /// A request is done. Rejected when it was done already.
    CompleteRequest {
        /// The request.
        request: BuildRequestId,
        /// How it ended; never RETRY, which leaves a request open.
        results: Results,
        /// Now.
        at: Time,
    },
    /// All requests of a buildset are done. Rejected when it was done already.
    CompleteBuildset {
        /// The buildset.
        buildset: BuildsetId,
        /// How it ended.
        results: Results,
        /// Now.
        at: Time,
    },

    /// A build starts.
    Build {
        /// Its id.
        id: BuildId,
        /// Its number within the builder.
        number: BuildNumber,
        /// The builder.
        builder: BuilderId,
        /// The request that it is done for.
        request: BuildRequestId,
        /// The worker that does it.
        worker: Option<WorkerId>,
        /// Now.
        started_at: Time,
        /// What it is doing, for people.
        state_string: String,
    },
    /// A build does something else now.
    BuildState {
        /// The build.
        build: BuildId,
        /// What it is doing, for people.
        state_string: String,
    },
    /// A property of a build is set; replaces an earlier value.
    BuildProperty {
        /// The build.
        build: BuildId,
        /// The property.
        name: String,
        /// Its value.
        value: Json,
        /// Where the value came from.
        source: String,
    },
    /// A build has ended.
    BuildFinished {
        /// The build.
        build: BuildId,
        /// How it ended.
        results: Results,
        /// Now.
        at: Time,
        /// What became of it, for people.
        state_string: String,
        /// How long it waited for locks; the table holds whole seconds.
        locks_duration: Duration,
    },

    /// A step is to be done.
    Step {
        /// Its id.
        id: StepId,
        /// Its number within the build, from 0.
        number: i64,
        /// The build.
        build: BuildId,
        /// Its name, unique within the build, at most 50 characters.
        name: String,
        /// When it started, with all its locks; `None` while it is only planned or waits.
        started_at: Option<Time>,
        /// What it is doing, for people; Buildbot says `pending` before it starts.
        state_string: String,
    },
    /// A planned step starts.
    StepStarted {
        /// The step.
        step: StepId,
        /// Now.
        at: Time,
        /// Whether it has its locks; if not, [`Write::StepLocksAcquired`] follows.
        locks_acquired: bool,
    },
    /// A started step has got its locks.
    StepLocksAcquired {
        /// The step.
        step: StepId,
        /// Now.
        at: Time,
    },
    /// A step does something else now.
    StepState {
        /// The step.
        step: StepId,
        /// What it is doing, for people.
        state_string: String,
    },
    /// A step gets a link. The same link a second time changes nothing.
    StepUrl {
        /// The step.
        step: StepId,
        /// Shown to users.
        name: String,
        /// Where it leads.
        url: String,
    },
    /// A step has ended.
    StepFinished {
        /// The step.
        step: StepId,
        /// How it ended.
        results: Results,
        /// Now.
        at: Time,
        /// Not shown unless asked for.
        hidden: bool,
        /// What became of it, for people.
        state_string: String,
    },

    /// A step opens a log.
    Log {
        /// Its id.
        id: LogId,
        /// The step.
        step: StepId,
        /// Shown to users.
        name: String,
        /// Its name in addresses, unique within the step, at most 50 characters.
        slug: String,
        /// What its lines are.
        kind: LogKind,
    },
    /// Lines for a log. Rejected unless they follow the lines that are there.
    LogChunk {
        /// The log.
        log: LogId,
        /// Number of the first line in it, from 0.
        first_line: i64,
        /// Number of the last line in it.
        last_line: i64,
        /// The lines as [`crate::log::ChunkBuilder`] packs them.
        content: Bytes,
        /// How `content` is compressed.
        compression: Compression,
    },
    /// Chunks of a log become one, with the same lines. Nothing happens when there are not so many any more.
    MergedChunks {
        /// The log.
        log: LogId,
        /// Number of the first line in it, which begins a chunk.
        first_line: i64,
        /// Number of the last line in it, which ends a chunk.
        last_line: i64,
        /// How many chunks these lines are in.
        chunks: i64,
        /// The lines as [`crate::log::ChunkBuilder`] packs them.
        content: Bytes,
        /// How `content` is compressed.
        compression: Compression,
    },
    /// A log is complete. Rejected when the database has another number of lines.
    LogFinished {
        /// The log.
        log: LogId,
        /// How many lines it has.
        num_lines: i64,
    },

    /// State that a scheduler, poller or other component keeps between restarts; replaces an earlier value.
    ObjectState {
        /// Name of the component (`nightly`).
        object: String,
        /// Buildbot's class of it (`Nightly`).
        class: String,
        /// What is kept (`last_build`).
        key: String,
        /// Its value.
        value: Json,
    },

    /// A row of the pools' ledger as it is now; replaces an earlier one. Rejected ([`crate::StorageError::Fenced`]) when
    /// its `fence` is not, or no longer, that of its pool.
    Instance(Box<InstanceRow>),
    /// What a pool keeps between restarts; replaces what it kept before. Rejected like [`Write::Instance`].
    PoolState {
        /// The pool.
        pool: String,
        /// What.
        data: Json,
        /// The lease of the pool under which it is written.
        fence: u64,
    },
    /// Something that a pool decided. The last 100,000 are kept.
    Decision(DecisionRow),
}

/// The build that asked for a buildset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The build.
    pub build: BuildId,
    /// What the buildset is to it (`Triggered from`).
    pub relationship: String,
}

/// Some of the changes that a scheduler remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Classified {
    /// All of them.
    All,
    /// These.
    These(Vec<ChangeId>),
    /// All up to this one.
    Through(ChangeId),
}

impl Write {
    /// Roughly how much memory it holds while it waits, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let more = match self {
            Self::LogChunk { content, .. } | Self::MergedChunks { content, .. } => content.len(),
            Self::Change { change, .. } => {
                change.comments.len() + change.files.iter().map(|file| file.len() + 24).sum::<usize>()
            }
            Self::Buildset { sourcestamps, properties, .. } => {
                let patches = sourcestamps.iter().filter_map(|stamp| stamp.patch.as_ref());
                patches.map(|patch| patch.body.len()).sum::<usize>() + 256 * properties.len()
            }
            Self::Instance(row) => {
                let texts = row.data.as_object().into_iter().flat_map(|data| data.values());
                let texts = texts.filter_map(Json::as_str).map(str::len).sum::<usize>();
                size_of::<InstanceRow>() + INSTANCE_WEIGHT + texts
            }
            Self::PoolState { .. } => POOL_STATE_WEIGHT,
            Self::Decision(row) => row.text.len() + row.pool.len(),
            _ => 0,
        };
        size_of::<Self>() + more
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MasterActive { .. } => write!(f, "the master's sign of life"),
            Self::MasterStopped { .. } => write!(f, "the end of the master"),
            Self::Builder { id, name, .. } => write!(f, "builder {id} ({name:?})"),
            Self::VirtualBuilder { id, name, .. } => write!(f, "virtual builder {id} ({name:?})"),
            Self::BuilderGone { builder } => write!(f, "removal of builder {builder}"),
            Self::Worker { id, name } => write!(f, "worker {id} ({name:?})"),
            Self::ConfiguredWorker { worker, .. } => write!(f, "builders of worker {worker}"),
            Self::WorkerConnected { worker, .. } => write!(f, "connection of worker {worker}"),
            Self::WorkerDisconnected { worker } => write!(f, "loss of worker {worker}"),
            Self::WorkerState { worker, .. } => write!(f, "state of worker {worker}"),
            Self::Scheduler { id, name } => write!(f, "scheduler {id} ({name:?})"),
            Self::SchedulerGone { scheduler } => write!(f, "removal of scheduler {scheduler}"),
            Self::SchedulerEnabled { scheduler, .. } => write!(f, "switch of scheduler {scheduler}"),
            Self::Change { id, .. } => write!(f, "change {id}"),
            Self::SchedulerChange { scheduler, change, .. } => {
                write!(f, "change {change} for scheduler {scheduler}")
            }
            Self::SchedulerChangesDone { scheduler, .. } => {
                write!(f, "changes done of scheduler {scheduler}")
            }
            Self::Buildset { id, .. } => write!(f, "buildset {id}"),
            Self::Request { id, .. } => write!(f, "build request {id}"),
            Self::RequestPriority { request, .. } => write!(f, "priority of build request {request}"),
            Self::Claim { request, .. } => write!(f, "claim of build request {request}"),
            Self::Unclaim { request } => write!(f, "return of build request {request}"),
            Self::CompleteRequest { request, .. } => write!(f, "end of build request {request}"),
            Self::CompleteBuildset { buildset, .. } => write!(f, "end of buildset {buildset}"),
            Self::Build { id, number, builder, .. } => {
                write!(f, "build {id} (number {number} of builder {builder})")
            }
            Self::BuildState { build, .. } => write!(f, "state of build {build}"),
            Self::BuildProperty { build, name, .. } => write!(f, "property {name:?} of build {build}"),
            Self::BuildFinished { build, .. } => write!(f, "end of build {build}"),
            Self::Step { id, name, build, .. } => write!(f, "step {id} ({name:?} of build {build})"),
            Self::StepStarted { step, .. } => write!(f, "start of step {step}"),
            Self::StepLocksAcquired { step, .. } => write!(f, "locks of step {step}"),
            Self::StepState { step, .. } => write!(f, "state of step {step}"),
            Self::StepUrl { step, .. } => write!(f, "link of step {step}"),
            Self::StepFinished { step, .. } => write!(f, "end of step {step}"),
            Self::Log { id, slug, step, .. } => write!(f, "log {id} ({slug:?} of step {step})"),
            Self::LogChunk { log, first_line, last_line, .. }
            | Self::MergedChunks { log, first_line, last_line, .. } => {
                write!(f, "lines {first_line} to {last_line} of log {log}")
            }
            Self::LogFinished { log, .. } => write!(f, "end of log {log}"),
            Self::ObjectState { object, key, .. } => write!(f, "state {key:?} of {object:?}"),
            Self::Instance(row) => write!(f, "instance {} of pool {:?}", row.id, row.pool),
            Self::PoolState { pool, .. } => write!(f, "state of pool {pool:?}"),
            Self::Decision(row) => write!(f, "decision of pool {:?}", row.pool),
        }
    }
}
