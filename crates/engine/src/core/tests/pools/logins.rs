//! Who is let in by the core, once he has proved to know a secret.

use super::*;

fn one() -> Cloud {
    let pools = [pool("linux", 2), pool("mac", 2)];
    let mut cloud = Cloud::new(&farm_with_pools(&[], &pools, &[("b1", &["linux"]), ("b2", &["mac"])]));
    cloud.force(&["b1"], 0).pass(Duration::from_secs(3)).quietly();
    cloud
}

fn recorded(cloud: &Cloud) -> Vec<String> {
    let refused = |write: &Write| match write {
        Write::Decision(row) if row.code == "login_refused" => Some(row.text.clone()),
        _ => None,
    };
    cloud.rows.iter().filter_map(refused).collect()
}

#[test]
fn an_instance_of_another_pool_is_refused() {
    let mut cloud = one();
    let [id] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    let session = cloud.log_in("mac", Some(id));
    cloud.expect(&format!("refuse {session}: instance {id} belongs to pool linux, not to mac"));
    assert_eq!(recorded(&cloud).len(), 1);
}

#[test]
fn an_instance_that_never_was_is_refused() {
    let mut cloud = one();
    let session = cloud.log_in("linux", Some(999));
    cloud.expect(&format!("refuse {session}: pool linux has no instance 999"));
    assert_eq!(recorded(&cloud).len(), 1);
}

#[test]
fn an_instance_that_is_gone_is_refused() {
    let mut cloud = one();
    let [id] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    let session = cloud.boots("linux", id);
    cloud.finish(1, Results::Success).pass(Duration::from_secs(120)).lose(session);
    cloud.pass(Duration::from_secs(30)).quietly();
    assert_eq!(cloud.state(id), State::Gone);
    let session = cloud.log_in("linux", Some(id));
    assert!(cloud.left[0].starts_with(&format!("refuse {session}: ")), "{:?}", cloud.left);
    assert_eq!(recorded(&cloud).len(), 1);
}

#[test]
fn a_second_worker_of_an_instance_that_is_alive_is_refused() {
    let mut cloud = one();
    let [id] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    let first = cloud.boots("linux", id);
    cloud.quietly();
    let second = cloud.log_in("linux", Some(id));
    cloud.expect(&format!("probe {first}"));
    let third = cloud.log_in("linux", Some(id));
    cloud.expect(&format!(
        "refuse {third}: another connection of instance {id} is already waiting for the first one to answer"
    ));
    cloud.event(Event::ProbeAnswered { session: SessionId(first), alive: true });
    cloud.expect(&format!(
        "refuse {second}: worker linux-1 is connected already, and that connection answers"
    ));
    assert_eq!(recorded(&cloud).len(), 2);
    cloud.lose(second).lose(third).expect("");
    assert_eq!(cloud.state(id), State::Busy);
}

#[test]
fn a_worker_whose_connection_is_dead_takes_its_own_place() {
    let mut cloud = one();
    let [id] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    let first = cloud.boots("linux", id);
    cloud.quietly();
    let second = cloud.log_in("linux", Some(id));
    cloud.quietly().event(Event::ProbeAnswered { session: SessionId(first), alive: false });
    let gone = "worker linux-1 logged in again, and this connection did not answer";
    cloud.expect(&format!(
        "disconnect {first}: {gone}
         interrupt 1 (retry): worker linux-1 was lost: {gone}
         admit {second}: b1"
    ));
    cloud.lose(first).finish(1, Results::Retry).quietly().attach(second, &format!("boot-{id}"));
    cloud.expect("start 2: b1 #2 on linux-1 for [1]");
}

#[test]
fn somebody_else_with_the_secret_of_an_instance_is_sent_away() {
    let mut cloud = one();
    let [id] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    let first = cloud.boots("linux", id);
    cloud.finish(1, Results::Success).lose(first).force(&["b1"], 0).quietly();
    let thief = cloud.log_in("linux", Some(id));
    cloud.quietly().attach(thief, "another boot");
    assert!(
        cloud.left.iter().any(|line| line.starts_with(&format!("disconnect {thief}: "))),
        "{:?}",
        cloud.left
    );
    assert!(!cloud.left.iter().any(|line| line.starts_with("start")), "{:?}", cloud.left);
    // The right one gets in.
    cloud.lose(thief).quietly();
    cloud.boots("linux", id);
    assert!(cloud.left.contains(&"start 2: b1 #2 on linux-1 for [2]".to_owned()), "{:?}", cloud.left);
}

#[test]
fn guests_get_a_slot_each_until_the_pool_is_full() {
    let mut cloud = one();
    // One slot is taken by the machine that boots.
    let first = cloud.log_in("linux", None);
    cloud.expect(&format!("admit {first}: b1"));
    cloud.attach(first, "guest").expect("start 1: b1 #1 on linux-2 for [1]");
    let second = cloud.log_in("linux", None);
    cloud.expect(&format!("refuse {second}: pool linux is full: it has 2 of at most 2 machines"));
    // One that goes leaves room.
    cloud.lose(first).lose(second).finish(1, Results::Retry).quietly();
    let third = cloud.log_in("linux", None);
    cloud.expect(&format!("admit {third}: b1"));
}

#[test]
fn a_pool_that_is_gone_takes_nobody() {
    let mut cloud = one();
    let [id] = cloud.ids()[..] else { panic!("{:?}", cloud.left) };
    let config = farm_with_pools(&[], &[pool("mac", 2)], &[("b1", &["mac"]), ("b2", &["mac"])]);
    cloud.event(Event::Reconfigure { config, known: Box::default(), reply: ReplyId(0) }).quietly();
    let session = cloud.log_in("linux", Some(id));
    cloud.expect(&format!("refuse {session}: pool linux is no longer in the configuration"));
}

#[test]
fn a_flood_of_refusals_fills_no_tables() {
    let mut cloud = one();
    for _ in 0..1000 {
        cloud.log_in("linux", Some(999));
        let (pool, instance, why) = ("mac".to_owned(), None, "wrong password".to_owned());
        cloud.event(Event::PoolLoginRefused { pool, instance, why });
    }
    let before = recorded(&cloud).len();
    assert!((1..=60).contains(&before), "{before}");
    cloud.pass(Duration::from_secs(3600));
    cloud.log_in("linux", Some(999));
    assert_eq!(recorded(&cloud).len(), before + 1);
    let refused: u64 = cloud.world.core.pools(cloud.world.now).iter().map(|pool| pool.totals.refused).sum();
    assert_eq!(refused, 2001, "all are counted");
}
