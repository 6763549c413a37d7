//! `ForceScheduler`: what somebody may say who asks for a build (`buildbot/schedulers/forcesched.py`, 4.3.0).

use ::model::Json;
use toml::de::DeValue;

use super::{
    COMMON, HINTS,
    parameter::{self, Place},
};
use crate::{
    form::{CodebaseParameter, ForceScheduler, Group, Parameter, ParameterKind},
    schema::{Fallback, Key, Kind, Special},
    table::{Keys, Table},
    value::Value,
};

pub(in crate::file) const FORCE: Keys = Keys {
    what: "ForceScheduler",
    groups: &[
        COMMON,
        &[
            Key::new("buttonName", Kind::Text, "the text on the button").default(Fallback::Of("the name")),
            Key::new("label", Kind::Text, "the heading of the form").default(Fallback::Of("the name")),
            Key::new("username", Kind::Special(&USERNAME), "the parameter for who asks, where that is not known"),
            Key::new("reason", Kind::Special(&REASON), "the reason where none is given, or the parameter for it")
                .default(Fallback::Text("force build")),
            Key::new("reasonString", Kind::Text, "why its builds are there, with `%(owner)s` and `%(reason)s`")
                .default(Fallback::Text(REASON_STRING)),
            Key::new(
                "priority",
                Kind::Special(&PRIORITY),
                "the priority where none is given, or the parameter for it; builds of a higher one are started first",
            )
            .default(Fallback::Integer(0)),
            Key::new(
                "codebases",
                Kind::Special(&CODEBASES),
                "the codebases of its builds: names, which all can be said about, or tables, see `A CodebaseParameter`",
            )
            .default(Fallback::Of("one, of the empty name")),
            Key::new("properties", Kind::Tables("A parameter"), "parameters that become properties"),
        ],
    ],
    hints: HINTS,
};

pub(in crate::file) const CODEBASE: Keys = Keys {
    what: "a codebase",
    groups: &[&[
        Key::new("type", Kind::Choice(&["CodebaseParameter"]), "its type")
            .default(Fallback::Text("CodebaseParameter")),
        Key::new("codebase", Kind::Text, "the codebase; may be empty").required(),
        Key::new("name", Kind::Text, "what the names of its parameters begin with")
            .default(Fallback::Of("the codebase")),
        Key::new("label", Kind::Text, "the heading of its parameters")
            .default(Fallback::Of("`Codebase: ` and the codebase")),
        Key::new(
            "branch",
            Kind::Special(&PART),
            "the branch: a parameter, a text that is always it, or `false` if it cannot be said",
        )
        .default(Fallback::Of("a `StringParameter`")),
        Key::new("revision", Kind::Special(&PART), "as `branch`: the commit")
            .default(Fallback::Of("a `StringParameter`")),
        Key::new("repository", Kind::Special(&PART), "as `branch`: where the code is")
            .default(Fallback::Of("a `StringParameter`")),
        Key::new("project", Kind::Special(&PART), "as `branch`: the project")
            .default(Fallback::Of("a `StringParameter`")),
        Key::new("patch", Kind::Special(&PATCH), "`true`, or a `PatchParameter`: a patch can be given")
            .default(Fallback::Bool(false)),
        Key::new("hide", Kind::Bool, "not shown").default(Fallback::Bool(false)),
        Key::new("tablabel", Kind::Text, "shown on its tab").default(Fallback::Of("the label")),
        Key::new("tooltip", Kind::Text, "shown over it").default(Fallback::Text("")),
        Key::new("layout", parameter::LAYOUT, "how its parameters are shown")
            .default(Fallback::Text("vertical")),
        Key::new("columns", parameter::COLUMNS, "in how many columns")
            .default(Fallback::Of("1, or 2 from four on")),
    ]],
    hints: &[("required", "the parameters within it may be `required`")],
};

const USERNAME: Special = Special::apart("a parameter");
const REASON: Special = Special::apart("text, or a parameter");
const PRIORITY: Special = Special::apart("a whole number, or a parameter");
const CODEBASES: Special = Special::apart("a list of names and tables");
const PART: Special = Special::apart("a parameter, text, or `false`");
const PATCH: Special = Special::apart("`true`, `false`, or a parameter");

const REASON_STRING: &str = "A build was forced by '%(owner)s': %(reason)s";

/// Reads what a force scheduler called `name` takes.
pub(super) fn read(table: &Table<'_>, name: &str) -> ForceScheduler {
    let text =
        |key, default: &str| table.text(key).map_or_else(|| default.to_owned(), |(text, _)| text.to_owned());
    let properties = table.tables("properties").into_iter();
    ForceScheduler {
        button_name: text("buttonName", name),
        label: text("label", name),
        reason_string: reason_string(table),
        username: username(table),
        reason: reason(table),
        priority: priority(table),
        codebases: codebases(table),
        properties: properties.filter_map(|value| parameter::read(value, Place::within(""))).collect(),
    }
}

/// `%(owner)s` and `%(reason)s` are filled in later; anything else with a percent sign is refused.
fn reason_string(table: &Table<'_>) -> String {
    let Some((text, span)) = table.plain_text("reasonString") else { return REASON_STRING.to_owned() };
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let known = ["(owner)s", "(reason)s", "%"];
        let Some(after) = known.iter().find_map(|form| after.strip_prefix(form)) else {
            let message = "after `%` stands `(owner)s`, `(reason)s` or, for a percent sign, another `%`";
            table.reading().sink.error(span, message);
            break;
        };
        rest = after;
    }
    text.to_owned()
}

fn username(table: &Table<'_>) -> Parameter {
    let place = Place::of("username", "UserNameParameter");
    let given = table.value("username").and_then(|value| parameter::read(value, place));
    given.unwrap_or_else(|| {
        Parameter::new("", "username", ParameterKind::UserName { size: 30, need_email: true })
    })
}

fn reason(table: &Table<'_>) -> Parameter {
    let plain = Parameter {
        default: Json::from("force build"),
        ..Parameter::new("", "reason", ParameterKind::Text { size: 20 })
    };
    match table.value("reason") {
        None => plain,
        Some(value) => match value.get() {
            DeValue::String(text) => Parameter { default: Json::from(&**text), ..plain },
            DeValue::Table(_) => {
                parameter::read(value, Place::of("reason", "StringParameter")).unwrap_or(plain)
            }
            _ => {
                value.unexpected(REASON.expected);
                plain
            }
        },
    }
}

fn priority(table: &Table<'_>) -> Parameter {
    const MOST: i64 = 1_000_000;
    let plain = Parameter::new("", "priority", ParameterKind::Int { size: 10 });
    match table.value("priority") {
        None => plain,
        Some(value) => match value.get() {
            DeValue::Integer(_) => {
                Parameter { default: Json::from(value.integer(-MOST, MOST).unwrap_or(0)), ..plain }
            }
            DeValue::Table(_) => match parameter::read(value, Place::of("priority", "IntParameter")) {
                Some(read) if matches!(read.kind, ParameterKind::Int { .. }) && !read.multiple => read,
                Some(_) => {
                    value.error("`priority` is an `IntParameter` of one value");
                    plain
                }
                None => plain,
            },
            _ => {
                value.unexpected(PRIORITY.expected);
                plain
            }
        },
    }
}

fn codebases(table: &Table<'_>) -> Vec<CodebaseParameter> {
    let Some(value) = table.value("codebases") else { return vec![anything_of("")] };
    let Some(elements) = value.elements() else {
        value.unexpected(CODEBASES.expected);
        return Vec::new();
    };
    let mut codebases: Vec<CodebaseParameter> = Vec::new();
    for element in elements {
        let read = match element.get() {
            DeValue::String(name) => Some(anything_of(name)),
            _ => codebase(element),
        };
        let Some(read) = read else { continue };
        if codebases.iter().any(|before| before.codebase == read.codebase) {
            element.error(format!("{:?} is named twice", read.codebase));
        }
        codebases.push(read);
    }
    if value.get().as_array().is_some_and(|all| all.is_empty()) {
        value
            .error("`codebases` is empty: a build needs at least one")
            .help("leave it out for one of the empty name");
    }
    codebases
}

const FIELDS: [(&str, &str); 4] = [
    ("branch", "Branch:"),
    ("project", "Project:"),
    ("repository", "Repository:"),
    ("revision", "Revision:"),
];

/// Where all can be said about a codebase.
fn anything_of(codebase: &str) -> CodebaseParameter {
    let fields = FIELDS.map(|(name, label)| field(codebase, name, label));
    made(codebase, codebase, fields.into())
}

fn field(parent: &str, name: &str, label: &str) -> Parameter {
    Parameter::new(parent, name, ParameterKind::Text { size: 10 }).labelled(label)
}

fn made(codebase: &str, name: &str, fields: Vec<Parameter>) -> CodebaseParameter {
    let label = match codebase {
        "" => name.to_owned(),
        codebase => format!("Codebase: {codebase}"),
    };
    let parameter = Parameter::new("", name, ParameterKind::Nested(Group::of(fields))).labelled(&label);
    CodebaseParameter { codebase: codebase.to_owned(), parameter }
}

fn codebase(value: Value<'_>) -> Option<CodebaseParameter> {
    let table = Table::of(value, CODEBASE)?;
    table.choice("type");
    let codebase = table.plain_text("codebase")?.0;
    let name = table.plain_text("name").map(|(name, _)| name);
    let name = name.filter(|name| !name.is_empty()).unwrap_or(codebase);
    let mut fields = Vec::new();
    for (key, label) in FIELDS {
        let Some(value) = table.value(key) else {
            fields.push(field(name, key, label));
            continue;
        };
        match value.get() {
            DeValue::Boolean(false) => {}
            DeValue::String(text) => fields.push(Parameter {
                default: Json::from(&**text),
                ..Parameter::new(name, key, ParameterKind::Fixed)
            }),
            DeValue::Table(_) => {
                fields.extend(parameter::read(value, Place::fixed(name, key, "StringParameter")));
            }
            _ => drop(value.unexpected(PART.expected)),
        }
    }
    let patch = table.value("patch").and_then(|value| match value.get() {
        DeValue::Boolean(given) => given.then(|| parameter::patch(name, "patch", None)),
        DeValue::Table(_) => parameter::read(value, Place::fixed(name, "patch", "PatchParameter")),
        _ => {
            value.unexpected(PATCH.expected);
            None
        }
    });
    let has_patch = patch.is_some();
    fields.extend(patch);
    let mut made = made(codebase, name, fields);
    if let ParameterKind::Nested(group) = &mut made.parameter.kind {
        if has_patch {
            group.columns = 1;
        }
        parameter::arrange(&table, group);
    }
    parameter::describe(&table, &mut made.parameter);
    Some(made)
}
