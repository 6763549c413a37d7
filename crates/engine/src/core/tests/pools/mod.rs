//! The core with pools: a cloud in which everything goes well unless a test says otherwise.

mod drains;
mod hiring;
mod logins;
mod scale;
mod slots;

use std::{mem, num::NonZeroU32, time::Duration};

use ::pools::{
    Capabilities, Event as PoolEvent, Offering, Order, State,
    provider::{LaunchRequest, Launched, Machine, MachineStatus},
};
use config::{LocalTemplate, Pool, PoolProvider};
use model::{
    InstanceId, Properties,
    pool::{Billing, Budget, Class, Idle, Money, PoolSpec, Warm},
};

use super::*;

/// A pool of at most so many machines, whose machines go after a minute without work.
pub(crate) fn pool(name: &str, max: u32) -> Pool {
    Pool {
        spec: Arc::new(PoolSpec {
            name: name.to_owned(),
            max,
            min: 0,
            warm: Warm::Fixed(0),
            schedule: Vec::new(),
            classes: vec![Class {
                name: "all".to_owned(),
                from: i64::MIN,
                lambda: 20.0,
                on_demand_after: None,
                overflow: 0,
                reserve: false,
            }],
            max_builds: NonZeroU32::new(1),
            idle: Idle::For(Duration::from_secs(60)),
            boot_timeout: None,
            builds_per_instance: None,
            max_age: None,
            max_hold: Duration::from_secs(86_400),
            forecast: false,
            budget: Budget::default(),
            weight: NonZeroU32::MIN,
            stopped: None,
            billing: Billing::Second,
            image: "image".to_owned(),
            template: "template".to_owned(),
            max_price: None,
            enrolls: false,
        }),
        password: Some("guest".into()),
        keepalive_interval: Duration::from_secs(600),
        properties: Properties::new(),
        default_properties: Properties::new(),
        provider: PoolProvider::Local(Box::new(LocalTemplate::new("/machines".into()))),
        master: None,
    }
}

/// The same with another specification.
pub(crate) fn with(mut pool: Pool, change: impl FnOnce(&mut PoolSpec)) -> Pool {
    let mut spec = PoolSpec::clone(&pool.spec);
    change(&mut spec);
    pool.spec = Arc::new(spec);
    pool
}

/// A farm with pools: `builders` name workers and pools.
pub(crate) fn farm_with_pools(
    workers: &[(&str, u32)],
    pools: &[Pool],
    builders: &[(&str, &[&str])],
) -> Arc<Config> {
    // What is in the text must have workers of the text.
    let all: Vec<(&str, u32)> = workers.iter().copied().chain([("nobody", 0)]).collect();
    let named: Vec<(&str, &[&str])> = builders.iter().map(|(name, _)| (*name, &["nobody"][..])).collect();
    let mut config = Config::clone(&config(&farm(&all, &named, "")));
    config.workers.retain(|worker| worker.name != "nobody");
    config.pools = pools.iter().cloned().map(Arc::new).collect();
    for (builder, (_, workers)) in config.builders.iter_mut().zip(builders) {
        let mut new = config::Builder::clone(builder);
        new.workers = workers.iter().map(|name| (*name).to_owned()).collect();
        *builder = Arc::new(new);
    }
    Arc::new(config)
}

/// What a provider sells here.
pub(crate) fn capabilities() -> Capabilities {
    Capabilities {
        offerings: vec![Offering {
            name: "here/large".to_owned(),
            instance_type: "large".to_owned(),
            family: "all".to_owned(),
            market: ::pools::Market::OnDemand,
            price: Money::from_units(0.25),
            bid: None,
            performance: 1.0,
            loss_per_hour: 0.0,
        }],
        batch: 100,
        ..Capabilities::default()
    }
}

/// A machine that runs.
pub(crate) fn machine(request: &LaunchRequest, instance: InstanceId) -> Machine {
    Machine {
        provider_id: format!("i-{instance}"),
        token: Some(request.token.clone()),
        member: Some(instance),
        offering: Some(request.offering.clone()),
        template: Some(request.template.clone()),
        status: MachineStatus::Running,
        launched_at: None,
        price: None,
        details: BTreeMap::new(),
    }
}

/// A core with pools, and the cloud that it hires from.
pub(super) struct Cloud {
    pub(super) world: World,
    /// Machines that were started and have not been ended, with their pools.
    pub(super) machines: BTreeMap<InstanceId, (String, Machine)>,
    /// All that left since somebody looked, in order.
    pub(super) left: Vec<String>,
    pub(super) rows: Vec<Write>,
    /// Whether machines are started and ended at once.
    pub(super) answers: bool,
    pub(super) unanswered: VecDeque<Order>,
    sessions: u64,
}

impl Cloud {
    /// Begins with leases, and with clouds in which there is nothing.
    pub(super) fn new(config: &Arc<Config>) -> Self {
        let world = World::configured(Arc::clone(config), Restored::default(), BTreeMap::new());
        let mut cloud = Self {
            world,
            machines: BTreeMap::new(),
            left: Vec::new(),
            rows: Vec::new(),
            answers: true,
            unanswered: VecDeque::new(),
            sessions: 100,
        };
        cloud.take();
        for pool in config.pools.iter().map(|pool| pool.spec.name.clone()) {
            cloud.offer(&pool);
        }
        cloud.pass(Duration::from_secs(2));
        cloud.left.clear();
        cloud
    }

    /// Gives this master a pool, and says what there is to buy.
    pub(super) fn offer(&mut self, pool: &str) {
        let pool = pool.to_owned();
        self.tell(PoolEvent::Lease { pool: pool.clone(), fence: Some(1) });
        self.tell(PoolEvent::Offers { pool, capabilities: capabilities() });
    }

    pub(super) fn event(&mut self, event: Event) -> &mut Self {
        self.world.event(event);
        self.take();
        self
    }

    pub(super) fn tell(&mut self, event: PoolEvent) -> &mut Self {
        self.event(Event::Pools(event))
    }

    /// Lets time pass, stopping wherever something is due.
    pub(super) fn pass(&mut self, time: Duration) -> &mut Self {
        let end = self.world.now + time;
        while let Some(due) = self.world.core.next_deadline().filter(|due| *due <= end) {
            self.world.now = self.world.now.max(due);
            self.world.batch = self.world.core.handle_timeout(self.world.now);
            self.take();
        }
        self.world.now = end;
        self
    }

    /// What the last event led to: providers answer at once, if they answer.
    fn take(&mut self) {
        self.world.core.check_pools(self.world.now);
        let batch = mem::take(&mut self.world.batch);
        let lines = text(&batch);
        self.left.extend(lines.lines().filter(|line| !line.starts_with('+')).map(str::to_owned));
        self.rows.extend(batch.writes);
        for action in batch.actions {
            if let Action::Provider(order) = action {
                self.unanswered.push_back(order);
            }
        }
        while self.answers
            && let Some(order) = self.unanswered.pop_front()
        {
            self.answer(order);
        }
    }

    /// Does what is ordered, and says so.
    pub(super) fn answer(&mut self, order: Order) {
        match order {
            Order::Launch(request) => {
                let mut machines = Vec::new();
                for member in &request.members {
                    let machine = machine(&request, member.instance);
                    machines.push(machine.clone());
                    self.machines.insert(member.instance, (request.pool.clone(), machine));
                }
                let launched = Launched { machines, ..Launched::default() };
                self.tell(PoolEvent::Launched { token: request.token, result: Ok(launched) });
            }
            Order::List { pool } => {
                let of_pool = self.machines.values().filter(|(of, _)| *of == pool);
                let machines = of_pool.map(|(_, machine)| machine.clone()).collect();
                let asked_at = self.world.now;
                self.tell(PoolEvent::Listed { pool, asked_at, result: Ok(machines) });
            }
            Order::Terminate { instance, .. } => {
                self.machines.remove(&instance);
                self.tell(PoolEvent::Terminated { instance, result: Ok(()) });
            }
            Order::Console { instance, .. } => {
                self.tell(PoolEvent::Console { instance, result: Ok("hello".to_owned()) });
            }
            _ => {}
        }
    }

    /// What left since the last time, without listings.
    #[track_caller]
    pub(super) fn expect(&mut self, expect: &str) -> &mut Self {
        let got: Vec<String> =
            mem::take(&mut self.left).into_iter().filter(|line| !line.starts_with("list ")).collect();
        let expect: Vec<&str> = expect.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(got, expect, "\n--- got:\n{}\n", got.join("\n"));
        self
    }

    /// Forgets what left.
    pub(super) fn quietly(&mut self) -> &mut Self {
        self.left.clear();
        self
    }

    pub(super) fn force(&mut self, builders: &[&str], priority: i64) -> &mut Self {
        self.world.force(builders, priority);
        self.take();
        self
    }

    pub(super) fn finish(&mut self, build: i64, results: Results) -> &mut Self {
        self.world.finish(build, results);
        self.take();
        self
    }

    /// An ordinary worker comes up.
    pub(super) fn connect(&mut self, session: u64, worker: &str) -> &mut Self {
        let session = SessionId(session);
        self.event(Event::LoggedIn { session, worker: worker.to_owned() });
        self.event(Event::Attached { session, info: Json::Null, boot: None });
        self.event(Event::Ready { session })
    }

    /// Somebody who knows the secret of an instance logs in; its session.
    pub(super) fn log_in(&mut self, pool: &str, instance: Option<i64>) -> u64 {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        let (pool, instance) = (pool.to_owned(), instance.map(InstanceId));
        self.event(Event::PoolLoggedIn { session, pool, instance, peer: "10.0.0.1".to_owned() });
        session.0
    }

    /// A worker that was let in says what it is, and can build.
    pub(super) fn attach(&mut self, session: u64, boot: &str) -> &mut Self {
        let session = SessionId(session);
        let info = serde_json::json!({ "version": "4.3.0" });
        self.event(Event::Attached { session, info, boot: Some(boot.to_owned()) });
        self.event(Event::Ready { session })
    }

    /// The worker of an instance comes up; its session.
    pub(super) fn boots(&mut self, pool: &str, instance: i64) -> u64 {
        let session = self.log_in(pool, Some(instance));
        self.attach(session, &format!("boot-{instance}"));
        session
    }

    pub(super) fn lose(&mut self, session: u64) -> &mut Self {
        self.world.lose(session);
        self.take();
        self
    }

    #[track_caller]
    pub(super) fn state(&self, instance: i64) -> State {
        self.world.core.instance(InstanceId(instance)).expect("an instance").state
    }

    /// Machines that were started and have not been ended.
    pub(super) fn ids(&self) -> Vec<i64> {
        self.machines.keys().map(|instance| instance.0).collect()
    }

    pub(super) fn operate(&mut self, operator: ::pools::Operator) -> &mut Self {
        self.event(Event::Operate { operator, reply: ReplyId(0) })
    }
}
