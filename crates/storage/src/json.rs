//! JSON text as Python's `json.dumps` writes it, which is what Buildbot's tables hold.
//!
//! It differs from compact JSON in three things: a blank after `,` and `:`, only ASCII (everything else escaped), and
//! numbers as Python's `repr` shows them.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

/// The text of a value as Python's `json.dumps` writes it.
pub fn python_json(value: &serde_json::Value) -> String {
    text(value)
}

/// The text of any value that JSON can hold.
pub(crate) fn text(value: &impl Serialize) -> String {
    let mut out = Vec::with_capacity(32);
    value
        .serialize(&mut Serializer::with_formatter(&mut out, Python))
        .expect("values are built from JSON and writing to memory does not fail");
    String::from_utf8(out).expect("only ASCII is written")
}

struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (at, char) in fragment.char_indices().filter(|&(_, char)| !(' '..='~').contains(&char)) {
            out.write_all(&fragment.as_bytes()[plain..at])?;
            for unit in char.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            plain = at + char.len_utf8();
        }
        out.write_all(&fragment.as_bytes()[plain..])
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, out: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Quote => out.write_all(b"\\\""),
            CharEscape::ReverseSolidus => out.write_all(b"\\\\"),
            CharEscape::Solidus => out.write_all(b"/"),
            CharEscape::Backspace => out.write_all(b"\\b"),
            CharEscape::FormFeed => out.write_all(b"\\f"),
            CharEscape::LineFeed => out.write_all(b"\\n"),
            CharEscape::CarriageReturn => out.write_all(b"\\r"),
            CharEscape::Tab => out.write_all(b"\\t"),
            CharEscape::AsciiControl(byte) => write!(out, "\\u{byte:04x}"),
        }
    }

    fn write_f64<W: ?Sized + Write>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        // The shortest digits are the same everywhere; Python leaves the plain form below 1e-4 and from 1e16 on, and
        // gives the exponent a sign and at least two digits.
        let scientific = format!("{value:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        if value == 0.0 || (-4..16).contains(&exponent) {
            return write!(out, "{value:?}");
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{digits}e{sign}{:02}", exponent.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_what_python_writes() {
        let floats = json!([1e16, 1e15, 1e-4, 1e-5, 123456789012345680.0, 1.0, -0.0, 5e-324, 1.5e300]);
        assert_eq!(
            python_json(&floats),
            "[1e+16, 1000000000000000.0, 0.0001, 1e-05, 1.2345678901234568e+17, 1.0, -0.0, 5e-324, 1.5e+300]"
        );
        assert_eq!(
            python_json(&json!({"é": ["\u{2028}😀\u{7f}\0/\"\\\n", null, true, -7, {}], "b": []})),
            "{\"\\u00e9\": [\"\\u2028\\ud83d\\ude00\\u007f\\u0000/\\\"\\\\\\n\", null, true, -7, {}], \"b\": []}"
        );
    }
}
