//! Snapshots in the database: their rows, the pieces before those, and what becomes of either.
//!
//! Owns the order in which pieces are written and taken out: a snapshot counts by its row, which comes with its last
//! piece, and goes with all of them (a trigger of the [`schema`](crate::storage::repo::schema)). Where a snapshot is cut
//! is [`pieces`](crate::storage::repo::pieces)'s to say.

use bytes::Bytes;
use chalkboard_shared::id::{BoardId, Position};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{Sqlite, ends_a_batch, execute, log_end, position as position_of, storable};
use crate::storage::repo::{Piece, SnapshotWrite, StorageError, check_size, thinning};

/// A snapshot: its pieces in order, and the rest of it in its row.
pub(super) fn read(
    connection: &Connection,
    has_pieces: bool,
    board: BoardId,
    position: Position,
) -> Result<Option<Bytes>, StorageError> {
    let place = params![board.0, storable(position)];
    let rest: Option<Vec<u8>> = connection
        .prepare_cached("SELECT snapshot FROM snapshot WHERE board = ?1 AND position = ?2")?
        .query_row(place, |row| row.get(0))
        .optional()?;
    let Some(rest) = rest else {
        return Ok(None);
    };
    let mut whole: Vec<u8> = Vec::new();
    if has_pieces {
        let mut pieces = connection.prepare_cached(
            "SELECT bytes FROM piece WHERE board = ?1 AND position = ?2 ORDER BY number",
        )?;
        let mut pieces = pieces.query(place)?;
        while let Some(piece) = pieces.next()? {
            whole.extend_from_slice(piece.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?);
        }
    }
    if whole.is_empty() {
        return Ok(Some(Bytes::from(rest)));
    }
    whole.extend_from_slice(&rest);
    Ok(Some(Bytes::from(whole)))
}

impl Sqlite {
    /// A snapshot, whether it lies in pieces or not. Reads more than once: within a transaction.
    pub(crate) fn snapshot(
        &self,
        board: BoardId,
        position: Position,
    ) -> Result<Option<Bytes>, StorageError> {
        read(&self.connection, self.has_pieces, board, position)
    }

    /// Takes out what is left of snapshots that were not written to their end.
    pub(super) fn drop_loose_pieces(&self) -> Result<(), StorageError> {
        let pieces = execute(
            &self.connection,
            "DELETE FROM piece WHERE NOT EXISTS (SELECT 1 FROM snapshot
             WHERE snapshot.board = piece.board AND snapshot.position = piece.position)",
            [],
        )?;
        if pieces > 0 {
            tracing::info!(
                pieces,
                "dropped what a stop in the middle has left of a snapshot; nothing that was saved was in it alone"
            );
        }
        Ok(())
    }

    /// One transaction: the piece, and with the last one all that follows from the snapshot.
    fn store_piece(&mut self, write: &SnapshotWrite, piece: &Piece) -> Result<(), StorageError> {
        check_size(write)?;
        let (board, position) = (write.board(), write.position());
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if log_end(&transaction, board)?.is_none() {
            return Err(StorageError::UnknownBoard { board });
        }
        if position != Position(0) && !ends_a_batch(&transaction, board, position)? {
            return Err(StorageError::SnapshotMisplaced { board, position });
        }
        let place = params![board.0, position.0.cast_signed()];
        if piece.number == 0 {
            // What is there goes with its pieces; those of none are of one that could not be written.
            for table in ["snapshot", "piece"] {
                let sql = format!("DELETE FROM {table} WHERE board = ?1 AND position = ?2");
                execute(&transaction, &sql, place)?;
            }
        }
        if !piece.is_last {
            execute(
                &transaction,
                "INSERT INTO piece (board, position, number, bytes) VALUES (?1, ?2, ?3, ?4)",
                params![
                    board.0,
                    position.0.cast_signed(),
                    piece.number as i64,
                    &piece.bytes[..]
                ],
            )?;
            return Ok(transaction.commit()?);
        }
        execute(
            &transaction,
            "INSERT INTO snapshot (board, position, snapshot) VALUES (?1, ?2, ?3)",
            params![board.0, position.0.cast_signed(), &piece.bytes[..]],
        )?;
        let positions = transaction
            .prepare_cached("SELECT position FROM snapshot WHERE board = ?1 ORDER BY position")?
            .query_map([board.0], |row| position_of(row, 0))?
            .collect::<Result<Vec<_>, _>>()?;
        for superseded in thinning::superseded(&positions) {
            execute(
                &transaction,
                "DELETE FROM snapshot WHERE board = ?1 AND position = ?2",
                params![board.0, superseded.0.cast_signed()],
            )?;
        }
        Ok(transaction.commit()?)
    }

    /// See [`Repository::put_piece`](super::Repository::put_piece).
    pub(super) fn put_snapshot_piece(
        &mut self,
        write: &mut SnapshotWrite,
    ) -> Result<bool, StorageError> {
        let piece = write.piece();
        let stored = self.store_piece(write, &piece);
        if piece.number > 0 && stored.is_err() {
            // Where that fails too, the next start does it.
            let _ = execute(
                &self.connection,
                "DELETE FROM piece WHERE board = ?1 AND position = ?2",
                params![write.board().0, write.position().0.cast_signed()],
            );
        }
        stored?;
        if piece.number > 0 || !piece.is_last {
            // A little now, or a commit among the next would have tens of megabytes to move into the main file. Where it
            // does not work, that is how it is.
            let _ = self
                .connection
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
        write.advance();
        Ok(piece.is_last)
    }
}
