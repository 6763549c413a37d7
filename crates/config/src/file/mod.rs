//! The front end that fills the model from `ganger.toml`.
//!
//! It walks the spanned document by hand: a reader that derives from types stops at the first mistake, this one finds
//! all of them.

mod builder;
mod canceller;
mod change_source;
mod choice;
mod database;
mod endpoint;
mod janitor;
mod lock;
mod master;
mod pool;
mod scheduler;
mod secret;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    io::Read as _,
    path::{Path, absolute},
    sync::Arc,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    diagnostic::{ConfigErrors, Diagnostics, Sink, Span},
    model::{Canceller, Config, Worker},
    nearest::nearest,
    pool::Pool,
    schema::{Key, Kind},
    table::{Keys, Table},
    value::{Reading, Value},
};

/// The largest file that is read.
const MAX_SIZE: u64 = 64 << 20;

/// What the master is to start.
#[derive(Clone, Copy, Debug)]
pub enum Startable<'a> {
    /// The machines of a pool.
    Pool(&'a Pool),
    /// A local worker.
    Worker(&'a Worker),
}

/// What stands against what is to be started where it is to run.
#[derive(Clone, Debug)]
pub struct StartProblem {
    /// The key that says it, of the pool or of where its machines come from, or of the worker.
    pub key: Option<&'static str>,
    /// What is wrong, and in which pool or worker.
    pub message: String,
}

/// Says what stands against something that is to be started.
type Look<'a> = &'a dyn Fn(&Config, Startable<'_>) -> Vec<StartProblem>;

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// What probably is not meant so.
    pub warnings: Diagnostics,
}

const KEYS: Keys = Keys {
    what: "the configuration",
    groups: &[&[
        Key::new("master", Kind::Tables("[master]"), "the master itself"),
        Key::new("worker", Kind::Tables("[[worker]]"), "workers that connect by themselves"),
        Key::new("pool", Kind::Tables("[[pool]]"), "workers that are started and ended by demand"),
        Key::new(
            "secrets",
            Kind::Tables("[secrets]"),
            "where secrets are that are not in `secrets-directory`",
        ),
        Key::new("pool-limits", Kind::Tables("[pool-limits]"), "what all pools together may use"),
        Key::new("lock", Kind::Tables("[[lock]]"), "what only so many builds or steps may use at once"),
        Key::new("builder", Kind::Tables("[[builder]]"), "what is built, and where"),
        Key::new("scheduler", Kind::Tables("[[scheduler]]"), "when something is built"),
        Key::new(
            "old-build-canceller",
            Kind::Tables("[[old-build-canceller]]"),
            "what is cancelled when something newer is to be built",
        ),
        Key::new(
            "failing-buildset-canceller",
            Kind::Tables("[[failing-buildset-canceller]]"),
            "what is cancelled when something else has failed",
        ),
        Key::new("change-source", Kind::Tables("[[change-source]]"), "what finds changes by itself"),
        Key::new("janitor", Kind::Tables("[janitor]"), "what is deleted when it is old"),
    ]],
    hints: &[
        ("workers", "each worker is a `[[worker]]`"),
        ("pools", "each pool is a `[[pool]]`; what they share is in `[pool-limits]`"),
        ("locks", "each lock is a `[[lock]]`"),
        ("builders", "each builder is a `[[builder]]`"),
        ("schedulers", "each scheduler is a `[[scheduler]]`"),
        (
            "services",
            "cancellers are an `[[old-build-canceller]]` or a `[[failing-buildset-canceller]]` each, a `JanitorConfigurator` is `[janitor]`",
        ),
        ("change_source", "each is a `[[change-source]]`"),
        ("change-sources", "each is a `[[change-source]]`"),
        ("title", "it belongs into `[master]`"),
        ("buildbotURL", "it is `url` in `[master]`"),
        ("protocols", "it is `listen` in `[master]`"),
        ("db", "it is `database` in `[master]`"),
    ],
};

pub(crate) use self::lock::LOCKS;

/// All tables with a heading and a word on each, for the reference.
pub(crate) const TABLES: &[(&str, &str, Keys)] = &[
    ("`[master]`", "", master::KEYS),
    (
        "Endpoints",
        "An entry of `listen` is `\"tcp:PORT\"`, `\"tcp:HOST:PORT\"`, `\"tls:PORT:cert=FILE:key=FILE\"`, \
         `\"tls:HOST:PORT:cert=FILE:key=FILE\"`, `\"unix:FILE\"`, or a table. An IPv6 address stands in brackets.",
        endpoint::TABLE,
    ),
    ("`[[worker]]`", "One of `password`, `password-file` and `password-env` is required.", worker::WORKER),
    (
        "`[[worker]]` of type `LocalWorker`",
        "A worker that the master runs itself: see [workers.md](workers.md#a-worker-beside-the-master).",
        worker::LOCAL,
    ),
    (
        "`[[pool]]`",
        "Machines that are started and ended by demand: [pools.md](pools.md). Money is in any one currency.",
        pool::KEYS,
    ),
    (
        "`[[pool.class]]`",
        "Left out, there are two: `normal` with the pool's `lambda`, and `high` from priority 10 on with a λ of at least 20.",
        pool::CLASS,
    ),
    ("`[[pool.schedule]]`", "Of several that are on, the last one counts.", pool::SCHEDULE),
    ("`[pool.budget]`", "Nothing is started that could exceed it.", pool::BUDGET),
    ("`[pool.stopped]`", "Only where the provider can stop machines.", pool::STOPPED),
    (
        "`[pool.docker]`",
        "Containers: [docker.md](docker.md). From `network_mode` on these are keys of `hostconfig`.",
        pool::DOCKER,
    ),
    ("`[pool.docker.tls]`", "", pool::TLS),
    (
        "`[pool.ec2]`",
        "Machines on EC2: [ec2.md](ec2.md). What the keys of a place say holds for each `[[pool.ec2.placement]]` that does not \
         say otherwise; without one they are the only place.",
        pool::EC2,
    ),
    ("`[[pool.ec2.placement]]`", "", pool::PLACEMENT),
    ("`[[pool.ec2.type]]`", "", pool::TYPE),
    ("`[pool.ec2.requirements]`", "", pool::REQUIREMENTS),
    ("`[[pool.ec2.block-device]]`", "", pool::BLOCK_DEVICE),
    ("`[[pool.ec2.volume]]`", "", pool::VOLUME),
    ("`[pool.local]`", "", pool::LOCAL),
    ("`[pool.local.trouble]`", "For demonstrations and tests.", pool::TROUBLE),
    ("`[pool-limits]`", "", pool::LIMITS),
    (
        "An entry of `[secrets]`",
        "Its key is the name of the secret; it has one of these: `token = { env = \"DEPLOY_TOKEN\" }`. See [secrets.md](secrets.md).",
        secret::SOURCE,
    ),
    (
        "`[janitor]`",
        "What is deleted when it is old, every day: Buildbot's `JanitorConfigurator`, and builds and changes besides. See \
         [storage](storage.md).",
        janitor::KEYS,
    ),
    ("`[[lock]]`", "Who takes it says so in its `locks`: [locks.md](locks.md).", lock::KEYS),
    (
        "An access to a lock",
        "An entry of `locks` is the name of a lock, of which one unit is taken, or a table.",
        lock::ACCESS,
    ),
    ("`[[builder]]`", "", builder::KEYS),
    (
        "`[builder.clean-workspace]`",
        "Without a condition, always; with several, if one of them holds. See [steps.md](steps.md#clean-workspaces).",
        crate::steps::CLEAN_WORKSPACE,
    ),
    ("`[[scheduler]]` of type `AnyBranchScheduler`", "Builds changes on any branch.", scheduler::ANY_BRANCH),
    (
        "`[[scheduler]]` of type `SingleBranchScheduler`",
        "Builds changes on one branch.",
        scheduler::SINGLE_BRANCH,
    ),
    (
        "`[[scheduler]]` of type `Dependent`",
        "Builds what another scheduler has built with success.",
        scheduler::DEPENDENT,
    ),
    (
        "`[[scheduler]]` of type `Nightly`",
        "Builds at times of the clock. A field is a number, a list of numbers, or text as in cron; of `dayOfMonth` and `dayOfWeek`, \
         where both are given, a day of either counts.",
        scheduler::timed::NIGHTLY,
    ),
    (
        "`[[scheduler]]` of type `NightlyTriggerable`",
        "As `Nightly`, but only when it was triggered since the last time.",
        scheduler::timed::NIGHTLY_TRIGGERABLE,
    ),
    ("`[[scheduler]]` of type `Periodic`", "Builds again and again.", scheduler::timed::PERIODIC),
    ("`[[scheduler]]` of type `Triggerable`", "Builds when a step `Trigger` asks.", scheduler::TRIGGERABLE),
    ("`[[scheduler]]` of type `ForceScheduler`", "Builds when somebody asks.", scheduler::force::FORCE),
    (
        "A CodebaseParameter",
        "An entry of `codebases` of a `ForceScheduler`: see [schedulers.md](schedulers.md#when-somebody-asks).",
        scheduler::force::CODEBASE,
    ),
    (
        "A parameter",
        "An entry of `properties` of a `ForceScheduler`, and wherever one parameter is asked for. Which keys it has depends on its type.",
        scheduler::parameter::PARAMETER,
    ),
    (
        "`[[old-build-canceller]]`",
        "Buildbot's `OldBuildCanceller`: see [builders.md](builders.md#builds-that-are-of-no-use-any-more).",
        canceller::OLD,
    ),
    ("A filter of an OldBuildCanceller", "", canceller::OLD_FILTER),
    (
        "`[[failing-buildset-canceller]]`",
        "Buildbot's `FailingBuildsetCanceller`: see [builders.md](builders.md#builds-that-are-of-no-use-any-more).",
        canceller::FAILING,
    ),
    ("A filter of a FailingBuildsetCanceller", "", canceller::FAILING_FILTER),
    ("A source stamp filter", "All conditions have to hold.", canceller::SOURCE_STAMP_FILTER),
    (
        "`[[change-source]]` of type `GitPoller`",
        "Looks at a git repository again and again: [change-sources.md](change-sources.md).",
        change_source::GIT_POLLER,
    ),
    ("A codebase of a scheduler", "", scheduler::CODEBASE),
    (
        "A change filter",
        "`change_filter` of a scheduler. All conditions have to hold. Regular expressions are Python's, and begin where the \
         value begins.",
        scheduler::filter::FILTER,
    ),
];

/// Reads a configuration file. Relative paths in it start at its directory.
///
/// # Errors
///
/// When it cannot be read, or has errors: all of them.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    load_with(path, &|_, _| Vec::new())
}

/// Reads a configuration file as [`load`] does, and reports what `look` finds about its pools among what is wrong. It is
/// asked about each of them.
///
/// # Errors
///
/// When the file cannot be read, or has errors: all of them.
pub fn load_with(
    path: &Path,
    look: &dyn Fn(&Config, Startable<'_>) -> Vec<StartProblem>,
) -> Result<Loaded, ConfigErrors> {
    let name = path.display().to_string();
    let unreadable =
        |error: std::io::Error| ConfigErrors::of_file(&name, format!("cannot read {name}: {error}"));
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let readable_by_others = secret::is_readable_by_others(&file);
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(ConfigErrors::of_file(&name, format!("{name} is larger than {} MiB", MAX_SIZE >> 20)));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|b| **b == b'\n').count();
        ConfigErrors::of_file(&name, format!("{name} is not UTF-8, first in line {}", line + 1))
    })?;
    let absolute = absolute(path).map_err(unreadable)?;
    let base_dir = absolute.parent().unwrap_or_else(|| Path::new("/"));
    read(&text, &name, base_dir, readable_by_others, look)
}

/// Reads a configuration from `text`; `file` is what messages call it, and relative paths start at `base_dir`, which is
/// absolute.
///
/// # Errors
///
/// When it has errors: all of them.
pub fn parse(text: &str, file: &str, base_dir: &Path) -> Result<Loaded, ConfigErrors> {
    read(text, file, base_dir, false, &|_, _| Vec::new())
}

fn read(
    text: &str,
    file: &str,
    base_dir: &Path,
    readable_by_others: bool,
    look: Look<'_>,
) -> Result<Loaded, ConfigErrors> {
    let reading = Reading {
        sink: Sink::new(file, text),
        base_dir,
        secrets: RefCell::default(),
        triggered: RefCell::default(),
        readable_by_others,
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut config = None;
    if errors.is_empty() {
        let span = document.span();
        let root = Spanned::new(span, DeValue::Table(document.into_inner()));
        config = whole(&reading, &root, look);
    }
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let start = text.floor_char_boundary(span.start.min(text.len()));
        let end = text.floor_char_boundary(span.end.min(text.len())).max(start);
        reading.sink.error(start..end, format!("not TOML: {}", error.message().replace('\n', ", ")));
    }
    let (errors, warnings) = reading.sink.finish();
    match config {
        Some(config) if errors.is_empty() => Ok(Loaded { config, warnings }),
        _ => Err(ConfigErrors { errors, warnings }),
    }
}

fn whole<'a>(reading: &'a Reading<'a>, root: &'a Spanned<DeValue<'a>>, look: Look<'_>) -> Option<Config> {
    let table = Table::of(Value::new(reading, root, false), KEYS)?;
    let (master, secrets_directory) = master::read(reading, table.value("master"));

    let mut workers: Vec<(Arc<Worker>, Span)> = Vec::new();
    let mut worker_tables = Vec::new();
    let mut names = Names::new("worker");
    for value in table.tables("worker") {
        let read = worker::read(value, &mut names);
        worker_tables.extend(read.as_ref().map(|_| value));
        workers.extend(read.map(|worker| (Arc::new(worker), crate::table::head(reading, value.span()))));
    }

    worker::check_local(reading, master.as_ref(), &workers);

    let mut pools = Vec::new();
    for value in table.tables("pool") {
        pools.extend(pool::read(value, &mut names).map(|pool| (Arc::new(pool), value)));
    }
    pool::check_slots(reading, &pools, &workers);
    pool::check_queues(reading, &pools);
    let pool_limits = pool::limits(table.value("pool-limits"));

    let locks = lock::read_all(&table, &names);
    let mut builders = Vec::new();
    let mut builder_names = Names::new("builder");
    let mut directories = builder::Directories::default();
    for value in table.tables("builder") {
        builders.extend(builder::read(
            value,
            master.as_ref(),
            &names,
            &locks,
            &mut builder_names,
            &mut directories,
        ));
    }

    choice::check_builders(table.value("master"), &builder_names);
    pool::check_starts(&pools, &pool_limits, &builders);

    let mut schedulers = Vec::new();
    let mut scheduler_names = Names::new("scheduler");
    for value in table.tables("scheduler") {
        let read = scheduler::read(value, &builder_names, &mut scheduler_names);
        schedulers.extend(read.map(|scheduler| (Arc::new(scheduler), value)));
    }
    scheduler::check(reading, &schedulers, &reading.triggered.borrow());

    let mut change_sources = Vec::new();
    let mut source_names = Names::new("change source");
    for value in table.tables("change-source") {
        change_sources.extend(change_source::read(value, &mut source_names));
    }

    let mut canceller_names = Names::new("canceller");
    let mut cancellers = |key, keys| -> Vec<Canceller> {
        let all = table.tables(key).into_iter();
        all.filter_map(|value| canceller::read(value, keys, &builder_names, &mut canceller_names)).collect()
    };
    let old_build_cancellers = cancellers("old-build-canceller", (canceller::OLD, canceller::OLD_FILTER));
    let failing_buildset_cancellers =
        cancellers("failing-buildset-canceller", (canceller::FAILING, canceller::FAILING_FILTER));

    let sources = secret::sources(table.value("secrets"));
    let secrets = Arc::new(secret::read_all(reading, secrets_directory.as_deref(), &sources));
    for builder in &mut builders {
        builder.secrets = Arc::clone(&secrets);
    }
    let (pools, tables): (Vec<_>, Vec<_>) = pools.into_iter().unzip();
    let config = Config {
        base_dir: reading.base_dir.to_owned(),
        master: master?,
        workers: workers.into_iter().map(|(worker, _)| worker).collect(),
        locks: locks.into_all(),
        builders: builders.into_iter().map(Arc::new).collect(),
        change_sources: change_source::finish(change_sources, &secrets),
        schedulers: schedulers.into_iter().map(|(scheduler, _)| scheduler).collect(),
        old_build_cancellers,
        failing_buildset_cancellers,
        pools,
        pool_limits,
        janitor: janitor::read(table.value("janitor")),
    };
    for (pool, table) in config.pools.iter().zip(tables) {
        for problem in look(&config, Startable::Pool(pool)) {
            pool::report(&table, problem);
        }
    }
    for (worker, table) in
        config.workers.iter().zip(worker_tables).filter(|(worker, _)| worker.local.is_some())
    {
        for problem in look(&config, Startable::Worker(worker)) {
            pool::report(&table, problem);
        }
    }
    Some(config)
}

/// Names that are given once and used elsewhere.
struct Names<'a> {
    what: &'static str,
    places: HashMap<&'a str, Span>,
}

impl<'a> Names<'a> {
    fn new(what: &'static str) -> Self {
        Self { what, places: HashMap::new() }
    }

    /// Takes a name; reports it where it is taken already.
    fn add(&mut self, reading: &Reading<'_>, name: &'a str, span: Span) {
        if let Some(first) = self.places.get(name) {
            reading
                .sink
                .error(span, format!("there are two {}s of the name {name:?}", self.what))
                .related(first.clone(), "the first one");
        } else {
            self.places.insert(name, span);
        }
    }

    /// Reports a name that nothing has.
    fn check_one(&self, reading: &Reading<'_>, name: &str, span: &Span) {
        if self.places.contains_key(name) {
            return;
        }
        let help = match nearest(name, self.places.keys().copied()) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None if self.places.is_empty() => format!("there is no `[[{}]]` at all", self.what),
            None => format!("`name` of a `[[{}]]` is meant", self.what),
        };
        reading.sink.error(span.clone(), format!("there is no {} {name:?}", self.what)).help(help);
    }

    /// Reports names that nothing has, names given twice, and a list without names.
    fn check(&self, table: &Table<'_>, key: &str, used: &[(&str, Span)]) {
        let reading = table.reading();
        let mut seen: BTreeMap<&str, &Span> = BTreeMap::new();
        for (name, span) in used {
            if let Some(first) = seen.insert(name, span) {
                reading
                    .sink
                    .error(span.clone(), format!("{name:?} is named twice"))
                    .related(first.clone(), "first here");
            } else {
                self.check_one(reading, name, span);
            }
        }
        if used.is_empty()
            && let Some(value) = table.value(key)
            && value.get().as_array().is_some_and(|array| array.is_empty())
        {
            value.error(format!("`{key}` is empty: at least one {} is needed", self.what));
        }
    }
}
