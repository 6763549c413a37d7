//! Masters that are killed: nothing is leaked, nothing is there twice.

use std::{
    env,
    path::Path,
    process::{Child, Command, Stdio},
};

use pools::{Provider, provider::MachineStatus};
use provider_local::Settings;

use crate::site::{DEPLOYMENT, Site, eventually, pid, request};

/// How many machines the master that is killed wants.
const MACHINES: u32 = 12;

/// Says where the machines of the master that is killed live.
const DIRECTORY: &str = "GANGER_TEST_MACHINES";

/// Not a test: the master that is killed. Launches, and waits for its end.
#[tokio::test]
#[ignore = "is started by other tests, to be killed"]
async fn a_master_that_is_killed() {
    let Some(directory) = env::var_os(DIRECTORY) else { return };
    let mut settings = Settings::new("linux", DEPLOYMENT, "127.0.0.1:9", directory.into());
    settings.program = "sh".into();
    settings.trouble.hang = 1.0;
    let provider = provider_local::Local::open(settings.clone()).expect("these settings are right");
    provider.launch(request(&settings, 1, MACHINES)).await.expect("machines");
    std::future::pending::<()>().await;
}

fn start_master(directory: &Path) -> Child {
    Command::new(env::current_exe().expect("this program"))
        .args(["--ignored", "--exact", "crashes::a_master_that_is_killed"])
        .env(DIRECTORY, directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be started")
}

#[tokio::test]
async fn machines_outlive_their_master_and_are_found_by_the_next() {
    let site = Site::of_shells();
    let mut master = start_master(&site.settings.directory);
    let provider = site.provider();
    let running = async || {
        let listed = provider.list().await.expect("a listing");
        listed.into_iter().filter(|machine| machine.status == MachineStatus::Running).collect::<Vec<_>>()
    };
    let before = eventually("all run", async || {
        Some(running().await).filter(|machines| machines.len() == MACHINES as usize)
    })
    .await;
    master.kill().expect("it runs");
    master.wait().expect("it is our child");
    let after = running().await;
    assert_eq!(before.iter().map(pid).collect::<Vec<_>>(), after.iter().map(pid).collect::<Vec<_>>());
    for machine in &after {
        provider.terminate(machine.provider_id.clone()).await.expect("it ends");
    }
    assert!(site.processes().is_empty(), "{:?}", site.processes());
    assert!(running().await.is_empty());
}

#[tokio::test]
async fn a_master_that_is_killed_while_it_launches_leaves_nothing_unknown_or_double() {
    for so_many in [0, 1, 4, 9] {
        let site = Site::of_shells();
        std::fs::create_dir(&site.settings.directory).expect("a writable scratch directory");
        let mut master = start_master(&site.settings.directory);
        eventually("some machines are made", async || {
            let entries = std::fs::read_dir(&site.settings.directory).expect("it is there").count();
            (entries > so_many * 3).then_some(())
        })
        .await;
        master.kill().expect("it runs");
        master.wait().expect("it is our child");

        let provider = site.provider();
        // A process that was not let go yet ends by itself.
        eventually("every process is a machine in the listing", async || {
            let listed = provider.list().await.expect("a listing");
            let running = listed.iter().filter(|machine| machine.status == MachineStatus::Running);
            let known: Vec<i32> = running.map(pid).collect();
            // Each is a shell, with or without its `sleep`.
            let leaders = site.processes().into_iter().filter(|pid| is_leader(*pid)).collect::<Vec<_>>();
            (known.len() == leaders.len() && leaders.iter().all(|pid| known.contains(pid))).then_some(())
        })
        .await;
        // The same call again, as the next master would make it if it still knew the secrets.
        let again = provider.launch(request(&site.settings, 1, MACHINES)).await.expect("machines");
        assert_eq!(again.machines.len(), MACHINES as usize, "{again:?}");
        let leaders = site.processes().into_iter().filter(|pid| is_leader(*pid)).count();
        assert!(leaders <= MACHINES as usize, "{leaders} processes for {MACHINES} machines");
        for machine in provider.list().await.expect("a listing") {
            provider.terminate(machine.provider_id).await.expect("it ends");
        }
        assert!(site.processes().is_empty(), "{:?}", site.processes());
    }
}

/// Whether a process leads a session.
fn is_leader(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let session =
        stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(3)?.parse().ok());
    session == Some(pid)
}
