//! Values to bytes (`twisted.spread.jelly._Jellier`), without elements in between.

use super::{Failure, Shared, Value, failure};
use crate::banana::{Dialect, EncodeError, Encoder};
use crate::limits::{LimitExceeded, Limits, MAX_DEPTH};
use crate::{LocalId, RemoteId};
use bytes::BytesMut;
use num_bigint::BigInt;
use std::collections::HashMap;

/// Appends a value to `out` as Twisted sends it.
///
/// # Errors
///
/// When no peer would accept it; `out` is then as it was.
pub fn jelly(
    value: &Value,
    dialect: Dialect,
    limits: &Limits,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let start = out.len();
    let result = Jellier::new(Encoder::new(out, dialect, limits)).tree(value);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Writes values, and remembers which objects of ours were in them.
pub(crate) struct Jellier<'a> {
    pub(crate) encoder: Encoder<'a>,
    /// Every object of ours that was written, each occurrence.
    locals: Vec<LocalId>,
    /// Every object of the peer's that was written.
    remotes: Vec<RemoteId>,
    containers: HashMap<usize, Container>,
    /// The same containers, kept alive so that their addresses stay theirs until the tree is written.
    alive: Vec<Shared>,
}

/// What is known about a shared container of the tree at hand.
#[derive(Default)]
struct Container {
    number: Option<i64>,
    written: bool,
}

impl<'a> Jellier<'a> {
    pub(crate) fn new(encoder: Encoder<'a>) -> Self {
        Self {
            encoder,
            locals: Vec::new(),
            remotes: Vec::new(),
            containers: HashMap::new(),
            alive: Vec::new(),
        }
    }

    /// The objects that were written: ours, each occurrence, and the peer's.
    pub(crate) fn into_objects(self) -> (Vec<LocalId>, Vec<RemoteId>) {
        (self.locals, self.remotes)
    }

    /// Writes one tree; the numbers of shared containers start anew.
    pub(crate) fn tree(&mut self, value: &Value) -> Result<(), EncodeError> {
        self.trees(TAGLESS, std::slice::from_ref(value))
    }

    /// Writes a tuple of these values as one tree.
    pub(crate) fn tuple(&mut self, values: &[Value]) -> Result<(), EncodeError> {
        self.trees(b"tuple", values)
    }

    /// Writes a dictionary of these pairs as one tree.
    pub(crate) fn dict(&mut self, pairs: &[(Value, Value)]) -> Result<(), EncodeError> {
        let mut census = self.census();
        pairs.iter().try_for_each(|(key, value)| {
            census.visit(key, 3)?;
            census.visit(value, 3)
        })?;
        self.pairs(pairs)
    }

    fn trees(&mut self, tag: &'static [u8], values: &[Value]) -> Result<(), EncodeError> {
        let mut census = self.census();
        values.iter().try_for_each(|value| census.visit(value, 2))?;
        if tag == TAGLESS {
            return values.iter().try_for_each(|value| self.value(value));
        }
        self.sequence(tag, values)
    }

    fn census(&mut self) -> Census<'_> {
        self.containers.clear();
        self.alive.clear();
        let depth = self.encoder.limits().depth.min(MAX_DEPTH);
        Census { containers: &mut self.containers, alive: &mut self.alive, next: 1, depth }
    }

    fn value(&mut self, value: &Value) -> Result<(), EncodeError> {
        match value {
            Value::None => {
                self.encoder.list(1)?;
                self.encoder.bytes(b"None")
            }
            Value::Bool(bool) => self.tagged(b"boolean", if *bool { b"true" } else { b"false" }),
            Value::Int(int) => {
                self.encoder.int(*int);
                Ok(())
            }
            Value::BigInt(int) => self.encoder.big_int(int),
            Value::Float(float) => {
                self.encoder.float(*float);
                Ok(())
            }
            Value::Bytes(bytes) => self.encoder.bytes(bytes),
            Value::Text(text) => self.tagged(b"unicode", text.as_bytes()),
            Value::List(items) => self.sequence(b"list", items),
            Value::Tuple(items) => self.sequence(b"tuple", items),
            Value::Set(items) => self.sequence(b"set", items),
            Value::FrozenSet(items) => self.sequence(b"frozenset", items),
            Value::Dict(pairs) => self.pairs(pairs),
            Value::DateTime(datetime) => self.tagged(b"datetime", datetime.to_string().as_bytes()),
            Value::Date(date) => self.tagged(b"date", date.to_string().as_bytes()),
            Value::Time(time) => self.tagged(b"time", time.to_string().as_bytes()),
            Value::TimeDelta(delta) => self.tagged(b"timedelta", delta.to_string().as_bytes()),
            Value::Decimal(decimal) => self.decimal(&decimal.digits, decimal.exponent),
            Value::Local(id) => {
                self.locals.push(*id);
                self.numbered(b"remote", id.get())
            }
            Value::Remote(id) => {
                self.remotes.push(*id);
                self.numbered(b"local", id.get())
            }
            Value::Copy(copy) => {
                self.encoder.list(2)?;
                self.encoder.bytes(copy.class.as_bytes())?;
                self.value(&copy.state)
            }
            Value::Failure(failure) => self.failure(failure),
            Value::Shared(shared) => self.shared(shared),
            Value::Backref(backref) => self.shared(&backref.upgrade().ok_or(EncodeError::Dangling)?),
        }
    }

    fn tagged(&mut self, tag: &[u8], contents: &[u8]) -> Result<(), EncodeError> {
        self.encoder.list(2)?;
        self.encoder.bytes(tag)?;
        self.encoder.bytes(contents)
    }

    fn numbered(&mut self, tag: &[u8], number: i64) -> Result<(), EncodeError> {
        self.encoder.list(2)?;
        self.encoder.bytes(tag)?;
        self.encoder.int(number);
        Ok(())
    }

    fn sequence(&mut self, tag: &[u8], items: &[Value]) -> Result<(), EncodeError> {
        self.encoder.list(items.len() + 1)?;
        self.encoder.bytes(tag)?;
        items.iter().try_for_each(|item| self.value(item))
    }

    fn pairs(&mut self, pairs: &[(Value, Value)]) -> Result<(), EncodeError> {
        self.encoder.list(pairs.len() + 1)?;
        self.encoder.bytes(b"dictionary")?;
        pairs.iter().try_for_each(|(key, value)| {
            self.encoder.list(2)?;
            self.value(key)?;
            self.value(value)
        })
    }

    fn decimal(&mut self, digits: &BigInt, exponent: i64) -> Result<(), EncodeError> {
        self.encoder.list(3)?;
        self.encoder.bytes(b"decimal")?;
        self.encoder.big_int(digits)?;
        self.encoder.int(exponent);
        Ok(())
    }

    /// Writes the least that every Twisted understands. Keys and parents must be text: Twisted from 24.7 on looks for
    /// `parents` before it converts keys, and finds a class only among texts.
    fn failure(&mut self, failure: &Failure) -> Result<(), EncodeError> {
        let limit = self.encoder.limits().string;
        self.encoder.list(2)?;
        self.encoder.bytes(failure::CLASS.as_bytes())?;
        self.encoder.list(8)?;
        self.encoder.bytes(b"dictionary")?;
        self.key("type")?;
        self.encoder.bytes(cut(&failure.kind, limit).as_bytes())?;
        self.key("value")?;
        self.tagged(b"unicode", cut(&failure.value, limit).as_bytes())?;
        self.key("parents")?;
        self.encoder.list(failure.parents.len() + 1)?;
        self.encoder.bytes(b"list")?;
        for parent in &failure.parents {
            self.tagged(b"unicode", cut(parent, limit).as_bytes())?;
        }
        self.key("traceback")?;
        self.tagged(b"unicode", cut(&failure.traceback, limit).as_bytes())?;
        for empty in ["frames", "stack"] {
            self.key(empty)?;
            self.encoder.list(1)?;
            self.encoder.bytes(b"list")?;
        }
        self.key("tb")?;
        self.encoder.list(1)?;
        self.encoder.bytes(b"None")
    }

    /// Opens a pair and writes its key.
    fn key(&mut self, key: &str) -> Result<(), EncodeError> {
        self.encoder.list(2)?;
        self.tagged(b"unicode", key.as_bytes())
    }

    fn shared(&mut self, shared: &Shared) -> Result<(), EncodeError> {
        let container = self.containers.entry(shared.address()).or_default();
        let first = !std::mem::replace(&mut container.written, true);
        match container.number {
            Some(number) if first => {
                self.encoder.list(3)?;
                self.encoder.bytes(b"reference")?;
                self.encoder.int(number);
                self.value(shared.value())
            }
            Some(number) => self.numbered(b"dereference", number),
            None => self.value(shared.value()),
        }
    }
}

/// A tag for a tree that has none of its own.
const TAGLESS: &[u8] = b"";

/// Finds the containers that occur more than once, and how deep the tree is, before anything is written.
struct Census<'c> {
    containers: &'c mut HashMap<usize, Container>,
    alive: &'c mut Vec<Shared>,
    next: i64,
    depth: usize,
}

impl Census<'_> {
    /// `depth` is the number of Banana lists around the value, and its own.
    fn visit(&mut self, value: &Value, depth: usize) -> Result<(), EncodeError> {
        let limit = self.depth;
        let enter = |levels: usize| LimitExceeded::check("depth", depth + levels, limit);
        match value {
            Value::Int(_) | Value::BigInt(_) | Value::Float(_) | Value::Bytes(_) => {}
            Value::Failure(_) => enter(4)?,
            Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => {
                enter(0)?;
                items.iter().try_for_each(|item| self.visit(item, depth + 1))?;
            }
            Value::Dict(pairs) => {
                enter(1)?;
                pairs.iter().try_for_each(|(key, value)| {
                    self.visit(key, depth + 2)?;
                    self.visit(value, depth + 2)
                })?;
            }
            Value::Copy(copy) => {
                enter(0)?;
                self.visit(&copy.state, depth + 1)?;
            }
            Value::Shared(shared) => self.container(shared, depth)?,
            Value::Backref(backref) => {
                self.container(&backref.upgrade().ok_or(EncodeError::Dangling)?, depth)?;
            }
            _ => enter(0)?,
        }
        Ok(())
    }

    fn container(&mut self, shared: &Shared, depth: usize) -> Result<(), EncodeError> {
        LimitExceeded::check("depth", depth, self.depth)?;
        if let Some(container) = self.containers.get_mut(&shared.address()) {
            // Numbers are given in the order of second occurrences, as Twisted's `_cook` does.
            if container.number.is_none() {
                container.number = Some(self.next);
                self.next += 1;
            }
            return Ok(());
        }
        self.containers.insert(shared.address(), Container::default());
        self.alive.push(shared.clone());
        self.visit(shared.value(), depth + 1)
    }
}

/// As much of a text as fits a string of `limit` bytes.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}
