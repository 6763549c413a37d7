//! A directory for machines, and what is to be seen of them from outside.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant},
};

use model::InstanceId;
use pools::{
    Provider, Token,
    provider::{LaunchRequest, Machine, MachineStatus, Member},
};
use provider_local::{Local, Settings};
use testkit::worker::WorkerKind;

/// Long enough for a Python program to start on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const PASSWORD: &str = "sekrit-of-one-machine";

pub(crate) const DEPLOYMENT: &str = "test";

/// A directory for machines. All that runs in it ends with the value.
pub(crate) struct Site {
    directory: tempfile::TempDir,
    pub(crate) settings: Settings,
    next: AtomicI64,
}

impl Site {
    /// Machines of the newest stock worker, with a master that is not there.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a scratch directory");
        let venv = WorkerKind::NEWEST.venv().expect("its environment is made");
        let machines = directory.path().canonicalize().expect("it is there").join("machines");
        let mut settings = Settings::new("linux", DEPLOYMENT, "127.0.0.1:9", machines);
        settings.program = venv.program("buildbot-worker");
        settings.grace = Duration::from_secs(5);
        Self { directory, settings, next: AtomicI64::new(1) }
    }

    /// Machines that are only there.
    pub(crate) fn of_shells() -> Self {
        let mut site = Self::new();
        site.settings.trouble.hang = 1.0;
        site
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn provider(&self) -> Local {
        Local::open(self.settings.clone()).expect("these settings are right")
    }

    pub(crate) fn request(&self, machines: u32) -> LaunchRequest {
        let first = self.next.fetch_add(i64::from(machines), Ordering::Relaxed);
        request(&self.settings, first, machines)
    }

    /// The directory of a machine.
    pub(crate) fn home(&self, machine: &Machine) -> PathBuf {
        self.settings.directory.join(&machine.provider_id)
    }

    /// All processes that work in the directory of any machine here, or were started by one that does.
    pub(crate) fn processes(&self) -> BTreeSet<i32> {
        let home = format!("HOME={}/", self.settings.directory.display());
        let numbers = fs::read_dir("/proc").expect("/proc").filter_map(|entry| {
            entry.expect("an entry").file_name().to_str().and_then(|name| name.parse::<i32>().ok())
        });
        numbers.filter(|pid| environment(*pid).iter().any(|variable| variable.starts_with(&home))).collect()
    }
}

/// A call for so many machines from this instance on.
pub(crate) fn request(settings: &Settings, first: i64, machines: u32) -> LaunchRequest {
    let member = |id: i64| Member {
        instance: InstanceId(id),
        login: format!("{}@{id}", settings.pool),
        secret: Some(PASSWORD.into()),
    };
    LaunchRequest {
        token: Token(format!("token-{first}")),
        pool: settings.pool.clone(),
        deployment: settings.deployment.clone(),
        members: (first..first + i64::from(machines)).map(member).collect(),
        offering: "local".to_owned(),
        price_cap: None,
        others: Vec::new(),
        template: "template-1".to_owned(),
        image: String::new(),
        ticket: None,
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for pid in self.processes() {
            let killed = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
            killed.expect("kill can be run");
        }
    }
}

/// The variables of a process; none when there is none.
pub(crate) fn environment(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|variable| String::from_utf8_lossy(variable).into_owned()).collect()
}

/// The process of a machine that runs.
pub(crate) fn pid(machine: &Machine) -> i32 {
    machine.details["pid"].parse().expect("a number")
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a machine is like that.
pub(crate) async fn until(provider: &impl Provider, id: &str, status: MachineStatus) {
    eventually(&format!("{id} is {status:?}"), async || {
        let listed = provider.list().await.expect("a listing");
        let machine = listed.into_iter().find(|machine| machine.provider_id == id)?;
        (machine.status == status).then_some(())
    })
    .await;
}
