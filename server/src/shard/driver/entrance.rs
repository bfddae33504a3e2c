//! Newcomers: who may try, whose turn it is, and the place that a connection gets.

use std::time::Instant;

use quinn_proto::{ConnectionHandle, Incoming};

use super::{Driver, Slot};
use crate::shard::admission::Verdict;
use crate::shard::connection::{Connection, Stage};
use crate::shard::mailbox::ConnectionKey;
use crate::shard::newcomers::Next;

impl Driver {
    /// Decides about a newcomer, who then waits until it is their turn.
    pub(super) fn meet(&mut self, incoming: Incoming, now: Instant) {
        let counters = &self.context.reception.counters;
        let address = incoming.remote_address().ip();
        let is_proven = incoming.remote_address_validated() || !incoming.may_retry();
        self.buffer.clear();
        let answer = match self
            .admission
            .judge(address, is_proven, self.newcomers.len())
        {
            Verdict::Prove => {
                counters.quic_retries.increment();
                // Only an address that was proven can't be asked to be.
                self.endpoint.retry(incoming, &mut self.buffer).ok()
            }
            Verdict::Refuse => {
                counters.quic_refusals.increment();
                Some(self.endpoint.refuse(incoming, &mut self.buffer))
            }
            Verdict::Accept => {
                self.newcomers.push(incoming, now);
                None
            }
        };
        if let Some(transmit) = answer {
            self.is_send_blocked |= !self.socket.send(&transmit, &self.buffer);
        }
    }

    /// Begins the handshakes that there is time for.
    pub(super) fn let_in(&mut self, now: Instant) {
        let mut begun = now;
        while let Some(next) = self.newcomers.next(begun) {
            match next {
                Next::Begin(incoming) => self.begin(incoming, now),
                Next::Late(incoming) => self.endpoint.ignore(incoming),
            }
            let ended = Instant::now();
            self.newcomers.charge(ended - begun);
            begun = ended;
        }
    }

    fn begin(&mut self, incoming: Incoming, now: Instant) {
        let address = incoming.remote_address().ip();
        self.buffer.clear();
        match self.endpoint.accept(incoming, now, &mut self.buffer, None) {
            Ok((handle, quic)) => {
                self.admission.enter(address);
                self.settle_in(handle, quic, now);
            }
            Err(error) => {
                let counters = &self.context.reception.counters;
                counters.quic_refusals.increment();
                if let Some(transmit) = error.response {
                    self.is_send_blocked |= !self.socket.send(&transmit, &self.buffer);
                }
            }
        }
    }

    /// Refuses all who wait.
    pub(super) fn turn_away(&mut self) {
        for incoming in self.newcomers.take_all() {
            self.buffer.clear();
            let transmit = self.endpoint.refuse(incoming, &mut self.buffer);
            self.is_send_blocked |= !self.socket.send(&transmit, &self.buffer);
        }
    }

    fn settle_in(&mut self, handle: ConnectionHandle, quic: quinn_proto::Connection, now: Instant) {
        if self.connections.len() <= handle.0 {
            self.connections.resize_with(handle.0 + 1, || None);
            self.slots.resize_with(handle.0 + 1, Slot::default);
        }
        self.generations = self.generations.wrapping_add(1);
        let key = ConnectionKey {
            slot: handle.0 as u32,
            generation: self.generations,
        };
        self.connections[handle.0] = Some(Box::new(Connection::new(quic, key, now)));
        self.slots[handle.0] = Slot {
            generation: key.generation,
            is_taken: true,
            stage: Some(Stage::Handshake),
            ..Slot::default()
        };
        self.touch(key.slot);
    }
}
