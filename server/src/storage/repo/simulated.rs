//! A repository on a [`SimulatedDisk`]: for the simulation of crashes, full disks and power that fails.
//!
//! A journal of checksummed frames, one a transaction, over [`Memory`]: what is committed is what the frames say. It
//! keeps the promises of [`Repository`], held to them by the same conformance tests as the others, and is as honest
//! about the disk as [`Sqlite`](super::Sqlite) is: a commit ends with a sync, and opening drops a torn end. It is for
//! tests; its file has no format that is kept.

use std::collections::BTreeMap;
use std::hash::Hasher as _;

use bytes::Bytes;
use chalkboard_shared::codec::{DecodeError, Reader as Input, Writer};
use chalkboard_shared::id::{ActorId, BoardId, Position};
#[cfg(feature = "sabotage")]
use chalkboard_shared::sabotage::{Fault, is};

use super::{
    Author, BoardRecord, LogBatch, Memory, Opened, RECORD_BYTES_MAX, Reader, Repository,
    SnapshotWrite, StorageError, StoredBoard,
};

mod disk;

pub use disk::{DiskCounts, DiskFaults, NO_FAULTS, SimulatedDisk};

use disk::WriteError;

/// Length and checksum before each frame.
const HEAD_BYTES: usize = 4 + 8;

/// A store on a simulated disk.
#[derive(Debug)]
pub struct Simulated {
    memory: Memory,
    loose: LoosePieces,
    disk: SimulatedDisk,
    /// Where the next frame goes.
    end: usize,
}

/// Pieces of snapshots whose last one has not come.
type LoosePieces = BTreeMap<(BoardId, Position), Vec<Bytes>>;

/// What a frame says.
#[derive(Debug)]
enum Change {
    Create(BoardRecord),
    Epoch(BoardId),
    Append(Vec<LogBatch>),
    /// The last piece of a snapshot, and whether it is the only one.
    Snapshot(BoardId, Position, Bytes, bool),
    Authors(BoardId, Vec<Author>),
    /// A piece before the last, and whether it is the first.
    Piece(BoardId, Position, Bytes, bool),
}

impl Change {
    fn encode(&self) -> Writer {
        let mut w = Writer::new();
        match self {
            Self::Create(record) => {
                w.u8(1);
                w.raw(&record.id.0);
                w.raw(&record.edit_hash);
                w.raw(&record.view_hash);
                w.u64(record.created_ms);
            }
            Self::Epoch(board) => {
                w.u8(2);
                w.raw(&board.0);
            }
            Self::Append(batches) => {
                w.u8(3);
                w.varint(batches.len() as u64);
                for batch in batches {
                    w.raw(&batch.board.0);
                    w.varint(batch.first.0);
                    w.varint(batch.last.0);
                    w.slice(&batch.record);
                }
            }
            Self::Snapshot(board, position, bytes, is_first)
            | Self::Piece(board, position, bytes, is_first) => {
                let is_last = matches!(self, Self::Snapshot(..));
                w.u8(if is_last { 4 } else { 6 });
                w.raw(&board.0);
                w.varint(position.0);
                w.slice(bytes);
                w.u8((*is_first).into());
            }
            Self::Authors(board, authors) => {
                w.u8(5);
                w.raw(&board.0);
                w.varint(authors.len() as u64);
                for author in authors {
                    w.u64(author.actor.0);
                    w.slice(author.name.as_bytes());
                    w.varint(author.color.into());
                    w.varint(author.seen_ms);
                }
            }
        }
        w
    }

    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut r = Input::new(bytes);
        let kind = r.u8()?;
        let change = match kind {
            1 => Self::Create(BoardRecord {
                id: BoardId(array(&mut r)?),
                edit_hash: array(&mut r)?,
                view_hash: array(&mut r)?,
                created_ms: r.u64()?,
            }),
            2 => Self::Epoch(BoardId(array(&mut r)?)),
            3 => {
                let count = r.varint_at_most(r.remaining() as u64)?;
                let batch = |_| {
                    Ok(LogBatch {
                        board: BoardId(array(&mut r)?),
                        first: Position(r.varint()?),
                        last: Position(r.varint()?),
                        record: r.slice(RECORD_BYTES_MAX)?,
                    })
                };
                Self::Append((0..count).map(batch).collect::<Result<_, DecodeError>>()?)
            }
            4 | 6 => {
                let (board, position) = (BoardId(array(&mut r)?), Position(r.varint()?));
                let (bytes, is_first) = (r.slice(RECORD_BYTES_MAX)?, r.u8()? != 0);
                if kind == 4 {
                    Self::Snapshot(board, position, bytes, is_first)
                } else {
                    Self::Piece(board, position, bytes, is_first)
                }
            }
            5 => {
                let board = BoardId(array(&mut r)?);
                let count = r.varint_at_most(r.remaining() as u64)?;
                let author = |_| {
                    Ok(Author {
                        actor: ActorId(r.u64()?),
                        name: String::from_utf8_lossy(&r.slice(RECORD_BYTES_MAX)?).into_owned(),
                        color: r.varint_u32()?,
                        seen_ms: r.varint()?,
                    })
                };
                let authors = (0..count).map(author).collect::<Result<_, DecodeError>>()?;
                Self::Authors(board, authors)
            }
            _ => return Err(DecodeError::Malformed),
        };
        r.finish()?;
        Ok(change)
    }

    fn apply(
        &self,
        memory: &mut Memory,
        loose: &mut LoosePieces,
    ) -> Result<Option<Opened>, StorageError> {
        match self {
            Self::Create(record) => memory.create_board(record)?,
            Self::Epoch(board) => return memory.open_epoch(*board).map(Some),
            Self::Append(batches) => memory.append(batches)?,
            Self::Snapshot(board, position, bytes, is_first) => {
                let mut whole = loose.remove(&(*board, *position)).unwrap_or_default();
                if *is_first {
                    whole.clear();
                }
                whole.push(bytes.clone());
                memory.put_snapshot(*board, *position, whole.concat().into())?;
            }
            Self::Piece(board, position, bytes, is_first) => {
                let pieces = loose.entry((*board, *position)).or_default();
                if *is_first {
                    memory.drop_snapshot(*board, *position)?;
                    pieces.clear();
                }
                pieces.push(bytes.clone());
            }
            Self::Authors(board, authors) => memory.put_authors(*board, authors)?,
        }
        Ok(None)
    }
}

fn array<const N: usize>(r: &mut Input) -> Result<[u8; N], DecodeError> {
    let bytes = r.raw(N)?;
    bytes[..].try_into().map_err(|_| DecodeError::Truncated)
}

/// Of a frame at a place: what was written there before must not pass for it.
fn checksum(at: usize, payload: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write_usize(at);
    hasher.write(payload);
    hasher.finish()
}

/// The frame at a place, if there is a whole one, and where it ends.
fn frame(file: &Bytes, at: usize) -> Option<(Change, usize)> {
    let head = file.get(at..at + HEAD_BYTES)?;
    let (len, sum) = head.split_first_chunk::<4>()?;
    let end = (at + HEAD_BYTES).checked_add(u32::from_le_bytes(*len) as usize)?;
    let payload = file.get(at + HEAD_BYTES..end)?;
    let is_whole = sum == checksum(at, payload).to_le_bytes();
    let change = is_whole.then(|| Change::decode(file.slice(at + HEAD_BYTES..end)))?;
    Some((change.ok()?, end))
}

/// What whole frames before `end` say, and where the last of them ends.
fn replay(disk: &SimulatedDisk, end: usize) -> Result<(Memory, LoosePieces, usize), StorageError> {
    let file = Bytes::from(disk.read());
    let (mut memory, mut loose) = (Memory::new(), LoosePieces::new());
    let mut at = 0;
    while at < end
        && let Some((change, next)) = frame(&file, at)
    {
        change.apply(&mut memory, &mut loose)?;
        at = next;
    }
    Ok((memory, loose, at))
}

impl Simulated {
    /// Opens what is on the disk, and cuts off a torn end.
    ///
    /// # Errors
    /// The disk was used by something else.
    pub fn open(disk: &SimulatedDisk) -> Result<Self, StorageError> {
        // Whoever wrote loose pieces is gone; the next of that snapshot begins anew.
        let (memory, _, end) = replay(disk, usize::MAX)?;
        #[cfg(feature = "sabotage")]
        let end = if is(Fault::BelievedTear) {
            disk.size()
        } else {
            end
        };
        disk.cut(end);
        Ok(Self {
            memory,
            loose: LoosePieces::new(),
            disk: disk.clone(),
            end,
        })
    }

    fn sync(&self, end: usize) -> Result<(), WriteError> {
        #[cfg(feature = "sabotage")]
        if is(Fault::ForgottenSync) {
            return Ok(());
        }
        self.disk.sync(end)
    }

    /// Makes a change durable, or leaves everything as it was.
    fn commit(&mut self, change: &Change) -> Result<Option<Opened>, StorageError> {
        let opened = change.apply(&mut self.memory, &mut self.loose)?;
        let payload = change.encode();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + payload.len());
        bytes.extend((payload.len() as u32).to_le_bytes());
        bytes.extend(checksum(self.end, payload.as_slice()).to_le_bytes());
        bytes.extend(payload.as_slice());
        let end = self.end + bytes.len();
        let written = self
            .disk
            .write(self.end, &bytes)
            .and_then(|()| self.sync(end));
        match written {
            Ok(()) => {
                self.end = end;
                Ok(opened)
            }
            Err(error) => {
                let (memory, loose, _) = replay(&self.disk, self.end)?;
                self.loose = loose;
                self.memory.replace_by(memory);
                Err(storage_error(error))
            }
        }
    }
}

fn storage_error(error: WriteError) -> StorageError {
    let sqlite = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
    match error {
        WriteError::Full => StorageError::Full(sqlite(rusqlite::ffi::SQLITE_FULL)),
        WriteError::Failed => StorageError::Database(sqlite(rusqlite::ffi::SQLITE_IOERR)),
    }
}

/// The reading side, whose reads may fail.
#[derive(Debug)]
struct SimulatedReader {
    memory: Memory,
    disk: SimulatedDisk,
}

impl SimulatedReader {
    fn read(&mut self) -> Result<&mut Memory, StorageError> {
        if self.disk.read_fails() {
            return Err(storage_error(WriteError::Failed));
        }
        Ok(&mut self.memory)
    }
}

impl Reader for SimulatedReader {
    fn board(&mut self, board: BoardId) -> Result<Option<BoardRecord>, StorageError> {
        self.read()?.board(board)
    }

    fn load(&mut self, board: BoardId) -> Result<StoredBoard, StorageError> {
        self.read()?.load(board)
    }

    fn load_before(
        &mut self,
        board: BoardId,
        position: Position,
    ) -> Result<StoredBoard, StorageError> {
        self.read()?.load_before(board, position)
    }

    fn load_at(&mut self, board: BoardId, position: Position) -> Result<StoredBoard, StorageError> {
        self.read()?.load_at(board, position)
    }

    fn log(
        &mut self,
        board: BoardId,
        after: Position,
        bytes_max: usize,
    ) -> Result<Vec<LogBatch>, StorageError> {
        self.read()?.log(board, after, bytes_max)
    }

    fn authors(&mut self, board: BoardId) -> Result<Vec<Author>, StorageError> {
        self.read()?.authors(board)
    }
}

/// The writing side reads what it has committed without asking the disk.
impl Reader for Simulated {
    fn board(&mut self, board: BoardId) -> Result<Option<BoardRecord>, StorageError> {
        self.memory.board(board)
    }

    fn load(&mut self, board: BoardId) -> Result<StoredBoard, StorageError> {
        self.memory.load(board)
    }

    fn load_before(
        &mut self,
        board: BoardId,
        position: Position,
    ) -> Result<StoredBoard, StorageError> {
        self.memory.load_before(board, position)
    }

    fn load_at(&mut self, board: BoardId, position: Position) -> Result<StoredBoard, StorageError> {
        self.memory.load_at(board, position)
    }

    fn log(
        &mut self,
        board: BoardId,
        after: Position,
        bytes_max: usize,
    ) -> Result<Vec<LogBatch>, StorageError> {
        self.memory.log(board, after, bytes_max)
    }

    fn authors(&mut self, board: BoardId) -> Result<Vec<Author>, StorageError> {
        self.memory.authors(board)
    }
}

impl Repository for Simulated {
    fn reader(&self) -> Result<Box<dyn Reader>, StorageError> {
        Ok(Box::new(SimulatedReader {
            memory: self.memory.clone(),
            disk: self.disk.clone(),
        }))
    }

    fn create_board(&mut self, record: &BoardRecord) -> Result<(), StorageError> {
        self.commit(&Change::Create(record.clone())).map(drop)
    }

    fn open_epoch(&mut self, board: BoardId) -> Result<Opened, StorageError> {
        let opened = self.commit(&Change::Epoch(board))?;
        opened.ok_or(StorageError::UnknownBoard { board })
    }

    fn put_authors(&mut self, board: BoardId, authors: &[Author]) -> Result<(), StorageError> {
        self.commit(&Change::Authors(board, authors.to_vec()))
            .map(drop)
    }

    fn append(&mut self, batches: &[LogBatch]) -> Result<(), StorageError> {
        if batches.is_empty() {
            return Ok(());
        }
        self.commit(&Change::Append(batches.to_vec())).map(drop)
    }

    fn put_piece(&mut self, write: &mut SnapshotWrite) -> Result<bool, StorageError> {
        let (board, position) = (write.board(), write.position());
        // What can't be a snapshot is refused with its first piece.
        self.memory.check_placed(write)?;
        let piece = write.piece();
        let bytes = match self.disk.rot(piece.bytes.len()) {
            None => piece.bytes,
            Some(at) => {
                let mut rotten = piece.bytes.to_vec();
                rotten[at] ^= 1 << (at % 8);
                rotten.into()
            }
        };
        let is_first = piece.number == 0;
        let change = if piece.is_last {
            Change::Snapshot(board, position, bytes, is_first)
        } else {
            Change::Piece(board, position, bytes, is_first)
        };
        let stored = self.commit(&change);
        if stored.is_err() {
            self.loose.remove(&(board, position));
        }
        stored?;
        write.advance();
        Ok(piece.is_last)
    }

    fn checkpoint(&mut self) -> Result<(), StorageError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
