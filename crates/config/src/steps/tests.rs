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
    ("Git", "port"),                          // Of use only with the keys below.
    ("Git", "sshPrivateKey"),                 // The worker's own git configuration holds credentials.
    ("Git", "sshHostKey"),
    ("Git", "sshKnownHosts"),
    ("Git", "auth_credentials"),
    ("Git", "git_credentials"),
    ("JSONStringDownload", "s"), // Ignored by Buildbot too.
    ("JSONPropertiesDownload", "s"),
];

/// Arguments that Buildbot does not have.
const ADDED: &[(&str, &str)] = &[("SetPropertyFromCommand", "extract")];

/// Arguments whose default or manner differs on purpose.
const DIFFERENT: &[(&str, &str)] = &[
    ("*", "workdir"),          // Buildbot's default is that of the build: "build".
    ("*", "warningExtractor"), // By the function's name instead of the function.
    ("SetPropertyFromCommand", "includeStderr"), // Buildbot's constructor sets it where a function is given.
    ("JSONStringDownload", "o"), // Renderable as `s`, which Buildbot keeps it in.
];

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
        ALL.iter().map(|step| step.name).collect::<BTreeSet<_>>(),
        real.keys().map(String::as_str).collect::<BTreeSet<_>>()
    );
    for step in ALL {
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
        if name != "Git" {
            assert_eq!(step.description, texts(&real["description"]), "{name}");
            assert_eq!(step.description_done, texts(&real["descriptionDone"]), "{name}");
        }
    }
}

#[test]
fn arguments_are_buildbots() {
    let real: Json = serde_json::from_str(REAL).unwrap();
    let mut wrong = Vec::new();
    for step in ALL {
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
