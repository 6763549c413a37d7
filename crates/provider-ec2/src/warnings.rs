//! What EC2 warns of: status checks that fail, and spot instances that are marked for termination.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_ec2::types::{Filter, SummaryStatus};
use pools::{ProviderError, Warning, provider::Machine};
use tokio::time::{Instant, sleep_until};

use crate::{
    bucket::{self, Class},
    clock, error,
    provider::Inner,
};

/// How often EC2 is asked. Machines themselves see an interruption within seconds; this is for those that do not tell.
const LOOK: Duration = Duration::from_secs(30);

/// From the mark to the end of a spot instance.
pub(crate) const NOTICE: Duration = Duration::from_secs(120);

/// What was told before.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// When EC2 was last asked, or a first time waited for.
    looked: Mutex<Option<Instant>>,
    impaired: Mutex<BTreeSet<String>>,
    marked: Mutex<BTreeSet<String>>,
    /// Machines whose secret was taken from their tags, by region.
    forgotten: Mutex<HashMap<String, HashSet<String>>>,
}

impl Watch {
    fn next_look(&self) -> Instant {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now) + LOOK
    }

    fn looks(&self) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Those of a region's machines whose secret is still to be taken from their tags. Machines that are listed no more are
    /// forgotten.
    pub(crate) fn to_forget<'a>(&self, region: &str, listed: &'a [Machine]) -> Vec<&'a Machine> {
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = forgotten.entry(region.to_owned()).or_default();
        let there: HashSet<_> = listed.iter().map(|machine| &*machine.provider_id).collect();
        forgotten.retain(|id| there.contains(&**id));
        listed.iter().filter(|machine| !forgotten.contains(&machine.provider_id)).collect()
    }

    /// A machine's tags have no secret any more.
    pub(crate) fn forgot(&self, region: &str, id: &str) {
        let mut forgotten = self.forgotten.lock().unwrap_or_else(PoisonError::into_inner);
        forgotten.entry(region.to_owned()).or_default().insert(id.to_owned());
    }
}

/// What fails for the time being: people are told once.
#[derive(Debug, Default)]
pub(crate) struct Failing(Mutex<BTreeMap<String, String>>);

impl Failing {
    /// Says what became of something that is done again and again, when that is news.
    pub(crate) fn note(&self, pool: &str, what: &str, error: Option<&ProviderError>) {
        let mut failing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) => {
                let before = failing.insert(what.to_owned(), error.code.clone());
                if before.is_none_or(|code| code != error.code) {
                    tracing::warn!(pool, code = error.code, "{what}: {}", error.text);
                }
            }
            None if failing.remove(what).is_some() => tracing::info!(pool, "{what}: works again"),
            None => {}
        }
    }
}

impl Inner {
    /// Waits until there is something to warn of.
    pub(crate) async fn warnings(&self) -> Vec<(String, Warning)> {
        tokio::select! {
            seen = self.seen() => seen,
            told = self.told() => told,
        }
    }

    /// Looks again and again until there is something to warn of.
    async fn seen(&self) -> Vec<(String, Warning)> {
        loop {
            // Whoever was told something meanwhile has waited for a part of it already.
            sleep_until(self.watch.next_look()).await;
            let seen = self.look().await;
            self.failing.note(&self.settings.pool, "looking for warnings", seen.as_ref().err());
            if let Ok(warnings) = seen
                && !warnings.is_empty()
            {
                return warnings;
            }
        }
    }

    /// What there is to warn of since the last look.
    async fn look(&self) -> Result<Vec<(String, Warning)>, ProviderError> {
        self.watch.looks();
        let mut warnings = Vec::new();
        let now = clock::now();
        let (mut impaired, mut marked) = (BTreeSet::new(), BTreeSet::new());
        for (region, ids) in self.known.regions() {
            impaired.extend(self.impaired(&region, &ids).await?);
            if self.settings.template.spot.is_some() {
                marked.extend(self.marked(&region, &ids).await?);
            }
        }
        let mut before = self.watch.marked.lock().unwrap_or_else(PoisonError::into_inner);
        let interruption = Warning::Interruption(now + NOTICE);
        warnings.extend(marked.difference(&before).map(|id| (id.clone(), interruption)));
        *before = marked;
        let mut before = self.watch.impaired.lock().unwrap_or_else(PoisonError::into_inner);
        warnings.extend(impaired.difference(&before).map(|id| (id.clone(), Warning::Impaired(now))));
        warnings.extend(before.difference(&impaired).map(|id| (id.clone(), Warning::Recovered)));
        *before = impaired;
        Ok(warnings)
    }

    /// Those whose status checks fail.
    async fn impaired(&self, region: &str, ids: &[String]) -> Result<Vec<String>, ProviderError> {
        bucket::turn(region, Class::Describe).await?;
        let running = Filter::builder().name("instance-state-name").values("running").build();
        let client = self.client(region).await;
        let mut statuses = client.describe_instance_status().filters(running).into_paginator().items().send();
        let ours: BTreeSet<_> = ids.iter().collect();
        let mut impaired = Vec::new();
        while let Some(status) = statuses.next().await {
            let status = status.map_err(|error| error::told("DescribeInstanceStatus", &error, false))?;
            let fails = [status.instance_status(), status.system_status()]
                .into_iter()
                .flatten()
                .any(|summary| summary.status() == Some(&SummaryStatus::Impaired));
            impaired.extend(status.instance_id.filter(|id| fails && ours.contains(id)));
        }
        Ok(impaired)
    }

    /// Spot instances that are taken back.
    async fn marked(&self, region: &str, ids: &[String]) -> Result<Vec<String>, ProviderError> {
        bucket::turn(region, Class::Describe).await?;
        // Not by tags: requests that a fleet made have none.
        let marked = Filter::builder().name("status-code").values("marked-for-termination").build();
        let answer = self.client(region).await.describe_spot_instance_requests().filters(marked).send();
        let answer =
            answer.await.map_err(|error| error::told("DescribeSpotInstanceRequests", &error, true))?;
        let marked = answer.spot_instance_requests().iter().filter_map(|request| request.instance_id());
        Ok(marked.filter(|id| ids.iter().any(|known| known == id)).map(str::to_owned).collect())
    }
}
