//! From a push to the last build that follows from it.

use serde_json::Value;
use testkit::worker::WorkerKind;

use crate::farm::{Farm, Repository};

/// A poller of `repository`, whose changes are built by `compile` if their branch begins with `release/`; that triggers
/// `part` and waits for it; `package` follows.
fn objects(repository: &Repository) -> String {
    format!(
        r#"
[[change-source]]
type = "GitPoller"
name = "poller"
repourl = "{}"
branches = true
pollInterval = 1
pollAtLaunch = true
project = "demo"

[[builder]]
name = "compile"
workers = ["w1"]
[[builder.step]]
type = "Trigger"
schedulerNames = ["parts"]
waitForFinish = true
set_properties = {{ flavour = "%(prop:branch)s" }}

[[builder]]
name = "part"
workers = ["w1"]
[[builder.step]]
type = "ShellCommand"
name = "say"
command = "echo %(prop:flavour)s; test %(prop:flavour)s != release/bad"

[[builder]]
name = "package"
workers = ["w1"]
[[builder.step]]
type = "ShellCommand"
name = "pack"
command = ["true"]

[[scheduler]]
type = "AnyBranchScheduler"
name = "releases"
builderNames = ["compile"]
change_filter = {{ branch_re = "release/", project = "demo" }}
[[scheduler]]
type = "Triggerable"
name = "parts"
builderNames = ["part"]
[[scheduler]]
type = "Dependent"
name = "after"
upstream = "releases"
builderNames = ["package"]
[[scheduler]]
type = "ForceScheduler"
name = "force"
builderNames = ["compile", "part", "package"]
"#,
        repository.path().display()
    )
}

fn property(build: &Value, name: &str) -> Value {
    build["properties"][name]["value"].clone()
}

/// Waits until the poller has looked for the first time.
fn wait_for_first_look(farm: &mut Farm) {
    farm.eventually("the poller has looked", |farm| {
        let connection = rusqlite::Connection::open(farm.path("state.sqlite")).ok()?;
        let kept = "SELECT value_json FROM object_state JOIN objects ON objects.id = objectid \
                    WHERE objects.name = 'poller' AND class_name = 'GitPoller' AND object_state.name = 'lastRev'";
        connection.query_row(kept, [], |row| row.get::<_, String>(0)).ok()
    });
}

#[test]
fn a_push_is_polled_filtered_triggered_and_followed() {
    let repository = Repository::new();
    let mut farm = Farm::start(&objects(&repository));
    let _worker = farm.worker(WorkerKind::NEWEST);
    wait_for_first_look(&mut farm);

    // Not a release; then one.
    repository.commit("README", "hello");
    repository.git(&["checkout", "--quiet", "-b", "release/1"]);
    let commit = repository.commit("VERSION", "1");
    let compile = farm.wait_complete("compile", 1);
    assert_eq!(compile["results"], 0, "{compile}");
    assert_eq!(property(&compile, "revision"), commit.as_str());
    assert_eq!(property(&compile, "project"), "demo");
    let step = &compile["steps"][1];
    assert_eq!(
        (&step["name"], &step["state_string"]),
        (&"trigger".into(), &"triggered parts, 1 success".into())
    );

    let part = farm.wait_complete("part", 1);
    assert_eq!(property(&part, "flavour"), "release/1");
    let said = farm.log_of("part", 1, &["--step", "say"]);
    assert!(said.lines().any(|line| line == "release/1"), "{said}");
    assert_eq!(farm.wait_complete("package", 1)["results"], 0);
    let connection = rusqlite::Connection::open(farm.path("state.sqlite")).expect("a database");
    let parents: Vec<(i64, String)> = connection
        .prepare("SELECT parent_buildid, parent_relationship FROM buildsets WHERE parent_buildid IS NOT NULL")
        .and_then(|mut rows| rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .expect("rows");
    assert_eq!(parents, [(compile["buildid"].as_i64().expect("an id"), "Triggered from".to_owned())]);

    // The branch is rewritten: its new commit is built. The master was down meanwhile.
    farm.kill();
    repository.git(&["reset", "--quiet", "--hard", "master"]);
    let rewritten = repository.commit("VERSION", "1.1");
    farm.restart();
    let compile = farm.wait_complete("compile", 2);
    assert_eq!(property(&compile, "revision"), rewritten.as_str());

    // What fails in a part fails in the whole, and nothing follows.
    farm.wait_complete("package", 2);
    repository.git(&["checkout", "--quiet", "-b", "release/bad"]);
    repository.commit("VERSION", "bad");
    let compile = farm.wait_complete("compile", 3);
    assert_eq!(compile["results"], 2, "{compile}");
    assert_eq!(compile["state_string"], "failed triggered parts, 1 failure");
    assert_eq!(farm.find("package", 3), None);
}
