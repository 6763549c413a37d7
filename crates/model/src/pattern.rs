//! Regular expressions as Python's `re` takes them.

use std::fmt;

use fancy_regex::{Captures, Regex, RegexBuilder};

/// How long the text of a pattern may be, in bytes.
const MAX_LENGTH: usize = 4096;
/// How much memory a pattern may take, in bytes.
const MAX_SIZE: usize = 1 << 20;
/// How often matching may go back: what needs more does not match.
const MAX_BACKTRACKS: usize = 100_000;

/// A regular expression. Look-around and references to groups are there, as in Python.
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

    /// Where `text` begins with it: what its groups have found (`re.match`).
    pub fn at_start<'t>(&self, text: &'t str) -> Option<Groups<'t>> {
        self.search(text).filter(|groups| groups.0.get(0).is_some_and(|whole| whole.start() == 0))
    }

    /// Where `text` has it anywhere: what its groups have found (`re.search`).
    pub fn search<'t>(&self, text: &'t str) -> Option<Groups<'t>> {
        self.0.captures(text).ok().flatten().map(Groups)
    }
}

/// What the groups of a pattern have found.
#[derive(Debug)]
pub struct Groups<'t>(Captures<'t, str>);

impl<'t> Groups<'t> {
    /// What a group has found; group 0 is all of it.
    pub fn get(&self, group: usize) -> Option<&'t str> {
        self.0.get(group).map(|found| found.as_str())
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
        let pattern = Pattern::parse("b(c)?(d)").unwrap();
        assert!(pattern.at_start("abd").is_none());
        let found = pattern.search("abd").unwrap();
        assert_eq!(
            [found.get(0), found.get(1), found.get(2), found.get(3)],
            [Some("bd"), None, Some("d"), None]
        );
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
