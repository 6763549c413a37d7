//! Container engines of the tests' own: nobody else's containers are near, and none is left behind. Needs root on Linux.

use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustix::process::{Pid, Signal, kill_process};

use crate::ec2::lab;

/// Long enough for an engine to start on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Where the engine listens over TLS, in its own network.
pub const TLS_HOST: &str = "tcp://127.0.0.1:2376";

/// Where containers of an engine [with a bridge](Engine::with_bridge) find its network: docker0's own address.
pub const GATEWAY: &str = "172.17.0.1";

/// The root of a worker's machine, with the programs of `images/provision.sh`.
///
/// # Errors
/// It was not built.
pub fn worker_root() -> anyhow::Result<PathBuf> {
    lab::image()
}

/// An engine that runs, with the `docker` command for it. It ends with the value, and so do its containers.
#[derive(Debug)]
pub struct Engine {
    directory: tempfile::TempDir,
    server: Child,
}

impl Engine {
    /// A dockerd in a network of its own, which has nothing in it.
    ///
    /// # Errors
    /// This is not root, or it does not start.
    pub fn start() -> anyhow::Result<Self> {
        Self::new(|_, at| {
            let mut dockerd = dockerd(at);
            dockerd.args(["--bridge", "none", "--iptables=false", "--ip6tables=false"]);
            Ok(dockerd)
        })
    }

    /// A Podman in a network of its own, which has nothing in it, that speaks Docker's API.
    ///
    /// # Errors
    /// This is not root, or it does not start.
    pub fn podman() -> anyhow::Result<Self> {
        Self::new(|directory, at| {
            // Unless told otherwise it gives containers higher limits than whoever runs the tests may have to give.
            let settings = "[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=30000:30000\"]\n\
                            [engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
            fs::write(directory.join("containers.conf"), settings)?;
            let mut podman = alone("podman");
            podman.env("CONTAINERS_CONF", at("containers.conf"));
            podman.args(["--root", &at("data"), "--runroot", &at("run"), "--tmpdir", &at("tmp")]);
            podman.args(["--storage-driver", "vfs", "system", "service", "--time", "0"]);
            podman.arg(format!("unix://{}", at("socket")));
            Ok(podman)
        })
    }

    /// A dockerd in a network of its own, in which containers have Docker's usual bridge, and that listens at [`TLS_HOST`]
    /// as well, for whoever has [`Engine::certificates`]. Its rules of iptables are nobody else's.
    ///
    /// # Errors
    /// This is not root, or it does not start.
    pub fn with_bridge() -> anyhow::Result<Self> {
        let engine = Self::new(|directory, at| {
            write_certificates(directory)?;
            let mut dockerd = dockerd(at);
            dockerd.args(["--tlsverify", "--host", TLS_HOST, "--tlscacert", &at("ca.pem")]);
            dockerd.args(["--tlscert", &at("engine.pem"), "--tlskey", &at("engine-key.pem")]);
            Ok(dockerd)
        })?;
        let mut up = engine.inside("ip");
        ensure!(up.args(["link", "set", "lo", "up"]).status()?.success(), "the network has no loopback");
        Ok(engine)
    }

    fn new(
        server: impl FnOnce(&Path, &dyn Fn(&str) -> String) -> anyhow::Result<Command>,
    ) -> anyhow::Result<Self> {
        ensure!(rustix::process::geteuid().is_root(), "containers take root: run these tests as root");
        let directory = tempfile::tempdir()?;
        let path = directory.path().to_owned();
        let at = move |name: &str| path.join(name).display().to_string();
        let mut server = server(directory.path(), &at)?;
        let log = File::create(directory.path().join("log"))?;
        let server = server.stdout(log.try_clone()?).stderr(log).spawn();
        let server = server.context("`unshare` of util-linux does not start")?;
        let mut engine = Self { directory, server };
        engine.wait()?;
        Ok(engine)
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let since = Instant::now();
        while !self.docker(&["version"])?.status.success() {
            if self.server.try_wait()?.is_some() {
                bail!("the engine ended; are docker.io and podman installed?\n{}", self.log());
            }
            ensure!(since.elapsed() < LIMIT, "the engine does not answer\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What the engine has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Where it listens.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("socket").display())
    }

    /// The engine's network, for `nsenter --net`.
    pub fn network(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.server.id()).into()
    }

    /// A command in the engine's network.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network().display())).arg(program);
        command
    }

    /// The authority's certificate, the master's, and the master's key.
    pub fn certificates(&self) -> [PathBuf; 3] {
        ["ca.pem", "master.pem", "master-key.pem"].map(|name| self.path(name))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs Docker's own command.
    ///
    /// # Errors
    /// There is none.
    pub fn docker(&self, args: &[&str]) -> anyhow::Result<Output> {
        let mut docker = Command::new("docker");
        docker.args(["--host", &self.host()]).args(args);
        docker.output().context("`docker` of the package docker.io does not start")
    }

    /// What Docker's own command prints.
    ///
    /// # Errors
    /// It fails.
    pub fn ask(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.docker(args)?;
        ensure!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Makes a root file system an image, with lines as a Dockerfile has them.
    ///
    /// # Errors
    /// It cannot be packed, or the engine does not take it.
    pub fn import(&self, root: &Path, image: &str, lines: &[&str]) -> anyhow::Result<()> {
        let archive = self.path("root.tar");
        let mut tar = Command::new("tar");
        tar.args(["--numeric-owner", "--exclude=./proc/*", "--exclude=./sys/*", "--exclude=./dev/*"]);
        ensure!(tar.arg("-cf").arg(&archive).arg("-C").arg(root).arg(".").status()?.success(), "tar failed");
        let packed = archive.display().to_string();
        let mut args = vec!["import"];
        args.extend(lines.iter().flat_map(|line| ["--change", line]));
        args.extend([&*packed, image]);
        self.ask(&args)?;
        fs::remove_file(archive)?;
        Ok(())
    }

    /// Makes an image with a shell and little else: BusyBox.
    ///
    /// # Errors
    /// There is no BusyBox, or the engine does not take it.
    pub fn import_busybox(&self, image: &str) -> anyhow::Result<()> {
        let root = self.path("busybox");
        fs::create_dir_all(root.join("bin"))?;
        fs::create_dir_all(root.join("etc"))?;
        fs::copy("/bin/busybox", root.join("bin/busybox"))
            .context("BusyBox of the package busybox-static")?;
        for name in ["sh", "sleep", "cat", "stat"] {
            symlink("busybox", root.join("bin").join(name))?;
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nbuildbot:x:1234:1234::/:/bin/sh\n")?;
        self.import(&root, image, &[])
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Ok(left) = self.ask(&["ps", "-aq"]) {
            for id in left.split_whitespace() {
                self.docker(&["rm", "--force", "--volumes", id]).ok();
            }
        }
        kill_process(Pid::from_child(&self.server), Signal::TERM).ok();
        self.server.wait().ok();
    }
}

/// Runs what follows in a network of its own, and ends it with the tests. `unshare --net` leaves /sys alone, where the
/// control groups are.
fn alone(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "unshare", "--net", "--", program]);
    command
}

fn dockerd(at: &dyn Fn(&str) -> String) -> Command {
    let mut dockerd = alone("dockerd");
    dockerd.args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")]);
    dockerd.arg("--host").arg(format!("unix://{}", at("socket")));
    dockerd
}

/// An authority, and the engine's and the master's certificates by it.
fn write_certificates(directory: &Path) -> anyhow::Result<()> {
    let write = |name: &str, pem: String| fs::write(directory.join(name), pem);
    let (key, mut authority) = (KeyPair::generate()?, CertificateParams::default());
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("ca.pem", authority.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(authority, key);
    let uses =
        [("engine", ExtendedKeyUsagePurpose::ServerAuth), ("master", ExtendedKeyUsagePurpose::ClientAuth)];
    for (name, usage) in uses {
        let (key, mut params) = (KeyPair::generate()?, CertificateParams::default());
        params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
        params.extended_key_usages = vec![usage];
        write(&format!("{name}.pem"), params.signed_by(&key, &issuer)?.pem())?;
        write(&format!("{name}-key.pem"), key.serialize_pem())?;
    }
    Ok(())
}
