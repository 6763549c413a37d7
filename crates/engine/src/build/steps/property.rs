//! Steps that set properties of the build (`buildbot/steps/master.py`; `buildbot/steps/shell.py`,
//! `SetPropertyFromCommand`).

use model::{Json, Pattern, Results};
use worker_protocol::System;

use super::shell::{Collect, run_command};
use crate::build::{halt::Halt, step::Step};

/// Where values from a command come from.
const FROM_COMMAND: &str = "SetPropertyFromCommand Step";

/// Sets one property.
pub(super) async fn set_one(step: &mut Step) -> Result<Results, Halt> {
    let name = step.args.needed("property")?;
    let value = step.args.get("value").clone();
    let source = step.name.clone();
    step.set_property(&name, value, &source).await?;
    Ok(Results::Success)
}

/// Sets several properties.
pub(super) async fn set_several(step: &mut Step) -> Result<Results, Halt> {
    let values = step.args.get("properties").clone();
    let source = step.name.clone();
    for (name, value) in values.as_object().into_iter().flatten() {
        step.set_property(name, value.clone(), &source).await?;
    }
    Ok(Results::Success)
}

/// Sets properties to variables of the worker's environment.
pub(super) async fn from_env(step: &mut Step) -> Result<Results, Halt> {
    let source = step.args.needed("source")?;
    let upper = step.worker().system == System::Nt;
    let mut lines = Vec::new();
    for variable in step.args.texts("variables") {
        let name = if upper { variable.to_uppercase() } else { variable.clone() };
        let Some(value) = step.worker().environ.get(&name).filter(|value| !value.is_empty()).cloned() else {
            continue;
        };
        let value = Json::String(value);
        lines.push(format!("{variable} = {}", python_repr(&value)));
        step.set_property(&variable, value, &source).await?;
    }
    step.text_log("properties", &lines.join("\n")).await?;
    Ok(Results::Success)
}

/// Runs a command and sets properties to what it writes.
pub(super) async fn from_command(step: &mut Step) -> Result<Results, Halt> {
    let property = step.args.text("property");
    let stdout = step.args.maybe_truth("includeStdout").unwrap_or(true);
    let stderr = step.args.maybe_truth("includeStderr").unwrap_or_else(|| property.is_none());
    let patterns = patterns(step)?;
    let finished = run_command(step, Collect::Streams { stdout, stderr }).await?;
    let results = if finished.is_success() { Results::Success } else { Results::Failure };
    let mut changes: Vec<(String, String)> = Vec::new();
    match property {
        Some(_) if results != Results::Success => return Ok(results),
        Some(property) => {
            let text = finished.stdout.as_str();
            let value = if step.args.truth("strip") { text.trim() } else { text };
            changes.push((property, value.to_owned()));
        }
        None => {
            for (property, pattern) in patterns {
                let lines = finished.stdout.lines().chain(finished.stderr.lines());
                let found = lines.filter_map(|line| pattern.search(line)).next();
                if let Some(found) = found {
                    let value = found.get(1).or_else(|| found.get(0)).unwrap_or_default();
                    changes.push((property, value.to_owned()));
                }
            }
        }
    }
    for (name, value) in &changes {
        step.set_property(name, Json::String(value.clone()), FROM_COMMAND).await?;
    }
    changes.sort();
    let lines: Vec<_> = changes
        .iter()
        .map(|(name, value)| format!("{name}: {}", python_repr(&value.as_str().into())))
        .collect();
    step.text_log("property changes", &lines.join("\n")).await?;
    match changes.as_slice() {
        [] => {}
        [(name, _)] => step.summary.done = vec![format!("property '{name}' set")],
        many => step.summary.done = vec![format!("{} properties set", many.len())],
    }
    Ok(results)
}

fn patterns(step: &Step) -> Result<Vec<(String, Pattern)>, Halt> {
    let entries = step.args.get("extract").as_array();
    entries
        .into_iter()
        .flatten()
        .map(|entry| {
            let entry = step.args.within(entry);
            let pattern = entry.needed("pattern")?;
            let pattern = Pattern::parse(&pattern)
                .map_err(|error| entry.wrong("pattern", &format!("is no regular expression: {error}"), ""))?;
            Ok((entry.needed("property")?, pattern))
        })
        .collect()
}

/// A value as Python's `repr` writes it.
pub(super) fn python_repr(value: &Json) -> String {
    model::template::Template::parse("%(prop:v)r")
        .ok()
        .and_then(|template| template.render(&Only(value)).ok())
        .unwrap_or_else(|| value.to_string())
}

/// A context with one property.
struct Only<'a>(&'a Json);

impl model::template::Context for Only<'_> {
    fn property(&self, _: &str) -> Option<Json> {
        Some(self.0.clone())
    }
}
