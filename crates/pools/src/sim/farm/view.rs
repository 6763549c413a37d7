//! What can be seen of a farm.

use std::{collections::BTreeMap, sync::Arc};

use model::InstanceId;

use super::{Build, Farm, Request, WorkerKey, builder_id, request_id};
use crate::{Demand, Elsewhere, Need, Permit, Waiting, demand::DemandBuilder};

impl Farm {
    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Requests that wait, each builder's in order.
    pub fn queue(&self) -> impl Iterator<Item = usize> {
        self.heads.iter().flat_map(|(_, builder)| self.builders[*builder].queue.iter().map(|place| place.2))
    }

    /// A request.
    pub fn request(&self, request: usize) -> &Request {
        &self.requests[request]
    }

    /// All requests.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Names of the pools that build for a builder.
    pub fn pools_of(&self, builder: usize) -> &[Arc<str>] {
        &self.builders[builder].pools
    }

    /// A build.
    pub fn build(&self, build: usize) -> &Build {
        &self.builds[build]
    }

    /// What an instance builds.
    pub fn running_on(&self, instance: InstanceId) -> &[usize] {
        self.workers.get(&WorkerKey::Instance(instance)).map_or(&[], |worker| &worker.running)
    }

    /// Whether an instance's worker is there, and if so, whether it may be given builds.
    pub fn is_open(&self, instance: InstanceId) -> Option<bool> {
        self.workers.get(&WorkerKey::Instance(instance)).map(|worker| worker.open)
    }

    /// Writes down what waits, as the pools are told.
    pub fn demand(&self, demand: &mut Demand) {
        if demand.builders.len() != self.builders.len() {
            demand.builders = self
                .builders
                .iter()
                .enumerate()
                .map(|(index, builder)| DemandBuilder { id: builder_id(index), pools: builder.pools.clone() })
                .collect();
        }
        demand.permits.clear();
        demand.permits.extend(self.permits.iter().map(|permit| Permit {
            name: permit.name.clone(),
            is_lock: permit.is_lock,
            free: permit.permits - permit.used,
        }));
        demand.elsewhere = self.elsewhere();
        demand.requests.clear();
        for (_, index) in &self.heads {
            let builder = &self.builders[*index];
            let first = builder.queue.first().map(|place| request_id(place.2));
            for (_, _, request) in &builder.queue {
                let entry = &self.requests[*request];
                let id = request_id(*request);
                demand.requests.push(Waiting {
                    request: id,
                    builder: *index,
                    priority: entry.priority,
                    submitted_at: entry.submitted_at,
                    needs: builder.needs.iter().map(|permit| Need { permit: *permit, units: 1 }).collect(),
                    collapses_into: first.filter(|first| builder.collapses && *first != id),
                    losses: entry.losses,
                    lost_on: entry.lost_on.clone(),
                });
            }
        }
    }

    fn elsewhere(&self) -> Vec<Elsewhere> {
        let mut found: BTreeMap<usize, Elsewhere> = BTreeMap::new();
        for index in 0.. {
            let Some(worker) = self.workers.get(&WorkerKey::Ordinary(index)) else { break };
            let running = worker.running.iter().map(|build| &self.builds[*build]);
            found.insert(
                index,
                Elsewhere {
                    builders: worker.builders.clone().unwrap_or_default().into(),
                    running: running.map(|build| (Some(build.builder), build.started_at)).collect(),
                    room: u32::try_from(worker.max_builds - worker.running.len()).unwrap_or(u32::MAX),
                },
            );
        }
        found.into_values().collect()
    }
}
