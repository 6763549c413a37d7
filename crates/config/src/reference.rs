//! The reference of all keys, made from what the reader goes by.

use ::model::Flags;

use crate::{
    file,
    schema::{Fallback, Key, Kind},
    steps::{self, StepType},
    table::Keys,
};

/// Every key of the configuration and every type of step, as Markdown.
pub fn reference() -> String {
    let mut out = String::new();
    for (heading, text, keys) in file::TABLES {
        section(&mut out, heading, text, *keys);
    }
    out.push_str("## Steps\n\nAll steps take:\n\n");
    table(&mut out, steps::COMMON.iter());
    for step in steps::ALL {
        out.push_str(&format!("### {}\n\n{}\n\n{}\n\n", step.name, step.doc, defaults(step)));
        let (shared, own): (Vec<_>, Vec<_>) =
            step.arguments.iter().skip(1).copied().partition(|group| shared_heading(group).is_some());
        if !own.is_empty() {
            table(&mut out, own.into_iter().flatten());
        }
        for heading in shared.into_iter().filter_map(shared_heading) {
            out.push_str(&format!("It also takes the {heading}.\n\n"));
        }
    }
    for (heading, group) in SHARED {
        out.push_str(&format!("### The {heading}\n\n"));
        table(&mut out, group.iter());
    }
    out.push_str("## Tables within arguments\n\n");
    for (heading, keys) in steps::NESTED {
        out.push_str(&format!("### {heading}\n\n"));
        table(&mut out, keys.iter());
    }
    let end = out.trim_end().len();
    out.truncate(end);
    out.push('\n');
    out
}

/// Arguments that several types take.
const SHARED: &[(&str, &[Key])] = &[
    ("arguments of commands", steps::SHELL),
    ("arguments for counting warnings", steps::WARNINGS),
    ("arguments of requests", steps::REQUEST),
    ("arguments of `Git`", steps::GIT),
];

fn shared_heading(group: &[Key]) -> Option<&'static str> {
    let names = |group: &[Key]| group.iter().map(|key| key.name).collect::<Vec<_>>();
    SHARED.iter().find(|(_, other)| names(other) == names(group)).map(|(heading, _)| *heading)
}

fn section(out: &mut String, heading: &str, text: &str, keys: Keys) {
    out.push_str(&format!("## {heading}\n\n"));
    if !text.is_empty() {
        out.push_str(&format!("{text}\n\n"));
    }
    table(out, keys.iter());
}

fn table(out: &mut String, keys: impl Iterator<Item = &'static Key>) {
    out.push_str("| key | value | default | |\n|---|---|---|---|\n");
    for key in keys {
        let default = match (key.required, key.default) {
            (true, _) => "**required**".to_owned(),
            (false, Fallback::None) => String::new(),
            (false, Fallback::Bool(truth)) => format!("`{truth}`"),
            (false, Fallback::Integer(number)) => format!("`{number}`"),
            (false, Fallback::Text(text)) => code(&format!("{text:?}")),
            (false, Fallback::Texts(texts)) => code(&format!("{texts:?}")),
            (false, Fallback::Numbers(_)) => "`{ 0 = \"SUCCESS\" }`".to_owned(),
            (false, Fallback::Of(what)) => what.to_owned(),
        };
        let value = match key.kind {
            Kind::Any => "anything".to_owned(),
            kind => kind.expected(),
        };
        let mark = if key.renderable { " †" } else { "" };
        let cells = [format!("`{}`{mark}", key.name), value, default, key.doc.to_owned()];
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out.push('\n');
}

/// Code in a table: a backquote in it needs two around it.
fn code(text: &str) -> String {
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}

fn defaults(step: &StepType) -> String {
    let mut parts = vec![format!("`name` is `{:?}`", step.default_name)];
    for (key, texts) in [("description", step.description), ("descriptionDone", step.description_done)] {
        if !texts.is_empty() {
            parts.push(format!("`{key}` is `{:?}`", texts.join(" ")));
        }
    }
    let Flags { halt_on_failure, warn_on_failure, .. } = step.flags;
    parts.push(format!("`haltOnFailure` is `{halt_on_failure}`"));
    if warn_on_failure {
        parts.push("`warnOnFailure` is `true`".to_owned());
    }
    format!("Unless given, {}.", parts.join(", "))
}
