//! The text forms of `protocol-fixtures/notation.py`, made of our own values.

use perspective_broker::{Element, Failure, Shared, Value};
use std::fmt::Write;

/// A Banana expression.
pub(crate) fn expression(element: &Element) -> String {
    let mut out = String::new();
    write_expression(element, &mut out);
    out
}

fn write_expression(element: &Element, out: &mut String) {
    match element {
        Element::Int(int) => write!(out, "{int}").unwrap(),
        Element::BigInt(int) => write!(out, "{int}").unwrap(),
        Element::Float(float) => out.push_str(&floating(*float)),
        Element::Bytes(bytes) => out.push_str(&quoted(bytes)),
        Element::List(items) => {
            out.push('(');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                write_expression(item, out);
            }
            out.push(')');
        }
    }
}

/// A Jelly value. Shared containers are written out at each occurrence, as Python sees them.
pub(crate) fn value(value: &Value) -> String {
    show(value, &mut Vec::new())
}

fn show(value: &Value, path: &mut Vec<Shared>) -> String {
    match value {
        Value::None => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(int) => int.to_string(),
        Value::BigInt(int) => int.to_string(),
        Value::Float(float) => floating(*float),
        Value::Bytes(bytes) => format!("b{}", quoted(bytes)),
        Value::Text(text) => format!("u{}", quoted(text.as_bytes())),
        Value::List(items) => format!("[{}]", members(items, path).join(", ")),
        Value::Tuple(items) => format!("({})", members(items, path).join(", ")),
        Value::Set(items) => format!("set{{{}}}", sorted(items, path)),
        Value::FrozenSet(items) => format!("frozenset{{{}}}", sorted(items, path)),
        Value::Dict(pairs) => dictionary(pairs, path),
        Value::DateTime(datetime) => format!("datetime({datetime})"),
        Value::Date(date) => format!("date({date})"),
        Value::Time(time) => format!("time({time})"),
        Value::TimeDelta(delta) => format!("timedelta({delta})"),
        Value::Decimal(decimal) => format!("decimal({} {})", decimal.digits, decimal.exponent),
        Value::Local(id) => format!("local({id})"),
        Value::Remote(id) => format!("remote({id})"),
        Value::Copy(copy) => format!("copy({} {})", copy.class, show(&copy.state, path)),
        Value::Failure(found) => failure(found),
        Value::Shared(found) => shared(found, path),
        Value::Backref(backref) => shared(&backref.upgrade().expect("its container is alive"), path),
    }
}

fn shared(found: &Shared, path: &mut Vec<Shared>) -> String {
    if path.contains(found) {
        return "<cycle>".to_owned();
    }
    path.push(found.clone());
    let text = show(found.value(), path);
    path.pop();
    text
}

fn members(items: &[Value], path: &mut Vec<Shared>) -> Vec<String> {
    items.iter().map(|item| show(item, path)).collect()
}

fn sorted(items: &[Value], path: &mut Vec<Shared>) -> String {
    let mut members = members(items, path);
    members.sort();
    members.dedup();
    members.join(", ")
}

/// As a Python dictionary: a repeated key keeps its first place and its last value.
fn dictionary(pairs: &[(Value, Value)], path: &mut Vec<Shared>) -> String {
    let mut entries: Vec<(String, String)> = Vec::new();
    for (key, value) in pairs {
        let (key, value) = (show(key, path), show(value, path));
        match entries.iter_mut().find(|(known, _)| *known == key) {
            Some(entry) => entry.1 = value,
            None => entries.push((key, value)),
        }
    }
    let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!("{{{}}}", entries.join(", "))
}

fn failure(failure: &Failure) -> String {
    let text = |text: &String| format!("u{}", quoted(text.as_bytes()));
    let parents: Vec<String> = failure.parents.iter().map(text).collect();
    format!(
        "failure({} {} [{}] {})",
        text(&failure.kind),
        text(&failure.value),
        parents.join(" "),
        text(&failure.traceback)
    )
}

fn floating(float: f64) -> String {
    format!("f{:016x}", float.to_bits())
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for run in bytes.chunk_by(|byte, next| byte == next) {
        let byte = run[0];
        if run.len() >= 16 {
            write!(text, "\\*{byte:02x}x{};", run.len()).unwrap();
            continue;
        }
        for byte in run {
            match byte {
                b'\\' => text.push_str("\\\\"),
                b'"' => text.push_str("\\\""),
                0x20..=0x7e => text.push(char::from(*byte)),
                _ => write!(text, "\\x{byte:02x}").unwrap(),
            }
        }
    }
    text.push('"');
    text
}
