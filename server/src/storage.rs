//! Storage: boards, their logs and their snapshots, on one machine.
//!
//! Owns the data folder, the format of its files, and the one thread that makes accepted ops durable. It does not know
//! what a record or a snapshot contains (each carries its own version and checksum), nor rooms, sessions or the wire:
//! its words are boards, positions and bytes. Positions are its to keep in order.
//!
//! - [`data_folder`]: who may use the folder, and whether it can be used at all.
//! - [`Archive`]: a store that is only looked at, or copied.
//! - [`repo`]: the [`Repository`] and its kinds: [`repo::Sqlite`], [`repo::Memory`], and [`repo::simulated`] for tests.
//! - [`log_writer`]: group commit off the tick; what rooms and the HTTP side hold is its [`LogHandle`].
//!
//! From start to stop: `DataFolder::open`, `Sqlite::open`, `LogWriter::start`, ..., `LogWriter::stop`.

mod archive;
pub mod data_folder;
pub mod log_writer;
pub mod repo;

pub use archive::{Archive, ArchiveError, Copied};
pub use data_folder::{DataFolder, DataFolderError};
pub use log_writer::{
    Answer, LogCounts, LogHandle, LogLimits, LogWriter, Refusal, StopError, Trouble, Turn, Writing,
};
pub use repo::{
    Author, BoardRecord, FormatError, LogBatch, Opened, Reader, Repository, StorageError,
    StoredBoard,
};
