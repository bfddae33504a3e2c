//! How the board at a moment differs from the board now: what would have to be done to bring it back.
//!
//! # Format
//! `u8 version`, `varint position`, then three lists, each behind its `varint` length: strokes to erase, strokes to
//! restore, and strokes to restyle with the style now and the one then. A stroke is a `u64` actor and a `varint` counter.

use bytes::Bytes;

use super::{VERSION, check_version};
use crate::codec::{DecodeError, Reader, Writer};
use crate::id::{ActorId, OpId, Position, StrokeId};
use crate::limits::STROKES_PER_BOARD_MAX;
use crate::stroke::StrokeStyle;

/// A stroke that looked otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restyled {
    /// Which.
    pub stroke: StrokeId,
    /// Its style now.
    pub from: StrokeStyle,
    /// Its style then.
    pub to: StrokeStyle,
}

/// What brings a moment back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// "Now" is the board at this position.
    pub position: Position,
    /// Visible now, and not then.
    pub erase: Vec<StrokeId>,
    /// Visible then, and not now.
    pub restore: Vec<StrokeId>,
    /// Visible then, in another style.
    pub restyle: Vec<Restyled>,
}

impl Difference {
    /// There is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.erase.is_empty() && self.restore.is_empty() && self.restyle.is_empty()
    }

    /// Writes it.
    pub fn encode(&self) -> Bytes {
        let mut w = Writer::new();
        w.u8(VERSION);
        w.varint(self.position.0);
        for strokes in [&self.erase, &self.restore] {
            w.varint(strokes.len() as u64);
            for stroke in strokes {
                encode_stroke(*stroke, &mut w);
            }
        }
        w.varint(self.restyle.len() as u64);
        for restyled in &self.restyle {
            encode_stroke(restyled.stroke, &mut w);
            restyled.from.encode(&mut w);
            restyled.to.encode(&mut w);
        }
        w.into_bytes()
    }

    /// Reads what [`Difference::encode`] wrote.
    ///
    /// # Errors
    /// Anything else.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let r = &mut Reader::new(bytes);
        check_version(r)?;
        let position = Position(r.varint()?);
        let mut lists = [Vec::new(), Vec::new()];
        for list in &mut lists {
            for _ in 0..r.varint_at_most(STROKES_PER_BOARD_MAX as u64)? {
                list.push(decode_stroke(r)?);
            }
        }
        let mut restyle = Vec::new();
        for _ in 0..r.varint_at_most(STROKES_PER_BOARD_MAX as u64)? {
            restyle.push(Restyled {
                stroke: decode_stroke(r)?,
                from: StrokeStyle::decode(r)?,
                to: StrokeStyle::decode(r)?,
            });
        }
        if r.remaining() > 0 {
            return Err(DecodeError::Trailing);
        }
        let [erase, restore] = lists;
        Ok(Self {
            position,
            erase,
            restore,
            restyle,
        })
    }
}

fn encode_stroke(stroke: StrokeId, w: &mut Writer) {
    w.u64(stroke.0.actor.0);
    w.varint(stroke.0.counter.into());
}

fn decode_stroke(r: &mut Reader) -> Result<StrokeId, DecodeError> {
    Ok(StrokeId(OpId {
        actor: ActorId(r.u64()?),
        counter: r.varint_u32()?,
    }))
}
