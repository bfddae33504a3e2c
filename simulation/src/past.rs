//! What those are told who look back: the board at a segment's start, a segment's ops, and how a moment differs from now.
//!
//! The board at a moment is a [`Fold`]; when things happened is the [`Chronicle`](crate::Chronicle)'s. Forms are
//! `chalkboard_shared::past`'s.

use std::collections::HashMap;

use bytes::Bytes;
use chalkboard_shared::past::{Difference, Moment, Restyled, SegmentWriter, encode_board};
use chalkboard_shared::{Stroke, StrokeId, StrokeStyle};

use crate::chronicle::Stretch;
use crate::fold::Fold;
use crate::record::{RecordError, RecordOutline};

/// Visible strokes with their styles: what people see of a board.
#[derive(Debug, Default)]
pub struct Look(HashMap<StrokeId, StrokeStyle>);

impl Look {
    /// What people see of this one.
    pub fn of(board: &Fold) -> Self {
        let visible = board.strokes().filter(|stroke| !stroke.erased.value);
        Self(
            visible
                .map(|stroke| (stroke.id, stroke.style.value))
                .collect(),
        )
    }
}

/// A whole board in the form in which it is told.
pub fn encode_past(board: &Fold) -> Bytes {
    encode_board(&in_order(board))
}

fn in_order(board: &Fold) -> Vec<&Stroke> {
    let mut strokes: Vec<&Stroke> = board.strokes().collect();
    strokes.sort_unstable_by_key(|stroke| stroke.z);
    strokes
}

/// What would have to be done to a board to make it look as before. Points that strokes have gained since stay.
pub fn difference(then: &Look, now: &Fold) -> Difference {
    let mut difference = Difference {
        position: now.position(),
        ..Difference::default()
    };
    for stroke in in_order(now) {
        let id = stroke.id;
        let was = then.0.get(&id);
        match (stroke.erased.value, was) {
            (false, None) => difference.erase.push(id),
            (true, Some(_)) => difference.restore.push(id),
            (false, Some(_)) | (true, None) => {}
        }
        let from = stroke.style.value;
        if let Some(&to) = was.filter(|to| **to != from) {
            difference.restyle.push(Restyled {
                stroke: id,
                from,
                to,
            });
        }
    }
    difference
}

/// Writes a segment from records of the log, which may begin before it and go on after it.
///
/// # Errors
/// A record can't be read.
pub fn write_segment<'a>(
    index: u32,
    stretch: Stretch,
    records: impl IntoIterator<Item = &'a Bytes>,
) -> Result<Bytes, RecordError> {
    let mut writer = SegmentWriter::new(index, stretch.end.is_some(), stretch.after);
    let mut moment = stretch.before;
    for record in records {
        let outline = RecordOutline::decode(record)?;
        if outline.first <= stretch.after || outline.bodies.is_empty() {
            continue;
        }
        if stretch.end.is_some_and(|end| outline.first > end) {
            break;
        }
        moment = moment.then(outline.tick, outline.unix_ms);
        writer.push(moment, outline.bodies.iter());
    }
    Ok(writer.finish())
}

/// The tick of a record that comes after `before`, as a time line counts.
///
/// # Errors
/// The record can't be read.
pub fn moment_after(before: Moment, record: &Bytes) -> Result<Moment, RecordError> {
    let outline = RecordOutline::decode(record)?;
    Ok(before.then(outline.tick, outline.unix_ms))
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::op::InkRun;
    use chalkboard_shared::past::{Segment, decode_board};
    use chalkboard_shared::stroke::Nib;
    use chalkboard_shared::{ActorId, InkPoint, Op, OpEntry, OpId, Position, Tick};

    use super::*;
    use crate::LogRecord;

    const STYLE: StrokeStyle = StrokeStyle {
        nib: Nib::Pen,
        color: 1,
        width: 32,
    };
    const RED: StrokeStyle = StrokeStyle {
        color: 0xff_0000,
        ..STYLE
    };

    fn id(counter: u32) -> OpId {
        OpId {
            actor: ActorId(3),
            counter,
        }
    }

    fn record(position: u64, op: Op) -> Bytes {
        let id = id(position as u32);
        let entry = OpEntry {
            position: Position(position),
            id,
            op,
        };
        LogRecord::encode_entries(Tick(position * 10), position * 1000, &[entry])
    }

    /// Two strokes, one erased; then the other turns red and a third is drawn.
    fn log() -> Vec<Bytes> {
        let begin = || Op::Begin {
            style: STYLE,
            ink: InkRun::new(vec![InkPoint::new(1, 2, 3)]),
        };
        let stroke = |counter| vec![StrokeId(id(counter))];
        vec![
            record(1, begin()),
            record(2, begin()),
            record(3, Op::Erase { strokes: stroke(2) }),
            record(
                4,
                Op::Restyle {
                    strokes: stroke(1),
                    style: RED,
                },
            ),
            record(5, begin()),
        ]
    }

    fn folded(records: &[Bytes]) -> Fold {
        Fold::new(None, records.iter().cloned()).expect("fits")
    }

    #[test]
    fn a_board_survives_its_wire_form() {
        let board = folded(&log()[..3]);
        let mut back = Vec::new();
        decode_board(encode_past(&board), |stroke| back.push(stroke)).expect("own form");
        assert_eq!(back.iter().collect::<Vec<_>>(), in_order(&board));
    }

    #[test]
    fn the_difference_names_what_people_would_see() {
        let log = log();
        let now = folded(&log);
        let stroke = |counter| StrokeId(id(counter));
        let found = difference(&Look::of(&folded(&log[..2])), &now);
        assert_eq!(found.position, Position(5));
        assert_eq!(found.erase, [stroke(5)]);
        assert_eq!(found.restore, [stroke(2)]);
        let restyled = Restyled {
            stroke: stroke(1),
            from: RED,
            to: STYLE,
        };
        assert_eq!(found.restyle, [restyled]);
        assert!(difference(&Look::of(&now), &now).is_empty());
        assert_eq!(difference(&Look::default(), &now).erase.len(), 2);
    }

    #[test]
    fn a_segment_holds_its_stretch_and_no_more() {
        let log = log();
        let before = moment_after(Moment::default(), &log[0]).expect("own form");
        let stretch = Stretch {
            before,
            after: Position(1),
            end: Some(Position(3)),
        };
        let bytes = write_segment(7, stretch, &log).expect("own form");
        let segment = Segment::decode(bytes).expect("own form");
        assert!(segment.is_complete && segment.index == 7);
        let ticks: Vec<_> = segment
            .ticks
            .iter()
            .map(|tick| tick.moment.tick.0)
            .collect();
        assert_eq!(ticks, [20, 30]);
        assert_eq!(segment.ticks[1].moment.at_ms, 2000);
        assert_eq!(segment.ticks[0].entries[0].position, Position(2));
    }
}
