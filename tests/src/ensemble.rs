//! A room and its clients over a seeded link, in virtual time.
//!
//! The real room, the real client library and the real wire, with a network that delays, drops datagrams and cuts
//! connections, and a log that may be asked to forget what was not synced. One seed reproduces a run; nothing here
//! waits for anything.

use std::collections::VecDeque;

use bytes::Bytes;
use chalkboard_client::client::{Client, ClientOptions, Event};
use chalkboard_shared::wire::{ClientMessage, ServerMessage};
use chalkboard_shared::{
    ActorId, BoardId, BoardRect, DisconnectReason, EpochStart, Position, Rights, Secret, SessionId,
    Stroke,
};
use chalkboard_simulation::{Input, Join, Now, Record, Room, RoomConfig};

use crate::dice::Dice;
use crate::stage::CONFIG;

/// Milliseconds a tick.
pub const TICK_MS: f64 = 16.667;

/// What the network does to frames.
#[derive(Debug, Clone, Copy)]
pub struct LinkQuality {
    /// Shortest time on the way, in ticks.
    pub delay_ticks_min: u64,
    /// Longest time on the way, in ticks.
    pub delay_ticks_max: u64,
    /// Datagrams lost, of 100.
    pub loss_percent: u64,
    /// Not 0: what the server sends a client in a tick travels in one packet, of which as many are lost, and the stream's
    /// frames in a lost one come so many ticks later. 0: each frame travels alone, and the stream loses none.
    pub resend_ticks: u64,
}

/// A network as in one building.
pub const GOOD: LinkQuality = LinkQuality {
    delay_ticks_min: 0,
    delay_ticks_max: 1,
    loss_percent: 0,
    resend_ticks: 0,
};
/// A network as on a train.
pub const BAD: LinkQuality = LinkQuality {
    delay_ticks_min: 1,
    delay_ticks_max: 20,
    loss_percent: 20,
    resend_ticks: 0,
};

/// Ticks after a loss in which the server takes a way for one that loses packets.
const LOSSY_TICKS: u64 = 300;

impl LinkQuality {
    /// When something that is sent now arrives.
    fn due(self, tick: u64, dice: &mut Dice) -> u64 {
        let spread = self.delay_ticks_max - self.delay_ticks_min + 1;
        tick + self.delay_ticks_min + dice.below(spread)
    }

    /// What becomes of the packet of a tick, where frames share one. The same for the same seed, whatever is in it.
    fn packet(self, tick: u64, dice: &mut Dice) -> Option<(u64, bool)> {
        (self.resend_ticks > 0).then(|| (self.due(tick, dice), dice.chance(self.loss_percent)))
    }
}

/// Frames on the way in one direction.
#[derive(Debug, Default)]
struct Pipe {
    stream: VecDeque<(u64, Bytes)>,
    datagrams: Vec<(u64, Bytes)>,
    /// When the packet of this tick arrives, and whether it is lost first.
    packet: Option<(u64, bool)>,
    /// The tick in which something was lost last.
    lost: Option<u64>,
}

impl Pipe {
    fn send(
        &mut self,
        tick: u64,
        reliable: bool,
        frame: Bytes,
        quality: LinkQuality,
        dice: &mut Dice,
    ) {
        let (mut due, is_lost) = self.packet.unwrap_or_else(|| {
            let due = quality.due(tick, dice);
            (due, !reliable && dice.chance(quality.loss_percent))
        });
        if is_lost {
            self.lost = Some(tick);
            due += quality.resend_ticks;
        }
        if reliable {
            // In order: nothing overtakes on a stream.
            let due = self.stream.back().map_or(due, |(last, _)| due.max(*last));
            self.stream.push_back((due, frame));
        } else if !is_lost {
            self.datagrams.push((due, frame));
        }
    }

    /// What has arrived, and how many bytes of it on the stream.
    fn arrived(&mut self, tick: u64) -> (Vec<Bytes>, u32) {
        let mut arrived = Vec::new();
        let mut stream_bytes = 0;
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
}

/// A client and its connection.
#[derive(Debug)]
pub struct Member {
    /// The client.
    pub client: Client,
    /// What its link allows.
    pub rights: Rights,
    /// Everything that the client reported.
    pub events: Vec<Event>,
    /// Datagrams with live ink that were sent to the client, and bytes of those.
    pub live_ink: (u64, u64),
    /// The room was told that its way loses packets.
    is_lossy: bool,
    /// Datagrams that the room has sent it.
    pub datagrams: u64,
    session: Option<SessionId>,
    is_connected: bool,
    key: u64,
    up: Pipe,
    down: Pipe,
}

/// A room with clients.
#[derive(Debug)]
pub struct Ensemble {
    /// The room.
    pub room: Room,
    /// Its clients, connected or not.
    pub members: Vec<Member>,
    /// What the network does.
    pub quality: LinkQuality,
    /// The source of all chance.
    pub dice: Dice,
    /// Ticks from an op to its being synced.
    pub sync_ticks: u64,
    /// The room is told whose way loses packets.
    pub tells_losses: bool,
    /// What else the room is told in the next tick.
    pub inputs: Vec<Input>,
    log: Vec<(u64, Record)>,
    synced: usize,
    tick: u64,
    next_session: u32,
    epoch_starts: Vec<EpochStart>,
}

impl Ensemble {
    /// An empty room with so many editors, all connected and looking at everything.
    pub fn of_editors(count: usize, seed: u64, quality: LinkQuality) -> Self {
        let epoch_starts = vec![EpochStart {
            epoch: 1,
            start: Position(0),
        }];
        let mut ensemble = Self {
            room: Room::new(RoomConfig {
                epoch_starts: epoch_starts.clone(),
                ..CONFIG
            }),
            members: Vec::new(),
            quality,
            dice: Dice::new(seed),
            sync_ticks: 3,
            tells_losses: true,
            inputs: Vec::new(),
            log: Vec::new(),
            synced: 0,
            tick: 0,
            next_session: 1,
            epoch_starts,
        };
        for _ in 0..count {
            ensemble.add(Rights::Edit, BoardRect::EVERYTHING);
        }
        ensemble.settle();
        ensemble
    }

    /// Adds a client and connects it; answers its place.
    pub fn add(&mut self, rights: Rights, view: BoardRect) -> usize {
        let key = self.dice.bits() | 1;
        let mut key_bytes = [0; 16];
        key_bytes[..8].copy_from_slice(&key.to_le_bytes());
        let mut client = Client::new(ClientOptions {
            board: BoardId([1; 16]),
            secret: Secret([2; 16]),
            key: key_bytes,
            name: format!("member {}", self.members.len()),
            color: 0x33_66_99,
            is_stamping: false,
        });
        client.set_view(view);
        let (up, down) = (Pipe::default(), Pipe::default());
        self.members.push(Member {
            client,
            rights,
            events: Vec::new(),
            live_ink: (0, 0),
            is_lossy: false,
            datagrams: 0,
            session: None,
            is_connected: false,
            key,
            up,
            down,
        });
        let n = self.members.len() - 1;
        self.connect(n);
        n
    }

    /// Milliseconds since the beginning.
    pub fn now_ms(&self) -> f64 {
        self.tick as f64 * TICK_MS
    }

    /// Brings a client's link up.
    pub fn connect(&mut self, n: usize) {
        let now = self.now_ms();
        let member = &mut self.members[n];
        if !member.is_connected {
            member.is_connected = true;
            member.client.connected(now);
        }
    }

    /// Cuts a client's link: everything on the way is lost.
    pub fn cut(&mut self, n: usize) {
        let left = self.drop_link(n).map(Input::Leave);
        if let Some(left) = left {
            self.step_room(vec![left]);
        }
    }

    fn drop_link(&mut self, n: usize) -> Option<SessionId> {
        let now = self.now_ms();
        let member = &mut self.members[n];
        if member.is_connected {
            member.is_connected = false;
            member.client.disconnected(now);
        }
        member.up = Pipe::default();
        member.down = Pipe::default();
        member.is_lossy = false;
        member.session.take()
    }

    /// The server dies and comes back from what its log had synced.
    ///
    /// # Panics
    /// When the room does not recover from its own records.
    pub fn crash(&mut self) {
        self.drop_links();
        self.log.truncate(self.synced);
        let config = self.open_epoch();
        let records = self.log.iter().map(|(_, record)| record.bytes.clone());
        self.room = Room::recover(config, None, records).expect("own records");
    }

    /// The server stops in order, and comes back from a snapshot and what its log has before it.
    ///
    /// # Panics
    /// When the room does not recover from its own snapshot.
    pub fn restart(&mut self) {
        self.drop_links();
        self.synced = self.log.len();
        let snapshot = (self.room.position(), self.room.snapshot());
        let config = self.open_epoch();
        self.room = Room::recover(config, Some(snapshot), []).expect("its own snapshot");
        let records = self.log.iter().map(|(_, record)| record.bytes.clone());
        self.room.remember(records);
    }

    fn drop_links(&mut self) {
        for n in 0..self.members.len() {
            self.drop_link(n);
        }
    }

    fn open_epoch(&mut self) -> RoomConfig {
        let last = self.log.last();
        let epoch = self.epoch_starts.len() as u64 + 1;
        self.epoch_starts.push(EpochStart {
            epoch,
            start: last.map_or(Position(0), |(_, record)| record.last),
        });
        RoomConfig {
            epoch,
            epoch_starts: self.epoch_starts.clone(),
            ..CONFIG
        }
    }

    /// Records of the log, in order, whether synced or not.
    pub fn records(&self) -> impl Iterator<Item = &Bytes> {
        self.log.iter().map(|(_, record)| &record.bytes)
    }

    /// One tick of everything.
    ///
    /// # Panics
    /// When a client can't read what the room sends, or the room what a client sends.
    pub fn step(&mut self) {
        self.tick += 1;
        let now = self.now_ms();
        let mut inputs = std::mem::take(&mut self.inputs);
        for member in &mut self.members {
            let (frames, bytes) = member.down.arrived(self.tick);
            if let Some(session) = member.session
                && bytes > 0
            {
                inputs.push(Input::Written { session, bytes });
            }
            inputs.extend(member.report_losses(self.tick, self.tells_losses));
            for frame in frames {
                if let Err(error) = member.client.receive(now, frame.clone()) {
                    panic!(
                        "the client can't read {:?}: {error}",
                        ServerMessage::decode(frame)
                    );
                }
            }
            member.client.tick(now);
            while let Some(event) = member.client.poll_event() {
                member.events.push(event);
            }
            if !member.is_connected {
                continue;
            }
            while let Some(transmit) = member.client.poll_transmit() {
                member.up.send(
                    self.tick,
                    transmit.reliable,
                    transmit.frame,
                    self.quality,
                    &mut self.dice,
                );
            }
            for frame in member.up.arrived(self.tick).0 {
                let message =
                    ClientMessage::decode(frame).expect("the server reads what clients send");
                inputs.extend(member.input(message, &mut self.next_session));
            }
        }
        self.step_room(inputs);
    }

    fn step_room(&mut self, mut inputs: Vec<Input>) {
        while let Some((due, record)) = self.log.get(self.synced)
            && *due <= self.tick
        {
            inputs.push(Input::Durable(record.last));
            self.synced += 1;
        }
        let now = Now {
            unix_ms: self.tick,
            uptime_ms: self.now_ms() as u32,
        };
        let output = self.room.step(now, inputs);
        self.log.extend(
            output
                .record
                .map(|record| (self.tick + self.sync_ticks, record)),
        );
        for member in &mut self.members {
            member.down.packet = self.quality.packet(self.tick, &mut self.dice);
        }
        for send in output.sends {
            for session in send.to.as_slice() {
                if let Some(member) = self
                    .members
                    .iter_mut()
                    .find(|member| member.session == Some(*session))
                {
                    if ServerMessage::is_live_ink(&send.frame) {
                        member.live_ink.0 += 1;
                        member.live_ink.1 += send.frame.len() as u64;
                    }
                    member.datagrams += u64::from(!send.reliable);
                    member.down.send(
                        self.tick,
                        send.reliable,
                        send.frame.clone(),
                        self.quality,
                        &mut self.dice,
                    );
                }
            }
        }
        for (session, _) in output.closes {
            if let Some(member) = self
                .members
                .iter_mut()
                .find(|member| member.session == Some(session))
            {
                member.session = None;
            }
        }
    }

    /// So many ticks.
    pub fn run(&mut self, ticks: u64) {
        for _ in 0..ticks {
            self.step();
        }
    }

    /// Steps until all frames have arrived and all ops of connected clients are saved.
    ///
    /// # Panics
    /// When that takes more than 20,000 ticks.
    pub fn settle(&mut self) {
        for _ in 0..20_000 {
            self.step();
            let is_quiet = self
                .members
                .iter()
                .filter(|member| member.is_connected)
                .all(|member| {
                    member.up.stream.is_empty()
                        && member.down.stream.is_empty()
                        && member.client.is_loaded()
                        && member.client.save_state() == chalkboard_client::bridge::SaveState::Saved
                });
            if is_quiet && !self.room.has_work() && self.synced == self.log.len() {
                return;
            }
        }
        panic!(
            "the ensemble does not come to rest: the room has work: {}, clients (loaded, how safe, frames under way): {:?}",
            self.room.has_work(),
            self.members
                .iter()
                .map(|m| (
                    m.client.is_loaded(),
                    m.client.save_state(),
                    m.up.stream.len() + m.down.stream.len()
                ))
                .collect::<Vec<_>>()
        );
    }

    /// Reasons for which the room ended sessions of a client.
    pub fn closed_reasons(&self, n: usize) -> Vec<DisconnectReason> {
        let reason = |event: &Event| match event {
            Event::Closed(reason) => Some(*reason),
            _ => None,
        };
        self.members[n].events.iter().filter_map(reason).collect()
    }

    /// The last accepted position.
    pub fn position(&self) -> Position {
        self.room.position()
    }

    /// Checks that every connected client shows exactly what the room holds, each within what it covers.
    ///
    /// # Panics
    /// When one does not.
    pub fn check_agreement(&mut self) {
        let witness = self.add(Rights::View, BoardRect::EVERYTHING);
        self.settle();
        let truth = shown(&self.members[witness], BoardRect::EVERYTHING);
        assert_eq!(
            self.members[witness].client.digest(),
            self.room.digest(),
            "a newcomer sees another board than the room's"
        );
        for (n, member) in self
            .members
            .iter()
            .enumerate()
            .filter(|(_, member)| member.is_connected)
        {
            let Some(coverage) = member.client.coverage() else {
                panic!("member {n} covers nothing")
            };
            let area = coverage.rect();
            let expect: Vec<&Stroke> = truth
                .iter()
                .filter(|stroke| stroke.extent().intersects(area))
                .collect();
            let got = shown(member, area);
            assert_eq!(
                got.iter().collect::<Vec<_>>(),
                expect,
                "member {n} shows something else"
            );
        }
        self.cut(witness);
        self.members.pop();
    }
}

/// What a client shows within an area, in drawing order; who last wrote what is not shown.
fn shown(member: &Member, area: BoardRect) -> Vec<Stroke> {
    member
        .client
        .board()
        .strokes_in(area)
        .into_iter()
        .cloned()
        .collect()
}

impl Member {
    /// What the server's session makes of a message.
    fn input(&mut self, message: ClientMessage, next_session: &mut u32) -> Option<Input> {
        if let ClientMessage::Hello(hello) = message {
            let session = SessionId(*next_session);
            *next_session += 1;
            self.session = Some(session);
            let join = Join::of(*hello, session, ActorId(self.key), self.rights);
            return Some(Input::Join(Box::new(join)));
        }
        Input::of(message, self.session?, ActorId(self.key))
    }

    /// What the server notices of the losses on the way to this client.
    fn report_losses(&mut self, tick: u64, is_told: bool) -> Option<Input> {
        let session = self.session?;
        let is_recent = |lost: u64| tick - lost < LOSSY_TICKS;
        let is_lossy = is_told && self.down.lost.is_some_and(is_recent);
        let is_news = std::mem::replace(&mut self.is_lossy, is_lossy) != is_lossy;
        is_news.then_some(Input::Lossy { session, is_lossy })
    }

    /// The key from which the server knows this client.
    pub const fn actor(&self) -> ActorId {
        ActorId(self.key)
    }

    /// Its link is up.
    pub const fn is_connected(&self) -> bool {
        self.is_connected
    }
}
