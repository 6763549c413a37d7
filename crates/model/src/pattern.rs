//! Regular expressions as Python's `re.match` takes them.

use std::fmt;

use fancy_regex::{Regex, RegexBuilder};

/// How long the text of a pattern may be, in bytes.
const MAX_LENGTH: usize = 4096;
/// How much memory a pattern may take, in bytes.
const MAX_SIZE: usize = 1 << 20;
/// How often matching may go back: what needs more does not match.
const MAX_BACKTRACKS: usize = 100_000;

/// A regular expression that a text has to begin with. Look-around and references to groups are there, as in Python.
#[derive(Clone)]
pub struct Pattern(Regex);

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(String);

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// If it is none, or takes too much memory.
    pub fn parse(source: &str) -> Result<Self, PatternError> {
        if source.len() > MAX_LENGTH {
            return Err(PatternError(format!("a regular expression has at most {MAX_LENGTH} bytes")));
        }
        let regex = RegexBuilder::new(source)
            .backtrack_limit(MAX_BACKTRACKS)
            .delegate_size_limit(MAX_SIZE)
            .build()
            .map_err(|error| {
                let text = error.to_string();
                PatternError(text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
            })?;
        Ok(Self(regex))
    }

    /// Its text.
    pub fn source(&self) -> &str {
        self.0.as_str()
    }

    /// Whether `text` begins with it.
    pub fn begins(&self, text: &str) -> bool {
        // The leftmost match begins at 0 when any does.
        matches!(self.0.find(text), Ok(Some(found)) if found.start() == 0)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source()
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.source()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_to_begin_with_it() {
        let begins = |pattern: &str, text: &str| Pattern::parse(pattern).unwrap().begins(text);
        assert!(begins("release/", "release/1.2"));
        assert!(!begins("release/", "old/release/1.2"));
        assert!(begins(".*release", "old/release"));
        assert!(begins("(?!main$)", "mainline") && !begins("(?!main$)", "main"));
        assert!(begins("", ""));
        assert!(begins("a|b", "b") && begins("(?i)MAIN", "main"));
    }

    #[test]
    fn hostile_ones_end() {
        assert!(Pattern::parse("(").is_err());
        assert!(Pattern::parse("((a{1000}){1000}){10}").is_err());
        assert!(Pattern::parse(&"a".repeat(5000)).is_err());
        let slow = Pattern::parse("(?=(a+)+$)(a+)+$").unwrap();
        assert!(!slow.begins(&("a".repeat(40) + "b")));
    }
}
