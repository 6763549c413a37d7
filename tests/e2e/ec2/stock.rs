//! A stock image that cloud-init makes a worker: `images/cloud-init/user-data.yaml`.

use std::{fs, time::Duration};

use testkit::ec2::lab::STOCK;

use super::{Site, Wishes};

/// cloud-init waits for many things, and the worker is installed, all of it in an emulator.
const PATIENCE: Duration = Duration::from_secs(900);

/// The line of the file that says where the worker comes from.
const INDEX: &str = "export PIP_INDEX_URL=https://pypi.org/simple";

#[test]
#[ignore = "boots a disk with cloud-init in an emulator: cargo xtask long"]
fn cloud_init_makes_a_stock_system_a_worker_that_builds() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../images/cloud-init/user-data.yaml");
    let text = fs::read_to_string(file).expect("the file for users");
    assert!(text.contains(INDEX), "it installs from an index");
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path().join("user-data.yaml");
    // Machines of the laboratory reach nobody but the master.
    let changed = text.replace(INDEX, "export PIP_NO_INDEX=1 PIP_FIND_LINKS=/opt/wheels");
    fs::write(&here, changed).expect("it is written");
    let ec2 = format!("user-data-file = {here:?}");
    let command = "id -un; ls /run/cloud-init; \
         python3 -c 'import socket; socket.create_connection((\"169.254.169.254\", 80), 2)' 2>&1 | tail -n 1";
    let pool = "build_wait_timeout = 1\nmissing_timeout = 900";
    let mut site = Site::start(&Wishes { max: 1, image: STOCK, pool, ec2: &ec2, command });
    let log = site.first_build(PATIENCE);
    assert!(log.contains("buildbot\n") && log.contains("instance-data.json"), "{log}");
    assert!(log.contains("PermissionError"), "a build does not read the metadata: {log}");
    site.wait_for_nothing();
}
