//! Pools on EC2: its API over HTTP, machines that boot the image, metadata at its real address, stock workers that build.

mod crashes;
mod enrollment;
mod lives;
mod markets;

use std::{collections::BTreeSet, net::TcpListener};

use testkit::ec2::lab::{IMAGE, Lab};

use crate::{farm::Farm, pools::builder};

/// A master, and the EC2 that its pool `p` is on. The master ends first.
struct Site {
    farm: Farm,
    lab: Lab,
    /// Where machines enroll, on this machine.
    enroll: u16,
}

impl Drop for Site {
    #[expect(clippy::print_stderr, reason = "a test that failed says what its machines said")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.lab.consoles());
        }
    }
}

/// What differs from one test to the next.
struct Wishes<'a> {
    max: u32,
    image: &'a str,
    /// More keys of `[[pool]]`.
    pool: &'a str,
    /// More keys of `[pool.ec2]`.
    ec2: &'a str,
    /// What the builder `b` runs.
    command: &'a str,
}

impl Default for Wishes<'_> {
    fn default() -> Self {
        Self { max: 3, image: IMAGE, pool: "", ec2: "", command: "true" }
    }
}

impl Site {
    fn start(wishes: &Wishes<'_>) -> Self {
        // Held until both are known, so that they differ.
        let ports = [0, 0].map(|port| TcpListener::bind(("127.0.0.1", port)).expect("a free port"));
        let [workers, enroll] = ports.map(|port| port.local_addr().expect("an address").port());
        let lab = Lab::start(&[workers, enroll]).expect("the laboratory");
        let (endpoint, router) = (lab.proxy().endpoint(), lab.router());
        let settings = format!(
            "enroll = \"tls:127.0.0.1:{enroll}\"\nenroll-address = \"{router}:{enroll}\"\n\
             aws-certificates = {:?}\n",
            lab.imds().certificate()
        );
        let Wishes { max, image, pool, ec2, command } = wishes;
        let objects = format!(
            "[[pool]]\nname = \"p\"\nmax = {max}\nmax_builds = 1\nmaster = \"{router}:{workers}\"\n{pool}\n\
             [pool.ec2]\nendpoint = {endpoint:?}\nidentifier = \"lab\"\nsecret_identifier = \"lab\"\n\
             region = \"us-east-1\"\nzones = [\"us-east-1a\", \"us-east-1b\"]\nami = {image:?}\n\
             instance_type = \"c5.large\"\nprice = 0.085\n{ec2}\n{}",
            builder("b", command)
        );
        let endpoint = format!("tcp:127.0.0.1:{workers}");
        let farm = Farm::listening_too_with(&endpoint, &settings, &objects);
        Self { farm, lab, enroll }
    }

    /// Machines that EC2 says are there.
    fn machines(&self) -> BTreeSet<String> {
        let listing = self.lab.proxy().call("DescribeInstances", &[]).expect("EC2 answers");
        let reservations = listing.items("reservationSet");
        let instances = reservations.flat_map(|reservation| reservation.items("instancesSet"));
        instances
            .filter(|instance| !matches!(instance.get("instanceState/name"), "terminated" | "shutting-down"))
            .map(|instance| instance.get("instanceId").to_owned())
            .collect()
    }

    /// Waits until nothing is left: not in the ledger, not on EC2, not on this machine.
    fn wait_for_nothing(&mut self) {
        self.farm.eventually("the pool has no machine", |farm| (farm.pool()["live"] == 0).then_some(()));
        assert_eq!(self.machines(), BTreeSet::new(), "EC2 has machines that the ledger does not know");
        let lab = &self.lab;
        self.farm.eventually("machines are off", |_| lab.running().is_empty().then_some(()));
    }

    /// How many calls have started machines.
    fn launches(&self) -> usize {
        let starts = |action| self.lab.proxy().calls_of(action);
        let calls = ["RunInstances", "CreateFleet"].into_iter().flat_map(starts);
        calls.filter(|call| call.outcome == "ok").count()
    }
}
