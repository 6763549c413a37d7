//! `[[builder]]`.

use std::{collections::HashMap, sync::Arc};

use super::{
    Names, choice,
    lock::{self, Locks},
};
use crate::{
    diagnostic::Span,
    model::{Builder, CollapseRequests, Master, NextWorker, Secrets, Step},
    renderable::Renderable,
    schema::{Fallback, Key, Kind},
    steps,
    table::{Keys, Table},
    value::Value,
};

/// How many steps one builder may have.
const MAX_STEPS: usize = 1000;

pub(super) const KEYS: Keys = Keys {
    what: "a builder",
    groups: &[&[
        Key::new("name", Kind::Text, "its name; does not start with `_`").required(),
        Key::new("description", Kind::Text, "shown to users"),
        Key::new("tags", Kind::Texts, "words to filter by"),
        Key::new("workers", Kind::Texts, "names of the workers that may build it").required(),
        Key::new("workerbuilddir", Kind::Text, "its directory on the worker").default(Fallback::Of(
            "the name, with `_` for white space and for punctuation other than `-`, `_`, quotes and backquotes",
        )),
        Key::new(
            "locks",
            Kind::Special(&lock::LOCKS),
            "locks that a build takes before it starts, see `[[lock]]`",
        ),
        Key::renderable("env", Kind::Dict, "environment variables of all its commands"),
        Key::new("properties", Kind::Values, "properties of its builds"),
        Key::new("defaultProperties", Kind::Values, "properties of its builds, unless something else sets them"),
        Key::new("clean-workspace", Kind::Tables("[builder.clean-workspace]"), "when its directory on the worker is emptied"),
        Key::new("step", Kind::Tables("[[builder.step]]"), "what a build does, in order"),
    ], choice::OF_BUILDER],
    hints: &[
        ("workernames", "it is called `workers`"),
        ("workername", "it is called `workers`"),
        ("slavenames", "it is called `workers`"),
        ("slavename", "it is called `workers`"),
        ("slavebuilddir", "it is called `workerbuilddir`"),
        ("builddir", "the master keeps no directory for a builder; on the worker it is `workerbuilddir`"),
        ("factory", "steps stand in `[[builder.step]]`"),
        ("steps", "each step is a `[[builder.step]]`"),
        ("category", "it is called `tags`"),
        ("mergeRequests", "it is called `collapseRequests`"),
        ("nextSlave", "it is called `nextWorker`"),
    ],
};

/// Which builder uses a directory, on which workers.
#[derive(Default)]
pub(super) struct Directories<'a>(HashMap<String, Vec<User<'a>>>);

struct User<'a> {
    name: &'a str,
    workers: Vec<&'a str>,
    span: Span,
}

pub(super) fn read<'a>(
    value: Value<'a>,
    master: Option<&Master>,
    workers: &Names<'a>,
    locks: &Locks<'a>,
    names: &mut Names<'a>,
    directories: &mut Directories<'a>,
) -> Option<Builder> {
    let table = Table::of(value, KEYS)?;
    let sink = &table.reading().sink;
    let name = table.text("name");
    if let Some((name, span)) = &name {
        if name.starts_with('_') {
            sink.error(span.clone(), "the name of a builder does not start with `_`");
        }
        names.add(table.reading(), name, span.clone());
    }
    let used = table.texts("workers").unwrap_or_default();
    workers.check(&table, "workers", &used);
    let tags = table.texts("tags").unwrap_or_default();
    for (index, (tag, span)) in tags.iter().enumerate() {
        if let Some((_, first)) = tags.iter().take(index).find(|(other, _)| other == tag) {
            sink.error(span.clone(), format!("the tag {tag:?} is there twice"))
                .related(first.clone(), "first here");
        }
    }
    let description = table.text("description").map(|(text, _)| text.to_owned());
    let workerbuilddir = table.text("workerbuilddir").map(|(text, _)| text.to_owned());
    let env = table.value("env").and_then(|env| env.read(Kind::Dict));
    let properties = table.properties("properties", "Builder");
    let default_properties = table.properties("defaultProperties", "Builder");
    let elements = table.tables("step");
    if elements.is_empty() {
        sink.warning(table.head(), "a builder without steps does nothing").help("add a `[[builder.step]]`");
    }
    if elements.len() > MAX_STEPS {
        sink.error(
            table.head(),
            format!("a builder has at most {MAX_STEPS} steps, this has {}", elements.len()),
        );
    }
    let names_of_workers: Vec<&str> = used.iter().map(|(worker, _)| *worker).collect();
    let taken = locks.accesses(table.value("locks"), &names_of_workers, None);
    let step = |value: Value<'a>| {
        let locks = locks.accesses(value.entry("locks"), &names_of_workers, Some(&taken));
        Some(Step { locks, ..steps::read(value)? })
    };
    let mut steps: Vec<_> = elements.into_iter().take(MAX_STEPS).filter_map(step).collect();
    if let Some(clean) = table.value("clean-workspace") {
        steps::add_clean_workspace(clean, &mut steps);
    }
    let (name, span) = name?;
    let given = workerbuilddir.is_some();
    let workerbuilddir = workerbuilddir.unwrap_or_else(|| safe(name));
    let workers = names_of_workers;
    if !given {
        directories.check(&table, &workerbuilddir, name, &workers, &span);
    }
    directories.0.entry(workerbuilddir.clone()).or_default().push(User { name, workers, span });
    Some(Builder {
        name: name.to_owned(),
        description,
        tags: tags.into_iter().map(|(tag, _)| tag.to_owned()).collect(),
        workers: used.into_iter().map(|(worker, _)| worker.to_owned()).collect(),
        workerbuilddir,
        locks: taken,
        collapse_requests: choice::collapse(&table)
            .or_else(|| Some(master?.collapse_requests.clone()))
            .unwrap_or(CollapseRequests::Compatible),
        next_build: choice::next_build(&table),
        next_worker: choice::next_worker(&table, "nextWorker")
            .or_else(|| Some(master?.select_next_worker.clone()))
            .unwrap_or(NextWorker::LeastLoaded),
        can_start_build: choice::can_start(&table),
        env: match env {
            Some(Renderable::Dict(entries)) => entries,
            _ => Vec::new(),
        },
        properties,
        default_properties,
        steps: steps.into_iter().map(Arc::new).collect(),
        secrets: Arc::new(Secrets::default()),
    })
}

impl Directories<'_> {
    /// Two names can be the same once they are made safe: their builds would disturb each other. Whoever names a
    /// directory twice means it.
    fn check(&self, table: &Table<'_>, directory: &str, name: &str, workers: &[&str], span: &Span) {
        for user in self.0.get(directory).into_iter().flatten().filter(|user| user.name != name) {
            if let Some(worker) = workers.iter().find(|worker| user.workers.contains(worker)) {
                let both = format!("{name:?} and {:?}", user.name);
                table
                    .reading()
                    .sink
                    .error(
                        span.clone(),
                        format!("{both} would use the same directory {directory:?} on worker {worker:?}"),
                    )
                    .related(user.span.clone(), "the other one")
                    .help("give one of them a `workerbuilddir`");
                return;
            }
        }
    }
}

/// A name made safe for a directory as Buildbot makes it (`safeTranslate`, `buildbot/util/__init__.py`, 4.3.0).
fn safe(name: &str) -> String {
    name.chars().map(|c| if "\t !#$%&'()*+,./:;<=>?@[\\]^{|}~".contains(c) { '_' } else { c }).collect()
}
