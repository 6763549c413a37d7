//! Quotas of the account: how many virtual processors may run at once, by class of family and market
//! (<https://docs.aws.amazon.com/ec2/latest/instancetypes/ec2-instance-quotas.html>).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use aws_sdk_ec2::types::{Filter, Instance, InstanceType};
use pools::{
    Market, Offering, ProviderError,
    provider::{ErrorKind, Quota},
};
use tokio::time::{Duration, Instant};

use crate::{
    bucket::{self, Class},
    error::{self, ON_DEMAND_QUOTA, SPOT_QUOTA},
    provider::Inner,
};

/// For so long a quota is taken for what it was.
const FRESH: Duration = Duration::from_secs(3600);

/// After so long it is asked for again when there was no answer.
const AGAIN: Duration = Duration::from_secs(60);

/// The code, in Service Quotas, of the quota that a type counts against. `None` where nobody knows.
pub(crate) fn code(instance_type: &str, market: Market) -> Option<&'static str> {
    let family = instance_type.split('.').next().unwrap_or_default();
    let letters = family.find(|c: char| !c.is_ascii_lowercase()).map_or(family, |end| &family[..end]);
    let (on_demand, spot) = match letters {
        "f" => ("L-74FC7D96", "L-88CF9481"),
        "g" | "gr" | "vt" => ("L-DB2E81BA", "L-3819A6DF"),
        "p" => ("L-417A185B", "L-7212CCBC"),
        "x" => ("L-7295265B", "L-E3A00192"),
        "inf" => ("L-1945791B", "L-B5D1601B"),
        "trn" => ("L-2C3B7624", "L-6B0D517C"),
        "dl" => ("L-6E869C2A", "L-85EED4F7"),
        "a" | "c" | "d" | "h" | "i" | "im" | "is" | "m" | "r" | "t" | "z" => (ON_DEMAND_QUOTA, SPOT_QUOTA),
        _ => return None,
    };
    Some(match market {
        Market::OnDemand => on_demand,
        Market::Spot => spot,
    })
}

/// What a quota allows, and what is used of it, in virtual processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) limit: u32,
    pub(crate) used: u32,
}

/// Virtual processors, and until when that is believed; `None` where nobody says.
type Limit = (Option<u32>, Instant);

/// What was asked for before.
#[derive(Debug, Default)]
pub(crate) struct Headroom {
    /// By region and code.
    limits: Mutex<HashMap<(String, &'static str), Limit>>,
    /// Virtual processors of types, by region. They do not change.
    processors: Mutex<HashMap<String, BTreeMap<String, u32>>>,
}

impl Inner {
    /// Leaves out what the account's quotas do not allow any more, and says how many more machines they allow. Where nobody
    /// says, nothing is left out: EC2 refuses what is too much.
    pub(crate) async fn limit_by_quota(&self, offerings: &mut Vec<Offering>) -> Option<Quota> {
        let mut most = BTreeMap::new();
        let mut full = Vec::new();
        let mut unknown = false;
        let offers = self.offers();
        for region in self.regions() {
            let rooms = self.rooms(&region).await;
            let processors = self.processors(&region).await.unwrap_or_default();
            for offer in offers.iter().filter(|offer| self.region_of(offer) == region) {
                if !offerings.iter().any(|offering| offering.name == offer.name) {
                    continue;
                }
                let room = code(&offer.instance_type, offer.market)
                    .and_then(|code| Some((code, rooms.get(code).copied()?)));
                let (Some((code, room)), Some(needs)) = (room, processors.get(&offer.instance_type)) else {
                    unknown = true;
                    continue;
                };
                let machines = room.limit.saturating_sub(room.used) / (*needs).max(1);
                let most = most.entry((region.clone(), code)).or_insert(0);
                *most = machines.max(*most);
                if machines == 0 {
                    full.push((offer.name.clone(), code));
                }
            }
        }
        for (offering, code) in &full {
            tracing::debug!(pool = self.settings.pool, offering, "not offered: quota {code} is used up");
        }
        let headroom = most.values().fold(0_u32, |sum, machines| sum.saturating_add(*machines));
        if headroom > 0 || unknown {
            offerings.retain(|offering| !full.iter().any(|(name, _)| *name == offering.name));
        }
        if unknown || most.is_empty() {
            return None;
        }
        let mut names: Vec<_> = most.keys().map(|(_, code)| *code).collect();
        names.sort_unstable();
        names.dedup();
        Some(Quota { name: names.join(", "), headroom })
    }

    /// What the quotas that the pool's types count against in a region allow, as far as somebody says.
    pub(crate) async fn rooms(&self, region: &str) -> BTreeMap<&'static str, Room> {
        let offers = self.offers();
        let offers = offers.iter().filter(|offer| self.region_of(offer) == region);
        let codes: Vec<_> = offers.filter_map(|offer| code(&offer.instance_type, offer.market)).collect();
        let mut limits = BTreeMap::new();
        for code in codes {
            if let Some(limit) = self.limit(region, code).await {
                limits.insert(code, limit);
            }
        }
        if limits.is_empty() {
            return BTreeMap::new();
        }
        match self.used(region).await {
            Ok(used) => {
                let room = |(code, limit)| (code, Room { limit, used: used.get(code).copied().unwrap_or(0) });
                limits.into_iter().map(room).collect()
            }
            Err(error) => {
                let (pool, code) = (&self.settings.pool, &error.code);
                tracing::debug!(pool, region, code, "how much is used is not known: {}", error.text);
                BTreeMap::new()
            }
        }
    }

    async fn limit(&self, region: &str, code: &'static str) -> Option<u32> {
        let key = (region.to_owned(), code);
        let limits = || self.headroom.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let known = limits().get(&key).copied();
        if let Some((limit, until)) = known
            && Instant::now() < until
        {
            return limit;
        }
        let answer = self.ask_for_limit(region, code).await;
        if let Err(error) = &answer {
            let (pool, quota) = (&self.settings.pool, code);
            tracing::info!(pool, region, quota, code = error.code, "not known: {}", error.text);
        }
        let (limit, lasts) = believed(known.and_then(|(limit, _)| limit), answer);
        limits().insert(key, (limit, Instant::now() + lasts));
        limit
    }

    /// What an account may have, in virtual processors.
    pub(crate) async fn ask_for_limit(
        &self,
        region: &str,
        code: &'static str,
    ) -> Result<Option<u32>, ProviderError> {
        bucket::turn(region, Class::Describe).await?;
        let call = self.clients(region).await.quotas.get_service_quota();
        let answer = call.service_code("ec2").quota_code(code).send().await;
        let answer = answer.map_err(|error| error::told("GetServiceQuota", &error, false))?;
        let value = answer.quota().and_then(|quota| quota.value()).filter(|value| *value >= 0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast from float saturates, and it is not negative"
        )]
        Ok(value.map(|value| value as u32))
    }

    /// Virtual processors of all machines of the account that run in a region, by quota.
    async fn used(&self, region: &str) -> Result<BTreeMap<&'static str, u32>, ProviderError> {
        let processors = self.processors(region).await?;
        bucket::turn(region, Class::Describe).await?;
        let runs = Filter::builder().name("instance-state-name").values("pending").values("running").build();
        let call = self.client(region).await.describe_instances().filters(runs).max_results(1000);
        let mut pages = call.into_paginator().send();
        let mut used = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| error::told("DescribeInstances", &error, false))?;
            for instance in page.reservations().iter().flat_map(|reservation| reservation.instances()) {
                let market = match instance.instance_lifecycle().map(|kind| kind.as_str()) {
                    None => Market::OnDemand,
                    Some("spot") => Market::Spot,
                    // Blocks of capacity count against no quota.
                    Some(_) => continue,
                };
                let kind = instance.instance_type().map_or("", |kind| kind.as_str());
                let Some(code) = code(kind, market) else { continue };
                let processors = processors.get(kind).copied().unwrap_or_else(|| cores(instance));
                let sum = used.entry(code).or_insert(0_u32);
                *sum = sum.saturating_add(processors);
            }
        }
        Ok(used)
    }

    /// How many virtual processors the pool's types have.
    async fn processors(&self, region: &str) -> Result<BTreeMap<String, u32>, ProviderError> {
        let known = || self.headroom.processors.lock().unwrap_or_else(PoisonError::into_inner);
        let names = self.type_names(&self.offers(), region);
        if let Some(processors) = known().get(region)
            && names.iter().all(|name| processors.contains_key(name))
        {
            return Ok(processors.clone());
        }
        bucket::turn(region, Class::Describe).await?;
        let types = Filter::builder().name("instance-type").set_values(Some(names)).build();
        let call = self.client(region).await.describe_instance_types().filters(types);
        let mut found = call.into_paginator().items().send();
        let mut processors = BTreeMap::new();
        while let Some(kind) = found.next().await {
            let kind = kind.map_err(|error| error::told("DescribeInstanceTypes", &error, false))?;
            let count = kind.v_cpu_info().and_then(|info| info.default_v_cpus());
            let name = kind.instance_type().map(InstanceType::as_str);
            if let (Some(name), Some(count)) = (name, count.and_then(|count| u32::try_from(count).ok())) {
                processors.insert(name.to_owned(), count);
            }
        }
        known().insert(region.to_owned(), processors.clone());
        Ok(processors)
    }
}

/// What a quota is taken for after an answer, and for how long. What may not be asked for is not asked for all the time.
fn believed(before: Option<u32>, answer: Result<Option<u32>, ProviderError>) -> (Option<u32>, Duration) {
    match answer {
        Ok(limit) => (limit, FRESH),
        Err(error) if matches!(error.kind, ErrorKind::Throttled(_) | ErrorKind::Transport) => (before, AGAIN),
        Err(_) => (None, FRESH),
    }
}

/// Virtual processors of a machine of a type that is not the pool's.
fn cores(instance: &Instance) -> u32 {
    let options = instance.cpu_options();
    let cores = options.and_then(|options| options.core_count()).unwrap_or(1).max(1);
    let threads = options.and_then(|options| options.threads_per_core()).unwrap_or(1).max(1);
    u32::try_from(cores.saturating_mul(threads)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_failed_takes_nothing_from_what_is_known_of_a_quota() {
        let failed = |kind| Err(ProviderError { kind, code: String::new(), text: String::new() });
        assert_eq!(believed(Some(64), Ok(Some(32))), (Some(32), FRESH));
        assert_eq!(believed(Some(64), failed(ErrorKind::Transport)), (Some(64), AGAIN));
        assert_eq!(believed(None, failed(ErrorKind::Throttled(None))), (None, AGAIN));
        assert_eq!(believed(Some(64), failed(ErrorKind::Config)), (None, FRESH), "no permission");
    }

    #[test]
    fn types_count_against_the_quota_of_their_family() {
        assert_eq!(code("m7i.large", Market::OnDemand), Some("L-1216C47A"));
        assert_eq!(code("c7gn.xlarge", Market::Spot), Some("L-34B43A08"));
        assert_eq!(code("g6e.xlarge", Market::OnDemand), Some("L-DB2E81BA"));
        assert_eq!(code("inf2.xlarge", Market::Spot), Some("L-B5D1601B"));
        assert_eq!(code("x2iedn.xlarge", Market::OnDemand), Some("L-7295265B"));
        assert_eq!(code("u-6tb1.metal", Market::OnDemand), None);
        assert_eq!(code("mac2.metal", Market::OnDemand), None);
    }
}
