//! Banana: s-expressions of integers, floats, byte strings and lists as bytes (`twisted.spread.banana`).
//!
//! An element is a prefix (a base-128 number, least significant digit first, each byte below `0x80`), a type byte
//! (`0x80` or above) and, for strings and floats, a payload.

mod decoder;
mod encoder;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use decoder::{DecodeError, Decoder};
pub(crate) use encoder::Encoder;
pub use encoder::{EncodeError, encode};

use bytes::Bytes;
use num_bigint::BigInt;

/// Type bytes, with their names in `twisted.spread.banana`.
mod type_byte {
    pub(super) const LIST: u8 = 0x80;
    pub(super) const INT: u8 = 0x81;
    pub(super) const STRING: u8 = 0x82;
    pub(super) const NEG: u8 = 0x83;
    pub(super) const FLOAT: u8 = 0x84;
    pub(super) const LONGINT: u8 = 0x85;
    pub(super) const LONGNEG: u8 = 0x86;
    pub(super) const VOCAB: u8 = 0x87;
}

/// A dialect of Banana, chosen at the start of a connection (`twisted.spread.banana.Banana.knownDialects`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `none`: the bare types. Also what is spoken until a dialect is chosen.
    None,
    /// `pb`: common words travel as numbers of a fixed vocabulary.
    Pb,
}

impl Dialect {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pb => "pb",
        }
    }

    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"none" => Some(Self::None),
            b"pb" => Some(Self::Pb),
            _ => None,
        }
    }
}

/// An s-expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Element {
    /// An integer. On the wire it may have been any of the four integer types.
    Int(i64),
    /// An integer that does not fit 64 bits.
    BigInt(Box<BigInt>),
    /// A float.
    Float(f64),
    /// A byte string. There are no others at this level.
    Bytes(Bytes),
    /// A list; Banana has no tuples.
    List(Vec<Self>),
}
