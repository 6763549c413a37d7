//! Machines that come, build, and go.

use std::time::Duration;

use testkit::ec2::lab::BROKEN;

use super::{Site, Wishes};

#[test]
fn a_burst_is_built_by_machines_that_come_and_go() {
    let mut site = Site::start(&Wishes {
        max: 4,
        pool: "build_wait_timeout = 2",
        // Who builds, and what he can reach: the metadata service, and what the machine was told.
        command: "id -un; python3 -c 'import socket; socket.create_connection((\"169.254.169.254\", 80), 2)' \
                  && echo REA\"\"CHED; cat /var/lib/ganger/enrolled.json && echo RE\"\"AD; true",
        ..Wishes::default()
    });
    site.farm.ask("b", 12, &[]);
    let builds = site.farm.wait_succeeded("b", 12);
    assert_eq!(builds.len(), 12, "each request was built once");
    let log = site.farm.log_of("b", 1, &[]);
    assert!(log.contains("buildbot"), "{log}");
    assert!(!log.contains("REACHED") && !log.contains("READ"), "a build can be the machine: {log}");
    assert_eq!(site.farm.property("b", &builds[0], "instance_type"), "c5.large");
    site.wait_for_nothing();
    // Each machine asked for what it is, and proved it.
    let asked = site.lab.imds().asked();
    assert!(asked.iter().any(|(_, path)| path == "/latest/dynamic/instance-identity/rsa2048"), "{asked:?}");
}

#[test]
fn machines_are_told_by_a_secret_of_their_own_or_by_their_tags() {
    for enrollment in ["secret", "tags"] {
        let ec2 = format!("enrollment = \"{enrollment}\"");
        let mut site =
            Site::start(&Wishes { pool: "build_wait_timeout = 1", ec2: &ec2, ..Wishes::default() });
        site.farm.ask("b", 2, &[]);
        site.farm.wait_succeeded("b", 2);
        site.wait_for_nothing();
    }
}

#[test]
fn a_machine_whose_worker_never_comes_is_ended_and_its_console_is_kept() {
    let mut site =
        Site::start(&Wishes { max: 1, image: BROKEN, pool: "missing_timeout = 8", ..Wishes::default() });
    site.farm.ask("b", 1, &[]);
    let gone = site.farm.eventually("the first machine is given up", |farm| {
        let why = farm.ganger(&["pool", "why", "1", "--instance", "--json"]);
        let why: serde_json::Value = serde_json::from_slice(&why.stdout).ok()?;
        why.to_string().contains("boot_timeout").then_some(why)
    });
    assert!(gone.to_string().contains("console"), "{gone}");
    assert!(site.machines().len() <= 1, "more machines than the maximum");
}

#[test]
fn machines_power_off_when_their_master_is_gone_for_good() {
    let mut site = Site::start(&Wishes {
        pool: "min = 1\nbuild_wait_timeout = -1",
        ec2: "silence = 8",
        ..Wishes::default()
    });
    site.farm.ask("b", 1, &[]);
    site.farm.wait_succeeded("b", 1);
    site.farm.kill();
    let begun = std::time::Instant::now();
    while !site.machines().is_empty() || !site.lab.running().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "machines are still there: {:?}", site.machines());
        std::thread::sleep(Duration::from_millis(100));
    }
}
