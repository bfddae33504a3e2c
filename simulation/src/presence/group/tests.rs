//! What is left out is known to those who receive the group, whatever deltas they have lost.

use chalkboard_shared::codec::Reader;
use chalkboard_shared::presence::GroupCursor;
use proptest::prelude::*;

use super::*;

const CELL: PresenceCell = PresenceCell {
    level: 4,
    column: 0,
    row: 0,
};

/// One after another: how far in steps of the raster for each update, for how many updates, then for how long it rests.
type Ways = Vec<((i32, i32), u32, u32)>;

/// A cursor and those who send it.
#[derive(Debug, Clone)]
struct Hand {
    ways: Ways,
    pace_ms: u32,
    phase_ms: u32,
}

fn any_hand() -> impl Strategy<Value = Hand> {
    // Some stay where they are, and say so.
    let by = prop_oneof![3 => (-40i32..=40, -40i32..=40), 1 => Just((0, 0))];
    let way = (by, 1u32..40, prop_oneof![Just(0), 0u32..600]);
    (
        proptest::collection::vec(way, 1..6),
        prop_oneof![Just(16), Just(50), 16u32..60],
        0u32..100,
    )
        .prop_map(|(ways, pace_ms, phase_ms)| Hand {
            ways,
            pace_ms,
            phase_ms,
        })
}

impl Hand {
    /// All that it sends, with the times.
    fn updates(&self) -> Vec<(u32, CursorSample)> {
        let (mut x, mut y, mut at_ms) = (2000, 2000, 1000 + self.phase_ms);
        let mut updates = Vec::new();
        for &((dx, dy), count, rest_ms) in &self.ways {
            for _ in 0..count {
                let sample = CursorSample {
                    x,
                    y,
                    state: 0,
                    stamp: at_ms * STAMPS_PER_MS,
                };
                updates.push((at_ms, sample));
                (x, y, at_ms) = (x + dx, y + dy, at_ms + self.pace_ms);
            }
            at_ms += rest_ms;
        }
        updates
    }
}

/// Somebody who loses deltas.
#[derive(Debug, Default)]
struct Receiver {
    group: Option<CursorGroup>,
    /// Told since the keyframe, by slot.
    told: BTreeMap<usize, CursorSample>,
    /// Slots told since the keyframe in deltas that were lost.
    lost: std::collections::BTreeSet<usize>,
}

impl Receiver {
    /// Answers the slots that were told and came.
    fn receive(&mut self, frame: Bytes, is_lost: bool) -> Vec<usize> {
        match ServerMessage::decode(frame).expect("a frame of the room") {
            ServerMessage::CursorGroup(group) => self.begin(group),
            ServerMessage::CursorKeyframe(body) => {
                let before = self.group.as_ref().expect("a group comes first");
                let next = before.decode_successor(&mut Reader::new(body));
                self.begin(next.expect("a keyframe"))
            }
            ServerMessage::CursorDelta(body) => {
                let group = self.group.as_ref().expect("a group comes first");
                let delta = group.decode_delta(&mut Reader::new(body)).expect("a delta");
                let slots: Vec<usize> = delta.changed.iter().map(|(slot, _)| *slot).collect();
                if is_lost {
                    self.lost.extend(slots);
                    return Vec::new();
                }
                self.told.extend(delta.changed);
                slots
            }
            other => panic!("{other:?}"),
        }
    }

    fn begin(&mut self, group: CursorGroup) -> Vec<usize> {
        self.told.clear();
        self.lost.clear();
        let slots = 0..group.cursors().len();
        self.group = Some(group);
        slots.collect()
    }

    fn cursor(&self, slot: usize) -> GroupCursor {
        self.group.as_ref().expect("a group").cursors()[slot]
    }

    /// Where they have the cursor at a moment of its sender's clock.
    fn place(&self, slot: usize, stamp: u32) -> (i32, i32) {
        let cursor = self.cursor(slot);
        let course = cursor.course().and_then(|course| course.at(stamp));
        match (self.told.get(&slot), course) {
            (Some(told), _) => (told.x, told.y),
            (None, Some(place)) => place,
            (None, None) => (cursor.sample.x, cursor.sample.y),
        }
    }

    fn is_going(&self, slot: usize) -> bool {
        !self.told.contains_key(&slot) && self.cursor(slot).course().is_some()
    }
}

/// Runs a group for hands; `lost` says by turns which deltas are. Answers how many updates there were, and how many of
/// them were left out.
fn run(hands: &[Hand], tick_ms: u32, lost: &[bool]) -> (usize, usize) {
    let everybody: Arc<[SessionId]> = Arc::from([SessionId(1000)]);
    let updates: Vec<_> = hands.iter().map(Hand::updates).collect();
    let mut next = vec![0; hands.len()];
    let mut group = Group::new(3, CELL);
    for (session, updates) in updates.iter().enumerate() {
        group.come(SessionId(session as u32), updates[0].1);
    }
    let (mut lucky, mut unlucky) = (Receiver::default(), Receiver::default());
    let (mut time_ms, mut deltas, mut sent, mut left_out) = (1000, 0, 0, 0);
    let end_ms = updates.iter().flatten().map(|(at_ms, _)| *at_ms).max();
    let end_ms = end_ms.expect("somebody moves") + 2000;
    while time_ms < end_ms {
        time_ms += tick_ms;
        let mut fresh = Vec::new();
        for (session, updates) in updates.iter().enumerate() {
            let news = updates[next[session]..]
                .iter()
                .take_while(|(at_ms, _)| *at_ms <= time_ms);
            let count = news.clone().count();
            if let Some((_, sample)) = news.last() {
                group.put(SessionId(session as u32), *sample);
                fresh.push((session, *sample));
            }
            next[session] += count;
        }
        let mut output = Output::default();
        group.tell(
            time_ms,
            PresenceStage::Full,
            0,
            &everybody,
            &everybody,
            &mut output,
        );
        let (mut told, mut got) = (Vec::new(), Vec::new());
        let mut is_lost = false;
        for send in output.sends {
            let is_delta = matches!(
                ServerMessage::decode(send.frame.clone()),
                Ok(ServerMessage::CursorDelta(_))
            );
            is_lost = is_delta && lost[deltas % lost.len()];
            deltas += usize::from(is_delta);
            told = lucky.receive(send.frame.clone(), false);
            got = unlucky.receive(send.frame, is_lost);
        }
        for (slot, sample) in fresh {
            let off = |receiver: &Receiver| {
                let (x, y) = receiver.place(slot, sample.stamp);
                (x - sample.x).abs().max((y - sample.y).abs())
            };
            sent += 1;
            if told.contains(&slot) {
                assert_eq!(off(&lucky), 0, "{slot} at {time_ms} was told");
                assert!(is_lost || got.contains(&slot) && off(&unlucky) == 0);
            } else {
                left_out += 1;
                assert!(
                    off(&lucky) <= 1,
                    "{slot} at {time_ms} is off by {}",
                    off(&lucky)
                );
                // Who has not got what was told last is the poorer by that, but by nothing that was left out.
                let off = off(&unlucky);
                assert!(
                    off <= 1 || unlucky.lost.contains(&slot),
                    "{slot} at {time_ms}: {off}"
                );
            }
        }
        for (slot, hand) in hands.iter().enumerate() {
            let (last_ms, last) = updates[slot][next[slot].saturating_sub(1)];
            // The update before may have come a tick later than it was sent, as may the one that stays out.
            let heard_ms =
                last_ms.saturating_add(hand.pace_ms.max(tick_ms) + LATE_MS + 2 * tick_ms);
            if time_ms > heard_ms && lucky.group.is_some() {
                assert!(!lucky.is_going(slot), "{slot} at {time_ms} runs on");
                assert_eq!(lucky.place(slot, time_ms * STAMPS_PER_MS), (last.x, last.y));
            }
        }
    }
    assert!(!group.tell(
        time_ms,
        PresenceStage::Full,
        0,
        &everybody,
        &everybody,
        &mut Output::default()
    ));
    (sent, left_out)
}

proptest! {
    #[test]
    fn what_is_left_out_is_known_to_a_step_whatever_is_lost(
        hands in proptest::collection::vec(any_hand(), 1..8),
        tick_ms in 12u32..40,
        lost: [bool; 7],
    ) {
        run(&hands, tick_ms, &lost);
    }
}

#[test]
fn what_moves_evenly_is_told_by_keyframes() {
    for (pace_ms, tick_ms, by) in [(16, 16, (5, 0)), (50, 16, (-20, 11)), (50, 33, (7, 31))] {
        let hand = Hand {
            ways: vec![(by, 2000 / pace_ms, 0)],
            pace_ms,
            phase_ms: 3,
        };
        let (sent, left_out) = run(&[hand], tick_ms, &[false]);
        let keyframes = 2000 / KEYFRAME_INTERVAL_MS as usize + 1;
        // Two keyframes pass until three positions are known, in which every update is told.
        let begin = 2 * (KEYFRAME_INTERVAL_MS + tick_ms) / pace_ms.max(tick_ms) + 2;
        assert!(
            sent - left_out <= keyframes + begin as usize,
            "{left_out} of {sent} left out at {pace_ms} ms"
        );
    }
}
