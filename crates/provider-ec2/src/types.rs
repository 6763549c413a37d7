//! Types that have what is required, and what they cost on demand: by EC2's list of types and AWS's price list.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use aws_sdk_ec2::types::{Filter, InstanceTypeInfo};
use aws_sdk_pricing::types::{Filter as Which, FilterType};
use model::{
    ec2::{Requirements, TypeChoice},
    pool::Money,
};
use pools::ProviderError;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use crate::{
    bucket::{self, Class},
    clients::Region,
    error,
    offer::Offer,
    provider::Inner,
};

/// For so long types and prices are taken for what they were.
const FRESH: Duration = Duration::from_secs(12 * 3600);

/// The most types that prices are asked for.
const PRICED: usize = 400;

/// So many types are asked for in a call.
const CHUNK: usize = 40;

/// What was found, by region.
#[derive(Debug, Default)]
pub(crate) struct Types(Mutex<BTreeMap<String, (Vec<TypeChoice>, Instant)>>);

impl Inner {
    /// What there is to buy, as it was found last.
    pub(crate) fn offers(&self) -> Arc<Vec<Offer>> {
        Arc::clone(&self.offers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What there is to buy now. Types that are required rather than named are looked for again when that is long ago.
    pub(crate) async fn find_offers(&self) -> Result<Arc<Vec<Offer>>, ProviderError> {
        let template = &self.settings.template;
        let Some(requirements) = &template.requirements else { return Ok(self.offers()) };
        let mut found = BTreeMap::new();
        let mut failed = None;
        for region in self.regions() {
            match self.types(&region, requirements).await {
                Ok(types) => drop(found.insert(region, types)),
                Err(error) => {
                    let (pool, code) = (&self.settings.pool, &error.code);
                    tracing::warn!(pool, region, code, "types are not known: {}", error.text);
                    failed = Some(error);
                }
            }
        }
        if let (true, Some(error)) = (found.values().all(Vec::is_empty), failed) {
            return Err(error);
        }
        let offers = Offer::all(template, |region| found.get(region).cloned().unwrap_or_default());
        if offers.is_empty() {
            let text = "no type of machine is as `[pool.ec2.requirements]` say".to_owned();
            return Err(ProviderError::config("NoSuchType", text));
        }
        let offers = Arc::new(offers);
        *self.offers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&offers);
        Ok(offers)
    }

    async fn types(&self, region: &str, wanted: &Requirements) -> Result<Vec<TypeChoice>, ProviderError> {
        let known = || self.types.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known().get(region).cloned();
        if let Some((types, at)) = &before
            && at.elapsed() < FRESH
        {
            return Ok(types.clone());
        }
        let clients = self.clients(region).await;
        match (look_up(&clients, region, wanted).await, before) {
            (Ok(types), _) => {
                known().insert(region.to_owned(), (types.clone(), Instant::now()));
                Ok(types)
            }
            (Err(error), Some((types, _))) => {
                tracing::warn!(region, code = error.code, "still the same types: {}", error.text);
                Ok(types)
            }
            (Err(error), None) => Err(error),
        }
    }
}

async fn look_up(
    clients: &Region,
    region: &str,
    wanted: &Requirements,
) -> Result<Vec<TypeChoice>, ProviderError> {
    let names = fitting(clients, region, wanted).await?;
    let prices = prices(clients, region, &names).await?;
    let choice = |name: String| {
        let price = *prices.get(&name)?;
        Some(TypeChoice { name, price, performance: 1.0 })
    };
    let mut types: Vec<_> = names.into_iter().filter_map(choice).collect();
    types.sort_by(|a, b| (a.price, &a.name).cmp(&(b.price, &b.name)));
    types.truncate(usize::try_from(wanted.most_types).unwrap_or(usize::MAX));
    Ok(types)
}

/// Names of types that have what is required, those with the least processors and memory first.
async fn fitting(
    clients: &Region,
    region: &str,
    wanted: &Requirements,
) -> Result<Vec<String>, ProviderError> {
    bucket::turn(region, Class::Describe).await?;
    let filter = |name: &str, value: &str| Filter::builder().name(name).values(value).build();
    let mut call = clients
        .ec2
        .describe_instance_types()
        .filters(filter("processor-info.supported-architecture", &wanted.architecture))
        .filters(filter("bare-metal", "false"));
    if !wanted.previous_generations {
        call = call.filters(filter("current-generation", "true"));
    }
    if !wanted.burstable {
        call = call.filters(filter("burstable-performance-supported", "false"));
    }
    let mut pages = call.into_paginator().items().send();
    let mut found = Vec::new();
    while let Some(kind) = pages.next().await {
        let kind = kind.map_err(|error| error::told("DescribeInstanceTypes", &error, false))?;
        found.extend(fits(&kind, wanted));
    }
    found.sort();
    found.truncate(PRICED);
    Ok(found.into_iter().map(|(_, _, name)| name).collect())
}

/// Processors, MiB of memory and name of a type that has what is required.
fn fits(kind: &InstanceTypeInfo, wanted: &Requirements) -> Option<(u32, i64, String)> {
    let name = kind.instance_type()?.as_str().to_owned();
    let vcpus = u32::try_from(kind.v_cpu_info()?.default_v_cpus()?).ok()?;
    let memory = kind.memory_info()?.size_in_mib()?;
    #[expect(clippy::cast_precision_loss, reason = "no machine has so much memory")]
    let gib = memory as f64 / 1024.0;
    let is_excluded = wanted.excluded.iter().any(|form| wild(form.as_bytes(), name.as_bytes()));
    // Machines for learning and for graphics are not what a build asks for.
    let is_special = kind.gpu_info().is_some()
        || kind.fpga_info().is_some()
        || kind.inference_accelerator_info().is_some()
        || kind.neuron_info().is_some();
    let fits = vcpus >= wanted.vcpus_min
        && wanted.vcpus_max.is_none_or(|most| vcpus <= most)
        && gib >= wanted.memory_min
        && wanted.memory_max.is_none_or(|most| gib <= most);
    (fits && !is_excluded && !is_special).then_some((vcpus, memory, name))
}

/// Whether a name has a form with `*` and `?`.
fn wild(form: &[u8], text: &[u8]) -> bool {
    // Where the last star was, and how much of the text it has taken.
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < text.len() {
        match form.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(c) if *c == b'?' || *c == text[seen] => (at, seen) = (at + 1, seen + 1),
            _ => {
                let Some((form_at, taken)) = star else { return false };
                star = Some((form_at, taken + 1));
                (at, seen) = (form_at + 1, taken + 1);
            }
        }
    }
    form[at..].iter().all(|c| *c == b'*')
}

/// What an hour of each costs on demand, with Linux.
async fn prices(
    clients: &Region,
    region: &str,
    names: &[String],
) -> Result<BTreeMap<String, Money>, ProviderError> {
    let mut prices = BTreeMap::new();
    for chunk in names.chunks(CHUNK) {
        bucket::turn(region, Class::Describe).await?;
        let which = |kind: FilterType, field: &str, value: &str| {
            // All that is required is there.
            Which::builder().r#type(kind).field(field).value(value).build().ok()
        };
        let filters = [
            which(FilterType::AnyOf, "instanceType", &chunk.join(",")),
            which(FilterType::TermMatch, "regionCode", region),
            which(FilterType::TermMatch, "operatingSystem", "Linux"),
            which(FilterType::TermMatch, "tenancy", "Shared"),
            which(FilterType::TermMatch, "preInstalledSw", "NA"),
            which(FilterType::TermMatch, "capacitystatus", "Used"),
        ];
        let call = clients.prices.get_products().service_code("AmazonEC2");
        let call = call.set_filters(Some(filters.into_iter().flatten().collect()));
        let mut pages = call.into_paginator().items().send();
        while let Some(product) = pages.next().await {
            let product = product.map_err(|error| error::told("GetProducts", &error, false))?;
            prices.extend(price(&product));
        }
    }
    Ok(prices)
}

/// Type and price of an hour of a product of the price list
/// (<https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/using-ppslong.html>).
fn price(product: &str) -> Option<(String, Money)> {
    let product: Value = serde_json::from_str(product).ok()?;
    let name = product["product"]["attributes"]["instanceType"].as_str()?;
    let terms = product["terms"]["OnDemand"].as_object()?.values();
    let dimensions =
        terms.filter_map(|term| term["priceDimensions"].as_object()).flat_map(|all| all.values());
    let hourly = dimensions.filter(|dimension| dimension["unit"].as_str() == Some("Hrs"));
    let amounts =
        hourly.filter_map(|dimension| dimension["pricePerUnit"]["USD"].as_str()?.parse::<f64>().ok());
    let amount = amounts.filter(|amount| amount.is_finite() && *amount > 0.0).fold(f64::INFINITY, f64::min);
    amount.is_finite().then(|| (name.to_owned(), Money::from_units(amount)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_from_products() {
        let product = r#"{"product":{"attributes":{"instanceType":"m7i.large"}},"terms":{"OnDemand":{"A.B":{"priceDimensions":
            {"A.B.C":{"unit":"Hrs","pricePerUnit":{"USD":"0.1208000000"}}}}}}}"#;
        assert_eq!(price(product), Some(("m7i.large".to_owned(), Money::from_units(0.1208))));
        for wrong in [
            "",
            "{}",
            "[]",
            &product.replace("USD", "CNY"),
            &product.replace("0.1208", "-1"),
            &product.replace("Hrs", "Quantity"),
        ] {
            assert_eq!(price(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn names_have_forms() {
        let fits = |form: &str, text: &str| wild(form.as_bytes(), text.as_bytes());
        assert!(fits("m5*.large", "m5a.large") && fits("*", "m5.large") && fits("m?.*", "m5.large"));
        assert!(!fits("m5.*", "m5a.large") && !fits("m5", "m5.large") && !fits("", "m5"));
    }
}
