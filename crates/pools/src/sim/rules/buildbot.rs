//! Buildbot's latent workers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::{InstanceId, Time};

use super::{
    super::{farm::Farm, policy::Policy, random::Random},
    members::Members,
};
use crate::{Batch, Event};

/// Buildbot (61f2f41180, `worker/latent.py`, `process/buildrequestdistributor.py`): a request is claimed and bound to one
/// worker object at random among all that have no build, whether their machine runs or not; one that does not is then
/// started, for this request alone. `build_wait_timeout` is 600 s, `missing_timeout` 20 min. There are as many worker
/// objects here as the pool may have machines, and machines that are to be started at the same moment share a call, as
/// Buildbot's do not.
#[derive(Debug)]
pub(super) struct Buildbot {
    members: Members,
    random: Random,
    bound: BTreeMap<usize, InstanceId>,
    taken: BTreeSet<InstanceId>,
    /// Requests whose machine is yet to be asked for.
    starts: Vec<usize>,
    unbound: bool,
    thinks_at: Option<Time>,
}

impl Buildbot {
    pub(super) fn new(members: Members, seed: u64) -> Self {
        Self {
            members,
            random: Random::stream(seed, 6),
            bound: BTreeMap::new(),
            taken: BTreeSet::new(),
            starts: Vec::new(),
            unbound: false,
            thinks_at: None,
        }
    }

    fn bind(&mut self, farm: &mut Farm, request: usize, instance: InstanceId) {
        self.bound.insert(request, instance);
        self.taken.insert(instance);
        farm.bind(request, Some(instance));
    }
}

impl Policy for Buildbot {
    fn name(&self) -> String {
        "buildbot".to_owned()
    }

    fn begin(&mut self, _now: Time, farm: &mut Farm) -> Batch {
        farm.bind_early();
        Batch::default()
    }

    fn handle(&mut self, now: Time, event: Event) -> Batch {
        let mut batch = Batch::default();
        match &event {
            Event::Requested { .. } => self.thinks_at = Some(now),
            Event::BuildStarted { request, instance, .. } => {
                self.bound.retain(|bound, _| super::super::farm::request_id(*bound) != *request);
                self.taken.remove(instance);
            }
            Event::BuildEnded { .. } | Event::Ready { .. } if self.unbound => self.thinks_at = Some(now),
            Event::Disconnected { instance, .. } => {
                self.bound.retain(|_, to| to != instance);
                self.taken.remove(instance);
                self.thinks_at = Some(now);
            }
            _ => {}
        }
        if let Some((instance, _)) = self.members.note(now, event, &mut batch) {
            self.members.leave_later(instance, now + Duration::from_secs(600));
        }
        batch
    }

    fn log_in(&mut self, _now: Time, _pool: &str, instance: InstanceId, _boot: u32) -> (bool, Batch) {
        (self.members.admits(instance), Batch::default())
    }

    fn next(&self) -> Option<Time> {
        [self.thinks_at, self.members.next_deadline()].into_iter().flatten().min()
    }

    fn wake(&mut self, now: Time, farm: &mut Farm) -> Batch {
        self.thinks_at = None;
        let mut batch = Batch::default();
        for instance in self.members.end_overdue(now, &mut batch) {
            self.taken.remove(&instance);
            let request = self.bound.iter().find(|(_, to)| **to == instance).map(|(request, _)| *request);
            if let Some(request) = request {
                self.bound.remove(&request);
                farm.bind(request, None);
            }
        }
        let undecided = |request: &usize| !self.bound.contains_key(request) && !self.starts.contains(request);
        let waiting: Vec<usize> = farm.queue().filter(undecided).collect();
        let mut idle: Vec<InstanceId> =
            self.members.idle_ones().filter(|instance| !self.taken.contains(instance)).collect();
        let mut absent = (self.members.absent() as usize).saturating_sub(self.starts.len());
        for request in waiting {
            if idle.len() + absent == 0 {
                break;
            }
            let choice = self.random.below(idle.len() + absent);
            if choice < idle.len() {
                self.bind(farm, request, idle.swap_remove(choice));
            } else {
                absent -= 1;
                self.starts.push(request);
            }
        }
        let wanted = u32::try_from(self.starts.len()).unwrap_or(u32::MAX);
        let started = self.members.launch(now, wanted, u32::MAX, &mut batch);
        let starts = std::mem::take(&mut self.starts);
        for (request, instance) in starts.iter().zip(&started) {
            self.bind(farm, *request, *instance);
        }
        self.starts = starts[started.len()..].to_vec();
        if !self.starts.is_empty() {
            // The cloud takes no more calls for now.
            self.thinks_at = Some(now + Duration::from_millis(500));
        }
        self.unbound = farm.waiting() > self.bound.len() + self.starts.len();
        batch
    }

    fn knows(&self, instance: InstanceId) -> bool {
        self.members.admits(instance)
    }
}
