//! `ForceScheduler`: somebody asks for a build.

use config::SchedulerKind;
use model::{Properties, Time};

use super::asking::{Wish, configured_stamp};
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

        let asked = force.reason.clone().unwrap_or_else(|| kind.reason.clone());
        let reason = format!("A build was forced by '{}': {asked}", force.owner);
        let mut properties = Properties::new();
        for (name, property) in &force.properties {
            properties.set(name.as_str(), property.value.clone(), FORM);
        }
        properties.set("reason", asked, FORM);
        properties.set("owner", force.owner.as_str(), FORM);

        // What is asked for is about one codebase: the first. The others are built as configured.
        let mut sourcestamps: Vec<_> = config.codebases.iter().map(configured_stamp).collect();
        if let Some(stamp) = sourcestamps.first_mut() {
            // A field of Buildbot's form that is left empty is an empty text.
            stamp.branch =
                force.branch.clone().or_else(|| stamp.branch.take()).or_else(|| Some(String::new()));
            stamp.revision =
                force.revision.clone().or_else(|| stamp.revision.take()).or_else(|| Some(String::new()));
            if let Some(repository) = &force.repository {
                stamp.repository.clone_from(repository);
            }
            if let Some(project) = &force.project {
                stamp.project.clone_from(project);
            }
        }
        let (builder_names, priority) = (Some(names.clone()), force.priority);
        let wish = Wish { properties, builder_names, priority, ..Wish::of(reason, sourcestamps) };
        Ok(self.wished(config, wish))
    }
}
