//! Snapshots in pieces: how one that takes long to write is stored in many short transactions.
//!
//! Owns where a snapshot is cut and what each piece of it is. What is stored of one counts only with its last piece; what
//! a crash has left of others is nobody's. How pieces lie in a store is the store's business, and when the next is
//! written that of the [`log writer`](crate::storage::log_writer), which serves those who draw in between.

use bytes::Bytes;
use chalkboard_shared::id::{BoardId, Position};

/// Bytes of a piece: 1 MiB. A board of 1,000,000 strokes has 40 of them; each holds up others about as long as any
/// commit does, whose time is mostly the sync.
pub const PIECE_BYTES: usize = 1 << 20;

/// A snapshot on its way into a store.
#[derive(Debug)]
pub struct SnapshotWrite {
    board: BoardId,
    position: Position,
    snapshot: Bytes,
    piece_bytes: usize,
    /// Pieces that are stored.
    stored: usize,
}

/// What is stored in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its place, from 0.
    pub number: usize,
    /// It makes the snapshot count.
    pub is_last: bool,
    /// Its part of the snapshot.
    pub bytes: Bytes,
}

impl SnapshotWrite {
    /// Of a snapshot that contains everything through `position`; nothing is stored yet.
    pub const fn new(board: BoardId, position: Position, snapshot: Bytes) -> Self {
        Self::in_pieces_of(PIECE_BYTES, board, position, snapshot)
    }

    /// The same in pieces of another size; of at least a byte.
    pub const fn in_pieces_of(
        piece_bytes: usize,
        board: BoardId,
        position: Position,
        snapshot: Bytes,
    ) -> Self {
        Self {
            board,
            position,
            snapshot,
            piece_bytes: if piece_bytes == 0 { 1 } else { piece_bytes },
            stored: 0,
        }
    }

    /// Its board.
    pub const fn board(&self) -> BoardId {
        self.board
    }

    /// Its place in the log.
    pub const fn position(&self) -> Position {
        self.position
    }

    /// All of it.
    pub const fn snapshot(&self) -> &Bytes {
        &self.snapshot
    }

    /// The next piece; an empty last one where all is stored, which no store is asked for.
    pub(super) fn piece(&self) -> Piece {
        let len = self.snapshot.len();
        let from = self.stored.saturating_mul(self.piece_bytes).min(len);
        let end = from.saturating_add(self.piece_bytes).min(len);
        Piece {
            number: self.stored,
            is_last: end == len,
            bytes: self.snapshot.slice(from..end),
        }
    }

    /// The piece is stored.
    pub(super) const fn advance(&mut self) {
        self.stored += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(len: usize, piece_bytes: usize) -> Vec<Piece> {
        let snapshot = (0..len).map(|n| n as u8).collect();
        let mut write =
            SnapshotWrite::in_pieces_of(piece_bytes, BoardId([1; 16]), Position(3), snapshot);
        let mut pieces = Vec::new();
        loop {
            let piece = write.piece();
            assert_eq!(piece.number, pieces.len());
            write.advance();
            pieces.push(piece);
            if pieces.last().is_some_and(|piece| piece.is_last) {
                let whole: Vec<u8> = pieces
                    .iter()
                    .flat_map(|piece| &piece.bytes[..])
                    .copied()
                    .collect();
                assert_eq!(&whole[..], &write.snapshot()[..]);
                return pieces;
            }
        }
    }

    #[test]
    fn pieces_are_the_snapshot_and_one_is_the_last() {
        for (len, piece_bytes, count) in [
            (0, 4, 1),
            (1, 4, 1),
            (4, 4, 1),
            (5, 4, 2),
            (8, 4, 2),
            (9, 4, 3),
            (3, 0, 3),
            (9, usize::MAX, 1),
        ] {
            let pieces = pieces(len, piece_bytes);
            assert_eq!(pieces.len(), count, "{len} by {piece_bytes}");
        }
    }
}
