//! Budgets bind, and what machines cost is on the books.

use std::time::Duration;

use model::{
    Time,
    pool::{Billing, Budget, Idle, Money, PoolLimits},
};

use super::world::{START, World, spec};
use crate::{ReasonCode, State};

#[test]
fn the_budget_of_an_hour_bounds_what_is_live() {
    let mut pool = spec(100);
    // At 0.10 each.
    pool.budget.hour = Some(Money::from_units(0.55));
    let mut world = World::new(vec![pool]);
    world.ask(20, 0);
    world.run(100);
    assert_eq!(world.live(), 5);
    let request = world.queue.last().unwrap().0;
    assert_eq!(world.pools.why_request(request).unwrap().code, ReasonCode::Budget);
    let status = &world.pools.status(world.now)[0];
    assert_eq!(status.spend.hour_rate, Money::from_units(0.5));
}

#[test]
fn a_common_budget_bounds_all_pools() {
    let other = model::pool::PoolSpec { name: "other".to_owned(), ..spec(100) };
    let budget = Budget { hour: Some(Money::from_units(0.35)), ..Budget::default() };
    let mut world = World::with(vec![spec(100), other], PoolLimits { max: None, budget });
    world.ask(20, 0);
    world.run(100);
    assert_eq!(world.live(), 3);
}

#[test]
fn when_the_day_is_spent_machines_finish_and_go_until_the_next() {
    let mut pool = spec(10);
    pool.budget.day = Some(Money::from_units(0.5));
    pool.idle = Idle::Forever;
    let mut world = World::new(vec![pool]);
    world.ask(4000, 0);
    world.until(7200, "spent", |world| world.pools.status(world.now)[0].spend.day >= Money::from_units(0.45));
    world.run(1200);
    assert_eq!(world.live(), 0, "nothing may run");
    let spent = world.pools.status(world.now)[0].spend.day.units();
    assert!(spent <= 0.5 + 1.0, "at most an hour of each machine beyond: {spent}");
    assert_eq!(world.retried, 0);
    let done = world.done;
    let midnight = Time::from_epoch_seconds(START).start_of_day() + Duration::from_secs(24 * 3600);
    world.run(midnight.since(world.now).as_secs() + 600);
    assert!(world.done > done, "the next day goes on");
}

#[test]
fn what_was_spent_is_known_after_a_restart() {
    let mut world = World::new(vec![spec(10)]);
    world.ask(8, 0);
    world.until(900, "gone", |world| world.done == 8 && world.live() == 0);
    let before = world.pools.status(world.now)[0].spend;
    assert!(before.day > Money::default() && before.day == before.month);
    let on_the_books: i64 = world.rows.values().filter_map(|row| row.cost).map(|cost| cost.0).sum();
    assert!((on_the_books - before.day.0).abs() < before.day.0 / 10);
    world.crash();
    let after = world.pools.status(world.now)[0].spend;
    assert!((after.day.0 - before.day.0).abs() < before.day.0 / 10, "{before:?} {after:?}");
}

#[test]
fn an_hour_that_is_paid_is_used() {
    let mut pool = spec(10);
    pool.billing = Billing::Hour;
    let mut world = World::new(vec![pool]);
    world.ask(2, 0);
    world.until(400, "built", |world| world.done == 2);
    world.run(2400);
    assert_eq!(world.in_state(State::Idle).len(), 2, "paid for anyway");
    world.until(1000, "gone", |world| world.live() == 0);
    assert!(world.rows.values().all(|row| row.cost == Some(row.price)), "one hour each");
}

#[test]
fn a_lower_budget_lets_the_most_expensive_go() {
    let mut pool = spec(10);
    pool.idle = Idle::Forever;
    let mut world = World::new(vec![pool]);
    world.ask(5, 0);
    world.until(400, "built", |world| world.done == 5);
    assert_eq!(world.live(), 5);
    world.reconfigure(|spec| spec.budget.hour = Some(Money::from_units(0.2)));
    world.until(200, "fewer", |world| world.live() == 2);
    assert_eq!(world.ended(ReasonCode::Budget), 3);
}

#[test]
fn what_urgent_work_had_beyond_the_maximum_goes_when_that_is_done() {
    let mut pool = spec(2);
    let ordinary = pool.classes[0].clone();
    pool.classes.push(model::pool::Class { name: "high".to_owned(), from: 10, overflow: 2, ..ordinary });
    let mut world = World::new(vec![pool]);
    world.ask(30, 0);
    world.until(200, "full", |world| world.in_state(State::Busy).len() == 2);
    world.ask(2, 20);
    world.until(200, "beyond the maximum", |world| world.live() == 4);
    world.until(400, "urgent work is done", |world| {
        world.queue.iter().all(|(_, _, priority, _)| *priority == 0)
    });
    // There is ordinary work for hours, and it is done by as many as there may be.
    world.until(400, "as many as there may be", |world| world.live() == 2);
    assert!(!world.queue.is_empty());
    assert!(world.ended(ReasonCode::Surplus) >= 2);
    world.until(6000, "all built", |world| world.done == 32);
    assert_eq!(world.retried, 0);
}

#[test]
fn what_urgent_work_needs_beyond_the_maximum_stays() {
    let mut pool = spec(1);
    let ordinary = pool.classes[0].clone();
    pool.classes.push(model::pool::Class { name: "high".to_owned(), from: 10, overflow: 2, ..ordinary });
    let mut world = World::new(vec![pool]);
    world.build_time = Duration::from_secs(2000);
    world.ask(1, 0);
    world.until(200, "full", |world| world.in_state(State::Busy).len() == 1);
    world.ask(2, 20);
    world.until(200, "beyond the maximum", |world| world.in_state(State::Busy).len() == 3);
    world.run(1000);
    assert_eq!(world.in_state(State::Busy).len(), 3);
}
