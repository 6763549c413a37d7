//! How the program ends: one number for each thing that a script may want to do next.

use std::fmt;

/// Exit codes of every command. Above 63 they are those of `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It is done.
    Ok = 0,
    /// The build that was waited for did not succeed.
    NotSuccessful = 1,
    /// The command line or the configuration is wrong.
    Usage = 64,
    /// There is no such build, builder, scheduler, worker, pool, instance or file.
    NotFound = 66,
    /// No master answers on the control socket.
    Unreachable = 69,
    /// Something failed that should not have.
    Internal = 70,
    /// A file or directory cannot be made.
    CannotCreate = 73,
    /// Not now: the same command may work later.
    TryAgain = 75,
}

impl Exit {
    const ALL: [Self; 8] = [
        Self::Ok,
        Self::NotSuccessful,
        Self::Usage,
        Self::NotFound,
        Self::Unreachable,
        Self::Internal,
        Self::CannotCreate,
        Self::TryAgain,
    ];

    const fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "it is done",
            Self::NotSuccessful => "the build that was waited for did not succeed",
            Self::Usage => "the command line or the configuration is wrong",
            Self::NotFound => "there is no such build, builder, scheduler, worker, pool, instance or file",
            Self::Unreachable => "no master answers on the control socket",
            Self::Internal => "something failed that should not have",
            Self::CannotCreate => "a file or directory cannot be made",
            Self::TryAgain => "not now: the same command may work later",
        }
    }

    /// The table of codes, for `--help`.
    pub(crate) fn table() -> String {
        let mut text = String::from("Exit codes:");
        for exit in Self::ALL {
            text.push_str(&format!("\n  {:>2}  {}", exit as u8, exit.meaning()));
        }
        text
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, with the code to end with and, where there is something to do about it, what that is.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
    advice: Option<String>,
}

impl Failure {
    /// A failure that ends with `exit`.
    pub(crate) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into(), advice: None }
    }

    /// A failure that is told in one sentence.
    pub(crate) fn text(exit: Exit, text: impl fmt::Display) -> Self {
        Self::new(exit, anyhow::anyhow!("{text}"))
    }

    /// Adds what the user can do about it.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Whether an input or output error of this kind is behind it.
    pub(crate) fn is_io(&self, kind: std::io::ErrorKind) -> bool {
        self.error
            .chain()
            .any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == kind))
    }

    /// The code to end with.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// What the user can do about it.
    pub(crate) fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }
}

/// The whole chain of causes on one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(Exit::Internal, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_in_the_table_once() {
        let table = Exit::table();
        for exit in Exit::ALL {
            assert_eq!(table.matches(&format!("\n  {:>2}  ", exit as u8)).count(), 1, "{exit:?}");
        }
    }

    #[test]
    fn a_failure_tells_its_causes() {
        let error = anyhow::anyhow!("no such file").context("cannot read ganger.toml");
        let failure = Failure::new(Exit::Usage, error).advise("make one with `ganger new`");
        assert_eq!(failure.to_string(), "cannot read ganger.toml: no such file");
        assert_eq!(failure.advice(), Some("make one with `ganger new`"));
    }
}
