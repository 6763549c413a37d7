//! Parameters of a `ForceScheduler`, of any type.

use ::model::{Json, Pattern};

use crate::{
    form::{Choices, Group, Parameter, ParameterKind, full_name},
    nearest::nearest,
    schema::{Fallback, Key, Kind, Special},
    table::{Keys, Table},
    value::{MAX_PROPERTY_NAME, Value},
};

/// What all parameters have.
const BASE: &[Key] = &[
    Key::new("type", Kind::Text, "its type").default(Fallback::Text("StringParameter")),
    Key::new("name", Kind::Text, "its name, which that of its value ends with")
        .default(Fallback::Of("required, but for `UserNameParameter` (`username`), `WorkerChoiceParameter` (`workername`) and `PatchParameter` (`patch`)")),
    Key::new("label", Kind::Text, "shown beside its field").default(Fallback::Of("the name")),
    Key::new("tablabel", Kind::Text, "shown on its tab").default(Fallback::Of("the label")),
    Key::new("tooltip", Kind::Text, "shown over its field").default(Fallback::Text("")),
    Key::new("hide", Kind::Bool, "not shown").default(Fallback::Of("`false`, but for `FixedParameter`")),
    Key::new("autopopulate", Kind::Values, "what choosing a value puts into other fields: by value, and by their names"),
];

const DEFAULT: &[Key] =
    &[Key::new("default", Kind::Any, "the value where none is given; a list where `multiple` is set")
        .default(Fallback::Of("empty, 0, or false"))];

/// What parameters have that take what they are given.
const CHECKS: &[Key] = &[
    Key::new("required", Kind::Bool, "there has to be a value").default(Fallback::Bool(false)),
    Key::new("multiple", Kind::Bool, "several values, which are a list").default(Fallback::Bool(false)),
    Key::new("regex", Kind::Pattern, "a regular expression that values begin with"),
    Key::new("maxsize", Kind::Integer(0, i64::MAX), "the most characters of a value")
        .default(Fallback::Of("10 MB for `FileParameter`, else none")),
];

const SIZE: &[Key] =
    &[Key::new("size", Kind::Integer(1, 10_000), "the width of its field, if it is text or a number")
        .default(Fallback::Of("10, or 30 for `UserNameParameter`"))];
const LINES: &[Key] = &[
    Key::new("cols", Kind::Integer(1, 10_000), "`TextParameter`: the width of its field")
        .default(Fallback::Integer(80)),
    Key::new("rows", Kind::Integer(1, 10_000), "`TextParameter`: the height of its field")
        .default(Fallback::Integer(20)),
];
const NEED_EMAIL: &[Key] =
    &[Key::new("need_email", Kind::Bool, "`UserNameParameter`: it has to hold an address of mail")
        .default(Fallback::Bool(true))];
const CHOICES: &[Key] = &[
    Key::new(
        "choices",
        Kind::Texts,
        "`ChoiceStringParameter`, `WorkerChoiceParameter`: the values to choose from",
    ),
    Key::new("strict", Kind::Bool, "with them: no other value is taken")
        .default(Fallback::Of("`true`, but for `WorkerChoiceParameter`")),
];
const GROUP: &[Key] = &[
    Key::new("layout", LAYOUT, "`NestedParameter` and the like: how its fields are shown")
        .default(Fallback::Text("vertical")),
    Key::new("columns", COLUMNS, "with them: in how many columns")
        .default(Fallback::Of("1, or 2 from four on")),
];
const FIELDS: &[Key] =
    &[Key::new("fields", Kind::Tables("A parameter"), "`NestedParameter`: the parameters within it")];
const PATCH: &[Key] = &[
    Key::new("body", Kind::Special(&PART), "`PatchParameter`: the parameter for the patch")
        .default(Fallback::Of("a `FileParameter`")),
    Key::new(
        "level",
        Kind::Special(&PART),
        "`PatchParameter`: for how many directories are cut off its paths",
    )
    .default(Fallback::Of("an `IntParameter`, 1")),
    Key::new("author", Kind::Special(&PART), "`PatchParameter`: for who made it")
        .default(Fallback::Of("a `StringParameter`")),
    Key::new("comment", Kind::Special(&PART), "`PatchParameter`: for what it does")
        .default(Fallback::Of("a `StringParameter`")),
    Key::new("subdir", Kind::Special(&PART), "`PatchParameter`: for where it is applied")
        .default(Fallback::Of("a `StringParameter`, `.`")),
];

pub(super) const LAYOUT: Kind = Kind::Choice(&["vertical", "simple", "tabs"]);
pub(super) const COLUMNS: Kind = Kind::Integer(1, 4);
const PART: Special = Special::apart("a parameter");

/// The keys of each type of parameter.
const TYPES: &[(&str, &[&[Key]])] = &[
    ("AnyPropertyParameter", &[BASE, GROUP]),
    ("BooleanParameter", &[BASE, DEFAULT]),
    ("ChoiceStringParameter", &[BASE, DEFAULT, CHECKS, CHOICES]),
    ("FileParameter", &[BASE, DEFAULT, CHECKS]),
    ("FixedParameter", &[BASE, DEFAULT]),
    ("IntParameter", &[BASE, DEFAULT, CHECKS, SIZE]),
    ("NestedParameter", &[BASE, FIELDS, GROUP]),
    ("ParameterGroup", &[BASE, FIELDS, GROUP]),
    ("PatchParameter", &[BASE, PATCH, GROUP]),
    ("StringParameter", &[BASE, DEFAULT, CHECKS, SIZE]),
    ("TextParameter", &[BASE, DEFAULT, CHECKS, SIZE, LINES]),
    ("UserNameParameter", &[BASE, DEFAULT, CHECKS, SIZE, NEED_EMAIL]),
    ("WorkerChoiceParameter", &[BASE, DEFAULT, CHECKS, CHOICES]),
];

pub(in crate::file) const PARAMETER: Keys = Keys {
    what: "a parameter",
    groups: &[BASE, DEFAULT, CHECKS, SIZE, LINES, NEED_EMAIL, CHOICES, FIELDS, GROUP, PATCH],
    hints: &[],
};

/// Names that no parameter may have.
const RESERVED: [&str; 3] = ["owner", "builderNames", "builderid"];

/// Where a parameter stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    /// The full name of the group that it is in.
    parent: &'p str,
    /// Its name where it says none.
    name: Option<&'p str>,
    /// Whether it can have another name.
    is_free: bool,
    /// Its type where it says none.
    type_name: &'p str,
}

impl<'p> Place<'p> {
    /// One of several in a group.
    pub(super) fn within(parent: &'p str) -> Self {
        Self { parent, name: None, is_free: true, type_name: "StringParameter" }
    }

    /// One that is asked for by a key of its own.
    pub(super) fn of(name: &'p str, type_name: &'p str) -> Self {
        Self { parent: "", name: Some(name), is_free: true, type_name }
    }

    /// One of a group that has to have this name.
    pub(super) fn fixed(parent: &'p str, name: &'p str, type_name: &'p str) -> Self {
        Self { parent, name: Some(name), is_free: false, type_name }
    }
}

/// Reads a parameter.
pub(super) fn read(value: Value<'_>, place: Place<'_>) -> Option<Parameter> {
    let Some(entries) = value.get().as_table() else {
        value.unexpected("a parameter: a table");
        return None;
    };
    let type_name = match entries.get("type") {
        None => place.type_name,
        Some(kind) => {
            let kind = Value::new(value.reading, kind, false);
            let name = kind.text()?;
            if !TYPES.iter().any(|(known, _)| *known == name) {
                unknown(&kind, name);
                return None;
            }
            name
        }
    };
    let groups = TYPES.iter().find(|(known, _)| *known == type_name)?.1;
    let table = Table::of(value, Keys { groups, ..PARAMETER })?;
    let own = name(&table, type_name, place)?;
    let kind = kind(&table, type_name, place.parent, own)?;
    let mut parameter = Parameter::new(place.parent, own, kind);
    parameter.autopopulate = table.value("autopopulate").and_then(|value| value.fixed().json());
    describe(&table, &mut parameter);
    let has = |key: &str| groups.iter().copied().flatten().any(|known| known.name == key);
    if has("required") {
        parameter.required = table.bool("required");
        parameter.multiple = table.bool("multiple");
        let regex =
            table.value("regex").and_then(|value| value.read(Kind::Pattern).and_then(|_| value.text()));
        parameter.regex = regex.and_then(|text| Pattern::parse(text).ok());
        let maxsize = table.integer("maxsize").and_then(|size| usize::try_from(size).ok());
        parameter.maxsize = maxsize.or(parameter.maxsize);
    }
    if parameter.multiple {
        parameter.default = Json::Array(Vec::new());
    }
    if let Some(given) = has("default").then(|| table.value("default")).flatten() {
        parameter.default = default(&given, &parameter)?;
    }
    Some(parameter)
}

fn unknown(kind: &Value<'_>, name: &str) {
    let names = || TYPES.iter().map(|(name, _)| *name);
    let help = match name {
        "InheritBuildParameter" => {
            Some("in Buildbot 4.3 there is one, but every request with it ends with an error".to_owned())
        }
        "CodebaseParameter" => Some("it stands in `codebases` of the scheduler".to_owned()),
        _ => {
            let begun = names().find(|known| !name.is_empty() && known.starts_with(name));
            let meant = begun.or_else(|| nearest(name, names()));
            meant.map(|meant| format!("did you mean {meant:?}?"))
        }
    };
    let help = help.unwrap_or_else(|| format!("there are {}", names().collect::<Vec<_>>().join(", ")));
    kind.error(format!("there is no parameter of type {name:?}")).help(help);
}

/// The name of a parameter. Only a group can be without.
fn name<'t>(table: &Table<'t>, type_name: &str, place: Place<'t>) -> Option<&'t str> {
    let sink = &table.reading().sink;
    let usual = match type_name {
        "UserNameParameter" => Some("username"),
        "WorkerChoiceParameter" => Some("workername"),
        "PatchParameter" => Some("patch"),
        _ => None,
    };
    let Some((given, span)) = table.plain_text("name") else {
        let name = place.name.or(usual);
        if name.is_none() {
            table.missing("`name`", "`name`: its name");
        }
        return name;
    };
    let is_group = matches!(type_name, "NestedParameter" | "ParameterGroup");
    if let Some(name) = place.name.filter(|name| !place.is_free && given != *name) {
        sink.error(span, format!("the name of this parameter is {name:?}"));
    } else if RESERVED.contains(&given) {
        sink.error(span, format!("no parameter can be called {given:?}: that is reserved"));
    } else if given.is_empty() && !is_group {
        sink.error(span, "`name` is empty").help("only a `NestedParameter` can be without a name");
    } else if given.len() > MAX_PROPERTY_NAME {
        sink.error(span, format!("the name of a property is 1 to {MAX_PROPERTY_NAME} characters long"));
    }
    Some(given)
}

/// What a parameter of the name `own` takes.
fn kind(table: &Table<'_>, type_name: &str, parent: &str, own: &str) -> Option<ParameterKind> {
    let size = |usual| table.integer("size").unwrap_or(usual);
    let full_name = full_name(parent, own);
    let choices = |strict| {
        let choices = table.texts("choices").unwrap_or_default();
        let choices = choices.into_iter().map(|(choice, _)| choice.to_owned()).collect::<Vec<_>>();
        let choices =
            Choices { choices, strict: table.value("strict").map_or(strict, |_| table.bool("strict")) };
        if choices.strict && choices.choices.is_empty() {
            table.missing("choices", "where `strict` is true, they are all that may be said");
        }
        choices
    };
    Some(match type_name {
        "AnyPropertyParameter" => {
            let field = |name: &str, label: &str| {
                Parameter::new(&full_name, name, ParameterKind::Text { size: 10 }).labelled(label)
            };
            let mut group = Group::of(vec![field("name", "Name:"), field("value", "Value:")]);
            arrange(table, &mut group);
            ParameterKind::AnyProperty(group)
        }
        "BooleanParameter" => ParameterKind::Bool,
        "ChoiceStringParameter" => ParameterKind::Choice(choices(true)),
        "FileParameter" => ParameterKind::File,
        "FixedParameter" => ParameterKind::Fixed,
        "IntParameter" => ParameterKind::Int { size: size(10) },
        "NestedParameter" | "ParameterGroup" => {
            if table.value("fields").is_none() {
                table.missing("`fields`", "`fields`: the parameters within it");
            }
            let fields = table.tables("fields").into_iter();
            let fields = fields.filter_map(|value| read(value, Place::within(&full_name))).collect();
            let mut group = Group::of(fields);
            arrange(table, &mut group);
            ParameterKind::Nested(group)
        }
        "PatchParameter" => patch(parent, own, Some(table)).kind,
        "TextParameter" => ParameterKind::TextArea {
            size: size(10),
            cols: table.integer("cols")?,
            rows: table.integer("rows")?,
        },
        "UserNameParameter" => {
            ParameterKind::UserName { size: size(30), need_email: table.bool("need_email") }
        }
        "WorkerChoiceParameter" => ParameterKind::WorkerChoice(choices(false)),
        _ => ParameterKind::Text { size: size(10) },
    })
}

/// A patch within the group `parent`, whose parts a table may say more about.
pub(super) fn patch(parent: &str, own: &str, table: Option<&Table<'_>>) -> Parameter {
    const TEXT: (&str, ParameterKind) = ("StringParameter", ParameterKind::Text { size: 10 });
    let number = ("IntParameter", ParameterKind::Int { size: 10 });
    let parts = [
        ("body", ("FileParameter", ParameterKind::File), Json::from("")),
        ("level", number, Json::from(1)),
        ("author", TEXT, Json::from("")),
        ("comment", TEXT, Json::from("")),
        ("subdir", TEXT, Json::from(".")),
    ];
    let parent = &full_name(parent, own);
    let fields = parts.into_iter().filter_map(|(name, (type_name, kind), default)| {
        match table.and_then(|table| table.value(name)) {
            Some(value) => read(value, Place::fixed(parent, name, type_name)),
            None => Some(Parameter { default, ..Parameter::new(parent, name, kind) }),
        }
    });
    let mut group = Group { columns: 1, ..Group::of(fields.collect()) };
    if let Some(table) = table {
        arrange(table, &mut group);
    }
    Parameter { full_name: parent.clone(), ..Parameter::new("", own, ParameterKind::Nested(group)) }
}

/// How the fields of a group are shown, as far as a table says so.
pub(super) fn arrange(table: &Table<'_>, group: &mut Group) {
    if let Some(layout) = table.choice("layout") {
        group.layout = layout.to_owned();
    }
    group.columns = table.integer("columns").unwrap_or(group.columns);
}

/// How a parameter is shown, as far as a table says so.
pub(super) fn describe(table: &Table<'_>, parameter: &mut Parameter) {
    let text = |key| table.plain_text(key).map(|(text, _)| text.to_owned());
    if let Some(label) = text("label") {
        parameter.tablabel.clone_from(&label);
        parameter.label = label;
    }
    if let Some(label) = text("tablabel") {
        parameter.tablabel = label;
    }
    parameter.tooltip = text("tooltip").unwrap_or_default();
    if table.value("hide").is_some() {
        parameter.hide = table.bool("hide");
    }
}

/// The value where none is given; reports one that the parameter would not take.
fn default(given: &Value<'_>, parameter: &Parameter) -> Option<Json> {
    let json = given.fixed().json()?;
    let values: Vec<&Json> = match &json {
        Json::Array(values) if parameter.multiple => values.iter().collect(),
        _ if parameter.multiple => {
            given.unexpected("a list, as there are several values");
            return None;
        }
        json => vec![json],
    };
    let (expected, fits): (_, fn(&Json) -> bool) = match parameter.kind {
        ParameterKind::Fixed => ("a value", |_| true),
        ParameterKind::Bool => ("`true` or `false`", Json::is_boolean),
        ParameterKind::Int { .. } => ("a whole number", Json::is_i64),
        _ => ("text", Json::is_string),
    };
    if !values.iter().all(|value| fits(value)) {
        given.unexpected(expected);
        return None;
    }
    if let ParameterKind::Choice(Choices { choices, strict: true }) = &parameter.kind {
        let texts = values.iter().filter_map(|value| value.as_str());
        if let Some(other) =
            texts.into_iter().find(|text| !text.is_empty() && choices.iter().all(|one| one != text))
        {
            given.error(format!("{other:?} is none of the `choices`")).maybe_help(
                nearest(other, choices.iter().map(String::as_str))
                    .map(|meant| format!("did you mean {meant:?}?")),
            );
        }
    }
    Some(json)
}
