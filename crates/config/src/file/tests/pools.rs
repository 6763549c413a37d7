//! Pools.

use std::{num::NonZeroU32, time::Duration};

use ::model::{
    Time,
    pool::{Billing, Budget, Idle, Money, PoolSpec, Warm},
};

use super::*;
use crate::{Pool, PoolProvider};

const POOL: &str = "[[pool]]\nname = \"linux\"\nmax = 5\n[pool.local]\n";

const BUILDER: &str = "[[builder]]\nname = \"b\"\nworkers = [\"linux\"]\n";

/// A pool with these lines between its own and those of `[pool.local]`.
fn with(lines: &str) -> String {
    format!("[[pool]]\nname = \"linux\"\nmax = 5\n{lines}\n[pool.local]\n{BUILDER}")
}

fn pool(text: &str) -> Arc<Pool> {
    Arc::clone(&good(text).config.pools[0])
}

fn spec(lines: &str) -> PoolSpec {
    (*pool(&with(lines)).spec).clone()
}

#[test]
fn four_lines_are_a_pool() {
    let config = good(&format!("{POOL}{BUILDER}")).config;
    let pool = &config.pools[0];
    let spec = &*pool.spec;
    assert_eq!((spec.name.as_str(), spec.max, spec.min, spec.warm), ("linux", 5, 0, Warm::Fixed(0)));
    assert_eq!((spec.idle, spec.boot_timeout, spec.max_builds), (Idle::Derived, None, None));
    assert!(spec.forecast && spec.billing == Billing::Second && spec.budget == Budget::default());
    assert_eq!((spec.weight, spec.max_hold), (NonZeroU32::MIN, Duration::from_hours(24)));
    let classes: Vec<_> =
        spec.classes.iter().map(|class| (class.name.as_str(), class.from, class.lambda)).collect();
    assert_eq!(classes, [("normal", i64::MIN, 1.0), ("high", 10, 20.0)]);
    assert!(pool.password.is_none() && pool.master.is_none());
    let PoolProvider::Local(local) = &pool.provider else { panic!("{:?}", pool.provider) };
    assert_eq!(local.directory, Path::new("/base/machines"));
    assert_eq!(local.program, Path::new("buildbot-worker"));
    assert_eq!(config.builders[0].workers, ["linux"]);
    assert_eq!(config.pool_limits, Default::default());
}

#[test]
fn the_example_of_a_pool_has_what_the_documents_say() {
    let config = example("pool.toml").config;
    assert_eq!(config.pools.len(), 1);
    assert!(config.builders.iter().all(|builder| builder.workers == [config.pools[0].spec.name.as_str()]));
}

#[test]
fn every_option_is_read() {
    let text = r#"
[pool-limits]
max = 100
[pool-limits.budget]
day = 50
[[pool]]
name = "mac"
max = 20
min = 1
warm = "25%"
max_builds = 2
build_wait_timeout = -1
missing_timeout = 300
builds-per-instance = 1
max-age = 86400
max-hold = 3600.5
forecast = false
weight = 3
billing = "hour"
max-price = 0.25
image = "2026-11"
master = "[::1]:9989"
password = "guests"
keepalive_interval = 60
properties = { os = "mac" }
defaultProperties = { fast = true }
[[pool.class]]
name = "urgent"
from = 100
lambda = 50
on-demand-after = 60
overflow = 2
reserve = true
[[pool.class]]
name = "rest"
lambda = 0.5
[[pool.schedule]]
cron = "* 8-17 * * mon-fri"
timezone = "Europe/Berlin"
min = 4
[pool.budget]
hour = 1.5
month = 500
[pool.stopped]
max = 3
[pool.local]
directory = "here"
program = "venv/bin/buildbot-worker"
environment = { CI = "1" }
price = 0.1
user = "builder"
cgroup = "/sys/fs/cgroup/ganger"
memory = 1073741824
cpus = 1.5
silence = 0
[pool.local.trouble]
seed = 7
boot = 2
boot-spread = 0.5
fail = 0.1
hang = 0.2
vanish = 0.3
vanish-after = 9
[[builder]]
name = "b"
workers = ["mac"]
"#;
    let config = good(text).config;
    assert_eq!(config.pool_limits.max, Some(100));
    assert_eq!(config.pool_limits.budget.day, Some(Money::from_units(50.0)));
    let pool = &config.pools[0];
    let spec = &*pool.spec;
    assert_eq!((spec.min, spec.warm, spec.idle), (1, Warm::Share(0.25), Idle::Forever));
    assert_eq!((spec.max_builds, spec.builds_per_instance), (NonZeroU32::new(2), NonZeroU32::new(1)));
    assert_eq!(spec.boot_timeout, Some(Duration::from_mins(5)));
    assert_eq!(
        (spec.max_age, spec.max_hold),
        (Some(Duration::from_hours(24)), Duration::from_millis(3_600_500))
    );
    assert!(!spec.forecast && spec.billing == Billing::Hour && spec.weight.get() == 3);
    assert_eq!((spec.max_price, spec.image.as_str()), (Some(Money::from_units(0.25)), "2026-11"));
    let expect =
        Budget { hour: Some(Money::from_units(1.5)), day: None, month: Some(Money::from_units(500.0)) };
    assert_eq!(spec.budget, expect);
    let stopped = spec.stopped.expect("it is given");
    assert_eq!((stopped.max, stopped.age), (3, Duration::from_hours(7 * 24)));
    // The least urgent first, however they are written.
    assert_eq!((spec.classes[0].name.as_str(), spec.classes[0].lambda), ("rest", 0.5));
    let urgent = spec.class(100);
    assert_eq!((urgent.name.as_str(), urgent.overflow, urgent.reserve), ("urgent", 2, true));
    assert_eq!(urgent.on_demand_after, Some(Duration::from_mins(1)));
    // Tuesday, 2026-11-24, 8:30 and 18:30 in Berlin.
    let on = &spec.schedule[0].on;
    assert!(
        on.is_on(Time::from_epoch_seconds(1_795_505_400))
            && !on.is_on(Time::from_epoch_seconds(1_795_541_400))
    );
    assert_eq!(pool.password.as_ref().map(|secret| secret.expose_secret()), Some("guests"));
    assert_eq!(
        (pool.master.as_deref(), pool.keepalive_interval),
        (Some("[::1]:9989"), Duration::from_mins(1))
    );
    assert_eq!(pool.properties.get("os"), Some(&json!("mac")));
    let PoolProvider::Local(local) = &pool.provider else { panic!("{:?}", pool.provider) };
    assert_eq!(local.program, Path::new("/base/venv/bin/buildbot-worker"));
    assert_eq!((local.memory, local.cpus, local.silence), (Some(1 << 30), Some(1.5), Duration::ZERO));
    assert_eq!((local.trouble.seed, local.trouble.vanish), (7, 0.3));
    assert_eq!(local.trouble.boot_spread, Duration::from_millis(500));
}

#[test]
fn a_wait_of_nothing_is_not_for_ever() {
    assert_eq!(spec("build_wait_timeout = 0").idle, Idle::For(Duration::ZERO));
    assert_eq!(spec("build_wait_timeout = 1.5").idle, Idle::For(Duration::from_millis(1500)));
    assert_eq!(spec("build_wait_timeout = -1").idle, Idle::Forever);
    assert_eq!(spec("lambda = 30").class(10).lambda, 30.0);
    assert_eq!(spec("warm = 2").warm, Warm::Fixed(2));
}

#[test]
fn a_template_is_another_one_when_its_machines_are() {
    let template = |local: &str| pool(&format!("{POOL}{local}\n{BUILDER}")).spec.template.clone();
    let plain = template("");
    assert_eq!(plain, template("price = 3\nsilence = 5"), "what does not change the machine");
    assert_ne!(plain, template("program = \"other\""));
    assert_ne!(plain, template("environment = { A = \"1\" }"));
    assert_ne!(plain, spec("image = \"new\"").template);
    assert_eq!(plain, spec("min = 1\nlambda = 3").template);
}

#[test]
fn what_is_wrong_with_a_pool_is_said_where_it_stands() {
    let check = |lines: &str, expect: &[&str]| assert_eq!(errors(&with(lines)), expect, "{lines}");
    check("min = 6", &["4:7 `min` is more than `max`, which is 5"]);
    check("warm = 6", &["4:8 `warm` is more than `max`, which is 5"]);
    check(
        "warm = \"half\"",
        &["4:8 expected a number of machines, or a share of the busy ones such as `\"20%\"`, found \"half\""],
    );
    check("idle = 4", &["4:1 a pool has no `idle` [it is called `build_wait_timeout`]"]);
    check("billing = \"minute\"", &["4:11 expected one of `\"second\"`, `\"hour\"`, found \"minute\""]);
    check(
        "billing = \"hours\"",
        &["4:11 expected one of `\"second\"`, `\"hour\"`, found \"hours\" [did you mean \"hour\"?]"],
    );
    check("billing = 60", &["4:11 expected text, found a whole number"]);
    for negative in ["-2", "-1.5", "-600"] {
        check(
            &format!("build_wait_timeout = {negative}"),
            &[&format!("4:22 expected a number of seconds, or -1 for ever, found {negative}")],
        );
    }
    check("lambda = -1", &["4:10 expected a number from 0 on, found -1"]);
    check("master = \"here\"", &["4:10 \"here\" is no address [such as \"ci.example.org:9989\"]"]);
    check("password = \"\"", &["4:12 the password is empty"]);
    check(
        "[[pool.class]]\nname = \"a\"\nfrom = 3",
        &["4:1 the least urgent class has no `from`: it takes everything below the others"],
    );
    check(
        "[[pool.class]]\nname = \"a\"\n[[pool.class]]\nname = \"b\"",
        &["6:1 another class begins at the same priority"],
    );
    check(
        "lambda = 2\n[[pool.class]]\nname = \"a\"",
        &["4:10 `lambda` stands in each `[[pool.class]]` where there are any"],
    );
    check(
        "[[pool.schedule]]\ncron = \"* * * *\"\nmin = 1",
        &[
            "5:8 a timetable has 5 fields, this has 4 [minute, hour, day of the month, month, day of the week: `* 8-17 * * mon-fri`]",
        ],
    );
    const FIELDS: &str = "minute, hour, day of the month, month, day of the week: `* 8-17 * * mon-fri`";
    let cron = |cron: &str, expect: &str| {
        check(
            &format!("[[pool.schedule]]\ncron = {cron:?}\nmin = 1"),
            &[&format!("5:8 {expect} [{FIELDS}]")],
        );
    };
    cron("*/70 * * * *", "\"*/70\" is no minute: numbers from 0 to 59, ranges, lists and steps");
    cron("0,5-50/60 * * * *", "\"0,5-50/60\" is no minute: numbers from 0 to 59, ranges, lists and steps");
    cron("0 */24 * * *", "\"*/24\" is no hour: numbers from 0 to 23, ranges, lists and steps");
    cron("0 8 31 2 *", "\"0 8 31 2 *\" is never on: there is no such day");
    cron("* * 30-31 feb *", "\"* * 30-31 feb *\" is never on: there is no such day");
    cron("0 0 31 apr,jun */2", "\"0 0 31 apr,jun */2\" is never on: there is no such day");
    for fine in ["*/59 */23 */31 */12 */6", "0 0 29 2 *", "0 0 29 feb */6", "0 8 31 2 mon"] {
        check(&format!("[[pool.schedule]]\ncron = {fine:?}\nmin = 1"), &[]);
    }
    check(
        "[[pool.schedule]]\ncron = \"* * * * *\"\ntimezone = \"Mars\"\nmin = 9",
        &[
            "6:12 there is no time zone \"Mars\" [such as \"Europe/Berlin\"]",
            "7:7 `min` is more than `max`, which is 5",
        ],
    );
    let local = |lines: &str| errors(&format!("{POOL}{lines}\n{BUILDER}"));
    assert_eq!(
        local("memory = 100000000"),
        ["5:10 `memory` needs `cgroup` [the directory of a group that was delegated to the master]",]
    );
    assert_eq!(
        local("[pool.local.trouble]\nfail = 0.9\nhang = 0.2"),
        ["5:1 `fail`, `hang` and `vanish` are more than 1 together",]
    );
    assert_eq!(
        local("[pool.local.trouble]\nfail = 2"),
        ["5:1 `fail`, `hang` and `vanish` are more than 1 together", "6:8 `fail` is a share, from 0 to 1",]
    );
}

#[test]
fn a_pool_that_can_never_start_a_machine_is_an_error() {
    let check = |own: &str, local: &str, rest: &str, expect: &[&str]| {
        let text = format!(
            "[[pool]]\nname = \"linux\"\n{own}\n[pool.local]\n{local}\n{BUILDER}[[builder.step]]\n\
             type = \"ShellCommand\"\ncommand = \"true\"\n{rest}"
        );
        let found = match parse(&text, "ganger.toml", Path::new("/base")) {
            Ok(loaded) => lines(&loaded.warnings),
            Err(errors) => lines(&errors.errors),
        };
        assert_eq!(found, expect, "{text}");
    };
    let never = "no machine can ever be started: ";
    let costs = |more: &str| format!("5:9 {never}one costs 2 an hour, and {more}");
    let price = |own: &str, rest: &str, more: &str| {
        check(&format!("max = 5{own}"), "price = 2", rest, &[&costs(more).replace("5:", "6:")]);
    };
    check("max = 5", "price = 2", "", &[]);
    price("\nmax-price = 1.5", "", "`max-price` is 1.5");
    check("max = 5\nmax-price = 2", "price = 2", "", &[]);
    let budget = |budget: &str, expect: &str| {
        check("max = 5", &format!("price = 2\n[pool.budget]\n{budget}"), "", &[&costs(expect)]);
    };
    budget("hour = 1", "the pool's budget for an hour is 1");
    budget("month = 1.9", "the pool's budget for a month is 1.9");
    check("max = 5", "price = 2\n[pool.budget]\nhour = 2\nmonth = 2", "", &[]);
    check(
        "max = 5",
        "price = 2",
        "[pool-limits.budget]\nhour = 1",
        &[&costs("the budget of all pools for an hour is 1")],
    );
    // What does nothing does no harm.
    let vain = "6:1 a budget does nothing where machines cost nothing [`price`, where its machines come from, says what an hour of one costs]";
    check("max = 5", "[pool.budget]\nhour = 1", "", &[&vain.replace("6:", "5:")]);

    let limits = "[pool-limits]\nmax = 3";
    check("max = 5\nmin = 3", "", limits, &[]);
    check("max = 5\nmin = 4", "", limits, &["4:7 `min` is more than `max` of `[pool-limits]`, which is 3"]);
    check(
        "max = 5",
        "[[pool.schedule]]\ncron = \"* * * * *\"\nmin = 5",
        limits,
        &["7:7 `min` is more than `max` of `[pool-limits]`, which is 3"],
    );

    let empty = format!(
        "3:7 {never}`max` is 0, and builder \"b\" has no other workers [`ganger pool pause` starts no machines for a while, and lets in those that others start]"
    );
    check("max = 0", "", "", &[&empty]);
    check("max = 0\npassword = \"p\"", "", "", &[&empty]);
    check("max = 0\n[[pool.class]]\nname = \"all\"\noverflow = 1", "", "", &[]);
    // One that nobody uses keeps what it has until it is gone.
    let other = "[[worker]]\nname = \"w\"\npassword = \"p\"\n";
    let text = format!("{other}{}", POOL.replace("max = 5", "max = 0"));
    assert!(errors(&text).is_empty());
    assert!(errors(&format!("{text}{}", BUILDER.replace("[\"linux\"]", "[\"linux\", \"w\"]"))).is_empty());
}

#[test]
fn pools_and_workers_share_their_names() {
    let text = |worker: &str| format!("{POOL}[[worker]]\nname = {worker:?}\npassword = \"p\"\n{BUILDER}");
    assert_eq!(errors(&text("linux")), ["2:8 there are two workers of the name \"linux\""]);
    assert_eq!(
        errors(&text("linux-3")),
        ["5:1 worker \"linux-3\" has the name of a machine of pool \"linux\""]
    );
    assert!(errors(&text("linux-x86")).is_empty());
    let bad = POOL.replace("\"linux\"", "\"a@b\"");
    assert!(errors(&bad)[0].starts_with("2:8 the name of a pool has no '@' in it"), "{:?}", errors(&bad));
    let long = POOL.replace("linux", &"x".repeat(48));
    assert!(errors(&long)[0].contains("leaves room"), "{:?}", errors(&long));
}
