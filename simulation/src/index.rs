//! Index: the R-tree over visible strokes and the board's digest follow what the tick has touched.

use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::IntoScheduleConfigs;
use chalkboard_shared::{BoardPoint, BoardRect, Position, StrokeId};
use rstar::{AABB, RStarInsertionStrategy, RTree, RTreeObject, RTreeParams};

use crate::room::{RoomSystems, RoomTick};
use crate::strokes::{Body, StrokeTable};

/// 16 children a node measured best for queries of some thousand hits.
#[derive(Debug)]
pub(crate) struct WideNodes;

impl RTreeParams for WideNodes {
    const MIN_SIZE: usize = 6;
    const MAX_SIZE: usize = 16;
    const REINSERTION_COUNT: usize = 4;
    type DefaultInsertionStrategy = RStarInsertionStrategy;
}

/// A visible stroke in the tree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Indexed {
    pub(crate) extent: BoardRect,
    pub(crate) id: StrokeId,
    pub(crate) z: Position,
}

impl RTreeObject for Indexed {
    type Envelope = AABB<[f64; 2]>;

    fn envelope(&self) -> Self::Envelope {
        envelope(self.extent)
    }
}

/// In `f64`, which holds every coordinate exactly: the tree multiplies lengths to areas, which no `i32` would hold.
fn envelope(rect: BoardRect) -> AABB<[f64; 2]> {
    let corner = |p: BoardPoint| [f64::from(p.x), f64::from(p.y)];
    AABB::from_corners(corner(rect.min), corner(rect.max))
}

/// Visible strokes by where they are.
#[derive(Resource, Default)]
pub(crate) struct StrokeIndex {
    tree: RTree<Indexed, WideNodes>,
}

impl StrokeIndex {
    /// Visible strokes.
    pub(crate) fn len(&self) -> usize {
        self.tree.size()
    }

    /// Visible strokes whose extent meets a rectangle, in no particular order.
    pub(crate) fn within(&self, rect: BoardRect) -> Vec<Indexed> {
        let mut found = Vec::new();
        let _ = self
            .tree
            .locate_in_envelope_intersecting_int(envelope(rect), |indexed| {
                found.push(*indexed);
                core::ops::ControlFlow::<()>::Continue(())
            });
        found
    }
}

/// Keeps the index and the digest.
pub(crate) struct IndexPlugin;

impl Plugin for IndexPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<StrokeIndex>();
        app.add_systems(RoomTick, index_touched.in_set(RoomSystems::Index));
    }
}

fn index_touched(
    mut table: ResMut<StrokeTable>,
    mut index: ResMut<StrokeIndex>,
    bodies: Query<&Body>,
) {
    for slot in 0..table.touched.len() {
        let touched = table.touched[slot];
        let Ok(Body(stroke)) = bodies.get(touched.entity) else {
            continue;
        };
        table.replace_digest(touched.before, stroke.digest());
        let entry = |extent| Indexed {
            extent,
            id: stroke.id,
            z: stroke.z,
        };
        let before = touched
            .before
            .filter(|before| before.is_visible)
            .map(|before| before.extent);
        let after = (!stroke.erased.value).then(|| stroke.extent());
        if before != after {
            if let Some(extent) = before {
                index.tree.remove(&entry(extent));
            }
            if let Some(extent) = after {
                index.tree.insert(entry(extent));
            }
        }
    }
}

/// Builds index and digest anew from all strokes, and ends the tick for them.
pub(crate) fn rebuild(world: &mut World) {
    let mut bodies = world.query::<&Body>();
    let strokes: Vec<_> = bodies
        .iter(world)
        .map(|Body(stroke)| {
            let visible = (!stroke.erased.value).then(|| Indexed {
                extent: stroke.extent(),
                id: stroke.id,
                z: stroke.z,
            });
            (stroke.id, stroke.digest(), visible)
        })
        .collect();
    let mut table = world.resource_mut::<StrokeTable>();
    for &(_, digest, _) in &strokes {
        table.replace_digest(None, digest);
    }
    table.forget_touched(strokes.iter().map(|(id, ..)| *id));
    let tree = RTree::bulk_load_with_params(
        strokes
            .into_iter()
            .filter_map(|(.., visible)| visible)
            .collect(),
    );
    world.resource_mut::<StrokeIndex>().tree = tree;
}
