//! What there is to ask for.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use engine::master::Health;
use tokio::sync::Semaphore;

use crate::{exposition::Format, metrics, server::House};

/// What every answer needs.
#[derive(Clone)]
struct Shared {
    house: Arc<House>,
    /// One look at the master at a time: those who ask often slow each other down, and not the master.
    looking: Arc<Semaphore>,
}

/// All paths.
pub(crate) fn routes(house: Arc<House>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .fallback(nothing)
        .with_state(Shared { house, looking: Arc::new(Semaphore::new(1)) })
}

/// Figures for Prometheus. A master whose database does not answer still says that.
async fn metrics(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::accepted(&accept.collect::<Vec<_>>().join(","));
    // Never closed, so it is always had.
    let looking = shared.looking.acquire().await;
    let page = metrics::page(&metrics::look(&shared.house).await, format);
    drop(looking);
    let headers = [(header::CONTENT_TYPE, format.content_type()), (header::CACHE_CONTROL, "no-store")];
    (headers, page).into_response()
}

/// Whether the master does its work: 200, or 503 with the reason.
async fn healthz(State(shared): State<Shared>) -> Response {
    let (status, text) = match shared.house.master.health() {
        Health::Good => (StatusCode::OK, "ok\n"),
        Health::Stalled => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n"),
        Health::Ending => (StatusCode::SERVICE_UNAVAILABLE, "the master is ending\n"),
    };
    (status, [(header::CACHE_CONTROL, "no-store")], text).into_response()
}

async fn nothing() -> Response {
    (StatusCode::NOT_FOUND, "there are /metrics and /healthz\n").into_response()
}
