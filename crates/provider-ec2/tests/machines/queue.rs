//! Interruptions that EventBridge puts into a queue.

use std::time::Duration;

use model::ec2::Enrollment;
use pools::{Provider as _, Verdict, Warning};
use provider_ec2::{Ec2, preflight};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::site::{DEPLOYMENT, Site};

/// Long enough for whatever is said to be heard.
const LIMIT: Duration = Duration::from_secs(60);

const INTERRUPTION: &str = "EC2 Spot Instance Interruption Warning";

fn site(queue: &str) -> Site {
    let mut site = Site::new(Enrollment::Identity);
    site.template.placements[0].interruption_queue = Some(site.proxy.queue_url(queue));
    site
}

fn event(kind: &str, instance: &str) -> Value {
    let now = jiff::Timestamp::now();
    json!({
        "detail-type": kind, "source": "aws.ec2", "time": now.to_string(),
        "detail": {"instance-id": instance, "instance-action": "terminate"},
    })
}

/// A machine of the pool, and a provider that knows it from a listing.
async fn machine(site: &Site) -> (Ec2, String) {
    let provider = Ec2::open(site.settings(DEPLOYMENT)).expect("settings that can be");
    let id = provider.launch(site.request(1)).await.expect("a machine").machines[0].provider_id.clone();
    provider.list().await.expect("a listing");
    (provider, id)
}

async fn warnings(provider: &Ec2) -> Vec<(String, Warning)> {
    timeout(LIMIT, provider.warnings()).await.expect("something is heard").expect("warnings")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_queue_says_of_the_pools_machines_is_a_warning_and_everything_else_is_nothing() {
    let site = site("ganger");
    site.proxy.make_queue("ganger").expect("moto has queues");
    let (provider, id) = machine(&site).await;
    let say = |body: &str| site.proxy.send_message("ganger", body).expect("moto takes it");
    say("no event");
    say(&json!({"detail": [id]}).to_string());
    say(&event("EC2 Instance State-change Notification", &id).to_string());
    say(&event(INTERRUPTION, "i-0123456789abcdef0").to_string());
    say(&event(INTERRUPTION, &"i".repeat(100_000)).to_string());
    say(&event(INTERRUPTION, &id).to_string());
    let heard = warnings(&provider).await;
    assert!(matches!(&heard[..], [(warned, Warning::Interruption(_))] if *warned == id), "{heard:?}");
    let left = || site.proxy.messages("ganger").expect("moto counts them");
    assert_eq!(left(), 6, "what came with it stays until somebody asks for more");
    say(&event("EC2 Instance Rebalance Recommendation", &id).to_string());
    assert_eq!(warnings(&provider).await, [(id.clone(), Warning::Rebalance)]);
    assert_eq!(left(), 1, "the first ones are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_left_until_it_is_known_whose_machine_it_means() {
    let site = site("ganger");
    site.proxy.make_queue("ganger").expect("moto has queues");
    let (_, id) = machine(&site).await;
    site.proxy.send_message("ganger", &event(INTERRUPTION, &id).to_string()).expect("moto takes it");
    // As after a start of the master.
    let provider = Ec2::open(site.settings(DEPLOYMENT)).expect("settings that can be");
    let heard = timeout(LIMIT, async {
        let (heard, listing) = tokio::join!(warnings(&provider), async {
            tokio::task::yield_now().await;
            provider.list().await
        });
        listing.expect("a listing");
        heard
    });
    let heard = heard.await.expect("it is heard");
    assert!(matches!(&heard[..], [(warned, Warning::Interruption(_))] if *warned == id), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_fails_is_heard_when_it_is_there_again() {
    let site = site("ganger");
    let (provider, id) = machine(&site).await;
    let heard = tokio::spawn(async move { warnings(&provider).await });
    let findings = preflight(&site.settings(DEPLOYMENT)).await;
    let of_queue = |found: &&pools::Finding| found.subject == "us-east-1: interruption-queue";
    let found = findings.iter().find(of_queue).expect("a finding");
    assert_eq!(found.verdict, Verdict::Bad, "{}", found.text);
    assert!(
        found.help.as_deref().is_some_and(|help| help.contains("is the queue in this region")),
        "{found:?}"
    );
    site.proxy.make_queue("ganger").expect("moto has queues");
    let findings = preflight(&site.settings(DEPLOYMENT)).await;
    let found = findings.iter().find(of_queue).expect("a finding");
    assert_eq!(found.verdict, Verdict::Good, "{}", found.text);
    site.proxy.send_message("ganger", &event(INTERRUPTION, &id).to_string()).expect("moto takes it");
    let heard = heard.await.expect("it does not end");
    assert!(matches!(&heard[..], [(warned, Warning::Interruption(_))] if *warned == id), "{heard:?}");
}
