//! Which request is built where.

use std::cmp::Reverse;

use model::{InstanceId, Time};

use super::{Build, Farm, Preference, Room, Stage, Worker, WorkerKey};

impl Farm {
    /// Starts what can be started. Gives the builds.
    pub fn dispatch(&mut self, now: Time) -> Vec<usize> {
        let mut started = Vec::new();
        if self.waiting == 0 || self.roomy.is_empty() {
            return started;
        }
        if self.builders.len() == 1 {
            self.dispatch_builder(now, 0, &mut started);
            return started;
        }
        for builder in self.heads.iter().map(|(_, builder)| *builder).collect::<Vec<_>>() {
            if self.roomy.is_empty() {
                break;
            }
            self.dispatch_builder(now, builder, &mut started);
        }
        started
    }

    fn dispatch_builder(&mut self, now: Time, builder: usize, started: &mut Vec<usize>) {
        if self.bound.is_some() {
            let queue: Vec<usize> = self.builders[builder].queue.iter().map(|place| place.2).collect();
            for request in queue {
                let to = self.bound.as_ref().and_then(|bound| bound.get(&request)).copied();
                let key = to.map(WorkerKey::Instance);
                if let Some(key) = key.filter(|key| self.workers.get(key).is_some_and(|w| w.room.is_some())) {
                    started.push(self.start(now, request, key));
                }
            }
            return;
        }
        while let Some(place) = self.builders[builder].queue.first().copied() {
            let needs = &self.builders[builder].needs;
            if needs.iter().any(|permit| self.permits[*permit].used >= self.permits[*permit].permits) {
                return;
            }
            let Some(key) = self.choose(builder) else { return };
            started.push(self.start(now, place.2, key));
        }
    }

    /// The worker for a build: a partly busy one, or one without builds by preference.
    fn choose(&mut self, builder: usize) -> Option<WorkerKey> {
        let fits = |room: &&Room| self.can_take(&self.workers[&room.2], builder);
        let first = *self.roomy.iter().find(fits)?;
        if first.0 != Reverse(0) || self.preference == Preference::LastUsed {
            return Some(first.2);
        }
        let idle = (Reverse(0), i64::MIN, WorkerKey::Instance(InstanceId(i64::MIN)))..;
        match self.preference {
            Preference::LastUsed => Some(first.2),
            Preference::LongestIdle => self.roomy.range(idle).rev().find(fits).map(|room| room.2),
            Preference::Any => {
                let all: Vec<WorkerKey> = self.roomy.range(idle).filter(fits).map(|room| room.2).collect();
                all.get(self.random.below(all.len())).copied()
            }
        }
    }

    fn can_take(&self, worker: &Worker, builder: usize) -> bool {
        let serves = match (&worker.pool, &worker.builders) {
            (Some(pool), _) => self.builders[builder].pools.contains(pool),
            (None, Some(builders)) => builders.contains(&builder),
            (None, None) => false,
        };
        serves && !worker.running.iter().any(|build| self.builds[*build].builder == builder)
    }

    fn start(&mut self, now: Time, request: usize, key: WorkerKey) -> usize {
        self.dequeue(request);
        let builder = self.requests[request].builder;
        let build = self.builds.len();
        self.builds.push(Build { request, worker: key, builder, started_at: now, runs: true });
        let entry = &mut self.requests[request];
        entry.stage = Stage::Running(build);
        entry.first_start.get_or_insert(now);
        for permit in &self.builders[builder].needs {
            self.permits[*permit].used += 1;
        }
        if self.builders[builder].collapses {
            for (_, submitted_at, merged) in std::mem::take(&mut self.builders[builder].queue) {
                self.requests[merged].stage = Stage::Done(false);
                self.requests[merged].first_start.get_or_insert(now);
                self.waiting -= 1;
                self.merged.push((builder, submitted_at));
            }
            self.heads.retain(|(_, head)| *head != builder);
        }
        if let Some(worker) = self.workers.get_mut(&key) {
            worker.running.push(build);
        }
        self.place(key);
        build
    }
}
