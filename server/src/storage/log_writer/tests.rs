//! What the log writer promises: durable means committed, in order, grouped, and nothing lost on the way.
//!
//! Owns the harness: a writer on a store whose every commit waits for the test's word. The promises are in
//! [`grouping`], [`failing`] and [`stopping`].

use crossbeam_channel::Receiver;

use super::*;
use crate::storage::repo::{Memory, Reader, SnapshotWrite, StoredBoard};

mod failing;
mod grouping;
mod stopping;

const A: BoardId = BoardId([1; 16]);
const B: BoardId = BoardId([2; 16]);

fn record(id: BoardId) -> BoardRecord {
    BoardRecord {
        id,
        edit_hash: [3; 32],
        view_hash: [4; 32],
        created_ms: 5,
    }
}

fn batch(board: BoardId, position: u64) -> LogBatch {
    sized(board, position, 10)
}

fn sized(board: BoardId, position: u64, bytes: usize) -> LogBatch {
    let record = Bytes::from(vec![position as u8; bytes]);
    LogBatch {
        board,
        first: Position(position),
        last: Position(position),
        record,
    }
}

fn limits() -> LogLimits {
    LogLimits {
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(2),
        ..LogLimits::default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    Commit,
    Fail,
}

/// Asked before each commit. May change the repository, too.
type Gate<R> = Box<dyn FnMut(&mut R, &[LogBatch]) -> Verdict + Send>;

/// A repository whose commits go as the test says.
struct Gated<R> {
    inner: R,
    gate: Gate<R>,
}

impl<R: Repository> Reader for Gated<R> {
    fn board(&mut self, board: BoardId) -> Result<Option<BoardRecord>, StorageError> {
        self.inner.board(board)
    }
    fn load(&mut self, board: BoardId) -> Result<StoredBoard, StorageError> {
        self.inner.load(board)
    }
    fn load_before(
        &mut self,
        board: BoardId,
        position: Position,
    ) -> Result<StoredBoard, StorageError> {
        self.inner.load_before(board, position)
    }
    fn load_at(&mut self, board: BoardId, position: Position) -> Result<StoredBoard, StorageError> {
        self.inner.load_at(board, position)
    }
    fn log(
        &mut self,
        board: BoardId,
        after: Position,
        bytes_max: usize,
    ) -> Result<Vec<LogBatch>, StorageError> {
        self.inner.log(board, after, bytes_max)
    }
    fn authors(&mut self, board: BoardId) -> Result<Vec<Author>, StorageError> {
        self.inner.authors(board)
    }
}

impl<R: Repository> Repository for Gated<R> {
    fn reader(&self) -> Result<Box<dyn Reader>, StorageError> {
        self.inner.reader()
    }
    fn create_board(&mut self, record: &BoardRecord) -> Result<(), StorageError> {
        self.inner.create_board(record)
    }
    fn open_epoch(&mut self, board: BoardId) -> Result<Opened, StorageError> {
        self.inner.open_epoch(board)
    }
    fn put_authors(&mut self, board: BoardId, authors: &[Author]) -> Result<(), StorageError> {
        self.inner.put_authors(board, authors)
    }
    fn append(&mut self, batches: &[LogBatch]) -> Result<(), StorageError> {
        match (self.gate)(&mut self.inner, batches) {
            Verdict::Commit => self.inner.append(batches),
            Verdict::Fail => Err(StorageError::Full(rusqlite::Error::InvalidQuery)),
        }
    }
    fn put_piece(&mut self, write: &mut SnapshotWrite) -> Result<bool, StorageError> {
        self.inner.put_piece(write)
    }
    fn checkpoint(&mut self) -> Result<(), StorageError> {
        self.inner.checkpoint()
    }
}

/// A writer on a gated store with the boards A and B, and all that can be seen of it.
struct Bench {
    /// Each commit waits for one of these; without this sender, for none. First, so that it is dropped before the
    /// writer, which would wait for it.
    verdicts: Option<Sender<Verdict>>,
    writer: LogWriter,
    handle: LogHandle,
    store: Memory,
    /// The positions of each group, before it is committed.
    entered: Receiver<Vec<(BoardId, u64)>>,
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
        let gate: Gate<Memory> = Box::new(move |_, group| {
            let group = group
                .iter()
                .map(|batch| (batch.board, batch.first.0))
                .collect();
            entering.try_send(group).expect("there is room");
            given.recv().unwrap_or(afterwards)
        });
        let gated = Gated {
            inner: store.clone(),
            gate,
        };
        let writer = LogWriter::start_with(
            limits,
            gated,
            move |board, position| telling.try_send((board, position)).expect("there is room"),
            move |trouble| complaining.try_send(trouble).expect("there is room"),
        )
        .expect("it starts");
        Self {
            handle: writer.handle(),
            writer,
            store,
            entered,
            verdicts: Some(verdicts),
            durable,
            troubles,
        }
    }

    fn append(&self, board: BoardId, position: u64) {
        self.handle
            .try_append(batch(board, position))
            .expect("there is room");
    }

    fn entered(&self) -> Vec<(BoardId, u64)> {
        self.entered.recv().expect("the writer lives")
    }

    fn give(&self, verdict: Verdict) {
        let verdicts = self.verdicts.as_ref().expect("the gate is still held");
        verdicts.try_send(verdict).expect("there is room");
    }

    /// Lets all further commits go without asking.
    fn let_go(&mut self) {
        self.verdicts = None;
    }
}

/// First positions of a board's stored batches.
fn stored(store: &Memory, board: BoardId) -> Vec<u64> {
    let stored = store.clone().load(board).expect("it loads");
    stored.tail.iter().map(|batch| batch.first.0).collect()
}
