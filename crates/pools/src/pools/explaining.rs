//! What there is to see, and why it is so.

use model::Time;

use super::{
    BootStatus, BreakerStatus, ClosedOffering, InstanceStatus, PoolStatus, Pools, Reason, Spend, books,
    entry::Entry, pool::Pool, waiting::span,
};
use crate::{ReasonCode, State};

/// Decisions that a status shows.
const SHOWN: usize = 50;

impl Pools {
    /// A pool as it is now.
    pub(super) fn pool_status(&self, now: Time, at: usize) -> PoolStatus {
        let pool = &self.pools[at];
        let learned = &pool.state.learned;
        let spend = self.spend(now, at);
        let times = learned.boots.pooled();
        let states = [
            State::Planned,
            State::Requested,
            State::Booting,
            State::Suspect,
            State::ReadyCheck,
            State::Idle,
            State::Busy,
            State::Draining,
            State::Stopping,
            State::Stopped,
            State::Lost,
            State::Quarantined,
            State::Held,
            State::Terminating,
        ];
        PoolStatus {
            name: pool.name().to_owned(),
            max: pool.spec.max,
            min: pool.min.max(pool.spec.min.min(pool.spec.max)),
            wanted: pool.wanted,
            live: pool.live(),
            by_state: states
                .into_iter()
                .map(|state| (state, pool.count(state)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            instances: pool
                .members
                .iter()
                .filter_map(|id| self.entries.get(id))
                .map(|entry| self.instance_status(now, pool, entry))
                .collect(),
            pending: pool.pending,
            paused: pool.state.paused.clone(),
            scaled: pool.state.scaled,
            owner: pool.owned(),
            fence: pool.lease.fence,
            listed: pool.listing.complete,
            removed: pool.removed,
            breaker: learned.breaker.room(now, 0).map(|room| BreakerStatus {
                since: learned.breaker.open_since().unwrap_or(now),
                code: room.code,
                text: room.text,
            }),
            closed: learned
                .offerings
                .closed(now)
                .into_iter()
                .map(|closed| ClosedOffering { name: closed.name, until: closed.until, code: closed.code })
                .collect(),
            spend: Spend { hour_rate: spend.rate, day: spend.day, month: spend.month },
            budget: pool.spec.budget,
            boot: BootStatus {
                p50_s: times.p50,
                p95_s: times.p95,
                samples: times.samples,
                connect_rate: times.connect_rate,
            },
            idle_timeout_s: pool.idle_timeout.map(|timeout| timeout.as_secs_f64()),
            last: pool.last.clone(),
            decisions: pool
                .decisions
                .iter()
                .skip(pool.decisions.len().saturating_sub(SHOWN))
                .cloned()
                .collect(),
            totals: pool.totals.clone(),
        }
    }

    fn instance_status(&self, now: Time, pool: &Pool, entry: &Entry) -> InstanceStatus {
        let row = &entry.row;
        InstanceStatus {
            id: row.id,
            slot: row.slot.to_string(),
            state: row.state,
            origin: row.origin,
            offering: row.offering.clone(),
            market: row.market,
            price: row.price,
            cost: books::cost_so_far(row, pool.spec.billing, now),
            provider_id: row.provider_id.clone(),
            image: row.image.clone(),
            old_template: pool.is_outdated(entry),
            builds: row.builds,
            running: entry.running.keys().copied().collect(),
            causes: row.causes.clone(),
            planned_at: row.planned_at,
            launched_at: row.launched_at,
            connected_at: row.connected_at,
            since: row.since,
            held_until: row.held_until,
            deadline: row.drain.as_ref().and_then(|drain| drain.deadline),
            started: Reason { code: row.code, text: row.text.clone() },
            drain: row.drain.as_ref().map(|drain| Reason { code: drain.code, text: drain.text.clone() }),
            why: self.why(now, pool, entry),
        }
    }

    /// Why an instance is kept, and what comes next.
    fn why(&self, now: Time, pool: &Pool, entry: &Entry) -> String {
        let row = &entry.row;
        let left = |until: Time| span(until.since(now));
        let reason = || row.drain.as_ref().map_or_else(String::new, |drain| format!(": {}", drain.text));
        let builds = match entry.running.len() {
            0 => "nothing".to_owned(),
            1 => "one build".to_owned(),
            n => format!("{n} builds"),
        };
        let open = matches!(row.state, State::Idle | State::Busy);
        if let Some(withheld) = entry.withheld.as_ref().filter(|_| open) {
            return format!("gets no builds, runs {builds}: {withheld}");
        }
        match row.state {
            State::Planned => "the provider is asked for it as soon as it takes another call".to_owned(),
            State::Requested if now.since(entry.boot_from).as_secs() > 60 => {
                "the provider has not said whether there is a machine; the next listing shows it".to_owned()
            }
            State::Requested => "the provider is asked for it".to_owned(),
            State::Booting => {
                let times = pool.boot_times(entry);
                let age = now.since(entry.boot_from);
                let rest =
                    std::time::Duration::from_secs_f64((times.p50 - age.as_secs_f64()).max(0.15 * times.p50));
                format!("boots for {}; is expected in {}", span(age), span(rest))
            }
            State::Suspect => {
                let timeout = left(self.boot_timeout_at(now, entry));
                format!(
                    "boots for {}, and hardly comes any more; is given up in {timeout}",
                    span(now.since(entry.boot_from))
                )
            }
            State::ReadyCheck => "its worker is connected, and is being checked".to_owned(),
            State::Idle => self.why_idle(now, pool, entry),
            State::Busy => format!("runs {builds}"),
            State::Draining => match row.drain.as_ref().and_then(|drain| drain.deadline) {
                Some(at) => {
                    format!("goes when {builds} on it is done, in {} at the latest{}", left(at), reason())
                }
                None => format!("goes when {builds} on it is done{}", reason()),
            },
            State::Stopping => "is being stopped, to be started again when it is needed".to_owned(),
            State::Stopped => match pool.spec.stopped {
                Some(stopped) => {
                    format!("is stopped, and ended in {} if it is not needed", left(row.since + stopped.age))
                }
                None => "is stopped, and ended soon".to_owned(),
            },
            State::Lost if entry.adopted => {
                "ran while this master did not; its worker is expected back".to_owned()
            }
            State::Lost => {
                format!("its connection has been gone for {}; it may come back", span(now.since(row.since)))
            }
            State::Quarantined => format!("runs {builds}, and gets no more{}", reason()),
            State::Held => match row.held_until {
                Some(until) => format!("is held for another {}{}", left(until), reason()),
                None => format!("is held{}", reason()),
            },
            State::Terminating => {
                let ended = row.ended.as_ref().map_or("", |ended| ended.text.as_str());
                match (&entry.ending.acked, entry.ending.tries, pool.owned()) {
                    (_, _, false) => format!("is ended once this master has the pool: {ended}"),
                    (Some(_), ..) => format!("is on its way out: {ended}"),
                    (None, 0, _) => format!("the provider is asked to end it: {ended}"),
                    (None, tries, _) => {
                        format!("the provider was asked {tries} times in vain to end it: {ended}")
                    }
                }
            }
            State::Gone => row.ended.as_ref().map_or_else(String::new, |ended| ended.text.clone()),
        }
    }

    fn why_idle(&self, now: Time, pool: &Pool, entry: &Entry) -> String {
        let idle = now.since(entry.row.since);
        let count = pool.count(State::Idle);
        let there = count + pool.count(State::Busy) + u32::try_from(pool.coming.len()).unwrap_or(u32::MAX);
        if entry.is_guest() {
            return format!("has no work for {}; it came by itself, and goes by itself", span(idle));
        }
        match pool.idle_timeout {
            _ if there <= pool.min => {
                format!("has no work for {}; is kept for the minimum of {}", span(idle), pool.min)
            }
            _ if count <= pool.warm => {
                format!("has no work for {}; {} are kept ready", span(idle), pool.warm)
            }
            None => format!("has no work for {}; is kept for ever", span(idle)),
            Some(timeout) if timeout > idle => {
                format!(
                    "has no work for {}; goes in {} unless there is some",
                    span(idle),
                    span(timeout.saturating_sub(idle))
                )
            }
            Some(_) => format!("has no work for {}; goes at the next pass unless it is needed", span(idle)),
        }
    }

    /// Why a pool does what it does, by its last pass.
    pub(super) fn last_code(&self, at: usize) -> Option<ReasonCode> {
        self.pools[at].last.as_ref().map(|last| last.code)
    }
}
