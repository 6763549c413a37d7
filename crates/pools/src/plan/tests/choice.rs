//! Which pool a request goes to, and what is bought for it.

use super::*;

fn two(builder: &[&str]) -> World {
    let mut world = World { pools: vec![Pool::new("p"), Pool::new("q")], ..World::default() };
    let builder = world.builder(builder);
    world.wait(builder, 4, 0);
    world
}

/// The offerings of the first launch, the best first.
fn choices(world: &World) -> Vec<String> {
    let plan = world.only();
    plan.launches
        .first()
        .map(|launch| launch.candidates.iter().map(|choice| choice.offering.clone()).collect())
        .unwrap_or_default()
}

fn market() -> World {
    let mut world = World::burst(1);
    world.pool().offerings = vec![offering("spot", Market::Spot, 3), offering("sure", Market::OnDemand, 10)];
    world
}

#[test]
fn a_request_goes_to_the_pool_where_it_starts_first() {
    let mut world = two(&["p", "q"]);
    world.pools[1].idle(1);
    world.pools[0].coming(1, 60);
    world.pools[1].coming(1, 90);
    let plans = world.plan();
    assert_eq!(starts(&plans[0]), [Some(60), Some(120)]);
    assert_eq!(starts(&plans[1]), [Some(0), Some(30)]);
    assert_eq!((plans[0].started(), plans[1].started()), (1, 0));
}

#[test]
fn of_pools_that_are_as_fast_the_cheaper_one_is_taken() {
    let mut world = two(&["p", "q"]);
    world.pools[1].offerings[0].price = Money(90_000);
    assert_eq!(world.plan().iter().map(PoolPlan::started).collect::<Vec<_>>(), [0, 4]);
    // It is full after two.
    world.pools[1].spec.max = 2;
    assert_eq!(world.plan().iter().map(PoolPlan::started).collect::<Vec<_>>(), [2, 2]);
    // Nobody may start anything: the first pool says so.
    world.pools[1].spec.max = 0;
    world.pools[0].rooms =
        vec![Room { code: ReasonCode::Paused, more: 0, text: "paused by ann: move".to_owned() }];
    let plans = world.plan();
    assert_eq!(denied(&plans[0], ReasonCode::Paused), 4);
    assert_eq!(
        plans[0].expectation(BuildRequestId(4)).unwrap().text,
        "4 more machines would be started, but paused by ann: move"
    );
}

#[test]
fn spot_is_bought_unless_a_build_is_so_long_that_losing_it_costs_more() {
    let mut world = market();
    world.pool().spec.classes[0].on_demand_after = Some(Duration::from_secs(1));
    world.pool().offerings[0].loss_per_hour = 0.5;
    world.take(60);
    assert_eq!(choices(&world), ["spot", "sure"]);
    world.jobs = Jobs::default();
    world.take(36_000);
    assert_eq!(
        choices(&world),
        ["spot", "sure"],
        "at a third of the price it is cheaper even when half is lost"
    );
    world.pool().offerings[0].price = Money(60_000);
    assert_eq!(choices(&world), ["sure", "spot"]);
}

#[test]
fn on_demand_is_for_those_that_waited_or_lost_a_machine_when_their_class_may() {
    let mut world = market();
    assert_eq!(choices(&world), ["spot"], "never, when the class may not");
    world.pool().spec.classes[0].on_demand_after = Some(Duration::from_secs(90));
    assert_eq!(choices(&world), ["spot"], "not before its time");
    world.demand.requests[0].submitted_at = ago(90);
    assert_eq!(choices(&world), ["spot", "sure"]);
    world.demand.requests[0].submitted_at = ago(60);
    (world.demand.requests[0].losses, world.demand.requests[0].lost_on) = (1, Some("spot".into()));
    assert_eq!(choices(&world), ["sure", "spot"], "not again where it was lost");
    world.demand.requests[0].losses = 2;
    assert_eq!(choices(&world), ["sure"], "lost twice is enough");
}

#[test]
fn where_the_market_has_nothing_only_a_class_that_waits_for_it_does() {
    let mut world = market();
    world.pool().learned.offerings.unavailable(NOW, "spot");
    assert_eq!(choices(&world), ["sure"]);
    world.pool().spec.classes[0].on_demand_after = Some(Duration::from_secs(90));
    assert_eq!(choices(&world), [""; 0]);
    world.demand.requests[0].submitted_at = ago(90);
    assert_eq!(choices(&world), ["sure"]);
}

#[test]
fn a_pool_that_buys_only_on_demand_needs_no_permission_for_it() {
    assert_eq!(choices(&World::burst(1)), ["large"]);
}

#[test]
fn closed_offerings_are_passed_over_and_the_next_try_is_told() {
    let mut world = World::burst(1);
    world.pool().offerings = vec![offering("a", Market::OnDemand, 10), offering("b", Market::OnDemand, 11)];
    world.pool().learned.offerings.unavailable(NOW, "a");
    assert_eq!(choices(&world), ["b"]);
    world.pool().learned.offerings.unavailable(ago(60), "b");
    let plan = world.only();
    // 1_700_000_000 is 22:13:20; b is tried again two minutes later.
    assert_eq!(
        plan.denied[0].text,
        "1 more machine would be started, but no capacity, next try 22:15:20 UTC"
    );
    assert_eq!(
        (plan.denied[0].code, plan.denied[0].next),
        (ReasonCode::NoCapacity, Some(NOW + Duration::from_secs(120)))
    );
    world.pool().learned.offerings = crate::learn::Offerings::default();
    world.pool().learned.offerings.quota(NOW, "family", Some("L-1216C47A"));
    let plan = world.only();
    assert_eq!(
        plan.denied[0].text,
        "1 more machine would be started, but quota L-1216C47A is used up, next try 22:23:20 UTC"
    );
}

#[test]
fn bids_cap_what_is_paid_and_nothing_is_bought_close_to_them() {
    let mut world = market();
    let cap = |world: &World| world.only().launches[0].candidates[0].cap;
    assert_eq!(cap(&world), Some(Money(100_000)), "as much as on demand, when nobody says");
    world.pool().offerings[0].bid = Some(Money(50_000));
    assert_eq!(cap(&world), Some(Money(50_000)));
    world.pool().spec.max_price = Some(Money(40_000));
    assert_eq!(cap(&world), Some(Money(40_000)));
    world.pool().spec.max_price = None;
    world.pool().offerings[0].price = Money(40_001);
    assert_eq!(choices(&world), ["sure"], "more than 80 % of the bid");
    let sure = world.pool().offerings.remove(1);
    assert_eq!(denied(&world.only(), ReasonCode::MaxPrice), 1);
    world.pool().offerings = vec![sure];
    world.pool().spec.max_price = Some(Money(99_999));
    assert_eq!(denied(&world.only(), ReasonCode::MaxPrice), 1);
}

#[test]
fn a_new_image_is_tried_with_one_machine_in_ten() {
    let mut world = World::burst(30);
    world.pool().spec.image = "image-2".to_owned();
    world.pool().learned.canary.configured("image-2");
    let images = |world: &World| -> Vec<(String, u32)> {
        world.only().launches.iter().map(|launch| (launch.image.clone(), launch.count)).collect()
    };
    assert_eq!(images(&world), [("image-2".to_owned(), 3), ("image-1".to_owned(), 27)]);
    for _ in 0..3 {
        world.pool().learned.canary.failed("image-2");
    }
    assert_eq!(images(&world), [("image-1".to_owned(), 30)], "it is bad");
}

#[test]
fn stopped_machines_are_started_again_before_new_ones_are_bought() {
    let mut world = World::burst(5);
    world.pool().stopped = 2;
    let plan = world.only();
    let kinds: Vec<_> = plan.launches.iter().map(|launch| (launch.resume, launch.count)).collect();
    assert_eq!(kinds, [(true, 2), (false, 3)]);
    // They need nothing from the market.
    world.pool().learned.offerings.unavailable(NOW, "large");
    let plan = world.only();
    assert_eq!((plan.started(), denied(&plan, ReasonCode::NoCapacity)), (2, 3));
}
