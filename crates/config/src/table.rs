//! One table of the file, held against the keys it may have.

use std::time::Duration;

use ::model::Properties;
use toml::de::DeTable;

use crate::{
    diagnostic::Span,
    nearest::nearest,
    renderable::Renderable,
    schema::{Fallback, Key, Kind},
    value::{Reading, Value},
};

/// What a table is called, and the keys it may have.
#[derive(Clone, Copy)]
pub(crate) struct Keys {
    /// As in "… has no `key`".
    pub(crate) what: &'static str,
    pub(crate) groups: &'static [&'static [Key]],
    /// Keys of Buildbot that have another name here, or are not there for a reason: what to say about each.
    pub(crate) hints: &'static [(&'static str, &'static str)],
}

impl Keys {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static Key> + use<> {
        self.groups.iter().copied().flatten()
    }
}

/// A table whose keys are all known.
pub(crate) struct Table<'a> {
    reading: &'a Reading<'a>,
    entries: &'a DeTable<'a>,
    span: Span,
    keys: Keys,
}

impl<'a> Table<'a> {
    /// Reports what is no table, keys that are unknown and keys that are missing.
    pub(crate) fn of(value: Value<'a>, keys: Keys) -> Option<Self> {
        let Some(entries) = value.get().as_table() else {
            value.unexpected("a table");
            return None;
        };
        let table = Self { reading: value.reading, entries, span: value.span(), keys };
        for (key, _) in entries.iter() {
            if !keys.iter().any(|known| known.name == key.get_ref().as_ref()) {
                table.unknown(key.get_ref(), key.span());
            }
        }
        for key in keys.iter().filter(|key| key.required && !entries.contains_key(key.name)) {
            table.missing(&format!("`{}`", key.name), &format!("`{}`: {}", key.name, key.doc));
        }
        Some(table)
    }

    fn unknown(&self, name: &str, span: Span) {
        let note =
            self.reading.sink.error(span, format!("{} has no `{}`", self.keys.what, name.escape_debug()));
        if let Some((_, hint)) = self.keys.hints.iter().find(|(key, _)| *key == name) {
            note.help(*hint);
        } else if let Some(meant) = nearest(name, self.keys.iter().map(|key| key.name)) {
            note.help(format!("did you mean `{meant}`?"));
        } else {
            let names: Vec<String> = self.keys.iter().map(|key| format!("`{}`", key.name)).collect();
            note.help(format!("it has {}", names.join(", ")));
        }
    }

    /// Reports that something is missing.
    pub(crate) fn missing(&self, name: &str, help: &str) {
        self.reading.sink.error(self.head(), format!("{} lacks {name}", self.keys.what)).help(help);
    }

    /// Where the table starts: enough to see which one it is.
    pub(crate) fn head(&self) -> Span {
        head(self.reading, self.span.clone())
    }

    pub(crate) fn reading(&self) -> &'a Reading<'a> {
        self.reading
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        let key = self.keys.iter().find(|key| key.name == name);
        debug_assert!(key.is_some(), "{name} is not in the keys of {}", self.keys.what);
        key
    }

    /// The value of a key, if it is there.
    pub(crate) fn value(&self, name: &str) -> Option<Value<'a>> {
        let renderable = self.key(name)?.renderable;
        Some(Value::new(self.reading, self.entries.get(name)?, renderable))
    }

    /// The value of a key as its kind says, or its default. Reports a value of the wrong kind, which
    /// then counts as none.
    pub(crate) fn renderable(&self, key: &Key) -> Renderable {
        match self.entries.get(key.name) {
            Some(value) => {
                Value::new(self.reading, value, key.renderable).read(key.kind).unwrap_or(Renderable::Null)
            }
            None => key.default.value(),
        }
    }

    /// A text, not empty.
    pub(crate) fn text(&self, name: &str) -> Option<(&'a str, Span)> {
        let value = self.value(name)?.fixed();
        debug_assert!(
            self.key(name).is_none_or(|key| !matches!(key.kind, Kind::Choice(_))),
            "{name} is one of some words: `choice` reads it"
        );
        let text = value.text()?;
        if text.is_empty() {
            value.error(format!("`{name}` is empty"));
            return None;
        }
        value.template()?;
        Some((text, value.span()))
    }

    /// One of the words that its kind has, or its default. Reports any other.
    pub(crate) fn choice(&self, name: &str) -> Option<&'a str> {
        let key = self.key(name)?;
        match (self.value(name), key.default) {
            (Some(value), _) => value.fixed().read(key.kind).and_then(|_| value.get().as_str()),
            (None, Fallback::Text(default)) => Some(default),
            (None, _) => None,
        }
    }

    /// A text as it is, perhaps empty, with nothing in it read as a template.
    pub(crate) fn plain_text(&self, name: &str) -> Option<(&'a str, Span)> {
        let value = self.value(name)?;
        Some((value.text()?, value.span()))
    }

    /// A whole number in the bounds that its kind has.
    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        let key = self.key(name)?;
        let Kind::Integer(least, most) = key.kind else { return None };
        match (self.value(name), key.default) {
            (Some(value), _) => value.integer(least, most),
            (None, Fallback::Integer(default)) => Some(default),
            (None, _) => None,
        }
    }

    /// A truth value, or its default.
    pub(crate) fn bool(&self, name: &str) -> bool {
        let Some(key) = self.key(name) else { return false };
        matches!(self.renderable(key), Renderable::Bool(true))
    }

    /// A number, not below zero.
    #[expect(clippy::cast_precision_loss, reason = "amounts and shares are far below 2^53")]
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        match self.renderable(self.key(name)?) {
            Renderable::Int(number) => Some(number as f64),
            Renderable::Float(number) => Some(number),
            _ => None,
        }
    }

    /// A time, or its default.
    pub(crate) fn seconds(&self, name: &str) -> Option<Duration> {
        match self.renderable(self.key(name)?) {
            Renderable::Int(seconds) => Some(Duration::from_secs(u64::try_from(seconds).ok()?)),
            Renderable::Float(seconds) => Duration::try_from_secs_f64(seconds).ok(),
            _ => None,
        }
    }

    /// Texts with their places.
    pub(crate) fn texts(&self, name: &str) -> Option<Vec<(&'a str, Span)>> {
        self.value(name)?.texts()
    }

    /// Properties.
    pub(crate) fn properties(&self, name: &str, source: &str) -> Properties {
        self.value(name).map(|value| value.properties(source)).unwrap_or_default()
    }

    /// The elements of a list of tables.
    pub(crate) fn tables(&self, name: &str) -> Vec<Value<'a>> {
        let Some(value) = self.value(name) else { return Vec::new() };
        match value.elements() {
            Some(elements) => elements.collect(),
            None => {
                value.unexpected(&format!("a list of tables, `[[{name}]]`"));
                Vec::new()
            }
        }
    }
}

/// The first line of a table.
pub(crate) fn head(reading: &Reading<'_>, span: Span) -> Span {
    let text = reading.sink.text().get(span.start..).unwrap_or("");
    let line = text.split('\n').next().unwrap_or("").trim_end().len();
    span.start..(span.start + line).min(span.end.max(span.start))
}
