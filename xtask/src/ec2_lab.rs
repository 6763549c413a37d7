//! The laboratory that behaves like EC2: the image that its machines boot.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::{
    bootstrap,
    tools::{self, command, system_program},
};

/// Programs that build and boot the image, with the Debian packages that have them.
const PROGRAMS: [(&[&str], &str); 5] = [
    (&["mmdebstrap", "--version"], "mmdebstrap"),
    (&["systemd-nspawn", "--version"], "systemd-container"),
    (&["ip", "-V"], "iproute2"),
    (&["openssl", "version"], "openssl"),
    (&["setpriv", "--version"], "util-linux"),
];

/// Programs that make the disk, and boot it.
const DISK_PROGRAMS: [(&[&str], &str); 7] = [
    (&["mmdebstrap", "--version"], "mmdebstrap"),
    (&["qemu-system-x86_64", "--version"], "qemu-system-x86"),
    // After the emulator, whose package may remove another version of it.
    (&["qemu-img", "--version"], "qemu-utils"),
    (&["dnsmasq", "--version"], "dnsmasq-base"),
    (&["grub-mkimage", "--version"], "grub-common"),
    (&["test", "-d", "/usr/lib/grub/i386-pc"], "grub-pc-bin"),
    (&["sfdisk", "--version"], "fdisk"),
];

/// Builds the image, unless the one that is there was built from the same.
pub(crate) fn image() -> Result<()> {
    for (probe, package) in PROGRAMS {
        system_program(probe, package)?;
    }
    let program = bootstrap::build()?;
    let target = tools::target();
    let (root, stamp) = (target.join("ec2-lab/root"), target.join("ec2-lab/stamp"));
    let digest = digest(&program)?;
    if root.is_dir() && fs::read_to_string(&stamp).is_ok_and(|known| known == digest) {
        return Ok(());
    }
    if !is_root() {
        bail!("the image of the laboratory is built and booted as root");
    }
    // Without it a build that is cut off is no image.
    fs::remove_file(&stamp).ok();
    fs::create_dir_all(target.join("ec2-lab"))?;
    let mut build = command("sh", &["images/build.sh"]);
    tools::run("the machine image of the laboratory", build.arg(&program).arg(&root))?;
    fs::write(&stamp, digest).context("the laboratory's directory cannot be written")
}

/// Builds the image as a disk, and gets what boots that.
pub(crate) fn disk() -> Result<()> {
    for (probe, package) in DISK_PROGRAMS {
        system_program(probe, package)?;
    }
    let program = bootstrap::build()?;
    let mut build = command("sh", &["images/build.sh", "--disk"]);
    let made = tools::target().join("ec2-lab/disk");
    fs::create_dir_all(tools::target().join("ec2-lab"))?;
    tools::run("the disk of the laboratory", build.arg(&program).arg(&made))?;
    // Only the disk is booted.
    fs::remove_dir_all(&made).with_context(|| format!("cannot remove {}", made.display()))
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Runs the laboratory until it is interrupted.
pub(crate) fn run() -> Result<()> {
    prepare()?;
    tools::run("laboratory", &mut laboratory())
}

/// Runs the laboratory, and a master on it that shows what a pool does with a burst of requests.
pub(crate) fn quickstart() -> Result<()> {
    prepare()?;
    let build = ["build", "--quiet", "-p", "ganger", "--features", "ec2"];
    tools::run("the program with EC2", &mut tools::cargo(&build))?;
    tools::run("a pool on EC2", laboratory().arg("--").arg(tools::target().join("debug/ganger")))
}

fn prepare() -> Result<()> {
    image()?;
    tools::run(
        "virtual environment with moto",
        &mut command("python3", &["tests/python/venvs.py", "moto-5.2.1"]),
    )
}

fn laboratory() -> Command {
    tools::cargo(&["run", "--quiet", "-p", "ganger-testkit", "--example", "ec2_lab"])
}

/// A digest of all that the image is made from.
fn digest(program: &Path) -> Result<String> {
    let mut files = vec![program.to_owned()];
    collect(&tools::root().join("images"), &mut files)?;
    files.sort();
    let mut digest = Sha256::new();
    for file in files {
        digest.update(file.as_os_str().as_encoded_bytes());
        digest.update(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
