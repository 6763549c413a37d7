//! What the account may have, what images mean now, and regions that do not answer.

use model::ec2::{Bid, Enrollment, Image, Placement};
use pools::{
    Provider as _, Verdict,
    provider::{LaunchRequest, Quota},
};
use provider_ec2::{Ec2, error::ON_DEMAND_QUOTA, preflight};
use testkit::ec2::proxy::{Fault, Market};

use crate::site::{DEPLOYMENT, Site};

fn on_demand(headroom: u32) -> Option<Quota> {
    Some(Quota { name: ON_DEMAND_QUOTA.to_owned(), headroom })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quota_says_how_many_more_machines_may_be_started() {
    let site = Site::new(Enrollment::Identity);
    site.proxy.set(|settings| {
        settings.vcpus.insert(Market::OnDemand, 5);
    });
    let provider = site.provider();
    let offered = provider.capabilities().await.expect("offers");
    assert_eq!((offered.quota, offered.offerings.len()), (on_demand(2), 2), "two processors each");
    provider.launch(site.request(2)).await.expect("machines");
    let offered = provider.capabilities().await.expect("offers");
    assert_eq!(offered.quota, on_demand(0), "the plan says which quota it is");
    assert_eq!(offered.offerings.len(), 2);
    let findings = preflight(&site.settings(DEPLOYMENT)).await;
    let said =
        findings.iter().find(|found| found.subject == "us-east-1: quota L-1216C47A").expect("the quota");
    assert_eq!((said.verdict, &*said.text), (Verdict::Good, "5 processors, of which 4 are used"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_whose_quota_is_used_up_is_left_out_and_one_that_nobody_tells_is_not() {
    let site = Site::new(Enrollment::Identity).with_spot(Bid::OnDemand);
    site.proxy.set(|settings| {
        settings.vcpus.insert(Market::Spot, 0);
    });
    let offered = site.provider().capabilities().await.expect("offers");
    assert!(offered.offerings.iter().all(|offering| offering.name.ends_with("on-demand")), "{offered:?}");
    site.proxy.set(|settings| settings.quotas_hidden = true);
    let offered = site.provider().capabilities().await.expect("offers");
    assert_eq!((offered.quota, offered.offerings.len()), (None, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_says_no_prices_sells_nothing_and_the_others_do() {
    let mut site = Site::new(Enrollment::Identity).with_spot(Bid::OnDemand);
    site.template.on_demand = false;
    let here = site.template.placements[0].clone();
    let zones = vec!["eu-west-1a".to_owned()];
    site.template.placements.push(Placement { region: "eu-west-1".into(), zones, ..here });
    let provider = site.provider();
    let names = |offered: pools::Capabilities| {
        offered.offerings.into_iter().map(|offering| offering.name).collect::<Vec<_>>()
    };
    site.proxy.fail(Fault::on("DescribeSpotPriceHistory").error(503, "RequestLimitExceeded"));
    assert_eq!(names(provider.capabilities().await.expect("offers")), ["eu-west-1a/c5.large/spot"]);
    assert_eq!(names(provider.capabilities().await.expect("offers")).len(), 3, "it says them again");
    for _ in 0..2 {
        site.proxy.fail(Fault::on("DescribeSpotPriceHistory").error(503, "RequestLimitExceeded"));
    }
    site.provider().capabilities().await.expect_err("no region says anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_parameter_and_a_name_mean_names_the_image() {
    let mut site = Site::new(Enrollment::Identity);
    let (old, new) = ("ami-12c6146b", "ami-1234abcd");
    put_parameter(&site, old);
    site.template.placements[0].image = Some(Image::Parameter("/ganger/worker".into()));
    let image = || async { site.provider().capabilities().await.expect("offers").image };
    assert_eq!(image().await.as_deref(), Some(old));
    put_parameter(&site, new);
    assert_eq!(image().await.as_deref(), Some(new));
    // The pool decides which of them is booted: here the one before.
    let provider = Ec2::open(site.settings(DEPLOYMENT)).expect("settings that can be");
    let machines = provider.launch(site.request(1)).await.expect("a machine").machines;
    assert_eq!(machines[0].details["image"], old);
    let unsaid = LaunchRequest { image: String::new(), ..site.request(1) };
    let machines = provider.launch(unsaid).await.expect("a machine").machines;
    assert_eq!(machines[0].details["image"], new);
    put_parameter(&site, "no image");
    let error = site.provider().capabilities().await.expect_err("nothing to boot");
    assert!(error.text.contains("does not name an image"), "{error}");
}

fn put_parameter(site: &Site, value: &str) {
    site.proxy.put_parameter("/ganger/worker", value).expect("moto has parameters");
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_hibernate_where_that_is_wanted() {
    let mut site = Site::new(Enrollment::Identity);
    site.template.hibernate = true;
    let provider = site.provider();
    let id = provider.launch(site.request(1)).await.expect("a machine").machines[0].provider_id.clone();
    provider.stop(id).await.expect("it stops");
    let called = |action: &str| site.proxy.calls_of(action)[0].parameters.clone();
    assert_eq!(called("RunInstances")["HibernationOptions.Configured"], "true");
    assert_eq!(called("StopInstances")["Hibernate"], "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_say_until_when_they_are_wanted_and_are_told_once_a_day() {
    let mut site = Site::new(Enrollment::Identity);
    site.template.expiry_tag = true;
    let provider = site.provider();
    provider.launch(site.request(2)).await.expect("machines");
    provider.list().await.expect("a listing");
    let listed = provider.list().await.expect("a listing");
    assert_eq!(listed.len(), 2);
    for machine in listed {
        let until: jiff::Timestamp = machine.details["expires"].parse().expect("a time");
        let left = until.duration_since(jiff::Timestamp::now()).as_hours();
        assert!((47..=48).contains(&left), "{left} hours");
    }
    assert_eq!(site.proxy.calls_of("CreateTags").len(), 1);
}
