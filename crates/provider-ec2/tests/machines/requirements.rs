//! Types that are required rather than named.

use model::{
    ec2::{Enrollment, Requirements},
    pool::Money,
};
use pools::Verdict;
use provider_ec2::preflight;

use crate::site::{DEPLOYMENT, Site};

fn site() -> Site {
    let mut site = Site::new(Enrollment::Identity);
    site.template.types.clear();
    site.template.requirements = Some(Requirements {
        vcpus_min: 2,
        vcpus_max: Some(4),
        memory_min: 8.0,
        memory_max: Some(16.0),
        architecture: "x86_64".into(),
        previous_generations: false,
        burstable: false,
        excluded: vec!["m5a*.*".into()],
        most_types: 2,
    });
    site.proxy.set(|settings| {
        let prices = [
            ("m7i.large", 0.1008),
            ("m7a.large", 0.1159),
            ("m7i.xlarge", 0.2016),
            ("m6i.large", 0.096),
            ("m5a.large", 0.086),
            ("t3.large", 0.0832),
            ("c7i.large", 0.0893),
            ("m7g.large", 0.0816),
            ("m7i.2xlarge", 0.01),
        ];
        settings.list_prices.extend(prices.map(|(kind, price)| (kind.to_owned(), price)));
    });
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cheapest_types_that_have_what_is_required_are_offered() {
    let site = site();
    let provider = site.provider();
    let offered = provider.capabilities().await.expect("offers").offerings;
    let names: Vec<_> = offered.iter().map(|offering| (&*offering.name, offering.price)).collect();
    let (intel, amd) = (Money::from_units(0.1008), Money::from_units(0.1159));
    let expected = [
        ("us-east-1a/m7i.large/on-demand", intel),
        ("us-east-1a/m7a.large/on-demand", amd),
        ("us-east-1b/m7i.large/on-demand", intel),
        ("us-east-1b/m7a.large/on-demand", amd),
    ];
    assert_eq!(
        names, expected,
        "others are dearer, old, excluded, throttled, too small, of another architecture or too big"
    );
    let request = pools::provider::LaunchRequest {
        offering: "us-east-1b/m7i.large/on-demand".into(),
        ..site.request(1)
    };
    // Also by a master that was just started.
    let machines = site.provider().launch(request).await.expect("a machine").machines;
    assert_eq!(machines[0].details["type"], "m7i.large");
    provider.capabilities().await.expect("offers");
    let asked = site.proxy.calls_of("GetProducts").len();
    provider.capabilities().await.expect("offers");
    assert_eq!(site.proxy.calls_of("GetProducts").len(), asked, "prices are asked for seldom");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_says_what_types_cost_and_who_says_so() {
    let site = site();
    let findings = preflight(&site.settings(DEPLOYMENT)).await;
    let said = findings.iter().find(|found| found.subject == "us-east-1: type m7i.large").expect("the type");
    assert!(said.text.ends_with("0.1008 an hour on demand by AWS's price list"), "{said:?}");
    site.proxy.set(|settings| settings.list_prices.clear());
    let findings = preflight(&site.settings(DEPLOYMENT)).await;
    assert_eq!(findings[0].verdict, Verdict::Bad, "nothing has a price: {findings:?}");
    assert_eq!(site.provider().capabilities().await.expect_err("nothing to buy").code, "NoSuchType");
}
