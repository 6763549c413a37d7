//! When places become free, what waits for them, and what is started ahead of requests.

use super::*;
use crate::Elsewhere;

#[test]
fn idle_machines_come_first_then_those_on_their_way_then_new_ones() {
    let mut world = World::burst(4);
    world.pool().idle(1);
    world.pool().coming(1, 30);
    let plan = world.only();
    assert_eq!(starts(&plan), [Some(0), Some(90), Some(120), Some(120)]);
    assert_eq!(plan.requests[1].why, Why::Coming);
    assert_eq!(plan.started(), 2);
    assert_eq!(plan.wanted, 4);
}

#[test]
fn a_machine_that_is_late_is_expected_soon_until_it_is_doubtful() {
    // After its median, 15 % of it; with 1 % that never connect it is doubtful at the quantile 1 − 0.01 / 0.99,
    // which is at 2.32 σ: 120 · exp(2.32 · 0.35) ≈ 270 s.
    for (age, start) in [(119, 18), (200, 18), (265, 18), (275, 120)] {
        let mut world = World::burst(1);
        world.pool().coming(1, age);
        let plan = world.only();
        assert_eq!(starts(&plan), [Some(start)], "at {age} s");
        assert_eq!(plan.started(), u32::from(start == 120));
    }
}

#[test]
fn short_builds_follow_each_other_as_long_as_a_new_machine_would_not_pay() {
    // λ = 1: nobody waits longer than 240 s. A machine is there after 120 s and starts 7 builds of 19 s until then, the
    // last one after 234 s.
    let mut world = World::burst(200);
    world.take(19);
    let plan = world.only();
    assert_eq!(plan.started(), 200_u32.div_ceil(7));
    assert_eq!(starts(&plan).into_iter().max(), Some(Some(234)));

    // λ ≥ 20 waits for nothing; λ = ½ waits 360 s: 13 starts on each machine.
    for (lambda, machines) in [(20.0, 200), (0.5, 200_u32.div_ceil(13))] {
        world.pool().spec.classes[0].lambda = lambda;
        assert_eq!(world.only().started(), machines);
    }
}

#[test]
fn long_builds_are_not_packed() {
    let mut world = World::burst(10);
    world.take(121);
    assert_eq!(world.only().started(), 10);
}

#[test]
fn places_of_short_builds_count_beyond_what_comes_in() {
    // Builds of about 50 s that began 48 s ago end within 120 s.
    let mut world = World::burst(100);
    world.take(50);
    world.pool().busy(100, 48);
    let quiet = world.only();
    assert_eq!(quiet.started(), 0);
    assert!(count(&quiet, &Why::Soon) >= 50, "{}", count(&quiet, &Why::Soon));
    // They are spread over the time to boot, not promised at once.
    let last =
        quiet.requests.iter().filter(|outlook| outlook.why == Why::Soon).filter_map(|outlook| outlook.start);
    assert!(last.max().unwrap().since(NOW).as_secs() > 60);

    // 2,500 requests in 5 minutes are 1,000 in the time to boot: they take all of them. So machines are started, for
    // three builds each: after 120, 170 and 220 s.
    for _ in 0..2500 {
        world.pool().learned.arrivals.requested(ago(30), 1.0);
    }
    let rush = world.only();
    assert_eq!(count(&rush, &Why::Soon), 0);
    assert_eq!(rush.started(), 34);
}

#[test]
fn places_of_long_builds_are_not_counted_on() {
    for seconds in [61, 600] {
        let mut world = World::burst(100);
        world.take(seconds);
        world.pool().busy(100, seconds - 2);
        assert_eq!(world.only().started(), 100, "of {seconds} s");
    }
}

#[test]
fn to_wait_behind_a_long_build_pays_only_where_waiting_is_worth_little() {
    // A new machine is there after 120 s, and has its second build 600 s later.
    for (lambda, machines) in [(1.0, 10), (0.07, 10), (0.04, 5)] {
        let mut world = World::burst(10);
        world.take(600);
        world.pool().spec.classes[0].lambda = lambda;
        assert_eq!(world.only().started(), machines, "λ = {lambda}");
    }
}

#[test]
fn ordinary_workers_that_finish_soon_count_for_the_builders_that_they_serve() {
    let mut world = World::burst(20);
    world.take(50);
    let other = world.builder(&["elsewhere"]);
    let worker = |builders: &[usize]| Elsewhere {
        builders: builders.into(),
        running: vec![(Some(0), ago(48))],
        room: 0,
    };
    world.demand.elsewhere = (0..30).map(|_| worker(&[other])).collect();
    assert_eq!(world.only().started(), 7);
    world.demand.elsewhere = (0..30).map(|_| worker(&[0])).collect();
    assert_eq!(world.only().started(), 0);
}

#[test]
fn machines_are_started_for_what_is_expected_within_bounds() {
    // 250 requests in 5 minutes: 100 in the time to boot, and no build ends: 6 of 10 of them, but at most 15 of
    // 100 busy ones, or twice their root.
    for (busy, more) in [(1000, 60), (300, 45), (25, 10), (0, 0)] {
        let mut world = World::burst(0);
        world.take(6000);
        world.pool().busy(busy, 1);
        world.pool().spec.max = 5000;
        for _ in 0..250 {
            world.pool().learned.arrivals.requested(ago(30), 1.0);
        }
        assert_eq!(started(&world.only(), ReasonCode::Forecast), more, "with {busy} busy");

        world.pool().idle(10);
        world.pool().coming(5, 10);
        assert_eq!(started(&world.only(), ReasonCode::Forecast), u32::max(more, 15) - 15);

        world.pool().spec.forecast = false;
        assert_eq!(world.only().started(), 0);
    }
}

#[test]
fn nothing_is_started_ahead_for_builds_shorter_than_a_boot() {
    let mut world = World::burst(0);
    world.take(50);
    world.pool().busy(100, 1);
    for _ in 0..2000 {
        world.pool().learned.arrivals.requested(ago(30), 1.0);
    }
    assert_eq!(world.only().started(), 0);
}

#[test]
fn the_minimum_counts_all_that_work_or_come() {
    let mut world = World::burst(0);
    world.pool().spec.min = 10;
    world.pool().busy(3, 1);
    world.pool().coming(2, 1);
    let plan = world.only();
    assert_eq!((started(&plan, ReasonCode::Minimum), plan.min, plan.wanted), (5, 10, 10));
    world.pool().scaled = Some(12);
    let plan = world.only();
    assert_eq!((started(&plan, ReasonCode::Scaled), plan.min), (7, 12));
    world.pool().scaled = Some(5000);
    assert_eq!(world.only().min, 1000, "no more than the maximum");
}

#[test]
fn machines_are_kept_ready_beyond_those_that_requests_take() {
    let mut world = World::burst(2);
    world.pool().spec.warm = Warm::Fixed(3);
    world.pool().idle(4);
    let plan = world.only();
    // Two of the four are taken, so one is missing.
    assert_eq!((started(&plan, ReasonCode::Warm), plan.warm), (1, 3));
    world.pool().spec.warm = Warm::Share(0.3);
    world.pool().spec.forecast = false;
    world.pool().busy(11, 1);
    assert_eq!((started(&world.only(), ReasonCode::Warm), world.only().warm), (2, 4));
}

#[test]
fn machines_without_work_are_kept_as_long_as_that_costs_less_than_another_boot() {
    let mut world = World::burst(0);
    for (lambda, seconds) in [(1.0, 240), (0.5, 180), (3.0, 480), (1000.0, 3600)] {
        world.pool().spec.classes[0].lambda = lambda;
        assert_eq!(world.only().idle_timeout, Some(Duration::from_secs(seconds)));
    }
    world.pool().spec.idle = Idle::Forever;
    assert_eq!(world.only().idle_timeout, None);
    world.pool().spec.idle = Idle::For(Duration::from_secs(7));
    assert_eq!(world.only().idle_timeout, Some(Duration::from_secs(7)));
}

#[test]
fn what_can_be_called_off_is_when_nothing_needs_it() {
    let mut world = World::burst(1);
    world.pool().coming(4, 1);
    world.pool().open = 2;
    assert_eq!(world.only().cancel, 2);
    let mut world = World::burst(3);
    world.pool().coming(4, 1);
    world.pool().open = 4;
    assert_eq!(world.only().cancel, 1);
    world.pool().spec.min = 4;
    assert_eq!(world.only().cancel, 0);
}

#[test]
fn a_plan_that_does_nothing_says_why() {
    let plan = World::burst(0).only();
    assert_eq!((plan.code, plan.sentence()), (Some(ReasonCode::NoDemand), "nothing waits".to_owned()));
    let mut world = World::burst(2);
    world.pool().idle(2);
    let plan = world.only();
    assert_eq!(plan.code, Some(ReasonCode::Covered));
    assert_eq!(plan.sentence(), "2 requests wait, and need no other machine");
    assert_eq!(plan.expectation(BuildRequestId(1)).unwrap().text, "a machine has a free place for it");
}
