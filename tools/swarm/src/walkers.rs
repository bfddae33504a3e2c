//! What observers know without having been told: cursors that went on as they had.
//!
//! An update that is left out counts only where the observer had the cursor within a pixel of where the load's formula
//! puts it at that moment. The library says on which ways it was told nothing; whether they were right is found out
//! here.

use std::collections::HashMap;

use chalkboard_client::client::Client;
use chalkboard_client::cursors::Passage;
use chalkboard_shared::BoardPoint;
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::presence::CursorSample;
use chalkboard_shared::workload::Curve;

use crate::clock::age_us;

/// Units of a stamp in a second.
const STAMPS_PER_S: f64 = 100_000.0;

/// Who walks as which client of the load.
#[derive(Debug)]
pub(crate) struct Walkers {
    /// Moves of everybody's cursor a second.
    hz: f64,
    clients: HashMap<u32, u32>,
    may_look: bool,
}

impl Walkers {
    pub(crate) fn new(hz: f64) -> Self {
        Self {
            hz,
            clients: HashMap::new(),
            may_look: true,
        }
    }

    /// Names may be looked up again: once in a while, because that takes as long as there are people.
    pub(crate) const fn may_look_again(&mut self) {
        self.may_look = true;
    }

    /// Updates on a way of which nothing was told, that the observer knew nevertheless. 0 of somebody whose name is not
    /// known.
    pub(crate) fn left_out(&mut self, observer: &Client, passage: &Passage, now_ns: i64) -> u64 {
        let session = passage.session.0;
        if !self.clients.contains_key(&session) && std::mem::take(&mut self.may_look) {
            let people = observer.people().into_iter();
            self.clients = people
                .filter_map(|person| Some((person.session, number(&person.name)?)))
                .collect();
        }
        let Some(&client) = self.clients.get(&session) else {
            return 0;
        };
        let curve = Curve::of(client);
        known(passage, self.hz, |stamp| {
            let made_us = now_ns as f64 / 1000.0 - age_us(stamp, now_ns) as f64;
            // Pointers move from millisecond to millisecond.
            curve.pointer((made_us / 1000.0).round() / 1000.0)
        })
    }
}

/// The number of a client, as its name tells it.
fn number(name: &str) -> Option<u32> {
    name.strip_prefix("client ")?.parse().ok()
}

/// How many updates at this rate, after the first position of the passage and before the one told next, were where the
/// course has them.
fn known(passage: &Passage, hz: f64, at: impl Fn(u32) -> BoardPoint) -> u64 {
    let from = passage.course.from_stamp();
    let length = f64::from(passage.until_stamp.wrapping_sub(from));
    // Half of a period before it is told is another update than that.
    let sent = (1..)
        .map(|n| f64::from(n) / hz * STAMPS_PER_S)
        .take_while(|after| *after < length - STAMPS_PER_S / hz / 2.0)
        // A course ends after some 0.2 s.
        .take(1000);
    let is_known = |after: f64| {
        let stamp = from.wrapping_add(after as u32);
        let cursor = CursorState {
            at: at(stamp),
            tool: CursorTool::Pen,
            pressed: false,
        };
        let now = CursorSample::new(passage.cell, cursor, stamp);
        passage.course.tells(now)
    };
    sent.filter(|after| is_known(*after)).count() as u64
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::SessionId;
    use chalkboard_shared::presence::{CursorGroup, PresenceCell};

    use super::*;

    #[test]
    fn only_what_was_on_its_course_counts() {
        let cell = PresenceCell::at(2, BoardPoint::new(0, 0));
        // 10 px in 50 ms.
        let even = |stamp: u32| BoardPoint::new((stamp / 5000 * 160) as i32, 800);
        let sample = |stamp| {
            let cursor = CursorState {
                at: even(stamp),
                tool: CursorTool::Pen,
                pressed: false,
            };
            CursorSample::new(cell, cursor, stamp)
        };
        let mut group = CursorGroup::new(1, cell, 0, [(SessionId(4), sample(0))]);
        for stamp in [15_000, 30_000] {
            group = group.successor(stamp / 100, &[Some(sample(stamp))], []);
        }
        let passage = |until_stamp| Passage {
            session: SessionId(4),
            cell,
            course: group.cursors()[0].course().expect("it moves evenly"),
            until_stamp,
        };
        // At 35,000 and 40,000; 45,000 was told.
        assert_eq!(known(&passage(45_000), 20.0, even), 2);
        assert_eq!(known(&passage(34_900), 20.0, even), 0);
        let turned = |stamp| if stamp > 36_000 { even(0) } else { even(stamp) };
        assert_eq!(known(&passage(45_000), 20.0, turned), 1);
        // A course has an end.
        assert_eq!(known(&passage(u32::MAX / 4), 20.0, even), 4);
    }

    #[test]
    fn names_of_the_load_are_numbers() {
        assert_eq!(number("client 17"), Some(17));
        assert_eq!(number("Ada"), None);
    }
}
