//! Ops: immutable, mergeable changes of a board, named by [`OpId`] so that a resend is harmless.
//!
//! An op is encoded once: the same bytes go into the log and to the sessions that must see it. To those who follow a
//! stroke, what it gains is told more shortly ([`crate::growth`]).

use bytes::Bytes;

use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{ActorId, OpId, Position, StrokeId};
use crate::ink::{InkPoint, PackedInk};
use crate::limits::{POINTS_PER_OP_MAX, STROKES_PER_OP_MAX};
use crate::stroke::StrokeStyle;

/// Points of one op, packed as they travel and plain as they are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InkRun {
    packed: PackedInk,
    points: Vec<InkPoint>,
}

impl InkRun {
    /// Packs 1 to [`POINTS_PER_OP_MAX`] points.
    ///
    /// # Panics
    /// On none, or on more.
    pub fn new(points: Vec<InkPoint>) -> Self {
        assert!(
            points.len() <= POINTS_PER_OP_MAX,
            "{} points in one op",
            points.len()
        );
        Self {
            packed: PackedInk::pack(&points),
            points,
        }
    }

    /// The points.
    pub fn points(&self) -> &[InkPoint] {
        &self.points
    }

    fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        // 16 bytes a point is more than the longest codes, and 32 for the head.
        let bytes = r.slice(POINTS_PER_OP_MAX * 16 + 32)?;
        let (packed, points) = PackedInk::check(bytes, POINTS_PER_OP_MAX)?;
        Ok(Self { packed, points })
    }
}

/// A change of the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Begins a stroke, which is named by this op's id.
    Begin {
        /// What it looks like.
        style: StrokeStyle,
        /// Its first points.
        ink: InkRun,
    },
    /// Adds points to a stroke of the same actor.
    Extend {
        /// Which.
        stroke: StrokeId,
        /// Further points.
        ink: InkRun,
    },
    /// No more points will come.
    Finish {
        /// Which.
        stroke: StrokeId,
    },
    /// Hides strokes, anybody's.
    Erase {
        /// 1 to [`STROKES_PER_OP_MAX`] of them.
        strokes: Vec<StrokeId>,
    },
    /// Shows erased strokes again.
    Restore {
        /// 1 to [`STROKES_PER_OP_MAX`] of them.
        strokes: Vec<StrokeId>,
    },
    /// Gives strokes a style as a whole, so that two people's halves never mix into a third look.
    Restyle {
        /// 1 to [`STROKES_PER_OP_MAX`] of them.
        strokes: Vec<StrokeId>,
        /// The style.
        style: StrokeStyle,
    },
    /// Undo and redo: takes back what the same actor's earlier ops have given strokes, each only where that op is still
    /// the last that has written it. So nobody needs to see a stroke to know that nothing of another's is changed.
    TakeBack {
        /// 1 to [`STROKES_PER_OP_MAX`] strokes, and what is taken back of each.
        taken: Vec<Taken>,
        /// What they are again.
        former: Former,
    },
}

/// What is taken back of a stroke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The stroke.
    pub stroke: StrokeId,
    /// Counter of the op that is taken back, of the same actor and earlier.
    pub counter: u32,
}

/// What strokes are again when something is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Former {
    /// Visible.
    Shown,
    /// Erased.
    Hidden,
    /// Of this style.
    Style(StrokeStyle),
}

const BEGIN: u8 = 1;
const EXTEND: u8 = 2;
const FINISH: u8 = 3;
const ERASE: u8 = 4;
const RESTORE: u8 = 5;
const RESTYLE: u8 = 6;
const TAKE_BACK_TO_SHOWN: u8 = 7;
const TAKE_BACK_TO_HIDDEN: u8 = 8;
const TAKE_BACK_TO_STYLE: u8 = 9;

impl Op {
    /// Points that it adds.
    pub fn point_count(&self) -> usize {
        match self {
            Self::Begin { ink, .. } | Self::Extend { ink, .. } => ink.points().len(),
            Self::Finish { .. }
            | Self::Erase { .. }
            | Self::Restore { .. }
            | Self::Restyle { .. }
            | Self::TakeBack { .. } => 0,
        }
    }

    /// The strokes that an op of this id changes.
    pub fn strokes(&self, id: &OpId) -> impl Iterator<Item = StrokeId> {
        let count = match self {
            Self::Begin { .. } | Self::Extend { .. } | Self::Finish { .. } => 1,
            Self::Erase { strokes } | Self::Restore { strokes } | Self::Restyle { strokes, .. } => {
                strokes.len()
            }
            Self::TakeBack { taken, .. } => taken.len(),
        };
        // One closure, because chains of iterators are much code wherever they are used.
        (0..count).map(move |at| match self {
            Self::Begin { .. } => StrokeId(*id),
            Self::Extend { stroke, .. } | Self::Finish { stroke } => *stroke,
            Self::Erase { strokes } | Self::Restore { strokes } | Self::Restyle { strokes, .. } => {
                strokes[at]
            }
            Self::TakeBack { taken, .. } => taken[at].stroke,
        })
    }

    /// Writes the op as made by `id`, to which stroke names are relative. What is taken back must be earlier.
    pub fn encode(&self, id: OpId, w: &mut Writer) {
        let one = |w: &mut Writer, stroke: StrokeId| {
            let OpId { actor, counter } = stroke.0;
            if actor == id.actor && counter <= id.counter {
                w.varint(u64::from(id.counter - counter) << 1);
            } else {
                w.varint(u64::from(counter) << 1 | 1);
                w.u64(actor.0);
            }
        };
        let many = |w: &mut Writer, strokes: &[StrokeId]| {
            w.varint(strokes.len() as u64);
            for &stroke in strokes {
                one(w, stroke);
            }
        };
        match self {
            Self::Begin { style, ink } => {
                w.u8(BEGIN);
                style.encode(w);
                w.slice(ink.packed.as_bytes());
            }
            Self::Extend { stroke, ink } => {
                w.u8(EXTEND);
                one(w, *stroke);
                w.slice(ink.packed.as_bytes());
            }
            Self::Finish { stroke } => {
                w.u8(FINISH);
                one(w, *stroke);
            }
            Self::Erase { strokes } => {
                w.u8(ERASE);
                many(w, strokes);
            }
            Self::Restore { strokes } => {
                w.u8(RESTORE);
                many(w, strokes);
            }
            Self::Restyle { strokes, style } => {
                w.u8(RESTYLE);
                many(w, strokes);
                style.encode(w);
            }
            Self::TakeBack { taken, former } => {
                w.u8(match former {
                    Former::Shown => TAKE_BACK_TO_SHOWN,
                    Former::Hidden => TAKE_BACK_TO_HIDDEN,
                    Former::Style(_) => TAKE_BACK_TO_STYLE,
                });
                w.varint(taken.len() as u64);
                for taken in taken {
                    one(w, taken.stroke);
                    w.varint(id.counter.saturating_sub(taken.counter).into());
                }
                if let Former::Style(style) = former {
                    style.encode(w);
                }
            }
        }
    }

    /// Reads an op as made by `id`.
    ///
    /// # Errors
    /// Anything that [`Op::encode`] would not have written, and every limit passed.
    pub fn decode(id: OpId, r: &mut Reader) -> Result<Self, DecodeError> {
        let one = |r: &mut Reader| {
            let code = r.varint_at_most(u64::from(u32::MAX) << 1 | 1)?;
            let number = (code >> 1) as u32;
            let stroke = if code & 1 == 0 {
                OpId {
                    actor: id.actor,
                    counter: id
                        .counter
                        .checked_sub(number)
                        .ok_or(DecodeError::OutOfRange)?,
                }
            } else {
                OpId {
                    actor: ActorId(r.u64()?),
                    counter: number,
                }
            };
            Ok(StrokeId(stroke))
        };
        let count = |r: &mut Reader| {
            let count = r.varint_at_most(STROKES_PER_OP_MAX as u64)?;
            (count > 0).then_some(count).ok_or(DecodeError::OutOfRange)
        };
        let many = |r: &mut Reader| {
            (0..count(r)?)
                .map(|_| one(r))
                .collect::<Result<Vec<_>, _>>()
        };
        let taken = |r: &mut Reader| {
            let stroke = one(r)?;
            let counter = id.counter.checked_sub(r.varint_u32()?);
            let counter = counter.ok_or(DecodeError::OutOfRange)?;
            Ok(Taken { stroke, counter })
        };
        Ok(match r.u8()? {
            BEGIN => Self::Begin {
                style: StrokeStyle::decode(r)?,
                ink: InkRun::decode(r)?,
            },
            EXTEND => Self::Extend {
                stroke: one(r)?,
                ink: InkRun::decode(r)?,
            },
            FINISH => Self::Finish { stroke: one(r)? },
            ERASE => Self::Erase { strokes: many(r)? },
            RESTORE => Self::Restore { strokes: many(r)? },
            RESTYLE => Self::Restyle {
                strokes: many(r)?,
                style: StrokeStyle::decode(r)?,
            },
            kind @ TAKE_BACK_TO_SHOWN..=TAKE_BACK_TO_STYLE => Self::TakeBack {
                taken: (0..count(r)?).map(|_| taken(r)).collect::<Result<_, _>>()?,
                former: match kind {
                    TAKE_BACK_TO_SHOWN => Former::Shown,
                    TAKE_BACK_TO_HIDDEN => Former::Hidden,
                    _ => Former::Style(StrokeStyle::decode(r)?),
                },
            },
            other => return Err(DecodeError::UnknownKind(other)),
        })
    }
}

/// An accepted op: what it is, who made it, and its place in the room's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpEntry {
    /// Its place in the board's log.
    pub position: Position,
    /// Its name.
    pub id: OpId,
    /// What it does.
    pub op: Op,
}

impl OpEntry {
    /// Everything but the position, which whatever holds the entry tells: shared by wire and log.
    pub fn encode_body(&self) -> Bytes {
        let mut w = Writer::new();
        w.u64(self.id.actor.0);
        w.varint(self.id.counter.into());
        self.op.encode(self.id, &mut w);
        w.into_bytes()
    }

    /// Reads what [`OpEntry::encode_body`] wrote, and nothing more.
    ///
    /// # Errors
    /// Anything else.
    pub fn decode_body(position: Position, body: Bytes) -> Result<Self, DecodeError> {
        let mut r = Reader::new(body);
        let id = OpId {
            actor: ActorId(r.u64()?),
            counter: r.varint_u32()?,
        };
        let op = Op::decode(id, &mut r)?;
        r.finish()?;
        Ok(Self { position, id, op })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stroke::Nib;

    pub(crate) fn any_op(id: OpId) -> impl Strategy<Value = Op> {
        let style =
            (any::<bool>(), 0u32..=0xff_ffff, 1u16..=8192).prop_map(|(pen, color, width)| {
                StrokeStyle {
                    nib: if pen { Nib::Pen } else { Nib::Highlighter },
                    color,
                    width,
                }
            });
        let ink = proptest::collection::vec((-9999i32..9999, -9999i32..9999, any::<u8>()), 1..20)
            .prop_map(|points| {
                InkRun::new(
                    points
                        .into_iter()
                        .map(|(x, y, p)| InkPoint::new(x, y, p))
                        .collect(),
                )
            });
        let stroke = prop_oneof![
            (0..=id.counter).prop_map(move |counter| StrokeId(OpId {
                actor: id.actor,
                counter
            })),
            (any::<u64>(), any::<u32>()).prop_map(|(actor, counter)| StrokeId(OpId {
                actor: ActorId(actor),
                counter
            })),
        ];
        let strokes = proptest::collection::vec(stroke.clone(), 1..6);
        let former = prop_oneof![
            Just(Former::Shown),
            Just(Former::Hidden),
            style.clone().prop_map(Former::Style),
        ];
        prop_oneof![
            (style.clone(), ink.clone()).prop_map(|(style, ink)| Op::Begin { style, ink }),
            (stroke.clone(), ink).prop_map(|(stroke, ink)| Op::Extend { stroke, ink }),
            stroke.prop_map(|stroke| Op::Finish { stroke }),
            strokes.clone().prop_map(|strokes| Op::Erase { strokes }),
            strokes.clone().prop_map(|strokes| Op::Restore { strokes }),
            (strokes.clone(), style.clone())
                .prop_map(|(strokes, style)| Op::Restyle { strokes, style }),
            (strokes, 0..=id.counter, former).prop_map(|(strokes, counter, former)| {
                let taken = |stroke| Taken { stroke, counter };
                let taken = strokes.into_iter().map(taken).collect();
                Op::TakeBack { taken, former }
            }),
        ]
    }

    const ID: OpId = OpId {
        actor: ActorId(0x0123_4567_89ab_cdef),
        counter: 500,
    };

    proptest! {
        #[test]
        fn entries_survive(op in any_op(ID)) {
            let entry = OpEntry { position: Position(12), id: ID, op };
            prop_assert_eq!(OpEntry::decode_body(Position(12), entry.encode_body()), Ok(entry));
        }

        #[test]
        fn damaged_entries_never_panic(op in any_op(ID), at: proptest::sample::Index, byte: u8, cut: proptest::sample::Index) {
            let mut body = OpEntry { position: Position(12), id: ID, op }.encode_body().to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            body.truncate(cut.index(body.len() + 1));
            let _ = OpEntry::decode_body(Position(1), body.into());
        }

        #[test]
        fn any_bytes_never_panic(bytes: Vec<u8>) {
            let _ = OpEntry::decode_body(Position(1), bytes.into());
        }
    }

    #[test]
    fn an_extend_of_one_sample_is_small() {
        let stroke = StrokeId(OpId {
            actor: ID.actor,
            counter: 480,
        });
        let op = Op::Extend {
            stroke,
            ink: InkRun::new(vec![InkPoint::new(65_000, 43_210, 128)]),
        };
        let size = OpEntry {
            position: Position(1),
            id: ID,
            op,
        }
        .encode_body()
        .len();
        assert!(size <= 24, "{size} bytes");
    }
}
