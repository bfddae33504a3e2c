//! What the log writer does, turn by turn: take what waits, commit it as one, tell who waits for it.
//!
//! Owns the order (that of the queue, always), the grouping, and what happens when the store fails. A batch leaves here
//! in one of three ways: durable, refused with [`Trouble::BoardRefused`], or named by [`StopError::Unsaved`]. It waits
//! for nothing: whoever steps it waits between turns, in the server the `writer_thread`, in the tests' simulation
//! virtual time.
//!
//! [`StopError::Unsaved`]: super::StopError::Unsaved

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chalkboard_shared::id::{ActorId, BoardId, Position};
#[cfg(feature = "sabotage")]
use chalkboard_shared::sabotage::{Fault, is};
use crossbeam_channel::{Receiver, bounded};

use super::handle::{READERS, Shared};
use super::{LogHandle, LogLimits, Request, Trouble, bytes_of_authors};
use crate::storage::repo::{Author, LogBatch, Repository, SnapshotWrite, StorageError};

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Something was done; there may be more to do.
    Done,
    /// Nothing waits.
    Idle,
    /// The store failed, and what it was given is kept. The next turn tries again: take it after this pause.
    Failed(Duration),
}

/// The log writer without its thread: does one thing a [`Writing::turn`], and never waits but for the store.
pub struct Writing<R, D, T> {
    repository: R,
    pub(super) shared: Arc<Shared>,
    pub(super) requests: Receiver<Request>,
    on_durable: D,
    on_trouble: T,
    /// What is to be committed as one; kept from turn to turn while the store fails.
    group: Vec<LogBatch>,
    /// The first request behind the group, that could not be part of it.
    after: Option<Request>,
    /// Authors that were taken out of the queue and are written behind the group in progress, each once.
    authors: BTreeMap<BoardId, BTreeMap<ActorId, Author>>,
    /// Snapshots that are being written, the first of them now. They count in the queue's bounds until they are stored.
    snapshots: VecDeque<SnapshotWrite>,
    /// A request was served since the last piece of a snapshot was written.
    is_piece_due: bool,
    /// What the last attempt failed with, while the store fails.
    cause: Option<StorageError>,
    backoff: Duration,
}

impl<R, D, T> std::fmt::Debug for Writing<R, D, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writing")
            .field("group", &self.group.len())
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

impl<R: Repository, D: Fn(BoardId, Position), T: Fn(Trouble)> Writing<R, D, T> {
    /// A writer that its caller steps, and the handle that gives it work. The two functions are as in
    /// [`LogWriter::start`](super::LogWriter::start). What the handle waits for never comes while nobody takes turns:
    /// use [`LogHandle::begin_open_epoch`] and what never blocks.
    ///
    /// # Errors
    /// The store gives no reader.
    pub fn new(
        limits: LogLimits,
        repository: R,
        on_durable: D,
        on_trouble: T,
    ) -> Result<(Self, LogHandle), StorageError> {
        let readers = (0..READERS)
            .map(|_| repository.reader())
            .collect::<Result<Vec<_>, _>>()?;
        let (sender, requests) = bounded(limits.queue_requests);
        let backoff = limits.backoff_min;
        let shared = Arc::new(Shared::new(limits, readers));
        let handle = LogHandle::new(sender, shared.clone());
        let writing = Self {
            repository,
            shared,
            requests,
            on_durable,
            on_trouble,
            group: Vec::new(),
            after: None,
            authors: BTreeMap::new(),
            snapshots: VecDeque::new(),
            is_piece_due: false,
            cause: None,
            backoff,
        };
        Ok((writing, handle))
    }

    /// Does the next thing: one commit at the most, or one attempt at it.
    pub fn turn(&mut self) -> Turn {
        if !self.group.is_empty() {
            return self.attempt();
        }
        // In turns: whoever draws waits for one piece at the most, and a snapshot for one group.
        if self.is_piece_due && self.put_piece() {
            return Turn::Done;
        }
        let waiting = self.after.take().or_else(|| self.requests.try_recv().ok());
        let Some(request) = waiting else {
            return if self.put_piece() {
                Turn::Done
            } else {
                Turn::Idle
            };
        };
        self.is_piece_due = true;
        match request {
            Request::Append(batch) => {
                self.group.push(batch);
                self.after = self.gather();
                return self.attempt();
            }
            Request::Authors { board, authors } => {
                self.note_authors(board, authors);
                self.after = self.gather();
                return self.attempt();
            }
            Request::Snapshot {
                board,
                position,
                snapshot,
            } => self.snapshots.push_back(SnapshotWrite::in_pieces_of(
                self.shared.limits.piece_bytes,
                board,
                position,
                snapshot,
            )),
            // Whoever asked may have stopped waiting.
            Request::CreateBoard { record, answer } => {
                let _ = answer.send(self.repository.create_board(&record));
            }
            Request::OpenEpoch { board, answer } => {
                let _ = answer.send(self.repository.open_epoch(board));
            }
            Request::Flush { answer } => {
                while self.put_piece() {}
                let _ = answer.send(Ok(()));
            }
        }
        Turn::Done
    }

    /// Gives it a request that was taken out of its queue, when it was idle.
    pub(super) fn take_up(&mut self, request: Request) {
        debug_assert!(self.after.is_none(), "it was idle");
        self.after = Some(request);
    }

    /// Everything is written: puts it into one file.
    pub(super) fn checkpoint(&mut self) {
        if let Err(error) = self.repository.checkpoint() {
            tracing::warn!(%error, "all is saved, but the write-ahead log stays beside the database; keep both files");
        }
    }

    /// Adds the batches that wait to the group, up to its bounds or to the first other request, which it returns.
    /// Authors make no end: many come at once, and must not cost the batches between them a commit each.
    fn gather(&mut self) -> Option<Request> {
        let limits = &self.shared.limits;
        let (batches_max, bytes_max) = (limits.group_batches, limits.group_bytes);
        let mut bytes = bytes_of(&self.group);
        let mut taken = self.group.len();
        while taken < batches_max && bytes < bytes_max {
            taken += 1;
            match self.requests.try_recv().ok()? {
                Request::Authors { board, authors } => self.note_authors(board, authors),
                Request::Append(batch) => {
                    bytes += batch.record.len();
                    self.group.push(batch);
                }
                other => return Some(other),
            }
        }
        None
    }

    /// Tries to make the group durable, and reports it then.
    fn attempt(&mut self) -> Turn {
        while !self.group.is_empty() {
            #[cfg(feature = "sabotage")]
            if is(Fault::ToldTooEarly) {
                self.tell_durable();
            }
            let begun = Instant::now();
            let Err(error) = self.repository.append(&self.group) else {
                self.recovered();
                self.durable(begun.elapsed());
                break;
            };
            if self.refuse(&error) {
                continue;
            }
            self.shared.counters.failed();
            self.failing(error);
            let pause = self.backoff;
            self.backoff = (pause * 2).min(self.shared.limits.backoff_max);
            return Turn::Failed(pause);
        }
        self.recovered();
        self.put_authors();
        Turn::Done
    }

    fn durable(&mut self, took: Duration) {
        let bytes = bytes_of(&self.group);
        self.shared
            .counters
            .committed(self.group.len(), bytes, took);
        self.tell_durable();
        self.shared.free(self.group.len(), bytes);
        self.group.clear();
    }

    fn tell_durable(&self) {
        let ends: BTreeMap<_, _> = self
            .group
            .iter()
            .map(|batch| (batch.board, batch.last))
            .collect();
        for (board, position) in ends {
            (self.on_durable)(board, position);
        }
    }

    /// Takes out of the group what the store will never take, if that is what the error says: a board whose batches
    /// don't continue its log must not keep all others from being saved.
    fn refuse(&mut self, error: &StorageError) -> bool {
        let (from, board) = match *error {
            StorageError::OutOfOrder { index, board, .. } => (index, board),
            StorageError::UnknownBoard { board } => (0, board),
            _ => return false,
        };
        let mut index = 0;
        let refused: Vec<_> = self
            .group
            .extract_if(.., |batch| {
                index += 1;
                index > from && batch.board == board
            })
            .collect();
        if refused.is_empty() {
            return false;
        }
        tracing::error!(%board, batches = refused.len(), %error, "batches of a board were refused and are not saved");
        self.shared.counters.refused(refused.len());
        self.shared.free(refused.len(), bytes_of(&refused));
        (self.on_trouble)(Trouble::BoardRefused {
            board,
            message: error.to_string(),
        });
        true
    }

    fn failing(&mut self, error: StorageError) {
        let message = error.to_string();
        self.shared.set_failing(Some(message.clone()));
        if self.cause.is_none() {
            tracing::error!(%error, "changes can't be saved; they are kept and tried again until they can");
            (self.on_trouble)(Trouble::Failing { message });
        }
        self.cause = Some(error);
    }

    fn recovered(&mut self) {
        if self.cause.take().is_some() {
            self.backoff = self.shared.limits.backoff_min;
            self.shared.set_failing(None);
            tracing::info!("changes are saved again");
            (self.on_trouble)(Trouble::Recovered);
        }
    }

    /// Writes the next piece of a snapshot, if there is any.
    fn put_piece(&mut self) -> bool {
        self.is_piece_due = false;
        let Some(write) = self.snapshots.front_mut() else {
            return false;
        };
        let stored = self.repository.put_piece(write);
        if let Ok(false) = stored {
            return true;
        }
        let (board, position, size) = (write.board(), write.position(), write.snapshot().len());
        if let Err(error) = &stored {
            tracing::warn!(%board, position = position.0, %error, "a snapshot could not be stored; its log is kept");
        }
        self.snapshots.pop_front();
        self.shared.counters.snapshot(stored.is_ok());
        self.shared.free(1, size);
        true
    }

    fn note_authors(&mut self, board: BoardId, authors: Vec<Author>) {
        self.shared.free(1, bytes_of_authors(&authors));
        self.authors
            .entry(board)
            .or_default()
            .extend(authors.into_iter().map(|author| (author.actor, author)));
    }

    fn put_authors(&mut self) {
        while let Some((board, authors)) = self.authors.pop_first() {
            let authors: Vec<Author> = authors.into_values().collect();
            if let Err(error) = self.repository.put_authors(board, &authors) {
                tracing::warn!(%board, count = authors.len(), %error, "names of authors could not be stored; their drawings are");
            }
        }
    }

    /// Forgets what is in progress and names what of it is not saved; answers what the last attempt failed with.
    pub(super) fn give_up(
        &mut self,
        unsaved: &mut BTreeMap<BoardId, (Position, Position)>,
    ) -> Option<StorageError> {
        let group = std::mem::take(&mut self.group);
        self.abandon(unsaved, group);
        if let Some(request) = self.after.take() {
            self.abandon_request(unsaved, request);
        }
        for write in self.snapshots.drain(..) {
            self.shared.free(1, write.snapshot().len());
        }
        self.cause.take()
    }

    pub(super) fn abandon_request(
        &self,
        unsaved: &mut BTreeMap<BoardId, (Position, Position)>,
        request: Request,
    ) {
        match request {
            Request::Append(batch) => self.abandon(unsaved, vec![batch]),
            Request::Snapshot { snapshot, .. } => self.shared.free(1, snapshot.len()),
            Request::Authors { authors, .. } => self.shared.free(1, bytes_of_authors(&authors)),
            // Their answers' channel closes, which says that the writer has stopped.
            Request::CreateBoard { .. } | Request::OpenEpoch { .. } | Request::Flush { .. } => {}
        }
    }

    fn abandon(
        &self,
        unsaved: &mut BTreeMap<BoardId, (Position, Position)>,
        batches: Vec<LogBatch>,
    ) {
        self.shared.free(batches.len(), bytes_of(&batches));
        for batch in batches {
            unsaved
                .entry(batch.board)
                .or_insert((batch.first, batch.last))
                .1 = batch.last;
        }
    }
}

fn bytes_of(batches: &[LogBatch]) -> usize {
    batches.iter().map(|batch| batch.record.len()).sum()
}
