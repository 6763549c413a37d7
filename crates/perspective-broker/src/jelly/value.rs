//! The values themselves, and how a program looks into them.

use super::{Backref, Date, DateTime, Decimal, Failure, Shared, Time, TimeDelta};
use crate::{LocalId, RemoteId};
use bytes::Bytes;
use bytestring::ByteString;
use num_bigint::BigInt;
use std::borrow::Cow;
use std::collections::HashSet;

/// A value as Jelly knows it (`twisted.spread.jelly`, `_Jellier.jelly`).
///
/// The accessors see through [`Value::Shared`], and take [`Value::Bytes`] and [`Value::Text`] for equal: Python 2
/// sends byte strings where Python 3 sends text, sometimes both in one dictionary.
///
/// Equality compares shared containers by identity, because comparing their contents could take for ever.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `bool`.
    Bool(bool),
    /// `int`.
    Int(i64),
    /// `int` that does not fit 64 bits.
    BigInt(Box<BigInt>),
    /// `float`.
    Float(f64),
    /// `bytes`, or `str` of Python 2.
    Bytes(Bytes),
    /// `str`, or `unicode` of Python 2.
    Text(ByteString),
    /// `list`.
    List(Vec<Self>),
    /// `tuple`.
    Tuple(Vec<Self>),
    /// `dict`, in the order of the wire; keys may repeat.
    Dict(Vec<(Self, Self)>),
    /// `set`; elements may repeat.
    Set(Vec<Self>),
    /// `frozenset`; elements may repeat.
    FrozenSet(Vec<Self>),
    /// `datetime.datetime` without a time zone.
    DateTime(DateTime),
    /// `datetime.date`.
    Date(Date),
    /// `datetime.time` without a time zone.
    Time(Time),
    /// `datetime.timedelta`.
    TimeDelta(TimeDelta),
    /// `decimal.Decimal`.
    Decimal(Box<Decimal>),
    /// An object of ours: sent as `("remote" n)`, received as `("local" n)`.
    Local(LocalId),
    /// An object of the peer's: received as `("remote" n)`, sent as `("local" n)`.
    Remote(RemoteId),
    /// An instance of a named class, by value.
    Copy(Box<Copyable>),
    /// An exception (`twisted.spread.pb.CopyableFailure`).
    Failure(Box<Failure>),
    /// A container that occurs more than once in one expression. It exists once, however often it occurs.
    Shared(Shared),
    /// An occurrence of a container inside itself, or before the place where its contents are given.
    Backref(Backref),
}

/// An instance sent by value (`twisted.spread.flavors.Copyable`).
#[derive(Clone, Debug, PartialEq)]
pub struct Copyable {
    /// The dotted name of the class.
    pub class: ByteString,
    /// What its `getStateToCopy` gave, normally a dictionary.
    pub state: Value,
}

impl Value {
    /// A byte string.
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::Bytes(bytes.into())
    }

    /// Text.
    pub fn text(text: impl Into<ByteString>) -> Self {
        Self::Text(text.into())
    }

    /// A list.
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::List(items.into_iter().collect())
    }

    /// A tuple.
    pub fn tuple(items: impl IntoIterator<Item = Self>) -> Self {
        Self::Tuple(items.into_iter().collect())
    }

    /// A dictionary with text keys.
    pub fn dict<K: Into<ByteString>>(pairs: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Dict(pairs.into_iter().map(|(key, value)| (Self::text(key), value)).collect())
    }

    /// The value itself, with [`Value::Shared`] seen through.
    pub fn resolved(&self) -> &Self {
        let mut value = self;
        while let Self::Shared(shared) = value {
            value = shared.value();
        }
        value
    }

    /// Whether this is `None`.
    pub fn is_none(&self) -> bool {
        matches!(self.resolved(), Self::None)
    }

    /// A truth value; the integers 0 and 1 count, as in Python.
    pub fn as_bool(&self) -> Option<bool> {
        match self.resolved() {
            Self::Bool(bool) => Some(*bool),
            Self::Int(0) => Some(false),
            Self::Int(1) => Some(true),
            _ => None,
        }
    }

    /// An integer of 64 bits; truth values count as 0 and 1, as in Python.
    pub fn as_int(&self) -> Option<i64> {
        match self.resolved() {
            Self::Int(int) => Some(*int),
            Self::Bool(bool) => Some((*bool).into()),
            _ => None,
        }
    }

    /// A float, or an integer of 64 bits as a float.
    pub fn as_float(&self) -> Option<f64> {
        match self.resolved() {
            Self::Float(float) => Some(*float),
            Self::Int(int) => Some(*int as f64),
            _ => None,
        }
    }

    /// The bytes of a byte string or of text.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self.resolved() {
            Self::Bytes(bytes) => Some(bytes),
            Self::Text(text) => Some(text.as_bytes()),
            _ => None,
        }
    }

    /// Text, or a byte string that is UTF-8.
    pub fn as_text(&self) -> Option<&str> {
        match self.resolved() {
            Self::Bytes(bytes) => str::from_utf8(bytes).ok(),
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Text, or a byte string in which everything that is not UTF-8 is replaced.
    pub fn as_text_lossy(&self) -> Option<Cow<'_, str>> {
        match self.resolved() {
            Self::Bytes(bytes) => Some(String::from_utf8_lossy(bytes)),
            Self::Text(text) => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }

    /// The elements of a list or tuple.
    pub fn as_list(&self) -> Option<&[Self]> {
        match self.resolved() {
            Self::List(items) | Self::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The pairs of a dictionary.
    pub fn as_dict(&self) -> Option<&[(Self, Self)]> {
        match self.resolved() {
            Self::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// The value of a dictionary's key, be it text or bytes; of repeated keys the last one counts, as in Python.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_dict()?
            .iter()
            .rev()
            .find(|(candidate, _)| candidate.as_bytes() == Some(key.as_bytes()))
            .map(|(_, value)| value)
    }

    /// An object of the peer's.
    pub fn as_remote(&self) -> Option<RemoteId> {
        match self.resolved() {
            Self::Remote(id) => Some(*id),
            _ => None,
        }
    }

    /// An object of ours.
    pub fn as_local(&self) -> Option<LocalId> {
        match self.resolved() {
            Self::Local(id) => Some(*id),
            _ => None,
        }
    }

    /// An exception.
    pub fn as_failure(&self) -> Option<&Failure> {
        match self.resolved() {
            Self::Failure(failure) => Some(failure),
            _ => None,
        }
    }

    /// The bytes of a byte string or of text, without copying them.
    pub fn into_bytes(self) -> Option<Bytes> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Text(text) => Some(text.into_bytes()),
            Self::Shared(shared) => shared.value().resolved().clone().into_bytes(),
            _ => None,
        }
    }

    /// The elements of a list or tuple.
    pub fn into_list(self) -> Option<Vec<Self>> {
        match self {
            Self::List(items) | Self::Tuple(items) => Some(items),
            Self::Shared(shared) => shared.value().as_list().map(<[Self]>::to_vec),
            _ => None,
        }
    }

    /// The pairs of a dictionary.
    pub fn into_dict(self) -> Option<Vec<(Self, Self)>> {
        match self {
            Self::Dict(pairs) => Some(pairs),
            Self::Shared(shared) => shared.value().as_dict().map(<[(Self, Self)]>::to_vec),
            _ => None,
        }
    }

    /// The object ids of the peer's in this value, one for each occurrence that was on the wire.
    ///
    /// What is inside a shared container counts once.
    pub fn remotes(&self) -> Vec<RemoteId> {
        remotes_in([self])
    }
}

/// The object ids of the peer's in values that came in one expression, one for each occurrence that was on the wire.
pub(crate) fn remotes_in<'v>(values: impl IntoIterator<Item = &'v Value>) -> Vec<RemoteId> {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut pending: Vec<&Value> = values.into_iter().collect();
    while let Some(value) = pending.pop() {
        match value {
            Value::Remote(id) => found.push(*id),
            Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => {
                pending.extend(items);
            }
            Value::Dict(pairs) => pending.extend(pairs.iter().flat_map(|(key, value)| [key, value])),
            Value::Copy(copy) => pending.push(&copy.state),
            Value::Shared(shared) if seen.insert(shared.address()) => pending.push(shared.value()),
            _ => {}
        }
    }
    found
}

impl From<()> for Value {
    fn from((): ()) -> Self {
        Self::None
    }
}

impl From<bool> for Value {
    fn from(bool: bool) -> Self {
        Self::Bool(bool)
    }
}

impl From<i32> for Value {
    fn from(int: i32) -> Self {
        Self::Int(int.into())
    }
}

impl From<u32> for Value {
    fn from(int: u32) -> Self {
        Self::Int(int.into())
    }
}

impl From<i64> for Value {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<u64> for Value {
    fn from(int: u64) -> Self {
        i64::try_from(int).map_or_else(|_| Self::BigInt(Box::new(int.into())), Self::Int)
    }
}

impl From<BigInt> for Value {
    fn from(int: BigInt) -> Self {
        i64::try_from(&int).map_or_else(|_| Self::BigInt(Box::new(int)), Self::Int)
    }
}

impl From<f64> for Value {
    fn from(float: f64) -> Self {
        Self::Float(float)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<ByteString> for Value {
    fn from(text: ByteString) -> Self {
        Self::Text(text)
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<Self>> for Value {
    fn from(items: Vec<Self>) -> Self {
        Self::List(items)
    }
}

impl From<LocalId> for Value {
    fn from(id: LocalId) -> Self {
        Self::Local(id)
    }
}

impl From<RemoteId> for Value {
    fn from(id: RemoteId) -> Self {
        Self::Remote(id)
    }
}

impl From<Failure> for Value {
    fn from(failure: Failure) -> Self {
        Self::Failure(Box::new(failure))
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}
