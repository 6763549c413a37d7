//! A machine as a container.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum as State, HostConfig,
};
use model::{InstanceId, Time};
use pools::{
    Token,
    provider::{LaunchRequest, Machine, MachineStatus, Member},
};
use secrecy::ExposeSecret;

use crate::{Credentials, Settings};

pub(crate) const DEPLOYMENT: &str = "ganger.deployment";
pub(crate) const POOL: &str = "ganger.pool";
pub(crate) const TOKEN: &str = "ganger.token";
pub(crate) const INSTANCE: &str = "ganger.instance";
pub(crate) const TEMPLATE: &str = "ganger.template";
pub(crate) const OFFERING: &str = "ganger.offering";

/// What the name of a container ends in that was stopped to be started again.
const STOPPED: &str = ".stopped";

/// The name of a machine: that of its container, unless that is stopped.
pub(crate) fn name(settings: &Settings, instance: InstanceId) -> String {
    let plain = |text: &str| -> String {
        text.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '_' }).collect()
    };
    format!("ganger-{}-{}-{}", plain(&settings.deployment), plain(&settings.pool), instance.0)
}

/// The name of a machine's container while that is stopped.
pub(crate) fn stopped(name: &str) -> String {
    format!("{name}{STOPPED}")
}

/// What finds everything of a pool.
pub(crate) fn filters(settings: &Settings) -> HashMap<String, Vec<String>> {
    let labels = vec![format!("{DEPLOYMENT}={}", settings.deployment), format!("{POOL}={}", settings.pool)];
    HashMap::from([("label".to_owned(), labels)])
}

/// A container that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The engine's name of it.
    pub(crate) id: String,
    /// The machine.
    pub(crate) machine: Machine,
    /// Whether it was made, and never started.
    pub(crate) created: bool,
}

impl Found {
    /// What the engine says; `None` is a container that is none of ours, whatever its labels are.
    pub(crate) fn of(settings: &Settings, summary: ContainerSummary) -> Option<Self> {
        let labels = summary.labels?;
        let label = |key: &str| labels.get(key).cloned();
        if label(DEPLOYMENT)? != settings.deployment || label(POOL)? != settings.pool {
            return None;
        }
        let instance = InstanceId(label(INSTANCE)?.parse().ok()?);
        let mut names = summary.names.unwrap_or_default().into_iter();
        let shown = names.next()?.trim_start_matches('/').to_owned();
        let on_purpose = shown.ends_with(STOPPED);
        let status = match summary.state? {
            State::EMPTY | State::CREATED => MachineStatus::Pending,
            State::RUNNING | State::PAUSED | State::RESTARTING if on_purpose => MachineStatus::Stopping,
            State::RUNNING | State::PAUSED | State::RESTARTING => MachineStatus::Running,
            State::EXITED if on_purpose => MachineStatus::Stopped,
            State::EXITED => MachineStatus::Terminated,
            _ => MachineStatus::ShuttingDown,
        };
        let id = summary.id?;
        let details = BTreeMap::from([("container".to_owned(), id.chars().take(12).collect())]);
        Some(Self {
            id,
            created: status == MachineStatus::Pending,
            machine: Machine {
                provider_id: name(settings, instance),
                token: label(TOKEN).map(Token),
                member: Some(instance),
                offering: label(OFFERING),
                template: label(TEMPLATE),
                status,
                launched_at: summary.created.map(Time::from_epoch_seconds),
                price: Some(settings.price),
                details,
            },
        })
    }
}

/// What the engine is asked to make.
pub(crate) fn body(settings: &Settings, request: &LaunchRequest, member: &Member) -> ContainerCreateBody {
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    let bytes = |size: Option<u64>| size.map(|size| i64::try_from(size).unwrap_or(i64::MAX));
    let mut environment: Vec<String> =
        settings.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if let (Credentials::Environment, Some(secret)) = (settings.credentials, &member.secret) {
        let (host, port) = settings.master.rsplit_once(':').unwrap_or((&settings.master, "9989"));
        environment.extend([
            format!("BUILDMASTER={}", host.trim_matches(['[', ']'])),
            format!("BUILDMASTER_PORT={port}"),
            format!("WORKERNAME={}", member.login),
            format!("WORKERPASS={}", secret.expose_secret()),
        ]);
    }
    let labels = [
        (DEPLOYMENT, settings.deployment.clone()),
        (POOL, settings.pool.clone()),
        (TOKEN, request.token.0.clone()),
        (INSTANCE, member.instance.0.to_string()),
        (TEMPLATE, request.template.clone()),
        (OFFERING, request.offering.clone()),
    ];
    ContainerCreateBody {
        image: Some(settings.image.clone()),
        cmd: some(&settings.command),
        env: Some(environment),
        user: settings.user.clone(),
        labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        host_config: Some(HostConfig {
            binds: some(&settings.volumes),
            network_mode: settings.network.clone(),
            extra_hosts: some(&settings.extra_hosts),
            dns: some(&settings.dns),
            memory: bytes(settings.memory),
            #[expect(clippy::cast_possible_truncation, reason = "at most a million processors")]
            nano_cpus: settings.cpus.map(|cpus| (cpus * 1e9) as i64),
            pids_limit: settings.pids.map(i64::from),
            shm_size: bytes(settings.shm_size),
            cap_add: some(&settings.cap_add),
            cap_drop: some(&settings.cap_drop),
            security_opt: some(&settings.security),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}
