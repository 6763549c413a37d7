//! Results and how they fold: a command's into its step's, a step's into its build's, a build's into its set's.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a step, build, request or set ended. The numbers are Buildbot's (`buildbot/process/results.py`, 4.3.0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Results {
    /// 0: all went well.
    Success = 0,
    /// 1: it went well, with something worth a look.
    Warnings = 1,
    /// 2: it did not do what it should.
    Failure = 2,
    /// 3: it was not needed.
    Skipped = 3,
    /// 4: the machinery failed, not the code under test.
    Exception = 4,
    /// 5: it was cut off through no fault of its own and is done again.
    Retry = 5,
    /// 6: somebody stopped it.
    Cancelled = 6,
}

impl Results {
    /// Every value, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Success,
        Self::Warnings,
        Self::Failure,
        Self::Skipped,
        Self::Exception,
        Self::Retry,
        Self::Cancelled,
    ];

    /// The number that the tables hold.
    pub const fn code(self) -> i64 {
        self as i64
    }

    /// The value of a number from a table or a peer; `None` for a number that has no meaning.
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|results| results.code() == code)
    }

    /// Buildbot's word for it, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Warnings => "warnings",
            Self::Failure => "failure",
            Self::Skipped => "skipped",
            Self::Exception => "exception",
            Self::Retry => "retry",
            Self::Cancelled => "cancelled",
        }
    }

    /// The worse of two, by Buildbot's order: skipped, success, warnings, failure, exception, retry, cancelled.
    pub fn worst(self, other: Self) -> Self {
        if self.severity() >= other.severity() { self } else { other }
    }

    const fn severity(self) -> u8 {
        match self {
            Self::Skipped => 0,
            Self::Success => 1,
            Self::Warnings => 2,
            Self::Failure => 3,
            Self::Exception => 4,
            Self::Retry => 5,
            Self::Cancelled => 6,
        }
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a step's results do to its build. The defaults are those of a plain Buildbot step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags {
    /// Run the step even after an earlier one ended the build.
    pub always_run: bool,
    /// FAILURE makes the build FAILURE.
    pub flunk_on_failure: bool,
    /// WARNINGS makes the build FAILURE.
    pub flunk_on_warnings: bool,
    /// FAILURE ends the build (steps that always run still do).
    pub halt_on_failure: bool,
    /// FAILURE makes the build WARNINGS (unless it flunks).
    pub warn_on_failure: bool,
    /// WARNINGS makes the build WARNINGS.
    pub warn_on_warnings: bool,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            always_run: false,
            flunk_on_failure: true,
            flunk_on_warnings: false,
            halt_on_failure: false,
            warn_on_failure: false,
            warn_on_warnings: false,
        }
    }
}

impl Flags {
    /// Folds a step's results into what the build has so far. The second value says whether the build ends here, but
    /// for steps that always run (`computeResultAndTermination`, `buildbot/process/results.py`, 4.3.0).
    pub fn fold(&self, build: Results, step: Results) -> (Results, bool) {
        let (counts_as, ends) = match step {
            Results::Success | Results::Skipped => (step, false),
            Results::Warnings if self.flunk_on_warnings => (Results::Failure, false),
            Results::Warnings if self.warn_on_warnings => (Results::Warnings, false),
            Results::Warnings => (Results::Success, false),
            Results::Failure if self.flunk_on_failure => (Results::Failure, self.halt_on_failure),
            Results::Failure if self.warn_on_failure => (Results::Warnings, self.halt_on_failure),
            Results::Failure => (Results::Success, self.halt_on_failure),
            Results::Exception | Results::Retry | Results::Cancelled => (step, true),
        };
        (build.worst(counts_as), ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_buildbots() {
        for (code, name) in ["success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"]
            .iter()
            .enumerate()
        {
            let results = Results::from_code(code as i64).expect("a known number");
            assert_eq!((results.code(), results.name()), (code as i64, *name));
        }
        assert_eq!(Results::from_code(7), None);
        assert_eq!(Results::from_code(-1), None);
    }

    #[test]
    fn a_failure_folds_by_the_flags_of_its_step() {
        let check =
            |flags: Flags, step, expect| assert_eq!(flags.fold(Results::Success, step), expect, "{flags:?}");
        let none = Flags { flunk_on_failure: false, ..Flags::default() };
        check(Flags::default(), Results::Failure, (Results::Failure, false));
        check(none, Results::Failure, (Results::Success, false));
        check(Flags { warn_on_failure: true, ..none }, Results::Failure, (Results::Warnings, false));
        check(Flags { halt_on_failure: true, ..none }, Results::Failure, (Results::Success, true));
        check(none, Results::Warnings, (Results::Success, false));
        check(Flags { warn_on_warnings: true, ..none }, Results::Warnings, (Results::Warnings, false));
        check(Flags { flunk_on_warnings: true, ..none }, Results::Warnings, (Results::Failure, false));
        check(none, Results::Exception, (Results::Exception, true));
        check(none, Results::Skipped, (Results::Success, false));
    }

    #[test]
    fn an_earlier_failure_is_not_forgotten() {
        assert_eq!(Flags::default().fold(Results::Failure, Results::Success), (Results::Failure, false));
    }
}
