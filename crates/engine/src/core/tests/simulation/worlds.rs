//! Farms to live in.

use std::fmt::Write;

use super::super::farm;

/// What a simulation is about.
pub(super) struct World {
    /// Configurations to change between. The first has every builder.
    pub(super) configs: Vec<String>,
    pub(super) workers: usize,
    pub(super) builders: usize,
    /// Rules that look at everything are checked after every so many events.
    pub(super) checked_every: u64,
}

/// A few of everything, so that all meet.
pub(super) fn village() -> World {
    World { configs: configs(), workers: 4, builders: 5, checked_every: 1 }
}

/// Thousands of builders and workers.
pub(super) fn city() -> World {
    const WORKERS: usize = 1000;
    const BUILDERS: usize = 2000;
    let workers: Vec<(String, u32)> =
        (0..WORKERS).map(|index| (format!("w{index}"), index as u32 % 4)).collect();
    let serving = |builder: usize| (0..4).map(move |nth| format!("w{}", (builder * 7 + nth * 331) % WORKERS));
    let builders: Vec<(String, Vec<String>)> =
        (0..BUILDERS).map(|index| (format!("b{index}"), serving(index).collect())).collect();
    let lists: Vec<Vec<&str>> =
        builders.iter().map(|(_, workers)| workers.iter().map(String::as_str).collect()).collect();
    let builders: Vec<(&str, &[&str])> =
        builders.iter().zip(&lists).map(|((name, _), workers)| (name.as_str(), workers.as_slice())).collect();
    let workers: Vec<(&str, u32)> = workers.iter().map(|(name, max)| (name.as_str(), *max)).collect();
    let mut schedulers = String::new();
    for branch in 0..3 {
        let names: Vec<String> = (0..40).map(|nth| format!("b{}", branch * 40 + nth)).collect();
        write!(
            schedulers,
            "[[scheduler]]\nname = \"branch{branch}\"\ntype = \"SingleBranchScheduler\"\nbranch = \"x{branch}\"
             builderNames = {names:?}\n"
        )
        .unwrap();
    }
    schedulers.push_str(
        "[[scheduler]]\nname = \"triggered\"\ntype = \"Triggerable\"\nbuilderNames = [\"b7\", \"b1500\"]\n",
    );
    let locks: Vec<(String, &str)> =
        (0..60).map(|index| (format!("b{index}"), if index % 9 == 0 { ALONE } else { "[\"db\"]" })).collect();
    let locks: Vec<(&str, &str)> = locks.iter().map(|(name, locks)| (name.as_str(), *locks)).collect();
    let plain = farm(&workers, &builders, &schedulers);
    let less = collapsing(&farm(&workers, &builders[..1600], &schedulers));
    World {
        configs: vec![locked(plain, &locks, 8), less],
        workers: WORKERS,
        builders: BUILDERS,
        checked_every: 600,
    }
}

const ALONE: &str = "[{ lock = \"db\", access = \"exclusive\" }]";

/// The same, with locks on builders.
fn locked(text: String, locks: &[(&str, &str)], units: u32) -> String {
    let mut text = text;
    for (builder, locks) in locks {
        let plain = format!("[[builder]]\nname = {builder:?}\n");
        text = text.replace(&plain, &format!("{plain}locks = {locks}\n"));
    }
    text + &format!(
        "[[lock]]\ntype = \"MasterLock\"\nname = \"db\"\nmaxCount = {units}
         [[lock]]\ntype = \"MasterLock\"\nname = \"net\"
         [[lock]]\ntype = \"WorkerLock\"\nname = \"cpu\"\nmaxCountForWorker = {{ w2 = 2 }}\n"
    )
}

/// The same, where newer requests make older ones superfluous.
fn collapsing(text: &str) -> String {
    text.replace("collapseRequests = false", "collapseRequests = true")
}

/// Configurations to change between. The first has every builder.
fn configs() -> Vec<String> {
    let schedulers = |timer: &str| {
        format!(
            "[[scheduler]]\nname = \"any\"\ntype = \"AnyBranchScheduler\"\nbuilderNames = [\"b0\", \"b1\"]\n{timer}
             [[scheduler]]\nname = \"triggered\"\ntype = \"Triggerable\"\nbuilderNames = [\"b0\", \"b3\"]
             [[scheduler]]\nname = \"after\"\ntype = \"Dependent\"\nupstream = \"one\"\nbuilderNames = [\"b1\"]
             [[scheduler]]\nname = \"one\"\ntype = \"SingleBranchScheduler\"\nbranch = \"x0\"\nbuilderNames = [\"b0\"]\n"
        )
    };
    let all: &[(&str, &str)] = &[
        ("b0", "[\"db\"]"),
        ("b1", ALONE),
        ("b2", "[\"cpu\"]"),
        ("b4", "[{ lock = \"cpu\", access = \"exclusive\" }, \"db\"]"),
    ];
    let limits = [("w0", 1), ("w1", 2), ("w2", 0), ("w3", 1)];
    let full: &[(&str, &[&str])] = &[
        ("b0", &["w0", "w1"]),
        ("b1", &["w0", "w1"]),
        ("b2", &["w1", "w2", "w3"]),
        ("b3", &["w2"]),
        ("b4", &["w0", "w1", "w2", "w3"]),
    ];
    let moved: &[(&str, &[&str])] =
        &[("b4", &["w1"]), ("b0", &["w3"]), ("b1", &["w0", "w1"]), ("b3", &["w2"])];
    vec![
        farm(&limits, full, &schedulers("treeStableTimer = 5")),
        farm(&[("w0", 2), ("w1", 1), ("w2", 1), ("w3", 1)], moved, &schedulers("treeStableTimer = 20")),
        farm(&limits, full, &schedulers("")),
        farm(&limits[1..], &[("b0", &["w1"]), ("b1", &["w1"]), ("b3", &["w2"])], ""),
        locked(farm(&limits, full, &schedulers("treeStableTimer = 5")), all, 2),
        locked(farm(&limits, full, &schedulers("")), &all[..2], 3),
        collapsing(&farm(&limits, full, &schedulers(""))),
    ]
}
