//! `{ expression = "…" }`: a value that is decided when it is needed.

use ::model::expression::Expression;

use crate::{
    nearest::nearest,
    schema::{Key, Kind},
    table::{Keys, Table},
    value::Value,
};

pub(crate) const KEYS: Keys = Keys {
    what: "an expression",
    groups: &[&[Key::new("expression", Kind::Text, "the expression").required()]],
    hints: &[],
};

/// Reads an expression that may use these names.
pub(crate) fn read(value: Value<'_>, names: &[&str]) -> Option<Expression> {
    let table = Table::of(value.fixed(), KEYS)?;
    let (text, _) = table.plain_text("expression")?;
    let value = table.value("expression")?;
    let sink = &table.reading().sink;
    let expression = match Expression::parse(text) {
        Ok(expression) => expression,
        Err(error) => {
            sink.error(value.inside(text, error.range), error.message);
            return None;
        }
    };
    let mut known = true;
    for name in expression.names() {
        if !names.contains(&name.as_str()) {
            known = false;
            let there = names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let at = text.find(name.as_str()).unwrap_or(0);
            sink.error(value.inside(text, at..at + name.len()), format!("there is no `{name}` here")).help(
                nearest(name, names.iter().copied())
                    .map_or_else(|| format!("there is {there}"), |meant| format!("did you mean `{meant}`?")),
            );
        }
    }
    known.then_some(expression)
}
