//! Demand like that of a large CI, and how well we do against the rules of others: made up, and recorded. The recordings
//! are not part of the tree: `GANGER_TRACES` names the directory with `gecko-t-t-linux-large.csv.gz` and
//! `mobile-3-b-linux-large.csv.gz`, as docs/pool-policy.md says.

use std::{fs::File, io::BufReader, path::PathBuf};

use flate2::read::GzDecoder;

use pools::sim::{self, Choice, HIGH, Outcome, Setting, Workload};

use crate::stage::{POOL, hours, pushes};

/// λ from cheap to quick.
const LAMBDAS: [f64; 9] = [0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 5.0];

fn setting(workload: &Workload, lambda: f64, seed: u64) -> Setting {
    let mut pool = sim::pool(POOL, 3000);
    pool.classes = sim::classes(lambda);
    sim::setting(pool, workload.clone(), seed)
}

fn ours(workload: &Workload, lambda: f64, seed: u64) -> Outcome {
    let outcome = sim::simulate_ours(setting(workload, lambda, seed), Default::default());
    assert_eq!(outcome.violations, Vec::<String>::new());
    assert_eq!((outcome.leaked, outcome.killed_busy, outcome.duplicates), (0, 0, 0));
    assert_eq!(outcome.finished, outcome.jobs);
    outcome
}

fn beats(one: &Outcome, other: &Outcome) -> bool {
    one.mean_wait_s <= other.mean_wait_s
        && one.p99_wait_s <= other.p99_wait_s
        && one.overhead_h <= other.overhead_h
}

fn shown(outcome: &Outcome) -> String {
    let Outcome { mean_wait_s, p99_wait_s, overhead_h, .. } = outcome;
    format!("mean {mean_wait_s:.1} s, p99 {p99_wait_s:.0} s, {overhead_h:.0} h")
}

fn recorded(name: &str, seed: u64) -> Workload {
    let directory =
        std::env::var_os("GANGER_TRACES").expect("GANGER_TRACES names the directory of the recordings");
    let path = PathBuf::from(directory).join(name);
    let file = File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut workload = sim::read_trace(BufReader::new(GzDecoder::new(file)), POOL).expect("a trace").workload;
    workload.mark_high(0.15, HIGH, seed);
    workload
}

fn gecko(seed: u64) -> Workload {
    recorded("gecko-t-t-linux-large.csv.gz", seed)
}

#[test]
fn s28_made_up_demand_waits_no_longer_for_much_less() {
    let workload = Workload::of_one_builder(POOL, pushes(6000, hours(48), 51));
    let other = sim::simulate(setting(&workload, 1.0, 1), Choice::NetDemand);
    let outcome = ours(&workload, 1.0, 1);
    assert!(
        outcome.overhead_h <= 0.75 * other.overhead_h,
        "{}, and net demand {}",
        shown(&outcome),
        shown(&other)
    );
    assert!(
        outcome.p99_wait_s <= 1.1 * other.p99_wait_s,
        "{}, and net demand {}",
        shown(&outcome),
        shown(&other)
    );
    assert!(
        outcome.mean_wait_s <= 1.25 * other.mean_wait_s,
        "{}, and net demand {}",
        shown(&outcome),
        shown(&other)
    );
}

#[test]
#[ignore = "needs GANGER_TRACES"]
fn s28_recorded_demand_meets_the_bounds() {
    for seed in 1..=5 {
        let workload = gecko(seed);
        let outcome = ours(&workload, 1.0, seed);
        let good = outcome.mean_wait_s <= 48.0 && outcome.p99_wait_s <= 157.0 && outcome.overhead_h <= 8050.0;
        assert!(good, "seed {seed}: {}", shown(&outcome));
    }
}

#[test]
#[ignore = "needs GANGER_TRACES"]
fn s28_for_every_other_rule_some_lambda_is_better_in_all() {
    let workload = gecko(1);
    let frontier: Vec<(f64, Outcome)> =
        LAMBDAS.iter().map(|lambda| (*lambda, ours(&workload, *lambda, 1))).collect();
    for rule in Choice::ALL {
        let other = sim::simulate(setting(&workload, 1.0, 1), rule);
        let all: Vec<String> =
            frontier.iter().map(|(lambda, run)| format!("λ {lambda}: {}", shown(run))).collect();
        assert!(
            frontier.iter().any(|(_, run)| beats(run, &other)),
            "{rule}: {}; ours: {}",
            shown(&other),
            all.join("; ")
        );
    }
}

#[test]
#[ignore = "needs GANGER_TRACES"]
fn s28_small_bursty_demand_is_no_worse_than_net_demand_at_equal_cost() {
    let workload = recorded("mobile-3-b-linux-large.csv.gz", 1);
    for rule in [Choice::NetDemand, Choice::NetDemandShort] {
        let other = sim::simulate(setting(&workload, 1.0, 1), rule);
        let runs: Vec<Outcome> = [0.25, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 2.3, 2.5, 3.0]
            .iter()
            .map(|lambda| ours(&workload, *lambda, 1))
            .collect();
        let all: Vec<String> = runs.iter().map(shown).collect();
        assert!(
            runs.iter().any(|run| beats(run, &other)),
            "{rule}: {}; ours: {}",
            shown(&other),
            all.join("; ")
        );
    }
}
