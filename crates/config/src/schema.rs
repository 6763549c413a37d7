//! What a table may hold, as data: reading, messages and the reference are made from it.

use crate::{renderable::Renderable, value::Value};

/// One key of a table, or one argument of a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    pub(crate) renderable: bool,
    pub(crate) default: Fallback,
    /// One line for the reference.
    pub(crate) doc: &'static str,
}

impl Key {
    pub(crate) const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, kind, required: false, renderable: false, default: Fallback::None, doc }
    }

    /// A key that may depend on the build.
    pub(crate) const fn renderable(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { renderable: true, ..Self::new(name, kind, doc) }
    }

    pub(crate) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(crate) const fn default(self, default: Fallback) -> Self {
        Self { default, ..self }
    }
}

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number between two others, both taken.
    Integer(i64, i64),
    /// A number, not below zero, whole or not.
    Number,
    /// A time in seconds, whole or not.
    Seconds,
    /// Text.
    Text,
    /// Text that is a regular expression.
    Pattern,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts; one text is a list of one.
    Texts,
    /// One text for the shell, or a list of texts for no shell.
    Command,
    /// Texts by name.
    Dict,
    /// Anything, by name.
    Values,
    /// Anything.
    Any,
    /// What only a few arguments are.
    Special(&'static Special),
    /// Tables that have a section of their own; the word is their heading.
    Tables(&'static str),
}

/// A kind that only a few arguments are.
#[derive(Debug)]
pub(crate) struct Special {
    /// As in "expected …".
    pub(crate) expected: &'static str,
    /// Reads it, or reports why not.
    pub(crate) read: fn(&Value<'_>) -> Option<Renderable>,
}

impl Special {
    /// What is no renderable, and is read by code of its own: only for messages and the reference.
    pub(crate) const fn apart(expected: &'static str) -> Self {
        Self { expected, read: |_| Some(Renderable::Null) }
    }
}

/// What holds where a key is left out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fallback {
    /// Nothing.
    None,
    /// This truth.
    Bool(bool),
    /// This number.
    Integer(i64),
    /// This text.
    Text(&'static str),
    /// These texts.
    Texts(&'static [&'static str]),
    /// Numbers by name.
    Numbers(&'static [(&'static str, i64)]),
    /// Something that depends on the rest; for the reference.
    Of(&'static str),
}

impl Fallback {
    pub(crate) fn value(self) -> Renderable {
        match self {
            Self::None | Self::Of(_) => Renderable::Null,
            Self::Bool(truth) => Renderable::Bool(truth),
            Self::Integer(number) => Renderable::Int(number),
            Self::Text(text) => Renderable::literal(text),
            Self::Texts(texts) => {
                Renderable::List(texts.iter().map(|text| Renderable::literal(text)).collect())
            }
            Self::Numbers(entries) => Renderable::Dict(
                entries.iter().map(|(name, number)| ((*name).to_owned(), Renderable::Int(*number))).collect(),
            ),
        }
    }
}

impl Kind {
    /// As in "expected …".
    pub(crate) fn expected(self) -> String {
        match self {
            Self::Bool => "`true` or `false`".into(),
            Self::Integer(0, i64::MAX) => "a whole number from 0 on".into(),
            Self::Integer(1, i64::MAX) => "a whole number from 1 on".into(),
            Self::Integer(i64::MIN, i64::MAX) => "a whole number".into(),
            Self::Integer(least, most) => format!("a whole number from {least} to {most}"),
            Self::Number => "a number from 0 on".into(),
            Self::Seconds => "a number of seconds".into(),
            Self::Text => "text".into(),
            Self::Pattern => "a regular expression".into(),
            Self::Choice(words) => {
                format!(
                    "one of {}",
                    words.iter().map(|word| format!("`{word:?}`")).collect::<Vec<_>>().join(", ")
                )
            }
            Self::Texts => "a list of texts".into(),
            Self::Command => "a command: one text, or a list of texts".into(),
            Self::Dict => "a table of texts".into(),
            Self::Values => "a table".into(),
            Self::Any => "a value".into(),
            Self::Special(special) => special.expected.into(),
            Self::Tables(heading) => format!("tables, see `{heading}`"),
        }
    }
}
