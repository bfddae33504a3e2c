//! The mirror: what this client knows of the board for certain, in the room's order.
//!
//! It holds the strokes of the covered area (and, between two coverages, what is left of the old one), applies the
//! room's updates by the shared merge rules and keeps the digest up to date. It knows nothing of predictions, of the
//! link or of drawing; the board lays the first over it.

mod holdings;

use std::collections::HashMap;

use chalkboard_shared::digest::Digest;
use chalkboard_shared::limits::STROKES_PER_BOARD_MAX;
use chalkboard_shared::merge::{self, Strokes};
use chalkboard_shared::{BoardRect, DecodeError, Op, OpEntry, Position, Stroke, StrokeId};

use holdings::Holdings;

/// By stroke. Hashed quickly, because a join puts tens of thousands of strokes into several of these.
pub(crate) type StrokeMap<V> = HashMap<StrokeId, V, foldhash::fast::RandomState>;

/// What became of a whole stroke that came from the room.
#[derive(Debug)]
pub(crate) enum Put {
    /// It was out of date.
    Not,
    /// Nothing was held under its name.
    New,
    /// It took the place of this one.
    InPlaceOf(Stroke),
}

/// The confirmed strokes.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    strokes: Holdings,
    /// Strokes that may still grow, by drawing order; each is held.
    wet: HashMap<Position, StrokeId>,
    digest: Digest,
    generation: u32,
    /// Last drawing order seen: whatever has it is drawn above everything else that is confirmed.
    z_max: Position,
    /// Strokes that the op being applied touches, with their shares of the digest before.
    touched: Vec<(StrokeId, u64)>,
}

impl Mirror {
    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Stroke> + Clone {
        self.strokes.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.strokes.len()
    }

    pub(crate) fn z_max(&self) -> Position {
        self.z_max
    }

    /// Applies an accepted op, in the room's order. Answers the strokes that it touched. An op that the merge rules
    /// refuse here names only strokes that are not covered, and changes nothing.
    pub(crate) fn apply(&mut self, entry: &OpEntry) -> Vec<StrokeId> {
        self.touched.clear();
        if matches!(entry.op, Op::Begin { .. }) {
            self.drop_lost(StrokeId(entry.id));
        }
        if merge::apply(self, entry.id, entry.position, &entry.op).is_err() {
            self.touched.clear();
        }
        let touched = std::mem::take(&mut self.touched);
        for (id, before) in &touched {
            let after = self.strokes.get(*id).map_or(0, Stroke::digest);
            if let Some(stroke) = self.strokes.get(*id) {
                let (z, is_finished) = (stroke.z, stroke.is_finished());
                self.note_wet(*id, z, is_finished);
            }
            self.digest.replace(*before, after);
        }
        touched.into_iter().map(|(id, _)| id).collect()
    }

    /// A stroke begins that is held from before the connection: the room had told of it, lost it in a crash before it was
    /// synced, and has it now from its author, who sent it again. What is held is of no account any more.
    fn drop_lost(&mut self, id: StrokeId) {
        if let Some(place) = self.strokes.place(id)
            && self.strokes.generation(place) != self.generation
        {
            self.take(place);
        }
    }

    /// Lets go of the stroke in a place; the last one is there then.
    fn take(&mut self, place: usize) -> Stroke {
        let stroke = self.strokes.take(place);
        self.digest.replace(stroke.digest(), 0);
        forget_wet(&mut self.wet, stroke.id, stroke.z);
        stroke
    }

    /// A stroke that still grows, by its drawing order. None of before the connection: what it has gained meanwhile comes
    /// with it, and what it gains now does not fit what is held.
    pub(crate) fn wet(&self, begin: Position) -> Option<&Stroke> {
        let place = self.strokes.place(*self.wet.get(&begin)?)?;
        let stroke = self.strokes.at(place);
        let is_wet = stroke.z == begin && !stroke.is_finished();
        (is_wet && self.strokes.generation(place) == self.generation).then_some(stroke)
    }

    fn note_wet(&mut self, id: StrokeId, z: Position, is_finished: bool) {
        if is_finished {
            forget_wet(&mut self.wet, id, z);
        } else {
            self.wet.insert(z, id);
        }
    }

    /// Takes a whole stroke from the room. Within one connection a stroke with fewer points than the mirror's is out of
    /// date; one from before the connection is replaced in any case, because a room that was loaded from its log may
    /// have lost points.
    ///
    /// # Errors
    /// More strokes than a board can hold.
    pub(crate) fn put(&mut self, stroke: Stroke) -> Result<Put, DecodeError> {
        let generation = self.generation;
        let is_full = self.strokes.len() >= STROKES_PER_BOARD_MAX;
        let (id, z, is_finished) = (stroke.id, stroke.z, stroke.is_finished());
        let digest = stroke.digest();
        let put = match self.strokes.place(id) {
            Some(place) => {
                let held = self.strokes.at(place);
                let is_current = self.strokes.generation(place) == generation;
                if is_current && held.point_count > stroke.point_count {
                    return Ok(Put::Not);
                }
                let old = self.strokes.exchange(place, stroke, generation);
                self.digest.replace(old.digest(), digest);
                Put::InPlaceOf(old)
            }
            None if is_full => return Err(DecodeError::OutOfRange),
            None => {
                self.digest.replace(0, digest);
                self.strokes.push(stroke, generation);
                Put::New
            }
        };
        self.z_max = self.z_max.max(z);
        self.note_wet(id, z, is_finished);
        Ok(put)
    }

    /// Takes those whole strokes of a chunk from the room that are new and `wanted`; the others it leaves. Answers how many
    /// it held before: those behind them are new.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn put_new(
        &mut self,
        strokes: &mut Vec<Stroke>,
        wanted: impl Fn(&Stroke) -> bool,
    ) -> usize {
        let before = self.strokes.len();
        if before + strokes.len() > STROKES_PER_BOARD_MAX {
            return before;
        }
        *strokes = self
            .strokes
            .append(std::mem::take(strokes), self.generation, wanted);
        for stroke in self.strokes.behind(before) {
            self.digest.replace(0, stroke.digest());
            self.z_max = self.z_max.max(stroke.z);
            if stroke.is_finished() {
                forget_wet(&mut self.wet, stroke.id, stroke.z);
            } else {
                self.wet.insert(stroke.z, stroke.id);
            }
        }
        before
    }

    /// The strokes that came behind the first `count`.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn behind(&self, count: usize) -> &[Stroke] {
        self.strokes.behind(count)
    }

    /// Puts a stroke in the place of whatever is held under its name; without one, that is forgotten.
    pub(crate) fn replace(&mut self, id: StrokeId, stroke: Option<Stroke>) {
        if let Some(place) = self.strokes.place(id) {
            self.take(place);
        }
        if let Some(stroke) = stroke {
            self.digest.replace(0, stroke.digest());
            self.z_max = self.z_max.max(stroke.z);
            self.note_wet(id, stroke.z, stroke.is_finished());
            self.strokes.push(stroke, self.generation);
        }
    }

    #[cfg(test)]
    /// The names of all strokes.
    pub(crate) fn ids(&self) -> impl Iterator<Item = StrokeId> {
        self.strokes.iter().map(|stroke| stroke.id)
    }

    /// A new connection begins: whatever is not sent again until [`Mirror::evict_stale`] is gone.
    pub(crate) fn begin_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// Drops what was not sent since [`Mirror::begin_generation`]; answers what was dropped.
    pub(crate) fn evict_stale(&mut self) -> Vec<Stroke> {
        self.evict(|generation, now, _| generation != now)
    }

    /// Drops what does not touch `rect`; answers what was dropped.
    pub(crate) fn evict_outside(&mut self, rect: BoardRect) -> Vec<Stroke> {
        self.evict(|_, _, stroke| !stroke.extent().intersects(rect))
    }

    /// Drops a stroke that does not touch `rect` any more.
    pub(crate) fn evict_left(&mut self, id: StrokeId, rect: BoardRect) -> Option<Stroke> {
        let place = self.strokes.place(id)?;
        let is_out = !self.strokes.at(place).extent().intersects(rect);
        is_out.then(|| self.take(place))
    }

    /// The stroke is held as this connection knows it, and the room tells what is done to it while it covers `rect`.
    pub(crate) fn is_followed(&self, id: StrokeId, rect: BoardRect) -> bool {
        let place = self.strokes.place(id);
        place.is_some_and(|place| {
            self.strokes.generation(place) == self.generation
                && self.strokes.at(place).extent().intersects(rect)
        })
    }

    /// Drops strokes by the connection in which they were last known to be there, the one that is now, and what they are.
    fn evict(&mut self, is_out: impl Fn(u32, u32, &Stroke) -> bool) -> Vec<Stroke> {
        let mut out = Vec::new();
        let mut place = 0;
        while place < self.strokes.len() {
            let generation = self.strokes.generation(place);
            if is_out(generation, self.generation, self.strokes.at(place)) {
                out.push(self.take(place));
            } else {
                place += 1;
            }
        }
        out
    }
}

/// A stroke does not grow any more. After a crash another may have the drawing order of one that was lost.
fn forget_wet(wet: &mut HashMap<Position, StrokeId>, id: StrokeId, z: Position) {
    if wet.get(&z) == Some(&id) {
        wet.remove(&z);
    }
}

impl Strokes for Mirror {
    fn holds(&self, id: StrokeId) -> bool {
        self.strokes.place(id).is_some()
    }

    fn get(&self, id: StrokeId) -> Option<&Stroke> {
        self.strokes.get(id)
    }

    fn get_mut(&mut self, id: StrokeId) -> Option<&mut Stroke> {
        let place = self.strokes.place(id)?;
        let stroke = self.strokes.at_mut(place);
        // An op may name a stroke twice; its share from before the op counts once.
        if self.touched.iter().all(|(other, _)| *other != id) {
            self.touched.push((id, stroke.digest()));
        }
        Some(stroke)
    }

    fn insert(&mut self, stroke: Stroke) {
        self.touched.push((stroke.id, 0));
        self.z_max = self.z_max.max(stroke.z);
        self.strokes.push(stroke, self.generation);
    }

    fn count(&self) -> usize {
        self.strokes.len()
    }
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::op::InkRun;
    use chalkboard_shared::stroke::Nib;
    use chalkboard_shared::{ActorId, BoardPoint, InkPoint, OpId, StrokeStyle};

    use super::*;

    fn op_id(counter: u32) -> OpId {
        OpId {
            actor: ActorId(3),
            counter,
        }
    }

    fn entry(position: u64, counter: u32, op: Op) -> OpEntry {
        OpEntry {
            position: Position(position),
            id: op_id(counter),
            op,
        }
    }

    fn begin(position: u64, counter: u32, x: i32) -> OpEntry {
        let style = StrokeStyle {
            nib: Nib::Pen,
            color: 0,
            width: 64,
        };
        let ink = InkRun::new(vec![InkPoint::new(x, 0, 128), InkPoint::new(x + 9, 9, 128)]);
        entry(position, counter, Op::Begin { style, ink })
    }

    /// The digest as the sum over all strokes, computed anew.
    fn summed(mirror: &Mirror) -> Digest {
        let mut digest = Digest::default();
        for stroke in mirror.iter() {
            digest.replace(0, stroke.digest());
        }
        digest
    }

    #[test]
    fn the_digest_follows_every_change() {
        let mut mirror = Mirror::default();
        let first = StrokeId(op_id(1));
        let strokes = vec![first, first, StrokeId(op_id(99))];
        for entry in [
            begin(1, 1, 0),
            begin(2, 2, 5000),
            entry(3, 3, Op::Finish { stroke: first }),
            entry(
                4,
                4,
                Op::Erase {
                    strokes: strokes.clone(),
                },
            ),
            entry(5, 5, Op::Restore { strokes }),
            begin(6, 1, 7),
        ] {
            mirror.apply(&entry);
            assert_eq!(mirror.digest(), summed(&mirror));
        }
        assert_eq!(mirror.len(), 2);
        let left = BoardRect::from_corners(BoardPoint::new(-99, -99), BoardPoint::new(99, 99));
        assert_eq!(mirror.evict_outside(left).len(), 1);
        assert_eq!(mirror.digest(), summed(&mirror));
        mirror.begin_generation();
        assert_eq!(mirror.evict_stale().len(), 1);
        assert_eq!(mirror.digest(), Digest::default());
    }

    #[test]
    fn a_stroke_that_a_crash_has_lost_and_its_author_sends_again_stays() {
        let mut mirror = Mirror::default();
        mirror.apply(&begin(7, 1, 0));
        mirror.begin_generation();
        // While the rest of the board is on its way, and at another position than before.
        mirror.apply(&begin(5, 1, 0));
        assert_eq!(mirror.evict_stale(), []);
        let stroke = mirror.get(StrokeId(op_id(1))).expect("it stays");
        assert_eq!(stroke.z, Position(5));
        assert_eq!(mirror.digest(), summed(&mirror));
        // Told twice on one connection, it is still the first that counts.
        mirror.apply(&begin(9, 1, 0));
        assert_eq!(
            mirror.get(StrokeId(op_id(1))).map(|s| s.z),
            Some(Position(5))
        );
    }

    #[test]
    fn a_shorter_stroke_replaces_only_one_from_before() {
        let mut mirror = Mirror::default();
        mirror.apply(&begin(1, 1, 0));
        let id = StrokeId(op_id(1));
        let mut short = Stroke::new(
            id,
            Position(1),
            mirror.get(id).expect("is there").style.value,
        );
        short.push(&[InkPoint::new(0, 0, 128)]);
        mirror.put(short.clone()).expect("fits");
        assert_eq!(mirror.get(id).map(|s| s.point_count), Some(2));
        mirror.begin_generation();
        mirror.put(short).expect("fits");
        assert_eq!(mirror.get(id).map(|s| s.point_count), Some(1));
        assert_eq!(mirror.digest(), summed(&mirror));
    }
}
