//! The instance metadata service, version 2.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, sleep};

use crate::{
    http::{self, Answer, HttpError},
    say,
};

/// How long a token is asked for, and after how long it is asked for again.
const TOKEN_FOR: Duration = Duration::from_secs(21_600);

/// How long a machine that starts waits for the service: its network may come up late.
const PATIENCE: Duration = Duration::from_secs(300);

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MetadataError {
    #[error("{0:?} is no address of a metadata service, such as http://169.254.169.254")]
    Url(String),
    #[error("the metadata service cannot be asked for {path}")]
    Unreachable {
        path: String,
        #[source]
        error: HttpError,
    },
    #[error("the metadata service answers {status} to {path}")]
    Refused { path: String, status: StatusCode },
    #[error("{0} in the metadata is not text")]
    Text(String),
}

/// The service, with a token for it.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// `HOST:PORT`.
    address: String,
    token: Option<(SecretString, Instant)>,
}

impl Metadata {
    /// The service at this URL.
    pub(crate) fn new(url: &str) -> Result<Self, MetadataError> {
        let address = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let address = address.filter(|rest| !rest.is_empty() && !rest.contains('/'));
        let address = address.ok_or_else(|| MetadataError::Url(url.to_owned()))?;
        let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { address.to_owned() } else { format!("{address}:80") };
        Ok(Self { address, token: None })
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Waits until the service answers.
    pub(crate) async fn wait(&mut self) -> Result<(), MetadataError> {
        let (begun, mut pause) = (Instant::now(), Duration::from_millis(200));
        loop {
            match self.renew().await {
                Ok(()) => return Ok(()),
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(error) => {
                    say::line(format_args!("{}; trying again", say::causes(&error)));
                    sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
            }
        }
    }

    async fn renew(&mut self) -> Result<(), MetadataError> {
        let path = "/latest/api/token";
        let seconds = TOKEN_FOR.as_secs().to_string();
        let request = self.request(Method::PUT, path).header("X-aws-ec2-metadata-token-ttl-seconds", seconds);
        let answer = self.send(path, request).await?;
        if answer.status != StatusCode::OK {
            return Err(MetadataError::Refused { path: path.to_owned(), status: answer.status });
        }
        let token = str::from_utf8(&answer.body).map_err(|_| MetadataError::Text("the token".to_owned()))?;
        self.token = Some((token.trim().into(), Instant::now()));
        Ok(())
    }

    /// What is at this path below `/latest/`; `None` when there is nothing.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Option<Bytes>, MetadataError> {
        if self.token.as_ref().is_none_or(|(_, since)| since.elapsed() > TOKEN_FOR / 2) {
            self.renew().await?;
        }
        for again in [true, false] {
            let at = format!("/latest/{path}");
            let token = self.token.as_ref().map_or("", |(token, _)| token.expose_secret());
            let request = self.request(Method::GET, &at).header("X-aws-ec2-metadata-token", token);
            let answer = self.send(path, request).await?;
            match answer.status {
                StatusCode::OK => return Ok(Some(answer.body)),
                StatusCode::NOT_FOUND => return Ok(None),
                // A token does not outlive a machine that was stopped.
                StatusCode::UNAUTHORIZED if again => self.renew().await?,
                status => return Err(MetadataError::Refused { path: path.to_owned(), status }),
            }
        }
        Ok(None)
    }

    /// The same as a line of text.
    pub(crate) async fn text(&mut self, path: &str) -> Result<Option<String>, MetadataError> {
        let Some(bytes) = self.get(path).await? else { return Ok(None) };
        let text = str::from_utf8(&bytes).map_err(|_| MetadataError::Text(path.to_owned()))?;
        Ok(Some(text.to_owned()))
    }

    fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        Request::builder().method(method).uri(path).header("Host", &self.address)
    }

    async fn send(
        &self,
        path: &str,
        request: hyper::http::request::Builder,
    ) -> Result<Answer, MetadataError> {
        let failed = |error| MetadataError::Unreachable { path: path.to_owned(), error };
        let request = request.body(Full::default()).map_err(|_| MetadataError::Url(self.address.clone()))?;
        let stream = http::connect(&self.address).await.map_err(failed)?;
        http::ask(stream, request).await.map_err(failed)
    }
}
