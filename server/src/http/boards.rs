//! `/api/v1/boards`: making a board, and looking at one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chalkboard_shared::reason::DisconnectReason;
use chalkboard_shared::{BoardId, Rights, Secret};
use serde_json::json;

use super::problem::Problem;
use super::{Peer, Site, check_origin};

/// `POST /api/v1/boards`: makes a board. The answer is the only time that its secrets leave the server.
pub(crate) async fn create(
    State(site): State<Arc<Site>>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    check_origin(&site, &headers)?;
    check_rate(&site, peer.ip())?;
    let boards = site.reception.boards.clone();
    let made = tokio::task::spawn_blocking(move || boards.create())
        .await
        .map_err(|_| Problem::unavailable("the board could not be made; try again"))?
        .map_err(|error| {
            tracing::error!(%error, "a board could not be made");
            Problem::unavailable(format!("the board could not be made: {error}"))
        })?;
    let body = json!({
        "id": made.id.to_string(),
        "edit_secret": made.edit_secret.to_string(),
        "view_secret": made.view_secret.to_string(),
    });
    let location = format!("/api/v1/boards/{}", made.id);
    let headers = [
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::LOCATION, location),
    ];
    Ok((StatusCode::CREATED, headers, Json(body)).into_response())
}

fn check_rate(site: &Site, address: IpAddr) -> Result<(), Problem> {
    site.creations
        .take(address, Instant::now())
        .map_err(|wait| {
            let seconds = wait.as_secs() + 1;
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_boards",
                format!("too many new boards from this address; try again in {seconds} s"),
            )
            .retry_after(seconds)
        })
}

/// `GET /api/v1/boards/{id}` with `Authorization: Bearer <secret>`: the state of a board. A wrong secret is answered
/// like an unknown board, so that nobody learns which boards there are.
pub(crate) async fn inspect(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (board, secret) = capability(&id, &headers)?;
    let (rights, inspection) = site.reception.boards.inspect(board, secret).await?;
    let body = json!({
        "id": board.to_string(),
        "rights": match rights {
            Rights::Edit => "edit",
            Rights::View => "view",
        },
        "position": inspection.position.0,
        "durable": inspection.durable.0,
        "digest": inspection.digest,
        "strokes": inspection.strokes,
        "sessions": inspection.sessions,
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// The board that a path names and the secret of the request.
pub(super) fn capability(id: &str, headers: &HeaderMap) -> Result<(BoardId, Secret), Problem> {
    let unknown = || Problem::from(DisconnectReason::NoAccess);
    let secret = bearer(headers).ok_or_else(|| {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "no_secret",
            "give the secret of the board's link: Authorization: Bearer <secret>",
        )
    })?;
    let board = id.parse().map_err(|_| unknown())?;
    let secret = secret.parse().map_err(|_| unknown())?;
    Ok((board, secret))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(secret.trim())
}
