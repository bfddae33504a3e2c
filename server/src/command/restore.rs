//! `chalkboard restore`: a new data folder from a backup, as of its end or of an earlier moment.
//!
//! Owns the choice of the moment. Never touches a folder that holds anything.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Instant;

use chalkboard_shared::{BoardId, Position};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::doctor::{self, DAMAGED, epoch_of_now};
use super::{FAILURE, fail, say};
use crate::examination::{Examined, Until, examine};
use crate::storage::repo::Sqlite;
use crate::storage::{Archive, ArchiveError, DataFolder, DataFolderError, StorageError};

pub(super) const ABOUT: &str = "\
Make a new data folder from a backup, as of its end or of an earlier moment.

The folder must be new or empty: nothing is ever written over. Everything that was written is read back and compared \
with the backup before this ends. Then start the server on it: chalkboard serve --data FOLDER. Links of boards go on \
working; certificates are made anew.";

pub(super) const EXAMPLES: &str = "\
Examples:
  Everything, as the backup has it:
      chalkboard restore --from /mnt/backup/chalkboard.sqlite3 --data /var/lib/chalkboard-new

  As it was at a moment:
      chalkboard restore --from backup.sqlite3 --data restored --at 2026-05-04T17:30:00Z

  One board, through a position of its log, or as of a tick of its time line:
      chalkboard restore --from backup.sqlite3 --data restored --board 3q2-7wAAAAAAAAAAAAAAAA --at position:1200
      chalkboard restore --from backup.sqlite3 --data restored --board 3q2-7wAAAAAAAAAAAAAAAA --at tick:48210

A data folder that no server uses can stand in for a backup (--from FOLDER).

Exit codes: 0 restored and whole, 3 restored but for what is damaged in the backup, 1 not restored, 2 the arguments \
can't be used.";

/// What to restore where.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArguments {
    /// The backup, or a data folder.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Data folder to make; new or empty.
    #[arg(long, value_name = "NEW_FOLDER")]
    data: PathBuf,
    /// Restore this board alone. [default: all]
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    board: Option<BoardId>,
    /// The moment: a time (2026-05-04T17:30:00Z), or with --board position:N or tick:N. [default: the end]
    #[arg(long, value_name = "MOMENT")]
    at: Option<Moment>,
}

/// A moment that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment(Until);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || {
            "expected a time such as 2026-05-04T17:30:00Z or 2026-05-04T19:30:00+02:00, position:N, or tick:N".to_owned()
        };
        let number = |text: &str| text.parse::<u64>().map_err(|_| wanted());
        if let Some(position) = text.strip_prefix("position:") {
            return Ok(Self(Until::Position(Position(number(position)?))));
        }
        if let Some(tick) = text.strip_prefix("tick:") {
            return Ok(Self(Until::Tick(number(tick)?)));
        }
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| wanted())?;
        let millis = time.unix_timestamp_nanos() / 1_000_000;
        Ok(Self(Until::Time(
            u64::try_from(millis).map_err(|_| wanted())?,
        )))
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    #[error("{path} is not empty; nothing was changed: name a new folder")]
    NotEmpty { path: PathBuf },
    #[error("{path} can't be read ({source}); name a new folder")]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("there is no board {0} in the backup")]
    NoBoard(BoardId),
    #[error("a position or a tick is that of one board: name it with --board")]
    WhichBoard,
    #[error(
        "board {board} reads back as digest {found}, and the backup has {expected}; do not use the new folder, and check \
         its disk"
    )]
    NotTheSame {
        board: String,
        expected: String,
        found: String,
    },
}

impl From<rusqlite::Error> for RestoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.into())
    }
}

pub(super) fn run(arguments: &RestoreArguments) -> ExitCode {
    let begun = Instant::now();
    let until = arguments.at.map_or(Until::End, |Moment(until)| until);
    match restore(&arguments.from, &arguments.data, arguments.board, until) {
        Ok(restored) => {
            let mut is_whole = true;
            for board in &restored {
                say(&format!(
                    "board {}: {} ops, {} strokes, through {}, digest {}",
                    board.board,
                    board.whole_through,
                    board.strokes,
                    told(board.last_ms),
                    board.digest
                ));
                if !board.is_log_whole() {
                    is_whole = false;
                    for problem in &board.problems {
                        say(&format!("    the backup is damaged: {problem}"));
                    }
                }
            }
            say(&format!(
                "{} boards restored and read back in {:.2} s; start the server on them: chalkboard serve --data {}",
                restored.len(),
                begun.elapsed().as_secs_f64(),
                arguments.data.display()
            ));
            if is_whole {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(DAMAGED)
            }
        }
        Err(error @ RestoreError::WhichBoard) => fail(super::BAD_CONFIG, &error),
        Err(error) => fail(FAILURE, &error),
    }
}

fn told(unix_ms: u64) -> String {
    let nanos = i128::from(unix_ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .filter(|_| unix_ms > 0)
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| "its beginning".to_owned())
}

/// Makes a data folder; what is in it, by board.
pub(super) fn restore(
    from: &Path,
    to: &Path,
    board: Option<BoardId>,
    until: Until,
) -> Result<Vec<Examined>, RestoreError> {
    if board.is_none() && matches!(until, Until::Position(_) | Until::Tick(_)) {
        return Err(RestoreError::WhichBoard);
    }
    check_empty(to)?;
    let mut archive = doctor::open(from)?;
    let mut boards: Vec<BoardId> = archive.boards()?.iter().map(|board| board.id).collect();
    if let Some(board) = board {
        if !boards.contains(&board) {
            return Err(RestoreError::NoBoard(board));
        }
        boards = vec![board];
    }
    let mut wanted = Vec::new();
    let mut through = HashMap::new();
    for &board in &boards {
        let examined = examine(&mut archive, board, until)?;
        through.insert(board, Position(examined.whole_through));
        wanted.push(examined);
    }
    let folder = DataFolder::open(to)?;
    let mut store = Sqlite::open(&folder)?;
    let path = store.path().to_owned();
    let transaction = store.connection.transaction()?;
    archive.copy_into(&transaction, &path, board, &through)?;
    transaction.execute("UPDATE board SET epoch = max(epoch, ?1)", [epoch_of_now()])?;
    for (&board, examined) in boards.iter().zip(&wanted) {
        for &position in &examined.damaged_snapshots {
            transaction.execute(
                "DELETE FROM snapshot WHERE board = ?1 AND position = ?2",
                rusqlite::params![board.0, position.cast_signed()],
            )?;
        }
    }
    transaction.commit()?;
    // Free for the look at it, and for the server.
    drop(store);
    drop(folder);

    let mut written = Archive::of_folder(to)?;
    for (&board, expected) in boards.iter().zip(&wanted) {
        let found = examine(&mut written, board, Until::End)?;
        let same = found.digest == expected.digest && found.whole_through == expected.whole_through;
        if !same || !found.problems.is_empty() {
            return Err(RestoreError::NotTheSame {
                board: found.board,
                expected: expected.digest.clone(),
                found: found.digest,
            });
        }
    }
    Ok(wanted)
}

fn check_empty(folder: &Path) -> Result<(), RestoreError> {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(RestoreError::NotEmpty {
                path: folder.to_owned(),
            }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(RestoreError::Unreadable {
            path: folder.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_times_positions_and_ticks() {
        let parse = |text: &str| text.parse::<Moment>().map(|Moment(until)| until);
        assert_eq!(parse("1970-01-01T00:00:01.5Z"), Ok(Until::Time(1500)));
        assert_eq!(parse("1970-01-01T01:00:01+01:00"), Ok(Until::Time(1000)));
        assert_eq!(parse("position:7"), Ok(Until::Position(Position(7))));
        assert_eq!(parse("tick:8"), Ok(Until::Tick(8)));
        for text in [
            "",
            "7",
            "yesterday",
            "position:",
            "tick:-1",
            "1969-01-01T00:00:00Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
