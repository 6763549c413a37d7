//! Pools as a user sees them: the commands, and the figures, against machines whose worker never comes.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use crate::{
    program::{CONFIGURATION, Master, eventually, stderr, stdout},
    web::metrics,
};

/// What runs in place of a worker: it lives as long as its directory.
const STAND_IN: &str = "#!/bin/sh\nwhile [ -d \"$HOME\" ]; do sleep 0.2; done\n";

fn start(pool: &str) -> (tempfile::TempDir, Master) {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let program = scratch.path().join("stand-in");
    fs::write(&program, STAND_IN).expect("a writable directory");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our file");
    let configuration = format!(
        r#"
[master]
title = "Under test"
collapseRequests = false
listen = ["tcp:127.0.0.1:0"]
web = "tcp:127.0.0.1:0"

[[pool]]
name = "linux"
max = 3
max_builds = 1
{pool}
[pool.local]
program = "{}"
directory = "{}"
price = 0.5

[[builder]]
name = "b1"
workers = ["linux"]
[[builder.step]]
type = "ShellCommand"
command = ["true"]

[[scheduler]]
type = "ForceScheduler"
name = "force"
builderNames = ["b1"]
"#,
        program.display(),
        scratch.path().join("machines").display()
    );
    let master = Master::start_with(&configuration, &[]);
    eventually("the provider is listed", || (show(&master)["listed"] == true).then_some(()));
    (scratch, master)
}

fn show(master: &Master) -> Value {
    master.json(&["pool", "show", "linux"])
}

/// Waits until so many instances are in a state.
fn wait_for(master: &Master, state: &str, count: u64) -> Value {
    eventually(&format!("{count} {state}: {}", show(master)), || {
        let pool = show(master);
        (pool["by_state"][state].as_u64().unwrap_or(0) == count).then_some(pool)
    })
}

fn refused(master: &Master, args: &[&str], code: i32, expect: &str) {
    let output = master.run(&[&["pool"], args].concat());
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
    assert!(stderr(&output).contains(expect), "{args:?}: {}", stderr(&output));
}

#[test]
fn a_pool_grows_by_demand_and_says_why() {
    let (_machines, master) = start("");
    assert!(stdout(&master.run(&["pool", "list"])).contains("linux  0 of 3, wanted 0"));
    let forced = master.json(&["force", "b1"]);
    let request = forced["requests"][0]["buildrequestid"].to_string();
    let pool = wait_for(&master, "booting", 1);
    let instance = &pool["instances"][0];
    assert_eq!((&instance["slot"], &instance["origin"]), (&"linux-1".into(), &"hired".into()), "{pool}");
    assert_eq!(instance["started"]["code"], "demand", "{pool}");
    assert_eq!(pool["price_per_hour"], 0.5);

    // By any of its names.
    let id = instance["instanceid"].to_string();
    let login = format!("linux@{id}");
    let provider_id = instance["provider_id"].as_str().expect("a machine");
    for name in ["linux-1", &login, provider_id] {
        let why = master.json(&["pool", "why", name]);
        assert_eq!(why["instance"]["instanceid"].to_string(), id, "{name}: {why}");
        assert!(why["instance"]["decisions"].as_array().is_some_and(|all| !all.is_empty()), "{why}");
    }
    // A number can be both.
    let both = master.json(&["pool", "why", &id]);
    assert!(both["instance"].is_object() && (id != request || both["request"].is_object()), "{both}");

    let why = eventually("the request can expect something", || {
        let why = master.json(&["pool", "why", "--request", &request]);
        why["request"]["expected"]["start"].is_i64().then_some(why)
    });
    assert_eq!(
        (&why["request"]["code"], &why["request"]["expected"]["pool"]),
        (&"pool".into(), &"linux".into())
    );
    let status = master.json(&["status"]);
    assert_eq!(status["pools"][0]["live"], 1, "{status}");
    assert_eq!(status["builders"][0]["waiting"][0]["pool"], "linux", "{status}");
    let text = stdout(&master.run(&["status"]));
    assert!(text.contains("linux  1 of 3") && text.contains("expected "), "{text}");
    assert!(!text.contains("not connected"), "an empty slot is nothing that anybody misses: {text}");

    let decisions = master.json(&["pool", "decisions", "linux"]);
    let codes: Vec<_> =
        decisions["decisions"].as_array().expect("a list").iter().map(|one| one["code"].clone()).collect();
    assert!(codes.contains(&"demand".into()) && codes.contains(&"launched".into()), "{decisions}");
}

#[test]
fn a_plan_is_made_and_not_carried_out() {
    let (_machines, master) = start("");
    master.json(&["pool", "pause", "linux", "--reason", "new cables"]);
    let paused = stdout(&master.run(&["pool", "show", "linux"]));
    assert!(paused.contains("paused: new cables"), "{paused}");
    for _ in 0..5 {
        master.json(&["force", "b1"]);
    }
    let plan = eventually("the requests are old enough to count", || {
        let plan = master.json(&["pool", "plan", "linux"])["plans"][0].clone();
        (plan["denied"][0]["count"].as_u64() == Some(5)).then_some(plan)
    });
    assert_eq!((&plan["denied"][0]["code"], &plan["pending"]), (&"paused".into(), &5.into()), "{plan}");
    assert_eq!(show(&master)["live"], 0, "nothing is started");
    assert!(stdout(&master.run(&["pool", "plan"])).contains("does not start 5"));

    let resumed = master.json(&["pool", "resume", "linux"]);
    assert!(resumed["paused"].is_null(), "{resumed}");
    wait_for(&master, "booting", 3);
    let plan = master.json(&["pool", "plan"])["plans"][0].clone();
    assert_eq!(plan["denied"][0]["code"], "pool_max", "{plan}");
}

#[test]
fn somebody_scales_holds_releases_and_drains() {
    let (_machines, master) = start("max-hold = 7200");
    let scaled = master.json(&["pool", "scale", "linux", "2"]);
    assert_eq!(scaled["scaled"], 2, "{scaled}");
    let pool = wait_for(&master, "booting", 2);
    assert_eq!(pool["instances"][0]["started"]["code"], "scaled", "{pool}");

    let held = master.json(&["pool", "hold", "linux-1", "--for", "1h", "--reason", "look at it"]);
    assert_eq!(held["state"], "held", "{held}");
    let text = stdout(&master.run(&["pool", "why", "linux-1"]));
    assert!(text.contains("look at it"), "{text}");
    refused(&master, &["release", "linux-2"], 66, "linux-2 is not held: it is booting");
    refused(&master, &["hold", "linux-2", "--for", "soon"], 64, "is no time");
    for reason in ["", " \n"] {
        refused(&master, &["hold", "linux-2", "--reason", reason], 64, "the reason is empty");
        refused(&master, &["pause", "linux", "--reason", reason], 64, "the reason is empty");
    }
    refused(
        &master,
        &["pause", "linux", "--reason", &"x".repeat(501)],
        64,
        "has 501 characters; 500 are the most",
    );
    let short = stdout(&master.run(&["pool", "hold", "linux-1", "--for", "2h"]));
    assert!(!short.contains("max-hold"), "{short}");
    let cut = stdout(&master.run(&["pool", "hold", "linux-1", "--for", "999d"]));
    assert!(
        cut.contains("goes in 2 h 0 min") && cut.contains("no longer than the pool's `max-hold`"),
        "{cut}"
    );
    let released = master.json(&["pool", "release", "linux-1"]);
    assert_eq!(released["drain"]["code"], "operator", "{released}");

    assert_eq!(master.json(&["pool", "scale", "linux", "auto"])["scaled"], Value::Null);
    let second = show(&master)["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["slot"] == "linux-2")
        .cloned();
    let second = second.expect("it is there")["instanceid"].to_string();
    let drained = master.json(&["pool", "drain", &second]);
    assert_eq!(drained["state"], "terminating", "nothing runs on it: {drained}");
    wait_for(&master, "terminating", 0);
    let gone = master.json(&["pool", "why", "--instance", &second]);
    assert_eq!(
        (&gone["instance"]["state"], &gone["instance"]["ended"]["code"]),
        (&"gone".into(), &"operator".into()),
        "{gone}"
    );
    refused(&master, &["drain", &second], 66, "is gone");
    // What was its name finds the last that had it.
    assert!(master.json(&["pool", "why", "linux-2"])["instance"].is_object());
}

#[test]
fn a_master_that_ends_says_which_machines_go_on() {
    let (_machines, mut master) = start("min = 2");
    wait_for(&master, "booting", 2);
    master.signal("TERM");
    assert!(master.wait().success());
    let log = master.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains("2 machines of pool linux go on") && last.contains("30 min 0 s"), "{log}");

    let (_machines, mut master) = start("");
    master.signal("TERM");
    assert!(master.wait().success());
    assert!(!master.log().contains("go on"), "{}", master.log());
}

#[test]
fn a_pool_that_was_taken_out_is_not_scaled() {
    let (machines, master) = start("");
    // The pool is there for as long as a machine of it is: one that does not want to go.
    let stubborn = STAND_IN.replace("while", "trap '' TERM; while");
    fs::write(machines.path().join("stand-in"), stubborn).expect("our file");
    master.json(&["pool", "scale", "linux", "1"]);
    wait_for(&master, "booting", 1);
    fs::write(master.path().join("ganger.toml"), CONFIGURATION).expect("our file");
    let output = master.run(&["reload"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    eventually("the pool is on its way out", || (show(&master)["removed"] == true).then_some(()));
    refused(&master, &["scale", "linux", "1"], 66, "pool linux is no longer in the configuration");
    refused(&master, &["scale", "linux", "auto"], 66, "pool linux is no longer in the configuration");
}

#[test]
fn what_nobody_has_is_told_with_the_nearest_name() {
    let (_machines, master) = start("min = 1");
    wait_for(&master, "booting", 1);
    refused(&master, &["show", "linus"], 66, "did you mean \"linux\"?");
    refused(&master, &["pause", "windows"], 66, "there are linux");
    refused(&master, &["why", "linux-7"], 66, "did you mean \"linux-1\"?");
    refused(&master, &["why", "4711"], 66, "neither a build request nor an instance");
    refused(&master, &["why", "--request", "4711"], 66, "no build request has the number");
    refused(&master, &["scale", "linux", "4"], 64, "at most 3");
    refused(&master, &["scale", "linux", "many"], 64, "auto");
    refused(&master, &["trust", "linux"], 64, "nothing to override");
    refused(&master, &["decisions", "--request", "99999"], 66, "no build request has the number 99999");
    refused(&master, &["decisions", "windows"], 66, "no pool is called");
}

#[test]
fn figures_tell_what_the_pool_does() {
    let (_machines, master) = start("[pool.budget]\nhour = 10\n");
    let page = metrics(&master);
    assert_eq!(page.value("ganger_pool_max{pool=\"linux\"}"), 3.0);
    assert_eq!(page.value("ganger_pool_instances{pool=\"linux\",state=\"booting\"}"), 0.0);
    assert_eq!(page.value("ganger_pool_budget{pool=\"linux\",period=\"hour\"}"), 10.0);
    master.json(&["force", "b1"]);
    wait_for(&master, "booting", 1);
    let page = metrics(&master);
    assert_eq!(page.value("ganger_pool_instances{pool=\"linux\",state=\"booting\"}"), 1.0);
    assert_eq!(page.value("ganger_pool_launches_total{pool=\"linux\",reason=\"demand\"}"), 1.0);
    assert_eq!(page.value("ganger_pool_requests_pending{pool=\"linux\"}"), 1.0);
    assert_eq!(page.value("ganger_pool_price_per_hour{pool=\"linux\"}"), 0.5);
    assert_eq!(page.value("ganger_pool_provider_calls_total{pool=\"linux\",call=\"launch\"}"), 1.0);
    assert!(page.value("ganger_pool_passes_total{pool=\"linux\"}") >= 1.0);
    assert_eq!(page.value("ganger_pool_boot_seconds_count{pool=\"linux\"}"), 0.0);
}

#[test]
fn decisions_are_followed() {
    use std::io::{BufRead as _, BufReader};

    let (_machines, master) = start("");
    let mut child = crate::program::command(&["pool", "decisions", "-f", "--json"])
        .current_dir(master.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("the program is built");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    // Those that were made before come first.
    let first: Value = serde_json::from_str(&lines.next().expect("a line").expect("text")).expect("JSON");
    assert_eq!(first["pool"], "linux");
    master.json(&["force", "b1"]);
    let demand = lines.map_while(Result::ok).find(|line| line.contains("\"demand\""));
    assert!(demand.is_some());
    child.kill().ok();
    child.wait().ok();
}
