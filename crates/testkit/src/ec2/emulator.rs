//! A machine in an emulator: boots a disk by the firmware, as an instance does, and gets its address by DHCP.

use std::{
    fs::File,
    net::Ipv4Addr,
    path::Path,
    process::{Child, Stdio},
};

use anyhow::Context as _;

use super::net::{Namespace, ROUTER};

/// A machine that is emulated, and who gives it its address. Both end with the value.
#[derive(Debug)]
pub(super) struct Emulator {
    pub(super) process: Child,
    dhcp: Child,
}

impl Emulator {
    /// Boots what is on a disk, which is not changed.
    pub(super) fn boot(
        vpc: &Namespace,
        number: u32,
        id: &str,
        address: Ipv4Addr,
        disk: &Path,
        console: File,
    ) -> anyhow::Result<Self> {
        let tap = vpc.tap(number)?;
        let [.., a, b] = address.octets();
        let mac = format!("02:00:0a:4d:{a:02x}:{b:02x}");
        let mut dhcp = vpc.command("dnsmasq");
        dhcp.args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--port=0",
            "--leasefile-ro",
            "--pid-file=",
        ])
        .args(["--interface=br0", "--bind-interfaces", "--user=root", "--log-facility=-"])
        .arg("--dhcp-range=10.77.0.0,static,255.255.0.0")
        .arg(format!("--dhcp-host={mac},{address}"))
        .arg(format!("--dhcp-option=option:router,{ROUTER}"));
        let dhcp = dhcp.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut dhcp = dhcp.context("`dnsmasq` cannot be run: install dnsmasq-base")?;
        // By this cloud-init knows where it is.
        let uuid = format!("ec2e1916-9099-4caf-8d21-{:0>12.12}", id.trim_start_matches("i-"));
        let mut emulator = vpc.command("qemu-system-x86_64");
        emulator
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "768", "-M", "q35"])
            .args(["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"])
            .args(["-smbios", &format!("type=1,manufacturer=Amazon EC2,serial={uuid},uuid={uuid}")])
            .arg("-drive")
            .arg(format!("file={},format=qcow2,snapshot=on,if=none,id=root", disk.display()))
            .args(["-device", &format!("nvme,drive=root,serial={id}")])
            .args(["-netdev", &format!("tap,id=net,ifname={tap},script=no,downscript=no")])
            .args(["-device", &format!("virtio-net-pci,netdev=net,mac={mac}")])
            .args(["-device", "virtio-rng-pci"]);
        let process = emulator.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console).spawn();
        match process {
            Ok(process) => Ok(Self { process, dhcp }),
            Err(error) => {
                end(&mut dhcp);
                Err(error).context("`qemu-system-x86_64` cannot be run: install qemu-system-x86")
            }
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        end(&mut self.process);
        end(&mut self.dhcp);
    }
}

fn end(process: &mut Child) {
    // It may have ended by itself.
    let _ended = process.kill();
    let _reaped = process.wait();
}
