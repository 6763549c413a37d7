//! The simulation itself: what happens in which order, and what is measured.

mod calls;
mod network;

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use model::{InstanceId, Results, Time, pool::PoolSpec};

use super::{
    cloud::{Cloud, CloudSpec},
    farm::{Farm, Preference, WorkerKey, build_id, builder_id, request_id},
    outcome::Outcome,
    policy::Policy,
    workload::Workload,
};
use crate::{Batch, Event};

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The pools.
    pub pools: Vec<Arc<PoolSpec>>,
    /// For each of them, what its cloud is like.
    pub clouds: Vec<CloudSpec>,
    /// What is to be built.
    pub workload: Workload,
    /// Which of several idle workers gets a build.
    pub preference: Preference,
    /// All chance follows from it.
    pub seed: u64,
    /// How long is simulated after the last job is done, at most, for machines to leave.
    pub tail: Duration,
    /// When it is over, whatever is left.
    pub end: Option<Time>,
    /// Whether the books are checked at each step.
    pub checks: bool,
}

/// Something that a test has happen at some time.
type Script<P> = Box<dyn FnOnce(&mut Simulation<P>)>;

/// A farm, a cloud, and a policy between them.
pub struct Simulation<P> {
    /// Who decides.
    pub policy: P,
    /// The dispatcher.
    pub farm: Farm,
    /// The cloud.
    pub cloud: Cloud,
    /// What is wrong, in words: must stay empty.
    pub violations: Vec<String>,
    /// Builds that were cut off on a machine that nobody else was about to take.
    pub killed_busy: u64,
    /// Builds that were lost with their machine.
    pub lost: u64,
    /// Logins that were refused.
    pub refused: u64,
    /// How far the master's clock is off, in microseconds.
    pub clock: i64,
    /// The master is killed at the boundary (between two writes or calls) that has this number.
    pub crash_at: Option<u64>,
    /// How long it takes until it runs again.
    pub downtime: Duration,
    /// Boundaries so far.
    pub boundaries: u64,
    setting: Setting,
    now: Time,
    sequence: u64,
    agenda: BinaryHeap<Reverse<Item>>,
    scripts: Vec<Option<Script<P>>>,
    machine_of: HashMap<InstanceId, usize>,
    connected: HashMap<InstanceId, usize>,
    master: Master,
    epoch: u32,
    finished: usize,
    failed: usize,
    finished_at: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Master {
    Runs,
    Crashed,
    Down,
}

struct Item {
    at: Time,
    sequence: u64,
    what: What,
}

enum What {
    Arrive(usize),
    Finish(usize),
    Fail(usize),
    Answer(u32, Box<Event>),
    Knock(usize, u32, Time),
    Die(usize),
    Take(usize),
    Script(usize),
    Up,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl<P: Policy> fmt::Debug for Simulation<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("now", &self.now)
            .field("policy", &self.policy.name())
            .finish_non_exhaustive()
    }
}

impl<P: Policy> Simulation<P> {
    /// Sets everything up. Nothing happens yet.
    pub fn new(setting: Setting, policy: P) -> Self {
        let farm = Farm::new(&setting.workload, setting.preference, setting.seed);
        let cloud = Cloud::new(setting.clouds.clone(), setting.seed);
        let now = setting.workload.jobs.first().map_or_else(Time::default, |job| job.arrival);
        let mut simulation = Self {
            policy,
            farm,
            cloud,
            violations: Vec::new(),
            killed_busy: 0,
            lost: 0,
            refused: 0,
            clock: 0,
            crash_at: None,
            downtime: Duration::from_secs(20),
            boundaries: 0,
            now: now - Duration::from_secs(60),
            sequence: 0,
            agenda: BinaryHeap::new(),
            scripts: Vec::new(),
            machine_of: HashMap::new(),
            connected: HashMap::new(),
            master: Master::Runs,
            epoch: 0,
            finished: 0,
            failed: 0,
            finished_at: now,
            setting,
        };
        for index in 0..simulation.setting.workload.jobs.len() {
            let at = simulation.setting.workload.jobs[index].arrival;
            simulation.plan(at, What::Arrive(index));
        }
        simulation
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// What is simulated.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// How many jobs are done.
    pub fn finished(&self) -> usize {
        self.finished
    }

    /// Has something happen at a time.
    pub fn at(&mut self, at: Time, script: impl FnOnce(&mut Self) + 'static) {
        self.scripts.push(Some(Box::new(script)));
        self.plan(at, What::Script(self.scripts.len() - 1));
    }

    /// Runs until all jobs are done and machines had the time to leave.
    pub fn run(&mut self) -> Outcome {
        self.begin();
        while self.step() {}
        self.outcome()
    }

    /// The policy begins.
    pub fn begin(&mut self) {
        let batch = self.policy.begin(self.clock(), &mut self.farm);
        self.apply(batch);
        self.settle();
    }

    /// The next thing happens. Gives whether there was any.
    pub fn step(&mut self) -> bool {
        let due = self.agenda.peek().map(|item| item.0.at);
        let thinks = match self.master {
            Master::Runs => self.policy.next().map(|at| self.on_time(at).max(self.now)),
            Master::Crashed | Master::Down => None,
        };
        let Some(next) = [due, thinks].into_iter().flatten().min() else { return false };
        let all_done = self.finished + self.failed == self.setting.workload.jobs.len();
        let none_left = all_done
            && self.cloud.live.iter().all(|live| *live == 0)
            && self.scripts.iter().all(Option::is_none);
        let over = self.setting.end.is_some_and(|end| next > end)
            || (all_done
                && next > self.finished_at + self.setting.tail
                && self.scripts.iter().all(Option::is_none));
        if over || none_left {
            return false;
        }
        self.now = self.now.max(next);
        if due == Some(next) {
            if let Some(Reverse(item)) = self.agenda.pop() {
                self.happen(item.what);
            }
        } else {
            let batch = self.policy.wake(self.clock(), &mut self.farm);
            self.apply(batch);
            // One that always wants to think at once would stop the time.
            if self.policy.next().is_some_and(|at| self.on_time(at) <= self.now) {
                self.now = self.now + Duration::from_millis(1);
            }
        }
        self.settle();
        if self.setting.checks {
            self.check();
        }
        true
    }

    fn check(&mut self) {
        if self.master != Master::Runs {
            return;
        }
        if let Some(problem) = self.policy.check(self.clock()) {
            self.violate(problem);
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Arrive(job) => {
                self.farm.arrive(job);
                let pools = self.farm.pools_of(self.farm.request(job).builder).to_vec();
                self.tell(Event::Requested { pools });
            }
            What::Finish(build) => self.finish(build, false),
            What::Fail(build) => self.finish(build, true),
            What::Answer(epoch, event) => {
                if epoch == self.epoch {
                    self.tell(*event);
                }
            }
            What::Knock(machine, boot, since) => self.knock(machine, boot, since),
            What::Die(machine) => self.lose_machine(machine, "it ended while it booted"),
            What::Take(machine) => self.lose_machine(machine, "the market took it"),
            What::Script(index) => {
                if let Some(script) = self.scripts.get_mut(index).and_then(Option::take) {
                    script(self);
                }
            }
            What::Up => {
                self.master = Master::Runs;
                let batch = self.policy.restart(self.clock());
                self.apply(batch);
            }
        }
    }

    fn finish(&mut self, build: usize, machinery_failed: bool) {
        let entry = self.farm.build(build).clone();
        if !self.farm.finish(self.now, build, false) {
            return;
        }
        if machinery_failed {
            self.failed += 1;
        } else {
            self.finished += 1;
        }
        self.finished_at = self.now;
        if let WorkerKey::Instance(instance) = entry.worker {
            self.unload(instance, 1);
            let results = if machinery_failed { Results::Exception } else { Results::Success };
            self.tell(Event::BuildEnded { instance, build: build_id(build), results, machinery_failed });
        }
        if !machinery_failed {
            let duration = self.now.since(entry.started_at);
            self.tell(Event::BuildTook { builder: builder_id(entry.builder), duration });
        }
    }

    /// Tells the policy something.
    pub fn tell(&mut self, event: Event) {
        if self.master == Master::Runs {
            let batch = self.policy.handle(self.clock(), event);
            self.apply(batch);
        }
    }

    /// Kills the master now; it runs again after [`Simulation::downtime`].
    pub fn crash(&mut self) {
        self.master = Master::Down;
        self.epoch += 1;
        for (instance, _) in self.connected().collect::<Vec<_>>() {
            self.disconnect(instance, "the master is gone");
        }
        self.plan(self.now + self.downtime, What::Up);
    }

    /// Whether the master lives beyond this boundary.
    fn passes_boundary(&mut self) -> bool {
        if self.master != Master::Runs {
            return false;
        }
        self.boundaries += 1;
        if self.crash_at == Some(self.boundaries) {
            self.master = Master::Crashed;
            return false;
        }
        true
    }

    /// Carries out what the policy wants.
    pub fn apply(&mut self, mut batch: Batch) {
        // What the dispatcher is told holds in the same moment, as in the engine's own transaction.
        let writes = !batch.rows.is_empty() || !batch.pools.is_empty();
        if writes && !self.passes_boundary() {
            return;
        }
        let orders = std::mem::take(&mut batch.orders);
        self.policy.commit(&mut batch);
        for order in orders {
            if self.master != Master::Runs {
                return;
            }
            self.carry_out(order);
        }
    }

    /// Starts all builds that can be started.
    fn settle(&mut self) {
        if self.master == Master::Crashed {
            self.crash();
        }
        while self.master == Master::Runs {
            let started = self.farm.dispatch(self.now);
            if started.is_empty() {
                break;
            }
            for build in started {
                self.start(build);
            }
            for (builder, submitted_at) in self.farm.take_merged() {
                let pools = self.farm.pools_of(builder).to_vec();
                self.tell(Event::Withdrawn { pools, submitted_at });
            }
        }
        if self.master == Master::Crashed {
            self.crash();
        }
    }

    fn start(&mut self, build: usize) {
        let entry = self.farm.build(build).clone();
        let request = self.farm.request(entry.request).clone();
        let ends_at = self.now + request.duration;
        let WorkerKey::Instance(instance) = entry.worker else {
            self.plan(ends_at, What::Finish(build));
            return;
        };
        let Some(machine) = self.machine_of.get(&instance).copied() else { return };
        if self.cloud.machines[machine].ordered_end {
            self.violate(format!("a build starts on instance {instance}, which is being ended"));
        }
        let fault =
            self.cloud.faults.images.get(&self.cloud.machines[machine].image).copied().unwrap_or_default();
        match fault.fails_builds_after {
            Some(after) => self.plan(self.now + after.min(request.duration), What::Fail(build)),
            None => self.plan(ends_at, What::Finish(build)),
        }
        let machine = &mut self.cloud.machines[machine];
        machine.used = true;
        if machine.running.0 == 0 {
            machine.running.1 = self.now;
        }
        machine.running.0 += 1;
        self.tell(Event::BuildStarted {
            instance,
            build: build_id(build),
            builder: builder_id(entry.builder),
            request: request_id(entry.request),
            priority: request.priority,
            waited: self.now.since(request.submitted_at),
        });
    }

    /// Notes that something is wrong. Only the first ones are kept.
    pub fn violate(&mut self, problem: String) {
        if self.violations.len() < 100 {
            self.violations.push(format!("at {}: {problem}", self.now));
        }
    }

    fn pool(&self, name: &str) -> Option<usize> {
        self.setting.pools.iter().position(|pool| pool.name == name)
    }

    fn answer(&mut self, pool: usize, event: Event) {
        let at = self.now + self.cloud.specs[pool].latency;
        self.plan(at, What::Answer(self.epoch, Box::new(event)));
    }

    fn plan(&mut self, at: Time, what: What) {
        self.sequence += 1;
        self.agenda.push(Reverse(Item { at, sequence: self.sequence, what }));
    }

    /// What the master's clock says.
    pub fn clock(&self) -> Time {
        Time::from_micros(self.now.micros().saturating_add(self.clock))
    }

    fn on_time(&self, at: Time) -> Time {
        Time::from_micros(at.micros().saturating_sub(self.clock))
    }

    /// What came of it so far.
    pub fn outcome(&self) -> Outcome {
        Outcome::of(self)
    }

    /// The machine of an instance.
    pub fn machine_of(&self, instance: InstanceId) -> Option<usize> {
        self.machine_of.get(&instance).copied()
    }
}
