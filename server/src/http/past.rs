//! `/api/v1/boards/{id}/timeline`, `.../history/{segment}`, `.../history/{segment}/board` and `.../difference`: the past.
//!
//! Each with `Authorization: Bearer <secret>`; any link may look back, only an edit link may ask what brings a moment
//! back. Answers are the forms of `chalkboard_shared::past`. What never changes may be kept by those who name it by its
//! `mark` from the time line: after a board was restored from a backup its log may have gone on otherwise.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use chalkboard_shared::limits::PAST_BUCKETS_MAX;
use chalkboard_shared::{BoardId, Rights, Tick};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::boards::capability;
use super::problem::Problem;
use super::{Peer, Site};
use crate::past::{PastError, Pasts};
use crate::token_bucket::AddressBuckets;

/// Questions of one address at once, and per second: whoever drags over a long time line asks two for each segment.
const LOOKS_BURST: f64 = 240.0;
const LOOKS_PER_SECOND: f64 = 40.0;
/// Answers that are being made at once: each may take a core, and a board's size in memory.
const ANSWERS_MAX: usize = 2;
static ANSWERS: Semaphore = Semaphore::const_new(ANSWERS_MAX);

/// How often an address may ask.
pub(crate) fn looks_back(now: Instant) -> AddressBuckets {
    AddressBuckets::new(LOOKS_BURST, LOOKS_PER_SECOND, now)
}

/// What may follow the `?` of these paths.
#[derive(Debug, Deserialize)]
pub(crate) struct Questions {
    buckets: Option<usize>,
    tick: Option<u64>,
    mark: Option<u32>,
}

type Asked = Result<Query<Questions>, QueryRejection>;

/// `GET /api/v1/boards/{id}/timeline?buckets=200`: when something changed, and by whom.
pub(crate) async fn timeline(
    State(site): State<Arc<Site>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = questions(asked)?;
    let (board, _) = admit(&site, peer, &id, &headers).await?;
    let buckets = asked.buckets.unwrap_or(PAST_BUCKETS_MAX / 2);
    if buckets > PAST_BUCKETS_MAX {
        return Err(bad_request(format!(
            "ask for at most {PAST_BUCKETS_MAX} buckets"
        )));
    }
    let bytes = answer(&site, move |pasts| {
        Ok(pasts.timeline(board, buckets)?.encode())
    })
    .await?;
    Ok(respond(bytes, false))
}

/// `GET /api/v1/boards/{id}/history/{segment}`: the ops of a part of the log.
pub(crate) async fn segment(
    State(site): State<Arc<Site>>,
    Extension(peer): Extension<Peer>,
    Path((id, segment)): Path<(String, String)>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (asked, index) = (questions(asked)?, number(&segment)?);
    let (board, _) = admit(&site, peer, &id, &headers).await?;
    let told = answer(&site, move |pasts| pasts.segment(board, index)).await?;
    Ok(respond(told.bytes, told.is_final && asked.mark.is_some()))
}

/// `GET /api/v1/boards/{id}/history/{segment}/board`: the whole board at the start of such a part.
pub(crate) async fn board(
    State(site): State<Arc<Site>>,
    Extension(peer): Extension<Peer>,
    Path((id, segment)): Path<(String, String)>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (asked, index) = (questions(asked)?, number(&segment)?);
    let (board, _) = admit(&site, peer, &id, &headers).await?;
    let bytes = answer(&site, move |pasts| pasts.board(board, index)).await?;
    Ok(respond(bytes, asked.mark.is_some()))
}

/// `GET /api/v1/boards/{id}/difference?tick=1234`: what would bring back the board at a tick. Changes nothing.
pub(crate) async fn difference(
    State(site): State<Arc<Site>>,
    Extension(peer): Extension<Peer>,
    Path(id): Path<String>,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = questions(asked)?;
    let (board, rights) = admit(&site, peer, &id, &headers).await?;
    if rights != Rights::Edit {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "view_only",
            "this link can only look; ask the board's owner for an edit link",
        ));
    }
    let tick = asked
        .tick
        .ok_or_else(|| bad_request("name the moment: ?tick=<tick>"))?;
    let bytes = answer(&site, move |pasts| pasts.difference(board, Tick(tick))).await?;
    Ok(respond(bytes, false))
}

fn questions(asked: Asked) -> Result<Questions, Problem> {
    asked
        .map(|Query(questions)| questions)
        .map_err(|error| bad_request(error.body_text()))
}

fn number(segment: &str) -> Result<u32, Problem> {
    segment
        .parse()
        .map_err(|_| bad_request("segments have numbers; the time line counts them from 0"))
}

fn bad_request(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", message)
}

/// Checks how often this address asks and what its secret allows.
async fn admit(
    site: &Site,
    Peer(peer): Peer,
    id: &str,
    headers: &HeaderMap,
) -> Result<(BoardId, Rights), Problem> {
    let (board, secret) = capability(id, headers)?;
    site.looks_back
        .take(peer.ip(), Instant::now())
        .map_err(|wait| {
            let seconds = wait.as_secs() + 1;
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_looks",
                format!(
                    "too many questions about the past from this address; try again in {seconds} s"
                ),
            )
            .retry_after(seconds)
        })?;
    let rights = site.reception.boards.rights(board, secret).await?;
    Ok((board, rights))
}

/// Makes an answer where that may block, a few at a time.
async fn answer<T: Send + 'static>(
    site: &Site,
    make: impl FnOnce(&Pasts) -> Result<T, PastError> + Send + 'static,
) -> Result<T, Problem> {
    let unavailable = || Problem::unavailable("the past could not be read; try again");
    // Never closed.
    let place = ANSWERS.acquire().await.map_err(|_| unavailable())?;
    let pasts = site.pasts.clone();
    let made = tokio::task::spawn_blocking(move || {
        let made = make(&pasts);
        drop(place);
        made
    });
    match made.await {
        Ok(Ok(made)) => Ok(made),
        Ok(Err(error @ PastError::NotThere)) => Err(Problem::not_found(error.to_string())),
        Ok(Err(error)) => {
            tracing::error!(%error, "the past of a board could not be read");
            Err(Problem::unavailable(error.to_string()))
        }
        Err(_) => Err(unavailable()),
    }
}

fn respond(bytes: Bytes, is_final: bool) -> Response {
    let keep = if is_final {
        "private, max-age=31536000, immutable"
    } else {
        "no-store"
    };
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static(keep)),
        (header::VARY, HeaderValue::from_static("authorization")),
    ];
    (headers, bytes).into_response()
}
