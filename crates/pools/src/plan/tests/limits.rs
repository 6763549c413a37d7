//! Each limit, what it says, and how pools share those that they have in common.

use super::*;

/// A burst of 10 for each of these pools, which are called `a`, `b`, … and have these weights.
fn rivals(weights: &[u32]) -> World {
    let mut world = World::default();
    for (at, weight) in weights.iter().enumerate() {
        let name = ["a", "b", "c"][at];
        world.pools.push(Pool::new(name));
        world.pools[at].spec.weight = NonZeroU32::new(*weight).unwrap();
        let builder = world.builder(&[name]);
        world.wait(builder, 10, 0);
    }
    world
}

fn shares(world: &World) -> Vec<u32> {
    world.plan().iter().map(PoolPlan::started).collect()
}

#[test]
fn the_maximum_counts_every_live_machine_and_urgent_classes_may_exceed_it() {
    let mut world = World::one();
    let builder = world.builder(&["p"]);
    world.wait(builder, 5, 10);
    world.wait(builder, 5, 0);
    let pool = world.pool();
    pool.spec.max = 7;
    pool.live = 4;
    let plan = world.only();
    assert_eq!((plan.started(), denied(&plan, ReasonCode::PoolMax), plan.wanted), (3, 7, 10));
    assert_eq!(plan.denied[0].text, "7 more machines would be started, but pool p has its maximum of 7");

    world.pool().spec.classes = vec![class("normal", i64::MIN, 1.0), class("high", 10, 1.0)];
    world.pool().spec.classes[1].overflow = 1;
    let plan = world.only();
    assert_eq!((plan.started(), denied(&plan, ReasonCode::PoolMax)), (4, 6));
    assert_eq!(plan.launches[0].class, Some(1));
    world.pool().live = 400;
    assert_eq!(world.only().started(), 0);
}

#[test]
fn limits_of_the_provider_bind_in_their_turn() {
    let mut world = World::burst(10);
    let room = |code, more| Room { code, more, text: format!("{code:?} says no") };
    world.pool().rooms = vec![room(ReasonCode::Quota, 4), room(ReasonCode::ApiTokens, 6)];
    let plan = world.only();
    assert_eq!((plan.started(), denied(&plan, ReasonCode::Quota)), (4, 6));
    assert_eq!(plan.denied[0].text, "6 more machines would be started, but Quota says no");
    world.pool().rooms = vec![room(ReasonCode::Quota, 9), room(ReasonCode::ApiTokens, 6)];
    assert_eq!(denied(&world.only(), ReasonCode::ApiTokens), 4);
    // What stands against everything comes before the maximum, the maximum before the rest.
    world.pool().spec.max = 0;
    assert_eq!(denied(&world.only(), ReasonCode::PoolMax), 10);
    world.pool().rooms.push(room(ReasonCode::NotListed, 0));
    assert_eq!(denied(&world.only(), ReasonCode::NotListed), 10);
}

#[test]
fn budgets_bind_and_the_last_tenth_is_for_those_who_may() {
    // Machines cost 0.10 an hour; 0.50 are being spent.
    let hour = |money| Budget { hour: Some(Money(money)), ..Budget::default() };
    for (budget, machines) in
        [(hour(1_000_000), 5), (hour(1_099_999), 5), (hour(500_000), 0), (hour(9_000_000), 10)]
    {
        let mut world = World::burst(10);
        world.pool().spec.budget = budget;
        world.pool().spend.rate = Money(500_000);
        let plan = world.only();
        assert_eq!((plan.started(), denied(&plan, ReasonCode::Budget)), (machines, 10 - machines));

        world.pool().spec.budget = Budget::default();
        world.common.limits.budget = budget;
        world.common.spend.rate = Money(500_000);
        assert_eq!(world.only().started(), machines, "also that of all pools");
    }
    let mut world = World::burst(20);
    world.pool().spec.budget = hour(1_000_000);
    world.pool().spec.classes = vec![class("normal", i64::MIN, 1.0), class("high", 10, 1.0)];
    world.pool().spec.classes[1].reserve = true;
    assert_eq!(world.only().started(), 9);
    for waiting in &mut world.demand.requests {
        waiting.priority = 10;
    }
    assert_eq!(world.only().started(), 10);
}

#[test]
fn what_is_there_may_cost_another_hour_of_the_day_and_the_month() {
    // Spent 1.00 of 2.00, and 0.50 an hour run: half a unit is left for an hour of five more.
    for budget in [
        Budget { day: Some(Money(2_000_000)), ..Budget::default() },
        Budget { month: Some(Money(2_000_000)), ..Budget::default() },
    ] {
        let mut world = World::burst(10);
        world.pool().spec.budget = budget;
        world.pool().spend = Spend { rate: Money(500_000), day: Money(1_000_000), month: Money(1_000_000) };
        assert_eq!(world.only().started(), 5);
    }
}

#[test]
fn an_open_breaker_lets_few_try() {
    let mut world = World::burst(10);
    let breaker = &mut world.pool().learned.breaker;
    for id in 1..=5 {
        breaker.launched(model::InstanceId(id), ago(600));
        breaker.failed(model::InstanceId(id));
    }
    assert!(breaker.judge(NOW, Duration::from_secs(320)).unwrap().open);
    let plan = world.only();
    assert_eq!((plan.started(), denied(&plan, ReasonCode::Breaker)), (2, 8));
    world.pool().coming(1, 10);
    assert_eq!(world.only().started(), 1);
}

#[test]
fn what_is_refused_is_tried_once_in_five_minutes() {
    let mut world = World::burst(10);
    world.pool().learned.breaker.refused(ago(299), "no such image");
    let plan = world.only();
    assert_eq!((plan.started(), denied(&plan, ReasonCode::ConfigError)), (0, 10));
    assert_eq!(
        plan.denied[0].text,
        "10 more machines would be started, but the provider refuses what is configured: no such image"
    );
    assert_eq!(plan.denied[0].next, Some(NOW + Duration::from_secs(1)));
    world.pool().learned.breaker.refused(ago(300), "no such image");
    assert_eq!(world.only().started(), 1);
}

#[test]
fn what_pools_share_is_dealt_out_by_weight() {
    let mut world = rivals(&[1, 1]);
    world.common.limits.max = Some(9);
    assert_eq!(shares(&world), [5, 4]);
    let plans = world.plan();
    assert_eq!(denied(&plans[1], ReasonCode::GlobalMax), 6);
    assert_eq!(plans[1].requests[9].why, Why::Denied(0));
    assert_eq!(plans[1].requests[3].why, Why::New, "the first ones have theirs");

    let mut world = rivals(&[3, 1]);
    world.common.limits.max = Some(8);
    assert_eq!(shares(&world), [6, 2]);
    // Those that have less catch up first.
    let mut world = rivals(&[1, 1]);
    world.pools[0].live = 6;
    (world.common.live, world.common.limits.max) = (6, Some(14));
    assert_eq!(shares(&world), [1, 7]);
}

#[test]
fn more_urgent_classes_come_first_whatever_the_weight() {
    let mut world = rivals(&[100, 1, 1]);
    for pool in &mut world.pools {
        pool.spec.classes.push(class("high", 10, 1.0));
    }
    for waiting in &mut world.demand.requests {
        waiting.priority = if waiting.builder == 1 { 10 } else { 0 };
    }
    world.pools[2].spec.min = 20;
    world.common.limits.max = Some(25);
    let shares = shares(&world);
    assert_eq!((shares[1], shares.iter().sum::<u32>()), (10, 25));
    // Minima come after requests.
    assert_eq!(started(&world.plan()[2], ReasonCode::Minimum), 0);
}

#[test]
fn requests_that_a_limit_denies_start_as_builds_end() {
    let mut world = World::burst(30);
    world.take(600);
    world.pool().spec.max = 100;
    world.pool().spec.forecast = false;
    world.pool().busy(100, 590);
    for _ in 0..250 {
        world.pool().learned.arrivals.requested(ago(30), 1.0);
    }
    // About 100 builds end in 120 s, so the n-th request starts after 1.2 · n seconds.
    let plan = world.only();
    assert_eq!(denied(&plan, ReasonCode::PoolMax), 30);
    let last = starts(&plan)[29].unwrap();
    assert!((35..=42).contains(&last), "{last}");
}
