//! A group of cursors as it is told: what its receivers know, and what has happened since.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chalkboard_shared::SessionId;
use chalkboard_shared::limits::DATAGRAM_FRAME_BYTES_MAX;
use chalkboard_shared::presence::{
    CursorGroup, CursorSample, GROUP_CURSORS_MAX, PresenceCell, PresenceStage,
};
use chalkboard_shared::wire::ServerMessage;

use crate::output::Output;

/// Time between keyframes while cursors move, in milliseconds: short enough that extrapolation from one to the next is
/// next to right, long enough that few are lost.
const KEYFRAME_INTERVAL_MS: u32 = 160;
/// The same while cursors come and go, who are told by keyframes alone.
const KEYFRAME_INTERVAL_CHANGED_MS: u32 = 60;
/// The same where keyframes are all that is told.
const SLOW_INTERVAL_MS: u32 = 250;
const SPARSE_INTERVAL_MS: u32 = 1000;
/// The same where every position is told and none is left to a course.
pub(super) const EXACT_INTERVAL_MS: u32 = KEYFRAME_INTERVAL_MS + 1;
/// Keyframes after the last change: who has missed the ones before sees by them that it has.
const REPEATS: u8 = 2;
/// How much later than its sender's pace an update may be before the cursor is taken to rest, in milliseconds: what
/// clients allow for on the way, too.
const LATE_MS: u32 = 20;
/// The slowest pace of a sender that is taken for one.
const PACE_MS_MAX: u32 = 100;
/// Units of a stamp in a millisecond.
const STAMPS_PER_MS: u32 = 100;
/// Bytes of the kind in front of a body.
const KIND_BYTES: usize = 1;

/// At most [`GROUP_CURSORS_MAX`] cursors.
#[derive(Debug)]
pub(super) struct Group {
    keyframe: CursorGroup,
    slots: Vec<Slot>,
    /// Slots whose cursors are elsewhere than was told.
    moved: Vec<u16>,
    /// Slots whose cursors go on from the keyframe, as far as those know who receive it.
    going: Vec<u16>,
    /// Not in the keyframe yet.
    coming: BTreeMap<SessionId, CursorSample>,
    has_gone: bool,
    is_new: bool,
    /// Keyframes that are still to be sent though nothing changes.
    repeats: u8,
}

/// A cursor of the keyframe.
#[derive(Debug)]
struct Slot {
    /// As those know it who have lost nothing.
    told: CursorSample,
    /// `None` if it has gone.
    now: Option<CursorSample>,
    /// It is among the moved.
    is_listed: bool,
    known: Known,
    /// When the last update came, by the room's clock, to the tick. Kept of cursors that go on.
    heard_ms: u32,
    /// Time between the last two updates, by the sender's clock, in milliseconds.
    pace_ms: u32,
}

/// What those who receive a cursor hold of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// It is where it was told.
    Told,
    /// It goes on from the keyframe.
    Going,
    /// It goes on from the keyframe, but has come to rest.
    Astray,
}

impl Slot {
    const fn new(told: CursorSample) -> Self {
        Self {
            told,
            now: Some(told),
            is_listed: false,
            known: Known::Told,
            heard_ms: 0,
            pace_ms: PACE_MS_MAX,
        }
    }

    /// The next update should have come.
    const fn is_silent(&self, time_ms: u32) -> bool {
        time_ms.wrapping_sub(self.heard_ms) > self.pace_ms + LATE_MS
    }
}

impl Group {
    pub(super) fn new(number: u16, cell: PresenceCell) -> Self {
        Self {
            keyframe: CursorGroup::new(number, cell, 0, []),
            slots: Vec::new(),
            moved: Vec::new(),
            going: Vec::new(),
            coming: BTreeMap::new(),
            has_gone: false,
            is_new: true,
            repeats: 0,
        }
    }

    pub(super) const fn number(&self) -> u16 {
        self.keyframe.number
    }

    /// Nobody has been told of it.
    pub(super) const fn is_new(&self) -> bool {
        self.is_new
    }

    /// It holds no cursor but this one, and those who know it know of no other.
    pub(super) fn is_only_of(&self, session: SessionId) -> bool {
        let mut told = self.keyframe.cursors().iter();
        told.all(|cursor| cursor.session == session)
            && self.coming.keys().all(|coming| *coming == session)
    }

    /// Nobody is in it, and everybody knows.
    pub(super) fn is_over(&self) -> bool {
        self.slots.is_empty() && self.coming.is_empty() && (self.is_new || self.repeats == 0)
    }

    pub(super) fn has_room(&self) -> bool {
        self.slots.len() + self.coming.len() < GROUP_CURSORS_MAX
    }

    /// A cursor comes in. One that has just gone may come back before that was told.
    pub(super) fn come(&mut self, session: SessionId, sample: CursorSample) {
        if self.keyframe.slot(session).is_some() {
            self.put(session, sample);
        } else {
            self.coming.insert(session, sample);
        }
    }

    /// A cursor of it has moved.
    pub(super) fn put(&mut self, session: SessionId, sample: CursorSample) {
        if let Some(at) = self.keyframe.slot(session) {
            let slot = &mut self.slots[at];
            if let Some(before) = slot.now.replace(sample) {
                let passed = sample.stamp.wrapping_sub(before.stamp);
                slot.pace_ms = (passed / STAMPS_PER_MS).min(PACE_MS_MAX);
            }
            if !slot.is_listed {
                slot.is_listed = true;
                self.moved.push(at as u16);
            }
        } else if let Some(coming) = self.coming.get_mut(&session) {
            *coming = sample;
        }
    }

    /// A cursor of it has gone.
    pub(super) fn leave(&mut self, session: SessionId) {
        if let Some(at) = self.keyframe.slot(session) {
            self.slots[at].now = None;
            self.has_gone = true;
        } else {
            self.coming.remove(&session);
        }
    }

    /// The keyframe as a whole.
    pub(super) fn whole(&self) -> Bytes {
        ServerMessage::CursorGroup(self.keyframe.clone()).encode()
    }

    /// Tells what has changed: all of it to `near`, keyframes to `all`. `true` if something remains to be told.
    pub(super) fn tell(
        &mut self,
        time_ms: u32,
        stage: PresenceStage,
        interval_ms_min: u32,
        near: &Arc<[SessionId]>,
        all: &Arc<[SessionId]>,
        output: &mut Output,
    ) -> bool {
        if self.is_new {
            if self.coming.is_empty() {
                return false;
            }
            self.begin(time_ms, all, output);
            return true;
        }
        let has_changed = self.has_gone || !self.coming.is_empty();
        let is_moving = !self.moved.is_empty() || !self.going.is_empty();
        if !has_changed && !is_moving && self.repeats == 0 {
            return false;
        }
        for &at in &self.moved {
            self.slots[usize::from(at)].heard_ms = time_ms;
        }
        let interval = match stage {
            PresenceStage::Full if has_changed => KEYFRAME_INTERVAL_CHANGED_MS,
            PresenceStage::Full => KEYFRAME_INTERVAL_MS,
            PresenceStage::Slow => SLOW_INTERVAL_MS,
            PresenceStage::Sparse | PresenceStage::Crowd => SPARSE_INTERVAL_MS,
        };
        let interval = interval.max(interval_ms_min);
        if time_ms.wrapping_sub(self.keyframe.time_ms()) >= interval {
            self.repeats = if has_changed || is_moving {
                REPEATS
            } else {
                self.repeats - 1
            };
            // Where nobody would be told that a cursor has left its course, or not everybody, none has one.
            let may_go = stage == PresenceStage::Full
                && interval_ms_min <= KEYFRAME_INTERVAL_MS
                && !near.is_empty();
            self.tell_keyframe(time_ms, may_go, all, output);
            return self.repeats > 0;
        }
        if stage == PresenceStage::Full && is_moving && !near.is_empty() {
            self.notice_silence(time_ms);
            self.tell_moved(time_ms, near, output);
        }
        true
    }

    /// The first keyframe, on the stream: the next ones build on it.
    fn begin(&mut self, time_ms: u32, all: &Arc<[SessionId]>, output: &mut Output) {
        let coming = core::mem::take(&mut self.coming);
        let (number, cell) = (self.keyframe.number, self.keyframe.cell);
        self.take(CursorGroup::new(number, cell, time_ms, coming));
        self.is_new = false;
        self.repeats = REPEATS;
        output.reliable(all.clone(), self.whole());
    }

    fn tell_keyframe(
        &mut self,
        time_ms: u32,
        may_go: bool,
        all: &Arc<[SessionId]>,
        output: &mut Output,
    ) {
        let now: Vec<_> = self.slots.iter().map(|slot| slot.now).collect();
        let coming = core::mem::take(&mut self.coming);
        let mut next = self.keyframe.successor(time_ms, &now, coming);
        let going = self.going_in(&mut next, time_ms, may_go);
        let mut frame = ServerMessage::cursor_keyframe_writer();
        next.encode_successor(&self.keyframe, &mut frame);
        self.take(next);
        self.going.extend(going.iter().map(|(at, _)| *at as u16));
        for (at, slot) in going {
            self.slots[at] = slot;
        }
        if frame.len() <= DATAGRAM_FRAME_BYTES_MAX {
            output.datagram(all.clone(), frame.into_bytes());
        } else {
            // Everybody leaps at once.
            output.reliable(all.clone(), self.whole());
        }
    }

    /// Slots of the next keyframe whose cursors go on from it. Those that only seem to are held.
    fn going_in(&self, next: &mut CursorGroup, time_ms: u32, may_go: bool) -> Vec<(usize, Slot)> {
        let mut going = Vec::new();
        for at in 0..next.cursors().len() {
            let cursor = next.cursors()[at];
            if cursor.course().is_none() {
                continue;
            }
            let before = self.keyframe.slot(cursor.session);
            let before = before.map(|before| &self.slots[before]);
            match before.filter(|slot| may_go && !slot.is_silent(time_ms)) {
                Some(&Slot {
                    heard_ms, pace_ms, ..
                }) => {
                    let slot = Slot {
                        known: Known::Going,
                        heard_ms,
                        pace_ms,
                        ..Slot::new(cursor.sample)
                    };
                    going.push((at, slot));
                }
                None => next.hold(at),
            }
        }
        going
    }

    /// Makes a keyframe the one that is known.
    fn take(&mut self, keyframe: CursorGroup) {
        self.keyframe = keyframe;
        let cursors = self.keyframe.cursors().iter();
        self.slots.clear();
        self.slots
            .extend(cursors.map(|cursor| Slot::new(cursor.sample)));
        self.moved.clear();
        self.going.clear();
        self.has_gone = false;
    }

    /// A cursor that goes on, but of which nothing has come when it should have, rests where it was: to be told.
    fn notice_silence(&mut self, time_ms: u32) {
        let (slots, moved) = (&mut self.slots, &mut self.moved);
        self.going.retain(|&at| {
            let slot = &mut slots[usize::from(at)];
            if slot.known == Known::Going && slot.is_silent(time_ms) {
                slot.known = Known::Astray;
                if !slot.is_listed {
                    slot.is_listed = true;
                    moved.push(at);
                }
            }
            slot.known != Known::Told
        });
    }

    fn tell_moved(&mut self, time_ms: u32, near: &Arc<[SessionId]>, output: &mut Output) {
        self.moved.sort_unstable();
        let slots = &mut self.slots;
        let cursors = self.keyframe.cursors();
        // Not to be told: who has gone, whom the keyframe will take out, who is where their course has them, and who has
        // not left their step of the raster.
        let mut changed = Vec::with_capacity(self.moved.len());
        for &at in &self.moved {
            let at = usize::from(at);
            let slot = &mut slots[at];
            let to_tell = slot.now.filter(|now| match slot.known {
                Known::Told => !is_same_place(*now, slot.told),
                Known::Going => !cursors[at].goes_through(*now),
                Known::Astray => true,
            });
            match to_tell {
                Some(now) => changed.push((at, now)),
                None => slot.is_listed = false,
            }
        }
        self.moved.clear();
        if changed.is_empty() {
            return;
        }
        let mut frame = ServerMessage::cursor_delta_writer();
        let budget = DATAGRAM_FRAME_BYTES_MAX - KIND_BYTES;
        let count = self
            .keyframe
            .encode_delta(time_ms, &changed, budget, &mut frame);
        for &(at, now) in &changed[..count] {
            let slot = &mut slots[at];
            slot.told = now;
            slot.is_listed = false;
            if slot.known != Known::Told {
                slot.known = Known::Told;
                // For those who come, or ask.
                self.keyframe.hold(at);
            }
        }
        // What did not fit comes with the next tick, or with the keyframe.
        self.moved
            .extend(changed[count..].iter().map(|(at, _)| *at as u16));
        self.repeats = REPEATS;
        output.datagram(near.clone(), frame.into_bytes());
    }
}

/// Nobody would see a difference.
fn is_same_place(a: CursorSample, b: CursorSample) -> bool {
    (a.x, a.y, a.state) == (b.x, b.y, b.state)
}

#[cfg(test)]
mod tests;
