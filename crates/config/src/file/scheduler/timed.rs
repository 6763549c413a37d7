//! `Periodic`, `Nightly` and `NightlyTriggerable`.

use std::time::Duration;

use ::model::{
    Timetable, TimetableError,
    filter::{Attribute, Condition, Test},
};
use toml::de::DeValue;

use super::{ABSOLUTE, COMMON, HINTS, OWN, filter, reason};
use crate::{
    file::pool::cron,
    model::{Clockwork, Timed},
    schema::{Fallback, Key, Kind, Special},
    table::{Keys, Table},
    value::Value,
};

/// What all of them have.
const TIMED: &[Key] = &[
    Key::new(
        "onlyIfChanged",
        Kind::Bool,
        "build only when there was an important change since the last time",
    )
    .default(Fallback::Bool(false)),
    Key::new("branch", Kind::Text, "only changes on this branch; the empty text is for changes without one")
        .default(Fallback::Of("all")),
    ABSOLUTE,
    Key::new(
        "reason",
        Kind::Text,
        "why its builds are there; `%(name)s` is its name, `%(classname)s` its type",
    )
    .default(Fallback::Text("The %(classname)s scheduler named '%(name)s' triggered this build")),
];

/// When, by the clock. Buildbot's names and numbers: Monday is 0.
const TIMES: &[Key] = &[
    Key::new("minute", Kind::Special(&FIELD), "when: minutes").default(Fallback::Integer(0)),
    Key::new("hour", Kind::Special(&FIELD), "when: hours").default(Fallback::Text("*")),
    Key::new("dayOfMonth", Kind::Special(&FIELD), "when: days of the month").default(Fallback::Text("*")),
    Key::new("month", Kind::Special(&FIELD), "when: months").default(Fallback::Text("*")),
    Key::new("dayOfWeek", Kind::Special(&FIELD), "when: days of the week; Monday is 0")
        .default(Fallback::Text("*")),
    Key::new(
        "force_at_minute",
        Kind::Special(&FIELD),
        "when it builds even without important changes: minutes",
    )
    .default(Fallback::Of("0, where another `force_at_` is given")),
    Key::new("force_at_hour", Kind::Special(&FIELD), "as `force_at_minute`: hours")
        .default(Fallback::Of("`*`, where another one is given")),
    Key::new("force_at_day_of_month", Kind::Special(&FIELD), "as `force_at_minute`: days of the month")
        .default(Fallback::Of("`*`, where another one is given")),
    Key::new("force_at_month", Kind::Special(&FIELD), "as `force_at_minute`: months")
        .default(Fallback::Of("`*`, where another one is given")),
    Key::new(
        "force_at_day_of_week",
        Kind::Special(&FIELD),
        "as `force_at_minute`: days of the week; Monday is 0",
    )
    .default(Fallback::Of("`*`, where another one is given")),
    Key::new("timezone", Kind::Text, "the time zone of these, such as `Europe/Berlin`")
        .default(Fallback::Of("that of the master's machine")),
];

const FIELD: Special = Special::apart("a number, a list of numbers, or text as in cron");

pub(in crate::file) const PERIODIC: Keys = Keys {
    what: "Periodic",
    groups: &[
        COMMON,
        OWN,
        &[Key::new("periodicBuildTimer", Kind::Seconds, "the time from one build to the next").required()],
        TIMED,
        filter::INTEREST,
    ],
    hints: HINTS,
};

pub(in crate::file) const NIGHTLY: Keys =
    Keys { what: "Nightly", groups: &[COMMON, OWN, TIMES, TIMED, filter::INTEREST], hints: HINTS };

pub(in crate::file) const NIGHTLY_TRIGGERABLE: Keys =
    Keys { what: "NightlyTriggerable", groups: &[COMMON, OWN, TIMES, TIMED, filter::INTEREST], hints: HINTS };

/// The keys of a timetable, and what each is where it is left out.
const WHEN: [(&str, &str); 5] =
    [("minute", "0"), ("hour", "*"), ("dayOfMonth", "*"), ("month", "*"), ("dayOfWeek", "*")];
const FORCE_AT: [(&str, &str); 5] = [
    ("force_at_minute", "0"),
    ("force_at_hour", "*"),
    ("force_at_day_of_month", "*"),
    ("force_at_month", "*"),
    ("force_at_day_of_week", "*"),
];

/// Reads one of the three, whose type is `kind`.
pub(super) fn read(table: &Table<'_>, kind: &str, name: &str) -> Option<Timed> {
    let mut interest = filter::interest(table);
    if let Some((branch, _)) = table.plain_text("branch") {
        let only = vec![(!branch.is_empty()).then(|| branch.to_owned())];
        interest.filter.conditions.push(Condition { attribute: Attribute::Branch, test: Test::Is(only) });
    }
    let clockwork = if kind == "Periodic" {
        let timer = table.seconds("periodicBuildTimer")?;
        if timer < Duration::from_secs(1) {
            let value = table.value("periodicBuildTimer")?;
            value.error("`periodicBuildTimer` is at least a second");
        }
        Clockwork::Every(timer)
    } else {
        Clockwork::At(timetable(table, WHEN)?)
    };
    let is_forced = kind != "Periodic" && FORCE_AT.iter().any(|(key, _)| table.value(key).is_some());
    let only_if_changed = table.bool("onlyIfChanged");
    if is_forced
        && !only_if_changed
        && let Some(value) = FORCE_AT.iter().find_map(|(key, _)| table.value(key))
    {
        value.warning("this has a meaning only with `onlyIfChanged`");
    }
    Some(Timed {
        clockwork,
        force_at: if is_forced { timetable(table, FORCE_AT) } else { None },
        interest,
        only_if_changed,
        create_absolute_source_stamps: table.bool(ABSOLUTE.name),
        reason: reason(table, kind, name),
    })
}

fn timetable(table: &Table<'_>, keys: [(&'static str, &'static str); 5]) -> Option<Timetable> {
    let mut words = Vec::with_capacity(keys.len());
    for (at, (key, default)) in keys.into_iter().enumerate() {
        match table.value(key) {
            None => words.push(default.to_owned()),
            Some(value) => words.push(word(&value, at == 4)?),
        }
    }
    let line = words.join(" ");
    let zone = table.text("timezone");
    let found = match cron::too_far(&line) {
        Some(error) => Err(error),
        None => Timetable::of_scheduler(&line, zone.as_ref().map(|(zone, _)| *zone)),
    };
    let at = |field: &str| {
        let fields = ["minute", "hour", "day of the month", "month", "day of the week"];
        let index = fields.iter().position(|name| *name == field)?;
        table.value(keys.get(index)?.0)
    };
    match found {
        Ok(timetable) => {
            if cron::is_never_on(&line) {
                let key = keys.iter().filter_map(|(key, _)| table.value(key)).next_back();
                key.map(|value| value.error("there is no such day: this never builds"));
            }
            Some(timetable)
        }
        Err(TimetableError::Zone(_)) => {
            let (zone, span) = zone?;
            table.reading().sink.error(span, format!("there is no time zone {zone:?}"));
            None
        }
        Err(error) => {
            let value = match &error {
                TimetableError::Field { field, .. } => at(field),
                _ => None,
            };
            match value {
                Some(value) => drop(value.error(error.to_string())),
                None => drop(table.reading().sink.error(table.head(), error.to_string())),
            }
            None
        }
    }
}

/// One field as cron has it. Buildbot counts the days of the week from Monday, but leaves ranges and names in texts as
/// they are (`NightlyBase._timeToCron`, `buildbot/schedulers/timed.py`, 4.3.0).
fn word(value: &Value<'_>, is_day_of_week: bool) -> Option<String> {
    let number = |value: &Value<'_>| {
        let number = value.integer(0, 59)?;
        Some(if is_day_of_week { (number + 1) % 7 } else { number }.to_string())
    };
    match value.get() {
        DeValue::Integer(_) => number(value),
        DeValue::Array(elements) if elements.is_empty() => {
            value.error("there is no time in this list");
            None
        }
        DeValue::Array(_) => {
            let all: Vec<Option<String>> = value.elements()?.map(|element| number(&element)).collect();
            Some(all.into_iter().collect::<Option<Vec<_>>>()?.join(","))
        }
        DeValue::String(text) => {
            if text.split_ascii_whitespace().count() != 1 {
                value.error("expected one field of cron, such as \"*/15\" or \"8-17\"");
                return None;
            }
            let parts = text.trim().split(',').map(|part| match part.parse::<u32>() {
                Ok(day) if is_day_of_week => ((day + 1) % 7).to_string(),
                _ => part.to_owned(),
            });
            Some(parts.collect::<Vec<_>>().join(","))
        }
        _ => {
            value.unexpected(FIELD.expected);
            None
        }
    }
}
