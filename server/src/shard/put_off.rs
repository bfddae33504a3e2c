//! What has come for a connection and need not be looked at before there is another reason to look at it.
//!
//! A connection is kilobytes that with thousands of them are in no cache, and half of all packets only tell what has arrived. So
//! those wait, in order, until their connection has something to do anyway: mostly to send the next tick's frames.

use std::time::Duration;

/// A packet so short hardly says more than what has arrived: a head, an acknowledgement, a seal.
const SHORT_BYTES_MAX: usize = 37;
/// How many wait at the most.
const WAITING_MAX: usize = 4;

/// The packets that wait for one connection.
#[derive(Debug)]
pub(super) struct PutOff<T>(Vec<T>);

impl<T> Default for PutOff<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> PutOff<T> {
    /// How long one may wait: a tick of a large room and a part. It may say that its peer has gone.
    pub(super) const WAIT: Duration = Duration::from_millis(120);

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A packet of so many bytes may wait: it hardly says anything, and there is a place for it.
    pub(super) fn takes(&self, bytes: usize) -> bool {
        bytes <= SHORT_BYTES_MAX && self.0.len() < WAITING_MAX
    }

    /// Has such a packet wait.
    pub(super) fn push(&mut self, packet: T) {
        self.0.push(packet);
    }

    /// What has waited, in order; nothing does any more.
    pub(super) fn take(&mut self) -> impl Iterator<Item = T> {
        self.0.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_waits_in_order_and_not_without_bound() {
        let mut waiting = PutOff::default();
        for n in 0..WAITING_MAX {
            assert!(waiting.takes(SHORT_BYTES_MAX));
            waiting.push(n);
        }
        assert!(!waiting.takes(SHORT_BYTES_MAX), "enough wait");
        assert!(waiting.take().eq(0..WAITING_MAX));
        assert!(waiting.is_empty());
        assert!(!waiting.takes(SHORT_BYTES_MAX + 1), "says more");
        assert!(waiting.is_empty());
    }
}
