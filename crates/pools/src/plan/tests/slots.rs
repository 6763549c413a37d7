//! How many machines requests need: what a new one cannot help, and one build of a builder on each machine.

use super::*;
use crate::{Elsewhere, Permit, demand::Need};

#[test]
fn each_request_of_one_builder_has_a_machine_of_its_own() {
    let plan = World::burst(7).only();
    assert_eq!(started(&plan, ReasonCode::Demand), 7);
    assert_eq!(count(&plan, &Why::New), 7);
    assert_eq!(starts(&plan), [Some(120); 7]);
    assert_eq!((plan.wanted, plan.code), (7, Some(ReasonCode::Demand)));
    let causes: Vec<i64> = plan.launches[0].causes.iter().map(|request| request.0).collect();
    assert_eq!(causes, [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn thirty_builders_with_a_request_each_fit_on_one_machine_on_eight_or_on_thirty() {
    for (most, machines) in [(None, 1), (Some(4), 8), (Some(1), 30)] {
        let mut world = World::one();
        world.pool().spec.max_builds = most.and_then(NonZeroU32::new);
        for _ in 0..30 {
            let builder = world.builder(&["p"]);
            world.wait(builder, 1, 0);
        }
        assert_eq!(started(&world.only(), ReasonCode::Demand), machines, "{most:?}");
    }
}

#[test]
fn the_builder_with_most_requests_sets_the_number_where_places_do_not() {
    // max(5, ⌈(5 + 1 + 1) / 2⌉) = 5, whoever comes first.
    for order in [[0, 1, 2], [2, 1, 0]] {
        let mut world = World::one();
        world.pool().spec.max_builds = NonZeroU32::new(2);
        for _ in 0..3 {
            world.builder(&["p"]);
        }
        for builder in order {
            world.wait(builder, if builder == 0 { 5 } else { 1 }, 0);
        }
        assert_eq!(started(&world.only(), ReasonCode::Demand), 5);
    }
}

#[test]
fn machines_that_run_builds_are_filled_first_with_other_builders() {
    let mut world = World::one();
    world.pool().spec.max_builds = NonZeroU32::new(2);
    let (one, other) = (world.builder(&["p"]), world.builder(&["p"]));
    world.wait(one, 1, 0);
    world.wait(other, 2, 0);
    // It runs builder 1, so it takes one request of builder 2; the others share a new machine.
    world.pool().partly = vec![Partly { runs: vec![BuilderId(1)], room: 1 }];
    world.pool().live = 1;
    let plan = world.only();
    assert_eq!(count(&plan, &Why::Free), 1);
    assert_eq!(plan.requests[1].why, Why::Free);
    assert_eq!(started(&plan, ReasonCode::Demand), 1);
}

#[test]
fn a_worker_outside_the_pools_takes_what_it_serves() {
    let mut world = World::burst(3);
    let other = world.builder(&["p"]);
    world.wait(other, 1, 0);
    // Serves only the first builder, and has that running on the second worker already.
    let worker = |running| Elsewhere { builders: [0].into(), running, room: 5 };
    world.demand.elsewhere = vec![worker(Vec::new()), worker(vec![(Some(0), ago(1))])];
    let plan = world.only();
    assert_eq!(count(&plan, &Why::Elsewhere), 1);
    assert_eq!(started(&plan, ReasonCode::Demand), 3);
}

#[test]
fn requests_that_will_be_merged_count_once() {
    let mut world = World::burst(5);
    for waiting in &mut world.demand.requests[1..] {
        waiting.collapses_into = Some(BuildRequestId(1));
    }
    let plan = world.only();
    assert_eq!(plan.started(), 1);
    assert_eq!(count(&plan, &Why::Collapsed(BuildRequestId(1))), 4);
    let expectation = plan.expectation(BuildRequestId(2)).unwrap();
    assert_eq!(
        (expectation.code, &*expectation.text),
        (ReasonCode::Collapsed, "it will be merged into request 1")
    );
}

fn need(permit: usize) -> Need {
    Need { permit, units: 1 }
}

#[test]
fn a_request_that_needs_all_permits_waits_for_the_last_one() {
    for (free, machines) in [(3, 0), (4, 1)] {
        let mut world = World::burst(2);
        world.demand.permits = vec![Permit { name: "lock database".into(), is_lock: true, free }];
        for waiting in &mut world.demand.requests {
            waiting.needs = vec![Need { permit: 0, units: 4 }];
        }
        assert_eq!(world.only().started(), machines);
    }
}

#[test]
fn only_as_many_requests_count_as_there_are_permits() {
    for (free, machines) in [(0, 0), (2, 2), (9, 5)] {
        let mut world = World::burst(5);
        world.demand.permits = vec![Permit { name: "lock database".into(), is_lock: true, free }];
        for waiting in &mut world.demand.requests {
            waiting.needs = vec![need(0)];
        }
        let plan = world.only();
        assert_eq!(plan.started(), machines);
        assert_eq!(count(&plan, &Why::Lock("lock database".into())), 5 - machines as usize);
    }
}

#[test]
fn a_request_that_lacks_one_permit_leaves_the_others_to_those_behind_it() {
    let mut world = World::burst(2);
    let permit = |name: &str, free| Permit { name: name.into(), is_lock: false, free };
    world.demand.permits = vec![permit("builder limit", 0), permit("disk", 1)];
    world.demand.requests[0].needs = vec![need(1), need(0)];
    world.demand.requests[1].needs = vec![need(1)];
    let plan = world.only();
    assert_eq!(plan.requests[0].why, Why::Limit("builder limit".into()));
    assert_eq!(plan.requests[1].why, Why::New);
}

#[test]
fn indices_that_lead_nowhere_are_passed_over() {
    let mut world = World::burst(3);
    world.demand.requests[0].builder = 99;
    world.demand.requests[1].needs = vec![need(99)];
    world.demand.elsewhere =
        vec![Elsewhere { builders: [7, 99].into(), running: vec![(Some(99), ago(1))], room: 2 }];
    let lost = world.builder(&["no-such-pool"]);
    world.wait(lost, 1, 0);
    assert_eq!(world.only().started(), 2);
}
