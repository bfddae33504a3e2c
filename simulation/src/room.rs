//! The room itself: its world, its schedule, and the step.

use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::{IntoScheduleConfigs, Schedule, ScheduleLabel, SingleThreadedExecutor};
use bytes::Bytes;
use chalkboard_shared::digest::Digest;
use chalkboard_shared::presence::{Pace, PresenceStage};
use chalkboard_shared::{EpochStart, Position, Stroke, Tick};

use crate::audit::{self, AuditError};
use crate::cells::Cells;
use crate::input::{Inbox, Input, Now};
use crate::ledger::Ledger;
use crate::live_ink::LiveInk;
use crate::output::{Output, Send};
use crate::people::People;
use crate::recovery::{self, RecoveryError};
use crate::strokes::{Body, StrokeTable};
use crate::{apply, authorize, index, interest, people, presence, receive, resuming, snapshot};

/// What a room must be told about itself.
#[derive(Resource, Debug, Clone, PartialEq, Eq)]
pub struct RoomConfig {
    /// How often the board has been loaded: a new number for every load.
    pub epoch: u64,
    /// Where this load and those before it began in the log, ascending, without gaps: who was here in one of them can
    /// resume. Empty where nothing is known of them.
    pub epoch_starts: Vec<EpochStart>,
    /// Length of a tick in microseconds at first; sessions are told, the caller keeps to it, or says so by
    /// [`crate::Input::Pace`].
    pub tick_us: u32,
}

/// The parts of a tick, in their order.
#[derive(SystemSet, Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoomSystems {
    /// Inputs become state of sessions: who is here, what they see, ops that wait.
    Receive,
    /// Waiting ops are checked: rights, numbers, limits.
    Authorize,
    /// Ops that passed change the board, and nothing else does.
    Apply,
    /// Digest and spatial index follow.
    Index,
    /// What each session covers follows its view.
    Interest,
    /// What changed is encoded, once for all who must see it.
    Encode,
}

/// The schedule of a tick.
#[derive(ScheduleLabel, Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct RoomTick;

/// The tick in progress.
#[derive(Resource, Debug)]
pub(crate) struct Clock {
    pub(crate) tick: Tick,
    pub(crate) now: Now,
    /// As the caller has chosen it.
    pub(crate) pace: Pace,
    /// As sessions are told it, but for those who are told exactly.
    pub(crate) told: Pace,
}

struct SchedulePlugin;

impl Plugin for SchedulePlugin {
    fn build(&self, app: &mut App) {
        let mut schedule = Schedule::new(RoomTick);
        schedule.set_executor(SingleThreadedExecutor::new());
        app.add_schedule(schedule).configure_sets(
            RoomTick,
            (
                RoomSystems::Receive,
                RoomSystems::Authorize,
                RoomSystems::Apply,
                RoomSystems::Index,
                RoomSystems::Interest,
                RoomSystems::Encode,
            )
                .chain(),
        );
    }
}

/// A live world that serves one board.
pub struct Room {
    world: World,
    schedule: Schedule,
}

impl core::fmt::Debug for Room {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "Room(tick {}, position {})",
            self.tick().0,
            self.position().0
        )
    }
}

impl Room {
    /// A room with an empty board.
    pub fn new(config: RoomConfig) -> Self {
        let pace = Pace {
            tick_us: config.tick_us,
            presence: PresenceStage::Full,
        };
        let clock = Clock {
            tick: Tick(0),
            now: Now::default(),
            pace,
            told: pace,
        };
        let mut app = App::empty();
        app.insert_resource(config)
            .insert_resource(clock)
            .init_resource::<Inbox>()
            .init_resource::<Output>()
            .add_plugins(SchedulePlugin)
            .add_plugins((
                receive::ReceivePlugin,
                authorize::AuthorizePlugin,
                apply::ApplyPlugin,
                index::IndexPlugin,
                interest::InterestPlugin,
                people::PeoplePlugin,
                presence::PresencePlugin,
            ));
        let mut world = core::mem::take(app.world_mut());
        let schedule = world
            .resource_mut::<bevy_ecs::schedule::Schedules>()
            .remove(RoomTick)
            .expect("SchedulePlugin has added it");
        Self { world, schedule }
    }

    /// A room as its log tells: the newest snapshot, and the records after it in order. Its ticks go on from that of
    /// the last record.
    ///
    /// # Errors
    /// The snapshot or a record is damaged, or does not follow from what is before it. Nothing is changed by that:
    /// an older snapshot with a longer tail may still do.
    pub fn recover(
        config: RoomConfig,
        snapshot: Option<(Position, Bytes)>,
        tail: impl IntoIterator<Item = Bytes>,
    ) -> Result<Self, RecoveryError> {
        let mut room = Self::new(config);
        recovery::recover(&mut room.world, snapshot, tail)?;
        Ok(room)
    }

    /// Each session gets so many bytes of presence a second at the most where there are thousands, or the room has too
    /// much to do; 12,000 if nothing is said. Cursors of which more would have to be told become rarer, then crowds.
    pub fn limit_presence(&mut self, session_bytes: u32) {
        let mut presence = self.world.resource_mut::<presence::Presence>();
        presence.limit(session_bytes);
    }

    /// Tells a room that was just recovered what lies in its log before what it was recovered from: records in order,
    /// the last one of right before that. Those who were here then can resume. Records that can't be read are passed
    /// over with all that come with them: nobody resumes by them, and nothing else needs them.
    pub fn remember(&mut self, records: impl IntoIterator<Item = Bytes>) {
        resuming::remember(&mut self.world, records);
    }

    pub(crate) const fn world(&self) -> &World {
        &self.world
    }

    pub(crate) const fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// One tick: takes what came in, answers with what goes out.
    pub fn step(&mut self, now: Now, inputs: impl IntoIterator<Item = Input>) -> Output {
        self.world.resource_mut::<Inbox>().0.extend(inputs);
        let mut clock = self.world.resource_mut::<Clock>();
        clock.tick.0 += 1;
        clock.now = now;
        let tick = clock.tick;
        self.world.resource_mut::<Output>().tick = tick;
        self.schedule.run(&mut self.world);
        core::mem::take(&mut *self.world.resource_mut::<Output>())
    }

    /// Tells those who wait for it, at once and between two ticks, that the log is synced up to here. What
    /// [`Input::Durable`] would have the next tick tell need not wait for it; that input must still follow, because it
    /// is what a recording knows of it.
    pub fn tell_durable(&mut self, position: Position) -> Vec<Send> {
        people::tell_durable(&mut self.world, position)
    }

    /// The room has something to do in the next tick even if nothing comes in.
    pub fn has_work(&self) -> bool {
        self.world.resource::<presence::Presence>().has_work()
            || self.world.resource::<People>().has_work()
            || self.world.resource::<LiveInk>().has_work()
    }

    /// The last tick.
    pub fn tick(&self) -> Tick {
        self.world.resource::<Clock>().tick
    }

    /// The last accepted position.
    pub fn position(&self) -> Position {
        self.world.resource::<Ledger>().position
    }

    /// Everything up to here is known to be synced.
    pub fn durable(&self) -> Position {
        self.world.resource::<Ledger>().durable
    }

    /// Digest of the board.
    pub fn digest(&self) -> Digest {
        self.world.resource::<StrokeTable>().digest()
    }

    /// Strokes on the board, erased ones included.
    pub fn stroke_count(&self) -> usize {
        self.world.resource::<StrokeTable>().len()
    }

    /// Strokes that people see.
    pub fn visible_stroke_count(&self) -> usize {
        self.world.resource::<Cells>().len()
    }

    /// Sessions in the room.
    pub fn session_count(&self) -> usize {
        self.world.resource::<People>().len()
    }

    /// All strokes in drawing order, erased ones included: the board as the room holds it.
    pub fn strokes(&mut self) -> Vec<&Stroke> {
        let mut bodies = self.world.query::<&Body>();
        let mut strokes: Vec<_> = bodies.iter(&self.world).map(|body| &body.0).collect();
        strokes.sort_unstable_by_key(|stroke| stroke.z);
        strokes
    }

    /// Works out anew what is kept up to date stroke by stroke, and compares: takes as long as a load of the board.
    ///
    /// # Errors
    /// The first difference, which would be a fault of this program.
    pub fn audit(&mut self) -> Result<(), AuditError> {
        audit::audit(&mut self.world)
    }

    /// The board at [`Room::position`], from which [`Room::recover`] can go on.
    pub fn snapshot(&mut self) -> Bytes {
        let mut bodies = self.world.query::<&Body>();
        let strokes = bodies.iter(&self.world).map(|body| &body.0);
        snapshot::encode(self.world.resource::<Ledger>(), strokes)
    }
}
