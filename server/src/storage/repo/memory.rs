//! A repository in memory: for tests, and for servers whose boards may be gone when they stop.
//!
//! Follows the same rules of order as [`Sqlite`](super::Sqlite) and keeps nothing beyond the process. Its size is
//! bounded only by what is appended, as is that of the file in the other one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chalkboard_shared::id::{ActorId, BoardId, EpochStart, Position};

use super::{
    AUTHORS_KEPT, Author, BoardRecord, EPOCHS_KEPT, LogBatch, Opened, Reader, Repository,
    SnapshotWrite, StorageError, StoredBoard, check_contiguous, check_follows, check_log,
    check_size, thinning,
};

/// A store in memory. Clones see the same boards.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    boards: Arc<Mutex<HashMap<BoardId, Board>>>,
}

#[derive(Debug)]
struct Board {
    record: BoardRecord,
    epochs: VecDeque<EpochStart>,
    authors: BTreeMap<ActorId, Author>,
    log: Vec<LogBatch>,
    snapshots: BTreeMap<Position, Bytes>,
}

impl Board {
    fn end(&self) -> Position {
        self.log.last().map_or(Position(0), |batch| batch.last)
    }

    fn stored_from(
        &self,
        snapshot: Option<(&Position, &Bytes)>,
        through: Position,
    ) -> Result<StoredBoard, StorageError> {
        let snapshot = snapshot.map(|(position, bytes)| (*position, bytes.clone()));
        let from = snapshot
            .as_ref()
            .map_or(Position(0), |(position, _)| *position);
        let after = |position| self.log.partition_point(|batch| batch.first <= position);
        let tail = self.log[after(from)..after(through).max(after(from))].to_vec();
        check_contiguous(self.record.id, from, &tail)?;
        Ok(StoredBoard { snapshot, tail })
    }
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes over what another store holds; readers of this one see it.
    pub(super) fn replace_by(&self, other: Self) {
        let boards = std::mem::take(&mut *other.lock());
        *self.lock() = boards;
    }

    /// Checks that a snapshot may be stored where it says.
    pub(super) fn check_placed(&self, write: &SnapshotWrite) -> Result<(), StorageError> {
        check_size(write)?;
        let (board, position) = (write.board(), write.position());
        let boards = self.lock();
        let stored = boards
            .get(&board)
            .ok_or(StorageError::UnknownBoard { board })?;
        let ends_a_batch = stored
            .log
            .binary_search_by_key(&position, |batch| batch.last)
            .is_ok();
        if position != Position(0) && !ends_a_batch {
            return Err(StorageError::SnapshotMisplaced { board, position });
        }
        Ok(())
    }

    /// A snapshot counts no more.
    pub(super) fn drop_snapshot(
        &self,
        board: BoardId,
        position: Position,
    ) -> Result<(), StorageError> {
        let mut boards = self.lock();
        let stored = boards
            .get_mut(&board)
            .ok_or(StorageError::UnknownBoard { board })?;
        stored.snapshots.remove(&position);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BoardId, Board>> {
        // Every change below is made after all of its checks, so a panic elsewhere can't leave half of one.
        self.boards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader for Memory {
    fn board(&mut self, board: BoardId) -> Result<Option<BoardRecord>, StorageError> {
        Ok(self.lock().get(&board).map(|board| board.record.clone()))
    }

    fn load(&mut self, board: BoardId) -> Result<StoredBoard, StorageError> {
        let boards = self.lock();
        let board = boards
            .get(&board)
            .ok_or(StorageError::UnknownBoard { board })?;
        board.stored_from(board.snapshots.last_key_value(), Position(u64::MAX))
    }

    fn load_before(
        &mut self,
        board: BoardId,
        position: Position,
    ) -> Result<StoredBoard, StorageError> {
        let boards = self.lock();
        let board = boards
            .get(&board)
            .ok_or(StorageError::UnknownBoard { board })?;
        let older = board.snapshots.range(..position).next_back();
        board.stored_from(older, Position(u64::MAX))
    }

    fn load_at(&mut self, board: BoardId, position: Position) -> Result<StoredBoard, StorageError> {
        let boards = self.lock();
        let board = boards
            .get(&board)
            .ok_or(StorageError::UnknownBoard { board })?;
        board.stored_from(board.snapshots.range(..=position).next_back(), position)
    }

    fn log(
        &mut self,
        board: BoardId,
        after: Position,
        bytes_max: usize,
    ) -> Result<Vec<LogBatch>, StorageError> {
        let boards = self.lock();
        let stored = boards
            .get(&board)
            .ok_or(StorageError::UnknownBoard { board })?;
        let start = stored.log.partition_point(|batch| batch.last <= after);
        let mut bytes = 0_usize;
        let batches = stored.log[start..]
            .iter()
            .enumerate()
            .take_while(|(index, batch)| {
                bytes = bytes.saturating_add(batch.record.len());
                *index == 0 || bytes <= bytes_max
            })
            .map(|(_, batch)| batch.clone())
            .collect();
        check_log(board, after, batches)
    }

    fn authors(&mut self, board: BoardId) -> Result<Vec<Author>, StorageError> {
        let boards = self.lock();
        let board = boards
            .get(&board)
            .ok_or(StorageError::UnknownBoard { board })?;
        Ok(board.authors.values().cloned().collect())
    }
}

impl Repository for Memory {
    fn reader(&self) -> Result<Box<dyn Reader>, StorageError> {
        Ok(Box::new(self.clone()))
    }

    fn create_board(&mut self, record: &BoardRecord) -> Result<(), StorageError> {
        let mut boards = self.lock();
        if boards.contains_key(&record.id) {
            return Err(StorageError::BoardExists { board: record.id });
        }
        let board = Board {
            record: record.clone(),
            epochs: VecDeque::new(),
            authors: BTreeMap::new(),
            log: Vec::new(),
            snapshots: BTreeMap::new(),
        };
        boards.insert(record.id, board);
        Ok(())
    }

    fn open_epoch(&mut self, board: BoardId) -> Result<Opened, StorageError> {
        let mut boards = self.lock();
        let board = boards
            .get_mut(&board)
            .ok_or(StorageError::UnknownBoard { board })?;
        let epoch = board.epochs.back().map_or(0, |newest| newest.epoch) + 1;
        let start = board.end();
        board.epochs.push_back(EpochStart { epoch, start });
        if board.epochs.len() > EPOCHS_KEPT {
            board.epochs.pop_front();
        }
        Ok(Opened {
            epoch,
            starts: board.epochs.iter().copied().collect(),
        })
    }

    fn put_authors(&mut self, board: BoardId, authors: &[Author]) -> Result<(), StorageError> {
        let mut boards = self.lock();
        let known = &mut boards
            .get_mut(&board)
            .ok_or(StorageError::UnknownBoard { board })?
            .authors;
        known.extend(authors.iter().map(|author| (author.actor, author.clone())));
        while known.len() > AUTHORS_KEPT {
            let oldest = known
                .values()
                .map(|author| (author.seen_ms, author.actor.0.cast_signed()))
                .min();
            known.retain(|actor, author| oldest != Some((author.seen_ms, actor.0.cast_signed())));
        }
        Ok(())
    }

    fn append(&mut self, batches: &[LogBatch]) -> Result<(), StorageError> {
        let mut boards = self.lock();
        let mut ends = HashMap::new();
        for (index, batch) in batches.iter().enumerate() {
            let board = batch.board;
            let stored = boards
                .get(&board)
                .ok_or(StorageError::UnknownBoard { board })?;
            let end = ends.entry(board).or_insert_with(|| stored.end());
            check_follows(index, batch, *end)?;
            *end = batch.last;
        }
        for batch in batches {
            if let Some(board) = boards.get_mut(&batch.board) {
                board.log.push(batch.clone());
            }
        }
        Ok(())
    }

    fn put_piece(&mut self, write: &mut SnapshotWrite) -> Result<bool, StorageError> {
        self.check_placed(write)?;
        let (board, position) = (write.board(), write.position());
        let mut boards = self.lock();
        let stored = boards
            .get_mut(&board)
            .ok_or(StorageError::UnknownBoard { board })?;
        let piece = write.piece();
        write.advance();
        // Nothing need be kept of pieces here: who writes them holds all of them.
        if piece.number == 0 {
            stored.snapshots.remove(&position);
        }
        if !piece.is_last {
            return Ok(false);
        }
        stored.snapshots.insert(position, write.snapshot().clone());
        let positions: Vec<Position> = stored.snapshots.keys().copied().collect();
        for superseded in thinning::superseded(&positions) {
            stored.snapshots.remove(&superseded);
        }
        Ok(true)
    }

    fn checkpoint(&mut self) -> Result<(), StorageError> {
        Ok(())
    }
}
