//! `[[worker]]`.

use std::{collections::BTreeMap, num::NonZeroU32, path::Path, sync::Arc, time::Duration};

use super::{Names, secret};
use crate::{
    diagnostic::Span,
    model::{Endpoint, LocalWorker, Master, Worker},
    schema::{Fallback, Key, Kind},
    table::{Keys, Table},
    value::{Reading, Value},
};

/// The longest name that the database holds (`workers.name`).
pub(super) const MAX_NAME: usize = 50;

/// Logins that are no workers (`buildbot/config/master.py`, 4.3.0).
const RESERVED: [&str; 3] = ["debug", "change", "status"];

const PASSWORD: [&str; 3] = ["password", "password-file", "password-env"];

const NAME: &[Key] = &[
    Key::new("name", Kind::Text, "its name, which it logs in with; letters, digits, `_` and `-`").required(),
    Key::new(
        "type",
        Kind::Choice(&["Worker", "LocalWorker"]),
        "whether it connects by itself, or the master runs it",
    )
    .default(Fallback::Text("Worker")),
];

const COMMON: &[Key] = &[
    Key::new("max_builds", Kind::Integer(1, 1_000_000), "how many builds it runs at once")
        .default(Fallback::Of("as many as it has builders")),
    Key::new(
        "keepalive_interval",
        Kind::Integer(1, 1_000_000),
        "after so many seconds of silence it is asked whether it is there",
    )
    .default(Fallback::Integer(3600)),
    Key::new("properties", Kind::Values, "properties of its builds"),
    Key::new("defaultProperties", Kind::Values, "properties of its builds, unless something else sets them"),
];

const HINTS: &[(&str, &str)] = &[
    ("workername", "it is called `name`"),
    ("slavename", "it is called `name`"),
    ("passwd", "it is called `password`"),
    ("locks", "builders and steps take locks"),
];

pub(super) const WORKER: Keys = Keys {
    what: "a worker",
    groups: &[
        NAME,
        &[
            Key::new(PASSWORD[0], Kind::Text, "its password"),
            Key::new(PASSWORD[1], Kind::Text, "a file with its password"),
            Key::new(PASSWORD[2], Kind::Text, "an environment variable with its password"),
        ],
        COMMON,
    ],
    hints: HINTS,
};

pub(super) const LOCAL: Keys = Keys {
    what: "a local worker",
    groups: &[
        NAME,
        &[
            Key::new("workdir", Kind::Text, "its directory, below `workers` beside the file")
                .default(Fallback::Of("the name")),
            Key::new(
                "program",
                Kind::Text,
                "`buildbot-worker`: a path, or a name that is looked up in the master's `PATH`",
            )
            .default(Fallback::Text("buildbot-worker")),
        ],
        COMMON,
    ],
    hints: &[
        (PASSWORD[0], "it logs in with a secret that the master makes"),
        (PASSWORD[1], "it logs in with a secret that the master makes"),
        (PASSWORD[2], "it logs in with a secret that the master makes"),
    ],
};

pub(super) fn read<'a>(value: Value<'a>, names: &mut Names<'a>) -> Option<Worker> {
    let is_local = value.entry("type").is_some_and(|kind| kind.get().as_str() == Some("LocalWorker"));
    let table = Table::of(value, if is_local { LOCAL } else { WORKER })?;
    table.choice("type")?;
    let name = table.text("name").map(|(name, span)| {
        if let Some(message) = wrong(name) {
            table.reading().sink.error(span.clone(), message);
        }
        names.add(table.reading(), name, span);
        name.to_owned()
    });
    let (password, local) = if is_local {
        (None, Some(local(&table, name.as_deref()?)))
    } else {
        let (password, given) = secret::password(&table, PASSWORD);
        if !given {
            table.missing("a password", "set one of `password-file`, `password-env` and `password`");
        }
        (Some(password?), None)
    };
    let max_builds = table.integer("max_builds").and_then(|n| NonZeroU32::new(u32::try_from(n).ok()?));
    let keepalive = table.integer("keepalive_interval").and_then(|n| u64::try_from(n).ok()).unwrap_or(3600);
    let properties = table.properties("properties", "Worker");
    let default_properties = table.properties("defaultProperties", "Worker");
    Some(Worker {
        name: name?,
        password,
        local,
        max_builds,
        keepalive_interval: Duration::from_secs(keepalive),
        properties,
        default_properties,
    })
}

/// Reports local workers that would find no master, or disturb each other.
pub(super) fn check_local(reading: &Reading<'_>, master: Option<&Master>, workers: &[(Arc<Worker>, Span)]) {
    let is_plain = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Tcp { .. });
    let is_found = master.is_none_or(|master| master.listen.iter().any(is_plain));
    let mut directories: BTreeMap<&Path, &Span> = BTreeMap::new();
    for (worker, head) in workers {
        let Some(local) = &worker.local else { continue };
        if !is_found {
            reading
                .sink
                .error(head.clone(), format!("local worker {:?} would find no master", worker.name))
                .help("it needs an address without TLS in `listen`, such as \"tcp:127.0.0.1:9989\"");
        }
        if let Some(first) = directories.insert(&local.directory, head) {
            reading
                .sink
                .error(
                    head.clone(),
                    format!("{} is the directory of another worker", local.directory.display()),
                )
                .related(first.clone(), "that one");
        }
    }
}

fn local(table: &Table<'_>, name: &str) -> LocalWorker {
    let base = table.reading().base_dir;
    let program = table.text("program").map_or("buildbot-worker", |(program, _)| program);
    LocalWorker {
        directory: base.join("workers").join(table.text("workdir").map_or(name, |(workdir, _)| workdir)),
        // A bare name is looked up, a path starts at the file.
        program: if program.contains('/') { base.join(program) } else { program.into() },
    }
}

/// Why a name cannot be a worker's (`buildbot/config/master.py`, `buildbot/util/identifiers.py`, 4.3.0).
pub(super) fn wrong(name: &str) -> Option<String> {
    let bad = |c: &char| !(c.is_ascii_alphanumeric() || "_-".contains(*c) || *c >= '\u{a0}');
    if RESERVED.contains(&name) {
        Some(format!("no worker can be called {name:?}: something else logs in with that name"))
    } else if name.starts_with(|c: char| c.is_ascii_digit()) {
        Some("the name of a worker does not start with a digit".into())
    } else if let Some(c) = name.chars().find(bad) {
        Some(format!("the name of a worker has no {c:?} in it: letters, digits, `_` and `-` are allowed"))
    } else if name.chars().count() > MAX_NAME {
        Some(format!("the name of a worker has at most {MAX_NAME} characters"))
    } else {
        None
    }
}
