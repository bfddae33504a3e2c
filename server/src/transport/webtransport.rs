//! WebTransport over HTTP/3 on a QUIC connection, without any I/O: settings, the request, which stream is the session's,
//! and the close that a page can read.
//!
//! [`WebTransport`] is told what happens to streams and says what it means by [`Happening`]s. The session's own stream is
//! its user's from the moment it is named. Every other stream is read to its end and forgotten; who opens them without
//! end is stopped.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use quinn_proto::{Connection as Quic, Dir, ReadError, StreamId};
use web_transport_proto::http::StatusCode;
use web_transport_proto::{
    Capsule, CapsuleError, ConnectError, ConnectRequest, ConnectResponse, Frame, Settings,
    SettingsError, StreamUni, VarInt, error_to_http3,
};

use crate::token_bucket::TokenBucket;

/// Bytes of a stream that are kept until they make sense: the largest request, which the codec bounds at 16 KiB, and some.
const HEAD_BYTES_MAX: usize = 24 * 1024;
/// Streams that a peer may open at once, and a second: four or five are all that it needs.
const STREAMS_BURST: f64 = 64.0;
const STREAMS_PER_SECOND: f64 = 1.0;
/// Bytes taken off a stream at once.
const READ_BYTES_MAX: usize = 16 * 1024;
/// HTTP/3's words for a stream that is not wanted, and for no error at all.
const REQUEST_REJECTED: u32 = 0x10b;
const NO_ERROR: u32 = 0x100;

/// What the peer has done.
#[derive(Debug)]
pub(crate) enum Happening {
    /// It asks for a session.
    Request(Box<ConnectRequest>),
    /// The session's stream is there, with its first bytes.
    Stream(StreamId, BytesMut),
    /// The session is over.
    Ended,
    /// It does not speak WebTransport, or badly.
    Broken(&'static str),
    /// It opens streams without end.
    Flood,
}

/// The HTTP/3 side of a connection.
#[derive(Debug)]
pub(crate) struct WebTransport {
    streams: Vec<PeerStream>,
    openings: TokenBucket,
    /// Our control stream has to stay open.
    has_settings: bool,
    request: Option<StreamId>,
    /// A request that came before the settings.
    early_request: Option<Box<ConnectRequest>>,
    is_accepted: bool,
    /// A stream of a session that is not accepted yet.
    early_stream: Option<(StreamId, u64, BytesMut)>,
    has_stream: bool,
    happenings: VecDeque<Happening>,
}

/// A stream that the peer opened.
#[derive(Debug)]
struct PeerStream {
    id: StreamId,
    role: Role,
    buffer: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Its first bytes have not come.
    Unknown,
    /// Of the peer's settings; what follows them does not concern us.
    Control,
    /// Of the request; then of the session's end.
    Request,
    /// Nothing that concerns us.
    Ignored,
}

/// How far a stream could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// For now.
    Blocked,
    /// As much as was wanted at once.
    More,
    /// To its end, whichever.
    Ended,
}

/// Takes bytes off a stream.
pub(crate) fn read(quic: &mut Quic, id: StreamId, mut take: impl FnMut(&[u8])) -> Read {
    let mut stream = quic.recv_stream(id);
    let Ok(mut chunks) = stream.read(true) else {
        return Read::Ended;
    };
    let mut bytes = 0;
    let read = loop {
        if bytes >= READ_BYTES_MAX {
            break Read::More;
        }
        match chunks.next(READ_BYTES_MAX - bytes) {
            Ok(Some(chunk)) => {
                bytes += chunk.bytes.len();
                take(&chunk.bytes);
            }
            Ok(None) | Err(ReadError::Reset(_)) => break Read::Ended,
            Err(ReadError::Blocked) => break Read::Blocked,
        }
    };
    // Whatever has to be told the peer goes out with the connection's next packets.
    let _ = chunks.finalize();
    read
}

impl WebTransport {
    /// Of a connection that begins.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            streams: Vec::new(),
            openings: TokenBucket::new(STREAMS_BURST, STREAMS_PER_SECOND, now),
            has_settings: false,
            request: None,
            early_request: None,
            is_accepted: false,
            early_stream: None,
            has_stream: false,
            happenings: VecDeque::new(),
        }
    }

    /// The QUIC handshake is done.
    pub(crate) fn connected(&mut self, quic: &mut Quic) {
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        let mut bytes = Vec::new();
        settings.encode(&mut bytes);
        // A peer that gives no place for them can't be served, and will not send a request.
        if let Some(id) = quic.streams().open(Dir::Uni) {
            let _ = quic.send_stream(id).write(&bytes);
        }
    }

    /// The peer has opened streams.
    pub(crate) fn opened(&mut self, quic: &mut Quic, dir: Dir, now: Instant) {
        while let Some(id) = quic.streams().accept(dir) {
            if !self.openings.take(now) {
                self.happenings.push_back(Happening::Flood);
                return;
            }
            self.streams.push(PeerStream {
                id,
                role: Role::Unknown,
                buffer: BytesMut::new(),
            });
            self.readable(quic, id);
        }
    }

    /// Something has come on a stream that is not the session's.
    pub(crate) fn readable(&mut self, quic: &mut Quic, id: StreamId) {
        let Some(at) = self.streams.iter().position(|stream| stream.id == id) else {
            return;
        };
        // Its place is another's if it turns out to be the session's.
        let mut stream = self.streams.swap_remove(at);
        loop {
            let PeerStream { role, buffer, .. } = &mut stream;
            let is_kept = *role != Role::Ignored;
            let read = read(quic, id, |bytes| {
                if is_kept {
                    buffer.extend_from_slice(bytes);
                }
            });
            let is_ours = self.understand(quic, &mut stream);
            if !is_ours {
                return;
            }
            if stream.buffer.len() > HEAD_BYTES_MAX {
                self.happenings
                    .push_back(Happening::Broken("a stream's head is too long"));
                return;
            }
            match read {
                Read::More => {}
                Read::Blocked => {
                    self.streams.push(stream);
                    return;
                }
                Read::Ended => {
                    if matches!(stream.role, Role::Request | Role::Control) {
                        self.happenings.push_back(Happening::Ended);
                    }
                    return;
                }
            }
        }
    }

    /// What has happened, in order.
    pub(crate) fn poll(&mut self) -> Option<Happening> {
        self.happenings.pop_front()
    }

    /// Answers the request with a session.
    pub(crate) fn accept(&mut self, quic: &mut Quic) {
        self.is_accepted = true;
        self.answer(quic, StatusCode::OK);
        if let Some((id, session, rest)) = self.early_stream.take() {
            self.take_stream(quic, id, session, rest);
        }
    }

    /// Answers the request with a refusal.
    pub(crate) fn reject(&mut self, quic: &mut Quic, status: StatusCode) {
        self.answer(quic, status);
        if let Some(id) = self.request {
            // Stopped by the peer is as good as finished.
            let _ = quic.send_stream(id).finish();
        }
    }

    /// Tells the peer why the session ends, in a way that reaches the page.
    pub(crate) fn close(&mut self, quic: &mut Quic, code: u32, reason: &str) {
        let Some(id) = self.request.filter(|_| self.is_accepted) else {
            return;
        };
        let mut capsule = Vec::new();
        Capsule::CloseWebTransportSession {
            code,
            reason: reason.to_owned(),
        }
        .encode(&mut capsule);
        let mut data = Vec::new();
        Frame::DATA.encode(&mut data);
        VarInt::from_u32(capsule.len() as u32).encode(&mut data);
        data.extend_from_slice(&capsule);
        // Where there is no room for it the connection's own close has to do.
        let mut stream = quic.send_stream(id);
        let _ = stream.write(&data);
        let _ = stream.finish();
    }

    /// What QUIC calls a session's close code.
    pub(crate) fn close_code(&self, code: u32) -> quinn_proto::VarInt {
        if self.is_accepted {
            quinn_proto::VarInt::from_u64(error_to_http3(code)).unwrap_or_default()
        } else {
            NO_ERROR.into()
        }
    }

    /// What stands before each datagram's content: which session it is of.
    pub(crate) fn datagram_session(&self) -> VarInt {
        quarter(self.request)
    }

    /// The content of a datagram that is the session's.
    pub(crate) fn datagram(&self, mut datagram: bytes::Bytes) -> Option<bytes::Bytes> {
        let id = VarInt::decode(&mut datagram).ok()?;
        (self.is_accepted && id == quarter(self.request)).then_some(datagram)
    }

    fn answer(&mut self, quic: &mut Quic, status: StatusCode) {
        let mut bytes = Vec::new();
        let encoded = ConnectResponse::new(status).encode(&mut bytes);
        if let (Some(id), Ok(())) = (self.request, encoded) {
            let _ = quic.send_stream(id).write(&bytes);
        }
    }

    /// Makes sense of what a stream has brought so far; `false` when the stream is no longer ours to read.
    fn understand(&mut self, quic: &mut Quic, stream: &mut PeerStream) -> bool {
        match stream.role {
            Role::Unknown if stream.id.dir() == Dir::Uni => self.understand_uni(quic, stream),
            Role::Unknown => self.understand_bi(quic, stream),
            Role::Request if self.is_accepted => self.understand_capsules(stream),
            Role::Control if !self.has_settings => self.understand_settings(stream),
            Role::Request | Role::Control | Role::Ignored => {
                stream.buffer = BytesMut::new();
                true
            }
        }
    }

    fn understand_uni(&mut self, quic: &mut Quic, stream: &mut PeerStream) -> bool {
        let mut head = &stream.buffer[..];
        let Ok(kind) = StreamUni::decode(&mut head) else {
            return true;
        };
        match kind {
            StreamUni::CONTROL if !self.has_settings => {
                stream.role = Role::Control;
                self.understand_settings(stream)
            }
            StreamUni::QPACK_ENCODER | StreamUni::QPACK_DECODER => {
                stream.role = Role::Ignored;
                stream.buffer = BytesMut::new();
                true
            }
            // Nothing that we read: the session has one stream, and it goes both ways.
            _ => {
                let _ = quic.recv_stream(stream.id).stop(REQUEST_REJECTED.into());
                false
            }
        }
    }

    fn understand_settings(&mut self, stream: &mut PeerStream) -> bool {
        match Settings::decode(&mut &stream.buffer[..]) {
            Ok(settings) if settings.supports_webtransport() > 0 => {
                self.has_settings = true;
                stream.buffer = BytesMut::new();
                if let Some(request) = self.early_request.take() {
                    self.happenings.push_back(Happening::Request(request));
                }
            }
            Err(SettingsError::UnexpectedEnd) => {}
            Ok(_) => self
                .happenings
                .push_back(Happening::Broken("no WebTransport")),
            Err(_) => self
                .happenings
                .push_back(Happening::Broken("unreadable settings")),
        }
        true
    }

    fn understand_bi(&mut self, quic: &mut Quic, stream: &mut PeerStream) -> bool {
        let mut head = &stream.buffer[..];
        let Ok(kind) = Frame::decode(&mut head) else {
            return true;
        };
        if kind == Frame::WEBTRANSPORT {
            let Ok(session) = VarInt::decode(&mut head) else {
                return true;
            };
            let head_bytes = stream.buffer.len() - head.len();
            let mut rest = std::mem::take(&mut stream.buffer);
            rest.advance(head_bytes);
            self.take_stream(quic, stream.id, session.into_inner(), rest);
            return false;
        }
        if self.request.is_some() {
            refuse_stream(quic, stream.id);
            return false;
        }
        let mut body = &stream.buffer[..];
        match ConnectRequest::decode(&mut body) {
            Ok(request) => {
                let left = body.len();
                stream.buffer.advance(stream.buffer.len() - left);
                stream.role = Role::Request;
                self.request = Some(stream.id);
                let request = Box::new(request);
                if self.has_settings {
                    self.happenings.push_back(Happening::Request(request));
                } else {
                    self.early_request = Some(request);
                }
            }
            Err(ConnectError::UnexpectedEnd) => {}
            Err(error) => {
                tracing::debug!(%error, "a request that can't be served");
                self.happenings
                    .push_back(Happening::Broken("no WebTransport request"));
            }
        }
        true
    }

    /// A stream of a session: ours if it is the first of the session that was accepted.
    fn take_stream(&mut self, quic: &mut Quic, id: StreamId, session: u64, rest: BytesMut) {
        if !self.is_accepted && self.early_stream.is_none() {
            self.early_stream = Some((id, session, rest));
        } else if self.is_accepted
            && !self.has_stream
            && self.request.map(u64::from) == Some(session)
        {
            self.has_stream = true;
            self.happenings.push_back(Happening::Stream(id, rest));
        } else {
            refuse_stream(quic, id);
        }
    }

    /// Looks for the peer's close in what follows its request: capsules in data frames.
    fn understand_capsules(&mut self, stream: &mut PeerStream) -> bool {
        loop {
            let mut rest = &stream.buffer[..];
            let Ok((kind, mut payload)) = Frame::read(&mut rest) else {
                // The rest of a frame has not come.
                return true;
            };
            let is_data = kind == Frame::DATA;
            // A close fits a frame, and nobody cuts it; other capsules need not be understood.
            let is_close = is_data
                && matches!(
                    Capsule::decode(&mut payload),
                    Ok(Capsule::CloseWebTransportSession { .. }) | Err(CapsuleError::InvalidUtf8)
                );
            if is_close {
                self.happenings.push_back(Happening::Ended);
            }
            payload.advance(payload.remaining());
            let left = rest.len();
            stream.buffer.advance(stream.buffer.len() - left);
        }
    }
}

/// The session's number in datagrams (RFC 9297, 2.1).
fn quarter(request: Option<StreamId>) -> VarInt {
    let id = request.map_or(0, u64::from);
    VarInt::from_u64(id / 4).unwrap_or(VarInt::MAX)
}

fn refuse_stream(quic: &mut Quic, id: StreamId) {
    // Gone already is as good as refused.
    let _ = quic.recv_stream(id).stop(REQUEST_REJECTED.into());
    let _ = quic.send_stream(id).reset(REQUEST_REJECTED.into());
}
