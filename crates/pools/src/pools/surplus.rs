//! Machines without work for so long that starting another one later is cheaper.

use std::{cmp::Reverse, time::Duration};

use model::{
    InstanceId, Time,
    pool::{Billing, Money},
};

use super::{Pools, draining::LAST_OF_HOUR, entry::Entry, waiting::span};
use crate::{ReasonCode, plan::PoolPlan};

/// Which machine goes first: one of an old template, an unwell one, one that is too old, the most expensive one, the one
/// without work for longest.
type Order = (Reverse<bool>, Reverse<bool>, Reverse<bool>, Reverse<Money>, Time, InstanceId);

impl Pools {
    /// Lets machines go that have had no work for long enough, never below what is to be there.
    pub(super) fn lay_off(&mut self, now: Time, at: usize, plan: &PoolPlan) {
        let pool = &self.pools[at];
        let Some(timeout) = plan.idle_timeout else { return };
        let least = match pool.spec.billing {
            Billing::Second => timeout,
            Billing::Hour => timeout.min(LAST_OF_HOUR),
        };
        // The time of being idle is the first thing in the order of the set.
        if pool.idle.first().is_none_or(|(since, _)| now.since(*since) < least) {
            return;
        }
        // Those that get no builds are no places: they neither make up for others, nor are others kept for them.
        let size = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let withheld = self.withheld_idle(at);
        let idle = size(pool.idle.len()) - withheld;
        let there = idle + size(pool.busy.len()) + size(pool.coming.len());
        let floor = plan.min.max(plan.wanted);
        let spare = idle.saturating_sub(plan.warm).min(there.saturating_sub(floor));
        if spare == 0 && withheld == 0 {
            return;
        }
        let mut candidates: Vec<Order> = Vec::new();
        for (since, id) in &pool.idle {
            if now.since(*since) < least {
                break;
            }
            let Some(entry) = self.entries.get(id).filter(|entry| !entry.is_guest()) else { continue };
            if pool.spec.billing == Billing::Hour && !is_last_of_hour(now, entry) {
                continue;
            }
            candidates.push((
                Reverse(pool.is_outdated(entry)),
                Reverse(is_unwell(entry)),
                Reverse(self.too_old_at(entry).is_some_and(|at| at <= now)),
                Reverse(entry.row.price),
                *since,
                *id,
            ));
        }
        candidates.sort_unstable();
        let is_withheld = |id: &InstanceId| self.pools[at].withheld.contains(id);
        let (useless, others): (Vec<Order>, Vec<Order>) =
            candidates.into_iter().partition(|(.., id)| is_withheld(id));
        let going = useless.into_iter().chain(others.into_iter().take(spare as usize));
        for (old, unwell, .., since, id) in going.collect::<Vec<_>>() {
            let text = format!("it had no work for {}", span(now.since(since)));
            if !old.0 && !unwell.0 && self.may_stop(at) {
                self.stop(now, id, &text);
            } else {
                self.drain(now, id, ReasonCode::IdleTimeout, text, None);
            }
        }
    }
}

fn is_unwell(entry: &Entry) -> bool {
    entry.withheld.is_some() || entry.impaired.is_some() || entry.row.failures > 0 || entry.rebalance
}

/// Whether the hour that is paid is about to end.
fn is_last_of_hour(now: Time, entry: &Entry) -> bool {
    const HOUR: Duration = Duration::from_secs(3600);
    let age = now.since(entry.row.launched_at.unwrap_or(entry.row.planned_at));
    let part = Duration::from_micros(u64::try_from(age.as_micros() % HOUR.as_micros()).unwrap_or(0));
    part >= HOUR - LAST_OF_HOUR
}
