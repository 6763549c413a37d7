//! What must be true at every step. Looks at everything, so that nothing else has to be believed.

use std::collections::{BTreeMap, BTreeSet};

use model::Time;

use super::{Pools, entry::Entry, pool::Pool};
use crate::{ReasonCode, State};

impl Pools {
    /// What is wrong, if something is.
    pub(super) fn find_fault(&self, now: Time) -> Option<String> {
        self.pools.iter().enumerate().find_map(|(at, pool)| self.fault_of_pool(at, pool)).or_else(|| {
            self.entries
                .values()
                .find_map(|entry| self.fault_of(now, entry))
                .or_else(|| self.fault_of_calls())
        })
    }

    fn fault_of_pool(&self, at: usize, pool: &Pool) -> Option<String> {
        let name = pool.name();
        let mut counts: BTreeMap<State, u32> = BTreeMap::new();
        let (mut slots, mut ids) = (BTreeSet::new(), BTreeSet::new());
        let (mut rate, mut running, mut live) = (0, 0, 0);
        for (id, entry) in
            self.entries.iter().filter(|(_, entry)| entry.pool == at && entry.state() != State::Gone)
        {
            *counts.entry(entry.state()).or_default() += 1;
            if !pool.members.contains(id) {
                return Some(format!(
                    "instance {id} is in state {:?} and not a member of {name}",
                    entry.state()
                ));
            }
            if !slots.insert(entry.row.slot.number) {
                return Some(format!("two instances of {name} have slot {}", entry.row.slot.number));
            }
            if let Some(provider_id) = &entry.row.provider_id
                && (!ids.insert(provider_id) || pool.by_provider_id.get(provider_id) != Some(id))
            {
                return Some(format!("machine {provider_id} belongs to two instances of {name}, or to none"));
            }
            live += u32::from(entry.is_live());
            if entry.costs() {
                rate += entry.row.price.0;
            }
            if entry.state() == State::Busy {
                running += entry.running.len();
            }
        }
        let total: u32 = counts.values().sum();
        if pool.members.len() != total as usize {
            return Some(format!("{name} has {} members and {total} instances", pool.members.len()));
        }
        for (state, count) in &counts {
            if pool.count(*state) != *count {
                return Some(format!(
                    "{name} counts {} instances in state {state:?}, and has {count}",
                    pool.count(*state)
                ));
            }
        }
        let indexed = (pool.idle.len(), pool.busy.len(), pool.stopped.len());
        let counted = [State::Idle, State::Busy, State::Stopped].map(|state| pool.count(state) as usize);
        if indexed != (counted[0], counted[1], counted[2]) {
            return Some(format!(
                "the lists of {name} have {indexed:?} instances, and its counts are {counted:?}"
            ));
        }
        if pool.rate().0 != rate {
            return Some(format!("{name} costs {rate} an hour, and counts {}", pool.rate().0));
        }
        if pool.running.len() != running || pool.running_of.len() != running {
            return Some(format!("{name} runs {running} builds, and counts {}", pool.running.len()));
        }
        if pool.live() != live {
            return Some(format!("{name} has {live} live instances, and counts {}", pool.live()));
        }
        let most = pool.max_with_overflow().max(pool.allowance);
        if pool.live() > most {
            return Some(format!("{name} has {} live instances, and may have {most}", pool.live()));
        }
        if let Some(hour) = pool.spec.budget.hour
            && pool.rate() > hour.max(pool.rate_allowance)
        {
            return Some(format!("{name} costs {} an hour, and may cost {hour}", pool.rate()));
        }
        None
    }

    fn fault_of(&self, now: Time, entry: &Entry) -> Option<String> {
        let (row, id) = (&entry.row, entry.id());
        let state = row.state;
        let pool = &self.pools[entry.pool];
        if !matches!(state, State::Busy | State::Draining | State::Lost | State::Quarantined | State::Held)
            && !matches!(state, State::Terminating | State::Gone)
            && !entry.running.is_empty()
        {
            return Some(format!("instance {id} runs builds and is in state {state:?}"));
        }
        if state == State::Busy && entry.running.is_empty() {
            return Some(format!("instance {id} is busy with nothing"));
        }
        if state == State::Terminating && !entry.running.is_empty() && !entry.interrupted {
            return Some(format!("instance {id} is ended with builds on it that nobody has given up"));
        }
        if matches!(state, State::Terminating | State::Gone) && row.verifier.is_some() {
            return Some(format!("instance {id} is in state {state:?} and could still log in"));
        }
        if matches!(state, State::Terminating | State::Gone) && row.ended.is_none() {
            return Some(format!("instance {id} is in state {state:?}, and nobody knows why"));
        }
        if state == State::Gone && (row.ended_at.is_none() || row.cost.is_none()) {
            return Some(format!("instance {id} is gone, and the books do not say when or for how much"));
        }
        if state == State::Draining && (row.drain.is_none() || !entry.closed && !entry.adopted) {
            return Some(format!("instance {id} drains, and the dispatcher does not know"));
        }
        if state == State::Held && row.held_until.is_none() {
            return Some(format!("instance {id} is held for ever"));
        }
        if row.text.is_empty() {
            return Some(format!("nobody knows why instance {id} was started"));
        }
        let unknown = matches!(state, State::Planned | State::Requested);
        if unknown && !self.calls.get(&row.token).is_some_and(|call| call.members.contains(&id)) {
            return Some(format!("instance {id} is in state {state:?}, and no call is for it"));
        }
        let waits = matches!(
            state,
            State::Booting
                | State::Suspect
                | State::ReadyCheck
                | State::Lost
                | State::Stopping
                | State::Stopped
                | State::Held
        );
        let due = self.due(now, entry);
        if waits && due.is_none() {
            return Some(format!("instance {id} would be in state {state:?} for ever"));
        }
        let waits_for_call = self.calls.contains_key(&row.token) || entry.row.provider_id.is_none();
        if state == State::Terminating && due.is_none() && pool.owned() && !waits_for_call {
            return Some(format!("nobody asks the provider to end instance {id} any more"));
        }
        None
    }

    fn fault_of_calls(&self) -> Option<String> {
        for (token, call) in &self.calls {
            for id in &call.members {
                let Some(entry) = self.entries.get(id) else {
                    return Some(format!("call {token} is for instance {id}, which nobody knows"));
                };
                if &entry.row.token != token || entry.state() == State::Gone {
                    return Some(format!(
                        "call {token} is for instance {id}, which is {}",
                        entry.state().name()
                    ));
                }
            }
        }
        // Each pass of each pool comes to something that can be said.
        let planned = self.last_pass.is_some() && !self.plans.is_empty();
        let silent = |at: &&usize| {
            let pool = &self.pools[**at];
            !pool.removed
                && pool.totals.passes > 0
                && self.last_code(**at).is_none_or(|code| code == ReasonCode::Unknown)
        };
        let silent = self.names.values().find(silent).filter(|_| planned)?;
        Some(format!("the last pass of {} has no reason", self.pools[*silent].name()))
    }
}
