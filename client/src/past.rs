//! The past of a board as somebody looks at it: a board at a moment, moved to and fro along the time line.
//!
//! It holds the time line, the segments that were looked at last, and one board, which is brought from moment to moment
//! by what lies between: forwards by ops, backwards by what they have changed, and far away by the board at a segment's
//! start. So only what differs is drawn anew. The live board goes on beneath and knows nothing of it.
//!
//! Like the client it has no clock and no link: whoever holds it fetches what [`Past::poll_wanted`] names, hands it to
//! [`Past::fetched`], and calls [`Past::tick`] while it plays.

mod graph;
mod wanted;

use std::collections::VecDeque;

use bytes::Bytes;
use chalkboard_shared::limits::SEGMENT_OPS;
use chalkboard_shared::past::{Difference, Moment, PastTick, Segment, Timeline, decode_board};
use chalkboard_shared::{ActorId, DecodeError, Stroke, StrokeId, Tick};

use crate::board::Board;
pub use wanted::Wanted;

/// Segments that are held; the one farthest from the newest goes first.
const SEGMENTS_MAX: usize = 8;
/// Points of strokes that are held to go back: 40 MB at the most. Farther back, the board is put together anew.
const JOURNAL_POINTS_MAX: usize = 1 << 22;
/// Ticks that can be gone back at once, at the most.
const JOURNAL_TICKS_MAX: usize = 4 * SEGMENT_OPS as usize;
/// While somebody looks, the time line is asked anew this often, in milliseconds: the room goes on.
const RENEW_MS: f64 = 10_000.0;

/// Where somebody wants to be.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Goal {
    /// After all ticks up to this one.
    Tick(Tick),
    /// After all ticks up to this place on the time line, in milliseconds.
    Place(f64),
}

/// How far the board is: `ticks` of a segment are in it, and all before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    segment: u32,
    ticks: usize,
}

/// What a tick has changed, as it was before.
#[derive(Debug)]
struct Undone {
    strokes: Vec<(StrokeId, Option<Stroke>)>,
    points: usize,
}

/// What there is to show about the present place.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PastState {
    /// Place on the time line, in milliseconds.
    pub at_ms: f64,
    /// Length of the time line, in milliseconds.
    pub end_ms: f64,
    /// The last tick that is in the board; all zero before the first.
    pub moment: Moment,
    /// Who changed the board in that tick: name and colour.
    pub authors: Vec<(String, u32)>,
    /// It plays.
    pub is_playing: bool,
    /// What is wanted is on its way.
    pub is_loading: bool,
    /// What was asked for could not be had; seeking tries again.
    pub has_failed: bool,
}

/// The past, and where in it somebody is.
#[derive(Debug)]
pub struct Past {
    timeline: Option<Timeline>,
    /// In no order.
    segments: Vec<Segment>,
    /// The board at the start of a segment that is to be gone to.
    start: Option<(u32, Bytes)>,
    board: Board,
    at: Place,
    journal: VecDeque<Undone>,
    journal_points: usize,
    goal: Goal,
    /// The board is where it was wanted, as far as it can be.
    is_there: bool,
    /// Speed, while it plays.
    playing: Option<f64>,
    now_ms: f64,
    renewed_ms: f64,
    /// The tick whose difference to now is wanted.
    restoring: Option<Tick>,
    difference: Option<Difference>,
    asked: Option<Wanted>,
    has_failed: bool,
    has_new_graph: bool,
}

impl Past {
    /// A past to be looked at from a tick on; without one, from the end.
    pub fn new(now_ms: f64, tick: Option<Tick>) -> Self {
        Self {
            timeline: None,
            segments: Vec::new(),
            start: None,
            board: Board::new(),
            at: Place {
                segment: 0,
                ticks: 0,
            },
            journal: VecDeque::new(),
            journal_points: 0,
            goal: Goal::Tick(tick.unwrap_or(Tick(u64::MAX))),
            is_there: false,
            playing: None,
            now_ms,
            renewed_ms: now_ms,
            restoring: None,
            difference: None,
            asked: None,
            has_failed: false,
            has_new_graph: false,
        }
    }

    /// The board as it was.
    pub const fn board(&self) -> &Board {
        &self.board
    }

    /// The same, to take its changes.
    pub const fn board_mut(&mut self) -> &mut Board {
        &mut self.board
    }

    /// It plays.
    pub const fn is_playing(&self) -> bool {
        self.playing.is_some()
    }

    /// The board is where it was wanted.
    pub const fn is_there(&self) -> bool {
        self.is_there
    }

    /// Goes to a place on the time line, in milliseconds.
    pub fn seek(&mut self, at_ms: f64) {
        self.go(Goal::Place(at_ms.max(0.0)));
    }

    /// Goes to the board after all ticks up to this one.
    pub fn seek_tick(&mut self, tick: Tick) {
        self.go(Goal::Tick(tick));
    }

    /// Goes to the next tick that changed something, or to the one before.
    pub fn step(&mut self, forwards: bool) {
        self.playing = None;
        let here = self.moment().tick;
        if !forwards {
            self.seek_tick(Tick(here.0.saturating_sub(1)));
            return;
        }
        let held = self.held(self.at.segment);
        let next = held.and_then(|segment| segment.ticks.get(self.at.ticks));
        let next = next.map(|tick| tick.moment.tick).or_else(|| {
            let heads = &self.timeline.as_ref()?.segments;
            let head = heads.iter().find(|head| head.tick > here)?;
            Some(head.tick)
        });
        if let Some(tick) = next {
            self.seek_tick(tick);
        }
    }

    /// Plays from here, so many times as fast as it was drawn, from the beginning if it is at the end; without a speed,
    /// stops.
    pub fn play(&mut self, speed: Option<f64>) {
        self.playing = speed;
        let (at_ms, end_ms) = (self.at_ms(), self.end_ms());
        if speed.is_some() {
            self.go(Goal::Place(if at_ms >= end_ms { 0.0 } else { at_ms }));
        }
    }

    fn go(&mut self, goal: Goal) {
        self.goal = goal;
        self.has_failed = false;
        self.start = None;
        self.advance();
    }

    /// Lets time pass. Answers whether something may have changed.
    pub fn tick(&mut self, now_ms: f64) -> bool {
        let passed_ms = (now_ms - self.now_ms).clamp(0.0, 1000.0);
        self.now_ms = now_ms;
        let Some(speed) = self.playing else {
            return false;
        };
        let end_ms = self.end_ms();
        // What is not there yet is waited for, so that nothing is left out.
        if let (Goal::Place(at_ms), true) = (self.goal, self.is_there) {
            let at_ms = (at_ms + passed_ms * speed).min(end_ms);
            if at_ms >= end_ms {
                self.playing = None;
            }
            self.go(Goal::Place(at_ms));
        }
        true
    }

    /// Asks for what brings the present moment back; [`Past::take_difference`] has it as soon as it has come.
    pub fn ask_difference(&mut self) {
        self.playing = None;
        self.restoring = Some(self.moment().tick);
        self.has_failed = false;
    }

    /// What brings the moment back that was asked for.
    pub fn take_difference(&mut self) -> Option<Difference> {
        self.difference.take()
    }

    /// What is to be fetched next; one thing at a time, until it has come or failed.
    pub fn poll_wanted(&mut self) -> Option<Wanted> {
        if self.asked.is_some() || self.has_failed {
            return None;
        }
        self.asked = self.wanted();
        self.asked
    }

    fn wanted(&self) -> Option<Wanted> {
        let Some(timeline) = &self.timeline else {
            return Some(Wanted::Timeline);
        };
        if let Some(tick) = self.restoring {
            return Some(Wanted::Difference(tick));
        }
        let mark = |index: u32| timeline.segments.get(index as usize).map(|head| head.mark);
        if !self.is_there {
            let index = self.segment_of_goal()?;
            return if self.has(index) {
                Some(Wanted::Board(index, mark(index)?))
            } else {
                Some(Wanted::Segment(index, mark(index)?))
            };
        }
        let next = self.at.segment + 1;
        if self.playing.is_some() && !self.has(next) {
            return Some(Wanted::Segment(next, mark(next)?));
        }
        (self.now_ms - self.renewed_ms > RENEW_MS).then_some(Wanted::Timeline)
    }

    /// What was wanted has come.
    ///
    /// # Errors
    /// It is not what a server of this version sends.
    pub fn fetched(&mut self, wanted: Wanted, bytes: Bytes) -> Result<(), DecodeError> {
        self.asked = None;
        let taken = self.take(wanted, bytes);
        self.has_failed |= taken.is_err();
        if !self.is_there {
            self.advance();
        }
        taken
    }

    /// What was wanted can't be had now.
    pub fn failed(&mut self) {
        self.asked = None;
        self.has_failed = true;
        self.restoring = None;
        self.playing = None;
    }

    fn take(&mut self, wanted: Wanted, bytes: Bytes) -> Result<(), DecodeError> {
        match wanted {
            Wanted::Timeline => {
                let timeline = Timeline::decode(bytes)?;
                self.renewed_ms = self.now_ms;
                self.timeline = Some(timeline);
                self.has_new_graph = true;
            }
            Wanted::Segment(index, _) => {
                let segment = Segment::decode(bytes)?;
                if segment.index != index || segment.ticks.is_empty() {
                    return Err(DecodeError::Malformed);
                }
                // Of those that are held the farthest makes room, and this one takes the place of itself.
                let others = self.segments.iter().enumerate();
                let distance = |segment: &Segment| segment.index.abs_diff(index);
                let place = others
                    .max_by_key(|(_, segment)| (segment.index == index, distance(segment)))
                    .map(|(place, _)| place);
                match place.filter(|place| {
                    self.segments.len() >= SEGMENTS_MAX || self.segments[*place].index == index
                }) {
                    Some(place) => self.segments[place] = segment,
                    None => self.segments.push(segment),
                }
            }
            Wanted::Board(index, _) => self.start = Some((index, bytes)),
            Wanted::Difference(_) => {
                self.restoring = None;
                self.difference = Some(Difference::decode(bytes)?);
            }
        }
        Ok(())
    }

    /// The segment that has the last tick at or before the goal; the first for a goal before all.
    fn segment_of_goal(&self) -> Option<u32> {
        let heads = &self.timeline.as_ref()?.segments;
        let count = match self.goal {
            Goal::Tick(tick) => heads.partition_point(|head| head.tick <= tick),
            Goal::Place(at_ms) => heads.partition_point(|head| head.at_ms as f64 <= at_ms),
        };
        (!heads.is_empty()).then(|| count.saturating_sub(1) as u32)
    }

    fn held(&self, index: u32) -> Option<&Segment> {
        self.segments.iter().find(|segment| segment.index == index)
    }

    /// A segment is held as far as the time line goes: one that still grows has grown since it was fetched.
    fn has(&self, index: u32) -> bool {
        let Some(segment) = self.held(index) else {
            return false;
        };
        let known = self.timeline.as_ref().map_or(Tick(0), |timeline| {
            let next = timeline.segments.get(index as usize + 1);
            next.map_or(timeline.end.tick, |head| {
                Tick(head.tick.0.saturating_sub(1))
            })
        });
        let last = segment.ticks.last().map(|tick| tick.moment.tick);
        segment.is_complete || last >= Some(known)
    }

    /// Goes as near to the goal as can be with what is held.
    fn advance(&mut self) {
        self.is_there = false;
        let Some(timeline) = &self.timeline else {
            return;
        };
        let Some(index) = self.segment_of_goal() else {
            // Nobody ever changed the board.
            self.is_there = timeline.segments.is_empty();
            return;
        };
        let Some(segment) = self.held(index).filter(|_| self.has(index)) else {
            return;
        };
        let is_before = |tick: &PastTick| match self.goal {
            Goal::Tick(goal) => tick.moment.tick <= goal,
            Goal::Place(at_ms) => tick.moment.at_ms as f64 <= at_ms,
        };
        let goal = Place {
            segment: index,
            ticks: segment.ticks.partition_point(is_before),
        };
        self.is_there = self.walk_to(goal) || self.jump_to(goal);
    }

    /// Goes step by step; answers whether that was possible.
    fn walk_to(&mut self, goal: Place) -> bool {
        while goal < self.at {
            // Back over a segment's start, which is the end of the one before.
            if self.at.ticks == 0 {
                let before = self.at.segment - 1;
                let Some(segment) = self.held(before) else {
                    return false;
                };
                self.at = Place {
                    segment: before,
                    ticks: segment.ticks.len(),
                };
                continue;
            }
            let Some(undone) = self.journal.pop_back() else {
                return false;
            };
            self.journal_points -= undone.points;
            for (id, stroke) in undone.strokes.into_iter().rev() {
                self.board.replace(id, stroke);
            }
            self.at.ticks -= 1;
        }
        // Farther than the next segment, the board there is nearer than the ops on the way.
        if goal.segment > self.at.segment + 1 {
            return false;
        }
        while self.at < goal {
            let here = self.at.segment;
            let Some(segment) = self.segments.iter().find(|segment| segment.index == here) else {
                return false;
            };
            match segment.ticks.get(self.at.ticks) {
                Some(tick) => {
                    let undone = apply(&mut self.board, tick);
                    self.note(undone);
                    self.at.ticks += 1;
                }
                None => {
                    // One that still grew when it was fetched may have more ticks.
                    if !segment.is_complete {
                        return false;
                    }
                    self.at = Place {
                        segment: self.at.segment + 1,
                        ticks: 0,
                    };
                }
            }
        }
        true
    }

    fn note(&mut self, undone: Undone) {
        self.journal_points += undone.points;
        self.journal.push_back(undone);
        while self.journal_points > JOURNAL_POINTS_MAX || self.journal.len() > JOURNAL_TICKS_MAX {
            let Some(oldest) = self.journal.pop_front() else {
                return;
            };
            self.journal_points -= oldest.points;
        }
    }

    /// Goes by way of the board at the goal's segment's start; answers whether that was there.
    fn jump_to(&mut self, goal: Place) -> bool {
        let start = match self.start.take() {
            Some((index, bytes)) if index == goal.segment => Some(bytes),
            _ if goal.segment == 0 => None,
            _ => return false,
        };
        self.board.begin_generation();
        if let Some(bytes) = start {
            let board = &mut self.board;
            let put = |stroke: Stroke| board.replace(stroke.id, Some(stroke));
            if decode_board(bytes, put).is_err() {
                self.has_failed = true;
                return false;
            }
        }
        self.board.evict_stale();
        self.journal.clear();
        self.journal_points = 0;
        self.at = Place {
            segment: goal.segment,
            ticks: 0,
        };
        self.walk_to(goal)
    }

    /// The last tick that is in the board.
    fn last_tick(&self) -> Option<&PastTick> {
        let before = |place: Place| {
            let segment = self.held(place.segment)?;
            segment.ticks.get(place.ticks.checked_sub(1)?)
        };
        before(self.at).or_else(|| {
            let segment = self.held(self.at.segment.checked_sub(1)?)?;
            (self.at.ticks == 0).then(|| segment.ticks.last())?
        })
    }

    fn moment(&self) -> Moment {
        self.last_tick()
            .map_or_else(Moment::default, |tick| tick.moment)
    }

    fn end_ms(&self) -> f64 {
        self.timeline
            .as_ref()
            .map_or(0.0, |timeline| timeline.end.at_ms as f64)
    }

    fn at_ms(&self) -> f64 {
        match self.goal {
            Goal::Place(at_ms) => at_ms.min(self.end_ms()),
            Goal::Tick(_) => self.moment().at_ms as f64,
        }
    }

    /// What there is to show.
    pub fn state(&self) -> PastState {
        let mut authors = Vec::new();
        for entry in self.last_tick().iter().flat_map(|tick| &tick.entries) {
            let author = self.author(entry.id.actor);
            if !authors.contains(&author) {
                authors.push(author);
            }
        }
        PastState {
            at_ms: self.at_ms(),
            end_ms: self.end_ms(),
            moment: self.moment(),
            authors,
            is_playing: self.playing.is_some(),
            is_loading: !self.has_failed && !self.is_there || self.restoring.is_some(),
            has_failed: self.has_failed,
        }
    }

    fn author(&self, actor: ActorId) -> (String, u32) {
        let authors = self.timeline.iter().flat_map(|timeline| &timeline.authors);
        authors
            .into_iter()
            .find(|author| author.actors.contains(&actor))
            .map(|author| (author.name.clone(), author.color))
            .unwrap_or_default()
    }

    /// How much was done when and by whom, if that is not known from the last call: the inside of an SVG picture, a unit
    /// wide for each part and 100 high.
    pub fn take_graph(&mut self) -> Option<String> {
        let timeline = self.timeline.as_ref().filter(|_| self.has_new_graph)?;
        self.has_new_graph = false;
        Some(graph::draw(timeline))
    }
}

/// Applies a tick; answers what it has changed, a stroke as often as it was changed.
fn apply(board: &mut Board, tick: &PastTick) -> Undone {
    let mut strokes = Vec::new();
    let mut points = 0;
    for entry in &tick.entries {
        for id in entry.op.strokes(&entry.id) {
            let stroke = board.look_up(id).cloned();
            points += 1 + stroke
                .as_ref()
                .map_or(0, |stroke| stroke.point_count as usize);
            strokes.push((id, stroke));
        }
        board.accept(entry);
    }
    Undone { strokes, points }
}

#[cfg(test)]
mod tests;
