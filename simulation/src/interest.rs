//! Interest: every session receives what happens in the area that it covers, and nothing else.
//!
//! An op is encoded once when it is accepted; here those bodies are put together once for each distinct area and the
//! result is shared by all sessions that cover it. A stroke that grows or comes back into an area is sent whole.
//! What a session lacks of a new area follows from [`crate::joining`].

use std::collections::BTreeMap;
use std::sync::Arc;

use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bytes::Bytes;
use chalkboard_shared::codec::Writer;
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::wire::UpdatesWriter;
use chalkboard_shared::{BoardRect, SessionId};

use crate::apply::AcceptedOps;
use crate::joining::{Turns, follow_views, notice_views, send_chunks};
use crate::output::Output;
use crate::people::{People, User, Viewport};
use crate::room::{Clock, RoomSystems, RoomTick};
use crate::strokes::{Body, StrokeTable, Touched};

/// Size in bytes at which a frame of updates is closed and the next begun.
const UPDATES_BYTES_TARGET: usize = 128 * 1024;

/// Sends changes to those who cover them.
pub(crate) struct InterestPlugin;

impl Plugin for InterestPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Turns>();
        app.add_systems(
            RoomTick,
            (
                send_changes,
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
    /// It has come into it while it is hidden. Who holds it does not know what it has gained outside, and learns that when
    /// it is shown again.
    Veiled,
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
    } else if was_in {
        Relevance::Known
    } else if is_in {
        Relevance::Veiled
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
        for (slot, relevance) in relevances.iter().enumerate() {
            if *relevance == Relevance::Entered {
                whole[slot].get_or_insert_with(|| {
                    let mut w = Writer::new();
                    touched[slot].1.0.encode(&mut w);
                    w.into_bytes()
                });
            }
        }
        let mut frames = Frames {
            tick: clock.tick,
            current: UpdatesWriter::new(clock.tick),
            done: Vec::new(),
        };
        for op in &accepted.0 {
            let mut relevances = op.touched.iter().map(|&slot| relevances[slot as usize]);
            let is_wanted = |relevance: Relevance| match relevance {
                Relevance::Known | Relevance::Veiled => true,
                Relevance::Entered => !op.is_growth,
                Relevance::None => false,
            };
            if let Some(relevance) = relevances.find(|relevance| is_wanted(*relevance)) {
                // Only those who know all of a stroke know where its pen was going.
                let growth = op.growth.as_ref().filter(|_| relevance == Relevance::Known);
                frames.add(|frame| {
                    let is_told =
                        growth.is_some_and(|growth| frame.growth(op.position, op.stamp, growth));
                    if !is_told {
                        frame.op(op.position, op.stamp, &op.body);
                    }
                });
            }
        }
        for (body, relevance) in whole.iter().zip(&relevances) {
            if let Some(body) = body
                && *relevance == Relevance::Entered
            {
                frames.add(|frame| frame.stroke(body));
            }
        }
        let sessions = Arc::<[SessionId]>::from(sessions);
        for frame in frames.finish() {
            output.reliable(sessions.clone(), frame);
        }
    }
}

/// Update frames of one area, cut at a size.
struct Frames<'a> {
    tick: chalkboard_shared::Tick,
    current: UpdatesWriter<'a>,
    done: Vec<Bytes>,
}

impl<'a> Frames<'a> {
    fn add(&mut self, write: impl FnOnce(&mut UpdatesWriter<'a>)) {
        write(&mut self.current);
        if self.current.len() >= UPDATES_BYTES_TARGET {
            let full = core::mem::replace(&mut self.current, UpdatesWriter::new(self.tick));
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
