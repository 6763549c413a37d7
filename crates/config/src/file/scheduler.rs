//! `[[scheduler]]`.

use std::time::Duration;

use toml::de::DeValue;

use super::Names;
use crate::{
    model::{Codebase, ForceScheduler, Scheduler, SchedulerKind},
    nearest::nearest,
    renderable::Renderable,
    schema::{Fallback, Key, Kind, Special},
    table::{Keys, Table},
    value::Value,
};

/// What all schedulers have.
const COMMON: &[Key] = &[
    Key::new(
        "type",
        Kind::Choice(&["AnyBranchScheduler", "SingleBranchScheduler", "ForceScheduler"]),
        "what it waits for",
    )
    .required(),
    Key::new("name", Kind::Text, "its name").required(),
    Key::new("builderNames", Kind::Texts, "names of the builders that it asks to build").required(),
    Key::new(
        "priority",
        Kind::Integer(-1_000_000, 1_000_000),
        "builds of a higher priority are started first",
    )
    .default(Fallback::Integer(0)),
    Key::new(
        "codebases",
        Kind::Special(&CODEBASES),
        "the codebases of its builds: names, or a table of `{ repository, branch, revision }` by name",
    )
    .default(Fallback::Of("one, of the empty name")),
];

/// What schedulers that wait for changes have.
const BASIC: &[Key] = &[
    Key::new("properties", Kind::Values, "properties of its builds"),
    Key::new("treeStableTimer", Kind::Seconds, "wait until there was no other change for so long")
        .default(Fallback::Of("build each change at once")),
    Key::new(
        "reason",
        Kind::Text,
        "why its builds are there; `%(name)s` is its name, `%(classname)s` its type",
    )
    .default(Fallback::Text("The %(classname)s scheduler named '%(name)s' triggered this build")),
];

const HINTS: &[(&str, &str)] = &[
    ("builders", "it is called `builderNames`"),
    ("change_filter", "a SingleBranchScheduler has `branch`, an AnyBranchScheduler `branches`"),
    ("categories", "changes cannot be told apart by category"),
];

pub(super) const ANY_BRANCH: Keys = Keys {
    what: "AnyBranchScheduler",
    groups: &[
        COMMON,
        &[Key::new("branches", Kind::Texts, "only changes on these branches").default(Fallback::Of("all"))],
        BASIC,
    ],
    hints: HINTS,
};

pub(super) const SINGLE_BRANCH: Keys = Keys {
    what: "SingleBranchScheduler",
    groups: &[
        COMMON,
        &[Key::new(
            "branch",
            Kind::Text,
            "only changes on this branch; the empty text is for changes without one",
        )
        .required()],
        BASIC,
    ],
    hints: HINTS,
};

pub(super) const FORCE: Keys = Keys {
    what: "ForceScheduler",
    groups: &[
        COMMON,
        &[
            Key::new("buttonName", Kind::Text, "the text on the button").default(Fallback::Of("the name")),
            Key::new("label", Kind::Text, "the heading of the form").default(Fallback::Of("the name")),
            Key::new("reason", Kind::Text, "the reason where none is given")
                .default(Fallback::Text("force build")),
        ],
    ],
    hints: &[("builders", "it is called `builderNames`")],
};

pub(super) const CODEBASE: Keys = Keys {
    what: "a codebase",
    groups: &[&[
        Key::new("repository", Kind::Text, "where the code is").default(Fallback::Text("")),
        Key::new("branch", Kind::Text, "the branch where nothing names one"),
        Key::new("revision", Kind::Text, "the revision where nothing names one"),
    ]],
    hints: &[],
};

const CODEBASES: Special = Special {
    expected: "a list of names, or a table",
    // Only for the reference: codebases are no renderables, `codebases` reads them.
    read: |_| Some(Renderable::Null),
};

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
            match kind.text()? {
                name @ "AnyBranchScheduler" => (name, ANY_BRANCH),
                name @ "SingleBranchScheduler" => (name, SINGLE_BRANCH),
                name @ "ForceScheduler" => (name, FORCE),
                other => {
                    unknown(&kind, other);
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
    let codebases = codebases(&table);
    let name = name.map(|(name, _)| name);
    let properties = if kind == "ForceScheduler" {
        Default::default()
    } else {
        table.properties("properties", "Scheduler")
    };
    let priority = table.integer("priority").unwrap_or(0);
    let kind = match kind {
        "AnyBranchScheduler" => SchedulerKind::AnyBranch {
            branches: table
                .texts("branches")
                .map(|branches| branches.into_iter().map(|(b, _)| b.to_owned()).collect()),
            tree_stable_timer: tree_stable_timer(&table),
            reason: Some(reason(&table, kind, name.unwrap_or(""))),
        },
        "SingleBranchScheduler" => SchedulerKind::SingleBranch {
            branch: table
                .plain_text("branch")
                .map(|(branch, _)| branch.to_owned())
                .filter(|branch| !branch.is_empty()),
            tree_stable_timer: tree_stable_timer(&table),
            reason: Some(reason(&table, kind, name.unwrap_or(""))),
        },
        "ForceScheduler" => {
            let text = |key, default: &str| {
                table.text(key).map_or_else(|| default.to_owned(), |(text, _)| text.to_owned())
            };
            SchedulerKind::Force(ForceScheduler {
                button_name: text("buttonName", name.unwrap_or("")),
                label: text("label", name.unwrap_or("")),
                reason: table
                    .plain_text("reason")
                    .map_or_else(|| "force build".to_owned(), |(text, _)| text.to_owned()),
            })
        }
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

fn unknown(kind: &Value<'_>, name: &str) {
    const TYPES: [&str; 3] = ["AnyBranchScheduler", "SingleBranchScheduler", "ForceScheduler"];
    let meant = TYPES
        .into_iter()
        .find(|known| known.strip_suffix("Scheduler") == Some(name))
        .or_else(|| nearest(name, TYPES));
    kind.error(format!("there is no scheduler of type {name:?}")).help(match meant {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => format!("there are {}", TYPES.join(", ")),
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
