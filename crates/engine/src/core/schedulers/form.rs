//! What somebody says who forces a build, held against what the scheduler takes (`buildbot/schedulers/forcesched.py`,
//! 4.3.0). All mistakes are found at once, in Buildbot's words.

use std::collections::BTreeMap;

use config::{Choices, ForceScheduler, Parameter, ParameterKind};
use model::{
    Json, Patch, SourceStamp,
    template::{to_repr, to_text},
};
use serde_json::Map;

use crate::core::widths;

/// Values by the full names of parameters; several where a parameter takes several.
pub type Values = BTreeMap<String, Vec<Json>>;

/// What is wrong with values: full names of parameters, each with what is wrong.
pub(super) type Mistakes = Vec<(String, String)>;

/// What of workers stands for no preference.
const ANY_WORKER: &str = "-any-";

/// A form that is filled in.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) reason: Json,
    pub(super) owner: Json,
    pub(super) priority: i64,
    pub(super) properties: Map<String, Json>,
    /// For each codebase what is said about it.
    pub(super) sourcestamps: Vec<SourceStamp>,
}

/// Reads a form; `owner` is who asks, if that is known. Values that no parameter takes are let be, as in Buildbot.
pub(super) fn fill(scheduler: &ForceScheduler, values: &Values, owner: &str) -> Result<Filled, Mistakes> {
    let mut form = Form { values, mistakes: Vec::new() };
    let reason = form.single(&scheduler.reason);
    let owner = match owner {
        "" | "anonymous" => form.single(&scheduler.username),
        owner => Json::from(owner),
    };
    let priority = form.single(&scheduler.priority);
    if priority.as_i64().is_some_and(|priority| widths::fit_priority(priority) != priority) {
        form.mistakes.push((scheduler.priority.full_name.clone(), format!("{priority} is too large")));
    }
    let stamps = scheduler.codebases.iter().map(|codebase| {
        let mut said = Map::new();
        let fields = codebase.parameter.fields().unwrap_or_default();
        form.all(fields, &mut said);
        for (name, most) in widths::STAMP {
            let field = fields.iter().find(|field| field.name == name);
            let is_over = said.get(name).is_some_and(|value| widths::is_over(&to_text(value), most));
            if let Some(field) = field.filter(|_| is_over) {
                form.mistakes.push((field.full_name.clone(), format!("has more than {most} characters")));
            }
        }
        stamp(&codebase.codebase, &said)
    });
    let sourcestamps = stamps.collect();
    let mut properties = Map::new();
    form.all(&scheduler.properties, &mut properties);
    match form.mistakes {
        mistakes if mistakes.is_empty() => {
            let priority = priority.as_i64().unwrap_or(0);
            Ok(Filled { reason, owner, priority, properties, sourcestamps })
        }
        mistakes => Err(mistakes),
    }
}

/// A form on its way.
struct Form<'a> {
    values: &'a Values,
    mistakes: Mistakes,
}

impl Form<'_> {
    /// The value of one parameter; null where there is a mistake.
    fn single(&mut self, parameter: &Parameter) -> Json {
        value(parameter, self.values.get(&parameter.full_name).map(Vec::as_slice)).unwrap_or_else(|mistake| {
            self.mistakes.push((parameter.full_name.clone(), mistake));
            Json::Null
        })
    }

    /// Puts the values of parameters into `found`, by their names.
    fn all(&mut self, parameters: &[Parameter], found: &mut Map<String, Json>) {
        for parameter in parameters {
            let value = match &parameter.kind {
                // Without a name of its own it is only a group.
                ParameterKind::Nested(group) if parameter.name.is_empty() => {
                    self.all(&group.fields, found);
                    continue;
                }
                ParameterKind::Nested(group) => {
                    let mut within = Map::new();
                    self.all(&group.fields, &mut within);
                    if let Some(Json::Object(before)) = found.get_mut(&parameter.name) {
                        before.extend(within);
                        continue;
                    }
                    Json::Object(within)
                }
                ParameterKind::AnyProperty(group) => {
                    let mut pair = group.fields.iter().map(|field| self.single(field));
                    let (name, value) = (pair.next().unwrap_or_default(), pair.next().unwrap_or_default());
                    self.any_property(parameter, &to_text(&name), &to_text(&value), found);
                    continue;
                }
                _ => self.single(parameter),
            };
            if !matches!(parameter.kind, ParameterKind::WorkerChoice(_)) || value != ANY_WORKER {
                found.insert(parameter.name.clone(), value);
            }
        }
    }

    /// A property whose name is given too (`validation` of the configuration, `buildbot/config/master.py`).
    fn any_property(
        &mut self,
        parameter: &Parameter,
        name: &str,
        value: &str,
        found: &mut Map<String, Json>,
    ) {
        let is_fine = |text: &str| text.chars().all(|c| c.is_alphanumeric() || "_.-/~:".contains(c));
        if name.is_empty() {
            return;
        }
        if is_fine(name) && is_fine(value) && !widths::is_over(name, widths::PROPERTY) {
            found.insert(name.to_owned(), value.into());
        } else {
            let mistake = format!("bad property name='{name}', value='{value}'");
            self.mistakes.push((parameter.full_name.clone(), mistake));
        }
    }
}

/// The value of a parameter for what is given.
fn value(parameter: &Parameter, given: Option<&[Json]>) -> Result<Json, String> {
    if parameter.kind == ParameterKind::Bool {
        return match given {
            None | Some([]) => Ok(Json::Bool(parameter.default == true)),
            Some(values) => truth(values),
        };
    }
    let is_blank = |value: &Json| match value {
        Json::Null => true,
        Json::String(text) => text.trim().is_empty(),
        _ => false,
    };
    let mut values: Vec<Json> =
        given.unwrap_or_default().iter().filter(|value| !is_blank(value)).cloned().collect();
    if parameter.kind == ParameterKind::Fixed {
        let is_other =
            |value: &&Json| **value != parameter.default && to_text(value) != to_text(&parameter.default);
        return match values.iter().find(is_other) {
            None => Ok(parameter.default.clone()),
            // Buildbot takes no notice, and builds something else than is asked for.
            Some(_) => Err(format!("it is always {}", to_repr(&parameter.default))),
        };
    }
    if values.is_empty() {
        if parameter.required {
            return Err(format!("'{}' needs to be specified", parameter.label));
        }
        values = match &parameter.default {
            Json::Array(values) if parameter.multiple => values.clone(),
            value => vec![value.clone()],
        };
    }
    let label = &parameter.label;
    for text in values.iter().map(to_text) {
        if let Some(pattern) = parameter.regex.as_ref().filter(|pattern| !pattern.begins(&text)) {
            return Err(format!("{label}:'{text}' does not match pattern '{}'", pattern.source()));
        }
        let size = text.chars().count();
        if let Some(most) = parameter.maxsize.filter(|most| size > *most) {
            return Err(format!("{label}: is too large {size} > {most}"));
        }
    }
    if parameter.multiple {
        let read: Result<_, _> = values.iter().map(|value| read(parameter, value)).collect();
        return Ok(Json::Array(read?));
    }
    // Of several that are given where one is taken, the first one counts.
    read(parameter, values.first().unwrap_or(&Json::Null))
}

/// Buildbot's forms give a truth as such. As text it is what Python calls it, or JSON.
fn truth(values: &[Json]) -> Result<Json, String> {
    match values {
        [Json::Bool(truth)] => Ok(Json::Bool(*truth)),
        [Json::String(text)] => match text.trim() {
            "true" | "True" => Ok(Json::Bool(true)),
            "false" | "False" | "" => Ok(Json::Bool(false)),
            text => Err(format!("{} is neither true nor false", to_repr(&text.into()))),
        },
        _ => Ok(Json::Bool(false)),
    }
}

/// One value as its type has it.
fn read(parameter: &Parameter, value: &Json) -> Result<Json, String> {
    match &parameter.kind {
        ParameterKind::Int { .. } => match value {
            Json::Number(_) if value.is_i64() => Ok(value.clone()),
            other => {
                let text = to_text(other);
                let number = text.trim().parse::<i64>();
                number
                    .map(Json::from)
                    .map_err(|_| format!("invalid literal for int() with base 10: {}", to_repr(&text.into())))
            }
        },
        ParameterKind::Choice(Choices { choices, strict })
        | ParameterKind::WorkerChoice(Choices { choices, strict }) => {
            let text = to_text(value);
            if *strict && !choices.contains(&text) {
                let all = to_repr(&choices.as_slice().into());
                return Err(format!("'{text}' does not belong to list of available choices '{all}'"));
            }
            Ok(text.into())
        }
        ParameterKind::UserName { need_email, .. } => {
            let text = to_text(value);
            if (!text.is_empty() || parameter.required) && *need_email && !has_address(&text) {
                let name = &parameter.name;
                return Err(format!(
                    "{name}: please fill in email address in the form 'User <email@email.com>'"
                ));
            }
            Ok(text.into())
        }
        _ => Ok(to_text(value).into()),
    }
}

/// Whether an address of mail is in a text (`VALID_EMAIL_ADDR`, `buildbot/reporters/mail.py`): `\S+@` and at least two
/// labels of a host.
fn has_address(text: &str) -> bool {
    let is_of_label = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.split_whitespace().any(|word| {
        word.match_indices('@').any(|(at, _)| {
            let host = word.get(at + 1..).unwrap_or_default();
            let first = host.split(|c| !is_of_label(c)).next().unwrap_or_default();
            let rest = host.get(first.len()..).and_then(|rest| rest.strip_prefix('.'));
            at > 0 && !first.is_empty() && rest.is_some_and(|rest| rest.starts_with(is_of_label))
        })
    })
}

/// A source stamp of what is said about a codebase. What cannot be said is empty, as in Buildbot.
fn stamp(codebase: &str, said: &Map<String, Json>) -> SourceStamp {
    let text = |key: &str| said.get(key).map(to_text).unwrap_or_default();
    let patch = said.get("patch").and_then(Json::as_object).and_then(|patch| {
        let text = |key: &str| patch.get(key).map(to_text).unwrap_or_default();
        let body = text("body");
        let level = patch.get("level").and_then(Json::as_i64).and_then(|level| level.try_into().ok());
        (!body.is_empty()).then(|| Patch {
            level: level.unwrap_or(1),
            body: body.into_bytes(),
            subdir: text("subdir"),
            author: text("author"),
            comment: text("comment"),
        })
    });
    SourceStamp {
        branch: Some(text("branch")),
        revision: Some(text("revision")),
        repository: text("repository"),
        project: text("project"),
        codebase: codebase.to_owned(),
        patch,
    }
}

#[cfg(test)]
mod tests;
