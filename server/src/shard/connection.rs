//! One connection of a shard: QUIC, the WebTransport session on it, and the session in a room, from the first packet to
//! the last.
//!
//! It is told what has happened and when, and has no sockets, threads or clock. Its [`Stage`]s follow one another; each
//! but the stay in a room is bounded in time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chalkboard_shared::limits::CLIENT_FRAME_BYTES_MAX;
use chalkboard_shared::reason::DisconnectReason;
use chalkboard_shared::wire::frame::FrameDecoder;
use chalkboard_simulation::Input;
use quinn_proto::{Connection as Quic, Event, StreamEvent, StreamId};
use web_transport_proto::ConnectRequest;
use web_transport_proto::http::{StatusCode, header};

use super::bundle::Bundle;
use super::congestion::Way;
use super::losses::Losses;
use super::mailbox::{Answer, ConnectionKey, ShardHandle};
use super::outgoing::{Full, Outgoing, Stopped};
use crate::outlet::Outlet;
use crate::room_door::Refused;
use crate::session::{
    Ending, GOODBYE_WAIT, GaugeGuard, HELLO_WAIT, Received, Reception, Session, bye,
};
use crate::transport::webtransport::{Happening, Read, WebTransport, read};

/// Path of the session endpoint.
pub(crate) const SESSION_PATH: &str = "/session";

/// How long a handshake, down to the WebTransport request, may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(5);
/// How long a room may take to answer somebody who wants to join: more than the boards wait for it themselves.
const JOIN_WAIT: Duration = Duration::from_secs(60);
/// Round trips that a peer has to end a session that it was told is over; at least the time below.
const LEAVE_ROUND_TRIPS: u32 = 3;
const LEAVE_WAIT_MIN: Duration = Duration::from_millis(100);
/// Frames taken off the stream in one go; then it is others' turn.
const FRAMES_PER_TURN: usize = 64;

/// How late QUIC's timers may come up on a connection that sends little: then the next tick's packet usually carries the
/// acknowledgement that would have been sent alone, and the peer's own acknowledgement comes before we ask for it.
const SLACK: Duration = Duration::from_millis(10);
/// Packets in one pass from which on a connection sends much, and how soon its timers must come up for it to go on so.
const BULK_PACKETS: usize = 4;
const BULK_TIMER_MAX: Duration = Duration::from_millis(20);

/// What all connections of a shard share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) reception: Arc<Reception>,
    pub(super) shard: ShardHandle,
    pub(super) runtime: tokio::runtime::Handle,
}

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Until it asks for a session.
    Handshake,
    /// Until it says hello.
    Hello,
    /// Until the room answers.
    Joining,
    /// In the room.
    Joined,
    /// Until the last frames have arrived.
    Goodbye(DisconnectReason),
    /// Until the peer has taken note of the close.
    Leaving { code: u32 },
    /// QUIC sees to it that its end is noticed.
    Closed,
}

/// Something from a room for a connection.
#[derive(Debug)]
pub(super) enum Letter {
    /// A frame that must arrive.
    Frame(Bytes),
    /// A frame that may be lost.
    Fragment(Bytes),
    /// What all who have the same in view get in a tick.
    Bundle(Arc<Bundle>),
    /// The session ends.
    Close(DisconnectReason),
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) quic: Quic,
    pub(super) key: ConnectionKey,
    pub(super) peer: SocketAddr,
    came: Instant,
    stage: Stage,
    deadline: Option<Instant>,
    /// It sends so much that QUIC spreads it out.
    is_bulky: bool,
    web: WebTransport,
    outgoing: Outgoing,
    decoder: FrameDecoder,
    /// The session's stream may have something to read.
    is_readable: bool,
    session: Option<Box<Session>>,
    /// What the room had no place for. Nothing more is read before it has.
    stalled: Option<(Input, usize)>,
    connected: Option<GaugeGuard>,
    losses: Losses,
    /// The room was told that the way loses packets.
    is_lossy: bool,
}

impl Connection {
    /// One that begins.
    pub(super) fn new(quic: Quic, key: ConnectionKey, now: Instant) -> Self {
        Self {
            peer: quic.remote_address(),
            outgoing: Outgoing::new(Way::of(&quic)),
            came: now,
            quic,
            key,
            stage: Stage::Handshake,
            deadline: Some(now + HANDSHAKE_WAIT),
            is_bulky: false,
            web: WebTransport::new(now),
            decoder: FrameDecoder::new(CLIENT_FRAME_BYTES_MAX),
            is_readable: false,
            session: None,
            stalled: None,
            connected: None,
            losses: Losses::new(now),
            is_lossy: false,
        }
    }

    /// Where it is in its life.
    pub(super) fn stage(&self) -> Stage {
        self.stage
    }

    /// Counts what its peer has said in the room, acknowledgements and the like apart.
    pub(super) fn spoken(&self) -> u64 {
        if self.stage != Stage::Joined {
            return 0;
        }
        let frames = self.quic.stats().frame_rx;
        frames.datagram + frames.stream
    }

    /// It waits for a place in its room.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Its peer waits for answers: it comes, goes, or takes a lot.
    pub(super) fn is_pressing(&self) -> bool {
        self.is_bulky || !matches!(self.stage, Stage::Joined | Stage::Closed)
    }

    /// It is in its room, has sent everything, and what it sends arrives: what its peer has received can wait.
    pub(super) fn is_at_ease(&self) -> bool {
        self.stage == Stage::Joined && !self.is_lossy && !self.is_bulky && self.outgoing.is_empty()
    }

    /// More has come than one turn takes.
    pub(super) fn has_more(&self) -> bool {
        self.is_readable && matches!(self.stage, Stage::Hello | Stage::Joined)
    }

    /// When it is to be looked at again if nothing happens before; this time it has sent so many packets.
    pub(super) fn deadline(&mut self, packets: usize, now: Instant) -> Option<Instant> {
        let quic = self.quic.poll_timeout();
        // Only who sends much is held up to spread it out, and must go on in time.
        let is_near = quic.is_some_and(|at| at < now + BULK_TIMER_MAX);
        self.is_bulky = packets >= BULK_PACKETS || (self.is_bulky && is_near);
        let is_punctual = self.is_bulky || self.stage != Stage::Joined;
        let slack = if is_punctual { Duration::ZERO } else { SLACK };
        let quic = quic.map(|at| at + slack);
        match (quic, self.deadline) {
            (Some(quic), Some(own)) => Some(quic.min(own)),
            (quic, own) => quic.or(own),
        }
    }

    /// Lets what is due happen.
    fn come_up(&mut self, context: &Context, now: Instant) {
        if self.quic.poll_timeout().is_some_and(|at| at <= now) {
            self.quic.handle_timeout(now);
        }
        if self.deadline.is_none_or(|at| at > now) {
            return;
        }
        self.deadline = None;
        match self.stage {
            Stage::Handshake => {
                tracing::debug!(peer = %self.peer, "a handshake took too long");
                context.reception.counters.quic_refusals.increment();
                self.shut(now, 0);
            }
            Stage::Hello => self.end(DisconnectReason::Timeout, now),
            Stage::Joining | Stage::Joined => self.end(DisconnectReason::Storage, now),
            Stage::Goodbye(reason) => self.leave(reason.code(), &reason.to_string(), now),
            Stage::Leaving { code } => self.shut(now, code),
            Stage::Closed => {}
        }
    }

    /// Something from the room.
    pub(super) fn post(&mut self, letter: Letter, context: &Context, now: Instant) {
        if !matches!(self.stage, Stage::Joining | Stage::Joined) {
            return;
        }
        let counters = &context.reception.counters;
        match letter {
            Letter::Fragment(frame) => {
                self.outgoing
                    .push_fragment(&frame, &mut self.quic, &self.web, counters);
            }
            Letter::Frame(frame) => {
                let pushed = self.outgoing.push(&frame);
                self.pushed(pushed, context, now);
            }
            Letter::Bundle(bundle) => {
                self.outgoing
                    .push_fragments(&bundle, &mut self.quic, &self.web, counters);
                if !bundle.piece.is_empty() {
                    let pushed = self.outgoing.push_piece(bundle.piece.clone());
                    self.pushed(pushed, context, now);
                }
            }
            Letter::Close(reason) => self.end(reason, now),
        }
    }

    fn pushed(&mut self, pushed: Result<(), Full>, context: &Context, now: Instant) {
        if pushed == Err(Full) {
            tracing::debug!(peer = %self.peer, "a session reads too slowly");
            context.reception.counters.sessions_too_slow.increment();
            self.outgoing.clear();
            self.end(DisconnectReason::TooSlow, now);
        }
    }

    /// What has become of the wish to join.
    pub(super) fn answered(&mut self, joined: Result<Session, DisconnectReason>, now: Instant) {
        if self.stage != Stage::Joining {
            // A session that comes too late leaves its room at once.
            return;
        }
        match joined {
            Ok(session) => {
                self.session = Some(Box::new(session));
                self.stage = Stage::Joined;
                self.deadline = None;
            }
            Err(reason) => self.end(reason, now),
        }
    }

    /// Ends the session: what waits is sent, then the reason.
    pub(super) fn end(&mut self, reason: DisconnectReason, now: Instant) {
        if !matches!(self.stage, Stage::Hello | Stage::Joining | Stage::Joined) {
            return;
        }
        if let Some(session) = self.session.take() {
            session.log_ending(Ending::Told(reason));
        }
        self.stalled = None;
        if self.outgoing.stream().is_none() {
            self.leave(reason.code(), &reason.to_string(), now);
            return;
        }
        // What has no place any more is told by the close alone.
        let _ = self.outgoing.push(&bye(reason));
        self.stage = Stage::Goodbye(reason);
        self.deadline = Some(now + GOODBYE_WAIT);
    }

    /// Closes the connection at once, because the whole shard stops.
    pub(super) fn stop(&mut self, reason: DisconnectReason, now: Instant) {
        self.session = None;
        self.connected = None;
        self.stage = Stage::Closed;
        self.deadline = None;
        self.quic
            .close(now, reason.code().into(), reason.to_string().into());
        Way::of(&self.quic).let_close_pass();
    }

    /// Deals with everything that has happened since the last time, and hands QUIC what is to be sent.
    pub(super) fn drive(&mut self, context: &Context, now: Instant) {
        self.come_up(context, now);
        self.hear(context, now);
        if self.stage != Stage::Closed {
            self.flush(context, now);
            self.watch_losses(context, now);
        }
    }

    /// Deals with what has come alone, so that the room has it.
    pub(super) fn hear(&mut self, context: &Context, now: Instant) {
        while let Some(event) = self.quic.poll() {
            self.react(event, context, now);
        }
        while let Some(happening) = self.web.poll() {
            self.follow(happening, context, now);
        }
        self.unstall(now);
        if self.is_readable && self.stalled.is_none() {
            self.read_frames(context, now);
        }
    }

    /// Tells the room when the way has come to lose packets, or no longer does.
    fn watch_losses(&mut self, context: &Context, now: Instant) {
        let Some(session) = &self.session else {
            return;
        };
        if !self.losses.is_due(now) {
            return;
        }
        let peer = self.quic.remote_address();
        if peer != self.peer {
            self.peer = peer;
            self.outgoing.take_way(Way::of(&self.quic));
        }
        let lost_packets = self.quic.stats().path.lost_packets;
        let is_lossy = self.losses.look(lost_packets, now);
        // What the room has no place for is told at the next look.
        if is_lossy != self.is_lossy && session.offer(session.lossy(is_lossy), 0).is_ok() {
            self.is_lossy = is_lossy;
            if is_lossy {
                context.reception.counters.sessions_lossy.increment();
            }
        }
    }

    fn react(&mut self, event: Event, context: &Context, now: Instant) {
        match event {
            Event::Connected => self.web.connected(&mut self.quic),
            Event::ConnectionLost { reason } => {
                if self.stage == Stage::Handshake {
                    tracing::debug!(peer = %self.peer, error = %reason, "a connection came to nothing");
                    context.reception.counters.quic_refusals.increment();
                }
                self.lost();
            }
            Event::DatagramReceived => self.read_datagrams(now),
            Event::Stream(event) => match event {
                StreamEvent::Opened { dir } => self.web.opened(&mut self.quic, dir, now),
                StreamEvent::Readable { id } if Some(id) == self.outgoing.stream() => {
                    self.is_readable = true;
                }
                StreamEvent::Readable { id } => self.web.readable(&mut self.quic, id),
                StreamEvent::Finished { id } => self.arrived(id, now),
                StreamEvent::Stopped { id, .. } => {
                    self.arrived(id, now);
                    if Some(id) == self.outgoing.stream() {
                        self.gone(now);
                    }
                }
                // Whatever waits is offered again whenever something happens.
                StreamEvent::Writable { .. } | StreamEvent::Available { .. } => {}
            },
            Event::HandshakeDataReady | Event::DatagramsUnblocked => {}
        }
    }

    fn follow(&mut self, happening: Happening, context: &Context, now: Instant) {
        match happening {
            Happening::Request(request) => self.receive(&request, context, now),
            Happening::Stream(id, first_bytes) => {
                self.outgoing.open(id);
                self.decoder.feed(&first_bytes);
                self.is_readable = true;
            }
            Happening::Ended => self.gone(now),
            Happening::Flood if self.stage == Stage::Handshake => self.shut(now, 0),
            Happening::Flood => self.end(DisconnectReason::Flood, now),
            Happening::Broken(what) => {
                tracing::debug!(peer = %self.peer, what, "a connection came to nothing");
                if self.stage == Stage::Handshake {
                    context.reception.counters.quic_refusals.increment();
                    self.shut(now, 0);
                } else {
                    self.end(DisconnectReason::Malformed, now);
                }
            }
        }
    }

    /// Answers a request for a session.
    fn receive(&mut self, request: &ConnectRequest, context: &Context, now: Instant) {
        if self.stage != Stage::Handshake {
            return;
        }
        if request.url.path() != SESSION_PATH {
            self.web.reject(&mut self.quic, StatusCode::NOT_FOUND);
            self.stage = Stage::Leaving { code: 0 };
            self.deadline = Some(now + GOODBYE_WAIT);
            return;
        }
        let reception = &context.reception;
        let origin = request
            .headers
            .get(header::ORIGIN)
            .map(|value| value.to_str().unwrap_or(""));
        self.web.accept(&mut self.quic);
        self.connected = Some(reception.connected.enter());
        self.stage = Stage::Hello;
        self.deadline = Some(now + HELLO_WAIT);
        if !reception
            .origins
            .allows(origin, Some(request.url.authority()))
        {
            // Accepted all the same: a refused request would tell the page nothing.
            reception.counters.origins_refused.increment();
            tracing::info!(peer = %self.peer, origin = origin.unwrap_or(""), "a page of another origin may not connect; --allow-origin allows it");
            let reason = DisconnectReason::Origin;
            self.leave(reason.code(), &reason.to_string(), now);
        }
    }

    fn read_datagrams(&mut self, now: Instant) {
        while let Some(datagram) = self.quic.datagrams().recv() {
            if let (Some(session), Some(frame)) = (&self.session, self.web.datagram(datagram))
                && let Err(reason) = session.receive_datagram(frame)
            {
                self.end(reason, now);
            }
        }
    }

    /// Takes frames off the stream, as many as may be in one go.
    fn read_frames(&mut self, context: &Context, now: Instant) {
        for _ in 0..FRAMES_PER_TURN {
            // While a room is asked nothing is read; QUIC's window holds the peer up.
            if !matches!(self.stage, Stage::Hello | Stage::Joined) {
                return;
            }
            match self.decoder.next_frame() {
                Ok(Some(frame)) => {
                    if self.stage == Stage::Hello {
                        self.join(frame, context, now);
                    } else {
                        self.take(frame, now);
                    }
                    if self.stalled.is_some() {
                        return;
                    }
                }
                Ok(None) => {
                    let Some(id) = self.outgoing.stream() else {
                        return;
                    };
                    let decoder = &mut self.decoder;
                    let mut bytes = 0;
                    let read = read(&mut self.quic, id, |part| {
                        bytes += part.len();
                        decoder.feed(part);
                    });
                    if read == Read::Ended && bytes == 0 {
                        // The client has ended its stream, and so the session.
                        self.is_readable = false;
                        self.gone(now);
                        return;
                    }
                    if read == Read::Blocked && bytes == 0 {
                        self.is_readable = false;
                        return;
                    }
                }
                Err(error) if error.len == 0 => {
                    self.end(DisconnectReason::Malformed, now);
                }
                Err(_) => self.end(DisconnectReason::TooLarge, now),
            }
        }
    }

    /// Reads a hello and asks the room; the answer comes through the mailbox.
    fn join(&mut self, frame: Bytes, context: &Context, now: Instant) {
        let hello = match Session::read_hello(&context.reception, frame) {
            Ok(hello) => hello,
            Err(reason) => {
                self.end(reason, now);
                return;
            }
        };
        self.stage = Stage::Joining;
        self.deadline = Some(now + JOIN_WAIT);
        let (reception, shard, key) = (context.reception.clone(), context.shard.clone(), self.key);
        let came = self.came;
        context.runtime.spawn(async move {
            let outlet = Outlet::of_shard(shard.clone(), key);
            let joined = Session::join(&reception, hello, came, outlet).await;
            shard.answer(Answer { key, joined });
        });
    }

    fn take(&mut self, frame: Bytes, now: Instant) {
        let Some(session) = &self.session else {
            return;
        };
        let bytes = frame.len();
        match session.receive(frame) {
            Ok(Received::Nothing) => {}
            Ok(Received::Answer(answer)) => {
                if self.outgoing.push(&answer) == Err(Full) {
                    self.end(DisconnectReason::TooSlow, now);
                }
            }
            Ok(Received::Forward(input)) => {
                let offered = session.offer(input, bytes);
                self.offered(offered, bytes, now);
            }
            Err(reason) => self.end(reason, now),
        }
    }

    fn offered(&mut self, offered: Result<(), Refused>, bytes: usize, now: Instant) {
        match offered {
            Ok(()) => {}
            Err(Refused::Full(input)) => self.stalled = Some((input, bytes)),
            // The room's own reason is on its way; this is for when it is not.
            Err(Refused::Closed) => {
                self.is_readable = false;
                self.deadline.get_or_insert(now + GOODBYE_WAIT);
            }
        }
    }

    fn unstall(&mut self, now: Instant) {
        if let (Some(session), Some((input, bytes))) = (&self.session, self.stalled.take()) {
            let offered = session.offer(input, bytes);
            self.offered(offered, bytes, now);
        }
    }

    /// Hands QUIC what waits, and says so to the room.
    fn flush(&mut self, context: &Context, now: Instant) {
        let counters = &context.reception.counters;
        let is_flushed = match self.outgoing.flush(&mut self.quic, counters) {
            Ok(is_flushed) => is_flushed,
            Err(Stopped) => {
                self.gone(now);
                return;
            }
        };
        if let Stage::Goodbye(_) = self.stage
            && is_flushed
            && let Some(id) = self.outgoing.stream()
        {
            // Nothing follows; closed already is as good. When it has arrived, so has the reason.
            let _ = self.quic.send_stream(id).finish();
        }
        if let Some(session) = &self.session
            && let Some(report) = session.written(self.outgoing.written())
            && session.offer(report, 0).is_ok()
        {
            self.outgoing.told();
        }
    }

    /// A stream of ours has arrived whole, or will not.
    fn arrived(&mut self, id: StreamId, now: Instant) {
        if let Stage::Goodbye(reason) = self.stage
            && Some(id) == self.outgoing.stream()
        {
            self.leave(reason.code(), &reason.to_string(), now);
        }
    }

    /// The peer has ended the session.
    fn gone(&mut self, now: Instant) {
        match self.stage {
            Stage::Hello | Stage::Joining | Stage::Joined => {
                if let Some(session) = self.session.take() {
                    session.log_ending(Ending::Gone);
                }
                // Where only the session has ended, not the connection beneath it.
                self.leave(0, "", now);
            }
            // It need not be told any more.
            Stage::Goodbye(reason) => self.shut(now, reason.code()),
            Stage::Leaving { code } => self.shut(now, code),
            Stage::Handshake => self.shut(now, 0),
            Stage::Closed => {}
        }
    }

    /// Tells the page why, and gives it a little time to take note.
    fn leave(&mut self, code: u32, reason: &str, now: Instant) {
        self.web.close(&mut self.quic, code, reason);
        let patience = (self.quic.rtt() * LEAVE_ROUND_TRIPS).clamp(LEAVE_WAIT_MIN, GOODBYE_WAIT);
        self.stage = Stage::Leaving { code };
        self.deadline = Some(now + patience);
    }

    /// Closes the connection.
    fn shut(&mut self, now: Instant, code: u32) {
        // Who has not had what was said on the streams learns it from this.
        let words = DisconnectReason::from_code(code).map(|reason| reason.to_string());
        let code = self.web.close_code(code);
        self.quic.close(now, code, words.unwrap_or_default().into());
        Way::of(&self.quic).let_close_pass();
        self.lost();
    }

    /// Nothing more can be said.
    fn lost(&mut self) {
        if let Some(session) = self.session.take() {
            session.log_ending(Ending::Gone);
        }
        self.stalled = None;
        self.connected = None;
        self.stage = Stage::Closed;
        self.deadline = None;
        self.outgoing = Outgoing::default();
        self.decoder = FrameDecoder::new(CLIENT_FRAME_BYTES_MAX);
    }
}
