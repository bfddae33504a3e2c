//! The server: everything around the rooms. Binary `chalkboard`.
//!
//! It owns sockets, threads, clocks and disks, and knows nothing of how boards change: rooms (`chalkboard-simulation`)
//! are stepped with what sessions send, and what comes out is carried to sessions and into the log. The two sides meet
//! in bounded queues: `room_door` (sessions to a room), `outlet` (a room to its sessions), the log writer's queue.
//!
//! - In: [`command`], [`config`], then [`server`] starts and stops everything.
//! - Connections: `shard` (QUIC) and `http` accept them, `transport` carries frames, `session` makes them
//!   messages. `tls` and `certificate`, [`origin`], `access` and `token_bucket` say who may.
//! - For the data folder's owner: `control`, and by it recordings of rooms (`recorder`).
//! - Measuring: `bench` fills the board of the standard load.
//! - Rooms: `boards` has them loaded ([`loading`]), `room_thread` steps them, [`storage`] keeps them.

mod access;
mod assets;
mod bench;
mod boards;
mod certificate;
pub mod clock;
pub mod command;
pub mod config;
mod control;
mod examination;
mod http;
pub mod loading;
pub mod origin;
mod outbox;
mod outlet;
mod past;
mod recorder;
mod reset_key;
mod room_door;
mod room_thread;
mod secret_file;
pub mod server;
mod session;
mod shard;
mod snapshots;
pub mod storage;
mod telemetry;
mod tls;
mod token_bucket;
mod transport;
