//! What is to be built in a simulation: builders, what they may not do at once, and jobs.

use std::{sync::Arc, time::Duration};

use model::Time;

use super::random::Random;

/// From this priority on jobs are urgent where nothing else says so.
pub const HIGH: i64 = 10;

/// Everything that is to be built.
#[derive(Clone, Debug, Default)]
pub struct Workload {
    /// Builders. Jobs name them by index.
    pub builders: Vec<Builder>,
    /// Locks and limits. Builders name them by index.
    pub permits: Vec<Lock>,
    /// Ordinary workers that are there all the time.
    pub ordinary: Vec<Ordinary>,
    /// Jobs, by arrival.
    pub jobs: Vec<Job>,
}

/// A builder.
#[derive(Clone, Debug)]
pub struct Builder {
    /// Its name.
    pub name: Arc<str>,
    /// Names of its pools, the first choice first.
    pub pools: Vec<Arc<str>>,
    /// What its builds need a permit of: indices into [`Workload::permits`].
    pub needs: Vec<usize>,
    /// Whether requests that wait are merged into one build.
    pub collapses: bool,
}

/// A lock, or a limit on how much runs at once.
#[derive(Clone, Debug)]
pub struct Lock {
    /// Its name.
    pub name: Arc<str>,
    /// How many builds can have it at once; 1 is an exclusive lock.
    pub permits: u32,
    /// Whether it is a lock; else a limit.
    pub is_lock: bool,
}

/// A worker that belongs to no pool.
#[derive(Clone, Debug)]
pub struct Ordinary {
    /// Builders that it serves.
    pub builders: Vec<usize>,
    /// How many builds it runs at once.
    pub max_builds: u32,
}

/// Something to be built once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// When it is asked for.
    pub arrival: Time,
    /// How long it takes on a machine.
    pub duration: Duration,
    /// Its builder.
    pub builder: usize,
    /// Higher is sooner.
    pub priority: i64,
}

impl Builder {
    /// A builder that is built by one pool and needs nothing else.
    pub fn new(name: &str, pool: &str) -> Self {
        Self { name: name.into(), pools: vec![pool.into()], needs: Vec::new(), collapses: false }
    }
}

impl Workload {
    /// Jobs of one builder of one pool.
    pub fn of_one_builder(pool: &str, jobs: Vec<Job>) -> Self {
        let mut workload = Self { builders: vec![Builder::new("jobs", pool)], jobs, ..Self::default() };
        workload.jobs.sort_by_key(|job| job.arrival);
        workload
    }

    /// Gives a share of the jobs a priority, the same ones for the same seed.
    pub fn mark_high(&mut self, share: f64, priority: i64, seed: u64) {
        let mut random = Random::stream(seed, 1);
        for job in &mut self.jobs {
            if random.chance(share) {
                job.priority = priority;
            }
        }
    }

    /// How long all jobs take together.
    pub fn work(&self) -> Duration {
        self.jobs.iter().map(|job| job.duration).sum()
    }
}

impl Job {
    /// So many jobs that arrive evenly within a time.
    pub fn spread(
        count: u32,
        from: Time,
        within: Duration,
        duration: Duration,
    ) -> impl Iterator<Item = Self> {
        (0..count).map(move |i| Self {
            arrival: from + within * i / count.max(1),
            duration,
            builder: 0,
            priority: 0,
        })
    }
}
