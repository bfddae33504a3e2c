//! A link over a WebSocket: one frame a binary message. Nothing is ever lost, datagrams neither.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chalkboard_shared::limits::SERVER_FRAME_BYTES_MAX;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::link::LinkError;
use super::trust::Trust;

/// A TCP stream, with TLS or without.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

type Stream = WebSocketStream<Box<dyn Socket>>;

/// How long a close may take to be told to the server.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

pub(super) struct Sender(SplitSink<Stream, Message>);

pub(super) struct Receiver(SplitStream<Stream>);

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver")
    }
}

pub(super) async fn connect(
    url: &str,
    origin: Option<&str>,
    trust: &Trust,
) -> Result<(Sender, Receiver), LinkError> {
    let address = || LinkError::Address(url.to_owned());
    let target = url::Url::parse(url).map_err(|_| address())?;
    let host = target.host_str().ok_or_else(address)?;
    // An IPv6 address stands in brackets in a URL, and nowhere else.
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = target.port_or_known_default().ok_or_else(address)?;
    let mut request = url.into_client_request().map_err(|_| address())?;
    if let Some(origin) = origin {
        let value = HeaderValue::from_str(origin).map_err(|_| address())?;
        request.headers_mut().insert("origin", value);
    }
    let tcp = TcpStream::connect((host, port))
        .await
        .map_err(LinkError::connect)?;
    tcp.set_nodelay(true).map_err(LinkError::connect)?;
    let socket: Box<dyn Socket> = if target.scheme() == "wss" {
        let connector = tokio_rustls::TlsConnector::from(Arc::new(trust.config(&[b"http/1.1"])?));
        let name = ServerName::try_from(host.to_owned()).map_err(|_| address())?;
        let tls = connector.connect(name, tcp).await;
        Box::new(tls.map_err(LinkError::connect)?)
    } else {
        Box::new(tcp)
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(SERVER_FRAME_BYTES_MAX))
        .max_frame_size(Some(SERVER_FRAME_BYTES_MAX));
    let (stream, _) = tokio_tungstenite::client_async_with_config(request, socket, Some(config))
        .await
        .map_err(LinkError::connect)?;
    let (sink, stream) = stream.split();
    Ok((Sender(sink), Receiver(stream)))
}

impl Sender {
    pub(super) async fn send(&mut self, frame: Bytes) -> Result<(), LinkError> {
        self.0
            .send(Message::Binary(frame))
            .await
            .map_err(|error| LinkError::broken(&error))
    }

    pub(super) async fn close(mut self, code: u16, reason: &str) {
        let close = CloseFrame {
            code: code.into(),
            reason: reason.to_owned().into(),
        };
        let told = self.0.send(Message::Close(Some(close)));
        let _ = tokio::time::timeout(CLOSE_WAIT, told).await;
    }
}

impl Receiver {
    pub(super) async fn recv(&mut self) -> Result<Bytes, LinkError> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(frame))) => return Ok(frame),
                Some(Ok(Message::Close(Some(close)))) => {
                    return Err(LinkError::closed_web_socket(
                        close.code.into(),
                        &close.reason,
                    ));
                }
                Some(Ok(Message::Close(None))) => {
                    return Err(LinkError::closed_web_socket(0, ""));
                }
                Some(Ok(Message::Text(_))) => {
                    return Err(LinkError::Broken("a text message".to_owned()));
                }
                // Pings are answered by the library.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) | None => {
                    return Err(LinkError::Broken("the connection ended".to_owned()));
                }
                Some(Err(error)) => return Err(LinkError::broken(&error)),
            }
        }
    }
}
