//! What is simulated: from the command line, a trace or a history, and configurations.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    num::NonZeroU32,
    path::Path,
    sync::Arc,
    time::Duration,
};

use model::pool::{Idle, Money, PoolLimits, PoolSpec, Warm};
use pools::sim::{self, Boot, Builder, Choice, CloudSpec, HIGH, Job, Setting, Workload};

use super::Simulate;
use crate::{
    commands::CONFIGURATION,
    exit::{Exit, Failure},
};

/// The pool's name when no configuration gives one.
const POOL: &str = "pool";

/// Everything that was given, read.
#[derive(Debug)]
pub(super) struct Given {
    /// What is to be built.
    pub(super) workload: Workload,
    /// Whether the demand has priorities of its own.
    has_priorities: bool,
    /// How long machines took to boot, by the history: the pool and the time.
    boots: Vec<(Arc<str>, Duration)>,
    base: Base,
}

/// A configuration to run.
#[derive(Clone, Debug)]
pub(super) struct Variant {
    /// For people.
    pub(super) name: String,
    /// Whose rule decides; `None` is ours.
    pub(super) rule: Option<Choice>,
    /// What is run.
    pub(super) setting: Setting,
    /// What all pools together may use.
    pub(super) limits: PoolLimits,
}

/// A pool, from a configuration or from options.
#[derive(Clone, Debug)]
struct Base {
    spec: PoolSpec,
    price: Option<Money>,
    limits: PoolLimits,
    /// Builders that the configuration has for this pool.
    builders: Option<Vec<String>>,
}

impl Variant {
    /// λ of jobs that are not urgent.
    pub(super) fn lambda(&self) -> f64 {
        self.setting.pools[0].classes.first().map_or(1.0, |class| class.lambda)
    }
}

impl Given {
    /// Reads all files.
    pub(super) fn read(options: &Simulate) -> Result<Self, Failure> {
        let base = Base::of(options)?;
        let mut given = match (&options.demand.trace, &options.demand.history) {
            (Some(trace), _) => Self::from_trace(trace, base)?,
            (None, Some(history)) => Self::from_history(history, options.demand.days, base)?,
            (None, None) => return Err(Failure::text(Exit::Usage, "give a --trace or a --history")),
        };
        given.keep_builders_of_pool();
        if given.workload.jobs.is_empty() {
            let advice = "builders are left out that do not name the pool in their `workers`";
            return Err(
                Failure::text(Exit::NotFound, "there is nothing to build for this pool").advise(advice)
            );
        }
        Ok(given)
    }

    fn from_trace(path: &Path, base: Base) -> Result<Self, Failure> {
        let trace = sim::read_trace(open(path)?, &base.spec.name)
            .map_err(|error| Failure::new(Exit::Usage, error).context_of(path))?;
        Ok(Self { workload: trace.workload, has_priorities: trace.has_priorities, boots: Vec::new(), base })
    }

    fn from_history(path: &Path, days: Option<f64>, base: Base) -> Result<Self, Failure> {
        let database = if path.is_dir() { path.join("state.sqlite") } else { path.to_owned() };
        if !database.exists() {
            return Err(Failure::text(Exit::NotFound, format!("there is no {}", database.display())));
        }
        let mut history =
            storage::history(&database, None).map_err(|error| Failure::new(Exit::Usage, error))?;
        if let (Some(days), Some(last)) = (days, history.builds.last().map(|build| build.submitted_at)) {
            let since = last - Duration::from_secs_f64(days * 86400.0);
            history.builds.retain(|build| build.submitted_at >= since);
        }
        let mut workload = Workload::default();
        for build in &history.builds {
            let known = workload.builders.iter().position(|builder| builder.name == build.builder);
            let builder = known.unwrap_or_else(|| {
                workload.builders.push(Builder::new(&build.builder, &base.spec.name));
                workload.builders.len() - 1
            });
            let (arrival, duration) = (build.submitted_at, build.duration);
            workload.jobs.push(Job { arrival, duration, builder, priority: build.priority });
        }
        workload.jobs.sort_by_key(|job| job.arrival);
        let has_priorities = workload.jobs.iter().any(|job| job.priority != 0);
        Ok(Self { workload, has_priorities, boots: history.boots, base })
    }

    /// Leaves out what the configuration has other workers for. A configuration that knows none of the builders says
    /// nothing about them.
    fn keep_builders_of_pool(&mut self) {
        let Some(names) = &self.base.builders else { return };
        let of_pool: Vec<bool> = self
            .workload
            .builders
            .iter()
            .map(|builder| names.iter().any(|name| **name == *builder.name))
            .collect();
        if of_pool.contains(&true) {
            self.workload.jobs.retain(|job| of_pool[job.builder]);
        }
    }

    /// Everything to run, in order.
    pub(super) fn variants(&self, options: &Simulate) -> Result<Vec<Variant>, Failure> {
        let mut variants = Vec::new();
        if options.frontier {
            for lambda in &options.lambdas {
                let mut base = self.base.clone();
                set_lambda(&mut base.spec, *lambda);
                variants.push(self.variant(format!("λ = {lambda}"), base, options));
            }
        } else {
            variants.push(self.variant(format!("pool {}", self.base.spec.name), self.base.clone(), options));
        }
        for other in &options.compare {
            variants.push(self.variant(other.clone(), self.base.altered(other, options)?, options));
        }
        let all = options.policy.iter().any(|name| name == "all");
        for choice in Choice::ALL {
            if all || options.policy.iter().any(|name| name == choice.name()) {
                let mut variant = self.variant(choice.name().to_owned(), self.base.clone(), options);
                variant.rule = Some(choice);
                variants.push(variant);
            }
        }
        Ok(variants)
    }

    fn variant(&self, name: String, base: Base, options: &Simulate) -> Variant {
        let mut workload = self.workload.clone();
        for builder in &mut workload.builders {
            builder.pools = vec![base.spec.name.as_str().into()];
        }
        if !self.has_priorities {
            let priority = base.spec.classes.last().map_or(HIGH, |class| class.from);
            workload.mark_high(options.demand.high_share, priority.max(1), options.demand.seed);
        }
        let mut cloud = CloudSpec { hang: options.cloud.boot_fail, ..CloudSpec::default() };
        cloud.boot = self.boot(&base.spec.name, options);
        let price = options.cloud.price.map(Money::from_units).or(base.price);
        for offering in &mut cloud.offerings {
            offering.price = price.unwrap_or(offering.price);
        }
        let setting =
            Setting { clouds: vec![cloud], ..sim::setting(base.spec, workload, options.demand.seed) };
        Variant { name, rule: None, setting, limits: base.limits }
    }

    fn boot(&self, pool: &str, options: &Simulate) -> Boot {
        // Options that describe no pool of the history are about any.
        let of_pool = |name: &str| options.pool.config.is_none() || name == pool;
        let seen: Vec<Duration> =
            self.boots.iter().filter(|(name, _)| of_pool(name)).map(|(_, took)| *took).collect();
        if options.cloud.boot_median.is_none() && options.cloud.boot_sigma.is_none() && seen.len() >= 5 {
            return Boot::Samples(seen);
        }
        Boot::LogNormal {
            median: Duration::from_secs_f64(options.cloud.boot_median.unwrap_or(120.0)),
            sigma: options.cloud.boot_sigma.unwrap_or(0.35),
        }
    }
}

impl Base {
    fn of(options: &Simulate) -> Result<Self, Failure> {
        let mut base = match &options.pool.config {
            Some(file) => Self::load(file, options.pool.pool.as_deref())?,
            None => Self {
                spec: sim::pool(options.pool.pool.as_deref().unwrap_or(POOL), 3000),
                price: None,
                limits: PoolLimits::default(),
                builders: None,
            },
        };
        if let Some(max) = options.pool.max {
            base.spec.max = max;
        }
        if let Some(lambda) = options.pool.lambda {
            set_lambda(&mut base.spec, lambda);
        }
        if let Some(most) = options.pool.max_builds {
            base.spec.max_builds = NonZeroU32::new(most);
        }
        Ok(base)
    }

    fn load(file: &Path, pool: Option<&str>) -> Result<Self, Failure> {
        let file = if file.is_dir() { file.join(CONFIGURATION) } else { file.to_owned() };
        let loaded = config::load(&file).map_err(|errors| {
            let advice = format!("`ganger check {}` shows it in the file", file.display());
            Failure::text(Exit::Usage, format!("{}: {}", file.display(), first_error(&errors))).advise(advice)
        })?;
        let pools = &loaded.config.pools;
        let names: Vec<&str> = pools.iter().map(|pool| pool.spec.name.as_str()).collect();
        let found = match (pool, &pools[..]) {
            (Some(name), _) => pools.iter().find(|pool| pool.spec.name == name),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        let Some(found) = found else {
            let problem = match pool {
                Some(name) => format!("{} has no pool {name:?}", file.display()),
                None => format!("{} has {} pools", file.display(), names.len()),
            };
            let advice = match names.len() {
                0 => "a pool is a table `[[pool]]`".to_owned(),
                _ => format!("choose one with --pool: {}", names.join(", ")),
            };
            return Err(Failure::text(Exit::Usage, problem).advise(advice));
        };
        let builders = loaded.config.builders.iter();
        let of_pool = builders.filter(|builder| builder.workers.contains(&found.spec.name));
        Ok(Self {
            spec: (*found.spec).clone(),
            price: Some(found.provider.price()).filter(|price| price.0 > 0),
            limits: loaded.config.pool_limits,
            builders: Some(of_pool.map(|builder| builder.name.clone()).collect()),
        })
    }

    /// The same with other settings, or what another file says.
    fn altered(&self, other: &str, options: &Simulate) -> Result<Self, Failure> {
        if !other.contains('=') {
            return Self::load(Path::new(other), options.pool.pool.as_deref());
        }
        let mut base = self.clone();
        for setting in other.split(',') {
            let wrong = |expected: &str| {
                Failure::text(Exit::Usage, format!("--compare {setting:?}: expected {expected}"))
            };
            let Some((key, value)) = setting.split_once('=') else { return Err(wrong("KEY=VALUE")) };
            let number = || value.parse::<u32>().map_err(|_| wrong("a whole number"));
            let positive = || super::positive(value).map_err(|_| wrong("a number above 0"));
            match key.trim() {
                "max" => base.spec.max = number()?,
                "min" => base.spec.min = number()?,
                "warm" => base.spec.warm = Warm::Fixed(number()?),
                "lambda" => set_lambda(&mut base.spec, positive()?),
                "idle" if value == "derived" => base.spec.idle = Idle::Derived,
                "idle" => base.spec.idle = Idle::For(Duration::from_secs_f64(positive()?)),
                "max-builds" => base.spec.max_builds = NonZeroU32::new(number()?),
                "forecast" => {
                    base.spec.forecast = value.parse().map_err(|_| wrong("`true` or `false`"))?;
                }
                _ => return Err(wrong("max, min, warm, lambda, idle, max-builds or forecast")),
            }
        }
        Ok(base)
    }
}

/// The first thing that is wrong with a configuration.
fn first_error(errors: &config::ConfigErrors) -> String {
    errors.errors.iter().next().map_or_else(|| "it is wrong".to_owned(), |first| first.message.clone())
}

/// Sets λ of the least urgent class; more urgent ones have at least as much.
fn set_lambda(spec: &mut PoolSpec, lambda: f64) {
    for (index, class) in spec.classes.iter_mut().enumerate() {
        class.lambda = if index == 0 { lambda } else { class.lambda.max(lambda) };
    }
}

/// Opens a file, unpacked.
fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    let failed = |error: io::Error| {
        let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Usage };
        Failure::new(exit, anyhow::Error::new(error).context(format!("cannot read {}", path.display())))
    };
    let mut file = BufReader::new(File::open(path).map_err(failed)?);
    let packed = file.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
    if packed {
        Ok(Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(file))))
    } else {
        Ok(Box::new(file))
    }
}

impl Failure {
    /// Says which file it is about.
    fn context_of(self, path: &Path) -> Self {
        Self::text(self.exit(), format!("{}: {self}", path.display()))
    }
}
