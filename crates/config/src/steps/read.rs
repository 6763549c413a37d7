//! From a table to a step.

use ::model::{Flags, template::Template};

use super::{ALL, StepType, special::ANY_STEP};
use crate::{
    model::Step,
    nearest::nearest,
    renderable::{Args, Renderable},
    table::{Table, head},
    value::Value,
};

/// The longest name that the database holds (`steps.name`).
const MAX_NAME: usize = 50;

/// Reads one step, and reports all that is wrong with it.
pub(crate) fn read(value: Value<'_>) -> Option<Step> {
    let step = step_type(value)?;
    let table = Table::of(value, step.keys())?;
    let args = Args(step.own_arguments().map(|key| (key.name, table.renderable(key))).collect());
    if let Some(check) = step.check {
        check(&table, &args);
    }
    let texts = |name, default: &[&str]| match table.value(name).and_then(|_| templates(&table, name)) {
        Some(texts) => texts,
        None => default.iter().map(|text| Template::literal(text)).collect(),
    };
    let flag = |name, default| if table.value(name).is_some() { table.bool(name) } else { default };
    let mut read = Step {
        kind: step.name,
        name: name(&table, step),
        description: texts("description", step.description),
        description_done: texts("descriptionDone", step.description_done),
        description_suffix: texts("descriptionSuffix", &[]),
        flags: Flags {
            always_run: flag("alwaysRun", step.flags.always_run),
            flunk_on_failure: flag("flunkOnFailure", step.flags.flunk_on_failure),
            flunk_on_warnings: flag("flunkOnWarnings", step.flags.flunk_on_warnings),
            halt_on_failure: flag("haltOnFailure", step.flags.halt_on_failure),
            warn_on_failure: flag("warnOnFailure", step.flags.warn_on_failure),
            warn_on_warnings: flag("warnOnWarnings", step.flags.warn_on_warnings),
        },
        do_step_if: Renderable::Bool(true),
        hide_step_if: table.bool("hideStepIf"),
        args,
    };
    if let Some(condition) = ANY_STEP.iter().find(|key| key.name == "doStepIf") {
        read.do_step_if = table.renderable(condition);
    }
    add_codebase(&mut read, &table);
    Some(read)
}

fn step_type(value: Value<'_>) -> Option<&'static StepType> {
    let entries = value.get().as_table();
    let Some(kind) = entries.and_then(|entries| entries.get("type")) else {
        match entries {
            None => value.unexpected("a table"),
            Some(_) => value
                .reading
                .sink
                .error(head(value.reading, value.span()), "a step lacks `type`")
                .help("`type`: the type of the step, such as \"ShellCommand\" or \"Git\""),
        };
        return None;
    };
    let kind = Value::new(value.reading, kind, false);
    let name = kind.text()?;
    let step = StepType::of(name);
    if step.is_none() {
        let names = ALL.iter().map(|step| step.name);
        let help = match nearest(name, names.clone()) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None => format!("there are {}", names.collect::<Vec<_>>().join(", ")),
        };
        kind.error(format!("there is no step of type {name:?}")).help(help);
    }
    step
}

fn name(table: &Table<'_>, step: &StepType) -> String {
    match table.text("name") {
        Some((name, span)) => {
            if name.chars().count() > MAX_NAME {
                table
                    .reading()
                    .sink
                    .error(span, format!("the name of a step has at most {MAX_NAME} characters"));
            }
            name.to_owned()
        }
        None => step.default_name.to_owned(),
    }
}

fn templates(table: &Table<'_>, name: &str) -> Option<Vec<Template>> {
    let key = ANY_STEP.iter().find(|key| key.name == name)?;
    match table.renderable(key) {
        Renderable::List(texts) => texts
            .into_iter()
            .map(|text| if let Renderable::Text(template) = text { Some(template) } else { None })
            .collect(),
        _ => None,
    }
}

/// A source step of a codebase has the codebase in its name, and in its description unless that has a suffix of its
/// own (`buildbot/steps/source/base.py`).
fn add_codebase(step: &mut Step, table: &Table<'_>) {
    let Renderable::Text(codebase) = step.args.get("codebase") else { return };
    if codebase.source().is_empty() {
        return;
    }
    let codebase = codebase.clone();
    step.name = format!("{}-{}", step.name, codebase.source());
    if let Some(value) = table.value("codebase")
        && step.name.chars().count() > MAX_NAME
    {
        value.error(format!("the name of a step with its codebase has at most {MAX_NAME} characters"));
    }
    if step.description_suffix.is_empty() {
        step.description_suffix = vec![codebase];
    }
}
