//! Real databases, cut off and damaged at many places: what opens is a beginning of what was committed and holds all
//! that was synced; everything else is refused, and left as it is.

use std::fs;
use std::path::Path;

use chalkboard_shared::ink::InkPoint;
use chalkboard_shared::op::InkRun;
use chalkboard_shared::stroke::{Nib, StrokeStyle};
use chalkboard_shared::{ActorId, Op, OpEntry, OpId, Tick};
use chalkboard_simulation::LogRecord;

use super::*;
use crate::loading;
use crate::storage::{Archive, DataFolder};

const A: BoardId = BoardId([1; 16]);
const B: BoardId = BoardId([2; 16]);
const COMMITS: u64 = 60;

fn batch(board: BoardId, position: u64) -> LogBatch {
    let points = (0..30).map(|n| {
        let n = n + position.cast_signed() as i32;
        InkPoint::new(n * n % 977, n * 31 % 1013, n as u8)
    });
    let entry = OpEntry {
        position: Position(position),
        id: OpId {
            actor: ActorId(7),
            counter: position as u32,
        },
        op: Op::Begin {
            style: StrokeStyle {
                nib: Nib::Pen,
                color: position as u32,
                width: 16,
            },
            ink: InkRun::new(points.collect()),
        },
    };
    LogBatch {
        board,
        first: Position(position),
        last: Position(position),
        record: LogRecord::encode_entries(Tick(position), position, &[entry]),
    }
}

/// A store with two boards, as it lies on the disk, and how long its write-ahead log was after each commit.
struct Stored {
    main: Vec<u8>,
    write_ahead: Vec<u8>,
    lengths: Vec<usize>,
}

fn stored() -> Stored {
    let root = tempfile::tempdir().expect("a temporary folder");
    let folder = DataFolder::open(root.path()).expect("the folder opens");
    let mut store = Sqlite::open(&folder).expect("the database opens");
    for id in [A, B] {
        let record = BoardRecord {
            id,
            edit_hash: [3; 32],
            view_hash: [4; 32],
            created_ms: 5,
        };
        store.create_board(&record).expect("it is new");
    }
    let write_ahead = root.path().join(format!("{DATABASE_FILE}-wal"));
    let mut lengths = Vec::new();
    for position in 1..=COMMITS {
        let batches = [batch(A, position), batch(B, position)];
        store.append(&batches).expect("it goes on");
        let bytes = fs::metadata(&write_ahead).expect("it is there").len();
        lengths.push(bytes as usize);
    }
    Stored {
        main: fs::read(store.path()).expect("it can be read"),
        write_ahead: fs::read(&write_ahead).expect("it can be read"),
        lengths,
    }
}

/// The same store with everything in its main file.
fn checkpointed(stored: &Stored) -> Vec<u8> {
    let root = tempfile::tempdir().expect("a temporary folder");
    put(root.path(), &stored.main, &stored.write_ahead);
    let folder = DataFolder::open(root.path()).expect("the folder opens");
    drop(Sqlite::open(&folder).expect("the database opens"));
    fs::read(root.path().join(DATABASE_FILE)).expect("it can be read")
}

fn put(folder: &Path, main: &[u8], write_ahead: &[u8]) {
    fs::write(folder.join(DATABASE_FILE), main).expect("it can be written");
    fs::write(folder.join(format!("{DATABASE_FILE}-wal")), write_ahead).expect("it can be written");
}

/// Opens such a store. How many commits each board then has; `None` where it is refused.
fn opened(main: &[u8], write_ahead: &[u8]) -> Result<[Option<u64>; 2], StorageError> {
    let root = tempfile::tempdir().expect("a temporary folder");
    put(root.path(), main, write_ahead);
    let folder = DataFolder::open(root.path()).map_err(|error| match error {
        crate::storage::DataFolderError::Format(error) => StorageError::Format(error),
        other => panic!("{other}"),
    })?;
    let mut store = match Sqlite::open(&folder) {
        Ok(store) => store,
        Err(error) => {
            let file = |name: &str| fs::read(root.path().join(name)).unwrap_or_default();
            assert!(
                file(DATABASE_FILE) == main,
                "the file is as it was: {error}"
            );
            let log = file(&format!("{DATABASE_FILE}-wal"));
            assert!(log == write_ahead, "the log is as it was: {error}");
            return Err(error);
        }
    };
    let counts = [A, B].map(|board| {
        let (fold, _) = loading::fold(&mut store as &mut dyn Reader, board).ok()?;
        let expected = chalkboard_simulation::Fold::new(
            None,
            (1..=fold.position().0).map(|position| batch(board, position).record),
        )
        .expect("own records");
        assert_eq!(
            fold.digest(),
            expected.digest(),
            "it is a beginning of the board"
        );
        Some(fold.position().0)
    });
    let is_short = counts.iter().flatten().any(|&count| count < COMMITS);
    if is_short && write_ahead.is_empty() {
        drop((store, folder));
        let archive = Archive::of_folder(root.path()).expect("it can be looked at");
        assert!(
            !archive.integrity().is_empty(),
            "{counts:?}: the doctor sees it"
        );
    }
    Ok(counts)
}

/// Commits that a log of this length holds whole.
fn synced(stored: &Stored, length: usize) -> u64 {
    stored.lengths.partition_point(|&end| end <= length) as u64
}

#[test]
fn a_log_cut_off_anywhere_gives_all_that_was_synced_by_then() {
    let stored = stored();
    let first = stored.lengths[0];
    for length in (first..=stored.write_ahead.len()).step_by(5003) {
        let counts = opened(&stored.main, &stored.write_ahead[..length]).expect("it opens");
        let expected = synced(&stored, length);
        assert_eq!(counts, [Some(expected); 2], "cut to {length} bytes");
    }
}

#[test]
fn a_log_whose_end_was_never_written_gives_all_that_was_synced_by_then() {
    let stored = stored();
    for commit in [1, 20, 58] {
        let (from, to) = (stored.lengths[commit - 1], stored.lengths[commit]);
        for hole in (from..to).step_by(2003) {
            // The disk has the end of a commit and not its beginning, and nothing behind it.
            let mut torn = stored.write_ahead[..to].to_vec();
            torn[from..=hole].iter_mut().for_each(|byte| *byte ^= 0xff);
            let counts = opened(&stored.main, &torn).expect("it opens");
            assert_eq!(counts, [Some(commit as u64); 2], "{hole}");
        }
    }
}

#[test]
fn a_log_that_was_damaged_before_its_end_is_refused_with_the_way_on() {
    let stored = stored();
    let before_last = stored.lengths[stored.lengths.len() - 2];
    let mut refused = 0;
    for at in (0..before_last).step_by(6997) {
        let mut damaged = stored.write_ahead.clone();
        damaged[at] ^= 0x20;
        match opened(&stored.main, &damaged) {
            // A frame's number of pages after a commit, for one, counts for nothing.
            Ok(counts) => {
                let whole = [Some(COMMITS); 2];
                assert_eq!(
                    counts, whole,
                    "what was synced is there, or it is refused: {at}"
                );
            }
            Err(error) => {
                refused += 1;
                let message = error.to_string();
                assert!(message.contains("chalkboard restore"), "{at}: {message}");
            }
        }
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn a_damaged_file_gives_a_beginning_of_each_board_or_refuses_it() {
    let stored = stored();
    let main = checkpointed(&stored);
    let (mut whole, mut one_refused) = (0, 0);
    for at in (100..main.len()).step_by(89) {
        let mut damaged = main.clone();
        damaged[at] ^= 0x11;
        match opened(&damaged, &[]) {
            Ok([Some(COMMITS), Some(COMMITS)]) => whole += 1,
            Ok([Some(COMMITS), None] | [None, Some(COMMITS)]) => one_refused += 1,
            Ok(_) | Err(_) => {}
        }
    }
    assert!(whole > 0, "damage of what is not in use does no harm");
    assert!(
        one_refused > 30,
        "the other board can be used: {one_refused}"
    );
}
