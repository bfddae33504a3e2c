//! Interest: every session receives what happens in the area that it covers, and nothing else.
//!
//! An op is encoded once when it is accepted; here those bodies are put together once for each distinct area that they
//! reach ([`crate::audience`]) and the result is shared by all sessions that cover it. A stroke that grows or comes back into an area is sent whole.
//! What a session lacks of a new area follows from [`crate::joining`].

use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bytes::Bytes;
use chalkboard_shared::codec::Writer;
use chalkboard_shared::presence::Pace;
use chalkboard_shared::wire::UpdatesWriter;
use chalkboard_shared::{BoardRect, Tick};

use crate::apply::{Accepted, AcceptedOps, Brief};
use crate::audience::Audience;
use crate::joining::{Turns, follow_views, notice_views, send_chunks};
use crate::live_ink::{LiveInk, tell_live_ink};
use crate::output::Output;
use crate::resuming::{Recent, note_changes};
use crate::room::{Clock, RoomSystems, RoomTick};
use crate::strokes::{Body, StrokeTable, Touched};

/// Size in bytes at which a frame of updates is closed and the next begun.
const UPDATES_BYTES_TARGET: usize = 128 * 1024;

/// Unit of a stamp in microseconds.
const STAMP_US: u32 = 10;

/// Sends changes to those who cover them.
pub(crate) struct InterestPlugin;

impl Plugin for InterestPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Audience>();
        app.init_resource::<Turns>();
        app.init_resource::<Recent>();
        app.init_resource::<LiveInk>();
        app.add_systems(
            RoomTick,
            (
                send_changes,
                tell_live_ink,
                note_changes,
                notice_views,
                follow_views,
                send_chunks,
                end_changes,
            )
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
    /// It has come into it, or back: it must be sent whole. Hidden ones too, because who has just covered another area
    /// may hold it as it was there.
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
    let is_shown_again = !stroke.erased.value && !before.is_visible;
    match (was_in, is_in) {
        (false, false) => Relevance::None,
        (false, true) => Relevance::Entered,
        (true, true) if is_shown_again => Relevance::Entered,
        (true, _) => Relevance::Known,
    }
}

/// The ops of the tick, for everybody who covers what they changed.
pub(crate) fn send_changes(
    accepted: Res<AcceptedOps>,
    table: Res<StrokeTable>,
    bodies: Query<&Body>,
    mut audience: ResMut<Audience>,
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
    let reaches: Vec<BoardRect> = touched
        .iter()
        .map(|(touched, Body(stroke))| {
            let before = touched
                .before
                .map_or(BoardRect::EMPTY, |before| before.extent);
            stroke.extent().union(before)
        })
        .collect();
    let ops = OpsByStroke::of(&accepted.0, touched.len());
    let mut whole: Vec<Option<Bytes>> = vec![None; touched.len()];
    let mut relevances = vec![Relevance::None; touched.len()];
    let mut relevant_ops = Vec::new();
    let stamp_shift = stamp_shift(clock.pace);
    audience.visit_met(&reaches, |area, slots| {
        relevant_ops.clear();
        for &slot in slots {
            let (touched, body) = touched[slot as usize];
            let relevance = relevance(touched, body, area.rect());
            relevances[slot as usize] = relevance;
            if relevance == Relevance::Entered {
                whole[slot as usize].get_or_insert_with(|| {
                    let mut w = Writer::new();
                    body.0.encode(&mut w);
                    w.into_bytes()
                });
            }
            if relevance != Relevance::None {
                relevant_ops.extend_from_slice(ops.on(slot));
            }
        }
        // An op that has touched several strokes is told once, in the room's order like all others.
        relevant_ops.sort_unstable();
        relevant_ops.dedup();
        let mut frames = Frames::of(clock.tick, stamp_shift);
        for &op in &relevant_ops {
            let op = &accepted.0[op as usize];
            let mut relevances = op.touched.iter().map(|&slot| relevances[slot as usize]);
            let is_wanted = |relevance: Relevance| match relevance {
                Relevance::Known => true,
                Relevance::Entered => !op.is_growth,
                Relevance::None => false,
            };
            if let Some(relevance) = relevances.find(|relevance| is_wanted(*relevance)) {
                // Only those who know all of a stroke know where its pen was going.
                let brief = op.brief.as_ref().filter(|_| relevance == Relevance::Known);
                frames.add(|frame| {
                    let is_told = brief.is_some_and(|brief| match brief {
                        Brief::Begin(entry) => frame.begin(op.stamp, entry),
                        Brief::Growth(growth) => frame.growth(op.position, op.stamp, growth),
                        Brief::End(end) => frame.end(op.position, op.stamp, *end),
                    });
                    if !is_told {
                        frame.op(op.position, op.stamp, &op.body);
                    }
                });
            }
        }
        for &slot in slots {
            if relevances[slot as usize] == Relevance::Entered
                && let Some(body) = &whole[slot as usize]
            {
                frames.add(|frame| frame.stroke(body));
            }
        }
        for frame in frames.finish() {
            output.reliable(area.sessions(), frame);
        }
        // Nothing is left of it for the next area.
        for &slot in slots {
            relevances[slot as usize] = Relevance::None;
        }
    });
}

/// Which ops have touched a stroke, by its place in [`StrokeTable::touched`].
struct OpsByStroke {
    /// Numbers of ops, those of a stroke together and in order.
    ops: Vec<u32>,
    /// Where a stroke's ops end; they begin where those of the one before end.
    ends: Vec<u32>,
}

impl OpsByStroke {
    fn of(accepted: &[Accepted], strokes: usize) -> Self {
        let mut pairs: Vec<(u32, u32)> = accepted
            .iter()
            .zip(0_u32..)
            .flat_map(|(op, number)| op.touched.iter().map(move |&slot| (slot, number)))
            .collect();
        pairs.sort_unstable();
        let mut ends = vec![0_u32; strokes];
        for ((slot, _), end) in pairs.iter().zip(1..) {
            ends[*slot as usize] = end;
        }
        // A stroke without ops ends where it begins.
        for slot in 1..ends.len() {
            ends[slot] = ends[slot].max(ends[slot - 1]);
        }
        Self {
            ops: pairs.into_iter().map(|(_, number)| number).collect(),
            ends,
        }
    }

    fn on(&self, slot: u32) -> &[u32] {
        let slot = slot as usize;
        let start = slot.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.ops[start as usize..self.ends[slot] as usize]
    }
}

/// Update frames of one area, cut at a size.
struct Frames<'a> {
    tick: Tick,
    stamp_shift: u32,
    current: UpdatesWriter<'a>,
    done: Vec<Bytes>,
}

/// Ticks from this length on leave more of the stamps out.
const LONG_TICK_US: u32 = 50_000;

/// Low bits of stamps that nobody needs: they measure how long something took, which is some ticks at least, and are
/// told to a 32nd of one; to an 8th where thousands are told and everything takes long.
const fn stamp_shift(pace: Pace) -> u32 {
    let parts = if pace.tick_us < LONG_TICK_US { 32 } else { 8 };
    let part = pace.tick_us / STAMP_US / parts;
    if part == 0 { 0 } else { part.ilog2() }
}

impl<'a> Frames<'a> {
    fn of(tick: Tick, stamp_shift: u32) -> Self {
        Self {
            tick,
            stamp_shift,
            current: UpdatesWriter::new(tick, stamp_shift),
            done: Vec::new(),
        }
    }

    fn add(&mut self, write: impl FnOnce(&mut UpdatesWriter<'a>)) {
        write(&mut self.current);
        if self.current.len() >= UPDATES_BYTES_TARGET {
            let next = UpdatesWriter::new(self.tick, self.stamp_shift);
            let full = core::mem::replace(&mut self.current, next);
            self.done.push(full.finish());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        if !self.current.is_empty() {
            self.done.push(self.current.finish());
        }
        self.done
    }
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
