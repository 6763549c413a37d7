//! What waits for the pools: Buildbot's order over all builders that name one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{BuilderId, Time, WorkerId};
use pools::{Demand, Elsewhere, Waiting, demand::DemandBuilder};

use super::{
    Core,
    builders::{GroupId, QueueKey},
    workers::Worker,
};

impl Core {
    /// All that waits for some pool. Grows with what waits, and with the workers beside the pools: made only when the
    /// pools look again, a second apart at least.
    pub(super) fn demand(&self) -> Demand {
        let mut demand = Demand::default();
        let mut queued: Vec<(QueueKey, usize)> = Vec::new();
        let mut members: BTreeMap<GroupId, Vec<usize>> = BTreeMap::new();
        for id in &self.hiring_groups {
            let Some(group) = self.groups.get(id) else { continue };
            let mut indices = Vec::with_capacity(group.heads.len());
            for (_, builder) in &group.heads {
                let Some(state) = self.builders.get(builder) else { continue };
                let index = demand.builders.len();
                demand.builders.push(DemandBuilder { id: *builder, pools: state.pools.clone() });
                indices.push(index);
                queued.extend(state.pending.iter().map(|key| (*key, index)));
            }
            members.insert(*id, indices);
        }
        // A builder whose first request is taken competes with its next one: in the end, all requests are in one order.
        queued.sort_unstable();
        demand.requests = queued.into_iter().map(|(key, builder)| self.waiting(key, builder)).collect();
        demand.elsewhere = self.elsewhere(&demand, &members);
        demand
    }

    fn waiting(&self, key: QueueKey, builder: usize) -> Waiting {
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
            needs: Vec::new(),
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
