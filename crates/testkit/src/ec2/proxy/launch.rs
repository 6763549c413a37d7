//! `RunInstances`: tokens, counts, prices, capacity, quotas.

use std::{sync::Arc, time::Instant};

use super::{
    Market,
    server::{Server, xml},
    world::{Machine, Refusal},
};
use crate::ec2::{moto::Answer, query::Query, xml::Element};

/// Where and what is bought.
#[derive(Clone, Debug)]
pub(super) struct Offering {
    pub(super) zone: String,
    pub(super) kind: String,
    pub(super) market: Market,
    pub(super) max_price: Option<f64>,
}

impl Server {
    /// Launches, once for each token.
    pub(super) async fn launch_once(&self, region: &str, query: &Query) -> Result<Answer, Refusal> {
        let token = query.get("ClientToken");
        if token.is_empty() {
            return self.launch(region, query).await;
        }
        let key = (region.to_owned(), query.get("Action").to_owned(), token.to_owned());
        let tokened = Arc::clone(self.world().tokens.entry(key).or_default());
        let mut tokened = tokened.lock().await;
        if let Some((asked, answer)) = &*tokened {
            if asked != query {
                return Err(Refusal::new(
                    400,
                    "IdempotentParameterMismatch",
                    "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
                ));
            }
            return Ok(self.again(answer)?);
        }
        let answer = self.launch(region, query).await?;
        if answer.status.is_success() {
            *tokened = Some((query.clone(), answer.clone()));
        }
        Ok(answer)
    }

    /// The same answer, with the states that machines have by now.
    fn again(&self, answer: &Answer) -> anyhow::Result<Answer> {
        let mut answer = Element::parse(&answer.body)?;
        if let Some(instances) = answer.find_mut("instancesSet") {
            let world = self.world();
            instances.children.iter_mut().for_each(|instance| world.correct(instance));
        }
        Ok(xml(&answer))
    }

    async fn launch(&self, region: &str, query: &Query) -> Result<Answer, Refusal> {
        let _alone = self.launches.lock().await;
        if query.get("Action") == "CreateFleet" {
            return self.create_fleet(region, query).await;
        }
        if query.get("DryRun") == "true" {
            return Ok(self.moto.ask(region, query).await?);
        }
        let (min, max) = (query.number("MinCount").unwrap_or(1), query.number("MaxCount").unwrap_or(1));
        if min == 0 || max < min {
            let message = "MinCount must be at least 1 and no more than MaxCount";
            return Err(Refusal::new(400, "InvalidParameterValue", message));
        }
        let query = self.with_template(region, query).await?;
        let offering = self.offering(region, &query, min).await?;
        self.buy(region, query, &offering, min, max).await
    }

    /// Starts as many machines as a call gets.
    pub(super) async fn buy(
        &self,
        region: &str,
        query: Query,
        offering: &Offering,
        min: usize,
        max: usize,
    ) -> Result<Answer, Refusal> {
        let count = self.places(region, offering, min, max).await?;
        self.world().take("RunInstances:resources", count)?;
        self.run(region, query, offering, count).await
    }

    /// How many machines a call gets.
    pub(super) async fn places(
        &self,
        region: &str,
        offering: &Offering,
        min: usize,
        max: usize,
    ) -> Result<usize, Refusal> {
        let Offering { zone, kind, market, max_price } = offering;
        let vcpus = self.vcpus(region, kind).await?;
        let world = self.world();
        let price = world.settings.spot_price(zone, kind);
        if let Some(most) = max_price.filter(|most| *market == Market::Spot && *most < price) {
            let message = format!(
                "Your Spot request price of {most} is lower than the minimum required Spot request fulfillment price of {price}."
            );
            return Err(Refusal::new(400, "SpotMaxPriceTooLow", message));
        }
        let quota = world.quota(*market, vcpus);
        if quota < min {
            return Err(match market {
                Market::Spot => {
                    Refusal::new(400, "MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
                }
                Market::OnDemand => Refusal::new(
                    400,
                    "VcpuLimitExceeded",
                    "You have requested more vCPU capacity than your current vCPU limit allows for the instance bucket \
                     that the specified instance type belongs to.",
                ),
            });
        }
        let room = world.room(zone, kind, *market);
        if room < min {
            return Err(Refusal::capacity(kind, zone));
        }
        Ok(max.min(quota).min(room))
    }

    /// Lets moto make machines, and writes them down.
    async fn run(
        &self,
        region: &str,
        mut query: Query,
        offering: &Offering,
        count: usize,
    ) -> Result<Answer, Refusal> {
        let token = query.get("ClientToken").to_owned();
        query.set("MinCount", count.to_string());
        query.set("MaxCount", count.to_string());
        if offering.market == Market::Spot {
            query.set("InstanceMarketOptions.MarketType", "spot");
        }
        if !offering.zone.is_empty() && subnet(&query).is_empty() {
            query.set("Placement.AvailabilityZone", &offering.zone);
        }
        let vcpus = self.vcpus(region, &offering.kind).await?;
        let launched = Instant::now();
        let answer = self.moto.ask(region, &query).await?;
        if !answer.status.is_success() {
            return Ok(answer);
        }
        let mut answer = Element::parse(&answer.body)?;
        let mut world = self.world();
        for instance in answer.find_mut("instancesSet").into_iter().flat_map(|set| &mut set.children) {
            let id = instance.get("instanceId").to_owned();
            let spot_request = (offering.market == Market::Spot)
                .then(|| format!("sir-{}", id.trim_start_matches("i-").chars().take(8).collect::<String>()));
            let machine = Machine {
                zone: instance.get("placement/availabilityZone").to_owned(),
                kind: offering.kind.clone(),
                market: offering.market,
                vcpus,
                token: token.clone(),
                spot_request,
                launched,
                ended: None,
                reason: None,
            };
            world.machines.insert(id, machine);
            world.correct(instance);
        }
        Ok(xml(&answer))
    }

    /// With what moto does not take from a launch template.
    pub(super) async fn with_template(&self, region: &str, query: &Query) -> Result<Query, Refusal> {
        let mut query = query.clone();
        let template = query.below("LaunchTemplate");
        if template.0.is_empty() {
            return Ok(query);
        }
        let data = self.template(region, &template).await?;
        for (parameter, path) in [
            ("InstanceType", "instanceType"),
            ("InstanceInitiatedShutdownBehavior", "instanceInitiatedShutdownBehavior"),
            ("InstanceMarketOptions.MarketType", "instanceMarketOptions/marketType"),
            ("InstanceMarketOptions.SpotOptions.MaxPrice", "instanceMarketOptions/spotOptions/maxPrice"),
            ("MetadataOptions.HttpTokens", "metadataOptions/httpTokens"),
            ("MetadataOptions.HttpPutResponseHopLimit", "metadataOptions/httpPutResponseHopLimit"),
            ("MetadataOptions.InstanceMetadataTags", "metadataOptions/instanceMetadataTags"),
            ("IamInstanceProfile.Name", "iamInstanceProfile/name"),
            ("IamInstanceProfile.Arn", "iamInstanceProfile/arn"),
        ] {
            if query.get(parameter).is_empty() && !data.get(path).is_empty() {
                query.set(parameter, data.get(path));
            }
        }
        Ok(query)
    }

    /// What a version of a launch template holds.
    pub(super) async fn template(&self, region: &str, template: &Query) -> Result<Element, Refusal> {
        let mut ask = Query::new("DescribeLaunchTemplateVersions", &[]);
        for name in ["LaunchTemplateId", "LaunchTemplateName"] {
            if !template.get(name).is_empty() {
                ask.set(name, template.get(name));
            }
        }
        let version = template.get("Version");
        ask.set("LaunchTemplateVersion.1", if version.is_empty() { "$Default" } else { version });
        let answer = self.moto.ask(region, &ask).await?;
        let found = Element::parse(&answer.body)?;
        let data =
            found.items("launchTemplateVersionSet").next().and_then(|item| item.find("launchTemplateData"));
        data.cloned().ok_or_else(|| {
            let code = match template.get("LaunchTemplateName") {
                "" => "InvalidLaunchTemplateId.NotFound",
                _ => "InvalidLaunchTemplateName.NotFoundException",
            };
            Refusal::new(400, code, "The specified launch template does not exist.")
        })
    }

    /// What a call asks for; the first zone with room where it names none.
    async fn offering(&self, region: &str, query: &Query, min: usize) -> Result<Offering, Refusal> {
        let kind = match query.get("InstanceType") {
            "" => "m1.small",
            kind => kind,
        };
        let market = match query.get("InstanceMarketOptions.MarketType") {
            "spot" => Market::Spot,
            _ => Market::OnDemand,
        };
        let zone = self.zone(region, query).await?;
        let zone = match zone {
            Some(zone) => zone,
            None => {
                let zones = self.zones(region).await?;
                let world = self.world();
                let free = zones.iter().find(|zone| world.room(zone, kind, market) >= min);
                free.or_else(|| zones.first()).cloned().unwrap_or_default()
            }
        };
        let max_price = query.get("InstanceMarketOptions.SpotOptions.MaxPrice").parse().ok();
        Ok(Offering { zone, kind: kind.to_owned(), market, max_price })
    }

    /// The zone that a call names, by itself or by a subnet.
    pub(super) async fn zone(&self, region: &str, query: &Query) -> Result<Option<String>, Refusal> {
        let subnet = subnet(query);
        if subnet.is_empty() {
            let zone = query.get("Placement.AvailabilityZone");
            return Ok((!zone.is_empty()).then(|| zone.to_owned()));
        }
        let ask = Query::new("DescribeSubnets", &[("SubnetId.1", subnet)]);
        let answer = self.moto.ask(region, &ask).await?;
        let found = Element::parse(&answer.body)?;
        match found.items("subnetSet").next() {
            Some(found) => Ok(Some(found.get("availabilityZone").to_owned())),
            None => Err(Refusal::new(
                400,
                "InvalidSubnetID.NotFound",
                format!("The subnet ID '{subnet}' does not exist"),
            )),
        }
    }

    pub(super) async fn zones(&self, region: &str) -> Result<Vec<String>, Refusal> {
        let answer = self.moto.call_in(region, &Query::new("DescribeAvailabilityZones", &[])).await?;
        Ok(answer.items("availabilityZoneInfo").map(|zone| zone.get("zoneName").to_owned()).collect())
    }

    /// The virtual processors of a type; none where there is no quota, since nobody asks then.
    async fn vcpus(&self, region: &str, kind: &str) -> Result<usize, Refusal> {
        if self.world().settings.vcpus.is_empty() {
            return Ok(0);
        }
        let ask = Query::new("DescribeInstanceTypes", &[("InstanceType.1", kind)]);
        let answer = self.moto.call_in(region, &ask).await?;
        let found = answer.items("instanceTypeSet").next();
        Ok(found.and_then(|kind| kind.get("vCpuInfo/defaultVCpus").parse().ok()).unwrap_or(1))
    }

    pub(super) async fn terminate(&self, region: &str, query: &Query) -> Result<Answer, Refusal> {
        let answer = self.moto.ask(region, query).await?;
        if !answer.status.is_success() {
            return Ok(answer);
        }
        let mut answer = Element::parse(&answer.body)?;
        let mut world = self.world();
        for instance in answer.find_mut("instancesSet").into_iter().flat_map(|set| &mut set.children) {
            let id = instance.get("instanceId").to_owned();
            let before = world.machines.get(&id).is_none_or(|machine| machine.ended.is_none());
            world.end(&id, None);
            if before && let Some(state) = instance.find_mut("currentState") {
                state.set("code", "32");
                state.set("name", "shutting-down");
            }
        }
        Ok(xml(&answer))
    }
}

fn subnet(query: &Query) -> &str {
    match query.get("SubnetId") {
        "" => query.get("NetworkInterface.1.SubnetId"),
        subnet => subnet,
    }
}

/// What an answer of moto refuses, when it does.
pub(super) fn refusal_of(answer: &Answer) -> Option<Refusal> {
    if answer.status.is_success() {
        return None;
    }
    let error = Element::parse(&answer.body).unwrap_or_default();
    let (code, message) = (error.get("Errors/Error/Code"), error.get("Errors/Error/Message"));
    let code = if code.is_empty() { "InternalError" } else { code };
    Some(Refusal::new(answer.status.as_u16(), code, message))
}
