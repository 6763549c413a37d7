//! `[janitor]`.

use std::time::Duration;

use crate::{
    model::Janitor,
    schema::{Fallback, Key, Kind},
    table::{Keys, Table},
    value::Value,
};

pub(super) const KEYS: Keys = Keys {
    what: "`[janitor]`",
    groups: &[&[
        Key::new(
            "logHorizon",
            Kind::Seconds,
            "how long lines of logs are kept, from the start of their step on",
        ),
        Key::new(
            "build_data_horizon",
            Kind::Seconds,
            "how long build data is kept, from the end of its build on",
        ),
        Key::new(
            "buildHorizon",
            Kind::Seconds,
            "how long builds are kept, from their end on, with all that belongs to them and the requests and buildsets \
             that they were made for. The newest build of each builder stays",
        ),
        Key::new(
            "changeHorizon",
            Kind::Seconds,
            "how long changes are kept, unless a scheduler still waits with them. The newest stays",
        ),
        Key::new("hour", Kind::Integer(0, 23), "the hour of the day at which that is done, local time")
            .default(Fallback::Integer(0)),
        Key::new("minute", Kind::Integer(0, 59), "the minute of that hour").default(Fallback::Integer(0)),
    ]],
    hints: &[
        ("log_horizon", "it is called `logHorizon`"),
        ("buildDataHorizon", "it is called `build_data_horizon`"),
        ("eventHorizon", "there are no events in Buildbot's database any more"),
    ],
};

pub(super) fn read(value: Option<Value<'_>>) -> Option<Janitor> {
    let table = Table::of(value?, KEYS)?;
    // No time at all would delete what is being written.
    let horizon = |name| {
        table.seconds(name).map(|horizon| match table.value(name) {
            Some(value) if horizon < MIN_HORIZON => {
                value.error(format!("`{name}` is at least {} seconds", MIN_HORIZON.as_secs()));
                MIN_HORIZON
            }
            _ => horizon,
        })
    };
    let small = |name| table.integer(name).and_then(|number| i8::try_from(number).ok()).unwrap_or(0);
    let janitor = Janitor {
        log: horizon("logHorizon"),
        build_data: horizon("build_data_horizon"),
        build: horizon("buildHorizon"),
        change: horizon("changeHorizon"),
        hour: small("hour"),
        minute: small("minute"),
    };
    if janitor == (Janitor { hour: janitor.hour, minute: janitor.minute, ..Janitor::default() }) {
        table.missing(
            "a horizon",
            "set one of `logHorizon`, `build_data_horizon`, `buildHorizon` and `changeHorizon`",
        );
    }
    Some(janitor)
}

const MIN_HORIZON: Duration = Duration::from_hours(1);
