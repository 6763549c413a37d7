//! What an event costs, counted.

use std::fmt::Write as _;

use model::{Change, Results};

use super::{Event, ReplyId, World, farm, locks::counting};

/// `n` builders, a tenth as many workers, each builder on one worker; everything connected, every worker busy, every
/// builder with a request that waits.
fn busy(n: usize) -> World {
    let workers: Vec<String> = (0..n / 10).map(|i| format!("w{i}")).collect();
    let builders: Vec<(String, String)> =
        (0..n).map(|i| (format!("b{i}"), format!("w{}", i % (n / 10)))).collect();
    let mut text = farm(
        &workers.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>(),
        &builders
            .iter()
            .map(|(name, worker)| (name.as_str(), [worker.as_str()]))
            .collect::<Vec<_>>()
            .iter()
            .map(|(name, workers)| (*name, &workers[..]))
            .collect::<Vec<_>>(),
        "",
    );
    for i in 0..n / 10 {
        write!(text, "[[scheduler]]\ntype = \"SingleBranchScheduler\"\nname = \"s{i}\"\nbranch = \"x{i}\"\nbuilderNames = [\"b{i}\"]\n").unwrap();
    }
    let mut world = World::new(&text);
    for (i, name) in workers.iter().enumerate() {
        world.connect(i as u64, name);
    }
    world.force(&[], 0).force(&[], 0);
    world
}

fn cost(world: &mut World, what: impl FnOnce(&mut World)) -> (u64, usize) {
    let before = world.core.looked_at();
    what(world);
    (
        world.core.looked_at() - before,
        world.batch.writes.len() + world.batch.actions.len() + world.batch.notices.len(),
    )
}

/// What each kind of event costs in a farm of a size.
fn costs(n: usize) -> Vec<(&'static str, (u64, usize))> {
    let mut world = busy(n);
    let world = &mut world;
    vec![
        (
            "a build ends, the next starts",
            cost(world, |w| {
                w.finish(1, Results::Success);
            }),
        ),
        (
            "a build is lost",
            cost(world, |w| {
                w.finish(2, Results::Retry);
            }),
        ),
        (
            "a request comes",
            cost(world, |w| {
                w.force(&["b3"], 0);
            }),
        ),
        (
            "an urgent request comes",
            cost(world, |w| {
                w.force(&["b3"], 9);
            }),
        ),
        (
            "a change comes",
            cost(world, |w| {
                w.change(Change { branch: Some("x1".to_owned()), ..Change::default() });
            }),
        ),
        (
            "a change nobody wants comes",
            cost(world, |w| {
                w.change(Change::default());
            }),
        ),
        (
            "a request is cancelled",
            cost(world, |w| {
                w.cancel(n as i64 + 5);
            }),
        ),
        (
            "a worker goes",
            cost(world, |w| {
                w.lose(4);
            }),
        ),
        (
            "a worker comes back",
            cost(world, |w| {
                w.connect(1_000_000, "w4");
            }),
        ),
        (
            "a worker is paused",
            cost(world, |w| {
                w.event(Event::PauseWorker {
                    worker: "w5".to_owned(),
                    reason: String::new(),
                    reply: ReplyId(0),
                });
            }),
        ),
    ]
}

#[test]
fn an_event_costs_the_same_in_a_farm_of_any_size() {
    let (small, large) = (costs(100), costs(2000));
    assert_eq!(small, large);
    assert!(small.iter().all(|(_, (looked_at, _))| *looked_at < 12), "{small:?}");
}

#[test]
fn a_change_is_not_held_against_every_filter() {
    let looked_at = |n: usize| {
        let mut text = farm(&[("w", 0)], &[("b", &["w"])], "");
        for i in 0..n {
            let filter = match i % 3 {
                0 => format!("repository = \"r{i}\", branch_re = \"x\""),
                1 => format!("project = [\"p{i}\", \"q{i}\"], branch = [\"main\", \"x\"]"),
                _ => format!("branch = \"x{i}\", category_re = \"c\""),
            };
            write!(text, "[[scheduler]]\ntype = \"AnyBranchScheduler\"\nname = \"s{i}\"\nchange_filter = {{ {filter} }}\nbuilderNames = [\"b\"]\n").unwrap();
        }
        let mut world = World::new(&text);
        cost(&mut world, |w| {
            let change = Change {
                branch: Some("x".to_owned()),
                repository: "r3".to_owned(),
                project: "q4".to_owned(),
                ..Change::default()
            };
            w.change(change);
        })
    };
    assert_eq!(looked_at(9), looked_at(900));
    let (looked_at, _) = looked_at(9);
    assert!(looked_at < 8, "{looked_at}");
}

#[test]
fn in_one_big_pool_a_build_costs_no_more_either() {
    // All builders on all workers: one group.
    let check = |n: usize| {
        let workers: Vec<String> = (0..n).map(|i| format!("w{i}")).collect();
        let names: Vec<&str> = workers.iter().map(String::as_str).collect();
        let builders: Vec<String> = (0..n).map(|i| format!("b{i}")).collect();
        let mut world = World::new(&farm(
            &names.iter().map(|name| (*name, 1)).collect::<Vec<_>>(),
            &builders.iter().map(|name| (name.as_str(), &names[..])).collect::<Vec<_>>(),
            "",
        ));
        for (i, name) in names.iter().enumerate() {
            world.connect(i as u64, name);
        }
        world.force(&[], 0).force(&[], 0);
        let next = cost(&mut world, |w| {
            w.finish(1, Results::Success);
        });
        let lost = cost(&mut world, |w| {
            w.lose(5);
        });
        (next, lost)
    };
    assert_eq!(check(10), check(200));
}

/// `n` builders, each with a worker of its own, and a lock of which there are two.
fn locked(n: usize, of_builders: bool) -> World {
    let names: Vec<(String, String)> = (0..n).map(|i| (format!("b{i}"), format!("w{i}"))).collect();
    let workers: Vec<(&str, u32)> = names.iter().map(|(_, worker)| (worker.as_str(), 1)).collect();
    let served: Vec<[&str; 1]> = names.iter().map(|(_, worker)| [worker.as_str()]).collect();
    let builders: Vec<(&str, &[&str])> =
        names.iter().zip(&served).map(|((name, _), workers)| (name.as_str(), &workers[..])).collect();
    let mut text =
        farm(&workers, &builders, "[[lock]]\ntype = \"MasterLock\"\nname = \"db\"\nmaxCount = 2\n");
    if of_builders {
        text = text.replace("workers = [", "locks = [\"db\"]\nworkers = [");
    }
    let mut world = World::new(&text);
    for (i, (_, worker)) in names.iter().enumerate() {
        world.connect(i as u64, worker);
    }
    world.force(&[], 0);
    world
}

#[test]
fn a_lock_costs_the_same_however_many_wait_for_it() {
    let costs = |n: usize| {
        let (mut builders, mut steps) = (locked(n, true), locked(n, false));
        for build in 1..=n as i64 {
            steps.take(build, &[counting("db", 1)]);
        }
        vec![
            cost(&mut builders, |w| {
                w.finish(1, Results::Success);
            }),
            cost(&mut builders, |w| {
                w.force(&["b7"], 9);
            }),
            cost(&mut builders, |w| {
                w.cancel(6);
            }),
            cost(&mut steps, |w| {
                w.give(1);
            }),
            cost(&mut steps, |w| {
                w.give(9);
            }),
            cost(&mut steps, |w| {
                w.finish(2, Results::Success);
            }),
        ]
    };
    let (small, large) = (costs(10), costs(1000));
    assert_eq!(small, large);
    assert!(small.iter().all(|(looked_at, _)| *looked_at < 20), "{small:?}");
}
