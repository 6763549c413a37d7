//! `[[lock]]`, and the lists of locks that builders and steps take.

use std::collections::{BTreeMap, HashMap};

use super::Names;
use crate::{
    diagnostic::Span,
    model::{Lock, LockAccess, LockMode, LockScope},
    schema::{Fallback, Key, Kind, Special},
    table::{Keys, Table},
    value::Value,
};

/// How many units a lock may have.
const MAX_COUNT: i64 = 1_000_000;
/// How many locks one builder or step may take.
const MAX_LOCKS: usize = 100;

pub(super) const KEYS: Keys = Keys {
    what: "a lock",
    groups: &[&[
        Key::new("name", Kind::Text, "its name").required(),
        Key::new(
            "type",
            Kind::Choice(&["MasterLock", "WorkerLock"]),
            "one for all builds (`MasterLock`), or one for each worker (`WorkerLock`)",
        )
        .required(),
        Key::new("maxCount", Kind::Integer(1, MAX_COUNT), "how many units of it there are")
            .default(Fallback::Integer(1)),
        Key::new(
            "maxCountForWorker",
            Kind::Values,
            "of a `WorkerLock`: how many there are on some workers, by the name of the worker or of the pool that it belongs to",
        ),
    ]],
    hints: &[("access", "how a lock is taken is said where it is taken, in `locks` of a builder or step")],
};

pub(crate) const ACCESS: Keys = Keys {
    what: "an access to a lock",
    groups: &[&[
        Key::new("lock", Kind::Text, "the name of the lock").required(),
        Key::new(
            "access",
            Kind::Choice(&["counting", "exclusive"]),
            "`counting` takes units and leaves the others; `exclusive` has the lock alone",
        )
        .default(Fallback::Text("counting")),
        Key::new("count", Kind::Integer(0, MAX_COUNT), "how many units are taken; only with `counting`")
            .default(Fallback::Integer(1)),
    ]],
    hints: &[("name", "it is called `lock`"), ("mode", "it is called `access`")],
};

/// What a builder or step says under `locks`.
pub(crate) static LOCKS: Special = Special {
    expected: "a list of locks: names, or tables such as `{ lock = \"NAME\", access = \"exclusive\" }`",
    read: |value| value.read(Kind::Any),
};

/// All locks of the file.
pub(super) struct Locks<'a> {
    names: Names<'a>,
    locks: HashMap<&'a str, Lock>,
}

/// What is wrong with it is found once all workers are known.
pub(super) fn read_all<'a>(root: &Table<'a>, workers: &Names<'a>) -> Locks<'a> {
    let mut all = Locks { names: Names::new("lock"), locks: HashMap::new() };
    for value in root.tables("lock") {
        let Some(table) = Table::of(value, KEYS) else { continue };
        let name = table.text("name");
        if let Some((name, span)) = &name {
            all.names.add(table.reading(), name, span.clone());
        }
        let max_count = table.integer("maxCount").and_then(|count| u32::try_from(count).ok()).unwrap_or(1);
        let scope = match table.choice("type") {
            Some("WorkerLock") => LockScope::Worker { max_count_for_worker: for_workers(&table, workers) },
            _ => {
                if let (Some("MasterLock"), Some(value)) =
                    (table.choice("type"), table.value("maxCountForWorker"))
                {
                    value.error("a `MasterLock` is the same for all workers").help("a `WorkerLock` is meant");
                }
                LockScope::Master
            }
        };
        if let Some((name, _)) = name {
            all.locks.entry(name).or_insert_with(|| Lock { name: name.to_owned(), max_count, scope });
        }
    }
    all
}

fn for_workers(table: &Table<'_>, workers: &Names<'_>) -> BTreeMap<String, u32> {
    let Some(value) = table.value("maxCountForWorker") else { return BTreeMap::new() };
    let Some(entries) = value.entries() else {
        value.unexpected("a table of numbers by the name of the worker");
        return BTreeMap::new();
    };
    let names: Vec<(&str, Span)> = entries.iter().map(|(name, span, _)| (*name, span.clone())).collect();
    workers.check(table, "maxCountForWorker", &names);
    let count = |(name, _, count): (&str, Span, Value<'_>)| {
        let count = count.integer(0, MAX_COUNT)?;
        Some((name.to_owned(), u32::try_from(count).ok()?))
    };
    entries.into_iter().filter_map(count).collect()
}

impl<'a> Locks<'a> {
    /// The accesses of a builder on `workers`, or of one of its steps, which finds those that the build has in `held`.
    pub(super) fn accesses(
        &self,
        value: Option<Value<'a>>,
        workers: &[&str],
        held: Option<&[LockAccess]>,
    ) -> Vec<LockAccess> {
        let Some(value) = value else { return Vec::new() };
        let elements: Vec<Value<'a>> = match value.elements() {
            Some(elements) => elements.collect(),
            None => vec![value],
        };
        if elements.len() > MAX_LOCKS {
            value.error(format!("{MAX_LOCKS} locks are enough; this has {}", elements.len()));
            return Vec::new();
        }
        let mut accesses: Vec<(LockAccess, Span)> = Vec::new();
        for element in elements {
            let Some((access, span)) = self.access(element, workers, held.is_some()) else { continue };
            let name = access.lock.as_str();
            if held.is_some_and(|held| held.iter().any(|other| other.lock == name)) {
                element
                    .reading
                    .sink
                    .error(
                        span,
                        format!(
                            "the builder has the lock {name:?} already: the step would wait for its own build"
                        ),
                    )
                    .help("take it in one of the two places");
            } else if let Some((_, first)) = accesses.iter().find(|(other, _)| other.lock == name) {
                let note = element.reading.sink.error(span, format!("the lock {name:?} is taken twice"));
                note.related(first.clone(), "first here");
            } else {
                accesses.push((access, span));
            }
        }
        accesses
            .into_iter()
            .map(|(access, _)| access)
            .filter(|access| access.mode != LockMode::Counting(0))
            .collect()
    }

    fn access(&self, value: Value<'a>, workers: &[&str], is_step: bool) -> Option<(LockAccess, Span)> {
        let (name, span, exclusive, count) = match value.get().as_table() {
            None if value.get().as_str().is_none() => {
                value.unexpected("the name of a lock, or a table such as `{ lock = \"NAME\" }`");
                return None;
            }
            None => (value.text()?, value.span(), false, 1),
            Some(_) => {
                let table = Table::of(value, ACCESS)?;
                let (name, span) = table.text("lock")?;
                let exclusive = table.choice("access")? == "exclusive";
                let count = u32::try_from(table.integer("count")?).ok()?;
                if let Some(given) = table.value("count").filter(|_| exclusive && count != 1) {
                    given.error("`count` is for `counting` access only");
                }
                (name, span, exclusive, count)
            }
        };
        self.names.check_one(value.reading, name, &span);
        let lock = self.locks.get(name)?;
        let mode = if exclusive { LockMode::Exclusive } else { LockMode::Counting(count) };
        let too_many = |max: u32| matches!(mode, LockMode::Counting(count) if count > max);
        if too_many(lock.most(workers)) {
            let most = lock.most(workers);
            value
                .reading
                .sink
                .error(span.clone(), format!("lock {name:?} has only {most}: {count} can never be taken"));
        } else if let Some(worker) =
            workers.iter().find(|worker| is_step && too_many(lock.max_on(worker, None)))
        {
            // A build finds another worker; a step is where it is.
            let max = lock.max_on(worker, None);
            value.reading.sink.error(
                span.clone(),
                format!(
                    "lock {name:?} has only {max} on worker {worker:?}: the step would wait for ever there"
                ),
            );
        }
        Some((LockAccess { lock: name.to_owned(), mode }, span))
    }

    /// All of them, in the order of their names.
    pub(super) fn into_all(self) -> BTreeMap<String, Lock> {
        self.locks.into_iter().map(|(name, lock)| (name.to_owned(), lock)).collect()
    }
}
