//! What is told of the past survives its encoding, and damage to it is an error and no more.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::InkPoint;
use crate::id::{ActorId, OpId, StrokeId};
use crate::op::{Op, OpEntry};
use crate::stroke::{Nib, Stroke, StrokeStyle};

const ID: OpId = OpId {
    actor: ActorId(0x0123_4567_89ab_cdef),
    counter: 500,
};

fn any_segment() -> impl Strategy<Value = Segment> {
    let ops = proptest::collection::vec(crate::op::tests::any_op(ID), 1..4);
    let tick = (1u64..50, 0u64..1 << 40, ops);
    (
        any::<u32>(),
        any::<bool>(),
        proptest::collection::vec(tick, 0..6),
    )
        .prop_map(|(index, is_complete, ticks)| {
            let (mut moment, mut position) = (Moment::default(), 7);
            let mut tick = |(ticks, unix_ms, ops): (u64, u64, Vec<Op>)| {
                moment = moment.then(Tick(moment.tick.0 + ticks), unix_ms);
                let entries = ops.into_iter().map(|op| {
                    position += 1;
                    OpEntry {
                        position: Position(position),
                        id: ID,
                        op,
                    }
                });
                PastTick {
                    moment,
                    entries: entries.collect(),
                }
            };
            let ticks = ticks.into_iter().map(&mut tick).collect();
            Segment {
                index,
                is_complete,
                ticks,
            }
        })
}

fn style(color: u32) -> StrokeStyle {
    StrokeStyle {
        nib: Nib::Pen,
        color,
        width: 32,
    }
}

fn strokes(count: u32) -> Vec<Stroke> {
    (1..=count)
        .map(|counter| {
            let id = StrokeId(OpId { counter, ..ID });
            let mut stroke = Stroke::new(id, Position(counter.into()), style(counter % 7));
            let point = |x| InkPoint::new(x * 9, counter as i32, 128);
            stroke.push(&(0..10).map(point).collect::<Vec<_>>());
            if counter % 3 > 0 {
                stroke.finish();
            }
            stroke.erased.value = counter % 5 == 0;
            stroke
        })
        .collect()
}

fn timeline() -> Timeline {
    Timeline {
        end: Moment {
            tick: Tick(900),
            unix_ms: 1 << 41,
            at_ms: 70_000,
        },
        position: Position(12_345),
        authors: vec![
            Author {
                name: "Ada".to_owned(),
                color: 0x12_34_56,
                ops: 900,
                actors: vec![ActorId(1), ActorId(2)],
            },
            Author {
                name: String::new(),
                color: 0,
                ops: 1,
                actors: vec![ActorId(3)],
            },
        ],
        segments: vec![
            SegmentHead {
                tick: Tick(1),
                at_ms: 0,
                mark: 77,
            },
            SegmentHead {
                tick: Tick(400),
                at_ms: 30_000,
                mark: 0,
            },
        ],
        buckets: vec![vec![(0, 3), (2, 9)], Vec::new(), vec![(1, 1)]],
    }
}

fn difference() -> Difference {
    let stroke = |counter| StrokeId(OpId { counter, ..ID });
    Difference {
        position: Position(9),
        erase: vec![stroke(1), stroke(300)],
        restore: vec![stroke(4)],
        restyle: vec![Restyled {
            stroke: stroke(5),
            from: style(1),
            to: style(2),
        }],
    }
}

/// Changes a byte, cuts the end off, and reads: whatever comes of it, it is no panic.
fn damaged(bytes: &Bytes, at: prop::sample::Index, byte: u8, cut: prop::sample::Index) -> Bytes {
    let mut bytes = bytes.to_vec();
    let place = at.index(bytes.len());
    bytes[place] = byte;
    bytes.truncate(cut.index(bytes.len() + 1));
    bytes.into()
}

fn read_as_everything(bytes: &Bytes) {
    let _ = Segment::decode(bytes.clone());
    let _ = Timeline::decode(bytes.clone());
    let _ = Difference::decode(bytes.clone());
    let _ = decode_board(bytes.clone(), |_| {});
}

proptest! {
    #[test]
    fn segments_survive(segment in any_segment()) {
        prop_assert_eq!(Segment::decode(segment.encode()), Ok(segment));
    }

    #[test]
    fn damage_never_panics(
        segment in any_segment(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index
    ) {
        let strokes = strokes(20);
        let board = encode_board(&strokes.iter().collect::<Vec<_>>());
        for bytes in [segment.encode(), timeline().encode(), difference().encode(), board] {
            read_as_everything(&damaged(&bytes, at, byte, cut));
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes: Vec<u8>) {
        let versioned = [&[VERSION], bytes.as_slice()].concat();
        read_as_everything(&bytes.into());
        read_as_everything(&versioned.into());
    }

    #[test]
    fn ticks_and_places_only_grow(records: Vec<(u32, u32)>) {
        let mut last = Moment::default();
        for (n, (tick, unix_ms)) in records.into_iter().enumerate() {
            let next = last.then(Tick(tick.into()), unix_ms.into());
            prop_assert!(next.tick > last.tick);
            prop_assert!(n == 0 || next.at_ms > last.at_ms);
            prop_assert!(next.at_ms <= last.at_ms + PAST_PAUSE_MS_MAX);
            last = next;
        }
    }
}

#[test]
fn time_lines_and_differences_survive() {
    assert_eq!(Timeline::decode(timeline().encode()), Ok(timeline()));
    assert_eq!(
        Timeline::decode(Timeline::default().encode()),
        Ok(Timeline::default())
    );
    assert_eq!(Difference::decode(difference().encode()), Ok(difference()));
    assert!(!difference().is_empty() && Difference::default().is_empty());
}

#[test]
fn boards_of_several_chunks_survive_with_what_is_erased_and_unfinished() {
    for count in [0, 1, 9000] {
        let strokes = strokes(count);
        let bytes = encode_board(&strokes.iter().collect::<Vec<_>>());
        let mut back = Vec::new();
        decode_board(bytes, |stroke| back.push(stroke)).expect("own form");
        assert_eq!(back, strokes);
    }
}

#[test]
fn other_versions_are_refused() {
    let bytes = Bytes::from_static(&[VERSION + 1]);
    let error = DecodeError::UnknownKind(VERSION + 1);
    assert_eq!(Segment::decode(bytes.clone()), Err(error));
    assert_eq!(Timeline::decode(bytes.clone()), Err(error));
    assert_eq!(Difference::decode(bytes.clone()), Err(error));
    assert_eq!(decode_board(bytes, |_| {}), Err(error));
}

#[test]
fn a_segment_begins_every_4096_ops() {
    assert_eq!(segment_of(Position(1)), 0);
    assert_eq!(segment_of(Position(SEGMENT_OPS)), 0);
    assert_eq!(segment_of(Position(SEGMENT_OPS + 1)), 1);
}
