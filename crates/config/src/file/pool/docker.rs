//! `[pool.docker]`: machines that are containers. What `DockerLatentWorker`, and `hostconfig` in it, take has its name here.

use std::{collections::BTreeMap, fs::File, path::PathBuf, time::Duration};

use ::model::{
    docker::{Credentials, Device, Pull, Registry, Template, Tls, Ulimit},
    pool::Money,
};

use crate::{
    file::secret,
    renderable::Renderable,
    schema::{Fallback, Key, Kind, Special},
    table::{Keys, Table},
    value::Value,
};

/// Where an engine listens unless something else is said.
const HOST: &str = "unix:///var/run/docker.sock";

/// The password at the registry.
const PASSWORD: [&str; 3] = ["registry-password", "registry-password-file", "registry-password-env"];

/// Less memory than this no worker can live in.
const LEAST_MEMORY: u64 = 16 << 20;

const SIZE: Special = Special {
    expected: "bytes, or a text with a unit such as `\"512m\"` or `\"2g\"`",
    read: |value| value.read(Kind::Any),
};

/// Keys of `hostconfig`, named as in Docker's own library for Python.
const HOST_CONFIG: &[Key] = &[
    Key::new("network_mode", Kind::Text, "`bridge`, `host`, `none`, or the name of a network of the engine")
        .default(Fallback::Of("what the engine says")),
    Key::new(
        "extra_hosts",
        Kind::Texts,
        "more names: `NAME:ADDRESS`; `host-gateway` is the engine's machine",
    ),
    Key::new("dns", Kind::Texts, "name servers"),
    Key::new("mem_limit", Kind::Special(&SIZE), "memory that a machine may use"),
    Key::new("shm_size", Kind::Special(&SIZE), "size of `/dev/shm`")
        .default(Fallback::Of("what the engine says")),
    Key::new("cpus", Kind::Number, "processors that a machine may use, by time: `1.5`"),
    Key::new("cpuset_cpus", Kind::Text, "processors that a machine may use, by their numbers: `0-3,8`"),
    Key::new("pids_limit", Kind::Integer(16, 4_194_304), "the most processes"),
    Key::new("ulimits", Kind::Texts, "limits of processes: `NAME=SOFT:HARD`, as `nofile=1024:4096`"),
    Key::new("tmpfs", Kind::Dict, "directories in memory, with options: `{ \"/tmp\" = \"size=1g\" }`"),
    Key::new("devices", Kind::Texts, "devices: `/dev/kvm`, or `HOST:CONTAINER:PERMISSIONS`"),
    Key::new(
        "init",
        Kind::Bool,
        "whether the engine's init is the first process, and reaps what builds leave behind",
    )
    .default(Fallback::Bool(true)),
    Key::new("privileged", Kind::Bool, "whether builds are root of the engine's machine")
        .default(Fallback::Bool(false)),
    Key::new("cap_add", Kind::Texts, "more capabilities"),
    Key::new("cap_drop", Kind::Texts, "fewer capabilities: `ALL`"),
    Key::new("security_opt", Kind::Texts, "options such as `no-new-privileges`"),
    Key::new("group_add", Kind::Texts, "more groups of the container's user"),
    Key::new("runtime", Kind::Text, "the engine's runtime, such as `runsc`")
        .default(Fallback::Of("what the engine says")),
];

pub(in crate::file) const DOCKER: Keys = Keys {
    what: "`[pool.docker]`",
    groups: &[
        &[
            Key::new("image", Kind::Text, "the image").required(),
            Key::new("docker_host", Kind::Text, "the engine: `unix:///PATH` or `tcp://HOST:PORT`")
                .default(Fallback::Text(HOST)),
            Key::new("tls", Kind::Tables("[pool.docker.tls]"), "certificates for an engine at `tcp://`"),
            Key::new("autopull", Kind::Bool, "whether an image that the engine lacks is pulled")
                .default(Fallback::Bool(false)),
            Key::new("alwaysPull", Kind::Bool, "whether it is pulled before each launch; needs `autopull`")
                .default(Fallback::Bool(false)),
            Key::new(
                "registry-user",
                Kind::Text,
                "who pulls the image, see [docker.md](docker.md#images-of-a-private-registry); needs `autopull`",
            )
            .default(Fallback::Of("nobody in particular")),
            Key::new(PASSWORD[0], Kind::Text, "the password at the registry, or a token in its place"),
            Key::new(PASSWORD[1], Kind::Text, "a file with that password"),
            Key::new(PASSWORD[2], Kind::Text, "an environment variable with that password"),
            Key::new("command", Kind::Texts, "what runs in the container: a program and its arguments")
                .default(Fallback::Of("what the image says")),
            Key::new(
                "credentials",
                Kind::Choice(&["file", "environment"]),
                "how a worker is told who it is, see [docker.md](docker.md#what-a-container-is-told)",
            )
            .default(Fallback::Text("file")),
            Key::new("environment", Kind::Dict, "more environment variables"),
            Key::new("user", Kind::Text, "who it runs as: `USER`, `UID` or `UID:GID`")
                .default(Fallback::Of("what the image says")),
            Key::new("hostname", Kind::Text, "the host name that every machine has")
                .default(Fallback::Of("one of its own")),
            Key::new(
                "volumes",
                Kind::Texts,
                "`/HOST:/CONTAINER`, `/HOST:/CONTAINER:ro`, or a volume's name first",
            ),
            Key::new("price", Kind::Number, "what an hour of a machine costs").default(Fallback::Integer(0)),
            Key::new(
                "silence",
                Kind::Seconds,
                "a worker that has no master for so long ends by itself; 0 is never",
            )
            .default(Fallback::Integer(1800)),
        ],
        HOST_CONFIG,
    ],
    hints: &[
        ("hostconfig", "its keys stand in `[pool.docker]` itself"),
        ("host_config", "its keys stand in `[pool.docker]` itself"),
        ("dockerfile", "build it with `docker build` and name the image"),
        ("buildargs", "build the image with `docker build` and name it"),
        ("target", "build the image with `docker build` and name it"),
        ("custom_context", "build the image with `docker build` and name it"),
        ("encoding", "build the image with `docker build` and name it"),
        ("version", "needless: the newest that both know is taken"),
        (
            "followStartupLogs",
            "needless: `ganger pool why` shows the console of a machine that does not connect",
        ),
        ("masterFQDN", "it is called `master`, and stands in `[[pool]]`"),
        ("master_protocol", "there is one, PB"),
        ("auto_pull", "it is called `autopull`"),
        ("always_pull", "it is called `alwaysPull`"),
        ("password", "needless: each machine gets one of its own"),
        ("memory", "it is called `mem_limit`"),
        ("network", "it is called `network_mode`"),
        ("links", "both are in one network of the engine, which `network_mode` names"),
        ("nano_cpus", "it is called `cpus`: 1.5 of these are 1500000000 of those"),
        ("cpu_quota", "it is called `cpus`: `cpu_quota` divided by `cpu_period`"),
        ("binds", "they are called `volumes`"),
        ("port_bindings", "nobody connects to a worker"),
        ("auto_remove", "needless: machines that end are removed, once their console can have been read"),
        ("restart_policy", "a machine that ended is gone: another one is started when it is needed"),
        ("env", "it is called `environment`"),
        ("build_wait_timeout", "it stands in `[[pool]]`"),
        ("max_builds", "it stands in `[[pool]]`"),
        ("missing_timeout", "it stands in `[[pool]]`"),
    ],
};

pub(in crate::file) const TLS: Keys = Keys {
    what: "`[pool.docker.tls]`",
    groups: &[&[
        Key::new(
            "ca_cert",
            Kind::Text,
            "a file: who may sign the engine's certificate, beside whom the system trusts",
        )
        .required(),
        Key::new("client_cert", Kind::Text, "a file: the master's certificate").required(),
        Key::new("client_key", Kind::Text, "a file: its key").required(),
    ]],
    hints: &[
        ("ca", "it is called `ca_cert`"),
        ("cert", "it is called `client_cert`"),
        ("key", "it is called `client_key`"),
        ("verify", "certificates are always verified"),
        ("assert_hostname", "certificates are always verified"),
    ],
};

pub(super) fn read(value: Value<'_>) -> Option<Template> {
    let table = Table::of(value, DOCKER)?;
    let text = |key| table.text(key).map(|(text, _)| text.to_owned());
    let docker_host = host(&table);
    let tls = table.value("tls").map(tls);
    if let Some(value) = table.value("tls").filter(|_| docker_host.starts_with("unix:")) {
        value.error("certificates are of no use without a `docker_host` at `tcp://`");
    }
    let pull = match (table.bool("autopull"), table.bool("alwaysPull")) {
        (true, true) => Pull::Always,
        (true, false) => Pull::Missing,
        (false, always) => {
            if let Some(value) = table.value("alwaysPull").filter(|_| always) {
                value.error("`alwaysPull` does nothing without `autopull`, as in Buildbot");
            }
            Pull::Never
        }
    };
    let cpus = table.number("cpus");
    if let Some(value) =
        table.value("cpus").filter(|_| cpus.is_some_and(|cpus| !(0.01..=1e6).contains(&cpus)))
    {
        value.error("expected a number of processors from 0.01 on");
    }
    let mem_limit = size(&table, "mem_limit");
    if let Some(value) =
        table.value("mem_limit").filter(|_| mem_limit.is_some_and(|size| size < LEAST_MEMORY))
    {
        value.error("no worker lives in less than 16 MiB");
    }
    let command =
        list(&table, "command", |text| (!text.contains('\0')).then(|| text.to_owned()), "an argument");
    let template = Template {
        tls: tls.map_or(Some(None), |tls| tls.map(Some))?,
        pull,
        registry: registry(&table, pull),
        command,
        credentials: match table.choice("credentials") {
            Some("environment") => Credentials::Environment,
            _ => Credentials::File,
        },
        environment: super::environment(&table),
        user: text("user"),
        hostname: text("hostname"),
        volumes: list(
            &table,
            "volumes",
            volume,
            "`/HOST:/CONTAINER`, `/HOST:/CONTAINER:ro` or `NAME:/CONTAINER`",
        ),
        tmpfs: tmpfs(&table),
        devices: list(&table, "devices", device, "`/dev/kvm` or `/dev/HOST:/dev/CONTAINER:rwm`"),
        network_mode: text("network_mode"),
        extra_hosts: list(
            &table,
            "extra_hosts",
            extra_host,
            "`NAME:ADDRESS`, such as `host.docker.internal:host-gateway`",
        ),
        dns: list(
            &table,
            "dns",
            |text| text.parse::<std::net::IpAddr>().ok().map(|_| text.to_owned()),
            "an IP address",
        ),
        mem_limit,
        shm_size: size(&table, "shm_size"),
        cpus,
        cpuset_cpus: text("cpuset_cpus"),
        pids_limit: table.integer("pids_limit").and_then(|n| u32::try_from(n).ok()),
        ulimits: list(&table, "ulimits", ulimit, "`NAME=SOFT:HARD`, such as `nofile=1024:4096`"),
        init: table.bool("init"),
        privileged: table.bool("privileged"),
        cap_add: list(&table, "cap_add", word, "the name of a capability"),
        cap_drop: list(&table, "cap_drop", word, "the name of a capability"),
        security_opt: list(&table, "security_opt", word, "an option of `docker run --security-opt`"),
        group_add: list(&table, "group_add", word, "a group, by name or number"),
        runtime: text("runtime"),
        price: Money::from_units(table.number("price").unwrap_or(0.0)),
        silence: table.seconds("silence").unwrap_or(Duration::from_mins(30)),
        ..Template::new(&docker_host, &text("image")?)
    };
    // What is mounted over `/run` would hide the document.
    let hides = |target: &str| matches!(target.trim_end_matches('/'), "" | "/run" | "/run/ganger");
    if template.credentials == Credentials::File {
        let mounted = template.volumes.iter().filter_map(|volume| volume.split(':').nth(1));
        for (key, target) in mounted
            .map(|target| ("volumes", target))
            .chain(template.tmpfs.keys().map(|path| ("tmpfs", &**path)))
        {
            if let Some(value) = table.value(key).filter(|_| hides(target)) {
                value.error(format!("{target:?} is hidden by that, and a machine is told there who it is"));
            }
        }
    }
    Some(template)
}

/// Where the engine is. `unix://var/run` and `unix:///var/run` are both in use.
fn host(table: &Table<'_>) -> String {
    let Some((host, span)) = table.text("docker_host") else { return HOST.to_owned() };
    if let Some(path) = host.strip_prefix("unix://").filter(|path| !path.is_empty()) {
        return format!("unix:///{}", path.trim_start_matches('/'));
    }
    if host.strip_prefix("tcp://").is_some_and(super::is_address) {
        return host.to_owned();
    }
    table
        .reading()
        .sink
        .error(span, format!("{host:?} is no engine"))
        .help("`unix:///PATH` or `tcp://HOST:PORT`; `ssh -NL /PATH:/var/run/docker.sock HOST` brings a distant one here");
    HOST.to_owned()
}

/// Who pulls the image.
fn registry(table: &Table<'_>, pull: Pull) -> Option<Registry> {
    let (password, given) = secret::password(table, PASSWORD);
    let user = table.value("registry-user");
    let key = PASSWORD.iter().find_map(|key| table.value(key));
    if let (Some(value), Pull::Never) = (user.or(key), pull) {
        value.error("nobody asks the registry without `autopull`");
    }
    match (user, key) {
        (Some(user), None) => {
            user.error("`registry-user` has no password")
                .help("set one of `registry-password-file`, `registry-password-env` and `registry-password`");
        }
        (None, Some(key)) => {
            key.error("the password is nobody's").help("`registry-user` says whose it is");
        }
        _ => {}
    }
    let (user, _) = table.text("registry-user").filter(|_| given)?;
    Some(Registry { user: user.to_owned(), password: password? })
}

/// Files that can be read, or none.
fn tls(value: Value<'_>) -> Option<Tls> {
    let table = Table::of(value, TLS)?;
    let file = |key| -> Option<PathBuf> {
        let (text, span) = table.text(key)?;
        let path = table.reading().base_dir.join(text);
        match File::open(&path) {
            Ok(_) => Some(path),
            Err(error) => {
                table.reading().sink.error(span, format!("cannot read {}: {error}", path.display()));
                None
            }
        }
    };
    let (ca_cert, client_cert, client_key) = (file("ca_cert"), file("client_cert"), file("client_key"));
    Some(Tls { ca_cert: ca_cert?, client_cert: client_cert?, client_key: client_key? })
}

/// Bytes, by a number or with Docker's units: `b`, `k`, `m`, `g`, each 1024 of the one before.
fn size(table: &Table<'_>, key: &str) -> Option<u64> {
    let value = table.value(key)?;
    let bytes = match value.get().as_str() {
        Some(text) => {
            let text = text.to_ascii_lowercase();
            let digits = text.trim_end_matches(|one: char| !one.is_ascii_digit());
            let shift = match text.get(digits.len()..).unwrap_or_default() {
                "" | "b" => Some(0),
                "k" | "kb" | "kib" => Some(10),
                "m" | "mb" | "mib" => Some(20),
                "g" | "gb" | "gib" => Some(30),
                "t" | "tb" | "tib" => Some(40),
                _ => None,
            };
            shift.and_then(|shift| digits.parse::<u64>().ok()?.checked_mul(1 << shift))
        }
        None => match value.read(Kind::Any) {
            Some(Renderable::Int(bytes)) => u64::try_from(bytes).ok(),
            _ => None,
        },
    };
    let bytes = bytes.filter(|bytes| i64::try_from(*bytes).is_ok_and(|bytes| bytes > 0));
    if bytes.is_none() {
        value.error(format!("expected {}", SIZE.expected));
    }
    bytes
}

/// Each text of a list as it is read, or reported.
fn list<T>(table: &Table<'_>, key: &str, read: impl Fn(&str) -> Option<T>, expected: &str) -> Vec<T> {
    let mut list = Vec::new();
    for (text, span) in table.texts(key).unwrap_or_default() {
        match read(text) {
            Some(one) => list.push(one),
            None => {
                table.reading().sink.error(span, format!("{text:?} is not {expected}"));
            }
        }
    }
    list
}

fn word(text: &str) -> Option<String> {
    (!text.is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
}

fn volume(text: &str) -> Option<String> {
    let (from, to) = text.split_once(':')?;
    let (to, options) = to.split_once(':').unwrap_or((to, ""));
    let named = from.starts_with(|one: char| one.is_ascii_alphanumeric()) && !from.contains('/');
    let known = |option: &str| {
        matches!(option, "ro" | "rw" | "z" | "Z" | "nocopy" | "cached" | "delegated" | "consistent")
            || ["shared", "slave", "private"].contains(&option.trim_start_matches('r'))
    };
    let good = (from.starts_with('/') || named)
        && to.starts_with('/')
        && (options.is_empty() && !text.ends_with(':')
            || !options.is_empty() && options.split(',').all(known));
    good.then(|| text.to_owned())
}

fn device(text: &str) -> Option<Device> {
    let mut parts = text.split(':');
    let host = parts.next().filter(|host| host.starts_with("/dev/"))?;
    let container = parts.next().unwrap_or(host);
    let permissions = parts.next().unwrap_or("rwm");
    let good = container.starts_with('/')
        && !permissions.is_empty()
        && permissions.chars().all(|one| "rwm".contains(one))
        && parts.next().is_none();
    good.then(|| Device {
        host: host.to_owned(),
        container: container.to_owned(),
        permissions: permissions.to_owned(),
    })
}

fn extra_host(text: &str) -> Option<String> {
    let (name, address) = text.split_once(':')?;
    let known = address == "host-gateway" || address.parse::<std::net::IpAddr>().is_ok();
    (!name.is_empty() && !name.contains(char::is_whitespace) && known).then(|| text.to_owned())
}

fn ulimit(text: &str) -> Option<Ulimit> {
    let (name, limits) = text.split_once('=')?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number =
        |text: &str| if text == "unlimited" { Some(-1) } else { text.parse().ok().filter(|n| *n >= -1) };
    let good = !name.is_empty() && name.chars().all(|one| one.is_ascii_lowercase());
    Some(Ulimit { name: name.to_owned(), soft: number(soft)?, hard: number(hard)? }).filter(|_| good)
}

fn tmpfs(table: &Table<'_>) -> BTreeMap<String, String> {
    let Some(value) = table.value("tmpfs") else { return BTreeMap::new() };
    let Some(entries) = value.entries() else {
        value.unexpected("a table of texts");
        return BTreeMap::new();
    };
    let mut mounts = BTreeMap::new();
    for (path, span, value) in entries {
        if !path.starts_with('/') {
            value.reading.sink.error(span, format!("{path:?} is not a directory, `/…`"));
        } else if let Some(options) = value.text() {
            mounts.insert(path.to_owned(), options.to_owned());
        }
    }
    mounts
}

/// A digest of all that a machine is made from. What it costs, where its engine is, when and by whom the image is pulled,
/// and when it ends by itself, do not make it another one.
pub(super) fn digest(template: &Template, image: &str, master: Option<&str>) -> String {
    let other = Template::new("", image);
    let Template { docker_host, image, tls, pull, registry, price, silence, .. } = other;
    let template = Template { docker_host, image, tls, pull, registry, price, silence, ..template.clone() };
    super::digest(&(master, template))
}
