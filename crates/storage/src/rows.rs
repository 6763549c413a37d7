//! What queries answer with: rows of Buildbot's tables, typed.

use std::collections::BTreeMap;

use model::{
    BuildId, BuildNumber, BuildRequestId, BuilderId, BuildsetId, Change, ChangeId, Json, LogId, MasterId,
    Results, SchedulerId, SourceStamp, SourceStampId, StepId, Time, WorkerId,
};

use crate::{log::LogKind, write::Parent};

/// Under what a `Dependent` keeps the buildsets of the other scheduler that it waits for: class and key. All else that
/// schedulers keep is under the last part of their class's name (`buildbot/schedulers/dependent.py`,
/// `buildbot/util/state.py`, 4.3.0).
pub const UPSTREAM: (&str, &str) = ("buildbot.schedulers.dependent.Dependent", "upstream_bsids");

/// What components of one name keep between restarts (`object_state`): values by class and key.
pub type ObjectStates = BTreeMap<(String, String), Json>;

/// A row of `masters`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterRow {
    /// Its id.
    pub id: MasterId,
    /// `HOST:BASEDIR`.
    pub name: String,
    /// Whether it runs, as far as it said.
    pub active: bool,
    /// When it last said so.
    pub last_active: Time,
}

/// A row of `builders`, with its tags and masters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuilderRow {
    /// Its id.
    pub id: BuilderId,
    /// Its name.
    pub name: String,
    /// Shown to users.
    pub description: Option<String>,
    /// How the description is written (`markdown`); `None` is plain text.
    pub description_format: Option<String>,
    /// The description rendered.
    pub description_html: Option<String>,
    /// The project it belongs to.
    pub project: Option<i64>,
    /// Its tags, in the order they were given.
    pub tags: Vec<String>,
    /// The masters that have it in their configuration; none for a builder of the past.
    pub masters: Vec<MasterId>,
}

/// A row of `workers`, with where it is configured and connected.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerRow {
    /// Its id.
    pub id: WorkerId,
    /// Its name.
    pub name: String,
    /// What it said about itself when it last connected.
    pub info: Json,
    /// It gets no new builds.
    pub paused: bool,
    /// Why it is paused.
    pub pause_reason: Option<String>,
    /// It is shut down once its builds are done.
    pub graceful: bool,
    /// The builders it works for, by master.
    pub configured_on: Vec<(MasterId, BuilderId)>,
    /// The masters it is connected to.
    pub connected_to: Vec<MasterId>,
}

/// A row of `schedulers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerRow {
    /// Its id.
    pub id: SchedulerId,
    /// Its name.
    pub name: String,
    /// Whether it acts.
    pub enabled: bool,
    /// The master that runs it.
    pub master: Option<MasterId>,
}

/// A row of `changes`.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangeRow {
    /// Its id.
    pub id: ChangeId,
    /// The change.
    pub change: Change,
    /// Its source stamp.
    pub sourcestamp: SourceStampId,
    /// The change before it of the same branch.
    pub parent: Option<ChangeId>,
}

/// A row of `sourcestamps`, with its patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStampRow {
    /// Its id.
    pub id: SourceStampId,
    /// What to build.
    pub stamp: SourceStamp,
    /// The row of its patch.
    pub patch: Option<i64>,
    /// When it was first seen.
    pub created_at: Time,
}

/// A row of `buildsets`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildsetRow {
    /// Its id.
    pub id: BuildsetId,
    /// A name that its submitter knows it by.
    pub external_id: Option<String>,
    /// Why it was asked for.
    pub reason: Option<String>,
    /// When it was asked for.
    pub submitted_at: Time,
    /// Whether all its requests are done.
    pub complete: bool,
    /// When they were.
    pub complete_at: Option<Time>,
    /// How it ended. The table, and Buildbot's API, say -1 before that.
    pub results: Option<Results>,
    /// The build that asked for it.
    pub parent: Option<Parent>,
    /// The build that it repeats.
    pub rebuilt_build: Option<BuildId>,
    /// What to build.
    pub sourcestamps: Vec<SourceStampId>,
}

/// A row of `buildrequests`, with its claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRow {
    /// Its id.
    pub id: BuildRequestId,
    /// Its buildset.
    pub buildset: BuildsetId,
    /// Its builder.
    pub builder: BuilderId,
    /// Higher is sooner.
    pub priority: i64,
    /// When it was asked for.
    pub submitted_at: Time,
    /// Whether it is done.
    pub complete: bool,
    /// When it was.
    pub complete_at: Option<Time>,
    /// How it ended. The table, and Buildbot's API, say -1 before that.
    pub results: Option<Results>,
    /// Somebody waits for it.
    pub waited_for: bool,
    /// When and by which master it was taken.
    pub claimed: Option<(Time, MasterId)>,
}

/// A row of `builds`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildRow {
    /// Its id.
    pub id: BuildId,
    /// Its number within the builder.
    pub number: BuildNumber,
    /// Its builder.
    pub builder: BuilderId,
    /// The request it was done for.
    pub request: BuildRequestId,
    /// The worker that did it.
    pub worker: Option<WorkerId>,
    /// The master that did it.
    pub master: MasterId,
    /// When it started.
    pub started_at: Time,
    /// When it ended.
    pub complete_at: Option<Time>,
    /// How long it waited for locks, in seconds.
    pub locks_duration: i64,
    /// What it does or what became of it, for people.
    pub state_string: String,
    /// How it ended.
    pub results: Option<Results>,
}

/// A row of `steps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// Its id.
    pub id: StepId,
    /// Its number within the build, from 0.
    pub number: i64,
    /// Its name.
    pub name: String,
    /// Its build.
    pub build: BuildId,
    /// When it started.
    pub started_at: Option<Time>,
    /// When it had all its locks.
    pub locks_acquired_at: Option<Time>,
    /// When it ended.
    pub complete_at: Option<Time>,
    /// What it does or what became of it, for people.
    pub state_string: String,
    /// How it ended.
    pub results: Option<Results>,
    /// Its links.
    pub urls: Vec<StepUrl>,
    /// Not shown unless asked for.
    pub hidden: bool,
}

/// A link of a step.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StepUrl {
    /// Shown to users.
    pub name: String,
    /// Where it leads.
    pub url: String,
}

/// A row of `logs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Its id.
    pub id: LogId,
    /// Shown to users.
    pub name: String,
    /// Its name in addresses.
    pub slug: String,
    /// Its step.
    pub step: StepId,
    /// Whether no more lines come.
    pub complete: bool,
    /// How many lines there are.
    pub num_lines: i64,
    /// What its lines are.
    pub kind: LogKind,
}

/// Some lines of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogText {
    /// Number of the first line.
    pub first_line: i64,
    /// How many lines there are. Fewer than asked for at the end of the log, and when the text would get too long.
    pub num_lines: i64,
    /// The lines, each with its newline; those of a log of kind [`LogKind::Stdio`] start with the letter of their stream.
    pub text: String,
}

/// Which builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildFilter {
    /// Only of this builder.
    pub builder: Option<BuilderId>,
    /// Only on this worker.
    pub worker: Option<WorkerId>,
    /// Only for this request.
    pub request: Option<BuildRequestId>,
    /// Only those that have ended, or only those that have not.
    pub complete: Option<bool>,
    /// In which order.
    pub order: BuildOrder,
    /// At most so many.
    pub limit: u32,
    /// Without so many first ones.
    pub offset: u32,
}

impl Default for BuildFilter {
    /// The oldest 1000 of all.
    fn default() -> Self {
        Self {
            builder: None,
            worker: None,
            request: None,
            complete: None,
            order: BuildOrder::default(),
            limit: 1000,
            offset: 0,
        }
    }
}

/// An order of builds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuildOrder {
    /// Those that ended last first.
    CompleteLast,
    /// By id.
    #[default]
    Id,
    /// By id, newest first.
    IdDescending,
    /// By number, highest first; for the builds of one builder.
    NumberDescending,
    /// Those that started last first.
    StartedLast,
}

/// Which build requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFilter {
    /// Only for this builder.
    pub builder: Option<BuilderId>,
    /// Only of this buildset.
    pub buildset: Option<BuildsetId>,
    /// Only those that are done, or only those that are not.
    pub complete: Option<bool>,
    /// Only those that are taken, or only those that are not.
    pub claimed: Option<bool>,
    /// Newest first instead of oldest first.
    pub newest_first: bool,
    /// At most so many.
    pub limit: u32,
    /// Without so many first ones.
    pub offset: u32,
}

impl Default for RequestFilter {
    /// The oldest 1000 of all.
    fn default() -> Self {
        Self {
            builder: None,
            buildset: None,
            complete: None,
            claimed: None,
            newest_first: false,
            limit: 1000,
            offset: 0,
        }
    }
}
