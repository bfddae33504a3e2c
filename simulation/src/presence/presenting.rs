//! Those who present: their cursors are told exactly to everybody, as one group, whatever else is told of presence.
//!
//! Everybody hears who presents whenever that changes, and gets a new group with it, so that nobody takes what was told of
//! one set of people for what is told of the next. Changes are gathered, because each is told as often as there are
//! people.

use std::sync::Arc;

use chalkboard_shared::SessionId;
use chalkboard_shared::limits::PRESENTERS_MAX;
use chalkboard_shared::presence::{CursorSample, PresenceCell, PresenceStage};
use chalkboard_shared::wire::ServerMessage;

use super::group::{EXACT_INTERVAL_MS, Group};
use super::{Numbers, Pointer};
use crate::output::Output;

/// Time between two announcements of who presents, in milliseconds, at the least; and more for each four people.
const ANNOUNCED_EVERY_MS: u32 = 100;

/// Who presents, and their cursors.
#[derive(Debug, Default)]
pub(super) struct Presenting {
    /// As they began.
    wishes: Vec<SessionId>,
    /// The same when everybody was last told.
    sessions: Vec<SessionId>,
    /// There is one once somebody has begun.
    group: Option<Group>,
    everybody: Arc<[SessionId]>,
    is_everybody_stale: bool,
    /// Everybody is to be told.
    has_changed: bool,
    told_ms: Option<u32>,
    /// To be told alone: newcomers, and who could not begin.
    asking: Vec<SessionId>,
    is_busy: bool,
}

impl Presenting {
    pub(super) fn has_work(&self) -> bool {
        self.has_changed || self.is_busy || !self.asking.is_empty()
    }

    /// Those who present, as everybody was told.
    pub(super) fn sessions(&self) -> &[SessionId] {
        &self.sessions
    }

    /// A session has come.
    pub(super) fn enter(&mut self, session: SessionId) {
        self.is_everybody_stale = true;
        if self.group.is_some() {
            self.asking.push(session);
        }
    }

    /// A session has gone.
    pub(super) fn forget(&mut self, session: SessionId) {
        self.is_everybody_stale = true;
        self.asking.retain(|asking| *asking != session);
        self.present(session, false);
    }

    /// A session begins, unless there is no place for it, or ends.
    pub(super) fn present(&mut self, session: SessionId, is_presenting: bool) {
        if self.wishes.contains(&session) == is_presenting {
            return;
        }
        if !is_presenting {
            self.wishes.retain(|presenting| *presenting != session);
        } else if self.wishes.len() < PRESENTERS_MAX {
            self.wishes.push(session);
        } else {
            self.asking.push(session);
        }
        self.has_changed = self.wishes != self.sessions;
    }

    /// A session's cursor is elsewhere.
    pub(super) fn put(&mut self, session: SessionId, pointer: Pointer) {
        if self.sessions.contains(&session)
            && let Some(group) = &mut self.group
        {
            group.come(session, exact(pointer));
            self.is_busy = true;
        }
    }

    /// The group as a whole, if this is its number.
    pub(super) fn send_group(&self, number: u16, session: SessionId, output: &mut Output) {
        if let Some(group) = &self.group
            && group.number() == number
            && !group.is_new()
        {
            output.reliable(session, group.whole());
        }
    }

    /// Tells what has changed to everybody, whom the caller knows. `true` if others present than before.
    pub(super) fn tell(
        &mut self,
        time_ms: u32,
        everybody: impl ExactSizeIterator<Item = SessionId>,
        pointer_of: impl Fn(SessionId) -> Option<Pointer>,
        numbers: &mut Numbers,
        output: &mut Output,
    ) -> bool {
        let interval_ms = ANNOUNCED_EVERY_MS + everybody.len() as u32 / 4;
        let is_due = self
            .told_ms
            .is_none_or(|told| time_ms.wrapping_sub(told) >= interval_ms);
        if (self.has_changed || self.group.is_some())
            && core::mem::take(&mut self.is_everybody_stale)
        {
            self.everybody = everybody.collect();
        }
        let is_announced = self.has_changed && is_due;
        if is_announced {
            self.has_changed = false;
            self.sessions.clone_from(&self.wishes);
            self.told_ms = Some(time_ms);
            self.begin_group(&pointer_of, numbers);
            output.reliable(self.everybody.clone(), self.message());
        }
        for session in core::mem::take(&mut self.asking) {
            if !is_announced && let Some(group) = &self.group {
                output.reliable(session, self.message());
                self.send_group(group.number(), session, output);
            }
        }
        let (stage, list) = (PresenceStage::Full, &self.everybody);
        self.is_busy = match &mut self.group {
            Some(group) => group.tell(time_ms, stage, EXACT_INTERVAL_MS, list, list, output),
            None => false,
        };
        is_announced
    }

    /// Another set of people is another group, and nobody none.
    fn begin_group(
        &mut self,
        pointer_of: impl Fn(SessionId) -> Option<Pointer>,
        numbers: &mut Numbers,
    ) {
        if let Some(before) = self.group.take() {
            numbers.give_back(before.number());
        }
        if self.sessions.is_empty() {
            return;
        }
        let number = numbers.take(PresenceCell::EVERYWHERE);
        let mut group = Group::new(number, PresenceCell::EVERYWHERE);
        for &session in &self.sessions {
            if let Some(pointer) = pointer_of(session) {
                group.come(session, exact(pointer));
            }
        }
        self.group = Some(group);
    }

    fn message(&self) -> bytes::Bytes {
        ServerMessage::Presenters {
            group: self.group.as_ref().map_or(0, Group::number),
            sessions: self.sessions.clone(),
        }
        .encode()
    }
}

/// A cursor on the finest raster.
pub(super) fn exact(pointer: Pointer) -> CursorSample {
    CursorSample::new(PresenceCell::EVERYWHERE, pointer.state, pointer.stamp)
}
