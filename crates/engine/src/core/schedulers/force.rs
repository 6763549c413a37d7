//! `ForceScheduler`: somebody asks for a build.

use config::{ForceScheduler, Parameter, SchedulerKind};
use model::{Json, Properties, Time, template::to_text};

use super::{
    asking::Wish,
    form::{self, Filled, Mistakes, Values},
};
use crate::core::{Answer, Core, Force, Refusal, ReplyId, requests::NewBuildset};

/// The source that Buildbot names for what comes from its form.
const FORM: &str = "Force Build Form";

impl Core {
    pub(in crate::core) fn force(&mut self, now: Time, force: &Force, reply: ReplyId) {
        match self.forced(force) {
            Err(refusal) => self.refuse(reply, refusal),
            Ok(new) => {
                let builders = new.builders.clone();
                let (buildset, requests) = self.add_buildset(now, new);
                let names = builders
                    .iter()
                    .filter_map(|id| self.builders.get(id))
                    .map(|builder| builder.name.to_string());
                let requests = names.zip(requests).collect();
                self.reply(reply, Answer::Forced { buildset, requests });
            }
        }
    }

    fn forced(&self, force: &Force) -> Result<NewBuildset, Refusal> {
        let known = self.scheduler_ids.get(&force.scheduler).and_then(|id| self.schedulers.get(id));
        let config = known.and_then(|scheduler| scheduler.config.as_ref());
        let config = config.ok_or_else(|| Refusal::NoSuchScheduler(force.scheduler.clone()))?;
        let SchedulerKind::Force(kind) = &config.kind else {
            return Err(Refusal::NotAForceScheduler(force.scheduler.clone()));
        };
        if let Some(builder) = force.builder_names.iter().find(|name| !config.builder_names.contains(name)) {
            let (scheduler, builder) = (force.scheduler.clone(), builder.clone());
            return Err(Refusal::NotABuilderOf { scheduler, builder });
        }
        let names = if force.builder_names.is_empty() { &config.builder_names } else { &force.builder_names };

        let said = said(kind, force).map_err(Refusal::Form)?;
        let filled = form::fill(kind, &said, &force.owner).map_err(Refusal::Form)?;
        let reason = worded(&kind.reason_string, &filled);
        let mut properties = Properties::new();
        for (name, property) in &force.properties {
            properties.set(name.as_str(), property.value.clone(), FORM);
        }
        for (name, value) in filled.properties {
            properties.set(name, value, FORM);
        }
        properties.set("reason", filled.reason, FORM);
        properties.set("owner", filled.owner, FORM);
        let builder_names = Some(names.clone());
        let priority = Some(filled.priority);
        let wish = Wish { properties, builder_names, priority, ..Wish::of(reason, filled.sourcestamps) };
        Ok(self.wished(config, wish))
    }
}

/// A reason with who asks, and why.
pub(super) fn worded(reason_string: &str, filled: &Filled) -> String {
    let (owner, reason) = (to_text(&filled.owner), to_text(&filled.reason));
    let known = [("(owner)s", owner.as_str()), ("(reason)s", reason.as_str()), ("%", "%")];
    let mut worded = String::new();
    let mut rest = reason_string;
    while let Some((before, after)) = rest.split_once('%') {
        worded.push_str(before);
        // The configuration has nothing else.
        let found = known.iter().find_map(|(form, text)| Some((after.strip_prefix(form)?, *text)));
        let (after, text) = found.unwrap_or((after, ""));
        worded.push_str(text);
        rest = after;
    }
    worded + rest
}

/// All that is said, by the full names of parameters. What is said about code is said about the first codebase.
fn said(kind: &ForceScheduler, force: &Force) -> Result<Values, Mistakes> {
    let mut said = force.values.clone();
    let fields = kind.codebases.first().and_then(|codebase| codebase.parameter.fields()).unwrap_or_default();
    let field = |name: &str| fields.iter().find(|field| field.name == name);
    let text = |value: &Option<String>| value.as_deref().map(Json::from);
    let asked: [(&str, Option<&Parameter>, Option<Json>); 6] = [
        ("reason", Some(&kind.reason), text(&force.reason)),
        ("priority", Some(&kind.priority), force.priority.map(Json::from)),
        ("branch", field("branch"), text(&force.branch)),
        ("revision", field("revision"), text(&force.revision)),
        ("repository", field("repository"), text(&force.repository)),
        ("project", field("project"), text(&force.project)),
    ];
    let mut mistakes = Mistakes::new();
    for (name, parameter, value) in asked {
        match (parameter, value) {
            (Some(parameter), Some(value)) => drop(said.insert(parameter.full_name.clone(), vec![value])),
            (None, Some(_)) => {
                mistakes.push((name.to_owned(), "the scheduler does not ask for it".to_owned()))
            }
            (_, None) => {}
        }
    }
    if mistakes.is_empty() { Ok(said) } else { Err(mistakes) }
}
