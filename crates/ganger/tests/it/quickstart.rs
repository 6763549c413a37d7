//! The first five minutes: needs Python, git and an index with `buildbot-worker`.

use std::{fs, process::Command};

use crate::program::{command, stderr, stdout};

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
    let processes = Command::new("ps").args(["-eo", "args"]).output().expect("ps can be run");
    let processes = String::from_utf8_lossy(&processes.stdout).into_owned();
    let left: Vec<_> =
        processes.lines().filter(|line| line.contains(directory.to_str().expect("UTF-8"))).collect();
    assert!(left.is_empty(), "processes are left: {left:?}");
}
