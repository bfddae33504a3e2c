//! One thin client: a QUIC connection with a WebTransport session on it, the messages that it sends, and next to nothing
//! of what it receives. No I/O.
//!
//! Handshake, keys, acknowledgements and flow control are QUIC's own, as a person's client has them. Of what comes only
//! the welcome is read, and the room's pace and beat, because senders keep to them.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::{Bytes, BytesMut};
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::limits::SERVER_FRAME_BYTES_MAX;
use chalkboard_shared::wire::frame::{self, FrameDecoder};
use chalkboard_shared::wire::{ClientMessage, Hello, Profile, ServerMessage};
use chalkboard_shared::workload::Curve;
use quinn_proto::{Connection, Dir, Event, ReadError, StreamEvent, StreamId};
use url::Url;
use web_transport_proto::{ConnectError, ConnectRequest, ConnectResponse, Frame, Settings, VarInt};

use super::joining::Newcomer;
use super::timing_finder::TimingFinder;
use crate::agenda::Hand;
use crate::clock::stamp;
use crate::counts::Traffic;
use crate::pen::{Pen, Writer};
use crate::rhythm::{CursorRhythm, Timing};
use crate::role::{Role, name, random_key};

/// Frames that wait to be taken by QUIC; beyond that the server takes nothing, and what is due is not sent.
const WAITING_MAX: usize = 256;
/// Bytes taken off a stream at once.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an answer to a request that make no sense yet.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
const NS_PER_MS: i64 = 1_000_000;

/// A client of the load that is not looked through.
#[derive(Debug)]
pub(super) struct ThinClient {
    pub(super) quic: Connection,
    role: Role,
    /// As what it connects, until it is in.
    newcomer: Option<Newcomer>,
    /// When its connection was begun.
    pub(super) begun: Instant,
    /// What it had seen when counting began.
    pub(super) counted_from: Traffic,
    url: Url,
    stage: Stage,
    /// The session's stream, once it is there.
    stream: Option<StreamId>,
    /// Bytes for it that QUIC has not taken.
    waiting: VecDeque<Bytes>,
    /// Something has come on it.
    is_readable: bool,
    decoder: FrameDecoder,
    finder: TimingFinder,
    /// As the room has told it.
    timing: Option<Timing>,
    /// When it has sent something last.
    sent_ns: i64,
    curve: Curve,
    sequence: u32,
    cursors: CursorRhythm,
    writer: Option<Box<Writer>>,
}

/// How far it has come.
#[derive(Debug)]
enum Stage {
    /// QUIC's handshake.
    Shaking,
    /// It has asked for a session.
    Asking { request: StreamId, answer: BytesMut },
    /// It has said hello.
    Greeting { request: StreamId },
    /// It is in.
    Joined { request: StreamId },
    /// It is out.
    Gone,
}

/// What has become of a client.
#[derive(Debug)]
pub(super) enum News {
    /// It is in the room.
    Joined,
    /// It never got in, and why.
    Refused(Newcomer, anyhow::Error),
    /// It was in and is no more.
    Lost,
}

impl ThinClient {
    /// Of a connection that was begun to this address.
    pub(super) fn new(
        quic: Connection,
        role: Role,
        newcomer: Newcomer,
        url: Url,
        now: Instant,
    ) -> Self {
        let curve = Curve::of(role.client);
        let writes = role.part.ink_hz > 0.0;
        let writer = writes.then(|| Box::new(Writer::new(Pen::new(curve, role.part.samples))));
        Self {
            quic,
            role,
            newcomer: Some(newcomer),
            begun: now,
            counted_from: Traffic::default(),
            url,
            stage: Stage::Shaking,
            stream: None,
            waiting: VecDeque::new(),
            is_readable: false,
            decoder: FrameDecoder::new(SERVER_FRAME_BYTES_MAX),
            finder: TimingFinder::default(),
            timing: None,
            sent_ns: 0,
            curve,
            sequence: 0,
            cursors: CursorRhythm::default(),
            writer,
        }
    }

    /// It is in the room.
    pub(super) const fn has_joined(&self) -> bool {
        matches!(self.stage, Stage::Joined { .. })
    }

    /// It is on the way into the room.
    pub(super) const fn is_joining(&self) -> bool {
        !self.has_joined() && !matches!(self.stage, Stage::Gone)
    }

    /// What it has seen since it was begun.
    pub(super) fn traffic(&self) -> Traffic {
        let stats = self.quic.stats();
        Traffic {
            bytes: stats.udp_rx.bytes,
            packets: stats.udp_rx.datagrams,
            datagrams: stats.frame_rx.datagram,
            packets_sent: stats.udp_tx.datagrams,
        }
    }

    /// Gives up, or goes. Who was not in yet may come as a newcomer again.
    pub(super) fn leave(&mut self, now: Instant) -> Option<Newcomer> {
        self.stage = Stage::Gone;
        self.waiting.clear();
        self.quic.close(now, 0u32.into(), Bytes::new());
        self.newcomer.take()
    }

    /// Deals with everything that has happened.
    pub(super) fn react(&mut self, now: Instant) -> Option<News> {
        let mut news = None;
        while let Some(event) = self.quic.poll() {
            match self.take(event) {
                Ok(None) => {}
                Ok(Some(joined)) => news = Some(joined),
                Err(error) => return self.end(error, now),
            }
        }
        match self.flush() {
            Ok(()) => news,
            Err(error) => self.end(error, now),
        }
    }

    fn end(&mut self, error: anyhow::Error, now: Instant) -> Option<News> {
        if matches!(self.stage, Stage::Gone) {
            return None;
        }
        // Also one that only the session has left: nothing is to be acknowledged for nobody.
        Some(match self.leave(now) {
            Some(newcomer) => News::Refused(newcomer, error),
            None => News::Lost,
        })
    }

    fn take(&mut self, event: Event) -> Result<Option<News>> {
        match event {
            Event::Connected => self.ask()?,
            Event::ConnectionLost { reason } => return Err(reason.into()),
            Event::DatagramReceived => while self.quic.datagrams().recv().is_some() {},
            Event::Stream(StreamEvent::Readable { id }) if Some(id) == self.stream => {
                self.is_readable = true;
                // What comes once it is in waits until somebody looks.
                if !self.has_joined() {
                    return self.read_welcome();
                }
            }
            Event::Stream(StreamEvent::Readable { id }) => self.read_answer(id)?,
            Event::Stream(StreamEvent::Stopped { id, .. }) if Some(id) == self.stream => {
                bail!("the server wants no more")
            }
            // The server opens HTTP/3's own streams, of which nothing is needed.
            Event::Stream(StreamEvent::Opened { dir }) => {
                while self.quic.streams().accept(dir).is_some() {}
            }
            Event::Stream(_) | Event::HandshakeDataReady | Event::DatagramsUnblocked => {}
        }
        Ok(None)
    }

    /// Asks for a session.
    fn ask(&mut self) -> Result<()> {
        let mut settings = Settings::default();
        settings.enable_webtransport(1);
        let mut bytes = Vec::new();
        settings.encode(&mut bytes);
        let control = self.open(Dir::Uni)?;
        self.quic.send_stream(control).write(&bytes)?;
        let mut bytes = Vec::new();
        ConnectRequest::new(self.url.clone()).encode(&mut bytes)?;
        let request = self.open(Dir::Bi)?;
        self.quic.send_stream(request).write(&bytes)?;
        let answer = BytesMut::new();
        self.stage = Stage::Asking { request, answer };
        Ok(())
    }

    fn open(&mut self, dir: Dir) -> Result<StreamId> {
        let opened = self.quic.streams().open(dir);
        opened.context("the server gives no place for a stream")
    }

    /// Reads the answer to the request for a session, and says hello on its stream.
    fn read_answer(&mut self, id: StreamId) -> Result<()> {
        let Stage::Asking { request, answer } = &mut self.stage else {
            return Ok(());
        };
        let request = *request;
        if id != request {
            return Ok(());
        }
        read(&mut self.quic, id, |bytes| answer.extend_from_slice(bytes))?;
        match ConnectResponse::decode(&mut &answer[..]) {
            Ok(_) => {}
            Err(ConnectError::UnexpectedEnd) if answer.len() < ANSWER_BYTES_MAX => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let stream = self.open(Dir::Bi)?;
        let mut head = Vec::new();
        Frame::WEBTRANSPORT.encode(&mut head);
        VarInt::from_u64(request.into())?.encode(&mut head);
        self.waiting.push_back(head.into());
        self.stream = Some(stream);
        self.stage = Stage::Greeting { request };
        let hello = ClientMessage::Hello(Box::new(Hello {
            board: self.role.board.board,
            secret: self.role.board.secret,
            key: random_key()?,
            profile: Profile {
                name: name(self.role.client),
                color: self.role.client & 0xff_ff_ff,
            },
            view: self.role.view,
            resume: None,
        }));
        self.push(&hello.encode());
        Ok(())
    }

    /// Reads on until the welcome, and looks at what comes behind it no longer as frames.
    fn read_welcome(&mut self) -> Result<Option<News>> {
        let (Stage::Greeting { request }, Some(stream)) = (&self.stage, self.stream) else {
            return Ok(None);
        };
        let request = *request;
        let mut bytes = BytesMut::new();
        while read(&mut self.quic, stream, |more| bytes.extend_from_slice(more))? {}
        self.is_readable = false;
        self.decoder.feed(&bytes);
        while let Some(frame) = self.decoder.next_frame()? {
            match ServerMessage::decode(frame)? {
                ServerMessage::Welcome(welcome) => {
                    self.timing = Some(Timing::of(welcome.pace));
                    self.stage = Stage::Joined { request };
                    self.newcomer = None;
                    let rest = self.decoder.take_rest();
                    let (timing, sent_ns) = (&mut self.timing, self.sent_ns);
                    self.finder
                        .read(&rest, |message| tell(timing, &message, sent_ns));
                    return Ok(Some(News::Joined));
                }
                ServerMessage::Bye(reason) => bail!("turned away: {reason}"),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Takes what has come on the stream, and drops it but for the timing. `true` if there was anything.
    pub(super) fn drain(&mut self) -> bool {
        let Some(stream) = self.stream.filter(|_| self.has_joined()) else {
            return false;
        };
        if !std::mem::take(&mut self.is_readable) {
            return false;
        }
        let (finder, timing, sent_ns) = (&mut self.finder, &mut self.timing, self.sent_ns);
        let drained = read(&mut self.quic, stream, |bytes| {
            finder.read(bytes, |message| tell(timing, &message, sent_ns));
        });
        // How it ended comes as an event of its own.
        self.is_readable = matches!(drained, Ok(true));
        true
    }

    fn push(&mut self, frame: &Bytes) {
        let framed = [&frame::head(frame)[..], frame].concat();
        self.waiting.push_back(framed.into());
    }

    /// Hands QUIC what it takes.
    fn flush(&mut self) -> Result<()> {
        let Some(stream) = self.stream else {
            return Ok(());
        };
        while !self.waiting.is_empty() {
            let waiting = self.waiting.make_contiguous();
            match self.quic.send_stream(stream).write_chunks(waiting) {
                Ok(written) => drop(self.waiting.drain(..written.chunks)),
                Err(quinn_proto::WriteError::Blocked) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn send_datagram(&mut self, frame: &Bytes) {
        let Stage::Joined { request } = self.stage else {
            return;
        };
        let Ok(session) = VarInt::from_u64(u64::from(request) / 4) else {
            return;
        };
        let mut datagram = BytesMut::with_capacity(frame.len() + 8);
        session.encode(&mut datagram);
        datagram.extend_from_slice(frame);
        // What can't be sent is late anyway.
        let _ = self.quic.datagrams().send(datagram.freeze(), true);
    }
}

impl Hand for ThinClient {
    fn best_ns(&self, at_ns: i64) -> i64 {
        self.timing.map_or(at_ns, |timing| timing.best_ns(at_ns))
    }

    /// The moment of the schedule, to the millisecond as ordinary clients tell it, is also the cursor's stamp: what the
    /// load itself is late counts as latency.
    fn point(&mut self, due_ns: i64) -> bool {
        let Some(timing) = self.timing.filter(|_| self.has_joined()) else {
            return false;
        };
        if !self.cursors.takes(due_ns, timing.pace) {
            return false;
        }
        self.sent_ns = due_ns;
        let due_ms = due_ns / NS_PER_MS;
        self.sequence = self.sequence.wrapping_add(1);
        let message = ClientMessage::Cursor {
            sequence: self.sequence,
            stamp: Some(stamp(due_ms * NS_PER_MS)),
            cursor: CursorState {
                at: self.curve.pointer(due_ms as f64 / 1000.0),
                tool: CursorTool::Pen,
                pressed: self.role.part.ink_hz > 0.0,
            },
        };
        self.send_datagram(&message.encode());
        true
    }

    fn draw(&mut self, times: impl Iterator<Item = f64>, now_ns: i64) -> bool {
        // Room first: the numbers of what is written must not have gaps.
        if !self.has_joined() || self.waiting.len() >= WAITING_MAX / 2 {
            return false;
        }
        let Some(writer) = &mut self.writer else {
            return false;
        };
        self.sent_ns = now_ns;
        for frame in writer.frames(times, stamp(now_ns)) {
            self.push(&frame);
        }
        true
    }
}

/// The room has said something of when to send.
fn tell(timing: &mut Option<Timing>, message: &ServerMessage, sent_ns: i64) {
    match (timing, message) {
        (timing, ServerMessage::Pace(pace)) => *timing = Some(Timing::of(*pace)),
        (Some(timing), ServerMessage::Beat(shift_us)) => {
            timing
                .beat
                .shift(*shift_us, sent_ns as f64 / NS_PER_MS as f64);
        }
        _ => {}
    }
}

/// Takes what has come on a stream, up to a bound; `true` if there may be more.
fn read(quic: &mut Connection, id: StreamId, mut take: impl FnMut(&[u8])) -> Result<bool> {
    let mut stream = quic.recv_stream(id);
    let mut chunks = stream.read(true).map_err(|error| anyhow!(error))?;
    let mut bytes = 0;
    let outcome = loop {
        if bytes >= READ_BYTES_MAX {
            break Ok(true);
        }
        match chunks.next(READ_BYTES_MAX - bytes) {
            Ok(Some(chunk)) => {
                bytes += chunk.bytes.len();
                take(&chunk.bytes);
            }
            Ok(None) => break Err(anyhow!("the server has ended the stream")),
            Err(ReadError::Blocked) => break Ok(false),
            Err(error) => break Err(error.into()),
        }
    };
    // Whatever has to be told the server goes out with the connection's next packets.
    let _ = chunks.finalize();
    outcome
}
