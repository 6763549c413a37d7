//! A master from its start to its end, and what commands say about it.

use std::fs;

use crate::program::{CONFIGURATION, Master, eventually, ganger, stderr, stdout};

#[test]
fn status_shows_workers_and_builders() {
    let master = Master::start();
    let status = master.json(&["status"]);
    assert_eq!(status["workers"][0]["name"], "w1");
    assert_eq!(status["workers"][0]["connected"], false);
    let names: Vec<_> =
        status["builders"].as_array().expect("a list").iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names, ["b1", "b2"]);
    let address = status["master"]["listen"][0].as_str().expect("an address");
    assert!(address.starts_with("tcp:127.0.0.1:") && !address.ends_with(":0"), "{address}");

    let output = master.run(&["status"]);
    let text = stdout(&output);
    assert!(text.contains("Under test") && text.contains("not connected") && text.contains("b2"), "{text}");
    assert!(!text.contains('\x1b'), "no colours without a terminal");
    let coloured = master.run(&["status", "--color", "always"]);
    assert!(stdout(&coloured).contains('\x1b'));
}

#[test]
fn a_second_master_of_the_directory_is_turned_away() {
    let master = Master::start();
    let output = ganger(&["start", master.path().to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert!(stderr(&output).contains("already runs"), "{}", stderr(&output));
    master.json(&["status"]);
}

#[test]
fn a_socket_of_a_dead_master_is_replaced() {
    let mut master = Master::start();
    master.signal("KILL");
    master.wait();
    assert!(master.socket().exists());
    assert_eq!(master.run(&["status"]).status.code(), Some(69));
    let log = fs::File::create(master.path().join("second.log")).expect("a writable directory");
    let mut second = crate::program::command(&["start"])
        .current_dir(master.path())
        .stderr(log)
        .spawn()
        .expect("it is built");
    eventually("the second master answers", || master.run(&["status"]).status.success().then_some(()));
    assert_eq!(master.run(&["shutdown"]).status.code(), Some(0));
    assert!(second.wait().expect("our child").success());
    assert!(!master.socket().exists(), "the socket is removed at the end");
}

#[test]
fn a_forced_build_waits_for_its_worker() {
    let master = Master::start();
    let forced = master.json(&["force", "b1", "--reason", "because", "--property", "level=3"]);
    assert_eq!(forced["requests"][0]["builder"], "b1");
    assert!(forced["requests"][0]["buildrequestid"].as_i64().expect("a number") > 0);
    let status = master.json(&["status"]);
    assert_eq!(
        (&status["builders"][0]["pending"], &status["builders"][1]["pending"]),
        (&1.into(), &0.into())
    );
    assert!(stdout(&master.run(&["status"])).contains("1 request waits"));
}

#[test]
fn a_force_that_cannot_be_says_why() {
    let master = Master::start();
    let check = |args: &[&str], code: i32, expect: &str| {
        let output = master.run(&[&["force"], args].concat());
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(expect), "{args:?}: {}", stderr(&output));
    };
    check(&["b3"], 66, "b1, b2");
    check(&["b2"], 64, "force, force-b2");
    check(&[], 64, "--scheduler");
    check(&["--scheduler", "nobody", "b1"], 66, "nobody");
    check(&["--scheduler", "force-b2", "b1"], 64, "b1");
    assert_eq!(master.json(&["force", "b2", "--scheduler", "force-b2"])["requests"][0]["builder"], "b2");
}

#[test]
fn what_is_not_there_is_not_found() {
    let master = Master::start();
    for args in [
        &["log", "b1"][..],
        &["log", "b1", "7"],
        &["build", "99"],
        &["build", "nobody"],
        &["stop-build", "b1", "1"],
        &["builds", "nobody"],
    ] {
        let output = master.run(args);
        assert_eq!(output.status.code(), Some(66), "{args:?}: {}", stderr(&output));
    }
    assert_eq!(master.json(&["builds"])["builds"], serde_json::json!([]));
}

#[test]
fn a_change_is_stored_and_has_a_number() {
    let master = Master::start();
    let change =
        ["change", "--author", "Zoë", "--branch", "main", "--revision", "abc", "-m", "grün", "a.c", "b.c"];
    let first = master.json(&change)["changeid"].as_i64().expect("a number");
    let second = master.json(&change)["changeid"].as_i64().expect("a number");
    assert!(second > first);
}

#[test]
fn a_reload_says_what_needs_a_restart() {
    let master = Master::start();
    let changed = CONFIGURATION.replace("tcp:127.0.0.1:0", "tcp:127.0.0.2:0");
    fs::write(master.path().join("ganger.toml"), changed).expect("a writable directory");
    let output = master.run(&["reload"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("listen changed; it takes effect at the next start"), "{said}");
}

#[test]
fn a_reload_takes_a_good_configuration_and_leaves_a_bad_one() {
    let master = Master::start();
    let file = master.path().join("ganger.toml");
    let more = "\n[[builder]]\nname = \"b3\"\nworkers = [\"w1\"]\n[[builder.step]]\ntype = \"ShellCommand\"\ncommand = \"true\"\n";
    fs::write(&file, format!("{CONFIGURATION}{more}")).expect("a writable directory");
    let output = master.run(&["reload"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(master.json(&["status"])["builders"][2]["name"], "b3");

    fs::write(&file, format!("{CONFIGURATION}{more}workerz = 1\n")).expect("a writable directory");
    let output = master.run(&["reload"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(stderr(&output).contains("workerz"), "{}", stderr(&output));
    // Commands find the master all the same.
    assert_eq!(master.json(&["status"])["builders"][2]["name"], "b3");
}

#[test]
fn hangup_reloads_and_terminate_ends() {
    let mut master = Master::start();
    let more = CONFIGURATION.replace("Under test", "Renamed");
    fs::write(master.path().join("ganger.toml"), more).expect("a writable directory");
    master.signal("HUP");
    eventually("the new title", || (master.json(&["status"])["master"]["title"] == "Renamed").then_some(()));
    master.signal("TERM");
    assert!(master.wait().success(), "{}", master.log());
    assert!(!master.socket().exists());
}

#[test]
fn a_master_ends_with_whoever_started_it() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    fs::write(scratch.path().join("ganger.toml"), CONFIGURATION).expect("a writable directory");
    let mut child = crate::program::command(&["start", "--end-with-stdin"])
        .current_dir(scratch.path())
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program is built");
    eventually("the master answers", || {
        let output = crate::program::command(&["status"]).current_dir(scratch.path()).output();
        output.expect("the program is built").status.success().then_some(())
    });
    drop(child.stdin.take());
    assert!(eventually("it ends", || child.try_wait().expect("our child")).success());
}

#[test]
fn logs_can_be_json() {
    let master = Master::start_with(CONFIGURATION, &["--log-format", "json"]);
    let log = master.log();
    assert!(!log.is_empty());
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("one object on each line");
        assert!(line["message"].is_string(), "{line}");
    }
}
