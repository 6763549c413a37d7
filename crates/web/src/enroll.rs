//! Machines of pools: who their workers are, and what they tell of themselves. `docs/enrollment.md` has the contract.

use std::{
    error::Error,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use engine::enroll::{Denial, Registrar};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use model::InstanceId;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::peers::{HalfOpen, Peers};

/// The longest body.
const BODY: usize = 64 << 10;

/// How long a body may take to come in. What is done about it takes as long as it takes: a machine that was let in must hear
/// so.
const WITHIN: Duration = Duration::from_secs(20);

/// How long an address that was refused too often waits for its next refusal.
const PAUSE: Duration = Duration::from_secs(1);

/// When to ask again, in seconds.
const AGAIN: &str = "3";

/// What every answer needs.
#[derive(Clone, Debug)]
pub(crate) struct Office(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registrar: Registrar,
    peers: Peers,
}

impl Office {
    pub(crate) fn new(registrar: Registrar) -> Self {
        Self(Arc::new(Inner { registrar, peers: Peers::default() }))
    }

    /// A connection comes; `None` when its address has too many that have shown nothing right.
    pub(crate) fn come(&self, peer: IpAddr) -> Option<HalfOpen> {
        self.0.peers.come(peer)
    }
}

/// All paths, for one connection.
#[derive(Clone)]
struct Desk {
    office: Office,
    peer: SocketAddr,
    /// Until it has shown something right.
    half_open: Arc<Mutex<Option<HalfOpen>>>,
}

/// Whether a refusal is put on record.
#[derive(Clone, Copy)]
struct Recorded(bool);

/// All paths.
pub(crate) fn routes(office: Office, peer: SocketAddr, half_open: HalfOpen) -> Router {
    let desk = Desk { office, peer, half_open: Arc::new(Mutex::new(Some(half_open))) };
    Router::new()
        .route("/enroll", post(enroll))
        .route("/machine", get(look))
        .route("/machine/warning", post(warning))
        .route("/machine/pause", post(pause))
        .route("/machine/resume", post(resume))
        .fallback(nothing)
        .layer(middleware::from_fn_with_state(desk.clone(), bounded))
        .with_state(desk)
}

/// Who shows what is right is let in, whoever else is behind his address. Where too much was refused of late, a refusal takes
/// its time, gives no reason and is not put on record.
async fn bounded(State(desk): State<Desk>, mut request: Request, next: Next) -> Response {
    let (peers, peer) = (&desk.office.0.peers, desk.peer.ip());
    let suspect = peers.is_suspect(peer);
    request.extensions_mut().insert(Recorded(!suspect));
    let mut response = next.run(request).await;
    let status = response.status();
    if status.is_success() {
        drop(desk.half_open.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
    // What is only too early is no fault of whoever asks.
    if status.is_client_error() && status != StatusCode::CONFLICT {
        peers.refused(peer);
        if suspect {
            sleep(PAUSE).await;
            let message = "too much was refused to this address of late";
            response = answer(StatusCode::TOO_MANY_REQUESTS, "busy", message);
        }
        if suspect || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
            // The place is for somebody else.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
    response
}

async fn enroll(
    State(desk): State<Desk>,
    Extension(Recorded(recorded)): Extension<Recorded>,
    body: Body,
) -> Response {
    let body = match whole(body).await {
        Ok(body) => body,
        Err(response) => return response,
    };
    match desk.office.0.registrar.enroll(&desk.peer.to_string(), &body, recorded).await {
        Ok(welcome) => {
            let (name, password) = (welcome.name, welcome.password.expose_secret());
            page(
                StatusCode::OK,
                &json!({
                    "version": 1, "instance": welcome.instance.0, "name": name, "password": password,
                }),
            )
        }
        Err(denial) => denied(&denial, StatusCode::FORBIDDEN),
    }
}

async fn look(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    let Some(instance) = desk.machine(&headers) else { return unknown() };
    match desk.office.0.registrar.look(instance).await {
        Ok(Some((state, builds))) => {
            page(StatusCode::OK, &json!({ "version": 1, "state": state, "builds": builds }))
        }
        Ok(None) => unknown(),
        Err(denial) => denied(&denial, StatusCode::FORBIDDEN),
    }
}

async fn warning(State(desk): State<Desk>, headers: HeaderMap, body: Body) -> Response {
    let Some(instance) = desk.machine(&headers) else { return unknown() };
    match whole(body).await {
        Ok(body) => done(desk.office.0.registrar.warn(instance, &body).await),
        Err(response) => response,
    }
}

async fn pause(State(desk): State<Desk>, headers: HeaderMap, body: Body) -> Response {
    let Some(instance) = desk.machine(&headers) else { return unknown() };
    match whole(body).await {
        Ok(body) => done(desk.office.0.registrar.pause(instance, &body).await),
        Err(response) => response,
    }
}

async fn resume(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    let Some(instance) = desk.machine(&headers) else { return unknown() };
    done(desk.office.0.registrar.resume(instance).await)
}

async fn nothing() -> Response {
    answer(StatusCode::NOT_FOUND, "path", "there is nothing here")
}

impl Desk {
    /// Who asks, by HTTP Basic (RFC 7617).
    fn machine(&self, headers: &HeaderMap) -> Option<InstanceId> {
        let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, given) = given.split_once(' ')?;
        let text = String::from_utf8(STANDARD.decode(given.trim()).ok()?).ok()?;
        let (name, password) = text.split_once(':').filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
        self.office.0.registrar.machine(name, &SecretString::from(password))
    }
}

/// A body, if it is whole, not too long, and comes in time.
async fn whole(body: Body) -> Result<Vec<u8>, Response> {
    match timeout(WITHIN, Limited::new(body, BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes().into()),
        Ok(Err(error)) if is_too_long(&*error) => {
            Err(answer(StatusCode::PAYLOAD_TOO_LARGE, "size", "a body has at most 64 KiB"))
        }
        Ok(Err(_)) => Err(answer(StatusCode::BAD_REQUEST, "malformed", "the body is broken off, or is none")),
        Err(_) => Err(answer(StatusCode::REQUEST_TIMEOUT, "slow", "the body did not come in time")),
    }
}

fn is_too_long(error: &(dyn Error + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_too_long)
}

fn done(result: Result<(), Denial>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(denial) => denied(&denial, StatusCode::CONFLICT),
    }
}

/// `refused` is how a refusal is told.
fn denied(denial: &Denial, refused: StatusCode) -> Response {
    match denial {
        Denial::Malformed(_) => answer(StatusCode::BAD_REQUEST, "malformed", &denial.to_string()),
        Denial::Refused { code, message } => answer(refused, code, message),
        _ => answer(StatusCode::SERVICE_UNAVAILABLE, "later", &denial.to_string()),
    }
}

fn unknown() -> Response {
    let mut response = answer(StatusCode::UNAUTHORIZED, "credential", "the name or the password is not good");
    let scheme = HeaderValue::from_static("Basic realm=\"ganger\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    response
}

fn answer(status: StatusCode, code: &str, message: &str) -> Response {
    let mut response = page(status, &json!({ "error": code, "message": message }));
    if matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS | StatusCode::CONFLICT
    ) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(AGAIN));
    }
    response
}

fn page(status: StatusCode, value: &serde_json::Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, value.to_string()).into_response()
}
