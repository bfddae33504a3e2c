//! Control: what whoever owns the data folder may ask of the running server, and nobody else.
//!
//! A listener of its own on loopback, at any free port, plain HTTP whatever certificates there are. Its address and a
//! fresh token stand in a file of the data folder that only this user can read, so that who may read the boards may
//! ask. So far that is one thing: a recording of a room ([`crate::recorder`]).

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chalkboard_shared::{BoardId, Secret};
use serde::{Deserialize, Serialize};

use crate::access::{self, SecretHash};
use crate::boards::{Boards, RecordError};
use crate::recorder::RecordingLimits;
use crate::secret_file;

/// Address and token, in the data folder.
const CONTROL_FILE: &str = "control.json";
/// Largest such file that is read.
const CONTROL_FILE_BYTES_MAX: u64 = 4096;
/// Longest recording.
pub(crate) const RECORDING_SECONDS_MAX: u64 = 24 * 3600;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Control {
    /// Where the running server listens.
    pub(crate) address: SocketAddr,
    /// To be sent with each request.
    pub(crate) token: String,
}

impl Control {
    /// Reads the file of the server that uses this folder.
    ///
    /// # Errors
    /// No server has used it, or somebody else did.
    pub(crate) fn read(folder: &Path) -> io::Result<Self> {
        let file = std::fs::File::open(folder.join(CONTROL_FILE))?;
        let text = io::read_to_string(io::Read::take(file, CONTROL_FILE_BYTES_MAX))?;
        serde_json::from_str(&text).map_err(io::Error::other)
    }
}

/// The file of a running server; removed when the server stops.
#[derive(Debug)]
pub(crate) struct ControlFile(PathBuf);

impl Drop for ControlFile {
    fn drop(&mut self) {
        // Left over it only names a port where nobody answers.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What the handlers share.
#[derive(Debug)]
struct Desk {
    boards: Arc<Boards>,
    token: SecretHash,
}

/// Opens the listener and writes the file: what is to be served where.
///
/// # Errors
/// No port, no random numbers, or the folder can't be written.
pub(crate) fn open(
    folder: &Path,
    boards: Arc<Boards>,
) -> io::Result<(TcpListener, Router, ControlFile)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let token = access::random_secret().map_err(io::Error::other)?;
    let control = Control {
        address: listener.local_addr()?,
        token: token.to_string(),
    };
    let path = folder.join(CONTROL_FILE);
    secret_file::write(&path, serde_json::to_string(&control)?.as_bytes())?;
    let desk = Arc::new(Desk {
        boards,
        token: access::hash(token),
    });
    let router = Router::new()
        .route("/recordings/{board}", get(record))
        .layer(middleware::from_fn_with_state(desk.clone(), check_token))
        .with_state(desk);
    Ok((listener, router, ControlFile(path)))
}

async fn check_token(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .and_then(|token| token.parse::<Secret>().ok());
    // Hashes are compared, so the time taken tells nothing.
    if token.is_some_and(|token| access::hash(token) == desk.token) {
        next.run(request).await
    } else {
        let why = "the token is in the data folder's control.json, for its owner";
        (StatusCode::FORBIDDEN, why).into_response()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordingQuery {
    seconds: u64,
    bytes: u64,
}

async fn record(
    State(desk): State<Arc<Desk>>,
    UrlPath(board): UrlPath<String>,
    Query(query): Query<RecordingQuery>,
) -> Response {
    let Ok(board) = board.parse::<BoardId>() else {
        return (StatusCode::BAD_REQUEST, "this is no board's id").into_response();
    };
    let limits = RecordingLimits {
        time: Duration::from_secs(query.seconds.min(RECORDING_SECONDS_MAX)),
        bytes: query.bytes,
    };
    match desk.boards.record(board, limits).await {
        Ok(reader) => {
            let frames = futures::stream::unfold(reader, async |mut reader| {
                let frame = reader.next().await?;
                Some((Ok::<_, std::convert::Infallible>(frame), reader))
            });
            Body::from_stream(frames).into_response()
        }
        Err(error) => {
            let status = match error {
                RecordError::Unknown => StatusCode::NOT_FOUND,
                RecordError::Recorded => StatusCode::CONFLICT,
                RecordError::Refused(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, error.to_string()).into_response()
        }
    }
}
