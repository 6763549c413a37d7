//! People: operators, configurations, guests, leases and logins.

use std::time::Duration;

use model::{InstanceId, pool::Idle};

use super::world::{World, spec};
use crate::{Event, Operator, Origin, ReasonCode, State};

fn idle_forever(max: u32) -> World {
    let mut pool = spec(max);
    pool.idle = Idle::Forever;
    World::new(vec![pool])
}

#[test]
fn a_lower_maximum_lets_idle_ones_go_first_and_builds_finish() {
    let mut world = idle_forever(4);
    world.ask(4, 0);
    world.until(300, "built", |world| world.done == 4);
    world.ask(3, 0);
    world.run(2);
    assert_eq!(world.in_state(State::Busy).len(), 3);
    world.reconfigure(|spec| spec.max = 2);
    world.run(3);
    assert_eq!(world.in_state(State::Busy).len(), 2);
    assert_eq!(world.in_state(State::Draining).len(), 1);
    assert_eq!(world.in_state(State::Idle).len(), 0);
    world.until(300, "two", |world| world.live() == 2);
    assert_eq!((world.done, world.retried), (7, 0));
}

#[test]
fn machines_of_an_old_template_finish_and_go() {
    let mut world = idle_forever(4);
    world.ask(2, 0);
    world.until(300, "built", |world| world.done == 2);
    world.ask(1, 0);
    world.run(2);
    world.reconfigure(|spec| spec.template = "template-2".to_owned());
    world.until(300, "gone", |world| world.live() == 0);
    assert_eq!((world.done, world.retried), (3, 0));
    assert_eq!(world.ended(ReasonCode::OldTemplate), 2);
    world.ask(1, 0);
    world.until(300, "built by a new one", |world| world.done == 4);
    assert_eq!(world.rows.values().last().unwrap().template, "template-2");
}

#[test]
fn a_pool_that_is_removed_finishes_and_goes() {
    let mut world = idle_forever(4);
    world.ask(3, 0);
    world.until(200, "building", |world| world.in_state(State::Busy).len() == 3);
    let specs = std::mem::take(&mut world.specs);
    world.reconfigure(|_| ());
    world.specs = specs;
    assert_eq!(world.in_state(State::Draining).len(), 3);
    assert!(world.pools.status(world.now)[0].removed);
    world.until(300, "gone", |world| world.live() == 0);
    assert_eq!((world.done, world.retried), (3, 0));
    assert!(world.pools.status(world.now).is_empty());
}

#[test]
fn a_pool_that_is_paused_starts_nothing() {
    let mut world = World::new(vec![spec(4)]);
    world.operate(Operator::Pause { pool: "linux".to_owned(), reason: "the bill".to_owned() });
    world.ask(2, 0);
    world.run(60);
    assert_eq!(world.launched, 0);
    let expectation = world.pools.why_request(world.queue[0].0).unwrap();
    assert_eq!(expectation.code, ReasonCode::Paused);
    assert!(expectation.text.contains("the bill"));
    world.crash();
    world.run(60);
    assert_eq!(world.launched, 0, "also after a restart");
    world.operate(Operator::Resume("linux".to_owned()));
    world.until(300, "built", |world| world.done == 2);
}

#[test]
fn somebody_asks_for_machines() {
    let mut world = World::new(vec![spec(4)]);
    world.operate(Operator::Scale { pool: "linux".to_owned(), min: Some(3) });
    world.until(200, "three", |world| world.in_state(State::Idle).len() == 3);
    world.run(1000);
    assert_eq!(world.live(), 3);
    world.operate(Operator::Scale { pool: "linux".to_owned(), min: None });
    world.until(300, "none", |world| world.live() == 0);
}

#[test]
fn a_machine_is_held_until_it_is_released_or_time_is_up() {
    let mut world = idle_forever(2);
    world.ask(2, 0);
    world.until(300, "built", |world| world.done == 2);
    let ids = world.in_state(State::Idle);
    for (id, hours) in [(ids[0], 1), (ids[1], 1000)] {
        let duration = Duration::from_secs(hours * 3600);
        world.operate(Operator::Hold { instance: id, duration, reason: "to look at it".to_owned() });
    }
    world.ask(1, 0);
    world.run(60);
    assert_eq!(world.in_state(State::Held), ids);
    assert_eq!(world.queue.len(), 1, "it builds no more");
    world.until(3700, "time is up", |world| world.rows[&ids[0]].state == State::Gone);
    assert_eq!(world.rows[&ids[0]].ended.as_ref().unwrap().code, ReasonCode::HoldExpired);
    let until = world.rows[&ids[1]].held_until.unwrap();
    assert!(until.since(world.now) <= Duration::from_secs(24 * 3600), "no hold is for ever");
    world.operate(Operator::Release(ids[1]));
    world.until(120, "released", |world| world.rows[&ids[1]].state == State::Gone);
}

#[test]
fn a_machine_that_is_held_while_it_boots_has_come_up_all_the_same() {
    let mut world = idle_forever(10);
    world.ask(6, 0);
    world.until(30, "booting", |world| world.in_state(State::Booting).len() == 6);
    for id in world.in_state(State::Booting) {
        let duration = Duration::from_secs(7200);
        world.operate(Operator::Hold { instance: id, duration, reason: "to look at it".to_owned() });
    }
    world.run(3600);
    let status = &world.pools.status(world.now)[0];
    assert_eq!(status.breaker, None);
    assert_eq!(status.boot.samples, 10, "they and their successors");
}

#[test]
fn somebody_lets_a_machine_go() {
    let mut world = idle_forever(2);
    world.ask(2, 0);
    world.until(200, "building", |world| world.in_state(State::Busy).len() == 2);
    let id = world.in_state(State::Busy)[0];
    world.operate(Operator::Drain(id));
    assert_eq!(world.pools.instance(id).unwrap().state, State::Draining);
    world.until(300, "gone", |world| world.rows[&id].state == State::Gone);
    assert_eq!((world.done, world.retried), (2, 0));
}

#[test]
fn guests_take_slots_and_leave_by_themselves() {
    let mut world = World::new(vec![spec(2)]);
    world.run(5);
    let first = world.log_in("linux", None).unwrap();
    let second = world.log_in("linux", None).unwrap();
    assert!(world.log_in("linux", None).unwrap_err().contains("full"));
    for id in [first, second] {
        assert_eq!(world.pools.instance(id).unwrap().origin, Origin::Guest);
        world.tell(Event::Ready { instance: id });
    }
    assert_eq!(world.in_state(State::Idle).len(), 2);
    world.run(7200);
    assert_eq!(world.in_state(State::Idle).len(), 2, "nobody ends a guest");
    world.tell(Event::Disconnected { instance: first, why: "bye".to_owned() });
    assert_eq!(world.rows[&first].state, State::Gone);
    let third = world.log_in("linux", None).unwrap();
    assert_eq!(world.pools.instance(third).unwrap().slot.to_string(), "linux-1");
    assert_eq!(world.launched, 0);
    assert!(!world.carried.contains_key("terminate"));
}

#[test]
fn a_guest_that_is_let_go_is_asked_to_shut_down() {
    let mut world = World::new(vec![spec(2)]);
    world.run(5);
    let id = world.log_in("linux", None).unwrap();
    world.tell(Event::Ready { instance: id });
    world.workers.insert(id, super::world::FakeWorker::default());
    world.operate(Operator::Drain(id));
    world.until(5, "gone", |world| world.rows[&id].state == State::Gone);
    assert_eq!(world.carried["shutdown"], 1);
}

#[test]
fn only_the_right_ones_are_let_in() {
    let mut world = World::new(vec![spec(2), model::pool::PoolSpec { name: "other".to_owned(), ..spec(1) }]);
    world.boots = false;
    world.operate(Operator::Pause { pool: "other".to_owned(), reason: "test".to_owned() });
    world.ask(1, 0);
    world.until(30, "booting", |world| !world.in_state(State::Booting).is_empty());
    let id = world.in_state(State::Booting)[0];
    assert!(world.log_in("nobody", None).unwrap_err().contains("no pool"));
    assert!(world.log_in("linux", Some(InstanceId(4711))).unwrap_err().contains("no instance"));
    assert!(world.log_in("other", Some(id)).unwrap_err().contains("belongs to pool linux"));
    assert_eq!(world.log_in("linux", Some(id)), Ok(id));
    // Once more, while it is connected: the caller finds out which one is alive.
    assert_eq!(world.log_in("linux", Some(id)), Ok(id));
    world.operate(Operator::Drain(id));
    world.until(60, "gone", |world| world.rows[&id].state == State::Gone);
    assert!(world.log_in("linux", Some(id)).unwrap_err().contains("takes no worker"));
    let totals: u64 = world.pools.status(world.now).iter().map(|pool| pool.totals.refused).sum();
    assert_eq!(totals, 3);
    assert_eq!(world.said(ReasonCode::LoginRefused).len(), 3);
    for _ in 0..1000 {
        assert!(world.log_in("linux", Some(InstanceId(4711))).is_err());
    }
    assert!(world.said(ReasonCode::LoginRefused).len() < 20, "the record has its limits");
}

#[test]
fn without_a_lease_nothing_is_started_and_rows_wait_for_it() {
    let mut world = World::new(vec![spec(4)]);
    world.run(5);
    world.tell(Event::Lease { pool: "linux".to_owned(), fence: None });
    assert_eq!(world.pools.fence("linux"), None);
    world.ask(2, 0);
    world.run(60);
    assert_eq!(world.launched, 0);
    assert_eq!(world.pools.why_request(world.queue[0].0).unwrap().code, ReasonCode::NotOwner);
    let guest = world.log_in("linux", None).unwrap();
    assert!(!world.rows.contains_key(&guest));
    world.tell(Event::Lease { pool: "linux".to_owned(), fence: Some(2) });
    assert!(world.rows.contains_key(&guest));
    world.until(120, "started", |world| world.launched == 2);
}

#[test]
fn after_another_master_had_the_pool_nothing_is_touched() {
    let mut world = World::new(vec![spec(4)]);
    world.run(5);
    world.tell(Event::Lease { pool: "linux".to_owned(), fence: None });
    world.tell(Event::Lease { pool: "linux".to_owned(), fence: Some(3) });
    world.ask(2, 0);
    world.run(300);
    assert_eq!(world.launched, 0);
    assert!(!world.carried.contains_key("reap"));
    assert_eq!(world.pools.why_request(world.queue[0].0).unwrap().code, ReasonCode::NotOwner);
}

#[test]
fn what_another_master_knows_better_is_not_written() {
    let mut world = World::new(vec![spec(4)]);
    world.ask(1, 0);
    world.until(300, "idle", |world| world.rows.values().any(|row| row.state == State::Idle));
    let id = *world.rows.keys().next().unwrap();
    world.tell(Event::Lease { pool: "linux".to_owned(), fence: None });
    world.tell(Event::Lease { pool: "linux".to_owned(), fence: Some(3) });
    assert_eq!(world.pools.fence("linux"), None, "nothing can be written under it");
    let before = world.rows.clone();
    world.operate(Operator::Drain(id));
    world.run(300);
    assert_eq!(world.rows, before);
}

#[test]
fn a_master_that_waited_for_a_pool_does_not_act_on_rows_from_before() {
    let mut world = World::new(vec![spec(4)]);
    world.run(5);
    world.others.insert("linux".to_owned());
    world.crash();
    world.ask(2, 0);
    world.run(300);
    assert_eq!(world.launched, 0);
    assert!(!world.carried.contains_key("reap"));
    let why = world.pools.why_request(world.queue[0].0).unwrap();
    assert_eq!(why.code, ReasonCode::NotOwner);
    assert!(why.text.contains("must be started again"), "{}", why.text);
    world.crash();
    world.until(120, "started", |world| world.launched == 2);
}

#[test]
fn rows_that_were_refused_are_written_with_the_next_lease() {
    let mut world = World::new(vec![spec(4)]);
    world.ask(1, 0);
    world.until(300, "idle", |world| world.rows.values().any(|row| row.state == State::Idle));
    let known = world.rows.clone();
    world.tell(Event::Lease { pool: "linux".to_owned(), fence: None });
    // As if the last writes had been refused.
    world.rows.clear();
    world.tell(Event::Lease { pool: "linux".to_owned(), fence: Some(2) });
    assert_eq!(world.rows.keys().collect::<Vec<_>>(), known.keys().collect::<Vec<_>>());
}

#[test]
fn somebody_who_knows_better_need_not_wait_for_a_listing() {
    let mut world = World::new(vec![spec(4)]);
    world.listing.extend((0..50).map(|_| Err(super::world::error(crate::provider::ErrorKind::Transport))));
    world.ask(1, 0);
    world.run(60);
    assert_eq!(world.launched, 0);
    world.operate(Operator::Trust("linux".to_owned()));
    world.until(10, "started", |world| world.launched == 1);
}

#[test]
fn everything_is_explained() {
    let mut world = World::new(vec![spec(2)]);
    world.ask(3, 0);
    for _ in 0..600 {
        world.run(1);
        for pool in world.pools.status(world.now) {
            assert!(pool.totals.passes == 0 || pool.last.is_some_and(|last| !last.text.is_empty()));
            for instance in pool.instances {
                assert!(!instance.why.is_empty() && !instance.started.text.is_empty(), "{instance:?}");
            }
        }
        let last_pass = world.pools.plan(world.now, &world.demand());
        assert!(last_pass.iter().all(|plan| !plan.sentence().is_empty()));
    }
    assert_eq!(world.pools.why_request(model::BuildRequestId(1)), None, "nobody waits any more");
    let json = serde_json::to_value(world.pools.status(world.now)).unwrap();
    assert_eq!(json[0]["name"], "linux");
}

#[test]
fn what_a_dry_run_says_is_what_a_pass_does() {
    let mut world = World::new(vec![spec(10)]);
    world.run(10);
    world.ask(4, 0);
    let plan = world.pools.plan(world.now + Duration::from_secs(2), &world.demand());
    assert_eq!(plan[0].started(), 4);
    assert_eq!(world.launched, 0, "it was only asked");
    world.run(4);
    assert_eq!(world.launched, 4);
}

#[test]
fn a_pool_that_has_more_than_its_share_gives_way() {
    let mut other = model::pool::PoolSpec { name: "other".to_owned(), ..spec(10) };
    other.idle = Idle::Forever;
    let limits = model::pool::PoolLimits { max: Some(6), ..model::pool::PoolLimits::default() };
    let mut world = World::with(vec![spec(10)], limits);
    world.ask(200, 0);
    world.until(200, "all machines", |world| world.in_state(State::Busy).len() == 6);
    // A second pool comes; in this small world all builders may use it, and its machines never come up.
    world.specs.push(std::sync::Arc::new(other));
    world.reconfigure(|_| ());
    let capabilities = world.offers.clone();
    world.tell(Event::Offers { pool: "other".to_owned(), capabilities });
    world.tell(Event::Lease { pool: "other".to_owned(), fence: Some(9) });
    world.operate(Operator::Scale { pool: "other".to_owned(), min: Some(5) });
    world.until(400, "half of them", |world| {
        let status = world.pools.status(world.now);
        status.iter().all(|pool| pool.live == 3)
    });
    assert_eq!(world.retried, 0, "no build was cut off");
    assert!(world.said(ReasonCode::GlobalMax).iter().any(|text| text.contains("gives way to other")));
}

#[test]
fn what_gets_no_builds_makes_up_for_nothing() {
    let mut kept = spec(4);
    (kept.min, kept.idle) = (1, Idle::For(Duration::from_secs(60)));
    let mut world = World::new(vec![kept]);
    world.ask(2, 0);
    world.until(300, "built", |world| world.done == 2 && world.in_state(State::Idle).len() == 2);
    let ids = world.in_state(State::Idle);
    world.until(200, "the minimum", |world| world.in_state(State::Idle).len() == 1);
    let good = world.in_state(State::Idle)[0];
    world.ask(2, 0);
    world.until(300, "built", |world| world.done == 4 && world.in_state(State::Idle).len() == 2);
    let other = world.in_state(State::Idle).into_iter().find(|id| *id != good).unwrap();
    world.tell(Event::Withheld { instance: other, why: Some("odd".to_owned()) });
    world.until(300, "it goes", |world| world.rows[&other].state == State::Gone);
    world.run(120);
    assert_eq!(world.in_state(State::Idle), [good], "the minimum of {ids:?} stays");
}

#[test]
fn a_minimum_takes_no_machine_from_those_who_have_work() {
    let other = model::pool::PoolSpec { name: "other".to_owned(), min: 2, ..spec(10) };
    let limits = model::pool::PoolLimits { max: Some(6), ..model::pool::PoolLimits::default() };
    let mut world = World::with(vec![spec(10)], limits);
    world.ask(200, 0);
    world.until(200, "all machines", |world| world.in_state(State::Busy).len() == 6);
    world.specs.push(std::sync::Arc::new(other));
    world.only_first = true;
    world.reconfigure(|_| ());
    let capabilities = world.offers.clone();
    world.tell(Event::Offers { pool: "other".to_owned(), capabilities });
    world.tell(Event::Lease { pool: "other".to_owned(), fence: Some(9) });
    world.run(300);
    assert!(!world.said(ReasonCode::GlobalMax).iter().any(|text| text.contains("gives way")));
}
