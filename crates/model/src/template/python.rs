//! Values as Python would write them: `str()`, `repr()` and what counts as true.

use std::fmt::Write as _;

use serde_json::Value as Json;

/// Whether Python takes the value as true: not None, False, 0, nor anything empty.
pub fn is_true(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(truth) => *truth,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(values) => !values.is_empty(),
        Json::Object(entries) => !entries.is_empty(),
    }
}

/// The value as `Interpolate` writes it: Python's `str()`, and nothing for None.
pub fn to_text(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        _ => repr(value, false),
    }
}

/// The value as Python shows it: `repr()`.
pub fn to_repr(value: &Json) -> String {
    repr(value, false)
}

/// Python's `repr()`, or `ascii()`.
pub(super) fn repr(value: &Json, ascii: bool) -> String {
    let mut out = String::new();
    write_repr(value, ascii, &mut out);
    out
}

/// The value as `%d` writes it: numbers are cut to whole ones, truth is 0 or 1.
pub(super) fn whole_number(value: &Json) -> Option<String> {
    match value {
        Json::Bool(truth) => Some(u8::from(*truth).to_string()),
        Json::Number(number) if number.is_f64() => Some(format!("{:.0}", number.as_f64()?.trunc() + 0.0)),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn write_repr(value: &Json, ascii: bool, out: &mut String) {
    match value {
        Json::Null => out.push_str("None"),
        Json::Bool(truth) => out.push_str(if *truth { "True" } else { "False" }),
        Json::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => write_float(float, out),
            _ => out.push_str(&number.to_string()),
        },
        Json::String(text) => write_quoted(text, ascii, out),
        Json::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                write_repr(value, ascii, out);
            }
            out.push(']');
        }
        Json::Object(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                write_quoted(key, ascii, out);
                out.push_str(": ");
                write_repr(value, ascii, out);
            }
            out.push('}');
        }
    }
}

/// The shortest digits that give the number back; with an exponent below 1e-4 and from 1e16 on.
fn write_float(float: f64, out: &mut String) {
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = float.to_string();
        out.push_str(&plain);
        if !plain.contains('.') {
            out.push_str(".0");
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        out.push_str(digits);
        out.push('e');
        out.push(sign);
        out.push_str(&format!("{:02}", exponent.unsigned_abs()));
    }
}

fn write_quoted(text: &str, ascii: bool, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            ' '..='~' => out.push(c),
            c if !ascii && is_printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                // Writing to a String cannot fail.
                let written = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
                debug_assert!(written.is_ok());
            }
        }
    }
    out.push(quote);
}

/// What Rust leaves alone in the middle of a text is what Python calls printable: both go by the Unicode categories.
fn is_printable(c: char) -> bool {
    let mut text = String::from("a");
    text.push(c);
    text.escape_debug().nth(1) == Some(c)
}
