//! A small world around the manager: whatever it orders happens, and whatever happens it is told.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use model::{
    BuildId, BuildRequestId, BuilderId, InstanceId, Results, Time,
    pool::{Billing, Budget, Class, Idle, Money, PoolLimits, PoolSpec, Warm},
};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    Batch, Capabilities, Decision, Demand, Event, Identity, Instance, Login, Market, Mint, Offering,
    Operator, Order, PoolState, Pools, ReasonCode, Setup, State, Token, Verifier,
    demand::{DemandBuilder, Waiting},
    provider::{ApiBudget, ErrorKind, LaunchRequest, Launched, Look, Machine, MachineStatus, ProviderError},
};

pub(super) const START: i64 = 1_760_000_000;

/// Ids that go on counting over restarts.
#[derive(Debug, Clone, Default)]
pub(super) struct Counting(Arc<AtomicI64>);

impl Counting {
    fn next(&self) -> i64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Mint for Counting {
    fn next_instance(&mut self) -> InstanceId {
        InstanceId(self.next())
    }

    fn token(&mut self) -> Token {
        Token(format!("t{}", self.next()))
    }

    fn secret(&mut self) -> SecretString {
        SecretString::from(format!("s{}", self.next()))
    }

    fn verifier(&self, secret: &SecretString) -> Verifier {
        Verifier(format!("v-{}", secret.expose_secret()))
    }

    fn ticket(&self, pool: &str, token: &Token, expires: Time) -> SecretString {
        SecretString::from(format!("1.{}.{pool}-{token}", expires.epoch_seconds()))
    }
}

/// What the cloud does with the next calls to launch.
#[derive(Clone, Debug)]
pub(super) enum Mood {
    /// All that was asked for.
    Fine,
    /// All that was asked for, of another offering: this is why it is not the first one.
    Elsewhere(&'static str, ErrorKind),
    /// An error, and nothing is started.
    Fails(ErrorKind),
    /// An error, and all is started nevertheless.
    FailsAfterwards(ErrorKind),
    /// Only so many, and why not more.
    Only(usize, ErrorKind),
    /// None so far: an open request.
    Open,
    /// No answer at all.
    Silent,
}

#[derive(Clone, Debug)]
pub(super) struct FakeMachine {
    pub(super) token: Token,
    pub(super) member: Option<InstanceId>,
    pub(super) secret: Option<String>,
    pub(super) status: MachineStatus,
    pub(super) launched_at: Time,
    pub(super) boot: u32,
    pub(super) offering: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FakeWorker {
    pub(super) ready: bool,
    pub(super) running: BTreeMap<BuildId, (BuildRequestId, BuilderId)>,
}

/// What happens when its time has come.
#[derive(Debug)]
enum Due {
    Event(Event),
    Carry(Order),
    Boots(String),
    Attaches(InstanceId, String),
    Ends(InstanceId, BuildId),
    Asks(i64, i64),
    Lease,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Time,
    pub(super) pools: Pools,
    pub(super) specs: Vec<Arc<PoolSpec>>,
    pub(super) limits: PoolLimits,
    pub(super) offers: Capabilities,
    mint: Counting,
    due: BTreeMap<(Time, u64), Due>,
    sequence: u64,
    // What is durable.
    pub(super) rows: BTreeMap<InstanceId, Instance>,
    pub(super) states: BTreeMap<String, PoolState>,
    pub(super) decisions: Vec<Decision>,
    fence: u64,
    /// Pools that another master has at the next start.
    pub(super) others: BTreeSet<String>,
    // The cloud.
    pub(super) machines: BTreeMap<String, FakeMachine>,
    pub(super) moods: VecDeque<Mood>,
    pub(super) boots: bool,
    pub(super) boot_time: Duration,
    pub(super) answer_time: Duration,
    pub(super) build_time: Duration,
    pub(super) listing: VecDeque<Result<Vec<Machine>, ProviderError>>,
    pub(super) unkillable: BTreeSet<String>,
    /// What becomes of the next calls to stop a machine or to start it again; fine when there is nothing.
    pub(super) stops: VecDeque<ErrorKind>,
    pub(super) calls: Vec<LaunchRequest>,
    pub(super) carried: BTreeMap<&'static str, u32>,
    pub(super) launched: u32,
    // The dispatcher.
    pub(super) queue: Vec<(BuildRequestId, BuilderId, i64, Time)>,
    pub(super) workers: BTreeMap<InstanceId, FakeWorker>,
    closed: BTreeSet<InstanceId>,
    credentials: BTreeMap<InstanceId, Verifier>,
    pub(super) done: u32,
    pub(super) retried: u32,
    /// Whether only the first pool builds anything.
    pub(super) only_first: bool,
    pub(super) machinery_fails: bool,
    /// An image on which the machinery of every build fails.
    pub(super) bad_image: Option<&'static str>,
}

pub(super) fn spec(max: u32) -> PoolSpec {
    PoolSpec {
        name: "linux".to_owned(),
        max,
        min: 0,
        warm: Warm::Fixed(0),
        schedule: Vec::new(),
        classes: vec![Class {
            name: "default".to_owned(),
            from: i64::MIN,
            lambda: 1.0,
            on_demand_after: None,
            overflow: 0,
            reserve: false,
        }],
        max_builds: NonZeroU32::new(1),
        idle: Idle::For(Duration::from_secs(120)),
        boot_timeout: None,
        builds_per_instance: None,
        max_age: None,
        max_hold: Duration::from_secs(24 * 3600),
        forecast: false,
        budget: Budget::default(),
        weight: NonZeroU32::MIN,
        stopped: None,
        billing: Billing::Second,
        image: "image-1".to_owned(),
        template: "template-1".to_owned(),
        max_price: None,
        enrolls: false,
    }
}

pub(super) fn offering(name: &str, market: Market, cents: i64) -> Offering {
    Offering {
        name: name.to_owned(),
        instance_type: "large".to_owned(),
        family: "general".to_owned(),
        market,
        price: Money(cents * 10_000),
        bid: None,
        performance: 1.0,
        loss_per_hour: 0.0,
    }
}

pub(super) fn error(kind: ErrorKind) -> ProviderError {
    ProviderError { kind, code: "Oops".to_owned(), text: "it did not work".to_owned() }
}

impl World {
    pub(super) fn new(specs: Vec<PoolSpec>) -> Self {
        Self::with(specs, PoolLimits::default())
    }

    pub(super) fn with(specs: Vec<PoolSpec>, limits: PoolLimits) -> Self {
        let specs: Vec<_> = specs.into_iter().map(Arc::new).collect();
        let now = Time::from_epoch_seconds(START);
        let mint = Counting::default();
        let (pools, _) = Pools::new(Setup::default(), Box::new(mint.clone()), now);
        let mut world = Self {
            now,
            pools,
            specs,
            limits,
            offers: Capabilities {
                offerings: vec![offering("a/large", Market::OnDemand, 10)],
                batch: 10,
                stops: true,
                api: ApiBudget {
                    calls: 20,
                    calls_per_second: 2.0,
                    instances: 1000,
                    instances_per_second: 2.0,
                },
                quota: None,
                image: None,
                look: Look::default(),
            },
            mint,
            due: BTreeMap::new(),
            sequence: 0,
            rows: BTreeMap::new(),
            states: BTreeMap::new(),
            decisions: Vec::new(),
            fence: 0,
            others: BTreeSet::new(),
            machines: BTreeMap::new(),
            moods: VecDeque::new(),
            boots: true,
            boot_time: Duration::from_secs(60),
            answer_time: Duration::from_secs(1),
            build_time: Duration::from_secs(100),
            listing: VecDeque::new(),
            unkillable: BTreeSet::new(),
            stops: VecDeque::new(),
            calls: Vec::new(),
            carried: BTreeMap::new(),
            launched: 0,
            queue: Vec::new(),
            workers: BTreeMap::new(),
            closed: BTreeSet::new(),
            credentials: BTreeMap::new(),
            done: 0,
            retried: 0,
            only_first: false,
            machinery_fails: false,
            bad_image: None,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        let setup = Setup {
            deployment: "here".to_owned(),
            pools: self.specs.clone(),
            limits: self.limits,
            instances: self.rows.values().cloned().collect(),
            states: self.states.clone(),
            others: std::mem::take(&mut self.others),
            durations: Vec::new(),
        };
        let (pools, batch) = Pools::new(setup, Box::new(self.mint.clone()), self.now);
        self.pools = pools;
        self.take(batch);
        for spec in self.specs.clone() {
            let capabilities = self.offers.clone();
            self.tell(Event::Offers { pool: spec.name.clone(), capabilities });
        }
        self.at(Duration::from_millis(10), Due::Lease);
    }

    /// The master is killed: what was not carried out never is; connections and builds are lost. It is started again.
    pub(super) fn crash(&mut self) {
        self.due.retain(|_, due| matches!(due, Due::Boots(_) | Due::Asks(..)));
        for (_, worker) in std::mem::take(&mut self.workers) {
            self.lose(worker);
        }
        self.closed.clear();
        self.credentials.clear();
        self.start();
        let running: Vec<String> = self.machines.keys().cloned().collect();
        for name in running {
            if self.machines.get(&name).is_some_and(|machine| machine.boot > 0) {
                self.at(Duration::from_secs(3), Due::Boots(name));
            }
        }
    }

    fn at(&mut self, after: Duration, due: Due) {
        self.sequence += 1;
        self.due.insert((self.now + after, self.sequence), due);
    }

    pub(super) fn ask(&mut self, count: i64, priority: i64) {
        for _ in 0..count {
            self.ask_in(Duration::ZERO, priority);
        }
        self.settle();
    }

    pub(super) fn ask_in(&mut self, after: Duration, priority: i64) {
        let request = self.mint.next();
        self.at(after, Due::Asks(request, priority));
    }

    pub(super) fn tell_in(&mut self, after: Duration, event: Event) {
        self.at(after, Due::Event(event));
    }

    /// Something happens.
    pub(super) fn tell(&mut self, event: Event) {
        let batch = self.pools.handle(self.now, event);
        self.take(batch);
    }

    pub(super) fn operate(&mut self, operator: Operator) {
        self.tell(Event::Operator(operator));
        self.settle();
    }

    pub(super) fn reconfigure(&mut self, change: impl Fn(&mut PoolSpec)) {
        for spec in &mut self.specs {
            change(Arc::make_mut(spec));
        }
        let batch = self.pools.reconfigure(self.now, self.specs.clone(), self.limits);
        self.take(batch);
    }

    pub(super) fn log_in(&mut self, pool: &str, instance: Option<InstanceId>) -> Result<InstanceId, String> {
        let login = Login { pool, instance, peer: "10.0.0.1" };
        let (result, batch) = self.pools.log_in(self.now, &login);
        self.take(batch);
        result.map(|admission| admission.instance).map_err(|refusal| refusal.to_string())
    }

    fn take(&mut self, batch: Batch) {
        if let Err(fault) = self.pools.check(self.now) {
            panic!("{fault}: {}\n{:?}", self.story(), batch.decisions);
        }
        for row in batch.rows {
            self.rows.insert(row.id, row);
        }
        for pool in batch.pools {
            let state = self.pools.state(&pool).unwrap();
            self.states.insert(pool, state);
        }
        self.decisions.extend(batch.decisions);
        for order in batch.orders {
            match order {
                // These hold at once.
                Order::Close { instance, .. } => {
                    self.closed.insert(instance);
                }
                Order::Open { instance } => {
                    self.closed.remove(&instance);
                }
                Order::Credential { instance, verifier, .. } => {
                    match verifier {
                        Some(verifier) => self.credentials.insert(instance, verifier),
                        None => self.credentials.remove(&instance),
                    };
                }
                order => self.at(self.answer_time, Due::Carry(order)),
            }
        }
    }

    /// Lets time pass until the condition holds.
    ///
    /// # Panics
    /// When it does not within so many seconds.
    pub(super) fn until(&mut self, seconds: u64, what: &str, condition: impl Fn(&Self) -> bool) {
        let end = self.now + Duration::from_secs(seconds);
        while !condition(self) {
            assert!(self.step(end), "not {what} after {seconds} s: {}", self.story());
        }
    }

    /// What was decided, for whoever has to find out what went wrong.
    fn story(&self) -> String {
        let skipped = self.decisions.len().saturating_sub(80);
        let lines = self.decisions.iter().skip(skipped).map(|decision| {
            let at = decision.at.since(Time::from_epoch_seconds(START)).as_secs_f64();
            format!("\n{at:9.1} {:?} {:?} {}", decision.subject, decision.code, decision.text)
        });
        lines.collect()
    }

    pub(super) fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while self.step(end) {}
        self.now = end;
    }

    /// What is due at this moment happens.
    pub(super) fn settle(&mut self) {
        let end = self.now;
        while self.step(end) {}
    }

    /// The next thing happens, if it does before the end.
    pub(super) fn step(&mut self, end: Time) -> bool {
        let next = self.due.first_key_value().map(|((at, _), _)| *at);
        let deadline = self.pools.next_deadline();
        let Some(at) = next.into_iter().chain(deadline).min().filter(|at| *at <= end) else { return false };
        self.now = self.now.max(at);
        if next.is_some_and(|next| next <= self.now) {
            let ((_, _), due) = self.due.pop_first().unwrap();
            self.happen(due);
        } else {
            let batch = self.pools.handle_timeout(self.now);
            self.take(batch);
            if self.pools.pass_due(self.now) {
                let demand = self.demand();
                let batch = self.pools.pass(self.now, &demand);
                self.take(batch);
            }
        }
        self.dispatch();
        true
    }

    fn pool_names(&self) -> Vec<Arc<str>> {
        let count = if self.only_first { 1 } else { self.specs.len() };
        self.specs.iter().take(count).map(|spec| spec.name.as_str().into()).collect()
    }

    pub(super) fn demand(&self) -> Demand {
        let names = self.pool_names();
        let mut queue = self.queue.clone();
        queue.sort_by_key(|(id, _, priority, at)| (-priority, *at, *id));
        // As in the master: builders for which nothing waits are not among them.
        let waiting: BTreeSet<BuilderId> = queue.iter().map(|(_, builder, ..)| *builder).collect();
        let index = |builder| waiting.iter().position(|other| *other == builder).unwrap();
        let requests = queue.into_iter().map(|(request, builder, priority, submitted_at)| Waiting {
            request,
            builder: index(builder),
            priority,
            submitted_at,
            needs: Vec::new(),
            collapses_into: None,
            losses: 0,
            lost_on: None,
        });
        let requests = requests.collect();
        let builders = waiting.iter().map(|id| DemandBuilder { id: *id, pools: names.clone() }).collect();
        Demand { builders, requests, ..Demand::default() }
    }

    fn dispatch(&mut self) {
        self.queue.sort_by_key(|(id, _, priority, at)| (-priority, *at, *id));
        let mut waiting = Vec::new();
        for (request, builder, priority, at) in std::mem::take(&mut self.queue) {
            let most = self.specs[0].max_builds.map_or(usize::MAX, |most| most.get() as usize);
            let free = self.workers.iter().find(|(id, worker)| {
                worker.ready
                    && !self.closed.contains(id)
                    && worker.running.len() < most
                    && worker.running.values().all(|(_, other)| *other != builder)
            });
            let Some(instance) = free.map(|(id, _)| *id) else {
                waiting.push((request, builder, priority, at));
                continue;
            };
            let build = BuildId(self.mint.next());
            self.workers.get_mut(&instance).unwrap().running.insert(build, (request, builder));
            let waited = self.now.since(at);
            self.at(self.build_time, Due::Ends(instance, build));
            self.tell(Event::BuildStarted { instance, build, builder, request, priority, waited });
        }
        self.queue.extend(waiting);
    }

    fn lose(&mut self, worker: FakeWorker) -> Vec<BuildId> {
        let mut builds = Vec::new();
        for (build, (request, builder)) in worker.running {
            self.retried += 1;
            self.queue.push((request, builder, 0, self.now));
            builds.push(build);
        }
        builds
    }

    /// The connection of a worker is gone, and with it what it builds.
    pub(super) fn disconnect(&mut self, instance: InstanceId) {
        let Some(worker) = self.workers.remove(&instance) else { return };
        let builds = self.lose(worker);
        self.tell(Event::Disconnected { instance, why: "gone".to_owned() });
        for build in builds {
            self.tell(Event::BuildEnded {
                instance,
                build,
                results: Results::Retry,
                machinery_failed: false,
            });
        }
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Event(event) => self.tell(event),
            Due::Lease => {
                self.fence += 1;
                for spec in self.specs.clone() {
                    self.tell(Event::Lease { pool: spec.name.clone(), fence: Some(self.fence) });
                }
            }
            Due::Asks(request, priority) => {
                let builder = BuilderId(request % 4);
                self.queue.push((BuildRequestId(request), builder, priority, self.now));
                self.tell(Event::Requested { pools: self.pool_names() });
            }
            Due::Ends(instance, build) => {
                let Some(worker) = self.workers.get_mut(&instance) else { return };
                if let Some((_, builder)) = worker.running.remove(&build) {
                    self.done += 1;
                    let image = self.rows.get(&instance).map(|row| row.image.as_str());
                    let bad = self.bad_image.is_some_and(|bad| image == Some(bad));
                    let machinery_failed = self.machinery_fails || bad;
                    let results = if machinery_failed { Results::Exception } else { Results::Success };
                    self.tell(Event::BuildTook { builder, duration: self.build_time });
                    self.tell(Event::BuildEnded { instance, build, results, machinery_failed });
                }
            }
            Due::Boots(name) => self.boots(name),
            Due::Attaches(instance, boot) => {
                let Some(worker) = self.workers.get_mut(&instance) else { return };
                worker.ready = true;
                let identity = Identity { boot: Some(boot), ..Identity::default() };
                self.tell(Event::Identified { instance, identity });
                self.tell(Event::Ready { instance });
            }
            Due::Carry(order) => self.carry(order),
        }
    }

    /// The worker on a machine comes up, or tries once more.
    fn boots(&mut self, name: String) {
        let Some(machine) = self.machines.get_mut(&name) else { return };
        if machine.status != MachineStatus::Running || !self.boots {
            return;
        }
        machine.boot += 1;
        let (Some(id), Some(secret)) = (machine.member, machine.secret.clone()) else { return };
        if self.workers.contains_key(&id) {
            return;
        }
        let boot = format!("{name}-boot");
        let known = self.credentials.get(&id).is_some_and(|verifier| verifier.0 == format!("v-{secret}"));
        if known && self.log_in("linux", Some(id)).is_ok() {
            self.workers.insert(id, FakeWorker::default());
            self.at(Duration::from_secs(1), Due::Attaches(id, boot));
        } else {
            self.at(Duration::from_secs(10), Due::Boots(name));
        }
    }

    fn kill(&mut self, name: &str) {
        let Some(machine) = self.machines.get_mut(name) else { return };
        machine.status = MachineStatus::Terminated;
        if let Some(id) = machine.member {
            self.disconnect(id);
        }
    }

    /// A machine dies by itself.
    pub(super) fn machine_dies(&mut self, id: InstanceId) {
        let name = self
            .machines
            .iter()
            .find(|(_, machine)| machine.member == Some(id))
            .map(|(name, _)| name.clone());
        self.kill(&name.unwrap());
    }

    fn start_machines(&mut self, request: &LaunchRequest, count: usize) -> Vec<Machine> {
        let there: Vec<String> = self
            .machines
            .iter()
            .filter(|(_, machine)| machine.token == request.token)
            .map(|(name, _)| name.clone())
            .collect();
        if there.is_empty() {
            for member in request.members.iter().take(count) {
                self.launched += 1;
                let name = format!("i-{}", self.mint.next());
                let machine = FakeMachine {
                    token: request.token.clone(),
                    member: Some(member.instance),
                    secret: member.secret.as_ref().map(|secret| secret.expose_secret().to_owned()),
                    status: MachineStatus::Running,
                    launched_at: self.now,
                    boot: 0,
                    offering: request.offering.clone(),
                };
                self.machines.insert(name.clone(), machine);
                self.at(self.boot_time, Due::Boots(name));
            }
        }
        self.list().into_iter().filter(|machine| machine.token.as_ref() == Some(&request.token)).collect()
    }

    /// An open request leads to machines after all.
    pub(super) fn serve(&mut self, call: usize) {
        let request = self.calls[call].clone();
        let _machines = self.start_machines(&request, request.members.len());
    }

    pub(super) fn list(&self) -> Vec<Machine> {
        let list = self.machines.iter().map(|(name, machine)| Machine {
            provider_id: name.clone(),
            token: Some(machine.token.clone()),
            member: machine.member,
            offering: Some(machine.offering.clone()),
            template: None,
            status: machine.status,
            launched_at: Some(machine.launched_at),
            price: None,
            details: BTreeMap::new(),
        });
        list.collect()
    }

    /// An order is carried out; the answer comes a little later.
    fn carry(&mut self, order: Order) {
        let mut count = |what| *self.carried.entry(what).or_default() += 1;
        match order {
            Order::Launch(request) => {
                count("launch");
                if let Some(before) = self.calls.iter().find(|call| call.token == request.token) {
                    let members = |call: &LaunchRequest| -> Vec<InstanceId> {
                        call.members.iter().map(|member| member.instance).collect()
                    };
                    assert_eq!(members(before), members(&request), "a token is used for one content only");
                    assert_eq!(before.offering, request.offering, "a token is used for one content only");
                }
                self.calls.push((*request).clone());
                let all = request.members.len();
                let mut refused = Vec::new();
                let mut bought = request.offering.clone();
                let (started, short, open) = match self.moods.pop_front().unwrap_or(Mood::Fine) {
                    Mood::Fine => (all, None, false),
                    Mood::Elsewhere(offering, kind) => {
                        refused.push((std::mem::replace(&mut bought, offering.to_owned()), error(kind)));
                        (all, None, false)
                    }
                    Mood::Only(count, kind) => (count, Some(error(kind)), false),
                    Mood::Open => (0, None, true),
                    Mood::Fails(kind) => return self.answer_launch(&request, Err(error(kind))),
                    Mood::FailsAfterwards(kind) => {
                        let _machines = self.start_machines(&request, all);
                        return self.answer_launch(&request, Err(error(kind)));
                    }
                    Mood::Silent => return,
                };
                let machines =
                    self.start_machines(&LaunchRequest { offering: bought, ..*request.clone() }, started);
                self.answer_launch(&request, Ok(Launched { machines, open, short, refused }));
            }
            Order::List { pool } => {
                count("list");
                let asked_at = self.now;
                let result = self.listing.pop_front().unwrap_or_else(|| Ok(self.list()));
                self.at(self.answer_time, Due::Event(Event::Listed { pool, asked_at, result }));
            }
            Order::Terminate { instance, provider_id, .. } => {
                count("terminate");
                let busy = self.workers.get(&instance).is_some_and(|worker| !worker.running.is_empty());
                assert!(!busy, "instance {instance} is killed while it builds");
                let result = if self.unkillable.contains(&provider_id) {
                    Err(error(ErrorKind::Config))
                } else {
                    self.kill(&provider_id);
                    Ok(())
                };
                self.at(self.answer_time, Due::Event(Event::Terminated { instance, result }));
            }
            Order::Reap { provider_id, .. } => {
                count("reap");
                self.kill(&provider_id);
            }
            Order::Cancel { .. } => count("cancel"),
            Order::Stop { instance, provider_id, .. } => {
                count("stop");
                if let Some(kind) = self.stops.pop_front() {
                    let result = Err(error(kind));
                    return self.at(self.answer_time, Due::Event(Event::Stopped { instance, result }));
                }
                self.disconnect(instance);
                if let Some(machine) = self.machines.get_mut(&provider_id) {
                    machine.status = MachineStatus::Stopped;
                }
                self.at(self.answer_time, Due::Event(Event::Stopped { instance, result: Ok(()) }));
            }
            Order::Resume { instance, provider_id, .. } => {
                count("resume");
                if let Some(kind) = self.stops.pop_front() {
                    let result = Err(error(kind));
                    return self.at(self.answer_time, Due::Event(Event::Resumed { instance, result }));
                }
                if let Some(machine) = self.machines.get_mut(&provider_id) {
                    machine.status = MachineStatus::Running;
                }
                self.at(self.boot_time / 4, Due::Boots(provider_id));
                self.at(self.answer_time, Due::Event(Event::Resumed { instance, result: Ok(()) }));
            }
            Order::Console { instance, .. } => {
                count("console");
                let result = Ok("kernel panic".to_owned());
                self.at(self.answer_time, Due::Event(Event::Console { instance, result }));
            }
            Order::Interrupt { instance, .. } => {
                count("interrupt");
                if let Some(worker) = self.workers.get_mut(&instance) {
                    let running = std::mem::take(&mut worker.running);
                    let ended = self.lose(FakeWorker { ready: true, running });
                    for build in ended {
                        self.tell(Event::BuildEnded {
                            instance,
                            build,
                            results: Results::Retry,
                            machinery_failed: false,
                        });
                    }
                }
            }
            Order::Disconnect { instance, .. } => {
                count("disconnect");
                self.disconnect(instance);
            }
            Order::Shutdown { instance } => {
                count("shutdown");
                self.disconnect(instance);
            }
            Order::Close { .. } | Order::Open { .. } | Order::Credential { .. } => {}
        }
    }

    fn answer_launch(&mut self, request: &LaunchRequest, result: Result<Launched, ProviderError>) {
        self.at(self.answer_time, Due::Event(Event::Launched { token: request.token.clone(), result }));
    }

    /// Instances of a state, by id.
    pub(super) fn in_state(&self, state: State) -> Vec<InstanceId> {
        let status = self.pools.status(self.now);
        let instances = status.iter().flat_map(|pool| &pool.instances);
        instances.filter(|instance| instance.state == state).map(|instance| instance.id).collect()
    }

    pub(super) fn live(&self) -> u32 {
        self.pools.status(self.now).iter().map(|pool| pool.live).sum()
    }

    pub(super) fn running_machines(&self) -> usize {
        self.machines.values().filter(|machine| machine.status == MachineStatus::Running).count()
    }

    pub(super) fn said(&self, code: ReasonCode) -> Vec<&str> {
        self.decisions
            .iter()
            .filter(|decision| decision.code == code)
            .map(|decision| &*decision.text)
            .collect()
    }

    pub(super) fn ended(&self, code: ReasonCode) -> usize {
        self.rows.values().filter(|row| row.ended.as_ref().is_some_and(|ended| ended.code == code)).count()
    }
}
