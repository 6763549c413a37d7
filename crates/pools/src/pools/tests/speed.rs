//! How long a pass and an event take when there is much to look at.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use model::{BuildId, BuildRequestId, BuilderId, InstanceId, Results};

use super::world::{World, spec};
use crate::{
    Demand, Event, State,
    demand::{DemandBuilder, Waiting},
};

/// Run in release mode to see what counts: `cargo nextest run --release -p ganger-pools speed --no-capture`. Without
/// optimisation all takes many times as long.
#[test]
fn a_pass_over_two_thousand_machines_and_ten_thousand_requests_is_quick() {
    let mut pool = spec(2000);
    pool.forecast = true;
    let mut world = World::new(vec![pool]);
    let mut capabilities = world.offers.clone();
    capabilities.batch = 1000;
    capabilities.api.instances = 5000;
    world.tell(Event::Offers { pool: "linux".to_owned(), capabilities });
    world.run(5);
    // All machines at once, by hand: the small world would take its time.
    let builders = 50;
    let demand = demand(&world, 10_000, builders);
    let at = world.now + Duration::from_secs(10);
    let batch = world.pools.pass(at, &demand);
    let ids: Vec<InstanceId> = batch.rows.iter().map(|row| row.id).collect();
    assert_eq!(ids.len(), 2000);
    for (n, id) in ids.iter().enumerate() {
        let login = crate::Login { pool: "linux", instance: Some(*id), peer: "here" };
        world.pools.log_in(at, &login).0.unwrap();
        world.pools.handle(at, Event::Ready { instance: *id });
        let n = i64::try_from(n).unwrap();
        if n % 20 != 0 {
            start(&mut world, at, *id, n, builders);
        }
    }
    let busy = world.pools.status(at)[0].by_state[&State::Busy];
    assert_eq!(busy, 1900);
    let mut best = Duration::MAX;
    for n in 0..10 {
        let at = at + Duration::from_secs(5 * n);
        let began = Instant::now();
        let batch = world.pools.pass(at, &demand);
        best = best.min(began.elapsed());
        assert!(batch.rows.is_empty());
    }
    let began = Instant::now();
    for n in 1..1000 {
        let build = BuildId(i64::try_from(n).unwrap());
        if n % 20 != 0 {
            let instance = ids[n];
            let results = Results::Success;
            world.pools.handle(at, Event::BuildEnded { instance, build, results, machinery_failed: false });
            start(&mut world, at, instance, build.0, builders);
        }
    }
    let event = began.elapsed() / 2000;
    world.pools.check(at).unwrap();
    eprintln_speed(best, event);
    let factor = if cfg!(debug_assertions) { 40 } else { 1 };
    assert!(best <= Duration::from_millis(5) * factor, "a pass takes {best:?}");
    assert!(event <= Duration::from_micros(20) * factor, "an event takes {event:?}");
}

#[expect(clippy::print_stderr, reason = "what one runs it for")]
fn eprintln_speed(pass: Duration, event: Duration) {
    eprintln!("a pass takes {pass:?}, an event {event:?}");
}

fn start(world: &mut World, at: model::Time, instance: InstanceId, n: i64, builders: i64) {
    let event = Event::BuildStarted {
        instance,
        build: BuildId(n),
        builder: BuilderId(n % builders),
        request: BuildRequestId(n),
        priority: 0,
        waited: Duration::from_secs(1),
    };
    world.pools.handle(at, event);
}

fn demand(world: &World, requests: i64, builders: i64) -> Demand {
    let builder = |id| DemandBuilder { id: BuilderId(id), name: "b".into(), pools: vec![Arc::from("linux")] };
    let waiting = |n: i64| Waiting {
        request: BuildRequestId(1_000_000 + n),
        builder: usize::try_from(n % builders).unwrap(),
        priority: 0,
        submitted_at: world.now,
        needs: Vec::new(),
        collapses_into: None,
        losses: 0,
        lost_on: None,
    };
    Demand {
        builders: (0..builders).map(builder).collect(),
        requests: (0..requests).map(waiting).collect(),
        ..Demand::default()
    }
}
