//! From demand to machines.

use super::*;

fn one() -> Cloud {
    Cloud::new(&farm_with_pools(&[], &[pool("linux", 3)], &[("b1", &["linux"]), ("b2", &["linux"])]))
}

#[test]
fn rows_come_before_the_call_that_rests_on_them() {
    let mut cloud = one();
    cloud.answers = false;
    cloud.force(&["b1"], 0).force(&["b2"], 0).rows.clear();
    cloud.pass(Duration::from_secs(3));
    let Some(Order::Launch(request)) = cloud.unanswered.pop_front() else { panic!("nothing was launched") };
    assert_eq!(request.members.len(), 2);
    for member in &request.members {
        assert_eq!(member.login, format!("linux@{}", member.instance));
        assert!(member.secret.is_some());
        // All rows of a batch are durable before any of its actions leaves.
        let row = cloud.rows.iter().rev().find_map(|write| match write {
            Write::Instance(row) if row.id == member.instance => Some(row),
            _ => None,
        });
        let row = row.expect("a row");
        assert_eq!((row.state.as_str(), &row.token, row.fence), ("requested", &request.token.0, 1));
    }
    let credentials = cloud.left.iter().filter(|line| line.ends_with("proves a secret")).count();
    assert_eq!(credentials, 2);
    assert!(cloud.rows.iter().any(|write| matches!(write, Write::Decision(_))));
}

#[test]
fn a_machine_comes_builds_and_goes() {
    let mut cloud = one();
    cloud.force(&["b1"], 0).quietly().pass(Duration::from_secs(3));
    let [id] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    cloud.expect(&format!("linux@{id} proves a secret\nlaunch 1 of linux: {id}"));
    let session = cloud.log_in("linux", Some(id));
    cloud.expect(&format!("admit {session}: b1 b2"));
    cloud.attach(session, "boot").expect("start 1: b1 #1 on linux-1 for [1]");
    assert_eq!(cloud.state(id), State::Busy);
    cloud.finish(1, Results::Success).expect("");
    assert_eq!(cloud.state(id), State::Idle);
    cloud.pass(Duration::from_secs(120));
    assert!(cloud.machines.is_empty());
    cloud.lose(session).pass(Duration::from_secs(30));
    assert_eq!(cloud.state(id), State::Gone);
    let status = cloud.world.core.workers();
    assert_eq!(status.len(), 1, "the slot stays");
    assert_eq!((status[0].name.as_str(), status[0].session), ("linux-1", None));
}

#[test]
fn a_build_knows_its_machine() {
    let mut cloud = one();
    cloud.force(&["b1"], 0).pass(Duration::from_secs(3));
    let [id] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    cloud.rows.clear();
    cloud.boots("linux", id);
    let property = |name: &str| {
        cloud.rows.iter().find_map(|write| match write {
            Write::BuildProperty { name: other, value, source, .. } if other == name => {
                Some((value.clone(), source.clone()))
            }
            _ => None,
        })
    };
    let pool = |value: Json| Some((value, "Pool".to_owned()));
    assert_eq!(property("pool"), pool("linux".into()));
    assert_eq!(property("instance_id"), pool(format!("i-{id}").into()));
    assert_eq!(property("instance_type"), pool("large".into()));
    assert_eq!(property("price"), pool(0.25.into()));
    assert_eq!(property("queue_wait"), pool(3.0.into()));
    assert_eq!(property("workername"), Some(("linux-1".into(), "Worker".to_owned())));
}

#[test]
fn ordinary_workers_come_first() {
    let config = farm_with_pools(&[("w1", 1)], &[pool("linux", 3)], &[("b1", &["linux", "w1"])]);
    let mut cloud = Cloud::new(&config);
    cloud.force(&["b1"], 0).pass(Duration::from_secs(3));
    let [id] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    cloud.boots("linux", id);
    cloud.finish(1, Results::Success).connect(1, "w1").quietly();
    cloud.force(&["b1"], 0);
    assert!(cloud.left[0].starts_with("start 2: b1 #2 on w1"), "{:?}", cloud.left);
}

#[test]
fn nothing_is_hired_while_the_master_starts_no_builds() {
    let mut cloud = one();
    cloud.event(Event::Drain { reply: ReplyId(0) }).force(&["b1"], 0).quietly();
    cloud.pass(Duration::from_secs(600)).expect("");
    assert!(cloud.machines.is_empty());
}

#[test]
fn idle_machines_go_while_the_master_waits_for_its_last_builds() {
    let mut cloud = one();
    cloud.force(&["b1", "b2"], 0).pass(Duration::from_secs(3));
    let [first, second] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    cloud.boots("linux", first);
    cloud.boots("linux", second);
    cloud.finish(1, Results::Success);
    cloud.event(Event::Drain { reply: ReplyId(0) }).force(&["b1", "b2"], 0).quietly();
    cloud.rows.clear();
    cloud.pass(Duration::from_secs(600));
    assert_eq!(cloud.ids(), [second], "{:?}", cloud.left);
    assert!(!cloud.left.iter().any(|line| line.starts_with("launch")), "{:?}", cloud.left);
    let saved = |write: &Write| matches!(write, Write::PoolState { .. });
    assert!(cloud.rows.iter().any(saved), "what was learned is kept");
    let plan = cloud.world.core.plan_pools(cloud.world.now);
    assert_eq!(plan[0].code, Some(::pools::ReasonCode::Ending));
}

#[test]
fn nothing_is_hired_without_a_lease() {
    let mut cloud = one();
    cloud.tell(PoolEvent::Lease { pool: "linux".to_owned(), fence: None });
    cloud.force(&["b1"], 0).quietly().pass(Duration::from_secs(60)).expect("");
    cloud.tell(PoolEvent::Lease { pool: "linux".to_owned(), fence: Some(2) });
    cloud.pass(Duration::from_secs(10));
    assert_eq!(cloud.machines.len(), 1);
    let fences: Vec<u64> = cloud
        .rows
        .iter()
        .filter_map(|write| if let Write::Instance(row) = write { Some(row.fence) } else { None })
        .collect();
    assert!(fences.iter().all(|fence| *fence == 2), "{fences:?}");
}

#[test]
fn a_request_says_what_it_can_expect() {
    let mut cloud = one();
    cloud.answers = false;
    cloud.force(&["b1"], 0);
    cloud.world.why(1, "it waits for a machine of pool linux");
    cloud.pass(Duration::from_secs(3));
    let why = cloud.world.core.why(BuildRequestId(1));
    let expected = why.pool.expect("an expectation");
    assert_eq!(expected.pool, "linux");
    assert!(expected.start.is_some_and(|start| start > cloud.world.now), "{expected:?}");
    assert!(why.text.starts_with("pool linux: "), "{}", why.text);
}

#[test]
fn a_dry_run_does_nothing() {
    let mut cloud = one();
    cloud.force(&["b1"], 0).quietly();
    cloud.pass(Duration::from_millis(900));
    let now = cloud.world.now + Duration::from_secs(1);
    let plan = cloud.world.core.plan_pools(now);
    assert_eq!(
        plan.iter().map(|plan| (plan.pool.as_str(), plan.started())).collect::<Vec<_>>(),
        [("linux", 1)]
    );
    cloud.expect("");
    assert!(cloud.machines.is_empty());
}

#[test]
fn people_decide_about_what_there_is() {
    use ::pools::Operator;
    let mut cloud = one();
    cloud.operate(Operator::Drain(InstanceId(77))).expect("refused: no pool has an instance 77");
    cloud.operate(Operator::Resume("mac".to_owned())).expect("refused: no pool is called \"mac\"");
    let pause = Operator::Pause { pool: "linux".to_owned(), reason: "repair".to_owned() };
    cloud.operate(pause).expect("Done");
    cloud.force(&["b1"], 0).pass(Duration::from_secs(60));
    assert!(cloud.machines.is_empty());
    cloud.operate(Operator::Resume("linux".to_owned())).pass(Duration::from_secs(6));
    assert_eq!(cloud.machines.len(), 1);
}

#[test]
fn what_never_waits_is_expected_again_all_the_same() {
    let names: Vec<String> = (0..10).map(|n| format!("b{n}")).collect();
    let builders: Vec<(&str, &[&str])> = names.iter().map(|name| (&**name, &["linux"][..])).collect();
    let forecast = |spec: &mut PoolSpec| spec.forecast = true;
    let mut cloud = Cloud::new(&farm_with_pools(&[], &[with(pool("linux", 50), forecast)], &builders));
    for guest in 0..10 {
        let session = cloud.log_in("linux", None);
        cloud.attach(session, &format!("guest {guest}"));
    }
    for name in &names {
        cloud.force(&[name], 0);
    }
    assert!(cloud.ids().is_empty(), "each was built at once");
    cloud.pass(Duration::from_secs(10));
    assert!(!cloud.ids().is_empty(), "more come in than end while a machine boots");
}
