//! How long a plan takes: a typical one, and one with 10,000 requests and 2,000 machines (which must stay below 5 ms).

#![expect(missing_docs, reason = "criterion_group makes a public function")]

use std::{hint::black_box, num::NonZeroU32, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use model::{
    BuildRequestId, BuilderId, Time,
    pool::{Billing, Budget, Class, Idle, Money, PoolSpec, Warm},
};
use pools::{
    Demand, Market, Offering, Waiting,
    demand::DemandBuilder,
    learn::{BootTimes, Jobs, Learned},
    plan::{Coming, Common, Partly, Running, Spend, Supply, View, plan},
};

const NOW: Time = Time::from_epoch_seconds(1_700_000_000);

struct Load {
    builders: i64,
    requests: i64,
    idle: u32,
    busy: u64,
    coming: u64,
    max_builds: Option<u32>,
}

struct World {
    spec: PoolSpec,
    learned: Learned,
    offerings: Vec<Offering>,
    running: Vec<Running>,
    partly: Vec<Partly>,
    coming: Vec<Coming>,
    demand: Demand,
    jobs: Jobs,
    idle: u32,
    full: u32,
}

impl World {
    fn new(load: &Load) -> Self {
        let pool: Arc<str> = "pool".into();
        let class = |name: &str, from, lambda| Class {
            name: name.to_owned(),
            from,
            lambda,
            on_demand_after: None,
            overflow: 0,
            reserve: false,
        };
        let spec = PoolSpec {
            name: "pool".to_owned(),
            max: 100_000,
            min: 0,
            warm: Warm::Fixed(0),
            schedule: Vec::new(),
            classes: vec![class("normal", i64::MIN, 1.0), class("high", 10, 20.0)],
            max_builds: load.max_builds.and_then(NonZeroU32::new),
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
            image: "image".to_owned(),
            template: "template".to_owned(),
            max_price: None,
            enrolls: false,
        };
        let offerings = vec![Offering {
            name: "large".to_owned(),
            instance_type: "large".to_owned(),
            family: "family".to_owned(),
            market: Market::OnDemand,
            price: Money(100_000),
            bid: None,
            performance: 1.0,
            loss_per_hour: 0.0,
        }];
        let mut jobs = Jobs::default();
        let mut learned = Learned::default();
        learned.canary.configured("image");
        for builder in 1..=load.builders {
            for build in 0..10 {
                jobs.took(BuilderId(builder), Duration::from_secs(300 + build * 60));
            }
        }
        for second in 0..300 {
            learned.arrivals.requested(NOW - Duration::from_secs(300 - second), 1.0);
        }
        let builder = |n: u64| BuilderId(i64::try_from(n).unwrap_or(0) % load.builders + 1);
        let since = |n: u64| NOW - Duration::from_secs(n * 7 % 1200);
        let several = load.max_builds != Some(1);
        let running = (0..load.busy).map(|n| Running { builder: builder(n), since: since(n) }).collect();
        let partly: Vec<_> = (0..if several { load.busy } else { 0 })
            .map(|n| Partly { runs: vec![builder(n)], room: load.max_builds.unwrap_or(1000) - 1 })
            .collect();
        let boot = BootTimes::default();
        let coming = (0..load.coming)
            .map(|n| Coming { since: Some(NOW - Duration::from_secs(n % 200)), boot })
            .collect();
        let builders = (1..=load.builders)
            .map(|n| DemandBuilder { id: BuilderId(n), pools: vec![pool.clone()] })
            .collect();
        let requests = (0..load.requests)
            .map(|n| Waiting {
                request: BuildRequestId(n + 1),
                builder: usize::try_from(n % load.builders).unwrap_or(0),
                priority: if n < load.requests / 7 { 10 } else { 0 },
                submitted_at: NOW - Duration::from_secs(60),
                needs: Vec::new(),
                collapses_into: None,
                losses: 0,
                lost_on: None,
            })
            .collect();
        let demand = Demand { builders, requests, ..Demand::default() };
        let full = if several { 0 } else { u32::try_from(load.busy).unwrap_or(0) };
        Self { spec, learned, offerings, running, partly, coming, demand, jobs, idle: load.idle, full }
    }

    fn plan(&self) -> usize {
        let machines = self.partly.len() + self.coming.len();
        let live = self.idle + self.full + u32::try_from(machines).unwrap_or(0);
        let view = View {
            spec: &self.spec,
            learned: &self.learned,
            image: &self.spec.image,
            offerings: &self.offerings,
            supply: Supply {
                live,
                idle: self.idle,
                partly: &self.partly,
                full: self.full,
                running: &self.running,
                coming: &self.coming,
                open: 0,
                stopped: 0,
            },
            scaled: None,
            rooms: &[],
            spend: Spend::default(),
        };
        plan(NOW, &self.demand, &[view], &Common::default(), &self.jobs).len()
    }
}

fn plans(criterion: &mut Criterion) {
    let typical = Load { builders: 1, requests: 5, idle: 10, busy: 300, coming: 10, max_builds: Some(1) };
    let many = Load { builders: 200, requests: 5, idle: 10, busy: 300, coming: 10, max_builds: Some(1) };
    let full =
        Load { builders: 1, requests: 10_000, idle: 100, busy: 1600, coming: 300, max_builds: Some(1) };
    let builders = Load { builders: 1000, ..full };
    let several = Load { max_builds: Some(4), ..builders };
    let all = Load { max_builds: None, ..builders };
    for (name, load) in [
        ("300 busy", typical),
        ("300 busy, 200 builders", many),
        ("10,000 requests, 2,000 machines", full),
        ("10,000 requests, 2,000 machines, 1,000 builders", builders),
        ("10,000 requests, 2,000 machines, 1,000 builders, 4 builds each", several),
        ("10,000 requests, 2,000 machines, 1,000 builders, no limit", all),
    ] {
        let world = World::new(&load);
        criterion.bench_function(name, |bencher| bencher.iter(|| black_box(&world).plan()));
    }
}

criterion_group!(benches, plans);
criterion_main!(benches);
