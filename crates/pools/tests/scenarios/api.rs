//! A provider whose calls are throttled, lost, or answered with half of the truth.

use pools::sim::{Listing, Ours, Simulation};

use crate::stage::{at, hours, jobs, ours, pushes, secs, sound, world};

fn busy_day() -> Simulation<Ours> {
    ours(world(500, pushes(800, hours(12), 11)))
}

#[test]
fn s11_throttled_for_ten_minutes() {
    let mut run = busy_day();
    run.at(at(9 * 3600), |run| {
        (run.cloud.faults.throttle, run.cloud.faults.throttle_terminate) = (true, true)
    });
    run.at(at(9 * 3600 + 600), |run| run.cloud.faults = Default::default());
    let outcome = run.run();
    sound(&outcome);
    assert!(outcome.throttles >= 1, "it was tried");
    // The bucket alone would fill for 1,200 calls.
    assert!(outcome.throttles <= 200, "but not again and again: {} times", outcome.throttles);
}

#[test]
fn s11_calls_that_work_and_say_otherwise_are_not_doubled() {
    for (answer_lost, call_lost) in [(0.5, 0.0), (0.0, 0.5), (0.3, 0.3), (1.0, 0.0)] {
        let mut run = busy_day();
        run.at(at(0), move |run| {
            (run.cloud.faults.answer_lost, run.cloud.faults.call_lost) = (answer_lost, call_lost);
        });
        let outcome = run.run();
        // Every machine belongs to one row, every row has one machine: `sound` and the checks at each step say so.
        sound(&outcome);
    }
}

#[test]
fn s11_machines_can_be_ended_while_launches_are_throttled() {
    let mut run = ours(world(100, jobs(50, 0, 0, 300)));
    run.at(at(400), |run| run.cloud.faults.throttle = true);
    let outcome = run.run();
    sound(&outcome);
    assert_eq!(run.cloud.live, [0]);
}

#[test]
fn s13_listings_that_lie_kill_nothing() {
    let lies = [Listing::Fails, Listing::Empty, Listing::Partial(0.5), Listing::Stale(secs(1200))];
    for lie in lies {
        let mut run = busy_day();
        // Often, but never for long: one listing at a time.
        for time in 0..24 {
            run.at(at(1800 * time + 7), move |run| run.cloud.faults.listing = lie);
            run.at(at(1800 * time + 7 + 61), |run| run.cloud.faults.listing = Listing::Complete);
        }
        let outcome = run.run();
        sound(&outcome);
        assert_eq!(outcome.lost, 0, "{lie:?}");
    }
}

#[test]
fn s13_a_listing_that_lies_for_long_kills_no_build() {
    for lie in [Listing::Empty, Listing::Partial(0.7), Listing::Stale(secs(900))] {
        let mut run = busy_day();
        run.at(at(9 * 3600), move |run| run.cloud.faults.listing = lie);
        run.at(at(10 * 3600), |run| run.cloud.faults.listing = Listing::Complete);
        let outcome = run.run();
        sound(&outcome);
        assert_eq!(outcome.lost, 0, "{lie:?}");
    }
}

#[test]
fn s14_a_protected_machine_holds_up_nothing() {
    let mut run = ours(world(100, jobs(40, 0, 0, 300)));
    run.at(at(350), |run| {
        let (_, machine) = run.connected().next().unwrap();
        run.cloud.machines[machine].protected = true;
    });
    // Before the machine itself gives up for want of a master.
    run.at(at(2000), |run| {
        assert_eq!(run.cloud.live, [1], "all others are gone");
        let status = run.policy.pools.status(run.clock());
        assert_eq!(status[0].live, 1, "it still counts: {status:#?}");
        for machine in &mut run.cloud.machines {
            machine.protected = false;
        }
    });
    let outcome = run.run();
    sound(&outcome);
    assert_eq!(run.cloud.live, [0], "it was tried until it was gone");
}

#[test]
fn s14_throttled_ends_are_tried_again() {
    let mut run = ours(world(100, jobs(40, 0, 0, 300)));
    run.at(at(300), |run| run.cloud.faults.throttle_terminate = true);
    run.at(at(2000), |run| {
        assert!(run.cloud.live[0] > 30, "nothing could be ended");
        run.cloud.faults.throttle_terminate = false;
    });
    let outcome = run.run();
    sound(&outcome);
    let last = run.cloud.machines.iter().filter_map(|machine| machine.ended_at).max().unwrap();
    assert!(last <= at(2000 + 600), "within ten minutes all are gone");
}
