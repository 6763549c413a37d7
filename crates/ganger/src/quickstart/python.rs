//! Python, its virtual environment, and the stock worker in it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context;
use tokio::process::Command;

use crate::exit::{Exit, Failure};

/// A virtual environment with the stock worker.
pub(super) struct Venv(PathBuf);

impl Venv {
    /// A program of the environment.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.0.join("bin").join(name)
    }
}

/// Says everything that is missing on this machine, at once.
pub(super) async fn require_tools(python: &Path, git: bool) -> Result<(), Failure> {
    let mut missing = Vec::new();
    let (mut debian, mut fedora) = (Vec::new(), Vec::new());
    if run(Command::new(python).arg("--version"), "python").await.is_err() {
        missing.push(format!("no Python: {} cannot be run", python.display()));
        debian.extend(["python3", "python3-venv"]);
        fedora.push("python3");
    } else if run(Command::new(python).args(["-c", "import venv, ensurepip"]), "venv").await.is_err() {
        missing.push(format!("{} has no venv and ensurepip", python.display()));
        debian.push("python3-venv");
        fedora.push("python3-pip");
    }
    if git && run(Command::new("git").arg("--version"), "git").await.is_err() {
        missing.push("no git".to_owned());
        debian.push("git");
        fedora.push("git");
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::text(Exit::TryAgain, format!("something is missing here: {}", missing.join("; "))).advise(
        format!(
            "install it and try again: `apt install {}` or `dnf install {}`",
            debian.join(" "),
            fedora.join(" ")
        ),
    ))
}

/// Makes the environment in `directory/venv`, and installs the worker from PyPI.
pub(super) async fn make_venv(directory: &Path, python: &Path, version: &str) -> Result<Venv, Failure> {
    let venv = Venv(directory.join("venv"));
    run(Command::new(python).args(["-m", "venv"]).arg(&venv.0), "python3 -m venv").await?;
    let mut pip = Command::new(venv.program("python"));
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
    run(pip.arg(format!("buildbot-worker=={version}")), "pip install buildbot-worker").await.map_err(
        |failure| {
            Failure::text(Exit::TryAgain, failure).advise(
                "the worker comes from https://pypi.org: is the network there? \
             Behind a mirror, set PIP_INDEX_URL or pip's configuration.",
            )
        },
    )?;
    Ok(venv)
}

/// Makes the worker's directory, `directory/worker`.
pub(super) async fn make_worker(
    venv: &Venv,
    directory: &Path,
    port: u16,
    password: &str,
) -> Result<(), Failure> {
    let mut create = Command::new(venv.program("buildbot-worker"));
    create.args(["create-worker", "--quiet"]).arg(directory.join("worker"));
    create.args([&format!("127.0.0.1:{port}"), "worker-1", password]);
    run(&mut create, "buildbot-worker create-worker").await?;
    Ok(())
}

/// Keeps the settings of whoever runs us away from Python and git.
pub(super) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let shown = name.to_string_lossy();
        let settings = shown.starts_with("GIT_") && !shown.starts_with("GIT_SSL") && shown != "GIT_EXEC_PATH";
        if settings || matches!(&*shown, "PYTHONPATH" | "PYTHONHOME" | "PYTHONSTARTUP" | "VIRTUAL_ENV") {
            command.env_remove(&name);
        }
    }
}

/// Runs a command to its end; what it printed.
pub(super) async fn run(command: &mut Command, name: &str) -> Result<String, Failure> {
    clean(command);
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {}", command.as_std().get_program().display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [&output.stdout[..], &output.stderr[..]]
        .map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    Err(Failure::text(
        Exit::Internal,
        format!("{name} failed, with {}\n{}", output.status, said.join("\n").trim()),
    ))
}
