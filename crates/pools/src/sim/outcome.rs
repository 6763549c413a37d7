//! What came of a simulation: the score card.

use std::time::Duration;

use model::{
    Time,
    pool::{Billing, Money},
};
use serde::Serialize;

use super::{farm::Stage, policy::Policy, run::Simulation};

/// The score card of a run. Times are in seconds unless they say hours.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Whose rule it was.
    pub policy: String,
    /// How many jobs there were.
    pub jobs: usize,
    /// How many of them were built.
    pub finished: usize,
    /// How many of them were merged into others.
    pub merged: usize,
    /// How many of them failed by the machinery.
    pub failed: usize,
    /// How long jobs waited on average.
    pub mean_wait_s: f64,
    /// Half of them waited longer.
    pub p50_wait_s: f64,
    /// One in ten waited longer.
    pub p90_wait_s: f64,
    /// One in a hundred waited longer.
    pub p99_wait_s: f64,
    /// The longest wait.
    pub max_wait_s: f64,
    /// Of urgent jobs, one in a hundred waited longer.
    pub high_p99_wait_s: f64,
    /// Waits by priority, the most urgent first.
    pub waits: Vec<Waits>,
    /// Hours of machines beyond those in which they built, from the call that asked for them until their end.
    pub overhead_h: f64,
    /// Hours that builds took.
    pub busy_h: f64,
    /// Machines that were started.
    pub launches: usize,
    /// Machines that never built anything.
    pub never_used: usize,
    /// The most machines at once.
    pub peak: usize,
    /// Calls of the cloud's API, of every kind.
    pub api_calls: u64,
    /// Calls that the cloud turned away because there were too many.
    pub throttles: u64,
    /// What all machines cost.
    pub cost: f64,
    /// Machines that are there at the end and that nobody means to end.
    pub leaked: usize,
    /// Machines that were started twice for the same row.
    pub duplicates: usize,
    /// Builds that were cut off by a decision to end their machine.
    pub killed_busy: u64,
    /// Builds that were lost with their machine.
    pub lost: u64,
    /// What was wrong, in words.
    pub violations: Vec<String>,
}

/// How long jobs of one priority waited, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Waits {
    /// Which.
    pub priority: i64,
    /// How many there were.
    pub jobs: usize,
    /// On average.
    pub mean: f64,
    /// Half of them waited longer.
    pub p50: f64,
    /// One in ten waited longer.
    pub p90: f64,
    /// One in a hundred waited longer.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Waits {
    /// Of a sorted list of waits.
    #[expect(clippy::cast_precision_loss, reason = "fewer than 2^53")]
    fn of(priority: i64, sorted: &[Duration]) -> Self {
        let total: Duration = sorted.iter().sum();
        Self {
            priority,
            jobs: sorted.len(),
            mean: total.as_secs_f64() / sorted.len().max(1) as f64,
            p50: quantile(sorted, 50),
            p90: quantile(sorted, 90),
            p99: quantile(sorted, 99),
            max: quantile(sorted, 100),
        }
    }
}

/// The value below which a percentage of a sorted list is.
fn quantile(sorted: &[Duration], percent: usize) -> f64 {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(0.0, Duration::as_secs_f64)
}

fn hours(time: Duration) -> f64 {
    time.as_secs_f64() / 3600.0
}

impl Outcome {
    pub(super) fn of<P: Policy>(run: &Simulation<P>) -> Self {
        let now = run.now();
        let mut outcome = Self {
            policy: run.policy.name(),
            jobs: run.farm.requests().len(),
            throttles: run.cloud.throttles,
            api_calls: run.cloud.calls,
            killed_busy: run.killed_busy,
            lost: run.lost,
            violations: run.violations.clone(),
            ..Self::default()
        };
        outcome.take_waits(run, now);
        outcome.take_machines(run, now);
        outcome
    }

    fn take_waits<P: Policy>(&mut self, run: &Simulation<P>, now: Time) {
        let mut all: Vec<(i64, Duration)> = Vec::new();
        let mut busy = Duration::ZERO;
        for request in run.farm.requests() {
            match request.stage {
                Stage::Done(true) => {
                    self.finished += 1;
                    busy += request.duration;
                }
                Stage::Done(false) => self.merged += 1,
                Stage::Future => continue,
                Stage::Waiting | Stage::Running(_) => {}
            }
            let wait = request.first_start.unwrap_or(now).since(request.submitted_at);
            all.push((request.priority, wait));
        }
        self.busy_h = hours(busy);
        let mut waits: Vec<Duration> = all.iter().map(|(_, wait)| *wait).collect();
        waits.sort_unstable();
        let every = Waits::of(0, &waits);
        self.mean_wait_s = every.mean;
        self.p50_wait_s = every.p50;
        self.p90_wait_s = every.p90;
        self.p99_wait_s = every.p99;
        self.max_wait_s = every.max;
        all.sort_unstable_by(|a, b| b.cmp(a));
        for same in all.chunk_by(|a, b| a.0 == b.0) {
            let waits: Vec<Duration> = same.iter().rev().map(|(_, wait)| *wait).collect();
            self.waits.push(Waits::of(same[0].0, &waits));
        }
        if let [first, _, ..] = &self.waits[..] {
            self.high_p99_wait_s = first.p99;
        } else {
            self.high_p99_wait_s = self.p99_wait_s;
        }
    }

    fn take_machines<P: Policy>(&mut self, run: &Simulation<P>, now: Time) {
        let mut overhead = Duration::ZERO;
        let mut cost = 0_i64;
        let mut changes: Vec<(Time, i64)> = Vec::new();
        for machine in &run.cloud.machines {
            let lifetime = machine.lifetime(now);
            let mut busy = machine.busy;
            if machine.running.0 > 0 && machine.is_live() {
                busy += now.since(machine.running.1);
            }
            overhead += lifetime.saturating_sub(busy);
            let billing = run.setting().pools.get(machine.pool).map_or(Billing::Second, |pool| pool.billing);
            cost = cost.saturating_add(machine.cost(now, billing).0);
            self.never_used += usize::from(!machine.used);
            changes.push((machine.called_at, 1));
            changes.push((machine.ended_at.unwrap_or(now), -1));
            self.leaked += usize::from(machine.is_live() && !run.policy.knows(machine.member));
        }
        self.launches = run.cloud.machines.len();
        self.overhead_h = hours(overhead);
        self.cost = Money(cost).units();
        changes.sort_unstable();
        let mut live = 0_i64;
        for (_, change) in changes {
            live += change;
            self.peak = self.peak.max(usize::try_from(live).unwrap_or(0));
        }
        self.duplicates =
            run.violations.iter().filter(|problem| problem.contains("two machines for instance")).count();
    }
}
