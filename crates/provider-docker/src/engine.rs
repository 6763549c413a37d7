//! The way to the engine, and what its errors mean.

use std::{error::Error as _, io, time::Duration};

use bollard::{API_DEFAULT_VERSION, Docker, errors::Error};
use pools::{ProviderError, provider::ErrorKind};

use crate::{Settings, registry};

/// Seconds that an answer may take; a stop takes its grace.
const TIMEOUT: u64 = 120;

/// Finds the engine, and the version of the API that both know.
pub(crate) async fn connect(settings: &Settings) -> Result<Docker, ProviderError> {
    let host = &settings.template.docker_host;
    let found = match &settings.template.tls {
        Some(tls) => Docker::connect_with_ssl(
            host,
            &tls.client_key,
            &tls.client_cert,
            &tls.ca_cert,
            TIMEOUT,
            API_DEFAULT_VERSION,
        ),
        None if host.starts_with("unix://") => Docker::connect_with_unix(host, TIMEOUT, API_DEFAULT_VERSION),
        None => Docker::connect_with_http(host, TIMEOUT, API_DEFAULT_VERSION),
    };
    match found {
        Ok(engine) => {
            engine.with_request_modifier(registry::url_safe).negotiate_version().await.map_err(explain)
        }
        Err(error) => Err(explain(error)),
    }
}

/// What the engine answered with, if it answered.
pub(crate) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// By what can be done about it.
pub(crate) fn explain(error: Error) -> ProviderError {
    let (kind, code, text) = match error {
        Error::DockerResponseServerError { status_code, message } => {
            (of_answer(status_code, &message), status_code.to_string(), message)
        }
        Error::DockerStreamError { error } => (of_answer(500, &error), "Pull".to_owned(), error),
        Error::SocketNotFoundError(path) => {
            (ErrorKind::Transport, "NoSocket".to_owned(), format!("no engine listens at {path}"))
        }
        other if denied(&other) => (
            ErrorKind::Config,
            "PermissionDenied".to_owned(),
            "the master may not open the engine's socket: let its user be of the socket's group".to_owned(),
        ),
        other => (ErrorKind::Transport, "Engine".to_owned(), with_sources(&other)),
    };
    let text = if text.len() > 1024 { text.chars().take(1024).collect() } else { text };
    ProviderError { kind, code, text }
}

/// What an error in the engine's own words is. It has few codes of use.
fn of_answer(status: u16, message: &str) -> ErrorKind {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if status == 429 || says(&["toomanyrequests"]) {
        ErrorKind::Throttled(Some(Duration::from_mins(1)))
    } else if says(&["no space left", "cannot allocate memory", "too many open files"]) {
        ErrorKind::Capacity
    } else if matches!(status, 408 | 409 | 502..=504)
        || says(&["timeout", "connection refused", "no such host"])
    {
        ErrorKind::Transport
    } else {
        ErrorKind::Config
    }
}

fn denied(error: &Error) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            return true;
        }
        source = error.source();
    }
    false
}

fn with_sources(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
