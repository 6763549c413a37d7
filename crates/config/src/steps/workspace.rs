//! Clean workspaces: a step of Ganger's own, and the key of a builder that adds it.

use ::model::Flags;
use toml::de::DeValue;

use super::{COMMON, HALTING, PLAIN, StepType};
use crate::{
    model::{Step, StepFlags},
    renderable::{Args, Renderable},
    schema::{Fallback, Key, Kind, Special},
    table::{Keys, Table},
    value::Value,
};

pub(super) const CLEAN_WORKSPACE: StepType = StepType {
    name: "CleanWorkspace",
    default_name: "clean workspace",
    doc: "Removes all that is in the directory of the builder on the worker: always, or if one of the conditions holds. \
          Not one of Buildbot's.",
    flags: HALTING,
    description: &["cleaning"],
    description_done: &["cleaned"],
    arguments: &[COMMON, ARGUMENTS],
    check: None,
};

const ARGUMENTS: &[Key] = &[
    Key::renderable("older-than", Kind::Seconds, "only if it was last cleaned so long ago"),
    Key::new(
        "free-below",
        Kind::Special(&SIZE),
        "only if less than this is free on its disk: a number of bytes, or a text such as `\"20 GiB\"`",
    ),
    Key::new("keep", Kind::Texts, "names in that directory that stay, such as `ccache`"),
];

/// `clean-workspace` of a builder.
pub(crate) const OF_BUILDER: Keys = Keys {
    what: "`clean-workspace`",
    groups: &[
        &[Key::new("when", Kind::Choice(&["before", "after"]), "before the steps of a build, or after them")
            .default(Fallback::Text("before"))],
        ARGUMENTS,
    ],
    hints: &[],
};

const UNITS: [(&str, i64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// An amount of memory.
const SIZE: Special = Special {
    expected: "a number of bytes, or a text such as \"20 GiB\"",
    read: |value| {
        if value.get().is_integer() {
            return value.read(Kind::Integer(1, i64::MAX));
        }
        let size = value.get().as_str().and_then(|text| {
            let (unit, factor) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
            let number: i64 = text.strip_suffix(unit)?.trim().parse().ok()?;
            number.checked_mul(*factor).filter(|size| *size > 0)
        });
        if size.is_none() {
            match value.get() {
                DeValue::String(text) => {
                    value.error(format!("expected {}, found {text:?}", SIZE.expected));
                }
                _ => drop(value.unexpected(SIZE.expected)),
            }
        }
        size.map(Renderable::Int)
    },
};

/// Adds the step to those of a builder.
pub(crate) fn add(value: Value<'_>, steps: &mut Vec<Step>) {
    let Some(table) = Table::of(value, OF_BUILDER) else { return };
    let after = table.choice("when") == Some("after");
    // What cannot be cleaned before a build would be built with what others left; after it, it is only a pity.
    let flags = if after {
        Flags { always_run: true, flunk_on_failure: false, warn_on_failure: true, ..PLAIN }
    } else {
        HALTING
    };
    let texts =
        |texts: &[&str]| Renderable::List(texts.iter().map(|text| Renderable::literal(text)).collect());
    let step = Step {
        locks: Vec::new(),
        kind: CLEAN_WORKSPACE.name,
        name: Renderable::literal(CLEAN_WORKSPACE.default_name),
        description: texts(CLEAN_WORKSPACE.description),
        description_done: texts(CLEAN_WORKSPACE.description_done),
        description_suffix: texts(&[]),
        flags: StepFlags::from(flags),
        update_build_summary_policy: None,
        do_step_if: Renderable::Bool(true),
        hide_step_if: Renderable::Bool(false),
        args: Args(ARGUMENTS.iter().map(|key| (key.name, table.renderable(key))).collect()),
    };
    if after {
        steps.push(step);
    } else {
        steps.insert(0, step);
    }
}
