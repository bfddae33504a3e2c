//! The HTTP listener: sockets, TLS, and the bounds of a connection.
//!
//! Each connection takes a place among a fixed number; its TLS handshake, its request heads and its idle time are
//! bounded, so that slow or silent peers can't hold the places for good. A WebSocket leaves this place when it is
//! upgraded and has one of its own ([`super::Site::sockets`]).

use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::Peer;

/// Connections at once. Pages ask for little and rarely, so these serve many more visitors.
const CONNECTIONS_MAX: usize = 4 * 1024;
/// How long a TLS handshake may take.
const TLS_WAIT: Duration = Duration::from_secs(5);
/// How long the head of a request may take, and how long an idle connection is kept for another.
const HEAD_WAIT: Duration = Duration::from_secs(30);
/// Bytes of a request's head, at the most.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Requests at once on an HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// How often an HTTP/2 peer is asked whether it is there, and how long it may take to answer.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_WAIT: Duration = Duration::from_secs(10);
/// Pause after the system had no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stopping` turns true; connections then finish their request.
pub(crate) async fn serve(
    listener: StdListener,
    tls: Option<rustls::ServerConfig>,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Never closed. Newcomers beyond the bound wait in the system's queue.
        let Ok(place) = places.clone().acquire_owned().await else {
            return Ok(());
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => Some(accepted),
            _ = stopping.wait_for(|stopping| *stopping) => None,
        };
        let (stream, peer) = match accepted {
            Some(Ok(accepted)) => accepted,
            Some(Err(error)) => {
                tracing::warn!(%error, "a connection could not be accepted; if this goes on, raise the limit of open files");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
            None => return Ok(()),
        };
        let (acceptor, router, stopping) = (acceptor.clone(), router.clone(), stopping.clone());
        tokio::spawn(async move {
            greet(stream, peer, acceptor, router, stopping).await;
            drop(place);
        });
    }
}

async fn greet(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    stopping: watch::Receiver<bool>,
) {
    // Cursors and ink are small and must not wait for more; without it they are only slower.
    let _ = stream.set_nodelay(true);
    match acceptor {
        None => converse(stream, peer, router, stopping).await,
        Some(acceptor) => match timeout(TLS_WAIT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => converse(stream, peer, router, stopping).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
        },
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) {
    let service = router.map_request(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.map(axum::body::Body::new)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_WAIT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    let connection = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let stop = async move {
        // An error says that the server is gone, which is a stop as well.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%peer, %error, "a connection ended badly");
    }
}
