//! Where workers and clients connect.

use std::{io, path::Path, sync::Arc, time::Duration};

use config::Endpoint;
use perspective_broker::tls::{self, TlsError};
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info};

use super::{login, sessions::Shared};

/// How long to wait when a connection cannot be accepted, for want of file descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// After how long a silence the system asks the other machine whether it is still there, and how often.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Why an endpoint cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address cannot be bound.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address of the configuration.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The certificate or the key cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file of the configuration.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The certificate or the key is of no use.
    #[error("cannot use {certificate} with {key}")]
    Tls {
        /// The certificates of the configuration.
        certificate: String,
        /// The key of the configuration.
        key: String,
        /// Why.
        source: TlsError,
    },
}

/// One endpoint, bound.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    address: String,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener, Option<Arc<ServerConfig>>),
    Unix(UnixListener),
}

/// One accepted connection.
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    pub(super) async fn bind(endpoint: &Endpoint) -> Result<Self, ListenError> {
        let (socket, address) = match endpoint {
            Endpoint::Tcp { host, port } => {
                let (listener, address) = bind_tcp("tcp", host, *port).await?;
                (Socket::Tcp(listener, None), address)
            }
            Endpoint::Tls { host, port, certificate, key } => {
                let tls = tls_config(certificate, key).await?;
                let (listener, address) = bind_tcp("tls", host, *port).await?;
                (Socket::Tcp(listener, Some(tls)), address)
            }
            Endpoint::Unix(path) => {
                let address = format!("unix:{}", path.display());
                let listener = bind_unix(path)
                    .map_err(|source| ListenError::Bind { address: address.clone(), source })?;
                (Socket::Unix(listener), address)
            }
        };
        info!(address, "workers can connect");
        Ok(Self { socket, address })
    }

    /// The address that is bound, as the configuration would have it.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Accepts until the end. An error of one connection, or a time without file descriptors, ends nothing.
    pub(super) async fn accept(self, shared: Arc<Shared>, tasks: TaskTracker) {
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                () = shared.stop.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    let Ok(permit) = Arc::clone(&shared.half_open).try_acquire_owned() else {
                        debug!(peer, "closed at once: too many connections have not logged in");
                        continue;
                    };
                    let shared = Arc::clone(&shared);
                    match (stream, &self.socket) {
                        (Stream::Tcp(stream), Socket::Tcp(_, Some(tls))) => {
                            let (tls, handshake) = (Arc::clone(tls), shared.limits.broker.handshake);
                            tasks.spawn(async move {
                                let accepted = tokio::select! {
                                    () = shared.stop.cancelled() => return,
                                    accepted = tls::accept(stream, tls, handshake) => accepted,
                                };
                                match accepted {
                                    Ok(stream) => login::serve(stream, peer, shared, permit).await,
                                    Err(error) => info!(
                                        peer,
                                        error = &error as &dyn std::error::Error,
                                        "TLS handshake failed"
                                    ),
                                }
                            });
                        }
                        (Stream::Tcp(stream), _) => {
                            drop(tasks.spawn(login::serve(stream, peer, shared, permit)))
                        }
                        (Stream::Unix(stream), _) => {
                            drop(tasks.spawn(login::serve(stream, peer, shared, permit)))
                        }
                    }
                }
                Err(error) if concerns_one_connection(&error) => {
                    debug!(
                        error = &error as &dyn std::error::Error,
                        "connection ended before it was accepted"
                    );
                }
                Err(error) => {
                    // One line, not one for each attempt.
                    if !failing {
                        error!(
                            error = &error as &dyn std::error::Error,
                            address = self.address,
                            "cannot accept connections: trying again and again"
                        );
                    }
                    failing = true;
                    tokio::select! {
                        () = shared.stop.cancelled() => return,
                        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                    }
                }
            }
        }
    }
}

impl Socket {
    async fn accept(&self) -> io::Result<(Stream, String)> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, peer) = listener.accept().await?;
                let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
                // Both only make things better: a connection without them is as good as Buildbot's.
                if let Err(error) = stream
                    .set_nodelay(true)
                    .and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&keepalive))
                {
                    debug!(error = &error as &dyn std::error::Error, "cannot set up a connection");
                }
                Ok((Stream::Tcp(stream), peer.to_string()))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let process = stream.peer_cred().ok().and_then(|credentials| credentials.pid());
                Ok((
                    Stream::Unix(stream),
                    process.map_or_else(|| "unix".to_owned(), |pid| format!("unix, process {pid}")),
                ))
            }
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

async fn bind_tcp(scheme: &str, host: &str, port: u16) -> Result<(TcpListener, String), ListenError> {
    let bracketed = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let wanted = format!("{scheme}:{}:{port}", bracketed(host));
    let failed = |source| ListenError::Bind { address: wanted.clone(), source };
    let listener = TcpListener::bind((host, port)).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, format!("{scheme}:{bound}")))
}

/// Takes the place of a socket that nobody listens on any more.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
            std::fs::remove_file(path)?
        }
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path is not a socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    UnixListener::bind(path)
}

async fn tls_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, ListenError> {
    let read = async |path: &Path| {
        let path_shown = path.display().to_string();
        tokio::fs::read(path).await.map_err(|source| ListenError::Read { path: path_shown, source })
    };
    let (chain_pem, key_pem) = (read(certificate).await?, read(key).await?);
    tls::server_config(&chain_pem, &key_pem).map_err(|source| ListenError::Tls {
        certificate: certificate.display().to_string(),
        key: key.display().to_string(),
        source,
    })
}

/// What a connection is made of.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Io for S {}
