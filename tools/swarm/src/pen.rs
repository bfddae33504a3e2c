//! What a client's hand does: the samples of its pen, cut into strokes, and the messages that say so.

use bytes::Bytes;
use chalkboard_shared::op::InkRun;
use chalkboard_shared::wire::ClientMessage;
use chalkboard_shared::workload::{Curve, PEN_HZ, STYLE};
use chalkboard_shared::{ActorId, InkPoint, Op, OpId, StrokeId};

use crate::spec::BATCHES_PER_STROKE;

/// A batch of samples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) points: Vec<InkPoint>,
    /// A stroke begins with it.
    pub(crate) is_first: bool,
    /// The stroke is completed after it.
    pub(crate) is_last: bool,
}

/// A pen that draws without pause.
#[derive(Debug)]
pub(crate) struct Pen {
    curve: Curve,
    samples: u32,
    batch: u32,
}

impl Pen {
    /// One that gives so many samples a batch.
    pub(crate) const fn new(curve: Curve, samples: u32) -> Self {
        Self {
            curve,
            samples,
            batch: 0,
        }
    }

    /// The next batch; its last sample is of this moment, in seconds.
    pub(crate) fn batch(&mut self, t: f64) -> Batch {
        let sample = |before: u32| self.curve.pen(t - f64::from(before) / f64::from(PEN_HZ));
        let batch = Batch {
            points: (0..self.samples).rev().map(sample).collect(),
            is_first: self.batch == 0,
            is_last: self.batch + 1 == BATCHES_PER_STROKE,
        };
        self.batch = (self.batch + 1) % BATCHES_PER_STROKE;
        batch
    }
}

/// The ops of a client that keeps no board: numbers them, names its strokes, and puts them into messages.
#[derive(Debug)]
pub(crate) struct Writer {
    pen: Pen,
    next: u32,
    stroke: StrokeId,
}

/// In a client's messages its own strokes are named with this actor.
const SELF: ActorId = ActorId(0);

const fn own(counter: u32) -> StrokeId {
    StrokeId(OpId {
        actor: SELF,
        counter,
    })
}

impl Writer {
    /// For a client whose first op is number 1.
    pub(crate) const fn new(pen: Pen) -> Self {
        Self {
            pen,
            next: 1,
            stroke: own(1),
        }
    }

    /// The frames of the batches of these moments, all stamped alike. The ends of strokes go without a stamp: they are
    /// no batches, and nobody is to count them.
    pub(crate) fn frames(&mut self, times: impl Iterator<Item = f64>, stamp: u32) -> Vec<Bytes> {
        let (mut frames, mut first, mut ops) = (Vec::new(), self.next, Vec::new());
        for t in times {
            let batch = self.pen.batch(t);
            let ink = InkRun::new(batch.points);
            if batch.is_first {
                self.stroke = own(self.next);
                ops.push(Op::Begin { style: STYLE, ink });
            } else {
                let stroke = self.stroke;
                ops.push(Op::Extend { stroke, ink });
            }
            self.next += 1;
            if batch.is_last {
                frames.push(message(first, Some(stamp), std::mem::take(&mut ops)));
                let stroke = self.stroke;
                frames.push(message(self.next, None, vec![Op::Finish { stroke }]));
                self.next += 1;
                first = self.next;
            }
        }
        if !ops.is_empty() {
            frames.push(message(first, Some(stamp), ops));
        }
        frames
    }
}

fn message(first: u32, stamp: Option<u32>, ops: Vec<Op>) -> Bytes {
    ClientMessage::Ops { first, stamp, ops }.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stroke_is_forty_batches_and_an_end() {
        let mut writer = Writer::new(Pen::new(Curve::of(4), 3));
        let mut ops = Vec::new();
        for batch in 0..85u32 {
            for frame in writer.frames([f64::from(batch) / 20.0].into_iter(), batch) {
                match ClientMessage::decode(frame) {
                    Ok(ClientMessage::Ops {
                        first,
                        stamp,
                        ops: some,
                    }) => {
                        assert_eq!(first as usize, ops.len() + 1, "numbers have no gaps");
                        let is_end = matches!(some[..], [Op::Finish { .. }]);
                        assert_eq!(stamp, (!is_end).then_some(batch));
                        ops.extend(some);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(ops.len(), 85 + 2);
        let at = |kind: fn(&Op) -> bool| -> Vec<usize> {
            (0..ops.len()).filter(|at| kind(&ops[*at])).collect()
        };
        assert_eq!(at(|op| matches!(op, Op::Begin { .. })), [0, 41, 82]);
        assert_eq!(at(|op| matches!(op, Op::Finish { .. })), [40, 81]);
        assert_eq!(ops[81], Op::Finish { stroke: own(42) });
    }

    #[test]
    fn batches_that_are_due_together_share_a_message() {
        let mut writer = Writer::new(Pen::new(Curve::of(4), 1));
        let frames = writer.frames((0..39).map(f64::from), 5);
        assert_eq!(frames.len(), 1);
        let frames = writer.frames((39..44).map(f64::from), 6);
        assert_eq!(frames.len(), 3, "the rest of a stroke, its end, the next");
    }

    #[test]
    fn samples_are_a_sixtieth_apart_and_end_now() {
        let curve = Curve::of(9);
        let batch = Pen::new(curve, 3).batch(7.0);
        assert_eq!(batch.points[2], curve.pen(7.0));
        assert_eq!(batch.points[0], curve.pen(7.0 - 2.0 / 60.0));
    }
}
