//! Starting machines: `RunInstances`.

use aws_sdk_ec2::{
    Client,
    operation::run_instances::builders::RunInstancesFluentBuilder,
    types::{
        BlockDeviceMapping, EbsBlockDevice, HibernationOptionsRequest, HttpTokensState,
        IamInstanceProfileSpecification, InstanceInterruptionBehavior, InstanceMarketOptionsRequest,
        InstanceMetadataEndpointState, InstanceMetadataOptionsRequest, InstanceMetadataTagsState,
        InstanceNetworkInterfaceSpecification, InstanceType, LaunchTemplateSpecification, MarketType,
        Placement, ResourceType, ShutdownBehavior, SpotInstanceType, SpotMarketOptions, Tag,
        TagSpecification, Tenancy, VolumeType,
    },
};
use model::ec2::{BlockDevice, Enrollment, LaunchTemplate, Template};
use pools::{Market, provider::LaunchRequest};
use secrecy::{ExposeSecret, SecretString};

use crate::{
    Settings,
    list::tag,
    offer::{At, Offer},
};

/// The call that starts the machines of a request: the same each time, as its token demands.
pub(crate) fn call(
    client: &Client,
    settings: &Settings,
    offer: &Offer,
    image: Option<String>,
    user_data: &SecretString,
    request: &LaunchRequest,
) -> RunInstancesFluentBuilder {
    let template = &settings.template;
    let placement = &template.placements[offer.placement];
    let (by_id, by_name): (Vec<_>, Vec<_>) =
        placement.security_groups.iter().cloned().partition(|group| group.starts_with("sg-"));
    let subnet = match &offer.at {
        At::Subnet(subnet) => Some(subnet.clone()),
        At::Zone(_) | At::Anywhere => None,
    };
    let mut kinds = vec![ResourceType::Instance, ResourceType::Volume, ResourceType::NetworkInterface];
    if offer.market == Market::Spot {
        kinds.push(ResourceType::SpotInstancesRequest);
    }
    let mut call = client
        .run_instances()
        .client_token(&request.token.0)
        .min_count(1)
        .max_count(i32::try_from(request.members.len()).unwrap_or(i32::MAX))
        .instance_type(InstanceType::from(&*offer.instance_type))
        .set_image_id(image)
        .set_key_name(placement.key_name.clone())
        .user_data(user_data.expose_secret())
        // A machine that powers itself off is to be gone.
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .metadata_options(metadata(template))
        .set_launch_template(template.launch_template.as_ref().map(launch_template))
        .set_iam_instance_profile(template.instance_profile.as_deref().map(profile))
        .set_tag_specifications(Some(tags(settings, Some(offer), request, &kinds)));
    if let Some(public) = template.public_ip {
        let interface = InstanceNetworkInterfaceSpecification::builder()
            .device_index(0)
            .associate_public_ip_address(public)
            .delete_on_termination(true)
            .set_subnet_id(subnet)
            .set_groups(Some(by_id))
            .build();
        call = call.network_interfaces(interface);
    } else {
        call = call.set_subnet_id(subnet);
        for group in by_id {
            call = call.security_group_ids(group);
        }
        for group in by_name {
            call = call.security_groups(group);
        }
    }
    let zone = match &offer.at {
        At::Zone(zone) => Some(zone.clone()),
        At::Subnet(_) | At::Anywhere => None,
    };
    if zone.is_some() || template.tenancy.is_some() {
        let tenancy = template.tenancy.as_deref().map(Tenancy::from);
        call = call.placement(Placement::builder().set_availability_zone(zone).set_tenancy(tenancy).build());
    }
    if template.hibernate {
        call = call.hibernation_options(HibernationOptionsRequest::builder().configured(true).build());
    }
    for device in &template.block_devices {
        call = call.block_device_mappings(block_device(device));
    }
    if offer.market == Market::Spot {
        let spot = SpotMarketOptions::builder()
            .spot_instance_type(SpotInstanceType::OneTime)
            .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate)
            .set_max_price(request.price_cap.map(|cap| cap.to_string()))
            .build();
        call = call.instance_market_options(
            InstanceMarketOptionsRequest::builder().market_type(MarketType::Spot).spot_options(spot).build(),
        );
    }
    call
}

/// Version 2 of the metadata service only, which builds in containers cannot reach.
fn metadata(template: &Template) -> InstanceMetadataOptionsRequest {
    let tags = match template.enrollment {
        Enrollment::Tags => InstanceMetadataTagsState::Enabled,
        Enrollment::Identity | Enrollment::Secret => InstanceMetadataTagsState::Disabled,
    };
    InstanceMetadataOptionsRequest::builder()
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(i32::from(template.hop_limit))
        .instance_metadata_tags(tags)
        .build()
}

fn launch_template(template: &LaunchTemplate) -> LaunchTemplateSpecification {
    let built = LaunchTemplateSpecification::builder().version(&template.version);
    if template.template.starts_with("lt-") {
        built.launch_template_id(&template.template).build()
    } else {
        built.launch_template_name(&template.template).build()
    }
}

fn profile(name: &str) -> IamInstanceProfileSpecification {
    let built = IamInstanceProfileSpecification::builder();
    if name.starts_with("arn:") { built.arn(name).build() } else { built.name(name).build() }
}

fn block_device(device: &BlockDevice) -> BlockDeviceMapping {
    let built = BlockDeviceMapping::builder().device_name(&device.device);
    if let Some(name) = &device.virtual_name {
        return built.virtual_name(name).build();
    }
    let whole = |number: Option<u32>| number.and_then(|number| i32::try_from(number).ok());
    let ebs = EbsBlockDevice::builder()
        .set_volume_size(whole(device.size))
        .set_volume_type(device.kind.as_deref().map(VolumeType::from))
        .set_iops(whole(device.iops))
        .set_throughput(whole(device.throughput))
        .set_encrypted(device.encrypted)
        .set_snapshot_id(device.snapshot.clone())
        .delete_on_termination(device.delete_on_termination)
        .build();
    built.ebs(ebs).build()
}

/// The same tags on all that the call makes. What was bought is no tag where that shows only in the answer.
pub(crate) fn tags(
    settings: &Settings,
    offer: Option<&Offer>,
    request: &LaunchRequest,
    kinds: &[ResourceType],
) -> Vec<TagSpecification> {
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let mut tags = vec![
        tag("Name", &settings.pool),
        tag(tag::DEPLOYMENT, &settings.deployment),
        tag(tag::POOL, &settings.pool),
        tag(tag::TOKEN, &request.token.0),
        tag(tag::TEMPLATE, &request.template),
    ];
    tags.extend(offer.map(|offer| tag(tag::OFFERING, &offer.name)));
    if settings.template.enrollment == Enrollment::Secret
        && let [member] = &request.members[..]
    {
        tags.push(tag(tag::INSTANCE, &member.instance.to_string()));
    }
    for (key, value) in &settings.template.tags {
        tags.retain(|tag| tag.key() != Some(key));
        tags.push(tag(key, value));
    }
    let with = |kind: &ResourceType| {
        TagSpecification::builder().resource_type(kind.clone()).set_tags(Some(tags.clone())).build()
    };
    kinds.iter().map(with).collect()
}
