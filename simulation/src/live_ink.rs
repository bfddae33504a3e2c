//! Live ink: what strokes have gained in the last ticks, in datagrams for sessions whose way loses packets.
//!
//! Where a packet is lost the stream stands still until it has been sent again, a round trip and more, and all ink behind
//! it waits. A datagram waits for nothing, and each tells what the two before it told once more. The bytes are those of
//! the stream three times over, so that only they get it of whom the shell says that they need it ([`crate::Input::Lossy`]),
//! and nothing is kept or encoded while there are none. When presence is thinned out this goes first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bevy_ecs::prelude::*;
use chalkboard_shared::growth::Growth;
use chalkboard_shared::merge::Strokes;
use chalkboard_shared::presence::PresenceStage;
use chalkboard_shared::wire::{InkTail, ServerMessage};
use chalkboard_shared::{BoardRect, InkPoint, Op, Position, SessionId, Tick};

use crate::audience::Audience;
use crate::output::Output;
use crate::room::Clock;
use crate::strokes::Board;

/// Ticks in which a growth is told: its own, and those after it. Losses in a row are rarely more.
const TOLD_TICKS: u64 = 3;
/// Points of a stroke that are told in one datagram: three ticks of the fastest pens. An op with more is left to the
/// stream.
const POINTS_MAX: usize = 48;
/// Growths that are kept; the oldest of more are left to the stream. A datagram holds some 60 strokes.
const GROWTHS_MAX: usize = 4096;

/// Points that an op adds to a stroke.
#[derive(Debug)]
pub(crate) struct Grown {
    tick: Tick,
    /// The stroke's drawing order.
    begin: Position,
    /// Number of the first of them among the stroke's points.
    first: u32,
    /// The last two before them.
    before: (InkPoint, InkPoint),
    points: Vec<InkPoint>,
    /// What the stroke covered before: who covers some of that holds it.
    extent: BoardRect,
}

/// Who gets live ink, and what there is of it.
#[derive(Resource, Debug, Default)]
pub(crate) struct LiveInk {
    lossy: BTreeSet<SessionId>,
    /// Of the last ticks, oldest first.
    recent: VecDeque<Grown>,
}

impl LiveInk {
    /// A session's way loses packets, or no longer, or the session is gone.
    pub(crate) fn follow(&mut self, session: SessionId, is_lossy: bool) {
        if is_lossy {
            self.lossy.insert(session);
        } else if self.lossy.remove(&session) && self.lossy.is_empty() {
            self.recent = VecDeque::new();
        }
    }

    /// An op was accepted.
    pub(crate) fn note(&mut self, grown: Grown) {
        if self.recent.len() >= GROWTHS_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(grown);
    }

    /// The next tick has something to repeat.
    pub(crate) fn has_work(&self) -> bool {
        !self.recent.is_empty()
    }

    /// What was told often enough is of no more use in the tick after this one.
    fn forget_told(&mut self, tick: Tick) {
        let is_told = |grown: &mut Grown| grown.tick.0 + TOLD_TICKS <= tick.0 + 1;
        while self.recent.pop_front_if(is_told).is_some() {}
    }

    /// What is kept, by stroke, those first that have grown last: when not all fit, new ink is worth most.
    fn tails(&self) -> Vec<(BoardRect, InkTail)> {
        let mut by_stroke: BTreeMap<Position, Vec<&Grown>> = BTreeMap::new();
        for grown in &self.recent {
            let run = by_stroke.entry(grown.begin).or_default();
            run.push(grown);
            let mut count: usize = run.iter().map(|grown| grown.points.len()).sum();
            while count > POINTS_MAX {
                count -= run.remove(0).points.len();
            }
        }
        let mut runs: Vec<_> = by_stroke.into_values().collect();
        runs.sort_by_key(|run| core::cmp::Reverse(run.last().map(|grown| grown.tick)));
        let tail = |run: Vec<&Grown>| {
            let Grown {
                begin,
                first,
                before,
                extent,
                ..
            } = **run.first()?;
            let points: Vec<_> = run
                .iter()
                .flat_map(|grown| &grown.points)
                .copied()
                .collect();
            let growth = Growth::after(begin, before, &points);
            Some((extent, InkTail { first, growth }))
        };
        runs.into_iter().filter_map(tail).collect()
    }
}

/// What an op is going to add to its stroke, if that is to be told in datagrams.
pub(crate) fn grown(world: &mut World, op: &Op) -> Option<Grown> {
    let Op::Extend { stroke, ink } = op else {
        return None;
    };
    if world.resource::<LiveInk>().lossy.is_empty() || ink.points().len() > POINTS_MAX {
        return None;
    }
    let clock = world.resource::<Clock>();
    let tick = clock.tick;
    if clock.pace.presence != PresenceStage::Full {
        return None;
    }
    let board = Board(world);
    let stroke = board.get(*stroke).filter(|stroke| !stroke.erased.value)?;
    Some(Grown {
        tick,
        begin: stroke.z,
        first: stroke.point_count,
        before: stroke.last_points()?,
        points: ink.points().to_vec(),
        extent: stroke.extent(),
    })
}

/// Tells the ink of the last ticks, once for each area that somebody covers who needs it.
pub(crate) fn tell_live_ink(
    mut live: ResMut<LiveInk>,
    clock: Res<Clock>,
    mut audience: ResMut<Audience>,
    mut output: ResMut<Output>,
) {
    if live.recent.is_empty() {
        return;
    }
    let (rects, tails): (Vec<_>, Vec<_>) = live.tails().into_iter().unzip();
    audience.visit_met(&rects, |area, numbers| {
        let sessions = area.sessions_among(&live.lossy);
        if sessions.is_empty() {
            return;
        }
        let told = numbers.iter().map(|&number| &tails[number as usize]);
        if let Some(frame) = ServerMessage::encode_live_ink(told) {
            output.datagram(Arc::<[_]>::from(sessions), frame);
        }
    });
    live.forget_told(clock.tick);
}
