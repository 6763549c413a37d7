//! Text with properties in it: Buildbot's `Interpolate`.
//!
//! A text that contains `%(` is a template (`make -j%(prop:jobs:-4)s`), and `%%` in it is a percent sign; any other
//! text is taken as it is, so that `date +%s` needs no thought.
//!
//! What may stand between `%(` and `)` (`buildbot/process/properties.py`, 4.3.0, checked against its results):
//!
//! | form | is |
//! |---|---|
//! | `prop:NAME` | a property of the build |
//! | `src:CODEBASE:ATTRIBUTE` | an attribute of the code that is built; the codebase is often empty |
//! | `worker:NAME` | something the worker said of itself |
//! | `secret:NAME` | a secret |
//! | `…:-TEXT` | `TEXT` where there is no value |
//! | `…:~TEXT` | `TEXT` where there is no value, or one that is false in Python |
//! | `…:+TEXT` | `TEXT` where there is a value, else nothing |
//! | `…:?XYESXNO` | `YES` where there is a value, else `NO`; `X` is any one character |
//! | `…:#?XYESXNO` | `YES` where there is a value that is true in Python, else `NO` |
//!
//! `TEXT`, `YES` and `NO` may hold templates again. After `)` stands a conversion of Python's `%`: `s`, `r`, `a` with
//! flags, width and precision, and (more than Buildbot takes) `d` for whole numbers.

mod parse;
mod python;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value as Json;

pub use self::python::{is_true, to_repr, to_text};
use crate::expression::EvaluationError;

/// What a template can ask for. Where nothing else is said, nothing is there.
pub trait Context {
    /// The property `name`.
    fn property(&self, _name: &str) -> Option<Json> {
        None
    }

    /// An attribute (`branch`, `revision`, `repository`, `project`, `codebase`) of the source stamp of `codebase`.
    fn source(&self, _codebase: &str, _attribute: &str) -> Option<Json> {
        None
    }

    /// What the worker said of itself at login, by name.
    fn worker(&self, _name: &str) -> Option<Json> {
        None
    }

    /// The secret `name`. Whoever renders with secrets keeps the outcome out of logs.
    fn secret(&self, _name: &str) -> Option<String> {
        None
    }

    /// What a name of an expression stands for (`prop`, `src`, …).
    fn named(&self, _name: &str) -> Option<Json> {
        None
    }
}

/// A parsed text, ready to be rendered for a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: Arc<str>,
    /// `None` where the text stands for itself.
    parts: Option<Arc<[Part]>>,
}

/// Something a template asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// A property.
    Property(String),
    /// A secret.
    Secret(String),
    /// An attribute of the code that is built.
    Source {
        /// The codebase; empty where there is only one.
        codebase: String,
        /// The attribute.
        attribute: String,
    },
    /// Something the worker said of itself.
    Worker(String),
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// Where in the text, in bytes.
    pub offset: usize,
    /// What is wrong there, in one line.
    pub message: String,
}

/// Why a template has no value for a build.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// A secret that nothing provides.
    #[error("secret {0:?} is not provided by anything")]
    NoSecret(String),
    /// An expression without a value.
    #[error(transparent)]
    NoValue(#[from] EvaluationError),
    /// `%(…)d` of something that is no number.
    #[error("%({key}){conversion} wants a number, the value is {value}")]
    NotANumber {
        /// What was asked for.
        key: String,
        /// The conversion.
        conversion: char,
        /// What was found.
        value: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Lookup(Lookup),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Lookup {
    reference: Reference,
    otherwise: Otherwise,
    conversion: Conversion,
}

/// What follows the name, as `_Lookup` of `buildbot/process/properties.py` (4.3.0) tells them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Otherwise {
    /// `:-`, and no form at all: the value, or this where there is none.
    IfUnset(Vec<Part>),
    /// `:~`: the value, or this where there is none or it is false.
    IfFalse(Vec<Part>),
    /// `:+`, `:?` and (`by_truth`) `:#?`: one or the other, never the value.
    Choice { by_truth: bool, yes: Vec<Part>, no: Vec<Part> },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Conversion {
    kind: char,
    left: bool,
    zero: bool,
    sign: Option<char>,
    width: usize,
    precision: Option<usize>,
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    ///
    /// When it contains `%(` and is not a template that Buildbot would take.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if !text.contains("%(") {
            return Ok(Self::literal(text));
        }
        let parts = parse::parse(text)?;
        Ok(Self { source: text.into(), parts: Some(parts.into()) })
    }

    /// A text that stands for itself, whatever it contains.
    pub fn literal(text: &str) -> Self {
        Self { source: text.into(), parts: None }
    }

    /// Whether it stands for itself.
    pub fn is_literal(&self) -> bool {
        self.parts.is_none()
    }

    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it asks for, in the order written, those in defaults too.
    pub fn references(&self) -> Vec<&Reference> {
        let mut found = Vec::new();
        collect(self.parts.as_deref().unwrap_or_default(), &mut found);
        found
    }

    /// The text for one build.
    ///
    /// # Errors
    ///
    /// When a secret is missing, or something that is to be written as a number is none.
    pub fn render(&self, context: &dyn Context) -> Result<String, RenderError> {
        let Some(parts) = &self.parts else { return Ok(self.source.to_string()) };
        let mut out = String::with_capacity(self.source.len());
        render(parts, context, &mut out)?;
        Ok(out)
    }
}

fn collect<'a>(parts: &'a [Part], found: &mut Vec<&'a Reference>) {
    for part in parts {
        let Part::Lookup(lookup) = part else { continue };
        found.push(&lookup.reference);
        match &lookup.otherwise {
            Otherwise::IfUnset(parts) | Otherwise::IfFalse(parts) => collect(parts, found),
            Otherwise::Choice { yes, no, .. } => {
                collect(yes, found);
                collect(no, found);
            }
        }
    }
}

fn render(parts: &[Part], context: &dyn Context, out: &mut String) -> Result<(), RenderError> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Lookup(lookup) => {
                let value = lookup.value(context)?;
                lookup.conversion.write(&value, &lookup.reference, out)?;
            }
        }
    }
    Ok(())
}

fn rendered(parts: &[Part], context: &dyn Context) -> Result<Json, RenderError> {
    let mut text = String::new();
    render(parts, context, &mut text)?;
    Ok(Json::String(text))
}

impl Lookup {
    fn value(&self, context: &dyn Context) -> Result<Json, RenderError> {
        match &self.otherwise {
            // A property that is set to nothing counts as set; nothing is then written as an empty text.
            Otherwise::IfUnset(default) => match self.reference.find(context)? {
                Some(Json::Null) => Ok(Json::String(String::new())),
                Some(value) => Ok(value),
                None => rendered(default, context),
            },
            Otherwise::IfFalse(default) => match self.reference.find(context)? {
                Some(value) if is_true(&value) => Ok(value),
                _ => rendered(default, context),
            },
            Otherwise::Choice { by_truth, yes, no } => {
                let chosen = if *by_truth {
                    self.reference.find(context)?.is_some_and(|value| is_true(&value))
                } else {
                    // A secret counts as set without being looked up.
                    matches!(self.reference, Reference::Secret(_)) || self.reference.find(context)?.is_some()
                };
                rendered(if chosen { yes } else { no }, context)
            }
        }
    }
}

impl Reference {
    fn find(&self, context: &dyn Context) -> Result<Option<Json>, RenderError> {
        match self {
            Self::Property(name) => Ok(context.property(name)),
            Self::Source { codebase, attribute } => Ok(context.source(codebase, attribute)),
            Self::Worker(name) => Ok(context.worker(name)),
            // A missing secret is never replaced by a default: the build would go on with something made up.
            Self::Secret(name) => match context.secret(name) {
                Some(secret) => Ok(Some(Json::String(secret))),
                None => Err(RenderError::NoSecret(name.clone())),
            },
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Property(name) => write!(f, "prop:{name}"),
            Self::Secret(name) => write!(f, "secret:{name}"),
            Self::Source { codebase, attribute } => write!(f, "src:{codebase}:{attribute}"),
            Self::Worker(name) => write!(f, "worker:{name}"),
        }
    }
}

impl Conversion {
    fn write(&self, value: &Json, reference: &Reference, out: &mut String) -> Result<(), RenderError> {
        let text = match self.kind {
            's' => to_text(value),
            'r' => python::repr(value, false),
            'a' => python::repr(value, true),
            _ => {
                let digits = python::whole_number(value).ok_or_else(|| RenderError::NotANumber {
                    key: reference.to_string(),
                    conversion: self.kind,
                    value: match reference {
                        Reference::Secret(_) => "a secret".into(),
                        _ => python::repr(value, false).chars().take(80).collect(),
                    },
                })?;
                self.write_number(&digits, out);
                return Ok(());
            }
        };
        match self.precision {
            Some(most) => self.pad(&text.chars().take(most).collect::<String>(), out),
            None => self.pad(&text, out),
        }
        Ok(())
    }

    fn write_number(&self, number: &str, out: &mut String) {
        let (sign, digits) = match number.strip_prefix('-') {
            Some(digits) => ("-".to_owned(), digits),
            None => (self.sign.map(String::from).unwrap_or_default(), number),
        };
        let least = match (self.zero && !self.left, self.precision) {
            (true, _) => self.width.saturating_sub(sign.len()).max(self.precision.unwrap_or(0)),
            (false, precision) => precision.unwrap_or(0),
        };
        self.pad(&format!("{sign}{digits:0>least$}"), out);
    }

    fn pad(&self, text: &str, out: &mut String) {
        let blanks = self.width.saturating_sub(text.chars().count());
        if self.left {
            out.push_str(text);
        }
        out.extend(std::iter::repeat_n(' ', blanks));
        if !self.left {
            out.push_str(text);
        }
    }
}
