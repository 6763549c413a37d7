//! EC2 on one machine: instances that moto starts boot the worker's image for real, each in a network of its own, with
//! instance metadata at its real address. Needs root on Linux, and what `cargo xtask ec2-lab image` builds.

use std::{
    collections::HashMap,
    env,
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{
    emulator::Emulator,
    imds::{Imds, InstanceMetadata},
    net::{METADATA, Namespace, ROUTER},
    proxy::Proxy,
    runtime::Threads,
    xml::Element,
};

/// An image that boots, and whose worker comes.
pub const IMAGE: &str = "ami-12c6146b";

/// An image that boots, and whose worker never comes.
pub const BROKEN: &str = "ami-1e749f67";

/// An image that boots from a disk, as on EC2: by firmware, boot loader and kernel of its own, in an emulator, which takes half
/// a minute. Needs `cargo xtask ec2-lab disk`.
pub const DISK: &str = "ami-fa7cdd89";

/// A stock system, on a disk as well: Debian with cloud-init, and nothing of Ganger or Buildbot but wheels in `/opt/wheels`, as
/// machines of the laboratory reach no index. Needs `cargo xtask ec2-lab stock`.
pub const STOCK: &str = "ami-785db401";

/// How long a machine may take to power off before its plug is pulled.
const POWER_OFF: Duration = Duration::from_secs(5);

/// How often EC2 is asked which machines there are.
const LOOK: Duration = Duration::from_millis(100);

/// Tells laboratories of one process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A laboratory. All that it started ends with the value.
#[derive(Debug)]
pub struct Lab {
    shared: Arc<Shared>,
    launcher: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    proxy: Proxy,
    imds: Imds,
    root: PathBuf,
    name: String,
    machines: Mutex<HashMap<String, Machine>>,
    /// How long firmware and the like take from now on.
    boot_after: Mutex<Duration>,
    ended: AtomicBool,
    consoles: tempfile::TempDir,
    _threads: Threads,
    vpc: Namespace,
}

/// A machine that runs.
#[derive(Debug)]
struct Machine {
    hardware: Hardware,
    address: Ipv4Addr,
}

/// What a machine runs on.
#[derive(Debug)]
enum Hardware {
    /// This machine's kernel, with a root file system of its own.
    Container {
        process: Child,
        /// Last, so that nothing runs in it any more.
        _network: Namespace,
    },
    /// A machine of its own.
    Emulator(Emulator),
}

impl Hardware {
    fn process(&mut self) -> &mut Child {
        match self {
            Self::Container { process, .. } | Self::Emulator(Emulator { process, .. }) => process,
        }
    }
}

impl Lab {
    /// Starts EC2, metadata and the launcher. Ports of this machine that are named are found by machines at
    /// [`Self::router`].
    ///
    /// # Errors
    /// This is not root, a program is missing, or there is no image.
    pub fn start(ports: &[u16]) -> anyhow::Result<Self> {
        let root = image()?;
        let name = format!("glab{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let vpc = Namespace::vpc(&name)?;
        let (proxy, imds, threads) = (Proxy::start()?, Imds::new()?, Threads::start()?);
        let listener = vpc.listen(SocketAddr::from((METADATA, 80)))?;
        threads.spawn(imds.clone().serve(listener));
        for port in ports {
            threads.spawn(relay(vpc.listen(SocketAddr::from((ROUTER, *port)))?, *port));
        }
        let shared = Arc::new(Shared {
            proxy,
            imds,
            root,
            name,
            machines: Mutex::default(),
            boot_after: Mutex::default(),
            ended: AtomicBool::new(false),
            consoles: tempfile::tempdir()?,
            _threads: threads,
            vpc,
        });
        let launcher = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.launch()
        });
        Ok(Self { shared, launcher: Some(launcher) })
    }

    /// EC2.
    pub fn proxy(&self) -> &Proxy {
        &self.shared.proxy
    }

    /// Instance metadata.
    pub fn imds(&self) -> &Imds {
        &self.shared.imds
    }

    /// Where machines find the ports of this machine that were named.
    pub fn router(&self) -> IpAddr {
        ROUTER.into()
    }

    /// Ids of the machines that run, whatever EC2 says.
    pub fn running(&self) -> Vec<String> {
        self.shared.machines().keys().cloned().collect()
    }

    /// Machines that are started from now on begin to boot only after so long.
    pub fn boot_after(&self, time: Duration) {
        *self.shared.boot_after.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// What a machine has said on its console.
    pub fn console(&self, id: &str) -> String {
        self.shared.console(id)
    }

    /// What all machines have said on their consoles, those that are gone as well: for whoever reads why a test failed.
    pub fn consoles(&self) -> String {
        let entries = fs::read_dir(self.shared.consoles.path()).into_iter().flatten().filter_map(Result::ok);
        let told = entries.map(|entry| {
            let id = entry.file_name().to_string_lossy().into_owned();
            format!("--- console of {id}\n{}", self.console(&id))
        });
        told.collect()
    }

    /// The market takes a machine back: it is warned, and ended two minutes later, or after another time.
    ///
    /// # Errors
    /// There is no such machine.
    pub fn interrupt(&self, id: &str, notice: Duration) -> anyhow::Result<()> {
        let at = jiff::Timestamp::now().checked_add(notice)?.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        if !self.shared.imds.change(id, |instance| instance.spot_action = Some(at)) {
            bail!("no machine {id} runs");
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(launcher) = self.launcher.take() {
            // It failed before: then its machines are ended below.
            let _ended = launcher.join();
        }
        for (_, machine) in self.shared.machines().drain() {
            machine.end();
        }
    }
}

/// The root file system that machines boot.
pub(crate) fn image() -> anyhow::Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    let root = target.join("ec2-lab/root");
    if !root.join("usr/local/sbin/ganger-bootstrap").exists() {
        bail!("there is no machine image in {}: run `cargo xtask ec2-lab image`, as root", root.display());
    }
    Ok(root)
}

impl Shared {
    fn machines(&self) -> MutexGuard<'_, HashMap<String, Machine>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Boots what EC2 has started, and ends what it has ended, until the laboratory ends.
    fn launch(&self) {
        let mut next = 10;
        let mut seen = HashMap::new();
        while !self.ended.load(Ordering::Relaxed) {
            match self.proxy.call("DescribeInstances", &[]) {
                Ok(listing) => self.compare(&listing, &mut next, &mut seen),
                Err(error) => self.complain(&format!("{error:#}")),
            }
            thread::sleep(LOOK);
        }
    }

    /// `seen` is when a machine that is to boot was first seen.
    fn compare(&self, listing: &Element, next: &mut u32, seen: &mut HashMap<String, Instant>) {
        let boot_after = *self.boot_after.lock().unwrap_or_else(PoisonError::into_inner);
        let reservations = listing.items("reservationSet");
        for (account, instance) in reservations.flat_map(|reservation| {
            let account = reservation.get("ownerId");
            reservation.items("instancesSet").map(move |instance| (account, instance))
        }) {
            let (id, state) = (instance.get("instanceId"), instance.get("instanceState/name"));
            let is_known = self.machines().contains_key(id);
            match state {
                "pending" | "running" if !is_known && !self.console_path(id).exists() => {
                    if seen.entry(id.to_owned()).or_insert_with(Instant::now).elapsed() < boot_after {
                        continue;
                    }
                    *next += 1;
                    if let Err(error) = self.boot(*next, account, instance) {
                        self.complain(&format!("{id} does not boot: {error:#}"));
                    }
                }
                "pending" | "running" => {
                    // Tags come later than machines.
                    self.imds.change(id, |known| known.tags = tags(instance));
                }
                _ if is_known => {
                    if let Some(machine) = self.machines().remove(id) {
                        self.imds.withdraw(machine.address.into());
                        machine.end();
                    }
                }
                _ => {}
            }
        }
        let off: Vec<_> = self
            .machines()
            .iter_mut()
            .filter_map(|(id, machine)| {
                machine.hardware.process().try_wait().ok().flatten().map(|_| id.clone())
            })
            .collect();
        for id in off {
            self.machines().remove(&id);
            let ended =
                self.proxy.end(&id, "Client.InstanceInitiatedShutdown", "Instance initiated shutdown");
            if let Err(error) = ended {
                self.complain(&format!("{id}: {error:#}"));
            }
        }
        for id in self.machines().keys() {
            self.proxy.set_console(id, self.console(id));
        }
    }

    fn boot(&self, number: u32, account: &str, instance: &Element) -> anyhow::Result<()> {
        let id = instance.get("instanceId");
        let console = File::create(self.console_path(id))?;
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 77, 1, 0)) + number);
        let asked = [("InstanceId", id), ("Attribute", "userData")];
        let data = self.proxy.call("DescribeInstanceAttribute", &asked)?;
        let data = data.get("userData/value");
        self.imds.publish(
            address.into(),
            InstanceMetadata {
                id: id.to_owned(),
                image: instance.get("imageId").to_owned(),
                kind: instance.get("instanceType").to_owned(),
                zone: instance.get("placement/availabilityZone").to_owned(),
                account: account.to_owned(),
                user_data: (!data.is_empty()).then(|| BASE64_STANDARD.decode(data)).transpose()?,
                tags: tags(instance),
                pending_time: instance.get("launchTime").replace(".000Z", "Z"),
                ..InstanceMetadata::default()
            },
        );
        let hardware = match instance.get("imageId") {
            image @ (DISK | STOCK) => {
                let name = if image == DISK { "disk" } else { "stock" };
                let disk = self.root.with_file_name(format!("{name}.qcow2"));
                if !disk.exists() {
                    bail!("there is no {}: run `cargo xtask ec2-lab {name}`, as root", disk.display());
                }
                let emulator = Emulator::boot(&self.vpc, number, id, address, &disk, console)?;
                Hardware::Emulator(emulator)
            }
            image => self.contain(number, id, image, address, console)?,
        };
        self.machines().insert(id.to_owned(), Machine { hardware, address });
        Ok(())
    }

    fn contain(
        &self,
        number: u32,
        id: &str,
        image: &str,
        address: Ipv4Addr,
        console: File,
    ) -> anyhow::Result<Hardware> {
        let network = Namespace::machine(&self.vpc, &format!("{}-{number}", self.name), number, address)?;
        let mut boot = Command::new("systemd-nspawn");
        boot.args(["--quiet", "--register=no", "--keep-unit", "--volatile=overlay", "--resolv-conf=off"])
            .args(["--console=read-only", "--machine", id])
            .arg(format!("--network-namespace-path={}", network.path()))
            .arg("--directory")
            .arg(&self.root)
            // Its network is its own.
            .args(["--capability=CAP_NET_ADMIN", "--boot", "systemd.show_status=0"]);
        if image == BROKEN {
            boot.arg("systemd.mask=ganger-bootstrap.service");
        }
        let process = boot
            .stdin(Stdio::null())
            .stdout(console.try_clone()?)
            .stderr(console)
            .spawn()
            .context("`systemd-nspawn` cannot be run: install systemd-container")?;
        Ok(Hardware::Container { process, _network: network })
    }

    fn console_path(&self, id: &str) -> PathBuf {
        self.consoles.path().join(id)
    }

    fn console(&self, id: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.console_path(id)).unwrap_or_default()).into_owned()
    }

    /// What goes wrong in the laboratory itself is for whoever reads the test.
    #[expect(clippy::print_stderr, reason = "there is nobody to return it to")]
    fn complain(&self, what: &str) {
        if !self.ended.load(Ordering::Relaxed) {
            eprintln!("laboratory: {what}");
        }
    }
}

impl Machine {
    /// Powers it off, and pulls the plug when that takes too long. What runs in it would outlive its launcher, were that killed
    /// at once.
    fn end(mut self) {
        let begun = Instant::now();
        let process = self.hardware.process();
        let pid = process.id().to_string();
        let _asked = Command::new("kill").args(["-TERM", &pid]).status();
        while begun.elapsed() < POWER_OFF {
            if matches!(process.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _killed = process.kill();
        let _reaped = process.wait();
    }
}

fn tags(instance: &Element) -> std::collections::BTreeMap<String, String> {
    let shown = instance.get("metadataOptions/instanceMetadataTags") == "enabled";
    let tags = instance.items("tagSet").filter(|_| shown);
    tags.map(|tag| (tag.get("key").to_owned(), tag.get("value").to_owned())).collect()
}

/// Passes connections on to the same port of this machine.
async fn relay(listener: std::net::TcpListener, port: u16) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    while let Ok((mut from, _)) = listener.accept().await {
        tokio::spawn(async move {
            let Ok(mut to) = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
                return;
            };
            // However it ends, both sides see it.
            let _ended = tokio::io::copy_bidirectional(&mut from, &mut to).await;
        });
    }
}
