//! Audit of the cells: the tree, walked whole, against the strokes themselves.

use std::collections::BTreeMap;

use bevy_ecs::prelude::*;
use chalkboard_shared::{BoardRect, Stroke};

use super::{Cells, Content, ROOT, STROKE_WEIGHT};
use crate::audit::AuditError;

impl Cells {
    /// Compares the tree with the visible strokes: each in the one leaf that is its home, within the
    /// bounds of every cell on the way, and nothing else in there.
    ///
    /// # Errors
    /// The first difference.
    pub(crate) fn audit(&self, visible: &BTreeMap<Entity, &Stroke>) -> Result<(), AuditError> {
        if self.stroke_count != visible.len() {
            return Err(AuditError::Count {
                indexed: self.stroke_count,
                visible: visible.len(),
            });
        }
        for (entity, stroke) in visible {
            let leaf = self.leaf_of(*entity, stroke)?;
            if leaf.iter().filter(|other| *other == entity).count() != 1 {
                return Err(AuditError::Missing { stroke: stroke.id });
            }
        }
        let mut indexed = 0;
        for cell in &self.cells {
            let Content::Leaf(leaf) = &cell.content else {
                continue;
            };
            indexed += leaf.strokes.len();
            let points = |entity| visible.get(entity).map_or(0, |stroke| stroke.point_count);
            let weight = leaf
                .strokes
                .iter()
                .map(|entity| STROKE_WEIGHT + points(entity) as usize);
            if weight.sum::<usize>() != leaf.weight {
                return Err(AuditError::Weight);
            }
        }
        // Every visible stroke was found in its leaf, so a larger number means strays.
        if indexed != visible.len() {
            return Err(AuditError::Count {
                indexed,
                visible: visible.len(),
            });
        }
        Ok(())
    }

    fn leaf_of(&self, entity: Entity, stroke: &Stroke) -> Result<&[Entity], AuditError> {
        let extent = stroke.extent();
        let is_within = |bounds: BoardRect| bounds.union(extent) == bounds;
        let home = self.home(entity);
        let mut at = home;
        loop {
            let cell = &self.cells[at.0 as usize];
            if !is_within(cell.bounds) {
                return Err(AuditError::OutOfBounds { stroke: stroke.id });
            }
            if at == ROOT {
                break;
            }
            at = cell.parent;
        }
        Ok(self.strokes(home))
    }
}
