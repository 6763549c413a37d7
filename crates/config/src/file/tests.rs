use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Instant};

use ::model::{Json, template::Context};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::*;
use crate::model::{Database, Endpoint, LogCompression, Renderable, SchedulerKind};

mod dispatch;
mod docker;
mod ec2;
mod force;
mod hostile;
mod pools;
mod schedulers;
mod steps;
mod tables;

const MINIMAL: &str = r#"
[[worker]]
name = "w"
password = "p"
[[builder]]
name = "b"
workers = ["w"]
"#;

fn good(text: &str) -> Loaded {
    parse(text, "ganger.toml", Path::new("/base")).unwrap_or_else(|errors| panic!("{}", errors.render(false)))
}

/// Errors of `text` as `line:column message [help]`.
fn errors(text: &str) -> Vec<String> {
    match parse(text, "ganger.toml", Path::new("/base")) {
        Ok(_) => Vec::new(),
        Err(errors) => lines(&errors.errors),
    }
}

fn lines(diagnostics: &Diagnostics) -> Vec<String> {
    let line = |found: &crate::Diagnostic| {
        let help = found.help.as_ref().map(|help| format!(" [{help}]")).unwrap_or_default();
        format!("{}:{} {}{help}", found.line, found.column, found.message)
    };
    diagnostics.iter().map(line).collect()
}

/// A minimal configuration whose builder has one step.
fn with_step(step: &str) -> String {
    format!("{MINIMAL}[[builder.step]]\n{step}\n")
}

fn step(text: &str) -> Arc<crate::Step> {
    Arc::clone(&good(&with_step(text)).config.builders[0].steps[0])
}

/// The errors of a step, with lines counted from the step's first.
fn step_errors(text: &str) -> Vec<String> {
    let before = with_step("").lines().count() - 1;
    let moved = |line: String| {
        let (number, rest) = line.split_once(':').unwrap();
        format!("{}:{rest}", number.parse::<usize>().unwrap() - before)
    };
    errors(&with_step(text)).into_iter().map(moved).collect()
}

/// The words of a text.
fn text(value: &Renderable) -> &str {
    let Renderable::Text(template) = value else { panic!("{value:?}") };
    template.source()
}

struct Nothing;

impl Context for Nothing {
    fn property(&self, name: &str) -> Option<Json> {
        (name == "zero").then(|| json!(0))
    }
    fn named(&self, name: &str) -> Option<Json> {
        (name == "results").then(|| json!(2))
    }
}

fn example(name: &str) -> Loaded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    load(&path).unwrap_or_else(|errors| panic!("{}", errors.render(false)))
}

#[test]
fn the_first_example_is_a_whole_installation() {
    let config = example("first.toml").config;
    assert_eq!(config.workers.len(), 1);
    assert_eq!(config.workers[0].password.as_ref().unwrap().expose_secret(), "pass");
    let kinds: Vec<_> = config.builders[0].steps.iter().map(|step| (step.kind, text(&step.name))).collect();
    assert_eq!(kinds, [("Git", "git"), ("ShellCommand", "where"), ("ShellCommand", "check")]);
    assert!(matches!(config.schedulers[0].kind, SchedulerKind::AnyBranch { .. }));
    assert!(matches!(config.schedulers[1].kind, SchedulerKind::Force(_)));
    assert!(config.base_dir.is_absolute() && config.base_dir.ends_with("examples"));
    assert!(config.master.changes.is_some());
}

#[test]
fn the_example_of_steps_has_every_type() {
    let config = example("steps.toml").config;
    let used: std::collections::BTreeSet<_> = config.builders[0].steps.iter().map(|step| step.kind).collect();
    let all: std::collections::BTreeSet<_> = crate::steps::ALL.iter().map(|step| step.name).collect();
    assert_eq!(used, all);
}

#[test]
fn a_short_configuration_has_sensible_defaults() {
    let config = good(MINIMAL).config;
    assert_eq!(config.master.listen, [Endpoint::Tcp { host: "0.0.0.0".into(), port: 9989 }]);
    assert!(
        matches!(&config.master.database, Database::Sqlite(path) if path == Path::new("/base/state.sqlite"))
    );
    assert_eq!(config.master.control_socket, Path::new("/base/ganger.sock"));
    assert_eq!(config.master.log_compression, LogCompression::Gz);
    assert_eq!(config.master.url, "http://localhost:8010/");
    assert!(config.master.changes.is_none());
    assert_eq!(config.workers[0].keepalive_interval.as_secs(), 3600);
    assert_eq!(config.workers[0].max_builds, None);
    assert_eq!(config.builders[0].workerbuilddir, "b");
    assert_eq!(
        lines(&good(MINIMAL).warnings),
        ["5:1 a builder without steps does nothing [add a `[[builder.step]]`]"]
    );
    assert!(good("").config.workers.is_empty());
}

#[test]
fn all_errors_are_told_at_once_with_their_places() {
    let text = r#"[master]
titel = "x"
[[worker]]
name = "linux"
password = "p"
max_builds = 0
[[worker]]
name = "linux"
password-env = "GANGER_NO_SUCH_VARIABLE"
[[builder]]
name = "b"
workers = ["linus", "mac"]
[[builder.step]]
type = "ShellComand"
[[builder.step]]
type = "ShellCommand"
command = ["make", "-j%(prop:jobs:4)s"]
haltonFailure = "true"
[[scheduler]]
type = "AnyBranch"
name = "s"
[[pool]]
name = "p"
[[worker_pool]]
"#;
    assert_eq!(
        errors(text),
        [
            "2:1 `[master]` has no `titel` [did you mean `title`?]",
            "6:14 expected a whole number from 1 to 1000000, found 0",
            "8:8 there are two workers of the name \"linux\"",
            "9:16 the environment has no variable \"GANGER_NO_SUCH_VARIABLE\" with text in it",
            "12:12 there is no worker \"linus\" [did you mean \"linux\"?]",
            "12:21 there is no worker \"mac\" [`name` of a `[[worker]]` is meant]",
            "14:8 there is no step of type \"ShellComand\" [did you mean \"ShellCommand\"?]",
            "17:35 after the name stands `:-DEFAULT`, `:~DEFAULT`, `:+TEXT`, `:?|YES|NO` or `:#?|YES|NO` [a text with `%(` is a template; in it `%%` is a percent sign]",
            "18:1 ShellCommand has no `haltonFailure` [did you mean `haltOnFailure`?]",
            "20:8 there is no scheduler of type \"AnyBranch\" [did you mean \"AnyBranchScheduler\"?]",
            "22:1 a pool lacks `max` [`max`: how many machines there are at most]",
            "22:1 a pool lacks `[pool.local]`, `[pool.docker]` or `[pool.ec2]` [where its machines come from]",
            "24:3 the configuration has no `worker_pool` [it has `master`, `worker`, `pool`, `secrets`, `pool-limits`, `lock`, `builder`, `scheduler`, `old-build-canceller`, `failing-buildset-canceller`, `change-source`, \
             `janitor`]",
        ]
    );
}

#[test]
fn an_error_is_shown_over_its_line() {
    let text = format!("{MINIMAL}haltonfailure = true\n\n[[worker]]\nname = \"w\"\npassword = \"p\"\n");
    let errors = parse(&text, "ganger.toml", Path::new("/base")).unwrap_err();
    assert_eq!(errors.to_string(), "2 errors in ganger.toml");
    let shown = errors.errors.render(false);
    let expected = r#"
error: there are two workers of the name "w"
  --> ganger.toml:11:8
   |
11 | name = "w"
   |        ^^^
   |
  ::: ganger.toml:3:8
   |
 3 | name = "w"
   |        --- the first one
"#;
    assert!(shown.contains(expected.trim_start()), "{shown}");
    assert!(errors.render(true).contains("\u{1b}["), "colours where they are wanted");
}

#[test]
fn the_reference_is_up_to_date() {
    const START: &str =
        "<!-- From here on made from the schemas: GANGER_BLESS=1 cargo nextest run -p ganger-config -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let (written, _) = text.split_once(START).expect("the line that says where the tables start");
    let expected = format!("{written}{START}\n{}", crate::reference());
    if std::env::var_os("GANGER_BLESS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == expected,
        "docs/configuration.md is old: set GANGER_BLESS=1 and run this again"
    );
}
