//! Connections: bounded in number, in time, and in what they may say.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use engine::{Master, enroll::Registrar};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use model::Time;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};

use crate::{enroll, routes};

/// Connections at the same time; more wait to be accepted.
const CONNECTIONS: usize = 64;

/// The same for machines that enroll: they come in hundreds, and are soon gone.
const MACHINES: usize = 256;

/// How long a TLS handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);

/// How long a client may take over its next request, the wait for it included.
const REQUEST_WITHIN: Duration = Duration::from_secs(60);

/// The same for machines: each asks on a connection of its own.
const MACHINE_WITHIN: Duration = Duration::from_secs(15);

/// How long a connection may be used. A client that does not read what it asked for holds its place no longer.
const CONNECTION_FOR: Duration = Duration::from_secs(600);

/// How long an answer may take when its connection is to end.
const CLOSE_WITHIN: Duration = Duration::from_secs(3);

/// How much of a request is read at a time: its head must fit.
const HEAD: usize = 16 << 10;

/// How long to wait when a connection cannot be accepted, for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve HTTP on {address}")]
pub struct BindError {
    address: String,
    source: io::Error,
}

/// What there is to tell about.
#[derive(Debug)]
pub struct House {
    /// The engine.
    pub master: Master,
    /// The version of the program.
    pub version: &'static str,
    /// When the master was started.
    pub started_at: Time,
}

/// An address, bound.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// What connections are held to.
struct Terms {
    tls: Option<TlsAcceptor>,
    /// How many there may be.
    most: usize,
    /// How long a client may take over its next request.
    within: Duration,
}

impl Server {
    /// Takes an address; port 0 takes a free one.
    ///
    /// # Errors
    /// There is no such address here, or somebody has it.
    pub async fn bind(host: &str, port: u16) -> Result<Self, BindError> {
        let failed = |source| BindError { address: format!("{host}:{port}"), source };
        let listener = TcpListener::bind((host, port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address, as it is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; answers that are under way are finished, within a few seconds.
    pub async fn serve(self, house: House, stop: CancellationToken) {
        let address = self.address;
        info!(%address, "metrics are served over HTTP");
        let routes = routes::routes(Arc::new(house));
        let terms = Terms { tls: None, most: CONNECTIONS, within: REQUEST_WITHIN };
        self.accept(terms, &stop, |_| Some(routes.clone())).await;
    }

    /// Lets machines ask who their workers are, until `stop`.
    pub async fn enroll(self, registrar: Registrar, tls: Arc<ServerConfig>, stop: CancellationToken) {
        let address = self.address;
        info!(%address, "machines of pools can enroll");
        let office = enroll::Office::new(registrar);
        let terms = Terms { tls: Some(tls.into()), most: MACHINES, within: MACHINE_WITHIN };
        let routes = |peer: SocketAddr| {
            let half_open = office.come(peer.ip())?;
            Some(enroll::routes(office.clone(), peer, half_open))
        };
        self.accept(terms, &stop, routes).await;
    }

    /// `routes` has nothing for whom is not let in.
    async fn accept(
        self,
        Terms { tls, most, within }: Terms,
        stop: &CancellationToken,
        routes: impl Fn(SocketAddr) -> Option<axum::Router>,
    ) {
        let (tasks, places) = (TaskTracker::new(), Arc::new(Semaphore::new(most)));
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = async {
                    let place = Arc::clone(&places).acquire_owned().await;
                    (place, self.listener.accept().await)
                } => accepted,
            };
            match accepted {
                (Ok(place), Ok((stream, peer))) => {
                    let Some(routes) = routes(peer) else {
                        debug!(%peer, "has too many connections, and gets no other one");
                        continue;
                    };
                    let (tls, stop) = (tls.clone(), stop.clone());
                    tasks.spawn(async move {
                        let ended = match tls {
                            None => connection(stream, routes, within, &stop).await.map_err(io::Error::other),
                            Some(tls) => {
                                let handshake = timeout(HANDSHAKE_WITHIN, tls.accept(stream));
                                match stop.run_until_cancelled(handshake).await {
                                    Some(Ok(Ok(stream))) => connection(stream, routes, within, &stop)
                                        .await
                                        .map_err(io::Error::other),
                                    Some(Ok(Err(error))) => Err(error),
                                    Some(Err(_)) => Err(io::ErrorKind::TimedOut.into()),
                                    // Who has not said who he is waits for the next master.
                                    None => Ok(()),
                                }
                            }
                        };
                        if let Err(error) = ended {
                            debug!(%peer, error = &error as &dyn std::error::Error, "HTTP connection ended");
                        }
                        drop(place);
                    });
                }
                (Err(_), _) => break,
                (_, Err(error)) => {
                    warn!(error = &error as &dyn std::error::Error, "cannot accept an HTTP connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        tasks.close();
        tasks.wait().await;
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    routes: axum::Router,
    within: Duration,
    stop: &CancellationToken,
) -> Result<(), hyper::Error> {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(within)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut served = std::pin::pin!(served);
    tokio::select! {
        ended = served.as_mut() => return ended,
        () = stop.cancelled() => {}
        () = sleep(CONNECTION_FOR) => {}
    }
    served.as_mut().graceful_shutdown();
    // What is cut off is a client that does not read.
    timeout(CLOSE_WITHIN, served).await.unwrap_or(Ok(()))
}
