//! Cells against a plain list of what should be in them.

use std::collections::BTreeMap;

use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{ActorId, InkPoint, OpId, Position, StrokeStyle};

use super::*;

/// Cells beside a plain list of what should be in them.
#[derive(Default)]
struct Pair {
    cells: Cells,
    strokes: BTreeMap<Entity, Stroke>,
    /// A stroke's name, z and place in the world of entities.
    next: u32,
}

impl Pair {
    fn draw(&mut self, points: &[InkPoint]) -> Entity {
        self.next += 1;
        let style = StrokeStyle {
            nib: Nib::Pen,
            color: 0,
            width: 32,
        };
        let id = StrokeId(OpId {
            actor: ActorId(1),
            counter: self.next,
        });
        let mut stroke = Stroke::new(id, Position(self.next.into()), style);
        stroke.push(points);
        let entity = Entity::from_raw_u32(self.next).expect("is small");
        self.strokes.insert(entity, stroke);
        let strokes = &self.strokes;
        self.cells
            .insert(entity, &strokes[&entity], |entity| strokes.get(&entity));
        entity
    }

    fn extend(&mut self, entity: Entity, points: &[InkPoint]) {
        let stroke = self.strokes.get_mut(&entity).expect("is there");
        let before = stroke.point_count;
        stroke.push(points);
        let strokes = &self.strokes;
        self.cells
            .update(entity, &strokes[&entity], before, |entity| {
                strokes.get(&entity)
            });
    }

    fn settle(&mut self, entity: Entity) {
        let strokes = &self.strokes;
        self.cells
            .settle(entity, &strokes[&entity], |entity| strokes.get(&entity));
    }

    fn erase(&mut self, entity: Entity) {
        let stroke = self.strokes.remove(&entity).expect("is there");
        self.cells.remove(entity, stroke.point_count);
    }

    /// Leaves that a rectangle touches.
    fn leaves(&self, rect: BoardRect) -> Vec<CellId> {
        let mut found = Vec::new();
        self.cells.search(rect, &[], |cell, _, _| found.push(cell));
        found
    }

    fn chunk(&mut self, cell: CellId, tick: u64) -> CellChunk {
        let strokes = &self.strokes;
        self.cells
            .chunk(cell, Tick(tick), |entity| strokes.get(&entity))
    }

    /// Every stroke is in one leaf, within its bounds, and no leaf holds too much.
    fn check(&self) {
        let mut found = Vec::new();
        self.cells.search(
            BoardRect::EVERYTHING.inflate(9999),
            &[],
            |cell, bounds, _| {
                let strokes = self.cells.strokes(cell);
                let weights = strokes.iter().map(|entity| &self.strokes[entity]);
                let weight: usize = weights
                    .map(|stroke| STROKE_WEIGHT + stroke.point_count as usize)
                    .sum();
                assert!(weight <= CELL_WEIGHT_MAX || strokes.len() == 1);
                for entity in strokes {
                    assert!(bounds.contains_rect(self.strokes[entity].extent()));
                }
                found.extend_from_slice(strokes);
            },
        );
        found.sort_unstable();
        let all: Vec<Entity> = self.strokes.keys().copied().collect();
        assert_eq!(found, all);
        assert_eq!(self.cells.len(), all.len());
    }
}

/// Points along a line.
fn line(x: i32, y: i32, count: i32) -> Vec<InkPoint> {
    (0..count).map(|i| InkPoint::new(x + i, y, 128)).collect()
}

#[test]
fn strokes_keep_their_homes_while_cells_split_beneath_them() {
    let mut pair = Pair::default();
    let mut drawn = Vec::new();
    for n in 0..600i32 {
        let (x, y) = (n * 7919 % 50_000 - 25_000, n * 104_729 % 60_000 - 30_000);
        drawn.push(pair.draw(&line(x, y, 200)));
        if n % 50 == 0 {
            pair.check();
        }
        if n % 3 == 0 {
            pair.extend(drawn[(n / 2) as usize], &line(-x * 10, y, 150));
        }
        if n % 5 == 0 {
            pair.settle(drawn[(n / 2) as usize]);
        }
        if n % 7 == 6 {
            pair.erase(drawn.swap_remove((n / 3) as usize));
        }
    }
    pair.check();
    assert!(pair.leaves(BoardRect::EVERYTHING).len() >= 4);
}

#[test]
fn the_same_place_and_long_strokes_split_too() {
    let mut pair = Pair::default();
    for _ in 0..12 {
        pair.draw(&line(5, 5, 9000));
    }
    pair.check();
}

#[test]
fn a_search_leaves_out_what_is_elsewhere_and_knows_what_is_marked() {
    let mut pair = Pair::default();
    for n in 0..800 {
        pair.draw(&line(n * 1000, 0, 100));
    }
    let all = pair.leaves(BoardRect::EVERYTHING);
    let left = BoardRect::from_corners(BoardPoint::new(0, 0), BoardPoint::new(1000, 10));
    let found = pair.leaves(left);
    assert!(found.len() < all.len() && !found.is_empty());
    let mut marks = Vec::new();
    pair.cells
        .search(BoardRect::EVERYTHING, &[ROOT], |_, _, is_marked| {
            marks.push(is_marked);
        });
    assert!(
        marks.iter().all(|&is_marked| is_marked),
        "all are in the root"
    );
    pair.cells
        .search(BoardRect::EVERYTHING, &found, |cell, _, is_marked| {
            assert_eq!(is_marked, found.contains(&cell));
        });
}

#[test]
fn a_chunk_is_encoded_once_until_its_cell_changes() {
    let mut pair = Pair::default();
    let drawn = pair.draw(&line(0, 0, 100));
    let first = pair.chunk(ROOT, 1);
    assert!(first.work > 0);
    let again = pair.chunk(ROOT, 2);
    assert_eq!((again.work, &again.frame), (0, &first.frame));
    pair.extend(drawn, &line(100, 0, 10));
    let longer = pair.chunk(ROOT, 3);
    assert!(longer.work > 0 && longer.frame != first.frame);
    pair.erase(drawn);
    assert_eq!(pair.cells.cached_bytes, 0);
}

#[test]
fn chunks_that_nobody_asks_for_go_first() {
    let drawn = || {
        let mut pair = Pair::default();
        for n in 0..2000 {
            pair.draw(&line(n * 7919 % 100_000, n * 104_729 % 100_000, 100));
        }
        pair
    };
    let mut pair = drawn();
    let leaves = pair.leaves(BoardRect::EVERYTHING);
    let sizes = leaves.iter().map(|leaf| pair.chunk(*leaf, 1).frame.len());
    let size = sizes.max().expect("there are leaves");
    let mut pair = drawn();
    pair.chunk(leaves[0], 1);
    pair.cells.cached_bytes_max = 4 * size;
    for (cell, tick) in leaves.iter().zip(2..) {
        pair.chunk(*cell, tick);
        assert_eq!(
            pair.chunk(leaves[0], tick).work,
            0,
            "it was asked for all the time"
        );
        assert!(pair.cells.cached_bytes <= pair.cells.cached_bytes_max);
    }
    assert!(pair.chunk(leaves[1], 1000).work > 0, "nobody asked for it");
}

#[test]
fn settled_strokes_make_cells_that_reach_less_far() {
    let mut pair = Pair::default();
    let start = |n: i32| n * 7919 % 100_000;
    let drawn: Vec<_> = (0..600)
        .map(|n| pair.draw(&line(start(n), n, 50)))
        .collect();
    // From there they go far, one to the left, the next to the right.
    for (&entity, n) in drawn.iter().zip(0..) {
        let step = if n % 2 == 0 { 1000 } else { -1000 };
        let far: Vec<_> = (1..50)
            .map(|i| InkPoint::new(start(n) + i * step, n, 128))
            .collect();
        pair.extend(entity, &far);
    }
    pair.check();
    let everywhere = BoardRect::EVERYTHING.inflate(9999);
    let met = |pair: &mut Pair| {
        for leaf in pair.leaves(everywhere) {
            // Encoded, its bounds are exact.
            pair.chunk(leaf, 1);
        }
        let window = BoardRect::from_corners(BoardPoint::new(0, 0), BoardPoint::new(10_000, 999));
        let met = pair.leaves(window);
        met.iter()
            .map(|leaf| pair.cells.strokes(*leaf).len())
            .sum::<usize>()
    };
    let before = met(&mut pair);
    for &entity in &drawn {
        pair.settle(entity);
    }
    pair.check();
    let after = met(&mut pair);
    assert!(
        after * 4 < before * 3,
        "{after} strokes where there were {before}"
    );
}
