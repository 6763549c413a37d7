//! Pools that are changed while they work, and clocks that are wrong.

use std::sync::Arc;

use model::pool::PoolSpec;
use pools::sim::{Ours, Simulation};

use crate::stage::{at, hours, jobs, ours, pushes, sound, with_cloud, with_pool, world};

fn reconfigure(run: &mut Simulation<Ours>, change: impl FnOnce(&mut PoolSpec)) {
    let mut spec = (*run.setting().pools[0]).clone();
    change(&mut spec);
    let now = run.clock();
    let batch = run.policy.reconfigure(now, vec![Arc::new(spec)], Default::default());
    run.apply(batch);
}

#[test]
fn s25_a_lower_maximum_drains_and_kills_nothing() {
    let mut run = ours(with_cloud(world(50, jobs(100, 0, 0, 1800)), |cloud| cloud.hang = 0.0));
    run.at(at(600), |run| {
        assert_eq!(run.cloud.live, [50]);
        reconfigure(run, |pool| pool.max = 10);
    });
    run.at(at(600 + 1800), |run| assert!(run.cloud.live[0] <= 10, "{}", run.cloud.live[0]));
    let outcome = run.run();
    sound(&outcome);
    assert_eq!(outcome.lost, 0, "builds that ran were finished");
}

#[test]
fn s25_machines_of_an_old_template_finish_their_builds_and_go() {
    let mut run = ours(with_cloud(world(50, jobs(40, 0, 0, 900)), |cloud| cloud.hang = 0.0));
    run.at(at(600), |run| reconfigure(run, |pool| pool.template = "template-2".to_owned()));
    run.at(at(2000), |run| {
        let old = |machine: &&pools::sim::CloudMachine| machine.is_live() && machine.template == "template-1";
        assert_eq!(run.cloud.machines.iter().filter(old).count(), 0);
    });
    let outcome = run.run();
    sound(&outcome);
    assert_eq!(outcome.lost, 0);
}

#[test]
fn s25_a_pool_that_is_deleted_finishes_what_runs() {
    let mut run = ours(with_cloud(world(50, jobs(20, 0, 0, 900)), |cloud| cloud.hang = 0.0));
    run.at(at(600), |run| {
        let now = run.clock();
        let batch = run.policy.reconfigure(now, Vec::new(), Default::default());
        run.apply(batch);
    });
    let outcome = run.run();
    sound(&outcome);
    assert_eq!((outcome.lost, run.cloud.live[0]), (0, 0));
    let last = run.cloud.machines.iter().filter_map(|machine| machine.ended_at).max().unwrap();
    assert!(last <= at(600 + 900 + 120), "{last}");
}

#[test]
fn s21_a_clock_that_jumps_changes_no_ages() {
    for jump in [600_000_000_i64, -600_000_000, 3_600_000_000, 1_000_000] {
        let mut run = ours(with_cloud(world(50, pushes(200, hours(6), 41)), |cloud| cloud.hang = 0.0));
        run.at(at(2 * 3600), move |run| run.clock += jump);
        run.at(at(4 * 3600), move |run| run.clock -= jump);
        let outcome = run.run();
        sound(&outcome);
        assert_eq!(outcome.lost, 0, "jump of {jump} µs");
    }
}

#[test]
fn s21_a_provider_whose_clock_is_off_loses_nothing() {
    for skew in [600_000_000_i64, -600_000_000] {
        let mut run = ours(with_cloud(world(50, pushes(200, hours(6), 42)), |cloud| cloud.hang = 0.0));
        run.cloud.faults.skew = skew;
        run.at(at(3 * 3600), |run| run.crash());
        let outcome = run.run();
        sound(&outcome);
    }
}

#[test]
fn a_minimum_is_kept_and_a_drained_machine_replaced() {
    let mut setting = with_pool(world(50, jobs(1, 0, 0, 60)), |pool| pool.min = 3);
    setting.end = Some(at(4 * 3600));
    let mut run = ours(with_cloud(setting, |cloud| cloud.hang = 0.0));
    for time in 1..8 {
        run.at(at(1800 * time), |run| {
            assert!(run.cloud.live[0] >= 3, "{} at {}", run.cloud.live[0], run.now())
        });
    }
    run.at(at(3600), |run| {
        let (instance, _) = run.connected().next().unwrap();
        run.tell(pools::Event::Operator(pools::Operator::Drain(instance)));
    });
    run.at(at(3600 + 400), |run| assert_eq!(run.connected().count(), 3));
    let outcome = run.run();
    assert_eq!(outcome.violations, Vec::<String>::new());
}
