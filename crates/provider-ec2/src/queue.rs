//! What EventBridge puts into a queue: interruptions of spot instances, seconds after EC2 decides them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use futures_util::future::{pending, select_all};
use jiff::Timestamp;
use model::Time;
use pools::{ProviderError, Warning};
use serde::Deserialize;
use tokio::time::{Duration, sleep};

use crate::{clock, error, provider::Inner, warnings::NOTICE};

/// How long a call waits for a message, in seconds: the longest that SQS takes.
const WAIT: i32 = 20;

/// The most messages in a call.
const MOST: i32 = 10;

/// For so long a queue that failed is left alone, and for twice that when it fails again, up to the second. Interruptions are
/// seen without it, only later.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Messages that came with what was passed on, and are still to be deleted, by the URL of their queue.
#[derive(Debug, Default)]
pub(crate) struct PassedOn(Mutex<BTreeMap<String, Vec<String>>>);

impl PassedOn {
    fn add(&self, queue: &str, receipts: Vec<String>) {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.entry(queue.to_owned()).or_default().extend(receipts);
    }

    fn take(&self, queue: &str) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(queue).unwrap_or_default()
    }
}

/// What EventBridge says
/// (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html>).
#[derive(Debug, Deserialize)]
struct Event {
    source: String,
    #[serde(rename = "detail-type")]
    kind: String,
    time: String,
    detail: Detail,
}

#[derive(Debug, Deserialize)]
struct Detail {
    #[serde(rename = "instance-id")]
    instance: String,
}

/// Of which machine a message warns, and of what. `None` when it is no such message, or came too late to be one.
fn said(body: &str, now: Time) -> Option<(String, Warning)> {
    let event: Event = serde_json::from_str(body).ok()?;
    let at: Timestamp = event.time.parse().ok()?;
    let at = Time::from_micros(at.as_microsecond()).min(now);
    let warning = match (&*event.source, &*event.kind) {
        ("aws.ec2", "EC2 Spot Instance Interruption Warning") => Warning::Interruption(at + NOTICE),
        ("aws.ec2", "EC2 Instance Rebalance Recommendation") => Warning::Rebalance,
        _ => return None,
    };
    let is_over = matches!(warning, Warning::Interruption(end) if end < now);
    (!is_over).then_some((event.detail.instance, warning))
}

impl Inner {
    /// The queues of the template, with their regions.
    pub(crate) fn queues(&self) -> BTreeSet<(&str, &str)> {
        let placements = self.settings.template.placements.iter();
        placements.filter_map(|one| Some((&*one.region, one.interruption_queue.as_deref()?))).collect()
    }

    /// Waits until some queue warns of something. For ever where there is none.
    pub(crate) async fn told(&self) -> Vec<(String, Warning)> {
        let queues = self.queues();
        if queues.is_empty() {
            return pending().await;
        }
        // Before, nobody knows which machines are the pool's.
        self.known.was_listed().await;
        select_all(queues.into_iter().map(|(region, queue)| Box::pin(self.listen(region, queue)))).await.0
    }

    async fn listen(&self, region: &str, queue: &str) -> Vec<(String, Warning)> {
        let mut pause = PAUSES.0;
        // Whoever asks again has what was passed on.
        let mut done = self.delete(region, queue, self.passed_on.take(queue)).await.map(|()| Vec::new());
        loop {
            match done {
                Ok(warnings) if warnings.is_empty() => pause = PAUSES.0,
                Ok(warnings) => return warnings,
                Err(_) => {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
            done = self.receive(region, queue).await;
        }
    }

    async fn receive(&self, region: &str, queue: &str) -> Result<Vec<(String, Warning)>, ProviderError> {
        let client = self.clients(region).await.queues;
        let call =
            client.receive_message().queue_url(queue).max_number_of_messages(MOST).wait_time_seconds(WAIT);
        let answer = call.send().await.map_err(|error| error::told("ReceiveMessage", &error, false));
        let what = format!("interruption-queue {queue}");
        self.failing.note(&self.settings.pool, &what, answer.as_ref().err());
        let (answer, now) = (answer?, clock::now());
        let (mut warnings, mut receipts) = (Vec::new(), Vec::new());
        for message in answer.messages() {
            let warning = message.body().and_then(|body| said(body, now));
            let warning = warning.filter(|(instance, _)| self.known.region(instance).is_some());
            receipts.extend(message.receipt_handle().map(str::to_owned));
            warnings.extend(warning);
        }
        if warnings.is_empty() {
            self.delete(region, queue, receipts).await?;
        } else {
            // Nothing is waited for from here on: who is not waited for any more would lose the warnings.
            self.passed_on.add(queue, receipts);
        }
        Ok(warnings)
    }

    /// What is not deleted comes again, and says nothing new. Fails when some are left.
    async fn delete(&self, region: &str, queue: &str, receipts: Vec<String>) -> Result<(), ProviderError> {
        let client = self.clients(region).await.queues;
        let mut all = Ok(());
        for receipt in receipts {
            let done = client.delete_message().queue_url(queue).receipt_handle(receipt).send().await;
            let done = done.map_err(|error| error::told("DeleteMessage", &error, false));
            let what = format!("messages of interruption-queue {queue}");
            self.failing.note(&self.settings.pool, &what, done.as_ref().err());
            all = all.and_then(|()| done.map(drop));
        }
        all
    }

    /// Looks whether a queue can be read. Messages stay as they are.
    pub(crate) async fn peek(&self, region: &str, queue: &str) -> Result<(), ProviderError> {
        let client = self.clients(region).await.queues;
        let call = client.receive_message().queue_url(queue).visibility_timeout(0).wait_time_seconds(0);
        call.send().await.map(drop).map_err(|error| error::told("ReceiveMessage", &error, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_epoch_seconds(1_796_032_800);

    /// What is said in a message of this kind, of the time `at`.
    fn said_of(source: &str, kind: &str, at: &str) -> Option<Warning> {
        let body = format!(
            r#"{{"version":"0","detail-type":"{kind}","source":"{source}","time":"{at}",
            "region":"us-east-1","detail":{{"instance-id":"i-0abc","instance-action":"terminate"}}}}"#
        );
        said(&body, NOW).map(|(instance, warning)| {
            assert_eq!(instance, "i-0abc");
            warning
        })
    }

    #[test]
    fn events_of_ec2_are_read_while_they_mean_something() {
        let interruption = "EC2 Spot Instance Interruption Warning";
        let end = |seconds| Some(Warning::Interruption(NOW + Duration::from_secs(seconds)));
        assert_eq!(said_of("aws.ec2", interruption, "2026-11-30T10:00:00Z"), end(120));
        assert_eq!(said_of("aws.ec2", interruption, "2026-11-30T09:59:00Z"), end(60));
        assert_eq!(said_of("aws.ec2", interruption, "2026-11-30T09:57:59Z"), None, "it is over");
        assert_eq!(said_of("aws.ec2", interruption, "9999-12-30T22:00:00Z"), end(120), "no clock is trusted");
        assert_eq!(said_of("aws.ec2", interruption, "today"), None);
        assert_eq!(said_of("mine", interruption, "2026-11-30T10:00:00Z"), None);
        let rebalance = "EC2 Instance Rebalance Recommendation";
        assert_eq!(said_of("aws.ec2", rebalance, "2026-11-30T08:00:00Z"), Some(Warning::Rebalance));
        let other = "EC2 Instance State-change Notification";
        assert_eq!(said_of("aws.ec2", other, "2026-11-30T10:00:00Z"), None);
    }

    #[test]
    fn what_is_no_event_says_nothing() {
        let nested = "[".repeat(100_000);
        for body in ["", "{}", "null", r#"{"detail":{"instance-id":7}}"#, &nested] {
            assert_eq!(said(body, NOW), None);
        }
    }
}
