//! Live ink: what strokes have gained in the last ticks, in datagrams for sessions whose way loses packets.
//!
//! Where a packet is lost the stream stands still until it has been sent again, a round trip and more, and all ink behind
//! it waits. A datagram waits for nothing, and each tells what the two before it told once more. The bytes are those of
//! the stream three times over, so that only they get it of whom the shell says that they need it ([`crate::Input::Lossy`]),
//! and nothing is kept or encoded while there are none. When presence is thinned out this goes first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bevy_ecs::prelude::*;
use chalkboard_shared::growth::{Growth, POINTS_BEHIND};
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
/// Strokes by which their turn moves on in a tick: about as many as a datagram holds.
const TURN: u64 = 40;
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
    /// The last [`POINTS_BEHIND`] before them.
    before: Vec<InkPoint>,
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

    /// What is kept, by stroke, those first that have grown last: when not all fit, new ink is worth most. Among those it
    /// is now these, now those that are first.
    fn tails(&self, tick: Tick) -> Vec<(BoardRect, InkTail)> {
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
        if let Some(turn) = tick.0.wrapping_mul(TURN).checked_rem(runs.len() as u64) {
            runs.rotate_left(turn as usize);
        }
        runs.sort_by_key(|run| core::cmp::Reverse(run.last().map(|grown| grown.tick)));
        let tail = |run: Vec<&Grown>| {
            let oldest = *run.first()?;
            let points: Vec<_> = run
                .iter()
                .flat_map(|grown| &grown.points)
                .copied()
                .collect();
            let growth = Growth::behind(oldest.begin, &oldest.before, &points);
            let first = oldest.first;
            Some((oldest.extent, InkTail { first, growth }))
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
    let before = stroke.wet_points()?;
    let before = &before[before.len().saturating_sub(POINTS_BEHIND)..];
    Some(Grown {
        tick,
        begin: stroke.z,
        first: stroke.point_count,
        before: before.to_vec(),
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
    let (rects, tails): (Vec<_>, Vec<_>) = live.tails(clock.tick).into_iter().unzip();
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chalkboard_shared::limits::DATAGRAM_FRAME_BYTES_MAX;
    use chalkboard_shared::op::InkRun;
    use chalkboard_shared::presence::Pace;
    use chalkboard_shared::stroke::Nib;
    use chalkboard_shared::wire::Profile;
    use chalkboard_shared::{ActorId, OpId, Rights, StrokeId, StrokeStyle};

    use super::*;
    use crate::input::{Input, Join, Now};
    use crate::room::{Room, RoomConfig};

    const AUTHOR: SessionId = SessionId(1);

    fn join(session: u32, view: BoardRect) -> Input {
        Input::Join(Box::new(Join {
            session: SessionId(session),
            actor: ActorId(session.into()),
            rights: Rights::Edit,
            profile: Profile::default(),
            view,
            view_secret: None,
            resume: None,
        }))
    }

    /// An author, two who look at the same, and one who looks far away.
    fn room() -> Room {
        let mut room = Room::new(RoomConfig {
            epoch: 1,
            epoch_starts: Vec::new(),
            tick_us: 12_500,
        });
        let here = |x| {
            let corner = |x: i32| chalkboard_shared::BoardPoint::new(x, 0);
            BoardRect::from_corners(corner(x), corner(x + 9999))
        };
        let views = [here(0), here(0), here(0), here(1 << 28)];
        room.step(
            Now::default(),
            views.into_iter().zip(1..).map(|(view, n)| join(n, view)),
        );
        room
    }

    fn lossy(session: u32, is_lossy: bool) -> Input {
        let session = SessionId(session);
        Input::Lossy { session, is_lossy }
    }

    fn ops(first: u32, ops: Vec<Op>) -> Input {
        let (session, stamp) = (AUTHOR, None);
        Input::Ops {
            session,
            first,
            stamp,
            ops,
        }
    }

    fn point(n: u32) -> InkPoint {
        InkPoint::new(n as i32 * 16, (n * n % 64) as i32, n as u8)
    }

    fn begin(n: u32) -> Op {
        let style = StrokeStyle {
            nib: Nib::Pen,
            color: 0,
            width: 32,
        };
        let ink = InkRun::new(vec![point(n)]);
        Op::Begin { style, ink }
    }

    fn extend(stroke: u32, n: u32) -> Op {
        let (actor, counter) = (ActorId(1), stroke);
        let ink = InkRun::new(vec![point(n), point(n + 1)]);
        let stroke = StrokeId(OpId { actor, counter });
        Op::Extend { stroke, ink }
    }

    /// The live ink of a step: for whom, and the frame.
    fn told(room: &mut Room, inputs: Vec<Input>) -> Vec<(Vec<SessionId>, Bytes)> {
        let output = room.step(Now::default(), inputs);
        let live = output.sends.into_iter().filter(|send| {
            assert!(send.reliable || send.frame.len() <= DATAGRAM_FRAME_BYTES_MAX);
            ServerMessage::is_live_ink(&send.frame)
        });
        live.inspect(|send| assert!(!send.reliable))
            .map(|send| (send.to.as_slice().to_vec(), send.frame))
            .collect()
    }

    fn tails(frame: &Bytes) -> Vec<InkTail> {
        match ServerMessage::decode(frame.clone()) {
            Ok(ServerMessage::LiveInk(tails)) => tails,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn those_whose_way_loses_packets_are_told_three_times() {
        let mut room = room();
        let nothing: [(Vec<SessionId>, Bytes); 0] = [];
        assert_eq!(told(&mut room, vec![ops(1, vec![begin(0)])]), nothing);
        assert_eq!(told(&mut room, vec![ops(2, vec![extend(1, 1)])]), nothing);
        let news = [2, 3, 4].map(|session| lossy(session, true));
        assert_eq!(told(&mut room, news.to_vec()), nothing);
        // One frame for the two who look at the same, none for who looks elsewhere.
        let first = told(&mut room, vec![ops(3, vec![extend(1, 3)])]);
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].0, [SessionId(2), SessionId(3)]);
        let expect = |points: core::ops::Range<u32>| InkTail {
            first: points.start,
            growth: Growth::behind(
                Position(1),
                &(0..points.start).map(point).collect::<Vec<_>>(),
                &points.map(point).collect::<Vec<_>>(),
            ),
        };
        assert_eq!(tails(&first[0].1), [expect(3..5)]);
        let second = told(&mut room, vec![ops(4, vec![extend(1, 5)])]);
        assert_eq!(tails(&second[0].1), [expect(3..7)]);
        assert_eq!(tails(&told(&mut room, Vec::new())[0].1), [expect(3..7)]);
        assert!(room.has_work());
        assert_eq!(tails(&told(&mut room, Vec::new())[0].1), [expect(5..7)]);
        assert_eq!(told(&mut room, Vec::new()), nothing);
        for is_gone in [lossy(2, false), Input::Leave(SessionId(3))] {
            told(&mut room, vec![is_gone]);
        }
        assert_eq!(told(&mut room, vec![ops(5, vec![extend(1, 7)])]), nothing);
        told(&mut room, vec![lossy(4, false)]);
        assert!(!room.world().resource::<LiveInk>().has_work());
        // Who is not there gets nothing for ever.
        told(&mut room, vec![lossy(3, true)]);
        assert!(room.world().resource::<LiveInk>().lossy.is_empty());
    }

    #[test]
    fn of_too_many_strokes_all_have_their_turn() {
        let mut room = room();
        let count = 300;
        told(
            &mut room,
            vec![lossy(2, true), ops(1, (0..count).map(begin).collect())],
        );
        let mut seen = BTreeSet::new();
        for step in 0..20 {
            let grown = (1..=count).map(|stroke| extend(stroke, stroke + step * 2));
            let told = told(
                &mut room,
                vec![ops(count * (step + 1) + 1, grown.collect())],
            );
            assert_eq!(told.len(), 1, "one datagram a tick");
            let tails = tails(&told[0].1);
            assert!(tails.len() > 20, "{}", tails.len());
            seen.extend(tails.iter().map(|tail| tail.growth.begin));
        }
        assert_eq!(seen.len(), count as usize);
    }

    #[test]
    fn it_goes_first_when_presence_is_thinned_out() {
        let mut room = room();
        let pace = Pace {
            tick_us: 33_333,
            presence: PresenceStage::Slow,
        };
        let inputs = vec![lossy(2, true), Input::Pace(pace), ops(1, vec![begin(0)])];
        told(&mut room, inputs);
        assert!(told(&mut room, vec![ops(2, vec![extend(1, 1)])]).is_empty());
    }
}
