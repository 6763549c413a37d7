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
const PROGRAMS: [(&[&str], &str); 6] = [
    (&["python3", "-m", "pip", "--version"], "python3-pip"),
    (&["mmdebstrap", "--version"], "mmdebstrap"),
    (&["systemd-nspawn", "--version"], "systemd-container"),
    (&["ip", "-V"], "iproute2"),
    (&["openssl", "version"], "openssl"),
    (&["setpriv", "--version"], "util-linux"),
];

/// Programs that make the disk, and boot it.
const DISK_PROGRAMS: [(&[&str], &str); 9] = [
    (&["python3", "-m", "pip", "--version"], "python3-pip"),
    (&["mmdebstrap", "--version"], "mmdebstrap"),
    (&["qemu-system-x86_64", "--version"], "qemu-system-x86"),
    // After the emulator, whose package may remove another version of it.
    (&["qemu-img", "--version"], "qemu-utils"),
    (&["dnsmasq", "--version"], "dnsmasq-base"),
    (&["grub-mkimage", "--version"], "grub-common"),
    (&["test", "-d", "/usr/lib/grub/i386-pc"], "grub-pc-bin"),
    (&["sfdisk", "--version"], "fdisk"),
    (&["mkfs.ext4", "-V"], "e2fsprogs"),
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
    remove(&made)
}

/// What a stock system has beside Debian's minimum: what boots it, and what its user data would fetch from Debian's servers.
const STOCK_PACKAGES: &str = "linux-image-cloud-amd64,systemd-sysv,udev,dbus,iproute2,ifupdown,isc-dhcp-client,python3,\
     python3-venv,ca-certificates,git,procps,netbase,cloud-init,apt";

/// Builds a stock system with cloud-init as a disk, and gets what boots that.
pub(crate) fn stock() -> Result<()> {
    for (probe, package) in DISK_PROGRAMS {
        system_program(probe, package)?;
    }
    let directory = tools::target().join("ec2-lab");
    let (root, wheels) = (directory.join("stock"), directory.join("wheels"));
    if root.exists() {
        remove(&root)?;
    }
    fs::create_dir_all(&wheels)?;
    // Machines of the laboratory reach no index.
    let mut download = command("python3", &["-m", "pip", "download", "--quiet", "buildbot-worker==4.3.0"]);
    tools::run("wheels of the worker", download.arg("--dest").arg(&wheels))?;
    let sources = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"].map(Path::new);
    let sources = sources.into_iter().find(|path| path.exists());
    let sources = sources.context("nothing says where this machine has its packages from")?;
    let release = fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let mut build = command("mmdebstrap", &["--quiet", "--variant=minbase", "--mode=root"]);
    build
        .arg(format!("--include={STOCK_PACKAGES}"))
        .arg(format!("--customize-hook=copy-in {} /opt", wheels.display()))
        .arg("--customize-hook=rm -f \"$1\"/etc/apt/sources.list \"$1\"/etc/apt/sources.list.d/*")
        .arg("--customize-hook=: > \"$1\"/etc/machine-id")
        .arg(suite.context("this machine is no Debian")?)
        .arg(&root)
        .arg("-")
        .stdin(fs::File::open(sources)?);
    tools::run("a stock system with cloud-init", &mut build)?;
    tools::run("its disk", command("sh", &["images/disk.sh"]).arg(&root))?;
    // Only the disk is booted.
    remove(&root)
}

fn remove(root: &Path) -> Result<()> {
    fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Runs the laboratory until it is interrupted.
pub(crate) fn run() -> Result<()> {
    prepare()?;
    let run = ["run", "--quiet", "-p", "ganger-testkit", "--example", "ec2_lab"];
    tools::run("laboratory", &mut tools::cargo(&run))
}

/// Runs the laboratory, and a master on it that shows what a pool does with a burst of requests.
pub(crate) fn quickstart() -> Result<()> {
    prepare()?;
    // As tests are built: otherwise the SDK would be compiled once more, with features of its dependencies that differ.
    let mut build = tools::cargo(&["build", "--workspace", "--features", "ganger/ec2"]);
    let built = tools::target().join("debug");
    tools::run("the program with EC2", build.args(["--bin", "ganger", "--example", "ec2_lab"]))?;
    let mut laboratory = Command::new(built.join("examples/ec2_lab"));
    tools::run("a pool on EC2", laboratory.arg(built.join("ganger")).current_dir(tools::root()))
}

fn prepare() -> Result<()> {
    image()?;
    tools::run(
        "virtual environment with moto",
        &mut command("python3", &["tests/python/venvs.py", "moto-5.2.1"]),
    )
}

/// A digest of all that the image is made from.
fn digest(program: &Path) -> Result<String> {
    let mut files = Vec::new();
    collect(&tools::root().join("images"), &mut files)?;
    files.sort();
    files.push(program.to_owned());
    let mut digest = Sha256::new();
    for file in files {
        // Wherever the clone is.
        let name = file.strip_prefix(tools::root()).unwrap_or_else(|_| Path::new("ganger-bootstrap"));
        digest.update(name.as_os_str().as_encoded_bytes());
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
