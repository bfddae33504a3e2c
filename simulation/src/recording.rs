//! Recordings: what came into a room, step by step, so that the same room can be stepped again elsewhere.
//!
//! A recording begins in a running room: with a snapshot of the board, and the sessions that are there as if they came in
//! just then. What they were sent before is not in it, so the frames of a replay may differ from those that were sent;
//! board, positions, log records and digest are the same, tick by tick, and each step bears the digest that shows it.
//! It holds what people draw and what they are called. It never holds secrets of links or keys of clients: those that
//! a join brings along are left out, and no room needs them.
//!
//! # Format, version 1
//! `"chalkboard recording\n"`, `u8 version`, then frames, each `varint` length, the body, and the body's CRC-32 (IEEE),
//! little-endian. A body begins with its kind: 1, the head: `varint` epoch, tick length in us, tick, position, the
//! snapshot behind its length, and the inputs that bring the sessions back; 2, a step: `varint` tick, unix_ms,
//! uptime_ms, the inputs, position and `u64` digest after it; 3, the end: `u8` why. Inputs are a `varint` count and
//! each as [`stored_input`] tells. Whoever writes appends frames; a file that breaks off in one ends before it.

mod stored_input;

use bevy_ecs::prelude::World;
use bytes::Bytes;
use chalkboard_shared::codec::{Reader, Writer};
use chalkboard_shared::digest::Digest;
use chalkboard_shared::{DecodeError, Position, Tick};

use crate::input::{Input, Join, Now};
use crate::output::Output;
use crate::people::{Cursor, OpQueue, People, User, Viewport};
use crate::recovery::RecoveryError;
use crate::room::{Clock, Room, RoomConfig};

/// What the file begins with.
const MAGIC: &[u8] = b"chalkboard recording\n";
/// The version that is written.
const VERSION: u8 = 1;
/// Kinds of frames.
const HEAD: u8 = 1;
const STEP: u8 = 2;
const END: u8 = 3;
/// Inputs of a step at the most: far more than a host takes for one.
const INPUTS_MAX: u64 = 1 << 20;

/// Why a recording ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingEnd {
    /// The time that was asked for is over.
    Time,
    /// As much was written as may be.
    Size,
    /// What was to be written came faster than it was taken; the room went on without.
    Behind,
    /// The room was closed or unloaded.
    Closed,
}

impl RecordingEnd {
    const ALL: [Self; 4] = [Self::Time, Self::Size, Self::Behind, Self::Closed];

    /// Bytes of the last frame: its length, kind, why, checksum.
    pub const FRAME_BYTES: usize = 1 + 2 + 4;

    /// Why the recording ends whose last bytes these are; `None` where it breaks off.
    pub fn of_file(file: &[u8]) -> Option<Self> {
        let frame = file.last_chunk::<{ Self::FRAME_BYTES }>()?;
        let ends = |why: &Self| encode_end(*why)[..] == frame[..];
        Self::ALL.into_iter().find(ends)
    }
}

impl core::fmt::Display for RecordingEnd {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Time => "the time that was asked for was over",
            Self::Size => "it had as many bytes as it may have",
            Self::Behind => "it could not be written as fast as the room went on",
            Self::Closed => "the room was closed",
        })
    }
}

/// A recording can't be replayed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordingError {
    /// It is something else.
    #[error("this is not a recording; name a file that `chalkboard record` has written")]
    NotARecording,
    /// It was written by a newer program.
    #[error(
        "the recording has format version {0}, which is newer than this program knows; replay it with the newer version"
    )]
    NewerVersion(u8),
    /// Its bytes have changed since they were written.
    #[error(
        "the recording is damaged {at} bytes from its beginning; copy it again from where it was made"
    )]
    Checksum {
        /// Where.
        at: usize,
    },
    /// The checksum is right and yet it makes no sense.
    #[error("the recording is malformed: {0}; please report this")]
    Malformed(#[from] DecodeError),
    /// The board that it begins with can't be made.
    #[error("the board that the recording begins with can't be read: {0}; please report this")]
    Board(#[from] RecoveryError),
}

fn frame(body: &[u8]) -> Bytes {
    let mut w = Writer::new();
    w.slice(body);
    w.raw(&crc32fast::hash(body).to_le_bytes());
    w.into_bytes()
}

fn put_inputs<'a>(w: &mut Writer, inputs: impl ExactSizeIterator<Item = &'a Input>) {
    w.varint(inputs.len() as u64);
    for input in inputs {
        stored_input::encode(input, w);
    }
}

fn take_inputs(r: &mut Reader) -> Result<Vec<Input>, DecodeError> {
    let count = r.varint_at_most(INPUTS_MAX.min(r.remaining() as u64))?;
    (0..count).map(|_| stored_input::decode(r)).collect()
}

impl Room {
    /// The beginning of a recording: the board and the sessions as they are between two steps. Costs as much as a
    /// snapshot.
    pub fn begin_recording(&mut self) -> Bytes {
        let snapshot = self.snapshot();
        let config = self.world().resource::<RoomConfig>();
        let mut w = Writer::new();
        w.u8(HEAD);
        w.varint(config.epoch);
        w.varint(config.tick_us.into());
        w.varint(self.tick().0);
        w.varint(self.position().0);
        w.slice(&snapshot);
        let inputs = sessions(self.world());
        put_inputs(&mut w, inputs.iter());
        let mut head = MAGIC.to_vec();
        head.push(VERSION);
        head.extend_from_slice(&frame(w.as_slice()));
        head.into()
    }
}

/// The sessions of a room as inputs that would bring them in, with the ops that wait.
fn sessions(world: &World) -> Vec<Input> {
    let mut inputs = vec![Input::Pace(world.resource::<Clock>().pace)];
    let people = world.resource::<People>();
    for (&session, &entity) in &people.sessions {
        let (Some(User(person)), Some(viewport)) =
            (world.get::<User>(entity), world.get::<Viewport>(entity))
        else {
            continue;
        };
        inputs.push(Input::Join(Box::new(Join {
            session,
            actor: person.actor,
            rights: person.rights,
            profile: person.profile.clone(),
            view: viewport.view,
            view_secret: None,
            resume: None,
        })));
        if let Some(cursor) = world.get::<Cursor>(entity)
            && let Some(state) = cursor.state
        {
            inputs.push(Input::Cursor {
                session,
                sequence: cursor.sequence,
                stamp: Some(cursor.stamp),
                cursor: state,
            });
        }
        let Some(queue) = world.get::<OpQueue>(entity) else {
            continue;
        };
        for waiting in &queue.waiting {
            // Numbers may have gaps, so each comes alone.
            inputs.push(Input::Ops {
                session,
                first: waiting.counter,
                stamp: waiting.stamp,
                ops: vec![waiting.op.clone()],
            });
        }
    }
    inputs
}

/// A step that is being recorded: its inputs are written before the room takes them.
#[derive(Debug)]
pub struct StepRecord(Writer);

impl StepRecord {
    /// What the step is given.
    pub fn new(room: &Room, now: Now, inputs: &[Input]) -> Self {
        let mut w = Writer::new();
        w.u8(STEP);
        w.varint(room.tick().0 + 1);
        w.varint(now.unix_ms);
        w.varint(now.uptime_ms.into());
        put_inputs(&mut w, inputs.iter());
        Self(w)
    }

    /// The frame of the step, after the room has made it.
    pub fn finish(self, room: &Room) -> Bytes {
        let Self(mut w) = self;
        w.varint(room.position().0);
        w.u64(room.digest().0);
        frame(w.as_slice())
    }
}

/// The last frame of a recording.
pub fn encode_end(why: RecordingEnd) -> Bytes {
    frame(&[END, why as u8])
}

/// A step of a replay, beside what it was when it was recorded.
#[derive(Debug)]
pub struct ReplayedStep {
    /// The clock that the step was given.
    pub now: Now,
    /// Inputs that it was given.
    pub inputs: Vec<Input>,
    /// What came out now.
    pub output: Output,
    /// Position and digest after it now.
    pub replayed: (Position, Digest),
    /// Tick, position and digest after it then.
    pub recorded: (Tick, Position, Digest),
}

impl ReplayedStep {
    /// The room is now what it was then.
    pub fn agrees(&self) -> bool {
        let (tick, position, digest) = self.recorded;
        tick == self.output.tick && (position, digest) == self.replayed
    }
}

/// A room that goes through a recording.
#[derive(Debug)]
pub struct Replay {
    room: Room,
    frames: Reader,
    size: usize,
    /// Sessions that were there at the beginning: inputs of the first step.
    first: Vec<Input>,
    end: Option<RecordingEnd>,
}

impl Replay {
    /// Opens a recording.
    ///
    /// # Errors
    /// It is none, or its beginning is damaged.
    pub fn open(file: &Bytes) -> Result<Self, RecordingError> {
        let body = file
            .strip_prefix(MAGIC)
            .ok_or(RecordingError::NotARecording)?;
        match body.first() {
            Some(&VERSION) => {}
            Some(&version) if version > VERSION => {
                return Err(RecordingError::NewerVersion(version));
            }
            _ => return Err(RecordingError::NotARecording),
        }
        let mut frames = Reader::new(file.slice(MAGIC.len() + 1..));
        let size = file.len();
        let head = next_frame(&mut frames, size)?.ok_or(DecodeError::Truncated)?;
        let mut r = Reader::new(head);
        if r.u8()? != HEAD {
            return Err(DecodeError::Malformed.into());
        }
        let config = RoomConfig {
            epoch: r.varint()?,
            epoch_starts: Vec::new(),
            tick_us: r.varint_u32()?,
        };
        let tick = Tick(r.varint()?);
        let position = Position(r.varint()?);
        let snapshot = r.slice(r.remaining())?;
        let first = take_inputs(&mut r)?;
        r.finish()?;
        let mut room = Room::recover(config, Some((position, snapshot)), [])?;
        room.world_mut().resource_mut::<Clock>().tick = tick;
        Ok(Self {
            room,
            frames,
            size,
            first,
            end: None,
        })
    }

    /// The room as it is now.
    pub const fn room(&self) -> &Room {
        &self.room
    }

    /// Why the recording ends, once it has; `None` also where it breaks off.
    pub const fn end(&self) -> Option<RecordingEnd> {
        self.end
    }

    /// Makes the next step; `None` at the end.
    ///
    /// # Errors
    /// The file is damaged. The room stays as it is.
    pub fn step(&mut self) -> Result<Option<ReplayedStep>, RecordingError> {
        let Some(body) = next_frame(&mut self.frames, self.size)? else {
            return Ok(None);
        };
        let mut r = Reader::new(body);
        match r.u8()? {
            STEP => {}
            END => {
                self.end = RecordingEnd::ALL.get(usize::from(r.u8()?)).copied();
                r.finish()?;
                return Ok(None);
            }
            _ => return Err(DecodeError::Malformed.into()),
        }
        let tick = Tick(r.varint()?);
        let now = Now {
            unix_ms: r.varint()?,
            uptime_ms: r.varint_u32()?,
        };
        let inputs = take_inputs(&mut r)?;
        let position = Position(r.varint()?);
        let digest = Digest(r.u64()?);
        r.finish()?;
        let first = std::mem::take(&mut self.first);
        let output = self.room.step(now, first.into_iter().chain(inputs.clone()));
        Ok(Some(ReplayedStep {
            now,
            inputs,
            output,
            replayed: (self.room.position(), self.room.digest()),
            recorded: (tick, position, digest),
        }))
    }
}

/// The next frame's body; `None` where the file ends, be it in the middle of one.
fn next_frame(frames: &mut Reader, size: usize) -> Result<Option<Bytes>, RecordingError> {
    let at = size - frames.remaining();
    let whole = |frames: &mut Reader| {
        let body = frames.slice(frames.remaining())?;
        Ok::<_, DecodeError>((body, frames.raw(4)?))
    };
    let Ok((body, checksum)) = whole(frames) else {
        return Ok(None);
    };
    if crc32fast::hash(&body).to_le_bytes() != checksum[..] {
        return Err(RecordingError::Checksum { at });
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests;
