//! Who wants to be woken when: one time for each.

use std::collections::{BTreeMap, BTreeSet};

use model::{InstanceId, Time};

use crate::Token;

/// Whom a time is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// An instance: what it waits for follows from its state.
    Instance(InstanceId),
    /// A call to launch.
    Call(Token),
    /// A listing of a pool, by the pool's place.
    Listing(usize),
}

/// All times that are set.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_time: BTreeSet<(Time, Timer)>,
    by_timer: BTreeMap<Timer, Time>,
}

impl Timers {
    /// Sets the time of one, or takes it away.
    pub(super) fn set(&mut self, timer: Timer, at: Option<Time>) {
        let before = self.by_timer.get(&timer).copied();
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, timer.clone()));
        }
        match at {
            Some(at) => {
                self.by_time.insert((at, timer.clone()));
                self.by_timer.insert(timer, at);
            }
            None => {
                self.by_timer.remove(&timer);
            }
        }
    }

    /// Those that are due, the earliest first. Their times are over.
    pub(super) fn due(&mut self, now: Time) -> Vec<Timer> {
        let mut due = Vec::new();
        while self.by_time.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, timer)) = self.by_time.pop_first() {
                self.by_timer.remove(&timer);
                due.push(timer);
            }
        }
        due
    }

    /// The earliest time.
    pub(super) fn first(&self) -> Option<Time> {
        self.by_time.first().map(|(at, _)| *at)
    }
}
