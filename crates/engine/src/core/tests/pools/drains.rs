//! No build starts on a machine that goes: whatever comes first.

use ::pools::{Operator, Warning};

use super::*;

/// A cloud with one machine that has one of two builds and room for another.
fn busy() -> (Cloud, i64, u64) {
    let two = |spec: &mut PoolSpec| spec.max_builds = NonZeroU32::new(2);
    let config = farm_with_pools(
        &[],
        &[with(pool("linux", 1), two)],
        &[("b1", &["linux"]), ("b2", &["linux"]), ("b3", &["linux"])],
    );
    let mut cloud = Cloud::new(&config);
    cloud.force(&["b1"], 0).pass(Duration::from_secs(3));
    let [id] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    let session = cloud.boots("linux", id);
    cloud.quietly();
    (cloud, id, session)
}

/// What can happen to a machine while work comes in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Drain,
    Hold,
    Warn,
    Request,
    Finish,
    Leave,
    Reconnect,
    Pass,
}

const DEEDS: [Deed; 8] = [
    Deed::Drain,
    Deed::Hold,
    Deed::Warn,
    Deed::Request,
    Deed::Finish,
    Deed::Leave,
    Deed::Reconnect,
    Deed::Pass,
];

/// Does things in an order; after each, no build may have started on a machine that was closed before.
fn check(deeds: &[Deed]) {
    let (mut cloud, id, mut session) = busy();
    let mut builds: Vec<i64> = vec![1];
    for deed in deeds {
        let closed = !matches!(cloud.state(id), State::Idle | State::Busy | State::Lost | State::ReadyCheck);
        match deed {
            Deed::Drain => {
                cloud.operate(Operator::Drain(InstanceId(id)));
            }
            Deed::Hold => {
                let duration = Duration::from_secs(600);
                let hold = Operator::Hold { instance: InstanceId(id), duration, reason: "look".to_owned() };
                cloud.operate(hold);
            }
            Deed::Warn => {
                let warning = Warning::Interruption(cloud.world.now + Duration::from_secs(120));
                cloud.tell(PoolEvent::Warned { instance: InstanceId(id), warning });
            }
            Deed::Request => {
                cloud.force(&["b2"], 0).force(&["b3"], 0);
            }
            Deed::Finish => {
                if let Some(build) = builds.pop() {
                    cloud.finish(build, Results::Success);
                }
            }
            Deed::Leave => {
                cloud.event(Event::WorkerShutdownRequested { session: SessionId(session) });
            }
            Deed::Reconnect => {
                cloud.lose(session);
                for build in builds.drain(..) {
                    cloud.finish(build, Results::Retry);
                }
                session = cloud.log_in("linux", Some(id));
                cloud.attach(session, &format!("boot-{id}"));
            }
            Deed::Pass => {
                cloud.pass(Duration::from_secs(7));
            }
        }
        let starts = cloud.left.iter().filter(|line| line.starts_with("start ")).cloned().collect::<Vec<_>>();
        assert!(!closed || starts.is_empty(), "{deeds:?} at {deed:?}: {starts:?}");
        builds.extend(starts.iter().filter_map(|line| line[6..].split(':').next()?.parse::<i64>().ok()));
        cloud.quietly();
    }
}

#[test]
fn in_every_order_of_three_things() {
    for a in DEEDS {
        for b in DEEDS {
            for c in DEEDS {
                check(&[a, b, c]);
            }
        }
    }
}

#[test]
fn in_many_orders_of_many_things() {
    // Xorshift: enough to be unpredictable, and the same everywhere.
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..150 {
        let deeds: Vec<Deed> = (0..12)
            .map(|_| {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                DEEDS[(dice % DEEDS.len() as u64) as usize]
            })
            .collect();
        check(&deeds);
    }
}

#[test]
fn what_is_closed_stays_closed_while_a_build_ends() {
    let (mut cloud, id, _) = busy();
    cloud.operate(Operator::Drain(InstanceId(id))).quietly().force(&["b2"], 0);
    assert!(!cloud.left.iter().any(|line| line.starts_with("start")), "{:?}", cloud.left);
    assert_eq!(cloud.state(id), State::Draining);
    cloud.quietly().finish(1, Results::Success);
    assert!(!cloud.left.iter().any(|line| line.starts_with("start")), "{:?}", cloud.left);
    cloud.pass(Duration::from_secs(10));
    assert!(!cloud.machines.contains_key(&InstanceId(id)));
}

#[test]
fn a_machine_for_one_build_gets_one() {
    let one = |spec: &mut PoolSpec| {
        spec.max_builds = None;
        spec.builds_per_instance = NonZeroU32::new(1);
    };
    let config =
        farm_with_pools(&[], &[with(pool("linux", 1), one)], &[("b1", &["linux"]), ("b2", &["linux"])]);
    let mut cloud = Cloud::new(&config);
    cloud.force(&["b1", "b2"], 0).pass(Duration::from_secs(3));
    let [id] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    cloud.quietly().boots("linux", id);
    let starts = cloud.left.iter().filter(|line| line.starts_with("start")).count();
    assert_eq!(starts, 1, "{:?}", cloud.left);
}

#[test]
fn what_the_market_takes_back_is_built_again() {
    let (mut cloud, id, _) = busy();
    let warning = Warning::Interruption(cloud.world.now + Duration::from_secs(120));
    cloud.tell(PoolEvent::Warned { instance: InstanceId(id), warning }).quietly();
    assert_eq!(cloud.state(id), State::Draining);
    cloud.pass(Duration::from_secs(110));
    let interrupted = cloud.left.iter().find(|line| line.starts_with("interrupt 1 (retry)"));
    assert!(interrupted.is_some(), "{:?}", cloud.left);
    cloud.quietly().finish(1, Results::Retry).pass(Duration::from_secs(3));
    let demand = cloud.world.core.demand();
    assert_eq!(demand.requests[0].losses, 1);
    assert_eq!(demand.requests[0].lost_on.as_deref(), Some("here/large"));
}

/// How often the market has ended builds of the request that waits, after its worker's connection was lost and perhaps
/// its machine as well.
fn losses_after_a_lost_connection(market: ::pools::Market, machine_goes: bool) -> (u32, Option<String>) {
    let config = farm_with_pools(&[], &[pool("linux", 1)], &[("b1", &["linux"])]);
    let mut cloud = Cloud::new(&config);
    let mut offers = capabilities();
    offers.offerings[0].market = market;
    cloud.tell(PoolEvent::Offers { pool: "linux".to_owned(), capabilities: offers });
    cloud.force(&["b1"], 0).pass(Duration::from_secs(3));
    let [id] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    let session = cloud.boots("linux", id);
    // A machine that is young may not be listed yet.
    cloud.pass(Duration::from_secs(200)).lose(session);
    if machine_goes {
        cloud.machines.remove(&InstanceId(id));
    }
    cloud.pass(Duration::from_secs(40)).finish(1, Results::Retry).pass(Duration::from_secs(110));
    let demand = cloud.world.core.demand();
    let [request] = &demand.requests[..] else { panic!("{demand:?}") };
    (request.losses, request.lost_on.as_deref().map(str::to_owned))
}

#[test]
fn only_what_the_market_took_counts_as_lost_to_it() {
    use ::pools::Market::{OnDemand, Spot};
    assert_eq!(losses_after_a_lost_connection(Spot, false), (0, None), "a bad network");
    assert_eq!(losses_after_a_lost_connection(OnDemand, true), (0, None), "a broken machine");
    assert_eq!(losses_after_a_lost_connection(Spot, true), (1, Some("here/large".to_owned())));
}

#[test]
fn a_held_machine_builds_again_only_when_it_is_another_one() {
    let (mut cloud, id, _) = busy();
    let hold = Operator::Hold {
        instance: InstanceId(id),
        duration: Duration::from_secs(600),
        reason: "look".to_owned(),
    };
    cloud.operate(hold).finish(1, Results::Success).force(&["b2"], 0).quietly();
    cloud.pass(Duration::from_secs(300));
    assert_eq!(cloud.state(id), State::Held);
    assert!(!cloud.left.iter().any(|line| line.starts_with("start")), "{:?}", cloud.left);
    cloud.operate(Operator::Release(InstanceId(id))).pass(Duration::from_secs(60));
    assert!(!cloud.machines.contains_key(&InstanceId(id)));
}
