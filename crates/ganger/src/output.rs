//! What commands print: text for people, with colours where they are wanted, or JSON.

use std::{
    fmt::{self, Display},
    io::{self, Write},
    time::Duration,
};

use anstyle::{AnsiColor, Style};
use model::Results;
use serde::Serialize;

use crate::exit::Failure;

/// Prints one object on a line of its own.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    Ok(stdout.flush()?)
}

/// Prints lines for people.
pub(crate) fn text(text: impl Display) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

/// Tells people what goes on, where it cannot be taken for the result.
pub(crate) fn note(text: impl Display) -> Result<(), Failure> {
    Ok(writeln!(anstream::stderr().lock(), "{text}")?)
}

/// Whether standard error takes colours, for text that others made.
pub(crate) fn stderr_has_colours() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// Whether nobody reads what is printed any more: an end like any other (`ganger log | head`).
pub(crate) fn is_broken_pipe(failure: &Failure) -> bool {
    failure.is_io(io::ErrorKind::BrokenPipe)
}

/// Text in a style, for [`text`] and [`note`].
pub(crate) struct Styled<T>(Style, T);

impl<T: Display> Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(style, text) = self;
        write!(f, "{style}{text}{style:#}")
    }
}

/// Something that went well.
pub(crate) fn good<T: Display>(text: T) -> Styled<T> {
    Styled(AnsiColor::Green.on_default(), text)
}

/// Something that did not.
pub(crate) fn bad<T: Display>(text: T) -> Styled<T> {
    Styled(AnsiColor::Red.on_default().bold(), text)
}

/// Something to look at.
pub(crate) fn warning<T: Display>(text: T) -> Styled<T> {
    Styled(AnsiColor::Yellow.on_default(), text)
}

/// Something that happens now.
pub(crate) fn active<T: Display>(text: T) -> Styled<T> {
    Styled(AnsiColor::Cyan.on_default(), text)
}

/// A name, or a heading.
pub(crate) fn strong<T: Display>(text: T) -> Styled<T> {
    Styled(Style::new().bold(), text)
}

/// Something by the way.
pub(crate) fn faint<T: Display>(text: T) -> Styled<T> {
    Styled(Style::new().dimmed(), text)
}

/// Results in their colour, as far as there are any.
pub(crate) fn results(code: Option<i64>) -> Styled<String> {
    let Some(code) = code else { return active("running".to_owned()) };
    match Results::from_code(code) {
        Some(results @ (Results::Success | Results::Skipped)) => good(results.to_string()),
        Some(results @ Results::Warnings) => warning(results.to_string()),
        Some(results) => bad(results.to_string()),
        None => bad(format!("results {code}")),
    }
}

/// How long something took or is ago, to two places: `3 min 5 s`.
pub(crate) fn span(seconds: i64) -> String {
    let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {} s", seconds % 60),
        3600..86400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// Text of a stranger for a terminal: colours pass, but nothing that moves the cursor, sets titles or answers.
pub(crate) fn for_terminal(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c != '\x1b' {
            if c == '\t' || !c.is_control() {
                out.push(c);
            }
            continue;
        }
        let sequence = rest.as_str();
        let Some(parameters) = sequence.strip_prefix('[') else { continue };
        let end = parameters
            .find(|c: char| !(c.is_ascii_digit() || matches!(c, ';' | ':' | '?' | '<' | '=' | '>')));
        let Some(end) = end else { break };
        if parameters[end..].starts_with('m') {
            out.push_str("\x1b[");
            out.push_str(&parameters[..=end]);
        }
        rest = parameters[end..].chars();
        rest.next();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        let check = |seconds, expect: &str| assert_eq!(span(seconds), expect);
        check(-5, "0 s");
        check(59, "59 s");
        check(185, "3 min 5 s");
        check(7260, "2 h 1 min");
        check(200_000, "2 d 7 h");
    }

    #[test]
    fn a_log_cannot_drive_the_terminal() {
        let check = |line: &str, expect: &str| assert_eq!(for_terminal(line), expect, "{line:?}");
        check("plain\ttext é", "plain\ttext é");
        check("\x1b[1;31mred\x1b[0m", "\x1b[1;31mred\x1b[0m");
        check("\x1b[2Jwiped", "wiped");
        check("a\x1b]0;title\x07b", "a]0;titleb");
        check("\x1b[", "");
        check("\x1b", "");
        check("\u{9b}2J\r\x08x", "2Jx");
    }
}
