//! A link over WebTransport: one bidirectional stream of framed messages, and datagrams.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chalkboard_shared::limits::SERVER_FRAME_BYTES_MAX;
use chalkboard_shared::wire::frame::{self, DatagramFrames, FrameDecoder};
use quinn::crypto::rustls::QuicClientConfig;
use web_transport_quinn::http::{HeaderName, HeaderValue};
use web_transport_quinn::proto::ConnectRequest;
use web_transport_quinn::{
    ALPN, ReadError, RecvStream, SendStream, Session, SessionError, WebTransportError, WriteError,
};

use super::link::LinkError;
use super::trust::Trust;

/// Bytes read at once.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Bytes of datagrams that wait to be read; older ones give way. A keyframe's worth of deltas.
pub const DATAGRAM_RECEIVE_BYTES_MAX: usize = 256 * 1024;

/// Packets that the server takes before it must acknowledge them, and how long that may take: most are cursors, which
/// nobody sends again, and its next tick carries the acknowledgement. Where a round trip takes less, QUIC asks for less.
const ACK_THRESHOLD: u32 = 10;
const ACK_DELAY: Duration = Duration::from_millis(66);

/// Bytes that name a connection where it has a socket of its own: the address says enough.
const OWN_ID_BYTES: usize = 0;
/// The same where thousands share a socket: enough to tell them apart.
const SHARED_ID_BYTES: usize = 4;
/// Bytes that the system is asked to keep for such a socket; it gives what it allows.
const SHARED_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// How long a close may take to be told to the server.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Sender {
    connection: quinn::Connection,
    session: Session,
    stream: SendStream,
}

#[derive(Debug)]
pub(super) struct Receiver {
    session: Session,
    stream: RecvStream,
    decoder: FrameDecoder,
    /// What is left of the last datagram.
    datagram: DatagramFrames,
    buffer: Vec<u8>,
}

/// A UDP socket that many links share, as programs with thousands of clients need it. Ordinary programs don't.
///
/// Everything but the socket is a link's own: handshake, keys, congestion control. TLS sessions are not resumed, so that
/// each link costs the server what a stranger costs.
#[derive(Debug, Clone)]
pub struct SharedSocket {
    endpoint: quinn::Endpoint,
    config: quinn::ClientConfig,
}

impl SharedSocket {
    /// Binds a socket on any port of `local`, which must be of the server's address family. Must be called on a tokio
    /// runtime with I/O and time, on which the links then live. `datagram_bytes_max` bounds the datagrams of a link that
    /// wait to be read; older ones give way. [`DATAGRAM_RECEIVE_BYTES_MAX`] is what a link of its own has.
    ///
    /// # Errors
    /// No socket is to be had, or TLS refuses its configuration.
    pub fn bind(
        local: IpAddr,
        trust: &Trust,
        datagram_bytes_max: usize,
    ) -> Result<Self, LinkError> {
        Ok(Self {
            endpoint: endpoint((local, 0).into(), SHARED_ID_BYTES)?,
            config: stranger_config(trust, datagram_bytes_max)?,
        })
    }
}

/// What a client that the server has never met brings along: TLS sessions are not resumed. For programs with thousands of
/// clients that drive QUIC themselves; `datagram_bytes_max` as in [`SharedSocket::bind`].
///
/// # Errors
/// TLS refuses its configuration.
pub fn stranger_config(
    trust: &Trust,
    datagram_bytes_max: usize,
) -> Result<quinn::ClientConfig, LinkError> {
    let mut tls = trust.config(&[ALPN.as_bytes()])?;
    tls.resumption = rustls::client::Resumption::disabled();
    configure(tls, datagram_bytes_max)
}

/// A socket for connections that the server names with so many bytes in each packet.
fn endpoint(local: SocketAddr, id_bytes: usize) -> Result<quinn::Endpoint, LinkError> {
    let mut config = quinn::EndpointConfig::default();
    config.cid_generator(move || Box::new(quinn_proto::RandomConnectionIdGenerator::new(id_bytes)));
    let socket = UdpSocket::bind(local).map_err(LinkError::connect)?;
    if id_bytes > OWN_ID_BYTES {
        // What thousands are told in one tick comes at once. Smaller ones work as well.
        let state = quinn::udp::UdpSocketState::new((&socket).into());
        let _ = state
            .and_then(|state| state.set_recv_buffer_size((&socket).into(), SHARED_BUFFER_BYTES));
    }
    quinn::Endpoint::new(config, None, socket, Arc::new(quinn::TokioRuntime))
        .map_err(LinkError::connect)
}

pub(super) async fn connect(
    url: &str,
    origin: Option<&str>,
    trust: &Trust,
) -> Result<(Sender, Receiver), LinkError> {
    let (target, remote, name) = locate(url).await?;
    let local: SocketAddr = if remote.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = SharedSocket {
        endpoint: endpoint(local, OWN_ID_BYTES)?,
        config: configure(
            trust.config(&[ALPN.as_bytes()])?,
            DATAGRAM_RECEIVE_BYTES_MAX,
        )?,
    };
    open(&socket, target, remote, &name, origin).await
}

pub(super) async fn connect_on(
    socket: &SharedSocket,
    url: &str,
    origin: Option<&str>,
) -> Result<(Sender, Receiver), LinkError> {
    let (target, remote, name) = locate(url).await?;
    open(socket, target, remote, &name, origin).await
}

/// What an address names: itself, where that is, and the name that the certificate must bear.
async fn locate(url: &str) -> Result<(url::Url, SocketAddr, String), LinkError> {
    let address = || LinkError::Address(url.to_owned());
    let target = url::Url::parse(url).map_err(|_| address())?;
    let host = target.host().ok_or_else(address)?.to_owned();
    let port = target.port_or_known_default().ok_or_else(address)?;
    let (remote, name) = resolve(host, port).await?;
    Ok((target, remote, name))
}

async fn open(
    socket: &SharedSocket,
    target: url::Url,
    remote: SocketAddr,
    name: &str,
    origin: Option<&str>,
) -> Result<(Sender, Receiver), LinkError> {
    let mut request = ConnectRequest::new(target.clone());
    if let Some(origin) = origin {
        let value =
            HeaderValue::from_str(origin).map_err(|_| LinkError::Address(target.to_string()))?;
        request = request.with_header(HeaderName::from_static("origin"), value);
    }
    let connecting = socket
        .endpoint
        .connect_with(socket.config.clone(), remote, name)
        .map_err(LinkError::connect)?;
    let connection = connecting.await.map_err(LinkError::connect)?;
    let session = Session::connect(connection.clone(), request)
        .await
        .map_err(LinkError::connect)?;
    let (send, recv) = session.open_bi().await.map_err(|e| session_error(&e))?;
    let receiver = Receiver {
        session: session.clone(),
        stream: recv,
        decoder: FrameDecoder::new(SERVER_FRAME_BYTES_MAX),
        datagram: DatagramFrames::new(Bytes::new()),
        buffer: vec![0; READ_BYTES_MAX],
    };
    let sender = Sender {
        connection,
        session,
        stream: send,
    };
    Ok((sender, receiver))
}

/// The first address of a host, and the name that its certificate must bear.
async fn resolve(host: url::Host<String>, port: u16) -> Result<(SocketAddr, String), LinkError> {
    match host {
        url::Host::Ipv4(ip) => Ok(((ip, port).into(), ip.to_string())),
        url::Host::Ipv6(ip) => Ok(((ip, port).into(), ip.to_string())),
        url::Host::Domain(name) => {
            let first = tokio::net::lookup_host((name.as_str(), port))
                .await
                .map_err(LinkError::connect)?
                .next();
            let first = first.ok_or_else(|| LinkError::Address(name.clone()))?;
            Ok((first, name))
        }
    }
}

fn configure(
    tls: rustls::ClientConfig,
    datagram_bytes_max: usize,
) -> Result<quinn::ClientConfig, LinkError> {
    let crypto = QuicClientConfig::try_from(tls).map_err(LinkError::tls)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport_config(datagram_bytes_max)));
    Ok(config)
}

/// How a connection of a native client behaves; so many bytes of datagrams may wait to be read.
pub fn transport_config(datagram_bytes_max: usize) -> quinn::TransportConfig {
    let mut acks = quinn::AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(ACK_THRESHOLD.into())
        .max_ack_delay(Some(ACK_DELAY));
    let mut transport = quinn::TransportConfig::default();
    // The server opens no streams but HTTP/3's own.
    transport
        .max_concurrent_bidi_streams(4u8.into())
        .max_concurrent_uni_streams(8u8.into())
        .datagram_receive_buffer_size(Some(datagram_bytes_max))
        .ack_frequency_config(Some(acks));
    transport
}

impl Sender {
    pub(super) async fn send(&mut self, frame: Bytes) -> Result<(), LinkError> {
        let head = Bytes::copy_from_slice(&frame::head(&frame));
        let mut both = [head, frame];
        self.stream
            .write_all_chunks(&mut both)
            .await
            .map_err(|e| self.write_error(&e))
    }

    pub(super) async fn send_raw(&mut self, bytes: Bytes) -> Result<(), LinkError> {
        self.stream
            .write_chunk(bytes)
            .await
            .map_err(|e| self.write_error(&e))
    }

    pub(super) fn send_datagram(&self, frame: Bytes) -> Result<(), LinkError> {
        match self.session.send_datagram(frame) {
            // What does not fit is lost, as datagrams may be.
            Ok(()) | Err(SessionError::SendDatagramError(_)) => Ok(()),
            Err(error) => Err(session_error(&error)),
        }
    }

    pub(super) fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    pub(super) async fn close(mut self, code: u32, reason: &str) {
        // What was written still goes out; the stream's end tells the server that nothing follows.
        let _ = self.stream.finish();
        self.session.close(code, reason.as_bytes());
        let _ = tokio::time::timeout(CLOSE_WAIT, self.session.closed()).await;
    }

    fn write_error(&self, error: &WriteError) -> LinkError {
        match (self.session.close_reason(), error) {
            (Some(reason), _) => session_error(&reason),
            (None, WriteError::SessionError(error)) => session_error(error),
            (None, error) => LinkError::broken(error),
        }
    }
}

impl Receiver {
    pub(super) async fn recv(&mut self) -> Result<Bytes, LinkError> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(frame);
            }
            // A damaged datagram is as good as lost.
            if let Some(Ok(frame)) = self.datagram.next() {
                return Ok(frame);
            }
            let Self {
                session,
                stream,
                decoder,
                buffer,
                datagram: frames,
            } = self;
            tokio::select! {
                read = stream.read(buffer) => match read {
                    Ok(Some(count)) => decoder.feed(&buffer[..count]),
                    // The server's reason, if it has one, comes right behind the end.
                    Ok(None) => {
                        let ended = tokio::time::timeout(CLOSE_WAIT, session.closed()).await;
                        return Err(ended.map_or_else(
                            |_| LinkError::Broken("the stream ended".to_owned()),
                            |reason| session_error(&reason),
                        ));
                    }
                    Err(ReadError::SessionError(error)) => return Err(session_error(&error)),
                    Err(error) => return Err(match session.close_reason() {
                        Some(reason) => session_error(&reason),
                        None => LinkError::broken(error),
                    }),
                },
                datagram = session.read_datagram() => {
                    *frames = DatagramFrames::new(datagram.map_err(|error| session_error(&error))?);
                }
            }
        }
    }
}

fn session_error(error: &SessionError) -> LinkError {
    match error {
        SessionError::WebTransportError(WebTransportError::Closed(code, reason)) => {
            LinkError::Closed {
                code: *code,
                reason: reason.clone(),
            }
        }
        other => LinkError::broken(other),
    }
}
