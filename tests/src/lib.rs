//! The harness that the promises share: a room on a bench, rooms with clients over a seeded link in virtual time,
//! servers as processes, and browsers.
//!
//! The promises themselves are in `tests/tests`, one file each.

#[cfg(feature = "browsers")]
pub mod browser;
pub mod dice;
pub mod ensemble;
pub mod server_process;
pub mod simulated;
pub mod stage;
pub mod tcp_relay;
pub mod udp_relay;
pub mod waiting;
