//! Joining: a session whose view has left its area gets a new one, and the strokes that it lacks of it.
//!
//! They follow in chunks, those nearest the middle of the view first, at the pace at which the session's connection
//! takes them. What changes meanwhile comes from [`crate::interest`].

use bevy_ecs::prelude::*;
use bytes::Bytes;
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::limits::CHUNK_BYTES_TARGET;
use chalkboard_shared::wire::ServerMessage;
use chalkboard_shared::{BoardRect, StrokeId};

use crate::index::{Indexed, StrokeIndex};
use crate::output::Output;
use crate::people::{People, User, Viewport};
use crate::strokes::{Body, StrokeTable};

/// Chunks sent to one session in one tick: 128 KB at 60 Hz is 60 Mbit a second.
const CHUNK_BYTES_PER_TICK: usize = 128 * 1024;

/// A view that has left its area gets a new one, and with it what it does not have yet.
pub(crate) fn follow_views(
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
pub(crate) fn send_chunks(
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
