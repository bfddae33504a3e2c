//! The repository: what a store of boards must be able to do, whatever keeps the bytes.
//!
//! Owns the vocabulary (records, batches, errors) and the rules of order; [`Sqlite`] keeps them on disk, [`Memory`] for
//! tests and throw-away servers, [`simulated`] keeps them on a disk that forgets, and one set of conformance tests holds
//! all to them. It knows no threads: the [`log writer`](super::log_writer) decides when what is written.

use bytes::Bytes;
use chalkboard_shared::id::{ActorId, BoardId, EpochStart, Position};

mod memory;
mod pieces;
mod schema;
pub mod simulated;
mod sqlite;
mod thinning;
pub(crate) mod write_ahead;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod damage;

pub use memory::Memory;
pub use pieces::{PIECE_BYTES, Piece, SnapshotWrite};
pub use schema::FormatError;
pub use sqlite::Sqlite;

pub(crate) use schema::{DATABASE_FILE, check_header, prepare_file};
pub(crate) use write_ahead::WriteAhead;

/// The largest log record or snapshot that is taken. SQLite's own limit is 10^9 bytes; a record is one tick's accepted
/// ops (kilobytes), a snapshot of a million strokes some tens of megabytes.
pub const RECORD_BYTES_MAX: usize = 256 << 20;

/// A board as the store knows it: who may open it, and since when it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardRecord {
    /// Name of the board.
    pub id: BoardId,
    /// Hash of the secret that lets people edit. The secret itself is never stored.
    pub edit_hash: [u8; 32],
    /// Hash of the secret that lets people view.
    pub view_hash: [u8; 32],
    /// When the board was made, milliseconds since 1970 UTC.
    pub created_ms: u64,
}

/// Consecutive accepted ops of one board, encoded as one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogBatch {
    /// The board that they belong to.
    pub board: BoardId,
    /// Position of the first op, from 1.
    pub first: Position,
    /// Position of the last op; at least `first`.
    pub last: Position,
    /// The ops, opaque here; at most [`RECORD_BYTES_MAX`].
    pub record: Bytes,
}

/// A load of a board that was just counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub epoch: u64,
    /// Where the newest loads began, this one included, ascending; at most [`EPOCHS_KEPT`].
    pub starts: Vec<EpochStart>,
}

/// Somebody who changed a board, as they were called when they were last seen there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// Their identity on the board.
    pub actor: ActorId,
    /// Display name.
    pub name: String,
    /// Colour, 0xRRGGBB.
    pub color: u32,
    /// When they were last seen, milliseconds since 1970 UTC.
    pub seen_ms: u64,
}

/// What is needed to bring a board back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredBoard {
    /// A snapshot and the position that it contains everything through; `None`: start from the empty board.
    pub snapshot: Option<(Position, Bytes)>,
    /// The log after the snapshot, in order, without gaps.
    pub tail: Vec<LogBatch>,
}

impl StoredBoard {
    /// Position of the last stored op; 0 for a board without any.
    pub fn end(&self) -> Position {
        match (self.tail.last(), &self.snapshot) {
            (Some(batch), _) => batch.last,
            (None, Some((position, _))) => *position,
            (None, None) => Position(0),
        }
    }
}

/// Reading side of a store. Sees everything that was committed before the call, also by others.
pub trait Reader: Send {
    /// The board of this name; `None` where there is none.
    fn board(&mut self, board: BoardId) -> Result<Option<BoardRecord>, StorageError>;

    /// The newest snapshot and the log after it. [`StorageError::BrokenLog`] where that log has a gap.
    fn load(&mut self, board: BoardId) -> Result<StoredBoard, StorageError>;

    /// The newest snapshot of a position **before** `position` and the log after it: for when the snapshot at
    /// `position` can't be read. Where no older snapshot is left, the whole log: history is kept, so a board can
    /// always be brought back from its ops alone.
    fn load_before(
        &mut self,
        board: BoardId,
        position: Position,
    ) -> Result<StoredBoard, StorageError>;

    /// The board as it was at `position`: the newest snapshot at or before it, and the log after that through the batch
    /// that contains `position` (its later ops included: a batch is one tick). All of the board for positions beyond
    /// its end.
    fn load_at(&mut self, board: BoardId, position: Position) -> Result<StoredBoard, StorageError>;

    /// The batches that hold positions after `after`, in order, without gaps: at least one if there is any, then as
    /// many as fit into `bytes_max` bytes of records. [`StorageError::BrokenLog`] where there is a gap among them.
    fn log(
        &mut self,
        board: BoardId,
        after: Position,
        bytes_max: usize,
    ) -> Result<Vec<LogBatch>, StorageError>;

    /// Who is known to have changed the board, by actor; at most [`AUTHORS_KEPT`].
    fn authors(&mut self, board: BoardId) -> Result<Vec<Author>, StorageError>;
}

/// A store of boards, their logs and their snapshots. Whatever a method has returned `Ok` for survives a crash of the
/// process and a loss of power (where the store is durable at all); after an error nothing of that call is stored.
pub trait Repository: Reader {
    /// Another reader of the same store, for another thread; it never waits for this repository's commits.
    fn reader(&self) -> Result<Box<dyn Reader>, StorageError>;

    /// Makes a board with an empty log. [`StorageError::BoardExists`] where the name is taken.
    fn create_board(&mut self, record: &BoardRecord) -> Result<(), StorageError>;

    /// Counts one more load of this board, from 1, and notes where its log ends now. No two loads ever share a number.
    fn open_epoch(&mut self, board: BoardId) -> Result<Opened, StorageError>;

    /// Notes who these are, in the place of what was known of the same actors. Beyond [`AUTHORS_KEPT`] those are
    /// forgotten who were not seen for longest.
    fn put_authors(&mut self, board: BoardId, authors: &[Author]) -> Result<(), StorageError>;

    /// Appends batches in the order given, all of them or none, in one transaction that is synced when this returns.
    /// Each must begin right after the end of its board's log, else [`StorageError::OutOfOrder`].
    fn append(&mut self, batches: &[LogBatch]) -> Result<(), StorageError>;

    /// Stores the next piece of a snapshot that contains everything through its position, which must be the end of a
    /// stored batch (or 0); `true` when that was the last, which makes the snapshot count. Then those are forgotten
    /// that are kept no longer: the newest two stay, and of older ones as many as make every moment of the board quick
    /// to reach. A snapshot of the same position is replaced: it counts no more from the first piece on.
    ///
    /// After an error nothing is left of any piece: write it no further. Of one that is not written to its end, be it
    /// for a crash, nothing is left when the store is opened again.
    fn put_piece(&mut self, write: &mut SnapshotWrite) -> Result<bool, StorageError>;

    /// Stores a snapshot wholly, piece by piece.
    fn put_snapshot(
        &mut self,
        board: BoardId,
        position: Position,
        snapshot: Bytes,
    ) -> Result<(), StorageError> {
        let mut write = SnapshotWrite::new(board, position, snapshot);
        while !self.put_piece(&mut write)? {}
        Ok(())
    }

    /// Tidies up before a clean close, so that one file holds everything. Losing this loses no data.
    fn checkpoint(&mut self) -> Result<(), StorageError>;
}

/// Loads of a board whose beginnings are known. Who was away for longer gets the whole board.
pub const EPOCHS_KEPT: usize = 64;

/// Authors whose names are kept for a board; some 60 bytes each, 1 MB.
pub const AUTHORS_KEPT: usize = 16 * 1024;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// No such board.
    #[error("there is no board {board}; check the link, or make a new board")]
    UnknownBoard {
        /// The name that was asked for.
        board: BoardId,
    },
    /// The name of a new board is taken.
    #[error("board {board} exists already; make the new board under another random id")]
    BoardExists {
        /// The name that is taken.
        board: BoardId,
    },
    /// A batch does not continue its board's log: a gap, an overlap, or an empty range.
    #[error(
        "log of board {board} continues at position {expected}, not with {first} to {last}; \
         unload the board's room and load it again", expected = expected.0, first = first.0, last = last.0
    )]
    OutOfOrder {
        /// Place of the first such batch in the slice given to `append`.
        index: usize,
        /// Its board.
        board: BoardId,
        /// Where the log continues.
        expected: Position,
        /// First position of the refused batch.
        first: Position,
        /// Last position of the refused batch.
        last: Position,
    },
    /// A snapshot at a position where no stored batch ends.
    #[error(
        "no log record of board {board} ends at position {position}, so a snapshot there can't be continued; \
         take the snapshot between two ticks and after its ops were appended", position = position.0
    )]
    SnapshotMisplaced {
        /// Its board.
        board: BoardId,
        /// Its position.
        position: Position,
    },
    /// A record or snapshot above the limit.
    #[error(
        "{bytes} bytes for board {board} are more than a record may have ({RECORD_BYTES_MAX}); write smaller ticks"
    )]
    TooLarge {
        /// Its board.
        board: BoardId,
        /// Its size.
        bytes: usize,
    },
    /// The stored log of a board has a gap or an overlap: the file was damaged or edited by something else.
    #[error(
        "the stored log of board {board} is damaged: it should continue at position {expected} but does so at {found} (0: \
         not at all). Other boards go on; `chalkboard doctor` says what is left of it, and `chalkboard restore --board \
         {board}` brings it back from a backup", expected = expected.0, found = found.0
    )]
    BrokenLog {
        /// Its board.
        board: BoardId,
        /// The position that should come next.
        expected: Position,
        /// The position that comes next; 0 where nothing does.
        found: Position,
    },
    /// The file's format can't be used by this program.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// No space is left.
    #[error("no space is left for the board store ({0}); free some on the disk of the data folder")]
    Full(#[source] rusqlite::Error),
    /// The file is damaged.
    #[error(
        "the board store is damaged ({0}); `chalkboard doctor` says which boards are whole, and `chalkboard restore` \
         brings all back from a backup"
    )]
    Damaged(#[source] rusqlite::Error),
    /// The write-ahead log was damaged after it was written.
    #[error(
        "the newest part of the board store ({path}) is damaged behind {commits} commits, so that boards would lose what \
         was saved last; nothing was changed. Bring the newest backup back into a new folder (chalkboard restore). \
         Without one, look at what is left (chalkboard doctor), copy the folder aside, and move that file out of it: \
         the server then starts with what was moved into the main file"
    )]
    WriteAheadDamaged {
        /// Its file.
        path: std::path::PathBuf,
        /// Commits in it that are whole.
        commits: u64,
    },
    /// The write-ahead log's file can't be read.
    #[error(
        "the newest part of the board store ({path}) can't be read ({source}); give this user the right to"
    )]
    WriteAheadUnreadable {
        /// Its file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file system can't do what the store needs.
    #[error(
        "the board store can't keep a write-ahead log there (got {mode:?}); put the data folder on a local disk"
    )]
    NoWriteAheadLog {
        /// The journal mode that was got in its place.
        mode: String,
    },
    /// Anything else that the database reports: input and output errors, mostly.
    #[error(
        "the board store could not be used ({0}); check the disk of the data folder and the system's log"
    )]
    Database(#[source] rusqlite::Error),
    /// The writer's thread could not be started.
    #[error(
        "the thread that saves changes could not be started ({0}); raise the limits on threads and memory"
    )]
    NoThread(#[source] std::io::Error),
    /// Writing fails at the moment, so nothing new is begun.
    #[error("saving is failing at the moment ({cause}); try again when that is repaired")]
    Failing {
        /// What the last attempt failed with.
        cause: String,
    },
    /// The writer did not answer in time.
    #[error(
        "the board store did not answer in time; it is overloaded or its disk hangs, try again later"
    )]
    NoAnswer,
    /// The writer has stopped.
    #[error(
        "the board store is closed because the server is stopping; connect again when it is back"
    )]
    Stopped,
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full(error),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(error),
            _ => Self::Database(error),
        }
    }
}

/// Checks that `batch` may follow a log that ends at `end`. `index` is its place in the slice being appended.
fn check_follows(index: usize, batch: &LogBatch, end: Position) -> Result<(), StorageError> {
    if batch.record.len() > RECORD_BYTES_MAX {
        return Err(StorageError::TooLarge {
            board: batch.board,
            bytes: batch.record.len(),
        });
    }
    // SQLite's integers are signed: the upper half of the positions can't be stored.
    let storable = batch.last.0 <= i64::MAX as u64;
    if batch.first != end.next() || batch.last < batch.first || !storable {
        return Err(StorageError::OutOfOrder {
            index,
            board: batch.board,
            expected: end.next(),
            first: batch.first,
            last: batch.last,
        });
    }
    Ok(())
}

/// Checks that a snapshot is not too large.
fn check_size(write: &SnapshotWrite) -> Result<(), StorageError> {
    let bytes = write.snapshot().len();
    if bytes > RECORD_BYTES_MAX {
        let board = write.board();
        return Err(StorageError::TooLarge { board, bytes });
    }
    Ok(())
}

/// Cuts `batches` to what [`Reader::log`] answers and checks it: nothing that ends at or before `after`, no gaps.
fn check_log(
    board: BoardId,
    after: Position,
    mut batches: Vec<LogBatch>,
) -> Result<Vec<LogBatch>, StorageError> {
    batches.retain(|batch| batch.last > after);
    // The first may begin before what was asked for.
    let from = batches
        .first()
        .filter(|batch| batch.first <= after)
        .map_or(after, |batch| Position(batch.first.0.saturating_sub(1)));
    check_contiguous(board, from, &batches)?;
    Ok(batches)
}

/// Checks that `tail` continues `snapshot` without gap or overlap.
fn check_contiguous(
    board: BoardId,
    snapshot: Position,
    tail: &[LogBatch],
) -> Result<(), StorageError> {
    let mut end = snapshot;
    for batch in tail {
        if batch.first != end.next() || batch.last < batch.first {
            return Err(StorageError::BrokenLog {
                board,
                expected: end.next(),
                found: batch.first,
            });
        }
        end = batch.last;
    }
    Ok(())
}
