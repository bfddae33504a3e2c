//! The people in the room: their sessions as entities, and what others are told of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::IntoScheduleConfigs;
use chalkboard_shared::cursor::CursorState;
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::limits::PEOPLE_TOLD_MAX;
use chalkboard_shared::wire::{Participant, PersonChange, Resume, ServerMessage, Welcome};
use chalkboard_shared::{ActorId, BoardRect, Op, Position, RejectReason, Secret, SessionId};

use crate::joining::Backlog;
use crate::ledger::Ledger;
use crate::output::{Output, Recipients, Send};
use crate::room::{Clock, RoomConfig, RoomSystems, RoomTick};

/// A user: who they are and how they look.
#[derive(Component, Debug)]
pub(crate) struct User(pub(crate) Participant);

/// Where a user points, if they have pointed anywhere yet.
#[derive(Component, Debug, Default)]
pub(crate) struct Cursor {
    pub(crate) state: Option<CursorState>,
    /// When it came to be there, by its sender's clock, in units of 10 us.
    pub(crate) stamp: u32,
    pub(crate) sequence: u32,
}

/// What a user sees and what they therefore receive.
#[derive(Component, Debug)]
pub(crate) struct Viewport {
    pub(crate) view: BoardRect,
    /// `None` until the first tick has told the session what it covers.
    pub(crate) coverage: Option<Coverage>,
    /// What it held when it came back, until then.
    pub(crate) resume: Option<Resume>,
    /// The view has left the coverage, and waits for its turn to be followed.
    pub(crate) has_moved: bool,
    /// What the session lacks of its coverage.
    pub(crate) backlog: Backlog,
    /// The session waits to hear that the backlog is empty.
    pub(crate) is_covering: bool,
    /// Bytes of chunks sent that the transport has not reported as written.
    pub(crate) unwritten_bytes: u64,
}

/// An op that was not looked at yet.
#[derive(Debug)]
pub(crate) struct WaitingOp {
    pub(crate) counter: u32,
    pub(crate) stamp: Option<u32>,
    pub(crate) op: Op,
}

/// Ops of a session on their way.
#[derive(Component, Debug, Default)]
pub(crate) struct OpQueue {
    /// Not yet looked at, by counter.
    pub(crate) waiting: VecDeque<WaitingOp>,
    /// The last counter that was put into the queue.
    pub(crate) last: u32,
    /// The last counter that was answered.
    pub(crate) answered: u32,
    /// Refused in this tick.
    pub(crate) rejected: Vec<(u32, RejectReason)>,
    /// Something was answered in this tick.
    pub(crate) is_answered: bool,
    /// Position of the session's last accepted op.
    pub(crate) position: Position,
    /// The position that the session was welcomed at: ops of an earlier connection that the welcome answered are saved
    /// when all of that is.
    pub(crate) welcomed: Position,
    /// The session was told that everything up to here is saved.
    pub(crate) durable_told: Position,
}

impl OpQueue {
    /// Ops of the session are not told to be saved yet, and some of them are now.
    fn wants_durable(&self, durable: Position) -> bool {
        self.durable_told < self.position.max(self.welcomed) && self.durable_told < durable
    }
}

/// Came in with this tick: to be welcomed.
#[derive(Component, Debug)]
pub(crate) struct Newcomer {
    pub(crate) view_secret: Option<Secret>,
}

/// Sessions by number, and what this tick changed about them.
#[derive(Resource, Debug, Default)]
pub(crate) struct People {
    pub(crate) sessions: BTreeMap<SessionId, Entity>,
    actors: BTreeMap<ActorId, SessionId>,
    /// Those whom everybody is told of.
    told: BTreeSet<SessionId>,
    changes: Vec<PersonChange>,
    has_count_changed: bool,
    announced_ms: u32,
    /// Sessions with ops or strokes that wait for the next tick.
    pub(crate) unfinished: usize,
}

impl People {
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn has_work(&self) -> bool {
        self.unfinished > 0 || self.has_count_changed || !self.changes.is_empty()
    }

    /// The session in which an actor is here.
    pub(crate) fn session_of(&self, actor: ActorId) -> Option<SessionId> {
        self.actors.get(&actor).copied()
    }

    /// Somebody comes in.
    pub(crate) fn enter(&mut self, entity: Entity, person: Participant) {
        self.sessions.insert(person.session, entity);
        self.actors.insert(person.actor, person.session);
        self.has_count_changed = true;
        if self.told.len() < PEOPLE_TOLD_MAX {
            self.told.insert(person.session);
            self.changes.push(PersonChange::Here(person));
        }
    }

    /// Somebody looks different.
    pub(crate) fn change(&mut self, person: Participant) {
        if self.told.contains(&person.session) {
            self.changes.push(PersonChange::Here(person));
        }
    }

    /// Somebody has gone.
    pub(crate) fn leave(&mut self, session: SessionId, actor: ActorId) {
        self.sessions.remove(&session);
        if self.actors.get(&actor) == Some(&session) {
            self.actors.remove(&actor);
        }
        self.has_count_changed = true;
        if self.told.remove(&session) {
            self.changes.push(PersonChange::Left(session));
        }
    }

    /// Somebody who takes the place of one of those who were told, if there is a place.
    fn next_told(&self) -> Option<(SessionId, Entity)> {
        if self.told.len() >= PEOPLE_TOLD_MAX || self.told.len() == self.sessions.len() {
            return None;
        }
        self.sessions
            .iter()
            .find(|(session, _)| !self.told.contains(session))
            .map(|(session, entity)| (*session, *entity))
    }

    /// Time between announcements, in milliseconds: to tell everybody costs as much as there are people.
    fn announcement_interval_ms(&self) -> u32 {
        (self.sessions.len() as u32 / 4).min(500)
    }

    pub(crate) fn message(&self, changes: Vec<PersonChange>) -> ServerMessage {
        ServerMessage::People {
            total: self.sessions.len() as u32,
            changes,
        }
    }
}

/// Tells sessions who is here, and answers their ops.
pub(crate) struct PeoplePlugin;

impl Plugin for PeoplePlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<People>();
        app.add_systems(
            RoomTick,
            welcome_newcomers
                .in_set(RoomSystems::Interest)
                .before(crate::interest::send_changes),
        );
        app.add_systems(
            RoomTick,
            (answer_ops, announce_people, count_unfinished)
                .chain()
                .in_set(RoomSystems::Encode),
        );
    }
}

/// The first frame of a session, before anything else is sent to it.
fn welcome_newcomers(
    mut newcomers: Query<(&User, &Newcomer, &mut OpQueue)>,
    config: Res<RoomConfig>,
    clock: Res<Clock>,
    ledger: Res<Ledger>,
    people: Res<People>,
    everybody: Query<&User>,
    mut output: ResMut<Output>,
) {
    if newcomers.is_empty() {
        return;
    }
    let here = people
        .told
        .iter()
        .filter_map(|session| everybody.get(*people.sessions.get(session)?).ok())
        .map(|user| PersonChange::Here(user.0.clone()));
    let here = people.message(here.collect()).encode();
    for &entity in people.sessions.values() {
        let Ok((User(person), newcomer, mut queue)) = newcomers.get_mut(entity) else {
            continue;
        };
        (queue.welcomed, queue.durable_told) = (ledger.position, ledger.durable);
        let welcome = Welcome {
            session: person.session,
            actor: person.actor,
            rights: person.rights,
            epoch: config.epoch,
            tick: clock.tick,
            pace: clock.told,
            position: ledger.position,
            durable: ledger.durable,
            answered: ledger.answered(person.actor),
            view_secret: newcomer.view_secret,
        };
        output.reliable(
            person.session,
            ServerMessage::Welcome(Box::new(welcome)).encode(),
        );
        output.reliable(person.session, here.clone());
    }
}

/// Answers follow the updates of the same tick, so that a session has seen its op's effect first.
fn answer_ops(
    people: Res<People>,
    ledger: Res<Ledger>,
    mut queues: Query<(&User, &mut OpQueue)>,
    mut output: ResMut<Output>,
) {
    for &entity in people.sessions.values() {
        let Ok((User(person), mut queue)) = queues.get_mut(entity) else {
            continue;
        };
        if queue.is_answered {
            let queue = queue.as_mut();
            queue.is_answered = false;
            let rejected = core::mem::take(&mut queue.rejected);
            let ack = ServerMessage::Ack {
                through: queue.answered,
                position: queue.position,
                rejected,
            };
            output.reliable(person.session, ack.encode());
        }
        if queue.wants_durable(ledger.durable) {
            queue.durable_told = ledger.durable;
            output.reliable(
                person.session,
                ServerMessage::Durable(ledger.durable).encode(),
            );
        }
    }
}

/// Tells those who wait for it that the log is synced up to here, between two ticks.
pub(crate) fn tell_durable(world: &mut World, position: Position) -> Vec<Send> {
    let mut ledger = world.resource_mut::<Ledger>();
    ledger.durable = ledger.durable.max(position).min(ledger.position);
    let durable = ledger.durable;
    let mut waiting = Vec::new();
    let sessions: Vec<_> = world
        .resource::<People>()
        .sessions
        .iter()
        .map(|(session, entity)| (*session, *entity))
        .collect();
    for (session, entity) in sessions {
        if let Some(mut queue) = world.get_mut::<OpQueue>(entity)
            && queue.wants_durable(durable)
        {
            queue.durable_told = durable;
            waiting.push(session);
        }
    }
    if waiting.is_empty() {
        return Vec::new();
    }
    vec![Send {
        to: Recipients::Many(waiting.into()),
        reliable: true,
        frame: ServerMessage::Durable(durable).encode(),
    }]
}

/// Who came, left or changed, for those who were here before.
fn announce_people(
    mut people: ResMut<People>,
    newcomers: Query<(Entity, &Newcomer)>,
    users: Query<&User>,
    clock: Res<Clock>,
    mut output: ResMut<Output>,
    mut commands: Commands,
) {
    let now_ms = clock.now.uptime_ms;
    let since_ms = now_ms.wrapping_sub(people.announced_ms);
    let has_news = people.has_count_changed || !people.changes.is_empty();
    if has_news && since_ms >= people.announcement_interval_ms() {
        people.announced_ms = now_ms;
        people.has_count_changed = false;
        while let Some((session, entity)) = people.next_told() {
            people.told.insert(session);
            if let Ok(User(person)) = users.get(entity) {
                people.changes.push(PersonChange::Here(person.clone()));
            }
        }
        let changes = core::mem::take(&mut people.changes);
        let frame = people.message(changes).encode();
        let others = people
            .sessions
            .iter()
            .filter(|(_, entity)| !newcomers.contains(**entity))
            .map(|(session, _)| *session);
        output.reliable(others.collect::<Arc<[_]>>(), frame);
    }
    for (entity, _) in &newcomers {
        commands.entity(entity).remove::<Newcomer>();
    }
}

fn count_unfinished(mut people: ResMut<People>, sessions: Query<(&OpQueue, &Viewport)>) {
    people.unfinished = sessions
        .iter()
        .filter(|(queue, viewport)| {
            !queue.waiting.is_empty()
                || viewport.has_moved
                || (viewport.is_covering && viewport.can_take_chunks())
        })
        .count();
}

impl Viewport {
    /// Bytes of chunks that may be on their way to a session, by the last but one: five eighths of what its queue
    /// holds, of which a transport may keep a quarter for what is on its way already, so that live changes always find
    /// room beside them.
    const CHUNK_BYTES_IN_FLIGHT_MAX: u64 =
        chalkboard_shared::limits::SESSION_QUEUE_BYTES_MAX as u64 / 8 * 5;

    /// The area that belongs to the view.
    pub(crate) fn wanted_coverage(&self) -> Coverage {
        let held = self.resume.map(|resume| resume.coverage);
        Coverage::of_view(self.view, self.coverage.or(held))
    }

    /// The transport keeps up with the chunks sent so far.
    pub(crate) const fn can_take_chunks(&self) -> bool {
        self.unwritten_bytes < Self::CHUNK_BYTES_IN_FLIGHT_MAX
    }
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::op::InkRun;
    use chalkboard_shared::stroke::{Nib, StrokeStyle};
    use chalkboard_shared::wire::Profile;
    use chalkboard_shared::{InkPoint, Rights};

    use super::*;
    use crate::input::{Input, Join, Now};
    use crate::room::Room;

    fn join(session: u32) -> Input {
        Input::Join(Box::new(Join {
            session: SessionId(session),
            actor: ActorId(session.into()),
            rights: Rights::Edit,
            profile: Profile {
                name: String::new(),
                color: 0,
            },
            view: BoardRect::EVERYTHING,
            view_secret: None,
            resume: None,
        }))
    }

    #[test]
    fn what_is_saved_is_told_between_ticks_to_who_waits_for_it_and_once() {
        let mut room = Room::new(RoomConfig {
            epoch: 1,
            epoch_starts: Vec::new(),
            tick_us: 12_500,
        });
        let style = StrokeStyle {
            nib: Nib::Pen,
            color: 0,
            width: 64,
        };
        let ink = InkRun::new(vec![InkPoint::new(1, 2, 3)]);
        let ops = Input::Ops {
            session: SessionId(2),
            first: 1,
            stamp: None,
            ops: vec![Op::Begin { style, ink }],
        };
        room.step(Now::default(), [join(1), join(2)]);
        room.step(Now::default(), [ops]);
        assert_eq!(room.tell_durable(Position(0)), []);
        let told = room.tell_durable(Position(1));
        let frame = ServerMessage::Durable(Position(1)).encode();
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].to.as_slice(), [SessionId(2)]);
        assert!(told[0].reliable);
        assert_eq!(told[0].frame, frame);
        assert_eq!(room.tell_durable(Position(1)), []);
        let output = room.step(Now::default(), [Input::Durable(Position(1))]);
        assert!(output.sends.iter().all(|send| send.frame != frame));
        assert_eq!(room.durable(), Position(1));
    }
}
