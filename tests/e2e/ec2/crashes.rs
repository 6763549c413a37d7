//! Masters that die, and answers that are lost.

use testkit::ec2::proxy::Fault;

use super::{Site, Wishes};

#[test]
fn a_master_that_dies_while_machines_boot_or_build_takes_them_up_again() {
    let mut site = Site::start(&Wishes {
        max: 2,
        pool: "build_wait_timeout = 2",
        command: "sleep 2",
        ..Wishes::default()
    });
    site.farm.ask("b", 2, &[]);
    site.farm.eventually("a machine boots", |farm| (farm.pool()["live"].as_i64()? > 0).then_some(()));
    site.farm.kill();
    let before = site.machines();
    site.farm.restart();
    site.farm.eventually("a build runs", |farm| farm.newest("b"));
    site.farm.kill();
    site.farm.restart();
    let builds = site.farm.wait_succeeded("b", 2);
    let good = builds.iter().filter(|build| build["results"] == 0).count();
    assert_eq!(good, 2, "each request was built once to the end: {builds:?}");
    assert!(before.len() <= 2, "never more than the maximum");
    site.wait_for_nothing();
}

#[test]
fn answers_that_are_lost_start_nothing_twice() {
    let mut site = Site::start(&Wishes { max: 2, pool: "build_wait_timeout = 2", ..Wishes::default() });
    site.lab.proxy().fail(Fault::on("CreateFleet").after().dropped());
    site.lab.proxy().fail(Fault::on("CreateFleet").dropped());
    site.farm.ask("b", 1, &[]);
    site.farm.wait_succeeded("b", 1);
    assert!(site.machines().len() <= 2, "more machines than the maximum");
    site.wait_for_nothing();
}
