//! Pools on EC2: its API over HTTP, machines that boot the image, metadata at its real address, stock workers that build.

mod crashes;
mod disk;
mod enrollment;
mod listener;
mod lives;
mod markets;
mod stock;
mod trouble;

use std::{
    collections::BTreeSet,
    net::TcpListener,
    time::{Duration, Instant},
};

use testkit::ec2::lab::{IMAGE, Lab};

use crate::{
    farm::{Farm, LIMIT},
    pools::builder,
};

/// What starts machines where several zones compete.
const BUY: &str = "CreateFleet";

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
        self.machines_in(|state| !matches!(state, "terminated" | "shutting-down"))
    }

    fn machines_in(&self, state: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let listing = self.lab.proxy().call("DescribeInstances", &[]).expect("EC2 answers");
        let reservations = listing.items("reservationSet");
        let instances = reservations.flat_map(|reservation| reservation.items("instancesSet"));
        instances
            .filter(|instance| state(instance.get("instanceState/name")))
            .map(|instance| instance.get("instanceId").to_owned())
            .collect()
    }

    /// Each machine that there ever was is that of a row.
    fn assert_each_was_asked_for(&self) {
        for id in self.machines_in(|_| true) {
            let why = self.farm.ganger(&["pool", "why", &id, "--instance"]);
            assert!(why.status.success(), "no row has {id}: {}", String::from_utf8_lossy(&why.stderr));
        }
    }

    /// The log of the first build, which an emulator takes longer for than anything else here.
    fn first_build(&mut self, patience: Duration) -> String {
        self.farm.ask("b", 1, &[]);
        let begun = Instant::now();
        while self.farm.find("b", 1).is_none_or(|build| build["complete_at"].is_null()) {
            assert!(
                begun.elapsed() < patience,
                "nothing is built; the master says:\n{}",
                self.farm.log_text()
            );
            std::thread::sleep(Duration::from_millis(500));
        }
        self.farm.log_of("b", 1, &[])
    }

    /// Waits until nothing is left: not in the ledger, not on EC2, not on this machine.
    fn wait_for_nothing(&mut self) {
        self.farm.eventually("the pool has no machine", |farm| (farm.pool()["live"] == 0).then_some(()));
        assert_eq!(self.machines(), BTreeSet::new(), "EC2 has machines that the ledger does not know");
        let lab = &self.lab;
        self.farm.eventually("machines are off", |_| lab.running().is_empty().then_some(()));
    }

    /// How many calls of an action were made.
    fn calls(&self, action: &str) -> usize {
        self.lab.proxy().calls_of(action).len()
    }

    /// Waits until so many calls of an action were made.
    fn wait_for_calls(&self, action: &str, count: usize) {
        self.lab.proxy().wait_for_calls(action, count, LIMIT).expect("calls");
    }

    /// Waits until the newest call of an action is a later one than those so many, with this outcome; an empty one is none
    /// yet.
    fn wait_for_call(&mut self, action: &str, before: usize, outcome: &str) {
        let lab = &self.lab;
        self.farm.eventually(action, |_| {
            let calls = lab.proxy().calls_of(action);
            calls.get(before..)?.last().filter(|call| call.outcome == outcome).map(|_| ())
        });
    }

    /// Waits until some machine is in this state.
    fn wait_for_state(&mut self, state: &str) {
        self.farm.eventually(state, |farm| {
            let instances = farm.pool()["instances"].as_array()?.clone();
            instances.iter().any(|instance| instance["state"] == state).then_some(())
        });
    }

    /// How many calls have started machines.
    fn launches(&self) -> usize {
        let starts = |action| self.lab.proxy().calls_of(action);
        let calls = ["RunInstances", BUY].into_iter().flat_map(starts);
        calls.filter(|call| call.outcome == "ok").count()
    }
}
