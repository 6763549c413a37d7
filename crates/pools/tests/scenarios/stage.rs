//! What all scenarios share: a small world, and what must be true of every one.

use std::{sync::Arc, time::Duration};

use model::{
    Time,
    pool::{Money, PoolLimits, PoolSpec},
};
use pools::{
    Market, Offering,
    sim::{self, CloudSpec, Job, Ours, Outcome, Random, Setting, Simulation, Workload},
};

/// The name of the pool.
pub(crate) const POOL: &str = "linux";

/// When scenarios begin: a Monday, 00:00 UTC.
const START: i64 = 1_704_067_200;

/// So many seconds after the beginning.
pub(crate) fn at(seconds: u64) -> Time {
    Time::from_epoch_seconds(START) + secs(seconds)
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn hours(hours: u64) -> Duration {
    secs(hours * 3600)
}

/// So many jobs, spread evenly over a time, each of so many seconds.
pub(crate) fn jobs(count: u32, from: u64, within: u64, seconds: u64) -> Vec<Job> {
    Job::spread(count, at(from), secs(within), secs(seconds)).collect()
}

/// The same with a priority.
pub(crate) fn urgent(count: u32, from: u64, within: u64, seconds: u64) -> Vec<Job> {
    jobs(count, from, within, seconds).into_iter().map(|job| Job { priority: sim::HIGH, ..job }).collect()
}

/// One pool, its cloud, and jobs of one builder.
pub(crate) fn world(max: u32, jobs: Vec<Job>) -> Setting {
    let workload = Workload::of_one_builder(POOL, jobs);
    let mut setting = sim::setting(sim::pool(POOL, max), workload, 1);
    setting.checks = true;
    setting
}

/// Changes the pool.
pub(crate) fn with_pool(mut setting: Setting, change: impl FnOnce(&mut PoolSpec)) -> Setting {
    change(Arc::make_mut(&mut setting.pools[0]));
    setting
}

/// Changes the cloud.
pub(crate) fn with_cloud(mut setting: Setting, change: impl FnOnce(&mut CloudSpec)) -> Setting {
    change(&mut setting.clouds[0]);
    setting
}

/// Ours in that world, ready to run.
pub(crate) fn ours(setting: Setting) -> Simulation<Ours> {
    limited(setting, PoolLimits::default())
}

/// The same with limits for all pools.
pub(crate) fn limited(setting: Setting, limits: PoolLimits) -> Simulation<Ours> {
    let policy = Ours::new(&setting, limits).keeping_decisions();
    Simulation::new(setting, policy)
}

/// Something to buy.
pub(crate) fn offering(name: &str, market: Market, price: f64) -> Offering {
    Offering {
        name: name.to_owned(),
        family: name.split('/').next().unwrap_or(name).to_owned(),
        market,
        price: Money::from_units(price),
        bid: (market == Market::Spot).then(|| Money::from_units(price * 3.0)),
        ..sim::plain_offering()
    }
}

/// What must be true after every scenario: all is built, nothing leaked, doubled or killed.
#[track_caller]
pub(crate) fn sound(outcome: &Outcome) {
    assert_eq!(outcome.violations, Vec::<String>::new());
    assert_eq!(
        outcome.finished + outcome.merged + outcome.failed,
        outcome.jobs,
        "all jobs are built: {outcome:#?}"
    );
    assert_eq!((outcome.leaked, outcome.duplicates, outcome.killed_busy), (0, 0, 0), "{outcome:#?}");
}

/// Demand like that of a real CI: pushes at random times, more of them by day, each of some to many jobs of very different
/// durations.
pub(crate) fn pushes(count: usize, within: Duration, seed: u64) -> Vec<Job> {
    let mut random = Random::stream(seed, 100);
    let mut jobs = Vec::new();
    while jobs.len() < count {
        let when = random.unit();
        // By day three times as much as by night.
        let hour = when * within.as_secs_f64() / 3600.0 % 24.0;
        if !(8.0..20.0).contains(&hour) && random.chance(0.66) {
            continue;
        }
        let arrival = at(0) + within.mul_f64(when);
        for _ in 0..(random.log_normal(8.0, 1.1) as usize + 1).min(count - jobs.len()) {
            jobs.push(Job {
                arrival: arrival + Duration::from_millis(random.below(5000) as u64),
                duration: Duration::from_secs_f64(random.log_normal(900.0, 0.8).min(7200.0)),
                builder: 0,
                priority: if random.chance(0.15) { sim::HIGH } else { 0 },
            });
        }
    }
    jobs.sort_by_key(|job| job.arrival);
    jobs
}
