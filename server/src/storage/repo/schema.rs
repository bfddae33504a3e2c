//! The format of the database file: its mark, its version, its tables, and the steps from older versions.
//!
//! Owns the decision whether this program may use a file, made before anything in it is changed. Knows no queries:
//! those are in [`sqlite`](super::sqlite).

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior};

use super::StorageError;

/// Name of the database in the data folder. SQLite puts `-wal` and `-shm` beside it while it is open.
pub(crate) const DATABASE_FILE: &str = "boards.sqlite3";

/// SQLite's `application_id` of our files: "ChBd". Tells them from any other program's database.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"ChBd");

/// The format version that this program writes, SQLite's `user_version`: the number of [`STEPS`].
pub(crate) const FORMAT_VERSION: u32 = STEPS.len() as u32;

/// Step `n` takes a file from version `n` to `n + 1`, so a file of any age gets here by the steps that it lacks.
/// A step that was released is never edited: a golden file of each version must open forever.
const STEPS: [&str; 3] = [VERSION_1, VERSION_2, VERSION_3];

/// Keyed by board and first position without a rowid, so that a log is one run of neighbouring pages, and appending
/// to it touches its last page only. Snapshots are large, which such tables store badly: they keep their rowid.
const VERSION_1: &str = "
    CREATE TABLE board (
        id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
        edit_hash BLOB NOT NULL CHECK (length(edit_hash) = 32),
        view_hash BLOB NOT NULL CHECK (length(view_hash) = 32),
        created_ms INTEGER NOT NULL,
        epoch INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE log (
        board BLOB NOT NULL REFERENCES board (id),
        first INTEGER NOT NULL CHECK (first >= 1),
        last INTEGER NOT NULL CHECK (last >= first),
        record BLOB NOT NULL,
        PRIMARY KEY (board, first)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE snapshot (
        board BLOB NOT NULL REFERENCES board (id),
        position INTEGER NOT NULL CHECK (position >= 0),
        snapshot BLOB NOT NULL,
        UNIQUE (board, position)
    ) STRICT;
";

/// Where each load of a board began, so that who was there before can go on from what they hold; and the names of
/// those who changed it, for its history.
const VERSION_2: &str = "
    CREATE TABLE epoch (
        board BLOB NOT NULL REFERENCES board (id),
        epoch INTEGER NOT NULL CHECK (epoch >= 1),
        start INTEGER NOT NULL CHECK (start >= 0),
        PRIMARY KEY (board, epoch)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE author (
        board BLOB NOT NULL REFERENCES board (id),
        actor INTEGER NOT NULL,
        name TEXT NOT NULL,
        color INTEGER NOT NULL CHECK (color BETWEEN 0 AND 4294967295),
        seen_ms INTEGER NOT NULL,
        PRIMARY KEY (board, actor)
    ) STRICT, WITHOUT ROWID;
";

/// The first version whose snapshots may lie in pieces.
pub(crate) const PIECES_SINCE: u32 = 3;

/// All of a snapshot before what its own row holds, so that it can be written in short transactions: the row makes it
/// count. Pieces without a row are of one that is being written, or that a crash has cut off.
const VERSION_3: &str = "
    CREATE TABLE piece (
        board BLOB NOT NULL REFERENCES board (id),
        position INTEGER NOT NULL CHECK (position >= 0),
        number INTEGER NOT NULL CHECK (number >= 0),
        bytes BLOB NOT NULL,
        UNIQUE (board, position, number)
    ) STRICT;

    CREATE TRIGGER snapshot_gone AFTER DELETE ON snapshot BEGIN
        DELETE FROM piece WHERE board = OLD.board AND position = OLD.position;
    END;
";

/// A database file that this program must not use.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// Written by a newer program.
    #[error(
        "{path} has format version {found}, and this program knows versions up to {FORMAT_VERSION}; nothing was \
         changed: start the newer chalkboard that wrote it, or choose another data folder"
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Not a database of this program at all.
    #[error(
        "{path} is not a chalkboard database; nothing was changed: move it away or choose another data folder"
    )]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
}

/// Checks the file's first 100 bytes without opening it as a database, which could already change it. A file that is
/// missing or empty passes: it is about to be made. <https://www.sqlite.org/fileformat.html#the_database_header>
///
/// A version still waiting in the write-ahead log isn't seen here; [`prepare`] sees it.
pub(crate) fn check_header(path: &Path) -> io::Result<Result<(), FormatError>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(())),
        opened => opened?,
    };
    let mut header = Vec::with_capacity(100);
    file.by_ref().take(100).read_to_end(&mut header)?;
    if header.is_empty() {
        return Ok(Ok(()));
    }
    let number = |at: usize| -> Option<u32> {
        Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?))
    };
    let known = header.starts_with(b"SQLite format 3\0");
    let (Some(version), Some(application), true) = (number(60), number(68), known) else {
        return Ok(Err(FormatError::Foreign {
            path: path.to_owned(),
        }));
    };
    Ok(check(path, version, application.cast_signed()))
}

fn check(path: &Path, version: u32, application: i32) -> Result<(), FormatError> {
    match (application, version) {
        (APPLICATION_ID, found) if found > FORMAT_VERSION => Err(FormatError::Newer {
            path: path.to_owned(),
            found,
        }),
        (APPLICATION_ID, _) | (0, 0) => Ok(()),
        _ => Err(FormatError::Foreign {
            path: path.to_owned(),
        }),
    }
}

/// Brings an open database to [`FORMAT_VERSION`], or refuses it unchanged. Each step commits with its new version, so
/// that a crash between two leaves a file of a version that exists.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StorageError> {
    let version: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    check(path, version, application)?;
    if application == 0 {
        let tables: u32 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables > 0 {
            return Err(FormatError::Foreign {
                path: path.to_owned(),
            }
            .into());
        }
    }
    for (step, sql) in (0_u32..).zip(STEPS).skip(version as usize) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", step + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Makes a database that is one file whenever nobody writes it: for backups. Commits are synced.
pub(crate) fn prepare_file(connection: &mut Connection, path: &Path) -> Result<(), StorageError> {
    connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", true)?;
    prepare(connection, path)
}
