//! Inputs as recordings store them: neither the wire's form nor the room's own.
//!
//! # Format
//! A kind, a `varint` session where there is one, and then: 1 joins with `u64` actor, `u8` rights (1 may edit), profile,
//! view; 2 leaves; 3 ops from `varint` first, stamp, a count, each behind its length as in the log, made by actor 0;
//! 4 a view; 5 a profile; 6 a cursor: `varint` sequence, stamp, place, `u8` tool and button; 7 wants the cursors of
//! group `varint`; 8 wants the names of a count of sessions; 9 a pace: `varint` microseconds, `u8` stage; 10 `varint`
//! bytes written; 11 durable through `varint`; 12 follows the session before `varint`, 0 for nobody; 13 `u8` whether it
//! presents; 42 `u8` whether the way loses packets. A profile is a name behind its length and a `varint` colour, a view four
//! zigzag coordinates, a stamp a `varint` 0 for none, else one more than it.

use chalkboard_shared::codec::{Reader, Writer};
use chalkboard_shared::cursor::CursorState;
use chalkboard_shared::limits::{NAMES_WANTED_MAX, OPS_PER_MESSAGE_MAX, SERVER_FRAME_BYTES_MAX};
use chalkboard_shared::presence::{Pace, PresenceStage};
use chalkboard_shared::wire::Profile;
use chalkboard_shared::{
    ActorId, BoardPoint, BoardRect, DecodeError, Op, OpId, Position, Rights, SessionId,
};

use crate::input::{Input, Join};

const JOIN: u8 = 1;
const LEAVE: u8 = 2;
const OPS: u8 = 3;
const VIEW: u8 = 4;
const PROFILE: u8 = 5;
const CURSOR: u8 = 6;
const CURSORS_WANTED: u8 = 7;
const NAMES_WANTED: u8 = 8;
const PACE: u8 = 9;
const WRITTEN: u8 = 10;
const DURABLE: u8 = 11;
const LOSSY: u8 = 42;
const FOLLOW: u8 = 12;
const PRESENT: u8 = 13;

/// Bytes of a name at the most; rooms cut it much shorter.
const NAME_BYTES_MAX: usize = 4096;

/// Who ops are written as made by: strokes of others are named in full.
fn maker(counter: u32) -> OpId {
    OpId {
        actor: ActorId(0),
        counter,
    }
}

pub(super) fn encode(input: &Input, w: &mut Writer) {
    let begin = |w: &mut Writer, kind: u8, session: SessionId| {
        w.u8(kind);
        w.varint(session.0.into());
    };
    match input {
        Input::Join(join) => {
            // Neither the secret nor what the client holds already: see the head of the format.
            begin(w, JOIN, join.session);
            w.u64(join.actor.0);
            w.u8(u8::from(join.rights == Rights::Edit));
            put_profile(w, &join.profile);
            put_rect(w, join.view);
        }
        Input::Leave(session) => begin(w, LEAVE, *session),
        Input::Ops {
            session,
            first,
            stamp,
            ops,
        } => {
            begin(w, OPS, *session);
            w.varint((*first).into());
            put_stamp(w, *stamp);
            w.varint(ops.len() as u64);
            for (op, counter) in ops.iter().zip(*first..) {
                let mut body = Writer::new();
                op.encode(maker(counter), &mut body);
                w.slice(body.as_slice());
            }
        }
        Input::View { session, view } => {
            begin(w, VIEW, *session);
            put_rect(w, *view);
        }
        Input::Profile { session, profile } => {
            begin(w, PROFILE, *session);
            put_profile(w, profile);
        }
        Input::Cursor {
            session,
            sequence,
            stamp,
            cursor,
        } => {
            begin(w, CURSOR, *session);
            w.varint((*sequence).into());
            put_stamp(w, *stamp);
            put_point(w, cursor.at);
            w.u8(cursor.state_bits());
        }
        Input::CursorsWanted { session, group } => {
            begin(w, CURSORS_WANTED, *session);
            w.varint((*group).into());
        }
        Input::NamesWanted { session, of } => {
            begin(w, NAMES_WANTED, *session);
            w.varint(of.len() as u64);
            for session in of {
                w.varint(session.0.into());
            }
        }
        Input::Follow { session, followed } => {
            begin(w, FOLLOW, *session);
            put_stamp(w, followed.map(|followed| followed.0));
        }
        Input::Present {
            session,
            is_presenting,
        } => {
            begin(w, PRESENT, *session);
            w.u8((*is_presenting).into());
        }
        Input::Pace(pace) => {
            w.u8(PACE);
            w.varint(pace.tick_us.into());
            let stage = PresenceStage::ALL.iter().position(|s| *s == pace.presence);
            w.u8(stage.unwrap_or_default() as u8);
        }
        Input::Written { session, bytes } => {
            begin(w, WRITTEN, *session);
            w.varint((*bytes).into());
        }
        Input::Lossy { session, is_lossy } => {
            begin(w, LOSSY, *session);
            w.u8(u8::from(*is_lossy));
        }
        Input::Durable(position) => {
            w.u8(DURABLE);
            w.varint(position.0);
        }
    }
}

pub(super) fn decode(r: &mut Reader) -> Result<Input, DecodeError> {
    let kind = r.u8()?;
    match kind {
        PACE => {
            let tick_us = r.varint_u32()?;
            let stage = PresenceStage::ALL.get(usize::from(r.u8()?));
            let presence = *stage.ok_or(DecodeError::OutOfRange)?;
            return Ok(Input::Pace(Pace { tick_us, presence }));
        }
        DURABLE => return Ok(Input::Durable(Position(r.varint()?))),
        _ => {}
    }
    let session = SessionId(r.varint_u32()?);
    Ok(match kind {
        JOIN => Input::Join(Box::new(Join {
            session,
            actor: ActorId(r.u64()?),
            rights: match r.u8()? {
                0 => Rights::View,
                1 => Rights::Edit,
                _ => return Err(DecodeError::OutOfRange),
            },
            profile: take_profile(r)?,
            view: take_rect(r)?,
            view_secret: None,
            resume: None,
        })),
        LEAVE => Input::Leave(session),
        OPS => {
            let first = r.varint_u32()?;
            let stamp = take_stamp(r)?;
            let count = r.varint_at_most(OPS_PER_MESSAGE_MAX as u64)?;
            let mut ops = Vec::new();
            for offset in 0..count as u32 {
                let counter = first.checked_add(offset).ok_or(DecodeError::OutOfRange)?;
                let mut body = Reader::new(r.slice(SERVER_FRAME_BYTES_MAX)?);
                ops.push(Op::decode(maker(counter), &mut body)?);
                body.finish()?;
            }
            Input::Ops {
                session,
                first,
                stamp,
                ops,
            }
        }
        VIEW => Input::View {
            session,
            view: take_rect(r)?,
        },
        PROFILE => Input::Profile {
            session,
            profile: take_profile(r)?,
        },
        CURSOR => {
            let sequence = r.varint_u32()?;
            let stamp = take_stamp(r)?;
            let at = take_point(r)?;
            Input::Cursor {
                session,
                sequence,
                stamp,
                cursor: CursorState::from_state_bits(at, r.u8()?),
            }
        }
        CURSORS_WANTED => Input::CursorsWanted {
            session,
            group: r.varint_at_most(u16::MAX.into())? as u16,
        },
        NAMES_WANTED => {
            let count = r.varint_at_most(NAMES_WANTED_MAX as u64)?;
            let of = (0..count).map(|_| Ok(SessionId(r.varint_u32()?)));
            Input::NamesWanted {
                session,
                of: of.collect::<Result<_, DecodeError>>()?,
            }
        }
        FOLLOW => Input::Follow {
            session,
            followed: take_stamp(r)?.map(SessionId),
        },
        PRESENT => Input::Present {
            session,
            is_presenting: match r.u8()? {
                0 => false,
                1 => true,
                _ => return Err(DecodeError::OutOfRange),
            },
        },
        WRITTEN => Input::Written {
            session,
            bytes: r.varint_u32()?,
        },
        LOSSY => Input::Lossy {
            session,
            is_lossy: match r.u8()? {
                0 => false,
                1 => true,
                _ => return Err(DecodeError::OutOfRange),
            },
        },
        _ => return Err(DecodeError::Malformed),
    })
}

fn put_stamp(w: &mut Writer, stamp: Option<u32>) {
    w.varint(stamp.map_or(0, |stamp| u64::from(stamp) + 1));
}

fn take_stamp(r: &mut Reader) -> Result<Option<u32>, DecodeError> {
    let code = r.varint_at_most(u64::from(u32::MAX) + 1)?;
    Ok(code.checked_sub(1).map(|stamp| stamp as u32))
}

fn put_point(w: &mut Writer, point: BoardPoint) {
    w.zigzag(point.x.into());
    w.zigzag(point.y.into());
}

fn take_point(r: &mut Reader) -> Result<BoardPoint, DecodeError> {
    Ok(BoardPoint::new(r.zigzag_i32()?, r.zigzag_i32()?))
}

fn put_rect(w: &mut Writer, rect: BoardRect) {
    put_point(w, rect.min);
    put_point(w, rect.max);
}

fn take_rect(r: &mut Reader) -> Result<BoardRect, DecodeError> {
    Ok(BoardRect {
        min: take_point(r)?,
        max: take_point(r)?,
    })
}

fn put_profile(w: &mut Writer, profile: &Profile) {
    w.slice(profile.name.as_bytes());
    w.varint(profile.color.into());
}

fn take_profile(r: &mut Reader) -> Result<Profile, DecodeError> {
    let name = r.slice(NAME_BYTES_MAX)?;
    let name = core::str::from_utf8(&name).map_err(|_| DecodeError::Malformed)?;
    Ok(Profile {
        name: name.to_owned(),
        color: r.varint_u32()?,
    })
}
