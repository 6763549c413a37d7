//! What programs print to move a terminal's cursor, turned into line ends.
//!
//! Buildbot (`buildbot/util/lineboundaries.py`, 4.3.0) and its newer workers do the same, and its reader relies on it:
//! it counts a carriage return as the end of a line.

use memchr::memchr3;

/// The longest beginning of a sequence that is held back: two numbers of ten digits and what is around them.
const MAX_SEQUENCE: usize = 24;

/// What stands at an escape character.
#[derive(Debug, PartialEq, Eq)]
enum Sequence {
    /// A movement of this length.
    Cursor(usize),
    /// Perhaps the beginning of one.
    Incomplete,
    /// Something else: colours, mostly.
    Other,
}

/// Whether `text` has to go through [`line_ends`].
pub(super) fn has_cursor_moves(text: &[u8]) -> bool {
    memchr3(b'\r', 0x08, 0x1b, text).is_some()
}

/// Appends `text` to `out` with a newline for each `\r\n`, lone `\r`, run of backspaces, and for the sequences that set
/// or restore the cursor or clear the screen. Gives back how much of `text` it took: the rest, a few bytes, may be the
/// beginning of a sequence and has to come again with what follows it.
pub(super) fn line_ends(text: &[u8], out: &mut Vec<u8>) -> usize {
    let mut at = 0;
    while let Some(found) = memchr3(b'\r', 0x08, 0x1b, &text[at..]) {
        out.extend_from_slice(&text[at..at + found]);
        at += found;
        let rest = &text[at..];
        match rest[0] {
            b'\r' => match rest.get(1) {
                None => return at,
                Some(b'\n') => at += 2,
                Some(_) => at += 1,
            },
            0x08 => at += rest.iter().take_while(|&&byte| byte == 0x08).count(),
            _ => match sequence(rest) {
                Sequence::Cursor(length) => at += length,
                Sequence::Incomplete => return at,
                Sequence::Other => {
                    out.push(rest[0]);
                    at += 1;
                    continue;
                }
            },
        }
        out.push(b'\n');
    }
    out.extend_from_slice(&text[at..]);
    text.len()
}

/// `ESC [ u`, `ESC [ 2 J`, `ESC [ number ; number H` or the same with `f`.
fn sequence(text: &[u8]) -> Sequence {
    if text.len() > 1 && text[1] != b'[' {
        return Sequence::Other;
    }
    let Some(body) = text.get(2..) else { return Sequence::Incomplete };
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let first = digits(body);
    let incomplete = || if text.len() < MAX_SEQUENCE { Sequence::Incomplete } else { Sequence::Other };
    match (first, body.get(first)) {
        (_, None) => incomplete(),
        (0, Some(b'u')) => Sequence::Cursor(3),
        (1, Some(b'J')) if body[0] == b'2' => Sequence::Cursor(4),
        (1.., Some(b';')) => {
            let second = digits(&body[first + 1..]);
            match (second, body.get(first + 1 + second)) {
                (_, None) => incomplete(),
                (1.., Some(b'H' | b'f')) => Sequence::Cursor(2 + first + 1 + second + 1),
                _ => Sequence::Other,
            }
        }
        _ => Sequence::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str, rest: &str) {
        let mut out = Vec::new();
        let taken = line_ends(text.as_bytes(), &mut out);
        assert_eq!((String::from_utf8_lossy(&out), &text[taken..]), (expect.into(), rest));
    }

    #[test]
    fn cursor_moves_end_lines() {
        check("a\r\nb\rc\x08\x08\x08d", "a\nb\nc\nd", "");
        check("10%\x1b[u20%\x1b[2Jx\x1b[1;20Hy\x1b[3;4fz", "10%\n20%\nx\ny\nz", "");
        check("a\r\r\nb", "a\n\nb", "");
    }

    #[test]
    fn colours_stay() {
        check(
            "\x1b[32mgreen\x1b[0m \x1b[1;31mred\x1b[m\x1b[K\x1b[3J",
            "\x1b[32mgreen\x1b[0m \x1b[1;31mred\x1b[m\x1b[K\x1b[3J",
            "",
        );
    }

    #[test]
    fn an_unfinished_sequence_is_held_back() {
        for rest in ["\r", "\x1b", "\x1b[", "\x1b[2", "\x1b[12;", "\x1b[12;3"] {
            check(&format!("text{rest}"), "text", rest);
        }
        let endless = format!("\x1b[{}", "1".repeat(100));
        check(&endless, &endless, "");
    }
}
