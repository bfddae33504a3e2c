//! HTTP: the router, and what all its answers have in common.
//!
//! Page and assets in [`page`], the API in [`boards`], [`past`], [`connect`], [`health`] and [`metrics`], its errors in [`problem`], sockets
//! and TLS in [`listener`]. The API is small on purpose: everything about a live board goes over a session.

pub(crate) mod boards;
pub(crate) mod connect;
pub(crate) mod health;
pub(crate) mod listener;
pub(crate) mod metrics;
pub(crate) mod page;
pub(crate) mod past;
pub(crate) mod problem;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use tokio::sync::Semaphore;

use crate::past::Pasts;
use crate::session::Reception;
use crate::shard::ShardAddress;
use crate::telemetry::Counters;
use crate::tls::Certificates;
use crate::token_bucket::AddressBuckets;
use problem::Problem;

/// Largest body of a request. The API takes none so far.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// WebSockets at once: everybody of one full room, and some.
pub(crate) const SOCKETS_MAX: usize = 16 * 1024;

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) reception: Arc<Reception>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) shards: Vec<ShardAddress>,
    pub(crate) creations: AddressBuckets,
    pub(crate) pasts: Pasts,
    /// Questions about the past.
    pub(crate) looks_back: AddressBuckets,
    /// Places of WebSockets: once upgraded they are no longer the listener's.
    pub(crate) sockets: Arc<Semaphore>,
    /// Value of `Content-Security-Policy`.
    pub(crate) policy: HeaderValue,
}

/// The address that a request came from; put in by the listener.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// All routes.
pub(crate) fn router(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/b/{id}", get(page::index))
        .route("/assets/{*path}", get(page::asset))
        .route("/healthz", get(health::health))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/boards", post(boards::create))
        .route("/api/v1/boards/{id}", get(boards::inspect))
        .route("/api/v1/boards/{id}/connect", get(connect::connect))
        .route("/api/v1/boards/{id}/timeline", get(past::timeline))
        .route("/api/v1/boards/{id}/history/{segment}", get(past::segment))
        .route(
            "/api/v1/boards/{id}/history/{segment}/board",
            get(past::board),
        )
        .route("/api/v1/boards/{id}/difference", get(past::difference))
        .route("/api/v1/session", any(connect::session))
        .route("/api/{*path}", any(unknown))
        .fallback(page::other)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(site.clone(), add_headers))
        .with_state(site)
}

async fn unknown() -> Problem {
    Problem::not_found("there is no such endpoint; the API's paths begin with /api/v1/boards")
}

async fn wrong_method() -> Response {
    Problem::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path takes another method; the Allow header field names it",
    )
    .into_response()
}

/// Header fields of every answer.
async fn add_headers(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: HeaderValue| {
        headers.insert(name, value);
    };
    set(header::CONTENT_SECURITY_POLICY, site.policy.clone());
    set(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    set(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    set(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

/// Refuses a request of a page whose origin is not allowed.
pub(crate) fn check_origin(site: &Site, headers: &axum::http::HeaderMap) -> Result<(), Problem> {
    if is_origin_allowed(site, headers) {
        return Ok(());
    }
    site.counters.origins_refused.increment();
    Err(Problem::new(
        axum::http::StatusCode::FORBIDDEN,
        "origin",
        "this page may not use this server; its operator can allow it with --allow-origin",
    ))
}

pub(crate) fn is_origin_allowed(site: &Site, headers: &axum::http::HeaderMap) -> bool {
    // A value that is no text is an origin all the same, and not an allowed one.
    let text = |name| {
        headers
            .get(name)
            .map(|value: &HeaderValue| value.to_str().unwrap_or(""))
    };
    site.reception
        .origins
        .allows(text(header::ORIGIN), text(header::HOST))
}

#[cfg(test)]
mod tests;
