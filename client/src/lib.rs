//! Platform-free client library of Chalkboard: link, mirror, prediction, tools, viewport.
//!
//! It owns everything a client needs that is not a socket, a window or a clock: callers hand it frames,
//! pointer samples and `now`, and take frames and drawing instructions from it. It knows nothing of browsers
//! or of the server's insides; both sides meet in `chalkboard-shared`.

pub mod board;
pub mod bridge;
pub mod client;
pub mod color;
pub mod cursors;
pub mod editor;
pub mod gesture;
mod grid;
mod history;
pub mod hit;
pub mod journal;
mod mirror;
#[cfg(feature = "native")]
pub mod native;
mod outbox;
pub mod outline;
pub mod past;
pub mod reconnect;
pub mod viewport;

pub use board::{Board, BoardChange};
pub use client::{Client, ClientOptions, Event, Transmit};
pub use cursors::{CursorView, Cursors, Passage};
