//! People: seeded hands on real clients.
//!
//! Each draws, erases, restyles, undoes, redoes, looks around and points, whatever the state of the link, and checks
//! what a client promises to its own person on the way: an undo changes nothing that another wrote last.

use std::collections::BTreeSet;

use chalkboard_client::client::{Client, ClientOptions};
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::{ActorId, BoardId, BoardPoint, BoardRect, Rights, Secret, StrokeId};

use crate::dice::Dice;
use crate::simulated::store::Store;

/// Where people draw, in pixels from the origin.
const PLACE_PIXELS: i32 = 3000;

/// What somebody is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// At the board: connects whenever there is no link, from this tick on.
    Here(u64),
    /// Offline until then, and drawing.
    Offline(u64),
    /// Gone with an open page and no link, until then, not drawing.
    Asleep(u64),
}

/// A person and their client.
#[derive(Debug)]
pub struct Person {
    /// The client.
    pub client: Client,
    /// What it opens.
    pub board: BoardId,
    /// What the link allows.
    pub rights: Rights,
    /// The key from which the server derives the actor.
    pub actor: ActorId,
    /// What they are doing.
    pub presence: Presence,
    /// The link in use, by its place among all links.
    pub link: Option<usize>,
    /// The client was connected before.
    pub has_been_here: bool,
    /// What its browser keeps; `None` where it keeps nothing.
    pub store: Option<Store>,
    /// What a window that is gone has left, for this one to take over.
    pub left: Option<Store>,
    /// Where it looks.
    pub view: BoardRect,
    /// There is something to take back.
    pub can_undo: bool,
    drawing: Option<StrokeId>,
}

impl Person {
    /// Somebody opens a board for the first time.
    pub fn new(board: BoardId, rights: Rights, dice: &mut Dice) -> Self {
        let actor = ActorId(dice.bits() | 1);
        let client = Client::new(ClientOptions {
            board,
            secret: Secret([2; 16]),
            key: key_of(actor),
            name: format!("person {}", actor.0 % 1000),
            color: 0x33_66_99,
            is_stamping: false,
        });
        let mut person = Self {
            client,
            board,
            rights,
            actor,
            presence: Presence::Here(0),
            link: None,
            has_been_here: false,
            store: None,
            left: None,
            view: BoardRect::from_corners(
                BoardPoint::new(0, 0),
                BoardPoint::from_pixels(1280.0, 800.0),
            ),
            can_undo: false,
            drawing: None,
        };
        if dice.chance(70) {
            person.look_at(BoardRect::EVERYTHING);
        }
        person
    }

    /// Looks there.
    pub fn look_at(&mut self, view: BoardRect) {
        self.view = view;
        self.client.set_view(view);
    }

    /// A window is opened with what a browser has kept; one of these is there before anything is drawn.
    ///
    /// # Errors
    /// A client can't go on from what a client has kept.
    pub fn restore(&mut self, mut store: Store) -> Result<(), String> {
        let client = self.client.successor(key_of(store.actor));
        self.client = client;
        store.restore(&mut self.client)?;
        if let Some(board) = store.board() {
            let board = self.client.restore_board(board);
            board.map_err(|error| format!("a client can't read the board it has kept: {error}"))?;
        }
        self.client.set_view(self.view);
        self.can_undo = false;
        self.drawing = None;
        self.actor = store.actor;
        self.store = Some(store);
        Ok(())
    }

    /// Nothing is being drawn.
    pub const fn is_idle(&self) -> bool {
        self.drawing.is_none() && !self.can_undo
    }

    /// Does something. `known` are the strokes that were ever begun on the board. Answers what, for the trace, and
    /// whether it was an undo or redo that did something.
    ///
    /// # Errors
    /// The client broke a promise.
    pub fn act(
        &mut self,
        now_ms: f64,
        known: &BTreeSet<StrokeId>,
        dice: &mut Dice,
    ) -> Result<(String, bool), String> {
        let client = &mut self.client;
        let at = dice.point(PLACE_PIXELS);
        let mut is_turn = false;
        let what = match dice.below(16) {
            0..=5 => match self.drawing.take() {
                Some(stroke) if dice.chance(35) => {
                    client.finish_stroke(stroke);
                    format!("finishes {}", stroke.0.counter)
                }
                Some(stroke) if dice.chance(5) => {
                    client.abandon_stroke(stroke);
                    format!("abandons {}", stroke.0.counter)
                }
                Some(stroke) => {
                    let ink = dice.ink(at);
                    client.extend_stroke(stroke, ink.points());
                    self.drawing = Some(stroke);
                    format!("extends {}", stroke.0.counter)
                }
                None => {
                    let ink = dice.ink(at);
                    let stroke = client.begin_stroke(dice.style(), ink.points());
                    self.drawing = Some(stroke);
                    format!("begins {}", stroke.0.counter)
                }
            },
            6 | 7 => {
                let chosen = choose(client, dice);
                client.erase(&chosen);
                format!("erases {} strokes", chosen.len())
            }
            8 => {
                let chosen = choose(client, dice);
                client.restyle(&chosen, dice.style());
                format!("restyles {} strokes", chosen.len())
            }
            9 | 10 => {
                is_turn = turn(client, known, Client::undo)?;
                format!("undoes: {is_turn}")
            }
            11 => {
                is_turn = turn(client, known, Client::redo)?;
                format!("redoes: {is_turn}")
            }
            12 => {
                let view = if dice.chance(30) {
                    BoardRect::EVERYTHING
                } else {
                    dice.view(PLACE_PIXELS)
                };
                self.look_at(view);
                format!("looks at {view:?}")
            }
            13 => {
                if dice.chance(50) {
                    client.begin_gesture();
                } else {
                    client.end_gesture();
                }
                "begins or ends a gesture".to_owned()
            }
            _ => {
                let cursor = CursorState {
                    at,
                    tool: CursorTool::Pen,
                    pressed: self.drawing.is_some(),
                };
                client.set_cursor(now_ms, cursor);
                "points".to_owned()
            }
        };
        Ok((what, is_turn))
    }

    /// Lifts the pen.
    pub fn rest(&mut self) {
        if let Some(stroke) = self.drawing.take() {
            self.client.finish_stroke(stroke);
        }
        self.client.end_gesture();
    }
}

/// The key from which the simulated server makes an actor.
fn key_of(actor: ActorId) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&actor.0.to_le_bytes());
    key
}

/// Up to three strokes that somebody sees.
fn choose(client: &Client, dice: &mut Dice) -> Vec<StrokeId> {
    let seen: Vec<StrokeId> = client
        .board()
        .strokes_in(BoardRect::EVERYTHING)
        .iter()
        .map(|stroke| stroke.id)
        .collect();
    let count = 1 + dice.below(3);
    (0..count)
        .filter_map(|_| dice.pick(&seen).copied())
        .collect()
}

/// An undo or a redo, and whether it left alone what others wrote last.
fn turn(
    client: &mut Client,
    known: &BTreeSet<StrokeId>,
    turn: impl Fn(&mut Client) -> bool,
) -> Result<bool, String> {
    let states = |client: &Client| -> Vec<_> {
        known
            .iter()
            .map(|id| client.board().look_up(*id).map(|stroke| stroke.erased))
            .collect()
    };
    let before = states(client);
    let is_done = turn(client);
    let after = states(client);
    let me = client.actor();
    for ((id, before), after) in known.iter().zip(before).zip(after) {
        if let (Some(before), Some(after)) = (before, after)
            && before.value != after.value
            && Some(before.by.actor) != me
            // What was drawn before the first connection has no lasting author yet.
            && before.by.actor != ActorId(0)
        {
            return Err(format!(
                "{me:?} turned {id:?}, which {:?} wrote last, by an undo or redo",
                before.by
            ));
        }
    }
    Ok(is_done)
}
