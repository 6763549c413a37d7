//! Kinds of logs, and streams within a log.

/// What the lines of a log are (`logs.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogKind {
    /// `d`: lines that were deleted by a janitor. Only read.
    Deleted,
    /// `h`: HTML, shown as it is.
    Html,
    /// `s`: output of a command; each line starts with the letter of its [`Stream`].
    Stdio,
    /// `t`: plain text.
    Text,
}

impl LogKind {
    /// The letter in the table.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Deleted => "d",
            Self::Html => "h",
            Self::Stdio => "s",
            Self::Text => "t",
        }
    }

    /// The kind of a letter from the table.
    pub fn from_letter(letter: &str) -> Option<Self> {
        [Self::Deleted, Self::Html, Self::Stdio, Self::Text].into_iter().find(|kind| kind.letter() == letter)
    }
}

/// Where a line of a [`LogKind::Stdio`] log comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// `o`: the command's standard output.
    Stdout,
    /// `e`: the command's standard error.
    Stderr,
    /// `h`: words of the worker or the master about the command.
    Header,
}

impl Stream {
    /// The letter at the head of its lines.
    pub const fn letter(self) -> u8 {
        match self {
            Self::Stdout => b'o',
            Self::Stderr => b'e',
            Self::Header => b'h',
        }
    }

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Stdout => 0,
            Self::Stderr => 1,
            Self::Header => 2,
        }
    }

    pub(crate) const ALL: [Self; 3] = [Self::Stdout, Self::Stderr, Self::Header];
}
