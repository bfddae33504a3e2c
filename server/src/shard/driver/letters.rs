//! What comes from rooms: answers to those who want to join, and what each connection is to be sent.

use std::sync::Arc;
use std::time::Instant;

use chalkboard_shared::wire::ServerMessage;

use super::Driver;
use crate::shard::beats::NextStep;
use crate::shard::bundle::Bundle;
use crate::shard::connection::Letter;
use crate::shard::mailbox::{Addressees, ConnectionKey, Delivery};

impl Driver {
    /// Tells those who want to join what has become of it.
    pub(super) fn take_answers(&mut self, now: Instant) {
        while let Ok(answer) = self.mailbox.answers.try_recv() {
            let slot = answer.key.slot as usize;
            if self.slots[slot].generation == answer.key.generation
                && let Some(connection) = self.connections[slot].as_deref_mut()
            {
                connection.answered(answer.joined, now);
                self.touch(answer.key.slot);
            }
        }
    }

    /// Takes what rooms have put in.
    pub(super) fn take_deliveries(&mut self) {
        // As many as wait now: who puts in more meanwhile does not keep the others from being sent.
        for _ in 0..self.mailbox.deliveries.len() {
            let Ok(delivery) = self.mailbox.deliveries.try_recv() else {
                return;
            };
            self.delivered = self.delivered.or(delivery.made);
            if let Some(step) = delivery.next_step {
                self.rhythm.expect_step(step.at);
                self.listening.expect(step);
            }
            self.deliver(&delivery);
        }
    }

    /// Lays out what is for each connection.
    fn deliver(&mut self, delivery: &Delivery) {
        let mut parcels = delivery.parcels.iter().peekable();
        while let Some(parcel) = parcels.next() {
            match &parcel.to {
                Addressees::One(key) if parcel.reliable => {
                    let frame = parcel.frame.clone();
                    self.lay(*key, Letter::Frame(frame), delivery.next_step);
                }
                Addressees::One(key) => {
                    let frame = parcel.frame.clone();
                    self.lay(*key, Letter::Fragment(frame), delivery.next_step);
                }
                Addressees::Many(keys) => {
                    let others =
                        std::iter::from_fn(|| parcels.next_if(|next| next.to.is_list(keys)));
                    let bundle = Arc::new(Bundle::of(std::iter::once(parcel).chain(others)));
                    for &key in keys.iter() {
                        self.lay(key, Letter::Bundle(bundle.clone()), delivery.next_step);
                    }
                }
            }
        }
        for &(key, reason) in &delivery.closes {
            self.lay(key, Letter::Close(reason), None);
        }
    }

    fn lay(&mut self, key: ConnectionKey, letter: Letter, next_step: Option<NextStep>) {
        let slot = &mut self.slots[key.slot as usize];
        // Another's by now, or nobody's.
        if slot.generation == key.generation && slot.is_taken {
            slot.letters.push(letter);
            slot.step = next_step;
            if next_step.is_some_and(|step| step.tick.is_none())
                && let Some(word) = slot.beat.let_off()
            {
                let frame = ServerMessage::Beat(word).encode();
                slot.letters.push(Letter::Frame(frame));
            }
            self.touch(key.slot);
        }
    }
}
