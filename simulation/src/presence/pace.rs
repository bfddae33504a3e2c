//! Which pace each session is told: the room's, with the stage that really holds, and in a room that tells less than
//! everything a full one for whoever is told exactly.
//!
//! A room at ease that tells nothing but crowds, because there are thousands, is a crowd to its senders too: what they
//! send beyond that is told to nobody. Clients that know it send less ([`Pace::cursor_interval_us`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bevy_ecs::prelude::Entity;
use chalkboard_shared::SessionId;
use chalkboard_shared::presence::{Pace, PresenceStage};
use chalkboard_shared::wire::ServerMessage;

use crate::output::Output;
use crate::room::Clock;

/// How long nothing but crowds must have been told before sessions hear of it, in milliseconds: a cell that becomes a
/// crowd, cursors again and a crowd is no news. Back is at once, because then positions are wanted.
const CROWDED_MS_MIN: u32 = 1000;

/// What sessions were told.
#[derive(Debug, Default)]
pub(super) struct ToldPace {
    /// Who goes by a fuller pace of their own: they are told exactly.
    exact: BTreeSet<SessionId>,
    /// Since when nothing but crowds was told.
    crowded_since_ms: Option<u32>,
}

impl ToldPace {
    /// Tells those whose pace has changed. `is_crowded` says whether nothing but crowds is told, and `exact` are those whose
    /// cursors are told exactly whatever the stage.
    pub(super) fn tell(
        &mut self,
        clock: &mut Clock,
        is_crowded: bool,
        exact: impl Iterator<Item = SessionId>,
        people: &BTreeMap<SessionId, Entity>,
        output: &mut Output,
    ) {
        let own = clock.pace;
        let room = Pace {
            presence: self.stage(clock.now.uptime_ms, own.presence, is_crowded),
            ..own
        };
        let full = Pace {
            presence: PresenceStage::Full,
            ..own
        };
        let is_full = room == full;
        let is_new = core::mem::replace(&mut clock.told, room) != room;
        if is_full && !is_new {
            return;
        }
        let exact: BTreeSet<_> = exact
            .filter(|session| !is_full && people.contains_key(session))
            .collect();
        let exact_before = core::mem::replace(&mut self.exact, exact);
        let exact = &self.exact;
        let mut say = |to: Arc<[SessionId]>, pace| {
            if !to.is_empty() {
                output.reliable(to, ServerMessage::Pace(pace).encode());
            }
        };
        if is_new {
            let others = people.keys().filter(|session| !exact.contains(session));
            say(others.copied().collect(), room);
            say(exact.iter().copied().collect(), full);
        } else {
            let over = exact_before.difference(exact);
            let over = over.filter(|session| people.contains_key(session));
            say(over.copied().collect(), room);
            say(exact.difference(&exact_before).copied().collect(), full);
        }
    }

    /// The stage that really holds.
    fn stage(&mut self, time_ms: u32, own: PresenceStage, is_crowded: bool) -> PresenceStage {
        if !is_crowded {
            self.crowded_since_ms = None;
            return own;
        }
        let since_ms = *self.crowded_since_ms.get_or_insert(time_ms);
        if time_ms.wrapping_sub(since_ms) >= CROWDED_MS_MIN {
            PresenceStage::Crowd
        } else {
            own
        }
    }
}

#[cfg(test)]
mod tests;
