//! The command's side of the control socket.

use std::{
    io,
    path::{Path, PathBuf},
};

use futures_util::StreamExt;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{
    io::AsyncWriteExt,
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use super::{ANSWER_LIMIT, Hello, Notification, PROTOCOL, Refusal, Request, Welcome};
use crate::exit::{Exit, Failure};

/// A connection to the running master.
pub(crate) struct Client {
    lines: FramedRead<OwnedReadHalf, LinesCodec>,
    write: OwnedWriteHalf,
    last_id: u64,
    socket: PathBuf,
}

impl Client {
    /// Connects to the master of this control socket.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, Failure> {
        let stream = UnixStream::connect(socket).await.map_err(|error| unreachable(socket, error))?;
        let (read, write) = stream.into_split();
        let lines = FramedRead::new(read, LinesCodec::new_with_max_length(ANSWER_LIMIT));
        let mut client = Self { lines, write, last_id: 0, socket: socket.to_owned() };
        let welcome: Welcome = client.call(&Request::Hello(Hello { protocol: PROTOCOL })).await?;
        tracing::debug!(pid = welcome.pid, version = welcome.version, "connected to the master");
        Ok(client)
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn call<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, Failure> {
        self.stream(request, |_| Ok(())).await
    }

    /// Asks, gives every notification to `each`, and returns the answer.
    pub(crate) async fn stream<T: DeserializeOwned>(
        &mut self,
        request: &Request,
        mut each: impl FnMut(Notification) -> Result<(), Failure>,
    ) -> Result<T, Failure> {
        self.last_id += 1;
        let mut message = serde_json::to_value(request)?;
        message["jsonrpc"] = "2.0".into();
        message["id"] = self.last_id.into();
        let mut line = serde_json::to_vec(&message)?;
        line.push(b'\n');
        // A master that refuses says why before it closes; what it said is worth more than the failed write.
        let written = self.write.write_all(&line).await;
        loop {
            match self.receive().await? {
                Some(Message { id: None, error: None, rest, .. }) => {
                    each(serde_json::from_value(rest.into()).map_err(|error| self.nonsense(error))?)?;
                }
                Some(Message { error: Some(refusal), .. }) => return Err(refused(refusal)),
                Some(Message { result: Some(result), .. }) => {
                    return serde_json::from_value(result).map_err(|error| self.nonsense(error));
                }
                Some(_) => return Err(self.nonsense("an answer without a result")),
                None => {
                    written.map_err(|error| unreachable(&self.socket, error))?;
                    return Err(Failure::text(Exit::Unreachable, "the master ended before it answered"));
                }
            }
        }
    }

    /// Waits until the master closes the connection, which it does at its end.
    pub(crate) async fn closed(mut self) {
        while let Some(Ok(_)) = self.lines.next().await {}
    }

    async fn receive(&mut self) -> Result<Option<Message>, Failure> {
        match self.lines.next().await {
            None => Ok(None),
            Some(Ok(line)) => serde_json::from_str(&line).map(Some).map_err(|error| self.nonsense(error)),
            Some(Err(LinesCodecError::Io(error)))
                if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) =>
            {
                Ok(None)
            }
            Some(Err(error)) => Err(self.nonsense(error)),
        }
    }

    fn nonsense(&self, error: impl std::fmt::Display) -> Failure {
        Failure::text(
            Exit::Internal,
            format!("{} does not talk as a master does: {error}", self.socket.display()),
        )
    }
}

/// Any message from the master.
#[derive(Deserialize)]
struct Message {
    id: Option<u64>,
    result: Option<serde_json::Value>,
    error: Option<Refusal>,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

fn unreachable(socket: &Path, error: io::Error) -> Failure {
    let directory = socket.parent().unwrap_or(socket).display().to_string();
    let failure = |text: String| Failure::new(Exit::Unreachable, anyhow::Error::new(error).context(text));
    match socket.try_exists() {
        Ok(false) => Failure::text(Exit::Unreachable, format!("no master runs in {directory}")).advise(
            format!("start one with `ganger start {directory}`, or name its directory with `-C DIR`"),
        ),
        _ => failure(format!("no master answers on {}", socket.display()))
            .advise(format!("start one with `ganger start {directory}`")),
    }
}

fn refused(refusal: Refusal) -> Failure {
    let exit = match refusal.code {
        Refusal::NOT_FOUND => Exit::NotFound,
        Refusal::TRY_AGAIN => Exit::TryAgain,
        Refusal::CONFIGURATION | Refusal::INVALID_PARAMS => Exit::Usage,
        _ => Exit::Internal,
    };
    Failure::text(exit, refusal.message)
}
