//! Vocabulary, limits, wire format and merge rules of Chalkboard, shared by server and clients.
//!
//! Everything here is a value or a pure function: no ECS, no I/O, no clock, and it builds for wasm32. Server and
//! client meet only in this crate. Peers are not trusted: every decoder takes any bytes, answers with an error
//! and allocates no more than the limits allow ([`limits`]).

pub mod board_point;
pub mod chunk;
pub mod codec;
pub mod cursor;
pub mod digest;
pub mod growth;
pub mod id;
pub mod ink;
pub mod interest;
pub mod limits;
pub mod merge;
pub mod op;
pub mod order;
pub mod past;
pub mod presence;
pub mod reason;
pub mod rights;
#[cfg(feature = "sabotage")]
pub mod sabotage;
pub mod stroke;
pub mod wire;
#[cfg(feature = "workload")]
pub mod workload;

pub use board_point::{BoardPoint, BoardRect};
pub use codec::DecodeError;
pub use id::{ActorId, BoardId, EpochStart, OpId, Position, SessionId, StrokeId, Tick};
pub use ink::{InkPoint, PackedInk};
pub use op::{Op, OpEntry};
pub use reason::{DisconnectReason, RejectReason};
pub use rights::{Rights, Secret};
pub use stroke::{Stroke, StrokeStyle};
