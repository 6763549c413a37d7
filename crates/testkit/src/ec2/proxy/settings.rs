//! How the laboratory's EC2 behaves all the time.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// How machines are bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Market {
    /// At the list price, for as long as one wants.
    OnDemand,
    /// At the price of the day, for as long as the market wants.
    Spot,
}

/// A bucket of tokens that calls take from (<https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html>).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// How many it holds; it begins full.
    pub size: f64,
    /// How many come back in a second.
    pub refill: f64,
}

/// How the laboratory's EC2 behaves all the time. The default is a perfect one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a machine is `pending`.
    pub pending: Duration,
    /// How long a machine is `shutting-down`.
    pub shutting_down: Duration,
    /// How long nobody knows of a machine after it was launched: no listing has it, and its id is not found.
    pub invisible: Duration,
    /// How long a terminated machine is still listed; an hour or so on EC2.
    pub listed_after_end: Option<Duration>,
    /// Market prices of an hour in dollars, by zone and type; [`Settings::SPOT_PRICE`] where none is said.
    pub spot_prices: BTreeMap<String, BTreeMap<String, f64>>,
    /// What an hour costs on demand in dollars, by type, as the price list says it; others are not in it.
    pub list_prices: BTreeMap<String, f64>,
    /// How many more machines there are, by market, zone and type; no limit where none is said. Those that end come back.
    pub capacity: Vec<Capacity>,
    /// The most virtual processors that run at once, by market.
    pub vcpus: BTreeMap<Market, usize>,
    /// Whether Service Quotas refuses to say them.
    pub quotas_hidden: bool,
    /// Buckets, by action. `RunInstances:resources` counts machines instead of calls.
    pub buckets: BTreeMap<String, Bucket>,
    /// The most machines on one page of a listing, whatever the caller asks for.
    pub page: usize,
}

/// How many machines a place has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// `us-east-1a`.
    pub zone: String,
    /// `m7i.large`.
    #[serde(rename = "type")]
    pub kind: String,
    /// By which market.
    pub market: Market,
    /// So many at once, of this laboratory.
    pub machines: usize,
}

impl Settings {
    /// What an hour costs on the spot market where nothing else is said, in dollars.
    pub const SPOT_PRICE: f64 = 0.03;

    pub(super) fn spot_price(&self, zone: &str, kind: &str) -> f64 {
        self.spot_prices.get(zone).and_then(|types| types.get(kind)).copied().unwrap_or(Self::SPOT_PRICE)
    }

    /// Says how many machines a place has.
    pub fn set_capacity(&mut self, zone: &str, kind: &str, market: Market, machines: usize) {
        self.capacity.retain(|old| !(old.zone == zone && old.kind == kind && old.market == market));
        self.capacity.push(Capacity { zone: zone.into(), kind: kind.into(), market, machines });
    }

    /// Says what the spot market asks for an hour.
    pub fn set_spot_price(&mut self, zone: &str, kind: &str, dollars: f64) {
        self.spot_prices.entry(zone.into()).or_default().insert(kind.into(), dollars);
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pending: Duration::ZERO,
            shutting_down: Duration::ZERO,
            invisible: Duration::ZERO,
            listed_after_end: None,
            spot_prices: BTreeMap::new(),
            list_prices: BTreeMap::new(),
            capacity: Vec::new(),
            vcpus: BTreeMap::new(),
            quotas_hidden: false,
            buckets: BTreeMap::new(),
            page: 1000,
        }
    }
}
