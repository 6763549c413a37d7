//! Which machine is which worker, and which build goes where.

use super::*;

#[test]
fn slots_are_made_when_they_are_first_used() {
    let mut cloud =
        Cloud::new(&farm_with_pools(&[], &[pool("linux", 50)], &[("b1", &["linux"]), ("b2", &["linux"])]));
    assert!(cloud.world.core.workers().is_empty());
    cloud.force(&["b1", "b2"], 0).pass(Duration::from_secs(3));
    let ids = cloud.ids();
    cloud.rows.clear();
    for id in ids {
        cloud.boots("linux", id);
    }
    let rows: Vec<String> = cloud
        .rows
        .iter()
        .filter(|write| matches!(write, Write::Worker { .. } | Write::ConfiguredWorker { .. }))
        .map(|write| match write {
            Write::ConfiguredWorker { worker, builders } => format!("{worker} builds {builders:?}"),
            other => other.to_string(),
        })
        .collect();
    assert_eq!(
        rows,
        [
            "worker 1 (\"linux-1\")",
            "1 builds [BuilderId(1), BuilderId(2)]",
            "worker 2 (\"linux-2\")",
            "2 builds [BuilderId(1), BuilderId(2)]"
        ]
    );
}

#[test]
fn a_slot_that_the_tables_know_keeps_its_id() {
    let config = farm_with_pools(&[], &[pool("linux", 5)], &[("b1", &["linux"])]);
    let mut hiring = Hiring::new(&config, Box::new(Coins::default()));
    hiring.slots.insert("linux-1".to_owned(), (WorkerId(17), None));
    let (core, batch) = Core::new(
        Arc::clone(&config),
        Restored::default(),
        BTreeMap::new(),
        hiring,
        Box::new(Counters::default()),
        START,
    );
    let mut cloud = Cloud::new(&config);
    cloud.world = World { core, now: START, batch };
    cloud.offer("linux");
    cloud.log_in("linux", None);
    assert_eq!(cloud.world.core.workers()[0].id, WorkerId(17));
}

/// A machine that may run several builds is filled before another one gets any, so that the other one can go.
#[test]
fn machines_are_filled_one_after_the_other() {
    let three = |spec: &mut PoolSpec| spec.max_builds = NonZeroU32::new(3);
    let builders: Vec<(String, Vec<&str>)> = (1..=4).map(|i| (format!("b{i}"), vec!["linux"])).collect();
    let builders: Vec<(&str, &[&str])> =
        builders.iter().map(|(name, workers)| (name.as_str(), &workers[..])).collect();
    let mut cloud = Cloud::new(&farm_with_pools(&[], &[with(pool("linux", 5), three)], &builders));
    for _ in 0..2 {
        let session = cloud.log_in("linux", None);
        cloud.attach(session, "guest");
    }
    cloud.quietly().force(&["b1"], 0).force(&["b2"], 0).force(&["b3"], 0).force(&["b4"], 0);
    let workers = |cloud: &Cloud| {
        let starts = cloud.left.iter().filter(|line| line.starts_with("start"));
        starts.filter_map(|line| line.split(' ').nth(5).map(str::to_owned)).collect::<Vec<_>>()
    };
    // The one that became free last is the first to be taken.
    assert_eq!(workers(&cloud), ["linux-2", "linux-2", "linux-2", "linux-1"]);
    for build in 1..=4 {
        cloud.finish(build, Results::Success);
    }
    cloud.quietly().force(&["b1"], 0);
    assert_eq!(workers(&cloud), ["linux-1"]);
}

#[test]
fn a_pause_is_for_the_machine_that_is_there() {
    let mut cloud = Cloud::new(&farm_with_pools(&[], &[pool("linux", 5)], &[("b1", &["linux"])]));
    let session = cloud.log_in("linux", None);
    cloud.attach(session, "guest");
    let pause =
        Event::PauseWorker { worker: "linux-1".to_owned(), reason: "odd".to_owned(), reply: ReplyId(0) };
    cloud.event(pause).quietly().force(&["b1"], 0);
    assert!(!cloud.left.iter().any(|line| line.starts_with("start")));
    cloud.lose(session).quietly();
    let session = cloud.log_in("linux", None);
    cloud.attach(session, "another guest");
    assert!(cloud.left.contains(&"start 1: b1 #1 on linux-1 for [1]".to_owned()), "{:?}", cloud.left);
}

#[test]
fn a_machine_that_is_lost_has_its_build_done_again() {
    let mut cloud = Cloud::new(&farm_with_pools(&[], &[pool("linux", 5)], &[("b1", &["linux"])]));
    cloud.force(&["b1"], 0).pass(Duration::from_secs(3));
    let [id] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    let session = cloud.boots("linux", id);
    cloud.quietly().lose(session);
    cloud.expect("interrupt 1 (retry): worker linux-1 was lost: connection lost");
    assert_eq!(cloud.state(id), State::Lost);
    cloud.finish(1, Results::Retry).quietly();
    // It comes back in time, and goes on.
    let session = cloud.boots("linux", id);
    cloud.expect(&format!("admit {session}: b1\nstart 2: b1 #2 on linux-1 for [1]"));
}

#[test]
fn a_worker_and_a_slot_of_one_name_do_not_mix() {
    let config = farm_with_pools(&[("linux-1", 1)], &[pool("linux", 5)], &[("b1", &["linux", "linux-1"])]);
    let mut cloud = Cloud::new(&config);
    cloud.connect(1, "linux-1").quietly();
    let session = cloud.log_in("linux", None);
    cloud.expect(&format!("refuse {session}: the name linux-1 is that of a worker outside the pools"));
}

#[test]
fn a_slot_is_not_a_name_to_log_in_with() {
    let mut cloud = Cloud::new(&farm_with_pools(&[], &[pool("linux", 5)], &[("b1", &["linux"])]));
    cloud.log_in("linux", None);
    cloud.quietly().event(Event::LoggedIn { session: SessionId(1), worker: "linux-1".to_owned() });
    cloud.expect("refuse 1: worker linux-1 is no longer in the configuration");
}

#[test]
fn a_reload_adds_changes_and_removes_pools() {
    let before = farm_with_pools(&[], &[pool("linux", 5)], &[("b1", &["linux"])]);
    let mut cloud = Cloud::new(&before);
    cloud.force(&["b1"], 0).pass(Duration::from_secs(3));
    let [id] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    let session = cloud.boots("linux", id);
    cloud.quietly();
    let mut changed = pool("linux", 7);
    changed.properties.set("colour", "red", "Worker");
    let both =
        farm_with_pools(&[], &[changed, pool("mac", 1)], &[("b1", &["linux"]), ("b2", &["mac", "linux"])]);
    let reload = |config: &Arc<Config>| Event::Reconfigure {
        config: Arc::clone(config),
        known: Box::default(),
        reply: ReplyId(0),
    };
    cloud.event(reload(&both));
    assert!(cloud.left.contains(&format!("builders for {session}: b1 b2")), "{:?}", cloud.left);
    let changes = cloud.left.iter().find(|line| line.starts_with("changed: ")).expect("an answer");
    assert!(changes.contains("pool linux changed; pool mac added"), "{changes}");
    // Without the pool, its machine finishes what it has, and goes.
    let gone = farm_with_pools(&[], &[pool("mac", 1)], &[("b1", &["mac"]), ("b2", &["mac"])]);
    cloud.quietly().event(reload(&gone));
    assert!(cloud.left.iter().any(|line| line.contains("pool linux removed")), "{:?}", cloud.left);
    assert!(!cloud.left.iter().any(|line| line.starts_with("interrupt")), "{:?}", cloud.left);
    assert_eq!(cloud.state(id), State::Draining);
    cloud.force(&["b1"], 0).quietly().finish(1, Results::Success).pass(Duration::from_secs(30));
    assert!(!cloud.machines.contains_key(&InstanceId(id)));
    let status = cloud.world.core.workers();
    assert!(status.iter().all(|worker| worker.name != "linux-1" || !worker.configured));
}

#[test]
fn a_machine_that_is_paused_is_no_place_for_what_waits() {
    let mut cloud = Cloud::new(&farm_with_pools(&[], &[pool("linux", 5)], &[("b1", &["linux"])]));
    cloud.force(&["b1"], 0).pass(Duration::from_secs(3));
    let [first] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    cloud.boots("linux", first);
    cloud.finish(1, Results::Success);
    let pause =
        Event::PauseWorker { worker: "linux-1".to_owned(), reason: "odd".to_owned(), reply: ReplyId(0) };
    cloud.event(pause).force(&["b1"], 0).pass(Duration::from_secs(3));
    let [_, second] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    cloud.boots("linux", second);
    assert!(cloud.left.contains(&"start 2: b1 #2 on linux-2 for [2]".to_owned()), "{:?}", cloud.left);
    // Nobody needs it: it goes like others without work.
    cloud.pass(Duration::from_secs(120));
    assert_eq!(cloud.ids(), [second]);
}

#[test]
fn a_machine_whose_machinery_failed_is_no_place_while_it_is_left_alone() {
    let mut cloud = Cloud::new(&farm_with_pools(&[], &[pool("linux", 5)], &[("b1", &["linux"])]));
    cloud.force(&["b1"], 0).pass(Duration::from_secs(3));
    let [first] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    cloud.boots("linux", first);
    cloud.finish(1, Results::Retry).pass(Duration::from_secs(3));
    assert_eq!(cloud.ids().len(), 2, "another one is started for what waits again");
}
