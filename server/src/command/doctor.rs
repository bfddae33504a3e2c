//! `chalkboard doctor`: is everything that is stored whole, and what can be done where it is not.
//!
//! Looking changes nothing and works beside a running server. A repair does only what loses nothing, and works on a
//! folder that nobody uses; what loses something has to be asked for by name, and the store is copied aside first.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use chalkboard_shared::{BoardId, Position};
use serde::Serialize;

use super::{FAILURE, fail, say, say_error};
use crate::clock;
use crate::examination::{Examined, Until, examine};
use crate::storage::repo::{DATABASE_FILE, Sqlite};
use crate::storage::{Archive, ArchiveError, DataFolder, DataFolderError, StorageError};

/// Something is not whole.
pub(super) const DAMAGED: u8 = 3;

pub(super) const ABOUT: &str = "\
Check everything that is stored, and say what is whole and what is not.

Every record of every board is read and its checksum compared, every snapshot too, and that both give the same board. \
Nothing is changed, and a server may run meanwhile.

With --repair (no server may run on the folder) snapshots that can't be used are taken out: the log makes up for them, \
and nothing is lost. A log that is damaged is left as it is: restore the board from a backup (chalkboard restore), or \
give up what follows the damage with --cut. Before anything is changed the whole store is copied aside.";

pub(super) const EXAMPLES: &str = "\
Examples:
  Is all well?
      chalkboard doctor --data /var/lib/chalkboard

  For a program that watches:
      chalkboard doctor --json

  Keep the ops of a damaged board through position 1200, and give up the rest:
      chalkboard doctor --repair --cut 3q2-7wAAAAAAAAAAAAAAAA@1200

Exit codes: 0 all is whole (after --repair: is whole now), 3 something is damaged, 1 it could not be checked, 2 the \
arguments can't be used.";

/// What to check.
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArguments {
    /// Data folder of the server, or a backup file. [default: ./data]
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "data",
        hide_default_value = true
    )]
    data: PathBuf,
    /// Check this board alone. [default: all]
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    board: Option<BoardId>,
    /// Write the findings as JSON. [default: in words]
    #[arg(long)]
    json: bool,
    /// Take out snapshots that can't be used. No server may run on the folder. [default: only look]
    #[arg(long)]
    repair: bool,
    /// With --repair: give up everything of this board behind this position. May be given several times.
    #[arg(
        long,
        value_name = "BOARD@POSITION",
        requires = "repair",
        allow_hyphen_values = true
    )]
    cut: Vec<CutAt>,
}

/// Where a log is to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CutAt {
    board: BoardId,
    position: Position,
}

impl FromStr for CutAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || "expected BOARD@POSITION, as the doctor's report names them".to_owned();
        let (board, position) = text.split_once('@').ok_or_else(wanted)?;
        Ok(Self {
            board: board.parse().map_err(|_| wanted())?,
            position: Position(position.parse().map_err(|_| wanted())?),
        })
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    #[error("there is no board {0} in this store")]
    NoBoard(BoardId),
    #[error(
        "the store could not be copied aside ({0}), so nothing was changed; make space beside it"
    )]
    Aside(std::io::Error),
    #[error("--repair works on a data folder, and this is a file; nothing was changed")]
    RepairOfFile,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.into())
    }
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    /// What SQLite says about the file.
    file: Vec<String>,
    boards: Vec<Examined>,
    /// What a repair has done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    repairs: Vec<String>,
    is_whole: bool,
}

pub(super) fn run(arguments: &DoctorArguments) -> ExitCode {
    let checked = check(arguments, Vec::new()).and_then(|report| {
        if arguments.repair {
            let repairs = repair(arguments, &report)?;
            check(arguments, repairs)
        } else {
            Ok(report)
        }
    });
    match checked {
        Ok(report) => {
            tell(arguments, &report);
            if report.is_whole {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(DAMAGED)
            }
        }
        Err(error) => fail(FAILURE, &error),
    }
}

pub(super) fn open(path: &Path) -> Result<Archive, ArchiveError> {
    if path.is_file() {
        Archive::of_file(path)
    } else {
        Archive::of_folder(path)
    }
}

fn check(arguments: &DoctorArguments, repairs: Vec<String>) -> Result<Report, Failure> {
    let mut archive = open(&arguments.data)?;
    let file = archive.integrity();
    let boards: Vec<BoardId> = match archive.boards() {
        Ok(boards) => boards.iter().map(|board| board.id).collect(),
        Err(error) if !file.is_empty() => {
            return Ok(Report {
                file: [file, vec![error.to_string()]].concat(),
                boards: Vec::new(),
                repairs,
                is_whole: false,
            });
        }
        Err(error) => return Err(error.into()),
    };
    let boards = match arguments.board {
        Some(board) if boards.contains(&board) => vec![board],
        Some(board) => return Err(Failure::NoBoard(board)),
        None => boards,
    };
    let mut examined = Vec::new();
    for board in boards {
        examined.push(match examine(&mut archive, board, Until::End) {
            Ok(found) => found,
            Err(error @ StorageError::Damaged(_)) => Examined {
                board: board.to_string(),
                problems: vec![error.to_string()],
                ..Examined::default()
            },
            Err(error) => return Err(error.into()),
        });
    }
    Ok(Report {
        is_whole: file.is_empty() && examined.iter().all(|board| board.problems.is_empty()),
        file,
        boards: examined,
        repairs,
    })
}

fn tell(arguments: &DoctorArguments, report: &Report) {
    if arguments.json {
        say(&serde_json::to_string_pretty(report).unwrap_or_default());
        return;
    }
    for done in &report.repairs {
        say(&format!("repaired: {done}"));
    }
    for line in &report.file {
        say(&format!("the database file: {line}"));
    }
    for board in &report.boards {
        let state = if board.problems.is_empty() {
            "whole"
        } else {
            "DAMAGED"
        };
        say(&format!(
            "board {}: {state}; {} ops in {} records ({} bytes), {} strokes, snapshots at {:?}, digest {}",
            board.board,
            board.whole_through,
            board.records,
            board.record_bytes,
            board.strokes,
            board.snapshots,
            board.digest
        ));
        for problem in &board.problems {
            say(&format!("    {problem}"));
        }
        if !board.is_log_whole() {
            say(&format!(
                "    positions {} to {} can't be read. To bring them back: chalkboard restore --from BACKUP --data \
                 NEW_FOLDER. To give them up: chalkboard doctor --repair --cut {}@{}",
                board.whole_through + 1,
                board.end,
                board.board,
                board.whole_through
            ));
        } else if !board.damaged_snapshots.is_empty() {
            say("    nothing is lost; chalkboard doctor --repair takes such snapshots out");
        }
    }
    let damaged = report
        .boards
        .iter()
        .filter(|board| !board.problems.is_empty())
        .count();
    match (report.is_whole, damaged) {
        (true, _) => say(&format!("{} boards, all whole", report.boards.len())),
        (false, 0) => say(
            "the boards are whole, the file is not: make a backup (chalkboard backup) and restore it",
        ),
        (false, damaged) => say(&format!(
            "{} boards, {damaged} of them damaged; the others can be used",
            report.boards.len()
        )),
    }
}

/// Does what was asked for, on a folder that nobody uses; what was done, in words.
fn repair(arguments: &DoctorArguments, report: &Report) -> Result<Vec<String>, Failure> {
    if arguments.data.is_file() {
        return Err(Failure::RepairOfFile);
    }
    let snapshots: Vec<(&Examined, u64)> = report
        .boards
        .iter()
        .flat_map(|board| board.damaged_snapshots.iter().map(move |&at| (board, at)))
        .collect();
    if snapshots.is_empty() && arguments.cut.is_empty() {
        return Ok(Vec::new());
    }
    let folder = DataFolder::open(&arguments.data)?;
    let mut done = vec![copy_aside(&folder)?];
    let mut store = Sqlite::open(&folder)?;
    let transaction = store.connection.transaction()?;
    for (board, position) in snapshots {
        let id: BoardId = board.board.parse().unwrap_or(BoardId([0; 16]));
        transaction.execute(
            "DELETE FROM snapshot WHERE board = ?1 AND position = ?2",
            rusqlite::params![id.0, position.cast_signed()],
        )?;
        done.push(format!(
            "took out the snapshot of board {} at position {position}",
            board.board
        ));
    }
    for cut in &arguments.cut {
        let at = cut.position.0.min(i64::MAX as u64).cast_signed();
        let known = transaction.execute(
            "UPDATE board SET epoch = max(epoch, ?2) WHERE id = ?1",
            rusqlite::params![cut.board.0, epoch_of_now()],
        )?;
        if known == 0 {
            return Err(Failure::NoBoard(cut.board));
        }
        let records = transaction.execute(
            "DELETE FROM log WHERE board = ?1 AND last > ?2",
            rusqlite::params![cut.board.0, at],
        )?;
        transaction.execute(
            "DELETE FROM snapshot WHERE board = ?1 AND position > coalesce(
                 (SELECT max(last) FROM log WHERE board = ?1), 0)",
            [cut.board.0],
        )?;
        transaction.execute(
            "DELETE FROM epoch WHERE board = ?1 AND start > ?2",
            rusqlite::params![cut.board.0, at],
        )?;
        done.push(format!(
            "gave up {records} records of board {} behind position {}",
            cut.board, cut.position.0
        ));
    }
    transaction.commit()?;
    Ok(done)
}

/// A load's number that no load before can have had: who held ops that are gone now must not take others for them.
/// Loads are counted from 1, and nobody loads a board every second for fifty years.
pub(super) fn epoch_of_now() -> i64 {
    (clock::unix_ms() / 1000).cast_signed()
}

/// Copies the database, and what belongs to it, under another name.
fn copy_aside(folder: &DataFolder) -> Result<String, Failure> {
    let mark = format!("before-repair-{}", epoch_of_now());
    for suffix in ["", "-wal"] {
        let from = folder.path().join(format!("{DATABASE_FILE}{suffix}"));
        if !from.exists() {
            continue;
        }
        let to = folder
            .path()
            .join(format!("{DATABASE_FILE}.{mark}{suffix}"));
        say_error(&format!("copying {} to {}", from.display(), to.display()));
        std::fs::copy(&from, &to).map_err(Failure::Aside)?;
        let copy = std::fs::File::open(&to).map_err(Failure::Aside)?;
        copy.sync_all().map_err(Failure::Aside)?;
    }
    Ok(format!(
        "the store as it was is kept as {DATABASE_FILE}.{mark}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_names_a_board_and_a_position() {
        let board = BoardId([5; 16]);
        let cut: CutAt = format!("{board}@1200").parse().expect("a cut");
        let position = Position(1200);
        assert_eq!(cut, CutAt { board, position });
        for text in ["", "@", "1200", "short@1", &format!("{board}@x")] {
            assert!(text.parse::<CutAt>().is_err(), "{text}");
        }
    }
}
