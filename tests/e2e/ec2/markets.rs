//! The spot market: empty, dear, and taking machines back.

use std::time::Duration;

use testkit::ec2::proxy::Market;

use super::{Site, Wishes};

const SPOT: &str = "spot_instance = true\nmax_spot_price = 0.05";

#[test]
fn a_zone_that_has_none_left_is_followed_by_the_next() {
    let mut site = Site::start(&Wishes { pool: "build_wait_timeout = 1", ec2: SPOT, ..Wishes::default() });
    site.lab.proxy().set(|settings| settings.set_capacity("us-east-1a", "c5.large", Market::Spot, 0));
    site.farm.ask("b", 2, &[]);
    let builds = site.farm.wait_succeeded("b", 2);
    assert!(site.launches() >= 1);
    let offering = site.farm.property("b", &builds[0], "price");
    assert!(offering.as_f64().is_some_and(|price| price <= 0.05), "{offering}");
    site.wait_for_nothing();
}

#[test]
fn where_the_market_has_nothing_the_list_price_is_paid() {
    let ec2 = format!("{SPOT}\non-demand = true");
    let pool = "build_wait_timeout = 1";
    let mut site = Site::start(&Wishes { max: 1, pool, ec2: &ec2, ..Wishes::default() });
    let prices = |site: &Site, builds: &[serde_json::Value]| -> Vec<f64> {
        let price = |build| site.farm.property("b", build, "price").as_f64().expect("a price");
        builds.iter().map(price).collect()
    };
    site.farm.ask("b", 1, &[]);
    let builds = site.farm.wait_succeeded("b", 1);
    assert!(prices(&site, &builds)[0] <= 0.05, "{builds:?}");
    site.wait_for_nothing();
    // The market rises above the bid after its prices were asked for; one zone is empty as well.
    site.lab.proxy().set(|settings| {
        settings.set_capacity("us-east-1a", "c5.large", Market::Spot, 0);
        settings.set_spot_price("us-east-1b", "c5.large", 0.06);
    });
    site.farm.ask("b", 1, &[]);
    let builds = site.farm.wait_succeeded("b", 2);
    assert_eq!(prices(&site, &builds)[1], 0.085, "{builds:?}");
    let closed = site.farm.pool()["closed"].to_string();
    assert!(
        closed.contains("us-east-1a/c5.large/spot") && closed.contains("us-east-1b/c5.large/spot"),
        "{closed}"
    );
    site.wait_for_nothing();
}

#[test]
fn a_build_whose_machine_is_taken_back_is_built_elsewhere_once() {
    let warn = |site: &Site, machine: &str| site.lab.interrupt(machine, NOTICE).expect("it runs");
    taken_back(SPOT, |_| (), warn);
}

#[test]
fn a_build_whose_machine_is_taken_back_as_a_queue_says_is_built_elsewhere_once() {
    let ec2 = format!("{SPOT}\ninterruption-queue = \"https://sqs.us-east-1.amazonaws.com/1/ganger-p\"");
    let log_has = |site: &mut Site, line: &str| {
        site.farm.eventually(line, |farm| farm.log_text().contains(line).then_some(()));
    };
    let prepare = |site: &mut Site| {
        log_has(site, FAILS);
        site.lab.proxy().make_queue("ganger-p").expect("moto has queues");
        log_has(site, "ganger-p: works again");
    };
    let site = taken_back(&ec2, prepare, |site, machine| {
        let said = jiff::Timestamp::now() + NOTICE - Duration::from_secs(120);
        let event = serde_json::json!({
            "source": "aws.ec2", "detail-type": "EC2 Spot Instance Interruption Warning", "time": said.to_string(),
            "detail": {"instance-id": machine, "instance-action": "terminate"},
        });
        site.lab.proxy().send_message("ganger-p", &event.to_string()).expect("moto takes it");
    });
    let log = site.farm.log_text();
    assert_eq!(log.matches(FAILS).count(), 1, "that there was no queue at first is told once: {log}");
}

/// What the master says of a queue that is not there.
const FAILS: &str = "ganger-p: ReceiveMessage";

/// How long before its end a machine's end is said.
const NOTICE: Duration = Duration::from_secs(20);

fn taken_back(ec2: &str, prepare: impl FnOnce(&mut Site), warn: impl FnOnce(&Site, &str)) -> Site {
    let mut site = Site::start(&Wishes {
        max: 2,
        pool: "build_wait_timeout = 2",
        ec2,
        // Longer than the market gives the first machine.
        command: "sleep 12",
        ..Wishes::default()
    });
    prepare(&mut site);
    site.farm.ask("b", 1, &[]);
    site.farm.eventually("a build runs", |farm| farm.newest("b"));
    let first = site.machines().into_iter().next().expect("a machine");
    warn(&site, &first);
    site.farm.eventually("the replacement is there before the first one is gone", |farm| {
        (farm.pool()["live"].as_i64()? >= 2).then_some(())
    });
    let retried = site.farm.eventually("the first build is given up before its machine goes", |farm| {
        farm.find("b", 1).filter(|build| !build["complete_at"].is_null())
    });
    assert_eq!(retried["results"], 5, "RETRY: {retried}");
    site.lab.proxy().reclaim(&first).expect("it is there");
    let builds = site.farm.wait_succeeded("b", 1);
    assert_eq!(builds.iter().filter(|build| build["results"] == 0).count(), 1, "{builds:?}");
    assert_ne!(site.farm.property("b", &builds[1], "instance_id"), first.as_str());
    site.wait_for_nothing();
    site
}
