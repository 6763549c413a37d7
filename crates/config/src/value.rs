//! One value of the file: what it is, and what it can be read as.

use std::{cell::RefCell, collections::BTreeMap, ops::Range, path::Path};

use ::model::{
    Json, Pattern, Properties,
    template::{Reference, Template},
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    diagnostic::{Note, Sink, Span},
    expression,
    nearest::nearest,
    renderable::Renderable,
    schema::Kind,
    table::Table,
};

/// Attributes that every source stamp has (`buildbot/process/buildrequest.py`, 4.3.0).
const SOURCE_ATTRIBUTES: [&str; 10] = [
    "branch",
    "revision",
    "repository",
    "project",
    "codebase",
    "patch_author",
    "patch_body",
    "patch_comment",
    "patch_level",
    "patch_subdir",
];

/// What expressions in steps can use.
pub(crate) const STEP_NAMES: &[&str] = &["prop", "src", "worker", "build", "results"];

/// The longest name of a property that the database holds.
pub(crate) const MAX_PROPERTY_NAME: usize = 256;

/// What is known while a file is read.
pub(crate) struct Reading<'a> {
    pub(crate) sink: Sink<'a>,
    pub(crate) base_dir: &'a Path,
    /// Secrets that some text names, and where the first one does.
    pub(crate) secrets: RefCell<BTreeMap<String, Span>>,
    /// Schedulers that steps trigger, with each place.
    pub(crate) triggered: RefCell<Vec<(String, Span)>>,
    /// Whether everybody on this machine can read the file.
    pub(crate) readable_by_others: bool,
}

/// A value and what belongs to it.
#[derive(Clone, Copy)]
pub(crate) struct Value<'a> {
    pub(crate) reading: &'a Reading<'a>,
    pub(crate) spanned: &'a Spanned<DeValue<'a>>,
    /// Whether it may depend on the build.
    pub(crate) renderable: bool,
}

impl<'a> Value<'a> {
    pub(crate) fn new(reading: &'a Reading<'a>, spanned: &'a Spanned<DeValue<'a>>, renderable: bool) -> Self {
        Self { reading, spanned, renderable }
    }

    pub(crate) fn get(&self) -> &'a DeValue<'a> {
        self.spanned.get_ref()
    }

    pub(crate) fn span(&self) -> Span {
        self.spanned.span()
    }

    fn other(&self, spanned: &'a Spanned<DeValue<'a>>) -> Self {
        Self { spanned, ..*self }
    }

    /// The same value, which does not depend on the build.
    pub(crate) fn fixed(self) -> Self {
        Self { renderable: false, ..self }
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> Note<'a> {
        self.reading.sink.error(self.span(), message)
    }

    pub(crate) fn warning(&self, message: impl Into<String>) -> Note<'a> {
        self.reading.sink.warning(self.span(), message)
    }

    /// Reports a value of the wrong type.
    pub(crate) fn unexpected(&self, expected: &str) -> Note<'a> {
        self.error(format!("expected {expected}, found {}", self.found()))
    }

    fn found(&self) -> &'static str {
        match self.get() {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number",
            DeValue::Boolean(true) => "`true`",
            DeValue::Boolean(false) => "`false`",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        }
    }

    /// The elements of a list; nothing, and no report, for anything else.
    pub(crate) fn elements(&self) -> Option<impl Iterator<Item = Value<'a>> + use<'a>> {
        let value = *self;
        self.get().as_array().map(|array| array.iter().map(move |element| value.other(element)))
    }

    /// The entries of a table in the order of the file; nothing, and no report, for anything else.
    pub(crate) fn entries(&self) -> Option<Vec<(&'a str, Span, Self)>> {
        let table = self.get().as_table()?;
        let mut entries: Vec<_> = table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), self.other(value)))
            .collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        Some(entries)
    }

    /// One entry of a table; nothing, and no report, for anything else.
    pub(crate) fn entry(&self, name: &str) -> Option<Self> {
        Some(self.other(self.get().as_table()?.get(name)?))
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        let text = self.get().as_str();
        if text.is_none() {
            self.unexpected("text");
        }
        text
    }

    pub(crate) fn integer(&self, least: i64, most: i64) -> Option<i64> {
        let Some(integer) = self.get().as_integer() else {
            self.unexpected(&Kind::Integer(least, most).expected());
            return None;
        };
        match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                self.error(format!("expected {}, found {integer}", Kind::Integer(least, most).expected()));
                None
            }
        }
    }

    /// Texts of a list, or the one text, with their places.
    pub(crate) fn texts(&self) -> Option<Vec<(&'a str, Span)>> {
        if let DeValue::String(text) = self.get() {
            return Some(vec![(text, self.span())]);
        }
        let Some(elements) = self.elements() else {
            self.unexpected("a list of texts");
            return None;
        };
        Some(elements.filter_map(|element| Some((element.text()?, element.span()))).collect())
    }

    /// A regular expression; one that depends on the build is looked at when it is known.
    fn pattern(&self) -> Option<Renderable> {
        let template = self.template()?;
        if template.is_literal()
            && let Err(error) = Pattern::parse(template.source())
        {
            self.error(format!("{:?} is no regular expression: {error}", template.source()));
            return None;
        }
        Some(Renderable::Text(template))
    }

    /// A number, not below zero.
    fn number(&self) -> Option<Renderable> {
        const MOST: i64 = 1_000_000_000_000;
        match self.get() {
            DeValue::Integer(integer) => {
                let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
                if let Some(number) = number.filter(|number| (0..=MOST).contains(number)) {
                    return Some(Renderable::Int(number));
                }
                self.error(format!("expected a number from 0 on, found {integer}"));
            }
            DeValue::Float(float) => {
                let number = float.as_str().parse::<f64>().ok();
                if let Some(number) = number.filter(|number| (0.0..=MOST as f64).contains(number)) {
                    return Some(Renderable::Float(number));
                }
                self.error(format!("expected a number from 0 on, found {float}"));
            }
            _ => drop(self.unexpected("a number")),
        }
        None
    }

    /// A number of seconds, not below zero; whole where it is written as a whole number.
    fn seconds(&self) -> Option<Renderable> {
        const MOST: f64 = 1e9;
        let seconds = match self.get() {
            DeValue::Integer(_) => return self.integer(0, MOST as i64).map(Renderable::Int),
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            _ => {
                self.unexpected("a number of seconds");
                return None;
            }
        };
        match seconds {
            Some(seconds) if (0.0..=MOST).contains(&seconds) => Some(Renderable::Float(seconds)),
            _ => {
                self.error("expected a number of seconds from 0 to 1000000000");
                None
            }
        }
    }

    /// The value as what `kind` says; reports why not.
    pub(crate) fn read(&self, kind: Kind) -> Option<Renderable> {
        if self.renderable && self.is_expression() {
            return expression::read(*self, STEP_NAMES).map(Renderable::Expression);
        }
        // Only a table can be a property where no table is expected.
        if self.renderable
            && self.get().is_table()
            && !matches!(kind, Kind::Dict | Kind::Values | Kind::Any | Kind::Special(_))
        {
            return self.property(kind);
        }
        match kind {
            Kind::Bool => match self.get() {
                DeValue::Boolean(truth) => Some(Renderable::Bool(*truth)),
                _ => {
                    self.unexpected("`true` or `false`").maybe_help(self.get().as_str().and_then(|text| {
                        nearest(text, ["true", "false"]).map(|word| format!("write {word} without quotes"))
                    }));
                    None
                }
            },
            Kind::Integer(least, most) => self.integer(least, most).map(Renderable::Int),
            Kind::Number => self.number(),
            Kind::Seconds => self.seconds(),
            Kind::Text => self.template().map(Renderable::Text),
            Kind::Pattern => self.pattern(),
            Kind::Choice(words) => self.choice(words),
            Kind::Texts => match self.get() {
                DeValue::Array(_) => self.list("text", |element| element.read(Kind::Text)),
                DeValue::String(_) => Some(Renderable::List(vec![self.read(Kind::Text)?])),
                _ => {
                    self.unexpected("a list of texts");
                    None
                }
            },
            Kind::Command => self.command(),
            Kind::Dict => self.dict(|value| match value.get() {
                DeValue::Array(_) => value.list("text", |element| element.read(Kind::Text)),
                _ => value.read(Kind::Text),
            }),
            Kind::Values => self.dict(|value| value.read(Kind::Any)),
            Kind::Any => self.any(),
            Kind::Special(special) => (special.read)(self),
            Kind::Tables(_) => {
                self.unexpected(&kind.expected());
                None
            }
        }
    }

    fn command(&self) -> Option<Renderable> {
        match self.get() {
            DeValue::String(text) if text.is_empty() => {
                self.error("the command is empty");
                None
            }
            DeValue::String(_) => self.read(Kind::Text),
            DeValue::Array(array) if array.is_empty() => {
                self.error("the command is empty");
                None
            }
            DeValue::Array(_) => self.list("text", |element| element.read(Kind::Text)),
            _ => {
                self.unexpected(&Kind::Command.expected());
                None
            }
        }
    }

    /// A list, each element read by `read`; all elements are read even where one is wrong.
    pub(crate) fn list(&self, of: &str, read: impl Fn(&Self) -> Option<Renderable>) -> Option<Renderable> {
        let Some(elements) = self.elements() else {
            self.unexpected(&format!("a list of {of}s"));
            return None;
        };
        let all: Vec<_> = elements.map(|element| read(&element)).collect();
        all.into_iter().collect::<Option<_>>().map(Renderable::List)
    }

    fn dict(&self, read: impl Fn(&Self) -> Option<Renderable>) -> Option<Renderable> {
        let Some(entries) = self.entries() else {
            self.unexpected("a table");
            return None;
        };
        let all: Vec<_> =
            entries.iter().map(|(key, _, value)| Some(((*key).to_owned(), read(value)?))).collect();
        all.into_iter().collect::<Option<_>>().map(Renderable::Dict)
    }

    fn choice(&self, words: &'static [&'static str]) -> Option<Renderable> {
        let text = self.text()?;
        if words.contains(&text) {
            return Some(Renderable::literal(text));
        }
        let template = if self.renderable { self.template()? } else { Template::literal(text) };
        if !template.is_literal() {
            return Some(Renderable::Text(template));
        }
        self.error(format!("expected {}, found {text:?}", Kind::Choice(words).expected()))
            .maybe_help(nearest(text, words.iter().copied()).map(|word| format!("did you mean {word:?}?")));
        None
    }

    fn any(&self) -> Option<Renderable> {
        match self.get() {
            DeValue::String(_) => self.read(Kind::Text),
            DeValue::Integer(_) => self.integer(i64::MIN, i64::MAX).map(Renderable::Int),
            DeValue::Float(_) => self.float().map(Renderable::Float),
            DeValue::Boolean(truth) => Some(Renderable::Bool(*truth)),
            DeValue::Datetime(when) => Some(Renderable::literal(&when.to_string())),
            DeValue::Array(_) => self.list("value", |element| element.any()),
            DeValue::Table(_) if self.renderable && self.is_expression() => self.read(Kind::Any),
            DeValue::Table(table) if self.renderable && is_property(table) => self.property(Kind::Any),
            DeValue::Table(_) => self.dict(Self::any),
        }
    }

    fn float(&self) -> Option<f64> {
        let number = self.get().as_float().and_then(|float| float.as_str().parse::<f64>().ok());
        let number = number.filter(|number| number.is_finite());
        if number.is_none() {
            self.error("properties hold finite numbers only");
        }
        number
    }

    /// Whether it is a table that holds an expression and nothing else.
    pub(crate) fn is_expression(&self) -> bool {
        self.get().as_table().is_some_and(|table| table.len() == 1 && table.contains_key("expression"))
    }

    /// `{ property = "NAME", default = …, defaultWhenFalse = … }`.
    fn property(&self, kind: Kind) -> Option<Renderable> {
        let table = Table::of(*self, crate::steps::PROPERTY)?;
        let name = table.text("property").map(|(name, _)| name.to_owned());
        let default = match table.value("default") {
            Some(default) => Self { renderable: true, ..default }.read(kind)?,
            None => Renderable::Null,
        };
        let default_when_false = table.bool("defaultWhenFalse");
        Some(Renderable::Property { name: name?, default: Box::new(default), default_when_false })
    }

    /// The text as a template, or as it is where it may not depend on the build.
    pub(crate) fn template(&self) -> Option<Template> {
        let text = self.text()?;
        match Template::parse(text) {
            Ok(template) if template.is_literal() => Some(template),
            Ok(template) if self.renderable => {
                self.check_references(&template);
                Some(template)
            }
            Ok(template) => {
                let asked = template.references().first().map(ToString::to_string).unwrap_or_default();
                self.error(format!("this is the same for all builds: it cannot hold `%({asked})s`"));
                None
            }
            Err(_) if !self.renderable => Some(Template::literal(text)),
            Err(error) => {
                self.reading
                    .sink
                    .error(self.inside(text, error.offset..error.offset + 1), error.message)
                    .maybe_help(Some("a text with `%(` is a template; in it `%%` is a percent sign".into()));
                None
            }
        }
    }

    /// Where a part of the text is in the file, or the whole text where escapes make that hard to say.
    pub(crate) fn inside(&self, text: &str, part: Range<usize>) -> Span {
        let span = self.span();
        let raw = self.reading.sink.text().get(span.clone()).unwrap_or("");
        for quotes in ["\"\"\"\n", "'''\n", "\"\"\"", "'''", "\"", "'"] {
            if let Some(inner) = raw.strip_prefix(quotes)
                && inner.strip_prefix(text).is_some_and(|rest| quotes.starts_with(rest))
            {
                let start = span.start + quotes.len();
                let end = text.ceil_char_boundary(part.end.min(text.len()));
                return start + part.start.min(end)..start + end;
            }
        }
        span
    }

    fn check_references(&self, template: &Template) {
        for reference in template.references() {
            match reference {
                Reference::Secret(name) => {
                    self.reading.secrets.borrow_mut().entry(name.clone()).or_insert_with(|| self.span());
                }
                Reference::Source { attribute, .. } if !SOURCE_ATTRIBUTES.contains(&attribute.as_str()) => {
                    self.reading
                        .sink
                        .warning(
                            self.span(),
                            format!("a source has no `{attribute}`: `%({reference})s` is empty"),
                        )
                        .maybe_help(
                            nearest(attribute, SOURCE_ATTRIBUTES)
                                .map(|name| format!("did you mean `{name}`?")),
                        );
                }
                _ => {}
            }
        }
    }

    /// Properties: any values by name, the same for all builds.
    pub(crate) fn properties(&self, source: &str) -> Properties {
        let Some(entries) = self.entries() else {
            self.unexpected("a table of properties");
            return Properties::new();
        };
        let mut properties = Properties::new();
        for (name, span, value) in entries {
            if name.is_empty() || name.len() > MAX_PROPERTY_NAME {
                self.reading.sink.error(
                    span,
                    format!("the name of a property is 1 to {MAX_PROPERTY_NAME} characters long"),
                );
            } else if let Some(json) = value.fixed().json() {
                properties.set(name, json, source);
            }
        }
        properties
    }

    /// The value as JSON; it is the same for all builds.
    pub(crate) fn json(&self) -> Option<Json> {
        Some(match self.get() {
            DeValue::String(_) => Json::from(self.template()?.source()),
            DeValue::Integer(_) => Json::from(self.integer(i64::MIN, i64::MAX)?),
            DeValue::Float(_) => Json::from(self.float()?),
            DeValue::Boolean(truth) => Json::from(*truth),
            DeValue::Datetime(when) => Json::from(when.to_string()),
            DeValue::Array(_) => {
                let all: Vec<_> = self.elements()?.map(|element| element.json()).collect();
                Json::Array(all.into_iter().collect::<Option<_>>()?)
            }
            DeValue::Table(_) => {
                let all: Vec<_> = self
                    .entries()?
                    .iter()
                    .map(|(key, _, value)| Some(((*key).to_owned(), value.json()?)))
                    .collect();
                Json::Object(all.into_iter().collect::<Option<_>>()?)
            }
        })
    }
}

/// Whether a table stands for a property where it could as well be a value.
fn is_property(table: &DeTable<'_>) -> bool {
    table.contains_key("property")
        && table
            .keys()
            .all(|key| ["property", "default", "defaultWhenFalse"].contains(&key.get_ref().as_ref()))
}
