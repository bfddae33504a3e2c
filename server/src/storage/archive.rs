//! An archive: a store that is only looked at, be it a data folder (in use or not) or a backup.
//!
//! Owns the promise that looking changes nothing, and the copy from one store to another that backups and restores are
//! made of. All that is read through one archive is of one moment. What records and snapshots mean is not known here.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chalkboard_shared::id::{BoardId, Position};
use rusqlite::{Connection, OptionalExtension, params};

use super::data_folder::LOCK_FILE;
use super::repo::{
    BoardRecord, DATABASE_FILE, FormatError, Reader, Sqlite, StorageError, WriteAhead,
    check_header, write_ahead,
};

/// Lines of SQLite's own check that are told.
const INTEGRITY_LINES_MAX: u32 = 20;

/// Why an archive can't be used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// There is none.
    #[error("there is no board store at {path}; name the data folder of a server, or a backup")]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It can't be read.
    #[error("{path} can't be read ({source}); give this user the right to read it")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is somebody else's, or of a newer version.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The database reports an error.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A backup that does not go on in the store.
    #[error(
        "{path} is no earlier backup of this store: board {board} differs at position {position}; nothing was changed. \
         Name a new file, and keep this one", position = position.0
    )]
    OfAnotherStore {
        /// The backup.
        path: PathBuf,
        /// A board that tells them apart.
        board: BoardId,
        /// Where.
        position: Position,
    },
}

impl From<rusqlite::Error> for ArchiveError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.into())
    }
}

/// A store that is only looked at.
#[derive(Debug)]
pub struct Archive {
    store: Sqlite,
    version: u32,
    /// What a server has left that did not stop by itself, where none runs.
    write_ahead: Option<WriteAhead>,
    /// Keeps servers from starting on a folder that was still; `None` for files, and while a server runs.
    _still: Option<File>,
}

/// What a copy came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Boards in the store.
    pub boards: u64,
    /// Records that were added.
    pub records: u64,
    /// Bytes of records and snapshots that were added.
    pub bytes: u64,
    /// Boards that something was added to.
    pub changed: Vec<BoardId>,
}

impl Archive {
    /// Looks into a data folder, whether a server uses it or not.
    pub fn of_folder(folder: &Path) -> Result<Self, ArchiveError> {
        let path = folder.join(DATABASE_FILE);
        check(&path)?;
        let still = match File::open(folder.join(LOCK_FILE)) {
            Ok(lock) => match lock.try_lock_shared() {
                Ok(()) => Some(lock),
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => None,
            },
            Err(_) => None,
        };
        let wal = folder.join(format!("{DATABASE_FILE}-wal"));
        let is_whole = std::fs::metadata(&wal).map_or(true, |wal| wal.len() == 0);
        let left = still.as_ref().and_then(|_| write_ahead::look(&wal).ok());
        let mut archive = Self::open(&path, still.is_some() && is_whole, still)?;
        archive.write_ahead = left;
        Ok(archive)
    }

    /// Looks into a backup, which nobody must be writing.
    pub fn of_file(path: &Path) -> Result<Self, ArchiveError> {
        check(path)?;
        // What a copy that was cut off has left: it is undone by whoever opens the file with it.
        let beside = ["-journal", "-wal"].map(|suffix| {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            Path::new(&name).exists()
        });
        Self::open(path, beside == [false, false], None)
    }

    fn open(path: &Path, is_still: bool, still: Option<File>) -> Result<Self, ArchiveError> {
        let store = Sqlite::open_reader(path, is_still)?;
        // Everything that follows is of the moment of the first query.
        store.connection.execute_batch("BEGIN")?;
        let version = store
            .connection
            .pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok(Self {
            store,
            version,
            write_ahead: None,
            _still: still,
        })
    }

    /// The boards, by name.
    pub fn boards(&self) -> Result<Vec<BoardRecord>, StorageError> {
        let boards = self
            .store
            .connection
            .prepare("SELECT id, edit_hash, view_hash, created_ms FROM board ORDER BY id")?
            .query_map([], |row| {
                Ok(BoardRecord {
                    id: BoardId(row.get(0)?),
                    edit_hash: row.get(1)?,
                    view_hash: row.get(2)?,
                    created_ms: row.get::<_, i64>(3)?.cast_unsigned(),
                })
            })?
            .collect::<Result<_, _>>()?;
        Ok(boards)
    }

    /// Position of the last stored op, as the log says.
    pub fn end(&self, board: BoardId) -> Result<Position, StorageError> {
        let last: Option<i64> = self
            .store
            .connection
            .prepare_cached("SELECT last FROM log WHERE board = ?1 ORDER BY first DESC LIMIT 1")?
            .query_row([board.0], |row| row.get(0))
            .optional()?;
        Ok(Position(last.unwrap_or(0).cast_unsigned()))
    }

    /// Positions of a board's snapshots, ascending.
    pub fn snapshots(&self, board: BoardId) -> Result<Vec<Position>, StorageError> {
        Ok(positions(&self.store.connection, board)?)
    }

    /// A snapshot.
    pub fn snapshot(
        &self,
        board: BoardId,
        position: Position,
    ) -> Result<Option<Bytes>, StorageError> {
        self.store.snapshot(board, position)
    }

    /// What SQLite's own check of the whole file finds; nothing where all is well.
    pub fn integrity(&self) -> Vec<String> {
        let found = || -> rusqlite::Result<Vec<String>> {
            self.store
                .connection
                .prepare(&format!("PRAGMA integrity_check({INTEGRITY_LINES_MAX})"))?
                .query_map([], |row| row.get(0))?
                .collect()
        };
        let strays = || -> rusqlite::Result<usize> {
            let mut rows = self.store.connection.prepare("PRAGMA foreign_key_check")?;
            let rows = rows.query_map([], |_| Ok(()))?;
            Ok(rows.take(INTEGRITY_LINES_MAX as usize).count())
        };
        let mut lines = match found() {
            Ok(lines) => lines.into_iter().filter(|line| line != "ok").collect(),
            Err(error) => vec![error.to_string()],
        };
        match strays() {
            Ok(0) => {}
            Ok(rows) => lines.push(format!("{rows} rows or more belong to no board")),
            Err(error) => lines.push(error.to_string()),
        }
        if let Some(WriteAhead::Damaged { commits }) = self.write_ahead {
            lines.push(format!(
                "its newest part (-wal) is damaged behind {commits} commits; what follows them is not seen here"
            ));
        }
        lines
    }

    /// Boards and their logs.
    pub fn reader(&mut self) -> &mut dyn Reader {
        &mut self.store
    }

    /// Copies what `target` (a database of the current format, in a transaction) lacks: of every board, or of one; each
    /// through the position that `through` names, or to its end. Nothing that the target has is changed but what
    /// follows from that.
    pub(crate) fn copy_into(
        &self,
        target: &Connection,
        target_path: &Path,
        only: Option<BoardId>,
        through: &HashMap<BoardId, Position>,
    ) -> Result<Copied, ArchiveError> {
        let other = |board, position| ArchiveError::OfAnotherStore {
            path: target_path.to_owned(),
            board,
            position,
        };
        let mut copied = Copied::default();
        let boards: Vec<BoardId> = self
            .boards()?
            .iter()
            .map(|board| board.id)
            .filter(|&board| only.is_none_or(|only| only == board))
            .collect();
        let known = target
            .prepare("SELECT id FROM board")?
            .query_map([], |row| row.get(0).map(BoardId))?
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(&board) = known.iter().find(|board| !boards.contains(board)) {
            return Err(other(board, Position(0)));
        }
        for board in boards {
            let end = through.get(&board).copied();
            let before = (copied.records, copied.bytes);
            self.copy_board(target, board, end, &mut copied)?
                .map_err(|position| other(board, position))?;
            if before != (copied.records, copied.bytes) || !known.contains(&board) {
                copied.changed.push(board);
            }
        }
        Ok(copied)
    }

    /// The inner error: where the target's log differs.
    fn copy_board(
        &self,
        target: &Connection,
        board: BoardId,
        through: Option<Position>,
        copied: &mut Copied,
    ) -> Result<Result<(), Position>, ArchiveError> {
        let source = &self.store.connection;
        let through = through.map_or(i64::MAX, |position| position.0.cast_signed());
        let newest: Option<(i64, i64, Vec<u8>)> = target
            .prepare_cached(
                "SELECT first, last, record FROM log WHERE board = ?1 ORDER BY first DESC LIMIT 1",
            )?
            .query_row([board.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let mut after = 0;
        if let Some((first, last, record)) = newest {
            let same = source
                .prepare_cached(
                    "SELECT 1 FROM log WHERE board = ?1 AND first = ?2 AND last = ?3 AND record = ?4",
                )?
                .exists(params![board.0, first, last, record])?;
            if !same {
                return Ok(Err(Position(first.cast_unsigned())));
            }
            after = first;
        }
        let (edit, view, created, epoch): ([u8; 32], [u8; 32], i64, i64) = source
            .prepare_cached(
                "SELECT edit_hash, view_hash, created_ms, epoch FROM board WHERE id = ?1",
            )?
            .query_row([board.0], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
        target
            .prepare_cached(
                "INSERT INTO board (id, edit_hash, view_hash, created_ms, epoch) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET edit_hash = excluded.edit_hash, view_hash = excluded.view_hash,
                 created_ms = excluded.created_ms, epoch = excluded.epoch",
            )?
            .execute(params![board.0, edit, view, created, epoch])?;
        copied.boards += 1;
        let mut insert = target.prepare_cached(
            "INSERT INTO log (board, first, last, record) VALUES (?1, ?2, ?3, ?4)",
        )?;
        let mut rows = source.prepare_cached(
            "SELECT first, last, record FROM log WHERE board = ?1 AND first > ?2 AND last <= ?3 ORDER BY first",
        )?;
        let mut rows = rows.query(params![board.0, after, through])?;
        while let Some(row) = rows.next()? {
            let record = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            copied.records += 1;
            copied.bytes += record.len() as u64;
            insert.execute(params![
                board.0,
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                record
            ])?;
        }
        self.copy_snapshots(target, board, through, copied)?;
        if self.version >= 2 {
            copy_names(source, target, board, through)?;
        }
        Ok(Ok(()))
    }

    fn copy_snapshots(
        &self,
        target: &Connection,
        board: BoardId,
        through: i64,
        copied: &mut Copied,
    ) -> Result<(), ArchiveError> {
        let (wanted, held) = (
            positions(&self.store.connection, board)?,
            positions(target, board)?,
        );
        for position in held.iter().filter(|position| !wanted.contains(position)) {
            target
                .prepare_cached("DELETE FROM snapshot WHERE board = ?1 AND position = ?2")?
                .execute(params![board.0, position.0.cast_signed()])?;
        }
        for position in wanted {
            if held.contains(&position) || position.0.cast_signed() > through {
                continue;
            }
            if let Some(snapshot) = self.snapshot(board, position)? {
                copied.bytes += snapshot.len() as u64;
                target
                    .prepare_cached(
                        "INSERT INTO snapshot (board, position, snapshot) VALUES (?1, ?2, ?3)",
                    )?
                    .execute(params![board.0, position.0.cast_signed(), &snapshot[..]])?;
            }
        }
        Ok(())
    }
}

/// Epochs and authors.
fn copy_names(
    source: &Connection,
    target: &Connection,
    board: BoardId,
    through: i64,
) -> rusqlite::Result<()> {
    target.execute("DELETE FROM epoch WHERE board = ?1", [board.0])?;
    let mut epochs =
        source.prepare_cached("SELECT epoch, start FROM epoch WHERE board = ?1 AND start <= ?2")?;
    let mut epochs = epochs.query(params![board.0, through])?;
    while let Some(row) = epochs.next()? {
        target
            .prepare_cached("INSERT INTO epoch (board, epoch, start) VALUES (?1, ?2, ?3)")?
            .execute(params![
                board.0,
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?
            ])?;
    }
    let mut authors =
        source.prepare_cached("SELECT actor, name, color, seen_ms FROM author WHERE board = ?1")?;
    let mut authors = authors.query([board.0])?;
    while let Some(row) = authors.next()? {
        target
            .prepare_cached(
                "INSERT OR REPLACE INTO author (board, actor, name, color, seen_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                board.0,
                row.get::<_, i64>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, u32>(2)?,
                row.get::<_, i64>(3)?
            ])?;
    }
    Ok(())
}

fn positions(connection: &Connection, board: BoardId) -> rusqlite::Result<Vec<Position>> {
    connection
        .prepare_cached("SELECT position FROM snapshot WHERE board = ?1 ORDER BY position")?
        .query_map([board.0], |row| {
            Ok(Position(row.get::<_, i64>(0)?.cast_unsigned()))
        })?
        .collect()
}

fn check(path: &Path) -> Result<(), ArchiveError> {
    let unreadable = |source| ArchiveError::Unreadable {
        path: path.to_owned(),
        source,
    };
    match std::fs::metadata(path) {
        Ok(found) if found.len() > 0 => Ok(check_header(path).map_err(unreadable)??),
        Ok(_) => Err(ArchiveError::Missing {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ArchiveError::Missing {
            path: path.to_owned(),
        }),
        Err(error) => Err(unreadable(error)),
    }
}
