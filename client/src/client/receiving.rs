//! What comes from the room while a board is open: its strokes and their changes, answers, people.

use chalkboard_shared::interest::Coverage;
use chalkboard_shared::limits::SESSIONS_PER_ROOM_MAX;
use chalkboard_shared::op::Former;
use chalkboard_shared::presence::Beat;
use chalkboard_shared::wire::{FollowNews, PersonChange, ServerMessage, Update, Welcome};
use chalkboard_shared::{
    ActorId, BoardRect, DecodeError, DisconnectReason, Op, OpEntry, Position, RejectReason,
    SessionId, Stroke, StrokeId, Tick,
};

use super::pace::{NamePace, OpsPace};
use super::{Client, Event, Held, Link, waiting};
use crate::history::Change;
use crate::outbox::{Entry, signed};

impl Client {
    /// The board is open: what was drawn before gets its lasting names, and what the room has not answered waits anew.
    pub(super) fn welcome(&mut self, welcome: &Welcome) -> Result<(), DecodeError> {
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

    /// Takes what comes while the board is open.
    pub(super) fn handle(&mut self, message: ServerMessage) -> Result<(), DecodeError> {
        match message {
            ServerMessage::Resumed => {
                if self.returning.is_none() || self.coverage.is_some() {
                    return Err(DecodeError::Malformed);
                }
                self.load.is_resumed = true;
            }
            ServerMessage::Coverage(coverage) => self.covers(coverage),
            ServerMessage::Chunk(strokes) => {
                let area = self.coverage.ok_or(DecodeError::Malformed)?.rect();
                self.board.put_chunk(strokes, area)?;
            }
            ServerMessage::Shown => self.is_shown = true,
            ServerMessage::Covered => self.covered()?,
            ServerMessage::Updates { tick, updates } => self.updated(tick, updates)?,
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

    /// The area that is told of is another from now on.
    fn covers(&mut self, coverage: Coverage) {
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

    fn updated(&mut self, tick: Tick, updates: Vec<Update>) -> Result<(), DecodeError> {
        self.begin_tick(tick);
        for update in updates {
            let (entry, stamp) = match update {
                Update::Op(entry, stamp) => (Some(entry), stamp),
                Update::Growth {
                    position,
                    stamp,
                    growth,
                } => (self.grown(position, &growth)?, stamp),
                Update::End {
                    position,
                    stamp,
                    end,
                } => (self.ended(position, end), stamp),
                Update::Stroke(stroke) => {
                    self.is_ahead = true;
                    self.board.put(*stroke)?;
                    continue;
                }
            };
            if let Some(entry) = entry {
                if entry.id.actor != self.actor {
                    self.note_arrival(stamp);
                }
                self.accepted(&entry);
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
}
