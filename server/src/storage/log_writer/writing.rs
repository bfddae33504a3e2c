//! The thread's side of the log writer: take what waits, commit it as one, tell who waits for it.
//!
//! Owns the order (that of the queue, always), the grouping, and what happens when the store fails. A batch leaves here
//! in one of three ways: durable, refused with [`Trouble::BoardRefused`], or named by [`StopError::Unsaved`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chalkboard_shared::id::{ActorId, BoardId, Position};
use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError, select};

use super::handle::Shared;
use super::{Request, StopError, Trouble, bytes_of_authors};
use crate::storage::repo::{Author, LogBatch, Repository, StorageError};

/// Attempts to write that are made after the stop was asked for.
const STOP_ATTEMPTS: u32 = 3;

/// How long a stopping thread waits at a time for a request that was let in and is not in the queue yet: between those
/// two a caller only takes a few instructions.
const STRAGGLER_WAIT: Duration = Duration::from_millis(1);

pub(super) struct Writing<R, D, T> {
    repository: R,
    shared: Arc<Shared>,
    requests: Receiver<Request>,
    stops: Receiver<()>,
    on_durable: D,
    on_trouble: T,
    /// Authors that were taken out of the queue and are written behind the group in progress, each once.
    authors: BTreeMap<BoardId, BTreeMap<ActorId, Author>>,
    stopping: bool,
}

impl<R: Repository, D: Fn(BoardId, Position), T: Fn(Trouble)> Writing<R, D, T> {
    pub(super) fn new(
        repository: R,
        shared: Arc<Shared>,
        requests: Receiver<Request>,
        stops: Receiver<()>,
        on_durable: D,
        on_trouble: T,
    ) -> Self {
        Self {
            repository,
            shared,
            requests,
            stops,
            on_durable,
            on_trouble,
            authors: BTreeMap::new(),
            stopping: false,
        }
    }

    pub(super) fn run(mut self) -> Result<(), StopError> {
        // The first request behind a group that could not be part of it.
        let mut after = None;
        while let Some(request) = after.take().or_else(|| self.next()) {
            match request {
                Request::Append(batch) => {
                    let mut group = vec![batch];
                    after = self.gather(&mut group);
                    if let Err(cause) = self.commit(&mut group) {
                        return Err(self.give_up(group, after, cause));
                    }
                    self.put_authors();
                }
                Request::Authors { board, authors } => {
                    self.note_authors(board, authors);
                    let mut group = Vec::new();
                    after = self.gather(&mut group);
                    if let Err(cause) = self.commit(&mut group) {
                        return Err(self.give_up(group, after, cause));
                    }
                    self.put_authors();
                }
                Request::Snapshot {
                    board,
                    position,
                    snapshot,
                } => self.put_snapshot(board, position, snapshot),
                // Whoever asked may have stopped waiting.
                Request::CreateBoard { record, answer } => {
                    let _ = answer.send(self.repository.create_board(&record));
                }
                Request::OpenEpoch { board, answer } => {
                    let _ = answer.send(self.repository.open_epoch(board));
                }
                Request::Flush { answer } => {
                    let _ = answer.send(Ok(()));
                }
            }
        }
        if let Err(error) = self.repository.checkpoint() {
            tracing::warn!(%error, "all is saved, but the write-ahead log stays beside the database; keep both files");
        }
        Ok(())
    }

    /// The next request; `None` when the thread is to stop and every request that was let in has been taken.
    fn next(&mut self) -> Option<Request> {
        if !self.stopping {
            let (requests, stops) = (&self.requests, &self.stops);
            select! {
                recv(requests) -> request => if let Ok(request) = request { return Some(request) },
                recv(stops) -> _ => {}
            }
            self.stopping = true;
        }
        loop {
            match self.requests.recv_timeout(STRAGGLER_WAIT) {
                Ok(request) => return Some(request),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) if self.shared.queued() == 0 => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Adds the batches that wait to the group, up to its bounds or to the first other request, which it returns.
    /// Authors make no end: many come at once, and must not cost the batches between them a commit each.
    fn gather(&mut self, group: &mut Vec<LogBatch>) -> Option<Request> {
        let limits = &self.shared.limits;
        let (batches_max, bytes_max) = (limits.group_batches, limits.group_bytes);
        let mut bytes = bytes_of(group);
        let mut taken = group.len();
        while taken < batches_max && bytes < bytes_max {
            taken += 1;
            match self.requests.try_recv() {
                Ok(Request::Authors { board, authors }) => self.note_authors(board, authors),
                Ok(Request::Append(batch)) => {
                    bytes += batch.record.len();
                    group.push(batch);
                }
                Ok(other) => return Some(other),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        None
    }

    /// Makes the group durable and reports it, however often that must be tried. An error only when stopping; the
    /// group then holds what was not written.
    fn commit(&mut self, group: &mut Vec<LogBatch>) -> Result<(), StorageError> {
        let mut backoff = self.shared.limits.backoff_min;
        let mut attempts_left = STOP_ATTEMPTS;
        let mut failing = false;
        while !group.is_empty() {
            let begun = Instant::now();
            let Err(error) = self.repository.append(group) else {
                if failing {
                    self.recovered();
                }
                self.durable(group, begun.elapsed());
                return Ok(());
            };
            if self.refuse(group, &error) {
                continue;
            }
            self.shared.counters.failed();
            self.failing(&error, failing);
            failing = true;
            if self.stopping {
                attempts_left -= 1;
                if attempts_left == 0 {
                    return Err(error);
                }
            }
            self.pause(backoff);
            backoff = (backoff * 2).min(self.shared.limits.backoff_max);
        }
        if failing {
            self.recovered();
        }
        Ok(())
    }

    fn durable(&self, group: &mut Vec<LogBatch>, took: Duration) {
        let bytes = bytes_of(group);
        self.shared.counters.committed(group.len(), bytes, took);
        let ends: BTreeMap<_, _> = group
            .iter()
            .map(|batch| (batch.board, batch.last))
            .collect();
        for (board, position) in ends {
            (self.on_durable)(board, position);
        }
        self.shared.free(group.len(), bytes);
        group.clear();
    }

    /// Takes out of the group what the store will never take, if that is what the error says: a board whose batches
    /// don't continue its log must not keep all others from being saved.
    fn refuse(&self, group: &mut Vec<LogBatch>, error: &StorageError) -> bool {
        let (from, board) = match *error {
            StorageError::OutOfOrder { index, board, .. } => (index, board),
            StorageError::UnknownBoard { board } => (0, board),
            _ => return false,
        };
        let mut index = 0;
        let refused: Vec<_> = group
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

    fn failing(&self, error: &StorageError, known: bool) {
        let message = error.to_string();
        self.shared.set_failing(Some(message.clone()));
        if !known {
            tracing::error!(%error, "changes can't be saved; they are kept and tried again until they can");
            (self.on_trouble)(Trouble::Failing { message });
        }
    }

    fn recovered(&self) {
        self.shared.set_failing(None);
        tracing::info!("changes are saved again");
        (self.on_trouble)(Trouble::Recovered);
    }

    /// Waits before the next attempt; a stop ends the first such wait early.
    fn pause(&mut self, pause: Duration) {
        if self.stopping {
            std::thread::sleep(pause);
        } else if self.stops.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            self.stopping = true;
        }
    }

    fn put_snapshot(&mut self, board: BoardId, position: Position, snapshot: Bytes) {
        let size = snapshot.len();
        let stored = self.repository.put_snapshot(board, position, snapshot);
        if let Err(error) = &stored {
            tracing::warn!(%board, position = position.0, %error, "a snapshot could not be stored; its log is kept");
        }
        self.shared.counters.snapshot(stored.is_ok());
        self.shared.free(1, size);
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

    /// Empties the queue and names everything in it that is not saved.
    fn give_up(
        mut self,
        group: Vec<LogBatch>,
        after: Option<Request>,
        cause: StorageError,
    ) -> StopError {
        let mut unsaved = BTreeMap::new();
        self.abandon(&mut unsaved, group);
        if let Some(request) = after {
            self.abandon_request(&mut unsaved, request);
        }
        while let Some(request) = self.next() {
            self.abandon_request(&mut unsaved, request);
        }
        StopError::Unsaved { unsaved, cause }
    }

    fn abandon_request(
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
