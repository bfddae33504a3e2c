//! Recovery: a snapshot, and the log after it, become a room again.

use std::collections::VecDeque;

use bevy_ecs::prelude::*;
use bytes::Bytes;
use chalkboard_shared::merge::{self, Strokes};
use chalkboard_shared::{DecodeError, Position, RejectReason};

#[cfg(feature = "sabotage")]
use chalkboard_shared::sabotage::{Fault, is};

use crate::index;
use crate::ledger::Ledger;
use crate::record::{LogRecord, RecordError};
use crate::resuming::{self, Recent};
use crate::room::Clock;
use crate::snapshot;
use crate::strokes::Board;

/// A board can't be brought back from what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The snapshot can't be read.
    #[error("the snapshot at position {} can't be read: {error}", position.0)]
    Snapshot {
        /// Where it should be.
        position: Position,
        /// What is wrong.
        error: RecordError,
    },
    /// A record can't be read.
    #[error("the log record after position {} can't be read: {error}", after.0)]
    Record {
        /// The last position before it.
        after: Position,
        /// What is wrong.
        error: RecordError,
    },
    /// Ops are missing.
    #[error("the log goes on at position {} where {} was expected", found.0, expected.0)]
    Gap {
        /// The next position.
        expected: Position,
        /// The one found.
        found: Position,
    },
    /// An op that was accepted is refused now: the snapshot and the log do not belong together.
    #[error("the op at position {} does not fit the board: {reason}", position.0)]
    Refused {
        /// Which.
        position: Position,
        /// Why.
        reason: RejectReason,
    },
}

/// Fills an empty board: the only place that says how what is stored becomes one.
pub(crate) fn fill(
    board: &mut impl Strokes,
    ledger: &mut Ledger,
    snapshot: Option<(Position, Bytes)>,
    tail: impl IntoIterator<Item = Bytes>,
) -> Result<(), RecoveryError> {
    if let Some((position, bytes)) = snapshot {
        let error = |error| RecoveryError::Snapshot { position, error };
        let snapshot = snapshot::decode(&bytes).map_err(error)?;
        if snapshot.position != position {
            return Err(RecoveryError::Gap {
                expected: position,
                found: snapshot.position,
            });
        }
        ledger.position = position;
        ledger.tick = snapshot.tick.unwrap_or_default();
        for id in snapshot.actors {
            ledger.answer(id);
        }
        for stroke in snapshot.strokes {
            if board.holds(stroke.id) {
                return Err(error(DecodeError::Malformed.into()));
            }
            board.insert(stroke);
        }
    }
    for bytes in tail {
        follow(board, ledger, &bytes)?;
    }
    Ok(())
}

/// Applies a record's ops; those that are known already are passed over.
pub(crate) fn follow(
    board: &mut impl Strokes,
    ledger: &mut Ledger,
    bytes: &Bytes,
) -> Result<(), RecoveryError> {
    let after = ledger.position;
    let record =
        LogRecord::decode(bytes).map_err(|error| RecoveryError::Record { after, error })?;
    for entry in record.entries {
        let last = ledger.position;
        if entry.position <= last {
            continue;
        }
        if entry.position != last.next() {
            return Err(RecoveryError::Gap {
                expected: last.next(),
                found: entry.position,
            });
        }
        merge::apply(board, entry.id, entry.position, &entry.op).map_err(|reason| {
            RecoveryError::Refused {
                position: entry.position,
                reason,
            }
        })?;
        ledger.answer(entry.id);
        ledger.position = entry.position;
    }
    ledger.tick = ledger.tick.max(record.tick);
    Ok(())
}

/// Fills an empty world. Its ticks go on from that of the last record, so that a tick names one moment for ever.
pub(crate) fn recover(
    world: &mut World,
    snapshot: Option<(Position, Bytes)>,
    tail: impl IntoIterator<Item = Bytes>,
) -> Result<(), RecoveryError> {
    let mut ledger = core::mem::take(&mut *world.resource_mut::<Ledger>());
    let mut last = LastRecords::default();
    let tail = tail.into_iter().inspect(|record| last.push(record));
    fill(&mut Board(world), &mut ledger, snapshot, tail)?;
    ledger.durable = ledger.position;
    #[cfg(feature = "sabotage")]
    if is(Fault::TicksAnew) {
        ledger.tick = chalkboard_shared::Tick(0);
    }
    world.resource_mut::<Clock>().tick = ledger.tick;
    world.insert_resource(Recent::after(ledger.position));
    *world.resource_mut::<Ledger>() = ledger;
    resuming::remember(world, last.records);
    index::rebuild(world);
    Ok(())
}

/// The newest records of a tail: as much of it as is worth to be looked at twice, for those who come back.
#[derive(Default)]
struct LastRecords {
    records: VecDeque<Bytes>,
    bytes: usize,
}

impl LastRecords {
    /// Some 100,000 small ops.
    const BYTES_MAX: usize = 4 * 1024 * 1024;

    fn push(&mut self, record: &Bytes) {
        self.bytes += record.len();
        self.records.push_back(record.clone());
        while self.bytes > Self::BYTES_MAX
            && let Some(first) = self.records.pop_front()
        {
            self.bytes -= first.len();
        }
    }
}
