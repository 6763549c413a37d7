//! What of the demand a new machine can help.

use crate::{Demand, Waiting, plan::Why};

/// Goes through the requests in their order and puts aside what a new machine cannot help. None is too young: a plan is
/// made a second after something has changed, which is enough for those that are merged, cancelled or taken at once.
#[derive(Debug)]
pub(super) struct Effective<'a> {
    demand: &'a Demand,
    /// Free permits that no request before has.
    free: Vec<u32>,
}

impl<'a> Effective<'a> {
    pub(super) fn new(demand: &'a Demand) -> Self {
        Self { demand, free: demand.permits.iter().map(|permit| permit.free).collect() }
    }

    /// Why a new machine cannot help a request; `None` when it can, and then it has its permits.
    pub(super) fn put_aside(&mut self, waiting: &Waiting) -> Option<Why> {
        if let Some(into) = waiting.collapses_into {
            return Some(Why::Collapsed(into));
        }
        for need in &waiting.needs {
            if let (Some(free), Some(permit)) =
                (self.free.get(need.permit), self.demand.permits.get(need.permit))
                && *free < need.units
            {
                let name = permit.name.clone();
                return Some(if permit.is_lock { Why::Lock(name) } else { Why::Limit(name) });
            }
        }
        for need in &waiting.needs {
            if let Some(free) = self.free.get_mut(need.permit) {
                *free = free.saturating_sub(need.units);
            }
        }
        None
    }
}
