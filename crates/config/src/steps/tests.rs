use std::collections::BTreeSet;

use ::model::Flags;
use serde_json::{Value as Json, json};

use super::*;
use crate::renderable::Renderable;

const REAL: &str = include_str!("../../../../protocol-fixtures/vectors/step-types.json");

/// Arguments of Buildbot that there are not, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("ShellSequence", "command"),             // Refused by Buildbot too.
    ("SetPropertyFromCommand", "extract_fn"), // A function.
    ("JSONStringDownload", "s"),              // Ignored by Buildbot too.
    ("JSONPropertiesDownload", "s"),
    ("CMake", "command"),             // Refused by Buildbot too.
    ("MasterShellCommand", "usePTY"), // A process gets a terminal of its own only by code that is not safe.
    ("*", "hooks"),                   // A function.
    ("*", "files"),                   // Files that are open while the configuration is read.
    ("*", "stream"),                  // Has no effect.
    ("GET", "method"),                // It is the name of the type.
    ("POST", "method"),
    ("PUT", "method"),
    ("DELETE", "method"),
    ("HEAD", "method"),
    ("OPTIONS", "method"),
];

/// Arguments of all of Buildbot's steps that ours do not take, and why.
const COMMON_LEFT_OUT: &[&str] = &[
    "logEncoding",     // Workers send text.
    "progressMetrics", // Has no effect.
    "useProgress",     // Has no effect.
    "workdir",         // Taken by the types that use it.
];

/// Arguments that Buildbot does not have.
const ADDED: &[(&str, &str)] = &[
    ("SetPropertyFromCommand", "extract"),
    ("MasterShellCommand", "workdir"), // Taken by all of Buildbot's steps, used by few.
];

/// Arguments whose default or manner differs on purpose.
const DIFFERENT: &[(&str, &str)] = &[
    ("*", "workdir"),          // Buildbot's default is that of the build: "build".
    ("*", "warningExtractor"), // By the function's name instead of the function.
    ("SetPropertyFromCommand", "includeStderr"), // Buildbot's constructor sets it where a function is given.
    ("*", "sshPrivateKey"),    // Rendered by Buildbot too, in its own way.
    ("*", "sshHostKey"),
    ("*", "sshKnownHosts"),
    ("*", "auth_credentials"),
    ("*", "git_credentials"),
    ("Trigger", "sourceStamp"), // Rendered as one of `sourceStamps`, which Buildbot makes it.
    ("JSONStringDownload", "o"), // Renderable as `s`, which Buildbot keeps it in.
];

/// Types that Buildbot does not have.
const OURS: &[&str] = &["CleanWorkspace"];

fn buildbots() -> impl Iterator<Item = &'static StepType> {
    ALL.iter().copied().filter(|step| !OURS.contains(&step.name))
}

fn is_in(list: &[(&str, &str)], step: &str, argument: &str) -> bool {
    list.iter().any(|(s, a)| (*s == step || *s == "*") && *a == argument)
}

fn plain(value: &Renderable) -> Json {
    match value {
        Renderable::Null | Renderable::Property { .. } | Renderable::Expression(_) => Json::Null,
        Renderable::Bool(truth) => json!(truth),
        Renderable::Int(number) => json!(number),
        Renderable::Float(number) => json!(number),
        Renderable::Text(text) => json!(text.source()),
        Renderable::List(values) => values.iter().map(plain).collect(),
        Renderable::Dict(entries) => {
            Json::Object(entries.iter().map(|(k, v)| (k.clone(), plain(v))).collect())
        }
    }
}

fn texts(value: &Json) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn types_are_buildbots() {
    let real: Json = serde_json::from_str(REAL).unwrap();
    let real = real["types"].as_object().unwrap();
    assert_eq!(
        buildbots().map(|step| step.name).collect::<BTreeSet<_>>(),
        real.keys().map(String::as_str).collect::<BTreeSet<_>>()
    );
    for step in buildbots() {
        let (name, real) = (step.name, &real[step.name]);
        assert_eq!(step.default_name, real["name"], "{name}");
        let flags = &real["flags"];
        let flag = |flag: &str| flags[flag].as_bool().unwrap();
        let expected = Flags {
            always_run: flag("alwaysRun"),
            flunk_on_failure: flag("flunkOnFailure"),
            flunk_on_warnings: flag("flunkOnWarnings"),
            halt_on_failure: flag("haltOnFailure"),
            warn_on_failure: flag("warnOnFailure"),
            warn_on_warnings: flag("warnOnWarnings"),
        };
        assert_eq!(step.flags, expected, "{name}");
        // A source step sets its descriptions in its constructor.
        if !name.starts_with("Git") {
            assert_eq!(step.description, texts(&real["description"]), "{name}");
            assert_eq!(step.description_done, texts(&real["descriptionDone"]), "{name}");
        }
    }
}

#[test]
fn arguments_of_all_steps_are_buildbots() {
    let real: Json = serde_json::from_str(REAL).unwrap();
    let ours: BTreeSet<&str> = COMMON.iter().map(|key| key.name).filter(|name| *name != "type").collect();
    let left_out: BTreeSet<&str> = COMMON_LEFT_OUT.iter().copied().collect();
    assert!(ours.is_disjoint(&left_out));
    assert_eq!(
        ours.union(&left_out).copied().collect::<BTreeSet<_>>(),
        texts(&real["common"]).into_iter().collect()
    );
}

#[test]
fn arguments_are_buildbots() {
    let real: Json = serde_json::from_str(REAL).unwrap();
    let mut wrong = Vec::new();
    for step in buildbots() {
        let (name, real) = (step.name, &real["types"][step.name]);
        let renderables = texts(&real["renderables"]);
        let arguments = real["arguments"].as_object().unwrap();
        for key in step.own_arguments().filter(|key| !is_in(ADDED, name, key.name)) {
            let Some(default) = arguments.get(key.name) else {
                wrong.push(format!("{name} has no {}", key.name));
                continue;
            };
            if is_in(DIFFERENT, name, key.name) {
                continue;
            }
            let ours = plain(&key.default.value());
            // A table that is left out is as good as an empty one.
            if ours != *default && !(ours.is_null() && *default == json!({})) {
                wrong.push(format!("{name}: {} is {default}, ours {ours}", key.name));
            }
            if renderables.contains(&key.name) != key.renderable {
                wrong.push(format!("{name}: {} renderable: ours {}", key.name, key.renderable));
            }
        }
        for argument in arguments.keys() {
            if !step.own_arguments().any(|key| key.name == argument) && !is_in(LEFT_OUT, name, argument) {
                wrong.push(format!("{name}: {argument} is missing"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_table_has_a_key_twice() {
    let tables = ALL.iter().map(|step| step.keys());
    let tables = tables.chain(NESTED.iter().map(|(_, keys)| *keys));
    let tables = tables.chain(crate::file::TABLES.iter().map(|(_, _, keys)| *keys));
    for keys in tables {
        let mut seen = BTreeSet::new();
        for key in keys.iter() {
            assert!(seen.insert(key.name), "{} has {} twice", keys.what, key.name);
        }
        for (hint, _) in keys.hints {
            assert!(!seen.contains(hint), "{}: {hint} is a key", keys.what);
        }
    }
}
