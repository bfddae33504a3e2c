//! A shard's loop: packets in, frames of rooms in, whatever is due; then each connection that was touched sends once.
//!
//! So acknowledgements, stream data and datagrams of a tick share a packet, and everything that one wake has brought is
//! one pass over the connections that it concerns.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chalkboard_shared::reason::DisconnectReason;
use mio::{Events, Interest, Poll, Token};
use quinn_proto::{ConnectionEvent, ConnectionHandle, DatagramEvent, Endpoint, Incoming};

use super::admission::{Admission, Verdict};
use super::connection::{Connection, Context, Stage};
use super::deadlines::Deadlines;
use super::mailbox::{ConnectionKey, Delivery, Mailbox};
use super::socket::{Packet, Socket};

pub(super) const SOCKET: Token = Token(0);
pub(super) const BELL: Token = Token(1);

/// Batches of packets taken in one pass; then what they brought is dealt with.
const BATCHES_PER_PASS: usize = 16;
/// Calls in which a connection sends in one pass; then it is others' turn.
const SENDS_PER_PASS: usize = 8;
/// How soon a connection that its room had no place for tries again: a tick of a fast room.
const STALL_RETRY: Duration = Duration::from_millis(5);
/// How long sessions may take to end when the shard stops.
const STOP_WAIT: Duration = Duration::from_secs(3);
/// How long their connections may take after that.
const STOP_IDLE_WAIT: Duration = Duration::from_secs(1);

/// The loop's state.
pub(super) struct Driver {
    poll: Poll,
    socket: Socket,
    endpoint: Endpoint,
    mailbox: Mailbox,
    context: Context,
    admission: Admission,
    connections: Vec<Option<Box<Connection>>>,
    generations: u32,
    deadlines: Deadlines,
    /// Connections to be looked at in this pass.
    touched: Vec<u32>,
    /// Connections that wait for a place in their room.
    stalled: Vec<u32>,
    /// There may be more packets.
    is_readable: bool,
    /// The system takes no more packets.
    is_send_blocked: bool,
    /// What QUIC writes packets into.
    buffer: Vec<u8>,
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
            connections: Vec::new(),
            generations: 0,
            deadlines: Deadlines::default(),
            touched: Vec::new(),
            stalled: Vec::new(),
            is_readable: true,
            is_send_blocked: false,
            buffer: Vec::new(),
        })
    }

    /// Runs until the shard is asked to stop and its connections have ended.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(16);
        let mut stop: Option<Instant> = None;
        let mut is_closing = false;
        loop {
            let now = Instant::now();
            let wait = self.wait(now, stop);
            if let Err(error) = self.poll.poll(&mut events, wait)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "a shard can't wait for packets and ends; restart the server");
                return;
            }
            for event in &events {
                if event.token() == SOCKET {
                    self.is_readable |= event.is_readable();
                    if event.is_writable() {
                        self.is_send_blocked = false;
                    }
                }
            }
            self.pass(Instant::now());
            if !self.mailbox.is_stopping() {
                continue;
            }
            let now = Instant::now();
            let deadline = *stop.get_or_insert_with(|| {
                // New ones are refused from here on; those that are there have been told by their rooms.
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
        let next = [self.deadlines.next(), stop, retry];
        let next = next.into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    fn pass(&mut self, now: Instant) {
        self.receive(now);
        self.mailbox.answer_bell();
        self.take_answers(now);
        self.take_deliveries(now);
        while let Some(slot) = self.deadlines.pop(now) {
            if let Some(connection) = self.connections[slot as usize].as_deref_mut() {
                connection.armed.came_up();
                connection.come_up(&self.context, now);
            }
            self.touch(slot);
        }
        for slot in std::mem::take(&mut self.stalled) {
            self.touch(slot);
        }
        if self.is_send_blocked || !self.socket.send_kept() {
            self.is_send_blocked = true;
            return;
        }
        let touched = std::mem::take(&mut self.touched);
        let mut left = touched.iter();
        for &slot in left.by_ref() {
            self.drive(slot, now);
            if self.is_send_blocked {
                break;
            }
        }
        // Those that had no turn keep their mark.
        self.touched.extend(left);
    }

    fn receive(&mut self, now: Instant) {
        let mut packets = Vec::new();
        for _ in 0..BATCHES_PER_PASS {
            if !self.is_readable {
                return;
            }
            match self.socket.receive(|packet| packets.push(packet)) {
                Ok(has_more) => self.is_readable = has_more,
                Err(error) => {
                    tracing::warn!(%error, "packets can't be received; trying again");
                    self.is_readable = false;
                }
            }
            for packet in packets.drain(..) {
                self.take_packet(packet, now);
            }
        }
    }

    fn take_packet(&mut self, packet: Packet, now: Instant) {
        self.buffer.clear();
        let Packet {
            from,
            to,
            ecn,
            bytes,
        } = packet;
        let event = self
            .endpoint
            .handle(now, from, to, ecn, bytes, &mut self.buffer);
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                self.hand_over(handle, event);
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.meet(incoming, now),
            Some(DatagramEvent::Response(transmit)) => {
                self.is_send_blocked |= !self.socket.send(&transmit, &self.buffer);
            }
            None => {}
        }
    }

    fn hand_over(&mut self, handle: ConnectionHandle, event: ConnectionEvent) {
        let slot = handle.0 as u32;
        if let Some(connection) = self.connections[handle.0].as_deref_mut() {
            connection.quic.handle_event(event);
            self.touch(slot);
        }
    }

    /// Decides about a newcomer, and begins the handshake.
    fn meet(&mut self, incoming: Incoming, now: Instant) {
        let counters = &self.context.reception.counters;
        let address = incoming.remote_address().ip();
        let is_proven = incoming.remote_address_validated() || !incoming.may_retry();
        self.buffer.clear();
        let answer = match self.admission.judge(address, is_proven) {
            Verdict::Prove => {
                counters.quic_retries.increment();
                // Only an address that was proven can't be asked to be.
                self.endpoint.retry(incoming, &mut self.buffer).ok()
            }
            Verdict::Refuse => {
                counters.quic_refusals.increment();
                Some(self.endpoint.refuse(incoming, &mut self.buffer))
            }
            Verdict::Accept => match self.endpoint.accept(incoming, now, &mut self.buffer, None) {
                Ok((handle, quic)) => {
                    self.admission.enter(address);
                    self.settle_in(handle, quic, now);
                    None
                }
                Err(error) => {
                    counters.quic_refusals.increment();
                    error.response
                }
            },
        };
        if let Some(transmit) = answer {
            self.is_send_blocked |= !self.socket.send(&transmit, &self.buffer);
        }
    }

    fn settle_in(&mut self, handle: ConnectionHandle, quic: quinn_proto::Connection, now: Instant) {
        if self.connections.len() <= handle.0 {
            self.connections.resize_with(handle.0 + 1, || None);
        }
        self.generations = self.generations.wrapping_add(1);
        let key = ConnectionKey {
            slot: handle.0 as u32,
            generation: self.generations,
        };
        self.connections[handle.0] = Some(Box::new(Connection::new(quic, key, now)));
        self.touch(key.slot);
    }

    fn take_answers(&mut self, now: Instant) {
        while let Ok(answer) = self.mailbox.answers.try_recv() {
            if let Some(connection) = find(&mut self.connections, answer.key) {
                connection.answered(answer.joined, now);
                self.touch(answer.key.slot);
            }
        }
    }

    fn take_deliveries(&mut self, now: Instant) {
        // As many as wait now: who puts in more meanwhile does not keep the others from being sent.
        for _ in 0..self.mailbox.deliveries.len() {
            let Ok(delivery) = self.mailbox.deliveries.try_recv() else {
                return;
            };
            self.deliver(&delivery, now);
        }
    }

    fn deliver(&mut self, delivery: &Delivery, now: Instant) {
        for parcel in &delivery.parcels {
            for &key in parcel.to.as_slice() {
                if let Some(connection) = find(&mut self.connections, key) {
                    connection.post(&parcel.frame, parcel.reliable, &self.context, now);
                    touch(&mut self.touched, connection);
                }
            }
        }
        for &(key, reason) in &delivery.closes {
            if let Some(connection) = find(&mut self.connections, key) {
                connection.end(reason, now);
                touch(&mut self.touched, connection);
            }
        }
    }

    fn touch(&mut self, slot: u32) {
        if let Some(connection) = self.connections[slot as usize].as_deref_mut() {
            touch(&mut self.touched, connection);
        }
    }

    /// Lets a connection deal with what has happened to it, and sends what it has to send.
    fn drive(&mut self, slot: u32, now: Instant) {
        let Some(connection) = self.connections[slot as usize].as_deref_mut() else {
            return;
        };
        connection.is_touched = false;
        let handle = ConnectionHandle(slot as usize);
        let before = connection.stage();
        connection.drive(&self.context, now);
        let mut is_drained = false;
        while let Some(event) = connection.quic.poll_endpoint_events() {
            is_drained |= event.is_drained();
            if let Some(event) = self.endpoint.handle_event(handle, event) {
                connection.quic.handle_event(event);
            }
        }
        let after = connection.stage();
        if before == Stage::Handshake && after != Stage::Handshake {
            self.admission.settle();
        }
        if before != Stage::Closed && after == Stage::Closed {
            self.admission.leave(connection.peer.ip());
        }
        if is_drained {
            self.deadlines.clear(slot, &mut connection.armed);
            self.connections[slot as usize] = None;
            return;
        }
        let segments = self.socket.segments_max();
        let mut sends = 0;
        loop {
            if sends == SENDS_PER_PASS {
                touch(&mut self.touched, connection);
                break;
            }
            self.buffer.clear();
            let Some(transmit) = connection
                .quic
                .poll_transmit(now, segments, &mut self.buffer)
            else {
                break;
            };
            sends += 1;
            if !self.socket.send(&transmit, &self.buffer) {
                self.is_send_blocked = true;
                touch(&mut self.touched, connection);
                break;
            }
        }
        if connection.is_stalled() {
            self.stalled.push(slot);
        } else if connection.has_more() {
            touch(&mut self.touched, connection);
        }
        let deadline = connection.deadline();
        self.deadlines.set(slot, &mut connection.armed, deadline);
    }

    fn close_all(&mut self, now: Instant) {
        for connection in self.connections.iter_mut().flatten() {
            if connection.stage() != Stage::Closed {
                if connection.stage() == Stage::Handshake {
                    self.admission.settle();
                }
                self.admission.leave(connection.peer.ip());
                connection.stop(DisconnectReason::Stopping, now);
                touch(&mut self.touched, connection);
            }
        }
    }
}

/// A connection that still is the one that was meant.
fn find(
    connections: &mut [Option<Box<Connection>>],
    key: ConnectionKey,
) -> Option<&mut Connection> {
    let connection = connections.get_mut(key.slot as usize)?.as_deref_mut()?;
    (connection.key == key).then_some(connection)
}

fn touch(touched: &mut Vec<u32>, connection: &mut Connection) {
    if !connection.is_touched {
        connection.is_touched = true;
        touched.push(connection.key.slot);
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
