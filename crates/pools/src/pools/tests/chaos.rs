//! Anything may happen at any time: what must be true is true at every step, and in the end all is built and nothing is
//! left over.

use std::time::Duration;

use model::{
    InstanceId,
    pool::{Budget, Idle, Money, PoolSpec, Stopped, Warm},
};
use proptest::prelude::*;

use super::world::{Mood, World, error, spec};
use crate::{
    Event, Identity, Operator, State, Warning,
    provider::{ErrorKind, MachineStatus},
    sim::Random,
};

/// Requests that come in.
const REQUESTS: i64 = 40;

fn pool(random: &mut Random) -> PoolSpec {
    let mut pool = spec(u32::try_from(1 + random.below(12)).unwrap());
    pool.max_builds = std::num::NonZeroU32::new(u32::try_from(random.below(4)).unwrap());
    pool.forecast = random.chance(0.5);
    if random.chance(0.3) {
        pool.idle = Idle::Derived;
    }
    if random.chance(0.2) {
        pool.builds_per_instance = std::num::NonZeroU32::new(2);
    }
    if random.chance(0.2) {
        pool.max_age = Some(Duration::from_secs(400));
    }
    if random.chance(0.3) {
        pool.stopped = Some(Stopped { max: 2, age: Duration::from_secs(600) });
    }
    if random.chance(0.2) {
        pool.budget = Budget { hour: Some(Money::from_units(0.45)), ..Budget::default() };
    }
    if random.chance(0.2) {
        pool.warm = Warm::Fixed(1);
    }
    pool
}

fn kind(random: &mut Random) -> ErrorKind {
    match random.below(8) {
        0 => ErrorKind::Capacity,
        1 => ErrorKind::Quota(None),
        2 | 3 => ErrorKind::Throttled(None),
        4 => ErrorKind::Config,
        _ => ErrorKind::Transport,
    }
}

fn any_instance(world: &World, random: &mut Random) -> InstanceId {
    let ids: Vec<InstanceId> = world.rows.keys().copied().collect();
    ids.get(random.below(ids.len())).copied().unwrap_or_default()
}

/// Something goes wrong, or somebody interferes.
fn trouble(world: &mut World, random: &mut Random) {
    let id = any_instance(world, random);
    match random.below(25) {
        0 => world.crash(),
        1 | 2 => {
            let kind = kind(random);
            world.moods.push_back(Mood::Fails(kind));
        }
        // Capacity and throttling say that nothing was done; who says so and has done something is not to be helped.
        3 => world.moods.push_back(Mood::FailsAfterwards(ErrorKind::Transport)),
        4 => {
            let count = random.below(3);
            world.moods.push_back(Mood::Only(count, ErrorKind::Capacity));
        }
        5 => world.moods.push_back(Mood::Open),
        6 => world.moods.push_back(Mood::Silent),
        7 => world.listing.push_back(Err(error(ErrorKind::Transport))),
        8 => world.listing.push_back(Ok(Vec::new())),
        9 => {
            let mut part = world.list();
            part.truncate(random.below(part.len() + 1));
            world.listing.push_back(Ok(part));
        }
        10 | 11 => world.disconnect(id),
        12 => {
            if world.machines.values().any(|machine| machine.member == Some(id)) {
                world.machine_dies(id);
            }
        }
        13 => {
            let warning = match random.below(4) {
                0 => Warning::Rebalance,
                1 => Warning::Impaired(world.now),
                2 => Warning::Recovered,
                _ => Warning::Interruption(world.now + Duration::from_secs(120)),
            };
            world.tell(Event::Warned { instance: id, warning });
        }
        14 => world.operate(Operator::Drain(id)),
        15 => {
            let duration = Duration::from_secs(300);
            world.operate(Operator::Hold { instance: id, duration, reason: "to look at it".to_owned() });
        }
        16 => world.operate(Operator::Release(id)),
        17 => {
            let template = format!("template-{}", random.below(3));
            world.reconfigure(|spec| spec.template.clone_from(&template));
        }
        18 => {
            let max = u32::try_from(1 + random.below(12)).unwrap();
            world.reconfigure(|spec| spec.max = max);
        }
        19 => {
            let _known = world.log_in("linux", Some(id));
        }
        20 => {
            // What comes late, twice, or never should have.
            for event in [
                Event::Ready { instance: id },
                Event::Terminated { instance: id, result: Ok(()) },
                Event::Stopped { instance: id, result: Err(error(ErrorKind::Transport)) },
                Event::Resumed { instance: id, result: Err(error(ErrorKind::Transport)) },
                Event::Console { instance: id, result: Ok("text".to_owned()) },
            ] {
                if !matches!(event, Event::Ready { .. }) || world.workers.contains_key(&id) {
                    world.tell(event);
                }
            }
        }
        21 => {
            if world.workers.contains_key(&id) {
                let boot = Some("another".to_owned());
                world.tell(Event::Identified {
                    instance: id,
                    identity: Identity { boot, ..Identity::default() },
                });
            }
        }
        22 => world.boots = !world.boots,
        23 => {
            let kind = kind(random);
            world.stops.push_back(kind);
        }
        _ => {
            let fence = world.pools.fence("linux");
            if fence.is_none() {
                return;
            }
            world.tell(Event::Lease { pool: "linux".to_owned(), fence: None });
            world.tell_in(Duration::from_secs(20), Event::Lease { pool: "linux".to_owned(), fence });
        }
    }
}

fn live_through(seed: u64) {
    let mut random = Random::new(seed);
    let mut world = World::new(vec![pool(&mut random)]);
    world.build_time = Duration::from_secs(20 + random.below(200) as u64);
    world.boot_time = Duration::from_secs(5 + random.below(100) as u64);
    for _ in 0..REQUESTS {
        let after = Duration::from_secs(random.below(3000) as u64);
        world.ask_in(after, i64::try_from(random.below(3)).unwrap());
    }
    for _ in 0..60 {
        world.run(random.below(60) as u64);
        trouble(&mut world, &mut random);
        world.settle();
    }
    // Calm again.
    world.moods.clear();
    world.listing.clear();
    world.stops.clear();
    world.boots = true;
    world.until(40_000, "all built", |world| {
        world.done >= u32::try_from(REQUESTS).unwrap() && world.queue.is_empty()
    });
    world.reconfigure(|spec| (spec.warm, spec.stopped) = (Warm::Fixed(0), None));
    world.operate(Operator::Scale { pool: "linux".to_owned(), min: None });
    world.until(90_000, "all gone", |world| {
        world.live() == 0
            && world.rows.values().all(|row| row.state == State::Gone)
            && world.machines.values().all(|machine| machine.status == MachineStatus::Terminated)
    });
    let mut per_token = std::collections::BTreeMap::new();
    for machine in world.machines.values() {
        *per_token.entry(machine.token.clone()).or_insert(0_usize) += 1;
    }
    for call in &world.calls {
        let started = per_token.get(&call.token).copied().unwrap_or(0);
        assert!(started <= call.members.len(), "{started} machines of call {}", call.token);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens(seed in any::<u64>()) {
        live_through(seed);
    }
}

#[test]
fn seeds_that_have_failed() {
    for seed in (0..40).chain([9426076576255941441, 16648592002609969858]) {
        live_through(seed);
    }
}
