//! From a table to a step.

use ::model::Results;

use super::{ALL, StepType, special::ANY_STEP};
use crate::{
    model::{Step, StepFlags},
    nearest::nearest,
    renderable::{Args, Renderable},
    schema::Kind,
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
    let flag = |name, default| common(&table, name).unwrap_or(Renderable::Bool(default));
    let texts = |name, default: &[&str]| {
        let default = || default.iter().map(|text| Renderable::literal(text)).collect();
        common(&table, name).unwrap_or_else(|| Renderable::List(default()))
    };
    let mut read = Step {
        kind: step.name,
        name: name(&table, step),
        description: texts("description", step.description),
        description_done: texts("descriptionDone", step.description_done),
        description_suffix: texts("descriptionSuffix", &[]),
        flags: StepFlags {
            always_run: flag("alwaysRun", step.flags.always_run),
            flunk_on_failure: flag("flunkOnFailure", step.flags.flunk_on_failure),
            flunk_on_warnings: flag("flunkOnWarnings", step.flags.flunk_on_warnings),
            halt_on_failure: flag("haltOnFailure", step.flags.halt_on_failure),
            warn_on_failure: flag("warnOnFailure", step.flags.warn_on_failure),
            warn_on_warnings: flag("warnOnWarnings", step.flags.warn_on_warnings),
        },
        locks: Vec::new(),
        update_build_summary_policy: common(&table, "updateBuildSummaryPolicy").map(results),
        do_step_if: flag("doStepIf", true),
        hide_step_if: flag("hideStepIf", false),
        args,
    };
    add_codebase(&mut read, &table);
    Some(read)
}

/// What a step was given of what all steps take.
fn common(table: &Table<'_>, name: &str) -> Option<Renderable> {
    table.value(name)?;
    ANY_STEP.iter().find(|key| key.name == name).map(|key| table.renderable(key))
}

/// Results from their numbers.
fn results(numbers: Renderable) -> Vec<Results> {
    let Renderable::List(numbers) = numbers else { return Vec::new() };
    let number =
        |number| if let Renderable::Int(number) = number { Results::from_code(number) } else { None };
    numbers.into_iter().filter_map(number).collect()
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

fn name(table: &Table<'_>, step: &StepType) -> Renderable {
    let Some(value) = table.value("name") else { return Renderable::literal(step.default_name) };
    let name = value.read(Kind::Text).unwrap_or(Renderable::Null);
    if let Renderable::Text(name) = &name {
        if name.source().is_empty() {
            value.error("`name` is empty");
        } else if name.is_literal() && name.source().chars().count() > MAX_NAME {
            value.error(format!("the name of a step has at most {MAX_NAME} characters"));
        }
    }
    name
}

/// A source step of a codebase has the codebase in its name, and in its description unless that has a suffix of its
/// own (`buildbot/steps/source/base.py`).
fn add_codebase(step: &mut Step, table: &Table<'_>) {
    let Renderable::Text(codebase) = step.args.get("codebase") else { return };
    if codebase.source().is_empty() {
        return;
    }
    if let Renderable::Text(name) = &step.name {
        let long = name.source().chars().count() + 1 + codebase.source().chars().count() > MAX_NAME;
        if let Some(value) = table.value("codebase").filter(|_| long && name.is_literal()) {
            value.error(format!("the name of a step with its codebase has at most {MAX_NAME} characters"));
        }
    }
    if step.description_suffix == Renderable::List(Vec::new()) {
        step.description_suffix = Renderable::List(vec![Renderable::Text(codebase.clone())]);
    }
}
