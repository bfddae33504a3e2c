//! A shard's loop: packets in, frames of rooms in, whatever is due; then each connection that was touched sends once.
//!
//! So acknowledgements, stream data and datagrams of a tick share a packet, and everything that one wake has brought is
//! one pass over the connections that it concerns.

mod entrance;
mod letters;
mod packets;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chalkboard_shared::reason::DisconnectReason;
use mio::{Events, Interest, Poll, Token};
use quinn_proto::{ConnectionEvent, ConnectionHandle, Endpoint, Incoming};

use super::admission::Admission;
use super::beats::{Beat, Listening, NextStep};
use super::connection::{Connection, Context, Letter, Stage};
use super::deadlines::{Armed, Deadlines};
use super::foresight::foresee;
use super::mailbox::Mailbox;
use super::newcomers::Newcomers;
use super::put_off::PutOff;
use super::rhythm::Rhythm;
use super::socket::{Packet, Socket};

pub(super) const SOCKET: Token = Token(0);
pub(super) const BELL: Token = Token(1);

/// Connections that are driven in a pass between two looks at the network.
const DRIVEN_PER_RECEIVE: u32 = 256;
/// A packet with more room than that left holds all that there was to say. Only what must have a packet of its own would come
/// after it, which is asked for each time out of so many: QUIC tries larger packets like that.
const FULL_PACKET_BYTES_MIN: usize = 1000;
const ASKED_EACH: u8 = 16;
/// Calls in which a connection sends in one pass; then it is others' turn.
const SENDS_PER_PASS: usize = 8;
/// How soon a connection that its room had no place for tries again: a tick of a fast room.
const STALL_RETRY: Duration = Duration::from_millis(5);
/// How long sessions may take to end when the shard stops.
const STOP_WAIT: Duration = Duration::from_secs(3);
/// How long their connections may take after that.
const STOP_IDLE_WAIT: Duration = Duration::from_secs(1);

/// A place for a connection.
#[derive(Default)]
struct Slot {
    /// Of the connection that is there, or was.
    generation: u32,
    is_taken: bool,
    /// As far as it was taken note of.
    stage: Option<Stage>,
    /// It is among those that are looked at in this pass.
    is_touched: bool,
    /// Its peer waits for answers.
    is_pressing: bool,
    /// Nobody waits for anything, and everything gets there.
    is_at_ease: bool,
    /// Counts the packets after which nothing was asked for.
    unasked: u8,
    /// What has come for it and is not worth a look.
    put_off: PutOff<ConnectionEvent>,
    /// What its room has for it in this pass.
    letters: Vec<Letter>,
    armed: Armed,
    /// When its room takes what it sends.
    step: Option<NextStep>,
    beat: Beat,
}

impl Slot {
    /// Who is there is still about the handshake.
    fn is_new(&self) -> bool {
        self.stage == Some(Stage::Handshake)
    }

    /// What QUIC has just given is taken for all that it has to say.
    fn says_all(&mut self) -> bool {
        self.unasked = (self.unasked + 1) % ASKED_EACH;
        self.unasked != 0
    }
}

/// The loop's state.
pub(super) struct Driver {
    poll: Poll,
    socket: Socket,
    endpoint: Endpoint,
    mailbox: Mailbox,
    context: Context,
    admission: Admission,
    newcomers: Newcomers<Incoming>,
    connections: Vec<Option<Box<Connection>>>,
    /// What can be said of those places without looking at the connection, which is large and rarely in the cache.
    slots: Vec<Slot>,
    generations: u32,
    deadlines: Deadlines,
    rhythm: Rhythm,
    listening: Listening,
    /// When connections were driven last.
    passed: Instant,
    /// Connections whose peers wait for answers.
    pressing: usize,
    /// When the network had nothing more last: what comes now has come since.
    emptied: Instant,
    /// Packets since the last look, with those taken in between.
    gathered: u32,
    /// Connections to be looked at in this pass.
    touched: Vec<u32>,
    /// How many of those have been heard.
    heard: usize,
    /// When the oldest delivery of this pass was made.
    delivered: Option<Instant>,
    /// Connections that wait for a place in their room.
    stalled: Vec<u32>,
    /// There may be more packets.
    is_readable: bool,
    /// The system takes no more packets.
    is_send_blocked: bool,
    /// What QUIC writes packets into.
    buffer: Vec<u8>,
    /// A batch that has come; empty between passes, as the next one is.
    packets: Vec<Packet>,
    arrivals: Vec<Arrival>,
    driven: Vec<u32>,
}

/// A packet that is a connection's.
struct Arrival {
    slot: u32,
    event: ConnectionEvent,
    /// Bytes of the packet.
    length: usize,
}

impl Driver {
    /// A loop over a bound socket.
    pub(super) fn new(
        poll: Poll,
        mut socket: Socket,
        endpoint: Endpoint,
        mailbox: Mailbox,
        context: Context,
        admission: Admission,
    ) -> io::Result<Self> {
        poll.registry().register(
            socket.source(),
            SOCKET,
            Interest::READABLE | Interest::WRITABLE,
        )?;
        Ok(Self {
            poll,
            socket,
            endpoint,
            mailbox,
            context,
            admission,
            newcomers: Newcomers::new(Instant::now()),
            connections: Vec::new(),
            slots: Vec::new(),
            generations: 0,
            deadlines: Deadlines::default(),
            rhythm: Rhythm::new(Instant::now()),
            listening: Listening::new(Instant::now()),
            passed: Instant::now(),
            pressing: 0,
            emptied: Instant::now(),
            gathered: 0,
            touched: Vec::new(),
            heard: 0,
            delivered: None,
            stalled: Vec::new(),
            is_readable: true,
            is_send_blocked: false,
            buffer: Vec::new(),
            packets: Vec::new(),
            arrivals: Vec::new(),
            driven: Vec::new(),
        })
    }

    /// Runs until the shard is asked to stop and its connections have ended.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(16);
        let mut stop: Option<Instant> = None;
        let mut is_closing = false;
        loop {
            // While rooms go in steps it is known when to look; what wakes a shard otherwise would be a wake more.
            if self.is_send_blocked || self.mailbox.is_stopping() || !self.rhythm.is_going() {
                let wait = self.wait(Instant::now(), stop);
                if let Err(error) = self.poll.poll(&mut events, wait)
                    && error.kind() != io::ErrorKind::Interrupted
                {
                    tracing::error!(%error, "a shard can't wait for packets and ends; restart the server");
                    return;
                }
                for event in &events {
                    if event.token() == SOCKET && event.is_writable() {
                        self.is_send_blocked = false;
                    }
                }
            }
            let is_asked = self.rest();
            let now = Instant::now();
            // Whatever the poll knows of: more may have come while the shard rested.
            self.is_readable = true;
            self.receive(now);
            self.rhythm.look(now, std::mem::take(&mut self.gathered));
            self.rhythm.expect_connections(self.admission.load());
            if self.is_pressed() {
                self.pass(now);
            } else if is_asked || self.rhythm.is_step_near() {
                self.hear(0, now);
            } else if self.is_only_listening(now) {
                self.hear(self.heard, now);
            } else {
                self.pass(now);
            }
            self.mailbox.note_heard(now);
            if !self.mailbox.is_stopping() {
                continue;
            }
            let now = Instant::now();
            let deadline = *stop.get_or_insert_with(|| {
                // New ones are refused from here on; those that are there have been told by their rooms.
                self.turn_away();
                self.endpoint.set_server_config(None);
                now + STOP_WAIT
            });
            let is_over = now >= deadline;
            if !is_closing && (is_over || self.admission.load() == 0) {
                if self.admission.load() > 0 {
                    tracing::debug!("some sessions did not end in time and are cut off");
                }
                is_closing = true;
                stop = Some(now + STOP_IDLE_WAIT);
                self.close_all(now);
                self.pass(now);
            } else if is_closing && (is_over || self.endpoint.open_connections() == 0) {
                return;
            }
        }
    }

    /// How long to wait for something to happen.
    fn wait(&self, now: Instant, stop: Option<Instant>) -> Option<Duration> {
        let is_busy = self.is_readable || (!self.touched.is_empty() && !self.is_send_blocked);
        if is_busy {
            return Some(Duration::ZERO);
        }
        let retry = (!self.stalled.is_empty()).then(|| now + STALL_RETRY);
        let next = [self.deadlines.next(), self.newcomers.due(), stop, retry];
        let next = next.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    /// Lets packets gather since the network was last looked at, and sends what rooms have meanwhile. `true` if a room asks
    /// to have what has come.
    fn rest(&mut self) -> bool {
        loop {
            let now = Instant::now();
            let mut look = self.rhythm.next_look(self.is_pressed());
            if let Some(pause) = self.listening.poll_pause(now) {
                look = look.min(self.rhythm.looked() + pause);
            }
            let left = look.saturating_duration_since(now);
            if self.mailbox.takes_request_to_look() {
                return true;
            }
            if left.is_zero() || self.is_send_blocked || self.mailbox.is_stopping() {
                return false;
            }
            let due = self.deadlines.next();
            let heard = (!self.touched.is_empty()).then(|| self.rhythm.heard_until());
            let first = [due, heard].into_iter().flatten().min();
            let until_first = first.map_or(left, |at| at.saturating_duration_since(now));
            self.mailbox.rest(left.min(until_first));
            let now = Instant::now();
            let is_due = first.is_some_and(|at| at <= now) || !self.stalled.is_empty();
            if is_due || self.mailbox.is_rung() {
                self.pass(now);
            }
        }
    }

    /// What has come is no reason to send: it was looked for only to know when it comes.
    fn is_only_listening(&mut self, now: Instant) -> bool {
        self.listening.poll_pause(now).is_some() && now < self.passed + Rhythm::PAUSE_MAX
    }

    /// Somebody waits for answers.
    fn is_pressed(&self) -> bool {
        self.pressing > 0 || self.newcomers.len() > 0
    }

    /// Brings rooms what has come from those who were touched, but the first `skipped`. What is to be said to that goes out
    /// with what the step that follows has for everybody.
    fn hear(&mut self, skipped: usize, now: Instant) {
        for &slot in &self.touched[skipped..] {
            if let Some(connection) = self.connections[slot as usize].as_deref_mut() {
                connection.hear(&self.context, now);
            }
        }
        self.heard = self.touched.len();
    }

    /// Takes what rooms have and what is due, and lets every connection that this concerns send once.
    fn pass(&mut self, mut now: Instant) {
        self.mailbox.answer_bell();
        self.passed = now;
        if self.is_send_blocked || !self.socket.send_kept() {
            // What rooms have waits where it is bounded.
            self.is_send_blocked = true;
            return;
        }
        self.take_answers(now);
        self.take_deliveries();
        self.let_in(now);
        while let Some(slot) = self.deadlines.pop(now) {
            self.slots[slot as usize].armed.came_up();
            self.touch(slot);
        }
        while let Some(slot) = self.stalled.pop() {
            self.touch(slot);
        }
        let mut driven = std::mem::take(&mut self.driven);
        std::mem::swap(&mut driven, &mut self.touched);
        self.heard = 0;
        let mut left = driven.iter();
        let mut since_received = 0;
        while let Some(&slot) = left.next() {
            if let Some(&next) = left.as_slice().first() {
                self.foresee(next);
            }
            self.drive(slot, now);
            since_received += 1;
            if since_received == DRIVEN_PER_RECEIVE {
                // The answers to what a full room is sent come while it still is sent, and must not overflow.
                since_received = 0;
                self.is_readable = true;
                now = Instant::now();
                self.receive(now);
                // A room does not wait for what it has been sent to be with everybody.
                self.hear(self.heard, now);
                self.mailbox.note_heard(now);
            }
            if self.is_send_blocked {
                break;
            }
        }
        // Those that had no turn keep their mark.
        self.touched.extend(left);
        driven.clear();
        self.driven = driven;
        if !self.is_send_blocked
            && let Some(made) = self.delivered.take()
        {
            self.mailbox.note_delay(made.elapsed());
        }
    }

    /// A connection will be looked at next.
    fn foresee(&self, slot: u32) {
        if let Some(connection) = self.connections[slot as usize].as_deref() {
            foresee(connection);
        }
    }

    fn touch(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        if place.is_taken && !place.is_touched {
            place.is_touched = true;
            self.touched.push(slot);
        }
    }

    /// Lets a connection deal with what has happened to it, and sends what it has to send.
    fn drive(&mut self, slot: u32, now: Instant) {
        let place = &mut self.slots[slot as usize];
        place.is_touched = false;
        let Some(connection) = self.connections[slot as usize].as_deref_mut() else {
            return;
        };
        let handle = ConnectionHandle(slot as usize);
        let begun = place.is_new().then(Instant::now);
        for event in place.put_off.take() {
            connection.quic.handle_event(event);
        }
        for letter in place.letters.drain(..) {
            connection.post(letter, &self.context, now);
        }
        connection.drive(&self.context, now);
        let mut is_drained = false;
        while let Some(event) = connection.quic.poll_endpoint_events() {
            is_drained |= event.is_drained();
            if let Some(event) = self.endpoint.handle_event(handle, event) {
                connection.quic.handle_event(event);
            }
        }
        let after = connection.stage();
        let before = place.stage.replace(after);
        let is_pressing = connection.is_pressing() && !is_drained;
        self.pressing += usize::from(is_pressing);
        self.pressing -= usize::from(std::mem::replace(&mut place.is_pressing, is_pressing));
        if before == Some(Stage::Handshake) && after != Stage::Handshake {
            self.admission.settle();
        }
        if before != Some(Stage::Closed) && after == Stage::Closed {
            self.admission.leave(connection.peer.ip());
        }
        if is_drained {
            self.deadlines.clear(slot, &mut place.armed);
            place.is_taken = false;
            place.is_at_ease = false;
            place.letters = Vec::new();
            self.connections[slot as usize] = None;
            return;
        }
        let segments = self.socket.segments_max();
        let mut packets = 0;
        let mut is_cut_short = true;
        for _ in 0..SENDS_PER_PASS {
            self.buffer.clear();
            let transmit = connection
                .quic
                .poll_transmit(now, segments, &mut self.buffer);
            let Some(transmit) = transmit else {
                is_cut_short = false;
                break;
            };
            let segment = transmit.segment_size.unwrap_or(transmit.size).max(1);
            packets += transmit.size.div_ceil(segment);
            if !self.socket.send(&transmit, &self.buffer) {
                self.is_send_blocked = true;
                break;
            }
            if place.is_at_ease && transmit.size < FULL_PACKET_BYTES_MIN && place.says_all() {
                is_cut_short = false;
                break;
            }
        }
        if let Some(begun) = begun {
            self.newcomers.charge(begun.elapsed());
        }
        let deadline = connection.deadline(packets, now);
        self.deadlines.set(slot, &mut place.armed, deadline);
        place.is_at_ease = !is_pressing && !self.is_send_blocked && connection.is_at_ease();
        if connection.is_stalled() {
            self.stalled.push(slot);
        } else if is_cut_short || connection.has_more() {
            self.touch(slot);
        }
    }

    fn close_all(&mut self, now: Instant) {
        for slot in 0..self.connections.len() {
            let Some(connection) = self.connections[slot].as_deref_mut() else {
                continue;
            };
            // What a connection has become meanwhile is taken note of when it is driven.
            if self.slots[slot].stage == Some(Stage::Closed) {
                continue;
            }
            if self.slots[slot].stage == Some(Stage::Handshake) {
                self.admission.settle();
            }
            self.admission.leave(connection.peer.ip());
            connection.stop(DisconnectReason::Stopping, now);
            self.slots[slot].stage = Some(Stage::Closed);
            self.touch(slot as u32);
        }
    }
}

/// An endpoint for a socket.
pub(super) fn endpoint(
    socket: &Socket,
    config: quinn_proto::EndpointConfig,
    server: quinn_proto::ServerConfig,
) -> Endpoint {
    Endpoint::new(
        Arc::new(config),
        Some(Arc::new(server)),
        !socket.may_fragment(),
        None,
    )
}
