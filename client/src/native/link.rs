//! One connection to a server, whatever carries it: whole frames in, whole frames out.

use bytes::Bytes;
use chalkboard_shared::DisconnectReason;
use chalkboard_shared::wire::frame::FrameSizeError;

use super::trust::Trust;
use super::web_transport::SharedSocket;
use super::{web_socket, web_transport};
use crate::bridge::TransportKind;

/// WebSocket close codes of an application begin here; what lies above is the reason's code.
const WEB_SOCKET_CODE_FIRST: u32 = 4000;

/// Why a link could not be made, or is no more.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// The address is none.
    #[error(
        "the address {0:?} can't be used; it should look like https://host:port/path or ws://host:port/path"
    )]
    Address(String),
    /// The TLS library refused its configuration.
    #[error("TLS can't be set up: {0}")]
    Tls(String),
    /// Nobody answered, or not as a Chalkboard server does.
    #[error("could not connect: {0}")]
    Connect(String),
    /// The server closed it.
    #[error("the server closed the link: {reason} (code {code})")]
    Closed {
        /// [`DisconnectReason::code`], on either transport; 0 for no reason.
        code: u32,
        /// In words.
        reason: String,
    },
    /// It broke.
    #[error("the link broke: {0}")]
    Broken(String),
    /// The server sent a frame that is too large.
    #[error(transparent)]
    Frame(#[from] FrameSizeError),
}

impl LinkError {
    pub(super) fn tls(error: impl std::fmt::Display) -> Self {
        Self::Tls(error.to_string())
    }

    pub(super) fn connect(error: impl std::fmt::Display) -> Self {
        Self::Connect(error.to_string())
    }

    pub(super) fn broken(error: impl std::fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }

    pub(super) fn closed_web_socket(code: u16, reason: &str) -> Self {
        Self::Closed {
            code: u32::from(code).saturating_sub(WEB_SOCKET_CODE_FIRST),
            reason: reason.to_owned(),
        }
    }

    /// The reason that the server gave.
    pub fn reason(&self) -> Option<DisconnectReason> {
        match self {
            Self::Closed { code, .. } => DisconnectReason::from_code(*code),
            _ => None,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    sender: LinkSender,
    receiver: LinkReceiver,
}

/// The half of a link that sends.
#[derive(Debug)]
pub struct LinkSender(Sending);

/// The half of a link that receives.
#[derive(Debug)]
pub struct LinkReceiver(Receiving);

/// Counts of a connection, which is closed when its halves and meters are gone.
#[derive(Debug, Clone)]
pub struct LinkMeter(quinn::Connection);

#[derive(Debug)]
enum Sending {
    WebTransport(Box<web_transport::Sender>),
    WebSocket(web_socket::Sender),
}

#[derive(Debug)]
enum Receiving {
    WebTransport(Box<web_transport::Receiver>),
    WebSocket(web_socket::Receiver),
}

impl Link {
    /// Connects by WebTransport and opens the one stream. `origin` is sent as a browser would.
    ///
    /// # Errors
    /// The address is wrong, or the server can't be reached or trusted.
    pub async fn web_transport(
        url: &str,
        origin: Option<&str>,
        trust: &Trust,
    ) -> Result<Self, LinkError> {
        let (sender, receiver) = web_transport::connect(url, origin, trust).await?;
        Ok(Self {
            sender: LinkSender(Sending::WebTransport(Box::new(sender))),
            receiver: LinkReceiver(Receiving::WebTransport(Box::new(receiver))),
        })
    }

    /// Connects by WebTransport over a socket that other links use as well.
    ///
    /// # Errors
    /// The address is wrong, or the server can't be reached or trusted.
    pub async fn web_transport_on(
        socket: &SharedSocket,
        url: &str,
        origin: Option<&str>,
    ) -> Result<Self, LinkError> {
        let (sender, receiver) = web_transport::connect_on(socket, url, origin).await?;
        Ok(Self {
            sender: LinkSender(Sending::WebTransport(Box::new(sender))),
            receiver: LinkReceiver(Receiving::WebTransport(Box::new(receiver))),
        })
    }

    /// Connects by WebSocket; `trust` is of account for `wss` alone.
    ///
    /// # Errors
    /// The address is wrong, or the server can't be reached or trusted.
    pub async fn web_socket(
        url: &str,
        origin: Option<&str>,
        trust: &Trust,
    ) -> Result<Self, LinkError> {
        let (sender, receiver) = web_socket::connect(url, origin, trust).await?;
        Ok(Self {
            sender: LinkSender(Sending::WebSocket(sender)),
            receiver: LinkReceiver(Receiving::WebSocket(receiver)),
        })
    }

    /// What carries it.
    pub const fn kind(&self) -> TransportKind {
        match self.sender.0 {
            Sending::WebTransport(_) => TransportKind::WebTransport,
            Sending::WebSocket(_) => TransportKind::WebSocket,
        }
    }

    /// Sends a frame reliably and in order.
    ///
    /// # Errors
    /// The link is no more.
    pub async fn send(&mut self, frame: Bytes) -> Result<(), LinkError> {
        self.sender.send(frame).await
    }

    /// Sends bytes as they are: onto the stream without a length, or as one WebSocket message. For tests of servers.
    ///
    /// # Errors
    /// The link is no more.
    pub async fn send_raw(&mut self, bytes: Bytes) -> Result<(), LinkError> {
        self.sender.send_raw(bytes).await
    }

    /// Sends a frame that may be lost; see [`LinkSender::send_datagram`].
    ///
    /// # Errors
    /// The link is no more.
    pub async fn send_datagram(&mut self, frame: Bytes) -> Result<(), LinkError> {
        self.sender.send_datagram(frame).await
    }

    /// The next frame; see [`LinkReceiver::recv`].
    ///
    /// # Errors
    /// The link is no more, with the server's reason if it gave one.
    pub async fn recv(&mut self) -> Result<Bytes, LinkError> {
        self.receiver.recv().await
    }

    /// Closes it, with a code of [`DisconnectReason`] or 0.
    pub async fn close(self, code: u32, reason: &str) {
        self.sender.close(code, reason).await;
    }

    /// Something that tells what the connection has received, while halves of it are elsewhere. `None` for a
    /// WebSocket: the system keeps its counts to itself.
    pub fn meter(&self) -> Option<LinkMeter> {
        match &self.sender.0 {
            Sending::WebTransport(sender) => Some(LinkMeter(sender.connection().clone())),
            Sending::WebSocket(_) => None,
        }
    }

    /// Both halves, for tasks of their own.
    pub fn split(self) -> (LinkSender, LinkReceiver) {
        (self.sender, self.receiver)
    }
}

impl LinkMeter {
    /// Bytes of all UDP packets that came, QUIC's overhead included; those of IP and UDP are not.
    pub fn received_bytes(&self) -> u64 {
        self.0.stats().udp_rx.bytes
    }

    /// UDP packets that came.
    pub fn received_packets(&self) -> u64 {
        self.0.stats().udp_rx.datagrams
    }

    /// The connection is no more.
    pub fn is_closed(&self) -> bool {
        self.0.close_reason().is_some()
    }
}

impl LinkSender {
    /// Sends a frame reliably and in order; waits while the server takes nothing.
    ///
    /// # Errors
    /// The link is no more.
    pub async fn send(&mut self, frame: Bytes) -> Result<(), LinkError> {
        match &mut self.0 {
            Sending::WebTransport(sender) => sender.send(frame).await,
            Sending::WebSocket(sender) => sender.send(frame).await,
        }
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The link is no more.
    pub async fn send_raw(&mut self, bytes: Bytes) -> Result<(), LinkError> {
        match &mut self.0 {
            Sending::WebTransport(sender) => sender.send_raw(bytes).await,
            Sending::WebSocket(sender) => sender.send(bytes).await,
        }
    }

    /// Sends a frame that may be lost, as one too large for the path is; over a WebSocket it is not.
    ///
    /// # Errors
    /// The link is no more.
    pub async fn send_datagram(&mut self, frame: Bytes) -> Result<(), LinkError> {
        match &mut self.0 {
            Sending::WebTransport(sender) => sender.send_datagram(frame),
            Sending::WebSocket(sender) => sender.send(frame).await,
        }
    }

    /// Closes the link, with a code of [`DisconnectReason`] or 0.
    pub async fn close(self, code: u32, reason: &str) {
        match self.0 {
            Sending::WebTransport(sender) => sender.close(code, reason).await,
            Sending::WebSocket(sender) => {
                let code = u16::try_from(WEB_SOCKET_CODE_FIRST.saturating_add(code));
                sender.close(code.unwrap_or(u16::MAX), reason).await;
            }
        }
    }
}

impl LinkReceiver {
    /// The next frame, from the stream or a datagram. A call that is dropped loses nothing.
    ///
    /// # Errors
    /// The link is no more, with the server's reason if it gave one.
    pub async fn recv(&mut self) -> Result<Bytes, LinkError> {
        match &mut self.0 {
            Receiving::WebTransport(receiver) => receiver.recv().await,
            Receiving::WebSocket(receiver) => receiver.recv().await,
        }
    }
}
