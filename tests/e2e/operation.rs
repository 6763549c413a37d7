//! Running the master: reload, drain, schedulers.

use testkit::worker::WorkerKind;

use crate::farm::{Farm, shell_builder};

#[test]
fn a_change_is_built_once_its_tree_is_quiet() {
    let objects = r#"
[[builder]]
name = "b"
workers = ["w1"]
[[builder.step]]
type = "ShellCommand"
name = "tell"
command = "echo %(prop:branch)s %(prop:revision)s"
[[scheduler]]
type = "AnyBranchScheduler"
name = "all"
builderNames = ["b"]
treeStableTimer = 1
"#;
    let mut farm = Farm::start(objects);
    let _worker = farm.worker(WorkerKind::NEWEST);
    for revision in ["r1", "r2", "r3"] {
        let output = farm.ganger(&["change", "--author", "me", "--branch", "topic", "--revision", revision]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let build = farm.wait_complete("b", 1);
    assert_eq!(build["results"], 0, "{build}");
    assert!(farm.log_of("b", 1, &[]).contains("topic r3\n"));
    assert!(farm.find("b", 2).is_none(), "three changes in quick succession are one build");
}

#[test]
fn a_timer_that_ran_when_the_master_was_killed_still_fires() {
    let objects = shell_builder("b", &[("one", "true")])
        + "[[scheduler]]\ntype = \"AnyBranchScheduler\"\nname = \"all\"\nbuilderNames = [\"b\"]\ntreeStableTimer = 2\n";
    let mut farm = Farm::start(&objects);
    let output = farm.ganger(&["change", "--author", "me", "--branch", "topic", "--revision", "r1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    farm.kill();
    farm.restart();
    let _worker = farm.worker(WorkerKind::NEWEST);
    farm.wait_complete("b", 1);
}

#[test]
fn a_reload_brings_a_new_builder_while_another_builds() {
    let mut farm = Farm::start(&shell_builder("b", &[("long", "sleep 5")]));
    let _worker = farm.worker(WorkerKind::NEWEST);
    farm.ganger(&["force", "b"]);
    farm.eventually("the build runs", |farm| farm.find("b", 1));
    farm.write_config(
        "[[builder]]\nname = \"c\"\nworkers = [\"w1\"]\n[[builder.step]]\ntype = \"ShellCommand\"\ncommand = \"true\"\n\
         [[scheduler]]\ntype = \"ForceScheduler\"\nname = \"force-c\"\nbuilderNames = [\"c\"]\n",
    );
    farm.signal("HUP");
    farm.eventually("the new builder is there", |farm| {
        let status = farm.json(&["status"]);
        status["builders"].as_array()?.iter().any(|row| row["name"] == "c").then_some(())
    });
    assert_eq!(farm.build("c", &[])["results"], 0);
    assert_eq!(farm.wait_complete("b", 1)["results"], 0);
}

#[test]
fn a_bad_configuration_changes_nothing() {
    let mut farm = Farm::start(&shell_builder("b", &[("one", "true")]));
    let _worker = farm.worker(WorkerKind::NEWEST);
    farm.write_config("[[builder]]\nname = \"c\"\nworkers = [\"w2\"]\nsteps = 5\n");
    let output = farm.ganger(&["reload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(
        said.contains("ganger.toml:") && said.contains("w1"),
        "names file, line and the nearest worker:\n{said}"
    );
    assert_eq!(farm.build("b", &[])["results"], 0);
}

#[test]
fn a_terminated_master_lets_builds_finish() {
    let mut farm = Farm::start(&shell_builder("b", &[("some", "sleep 2; echo finished")]));
    let _worker = farm.worker(WorkerKind::NEWEST);
    farm.ganger(&["force", "b"]);
    farm.eventually("the build runs", |farm| farm.find("b", 1));
    farm.signal("TERM");
    assert!(farm.wait_for_end().success());
    farm.restart();
    assert_eq!(farm.detail("b", 1)["results"], 0);
    assert!(farm.log_of("b", 1, &[]).contains("finished\n"));
}

#[test]
fn a_master_that_must_end_at_once_has_its_builds_done_again() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let started = scratch.path().join("started");
    let command = format!("[ -e {0} ] || {{ touch {0}; sleep 1000; }}", started.display());
    let mut farm = Farm::start(&shell_builder("b", &[("long", &command)]));
    let _worker = farm.worker(WorkerKind::NEWEST);
    farm.ganger(&["force", "b"]);
    farm.eventually("the command runs", |_| started.exists().then_some(()));
    let output = farm.ganger(&["shutdown", "--now"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(farm.wait_for_end().success());
    farm.restart();
    assert_eq!(farm.detail("b", 1)["results"], 5);
    assert_eq!(farm.wait_complete("b", 2)["results"], 0);
}
