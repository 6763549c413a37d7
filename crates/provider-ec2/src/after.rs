//! What a machine gets once it runs: an address, volumes that were there before, and, where its tags tell it who it is,
//! those tags.

use aws_sdk_ec2::{
    Client,
    types::{Filter, Tag},
};
use jiff::{SignedDuration, Timestamp};
use pools::{
    ProviderError,
    provider::{LaunchRequest, Machine, MachineStatus},
};
use secrecy::ExposeSecret;

use crate::{
    Settings,
    bucket::{self, Class},
    clock, error,
    list::tag,
};

/// Tells each machine by its tags whose row it is and what it proves that with. Returns them as they are then.
pub(crate) async fn name_by_tags(
    client: &Client,
    region: &str,
    request: &LaunchRequest,
    machines: Vec<Machine>,
) -> Result<Vec<Machine>, ProviderError> {
    let taken: Vec<_> = machines.iter().filter_map(|machine| machine.member).collect();
    let mut free = request.members.iter().filter(|member| !taken.contains(&member.instance));
    let mut named = Vec::with_capacity(machines.len());
    for mut machine in machines {
        if machine.member.is_none()
            && let Some(member) = free.next()
        {
            let Some(secret) = &member.secret else {
                // Nobody can tell it any more: it does not enroll, and goes.
                named.push(machine);
                continue;
            };
            bucket::turn(region, Class::Change).await?;
            let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
            client
                .create_tags()
                .resources(&machine.provider_id)
                .tags(tag(tag::INSTANCE, &member.instance.to_string()))
                .tags(tag(tag::SECRET, secret.expose_secret()))
                .send()
                .await
                .map_err(|error| error::told("CreateTags", &error, false))?;
            machine.member = Some(member.instance);
        }
        named.push(machine);
    }
    Ok(named)
}

/// The master is here for at least so long, as far as those know who look for what was forgotten.
const AHEAD: SignedDuration = SignedDuration::from_hours(48);

/// The tag is written again when no more of that is left.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// The most machines in a call.
const TAGGED: usize = 500;

/// Says on machines until when they are surely somebody's, once a day.
pub(crate) async fn extend(client: &Client, region: &str, machines: &[Machine]) -> Result<(), ProviderError> {
    let Ok(now) = Timestamp::from_second(clock::now().epoch_seconds()) else { return Ok(()) };
    let is_due = |machine: &&Machine| {
        let said = machine.details.get("expires").and_then(|at| at.parse::<Timestamp>().ok());
        let going = matches!(machine.status, MachineStatus::Terminated | MachineStatus::ShuttingDown);
        !going && said.is_none_or(|at| at.duration_since(now) < DAY)
    };
    let due: Vec<_> = machines.iter().filter(is_due).map(|machine| machine.provider_id.clone()).collect();
    let until = now.saturating_add(AHEAD).map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let Ok(until) = until else { return Ok(()) };
    for ids in due.chunks(TAGGED) {
        bucket::turn(region, Class::Change).await?;
        let tag = Tag::builder().key(tag::EXPIRES).value(&until).build();
        let call = client.create_tags().set_resources(Some(ids.to_vec())).tags(tag);
        call.send().await.map_err(|error| error::told("CreateTags", &error, false))?;
    }
    Ok(())
}

/// Takes the secret from a machine's tags, once it must have been used.
pub(crate) async fn forget_secret(client: &Client, region: &str, id: &str) -> Result<(), ProviderError> {
    bucket::turn(region, Class::Change).await?;
    let call = client.delete_tags().resources(id).tags(Tag::builder().key(tag::SECRET).build());
    call.send().await.map(drop).map_err(|error| error::told("DeleteTags", &error, false))
}

/// Gives machines that run what they do not have yet: addresses while there are any, volumes to the one that there is.
pub(crate) async fn equip(
    client: &Client,
    region: &str,
    settings: &Settings,
    machines: &[Machine],
) -> Result<(), ProviderError> {
    let template = &settings.template;
    let mut running = machines.iter().filter(|machine| machine.status == MachineStatus::Running);
    if !template.elastic_ips.is_empty() {
        addresses(client, region, &template.elastic_ips, running.clone()).await?;
    }
    if let Some(machine) = running.next() {
        for wanted in &template.attach {
            bucket::turn(region, Class::Describe).await?;
            let found = client.describe_volumes().volume_ids(&wanted.volume).send().await;
            let found = found.map_err(|error| error::told("DescribeVolumes", &error, false))?;
            if found.volumes().iter().any(|volume| !volume.attachments().is_empty()) {
                continue;
            }
            bucket::turn(region, Class::Change).await?;
            let call = client
                .attach_volume()
                .volume_id(&wanted.volume)
                .instance_id(&machine.provider_id)
                .device(&wanted.device);
            call.send().await.map_err(|error| error::told("AttachVolume", &error, false))?;
        }
    }
    Ok(())
}

async fn addresses<'a>(
    client: &Client,
    region: &str,
    wanted: &[String],
    running: impl Iterator<Item = &'a Machine>,
) -> Result<(), ProviderError> {
    bucket::turn(region, Class::Describe).await?;
    let (ids, ips): (Vec<_>, Vec<_>) = wanted.iter().cloned().partition(|name| name.starts_with("eipalloc-"));
    let mut found = Vec::new();
    for (name, values) in [("allocation-id", ids), ("public-ip", ips)] {
        if values.is_empty() {
            continue;
        }
        let filter = Filter::builder().name(name).set_values(Some(values)).build();
        let answer = client.describe_addresses().filters(filter).send().await;
        let answer = answer.map_err(|error| error::told("DescribeAddresses", &error, false))?;
        found.extend(answer.addresses.unwrap_or_default());
    }
    let has =
        |machine: &&Machine| found.iter().any(|address| address.instance_id() == Some(&*machine.provider_id));
    let without: Vec<_> = running.filter(|machine| !has(machine)).collect();
    let free = found.iter().filter(|address| address.association_id().is_none());
    for (machine, address) in without.into_iter().zip(free) {
        bucket::turn(region, Class::Change).await?;
        let call = client
            .associate_address()
            .instance_id(&machine.provider_id)
            .set_allocation_id(address.allocation_id.clone())
            .allow_reassociation(false);
        call.send().await.map_err(|error| error::told("AssociateAddress", &error, false))?;
    }
    Ok(())
}
