//! The past of boards, from the store alone: rooms go on meanwhile and know nothing of who looks back.
//!
//! Owns what is kept of it in memory, both kinds bounded: chronicles, which are read on from where they stopped, and the
//! boards at the starts of segments. What a moment is and how a board is folded is the simulation's; who may ask, and
//! how often, the HTTP side's. Everything here blocks: reads of the store, and folds of up to some 50 ms.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chalkboard_shared::past::Timeline;
use chalkboard_shared::{BoardId, Position, Tick};
use chalkboard_simulation::{
    Chronicle, Fold, Look, RecordError, RecoveryError, Stretch, difference, encode_past,
    moment_after, write_segment,
};

use crate::storage::{LogBatch, LogHandle, StorageError};

/// Chronicles that are kept, at up to some 6 MB each; the one not asked for longest goes first.
const CHRONICLES_MAX: usize = 16;
/// Bytes of boards that are kept.
const BOARDS_BYTES_MAX: usize = 64 << 20;
/// Bytes of the log that are read at once: the store's reader is shared.
const READ_BYTES_MAX: usize = 1 << 20;

/// Why the past can't be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PastError {
    #[error("there is no such part of the board's history; ask for the time line anew")]
    NotThere,
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("a record of the log can't be read ({0}); `chalkboard doctor` says what is affected")]
    Record(#[from] RecordError),
    #[error("the board can't be brought back ({0}); `chalkboard doctor` says what is affected")]
    Recovery(#[from] RecoveryError),
}

/// A segment, ready to be sent.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) bytes: Bytes,
    /// It never changes.
    pub(crate) is_final: bool,
}

/// The past of all boards. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Pasts {
    log: LogHandle,
    kept: Arc<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The one asked for last at the end.
    chronicles: Mutex<Vec<(BoardId, Arc<Mutex<Chronicle>>)>>,
    boards: Mutex<Boards>,
}

/// Boards at the starts of segments; the one made first goes first.
#[derive(Debug, Default)]
struct Boards {
    encoded: HashMap<(BoardId, Position), Bytes>,
    order: VecDeque<(BoardId, Position)>,
    bytes: usize,
}

/// What these locks protect is whole at any time, so a panic while one is held spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Boards {
    fn keep(&mut self, key: (BoardId, Position), bytes: &Bytes) {
        if bytes.len() > BOARDS_BYTES_MAX || self.encoded.insert(key, bytes.clone()).is_some() {
            return;
        }
        self.order.push_back(key);
        self.bytes += bytes.len();
        while self.bytes > BOARDS_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            self.bytes -= self.encoded.remove(&oldest).map_or(0, |bytes| bytes.len());
        }
    }
}

impl Pasts {
    pub(crate) fn new(log: LogHandle) -> Self {
        Self {
            log,
            kept: Arc::default(),
        }
    }

    /// The board's time line with a graph of so many parts.
    pub(crate) fn timeline(&self, board: BoardId, buckets: usize) -> Result<Timeline, PastError> {
        let authors = self.log.authors_of(board)?.into_iter();
        let names: HashMap<_, _> = authors
            .map(|author| (author.actor, (author.name, author.color)))
            .collect();
        self.with_chronicle(board, |chronicle| {
            chronicle.timeline(buckets, |actor| names.get(&actor).cloned())
        })
    }

    /// The ops of a segment.
    pub(crate) fn segment(&self, board: BoardId, index: u32) -> Result<Told, PastError> {
        let stretch = self.stretch(board, index)?;
        let mut records = Vec::new();
        self.read(board, stretch.after, |batch| {
            let is_in = stretch.end.is_none_or(|end| batch.first <= end);
            if is_in {
                records.push(batch.record);
            }
            Ok(is_in)
        })?;
        Ok(Told {
            bytes: write_segment(index, stretch, &records)?,
            is_final: stretch.end.is_some(),
        })
    }

    /// The board at the start of a segment, which never changes.
    pub(crate) fn board(&self, board: BoardId, index: u32) -> Result<Bytes, PastError> {
        let after = self.stretch(board, index)?.after;
        let key = (board, after);
        if let Some(bytes) = lock(&self.kept.boards).encoded.get(&key) {
            return Ok(bytes.clone());
        }
        let bytes = encode_past(&self.fold(board, after)?);
        lock(&self.kept.boards).keep(key, &bytes);
        Ok(bytes)
    }

    /// What would bring back the board at a tick.
    pub(crate) fn difference(&self, board: BoardId, tick: Tick) -> Result<Bytes, PastError> {
        let index = self.with_chronicle(board, |chronicle| chronicle.segment_at(tick))?;
        let (mut then, mut now, mut moment) = match index {
            // Before the first tick there was an empty board.
            None => (Some(Look::default()), Fold::default(), None),
            Some(index) => {
                let stretch = self.stretch(board, index)?;
                let start = self.fold(board, stretch.after)?;
                (None, start, Some(stretch.before))
            }
        };
        self.read(board, now.position(), |batch| {
            if let Some(before) = moment {
                let next = moment_after(before, &batch.record)?;
                moment = Some(next);
                if next.tick > tick && then.is_none() {
                    then = Some(Look::of(&now));
                }
            }
            now.follow(&batch.record)?;
            Ok(true)
        })?;
        let then = then.unwrap_or_else(|| Look::of(&now));
        Ok(difference(&then, &now).encode())
    }

    fn stretch(&self, board: BoardId, index: u32) -> Result<Stretch, PastError> {
        self.with_chronicle(board, |chronicle| chronicle.segment(index))?
            .ok_or(PastError::NotThere)
    }

    /// The board at a position at which a record ends.
    fn fold(&self, board: BoardId, position: Position) -> Result<Fold, PastError> {
        if position == Position(0) {
            return Ok(Fold::default());
        }
        let stored = self.log.load_at(board, position)?;
        let records = stored.tail.into_iter().map(|batch| batch.record);
        Ok(Fold::new(stored.snapshot, records)?)
    }

    /// Asks a board's chronicle, brought up to what is stored.
    fn with_chronicle<T>(
        &self,
        board: BoardId,
        ask: impl FnOnce(&Chronicle) -> T,
    ) -> Result<T, PastError> {
        let chronicle = {
            let mut chronicles = lock(&self.kept.chronicles);
            let found = chronicles.iter().position(|(of, _)| *of == board);
            let entry = found.map_or_else(|| (board, Arc::default()), |at| chronicles.remove(at));
            chronicles.push(entry.clone());
            if chronicles.len() > CHRONICLES_MAX {
                chronicles.remove(0);
            }
            entry.1
        };
        let mut chronicle = lock(&chronicle);
        self.read(board, chronicle.position(), |batch| {
            chronicle.extend(&batch.record)?;
            Ok(true)
        })?;
        Ok(ask(&chronicle))
    }

    /// Reads the log after a position, batch by batch, for as long as more is wanted.
    fn read(
        &self,
        board: BoardId,
        mut after: Position,
        mut take: impl FnMut(LogBatch) -> Result<bool, PastError>,
    ) -> Result<(), PastError> {
        loop {
            let batches = self.log.log(board, after, READ_BYTES_MAX)?;
            let Some(last) = batches.last() else {
                return Ok(());
            };
            after = last.last;
            for batch in batches {
                if !take(batch)? {
                    return Ok(());
                }
            }
        }
    }
}
