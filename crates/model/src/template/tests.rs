use serde_json::{Map, json};

use super::*;

const VECTORS: &str = include_str!("../../../../protocol-fixtures/vectors/interpolate.json");

/// What there is to ask for, by JSON object.
#[derive(Default)]
struct World {
    properties: Map<String, Json>,
    sources: Vec<Json>,
    worker: Map<String, Json>,
    secrets: Map<String, Json>,
}

impl World {
    fn of(properties: Json) -> Self {
        Self { properties: object(&properties), ..Self::default() }
    }
}

impl Context for World {
    fn property(&self, name: &str) -> Option<Json> {
        self.properties.get(name).cloned()
    }

    fn source(&self, codebase: &str, attribute: &str) -> Option<Json> {
        self.sources.iter().find(|source| source["codebase"] == codebase)?.get(attribute).cloned()
    }

    fn worker(&self, name: &str) -> Option<Json> {
        self.worker.get(name).cloned()
    }

    fn secret(&self, name: &str) -> Option<String> {
        Some(self.secrets.get(name)?.as_str()?.to_owned())
    }
}

fn object(value: &Json) -> Map<String, Json> {
    value.as_object().unwrap().clone()
}

/// Texts that we take and Buildbot does not: it tries the conversion on an empty text when it reads the template.
const OURS: [&str; 3] = ["%(prop:text)d", "%(prop:one)d", "%(prop:one)05d"];

#[test]
fn renders_what_buildbot_renders_and_refuses_what_it_refuses() {
    let document: Json = serde_json::from_str(VECTORS).unwrap();
    let world = World {
        properties: object(&document["properties"]),
        sources: document["sources"].as_array().unwrap().clone(),
        worker: object(&document["worker"]),
        secrets: object(&document["secrets"]),
    };
    let mut wrong = Vec::new();
    for vector in document["vectors"].as_array().unwrap() {
        let text = vector["text"].as_str().unwrap();
        // Without a value in it, a text is not given to Interpolate in the first place.
        if !text.contains("%(") || OURS.contains(&text) {
            continue;
        }
        let ours = match Template::parse(text) {
            Err(error) if vector.get("parse_error").is_some() => {
                assert!(
                    text.is_char_boundary(error.offset) && error.offset <= text.len(),
                    "{text}: {error:?}"
                );
                continue;
            }
            Err(error) => format!("refused: {error}"),
            Ok(template) => match template.render(&world) {
                Ok(result) if vector["result"] == result => continue,
                Err(_) if vector.get("render_error").is_some() => continue,
                other => format!("{other:?}"),
            },
        };
        wrong.push(format!("{vector}\n    ours: {ours}"));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_text_without_a_value_in_it_stands_for_itself() {
    for text in ["", "date +%s", "100%", "100%% sure", "%d%%", "$(date)"] {
        let template = Template::parse(text).unwrap();
        assert!(template.is_literal());
        assert_eq!(template.render(&World::default()).unwrap(), text);
        assert_eq!(template.source(), text);
    }
    let literal = Template::literal("%(prop:x)s");
    assert_eq!(literal.render(&World::default()).unwrap(), "%(prop:x)s");
}

#[test]
fn numbers_can_be_written_with_zeros_in_front() {
    let check = |text: &str, value: Json, expect: &str| {
        let world = World::of(json!({ "n": value }));
        assert_eq!(Template::parse(text).unwrap().render(&world).unwrap(), expect, "{text}");
    };
    // As Python's % writes them.
    check("%(prop:n)d", json!(7), "7");
    check("%(prop:n)05d", json!(7), "00007");
    check("%(prop:n)05d", json!(-7), "-0007");
    check("%(prop:n)5d|", json!(7), "    7|");
    check("%(prop:n)-5d|", json!(7), "7    |");
    check("%(prop:n)-05d|", json!(7), "7    |");
    check("%(prop:n)+d", json!(7), "+7");
    check("%(prop:n)+05d", json!(7), "+0007");
    check("%(prop:n) d", json!(7), " 7");
    check("%(prop:n).3d", json!(7), "007");
    check("%(prop:n)6.3d|", json!(-7), "  -007|");
    check("%(prop:n)d", json!(true), "1");
    check("%(prop:n)d", json!(3.9), "3");
    check("%(prop:n)d", json!(-0.5), "0");
    check("%(prop:n)d", json!(1e18), "1000000000000000000");
    let error =
        Template::parse("%(prop:n)d").unwrap().render(&World::of(json!({ "n": "seven" }))).unwrap_err();
    assert_eq!(error.to_string(), "%(prop:n)d wants a number, the value is 'seven'");
}

#[test]
fn a_value_that_looks_like_a_template_is_not_read_as_one() {
    let world = World::of(json!({ "a": "%(secret:b)s %% %" }));
    assert_eq!(Template::parse("<%(prop:a)s>").unwrap().render(&world).unwrap(), "<%(secret:b)s %% %>");
}

#[test]
fn an_error_points_into_the_text() {
    let check = |text: &str, at: &str, message: &str| {
        let error = Template::parse(text).unwrap_err();
        assert_eq!(&text[error.offset..], at, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
    };
    check("make %(prop:jobs", "%(prop:jobs", "without its `)`");
    check("make %(prop:jobs)", "%(prop:jobs)", "without the `s`");
    check("make %(prop:jobs)x", "x", "ends with `s`");
    check("make %(jobs)s", "jobs)s", "does not say what it is");
    check("make %(kw:jobs)s", "kw:jobs)s", "Python call");
    check("make %(prop:é jobs)s", " jobs)s", "in the name of a property");
    check("make %(prop:jobs:-%(prop:cpus:4)s)s", "4)s)s", "after the name stands");
    check("make %(prop:jobs:?|-j|é%(foo:a)s)s", "foo:a)s)s", "none of");
    check("100% %(prop:jobs)s", "% %(prop:jobs)s", "write `%%`");
    check("%(prop:jobs)99999999s", "99999999s", "width");
    check("%(src:branch)s", "branch)s", "codebase");
    check("%(prop:)s", ")s", "missing");
}

#[test]
fn nothing_is_nested_without_end() {
    let text = "%(prop:a:-".repeat(100_000) + &")s".repeat(100_000);
    assert!(Template::parse(&text).unwrap_err().message.contains("deep"));
    assert!(Template::parse(&"%(".repeat(100_000)).is_err());
}

#[test]
fn it_tells_what_it_asks_for() {
    let template = Template::parse("%(prop:a:-%(secret:b)s)s %(src:c:branch:?|%(worker:d)s|)s").unwrap();
    let names: Vec<String> = template.references().into_iter().map(ToString::to_string).collect();
    assert_eq!(names, ["prop:a", "secret:b", "src:c:branch", "worker:d"]);
}
