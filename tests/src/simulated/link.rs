//! Links: one connection of a client to the server, as the network treats it.
//!
//! Each end knows only its own: a cut that one end sees, the other learns of later or never. Streams stay in order,
//! datagrams are lost and overtake each other, and while a direction is parted nothing comes through it.

use std::collections::VecDeque;

use bytes::Bytes;
use chalkboard_shared::wire::Hello;
use chalkboard_shared::{ActorId, SessionId};

use crate::dice::Dice;

/// What the network does to frames.
#[derive(Debug, Clone, Copy)]
pub struct LinkQuality {
    /// Shortest time on the way, in ticks.
    pub delay_ticks_min: u64,
    /// Longest time on the way, in ticks.
    pub delay_ticks_max: u64,
    /// Datagrams lost, of 100.
    pub loss_percent: u64,
}

/// Frames on the way in one direction.
#[derive(Debug, Default)]
pub struct Pipe {
    stream: VecDeque<(u64, Bytes)>,
    datagrams: Vec<(u64, Bytes)>,
    parted_until: u64,
    is_ended: bool,
}

impl Pipe {
    /// Puts a frame on the way.
    pub fn send(
        &mut self,
        tick: u64,
        reliable: bool,
        frame: Bytes,
        quality: LinkQuality,
        dice: &mut Dice,
    ) {
        if self.is_ended {
            return;
        }
        let spread = quality.delay_ticks_max - quality.delay_ticks_min.min(quality.delay_ticks_max);
        let due = tick + quality.delay_ticks_min + dice.below(spread + 1);
        if reliable {
            // In order: nothing overtakes on a stream.
            let due = self.stream.back().map_or(due, |(last, _)| due.max(*last));
            self.stream.push_back((due, frame));
        } else if tick >= self.parted_until && !dice.chance(quality.loss_percent) {
            self.datagrams.push((due, frame));
        }
    }

    /// What has arrived, and how many bytes of it on the stream.
    pub fn arrived(&mut self, tick: u64) -> (Vec<Bytes>, u32) {
        let mut arrived = Vec::new();
        let mut stream_bytes = 0;
        if tick < self.parted_until {
            self.datagrams.clear();
            return (arrived, 0);
        }
        while let Some((_, frame)) = self.stream.pop_front_if(|(due, _)| *due <= tick) {
            stream_bytes += frame.len() as u32;
            arrived.push(frame);
        }
        arrived.extend(
            self.datagrams
                .extract_if(.., |(due, _)| *due <= tick)
                .map(|(_, frame)| frame),
        );
        (arrived, stream_bytes)
    }

    /// Lets nothing through until then.
    pub fn part(&mut self, until: u64) {
        self.parted_until = self.parted_until.max(until);
    }

    /// Everything gets through again.
    pub fn heal(&mut self) {
        self.parted_until = 0;
    }

    /// Everything on the way is lost, and whatever comes after it.
    pub fn lose(&mut self) {
        self.stream.clear();
        self.datagrams.clear();
        self.is_ended = true;
    }

    /// What is on the way arrives, and nothing after it.
    pub const fn end(&mut self) {
        self.is_ended = true;
    }

    /// Nothing is on the way on the stream.
    pub fn is_empty(&self) -> bool {
        self.stream.is_empty()
    }
}

/// One connection.
#[derive(Debug)]
pub struct Link {
    /// Whose.
    pub person: usize,
    /// The actor of the client that opened it.
    pub actor: ActorId,
    /// To the server.
    pub up: Pipe,
    /// From it.
    pub down: Pipe,
    /// The client still uses it.
    pub is_client_open: bool,
    /// The server still uses it.
    pub is_server_open: bool,
    /// The server's name for it, once it is let into a room.
    pub session: Option<SessionId>,
    /// It waits to be let into a room that is being loaded.
    pub hello: Option<Box<Hello>>,
    /// When the server learns that the client is gone.
    pub server_learns: Option<u64>,
    /// When the client learns that the server is gone.
    pub client_learns: Option<u64>,
}

impl Link {
    /// A fresh connection.
    pub fn new(person: usize, actor: ActorId) -> Self {
        Self {
            person,
            actor,
            up: Pipe::default(),
            down: Pipe::default(),
            is_client_open: true,
            is_server_open: true,
            session: None,
            hello: None,
            server_learns: None,
            client_learns: None,
        }
    }

    /// Neither end uses it any more.
    pub const fn is_over(&self) -> bool {
        !self.is_client_open && !self.is_server_open
    }
}
