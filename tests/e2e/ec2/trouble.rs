//! Images that are bad, boots that are slow, listings that are not whole.

use std::time::Duration;

use testkit::ec2::{
    lab::{BROKEN, IMAGE},
    proxy::Fault,
};

use super::{BUY, Site, Wishes};

impl Site {
    /// The pool is made from another image from now on.
    fn boots(&self, image: &str, instead_of: &str) {
        let path = self.farm.path("ganger.toml");
        let text = std::fs::read_to_string(&path).expect("it is there");
        std::fs::write(&path, text.replace(instead_of, image)).expect("a writable scratch directory");
        self.farm.signal("HUP");
    }

    /// Waits until this was decided.
    fn wait_for_decision(&mut self, words: &str) {
        self.farm.eventually(words, |farm| {
            farm.json(&["pool", "decisions"]).to_string().contains(words).then_some(())
        });
    }
}

#[test]
fn a_bad_image_is_left_for_the_one_before() {
    let pool = "build_wait_timeout = 1\nmissing_timeout = 8";
    // One call for each place says in itself which image it is for.
    let mut site = Site::start(&Wishes { max: 1, pool, ec2: "fleet = false", ..Wishes::default() });
    site.farm.ask("b", 1, &[]);
    site.farm.wait_succeeded("b", 1);
    site.wait_for_nothing();
    site.boots(BROKEN, IMAGE);
    site.wait_for_decision("is made from another template");
    site.farm.ask("b", 1, &[]);
    site.wait_for_decision(&format!("image {BROKEN} is bad, and {IMAGE} is used"));
    site.farm.wait_succeeded("b", 2);
    let images: Vec<_> = site
        .lab
        .proxy()
        .calls_of("RunInstances")
        .into_iter()
        .map(|call| call.parameters.get("ImageId").cloned().unwrap_or_default())
        .collect();
    assert_eq!(images.first().map(String::as_str), Some(IMAGE), "{images:?}");
    assert_eq!(images.iter().filter(|image| *image == BROKEN).count(), 3, "{images:?}");
    site.wait_for_nothing();
}

#[test]
fn machines_that_never_come_are_no_longer_bought_by_the_dozen() {
    let pool = "build_wait_timeout = 1\nmissing_timeout = 8\nlambda = 20";
    let mut site = Site::start(&Wishes { max: 5, image: BROKEN, pool, ..Wishes::default() });
    site.farm.ask("b", 5, &[]);
    site.farm.eventually("the breaker opens", |farm| (!farm.pool()["breaker"].is_null()).then_some(()));
    let live = site
        .farm
        .eventually("the first ones are gone", |farm| farm.pool()["live"].as_u64().filter(|live| *live < 5));
    assert!(live <= 2, "{live} machines of an image that does not come up");
    site.boots(IMAGE, BROKEN);
    site.farm.wait_succeeded("b", 5);
    site.wait_for_nothing();
}

#[test]
fn a_machine_that_boots_slowly_is_given_its_time() {
    let pool = "build_wait_timeout = 1\nlambda = 20";
    let mut site = Site::start(&Wishes { max: 5, pool, command: "sleep 1", ..Wishes::default() });
    site.farm.ask("b", 5, &[]);
    site.farm.wait_succeeded("b", 5);
    let learned = site.farm.pool()["boot"].clone();
    assert!(learned["p50_s"].as_f64().is_some_and(|seconds| seconds < 60.0), "{learned}");
    site.wait_for_nothing();
    site.lab.boot_after(Duration::from_secs(15));
    site.farm.ask("b", 1, &[]);
    site.wait_for_state("suspect");
    site.farm.wait_succeeded("b", 6);
    site.wait_for_nothing();
    let ended = site.farm.json(&["pool", "decisions", "-n", "1000"]).to_string();
    assert!(!ended.contains("is ended: it was not connected"), "{ended}");
}

#[test]
fn a_listing_that_breaks_off_ends_and_starts_nothing() {
    let pool = "build_wait_timeout = -1";
    let mut site = Site::start(&Wishes { max: 3, pool, command: "sleep 1", ..Wishes::default() });
    site.lab.proxy().set(|settings| settings.page = 1);
    // Each by a call of its own, so that each has a page of its own.
    for count in 1..=2 {
        site.farm.ganger(&["pool", "scale", "p", &count.to_string()]);
        site.farm
            .eventually("one more machine", |farm| (farm.pool()["by_state"]["idle"] == count).then_some(()));
    }
    let there = site.machines();
    site.farm.kill();
    let before = [site.calls(BUY), site.calls("TerminateInstances")];
    site.lab.proxy().fail(
        Fault::on("DescribeInstances").when("NextToken", "page-1").times(1000).error(500, "InternalError"),
    );
    site.farm.restart();
    site.farm.ask("b", 3, &[]);
    site.wait_for_decision("did not list its machines");
    // They build on, though nobody has a whole listing.
    site.farm.wait_succeeded("b", 3);
    assert_eq!(site.farm.pool()["listed"], false);
    assert_eq!([site.calls(BUY), site.calls("TerminateInstances")], before);
    site.lab.proxy().heal();
    site.farm.eventually("all pages come", |farm| (farm.pool()["listed"] == true).then_some(()));
    assert_eq!(site.machines(), there);
}
