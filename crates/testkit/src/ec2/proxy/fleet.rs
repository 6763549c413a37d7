//! `CreateFleet` of type `instant`: buys from several places in one call, and says of each what it got or why not.

use super::{
    Market,
    launch::{Offering, refusal_of},
    server::{Server, xml},
    world::Refusal,
};
use crate::ec2::{moto::Answer, query::Query, xml::Element};

/// What a call gives beside the template.
const USER_DATA: &str = "LaunchTemplateSpecificationUserData";

/// A place that a fleet may buy from.
struct Choice {
    offering: Offering,
    template: Query,
    overrides: Query,
    priority: f64,
}

impl Server {
    /// Called while launches are locked.
    pub(super) async fn create_fleet(&self, region: &str, query: &Query) -> Result<Answer, Refusal> {
        if query.get("Type") != "instant" {
            return Ok(self.moto.ask(region, query).await?);
        }
        let target = query.below("TargetCapacitySpecification");
        let wanted = target.number("TotalTargetCapacity").unwrap_or(0);
        let market = match target.get("DefaultTargetCapacityType") {
            "spot" => Market::Spot,
            _ => Market::OnDemand,
        };
        let options = query.below(if market == Market::Spot { "SpotOptions" } else { "OnDemandOptions" });
        let mut choices = self.choices(region, query, market).await?;
        self.order(&mut choices, options.get("AllocationStrategy"), market);
        let least = options.number("MinTargetCapacity").unwrap_or(0);
        let mut room = 0_usize;
        for choice in &choices {
            room = room.saturating_add(self.places(region, &choice.offering, 1, wanted).await.unwrap_or(0));
        }
        let (mut bought, mut errors, mut missing) = (Vec::new(), Vec::new(), wanted);
        for choice in &choices {
            if missing == 0 {
                break;
            }
            let part = if room < least {
                Err(Refusal::capacity(&choice.offering.kind, &choice.offering.zone))
            } else {
                self.buy_of(region, query, choice, missing).await
            };
            match part {
                Ok(ids) => {
                    missing = missing.saturating_sub(ids.len());
                    bought.push(item(choice, market, ids));
                }
                Err(refusal) => errors.push(error(choice, market, &refusal)),
            }
        }
        let id = format!("fleet-{:08x}-1111-2222-3333-444444444444", self.world().calls.len());
        Ok(xml(&Element::answer(
            "CreateFleet",
            vec![
                Element::leaf("fleetId", id),
                Element::with("errorSet", errors),
                Element::with("fleetInstanceSet", bought),
            ],
        )))
    }

    async fn choices(&self, region: &str, query: &Query, market: Market) -> Result<Vec<Choice>, Refusal> {
        let mut choices = Vec::new();
        for number in query.numbers("LaunchTemplateConfigs") {
            let configured = query.below(&format!("LaunchTemplateConfigs.{number}"));
            let template = configured.below("LaunchTemplateSpecification");
            let data = self.template(region, &template).await?;
            let mut overrides: Vec<Query> = configured
                .numbers("Overrides")
                .iter()
                .map(|number| configured.below(&format!("Overrides.{number}")))
                .collect();
            if overrides.is_empty() {
                overrides.push(Query::default());
            }
            for overrides in overrides {
                let mut place = overrides.clone();
                if !overrides.get("AvailabilityZone").is_empty() {
                    place.set("Placement.AvailabilityZone", overrides.get("AvailabilityZone"));
                }
                let zone = match self.zone(region, &place).await? {
                    Some(zone) => zone,
                    None => self.zones(region).await?.into_iter().next().unwrap_or_default(),
                };
                let kind = match overrides.get("InstanceType") {
                    "" => data.get("instanceType"),
                    kind => kind,
                };
                let max_price = match overrides.get("MaxPrice") {
                    "" => data.get("instanceMarketOptions/spotOptions/maxPrice"),
                    price => price,
                };
                let offering =
                    Offering { zone, kind: kind.to_owned(), market, max_price: max_price.parse().ok() };
                let priority = overrides.get("Priority").parse().unwrap_or(f64::MAX);
                choices.push(Choice { offering, template: template.clone(), overrides, priority });
            }
        }
        Ok(choices)
    }

    fn order(&self, choices: &mut [Choice], strategy: &str, market: Market) {
        let world = self.world();
        let price = |choice: &Choice| world.settings.spot_price(&choice.offering.zone, &choice.offering.kind);
        if strategy.to_ascii_lowercase().contains("prioritized") {
            choices.sort_by(|a, b| a.priority.total_cmp(&b.priority));
        } else if market == Market::Spot {
            choices.sort_by(|a, b| price(a).total_cmp(&price(b)));
        }
    }

    async fn buy_of(
        &self,
        region: &str,
        fleet: &Query,
        choice: &Choice,
        missing: usize,
    ) -> Result<Vec<String>, Refusal> {
        let mut query = Query::new("RunInstances", &[("InstanceType", &choice.offering.kind)]);
        for (name, value) in &choice.template.0 {
            match &**name {
                USER_DATA => query.set("UserData", value),
                name => query.set(&format!("LaunchTemplate.{name}"), value),
            }
        }
        for (name, value) in &fleet.0 {
            if name.starts_with("TagSpecification") || name == "ClientToken" {
                query.set(name, value);
            }
        }
        for name in ["ImageId", "SubnetId"] {
            if !choice.overrides.get(name).is_empty() {
                query.set(name, choice.overrides.get(name));
            }
        }
        let query = self.with_template(region, &query).await?;
        let answer = self.buy(region, query, &choice.offering, 1, missing).await?;
        if let Some(refusal) = refusal_of(&answer) {
            return Err(refusal);
        }
        let answer = Element::parse(&answer.body)?;
        Ok(answer.items("instancesSet").map(|instance| instance.get("instanceId").to_owned()).collect())
    }
}

fn described(choice: &Choice, market: Market) -> Vec<Element> {
    let template = choice.template.0.iter().filter(|(name, _)| *name != USER_DATA);
    let template = template.map(|(name, value)| Element::leaf(&lower(name), value));
    let overrides = choice.overrides.0.iter().map(|(name, value)| Element::leaf(&lower(name), value));
    let chosen = Element::with(
        "launchTemplateAndOverrides",
        vec![
            Element::with("launchTemplateSpecification", template.collect()),
            Element::with("overrides", overrides.collect()),
        ],
    );
    let lifecycle = if market == Market::Spot { "spot" } else { "on-demand" };
    vec![chosen, Element::leaf("lifecycle", lifecycle)]
}

fn item(choice: &Choice, market: Market, ids: Vec<String>) -> Element {
    let mut parts = described(choice, market);
    let ids = ids.into_iter().map(|id| Element::leaf("item", id)).collect();
    parts.push(Element::with("instanceIds", ids));
    parts.push(Element::leaf("instanceType", &choice.offering.kind));
    Element::with("item", parts)
}

fn error(choice: &Choice, market: Market, refusal: &Refusal) -> Element {
    let mut parts = described(choice, market);
    parts.push(Element::leaf("errorCode", &refusal.code));
    parts.push(Element::leaf("errorMessage", &refusal.message));
    Element::with("item", parts)
}

fn lower(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
