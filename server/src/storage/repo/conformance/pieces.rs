//! Snapshots in pieces: what counts when, and that nothing is left of what was given up, cut off or pushed out.

use super::*;

/// A snapshot of so many pieces.
fn in_pieces(position: u64, pieces: usize) -> SnapshotWrite {
    let bytes = snapshot(position);
    let piece_bytes = bytes.len().div_ceil(pieces);
    SnapshotWrite::in_pieces_of(piece_bytes, A, Position(position), bytes)
}

/// Writes so many pieces of it, none of them the last.
fn begin(repository: &mut dyn Repository, write: &mut SnapshotWrite, pieces: usize) {
    for _ in 0..pieces {
        let is_whole = repository.put_piece(write).expect("it is placed");
        assert!(!is_whole, "more pieces follow");
    }
}

#[test]
fn a_snapshot_counts_with_its_last_piece() {
    each(|repository| {
        repository
            .append(&[batch(A, 1, 1), batch(A, 2, 2), batch(A, 3, 3)])
            .expect("it begins");
        repository
            .put_snapshot(A, Position(1), snapshot(1))
            .expect("it is placed");
        let mut reader = repository.reader().expect("it opens");
        let mut loaded = || {
            let stored = reader.load(A).expect("it loads");
            (stored.snapshot, stored.tail.len())
        };
        for position in [2, 3] {
            let before = loaded();
            let mut write = in_pieces(position, 4);
            begin(repository, &mut write, 3);
            assert_eq!(loaded(), before);
            // The log goes on in between.
            repository
                .append(&[batch(B, position - 1, position - 1)])
                .expect("it goes on");
            assert!(repository.put_piece(&mut write).expect("it is placed"));
            let tail = 3 - position as usize;
            assert_eq!(
                loaded(),
                (Some((Position(position), snapshot(position))), tail)
            );
        }
        let at = repository.load_at(A, Position(2)).expect("it loads");
        assert_eq!(at.snapshot, Some((Position(2), snapshot(2))));
    });
}

#[test]
fn a_snapshot_that_was_given_up_is_begun_anew_or_replaced() {
    each(|repository| {
        repository.append(&[batch(A, 1, 1)]).expect("it begins");
        let mut other = SnapshotWrite::in_pieces_of(3, A, Position(1), vec![7; 30].into());
        begin(repository, &mut other, 5);
        let whole = Some((Position(1), snapshot(1)));
        let mut write = in_pieces(1, 3);
        begin(repository, &mut write, 2);
        assert!(repository.put_piece(&mut write).expect("it is placed"));
        assert_eq!(repository.load(A).expect("it loads").snapshot, whole);

        // In the place of a whole one.
        let mut other = SnapshotWrite::in_pieces_of(3, A, Position(1), vec![7; 30].into());
        begin(repository, &mut other, 5);
        let stored = repository.load(A).expect("it loads");
        assert_eq!((stored.snapshot, stored.tail.len()), (None, 1));
        repository
            .put_snapshot(A, Position(1), snapshot(1))
            .expect("it is placed");
        assert_eq!(repository.load(A).expect("it loads").snapshot, whole);
    });
}

#[test]
fn pieces_are_refused_where_a_snapshot_is() {
    each(|repository| {
        repository.append(&[batch(A, 1, 3)]).expect("it begins");
        refused!(
            repository,
            put_piece(&mut in_pieces(2, 4)),
            StorageError::SnapshotMisplaced { board: A, .. }
        );
        let mut of_nobody = SnapshotWrite::in_pieces_of(1, NOBODY, Position(0), snapshot(0));
        refused!(
            repository,
            put_piece(&mut of_nobody),
            StorageError::UnknownBoard { board: NOBODY }
        );
    });
}

/// Pieces that lie in a file.
fn pieces_in(path: &Path) -> i64 {
    let look = rusqlite::Connection::open(path).expect("it opens");
    look.query_row("SELECT count(*) FROM piece", [], |row| row.get(0))
        .expect("it answers")
}

#[test]
fn pieces_that_a_crash_has_left_are_gone_with_the_next_start() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let disk = SimulatedDisk::new(1);
    let begun = |repository: &mut dyn Repository| {
        repository.create_board(&record(A)).expect("A is new");
        repository
            .append(&[batch(A, 1, 1), batch(A, 2, 2)])
            .expect("it begins");
        for position in [1, 2] {
            // The older one whole, the newer one begun.
            let mut write = in_pieces(position, 5);
            begin(repository, &mut write, 4);
            if position == 1 {
                assert!(repository.put_piece(&mut write).expect("it is placed"));
            }
        }
    };
    let check = |repository: &mut dyn Repository| {
        let stored = repository.load(A).expect("it loads");
        assert_eq!(stored.snapshot, Some((Position(1), snapshot(1))));
        assert_eq!(stored.tail, [batch(A, 2, 2)]);
        let mut again = in_pieces(2, 2);
        begin(repository, &mut again, 1);
        assert!(repository.put_piece(&mut again).expect("it is placed"));
        let stored = repository.load(A).expect("it loads");
        assert_eq!(stored.snapshot, Some((Position(2), snapshot(2))));
    };
    let mut store = open(root.path());
    begun(&mut store);
    let path = store.path().to_owned();
    assert_eq!(pieces_in(&path), 4 + 4);
    drop(store);
    let mut store = open(root.path());
    assert_eq!(pieces_in(&path), 4);
    check(&mut store);

    begun(&mut Simulated::open(&disk).expect("an empty disk"));
    disk.crash();
    check(&mut Simulated::open(&disk).expect("what was written"));
}

#[test]
fn pieces_go_with_their_snapshot_and_archives_read_them() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut store = open(root.path());
    store.create_board(&record(A)).expect("A is new");
    for position in 1..=4 {
        store
            .append(&[batch(A, position, position)])
            .expect("it goes on");
        let mut write = in_pieces(position, 5);
        begin(&mut store, &mut write, 4);
        assert!(store.put_piece(&mut write).expect("it is placed"));
    }
    assert_eq!(pieces_in(store.path()), 2 * 4, "of the two that are kept");
    let archive = Archive::of_folder(root.path()).expect("it opens");
    assert_eq!(archive.integrity(), Vec::<String>::new());
    assert_eq!(
        archive.snapshots(A).expect("it answers"),
        [Position(3), Position(4)]
    );
    let read = archive.snapshot(A, Position(4)).expect("it answers");
    assert_eq!(read, Some(snapshot(4)));
}

#[test]
fn a_snapshot_that_finds_no_space_leaves_nothing_behind() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut store = open(root.path());
    store.create_board(&record(A)).expect("A is new");
    store.append(&[batch(A, 1, 1)]).expect("it begins");
    let pages = store.pages().expect("it answers");
    store.limit_pages(pages + 30).expect("it is set");
    let large = vec![7; 1_000_000].into();
    let mut write = SnapshotWrite::in_pieces_of(20_000, A, Position(1), large);
    begin(&mut store, &mut write, 3);
    let refused = loop {
        match store.put_piece(&mut write) {
            Ok(is_whole) => assert!(!is_whole, "there is no space for all of it"),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, StorageError::Full(_)), "{refused:?}");
    assert_eq!(pieces_in(store.path()), 0);
    store.append(&[batch(A, 2, 2)]).expect("there is space");
    assert_eq!(store.load(A).expect("it loads").snapshot, None);
}
