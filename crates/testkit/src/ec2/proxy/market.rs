//! The spot market: prices and requests.

use super::{
    Market, Settings,
    server::{Server, xml},
    world::Refusal,
};
use crate::ec2::{moto::Answer, query::Query, xml::Element};

impl Server {
    /// One price for each zone and type that is asked for: today's.
    pub(super) async fn price_history(&self, region: &str, query: &Query) -> Result<Answer, Refusal> {
        let mut zones = self.zones(region).await?;
        let mut kinds: Vec<String> = query.list("InstanceType").into_iter().map(str::to_owned).collect();
        for (name, values) in query.filters() {
            match &*name {
                "availability-zone" => zones.retain(|zone| values.contains(zone)),
                "instance-type" => kinds.extend(values),
                _ => {}
            }
        }
        if !query.get("AvailabilityZone").is_empty() {
            zones.retain(|zone| zone == query.get("AvailabilityZone"));
        }
        let world = self.world();
        if kinds.is_empty() {
            kinds = known_kinds(&world.settings);
        }
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string();
        let mut prices = Vec::new();
        for zone in &zones {
            for kind in &kinds {
                prices.push(Element::with(
                    "item",
                    vec![
                        Element::leaf("instanceType", kind),
                        Element::leaf("productDescription", "Linux/UNIX"),
                        Element::leaf("spotPrice", format!("{:.6}", world.settings.spot_price(zone, kind))),
                        Element::leaf("timestamp", &now),
                        Element::leaf("availabilityZone", zone),
                    ],
                ));
            }
        }
        let answer = vec![Element::with("spotPriceHistorySet", prices), Element::leaf("nextToken", "")];
        Ok(xml(&Element::answer("DescribeSpotPriceHistory", answer)))
    }

    /// The requests of machines that were launched on the spot market.
    pub(super) fn spot_requests(&self, query: &Query) -> Element {
        let named = query.list("SpotInstanceRequestId");
        let filters = query.filters();
        let world = self.world();
        let mut found = Vec::new();
        for (id, machine) in &world.machines {
            let Some(request) = &machine.spot_request else { continue };
            let (state, code) = match (&machine.reason, machine.ended) {
                (_, None) => ("active", "fulfilled"),
                (Some(_), _) => ("closed", "instance-terminated-no-capacity"),
                (None, _) => ("closed", "instance-terminated-by-user"),
            };
            let fits = |(name, values): &(String, Vec<String>)| match &**name {
                "state" => values.iter().any(|value| value == state),
                "instance-id" => values.contains(id),
                "spot-instance-request-id" => values.contains(request),
                _ => true,
            };
            if (named.is_empty() || named.contains(&&**request)) && filters.iter().all(fits) {
                found.push(Element::with(
                    "item",
                    vec![
                        Element::leaf("spotInstanceRequestId", request),
                        Element::leaf("state", state),
                        Element::with("status", vec![Element::leaf("code", code)]),
                        Element::leaf("type", "one-time"),
                        Element::leaf("instanceId", id),
                        Element::leaf("launchedAvailabilityZone", &machine.zone),
                    ],
                ));
            }
        }
        Element::answer("DescribeSpotInstanceRequests", vec![Element::with("spotInstanceRequestSet", found)])
    }

    /// A request that is cancelled leaves its machine running, as on EC2.
    pub(super) fn cancel_spot_requests(&self, query: &Query) -> Element {
        let cancelled = query.list("SpotInstanceRequestId").into_iter().map(|request| {
            Element::with(
                "item",
                vec![Element::leaf("spotInstanceRequestId", request), Element::leaf("state", "cancelled")],
            )
        });
        let set = Element::with("spotInstanceRequestSet", cancelled.collect());
        Element::answer("CancelSpotInstanceRequests", vec![set])
    }
}

fn known_kinds(settings: &Settings) -> Vec<String> {
    let priced = settings.spot_prices.values().flat_map(|types| types.keys().cloned());
    let placed = settings.capacity.iter().filter(|place| place.market == Market::Spot);
    let mut kinds: Vec<String> = priced.chain(placed.map(|place| place.kind.clone())).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}
