//! What of the demand a new machine can help.

use std::time::Duration;

use model::Time;

use crate::{Demand, Waiting, plan::Why};

/// A request that is younger may be merged, cancelled or taken before a plan is worth it.
const DEBOUNCE: Duration = Duration::from_secs(1);

/// Goes through the requests in their order and puts aside what a new machine cannot help.
#[derive(Debug)]
pub(super) struct Effective<'a> {
    now: Time,
    demand: &'a Demand,
    /// Free permits that no request before has.
    free: Vec<u32>,
}

impl<'a> Effective<'a> {
    pub(super) fn new(now: Time, demand: &'a Demand) -> Self {
        Self { now, demand, free: demand.permits.iter().map(|permit| permit.free).collect() }
    }

    /// Why a new machine cannot help a request; `None` when it can, and then it has its permits.
    pub(super) fn put_aside(&mut self, waiting: &Waiting) -> Option<Why> {
        if let Some(into) = waiting.collapses_into {
            return Some(Why::Collapsed(into));
        }
        for need in &waiting.needs {
            if let (Some(0), Some(permit)) = (self.free.get(*need), self.demand.permits.get(*need)) {
                let name = permit.name.clone();
                return Some(if permit.is_lock { Why::Lock(name) } else { Why::Limit(name) });
            }
        }
        if self.now.since(waiting.submitted_at) < DEBOUNCE {
            return Some(Why::Debounce);
        }
        for need in &waiting.needs {
            if let Some(free) = self.free.get_mut(*need) {
                *free = free.saturating_sub(1);
            }
        }
        None
    }

    /// When the youngest requests are old enough.
    pub(super) fn mature(waiting: &Waiting) -> Time {
        waiting.submitted_at + DEBOUNCE
    }
}
