//! The program, and a master of it in a directory of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Long enough for anything on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A configuration with a worker that never comes, two builders, and force schedulers.
pub(crate) const CONFIGURATION: &str = r#"
[master]
title = "Under test"
collapseRequests = false
listen = ["tcp:127.0.0.1:0"]

[[worker]]
name = "w1"
password = "pass"

[[builder]]
name = "b1"
workers = ["w1"]
[[builder.step]]
type = "ShellCommand"
command = ["true"]

[[builder]]
name = "b2"
workers = ["w1"]
[[builder.step]]
type = "ShellCommand"
command = ["true"]

[[scheduler]]
type = "ForceScheduler"
name = "force"
builderNames = ["b1", "b2"]

[[scheduler]]
type = "ForceScheduler"
name = "force-b2"
builderNames = ["b2"]
"#;

/// Runs the program to its end.
pub(crate) fn ganger(args: &[&str]) -> Output {
    command(args).output().expect("the program is built")
}

pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ganger"));
    command.args(args).stdin(Stdio::null()).env_remove("GANGER_LOG").env_remove("NO_COLOR");
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asks until there is an answer.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A master that runs; it is killed with the value.
pub(crate) struct Master {
    directory: tempfile::TempDir,
    process: Child,
}

impl Master {
    pub(crate) fn start() -> Self {
        Self::start_with(CONFIGURATION, &[])
    }

    pub(crate) fn start_with(configuration: &str, args: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a scratch directory");
        fs::write(directory.path().join("ganger.toml"), configuration).expect("a writable directory");
        let log = fs::File::create(directory.path().join("master.log")).expect("a writable directory");
        let process = command(&["start"])
            .args(args)
            .arg(directory.path())
            .stderr(log)
            .spawn()
            .expect("the program is built");
        let mut master = Self { directory, process };
        eventually("the master answers", || {
            let ended = master.process.try_wait().expect("our child");
            assert!(ended.is_none(), "the master ended: {}", master.log());
            master.try_json(&["status"])
        });
        master
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path().join("ganger.sock")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path().join("master.log")).unwrap_or_default()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        command(args).current_dir(self.path()).output().expect("the program is built")
    }

    fn try_json(&self, args: &[&str]) -> Option<Value> {
        let output = self.run(&[args, &["--json"]].concat());
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(status.expect("kill can be run").success());
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the master ends", || self.process.try_wait().expect("our child"))
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
