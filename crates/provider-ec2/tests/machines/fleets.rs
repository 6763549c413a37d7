//! Types and places that compete in one call.

use std::collections::BTreeMap;

use model::{
    ec2::{Bid, Enrollment, TypeChoice},
    pool::Money,
};
use pools::{
    Provider as _, Verdict,
    provider::{Alternative, ErrorKind, LaunchRequest},
};
use provider_ec2::{Ec2, preflight};
use testkit::ec2::proxy::{Fault, Market};

use crate::site::{DEPLOYMENT, Site};

/// Two types in two zones.
fn site(bid: Option<Bid>) -> Site {
    let mut site = Site::new(Enrollment::Identity);
    if let Some(bid) = bid {
        site = site.with_spot(bid);
    }
    let price = Money::from_units(0.0864);
    site.template.types.push(TypeChoice { name: "m5.large".into(), price, performance: 1.0 });
    site
}

fn competing(site: &Site, machines: u32, market: &str, cap: Option<f64>) -> LaunchRequest {
    let price_cap = cap.map(Money::from_units);
    let other = |place: &str| Alternative { offering: format!("{place}/{market}"), price_cap };
    LaunchRequest {
        offering: format!("us-east-1a/c5.large/{market}"),
        price_cap,
        others: ["us-east-1b/c5.large", "us-east-1a/m5.large", "us-east-1b/m5.large"].map(other).to_vec(),
        ..site.request(machines)
    }
}

/// How many machines of each offering.
fn bought(machines: &[pools::provider::Machine]) -> BTreeMap<String, usize> {
    let mut bought = BTreeMap::new();
    for machine in machines {
        *bought.entry(machine.offering.clone().expect("what was bought")).or_default() += 1;
    }
    bought
}

#[tokio::test(flavor = "multi_thread")]
async fn what_competes_is_bought_in_one_call_and_what_is_not_had_is_said() {
    let site = site(None);
    site.proxy.set(|settings| {
        settings.set_capacity("us-east-1a", "c5.large", Market::OnDemand, 1);
        settings.set_capacity("us-east-1b", "c5.large", Market::OnDemand, 0);
    });
    let request = competing(&site, 3, "on-demand", None);
    let launched = site.provider().launch(request.clone()).await.expect("machines");
    let expected = [("us-east-1a/c5.large/on-demand", 1), ("us-east-1a/m5.large/on-demand", 2)];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    assert_eq!(bought(&launched.machines), expected, "in the pool's order");
    assert!(launched.short.is_none() && !launched.open);
    let refused: Vec<_> = launched.refused.iter().map(|(name, error)| (&**name, &error.kind)).collect();
    assert_eq!(refused, [("us-east-1b/c5.large/on-demand", &ErrorKind::Capacity)]);
    let prices: Vec<_> = launched.machines.iter().filter_map(|machine| machine.price).collect();
    assert_eq!(prices.iter().map(|price| price.0).sum::<i64>(), Money::from_units(0.085 + 2.0 * 0.0864).0);
    let listed = site.provider().list().await.expect("a listing");
    assert_eq!(bought(&listed), expected, "a listing knows by place, type and market what was bought");
    assert!(listed.iter().all(|machine| machine.token.as_ref() == Some(&request.token)));
    assert!(listed.iter().all(|machine| machine.template.as_ref() == Some(&request.template)));
    let calls = site.proxy.calls_of("CreateFleet");
    assert_eq!((calls.len(), calls[0].token()), (1, Some(&*request.token.0)));
    let id = &listed[0].provider_id;
    let parameters = [("InstanceId", &**id), ("Attribute", "userData")];
    let told = site.proxy.call("DescribeInstanceAttribute", &parameters).expect("user data");
    assert!(!told.get("userData/value").is_empty(), "machines are told whose they are");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_spot_market_each_has_its_own_cap_and_the_price_of_the_market() {
    let site = site(Some(Bid::OnDemand));
    site.proxy.set(|settings| {
        settings.set_spot_price("us-east-1a", "c5.large", 0.06);
        settings.set_spot_price("us-east-1b", "m5.large", 0.02);
    });
    let request = competing(&site, 2, "spot", Some(0.05));
    let launched = site.provider().launch(request).await.expect("machines");
    assert_eq!(launched.machines.len(), 2);
    let machine = &launched.machines[0];
    assert_eq!(machine.offering.as_deref(), Some("us-east-1b/m5.large/spot"), "the cheapest has room");
    assert_eq!(machine.price, Some(Money::from_units(0.02)));
    let call = &site.proxy.calls_of("CreateFleet")[0].parameters;
    assert_eq!(call["SpotOptions.AllocationStrategy"], "price-capacity-optimized");
    assert_eq!(call["LaunchTemplateConfigs.1.Overrides.1.MaxPrice"], "0.0500");
    // Nothing below the cap: why, for each of them.
    let request = competing(&site, 2, "spot", Some(0.01));
    let launched = site.provider().launch(request).await.expect("an answer");
    assert_eq!((launched.machines.len(), launched.refused.len()), (0, 4));
    let short = launched.short.expect("a reason");
    assert_eq!((short.kind, &*short.code), (ErrorKind::Capacity, "SpotMaxPriceTooLow"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_is_made_once_for_a_token_whatever_becomes_of_the_answer() {
    let site = site(None);
    let request = competing(&site, 2, "on-demand", None);
    site.proxy.fail(Fault::on("CreateFleet").after().dropped());
    let error = site.provider().launch(request.clone()).await.expect_err("no answer");
    assert_eq!(error.kind, ErrorKind::Transport, "{error}");
    let again = site.provider().launch(request.clone()).await.expect("the machines of the first call");
    assert_eq!(again.machines.len(), 2);
    // After a change of the image what counts is what the first call started.
    let other = LaunchRequest { image: "ami-1234abcd".into(), ..request };
    let found = site.provider().launch(other).await.expect("the machines of the first call");
    assert_eq!((found.machines.len(), site.provider().list().await.expect("a listing").len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_named_and_closes_nothing_else() {
    let site = site(None);
    site.proxy.set(|settings| {
        settings.vcpus.insert(Market::OnDemand, 2);
    });
    let launched = site.provider().launch(competing(&site, 2, "on-demand", None)).await.expect("one machine");
    assert_eq!(launched.machines.len(), 1);
    let quota = ErrorKind::Quota(Some(provider_ec2::error::ON_DEMAND_QUOTA.to_owned()));
    assert_eq!(launched.short.expect("a reason").kind, quota);
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_are_made_again_when_they_are_gone_and_deleted_when_they_are_old() {
    let site = site(None);
    let settings = site.settings(DEPLOYMENT);
    let provider = Ec2::open(settings.clone()).expect("settings that can be");
    let names = || {
        let found = site.proxy.call("DescribeLaunchTemplates", &[]).expect("templates");
        let names =
            found.items("launchTemplates").map(|template| template.get("launchTemplateName").to_owned());
        names.collect::<Vec<_>>()
    };
    provider.launch(competing(&site, 1, "on-demand", None)).await.expect("a machine");
    let [name] = &names()[..] else { panic!("one template: {:?}", names()) };
    site.proxy.call("DeleteLaunchTemplate", &[("LaunchTemplateName", name)]).expect("it goes");
    let request = competing(&site, 1, "on-demand", None);
    let error = provider.launch(request.clone()).await.expect_err("its template is gone");
    assert_eq!(error.kind, ErrorKind::Throttled(None), "{error}");
    provider.launch(request).await.expect("a machine");
    let newer = LaunchRequest { template: "4567".into(), ..competing(&site, 1, "on-demand", None) };
    let restarted = Ec2::open(settings).expect("settings that can be");
    restarted.launch(newer).await.expect("a machine");
    assert_eq!(names().len(), 2);
    restarted.list().await.expect("a listing");
    assert_eq!(names().len(), 1, "what nobody makes machines from is deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_asks_whether_fleets_may_be_made() {
    let site = site(None);
    let findings = preflight(&site.settings(DEPLOYMENT)).await;
    let said =
        |subject: &str| findings.iter().find(|found| found.subject == subject).map(|found| found.verdict);
    assert_eq!(said("us-east-1: launch templates"), Some(Verdict::Good), "{findings:#?}");
    assert_eq!(said("us-east-1: fleets"), Some(Verdict::Good), "{findings:#?}");
    assert_eq!(site.provider().list().await.expect("a listing"), []);
}
