//! Processes that end with this one.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{process::Command, time::timeout};

use crate::exit::Failure;

/// How long a process may take to end by itself.
const END_WITHIN: Duration = Duration::from_secs(20);

/// How much of a log is shown.
const TAIL: u64 = 4096;

/// Runs a command until it ends or until its standard input does, whatever comes first.
const WHILE_INPUT: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ cat <&3 >/dev/null; kill "$child" 2>/dev/null; } &
exec 3<&-
wait "$child"
status=$?
# After a signal `wait` returns before the process has ended.
while kill -0 "$child" 2>/dev/null; do wait "$child"; done
exit "$status"
"#;

/// A process that ends when its standard input does.
pub(super) struct Child {
    child: tokio::process::Child,
    group: Option<Pid>,
}

/// Starts the master of the directory: this same program.
pub(super) fn start_master(directory: &Path) -> Result<Child, Failure> {
    let program = std::env::current_exe().context("this program does not know where it is")?;
    let mut command = Command::new(program);
    command.arg("start").arg("--end-with-stdin").arg(directory);
    Child::start(command, &directory.join("master.log"))
}

/// Starts the worker in `directory/worker`.
pub(super) fn start_worker(venv: &super::python::Venv, directory: &Path) -> Result<Child, Failure> {
    let worker = directory.join("worker");
    let mut command = Command::new("sh");
    command.args(["-c", WHILE_INPUT, "worker"]).arg(venv.program("twistd"));
    command.args(["--nodaemon", "--no_save", "--pidfile=", "--python=buildbot.tac"]).current_dir(&worker);
    super::python::clean(&mut command);
    Child::start(command, &directory.join("worker.log"))
}

impl Child {
    fn start(mut command: Command, log: &Path) -> Result<Self, Failure> {
        let output = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C is for us: we end the others in their order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", command.as_std().get_program().display()))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, group })
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        Ok(self.child.try_wait()?)
    }

    /// Ends it: gently, then with all that it started.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        if timeout(END_WITHIN, self.child.wait()).await.is_err() {
            if let Some(group) = self.group {
                kill_process_group(group, Signal::KILL)?;
            }
            self.child.wait().await?;
        }
        Ok(())
    }
}

/// The end of a log, as far as it can be read.
pub(super) fn tail(log: &Path) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
