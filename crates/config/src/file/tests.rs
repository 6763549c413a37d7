use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Instant};

use ::model::{Json, template::Context};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::*;
use crate::model::{Database, Endpoint, LogCompression, Renderable, SchedulerKind};

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

struct Nothing;

impl Context for Nothing {
    fn property(&self, name: &str) -> Option<Json> {
        (name == "zero").then(|| json!(0))
    }
    fn source(&self, _: &str, _: &str) -> Option<Json> {
        None
    }
    fn worker(&self, _: &str) -> Option<Json> {
        None
    }
    fn secret(&self, _: &str) -> Option<String> {
        None
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
    assert_eq!(config.workers[0].password.expose_secret(), "pass");
    let kinds: Vec<_> = config.builders[0].steps.iter().map(|step| (step.kind, step.name.as_str())).collect();
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
    assert_eq!(config.master.database, Database::Sqlite("/base/state.sqlite".into()));
    assert_eq!(config.master.control_socket, Path::new("/base/ganger.sock"));
    assert_eq!(config.master.log_compression, LogCompression::Zstd);
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
            "22:3 the configuration has no `pool` [it has `master`, `worker`, `builder`, `scheduler`]",
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
fn passwords_are_not_shown() {
    let text = "worker = [{ name = \"w\", pasword = \"hunter2\", password = \"hunter3\" }]\n[[worker]]\npassword = 'hunter4\n";
    let shown = parse(text, "f", Path::new("/")).unwrap_err().render(false);
    assert!(!shown.contains("hunter"), "{shown}");
    let text = "worker = [{ nam = \"w\", pasword = \"hunter2\", password = \"hunter3\" }]\n";
    let errors = parse(text, "f", Path::new("/")).unwrap_err();
    let shown = errors.render(false);
    assert!(shown.contains("nam = \"w\", pasword = *********, password = *********"), "{shown}");
    assert!(!format!("{errors:?}").contains("hunter"));
    let text = format!("{MINIMAL}[master]\nchange-password = \"hunter2\"\n").replace("\"p\"", "\"hunter3\"");
    assert!(!format!("{:?}", good(&text)).contains("hunter"));
}

#[test]
fn what_is_no_toml_is_said_to_be_none() {
    let found = errors("[[worker]]\nname = \n\n[[worker\nname = 1\n");
    assert!(found.iter().all(|line| line.contains("not TOML: ")), "{found:?}");
    assert!(found[0].starts_with("2:8 "), "{found:?}");
    assert!(found.len() > 1, "{found:?}");
    let deep = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(!errors(&deep).is_empty());
    assert!(!errors(&"a.".repeat(100_000)).is_empty());
}

#[test]
fn many_errors_are_counted() {
    let text = MINIMAL.to_owned() + &"[[builder]]\nname = \"x\"\nworkers = \"w\"\nnope = 1\n".repeat(500);
    let errors = parse(&text, "ganger.toml", Path::new("/base")).unwrap_err();
    assert_eq!(errors.errors.iter().count(), 200);
    assert_eq!(errors.errors.left_out(), 799);
    assert!(
        errors.render(false).ends_with("and 799 more\n\n") || errors.render(false).contains("and 799 more")
    );
}

#[test]
fn endpoints_are_read_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["cert.pem", "key.pem"] {
        fs::write(dir.path().join(file), "").unwrap();
    }
    let check = |endpoint: &str, expect: Endpoint| {
        let text = format!("[master]\nlisten = [{endpoint}]");
        let loaded =
            parse(&text, "f", dir.path()).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        assert_eq!(loaded.config.master.listen, [expect], "{endpoint}");
    };
    let tcp = |host: &str, port| Endpoint::Tcp { host: host.into(), port };
    let tls = |host: &str, port| Endpoint::Tls {
        host: host.into(),
        port,
        certificate: dir.path().join("cert.pem"),
        key: dir.path().join("key.pem"),
    };
    check("\"tcp:9989\"", tcp("0.0.0.0", 9989));
    check("\"tcp:127.0.0.1:0\"", tcp("127.0.0.1", 0));
    check("\"tcp:9989:interface=127.0.0.1\"", tcp("127.0.0.1", 9989));
    check("\"tcp:[::1]:9989\"", tcp("::1", 9989));
    check("\"tls:9990:cert=cert.pem:key=key.pem\"", tls("0.0.0.0", 9990));
    check("\"tls:localhost:9990:cert=cert.pem:key=key.pem\"", tls("localhost", 9990));
    check("{ type = \"tls\", port = 9990, cert = \"cert.pem\", key = \"key.pem\" }", tls("0.0.0.0", 9990));
    check("{ type = \"tcp\", host = \"::\", port = 1 }", tcp("::", 1));
    check("\"unix:w.sock\"", Endpoint::Unix(dir.path().join("w.sock")));
    check("{ type = \"unix\", path = \"/run/w.sock\" }", Endpoint::Unix("/run/w.sock".into()));

    let refused = |endpoint: &str, message: &str| {
        let text = format!("[master]\nlisten = [{endpoint}]");
        let found = parse(&text, "f", dir.path()).unwrap_err().render(false);
        assert!(found.contains(message), "{endpoint}: {found}");
    };
    refused("\"9989\"", "is no endpoint");
    refused("9989", "expected an endpoint");
    refused("\"tcp:\"", "neither a host nor a port");
    refused("\"tcp:host\"", "lacks a port");
    refused("\"tcp:99999\"", "lacks a port");
    refused("\"tcp:a:b:1\"", "neither a host nor a port");
    refused("\"tcp:[::1:9989\"", "without `]`");
    refused("\"udp:1\"", "no endpoint of type \"udp\"");
    refused("\"tls:1\"", "needs a certificate");
    refused("\"tls:1:cert=cert.pem:key=nope.pem\"", "nope.pem");
    refused("\"tls:1:crt=cert.pem\"", "did you mean `cert=`");
    refused("\"unix:\"", "lacks a path");
    refused("\"tcp:1:cert=cert.pem\"", "only `tls`");
    refused("\"tcp:1\", \"tcp:1\"", "listed twice");
    refused("", "`listen` is empty");
    refused(&format!("\"unix:{}\"", "x".repeat(120)), "at most 107 bytes");
}

#[test]
fn the_database_is_a_path_or_buildbots_url() {
    let check = |database: &str, expect: &str| {
        let config = good(&format!("[master]\ndatabase = \"{database}\"")).config;
        assert_eq!(config.master.database, Database::Sqlite(expect.into()));
    };
    check("state.sqlite", "/base/state.sqlite");
    check("/var/lib/x.db", "/var/lib/x.db");
    check("sqlite:///state.sqlite", "/base/state.sqlite");
    check("sqlite:////var/lib/x.db", "/var/lib/x.db");
    for refused in ["postgresql://host/db", "mysql://x", "sqlite://", "sqlite:///"] {
        let found = errors(&format!("[master]\ndatabase = \"{refused}\""));
        assert!(found[0].contains("there is no database"), "{refused}: {found:?}");
    }
}

#[test]
fn passwords_come_from_files_and_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode| {
        fs::write(dir.path().join(name), text).unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    write("pw", "from file\n", 0o600);
    write("open", "x", 0o644);
    write("empty", "\n", 0o600);
    let worker = |password: &str| format!("[[worker]]\nname = \"w\"\n{password}\n");
    let password = |line: &str| {
        let loaded =
            parse(&worker(line), "f", dir.path()).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        (loaded.config.workers[0].password.expose_secret().to_owned(), lines(&loaded.warnings).len())
    };
    assert_eq!(password("password-file = \"pw\""), ("from file".into(), 0));
    assert_eq!(password("password-file = \"open\""), ("x".into(), 1));
    assert_eq!(password("password-env = \"CARGO_PKG_NAME\""), ("ganger-config".into(), 0));
    assert_eq!(password("password = \"%(prop:x)s %\""), ("%(prop:x)s %".into(), 0));
    let refused = |line: &str, message: &str| {
        let found = parse(&worker(line), "f", dir.path()).unwrap_err().render(false);
        assert!(found.contains(message), "{line}: {found}");
    };
    refused("password-file = \"none\"", "cannot read");
    refused("password-file = \"empty\"", "is empty");
    refused("password = \"\"", "is empty");
    refused("", "lacks a password");
    refused("password = \"a\"\npassword-file = \"pw\"", "does not go together");

    let file = dir.path().join("ganger.toml");
    fs::write(&file, worker("password = \"hunter2\"")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = load(&file).unwrap().warnings;
    assert!(warnings.render(false).contains("everybody on this machine can read this password"));
    assert!(!warnings.render(false).contains("hunter2"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(load(&file).unwrap().warnings.is_empty());
}

#[test]
fn secrets_are_read_when_a_step_names_them() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("secrets")).unwrap();
    fs::write(dir.path().join("secrets/token"), "s3cret\n").unwrap();
    let text = |name: &str| {
        let step = format!("type = \"ShellCommand\"\ncommand = \"x %(secret:{name})s\"");
        format!("[master]\nsecrets-directory = \"secrets\"\n{}", with_step(&step))
    };
    let config = parse(&text("token"), "f", dir.path()).unwrap().config;
    let secrets = &config.builders[0].secrets;
    assert_eq!(secrets.get("token").unwrap().expose_secret(), "s3cret");
    assert_eq!(secrets.iter().count(), 1);
    assert!(!format!("{config:?}").contains("s3cret"));
    for (name, message) in [("nothing", "cannot read"), ("../ganger.toml", "cannot be the name of a file")] {
        let found = parse(&text(name), "f", dir.path()).unwrap_err().render(false);
        assert!(found.contains(message), "{found}");
    }
    let found = step_errors("type = \"ShellCommand\"\ncommand = \"x %(secret:token)s\"");
    assert_eq!(
        found,
        [
            "2:11 there is no secret \"token\": nothing says where secrets are [set `secrets-directory` in `[master]`: it holds one file for each secret]"
        ]
    );
}

#[test]
fn a_step_has_all_arguments_of_its_type() {
    let read =
        step("type = \"ShellCommand\"\ncommand = \"make\"\nmaxTime = 1.5\nlogfiles = { a = \"a.log\" }");
    assert_eq!(read.name, "shell");
    assert_eq!(*read.args.get("command"), Renderable::literal("make"));
    assert_eq!(*read.args.get("timeout"), Renderable::Int(1200));
    assert_eq!(*read.args.get("maxTime"), Renderable::Float(1.5));
    assert_eq!(*read.args.get("workdir"), Renderable::literal("build"));
    assert_eq!(*read.args.get("sigtermTime"), Renderable::Null);
    assert_eq!(*read.args.get("decodeRC"), Renderable::Dict(vec![("0".into(), Renderable::Int(0))]));
    assert_eq!(
        *read.args.get("logfiles"),
        Renderable::Dict(vec![("a".into(), Renderable::literal("a.log"))])
    );
    assert_eq!(*read.args.get("nothing"), Renderable::Null);
    assert!(read.flags.flunk_on_failure && !read.flags.halt_on_failure);
    assert_eq!((&read.do_step_if, read.hide_step_if), (&Renderable::Bool(true), false));

    let compile =
        step("type = \"Compile\"\ndescriptionDone = [\"a\", \"%(prop:x)s\"]\nhaltOnFailure = false");
    assert!(!compile.flags.halt_on_failure);
    assert_eq!(compile.description[0].source(), "compiling");
    assert_eq!(compile.description_done[1].source(), "%(prop:x)s");
    let command = compile.args.get("command").render(&Nothing).unwrap();
    assert_eq!(command, json!(["make", "all"]));
}

#[test]
fn a_codebase_is_part_of_the_name() {
    let git = step("type = \"Git\"\nname = \"get\"\nrepourl = \"r\"\ncodebase = \"lib\"");
    assert_eq!(git.name, "get-lib");
    assert_eq!(git.description_suffix[0].source(), "lib");
}

#[test]
fn values_can_be_properties() {
    let check = |step_text: &str, argument: &str, expect: Json| {
        let value = step(step_text).args.get(argument).render(&Nothing).unwrap();
        assert_eq!(value, expect, "{step_text}");
    };
    let set = |value: &str| format!("type = \"SetProperty\"\nproperty = \"p\"\nvalue = {value}");
    check(&set("{ property = \"zero\" }"), "value", json!(null));
    check(&set("{ property = \"zero\", default = 7 }"), "value", json!(7));
    check(&set("{ property = \"zero\", default = 7, defaultWhenFalse = false }"), "value", json!(0));
    check(&set("{ property = \"none\", default = [\"%(prop:zero)s\"] }"), "value", json!(["0"]));
    check(
        &set("{ a = 1, b = { property = \"none\", default = true } }"),
        "value",
        json!({ "a": 1, "b": true }),
    );
    check(&set("1979-05-27T07:32:00Z"), "value", json!("1979-05-27T07:32:00Z"));
    check(
        "type = \"ShellCommand\"\ncommand = [\"a\", { property = \"none\", default = \"b\" }]\ntimeout = { property = \"zero\", defaultWhenFalse = false }",
        "timeout",
        json!(0),
    );
    let condition = step("type = \"Test\"\ndoStepIf = { property = \"zero\" }");
    assert_eq!(condition.do_step_if.render(&Nothing).unwrap(), json!(null));
    assert_eq!(
        step_errors(
            "type = \"FileUpload\"\nworkersrc = { prperty = \"x\" }\nmasterdest = \"y\"\nmaxsize = { property = \"x\" }"
        ),
        [
            "2:13 a property as a value lacks `property` [`property`: the name of the property]",
            "2:15 a property as a value has no `prperty` [did you mean `property`?]",
            "4:11 expected a whole number from 1 on, found a table",
        ]
    );
}

#[test]
fn each_argument_is_held_against_its_kind() {
    let check = |step_text: &str, expect: &[&str]| assert_eq!(step_errors(step_text), expect, "{step_text}");
    check(
        "type = \"ShellCommand\"",
        &[
            "0:1 ShellCommand lacks `command` [`command`: what to run: one text for the shell, or a list for none]",
        ],
    );
    check("type = \"ShellCommand\"\ncommand = []", &["2:11 the command is empty"]);
    check("type = \"ShellCommand\"\ncommand = [\"sleep\", 5]", &["2:21 expected text, found a whole number"]);
    check("type = \"Test\"\ntimeout = -1", &["2:11 expected a whole number from 0 to 1000000000, found -1"]);
    check("type = \"Test\"\ntimeout = nan", &["2:11 expected a number of seconds from 0 to 1000000000"]);
    check(
        "type = \"Test\"\nalwaysRun = \"true\"",
        &["2:13 expected `true` or `false`, found text [write true without quotes]"],
    );
    check(
        "type = \"Test\"\nname = \"%(prop:x)s\"",
        &["2:8 this is the same for all builds: it cannot hold `%(prop:x)s`"],
    );
    check(
        &format!("type = \"Test\"\nname = \"{}\"", "x".repeat(51)),
        &["2:8 the name of a step has at most 50 characters"],
    );
    check(
        "type = \"Test\"\ndecodeRC = { 0 = \"SUCESS\", x = \"FAILURE\" }",
        &[
            "2:18 expected one of SUCCESS, WARNINGS, FAILURE, SKIPPED, EXCEPTION, RETRY, CANCELLED, found \"SUCESS\" [did you mean \"SUCCESS\"?]",
            "2:28 expected an exit code, found \"x\"",
        ],
    );
    check(
        "type = \"Git\"\nrepourl = \"r\"\nmode = \"ful\"\nmethod = \"clean\"\nshallow = true",
        &["3:8 expected one of `\"incremental\"`, `\"full\"`, found \"ful\" [did you mean \"full\"?]"],
    );
    check(
        "type = \"Git\"\nrepourl = \"r\"\nmode = \"full\"\nmethod = \"clean\"\nshallow = 3",
        &[
            "5:11 with a `method`, `shallow` is only possible for mode \"full\" and method \"clobber\" [leave out `method`, or set `mode = \"full\"` and `method = \"clobber\"`]",
        ],
    );
    check(
        "type = \"SetPropertyFromCommand\"\ncommand = \"x\"\nproperty = \"p\"\nextract = []",
        &[
            "4:11 `property` and `extract` do not go together [leave out one of them: `property` takes all of standard output]",
        ],
    );
    check(
        "type = \"DirectoryUpload\"\nworkersrc = \"a\"\nmasterdest = \"b\"\ncompress = \"zip\"",
        &["4:12 expected one of `\"gz\"`, `\"bz2\"`, found \"zip\""],
    );
    check(
        "type = \"ShellSequence\"\ncommands = [{ command = \"a\" }, { comand = \"b\" }]",
        &[
            "2:32 a command of a sequence lacks `command` [`command`: what to run]",
            "2:34 a command of a sequence has no `comand` [did you mean `command`?]",
        ],
    );
}

#[test]
fn a_bad_template_points_into_its_string() {
    for (quote, column) in [("\"", 16), ("'", 16), ("\"\"\"", 18)] {
        let found = step_errors(&format!("type = \"ShellCommand\"\ncommand = {quote}é %(foo:x)s{quote}"));
        assert!(found[0].starts_with(&format!("2:{column} ")), "{found:?}");
    }
    // Escapes move what comes after them: then it is the whole string.
    let found = step_errors("type = \"ShellCommand\"\ncommand = \"\\t %(foo:x)s\"");
    assert!(found[0].starts_with("2:11 "), "{found:?}");
}

#[test]
fn names_that_clash_are_told() {
    let builders = |second: &str| format!("{MINIMAL}[[builder]]\n{second}\nworkers = [\"w\"]\n");
    let found = errors(&builders("name = \"b\""));
    assert_eq!(found, ["9:8 there are two builders of the name \"b\""]);
    let text = format!("{}[[builder]]\nname = \"a_b\"\nworkers = [\"w\"]\n", builders("name = \"a b\""));
    let found = errors(&text);
    assert!(found[0].contains("would use the same directory \"a_b\" on worker \"w\""), "{found:?}");
    assert!(errors(&builders("name = \"c\"\nworkerbuilddir = \"b\"")).is_empty());
    assert!(errors(&builders("name = \"_c\""))[0].contains("does not start with `_`"));
    let text =
        format!("{MINIMAL}[[builder]]\nname = \"c\"\nworkers = [\"w\", \"w\"]\ntags = [\"t\", \"t\"]\n");
    assert_eq!(errors(&text), ["10:17 \"w\" is named twice", "11:14 the tag \"t\" is there twice"]);
    for (name, message) in
        [("change", "something else logs in"), ("1st", "digit"), ("a b", "' ' in it"), ("", "is empty")]
    {
        let found = errors(&format!("[[worker]]\nname = \"{name}\"\npassword = \"p\"\n"));
        assert!(found[0].contains(message), "{name}: {found:?}");
    }
}

#[test]
fn directories_are_named_as_buildbot_names_them() {
    let text = MINIMAL.replace("\"b\"", "\"linux/x86 (fast): a-b_c'é\"");
    assert_eq!(good(&text).config.builders[0].workerbuilddir, "linux_x86__fast___a-b_c_é");
}

#[test]
fn schedulers_are_read() {
    let scheduler = |text: &str| {
        let text = format!("{MINIMAL}[[scheduler]]\nname = \"s\"\nbuilderNames = [\"b\"]\n{text}");
        good(&text).config.schedulers[0].clone()
    };
    let read = scheduler(
        "type = \"AnyBranchScheduler\"\nbranches = [\"a\"]\nreason = \"%(name)s 100%%\"\npriority = 5\nproperties = { x = [1] }",
    );
    let SchedulerKind::AnyBranch { branches, tree_stable_timer, reason } = &read.kind else {
        panic!("{read:?}")
    };
    assert_eq!((branches.as_deref(), *tree_stable_timer), (Some(&["a".to_owned()][..]), None));
    assert_eq!(reason.as_deref(), Some("s 100%"));
    assert_eq!((read.priority, read.properties.get("x")), (5, Some(&json!([1]))));
    assert_eq!(read.properties.property("x").unwrap().source, "Scheduler");

    let read = scheduler(
        "type = \"SingleBranchScheduler\"\nbranch = \"main\"\ntreeStableTimer = 0.5\ncodebases = { \"\" = {}, lib = { repository = \"r\", branch = \"b\" } }",
    );
    let SchedulerKind::SingleBranch { branch, tree_stable_timer, reason } = &read.kind else {
        panic!("{read:?}")
    };
    assert_eq!(branch.as_deref(), Some("main"));
    assert_eq!(tree_stable_timer.unwrap().as_millis(), 500);
    assert_eq!(reason.as_deref(), Some("The SingleBranchScheduler scheduler named 's' triggered this build"));
    assert_eq!(read.codebases[1].repository, "r");

    let read = scheduler("type = \"ForceScheduler\"\ncodebases = [\"a\", \"b\"]");
    let SchedulerKind::Force(force) = &read.kind else { panic!("{read:?}") };
    assert_eq!(
        (force.button_name.as_str(), force.label.as_str(), force.reason.as_str()),
        ("s", "s", "force build")
    );
    assert_eq!(read.codebases.len(), 2);

    let refused = |text: &str, expect: &[&str]| {
        let text = format!("{MINIMAL}[[scheduler]]\nname = \"s\"\n{text}");
        assert_eq!(errors(&text), expect, "{text}");
    };
    refused(
        "type = \"ForceScheduler\"\nbuilderNames = []",
        &["11:16 `builderNames` is empty: at least one builder is needed"],
    );
    refused(
        "type = \"AnyBranchScheduler\"\nbuilderNames = [\"B\"]",
        &["11:17 there is no builder \"B\" [did you mean \"b\"?]"],
    );
    refused(
        "builderNames = [\"b\"]\nbranch = \"x\"",
        &[
            "8:1 AnyBranchScheduler lacks `type` [`type`: what it waits for]",
            "11:1 AnyBranchScheduler has no `branch` [did you mean `branches`?]",
        ],
    );
    refused(
        "type = \"SingleBranchScheduler\"\nbuilderNames = [\"b\"]\nbranch = \"x\"\nreason = \"50%\"\nchange_filter = 1",
        &[
            "13:10 after `%` stands `(name)s`, `(classname)s` or, for a percent sign, another `%`",
            "14:1 SingleBranchScheduler has no `change_filter` [a SingleBranchScheduler has `branch`, an AnyBranchScheduler `branches`]",
        ],
    );
}

#[test]
fn values_of_properties_keep_their_types() {
    let text = MINIMAL.replace(
        "name = \"b\"",
        "name = \"b\"\nproperties = { a = 1, b = [true, 1.5], c = { d = \"e\" }, f = 2020-01-01 }",
    );
    let properties = good(&text).config.builders[0].properties.clone();
    assert_eq!(properties.get("b"), Some(&json!([true, 1.5])));
    assert_eq!(properties.get("c"), Some(&json!({ "d": "e" })));
    assert_eq!(properties.get("f"), Some(&json!("2020-01-01")));
    let found = errors(&text.replace("a = 1", "a = inf, g = \"%(prop:x)s\""));
    assert_eq!(found[0].split_once(' ').unwrap().1, "properties hold finite numbers only");
    assert!(found[1].contains("the same for all builds"), "{found:?}");
}

#[test]
fn order_is_that_of_the_file() {
    let read = step("type = \"ShellCommand\"\ncommand = \"x\"\nenv = { Z = \"1\", A = \"2\", M = \"3\" }");
    let Renderable::Dict(env) = read.args.get("env") else { panic!() };
    assert_eq!(env.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["Z", "A", "M"]);
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_like_any() {
    let dir = tempfile::tempdir().unwrap();
    let errors = load(&dir.path().join("none.toml")).unwrap_err();
    assert!(errors.render(false).contains("cannot read"));
    assert_eq!(errors.errors.iter().next().unwrap().line, 0);
    let file = dir.path().join("latin1.toml");
    fs::write(&file, b"a = 1\n\n# \xe9").unwrap();
    assert!(load(&file).unwrap_err().render(false).contains("not UTF-8, first in line 3"));
    assert!(load(dir.path()).is_err());
}

#[test]
fn ten_thousand_builders_are_read_quickly() {
    let mut text = MINIMAL.to_owned();
    for n in 0..10_000 {
        text.push_str(&format!(
            "[[builder]]\nname = \"builder-{n}\"\nworkers = [\"w\"]\n[[builder.step]]\ntype = \"Git\"\nrepourl = \"r\"\n[[builder.step]]\ntype = \"ShellCommand\"\ncommand = [\"make\", \"-j%(prop:jobs:-{n})s\"]\n"
        ));
    }
    let start = Instant::now();
    let config = good(&text).config;
    assert_eq!(config.builders.len(), 10_001);
    // Without optimisation and on a busy machine; with it, this takes a tenth of it.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());

    let wrong = text.replace("[\"w\"]", "[\"v\"]");
    let start = Instant::now();
    assert!(parse(&wrong, "f", Path::new("/")).is_err());
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn nothing_that_is_written_makes_it_panic() {
    let whole = include_str!("../../../../examples/steps.toml");
    // Cut anywhere, and with any one line left out.
    for end in (0..whole.len()).step_by(37).filter(|end| whole.is_char_boundary(*end)) {
        match parse(&whole[..end], "f", Path::new("/base")) {
            Ok(loaded) => drop(loaded.warnings.render(false)),
            Err(errors) => drop(errors.render(false)),
        }
    }
    let lines: Vec<&str> = whole.lines().collect();
    for skip in 0..lines.len() {
        let text: Vec<&str> =
            lines.iter().enumerate().filter(|(n, _)| *n != skip).map(|(_, line)| *line).collect();
        if let Err(errors) = parse(&text.join("\n"), "f", Path::new("/base")) {
            assert!(!errors.render(false).is_empty());
        }
    }
    // Every value replaced by every kind of value.
    for value in ["1", "-1.5", "true", "\"\"", "\"é%(\"", "[]", "[1]", "{}", "{ property = 1 }", "2020-01-01"]
    {
        for (n, line) in lines.iter().enumerate() {
            let Some((key, _)) = line.split_once(" = ") else { continue };
            let changed = format!("{key} = {value}");
            let text: Vec<&str> = lines
                .iter()
                .enumerate()
                .map(|(m, line)| if m == n { changed.as_str() } else { line })
                .collect();
            if let Err(errors) = parse(&text.join("\n"), "f", Path::new("/base")) {
                assert!(!errors.render(false).is_empty());
            }
        }
    }
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
