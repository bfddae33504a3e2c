//! Keeping a client beyond its end: what the platform is to store, and a client by what was stored.

use chalkboard_shared::DecodeError;

use super::{Client, ClientOptions, Held, waiting};
use crate::journal::{self, JournalChange, KeptBoard};
use crate::outbox::Outbox;

impl Client {
    /// Takes over from an earlier run with the same key, by its head and its ops, in the order of their numbers, as
    /// [`Client::take_journal`] gave them: to be called before anything else. Ops that are damaged are left out.
    ///
    /// # Errors
    /// A damaged or newer head: begin with a new key, and leave what is stored to a program that can read it.
    pub fn restore(&mut self, head: &[u8], ops: Vec<Vec<u8>>) -> Result<(), DecodeError> {
        let (actor, first) = journal::decode_head(head)?;
        self.actor = actor;
        self.is_restored = true;
        // Nobody knows what an earlier run has left, or how it stood with what that one was told.
        self.told_saved = None;
        self.outbox = Outbox::restored(actor, first);
        for op in ops {
            if let Ok((counter, kept)) = journal::decode_op(actor, &op) {
                self.outbox.restore_op(actor, counter, kept);
            }
        }
        self.board.predict_anew(actor, waiting(&self.outbox));
        Ok(())
    }

    /// A client of the same board by the same link and name, with another key.
    pub fn successor(&self, key: [u8; 16]) -> Self {
        let options = self.options.clone();
        Self::new(ClientOptions { key, ..options })
    }

    /// What has changed in the outbox since the last call, to be stored before anything is sent.
    pub fn take_journal(&mut self) -> Option<JournalChange> {
        self.outbox.take_journal(self.actor)
    }

    /// Shows the board as [`Client::board_to_keep`] gave it, until the room says what has changed: to be called before
    /// the first connection, after [`Client::restore`].
    ///
    /// # Errors
    /// It is damaged, or was kept by a newer program.
    pub fn restore_board(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let KeptBoard {
            epoch,
            position,
            is_ahead,
            coverage,
            held,
            strokes,
        } = journal::decode_board(bytes)?;
        for stroke in strokes {
            self.board.put(stroke)?;
        }
        self.board.answered();
        self.place = Some((epoch, position));
        self.is_ahead = is_ahead;
        self.held = Some(Held {
            coverage,
            rect: held,
        });
        Ok(())
    }

    /// The board as far as it is held completely; `None` where nothing is, or more than may be kept. Takes some
    /// milliseconds for 50,000 strokes.
    pub fn board_to_keep(&self) -> Option<Vec<u8>> {
        let (epoch, position) = self.place?;
        let Held { coverage, rect } = self.held?;
        journal::encode_board(&KeptBoard {
            epoch,
            position,
            is_ahead: self.is_ahead,
            coverage,
            held: rect,
            strokes: self.board.confirmed(),
        })
    }
}
