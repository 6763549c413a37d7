//! What somebody decides by hand: requests that are cancelled, workers that are paused.

use crate::program::{Master, stderr, stdout};

#[test]
fn a_request_is_cancelled_once() {
    let master = Master::start();
    let forced = master.json(&["force", "b1"]);
    let id = forced["requests"][0]["buildrequestid"].to_string();
    let output = master.run(&["cancel", &id, "--reason", "not needed"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(master.json(&["status"])["builders"][0]["pending"], 0);
    let why = master.json(&["pool", "why", &id]);
    assert_eq!(
        (&why["request"]["code"], &why["request"]["results"]),
        (&"complete".into(), &6.into()),
        "{why}"
    );

    let again = master.run(&["cancel", &id]);
    assert_eq!(again.status.code(), Some(66));
    assert!(stderr(&again).contains("complete already"), "{}", stderr(&again));
    let unknown = master.run(&["cancel", "4711"]);
    assert_eq!(unknown.status.code(), Some(66));
    assert!(stderr(&unknown).contains("no build request has the number 4711"), "{}", stderr(&unknown));
}

#[test]
fn a_worker_is_paused_and_builds_again() {
    let master = Master::start();
    let output = master.run(&["worker", "pause", "w1", "--reason", "new disk"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(master.json(&["status"])["workers"][0]["paused"], "new disk");
    assert!(stdout(&master.run(&["worker", "unpause", "w1"])).contains("builds again"));
    assert!(master.json(&["status"])["workers"][0]["paused"].is_null());

    let output = master.run(&["worker", "pause", "w1", "--reason", ""]);
    assert_eq!(output.status.code(), Some(64), "{}", stderr(&output));

    let output = master.run(&["worker", "pause", "w2"]);
    assert_eq!(output.status.code(), Some(66));
    assert!(stderr(&output).contains("did you mean \"w1\"?"), "{}", stderr(&output));
}

#[test]
fn a_request_without_pools_is_explained_too() {
    let master = Master::start();
    let forced = master.json(&["force", "b1"]);
    let id = forced["requests"][0]["buildrequestid"].to_string();
    let why = master.json(&["pool", "why", &id]);
    assert_eq!(why["request"]["code"], "no_worker_connected", "{why}");
    assert!(why["request"]["expected"].is_null() && why["instance"].is_null(), "{why}");
    assert!(stdout(&master.run(&["pool", "why", &id])).contains("w1 is not connected"));
}

#[test]
fn without_pools_commands_say_so() {
    let master = Master::start();
    assert!(stdout(&master.run(&["pool", "list"])).contains("no pools"));
    assert!(stdout(&master.run(&["pool", "plan"])).contains("no pools"));
    assert!(stdout(&master.run(&["pool", "decisions"])).contains("nothing was decided"));
    for args in [&["show", "x"][..], &["pause", "x"], &["scale", "x", "3"], &["plan", "x"], &["trust", "x"]] {
        let output = master.run(&[&["pool"], args].concat());
        assert_eq!(output.status.code(), Some(66), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("has no `[[pool]]`"), "{args:?}: {}", stderr(&output));
    }
    for args in [&["why", "17"][..], &["drain", "x-1"], &["hold", "x@3"], &["release", "i-0abc"]] {
        let output = master.run(&[&["pool"], args].concat());
        assert_eq!(output.status.code(), Some(66), "{args:?}: {}", stderr(&output));
    }
}
