//! Other people's cursors: groups, keyframes and deltas in, smoothly moving pointers out.
//!
//! Every position comes with its sender's clock. It gets the local time at which it would have come over an undisturbed
//! way (the smoothed difference between the sender's clock and the local one), and what is shown lies so far behind that
//! the next position has come, between two known ones. A cursor of which a keyframe says that it goes on is shown on its
//! course until something else is told, at the longest until the course ends; nothing else is guessed. When data stays
//! out, a cursor rests. Owns no socket and draws nothing.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use chalkboard_shared::codec::Reader;
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::limits::SESSIONS_PER_ROOM_MAX;
use chalkboard_shared::presence::{
    COURSE_MS_MAX, Course, CrowdMap, CursorGroup, CursorSample, DeltaHead, Pace, PresenceCell,
    PresenceStage,
};
use chalkboard_shared::{DecodeError, SessionId};

/// How far behind the newest position cursors are shown beyond the time between two tellings, in milliseconds.
const DELAY_MS: f64 = 20.0;

/// The longest time between two tellings that is bridged smoothly, in milliseconds.
const BRIDGED_MS_MAX: f64 = 300.0;

/// Positions kept of one cursor: the two around the shown moment and what arrives in a burst.
const SAMPLES_MAX: usize = 8;

/// A pause of more than this is rest, in milliseconds: the way after it begins when it ends, not when the pause began.
const REST_MS: f64 = 100.0;

/// How long a cursor takes for its first way after a rest, in milliseconds.
const START_MS: f64 = 50.0;

/// After a rest a cursor that is farther away than this (board px) is put there instead of flying over the board.
const SNAP_PX: f32 = 600.0;

/// A clock that is off by more than this has jumped, in milliseconds.
const CLOCK_JUMP_MS: f64 = 500.0;

/// How long a cursor that has left a group is shown: it may be on its way into the next one.
const LEAVING_MS: f64 = 250.0;

/// How long a group may be on its way before it is asked for, and the time between two questions, in milliseconds.
const MISSED_AFTER_MS: f64 = 150.0;

/// Questions after one group: the first two may be lost.
const QUESTIONS_MAX: u8 = 3;

/// Groups that are missed at the same time: a view has a few dozen.
const MISSED_MAX: usize = 256;

/// Groups and maps held, beyond which a server is out of its mind.
const GROUPS_MAX: usize = 1024;

/// Stamps of others' positions that are kept for measuring.
const ARRIVALS_MAX: usize = 1 << 16;

/// Units of a stamp in a millisecond.
const STAMPS_PER_MS: f64 = 100.0;

/// A cursor that has rested for this long fades, in milliseconds, over [`FADE_MS`], down to [`ALPHA_MIN`].
const FADE_AFTER_MS: f64 = 20_000.0;
const FADE_MS: f64 = 1000.0;
const ALPHA_MIN: f32 = 0.35;

/// A cursor as it is to be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CursorView {
    /// Whose.
    pub session: SessionId,
    /// Where, in board px.
    pub x: f32,
    /// Where, in board px.
    pub y: f32,
    /// What it is in the hand of.
    pub tool: CursorTool,
    /// A button is down or the pen touches.
    pub pressed: bool,
    /// Opacity, 0.35 (has rested for long) to 1.
    pub alpha: f32,
}

/// All cursors of others in the covered area.
#[derive(Debug)]
pub struct Cursors {
    own: Option<SessionId>,
    groups: HashMap<u16, CursorGroup>,
    /// One a cell; a view has a handful.
    crowds: Vec<CrowdMap>,
    /// Groups of which something came that can't be read without more: since when, and when it may be asked for.
    missed: Vec<Missed>,
    tracks: HashMap<SessionId, Track>,
    /// Groups of those who present, and of the one who is followed, 0 for none: told exactly, whatever else is told of them.
    exact: [u16; 2],
    /// Time between two tellings, and where they are told exactly.
    interval_ms: f64,
    tick_ms: f64,
    is_collecting: bool,
    arrivals: Vec<u32>,
    passages: Vec<Passage>,
}

/// A group that has to be asked for.
#[derive(Debug)]
struct Missed {
    group: u16,
    /// When.
    due_ms: f64,
    /// How often it still is: one that is no more is never sent.
    left: u8,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at_ms: f64,
    x: f32,
    y: f32,
}

#[derive(Debug)]
struct Track {
    group: u16,
    /// When it left the group.
    left_ms: Option<f64>,
    samples: VecDeque<Sample>,
    state: CursorState,
    /// Of the newest position.
    stamp: u32,
    /// Local time less the sender's, smoothed.
    clock_ms: f64,
    /// It goes on: the last sample is where that ends.
    is_going: bool,
}

/// A part of somebody's way of which nothing was told, because it was on its course.
#[derive(Debug, Clone, Copy)]
pub struct Passage {
    /// Whose.
    pub session: SessionId,
    /// The cell in whose raster the course is.
    pub cell: PresenceCell,
    /// The way; its first position was told.
    pub course: Course,
    /// The stamp of the position that was told next.
    pub until_stamp: u32,
}

impl Cursors {
    pub(crate) fn new(is_collecting: bool) -> Self {
        Self {
            own: None,
            groups: HashMap::new(),
            crowds: Vec::new(),
            missed: Vec::new(),
            tracks: HashMap::new(),
            exact: [0; 2],
            interval_ms: 1000.0 / 60.0,
            tick_ms: 1000.0 / 60.0,
            is_collecting,
            arrivals: Vec::new(),
            passages: Vec::new(),
        }
    }

    /// Somebody measures. A page never does, and need not bring along what that takes.
    const fn is_collecting(&self) -> bool {
        cfg!(not(target_arch = "wasm32")) && self.is_collecting
    }

    /// The moment that is shown now of a group's cursors.
    fn shown_ms(&self, now_ms: f64, group: u16) -> f64 {
        let interval_ms = if self.is_exact(group) {
            self.tick_ms
        } else {
            self.interval_ms
        };
        now_ms - DELAY_MS - interval_ms.min(BRIDGED_MS_MAX)
    }

    fn is_exact(&self, group: u16) -> bool {
        self.exact.contains(&group)
    }

    /// Where they are to be drawn now.
    pub fn at(&self, now_ms: f64) -> impl Iterator<Item = CursorView> + '_ {
        self.tracks
            .iter()
            .filter(move |(_, track)| track.is_here(now_ms))
            .filter_map(move |(session, track)| {
                let shown_ms = self.shown_ms(now_ms, track.group);
                let (x, y) = track.place_at(shown_ms)?;
                let rested = shown_ms - track.samples.back()?.at_ms;
                let faded = ((rested - FADE_AFTER_MS) / FADE_MS).clamp(0.0, 1.0) as f32;
                Some(CursorView {
                    session: *session,
                    x,
                    y,
                    tool: track.state.tool,
                    pressed: track.state.pressed,
                    alpha: 1.0 - faded * (1.0 - ALPHA_MIN),
                })
            })
    }

    /// Whose cursors they are.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = SessionId> {
        self.tracks.keys().copied()
    }

    /// Where there are too many people to show each.
    pub fn crowds(&self) -> impl Iterator<Item = &CrowdMap> {
        self.crowds.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tracks.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Some of them will be elsewhere, or paler, shortly after `now_ms`: draw again.
    pub fn is_moving(&self, now_ms: f64) -> bool {
        self.tracks.values().any(|track| {
            let shown_ms = self.shown_ms(now_ms, track.group);
            track.left_ms.is_some()
                || track.samples.back().is_some_and(|last| {
                    let rested = shown_ms - last.at_ms;
                    rested < START_MS
                        || (rested > FADE_AFTER_MS && rested < FADE_AFTER_MS + 2.0 * FADE_MS)
                })
        })
    }

    /// A connection begins.
    pub(crate) fn connected(&mut self, own: SessionId, pace: Pace) {
        self.clear();
        self.own = Some(own);
        self.set_pace(pace);
    }

    /// The room tells as often as this from now on.
    pub(crate) fn set_pace(&mut self, pace: Pace) {
        // A tick is 1 ms to 1 s, whatever the server says.
        self.tick_ms = (f64::from(pace.tick_us) / 1000.0).clamp(1.0, 1000.0);
        self.interval_ms = match pace.presence {
            PresenceStage::Full => self.tick_ms,
            PresenceStage::Slow => 250.0,
            PresenceStage::Sparse | PresenceStage::Crowd => 1000.0,
        };
    }

    /// Nobody is seen any more.
    pub(crate) fn clear(&mut self) {
        self.exact = [0; 2];
        self.groups.clear();
        self.crowds.clear();
        self.missed.clear();
        self.tracks.clear();
    }

    /// Somebody left.
    pub(crate) fn remove(&mut self, session: SessionId) {
        self.tracks.remove(&session);
    }

    /// Those who present are told in this group from now on, 0 for none; others than before.
    pub(crate) fn set_presenters(&mut self, now_ms: f64, group: u16) {
        self.set_exact(now_ms, 0, group);
    }

    /// The one who is followed is told in this group from now on, 0 for none of their own.
    pub(crate) fn set_followed(&mut self, now_ms: f64, group: u16) {
        self.set_exact(now_ms, 1, group);
    }

    fn set_exact(&mut self, now_ms: f64, which: usize, group: u16) {
        let over = std::mem::replace(&mut self.exact[which], group);
        if over == group {
            return;
        }
        self.groups.remove(&over);
        let groups = &self.groups;
        for (session, track) in self.tracks.iter_mut().filter(|(_, t)| t.group == over) {
            // Told as to everybody again, if they are near.
            let mut others = groups.values();
            match others.find(|group| group.slot(*session).is_some()) {
                Some(other) => track.group = other.number,
                None => track.left_ms = Some(now_ms),
            }
        }
    }

    /// Nothing is told any more of what this does not touch.
    pub(crate) fn cover(&mut self, coverage: Coverage) {
        let (level, area) = (PresenceCell::level_of(coverage), coverage.rect());
        let is_told = |cell: PresenceCell| {
            let is_near = cell.level == level && cell.rect().intersects(area);
            is_near || cell == PresenceCell::EVERYWHERE
        };
        self.groups.retain(|_, group| is_told(group.cell));
        self.crowds.retain(|map| is_told(map.cell));
        self.missed.clear();
        let groups = &self.groups;
        self.tracks
            .retain(|_, track| groups.contains_key(&track.group));
    }

    /// A group as a whole.
    pub(crate) fn group(&mut self, now_ms: f64, group: CursorGroup) {
        // Of somebody who was followed before.
        if group.cell == PresenceCell::EVERYWHERE && !self.is_exact(group.number) {
            return;
        }
        if self.groups.len() >= GROUPS_MAX && !self.groups.contains_key(&group.number) {
            return;
        }
        self.crowds.retain(|map| map.cell != group.cell);
        self.take(now_ms, group);
    }

    /// A group's next keyframe. One that does not follow the last is passed over, and the group asked for if it is
    /// newer.
    ///
    /// # Errors
    /// Bytes that are no keyframe behind the last.
    pub(crate) fn keyframe(&mut self, now_ms: f64, body: Bytes) -> Result<(), DecodeError> {
        let head = DeltaHead::decode(&mut Reader::new(body.clone()))?;
        match self.groups.get(&head.number) {
            Some(group) if head.generation == group.generation.wrapping_add(1) => {
                let next = group.decode_successor(&mut Reader::new(body))?;
                self.take(now_ms, next);
            }
            Some(group) if !is_newer(head.generation, group.generation) => {}
            Some(_) | None => self.miss(now_ms, head.number),
        }
        Ok(())
    }

    /// What has moved since a group's keyframe. One against another keyframe is passed over, and the group asked for
    /// if that is newer.
    ///
    /// # Errors
    /// Bytes that are no delta against the keyframe.
    pub(crate) fn delta(&mut self, now_ms: f64, body: Bytes) -> Result<(), DecodeError> {
        let head = DeltaHead::decode(&mut Reader::new(body.clone()))?;
        let Some(group) = self.groups.get(&head.number) else {
            self.miss(now_ms, head.number);
            return Ok(());
        };
        if head.generation != group.generation {
            if is_newer(head.generation, group.generation) {
                self.miss(now_ms, head.number);
            }
            return Ok(());
        }
        let delta = group.decode_delta(&mut Reader::new(body))?;
        let cell = group.cell;
        let moved: Vec<_> = delta
            .changed
            .iter()
            .map(|&(slot, sample)| (group.cursors()[slot].session, sample))
            .collect();
        for (session, sample) in moved {
            self.moved(now_ms, head.number, cell, session, sample, None);
        }
        Ok(())
    }

    /// People are too many in a cell to tell each.
    pub(crate) fn crowd(&mut self, map: CrowdMap) {
        let known = self.crowds.iter().position(|known| known.cell == map.cell);
        if known.is_none() && self.crowds.len() >= GROUPS_MAX {
            return;
        }
        self.groups.retain(|_, group| group.cell != map.cell);
        let groups = &self.groups;
        self.tracks
            .retain(|_, track| groups.contains_key(&track.group));
        match known {
            Some(known) => self.crowds[known] = map,
            None => self.crowds.push(map),
        }
    }

    /// A group that has to be asked for, if there is one.
    pub(crate) fn take_missed(&mut self, now_ms: f64) -> Option<u16> {
        self.missed.retain(|missed| missed.left > 0);
        let mut missed = self.missed.iter_mut();
        let due = missed.find(|missed| now_ms >= missed.due_ms)?;
        due.due_ms = now_ms + 2.0 * MISSED_AFTER_MS;
        due.left -= 1;
        Some(due.group)
    }

    /// Stamps of others' positions since the last call, the first 65,536 of them.
    pub(crate) fn take_arrivals(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.arrivals)
    }

    /// Ways of others since the last call on which they were not told, the first 65,536 of them.
    pub(crate) fn take_passages(&mut self) -> Vec<Passage> {
        std::mem::take(&mut self.passages)
    }

    fn miss(&mut self, now_ms: f64, number: u16) {
        let is_known = self.missed.iter().any(|missed| missed.group == number);
        if !is_known && self.missed.len() < MISSED_MAX {
            self.missed.push(Missed {
                group: number,
                due_ms: now_ms + MISSED_AFTER_MS,
                left: QUESTIONS_MAX,
            });
        }
    }

    fn take(&mut self, now_ms: f64, group: CursorGroup) {
        self.missed.retain(|missed| missed.group != group.number);
        for cursor in group.cursors() {
            self.moved(
                now_ms,
                group.number,
                group.cell,
                cursor.session,
                cursor.sample,
                cursor.course().map(|course| course.end()),
            );
        }
        self.tracks.retain(|session, track| {
            if track.group == group.number && group.slot(*session).is_none() {
                track.left_ms.get_or_insert(now_ms);
            }
            track.is_here(now_ms)
        });
        if group.cursors().is_empty() {
            self.groups.remove(&group.number);
        } else {
            self.groups.insert(group.number, group);
        }
    }

    fn moved(
        &mut self,
        now_ms: f64,
        group: u16,
        cell: PresenceCell,
        session: SessionId,
        sample: CursorSample,
        end: Option<(i32, i32)>,
    ) {
        if self.own == Some(session) {
            return;
        }
        let is_collecting = self.is_collecting();
        let shown_ms = self.shown_ms(now_ms, group);
        let is_exact = self.is_exact(group);
        let state = sample.cursor(cell);
        let seen_ms = now_ms - f64::from(sample.stamp) / STAMPS_PER_MS;
        let (x, y) = state.at.to_pixels();
        if let Some(track) = self.tracks.get_mut(&session) {
            // What is known exactly is not told worse.
            if !is_exact && self.exact.contains(&track.group) && track.left_ms.is_none() {
                return;
            }
            let last_group = std::mem::replace(&mut track.group, group);
            track.left_ms = None;
            let later = sample.stamp.wrapping_sub(track.stamp) as i32;
            if later < 0 {
                return;
            }
            if later > 0 {
                track.hear(sample.stamp, seen_ms);
            }
            if is_collecting
                && track.is_going
                && self.passages.len() < ARRIVALS_MAX
                && let Some(group) = self.groups.get(&last_group)
                && let Some(slot) = group.slot(session)
                && let Some(course) = group.cursors()[slot].course()
            {
                self.passages.push(Passage {
                    session,
                    cell: group.cell,
                    course,
                    until_stamp: sample.stamp,
                });
            }
            track.state = state;
            let at_ms = f64::from(sample.stamp) / STAMPS_PER_MS + track.clock_ms;
            let end = end.map(|(x, y)| cell.place(x, y).to_pixels());
            track.go(shown_ms, Sample { at_ms, x, y }, later > 0, end);
            if later == 0 {
                return;
            }
        } else if self.tracks.len() < SESSIONS_PER_ROOM_MAX {
            let first = Sample {
                at_ms: now_ms,
                x,
                y,
            };
            let track = Track {
                group,
                left_ms: None,
                samples: VecDeque::from([first]),
                state,
                stamp: sample.stamp,
                clock_ms: seen_ms,
                is_going: false,
            };
            self.tracks.insert(session, track);
        }
        if is_collecting && self.arrivals.len() < ARRIVALS_MAX {
            self.arrivals.push(sample.stamp);
        }
    }
}

/// Of two generations of a group.
const fn is_newer(a: u8, than: u8) -> bool {
    (a.wrapping_sub(than) as i8) > 0
}

impl Track {
    fn is_here(&self, now_ms: f64) -> bool {
        self.left_ms.is_none_or(|left| now_ms < left + LEAVING_MS)
    }

    /// A position of this stamp has come, later than all before.
    fn hear(&mut self, stamp: u32, seen_ms: f64) {
        self.stamp = stamp;
        // Early arrivals pull the estimate fast, late ones slowly, so that it follows the undisturbed way and not
        // the queues.
        let off = seen_ms - self.clock_ms;
        self.clock_ms = if off.abs() > CLOCK_JUMP_MS {
            seen_ms
        } else {
            self.clock_ms + off * if off < 0.0 { 0.25 } else { 0.05 }
        };
    }

    /// It was here at that moment, and goes on to `end` if there is one.
    fn go(&mut self, shown_ms: f64, here: Sample, is_new: bool, end: Option<(f32, f32)>) {
        let mut is_passed = false;
        if self.is_going {
            // What goes on was shown up to now, and no farther.
            let shown = self.place_at(shown_ms);
            self.samples.pop_back();
            if self.samples.back().is_none_or(|last| last.at_ms < shown_ms) {
                let (x, y) = shown.unwrap_or((here.x, here.y));
                let at_ms = shown_ms;
                self.push(Sample { at_ms, x, y });
                is_passed = here.at_ms <= shown_ms;
            }
        }
        if is_passed && end.is_none() {
            // It has gone less far than was shown: back.
            let at_ms = shown_ms + START_MS;
            self.push(Sample { at_ms, ..here });
        } else if is_new && !is_passed {
            self.add(here);
        }
        self.is_going = end.is_some();
        if let Some((x, y)) = end {
            let at_ms = here.at_ms + f64::from(COURSE_MS_MAX);
            self.push(Sample { at_ms, x, y });
        }
    }

    fn push(&mut self, sample: Sample) {
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    fn add(&mut self, mut sample: Sample) {
        if let Some(last) = self.samples.back().copied() {
            sample.at_ms = sample.at_ms.max(last.at_ms + 1.0);
            let distance = (sample.x - last.x).hypot(sample.y - last.y);
            if sample.at_ms - last.at_ms > REST_MS {
                self.samples.clear();
                if distance <= SNAP_PX {
                    let at_ms = sample.at_ms - START_MS;
                    self.samples.push_back(Sample { at_ms, ..last });
                }
            }
        }
        self.push(sample);
    }

    fn place_at(&self, at_ms: f64) -> Option<(f32, f32)> {
        let mut before = *self.samples.front()?;
        for after in &self.samples {
            if after.at_ms > at_ms {
                let span = after.at_ms - before.at_ms;
                let share = if span > 0.0 {
                    ((at_ms - before.at_ms) / span).clamp(0.0, 1.0) as f32
                } else {
                    1.0
                };
                return Some((
                    before.x + (after.x - before.x) * share,
                    before.y + (after.y - before.y) * share,
                ));
            }
            before = *after;
        }
        Some((before.x, before.y))
    }
}

#[cfg(test)]
mod tests;
