//! What is settled for a shard's QUIC connections: limits, windows, timers.

use std::sync::Arc;
use std::time::Duration;

use chalkboard_shared::limits::SESSION_QUEUE_BYTES_MAX;
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::{AckFrequencyConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};

use super::ShardError;
use super::congestion::Congestion;
use crate::tls::Certificates;

/// The protocol's name: HTTP/3.
const ALPN: &[u8] = b"h3";

/// Packets of newcomers that wait to be looked at, in connections and bytes.
const INCOMING_MAX: usize = 1024;
const INCOMING_BYTES_MAX: u64 = 8 * 1024;
const INCOMING_BYTES_TOTAL_MAX: u64 = 4 * 1024 * 1024;

/// Streams that a peer may have open: ours is one, HTTP/3 needs three of its own each way.
const STREAMS_MAX: u32 = 8;
/// Unread bytes of a stream, and of all of a connection's.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes sent and not acknowledged yet: a quarter of what may wait for a session, the rest waits before it.
const SEND_WINDOW_BYTES: u64 = SESSION_QUEUE_BYTES_MAX as u64 / 4;
/// Datagrams that wait to be sent: a tick's. More would be old when they arrive (measured: p50 16 ms instead of 200 ms).
const DATAGRAM_SEND_BYTES: usize = 8 * 1024;
/// What is free of that while nothing waits, less the library's own bookkeeping for one.
pub(super) const DATAGRAM_SPACE_EMPTY: usize = DATAGRAM_SEND_BYTES - 64;
/// Datagrams that wait to be read.
const DATAGRAM_RECEIVE_BYTES: usize = 16 * 1024;
/// Bytes of a handshake that come out of order.
const CRYPTO_BUFFER_BYTES: usize = 16 * 1024;
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const IDLE_MAX_MS: u32 = 15_000;
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Bytes that a new connection may have on their way before anything is known of it: 32 packets, spread out. The
/// protocol's own 10 are fewer than a client must have before it acknowledges at once, so that every join stood still for
/// an acknowledgement's delay, and a board took two more round trips.
const INITIAL_WINDOW_BYTES: u64 = 32 * 1452;

/// Packets that a client takes before it must acknowledge them, where it can be asked.
const ACK_THRESHOLD: u32 = 10;
/// How long it may take for that, so that the acknowledgement travels with something else; the library asks for no more than a
/// round trip, or 25 ms. Gaps are reported at once.
const ACK_DELAY: Duration = Duration::from_millis(66);

/// The configuration of a shard's endpoint.
pub(super) fn server_config(certificates: &Certificates) -> Result<ServerConfig, ShardError> {
    let tls = certificates.server_config(&[ALPN])?;
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
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(ACK_THRESHOLD.into())
        .max_ack_delay(Some(ACK_DELAY));
    let congestion = Congestion::with_initial_window(INITIAL_WINDOW_BYTES);
    let mut config = TransportConfig::default();
    config
        .congestion_controller_factory(Arc::new(congestion))
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(STREAMS_MAX.into())
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(SEND_WINDOW_BYTES)
        .datagram_send_buffer_size(DATAGRAM_SEND_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BYTES))
        .crypto_buffer_size(CRYPTO_BUFFER_BYTES)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MAX_MS))))
        .initial_rtt(INITIAL_RTT)
        .ack_frequency_config(Some(acks));
    config
}
