//! Several pools that share a limit.

use std::sync::Arc;

use model::pool::PoolLimits;
use pools::sim::{self, Builder, CloudSpec, Job, Ours, Setting, Simulation};

use crate::stage::{at, hours, jobs, limited, sound, world};

/// Two pools with a builder each; 60 machines for both.
fn two(all: Vec<(usize, Vec<Job>)>) -> Setting {
    let mut setting = world(100, Vec::new());
    setting.pools = vec![Arc::new(sim::pool("a", 100)), Arc::new(sim::pool("b", 100))];
    setting.clouds = vec![CloudSpec { hang: 0.0, ..CloudSpec::default() }; 2];
    setting.workload.builders = vec![Builder::new("of-a", "a"), Builder::new("of-b", "b")];
    for (builder, jobs) in all {
        setting.workload.jobs.extend(jobs.into_iter().map(|job| Job { builder, ..job }));
    }
    setting.workload.jobs.sort_by_key(|job| job.arrival);
    setting
}

fn of(run: &Simulation<Ours>, pool: usize) -> u32 {
    run.cloud.live[pool]
}

#[test]
fn s18_pools_that_compete_have_the_same() {
    let setting = two(vec![(0, jobs(400, 0, 0, 1800)), (1, jobs(400, 0, 0, 1800))]);
    let mut run = limited(setting, PoolLimits { max: Some(60), ..PoolLimits::default() });
    for time in 1..36 {
        run.at(at(time * 600), |run| {
            assert!(of(run, 0) + of(run, 1) <= 60);
            let done = |builder| {
                let of =
                    |request: &&sim::Request| request.builder == builder && request.first_start.is_some();
                run.farm.requests().iter().filter(of).count() as i64
            };
            assert!((done(0) - done(1)).abs() <= 30, "{} and {} at {}", done(0), done(1), run.now());
        });
    }
    let outcome = run.run();
    sound(&outcome);
    assert!(outcome.peak <= 60, "{}", outcome.peak);
}

#[test]
fn s18_a_pool_that_comes_late_gets_its_share() {
    let setting = two(vec![(0, jobs(600, 0, 0, 900)), (1, jobs(60, 3600, 0, 900))]);
    let mut run = limited(setting, PoolLimits { max: Some(60), ..PoolLimits::default() });
    let outcome = run.run();
    sound(&outcome);
    let late = run.farm.requests().iter().filter(|request| request.builder == 1);
    let worst = late.map(|request| request.first_start.unwrap().since(request.submitted_at)).max().unwrap();
    assert!(worst <= hours(3), "{worst:?}");
}

#[test]
fn a_builder_of_two_pools_uses_both() {
    let mut setting = two(Vec::new());
    setting.pools = vec![Arc::new(sim::pool("a", 10)), Arc::new(sim::pool("b", 30))];
    setting.workload.builders =
        vec![Builder { pools: vec!["a".into(), "b".into()], ..Builder::new("both", "a") }];
    setting.workload.jobs = jobs(40, 0, 0, 1800);
    let mut run = limited(setting, PoolLimits::default());
    let outcome = run.run();
    sound(&outcome);
    assert!(outcome.max_wait_s <= 600.0, "{}", outcome.max_wait_s);
    assert!(outcome.peak <= 40);
}
