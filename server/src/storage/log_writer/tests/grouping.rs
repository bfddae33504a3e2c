//! All is well: what is durable when, what becomes one commit, and in which order requests are served.

use chalkboard_shared::id::{ActorId, EpochStart};

use super::*;

#[test]
fn a_batch_is_durable_only_when_its_commit_has_returned() {
    let bench = Bench::new(limits(), Verdict::Commit);
    bench.append(A, 1);
    assert_eq!(bench.entered(), [(A, 1)]);
    assert!(bench.durable.is_empty(), "it is being committed, no more");
    assert_eq!(
        bench.handle.load(A).expect("it loads").end(),
        Position(0),
        "a load waits for no commit"
    );

    bench.give(Verdict::Commit);
    assert_eq!(bench.durable.recv(), Ok((A, Position(1))));
    assert_eq!(bench.handle.load(A).expect("it loads").end(), Position(1));
}

#[test]
fn what_waits_during_a_commit_becomes_one_commit() {
    let bench = Bench::new(limits(), Verdict::Commit);
    bench.append(A, 1);
    assert_eq!(bench.entered(), [(A, 1)]);
    for position in 1..=50 {
        bench.append(A, position + 1);
        bench.append(B, position);
    }
    assert_eq!(bench.handle.counts().queued, 101);
    bench.give(Verdict::Commit);
    assert_eq!(bench.entered().len(), 100);
    bench.give(Verdict::Commit);
    bench.handle.flush().expect("all is well");

    let told: Vec<_> = bench.durable.try_iter().collect();
    assert_eq!(
        told,
        [(A, Position(1)), (A, Position(51)), (B, Position(50))],
        "once for each board and commit"
    );
    let counts = bench.handle.counts();
    assert_eq!(
        (counts.commits, counts.batches, counts.bytes),
        (2, 101, 1_010)
    );
    assert_eq!(
        (counts.queued, counts.queued_bytes, counts.failures),
        (0, 0, 0)
    );
}

#[test]
fn a_group_has_bounds() {
    let by_count = LogLimits {
        group_batches: 3,
        ..limits()
    };
    let by_bytes = LogLimits {
        group_bytes: 25,
        ..limits()
    };
    for limits in [by_count, by_bytes] {
        let bench = Bench::new(limits, Verdict::Commit);
        bench.append(A, 1);
        assert_eq!(bench.entered().len(), 1);
        for position in 2..=8 {
            bench.append(A, position);
        }
        for _ in 0..4 {
            bench.give(Verdict::Commit);
        }
        let groups = [bench.entered(), bench.entered(), bench.entered()];
        assert_eq!(groups.map(|group| group.len()), [3, 3, 1]);
        bench.writer.stop().expect("all is saved");
    }
}

#[test]
fn a_snapshot_is_stored_behind_its_batches_and_a_bad_one_does_no_harm() {
    let mut bench = Bench::new(limits(), Verdict::Commit);
    bench.append(A, 1);
    bench.append(A, 2);
    let snapshot = Bytes::from_static(b"everything through 2");
    bench
        .handle
        .snapshot(A, Position(2), snapshot.clone())
        .expect("there is room");
    bench
        .handle
        .snapshot(A, Position(9), snapshot.clone())
        .expect("there is room");
    bench.append(A, 3);
    bench.let_go();
    bench.handle.flush().expect("all is well");

    let stored = bench.handle.load(A).expect("it loads");
    assert_eq!(
        stored,
        StoredBoard {
            snapshot: Some((Position(2), snapshot)),
            tail: vec![batch(A, 3)]
        }
    );
    assert_eq!(
        bench
            .handle
            .load_before(A, Position(2))
            .expect("it loads")
            .tail
            .len(),
        3
    );
    let counts = bench.handle.counts();
    assert_eq!(
        (counts.snapshots, counts.snapshot_failures, counts.queued),
        (1, 1, 0)
    );
}

#[test]
fn an_epoch_opens_behind_all_that_was_queued_before() {
    let mut bench = Bench::new(limits(), Verdict::Commit);
    bench.append(A, 1);
    assert_eq!(bench.entered(), [(A, 1)]);
    bench.append(A, 2);
    let handle = bench.handle.clone();
    let opening = thread::spawn(move || (handle.open_epoch(A), handle.load(A)));
    while bench.handle.waiting() < 2 {
        thread::yield_now();
    }
    bench.let_go();
    let (epoch, stored) = opening.join().expect("it ends");
    let opened = epoch.expect("it opens");
    let start = Position(2);
    assert_eq!(opened.starts, [EpochStart { epoch: 1, start }]);
    assert_eq!(stored.expect("it loads").end(), Position(2));
}

#[test]
fn authors_are_stored_without_dividing_the_group_around_them() {
    let mut bench = Bench::new(limits(), Verdict::Commit);
    bench.append(A, 1);
    assert_eq!(bench.entered(), [(A, 1)]);
    bench.append(A, 2);
    for name in ["Ada", "Ada L."] {
        let ada = Author {
            actor: ActorId(5),
            name: name.to_owned(),
            color: 1,
            seen_ms: 2,
        };
        bench.handle.authors(A, vec![ada]).expect("there is room");
        bench
            .handle
            .authors(BoardId([8; 16]), vec![])
            .expect("there is room");
    }
    bench.append(A, 3);
    bench.let_go();
    assert_eq!(bench.entered(), [(A, 2), (A, 3)]);
    bench.handle.flush().expect("it answers");
    let known = bench.handle.authors_of(A).expect("it answers");
    assert_eq!(known.len(), 1);
    assert_eq!(known[0].name, "Ada L.", "the last word counts");
    assert_eq!(bench.handle.counts().queued, 0);
    assert_eq!(bench.handle.counts().queued_bytes, 0);
}

#[test]
fn boards_are_made_and_found_through_the_handle() {
    let bench = Bench::new(limits(), Verdict::Commit);
    let new = record(BoardId([7; 16]));
    assert_eq!(bench.handle.board(new.id).expect("it answers"), None);
    bench.handle.create_board(new.clone()).expect("it is new");
    assert_eq!(
        bench.handle.board(new.id).expect("it answers"),
        Some(new.clone())
    );
    assert!(matches!(
        bench.handle.create_board(new),
        Err(StorageError::BoardExists { .. })
    ));
    assert!(matches!(
        bench.handle.open_epoch(BoardId([8; 16])),
        Err(StorageError::UnknownBoard { .. })
    ));
}

#[test]
fn who_draws_waits_for_one_piece_of_a_snapshot_and_it_for_one_group() {
    let mut store = Memory::new();
    store.create_board(&record(A)).expect("it is new");
    store.append(&[batch(A, 1)]).expect("it begins");
    let (telling, durable) = bounded(EVENTS_MAX);
    let limits = LogLimits {
        piece_bytes: 4,
        ..limits()
    };
    let (mut writing, handle) = Writing::new(
        limits,
        store,
        move |_, position| telling.try_send(position).expect("there is room"),
        |trouble| panic!("{trouble:?}"),
    )
    .expect("it starts");
    let snapshot = Bytes::from_static(b"three pieces");
    handle
        .snapshot(A, Position(1), snapshot.clone())
        .expect("there is room");
    assert_eq!(writing.turn(), Turn::Done, "it is taken up");
    // One is drawn behind each piece, and is durable before the next.
    for position in 2..=3 {
        handle
            .try_append(batch(A, position))
            .expect("there is room");
        assert_eq!(writing.turn(), Turn::Done, "a piece");
        assert!(durable.is_empty());
        assert_eq!(writing.turn(), Turn::Done, "a group");
        assert_eq!(durable.try_recv(), Ok(Position(position)));
        assert_eq!(handle.load(A).expect("it loads").snapshot, None);
    }
    assert_eq!(handle.counts().queued, 1, "until it is stored");
    assert_eq!(writing.turn(), Turn::Done, "the last piece");
    let stored = handle.load(A).expect("it loads").snapshot;
    assert_eq!(stored, Some((Position(1), snapshot)));
    assert_eq!(writing.turn(), Turn::Idle);
    let counts = handle.counts();
    assert_eq!((counts.queued, counts.queued_bytes), (0, 0));
}
