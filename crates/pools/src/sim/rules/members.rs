//! The machines of a rule: the least bookkeeping that all of them need.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use model::{InstanceId, Time};

use super::super::{cloud::Buckets, run::Setting};
use crate::{
    Batch, Event, Order, Token,
    provider::{LaunchRequest, Member as Wanted},
};

/// After so long a machine that has not connected is given up (Buildbot's `missing_timeout` is 20 min).
const BOOT_TIMEOUT: Duration = Duration::from_secs(1200);

/// The machines of a rule.
#[derive(Debug)]
pub(super) struct Members {
    pool: String,
    template: String,
    image: String,
    offering: String,
    max: u32,
    all: Vec<Member>,
    booting: BTreeSet<(Time, InstanceId)>,
    leaving: BTreeSet<(Time, InstanceId)>,
    busy: BTreeSet<InstanceId>,
    buckets: Buckets,
    calls: u64,
    took: VecDeque<Duration>,
}

#[derive(Debug)]
struct Member {
    asked_at: Time,
    provider_id: Option<String>,
    phase: Phase,
    since: Time,
    builds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Booting,
    Idle(Time),
    Busy,
    Gone,
}

impl Members {
    pub(super) fn new(setting: &Setting) -> Self {
        let pool = &setting.pools[0];
        let cloud = &setting.clouds[0];
        Self {
            pool: pool.name.clone(),
            template: pool.template.clone(),
            image: pool.image.clone(),
            offering: cloud.offerings.first().map(|offering| offering.name.clone()).unwrap_or_default(),
            max: pool.max,
            all: Vec::new(),
            booting: BTreeSet::new(),
            leaving: BTreeSet::new(),
            busy: BTreeSet::new(),
            buckets: Buckets::new(cloud.api),
            calls: 0,
            took: VecDeque::new(),
        }
    }

    pub(super) fn booting(&self) -> u32 {
        count(self.booting.len())
    }

    pub(super) fn idle(&self) -> u32 {
        count(self.leaving.len())
    }

    pub(super) fn busy(&self) -> u32 {
        count(self.busy.len())
    }

    pub(super) fn max(&self) -> u32 {
        self.max
    }

    /// How many more machines there may be.
    pub(super) fn absent(&self) -> u32 {
        self.max.saturating_sub(self.booting() + self.idle() + self.busy())
    }

    /// Machines without work.
    pub(super) fn idle_ones(&self) -> impl ExactSizeIterator<Item = InstanceId> {
        self.leaving.iter().map(|(_, instance)| *instance)
    }

    /// Since when each machine with work has its build.
    pub(super) fn busy_since(&self) -> impl Iterator<Item = Time> {
        self.busy.iter().map(|instance| self.all[index(*instance)].since)
    }

    /// When each live machine was asked for.
    pub(super) fn asked_at(&self) -> impl Iterator<Item = Time> {
        let live = self.booting.iter().chain(&self.leaving).map(|(_, instance)| *instance);
        live.chain(self.busy.iter().copied()).map(|instance| self.all[index(instance)].asked_at)
    }

    /// How many seconds builds took lately, on average, and their deviation, when any is known.
    pub(super) fn durations(&self) -> Option<(f64, f64)> {
        let len = f64::from(count(self.took.len()));
        let mean = self.took.iter().map(Duration::as_secs_f64).sum::<f64>() / len;
        let variance = self.took.iter().map(|took| (took.as_secs_f64() - mean).powi(2)).sum::<f64>() / len;
        mean.is_finite().then(|| (mean, variance.sqrt()))
    }

    pub(super) fn admits(&self, instance: InstanceId) -> bool {
        self.all.get(index(instance)).is_some_and(|member| member.phase != Phase::Gone)
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        let boot = self.booting.first().map(|(asked_at, _)| *asked_at + BOOT_TIMEOUT);
        let leave = self.leaving.first().map(|(at, _)| *at);
        [boot, leave].into_iter().flatten().min()
    }

    /// Takes note of an event. Gives the machine that has no work from now on, if there is one, and when it was asked for.
    pub(super) fn note(&mut self, now: Time, event: Event, batch: &mut Batch) -> Option<(InstanceId, Time)> {
        match event {
            Event::Launched { token, result } => {
                let machines = result.map(|launched| launched.machines).unwrap_or_default();
                let (first, members) = members_of(&token)?;
                if first == i64::MAX {
                    return None;
                }
                for machine in machines {
                    if let Some(member) = machine.member.and_then(|id| self.all.get_mut(index(id))) {
                        member.provider_id = Some(machine.provider_id);
                    }
                }
                for id in first..first + members {
                    let instance = InstanceId(id);
                    if self.all.get(index(instance)).is_some_and(|member| member.provider_id.is_none()) {
                        self.set(instance, Phase::Gone, now);
                    }
                }
                None
            }
            Event::Ready { instance } => Some(self.rest(now, instance)),
            Event::BuildStarted { instance, .. } => {
                self.set(instance, Phase::Busy, now);
                self.all.get_mut(index(instance))?.builds += 1;
                None
            }
            Event::BuildEnded { instance, .. } => {
                let member = self.all.get_mut(index(instance))?;
                member.builds = member.builds.saturating_sub(1);
                (member.builds == 0 && member.phase == Phase::Busy).then(|| self.rest(now, instance))
            }
            Event::BuildTook { duration, .. } => {
                self.took.push_back(duration);
                if self.took.len() > 200 {
                    self.took.pop_front();
                }
                None
            }
            Event::Disconnected { instance, .. } => {
                self.end(now, instance, batch);
                None
            }
            Event::Terminated { instance, result: Err(_) } => {
                self.terminate(instance, batch);
                None
            }
            _ => None,
        }
    }

    fn rest(&mut self, now: Time, instance: InstanceId) -> (InstanceId, Time) {
        self.set(instance, Phase::Idle(now), now);
        (instance, self.all[index(instance)].asked_at)
    }

    /// When a machine without work leaves.
    pub(super) fn leave_later(&mut self, instance: InstanceId, at: Time) {
        let since = self.all[index(instance)].since;
        self.set(instance, Phase::Idle(at), since);
    }

    /// Ends what is there for too long.
    pub(super) fn end_overdue(&mut self, now: Time, batch: &mut Batch) -> Vec<InstanceId> {
        let mut ended = Vec::new();
        while let Some((asked_at, instance)) = self.booting.first().copied() {
            if asked_at + BOOT_TIMEOUT > now {
                break;
            }
            self.end(now, instance, batch);
            ended.push(instance);
        }
        while let Some((at, instance)) = self.leaving.first().copied() {
            if at > now {
                break;
            }
            self.end(now, instance, batch);
        }
        ended
    }

    fn end(&mut self, now: Time, instance: InstanceId, batch: &mut Batch) {
        if self.admits(instance) {
            self.set(instance, Phase::Gone, now);
            batch.orders.push(Order::Close { instance, why: String::new() });
            self.terminate(instance, batch);
        }
    }

    fn terminate(&self, instance: InstanceId, batch: &mut Batch) {
        if let Some(provider_id) = self.all.get(index(instance)).and_then(|member| member.provider_id.clone())
        {
            batch.orders.push(Order::Terminate { instance, pool: self.pool.clone(), provider_id });
        }
    }

    /// Asks for machines, as far as the maximum and the cloud's buckets allow. Gives them.
    pub(super) fn launch(
        &mut self,
        now: Time,
        wanted: u32,
        per_call: u32,
        batch: &mut Batch,
    ) -> Vec<InstanceId> {
        let mut left = wanted.min(self.absent());
        let mut started = Vec::new();
        while left > 0 {
            let size = left.min(per_call).min(self.buckets.room(now));
            if size == 0 || !self.buckets.take(now, size) {
                break;
            }
            left -= size;
            self.calls += 1;
            let ids: Vec<InstanceId> = (0..size).map(|_| self.add(now)).collect();
            batch.orders.push(self.order(&ids));
            started.extend(ids);
        }
        started
    }

    /// Makes calls, for a machine each, that the cloud turns away.
    pub(super) fn launch_in_vain(&mut self, calls: usize, batch: &mut Batch) {
        for _ in 0..calls {
            // No row has this id.
            self.calls += 1;
            batch.orders.push(self.order(&[InstanceId(i64::MAX)]));
        }
    }

    fn order(&self, ids: &[InstanceId]) -> Order {
        let first = ids.first().map_or(0, |id| id.0);
        Order::Launch(Box::new(LaunchRequest {
            token: Token(format!("{first}-{}-{}", ids.len(), self.calls)),
            pool: self.pool.clone(),
            deployment: String::new(),
            members: ids
                .iter()
                .map(|id| Wanted { instance: *id, login: String::new(), secret: None })
                .collect(),
            offering: self.offering.clone(),
            price_cap: None,
            others: Vec::new(),
            template: self.template.clone(),
            image: self.image.clone(),
            ticket: None,
        }))
    }

    fn add(&mut self, now: Time) -> InstanceId {
        self.all.push(Member { asked_at: now, provider_id: None, phase: Phase::Gone, since: now, builds: 0 });
        let instance = InstanceId(i64::try_from(self.all.len()).unwrap_or(i64::MAX));
        self.set(instance, Phase::Booting, now);
        instance
    }

    fn set(&mut self, instance: InstanceId, phase: Phase, now: Time) {
        let Some(member) = self.all.get_mut(index(instance)) else { return };
        match member.phase {
            Phase::Booting => self.booting.remove(&(member.asked_at, instance)),
            Phase::Idle(at) => self.leaving.remove(&(at, instance)),
            Phase::Busy => self.busy.remove(&instance),
            Phase::Gone => false,
        };
        member.phase = phase;
        member.since = now;
        match phase {
            Phase::Booting => self.booting.insert((member.asked_at, instance)),
            Phase::Idle(at) => self.leaving.insert((at, instance)),
            Phase::Busy => self.busy.insert(instance),
            Phase::Gone => false,
        };
    }
}

/// The first of the rows of a call, and how many there are.
fn members_of(token: &Token) -> Option<(i64, i64)> {
    let mut parts = token.0.split('-').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

fn index(instance: InstanceId) -> usize {
    usize::try_from(instance.0 - 1).unwrap_or(usize::MAX)
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
