//! What is for sale, and images.

use model::pool::Money;

use super::*;
use crate::{Market, Offering, ReasonCode};

fn offering(name: &str) -> Offering {
    Offering {
        name: name.to_owned(),
        instance_type: "large".to_owned(),
        family: "family".to_owned(),
        market: Market::Spot,
        price: Money(1),
        bid: None,
        performance: 1.0,
        loss_per_hour: 0.1,
    }
}

fn minutes_closed(offerings: &Offerings) -> u64 {
    offerings.closed_until(NOW, &offering("a")).map_or(0, |(until, _)| until.since(NOW).as_secs() / 60)
}

#[test]
fn an_offering_without_capacity_is_closed_for_longer_each_time() {
    let mut offerings = Offerings::default();
    let mut closed = Vec::new();
    for _ in 0..6 {
        offerings.unavailable(NOW, "a");
        closed.push(minutes_closed(&offerings));
    }
    assert_eq!(closed, [3, 6, 12, 24, 30, 30]);
    assert_eq!(offerings.closed_until(NOW, &offering("b")), None);
    // A success opens it, and the next time it is closed for half as long.
    offerings.available("a");
    assert_eq!(minutes_closed(&offerings), 0);
    offerings.unavailable(NOW, "a");
    assert_eq!(minutes_closed(&offerings), 15);
    assert_eq!(offerings.closed(NOW).len(), 1);
    assert!(offerings.closed(NOW + secs(15 * 60)).is_empty());
}

#[test]
fn a_quota_closes_the_family_and_is_news_once() {
    let mut offerings = Offerings::default();
    assert!(offerings.quota(NOW, "family", Some("L-1")));
    assert!(!offerings.quota(NOW + secs(600), "family", Some("L-1")));
    let closed = offerings.closed_until(NOW, &offering("a"));
    assert_eq!(closed, Some((NOW + secs(1200), ReasonCode::Quota)));
    assert_eq!(offerings.quota_of("family"), Some("L-1"));
    offerings.quota_free("family");
    assert_eq!(minutes_closed(&offerings), 0);
    assert!(offerings.quota(NOW, "family", None));
}

#[test]
fn losses_are_what_the_provider_says_until_we_know_better() {
    let mut offerings = Offerings::default();
    assert_eq!(offerings.losses_per_hour(&offering("a")), 0.1);
    for _ in 0..50 {
        offerings.ran("a", secs(3600), true);
    }
    // 50 h of ours with 50 losses count as much as 50 h of theirs with 5.
    assert!((offerings.losses_per_hour(&offering("a")) - 0.55).abs() < 1e-9);
}

#[test]
fn memory_has_bounds() {
    let mut offerings = Offerings::default();
    for n in 0..5000 {
        offerings.unavailable(NOW, &n.to_string());
        offerings.quota(NOW + secs(n), &n.to_string(), None);
    }
    assert!(offerings.closed(NOW).len() < 2000);
}

#[test]
fn what_is_used_is_not_forgotten_for_what_was() {
    let mut offerings = Offerings::default();
    // The first one by name is the one that is bought.
    offerings.unavailable(NOW, "a");
    for n in 0..2000 {
        offerings.ran(&format!("x{n}"), secs(60), false);
        offerings.ran("a", secs(60), false);
    }
    assert_eq!(minutes_closed(&offerings), 3);
}

#[test]
fn the_first_image_is_used_at_once() {
    let mut canary = Canary::default();
    canary.configured("one");
    assert_eq!((canary.proven(), canary.trial(), canary.share(100)), (Some("one"), None, 0));
}

#[test]
fn a_new_image_is_proven_by_five_machines_and_three_builds() {
    let mut canary = Canary::default();
    canary.configured("one");
    canary.configured("two");
    assert_eq!((canary.share(9), canary.share(100)), (1, 10));
    canary.launched("two", 10);
    canary.launched("one", 90);
    assert_eq!(canary.share(9), 0, "a tenth of all since the trial began");
    for _ in 0..5 {
        assert_eq!(canary.connected("two"), None);
        canary.connected("one");
    }
    canary.built("two", true);
    assert_eq!((canary.built("two", false), canary.built("two", false)), (None, None));
    assert_eq!(canary.built("two", false), Some(Verdict::Proven { image: "two".to_owned() }));
    assert_eq!((canary.proven(), canary.trial()), (Some("two"), None));
}

#[test]
fn a_small_pool_tries_one_after_the_other() {
    let mut canary = Canary::default();
    canary.configured("one");
    canary.configured("two");
    for _ in 0..3 {
        assert_eq!(canary.share(1), 1);
        canary.launched("two", 1);
        assert_eq!(canary.share(1), 0);
        canary.connected("two");
    }
    canary.launched("two", 1);
    canary.forget("two");
    assert_eq!(canary.share(1), 1, "the provider had none: that was no try");
}

#[test]
fn a_bad_image_is_left_until_another_one_is_configured() {
    for builds in [false, true] {
        let mut canary = Canary::default();
        canary.configured("one");
        canary.configured("two");
        canary.launched("two", 3);
        let fail =
            |canary: &mut Canary| if builds { canary.built("two", true) } else { canary.failed("two") };
        assert_eq!((fail(&mut canary), fail(&mut canary)), (None, None));
        let Some(Verdict::RolledBack { from, to, text }) = fail(&mut canary) else {
            panic!("not rolled back")
        };
        assert_eq!((&*from, &*to), ("two", "one"));
        assert_eq!(
            text.contains("3 of 3 builds on image two failed by its machinery: back to image one"),
            builds,
            "{text}"
        );
        canary.configured("two");
        assert_eq!((canary.rejected(), canary.share(100)), (Some("two"), 0));
        canary.configured("three");
        assert_eq!((canary.rejected(), canary.trial()), (None, Some("three")));
        canary.configured("one");
        assert_eq!(canary.trial(), None);
    }
}
