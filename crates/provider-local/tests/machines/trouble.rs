//! Machines that go wrong, on purpose or not.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    process::Command,
    time::{Duration, Instant},
};

use pools::{Provider, provider::MachineStatus};

use crate::site::{Site, eventually, pid, until};

#[tokio::test]
async fn a_machine_that_dies_is_seen_to_be_gone_with_all_that_it_started() {
    let site = Site::of_shells();
    let provider = site.provider();
    let machines = provider.launch(site.request(2)).await.expect("machines").machines;
    // The shell and its `sleep`, of each.
    let sleeps =
        |found: &BTreeSet<i32>| found.iter().filter(|pid| command_line(**pid) == "sleep 3600").count();
    let settled = |found: &BTreeSet<i32>| found.len() == 4 && sleeps(found) == 2;
    let all = eventually("both run", async || Some(site.processes()).filter(settled)).await;
    Command::new("kill").args(["-9", &pid(&machines[0]).to_string()]).status().expect("kill can be run");
    until(&provider, &machines[0].provider_id, MachineStatus::Terminated).await;
    eventually("what it left is killed", async || (site.processes().len() == 2).then_some(())).await;
    assert!(site.processes().is_subset(&all), "nothing was started again");
    assert!(site.home(&machines[0]).exists(), "people may want to look at it");
    for machine in &machines {
        provider.terminate(machine.provider_id.clone()).await.expect("it ends");
        assert!(!site.home(machine).exists(), "its directory is gone");
    }
    assert_eq!(site.processes(), BTreeSet::new());
}

/// What a process runs; nothing when it is gone.
fn command_line(pid: i32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ")
}

#[tokio::test]
async fn machines_are_told_to_go_wrong() {
    let mut site = Site::of_shells();
    site.settings.trouble.hang = 0.0;
    site.settings.trouble.fail = 1.0;
    site.settings.trouble.boot = Duration::from_millis(300);
    let provider = site.provider();
    let started = Instant::now();
    let failing = provider.launch(site.request(1)).await.expect("a machine").machines.remove(0);
    assert_eq!(failing.status, MachineStatus::Running, "it boots");
    until(&provider, &failing.provider_id, MachineStatus::Terminated).await;
    assert!(started.elapsed() >= Duration::from_millis(300), "it did not take its time");
    let said = provider.console(failing.provider_id).await.expect("a console");
    assert!(said.contains("told to fail"), "{said}");

    site.settings.trouble.fail = 0.0;
    site.settings.trouble.vanish = 1.0;
    site.settings.trouble.vanish_after = Duration::from_millis(200);
    let provider = site.provider();
    let vanishing = provider.launch(site.request(1)).await.expect("a machine").machines.remove(0);
    until(&provider, &vanishing.provider_id, MachineStatus::Terminated).await;
}

#[tokio::test]
async fn a_worker_that_does_not_want_to_end_is_killed_with_its_commands() {
    let mut site = Site::new();
    let program = site.directory().join("stubborn");
    // A command has a process group of its own, as a worker gives it one.
    fs::write(&program, "#!/bin/sh\ntrap '' TERM\nsetsid sleep 1000 &\necho here\nwait\nsleep 1000\n")
        .expect("a writable scratch directory");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    site.settings.program = program;
    site.settings.grace = Duration::from_millis(100);
    let provider = site.provider();
    let machine = provider.launch(site.request(1)).await.expect("a machine").machines.remove(0);
    eventually("it runs", async || {
        let said = provider.console(machine.provider_id.clone()).await.expect("a console");
        (said.contains("here") && site.processes().len() == 2).then_some(())
    })
    .await;
    provider.terminate(machine.provider_id.clone()).await.expect("it ends");
    assert_eq!(site.processes(), BTreeSet::new());
    until(&provider, &machine.provider_id, MachineStatus::Terminated).await;
}

#[tokio::test]
async fn a_build_cannot_keep_its_directory_by_its_rights() {
    let site = Site::of_shells();
    let provider = site.provider();
    let machine = provider.launch(site.request(1)).await.expect("a machine").machines.remove(0);
    let deep = site.home(&machine).join("build/deep");
    fs::create_dir_all(&deep).expect("it is ours");
    fs::write(deep.join("file"), "").expect("it is ours");
    std::os::unix::fs::symlink("/", deep.join("root")).expect("it is ours");
    let status = Command::new("chmod").arg("-R").arg("a=").arg(site.home(&machine).join("build")).status();
    assert!(status.expect("chmod can be run").success());
    provider.terminate(machine.provider_id.clone()).await.expect("it ends");
    assert!(!site.home(&machine).exists());
}

#[tokio::test]
async fn a_machine_that_is_to_end_ends_though_its_master_died_over_it() {
    let site = Site::of_shells();
    let provider = site.provider();
    let machine = provider.launch(site.request(1)).await.expect("a machine").machines.remove(0);
    // The intent is written, and nobody carries it out.
    let record = site.settings.directory.join(format!("{}.json", machine.provider_id));
    let text = fs::read_to_string(&record).expect("it is there");
    fs::write(&record, text.replace("\"run\"", "\"end\"")).expect("it is ours");
    let next = site.provider();
    let listed = next.list().await.expect("a listing");
    assert_eq!(listed[0].status, MachineStatus::ShuttingDown);
    until(&next, &machine.provider_id, MachineStatus::Terminated).await;
    assert!(!site.home(&machine).exists());
    assert_eq!(site.processes(), BTreeSet::new());
}

#[tokio::test]
async fn a_record_that_cannot_be_read_fails_the_listing_by_name() {
    let site = Site::of_shells();
    let provider = site.provider();
    fs::write(site.settings.directory.join("instance-7.json"), "{").expect("it is ours");
    let refused = provider.list().await.expect_err("it may be a machine that runs");
    assert!(refused.text.contains("instance-7.json"), "{refused}");
}

#[tokio::test]
async fn whoever_owns_the_directory_can_end_all_machines_in_it() {
    let site = Site::of_shells();
    let provider = site.provider();
    provider.launch(site.request(3)).await.expect("machines");
    let mut theirs = site.settings.clone();
    theirs.deployment = "another".to_owned();
    let mut request = site.request(1);
    request.deployment = "another".to_owned();
    let theirs = provider_local::Local::open(theirs).expect("these settings are right");
    theirs.launch(request).await.expect("a machine");
    assert_eq!(provider_local::end_all(&site.settings.directory).await.expect("they end"), 4);
    assert_eq!(site.processes(), BTreeSet::new());
    let left: Vec<_> = fs::read_dir(&site.settings.directory).expect("it is there").collect();
    assert_eq!(left.len(), 1, "only the lock: {left:?}");
    assert_eq!(provider_local::end_all(&site.settings.directory.join("none")).await.expect("no matter"), 0);
}
