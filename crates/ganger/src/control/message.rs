//! What is said on the control socket. What commands print with `--json` are these same objects.

use model::{Json, Properties};
use serde::{Deserialize, Serialize};

use super::pool::{
    Decision, DecisionsFilter, Hold, InstanceName, PlanFilter, Pool, PoolName, PoolPause, PoolScale,
    WhyFilter,
};

/// A request: method and parameters, which are those of one of the variants.
///
/// Times are whole seconds since the epoch, ids are those of Buildbot's tables, and names are Buildbot's wherever it has
/// one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "method", content = "params", deny_unknown_fields)]
pub(crate) enum Request {
    /// The first of every connection. Answer: [`Welcome`].
    #[serde(rename = "hello")]
    Hello(Hello),
    /// Answer: [`Status`].
    #[serde(rename = "status")]
    Status(Nothing),
    /// Answer: [`Builds`].
    #[serde(rename = "builds")]
    Builds(BuildsFilter),
    /// Answer: [`BuildDetail`].
    #[serde(rename = "build")]
    Build(BuildSelector),
    /// Asks for builds. Answer: [`Forced`]; with `wait`, after one [`Progress`] for everything that happens to them.
    #[serde(rename = "force")]
    Force(Force),
    /// What force schedulers take. Answer: a list of [`ForceScheduler`].
    #[serde(rename = "forceschedulers")]
    ForceSchedulers(Nothing),
    /// Reports a change. Answer: [`ChangeAdded`], when it is stored.
    #[serde(rename = "change.add")]
    ChangeAdd(Box<NewChange>),
    /// Answer: [`LogEnd`], after one [`LogText`] for every piece of text.
    #[serde(rename = "log")]
    Log(LogSelector),
    /// Answer: [`Nothing`], when the build was told; it ends a little later.
    #[serde(rename = "build.stop")]
    BuildStop(BuildStop),
    /// Cancels a build request, or stops the build that answers it. Answer: [`Nothing`].
    #[serde(rename = "request.cancel")]
    RequestCancel(RequestCancel),
    /// Gives a worker no new builds. Answer: [`Nothing`].
    #[serde(rename = "worker.pause")]
    WorkerPause(WorkerPause),
    /// Gives it builds again. Answer: [`Nothing`].
    #[serde(rename = "worker.unpause")]
    WorkerUnpause(WorkerName),
    /// Answer: [`super::pool::PoolList`].
    #[serde(rename = "pool.list")]
    PoolList(Nothing),
    /// Answer: [`super::pool::PoolDetail`].
    #[serde(rename = "pool.show")]
    PoolShow(PoolName),
    /// Explains a build request or an instance. Answer: [`super::pool::Why`].
    #[serde(rename = "pool.why")]
    PoolWhy(WhyFilter),
    /// What a pass would do now; nothing is done. Answer: [`super::pool::Plans`].
    #[serde(rename = "pool.plan")]
    PoolPlan(PlanFilter),
    /// Answer: [`super::pool::Decisions`]; with `follow` never, but one [`Decision`] for each.
    #[serde(rename = "pool.decisions")]
    PoolDecisions(DecisionsFilter),
    /// Lets an instance go when its builds are done. Answer: [`super::pool::Instance`].
    #[serde(rename = "pool.drain")]
    PoolDrain(InstanceName),
    /// Keeps an instance to look at it. Answer: [`super::pool::Instance`].
    #[serde(rename = "pool.hold")]
    PoolHold(Hold),
    /// Keeps an instance no more: it goes. Answer: [`super::pool::Instance`].
    #[serde(rename = "pool.release")]
    PoolRelease(InstanceName),
    /// Starts no more instances of a pool. Answer: [`Pool`].
    #[serde(rename = "pool.pause")]
    PoolPause(PoolPause),
    /// Starts instances again. Answer: [`Pool`].
    #[serde(rename = "pool.resume")]
    PoolResume(PoolName),
    /// Has at least so many instances. Answer: [`Pool`].
    #[serde(rename = "pool.scale")]
    PoolScale(PoolScale),
    /// Starts instances though the provider has not listed its machines. Answer: [`Pool`].
    #[serde(rename = "pool.trust")]
    PoolTrust(PoolName),
    /// Deletes what is older than `[janitor]` says. Answer: [`Pruned`].
    #[serde(rename = "prune")]
    Prune(Prune),
    /// Reads the configuration again. Answer: [`Reloaded`], when it is in use.
    #[serde(rename = "reload")]
    Reload(Nothing),
    /// Answer: [`Nothing`], when the master is going to end.
    #[serde(rename = "shutdown")]
    Shutdown(Shutdown),
}

impl Request {
    /// The methods that there are.
    pub(crate) const METHODS: [&'static str; 27] = [
        "hello",
        "status",
        "builds",
        "build",
        "force",
        "forceschedulers",
        "change.add",
        "log",
        "build.stop",
        "request.cancel",
        "worker.pause",
        "worker.unpause",
        "pool.list",
        "pool.show",
        "pool.why",
        "pool.plan",
        "pool.decisions",
        "pool.drain",
        "pool.hold",
        "pool.release",
        "pool.pause",
        "pool.resume",
        "pool.scale",
        "pool.trust",
        "prune",
        "reload",
        "shutdown",
    ];
}

/// No parameters, or nothing to say.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// Who asks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Version of this protocol.
    pub(crate) protocol: u32,
}

/// Who answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// Version of this protocol.
    pub(crate) protocol: u32,
    /// Version of the master.
    pub(crate) version: String,
    /// Process id of the master.
    pub(crate) pid: u32,
}

/// What is there, and what goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The time of this answer.
    pub(crate) now: i64,
    /// The master itself.
    pub(crate) master: MasterStatus,
    /// Every configured worker, by name.
    pub(crate) workers: Vec<WorkerStatus>,
    /// Every configured builder, in the order of the configuration.
    pub(crate) builders: Vec<BuilderStatus>,
    /// Every pool, by name.
    pub(crate) pools: Vec<Pool>,
}

/// The master itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MasterStatus {
    /// `title` of the configuration.
    pub(crate) title: String,
    /// Version of the program.
    pub(crate) version: String,
    /// Process id.
    pub(crate) pid: u32,
    /// When it was started.
    pub(crate) started_at: i64,
    /// The directory of its configuration.
    pub(crate) directory: String,
    /// Where workers connect: addresses as they are bound.
    pub(crate) listen: Vec<String>,
    /// Where HTTP is served, if it is: an address as it is bound.
    pub(crate) web: Option<String>,
    /// It starts no more builds, and ends when none runs.
    pub(crate) draining: bool,
    /// How it fares with its database: `good`, `stalled` or `ending`.
    pub(crate) health: String,
}

/// One worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WorkerStatus {
    /// `workers.id`.
    pub(crate) workerid: i64,
    /// Its name.
    pub(crate) name: String,
    /// The pool that it is a slot of.
    pub(crate) pool: Option<String>,
    /// It is connected, and ready for builds.
    pub(crate) connected: bool,
    /// Why it gets no builds, when somebody paused it.
    pub(crate) paused: Option<String>,
    /// It ends when its builds have.
    pub(crate) graceful: bool,
    /// How many builds it runs.
    pub(crate) running: usize,
    /// What it told about itself (column `workers.info`).
    pub(crate) info: Json,
}

/// One builder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BuilderStatus {
    /// `builders.id`.
    pub(crate) builderid: i64,
    /// Its name.
    pub(crate) name: String,
    /// Its tags.
    pub(crate) tags: Vec<String>,
    /// How many build requests wait.
    pub(crate) pending: usize,
    /// The most urgent of those, at most 20.
    pub(crate) waiting: Vec<Waiting>,
    /// Builds that run, oldest first.
    pub(crate) running: Vec<Build>,
    /// The last build that is complete.
    pub(crate) last: Option<Build>,
}

/// A build request that waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// `buildrequests.id`.
    pub(crate) buildrequestid: i64,
    /// Higher is sooner.
    pub(crate) priority: i64,
    /// When it was asked for.
    pub(crate) submitted_at: i64,
    /// Why it was asked for.
    pub(crate) reason: String,
    /// Why it waits, for people.
    pub(crate) why: String,
    /// Why it waits, for programs: `no_worker_connected`, `workers_busy`, …
    pub(crate) code: Json,
    /// The pool that takes it, as far as that is known.
    pub(crate) pool: Option<String>,
    /// When its build is expected to start, as far as that is known.
    pub(crate) expected_at: Option<i64>,
}

/// One build: Buildbot's fields of the same names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Build {
    /// `builds.id`.
    pub(crate) buildid: i64,
    /// Its number within the builder.
    pub(crate) number: i64,
    /// Name of its builder.
    pub(crate) builder: String,
    /// Name of its worker.
    pub(crate) worker: Option<String>,
    /// When it was started.
    pub(crate) started_at: i64,
    /// When it ended.
    pub(crate) complete_at: Option<i64>,
    /// How it ended: Buildbot's number.
    pub(crate) results: Option<i64>,
    /// How it ended, or what it does.
    pub(crate) state_string: String,
}

/// Which builds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BuildsFilter {
    /// Only those of this builder.
    #[serde(default)]
    pub(crate) builder: Option<String>,
    /// Only those that run (`false`) or are complete (`true`).
    #[serde(default)]
    pub(crate) complete: Option<bool>,
    /// At most this many, newest first; at most 1000.
    pub(crate) limit: u32,
}

/// Builds, newest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Builds {
    /// The time of this answer.
    pub(crate) now: i64,
    /// The builds.
    pub(crate) builds: Vec<Build>,
}

/// One build, by what users call it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum BuildSelector {
    /// `builds.id`.
    Id(i64),
    /// The build of this builder with this number.
    Number(String, i64),
    /// The newest build of this builder.
    Newest(String),
}

/// A build with all that belongs to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BuildDetail {
    /// The time of this answer.
    pub(crate) now: i64,
    /// The build.
    #[serde(flatten)]
    pub(crate) build: Build,
    /// Its steps, in their order.
    pub(crate) steps: Vec<Step>,
    /// Its properties.
    pub(crate) properties: Properties,
}

/// One step of a build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Step {
    /// `steps.id`.
    pub(crate) stepid: i64,
    /// Its place within the build, from 0.
    pub(crate) number: i64,
    /// Its name.
    pub(crate) name: String,
    /// When it was started.
    pub(crate) started_at: Option<i64>,
    /// When it ended.
    pub(crate) complete_at: Option<i64>,
    /// How it ended: Buildbot's number.
    pub(crate) results: Option<i64>,
    /// How it ended, or what it does.
    pub(crate) state_string: String,
    /// Its logs.
    pub(crate) logs: Vec<Log>,
}

/// One log of a step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Log {
    /// `logs.id`.
    pub(crate) logid: i64,
    /// Its name.
    pub(crate) name: String,
    /// Its name in addresses.
    pub(crate) slug: String,
    /// How many lines it has so far.
    pub(crate) num_lines: i64,
    /// Nothing will be added.
    pub(crate) complete: bool,
}

/// What to build.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Force {
    /// Name of the force scheduler; needed when several could do it.
    #[serde(default)]
    pub(crate) scheduler: Option<String>,
    /// Names of builders; empty is all of the scheduler.
    #[serde(default)]
    pub(crate) builders: Vec<String>,
    /// Why.
    #[serde(default)]
    pub(crate) reason: Option<String>,
    /// Who asks.
    #[serde(default)]
    pub(crate) owner: Option<String>,
    /// Branch to build.
    #[serde(default)]
    pub(crate) branch: Option<String>,
    /// Commit to build.
    #[serde(default)]
    pub(crate) revision: Option<String>,
    /// Where the code lives.
    #[serde(default)]
    pub(crate) repository: Option<String>,
    /// The project it belongs to.
    #[serde(default)]
    pub(crate) project: Option<String>,
    /// Higher is sooner.
    #[serde(default)]
    pub(crate) priority: Option<i64>,
    /// Parameters of the scheduler by their full names, as text; what it has no parameter for is a property, of the type
    /// that it has as JSON.
    #[serde(default)]
    pub(crate) parameters: Vec<(String, String)>,
    /// Answer only when all builds are complete, and tell what happens until then.
    #[serde(default)]
    pub(crate) wait: bool,
}

/// A force scheduler, with the names of Buildbot's data API.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ForceScheduler {
    /// Its name.
    pub(crate) name: String,
    /// Text on its button.
    pub(crate) button_name: String,
    /// Heading of its form.
    pub(crate) label: String,
    /// Its builders.
    pub(crate) builder_names: Vec<String>,
    /// Its parameters.
    pub(crate) all_fields: Vec<Json>,
}

/// Requests that were made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Forced {
    /// `buildsets.id`.
    pub(crate) buildsetid: i64,
    /// Builder and `buildrequests.id` of each.
    pub(crate) requests: Vec<ForcedRequest>,
    /// How all of them ended, when the caller waited.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) results: Option<i64>,
}

/// One request that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ForcedRequest {
    /// Name of the builder.
    pub(crate) builder: String,
    /// `buildrequests.id`.
    pub(crate) buildrequestid: i64,
}

/// A change to report: Buildbot's fields of the same names.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewChange {
    /// Who wrote it.
    pub(crate) author: String,
    /// Who put it into the repository, where that is another person.
    #[serde(default)]
    pub(crate) committer: Option<String>,
    /// The commit message.
    #[serde(default)]
    pub(crate) comments: String,
    /// Paths of the files it touches.
    #[serde(default)]
    pub(crate) files: Vec<String>,
    /// The branch.
    #[serde(default)]
    pub(crate) branch: Option<String>,
    /// The commit.
    #[serde(default)]
    pub(crate) revision: Option<String>,
    /// A page about it.
    #[serde(default)]
    pub(crate) revlink: String,
    /// When it was made; the time of its arrival when left out.
    #[serde(default)]
    pub(crate) when_timestamp: Option<i64>,
    /// A word to filter by.
    #[serde(default)]
    pub(crate) category: Option<String>,
    /// Where the code lives.
    #[serde(default)]
    pub(crate) repository: String,
    /// The codebase it belongs to.
    #[serde(default)]
    pub(crate) codebase: String,
    /// The project it belongs to.
    #[serde(default)]
    pub(crate) project: String,
    /// Properties that builds of it get.
    #[serde(default)]
    pub(crate) properties: serde_json::Map<String, Json>,
}

/// A change that is stored.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct ChangeAdded {
    /// `changes.changeid`.
    pub(crate) changeid: i64,
}

/// Which build to stop, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BuildStop {
    /// The build.
    pub(crate) build: BuildSelector,
    /// Why.
    pub(crate) reason: String,
}

/// Which request to cancel, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestCancel {
    /// `buildrequests.id`.
    pub(crate) buildrequestid: i64,
    /// Why.
    pub(crate) reason: String,
}

/// A worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkerName {
    /// Its name.
    pub(crate) worker: String,
}

/// Which worker to pause, and why.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkerPause {
    /// Its name.
    pub(crate) worker: String,
    /// Why.
    pub(crate) reason: String,
}

/// What is to become of what is old.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prune {
    /// Nothing: it is only counted.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// How much was deleted, or would be.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Pruned {
    /// Logs whose lines are gone.
    pub(crate) logs: u64,
    /// Pieces of build data.
    pub(crate) build_data: u64,
    /// Builds.
    pub(crate) builds: u64,
    /// Changes.
    pub(crate) changes: u64,
}

/// A configuration that is in use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// What it changed, in words.
    pub(crate) changes: Vec<String>,
    /// What is probably not meant so, rendered for people; empty when there is nothing.
    pub(crate) warnings: String,
}

/// How to end the master.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shutdown {
    /// Do not wait for running builds: they are built again by the next master.
    #[serde(default)]
    pub(crate) now: bool,
}

/// Which logs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogSelector {
    /// The build.
    pub(crate) build: BuildSelector,
    /// Only those of the step with this name.
    #[serde(default)]
    pub(crate) step: Option<String>,
    /// Only those with this name.
    #[serde(default)]
    pub(crate) log: Option<String>,
    /// Go on until the build is complete.
    #[serde(default)]
    pub(crate) follow: bool,
}

/// Some lines of a log. Lines come in their order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LogText {
    /// Name of the step.
    pub(crate) step: String,
    /// Place of the step within the build.
    pub(crate) number: i64,
    /// Name of the log.
    pub(crate) log: String,
    /// Number of the first line, from 0.
    pub(crate) first_line: i64,
    /// The lines, each with where it came from.
    pub(crate) lines: Vec<Line>,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line(
    /// Where it came from.
    pub(crate) Stream,
    /// The line, without its end.
    pub(crate) String,
);

/// Where a line of a log came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stream {
    /// Standard output, or text without a stream.
    Stdout,
    /// Standard error.
    Stderr,
    /// Words of the master and the worker about the command.
    Header,
}

/// The end of a log stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LogEnd {
    /// The build as it is now.
    pub(crate) build: Build,
}

/// Something that happened to a build that was asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Progress {
    /// The requests are stored.
    Requested(Forced),
    /// A build was started.
    BuildStarted(Build),
    /// A step was started.
    StepStarted {
        /// `builds.id`.
        buildid: i64,
        /// Its name.
        name: String,
    },
    /// A step ended.
    StepFinished {
        /// `builds.id`.
        buildid: i64,
        /// Its name.
        name: String,
        /// How it ended: Buildbot's number.
        results: i64,
        /// How it ended.
        state_string: String,
    },
    /// A build ended.
    BuildFinished(Build),
}

/// A message that needs no answer: a piece of a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "method", content = "params", rename_all = "kebab-case")]
pub(crate) enum Notification {
    /// Of `log`.
    LogText(LogText),
    /// Of `force` with `wait`.
    Progress(Progress),
    /// Of `pool.decisions` with `follow`.
    Decision(Decision),
}

/// Why a request was not done: `code` and `message` of JSON-RPC's error object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// What kind of error it is.
    pub(crate) code: i32,
    /// What is wrong, for people.
    pub(crate) message: String,
}

impl Refusal {
    /// The line is not JSON.
    pub(crate) const PARSE: i32 = -32700;
    /// The message is not a request, or comes at the wrong time.
    pub(crate) const INVALID_REQUEST: i32 = -32600;
    /// There is no such method.
    pub(crate) const NO_METHOD: i32 = -32601;
    /// The parameters do not fit the method.
    pub(crate) const INVALID_PARAMS: i32 = -32602;
    /// The master failed.
    pub(crate) const INTERNAL: i32 = -32603;
    /// There is nothing of that name or number.
    pub(crate) const NOT_FOUND: i32 = 1;
    /// It cannot be done now.
    pub(crate) const TRY_AGAIN: i32 = 2;
    /// The configuration is wrong.
    pub(crate) const CONFIGURATION: i32 = 3;

    /// A refusal of this kind.
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// There is nothing of that name or number.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Self::NOT_FOUND, message)
    }
}
