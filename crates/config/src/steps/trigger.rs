//! Triggering schedulers (`buildbot/steps/trigger.py`).

use toml::de::DeValue;

use super::{COMMON, PLAIN, StepType, conflict};
use crate::{
    renderable::{Args, Renderable},
    schema::{Fallback, Key, Kind, Special},
    table::{Keys, Table},
    value::Value,
};

pub(super) const TRIGGER: StepType = StepType {
    name: "Trigger",
    default_name: "trigger",
    doc: "Triggers schedulers of type `Triggerable`, and waits for their builds if it is to.",
    flags: PLAIN,
    description: &[],
    description_done: &[],
    arguments: &[
        COMMON,
        &[
            Key::renderable("schedulerNames", Kind::Texts, "the schedulers").required(),
            Key::new("unimportantSchedulerNames", Kind::Texts, "those of them whose results do not count"),
            Key::renderable(
                "waitForFinish",
                Kind::Bool,
                "wait for the builds; the step ends as the worst of them",
            )
            .default(Fallback::Bool(false)),
            Key::renderable("set_properties", Kind::Values, "properties of the builds"),
            Key::new("copy_properties", Kind::Texts, "names of properties of this build that the builds get"),
            Key::renderable("sourceStamp", Kind::Special(&STAMP), "the code to build"),
            Key::renderable(
                "sourceStamps",
                Kind::Special(&STAMPS),
                "the code to build, of several codebases",
            ),
            Key::renderable("alwaysUseLatest", Kind::Bool, "build the latest code, not that of this build")
                .default(Fallback::Bool(false)),
            Key::renderable(
                "updateSourceStamp",
                Kind::Bool,
                "build the very commits that this build has found (`got_revision`)",
            )
            .default(Fallback::Of("`true`, unless it is said what to build")),
            Key::renderable("parent_relationship", Kind::Text, "what this build is to the builds")
                .default(Fallback::Text("Triggered from")),
        ],
    ],
    check: Some(check),
};

const STAMP: Special = Special { expected: "a table with the code to build", read: stamp };

const STAMPS: Special = Special {
    expected: "a list of tables, each with the code to build",
    read: |value| value.list("table", stamp),
};

/// The keys of a source stamp.
pub(super) const SOURCE_STAMP: Keys = Keys {
    what: "a source stamp",
    groups: &[&[
        Key::renderable("codebase", Kind::Text, "the codebase")
            .default(Fallback::Of("the one of the empty name")),
        Key::renderable("branch", Kind::Text, "the branch"),
        Key::renderable("revision", Kind::Text, "the commit"),
        Key::renderable("repository", Kind::Text, "where the code is"),
        Key::renderable("project", Kind::Text, "the project"),
    ]],
    hints: &[],
};

/// A table of what is given; what is left out is the scheduler's.
fn stamp(value: &Value<'_>) -> Option<Renderable> {
    let table = Table::of(*value, SOURCE_STAMP)?;
    let given = SOURCE_STAMP.iter().filter(|key| table.value(key.name).is_some());
    Some(Renderable::Dict(given.map(|key| (key.name.to_owned(), table.renderable(key))).collect()))
}

fn check(table: &Table<'_>, _: &Args) {
    for stamps in ["sourceStamp", "sourceStamps"].into_iter().filter(|key| table.value(key).is_some()) {
        for other in ["updateSourceStamp", "alwaysUseLatest"] {
            let message = format!("there cannot be both `{stamps}` and `{other}`");
            conflict(table, other, &message, &format!("`{stamps}` says what to build"));
        }
    }
    if table.value("updateSourceStamp").is_some() {
        let message = "there cannot be both `alwaysUseLatest` and `updateSourceStamp`";
        conflict(table, "alwaysUseLatest", message, "either of them says what to build");
    }
    let Some(schedulers) = table.value("schedulerNames") else { return };
    if schedulers.get().as_array().is_some_and(|array| array.is_empty()) {
        schedulers.error("`schedulerNames` is empty: there is nothing to trigger");
    }
    // What depends on the build is looked at when it is known.
    let fixed = |value: &Value<'_>| !value.get().as_str().is_some_and(|text| text.contains("%("));
    let elements: Vec<Value<'_>> = match schedulers.get() {
        DeValue::Array(_) => schedulers.elements().into_iter().flatten().collect(),
        _ => vec![schedulers],
    };
    let known = elements.iter().filter(|element| fixed(element));
    let known: Vec<&str> = known.filter_map(|element| element.get().as_str()).collect();
    let reading = table.reading();
    for element in elements.iter().filter(|element| fixed(element)) {
        if let Some(name) = element.get().as_str() {
            reading.triggered.borrow_mut().push((name.to_owned(), element.span()));
        }
    }
    if known.len() < elements.len() {
        return;
    }
    for (name, span) in table.texts("unimportantSchedulerNames").unwrap_or_default() {
        if !known.contains(&name) {
            reading
                .sink
                .error(span, format!("{name:?} is not triggered"))
                .help("`unimportantSchedulerNames` are some of `schedulerNames`");
        }
    }
}
