//! A shard: a QUIC endpoint on a UDP port and a thread of its own, and the WebTransport sessions that arrive there.
//!
//! Each shard is one single-threaded runtime, so that sessions of different shards share nothing but the queues to the
//! rooms. Whoever connects is a stranger until the handshake is done: how many may be under way, how long one may take
//! and how much it may send are bounded here.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use chalkboard_shared::limits::SESSION_QUEUE_BYTES_MAX;
use chalkboard_shared::reason::DisconnectReason;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{IdleTimeout, Incoming, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use web_transport_quinn::Request;

use crate::reset_key::ResetKey;
use crate::session::Reception;
use crate::tls::{Certificates, TlsError};
use crate::transport::webtransport;

/// Path of the session endpoint.
pub(crate) const SESSION_PATH: &str = "/session";

/// Handshakes under way at once: 256 x 64 KiB of their streams' windows is 16 MiB.
const HANDSHAKES_MAX: usize = 256;
/// Handshakes under way from which on newcomers must prove their address first (QUIC Retry).
const HANDSHAKES_UNPROVEN_MAX: usize = HANDSHAKES_MAX / 4;
/// How long a handshake, down to the WebTransport request, may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);
/// Connections of one shard: a room's limit and a quarter more.
const CONNECTIONS_MAX: usize = 16 * 1024;
/// Packets of newcomers that wait to be looked at, in connections and bytes.
const INCOMING_MAX: usize = 1024;
const INCOMING_BYTES_MAX: u64 = 8 * 1024;
const INCOMING_BYTES_TOTAL_MAX: u64 = 4 * 1024 * 1024;

/// Streams that a peer may have open: ours is one, HTTP/3 needs three of its own each way.
const STREAMS_MAX: u32 = 8;
/// Unread bytes of a stream, and of all of a connection's.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes sent and not acknowledged yet: what a session's queue holds, half of it again in flight.
const SEND_WINDOW_BYTES: u64 = SESSION_QUEUE_BYTES_MAX as u64 / 2;
/// Datagrams that wait to be sent: two. More would be old when they arrive (measured: p50 16 ms instead of 200 ms).
const DATAGRAM_SEND_BYTES: usize = 2560;
/// Datagrams that wait to be read.
const DATAGRAM_RECEIVE_BYTES: usize = 16 * 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const IDLE_MAX_MS: u32 = 15_000;
const INITIAL_RTT: Duration = Duration::from_millis(100);

/// How long sessions may take to end when the shard stops.
const STOP_WAIT: Duration = Duration::from_secs(3);
/// How long the endpoint may take after that.
const STOP_IDLE_WAIT: Duration = Duration::from_secs(1);

/// A running shard.
#[derive(Debug)]
pub(crate) struct Shard {
    address: SocketAddr,
    load: Arc<AtomicUsize>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Where a shard is and how many sessions it has, for handing it out.
#[derive(Debug, Clone)]
pub(crate) struct ShardAddress {
    pub(crate) port: u16,
    load: Arc<AtomicUsize>,
}

impl ShardAddress {
    /// Connections at the moment.
    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// One that nobody listens at.
    #[cfg(test)]
    pub(crate) fn at(port: u16) -> Self {
        Self {
            port,
            load: Arc::default(),
        }
    }
}

/// A shard could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShardError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the certificate's cipher suites do not suit QUIC")]
    NoSuite,
}

impl Shard {
    /// Starts a shard on a bound socket.
    pub(crate) fn start(
        number: u16,
        socket: UdpSocket,
        certificates: &Certificates,
        reset_key: &ResetKey,
        reception: Arc<Reception>,
    ) -> Result<Self, ShardError> {
        let address = socket.local_addr()?;
        let config = server_config(certificates)?;
        let load = Arc::new(AtomicUsize::new(0));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(8)
            .thread_name(format!("shard-{number}-blocking"))
            .build()?;
        let endpoint = {
            let _context = runtime.enter();
            quinn::Endpoint::new(
                reset_key.endpoint_config(),
                Some(config),
                socket,
                Arc::new(TokioRuntime),
            )?
        };
        let listener = Listener {
            endpoint,
            reception,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            load: load.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("shard-{number}"))
            .spawn(move || {
                runtime.block_on(listener.run(stopped));
                // Nothing that is left may hold up the stop.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            address,
            load,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// For handing it out.
    pub(crate) fn share(&self) -> ShardAddress {
        ShardAddress {
            port: self.address.port(),
            load: self.load.clone(),
        }
    }

    /// Asks it to take no more, and to end when its sessions have.
    pub(crate) fn ask_to_stop(&mut self) {
        // Gone only if it has ended already.
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Waits until it has ended.
    pub(crate) fn join(mut self) {
        self.ask_to_stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a shard's thread died");
        }
    }
}

fn server_config(certificates: &Certificates) -> Result<ServerConfig, ShardError> {
    let tls = certificates.server_config(&[web_transport_quinn::ALPN.as_bytes()])?;
    let crypto = QuicServerConfig::try_from(tls).map_err(|_| ShardError::NoSuite)?;
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(Arc::new(transport_config()))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL_MAX);
    Ok(config)
}

fn transport_config() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(STREAMS_MAX.into())
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(SEND_WINDOW_BYTES)
        .datagram_send_buffer_size(DATAGRAM_SEND_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BYTES))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MAX_MS))))
        .initial_rtt(INITIAL_RTT);
    config
}

struct Listener {
    endpoint: quinn::Endpoint,
    reception: Arc<Reception>,
    handshakes: Arc<Semaphore>,
    load: Arc<AtomicUsize>,
}

impl Listener {
    async fn run(self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let incoming = tokio::select! {
                incoming = self.endpoint.accept() => incoming,
                _ = &mut stopped => break,
            };
            match incoming {
                Some(incoming) => self.meet(incoming),
                None => break,
            }
        }
        // New ones are refused from here on; those that are there have been told by their rooms.
        self.endpoint.set_server_config(None);
        let sessions_ended = async {
            while self.load.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(STOP_WAIT, sessions_ended).await.is_err() {
            tracing::debug!("some sessions did not end in time and are cut off");
        }
        let reason = DisconnectReason::Stopping;
        self.endpoint
            .close(reason.code().into(), reason.to_string().as_bytes());
        let _ = timeout(STOP_IDLE_WAIT, self.endpoint.wait_idle()).await;
    }

    /// Decides about a newcomer, and begins the handshake.
    fn meet(&self, incoming: Incoming) {
        let counters = &self.reception.counters;
        let under_way = HANDSHAKES_MAX - self.handshakes.available_permits();
        if under_way >= HANDSHAKES_UNPROVEN_MAX
            && !incoming.remote_address_validated()
            && incoming.may_retry()
        {
            counters.quic_retries.increment();
            // Only an address that was proven can't be asked to be.
            let _ = incoming.retry();
            return;
        }
        let is_full = self.load.load(Ordering::Acquire) >= CONNECTIONS_MAX;
        let place = self.handshakes.clone().try_acquire_owned();
        let (Ok(place), false) = (place, is_full) else {
            counters.quic_refusals.increment();
            incoming.refuse();
            return;
        };
        let reception = self.reception.clone();
        let load = Load::new(&self.load);
        tokio::spawn(async move {
            let _load = load;
            let peer = incoming.remote_address();
            let request = timeout(HANDSHAKE_WAIT, async {
                let connection = incoming.accept()?.await?;
                Request::accept(connection).await
            })
            .await;
            drop(place);
            match request {
                Ok(Ok(request)) => receive(&reception, request).await,
                Ok(Err(error)) => {
                    reception.counters.quic_refusals.increment();
                    tracing::debug!(%peer, %error, "a connection came to nothing");
                }
                Err(_) => {
                    reception.counters.quic_refusals.increment();
                    tracing::debug!(%peer, "a handshake took too long");
                }
            }
        });
    }
}

/// One more connection, until it is dropped.
struct Load(Arc<AtomicUsize>);

impl Load {
    fn new(load: &Arc<AtomicUsize>) -> Self {
        load.fetch_add(1, Ordering::AcqRel);
        Self(load.clone())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Answers a request for a session.
async fn receive(reception: &Reception, request: Request) {
    let peer = request.conn().remote_address();
    if request.url.path() != SESSION_PATH {
        let _ = timeout(
            HANDSHAKE_WAIT,
            request.reject(axum::http::StatusCode::NOT_FOUND),
        )
        .await;
        return;
    }
    let origin = request
        .headers
        .get(axum::http::header::ORIGIN)
        .map(|value| value.to_str().unwrap_or("").to_owned());
    let is_allowed = reception
        .origins
        .allows(origin.as_deref(), Some(request.url.authority()));
    let Ok(Ok(connection)) = timeout(HANDSHAKE_WAIT, request.ok()).await else {
        return;
    };
    if is_allowed {
        webtransport::serve(reception, connection).await;
    } else {
        // Accepted all the same: a refused request would tell the page nothing.
        reception.counters.origins_refused.increment();
        tracing::info!(%peer, origin = origin.as_deref().unwrap_or(""), "a page of another origin may not connect; --allow-origin allows it");
        webtransport::close(&connection, DisconnectReason::Origin).await;
    }
}
