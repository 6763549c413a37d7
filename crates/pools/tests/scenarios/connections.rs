//! Workers that come, go, and come back; and drains that race with builds.

use model::{InstanceId, Time};
use pools::{
    Event, Identity, Login, Order, State,
    sim::{Ours, Policy, Simulation},
};

use crate::stage::{POOL, at, hours, jobs, ours, pushes, secs, sound, with_cloud, world};

#[test]
fn s15_no_build_starts_on_a_machine_that_is_told_to_leave() {
    // A job arrives at each of many moments around the one at which an idle machine is laid off. The simulation says
    // `wrong` when a build starts on a machine that is being ended, or a machine is ended that may be given builds.
    for offset in 0..120_u64 {
        let mut all = jobs(3, 0, 0, 100);
        all.extend(jobs(3, 330 + offset * 2, 1, 50));
        let mut setting = with_cloud(world(10, all), |cloud| cloud.hang = 0.0);
        setting.seed = offset;
        let outcome = ours(setting).run();
        sound(&outcome);
        assert_eq!(outcome.lost, 0);
    }
}

#[test]
fn s15_a_drained_machine_finishes_its_build_and_gets_no_other() {
    let mut run = ours(with_cloud(world(5, jobs(20, 0, 0, 300)), |cloud| cloud.hang = 0.0));
    run.at(at(400), |run| {
        let busy: Vec<InstanceId> = run.connected().map(|(instance, _)| instance).collect();
        assert_eq!(busy.len(), 5);
        for instance in busy {
            assert_eq!(run.farm.running_on(instance).len(), 1);
            run.tell(Event::Operator(pools::Operator::Drain(instance)));
            assert_eq!(run.farm.is_open(instance), Some(false), "closed in the same moment");
            assert_eq!(run.farm.running_on(instance).len(), 1, "and still building");
        }
    });
    let outcome = run.run();
    sound(&outcome);
    assert_eq!(outcome.lost, 0);
    assert!(run.cloud.machines[..5].iter().all(|machine| machine.used));
}

/// A world with one machine that is connected, at this time.
fn one_machine(run: &mut Simulation<Ours>) -> (InstanceId, Time) {
    let (instance, _) = run.connected().next().expect("a machine is connected");
    (instance, run.clock())
}

fn closes(orders: &[Order]) -> bool {
    orders.iter().any(|order| matches!(order, Order::Disconnect { .. } | Order::Terminate { .. }))
}

#[test]
fn s22_only_the_right_worker_is_let_in() {
    let mut run = ours(with_cloud(world(5, jobs(2, 0, 0, 600)), |cloud| cloud.hang = 0.0));
    run.at(at(400), |run| {
        let (instance, now) = one_machine(run);
        let pools = &mut run.policy.pools;
        let mut log_in =
            |pool, id| pools.log_in(now, &Login { pool, instance: Some(id), peer: "stranger" }).0;
        assert!(log_in("other", instance).is_err(), "of another pool");
        assert!(log_in(POOL, InstanceId(4711)).is_err(), "an instance that is not there");
        // The same machine again: its connection may have died without a word. The engine asks the first one.
        let again = log_in(POOL, instance);
        assert!(again.is_err() || again.is_ok_and(|admission| admission.connected));
    });
    sound(&run.run());
}

#[test]
fn s22_a_worker_of_another_boot_is_turned_away() {
    let mut run = ours(with_cloud(world(5, jobs(1, 0, 0, 600)), |cloud| cloud.hang = 0.0));
    run.at(at(400), |run| {
        let (instance, now) = one_machine(run);
        let identity = |boot: &str| Identity { boot: Some(boot.to_owned()), ..Identity::default() };
        let machine = run.machine_of(instance).unwrap();
        let same = run
            .policy
            .handle(now, Event::Identified { instance, identity: identity(&format!("boot-{machine}-1")) });
        assert!(!closes(&same.orders), "the same boot: {same:?}");
        let other = run.policy.handle(now, Event::Identified { instance, identity: identity("another") });
        assert!(closes(&other.orders), "another boot: {other:?}");
        run.apply(other);
    });
    run.run();
    assert_eq!(run.cloud.live, [0]);
}

#[test]
fn s22_a_credential_is_not_good_for_ever() {
    let mut run = ours(with_cloud(world(5, jobs(1, 0, 0, 60)), |cloud| cloud.hang = 0.0));
    run.at(at(400), |run| {
        // By now its build is over; it waits for more.
        let (instance, _) = one_machine(run);
        run.at(at(3600), move |run| {
            let now = run.clock();
            let gone = run.policy.pools.instance(instance).is_none_or(|row| row.state == State::Gone);
            assert!(gone);
            let login = Login { pool: POOL, instance: Some(instance), peer: "replayed" };
            assert!(run.policy.pools.log_in(now, &login).0.is_err());
        });
    });
    sound(&run.run());
}

#[test]
fn s23_five_minutes_without_a_network_lose_no_job() {
    let mut run = ours(with_cloud(world(50, pushes(300, hours(6), 31)), |cloud| cloud.hang = 0.0));
    run.at(at(2 * 3600), |run| run.cut());
    run.at(at(2 * 3600 + 300), |run| run.cloud.faults.split = false);
    let outcome = run.run();
    sound(&outcome);
}

#[test]
fn s23_a_connection_that_comes_back_soon_keeps_its_machine() {
    let mut run = ours(with_cloud(world(50, jobs(20, 0, 0, 1200)), |cloud| cloud.hang = 0.0));
    run.at(at(600), |run| {
        let there: Vec<usize> = run.connected().map(|(_, machine)| machine).collect();
        run.cut();
        run.at(at(660), move |run| {
            let back: Vec<usize> = run.connected().map(|(_, machine)| machine).collect();
            assert!(
                there.iter().all(|machine| back.contains(machine)),
                "{there:?} were there, and {back:?} are again"
            );
        });
    });
    run.at(at(625), |run| run.cloud.faults.split = false);
    sound(&run.run());
}

#[test]
fn s23_after_two_hours_without_a_network_machines_have_ended_themselves() {
    let mut run = ours(with_cloud(world(50, jobs(40, 0, 4 * 3600, 600)), |cloud| cloud.hang = 0.0));
    run.at(at(3600), |run| {
        run.cut();
        // Nor can the provider be reached.
        run.cloud.faults.throttle_terminate = true;
        run.cloud.faults.listing = pools::sim::Listing::Fails;
        run.cloud.faults.throttle = true;
    });
    run.at(at(3600 + 2 * 3600), |run| {
        assert_eq!(run.cloud.live, [0], "dead man");
        run.cloud.faults = Default::default();
    });
    let outcome = run.run();
    sound(&outcome);
    assert!(outcome.max_wait_s < 2.0 * 3600.0 + secs(900).as_secs_f64());
}
