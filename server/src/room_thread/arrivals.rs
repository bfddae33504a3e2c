//! Arrivals: which of a client's connections came last.
//!
//! A client that gives a link up and connects again may have said hello on the first, and that may be read late. It must
//! not take the place of the connection that the client uses. The order is that in which the server has got to know the
//! connections, whatever carries them. What becomes of sessions is [`super::hosted_room`]'s business.

use std::collections::HashMap;
use std::time::Instant;

use chalkboard_shared::{ActorId, SessionId};

/// Entries of sessions that have ended, at the most, beside as many as there are sessions.
const ENDED_MAX: usize = 64;

/// By actor, the session that came in last and when its connection came.
#[derive(Debug, Default)]
pub(super) struct Arrivals(HashMap<ActorId, (SessionId, Instant)>);

impl Arrivals {
    /// A session comes in by a connection that came then. Answers whether a newer connection of the actor is in already;
    /// then nothing has changed. `is_in` tells which sessions have not ended.
    pub(super) fn is_late(
        &mut self,
        actor: ActorId,
        session: SessionId,
        came: Instant,
        sessions: usize,
        is_in: impl Fn(SessionId) -> bool,
    ) -> bool {
        if let Some(&(present, newer)) = self.0.get(&actor)
            && newer > came
            && is_in(present)
        {
            return true;
        }
        self.0.insert(actor, (session, came));
        if self.0.len() > 2 * sessions + ENDED_MAX {
            self.0
                .retain(|_, (other, _)| *other == session || is_in(*other));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_has_left_is_forgotten() {
        let mut arrivals = Arrivals::default();
        let now = Instant::now();
        for n in 0..10_000 {
            let session = SessionId(n);
            assert!(
                !arrivals.is_late(ActorId(n.into()), session, now, 1, |other| other == session)
            );
        }
        assert!(arrivals.0.len() <= ENDED_MAX + 2);
    }

    #[test]
    fn an_older_connection_is_late_only_while_the_newer_one_is_there() {
        let mut arrivals = Arrivals::default();
        let older = Instant::now();
        let newer = older + Duration::from_millis(1);
        let (me, other) = (ActorId(1), ActorId(2));
        assert!(!arrivals.is_late(me, SessionId(1), newer, 1, |_| true));
        assert!(arrivals.is_late(me, SessionId(2), older, 1, |_| true));
        assert!(!arrivals.is_late(other, SessionId(3), older, 2, |_| true));
        assert!(!arrivals.is_late(me, SessionId(4), older, 1, |_| false));
    }
}
