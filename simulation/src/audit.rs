//! Audit: what a room keeps beside its strokes, against what the strokes themselves say.
//!
//! The digest and the cells are kept up to date stroke by stroke; here both are worked out anew, the slow way, and
//! compared. For tests, and for whoever doubts a running room. Nothing is repaired.

use std::collections::BTreeMap;

use bevy_ecs::prelude::*;
use chalkboard_shared::digest::Digest;
use chalkboard_shared::{Position, Stroke, StrokeId};

use crate::cells::Cells;
use crate::ledger::Ledger;
use crate::strokes::{Body, StrokeTable};

/// A room disagrees with itself. That is a fault of the program: unload the room, and report it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The digest is not that of the strokes.
    #[error("the digest is kept as {kept}, and the strokes have {found}")]
    Digest {
        /// As it is kept.
        kept: Digest,
        /// As it should be.
        found: Digest,
    },
    /// The cells hold another number of strokes than are visible.
    #[error("{indexed} strokes are in cells, and {visible} are visible")]
    Count {
        /// In cells.
        indexed: usize,
        /// Visible.
        visible: usize,
    },
    /// A visible stroke is not in its cell, or more than once.
    #[error("stroke {stroke:?} is not in its cell exactly once")]
    Missing {
        /// Which.
        stroke: StrokeId,
    },
    /// A stroke's ink lies outside of the bounds of a cell that it is in.
    #[error("stroke {stroke:?} is not within the bounds of its cells")]
    OutOfBounds {
        /// Which.
        stroke: StrokeId,
    },
    /// A cell's weight is not that of its strokes.
    #[error("the weight of a cell is not that of its strokes")]
    Weight,
    /// More is said to be synced than there is.
    #[error("durable through {}, and there is only {}", durable.0, position.0)]
    Durable {
        /// Said to be synced.
        durable: Position,
        /// The last accepted op.
        position: Position,
    },
}

/// Compares everything.
pub(crate) fn audit(world: &mut World) -> Result<(), AuditError> {
    let ledger = world.resource::<Ledger>();
    if ledger.durable > ledger.position {
        return Err(AuditError::Durable {
            durable: ledger.durable,
            position: ledger.position,
        });
    }
    let mut bodies = world.query::<(Entity, &Body)>();
    let strokes: BTreeMap<Entity, &Stroke> = bodies
        .iter(world)
        .map(|(entity, body)| (entity, &body.0))
        .collect();
    let mut found = Digest::default();
    for stroke in strokes.values() {
        found.replace(0, stroke.digest());
    }
    let kept = world.resource::<StrokeTable>().digest();
    if kept != found {
        return Err(AuditError::Digest { kept, found });
    }
    let visible = strokes
        .into_iter()
        .filter(|(_, stroke)| !stroke.erased.value)
        .collect();
    world.resource::<Cells>().audit(&visible)
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::merge::Strokes;
    use chalkboard_shared::stroke::{Nib, StrokeStyle};
    use chalkboard_shared::{ActorId, InkPoint, OpId};

    use super::*;
    use crate::index;
    use crate::strokes::Board;

    #[test]
    fn what_digest_and_index_have_not_followed_is_found() {
        let mut world = World::new();
        world.init_resource::<Ledger>();
        world.init_resource::<StrokeTable>();
        world.init_resource::<Cells>();
        assert_eq!(audit(&mut world), Ok(()));
        let id = StrokeId(OpId {
            actor: ActorId(1),
            counter: 1,
        });
        let style = StrokeStyle {
            nib: Nib::Pen,
            color: 0,
            width: 16,
        };
        let mut stroke = Stroke::new(id, Position(1), style);
        stroke.push(&[InkPoint::new(0, 0, 128)]);
        Board(&mut world).insert(stroke);
        assert!(matches!(audit(&mut world), Err(AuditError::Digest { .. })));
        index::rebuild(&mut world);
        assert_eq!(audit(&mut world), Ok(()));

        let mut board = Board(&mut world);
        let stroke = board.get_mut(id).expect("it was put in");
        let before = stroke.digest();
        stroke.erased.value = true;
        let share = stroke.digest().wrapping_sub(before);
        let mut table = world.resource_mut::<StrokeTable>();
        table.replace_digest(None, share);
        let count = AuditError::Count {
            indexed: 1,
            visible: 0,
        };
        assert_eq!(audit(&mut world), Err(count));
    }
}
