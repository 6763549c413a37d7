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

#[test]
fn who_forces_a_build_hears_all_that_is_wrong_and_gets_what_was_said() {
    let mut farm = Farm::start(
        r#"
[[builder]]
name = "b"
workers = ["w1"]
[[builder.step]]
type = "ShellCommand"
command = ["true"]

[[scheduler]]
type = "ForceScheduler"
name = "release"
builderNames = ["b"]
reason = { required = true, label = "Why" }
reasonString = "%(owner)s: %(reason)s"
codebases = [{ codebase = "", branch = { type = "ChoiceStringParameter", choices = ["main", "dev"], default = "main" }, patch = true }]
properties = [
    { name = "version", regex = "[0-9.]+$", required = true },
    { type = "BooleanParameter", name = "clean" },
    { type = "NestedParameter", name = "sign", fields = [{ type = "IntParameter", name = "tries", default = 3 }] },
]
"#,
    );
    let output = farm.ganger(&["force", "b", "-b", "other", "-p", "version=next", "-p", "sign_tries=many"]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    for mistake in [
        "reason:'Why' needs to be specified",
        "version:version:'next' does not match pattern '[0-9.]+$'",
        "branch:'other' does not belong to list of available choices '['main', 'dev']'",
        "sign_tries:invalid literal for int() with base 10: 'many'",
    ] {
        assert!(said.contains(mistake), "{said}");
    }
    let shown = farm.ganger(&["force", "b", "--parameters"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.lines().any(|line| line == "  version  text, required, matches [0-9.]+$"), "{shown}");
    assert!(shown.lines().any(|line| line == "  sign_tries  int, default 3"), "{shown}");

    let _worker = farm.worker(WorkerKind::NEWEST);
    let patch = farm.path("fix.diff");
    std::fs::write(&patch, "--- a\n+++ b\n").expect("a scratch directory");
    let file = format!("patch_body={}", patch.display());
    let args = [
        "-m",
        "now",
        "--owner",
        "me",
        "-b",
        "dev",
        "-p",
        "version=1.20",
        "-p",
        "clean=true",
        "-p",
        "extra=[1]",
    ];
    let build = farm.build("b", &[&args[..], &["--file", &file]].concat());
    for (name, value) in [
        ("version", serde_json::json!("1.20")),
        ("clean", true.into()),
        ("sign", serde_json::json!({ "tries": 3 })),
        ("extra", serde_json::json!([1])),
        ("branch", "dev".into()),
        ("reason", "now".into()),
        ("owner", "me".into()),
    ] {
        assert_eq!(property(&build, name), value, "{name}");
    }
    let connection = rusqlite::Connection::open(farm.path("state.sqlite")).expect("a database");
    let (reason, level): (String, i64) = connection
        .query_row("SELECT reason, patchlevel FROM buildsets, patches", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .expect("a buildset and a patch");
    assert_eq!((&*reason, level), ("me: now", 1));
}
