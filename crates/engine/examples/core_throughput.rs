//! How many builds a second the core decides on in a large farm, without disk and network.
//!
//! `cargo run --release -p ganger-engine --example core_throughput [BUILDERS [WORKERS [BUILDS]]]`
#![expect(clippy::print_stdout, reason = "it is there to print")]

use std::{collections::BTreeMap, env, fmt::Write as _, path::Path, sync::Arc, time::Instant};

use engine::{Action, Batch, Core, Event, Force, ReplyId, SessionId, core::Hiring};
use model::{BuildId, InstanceId, Json, Results, Time};
use pools::{Mint, Token, Verifier};
use secrecy::SecretString;
use storage::{Ids, Restored};

/// There are no pools, so nothing is ever made for them.
#[derive(Debug)]
struct NoPools;

impl Mint for NoPools {
    fn next_instance(&mut self) -> InstanceId {
        InstanceId(0)
    }
    fn token(&mut self) -> Token {
        Token(String::new())
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
    let builders = arguments.next().unwrap_or(10_000);
    let workers = arguments.next().unwrap_or(1_000);
    let builds = arguments.next().unwrap_or(200_000);

    let mut text = String::from("[master]\ncollapseRequests = false\n");
    for worker in 0..workers {
        write!(text, "[[worker]]\nname = \"w{worker}\"\npassword = \"x\"\nmax_builds = 2\n").expect("memory");
    }
    // Ten workers for each builder, as many sets as there are workers.
    for builder in 0..builders {
        let set: Vec<_> = (0..10.min(workers)).map(|i| format!("w{}", (builder + i * 7) % workers)).collect();
        writeln!(text, "[[builder]]\nname = \"b{builder}\"\nworkers = {set:?}").expect("memory");
    }
    for builder in 0..builders {
        let head = "[[scheduler]]\ntype = \"ForceScheduler\"\n";
        writeln!(text, "{head}name = \"f{builder}\"\nbuilderNames = [\"b{builder}\"]").expect("memory");
    }
    let loaded = config::parse(&text, "generated", Path::new("/")).expect("a good configuration");

    let now = Time::from_epoch_seconds(1_000_000);
    let begun = Instant::now();
    let hiring = Hiring::new(&loaded.config, Box::new(NoPools));
    let (mut core, first) = Core::new(
        Arc::new(loaded.config),
        Restored::default(),
        BTreeMap::new(),
        hiring,
        Box::new(Ids::default()),
        now,
    );
    println!(
        "{builders} builders, {workers} workers: taken up in {:?}, {} rows",
        begun.elapsed(),
        first.writes.len()
    );

    let begun = Instant::now();
    for worker in 0..workers {
        let session = SessionId(worker as u64);
        core.handle(now, Event::LoggedIn { session, worker: format!("w{worker}") });
        core.handle(now, Event::Attached { session, info: Json::Null, boot: None });
        core.handle(now, Event::Ready { session });
    }
    println!("{workers} workers logged in in {:?}", begun.elapsed());

    let mut farm = Farm { running: Vec::new(), rows: 0, started: 0 };
    let force = |builder: usize| Force {
        scheduler: format!("f{builder}"),
        owner: "me".to_owned(),
        ..Force::default()
    };
    let begun = Instant::now();
    for builder in 0..builders {
        farm.take(core.handle(now, Event::Force { force: Box::new(force(builder)), reply: ReplyId(0) }));
    }
    println!("{builders} requests came in in {:?}; {} builds run", begun.elapsed(), farm.running.len());

    let begun = Instant::now();
    let (before, mut ended) = (core.looked_at(), 0_usize);
    while farm.started < builds {
        let build = farm.running.swap_remove((ended * 7919) % farm.running.len());
        let (results, state_string) = (Results::Success, "build successful".to_owned());
        farm.take(core.handle(now, Event::BuildFinished { build, results, state_string }));
        let request = Box::new(force((ended * 31) % builders));
        farm.take(core.handle(now, Event::Force { force: request, reply: ReplyId(0) }));
        ended += 1;
    }
    let time = begun.elapsed();
    println!(
        "{ended} builds ended and as many were asked for and started in {time:?}: {:.0} builds/s, {:.1} rows and {:.1} looks for each",
        ended as f64 / time.as_secs_f64(),
        farm.rows as f64 / farm.started as f64,
        (core.looked_at() - before) as f64 / ended as f64,
    );
}

struct Farm {
    running: Vec<BuildId>,
    rows: usize,
    started: usize,
}

impl Farm {
    fn take(&mut self, batch: Batch) {
        self.rows += batch.writes.len();
        for action in batch.actions {
            if let Action::StartBuild(order) = action {
                self.running.push(order.build);
                self.started += 1;
            }
        }
    }
}
