//! Index: the cells of visible strokes and the board's digest follow what the tick has touched.

use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::IntoScheduleConfigs;

#[cfg(feature = "sabotage")]
use chalkboard_shared::sabotage::{Fault, is};

use crate::cells::Cells;
use crate::joining::Turns;
use crate::room::{RoomSystems, RoomTick};
use crate::strokes::{Body, StrokeTable};

/// Keeps the cells and the digest.
pub(crate) struct IndexPlugin;

impl Plugin for IndexPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Cells>();
        app.add_systems(RoomTick, index_touched.in_set(RoomSystems::Index));
    }
}

fn index_touched(
    mut table: ResMut<StrokeTable>,
    mut cells: ResMut<Cells>,
    turns: Res<Turns>,
    bodies: Query<&Body>,
) {
    let stroke_of = |entity| bodies.get(entity).ok().map(|Body(stroke)| stroke);
    for slot in 0..table.touched.len() {
        let touched = table.touched[slot];
        let Some(stroke) = stroke_of(touched.entity) else {
            continue;
        };
        table.replace_digest(touched.before, stroke.digest());
        let before = touched.before.filter(|before| before.is_visible);
        match (before, !stroke.erased.value) {
            #[cfg(feature = "sabotage")]
            (None, true) if is(Fault::UnindexedRestore) && touched.before.is_some() => {}
            (None, true) => cells.insert(touched.entity, stroke, stroke_of),
            (Some(before), true) => {
                cells.update(touched.entity, stroke, before.point_count, stroke_of);
                // Its middle does not move any more, and nobody is on the way through the cells.
                if stroke.is_finished() && !turns.is_any_waiting() {
                    cells.settle(touched.entity, stroke, stroke_of);
                }
            }
            (Some(before), false) => cells.remove(touched.entity, before.point_count),
            (None, false) => {}
        }
    }
}

/// Builds cells and digest anew from all strokes, and ends the tick for them.
pub(crate) fn rebuild(world: &mut World) {
    let mut bodies = world.query::<(Entity, &Body)>();
    let strokes: Vec<_> = bodies
        .iter(world)
        .map(|(entity, Body(stroke))| (entity, stroke.id, stroke.digest()))
        .collect();
    let mut table = world.resource_mut::<StrokeTable>();
    for &(_, _, digest) in &strokes {
        table.replace_digest(None, digest);
    }
    table.forget_touched(strokes.iter().map(|&(_, id, _)| id));
    world.resource_scope(|world, mut cells: Mut<Cells>| {
        *cells = Cells::default();
        let stroke_of = |entity| world.get::<Body>(entity).map(|Body(stroke)| stroke);
        for (entity, ..) in strokes {
            if let Some(stroke) = stroke_of(entity)
                && !stroke.erased.value
            {
                cells.insert(entity, stroke, stroke_of);
            }
        }
    });
}
