//! `GET /healthz`: whether this server can do its work.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Site;

/// 200 while boards can be opened and saved, else 503 with the reason.
pub(crate) async fn health(State(site): State<Arc<Site>>) -> Response {
    let boards = &site.reception.boards;
    let trouble = if boards.is_stopping() {
        Some("the server is stopping".to_owned())
    } else {
        boards.trouble()
    };
    let (status, body) = match trouble {
        None => (
            StatusCode::OK,
            json!({"status": "ok", "rooms": boards.room_count(), "sessions": site.reception.connected.get()}),
        ),
        Some(reason) => (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({"status": "failing", "reason": reason}),
        ),
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
