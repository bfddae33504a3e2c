//! What a person sees: the mirror with this person's unanswered ops on top.
//!
//! Every stroke that unanswered ops touch has a layer: the confirmed stroke with those ops folded over it by the
//! shared merge rules. When the room's truth changes beneath, the fold is made again (rebase), so a prediction can
//! never outlive its answer. Nothing here knows of the link or of drawing: the client feeds it, the renderer asks
//! what changed ([`Board::take_changes`]). Ink that came in datagrams ahead of the stream lies in such a layer too: it
//! shows, and is never part of the mirror (`ahead.rs`).

mod ahead;
mod layer;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chalkboard_shared::digest::Digest;
use chalkboard_shared::merge::Strokes;
use chalkboard_shared::order::sort_by_key;
use chalkboard_shared::{ActorId, BoardRect, DecodeError, Op, OpEntry, OpId, Stroke, StrokeId};

use crate::grid::Grid;
use crate::mirror::{Mirror, Put, StrokeMap};
use layer::{Layer, Look};

/// A change of what is seen, since [`Board::take_changes`] was called last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoardChange {
    /// The stroke.
    pub id: StrokeId,
    /// What it covered before; [`BoardRect::EMPTY`] where it was not visible.
    pub before: BoardRect,
    /// What it covers now; [`BoardRect::EMPTY`] where it is not visible.
    pub after: BoardRect,
    /// It was and is visible, and only got more points or was finished: what is drawn of it stays right.
    pub grown_only: bool,
}

/// An op of this client that the room has not answered.
#[derive(Debug, Clone)]
pub(crate) struct PendingOp {
    pub(crate) op: Arc<Op>,
    /// Points that its stroke has after it, as this client counts them; 0 for ops without points. A confirmed stroke
    /// with as many holds the op already: only its author adds points, in order.
    pub(crate) ink_end: u32,
}

/// What a person sees.
#[derive(Debug)]
pub struct Board {
    mirror: Mirror,
    actor: ActorId,
    pending: BTreeMap<u32, PendingOp>,
    layers: HashMap<StrokeId, Layer>,
    /// Points that came ahead of the stream so far.
    points_ahead: usize,
    /// Strokes with a layer that came whole since the last answer: they hold the ops that it will answer.
    refreshed: HashSet<StrokeId>,
    grid: Grid,
    /// What was seen of changed strokes when changes were taken last, and whether they only grew since.
    changes: StrokeMap<(BoardRect, bool)>,
    /// Changes of strokes that came in chunks and were not seen before, none of them twice or among the others: a join has
    /// nothing else, and needs no table for it. They go there as soon as anything else changes.
    #[cfg(not(target_arch = "wasm32"))]
    appeared: Vec<StrokeId>,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self {
            mirror: Mirror::default(),
            actor: ActorId(0),
            pending: BTreeMap::new(),
            layers: HashMap::new(),
            points_ahead: 0,
            refreshed: HashSet::new(),
            grid: Grid::new(),
            changes: StrokeMap::default(),
            #[cfg(not(target_arch = "wasm32"))]
            appeared: Vec::new(),
        }
    }

    /// A visible stroke.
    pub fn get(&self, id: StrokeId) -> Option<&Stroke> {
        self.look_up(id).filter(|stroke| !stroke.erased.value)
    }

    /// The visible strokes whose extent touches a rectangle, in drawing order: by their place in the log, this
    /// person's unconfirmed ones last.
    pub fn strokes_in(&self, rect: BoardRect) -> Vec<&Stroke> {
        let mut found = Vec::new();
        self.grid.search(rect, |id| found.extend(self.get(id)));
        sort_by_key(&mut found, |stroke| drawing_order(stroke));
        found
    }

    /// The smallest rectangle around everything visible; [`BoardRect::EMPTY`] when nothing is. Looks at all of it.
    pub fn bounds(&self) -> BoardRect {
        self.grid.bounds()
    }

    /// Visible strokes.
    pub fn len(&self) -> usize {
        self.grid.len()
    }

    /// Nothing is visible.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What changed since the last call, a stroke at most once, in no order. Holds no more than the strokes visible
    /// then and now, however long nobody asks.
    pub fn take_changes(&mut self) -> Vec<BoardChange> {
        let changes = std::mem::take(&mut self.changes).into_iter();
        #[cfg(not(target_arch = "wasm32"))]
        let changes = {
            let appeared = std::mem::take(&mut self.appeared).into_iter();
            changes.chain(appeared.map(|id| (id, (BoardRect::EMPTY, false))))
        };
        let change = |(id, (before, grown_only))| {
            let after = self.get(id).map_or(BoardRect::EMPTY, Stroke::extent);
            BoardChange {
                id,
                before,
                after,
                grown_only,
            }
        };
        changes.map(change).collect()
    }

    /// Digest of the confirmed strokes.
    pub fn digest(&self) -> Digest {
        self.mirror.digest()
    }

    /// All confirmed strokes, erased ones included, in no order.
    pub(crate) fn confirmed(&self) -> impl ExactSizeIterator<Item = &Stroke> + Clone {
        self.mirror.iter()
    }

    /// Confirmed strokes held, erased ones included.
    pub fn confirmed_len(&self) -> usize {
        self.mirror.len()
    }

    /// A confirmed stroke that still grows, by its drawing order.
    pub(crate) fn confirmed_wet(&self, begin: chalkboard_shared::Position) -> Option<&Stroke> {
        self.mirror.wet(begin)
    }

    /// A stroke, erased or not, as far as this client holds it.
    pub fn look_up(&self, id: StrokeId) -> Option<&Stroke> {
        match self.layers.get(&id) {
            Some(layer) => layer.view.as_ref(),
            None => self.mirror.get(id),
        }
    }

    /// Shows an op before the room has answered it; later ones have larger counters.
    pub(crate) fn predict(&mut self, counter: u32, pending: PendingOp) {
        let id = self.op_id(counter);
        for stroke in distinct(&pending.op, id) {
            let old = self.look(stroke);
            let mirror = &self.mirror;
            let layer = self
                .layers
                .entry(stroke)
                .or_insert_with(|| Layer::over(mirror.get(stroke)));
            layer.add(stroke, id, &pending);
            self.settle(stroke, old);
        }
        self.pending.insert(counter, pending);
    }

    /// Puts a longer op in the place of the last one, whose first points are the same.
    pub(crate) fn predict_longer(&mut self, counter: u32, stroke: StrokeId, longer: PendingOp) {
        let old = self.look(stroke);
        self.pending.insert(counter, longer);
        self.refold(stroke);
        self.settle(stroke, old);
    }

    /// Puts these ops in the place of all that are predicted, as after a new connection.
    pub(crate) fn predict_anew(&mut self, actor: ActorId, pending: Vec<(u32, PendingOp)>) {
        self.actor = actor;
        let mut olds: HashMap<_, _> = self.layers.keys().map(|id| (*id, self.look(*id))).collect();
        self.layers.clear();
        self.refreshed.clear();
        self.pending = pending.into_iter().collect();
        let pending = std::mem::take(&mut self.pending);
        for (counter, op) in &pending {
            let id = self.op_id(*counter);
            for stroke in distinct(&op.op, id) {
                // One that is in there has a layer already, and with it no longer its old look.
                olds.entry(stroke)
                    .or_insert_with(|| Look::of(self.mirror.get(stroke)));
                let mirror = &self.mirror;
                let layer = self
                    .layers
                    .entry(stroke)
                    .or_insert_with(|| Layer::over(mirror.get(stroke)));
                layer.add(stroke, id, op);
            }
        }
        self.pending = pending;
        for (stroke, old) in olds {
            self.settle(stroke, old);
        }
    }

    /// Applies an accepted op of anybody. Answers whether it was a prediction of this client.
    pub(crate) fn accept(&mut self, entry: &OpEntry) -> bool {
        let strokes = distinct(&entry.op, entry.id);
        let olds: Vec<_> = strokes.iter().map(|id| (*id, self.look(*id))).collect();
        let predicted = entry.id.actor == self.actor && self.drop_pending(entry.id.counter);
        self.mirror.apply(entry);
        for (stroke, old) in olds {
            // The room answers in order: earlier predictions that still wait were refused, and their points now lie
            // behind this op's where they lay before them.
            let is_overtaken =
                |layer: &Layer| layer.ops.first().is_some_and(|c| *c < entry.id.counter);
            let overtaken = predicted && self.layers.get(&stroke).is_some_and(is_overtaken);
            self.refold(stroke);
            if overtaken {
                self.note(stroke, old.extent, false);
            }
            self.settle(stroke, old);
        }
        predicted
    }

    /// A prediction whose strokes are not confirmed, none of them.
    pub(crate) fn is_unconfirmed(&self, counter: u32) -> bool {
        let id = self.op_id(counter);
        let is_held = |op: &Op| op.strokes(&id).any(|stroke| self.mirror.holds(stroke));
        self.pending.get(&counter).is_some_and(|p| !is_held(&p.op))
    }

    /// The room accepted a prediction but did not send it back, because it lies outside of what is covered, or
    /// because its stroke came whole. Applied where the mirror still holds the stroke as it was before. What is done to
    /// strokes in the `covered` area is always told: those in it did not exist when the op was applied, and began later.
    pub(crate) fn accept_unsent(
        &mut self,
        counter: u32,
        position: chalkboard_shared::Position,
        covered: BoardRect,
    ) {
        let Some(pending) = self.pending.get(&counter).cloned() else {
            return;
        };
        let id = self.op_id(counter);
        let is_stale = |stroke: &StrokeId| {
            !self.refreshed.contains(stroke)
                && self
                    .mirror
                    .get(*stroke)
                    .is_some_and(|s| pending.ink_end == 0 || s.point_count < pending.ink_end)
        };
        let is_unfollowed = |stroke: &StrokeId| !self.mirror.is_followed(*stroke, covered);
        let keep = |strokes: &[StrokeId]| {
            let stale = strokes.iter().copied().filter(is_stale);
            stale.filter(is_unfollowed).collect()
        };
        let op = match pending.op.as_ref() {
            Op::Begin { .. } => None,
            op @ (Op::Extend { stroke, .. } | Op::Finish { stroke }) => {
                is_stale(stroke).then(|| op.clone())
            }
            Op::Erase { strokes } => Some(Op::Erase {
                strokes: keep(strokes),
            }),
            Op::Restore { strokes } => Some(Op::Restore {
                strokes: keep(strokes),
            }),
            Op::Restyle { strokes, style } => Some(Op::Restyle {
                strokes: keep(strokes),
                style: *style,
            }),
            Op::TakeBack { taken, former } => Some(Op::TakeBack {
                taken: taken
                    .iter()
                    .copied()
                    .filter(|taken| is_stale(&taken.stroke) && is_unfollowed(&taken.stroke))
                    .collect(),
                former: *former,
            }),
        };
        let strokes = distinct(&pending.op, id);
        let olds: Vec<_> = strokes.iter().map(|id| (*id, self.look(*id))).collect();
        self.drop_pending(counter);
        if let Some(op) = op {
            self.mirror.apply(&OpEntry { position, id, op });
        }
        for (stroke, old) in olds {
            self.refold(stroke);
            self.settle(stroke, old);
        }
    }

    /// Takes a prediction back: the room refused it, or it is known to be in what the room has sent.
    pub(crate) fn withdraw(&mut self, counter: u32) {
        let Some(pending) = self.pending.get(&counter).cloned() else {
            return;
        };
        let strokes = distinct(&pending.op, self.op_id(counter));
        let olds: Vec<_> = strokes.iter().map(|id| (*id, self.look(*id))).collect();
        self.drop_pending(counter);
        for (stroke, old) in olds {
            self.refold(stroke);
            self.settle(stroke, old);
        }
    }

    /// Takes back all predictions up to a counter.
    pub(crate) fn withdraw_through(&mut self, counter: u32) {
        let counters: Vec<u32> = self.pending.range(..=counter).map(|(c, _)| *c).collect();
        for counter in counters {
            self.withdraw(counter);
        }
    }

    /// An answer has been handled: strokes that come whole from here on hold later ops.
    pub(crate) fn answered(&mut self) {
        self.refreshed.clear();
    }

    /// Takes a whole stroke from the room.
    ///
    /// # Errors
    /// More strokes than a board can hold.
    pub(crate) fn put(&mut self, stroke: Stroke) -> Result<(), DecodeError> {
        let id = stroke.id;
        if self.layers.contains_key(&id) {
            let old = self.look(id);
            self.mirror.put(stroke)?;
            self.refreshed.insert(id);
            self.refold(id);
            self.settle(id, old);
            return Ok(());
        }
        // Nothing is looked up twice.
        let new = Look::of(Some(&stroke));
        match self.mirror.put(stroke)? {
            Put::Not => {}
            Put::New => self.settle_as(id, Look::of(None), new),
            Put::InPlaceOf(old) => self.settle_as(id, Look::of(Some(&old)), new),
        }
        Ok(())
    }

    /// Takes the strokes of a chunk: those that touch `area`, and those that are held already. Others lie beside it, and
    /// nobody would tell what becomes of them.
    ///
    /// # Errors
    /// More strokes than a board can hold.
    #[cfg_attr(
        target_arch = "wasm32",
        expect(unused_mut, reason = "taken one by one")
    )]
    pub(crate) fn put_chunk(
        &mut self,
        mut strokes: Vec<Stroke>,
        area: BoardRect,
    ) -> Result<(), DecodeError> {
        // The way of all the strokes of a join. In the page only size counts.
        #[cfg(not(target_arch = "wasm32"))]
        {
            let layers = &self.layers;
            let before = self.mirror.put_new(&mut strokes, |stroke| {
                stroke.extent().intersects(area) && !layers.contains_key(&stroke.id)
            });
            let new = self.mirror.behind(before);
            for stroke in new.iter().filter(|stroke| !stroke.erased.value) {
                let (id, extent) = (stroke.id, stroke.extent());
                self.grid.place(id, BoardRect::EMPTY, extent);
                match self.changes.get_mut(&id) {
                    Some(change) => change.1 = false,
                    None => self.appeared.push(id),
                }
            }
        }
        for stroke in strokes {
            if stroke.extent().intersects(area) || self.is_confirmed(stroke.id) {
                self.put(stroke)?;
            }
        }
        Ok(())
    }

    /// Puts a stroke in the place of whatever is held under its name; without one, that is forgotten. For boards without
    /// predictions.
    pub(crate) fn replace(&mut self, id: StrokeId, stroke: Option<Stroke>) {
        let old = self.look(id);
        self.mirror.replace(id, stroke);
        self.settle(id, old);
    }

    #[cfg(test)]
    /// The names of all confirmed strokes.
    pub(crate) fn ids(&self) -> impl Iterator<Item = StrokeId> {
        self.mirror.ids()
    }

    /// A new connection begins to send everything.
    pub(crate) fn begin_generation(&mut self) {
        self.mirror.begin_generation();
    }

    /// Drops what the new connection has not sent. Answers what was dropped.
    pub(crate) fn evict_stale(&mut self) -> Vec<Stroke> {
        let evicted = self.mirror.evict_stale();
        self.forget(&evicted);
        evicted
    }

    /// Drops confirmed strokes that do not touch `rect`. Answers what was dropped.
    pub(crate) fn evict_outside(&mut self, rect: BoardRect) -> Vec<Stroke> {
        let evicted = self.mirror.evict_outside(rect);
        self.forget(&evicted);
        evicted
    }

    /// Drops those of these confirmed strokes that do not touch `rect` any more. Answers what was dropped.
    pub(crate) fn evict_left(
        &mut self,
        strokes: impl IntoIterator<Item = StrokeId>,
        rect: BoardRect,
    ) -> Vec<Stroke> {
        let evicted: Vec<_> = strokes
            .into_iter()
            .filter_map(|id| self.mirror.evict_left(id, rect))
            .collect();
        self.forget(&evicted);
        evicted
    }

    /// Predictions up to a counter.
    pub(crate) fn pending_through(&self, counter: u32) -> Vec<(u32, PendingOp)> {
        let through = self.pending.range(..=counter);
        through.map(|(c, op)| (*c, op.clone())).collect()
    }

    /// The mirror holds this stroke.
    pub(crate) fn is_confirmed(&self, id: StrokeId) -> bool {
        self.mirror.holds(id)
    }

    /// Unanswered ops touch this stroke.
    pub(crate) fn is_predicted(&self, id: StrokeId) -> bool {
        let layer = self.layers.get(&id);
        layer.is_some_and(|layer| !layer.ops.is_empty())
    }

    fn forget(&mut self, evicted: &[Stroke]) {
        for stroke in evicted {
            let old = match self.layers.get(&stroke.id) {
                Some(layer) => Look::of(layer.view.as_ref()),
                None => Look::of(Some(stroke)),
            };
            self.refold(stroke.id);
            self.settle(stroke.id, old);
        }
    }

    fn op_id(&self, counter: u32) -> OpId {
        OpId {
            actor: self.actor,
            counter,
        }
    }

    fn look(&self, id: StrokeId) -> Look {
        Look::of(self.look_up(id))
    }

    /// Forgets a prediction; the layers that it was in must be folded again.
    fn drop_pending(&mut self, counter: u32) -> bool {
        let Some(pending) = self.pending.remove(&counter) else {
            return false;
        };
        for stroke in pending.op.strokes(&self.op_id(counter)) {
            if let Some(layer) = self.layers.get_mut(&stroke) {
                layer.ops.retain(|other| *other != counter);
            }
        }
        true
    }

    /// Makes a layer's view anew from the confirmed stroke, what came ahead of it, and the ops that are left; without any
    /// of those, the layer goes.
    fn refold(&mut self, stroke: StrokeId) {
        let Some(layer) = self.layers.remove(&stroke) else {
            return;
        };
        let mut fresh = Layer::over(self.mirror.get(stroke));
        // Of own strokes nothing comes ahead, and what else their views hold may have been refused.
        let is_ahead = stroke.actor() != self.actor && fresh.keep_ahead(&layer);
        if layer.ops.is_empty() {
            self.refreshed.remove(&stroke);
            if !is_ahead {
                return;
            }
        }
        for counter in layer.ops {
            if let Some(pending) = self.pending.get(&counter) {
                fresh.add(stroke, self.op_id(counter), pending);
            }
        }
        self.layers.insert(stroke, fresh);
    }

    /// Notes how a stroke changed from `old`.
    fn settle(&mut self, id: StrokeId, old: Look) {
        let new = self.look(id);
        self.settle_as(id, old, new);
    }

    fn settle_as(&mut self, id: StrokeId, old: Look, new: Look) {
        if old == new {
            return;
        }
        self.grid.place(id, old.extent, new.extent);
        let grown_only = new.has_only_grown(&old, self.mirror.z_max());
        self.note(id, old.extent, grown_only);
        if new.extent.is_empty() && self.changes.get(&id).is_some_and(|c| c.0.is_empty()) {
            self.changes.remove(&id);
        }
    }

    fn note(&mut self, id: StrokeId, before: BoardRect, grown_only: bool) {
        #[cfg(not(target_arch = "wasm32"))]
        for id in self.appeared.drain(..) {
            self.changes.insert(id, (BoardRect::EMPTY, false));
        }
        let change = self.changes.entry(id).or_insert((before, true));
        change.1 &= grown_only;
    }
}

/// The strokes of an op, each once.
fn distinct(op: &Op, id: OpId) -> Vec<StrokeId> {
    let mut strokes: Vec<_> = op.strokes(&id).collect();
    sort_by_key(&mut strokes, |stroke| *stroke);
    strokes.dedup();
    strokes
}

fn drawing_order(stroke: &Stroke) -> (u64, StrokeId) {
    // Wraps 0, which is unconfirmed, to the end.
    (stroke.z.0.wrapping_sub(1), stroke.id)
}

#[cfg(test)]
mod tests;
