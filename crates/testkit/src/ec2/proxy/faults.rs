//! What goes wrong on demand.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// What goes wrong with calls of one action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The action (`RunInstances`), or `*` for every one.
    pub action: String,
    /// How many calls it meets.
    #[serde(default = "once")]
    pub times: u32,
    /// Only calls with all these parameters.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// The call waits so long first.
    #[serde(default)]
    pub delay: Duration,
    /// The call waits until [`Proxy::release`](super::Proxy::release) first.
    #[serde(default)]
    pub held: bool,
    /// Whether all of this happens after the call took effect.
    #[serde(default)]
    pub after: bool,
    /// What happens then.
    #[serde(default)]
    pub harm: Harm,
}

/// What happens to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// Nothing more.
    #[default]
    None,
    /// It is answered with an error.
    Error {
        /// The HTTP status.
        status: u16,
        /// `InsufficientInstanceCapacity`.
        code: String,
        /// The sentence.
        message: String,
    },
    /// Its connection ends without an answer.
    Drop,
    /// Half of the answer comes, then the connection ends. Always after it took effect.
    Truncate,
    /// It is answered with a page of HTML and status 500, as gateways do.
    Html,
}

fn once() -> u32 {
    1
}

impl Fault {
    /// One call of the action; without any harm yet.
    pub fn on(action: &str) -> Self {
        Self {
            action: action.into(),
            times: 1,
            parameters: BTreeMap::new(),
            delay: Duration::ZERO,
            held: false,
            after: false,
            harm: Harm::None,
        }
    }

    /// Meets so many calls.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Meets only calls that have this parameter.
    #[must_use]
    pub fn when(mut self, parameter: &str, value: &str) -> Self {
        self.parameters.insert(parameter.into(), value.into());
        self
    }

    /// Waits first.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits for [`Proxy::release`](super::Proxy::release) first.
    #[must_use]
    pub fn held(mut self) -> Self {
        self.held = true;
        self
    }

    /// Lets the call take effect first.
    #[must_use]
    pub fn after(mut self) -> Self {
        self.after = true;
        self
    }

    /// Answers with this error.
    #[must_use]
    pub fn error(mut self, status: u16, code: &str) -> Self {
        let message = format!("The laboratory was told to answer {code}.");
        self.harm = Harm::Error { status, code: code.into(), message };
        self
    }

    /// Ends the connection.
    #[must_use]
    pub fn dropped(mut self) -> Self {
        self.harm = Harm::Drop;
        self
    }

    /// Ends the connection in the middle of the answer.
    #[must_use]
    pub fn truncated(mut self) -> Self {
        self.harm = Harm::Truncate;
        self.after = true;
        self
    }

    /// Answers with a page of HTML.
    #[must_use]
    pub fn html(mut self) -> Self {
        self.harm = Harm::Html;
        self
    }
}
