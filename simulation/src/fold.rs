//! Fold: a board put together from what is stored, without a room around it.
//!
//! For whoever wants to look at a moment, check a log or write a snapshot: it takes about a third of a room's memory.
//! How snapshots and records become a board is in [`crate::recovery`], for both.

use std::collections::HashMap;

use bytes::Bytes;
use chalkboard_shared::digest::Digest;
use chalkboard_shared::merge::Strokes;
use chalkboard_shared::{Position, Stroke, StrokeId, Tick};

use crate::ledger::Ledger;
use crate::recovery::{self, RecoveryError};
use crate::snapshot;

/// A board as of a position of its log.
#[derive(Debug, Default)]
pub struct Fold {
    strokes: Table,
    ledger: Ledger,
}

#[derive(Debug, Default)]
struct Table(HashMap<StrokeId, Stroke>);

impl Strokes for Table {
    fn holds(&self, id: StrokeId) -> bool {
        self.0.contains_key(&id)
    }

    fn get(&self, id: StrokeId) -> Option<&Stroke> {
        self.0.get(&id)
    }

    fn get_mut(&mut self, id: StrokeId) -> Option<&mut Stroke> {
        self.0.get_mut(&id)
    }

    fn insert(&mut self, stroke: Stroke) {
        self.0.insert(stroke.id, stroke);
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

impl Fold {
    /// The board of a snapshot (without one, the empty board) and the records after it, in order.
    ///
    /// # Errors
    /// The snapshot or a record is damaged, or does not follow from what is before it.
    pub fn new(
        snapshot: Option<(Position, Bytes)>,
        tail: impl IntoIterator<Item = Bytes>,
    ) -> Result<Self, RecoveryError> {
        let mut fold = Self::default();
        recovery::fill(&mut fold.strokes, &mut fold.ledger, snapshot, tail)?;
        Ok(fold)
    }

    /// Takes the next record. Ops that it has already are passed over.
    ///
    /// # Errors
    /// The record is damaged or does not follow; the board may then have a part of it and is of no more use.
    pub fn follow(&mut self, record: &Bytes) -> Result<(), RecoveryError> {
        recovery::follow(&mut self.strokes, &mut self.ledger, record)
    }

    /// The last op.
    pub const fn position(&self) -> Position {
        self.ledger.position
    }

    /// The tick that accepted it.
    pub const fn tick(&self) -> Tick {
        self.ledger.tick
    }

    /// Digest of the board.
    pub fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        for stroke in self.strokes.0.values() {
            digest.replace(0, stroke.digest());
        }
        digest
    }

    /// All strokes, erased ones included, in no particular order.
    pub fn strokes(&self) -> impl Iterator<Item = &Stroke> {
        self.strokes.0.values()
    }

    /// A snapshot of it, byte for byte the one that a room there would write.
    pub fn snapshot(&self) -> Bytes {
        snapshot::encode(&self.ledger, self.strokes())
    }
}
