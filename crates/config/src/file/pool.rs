//! `[[pool]]`, and what is common to all of them.

pub(super) mod cron;
mod docker;
mod ec2;
mod local;
mod never;
mod queue;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{Debug, Display, Write as _},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use ::model::{
    Timetable, TimetableError,
    pool::{Billing, Budget, Class, Idle, Money, PoolLimits, PoolSpec, Scheduled, Stopped, Warm},
};

use sha2::{Digest as _, Sha256};

use super::{Names, StartProblem, secret, worker};
use crate::{
    diagnostic::Span,
    model::Worker,
    pool::{Pool, PoolProvider},
    renderable::Renderable,
    schema::{Fallback, Key, Kind, Special},
    table::{Keys, Table, head},
    value::{Reading, Value},
};

pub(super) use self::{
    docker::{DOCKER, TLS},
    ec2::{BLOCK_DEVICE, EC2, PLACEMENT, REQUIREMENTS, TYPE, VOLUME},
    local::{LOCAL, TROUBLE},
    never::check as check_starts,
    queue::check as check_queues,
};

const PASSWORD: [&str; 3] = ["password", "password-file", "password-env"];

/// The most machines that a pool may have.
const MOST: i64 = 100_000;

/// λ from which on nothing waits to be packed with others.
const URGENT: f64 = 20.0;

/// The priority from which on requests are urgent, unless classes say otherwise.
const HIGH: i64 = 10;

const IDLE: Special =
    Special { expected: "a number of seconds, or -1 for ever", read: |value| value.read(Kind::Any) };

const WARM: Special = Special {
    expected: "a number of machines, or a share of the busy ones such as `\"20%\"`",
    read: |value| value.read(Kind::Any),
};

pub(super) const KEYS: Keys = Keys {
    what: "a pool",
    groups: &[&[
        Key::new("name", Kind::Text, "its name, which builders have in their `workers`; its machines build as the workers `NAME-1`, `NAME-2`, …").required(),
        Key::new("max", Kind::Integer(0, MOST), "how many machines there are at most").required(),
        Key::new("min", Kind::Integer(0, MOST), "how many there are at least, whatever the demand")
            .default(Fallback::Integer(0)),
        Key::new("lambda", Kind::Number, "how many seconds of a machine a second of waiting is worth")
            .default(Fallback::Of("`1`")),
        Key::new("max_builds", Kind::Integer(1, 1_000_000), "how many builds a machine runs at once")
            .default(Fallback::Of("as many as it has builders")),
        Key::new("build_wait_timeout", Kind::Special(&IDLE), "how long a machine without work is kept")
            .default(Fallback::Of("follows from the time to boot and λ")),
        Key::new("missing_timeout", Kind::Seconds, "how long a machine may take until it is connected")
            .default(Fallback::Of("learned")),
        Key::new("builds-per-instance", Kind::Integer(1, 1_000_000), "after so many builds a machine goes"),
        Key::new("max-age", Kind::Seconds, "a machine that is older gets no more builds, and goes"),
        Key::new("max-hold", Kind::Seconds, "how long a machine can be held for debugging")
            .default(Fallback::Integer(86_400)),
        Key::new("warm", Kind::Special(&WARM), "how many machines without work are kept ready")
            .default(Fallback::Integer(0)),
        Key::new("forecast", Kind::Bool, "whether machines are started for requests that are expected")
            .default(Fallback::Bool(true)),
        Key::new("weight", Kind::Integer(1, 1_000_000), "its share when pools compete for a common limit")
            .default(Fallback::Integer(1)),
        Key::new("billing", Kind::Choice(&["second", "hour"]), "what the provider charges by")
            .default(Fallback::Text("second")),
        Key::new("max-price", Kind::Number, "the most that an hour of a machine may cost"),
        Key::new("image", Kind::Text, "names what machines boot; a new one is tried with a few machines first")
            .default(Fallback::Of("that of `[pool.ec2]` or `[pool.docker]`; `default` in `[pool.local]`")),
        Key::new("master", Kind::Text, "where its workers find the master, `HOST:PORT`")
            .default(Fallback::Of("the first address of `listen`")),
        Key::new(PASSWORD[0], Kind::Text, "the password of machines that somebody else starts and that log in as `NAME`; without one there are none"),
        Key::new(PASSWORD[1], Kind::Text, "a file with that password"),
        Key::new(PASSWORD[2], Kind::Text, "an environment variable with that password"),
        Key::new(
            "keepalive_interval",
            Kind::Integer(1, 1_000_000),
            "after so many seconds of silence a worker is asked whether it is there",
        )
        .default(Fallback::Integer(600)),
        Key::new("properties", Kind::Values, "properties of its builds"),
        Key::new(
            "defaultProperties",
            Kind::Values,
            "properties of its builds, unless something else sets them",
        ),
        Key::new("class", Kind::Tables("[[pool.class]]"), "how urgent requests are, by their priority"),
        Key::new("schedule", Kind::Tables("[[pool.schedule]]"), "other minima at other times"),
        Key::new("budget", Kind::Tables("[pool.budget]"), "what it may cost"),
        Key::new("stopped", Kind::Tables("[pool.stopped]"), "machines without work are stopped, and started again"),
        Key::new("local", Kind::Tables("[pool.local]"), "its machines are processes on this machine"),
        Key::new("docker", Kind::Tables("[pool.docker]"), "its machines are containers"),
        Key::new("ec2", Kind::Tables("[pool.ec2]"), "its machines are instances of EC2"),
    ]],
    hints: &[
        ("workers", "a builder names the pool in its `workers`"),
        ("builders", "a builder names the pool in its `workers`"),
        ("min_workers", "it is called `min`"),
        ("max_workers", "it is called `max`"),
        ("boot-timeout", "it is called `missing_timeout`"),
        ("idle", "it is called `build_wait_timeout`"),
        ("idle-timeout", "it is called `build_wait_timeout`"),
        ("price", "it stands where the machines come from: in `[pool.local]`"),
        ("classes", "each class is a `[[pool.class]]`"),
    ],
};

pub(super) const CLASS: Keys = Keys {
    what: "a class",
    groups: &[&[
        Key::new("name", Kind::Text, "its name, for people and metrics").required(),
        Key::new("from", Kind::Integer(i64::MIN, i64::MAX), "the lowest priority that belongs to it; one class, the least urgent, has none"),
        Key::new("lambda", Kind::Number, "how many seconds of a machine a second of waiting is worth; from 20 on nothing waits to be packed with others")
            .default(Fallback::Of("`1`")),
        Key::new("on-demand-after", Kind::Seconds, "from which wait on, or after the first loss to the market, machines are bought at a fixed price"),
        Key::new("overflow", Kind::Integer(0, MOST), "how many machines beyond `max` its requests may have started")
            .default(Fallback::Integer(0)),
        Key::new("reserve", Kind::Bool, "whether it may spend the last tenth of the budget")
            .default(Fallback::Bool(false)),
    ]],
    hints: &[("priority", "it is called `from`")],
};

pub(super) const SCHEDULE: Keys = Keys {
    what: "a schedule",
    groups: &[&[
        Key::new("cron", Kind::Text, "each minute at which it is on: five fields, as `* 8-17 * * mon-fri`")
            .required(),
        Key::new("timezone", Kind::Text, "the time zone of these, such as `Europe/Berlin`")
            .default(Fallback::Text("UTC")),
        Key::new("min", Kind::Integer(0, MOST), "how many machines there are then at least").required(),
    ]],
    hints: &[("tz", "it is called `timezone`")],
};

pub(super) const BUDGET: Keys = Keys {
    what: "a budget",
    groups: &[&[
        Key::new("hour", Kind::Number, "in any hour: the sum of the prices of all machines"),
        Key::new("day", Kind::Number, "in a day, UTC"),
        Key::new("month", Kind::Number, "in a calendar month, UTC"),
    ]],
    hints: &[],
};

pub(super) const STOPPED: Keys = Keys {
    what: "what is said about stopped machines",
    groups: &[&[
        Key::new("max", Kind::Integer(1, MOST), "how many at most").required(),
        Key::new("age", Kind::Seconds, "how long each at most").default(Fallback::Integer(604_800)),
    ]],
    hints: &[],
};

pub(super) const LIMITS: Keys = Keys {
    what: "`[pool-limits]`",
    groups: &[&[
        Key::new("max", Kind::Integer(0, MOST), "how many machines all pools have at most"),
        Key::new("budget", Kind::Tables("[pool.budget]"), "what all pools may cost"),
    ]],
    hints: &[],
};

pub(super) fn read<'a>(value: Value<'a>, names: &mut Names<'a>) -> Option<Pool> {
    let table = Table::of(value, KEYS)?;
    let sink = &table.reading().sink;
    let name = table.text("name").map(|(name, span)| {
        if let Some(message) = worker::wrong(name) {
            sink.error(span.clone(), message.replace("worker", "pool"));
        } else if name.chars().count() + 1 + MOST.to_string().len() > worker::MAX_NAME {
            sink.error(
                span.clone(),
                format!(
                    "the name of a pool leaves room for `-{MOST}` within {} characters",
                    worker::MAX_NAME
                ),
            );
        }
        names.add(table.reading(), name, span);
        name.to_owned()
    });
    let max = count(&table, "max");
    let within = |key: &str, least: Option<u32>, at: Value<'_>| {
        if let (Some(max), Some(least)) = (max, least)
            && least > max
        {
            at.error(format!("`{key}` is more than `max`, which is {max}"));
        }
    };
    let min = count(&table, "min").unwrap_or(0);
    if let Some(at) = table.value("min") {
        within("min", Some(min), at);
    }
    let warm = warm(&table);
    if let (Some(at), Warm::Fixed(warm)) = (table.value("warm"), warm) {
        within("warm", Some(warm), at);
    }
    let classes = classes(&table);
    let schedule = schedule(&table, &within);
    let (password, _) = secret::password(&table, PASSWORD);
    let budget = budget(table.value("budget"));
    let stopped = table.value("stopped").and_then(|stopped| {
        let table = Table::of(stopped, STOPPED)?;
        Some(Stopped { max: count(&table, "max")?, age: table.seconds("age")? })
    });
    let keepalive = table.integer("keepalive_interval").and_then(|n| u64::try_from(n).ok()).unwrap_or(600);
    let master = table.text("master").and_then(|(master, span)| {
        if is_address(master) {
            return Some(master.to_owned());
        }
        sink.error(span, format!("{master:?} is no address")).help("such as \"ci.example.org:9989\"");
        None
    });
    let image = table.value("image").and_then(|_| Some(table.text("image")?.0.to_owned()));
    let provider = provider(&table, max);
    let idle = idle(&table);
    let non_zero = |key| table.integer(key).and_then(|n| NonZeroU32::new(u32::try_from(n).ok()?));
    let (name, max, provider) = (name?, max?, provider?);
    let image = image.unwrap_or_else(|| match &provider {
        PoolProvider::Local(_) => "default".to_owned(),
        PoolProvider::Docker(template) => template.image.clone(),
        PoolProvider::Ec2(template) => ec2::image_name(template),
    });
    let template = match &provider {
        PoolProvider::Local(local) => local::digest(local, &image, master.as_deref()),
        PoolProvider::Docker(template) => docker::digest(template, &image, master.as_deref()),
        PoolProvider::Ec2(template) => ec2::digest(template, &image, master.as_deref()),
    };
    let spec = PoolSpec {
        name,
        max,
        min,
        warm,
        schedule,
        classes: classes?,
        max_builds: non_zero("max_builds"),
        idle,
        boot_timeout: table.seconds("missing_timeout"),
        builds_per_instance: non_zero("builds-per-instance"),
        max_age: table.seconds("max-age"),
        max_hold: table.seconds("max-hold").unwrap_or(Duration::from_hours(24)),
        forecast: table.bool("forecast"),
        budget,
        weight: non_zero("weight").unwrap_or(NonZeroU32::MIN),
        stopped,
        billing: match table.choice("billing") {
            Some("hour") => Billing::Hour,
            _ => Billing::Second,
        },
        image,
        template,
        max_price: money(&table, "max-price"),
        enrolls: provider.enrolls(),
    };
    Some(Pool {
        spec: Arc::new(spec),
        password,
        keepalive_interval: Duration::from_secs(keepalive),
        properties: table.properties("properties", "Worker"),
        default_properties: table.properties("defaultProperties", "Worker"),
        provider,
        master,
    })
}

/// Tables that say where machines come from; a pool has one of them.
const PROVIDERS: [&str; 3] = ["local", "docker", "ec2"];

fn provider(table: &Table<'_>, max: Option<u32>) -> Option<PoolProvider> {
    let given: Vec<_> = PROVIDERS.iter().filter_map(|key| Some((*key, table.value(key)?))).collect();
    let Some(((key, value), others)) = given.split_first() else {
        table.missing("`[pool.local]`, `[pool.docker]` or `[pool.ec2]`", "where its machines come from");
        return None;
    };
    for (other, value) in others {
        let span = head(table.reading(), value.span());
        let text = format!("machines of a pool come from one place, and `[pool.{key}]` names one already");
        table.reading().sink.error(span, text).help(format!("a pool of its own for `[pool.{other}]`"));
    }
    match *key {
        "local" => Some(PoolProvider::Local(Box::new(local::read(*value)?))),
        "docker" => {
            if let Some(image) = table.value("image") {
                image.error("what containers are made from is `image` of `[pool.docker]`");
            }
            Some(PoolProvider::Docker(Arc::new(docker::read(*value)?)))
        }
        _ => {
            let template = ec2::read(*value, max, table.value("stopped").is_some())?;
            if let Some(stopped) = table.value("stopped").filter(|_| template.spot.is_some()) {
                stopped
                    .error("machines of the spot market cannot be stopped")
                    .help("a pool of its own for them");
            }
            Some(PoolProvider::Ec2(Arc::new(template)))
        }
    }
}

/// What all pools together may use.
pub(super) fn limits(value: Option<Value<'_>>) -> PoolLimits {
    let Some(table) = value.and_then(|value| Table::of(value, LIMITS)) else { return PoolLimits::default() };
    PoolLimits { max: count(&table, "max"), budget: budget(table.value("budget")) }
}

/// Reports workers that have the name of a pool's slot: nobody could tell them apart.
pub(super) fn check_slots(
    reading: &Reading<'_>,
    pools: &[(Arc<Pool>, Value<'_>)],
    workers: &[(Arc<Worker>, Span)],
) {
    for (worker, head) in workers {
        let Some((pool, number)) = worker.name.rsplit_once('-') else { continue };
        if number.parse::<u32>().is_ok() && pools.iter().any(|(one, _)| one.spec.name == pool) {
            let text = format!("worker {:?} has the name of a machine of pool {pool:?}", worker.name);
            reading.sink.error(head.clone(), text);
        }
    }
}

/// Reports what stands against a pool's machines: over the key that says it, or else over where they come from.
pub(super) fn report(table: &Value<'_>, problem: StartProblem) {
    let provider = PROVIDERS.iter().find_map(|key| table.entry(key));
    let key = |name| provider.and_then(|provider| provider.entry(name)).or_else(|| table.entry(name));
    let span = match problem.key.and_then(key) {
        Some(value) => value.span(),
        None => head(table.reading, provider.unwrap_or(*table).span()),
    };
    table.reading.sink.error(span, problem.message);
}

/// A digest of all that makes one machine another than the next.
fn digest(of: &impl Debug) -> String {
    Sha256::digest(format!("{of:?}")).iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// The environment variables of a machine.
fn environment(table: &Table<'_>) -> BTreeMap<String, String> {
    let Some(value) = table.value("environment") else { return BTreeMap::new() };
    let Some(entries) = value.entries() else {
        value.unexpected("a table of texts");
        return BTreeMap::new();
    };
    let mut environment = BTreeMap::new();
    for (name, span, value) in entries {
        if name.is_empty() || name.contains(['=', '\0']) {
            value.reading.sink.error(span, format!("{name:?} cannot be the name of an environment variable"));
        } else if let Some(text) = value.text() {
            environment.insert(name.to_owned(), text.to_owned());
        }
    }
    environment
}

fn count(table: &Table<'_>, key: &str) -> Option<u32> {
    table.integer(key).and_then(|n| u32::try_from(n).ok())
}

fn money(table: &Table<'_>, key: &str) -> Option<Money> {
    table.number(key).map(Money::from_units)
}

fn schedule(table: &Table<'_>, within: &impl Fn(&str, Option<u32>, Value<'_>)) -> Vec<Scheduled> {
    let mut schedule = Vec::new();
    for value in table.tables("schedule") {
        let Some(entry) = Table::of(value, SCHEDULE) else { continue };
        let min = count(&entry, "min");
        if let Some(at) = entry.value("min") {
            within("min", min, at);
        }
        let zone = entry.text("timezone").map_or("UTC", |(zone, _)| zone);
        let Some((cron, span)) = entry.text("cron") else { continue };
        let on = match cron::too_far(cron) {
            Some(error) => Err(error),
            None => Timetable::new(cron, zone),
        };
        let help = "minute, hour, day of the month, month, day of the week: `* 8-17 * * mon-fri`";
        match on {
            Ok(_) if cron::is_never_on(cron) => {
                let text = format!("{cron:?} is never on: there is no such day");
                entry.reading().sink.error(span, text).help(help);
            }
            Ok(on) => schedule.extend(min.map(|min| Scheduled { on, min })),
            Err(error @ TimetableError::Zone(_)) => {
                let span = entry.text("timezone").map_or_else(|| entry.head(), |(_, span)| span);
                entry.reading().sink.error(span, error.to_string()).help("such as \"Europe/Berlin\"");
            }
            Err(error) => {
                entry.reading().sink.error(span, error.to_string()).help(help);
            }
        }
    }
    schedule
}

fn budget(value: Option<Value<'_>>) -> Budget {
    let Some(table) = value.and_then(|value| Table::of(value, BUDGET)) else { return Budget::default() };
    Budget { hour: money(&table, "hour"), day: money(&table, "day"), month: money(&table, "month") }
}

fn idle(table: &Table<'_>) -> Idle {
    let Some(value) = table.value("build_wait_timeout") else { return Idle::Derived };
    match value.read(Kind::Any) {
        Some(Renderable::Int(-1)) => Idle::Forever,
        Some(Renderable::Float(-1.0)) => Idle::Forever,
        Some(Renderable::Int(seconds)) if seconds < 0 => wrong_idle(&value, seconds),
        Some(Renderable::Float(seconds)) if seconds < 0.0 => wrong_idle(&value, seconds),
        _ => match value.read(Kind::Seconds) {
            Some(Renderable::Int(seconds)) => {
                Idle::For(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
            }
            Some(Renderable::Float(seconds)) => {
                Duration::try_from_secs_f64(seconds).map_or(Idle::Derived, Idle::For)
            }
            _ => Idle::Derived,
        },
    }
}

fn wrong_idle(value: &Value<'_>, found: impl Display) -> Idle {
    value.error(format!("expected {}, found {found}", IDLE.expected));
    Idle::Derived
}

fn warm(table: &Table<'_>) -> Warm {
    let none = Warm::Fixed(0);
    let Some(value) = table.value("warm") else { return none };
    let Some(text) = value.get().as_str() else {
        return value.integer(0, MOST).and_then(|n| u32::try_from(n).ok()).map_or(none, Warm::Fixed);
    };
    let share = text.strip_suffix('%').and_then(|share| share.trim().parse::<f64>().ok());
    match share.filter(|share| (0.0..=1000.0).contains(share)) {
        Some(share) => Warm::Share(share / 100.0),
        None => {
            value.error(format!("expected {}, found {text:?}", WARM.expected));
            none
        }
    }
}

/// Classes, the least urgent first. Left out, there are two.
fn classes(table: &Table<'_>) -> Option<Vec<Class>> {
    let sink = &table.reading().sink;
    let lambda = table.number("lambda").unwrap_or(1.0);
    let given = table.tables("class");
    if given.is_empty() {
        let class = |name: &str, from, lambda| Class {
            name: name.to_owned(),
            from,
            lambda,
            on_demand_after: None,
            overflow: 0,
            reserve: false,
        };
        return Some(vec![class("normal", i64::MIN, lambda), class("high", HIGH, lambda.max(URGENT))]);
    }
    if let Some(value) = table.value("lambda") {
        value.error("`lambda` stands in each `[[pool.class]]` where there are any");
    }
    let (mut classes, mut names) = (Vec::new(), Names::new("classe"));
    for value in given {
        let Some(class) = Table::of(value, CLASS) else { continue };
        let name = class.text("name");
        if let Some((name, span)) = &name {
            names.add(class.reading(), name, span.clone());
        }
        let from = class.value("from").map_or(Some(i64::MIN), |_| class.integer("from"));
        let head = class.head();
        if let (Some((name, _)), Some(from)) = (name, from) {
            classes.push((
                head,
                Class {
                    name: name.to_owned(),
                    from,
                    lambda: class.number("lambda").unwrap_or(1.0),
                    on_demand_after: class.seconds("on-demand-after"),
                    overflow: count(&class, "overflow").unwrap_or(0),
                    reserve: class.bool("reserve"),
                },
            ));
        }
    }
    classes.sort_by_key(|(_, class)| class.from);
    let mut seen = BTreeSet::new();
    for (head, class) in &classes {
        if !seen.insert(class.from) {
            sink.error(head.clone(), "another class begins at the same priority");
        }
    }
    match classes.first() {
        Some((head, first)) if first.from != i64::MIN => {
            sink.error(
                head.clone(),
                "the least urgent class has no `from`: it takes everything below the others",
            );
            None
        }
        Some(_) => Some(classes.into_iter().map(|(_, class)| class).collect()),
        None => None,
    }
}

/// `HOST:PORT`; an IPv6 address stands in brackets.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_is_good = match host.strip_prefix('[') {
        Some(inner) => {
            inner.strip_suffix(']').is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
        }
        None => !host.is_empty() && !host.contains([':', ' ', '/']),
    };
    host_is_good && port.parse::<u16>().is_ok_and(|port| port != 0)
}
