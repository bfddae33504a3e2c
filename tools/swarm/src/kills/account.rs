//! The account of what was promised, and the check of it against what is in the data folder.
//!
//! Clients tell which of their ops they were shown as saved; the log must hold every one of them, once, no later than
//! where the server said. The log is read from a copy of the folder as the dead server has left it, so that the check
//! repairs nothing before the server itself has to.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use chalkboard_server::storage::repo::Sqlite;
use chalkboard_server::storage::{DataFolder, Reader as _, StorageError};
use chalkboard_shared::id::{BoardId, Position};
use chalkboard_shared::{ActorId, OpId};
use chalkboard_simulation::{LogRecord, Room, RoomConfig};

/// The store's file, and what lies beside it.
const DATABASE: &str = "boards.sqlite3";
const WRITE_AHEAD_LOG: &str = "boards.sqlite3-wal";

/// A tick of the room that folds the log; it is never stepped.
const TICK_US: u32 = 16_667;

/// Ops that were told to be saved, with the latest position where they may stand.
#[derive(Debug, Default)]
pub(super) struct Account(BTreeMap<OpId, Position>);

/// What the log of a dead server was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Folded {
    /// Position of its last op.
    pub(super) end: Position,
    /// Digest of the board that it makes.
    pub(super) digest: String,
    /// Position of the snapshot that the next load begins with.
    pub(super) snapshot_at: Position,
    /// Size of the write-ahead log that the server must go through first.
    pub(super) wal_bytes: u64,
}

impl Account {
    /// Ops in it.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a promise. An op that is promised twice counts where it was promised first.
    pub(super) fn add(&mut self, actor: ActorId, counter: u32, through: Position) {
        self.0
            .entry(OpId { actor, counter })
            .and_modify(|known| *known = (*known).min(through))
            .or_insert(through);
    }

    /// Checks everything against the log that is in `folder`, and that log against itself. Blocks.
    ///
    /// # Errors
    /// What is lost, or there twice, or can't be read.
    pub(super) fn check(&self, folder: &Path, board: BoardId) -> Result<Folded> {
        let copy = tempfile::tempdir_in(folder.parent().unwrap_or(folder))?;
        let copied = copy.path().join("data");
        copy_store(folder, &copied)?;
        let wal_bytes = fs::metadata(copied.join(WRITE_AHEAD_LOG)).map_or(0, |file| file.len());
        let mut store = Sqlite::open(&DataFolder::open(&copied)?)?;
        let whole = match store.load_before(board, Position(0)) {
            Ok(whole) => whole,
            Err(StorageError::UnknownBoard { .. }) => bail!(
                "the board itself is not in the store any more, and with it {} ops that were shown as saved",
                self.len()
            ),
            Err(error) => return Err(error.into()),
        };
        let records: Vec<_> = whole
            .tail
            .iter()
            .map(|batch| batch.record.clone())
            .collect();
        self.check_records(records.iter().map(LogRecord::decode))?;
        let config = RoomConfig {
            epoch: 1,
            epoch_starts: Vec::new(),
            tick_us: TICK_US,
        };
        let folded = Room::recover(config.clone(), None, records)?;
        let stored = store.load(board)?;
        let snapshot_at = stored.snapshot.as_ref().map(|(position, _)| *position);
        let tail = stored.tail.into_iter().map(|batch| batch.record);
        let loaded = Room::recover(config, stored.snapshot, tail)?;
        ensure!(
            (loaded.position(), loaded.digest()) == (folded.position(), folded.digest()),
            "snapshot and tail make another board ({} at {}) than the whole log ({} at {})",
            loaded.digest(),
            loaded.position().0,
            folded.digest(),
            folded.position().0
        );
        Ok(Folded {
            end: folded.position(),
            digest: folded.digest().to_string(),
            snapshot_at: snapshot_at.unwrap_or_default(),
            wal_bytes,
        })
    }

    fn check_records<E: std::error::Error + Send + Sync + 'static>(
        &self,
        records: impl Iterator<Item = Result<LogRecord, E>>,
    ) -> Result<()> {
        let mut places = HashMap::new();
        for record in records {
            for entry in record?.entries {
                if let Some(before) = places.insert(entry.id, entry.position) {
                    bail!(
                        "op {} of actor {:016x} is in the log twice, at {} and at {}",
                        entry.id.counter,
                        entry.id.actor.0,
                        before.0,
                        entry.position.0
                    );
                }
            }
        }
        let lost: Vec<_> = self
            .0
            .iter()
            .filter(|(id, through)| places.get(id).is_none_or(|place| place > through))
            .collect();
        if let Some((id, through)) = lost.first() {
            bail!(
                "{} of {} ops that were shown as saved are lost, the first of them op {} of actor {:016x}, which was \
                 to be at position {} or before; the log ends with {} ops",
                lost.len(),
                self.len(),
                id.counter,
                id.actor.0,
                through.0,
                places.len()
            );
        }
        Ok(())
    }
}

/// Copies what the store consists of; not the lock, and not the index of the write-ahead log, which a crash leaves
/// behind and which is made anew.
fn copy_store(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    let database = from.join(DATABASE);
    ensure!(
        database.is_file(),
        "there is no store in the data folder: nothing of what was shown as saved is there"
    );
    for name in [DATABASE, WRITE_AHEAD_LOG] {
        match fs::copy(from.join(name), to.join(name)) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("{name} can't be copied")),
        }
    }
    Ok(())
}

/// Cuts the write-ahead log of a dead server short, as a disk would that lies about its syncs: to see that the check
/// finds it.
///
/// # Errors
/// The file can't be changed.
pub(super) fn cut_tail(folder: &Path, bytes: u64) -> Result<()> {
    let path = folder.join(WRITE_AHEAD_LOG);
    let file = match fs::File::options().write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let length = file.metadata()?.len();
    Ok(file.set_len(length.saturating_sub(bytes))?)
}

/// When the write-ahead log was written last, while the server runs.
pub(super) fn written_at(folder: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(folder.join(WRITE_AHEAD_LOG))
        .and_then(|file| file.modified())
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chalkboard_shared::workload::begin;
    use chalkboard_shared::{OpEntry, Tick};

    fn record(first: u64, counters: &[u32]) -> Result<LogRecord, std::fmt::Error> {
        let entries = counters
            .iter()
            .zip(first..)
            .map(|(counter, position)| OpEntry {
                position: Position(position),
                id: OpId {
                    actor: ActorId(7),
                    counter: *counter,
                },
                op: begin(1),
            });
        Ok(LogRecord {
            tick: Tick(first),
            unix_ms: 0,
            entries: entries.collect(),
        })
    }

    fn account(promises: &[(u32, u64)]) -> Account {
        let mut account = Account::default();
        for (counter, through) in promises {
            account.add(ActorId(7), *counter, Position(*through));
        }
        account
    }

    #[test]
    fn what_is_there_once_and_in_time_is_kept() {
        let account = account(&[(1, 1), (2, 3), (2, 9)]);
        let log = [record(1, &[1, 2]), record(3, &[5])];
        account.check_records(log.into_iter()).expect("all kept");
        assert_eq!(account.len(), 2);
    }

    #[test]
    fn what_is_lost_late_or_twice_is_found() {
        for (promises, log, found) in [
            (&[(3, 3)][..], vec![record(1, &[1, 2])], "are lost"),
            (&[(2, 1)], vec![record(1, &[1, 2])], "are lost"),
            (&[], vec![record(1, &[1, 2]), record(3, &[2])], "twice"),
        ] {
            let error = account(promises).check_records(log.into_iter());
            let error = error.expect_err(found).to_string();
            assert!(error.contains(found), "{error}");
        }
    }

    #[test]
    fn an_empty_folder_keeps_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder");
        let checked = account(&[(1, 1)]).check(&data, BoardId([1; 16]));
        let error = checked.expect_err("no store").to_string();
        assert!(error.contains("no store"), "{error}");
    }
}
