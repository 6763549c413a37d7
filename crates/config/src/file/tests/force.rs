//! What can be said to a force scheduler. What Buildbot makes of the same is compared in `engine::core`.

use super::*;
use crate::{ForceScheduler, Parameter, ParameterKind};

/// A minimal configuration with a force scheduler of the name `s` for builder `b`, whose own lines begin in line 12.
fn with(lines: &str) -> String {
    format!(
        "{MINIMAL}[[scheduler]]\ntype = \"ForceScheduler\"\nname = \"s\"\nbuilderNames = [\"b\"]\n{lines}"
    )
}

fn force(lines: &str) -> ForceScheduler {
    match &good(&with(lines)).config.schedulers[0].kind {
        SchedulerKind::Force(force) => ForceScheduler::clone(force),
        other => panic!("{other:?}"),
    }
}

fn names(fields: Option<&[Parameter]>) -> Vec<&str> {
    fields.unwrap().iter().map(|field| field.full_name.as_str()).collect()
}

#[track_caller]
fn refused(lines: &str, expect: &[&str]) {
    assert_eq!(errors(&with(lines)), expect, "{lines}");
}

#[test]
fn without_parameters_there_are_those_of_buildbot() {
    let force = force("");
    assert_eq!((&*force.button_name, &*force.label), ("s", "s"));
    assert_eq!((&force.reason.default, &force.priority.default), (&"force build".into(), &0.into()));
    assert_eq!(force.username.kind, ParameterKind::UserName { size: 30, need_email: true });
    let codebases: Vec<_> = force.codebases.iter().map(|one| names(one.parameter.fields())).collect();
    assert_eq!(codebases, [["branch", "project", "repository", "revision"]]);
    for (name, is_taken) in
        [("branch", true), ("username", true), ("priority", true), ("x", false), ("", false)]
    {
        assert_eq!(force.takes(name), is_taken, "{name}");
    }
}

#[test]
fn names_of_groups_are_in_front_of_those_within() {
    let force = force(
        r#"codebases = ["", { codebase = "lib", project = false, patch = true }]
reason = "nightly"
priority = 5
[[scheduler.properties]]
type = "NestedParameter"
name = "opts"
fields = [
    { type = "IntParameter", name = "jobs" },
    { type = "ParameterGroup", name = "", fields = [{ type = "AnyPropertyParameter", name = "any" }] },
]
"#,
    );
    assert_eq!((&force.reason.default, &force.priority.default), (&"nightly".into(), &5.into()));
    let lib = force.codebases[1].parameter.fields();
    assert_eq!(names(lib), ["lib_branch", "lib_repository", "lib_revision", "lib_patch"]);
    let patch = ["body", "level", "author", "comment", "subdir"].map(|part| format!("lib_patch_{part}"));
    assert_eq!(names(lib.unwrap()[3].fields()), patch);
    let within = force.properties[0].fields();
    assert_eq!(names(within), ["opts_jobs", "opts"]);
    let any = within.unwrap()[1].fields();
    assert_eq!(names(any.unwrap()[0].fields()), ["opts_any_name", "opts_any_value"]);
    assert!(force.takes("opts_any_name") && force.takes("lib_patch_body") && !force.takes("opts_any"));
}

#[test]
fn mistakes_in_parameters_are_found_at_once() {
    refused(
        r#"reasonString = "%(who)s"
priority = { type = "StringParameter" }
username = "me"
codebases = ["a", "a", { name = "b" }, { codebase = "c", branch = { name = "x" }, patch = "p" }]
properties = [
    { type = "StringParam", name = "a" },
    { type = "Boolean", name = "a" },
    { type = "InheritBuildParameter", name = "a" },
    { type = "IntParameter", default = 1 },
    { name = "owner" },
    { name = "b", regex = "(" },
    { name = "c", choices = [] },
    { type = "IntParameter", name = "d", default = "1" },
    { type = "ChoiceStringParameter", name = "e", choices = ["main", "dev"], default = "man" },
    { type = "ChoiceStringParameter", name = "f", choices = ["main"], multiple = true, default = "main" },
    { type = "NestedParameter", name = "g" },
    { name = "" },
]
"#,
        &[
            "12:16 after `%` stands `(owner)s`, `(reason)s` or, for a percent sign, another `%`",
            "13:12 `priority` is an `IntParameter` of one value",
            "14:12 expected a parameter: a table, found text",
            "15:19 \"a\" is named twice",
            "15:24 a codebase lacks `codebase` [`codebase`: the codebase; may be empty]",
            "15:76 the name of this parameter is \"branch\"",
            "15:91 expected `true`, `false`, or a parameter, found text",
            "17:14 there is no parameter of type \"StringParam\" [did you mean \"StringParameter\"?]",
            "18:14 there is no parameter of type \"Boolean\" [did you mean \"BooleanParameter\"?]",
            "19:14 there is no parameter of type \"InheritBuildParameter\" [in Buildbot 4.3 there is one, but every request with it ends with an error]",
            "20:5 a parameter lacks `name` [`name`: its name]",
            "21:14 no parameter can be called \"owner\": that is reserved",
            "22:27 \"(\" is no regular expression: Parsing error at position 1: Opening parenthesis without closing parenthesis",
            "23:19 a parameter has no `choices` [it has `type`, `name`, `label`, `tablabel`, `tooltip`, `hide`, `autopopulate`, `default`, `required`, `multiple`, `regex`, `maxsize`, `size`]",
            "24:52 expected a whole number, found text",
            "25:88 \"man\" is none of the `choices` [did you mean \"main\"?]",
            "26:98 expected a list, as there are several values, found text",
            "27:5 a parameter lacks `fields` [`fields`: the parameters within it]",
            "28:14 `name` is empty [only a `NestedParameter` can be without a name]",
        ],
    );
    refused(
        "codebases = []",
        &["12:13 `codebases` is empty: a build needs at least one [leave it out for one of the empty name]"],
    );
}

#[test]
fn a_strict_choice_has_choices() {
    refused(
        "properties = [{ type = \"ChoiceStringParameter\", name = \"c\" }]",
        &["12:15 a parameter lacks choices [where `strict` is true, they are all that may be said]"],
    );
}
