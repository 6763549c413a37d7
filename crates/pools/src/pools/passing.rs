//! A pass: what is wanted is compared with what is there, and the difference is carried out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::{BuildRequestId, BuilderId, Time};

use super::{Pools, Reason, entry::Entry, pool::Pool};
use crate::{
    Demand, Offering, ReasonCode, State, Waiting,
    demand::DemandBuilder,
    learn::BootTimes,
    plan::{self, Coming, Common, Partly, PoolPlan, Room, Spend, Supply, View},
};

/// From one pass to the next while there is something to watch.
const PERIOD: Duration = Duration::from_secs(5);
/// From something that happened to the pass that looks at it.
const KICK: Duration = Duration::from_secs(1);
/// From one pass to the next when only a timetable can make a difference.
const QUIET: Duration = Duration::from_secs(30);
/// A call is answered within this time, or it counts no more.
const CALL: Duration = Duration::from_secs(60);
/// Machines that ran while the master did not are expected back for so long.
const BACK: Duration = Duration::from_secs(60);
/// A connection that is gone is expected back for so long.
const BLIP: Duration = Duration::from_secs(30);
/// How long that takes.
const RETURN: BootTimes = BootTimes { p50: 30.0, p95: 60.0, samples: 0, connect_rate: 0.99 };
/// What was learned is written so often at most.
const SAVE: Duration = Duration::from_secs(10);

/// What a view of a pool borrows.
struct Parts {
    at: usize,
    partly: Vec<Partly>,
    full: u32,
    coming: Vec<Coming>,
    open: u32,
    stopped: u32,
    rooms: Vec<Room>,
    spend: Spend,
}

impl Pools {
    /// A pass within a second, but not more than one a second.
    pub(super) fn kick_at(&mut self, now: Time) {
        let at = self.last_pass.map_or(now + KICK, |last| (last + KICK).max(now + KICK));
        self.next_pass = Some(self.next_pass.map_or(at, |next| next.min(at)));
    }

    /// See [`Pools::plan`].
    pub(super) fn plans(&self, now: Time, demand: &Demand) -> Vec<PoolPlan> {
        let parts: Vec<Parts> = self.active().map(|at| self.parts(now, at)).collect();
        self.plan_with(now, demand, &parts)
    }

    fn plan_with(&self, now: Time, demand: &Demand, parts: &[Parts]) -> Vec<PoolPlan> {
        let views: Vec<View<'_>> = parts.iter().map(|parts| self.view(parts)).collect();
        let spends: Vec<Spend> = parts.iter().map(|parts| parts.spend).collect();
        let common = Common {
            limits: self.limits,
            live: self.pools.iter().map(Pool::live).sum(),
            spend: Self::total(&spends),
        };
        let endangered = self.with_endangered(demand);
        let demand = endangered.as_ref().map_or(demand, |(demand, _)| demand);
        let mut plans = plan::plan(now, demand, &views, &common, &self.jobs);
        if let Some((_, replaced)) = &endangered {
            for launch in plans.iter_mut().flat_map(|plan| &mut plan.launches) {
                if !launch.causes.is_empty() && launch.causes.iter().all(|cause| replaced.contains(cause)) {
                    launch.code = ReasonCode::Replacement;
                    launch.text = "takes over builds whose machine the market takes back".to_owned();
                }
            }
        }
        plans
    }

    /// Pools that are planned, by name.
    fn active(&self) -> impl Iterator<Item = usize> {
        self.names.values().copied().filter(|at| !self.pools[*at].removed)
    }

    /// See [`Pools::pass`].
    pub(super) fn run_pass(&mut self, now: Time, demand: &Demand) {
        (self.last_pass, self.next_pass) = (Some(now), None);
        let active: Vec<usize> = self.active().collect();
        for at in &active {
            self.judge(now, *at);
        }
        let parts: Vec<Parts> = active.iter().map(|at| self.parts(now, *at)).collect();
        let plans = self.plan_with(now, demand, &parts);
        let spends: Vec<(usize, Spend)> = parts.iter().map(|parts| (parts.at, parts.spend)).collect();
        drop(parts);
        for (at, plan) in active.iter().zip(&plans) {
            if self.pools[*at].owned() {
                self.call_off(now, *at, plan.cancel);
                self.launch(now, *at, &plan.launches);
                self.lay_off(now, *at, plan);
            }
            self.report(now, *at, plan);
        }
        self.shed(now, demand, &spends);
        let planned: Vec<(usize, &PoolPlan)> = active.iter().copied().zip(&plans).collect();
        self.give_way(now, demand, &planned);
        self.save(now, &active);
        self.plans = plans;
        let pending = !demand.requests.is_empty();
        self.after_pass(now, &active, pending);
    }

    fn after_pass(&mut self, now: Time, active: &[usize], pending: bool) {
        let live = self.pools.iter().any(|pool| !pool.members.is_empty());
        let minimum = |at: &usize| {
            let pool = &self.pools[*at];
            !pool.spec.schedule.is_empty() || pool.wanted > 0
        };
        let next = if live || pending {
            Some(now + PERIOD)
        } else if active.iter().any(minimum) {
            Some(now + QUIET)
        } else {
            None
        };
        // A pass may have led to something that another one should look at.
        self.next_pass = self.next_pass.into_iter().chain(next).min();
    }

    /// Whether machines of a pool come up at all.
    pub(super) fn judge(&mut self, now: Time, at: usize) {
        let pool = &mut self.pools[at];
        let age = pool.state.learned.boots.pooled().suspect_age();
        let Some(change) = pool.state.learned.breaker.judge(now, age) else { return };
        self.note_pool(now, at, ReasonCode::Breaker, change.text);
        self.out.pools.insert(at);
        self.kick(now);
    }

    fn view<'a>(&'a self, parts: &'a Parts) -> View<'a> {
        let pool = &self.pools[parts.at];
        let offerings: &[Offering] =
            pool.capabilities.as_ref().map_or(&[], |capabilities| &capabilities.offerings);
        View {
            spec: &pool.spec,
            learned: &pool.state.learned,
            image: &pool.image,
            offerings,
            supply: Supply {
                live: pool.live(),
                idle: pool.count(State::Idle) - self.withheld_idle(parts.at),
                partly: &parts.partly,
                full: parts.full,
                running: &pool.running,
                coming: &parts.coming,
                open: parts.open,
                stopped: parts.stopped,
            },
            scaled: pool.state.scaled,
            rooms: &parts.rooms,
            spend: parts.spend,
        }
    }

    fn parts(&self, now: Time, at: usize) -> Parts {
        let pool = &self.pools[at];
        let mut partly = Vec::new();
        if pool.spec.max_builds.is_none_or(|most| most.get() > 1) {
            let open = pool.busy.difference(&pool.withheld);
            for entry in open.filter_map(|id| self.entries.get(id)) {
                let room = self.room(pool, entry);
                if room > 0 {
                    partly
                        .push(Partly { runs: entry.running.values().map(|run| run.builder).collect(), room });
                }
            }
        }
        let full = pool.count(State::Busy) - u32::try_from(partly.len()).unwrap_or(0);
        let mut times: BTreeMap<(&str, &str), BootTimes> = BTreeMap::new();
        let mut boot = |entry: &'_ Entry| {
            let kind = self
                .entries
                .get(&entry.id())
                .map_or(("", ""), |entry| (&*entry.row.image, &*entry.row.offering));
            *times.entry(kind).or_insert_with(|| pool.state.learned.boots.times(kind.0, kind.1))
        };
        let mut coming = Vec::new();
        for entry in pool.coming.iter().filter_map(|id| self.entries.get(id)) {
            let since = match entry.state() {
                State::Planned => None,
                // The provider has it, and looks for a machine.
                State::Requested if self.is_open(entry) => None,
                // Nobody knows whether there is a machine at all.
                State::Requested if now.since(entry.boot_from) > CALL || self.is_absent(entry) => continue,
                _ => Some(entry.boot_from),
            };
            coming.push(Coming { since, boot: boot(entry) });
        }
        // A connection that is gone is usually back before another machine could be there.
        for entry in pool.lost.iter().filter_map(|id| self.entries.get(id)) {
            let since = if entry.adopted { self.started_at } else { entry.row.since };
            if since + if entry.adopted { BACK } else { BLIP } > now {
                coming.push(Coming { since: Some(since), boot: RETURN });
            }
        }
        let outdated =
            |id: &&model::InstanceId| self.entries.get(id).is_some_and(|entry| pool.is_outdated(entry));
        let stopped = pool.stopped.len() - pool.stopped.iter().filter(outdated).count();
        Parts {
            at,
            partly,
            full,
            coming,
            open: self.open_members(at),
            stopped: u32::try_from(stopped).unwrap_or(u32::MAX),
            rooms: self.rooms(now, pool),
            spend: self.spend_for_budgets(now, at),
        }
    }

    /// How many more builds a busy machine can take.
    fn room(&self, pool: &Pool, entry: &Entry) -> u32 {
        let running = u32::try_from(entry.running.len()).unwrap_or(u32::MAX);
        let room = pool.spec.max_builds.map_or(u32::MAX, |most| most.get().saturating_sub(running));
        room.min(self.builds_left(entry).unwrap_or(u32::MAX))
    }

    /// What stands against starting machines that only the pool itself knows.
    fn rooms(&self, now: Time, pool: &Pool) -> Vec<Room> {
        let mut rooms = Vec::new();
        let mut nothing = |code, text: String| rooms.push(Room { code, more: 0, text });
        let name = pool.name();
        if pool.lease.stale {
            nothing(
                ReasonCode::NotOwner,
                format!(
                    "another master had pool {name} in between: this one must be started again to know its machines"
                ),
            );
        } else if pool.lease.fence.is_none() {
            nothing(ReasonCode::NotOwner, format!("another master has pool {name}"));
        }
        if self.ending {
            nothing(ReasonCode::Ending, "the master is about to end, and starts no more machines".to_owned());
        }
        if let Some(reason) = &pool.state.paused {
            nothing(ReasonCode::Paused, format!("somebody paused pool {name}: {reason}"));
        }
        match &pool.listing.error {
            _ if pool.listing.complete => {}
            Some(error) => nothing(
                ReasonCode::NotListed,
                format!("the provider has not yet listed the machines of pool {name}: {error}"),
            ),
            None => nothing(
                ReasonCode::NotListed,
                format!("the ledger of pool {name} was not yet compared with the provider's machines"),
            ),
        }
        let Some(capabilities) = &pool.capabilities else {
            if rooms.is_empty() {
                let text = format!("the provider of pool {name} has not yet said what it sells");
                rooms.push(Room { code: ReasonCode::NoCapacity, more: 0, text });
            }
            return rooms;
        };
        if let Some(quota) = &capabilities.quota {
            let text = format!("the provider's quota {} allows no more", quota.name);
            rooms.push(Room {
                code: ReasonCode::Quota,
                more: quota.headroom.saturating_sub(pool.asked),
                text,
            });
        }
        let calls = pool.calls.has(now).saturating_mul(capabilities.batch.max(1));
        let text = "the provider takes no more calls for now".to_owned();
        rooms.push(Room { code: ReasonCode::ApiTokens, more: calls.min(pool.machines.has(now)), text });
        rooms
    }

    /// What was decided and what was not, for those who ask.
    fn report(&mut self, now: Time, at: usize, plan: &PoolPlan) {
        let pool = &mut self.pools[at];
        pool.totals.passes += 1;
        (pool.wanted, pool.min, pool.warm, pool.idle_timeout) =
            (plan.wanted, plan.min, plan.warm, plan.idle_timeout);
        pool.pending = u32::try_from(plan.requests.len()).unwrap_or(u32::MAX);
        let code = plan.code.unwrap_or(ReasonCode::NoDemand);
        // Most passes say what the one before said.
        let same =
            pool.last.as_ref().is_some_and(|last| last.code == code && pool.said_of == plan.requests.len());
        if !same || !plan.launches.is_empty() {
            pool.last = Some(Reason { code, text: plan.sentence() });
            pool.said_of = plan.requests.len();
        }
        let denied: BTreeSet<ReasonCode> = plan.denied.iter().map(|denied| denied.code).collect();
        let news: Vec<_> =
            plan.denied.iter().filter(|denied| !pool.denied.contains(&denied.code)).cloned().collect();
        pool.denied = denied;
        for denied in news {
            self.note_pool(now, at, denied.code, denied.text);
        }
    }

    /// What was learned is written now and then.
    fn save(&mut self, now: Time, active: &[usize]) {
        for at in active {
            let pool = &mut self.pools[*at];
            if pool.unsaved && pool.saved_at.is_none_or(|saved| now.since(saved) >= SAVE) {
                pool.saved_at = Some(now);
                self.out.pools.insert(*at);
            }
        }
    }

    /// Builds that are likely to be lost with their machine wait for another one already now.
    fn with_endangered(&self, demand: &Demand) -> Option<(Demand, BTreeSet<BuildRequestId>)> {
        if self.pools.iter().all(|pool| pool.endangered.is_empty()) {
            return None;
        }
        let (mut more, mut builders) = (Vec::new(), demand.builders.clone());
        for (request, run, entry) in self.endangered() {
            if self.ends_in_time(run.builder, run.since, entry) {
                continue;
            }
            let known = builders.iter().position(|builder| builder.id == run.builder);
            let builder = known.unwrap_or_else(|| {
                let pools = vec![self.pools[entry.pool].name().into()];
                builders.push(DemandBuilder { id: run.builder, pools });
                builders.len() - 1
            });
            more.push(Waiting {
                request,
                builder,
                priority: run.priority,
                submitted_at: run.since,
                needs: Vec::new(),
                collapses_into: None,
                losses: 1,
                lost_on: Some(entry.row.offering.as_str().into()),
            });
        }
        if more.is_empty() {
            return None;
        }
        let replaced = more.iter().map(|waiting| waiting.request).collect();
        let mut demand = demand.clone();
        more.append(&mut demand.requests);
        (demand.builders, demand.requests) = (builders, more);
        Some((demand, replaced))
    }

    /// Whether a build is more likely than not to end before its machine goes.
    fn ends_in_time(&self, builder: BuilderId, since: Time, entry: &Entry) -> bool {
        let Some(deadline) = entry.row.drain.as_ref().and_then(|drain| drain.deadline) else { return true };
        let prior = self.jobs.prior(&self.pools[entry.pool].state.learned.durations);
        let model = self.jobs.model(builder, &prior);
        let warned = entry.row.since;
        model.ends_within(warned.since(since).as_secs_f64(), deadline.since(warned).as_secs_f64()) > 0.5
    }
}
