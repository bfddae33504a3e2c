//! When which connection is to be looked at again, if nothing happens before.
//!
//! A connection's deadline moves with nearly every packet. Moving it here costs less than looking at a connection for
//! nothing: that one is large and not in the cache.

use std::collections::BTreeSet;
use std::time::Instant;

/// Deadlines, one for each place at the most.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    order: BTreeSet<(Instant, u32)>,
}

/// A place's own note of when it comes up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Armed(Option<Instant>);

impl Deadlines {
    /// Has the place come up at that time, or not at all.
    pub(super) fn set(&mut self, slot: u32, armed: &mut Armed, at: Option<Instant>) {
        if armed.0 == at {
            return;
        }
        self.clear(slot, armed);
        if let Some(at) = at {
            self.order.insert((at, slot));
            armed.0 = Some(at);
        }
    }

    /// Has the place come up no more.
    pub(super) fn clear(&mut self, slot: u32, armed: &mut Armed) {
        if let Some(at) = armed.0.take() {
            self.order.remove(&(at, slot));
        }
    }

    /// When the first one comes up.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// A place that has come up; its own note is to be [taken back](Armed::came_up).
    pub(super) fn pop(&mut self, now: Instant) -> Option<u32> {
        let first = *self.order.first()?;
        if first.0 > now {
            return None;
        }
        self.order.remove(&first);
        Some(first.1)
    }
}

impl Armed {
    /// It has come up.
    pub(super) fn came_up(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_place_comes_up_once_and_when_it_was_last_set() {
        let start = Instant::now();
        let at = |ms| Some(start + Duration::from_millis(ms));
        let mut deadlines = Deadlines::default();
        let mut armed = [Armed::default(); 3];
        deadlines.set(0, &mut armed[0], at(50));
        deadlines.set(1, &mut armed[1], at(20));
        deadlines.set(0, &mut armed[0], at(10));
        deadlines.set(1, &mut armed[1], at(90));
        deadlines.set(2, &mut armed[2], at(15));
        deadlines.set(2, &mut armed[2], None);
        assert_eq!(deadlines.next(), at(10));
        let late = start + Duration::from_millis(100);
        let mut came = Vec::new();
        while let Some(slot) = deadlines.pop(late) {
            armed[slot as usize].came_up();
            came.push(slot);
        }
        assert_eq!(came, [0, 1]);
        assert_eq!(armed, [Armed::default(); 3]);
        deadlines.set(1, &mut armed[1], at(200));
        assert_eq!(deadlines.pop(late), None, "not yet");
    }
}
