//! What it costs the core to have pools: passes over thousands of requests, and builds that start on their machines.
//!
//! `cargo run --release -p ganger-engine --example pool_passes [REQUESTS [MACHINES [BUILDERS]]]`
#![expect(clippy::print_stdout, reason = "it is there to print")]

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    num::NonZeroU32,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use config::{Builder, Config, LocalTemplate, Pool, PoolProvider};
use engine::{Action, Core, Event, Force, ReplyId, SessionId, core::Hiring};
use model::{
    BuildId, InstanceId, Json, Properties, Results, Time,
    pool::{Billing, Budget, Class, Idle, PoolSpec, Warm},
};
use pools::{Mint, Token, Verifier};
use secrecy::SecretString;
use storage::{Ids, Restored};

/// Counts.
#[derive(Debug, Default)]
struct Counter(i64);

impl Mint for Counter {
    fn next_instance(&mut self) -> InstanceId {
        self.0 += 1;
        InstanceId(self.0)
    }
    fn token(&mut self) -> Token {
        self.0 += 1;
        Token(self.0.to_string())
    }
    fn secret(&mut self) -> SecretString {
        SecretString::default()
    }
    fn verifier(&self, _secret: &SecretString) -> Verifier {
        Verifier(String::new())
    }
    fn ticket(&self, _pool: &str, _token: &Token, _expires: Time) -> SecretString {
        SecretString::default()
    }
}

fn main() {
    let mut arguments = env::args().skip(1).map(|argument| argument.parse::<usize>().expect("a number"));
    let requests = arguments.next().unwrap_or(10_000);
    let machines = arguments.next().unwrap_or(2_000);
    let builders = arguments.next().unwrap_or(200);

    let now = Time::from_epoch_seconds(1_000_000);
    let config = Arc::new(farm(builders));
    let hiring = Hiring::new(&config, Box::new(Counter::default()));
    let (mut core, _) =
        Core::new(config, Restored::default(), BTreeMap::new(), hiring, Box::new(Ids::default()), now);

    let begun = Instant::now();
    for machine in 0..machines {
        let session = SessionId(machine as u64);
        let (pool, peer) = ("pool".to_owned(), String::new());
        core.handle(now, Event::PoolLoggedIn { session, pool, instance: None, peer });
        core.handle(now, Event::Attached { session, info: Json::Null, boot: None });
        core.handle(now, Event::Ready { session });
    }
    println!("{machines} machines logged in in {:?}", begun.elapsed());

    let begun = Instant::now();
    let mut running: Vec<BuildId> = Vec::new();
    for request in 0..requests + machines {
        let force = Force { scheduler: format!("f{}", request % builders), ..Force::default() };
        let batch = core.handle(now, Event::Force { force: Box::new(force), reply: ReplyId(0) });
        running.extend(batch.actions.iter().filter_map(started));
    }
    println!(
        "{} requests came in in {:?}; {} builds run",
        requests + machines,
        begun.elapsed(),
        running.len()
    );

    let rounds = 100;
    let begun = Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(core.plan_pools(now));
    }
    println!("one look at {requests} requests and {machines} machines takes {:?}", begun.elapsed() / rounds);

    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let ended = 20_000.min(requests);
    for count in 0..ended {
        let build = running.swap_remove((count * 7919) % running.len());
        let (results, state_string) = (Results::Success, String::new());
        let each = Instant::now();
        let batch = core.handle(now, Event::BuildFinished { build, results, state_string });
        slowest = slowest.max(each.elapsed());
        running.extend(batch.actions.iter().filter_map(started));
    }
    let time = begun.elapsed();
    println!(
        "{ended} builds ended and as many began in {time:?}: {:.0} builds/s, the slowest in {slowest:?}",
        ended as f64 / time.as_secs_f64()
    );
}

fn started(action: &Action) -> Option<BuildId> {
    match action {
        Action::StartBuild(order) => Some(order.build),
        _ => None,
    }
}

/// Builders of one pool.
fn farm(builders: usize) -> Config {
    let mut text =
        String::from("[master]\ncollapseRequests = false\n[[worker]]\nname = \"none\"\npassword = \"x\"\n");
    for builder in 0..builders {
        write!(
            text,
            "[[builder]]\nname = \"b{builder}\"\nworkers = [\"none\"]\n[[scheduler]]\ntype = \"ForceScheduler\"\nname = \"f{builder}\"\nbuilderNames = [\"b{builder}\"]\n"
        )
        .expect("memory");
    }
    let mut config = config::parse(&text, "generated", Path::new("/")).expect("a good configuration").config;
    config.workers.clear();
    for builder in &mut config.builders {
        *builder = Arc::new(Builder { workers: vec!["pool".to_owned()], ..Builder::clone(builder) });
    }
    let class = Class {
        name: "all".to_owned(),
        from: i64::MIN,
        lambda: 1.0,
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
        classes: vec![class],
        max_builds: NonZeroU32::new(1),
        idle: Idle::Derived,
        boot_timeout: None,
        builds_per_instance: None,
        max_age: None,
        max_hold: Duration::from_secs(86_400),
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
    config.pools.push(Arc::new(Pool {
        spec: Arc::new(spec),
        password: Some("guest".into()),
        keepalive_interval: Duration::from_secs(600),
        properties: Properties::new(),
        default_properties: Properties::new(),
        provider: PoolProvider::Local(Box::new(LocalTemplate::new("/machines".into()))),
        master: None,
    }));
    config
}
