//! `[[worker]]`.

use std::{num::NonZeroU32, time::Duration};

use super::{Names, secret};
use crate::{
    model::Worker,
    schema::{Fallback, Key, Kind},
    table::{Keys, Table},
    value::Value,
};

/// The longest name that the database holds (`workers.name`).
pub(super) const MAX_NAME: usize = 50;

/// Logins that are no workers (`buildbot/config/master.py`, 4.3.0).
const RESERVED: [&str; 3] = ["debug", "change", "status"];

const PASSWORD: [&str; 3] = ["password", "password-file", "password-env"];

pub(super) const KEYS: Keys = Keys {
    what: "a worker",
    groups: &[&[
        Key::new("name", Kind::Text, "its name, which it logs in with; letters, digits, `_` and `-`")
            .required(),
        Key::new(PASSWORD[0], Kind::Text, "its password"),
        Key::new(PASSWORD[1], Kind::Text, "a file with its password"),
        Key::new(PASSWORD[2], Kind::Text, "an environment variable with its password"),
        Key::new("max_builds", Kind::Integer(1, 1_000_000), "how many builds it runs at once")
            .default(Fallback::Of("as many as it has builders")),
        Key::new(
            "keepalive_interval",
            Kind::Integer(1, 1_000_000),
            "after so many seconds of silence it is asked whether it is there",
        )
        .default(Fallback::Integer(3600)),
        Key::new("properties", Kind::Values, "properties of its builds"),
        Key::new(
            "defaultProperties",
            Kind::Values,
            "properties of its builds, unless something else sets them",
        ),
    ]],
    hints: &[
        ("workername", "it is called `name`"),
        ("slavename", "it is called `name`"),
        ("passwd", "it is called `password`"),
        ("locks", "there are no locks"),
    ],
};

pub(super) fn read<'a>(value: Value<'a>, names: &mut Names<'a>) -> Option<Worker> {
    let table = Table::of(value, KEYS)?;
    let name = table.text("name").map(|(name, span)| {
        if let Some(message) = wrong(name) {
            table.reading().sink.error(span.clone(), message);
        }
        names.add(table.reading(), name, span);
        name.to_owned()
    });
    let (password, given) = secret::password(&table, PASSWORD);
    if !given {
        table.missing("a password", "set one of `password-file`, `password-env` and `password`");
    }
    let max_builds = table.integer("max_builds").and_then(|n| NonZeroU32::new(u32::try_from(n).ok()?));
    let keepalive = table.integer("keepalive_interval").and_then(|n| u64::try_from(n).ok()).unwrap_or(3600);
    let properties = table.properties("properties", "Worker");
    let default_properties = table.properties("defaultProperties", "Worker");
    Some(Worker {
        name: name?,
        password: password?,
        max_builds,
        keepalive_interval: Duration::from_secs(keepalive),
        properties,
        default_properties,
    })
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
