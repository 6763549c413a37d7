//! `AnyBranchScheduler` and `SingleBranchScheduler`: changes, and timers that wait for the tree to be stable.
//!
//! What waits is in `scheduler_changes`, so that a restart only starts the timers anew. Unlike Buildbot 4.3.0
//! (`buildbot/schedulers/basic.py`, which forgets by change number), a timer that fires forgets just the changes that it
//! builds, never those of another branch.

use std::{collections::BTreeMap, sync::Arc};

use config::SchedulerKind;
use model::{Change, ChangeId, Properties, SchedulerId, SourceStamp, Time};
use storage::{Classified, Write};

use super::{Remembered, Scheduler, Timer, TimerKey, class, lay_over, tree_stable_timer};
use crate::{
    Notice,
    core::{Answer, Core, Deadline, ReplyId, requests::NewBuildset},
};

impl Core {
    /// Records a change and tells the schedulers that it concerns.
    pub(in crate::core) fn change(&mut self, now: Time, change: Arc<Change>, reply: ReplyId) {
        let id = self.ids.next_change();
        self.write(Write::Change { id, change: Arc::clone(&change), at: now });
        self.notify(Notice::ChangeAdded { change: id });
        self.reply(reply, Answer::Change(id));
        for scheduler in self.listeners.of(&change) {
            self.looked_at += 1;
            let remembered = Remembered { change: Arc::clone(&change), important: true };
            self.got_change(now, scheduler, id, remembered);
        }
    }

    fn got_change(&mut self, now: Time, scheduler: SchedulerId, id: ChangeId, remembered: Remembered) {
        let Some(state) = self.schedulers.get(&scheduler) else { return };
        let Some(config) = state.config.clone() else { return };
        if tree_stable_timer(&config).is_some() {
            let important = remembered.important;
            self.remember(now, scheduler, id, remembered);
            self.write(Write::SchedulerChange { scheduler, change: id, important });
        } else if remembered.important {
            self.build_changes(now, &config, &BTreeMap::from([(id, remembered)]));
        }
    }

    /// Has a change wait for its timer, which an important one starts, and any one starts again.
    pub(in crate::core) fn remember(
        &mut self,
        now: Time,
        id: SchedulerId,
        change_id: ChangeId,
        remembered: Remembered,
    ) {
        let Some(scheduler) = self.schedulers.get_mut(&id) else { return };
        let Some(config) = &scheduler.config else {
            // Not in the configuration: kept for when it comes back.
            scheduler.timers.entry(TimerKey::Only).or_default().changes.insert(change_id, remembered);
            return;
        };
        // With no timer (any more), what was remembered is due at once.
        let wait = tree_stable_timer(config).unwrap_or_default();
        let key = timer_key(config, &remembered.change);
        let timer = scheduler.timers.entry(key.clone()).or_default();
        if remembered.important || timer.due.is_some() {
            if let Some(due) = timer.due {
                self.deadlines.remove(&(due, Deadline::Stable(id, key.clone())));
            }
            timer.due = Some(now + wait);
            self.deadlines.insert((now + wait, Deadline::Stable(id, key)));
        }
        timer.changes.insert(change_id, remembered);
    }

    pub(in crate::core) fn tree_is_stable(&mut self, now: Time, id: SchedulerId, key: &TimerKey) {
        let Some(scheduler) = self.schedulers.get_mut(&id) else { return };
        let Some(config) = scheduler.config.clone() else { return };
        let Some(timer) = scheduler.timers.remove(key) else { return };
        let done = timer.changes.keys().copied().collect();
        self.build_changes(now, &config, &timer.changes);
        self.write(Write::SchedulerChangesDone { scheduler: id, changes: Classified::These(done) });
    }

    /// Sorts what a scheduler remembers anew, after its configuration has changed. A timer that runs already goes on.
    pub(in crate::core) fn sort_remembered(&mut self, now: Time, id: SchedulerId) {
        let Some(scheduler) = self.schedulers.get_mut(&id) else { return };
        let before = std::mem::take(&mut scheduler.timers);
        for (key, Timer { due, .. }) in &before {
            if let Some(due) = due {
                self.deadlines.remove(&(*due, Deadline::Stable(id, key.clone())));
            }
        }
        let Some(config) = scheduler.config.clone() else {
            // Kept for when it comes back.
            scheduler.timers =
                before.into_iter().map(|(key, timer)| (key, Timer { due: None, ..timer })).collect();
            return;
        };
        let dues: BTreeMap<TimerKey, Time> =
            before.iter().filter_map(|(key, timer)| Some((key.clone(), timer.due?))).collect();
        for (change, remembered) in before.into_values().flat_map(|timer| timer.changes) {
            self.remember(now, id, change, remembered);
        }
        if tree_stable_timer(&config).is_none() {
            return;
        }
        let Some(Scheduler { timers, .. }) = self.schedulers.get_mut(&id) else { return };
        for (key, before) in dues {
            if let Some(timer) = timers.get_mut(&key)
                && let Some(due) = timer.due.replace(before)
            {
                self.deadlines.remove(&(due, Deadline::Stable(id, key.clone())));
                self.deadlines.insert((before, Deadline::Stable(id, key)));
            }
        }
    }

    /// Asks for builds of the newest change of each codebase; a codebase without one is built as configured.
    fn build_changes(
        &mut self,
        now: Time,
        config: &config::Scheduler,
        changes: &BTreeMap<ChangeId, Remembered>,
    ) {
        let mut codebases: Vec<_> = config.codebases.iter().collect();
        codebases.sort_by(|a, b| a.name.cmp(&b.name));
        let mut sourcestamps = Vec::with_capacity(codebases.len());
        let mut built = Vec::new();
        for codebase in codebases {
            let of_it = || {
                changes.values().map(|remembered| &remembered.change).filter(|c| c.codebase == codebase.name)
            };
            let Some(newest) = of_it().next_back() else {
                sourcestamps.push(default_stamp(codebase));
                continue;
            };
            let stamp = newest.source_stamp();
            built.extend(of_it().filter(|change| change.source_stamp() == stamp).cloned());
            sourcestamps.push(stamp);
        }
        let mut properties = Properties::new();
        lay_over(&mut properties, config);
        for change in &built {
            properties.update(&change.properties);
        }
        let builders = self.builders_named(&config.builder_names);
        let reason = reason(config);
        let priority = config.priority;
        self.add_buildset(
            now,
            NewBuildset { reason, sourcestamps, changes: built, properties, builders, priority },
        );
    }
}

/// What is built of a codebase when nothing says otherwise.
pub(super) fn default_stamp(codebase: &config::Codebase) -> SourceStamp {
    SourceStamp {
        branch: codebase.branch.clone(),
        revision: codebase.revision.clone(),
        repository: codebase.repository.clone(),
        project: String::new(),
        codebase: codebase.name.clone(),
        patch: None,
    }
}

fn timer_key(config: &config::Scheduler, change: &Change) -> TimerKey {
    match config.kind {
        SchedulerKind::AnyBranch { .. } => TimerKey::Branch {
            codebase: change.codebase.clone(),
            project: change.project.clone(),
            repository: change.repository.clone(),
            branch: change.branch.clone(),
        },
        SchedulerKind::SingleBranch { .. } | SchedulerKind::Force(_) => TimerKey::Only,
    }
}

fn reason(config: &config::Scheduler) -> String {
    let class = class(&config.kind);
    match &config.kind {
        SchedulerKind::AnyBranch { reason: Some(reason), .. }
        | SchedulerKind::SingleBranch { reason: Some(reason), .. } => {
            reason.replace("%(name)s", &config.name).replace("%(classname)s", class)
        }
        _ => format!("The {class} scheduler named '{}' triggered this build", config.name),
    }
}
