//! The client as a state machine: frames and time in, frames and events out.
//!
//! It owns the board as this person sees it, the outbox, the history, people and cursors, and speaks the protocol of
//! `chalkboard_shared::wire`. It has no socket and no clock: a platform (the web engine, `native`) brings links up,
//! hands over what comes, sends what [`Client::poll_transmit`] gives, and calls [`Client::tick`]. A link that breaks
//! leaves everything as it is; the next one resumes from it.

mod briefing;
mod drawing;
mod following;
mod keeping;
mod pace;
mod receiving;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use chalkboard_shared::cursor::CursorState;
use chalkboard_shared::digest::Digest;
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::presence::{Beat, Pace};
use chalkboard_shared::wire::{ClientMessage, Hello, Participant, Profile, Resume, ServerMessage};
use chalkboard_shared::{
    ActorId, BoardId, BoardPoint, BoardRect, DecodeError, DisconnectReason, Position, RejectReason,
    Rights, Secret, SessionId, StrokeId, Tick,
};

use crate::board::{Board, PendingOp};
use crate::bridge::{Person, SaveState};
use crate::cursors::{Cursors, Passage};
use crate::history::{History, Step};
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
