//! Platform-free client library of Chalkboard: link, mirror, prediction, tools, viewport.
//!
//! It owns everything a client needs that is not a socket, a window or a clock: callers hand it frames,
//! pointer samples and `now`, and take frames and drawing instructions from it. It knows nothing of browsers
//! or of the server's insides; both sides meet in `chalkboard-shared`.

pub mod bridge;
pub mod viewport;
pub mod editor;
pub mod gesture;
pub mod outline;
pub mod hit;
pub mod color;
pub mod board;
pub mod client;
pub mod cursors;
pub mod reconnect;
mod grid;
mod history;
mod mirror;
mod outbox;

pub use board::{Board, BoardChange};
pub use client::{Client, ClientOptions, Event, Transmit};
pub use cursors::{CursorView, Cursors};
