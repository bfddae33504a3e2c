//! What clients send.

use bitcode::{Decode, Encode};
use bytes::Bytes;

use super::{Profile, from_bitcode};
use crate::board_point::{BoardPoint, BoardRect};
use crate::codec::{DecodeError, Reader, Writer};
use crate::cursor::CursorState;
use crate::id::{ActorId, BoardId, OpId, Position, SessionId};
use crate::interest::Coverage;
use crate::limits::{NAMES_WANTED_MAX, OPS_PER_MESSAGE_MAX};
use crate::op::Op;
use crate::rights::Secret;

const HELLO: u8 = 1;
const OPS: u8 = 2;
const VIEW: u8 = 3;
const PROFILE: u8 = 4;
const PING: u8 = 5;
const CURSOR: u8 = 6;
const CURSORS_WANTED: u8 = 7;
const NAMES_WANTED: u8 = 8;
const FOLLOW: u8 = 43;
const PRESENT: u8 = 44;

/// The first message: which board, with what right, as whom.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// The board to open.
    pub board: BoardId,
    /// The capability from the link.
    pub secret: Secret,
    /// Known to this client alone; the actor is derived from it. The same for every connection of a running client.
    pub key: [u8; 16],
    /// How this person looks to others.
    pub profile: Profile,
    /// What the client sees.
    pub view: BoardRect,
    /// What the client holds from an earlier connection.
    pub resume: Option<Resume>,
}

/// Where an earlier connection ended, and what of the board was complete then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Resume {
    /// The room's load number then.
    pub epoch: u64,
    /// The last position that the client's mirror holds: of the ticks before it nothing is missing.
    pub position: Position,
    /// Strokes may be held as later ops have made them, which came whole and without their positions. Harmless to a room
    /// that still knows those ops; one that was loaded since may have lost them.
    pub is_ahead: bool,
    /// What the connection covered.
    pub coverage: Coverage,
    /// The part of it of which the mirror holds all strokes.
    pub held: BoardRect,
}

/// A message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientMessage {
    /// The first one.
    Hello(Box<Hello>),
    /// Ops in order, numbered on from `first`.
    Ops {
        /// Counter of the first op.
        first: u32,
        /// When they were made, if the sender wants others to know: its clock in units of 10 us, wrapping.
        stamp: Option<u32>,
        /// 1 to [`OPS_PER_MESSAGE_MAX`] ops.
        ops: Vec<Op>,
    },
    /// What the client sees now.
    View(BoardRect),
    /// A new name or colour.
    Profile(Profile),
    /// To be answered by a pong with the same number.
    Ping(u64),
    /// A keyframe of this group of cursors was missed: send the group as a whole.
    CursorsWanted(u16),
    /// Tell who these sessions are; those that are gone are passed over. 1 to [`NAMES_WANTED_MAX`] of them.
    NamesWanted(Vec<SessionId>),
    /// See what this session sees, or nobody's: answered by [`super::ServerMessage::Followed`].
    Follow(Option<SessionId>),
    /// Begin to present, or end it: answered by the presenters.
    Present(bool),
    /// Where this person points; an older sequence number is out of date.
    Cursor {
        /// Counts up.
        sequence: u32,
        /// When it was there, if the sender wants others to know: its clock in units of 10 us, wrapping.
        stamp: Option<u32>,
        /// Where and with what.
        cursor: CursorState,
    },
}

impl ClientMessage {
    /// The frame.
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        match self {
            Self::Hello(hello) => {
                w.u8(HELLO);
                w.raw(&crate::limits::PROTOCOL_VERSION.to_le_bytes());
                w.raw(&bitcode::encode(hello.as_ref()));
            }
            Self::Ops { first, stamp, ops } => {
                w.u8(OPS);
                w.varint((*first).into());
                w.varint((ops.len() as u64) << 1 | u64::from(stamp.is_some()));
                if let Some(stamp) = stamp {
                    w.raw(&stamp.to_le_bytes());
                }
                for (op, counter) in ops.iter().zip(*first..) {
                    // Names of strokes are relative to the op's own; the sender's actor is known, so 0 stands for it.
                    op.encode(
                        OpId {
                            actor: SELF,
                            counter,
                        },
                        &mut w,
                    );
                }
            }
            Self::View(view) => {
                w.u8(VIEW);
                for v in [view.min.x, view.min.y, view.max.x, view.max.y] {
                    w.zigzag(v.into());
                }
            }
            Self::Profile(profile) => {
                w.u8(PROFILE);
                w.raw(&bitcode::encode(profile));
            }
            Self::Ping(nonce) => {
                w.u8(PING);
                w.varint(*nonce);
            }
            Self::CursorsWanted(group) => {
                w.u8(CURSORS_WANTED);
                w.raw(&group.to_le_bytes());
            }
            Self::NamesWanted(sessions) => {
                w.u8(NAMES_WANTED);
                w.varint(sessions.len() as u64);
                for session in sessions {
                    w.varint(session.0.into());
                }
            }
            Self::Follow(session) => {
                w.u8(FOLLOW);
                w.varint(session.map_or(0, |session| u64::from(session.0) + 1));
            }
            Self::Present(is_presenting) => {
                w.u8(PRESENT);
                w.u8((*is_presenting).into());
            }
            Self::Cursor {
                sequence,
                stamp,
                cursor,
            } => {
                w.u8(CURSOR);
                w.varint((*sequence).into());
                w.zigzag(cursor.at.x.into());
                w.zigzag(cursor.at.y.into());
                w.u8(cursor.state_bits() | if stamp.is_some() { STAMPED } else { 0 });
                if let Some(stamp) = stamp {
                    w.raw(&stamp.to_le_bytes());
                }
            }
        }
        w.into_bytes()
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// Anything that [`ClientMessage::encode`] would not have written. [`DecodeError::UnknownKind`] with the low byte
    /// of its version for a hello of another protocol version.
    pub fn decode(frame: Bytes) -> Result<Self, DecodeError> {
        let mut r = Reader::new(frame);
        let message = match r.u8()? {
            HELLO => {
                let version = u16::from(r.u8()?) | u16::from(r.u8()?) << 8;
                if version != crate::limits::PROTOCOL_VERSION {
                    return Err(DecodeError::UnknownKind(version as u8));
                }
                let hello: Hello = from_bitcode(&r.rest())?;
                if hello
                    .resume
                    .is_some_and(|resume| !resume.coverage.is_valid())
                {
                    return Err(DecodeError::OutOfRange);
                }
                Self::Hello(Box::new(hello))
            }
            OPS => {
                let first = r.varint_u32()?;
                let head = r.varint_at_most((OPS_PER_MESSAGE_MAX as u64) << 1 | 1)?;
                let count = (head >> 1) as u32;
                let stamp = (head & 1 == 1).then(|| decode_stamp(&mut r)).transpose()?;
                let last = first.checked_add(count).ok_or(DecodeError::OutOfRange)?;
                if count == 0 || first == 0 {
                    return Err(DecodeError::OutOfRange);
                }
                let op = |counter| {
                    Op::decode(
                        OpId {
                            actor: SELF,
                            counter,
                        },
                        &mut r,
                    )
                };
                let ops = (first..last).map(op).collect::<Result<_, _>>()?;
                Self::Ops { first, stamp, ops }
            }
            VIEW => {
                let min = BoardPoint::new(r.zigzag_i32()?, r.zigzag_i32()?);
                let max = BoardPoint::new(r.zigzag_i32()?, r.zigzag_i32()?);
                Self::View(BoardRect::from_corners(min, max))
            }
            PROFILE => Self::Profile(from_bitcode(&r.rest())?),
            PING => Self::Ping(r.varint()?),
            NAMES_WANTED => {
                let count = r.varint_at_most(NAMES_WANTED_MAX as u64)?;
                if count == 0 {
                    return Err(DecodeError::OutOfRange);
                }
                let session = |_| r.varint_u32().map(SessionId);
                Self::NamesWanted((0..count).map(session).collect::<Result<_, _>>()?)
            }
            FOLLOW => {
                let session = r.varint_at_most(u64::from(u32::MAX) + 1)?.checked_sub(1);
                Self::Follow(session.map(|session| SessionId(session as u32)))
            }
            PRESENT => match r.u8()? {
                0 => Self::Present(false),
                1 => Self::Present(true),
                _ => return Err(DecodeError::OutOfRange),
            },
            CURSORS_WANTED => Self::CursorsWanted(u16::from_le_bytes([r.u8()?, r.u8()?])),
            CURSOR => {
                let sequence = r.varint_u32()?;
                let at = BoardPoint::new(r.zigzag_i32()?, r.zigzag_i32()?);
                let flags = r.u8()?;
                let bits = flags & !STAMPED;
                if bits >= 8 || !at.is_in_bounds() {
                    return Err(DecodeError::OutOfRange);
                }
                let stamp = (flags & STAMPED != 0)
                    .then(|| decode_stamp(&mut r))
                    .transpose()?;
                Self::Cursor {
                    sequence,
                    stamp,
                    cursor: CursorState::from_state_bits(at, bits),
                }
            }
            other => return Err(DecodeError::UnknownKind(other)),
        };
        r.finish()?;
        Ok(message)
    }

    /// The frame claims to be a hello.
    pub fn is_hello(frame: &[u8]) -> bool {
        frame.first() == Some(&HELLO)
    }

    /// The only kind that may come as a datagram.
    pub const fn is_cursor(&self) -> bool {
        matches!(self, Self::Cursor { .. })
    }
}

/// Flag of a cursor's state byte: a stamp follows.
const STAMPED: u8 = 8;

fn decode_stamp(r: &mut Reader) -> Result<u32, DecodeError> {
    Ok(u32::from_le_bytes([r.u8()?, r.u8()?, r.u8()?, r.u8()?]))
}

/// In a client's messages its own strokes are named with this actor; the room puts the real one in its place.
pub(crate) const SELF: ActorId = ActorId(0);

impl Op {
    /// Puts the actor of a session in the place of "myself", as ops come from [`ClientMessage::Ops`].
    pub fn signed_by(mut self, actor: ActorId) -> Self {
        self.replace_actor(SELF, actor);
        self
    }

    /// Puts "myself" in the place of an actor, as ops go into [`ClientMessage::Ops`].
    pub fn unsigned(mut self, actor: ActorId) -> Self {
        self.replace_actor(actor, SELF);
        self
    }

    fn replace_actor(&mut self, from: ActorId, to: ActorId) {
        let replace = |stroke: &mut crate::id::StrokeId| {
            if stroke.0.actor == from {
                stroke.0.actor = to;
            }
        };
        match self {
            Self::Begin { .. } => {}
            Self::Extend { stroke, .. } | Self::Finish { stroke } => replace(stroke),
            Self::Erase { strokes } | Self::Restore { strokes } | Self::Restyle { strokes, .. } => {
                strokes.iter_mut().for_each(replace);
            }
            Self::TakeBack { taken, .. } => {
                taken
                    .iter_mut()
                    .for_each(|taken| replace(&mut taken.stroke));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cursor::CursorTool;
    use crate::id::StrokeId;
    use crate::op::tests::any_op;

    fn round_trip(message: &ClientMessage) {
        assert_eq!(
            ClientMessage::decode(message.encode()).as_ref(),
            Ok(message)
        );
    }

    #[test]
    fn every_kind_survives() {
        let at = BoardPoint::new(-5, 70_000);
        round_trip(&ClientMessage::Hello(Box::new(Hello {
            board: BoardId([1; 16]),
            secret: Secret([2; 16]),
            key: [3; 16],
            profile: Profile {
                name: "Ada".into(),
                color: 0xff8800,
            },
            view: BoardRect::from_corners(at, BoardPoint::new(9, 9)),
            resume: Some(Resume {
                epoch: 3,
                position: Position(99),
                is_ahead: true,
                coverage: Coverage::of_view(BoardRect::from_corners(at, at), None),
                held: BoardRect::from_corners(at, BoardPoint::new(9, 9)),
            }),
        })));
        round_trip(&ClientMessage::View(BoardRect::from_corners(
            at,
            BoardPoint::new(9, 9),
        )));
        round_trip(&ClientMessage::Profile(Profile {
            name: "B".into(),
            color: 1,
        }));
        round_trip(&ClientMessage::Ping(u64::MAX));
        round_trip(&ClientMessage::CursorsWanted(0x1234));
        round_trip(&ClientMessage::NamesWanted(vec![
            SessionId(0),
            SessionId(u32::MAX),
        ]));
        round_trip(&ClientMessage::Follow(Some(SessionId(u32::MAX))));
        round_trip(&ClientMessage::Follow(None));
        round_trip(&ClientMessage::Present(true));
        round_trip(&ClientMessage::Present(false));
        let cursor = CursorState {
            at,
            tool: CursorTool::Eraser,
            pressed: true,
        };
        round_trip(&ClientMessage::Cursor {
            sequence: 8,
            stamp: Some(3),
            cursor,
        });
    }

    proptest! {
        #[test]
        fn ops_survive(op in any_op(OpId { actor: SELF, counter: 40 })) {
            round_trip(&ClientMessage::Ops { first: 40, stamp: None, ops: vec![op.clone()] });
            round_trip(&ClientMessage::Ops { first: 40, stamp: Some(u32::MAX), ops: vec![op] });
        }

        #[test]
        fn any_bytes_never_panic(kind in 0u8..48, mut bytes: Vec<u8>) {
            bytes.insert(0, kind);
            let _ = ClientMessage::decode(bytes.into());
        }
    }

    #[test]
    fn hostile_follows_and_presentations_are_errors() {
        for body in [
            &[FOLLOW][..],
            // One more than the largest session.
            &[FOLLOW, 0x81, 0x80, 0x80, 0x80, 0x10],
            &[PRESENT, 2],
            &[PRESENT, 1, 1],
        ] {
            assert!(ClientMessage::decode(body.into()).is_err(), "{body:?}");
        }
    }

    #[test]
    fn signing_names_own_strokes_only() {
        let (me, other) = (ActorId(5), ActorId(6));
        let stroke = |actor| StrokeId(OpId { actor, counter: 1 });
        let op = Op::Erase {
            strokes: vec![stroke(me), stroke(other)],
        };
        let sent = op.clone().unsigned(me);
        assert_eq!(
            sent,
            Op::Erase {
                strokes: vec![stroke(SELF), stroke(other)]
            }
        );
        assert_eq!(sent.signed_by(me), op);
    }

    #[test]
    fn another_version_is_told_apart_from_garbage() {
        let mut frame = vec![HELLO];
        frame.extend_from_slice(&99u16.to_le_bytes());
        assert!(ClientMessage::is_hello(&frame));
        assert_eq!(
            ClientMessage::decode(frame.into()),
            Err(DecodeError::UnknownKind(99))
        );
    }
}
