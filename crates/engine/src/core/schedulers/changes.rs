//! `AnyBranchScheduler` and `SingleBranchScheduler`: changes, and timers that wait for the tree to be stable.
//!
//! What waits is in `scheduler_changes`, so that a restart only starts the timers anew. Unlike Buildbot 4.3.0
//! (`buildbot/schedulers/basic.py`, which forgets by change number), a timer that fires forgets just the changes that it
//! builds, never those of another branch.

use std::{collections::BTreeMap, sync::Arc};

use config::SchedulerKind;
use model::{Change, ChangeId, SchedulerId, Time};
use storage::{Classified, Write};

use super::{Remembered, Scheduler, Timer, TimerKey, basic, tree_stable_timer};
use crate::{
    Notice,
    core::{Answer, Core, Deadline, ReplyId, widths},
};

impl Core {
    /// Records a change and tells the schedulers that it concerns.
    pub(in crate::core) fn change(&mut self, now: Time, mut change: Box<Change>, reply: ReplyId) {
        widths::fit_change(&mut change);
        let change: Arc<Change> = change.into();
        let id = self.ids.next_change();
        self.write(Write::Change { id, change: Arc::clone(&change), at: now });
        self.notify(Notice::ChangeAdded { change: id });
        self.reply(reply, Answer::Change(id));
        self.note_change_for_cancellers(&change);
        for scheduler in self.listeners.of(&change) {
            self.look();
            self.offer_change(now, scheduler, id, &change);
        }
    }

    /// Hands a change to a scheduler, if it wants it.
    fn offer_change(&mut self, now: Time, scheduler: SchedulerId, id: ChangeId, change: &Arc<Change>) {
        let Some(state) = self.schedulers.get(&scheduler) else { return };
        let Some(config) = state.config.clone() else { return };
        let Some(interest) = config.kind.interest() else { return };
        let importance = interest
            .filter
            .accepts(change)
            .and_then(|accepted| if accepted { interest.importance(change) } else { Ok(None) });
        let important = match importance {
            Ok(Some(important)) => important,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(
                    scheduler = config.name,
                    error = &error as &dyn std::error::Error,
                    "it cannot be told whether a scheduler wants a change; it is left out"
                );
                return;
            }
        };
        if config.kind.creates_absolute_source_stamps() {
            self.record_change(scheduler, id, change);
        }
        let remembered = Remembered { change: Arc::clone(change), important };
        if tree_stable_timer(&config).is_some() || config.kind.timed().is_some() {
            self.remember(now, scheduler, id, remembered);
            self.write(Write::SchedulerChange { scheduler, change: id, important });
        } else if important && let Some(basic) = basic(&config) {
            self.build_changes(now, scheduler, &config, &basic.reason, &BTreeMap::from([(id, remembered)]));
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
        if config.kind.interest().is_none() {
            // It no longer looks at changes.
            let changes = Classified::These(vec![change_id]);
            return self.write(Write::SchedulerChangesDone { scheduler: id, changes });
        }
        if config.kind.timed().is_some() {
            scheduler.timers.entry(TimerKey::Only).or_default().changes.insert(change_id, remembered);
            return;
        }
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
        if let Some(basic) = basic(&config) {
            self.build_changes(now, id, &config, &basic.reason, &timer.changes);
        }
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
}

fn timer_key(config: &config::Scheduler, change: &Change) -> TimerKey {
    match config.kind {
        SchedulerKind::AnyBranch(_) => TimerKey::Branch {
            codebase: change.codebase.clone(),
            project: change.project.clone(),
            repository: change.repository.clone(),
            branch: change.branch.clone(),
        },
        _ => TimerKey::Only,
    }
}
