//! Where a step's frames go: into the queues of WebSocket sessions at once, and to each shard in one delivery.
//!
//! Whom a frame is for is the simulation's word, by session; shards know connections. A list of sessions that several
//! frames of a step share is translated once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chalkboard_shared::SessionId;
use chalkboard_shared::reason::DisconnectReason;
use chalkboard_simulation::{Recipients, Send};

use crate::outbox::PushError;
use crate::outlet::Outlet;
use crate::shard::{Addressees, ConnectionKey, Delivery, NextStep, Parcel, ShardHandle};

/// The frames of one step on their way.
#[derive(Debug, Default)]
pub(super) struct Dispatch {
    shards: Vec<Shard>,
    /// By the address of the list, which stays alive while the step's frames do.
    groups: HashMap<usize, Group>,
}

/// A shard, and what is for it.
#[derive(Debug)]
struct Shard {
    handle: ShardHandle,
    delivery: Delivery,
    /// It knows of the coming step, and so will bring what has come shortly before.
    knows_step: bool,
}

/// A list of sessions, by where they are.
#[derive(Debug, Default)]
struct Group {
    queued: Vec<SessionId>,
    connections: Vec<(usize, Arc<[ConnectionKey]>)>,
}

/// A session whose queue takes no more, and why.
pub(super) type Undelivered = (SessionId, PushError);

impl Dispatch {
    /// Takes a step's frames, which stay in order for each session.
    pub(super) fn take(
        &mut self,
        sends: &[Send],
        sessions: &HashMap<SessionId, Outlet>,
    ) -> Vec<Undelivered> {
        let mut undelivered = Vec::new();
        for send in sends {
            match &send.to {
                Recipients::One(session) => match sessions.get(session) {
                    Some(Outlet::Shard(outlet)) => {
                        let shard = self.shard(&outlet.shard);
                        self.shards[shard].delivery.parcels.push(Parcel {
                            to: Addressees::One(outlet.connection),
                            reliable: send.reliable,
                            frame: send.frame.clone(),
                        });
                    }
                    Some(queue @ Outlet::Queue(_)) => {
                        undelivered.extend(enqueue(*session, queue, send));
                    }
                    None => {}
                },
                Recipients::Many(list) => {
                    let address = list.as_ptr().addr();
                    if !self.groups.contains_key(&address) {
                        let group = self.group(list, sessions);
                        self.groups.insert(address, group);
                    }
                    let group = &self.groups[&address];
                    for session in &group.queued {
                        if let Some(queue) = sessions.get(session) {
                            undelivered.extend(enqueue(*session, queue, send));
                        }
                    }
                    for (shard, keys) in &group.connections {
                        self.shards[*shard].delivery.parcels.push(Parcel {
                            to: Addressees::Many(keys.clone()),
                            reliable: send.reliable,
                            frame: send.frame.clone(),
                        });
                    }
                }
            }
        }
        self.groups.clear();
        undelivered
    }

    /// Ends a session, after what it was sent.
    pub(super) fn close(&mut self, outlet: &Outlet, reason: DisconnectReason) {
        match outlet {
            Outlet::Queue(outbox) => outbox.close(reason),
            Outlet::Shard(outlet) => {
                let shard = self.shard(&outlet.shard);
                let closes = &mut self.shards[shard].delivery.closes;
                closes.push((outlet.connection, reason));
            }
        }
    }

    /// Hands each shard what is for it, and tells it when the room goes on, if that is known. Waits while a shard is too far
    /// behind.
    pub(super) fn send(&mut self, next_step: Option<NextStep>) {
        for shard in &mut self.shards {
            shard.knows_step = next_step.is_some() && !shard.delivery.is_empty();
            if !shard.delivery.is_empty() {
                shard.delivery.made = Some(Instant::now());
                shard.delivery.next_step = next_step;
                shard.handle.deliver(std::mem::take(&mut shard.delivery));
            }
        }
    }

    /// How long the slowest shard took for the last delivery that it has sent.
    pub(super) fn delay(&self) -> Duration {
        let delays = self.shards.iter().map(|shard| shard.handle.delay());
        delays.max().unwrap_or_default()
    }

    /// All shards that know of the coming step have brought what had come until then.
    pub(super) fn have_shards_looked(&self, until: Instant) -> bool {
        self.shards_that_know()
            .all(|shard| shard.handle.heard_until() >= until)
    }

    /// Has those look at the network once more.
    pub(super) fn have_shards_look(&self) {
        self.shards_that_know()
            .for_each(|shard| shard.handle.ask_to_look());
    }

    fn shards_that_know(&self) -> impl Iterator<Item = &Shard> {
        self.shards.iter().filter(|shard| shard.knows_step)
    }

    /// The place of a shard; there are as many as the server has.
    fn shard(&mut self, handle: &ShardHandle) -> usize {
        let known = self.shards.iter().position(|shard| shard.handle.is(handle));
        known.unwrap_or_else(|| {
            self.shards.push(Shard {
                handle: handle.clone(),
                delivery: Delivery::default(),
                knows_step: false,
            });
            self.shards.len() - 1
        })
    }

    fn group(&mut self, list: &[SessionId], sessions: &HashMap<SessionId, Outlet>) -> Group {
        let mut queued = Vec::new();
        let mut connections: Vec<Vec<ConnectionKey>> = Vec::new();
        for session in list {
            match sessions.get(session) {
                Some(Outlet::Queue(_)) => queued.push(*session),
                Some(Outlet::Shard(outlet)) => {
                    let shard = self.shard(&outlet.shard);
                    if connections.len() <= shard {
                        connections.resize_with(shard + 1, Vec::new);
                    }
                    connections[shard].push(outlet.connection);
                }
                None => {}
            }
        }
        let connections = connections.into_iter().enumerate();
        Group {
            queued,
            connections: connections
                .filter(|(_, keys)| !keys.is_empty())
                .map(|(shard, keys)| (shard, keys.into()))
                .collect(),
        }
    }
}

fn enqueue(session: SessionId, queue: &Outlet, send: &Send) -> Option<Undelivered> {
    let Outlet::Queue(outbox) = queue else {
        return None;
    };
    let frame: Bytes = send.frame.clone();
    if send.reliable {
        outbox.push(frame).err().map(|error| (session, error))
    } else {
        outbox.push_datagram(frame);
        None
    }
}
