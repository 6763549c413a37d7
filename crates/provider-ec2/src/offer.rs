//! What there is to buy: each place, with each type, on each market.

use model::{
    ec2::{Placement, Template, TypeChoice},
    pool::Money,
};
use pools::{Market, Offering, provider::Machine};

/// Something that can be bought.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offer {
    /// `us-east-1a/m7i.large/spot`.
    pub(crate) name: String,
    /// Which of the template's placements.
    pub(crate) placement: usize,
    pub(crate) at: At,
    pub(crate) instance_type: String,
    pub(crate) market: Market,
    /// On demand.
    pub(crate) price: Money,
    pub(crate) performance: f64,
}

/// Where in a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Wherever EC2 likes.
    Anywhere,
    Zone(String),
    Subnet(String),
}

impl At {
    fn all(placement: &Placement) -> Vec<Self> {
        if !placement.subnets.is_empty() {
            placement.subnets.iter().cloned().map(Self::Subnet).collect()
        } else if !placement.zones.is_empty() {
            placement.zones.iter().cloned().map(Self::Zone).collect()
        } else {
            vec![Self::Anywhere]
        }
    }

    fn name<'a>(&'a self, placement: &'a Placement) -> &'a str {
        match self {
            Self::Anywhere => &placement.region,
            Self::Zone(name) | Self::Subnet(name) => name,
        }
    }
}

/// How likely an hour of a machine on the spot market ends by the market, as long as nothing else is known. Most types are
/// below 5 % a month in AWS's Spot Instance Advisor, some above 20 %; this is the middle of the worst band, spread over the hours in which
/// machines of a farm run.
const LOSS_PER_HOUR: f64 = 0.01;

impl Offer {
    /// Everything that a template allows, with the types that there are in a region. Names are unique, as long as nothing is
    /// named twice.
    pub(crate) fn all(template: &Template, types: impl Fn(&str) -> Vec<TypeChoice>) -> Vec<Self> {
        let mut markets = Vec::new();
        if template.spot.is_some() {
            markets.push((Market::Spot, "spot"));
        }
        if template.on_demand || template.spot.is_none() {
            markets.push((Market::OnDemand, "on-demand"));
        }
        let mut offers = Vec::new();
        for (index, placement) in template.placements.iter().enumerate() {
            let types = types(&placement.region);
            for at in At::all(placement) {
                for choice in &types {
                    for (market, word) in &markets {
                        offers.push(Self {
                            name: format!("{}/{}/{word}", at.name(placement), choice.name),
                            placement: index,
                            at: at.clone(),
                            instance_type: choice.name.clone(),
                            market: *market,
                            price: choice.price,
                            performance: choice.performance,
                        });
                    }
                }
            }
        }
        offers
    }

    /// Whether a machine that is there was bought as this, by what EC2 says of it.
    pub(crate) fn is_of(&self, region: &str, machine: &Machine, template: &Template) -> bool {
        let said = |key: &str| machine.details.get(key).map(String::as_str);
        let at = match &self.at {
            At::Anywhere => template.placements[self.placement].region == region,
            At::Zone(zone) => said("zone") == Some(zone),
            At::Subnet(subnet) => said("subnet") == Some(subnet),
        };
        let market = if said("market") == Some("spot") { Market::Spot } else { Market::OnDemand };
        at && market == self.market && said("type") == Some(&*self.instance_type)
    }

    /// As the pools see it, at this price and with this bid.
    pub(crate) fn offering(&self, price: Money, bid: Option<Money>) -> Offering {
        Offering {
            name: self.name.clone(),
            instance_type: self.instance_type.clone(),
            family: self.instance_type.split('.').next().unwrap_or_default().to_owned(),
            market: self.market,
            price,
            bid,
            performance: self.performance,
            loss_per_hour: if self.market == Market::Spot { LOSS_PER_HOUR } else { 0.0 },
        }
    }
}
