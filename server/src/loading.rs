//! Loading: what is stored of a board becomes its room, or a board without one.
//!
//! From the newest snapshot that can be read and the log after it; where a snapshot is damaged, from the one before
//! it, and at last from the log alone. What was made must be the board's very end. It waits for nothing but reads, and
//! changes nothing: what can't be read is refused and left as it is. It knows neither doors nor threads: the server's
//! `boards` calls it where blocking is allowed, the tests' simulation in virtual time.

use bytes::Bytes;
use chalkboard_shared::{BoardId, Position};
use chalkboard_simulation::{Fold, RecoveryError, Room, RoomConfig};

use crate::storage::{LogBatch, LogHandle, Opened, Reader, StorageError, StoredBoard};
use crate::telemetry::ShortBoard;

/// Ops before a snapshot that a loaded room reads for those who come back: a minute or two of a busy board, and hours of
/// an ordinary one. Some 30 to 60 bytes each, read and decoded in about 10 ms.
const REMEMBERED_OPS: u64 = 16 * 1024;
/// Bytes of those: the first half that fits into it would be of no use, so this is more than they have.
const REMEMBERED_BYTES_MAX: usize = 8 << 20;

/// A room that was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// The room, at the end of its log.
    pub room: Room,
    /// Position of the snapshot that it was made from; 0 where there was none.
    pub snapshot_at: Position,
    /// Snapshots that were newer and damaged, so that an older one was taken, or none.
    pub snapshots_damaged: u64,
}

/// Why a board was not loaded. Nothing was changed by that.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store did not give what it holds.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The store gave it, and it makes no board.
    #[error(
        "board {board} is damaged: {error}. Its log ends at position {end}; other boards go on. `chalkboard doctor` \
         says what is left of it, and `chalkboard restore --board {board}` brings it back from a backup", end = end.0
    )]
    Damaged {
        /// The board.
        board: BoardId,
        /// The end of its log.
        end: Position,
        /// What is wrong.
        error: RecoveryError,
    },
    /// The records hold less than the log says.
    #[error(
        "board {board} is damaged: its log says that it ends at position {end}, but its records hold the ops through \
         {found} only; other boards go on. `chalkboard doctor` says what is left of it, and `chalkboard restore --board \
         {board}` brings it back from a backup", end = end.0, found = found.0
    )]
    Short {
        /// The board.
        board: BoardId,
        /// The end of its log.
        end: Position,
        /// The last op that there is.
        found: Position,
    },
}

impl LoadError {
    /// Trying again gives the same, until somebody repairs what is stored.
    pub(crate) const fn is_damage(&self) -> bool {
        match self {
            Self::Storage(error) => matches!(
                error,
                StorageError::BrokenLog { .. } | StorageError::Damaged(_)
            ),
            Self::Damaged { .. } | Self::Short { .. } => true,
        }
    }
}

/// Reads a board and makes its room, which ticks every `tick_us` microseconds at first. Its load must have been
/// counted (`opened`), so that everything that a former room of the board has written is committed.
///
/// # Errors
/// It can't be read, or not be understood.
pub fn load(
    log: &LogHandle,
    board: BoardId,
    tick_us: u32,
    opened: Opened,
) -> Result<Loaded, LoadError> {
    let config = RoomConfig {
        epoch: opened.epoch,
        epoch_starts: opened.starts,
        tick_us,
    };
    let make = |snapshot, tail| Room::recover(config.clone(), snapshot, tail);
    let (mut room, snapshot_at, snapshots_damaged) =
        by_any_snapshot(log, board, make, Room::position)?;
    room.remember(records_before(log, board, snapshot_at));
    Ok(Loaded {
        room,
        snapshot_at,
        snapshots_damaged,
    })
}

/// The last records before a snapshot, for those who were on the board then; none where they can't be had, because a
/// board without them is as good for everybody else.
fn records_before(
    log: &LogHandle,
    board: BoardId,
    snapshot_at: Position,
) -> impl Iterator<Item = Bytes> {
    let after = Position(snapshot_at.0.saturating_sub(REMEMBERED_OPS));
    let mut batches = log
        .log(board, after, REMEMBERED_BYTES_MAX)
        .unwrap_or_default();
    batches.retain(|batch| batch.last <= snapshot_at);
    batches.into_iter().map(|batch| batch.record)
}

/// A board without a room, and the position of the snapshot that it was made from. Blocks.
pub(crate) fn fold(
    source: impl StoredBoards,
    board: BoardId,
) -> Result<(Fold, Position), LoadError> {
    let (fold, snapshot_at, _) = by_any_snapshot(source, board, Fold::new, Fold::position)?;
    Ok((fold, snapshot_at))
}

/// Where stored boards are read: the handle of a running writer, or a reader alone.
pub(crate) trait StoredBoards {
    fn load(&mut self, board: BoardId) -> Result<StoredBoard, StorageError>;
    fn load_before(
        &mut self,
        board: BoardId,
        position: Position,
    ) -> Result<StoredBoard, StorageError>;
    fn log(&mut self, board: BoardId, after: Position) -> Result<Vec<LogBatch>, StorageError>;
}

impl StoredBoards for &LogHandle {
    fn log(&mut self, board: BoardId, after: Position) -> Result<Vec<LogBatch>, StorageError> {
        LogHandle::log(self, board, after, 0)
    }

    fn load(&mut self, board: BoardId) -> Result<StoredBoard, StorageError> {
        LogHandle::load(self, board)
    }

    fn load_before(
        &mut self,
        board: BoardId,
        position: Position,
    ) -> Result<StoredBoard, StorageError> {
        LogHandle::load_before(self, board, position)
    }
}

impl StoredBoards for &mut dyn Reader {
    fn log(&mut self, board: BoardId, after: Position) -> Result<Vec<LogBatch>, StorageError> {
        Reader::log(*self, board, after, 0)
    }

    fn load(&mut self, board: BoardId) -> Result<StoredBoard, StorageError> {
        Reader::load(*self, board)
    }

    fn load_before(
        &mut self,
        board: BoardId,
        position: Position,
    ) -> Result<StoredBoard, StorageError> {
        Reader::load_before(*self, board, position)
    }
}

fn by_any_snapshot<T>(
    mut source: impl StoredBoards,
    board: BoardId,
    make: impl Fn(Option<(Position, Bytes)>, std::vec::IntoIter<Bytes>) -> Result<T, RecoveryError>,
    position: impl Fn(&T) -> Position,
) -> Result<(T, Position, u64), LoadError> {
    let mut damaged = 0;
    let mut stored = source.load(board)?;
    loop {
        let end = stored.end();
        if stored.tail.is_empty() && end > Position(0) {
            // The last record says at which tick: a snapshot of version 1 does not. What it holds is passed over.
            stored.tail = source.log(board, Position(end.0 - 1))?;
        }
        let snapshot_at = stored.snapshot.as_ref().map(|(position, _)| *position);
        let records: Vec<Bytes> = stored.tail.into_iter().map(|batch| batch.record).collect();
        match make(stored.snapshot, records.into_iter()) {
            Ok(made) if position(&made) == end => {
                return Ok((made, snapshot_at.unwrap_or_default(), damaged));
            }
            Ok(made) => {
                let found = position(&made);
                return Err(LoadError::Short { board, end, found });
            }
            Err(error) => {
                let Some(position) = snapshot_at else {
                    return Err(LoadError::Damaged { board, end, error });
                };
                tracing::warn!(board = %ShortBoard(board), position = position.0, %error, "a snapshot can't be used; the one before it is tried, with a longer log");
                stored = source.load_before(board, position)?;
                damaged += 1;
            }
        }
    }
}
