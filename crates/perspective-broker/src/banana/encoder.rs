//! Elements to bytes.

use super::{Dialect, Element, type_byte, vocabulary};
use crate::limits::{LimitExceeded, Limits, MAX_DEPTH, MAX_PREFIX};
use bytes::{BufMut, BytesMut};
use num_bigint::BigInt;

/// A value that no peer would accept; nothing of it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A bound of [`Limits`] is exceeded.
    #[error("value is larger than a peer accepts")]
    Limit(#[from] LimitExceeded),
    /// A back reference whose container is gone.
    #[error("value refers to a container that no longer exists")]
    Dangling,
}

/// Appends an element to `out`, byte for byte as `twisted.spread.banana.Banana._encode` writes it.
///
/// # Errors
///
/// When a string, list, integer or the nesting exceeds the limits; `out` is then as it was.
pub fn encode(
    element: &Element,
    dialect: Dialect,
    limits: &Limits,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let start = out.len();
    let result = Encoder::new(out, dialect, limits).element(element, 1);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Writes the tokens of expressions. A list is its [`Encoder::list`] token and then its elements.
pub(crate) struct Encoder<'a> {
    out: &'a mut BytesMut,
    dialect: Dialect,
    limits: &'a Limits,
}

impl<'a> Encoder<'a> {
    pub(crate) fn new(out: &'a mut BytesMut, dialect: Dialect, limits: &'a Limits) -> Self {
        Self { out, dialect, limits }
    }

    pub(crate) fn limits(&self) -> &'a Limits {
        self.limits
    }

    pub(crate) fn list(&mut self, len: usize) -> Result<(), EncodeError> {
        LimitExceeded::check("list", len, self.limits.list)?;
        self.prefix(len as u64);
        self.out.put_u8(type_byte::LIST);
        Ok(())
    }

    pub(crate) fn bytes(&mut self, string: &[u8]) -> Result<(), EncodeError> {
        if self.dialect == Dialect::Pb
            && let Some(number) = vocabulary::number(string)
        {
            self.out.put_slice(&[number, type_byte::VOCAB]);
            return Ok(());
        }
        LimitExceeded::check("string", string.len(), self.limits.string)?;
        self.prefix(string.len() as u64);
        self.out.put_u8(type_byte::STRING);
        self.out.put_slice(string);
        Ok(())
    }

    pub(crate) fn int(&mut self, int: i64) {
        self.prefix(int.unsigned_abs());
        self.out.put_u8(if int > i64::from(i32::MAX) {
            type_byte::LONGINT
        } else if int >= 0 {
            type_byte::INT
        } else if int >= i64::from(i32::MIN) {
            type_byte::NEG
        } else {
            type_byte::LONGNEG
        });
    }

    pub(crate) fn big_int(&mut self, int: &BigInt) -> Result<(), EncodeError> {
        if let Ok(small) = i64::try_from(int) {
            self.int(small);
            return Ok(());
        }
        let digits = int.magnitude().to_radix_le(128);
        LimitExceeded::check("prefix", digits.len(), self.limits.prefix.min(MAX_PREFIX))?;
        self.out.put_slice(&digits);
        let negative = int.sign() == num_bigint::Sign::Minus;
        self.out.put_u8(if negative { type_byte::LONGNEG } else { type_byte::LONGINT });
        Ok(())
    }

    pub(crate) fn float(&mut self, float: f64) {
        self.out.put_u8(type_byte::FLOAT);
        self.out.put_f64(float);
    }

    fn element(&mut self, element: &Element, depth: usize) -> Result<(), EncodeError> {
        match element {
            Element::Int(int) => self.int(*int),
            Element::BigInt(int) => self.big_int(int)?,
            Element::Float(float) => self.float(*float),
            Element::Bytes(bytes) => self.bytes(bytes)?,
            Element::List(items) => {
                LimitExceeded::check("depth", depth, self.limits.depth.min(MAX_DEPTH))?;
                self.list(items.len())?;
                for item in items {
                    self.element(item, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn prefix(&mut self, mut number: u64) {
        loop {
            self.out.put_u8((number & 0x7f) as u8);
            number >>= 7;
            if number == 0 {
                return;
            }
        }
    }
}
