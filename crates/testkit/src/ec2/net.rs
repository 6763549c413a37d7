//! Networks of the laboratory: a namespace that is the VPC, with a bridge, and one for each machine.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::AsFd as _,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, anyhow, bail};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The address of the VPC's router, where machines find what is outside.
pub(super) const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Where instance metadata is served.
pub(super) const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// A network namespace. Goes with the value.
#[derive(Debug)]
pub(super) struct Namespace {
    name: String,
}

impl Namespace {
    /// The VPC: a bridge that is the router and has the metadata service's address.
    pub(super) fn vpc(name: &str) -> anyhow::Result<Self> {
        let namespace = Self::new(name)?;
        namespace.ip("link set lo up")?;
        // An address of its own: otherwise it is that of some machine, and changes when that machine goes.
        namespace.ip("link add br0 address 02:00:0a:4d:00:01 type bridge forward_delay 0")?;
        namespace.ip(&format!("addr add {ROUTER}/16 dev br0"))?;
        namespace.ip(&format!("addr add {METADATA}/32 dev br0"))?;
        namespace.ip("link set br0 up")?;
        Ok(namespace)
    }

    /// A machine's own network, on the bridge of its VPC.
    pub(super) fn machine(vpc: &Self, name: &str, number: u32, address: Ipv4Addr) -> anyhow::Result<Self> {
        let namespace = Self::new(name)?;
        vpc.ip(&format!("link add m{number} type veth peer name eth0 netns {name}"))?;
        vpc.ip(&format!("link set m{number} master br0 up"))?;
        namespace.ip("link set lo up")?;
        namespace.ip(&format!("addr add {address}/16 dev eth0"))?;
        namespace.ip("link set eth0 up")?;
        namespace.ip(&format!("route add default via {ROUTER}"))?;
        Ok(namespace)
    }

    /// A port of the bridge for a machine that is emulated; its name.
    pub(super) fn tap(&self, number: u32) -> anyhow::Result<String> {
        let tap = format!("t{number}");
        self.ip(&format!("tuntap add dev {tap} mode tap"))?;
        self.ip(&format!("link set {tap} master br0 up"))?;
        Ok(tap)
    }

    /// A program that will run in this namespace.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    fn new(name: &str) -> anyhow::Result<Self> {
        run(&format!("netns add {name}"))
            .context("network namespaces cannot be made: this needs root, and Debian's iproute2")?;
        Ok(Self { name: name.to_owned() })
    }

    /// Where programs find it.
    pub(super) fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    fn ip(&self, command: &str) -> anyhow::Result<()> {
        run(&format!("-n {} {command}", self.name))
    }

    /// Listens in this namespace; who accepts may be anywhere.
    pub(super) fn listen(&self, address: SocketAddr) -> anyhow::Result<TcpListener> {
        let file = File::open(self.path())?;
        // Only the thread is moved, and it ends.
        let bound = thread::spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            TcpListener::bind(address)
        });
        let listener = bound.join().map_err(|_| anyhow!("a thread of the laboratory failed"))?;
        let listener = listener.with_context(|| format!("cannot listen on {address} of the VPC"))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // What is left of it is told by nobody: the next one has another name.
        let _gone = run(&format!("netns del {}", self.name));
    }
}

/// Runs `ip`.
fn run(command: &str) -> anyhow::Result<()> {
    let output = Command::new("ip").args(command.split(' ')).stdin(Stdio::null()).output();
    let output = output.context("`ip` cannot be run: install iproute2")?;
    if !output.status.success() {
        bail!("ip {command}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
