//! Masters that die at every boundary of a machine's life, and answers that are lost.

use std::collections::BTreeSet;

use testkit::ec2::proxy::{Fault, Proxy};

use super::{BUY, Site, Wishes};

/// A moment at which a master dies.
struct Moment {
    name: &'static str,
    /// What makes the world stand still there.
    arm: fn(&Proxy),
    /// Waits for it; gets how many calls to start and to end machines there were before.
    reached: fn(&mut Site, [usize; 2]),
    /// Whether the machine that is there then builds for the master that comes next.
    builds_on: bool,
}

/// While a machine is bought.
const BUYING: [Moment; 4] = [
    Moment {
        name: "the call to start a machine has no effect yet, and will have none",
        arm: |proxy| proxy.fail(Fault::on(BUY).held().dropped()),
        reached: |site, [before, _]| site.wait_for_call(BUY, before, ""),
        builds_on: false,
    },
    Moment {
        name: "the machine is there, its answer is not",
        arm: |proxy| proxy.fail(Fault::on(BUY).after().held()),
        reached: |site, [before, _]| site.wait_for_call(BUY, before, "ok"),
        builds_on: true,
    },
    Moment {
        name: "the answer was lost, and the call is made again",
        arm: |proxy| {
            proxy.fail(Fault::on(BUY).after().dropped());
            proxy.fail(Fault::on(BUY).held().dropped());
            // Otherwise the machine may be found first, and nothing is left to be made again.
            proxy.fail(Fault::on("DescribeInstances").times(1000).held());
        },
        reached: |site, [before, _]| site.wait_for_call(BUY, before + 1, ""),
        builds_on: true,
    },
    Moment {
        name: "the machine boots",
        arm: |_| {},
        reached: |site, _| site.wait_for_state("booting"),
        builds_on: true,
    },
];

/// Once there is one.
const HAVING: [Moment; 4] = [
    Moment {
        name: "the machine builds",
        arm: |_| {},
        reached: |site, _| site.wait_for_state("busy"),
        builds_on: true,
    },
    Moment {
        name: "a master that has just come asks for the first listing",
        arm: |_| {},
        reached: |site, _| {
            site.wait_for_state("busy");
            site.farm.kill();
            site.restart_blind();
        },
        builds_on: true,
    },
    Moment {
        name: "the call to end the machine has no effect yet, and will have none",
        arm: |proxy| proxy.fail(Fault::on("TerminateInstances").held().dropped()),
        reached: |site, [_, before]| site.wait_for_call("TerminateInstances", before, ""),
        builds_on: false,
    },
    Moment {
        name: "the machine ends, the answer is not there",
        arm: |proxy| proxy.fail(Fault::on("TerminateInstances").after().held()),
        reached: |site, [_, before]| site.wait_for_call("TerminateInstances", before, "ok"),
        builds_on: false,
    },
];

impl Site {
    /// Starts the next master, whose provider does not list its machines until it is released.
    fn restart_blind(&mut self) {
        let listings = self.calls("DescribeInstances");
        self.lab.proxy().fail(Fault::on("DescribeInstances").times(1000).held());
        self.farm.restart();
        self.wait_for_calls("DescribeInstances", listings + 1);
    }

    /// A master dies, and the next one finds more to do. It starts nothing before it knows what is there; each request is
    /// built to the end once, and no machine is left.
    fn dies(&mut self, moment: &Moment) {
        let before = self.farm.builds("b").len();
        let calls = [BUY, "TerminateInstances"].map(|action| self.calls(action));
        (moment.arm)(self.lab.proxy());
        self.farm.ask("b", 1, &[]);
        (moment.reached)(self, calls);
        self.farm.kill();
        let (there, asked) = (self.machines(), self.calls(BUY));
        self.restart_blind();
        self.farm.ask("b", 1, &[]);
        self.farm.eventually("it is looked at what waits", |farm| {
            let pool = farm.pool();
            (pool["listed"] == false && pool["pending"].as_u64()? > 0).then_some(())
        });
        assert_eq!(self.calls(BUY), asked, "{}: something was started blindly", moment.name);
        self.lab.proxy().heal();
        let builds = self.farm.eventually("both requests are built", |farm| {
            let builds = farm.builds("b").split_off(before);
            let done = |build: &&serde_json::Value| build["results"] == 0;
            let all = builds.iter().all(|build| !build["complete_at"].is_null());
            (all && builds.iter().filter(done).count() >= 2).then_some(builds)
        });
        let good = builds.iter().filter(|build| build["results"] == 0).count();
        assert_eq!(good, 2, "{}: {builds:#?}", moment.name);
        if moment.builds_on {
            let used = |id: &String| {
                builds.iter().any(|build| self.farm.property("b", build, "instance_id") == id.as_str())
            };
            assert!(!there.is_empty() && there.iter().all(used), "{}: {there:?} is idle", moment.name);
        }
        let (lab, name) = (&self.lab, moment.name);
        self.farm
            .eventually(&format!("{name}: machines are off"), |_| lab.running().is_empty().then_some(()));
        self.assert_each_was_asked_for();
    }
}

/// A site whose machines go soon.
fn site() -> Site {
    Site::start(&Wishes { max: 4, pool: "build_wait_timeout = 1", command: "sleep 1", ..Wishes::default() })
}

#[test]
fn a_master_that_dies_while_it_buys_leaves_nothing_and_starts_nothing_twice() {
    let mut site = site();
    for moment in &BUYING {
        site.dies(moment);
    }
    // The call without effect is waited for two minutes, by nobody; EC2 has nothing.
    site.farm.eventually("only its row is left", |farm| (farm.pool()["live"].as_u64()? <= 1).then_some(()));
    assert_eq!(site.machines(), BTreeSet::new());
}

#[test]
fn a_master_that_dies_while_machines_live_takes_them_up_again() {
    let mut site = site();
    for moment in &HAVING {
        site.dies(moment);
    }
    site.wait_for_nothing();
}

#[test]
fn a_call_that_takes_effect_when_its_master_is_gone_is_found() {
    let mut site = site();
    site.lab.proxy().fail(Fault::on(BUY).held());
    site.farm.ask("b", 1, &[]);
    site.wait_for_call(BUY, 0, "");
    site.farm.kill();
    site.farm.restart();
    site.farm.wait_succeeded("b", 1);
    site.lab.proxy().release();
    let lab = &site.lab;
    site.farm.eventually("it starts a machine", |_| {
        lab.proxy().calls_of(BUY).iter().all(|call| call.outcome == "ok").then_some(())
    });
    site.wait_for_nothing();
    site.assert_each_was_asked_for();
}

#[test]
fn answers_that_are_lost_start_nothing_twice() {
    let mut site = Site::start(&Wishes { max: 2, pool: "build_wait_timeout = 2", ..Wishes::default() });
    site.lab.proxy().fail(Fault::on(BUY).after().dropped());
    site.lab.proxy().fail(Fault::on(BUY).dropped());
    site.farm.ask("b", 1, &[]);
    site.farm.wait_succeeded("b", 1);
    assert!(site.machines().len() <= 2, "more machines than the maximum");
    site.wait_for_nothing();
}
