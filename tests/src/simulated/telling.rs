//! Strokes, ops and frames in a few words, for traces and for what differs.

use bytes::Bytes;
use chalkboard_shared::op::Taken;
use chalkboard_shared::wire::{ServerMessage, Update};
use chalkboard_shared::{Op, OpEntry, OpId, Stroke, StrokeId};

/// A frame, for the trace.
pub(crate) fn glance(frame: Bytes) -> String {
    const CHARS_MAX: usize = 160;
    let list = |pieces: Vec<String>| pieces.join("; ");
    match ServerMessage::decode(frame) {
        Ok(ServerMessage::Chunk(strokes)) => {
            format!("a chunk: {}", list(strokes.iter().map(sketch).collect()))
        }
        Ok(ServerMessage::Updates { tick, updates }) => {
            let updates = updates.iter().map(|update| match update {
                Update::Op(entry, _) => told(entry),
                Update::Growth {
                    position, growth, ..
                } => {
                    format!("{} growth of the stroke at {}", position.0, growth.begin.0)
                }
                Update::End { position, end, .. } => {
                    format!("{} end of the stroke at {}", position.0, end.begin.0)
                }
                Update::Stroke(stroke) => format!("whole: {}", sketch(stroke)),
            });
            format!("updates of {}: {}", tick.0, list(updates.collect()))
        }
        Ok(message) => format!("{message:?}").chars().take(CHARS_MAX).collect(),
        Err(error) => format!("what can't be read: {error}"),
    }
}

/// A stroke in a few words, for the trace and for what differs.
pub fn sketch(stroke: &Stroke) -> String {
    let name = |id: OpId| format!("{:04x}/{}", id.actor.0 >> 48, id.counter);
    let extent = stroke.extent();
    format!(
        "{} at {}, {} points{}, {} by {}, styled by {}, ({}, {}) to ({}, {})",
        name(stroke.id.0),
        stroke.z.0,
        stroke.point_count,
        if stroke.is_finished() { ", whole" } else { "" },
        if stroke.erased.value {
            "hidden"
        } else {
            "shown"
        },
        name(stroke.erased.by),
        name(stroke.style.by),
        extent.min.x,
        extent.min.y,
        extent.max.x,
        extent.max.y,
    )
}

/// An op, for the trace.
pub(crate) fn told(entry: &OpEntry) -> String {
    let name = |id: OpId| format!("{:04x}/{}", id.actor.0 >> 48, id.counter);
    let list = |strokes: &[StrokeId]| {
        let names: Vec<_> = strokes.iter().map(|stroke| name(stroke.0)).collect();
        names.join(" ")
    };
    let what = match &entry.op {
        Op::Begin { ink, .. } => format!("begins, {} points", ink.points().len()),
        Op::Extend { stroke, ink } => {
            format!("extends {}, {} points", name(stroke.0), ink.points().len())
        }
        Op::Finish { stroke } => format!("finishes {}", name(stroke.0)),
        Op::Erase { strokes } => format!("erases {}", list(strokes)),
        Op::Restore { strokes } => format!("restores {}", list(strokes)),
        Op::Restyle { strokes, .. } => format!("restyles {}", list(strokes)),
        Op::TakeBack { taken, former } => {
            let told = |taken: &Taken| format!("{} of {}", taken.counter, name(taken.stroke.0));
            let taken: Vec<_> = taken.iter().map(told).collect();
            format!("takes back {} to {former:?}", taken.join(", "))
        }
    };
    format!("{:4} {} {what}", entry.position.0, name(entry.id))
}
