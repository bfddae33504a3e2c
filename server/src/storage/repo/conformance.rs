//! What every repository promises, asserted of each.

use std::path::Path;

use bytes::Bytes;
use chalkboard_shared::id::{BoardId, Position};

use super::simulated::{Simulated, SimulatedDisk};
use super::*;
use crate::storage::{Archive, DataFolder};

const A: BoardId = BoardId([1; 16]);
const B: BoardId = BoardId([2; 16]);
const NOBODY: BoardId = BoardId([9; 16]);

fn record(id: BoardId) -> BoardRecord {
    BoardRecord {
        id,
        edit_hash: [3; 32],
        view_hash: [4; 32],
        created_ms: 1_700_000_000_123,
    }
}

fn batch(board: BoardId, first: u64, last: u64) -> LogBatch {
    let record = Bytes::from(format!("{board} {first} to {last}"));
    LogBatch {
        board,
        first: Position(first),
        last: Position(last),
        record,
    }
}

fn snapshot(position: u64) -> Bytes {
    Bytes::from(format!("everything through {position}"))
}

fn open(path: &Path) -> Sqlite {
    let folder = DataFolder::open(path).expect("the folder opens");
    Sqlite::open(&folder).expect("the database opens")
}

/// Runs a check on each kind of repository, with the boards A and B in it.
fn each(check: impl Fn(&mut dyn Repository)) {
    let root = tempfile::tempdir().expect("a temporary folder");
    let disk = SimulatedDisk::new(1);
    let simulated = Simulated::open(&disk).expect("an empty disk");
    let kinds: [Box<dyn Repository>; 3] = [
        Box::new(Memory::new()),
        Box::new(open(root.path())),
        Box::new(simulated),
    ];
    for mut repository in kinds {
        repository.create_board(&record(A)).expect("A is new");
        repository.create_board(&record(B)).expect("B is new");
        check(&mut *repository);
    }
}

/// Expects an error of the given pattern, and that the log of A still ends at the given position.
macro_rules! refused {
    ($repository:expr, $call:ident($($argument:expr),*), $pattern:pat) => {{
        let before = [A, B].map(|board| $repository.load(board).expect("it loads"));
        let refused = $repository.$call($($argument),*).expect_err("it is refused");
        assert!(matches!(refused, $pattern), "{refused:?}");
        assert_eq!([A, B].map(|board| $repository.load(board).expect("it loads")), before, "nothing is stored");
    }};
}

// Behind the macro, which it uses.
mod pieces;

#[test]
fn a_board_is_found_again_and_made_once() {
    each(|repository| {
        assert_eq!(repository.board(A).expect("it answers"), Some(record(A)));
        assert_eq!(repository.board(NOBODY).expect("it answers"), None);
        let other = BoardRecord {
            edit_hash: [0; 32],
            ..record(A)
        };
        refused!(
            repository,
            create_board(&other),
            StorageError::BoardExists { board: A }
        );
        assert_eq!(
            repository.board(A).expect("it answers"),
            Some(record(A)),
            "the first is kept"
        );
        assert_eq!(
            repository.load(A).expect("it loads"),
            StoredBoard::default()
        );
    });
}

#[test]
fn an_unknown_board_is_refused_everywhere() {
    each(|repository| {
        refused!(
            repository,
            load(NOBODY),
            StorageError::UnknownBoard { board: NOBODY }
        );
        refused!(
            repository,
            load_before(NOBODY, Position(5)),
            StorageError::UnknownBoard { .. }
        );
        refused!(
            repository,
            open_epoch(NOBODY),
            StorageError::UnknownBoard { .. }
        );
        refused!(
            repository,
            append(&[batch(A, 1, 1), batch(NOBODY, 1, 1)]),
            StorageError::UnknownBoard { .. }
        );
        refused!(
            repository,
            put_snapshot(NOBODY, Position(0), snapshot(0)),
            StorageError::UnknownBoard { .. }
        );
    });
}

#[test]
fn epochs_count_up_for_each_board_alone() {
    each(|repository| {
        let mut open = |board| repository.open_epoch(board).expect("it opens").epoch;
        assert_eq!([open(A), open(A), open(B), open(A)], [1, 2, 1, 3]);
    });
}

#[test]
fn each_epoch_knows_where_the_newest_ones_began() {
    each(|repository| {
        assert_eq!(starts(repository, A), [(1, 0)]);
        repository.append(&[batch(A, 1, 3)]).expect("it begins");
        assert_eq!(starts(repository, A), [(1, 0), (2, 3)]);
        assert_eq!(starts(repository, B), [(1, 0)]);
        repository.append(&[batch(A, 4, 4)]).expect("it goes on");
        let kept = EPOCHS_KEPT as u64;
        for _ in 0..kept {
            repository.open_epoch(A).expect("it opens");
        }
        let last = starts(repository, A);
        assert_eq!(last.len(), EPOCHS_KEPT);
        assert_eq!(last.first(), Some(&(4, 4)), "the oldest are forgotten");
        assert_eq!(last.last(), Some(&(3 + kept, 4)));
    });
}

fn starts(repository: &mut dyn Repository, board: BoardId) -> Vec<(u64, u64)> {
    let opened = repository.open_epoch(board).expect("it opens");
    let newest = opened.starts.last().map(|start| start.epoch);
    assert_eq!(newest, Some(opened.epoch));
    let pair = |start: &EpochStart| (start.epoch, start.start.0);
    opened.starts.iter().map(pair).collect()
}

#[test]
fn a_part_of_the_log_is_read_from_the_batch_that_holds_the_next_position() {
    each(|repository| {
        let all = [batch(A, 1, 3), batch(A, 4, 4), batch(A, 5, 9)];
        repository.append(&all).expect("it begins");
        repository.append(&[batch(B, 1, 1)]).expect("it begins");
        let mut log = |after, bytes_max| {
            repository
                .log(A, Position(after), bytes_max)
                .expect("it reads")
        };
        for (after, from) in [
            (0, 0),
            (1, 0),
            (2, 0),
            (3, 1),
            (4, 2),
            (8, 2),
            (9, 3),
            (u64::MAX, 3),
        ] {
            assert_eq!(log(after, usize::MAX), all[from..], "after {after}");
        }
        let one = all[0].record.len();
        assert_eq!(log(0, 0), all[..1], "at least one");
        assert_eq!(log(0, one + all[1].record.len()), all[..2]);
        assert_eq!(log(0, one + all[1].record.len() - 1), all[..1]);
        assert_eq!(log(3, 0), all[1..2]);
    });
}

#[test]
fn a_board_is_loaded_as_it_was_at_any_position() {
    each(|repository| {
        let all = [
            batch(A, 1, 3),
            batch(A, 4, 4),
            batch(A, 5, 9),
            batch(A, 10, 10),
        ];
        repository.append(&all).expect("it begins");
        for position in [3, 9] {
            repository
                .put_snapshot(A, Position(position), snapshot(position))
                .expect("it is placed");
        }
        let mut at = |position| {
            let stored = repository.load_at(A, Position(position)).expect("it loads");
            let from = stored.snapshot.map(|(position, bytes)| {
                assert_eq!(bytes, snapshot(position.0));
                position.0
            });
            (from, stored.tail)
        };
        assert_eq!(at(0), (None, vec![]));
        assert_eq!(
            at(1),
            (None, all[..1].to_vec()),
            "with the rest of its tick"
        );
        assert_eq!(at(3), (Some(3), vec![]));
        assert_eq!(at(4), (Some(3), all[1..2].to_vec()));
        assert_eq!(at(5), (Some(3), all[1..3].to_vec()));
        assert_eq!(at(9), (Some(9), vec![]));
        assert_eq!(at(u64::MAX), (Some(9), all[3..].to_vec()));
    });
}

#[test]
fn authors_are_known_by_their_last_name() {
    let author = |actor, name: &str, seen_ms| Author {
        actor: ActorId(actor),
        name: name.to_owned(),
        color: 0xff_ffff,
        seen_ms,
    };
    each(|repository| {
        assert_eq!(repository.authors(A).expect("it answers"), []);
        let (ada, ben) = (author(u64::MAX, "Ada", 7), author(2, "", 8));
        repository
            .put_authors(A, &[ada, ben.clone()])
            .expect("it stores");
        let renamed = author(u64::MAX, "Ada L.", 9);
        repository
            .put_authors(A, std::slice::from_ref(&renamed))
            .expect("it stores");
        let mut known = repository.authors(A).expect("it answers");
        known.sort_by_key(|author| author.actor);
        assert_eq!(known, [ben, renamed]);
        assert_eq!(repository.authors(B).expect("it answers"), []);
        refused!(
            repository,
            put_authors(NOBODY, &[]),
            StorageError::UnknownBoard { board: NOBODY }
        );
    });
}

#[test]
fn authors_who_were_not_seen_for_longest_are_forgotten() {
    each(|repository| {
        let many: Vec<Author> = (0..AUTHORS_KEPT as u64 + 2)
            .map(|number| Author {
                actor: ActorId(number),
                name: String::new(),
                color: 0,
                seen_ms: if number == 0 { 100 } else { number.min(50) },
            })
            .collect();
        repository.put_authors(A, &many).expect("it stores");
        let known = repository.authors(A).expect("it answers");
        let has = |actor| known.iter().any(|author| author.actor == ActorId(actor));
        assert_eq!(known.len(), AUTHORS_KEPT);
        assert_eq!([0, 1, 2, 3].map(has), [true, false, false, true]);
    });
}

#[test]
fn a_log_comes_back_in_order() {
    each(|repository| {
        let (first, second) = (
            [batch(A, 1, 3), batch(B, 1, 1), batch(A, 4, 4)],
            [batch(A, 5, 9), batch(B, 2, 2)],
        );
        repository.append(&first).expect("it continues both");
        repository.append(&second).expect("it continues both");
        repository.append(&[]).expect("nothing is fine");
        let a = repository.load(A).expect("it loads");
        assert_eq!(
            a,
            StoredBoard {
                snapshot: None,
                tail: vec![batch(A, 1, 3), batch(A, 4, 4), batch(A, 5, 9)]
            }
        );
        assert_eq!(a.end(), Position(9));
        assert_eq!(
            repository.load(B).expect("it loads").tail,
            [batch(B, 1, 1), batch(B, 2, 2)]
        );
    });
}

#[test]
fn a_gap_an_overlap_and_an_empty_range_are_refused_whole() {
    each(|repository| {
        repository.append(&[batch(A, 1, 3)]).expect("it begins");
        for (first, last) in [(5, 5), (3, 4), (1, 3), (0, 4), (4, 3), (4, u64::MAX)] {
            let good_and_bad = [batch(B, 1, 1), batch(A, first, last)];
            refused!(
                repository,
                append(&good_and_bad),
                StorageError::OutOfOrder {
                    index: 1,
                    board: A,
                    expected: Position(4),
                    ..
                }
            );
        }
        refused!(
            repository,
            append(&[batch(A, 4, 4), batch(A, 6, 6)]),
            StorageError::OutOfOrder {
                index: 1,
                expected: Position(5),
                ..
            }
        );
        repository
            .append(&[batch(A, 4, 4)])
            .expect("the log still continues where it did");
    });
}

#[test]
fn the_newest_snapshot_is_loaded_with_the_log_after_it() {
    each(|repository| {
        repository
            .append(&[batch(A, 1, 3), batch(A, 4, 4), batch(A, 5, 6)])
            .expect("it begins");
        repository
            .put_snapshot(A, Position(0), snapshot(0))
            .expect("of the empty board");
        assert_eq!(repository.load(A).expect("it loads").tail.len(), 3);
        repository
            .put_snapshot(A, Position(3), snapshot(3))
            .expect("after the first");
        repository
            .put_snapshot(A, Position(4), snapshot(4))
            .expect("after the second");
        let newest = StoredBoard {
            snapshot: Some((Position(4), snapshot(4))),
            tail: vec![batch(A, 5, 6)],
        };
        assert_eq!(repository.load(A).expect("it loads"), newest);
        repository
            .put_snapshot(A, Position(6), snapshot(6))
            .expect("at the end");
        let at_end = repository.load(A).expect("it loads");
        assert_eq!((at_end.end(), at_end.tail.len()), (Position(6), 0));
        repository
            .append(&[batch(A, 7, 7)])
            .expect("the log goes on");
    });
}

#[test]
fn an_older_snapshot_and_at_last_the_whole_log_remain_to_fall_back_to() {
    each(|repository| {
        repository
            .append(&[
                batch(A, 1, 1),
                batch(A, 2, 2),
                batch(A, 3, 3),
                batch(A, 4, 4),
            ])
            .expect("it begins");
        for position in [1, 2, 3] {
            repository
                .put_snapshot(A, Position(position), snapshot(position))
                .expect("it is placed");
        }
        let mut before = |position| {
            let stored = repository
                .load_before(A, Position(position))
                .expect("it loads");
            (
                stored.snapshot.map(|(position, _)| position.0),
                stored.tail.first().map(|batch| batch.first.0),
            )
        };
        assert_eq!(before(u64::MAX), (Some(3), Some(4)));
        assert_eq!(before(3), (Some(2), Some(3)), "the second newest is kept");
        assert_eq!(
            before(2),
            (None, Some(1)),
            "an older one is not, but the whole log is"
        );
        assert_eq!(before(0), (None, Some(1)));
    });
}

#[test]
fn of_a_long_log_some_older_snapshots_stay() {
    each(|repository| {
        let step = 10_000;
        for number in 0..10 {
            let (first, last) = (number * step + 1, (number + 1) * step);
            repository
                .append(&[batch(A, first, last)])
                .expect("it goes on");
            repository
                .put_snapshot(A, Position(last), snapshot(last))
                .expect("it is placed");
        }
        let mut from = |position| {
            let stored = repository.load_at(A, Position(position)).expect("it loads");
            stored.snapshot.map_or(0, |(position, _)| position.0)
        };
        let froms = [100_000, 99_999, 89_999, 59_999, 29_999].map(&mut from);
        assert_eq!(froms, [100_000, 90_000, 60_000, 30_000, 0]);
    });
}

#[test]
fn a_snapshot_is_replaced_by_one_of_the_same_position() {
    each(|repository| {
        repository
            .append(&[batch(A, 1, 1), batch(A, 2, 2)])
            .expect("it begins");
        repository
            .put_snapshot(A, Position(1), snapshot(1))
            .expect("it is placed");
        repository
            .put_snapshot(A, Position(2), Bytes::from_static(b"damaged"))
            .expect("it is placed");
        repository
            .put_snapshot(A, Position(2), snapshot(2))
            .expect("it is replaced");
        assert_eq!(
            repository.load(A).expect("it loads").snapshot,
            Some((Position(2), snapshot(2)))
        );
        let older = repository.load_before(A, Position(2)).expect("it loads");
        assert_eq!(
            older.snapshot,
            Some((Position(1), snapshot(1))),
            "replacing pushes nothing out"
        );
    });
}

#[test]
fn a_snapshot_that_the_log_could_not_continue_is_refused() {
    each(|repository| {
        repository
            .append(&[batch(A, 1, 3), batch(A, 4, 4)])
            .expect("it begins");
        for position in [1, 2, 5, u64::MAX] {
            refused!(
                repository,
                put_snapshot(A, Position(position), snapshot(position)),
                StorageError::SnapshotMisplaced { board: A, .. }
            );
        }
    });
}

#[test]
fn a_reader_sees_what_was_committed_before_it_asked() {
    each(|repository| {
        let mut reader = repository.reader().expect("it opens");
        for position in 1..=3 {
            repository
                .append(&[batch(A, position, position)])
                .expect("it continues");
            assert_eq!(reader.load(A).expect("it loads").end(), Position(position));
        }
        assert_eq!(reader.board(B).expect("it answers"), Some(record(B)));
    });
}

#[test]
fn everything_is_there_after_closing_and_opening_again() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut first = open(root.path());
    first.create_board(&record(A)).expect("A is new");
    first
        .append(&[batch(A, 1, 2), batch(A, 3, 3)])
        .expect("it begins");
    first
        .put_snapshot(A, Position(2), snapshot(2))
        .expect("it is placed");
    assert_eq!(first.open_epoch(A).expect("it opens").epoch, 1);
    let stored = first.load(A).expect("it loads");
    drop(first);
    assert!(
        !root.path().join(format!("{DATABASE_FILE}-wal")).exists(),
        "one file holds everything"
    );

    let mut second = open(root.path());
    assert_eq!(second.load(A).expect("it loads"), stored);
    assert_eq!(second.board(A).expect("it answers"), Some(record(A)));
    assert_eq!(second.open_epoch(A).expect("it opens").epoch, 2);
}

#[test]
fn a_log_that_lost_a_part_is_not_passed_off_as_whole() {
    let root = tempfile::tempdir().expect("a temporary folder");
    for (lost, found) in [("first = 2", 3), ("first = 1", 2)] {
        let path = root.path().join(lost);
        let mut store = open(&path);
        store.create_board(&record(A)).expect("A is new");
        store
            .append(&[batch(A, 1, 1), batch(A, 2, 2), batch(A, 3, 3)])
            .expect("it begins");
        let damage = rusqlite::Connection::open(store.path()).expect("it opens");
        damage
            .execute_batch(&format!("DELETE FROM log WHERE {lost}"))
            .expect("it is deleted");
        let refused = store.load(A).expect_err("a gap");
        let StorageError::BrokenLog {
            expected,
            found: next,
            ..
        } = refused
        else {
            panic!("{refused:?}")
        };
        assert_eq!((expected.0, next.0), (found - 1, found));
    }
}

#[test]
fn a_snapshot_whose_log_is_gone_is_not_passed_off_as_whole() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut store = open(root.path());
    store.create_board(&record(A)).expect("A is new");
    store
        .append(&[batch(A, 1, 1), batch(A, 2, 2)])
        .expect("it begins");
    store
        .put_snapshot(A, Position(2), snapshot(2))
        .expect("it is placed");
    let damage = rusqlite::Connection::open(store.path()).expect("it opens");
    damage
        .execute_batch("DELETE FROM log WHERE first = 2")
        .expect("it is deleted");
    assert!(matches!(
        store.load(A),
        Err(StorageError::BrokenLog {
            expected: Position(2),
            ..
        })
    ));
}

#[test]
fn a_full_disk_refuses_whole_and_goes_on_when_there_is_space() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut store = open(root.path());
    store.create_board(&record(A)).expect("A is new");
    store.append(&[batch(A, 1, 1)]).expect("it begins");
    let pages = store.pages().expect("it answers");
    store.limit_pages(pages).expect("it is set");

    let large = LogBatch {
        record: Bytes::from(vec![7; 100_000]),
        ..batch(A, 3, 3)
    };
    let both = [batch(A, 2, 2), large];
    refused_full(&mut store, &both);
    store.limit_pages(pages + 100).expect("it is set");
    store.append(&both).expect("there is space");
    assert_eq!(
        store.load(A).expect("it loads").tail,
        [&[batch(A, 1, 1)], &both[..]].concat()
    );
}

fn refused_full(store: &mut Sqlite, batches: &[LogBatch]) {
    let refused = store.append(batches).expect_err("no space");
    assert!(matches!(refused, StorageError::Full(_)), "{refused:?}");
    assert_eq!(
        store.load(A).expect("it loads").tail,
        [batch(A, 1, 1)],
        "nothing is stored"
    );
}

#[test]
fn commits_are_synced_and_the_file_is_marked() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let store = open(root.path());
    let connection = rusqlite::Connection::open(store.path()).expect("it opens");
    let pragma = |name: &str| -> String {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
            .map(|value| format!("{value:?}"))
            .expect("it answers")
    };
    assert_eq!(pragma("journal_mode"), r#"Text("wal")"#);
    assert_eq!(
        pragma("application_id"),
        format!("Integer({})", 0x4368_4264)
    );
    assert_eq!(pragma("user_version"), "Integer(3)");
    assert_eq!(store.setting("synchronous"), 2, "FULL");
    assert_eq!(store.setting("foreign_keys"), 1);
}

/// A file that format version 1 has written, and that every later version must be able to read.
const VERSION_1: &[u8] = include_bytes!("golden/version-1.sqlite3");
/// The same board in format version 2, with what that adds.
const VERSION_2: &[u8] = include_bytes!("golden/version-2.sqlite3");
/// The same board in format version 3, its snapshot in three pieces, and one of a snapshot that was cut off.
const VERSION_3: &[u8] = include_bytes!("golden/version-3.sqlite3");

#[test]
fn a_file_of_every_version_ever_written_opens() {
    for golden in [VERSION_1, VERSION_2, VERSION_3] {
        let root = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(root.path().join(DATABASE_FILE), golden).expect("it can be written");
        check_golden(&mut open(root.path()));
    }
}

#[test]
fn epochs_and_authors_are_read_since_version_2() {
    for golden in [VERSION_2, VERSION_3] {
        let root = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(root.path().join(DATABASE_FILE), golden).expect("it can be written");
        let mut store = open(root.path());
        assert_eq!(store.authors(A).expect("it answers"), [ada()]);
        assert_eq!(starts(&mut store, A), [(1, 0), (2, 3), (3, 4)]);
    }
}

#[test]
fn files_of_every_version_are_read_as_they_are() {
    for golden in [VERSION_1, VERSION_2, VERSION_3] {
        let root = tempfile::tempdir().expect("a temporary folder");
        let path = root.path().join(DATABASE_FILE);
        std::fs::write(&path, golden).expect("it can be written");
        let mut archive = Archive::of_file(&path).expect("it opens");
        assert_eq!(archive.integrity(), Vec::<String>::new());
        let read = archive.snapshot(A, Position(3)).expect("it answers");
        assert_eq!(read, Some(snapshot(3)));
        let stored = archive.reader().load(A).expect("it loads");
        assert_eq!(stored.snapshot, Some((Position(3), snapshot(3))));
        drop(archive);
        assert!(std::fs::read(&path).expect("it can be read") == golden);
    }
}

fn ada() -> Author {
    Author {
        actor: ActorId(0xfedc_ba98_7654_3210),
        name: "Ada".to_owned(),
        color: 0x12_3456,
        seen_ms: 1_700_000_000_456,
    }
}

fn check_golden(store: &mut Sqlite) {
    assert_eq!(store.board(A).expect("it answers"), Some(record(A)));
    let expected = StoredBoard {
        snapshot: Some((Position(3), snapshot(3))),
        tail: vec![batch(A, 4, 4)],
    };
    assert_eq!(store.load(A).expect("it loads"), expected);
    let older = store.load_before(A, Position(3)).expect("it loads");
    assert_eq!(older.tail, [batch(A, 1, 3), batch(A, 4, 4)]);
    assert_eq!(store.open_epoch(A).expect("it opens").epoch, 3);
    store.append(&[batch(A, 5, 5)]).expect("the log goes on");
}
