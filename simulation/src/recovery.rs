//! Recovery: a snapshot, and the log after it, become a room again.

use bevy_ecs::prelude::*;
use bytes::Bytes;
use chalkboard_shared::merge::{self, Strokes};
use chalkboard_shared::{Position, RejectReason};

use crate::index;
use crate::ledger::Ledger;
use crate::record::{LogRecord, RecordError};
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

/// Fills an empty world.
pub(crate) fn recover(
    world: &mut World,
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
        let mut ledger = world.resource_mut::<Ledger>();
        ledger.position = position;
        for id in snapshot.actors {
            ledger.answer(id);
        }
        let mut board = Board(world);
        for stroke in snapshot.strokes {
            board.insert(stroke);
        }
    }
    for bytes in tail {
        let after = world.resource::<Ledger>().position;
        let record =
            LogRecord::decode(&bytes).map_err(|error| RecoveryError::Record { after, error })?;
        for entry in record.entries {
            let last = world.resource::<Ledger>().position;
            if entry.position <= last {
                continue;
            }
            if entry.position != last.next() {
                return Err(RecoveryError::Gap {
                    expected: last.next(),
                    found: entry.position,
                });
            }
            merge::apply(&mut Board(world), entry.id, entry.position, &entry.op).map_err(
                |reason| RecoveryError::Refused {
                    position: entry.position,
                    reason,
                },
            )?;
            let mut ledger = world.resource_mut::<Ledger>();
            ledger.answer(entry.id);
            ledger.position = entry.position;
        }
    }
    let mut ledger = world.resource_mut::<Ledger>();
    ledger.durable = ledger.position;
    index::rebuild(world);
    Ok(())
}
