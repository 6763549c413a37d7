use std::path::Path;

use config::SchedulerKind;
use serde_json::json;

use super::*;

const VECTORS: &str = include_str!("../../../../../../protocol-fixtures/vectors/force.json");

/// The force scheduler with these lines.
fn scheduler(lines: &str) -> ForceScheduler {
    let text = format!(
        "[[worker]]\nname = \"w\"\npassword = \"p\"\n[[builder]]\nname = \"b\"\nworkers = [\"w\"]\n\
         [[scheduler]]\ntype = \"ForceScheduler\"\nname = \"force\"\nbuilderNames = [\"b\"]\n{lines}"
    );
    let loaded = config::parse(&text, "test.toml", Path::new("/"));
    let loaded = loaded.unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    match &loaded.config.schedulers[0].kind {
        SchedulerKind::Force(force) => ForceScheduler::clone(force),
        other => panic!("{other:?}"),
    }
}

fn values(given: &Json) -> Values {
    let several = |value: &Json| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    given.as_object().unwrap().iter().map(|(name, value)| (name.clone(), several(value))).collect()
}

/// What is filled in as the recorded requests have it.
fn shown(scheduler: &ForceScheduler, filled: &Filled) -> Json {
    let stamps = filled.sourcestamps.iter().map(|stamp| {
        let patch = stamp.patch.as_ref().map(|patch| {
            let body = String::from_utf8(patch.body.clone()).unwrap();
            json!([body, patch.level, patch.subdir, patch.author, patch.comment])
        });
        json!([stamp.codebase, stamp.branch, stamp.revision, stamp.repository, stamp.project, patch])
    });
    let mut properties = filled.properties.clone();
    properties.insert("reason".to_owned(), filled.reason.clone());
    properties.insert("owner".to_owned(), filled.owner.clone());
    let reason = super::super::force::worded(&scheduler.reason_string, filled);
    json!([reason, filled.priority, properties, stamps.collect::<Vec<_>>()])
}

fn expected(asked: &Json) -> Json {
    let stamps = asked["sourcestamps"].as_array().unwrap().iter().map(|stamp| {
        let patch = stamp.get("patch_body").filter(|body| *body != "").map(|body| {
            json!([
                body,
                stamp["patch_level"],
                stamp["patch_subdir"],
                stamp["patch_author"],
                stamp["patch_comment"]
            ])
        });
        json!([
            stamp["codebase"],
            stamp["branch"],
            stamp["revision"],
            stamp["repository"],
            stamp["project"],
            patch
        ])
    });
    json!([asked["reason"], asked["priority"], asked["properties"], stamps.collect::<Vec<_>>()])
}

#[test]
fn a_form_is_what_buildbot_makes_of_it() {
    let document: Json = serde_json::from_str(VECTORS).unwrap();
    let cases = document["cases"].as_array().unwrap();
    assert!(cases.len() > 5);
    for case in cases {
        let lines = case["toml"].as_str().unwrap();
        let scheduler = scheduler(lines);
        assert_eq!(Json::Array(scheduler.all_fields()), case["all_fields"], "{lines}");
        for request in case["requests"].as_array().unwrap() {
            let owner = request["owner"].as_str().unwrap_or_default();
            let found = match fill(&scheduler, &values(&request["values"]), owner) {
                Ok(filled) => shown(&scheduler, &filled),
                Err(mistakes) => json!({ "errors": mistakes.into_iter().collect::<BTreeMap<_, _>>() }),
            };
            let expect = match request.get("errors") {
                Some(errors) => json!({ "errors": errors }),
                None => expected(&request["asked"]),
            };
            assert_eq!(found, expect, "{lines}{request}");
        }
    }
}

#[test]
fn what_is_given_as_text_has_the_type_of_its_parameter() {
    let scheduler = scheduler(
        r#"properties = [
            { type = "BooleanParameter", name = "truth" },
            { type = "FixedParameter", name = "fixed", default = "f" },
            { name = "text" },
        ]"#,
    );
    let filled = |given: Json| fill(&scheduler, &values(&given), "me").map(|filled| filled.properties);
    let properties = filled(json!({ "truth": "true", "fixed": "f", "text": "1.20" })).unwrap();
    assert_eq!(Json::Object(properties), json!({ "truth": true, "fixed": "f", "text": "1.20" }));
    let properties = filled(json!({ "truth": "False", "text": 5 })).unwrap();
    assert_eq!(Json::Object(properties), json!({ "truth": false, "fixed": "f", "text": "5" }));
    let mistakes = filled(json!({ "truth": "maybe", "fixed": "mine" })).unwrap_err();
    let mistake = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    assert_eq!(
        mistakes,
        [mistake("truth", "'maybe' is neither true nor false"), mistake("fixed", "it is always 'f'")]
    );
}
