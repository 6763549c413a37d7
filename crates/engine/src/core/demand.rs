//! What waits for the pools: Buildbot's order over all builders that name one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use config::LockMode;
use model::{BuilderId, Time, WorkerId};
use pools::{Demand, Elsewhere, Need, Permit, Waiting, demand::DemandBuilder};

use super::{
    Core,
    builders::{Group, GroupId, HeadKey, QueueKey},
    facts::WorkerFacts,
    slots::config_of,
    workers::Worker,
};

impl Core {
    /// All that waits for some pool. Grows with what waits, and with the workers beside the pools: made only when the
    /// pools look again, a second apart at least.
    pub(super) fn demand(&self) -> Demand {
        let mut demand = Demand::default();
        let mut queued: Vec<(HeadKey, usize)> = Vec::new();
        let mut members: BTreeMap<GroupId, Vec<usize>> = BTreeMap::new();
        let mut permits: BTreeMap<&str, usize> = BTreeMap::new();
        let mut needs: Vec<Vec<Need>> = Vec::new();
        let mut asking: Vec<usize> = Vec::new();
        for id in &self.hiring_groups {
            let Some(group) = self.groups.get(id) else { continue };
            let mut indices = Vec::with_capacity(group.heads.len());
            for (head, builder) in &group.heads {
                let Some(state) = self.builders.get(builder) else { continue };
                let index = demand.builders.len();
                demand.builders.push(DemandBuilder { id: *builder, pools: state.pools.clone() });
                needs.push(self.needs(group, &mut permits, &mut demand.permits));
                indices.push(index);
                queued.extend(state.pending.iter().map(|key| ((head.0, *key), index)));
                asking.extend(
                    state.config.as_ref().filter(|config| config.can_start_build.is_some()).map(|_| index),
                );
            }
            members.insert(*id, indices);
        }
        // A builder whose first request is taken competes with its next one: in the end, all requests are in one order.
        queued.sort_unstable();
        demand.requests = queued
            .into_iter()
            .map(|((_, key), builder)| {
                self.waiting(key, builder, needs.get(builder).cloned().unwrap_or_default())
            })
            .collect();
        self.put_aside_what_no_machine_may_start(&mut demand, &asking);
        demand.elsewhere = self.elsewhere(&demand, &members);
        demand
    }

    /// Requests that the `canStartBuild` of their builder, one of these, would let no new machine build.
    fn put_aside_what_no_machine_may_start(&self, demand: &mut Demand, asking: &[usize]) {
        if asking.is_empty() {
            return;
        }
        let configs = self.hirers.iter().map(|(pool, hirer)| (pool, config_of(&hirer.config, pool)));
        let configs: BTreeMap<&Arc<str>, config::Worker> = configs.collect();
        let asking: BTreeSet<usize> = asking.iter().copied().collect();
        let (permit, mut is_needed) = (demand.permits.len(), false);
        for waiting in demand.requests.iter_mut().filter(|waiting| asking.contains(&waiting.builder)) {
            let Some(builder) = demand.builders.get(waiting.builder) else { continue };
            let may = builder.pools.iter().any(|pool| {
                let machine =
                    configs.get(pool).map(|config| WorkerFacts { config, pool: Some(pool), running: 0 });
                machine.is_some_and(|machine| self.lets_facts_start(builder.id, waiting.request, &machine))
            });
            if !may {
                waiting.needs.push(Need { permit, units: 1 });
                is_needed = true;
            }
        }
        if is_needed {
            demand.permits.push(Permit { name: "canStartBuild".into(), is_lock: false, free: 0 });
        }
    }

    /// What builds of a group take of locks that are the same everywhere. Locks of workers keep nobody from a new machine:
    /// it has its own.
    fn needs<'a>(
        &'a self,
        group: &'a Group,
        known: &mut BTreeMap<&'a str, usize>,
        permits: &mut Vec<Permit>,
    ) -> Vec<Need> {
        let need = |(name, mode): &'a (Arc<str>, LockMode)| {
            let key = (Arc::clone(name), None);
            let permit = *known.entry(name).or_insert_with(|| {
                let free = match self.locks.get(&key) {
                    Some(lock) => lock.free(),
                    None => self.lock_max(&key).unwrap_or(0),
                };
                permits.push(Permit { name: format!("lock {name}").into(), is_lock: true, free });
                permits.len() - 1
            });
            Need { permit, units: self.units(&key, *mode) }
        };
        group.locks.master.iter().map(need).collect()
    }

    fn waiting(&self, key: QueueKey, builder: usize, needs: Vec<Need>) -> Waiting {
        let (priority, submitted_at, request) = (key.0.0, key.1, key.2);
        // Requests that were lost are few.
        let (losses, lost_on) = match self.losses.get(&request) {
            Some(loss) => (loss.times, loss.offering.clone()),
            None => (0, None),
        };
        Waiting {
            request,
            builder,
            priority,
            submitted_at: Time::from_epoch_seconds(submitted_at),
            needs,
            collapses_into: None,
            losses,
            lost_on,
        }
    }

    /// Workers outside the pools that can take some of it.
    fn elsewhere(&self, demand: &Demand, members: &BTreeMap<GroupId, Vec<usize>>) -> Vec<Elsewhere> {
        let groups = self.hiring_groups.iter().filter_map(|id| self.groups.get(id));
        let ids: BTreeSet<WorkerId> = groups.flat_map(|group| group.workers.iter().copied()).collect();
        let workers = ids.iter().filter_map(|id| self.workers.get(id)).filter(|worker| worker.may_build());
        let index_of: BTreeMap<BuilderId, usize> =
            demand.builders.iter().enumerate().map(|(index, builder)| (builder.id, index)).collect();
        let mut served: BTreeMap<&BTreeSet<GroupId>, Arc<[usize]>> = BTreeMap::new();
        let all = workers.filter_map(|worker| {
            let builders = served.entry(&worker.groups).or_insert_with(|| {
                let mut list: Vec<usize> =
                    worker.groups.iter().filter_map(|group| members.get(group)).flatten().copied().collect();
                list.sort_unstable();
                list.into()
            });
            let builders = Arc::clone(builders);
            if builders.is_empty() {
                return None;
            }
            // Nobody knows when a build ends that waits for others.
            let running = worker.running.iter().filter_map(|(builder, build)| {
                let build = self.builds.get(build).filter(|build| build.waits.is_none())?;
                Some((index_of.get(builder).copied(), build.started_at))
            });
            let running: Vec<_> = running.collect();
            let room = room(worker, &builders, &index_of);
            Some(Elsewhere { builders, running, room })
        });
        all.collect()
    }
}

/// How many more builds a worker could take of the builders that have something waiting.
fn room(worker: &Worker, builders: &[usize], index_of: &BTreeMap<BuilderId, usize>) -> u32 {
    let running = worker.running.keys().filter_map(|builder| index_of.get(builder));
    let there = running.filter(|index| builders.binary_search(index).is_ok()).count();
    let could = builders.len() - there;
    let limit = worker.config.as_ref().and_then(|config| config.max_builds);
    let may = limit.map_or(usize::MAX, |limit| (limit.get() as usize).saturating_sub(worker.running.len()));
    u32::try_from(could.min(may)).unwrap_or(u32::MAX)
}
