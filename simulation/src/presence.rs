//! Presence: cursors, per area a keyframe about once a second and deltas against it in between.
//!
//! Nothing here is logged and everything may be lost: the next keyframe heals it.

use std::collections::BTreeMap;

use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::IntoScheduleConfigs;
use bytes::Bytes;
use chalkboard_shared::cursor::{CursorDelta, CursorKeyframe, CursorState};
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::limits::DATAGRAM_FRAME_BYTES_MAX;
use chalkboard_shared::wire::ServerMessage;
use chalkboard_shared::{SessionId, Tick};

use crate::cursor_grid::CursorGrid;
use crate::output::Output;
use crate::people::{Cursor, People, User, Viewport};
use crate::room::{Clock, RoomConfig, RoomSystems, RoomTick};

/// Time between keyframes of an area where cursors move, in microseconds.
const KEYFRAME_INTERVAL_US: u64 = 1_000_000;

/// Areas that are covered by somebody.
#[derive(Resource, Debug, Default)]
pub(crate) struct Areas {
    areas: BTreeMap<Coverage, Area>,
    /// Keyframes made so far in this room, which names them.
    keyframes: u32,
}

/// What the sessions of an area have been told.
#[derive(Debug)]
struct Area {
    members: Vec<SessionId>,
    keyframe: CursorKeyframe,
    frame: Bytes,
    keyframe_tick: Tick,
    /// Cursors as the members know them, if no datagram was lost.
    told: BTreeMap<SessionId, CursorState>,
    /// Deltas were sent since the keyframe, and one of them may have been lost.
    is_stale: bool,
    /// Where the last delta had to stop, so that the next begins there and no cursor starves.
    next: SessionId,
    /// The last delta did not hold everything.
    is_cut: bool,
}

impl Areas {
    /// Something remains to be sent though nobody moves.
    pub(crate) fn has_work(&self) -> bool {
        self.areas.values().any(|area| area.is_stale || area.is_cut)
    }
}

/// Sends cursors.
pub(crate) struct PresencePlugin;

impl Plugin for PresencePlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Areas>();
        app.add_systems(RoomTick, send_cursors.in_set(RoomSystems::Encode));
    }
}

fn send_cursors(
    people: Res<People>,
    sessions: Query<(&User, &Viewport, &Cursor)>,
    clock: Res<Clock>,
    config: Res<RoomConfig>,
    mut areas: ResMut<Areas>,
    mut output: ResMut<Output>,
) {
    let mut members = BTreeMap::<Coverage, Vec<SessionId>>::new();
    let mut cursors = Vec::new();
    for (&session, &entity) in &people.sessions {
        let Ok((_, viewport, cursor)) = sessions.get(entity) else {
            continue;
        };
        if let Some(coverage) = viewport.coverage {
            members.entry(coverage).or_default().push(session);
        }
        if let Some(state) = cursor.state {
            cursors.push((session, state));
        }
    }
    areas
        .areas
        .retain(|coverage, _| members.contains_key(coverage));
    let areas = areas.as_mut();
    let mut next_id = || {
        areas.keyframes = areas.keyframes.wrapping_add(1);
        areas.keyframes
    };
    let grid = CursorGrid::build(&cursors);
    let keyframe_ticks = KEYFRAME_INTERVAL_US.div_ceil(u64::from(config.tick_us.max(1)));
    for (coverage, members) in members {
        let here = grid.within(coverage.rect());
        match areas.areas.get_mut(&coverage) {
            None => {
                let area = Area::new(coverage, next_id(), clock.tick, here, members);
                area.send_keyframe(&area.members, &mut output);
                areas.areas.insert(coverage, area);
            }
            Some(area)
                if area.is_stale && clock.tick.0 - area.keyframe_tick.0 >= keyframe_ticks =>
            {
                *area = Area::new(coverage, next_id(), clock.tick, here, members);
                area.send_keyframe(&area.members, &mut output);
            }
            Some(area) => area.send_delta(clock.tick, &here, members, &mut output),
        }
    }
}

impl Area {
    fn new(
        coverage: Coverage,
        id: u32,
        tick: Tick,
        cursors: Vec<(SessionId, CursorState)>,
        members: Vec<SessionId>,
    ) -> Self {
        let keyframe = CursorKeyframe::new(id, coverage, cursors);
        Self {
            members,
            frame: ServerMessage::Keyframe(keyframe.clone()).encode(),
            keyframe_tick: tick,
            told: keyframe.cursors().iter().copied().collect(),
            is_stale: false,
            next: SessionId(0),
            is_cut: false,
            keyframe,
        }
    }

    fn send_keyframe(&self, to: &[SessionId], output: &mut Output) {
        for &session in to {
            output.reliable(session, self.frame.clone());
        }
    }

    fn send_delta(
        &mut self,
        tick: Tick,
        here: &[(SessionId, CursorState)],
        members: Vec<SessionId>,
        output: &mut Output,
    ) {
        let newcomers: Vec<_> = members
            .iter()
            .filter(|s| self.members.binary_search(s).is_err())
            .copied()
            .collect();
        if !newcomers.is_empty() {
            self.welcome(tick, &newcomers, output);
        }
        self.members = members;
        let here: Vec<_> = here
            .iter()
            .map(|&(session, cursor)| (session, self.keyframe.snap(cursor)))
            .collect();
        let gone: Vec<_> = self
            .told
            .keys()
            .filter(|s| here.binary_search_by_key(*s, |(h, _)| *h).is_err())
            .copied()
            .collect();
        let mut changed: Vec<_> = here
            .into_iter()
            .filter(|(s, cursor)| self.told.get(s) != Some(cursor))
            .collect();
        if gone.is_empty() && changed.is_empty() {
            self.is_cut = false;
            return;
        }
        // Begin where the last one had to stop; what comes before waits for the next.
        let skipped = changed.partition_point(|(session, _)| *session < self.next);
        if skipped < changed.len() {
            changed.drain(..skipped);
        }
        let delta = CursorDelta {
            tick,
            gone,
            changed,
        };
        let mut frame = ServerMessage::cursor_delta_writer();
        let (gone_count, changed_count) =
            delta.encode(&self.keyframe, DATAGRAM_FRAME_BYTES_MAX - 1, &mut frame);
        for session in &delta.gone[..gone_count] {
            self.told.remove(session);
        }
        self.told
            .extend(delta.changed[..changed_count].iter().copied());
        self.next = delta
            .changed
            .get(changed_count)
            .map_or(SessionId(0), |(session, _)| *session);
        self.is_cut =
            gone_count < delta.gone.len() || changed_count < delta.changed.len() || skipped > 0;
        self.is_stale = true;
        let frame = frame.into_bytes();
        for &session in &self.members {
            output.datagram(session, frame.clone());
        }
    }

    /// The keyframe, and on the stream behind it everything that has changed since.
    fn welcome(&self, tick: Tick, newcomers: &[SessionId], output: &mut Output) {
        self.send_keyframe(newcomers, output);
        let mut since = CursorDelta {
            tick,
            ..CursorDelta::default()
        };
        since.gone.extend(
            self.keyframe
                .cursors()
                .iter()
                .map(|(s, _)| *s)
                .filter(|s| !self.told.contains_key(s)),
        );
        let known = |session: &SessionId| {
            let at = self
                .keyframe
                .cursors()
                .binary_search_by_key(session, |(s, _)| *s)
                .ok()?;
            Some(self.keyframe.cursors()[at].1)
        };
        since.changed.extend(
            self.told
                .iter()
                .filter(|(s, c)| known(s) != Some(**c))
                .map(|(s, c)| (*s, *c)),
        );
        if since.gone.is_empty() && since.changed.is_empty() {
            return;
        }
        let mut frame = ServerMessage::cursor_delta_writer();
        since.encode(&self.keyframe, usize::MAX / 2, &mut frame);
        let frame = frame.into_bytes();
        for &session in newcomers {
            output.reliable(session, frame.clone());
        }
    }
}
