//! A room of a few lines for this crate's tests: the same merge rules and the same conversation, nothing else.
//!
//! Everything is in memory and in order. Links break and the room crashes when a test says so.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chalkboard_shared::digest::Digest;
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::limits::OPS_IN_FLIGHT_MAX;
use chalkboard_shared::merge::{self, Strokes};
use chalkboard_shared::op::Former;
use chalkboard_shared::wire::{
    ClientMessage, Hello, Participant, PersonChange, ServerMessage, Update, Welcome,
};
use chalkboard_shared::{
    ActorId, Op, OpEntry, OpId, Position, RejectReason, Rights, Secret, SessionId, Stroke,
    StrokeId, Tick,
};

use super::{Client, ClientOptions, Transmit};

pub(crate) const VIEW_SECRET: Secret = Secret([9; 16]);

#[derive(Debug, Default, Clone)]
pub(crate) struct Plain(pub(crate) BTreeMap<StrokeId, Stroke>);

impl Strokes for Plain {
    fn holds(&self, id: StrokeId) -> bool {
        self.0.contains_key(&id)
    }
    fn get(&self, id: StrokeId) -> Option<&Stroke> {
        self.0.get(&id)
    }
    fn get_mut(&mut self, id: StrokeId) -> Option<&mut Stroke> {
        self.0.get_mut(&id)
    }
    fn insert(&mut self, stroke: Stroke) {
        self.0.insert(stroke.id, stroke);
    }
    fn count(&self) -> usize {
        self.0.len()
    }
}

#[derive(Debug)]
struct Session {
    actor: ActorId,
    rights: Rights,
    coverage: Coverage,
    known: BTreeSet<StrokeId>,
    queue: Vec<(u32, Op)>,
    expected: u32,
    out: Vec<Bytes>,
}

#[derive(Debug, Default)]
pub(crate) struct FakeRoom {
    pub(crate) board: Plain,
    log: Vec<OpEntry>,
    durable: usize,
    answered: BTreeMap<ActorId, u32>,
    sessions: BTreeMap<SessionId, Session>,
    next_session: u32,
    tick: u64,
    epoch: u64,
    /// The next op is refused with this.
    pub(crate) refuse_next: Option<RejectReason>,
    pub(crate) pings: usize,
    pub(crate) cursors: Vec<u32>,
    pub(crate) views: usize,
}

impl FakeRoom {
    pub(crate) fn digest(&self) -> Digest {
        let mut digest = Digest::default();
        for stroke in self.board.0.values() {
            digest.replace(0, stroke.digest());
        }
        digest
    }

    pub(crate) fn join(&mut self, hello: &Hello) -> SessionId {
        let actor = ActorId(u64::from(hello.key[0]) + 100);
        let id = SessionId(self.next_session);
        self.next_session += 1;
        let rights = if hello.secret == VIEW_SECRET {
            Rights::View
        } else {
            Rights::Edit
        };
        let answered = self.answered.get(&actor).copied().unwrap_or(0);
        let coverage = Coverage::of_view(hello.view, None);
        let mut session = Session {
            actor,
            rights,
            coverage,
            known: BTreeSet::new(),
            queue: Vec::new(),
            expected: answered + 1,
            out: Vec::new(),
        };
        let position = Position(self.log.len() as u64);
        let people = vec![PersonChange::Here(Participant {
            session: id,
            actor,
            rights,
            profile: hello.profile.clone(),
        })];
        for message in [
            ServerMessage::Welcome(Box::new(Welcome {
                session: id,
                actor,
                rights,
                epoch: self.epoch,
                tick: Tick(self.tick),
                pace: chalkboard_shared::presence::Pace {
                    tick_us: 16_667,
                    presence: Default::default(),
                },
                position,
                durable: Position(self.durable as u64),
                answered,
                view_secret: None,
            })),
            ServerMessage::People {
                total: people.len() as u32,
                changes: people,
            },
        ] {
            session.out.push(message.encode());
        }
        cover(&mut session, &self.board, coverage, None);
        self.sessions.insert(id, session);
        id
    }

    pub(crate) fn leave(&mut self, session: SessionId) {
        self.sessions.remove(&session);
    }

    pub(crate) fn receive(&mut self, id: SessionId, frame: Bytes) {
        let message = ClientMessage::decode(frame).expect("clients send what the room can read");
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        match message {
            ClientMessage::Hello(_)
            | ClientMessage::Profile(_)
            | ClientMessage::CursorsWanted(_)
            | ClientMessage::NamesWanted(_)
            | ClientMessage::Follow(_)
            | ClientMessage::Present(_) => {}
            ClientMessage::Ops { first, ops, .. } => {
                assert_eq!(first, session.expected, "ops come without gaps");
                session.expected += ops.len() as u32;
                session.queue.extend((first..).zip(ops));
                assert!(session.queue.len() <= OPS_IN_FLIGHT_MAX, "a flood");
            }
            ClientMessage::View(view) => {
                self.views += 1;
                let next = Coverage::of_view(view, Some(session.coverage));
                if next != session.coverage {
                    let old = std::mem::replace(&mut session.coverage, next);
                    cover(session, &self.board, next, Some(old));
                }
            }
            ClientMessage::Ping(nonce) => {
                self.pings += 1;
                session.out.push(ServerMessage::Pong(nonce).encode());
            }
            ClientMessage::Cursor { sequence, .. } => self.cursors.push(sequence),
        }
    }

    /// Applies at most `ops_max` ops of each session, and tells everybody.
    pub(crate) fn step(&mut self, ops_max: usize) {
        self.tick += 1;
        let mut updates: BTreeMap<SessionId, Vec<Update>> = BTreeMap::new();
        let mut acks = Vec::new();
        let ids: Vec<_> = self.sessions.keys().copied().collect();
        for id in ids {
            let Some(session) = self.sessions.get_mut(&id) else {
                continue;
            };
            let (actor, rights) = (session.actor, session.rights);
            let ops: Vec<_> = session
                .queue
                .drain(..ops_max.min(session.queue.len()))
                .collect();
            let mut rejected = Vec::new();
            let Some((through, _)) = ops.last() else {
                continue;
            };
            let through = *through;
            for (counter, op) in ops {
                let entry = OpEntry {
                    position: Position(self.log.len() as u64 + 1),
                    id: OpId { actor, counter },
                    op: op.signed_by(actor),
                };
                let refused = self
                    .refuse_next
                    .take()
                    .or((rights == Rights::View).then_some(RejectReason::ReadOnly));
                let result = refused.map_or_else(|| self.apply(&entry), Err);
                match result {
                    Ok(()) => self.tell(&entry, &mut updates),
                    Err(reason) => rejected.push((counter, reason)),
                }
            }
            self.answered.insert(actor, through);
            acks.push((id, through, rejected));
        }
        for (id, updates) in updates {
            let tick = Tick(self.tick);
            self.send(id, &ServerMessage::Updates { tick, updates });
        }
        let position = Position(self.log.len() as u64);
        for (id, through, rejected) in acks {
            let ack = ServerMessage::Ack {
                through,
                position,
                rejected,
            };
            self.send(id, &ack);
        }
    }

    fn apply(&mut self, entry: &OpEntry) -> Result<(), RejectReason> {
        merge::apply(&mut self.board, entry.id, entry.position, &entry.op)?;
        self.log.push(entry.clone());
        Ok(())
    }

    fn tell(&mut self, entry: &OpEntry, updates: &mut BTreeMap<SessionId, Vec<Update>>) {
        for (id, session) in &mut self.sessions {
            let updates = updates.entry(*id).or_default();
            let mut whole_op = false;
            for stroke in entry.op.strokes(&entry.id) {
                let Some(stroke) = self.board.0.get(&stroke) else {
                    continue;
                };
                if !stroke.extent().intersects(session.coverage.rect()) {
                    continue;
                }
                let is_begin = matches!(entry.op, Op::Begin { .. });
                let is_restore = match &entry.op {
                    Op::Restore { .. } => true,
                    // Where it has come to nothing, the stroke is not among what is sent.
                    Op::TakeBack { former, .. } => *former == Former::Shown && !stroke.erased.value,
                    _ => false,
                };
                let is_new = session.known.insert(stroke.id);
                if is_restore || (is_new && !is_begin && !stroke.erased.value) {
                    updates.push(Update::Stroke(Box::new(stroke.clone())));
                } else {
                    whole_op = true;
                }
            }
            if whole_op {
                updates.push(Update::Op(entry.clone(), None));
            }
        }
    }

    fn send(&mut self, id: SessionId, message: &ServerMessage) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.out.push(message.encode());
        }
    }

    /// Syncs the log up to here.
    pub(crate) fn sync(&mut self) {
        self.durable = self.log.len();
        let durable = ServerMessage::Durable(Position(self.durable as u64)).encode();
        for session in self.sessions.values_mut() {
            session.out.push(durable.clone());
        }
    }

    /// Dies and comes back with what was synced.
    pub(crate) fn crash(&mut self) {
        self.sessions.clear();
        self.log.truncate(self.durable);
        self.board = Plain::default();
        self.answered.clear();
        self.epoch += 1;
        for entry in &self.log {
            merge::apply(&mut self.board, entry.id, entry.position, &entry.op)
                .expect("the log holds accepted ops");
            self.answered.insert(entry.id.actor, entry.id.counter);
        }
    }

    pub(crate) fn take(&mut self, id: SessionId) -> Vec<Bytes> {
        self.sessions
            .get_mut(&id)
            .map_or_else(Vec::new, |session| std::mem::take(&mut session.out))
    }
}

fn cover(session: &mut Session, board: &Plain, new: Coverage, old: Option<Coverage>) {
    let is_in = |c: Coverage, s: &Stroke| s.extent().intersects(c.rect());
    let strokes: Vec<_> = board
        .0
        .values()
        .filter(|s| is_in(new, s) && !old.is_some_and(|old| is_in(old, s)) && !s.erased.value)
        .cloned()
        .collect();
    session.known = board
        .0
        .values()
        .filter(|s| is_in(new, s))
        .map(|s| s.id)
        .collect();
    let messages = [ServerMessage::Coverage(new)]
        .into_iter()
        .chain(strokes.chunks(3).map(|s| ServerMessage::Chunk(s.to_vec())))
        .chain([ServerMessage::Covered]);
    for message in messages {
        session.out.push(message.encode());
    }
}

/// A room and clients on links that work when the test says so.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) room: FakeRoom,
    pub(crate) clients: Vec<Client>,
    links: Vec<Option<SessionId>>,
    /// Frames on their way to each client.
    pub(crate) coming: Vec<std::collections::VecDeque<Bytes>>,
    pub(crate) now_ms: f64,
}

pub(crate) fn options(n: u8, secret: Secret) -> ClientOptions {
    ClientOptions {
        board: chalkboard_shared::BoardId([1; 16]),
        secret,
        key: [n; 16],
        name: format!("client {n}"),
        color: 0x11_2233,
        is_stamping: false,
    }
}

impl World {
    /// So many clients, connected, with everything loaded.
    pub(crate) fn new(clients: u8) -> Self {
        let clients = (1..=clients)
            .map(|n| Client::new(options(n, Secret([1; 16]))))
            .collect();
        let mut world = Self::of(clients);
        for at in 0..world.clients.len() {
            world.connect(at);
        }
        world.settle();
        world
    }

    pub(crate) fn of(clients: Vec<Client>) -> Self {
        Self {
            room: FakeRoom::default(),
            links: clients.iter().map(|_| None).collect(),
            coming: clients.iter().map(|_| Default::default()).collect(),
            clients,
            now_ms: 0.0,
        }
    }

    pub(crate) fn connect(&mut self, at: usize) {
        self.cut(at);
        self.clients[at].connected(self.now_ms);
        let hello = self.clients[at].poll_transmit().expect("a hello");
        let Ok(ClientMessage::Hello(hello)) = ClientMessage::decode(hello.frame) else {
            panic!("the first message is a hello");
        };
        self.links[at] = Some(self.room.join(&hello));
    }

    pub(crate) fn is_linked(&self, at: usize) -> bool {
        self.links[at].is_some()
    }

    pub(crate) fn cut(&mut self, at: usize) {
        if let Some(session) = self.links[at].take() {
            self.room.leave(session);
        }
        self.coming[at].clear();
        self.clients[at].disconnected(self.now_ms);
    }

    pub(crate) fn crash(&mut self) {
        self.room.crash();
        for at in 0..self.clients.len() {
            self.cut(at);
        }
    }

    /// Takes what a client has to send to the room.
    pub(crate) fn upload(&mut self, at: usize) {
        while let Some(Transmit { frame, .. }) = self.clients[at].poll_transmit() {
            if let Some(session) = self.links[at] {
                self.room.receive(session, frame);
            }
        }
    }

    /// Gives a client at most `frames` of what the room has for it.
    pub(crate) fn download(&mut self, at: usize, frames: usize) {
        if let Some(session) = self.links[at] {
            let new = self.room.take(session);
            self.coming[at].extend(new);
        }
        for _ in 0..frames {
            let Some(frame) = self.coming[at].pop_front() else {
                break;
            };
            self.clients[at]
                .receive(self.now_ms, frame)
                .expect("the room sends what clients can read");
        }
    }

    /// One round trip for everybody.
    pub(crate) fn turn(&mut self) {
        self.now_ms += 16.0;
        for at in 0..self.clients.len() {
            self.clients[at].tick(self.now_ms);
            self.upload(at);
        }
        self.room.step(256);
        for at in 0..self.clients.len() {
            self.download(at, usize::MAX);
        }
    }

    /// Turns until nobody has anything left to send.
    pub(crate) fn settle(&mut self) {
        for _ in 0..200 {
            self.turn();
            let is_done = |(client, link): (&Client, &Option<SessionId>)| {
                link.is_none() || client.outbox.unanswered_len() == 0
            };
            if self.clients.iter().zip(&self.links).all(is_done) {
                break;
            }
        }
        // Views and their chunks take their time.
        for _ in 0..8 {
            self.turn();
        }
        self.room.sync();
        self.turn();
    }
}
