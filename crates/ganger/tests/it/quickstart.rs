//! The first five minutes: needs Python, git and an index with `buildbot-worker`.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use crate::program::{command, eventually, stderr, stdout};

#[test]
fn quickstart_builds_a_commit_on_a_stock_worker() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let directory = scratch.path().join("first");
    let output = command(&["quickstart", "--once"]).arg(&directory).output().expect("the program is built");
    let (said, errors) = (stdout(&output), stderr(&output));
    let log = fs::read_to_string(directory.join("master.log")).unwrap_or_default();
    assert_eq!(output.status.code(), Some(0), "{said}\n{errors}\n{log}");
    for expect in [
        "==> git: stdio",
        "==> compile: stdio",
        "==> test: stdio",
        "test_it_greets_nobody",
        "hello/1",
        "success",
        "What to try next",
    ] {
        assert!(said.contains(expect), "{expect:?} is not in\n{said}\n{errors}\n{log}");
    }
    for name in ["ganger.toml", "master.log", "project", "worker/twistd.log", "venv"] {
        assert!(directory.join(name).exists(), "{name} is not kept");
    }
    let left = processes(&directory);
    assert!(left.is_empty(), "processes are left: {left:?}");
}

#[test]
fn a_terminal_that_is_closed_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut quickstart = command(&["quickstart", "--pool"])
        .env("TMPDIR", scratch.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is built");
    let mut said = BufReader::new(quickstart.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    assert!(said.any(|line| line.contains("machines: ") && line.contains("busy")), "machines build");
    assert!(!processes(scratch.path()).is_empty());
    let id = quickstart.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &id]).status().expect("kill can be run").success());
    // From here on nobody can read what it says.
    drop((said, quickstart.stderr.take()));
    let status = eventually("it ends", || quickstart.try_wait().expect("our child"));
    assert_ne!(status.code(), None, "it cleans up, and ends by itself: {status}");
    let left = processes(scratch.path());
    assert!(left.is_empty(), "processes are left: {left:?}");
    assert_eq!(fs::read_dir(scratch.path()).expect("a directory").count(), 0, "the directory is left");
}

/// What runs anything below a directory.
fn processes(directory: &Path) -> Vec<String> {
    let processes = Command::new("ps").args(["-eo", "args"]).output().expect("ps can be run");
    let processes = String::from_utf8_lossy(&processes.stdout).into_owned();
    let directory = directory.to_str().expect("UTF-8");
    processes.lines().filter(|line| line.contains(directory)).map(ToOwned::to_owned).collect()
}
