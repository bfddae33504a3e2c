//! When a client speaks though nothing forces it to: cursor positions, views and pings, each at its own pace.
//!
//! Only the newest cursor and view wait, so none of this is a queue. Times are milliseconds on the caller's clock.

use std::collections::HashSet;

use chalkboard_shared::cursor::CursorState;
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::limits::NAMES_WANTED_MAX;
use chalkboard_shared::presence::{Beat, Pace};
use chalkboard_shared::{BoardRect, SessionId};

/// Cursor positions are at least this far apart, and where no room has told its pace.
const CURSOR_EVERY_MS_MIN: f64 = 16.0;

/// A position that comes so much before the room's pace has it is sent nevertheless: screens and rooms keep time each by
/// themselves, and waiting for the next frame would leave a tick without one.
const CURSOR_EARLY_MS: f64 = 2.0;

/// A cursor that has rested for so long is sent once more, because its last datagram may be lost.
const CURSOR_REPEAT_MS: f64 = 200.0;

/// Views are at least this far apart; the last one is always sent.
const VIEW_EVERY_MS: f64 = 50.0;

/// Questions after names are at least this far apart.
const NAMES_EVERY_MS: f64 = 250.0;

/// Pings are this far apart.
pub(super) const PING_EVERY_MS: f64 = 5000.0;

/// A link on which nothing comes for so long after a ping or a hello is dead.
pub(super) const ANSWER_WAIT_MS: f64 = 10_000.0;

/// The cursor's pace.
#[derive(Debug)]
pub(super) struct CursorPace {
    cursor: Option<CursorState>,
    /// When it came to be there.
    moved_ms: f64,
    sequence: u32,
    sent_ms: f64,
    changed: bool,
    repeat: bool,
    every_ms: f64,
}

/// A cursor to be sent.
#[derive(Debug)]
pub(super) struct CursorDue {
    pub(super) sequence: u32,
    pub(super) moved_ms: f64,
    pub(super) cursor: CursorState,
}

impl CursorPace {
    pub(super) const fn new() -> Self {
        Self {
            cursor: None,
            moved_ms: 0.0,
            sequence: 0,
            sent_ms: f64::NEG_INFINITY,
            changed: false,
            repeat: false,
            every_ms: CURSOR_EVERY_MS_MIN,
        }
    }

    /// The room tells cursors as often as this from now on; what waits already is sent by that as well.
    pub(super) fn set_pace(&mut self, pace: Pace) {
        let interval_ms = f64::from(pace.cursor_interval_us()) / 1000.0;
        self.every_ms = (interval_ms - CURSOR_EARLY_MS).max(CURSOR_EVERY_MS_MIN);
    }

    /// A new session knows nothing of the cursor.
    pub(super) const fn connected(&mut self) {
        self.changed = self.cursor.is_some();
    }

    pub(super) fn set(&mut self, now_ms: f64, cursor: CursorState) {
        if self.cursor != Some(cursor) {
            self.cursor = Some(cursor);
            self.moved_ms = now_ms;
            self.changed = true;
        }
    }

    /// When it is due; infinity for never.
    pub(super) fn next_ms(&self, beat: &Beat) -> f64 {
        if self.changed {
            beat.after_ms(self.sent_ms, self.every_ms)
        } else if self.repeat {
            self.sent_ms + self.every_ms.max(CURSOR_REPEAT_MS)
        } else {
            f64::INFINITY
        }
    }

    /// When it was sent last.
    pub(super) const fn sent_ms(&self) -> f64 {
        self.sent_ms
    }

    pub(super) fn take(&mut self, now_ms: f64, beat: &Beat) -> Option<CursorDue> {
        if now_ms < self.next_ms(beat) {
            return None;
        }
        let cursor = self.cursor?;
        self.repeat = std::mem::take(&mut self.changed);
        self.sent_ms = now_ms;
        self.sequence = self.sequence.wrapping_add(1);
        Some(CursorDue {
            sequence: self.sequence,
            moved_ms: self.moved_ms,
            cursor,
        })
    }
}

/// The pace of ops: the first at once, and then those of a tick together.
#[derive(Debug)]
pub(super) struct OpsPace {
    sent_ms: f64,
}

impl OpsPace {
    pub(super) const fn new() -> Self {
        Self {
            sent_ms: f64::NEG_INFINITY,
        }
    }

    /// When ops that wait are due.
    pub(super) fn next_ms(&self, beat: &Beat) -> f64 {
        beat.after_ms(self.sent_ms, 0.0)
    }

    /// Ops may be sent; those that do not fit into one message follow it at once.
    pub(super) fn is_due(&self, now_ms: f64, beat: &Beat) -> bool {
        now_ms == self.sent_ms || now_ms >= self.next_ms(beat)
    }

    pub(super) const fn sent(&mut self, now_ms: f64) {
        self.sent_ms = now_ms;
    }

    /// When the last were sent.
    pub(super) const fn sent_ms(&self) -> f64 {
        self.sent_ms
    }
}

/// The view's pace.
#[derive(Debug)]
pub(super) struct ViewPace {
    view: BoardRect,
    sent: BoardRect,
    sent_ms: f64,
    changed: bool,
}

impl ViewPace {
    pub(super) const fn new(view: BoardRect) -> Self {
        Self {
            view,
            sent: view,
            sent_ms: f64::NEG_INFINITY,
            changed: false,
        }
    }

    pub(super) fn set(&mut self, view: BoardRect) {
        self.changed |= self.view != view;
        self.view = view;
    }

    pub(super) fn next_ms(&self) -> f64 {
        if self.changed {
            self.sent_ms + VIEW_EVERY_MS
        } else {
            f64::INFINITY
        }
    }

    pub(super) fn is_due(&self, now_ms: f64) -> bool {
        now_ms >= self.next_ms()
    }

    /// The room would have to cover more than it does.
    pub(super) fn is_outside(&self, coverage: Option<Coverage>) -> bool {
        self.changed && coverage.is_none_or(|c| !c.rect().contains_rect(self.view))
    }

    /// The room will cover more than it does, once it has read the last view.
    pub(super) fn is_awaited(&self, coverage: Option<Coverage>) -> bool {
        coverage.is_none_or(|c| !c.rect().contains_rect(self.sent))
    }

    pub(super) fn take(&mut self, now_ms: f64) -> BoardRect {
        self.changed = false;
        self.sent_ms = now_ms;
        self.sent = self.view;
        self.view
    }
}

/// Questions after the names of those whose cursors are seen, where people are too many for all to be told.
#[derive(Debug)]
pub(super) struct NamePace {
    asked: HashSet<SessionId>,
    next_ms: f64,
}

impl Default for NamePace {
    fn default() -> Self {
        Self {
            asked: HashSet::new(),
            next_ms: f64::NEG_INFINITY,
        }
    }
}

impl NamePace {
    /// Of whom to ask now, each once.
    pub(super) fn take(
        &mut self,
        now_ms: f64,
        unknown: impl Iterator<Item = SessionId>,
    ) -> Option<Vec<SessionId>> {
        if now_ms < self.next_ms {
            return None;
        }
        self.next_ms = now_ms + NAMES_EVERY_MS;
        let wanted: Vec<_> = unknown
            .filter(|session| !self.asked.contains(session))
            .take(NAMES_WANTED_MAX)
            .collect();
        if wanted.is_empty() {
            return None;
        }
        self.asked.extend(&wanted);
        Some(wanted)
    }
}

/// Pings, and whether the other side is still there.
#[derive(Debug)]
pub(super) struct LinkPace {
    next_ping_ms: f64,
    /// The last ping: its number and when it was sent.
    ping: Option<(u64, f64)>,
    pings: u64,
    /// Since when an answer is awaited and nothing at all has come.
    waiting_since_ms: f64,
    round_trip_ms: Option<f64>,
}

impl LinkPace {
    pub(super) const fn new() -> Self {
        Self {
            next_ping_ms: f64::INFINITY,
            ping: None,
            pings: 0,
            waiting_since_ms: f64::INFINITY,
            round_trip_ms: None,
        }
    }

    pub(super) const fn connected(&mut self, now_ms: f64) {
        self.next_ping_ms = now_ms + PING_EVERY_MS;
        // The answer to the hello may take as long as a silence is borne at all.
        self.waiting_since_ms = now_ms + PING_EVERY_MS;
    }

    pub(super) const fn heard(&mut self) {
        self.waiting_since_ms = f64::INFINITY;
    }

    pub(super) fn is_dead(&self, now_ms: f64) -> bool {
        now_ms >= self.waiting_since_ms + ANSWER_WAIT_MS
    }

    pub(super) fn next_ms(&self) -> f64 {
        self.next_ping_ms
            .min(self.waiting_since_ms + ANSWER_WAIT_MS)
    }

    pub(super) fn take_ping(&mut self, now_ms: f64) -> Option<u64> {
        if now_ms < self.next_ping_ms {
            return None;
        }
        self.pings += 1;
        self.ping = Some((self.pings, now_ms));
        self.next_ping_ms = now_ms + PING_EVERY_MS;
        self.waiting_since_ms = self.waiting_since_ms.min(now_ms);
        Some(self.pings)
    }

    pub(super) fn pong(&mut self, now_ms: f64, nonce: u64) {
        if let Some((sent, at_ms)) = self.ping
            && sent == nonce
        {
            self.ping = None;
            self.round_trip_ms = Some(now_ms - at_ms);
        }
    }

    pub(super) const fn round_trip_ms(&self) -> Option<f64> {
        self.round_trip_ms
    }
}
