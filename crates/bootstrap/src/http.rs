//! One request, one answer, one connection: bounded in size and in time. No proxy stands between a machine and what it
//! asks here.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, StatusCode, client::conn::http1, header::HeaderMap};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

/// The most bytes of an answer.
const ANSWER: usize = 64 * 1024;

/// How long all of it may take.
const WITHIN: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("cannot connect to {0}")]
    Connect(String, #[source] std::io::Error),
    #[error("no answer within {} s", WITHIN.as_secs())]
    Late,
    #[error("no answer that can be read")]
    Broken(#[source] hyper::Error),
    #[error("the answer is longer than {ANSWER} bytes or breaks off")]
    Body,
}

/// Connects to `HOST:PORT`.
pub(crate) async fn connect(address: &str) -> Result<TcpStream, HttpError> {
    let failed = |error| HttpError::Connect(address.to_owned(), error);
    match timeout(WITHIN, TcpStream::connect(address)).await {
        Ok(stream) => stream.map_err(failed),
        Err(_) => Err(HttpError::Late),
    }
}

/// Asks.
pub(crate) async fn ask<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let exchange = async {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(HttpError::Broken)?;
        // It ends with the answer, or with this request.
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(HttpError::Broken)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER).collect().await.map_err(|_| HttpError::Body)?.to_bytes();
        connection.abort();
        Ok(Answer { status: head.status, headers: head.headers, body })
    };
    timeout(WITHIN, exchange).await.unwrap_or(Err(HttpError::Late))
}
