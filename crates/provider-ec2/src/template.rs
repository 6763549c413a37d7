//! The launch templates that fleets need: what is the same for all machines of a pool in a placement. What differs from call
//! to call (user data, image, tags, types, places) is in the call.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{Mutex, PoisonError},
};

use aws_sdk_ec2::{
    Client,
    operation::create_launch_template::builders::CreateLaunchTemplateFluentBuilder,
    types::{
        LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateEbsBlockDeviceRequest,
        LaunchTemplateHibernationOptionsRequest, LaunchTemplateHttpTokensState,
        LaunchTemplateIamInstanceProfileSpecificationRequest, LaunchTemplateInstanceMetadataEndpointState,
        LaunchTemplateInstanceMetadataOptionsRequest, LaunchTemplateInstanceMetadataTagsState,
        LaunchTemplateInstanceNetworkInterfaceSpecificationRequest, LaunchTemplatePlacementRequest,
        RequestLaunchTemplateData, ResourceType, ShutdownBehavior, Tag, TagSpecification, Tenancy,
        VolumeType,
    },
};
use model::ec2::{BlockDevice, Enrollment};
use pools::{ProviderError, provider::ErrorKind};

use crate::{
    Settings,
    bucket::{self, Class},
    error,
    list::{self, tag},
};

/// Templates that are there, by region and name.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    made: Mutex<HashSet<(String, String)>>,
    /// Regions that were looked through for old ones.
    swept: Mutex<HashSet<String>>,
}

impl Templates {
    /// Makes the template of a placement, unless it is there. Its name.
    pub(crate) async fn ensure(
        &self,
        client: &Client,
        region: &str,
        settings: &Settings,
        placement: usize,
        digest: &str,
    ) -> Result<String, ProviderError> {
        let name = name(settings, placement, digest);
        let key = (region.to_owned(), name);
        if self.made.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
            return Ok(key.1);
        }
        bucket::turn(region, Class::Change).await?;
        if let Err(error) = call(client, settings, placement, &key.1).send().await {
            let refusal = error::told("CreateLaunchTemplate", &error, false);
            if refusal.code != "InvalidLaunchTemplateName.AlreadyExistsException" {
                // Nothing was started, and it may be made again.
                let kind = match refusal.kind {
                    ErrorKind::Transport => ErrorKind::Throttled(None),
                    kind => kind,
                };
                return Err(ProviderError { kind, ..refusal });
            }
        }
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        Ok(key.1)
    }

    /// It is not there (any more).
    pub(crate) fn forget(&self, region: &str, name: &str) {
        let key = (region.to_owned(), name.to_owned());
        self.made.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// Deletes templates of the pool that were not made by this process: what machines were made from before. Once for each
    /// region.
    pub(crate) async fn sweep(
        &self,
        client: &Client,
        region: &str,
        settings: &Settings,
    ) -> Result<(), ProviderError> {
        if !self.swept.lock().unwrap_or_else(PoisonError::into_inner).insert(region.to_owned()) {
            return Ok(());
        }
        let swept = self.delete_old(client, region, settings).await;
        if swept.is_err() {
            self.swept.lock().unwrap_or_else(PoisonError::into_inner).remove(region);
        }
        swept
    }

    async fn delete_old(
        &self,
        client: &Client,
        region: &str,
        settings: &Settings,
    ) -> Result<(), ProviderError> {
        bucket::turn(region, Class::Describe).await?;
        let call = client.describe_launch_templates().set_filters(Some(list::ours(settings)));
        let mut pages = call.into_paginator().items().send();
        let mut found = BTreeSet::new();
        while let Some(template) = pages.next().await {
            let template = template.map_err(|error| error::told("DescribeLaunchTemplates", &error, false))?;
            found.extend(template.launch_template_name);
        }
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for name in found.into_iter().filter(|name| !made.contains(&(region.to_owned(), name.clone()))) {
            bucket::turn(region, Class::Change).await?;
            let call = client.delete_launch_template().launch_template_name(&name);
            call.send().await.map_err(|error| error::told("DeleteLaunchTemplate", &error, false))?;
        }
        Ok(())
    }
}

/// The name of a template says what is in it.
pub(crate) fn name(settings: &Settings, placement: usize, digest: &str) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() || "-._/".contains(c) { c } else { '-' };
    let part = |text: &str, most| text.chars().map(fits).take(most).collect::<String>();
    let (deployment, pool) = (part(&settings.deployment, 36), part(&settings.pool, 40));
    format!("ganger/{deployment}/{pool}/{}/{placement}", part(digest, 24))
}

/// The call that makes it.
pub(crate) fn call(
    client: &Client,
    settings: &Settings,
    placement: usize,
    name: &str,
) -> CreateLaunchTemplateFluentBuilder {
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
    let ours = [(tag::DEPLOYMENT, &settings.deployment), (tag::POOL, &settings.pool)];
    let tags = ours.into_iter().map(|(key, value)| tag(key, value));
    let tags = tags.chain(settings.template.tags.iter().map(|(key, value)| tag(key, value)));
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::LaunchTemplate)
        .set_tags(Some(tags.collect()))
        .build();
    client
        .create_launch_template()
        .launch_template_name(name)
        .launch_template_data(data(settings, placement))
        .tag_specifications(tags)
}

fn data(settings: &Settings, placement: usize) -> RequestLaunchTemplateData {
    let template = &settings.template;
    let placement = &template.placements[placement];
    let (by_id, by_name): (Vec<_>, Vec<_>) =
        placement.security_groups.iter().cloned().partition(|group| group.starts_with("sg-"));
    let tags = match template.enrollment {
        Enrollment::Tags => LaunchTemplateInstanceMetadataTagsState::Enabled,
        Enrollment::Identity | Enrollment::Secret => LaunchTemplateInstanceMetadataTagsState::Disabled,
    };
    let metadata = LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_endpoint(LaunchTemplateInstanceMetadataEndpointState::Enabled)
        .http_tokens(LaunchTemplateHttpTokensState::Required)
        .http_put_response_hop_limit(i32::from(template.hop_limit))
        .instance_metadata_tags(tags)
        .build();
    let mut data = RequestLaunchTemplateData::builder()
        .set_key_name(placement.key_name.clone())
        // A machine that powers itself off is to be gone.
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .metadata_options(metadata)
        .set_iam_instance_profile(template.instance_profile.as_deref().map(profile));
    if let Some(tenancy) = template.tenancy.as_deref() {
        let tenancy = Tenancy::from(tenancy);
        data = data.placement(LaunchTemplatePlacementRequest::builder().tenancy(tenancy).build());
    }
    if template.hibernate {
        let options = LaunchTemplateHibernationOptionsRequest::builder().configured(true).build();
        data = data.hibernation_options(options);
    }
    for device in &template.block_devices {
        data = data.block_device_mappings(block_device(device));
    }
    if let Some(public) = template.public_ip {
        let interface = LaunchTemplateInstanceNetworkInterfaceSpecificationRequest::builder()
            .device_index(0)
            .associate_public_ip_address(public)
            .delete_on_termination(true)
            .set_groups(Some(by_id));
        return data.network_interfaces(interface.build()).build();
    }
    let some = |groups: Vec<String>| (!groups.is_empty()).then_some(groups);
    data.set_security_group_ids(some(by_id)).set_security_groups(some(by_name)).build()
}

fn profile(name: &str) -> LaunchTemplateIamInstanceProfileSpecificationRequest {
    let built = LaunchTemplateIamInstanceProfileSpecificationRequest::builder();
    if name.starts_with("arn:") { built.arn(name).build() } else { built.name(name).build() }
}

fn block_device(device: &BlockDevice) -> LaunchTemplateBlockDeviceMappingRequest {
    let built = LaunchTemplateBlockDeviceMappingRequest::builder().device_name(&device.device);
    if let Some(name) = &device.virtual_name {
        return built.virtual_name(name).build();
    }
    let whole = |number: Option<u32>| number.and_then(|number| i32::try_from(number).ok());
    let ebs = LaunchTemplateEbsBlockDeviceRequest::builder()
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
