//! The master's side of the control socket: lines in, lines out. What they mean is in `house`.

use std::{
    io,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use futures_util::StreamExt;
use model::Json;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::UnixListener,
    sync::Semaphore,
    time::Instant,
};
use tokio_util::{
    codec::{FramedRead, LinesCodec, LinesCodecError},
    sync::CancellationToken,
    task::TaskTracker,
};
use tracing::{debug, warn};

use super::{Notification, PROTOCOL, REQUEST_LIMIT, Refusal, Request, Welcome, house::House};

/// Connections at the same time; more wait to be accepted.
const CONNECTIONS: usize = 64;

/// How long a connection may take to say hello.
const HELLO_WITHIN: Duration = Duration::from_secs(3);

/// How long to wait when no connection can be accepted, for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The longest path that a Unix socket can have, in bytes.
const PATH_LIMIT: usize = 107;

/// The control socket, bound.
pub(crate) struct Server {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Server {
    /// Makes the socket, in place of one that a dead master left behind. Only its owner can open it.
    ///
    /// # Errors
    ///
    /// A living master has it, or it cannot be made.
    pub(crate) fn bind(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let length = path.as_os_str().len();
        if length > PATH_LIMIT {
            bail!(
                "the control socket {shown} has a path of {length} bytes, and no Unix socket can have more than {PATH_LIMIT}: \
                 set `control-socket` to a shorter path in ganger.toml"
            );
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            bail!("a master already runs here: it answers on {shown}");
        }
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                std::fs::remove_file(path)
                    .with_context(|| format!("cannot remove the old control socket {shown}"))?;
            }
            Ok(_) => bail!("{shown} is in the way of the control socket: it is not a socket"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot look for the control socket {shown}"));
            }
        }
        // Nobody else may connect even for the moment between `bind` and a `chmod`.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let bound = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = bound.with_context(|| format!("cannot make the control socket {shown}"))?;
        let inode = std::fs::symlink_metadata(path).with_context(|| format!("cannot look at {shown}"))?.ino();
        Ok(Self { listener, path: path.to_owned(), inode })
    }

    /// Serves until `stop`, then removes the socket.
    pub(crate) async fn serve(self, house: Arc<House>, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = async {
                    let place = Arc::clone(&places).acquire_owned().await;
                    (place, self.listener.accept().await)
                } => accepted,
            };
            match accepted {
                (Ok(place), Ok((stream, _))) => {
                    let (house, stop) = (Arc::clone(&house), stop.clone());
                    tasks.spawn(async move {
                        let (read, write) = stream.into_split();
                        if let Err(error) = connection(read, write, &house, &stop).await {
                            debug!(error = &error as &dyn std::error::Error, "control connection ended");
                        }
                        drop(place);
                    });
                }
                (Err(_), _) => break,
                (_, Err(error)) => {
                    warn!(error = &error as &dyn std::error::Error, "cannot accept a control connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        tasks.close();
        tasks.wait().await;
        if std::fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            warn!(error = &error as &dyn std::error::Error, "cannot remove the control socket");
        }
    }
}

/// Where a request that streams puts its notifications. A peer that does not read them makes it wait.
pub(crate) struct Answers<W> {
    write: W,
}

impl<W: AsyncWrite + Unpin> Answers<W> {
    /// Sends one notification.
    pub(crate) async fn notify(&mut self, notification: &Notification) -> io::Result<()> {
        self.line(&Envelope { jsonrpc: "2.0", body: notification }).await
    }

    async fn answer(&mut self, id: &Json, answer: Result<Json, Refusal>) -> io::Result<()> {
        match answer {
            Ok(result) => self.line(&Envelope { jsonrpc: "2.0", body: Answer { id, result } }).await,
            Err(error) => self.line(&Envelope { jsonrpc: "2.0", body: Error { id, error } }).await,
        }
    }

    async fn line(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.write.write_all(&line).await
    }
}

#[derive(Serialize)]
struct Envelope<T> {
    jsonrpc: &'static str,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a Json,
    result: Json,
}

#[derive(Serialize)]
struct Error<'a> {
    id: &'a Json,
    error: Refusal,
}

async fn connection(
    read: impl AsyncRead + Unpin,
    write: impl AsyncWrite + Unpin,
    house: &House,
    stop: &CancellationToken,
) -> io::Result<()> {
    let mut lines = FramedRead::new(read, LinesCodec::new_with_max_length(REQUEST_LIMIT));
    let mut answers = Answers { write };
    let mut next = None;
    let mut greeted = false;
    let hello_until = Instant::now() + HELLO_WITHIN;
    loop {
        let line = match next.take() {
            Some(line) => line,
            None => {
                let line = tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = tokio::time::sleep_until(hello_until), if !greeted => return Ok(()),
                    line = lines.next() => line,
                };
                match line {
                    Some(line) => line,
                    None => return Ok(()),
                }
            }
        };
        let (id, request) = match parse(line) {
            Ok(parsed) => parsed,
            Err(Rejected { id, refusal, over }) => {
                answers.answer(&id, Err(refusal)).await?;
                if over {
                    return Ok(());
                }
                continue;
            }
        };
        let request = match request {
            Request::Hello(hello) => {
                greeted = hello.protocol == PROTOCOL;
                let welcome = Welcome {
                    protocol: PROTOCOL,
                    version: house.version().to_owned(),
                    pid: std::process::id(),
                };
                let answer = if greeted {
                    serde_json::to_value(welcome).map_err(internal)
                } else {
                    Err(Refusal::new(
                        Refusal::INVALID_REQUEST,
                        format!(
                            "the master (version {}) speaks version {PROTOCOL} of the control protocol, not {}: \
                             use the program of the same version",
                            house.version(),
                            hello.protocol
                        ),
                    ))
                };
                answers.answer(&id, answer).await?;
                if !greeted {
                    return Ok(());
                }
                continue;
            }
            _ if !greeted => {
                let refusal = Refusal::new(Refusal::INVALID_REQUEST, "the first request must be `hello`");
                return answers.answer(&id, Err(refusal)).await;
            }
            request => request,
        };
        let answer = {
            let work = house.answer(request, &mut answers);
            tokio::pin!(work);
            loop {
                tokio::select! {
                    answer = &mut work => break answer,
                    // Also notices that the peer went away, which ends whatever it asked for.
                    line = lines.next(), if next.is_none() => match line {
                        Some(line) => next = Some(line),
                        None => return Ok(()),
                    },
                    () = stop.cancelled() => return Ok(()),
                }
            }
        };
        answers.answer(&id, answer).await?;
    }
}

pub(crate) fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Refusal::INTERNAL, error.to_string())
}

/// A line that is no request.
struct Rejected {
    id: Json,
    refusal: Refusal,
    /// Nothing that follows could be understood.
    over: bool,
}

fn parse(line: Result<String, LinesCodecError>) -> Result<(Json, Request), Rejected> {
    let reject = |id: &Json, code, message: String, over| Rejected {
        id: id.clone(),
        refusal: Refusal::new(code, message),
        over,
    };
    let line = line.map_err(|error| {
        let message = match error {
            LinesCodecError::MaxLineLengthExceeded => {
                format!("the line is longer than {REQUEST_LIMIT} bytes")
            }
            LinesCodecError::Io(error) => format!("the line cannot be read: {error}"),
        };
        reject(&Json::Null, Refusal::PARSE, message, true)
    })?;
    let mut message: Json = serde_json::from_str(&line)
        .map_err(|error| reject(&Json::Null, Refusal::PARSE, format!("not JSON: {error}"), true))?;
    let invalid = |id, message: &str| reject(id, Refusal::INVALID_REQUEST, message.to_owned(), false);
    let Some(object) = message.as_object_mut() else {
        return Err(invalid(&Json::Null, "a request is an object; batches are not taken"));
    };
    let id = match object.remove("id") {
        Some(id @ (Json::Number(_) | Json::String(_))) => id,
        _ => return Err(invalid(&Json::Null, "a request needs an `id`, a number or a string")),
    };
    if object.remove("jsonrpc").is_none_or(|version| version != "2.0") {
        return Err(invalid(&id, "`jsonrpc` must be \"2.0\""));
    }
    let Some(method) = object.get("method").and_then(Json::as_str).map(ToOwned::to_owned) else {
        return Err(invalid(&id, "a request needs a `method`"));
    };
    if !Request::METHODS.contains(&method.as_str()) {
        return Err(reject(&id, Refusal::NO_METHOD, format!("there is no method `{method}`"), false));
    }
    object.entry("params").or_insert_with(|| Json::Object(serde_json::Map::new()));
    let request = Request::deserialize(message)
        .map_err(|error| reject(&id, Refusal::INVALID_PARAMS, format!("`{method}`: {error}"), false))?;
    Ok((id, request))
}
