//! What a session is shown first, by boards of strokes on a grid.

use std::collections::{BTreeMap, BTreeSet};

use chalkboard_shared::interest::Coverage;
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{
    ActorId, BoardPoint, BoardRect, InkPoint, OpId, Position, Stroke, StrokeId, StrokeStyle,
};

use super::*;
use crate::joining::Backlog;

/// Distance of two places on the grid, in 1/16 px: strokes there are not as wide, and cells hold whole squares of places.
const APART: i32 = 512;

/// Cells, and the strokes in them.
#[derive(Default)]
struct Grid {
    cells: Cells,
    strokes: BTreeMap<Entity, Stroke>,
}

impl Grid {
    /// Strokes of so many points, one above the other at each place of a square, as many as `layers` says for its column.
    fn of(side: i32, points: i32, layers: impl Fn(i32) -> i32) -> Self {
        let mut grid = Self::default();
        for layer in 0..(0..side).map(&layers).max().unwrap_or(0) {
            for column in (0..side).filter(|column| layer < layers(*column)) {
                for row in 0..side {
                    grid.draw(BoardPoint::new(column * APART, row * APART), points);
                }
            }
        }
        grid
    }

    fn draw(&mut self, at: BoardPoint, points: i32) {
        let number = self.strokes.len() as u32 + 1;
        let style = StrokeStyle {
            nib: Nib::Pen,
            color: 0,
            width: 32,
        };
        let id = StrokeId(OpId {
            actor: ActorId(1),
            counter: number,
        });
        let mut stroke = Stroke::new(id, Position(number.into()), style);
        let point = |n| InkPoint::new(at.x + n % 300, at.y, 128);
        stroke.push(&(0..points).map(point).collect::<Vec<_>>());
        let entity = Entity::from_raw_u32(number).expect("is small");
        self.strokes.insert(entity, stroke);
        let strokes = &self.strokes;
        let stroke_of = |entity| strokes.get(&entity);
        self.cells.insert(entity, &strokes[&entity], stroke_of);
    }

    /// Has a session look there that holds an area.
    fn look(&self, backlog: &mut Backlog, view: BoardRect, held: Option<BoardRect>) {
        let coverage = Coverage::of_view(view, None);
        let stroke_of = |entity| self.strokes.get(&entity);
        backlog.fill(&self.cells, stroke_of, view, held, coverage);
    }

    /// The strokes that a newcomer is shown first.
    fn sketch(&self, view: BoardRect) -> Option<Vec<&Stroke>> {
        let mut backlog = Backlog::default();
        self.look(&mut backlog, view, None);
        self.sketched(&backlog)
    }

    fn sketched(&self, backlog: &Backlog) -> Option<Vec<&Stroke>> {
        let sketch = backlog.sketch.as_ref()?.iter();
        Some(sketch.map(|entity| &self.strokes[entity]).collect())
    }
}

/// The places of a grid from a column and row to another, those not included.
fn places(from: (i32, i32), to: (i32, i32)) -> BoardRect {
    BoardRect::from_corners(
        BoardPoint::new(from.0 * APART - 40, from.1 * APART - 40),
        BoardPoint::new(to.0 * APART - 60, to.1 * APART - 60),
    )
}

fn weight(strokes: &[&Stroke]) -> usize {
    let weights = strokes
        .iter()
        .map(|s| STROKE_WEIGHT + s.point_count as usize);
    weights.sum()
}

#[test]
fn the_newest_are_taken_all_over_the_view_and_more_where_there_is_more() {
    // Four lie above each other in the left half, two in the right one.
    let grid = Grid::of(64, 100, |column| if column < 32 { 4 } else { 2 });
    let sketch = grid.sketch(places((0, 0), (64, 64))).expect("it is large");
    let names: BTreeSet<_> = sketch.iter().map(|stroke| stroke.id).collect();
    assert_eq!(names.len(), sketch.len(), "each once");
    assert!(
        (SKETCH_WEIGHT..SKETCH_WEIGHT + 108).contains(&weight(&sketch)),
        "{} strokes weigh {}",
        sketch.len(),
        weight(&sketch)
    );
    let uppermost = |stroke: &&Stroke| stroke.z > Position(64 * 64);
    assert!(sketch.iter().all(uppermost), "some lie below others");
    for column in (0..64).step_by(16) {
        for row in (0..64).step_by(16) {
            let part = places((column, row), (column + 16, row + 16));
            let count = sketch.iter().filter(|s| s.extent().intersects(part));
            let count = count.count();
            let fair = if column < 32 { 74 } else { 37 };
            assert!(
                count.abs_diff(fair) * 4 < fair,
                "{count} strokes where {fair} were fair"
            );
        }
    }
}

#[test]
fn a_cell_whose_share_is_less_than_a_stroke_leaves_it_to_the_next() {
    // A cell holds one, and 23 are as much as is shown.
    let grid = Grid::of(24, 4200, |_| 1);
    let all = places((0, 0), (24, 24));
    let sketch = grid.sketch(all).expect("it is large");
    assert_eq!(sketch.len(), 23);
    let inner = places((6, 6), (18, 18));
    let is_near = |stroke: &&&Stroke| inner.contains_rect(stroke.extent());
    let near = sketch.iter().filter(is_near).count();
    assert!((3..=9).contains(&near), "{near} of 23 are near the middle");
}

#[test]
fn what_can_come_at_once_has_no_sketch() {
    let below = SKETCHED_WEIGHT_MIN / 128 - 1;
    let mut grid = Grid::default();
    for n in 0..below as i32 {
        grid.draw(BoardPoint::new(n % 60 * APART, n / 60 * APART), 120);
    }
    let view = places((0, 0), (60, 70));
    assert_eq!(grid.sketch(view), None);
    grid.draw(BoardPoint::new(0, 0), 120);
    assert!(grid.sketch(view).is_some());
    // Of what is around the view only the part in it counts.
    assert_eq!(grid.sketch(places((0, 0), (60, 50))), None);
    assert_eq!(grid.sketch(BoardRect::EMPTY), None);
}

#[test]
fn nothing_is_taken_that_is_out_of_view_or_held() {
    let grid = Grid::of(64, 100, |_| 4);
    let view = places((0, 0), (50, 50));
    let mut backlog = Backlog::default();
    grid.look(&mut backlog, view, None);
    let sketch = grid.sketched(&backlog).expect("it is large");
    assert!(sketch.iter().all(|s| s.extent().intersects(view)));
    // Whoever holds the left of it, and has waited for nothing.
    let held = places((0, 0), (12, 50));
    let mut backlog = Backlog::default();
    grid.look(&mut backlog, view, Some(held));
    let sketch = grid.sketched(&backlog).expect("much is lacking");
    assert!(sketch.len() > 400, "{} strokes", sketch.len());
    assert!(sketch.iter().all(|s| !s.extent().intersects(held)));
    let mut backlog = Backlog::default();
    grid.look(&mut backlog, view, Some(view.inflate(99_999)));
    assert_eq!(grid.sketched(&backlog), None);
}

#[test]
fn a_view_that_moves_on_has_its_own() {
    let grid = Grid::of(64, 100, |_| 4);
    let (left, right) = (places((0, 0), (40, 64)), places((34, 0), (64, 64)));
    let mut backlog = Backlog::default();
    grid.look(&mut backlog, left, None);
    assert!(!backlog.take_shown(), "nothing has been sent");
    grid.look(
        &mut backlog,
        right,
        Some(Coverage::of_view(left, None).rect()),
    );
    let sketch = grid
        .sketched(&backlog)
        .expect("nothing of it has been sent");
    assert!((SKETCH_WEIGHT..SKETCH_WEIGHT + 108).contains(&weight(&sketch)));
    assert!(sketch.iter().all(|s| s.extent().intersects(right)));
    assert!(!backlog.take_shown());
    backlog.sketch = Some(Vec::new());
    assert!(
        backlog.take_shown(),
        "it is shown before its cells have come"
    );
    assert!(!backlog.take_shown() && !backlog.is_empty());
}
