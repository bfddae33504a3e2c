//! What the log writer promises: durable means committed, in order, grouped, and nothing lost on the way.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, unbounded};

use super::*;
use crate::storage::repo::{Memory, Reader, Sqlite, StoredBoard};
use crate::storage::DataFolder;

const A: BoardId = BoardId([1; 16]);
const B: BoardId = BoardId([2; 16]);

fn record(id: BoardId) -> BoardRecord {
    BoardRecord { id, edit_hash: [3; 32], view_hash: [4; 32], created_ms: 5 }
}

fn batch(board: BoardId, position: u64) -> LogBatch {
    sized(board, position, 10)
}

fn sized(board: BoardId, position: u64, bytes: usize) -> LogBatch {
    let record = Bytes::from(vec![position as u8; bytes]);
    LogBatch { board, first: Position(position), last: Position(position), record }
}

fn limits() -> LogLimits {
    LogLimits { backoff_min: Duration::from_millis(1), backoff_max: Duration::from_millis(2), ..LogLimits::default() }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    Commit,
    Fail,
}

/// A repository whose commits wait for the test's word.
struct Gated<R> {
    inner: R,
    /// Told the positions of each group before it is committed.
    entered: Sender<Vec<(BoardId, u64)>>,
    verdicts: Receiver<Verdict>,
    /// The verdict when the test has let go of the gate.
    afterwards: Verdict,
}

impl<R: Repository> Reader for Gated<R> {
    fn board(&mut self, board: BoardId) -> Result<Option<BoardRecord>, StorageError> {
        self.inner.board(board)
    }
    fn load(&mut self, board: BoardId) -> Result<StoredBoard, StorageError> {
        self.inner.load(board)
    }
    fn load_before(&mut self, board: BoardId, position: Position) -> Result<StoredBoard, StorageError> {
        self.inner.load_before(board, position)
    }
}

impl<R: Repository> Repository for Gated<R> {
    fn reader(&self) -> Result<Box<dyn Reader>, StorageError> {
        self.inner.reader()
    }
    fn create_board(&mut self, record: &BoardRecord) -> Result<(), StorageError> {
        self.inner.create_board(record)
    }
    fn open_epoch(&mut self, board: BoardId) -> Result<u64, StorageError> {
        self.inner.open_epoch(board)
    }
    fn append(&mut self, batches: &[LogBatch]) -> Result<(), StorageError> {
        let group = batches.iter().map(|batch| (batch.board, batch.first.0)).collect();
        let _ = self.entered.try_send(group);
        match self.verdicts.recv().unwrap_or(self.afterwards) {
            Verdict::Commit => self.inner.append(batches),
            Verdict::Fail => Err(StorageError::Full(rusqlite::Error::InvalidQuery)),
        }
    }
    fn put_snapshot(&mut self, board: BoardId, position: Position, snapshot: Bytes) -> Result<(), StorageError> {
        self.inner.put_snapshot(board, position, snapshot)
    }
    fn checkpoint(&mut self) -> Result<(), StorageError> {
        self.inner.checkpoint()
    }
}

/// A writer on a gated store with the boards A and B, and all that can be seen of it.
struct Bench {
    writer: LogWriter,
    handle: LogHandle,
    store: Memory,
    entered: Receiver<Vec<(BoardId, u64)>>,
    verdicts: Sender<Verdict>,
    durable: Receiver<(BoardId, Position)>,
    troubles: Receiver<Trouble>,
}

/// Room for every event of one of these tests.
const EVENTS_MAX: usize = 10_000;

impl Bench {
    fn new(limits: LogLimits, afterwards: Verdict) -> Self {
        let mut store = Memory::new();
        for board in [A, B] {
            store.create_board(&record(board)).expect("it is new");
        }
        let (entering, entered) = bounded(EVENTS_MAX);
        let (verdicts, given) = bounded(EVENTS_MAX);
        let (telling, durable) = bounded(EVENTS_MAX);
        let (complaining, troubles) = bounded(EVENTS_MAX);
        let gated = Gated { inner: store.clone(), entered: entering, verdicts: given, afterwards };
        let writer = LogWriter::start_with(
            limits,
            gated,
            move |board, position| telling.try_send((board, position)).expect("there is room"),
            move |trouble| complaining.try_send(trouble).expect("there is room"),
        )
        .expect("it starts");
        Self { handle: writer.handle(), writer, store, entered, verdicts, durable, troubles }
    }

    fn append(&self, board: BoardId, position: u64) {
        self.handle.try_append(batch(board, position)).expect("there is room");
    }

    fn entered(&self) -> Vec<(BoardId, u64)> {
        self.entered.recv().expect("the writer lives")
    }

    fn give(&self, verdict: Verdict) {
        self.verdicts.try_send(verdict).expect("there is room");
    }

    fn stored(&self, board: BoardId) -> Vec<u64> {
        let stored = self.store.clone().load(board).expect("it loads");
        stored.tail.iter().map(|batch| batch.first.0).collect()
    }
}

#[test]
fn a_batch_is_durable_only_when_its_commit_has_returned() {
    let bench = Bench::new(limits(), Verdict::Commit);
    bench.append(A, 1);
    assert_eq!(bench.entered(), [(A, 1)]);
    assert!(bench.durable.is_empty(), "it is being committed, no more");
    assert_eq!(bench.handle.load(A).expect("it loads").end(), Position(0), "a load waits for no commit");

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
    assert_eq!(told, [(A, Position(1)), (A, Position(51)), (B, Position(50))], "once for each board and commit");
    let counts = bench.handle.counts();
    assert_eq!((counts.commits, counts.batches, counts.bytes), (2, 101, 1_010));
    assert_eq!((counts.queued, counts.queued_bytes, counts.failures), (0, 0, 0));
}

#[test]
fn a_group_has_bounds() {
    let by_count = LogLimits { group_batches: 3, ..limits() };
    let by_bytes = LogLimits { group_bytes: 25, ..limits() };
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
fn a_failure_is_told_once_and_nothing_is_lost_or_reordered() {
    let bench = Bench::new(limits(), Verdict::Commit);
    bench.append(A, 1);
    assert_eq!(bench.entered(), [(A, 1)]);
    bench.append(B, 1);
    bench.append(A, 2);
    bench.give(Verdict::Fail);
    assert!(matches!(bench.troubles.recv(), Ok(Trouble::Failing { message }) if message.contains("free some")));
    for _ in 0..3 {
        assert_eq!(bench.entered(), [(A, 1)], "the same group again");
        bench.give(Verdict::Fail);
    }
    assert_eq!(bench.entered(), [(A, 1)]);
    assert!(bench.troubles.is_empty() && bench.durable.is_empty());
    assert!(bench.handle.failing().is_some());
    let refused = bench.handle.create_board(record(BoardId([7; 16])));
    assert!(matches!(refused, Err(StorageError::Failing { .. })), "at once: {refused:?}");
    assert_eq!(bench.handle.load(A).expect("reading goes on").end(), Position(0));

    bench.give(Verdict::Commit);
    assert_eq!(bench.troubles.recv(), Ok(Trouble::Recovered));
    assert_eq!(bench.entered(), [(B, 1), (A, 2)]);
    bench.give(Verdict::Commit);
    bench.handle.flush().expect("all is well");
    assert_eq!(bench.handle.failing(), None);
    assert_eq!((bench.stored(A), bench.stored(B)), (vec![1, 2], vec![1]));
    assert_eq!(bench.handle.counts().failures, 4);
}

#[test]
fn a_stop_during_a_failure_names_what_was_not_saved() {
    let bench = Bench::new(limits(), Verdict::Fail);
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
    drop(bench.verdicts);

    let Err(StopError::Unsaved { unsaved, cause }) = bench.writer.stop() else { panic!("nothing could be saved") };
    assert_eq!(unsaved, BTreeMap::from([(A, (Position(2), Position(5))), (B, (Position(1), Position(3)))]));
    assert!(matches!(cause, StorageError::Full(_)));
    let message = StopError::Unsaved { unsaved, cause }.to_string();
    assert!(message.contains(&format!("board {A} (positions 2 to 5), board {B} (positions 1 to 3)")), "{message}");
    assert_eq!(bench.durable.try_iter().collect::<Vec<_>>(), [(A, Position(1))]);
    assert_eq!(bench.handle.counts().queued, 0);
}

#[test]
fn a_full_queue_gives_the_batch_back() {
    let by_count = LogLimits { queue_requests: 2, ..limits() };
    // The one being written counts too.
    let by_bytes = LogLimits { queue_bytes: 30, ..limits() };
    for limits in [by_count, by_bytes] {
        let bench = Bench::new(limits, Verdict::Commit);
        bench.append(A, 1);
        assert_eq!(bench.entered(), [(A, 1)]);
        bench.append(A, 2);
        bench.append(A, 3);
        assert_eq!(bench.handle.try_append(batch(A, 4)), Err(Refusal::Full(batch(A, 4))));
        let snapshot = Bytes::from_static(b"snapshot");
        assert_eq!(bench.handle.snapshot(A, Position(1), snapshot.clone()), Err(Refusal::Full(snapshot)));

        bench.give(Verdict::Commit);
        bench.give(Verdict::Commit);
        bench.handle.flush().expect("all is well");
        bench.append(A, 4);
        drop(bench.verdicts);
        bench.handle.flush().expect("all is well");
        assert_eq!(bench.store.clone().load(A).expect("it loads").end(), Position(4));
    }
}

#[test]
fn a_large_batch_is_taken_alone_and_one_too_large_never() {
    let bench = Bench::new(LogLimits { queue_bytes: 30, ..limits() }, Verdict::Commit);
    bench.handle.try_append(sized(A, 1, 1_000)).expect("nothing else waits");
    assert_eq!(bench.entered(), [(A, 1)]);
    assert!(matches!(bench.handle.try_append(batch(A, 2)), Err(Refusal::Full(_))));
    drop(bench.verdicts);
    bench.handle.flush().expect("all is well");
    let huge = sized(A, 2, crate::storage::repo::RECORD_BYTES_MAX + 1);
    assert!(matches!(bench.handle.try_append(huge), Err(Refusal::TooLarge(_))));
    assert_eq!(bench.handle.counts().queued_bytes, 0);
}

#[test]
fn a_board_gone_wrong_does_not_keep_others_from_being_saved() {
    let stranger = BoardId([9; 16]);
    let bench = Bench::new(limits(), Verdict::Commit);
    bench.append(A, 1);
    assert_eq!(bench.entered(), [(A, 1)]);
    for (board, position) in [(A, 2), (B, 1), (A, 4), (stranger, 1), (B, 2), (A, 5)] {
        bench.append(board, position);
    }
    drop(bench.verdicts);
    bench.handle.flush().expect("the others are saved");

    assert_eq!((bench.stored(A), bench.stored(B)), (vec![1, 2], vec![1, 2]));
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
    assert_eq!((counts.refused, counts.batches, counts.queued, counts.failures), (3, 4, 0, 0));
    let told: HashMap<_, _> = bench.durable.try_iter().collect();
    assert_eq!(told, HashMap::from([(A, Position(2)), (B, Position(2))]));
    bench.append(A, 3);
    bench.handle.flush().expect("a room loaded anew goes on");
    assert_eq!(bench.stored(A), [1, 2, 3]);
}

#[test]
fn a_snapshot_is_stored_behind_its_batches_and_a_bad_one_does_no_harm() {
    let bench = Bench::new(limits(), Verdict::Commit);
    drop(bench.verdicts.clone());
    bench.append(A, 1);
    bench.append(A, 2);
    let snapshot = Bytes::from_static(b"everything through 2");
    bench.handle.snapshot(A, Position(2), snapshot.clone()).expect("there is room");
    bench.handle.snapshot(A, Position(9), snapshot.clone()).expect("there is room");
    bench.append(A, 3);
    drop(bench.verdicts);
    bench.handle.flush().expect("all is well");

    let stored = bench.handle.load(A).expect("it loads");
    assert_eq!(stored, StoredBoard { snapshot: Some((Position(2), snapshot)), tail: vec![batch(A, 3)] });
    assert_eq!(bench.handle.load_before(A, Position(2)).expect("it loads").tail.len(), 3);
    let counts = bench.handle.counts();
    assert_eq!((counts.snapshots, counts.snapshot_failures, counts.queued), (1, 1, 0));
}

#[test]
fn an_epoch_opens_behind_all_that_was_queued_before() {
    let bench = Bench::new(limits(), Verdict::Commit);
    bench.append(A, 1);
    assert_eq!(bench.entered(), [(A, 1)]);
    bench.append(A, 2);
    let handle = bench.handle.clone();
    let opening = thread::spawn(move || (handle.open_epoch(A), handle.load(A)));
    drop(bench.verdicts);
    let (epoch, stored) = opening.join().expect("it ends");
    assert_eq!(epoch.expect("it opens"), 1);
    assert_eq!(stored.expect("it loads").end(), Position(2));
}

#[test]
fn boards_are_made_and_found_through_the_handle() {
    let bench = Bench::new(limits(), Verdict::Commit);
    let new = record(BoardId([7; 16]));
    assert_eq!(bench.handle.board(new.id).expect("it answers"), None);
    bench.handle.create_board(new.clone()).expect("it is new");
    assert_eq!(bench.handle.board(new.id).expect("it answers"), Some(new.clone()));
    assert!(matches!(bench.handle.create_board(new), Err(StorageError::BoardExists { .. })));
    assert!(matches!(bench.handle.open_epoch(BoardId([8; 16])), Err(StorageError::UnknownBoard { .. })));
}

#[test]
fn a_stop_saves_all_that_was_taken_and_then_refuses() {
    let bench = Bench::new(limits(), Verdict::Commit);
    for position in 1..=500 {
        bench.append(A, position);
    }
    drop(bench.verdicts);
    bench.writer.stop().expect("all is saved");
    assert_eq!(bench.stored(A).len(), 500);
    assert_eq!(bench.durable.try_iter().last(), Some((A, Position(500))));

    assert_eq!(bench.handle.try_append(batch(A, 501)), Err(Refusal::Stopped(batch(A, 501))));
    assert!(matches!(bench.handle.load(A), Err(StorageError::Stopped)));
    assert!(matches!(bench.handle.open_epoch(A), Err(StorageError::Stopped)));
    assert!(matches!(bench.handle.flush(), Err(StorageError::Stopped)));
}

#[test]
fn a_dropped_writer_saves_all_that_was_taken() {
    let bench = Bench::new(limits(), Verdict::Commit);
    bench.append(A, 1);
    drop(bench.verdicts);
    drop(bench.writer);
    assert_eq!(bench.store.clone().load(A).expect("it loads").end(), Position(1));
}

#[test]
fn a_dead_thread_is_told_at_the_stop() {
    let mut store = Memory::new();
    store.create_board(&record(A)).expect("it is new");
    let writer = LogWriter::start(store, |_, _| panic!("on purpose: a callback's fault"), |_| {}).expect("it starts");
    writer.handle().try_append(batch(A, 1)).expect("there is room");
    assert!(matches!(writer.stop(), Err(StopError::Died)));
}

/// Boards of the tests with many threads.
fn crowd() -> Vec<BoardId> {
    (1..=8).map(|number| BoardId([number; 16])).collect()
}

/// Every third commit of this repository fails.
fn flaky(boards: &[BoardId]) -> (Memory, Gated<Memory>, thread::JoinHandle<()>) {
    let mut store = Memory::new();
    for board in boards {
        store.create_board(&record(*board)).expect("it is new");
    }
    let (verdicts, given) = bounded(0);
    let (entered, _) = bounded(1);
    let gated = Gated { inner: store.clone(), entered, verdicts: given, afterwards: Verdict::Fail };
    let judge = thread::spawn(move || {
        let mut given = [Verdict::Commit, Verdict::Commit, Verdict::Fail].into_iter().cycle();
        while given.next().is_some_and(|verdict| verdicts.send(verdict).is_ok()) {}
    });
    (store, gated, judge)
}

#[test]
fn many_rooms_on_a_failing_disk_lose_nothing() {
    const BATCHES: u64 = 300;
    let (mut store, gated, judge) = flaky(&crowd());
    let ends = Mutex::new(HashMap::new());
    let ends: Arc<Mutex<HashMap<BoardId, Position>>> = Arc::new(ends);
    let seen = ends.clone();
    let few = LogLimits { queue_requests: 32, queue_bytes: 200, group_batches: 16, ..limits() };
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
    judge.join().expect("it ends");
    assert!(full.into_inner() > 0, "the bound was felt");
    for board in crowd() {
        assert_eq!(store.load(board).expect("it loads").tail.len() as u64, BATCHES);
        assert_eq!(ends.lock().expect("nobody panics")[&board], Position(BATCHES));
    }
}

#[test]
fn whatever_was_taken_while_stopping_is_saved() {
    let (mut store, gated, judge) = flaky(&crowd());
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
    judge.join().expect("it ends");
}

/// A database on a disk whose size the test decides.
struct Disk {
    inner: Gated<Sqlite>,
    pages: Receiver<u32>,
}

impl Reader for Disk {
    fn board(&mut self, board: BoardId) -> Result<Option<BoardRecord>, StorageError> {
        self.inner.board(board)
    }
    fn load(&mut self, board: BoardId) -> Result<StoredBoard, StorageError> {
        self.inner.load(board)
    }
    fn load_before(&mut self, board: BoardId, position: Position) -> Result<StoredBoard, StorageError> {
        self.inner.load_before(board, position)
    }
}

impl Repository for Disk {
    fn reader(&self) -> Result<Box<dyn Reader>, StorageError> {
        self.inner.reader()
    }
    fn create_board(&mut self, record: &BoardRecord) -> Result<(), StorageError> {
        self.inner.create_board(record)
    }
    fn open_epoch(&mut self, board: BoardId) -> Result<u64, StorageError> {
        self.inner.open_epoch(board)
    }
    fn append(&mut self, batches: &[LogBatch]) -> Result<(), StorageError> {
        for pages in self.pages.try_iter() {
            self.inner.inner.limit_pages(pages)?;
        }
        self.inner.inner.append(batches)
    }
    fn put_snapshot(&mut self, board: BoardId, position: Position, snapshot: Bytes) -> Result<(), StorageError> {
        self.inner.put_snapshot(board, position, snapshot)
    }
    fn checkpoint(&mut self) -> Result<(), StorageError> {
        self.inner.checkpoint()
    }
}
