//! Elements to values (`twisted.spread.jelly._Unjellier`).

use super::{Copyable, Date, DateTime, Decimal, Failure, Shared, Time, TimeDelta, Value, failure};
use crate::banana::Element;
use crate::{LocalId, RemoteId};
use bytes::Bytes;
use bytestring::ByteString;
use num_bigint::BigInt;
use std::collections::HashMap;

/// The peer sent an expression that is not a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnjellyError {
    /// A known type with contents that it cannot have.
    #[error("malformed {form}: {expected} expected")]
    Malformed {
        /// The type's tag.
        form: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A type that is not accepted, for example a module or a cached object.
    #[error("type {0} is not accepted")]
    Refused(String),
    /// A back reference to a container that is nowhere in the expression.
    #[error("back reference {0} to a container that was never given")]
    UnknownReference(i64),
    /// Two containers under one number.
    #[error("two containers with the number {0}")]
    DuplicateReference(i64),
}

/// Bytes of text in the failures of one value, however often a back reference repeats them. A stock peer sends one
/// failure at a time.
const FAILURE_TEXT: usize = 4 * 1024 * 1024;

/// A value and what the broker has to know about it.
#[derive(Debug)]
pub(crate) struct Unjellied {
    /// The value, or the first thing that was wrong with it.
    pub(crate) value: Result<Value, UnjellyError>,
    /// Every `("remote" n)` in it, each occurrence, also when the value is refused.
    pub(crate) remotes: Vec<RemoteId>,
    /// Every `("local" n)` in it.
    pub(crate) locals: Vec<LocalId>,
    /// What it would be without back references.
    pub(crate) size: Size,
}

/// How much a value is when every back reference is replaced by what it refers to.
///
/// Somebody who reads a value sees through back references, so this, and not what was sent, is the work and the memory
/// that it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Size {
    /// Elements, as [`Limits::nodes`](crate::Limits::nodes) counts them.
    pub(crate) nodes: usize,
    /// Bytes of strings.
    pub(crate) bytes: usize,
}

impl Size {
    fn plus(self, other: Self) -> Self {
        Self { nodes: self.nodes.saturating_add(other.nodes), bytes: self.bytes.saturating_add(other.bytes) }
    }

    /// What came since `earlier`.
    fn since(self, earlier: Self) -> Self {
        Self {
            nodes: self.nodes.saturating_sub(earlier.nodes),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }
}

/// Makes a value of an element.
///
/// Object numbers are taken as they are; only a [`Broker`](crate::Broker) knows whether they exist.
///
/// # Errors
///
/// When the element is not a value that Jelly could have made.
pub fn unjelly(element: Element) -> Result<Value, UnjellyError> {
    unjelly_tree(element).value
}

pub(crate) fn unjelly_tree(element: Element) -> Unjellied {
    let mut unjellier = Unjellier::default();
    let value = unjellier.value(element);
    unjellier.finish(value)
}

#[derive(Default)]
struct Unjellier {
    slots: HashMap<i64, Slot>,
    remotes: Vec<RemoteId>,
    locals: Vec<LocalId>,
    /// The first error. The rest is read all the same, because objects in it have to be given back.
    error: Option<UnjellyError>,
    /// Inside a failure's state, of which only some keys matter.
    lenient: usize,
    size: Size,
    failure_text: usize,
}

struct Slot {
    shared: Shared,
    state: SlotState,
    size: Size,
}

impl Slot {
    fn awaited(lenient: bool) -> Self {
        Self { shared: Shared::open(), state: SlotState::Awaited { lenient }, size: Size::default() }
    }
}

#[derive(PartialEq)]
enum SlotState {
    /// Referred to, not given yet.
    Awaited {
        lenient: bool,
    },
    Open,
    Closed,
}

impl Unjellier {
    fn finish(mut self, value: Value) -> Unjellied {
        let missing =
            self.slots.iter().filter(|(_, slot)| slot.state == SlotState::Awaited { lenient: false });
        if let Some(number) = missing.map(|(number, _)| *number).min() {
            self.fail(UnjellyError::UnknownReference(number));
        }
        let value = self.error.map_or(Ok(value), Err);
        Unjellied { value, remotes: self.remotes, locals: self.locals, size: self.size }
    }

    fn fail(&mut self, error: UnjellyError) -> Value {
        if self.lenient == 0 {
            self.error.get_or_insert(error);
        }
        Value::None
    }

    fn malformed(&mut self, form: &'static str, expected: &'static str) -> Value {
        self.fail(UnjellyError::Malformed { form, expected })
    }

    fn value(&mut self, element: Element) -> Value {
        match element {
            Element::Int(int) => Value::Int(int),
            Element::BigInt(int) => Value::BigInt(int),
            Element::Float(float) => Value::Float(float),
            Element::Bytes(bytes) => {
                self.size.bytes = self.size.bytes.saturating_add(bytes.len());
                Value::Bytes(bytes)
            }
            Element::List(items) => {
                self.size.nodes = self.size.nodes.saturating_add(items.len());
                self.form(items)
            }
        }
    }

    /// A list whose first element names its type.
    fn form(&mut self, items: Vec<Element>) -> Value {
        let mut rest = items.into_iter();
        let tag = match rest.next() {
            Some(Element::Bytes(tag)) => tag,
            Some(other) => {
                self.value(other);
                rest.for_each(|element| self.drop_element(element));
                return self.malformed("expression", "the name of a type first");
            }
            None => return self.malformed("expression", "the name of a type"),
        };
        match &*tag {
            b"unicode" => self.text(rest),
            b"dictionary" => self.dict(rest),
            b"list" => Value::List(rest.map(|element| self.value(element)).collect()),
            b"tuple" => Value::Tuple(rest.map(|element| self.value(element)).collect()),
            b"None" => Value::None,
            b"boolean" => self.boolean(rest),
            b"set" => Value::Set(rest.map(|element| self.value(element)).collect()),
            b"frozenset" => Value::FrozenSet(rest.map(|element| self.value(element)).collect()),
            b"remote" => match one(rest).and_then(id) {
                Some(number) => {
                    let id = RemoteId::new(number);
                    self.remotes.push(id);
                    Value::Remote(id)
                }
                None => self.malformed("remote", "the number of an object"),
            },
            b"local" => match one(rest).and_then(id) {
                Some(number) => {
                    let id = LocalId::new(number);
                    self.locals.push(id);
                    Value::Local(id)
                }
                None => self.malformed("local", "the number of an object"),
            },
            b"reference" => self.reference(rest),
            b"dereference" => self.dereference(rest),
            b"datetime" => self.calendar("datetime", rest, |text| DateTime::parse(text).map(Value::DateTime)),
            b"date" => self.calendar("date", rest, |text| Date::parse(text).map(Value::Date)),
            b"time" => self.calendar("time", rest, |text| Time::parse(text).map(Value::Time)),
            b"timedelta" => {
                self.calendar("timedelta", rest, |text| TimeDelta::parse(text).map(Value::TimeDelta))
            }
            b"decimal" => self.decimal(rest),
            tag_name if tag_name == failure::CLASS.as_bytes() => self.failure(rest),
            tag_name if tag_name.contains(&b'.') => self.copyable(tag, rest),
            _ => {
                rest.for_each(|element| self.drop_element(element));
                self.fail(UnjellyError::Refused(printable(&tag)))
            }
        }
    }

    fn text(&mut self, rest: impl Iterator<Item = Element>) -> Value {
        let Some(Element::Bytes(bytes)) = one(rest) else {
            return self.malformed("unicode", "one string");
        };
        self.size.bytes = self.size.bytes.saturating_add(bytes.len());
        match ByteString::try_from(bytes) {
            Ok(text) => Value::Text(text),
            Err(_) => self.fail(UnjellyError::NotUtf8),
        }
    }

    fn boolean(&mut self, rest: impl Iterator<Item = Element>) -> Value {
        match one(rest) {
            Some(Element::Bytes(word)) if word == "true" => Value::Bool(true),
            Some(Element::Bytes(word)) if word == "false" => Value::Bool(false),
            _ => self.malformed("boolean", "true or false"),
        }
    }

    fn dict(&mut self, rest: impl ExactSizeIterator<Item = Element>) -> Value {
        let mut pairs = Vec::with_capacity(rest.len());
        for element in rest {
            let pair = match element {
                Element::List(items) => <[Element; 2]>::try_from(items).map_err(Element::List),
                other => Err(other),
            };
            match pair {
                Ok([key, value]) => {
                    let key = self.value(key);
                    pairs.push((key, self.value(value)));
                }
                Err(other) => {
                    self.drop_element(other);
                    self.malformed("dictionary", "pairs");
                }
            }
        }
        Value::Dict(pairs)
    }

    fn calendar(
        &mut self,
        form: &'static str,
        rest: impl Iterator<Item = Element>,
        parse: impl FnOnce(&[u8]) -> Option<Value>,
    ) -> Value {
        match one(rest) {
            Some(Element::Bytes(text)) => {
                parse(&text).unwrap_or_else(|| self.malformed(form, "numbers in their ranges"))
            }
            _ => self.malformed(form, "one string"),
        }
    }

    fn decimal(&mut self, mut rest: impl Iterator<Item = Element>) -> Value {
        let digits = match rest.next() {
            Some(Element::Int(int)) => BigInt::from(int),
            Some(Element::BigInt(int)) => *int,
            _ => return self.malformed("decimal", "an integer and an exponent"),
        };
        match (rest.next(), rest.next()) {
            (Some(Element::Int(exponent)), None) => Value::Decimal(Box::new(Decimal { digits, exponent })),
            _ => self.malformed("decimal", "an integer and an exponent"),
        }
    }

    fn failure(&mut self, rest: impl Iterator<Item = Element>) -> Value {
        let Some(state) = one(rest) else {
            return self.malformed("failure", "its state");
        };
        let before = self.size;
        self.lenient += 1;
        let state = self.value(state);
        self.lenient -= 1;
        // Of the state only some texts are kept.
        self.size = before;
        let text = Failure::text_in(&state);
        self.size.bytes = self.size.bytes.saturating_add(text);
        self.failure_text = self.failure_text.saturating_add(text);
        if self.failure_text > FAILURE_TEXT {
            return self.malformed("failure", "less text");
        }
        Value::Failure(Box::new(Failure::from_state(&state)))
    }

    fn copyable(&mut self, class: Bytes, rest: impl Iterator<Item = Element>) -> Value {
        let Some(state) = one(rest) else {
            return self.malformed("instance", "its state");
        };
        let state = self.value(state);
        match ByteString::try_from(class) {
            Ok(class) => Value::Copy(Box::new(Copyable { class, state })),
            Err(_) => self.fail(UnjellyError::NotUtf8),
        }
    }

    fn reference(&mut self, mut rest: impl Iterator<Item = Element>) -> Value {
        let (Some(Element::Int(number)), Some(contents), None) = (rest.next(), rest.next(), rest.next())
        else {
            return self.malformed("reference", "a number and a container");
        };
        let slot = self.slots.entry(number).or_insert_with(|| Slot::awaited(true));
        if !matches!(slot.state, SlotState::Awaited { .. }) {
            self.drop_element(contents);
            return self.fail(UnjellyError::DuplicateReference(number));
        }
        slot.state = SlotState::Open;
        let shared = slot.shared.clone();
        let before = self.size;
        let mut contents = self.value(contents);
        if !is_container(&contents) {
            // Jelly never gives a number to anything else. A text that is shared could be meant a million times, and a
            // reference to a reference makes chains that take long to follow.
            contents = self.malformed("reference", "a number and a container");
        }
        shared.close(contents);
        let size = self.size.since(before);
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.state = SlotState::Closed;
            slot.size = size;
        }
        Value::Shared(shared)
    }

    fn dereference(&mut self, rest: impl Iterator<Item = Element>) -> Value {
        let Some(Element::Int(number)) = one(rest) else {
            return self.malformed("dereference", "a number");
        };
        let lenient = self.lenient > 0;
        let slot = self.slots.entry(number).or_insert_with(|| Slot::awaited(lenient));
        match &mut slot.state {
            SlotState::Closed => {
                self.size = self.size.plus(slot.size);
                return Value::Shared(slot.shared.clone());
            }
            SlotState::Open => {}
            SlotState::Awaited { lenient: all } => *all &= lenient,
        }
        Value::Backref(slot.shared.backref())
    }

    /// Reads what is not wanted, for the objects in it.
    fn drop_element(&mut self, element: Element) {
        if let Element::List(_) = element {
            self.lenient += 1;
            self.value(element);
            self.lenient -= 1;
        }
    }
}

fn is_container(value: &Value) -> bool {
    matches!(
        value,
        Value::List(_)
            | Value::Tuple(_)
            | Value::Dict(_)
            | Value::Set(_)
            | Value::FrozenSet(_)
            | Value::Copy(_)
            | Value::Failure(_)
    )
}

fn one(mut rest: impl Iterator<Item = Element>) -> Option<Element> {
    let first = rest.next()?;
    rest.next().is_none().then_some(first)
}

fn id(element: Element) -> Option<i64> {
    match element {
        Element::Int(number) => Some(number),
        _ => None,
    }
}

/// A name from the wire, fit for a message.
fn printable(name: &[u8]) -> String {
    name.iter().take(64).copied().flat_map(std::ascii::escape_default).map(char::from).collect()
}
