//! What the machine's console is told.

use std::{error::Error, fmt};

/// A line on standard output, which the console and the journal have.
#[expect(clippy::print_stdout, reason = "the console is where people look for what a machine did")]
pub(crate) fn line(text: fmt::Arguments<'_>) {
    println!("ganger-bootstrap: {text}");
}

/// A line on standard error, for what runs as the worker's user: its output is not read.
#[expect(clippy::print_stderr, reason = "the console is where people look for what a machine did")]
pub(crate) fn error(text: fmt::Arguments<'_>) {
    eprintln!("ganger-bootstrap: {text}");
}

/// An error with its causes, in a line.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
