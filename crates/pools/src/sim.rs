//! A simulator around the very same pools that run in the master: a farm with the rules of Buildbot's dispatcher, a cloud
//! that is not there, and whatever can go wrong between them.
//!
//! Everything is deterministic: the same setting, with the same seed, gives the same result to the last bit.
//!
//! ```
//! use pools::sim::{self, Job, Workload};
//! use std::time::Duration;
//!
//! let jobs = Job::spread(100, Default::default(), Duration::from_secs(60), Duration::from_secs(600)).collect();
//! let workload = Workload::of_one_builder("linux", jobs);
//! let outcome = sim::simulate(sim::setting(sim::pool("linux", 50), workload, 1), sim::Choice::NetDemand);
//! assert_eq!(outcome.finished, 100);
//! ```

mod cloud;
mod farm;
mod ours;
mod outcome;
mod policy;
mod random;
mod rules;
mod run;
mod trace;
mod workload;

pub use self::{
    cloud::{
        Ask, Boot, Buckets, Cloud, CloudMachine, CloudSpec, Faults, ImageFault, Listing, plain_offering,
    },
    farm::{Build, Farm, Preference, Request, Stage, WorkerKey, build_id, builder_id, request_id},
    ours::{Database, Ours},
    outcome::{Outcome, Waits},
    policy::Policy,
    random::Random,
    rules::Choice,
    run::{Setting, Simulation},
    trace::{Trace, TraceError, read as read_trace},
    workload::{Builder, HIGH, Job, Lock, Ordinary, Workload},
};

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use model::pool::{Billing, Budget, Class, Idle, PoolLimits, PoolSpec, Warm};

/// A pool as the published comparison has it: two classes with λ 1 and 20, one build at a time, everything learned.
pub fn pool(name: &str, max: u32) -> PoolSpec {
    PoolSpec {
        name: name.to_owned(),
        max,
        min: 0,
        warm: Warm::Fixed(0),
        schedule: Vec::new(),
        classes: classes(1.0),
        max_builds: NonZeroU32::new(1),
        idle: Idle::Derived,
        boot_timeout: None,
        builds_per_instance: None,
        max_age: None,
        max_hold: Duration::from_secs(24 * 3600),
        forecast: true,
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

/// Two classes: everything, with this λ, and what has at least the priority [`HIGH`], with a λ of at least 20.
pub fn classes(lambda: f64) -> Vec<Class> {
    let class = |name: &str, from, lambda| Class {
        name: name.to_owned(),
        from,
        lambda,
        on_demand_after: None,
        overflow: 0,
        reserve: false,
    };
    vec![class("normal", i64::MIN, lambda), class("high", HIGH, lambda.max(20.0))]
}

/// One pool in a cloud with the default settings.
pub fn setting(pool: PoolSpec, workload: Workload, seed: u64) -> Setting {
    Setting {
        pools: vec![Arc::new(pool)],
        clouds: vec![CloudSpec::default()],
        workload,
        preference: Preference::default(),
        seed,
        tail: Duration::from_secs(4 * 3600),
        end: None,
        checks: false,
    }
}

/// Runs a setting under the rule of another system.
pub fn simulate(mut setting: Setting, choice: Choice) -> Outcome {
    setting.preference = choice.preference();
    let policy = choice.policy(&setting);
    Simulation::new(setting, policy).run()
}

/// Runs a setting under our own pools.
pub fn simulate_ours(setting: Setting, limits: PoolLimits) -> Outcome {
    let policy = Ours::new(&setting, limits);
    Simulation::new(setting, policy).run()
}
