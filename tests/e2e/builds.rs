//! Builds: steps, their results, sources, transfers, stopping.

use std::fs;

use testkit::worker::WorkerKind;

use crate::farm::{Farm, Repository, force, shell_builder, step_results};

#[test]
fn results_fold_as_the_flags_say() {
    let mut farm = Farm::start(
        &(r#"
[[builder]]
name = "b"
workers = ["w1"]
[[builder.step]]
type = "ShellCommand"
name = "fine"
command = ["true"]
[[builder.step]]
type = "ShellCommand"
name = "tolerated"
command = ["false"]
flunkOnFailure = false
warnOnFailure = true
[[builder.step]]
type = "ShellCommand"
name = "fatal"
command = "exit 7"
haltOnFailure = true
[[builder.step]]
type = "ShellCommand"
name = "never"
command = ["true"]
[[builder.step]]
type = "ShellCommand"
name = "always"
command = ["true"]
alwaysRun = true
"#
        .to_owned()
            + &force(&["b"])),
    );
    let _worker = farm.worker(WorkerKind::NEWEST);
    let build = farm.build("b", &[]);
    assert_eq!(build["results"], 2, "{build}");
    let expect = [("fine", 0), ("tolerated", 2), ("fatal", 2), ("always", 0)];
    assert_eq!(step_results(&build), expect.map(|(name, results)| (name.to_owned(), results)));
    assert_eq!(
        build["state_string"], "failed 'false' (failure) 'exit 7' (failure)",
        "word for word as Buildbot 4.3.0 says it"
    );
}

#[test]
fn a_commit_is_built_from_git() {
    let repository = Repository::new();
    let first = repository.git(&["rev-parse", "HEAD"]);
    let second = repository.commit("Makefile", "all:\n\t@echo second\n");
    let objects = format!(
        r#"
[[builder]]
name = "b"
workers = ["w1"]
[[builder.step]]
type = "Git"
repourl = "{}"
branch = "master"
mode = "incremental"
[[builder.step]]
type = "Compile"
command = ["make", "all"]
[[builder.step]]
type = "ShellCommand"
name = "tell"
command = "echo built %(prop:got_revision)s on %(prop:workername)s"
{}
"#,
        repository.path().display(),
        force(&["b"])
    );
    let mut farm = Farm::start(&objects);
    let _worker = farm.worker(WorkerKind::NEWEST);

    let build = farm.build("b", &[]);
    assert_eq!(build["results"], 0, "{build}\n{}", farm.log_of("b", 1, &[]));
    assert_eq!(build["properties"]["got_revision"]["value"], second.as_str());
    let log = farm.log_of("b", 1, &["--step", "tell"]);
    assert!(log.contains(&format!("built {second} on w1")), "{log}");

    let build = farm.build("b", &["--revision", &first]);
    assert_eq!(build["properties"]["got_revision"]["value"], first.as_str());
    assert!(farm.log_of("b", 2, &["--step", "compile"]).contains("building"));
}

#[test]
fn files_go_both_ways() {
    let objects = r#"
[[builder]]
name = "b"
workers = ["w1"]
[[builder.step]]
type = "StringDownload"
s = "made for %(prop:workername)s\n"
workerdest = "note.txt"
[[builder.step]]
type = "FileDownload"
mastersrc = "source.bin"
workerdest = "tree/source.bin"
[[builder.step]]
type = "FileUpload"
workersrc = "note.txt"
masterdest = "uploads/note.txt"
[[builder.step]]
type = "DirectoryUpload"
workersrc = "tree"
masterdest = "uploads/tree"
compress = "gz"
"#
    .to_owned()
        + &force(&["b"]);
    let mut farm = Farm::start(&objects);
    let source: Vec<u8> =
        (0..300_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(farm.path("source.bin"), &source).expect("a writable scratch directory");
    let _worker = farm.worker(WorkerKind::NEWEST);
    let build = farm.build("b", &[]);
    assert_eq!(build["results"], 0, "{build}\n{}", farm.log_of("b", 1, &[]));
    assert_eq!(fs::read_to_string(farm.path("uploads/note.txt")).expect("uploaded"), "made for w1\n");
    assert_eq!(fs::read(farm.path("uploads/tree/source.bin")).expect("uploaded"), source);
}

#[test]
fn a_running_build_can_be_stopped() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let started = scratch.path().join("started");
    let command = format!("touch {}; sleep 1000", started.display());
    let mut farm = Farm::start(&shell_builder("b", &[("long", &command), ("next", "true")]));
    let worker = farm.worker(WorkerKind::NEWEST);
    farm.ganger(&["force", "b"]);
    farm.eventually("the command runs", |_| started.exists().then_some(()));
    let output = farm.ganger(&["stop-build", "b", "1", "--reason", "not today"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let build = farm.wait_complete("b", 1);
    assert_eq!(build["results"], 6, "{build}");
    assert_eq!(step_results(&build), [("long".to_owned(), 6)]);
    drop(worker);
}

#[test]
fn urgent_requests_are_built_first() {
    let mut farm = Farm::start(&shell_builder("b", &[("tell", "echo priority %(prop:urgency)s")]));
    for (urgency, priority) in [("low", "0"), ("high", "10"), ("middle", "5")] {
        let output =
            farm.ganger(&["force", "b", "--priority", priority, "--property", &format!("urgency={urgency}")]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let _worker = farm.worker(WorkerKind::NEWEST);
    farm.wait_complete("b", 3);
    let order = [1, 2, 3].map(|number| farm.detail("b", number)["properties"]["urgency"]["value"].clone());
    assert_eq!(order, ["high", "middle", "low"]);
}

#[test]
fn a_virtual_builder_has_numbers_of_its_own_that_go_on_after_a_restart() {
    let mut farm = Farm::start(&shell_builder("b", &[("one", "true")]));
    let worker = farm.worker(WorkerKind::NEWEST);
    let args = ["-p", "virtual_builder_name=shown", "-p", "virtual_builder_tags=[\"t\"]"];
    let ask = |farm: &mut Farm, number: i64| {
        let output = farm.ganger(&[&["force", "b"][..], &args].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let build = farm.eventually("the build is complete", |farm| {
            let found = farm.try_json(&["builds", "shown"])?;
            let build = found["builds"].as_array()?.iter().find(|build| build["number"] == number)?.clone();
            (build["results"] == 0).then_some(build)
        });
        assert_eq!(build["builder"], "shown");
        farm.detail("shown", number)
    };
    let first = ask(&mut farm, 1);
    assert_eq!(first["properties"]["buildername"]["value"], "b");
    assert_eq!(farm.build("b", &[])["number"], 1);
    drop(worker);
    farm.kill();
    farm.restart();
    let _worker = farm.worker(WorkerKind::NEWEST);
    ask(&mut farm, 2);
    let connection = rusqlite::Connection::open(farm.path("state.sqlite")).expect("a database");
    let tags: Vec<String> = connection
        .prepare(
            "SELECT tags.name FROM tags JOIN builders_tags ON tagid = tags.id JOIN builders ON builders.id = builderid \
             WHERE builders.name = 'shown' ORDER BY tags.name",
        )
        .and_then(|mut rows| rows.query_map([], |row| row.get(0))?.collect())
        .expect("rows");
    assert_eq!(tags, ["_virtual_", "t"]);
}
