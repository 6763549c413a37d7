//! What cannot be built at once is not hired for.

use std::{fs, path::Path};

use super::{at_gate, builder, gate, pool};
use crate::farm::{Farm, force};

/// How many machines the pool has started.
fn launches(farm: &Farm) -> i64 {
    let shown = farm.pool();
    let launches = shown["totals"]["launches"].as_object().into_iter().flatten();
    launches.filter_map(|(_, times)| times.as_i64()).sum()
}

/// A command that fails when more than `most` of its kind run at once.
fn at_most(scratch: &Path, most: usize) -> String {
    let at = scratch.display();
    format!(
        "touch {at}/at-once-$$; sleep 0.1; [ $(ls {at} | grep -c at-once) -le {most} ]; good=$?; \
         rm {at}/at-once-$$; exit $good"
    )
}

#[test]
fn no_more_machines_are_hired_than_a_lock_lets_build() {
    for (max_count, access, most) in [(1, "exclusive", 1), (3, "counting", 3)] {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let lock = format!("[[lock]]\ntype = \"MasterLock\"\nname = \"db\"\nmaxCount = {max_count}\n");
        let locks = format!("workers = [\"p\"]\nlocks = [{{ lock = \"db\", access = {access:?} }}]\n");
        let locked = builder("b", &at_most(scratch.path(), most)).replace("workers = [\"p\"]\n", &locks);
        let mut farm = Farm::start(&(pool(20, "build_wait_timeout = 30", "") + &locked + &lock));
        farm.ask("b", 12, &[]);
        let builds = farm.wait_succeeded("b", 12);
        assert_eq!(builds.len(), 12, "each is built once, and never too many at a time: {builds:?}");
        let launched = launches(&farm);
        assert!((1..=most as i64 + 1).contains(&launched), "{launched} machines for a lock of {max_count}");
    }
}

#[test]
fn as_many_machines_are_hired_as_hold_one_build_of_each_builder() {
    const BUILDERS: usize = 8;
    for (max_builds, machines) in [(None, 1), (Some(4), 2), (Some(1), 8)] {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let limit = max_builds.map_or(String::new(), |most: u32| format!("max_builds = {most}\n"));
        let names: Vec<String> = (0..BUILDERS).map(|index| format!("b{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut objects = pool(20, "build_wait_timeout = 30", "").replace("max_builds = 1\n", &limit);
        for name in &names {
            objects += &builder(name, &gate(scratch.path())).replace(&force(&[name]), "");
        }
        let mut farm = Farm::start(&(objects + &force(&names)));
        let asked = farm.ganger(&[&["force"], &names[..]].concat());
        assert!(asked.status.success(), "force: {}", String::from_utf8_lossy(&asked.stderr));
        farm.eventually("all build at once", |_| (at_gate(scratch.path()) == BUILDERS).then_some(()));
        assert_eq!(launches(&farm), machines, "machines with {max_builds:?} builds each");
        fs::write(scratch.path().join("go"), "").expect("a writable scratch directory");
        for name in &names {
            farm.wait_succeeded(name, 1);
        }
    }
}
