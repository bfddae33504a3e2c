//! The store of a simulated browser: what outlives a client of what it had made.
//!
//! A twin of what the page does: changes of the outbox are stored one at a time and take their time, each whole or not
//! at all; sending does not wait for them. Now and then the board is stored beside them. A crash may forget the last
//! changes that were stored, but no more of them than a moment's work. What the pieces hold is the client's business.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use chalkboard_client::client::Client;
use chalkboard_client::journal::JournalChange;
use chalkboard_shared::ActorId;
use chalkboard_shared::codec::Reader;

use crate::dice::Dice;

/// Ticks that a change takes to be stored, at most.
const STORE_TICKS_MAX: u64 = 4;

/// Changes that were stored and may still be forgotten.
const FORGOTTEN_MAX: usize = 3;

/// Numbers of ops that a crash may take, fewer than the client leaves out when it is restored.
const LOST_MAX: u32 = 60;

/// Chance that the board is stored in a tick, of 100.
const BOARD_PERCENT: u64 = 3;

/// What is stored of an outbox.
#[derive(Debug, Clone, Default)]
struct Pieces {
    head: Option<Bytes>,
    ops: BTreeMap<u32, Bytes>,
    /// The highest number that is known by it.
    last: u32,
}

impl Pieces {
    fn take(&mut self, change: JournalChange) {
        if change.is_anew {
            self.ops.clear();
        }
        self.head = Some(change.head.into());
        self.ops.retain(|counter, _| *counter >= change.first);
        let pieces = change.ops.into_iter();
        self.ops
            .extend(pieces.map(|(counter, piece)| (counter, piece.into())));
        let last = self.ops.last_key_value().map_or(0, |(last, _)| *last);
        self.last = last.max(change.first - 1);
    }
}

/// What a browser keeps for one key.
#[derive(Debug)]
pub struct Store {
    /// The actor of the key.
    pub actor: ActorId,
    pieces: Pieces,
    /// Before each of the last changes.
    earlier: VecDeque<Pieces>,
    /// What is being stored, and until when.
    writing: Option<(u64, JournalChange)>,
    board: Option<Bytes>,
    earlier_board: Option<Bytes>,
    /// Numbers of what the last client was restored with, and of what it has made since.
    restored: BTreeSet<u32>,
    made: BTreeSet<u32>,
}

impl Store {
    /// Holds nothing yet.
    pub fn new(actor: ActorId) -> Self {
        Self {
            actor,
            pieces: Pieces::default(),
            earlier: VecDeque::new(),
            writing: None,
            board: None,
            earlier_board: None,
            restored: BTreeSet::new(),
            made: BTreeSet::new(),
        }
    }

    /// Stores what the journal lacks, unless it is busy, and now and then the board.
    pub fn keep(&mut self, tick: u64, client: &mut Client, dice: &mut Dice) {
        if let Some((_, change)) = self.writing.take_if(|(due, _)| *due <= tick) {
            self.store(change);
        }
        if self.writing.is_none()
            && let Some(change) = client.take_journal()
        {
            if change.is_anew {
                self.made.clear();
            }
            let ops = change.ops.iter();
            let fresh = ops
                .filter(|(counter, piece)| !is_refused(piece) && !self.restored.contains(counter));
            self.made.extend(fresh.map(|(counter, _)| *counter));
            self.writing = Some((tick + dice.below(STORE_TICKS_MAX), change));
        }
        if client.is_loaded() && dice.chance(BOARD_PERCENT) {
            let board = client.board_to_keep().map(Bytes::from);
            self.earlier_board = std::mem::replace(&mut self.board, board);
        }
    }

    fn store(&mut self, change: JournalChange) {
        self.earlier.push_back(self.pieces.clone());
        if self.earlier.len() > FORGOTTEN_MAX {
            self.earlier.pop_front();
        }
        self.pieces.take(change);
    }

    /// The client is gone in the midst of what it did, and maybe the machine with it.
    pub fn crash(&mut self, client: &mut Client, dice: &mut Dice) {
        if let Some((_, change)) = self.writing.take() {
            self.store(change);
        }
        let mut whole = self.pieces.clone();
        if let Some(change) = client.take_journal() {
            whole.take(change);
        }
        let mut states: Vec<_> = self.earlier.drain(..).collect();
        states.push(std::mem::take(&mut self.pieces));
        states.retain(|state| whole.last - state.last <= LOST_MAX);
        let chosen = dice.below(states.len().max(1) as u64) as usize;
        // Where even the last that was stored lacks too much, the moment before the crash was long enough to store it.
        self.pieces = states.into_iter().nth(chosen).unwrap_or(whole);
        if dice.chance(30) {
            self.board = self.earlier_board.take();
        }
    }

    /// There is something of an outbox: otherwise nobody ever takes this key again.
    pub const fn has_outbox(&self) -> bool {
        self.pieces.head.is_some()
    }

    /// Numbers of the ops that are kept, but for those that a room has refused.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        let ops = self.pieces.ops.iter();
        ops.filter(|(_, piece)| !is_refused(piece))
            .map(|(counter, _)| *counter)
    }

    /// Numbers of the ops that this client has made itself.
    pub fn made(&self) -> impl Iterator<Item = u32> {
        self.made.iter().copied()
    }

    /// The board, which belongs to whoever opens it.
    pub fn board(&self) -> Option<&[u8]> {
        self.board.as_deref()
    }

    /// Another window has seen the board later.
    pub fn set_board(&mut self, board: Option<Vec<u8>>) {
        self.board = board.map(Bytes::from);
    }

    /// Makes a client of what is kept of the outbox.
    ///
    /// # Errors
    /// It is not what a client had given.
    pub fn restore(&mut self, client: &mut Client) -> Result<(), String> {
        self.made.clear();
        self.restored = self.pieces.ops.keys().copied().collect();
        let Some(head) = &self.pieces.head else {
            return Ok(());
        };
        let ops = self.pieces.ops.values().map(|piece| piece.to_vec());
        client
            .restore(head, ops.collect())
            .map_err(|error| format!("a client can't read what it has kept: {error}"))
    }
}

/// A piece of an op that a room has refused, or of one that only takes up its number: by the format that `journal`
/// describes (version, number, whether it was refused).
fn is_refused(piece: &[u8]) -> bool {
    let mut reader = Reader::new(Bytes::copy_from_slice(piece));
    let head = (reader.u8(), reader.varint(), reader.u8());
    !matches!(head, (Ok(_), Ok(_), Ok(0)))
}
