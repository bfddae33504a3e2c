//! Joining: a session whose view has left its area gets a new one, and the strokes that it lacks of it.
//!
//! They follow as the chunks of the cells ([`crate::cells`]) that lie in the area, those nearest the middle of the
//! view first, at the pace at which the session's connection takes them. A chunk is a cell as it is at the end of a
//! tick and is sent after the tick's changes, so that those of later ticks apply to it. Strokes in it that the
//! session has already are sent as they are, and those outside of its area are dropped at its end. What changes
//! meanwhile comes from [`crate::interest`]. Who comes back ([`crate::resuming`]) gets the strokes that have changed
//! meanwhile first, and of cells only what was not held.
//!
//! Where what is lacking in view is more than can be there at once, what lies on top of it ([`sketch`]) comes before the
//! cells, and the session is told that it has something to show as soon as it has that.
//!
//! Both following views and encoding chunks have a measure a tick: whoever comes too late for it goes on in the next.

mod sketch;

use std::cmp::Reverse;
use std::collections::VecDeque;

use bevy_ecs::prelude::*;
use bytes::Bytes;
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::limits::CHUNK_STROKES_MAX;
use chalkboard_shared::wire::ServerMessage;
use chalkboard_shared::{BoardPoint, BoardRect, SessionId, Stroke, Tick};

use crate::audience::Audience;
use crate::cells::{CellId, CellShape, Cells};
use crate::output::Output;
use crate::people::{People, User, Viewport};
use crate::resuming::{Lacked, Recent, lacked};
use crate::room::Clock;
use crate::strokes::Body;
use sketch::sketch;

/// Points encoded in one tick, for all sessions together: 3 to 5 ms, and the last cell may pass it by half. What is
/// kept encoded costs nothing.
const ENCODED_POINTS_PER_TICK: usize = 64_000;

/// Cells looked at in one tick to follow views: about 1 ms. A board of 1,000,000 strokes has some 3,000.
const CELLS_PER_TICK: usize = 50_000;

/// Time between two new areas of one session in the long run, in milliseconds, and how many it may have at once: somebody
/// who flies over the board. Each costs a search of the cells, the cursors of the new area and its strokes; a view that
/// moves faster is followed when its time has come, to where it is then.
const AREA_INTERVAL_MS: u64 = 50;
const AREAS_AT_ONCE: u64 = 10;

/// Bytes of chunks to one session in a millisecond in the long run: 8 MB a second. At once it may have the largest board
/// of ordinary strokes, at 56 bytes each; only who looks here and there without end takes more.
const CHUNK_BYTES_PER_MS: u64 = 8_000;
const CHUNK_BYTES_AT_ONCE: u64 = 64_000_000;

/// Points at which a chunk of changed strokes, or of a sketch's, is closed, whose last one may have as many as a stroke may
/// have: with that far below what a chunk may hold.
const LISTED_POINTS_PER_CHUNK: usize = 32 * 1024;

/// Sessions whose view or chunks need attention, in the order of their turns.
#[derive(Resource, Debug, Default)]
pub(crate) struct Turns {
    /// Their views have changed.
    moved: VecDeque<SessionId>,
    /// They wait for chunks.
    waiting: VecDeque<SessionId>,
}

impl Turns {
    /// Some session has had some of its cells, and waits for others.
    pub(crate) fn is_any_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// What a session still lacks of its area.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// Strokes that it holds as they were before, the next one last.
    changed: Vec<Entity>,
    /// Strokes that come before their cells, where so much is in view that a part of it is shown first; the next one last.
    /// `None` where there is no need, and when it has been sent.
    sketch: Option<Vec<Entity>>,
    /// The next one last.
    cells: Vec<Lacking>,
    /// The area before this one, of which the session has everything else.
    held: Option<BoardRect>,
    /// The session waits to hear that it has everything in view, or the sketch of it.
    is_showing: bool,
    /// New areas that it has had, [`AREA_INTERVAL_MS`] each.
    areas: Measure,
    /// Bytes of chunks that it has had.
    bytes: Measure,
}

/// What somebody has had of something of late: it adds up, and is forgotten at a rate.
#[derive(Debug, Default)]
struct Measure {
    had: u64,
    at_ms: u32,
}

impl Measure {
    /// So much is not forgotten yet.
    fn had(&mut self, now_ms: u32, forgotten_per_ms: u64) -> u64 {
        let since_ms = now_ms.wrapping_sub(core::mem::replace(&mut self.at_ms, now_ms));
        let forgotten = forgotten_per_ms.saturating_mul(since_ms.into());
        self.had = self.had.saturating_sub(forgotten);
        self.had
    }

    fn add(&mut self, more: u64) {
        self.had += more;
    }
}

/// A cell that a session lacks.
#[derive(Debug, Clone, Copy)]
struct Lacking {
    cell: CellId,
    /// It has those of its strokes that lie in the area before.
    in_part: bool,
    /// The view for which the area was chosen touches it.
    in_view: bool,
}

impl Lacking {
    /// A session that holds this area lacks a stroke of the cell.
    fn lacks(self, stroke: &Stroke, held: Option<BoardRect>) -> bool {
        !self.in_part || !held.is_some_and(|held| held.intersects(stroke.extent()))
    }
}

/// Notes whose view has left its area.
pub(crate) fn notice_views(
    mut viewports: Query<(&User, &mut Viewport), Changed<Viewport>>,
    mut turns: ResMut<Turns>,
) {
    let mut moved = Vec::new();
    for (User(person), mut viewport) in &mut viewports {
        let is_left = viewport.coverage != Some(viewport.wanted_coverage());
        if is_left && !viewport.has_moved {
            viewport.has_moved = true;
            moved.push(person.session);
        }
    }
    moved.sort_unstable();
    turns.moved.extend(moved);
}

/// A view that has left its area gets a new one, and with it what it does not have yet.
pub(crate) fn follow_views(
    people: Res<People>,
    mut viewports: Query<&mut Viewport>,
    (mut turns, mut audience): (ResMut<Turns>, ResMut<Audience>),
    (cells, recent): (Res<Cells>, Res<Recent>),
    bodies: Query<&Body>,
    clock: Res<Clock>,
    mut output: ResMut<Output>,
) {
    let stroke_of = |entity| bodies.get(entity).ok().map(|Body(stroke)| stroke);
    let mut looked_at = 0;
    let mut early = Vec::new();
    while looked_at < CELLS_PER_TICK
        && let Some(session) = turns.moved.pop_front()
    {
        let entity = people.sessions.get(&session);
        let Some(mut viewport) = entity.and_then(|&entity| viewports.get_mut(entity).ok()) else {
            continue;
        };
        let coverage = viewport.wanted_coverage();
        let is_elsewhere = viewport.coverage != Some(coverage);
        if is_elsewhere && !viewport.as_mut().backlog.may_have_area(clock.now.uptime_ms) {
            early.push(session);
            continue;
        }
        let viewport = viewport.as_mut();
        viewport.has_moved = false;
        if !is_elsewhere {
            continue;
        }
        let before = viewport.coverage.replace(coverage);
        audience.follow(session, before, Some(coverage));
        let mut held = before.map(Coverage::rect);
        let resumed = viewport.resume.take().and_then(|resume| {
            let lacked = lacked(&recent, &bodies, &resume)?;
            Some((resume.held, lacked))
        });
        if resumed.is_some() {
            output.reliable(session, ServerMessage::Resumed.encode());
        }
        output.reliable(session, ServerMessage::Coverage(coverage).encode());
        if let Some((rect, lacked)) = resumed {
            held = Some(rect);
            looked_at += lacked.growing.len() + lacked.settled.len();
            if let Some(chunk) = viewport.backlog.resume(lacked, viewport.view, &bodies) {
                viewport.unwritten_bytes += chunk.len() as u64;
                output.reliable(session, chunk);
            }
        }
        let (view, backlog) = (viewport.view, &mut viewport.backlog);
        looked_at += backlog.fill(&cells, stroke_of, view, held, coverage);
        if !viewport.is_covering {
            viewport.is_covering = true;
            turns.waiting.push_back(session);
        }
    }
    turns.moved.extend(early);
}

impl Backlog {
    /// It is time for another area; if so, that counts.
    fn may_have_area(&mut self, now_ms: u32) -> bool {
        let is_time = self.areas.had(now_ms, 1) < AREAS_AT_ONCE * AREA_INTERVAL_MS;
        if is_time {
            self.areas.add(AREA_INTERVAL_MS);
        }
        is_time
    }

    /// A session comes back that lacks these: those that still grow are sent at once, the others as the connection
    /// takes them.
    fn resume(&mut self, lacked: Lacked, view: BoardRect, bodies: &Query<&Body>) -> Option<Bytes> {
        let stroke_of = |&entity: &Entity| bodies.get(entity).ok().map(|Body(stroke)| stroke);
        let mut growing: Vec<&Stroke> = lacked.growing.iter().filter_map(stroke_of).collect();
        growing.sort_unstable_by_key(|stroke| stroke.z);
        let rank = |entity: &Entity| {
            let stroke = stroke_of(entity);
            let is_in_view = stroke.is_some_and(|stroke| stroke.extent().intersects(view));
            (is_in_view, Reverse(stroke.map(|stroke| stroke.z)))
        };
        self.changed = lacked.settled;
        self.changed.sort_by_cached_key(rank);
        (!growing.is_empty()).then(|| ServerMessage::encode_chunk(growing))
    }

    /// The next of the strokes that have changed, or of the sketch.
    fn next_listed(&mut self, bodies: &Query<&Body>, work: &mut usize) -> Option<Bytes> {
        let chunk = next_of(&mut self.changed, |_| true, bodies, work);
        let sketch = self.sketch.as_mut().filter(|_| chunk.is_none());
        // What was erased since the sketch was made is not looked for by anybody.
        let is_visible = |stroke: &Stroke| !stroke.erased.value;
        chunk.or_else(|| next_of(sketch?, is_visible, bodies, work))
    }

    /// Nothing is lacking.
    const fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.cells.is_empty()
    }

    /// What a session lacks of a new area. Answers how many cells and strokes were looked at.
    fn fill<'a>(
        &mut self,
        cells: &Cells,
        stroke_of: impl Fn(Entity) -> Option<&'a Stroke>,
        view: BoardRect,
        held: Option<BoardRect>,
        coverage: Coverage,
    ) -> usize {
        let mut waiting: Vec<CellId> = self.cells.iter().map(|lacking| lacking.cell).collect();
        waiting.sort_unstable();
        let mut wanted = Vec::new();
        let area = coverage.rect();
        let mut looked_at = cells.search(area, &waiting, |cell, bounds, is_waiting| {
            // A session that waited for a cell may have some of it, but is not relied upon to.
            let in_part = !is_waiting && held.is_some_and(|held| held.intersects(bounds));
            let is_held = in_part && held.is_some_and(|held| held.contains_rect(bounds));
            if !is_held {
                let lacking = Lacking {
                    cell,
                    in_part,
                    in_view: bounds.intersects(view),
                };
                wanted.push((remoteness(view, bounds), lacking));
            }
        });
        // The nearest last, because they are taken from the end.
        wanted.sort_unstable_by_key(|(remoteness, lacking)| Reverse((*remoteness, lacking.cell)));
        self.cells = wanted.into_iter().map(|(_, lacking)| lacking).collect();
        self.held = held;
        self.is_showing = true;
        let in_view = self.cells.iter().rev().take_while(|next| next.in_view);
        self.sketch = sketch(cells, in_view, |lacking, entity| {
            looked_at += 1;
            let stroke = stroke_of(entity)?;
            let is_seen = stroke.extent().intersects(view) && lacking.lacks(stroke, held);
            is_seen.then_some(stroke.point_count as usize)
        });
        looked_at
    }

    /// `true` once, when the session has everything in view, or a sketch of it: cells in view are taken first.
    fn take_shown(&mut self) -> bool {
        let is_in_view = match &self.sketch {
            Some(sketch) => sketch.is_empty(),
            None => self.cells.last().is_none_or(|next| !next.in_view),
        };
        let is_shown = self.is_showing && self.changed.is_empty() && is_in_view;
        if is_shown {
            self.is_showing = false;
            self.sketch = None;
        }
        is_shown
    }

    /// The next chunk of an area, if there is one and `work` is left for it.
    fn next(
        &mut self,
        area: BoardRect,
        cells: &mut Cells,
        bodies: &Query<&Body>,
        now: Tick,
        work: &mut usize,
    ) -> Option<Bytes> {
        if *work > 0
            && let Some(chunk) = self.next_listed(bodies, work)
        {
            return Some(chunk);
        }
        let stroke_of = |entity| bodies.get(entity).ok().map(|Body(stroke)| stroke);
        while *work > 0
            && let Some(lacking) = self.cells.pop()
        {
            let cell = lacking.cell;
            match cells.shape(cell) {
                CellShape::Branch(parts) => {
                    let parts = parts.map(|cell| Lacking { cell, ..lacking });
                    self.cells.extend(parts);
                }
                CellShape::Leaf(0) => {}
                CellShape::Leaf(strokes) => {
                    let is_lacking = |&entity: &Entity| {
                        stroke_of(entity).is_some_and(|stroke| {
                            stroke.extent().intersects(area) && lacking.lacks(stroke, self.held)
                        })
                    };
                    if lacking.in_part {
                        *work = work.saturating_sub(strokes);
                    }
                    if !cells.strokes(cell).iter().any(is_lacking) {
                        continue;
                    }
                    let chunk = cells.chunk(cell, now, stroke_of);
                    *work = work.saturating_sub(chunk.work);
                    return Some(chunk.frame);
                }
            }
        }
        None
    }
}

/// The next of a list's strokes that are wanted, the list's last ones: as many as make a chunk.
fn next_of(
    list: &mut Vec<Entity>,
    is_wanted: impl Fn(&Stroke) -> bool,
    bodies: &Query<&Body>,
    work: &mut usize,
) -> Option<Bytes> {
    let mut points = 0;
    let mut strokes = Vec::new();
    while points < LISTED_POINTS_PER_CHUNK
        && strokes.len() < CHUNK_STROKES_MAX
        && let Some(entity) = list.pop()
    {
        if let Ok(Body(stroke)) = bodies.get(entity)
            && is_wanted(stroke)
        {
            points += stroke.point_count as usize;
            strokes.push(stroke);
        }
    }
    *work = work.saturating_sub(points);
    strokes.sort_unstable_by_key(|stroke| stroke.z);
    (!strokes.is_empty()).then(|| ServerMessage::encode_chunk(strokes))
}

/// How much later than others a cell is wanted: first those in the view, each group from the middle outwards.
fn remoteness(view: BoardRect, bounds: BoardRect) -> (bool, i64, i64) {
    let middle = view.center();
    let center = bounds.center();
    let center = BoardRect {
        min: center,
        max: center,
    };
    (
        !bounds.intersects(view),
        distance(middle, bounds),
        distance(middle, center),
    )
}

/// Distance of a point to a rectangle along the axis where it is larger.
fn distance(point: BoardPoint, rect: BoardRect) -> i64 {
    let gap = |v: i32, min: i32, max: i32| {
        (i64::from(min) - i64::from(v))
            .max(i64::from(v) - i64::from(max))
            .max(0)
    };
    gap(point.x, rect.min.x, rect.max.x).max(gap(point.y, rect.min.y, rect.max.y))
}

/// The next chunks of those that sessions wait for.
pub(crate) fn send_chunks(
    people: Res<People>,
    mut viewports: Query<&mut Viewport>,
    mut turns: ResMut<Turns>,
    mut cells: ResMut<Cells>,
    bodies: Query<&Body>,
    clock: Res<Clock>,
    mut output: ResMut<Output>,
) {
    let mut work = ENCODED_POINTS_PER_TICK;
    turns.waiting.retain(|&session| {
        let entity = people.sessions.get(&session);
        let Some(mut viewport) = entity.and_then(|&entity| viewports.get_mut(entity).ok()) else {
            return false;
        };
        if !viewport.can_take_chunks() {
            return true;
        }
        let viewport = viewport.as_mut();
        let area = viewport.coverage.map_or(BoardRect::EMPTY, Coverage::rect);
        let mut had = viewport
            .backlog
            .bytes
            .had(clock.now.uptime_ms, CHUNK_BYTES_PER_MS);
        while viewport.can_take_chunks()
            && had < CHUNK_BYTES_AT_ONCE
            && let Some(chunk) = viewport
                .backlog
                .next(area, &mut cells, &bodies, clock.tick, &mut work)
        {
            let bytes = chunk.len() as u64;
            viewport.unwritten_bytes += bytes;
            viewport.backlog.bytes.add(bytes);
            had += bytes;
            output.reliable(session, chunk);
            if viewport.backlog.take_shown() {
                output.reliable(session, ServerMessage::Shown.encode());
            }
        }
        if viewport.backlog.take_shown() {
            output.reliable(session, ServerMessage::Shown.encode());
        }
        if viewport.backlog.is_empty() {
            viewport.is_covering = false;
            output.reliable(session, ServerMessage::Covered.encode());
        }
        viewport.is_covering
    });
    // Whoever came first last time comes last, so that nobody takes all of the work for long.
    if turns.waiting.len() > 1 {
        turns.waiting.rotate_left(1);
    }
}
