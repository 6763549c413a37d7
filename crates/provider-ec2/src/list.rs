//! Machines as EC2 shows them.

use std::collections::BTreeMap;

use aws_sdk_ec2::{
    Client,
    types::{Filter, Instance, InstanceStateName, Reservation},
};
use model::{InstanceId, Time};
use pools::{
    ProviderError, Token,
    provider::{Machine, MachineStatus},
};

use crate::{
    Settings,
    bucket::{self, Class},
    error,
};

/// Tags that say what a machine is.
pub(crate) mod tag {
    /// The installation that it belongs to.
    pub(crate) const DEPLOYMENT: &str = "ganger:deployment";
    /// Its pool.
    pub(crate) const POOL: &str = "ganger:pool";
    /// The call that it came from.
    pub(crate) const TOKEN: &str = "ganger:token";
    /// What it was made from.
    pub(crate) const TEMPLATE: &str = "ganger:template";
    /// What was bought.
    pub(crate) const OFFERING: &str = "ganger:offering";
    /// Its row in the ledger, when it is the only machine of its call or was told by its tags.
    pub(crate) const INSTANCE: &str = "ganger:instance";
    /// When it may be ended by whoever looks for what was forgotten.
    pub(crate) const EXPIRES: &str = "ganger:expires";
    /// A one-time secret, until it was used.
    pub(crate) const SECRET: &str = "ganger:secret";
}

/// The tags that machines of a pool have.
pub(crate) fn ours(settings: &Settings) -> Vec<Filter> {
    vec![by_tag(tag::DEPLOYMENT, &settings.deployment), by_tag(tag::POOL, &settings.pool)]
}

/// The tag that machines of a call have.
pub(crate) fn of_call(token: &Token) -> Filter {
    by_tag(tag::TOKEN, &token.0)
}

fn by_tag(name: &str, value: &str) -> Filter {
    Filter::builder().name(format!("tag:{name}")).values(escaped(value)).build()
}

/// A filter takes `*` and `?` for what they stand for.
fn escaped(value: &str) -> String {
    value.chars().fold(String::with_capacity(value.len()), |mut text, c| {
        if matches!(c, '*' | '?' | '\\') {
            text.push('\\');
        }
        text.push(c);
        text
    })
}

/// All machines that these filters let through: every page.
pub(crate) async fn machines(
    client: &Client,
    region: &str,
    filters: Vec<Filter>,
) -> Result<Vec<Machine>, ProviderError> {
    bucket::turn(region, Class::Describe).await?;
    let mut pages =
        client.describe_instances().set_filters(Some(filters)).max_results(1000).into_paginator().send();
    let mut machines = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| error::told("DescribeInstances", &error, false))?;
        for reservation in page.reservations() {
            machines.extend(of_reservation(region, reservation));
        }
    }
    Ok(machines)
}

fn of_reservation(region: &str, reservation: &Reservation) -> Vec<Machine> {
    let of = |instance| machine(region, reservation.owner_id(), instance);
    reservation.instances().iter().filter_map(of).collect()
}

/// An instance as the pools see it. `None` for one without an id, which EC2 does not have.
pub(crate) fn machine(region: &str, account: Option<&str>, instance: &Instance) -> Option<Machine> {
    let tag = |name| {
        instance
            .tags()
            .iter()
            .find(|tag| tag.key() == Some(name))
            .and_then(|tag| tag.value())
            .map(str::to_owned)
    };
    let zone = instance.placement().and_then(|placement| placement.availability_zone());
    let expires = tag(tag::EXPIRES);
    let details = [
        ("expires", expires.as_deref()),
        ("address", instance.public_ip_address()),
        ("private-address", instance.private_ip_address()),
        ("zone", zone),
        ("subnet", instance.subnet_id()),
        ("market", instance.instance_lifecycle().map(|kind| kind.as_str())),
        ("region", Some(region)),
        ("type", instance.instance_type().map(|name| name.as_str())),
        ("image", instance.image_id()),
        ("account", account),
        ("reason", instance.state_transition_reason().filter(|reason| !reason.is_empty())),
    ];
    let details = details.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    Some(Machine {
        provider_id: instance.instance_id()?.to_owned(),
        token: tag(tag::TOKEN).map(Token),
        member: tag(tag::INSTANCE).and_then(|id| id.parse().ok()).map(InstanceId),
        offering: tag(tag::OFFERING),
        template: tag(tag::TEMPLATE),
        status: status(instance),
        launched_at: instance
            .launch_time()
            .and_then(|time| Some(Time::from_micros(time.to_millis().ok()? * 1000))),
        price: None,
        details: details.collect::<BTreeMap<_, _>>(),
    })
}

fn status(instance: &Instance) -> MachineStatus {
    match instance.state().and_then(|state| state.name()) {
        Some(InstanceStateName::Pending) => MachineStatus::Pending,
        Some(InstanceStateName::ShuttingDown) => MachineStatus::ShuttingDown,
        Some(InstanceStateName::Terminated) => MachineStatus::Terminated,
        Some(InstanceStateName::Stopping) => MachineStatus::Stopping,
        Some(InstanceStateName::Stopped) => MachineStatus::Stopped,
        // A state that is not known yet costs, until something else is known.
        _ => MachineStatus::Running,
    }
}
