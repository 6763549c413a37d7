//! Providers that fail, in all the ways that there are.

use std::time::Duration;

use model::pool::{Money, PoolLimits};

use super::world::{Mood, World, offering, spec};
use crate::{
    Event, Market, Operator, ReasonCode, State,
    provider::{ErrorKind, Look, Quota},
};

fn with_two_offerings(max: u32) -> World {
    let mut world = World::with(vec![spec(max)], PoolLimits::default());
    world.offers.offerings.push(offering("b/large", Market::OnDemand, 12));
    let capabilities = world.offers.clone();
    world.tell(Event::Offers { pool: "linux".to_owned(), capabilities });
    world
}

#[test]
fn without_capacity_the_next_offering_is_tried_at_once() {
    let mut world = with_two_offerings(5);
    world.moods.push_back(Mood::Fails(ErrorKind::Capacity));
    world.ask(2, 0);
    world.until(10, "machines", |world| world.launched == 2);
    let offerings: Vec<&str> = world.calls.iter().map(|call| &*call.offering).collect();
    assert_eq!(offerings, ["a/large", "b/large"]);
    assert_ne!(world.calls[0].token, world.calls[1].token);
    assert_eq!(world.pools.status(world.now)[0].closed[0].name, "a/large");
    world.until(600, "built", |world| world.done == 2);
    assert!(world.rows.values().all(|row| row.offering == "b/large"));
}

#[test]
fn what_is_missing_of_a_partial_fill_is_bought_elsewhere() {
    let mut world = with_two_offerings(5);
    world.moods.push_back(Mood::Only(1, ErrorKind::Capacity));
    world.ask(4, 0);
    world.until(10, "machines", |world| world.launched == 4);
    assert_eq!(world.calls[1].members.len(), 3);
    world.until(600, "built", |world| world.done == 4);
}

#[test]
fn a_provider_that_buys_of_several_says_what_it_bought_and_what_it_could_not() {
    let mut world = with_two_offerings(5);
    world.offers.offerings.push(offering("c/large", Market::Spot, 1));
    world.moods.push_back(Mood::Elsewhere("b/large", ErrorKind::Capacity));
    world.ask(2, 0);
    world.until(10, "machines", |world| world.launched == 2);
    assert_eq!(world.calls.len(), 1);
    let others: Vec<&str> = world.calls[0].others.iter().map(|other| &*other.offering).collect();
    assert_eq!((&*world.calls[0].offering, others), ("a/large", vec!["b/large"]), "of the same market only");
    world.until(60, "answered", |world| world.rows.values().all(|row| row.offering == "b/large"));
    let closed = &world.pools.status(world.now)[0].closed;
    assert_eq!(closed.len(), 1, "{closed:?}");
    assert_eq!((&*closed[0].name, closed[0].code), ("a/large", ReasonCode::NoCapacity));
    world.until(600, "built", |world| world.done == 2);
}

#[test]
fn what_there_is_no_money_for_is_no_alternative() {
    let mut poor = spec(5);
    poor.budget.hour = Some(Money::from_units(0.2));
    let mut world = World::with(vec![poor], PoolLimits::default());
    world.offers.offerings.push(offering("b/large", Market::OnDemand, 90));
    let capabilities = world.offers.clone();
    world.tell(Event::Offers { pool: "linux".to_owned(), capabilities });
    world.ask(1, 0);
    world.until(10, "machines", |world| world.launched == 1);
    assert_eq!(world.calls[0].others, []);
}

#[test]
fn when_nothing_is_to_be_had_that_is_said() {
    let mut world = World::new(vec![spec(5)]);
    world.moods.push_back(Mood::Fails(ErrorKind::Capacity));
    world.ask(2, 0);
    world.run(20);
    assert_eq!((world.launched, world.live()), (0, 0));
    assert_eq!(world.ended(ReasonCode::NoCapacity), 2);
    let request = world.queue[0].0;
    assert_eq!(world.pools.why_request(request).unwrap().code, ReasonCode::NoCapacity);
    world.until(300, "again after three minutes", |world| world.launched == 2);
    assert_eq!(world.carried["launch"], 2);
}

#[test]
fn a_quota_closes_the_family_and_is_told_once() {
    let mut world = with_two_offerings(5);
    world.moods.push_back(Mood::Fails(ErrorKind::Quota(Some("L-1216C47A".to_owned()))));
    world.ask(2, 0);
    world.run(60);
    assert_eq!(world.launched, 0, "both are of one family");
    assert_eq!(
        world.decisions.iter().filter(|decision| decision.text.starts_with("quota L-1216C47A")).count(),
        1
    );
    world.until(700, "again after ten minutes", |world| world.launched == 2);
}

#[test]
fn the_quota_that_the_provider_tells_is_kept() {
    let mut world = World::new(vec![spec(5)]);
    let quota = Some(Quota { name: "machines".to_owned(), headroom: 2 });
    let capabilities = crate::Capabilities { quota, ..world.offers.clone() };
    world.tell(Event::Offers { pool: "linux".to_owned(), capabilities });
    world.ask(4, 0);
    world.run(60);
    assert_eq!(world.launched, 2);
}

#[test]
fn throttled_calls_are_made_again_with_the_same_token() {
    let mut world = World::new(vec![spec(5)]);
    let throttled = || Mood::Fails(ErrorKind::Throttled(Some(Duration::from_secs(3))));
    world.moods.extend([throttled(), throttled()]);
    world.ask(2, 0);
    world.until(10, "planned again", |world| world.in_state(State::Planned).len() == 2);
    world.until(60, "machines", |world| world.launched == 2);
    assert!(world.calls.iter().all(|call| call.token == world.calls[0].token));
    assert_eq!(world.rows.len(), 2);
}

#[test]
fn a_throttled_call_is_called_off_when_demand_is_gone() {
    let mut world = World::new(vec![spec(5)]);
    world.moods.push_back(Mood::Fails(ErrorKind::Throttled(Some(Duration::from_secs(60)))));
    world.ask(2, 0);
    world.until(10, "planned again", |world| world.in_state(State::Planned).len() == 2);
    world.queue.clear();
    world.until(10, "called off", |world| world.live() == 0);
    assert_eq!(world.ended(ReasonCode::Cancelled), 2);
    world.run(300);
    assert_eq!(world.launched, 0);
}

#[test]
fn a_throttled_call_is_not_made_again_when_nobody_wants_machines_any_more() {
    for paused in [true, false] {
        let mut world = World::new(vec![spec(5)]);
        world.moods.push_back(Mood::Fails(ErrorKind::Throttled(Some(Duration::from_secs(30)))));
        world.ask(2, 0);
        world.until(10, "planned again", |world| world.in_state(State::Planned).len() == 2);
        if paused {
            world.operate(Operator::Pause { pool: "linux".to_owned(), reason: "the bill".to_owned() });
        } else {
            let specs = std::mem::take(&mut world.specs);
            world.reconfigure(|_| ());
            world.specs = specs;
        }
        world.until(60, "called off", |world| world.live() == 0);
        world.run(300);
        assert_eq!((world.launched, world.carried["launch"]), (0, 1));
    }
}

#[test]
fn a_call_that_may_have_taken_effect_is_not_made_again_when_nobody_wants_machines_any_more() {
    for paused in [true, false] {
        let mut world = World::new(vec![spec(5)]);
        let failed = || Mood::Fails(ErrorKind::Transport);
        world.moods.extend([failed(), failed(), failed(), failed()]);
        world.ask(2, 0);
        world.until(10, "asked", |world| world.carried.contains_key("launch"));
        world.run(2);
        let asked = world.carried["launch"];
        if paused {
            world.operate(Operator::Pause { pool: "linux".to_owned(), reason: "the bill".to_owned() });
        } else {
            for id in world.in_state(State::Requested) {
                world.queue.clear();
                world.operate(Operator::Drain(id));
            }
        }
        world.until(400, "given up", |world| world.live() == 0);
        assert_eq!((world.launched, world.carried["launch"]), (0, asked));
    }
}

#[test]
fn calls_that_fail_after_taking_effect_double_nothing() {
    let mut world = World::new(vec![spec(5)]);
    let failed = || Mood::FailsAfterwards(ErrorKind::Transport);
    world.moods.extend([failed(), failed(), failed()]);
    world.ask(3, 0);
    world.until(600, "built", |world| world.done == 3);
    assert_eq!(world.launched, 3);
    world.until(600, "gone", |world| world.live() == 0 && world.running_machines() == 0);
}

#[test]
fn what_a_call_may_have_started_is_not_forgotten_because_the_next_try_fails() {
    for kind in [ErrorKind::Throttled(Some(Duration::from_secs(300))), ErrorKind::Capacity, ErrorKind::Config]
    {
        let mut world = with_two_offerings(5);
        world.moods.extend([Mood::FailsAfterwards(ErrorKind::Transport), Mood::Fails(kind.clone())]);
        world.run(3);
        // Nor do listings show them soon.
        world.listing.extend([Ok(Vec::new()), Ok(Vec::new())]);
        world.ask(2, 0);
        world.until(20, "asked twice", |world| world.carried.get("launch") == Some(&2));
        world.run(2);
        assert_eq!(world.in_state(State::Requested).len(), 2, "{kind:?}: nobody knows yet");
        world.queue.truncate(1);
        world.until(400, "built", |world| world.done == 1);
        assert_eq!(world.launched, 2, "{kind:?}: those that were there were used");
        world.until(900, "gone", |world| world.live() == 0 && world.running_machines() == 0);
        assert!(!world.carried.contains_key("reap"), "{kind:?}: nobody was taken for a stranger");
    }
}

#[test]
fn what_a_withdrawn_request_started_after_all_is_no_ones_double() {
    let mut world = with_two_offerings(5);
    world.moods.push_back(Mood::Open);
    world.ask(1, 0);
    world.until(200, "withdrawn", |world| world.carried.contains_key("cancel"));
    // It was served in the same moment.
    let member = world.calls[0].members[0].clone();
    world.serve(0);
    world.until(300, "building", |world| world.in_state(State::Busy).len() == 1);
    let id = world.in_state(State::Busy)[0];
    assert_ne!(id, member.instance, "the other machine has a row and a secret of its own");
    world.until(600, "ended", |world| world.carried.get("reap") == Some(&1));
    world.until(900, "gone", |world| world.done == 1 && world.live() == 0 && world.running_machines() == 0);
    assert_eq!(world.retried, 0);
}

#[test]
fn an_open_request_is_withdrawn_after_three_minutes() {
    let mut world = with_two_offerings(5);
    world.moods.push_back(Mood::Open);
    world.ask(1, 0);
    world.run(170);
    assert_eq!((world.launched, world.in_state(State::Requested).len()), (0, 1));
    world.until(20, "bought elsewhere", |world| world.launched == 1);
    assert_eq!(world.carried["cancel"], 1);
    assert_eq!(world.calls[1].offering, "b/large");
}

#[test]
fn what_is_configured_wrongly_is_tried_every_five_minutes() {
    let mut world = World::new(vec![spec(5)]);
    world.moods.extend((0..3).map(|_| Mood::Fails(ErrorKind::Config)));
    world.ask(2, 0);
    world.run(290);
    assert_eq!(world.carried["launch"], 1);
    assert_eq!(world.pools.status(world.now)[0].breaker.as_ref().unwrap().code, ReasonCode::ConfigError);
    world.run(310);
    assert_eq!(world.carried["launch"], 2);
    world.until(900, "machines once it works", |world| world.launched >= 2);
}

#[test]
fn one_machine_that_cannot_be_ended_holds_up_nobody() {
    let mut world = World::new(vec![spec(3)]);
    world.ask(3, 0);
    world.until(200, "building", |world| world.in_state(State::Busy).len() == 3);
    let id = world.in_state(State::Busy)[0];
    let name = world.rows[&id].provider_id.clone().unwrap();
    world.unkillable.insert(name.clone());
    world.until(600, "the others gone", |world| world.live() == 1);
    assert_eq!(world.pools.instance(id).unwrap().state, State::Terminating);
    world.run(3600);
    assert_eq!(world.said(ReasonCode::NotEnded).len(), 1);
    assert!(world.carried["terminate"] > 10);
    world.unkillable.clear();
    world.until(400, "gone at last", |world| world.live() == 0);
}

#[test]
fn calls_keep_to_what_the_provider_allows() {
    let mut world = World::new(vec![spec(1000)]);
    let mut capabilities = world.offers.clone();
    (capabilities.batch, capabilities.api.calls, capabilities.api.calls_per_second) = (2, 5, 1.0);
    world.tell(Event::Offers { pool: "linux".to_owned(), capabilities });
    world.ask(100, 0);
    world.run(30);
    assert!(world.carried["launch"] <= 5 + 30, "{}", world.carried["launch"]);
    world.until(60, "all started", |world| world.launched == 100);
}

#[test]
fn a_worker_that_is_faster_than_the_answer_is_let_in() {
    let mut world = World::new(vec![spec(1)]);
    (world.answer_time, world.boot_time) = (Duration::from_secs(20), Duration::from_secs(5));
    world.ask(1, 0);
    world.until(120, "building", |world| world.in_state(State::Busy).len() == 1);
    assert_eq!(world.rows.values().next().unwrap().provider_id, None);
    world.until(400, "gone", |world| world.done == 1 && world.live() == 0 && world.running_machines() == 0);
}

#[test]
fn a_broken_image_starts_few_machines() {
    let mut world = World::new(vec![spec(100)]);
    world.boots = false;
    world.ask(50, 0);
    world.run(2 * 3600);
    let more = world.launched.saturating_sub(100);
    assert!(more <= 50, "{more} machines in two hours that never came up, after the pool was full");
    assert_eq!(world.pools.status(world.now)[0].breaker.as_ref().unwrap().code, ReasonCode::Breaker);
    world.boots = true;
    world.until(3600, "built after all", |world| world.done == 50);
}

#[test]
fn a_new_image_is_tried_by_a_few_and_given_up_when_it_is_bad() {
    let mut world = World::new(vec![spec(20)]);
    world.ask(10, 0);
    world.until(900, "gone", |world| world.done == 10 && world.live() == 0);
    world.reconfigure(|spec| (spec.image, spec.template) = ("image-2".to_owned(), "template-2".to_owned()));
    world.boots = false;
    for _ in 0..20 {
        world.ask(2, 0);
        world.run(300);
        world.boots = true;
        world.run(10);
        world.boots = false;
    }
    let tried = world.calls.iter().filter(|call| call.image == "image-2").count();
    assert!((1..=8).contains(&tried), "{tried}");
}

#[test]
fn an_image_that_the_provider_finds_is_tried_like_one_that_is_configured() {
    let mut unnamed = spec(40);
    unnamed.image = String::new();
    let mut world = World::new(vec![unnamed]);
    let find = |world: &mut World, image: &str| {
        let capabilities = crate::Capabilities { image: Some(image.to_owned()), ..world.offers.clone() };
        world.tell(Event::Offers { pool: "linux".to_owned(), capabilities });
    };
    find(&mut world, "ami-1");
    world.ask(10, 0);
    world.until(900, "built", |world| world.done == 10);
    assert!(world.rows.values().all(|row| row.image == "ami-1"), "the first one is used at once");
    let before = world.calls.len();
    find(&mut world, "ami-2");
    world.ask(40, 0);
    world.run(30);
    let of = |image: &str| {
        let calls = world.calls[before..].iter().filter(|call| call.image == image);
        calls.map(|call| call.members.len()).sum::<usize>()
    };
    assert!((1..=4).contains(&of("ami-2")), "{} of the new one", of("ami-2"));
    assert!(of("ami-1") > 4 && of("") == 0);
}

#[test]
fn machines_of_an_image_that_was_found_outlive_a_restart() {
    let mut unnamed = spec(4);
    (unnamed.image, unnamed.idle) = (String::new(), model::pool::Idle::Forever);
    let mut world = World::new(vec![unnamed]);
    world.offers.image = Some("ami-1".to_owned());
    let capabilities = world.offers.clone();
    world.tell(Event::Offers { pool: "linux".to_owned(), capabilities });
    world.ask(2, 0);
    world.until(900, "built", |world| world.done == 2);
    world.run(60);
    let good = world.in_state(State::Idle);
    assert!(!good.is_empty());
    // The provider does not say at once what its image is.
    let found = world.offers.image.take();
    world.crash();
    world.run(600);
    world.offers.image = found;
    let capabilities = world.offers.clone();
    world.tell(Event::Offers { pool: "linux".to_owned(), capabilities });
    world.run(600);
    for id in good {
        assert_eq!(world.rows[&id].state, State::Idle, "{:?}", world.said(ReasonCode::OldTemplate));
    }
}

#[test]
fn where_looking_is_cheap_a_machine_that_goes_holds_its_place_for_seconds_only() {
    let mut world = World::with(vec![spec(1)], PoolLimits::default());
    world.offers.look = Look { going: Duration::from_secs(1), coming: Duration::from_secs(5) };
    let capabilities = world.offers.clone();
    world.tell(Event::Offers { pool: "linux".to_owned(), capabilities });
    world.ask(1, 0);
    world.until(30, "booting", |world| !world.in_state(State::Booting).is_empty());
    let first = world.in_state(State::Booting)[0];
    // It dies by itself while it boots: that is seen, and another one is started.
    world.machine_dies(first);
    world.until(10, "noticed", |world| world.rows[&first].state == State::Gone);
    assert_eq!(world.rows[&first].ended.as_ref().unwrap().code, ReasonCode::DiedBooting);
    world.until(200, "idle", |world| world.done == 1);
    let second = world.in_state(State::Idle)[0];
    world.operate(Operator::Drain(second));
    world.until(5, "gone", |world| world.rows[&second].state == State::Gone);
}

#[test]
fn machines_of_an_image_that_is_given_up_go_and_the_others_stay() {
    let mut pool = spec(20);
    pool.idle = model::pool::Idle::Forever;
    let mut world = World::new(vec![pool]);
    world.ask(2, 0);
    world.until(300, "built", |world| world.done == 2);
    let good = world.in_state(State::Idle);
    world.reconfigure(|spec| (spec.image, spec.template) = ("image-2".to_owned(), "template-2".to_owned()));
    world.bad_image = Some("image-2");
    let of_bad = |world: &World| -> Vec<_> {
        world.rows.values().filter(|row| row.image == "image-2").map(|row| (row.id, row.state)).collect()
    };
    // One after the other is tried; their builds all fail.
    for _ in 0..3 {
        let tried = of_bad(&world).len();
        world.ask(4, 0);
        world.run(70);
        world.ask(4, 0);
        world.until(200, "one is tried", |world| of_bad(world).len() > tried);
    }
    world.until(600, "given up", |world| {
        world.said(ReasonCode::Canary).iter().any(|text| text.contains("is bad"))
    });
    let left = of_bad(&world).into_iter().filter(|(_, state)| *state != State::Gone).count();
    assert!(left > 0, "there is something to let go");
    world.until(400, "gone", |world| of_bad(world).iter().all(|(_, state)| *state == State::Gone));
    assert!(world.said(ReasonCode::OldTemplate).iter().any(|text| text.contains("image-2 is bad")));
    for id in good {
        assert!(world.rows[&id].ended.is_none(), "what works stays");
    }
    assert_eq!(world.retried, 0, "no build was cut off");
}

fn that_stops() -> World {
    let mut pool = spec(4);
    pool.stopped = Some(model::pool::Stopped { max: 1, age: Duration::from_secs(3600) });
    World::new(vec![pool])
}

#[test]
fn stopping_and_starting_again_are_tried_again_when_the_provider_is_busy() {
    let mut world = that_stops();
    let busy = [ErrorKind::Throttled(Some(Duration::from_secs(7))), ErrorKind::Transport];
    world.stops.extend(busy.clone());
    world.ask(1, 0);
    world.until(900, "stopped", |world| world.in_state(State::Stopped).len() == 1);
    assert_eq!(world.carried["stop"], 3);
    world.stops.extend(busy);
    world.ask(1, 0);
    world.until(200, "built", |world| world.done == 2);
    assert_eq!((world.carried["resume"], world.launched), (3, 1), "it is the same machine");
}

#[test]
fn stopping_and_starting_again_are_not_tried_for_ever() {
    let mut world = that_stops();
    world.stops.extend((0..50).map(|_| ErrorKind::Transport));
    world.ask(1, 0);
    world.until(900, "given up", |world| world.done == 1 && world.ended(ReasonCode::ProviderError) == 1);
    assert!((3..=10).contains(&world.carried["stop"]), "{}", world.carried["stop"]);
    world.stops.clear();
    world.ask(1, 0);
    world.until(900, "stopped", |world| world.in_state(State::Stopped).len() == 1);
    world.stops.extend((0..50).map(|_| ErrorKind::Throttled(None)));
    world.ask(1, 0);
    world.until(900, "given up", |world| world.ended(ReasonCode::ProviderError) == 2);
    assert!((3..=10).contains(&world.carried["resume"]), "{}", world.carried["resume"]);
    world.until(400, "built by another one", |world| world.done == 3);
}

#[test]
fn a_machine_that_is_found_late_counts_and_costs_until_it_is_gone() {
    let mut world = World::new(vec![spec(1)]);
    world.build_time = Duration::from_secs(600);
    world.moods.extend([Mood::FailsAfterwards(ErrorKind::Transport), Mood::Fails(ErrorKind::Config)]);
    world.run(3);
    // No listing shows it until nobody looks for it any more.
    world.listing.extend((0..4).map(|_| Ok(Vec::new())));
    world.ask(1, 0);
    world.until(200, "building", |world| world.in_state(State::Busy).len() == 1);
    let id = world.in_state(State::Busy)[0];
    assert_eq!(world.rows[&id].provider_id, None);
    world.until(500, "found", |world| world.rows[&id].provider_id.is_some());
    assert!(world.rows[&id].launched_at.is_some_and(|at| world.now.since(at) > Duration::from_secs(200)));
    world.until(1000, "on its way out", |world| world.rows[&id].state == State::Terminating);
    assert_eq!(world.live(), 1);
    world.until(200, "gone", |world| world.live() == 0);
    assert!(world.rows[&id].cost.unwrap() > Money::default());
    assert!(!world.carried.contains_key("reap"));
}

#[test]
fn many_machines_that_nobody_knows_are_ended_a_few_at_a_time() {
    let mut world = World::new(vec![spec(1)]);
    world.ask(1, 0);
    world.until(30, "booting", |world| !world.in_state(State::Booting).is_empty());
    let mut stray = world.machines.values().next().unwrap().clone();
    (stray.member, stray.token) = (None, crate::Token("of-somebody".to_owned()));
    for n in 0..250 {
        world.machines.insert(format!("i-stray-{n}"), stray.clone());
    }
    world.until(300, "the first", |world| world.carried.contains_key("reap"));
    world.settle();
    assert!(world.carried["reap"] <= 100, "{} at once", world.carried["reap"]);
    world.until(300, "all", |world| world.carried["reap"] == 250);
}
