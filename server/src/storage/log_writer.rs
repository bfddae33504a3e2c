//! The log writer: group commit, off the tick.
//!
//! Owns the one thread that writes to the [`Repository`], the bounded queue before it, and its start and stop. Rooms put
//! batches in through a [`LogHandle`] and go on; whatever waits becomes one transaction, so that a slow disk makes
//! groups larger and not the queue longer. Only when that is synced is a batch reported as durable. It does not know
//! rooms or sessions: they give it two functions to call.
//!
//! What can't be written is kept, in order, and tried again until it can be; the queue's bound is then the rooms'
//! backpressure. Neighbours: `handle` the callers' side, `writing` what is done in a turn, `writer_thread` what waits
//! between turns, `counts` what metrics show.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use chalkboard_shared::id::{BoardId, Position};
use crossbeam_channel::{Sender, bounded};

use super::repo::{Author, BoardRecord, LogBatch, Opened, PIECE_BYTES, Repository, StorageError};

mod counts;
mod handle;
mod writer_thread;
mod writing;

#[cfg(test)]
mod tests;

pub use counts::LogCounts;
pub use handle::{Answer, LogHandle, Refusal};
pub use writing::{Turn, Writing};

use handle::Shared;
use writer_thread::WriterThread;

/// Bounds of a log writer. The defaults are for one machine with a disk of its own; tests choose smaller ones.
#[derive(Debug, Clone)]
pub struct LogLimits {
    /// Requests that wait at most. 16,384 batches are 8 s of 500 rooms that each write four times a second, in 1.3 MB.
    pub queue_requests: usize,
    /// Bytes of records and snapshots that wait, or are being written, at most: 64 MiB. One request alone is taken
    /// whatever its size, up to [`RECORD_BYTES_MAX`](super::repo::RECORD_BYTES_MAX), so that none can be stuck.
    pub queue_bytes: usize,
    /// Batches in one transaction at most.
    pub group_batches: usize,
    /// Bytes of records in one transaction at which no more is added: 8 MiB, some tens of milliseconds of a disk's time,
    /// so that a backlog is reported as durable in steps.
    pub group_bytes: usize,
    /// Bytes of a snapshot that are written between two groups: [`PIECE_BYTES`].
    pub piece_bytes: usize,
    /// Pause after the first failed attempt; doubles with each further one.
    pub backoff_min: Duration,
    /// Longest pause between attempts.
    pub backoff_max: Duration,
    /// How long a caller waits for an answer from the thread.
    pub answer_wait: Duration,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            queue_requests: 16_384,
            queue_bytes: 64 << 20,
            group_batches: 4_096,
            group_bytes: 8 << 20,
            piece_bytes: PIECE_BYTES,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(2),
            answer_wait: Duration::from_secs(10),
        }
    }
}

/// What the writer tells the server when something is wrong, or right again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// Nothing can be written at the moment. Told once; everything is kept and tried again.
    Failing {
        /// What is the matter and what to do about it, for people.
        message: String,
    },
    /// Writing works again, and what waited is being written.
    Recovered,
    /// The board's batches from this one on don't fit its log and were **not** written: its room has gone wrong. Drop
    /// the room and load the board again; clients then resend what was not saved. Other boards are not affected.
    BoardRefused {
        /// The board.
        board: BoardId,
        /// What is the matter, for people.
        message: String,
    },
}

/// The thread that makes accepted ops durable. Dropping it stops it, as [`LogWriter::stop`] does.
#[derive(Debug)]
pub struct LogWriter {
    handle: LogHandle,
    stop: Sender<()>,
    thread: Option<JoinHandle<Result<(), StopError>>>,
}

impl LogWriter {
    /// Starts the thread with the default [`LogLimits`].
    ///
    /// `on_durable` is told the position through which a board is durable: once per board and commit, after the sync,
    /// always rising. `on_trouble` is told when writing fails and when it works again. Both are called on the thread,
    /// which waits for them: they must not block, nor call back into the handle.
    pub fn start(
        repository: impl Repository + 'static,
        on_durable: impl Fn(BoardId, Position) + Send + 'static,
        on_trouble: impl Fn(Trouble) + Send + 'static,
    ) -> Result<Self, StorageError> {
        Self::start_with(LogLimits::default(), repository, on_durable, on_trouble)
    }

    /// Like [`LogWriter::start`], with other bounds.
    pub fn start_with(
        limits: LogLimits,
        repository: impl Repository + 'static,
        on_durable: impl Fn(BoardId, Position) + Send + 'static,
        on_trouble: impl Fn(Trouble) + Send + 'static,
    ) -> Result<Self, StorageError> {
        let (writing, handle) = Writing::new(limits, repository, on_durable, on_trouble)?;
        let (stop, stops) = bounded(1);
        let watched = writing.shared.clone();
        let thread = thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || {
                let _told = DeathTold(watched);
                WriterThread::new(writing, stops).run()
            })
            .map_err(StorageError::NoThread)?;
        Ok(Self {
            handle,
            stop,
            thread: Some(thread),
        })
    }

    /// A handle for rooms and requests. Cheap to clone; it may outlive the writer and then refuses everything.
    pub fn handle(&self) -> LogHandle {
        self.handle.clone()
    }

    /// Takes nothing more, writes all that was taken, puts everything into one file and ends the thread. Blocks until
    /// then. [`StopError`] says what could not be written.
    pub fn stop(mut self) -> Result<(), StopError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), StopError> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        self.handle.refuse_from_now_on();
        // Full or gone only where the thread knows already.
        let _ = self.stop.try_send(());
        let ended = thread.join().unwrap_or(Err(StopError::Died));
        self.handle.close_readers();
        ended
    }
}

/// Shows in [`LogHandle::failing`] that the thread has died, if it does so by a panic.
struct DeathTold(Arc<Shared>);

impl Drop for DeathTold {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.set_failing(Some(StopError::Died.to_string()));
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            tracing::error!(%error, "the log writer did not save everything");
        }
    }
}

/// Why not everything was durable when the writer stopped.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The last attempts to write failed too.
    #[error(
        "the last changes of {} could not be saved: {cause}. Everything before them is safe; whoever drew them and \
         still has the board open sends them again when the server is back",
        Listed(unsaved)
    )]
    Unsaved {
        /// For each board the first and the last position that was not saved.
        unsaved: BTreeMap<BoardId, (Position, Position)>,
        /// What the last attempt failed with.
        cause: StorageError,
    },
    /// The thread ended by a panic.
    #[error(
        "the thread that saves changes has died, so the last changes may not be saved; everything that was shown as \
         saved is. Start the server again, and report the panic that the log shows before this"
    )]
    Died,
}

/// Boards that a message names before it counts the rest.
const BOARDS_LISTED_MAX: usize = 8;

struct Listed<'a>(&'a BTreeMap<BoardId, (Position, Position)>);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (board, (first, last))) in self.0.iter().take(BOARDS_LISTED_MAX).enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(
                f,
                "{comma}board {board} (positions {} to {})",
                first.0, last.0
            )?;
        }
        match self.0.len().saturating_sub(BOARDS_LISTED_MAX) {
            0 => Ok(()),
            more => write!(f, " and {more} more boards"),
        }
    }
}

/// What waits in the queue.
#[derive(Debug)]
enum Request {
    Append(LogBatch),
    Snapshot {
        board: BoardId,
        position: Position,
        snapshot: Bytes,
    },
    CreateBoard {
        record: BoardRecord,
        answer: Sender<Result<(), StorageError>>,
    },
    OpenEpoch {
        board: BoardId,
        answer: Sender<Result<Opened, StorageError>>,
    },
    Authors {
        board: BoardId,
        authors: Vec<Author>,
    },
    Flush {
        answer: Sender<Result<(), StorageError>>,
    },
}

impl Request {
    /// Bytes that it holds.
    fn size(&self) -> usize {
        match self {
            Self::Append(batch) => batch.record.len(),
            Self::Snapshot { snapshot, .. } => snapshot.len(),
            Self::Authors { authors, .. } => bytes_of_authors(authors),
            Self::CreateBoard { .. } | Self::OpenEpoch { .. } | Self::Flush { .. } => 0,
        }
    }
}

/// Bytes that authors count in the queue.
fn bytes_of_authors(authors: &[Author]) -> usize {
    authors
        .iter()
        .map(|author| size_of::<Author>() + author.name.len())
        .sum()
}
