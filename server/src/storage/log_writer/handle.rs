//! The callers' side of the log writer: what rooms and requests hold.
//!
//! Owns the queue's entrance with its two bounds (requests, bytes) and the reading side of the store. Batches and
//! snapshots never block; everything else does, for a bounded time: call it where blocking is allowed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chalkboard_shared::id::{BoardId, Position};
use crossbeam_channel::{
    Receiver, RecvTimeoutError, SendTimeoutError, Sender, TryRecvError, TrySendError, bounded,
};

use super::counts::{Counters, LogCounts};
use super::{LogLimits, Request};
use crate::storage::repo::{
    Author, BoardRecord, LogBatch, Opened, RECORD_BYTES_MAX, Reader, StorageError, StoredBoard,
};

/// Reads of the store at once: a long one (a large board, a piece of its history) must not hold up the others.
pub(super) const READERS: usize = 4;

/// Gives work to the log writer and reads the store. Cheap to clone, usable from any thread.
#[derive(Debug, Clone)]
pub struct LogHandle {
    sender: Sender<Request>,
    shared: Arc<Shared>,
}

/// What was asked of the writer, and may not have been answered yet.
#[derive(Debug)]
pub struct Answer<T>(Receiver<Result<T, StorageError>>);

impl<T> Answer<T> {
    /// The answer, once, if it has come.
    pub fn poll(&self) -> Option<Result<T, StorageError>> {
        match self.0.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(StorageError::Stopped)),
        }
    }

    fn wait(&self, wait: Duration) -> Result<T, StorageError> {
        match self.0.recv_timeout(wait) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(StorageError::NoAnswer),
            Err(RecvTimeoutError::Disconnected) => Err(StorageError::Stopped),
        }
    }
}

/// Why the queue did not take something; gives it back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal<T> {
    /// The queue is full: the disk can't follow. Keep it, and offer it again next tick, before anything later.
    #[error("too much waits to be saved; offer it again later")]
    Full(T),
    /// The writer has stopped or is stopping. Nothing more will be saved.
    #[error("the board store is closed because the server is stopping")]
    Stopped(T),
    /// Larger than a record may be.
    #[error("a record may have {RECORD_BYTES_MAX} bytes; write smaller ticks")]
    TooLarge(T),
}

impl<T> Refusal<T> {
    /// What was refused.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(refused) | Self::Stopped(refused) | Self::TooLarge(refused) => refused,
        }
    }
}

/// What both sides of the queue see.
pub(super) struct Shared {
    pub(super) limits: LogLimits,
    pub(super) counters: Counters,
    /// No more is taken. Set before the thread is asked to stop.
    stopped: AtomicBool,
    /// Batches and snapshots that were let in and are not done. Raised before `stopped` is read, so that a thread that
    /// has seen `stopped` and then 0 here knows that no more will come.
    queued: AtomicUsize,
    /// Their bytes.
    queued_bytes: AtomicUsize,
    /// What the last attempt failed with, while writing fails.
    failing: Mutex<Option<String>>,
    /// Each `None` after the writer has stopped.
    readers: Vec<Mutex<Option<Box<dyn Reader>>>>,
    /// Which reader is waited for when all are busy.
    next_reader: AtomicUsize,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("queued", &self.queued)
            .finish_non_exhaustive()
    }
}

/// What these locks protect is replaced whole, so a panic while one is held leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(limits: LogLimits, readers: Vec<Box<dyn Reader>>) -> Self {
        Self {
            limits,
            counters: Counters::default(),
            stopped: AtomicBool::new(false),
            queued: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            failing: Mutex::new(None),
            readers: readers
                .into_iter()
                .map(|reader| Mutex::new(Some(reader)))
                .collect(),
            next_reader: AtomicUsize::new(0),
        }
    }

    /// Books a place for one request of this size; `false` where its bytes don't fit.
    fn book(&self, size: usize) -> bool {
        self.queued.fetch_add(1, Ordering::SeqCst);
        let booked =
            self.queued_bytes
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |waiting| {
                    (waiting == 0 || waiting + size <= self.limits.queue_bytes)
                        .then_some(waiting + size)
                });
        if booked.is_err() {
            self.queued.fetch_sub(1, Ordering::SeqCst);
        }
        booked.is_ok()
    }

    /// Frees the places of requests that are done.
    pub(super) fn free(&self, requests: usize, size: usize) {
        self.queued_bytes.fetch_sub(size, Ordering::SeqCst);
        self.queued.fetch_sub(requests, Ordering::SeqCst);
    }

    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::SeqCst)
    }

    pub(super) fn set_failing(&self, message: Option<String>) {
        *lock(&self.failing) = message;
    }
}

impl LogHandle {
    pub(super) fn new(sender: Sender<Request>, shared: Arc<Shared>) -> Self {
        Self { sender, shared }
    }

    /// Queues a batch to be made durable; never blocks. A board's batches must be queued in the order of its log.
    pub fn try_append(&self, batch: LogBatch) -> Result<(), Refusal<LogBatch>> {
        self.offer(Request::Append(batch), |request| match request {
            Request::Append(batch) => batch,
            other => unreachable!("{other:?} was not offered"),
        })
    }

    /// Queues a snapshot, behind every batch that was queued before; never blocks. One that can't be stored is logged,
    /// counted and forgotten: the log keeps the board whole, and there will be another.
    pub fn snapshot(
        &self,
        board: BoardId,
        position: Position,
        snapshot: Bytes,
    ) -> Result<(), Refusal<Bytes>> {
        self.offer(
            Request::Snapshot {
                board,
                position,
                snapshot,
            },
            |request| match request {
                Request::Snapshot { snapshot, .. } => snapshot,
                other => unreachable!("{other:?} was not offered"),
            },
        )
    }

    /// Queues who has changed a board, to be told in its history; never blocks. Best effort: what can't be stored is
    /// logged and forgotten, and may be given again.
    pub fn authors(
        &self,
        board: BoardId,
        authors: Vec<Author>,
    ) -> Result<(), Refusal<Vec<Author>>> {
        self.offer(
            Request::Authors { board, authors },
            |request| match request {
                Request::Authors { authors, .. } => authors,
                other => unreachable!("{other:?} was not offered"),
            },
        )
    }

    fn offer<T>(&self, request: Request, content: impl Fn(Request) -> T) -> Result<(), Refusal<T>> {
        let size = request.size();
        if size > RECORD_BYTES_MAX {
            return Err(Refusal::TooLarge(content(request)));
        }
        if !self.shared.book(size) {
            return Err(Refusal::Full(content(request)));
        }
        let refusal = if self.shared.stopped.load(Ordering::SeqCst) {
            Refusal::Stopped(request)
        } else {
            match self.sender.try_send(request) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(request)) => Refusal::Full(request),
                Err(TrySendError::Disconnected(request)) => Refusal::Stopped(request),
            }
        };
        self.shared.free(1, size);
        Err(match refusal {
            Refusal::Full(request) => Refusal::Full(content(request)),
            Refusal::Stopped(request) => Refusal::Stopped(content(request)),
            Refusal::TooLarge(request) => Refusal::TooLarge(content(request)),
        })
    }

    /// Makes a board. Durable when it returns. Blocks for a commit; fails at once while writing fails.
    pub fn create_board(&self, record: BoardRecord) -> Result<(), StorageError> {
        self.check_writing()?;
        self.ask(|answer| Request::CreateBoard { record, answer })
    }

    /// Counts one more load of the board: see [`Repository::open_epoch`](crate::storage::Repository::open_epoch). Blocks
    /// for a commit; fails at once while writing fails.
    ///
    /// Call it before [`LogHandle::load`]: it is answered after everything that was queued before is committed, so
    /// that the load sees also what a former room of the same board has queued last.
    pub fn open_epoch(&self, board: BoardId) -> Result<Opened, StorageError> {
        self.check_writing()?;
        self.ask(|answer| Request::OpenEpoch { board, answer })
    }

    /// [`LogHandle::open_epoch`], but for those who must not wait: [`StorageError::NoAnswer`] where the queue is full.
    pub fn begin_open_epoch(&self, board: BoardId) -> Result<Answer<Opened>, StorageError> {
        self.check_writing()?;
        self.begin(
            |answer| Request::OpenEpoch { board, answer },
            Duration::ZERO,
        )
    }

    /// Returns when everything that was queued before is durable and has been reported so. [`StorageError::NoAnswer`]
    /// where that takes longer than [`LogLimits::answer_wait`]; it still happens then, only later.
    pub fn flush(&self) -> Result<(), StorageError> {
        self.ask(|answer| Request::Flush { answer })
    }

    /// The board of this name. Reads beside the writer, without waiting for commits.
    pub fn board(&self, board: BoardId) -> Result<Option<BoardRecord>, StorageError> {
        self.read(|reader| reader.board(board))
    }

    /// The newest snapshot and the log after it. Sees everything that is committed, without waiting for commits; call
    /// [`LogHandle::open_epoch`] or [`LogHandle::flush`] first to see what is queued as well.
    pub fn load(&self, board: BoardId) -> Result<StoredBoard, StorageError> {
        self.read(|reader| reader.load(board))
    }

    /// An older snapshot and the log after it: see [`Reader::load_before`].
    pub fn load_before(
        &self,
        board: BoardId,
        position: Position,
    ) -> Result<StoredBoard, StorageError> {
        self.read(|reader| reader.load_before(board, position))
    }

    /// The board as it was at a position: see [`Reader::load_at`].
    pub fn load_at(&self, board: BoardId, position: Position) -> Result<StoredBoard, StorageError> {
        self.read(|reader| reader.load_at(board, position))
    }

    /// A part of the log: see [`Reader::log`].
    pub fn log(
        &self,
        board: BoardId,
        after: Position,
        bytes_max: usize,
    ) -> Result<Vec<LogBatch>, StorageError> {
        self.read(|reader| reader.log(board, after, bytes_max))
    }

    /// Who is known to have changed the board: see [`Reader::authors`]. Those who are queued may not be among them yet.
    pub fn authors_of(&self, board: BoardId) -> Result<Vec<Author>, StorageError> {
        self.read(|reader| reader.authors(board))
    }

    /// What metrics show.
    pub fn counts(&self) -> LogCounts {
        LogCounts {
            queued: self.shared.queued() as u64,
            queued_bytes: self.shared.queued_bytes.load(Ordering::SeqCst) as u64,
            ..self.shared.counters.read()
        }
    }

    /// What is the matter while writing fails, for health checks; `None` while all is well.
    pub fn failing(&self) -> Option<String> {
        lock(&self.shared.failing).clone()
    }

    pub(super) fn refuse_from_now_on(&self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
    }

    pub(super) fn close_readers(&self) {
        for reader in &self.shared.readers {
            *lock(reader) = None;
        }
    }

    /// Requests of every kind in the queue.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.sender.len()
    }

    fn check_writing(&self) -> Result<(), StorageError> {
        self.failing()
            .map_or(Ok(()), |cause| Err(StorageError::Failing { cause }))
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&mut dyn Reader) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let readers = &self.shared.readers;
        let free = readers.iter().find_map(|reader| reader.try_lock().ok());
        let mut reader = free.unwrap_or_else(|| {
            let next = self.shared.next_reader.fetch_add(1, Ordering::Relaxed);
            lock(&readers[next % readers.len()])
        });
        match reader.as_deref_mut() {
            Some(reader) => read(reader),
            None => Err(StorageError::Stopped),
        }
    }

    fn ask<T>(
        &self,
        request: impl FnOnce(Sender<Result<T, StorageError>>) -> Request,
    ) -> Result<T, StorageError> {
        let wait = self.shared.limits.answer_wait;
        self.begin(request, wait)?.wait(wait)
    }

    /// Puts a question into the queue, waiting so long for a place in it.
    fn begin<T>(
        &self,
        request: impl FnOnce(Sender<Result<T, StorageError>>) -> Request,
        wait: Duration,
    ) -> Result<Answer<T>, StorageError> {
        if self.shared.stopped.load(Ordering::SeqCst) {
            return Err(StorageError::Stopped);
        }
        let (answer, answers) = bounded(1);
        match self.sender.send_timeout(request(answer), wait) {
            Ok(()) => Ok(Answer(answers)),
            Err(SendTimeoutError::Timeout(_)) => Err(StorageError::NoAnswer),
            Err(SendTimeoutError::Disconnected(_)) => Err(StorageError::Stopped),
        }
    }
}
