//! What the machine tells its master, and asks of it, once it is a worker.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde::Deserialize;

use crate::{
    document::{Enroll, Worker},
    enroll::{self, AskError},
};

/// A master that knows this machine.
#[derive(Clone, Debug)]
pub(crate) struct Reports {
    pub(crate) enroll: Enroll,
    pub(crate) worker: Worker,
}

/// How the master sees this machine.
#[derive(Debug, Deserialize)]
pub(crate) struct Seen {
    pub(crate) state: String,
    pub(crate) builds: u64,
}

/// Why the master was not told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("the master answers {0}")]
    Status(StatusCode),
    #[error("the master's answer cannot be read")]
    Unreadable,
}

impl Reports {
    /// How the master sees this machine; `None` when it does not expect it any more.
    pub(crate) async fn seen(&self) -> Result<Option<Seen>, ReportError> {
        let answer = self.send(Method::GET, "/machine", Vec::new()).await?;
        match answer.status {
            StatusCode::OK => {
                serde_json::from_slice(&answer.body).map(Some).map_err(|_| ReportError::Unreadable)
            }
            StatusCode::UNAUTHORIZED => Ok(None),
            status => Err(ReportError::Status(status)),
        }
    }

    /// Passes a warning on.
    pub(crate) async fn warn(&self, warning: serde_json::Value) -> Result<(), ReportError> {
        self.tell("/machine/warning", warning).await
    }

    /// Asks for a while without builds; whether it is granted.
    pub(crate) async fn pause(&self, time: Duration, why: &str) -> Result<bool, ReportError> {
        let wish = serde_json::json!({"seconds": time.as_secs(), "why": why});
        match self.tell("/machine/pause", wish).await {
            Ok(()) => Ok(true),
            Err(ReportError::Status(StatusCode::CONFLICT)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// It may have builds again.
    pub(crate) async fn resume(&self) -> Result<(), ReportError> {
        self.tell("/machine/resume", serde_json::json!({})).await
    }

    async fn tell(&self, path: &str, body: serde_json::Value) -> Result<(), ReportError> {
        let answer = self.send(Method::POST, path, body.to_string().into_bytes()).await?;
        if answer.status.is_success() { Ok(()) } else { Err(ReportError::Status(answer.status)) }
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) -> Result<crate::http::Answer, AskError> {
        enroll::ask(&self.enroll, method, path, Some(&self.worker), body).await
    }
}
