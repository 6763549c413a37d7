//! `Triggerable` and `NightlyTriggerable`: a build asks for builds, and perhaps waits for them
//! (`buildbot/schedulers/triggerable.py`, `buildbot/schedulers/timed.py`, `buildbot/steps/trigger.py`, 4.3.0).
//!
//! A build that waits keeps its worker; what it waits for are requests like others, which pools hire for. They are
//! cancelled when it is stopped, is lost, or ends in any other way. Who waits is not in the tables: after the master has
//! died the build is done again and triggers anew, and what it had triggered before is built as well, as in Buildbot.

use std::{collections::BTreeSet, sync::Arc};

use config::{Codebase, SchedulerKind};
use model::{
    BuildId, BuildRequestId, Json, Properties, Property, Results, SchedulerId, SourceStamp, Time,
    template::to_text,
};
use storage::Parent;

use super::asking::Wish;
use crate::core::{Answer, Core, Refusal, ReplyId, StampAsked, Trigger, TriggeredBuild, TriggeredScheduler};

/// Where `NightlyTriggerable` keeps what it was triggered with.
const LAST_TRIGGER: &str = "lastTrigger";

/// A build that waits for what it has triggered.
#[derive(Debug)]
pub(in crate::core) struct Waiting {
    build: BuildId,
    /// The requests that are not complete.
    open: BTreeSet<BuildRequestId>,
}

impl Core {
    /// A running build triggers schedulers.
    pub(in crate::core) fn trigger(&mut self, now: Time, trigger: &Trigger, reply: ReplyId) {
        let running = self.builds.get(&trigger.build);
        if running.is_none_or(|running| running.stopping.is_some()) {
            return self.refuse(reply, Refusal::NoSuchBuild(trigger.build));
        }
        // All or none.
        let mut schedulers = Vec::with_capacity(trigger.schedulers.len());
        for name in &trigger.schedulers {
            match self.triggerable(name) {
                Ok(found) => schedulers.push(found),
                Err(refusal) => return self.refuse(reply, refusal),
            }
        }
        let mut triggered = Vec::with_capacity(schedulers.len());
        let mut open = BTreeSet::new();
        for (id, config) in schedulers {
            let requests = self.trigger_one(now, id, &config, trigger);
            open.extend(requests.iter().copied());
            triggered.push(TriggeredScheduler { scheduler: config.name.clone(), requests });
        }
        self.reply(reply, Answer::Triggered(triggered));
        if !trigger.waits {
            return self.reply(reply, Answer::Done);
        }
        open.retain(|&request| match self.requests.get_mut(&request) {
            Some(request) => {
                request.waiter = Some(reply);
                true
            }
            // A later one of the same call has made it superfluous.
            None => {
                let (results, builds) = (Results::Skipped, Vec::new());
                self.reply(reply, Answer::TriggeredRequest { request, results, builds });
                false
            }
        });
        if open.is_empty() {
            return self.reply(reply, Answer::Done);
        }
        self.waiting.insert(reply, Waiting { build: trigger.build, open });
        self.note_waits(now, trigger.build, Some(reply));
    }

    fn triggerable(&self, name: &str) -> Result<(SchedulerId, Arc<config::Scheduler>), Refusal> {
        let id = self.scheduler_ids.get(name).copied();
        let config = id.and_then(|id| Some((id, self.schedulers.get(&id)?.config.clone()?)));
        let (id, config) = config.ok_or_else(|| Refusal::NoSuchScheduler(name.to_owned()))?;
        if config.kind.is_triggerable() {
            Ok((id, config))
        } else {
            Err(Refusal::NotTriggerable(name.to_owned()))
        }
    }

    fn trigger_one(
        &mut self,
        now: Time,
        id: SchedulerId,
        config: &config::Scheduler,
        trigger: &Trigger,
    ) -> Vec<BuildRequestId> {
        let SchedulerKind::Triggerable { reason } = &config.kind else {
            let stamps: Vec<Json> = trigger.sourcestamps.iter().map(StampAsked::to_json).collect();
            let properties = trigger.properties.iter();
            let properties: serde_json::Map<String, Json> = properties
                .map(|(name, Property { value, source })| (name.clone(), serde_json::json!([value, source])))
                .collect();
            let last = serde_json::json!([stamps, properties, trigger.build.0, trigger.relationship]);
            self.keep(id, LAST_TRIGGER, last);
            return Vec::new();
        };
        let given = trigger.properties.get("reason").filter(|reason| !reason.is_null()).map(to_text);
        let reason = if trigger.properties.is_empty() { reason.clone() } else { given };
        let reason = reason.unwrap_or_else(|| {
            format!("The Triggerable scheduler named '{}' triggered this build", config.name)
        });
        let sourcestamps = self.stamps_asked(id, &config.codebases, &trigger.sourcestamps);
        let relationship = trigger.relationship.clone();
        let wish = Wish {
            properties: trigger.properties.clone(),
            parent: Some(Parent { build: trigger.build, relationship }),
            waited_for: trigger.waits,
            ..Wish::of(reason, sourcestamps)
        };
        let new = self.wished(config, wish);
        self.add_buildset(now, new).1
    }

    /// Builds what a `NightlyTriggerable` was triggered with since the last time, if it was.
    pub(super) fn build_last_trigger(
        &mut self,
        now: Time,
        id: SchedulerId,
        config: &config::Scheduler,
        reason: &str,
    ) {
        let Some(Json::Array(last)) = self.kept(id, LAST_TRIGGER).cloned() else { return };
        self.keep(id, LAST_TRIGGER, Json::Null);
        let [Json::Array(stamps), Json::Object(properties), build, relationship] = last.as_slice() else {
            return;
        };
        let stamps: Vec<StampAsked> = stamps.iter().map(StampAsked::from_json).collect();
        let properties: Properties = properties
            .iter()
            .filter_map(|(name, pair)| {
                let source = pair.get(1)?.as_str()?.to_owned();
                Some((name.clone(), Property { value: pair.get(0)?.clone(), source }))
            })
            .collect();
        let sourcestamps = self.stamps_asked(id, &config.codebases, &stamps);
        let parent = build.as_i64().map(|build| Parent {
            build: BuildId(build),
            relationship: relationship.as_str().unwrap_or_default().to_owned(),
        });
        let wish = Wish { properties, parent, ..Wish::of(reason.to_owned(), sourcestamps) };
        let new = self.wished(config, wish);
        self.add_buildset(now, new);
    }

    /// What is asked for, laid over what the scheduler builds when nothing says otherwise.
    fn stamps_asked(
        &self,
        id: SchedulerId,
        codebases: &[Codebase],
        asked: &[StampAsked],
    ) -> Vec<SourceStamp> {
        let own = codebases.iter().map(|codebase| {
            let mut stamp = self.default_stamp(id, codebase);
            if let Some(asked) = asked.iter().find(|asked| asked.codebase == codebase.name) {
                asked.lay_over(&mut stamp);
            }
            stamp
        });
        let others = asked.iter().filter(|asked| codebases.iter().all(|own| own.name != asked.codebase));
        own.chain(others.map(StampAsked::alone)).collect()
    }

    /// A request that somebody waits for is complete.
    pub(in crate::core) fn tell_waiter(
        &mut self,
        now: Time,
        waiter: ReplyId,
        request: BuildRequestId,
        results: Results,
        builds: Vec<TriggeredBuild>,
    ) {
        let Some(waiting) = self.waiting.get_mut(&waiter) else { return };
        waiting.open.remove(&request);
        let (build, done) = (waiting.build, waiting.open.is_empty());
        self.reply(waiter, Answer::TriggeredRequest { request, results, builds });
        if done {
            self.waiting.remove(&waiter);
            self.note_waits(now, build, None);
            self.reply(waiter, Answer::Done);
        }
    }

    /// A build that may wait is stopped: what it waits for is not wanted any more.
    pub(in crate::core) fn cancel_triggered(&mut self, now: Time, waiter: ReplyId) {
        let open = self.waiting.get(&waiter).map(|waiting| waiting.open.clone()).unwrap_or_default();
        for request in open {
            self.withdraw(now, request, "parent build was interrupted");
        }
    }

    /// A build has ended: whatever it waited for is not wanted any more, and nobody waits.
    pub(in crate::core) fn end_waiting(&mut self, now: Time, waiter: ReplyId) {
        self.cancel_triggered(now, waiter);
        if let Some(Waiting { open, .. }) = self.waiting.remove(&waiter) {
            for request in open {
                if let Some(request) = self.requests.get_mut(&request) {
                    request.waiter = None;
                }
            }
            self.reply(waiter, Answer::Done);
        }
    }

    /// Takes note that a build waits, or no longer does. Pools do not count on the end of one that waits.
    fn note_waits(&mut self, now: Time, build: BuildId, waits: Option<ReplyId>) {
        let Some(running) = self.builds.get_mut(&build) else { return };
        running.waits = waits;
        if let Some(instance) = running.instance.filter(|_| running.is_counted) {
            self.tell(now, pools::Event::BuildWaits { instance, build, waits: waits.is_some() });
        }
    }
}
