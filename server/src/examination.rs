//! Examination: is everything that is stored of a board there, in order, and the same whichever way it is read?
//!
//! Every record's checksum and place, every snapshot, and that a snapshot is the board that the log gives at its
//! position, in one pass over the log. Looks only; what is to be done about a finding is for the commands.

use chalkboard_shared::{BoardId, Position};
use chalkboard_simulation::{Fold, LogRecord};
use serde::Serialize;

use crate::storage::{Archive, StorageError};

/// Bytes of records that are read at a time.
const PIECE_BYTES: usize = 4 << 20;

/// What was found of one board.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Examined {
    pub(crate) board: String,
    /// The last op, as the log says.
    pub(crate) end: u64,
    /// Everything through here is whole.
    pub(crate) whole_through: u64,
    pub(crate) records: u64,
    pub(crate) record_bytes: u64,
    /// When the last whole record was made, milliseconds since 1970 UTC.
    pub(crate) last_ms: u64,
    /// The board there.
    pub(crate) strokes: usize,
    pub(crate) digest: String,
    /// Positions of snapshots that are good.
    pub(crate) snapshots: Vec<u64>,
    /// Positions of those that are not.
    pub(crate) damaged_snapshots: Vec<u64>,
    /// What is wrong, in words; nothing where all is well.
    pub(crate) problems: Vec<String>,
}

impl Examined {
    /// The log is whole; a damaged snapshot costs time only.
    pub(crate) const fn is_log_whole(&self) -> bool {
        self.end == self.whole_through
    }
}

/// Where a look at a board's history ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// At the end of the log.
    End,
    /// Behind the last whole record that ends at or before this position.
    Position(Position),
    /// Behind the last record that is not of a later tick.
    Tick(u64),
    /// Behind the last record that is not of a later time, milliseconds since 1970 UTC.
    Time(u64),
}

/// Examines a board.
pub(crate) fn examine(
    archive: &mut Archive,
    board: BoardId,
    until: Until,
) -> Result<Examined, StorageError> {
    let mut found = Examined {
        board: board.to_string(),
        end: archive.end(board)?.0,
        ..Examined::default()
    };
    let last = match until {
        Until::Time(time) => last_not_later(archive, board, time)?,
        Until::Position(position) => position,
        Until::End | Until::Tick(_) => Position(u64::MAX),
    };
    let mut snapshots = archive.snapshots(board)?.into_iter().peekable();
    let mut fold = Fold::default();
    while snapshots.next_if_eq(&Position(0)).is_some() {
        compare(archive, board, &fold, &mut found)?;
    }
    'log: loop {
        let batches = match archive.reader().log(board, fold.position(), PIECE_BYTES) {
            Ok(batches) => batches,
            Err(error @ StorageError::BrokenLog { .. }) => {
                found.problems.push(format!(
                    "the log is whole through position {} only: {error}",
                    fold.position().0
                ));
                break;
            }
            Err(error @ StorageError::Damaged(_)) => {
                found.problems.push(format!(
                    "the log can be read through position {} only: {error}",
                    fold.position().0
                ));
                break;
            }
            Err(error) => return Err(error),
        };
        if batches.is_empty() {
            break;
        }
        for batch in batches {
            let head = LogRecord::decode(&batch.record);
            let is_beyond = match (&head, until) {
                (Ok(head), Until::Tick(tick)) => head.tick.0 > tick,
                _ => batch.last > last,
            };
            if is_beyond {
                found.end = fold.position().0;
                break 'log;
            }
            let followed = fold.follow(&batch.record);
            if let Err(error) = followed {
                found.problems.push(format!(
                    "the log is whole through position {} only: {error}",
                    batch.first.0 - 1
                ));
                break 'log;
            }
            if fold.position() != batch.last {
                found.problems.push(format!(
                    "the record of positions {} to {} holds ops through {} only",
                    batch.first.0,
                    batch.last.0,
                    fold.position().0
                ));
                break 'log;
            }
            found.records += 1;
            found.record_bytes += batch.record.len() as u64;
            found.whole_through = batch.last.0;
            found.last_ms = head.map_or(found.last_ms, |head| head.unix_ms);
            while snapshots.next_if_eq(&batch.last).is_some() {
                compare(archive, board, &fold, &mut found)?;
            }
        }
    }
    if until == Until::End && found.is_log_whole() {
        for position in snapshots {
            found.problems.push(format!(
                "there is a snapshot at position {}, where no record ends",
                position.0
            ));
            found.damaged_snapshots.push(position.0);
        }
    }
    found.strokes = fold.strokes().count();
    found.digest = fold.digest().to_string();
    Ok(found)
}

/// A snapshot against the board that the log gives.
fn compare(
    archive: &Archive,
    board: BoardId,
    fold: &Fold,
    found: &mut Examined,
) -> Result<(), StorageError> {
    let position = fold.position();
    let Some(bytes) = archive.snapshot(board, position)? else {
        return Ok(());
    };
    let problem = match Fold::new(Some((position, bytes)), []) {
        Ok(read) if read.digest() == fold.digest() => None,
        Ok(read) => Some(format!(
            "it is a board of digest {}, and the log gives {}",
            read.digest(),
            fold.digest()
        )),
        Err(error) => Some(error.to_string()),
    };
    match problem {
        None => found.snapshots.push(position.0),
        Some(problem) => {
            found.damaged_snapshots.push(position.0);
            found.problems.push(format!(
                "the snapshot at position {} can't be used ({problem}); the log makes up for it",
                position.0
            ));
        }
    }
    Ok(())
}

/// The last position of the last record that is not of a later time. Clocks jump, so the whole log is looked at.
fn last_not_later(
    archive: &mut Archive,
    board: BoardId,
    time: u64,
) -> Result<Position, StorageError> {
    let (mut at, mut last) = (Position(0), Position(0));
    loop {
        let batches = match archive.reader().log(board, at, PIECE_BYTES) {
            Ok(batches) if !batches.is_empty() => batches,
            // The examination says what is wrong.
            Ok(_) | Err(StorageError::BrokenLog { .. } | StorageError::Damaged(_)) => {
                return Ok(last);
            }
            Err(error) => return Err(error),
        };
        for batch in batches {
            at = batch.last;
            if LogRecord::decode(&batch.record).is_ok_and(|record| record.unix_ms <= time) {
                last = batch.last;
            }
        }
    }
}
