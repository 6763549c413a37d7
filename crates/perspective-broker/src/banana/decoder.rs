//! Bytes to elements, incrementally.

use super::{Dialect, Element, type_byte, vocabulary};
use crate::limits::{LimitExceeded, Limits, MAX_DEPTH, MAX_PREFIX};
use bytes::{Buf, Bytes, BytesMut};
use num_bigint::{BigInt, BigUint, Sign};
use std::fmt;

/// Strings from this length on are slices of the read buffer; shorter ones are copied.
///
/// A slice keeps the whole buffer alive. What a program keeps for long (names, settings) is short and therefore pins
/// nothing. A longer string pins a buffer of 64 KiB, sixteen times its size at most, or the buffer that had grown for
/// the string before it, which is never larger than [`Limits::string`] and one read.
const SHARE_FROM: usize = 4096;

/// Room that an open list gets before its elements arrive, however many were announced.
const FIRST_ELEMENTS: usize = 8;

/// The peer sent bytes that are not Banana, or more of it than the limits allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A bound of [`Limits`] was exceeded.
    #[error("limit exceeded by the peer")]
    Limit(#[from] LimitExceeded),
    /// There is no such type byte.
    #[error("the peer sent the unknown type byte {0:#04x}")]
    UnknownType(u8),
    /// The vocabulary has no such number; `u64::MAX` stands for that and everything above.
    #[error("the peer sent the unknown vocabulary number {0}")]
    UnknownWord(u64),
    /// A vocabulary number although dialect `none` is spoken.
    #[error("the peer sent a vocabulary number in dialect none")]
    WordInDialectNone,
}

/// An incremental Banana decoder.
///
/// Open lists live on a stack of its own, so a byte is looked at once however the stream is cut, and neither nesting nor
/// dropping what was read can overflow the program's stack. After an error every further call gives the same error.
pub struct Decoder {
    limits: Limits,
    dialect: Dialect,
    digits: [u8; MAX_PREFIX],
    digits_len: usize,
    payload: Payload,
    open: Vec<OpenList>,
    used: usize,
    nodes: usize,
    failed: Option<DecodeError>,
}

#[derive(Clone, Copy)]
enum Payload {
    None,
    String(usize),
    Float,
}

struct OpenList {
    len: usize,
    items: Vec<Element>,
}

impl Decoder {
    /// A decoder at the start of an expression, for dialect `none`.
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: Limits {
                prefix: limits.prefix.min(MAX_PREFIX),
                depth: limits.depth.min(MAX_DEPTH),
                ..*limits
            },
            dialect: Dialect::None,
            digits: [0; MAX_PREFIX],
            digits_len: 0,
            payload: Payload::None,
            open: Vec::new(),
            used: 0,
            nodes: 0,
            failed: None,
        }
    }

    /// Sets the dialect of what follows.
    pub fn set_dialect(&mut self, dialect: Dialect) {
        self.dialect = dialect;
    }

    /// Sets [`Limits::message`] and [`Limits::nodes`] for what follows, and for the expression at hand.
    pub(crate) fn set_message_limits(&mut self, bytes: usize, nodes: usize) {
        self.limits.message = bytes;
        self.limits.nodes = nodes;
    }

    /// Takes the next whole top-level expression out of `input`; `None` asks for more bytes.
    ///
    /// What was understood is removed from `input`. At most the payload of an unfinished string or float is left in it.
    ///
    /// # Errors
    ///
    /// When the bytes are not Banana or exceed a limit.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Element>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.advance(input);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
            self.open.clear();
        }
        result
    }

    /// Whether the decoder stands between two expressions.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.digits_len == 0 && matches!(self.payload, Payload::None)
    }

    /// Bytes that are still missing of the string that was announced last, when `buffered` bytes are in the input.
    pub fn missing(&self, buffered: usize) -> usize {
        match self.payload {
            Payload::None => 0,
            Payload::String(len) => len.saturating_sub(buffered),
            Payload::Float => 8usize.saturating_sub(buffered),
        }
    }

    fn advance(&mut self, input: &mut BytesMut) -> Result<Option<Element>, DecodeError> {
        loop {
            let token = match self.payload {
                Payload::None => match self.header(input)? {
                    Some(type_byte) => self.token(type_byte)?,
                    None => return Ok(None),
                },
                Payload::String(len) if input.len() < len => return Ok(None),
                Payload::String(len) => {
                    self.payload = Payload::None;
                    Some(Element::Bytes(take_string(input, len)))
                }
                Payload::Float => {
                    let Some(bytes) = input.first_chunk::<8>() else { return Ok(None) };
                    let float = f64::from_be_bytes(*bytes);
                    input.advance(8);
                    self.payload = Payload::None;
                    Some(Element::Float(float))
                }
            };
            if let Some(element) = token
                && let Some(expression) = self.close(element)
            {
                self.used = 0;
                self.nodes = 0;
                return Ok(Some(expression));
            }
        }
    }

    /// Reads prefix digits up to and including the type byte.
    fn header(&mut self, input: &mut BytesMut) -> Result<Option<u8>, DecodeError> {
        let limit = self.limits.prefix;
        let room = limit - self.digits_len;
        let found = input.iter().take(room + 1).position(|byte| *byte >= 0x80);
        let taken = found.unwrap_or_else(|| input.len().min(room + 1));
        LimitExceeded::check("prefix", self.digits_len + taken, limit)?;
        self.digits[self.digits_len..self.digits_len + taken].copy_from_slice(&input[..taken]);
        self.digits_len += taken;
        let type_byte = found.map(|position| input[position]);
        let consumed = taken + usize::from(type_byte.is_some());
        input.advance(consumed);
        self.spend(consumed)?;
        Ok(type_byte)
    }

    /// What a type byte means: an element, or (for `None`) a list or payload to come.
    fn token(&mut self, type_byte: u8) -> Result<Option<Element>, DecodeError> {
        let digits = &self.digits[..self.digits_len];
        let element = match type_byte {
            type_byte::LIST => {
                let len = length(digits);
                self.digits_len = 0;
                return self.open_list(len);
            }
            type_byte::STRING => {
                let len = length(digits);
                self.digits_len = 0;
                self.payload = Payload::String(bounded("string", len, self.limits.string)?);
                if let Payload::String(len) = self.payload {
                    self.spend(len)?;
                }
                return Ok(None);
            }
            type_byte::FLOAT => {
                self.digits_len = 0;
                self.payload = Payload::Float;
                self.spend(8)?;
                return Ok(None);
            }
            type_byte::INT | type_byte::LONGINT => integer(digits, false),
            type_byte::NEG | type_byte::LONGNEG => integer(digits, true),
            type_byte::VOCAB => {
                let number = length(digits);
                let word = vocabulary::word(number).ok_or(DecodeError::UnknownWord(number))?;
                if self.dialect != Dialect::Pb {
                    return Err(DecodeError::WordInDialectNone);
                }
                Element::Bytes(Bytes::from_static(word))
            }
            unknown => return Err(DecodeError::UnknownType(unknown)),
        };
        self.digits_len = 0;
        Ok(Some(element))
    }

    fn open_list(&mut self, announced: u64) -> Result<Option<Element>, DecodeError> {
        let len = bounded("list", announced, self.limits.list)?;
        LimitExceeded::check("depth", self.open.len() + 1, self.limits.depth)?;
        self.nodes = self.nodes.saturating_add(len);
        LimitExceeded::check("nodes", self.nodes, self.limits.nodes)?;
        if len == 0 {
            return Ok(Some(Element::List(Vec::new())));
        }
        self.open.push(OpenList { len, items: Vec::with_capacity(len.min(FIRST_ELEMENTS)) });
        Ok(None)
    }

    /// Puts an element where it belongs; gives the expression that it completes.
    fn close(&mut self, mut element: Element) -> Option<Element> {
        loop {
            let Some(list) = self.open.last_mut() else { return Some(element) };
            list.items.push(element);
            if list.items.len() < list.len {
                return None;
            }
            element = Element::List(self.open.pop().map(|list| list.items).unwrap_or_default());
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.used = self.used.saturating_add(bytes);
        Ok(LimitExceeded::check("message", self.used, self.limits.message)?)
    }
}

impl fmt::Debug for Decoder {
    /// Shows nothing of what was read: there may be secrets in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("dialect", &self.dialect)
            .field("depth", &self.open.len())
            .field("used", &self.used)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

fn take_string(input: &mut BytesMut, len: usize) -> Bytes {
    if len >= SHARE_FROM {
        return input.split_to(len).freeze();
    }
    let string = &input[..len];
    let bytes = match vocabulary::known(string) {
        Some(word) => Bytes::from_static(word),
        None => Bytes::copy_from_slice(string),
    };
    input.advance(len);
    bytes
}

fn bounded(limit: &'static str, announced: u64, bound: usize) -> Result<usize, LimitExceeded> {
    match usize::try_from(announced) {
        Ok(len) if len <= bound => Ok(len),
        _ => Err(LimitExceeded { limit, announced, bound: bound as u64 }),
    }
}

/// The number of a prefix without its leading zeros (which come last), if it fits 126 bits.
fn small(digits: &[u8]) -> Option<u128> {
    let significant = digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
    if significant > 18 {
        return None;
    }
    Some(digits[..significant].iter().rev().fold(0, |number, digit| number << 7 | u128::from(*digit)))
}

fn length(digits: &[u8]) -> u64 {
    small(digits).and_then(|number| u64::try_from(number).ok()).unwrap_or(u64::MAX)
}

fn integer(digits: &[u8], negative: bool) -> Element {
    // 126 bits always fit an i128, with either sign.
    let fits = small(digits).and_then(|magnitude| {
        let magnitude = magnitude as i128;
        i64::try_from(if negative { -magnitude } else { magnitude }).ok()
    });
    if let Some(int) = fits {
        return Element::Int(int);
    }
    let magnitude = BigUint::from_radix_le(digits, 128).unwrap_or_default();
    let sign = if negative { Sign::Minus } else { Sign::Plus };
    Element::BigInt(Box::new(BigInt::from_biguint(sign, magnitude)))
}
