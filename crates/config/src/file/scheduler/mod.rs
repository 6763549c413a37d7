//! `[[scheduler]]`.

pub(super) mod filter;
pub(super) mod force;
pub(super) mod parameter;
pub(super) mod timed;

use std::{sync::Arc, time::Duration};

use ::model::{
    filter::{Attribute, Condition, Test},
    template::Reference,
};
use toml::de::DeValue;

use super::Names;
use crate::{
    diagnostic::Span,
    expression,
    model::{Basic, Codebase, Priority, Scheduler, SchedulerKind},
    nearest::nearest,
    renderable::Renderable,
    schema::{Fallback, Key, Kind, Special},
    table::{Keys, Table},
    value::{MAX_PROPERTY_NAME, Reading, Value},
};

/// What all schedulers have.
const COMMON: &[Key] = &[
    Key::new("type", Kind::Text, "what it waits for").required(),
    Key::new("name", Kind::Text, "its name").required(),
    Key::new("builderNames", Kind::Texts, "names of the builders that it asks to build").required(),
];

/// What schedulers but `ForceScheduler` have.
const OWN: &[Key] = &[
    Key::new(
        "priority",
        Kind::Special(&PRIORITY),
        "builds of a higher priority are started first; an expression sees `builderNames` and `changes`",
    )
    .default(Fallback::Integer(0)),
    Key::new(
        "codebases",
        Kind::Special(&CODEBASES),
        "the codebases of its builds: names, or a table of `{ repository, branch, revision }` by name",
    )
    .default(Fallback::Of("one, of the empty name")),
    Key::renderable(
        "properties",
        Kind::Values,
        "properties of its builds, rendered with the properties of the changes and with what is built",
    ),
];

/// What schedulers that wait for changes have.
const BASIC: &[Key] = &[
    Key::new("categories", Kind::Texts, "only changes of these categories"),
    Key::new("treeStableTimer", Kind::Seconds, "wait until there was no other change for so long")
        .default(Fallback::Of("build each change at once")),
    Key::new(
        "reason",
        Kind::Text,
        "why its builds are there; `%(name)s` is its name, `%(classname)s` its type",
    )
    .default(Fallback::Text("The %(classname)s scheduler named '%(name)s' triggered this build")),
];

const HINTS: &[(&str, &str)] = &[("builders", "it is called `builderNames`")];

pub(super) const ANY_BRANCH: Keys = Keys {
    what: "AnyBranchScheduler",
    groups: &[
        COMMON,
        OWN,
        &[Key::new("branches", Kind::Texts, "only changes on these branches").default(Fallback::Of("all"))],
        filter::INTEREST,
        BASIC,
    ],
    hints: HINTS,
};

pub(super) const SINGLE_BRANCH: Keys = Keys {
    what: "SingleBranchScheduler",
    groups: &[
        COMMON,
        OWN,
        &[
            Key::new(
                "branch",
                Kind::Text,
                "only changes on this branch; the empty text is for changes without one. Required, unless there is a \
                 `change_filter`",
            ),
            ABSOLUTE,
        ],
        filter::INTEREST,
        BASIC,
    ],
    hints: HINTS,
};

const ABSOLUTE: Key = Key::new(
    "createAbsoluteSourceStamps",
    Kind::Bool,
    "codebases without a change are built as their last change left them",
)
.default(Fallback::Bool(false));

pub(super) const DEPENDENT: Keys = Keys {
    what: "Dependent",
    groups: &[
        COMMON,
        OWN,
        &[Key::new("upstream", Kind::Text, "the scheduler whose builds have to succeed first").required()],
    ],
    hints: HINTS,
};

pub(super) const TRIGGERABLE: Keys = Keys {
    what: "Triggerable",
    groups: &[
        COMMON,
        OWN,
        &[Key::new("reason", Kind::Text, "why its builds are there, where `Trigger` sets no properties")
            .default(Fallback::Of(
                "Buildbot's: The Triggerable scheduler named 'NAME' triggered this build",
            ))],
    ],
    hints: HINTS,
};

/// All types, with their keys.
const TYPES: &[(&str, Keys)] = &[
    ("AnyBranchScheduler", ANY_BRANCH),
    ("Dependent", DEPENDENT),
    ("ForceScheduler", force::FORCE),
    ("Nightly", timed::NIGHTLY),
    ("NightlyTriggerable", timed::NIGHTLY_TRIGGERABLE),
    ("Periodic", timed::PERIODIC),
    ("SingleBranchScheduler", SINGLE_BRANCH),
    ("Triggerable", TRIGGERABLE),
];

const PRIORITY: Special = Special::apart("a whole number, or `{ expression = … }`");

pub(super) const CODEBASE: Keys = Keys {
    what: "a codebase",
    groups: &[&[
        Key::new("repository", Kind::Text, "where the code is").default(Fallback::Text("")),
        Key::new("branch", Kind::Text, "the branch where nothing names one"),
        Key::new("revision", Kind::Text, "the revision where nothing names one"),
    ]],
    hints: &[],
};

const CODEBASES: Special = Special::apart("a list of names, or a table");

pub(super) fn read<'a>(value: Value<'a>, builders: &Names<'a>, names: &mut Names<'a>) -> Option<Scheduler> {
    let Some(entries) = value.get().as_table() else {
        value.unexpected("a table");
        return None;
    };
    let (kind, keys) = match entries.get("type") {
        // Without a type the keys that all have can still be judged.
        None => ("", ANY_BRANCH),
        Some(kind) => {
            let kind = Value::new(value.reading, kind, false);
            let name = kind.text()?;
            match TYPES.iter().find(|(known, _)| *known == name) {
                Some((name, keys)) => (*name, *keys),
                None => {
                    unknown(&kind, name);
                    return None;
                }
            }
        }
    };
    let table = Table::of(value, keys)?;
    let name = table.text("name");
    if let Some((name, span)) = &name {
        if kind == "ForceScheduler" && !is_identifier(name) {
            table.reading().sink.error(
                span.clone(),
                "the name of a ForceScheduler has letters, digits, `_` and `-` in it, and no digit in front",
            );
        }
        names.add(table.reading(), name, span.clone());
    }
    let used = table.texts("builderNames").unwrap_or_default();
    builders.check(&table, "builderNames", &used);
    let name = name.map(|(name, _)| name);
    // What a `ForceScheduler` says of these are parameters.
    let (codebases, properties, priority) = match kind {
        "ForceScheduler" => (Vec::new(), Vec::new(), Priority::Fixed(0)),
        _ => (codebases(&table), properties(&table), priority(&table)),
    };
    let kind = match kind {
        "AnyBranchScheduler" => {
            let basic = basic(&table, "branches", kind, name);
            SchedulerKind::AnyBranch(basic)
        }
        "SingleBranchScheduler" => {
            if table.value("branch").is_none() && table.value("change_filter").is_none() {
                table.missing("`branch`", "`branch`, or a `change_filter`, says which changes it builds");
            }
            let basic = basic(&table, "branch", kind, name);
            let create_absolute_source_stamps = table.bool(ABSOLUTE.name);
            SchedulerKind::SingleBranch(Basic { create_absolute_source_stamps, ..basic })
        }
        "ForceScheduler" => SchedulerKind::Force(Box::new(force::read(&table, name.unwrap_or("")))),
        "Dependent" => SchedulerKind::Dependent { upstream: table.text("upstream")?.0.to_owned() },
        "Nightly" => SchedulerKind::Nightly(timed::read(&table, kind, name.unwrap_or(""))?),
        "NightlyTriggerable" => {
            SchedulerKind::NightlyTriggerable(timed::read(&table, kind, name.unwrap_or(""))?)
        }
        "Periodic" => SchedulerKind::Periodic(timed::read(&table, kind, name.unwrap_or(""))?),
        "Triggerable" => SchedulerKind::Triggerable {
            reason: table.plain_text("reason").map(|(reason, _)| reason.to_owned()),
        },
        _ => return None,
    };
    Some(Scheduler {
        name: name?.to_owned(),
        builder_names: used.into_iter().map(|(builder, _)| builder.to_owned()).collect(),
        properties,
        priority,
        codebases,
        kind,
    })
}

/// What builds changes; `branches` is the key that limits them to some.
fn basic(table: &Table<'_>, branches: &str, kind: &str, name: Option<&str>) -> Basic {
    let mut interest = filter::interest(table);
    let limits = [(branches, Attribute::Branch), ("categories", Attribute::Category)];
    for (key, attribute) in limits {
        let Some(value) = table.value(key) else { continue };
        if table.value("change_filter").is_some() {
            value
                .error(format!("there cannot be both `change_filter` and `{key}`"))
                .help("the filter has conditions on branches and categories of its own");
        }
        if key == "branch" && value.text().is_none() {
            continue;
        }
        let Some(texts) = value.texts() else { continue };
        let values = texts.into_iter().map(|(text, _)| (!text.is_empty()).then(|| text.to_owned())).collect();
        interest.filter.conditions.push(Condition { attribute, test: Test::Is(values) });
    }
    Basic {
        interest,
        tree_stable_timer: tree_stable_timer(table),
        reason: reason(table, kind, name.unwrap_or("")),
        create_absolute_source_stamps: false,
    }
}

fn priority(table: &Table<'_>) -> Priority {
    let Some(value) = table.value("priority") else { return Priority::Fixed(0) };
    match value.get() {
        DeValue::Table(_) => expression::read(value, &["builderNames", "changes"])
            .map_or(Priority::Fixed(0), Priority::Expression),
        DeValue::Integer(_) => Priority::Fixed(value.integer(-1_000_000, 1_000_000).unwrap_or(0)),
        _ => {
            value.unexpected(PRIORITY.expected);
            Priority::Fixed(0)
        }
    }
}

/// Properties that depend on what is built. They are stored and shown: secrets are refused.
fn properties(table: &Table<'_>) -> Vec<(String, Renderable)> {
    let Some(value) = table.value("properties") else { return Vec::new() };
    let Some(entries) = value.entries() else {
        value.unexpected("a table of properties");
        return Vec::new();
    };
    let mut properties = Vec::new();
    for (name, span, value) in entries {
        if name.is_empty() || name.len() > MAX_PROPERTY_NAME {
            let message = format!("the name of a property is 1 to {MAX_PROPERTY_NAME} characters long");
            table.reading().sink.error(span, message);
            continue;
        }
        let Some(read) = value.read(Kind::Any) else { continue };
        if let Some(unfit) = unfit(&read) {
            value
                .error(format!("a property of a scheduler cannot hold `{unfit}`"))
                .help("it is stored with the request, before there is a worker, for all to see");
        } else {
            properties.push((name.to_owned(), read));
        }
    }
    properties
}

/// A secret, or something of a worker or a build, in a value.
fn unfit(value: &Renderable) -> Option<String> {
    match value {
        Renderable::Text(template) => template
            .references()
            .into_iter()
            .find(|reference| matches!(reference, Reference::Secret(_) | Reference::Worker(_)))
            .map(|reference| format!("%({reference})s")),
        Renderable::Expression(expression) => {
            expression.names().iter().find(|name| !matches!(name.as_str(), "prop" | "src")).cloned()
        }
        Renderable::List(values) => values.iter().find_map(unfit),
        Renderable::Dict(entries) => entries.iter().find_map(|(_, value)| unfit(value)),
        Renderable::Property { default, .. } => unfit(default),
        _ => None,
    }
}

fn unknown(kind: &Value<'_>, name: &str) {
    let names = || TYPES.iter().map(|(name, _)| *name);
    let meant = names()
        .find(|known| known.strip_suffix("Scheduler") == Some(name))
        .or_else(|| nearest(name, names()));
    kind.error(format!("there is no scheduler of type {name:?}")).help(match meant {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
    });
}

/// Zero builds at once, as Buildbot has it.
fn tree_stable_timer(table: &Table<'_>) -> Option<Duration> {
    table.value("treeStableTimer")?;
    table.seconds("treeStableTimer").filter(|timer| !timer.is_zero())
}

/// `buildbot/util/identifiers.py`, 4.3.0.
fn is_identifier(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '-' || c >= '\u{a0}';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

/// The reason with the scheduler's own name and type put in.
fn reason(table: &Table<'_>, kind: &str, name: &str) -> String {
    let Some((mut rest, span)) = table.plain_text("reason") else {
        return format!("The {kind} scheduler named '{name}' triggered this build");
    };
    let mut reason = String::new();
    while let Some((before, after)) = rest.split_once('%') {
        reason.push_str(before);
        let known = [("(name)s", name), ("(classname)s", kind), ("%", "%")];
        match known.iter().find_map(|(form, text)| Some((after.strip_prefix(form)?, text))) {
            Some((after, text)) => {
                reason.push_str(text);
                rest = after;
            }
            None => {
                table.reading().sink.error(
                    span,
                    "after `%` stands `(name)s`, `(classname)s` or, for a percent sign, another `%`",
                );
                return reason;
            }
        }
    }
    reason + rest
}

fn codebases(table: &Table<'_>) -> Vec<Codebase> {
    let Some(value) = table.value("codebases") else { return vec![Codebase::default()] };
    let codebases: Vec<Codebase> = match value.get() {
        DeValue::Array(_) => {
            let names = value.texts().unwrap_or_default();
            for (index, (name, span)) in names.iter().enumerate() {
                if let Some((_, first)) = names.iter().take(index).find(|(other, _)| other == name) {
                    let sink = &table.reading().sink;
                    sink.error(span.clone(), format!("{name:?} is named twice"))
                        .related(first.clone(), "first here");
                }
            }
            names
                .into_iter()
                .map(|(name, _)| Codebase { name: name.to_owned(), ..Codebase::default() })
                .collect()
        }
        DeValue::Table(_) => value
            .entries()
            .into_iter()
            .flatten()
            .filter_map(|(name, _, value)| codebase(name, value))
            .collect(),
        _ => {
            value.unexpected(CODEBASES.expected);
            return Vec::new();
        }
    };
    if codebases.is_empty() {
        value
            .error("`codebases` is empty: a build needs at least one")
            .help("leave it out for one of the empty name");
    }
    codebases
}

fn codebase(name: &str, value: Value<'_>) -> Option<Codebase> {
    let table = Table::of(value, CODEBASE)?;
    let text = |key| table.plain_text(key).map(|(text, _)| text.to_owned());
    Some(Codebase {
        name: name.to_owned(),
        repository: text("repository").unwrap_or_default(),
        branch: text("branch").filter(|branch| !branch.is_empty()),
        revision: text("revision").filter(|revision| !revision.is_empty()),
    })
}

/// Reports what names a scheduler that cannot be meant: an upstream that is not there or that waits for itself, and a step
/// that triggers what is not there or cannot be triggered.
pub(super) fn check(
    reading: &Reading<'_>,
    schedulers: &[(Arc<Scheduler>, Value<'_>)],
    triggered: &[(String, Span)],
) {
    let find = |name: &str| schedulers.iter().map(|(one, _)| one).find(|one| one.name == name);
    let names = || schedulers.iter().map(|(one, _)| one.name.as_str());
    for (scheduler, value) in schedulers {
        let SchedulerKind::Dependent { upstream } = &scheduler.kind else { continue };
        let Some(value) = value.entry("upstream") else { continue };
        if find(upstream).is_none() {
            let others = names().filter(|name| *name != scheduler.name);
            value
                .error(format!("there is no scheduler {upstream:?}"))
                .maybe_help(nearest(upstream, others).map(|meant| format!("did you mean {meant:?}?")));
        }
        let mut seen = vec![scheduler.name.as_str()];
        let mut next = upstream.as_str();
        while let Some(SchedulerKind::Dependent { upstream }) = find(next).map(|one| &one.kind) {
            if next == scheduler.name {
                value.error(format!("{next:?} would wait for its own builds"));
                break;
            }
            if seen.contains(&next) {
                break;
            }
            seen.push(next);
            next = upstream;
        }
    }
    let triggerable = || schedulers.iter().map(|(one, _)| one).filter(|one| one.kind.is_triggerable());
    for (name, span) in triggered {
        match find(name) {
            Some(found) if found.kind.is_triggerable() => {}
            Some(found) => {
                let class = found.kind.class();
                reading
                    .sink
                    .error(span.clone(), format!("{name:?} is a {class}, which cannot be triggered"))
                    .help("a `Triggerable` or a `NightlyTriggerable` can");
            }
            None => {
                let names = triggerable().map(|one| one.name.as_str());
                let help = match nearest(name, names) {
                    Some(meant) => format!("did you mean {meant:?}?"),
                    None => "`name` of a `[[scheduler]]` of type \"Triggerable\" is meant".to_owned(),
                };
                reading.sink.error(span.clone(), format!("there is no scheduler {name:?}")).help(help);
            }
        }
    }
}
