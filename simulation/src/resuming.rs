//! Resuming: who comes back lacks only what has changed meanwhile.
//!
//! A session that was here before says what it holds ([`Resume`]). As long as the room knows every stroke that was
//! changed since, those are sent as they are now, and the session goes on with the rest; whatever it made of them before,
//! the whole stroke takes its place. Nothing here knows how they travel: that is [`crate::joining`]'s business.
//!
//! Strokes are remembered by the tick that changed them last, so that what is kept grows with strokes and not with ops,
//! and the log's tail fills it after a restart as the ticks themselves did before.

use std::collections::BTreeSet;

use bevy_ecs::entity::EntityHashMap;
use bevy_ecs::prelude::*;
use bytes::Bytes;
use chalkboard_shared::limits::{CHUNK_POINTS_MAX, WIDTH_MAX};
use chalkboard_shared::wire::Resume;
use chalkboard_shared::{BoardRect, Position, Stroke};

#[cfg(feature = "sabotage")]
use chalkboard_shared::sabotage::{Fault, is};

use crate::ledger::Ledger;
use crate::record::LogRecord;
use crate::room::RoomConfig;
use crate::strokes::{Body, StrokeTable};

/// Strokes whose last change is remembered: at 40 bytes or so 3 MB. Whoever lacks more of them gets its area anew.
const STROKES_MAX: usize = 64 * 1024;

/// Points of strokes that still grow, of those that a session lacks: they go out at once, because what they gain next
/// fits only what they are now.
const GROWING_POINTS_MAX: usize = CHUNK_POINTS_MAX / 2;

/// When strokes were changed last.
#[derive(Resource, Debug, Default)]
pub(crate) struct Recent {
    /// By the last position of the tick; entities by their bits, because their own order is of no use for ranges.
    order: BTreeSet<(Position, u64)>,
    latest: EntityHashMap<Position>,
    /// Changes of ticks from here on are known, of earlier ones perhaps not.
    known_from: Position,
}

impl Recent {
    /// What was changed up to here is not known.
    pub(crate) fn after(position: Position) -> Self {
        Self {
            known_from: position.next(),
            ..Self::default()
        }
    }

    /// Strokes were changed in a tick that ended at a position.
    pub(crate) fn note(&mut self, end: Position, strokes: impl IntoIterator<Item = Entity>) {
        for stroke in strokes {
            if let Some(before) = self.latest.insert(stroke, end) {
                self.order.remove(&(before, stroke.to_bits()));
            }
            self.order.insert((end, stroke.to_bits()));
        }
        while self.order.len() > STROKES_MAX
            && let Some((end, stroke)) = self.order.pop_first()
        {
            self.latest.remove(&Entity::from_bits(stroke));
            self.known_from = end.next();
        }
    }

    /// Earlier ticks become known, from one that began at `first` up to what is known: strokes by the end of the last
    /// one that changed them, in order of that. More than there is room for are not taken.
    fn note_earlier(&mut self, first: Position, strokes: &[(Position, Entity)]) {
        let mut is_all = true;
        for &(end, stroke) in strokes.iter().rev() {
            if self.latest.len() >= STROKES_MAX {
                is_all = false;
                break;
            }
            if !self.latest.contains_key(&stroke) {
                self.latest.insert(stroke, end);
                self.order.insert((end, stroke.to_bits()));
            }
            self.known_from = end.next();
        }
        if is_all {
            self.known_from = first;
        }
    }

    /// Strokes changed in the tick of a position or later, if all of them are known. That tick counts, because a
    /// session may have had only a part of it.
    fn since(&self, position: Position) -> Option<impl Iterator<Item = Entity>> {
        #[cfg(feature = "sabotage")]
        let position = if is(Fault::ForgetfulResume) {
            self.order.last().map_or(position, |(end, _)| end.next())
        } else {
            position
        };
        let strokes = self.order.range((position, 0)..);
        let strokes = strokes.map(|(_, stroke)| Entity::from_bits(*stroke));
        (position >= self.known_from).then_some(strokes)
    }
}

/// What a session that comes back lacks of what it held.
#[derive(Debug, Default)]
pub(crate) struct Lacked {
    /// Strokes that still grow.
    pub(crate) growing: Vec<Entity>,
    /// All others.
    pub(crate) settled: Vec<Entity>,
}

/// The room's log holds everything that a session has seen.
pub(crate) fn is_continued(config: &RoomConfig, ledger: &Ledger, resume: &Resume) -> bool {
    if resume.epoch == config.epoch {
        return resume.position <= ledger.position;
    }
    if resume.is_ahead {
        return false;
    }
    let starts = &config.epoch_starts;
    let is_known = starts
        .first()
        .is_some_and(|first| first.epoch <= resume.epoch);
    let next = starts.iter().find(|start| start.epoch > resume.epoch);
    is_known && next.is_some_and(|next| resume.position <= next.start)
}

/// What a session lacks of what it held; `None` where that is not known, or too much to be sent beside the rest.
pub(crate) fn lacked(recent: &Recent, bodies: &Query<&Body>, resume: &Resume) -> Option<Lacked> {
    let mut lacked = Lacked::default();
    let mut growing_points = 0;
    for entity in recent.since(resume.position)? {
        let Ok(Body(stroke)) = bodies.get(entity) else {
            continue;
        };
        if !reach(stroke).intersects(resume.held) {
            continue;
        }
        if stroke.is_finished() {
            lacked.settled.push(entity);
        } else {
            growing_points += stroke.point_count as usize;
            lacked.growing.push(entity);
        }
    }
    (growing_points <= GROWING_POINTS_MAX).then_some(lacked)
}

/// Everything that a stroke may have covered before it was restyled.
fn reach(stroke: &Stroke) -> BoardRect {
    stroke.bounds.inflate(i32::from(WIDTH_MAX) / 2 + 1)
}

/// See [`crate::Room::remember`]. A room that is recovered remembers its tail by this, too.
pub(crate) fn remember(world: &mut World, records: impl IntoIterator<Item = Bytes>) {
    let known_from = world.resource::<Recent>().known_from;
    let table = world.resource::<StrokeTable>();
    let mut strokes = Vec::new();
    let mut span: Option<(Position, Position)> = None;
    for bytes in records {
        let Ok(record) = LogRecord::decode(&bytes) else {
            return;
        };
        let (Some(first), Some(last)) = (record.entries.first(), record.entries.last()) else {
            continue;
        };
        if first.position >= known_from {
            break;
        }
        if span.is_some_and(|(_, end)| first.position != end.next()) {
            return;
        }
        span = Some((
            span.map_or(first.position, |(first, _)| first),
            last.position,
        ));
        for entry in &record.entries {
            let ids = entry.op.strokes(&entry.id);
            strokes.extend(ids.filter_map(|id| Some((last.position, table.entity(id)?))));
        }
    }
    if let Some((first, end)) = span
        && end.next() == known_from
    {
        world.resource_mut::<Recent>().note_earlier(first, &strokes);
    }
}

/// Remembers what this tick has changed.
pub(crate) fn note_changes(
    mut recent: ResMut<Recent>,
    table: Res<StrokeTable>,
    ledger: Res<Ledger>,
) {
    if !table.touched.is_empty() {
        let strokes = table.touched.iter().map(|touched| touched.entity);
        recent.note(ledger.position, strokes);
    }
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::{EpochStart, interest::Coverage};

    use super::*;

    fn resume(epoch: u64, position: u64) -> Resume {
        let held = BoardRect::EVERYTHING;
        Resume {
            epoch,
            position: Position(position),
            is_ahead: false,
            coverage: Coverage::of_view(held, None),
            held,
        }
    }

    #[test]
    fn an_epoch_is_continued_up_to_where_the_next_one_began() {
        let start = |epoch, start| EpochStart {
            epoch,
            start: Position(start),
        };
        let config = RoomConfig {
            epoch: 9,
            tick_us: 1,
            epoch_starts: vec![start(3, 10), start(5, 20), start(9, 30)],
        };
        let mut ledger = Ledger::default();
        ledger.position = Position(40);
        let cases = [
            ((9, 40), true),
            ((9, 41), false),
            ((5, 30), true),
            ((5, 31), false),
            ((3, 20), true),
            ((3, 21), false),
            // Of a load that came to nothing nobody can have seen more.
            ((4, 20), true),
            ((2, 10), false),
            ((10, 1), false),
        ];
        for ((epoch, position), expect) in cases {
            let resume = resume(epoch, position);
            assert_eq!(
                is_continued(&config, &ledger, &resume),
                expect,
                "{resume:?}"
            );
            // A load may have lost what came whole; the same one has not.
            let ahead = Resume {
                is_ahead: true,
                ..resume
            };
            assert_eq!(
                is_continued(&config, &ledger, &ahead),
                expect && epoch == config.epoch
            );
        }
    }

    #[test]
    fn strokes_are_known_by_their_last_change_until_there_are_too_many() {
        let mut world = World::new();
        let entities: Vec<_> = (0..=STROKES_MAX)
            .map(|_| world.spawn_empty().id())
            .collect();
        let mut recent = Recent::after(Position(4));
        assert!(recent.since(Position(4)).is_none());
        recent.note(Position(6), [entities[0], entities[1]]);
        recent.note(Position(8), [entities[0]]);
        let since = |recent: &Recent, position| -> Option<Vec<Entity>> {
            let mut strokes: Vec<_> = recent.since(Position(position))?.collect();
            strokes.sort_unstable();
            Some(strokes)
        };
        let mut both = vec![entities[0], entities[1]];
        both.sort_unstable();
        assert_eq!(since(&recent, 5), Some(both.clone()));
        assert_eq!(since(&recent, 6), Some(both));
        assert_eq!(since(&recent, 7), Some(vec![entities[0]]));
        for (n, entity) in (0..).zip(&entities[2..]) {
            recent.note(Position(10 + n), [*entity]);
        }
        // The change at 6 had to go.
        assert_eq!(since(&recent, 6), None);
        assert_eq!(since(&recent, 7).map(|all| all.len()), Some(STROKES_MAX));
    }
}
