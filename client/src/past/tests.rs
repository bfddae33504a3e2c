//! Every way to a moment leads to the board that the log makes of it.

use chalkboard_shared::op::InkRun;
use chalkboard_shared::past::{Author, SegmentHead, encode_board};
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{BoardRect, InkPoint, Op, OpEntry, OpId, Position, StrokeStyle};
use proptest::prelude::*;

use std::collections::HashSet;

use super::*;
use crate::mirror::Mirror;

/// Ticks of a segment here: many ends on few ticks.
const SEGMENT_TICKS: usize = 5;

fn style(color: u32) -> StrokeStyle {
    StrokeStyle {
        nib: Nib::Pen,
        color,
        width: 32,
    }
}

/// A log and everything that a server tells of it.
#[derive(Debug, Clone, Default)]
struct Log {
    ticks: Vec<PastTick>,
}

impl Log {
    /// What people do, as the room would accept it: by kind, actor and stroke.
    fn new(deeds: &[(u8, u8, u8)]) -> Self {
        let (mut log, mut board, mut position) = (Self::default(), Mirror::default(), 0);
        let mut drawn: Vec<StrokeId> = Vec::new();
        let mut moment = Moment::default();
        for (n, (kind, actor, which)) in (1u32..).zip(deeds) {
            let id = OpId {
                actor: ActorId(u64::from(actor % 3) + 1),
                counter: n,
            };
            let ink = || InkRun::new(vec![InkPoint::new(n as i32 * 40, 7, 128)]);
            let stroke = drawn.get(usize::from(*which) % drawn.len().max(1)).copied();
            let own = stroke.filter(|stroke| stroke.actor() == id.actor);
            let strokes = stroke.into_iter().collect::<Vec<_>>();
            let op = match (kind % 6, stroke.is_some(), own) {
                (1, _, Some(stroke)) => Op::Extend { stroke, ink: ink() },
                (2, _, Some(stroke)) => Op::Finish { stroke },
                (3, true, _) => Op::Erase { strokes },
                (4, true, _) => Op::Restore { strokes },
                (5, true, _) => Op::Restyle {
                    strokes,
                    style: style(n),
                },
                _ => Op::Begin {
                    style: style(0),
                    ink: ink(),
                },
            };
            let entry = OpEntry {
                position: Position(position + 1),
                id,
                op,
            };
            let is_accepted = !board.apply(&entry).is_empty();
            if !is_accepted {
                continue;
            }
            if matches!(entry.op, Op::Begin { .. }) {
                drawn.push(StrokeId(id));
            }
            position += 1;
            // Some ticks hold several ops.
            match log.ticks.last_mut().filter(|_| which % 4 == 0) {
                Some(tick) => tick.entries.push(entry),
                None => {
                    moment = moment.then(Tick(u64::from(n) * 3), u64::from(n) * 700);
                    log.ticks.push(PastTick {
                        moment,
                        entries: vec![entry],
                    });
                }
            }
        }
        log
    }

    fn folded(&self, ticks: usize) -> Mirror {
        let mut board = Mirror::default();
        for entry in self.ticks[..ticks].iter().flat_map(|tick| &tick.entries) {
            board.apply(entry);
        }
        board
    }

    fn answer(&self, wanted: Wanted) -> Bytes {
        let count = self.ticks.len();
        match wanted {
            Wanted::Timeline => {
                let head = |ticks: &[PastTick]| SegmentHead {
                    tick: ticks[0].moment.tick,
                    at_ms: ticks[0].moment.at_ms,
                    mark: 0,
                };
                let ada = Author {
                    name: "Ada".to_owned(),
                    color: 1,
                    ops: 1,
                    actors: vec![ActorId(1)],
                };
                let timeline = Timeline {
                    end: self
                        .ticks
                        .last()
                        .map_or(Moment::default(), |tick| tick.moment),
                    position: Position(1),
                    authors: vec![ada],
                    segments: self.ticks.chunks(SEGMENT_TICKS).map(head).collect(),
                    buckets: vec![vec![(0, 1)]],
                };
                timeline.encode()
            }
            Wanted::Segment(index, _) => {
                let from = index as usize * SEGMENT_TICKS;
                let to = (from + SEGMENT_TICKS).min(count);
                let segment = Segment {
                    index,
                    is_complete: to < count,
                    ticks: self.ticks[from..to].to_vec(),
                };
                segment.encode()
            }
            Wanted::Board(index, _) => {
                let board = self.folded(index as usize * SEGMENT_TICKS);
                let mut strokes: Vec<Stroke> = Vec::new();
                strokes.extend(board.ids().filter_map(|id| {
                    use chalkboard_shared::merge::Strokes as _;
                    board.get(id).cloned()
                }));
                strokes.sort_by_key(|stroke| stroke.z);
                encode_board(&strokes.iter().collect::<Vec<_>>())
            }
            Wanted::Difference(_) => Difference::default().encode(),
        }
    }

    /// Fetches whatever is wanted; answers how much that was.
    fn serve(&self, past: &mut Past) -> usize {
        let mut fetched = 0;
        while let Some(wanted) = past.poll_wanted() {
            past.fetched(wanted, self.answer(wanted)).expect("own form");
            fetched += 1;
            assert!(fetched < 10, "it wants ever more: {wanted:?}");
        }
        fetched
    }

    /// The ticks that are at or before a moment.
    fn count(&self, is_before: impl Fn(Moment) -> bool) -> usize {
        self.ticks.partition_point(|tick| is_before(tick.moment))
    }
}

/// Every stroke is as folding the log makes it, and those are in sight that are not erased.
fn assert_shows(past: &Past, expected: &Mirror) {
    use chalkboard_shared::merge::Strokes as _;
    assert!(past.is_there());
    assert_eq!(past.board().digest(), expected.digest());
    let strokes = |mut ids: Vec<StrokeId>| {
        ids.sort();
        ids
    };
    assert_eq!(
        strokes(past.board().ids().collect()),
        strokes(expected.ids().collect())
    );
    let mut visible = 0;
    for id in expected.ids() {
        assert_eq!(past.board().look_up(id), expected.get(id));
        visible += usize::from(expected.get(id).is_some_and(|stroke| !stroke.erased.value));
    }
    assert_eq!(
        past.board().strokes_in(BoardRect::EVERYTHING).len(),
        visible
    );
}

fn any_log() -> impl Strategy<Value = Log> {
    proptest::collection::vec(any::<(u8, u8, u8)>(), 1..120).prop_map(|deeds| Log::new(&deeds))
}

proptest! {
    #[test]
    fn any_way_to_a_moment_leads_to_the_folded_log(log in any_log(), goals: Vec<(bool, u16)>) {
        let mut past = Past::new(0.0, None);
        log.serve(&mut past);
        assert_shows(&past, &log.folded(log.ticks.len()));
        for (by_tick, goal) in goals.into_iter().take(30) {
            let count = if by_tick {
                let goal = Tick(u64::from(goal) % 500);
                past.seek_tick(goal);
                log.count(|moment| moment.tick <= goal)
            } else {
                let goal = u64::from(goal) * 2;
                past.seek(goal as f64);
                log.count(|moment| moment.at_ms <= goal)
            };
            log.serve(&mut past);
            assert_shows(&past, &log.folded(count));
        }
    }

    #[test]
    fn steps_meet_every_tick_forwards_and_backwards(log in any_log()) {
        let mut past = Past::new(0.0, Some(Tick(0)));
        log.serve(&mut past);
        assert_shows(&past, &Mirror::default());
        for count in 1..=log.ticks.len() {
            past.step(true);
            log.serve(&mut past);
            prop_assert_eq!(past.state().moment, log.ticks[count - 1].moment);
            assert_shows(&past, &log.folded(count));
        }
        past.step(true);
        for count in (0..log.ticks.len()).rev() {
            past.step(false);
            log.serve(&mut past);
            assert_shows(&past, &log.folded(count));
        }
    }

    #[test]
    fn what_the_room_does_meanwhile_changes_no_moment(
        deeds in proptest::collection::vec(any::<(u8, u8, u8)>(), 40..120), before in 1usize..40
    ) {
        let whole = Log::new(&deeds);
        let mut log = whole.clone();
        log.ticks.truncate(before.min(whole.ticks.len()));
        let mut past = Past::new(0.0, None);
        log.serve(&mut past);
        let then = log.ticks.len();
        past.tick(RENEW_MS + 1.0);
        whole.serve(&mut past);
        assert_shows(&past, &whole.folded(then));
        past.seek_tick(Tick(u64::MAX));
        whole.serve(&mut past);
        assert_shows(&past, &whole.folded(whole.ticks.len()));
    }
}

#[test]
fn playing_passes_every_tick_and_stops_at_the_end() {
    let deeds: Vec<_> = (0..60).map(|n| (n % 3, 0, n)).collect();
    let log = Log::new(&deeds);
    let mut past = Past::new(0.0, None);
    log.serve(&mut past);
    past.play(Some(2.0));
    let (mut now, mut seen) = (0.0, HashSet::new());
    while past.state().is_playing {
        now += 100.0;
        assert!(past.tick(now));
        log.serve(&mut past);
        seen.insert(past.state().moment.tick);
        assert!(now < 1e6, "it never ends");
    }
    assert_eq!(seen.len(), log.ticks.len());
    assert_shows(&past, &log.folded(log.ticks.len()));
    let length = past.state().end_ms;
    assert!((now * 2.0 - length).abs() <= 400.0, "{now} for {length}");
    assert!(!past.tick(now + 100.0));
}

#[test]
fn whoever_drew_at_the_moment_is_named() {
    let log = Log::new(&[(0, 0, 1), (0, 1, 1)]);
    let mut past = Past::new(0.0, Some(Tick(3)));
    log.serve(&mut past);
    assert_eq!(past.state().authors, [("Ada".to_owned(), 1)]);
    past.step(true);
    assert_eq!(past.state().authors, [(String::new(), 0)]);
    assert!(
        past.take_graph()
            .is_some_and(|graph| graph.contains("#000001"))
    );
    assert_eq!(past.take_graph(), None);
}

#[test]
fn a_board_without_a_past_is_empty_and_content() {
    let mut past = Past::new(0.0, Some(Tick(9)));
    assert_eq!(Log::default().serve(&mut past), 1);
    assert!(past.is_there() && past.board().is_empty());
    past.step(true);
    past.step(false);
    past.play(Some(1.0));
    past.tick(50.0);
    assert!(!past.state().is_playing && !past.state().is_loading);
}

#[test]
fn what_cannot_be_had_is_said_and_tried_again_by_seeking() {
    let log = Log::new(&[(0, 0, 1), (0, 1, 1)]);
    let mut past = Past::new(0.0, None);
    assert_eq!(past.poll_wanted(), Some(Wanted::Timeline));
    assert_eq!(past.poll_wanted(), None, "it is on its way");
    past.failed();
    assert!(past.state().has_failed && past.poll_wanted().is_none());
    past.seek(0.0);
    let wanted = past.poll_wanted().expect("tried again");
    assert!(past.fetched(wanted, Bytes::from_static(b"?")).is_err());
    assert!(past.state().has_failed);
    past.seek(0.0);
    log.serve(&mut past);
    assert_shows(&past, &log.folded(1));
}

#[test]
fn near_moments_are_reached_without_fetching() {
    let deeds: Vec<_> = (0..100).map(|n| (0, n, 1)).collect();
    let log = Log::new(&deeds);
    let mut past = Past::new(0.0, Some(log.ticks[52].moment.tick));
    assert_eq!(log.serve(&mut past), 3, "time line, segment and board");
    for count in [52, 51, 53, 54, 51] {
        past.seek_tick(log.ticks[count - 1].moment.tick);
        assert_eq!(log.serve(&mut past), 0);
        assert_shows(&past, &log.folded(count));
    }
    // Over the edge: the next one's ops are enough.
    past.seek_tick(log.ticks[57].moment.tick);
    assert_eq!(log.serve(&mut past), 1);
    past.seek_tick(log.ticks[52].moment.tick);
    assert_eq!(log.serve(&mut past), 0);
}
