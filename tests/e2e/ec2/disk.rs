//! The disk that `images/build.sh --disk` makes.

use std::time::Duration;

use testkit::ec2::lab::DISK;

use super::{Site, Wishes};

/// An emulator on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

#[test]
#[ignore = "boots a disk in an emulator: cargo xtask long"]
fn it_boots_from_its_boot_loader_to_a_worker_that_builds() {
    let command = "uname -r; cat /sys/class/dmi/id/sys_vendor; findmnt -n -o SOURCE,FSTYPE /";
    let pool = "build_wait_timeout = 1";
    let mut site = Site::start(&Wishes { max: 1, image: DISK, pool, command, ..Wishes::default() });
    let log = site.first_build(PATIENCE);
    assert!(
        log.contains("cloud-amd64") && log.contains("Amazon EC2") && log.contains("/dev/nvme0n1p2 ext4"),
        "{log}"
    );
    site.wait_for_nothing();
}
