//! Buying of several types and places in one call: `CreateFleet` of type `instant`, which answers with what it started and
//! what stood against the rest.

use std::collections::BTreeMap;

use aws_sdk_ec2::{
    Client,
    operation::create_fleet::{CreateFleetOutput, builders::CreateFleetFluentBuilder},
    types::{
        DefaultTargetCapacityType, FleetLaunchTemplateConfigRequest, FleetLaunchTemplateOverridesRequest,
        FleetLaunchTemplateSpecificationRequest, FleetOnDemandAllocationStrategy, FleetType, InstanceType,
        LaunchTemplateAndOverridesResponse, OnDemandOptionsRequest, ResourceType, SpotAllocationStrategy,
        SpotInstanceInterruptionBehavior, SpotOptionsRequest, TargetCapacitySpecificationRequest,
    },
};
use model::{ec2::Fleet, pool::Money};
use pools::{
    Market, ProviderError,
    provider::{ErrorKind, LaunchRequest, Launched, Machine, MachineStatus},
};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    Settings, error, launch,
    offer::{At, Offer},
};

/// The most offers that compete in a call; EC2 takes 300.
const COMPETITORS: usize = 250;

/// An offer that competes, and the most that an hour of it may cost.
pub(crate) type Competitor<'a> = (&'a Offer, Option<Money>);

/// What competes for a request: what is asked for first, and what else there is of its market and placement. Alone when
/// nothing does.
pub(crate) fn competitors<'a>(
    settings: &Settings,
    offers: &'a [Offer],
    first: &'a Offer,
    request: &LaunchRequest,
) -> Vec<Competitor<'a>> {
    let mut competitors = vec![(first, request.price_cap)];
    if settings.template.fleet.is_none() {
        return competitors;
    }
    for other in &request.others {
        let Some(offer) = offers.iter().find(|offer| offer.name == other.offering) else { continue };
        let alike = offer.market == first.market && offer.placement == first.placement;
        let too_dear =
            offer.market == Market::OnDemand && other.price_cap.is_some_and(|cap| cap < offer.price);
        if alike && !too_dear && !competitors.iter().any(|(known, _)| known.name == offer.name) {
            competitors.push((offer, other.price_cap));
        }
    }
    competitors.truncate(COMPETITORS);
    competitors
}

/// The call that starts the machines of a request, by this launch template.
pub(crate) fn call(
    client: &Client,
    settings: &Settings,
    fleet: &Fleet,
    (template, image): (&str, Option<&str>),
    competitors: &[Competitor<'_>],
    user_data: &SecretString,
    request: &LaunchRequest,
) -> CreateFleetFluentBuilder {
    let is_spot = competitors.first().is_some_and(|(offer, _)| offer.market == Market::Spot);
    let specification = FleetLaunchTemplateSpecificationRequest::builder()
        .launch_template_name(template)
        .version("$Default")
        .launch_template_specification_user_data(user_data.expose_secret())
        .build();
    let ranked = (0_u32..).zip(competitors).map(|(rank, (offer, cap))| {
        let (zone, subnet) = match &offer.at {
            At::Anywhere => (None, None),
            At::Zone(zone) => (Some(zone.clone()), None),
            At::Subnet(subnet) => (None, Some(subnet.clone())),
        };
        FleetLaunchTemplateOverridesRequest::builder()
            .instance_type(InstanceType::from(&*offer.instance_type))
            .set_availability_zone(zone)
            .set_subnet_id(subnet)
            .set_image_id(image.map(str::to_owned))
            .set_max_price(cap.filter(|_| is_spot).map(|cap| cap.to_string()))
            .priority(f64::from(rank))
            .build()
    });
    let config = FleetLaunchTemplateConfigRequest::builder()
        .launch_template_specification(specification)
        .set_overrides(Some(ranked.collect()))
        .build();
    let wanted = TargetCapacitySpecificationRequest::builder()
        .total_target_capacity(i32::try_from(request.members.len()).unwrap_or(i32::MAX))
        .default_target_capacity_type(if is_spot {
            DefaultTargetCapacityType::Spot
        } else {
            DefaultTargetCapacityType::OnDemand
        })
        .build();
    let kinds =
        [ResourceType::Fleet, ResourceType::Instance, ResourceType::Volume, ResourceType::NetworkInterface];
    let call = client
        .create_fleet()
        .client_token(&request.token.0)
        .r#type(FleetType::Instant)
        .launch_template_configs(config)
        .target_capacity_specification(wanted)
        .set_tag_specifications(Some(launch::tags(settings, None, request, &kinds)));
    if is_spot {
        let options = SpotOptionsRequest::builder()
            .allocation_strategy(SpotAllocationStrategy::from(&*fleet.spot))
            .instance_interruption_behavior(SpotInstanceInterruptionBehavior::Terminate);
        call.spot_options(options.build())
    } else {
        let strategy = FleetOnDemandAllocationStrategy::from(&*fleet.on_demand);
        call.on_demand_options(OnDemandOptionsRequest::builder().allocation_strategy(strategy).build())
    }
}

/// What came of it. `price` says what an hour of an offer costs now.
pub(crate) fn launched(
    region: &str,
    image: Option<&str>,
    competitors: &[Competitor<'_>],
    request: &LaunchRequest,
    answer: &CreateFleetOutput,
    price: impl Fn(&Offer) -> Money,
) -> Launched {
    let is_spot = competitors.first().is_some_and(|(offer, _)| offer.market == Market::Spot);
    let mut machines = Vec::new();
    for bought in answer.instances() {
        let offer = offer_of(competitors, bought.launch_template_and_overrides());
        let kind = bought.instance_type().map(|kind| kind.as_str().to_owned());
        let details = [
            ("region", Some(region.to_owned())),
            ("image", image.map(str::to_owned)),
            ("type", kind.or_else(|| offer.map(|offer| offer.instance_type.clone()))),
        ];
        let details: BTreeMap<_, _> =
            details.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
        machines.extend(bought.instance_ids().iter().map(|id| Machine {
            provider_id: id.clone(),
            token: Some(request.token.clone()),
            member: None,
            offering: offer.map(|offer| offer.name.clone()),
            template: Some(request.template.clone()),
            status: MachineStatus::Pending,
            launched_at: None,
            price: offer.map(&price),
            details: details.clone(),
        }));
    }
    let mut refused = Vec::<(String, ProviderError)>::new();
    for error in answer.errors() {
        let Some(offer) = offer_of(competitors, error.launch_template_and_overrides()) else { continue };
        if refused.iter().any(|(known, _)| *known == offer.name) {
            continue;
        }
        let code = error.error_code().unwrap_or("Unknown");
        let refusal = error::of_code("CreateFleet", code, error.error_message().unwrap_or(code), is_spot);
        // The call is over: what may be asked for again is asked for with another one.
        let kind = match refusal.kind {
            ErrorKind::Throttled(_) | ErrorKind::Transport => ErrorKind::Capacity,
            kind => kind,
        };
        refused.push((offer.name.clone(), ProviderError { kind, ..refusal }));
    }
    let missing = request.members.len().saturating_sub(machines.len());
    let short = (missing > 0).then(|| short(missing, machines.is_empty(), &refused));
    Launched { machines, open: false, short, refused }
}

/// Why there are fewer machines than asked for.
fn short(missing: usize, none: bool, refused: &[(String, ProviderError)]) -> ProviderError {
    let is_config = |error: &ProviderError| matches!(error.kind, ErrorKind::Config | ErrorKind::Unsupported);
    let is_quota = |error: &ProviderError| matches!(error.kind, ErrorKind::Quota(_));
    if let Some((_, first)) = refused.first()
        && (refused.iter().all(|(_, error)| is_quota(error))
            || (none && refused.iter().all(|(_, error)| is_config(error))))
    {
        return first.clone();
    }
    let code = refused.iter().find(|(_, error)| error.kind == ErrorKind::Capacity);
    let code = code.map_or("InsufficientInstanceCapacity", |(_, error)| &*error.code);
    let mut text = format!("EC2 has {missing} machines fewer than were asked for");
    for (at, (name, error)) in refused.iter().take(3).enumerate() {
        text.push_str(if at == 0 { ": " } else { ", " });
        text.push_str(&format!("{} for {name}", error.code));
    }
    ProviderError::capacity(code, text)
}

/// What was bought, or could not be.
fn offer_of<'a>(
    competitors: &[Competitor<'a>],
    answer: Option<&LaunchTemplateAndOverridesResponse>,
) -> Option<&'a Offer> {
    let overrides = answer?.overrides()?;
    let kind = overrides.instance_type()?.as_str();
    let is_there = |offer: &Offer| match &offer.at {
        At::Anywhere => true,
        At::Zone(zone) => overrides.availability_zone() == Some(&**zone),
        At::Subnet(subnet) => overrides.subnet_id() == Some(&**subnet),
    };
    competitors.iter().map(|(offer, _)| *offer).find(|offer| offer.instance_type == kind && is_there(offer))
}
