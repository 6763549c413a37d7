//! Which releases of workers there are to test against.

use anyhow::{Context, bail};

use crate::venv::{Found, Venv};

/// One release of the worker program on one Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerKind {
    /// Name of its virtual environment.
    pub name: &'static str,
    /// The version its commands report.
    pub command_version: (u32, u32),
    /// It runs on Python 2.
    pub python2: bool,
    ci: bool,
}

const fn kind(name: &'static str, command_version: (u32, u32)) -> WorkerKind {
    WorkerKind { name, command_version, python2: false, ci: false }
}

const fn python2(kind: WorkerKind) -> WorkerKind {
    WorkerKind { python2: true, ..kind }
}

const fn ci(kind: WorkerKind) -> WorkerKind {
    WorkerKind { ci: true, ..kind }
}

/// Every release that tests know, newest first.
const ALL: &[WorkerKind] = &[
    ci(kind("worker-4.3.0", (3, 3))),
    kind("worker-4.0.4", (3, 2)),
    kind("worker-3.11.9", (3, 2)),
    ci(kind("worker-2.10.5", (3, 1))),
    kind("worker-1.8.2", (3, 1)),
    kind("worker-0.9.15", (3, 1)),
    kind("worker-0.9.12", (3, 1)),
    ci(kind("worker-0.9.4", (3, 0))),
    python2(kind("worker-3.11.9-py27", (3, 2))),
    python2(kind("worker-2.10.5-py27", (3, 1))),
    python2(kind("worker-0.9.15-py27", (3, 1))),
    python2(kind("worker-0.9.0-py27", (3, 0))),
    ci(python2(kind("slave-0.8.14", (2, 16)))),
    python2(kind("slave-0.8.12", (2, 16))),
    python2(kind("slave-0.8.8", (2, 15))),
    python2(kind("slave-0.8.5", (2, 14))),
    python2(kind("slave-0.8.3", (2, 11))),
    python2(kind("slave-0.8.1", (2, 9))),
];

/// What `$GANGER_WORKERS` selects, as far as this machine can run it.
#[derive(Debug, Default)]
pub struct Selected {
    /// Ready to start.
    pub ready: Vec<(WorkerKind, Venv)>,
    /// Left out: they need Python 2.7 and there is none.
    pub without_python2: Vec<WorkerKind>,
}

impl WorkerKind {
    /// The newest release.
    pub const NEWEST: Self = ci(kind("worker-4.3.0", (3, 3)));

    /// The release with this environment.
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|kind| kind.name == name)
    }

    /// It is buildslave 0.8, not buildbot-worker.
    pub fn is_slave(self) -> bool {
        self.name.starts_with("slave-")
    }

    /// Its environment.
    ///
    /// # Errors
    ///
    /// It was not made, or cannot be made without Python 2.7.
    pub fn venv(self) -> anyhow::Result<Venv> {
        match Venv::find(self.name)? {
            Found::Ready(venv) => Ok(venv),
            Found::NoPython2 => bail!("{} needs Python 2.7, and this machine has none", self.name),
        }
    }

    /// The releases that `$GANGER_WORKERS` names: `ci` (also when it is not set), `all`, or environments with commas
    /// between.
    ///
    /// # Errors
    ///
    /// A name is not known, or an environment was not made; the message names the command that makes it.
    pub fn selected() -> anyhow::Result<Selected> {
        let wanted = match std::env::var("GANGER_WORKERS") {
            Ok(wanted) if !wanted.is_empty() => wanted,
            _ => "ci".to_owned(),
        };
        let kinds = match &*wanted {
            "all" => ALL.to_vec(),
            "ci" => ALL.iter().copied().filter(|kind| kind.ci).collect(),
            names => names
                .split(',')
                .map(|name| {
                    Self::named(name.trim()).with_context(|| {
                        format!("GANGER_WORKERS names {name:?}; expected ci, all or names of environments")
                    })
                })
                .collect::<anyhow::Result<Vec<_>>>()?,
        };
        let mut selected = Selected::default();
        for kind in kinds {
            match Venv::find(kind.name)? {
                Found::Ready(venv) => selected.ready.push((kind, venv)),
                Found::NoPython2 => selected.without_python2.push(kind),
            }
        }
        Ok(selected)
    }
}
