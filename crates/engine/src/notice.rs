//! What subscribers hear, once it is durable: the bus that the API, reporters and the command line listen to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use model::{
    BuildId, BuildNumber, BuildRequestId, BuilderId, BuildsetId, ChangeId, Json, LogId, Results, StepId,
    Time, WorkerId,
};
use serde::Serialize;
use tokio::sync::broadcast;

/// Something that has happened and is in the tables.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// A worker is attached.
    WorkerConnected {
        /// The worker.
        worker: WorkerId,
        /// Its name.
        name: String,
    },
    /// A worker has gone.
    WorkerDisconnected {
        /// The worker.
        worker: WorkerId,
        /// Its name.
        name: String,
        /// Why, for people.
        why: String,
    },
    /// A worker was paused, set free, or is on its way to a graceful shutdown.
    WorkerState {
        /// The worker.
        worker: WorkerId,
        /// Its name.
        name: String,
        /// Whether it gets no new builds.
        paused: bool,
        /// Whether it shuts down when its builds are done.
        graceful: bool,
    },
    /// A change was recorded.
    ChangeAdded {
        /// The change.
        change: ChangeId,
    },
    /// A buildset was made.
    BuildsetAdded {
        /// The buildset.
        buildset: BuildsetId,
        /// Its requests.
        requests: Vec<BuildRequestId>,
        /// Why, for people.
        reason: String,
    },
    /// All requests of a buildset are complete.
    BuildsetCompleted {
        /// The buildset.
        buildset: BuildsetId,
        /// The worst of its requests'.
        results: Results,
    },
    /// A request waits.
    RequestAdded {
        /// The request.
        request: BuildRequestId,
        /// Of which set.
        buildset: BuildsetId,
        /// For which builder.
        builder: BuilderId,
    },
    /// A request is being built.
    RequestClaimed {
        /// The request.
        request: BuildRequestId,
    },
    /// A request waits again: its build was lost.
    RequestUnclaimed {
        /// The request.
        request: BuildRequestId,
    },
    /// A request is done.
    RequestCompleted {
        /// The request.
        request: BuildRequestId,
        /// How.
        results: Results,
    },
    /// A build was started.
    BuildStarted {
        /// The build.
        build: BuildId,
        /// Its number within the builder.
        number: BuildNumber,
        /// Its builder.
        builder: BuilderId,
        /// Its first request.
        request: BuildRequestId,
        /// Its worker.
        worker: WorkerId,
        /// When.
        started_at: Time,
    },
    /// A build's state string changed.
    BuildState {
        /// The build.
        build: BuildId,
        /// In words.
        state_string: String,
    },
    /// A build's property was set.
    BuildProperty {
        /// The build.
        build: BuildId,
        /// Its name.
        name: String,
        /// Its value.
        value: Json,
        /// Where it came from.
        source: String,
    },
    /// A build is done.
    BuildFinished {
        /// The build.
        build: BuildId,
        /// Its number within the builder.
        number: BuildNumber,
        /// Its builder.
        builder: BuilderId,
        /// How.
        results: Results,
        /// In words.
        state_string: String,
    },
    /// A step was started.
    StepStarted {
        /// The step.
        step: StepId,
        /// Its build.
        build: BuildId,
        /// Its number within the build, from 0.
        number: i64,
        /// Its name.
        name: String,
        /// In words.
        state_string: String,
    },
    /// A step's state string changed.
    StepState {
        /// The step.
        step: StepId,
        /// Its build.
        build: BuildId,
        /// In words.
        state_string: String,
    },
    /// A step got a link.
    StepUrl {
        /// The step.
        step: StepId,
        /// Its build.
        build: BuildId,
        /// Text of the link.
        name: String,
        /// Where it leads.
        url: String,
    },
    /// A step is done.
    StepFinished {
        /// The step.
        step: StepId,
        /// Its build.
        build: BuildId,
        /// How.
        results: Results,
        /// Whether it is hidden in lists.
        hidden: bool,
        /// In words.
        state_string: String,
    },
    /// A log was opened.
    LogAdded {
        /// The log.
        log: LogId,
        /// Its step.
        step: StepId,
        /// Its build.
        build: BuildId,
        /// Its name.
        name: String,
    },
    /// A log has grown.
    LogAppended {
        /// The log.
        log: LogId,
        /// Its step.
        step: StepId,
        /// Its build.
        build: BuildId,
        /// How many lines can be read now.
        lines: i64,
    },
    /// A log will not grow any more.
    LogFinished {
        /// The log.
        log: LogId,
        /// Its step.
        step: StepId,
        /// Its build.
        build: BuildId,
        /// How many lines it has.
        lines: i64,
    },
    /// A pool decided something.
    Decision(pools::Decision),
}

/// The step that a build is at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CurrentStep {
    /// The step.
    pub step: StepId,
    /// Its number within the build, from 0.
    pub number: i64,
    /// Its name.
    pub name: String,
    /// In words.
    pub state_string: String,
}

/// How many notices a subscriber may be behind before it misses some.
const BEHIND: usize = 4096;

/// Puts notices on the bus. Cheap to clone. Never waits: a subscriber that does not keep up misses notices, and is told
/// that it did.
#[derive(Clone, Debug)]
pub struct NoticeSender {
    bus: broadcast::Sender<Arc<Notice>>,
    at: Arc<Mutex<BTreeMap<BuildId, CurrentStep>>>,
}

impl Default for NoticeSender {
    fn default() -> Self {
        Self::new()
    }
}

impl NoticeSender {
    /// A new bus, with nobody on it.
    pub fn new() -> Self {
        Self { bus: broadcast::Sender::new(BEHIND), at: Arc::default() }
    }

    /// Tells all subscribers. Call it only once the rows that the notice speaks of are durable.
    pub fn send(&self, notice: Notice) {
        self.follow(&notice);
        // An error means only that nobody listens.
        drop(self.bus.send(Arc::new(notice)));
    }

    /// A new subscriber; it hears what is sent from now on.
    pub fn subscribe(&self) -> Notices {
        Notices { bus: self.bus.subscribe() }
    }

    /// The step that a running build is at, if it is at one.
    pub fn current_step(&self, build: BuildId) -> Option<CurrentStep> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner).get(&build).cloned()
    }

    fn follow(&self, notice: &Notice) {
        let at = || self.at.lock().unwrap_or_else(PoisonError::into_inner);
        match notice {
            Notice::StepStarted { step, build, number, name, state_string } => {
                let (name, state_string) = (name.clone(), state_string.clone());
                at().insert(*build, CurrentStep { step: *step, number: *number, name, state_string });
            }
            Notice::StepState { step, build, state_string } => {
                if let Some(current) = at().get_mut(build)
                    && current.step == *step
                {
                    current.state_string.clone_from(state_string);
                }
            }
            Notice::StepFinished { build, .. } | Notice::BuildFinished { build, .. } => {
                at().remove(build);
            }
            _ => {}
        }
    }
}

/// One subscriber's end of the bus.
#[derive(Debug)]
pub struct Notices {
    bus: broadcast::Receiver<Arc<Notice>>,
}

/// What a subscriber hears next.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A notice.
    Notice(Arc<Notice>),
    /// The subscriber was too slow and missed this many; what it wants to know is in the tables.
    Missed(u64),
    /// The master has ended.
    End,
}

impl Notices {
    /// Waits for the next notice.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Heard {
        match self.bus.recv().await {
            Ok(notice) => Heard::Notice(notice),
            Err(broadcast::error::RecvError::Lagged(missed)) => Heard::Missed(missed),
            Err(broadcast::error::RecvError::Closed) => Heard::End,
        }
    }
}
