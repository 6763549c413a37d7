//! Boots that become slow, hang, or never work, and images that are bad.

use std::{sync::Arc, time::Duration};

use model::Time;
use pools::sim::{Builder, ImageFault, Ours, Simulation};

use crate::stage::{POOL, at, hours, ours, pushes, secs, sound, with_cloud, world};

/// Machines that were ended although they would have connected within half an hour, of those that were asked for since a
/// time.
fn wasted(run: &Simulation<Ours>, since: Time) -> usize {
    let cut_off = |machine: &&pools::sim::CloudMachine| {
        let (Some(connects), Some(ended)) = (machine.connects_at, machine.ended_at) else { return false };
        let late = connects.since(machine.called_at) > secs(1800);
        machine.called_at >= since && !machine.dies && ended < connects && !late
    };
    run.cloud.machines.iter().filter(cut_off).count()
}

fn launched(run: &Simulation<Ours>, from: Time, until: Time) -> usize {
    run.cloud.machines.iter().filter(|machine| (from..until).contains(&machine.called_at)).count()
}

#[test]
fn s04_boots_that_become_slow_are_learned() {
    let jobs = pushes(1000, hours(12), 4);
    let mut usual = ours(world(500, jobs.clone()));
    sound(&usual.run());
    for gradually in [true, false] {
        let mut run = ours(world(500, jobs.clone()));
        if gradually {
            for step in 0..=12_u32 {
                let factor = 1.0 + 4.0 * f64::from(step) / 12.0;
                run.at(at(3 * 3600 + u64::from(step) * 600), move |run| {
                    run.cloud.faults.boot_factor = factor
                });
            }
        } else {
            run.at(at(3 * 3600), |run| run.cloud.faults.boot_factor = 5.0);
        }
        let outcome = run.run();
        sound(&outcome);
        assert_eq!(wasted(&run, at(5 * 3600)), 0, "gradually {gradually}: of {} machines", outcome.launches);
        let (slow, quick) = (outcome.launches, usual.cloud.machines.len());
        assert!(slow <= quick * 2, "gradually {gradually}: {slow} machines, usually {quick}");
    }
}

#[test]
fn s05_one_boot_in_five_that_hangs_is_no_reason_to_stop() {
    let (mut with, mut without) = (0.0, 0.0);
    for seed in 1..=4 {
        let mut setting = world(1000, pushes(1000, hours(12), seed));
        setting.seed = seed;
        without += ours(with_cloud(setting.clone(), |cloud| cloud.hang = 0.01)).run().high_p99_wait_s;
        let mut run = ours(with_cloud(setting, |cloud| cloud.hang = 0.2));
        for time in 0..72 {
            run.at(at(time * 600), |run| {
                let status = run.policy.pools.status(run.now());
                assert_eq!(status[0].breaker, None, "at {}", run.now());
            });
        }
        let outcome = run.run();
        sound(&outcome);
        with += outcome.high_p99_wait_s;
    }
    assert!(with <= 1.1 * without, "urgent p99 {} s, {} s without", with / 4.0, without / 4.0);
}

#[test]
fn s05_for_boots_that_hang_others_are_started_once() {
    let setting = world(1000, pushes(1000, hours(12), 5));
    let usual = ours(with_cloud(setting.clone(), |cloud| cloud.hang = 0.0)).run().launches as f64;
    for hang in [0.2, 0.5] {
        let outcome = ours(with_cloud(setting.clone(), |cloud| cloud.hang = hang)).run();
        sound(&outcome);
        let launches = outcome.launches as f64;
        assert!(
            launches <= usual * 1.25 / (1.0 - hang),
            "{launches} machines when {hang} hang, else {usual}"
        );
    }
}

#[test]
fn s06_an_image_that_never_connects_costs_few_machines_and_is_soon_forgotten() {
    let mut run = ours(world(1000, pushes(1500, hours(14), 6)));
    let (from, until) = (at(9 * 3600), at(11 * 3600));
    let image = "image-1".to_owned();
    run.at(from, move |run| {
        run.cloud.faults.images.insert(image, ImageFault { never_connects: true, ..ImageFault::default() });
    });
    run.at(until, |run| run.cloud.faults.images.clear());
    let outcome = run.run();
    sound(&outcome);
    // Until enough boots are known to hang, machines are started as usual; from then on very few are: 25 an hour.
    let slices: Vec<usize> = (0..12)
        .map(|slice| launched(&run, from + secs(slice * 600), from + secs(slice * 600 + 600)))
        .collect();
    assert!(slices[3..9].iter().sum::<usize>() <= 25, "within an hour; every ten minutes: {slices:?}");
    assert!(slices[..3].iter().sum::<usize>() <= 32, "until that is known; every ten minutes: {slices:?}");
    assert!(slices[3..].iter().sum::<usize>() <= 37, "from then on; every ten minutes: {slices:?}");
    let good = run.cloud.machines.iter().filter(|machine| machine.called_at >= until);
    let recovered = good.filter_map(|machine| machine.connects_at).min().unwrap();
    assert!(
        recovered.since(until) <= secs(2 * 213),
        "recovered {:?} after the fault",
        recovered.since(until)
    );
}

fn new_image(fault: ImageFault) -> Simulation<Ours> {
    let mut setting = world(1000, pushes(1000, hours(14), 7));
    setting.workload.builders = (0..30).map(|index| Builder::new(&format!("b{index}"), POOL)).collect();
    for (index, job) in setting.workload.jobs.iter_mut().enumerate() {
        job.builder = index % 30;
    }
    let pool = setting.pools[0].clone();
    let mut run = ours(setting);
    run.cloud.faults.images.insert("image-2".to_owned(), fault);
    run.at(at(9 * 3600), move |run| {
        let mut spec = (*pool).clone();
        spec.image = "image-2".to_owned();
        spec.template = "template-2".to_owned();
        let now = run.clock();
        let batch = run.policy.reconfigure(now, vec![Arc::new(spec)], Default::default());
        run.apply(batch);
    });
    run
}

fn of_new_image(run: &Simulation<Ours>) -> usize {
    run.cloud.machines.iter().filter(|machine| machine.image == "image-2").count()
}

#[test]
fn s06_a_new_image_that_never_connects_is_given_up() {
    let mut run = new_image(ImageFault { never_connects: true, ..ImageFault::default() });
    sound(&run.run());
    assert!((1..=50).contains(&of_new_image(&run)), "{} machines", of_new_image(&run));
    let status = run.policy.pools.status(run.clock());
    assert_eq!(status[0].breaker, None, "the previous image goes on");
}

#[test]
fn s06_a_new_image_that_fails_builds_is_given_up() {
    let mut run =
        new_image(ImageFault { fails_builds_after: Some(Duration::from_secs(5)), ..ImageFault::default() });
    let outcome = run.run();
    sound(&outcome);
    assert!((1..=50).contains(&of_new_image(&run)), "{} machines", of_new_image(&run));
    assert!(outcome.failed <= 50, "{} builds failed", outcome.failed);
}

#[test]
fn s06_a_new_image_that_works_takes_over() {
    let mut run = new_image(ImageFault::default());
    sound(&run.run());
    let late: Vec<_> =
        run.cloud.machines.iter().filter(|machine| machine.called_at > at(11 * 3600)).collect();
    assert!(late.iter().all(|machine| machine.image == "image-2"), "after two hours it is the only one");
    assert!(!late.is_empty());
}
