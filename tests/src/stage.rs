//! A room on a bench: inputs in, decoded messages out, no client in between.

use std::collections::BTreeMap;

use chalkboard_shared::wire::{Profile, ServerMessage};
use chalkboard_shared::{ActorId, BoardRect, DisconnectReason, Op, Rights, SessionId};
use chalkboard_simulation::{Input, Join, Now, Output, Record, Room, RoomConfig};

/// How rooms on a bench are set up.
pub const CONFIG: RoomConfig = RoomConfig {
    epoch_starts: Vec::new(),
    epoch: 1,
    tick_us: 16_667,
};

/// A room, and what its sessions have received.
#[derive(Debug)]
pub struct Stage {
    /// The room.
    pub room: Room,
    /// Everything that each session was sent, in order.
    pub received: BTreeMap<SessionId, Vec<ServerMessage>>,
    /// Records for the log, in order.
    pub log: Vec<Record>,
    /// Sessions that the room has closed.
    pub closed: Vec<(SessionId, DisconnectReason)>,
    unix_ms: u64,
}

impl Default for Stage {
    fn default() -> Self {
        Self::with_room(Room::new(CONFIG))
    }
}

impl Stage {
    /// Puts a room on the bench.
    pub const fn with_room(room: Room) -> Self {
        Self {
            room,
            received: BTreeMap::new(),
            log: Vec::new(),
            closed: Vec::new(),
            unix_ms: 0,
        }
    }

    /// One tick.
    ///
    /// # Panics
    /// When the room sends what can't be read.
    pub fn step(&mut self, inputs: impl IntoIterator<Item = Input>) -> Output {
        self.unix_ms += 16;
        let output = self.room.step(
            Now {
                unix_ms: self.unix_ms,
                uptime_ms: self.unix_ms as u32,
            },
            inputs,
        );
        for send in &output.sends {
            let message = ServerMessage::decode(send.frame.clone())
                .expect("the room sends readable messages");
            for &session in send.to.as_slice() {
                self.received
                    .entry(session)
                    .or_default()
                    .push(message.clone());
            }
        }
        self.log.extend(output.record.clone());
        self.closed.extend(output.closes.iter().copied());
        output
    }

    /// Steps until the room has nothing left to do by itself.
    ///
    /// # Panics
    /// When that takes more than 10,000 ticks.
    pub fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.room.has_work() {
                return;
            }
            self.step([]);
        }
        panic!("the room does not come to rest");
    }

    /// What a session has received since this was last asked.
    pub fn take(&mut self, session: u32) -> Vec<ServerMessage> {
        self.received
            .remove(&SessionId(session))
            .unwrap_or_default()
    }
}

/// Session `n` of actor `n` comes in.
pub fn join(n: u32, rights: Rights, view: BoardRect) -> Input {
    Input::Join(Box::new(Join {
        session: SessionId(n),
        actor: ActorId(n.into()),
        rights,
        profile: Profile {
            name: format!("person {n}"),
            color: n,
        },
        view,
        view_secret: None,
        resume: None,
    }))
}

/// Ops of session `n`.
pub const fn ops(n: u32, first: u32, ops: Vec<Op>) -> Input {
    Input::Ops {
        session: SessionId(n),
        first,
        stamp: None,
        ops,
    }
}

/// The strokes in chunks among messages, by id.
pub fn chunk_strokes(messages: &[ServerMessage]) -> Vec<chalkboard_shared::StrokeId> {
    messages
        .iter()
        .filter_map(|message| match message {
            ServerMessage::Chunk(strokes) => Some(strokes),
            _ => None,
        })
        .flatten()
        .map(|stroke| stroke.id)
        .collect()
}
