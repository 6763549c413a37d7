//! Plans for small worlds whose answers can be worked out by hand. Machines take 120 s to boot (what is assumed when
//! nothing is known) and builds 600 s, unless a test says otherwise.

mod choice;
mod limits;
mod properties;
mod slots;
mod timeline;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use model::{
    BuildRequestId, BuilderId, Time,
    pool::{Billing, Budget, Class, Idle, Money, PoolSpec, Warm},
};

use super::{Coming, Common, Partly, PoolPlan, Room, Running, Spend, Supply, View, Why, plan};
use crate::{
    Demand, Market, Offering, ReasonCode, Waiting,
    demand::DemandBuilder,
    learn::{BootTimes, Jobs, Learned},
};

/// Now.
const NOW: Time = Time::from_epoch_seconds(1_700_000_000);

fn ago(seconds: u64) -> Time {
    NOW - Duration::from_secs(seconds)
}

fn class(name: &str, from: i64, lambda: f64) -> Class {
    Class { name: name.to_owned(), from, lambda, on_demand_after: None, overflow: 0, reserve: false }
}

/// A pool of machines for one build each.
fn spec(name: &str) -> PoolSpec {
    PoolSpec {
        name: name.to_owned(),
        max: 1000,
        min: 0,
        warm: Warm::Fixed(0),
        schedule: Vec::new(),
        classes: vec![class("normal", i64::MIN, 1.0)],
        max_builds: NonZeroU32::new(1),
        idle: Idle::Derived,
        boot_timeout: None,
        builds_per_instance: None,
        max_age: None,
        max_hold: Duration::from_secs(3600),
        forecast: true,
        budget: Budget::default(),
        weight: NonZeroU32::MIN,
        stopped: None,
        billing: Billing::Second,
        image: "image-1".to_owned(),
        template: "template".to_owned(),
        max_price: None,
        enrolls: false,
    }
}

fn offering(name: &str, market: Market, cents: i64) -> Offering {
    Offering {
        name: name.to_owned(),
        instance_type: "large".to_owned(),
        family: "family".to_owned(),
        market,
        price: Money(cents * 10_000),
        bid: None,
        performance: 1.0,
        loss_per_hour: 0.0,
    }
}

/// A pool and its machines.
#[derive(Debug)]
struct Pool {
    spec: PoolSpec,
    learned: Learned,
    offerings: Vec<Offering>,
    live: u32,
    idle: u32,
    partly: Vec<Partly>,
    full: u32,
    running: Vec<Running>,
    coming: Vec<Coming>,
    open: u32,
    stopped: u32,
    scaled: Option<u32>,
    rooms: Vec<Room>,
    spend: Spend,
}

impl Pool {
    fn new(name: &str) -> Self {
        let mut learned = Learned::default();
        learned.canary.configured("image-1");
        Self {
            spec: spec(name),
            learned,
            offerings: vec![offering("large", Market::OnDemand, 10)],
            live: 0,
            idle: 0,
            partly: Vec::new(),
            full: 0,
            running: Vec::new(),
            coming: Vec::new(),
            open: 0,
            stopped: 0,
            scaled: None,
            rooms: Vec::new(),
            spend: Spend::default(),
        }
    }

    /// Machines that were asked for so many seconds ago.
    fn coming(&mut self, count: u32, age: u64) {
        let boot = BootTimes::default();
        self.coming.extend((0..count).map(|_| Coming { since: Some(ago(age)), boot }));
        self.live += count;
    }

    /// Machines that each run a build of builder 1 since so many seconds, and nothing else.
    fn busy(&mut self, count: u32, since: u64) {
        self.running.extend((0..count).map(|_| Running { builder: BuilderId(1), since: ago(since) }));
        self.full += count;
        self.live += count;
    }

    fn idle(&mut self, count: u32) {
        self.idle += count;
        self.live += count;
    }
}

/// Pools, and what waits for them.
#[derive(Debug, Default)]
struct World {
    pools: Vec<Pool>,
    demand: Demand,
    common: Common,
    jobs: Jobs,
}

impl World {
    /// One pool `p`.
    fn one() -> Self {
        Self { pools: vec![Pool::new("p")], ..Self::default() }
    }

    fn pool(&mut self) -> &mut Pool {
        &mut self.pools[0]
    }

    /// A builder of these pools; its id is one more than its index.
    fn builder(&mut self, pools: &[&str]) -> usize {
        let index = self.demand.builders.len();
        let id = BuilderId(i64::try_from(index).unwrap() + 1);
        let pools = pools.iter().map(|pool| Arc::from(*pool)).collect();
        self.demand.builders.push(DemandBuilder { id, pools });
        index
    }

    /// Requests of a builder, a minute old.
    fn wait(&mut self, builder: usize, count: usize, priority: i64) {
        for _ in 0..count {
            let request = BuildRequestId(i64::try_from(self.demand.requests.len()).unwrap() + 1);
            self.demand.requests.push(Waiting {
                request,
                builder,
                priority,
                submitted_at: ago(60),
                needs: Vec::new(),
                collapses_into: None,
                losses: 0,
                lost_on: None,
            });
        }
    }

    /// So many requests of one builder of the pool `p`.
    fn burst(count: usize) -> Self {
        let mut world = Self::one();
        let builder = world.builder(&["p"]);
        world.wait(builder, count, 0);
        world
    }

    /// Builds of each builder take so long, as was seen often.
    fn take(&mut self, seconds: u64) {
        for builder in &self.demand.builders {
            for _ in 0..2000 {
                self.jobs.took(builder.id, Duration::from_secs(seconds));
            }
        }
        for pool in &mut self.pools {
            for _ in 0..50 {
                pool.learned.durations.took(Duration::from_secs(seconds));
            }
        }
    }

    fn plan(&self) -> Vec<PoolPlan> {
        let views: Vec<_> = self
            .pools
            .iter()
            .map(|pool| View {
                spec: &pool.spec,
                learned: &pool.learned,
                image: &pool.spec.image,
                offerings: &pool.offerings,
                supply: Supply {
                    live: pool.live,
                    idle: pool.idle,
                    partly: &pool.partly,
                    full: pool.full,
                    running: &pool.running,
                    coming: &pool.coming,
                    open: pool.open,
                    stopped: pool.stopped,
                },
                scaled: pool.scaled,
                rooms: &pool.rooms,
                spend: pool.spend,
            })
            .collect();
        plan(NOW, &self.demand, &views, &self.common, &self.jobs)
    }

    /// The plan of the only pool.
    fn only(&self) -> PoolPlan {
        self.plan().remove(0)
    }
}

/// How many machines a plan starts for a reason.
fn started(plan: &PoolPlan, code: ReasonCode) -> u32 {
    plan.launches.iter().filter(|launch| launch.code == code).map(|launch| launch.count).sum()
}

/// How many machines a plan denies for a reason.
fn denied(plan: &PoolPlan, code: ReasonCode) -> u32 {
    plan.denied.iter().filter(|denied| denied.code == code).map(|denied| denied.count).sum()
}

/// How many requests start for a reason.
fn count(plan: &PoolPlan, why: &Why) -> usize {
    plan.requests.iter().filter(|outlook| outlook.why == *why).count()
}

/// In how many seconds each request starts.
fn starts(plan: &PoolPlan) -> Vec<Option<u64>> {
    plan.requests.iter().map(|outlook| outlook.start.map(|start| start.since(NOW).as_secs())).collect()
}
