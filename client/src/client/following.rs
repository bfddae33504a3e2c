//! Whom this person follows, and who presents: wishes on their way to the room, and what it has said.
//!
//! A wish holds until it is withdrawn or the room says that it can't be; on another link to the same load of the room it
//! is said again. Where cursors are is [`crate::cursors`]' business.

use chalkboard_shared::limits::PRESENTERS_MAX;
use chalkboard_shared::wire::{ClientMessage, FollowNews};
use chalkboard_shared::{BoardRect, SessionId};

/// Following and presenting of one client.
#[derive(Debug, Default)]
pub(super) struct Following {
    wanted: Option<SessionId>,
    is_unsent: bool,
    /// `None` until the room has agreed.
    view: Option<BoardRect>,
    presenters: Vec<SessionId>,
    wants_to_present: bool,
    is_wish_unsent: bool,
}

impl Following {
    pub(super) const fn followed(&self) -> Option<SessionId> {
        self.wanted
    }

    /// What the followed sees, as far as it is known.
    pub(super) const fn view(&self) -> Option<BoardRect> {
        self.view
    }

    pub(super) fn presenters(&self) -> &[SessionId] {
        &self.presenters
    }

    /// `true` if that is new.
    pub(super) fn follow(&mut self, session: Option<SessionId>) -> bool {
        let is_new = self.wanted != session;
        if is_new {
            self.wanted = session;
            self.is_unsent = true;
            self.view = None;
        }
        is_new
    }

    pub(super) const fn present(&mut self, is_presenting: bool) {
        self.is_wish_unsent |= self.wants_to_present != is_presenting;
        self.wants_to_present = is_presenting;
    }

    /// What to send now.
    pub(super) fn take_message(&mut self) -> Option<ClientMessage> {
        if core::mem::take(&mut self.is_unsent) {
            return Some(ClientMessage::Follow(self.wanted));
        }
        core::mem::take(&mut self.is_wish_unsent)
            .then_some(ClientMessage::Present(self.wants_to_present))
    }

    /// The link is gone.
    pub(super) fn disconnected(&mut self) {
        self.presenters.clear();
        self.view = None;
    }

    /// A new session knows nothing of wishes; in another load of the room sessions are others.
    pub(super) const fn connected(&mut self, is_same_load: bool) {
        if !is_same_load {
            self.wanted = None;
        }
        self.is_unsent = self.wanted.is_some();
        self.is_wish_unsent = self.wants_to_present;
    }

    /// `false` for news of somebody who was followed before.
    pub(super) fn news(&mut self, session: SessionId, news: Option<FollowNews>) -> bool {
        let is_meant = self.wanted == Some(session);
        if is_meant {
            self.view = news.map(|news| news.view);
            if news.is_none() {
                self.wanted = None;
            }
        }
        is_meant
    }

    /// These present now. `true` if there was no place for this client.
    pub(super) fn set_presenters(
        &mut self,
        own: Option<SessionId>,
        sessions: Vec<SessionId>,
    ) -> bool {
        let is_among = own.is_some_and(|own| sessions.contains(&own));
        let is_refused = self.wants_to_present && !is_among && sessions.len() >= PRESENTERS_MAX;
        self.wants_to_present &= !is_refused;
        self.presenters = sessions;
        is_refused
    }
}
