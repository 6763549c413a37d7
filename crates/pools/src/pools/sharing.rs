//! Pools that have more than their share of a common maximum give way to pools that have less: not by ending builds, but
//! by giving machines no more of them. Dealing out new machines fairly is not enough: a pool whose queue never ends
//! would never need a new one, and keep all it has.

use std::cmp::Reverse;

use model::{InstanceId, Time};

use super::Pools;
use crate::{Demand, ReasonCode, State, Waiting, demand::DemandBuilder, plan::PoolPlan};

/// A pool, as far as sharing is concerned.
struct Party {
    at: usize,
    /// How many machines it may have when all want more.
    share: u32,
    /// How many it has.
    live: u32,
    /// How many of those are on their way out.
    leaving: u32,
    /// How many more its requests want and do not get because of the common maximum.
    needs: u32,
    /// How urgent the most urgent of these is.
    wanting: Option<i64>,
    /// How many it may give.
    spare: u32,
    /// How urgent the most urgent of all that wait for it is.
    urgency: Option<i64>,
}

impl Pools {
    /// Lets machines go from pools that have too many to pools that have too few.
    pub(super) fn give_way(&mut self, now: Time, demand: &Demand, plans: &[(usize, &PoolPlan)]) {
        let Some(max) = self.limits.max else { return };
        if plans.iter().all(|(_, plan)| plan.crowded == 0) {
            return;
        }
        let mut parties: Vec<Party> = plans
            .iter()
            // What another master has, only that one lets go.
            .filter(|(at, _)| self.pools[*at].owned())
            .map(|(at, plan)| {
                let pool = &self.pools[*at];
                let leaving =
                    [State::Draining, State::Stopping, State::Terminating].map(|state| pool.count(state));
                let (live, leaving) = (pool.live(), leaving.iter().sum());
                let (needs, wanting) = (plan.crowded, plan.crowded_class);
                let urgency = self.urgency(*at, demand);
                Party { at: *at, share: 0, live, leaving, needs, wanting, spare: plan.min, urgency }
            })
            .filter(|party| party.live > 0 || party.needs > 0)
            .collect();
        let weight = |party: &Party| u64::from(self.pools[party.at].spec.weight.get());
        let weights: u64 = parties.iter().map(weight).sum();
        let shares: Vec<u32> = parties
            .iter()
            .map(|party| u32::try_from(u64::from(max) * weight(party) / weights.max(1)).unwrap_or(max).max(1))
            .collect();
        for (party, share) in parties.iter_mut().zip(shares) {
            let least = share.max(party.spare);
            (party.share, party.spare) =
                (share, party.live.saturating_sub(party.leaving).saturating_sub(least));
        }
        let poor = parties.iter().filter(|party| party.needs > 0 && party.live < party.share);
        let urgency = poor.clone().filter_map(|party| party.wanting).max();
        let names: Vec<&str> = poor.clone().map(|party| self.pools[party.at].name()).collect();
        let text = format!(
            "gives way to {}: no pool has more than its share of {max} machines while another one has less",
            names.join(", ")
        );
        let owed: u32 = poor.map(|party| party.needs.min(party.share - party.live)).sum();
        let leaving: u32 = parties.iter().map(|party| party.leaving).sum();
        let mut owed = owed.saturating_sub(leaving);
        // Those whose requests are more urgent keep what they have.
        parties.retain(|party| party.spare > 0 && party.urgency <= urgency);
        parties.sort_by_key(|party| (Reverse(party.spare), party.at));
        for party in parties {
            let count = party.spare.min(owed);
            owed -= count;
            for id in self.givable(party.at, count) {
                self.drain(now, id, ReasonCode::GlobalMax, text.clone(), None);
            }
        }
    }

    /// How urgent a pool's requests are: where the class of the most urgent one begins.
    fn urgency(&self, at: usize, demand: &Demand) -> Option<i64> {
        self.waiting_for(at, demand).map(|waiting| self.pools[at].spec.class(waiting.priority).from).max()
    }

    /// What waits for a pool, alone or among others.
    pub(super) fn waiting_for<'a>(&self, at: usize, demand: &'a Demand) -> impl Iterator<Item = &'a Waiting> {
        let name = self.pools[at].name();
        let builds = |builder: &DemandBuilder| builder.pools.iter().any(|pool| **pool == *name);
        let mine: Vec<bool> = demand.builders.iter().map(builds).collect();
        demand.requests.iter().filter(move |waiting| mine.get(waiting.builder).copied().unwrap_or(false))
    }

    /// Machines that a pool gives: those without work, then those that have built the longest.
    fn givable(&self, at: usize, count: u32) -> Vec<InstanceId> {
        let pool = &self.pools[at];
        let mut busy: Vec<(Time, InstanceId)> = Vec::new();
        let mut ids: Vec<InstanceId> = Vec::new();
        let hired = |id: &InstanceId| self.entries.get(id).filter(|entry| !entry.is_guest());
        ids.extend(pool.idle.iter().map(|(_, id)| *id).filter(|id| hired(id).is_some()));
        if ids.len() < count as usize {
            busy.extend(pool.busy.iter().filter_map(|id| Some((hired(id)?.row.since, *id))));
            busy.sort_unstable();
            ids.extend(busy.into_iter().map(|(_, id)| id));
        }
        ids.truncate(count as usize);
        ids
    }
}
