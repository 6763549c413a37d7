//! Everything at once, at random. A seed that fails is printed, and replays: `GANGER_SEED=N cargo nextest run -p ganger-pools
//! chaos`. How many seeds are tried says `GANGER_SEEDS` (`cargo xtask long`: thousands).

use std::{fmt::Write as _, time::Duration};

use pools::{
    Market,
    sim::{Boot, Builder, ImageFault, Listing, Lock, Ours, Random, Simulation},
};

use crate::stage::{POOL, at, offering, ours, pushes, secs, with_cloud, with_pool, world};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// In so many parts, which run beside each other.
const PARTS: u64 = 8;

/// Runs the worlds of one part.
fn part(part: u64) {
    let seeds: Vec<u64> = match number("GANGER_SEED") {
        Some(seed) => (seed % PARTS == part).then_some(seed).into_iter().collect(),
        None => (1..=number("GANGER_SEEDS").unwrap_or(24)).filter(|seed| seed % PARTS == part).collect(),
    };
    let mut failed = String::new();
    for seed in seeds {
        let survived = std::panic::catch_unwind(|| survives(seed));
        if let Err(problem) = survived.unwrap_or_else(|_| Err("it panicked".to_owned())) {
            writeln!(failed, "GANGER_SEED={seed}: {problem}").expect("memory");
        }
    }
    assert!(failed.is_empty(), "{failed}");
}

macro_rules! parts {
    ($($name:ident: $part:literal)*) => {$(
        #[test]
        fn $name() {
            part($part);
        }
    )*};
}

parts! {
    random_worlds_0: 0
    random_worlds_1: 1
    random_worlds_2: 2
    random_worlds_3: 3
    random_worlds_4: 4
    random_worlds_5: 5
    random_worlds_6: 6
    random_worlds_7: 7
}

/// A world made from a seed.
fn chaos(seed: u64) -> Simulation<Ours> {
    let mut random = Random::stream(seed, 200);
    let builders = 1 + random.below(6);
    let jobs = pushes(20 + random.below(180), secs(7200), seed);
    let mut setting = world(1 + random.below(60) as u32, jobs);
    setting.seed = seed;
    setting.tail = secs(8 * 3600);
    setting.workload.builders = (0..builders).map(|index| Builder::new(&format!("b{index}"), POOL)).collect();
    if random.chance(0.3) {
        let lock = Lock { name: "lock".into(), permits: 1 + random.below(3) as u32, is_lock: true };
        setting.workload.permits.push(lock);
        setting.workload.builders[0].needs = vec![0];
    }
    setting.workload.builders[builders - 1].collapses = random.chance(0.2);
    for job in &mut setting.workload.jobs {
        job.builder = random.below(builders);
        job.duration = job.duration.min(secs(1200)).max(secs(5));
    }
    let max_builds = [None, Some(1), Some(1), Some(4)][random.below(4)];
    let (once, short_lived) = (random.chance(0.1), random.chance(0.1));
    let (hang, die) = (random.unit() * 0.2, random.unit() * 0.1);
    let median = Duration::from_secs_f64(random.log_normal(90.0, 0.8).min(900.0));
    let setting = with_pool(setting, |pool| {
        pool.max_builds = max_builds.and_then(std::num::NonZeroU32::new);
        pool.builds_per_instance = once.then_some(std::num::NonZeroU32::MIN);
        pool.max_age = short_lived.then_some(secs(1800));
        for class in &mut pool.classes {
            class.on_demand_after = Some(secs(300));
        }
    });
    let market = random.chance(0.5);
    let loss = random.unit() * 0.3;
    let setting = with_cloud(setting, |cloud| {
        (cloud.hang, cloud.die) = (hang, die);
        cloud.boot = Boot::LogNormal { median, sigma: 0.35 };
        cloud.batch = 50;
        if market {
            cloud.offerings = vec![
                offering("a/x/spot", Market::Spot, 0.3),
                offering("b/x/spot", Market::Spot, 0.32),
                offering("c/x/on-demand", Market::OnDemand, 1.0),
            ];
            cloud.offerings[0].loss_per_hour = loss;
        }
    });
    let mut run = ours(setting);
    run.downtime = secs(1 + random.below(60) as u64);
    for _ in 0..random.below(8) {
        disturb(&mut run, &mut random);
    }
    // At last everything is well again.
    run.at(at(9000), |run| run.cloud.faults = Default::default());
    run
}

fn disturb(run: &mut Simulation<Ours>, random: &mut Random) {
    let from = random.below(7200) as u64;
    let until = from + 30 + random.below(1200) as u64;
    let share = random.unit();
    match random.below(12) {
        0 => run.at(at(from), |run| run.crash()),
        1 => run.crash_at = Some(1 + random.below(2000) as u64),
        2 => run.at(at(from), move |run| {
            run.storm(share, from);
        }),
        3 => {
            run.at(at(from), move |run| run.cloud.faults.answer_lost = share);
            run.at(at(until), |run| run.cloud.faults.answer_lost = 0.0);
        }
        4 => {
            run.at(at(from), |run| run.cloud.faults.throttle = true);
            run.at(at(until), |run| run.cloud.faults.throttle = false);
        }
        5 => {
            run.at(at(from), |run| run.cloud.faults.throttle_terminate = true);
            run.at(at(until), |run| run.cloud.faults.throttle_terminate = false);
        }
        6 => {
            let lie = [Listing::Fails, Listing::Stale(secs(300)), Listing::Partial(share)][random.below(3)];
            run.at(at(from), move |run| run.cloud.faults.listing = lie);
            run.at(at(from + 61), |run| run.cloud.faults.listing = Listing::Complete);
        }
        7 => {
            run.at(at(from), |run| {
                let fault = ImageFault { never_connects: true, ..ImageFault::default() };
                run.cloud.faults.images.insert("image-1".to_owned(), fault);
            });
            run.at(at(until), |run| run.cloud.faults.images.clear());
        }
        8 => {
            run.at(at(from), |run| run.cut());
            run.at(at(until), |run| run.cloud.faults.split = false);
        }
        9 => run.at(at(from), move |run| {
            let connected: Vec<usize> = run.connected().map(|(_, machine)| machine).collect();
            for machine in connected.into_iter().step_by(2) {
                run.give_notice(machine, secs(1 + (share * 120.0) as u64));
            }
        }),
        10 => run.at(at(from), move |run| {
            run.cloud.faults.capacity.insert("a/x/spot".to_owned(), (share * 10.0) as u32);
        }),
        _ => run.at(at(from), |run| {
            let some: Vec<_> = run.connected().map(|(instance, _)| instance).take(2).collect();
            for instance in some {
                run.tell(pools::Event::Operator(pools::Operator::Drain(instance)));
            }
        }),
    }
}

fn survives(seed: u64) -> Result<(), String> {
    let mut run = chaos(seed);
    let outcome = run.run();
    if !outcome.violations.is_empty() {
        return Err(outcome.violations.join("; "));
    }
    let built = outcome.finished + outcome.merged + outcome.failed;
    if built != outcome.jobs {
        return Err(format!("{built} of {} jobs are built", outcome.jobs));
    }
    if (outcome.leaked, outcome.duplicates, outcome.killed_busy) != (0, 0, 0) || run.cloud.live != [0] {
        return Err(format!("{} machines are left; {outcome:#?}", run.cloud.live[0]));
    }
    Ok(())
}

#[test]
fn a_seed_gives_the_same_world_again() {
    for seed in [3, 8] {
        assert_eq!(chaos(seed).run(), chaos(seed).run());
    }
}
