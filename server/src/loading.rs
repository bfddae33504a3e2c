//! Loading: what is stored of a board becomes its room.
//!
//! From the newest snapshot that can be read and the log after it; where a snapshot is damaged, from the one before
//! it, and at last from the log alone. It waits for nothing but reads, and knows neither doors nor threads: the
//! server's `boards` calls it where blocking is allowed, the tests' simulation in virtual time.

use chalkboard_shared::{BoardId, Position};
use chalkboard_simulation::{Room, RoomConfig};

use crate::storage::{LogHandle, Opened, StorageError};
use crate::telemetry::ShortBoard;

/// A room that was loaded.
#[derive(Debug)]
pub struct Loaded {
    /// The room, at the end of its log.
    pub room: Room,
    /// Position of the snapshot that it was made from; 0 where there was none.
    pub snapshot_at: Position,
}

/// Why a room was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store did not give what it holds.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The store gave it, and it makes no board.
    #[error(
        "neither its snapshots nor its log can be read ({0}); stop the server and restore the data folder from a backup"
    )]
    Unreadable(String),
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
        tick_us,
    };
    let mut stored = log.load(board)?;
    loop {
        let snapshot_at = stored.snapshot.as_ref().map(|(position, _)| *position);
        let records = stored.tail.into_iter().map(|batch| batch.record);
        match Room::recover(config, stored.snapshot, records) {
            Ok(room) => {
                let snapshot_at = snapshot_at.unwrap_or_default();
                return Ok(Loaded { room, snapshot_at });
            }
            Err(error) => {
                let Some(position) = snapshot_at else {
                    return Err(LoadError::Unreadable(error.to_string()));
                };
                tracing::warn!(board = %ShortBoard(board), position = position.0, %error, "a snapshot can't be used; the one before it is tried, with a longer log");
                stored = log.load_before(board, position)?;
            }
        }
    }
}
