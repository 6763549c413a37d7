//! Answers that are lost, refused, late or partial; markets that are dear or empty.

use model::{
    ec2::{Bid, Enrollment, Image},
    pool::Money,
};
use pools::{
    Market, Verdict,
    provider::{ErrorKind, LaunchRequest},
};
use provider_ec2::preflight;
use testkit::ec2::proxy::Fault;

use crate::site::{DEPLOYMENT, Site};

const SPOT: &str = "us-east-1a/c5.large/spot";

fn on_spot(request: LaunchRequest, cap: f64) -> LaunchRequest {
    LaunchRequest { offering: SPOT.into(), price_cap: Some(Money::from_units(cap)), ..request }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_after_its_effect_starts_nothing_twice() {
    let site = Site::new(Enrollment::Identity);
    let provider = site.provider();
    for fault in [Fault::on("RunInstances").after().dropped(), Fault::on("RunInstances").truncated()] {
        let request = site.request(2);
        site.proxy.fail(fault);
        let error = provider.launch(request.clone()).await.expect_err("no answer");
        assert_eq!(error.kind, ErrorKind::Transport, "{error}");
        let machines =
            provider.launch(request.clone()).await.expect("the machines of the first call").machines;
        let listed = provider.list().await.expect("a listing");
        let of_call = listed.iter().filter(|machine| machine.token.as_ref() == Some(&request.token)).count();
        assert_eq!((machines.len(), of_call), (2, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_told_by_what_is_to_be_done_about_them_and_are_not_tried_again_here() {
    let site = Site::new(Enrollment::Identity);
    let provider = site.provider();
    let quota = Some(provider_ec2::error::ON_DEMAND_QUOTA.to_owned());
    for (status, code, kind) in [
        (500, "InsufficientInstanceCapacity", ErrorKind::Capacity),
        (400, "VcpuLimitExceeded", ErrorKind::Quota(quota)),
        (503, "RequestLimitExceeded", ErrorKind::Throttled(None)),
        (500, "InternalError", ErrorKind::Transport),
        (400, "InvalidAMIID.NotFound", ErrorKind::Config),
        (403, "UnauthorizedOperation", ErrorKind::Config),
    ] {
        let before = site.proxy.calls_of("RunInstances").len();
        site.proxy.fail(Fault::on("RunInstances").error(status, code));
        let error = provider.launch(site.request(1)).await.expect_err("a refusal");
        assert_eq!((error.kind, &*error.code), (kind, code));
        assert_eq!(site.proxy.calls_of("RunInstances").len(), before + 1, "{code}: one call");
    }
    site.proxy.fail(Fault::on("DescribeInstances").html());
    let error = provider.list().await.expect_err("no listing");
    assert_eq!(error.kind, ErrorKind::Transport, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_machines_than_asked_for_are_taken_and_told() {
    let site = Site::new(Enrollment::Identity);
    site.proxy.set(|settings| {
        settings.set_capacity("us-east-1a", "c5.large", testkit::ec2::proxy::Market::OnDemand, 2);
    });
    let launched = site.provider().launch(site.request(5)).await.expect("some machines");
    assert_eq!(launched.machines.len(), 2);
    assert_eq!(launched.short.expect("a reason").kind, ErrorKind::Capacity);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_near_the_bid_is_not_offered_and_one_above_it_refuses() {
    let mut site = Site::new(Enrollment::Identity).with_spot(Bid::Absolute(Money::from_units(0.05)));
    site.proxy.set(|settings| {
        settings.set_spot_price("us-east-1a", "c5.large", 0.045);
        settings.set_spot_price("us-east-1b", "c5.large", 0.02);
    });
    let offered = site.provider().capabilities().await.expect("offers").offerings;
    let spot: Vec<_> = offered.iter().filter(|offering| offering.market == Market::Spot).collect();
    assert_eq!(spot.len(), 1, "{offered:?}");
    assert_eq!((&*spot[0].name, spot[0].price), ("us-east-1b/c5.large/spot", Money::from_units(0.02)));
    assert_eq!(spot[0].bid, Some(Money::from_units(0.05)));
    let error = site.provider().launch(on_spot(site.request(1), 0.01)).await.expect_err("too little");
    assert_eq!((error.kind, &*error.code), (ErrorKind::Capacity, "SpotMaxPriceTooLow"));
    let machines = site.provider().launch(on_spot(site.request(1), 0.05)).await.expect("a machine").machines;
    assert_eq!(machines.len(), 1);
    site.template.on_demand = false;
    site.proxy.set(|settings| settings.set_spot_price("us-east-1b", "c5.large", 0.049));
    let offered = site.provider().capabilities().await.expect("an answer").offerings;
    assert_eq!(offered, [], "all markets are too dear now: nothing is bought until they are not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_with_a_secret_of_its_own_is_one_of_a_call_and_is_found_again_without_it() {
    let site = Site::new(Enrollment::Secret);
    let provider = site.provider();
    assert_eq!(provider.capabilities().await.expect("offers").batch, 1);
    let request = site.request(1);
    let machines = provider.launch(request.clone()).await.expect("a machine").machines;
    assert_eq!(machines[0].member, Some(request.members[0].instance));
    let mut forgotten = request.clone();
    forgotten.members[0].secret = None;
    let again = site.provider().launch(forgotten).await.expect("the same machine").machines;
    assert_eq!(again[0].provider_id, machines[0].provider_id);
    let mut unknown = site.request(1);
    unknown.members[0].secret = None;
    assert_eq!(provider.launch(unknown).await.expect_err("no secret").code, "NoSecret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_says_what_would_fail_and_starts_nothing() {
    let site = Site::new(Enrollment::Identity);
    let findings = preflight(&site.settings(DEPLOYMENT)).await;
    assert!(findings.iter().all(|found| found.verdict != Verdict::Bad), "{findings:#?}");
    assert!(findings.iter().any(|found| found.subject.contains("launch of us-east-1a/c5.large")));
    assert_eq!(site.provider().list().await.expect("a listing").len(), 0, "nothing was started");
    let mut wrong = site.settings(DEPLOYMENT);
    let mut template = (*wrong.template).clone();
    template.placements[0].image = Some(Image::Id("ami-00000000".into()));
    wrong.template = std::sync::Arc::new(template);
    let findings = preflight(&wrong).await;
    let bad: Vec<_> = findings.iter().filter(|found| found.verdict == Verdict::Bad).collect();
    assert!(bad.iter().any(|found| found.text.contains("InvalidAMIID")), "{findings:#?}");
    assert!(bad.iter().all(|found| found.help.is_some()));
}
