//! The checked configuration, as the rest of Ganger sees it. Nothing here knows that it came from TOML.

use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use ::model::{
    Change, Flags, Pattern, Properties, Results, Timetable,
    expression::{EvaluationError, Expression},
    filter::{ChangeFilter, SourceStampFilter},
    template::{Context, RenderError, Template, is_true},
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::form::ForceScheduler;
pub use crate::renderable::{Args, Renderable};

/// A whole, consistent configuration: every name that is used exists, every value is in its range.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where relative paths start: the directory of the configuration file.
    pub base_dir: PathBuf,
    /// The master itself.
    pub master: Master,
    /// Workers that connect by themselves.
    pub workers: Vec<Arc<Worker>>,
    /// Locks by name.
    pub locks: BTreeMap<String, Lock>,
    /// Builders, in the order of the file.
    pub builders: Vec<Arc<Builder>>,
    /// Schedulers, in the order of the file.
    pub schedulers: Vec<Arc<Scheduler>>,
    /// What finds changes by itself, in the order of the file.
    pub change_sources: Vec<Arc<ChangeSource>>,
    /// What cancels old builds, in the order of the file.
    pub old_build_cancellers: Vec<Canceller>,
    /// What cancels builds beside those that have failed, in the order of the file.
    pub failing_buildset_cancellers: Vec<Canceller>,
    /// Pools, in the order of the file.
    pub pools: Vec<Arc<crate::Pool>>,
    /// What all pools together may use.
    pub pool_limits: ::model::pool::PoolLimits,
    /// What is deleted when it is old, if anything is.
    pub janitor: Option<Janitor>,
}

/// What is deleted when it is old, every day. Horizons that are `None` are for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Janitor {
    /// How long lines of logs are kept.
    pub log: Option<Duration>,
    /// How long build data is kept.
    pub build_data: Option<Duration>,
    /// How long builds are kept.
    pub build: Option<Duration>,
    /// How long changes are kept.
    pub change: Option<Duration>,
    /// The hour at which it is done, local time.
    pub hour: i8,
    /// The minute of that hour.
    pub minute: i8,
}

/// The master itself.
#[derive(Clone, Debug)]
pub struct Master {
    /// Shown to users.
    pub title: String,
    /// Where users reach the web interface; ends with a slash.
    pub url: String,
    /// Where state is kept.
    pub database: Database,
    /// The password of the role that logs in to a server, if one was given.
    pub database_password: Option<SecretString>,
    /// Where workers and clients connect.
    pub listen: Vec<Endpoint>,
    /// Where HTTP is served, if it is.
    pub web: Option<Web>,
    /// Where machines of pools ask who their workers are, if they can.
    pub enroll: Option<Enroll>,
    /// The local socket for the command line, absolute.
    pub control_socket: PathBuf,
    /// How log chunks are compressed in the database.
    pub log_compression: LogCompression,
    /// Which requests are superfluous, for builders that do not say.
    pub collapse_requests: CollapseRequests,
    /// Which worker is taken, for builders that do not say.
    pub select_next_worker: NextWorker,
    /// Which builders come first.
    pub prioritize_builders: PrioritizeBuilders,
    /// User and password that `sendchange` logs in with, when changes over PB are taken.
    pub changes: Option<(String, SecretString)>,
}

/// Where state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// One file, absolute.
    Sqlite(PathBuf),
    /// A database of a PostgreSQL server.
    Server(Server),
}

/// A database of a PostgreSQL server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Name or address, or the directory of a Unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The role to log in as.
    pub user: String,
    /// The database.
    pub database: String,
    /// A PEM file with the authorities that the server's certificate may come from, absolute; `None` is without TLS.
    pub root_certificate: Option<PathBuf>,
}

/// Where workers and clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Plain TCP. Host and port as given; port 0 takes a free one.
    Tcp {
        /// Address or name to bind.
        host: String,
        /// Port to bind.
        port: u16,
    },
    /// TLS over TCP.
    Tls {
        /// Address or name to bind.
        host: String,
        /// Port to bind.
        port: u16,
        /// PEM file with the certificate chain, absolute.
        certificate: PathBuf,
        /// PEM file with the private key, absolute.
        key: PathBuf,
    },
    /// A Unix socket, absolute.
    Unix(PathBuf),
}

/// Where HTTP is served: plain, for programs of the same machine or network, or for a proxy that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Address or name to bind.
    pub host: String,
    /// Port to bind; 0 takes a free one.
    pub port: u16,
}

/// Where machines of pools ask who their workers are: over HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enroll {
    /// Address or name to bind.
    pub host: String,
    /// Port to bind; 0 takes a free one.
    pub port: u16,
    /// PEM files with the certificate and the private key, absolute; `None`: they are made once, beside the database.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// `HOST:PORT`, as machines are told; `None` is the address that is bound.
    pub address: Option<String>,
    /// A PEM file for all regions, or a directory with `REGION.pem`, absolute, in place of what AWS has published.
    pub aws_certificates: Option<PathBuf>,
    /// The accounts on AWS that machines may be of; none is any.
    pub aws_accounts: Vec<String>,
}

/// How log chunks are compressed in the database (`logchunks.compressed`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogCompression {
    /// As it is.
    None,
    /// A zlib stream (Buildbot's `gz`): every Buildbot can read it.
    #[default]
    Gz,
    /// LZ4 block with its length in front: Buildbot reads it with its extra `lz4`.
    Lz4,
    /// Zstandard: Buildbot reads it with its extra `zstd`.
    Zstd,
}

/// A worker that connects by itself.
#[derive(Clone, Debug)]
pub struct Worker {
    /// Its name, which is also its login.
    pub name: String,
    /// What it proves to know at login. `None` lets nobody in: a local worker gets one from whoever starts it.
    pub password: Option<SecretString>,
    /// How the master runs it, if it does.
    pub local: Option<LocalWorker>,
    /// How many builds it runs at once; `None` is as many as builders let it.
    pub max_builds: Option<NonZeroU32>,
    /// How often a silent worker is asked whether it is there.
    pub keepalive_interval: Duration,
    /// Properties that its builds get.
    pub properties: Properties,
    /// Properties that its builds get unless something else sets them.
    pub default_properties: Properties,
}

/// A worker that the master runs itself, on its own machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalWorker {
    /// Its directory, absolute.
    pub directory: PathBuf,
    /// `buildbot-worker`; a bare name is looked up in the master's `PATH`.
    pub program: PathBuf,
}

/// Something that only so many builds or steps may use at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its name.
    pub name: String,
    /// How many units there are; of a lock of workers, on each that has no number of its own.
    pub max_count: u32,
    /// For whom it is one lock.
    pub scope: LockScope,
}

/// Which waiting requests a new one makes superfluous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollapseRequests {
    /// None.
    Never,
    /// Those that build the same but for newer changes, as Buildbot has it.
    Compatible,
    /// Those for which this is true of `new`, `old`, `compatible` and `builder`.
    If(Expression),
}

/// Which request of a builder is built next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextBuild {
    /// The one of the highest priority, then the oldest.
    Priority,
    /// The oldest.
    Oldest,
    /// The newest.
    Newest,
    /// The one for which this is highest, of `request`, `prop` and `builder`.
    Score(Expression),
}

/// Which worker that is free builds a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextWorker {
    /// The one with the fewest builds, then the one that has rested longest.
    LeastLoaded,
    /// The one with the most builds, so that others stay free.
    MostLoaded,
    /// The one that the builder names first.
    InOrder,
    /// The one for which this is highest, of `worker`, `request`, `prop` and `builder`.
    Score(Expression),
}

/// Which builder comes first when several want the same worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrioritizeBuilders {
    /// The one with the request of the highest priority, then the oldest.
    Priority,
    /// The one with the oldest request.
    Oldest,
    /// In this order of their names, then all others.
    Listed(Vec<String>),
    /// The one for which this is highest, of `builder` and `request`, its first.
    Score(Expression),
}

/// For whom a lock is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockScope {
    /// `MasterLock`: for all.
    Master,
    /// `WorkerLock`: for all builds on a worker; each worker has its own.
    Worker {
        /// How many units there are on a worker, by its name or that of its pool.
        max_count_for_worker: BTreeMap<String, u32>,
    },
}

/// How a build or step takes a lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockAccess {
    /// The name of the lock.
    pub lock: String,
    /// How much of it.
    pub mode: LockMode,
}

/// How much of a lock is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockMode {
    /// So many units, at least one.
    Counting(u32),
    /// All of it, whatever `maxCount` is.
    Exclusive,
}

impl Lock {
    /// How many units there are on a worker, which may belong to a pool.
    pub fn max_on(&self, worker: &str, pool: Option<&str>) -> u32 {
        match &self.scope {
            LockScope::Master => self.max_count,
            LockScope::Worker { max_count_for_worker } => {
                let own = max_count_for_worker.get(worker);
                *own.or_else(|| max_count_for_worker.get(pool?)).unwrap_or(&self.max_count)
            }
        }
    }

    /// How many units there are on that of some workers that has most.
    pub fn most(&self, workers: &[&str]) -> u32 {
        workers.iter().map(|worker| self.max_on(worker, None)).max().unwrap_or(self.max_count)
    }
}

/// A builder: what is done, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Builder {
    /// Its name.
    pub name: String,
    /// Shown to users.
    pub description: Option<String>,
    /// Words to filter by.
    pub tags: Vec<String>,
    /// Names of the workers that may build it; at least one.
    pub workers: Vec<String>,
    /// Directory on the worker, below its base directory.
    pub workerbuilddir: String,
    /// What a build has as long as it runs.
    pub locks: Vec<LockAccess>,
    /// Which of its requests a new one makes superfluous.
    pub collapse_requests: CollapseRequests,
    /// Which of its requests is built next.
    pub next_build: NextBuild,
    /// Which of its workers builds it.
    pub next_worker: NextWorker,
    /// Whether a worker may build a request, of `worker`, `request`, `prop` and `builder`.
    pub can_start_build: Option<Expression>,
    /// Environment of every command.
    pub env: Vec<(String, Renderable)>,
    /// Properties that its builds get.
    pub properties: Properties,
    /// Properties that its builds get unless something else sets them.
    pub default_properties: Properties,
    /// What a build does, in order.
    pub steps: Vec<Arc<Step>>,
    /// All secrets that any step of any builder names.
    pub secrets: Arc<Secrets>,
}

/// Secrets by name, for `%(secret:NAME)s`. `Debug` shows the names only.
#[derive(Clone, Debug, Default)]
pub struct Secrets(pub(crate) BTreeMap<String, SecretString>);

impl Secrets {
    /// The secret `name`.
    pub fn get(&self, name: &str) -> Option<&SecretString> {
        self.0.get(name)
    }

    /// All of them by name: what is to be kept out of logs.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SecretString)> {
        self.0.iter().map(|(name, secret)| (name.as_str(), secret))
    }
}

impl PartialEq for Secrets {
    fn eq(&self, other: &Self) -> bool {
        let same = |name: &String, secret: &SecretString| {
            other.0.get(name).is_some_and(|theirs| theirs.expose_secret() == secret.expose_secret())
        };
        self.0.len() == other.0.len() && self.0.iter().all(|(name, secret)| same(name, secret))
    }
}

/// One step of a builder.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Buildbot's name of its type: `ShellCommand`, `Git`, …
    pub kind: &'static str,
    /// Its name within the build; given, or its type's default.
    pub name: Renderable,
    /// Shown while it runs; given, or its type's, and empty where the type says it as it runs.
    pub description: Renderable,
    /// Shown when it is done; given, or its type's, and empty where the type says it as it runs.
    pub description_done: Renderable,
    /// Added to either description.
    pub description_suffix: Renderable,
    /// What it has as long as it runs.
    pub locks: Vec<LockAccess>,
    /// What its results do to the build.
    pub flags: StepFlags,
    /// With which results it has a say in the summary of its build; `None` is where they bear on the build's.
    pub update_build_summary_policy: Option<Vec<Results>>,
    /// Whether it is done at all: where the rendered value is false in Python, the step is SKIPPED.
    pub do_step_if: Renderable,
    /// Whether it is left out of what users see; rendered when the step is done, and its results are known.
    pub hide_step_if: Renderable,
    /// What its type takes, checked against the type's schema.
    pub args: Args,
}

/// What a step's results do to the build, each of which may depend on the build.
#[derive(Clone, Debug, PartialEq)]
pub struct StepFlags {
    /// The step is done even after another one ended the build.
    pub always_run: Renderable,
    /// FAILURE makes the build FAILURE.
    pub flunk_on_failure: Renderable,
    /// WARNINGS makes the build FAILURE.
    pub flunk_on_warnings: Renderable,
    /// FAILURE ends the build.
    pub halt_on_failure: Renderable,
    /// FAILURE makes the build WARNINGS.
    pub warn_on_failure: Renderable,
    /// WARNINGS makes the build WARNINGS.
    pub warn_on_warnings: Renderable,
}

impl From<Flags> for StepFlags {
    fn from(flags: Flags) -> Self {
        Self {
            always_run: Renderable::Bool(flags.always_run),
            flunk_on_failure: Renderable::Bool(flags.flunk_on_failure),
            flunk_on_warnings: Renderable::Bool(flags.flunk_on_warnings),
            halt_on_failure: Renderable::Bool(flags.halt_on_failure),
            warn_on_failure: Renderable::Bool(flags.warn_on_failure),
            warn_on_warnings: Renderable::Bool(flags.warn_on_warnings),
        }
    }
}

impl StepFlags {
    /// The flags for one build.
    ///
    /// # Errors
    ///
    /// As [`Renderable::render`] says.
    pub fn render(&self, context: &dyn Context) -> Result<Flags, RenderError> {
        let truth = |flag: &Renderable| flag.render(context).map(|value| is_true(&value));
        Ok(Flags {
            always_run: truth(&self.always_run)?,
            flunk_on_failure: truth(&self.flunk_on_failure)?,
            flunk_on_warnings: truth(&self.flunk_on_warnings)?,
            halt_on_failure: truth(&self.halt_on_failure)?,
            warn_on_failure: truth(&self.warn_on_failure)?,
            warn_on_warnings: truth(&self.warn_on_warnings)?,
        })
    }
}

/// What finds changes by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeSource {
    /// `GitPoller`: looks at a git repository again and again.
    GitPoller(Arc<GitPoller>),
}

impl ChangeSource {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::GitPoller(poller) => &poller.name,
        }
    }
}

/// Looks at a git repository again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct GitPoller {
    /// Its name, which what it remembers is kept under.
    pub name: String,
    /// The repository.
    pub repourl: String,
    /// Which branches.
    pub branches: Branches,
    /// The bare repository that it fetches into, absolute.
    pub workdir: PathBuf,
    /// Git.
    pub gitbin: PathBuf,
    /// How long a git may run.
    pub git_timeout: Duration,
    /// The time from one look to the next.
    pub poll_interval: Duration,
    /// Whether it looks at once when the master starts.
    pub poll_at_launch: bool,
    /// Each look is later by something between these.
    pub poll_random_delay: (Duration, Duration),
    /// Whether a branch that moves to a known commit is a change.
    pub build_pushes_with_no_commits: bool,
    /// Whether changes were made when their commits were.
    pub use_timestamps: bool,
    /// The project of its changes.
    pub project: String,
    /// The codebase of its changes.
    pub codebase: String,
    /// The category of its changes.
    pub category: Category,
    /// What ssh is let in with; `None` is what the user that runs the master has.
    pub ssh: Option<Ssh>,
    /// Secrets for that.
    pub secrets: Arc<Secrets>,
}

/// Which branches of a repository.
#[derive(Clone, Debug, PartialEq)]
pub enum Branches {
    /// The default branch.
    Head,
    /// These.
    Named(Vec<String>),
    /// All.
    All,
    /// No branch, but all tags.
    Tags,
    /// Branches, tags and whatever else there is for which this is true, over `ref`.
    Where(Expression),
}

/// The category of changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Category {
    /// None.
    None,
    /// Always the same.
    Fixed(String),
    /// Decided for each, over `change`.
    Expression(Expression),
}

/// What ssh is let in with. In each is what secrets it is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Ssh {
    /// The private key.
    pub private_key: Template,
    /// The key of the host.
    pub host_key: Option<Template>,
    /// Lines for `known_hosts`.
    pub known_hosts: Option<Template>,
}

/// Cancels what is of no use any more: an `OldBuildCanceller`, or a `FailingBuildsetCanceller`.
#[derive(Clone, Debug, PartialEq)]
pub struct Canceller {
    /// Its name.
    pub name: String,
    /// Any of which may mean a build.
    pub filters: Vec<Arc<CancelFilter>>,
}

/// What a canceller looks at.
#[derive(Clone, Debug, PartialEq)]
pub struct CancelFilter {
    /// Builds of these builders,
    pub builders: Vec<String>,
    /// of these source stamps.
    pub filter: SourceStampFilter,
    /// Of which builders a failure of those cancels builds; `None` is of all.
    pub builders_to_cancel: Option<Vec<String>>,
}

/// Decides when to build what.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduler {
    /// Its name.
    pub name: String,
    /// Builders that it asks to build; at least one.
    pub builder_names: Vec<String>,
    /// Properties that its builds get, rendered when they are asked for. There are no secrets in them.
    pub properties: Vec<(String, Renderable)>,
    /// Priority of its requests; higher is sooner.
    pub priority: Priority,
    /// Codebases of its builds; at least one, the one of the empty name unless told otherwise. A force scheduler has its
    /// own.
    pub codebases: Vec<Codebase>,
    /// What makes it act.
    pub kind: SchedulerKind,
}

/// The priority of requests; higher is sooner.
#[derive(Clone, Debug, PartialEq)]
pub enum Priority {
    /// Always the same.
    Fixed(i64),
    /// Decided when the builds are asked for, over `builderNames` and `changes`.
    Expression(Expression),
}

/// One codebase of a scheduler's builds, with what is built when nothing says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codebase {
    /// Its name; empty where there is only one.
    pub name: String,
    /// Where the code lives.
    pub repository: String,
    /// The branch to build.
    pub branch: Option<String>,
    /// The commit to build.
    pub revision: Option<String>,
}

/// What makes a scheduler act.
#[derive(Clone, Debug, PartialEq)]
pub enum SchedulerKind {
    /// `AnyBranchScheduler`: a change on any branch, after that branch was quiet for a while.
    AnyBranch(Basic),
    /// `SingleBranchScheduler`: a change on one branch, after that was quiet for a while.
    SingleBranch(Basic),
    /// `Dependent`: builds of another scheduler have succeeded.
    Dependent {
        /// The other scheduler.
        upstream: String,
    },
    /// `ForceScheduler`: somebody asks.
    Force(Box<ForceScheduler>),
    /// `Nightly`: times by the clock.
    Nightly(Timed),
    /// `NightlyTriggerable`: times by the clock, when a build has triggered it since the last one.
    NightlyTriggerable(Timed),
    /// `Periodic`: again and again.
    Periodic(Timed),
    /// `Triggerable`: a build triggers it.
    Triggerable {
        /// Reason of its builds; `None` is Buildbot's.
        reason: Option<String>,
    },
}

impl SchedulerKind {
    /// Buildbot's name of its class.
    pub fn class(&self) -> &'static str {
        match self {
            Self::AnyBranch(_) => "AnyBranchScheduler",
            Self::SingleBranch(_) => "SingleBranchScheduler",
            Self::Dependent { .. } => "Dependent",
            Self::Force(_) => "ForceScheduler",
            Self::Nightly(_) => "Nightly",
            Self::NightlyTriggerable(_) => "NightlyTriggerable",
            Self::Periodic(_) => "Periodic",
            Self::Triggerable { .. } => "Triggerable",
        }
    }

    /// By what time it acts, if it does.
    pub fn timed(&self) -> Option<&Timed> {
        match self {
            Self::Nightly(timed) | Self::NightlyTriggerable(timed) | Self::Periodic(timed) => Some(timed),
            _ => None,
        }
    }

    /// Whether builds can trigger it.
    pub fn is_triggerable(&self) -> bool {
        matches!(self, Self::NightlyTriggerable(_) | Self::Triggerable { .. })
    }

    /// Whether codebases without a change are built as their last change left them.
    pub fn creates_absolute_source_stamps(&self) -> bool {
        match self {
            Self::AnyBranch(basic) | Self::SingleBranch(basic) => basic.create_absolute_source_stamps,
            other => other.timed().is_some_and(|timed| timed.create_absolute_source_stamps),
        }
    }

    /// Which changes it looks at; `None` when it looks at none.
    pub fn interest(&self) -> Option<&Interest> {
        match self {
            Self::AnyBranch(basic) | Self::SingleBranch(basic) => Some(&basic.interest),
            other => other
                .timed()
                .filter(|timed| timed.only_if_changed || timed.create_absolute_source_stamps)
                .map(|timed| &timed.interest),
        }
    }
}

/// What builds by the clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// When.
    pub clockwork: Clockwork,
    /// When it builds although nothing important has changed.
    pub force_at: Option<Timetable>,
    /// Which changes it builds, if it looks at any.
    pub interest: Interest,
    /// Whether it builds only what has changed.
    pub only_if_changed: bool,
    /// Codebases without a change are built as their last change left them.
    pub create_absolute_source_stamps: bool,
    /// Reason of its builds.
    pub reason: String,
}

/// When something is done.
#[derive(Clone, Debug, PartialEq)]
pub enum Clockwork {
    /// So long after the last time; at once for the first time.
    Every(Duration),
    /// At these minutes.
    At(Timetable),
}

/// What builds changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Basic {
    /// Which changes.
    pub interest: Interest,
    /// How long no further change may come before it builds; `None` builds each change at once.
    pub tree_stable_timer: Option<Duration>,
    /// Reason of its builds.
    pub reason: String,
    /// Codebases without a change are built as their last change left them.
    pub create_absolute_source_stamps: bool,
}

/// Which changes a scheduler looks at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interest {
    /// Only those that pass.
    pub filter: ChangeFilter,
    /// Which of them are reason enough to build; `None` is all.
    pub file_is_important: Option<Importance>,
    /// Whether the others are left out.
    pub only_important: bool,
}

impl Interest {
    /// Whether a change that passed the filter is reason enough to build; `None` when it is to be left out.
    ///
    /// # Errors
    ///
    /// If the expression has no value. Buildbot leaves such a change out.
    pub fn importance(&self, change: &Change) -> Result<Option<bool>, EvaluationError> {
        let important = match &self.file_is_important {
            None => true,
            Some(Importance::Files(patterns)) => {
                change.files.iter().any(|file| patterns.iter().any(|pattern| pattern.begins(file)))
            }
            Some(Importance::Expression(expression)) => {
                expression.is_true(&::model::filter::scope(change))?
            }
        };
        Ok((important || !self.only_important).then_some(important))
    }
}

/// What makes a change reason enough to build.
#[derive(Clone, Debug, PartialEq)]
pub enum Importance {
    /// It touches a file whose path begins with one of these.
    Files(Vec<Pattern>),
    /// This is true, over `change`.
    Expression(Expression),
}
