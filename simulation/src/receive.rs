//! Receive: inputs become state of sessions.

use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::IntoScheduleConfigs;
use chalkboard_shared::limits::{NAMES_WANTED_MAX, OPS_IN_FLIGHT_MAX, SESSIONS_PER_ROOM_MAX};
use chalkboard_shared::wire::{Participant, PersonChange, Resume, ServerMessage};
use chalkboard_shared::{ActorId, DisconnectReason, Op, Rights, SessionId};

use crate::audience::Audience;
use crate::input::{Inbox, Input, Join};
use crate::joining::Backlog;
use crate::ledger::Ledger;
use crate::live_ink::LiveInk;
use crate::output::Output;
use crate::people::{Cursor, Newcomer, OpQueue, People, User, Viewport, WaitingOp};
use crate::presence::{Attention, Presence};
use crate::resuming::is_continued;
use crate::room::{Clock, RoomConfig, RoomSystems, RoomTick};

/// Units of a cursor's stamp in a millisecond.
const STAMPS_PER_MS: u32 = 100;

/// Takes the inbox apart.
pub(crate) struct ReceivePlugin;

impl Plugin for ReceivePlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Ledger>();
        app.add_systems(RoomTick, receive_inputs.in_set(RoomSystems::Receive));
    }
}

/// Exclusive, because sessions come and go in the order of the inputs.
fn receive_inputs(world: &mut World) {
    let mut inputs = core::mem::take(&mut world.resource_mut::<Inbox>().0);
    for input in inputs.drain(..) {
        match input {
            Input::Join(join) => receive_join(world, *join),
            Input::Leave(session) => forget(world, session),
            Input::Ops {
                session,
                first,
                stamp,
                ops,
            } => receive_ops(world, session, first, stamp, ops),
            Input::View { session, view } => {
                if let Some(mut viewport) = component_mut::<Viewport>(world, session) {
                    viewport.view = view;
                    world.resource_mut::<Presence>().note_view(session);
                }
            }
            Input::Profile { session, profile } => {
                let Some(mut user) = component_mut::<User>(world, session) else {
                    continue;
                };
                user.0.profile = profile.tidied();
                let person = user.0.clone();
                crate::authors::note_profile(world, &person);
                world.resource_mut::<People>().change(person);
            }
            Input::Cursor {
                session,
                sequence,
                stamp,
                cursor,
            } => {
                let uptime_ms = world.resource::<Clock>().now.uptime_ms;
                if let Some(mut current) = component_mut::<Cursor>(world, session)
                    && (current.state.is_none()
                        || sequence.wrapping_sub(current.sequence) as i32 > 0)
                {
                    *current = Cursor {
                        state: Some(cursor),
                        stamp: stamp.unwrap_or(uptime_ms.wrapping_mul(STAMPS_PER_MS)),
                        sequence,
                    };
                    world.resource_mut::<Presence>().note_moved(session);
                }
            }
            Input::CursorsWanted { session, group } => {
                let time_ms = world.resource::<Clock>().now.uptime_ms;
                world.resource_scope(|world, mut output: Mut<'_, Output>| {
                    world.resource_scope(|world, presence: Mut<'_, Presence>| {
                        if let Some(mut attention) = component_mut::<Attention>(world, session) {
                            presence.answer(session, &mut attention, group, time_ms, &mut output);
                        }
                    });
                });
            }
            Input::Follow { session, followed } => receive_follow(world, session, followed),
            Input::Present {
                session,
                is_presenting,
            } => receive_presentation(world, session, is_presenting),
            Input::NamesWanted { session, of } => receive_question(world, session, &of),
            Input::Pace(pace) => {
                world.resource_mut::<Clock>().pace = pace;
            }
            Input::Written { session, bytes } => {
                if let Some(mut viewport) = component_mut::<Viewport>(world, session) {
                    viewport.unwritten_bytes =
                        viewport.unwritten_bytes.saturating_sub(bytes.into());
                }
            }
            Input::Lossy { session, is_lossy } => {
                if !is_lossy || world.resource::<People>().sessions.contains_key(&session) {
                    world.resource_mut::<LiveInk>().follow(session, is_lossy);
                }
            }
            Input::Durable(position) => {
                let mut ledger = world.resource_mut::<Ledger>();
                ledger.durable = ledger.durable.max(position).min(ledger.position);
            }
        }
    }
    world.resource_mut::<Inbox>().0 = inputs;
}

fn component_mut<C: Component<Mutability = bevy_ecs::component::Mutable>>(
    world: &mut World,
    session: SessionId,
) -> Option<Mut<'_, C>> {
    let entity = *world.resource::<People>().sessions.get(&session)?;
    world.get_mut::<C>(entity)
}

fn receive_join(world: &mut World, join: Join) {
    let Join {
        session,
        actor,
        rights,
        profile,
        view,
        view_secret,
        resume,
    } = join;
    if world.resource::<People>().len() >= SESSIONS_PER_ROOM_MAX {
        close(world, session, DisconnectReason::RoomFull);
        return;
    }
    if let Some(earlier) = world.resource::<People>().session_of(actor) {
        close(world, earlier, DisconnectReason::Replaced);
    }
    let answered = world.resource::<Ledger>().answered(actor);
    let person = Participant {
        session,
        actor,
        rights,
        profile: profile.tidied(),
    };
    let is_continued = |resume: &Resume| {
        is_continued(
            world.resource::<RoomConfig>(),
            world.resource::<Ledger>(),
            resume,
        )
    };
    let viewport = Viewport {
        view,
        coverage: None,
        resume: resume.filter(is_continued),
        has_moved: false,
        backlog: Backlog::default(),
        is_covering: false,
        unwritten_bytes: 0,
    };
    let queue = OpQueue {
        last: answered,
        answered,
        ..OpQueue::default()
    };
    let entity = world
        .spawn((
            User(person.clone()),
            Cursor::default(),
            Attention::default(),
            viewport,
            queue,
            Newcomer { view_secret },
        ))
        .id();
    world.resource_mut::<People>().enter(entity, person);
    world.resource_mut::<Presence>().enter(session);
}

/// Somebody asks for the names of those whom everybody is not told of.
fn receive_question(world: &mut World, session: SessionId, of: &[SessionId]) {
    let time_ms = world.resource::<Clock>().now.uptime_ms;
    let may_ask = component_mut::<Attention>(world, session)
        .is_some_and(|mut attention| attention.may_be_answered(time_ms));
    if !may_ask {
        return;
    }
    let people = world.resource::<People>();
    let user = |session| world.get::<User>(*people.sessions.get(session)?);
    let known = of.iter().take(NAMES_WANTED_MAX).filter_map(user);
    let changes = known.map(|user| PersonChange::Here(user.0.clone()));
    let answer = people.message(changes.collect()).encode();
    world.resource_mut::<Output>().reliable(session, answer);
}

/// A session that is not in the room is not heard, nor is one that may not edit when it comes to presenting.
fn receive_follow(world: &mut World, session: SessionId, followed: Option<SessionId>) {
    let sessions = &world.resource::<People>().sessions;
    if sessions.contains_key(&session) {
        let is_here = followed.is_some_and(|followed| sessions.contains_key(&followed));
        let mut presence = world.resource_mut::<Presence>();
        presence.follow(session, followed, is_here);
    }
}

fn receive_presentation(world: &mut World, session: SessionId, is_presenting: bool) {
    let may_edit =
        component_mut::<User>(world, session).is_some_and(|user| user.0.rights == Rights::Edit);
    if may_edit {
        let mut presence = world.resource_mut::<Presence>();
        presence.present(session, is_presenting);
    }
}

fn receive_ops(
    world: &mut World,
    session: SessionId,
    first: u32,
    stamp: Option<u32>,
    ops: Vec<Op>,
) {
    let Some(mut queue) = component_mut::<OpQueue>(world, session) else {
        return;
    };
    for (op, counter) in ops.into_iter().zip(first..) {
        // What was sent again after a reconnect may have been answered before.
        if counter > queue.last {
            queue.last = counter;
            queue.waiting.push_back(WaitingOp { counter, stamp, op });
        }
    }
    if queue.waiting.len() > OPS_IN_FLIGHT_MAX {
        close(world, session, DisconnectReason::Flood);
    }
}

/// Ends a session from the room's side.
fn close(world: &mut World, session: SessionId, reason: DisconnectReason) {
    forget(world, session);
    let mut output = world.resource_mut::<Output>();
    output.reliable(session, ServerMessage::Bye(reason).encode());
    output.closes.push((session, reason));
}

fn forget(world: &mut World, session: SessionId) {
    if let Some(&entity) = world.resource::<People>().sessions.get(&session) {
        let actor = world.get::<User>(entity).map(|user| user.0.actor);
        world
            .resource_mut::<People>()
            .leave(session, actor.unwrap_or(ActorId(0)));
        let attention = world
            .get_mut::<Attention>(entity)
            .as_deref_mut()
            .map(core::mem::take);
        world
            .resource_mut::<Presence>()
            .forget(session, &attention.unwrap_or_default());
        let covered = world
            .get::<Viewport>(entity)
            .and_then(|viewport| viewport.coverage);
        world
            .resource_mut::<Audience>()
            .follow(session, covered, None);
        world.resource_mut::<LiveInk>().follow(session, false);
        world.despawn(entity);
    }
}
