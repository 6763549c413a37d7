//! An engine of the tests' own: nobody else's containers are near, and none is left behind.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Output},
    sync::atomic::{AtomicI64, Ordering},
    thread,
    time::{Duration, Instant},
};

use model::InstanceId;
use pools::{
    Token,
    provider::{LaunchRequest, Member},
};
use provider_docker::{Docker, Settings};
use rustix::process::{Pid, Signal, kill_process};

/// Long enough for dockerd to start on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// An image of one program: BusyBox.
pub(crate) const IMAGE: &str = "busybox:test";

pub(crate) const PASSWORD: &str = "sekrit-of-one-machine";

/// A running dockerd in a network of its own, with [`IMAGE`]. It ends with the value, and so do its containers.
pub(crate) struct Engine {
    directory: tempfile::TempDir,
    dockerd: Child,
    pub(crate) settings: Settings,
    next: AtomicI64,
}

impl Engine {
    pub(crate) fn start() -> Self {
        assert!(rustix::process::geteuid().is_root(), "containers take root: run these tests as root");
        let directory = tempfile::tempdir().expect("a scratch directory");
        let path = directory.path();
        let at = |name: &str| path.join(name).display().to_string();
        let host = format!("unix://{}", at("socket"));
        let log = File::create(path.join("log")).expect("a log");
        // `unshare --net` leaves /sys alone, where the control groups are; its rules of iptables are nobody else's.
        let dockerd = Command::new("unshare")
            .args(["--net", "--", "dockerd", "--bridge", "none", "--iptables=false", "--ip6tables=false"])
            .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")])
            .args(["--host", &host])
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("`unshare` of util-linux starts");
        let mut settings = Settings::new("linux", "test", "127.0.0.1:9", &host, IMAGE);
        settings.network = Some("none".to_owned());
        settings.grace = Duration::from_secs(1);
        settings.command =
            ["sh", "-c", "echo booted; trap exit TERM; while :; do sleep 1; done"].map(str::to_owned).into();
        let mut engine = Self { directory, dockerd, settings, next: AtomicI64::new(1) };
        engine.wait();
        engine.make_image();
        engine
    }

    fn wait(&mut self) {
        let since = Instant::now();
        while !self.docker(&["version"]).status.success() {
            let ended = self.dockerd.try_wait().expect("it is a child");
            let log = || fs::read_to_string(self.path().join("log")).unwrap_or_default();
            assert!(ended.is_none(), "dockerd ended; is the package docker.io installed?\n{}", log());
            assert!(since.elapsed() < LIMIT, "dockerd does not answer\n{}", log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn make_image(&self) {
        let root = self.path().join("root");
        fs::create_dir_all(root.join("bin")).expect("a directory");
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("BusyBox of the package busybox-static");
        for name in ["sh", "sleep", "cat", "stat"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).expect("a link");
        }
        let tar = self.path().join("root.tar");
        let packed = Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&root).arg(".").status();
        assert!(packed.expect("tar starts").success());
        self.ok(&["import", &tar.display().to_string(), IMAGE]);
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The engine's own command.
    fn docker(&self, args: &[&str]) -> Output {
        let mut docker = Command::new("docker");
        docker.args(["--host", &self.settings.host]).args(args);
        docker.output().expect("`docker` of the package docker.io starts")
    }

    /// What a command printed that has to succeed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.docker(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn provider(&self) -> Docker {
        Docker::open(self.settings.clone()).expect("these settings are right")
    }

    pub(crate) fn request(&self, machines: u32) -> LaunchRequest {
        let first = self.next.fetch_add(i64::from(machines), Ordering::Relaxed);
        LaunchRequest {
            token: Token(format!("t-{first}")),
            pool: self.settings.pool.clone(),
            deployment: self.settings.deployment.clone(),
            members: (first..first + i64::from(machines))
                .map(|id| Member {
                    instance: InstanceId(id),
                    login: format!("linux@{id}"),
                    secret: Some(PASSWORD.into()),
                })
                .collect(),
            offering: "docker".to_owned(),
            price_cap: None,
            template: "0123".to_owned(),
            image: String::new(),
            ticket: None,
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let left = String::from_utf8_lossy(&self.docker(&["ps", "-aq"]).stdout).into_owned();
        for id in left.split_whitespace() {
            self.docker(&["rm", "--force", "--volumes", id]);
        }
        let pid = Pid::from_child(&self.dockerd);
        kill_process(pid, Signal::TERM).ok();
        self.dockerd.wait().ok();
    }
}
