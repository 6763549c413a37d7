//! A dispatcher with the rules of Buildbot: who builds what, and when.
//!
//! Builders by the priority and then the age of their first request; inside a builder by priority and then age; one
//! build of a builder on a worker at a time; `max_builds`; locks and limits; merging of requests; requests whose build
//! was lost with its worker wait again (RETRY).

mod dispatch;
mod view;

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use model::{BuildId, BuildRequestId, BuilderId, InstanceId, Time};

use super::{random::Random, workload::Workload};

/// A request in its builder's queue: what is first is built first.
type Place = (Reverse<i64>, Time, usize);

/// The dispatcher: queues, workers, and what they run.
#[derive(Debug)]
pub struct Farm {
    builders: Vec<FarmBuilder>,
    permits: Vec<FarmPermit>,
    requests: Vec<Request>,
    /// First requests of builders that have any.
    heads: BTreeSet<(Place, usize)>,
    waiting: usize,
    /// What was merged since somebody asked: builders, and when the requests came in.
    merged: Vec<(usize, Time)>,
    workers: HashMap<WorkerKey, Worker>,
    /// Workers that can take more.
    roomy: BTreeSet<Room>,
    builds: Vec<Build>,
    preference: Preference,
    random: Random,
    /// Requests that only one worker may build: what Buildbot does.
    bound: Option<HashMap<usize, InstanceId>>,
}

/// Which of several workers without a build gets one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// The one that had one last.
    #[default]
    LastUsed,
    /// The one that had none for longest.
    LongestIdle,
    /// Any.
    Any,
}

/// A worker: of an instance, or an ordinary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkerKey {
    /// Of an instance.
    Instance(InstanceId),
    /// An ordinary one.
    Ordinary(usize),
}

/// A partly busy one comes before one without builds.
type Room = (Reverse<usize>, i64, WorkerKey);

#[derive(Debug)]
struct FarmBuilder {
    pools: Vec<Arc<str>>,
    needs: Vec<usize>,
    collapses: bool,
    queue: BTreeSet<Place>,
}

#[derive(Debug)]
struct FarmPermit {
    name: Arc<str>,
    is_lock: bool,
    permits: u32,
    used: u32,
}

/// A request, from the moment it is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its builder.
    pub builder: usize,
    /// Higher is sooner.
    pub priority: i64,
    /// When it was asked for.
    pub submitted_at: Time,
    /// How long it takes.
    pub duration: Duration,
    /// How it stands.
    pub stage: Stage,
    /// When it was started first.
    pub first_start: Option<Time>,
    /// How often its build was lost.
    pub losses: u32,
    /// The offering that it was lost on last.
    pub lost_on: Option<Arc<str>>,
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is not there yet.
    Future,
    /// It waits.
    Waiting,
    /// It is built.
    Running(usize),
    /// It is done; whether by a build of its own (else it was merged into another one).
    Done(bool),
}

#[derive(Debug)]
struct Worker {
    pool: Option<Arc<str>>,
    builders: Option<Vec<usize>>,
    running: Vec<usize>,
    open: bool,
    max_builds: usize,
    room: Option<Room>,
    since: Time,
}

/// A build.
#[derive(Clone, Debug)]
pub struct Build {
    /// Its request.
    pub request: usize,
    /// Its worker.
    pub worker: WorkerKey,
    /// Its builder.
    pub builder: usize,
    /// When it was started.
    pub started_at: Time,
    /// Whether it still runs.
    pub runs: bool,
}

/// The id of a build.
#[expect(clippy::cast_possible_wrap, reason = "there are not so many builds")]
pub fn build_id(build: usize) -> BuildId {
    BuildId(build as i64 + 1)
}

/// The id of a request.
#[expect(clippy::cast_possible_wrap, reason = "there are not so many requests")]
pub fn request_id(request: usize) -> BuildRequestId {
    BuildRequestId(request as i64 + 1)
}

/// The id of a builder.
#[expect(clippy::cast_possible_wrap, reason = "there are not so many builders")]
pub fn builder_id(builder: usize) -> BuilderId {
    BuilderId(builder as i64 + 1)
}

impl Farm {
    /// A farm with nothing to do yet.
    pub fn new(workload: &Workload, preference: Preference, seed: u64) -> Self {
        let mut farm = Self {
            builders: workload
                .builders
                .iter()
                .map(|builder| FarmBuilder {
                    pools: builder.pools.clone(),
                    needs: builder.needs.clone(),
                    collapses: builder.collapses,
                    queue: BTreeSet::new(),
                })
                .collect(),
            permits: workload
                .permits
                .iter()
                .map(|lock| FarmPermit {
                    name: lock.name.clone(),
                    is_lock: lock.is_lock,
                    permits: lock.permits,
                    used: 0,
                })
                .collect(),
            requests: workload
                .jobs
                .iter()
                .map(|job| Request {
                    builder: job.builder,
                    priority: job.priority,
                    submitted_at: job.arrival,
                    duration: job.duration,
                    stage: Stage::Future,
                    first_start: None,
                    losses: 0,
                    lost_on: None,
                })
                .collect(),
            heads: BTreeSet::new(),
            waiting: 0,
            merged: Vec::new(),
            workers: HashMap::new(),
            roomy: BTreeSet::new(),
            builds: Vec::new(),
            preference,
            random: Random::stream(seed, 2),
            bound: None,
        };
        for (index, ordinary) in workload.ordinary.iter().enumerate() {
            let worker = Worker {
                pool: None,
                builders: Some(ordinary.builders.clone()),
                running: Vec::new(),
                open: true,
                max_builds: ordinary.max_builds as usize,
                room: None,
                since: Time::default(),
            };
            farm.workers.insert(WorkerKey::Ordinary(index), worker);
            farm.place(WorkerKey::Ordinary(index));
        }
        farm
    }

    /// From now on a request is built only by the instance that it is bound to.
    pub fn bind_early(&mut self) {
        self.bound = Some(HashMap::new());
    }

    /// Binds a request to an instance, or sets it free.
    pub fn bind(&mut self, request: usize, to: Option<InstanceId>) {
        if let Some(bound) = &mut self.bound {
            match to {
                Some(instance) => bound.insert(request, instance),
                None => bound.remove(&request),
            };
        }
    }

    /// A request comes in.
    pub fn arrive(&mut self, request: usize) {
        self.requests[request].stage = Stage::Waiting;
        self.enqueue(request);
    }

    /// What was merged since this was asked last: builders, and when the requests came in.
    pub fn take_merged(&mut self) -> Vec<(usize, Time)> {
        std::mem::take(&mut self.merged)
    }

    /// The worker of an instance can build.
    pub fn attach(
        &mut self,
        now: Time,
        instance: InstanceId,
        pool: Arc<str>,
        max_builds: Option<u32>,
        open: bool,
    ) {
        let key = WorkerKey::Instance(instance);
        let worker = Worker {
            pool: Some(pool),
            builders: None,
            running: Vec::new(),
            open,
            max_builds: max_builds.map_or(usize::MAX, |max| max as usize),
            room: None,
            since: now,
        };
        self.workers.insert(key, worker);
        self.place(key);
    }

    /// The worker of an instance is gone; its builds are lost and wait again. Gives those builds.
    pub fn detach(&mut self, instance: InstanceId, lost_on: Option<&Arc<str>>) -> Vec<usize> {
        let key = WorkerKey::Instance(instance);
        let Some(worker) = self.workers.get(&key) else { return Vec::new() };
        let lost = worker.running.clone();
        for build in &lost {
            self.lose(*build, lost_on);
        }
        self.unplace(key);
        self.workers.remove(&key);
        lost
    }

    /// Cuts off the builds of an instance; they wait again. Its worker stays. Gives those builds.
    pub fn interrupt(&mut self, instance: InstanceId, lost_on: Option<&Arc<str>>) -> Vec<usize> {
        let running = self.running_on(instance).to_vec();
        for build in &running {
            self.lose(*build, lost_on);
        }
        running
    }

    /// Gives an instance's worker no more builds, or gives it builds again.
    pub fn set_open(&mut self, instance: InstanceId, open: bool) {
        let key = WorkerKey::Instance(instance);
        if let Some(worker) = self.workers.get_mut(&key) {
            worker.open = open;
            self.place(key);
        }
    }

    /// A build is over. Gives whether it still ran; when it is to be done again, its request waits.
    pub fn finish(&mut self, now: Time, build: usize, again: bool) -> bool {
        if !self.release(build, now) {
            return false;
        }
        let request = self.builds[build].request;
        if again {
            self.requests[request].stage = Stage::Waiting;
            self.enqueue(request);
        } else {
            self.requests[request].stage = Stage::Done(true);
        }
        true
    }

    fn lose(&mut self, build: usize, lost_on: Option<&Arc<str>>) {
        let now = self.builds[build].started_at;
        if !self.release(build, now) {
            return;
        }
        let index = self.builds[build].request;
        let request = &mut self.requests[index];
        request.losses += 1;
        request.lost_on = lost_on.cloned();
        request.stage = Stage::Waiting;
        self.enqueue(index);
    }

    fn release(&mut self, build: usize, now: Time) -> bool {
        let entry = &mut self.builds[build];
        if !std::mem::replace(&mut entry.runs, false) {
            return false;
        }
        for permit in &self.builders[entry.builder].needs {
            self.permits[*permit].used -= 1;
        }
        let key = entry.worker;
        if let Some(bound) = &mut self.bound {
            bound.remove(&entry.request);
        }
        if let Some(worker) = self.workers.get_mut(&key) {
            worker.running.retain(|running| *running != build);
            worker.since = worker.since.max(now);
            self.place(key);
        }
        true
    }

    fn enqueue(&mut self, index: usize) {
        let request = &self.requests[index];
        let place = (Reverse(request.priority), request.submitted_at, index);
        let queue = &mut self.builders[request.builder].queue;
        let head = queue.first().copied();
        queue.insert(place);
        self.waiting += 1;
        if head.is_none_or(|head| place < head) {
            if let Some(head) = head {
                self.heads.remove(&(head, request.builder));
            }
            self.heads.insert((place, request.builder));
        }
    }

    fn dequeue(&mut self, index: usize) {
        let request = &self.requests[index];
        let place = (Reverse(request.priority), request.submitted_at, index);
        let queue = &mut self.builders[request.builder].queue;
        queue.remove(&place);
        self.waiting -= 1;
        if self.heads.remove(&(place, request.builder))
            && let Some(next) = queue.first()
        {
            self.heads.insert((*next, request.builder));
        }
    }

    fn unplace(&mut self, key: WorkerKey) {
        if let Some(room) = self.workers.get_mut(&key).and_then(|worker| worker.room.take()) {
            self.roomy.remove(&room);
        }
    }

    fn place(&mut self, key: WorkerKey) {
        self.unplace(key);
        let Some(worker) = self.workers.get_mut(&key) else { return };
        if worker.open && worker.running.len() < worker.max_builds {
            let room = (Reverse(worker.running.len()), -worker.since.micros(), key);
            worker.room = Some(room);
            self.roomy.insert(room);
        }
    }
}
