//! The ledger: how far the log has come, and which ops each actor has had answered.

use std::collections::BTreeMap;

use bevy_ecs::prelude::*;
use chalkboard_shared::limits::ACTORS_PER_BOARD_MAX;
use chalkboard_shared::{ActorId, OpId, Position, RejectReason, Tick};

/// Positions and counters. 24 bytes an actor that ever changed the board.
#[derive(Resource, Debug, Default)]
pub(crate) struct Ledger {
    /// The last accepted op.
    pub(crate) position: Position,
    /// The tick that accepted it.
    pub(crate) tick: Tick,
    /// Everything up to here is synced.
    pub(crate) durable: Position,
    answered: BTreeMap<ActorId, u32>,
}

impl Ledger {
    /// The last counter of an actor that was answered; 0 for none.
    pub(crate) fn answered(&self, actor: ActorId) -> u32 {
        #[cfg(feature = "sabotage")]
        if chalkboard_shared::sabotage::is(chalkboard_shared::sabotage::Fault::TakenAgain) {
            return 0;
        }
        self.answered.get(&actor).copied().unwrap_or(0)
    }

    /// Takes note of an answer.
    pub(crate) fn answer(&mut self, id: OpId) {
        let last = self.answered.entry(id.actor).or_default();
        *last = id.counter.max(*last);
    }

    /// There is room for this actor's ops.
    pub(crate) fn admit(&self, actor: ActorId) -> Result<(), RejectReason> {
        if self.answered.len() < ACTORS_PER_BOARD_MAX || self.answered.contains_key(&actor) {
            Ok(())
        } else {
            Err(RejectReason::BoardFull)
        }
    }

    /// All actors with the last counter that was answered.
    pub(crate) fn actors(&self) -> impl ExactSizeIterator<Item = OpId> {
        self.answered
            .iter()
            .map(|(&actor, &counter)| OpId { actor, counter })
    }
}
