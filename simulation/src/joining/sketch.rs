//! Sketch: what lies on top of a view that holds more than is seen of it at first sight.
//!
//! Where strokes lie over each other many times, the newest are what is seen. So of every cell in view some of its newest
//! are taken, in proportion to what the cell holds: few enough to be there at once, and all over the view. What is taken
//! comes again with its cell. Nothing here knows of sessions or of how strokes travel: that is [`crate::joining`]'s
//! business.

use bevy_ecs::prelude::*;

use super::{ENCODED_POINTS_PER_TICK, Lacking};
use crate::cells::{Cells, STROKE_WEIGHT};

/// Weight of a sketch, which its last stroke may pass, with what was looked at for nothing: some 2,000 strokes of 30 points
/// in 80 KB, for which a tick has the time; longer ones may take a second tick.
const SKETCH_WEIGHT: usize = ENCODED_POINTS_PER_TICK / 2 * 3;

/// Weight of what is lacking in view from which on a sketch of it comes first: some 13,000 strokes of 30 points, of which
/// cells take eight ticks to encode and 0.6 MB to send. A screen of a board of 50,000 has not much more than half of it.
const SKETCHED_WEIGHT_MIN: usize = 8 * ENCODED_POINTS_PER_TICK;

/// The strokes of a sketch of these cells, which are in view, the nearest first; the next one last, as everything that
/// waits. `None` where the cells hold so little that they need none. `points_of` looks at a stroke, and has no points of
/// those that are of no use; it is asked about at most an eighth of [`SKETCH_WEIGHT`] of them.
pub(super) fn sketch<'a>(
    cells: &Cells,
    in_view: impl Iterator<Item = &'a Lacking> + Clone,
    mut points_of: impl FnMut(&Lacking, Entity) -> Option<usize>,
) -> Option<Vec<Entity>> {
    let weight_of = |lacking: &Lacking| cells.weight(lacking.cell) as u64;
    let total: u64 = in_view.clone().map(weight_of).sum();
    if total < SKETCHED_WEIGHT_MIN as u64 {
        return None;
    }
    let mut strokes = Vec::new();
    let (mut passed, mut spent) = (0, 0);
    for lacking in in_view {
        passed += weight_of(lacking);
        // What a cell leaves of its share, because it is less than a stroke, is the next one's, and what it takes beyond
        // its share is not: however small the shares are, strokes come from all over the view.
        let due = passed * SKETCH_WEIGHT as u64 / total;
        for &stroke in cells.strokes(lacking.cell).iter().rev() {
            if spent >= due {
                break;
            }
            // Also for those that are of no use, so that no cell is searched for long.
            spent += STROKE_WEIGHT as u64;
            if let Some(points) = points_of(lacking, stroke) {
                spent += points as u64;
                strokes.push(stroke);
            }
        }
    }
    strokes.reverse();
    Some(strokes)
}

#[cfg(test)]
mod tests;
