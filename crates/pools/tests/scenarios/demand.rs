//! Bursts, trickles, priorities, locks: how many machines are started, and when they leave.

use model::pool::Idle;
use pools::sim::{self, Boot, Builder, Choice, Job, Lock, Outcome, Setting, Workload};

use crate::stage::{at, hours, jobs, ours, secs, sound, urgent, with_cloud, with_pool, world};

fn net_demand(setting: &Setting) -> Outcome {
    sim::simulate(setting.clone(), Choice::NetDemand)
}

#[test]
fn s01_a_spike_starts_no_more_than_it_needs() {
    let setting = world(3000, jobs(400, 0, 10, 1200));
    let mut run = ours(setting);
    let outcome = run.run();
    sound(&outcome);
    assert!(outcome.launches <= 500, "{} machines for 400 jobs", outcome.launches);
    // One call a second while jobs come in, and not one for each job.
    let calls = run.cloud.asks.iter().filter(|ask| ask.at <= at(30)).count();
    assert!(calls <= 12, "{calls} calls");
    assert_eq!(outcome.throttles, 0);
}

#[test]
fn s01_a_spike_at_once_takes_one_call_for_each_batch() {
    let setting = with_cloud(world(3000, jobs(400, 0, 0, 1200)), |cloud| cloud.batch = 100);
    let mut run = ours(setting);
    let outcome = run.run();
    sound(&outcome);
    let calls = run.cloud.asks.iter().filter(|ask| ask.at <= at(60)).count();
    assert!(calls <= 4 + 2, "{calls} calls for 4 batches");
}

#[test]
fn s02_a_second_burst_while_the_first_boots_gets_its_machines() {
    let mut both = jobs(100, 0, 0, 600);
    both.extend(jobs(100, 60, 0, 600));
    let (mut once, mut twice) = (0.0, 0.0);
    for seed in 1..=10 {
        once += burst(jobs(200, 0, 0, 600), seed).mean_wait_s;
        let outcome = burst(both.clone(), seed);
        assert!(outcome.launches >= 200, "{} machines for 200 jobs", outcome.launches);
        twice += outcome.mean_wait_s;
    }
    assert!(twice <= 1.05 * once, "{} s on average, {} s in one burst", twice / 10.0, once / 10.0);
}

fn burst(jobs: Vec<Job>, seed: u64) -> Outcome {
    let mut setting = world(3000, jobs);
    setting.seed = seed;
    let outcome = ours(setting).run();
    sound(&outcome);
    outcome
}

#[test]
fn s03_short_jobs_share_machines() {
    let all: Vec<Job> = (0..24).flat_map(|half_hour| jobs(200, half_hour * 1800, 0, 20)).collect();
    let setting = world(3000, all);
    let other = net_demand(&setting);
    let outcome = ours(setting).run();
    sound(&outcome);
    assert!(
        outcome.overhead_h <= other.overhead_h / 4.0,
        "{} h, and net demand {} h",
        outcome.overhead_h,
        other.overhead_h
    );
    assert_eq!(outcome.throttles, 0);
}

#[test]
fn s16_demand_that_flaps_does_not_start_machines_again_and_again() {
    // Between 20 and 30 machines are of use, now more, now fewer, for a day.
    let mut all = Vec::new();
    for i in 0..600_u64 {
        all.extend(jobs(20 + ((i * 7) % 11) as u32, i * 144, 10, 120));
    }
    // Both keep machines for the same time: what is compared is when they start them.
    let setting = with_pool(world(100, all), |pool| pool.idle = Idle::For(secs(300)));
    let other = sim::simulate(setting.clone(), Choice::NetDemandShort);
    let outcome = ours(setting).run();
    sound(&outcome);
    let per_job = |outcome: &Outcome| outcome.launches as f64 / outcome.jobs as f64;
    assert!(
        per_job(&outcome) <= per_job(&other) * 1.25,
        "{} machines, and net demand {}",
        outcome.launches,
        other.launches
    );
}

#[test]
fn s17_an_urgent_job_comes_next_when_all_machines_are_busy() {
    // Ten machines are full with jobs of 4 h that end one after the other; more of them wait.
    let mut all = jobs(10, 0, 3600, 4 * 3600);
    all.extend(jobs(20, 4000, 0, 4 * 3600));
    all.extend(urgent(1, 7200, 0, 60));
    let mut run = ours(world(10, all));
    let outcome = run.run();
    sound(&outcome);
    // The first job began within a few minutes of 0 and ends 4 h later; the urgent one is next.
    let urgent = outcome.waits.iter().find(|waits| waits.priority == sim::HIGH).unwrap();
    let first_end = run.farm.requests()[0].first_start.unwrap() + hours(4);
    assert!(secs(urgent.max as u64) <= first_end.since(at(7200)) + secs(5), "waited {} s", urgent.max);
}

#[test]
fn s17_an_urgent_job_may_have_a_machine_beyond_the_maximum() {
    let mut all = jobs(30, 0, 0, 4 * 3600);
    all.extend(urgent(1, 7200, 0, 60));
    let setting = with_pool(world(10, all), |pool| {
        for class in &mut pool.classes {
            class.overflow = if class.name == "high" { 1 } else { 0 };
        }
    });
    let setting = with_cloud(setting, |cloud| cloud.hang = 0.0);
    let mut run = ours(setting);
    let outcome = run.run();
    sound(&outcome);
    let urgent = outcome.waits.iter().find(|waits| waits.priority == sim::HIGH).unwrap();
    assert!(urgent.max <= 400.0, "waited {} s", urgent.max);
    assert_eq!(outcome.peak, 11);
}

#[test]
fn s17_a_waiting_request_is_explained() {
    let mut run = ours(world(10, jobs(30, 0, 0, 4 * 3600)));
    run.at(at(3600), |run| {
        let waiting: Vec<usize> = run.farm.queue().collect();
        assert_eq!(waiting.len(), 20);
        for request in waiting {
            let why = run.policy.pools.why_request(sim::request_id(request)).expect("it is explained");
            assert!(!why.text.is_empty() && !why.text.ends_with('.'), "{why:?}");
        }
    });
    sound(&run.run());
}

#[test]
fn s19_what_waits_for_a_lock_starts_no_machines() {
    for permits in [1, 3] {
        let mut workload = Workload::of_one_builder("linux", Vec::new());
        workload.permits.push(Lock { name: "database".into(), permits, is_lock: true });
        workload.builders.clear();
        // 500 requests of many builders, so that a machine could take any number of them.
        for index in 0..50 {
            let mut builder = Builder::new(&format!("b{index}"), "linux");
            builder.needs = vec![0];
            workload.builders.push(builder);
        }
        workload.jobs = jobs(500, 0, 0, 60);
        for (index, job) in workload.jobs.iter_mut().enumerate() {
            job.builder = index % 50;
        }
        let mut setting = world(1000, Vec::new());
        setting.workload = workload;
        let setting = with_cloud(setting, |cloud| cloud.hang = 0.0);
        let outcome = ours(setting).run();
        sound(&outcome);
        assert!(
            outcome.launches <= 1 + permits as usize,
            "{} machines for {permits} permits",
            outcome.launches
        );
    }
}

#[test]
fn s20_one_build_of_a_builder_on_a_machine_and_as_many_builders_as_it_takes() {
    for (max_builds, machines) in [(None, 1), (Some(4), 8), (Some(1), 30)] {
        let mut setting = world(100, Vec::new());
        setting.workload.builders =
            (0..30).map(|index| Builder::new(&format!("b{index}"), "linux")).collect();
        setting.workload.jobs = jobs(30, 0, 0, 600);
        for (index, job) in setting.workload.jobs.iter_mut().enumerate() {
            job.builder = index;
        }
        let setting = with_pool(setting, |pool| {
            pool.max_builds = max_builds.and_then(std::num::NonZeroU32::new);
            pool.forecast = false;
        });
        // All boots take about the same time, so that none is replaced.
        let boot = Boot::LogNormal { median: secs(120), sigma: 0.05 };
        let setting = with_cloud(setting, |cloud| (cloud.hang, cloud.boot) = (0.0, boot));
        let mut run = ours(setting);
        let outcome = run.run();
        sound(&outcome);
        let why = run.policy.database.decisions;
        assert_eq!(outcome.launches, machines, "max_builds {max_builds:?}: {why:#?}");
    }
}

#[test]
fn s20_requests_that_will_be_merged_count_once() {
    let mut setting = world(100, jobs(50, 0, 0, 600));
    setting.workload.builders[0].collapses = true;
    let setting = with_cloud(setting, |cloud| cloud.hang = 0.0);
    let outcome = ours(setting).run();
    sound(&outcome);
    assert_eq!((outcome.launches, outcome.finished, outcome.merged), (1, 1, 49));
}

#[test]
fn s20_ordinary_workers_are_counted_on() {
    let mut setting = world(100, jobs(1, 0, 0, 60));
    setting.workload.ordinary.push(sim::Ordinary { builders: vec![0], max_builds: 1 });
    let outcome = ours(setting).run();
    sound(&outcome);
    assert_eq!(outcome.launches, 0, "the ordinary worker builds it");
}

#[test]
fn s27_a_year_of_one_job_a_week_keeps_no_machine() {
    let all: Vec<Job> = (0..52).flat_map(|week| jobs(1, week * 7 * 86400, 0, 600)).collect();
    let setting = with_cloud(world(10, all), |cloud| cloud.hang = 0.0);
    let mut run = ours(setting);
    for week in 1..52 {
        run.at(at(week * 7 * 86400 - 3600), |run| {
            assert_eq!(run.cloud.live, [0], "between jobs there are none")
        });
    }
    let outcome = run.run();
    sound(&outcome);
    // B95 of a log-normal with a median of 120 s and σ 0.35 is 213 s; one in twenty takes longer.
    assert!(outcome.p90_wait_s <= 213.0 + 10.0, "{}", outcome.p90_wait_s);
    // Some take so long that another one is started meanwhile.
    assert!((52..=54).contains(&outcome.launches), "{} machines", outcome.launches);
}
