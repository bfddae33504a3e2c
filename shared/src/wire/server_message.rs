//! What the server sends.

use bitcode::{Decode, Encode};
use bytes::Bytes;

use super::live_ink::{self, InkTail};
use super::updates::{self, Update};
use super::{PersonChange, from_bitcode};
use crate::board_point::{BoardPoint, BoardRect};
use crate::chunk;
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{ActorId, Position, SessionId, Tick};
use crate::interest::Coverage;
use crate::limits::{DATAGRAM_FRAME_BYTES_MAX, OPS_IN_FLIGHT_MAX, PRESENTERS_MAX};
use crate::presence::{CrowdMap, CursorGroup, Pace};
use crate::reason::{DisconnectReason, RejectReason};
use crate::rights::{Rights, Secret};
use crate::stroke::Stroke;

const PONG: u8 = 5;
const WELCOME: u8 = 16;
const COVERAGE: u8 = 17;
const CHUNK: u8 = 18;
const COVERED: u8 = 19;
pub(super) const UPDATES: u8 = 20;
const ACK: u8 = 21;
const DURABLE: u8 = 22;
const PEOPLE: u8 = 23;
const CURSOR_GROUP: u8 = 24;
const CURSOR_DELTA: u8 = 25;
const BYE: u8 = 26;
const CURSOR_KEYFRAME: u8 = 27;
const CROWD: u8 = 28;
const PACE: u8 = 29;
const SHOWN: u8 = 30;
const RESUMED: u8 = 31;
const LIVE_INK: u8 = 42;
const PRESENTERS: u8 = 45;
const FOLLOWED: u8 = 46;
const BEAT: u8 = 47;

/// The answer to a hello.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Welcome {
    /// This connection.
    pub session: SessionId,
    /// Who the client is.
    pub actor: ActorId,
    /// What it may do.
    pub rights: Rights,
    /// The room's load number: a new one means that the room was loaded from its log since.
    pub epoch: u64,
    /// The tick of this answer.
    pub tick: Tick,
    /// How often the room ticks, and how much of presence it tells.
    pub pace: Pace,
    /// The last accepted position.
    pub position: Position,
    /// Everything up to here is saved.
    pub durable: Position,
    /// The last op of this actor that the room has answered; later ones must be sent again.
    pub answered: u32,
    /// The secret of a view link, for those who may edit.
    pub view_secret: Option<Secret>,
}

/// What there is to see of the one whom a session follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowNews {
    /// The group of cursors in which theirs is told exactly; 0 where it is told as to everybody.
    pub group: u16,
    /// What they see.
    pub view: BoardRect,
}

/// A message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerMessage {
    /// The first one.
    Welcome(Box<Welcome>),
    /// The client goes on with what it holds ([`super::Resume`]): before `Covered` follow the strokes of it that have
    /// changed, as they are now, and those of the covered area that it lacks. Comes before the first `Coverage`, or not
    /// at all.
    Resumed,
    /// From here on the session receives this part of the plane; what it holds outside of it is out of date.
    Coverage(Coverage),
    /// Strokes in and about the covered area ([`chunk`]); those outside of it are of no account, unless the
    /// client holds them.
    Chunk(Vec<Stroke>),
    /// All strokes in view have been sent, or, of more than can come at once, some of those on top all over the view,
    /// which come again with all the others; the rest of the covered area follows.
    Shown,
    /// All strokes of the covered area have been sent; whatever the client holds beside them, and has not resumed with,
    /// is gone.
    Covered,
    /// Changes of one tick, in order.
    Updates {
        /// The tick.
        tick: Tick,
        /// What changed.
        updates: Vec<Update>,
    },
    /// Ops of this actor were answered.
    Ack {
        /// Counter of the last one.
        through: u32,
        /// Position of the last accepted op: saved once `Durable` has reached it.
        position: Position,
        /// Those that were refused, by counter.
        rejected: Vec<(u32, RejectReason)>,
    },
    /// Everything up to here is on disk.
    Durable(Position),
    /// People came and went, or were asked for.
    People {
        /// People on the board, of whom the first [`crate::limits::PEOPLE_TOLD_MAX`] are told by themselves.
        total: u32,
        /// What has changed about those who are told.
        changes: Vec<PersonChange>,
    },
    /// A group of cursors as a whole.
    CursorGroup(CursorGroup),
    /// A group's next keyframe, to be read against the one before ([`CursorGroup::decode_successor`]).
    CursorKeyframe(Bytes),
    /// What has moved since a group's keyframe, to be read against it ([`CursorGroup::decode_delta`]).
    CursorDelta(Bytes),
    /// How many cursors are where in a cell, none of which is told by itself.
    Crowd(CrowdMap),
    /// What strokes have gained in the last ticks, once more: for those whose way loses packets.
    LiveInk(Vec<InkTail>),
    /// The room's pace has changed.
    Pace(Pace),
    /// Those who present now, in the order in which they began, and the group in which their cursors are told exactly.
    Presenters {
        /// Its number; the one before is over.
        group: u16,
        /// At most [`PRESENTERS_MAX`].
        sessions: Vec<SessionId>,
    },
    /// News of the one whom the session follows.
    Followed {
        /// Whom.
        session: SessionId,
        /// `None`: they are not to be followed any more. They have gone, or follow the session themselves, be it by others.
        news: Option<FollowNews>,
    },
    /// What this session sends is best sent so many microseconds later than it comes, or earlier where that is less than 0,
    /// because then it comes shortly before the room's step; with 0 any moment is as good. See [`crate::presence::Beat`].
    Beat(i32),
    /// Answer to a ping.
    Pong(u64),
    /// The session ends; the transport's close follows.
    Bye(DisconnectReason),
}

/// A frame tells where cursors have moved to: it may be left out, and nothing that comes later needs it.
pub fn is_cursor_delta(frame: &[u8]) -> bool {
    frame.first() == Some(&CURSOR_DELTA)
}

impl ServerMessage {
    /// The frame.
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        match self {
            Self::Welcome(welcome) => {
                w.u8(WELCOME);
                w.raw(&bitcode::encode(welcome.as_ref()));
            }
            Self::Coverage(coverage) => {
                w.u8(COVERAGE);
                w.raw(&bitcode::encode(coverage));
            }
            Self::Chunk(strokes) => {
                w.u8(CHUNK);
                chunk::encode(strokes, &mut w);
            }
            Self::Resumed => w.u8(RESUMED),
            Self::Shown => w.u8(SHOWN),
            Self::Covered => w.u8(COVERED),
            Self::Updates { tick, updates } => return updates::encode(*tick, updates),
            Self::Ack {
                through,
                position,
                rejected,
            } => {
                w.u8(ACK);
                w.varint((*through).into());
                w.varint(position.0);
                w.varint(rejected.len() as u64);
                for (counter, reason) in rejected {
                    w.varint((*counter).into());
                    w.u8(reason.code());
                }
            }
            Self::Durable(position) => {
                w.u8(DURABLE);
                w.varint(position.0);
            }
            Self::People { total, changes } => {
                w.u8(PEOPLE);
                w.varint((*total).into());
                w.raw(&bitcode::encode(changes));
            }
            Self::CursorGroup(group) => {
                w.u8(CURSOR_GROUP);
                group.encode(&mut w);
            }
            Self::CursorKeyframe(keyframe) => {
                w.u8(CURSOR_KEYFRAME);
                w.raw(keyframe);
            }
            Self::CursorDelta(delta) => {
                w.u8(CURSOR_DELTA);
                w.raw(delta);
            }
            Self::Crowd(map) => {
                w.u8(CROWD);
                map.encode(&mut w);
            }
            Self::LiveInk(tails) => {
                w.u8(LIVE_INK);
                live_ink::encode(tails.iter(), usize::MAX, &mut w);
            }
            Self::Pace(pace) => {
                w.u8(PACE);
                w.raw(&bitcode::encode(pace));
            }
            Self::Presenters { group, sessions } => {
                w.u8(PRESENTERS);
                w.raw(&group.to_le_bytes());
                w.varint(sessions.len() as u64);
                for session in sessions {
                    w.varint(session.0.into());
                }
            }
            Self::Followed { session, news } => {
                w.u8(FOLLOWED);
                w.varint(session.0.into());
                if let Some(FollowNews { group, view }) = news {
                    w.raw(&group.to_le_bytes());
                    // A corner, and the way to the other one.
                    let way = |to: i32, from: i32| to.wrapping_sub(from).into();
                    w.zigzag(view.min.x.into());
                    w.zigzag(view.min.y.into());
                    w.zigzag(way(view.max.x, view.min.x));
                    w.zigzag(way(view.max.y, view.min.y));
                }
            }
            Self::Beat(shift_us) => {
                w.u8(BEAT);
                w.zigzag((*shift_us).into());
            }
            Self::Pong(nonce) => {
                w.u8(PONG);
                w.varint(*nonce);
            }
            Self::Bye(reason) => {
                w.u8(BYE);
                w.varint(reason.code().into());
            }
        }
        w.into_bytes()
    }

    /// A writer that already holds the kind of a cursor delta, whose body goes behind it.
    pub fn cursor_delta_writer() -> Writer {
        let mut w = Writer::new();
        w.u8(CURSOR_DELTA);
        w
    }

    /// A writer that already holds the kind of a group's keyframe, whose body goes behind it.
    pub fn cursor_keyframe_writer() -> Writer {
        let mut w = Writer::new();
        w.u8(CURSOR_KEYFRAME);
        w
    }

    /// The frame of as many of `tails`, from the first on, as a datagram holds; `None` where not even that one fits.
    pub fn encode_live_ink<'a>(
        tails: impl IntoIterator<Item = &'a InkTail, IntoIter: Clone>,
    ) -> Option<Bytes> {
        let mut w = Writer::new();
        w.u8(LIVE_INK);
        let tails = tails.into_iter();
        let told = live_ink::encode(tails, DATAGRAM_FRAME_BYTES_MAX, &mut w);
        (told > 0).then(|| w.into_bytes())
    }

    /// A frame is live ink.
    pub fn is_live_ink(frame: &[u8]) -> bool {
        frame.first() == Some(&LIVE_INK)
    }

    /// A frame says when to send, which is told in [`Self::TIMING_BYTES_MAX`] bytes: the room's pace, or its beat.
    pub fn is_timing(frame: &[u8]) -> bool {
        matches!(frame.first(), Some(&(PACE | BEAT)))
    }

    /// Bytes of a frame that says when to send, at the most: a kind, a number of 32 bits, a stage and what bitcode adds.
    pub const TIMING_BYTES_MAX: usize = 16;

    /// The frame of a chunk, by strokes that are not moved for it ([`chunk::encode`]).
    pub fn encode_chunk<'a>(strokes: impl IntoIterator<Item = &'a Stroke>) -> Bytes {
        let mut w = Writer::new();
        w.u8(CHUNK);
        chunk::encode(strokes, &mut w);
        w.into_bytes()
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// Anything that [`ServerMessage::encode`] would not have written.
    pub fn decode(frame: Bytes) -> Result<Self, DecodeError> {
        let mut r = Reader::new(frame);
        let message = match r.u8()? {
            WELCOME => Self::Welcome(Box::new(from_bitcode(&r.rest())?)),
            COVERAGE => {
                let coverage: Coverage = from_bitcode(&r.rest())?;
                if !coverage.is_valid() {
                    return Err(DecodeError::OutOfRange);
                }
                Self::Coverage(coverage)
            }
            CHUNK => Self::Chunk(chunk::decode(&mut r)?),
            RESUMED => Self::Resumed,
            SHOWN => Self::Shown,
            COVERED => Self::Covered,
            UPDATES => {
                let (tick, updates) = updates::decode(&mut r)?;
                Self::Updates { tick, updates }
            }
            ACK => {
                let through = r.varint_u32()?;
                let position = Position(r.varint()?);
                let count = r.varint_at_most(OPS_IN_FLIGHT_MAX as u64)?;
                let mut rejected = Vec::new();
                for _ in 0..count {
                    let counter = r.varint_u32()?;
                    let code = r.u8()?;
                    rejected.push((
                        counter,
                        RejectReason::from_code(code).ok_or(DecodeError::UnknownKind(code))?,
                    ));
                }
                Self::Ack {
                    through,
                    position,
                    rejected,
                }
            }
            DURABLE => Self::Durable(Position(r.varint()?)),
            PEOPLE => Self::People {
                total: r.varint_u32()?,
                changes: from_bitcode(&r.rest())?,
            },
            CURSOR_GROUP => Self::CursorGroup(CursorGroup::decode(&mut r)?),
            CURSOR_KEYFRAME => Self::CursorKeyframe(r.rest()),
            CROWD => Self::Crowd(CrowdMap::decode(&mut r)?),
            LIVE_INK => Self::LiveInk(live_ink::decode(&mut r)?),
            PACE => Self::Pace(from_bitcode(&r.rest())?),
            CURSOR_DELTA => Self::CursorDelta(r.rest()),
            PRESENTERS => {
                let group = u16::from_le_bytes([r.u8()?, r.u8()?]);
                let count = r.varint_at_most(PRESENTERS_MAX as u64)?;
                let mut sessions = Vec::new();
                for _ in 0..count {
                    sessions.push(SessionId(r.varint_u32()?));
                }
                Self::Presenters { group, sessions }
            }
            FOLLOWED => {
                let session = SessionId(r.varint_u32()?);
                let news = if r.remaining() == 0 {
                    None
                } else {
                    let group = u16::from_le_bytes([r.u8()?, r.u8()?]);
                    let mut view = [0; 4];
                    for v in &mut view {
                        *v = r.zigzag_i32()?;
                    }
                    let [x, y, width, height] = view;
                    let far = BoardPoint::new(x.wrapping_add(width), y.wrapping_add(height));
                    let view = BoardRect::from_corners(BoardPoint::new(x, y), far);
                    Some(FollowNews { group, view })
                };
                Self::Followed { session, news }
            }
            BEAT => Self::Beat(r.zigzag_i32()?),
            PONG => Self::Pong(r.varint()?),
            BYE => {
                let code = r.varint_u32()?;
                Self::Bye(
                    DisconnectReason::from_code(code)
                        .ok_or(DecodeError::UnknownKind(code as u8))?,
                )
            }
            other => return Err(DecodeError::UnknownKind(other)),
        };
        r.finish()?;
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::OpEntry;
    use crate::cursor::{CursorState, CursorTool};
    use crate::id::{OpId, StrokeId};
    use crate::ink::InkPoint;
    use crate::op::tests::any_op;
    use crate::presence::{CursorSample, PresenceCell, PresenceStage};
    use crate::stroke::{Nib, StrokeStyle};
    use crate::wire::{Participant, Profile};

    fn wet_stroke() -> Stroke {
        let id = StrokeId(OpId {
            actor: ActorId(7),
            counter: 3,
        });
        let mut stroke = Stroke::new(
            id,
            Position((1 << 40) - 500),
            StrokeStyle {
                nib: Nib::Highlighter,
                color: 0x123456,
                width: 64,
            },
        );
        stroke.push(&[
            InkPoint::new(0, 0, 128),
            InkPoint::new(32, 16, 130),
            InkPoint::new(70, 30, 140),
        ]);
        stroke
    }

    fn stroke() -> Stroke {
        let mut stroke = wet_stroke();
        stroke.finish();
        stroke
    }

    fn followed(news: Option<FollowNews>) -> ServerMessage {
        ServerMessage::Followed {
            session: SessionId(3000),
            news,
        }
    }

    fn round_trip(message: &ServerMessage) {
        assert_eq!(
            ServerMessage::decode(message.encode()).as_ref(),
            Ok(message)
        );
    }

    #[test]
    fn every_kind_survives() {
        let area = Coverage::of_view(
            BoardRect::from_corners(BoardPoint::new(0, 0), BoardPoint::new(9999, 9999)),
            None,
        );
        let cursor = CursorState {
            at: area.rect().min,
            tool: CursorTool::Hand,
            pressed: false,
        };
        let cell = PresenceCell::at(4, area.rect().min);
        let sample = CursorSample::new(cell, cursor, 7);
        let person = Participant {
            session: SessionId(4),
            actor: ActorId(5),
            rights: Rights::View,
            profile: Profile {
                name: "Ada".into(),
                color: 7,
            },
        };
        for message in [
            ServerMessage::Welcome(Box::new(Welcome {
                session: SessionId(1),
                actor: ActorId(2),
                rights: Rights::Edit,
                epoch: 3,
                tick: Tick(4),
                pace: Pace {
                    tick_us: 16_667,
                    presence: PresenceStage::Full,
                },
                position: Position(5),
                durable: Position(4),
                answered: 6,
                view_secret: Some(Secret([8; 16])),
            })),
            ServerMessage::Coverage(area),
            ServerMessage::Chunk(vec![stroke(), stroke()]),
            ServerMessage::Resumed,
            ServerMessage::Shown,
            ServerMessage::Covered,
            ServerMessage::Updates {
                tick: Tick(8),
                updates: vec![Update::Stroke(Box::new(stroke()))],
            },
            ServerMessage::Ack {
                through: 9,
                position: Position(10),
                rejected: vec![(8, RejectReason::NotYours)],
            },
            ServerMessage::Durable(Position(11)),
            ServerMessage::People {
                total: 300,
                changes: vec![PersonChange::Here(person), PersonChange::Left(SessionId(3))],
            },
            ServerMessage::CursorGroup(CursorGroup::new(2, cell, 77, [(SessionId(1), sample)])),
            ServerMessage::CursorKeyframe(Bytes::from_static(b"keyframe")),
            ServerMessage::Crowd(CrowdMap::new(cell)),
            ServerMessage::Pace(Pace {
                tick_us: 33_333,
                presence: PresenceStage::Slow,
            }),
            ServerMessage::CursorDelta(Bytes::from_static(b"delta")),
            ServerMessage::LiveInk(vec![InkTail {
                first: 1,
                growth: crate::growth::Growth::behind(
                    Position(1 << 40),
                    &[InkPoint::new(0, 0, 128), InkPoint::new(32, 16, 130)],
                    &[InkPoint::new(70, 30, 140)],
                ),
            }]),
            ServerMessage::Presenters {
                group: 700,
                sessions: vec![SessionId(9), SessionId(300)],
            },
            followed(Some(FollowNews {
                group: u16::MAX,
                view: BoardRect::EVERYTHING,
            })),
            followed(None),
            ServerMessage::Pong(12),
            ServerMessage::Beat(-9000),
            ServerMessage::Bye(DisconnectReason::TooSlow),
        ] {
            round_trip(&message);
        }
    }

    proptest! {
        #[test]
        fn updates_survive(op in any_op(OpId { actor: ActorId(3), counter: 40 })) {
            let entry = |position| OpEntry { position, id: OpId { actor: ActorId(3), counter: 40 }, op: op.clone() };
            let grown = crate::growth::Growth::new(&wet_stroke(), OpId { actor: ActorId(7), counter: 9 }, &[InkPoint::new(90, 40, 3)]);
            let growth = |position, stamp| Update::Growth { position, stamp, growth: grown.clone().expect("it grows") };
            let next = crate::growth::Growth::new(&wet_stroke(), OpId { actor: ActorId(7), counter: 10 }, &[InkPoint::new(90, 40, 3)]);
            let next = |position, stamp| Update::Growth { position, stamp, growth: next.clone().expect("it grows") };
            let end = |position| Update::End { position, stamp: None, end: crate::growth::End::new(&wet_stroke(), OpId { actor: ActorId(7), counter: 11 }) };
            round_trip(&ServerMessage::Updates { tick: Tick(1), updates: vec![
                growth(Position(1 << 40), None),
                Update::Op(entry(Position((1 << 40) + 1)), None),
                Update::Stroke(Box::new(stroke())),
                Update::Op(entry(Position((1 << 40) + 30)), Some(70_000)),
                growth(Position((1 << 40) + 31), Some(69_000)),
                next(Position((1 << 40) + 32), Some(74_000)),
                growth(Position((1 << 40) + 35), Some(69_000)),
                next(Position((1 << 40) + 36), None),
                end(Position((1 << 40) + 37)),
            ] });
        }

        #[test]
        fn any_bytes_never_panic(kind in 5u8..64, mut bytes: Vec<u8>) {
            bytes.insert(0, kind);
            let _ = ServerMessage::decode(bytes.into());
        }
    }
}
