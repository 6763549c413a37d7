//! Asking the master who this machine's worker is. `docs/enrollment.md` has the exchange.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::{
    document::{Document, Enroll, Worker, split},
    http::{self, Answer, HttpError},
    metadata::{Metadata, MetadataError},
    pinned::{self, PinError},
    say,
};

/// Why this machine is nobody's worker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrollError {
    #[error("the master lets this machine not enroll: {message} ({code})")]
    Refused { code: String, message: String },
    #[error("the master did not let this machine enroll within {0} s; the last answer: {1}")]
    Late(u64, String),
    #[error("the instance has no {0} in its metadata")]
    Lacks(&'static str),
    #[error("the machine's metadata cannot be read")]
    Metadata(#[from] MetadataError),
    #[error("the system has no randomness")]
    Randomness,
    #[error("what was learned at enrollment cannot be kept in {0}")]
    Keep(String, #[source] io::Error),
}

/// Why the master could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("the master cannot be asked")]
    Http(#[from] HttpError),
    #[error("the master cannot be trusted")]
    Pin(#[from] PinError),
    #[error("the request cannot be made")]
    Request(#[from] hyper::http::Error),
}

/// Asks the master something over its own certificate.
pub(crate) async fn ask(
    enroll: &Enroll,
    method: Method,
    path: &str,
    worker: Option<&Worker>,
    body: Vec<u8>,
) -> Result<Answer, AskError> {
    let host = split(&enroll.address).map_or("", |(host, _)| host);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, &enroll.address)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(worker) = worker {
        let basic = format!("{}:{}", worker.name, worker.password.expose_secret());
        let mut value = header::HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(basic)))
            .map_err(hyper::http::Error::from)?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request.body(Full::new(Bytes::from(body)))?;
    let stream = http::connect(&enroll.address).await?;
    let stream = pinned::wrap(stream, host, &enroll.fingerprint).await?;
    Ok(http::ask(stream, request).await?)
}

/// Who this machine says it is.
#[derive(Serialize)]
struct Claim<'a> {
    version: u32,
    pool: &'a str,
    token: &'a str,
    machine: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
    /// By which the master knows that it is the same who asks again, should its answer be lost.
    nonce: String,
}

/// What AWS signs about an instance.
#[derive(Serialize)]
struct Identity {
    kind: &'static str,
    document: String,
    signature: Option<String>,
    rsa2048: Option<String>,
}

/// The master's answer.
#[derive(Deserialize)]
struct Enrolled {
    name: String,
    password: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    message: String,
}

/// Asks until there is an answer that counts, or the time is over.
pub(crate) async fn enroll(
    document: &Document,
    enroll: &Enroll,
    machine: Option<&str>,
    metadata: Option<&mut Metadata>,
    within: Duration,
) -> Result<Worker, EnrollError> {
    let claim = claim(document, enroll, machine, metadata).await?;
    let (begun, mut pause) = (Instant::now(), Duration::from_secs(1));
    loop {
        let (said, wait) = match ask(enroll, Method::POST, "/enroll", None, claim.clone()).await {
            Ok(answer) => match answer.status {
                StatusCode::OK => match serde_json::from_slice::<Enrolled>(&answer.body) {
                    Ok(Enrolled { name, password }) => {
                        return Ok(Worker { name, password: password.into() });
                    }
                    Err(_) => ("an answer that cannot be read".to_owned(), None),
                },
                StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => {
                    let refusal = serde_json::from_slice(&answer.body).unwrap_or_else(|_| Refusal {
                        error: answer.status.as_str().to_owned(),
                        message: "without a reason".to_owned(),
                    });
                    return Err(EnrollError::Refused {
                        code: clean(&refusal.error),
                        message: clean(&refusal.message),
                    });
                }
                status => (format!("{status}"), retry_after(&answer)),
            },
            Err(error) => (say::causes(&error), None),
        };
        if begun.elapsed() > within {
            return Err(EnrollError::Late(within.as_secs(), said));
        }
        say::line(format_args!("cannot enroll yet: {said}"));
        sleep(jittered(wait.unwrap_or(pause))).await;
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}

async fn claim(
    document: &Document,
    enroll: &Enroll,
    machine: Option<&str>,
    metadata: Option<&mut Metadata>,
) -> Result<Vec<u8>, EnrollError> {
    let (mut instance, mut secret) = (document.instance, enroll.secret.clone());
    let mut identity = None;
    if let Some(metadata) = metadata {
        if enroll.ticket.is_some() {
            let document = metadata.text("dynamic/instance-identity/document").await?;
            identity = Some(Identity {
                kind: "aws",
                document: document.ok_or(EnrollError::Lacks("identity document"))?,
                signature: metadata.text("dynamic/instance-identity/signature").await?,
                rsa2048: metadata.text("dynamic/instance-identity/rsa2048").await?,
            });
        } else if secret.is_none() {
            // The tags are set a moment after the instance was started.
            let begun = Instant::now();
            while secret.is_none() {
                secret =
                    metadata.text("meta-data/tags/instance/ganger:secret").await?.map(SecretString::from);
                let tag = metadata.text("meta-data/tags/instance/ganger:instance").await?;
                instance = tag.and_then(|tag| tag.trim().parse().ok()).or(instance);
                if secret.is_none() && begun.elapsed() > Duration::from_secs(120) {
                    return Err(EnrollError::Lacks("tag ganger:secret"));
                }
                if secret.is_none() {
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
    let claim = Claim {
        version: 1,
        pool: &document.pool,
        token: &document.token,
        machine,
        instance,
        secret: secret.as_ref().map(|secret| secret.expose_secret()),
        ticket: enroll.ticket.as_ref().map(|ticket| ticket.expose_secret()),
        identity,
        nonce: nonce()?,
    };
    // Texts and numbers always are JSON.
    Ok(serde_json::to_vec(&claim).unwrap_or_default())
}

fn nonce() -> Result<String, EnrollError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| EnrollError::Randomness)?;
    Ok(BASE64_STANDARD.encode(bytes))
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    let seconds = answer.headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).clamp(Duration::from_secs(1), Duration::from_secs(60)))
}

/// Half of it for sure, the rest by chance: a whole batch asks at the same time.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness all wait equally long.
    getrandom::fill(&mut byte).ok();
    pause / 2 + pause / 2 * u32::from(byte[0]) / 255
}

/// A text from elsewhere, for a console.
fn clean(text: &str) -> String {
    text.chars().take(300).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What outlives this program, and a machine that is stopped: whose worker it is, as which machine that was told.
#[derive(Deserialize, Serialize)]
struct Kept {
    machine: String,
    token: String,
    name: String,
    password: String,
}

/// What an earlier life of this program learned, if this is the same machine.
pub(crate) fn kept(state: &Path, machine: &str, document: &Document) -> Option<Worker> {
    let kept: Kept = serde_json::from_slice(&fs::read(state.join("enrolled.json")).ok()?).ok()?;
    (kept.machine == machine && kept.token == document.token)
        .then(|| Worker { name: kept.name, password: kept.password.into() })
}

/// Keeps what was learned, for this program alone.
pub(crate) fn keep(
    state: &Path,
    machine: &str,
    document: &Document,
    worker: &Worker,
) -> Result<(), EnrollError> {
    let write = || {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(state)?;
        let kept = Kept {
            machine: machine.to_owned(),
            token: document.token.clone(),
            name: worker.name.clone(),
            password: worker.password.expose_secret().to_owned(),
        };
        let (new, path) = (state.join("enrolled.new"), state.join("enrolled.json"));
        fs::remove_file(&new).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(&kept)?)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(|error| EnrollError::Keep(state.display().to_string(), error))
}
