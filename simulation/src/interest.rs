//! Interest: every session receives what happens in the area that it covers, and nothing else.
//!
//! An op is encoded once when it is accepted; here those bodies are put together once for each distinct area and the
//! result is shared by all sessions that cover it. A stroke that grows or comes back into an area is sent whole.
//! When an area changes, the strokes of its new part follow in chunks, those nearest the middle of the view first,
//! at the pace at which the session's connection takes them.

use std::collections::BTreeMap;

use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bytes::Bytes;
use chalkboard_shared::codec::Writer;
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::limits::CHUNK_BYTES_TARGET;
use chalkboard_shared::wire::{ServerMessage, UpdatesWriter};
use chalkboard_shared::{BoardRect, SessionId, StrokeId};

use crate::apply::AcceptedOps;
use crate::index::{Indexed, StrokeIndex};
use crate::output::Output;
use crate::people::{People, User, Viewport};
use crate::room::{Clock, RoomSystems, RoomTick};
use crate::strokes::{Body, StrokeTable, Touched};

/// Size in bytes at which a frame of updates is closed and the next begun.
const UPDATES_BYTES_TARGET: usize = 128 * 1024;

/// Chunks sent to one session in one tick: 128 KB at 60 Hz is 60 Mbit a second.
const CHUNK_BYTES_PER_TICK: usize = 128 * 1024;

/// Sends changes to those who cover them, and follows views.
pub(crate) struct InterestPlugin;

impl Plugin for InterestPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(
            RoomTick,
            (send_changes, follow_views, send_chunks, end_changes)
                .chain()
                .in_set(RoomSystems::Interest),
        );
    }
}

/// What a touched stroke means to an area.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Relevance {
    /// It is not in it.
    None,
    /// The area's sessions follow it, or it is hidden in it: those who hold it must learn what is done to it, above
    /// all the authors of it, in the room's order.
    Known,
    /// It has come into it: it must be sent whole.
    Entered,
}

fn relevance(touched: &Touched, body: &Body, area: BoardRect) -> Relevance {
    let Body(stroke) = body;
    let is_in = stroke.extent().intersects(area);
    let Some(before) = touched.before else {
        return if is_in {
            Relevance::Known
        } else {
            Relevance::None
        };
    };
    let was_in = before.extent.intersects(area);
    if is_in && !stroke.erased.value && !(was_in && before.is_visible) {
        Relevance::Entered
    } else if was_in || is_in {
        Relevance::Known
    } else {
        Relevance::None
    }
}

/// Sessions by the area that they cover, newcomers left out.
fn by_area(
    people: &People,
    viewports: &Query<(&User, &mut Viewport)>,
) -> BTreeMap<Coverage, Vec<SessionId>> {
    let mut areas = BTreeMap::<_, Vec<_>>::new();
    for (&session, &entity) in &people.sessions {
        if let Ok((_, viewport)) = viewports.get(entity)
            && let Some(coverage) = viewport.coverage
        {
            areas.entry(coverage).or_default().push(session);
        }
    }
    areas
}

/// The ops of the tick, for everybody who covers what they changed.
pub(crate) fn send_changes(
    accepted: Res<AcceptedOps>,
    table: Res<StrokeTable>,
    bodies: Query<&Body>,
    people: Res<People>,
    viewports: Query<(&User, &mut Viewport)>,
    clock: Res<Clock>,
    mut output: ResMut<Output>,
) {
    if accepted.0.is_empty() {
        return;
    }
    // Strokes are never despawned, so that places in `touched` stay what they were when the ops were applied.
    let touched: Vec<(&Touched, &Body)> = table
        .touched
        .iter()
        .filter_map(|touched| Some((touched, bodies.get(touched.entity).ok()?)))
        .collect();
    let mut whole: Vec<Option<Bytes>> = vec![None; touched.len()];
    for (coverage, sessions) in by_area(&people, &viewports) {
        let area = coverage.rect();
        let relevances: Vec<_> = touched
            .iter()
            .map(|(touched, body)| relevance(touched, body, area))
            .collect();
        let mut frames = Frames {
            tick: clock.tick,
            current: UpdatesWriter::new(clock.tick),
            has_content: false,
            done: Vec::new(),
        };
        for op in &accepted.0 {
            let is_wanted = op
                .touched
                .iter()
                .any(|&slot| match relevances[slot as usize] {
                    Relevance::Known => true,
                    Relevance::Entered => !op.is_growth,
                    Relevance::None => false,
                });
            if is_wanted {
                frames.add(|frame| frame.op(op.position, &op.body));
            }
        }
        for (slot, relevance) in relevances.iter().enumerate() {
            if *relevance == Relevance::Entered {
                let body = whole[slot].get_or_insert_with(|| {
                    let mut w = Writer::new();
                    touched[slot].1.0.encode(&mut w);
                    w.into_bytes()
                });
                frames.add(|frame| frame.stroke(body));
            }
        }
        for frame in frames.finish() {
            for &session in &sessions {
                output.reliable(session, frame.clone());
            }
        }
    }
}

/// Update frames of one area, cut at a size.
struct Frames {
    tick: chalkboard_shared::Tick,
    current: UpdatesWriter,
    has_content: bool,
    done: Vec<Bytes>,
}

impl Frames {
    fn add(&mut self, write: impl FnOnce(&mut UpdatesWriter)) {
        write(&mut self.current);
        self.has_content = true;
        if self.current.len() >= UPDATES_BYTES_TARGET {
            let full = core::mem::replace(&mut self.current, UpdatesWriter::new(self.tick));
            self.done.push(full.finish());
            self.has_content = false;
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        if self.has_content {
            self.done.push(self.current.finish());
        }
        self.done
    }
}

/// A view that has left its area gets a new one, and with it what it does not have yet.
fn follow_views(
    people: Res<People>,
    mut viewports: Query<(&User, &mut Viewport)>,
    index: Res<StrokeIndex>,
    mut output: ResMut<Output>,
) {
    for (&session, &entity) in &people.sessions {
        let Ok((_, mut viewport)) = viewports.get_mut(entity) else {
            continue;
        };
        let before = viewport.coverage;
        let coverage = Coverage::of_view(viewport.view, before);
        if before == Some(coverage) {
            continue;
        }
        let viewport = viewport.as_mut();
        viewport.coverage = Some(coverage);
        output.reliable(session, ServerMessage::Coverage(coverage).encode());
        let held = before.map_or(BoardRect::EMPTY, Coverage::rect);
        let mut waiting: Vec<StrokeId> = core::mem::take(&mut viewport.backlog);
        waiting.sort_unstable();
        let mut wanted: Vec<Indexed> = index
            .within(coverage.rect())
            .into_iter()
            .filter(|stroke| {
                !stroke.extent.intersects(held) || waiting.binary_search(&stroke.id).is_ok()
            })
            .collect();
        let middle = viewport.view.center();
        // The nearest last, because they are taken from the end; then by drawing order, so that ties are stable.
        wanted.sort_unstable_by_key(|stroke| {
            (
                core::cmp::Reverse(distance(middle, stroke.extent)),
                core::cmp::Reverse(stroke.z),
            )
        });
        viewport.backlog = wanted.into_iter().map(|stroke| stroke.id).collect();
        viewport.is_covering = true;
    }
}

/// Distance of a point to a rectangle along the axis where it is larger.
fn distance(point: chalkboard_shared::BoardPoint, rect: BoardRect) -> i64 {
    let gap = |v: i32, min: i32, max: i32| {
        (i64::from(min) - i64::from(v))
            .max(i64::from(v) - i64::from(max))
            .max(0)
    };
    gap(point.x, rect.min.x, rect.max.x).max(gap(point.y, rect.min.y, rect.max.y))
}

/// The next strokes of those that sessions wait for.
fn send_chunks(
    people: Res<People>,
    mut viewports: Query<(&User, &mut Viewport)>,
    table: Res<StrokeTable>,
    bodies: Query<&Body>,
    mut output: ResMut<Output>,
) {
    for (&session, &entity) in &people.sessions {
        let Ok((_, mut viewport)) = viewports.get_mut(entity) else {
            continue;
        };
        if !viewport.is_covering {
            continue;
        }
        let viewport = viewport.as_mut();
        let mut sent = 0;
        while sent < CHUNK_BYTES_PER_TICK
            && viewport.can_take_chunks()
            && !viewport.backlog.is_empty()
        {
            let chunk = next_chunk(&mut viewport.backlog, &table, &bodies);
            sent += chunk.len();
            viewport.unwritten_bytes += chunk.len() as u64;
            output.reliable(session, chunk);
        }
        if viewport.backlog.is_empty() {
            viewport.is_covering = false;
            output.reliable(session, ServerMessage::Covered.encode());
        }
    }
}

fn next_chunk(backlog: &mut Vec<StrokeId>, table: &StrokeTable, bodies: &Query<&Body>) -> Bytes {
    let mut chunk = ServerMessage::chunk_writer();
    while chunk.len() < CHUNK_BYTES_TARGET
        && let Some(id) = backlog.pop()
    {
        let body = table.entity(id).and_then(|entity| bodies.get(entity).ok());
        if let Some(Body(stroke)) = body
            && !stroke.erased.value
        {
            stroke.encode(&mut chunk);
        }
    }
    chunk.into_bytes()
}

/// The tick's changes have been sent.
fn end_changes(
    mut accepted: ResMut<AcceptedOps>,
    mut table: ResMut<StrokeTable>,
    bodies: Query<&Body>,
) {
    accepted.0.clear();
    if table.touched.is_empty() {
        return;
    }
    let ids: Vec<_> = table
        .touched
        .iter()
        .filter_map(|touched| bodies.get(touched.entity).ok())
        .map(|body| body.0.id)
        .collect();
    table.forget_touched(ids);
}
