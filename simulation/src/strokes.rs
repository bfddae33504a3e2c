//! Strokes as entities, and the table that finds them.
//!
//! The component holds a stroke's small state; its points lie on the heap, packed once it is finished. Whatever
//! changes a stroke goes through [`Board`], which notes what each was like before the tick: digest, index and
//! interest look only at those ([`StrokeTable::touched`]), never at the whole board.

use std::collections::HashMap;

use bevy_ecs::prelude::*;
use chalkboard_shared::digest::Digest;
use chalkboard_shared::merge::Strokes;
use chalkboard_shared::{BoardRect, Stroke, StrokeId};

/// A stroke on the board.
#[derive(Component, Debug)]
pub(crate) struct Body(pub(crate) Stroke);

/// A stroke that this tick touched, as it was before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Touched {
    pub(crate) entity: Entity,
    /// `None`: it did not exist.
    pub(crate) before: Option<Before>,
}

/// What others need to know of a stroke's state at the start of the tick.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    pub(crate) extent: BoardRect,
    pub(crate) is_visible: bool,
    pub(crate) point_count: u32,
    digest: u64,
}

/// Finds strokes by name, and knows which the tick has touched.
#[derive(Resource, Debug, Default)]
pub(crate) struct StrokeTable {
    /// Looked up, never walked: its order differs from run to run.
    entities: HashMap<StrokeId, (Entity, Option<u32>)>,
    /// Touched by this tick, in the order of the first touch.
    pub(crate) touched: Vec<Touched>,
    digest: Digest,
}

impl StrokeTable {
    pub(crate) fn len(&self) -> usize {
        self.entities.len()
    }

    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn entity(&self, id: StrokeId) -> Option<Entity> {
        self.entities.get(&id).map(|(entity, _)| *entity)
    }

    /// Place of a stroke in [`StrokeTable::touched`].
    pub(crate) fn touched_slot(&self, id: StrokeId) -> Option<u32> {
        self.entities.get(&id).and_then(|(_, slot)| *slot)
    }

    /// Ends the tick: nothing is touched any more.
    pub(crate) fn forget_touched(&mut self, ids: impl IntoIterator<Item = StrokeId>) {
        for id in ids {
            if let Some((_, slot)) = self.entities.get_mut(&id) {
                *slot = None;
            }
        }
        self.touched.clear();
    }

    pub(crate) const fn replace_digest(&mut self, before: Option<Before>, after: u64) {
        let before = match before {
            Some(before) => before.digest,
            None => 0,
        };
        self.digest.replace(before, after);
    }
}

/// The board as the merge rules see it.
pub(crate) struct Board<'w>(pub(crate) &'w mut World);

impl Strokes for Board<'_> {
    fn holds(&self, id: StrokeId) -> bool {
        self.0.resource::<StrokeTable>().entities.contains_key(&id)
    }

    fn get(&self, id: StrokeId) -> Option<&Stroke> {
        let entity = self.0.resource::<StrokeTable>().entity(id)?;
        self.0.get::<Body>(entity).map(|body| &body.0)
    }

    fn get_mut(&mut self, id: StrokeId) -> Option<&mut Stroke> {
        let (entity, slot) = *self.0.resource::<StrokeTable>().entities.get(&id)?;
        if slot.is_none() {
            let stroke = &self.0.get::<Body>(entity)?.0;
            let before = Before {
                extent: stroke.extent(),
                is_visible: !stroke.erased.value,
                point_count: stroke.point_count,
                digest: stroke.digest(),
            };
            let mut table = self.0.resource_mut::<StrokeTable>();
            let slot = table.touched.len() as u32;
            table.touched.push(Touched {
                entity,
                before: Some(before),
            });
            table.entities.insert(id, (entity, Some(slot)));
        }
        self.0
            .get_mut::<Body>(entity)
            .map(|body| &mut body.into_inner().0)
    }

    fn insert(&mut self, stroke: Stroke) {
        let id = stroke.id;
        let entity = self.0.spawn(Body(stroke)).id();
        let mut table = self.0.resource_mut::<StrokeTable>();
        let slot = table.touched.len() as u32;
        table.touched.push(Touched {
            entity,
            before: None,
        });
        table.entities.insert(id, (entity, Some(slot)));
    }

    fn count(&self) -> usize {
        self.0.resource::<StrokeTable>().len()
    }
}
