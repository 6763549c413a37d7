//! What could keep a pool from having machines, found out before they are needed.

use serde::Serialize;

/// What was found about one thing that a pool's machines need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// About what.
    pub subject: String,
    /// Whether it will do.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
    /// What to do, if something is to be done.
    pub help: Option<String>,
}

/// Whether something will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It will.
    Good,
    /// Nobody can say before it is needed.
    Doubtful,
    /// It will not.
    Bad,
}

impl Finding {
    /// Something that will do.
    pub fn good(subject: &str, text: impl Into<String>) -> Self {
        Self { subject: subject.to_owned(), verdict: Verdict::Good, text: text.into(), help: None }
    }

    /// Something of which nobody can say before it is needed.
    pub fn doubtful(subject: &str, text: impl Into<String>, help: &str) -> Self {
        let help = Some(help.to_owned());
        Self { subject: subject.to_owned(), verdict: Verdict::Doubtful, text: text.into(), help }
    }

    /// Something that will not do.
    pub fn bad(subject: &str, text: impl Into<String>, help: &str) -> Self {
        Self { verdict: Verdict::Bad, ..Self::doubtful(subject, text, help) }
    }
}
