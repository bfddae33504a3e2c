//! Cells: where visible strokes lie, and each cell's chunk as whoever joins gets it.
//!
//! A quadtree over the middles of strokes: every visible stroke is in exactly one cell, and a cell that holds too much is
//! split in four. A stroke stays in its cell though its middle moves while it grows; once it is finished it may be put
//! where its middle is ([`Cells::settle`]), because a cell's bounds are those of all ink in it, and whoever looks at a part
//! of it gets all of it. A cell's chunk is encoded when somebody asks for it, once for all who do, and dropped when a stroke in it
//! changes; those that nobody asked for in the longest time go when there are too many bytes of them.
//!
//! Cells are never joined again, so that their numbers stay valid: a board's cells are at most a few for each time
//! that as much was drawn as makes one split. Nothing here knows of sessions.

use bevy_ecs::prelude::*;
use bytes::Bytes;
use chalkboard_shared::wire::ServerMessage;
use chalkboard_shared::{BoardPoint, BoardRect, Stroke, StrokeId, Tick};

/// Weight at which a cell is split: points, and some for each stroke. About 10 KB encoded: small enough that a view does
/// not bring along much beside it, large enough for columns to compress; far below what a chunk may hold even with the
/// longest stroke on top.
const CELL_WEIGHT_MAX: usize = 8 * 1024;

/// What a stroke weighs beside its points.
pub(crate) const STROKE_WEIGHT: usize = 8;

/// Bytes of chunks kept: a board of 1,000,000 strokes has 45 MB of them, an eighth of what it takes in memory.
const CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Halvings of the plane down to a single point, and as many for strokes whose middles are the same.
const DEPTH_MAX: u32 = 64;

/// A cell, for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CellId(u32);

/// The whole plane.
const ROOT: CellId = CellId(0);

/// A stroke's way down the tree.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// Its middle, counted from the plane's corner.
    from_corner: [u32; 2],
    /// Tells strokes apart that have the same middle.
    tie: u64,
}

impl Way {
    fn of(stroke: &Stroke) -> Self {
        let middle = Some(stroke.bounds).filter(|bounds| !bounds.is_empty());
        let BoardPoint { x, y } = middle.map_or_else(BoardPoint::default, BoardRect::center);
        let StrokeId(op) = stroke.id;
        let spread = |v: u64| v.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            from_corner: [x, y].map(|v| v.wrapping_sub(i32::MIN) as u32),
            tie: spread(op.actor.0) ^ spread(op.counter.into()),
        }
    }

    /// Which of a cell's four it leads to.
    const fn quarter(&self, depth: u32) -> u32 {
        if depth < 32 {
            let bit = 31 - depth;
            (self.from_corner[0] >> bit & 1) | (self.from_corner[1] >> bit & 1) << 1
        } else {
            (self.tie >> (2 * (depth - 32)) & 3) as u32
        }
    }
}

#[derive(Debug)]
struct Cell {
    /// Around all ink in it; may be larger.
    bounds: BoardRect,
    /// The cell that it is a quarter of; the whole plane is its own.
    parent: CellId,
    depth: u32,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Leaf(Leaf),
    /// The first of its four.
    Branch(CellId),
}

#[derive(Debug, Default)]
struct Leaf {
    strokes: Vec<Entity>,
    weight: usize,
    chunk: Option<Bytes>,
    /// When the chunk was last asked for.
    used: Tick,
}

impl Cell {
    fn empty(parent: CellId, depth: u32) -> Self {
        Self {
            bounds: BoardRect::EMPTY,
            parent,
            depth,
            content: Content::Leaf(Leaf::default()),
        }
    }
}

/// What a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellShape {
    /// It holds this many strokes itself.
    Leaf(usize),
    /// It has been split into these.
    Branch([CellId; 4]),
}

/// A chunk of a cell.
#[derive(Debug)]
pub(crate) struct CellChunk {
    pub(crate) frame: Bytes,
    /// Points that were encoded for it; none where it was kept.
    pub(crate) work: usize,
}

/// All cells.
#[derive(Resource, Debug)]
pub(crate) struct Cells {
    cells: Vec<Cell>,
    /// The leaf that each stroke is in, by its number among the entities.
    homes: Vec<CellId>,
    stroke_count: usize,
    cached_bytes: usize,
    cached_bytes_max: usize,
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            cells: vec![Cell::empty(ROOT, 0)],
            homes: Vec::new(),
            stroke_count: 0,
            cached_bytes: 0,
            cached_bytes_max: CACHE_BYTES_MAX,
        }
    }
}

impl Cells {
    /// Visible strokes.
    pub(crate) const fn len(&self) -> usize {
        self.stroke_count
    }

    /// A stroke has become visible. `stroke_of` finds any that was put in here.
    pub(crate) fn insert<'a>(
        &mut self,
        entity: Entity,
        stroke: &Stroke,
        stroke_of: impl Fn(Entity) -> Option<&'a Stroke>,
    ) {
        let cell = self.leaf_for(stroke);
        if let Some(leaf) = self.change(cell) {
            leaf.strokes.push(entity);
            leaf.weight += STROKE_WEIGHT + stroke.point_count as usize;
            self.stroke_count += 1;
            self.note_home(entity, cell);
            self.reach(cell, stroke.extent());
            self.split(cell, stroke_of);
        }
    }

    /// A visible stroke has changed; it had `points_before` points.
    pub(crate) fn update<'a>(
        &mut self,
        entity: Entity,
        stroke: &Stroke,
        points_before: u32,
        stroke_of: impl Fn(Entity) -> Option<&'a Stroke>,
    ) {
        let cell = self.home(entity);
        if let Some(leaf) = self.change(cell) {
            leaf.weight += (stroke.point_count - points_before) as usize;
            self.reach(cell, stroke.extent());
            self.split(cell, stroke_of);
        }
    }

    /// A stroke that was visible is no more; it had `points_before` points.
    pub(crate) fn remove(&mut self, entity: Entity, points_before: u32) {
        let cell = self.home(entity);
        if let Some(leaf) = self.change(cell)
            && let Some(at) = leaf.strokes.iter().position(|&other| other == entity)
        {
            leaf.strokes.swap_remove(at);
            leaf.weight -= STROKE_WEIGHT + points_before as usize;
            self.stroke_count -= 1;
        }
    }

    /// Puts a visible stroke where its middle is. Whoever has had some cells and waits for others may miss it by that.
    pub(crate) fn settle<'a>(
        &mut self,
        entity: Entity,
        stroke: &Stroke,
        stroke_of: impl Fn(Entity) -> Option<&'a Stroke>,
    ) {
        if self.leaf_for(stroke) != self.home(entity) {
            self.remove(entity, stroke.point_count);
            self.insert(entity, stroke, stroke_of);
        }
    }

    /// The leaf that a visible stroke is in.
    fn home(&self, entity: Entity) -> CellId {
        let home = self.homes.get(entity.index_u32() as usize);
        home.copied().unwrap_or(ROOT)
    }

    fn note_home(&mut self, entity: Entity, cell: CellId) {
        let at = entity.index_u32() as usize;
        if self.homes.len() <= at {
            self.homes.resize(at + 1, ROOT);
        }
        self.homes[at] = cell;
    }

    /// The leaf in which a stroke's middle lies.
    fn leaf_for(&self, stroke: &Stroke) -> CellId {
        let way = Way::of(stroke);
        let mut at = ROOT;
        loop {
            let cell = &self.cells[at.0 as usize];
            let Content::Branch(first) = cell.content else {
                return at;
            };
            at = CellId(first.0 + way.quarter(cell.depth));
        }
    }

    /// Grows the bounds of a leaf and of all that it is a part of.
    fn reach(&mut self, leaf: CellId, extent: BoardRect) {
        let mut at = leaf;
        loop {
            let cell = &mut self.cells[at.0 as usize];
            cell.bounds = cell.bounds.union(extent);
            if at == ROOT {
                return;
            }
            at = cell.parent;
        }
    }

    /// A leaf that is about to be changed: its chunk is out of date.
    fn change(&mut self, cell: CellId) -> Option<&mut Leaf> {
        let Content::Leaf(leaf) = &mut self.cells[cell.0 as usize].content else {
            return None;
        };
        if let Some(chunk) = leaf.chunk.take() {
            self.cached_bytes -= chunk.len();
        }
        Some(leaf)
    }

    /// Splits a leaf that holds too much, until no part of it does.
    fn split<'a>(&mut self, cell: CellId, stroke_of: impl Fn(Entity) -> Option<&'a Stroke>) {
        let mut heavy = vec![cell];
        while let Some(at) = heavy.pop() {
            let first = CellId(self.cells.len() as u32);
            let cell = &mut self.cells[at.0 as usize];
            let depth = cell.depth;
            let Content::Leaf(leaf) = &mut cell.content else {
                continue;
            };
            if leaf.weight <= CELL_WEIGHT_MAX || leaf.strokes.len() < 2 || depth >= DEPTH_MAX {
                continue;
            }
            let strokes = core::mem::take(&mut leaf.strokes);
            cell.content = Content::Branch(first);
            let quarters = (0..4).map(|_| Cell::empty(at, depth + 1));
            self.cells.extend(quarters);
            for entity in strokes {
                let Some(stroke) = stroke_of(entity) else {
                    continue;
                };
                let quarter = CellId(first.0 + Way::of(stroke).quarter(depth));
                let cell = &mut self.cells[quarter.0 as usize];
                cell.bounds = cell.bounds.union(stroke.extent());
                if let Content::Leaf(leaf) = &mut cell.content {
                    leaf.strokes.push(entity);
                    leaf.weight += STROKE_WEIGHT + stroke.point_count as usize;
                }
                self.note_home(entity, quarter);
            }
            heavy.extend((0..4).map(|quarter| CellId(first.0 + quarter)));
        }
    }

    /// What a cell is now.
    pub(crate) fn shape(&self, cell: CellId) -> CellShape {
        match &self.cells[cell.0 as usize].content {
            Content::Leaf(leaf) => CellShape::Leaf(leaf.strokes.len()),
            Content::Branch(first) => {
                CellShape::Branch([0, 1, 2, 3].map(|quarter| CellId(first.0 + quarter)))
            }
        }
    }

    /// The strokes of a leaf, in the order in which they came into view, but where some were taken out.
    pub(crate) fn strokes(&self, cell: CellId) -> &[Entity] {
        match &self.cells[cell.0 as usize].content {
            Content::Leaf(leaf) => &leaf.strokes,
            Content::Branch(_) => &[],
        }
    }

    /// What a leaf holds: its points, and [`STROKE_WEIGHT`] for each stroke.
    pub(crate) fn weight(&self, cell: CellId) -> usize {
        match &self.cells[cell.0 as usize].content {
            Content::Leaf(leaf) => leaf.weight,
            Content::Branch(_) => 0,
        }
    }

    /// Calls `visit` with every leaf that holds strokes and whose ink may touch a rectangle, with its bounds, and
    /// whether it is one of `marked` (sorted) or in one of them. Answers how many cells were looked at.
    pub(crate) fn search(
        &self,
        rect: BoardRect,
        marked: &[CellId],
        mut visit: impl FnMut(CellId, BoardRect, bool),
    ) -> usize {
        let mut looked_at = 0;
        let mut open = vec![(ROOT, false)];
        while let Some((at, is_marked)) = open.pop() {
            looked_at += 1;
            let cell = &self.cells[at.0 as usize];
            if !cell.bounds.intersects(rect) {
                continue;
            }
            let is_marked = is_marked || marked.binary_search(&at).is_ok();
            match &cell.content {
                Content::Leaf(leaf) if leaf.strokes.is_empty() => {}
                Content::Leaf(_) => visit(at, cell.bounds, is_marked),
                Content::Branch(first) => {
                    open.extend((0..4).map(|quarter| (CellId(first.0 + quarter), is_marked)));
                }
            }
        }
        looked_at
    }

    /// The frame with all strokes of a leaf, as it is kept or encoded now.
    pub(crate) fn chunk<'a>(
        &mut self,
        cell: CellId,
        now: Tick,
        stroke_of: impl Fn(Entity) -> Option<&'a Stroke>,
    ) -> CellChunk {
        let Cell {
            bounds, content, ..
        } = &mut self.cells[cell.0 as usize];
        let Content::Leaf(leaf) = content else {
            return CellChunk {
                frame: ServerMessage::encode_chunk([]),
                work: 0,
            };
        };
        leaf.used = now;
        if let Some(frame) = leaf.chunk.clone() {
            return CellChunk { frame, work: 0 };
        }
        let mut strokes: Vec<&Stroke> = leaf.strokes.iter().filter_map(|&e| stroke_of(e)).collect();
        strokes.sort_unstable_by_key(|stroke| stroke.z);
        let extents = strokes.iter().map(|stroke| stroke.extent());
        *bounds = extents.fold(BoardRect::EMPTY, BoardRect::union);
        let work = leaf.weight;
        let frame = ServerMessage::encode_chunk(strokes);
        leaf.chunk = Some(frame.clone());
        self.cached_bytes += frame.len();
        if self.cached_bytes > self.cached_bytes_max {
            self.forget_oldest();
        }
        CellChunk { frame, work }
    }

    /// Drops the chunks that were not asked for in the longest time, until a quarter of the room is free. Looks at
    /// all cells, but not again before as many bytes have been encoded.
    fn forget_oldest(&mut self) {
        let mut kept: Vec<(Tick, usize)> = Vec::new();
        for (at, cell) in self.cells.iter().enumerate() {
            if let Content::Leaf(leaf) = &cell.content
                && leaf.chunk.is_some()
            {
                kept.push((leaf.used, at));
            }
        }
        kept.sort_unstable();
        for (_, at) in kept {
            if self.cached_bytes <= self.cached_bytes_max / 4 * 3 {
                break;
            }
            self.change(CellId(at as u32));
        }
    }
}

mod audit;

#[cfg(test)]
mod tests;
