//! Virtual environments with stock Buildbot programs, as `tests/python/venvs.py` makes them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// One environment that is there.
#[derive(Clone, Debug)]
pub struct Venv {
    directory: PathBuf,
}

/// What came of looking for an environment.
#[derive(Debug)]
pub enum Found {
    /// It is there.
    Ready(Venv),
    /// It needs Python 2.7 and this machine has none, so it cannot be made.
    NoPython2,
}

impl Venv {
    /// Looks for the environment `name` in `.venvs` of the repository, or in `$GANGER_VENVS`.
    ///
    /// # Errors
    ///
    /// It was not made yet, although it could be; the message names the command.
    pub fn find(name: &str) -> anyhow::Result<Found> {
        let directory = root().join(name);
        // The stamp is written last, so an environment that is being made does not count.
        if directory.join("ganger-stamp").is_file() {
            return Ok(Found::Ready(Self { directory }));
        }
        if lacks_python_2(name)? {
            return Ok(Found::NoPython2);
        }
        bail!("no virtual environment {}: run `python3 tests/python/venvs.py {name}`", directory.display())
    }

    /// A program of the environment.
    pub fn program(&self, name: &str) -> PathBuf {
        self.directory.join("bin").join(name)
    }

    /// A program of the environment, ready to be started, without the Python settings of whoever runs the tests.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.program(name));
        for variable in ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV"] {
            command.env_remove(variable);
        }
        // Not every machine that runs tests has a locale set, and Python 3 decodes file names by it.
        command.env("LC_ALL", "C.UTF-8").env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    crates.and_then(Path::parent).map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

fn root() -> PathBuf {
    match std::env::var_os("GANGER_VENVS") {
        Some(directory) if !directory.is_empty() => directory.into(),
        _ => repository().join(".venvs"),
    }
}

/// Asks the script that makes the environments, which knows where interpreters may be.
fn lacks_python_2(name: &str) -> anyhow::Result<bool> {
    let script = repository().join("tests/python/venvs.py");
    let output = Command::new("python3")
        .arg(&script)
        .arg("--list")
        .output()
        .with_context(|| format!("cannot run python3 {} --list", script.display()))?;
    let list = String::from_utf8_lossy(&output.stdout);
    let line = list.lines().find(|line| line.split_whitespace().next() == Some(name));
    Ok(line.is_some_and(|line| line.contains("no Python 2.7")))
}
