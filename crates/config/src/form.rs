//! What somebody may say who forces a build: the parameters of a `ForceScheduler`
//! (`buildbot/schedulers/forcesched.py`, 4.3.0).

use ::model::{Json, Pattern};
use serde_json::{Map, json};

/// The most that a file may hold unless it is said.
const MAX_FILE: usize = 10 << 20;

/// What somebody who forces a build may say.
#[derive(Clone, Debug, PartialEq)]
pub struct ForceScheduler {
    /// Text on the button.
    pub button_name: String,
    /// Heading of the form.
    pub label: String,
    /// Reason of its builds, with `%(owner)s` and `%(reason)s`.
    pub reason_string: String,
    /// The parameter for who asks, where that is not known.
    pub username: Parameter,
    /// The parameter for the reason.
    pub reason: Parameter,
    /// The parameter for the priority of the requests.
    pub priority: Parameter,
    /// What may be said about each codebase; at least one.
    pub codebases: Vec<CodebaseParameter>,
    /// Parameters that become properties.
    pub properties: Vec<Parameter>,
}

/// What may be said about a codebase.
#[derive(Clone, Debug, PartialEq)]
pub struct CodebaseParameter {
    /// The codebase.
    pub codebase: String,
    /// `branch`, `project`, `repository`, `revision` and `patch`, as far as they can be said.
    pub parameter: Parameter,
}

/// Something that may be said.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Its name; empty for a group without a name of its own.
    pub name: String,
    /// The name that its value is given by: with those of the groups that it is in.
    pub full_name: String,
    /// Shown beside its field.
    pub label: String,
    /// Shown on its tab.
    pub tablabel: String,
    /// Shown over its field.
    pub tooltip: String,
    /// Whether its field is not shown.
    pub hide: bool,
    /// What choosing a value puts into other fields.
    pub autopopulate: Option<Json>,
    /// The value where none is given.
    pub default: Json,
    /// Whether there has to be one.
    pub required: bool,
    /// Whether it is a list of values.
    pub multiple: bool,
    /// What values begin with.
    pub regex: Option<Pattern>,
    /// The most characters of a value.
    pub maxsize: Option<usize>,
    /// What it takes.
    pub kind: ParameterKind,
}

/// What a parameter takes.
#[derive(Clone, Debug, PartialEq)]
pub enum ParameterKind {
    /// The name and the value of any property: two fields.
    AnyProperty(Group),
    /// A truth.
    Bool,
    /// One of some texts.
    Choice(Choices),
    /// The text of a file.
    File,
    /// Nothing: it is always its default.
    Fixed,
    /// A whole number.
    Int {
        /// Width of its field.
        size: i64,
    },
    /// Other parameters.
    Nested(Group),
    /// A line of text.
    Text {
        /// Width of its field.
        size: i64,
    },
    /// Lines of text.
    TextArea {
        /// Width of its field in a form that knows no lines.
        size: i64,
        /// Width of its field.
        cols: i64,
        /// Height of its field.
        rows: i64,
    },
    /// Somebody.
    UserName {
        /// Width of its field.
        size: i64,
        /// Whether it has to hold an address of mail.
        need_email: bool,
    },
    /// The name of a worker, or that of no preference.
    WorkerChoice(Choices),
}

/// Texts to choose from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    /// The texts.
    pub choices: Vec<String>,
    /// Whether no other one is taken.
    pub strict: bool,
}

/// Parameters that are shown together.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The parameters.
    pub fields: Vec<Parameter>,
    /// How they are shown: `vertical`, `simple` or `tabs`.
    pub layout: String,
    /// In how many columns.
    pub columns: i64,
}

impl Group {
    /// In a column, or in two from four on.
    pub(crate) fn of(fields: Vec<Parameter>) -> Self {
        let columns = if fields.iter().filter(|field| !field.hide).count() >= 4 { 2 } else { 1 };
        Self { fields, layout: "vertical".to_owned(), columns }
    }
}

impl ForceScheduler {
    /// All parameters as Buildbot's data API shows them: `all_fields` of a `forcescheduler`.
    pub fn all_fields(&self) -> Vec<Json> {
        let first = Group::of(vec![self.username.clone(), self.reason.clone(), self.priority.clone()]);
        let first = Parameter::new("", "", ParameterKind::Nested(first));
        let codebases = self.codebases.iter().map(|codebase| &codebase.parameter);
        [&first].into_iter().chain(codebases).chain(&self.properties).map(Parameter::spec).collect()
    }

    /// Whether some parameter has this full name.
    pub fn takes(&self, name: &str) -> bool {
        let own = [&self.username, &self.reason, &self.priority];
        let codebases = self.codebases.iter().map(|codebase| &codebase.parameter);
        own.into_iter().chain(codebases).chain(&self.properties).any(|parameter| parameter.takes(name))
    }
}

/// The name that a parameter within the group `parent` is given by.
pub(crate) fn full_name(parent: &str, name: &str) -> String {
    match (parent, name) {
        ("", name) => name.to_owned(),
        (parent, "") => parent.to_owned(),
        (parent, name) => format!("{parent}_{name}"),
    }
}

impl Parameter {
    /// A parameter of which nothing is said but its kind, within a group of the full name `parent`.
    pub(crate) fn new(parent: &str, name: &str, kind: ParameterKind) -> Self {
        let label = match kind {
            ParameterKind::AnyProperty(_) => "",
            ParameterKind::UserName { .. } => "Your name:",
            _ => name,
        };
        Self {
            name: name.to_owned(),
            full_name: full_name(parent, name),
            label: label.to_owned(),
            tablabel: label.to_owned(),
            tooltip: String::new(),
            hide: kind == ParameterKind::Fixed,
            autopopulate: None,
            default: if matches!(kind, ParameterKind::Int { .. }) { 0.into() } else { "".into() },
            required: false,
            multiple: false,
            regex: None,
            maxsize: (kind == ParameterKind::File).then_some(MAX_FILE),
            kind,
        }
    }

    /// The same, shown with another label.
    pub(crate) fn labelled(self, label: &str) -> Self {
        Self { label: label.to_owned(), tablabel: label.to_owned(), ..self }
    }

    /// What is said by the fields within, if it is a group.
    pub fn fields(&self) -> Option<&[Self]> {
        match &self.kind {
            ParameterKind::AnyProperty(group) | ParameterKind::Nested(group) => Some(&group.fields),
            _ => None,
        }
    }

    fn takes(&self, name: &str) -> bool {
        match self.fields() {
            Some(fields) => fields.iter().any(|field| field.takes(name)),
            None => self.full_name == name,
        }
    }

    /// The parameter as Buildbot's data API shows it.
    fn spec(&self) -> Json {
        let full_name = if self.full_name.is_empty() { Json::Null } else { self.full_name.as_str().into() };
        let (kind, own) = self.kind.spec();
        let mut spec = Map::from_iter([
            ("name".to_owned(), self.name.as_str().into()),
            ("fullName".to_owned(), full_name),
            ("label".to_owned(), self.label.as_str().into()),
            ("tablabel".to_owned(), self.tablabel.as_str().into()),
            ("type".to_owned(), kind.into()),
            ("default".to_owned(), self.default.clone()),
            ("required".to_owned(), self.required.into()),
            ("multiple".to_owned(), self.multiple.into()),
            ("regex".to_owned(), self.regex.as_ref().map(Pattern::source).into()),
            ("hide".to_owned(), self.hide.into()),
            ("maxsize".to_owned(), self.maxsize.into()),
            ("autopopulate".to_owned(), self.autopopulate.clone().into()),
            ("tooltip".to_owned(), self.tooltip.as_str().into()),
        ]);
        if let Json::Object(own) = own {
            spec.extend(own);
        }
        Json::Object(spec)
    }
}

impl ParameterKind {
    /// Buildbot's word for it, and what it alone has.
    fn spec(&self) -> (&'static str, Json) {
        let group = |Group { fields, layout, columns }: &Group| {
            let fields: Vec<Json> = fields.iter().map(Parameter::spec).collect();
            ("nested", json!({ "layout": layout, "columns": columns, "fields": fields }))
        };
        let choice =
            |Choices { choices, strict }: &Choices| ("list", json!({ "choices": choices, "strict": strict }));
        match self {
            Self::AnyProperty(within) | Self::Nested(within) => group(within),
            Self::Bool => ("bool", json!({})),
            Self::Choice(choices) | Self::WorkerChoice(choices) => choice(choices),
            Self::File => ("file", json!({})),
            Self::Fixed => ("fixed", json!({})),
            Self::Int { size } => ("int", json!({ "size": size })),
            Self::Text { size } => ("text", json!({ "size": size })),
            Self::TextArea { size, cols, rows } => {
                ("textarea", json!({ "size": size, "cols": cols, "rows": rows }))
            }
            Self::UserName { size, need_email } => {
                ("username", json!({ "size": size, "need_email": need_email }))
            }
        }
    }
}
