//! From the first byte to an accepted login.

use std::{sync::Arc, time::Duration};

use perspective_broker::{Event, LoginId, RemoteId, RequestId, Transport, TransportError};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::{
    change, connection,
    credentials::{Identity, Stranger},
    listen::Io,
    sessions::Shared,
};

/// How long to wait at the end for a peer that does not take the last words.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Somebody who knows a password.
struct Guest {
    user: String,
    identity: Identity,
    login: LoginId,
    mind: Option<RemoteId>,
}

/// Serves one connection to its end. `permit` is a place among those that have not logged in.
pub(super) async fn serve<S: Io>(io: S, peer: String, shared: Arc<Shared>, permit: OwnedSemaphorePermit) {
    let broker = perspective_broker::Broker::server(shared.limits.broker);
    let mut transport = Transport::new(io, broker);
    let guest = tokio::select! {
        () = shared.stop.cancelled() => None,
        guest = timeout(shared.limits.login, log_in(&mut transport, &peer, &shared)) => guest.ok().flatten(),
    };
    let Some(guest) = guest else {
        transport.close(CLOSE_WITHIN).await;
        return;
    };
    drop(permit);
    match (guest.identity, guest.mind) {
        (Identity::Changes, _) => change::serve_client(transport, guest.login, &peer, &shared).await,
        (identity, Some(mind)) => {
            let who = connection::Who { login: guest.user, identity, peer };
            connection::serve_worker(transport, who, guest.login, mind, shared).await;
        }
        (_, None) => {
            warn!(
                peer,
                worker.name = guest.user,
                "closed: a worker's name and password, but no worker behind it"
            );
            transport.close(CLOSE_WITHIN).await;
        }
    }
}

/// Waits for a right password. `None` when the connection is to be closed, or closed itself; the broker bounds the time.
async fn log_in<S: Io>(transport: &mut Transport<S>, peer: &str, shared: &Shared) -> Option<Guest> {
    loop {
        let event = match transport.next().await {
            Ok(Some(event)) => event,
            Ok(None) => {
                debug!(peer, "connection closed before a login");
                return None;
            }
            // Port scanners and health checks are everyday.
            Err(
                error @ (TransportError::Io(_)
                | TransportError::Truncated
                | TransportError::HandshakeTimeout(_)),
            ) => {
                debug!(peer, error = &error as &dyn std::error::Error, "connection ended before a login");
                return None;
            }
            Err(error) => {
                info!(peer, error = &error as &dyn std::error::Error, "connection ended before a login");
                return None;
            }
        };
        match event {
            Event::Login { login, user, proof, mind } => {
                let credentials = Arc::clone(&shared.credentials.borrow());
                match credentials.check(&user, &proof, &shared.verifiers) {
                    Ok(identity) => return Some(Guest { user: user.to_string(), identity, login, mind }),
                    Err(Stranger::Unknown) => shared.refusals.log(peer, &user),
                    Err(Stranger::Pool { pool, instance, why }) => {
                        shared.refusals.log(peer, &user);
                        if shared.refusals.is_told() {
                            let why = format!("a login from {peer} was refused: {why}");
                            shared.report(crate::Event::PoolLoginRefused { pool, instance, why }).await;
                        }
                    }
                }
                if !refuse(transport, login, mind, shared).await {
                    return None;
                }
            }
            Event::LoginAnonymous { login, .. } => {
                debug!(peer, "anonymous login refused");
                transport.broker().refuse_login(login).ok()?;
            }
            _ => {}
        }
    }
}

/// Refuses a login. `false` when the connection must be closed.
///
/// buildbot-worker 0.9 and later takes UnauthorizedLogin as it is meant: it waits, and comes back. Before 0.8.5 a worker
/// ends at any error of its login, so the connection of one that is that old is closed instead: it comes back too. Who it
/// is shows in whether it knows `getWorkerInfo`.
async fn refuse<S: Io>(
    transport: &mut Transport<S>,
    login: LoginId,
    mind: Option<RemoteId>,
    shared: &Shared,
) -> bool {
    if let Some(mind) = mind {
        let Ok(question) = transport.broker().call(mind, "getWorkerInfo", Vec::new(), Vec::new()) else {
            return false;
        };
        let until = Instant::now() + shared.limits.turned_away;
        if !timeout(shared.limits.turned_away, answers(transport, question)).await.unwrap_or(false) {
            linger(transport, until).await;
            return false;
        }
    }
    transport.broker().refuse_login(login).is_ok()
}

async fn answers<S: Io>(transport: &mut Transport<S>, question: RequestId) -> bool {
    loop {
        match transport.next().await {
            Ok(Some(Event::Answered { request, .. })) if request == question => return true,
            Ok(Some(Event::Failed { request, .. })) if request == question => return false,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return false,
        }
    }
}

/// Keeps a connection open that will be closed, so that its worker does not come back at once.
pub(super) async fn linger<S: Io>(transport: &mut Transport<S>, until: Instant) {
    let gone = async { while let Ok(Some(_)) = transport.next().await {} };
    tokio::select! {
        () = gone => {}
        () = sleep_until(until) => {}
    }
}
