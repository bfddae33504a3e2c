//! The disk fails, the queue is full, a board goes wrong: who is told, what is kept.

use std::collections::HashMap;

use super::*;
use crate::storage::DataFolder;
use crate::storage::repo::{RECORD_BYTES_MAX, Sqlite};

#[test]
fn a_failure_is_told_once_and_nothing_is_lost_or_reordered() {
    let bench = Bench::new(limits(), Verdict::Commit);
    bench.append(A, 1);
    assert_eq!(bench.entered(), [(A, 1)]);
    bench.append(B, 1);
    bench.append(A, 2);
    bench.give(Verdict::Fail);
    assert!(
        matches!(bench.troubles.recv(), Ok(Trouble::Failing { message }) if message.contains("free some"))
    );
    for _ in 0..3 {
        assert_eq!(bench.entered(), [(A, 1)], "the same group again");
        bench.give(Verdict::Fail);
    }
    assert_eq!(bench.entered(), [(A, 1)]);
    assert!(bench.troubles.is_empty() && bench.durable.is_empty());
    assert!(bench.handle.failing().is_some());
    let refused = bench.handle.create_board(record(BoardId([7; 16])));
    assert!(
        matches!(refused, Err(StorageError::Failing { .. })),
        "at once: {refused:?}"
    );
    assert_eq!(
        bench.handle.load(A).expect("reading goes on").end(),
        Position(0)
    );

    bench.give(Verdict::Commit);
    assert_eq!(bench.troubles.recv(), Ok(Trouble::Recovered));
    assert_eq!(bench.entered(), [(B, 1), (A, 2)]);
    bench.give(Verdict::Commit);
    bench.handle.flush().expect("all is well");
    assert_eq!(bench.handle.failing(), None);
    assert_eq!(
        (stored(&bench.store, A), stored(&bench.store, B)),
        (vec![1, 2], vec![1])
    );
    assert_eq!(bench.handle.counts().failures, 4);
}

#[test]
fn a_stop_during_a_failure_names_what_was_not_saved() {
    let mut bench = Bench::new(limits(), Verdict::Fail);
    bench.append(A, 1);
    assert_eq!(bench.entered(), [(A, 1)]);
    bench.give(Verdict::Commit);
    bench.handle.flush().expect("the first is saved");
    bench.append(A, 2);
    assert_eq!(bench.entered(), [(A, 2)]);
    for position in 3..=5 {
        bench.append(A, position);
        bench.append(B, position - 2);
    }
    bench.let_go();

    let Err(StopError::Unsaved { unsaved, cause }) = bench.writer.stop() else {
        panic!("nothing could be saved")
    };
    assert_eq!(
        unsaved,
        BTreeMap::from([
            (A, (Position(2), Position(5))),
            (B, (Position(1), Position(3)))
        ])
    );
    assert!(matches!(cause, StorageError::Full(_)));
    let message = StopError::Unsaved { unsaved, cause }.to_string();
    assert!(
        message.contains(&format!(
            "board {A} (positions 2 to 5), board {B} (positions 1 to 3)"
        )),
        "{message}"
    );
    assert_eq!(
        bench.durable.try_iter().collect::<Vec<_>>(),
        [(A, Position(1))]
    );
    assert_eq!(bench.handle.counts().queued, 0);
}

#[test]
fn a_full_queue_gives_the_batch_back() {
    let by_count = LogLimits {
        queue_requests: 2,
        ..limits()
    };
    // The one being written counts too.
    let by_bytes = LogLimits {
        queue_bytes: 30,
        ..limits()
    };
    for limits in [by_count, by_bytes] {
        let mut bench = Bench::new(limits, Verdict::Commit);
        bench.append(A, 1);
        assert_eq!(bench.entered(), [(A, 1)]);
        bench.append(A, 2);
        bench.append(A, 3);
        assert_eq!(
            bench.handle.try_append(batch(A, 4)),
            Err(Refusal::Full(batch(A, 4)))
        );
        let snapshot = Bytes::from_static(b"snapshot");
        assert_eq!(
            bench.handle.snapshot(A, Position(1), snapshot.clone()),
            Err(Refusal::Full(snapshot))
        );

        bench.give(Verdict::Commit);
        bench.give(Verdict::Commit);
        bench.handle.flush().expect("all is well");
        bench.append(A, 4);
        bench.let_go();
        bench.handle.flush().expect("all is well");
        assert_eq!(
            bench.store.clone().load(A).expect("it loads").end(),
            Position(4)
        );
    }
}

#[test]
fn a_large_batch_is_taken_alone_and_one_too_large_never() {
    let mut bench = Bench::new(
        LogLimits {
            queue_bytes: 30,
            ..limits()
        },
        Verdict::Commit,
    );
    bench
        .handle
        .try_append(sized(A, 1, 1_000))
        .expect("nothing else waits");
    assert_eq!(bench.entered(), [(A, 1)]);
    assert!(matches!(
        bench.handle.try_append(batch(A, 2)),
        Err(Refusal::Full(_))
    ));
    bench.let_go();
    bench.handle.flush().expect("all is well");
    // Zeros, so that the memory is never really touched.
    let record = Bytes::from(vec![0; RECORD_BYTES_MAX + 1]);
    let huge = LogBatch {
        record,
        ..batch(A, 2)
    };
    assert!(matches!(
        bench.handle.try_append(huge),
        Err(Refusal::TooLarge(_))
    ));
    assert_eq!(bench.handle.counts().queued_bytes, 0);
}

#[test]
fn a_board_gone_wrong_does_not_keep_others_from_being_saved() {
    let stranger = BoardId([9; 16]);
    let mut bench = Bench::new(limits(), Verdict::Commit);
    bench.append(A, 1);
    assert_eq!(bench.entered(), [(A, 1)]);
    for (board, position) in [(A, 2), (B, 1), (A, 4), (stranger, 1), (B, 2), (A, 5)] {
        bench.append(board, position);
    }
    bench.let_go();
    bench.handle.flush().expect("the others are saved");

    assert_eq!(
        (stored(&bench.store, A), stored(&bench.store, B)),
        (vec![1, 2], vec![1, 2])
    );
    let mut refused: Vec<_> = bench
        .troubles
        .try_iter()
        .map(|trouble| match trouble {
            Trouble::BoardRefused { board, .. } => board,
            other => panic!("{other:?}"),
        })
        .collect();
    refused.sort();
    assert_eq!(refused, [A, stranger]);
    let counts = bench.handle.counts();
    assert_eq!(
        (
            counts.refused,
            counts.batches,
            counts.queued,
            counts.failures
        ),
        (3, 4, 0, 0)
    );
    let told: HashMap<_, _> = bench.durable.try_iter().collect();
    assert_eq!(told, HashMap::from([(A, Position(2)), (B, Position(2))]));
    bench.append(A, 3);
    bench.handle.flush().expect("a room loaded anew goes on");
    assert_eq!(stored(&bench.store, A), [1, 2, 3]);
}

#[test]
fn a_disk_that_was_full_gets_all_that_waited_in_order() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let folder = DataFolder::open(root.path()).expect("it opens");
    let mut store = Sqlite::open(&folder).expect("it opens");
    store.create_board(&record(A)).expect("it is new");
    store
        .limit_pages(store.pages().expect("it answers") + 20)
        .expect("it is set");

    let (space, spaces) = bounded(1);
    let gate: Gate<Sqlite> = Box::new(move |store, _| {
        for pages_max in spaces.try_iter() {
            store.limit_pages(pages_max).expect("it is set");
        }
        Verdict::Commit
    });
    let (complaining, troubles) = bounded(EVENTS_MAX);
    let told = move |trouble| complaining.try_send(trouble).expect("there is room");
    let gated = Gated { inner: store, gate };
    let writer = LogWriter::start_with(limits(), gated, |_, _| {}, told).expect("it starts");

    let handle = writer.handle();
    let batches: Vec<_> = (1..=40)
        .map(|position| sized(A, position, 10_000))
        .collect();
    for batch in &batches {
        handle.try_append(batch.clone()).expect("there is room");
    }
    let failing = troubles.recv().expect("the writer lives");
    assert!(
        matches!(&failing, Trouble::Failing { message } if message.contains("no space")),
        "{failing:?}"
    );
    assert!(handle.load(A).expect("reading goes on").tail.len() < 40);

    space.send(10_000).expect("the writer lives");
    assert_eq!(troubles.recv(), Ok(Trouble::Recovered));
    handle.flush().expect("there is space");
    assert_eq!(handle.load(A).expect("it loads").tail, batches);
    writer.stop().expect("all is saved");
    drop(handle);
    drop(folder);
    let folder = DataFolder::open(root.path()).expect("free again");
    assert_eq!(
        Sqlite::open(&folder)
            .expect("it opens")
            .load(A)
            .expect("it loads")
            .tail,
        batches
    );
}
