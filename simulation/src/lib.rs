//! The room: a fixed-tick ECS world that holds one board, stepped by its caller.
//!
//! [`Room::step`] takes what came in and the time, and answers with what goes out: frames for sessions, a record for
//! the log, sessions to close. Nothing in here reads a clock, does I/O, spawns a thread or draws random numbers, so
//! the same inputs give the same bytes out and the same digest. The shell (`chalkboard-server`) owns sockets, disks
//! and clocks; the vocabulary and the merge rules are in `chalkboard-shared`.
//!
//! One tick is one schedule, whose sets read as a sentence ([`RoomSystems`]):
//! Receive -> Authorize -> Apply -> Index -> Interest -> Encode.

mod apply;
mod audience;
mod audit;
mod authorize;
mod authors;
mod cells;
mod chronicle;
mod fold;
mod index;
mod input;
mod interest;
mod joining;
mod ledger;
mod live_ink;
mod output;
mod past;
mod people;
mod presence;
mod receive;
mod record;
mod recording;
mod recovery;
mod resuming;
mod room;
mod snapshot;
mod strokes;

pub use audit::AuditError;
pub use chronicle::{Chronicle, Stretch};
pub use fold::Fold;
pub use input::{Input, Join, Now};
pub use output::{Deferred, Output, Recipients, Record, Send};
pub use past::{Look, difference, encode_past, moment_after, write_segment};
pub use record::{LogRecord, RecordError};
pub use recording::{
    RecordingEnd, RecordingError, Replay, ReplayedStep, StepRecord,
    encode_end as encode_recording_end,
};
pub use recovery::RecoveryError;
pub use room::{Room, RoomConfig, RoomSystems};
