//! The end, and many threads at once: whatever was taken is saved.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn a_stop_saves_all_that_was_taken_and_then_refuses() {
    let mut bench = Bench::new(limits(), Verdict::Commit);
    for position in 1..=500 {
        bench.append(A, position);
    }
    bench.let_go();
    bench.writer.stop().expect("all is saved");
    assert_eq!(stored(&bench.store, A).len(), 500);
    assert_eq!(bench.durable.try_iter().last(), Some((A, Position(500))));

    assert_eq!(
        bench.handle.try_append(batch(A, 501)),
        Err(Refusal::Stopped(batch(A, 501)))
    );
    assert!(matches!(bench.handle.load(A), Err(StorageError::Stopped)));
    assert!(matches!(
        bench.handle.open_epoch(A),
        Err(StorageError::Stopped)
    ));
    assert!(matches!(bench.handle.flush(), Err(StorageError::Stopped)));
}

#[test]
fn a_dropped_writer_saves_all_that_was_taken() {
    let mut bench = Bench::new(limits(), Verdict::Commit);
    bench.append(A, 1);
    bench.let_go();
    drop(bench.writer);
    assert_eq!(
        bench.store.clone().load(A).expect("it loads").end(),
        Position(1)
    );
}

#[test]
fn a_dead_thread_is_told_at_the_stop() {
    let mut store = Memory::new();
    store.create_board(&record(A)).expect("it is new");
    let writer = LogWriter::start(
        store,
        |_, _| panic!("on purpose: a callback's fault"),
        |_| {},
    )
    .expect("it starts");
    let handle = writer.handle();
    handle.try_append(batch(A, 1)).expect("there is room");
    assert!(matches!(writer.stop(), Err(StopError::Died)));
    assert!(handle.failing().is_some(), "health checks see it too");
}

/// Boards of the tests with many threads.
fn crowd() -> Vec<BoardId> {
    (1..=8).map(|number| BoardId([number; 16])).collect()
}

/// A repository whose every third commit fails.
fn flaky(boards: &[BoardId]) -> (Memory, Gated<Memory>) {
    let mut store = Memory::new();
    for board in boards {
        store.create_board(&record(*board)).expect("it is new");
    }
    let mut verdicts = [Verdict::Commit, Verdict::Commit, Verdict::Fail]
        .into_iter()
        .cycle();
    let gate: Gate<Memory> = Box::new(move |_, _| verdicts.next().unwrap_or(Verdict::Commit));
    (store.clone(), Gated { inner: store, gate })
}

#[test]
fn many_rooms_on_a_failing_disk_lose_nothing() {
    const BATCHES: u64 = 300;
    let (mut store, gated) = flaky(&crowd());
    let ends = Arc::new(Mutex::new(HashMap::new()));
    let seen = ends.clone();
    let few = LogLimits {
        queue_requests: 32,
        queue_bytes: 200,
        group_batches: 16,
        ..limits()
    };
    let rising = move |board, position| {
        let before = seen.lock().expect("nobody panics").insert(board, position);
        assert!(before < Some(position), "{before:?}, then {position:?}");
    };
    let writer = LogWriter::start_with(few, gated, rising, |_| {}).expect("it starts");

    let full = AtomicUsize::new(0);
    thread::scope(|scope| {
        for board in crowd() {
            let (handle, full) = (writer.handle(), &full);
            scope.spawn(move || {
                for position in 1..=BATCHES {
                    let mut next = batch(board, position);
                    while let Err(refusal) = handle.try_append(next) {
                        full.fetch_add(1, Ordering::Relaxed);
                        next = refusal.into_inner();
                        thread::yield_now();
                    }
                }
            });
        }
    });
    writer.stop().expect("all is saved");
    assert!(full.into_inner() > 0, "the bound was felt");
    for board in crowd() {
        assert_eq!(
            store.load(board).expect("it loads").tail.len() as u64,
            BATCHES
        );
        assert_eq!(
            ends.lock().expect("nobody panics")[&board],
            Position(BATCHES)
        );
    }
}

#[test]
fn whatever_was_taken_while_stopping_is_saved() {
    let (mut store, gated) = flaky(&crowd());
    let writer = LogWriter::start_with(limits(), gated, |_, _| {}, |_| {}).expect("it starts");
    let (begun, beginnings) = bounded(crowd().len());
    let rooms: Vec<_> = crowd()
        .into_iter()
        .map(|board| {
            let (handle, begun) = (writer.handle(), begun.clone());
            thread::spawn(move || {
                let mut taken = 0;
                loop {
                    match handle.try_append(batch(board, taken + 1)) {
                        Ok(()) => taken += 1,
                        Err(Refusal::Stopped(_)) => return (board, taken),
                        Err(_) => thread::yield_now(),
                    }
                    if taken == 5 {
                        let _ = begun.try_send(());
                    }
                }
            })
        })
        .collect();
    for _ in crowd() {
        beginnings.recv().expect("the rooms live");
    }
    writer.stop().expect("all is saved");
    for room in rooms {
        let (board, taken) = room.join().expect("it ends");
        assert_eq!(store.load(board).expect("it loads").end(), Position(taken));
    }
}
