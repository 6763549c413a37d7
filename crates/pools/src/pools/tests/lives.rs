//! The life of a machine, from demand to gone.

use std::{num::NonZeroU32, time::Duration};

use model::{
    InstanceId,
    pool::{Class, Stopped, Warm},
};

use super::world::{World, spec};
use crate::{
    Event, Identity, ReasonCode, State, Warning,
    provider::{ErrorKind, MachineStatus},
};

#[test]
fn demand_starts_machines_and_they_go_when_there_is_no_more() {
    let mut world = World::new(vec![spec(10)]);
    world.ask(4, 0);
    world.until(30, "machines started", |world| world.running_machines() == 4);
    world.until(300, "all built", |world| world.done == 4);
    world.until(600, "all gone", |world| world.live() == 0);
    assert_eq!(world.launched, 4);
    assert_eq!(world.running_machines(), 0);
    assert_eq!(world.ended(ReasonCode::IdleTimeout), 4);
    assert_eq!(world.carried["launch"], 1, "one call for all");
    assert!(world.rows.values().all(|row| row.cost.is_some() && row.state == State::Gone));
    // Nothing is left to be woken for but that nobody knows what the last call may still come to.
    world.run(3600);
    let status = &world.pools.status(world.now)[0];
    assert_eq!((status.wanted, status.pending), (0, 0));
    assert_eq!(world.pools.next_deadline(), None);
}

#[test]
fn rows_come_before_calls_and_slots_are_used_again() {
    let mut world = World::new(vec![spec(2)]);
    world.ask(2, 0);
    world.until(30, "asked", |world| world.calls.len() == 1);
    for member in &world.calls[0].members {
        let row = &world.rows[&member.instance];
        assert_eq!((row.state, &row.token), (State::Requested, &world.calls[0].token));
        assert!(row.verifier.is_some());
        assert_eq!(member.login, format!("linux@{}", row.id));
    }
    world.until(900, "gone", |world| world.done == 2 && world.live() == 0);
    world.ask(1, 0);
    world.until(60, "another one", |world| world.live() == 1);
    assert_eq!(world.rows.values().last().unwrap().slot.to_string(), "linux-1");
}

#[test]
fn never_more_than_the_maximum() {
    let mut world = World::new(vec![spec(3)]);
    world.ask(20, 0);
    world.run(60);
    assert_eq!(world.live(), 3);
    let request = world.queue.last().unwrap().0;
    assert_eq!(world.pools.why_request(request).unwrap().code, ReasonCode::PoolMax);
    world.until(2000, "all built", |world| world.done == 20);
    assert_eq!(world.launched, 3);
}

#[test]
fn the_minimum_and_the_warm_ones_stay() {
    let mut warm = spec(10);
    (warm.min, warm.warm) = (1, Warm::Fixed(2));
    let mut world = World::new(vec![warm]);
    world.until(200, "ready", |world| world.in_state(State::Idle).len() == 2);
    world.run(3600);
    assert_eq!(world.in_state(State::Idle).len(), 2);
    assert_eq!(world.launched, 2);
    let status = &world.pools.status(world.now)[0];
    assert!(status.instances[0].why.contains("kept ready"), "{}", status.instances[0].why);
}

#[test]
fn a_machine_for_one_build_is_closed_as_that_begins() {
    let mut once = spec(10);
    once.builds_per_instance = NonZeroU32::new(1);
    let mut world = World::new(vec![once]);
    world.ask(3, 0);
    world.until(600, "gone", |world| world.done == 3 && world.live() == 0);
    assert_eq!(world.ended(ReasonCode::MaxBuilds), 3);
    assert_eq!(world.launched, 3);
    assert!(world.rows.values().all(|row| row.builds == 1));
}

#[test]
fn an_old_machine_finishes_its_build_and_goes() {
    let mut young = spec(10);
    young.max_age = Some(Duration::from_secs(120));
    let mut world = World::new(vec![young]);
    world.ask(1, 0);
    world.until(150, "building", |world| world.in_state(State::Busy).len() == 1);
    world.until(90, "draining", |world| world.in_state(State::Draining).len() == 1);
    world.until(300, "gone", |world| world.live() == 0);
    assert_eq!((world.done, world.retried), (1, 0));
    assert_eq!(world.ended(ReasonCode::MaxAge), 1);
}

#[test]
fn a_boot_that_hangs_is_suspected_then_ended_with_its_console() {
    let mut world = World::new(vec![spec(1)]);
    world.boots = false;
    world.ask(1, 0);
    world.until(700, "suspect", |world| !world.in_state(State::Suspect).is_empty());
    let id = world.in_state(State::Suspect)[0];
    assert_eq!(world.running_machines(), 1);
    world.until(1300, "given up", |world| world.rows[&id].state == State::Gone);
    let row = &world.rows[&id];
    assert_eq!(row.ended.as_ref().unwrap().code, ReasonCode::BootTimeout);
    assert_eq!(row.console.as_deref(), Some("kernel panic"));
    assert!(
        world.now.since(row.launched_at.unwrap()) >= Duration::from_secs(1200),
        "patient while nothing is known"
    );
}

#[test]
fn a_suspect_that_connects_after_all_is_used() {
    let mut world = World::new(vec![spec(1)]);
    world.boot_time = Duration::from_secs(700);
    world.ask(1, 0);
    world.until(700, "suspect", |world| !world.in_state(State::Suspect).is_empty());
    world.until(600, "built", |world| world.done == 1);
    assert_eq!(world.launched, 1);
}

#[test]
fn a_machine_that_dies_while_it_boots_is_replaced() {
    let mut world = World::new(vec![spec(1)]);
    world.ask(1, 0);
    world.until(30, "booting", |world| !world.in_state(State::Booting).is_empty());
    let id = world.in_state(State::Booting)[0];
    world.machine_dies(id);
    world.until(120, "buried", |world| world.rows[&id].state == State::Gone);
    assert_eq!(world.rows[&id].ended.as_ref().unwrap().code, ReasonCode::DiedBooting);
    world.until(300, "built", |world| world.done == 1);
    world.run(5);
    assert_eq!(world.rows[&id].console.as_deref(), Some("kernel panic"), "its console comes later");
}

#[test]
fn a_lost_connection_may_come_back() {
    let mut world = World::new(vec![spec(1)]);
    world.ask(1, 0);
    world.until(200, "building", |world| world.in_state(State::Busy).len() == 1);
    let id = world.in_state(State::Busy)[0];
    world.disconnect(id);
    assert_eq!(world.pools.instance(id).unwrap().state, State::Lost);
    world.run(20);
    assert_eq!(world.log_in("linux", Some(id)), Ok(id));
    world.tell(Event::Identified {
        instance: id,
        identity: Identity { boot: world.rows[&id].boot.clone(), ..Identity::default() },
    });
    world.tell(Event::Ready { instance: id });
    assert_eq!(world.pools.instance(id).unwrap().state, State::Idle);
}

#[test]
fn a_lost_machine_goes_after_two_minutes() {
    let mut world = World::new(vec![spec(1)]);
    world.ask(1, 0);
    world.until(200, "building", |world| world.in_state(State::Busy).len() == 1);
    let id = world.in_state(State::Busy)[0];
    world.disconnect(id);
    world.run(115);
    assert_eq!(world.pools.instance(id).unwrap().state, State::Lost);
    world.until(10, "given up", |world| world.rows[&id].state == State::Terminating);
    assert_eq!(world.rows[&id].ended.as_ref().unwrap().code, ReasonCode::ConnectionLost);
    world.until(400, "built", |world| world.done == 1);
    assert_eq!(world.retried, 1);
}

#[test]
fn only_the_first_boot_may_speak_for_a_machine() {
    let mut world = World::new(vec![spec(1)]);
    world.ask(1, 0);
    world.until(200, "building", |world| world.in_state(State::Busy).len() == 1);
    let id = world.in_state(State::Busy)[0];
    world.disconnect(id);
    assert_eq!(world.log_in("linux", Some(id)), Ok(id));
    let boot = Some("another".to_owned());
    world.tell(Event::Identified { instance: id, identity: Identity { boot, ..Identity::default() } });
    assert!(!world.said(ReasonCode::WrongIdentity).is_empty());
    assert_eq!(world.pools.status(world.now)[0].totals.refused, 1);
}

/// A worker of an instance logs in, and says which boot it belongs to.
fn logs_in_as(world: &mut World, id: InstanceId, boot: &str) {
    if world.log_in("linux", Some(id)).is_ok() {
        world.workers.entry(id).or_default();
        let identity = Identity { boot: Some(boot.to_owned()), ..Identity::default() };
        world.tell(Event::Identified { instance: id, identity });
    }
}

#[test]
fn a_machine_that_was_started_again_without_us_is_ended() {
    let mut world = World::new(vec![spec(1)]);
    world.ask(1, 0);
    world.until(200, "building", |world| world.in_state(State::Busy).len() == 1);
    let id = world.in_state(State::Busy)[0];
    let boot = world.rows[&id].boot.clone().unwrap();
    world.disconnect(id);
    for _ in 0..20 {
        logs_in_as(&mut world, id, "another");
        world.run(10);
    }
    assert_eq!(world.rows[&id].ended.as_ref().unwrap().code, ReasonCode::WrongIdentity);
    assert!(
        world.decisions.iter().all(|decision| !decision.text.contains(&boot)),
        "that is not for everybody"
    );
    world.until(400, "built by another one", |world| world.done == 1);
}

#[test]
fn a_worker_that_comes_and_never_stays_is_given_up() {
    let mut world = World::new(vec![spec(1)]);
    world.ask(1, 0);
    world.until(200, "building", |world| world.in_state(State::Busy).len() == 1);
    let id = world.in_state(State::Busy)[0];
    world.disconnect(id);
    for _ in 0..20 {
        // It logs in, and is gone before it can build.
        if world.log_in("linux", Some(id)).is_ok() {
            world.tell(Event::Disconnected { instance: id, why: "reset".to_owned() });
        }
        world.run(10);
    }
    assert_eq!(world.rows[&id].ended.as_ref().unwrap().code, ReasonCode::ConnectionLost);
    world.until(400, "built by another one", |world| world.done == 1);
}

#[test]
fn strangers_at_the_door_do_not_fill_the_record() {
    let mut world = World::new(vec![spec(1)]);
    world.build_time = Duration::from_secs(10_000);
    world.ask(1, 0);
    world.until(200, "building", |world| world.in_state(State::Busy).len() == 1);
    let id = world.in_state(State::Busy)[0];
    for _ in 0..1000 {
        logs_in_as(&mut world, id, "another");
    }
    assert_eq!(world.pools.status(world.now)[0].totals.refused, 1000);
    assert!(world.said(ReasonCode::WrongIdentity).len() < 20, "the record has its limits");
}

#[test]
fn a_worker_that_is_not_what_it_should_be_is_ended() {
    let mut world = World::new(vec![spec(1)]);
    world.boots = false;
    world.ask(1, 0);
    world.until(30, "booting", |world| !world.in_state(State::Booting).is_empty());
    let id = world.in_state(State::Booting)[0];
    assert_eq!(world.log_in("linux", Some(id)), Ok(id));
    let fault = Some("its disk is full".to_owned());
    world.tell(Event::Identified { instance: id, identity: Identity { fault, ..Identity::default() } });
    assert_eq!(world.pools.instance(id).unwrap().state, State::Terminating);
    assert!(world.log_in("linux", Some(id)).is_err());
}

#[test]
fn an_interruption_cuts_off_what_cannot_end_in_time_and_nothing_else() {
    let mut world = World::new(vec![spec(4)]);
    world.ask(2, 0);
    world.until(200, "building", |world| world.in_state(State::Busy).len() == 2);
    let ids = world.in_state(State::Busy);
    // Builds have 100 s to go; one machine has 60 s left, the other one 200 s.
    world.tell(Event::Warned {
        instance: ids[0],
        warning: Warning::Interruption(world.now + Duration::from_secs(60)),
    });
    world.tell(Event::Warned {
        instance: ids[1],
        warning: Warning::Interruption(world.now + Duration::from_secs(200)),
    });
    world.run(43);
    assert_eq!((world.retried, world.done), (0, 0));
    assert!(world.launched >= 3, "a replacement comes before the build is lost");
    assert!(!world.said(ReasonCode::Replacement).is_empty());
    world.run(4);
    assert_eq!((world.retried, world.done), (1, 0), "cut off 15 s before");
    world.until(300, "built", |world| world.done == 2);
    assert_eq!(world.retried, 1);
    assert_eq!(world.ended(ReasonCode::Interrupted), 2);
}

#[test]
fn a_machine_whose_status_checks_fail_goes_unless_they_pass_again() {
    for recovers in [true, false] {
        let mut pool = spec(1);
        pool.idle = model::pool::Idle::Forever;
        let mut world = World::new(vec![pool]);
        world.ask(1, 0);
        world.until(300, "built", |world| world.done == 1);
        let id = world.in_state(State::Idle)[0];
        world.tell(Event::Warned { instance: id, warning: Warning::Impaired(world.now) });
        world.run(100);
        if recovers {
            world.tell(Event::Warned { instance: id, warning: Warning::Recovered });
        }
        world.run(300);
        assert_eq!(world.rows[&id].state == State::Idle, recovers);
    }
}

#[test]
fn machinery_that_fails_for_everybody_is_the_machines_fault() {
    let mut many = spec(1);
    many.max_builds = NonZeroU32::new(4);
    let mut world = World::new(vec![many]);
    world.machinery_fails = true;
    world.ask(4, 0);
    world.until(300, "quarantined", |world| !world.in_state(State::Quarantined).is_empty());
    let id = world.in_state(State::Quarantined)[0];
    world.until(700, "ended", |world| world.rows[&id].state == State::Gone);
    assert_eq!(world.rows[&id].ended.as_ref().unwrap().code, ReasonCode::Unhealthy);
    assert_eq!(world.rows[&id].console.as_deref(), Some("kernel panic"));
}

#[test]
fn machines_are_stopped_and_started_again() {
    let mut stopping = spec(4);
    stopping.stopped = Some(Stopped { max: 1, age: Duration::from_secs(3600) });
    let mut world = World::new(vec![stopping]);
    world.ask(2, 0);
    world.until(900, "stopped", |world| world.done == 2 && world.live() == 0);
    let ids = world.in_state(State::Stopped);
    assert_eq!(ids.len(), 1);
    assert_eq!(world.running_machines(), 0);
    world.ask(1, 0);
    world.until(60, "building", |world| world.in_state(State::Busy) == ids);
    assert_eq!(world.launched, 2, "none was started anew");
    world.until(300, "stopped again", |world| world.in_state(State::Stopped) == ids);
    world.until(4000, "too old", |world| world.rows[&ids[0]].state == State::Gone);
    let row = &world.rows[&ids[0]];
    assert_eq!(row.ended.as_ref().unwrap().code, ReasonCode::StoppedExpired);
    let paid = row.cost.unwrap().units() / row.price.units() * 3600.0;
    assert!((400.0..700.0).contains(&paid), "what it ran is paid, and not what it was stopped: {paid} s");
}

#[test]
fn a_machine_that_the_provider_lost_is_buried_at_the_second_listing() {
    let mut world = World::new(vec![spec(1)]);
    world.ask(1, 0);
    world.until(200, "building", |world| world.in_state(State::Busy).len() == 1);
    let id = world.in_state(State::Busy)[0];
    // Empty once: a mistake of the provider.
    world.listing.push_back(Ok(Vec::new()));
    world.run(61);
    assert_eq!(world.retried, 0);
    assert_ne!(world.rows[&id].state, State::Gone);
    world.until(300, "built", |world| world.done == 1);
}

#[test]
fn machines_that_nobody_knows_are_ended_after_two_sightings() {
    let mut world = World::new(vec![spec(1)]);
    world.ask(1, 0);
    world.until(30, "booting", |world| !world.in_state(State::Booting).is_empty());
    let mut stray = world.machines.values().next().unwrap().clone();
    (stray.member, stray.token) = (None, crate::Token("of-somebody".to_owned()));
    world.machines.insert("i-stray".to_owned(), stray);
    world.run(70);
    assert_eq!(world.machines["i-stray"].status, MachineStatus::Running);
    world.until(200, "reaped", |world| world.machines["i-stray"].status == MachineStatus::Terminated);
    assert_eq!(world.said(ReasonCode::Unknown).len(), 1);
    assert_eq!(world.carried["reap"], 1);
}

#[test]
fn a_high_class_may_go_over_the_maximum() {
    let mut classes = spec(1);
    classes.classes.push(Class {
        name: "high".to_owned(),
        from: 10,
        overflow: 1,
        ..classes.classes[0].clone()
    });
    let mut world = World::new(vec![classes]);
    world.build_time = Duration::from_secs(5000);
    world.ask(3, 0);
    world.until(200, "building", |world| world.in_state(State::Busy).len() == 1);
    world.run(100);
    assert_eq!(world.live(), 1);
    world.ask(1, 20);
    world.until(200, "both building", |world| world.in_state(State::Busy).len() == 2);
    world.run(100);
    assert_eq!(world.live(), 2);
}

#[test]
fn events_about_nothing_change_nothing() {
    let mut world = World::new(vec![spec(1)]);
    world.run(10);
    let id = InstanceId(77);
    let before = format!("{:?}", world.pools.status(world.now));
    for event in [
        Event::Ready { instance: id },
        Event::Disconnected { instance: id, why: String::new() },
        Event::Leaving { instance: id },
        Event::Terminated { instance: id, result: Ok(()) },
        Event::Stopped { instance: id, result: Ok(()) },
        Event::Resumed { instance: id, result: Ok(()) },
        Event::Console { instance: id, result: Ok(String::new()) },
        Event::Warned { instance: id, warning: Warning::Rebalance },
        Event::Launched {
            token: crate::Token("x".to_owned()),
            result: Ok(crate::provider::Launched::default()),
        },
        Event::Lease { pool: "nobody".to_owned(), fence: Some(1) },
    ] {
        let batch = world.pools.handle(world.now, event);
        assert!(batch.rows.is_empty() && batch.orders.is_empty() && batch.decisions.is_empty());
    }
    assert_eq!(format!("{:?}", world.pools.status(world.now)), before);
}

#[test]
fn a_machine_that_cannot_be_started_again_for_a_while_is_tried_until_it_can() {
    let mut stopping = spec(4);
    stopping.stopped = Some(Stopped { max: 1, age: Duration::from_secs(3600) });
    let mut world = World::new(vec![stopping]);
    // Boots are quick: to be late takes little.
    world.boot_time = Duration::from_secs(2);
    world.ask(1, 0);
    world.until(900, "stopped", |world| world.done == 1 && !world.in_state(State::Stopped).is_empty());
    let ids = world.in_state(State::Stopped);
    world.stops.extend([ErrorKind::Transport, ErrorKind::Transport, ErrorKind::Transport]);
    world.ask(1, 0);
    world.until(60, "building", |world| world.in_state(State::Busy) == ids);
    assert_eq!(world.launched, 1, "none was started anew");
}
