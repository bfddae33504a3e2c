//! Records of the log: the accepted ops of one tick, as they are stored.
//!
//! # Format, version 1
//! `u8 version`, `varint tick`, `varint unix_ms`, `varint first position`, `varint count`, per op a length and
//! [`OpEntry::encode_body`], then the CRC-32 (IEEE) of all that, little-endian. Positions count on from the first.

use bytes::Bytes;
use chalkboard_shared::codec::{Reader, Writer};
use chalkboard_shared::limits::SERVER_FRAME_BYTES_MAX;
use chalkboard_shared::{ActorId, DecodeError, OpEntry, Position, Tick};

/// The version that is written.
const VERSION: u8 = 1;

/// A record can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Its bytes have changed since they were written.
    #[error("the checksum does not match: the record is damaged")]
    Checksum,
    /// It was written by a newer program.
    #[error(
        "it has format version {0}, which is newer than this program knows; start the newer version"
    )]
    NewerVersion(u8),
    /// The checksum is right and yet it makes no sense.
    #[error("it is malformed: {0}")]
    Malformed(#[from] DecodeError),
}

/// A record, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The tick that accepted the ops; later records of a board have later ticks, through all its loads.
    pub tick: Tick,
    /// The server's clock then.
    pub unix_ms: u64,
    /// The ops, in order, positions without gaps.
    pub entries: Vec<OpEntry>,
}

impl LogRecord {
    /// Writes a record of op bodies; 12 bytes and one or two an op beside them.
    pub(crate) fn encode<'a>(
        tick: Tick,
        unix_ms: u64,
        first: Position,
        bodies: impl ExactSizeIterator<Item = &'a Bytes>,
    ) -> Bytes {
        let mut w = Writer::new();
        w.u8(VERSION);
        w.varint(tick.0);
        w.varint(unix_ms);
        w.varint(first.0);
        w.varint(bodies.len() as u64);
        for body in bodies {
            w.slice(body);
        }
        seal(w)
    }

    /// Writes a record of whole entries, whose positions go on from the first's without gaps: for stores that are
    /// filled from elsewhere than a room. No entries make a record that changes nothing.
    pub fn encode_entries(tick: Tick, unix_ms: u64, entries: &[OpEntry]) -> Bytes {
        let first = entries.first().map_or(Position(0), |entry| entry.position);
        let bodies: Vec<Bytes> = entries.iter().map(OpEntry::encode_body).collect();
        Self::encode(tick, unix_ms, first, bodies.iter())
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Damage, or a newer version.
    pub fn decode(bytes: &Bytes) -> Result<Self, RecordError> {
        let mut r = Reader::new(open(bytes, VERSION)?);
        r.u8()?;
        let tick = Tick(r.varint()?);
        let unix_ms = r.varint()?;
        let first = r.varint()?;
        let count = r.varint_at_most(r.remaining() as u64)?;
        let last = first.checked_add(count).ok_or(DecodeError::OutOfRange)?;
        let entry =
            |position| OpEntry::decode_body(Position(position), r.slice(SERVER_FRAME_BYTES_MAX)?);
        let entries = (first..last)
            .map(entry)
            .collect::<Result<_, DecodeError>>()?;
        r.finish()?;
        Ok(Self {
            tick,
            unix_ms,
            entries,
        })
    }
}

/// A record, read as far as its history needs it: its ops stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RecordOutline {
    pub(crate) tick: Tick,
    pub(crate) unix_ms: u64,
    pub(crate) first: Position,
    /// By [`OpEntry::encode_body`].
    pub(crate) bodies: Vec<Bytes>,
}

impl RecordOutline {
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self, RecordError> {
        let mut r = Reader::new(open(bytes, VERSION)?);
        r.u8()?;
        let tick = Tick(r.varint()?);
        let unix_ms = r.varint()?;
        let first = Position(r.varint()?);
        let count = r.varint_at_most(r.remaining() as u64)?;
        first.0.checked_add(count).ok_or(DecodeError::OutOfRange)?;
        let bodies = (0..count)
            .map(|_| r.slice(SERVER_FRAME_BYTES_MAX))
            .collect::<Result<_, _>>()?;
        r.finish()?;
        Ok(Self {
            tick,
            unix_ms,
            first,
            bodies,
        })
    }

    /// Position of the last op, if there is any.
    pub(crate) fn last(&self) -> Option<Position> {
        let others = self.bodies.len().checked_sub(1)?;
        Some(Position(self.first.0 + others as u64))
    }

    /// Who made each op: what a body begins with.
    pub(crate) fn actors(&self) -> impl Iterator<Item = ActorId> {
        self.bodies.iter().map(|body| {
            let actor = body.first_chunk::<8>().copied().unwrap_or_default();
            ActorId(u64::from_le_bytes(actor))
        })
    }
}

/// Adds the checksum.
pub(crate) fn seal(mut w: Writer) -> Bytes {
    let checksum = crc32fast::hash(w.as_slice());
    w.raw(&checksum.to_le_bytes());
    w.into_bytes()
}

/// Checks the checksum and the version, which is the first byte; answers everything before the checksum.
pub(crate) fn open(bytes: &Bytes, version_max: u8) -> Result<Bytes, RecordError> {
    let Some((body, checksum)) = bytes.split_last_chunk::<4>() else {
        return Err(RecordError::Malformed(DecodeError::Truncated));
    };
    if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
        return Err(RecordError::Checksum);
    }
    match body.first() {
        Some(&version) if version > version_max => Err(RecordError::NewerVersion(version)),
        Some(0) | None => Err(RecordError::Malformed(DecodeError::Malformed)),
        Some(_) => Ok(bytes.slice(..body.len())),
    }
}
