//! The repository on disk: one SQLite file in the data folder.
//!
//! Owns the connection's settings and the queries. A commit is durable when it returns: write-ahead log,
//! `synchronous=FULL`, so that each one ends with a sync. Snapshots are [`snapshots`]'s. The file's format is in [`schema`](super::schema), who may
//! open the folder in [`data_folder`](crate::storage::data_folder). Blocking: never call it from an async task.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use chalkboard_shared::id::{ActorId, BoardId, EpochStart, Position};
use rusqlite::config::DbConfig;
use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Params, Row, TransactionBehavior, params,
};

use super::schema::{self, DATABASE_FILE, PIECES_SINCE};
use super::{
    AUTHORS_KEPT, Author, BoardRecord, EPOCHS_KEPT, LogBatch, Opened, Reader, Repository,
    SnapshotWrite, StorageError, StoredBoard, WriteAhead, check_contiguous, check_follows,
    check_log, write_ahead,
};
use crate::storage::data_folder::{DataFolder, FolderLock};

mod snapshots;

/// How long a statement waits for another program (a backup, an inspection) that holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages of 4 KiB in the write-ahead log before a commit also moves them into the main file: 32 MiB. Boards that are
/// drawn on rewrite the last page of their log with each commit, and a longer log moves such a page once for many
/// commits: with 100 boards in each commit, 8 MiB had commits of 10 ms at p90, this 8 ms. Larger makes a start after a
/// crash slower and gains little.
const CHECKPOINT_PAGES: u32 = 8_192;

/// The write-ahead log's file is cut back to this when it starts over: a long one, grown while a reader held it, must
/// not stay for good. 64 MiB.
const JOURNAL_BYTES_MAX: u32 = 64 << 20;

/// A store in the database of a data folder. Keeps the folder locked while it lives.
#[derive(Debug)]
pub struct Sqlite {
    // Before the lock, so that it is closed before the folder is free for others.
    pub(crate) connection: Connection,
    path: PathBuf,
    /// Its snapshots may lie in pieces; not in a file of an older version that is only looked at.
    has_pieces: bool,
    /// `None` for one that only reads.
    lock: Option<FolderLock>,
}

impl Sqlite {
    /// Opens the database of `folder`: makes it where it is missing, brings it to the current format where it is older,
    /// and refuses it unchanged where it is newer or somebody else's.
    pub fn open(folder: &DataFolder) -> Result<Self, StorageError> {
        let path = folder.path().join(DATABASE_FILE);
        check_write_ahead(&path)?;
        let mut connection = Connection::open(&path)?;
        // Until the format is known to be ours, closing must not move a newer program's log into its file.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        configure(&connection)?;
        // Before the switch to a write-ahead log, so that the version of a new file is in its header from the start.
        schema::prepare(&mut connection, &path)?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(StorageError::NoWriteAheadLog { mode });
        }
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        let mut store = Self {
            connection,
            path,
            has_pieces: true,
            lock: Some(folder.lock()),
        };
        store.drop_loose_pieces()?;
        // After a crash or a change of format: start with everything in the main file and an empty log.
        store.checkpoint()?;
        Ok(store)
    }

    /// A connection that only reads, of a database file whose format was checked. `is_still`: nobody changes the file
    /// while it is open, so that nothing is written beside it either.
    pub(crate) fn open_reader(path: &Path, is_still: bool) -> Result<Self, StorageError> {
        let mut address = String::from("file:");
        for byte in path.to_string_lossy().bytes() {
            match byte {
                b'%' | b'?' | b'#' => address.push_str(&format!("%{byte:02x}")),
                _ => address.push(char::from(byte)),
            }
        }
        address.push_str(if is_still { "?immutable=1" } else { "?mode=ro" });
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(address, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "query_only", true)?;
        let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok(Self {
            connection,
            path: path.to_owned(),
            has_pieces: version >= PIECES_SINCE,
            lock: None,
        })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The newest snapshot at or before one position, and the log from it through the batch that holds the other.
    fn load_where(
        &mut self,
        board: BoardId,
        snapshot_at_most: i64,
        through: i64,
    ) -> Result<StoredBoard, StorageError> {
        // One transaction (or a part of one): the snapshot and the log must be of the same moment.
        let transaction = self.connection.savepoint()?;
        check_known(&transaction, board)?;
        let newest: Option<i64> = transaction
            .prepare_cached(
                "SELECT max(position) FROM snapshot WHERE board = ?1 AND position <= ?2",
            )?
            .query_row(params![board.0, snapshot_at_most], |row| row.get(0))?;
        let snapshot = match newest.map(|newest| Position(newest.cast_unsigned())) {
            Some(newest) => snapshots::read(&transaction, self.has_pieces, board, newest)?
                .map(|bytes| (newest, bytes)),
            None => None,
        };
        let from = snapshot
            .as_ref()
            .map_or(Position(0), |(position, _)| *position);
        if from != Position(0) && !ends_a_batch(&transaction, board, from)? {
            return Err(StorageError::BrokenLog {
                board,
                expected: from,
                found: Position(0),
            });
        }
        let tail = transaction
            .prepare_cached(
                "SELECT first, last, record FROM log WHERE board = ?1 AND first > ?2 AND first <= ?3
                 ORDER BY first",
            )?
            .query_map(params![board.0, from.0.cast_signed(), through], |row| {
                batch(board, row)
            })?
            .collect::<Result<Vec<_>, _>>()?;
        check_contiguous(board, from, &tail)?;
        Ok(StoredBoard { snapshot, tail })
    }

    /// Limits the size of the database, as a full disk would.
    #[cfg(test)]
    pub(crate) fn limit_pages(&self, pages_max: u32) -> Result<(), StorageError> {
        Ok(self.connection.pragma_update_and_check(
            None,
            "max_page_count",
            pages_max,
            |_| Ok(()),
        )?)
    }

    #[cfg(test)]
    pub(crate) fn pages(&self) -> Result<u32, StorageError> {
        Ok(self
            .connection
            .pragma_query_value(None, "page_count", |row| row.get(0))?)
    }

    #[cfg(test)]
    pub(super) fn setting(&self, pragma: &str) -> i64 {
        self.connection
            .pragma_query_value(None, pragma, |row| row.get(0))
            .expect("the setting is known")
    }
}

/// Refuses a write-ahead log that was damaged after it was written, and says what becomes of one that a crash has left.
fn check_write_ahead(path: &Path) -> Result<(), StorageError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    let path = PathBuf::from(name);
    match write_ahead::look(&path) {
        Ok(WriteAhead::Empty) => Ok(()),
        Ok(WriteAhead::Whole {
            commits,
            torn_frames,
        }) => {
            tracing::info!(
                commits,
                torn_pages = torn_frames,
                "the server did not stop by itself last time; all that it had saved is taken over, and a write that was \
                 cut off before it was saved is dropped"
            );
            Ok(())
        }
        Ok(WriteAhead::Damaged { commits }) => {
            Err(StorageError::WriteAheadDamaged { path, commits })
        }
        Err(source) => Err(StorageError::WriteAheadUnreadable { path, source }),
    }
}

fn configure(connection: &Connection) -> Result<(), StorageError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Apple's fsync returns before the drive has written; these ask for the real one. No effect elsewhere.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(
        None,
        "journal_size_limit",
        JOURNAL_BYTES_MAX,
        |_| Ok(()),
    )?;
    Ok(())
}

fn check_known(connection: &Connection, board: BoardId) -> Result<(), StorageError> {
    let known = connection
        .prepare_cached("SELECT 1 FROM board WHERE id = ?1")?
        .exists([board.0])?;
    if known {
        Ok(())
    } else {
        Err(StorageError::UnknownBoard { board })
    }
}

/// Reads `first, last, record`.
fn batch(board: BoardId, row: &Row<'_>) -> rusqlite::Result<LogBatch> {
    Ok(LogBatch {
        board,
        first: position(row, 0)?,
        last: position(row, 1)?,
        record: Bytes::from(row.get::<_, Vec<u8>>(2)?),
    })
}

/// As SQLite's integers can hold it; positions beyond them do not exist.
fn storable(position: Position) -> i64 {
    i64::try_from(position.0).unwrap_or(i64::MAX)
}

fn position(row: &Row<'_>, column: usize) -> rusqlite::Result<Position> {
    // The tables' checks keep these at 0 or above.
    Ok(Position(row.get::<_, i64>(column)?.cast_unsigned()))
}

fn ends_a_batch(
    connection: &Connection,
    board: BoardId,
    position: Position,
) -> Result<bool, StorageError> {
    let Ok(position) = i64::try_from(position.0) else {
        return Ok(false);
    };
    let last: Option<i64> = connection
        .prepare_cached(
            "SELECT last FROM log WHERE board = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1",
        )?
        .query_row(params![board.0, position], |row| row.get(0))
        .optional()?;
    Ok(last == Some(position))
}

/// End of the log of a board that exists; `None` where it doesn't.
fn log_end(connection: &Connection, board: BoardId) -> Result<Option<Position>, StorageError> {
    let end: Option<Option<i64>> = connection
        .prepare_cached(
            "SELECT (SELECT last FROM log WHERE log.board = board.id ORDER BY first DESC LIMIT 1)
             FROM board WHERE id = ?1",
        )?
        .query_row([board.0], |row| row.get(0))
        .optional()?;
    Ok(end.map(|last| Position(last.unwrap_or(0).cast_unsigned())))
}

fn execute(connection: &Connection, sql: &str, params: impl Params) -> Result<usize, StorageError> {
    Ok(connection.prepare_cached(sql)?.execute(params)?)
}

impl Reader for Sqlite {
    fn board(&mut self, board: BoardId) -> Result<Option<BoardRecord>, StorageError> {
        let record = self
            .connection
            .prepare_cached("SELECT edit_hash, view_hash, created_ms FROM board WHERE id = ?1")?
            .query_row([board.0], |row| {
                Ok(BoardRecord {
                    id: board,
                    edit_hash: row.get(0)?,
                    view_hash: row.get(1)?,
                    created_ms: row.get::<_, i64>(2)?.cast_unsigned(),
                })
            })
            .optional()?;
        Ok(record)
    }

    fn load(&mut self, board: BoardId) -> Result<StoredBoard, StorageError> {
        self.load_where(board, i64::MAX, i64::MAX)
    }

    fn load_before(
        &mut self,
        board: BoardId,
        position: Position,
    ) -> Result<StoredBoard, StorageError> {
        self.load_where(board, storable(position).saturating_sub(1), i64::MAX)
    }

    fn load_at(&mut self, board: BoardId, position: Position) -> Result<StoredBoard, StorageError> {
        self.load_where(board, storable(position), storable(position))
    }

    fn log(
        &mut self,
        board: BoardId,
        after: Position,
        bytes_max: usize,
    ) -> Result<Vec<LogBatch>, StorageError> {
        let transaction = self.connection.savepoint()?;
        check_known(&transaction, board)?;
        let mut batches: Vec<LogBatch> = Vec::new();
        let mut bytes = 0_usize;
        let mut statement = transaction.prepare_cached(
            "SELECT first, last, record FROM log WHERE board = ?1 AND first >= coalesce(
                 (SELECT first FROM log WHERE board = ?1 AND first <= ?2 ORDER BY first DESC LIMIT 1), 0)
             ORDER BY first",
        )?;
        let mut rows = statement.query(params![board.0, storable(after)])?;
        while let Some(row) = rows.next()? {
            let batch = batch(board, row)?;
            if batch.last <= after {
                continue;
            }
            bytes = bytes.saturating_add(batch.record.len());
            if bytes > bytes_max && !batches.is_empty() {
                break;
            }
            batches.push(batch);
        }
        check_log(board, after, batches)
    }

    fn authors(&mut self, board: BoardId) -> Result<Vec<Author>, StorageError> {
        let transaction = self.connection.savepoint()?;
        check_known(&transaction, board)?;
        let authors = transaction
            .prepare_cached(
                "SELECT actor, name, color, seen_ms FROM author WHERE board = ?1 ORDER BY actor",
            )?
            .query_map([board.0], |row| {
                Ok(Author {
                    actor: ActorId(row.get::<_, i64>(0)?.cast_unsigned()),
                    name: row.get(1)?,
                    color: row.get(2)?,
                    seen_ms: row.get::<_, i64>(3)?.cast_unsigned(),
                })
            })?
            .collect::<Result<Vec<_>, _>>()?;
        Ok(authors)
    }
}

impl Repository for Sqlite {
    fn reader(&self) -> Result<Box<dyn Reader>, StorageError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        configure(&connection)?;
        // Read-write, since a reader takes part in the write-ahead log's bookkeeping; but it never changes a board.
        connection.pragma_update(None, "query_only", true)?;
        Ok(Box::new(Self {
            connection,
            path: self.path.clone(),
            has_pieces: self.has_pieces,
            lock: self.lock.clone(),
        }))
    }

    fn create_board(&mut self, record: &BoardRecord) -> Result<(), StorageError> {
        let made = execute(
            &self.connection,
            "INSERT INTO board (id, edit_hash, view_hash, created_ms) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            params![
                record.id.0,
                record.edit_hash,
                record.view_hash,
                record.created_ms.cast_signed()
            ],
        )?;
        if made == 0 {
            return Err(StorageError::BoardExists { board: record.id });
        }
        Ok(())
    }

    fn open_epoch(&mut self, board: BoardId) -> Result<Opened, StorageError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let epoch: Option<i64> = transaction
            .prepare_cached("UPDATE board SET epoch = epoch + 1 WHERE id = ?1 RETURNING epoch")?
            .query_row([board.0], |row| row.get(0))
            .optional()?;
        let epoch = epoch.ok_or(StorageError::UnknownBoard { board })?;
        let start = log_end(&transaction, board)?.unwrap_or_default();
        execute(
            &transaction,
            "INSERT INTO epoch (board, epoch, start) VALUES (?1, ?2, ?3)",
            params![board.0, epoch, start.0.cast_signed()],
        )?;
        execute(
            &transaction,
            "DELETE FROM epoch WHERE board = ?1 AND epoch NOT IN
             (SELECT epoch FROM epoch WHERE board = ?1 ORDER BY epoch DESC LIMIT ?2)",
            params![board.0, EPOCHS_KEPT as i64],
        )?;
        let starts = transaction
            .prepare_cached("SELECT epoch, start FROM epoch WHERE board = ?1 ORDER BY epoch")?
            .query_map([board.0], |row| {
                Ok(EpochStart {
                    epoch: row.get::<_, i64>(0)?.cast_unsigned(),
                    start: position(row, 1)?,
                })
            })?
            .collect::<Result<Vec<_>, _>>()?;
        transaction.commit()?;
        Ok(Opened {
            epoch: epoch.cast_unsigned(),
            starts,
        })
    }

    fn put_authors(&mut self, board: BoardId, authors: &[Author]) -> Result<(), StorageError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        check_known(&transaction, board)?;
        for author in authors {
            execute(
                &transaction,
                "INSERT INTO author (board, actor, name, color, seen_ms) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (board, actor) DO UPDATE
                 SET name = excluded.name, color = excluded.color, seen_ms = excluded.seen_ms",
                params![
                    board.0,
                    author.actor.0.cast_signed(),
                    author.name,
                    author.color,
                    author.seen_ms.cast_signed()
                ],
            )?;
        }
        let count: i64 = transaction
            .prepare_cached("SELECT count(*) FROM author WHERE board = ?1")?
            .query_row([board.0], |row| row.get(0))?;
        if count > AUTHORS_KEPT as i64 {
            execute(
                &transaction,
                "DELETE FROM author WHERE board = ?1 AND actor IN
                 (SELECT actor FROM author WHERE board = ?1 ORDER BY seen_ms, actor LIMIT ?2)",
                params![board.0, count - AUTHORS_KEPT as i64],
            )?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn append(&mut self, batches: &[LogBatch]) -> Result<(), StorageError> {
        if batches.is_empty() {
            return Ok(());
        }
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO log (board, first, last, record) VALUES (?1, ?2, ?3, ?4)",
            )?;
            let mut ends = HashMap::new();
            for (index, batch) in batches.iter().enumerate() {
                let board = batch.board;
                let end = match ends.get(&board) {
                    Some(end) => *end,
                    None => {
                        log_end(&transaction, board)?.ok_or(StorageError::UnknownBoard { board })?
                    }
                };
                check_follows(index, batch, end)?;
                let (first, last) = (batch.first.0.cast_signed(), batch.last.0.cast_signed());
                insert.execute(params![board.0, first, last, &batch.record[..]])?;
                ends.insert(board, batch.last);
            }
        }
        transaction.commit()?;
        Ok(())
    }

    fn put_piece(&mut self, write: &mut SnapshotWrite) -> Result<bool, StorageError> {
        self.put_snapshot_piece(write)
    }

    fn checkpoint(&mut self) -> Result<(), StorageError> {
        // Answers "busy" where a reader is in the middle of something: then the log just stays, which is as durable.
        Ok(self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }
}
