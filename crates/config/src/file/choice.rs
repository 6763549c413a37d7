//! Which request is built next, where, and which are built as one.

use ::model::expression::Expression;
use toml::de::DeValue;

use super::Names;
use crate::{
    expression,
    model::{CollapseRequests, NextBuild, NextWorker, PrioritizeBuilders},
    nearest::nearest,
    schema::{Fallback, Key, Kind, Special},
    table::Table,
    value::Value,
};

pub(super) const COLLAPSE: Special =
    Special::apart("`true`, `false`, or `{ expression = … }` over `new`, `old`, `compatible` and `builder`");

pub(super) const NEXT_BUILD: Special = Special::apart(
    "`\"priority\"`, `\"oldest\"`, `\"newest\"`, or `{ expression = … }` over `request`, `prop` and `builder`: \
               the request with the highest number",
);

pub(super) const NEXT_WORKER: Special = Special::apart(
    "`\"least-loaded\"`, `\"most-loaded\"`, `\"in-order\"`, or `{ expression = … }` over `worker`, `request`, \
               `prop` and `builder`: the worker with the highest number",
);

pub(super) const CAN_START: Special =
    Special::apart("`{ expression = … }` over `worker`, `request`, `prop` and `builder`");

pub(super) const PRIORITIZE: Special = Special::apart(
    "`\"priority\"`, `\"oldest\"`, a list of names of builders, or `{ expression = … }` over `builder` and \
               `request` (its first): the builder with the highest number",
);

/// What each builder may say.
pub(super) const OF_BUILDER: &[Key] = &[
    Key::new(
        "collapseRequests",
        Kind::Special(&COLLAPSE),
        "whether a new request makes those superfluous that still wait; see [builders.md](builders.md)",
    )
    .default(Fallback::Of("as `[master]` says")),
    Key::new("nextBuild", Kind::Special(&NEXT_BUILD), "which of its requests is built next")
        .default(Fallback::Text("priority")),
    Key::new("nextWorker", Kind::Special(&NEXT_WORKER), "which of its workers that are free builds it")
        .default(Fallback::Of("as `[master]` says")),
    Key::new("canStartBuild", Kind::Special(&CAN_START), "whether a worker may build a request")
        .default(Fallback::Bool(true)),
];

/// What `[master]` may say.
pub(super) const OF_MASTER: &[Key] = &[
    Key::new("collapseRequests", Kind::Special(&COLLAPSE), "as for a `[[builder]]`, for all that do not say")
        .default(Fallback::Bool(true)),
    Key::new(
        "select_next_worker",
        Kind::Special(&NEXT_WORKER),
        "`nextWorker` of all builders that do not say",
    )
    .default(Fallback::Text("least-loaded")),
    Key::new(
        "prioritizeBuilders",
        Kind::Special(&PRIORITIZE),
        "which builders come first when several want a worker",
    )
    .default(Fallback::Text("priority")),
];

pub(super) fn collapse(table: &Table<'_>) -> Option<CollapseRequests> {
    let value = table.value("collapseRequests")?;
    match value.get() {
        DeValue::Boolean(true) => Some(CollapseRequests::Compatible),
        DeValue::Boolean(false) => Some(CollapseRequests::Never),
        DeValue::Table(_) => {
            expression::read(value, &["new", "old", "compatible", "builder"]).map(CollapseRequests::If)
        }
        _ => {
            value.unexpected(COLLAPSE.expected);
            None
        }
    }
}

pub(super) fn next_build(table: &Table<'_>) -> NextBuild {
    let words =
        [("priority", NextBuild::Priority), ("oldest", NextBuild::Oldest), ("newest", NextBuild::Newest)];
    word_or(table, "nextBuild", &NEXT_BUILD, &words, &["request", "prop", "builder"], NextBuild::Score)
        .unwrap_or(NextBuild::Priority)
}

pub(super) fn next_worker(table: &Table<'_>, key: &str) -> Option<NextWorker> {
    let words = [
        ("least-loaded", NextWorker::LeastLoaded),
        ("most-loaded", NextWorker::MostLoaded),
        ("in-order", NextWorker::InOrder),
    ];
    word_or(table, key, &NEXT_WORKER, &words, &["worker", "request", "prop", "builder"], NextWorker::Score)
}

pub(super) fn can_start(table: &Table<'_>) -> Option<Expression> {
    expression::read(table.value("canStartBuild")?, &["worker", "request", "prop", "builder"])
}

/// Names of builders are checked by [`check_builders`], once they are known.
pub(super) fn prioritize(table: &Table<'_>) -> PrioritizeBuilders {
    let words = [("priority", PrioritizeBuilders::Priority), ("oldest", PrioritizeBuilders::Oldest)];
    let Some(value) = table.value("prioritizeBuilders") else { return PrioritizeBuilders::Priority };
    if value.get().as_array().is_some() {
        let names = value.texts().unwrap_or_default();
        return PrioritizeBuilders::Listed(names.into_iter().map(|(name, _)| name.to_owned()).collect());
    }
    word_or(
        table,
        "prioritizeBuilders",
        &PRIORITIZE,
        &words,
        &["builder", "request"],
        PrioritizeBuilders::Score,
    )
    .unwrap_or(PrioritizeBuilders::Priority)
}

/// Reports builders in `prioritizeBuilders` that there are none of.
pub(super) fn check_builders(master: Option<Value<'_>>, builders: &Names<'_>) {
    let Some(value) = master.and_then(|master| master.entry("prioritizeBuilders")) else { return };
    if value.get().as_array().is_some() {
        for (name, span) in value.texts().unwrap_or_default() {
            builders.check_one(value.reading, name, &span);
        }
    }
}

fn word_or<T: Clone>(
    table: &Table<'_>,
    key: &str,
    special: &Special,
    words: &[(&str, T)],
    names: &[&str],
    of_expression: fn(Expression) -> T,
) -> Option<T> {
    let value = table.value(key)?;
    match value.get() {
        DeValue::Table(_) => expression::read(value, names).map(of_expression),
        DeValue::String(text) => {
            let found = words.iter().find(|(word, _)| word == text);
            if found.is_none() {
                let meant = nearest(text, words.iter().map(|(word, _)| *word));
                value
                    .error(format!("expected {}, found {text:?}", special.expected))
                    .maybe_help(meant.map(|word| format!("did you mean {word:?}?")));
            }
            found.map(|(_, word)| word.clone())
        }
        _ => {
            value.unexpected(special.expected);
            None
        }
    }
}
