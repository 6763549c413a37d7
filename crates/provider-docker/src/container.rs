//! A machine as a container.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, ContainerSummary, ContainerSummaryStateEnum as State, DeviceMapping, HostConfig,
    ResourcesUlimits,
};
use model::{
    InstanceId, Time,
    docker::{Credentials, Template},
};
use pools::{
    Token, metadata,
    provider::{LaunchRequest, Machine, MachineStatus, Member},
};
use secrecy::ExposeSecret;

use crate::Settings;

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

/// What finds a machine, and others whose names only begin like its own; `None` where the name is no machine's.
pub(crate) fn filters_for(settings: &Settings, name: &str) -> Option<HashMap<String, Vec<String>>> {
    // The engine takes it for a regular expression.
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
    let mut filters = filters(settings);
    filters.insert("name".to_owned(), vec![name.to_owned()]);
    (is_plain && !name.is_empty()).then_some(filters)
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
                price: Some(settings.template.price),
                details,
            },
        })
    }
}

/// What the engine is asked to make.
pub(crate) fn body(
    settings: &Settings,
    image: &str,
    request: &LaunchRequest,
    member: &Member,
) -> ContainerCreateBody {
    let template = &settings.template;
    let mut environment: Vec<String> =
        template.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if let (Credentials::Environment, Some(secret)) = (template.credentials, &member.secret) {
        let master = metadata::Master { address: settings.master.clone() };
        if let Some((host, port)) = master.host_and_port() {
            environment.extend([format!("BUILDMASTER={host}"), format!("BUILDMASTER_PORT={port}")]);
        }
        environment.extend([
            "BUILDMASTER_PROTOCOL=pb".to_owned(),
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
        image: Some(image.to_owned()),
        cmd: some(&template.command),
        env: Some(environment),
        user: template.user.clone(),
        hostname: template.hostname.clone(),
        labels: Some(labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        host_config: Some(host_config(template)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(template: &Template) -> HostConfig {
    let bytes = |size: Option<u64>| size.map(|size| i64::try_from(size).unwrap_or(i64::MAX));
    let devices = template.devices.iter().map(|device| DeviceMapping {
        path_on_host: Some(device.host.clone()),
        path_in_container: Some(device.container.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    });
    let ulimits = template.ulimits.iter().map(|limit| ResourcesUlimits {
        name: Some(limit.name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    });
    HostConfig {
        binds: some(&template.volumes),
        tmpfs: Some(template.tmpfs.clone().into_iter().collect()),
        devices: some(&devices.collect::<Vec<_>>()),
        network_mode: template.network_mode.clone(),
        extra_hosts: some(&template.extra_hosts),
        dns: some(&template.dns),
        memory: bytes(template.mem_limit),
        shm_size: bytes(template.shm_size),
        #[expect(clippy::cast_possible_truncation, reason = "at most a million processors")]
        nano_cpus: template.cpus.map(|cpus| (cpus * 1e9) as i64),
        cpuset_cpus: template.cpuset_cpus.clone(),
        pids_limit: template.pids_limit.map(i64::from),
        ulimits: some(&ulimits.collect::<Vec<_>>()),
        init: Some(template.init),
        privileged: Some(template.privileged),
        cap_add: some(&template.cap_add),
        cap_drop: some(&template.cap_drop),
        security_opt: some(&template.security_opt),
        group_add: some(&template.group_add),
        runtime: template.runtime.clone(),
        ..HostConfig::default()
    }
}

/// A list; an empty one is the engine's own choice.
fn some<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}
