//! How to reach a board's session: where WebTransport is, and the WebSocket itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use chalkboard_shared::BoardId;
use chalkboard_shared::reason::DisconnectReason;
use data_encoding::BASE64;
use serde_json::json;

use super::problem::Problem;
use super::{SOCKETS_MAX, Site, is_origin_allowed};
use crate::origin::split_authority;
use crate::shard::SESSION_PATH;
use crate::transport::websocket;

/// Path of the WebSocket.
const WEBSOCKET_PATH: &str = "/api/v1/session";

/// `GET /api/v1/boards/{id}/connect`: the addresses of a session, on the shard with the fewest connections. Asked anew
/// for each connection, since the certificate's hashes change.
pub(crate) async fn connect(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Only its form is looked at: the session checks the secret, and knowing a board's id opens nothing.
    let _board: BoardId = id
        .parse()
        .map_err(|_| Problem::from(DisconnectReason::NoAccess))?;
    let authority = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| uri.authority().map(axum::http::uri::Authority::as_str));
    let shard = site
        .shards
        .iter()
        .min_by_key(|shard| shard.load())
        .ok_or_else(|| Problem::unavailable("there is no shard to connect to; try again"))?;
    let hashes: Vec<String> = site
        .certificates
        .hashes()
        .iter()
        .map(|hash| BASE64.encode(hash))
        .collect();
    let host = session_host(authority, site.certificates.is_operators());
    let body = json!({
        "webtransport": {
            "url": format!("https://{host}:{}{SESSION_PATH}", shard.port),
            "certificate_hashes": hashes,
        },
        "websocket": WEBSOCKET_PATH,
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// The host to reach a shard by: the one that the page was reached by. With our own certificate `localhost` becomes an
/// address, because the name may mean the other loopback than the one we listen on, and UDP is not tried on both.
fn session_host(authority: Option<&str>, is_operators_certificate: bool) -> &str {
    let host = authority
        .and_then(split_authority)
        .map_or("127.0.0.1", |(host, _)| host);
    if !is_operators_certificate && host.eq_ignore_ascii_case("localhost") {
        return "127.0.0.1";
    }
    host
}

/// `GET /api/v1/session`: a session over WebSocket. A page of another origin is let in just far enough to be told why
/// it may not: browsers say nothing about a refused upgrade.
pub(crate) async fn session(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => websocket::limited(upgrade),
        Err(_) => {
            return Problem::new(
                StatusCode::UPGRADE_REQUIRED,
                "websocket_only",
                "this path speaks WebSocket; open the board's page in a browser instead",
            )
            .into_response();
        }
    };
    let Ok(place) = site.sockets.clone().try_acquire_owned() else {
        tracing::warn!(
            sockets = SOCKETS_MAX,
            "as many WebSockets are open as may be; a visitor was turned away"
        );
        return Problem::unavailable(
            "the server has as many visitors as it can hold; try again later",
        )
        .into_response();
    };
    let reception = site.reception.clone();
    if is_origin_allowed(&site, &headers) {
        upgrade.on_upgrade(async move |socket| {
            websocket::serve(&reception, socket).await;
            drop(place);
        })
    } else {
        site.counters.origins_refused.increment();
        let origin = headers
            .get(header::ORIGIN)
            .and_then(|origin| origin.to_str().ok())
            .unwrap_or("");
        tracing::info!(
            origin,
            "a page of another origin may not connect; --allow-origin allows it"
        );
        upgrade.on_upgrade(async move |socket| {
            websocket::refuse(&reception, socket, DisconnectReason::Origin).await;
            drop(place);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_where_the_page_is() {
        for (authority, operators, expected) in [
            (Some("localhost:8080"), false, "127.0.0.1"),
            (Some("LOCALHOST"), false, "127.0.0.1"),
            (Some("127.0.0.1:8080"), false, "127.0.0.1"),
            (Some("[::1]:8080"), false, "[::1]"),
            (Some("board.example"), true, "board.example"),
            (Some("board.example:8443"), true, "board.example"),
            (Some("localhost:8443"), true, "localhost"),
            (Some("bad host\"><script>"), true, "127.0.0.1"),
            (None, false, "127.0.0.1"),
        ] {
            assert_eq!(
                session_host(authority, operators),
                expected,
                "{authority:?}"
            );
        }
    }
}
