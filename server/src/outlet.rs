//! An outlet: where a room's frames for one session go, whatever carries them.
//!
//! A WebSocket session has a queue of its own, an [`Outbox`], which its task empties. Sessions over QUIC have none: what a
//! room sends to those of one shard goes there together, once a tick ([`crate::shard::Delivery`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chalkboard_shared::reason::DisconnectReason;

use crate::outbox::Outbox;
use crate::shard::{ConnectionKey, Delivery, ShardHandle};

/// Where a session's frames go.
#[derive(Debug, Clone)]
pub(crate) enum Outlet {
    /// Into its queue.
    Queue(Arc<Outbox>),
    /// To its shard.
    Shard(ShardOutlet),
}

/// A session's place in a shard.
#[derive(Debug, Clone)]
pub(crate) struct ShardOutlet {
    pub(crate) shard: ShardHandle,
    pub(crate) connection: ConnectionKey,
    is_abandoned: Arc<AtomicBool>,
}

impl Outlet {
    /// Of a connection of a shard.
    pub(crate) fn of_shard(shard: ShardHandle, connection: ConnectionKey) -> Self {
        Self::Shard(ShardOutlet {
            shard,
            connection,
            is_abandoned: Arc::default(),
        })
    }

    /// The session is gone: nobody takes anything any more.
    pub(crate) fn abandon(&self) {
        match self {
            Self::Queue(outbox) => outbox.abandon(),
            Self::Shard(outlet) => outlet.is_abandoned.store(true, Ordering::Release),
        }
    }

    /// Nobody takes anything any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        match self {
            Self::Queue(outbox) => outbox.is_abandoned(),
            Self::Shard(outlet) => outlet.is_abandoned.load(Ordering::Acquire),
        }
    }

    /// Ends the session when what waits has been sent.
    pub(crate) fn close(&self, reason: DisconnectReason) {
        match self {
            Self::Queue(outbox) => outbox.close(reason),
            Self::Shard(outlet) => {
                let mut delivery = Delivery::default();
                delivery.closes.push((outlet.connection, reason));
                outlet.shard.deliver(delivery);
            }
        }
    }
}
