//! The version number that a worker reports for each of its commands.

use std::fmt;

/// Version of a worker command: two numbers, as `2.16` or `3.3`.
///
/// Every release of buildslave and buildbot-worker reports one number for all its commands (`command_version` in
/// `buildslave/commands/base.py` and `buildbot_worker/commands/base.py`). It is the only version fit for decisions:
/// the version of the program may be a date when its wheel was built from source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandVersion {
    /// The number before the dot.
    pub major: u32,
    /// The number after the dot; `2.16` is newer than `2.9`.
    pub minor: u32,
}

impl CommandVersion {
    /// A version from its two numbers.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Reads `MAJOR.MINOR`, `MAJOR`, or the same followed by further dotted parts, which do not count.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = match parts.next() {
            Some(minor) => minor.parse().ok()?,
            None => 0,
        };
        Some(Self { major, minor })
    }
}

impl fmt::Display for CommandVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// From this version on the program is buildbot-worker and speaks of workers, not slaves (0.9.0).
pub(crate) const WORKER_WORDS: CommandVersion = CommandVersion::new(3, 0);
/// `rmfile` exists (0.9.8).
pub(crate) const REMOVE_FILE: CommandVersion = CommandVersion::new(3, 1);
/// Every environment variable may be a list of paths, not `PYTHONPATH` alone (after 0.8.5, by 0.8.8).
pub(crate) const PATH_LISTS: CommandVersion = CommandVersion::new(2, 16);
/// Hidden words in commands are understood (0.8.9).
pub(crate) const OBFUSCATED_WORDS: CommandVersion = CommandVersion::new(2, 16);
/// `sigtermTime` is understood (0.8.9).
pub(crate) const SIGTERM_TIME: CommandVersion = CommandVersion::new(2, 16);
/// `interruptSignal` is understood (0.8.6).
pub(crate) const INTERRUPT_SIGNAL: CommandVersion = CommandVersion::new(2, 15);
/// `rmdir` takes a list (0.8.5).
pub(crate) const REMOVE_MANY: CommandVersion = CommandVersion::new(2, 14);
/// `keepstamp` is understood (0.8.4).
pub(crate) const KEEP_TIMES: CommandVersion = CommandVersion::new(2, 13);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(CommandVersion::parse("2.16") > CommandVersion::parse("2.9"));
        assert!(CommandVersion::parse("3.0") > CommandVersion::parse("2.16"));
        assert_eq!(CommandVersion::parse("3"), Some(CommandVersion::new(3, 0)));
        assert_eq!(CommandVersion::parse("3.1.4"), Some(CommandVersion::new(3, 1)));
        assert_eq!(CommandVersion::parse("old"), None);
        assert_eq!(CommandVersion::parse(""), None);
    }
}
