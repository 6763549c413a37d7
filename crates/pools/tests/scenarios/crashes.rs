//! The master is killed, at every boundary between two writes or calls; and two masters want one pool.

use pools::{
    Event,
    sim::{Job, Ours, Policy, Setting, Simulation},
};

use crate::stage::{POOL, at, jobs, ours, secs, sound, urgent, with_cloud, with_pool, world};

/// A small day with everything in it: a burst, a second one, machines that leave, boots that fail.
fn small_day() -> Setting {
    let mut all: Vec<Job> = jobs(6, 0, 20, 300);
    all.extend(urgent(2, 100, 0, 60));
    all.extend(jobs(4, 1500, 5, 200));
    let mut setting =
        with_cloud(world(6, all), |cloud| (cloud.hang, cloud.die, cloud.batch) = (0.15, 0.1, 3));
    setting.tail = secs(6 * 3600);
    setting
}

fn crashed_at(boundary: u64) -> Simulation<Ours> {
    let mut run = ours(small_day());
    run.crash_at = Some(boundary);
    let outcome = run.run();
    assert_eq!(outcome.violations, Vec::<String>::new(), "killed at boundary {boundary}");
    sound(&outcome);
    assert_eq!(run.cloud.live, [0], "nothing is left, killed at boundary {boundary}");
    run
}

#[test]
fn s12_killed_at_any_boundary_nothing_is_leaked_or_doubled() {
    let mut undisturbed = ours(small_day());
    sound(&undisturbed.run());
    let boundaries = undisturbed.boundaries;
    assert!(boundaries > 100, "{boundaries} boundaries");
    for boundary in 1..=boundaries {
        crashed_at(boundary);
    }
}

#[test]
fn s12_killed_again_and_again() {
    for every in [7, 23, 61] {
        let mut run = ours(small_day());
        for crash in 1..60 {
            run.at(at(crash * every), |run| run.crash());
        }
        run.downtime = secs(3);
        let outcome = run.run();
        sound(&outcome);
        assert_eq!(run.cloud.live, [0]);
    }
}

#[test]
fn s12_running_machines_are_adopted() {
    let mut run = ours(with_cloud(world(10, jobs(10, 0, 0, 1800)), |cloud| cloud.hang = 0.0));
    run.at(at(900), |run| run.crash());
    let outcome = run.run();
    sound(&outcome);
    assert_eq!(outcome.launches, 10, "the ten machines that were there go on");
    assert_eq!(run.lost, 10, "their builds are done again");
}

#[test]
fn s12_nothing_is_started_before_a_complete_listing() {
    let mut run = ours(world(10, jobs(10, 0, 0, 600)));
    run.cloud.faults.listing = pools::sim::Listing::Fails;
    run.at(at(1000), |run| {
        assert_eq!(run.cloud.machines.len(), 0);
        let why = run.policy.pools.why_request(pools::sim::request_id(0)).unwrap();
        assert_eq!(why.code, pools::ReasonCode::NotListed, "{why:?}");
        run.cloud.faults.listing = pools::sim::Listing::Complete;
    });
    sound(&run.run());
}

#[test]
fn s24_of_two_masters_the_one_that_lost_the_lease_starts_nothing() {
    let mut run = ours(with_pool(world(50, jobs(20, 0, 0, 600)), |pool| pool.forecast = false));
    run.at(at(30), |run| {
        // It was paused for so long that another master has taken the lease: nothing that it writes counts any more.
        run.policy.fenced_off = true;
        let batch = run.policy.handle(run.clock(), Event::Lease { pool: POOL.to_owned(), fence: None });
        run.apply(batch);
    });
    let machines = 20;
    run.at(at(1200), move |run| {
        assert_eq!(run.cloud.machines.len(), machines, "the loser starts nothing more");
        let status = run.policy.pools.status(run.clock());
        assert!(!status[0].owner);
    });
    run.at(at(1300), |run| {
        run.policy.fenced_off = false;
        let fence = Some(run.policy.database.fence + 2);
        let batch = run.policy.handle(run.clock(), Event::Lease { pool: POOL.to_owned(), fence });
        run.apply(batch);
    });
    let outcome = run.run();
    sound(&outcome);
}
