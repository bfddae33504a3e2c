//! What comes from the network: packets are taken in by the batch, and go to the connections that they are of.

use std::time::Instant;

use chalkboard_shared::wire::ServerMessage;
use quinn_proto::{ConnectionEvent, DatagramEvent};

use super::{Arrival, Driver};
use crate::shard::beats::{Heard, Left, NextStep};
use crate::shard::connection::Letter;
use crate::shard::put_off::PutOff;
use crate::shard::socket::Packet;

/// Batches of packets taken in one pass; then what they brought is dealt with.
const BATCHES_PER_PASS: usize = 16;
/// Multiples of it, less their whole part, spread evenly from 0 to 1 however many there are.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;

impl Driver {
    /// Takes in what has come, up to a bound.
    pub(super) fn receive(&mut self, now: Instant) {
        let mut packets = std::mem::take(&mut self.packets);
        for _ in 0..BATCHES_PER_PASS {
            if !self.is_readable {
                break;
            }
            match self.socket.receive(|packet| packets.push(packet)) {
                Ok(has_more) => self.is_readable = has_more,
                Err(error) => {
                    tracing::warn!(%error, "packets can't be received; trying again");
                    self.is_readable = false;
                }
            }
            self.gathered += packets.len() as u32;
            for packet in packets.drain(..) {
                self.take_packet(packet, now);
            }
            self.take_arrivals(now);
        }
        self.packets = packets;
        if !self.is_readable {
            self.emptied = now;
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
        let length = bytes.len();
        let event = self
            .endpoint
            .handle(now, from, to, ecn, bytes, &mut self.buffer);
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                self.arrivals.push(Arrival {
                    slot: handle.0 as u32,
                    event,
                    length,
                });
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.meet(incoming, now),
            Some(DatagramEvent::Response(transmit)) => {
                self.is_send_blocked |= !self.socket.send(&transmit, &self.buffer);
            }
            None => {}
        }
    }

    /// Brings a batch to its connections.
    fn take_arrivals(&mut self, now: Instant) {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        let mut left = arrivals.drain(..);
        while let Some(arrival) = left.next() {
            if let Some(next) = left.as_slice().first()
                && !self.may_wait(next)
            {
                self.foresee(next.slot);
            }
            self.take_arrival(arrival, now);
        }
        drop(left);
        self.arrivals = arrivals;
    }

    fn may_wait(&self, arrival: &Arrival) -> bool {
        let place = &self.slots[arrival.slot as usize];
        place.is_at_ease && place.put_off.takes(arrival.length)
    }

    fn take_arrival(&mut self, arrival: Arrival, now: Instant) {
        let may_wait = self.may_wait(&arrival);
        let Arrival { slot, event, .. } = arrival;
        if !may_wait {
            self.hand_over(slot, event, now);
            return;
        }
        let place = &mut self.slots[slot as usize];
        if place.put_off.is_empty() && !place.is_touched {
            // What would come up before that waits for such a packet.
            let until = Some(now + PutOff::<ConnectionEvent>::WAIT);
            self.deadlines.set(slot, &mut place.armed, until);
        }
        place.put_off.push(event);
    }

    fn hand_over(&mut self, slot: u32, event: ConnectionEvent, now: Instant) {
        let is_listening = self.listening.poll_pause(now).is_some();
        let place = &mut self.slots[slot as usize];
        if let Some(connection) = self.connections[slot as usize].as_deref_mut() {
            let begun = place.is_new().then(Instant::now);
            let spoken = is_listening.then(|| connection.spoken());
            for earlier in place.put_off.take() {
                connection.quic.handle_event(earlier);
            }
            connection.quic.handle_event(event);
            if let Some(begun) = begun {
                self.newcomers.charge(begun.elapsed());
            }
            if spoken.is_some_and(|before| connection.spoken() != before) {
                self.hear_beat(slot, now);
            }
            self.touch(slot);
        }
    }

    /// A connection's peer has said something just now: it may be better said at another moment.
    fn hear_beat(&mut self, slot: u32, now: Instant) {
        let place = &mut self.slots[slot as usize];
        let Some(NextStep {
            at,
            tick: Some(tick),
        }) = place.step
        else {
            return;
        };
        // A step that is late, or was the last for now, takes nothing in time.
        let Some(left) = at.checked_duration_since(now + self.rhythm.lead()) else {
            return;
        };
        let round = self.listening.round();
        if !place.beat.is_new_in(round) {
            return;
        }
        let left = Left {
            at_look: left,
            blur: now.saturating_duration_since(self.emptied),
        };
        let share = (f64::from(slot) * GOLDEN_RATIO).fract();
        let connections = self.admission.load();
        let Some(heard) = place.beat.hear(round, left, tick, connections, share) else {
            return;
        };
        self.listening.note(heard);
        if let Heard::Told(shift_us) = heard {
            let frame = ServerMessage::Beat(shift_us).encode();
            place.letters.push(Letter::Frame(frame));
        }
    }
}
