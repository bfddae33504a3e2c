//! The client as a state machine: frames and time in, frames and events out.
//!
//! It owns the board as this person sees it, the outbox, the history, people and cursors, and speaks the protocol of
//! `chalkboard_shared::wire`. It has no socket and no clock: a platform (the web engine, `native`) brings links up,
//! hands over what comes, sends what [`Client::poll_transmit`] gives, and calls [`Client::tick`]. A link that breaks
//! leaves everything as it is; the next one resumes from it.

mod drawing;
mod following;
mod keeping;
mod pace;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use chalkboard_shared::cursor::CursorState;
use chalkboard_shared::digest::Digest;
use chalkboard_shared::growth::{End, Growth};
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::limits::SESSIONS_PER_ROOM_MAX;
use chalkboard_shared::op::{Former, InkRun};
use chalkboard_shared::presence::{Beat, Pace};
use chalkboard_shared::wire::{
    ClientMessage, FollowNews, Hello, Participant, PersonChange, Profile, Resume, ServerMessage,
    Update, Welcome,
};
use chalkboard_shared::{
    ActorId, BoardId, BoardPoint, BoardRect, DecodeError, DisconnectReason, Op, OpEntry, OpId,
    Position, RejectReason, Rights, Secret, SessionId, Stroke, StrokeId, Tick,
};

use crate::board::{Board, PendingOp};
use crate::bridge::{Person, SaveState};
use crate::cursors::{Cursors, Passage};
use crate::history::{Change, History, Step};
pub use crate::outbox::SavedOp;
use crate::outbox::{Entry, Outbox, signed};
use drawing::Live;
use following::Following;
use pace::{CursorPace, LinkPace, NamePace, OpsPace, ViewPace};

/// What a client is and opens.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// The board to open.
    pub board: BoardId,
    /// The capability from the link: an edit or a view secret.
    pub secret: Secret,
    /// Random bytes that only this client knows; the server derives the actor from them. The same for all of its
    /// connections, fresh for every run that is not restored from an earlier one ([`Client::restore`]).
    pub key: [u8; 16],
    /// Display name.
    pub name: String,
    /// Colour, 0xRRGGBB.
    pub color: u32,
    /// Puts its clock on what it sends and collects the stamps of others, for measurements on one clock.
    pub is_stamping: bool,
}

/// Something of somebody else's that came with a stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// What it is.
    pub kind: ArrivalKind,
    /// The sender's clock when it was made, in units of 10 us, wrapping.
    pub stamp: u32,
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrivalKind {
    /// A cursor's new place.
    Cursor,
    /// An op.
    Op,
}

/// Arrivals that are kept for [`Client::take_arrivals`], the first ones of many.
const ARRIVALS_MAX: usize = 1 << 16;

/// A frame to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// On the stream, in order; otherwise a datagram, that may be lost.
    pub reliable: bool,
    /// The frame.
    pub frame: Bytes,
}

/// Something that the platform or the person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The board is open with these rights.
    Opened {
        /// What this client may do.
        rights: Rights,
        /// The secret of a view link, for those who may edit.
        view_secret: Option<Secret>,
    },
    /// Everything in the covered area has arrived.
    Loaded,
    /// People came, went or changed, this person follows somebody else, or others present: [`Client::people`].
    People,
    /// How safe this person's changes are.
    Saved(SaveState),
    /// What undo and redo can do.
    History {
        /// Something can be undone.
        can_undo: bool,
        /// Something can be redone.
        can_redo: bool,
    },
    /// The room, or this client in its place, refused a change.
    Refused(RejectReason),
    /// So many changes wait to be sent that no more are taken: connect first.
    OutboxFull,
    /// Nothing was heard for [`LINK_DEAD_MS`]: close the link and connect again.
    LinkDead,
    /// The server ended the session; where the reason is not retryable, for good.
    Closed(DisconnectReason),
}

/// A link on which nothing comes for so long is dead, in milliseconds: a ping every 5 s and 10 s for its answer.
pub const LINK_DEAD_MS: f64 = pace::PING_EVERY_MS + pace::ANSWER_WAIT_MS;

/// How far the conversation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// No connection.
    Down,
    /// The hello waits to be sent.
    Up,
    /// The hello is on its way.
    Greeted,
    /// The server has welcomed this client.
    Open,
    /// The server has ended the session.
    Ended,
}

/// A part of the board of which everything is held.
#[derive(Debug, Clone, Copy)]
struct Held {
    coverage: Coverage,
    /// All of the coverage, or what is left of it.
    rect: BoardRect,
}

/// What it took to get to the board on the present or the last link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// The room went on with what this client held.
    pub is_resumed: bool,
    /// Bytes of frames from the welcome until everything in the covered area was there.
    pub bytes: u64,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    board: Board,
    outbox: Outbox,
    history: History,
    cursors: Cursors,
    link: Link,
    now_ms: f64,

    /// 0 until the first welcome.
    actor: ActorId,
    /// It goes on where an earlier run with its key has left.
    is_restored: bool,
    /// Numbers that this actor's ops had used up before this client's first.
    answered_before: u32,
    session: Option<SessionId>,
    rights: Option<Rights>,
    /// The room's load number, and the last position of the mirror.
    place: Option<(u64, Position)>,
    /// Strokes came whole since the last op, and may hold what later ops have made of them.
    is_ahead: bool,
    /// What the mirror holds all of at that position; nothing while that is still on its way.
    held: Option<Held>,
    /// What it held before this connection, until the room has said whether that is of use.
    returning: Option<Held>,
    load: Load,
    people: BTreeMap<SessionId, Participant>,
    /// All people on the board, of whom those above are known by name.
    people_total: u32,
    names: NamePace,
    following: Following,

    coverage: Option<Coverage>,
    /// The strokes that the connection sends first are on their way; the counter is the last op that they hold.
    first_load: Option<u32>,
    /// The tick of the last updates, and the strokes held that it has restyled, some more than once.
    updates_tick: Option<Tick>,
    thinned: Vec<StrokeId>,
    /// Strokes of a new coverage are on their way.
    covering: bool,
    /// Those in view have come, or those on top of very many.
    is_shown: bool,
    /// The last answered op whose stroke may be among them: until then it shows as predicted.
    arriving: u32,

    live: Vec<Live>,
    gesture: Option<Step>,

    cursor: CursorPace,
    ops: OpsPace,
    /// When what is drawn and pointed at is best sent on this connection.
    beat: Beat,
    arrivals: Vec<Arrival>,
    /// The room's, while connected.
    pace: Option<Pace>,
    view: ViewPace,
    pings: LinkPace,
    profile_changed: bool,

    events: VecDeque<Event>,
    /// `None` where it is to be told whatever it is.
    told_saved: Option<SaveState>,
    told_history: (bool, bool),
}

impl Client {
    /// A client that is not connected. Drawing works at once; it is sent when the board is open.
    pub fn new(options: ClientOptions) -> Self {
        let options_stamping = options.is_stamping;
        let view = BoardRect::from_corners(
            BoardPoint::new(0, 0),
            BoardPoint::from_pixels(1280.0, 800.0),
        );
        Self {
            options,
            board: Board::new(),
            outbox: Outbox::new(),
            history: History::default(),
            cursors: Cursors::new(options_stamping),
            link: Link::Down,
            now_ms: 0.0,
            actor: ActorId(0),
            is_restored: false,
            answered_before: 0,
            session: None,
            rights: None,
            place: None,
            is_ahead: false,
            held: None,
            returning: None,
            load: Load::default(),
            people: BTreeMap::new(),
            people_total: 0,
            names: NamePace::default(),
            following: Following::default(),
            coverage: None,
            first_load: None,
            updates_tick: None,
            thinned: Vec::new(),
            covering: false,
            is_shown: false,
            arriving: 0,
            live: Vec::new(),
            gesture: None,
            cursor: CursorPace::new(),
            ops: OpsPace::new(),
            beat: Beat::new(0),
            arrivals: Vec::new(),
            pace: None,
            view: ViewPace::new(view),
            pings: LinkPace::new(),
            profile_changed: false,
            events: VecDeque::new(),
            told_saved: Some(SaveState::Saved),
            told_history: (false, false),
        }
    }

    /// A link is up: says hello on it, and then sends again whatever the room has not answered.
    pub fn connected(&mut self, now_ms: f64) {
        self.disconnected(now_ms);
        self.link = Link::Up;
        self.pings.connected(now_ms);
    }

    /// The link is gone. What was drawn stays, and so does what was not sent.
    pub fn disconnected(&mut self, now_ms: f64) {
        self.now_ms = now_ms;
        self.link = Link::Down;
        self.outbox.disconnected();
        self.cursors.clear();
        self.following.disconnected();
        self.session = None;
        self.coverage = None;
        self.updates_tick = None;
        self.thinned.clear();
        self.covering = false;
        self.is_shown = false;
        self.arriving = 0;
        self.pings = LinkPace::new();
    }

    /// Takes one frame, from the stream or a datagram.
    ///
    /// # Errors
    /// Bytes that no server of this version sends: close the link.
    pub fn receive(&mut self, now_ms: f64, frame: Bytes) -> Result<(), DecodeError> {
        self.now_ms = now_ms;
        self.outbox.heard(now_ms);
        if matches!(self.link, Link::Down | Link::Ended) {
            return Ok(());
        }
        self.pings.heard();
        if self.link == Link::Greeted || self.first_load.is_some() {
            self.load.bytes += frame.len() as u64;
        }
        let message = ServerMessage::decode(frame)?;
        if let ServerMessage::Bye(reason) = message {
            self.link = Link::Ended;
            self.notify(Event::Closed(reason));
            return Ok(());
        }
        match (self.link, message) {
            (Link::Open, message) => self.handle(message),
            (Link::Greeted, ServerMessage::Welcome(welcome)) => self.welcome(&welcome),
            // A datagram may overtake the welcome on the stream.
            (
                Link::Greeted,
                ServerMessage::CursorDelta(_)
                | ServerMessage::CursorKeyframe(_)
                | ServerMessage::Crowd(_)
                | ServerMessage::LiveInk(_),
            ) => Ok(()),
            _ => Err(DecodeError::Malformed),
        }
    }

    fn welcome(&mut self, welcome: &Welcome) -> Result<(), DecodeError> {
        let mut arriving = Vec::new();
        if self.actor == ActorId(0) {
            // What a former run has made has its numbers already.
            let answered = if self.is_restored {
                0
            } else {
                welcome.answered
            };
            self.sign(welcome.actor, answered);
        } else if self.actor == welcome.actor {
            // Ops that the room has, though its answer was lost, show until its strokes have come.
            arriving = self.board.pending_through(welcome.answered);
        } else {
            // The server that knew this client is gone; its ops can't be told to another.
            self.link = Link::Ended;
            self.notify(Event::Closed(DisconnectReason::Malformed));
            return Ok(());
        }
        self.outbox.resume(
            welcome.actor,
            welcome.answered,
            welcome.position,
            welcome.durable,
        )?;
        arriving.extend(waiting(&self.outbox));
        self.board.predict_anew(self.actor, arriving);
        self.link = Link::Open;
        self.session = Some(welcome.session);
        self.rights = Some(welcome.rights);
        let is_same_load = self.place.is_some_and(|(epoch, _)| epoch == welcome.epoch);
        self.following.connected(is_same_load);
        self.place = Some((welcome.epoch, welcome.position));
        self.is_ahead = false;
        self.returning = self.held.take();
        self.load.is_resumed = false;
        self.first_load = Some(welcome.answered);
        self.people.clear();
        self.people_total = 0;
        self.names = NamePace::default();
        self.pace = Some(welcome.pace);
        self.cursors.connected(welcome.session, welcome.pace);
        self.cursor.connected();
        self.cursor.set_pace(welcome.pace);
        self.ops = OpsPace::new();
        self.beat = Beat::new(welcome.pace.tick_us);
        self.notify(Event::Opened {
            rights: welcome.rights,
            view_secret: welcome.view_secret,
        });
        self.notify(Event::People);
        Ok(())
    }

    /// Gives everything that was drawn before the first welcome its lasting name.
    fn sign(&mut self, actor: ActorId, answered: u32) {
        self.actor = actor;
        self.answered_before = answered;
        self.outbox.sign(actor, answered);
        let name = |stroke| signed(stroke, actor, answered);
        let rename = &mut |change: &mut Change| change.rename(name, answered);
        self.history.each(rename);
        if let Some(gesture) = &mut self.gesture {
            gesture.iter_mut().for_each(rename);
        }
        for live in &mut self.live {
            live.rename(name);
        }
    }

    fn handle(&mut self, message: ServerMessage) -> Result<(), DecodeError> {
        match message {
            ServerMessage::Resumed => {
                if self.returning.is_none() || self.coverage.is_some() {
                    return Err(DecodeError::Malformed);
                }
                self.load.is_resumed = true;
            }
            ServerMessage::Coverage(coverage) => {
                let before = match (self.coverage, self.returning.take()) {
                    (Some(old), _) => Some(old.rect()),
                    (None, Some(held)) if self.load.is_resumed => Some(held.rect),
                    (None, _) => None,
                };
                match before {
                    None => self.board.begin_generation(),
                    // Own strokes from outside were never kept up to date, and the room counts on nothing there.
                    Some(old) => self.evict_outside(old),
                }
                // What lies in another area was changed by ops that did not come here.
                self.is_ahead |= self.coverage.is_some();
                if let Some(held) = &mut self.held {
                    let rect = held.rect.intersection(coverage.rect());
                    *held = Held { coverage, rect };
                }
                self.coverage = Some(coverage);
                self.is_shown = false;
                self.cursors.cover(coverage);
                self.covering = true;
            }
            ServerMessage::Chunk(strokes) => {
                let area = self.coverage.ok_or(DecodeError::Malformed)?.rect();
                self.board.put_chunk(strokes, area)?;
            }
            ServerMessage::Shown => self.is_shown = true,
            ServerMessage::Covered => self.covered()?,
            ServerMessage::Updates { tick, updates } => {
                self.begin_tick(tick);
                for update in updates {
                    match update {
                        Update::Op(entry, stamp) => {
                            if entry.id.actor != self.actor {
                                self.note_arrival(stamp);
                            }
                            self.accepted(&entry);
                        }
                        Update::Growth {
                            position,
                            stamp,
                            growth,
                        } => {
                            if let Some(entry) = self.grown(position, &growth)? {
                                if entry.id.actor != self.actor {
                                    self.note_arrival(stamp);
                                }
                                self.accepted(&entry);
                            }
                        }
                        Update::End {
                            position,
                            stamp,
                            end,
                        } => {
                            if let Some(entry) = self.ended(position, end) {
                                if entry.id.actor != self.actor {
                                    self.note_arrival(stamp);
                                }
                                self.accepted(&entry);
                            }
                        }
                        Update::Stroke(stroke) => {
                            self.is_ahead = true;
                            self.board.put(*stroke)?;
                        }
                    }
                }
            }
            ServerMessage::Ack {
                through,
                position,
                rejected,
            } => self.answered(through, position, &rejected)?,
            ServerMessage::Durable(position) => self.outbox.saved(position),
            ServerMessage::People { total, changes } => {
                self.people_total = total;
                self.people_changed(changes)?;
            }
            ServerMessage::CursorGroup(group) => self.cursors.group(self.now_ms, group),
            ServerMessage::CursorKeyframe(body) => self.cursors.keyframe(self.now_ms, body)?,
            ServerMessage::Crowd(map) => self.cursors.crowd(map),
            // What is held of an earlier connection may be out of date until all has come.
            ServerMessage::LiveInk(tails) if self.first_load.is_none() => {
                tails.iter().for_each(|tail| self.board.show_ahead(tail));
            }
            ServerMessage::LiveInk(_) => {}
            ServerMessage::Pace(pace) => {
                self.pace = Some(pace);
                self.cursors.set_pace(pace);
                self.cursor.set_pace(pace);
                self.beat = Beat::new(pace.tick_us);
            }
            ServerMessage::Beat(shift_us) => {
                let sent_ms = self.cursor.sent_ms().max(self.ops.sent_ms());
                self.beat.shift(shift_us, sent_ms);
            }
            ServerMessage::CursorDelta(delta) => self.cursors.delta(self.now_ms, delta)?,
            ServerMessage::Presenters { group, sessions } => {
                self.cursors.set_presenters(self.now_ms, group);
                if self.following.set_presenters(self.session, sessions) {
                    self.notify(Event::Refused(RejectReason::StageFull));
                }
                self.notify(Event::People);
            }
            ServerMessage::Followed { session, news } => self.follow_news(session, news),
            ServerMessage::Pong(nonce) => self.pings.pong(self.now_ms, nonce),
            ServerMessage::Welcome(_) | ServerMessage::Bye(_) => {
                return Err(DecodeError::Malformed);
            }
        }
        Ok(())
    }

    fn follow_news(&mut self, session: SessionId, news: Option<FollowNews>) {
        let is_first = self.followed_view().is_none();
        if !self.following.news(session, news) {
            return;
        }
        self.cursors
            .set_followed(self.now_ms, news.map_or(0, |news| news.group));
        if news.is_none() {
            self.notify(Event::People);
            if is_first && self.people.contains_key(&session) {
                self.notify(Event::Refused(RejectReason::FollowsYou));
            }
        }
    }

    fn covered(&mut self) -> Result<(), DecodeError> {
        let coverage = self.coverage.ok_or(DecodeError::Malformed)?;
        let me = self.actor;
        let mut lost = Vec::new();
        if let Some(answered) = self.first_load.take() {
            for stroke in self.board.evict_stale() {
                // It was visible, and should be here, but was not sent: somebody has erased it meanwhile.
                let was_erased = !stroke.erased.value
                    && stroke.extent().intersects(coverage.rect())
                    && !self.board.is_predicted(stroke.id);
                if was_erased || stroke.erased.by.actor != me {
                    lost.push(stroke.id);
                }
            }
            self.board.withdraw_through(answered);
        }
        self.history.forget(&lost);
        self.covering = false;
        let rect = coverage.rect();
        self.held = Some(Held { coverage, rect });
        self.board
            .withdraw_through(std::mem::take(&mut self.arriving));
        self.evict_outside(rect);
        self.notify(Event::Loaded);
        Ok(())
    }

    fn evict_outside(&mut self, rect: BoardRect) {
        let outside = self.board.evict_outside(rect);
        self.evicted(&outside);
    }

    /// Strokes lie outside of what is covered: what others do to them is not told.
    fn evicted(&mut self, outside: &[Stroke]) {
        let me = self.actor;
        let of_others = outside.iter().filter(|s| s.erased.by.actor != me);
        self.history
            .forget(&of_others.map(|s| s.id).collect::<Vec<_>>());
    }

    /// The op behind a growth, if its stroke is held and this is news.
    fn grown(&self, position: Position, growth: &Growth) -> Result<Option<OpEntry>, DecodeError> {
        let Some(stroke) = self.growing(position, growth.begin) else {
            return Ok(None);
        };
        let Some(points) = growth.points(stroke)? else {
            return Ok(None);
        };
        let ink = InkRun::new(points);
        let op = Op::Extend {
            stroke: stroke.id,
            ink,
        };
        Ok(Some(self.brief(position, stroke, op, |counter| {
            growth.may_be(counter)
        })))
    }

    /// The op that ends a stroke, if it is held and this is news.
    fn ended(&self, position: Position, end: End) -> Option<OpEntry> {
        let stroke = self.growing(position, end.begin)?;
        let op = Op::Finish { stroke: stroke.id };
        Some(self.brief(position, stroke, op, |counter| end.may_be(counter)))
    }

    /// A stroke that still grows, if what is at this position is news.
    fn growing(&self, position: Position, begin: Position) -> Option<&Stroke> {
        let is_old = self.place.is_some_and(|(_, last)| position <= last);
        (!is_old).then(|| self.board.confirmed_wet(begin)).flatten()
    }

    /// An op of a stroke's author that was told in few words.
    fn brief(
        &self,
        position: Position,
        stroke: &Stroke,
        op: Op,
        may_be: impl Fn(u32) -> bool,
    ) -> OpEntry {
        let kind = core::mem::discriminant(&op);
        let is_meant = |(counter, entry): &(u32, &Entry)| {
            let is_of_it = match *entry.op {
                Op::Extend { stroke: of, .. } | Op::Finish { stroke: of } => of == stroke.id,
                _ => false,
            };
            let is_alike = core::mem::discriminant(&*entry.op) == kind;
            is_of_it && is_alike && !entry.echoed && may_be(*counter)
        };
        // Of others' ops the number is of no account.
        let counter = if stroke.author() == self.actor {
            let mut waiting = self.outbox.unanswered();
            waiting.find(is_meant).map_or(0, |(counter, _)| counter)
        } else {
            stroke.id.0.counter
        };
        OpEntry {
            position,
            id: OpId {
                actor: stroke.author(),
                counter,
            },
            op,
        }
    }

    fn accepted(&mut self, entry: &OpEntry) {
        if let Some((_, last)) = &mut self.place {
            if entry.position <= *last {
                return;
            }
            *last = entry.position;
            // Strokes come whole behind all ops of their tick, so this one is of a later tick.
            self.is_ahead = false;
        }
        if entry.id.actor == self.actor
            && let Some(waiting) = self.outbox.get_mut(entry.id.counter)
        {
            waiting.echoed = true;
        }
        self.board.accept(entry);
        if let Op::Restyle { .. }
        | Op::TakeBack {
            former: Former::Style(_),
            ..
        } = entry.op
        {
            let held = |stroke: &StrokeId| self.board.is_confirmed(*stroke);
            self.thinned
                .extend(entry.op.strokes(&entry.id).filter(held));
        }
    }

    /// A tick begins: strokes that the one before has taken out of the area, by a thinner pen, are of no use any more,
    /// because nobody tells what becomes of them there. Within their tick they may still come back.
    fn begin_tick(&mut self, tick: Tick) {
        if self.updates_tick == Some(tick) {
            return;
        }
        self.updates_tick = Some(tick);
        let thinned = std::mem::take(&mut self.thinned);
        if let Some(coverage) = self.coverage {
            let left = self.board.evict_left(thinned, coverage.rect());
            self.evicted(&left);
        }
    }

    fn answered(
        &mut self,
        through: u32,
        position: Position,
        rejected: &[(u32, RejectReason)],
    ) -> Result<(), DecodeError> {
        let first = self.outbox.answered().saturating_add(1);
        for (counter, reason) in rejected {
            let id = self.op_id(*counter);
            let Some(entry) = self.outbox.get_mut(*counter) else {
                continue;
            };
            if *counter < first
                || *counter > through
                || std::mem::replace(&mut entry.rejected, true)
            {
                continue;
            }
            let strokes: Vec<_> = entry.op.strokes(&id).collect();
            self.board.withdraw(*counter);
            self.history.forget(&strokes);
            self.live.retain(|live| !strokes.contains(&live.current()));
            self.notify(Event::Refused(*reason));
        }
        // Checks that these were sent, which bounds the loop below.
        let unsent: Vec<u32> = (first..=through.min(self.outbox.next_counter()))
            .filter(|counter| {
                let is_unsent = |entry: &Entry| !entry.echoed && !entry.rejected;
                self.outbox.get(*counter).is_some_and(is_unsent)
            })
            .collect();
        self.outbox.answer(through, position)?;
        // Everything up to there has come before the answer, and what did not come is applied below.
        if let Some((_, last)) = &mut self.place {
            *last = position.max(*last);
        }
        let covered = self.coverage.map_or(BoardRect::EMPTY, Coverage::rect);
        let is_coming = self.covering || self.view.is_awaited(self.coverage);
        for counter in unsent {
            if is_coming && self.board.is_unconfirmed(counter) {
                self.arriving = counter;
                continue;
            }
            self.board.accept_unsent(counter, position, covered);
        }
        self.board.answered();
        Ok(())
    }

    fn people_changed(&mut self, changes: Vec<PersonChange>) -> Result<(), DecodeError> {
        for change in changes {
            match change {
                PersonChange::Here(mut person) => {
                    person.profile = person.profile.tidied();
                    self.people.insert(person.session, person);
                    if self.people.len() > SESSIONS_PER_ROOM_MAX {
                        return Err(DecodeError::OutOfRange);
                    }
                }
                PersonChange::Left(session) => {
                    self.people.remove(&session);
                    self.cursors.remove(session);
                }
            }
        }
        self.notify(Event::People);
        Ok(())
    }

    /// The next frame to send, if there is one.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let reliable = |message: &ClientMessage| {
            Some(Transmit {
                reliable: true,
                frame: message.encode(),
            })
        };
        if self.link == Link::Up {
            self.link = Link::Greeted;
            self.load = Load::default();
            self.profile_changed = false;
            let hello = Hello {
                board: self.options.board,
                secret: self.options.secret,
                key: self.options.key,
                profile: self.profile(),
                view: self.view.take(self.now_ms),
                resume: self.resume(),
            };
            return reliable(&ClientMessage::Hello(Box::new(hello)));
        }
        if self.link != Link::Open {
            return None;
        }
        if std::mem::take(&mut self.profile_changed) {
            return reliable(&ClientMessage::Profile(self.profile()));
        }
        if let Some(message) = self.following.take_message() {
            return reliable(&message);
        }
        // New ink lies in view: the room must know the view first, or it would not send it back.
        let unsent = self.outbox.has_unsent();
        if self.view.is_due(self.now_ms) || (unsent && self.view.is_outside(self.coverage)) {
            return reliable(&ClientMessage::View(self.view.take(self.now_ms)));
        }
        if self.ops.is_due(self.now_ms, &self.beat)
            && let Some((first, ops)) = self.outbox.next_message()
        {
            self.ops.sent(self.now_ms);
            let actor = self.actor;
            let unsigned =
                |op: &std::sync::Arc<chalkboard_shared::Op>| op.as_ref().clone().unsigned(actor);
            let ops = ops.iter().map(unsigned).collect();
            let stamp = self.stamp(self.now_ms);
            return reliable(&ClientMessage::Ops { first, stamp, ops });
        }
        if self.people_total as usize > self.people.len() {
            let known = &self.people;
            let unknown = self
                .cursors
                .sessions()
                .filter(|session| !known.contains_key(session));
            if let Some(wanted) = self.names.take(self.now_ms, unknown) {
                return reliable(&ClientMessage::NamesWanted(wanted));
            }
        }
        if let Some(group) = self.cursors.take_missed(self.now_ms) {
            return reliable(&ClientMessage::CursorsWanted(group));
        }
        if let Some(nonce) = self.pings.take_ping(self.now_ms) {
            return reliable(&ClientMessage::Ping(nonce));
        }
        let due = self.cursor.take(self.now_ms, &self.beat)?;
        let cursor = ClientMessage::Cursor {
            sequence: due.sequence,
            stamp: Some(self.cursor_stamp(due.moved_ms)),
            cursor: due.cursor,
        };
        Some(Transmit {
            reliable: false,
            frame: cursor.encode(),
        })
    }

    /// When a cursor came to be somewhere, as others are told it: to the millisecond, which is all that smooth motion
    /// takes, or exactly for measurements.
    fn cursor_stamp(&self, moved_ms: f64) -> u32 {
        self.stamp(moved_ms)
            .unwrap_or((moved_ms as u64 as u32).wrapping_mul(100))
    }

    /// A moment of the caller's clock as others are told it.
    fn stamp(&self, now_ms: f64) -> Option<u32> {
        self.options
            .is_stamping
            .then_some((now_ms * 100.0) as u64 as u32)
    }

    fn note_arrival(&mut self, stamp: Option<u32>) {
        if let Some(stamp) = stamp
            && self.options.is_stamping
            && self.arrivals.len() < ARRIVALS_MAX
        {
            let kind = ArrivalKind::Op;
            self.arrivals.push(Arrival { kind, stamp });
        }
    }

    /// What has come from others with a stamp since the last call, if this client is stamping; the first 65,536 of
    /// each kind.
    pub fn take_arrivals(&mut self) -> Vec<Arrival> {
        let cursors = self.cursors.take_arrivals();
        self.arrivals
            .extend(cursors.into_iter().map(|stamp| Arrival {
                kind: ArrivalKind::Cursor,
                stamp,
            }));
        std::mem::take(&mut self.arrivals)
    }

    /// Ways of others since the last call on which they were not told because they went on as they had, if this client
    /// is stamping; the first 65,536 of them.
    pub fn take_passages(&mut self) -> Vec<Passage> {
        self.cursors.take_passages()
    }

    /// The ops that this client has learned to be saved since the last call, by its [`Client::actor`]: for those who
    /// hold the server to it. The first call begins the account; the first 262,144 between two calls are kept.
    pub fn take_saved(&mut self) -> Vec<SavedOp> {
        self.outbox.take_saved()
    }

    /// The next event, if there is one.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let saved = self.save_state();
        if self.told_saved != Some(saved) {
            self.told_saved = Some(saved);
            return Some(Event::Saved(saved));
        }
        let history = (self.history.can_undo(), self.history.can_redo());
        if self.told_history != history {
            self.told_history = history;
            let (can_undo, can_redo) = history;
            return Some(Event::History { can_undo, can_redo });
        }
        None
    }

    /// Lets time pass: pings, the last position of a resting cursor, a dead link. Call it once a frame, or at
    /// [`Client::poll_timeout`]; then [`Client::poll_transmit`].
    pub fn tick(&mut self, now_ms: f64) {
        self.now_ms = now_ms;
        if matches!(self.link, Link::Greeted | Link::Open) && self.pings.is_dead(now_ms) {
            self.notify(Event::LinkDead);
        }
    }

    /// When [`Client::tick`] will next have something to do, on the caller's clock; `None` without a link.
    pub fn poll_timeout(&self) -> Option<f64> {
        match self.link {
            Link::Down | Link::Ended => None,
            Link::Up | Link::Greeted => Some(self.pings.next_ms()),
            Link::Open => Some(
                self.pings
                    .next_ms()
                    .min(self.view.next_ms())
                    .min(self.cursor.next_ms(&self.beat))
                    .min(self.ops_due_ms()),
            ),
        }
    }

    /// When ops that wait are to be sent; infinity where none wait.
    fn ops_due_ms(&self) -> f64 {
        if self.outbox.has_unsent() {
            self.ops.next_ms(&self.beat)
        } else {
            f64::INFINITY
        }
    }

    /// What this person sees.
    pub const fn board(&self) -> &Board {
        &self.board
    }

    /// What this person sees, to take its changes.
    pub const fn board_mut(&mut self) -> &mut Board {
        &mut self.board
    }

    /// How often the room ticks and how much of presence it tells; `None` before the first connection.
    pub const fn pace(&self) -> Option<Pace> {
        self.pace
    }

    /// When what is drawn and pointed at is best sent, as the server has said on this connection.
    pub const fn beat(&self) -> &Beat {
        &self.beat
    }

    /// Other people's cursors.
    pub const fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// This person points here now.
    pub fn set_cursor(&mut self, now_ms: f64, cursor: CursorState) {
        self.now_ms = now_ms;
        if cursor.at.is_in_bounds() {
            self.cursor.set(now_ms, cursor);
        }
    }

    /// This person sees this part of the board now.
    pub fn set_view(&mut self, view: BoardRect) {
        if !view.is_empty() {
            // The room cuts it at the plane's edge too.
            let all = BoardRect::EVERYTHING;
            let inside = |p: BoardPoint| {
                BoardPoint::new(
                    p.x.clamp(all.min.x, all.max.x),
                    p.y.clamp(all.min.y, all.max.y),
                )
            };
            self.view
                .set(BoardRect::from_corners(inside(view.min), inside(view.max)));
        }
    }

    /// This person's display name and colour (0xRRGGBB) from now on.
    pub fn rename(&mut self, name: String, color: u32) {
        self.options.name = name;
        self.options.color = color;
        self.profile_changed = true;
        self.notify(Event::People);
    }

    /// From now on this person sees what that session sees ([`Client::followed_view`]), or looks around alone again.
    pub fn follow(&mut self, session: Option<SessionId>) {
        if self.following.follow(session) {
            self.cursors.set_followed(self.now_ms, 0);
            self.notify(Event::People);
        }
    }

    /// Whom this person follows.
    pub const fn followed(&self) -> Option<SessionId> {
        self.following.followed()
    }

    /// What they see, as far as it is known.
    pub const fn followed_view(&self) -> Option<BoardRect> {
        self.following.view()
    }

    /// Who presents, in the order in which they began: everybody sees their cursors exactly.
    pub fn presenters(&self) -> &[SessionId] {
        self.following.presenters()
    }

    /// This person wants to present, so that their cursor is told exactly to everybody, or no more. For those who may
    /// edit; where eight present already, [`RejectReason::StageFull`] follows.
    pub const fn present(&mut self, is_presenting: bool) {
        self.following.present(is_presenting);
    }

    fn profile(&self) -> Profile {
        Profile {
            name: self.options.name.clone(),
            color: self.options.color,
        }
        .tidied()
    }

    /// How many people are on the board, this person included: more than [`Client::people`] names in a large session.
    pub fn people_total(&self) -> usize {
        (self.people_total as usize).max(self.people.len()).max(1)
    }

    /// Who is here, this person first. In a large session these are the first to come and those whose cursors are near.
    pub fn people(&self) -> Vec<Person> {
        let profile = self.profile();
        let me = Person {
            session: self.session.map_or(0, |session| session.0),
            name: profile.name,
            color: profile.color,
            me: true,
            can_edit: self.rights == Some(Rights::Edit),
            presents: self
                .session
                .is_some_and(|own| self.presenters().contains(&own)),
            followed: false,
        };
        let is_other = |p: &&Participant| Some(p.session) != self.session && p.actor != self.actor;
        let others = self.people.values().filter(is_other).map(|person| Person {
            session: person.session.0,
            name: person.profile.name.clone(),
            color: person.profile.color,
            me: false,
            can_edit: person.rights == Rights::Edit,
            presents: self.presenters().contains(&person.session),
            followed: self.followed() == Some(person.session),
        });
        std::iter::once(me).chain(others).collect()
    }

    /// How safe this person's changes are. An op is with the server once the room has answered it.
    pub fn save_state(&self) -> SaveState {
        match (self.outbox.unanswered_len(), self.outbox.unsaved_len()) {
            (0, 0) => SaveState::Saved,
            (0, pending) => SaveState::Sent { pending },
            (pending, _) => SaveState::Local { pending },
        }
    }

    /// Number of the last op up to which all of this client's are saved, or were refused; 0 for none.
    pub const fn saved_through(&self) -> u32 {
        self.outbox.saved_through()
    }

    /// What this client may do, once the server has said it.
    pub const fn rights(&self) -> Option<Rights> {
        self.rights
    }

    /// Digest of the confirmed strokes in the covered area: the room's, where that is the whole board.
    pub fn digest(&self) -> Digest {
        self.board.digest()
    }

    /// The server has welcomed this client on the present link.
    pub fn is_open(&self) -> bool {
        self.link == Link::Open
    }

    /// Everything in view has arrived on the present link, or, of more than can come at once, what lies on top of it all
    /// over the view. The rest, and what is around, may follow.
    pub const fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// Everything in the covered area has arrived on the present link.
    pub fn is_loaded(&self) -> bool {
        self.is_open() && self.coverage.is_some() && self.first_load.is_none()
    }

    /// The last position that the mirror holds.
    pub fn position(&self) -> Position {
        self.place.map_or(Position(0), |(_, position)| position)
    }

    /// What this client holds of an earlier connection.
    fn resume(&self) -> Option<Resume> {
        let (epoch, position) = self.place?;
        let Held { coverage, rect } = self.held?;
        Some(Resume {
            epoch,
            position,
            is_ahead: self.is_ahead,
            coverage,
            held: rect,
        })
    }

    /// What it took to get to the board on the present or the last link.
    pub const fn load(&self) -> Load {
        self.load
    }

    /// The log is synced up to here, as far as this client knows.
    pub const fn durable(&self) -> Position {
        self.outbox.durable()
    }

    /// What this connection covers: within it the board is up to date.
    pub const fn coverage(&self) -> Option<Coverage> {
        self.coverage
    }

    /// This connection's session.
    pub const fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Who this client is, once the server has said it.
    pub fn actor(&self) -> Option<ActorId> {
        (self.actor != ActorId(0)).then_some(self.actor)
    }

    /// The last measured round trip in milliseconds.
    pub const fn round_trip_ms(&self) -> Option<f64> {
        self.pings.round_trip_ms()
    }

    /// Queues an event. Of a kind only the newest waits, so that the queue is short however long nobody asks.
    fn notify(&mut self, event: Event) {
        self.events.retain(|other| match (other, &event) {
            (Event::Refused(a), Event::Refused(b)) => a != b,
            _ => std::mem::discriminant(other) != std::mem::discriminant(&event),
        });
        self.events.push_back(event);
    }

    /// The lasting name of a stroke that the caller may know by an earlier one.
    fn resolve(&self, stroke: StrokeId) -> StrokeId {
        if stroke.0.counter == 0 {
            return stroke;
        }
        signed(stroke, self.actor, self.answered_before)
    }
}

/// What shows before the room has answered it.
fn waiting(outbox: &Outbox) -> Vec<(u32, PendingOp)> {
    let pending = |(counter, entry): (u32, &Entry)| {
        let op = entry.op.clone();
        let ink_end = entry.ink_end;
        (counter, PendingOp { op, ink_end })
    };
    outbox.unanswered().map(pending).collect()
}

#[cfg(test)]
pub(crate) mod fake_room;
#[cfg(test)]
mod tests;
