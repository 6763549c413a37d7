//! Errors with all their causes, for people.

use std::error::Error;

/// In one line: `what: why: why that`.
pub(crate) fn in_a_line(error: &dyn Error) -> String {
    joined(error, ": ")
}

/// One a line.
pub(crate) fn in_lines(error: &dyn Error) -> String {
    joined(error, "\ncaused by: ")
}

fn joined(error: &dyn Error, between: &str) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(between);
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
