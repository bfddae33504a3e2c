//! A room in the hands of its thread: what goes into each step, and where what comes out goes.
//!
//! Owns the sessions' numbers and the record that the log has no room for yet. It decides
//! nothing about the board; that is the simulation's.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use chalkboard_shared::presence::Pace;
use chalkboard_shared::reason::DisconnectReason;
use chalkboard_shared::wire::Profile;
use chalkboard_shared::{ActorId, Position, SessionId};
use chalkboard_simulation::{Input, Join, Now, Room};

use super::arrivals::Arrivals;
use super::dispatch::Dispatch;
use super::snapshot_plan::SnapshotPlan;
use crate::clock;
use crate::outbox::PushError;
use crate::outlet::Outlet;
use crate::recorder::Recorder;
use crate::room_door::{Guest, Inbox, Inspection, Message, RoomDoor};
use crate::shard::NextStep;
use crate::snapshots::Snapshots;
use crate::storage::{Author, LogBatch, LogHandle, Refusal};
use crate::telemetry::{Counters, ShortBoard};

/// Messages that one step takes; the rest waits for the next one.
const MESSAGES_PER_STEP_MAX: usize = 4096;
/// Cursors that one step takes.
const CURSORS_PER_STEP_MAX: usize = 16 * 1024;
/// How long a room stays loaded with nobody in it: a reload of the page is not worth a load of the board.
const EMPTY_MAX: Duration = Duration::from_secs(10);

/// People in a room up to which what is saved is told at once, not with the next tick: a packet more for those who draw.
const TOLD_AT_ONCE_MAX: usize = 32;

/// Steps whose way to the disk is timed at once; more wait only where the disk hangs.
const UNSYNCED_TIMED_MAX: usize = 1024;

/// A room, its door's inside, and its sessions.
pub(crate) struct HostedRoom {
    room: Room,
    door: Arc<RoomDoor>,
    inbox: Inbox,
    log: LogHandle,
    snapshots: Snapshots,
    counters: Arc<Counters>,
    sessions: HashMap<SessionId, Outlet>,
    arrivals: Arrivals,
    dispatch: Dispatch,
    next_session: u32,
    /// Inputs of the next step that come from here.
    own_inputs: Vec<Input>,
    /// Writes down what comes in, while somebody wants that.
    recorder: Option<Recorder>,
    /// What the log had no room for. No step is made before it has.
    held: Option<LogBatch>,
    /// As far as a step was given it.
    told_durable: Position,
    /// As far as those were told who wait for it.
    spoken_durable: Position,
    /// Ends of steps that accepted ops and are not synced, and when they were made.
    unsynced: VecDeque<(Position, Instant)>,
    snapshot_plan: SnapshotPlan,
    empty_since: Instant,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stepped {
    /// Wants the next tick.
    Busy,
    /// Nothing to do until something comes in.
    Idle,
    /// The log's queue is full: try again next tick.
    Stalled,
    /// The room can't go on; everybody in it is to be told why.
    Failed(DisconnectReason),
}

impl HostedRoom {
    /// A room as it was loaded, with a snapshot at `snapshot_at`.
    pub(crate) fn new(
        room: Room,
        snapshot_at: Position,
        door: Arc<RoomDoor>,
        inbox: Inbox,
        log: LogHandle,
        snapshots: Snapshots,
        counters: Arc<Counters>,
    ) -> Self {
        let now = Instant::now();
        // What was loaded was read from the log, so it is in it; the room knows that too.
        door.set_durable(room.position());
        Self {
            told_durable: room.position(),
            spoken_durable: room.position(),
            unsynced: VecDeque::new(),
            room,
            door,
            inbox,
            log,
            snapshots,
            counters,
            sessions: HashMap::new(),
            arrivals: Arrivals::default(),
            dispatch: Dispatch::default(),
            next_session: 1,
            own_inputs: Vec::new(),
            recorder: None,
            held: None,
            snapshot_plan: SnapshotPlan::new(snapshot_at),
            empty_since: now,
        }
    }

    pub(crate) fn door(&self) -> &Arc<RoomDoor> {
        &self.door
    }

    /// Sessions in it.
    pub(super) fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// How long it takes from a step to the network.
    pub(super) fn sending_delay(&self) -> Duration {
        self.dispatch.delay()
    }

    /// Whatever had come on the network until then is in the inbox.
    pub(super) fn have_shards_looked(&self, until: Instant) -> bool {
        self.dispatch.have_shards_looked(until)
    }

    /// Has shards bring what has come since.
    pub(super) fn have_shards_look(&self) {
        self.dispatch.have_shards_look();
    }

    /// From the next step on it goes at this pace.
    pub(super) fn set_pace(&mut self, pace: Pace) {
        self.own_inputs.push(Input::Pace(pace));
    }

    /// Few enough are here that what is saved is told them at once; where they are many the next step tells, because a
    /// packet to each is better shared with what the step has for them.
    pub(super) fn tells_durable_at_once(&self) -> bool {
        self.sessions.len() <= TOLD_AT_ONCE_MAX
    }

    /// The log has synced something. Tells those who wait for it; `true` where that makes a step necessary.
    pub(super) fn tell_durable(&mut self) -> bool {
        let durable = self.door.durable();
        self.note_durable(durable);
        if durable <= self.spoken_durable {
            return false;
        }
        self.spoken_durable = durable;
        let sends = self.room.tell_durable(durable);
        for (session, error) in self.dispatch.take(&sends, &self.sessions) {
            self.give_up(session, error);
        }
        self.dispatch.send(None);
        // A session that was given up is the next step's business.
        !self.own_inputs.is_empty()
    }

    /// Takes the time from the steps that accepted something to its sync.
    fn note_durable(&mut self, durable: Position) {
        while let Some((_, made)) = self.unsynced.pop_front_if(|(end, _)| *end <= durable) {
            let took = self.door.synced_at().saturating_duration_since(made);
            self.counters.timings.durable.record(took);
        }
    }

    /// Makes a step, unless the log is behind. The next one is due then at the earliest.
    pub(super) fn step(&mut self, next_step: Option<NextStep>) -> Stepped {
        if self.door.is_refused() {
            return Stepped::Failed(DisconnectReason::Storage);
        }
        if let Some(stopped) = self.append_held() {
            return stopped;
        }
        let (inputs, has_more) = self.take_inputs();
        self.counters.steps.increment();
        let now = now();
        let recorded = match &mut self.recorder {
            Some(recorder) => recorder.before_step(&mut self.room, now, &inputs),
            None => None,
        };
        let output = self.room.step(now, inputs);
        self.counters.presence_deferred.add(output.deferred.frames);
        self.counters
            .presence_deferred_bytes
            .add(output.deferred.bytes);
        if let Some(recorder) = &mut self.recorder
            && !recorded.is_some_and(|step| recorder.after_step(step, &self.room))
        {
            self.recorder = None;
        }
        // In order: frames first, so that a session learns why it ends.
        for (session, error) in self.dispatch.take(&output.sends, &self.sessions) {
            self.give_up(session, error);
        }
        for (session, reason) in output.closes {
            if let Some(outlet) = self.sessions.remove(&session) {
                self.dispatch.close(&outlet, reason);
                self.counters.sessions_ended.increment();
                self.empty_since = Instant::now();
            }
        }
        self.dispatch.send(next_step);
        self.tell_authors(output.authors);
        if let Some(record) = output.record {
            if self.unsynced.len() < UNSYNCED_TIMED_MAX {
                self.unsynced.push_back((record.last, Instant::now()));
            }
            self.held = Some(LogBatch {
                board: self.door.board(),
                first: record.first,
                last: record.last,
                record: record.bytes,
            });
            match self.append_held() {
                Some(Stepped::Stalled) => return Stepped::Stalled,
                Some(failed) => return failed,
                None => self.snapshot_when_due(),
            }
        }
        if has_more || !self.own_inputs.is_empty() || self.room.has_work() {
            Stepped::Busy
        } else {
            Stepped::Idle
        }
    }

    /// Keeps the names of those who change the board, as well as can be: history without a name is history too.
    fn tell_authors(&self, authors: Vec<(ActorId, Profile)>) {
        if authors.is_empty() {
            return;
        }
        let seen_ms = now().unix_ms;
        let author = |(actor, profile): (ActorId, Profile)| Author {
            actor,
            name: profile.name,
            color: profile.color,
            seen_ms,
        };
        let authors = authors.into_iter().map(author).collect();
        if let Err(refusal) = self.log.authors(self.door.board(), authors) {
            tracing::debug!(board = %ShortBoard(self.door.board()), %refusal, "authors were not noted");
        }
    }

    /// Offers the log what it had no room for. `None` when nothing is held any more.
    fn append_held(&mut self) -> Option<Stepped> {
        let batch = self.held.take()?;
        match self.log.try_append(batch) {
            Ok(()) => None,
            Err(Refusal::Full(batch)) => {
                self.held = Some(batch);
                self.counters.log_stalls.increment();
                Some(Stepped::Stalled)
            }
            Err(Refusal::Stopped(_)) => Some(Stepped::Failed(DisconnectReason::Stopping)),
            Err(refusal @ Refusal::TooLarge(_)) => {
                tracing::error!(board = %ShortBoard(self.door.board()), %refusal, "a tick's ops can't be saved; the room is closed and loaded again");
                Some(Stepped::Failed(DisconnectReason::Storage))
            }
        }
    }

    /// Inputs of the coming step, and whether there are more than it takes.
    fn take_inputs(&mut self) -> (Vec<Input>, bool) {
        let mut inputs = std::mem::take(&mut self.own_inputs);
        let durable = self.door.durable();
        if durable > self.told_durable {
            self.note_durable(durable);
            self.told_durable = durable;
            self.spoken_durable = durable;
            inputs.push(Input::Durable(durable));
        }
        for _ in 0..MESSAGES_PER_STEP_MAX {
            let Ok(envelope) = self.inbox.messages.try_recv() else {
                break;
            };
            match envelope.message {
                Message::Guest(guest) => inputs.extend(self.admit(*guest)),
                Message::Input(input) => {
                    if let Input::Leave(session) = input {
                        self.dismiss(session);
                    }
                    inputs.push(input);
                }
                Message::Record(recorder, answer) => {
                    let is_free = self.recorder.as_ref().is_none_or(Recorder::is_over);
                    if is_free {
                        self.recorder = Some(*recorder);
                    }
                    let _ = answer.send(is_free);
                }
                // Who asked may have stopped waiting.
                Message::Inspect(answer) => drop(answer.send(self.inspect())),
            }
        }
        for _ in 0..CURSORS_PER_STEP_MAX {
            let Ok(cursor) = self.inbox.cursors.try_recv() else {
                break;
            };
            inputs.push(cursor);
        }
        let has_more = !self.inbox.messages.is_empty() || !self.inbox.cursors.is_empty();
        (inputs, has_more)
    }

    fn admit(&mut self, guest: Guest) -> Option<Input> {
        let session = SessionId(self.next_session);
        let Some(next) = self.next_session.checked_add(1) else {
            guest.outlet.close(DisconnectReason::RoomFull);
            return None;
        };
        // Who is gone already never comes in.
        guest.answer.send(session).ok()?;
        self.next_session = next;
        let sessions = &self.sessions;
        let is_in = |other| sessions.contains_key(&other);
        let count = sessions.len();
        if self
            .arrivals
            .is_late(guest.actor, session, guest.came, count, is_in)
        {
            guest.outlet.close(DisconnectReason::Replaced);
            return None;
        }
        self.sessions.insert(session, guest.outlet);
        self.counters.sessions_joined.increment();
        Some(Input::Join(Box::new(Join {
            session,
            actor: guest.actor,
            rights: guest.rights,
            profile: guest.profile,
            view: guest.view,
            view_secret: guest.view_secret,
            resume: guest.resume,
        })))
    }

    fn dismiss(&mut self, session: SessionId) {
        if self.sessions.remove(&session).is_some() {
            self.counters.sessions_ended.increment();
            self.empty_since = Instant::now();
        }
    }

    /// A session's queue took no more.
    fn give_up(&mut self, session: SessionId, error: PushError) {
        let Some(outlet) = self.sessions.get(&session) else {
            return;
        };
        if error == PushError::Full {
            tracing::debug!(board = %ShortBoard(self.door.board()), session = session.0, "a session reads too slowly");
            self.counters.sessions_too_slow.increment();
            outlet.close(DisconnectReason::TooSlow);
        }
        self.dismiss(session);
        self.own_inputs.push(Input::Leave(session));
    }

    fn inspect(&self) -> Inspection {
        Inspection {
            position: self.room.position(),
            durable: self.door.durable().min(self.room.position()),
            digest: self.room.digest().to_string(),
            strokes: self.room.visible_stroke_count(),
            sessions: self.sessions.len(),
        }
    }

    fn snapshot_when_due(&mut self) {
        let strokes = self.room.stroke_count();
        let position = self.room.position();
        if self.snapshot_plan.is_due(position, strokes, Instant::now()) {
            self.request_snapshot();
        }
    }

    /// Has a snapshot made of what is stored, if something has changed since the last.
    pub(super) fn request_snapshot(&mut self) {
        let (position, now) = (self.room.position(), Instant::now());
        if !self.snapshot_plan.has_changed(position) {
            return;
        }
        if self.snapshots.request(self.door.board()) {
            self.snapshot_plan.made(position, now);
        } else {
            self.snapshot_plan.refused(now);
        }
    }

    /// Writes a snapshot itself, which takes a tick of a large board's time: for a room that ends. Only when nothing is held: it belongs behind the
    /// record of its position.
    pub(super) fn snapshot(&mut self) {
        let position = self.room.position();
        if !self.snapshot_plan.has_changed(position) || self.held.is_some() {
            return;
        }
        let snapshot = self.room.snapshot();
        match self.log.snapshot(self.door.board(), position, snapshot) {
            Ok(()) => self.snapshot_plan.made(position, Instant::now()),
            Err(refusal) => {
                // Costs time at the next load, nothing else.
                tracing::debug!(board = %ShortBoard(self.door.board()), %refusal, "a snapshot was not written");
                self.snapshot_plan.refused(Instant::now());
            }
        }
    }

    /// Looks for sessions whose task has ended without a word; `true` if there are any, and a step is due.
    pub(super) fn dismiss_abandoned(&mut self) -> bool {
        let gone: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, outlet)| outlet.is_abandoned())
            .map(|(session, _)| *session)
            .collect();
        for session in &gone {
            self.dismiss(*session);
            self.own_inputs.push(Input::Leave(*session));
        }
        !gone.is_empty()
    }

    /// Nobody has been here for a while and everything is saved.
    pub(super) fn is_done(&self) -> bool {
        self.sessions.is_empty()
            && self.held.is_none()
            && self.own_inputs.is_empty()
            && self.inbox.messages.is_empty()
            && self.empty_since.elapsed() >= EMPTY_MAX
            && self.door.durable() >= self.room.position()
    }

    /// Everything that was accepted has been handed to the log.
    pub(super) fn is_handed_over(&self) -> bool {
        self.held.is_none()
    }

    /// Something waits for a step.
    pub(super) fn has_news(&self) -> bool {
        self.has_messages()
            || !self.inbox.cursors.is_empty()
            || self.door.durable() > self.spoken_durable
            || self.door.is_refused()
    }

    /// Something has come in by message.
    pub(super) fn has_messages(&self) -> bool {
        !self.inbox.messages.is_empty()
    }

    /// How much has come in for the next step.
    pub(super) fn waiting_messages(&self) -> usize {
        self.inbox.messages.len() + self.inbox.cursors.len()
    }

    pub(super) fn position(&self) -> Position {
        self.room.position()
    }

    /// Ends all sessions.
    pub(super) fn close(&mut self, reason: DisconnectReason) {
        for (_, outlet) in self.sessions.drain() {
            self.dispatch.close(&outlet, reason);
            self.counters.sessions_ended.increment();
        }
        self.dispatch.send(None);
    }
}

/// The clocks, read for a tick.
fn now() -> Now {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    Now {
        unix_ms: clock::unix_ms(),
        uptime_ms: START.elapsed().as_millis() as u32,
    }
}
