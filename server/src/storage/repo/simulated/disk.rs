//! A disk that forgets: one file of bytes, whose unsynced end a crash may lose, cut short or tear.
//!
//! Time is what its user says it is, in moments; chance is seeded, so that a run can be repeated. A sync returns at
//! once and takes effect later ([`SimulatedDisk::busy_until`]): whoever acts on it before that acts too early, and a
//! crash in between shows it. It does not know what the bytes mean.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that reach the disk together or not at all.
const SECTOR_BYTES: usize = 64;

/// What can go wrong, and how slow it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskFaults {
    /// Bytes that the file may have; more is refused as a full disk does.
    pub bytes_max: usize,
    /// Writes that fail part of the way, of 1,000.
    pub write_fails_permille: u64,
    /// Syncs that fail, of 1,000: what was written may be there after a crash, or not.
    pub sync_fails_permille: u64,
    /// Reads that fail, of 1,000.
    pub read_fails_permille: u64,
    /// Snapshots that are damaged when they are stored, of 1,000.
    pub snapshot_rots_permille: u64,
    /// Shortest sync, in moments.
    pub sync_moments_min: u64,
    /// Longest sync, in moments.
    pub sync_moments_max: u64,
}

/// Nothing goes wrong and nothing takes time.
pub const NO_FAULTS: DiskFaults = DiskFaults {
    bytes_max: usize::MAX,
    write_fails_permille: 0,
    sync_fails_permille: 0,
    read_fails_permille: 0,
    snapshot_rots_permille: 0,
    sync_moments_min: 0,
    sync_moments_max: 0,
};

/// What has happened to a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskCounts {
    /// Syncs that have taken effect or will.
    pub syncs: u64,
    /// Crashes after which some of an unsynced write was there and some was not.
    pub torn: u64,
    /// Crashes that lost all that was not synced, where there was something.
    pub forgotten: u64,
    /// Crashes that lost nothing of what was not synced, where there was something.
    pub kept: u64,
    /// Writes that found no space.
    pub full: u64,
    /// Writes and syncs that failed otherwise.
    pub failed: u64,
    /// Reads that failed.
    pub unread: u64,
    /// Snapshots that were damaged.
    pub rotten: u64,
}

/// Why a write was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteError {
    Full,
    Failed,
}

/// A disk. Clones are the same disk; it outlives every process that uses it.
#[derive(Debug, Clone)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    bytes: Vec<u8>,
    /// When everything before which byte is safe, rising.
    syncs: Vec<(u64, usize)>,
    now: u64,
    busy_until: u64,
    faults: DiskFaults,
    counts: DiskCounts,
    chance: u64,
}

impl State {
    fn below(&mut self, end: u64) -> u64 {
        // xorshift64*
        self.chance ^= self.chance >> 12;
        self.chance ^= self.chance << 25;
        self.chance ^= self.chance >> 27;
        (self.chance.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end.max(1)
    }

    fn happens(&mut self, permille: u64) -> bool {
        permille > 0 && self.below(1000) < permille
    }
}

impl SimulatedDisk {
    /// An empty disk on which nothing goes wrong yet.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            bytes: Vec::new(),
            syncs: Vec::new(),
            now: 0,
            busy_until: 0,
            faults: NO_FAULTS,
            counts: DiskCounts::default(),
            chance: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is this moment now; never an earlier one than before.
    pub fn set_now(&self, moment: u64) {
        let mut state = self.lock();
        state.now = moment.max(state.now);
    }

    /// What goes wrong at present.
    pub fn faults(&self) -> DiskFaults {
        self.lock().faults
    }

    /// From now on this goes wrong.
    pub fn set_faults(&self, faults: DiskFaults) {
        self.lock().faults = faults;
    }

    /// The last sync has taken effect at this moment, and whoever waits for it waits until then.
    pub fn busy_until(&self) -> u64 {
        self.lock().busy_until
    }

    /// Bytes of the file.
    pub fn size(&self) -> usize {
        self.lock().bytes.len()
    }

    /// What has happened so far.
    pub fn counts(&self) -> DiskCounts {
        self.lock().counts
    }

    /// The power fails: what was not synced by now is there, in part or not at all. Whatever used the disk must not
    /// use it again; open it anew.
    pub fn crash(&self) {
        let mut state = self.lock();
        let now = state.now;
        let done = state.syncs.iter().rev().find(|(at, _)| *at <= now);
        let safe = done.map_or(0, |(_, len)| *len).min(state.bytes.len());
        let unsafe_len = (state.bytes.len() - safe) as u64;
        if unsafe_len > 0 {
            match state.below(10) {
                0..=3 => {
                    state.bytes.truncate(safe);
                    state.counts.forgotten += 1;
                }
                4 | 5 => state.counts.kept += 1,
                6 | 7 => {
                    let kept = safe + state.below(unsafe_len) as usize;
                    state.bytes.truncate(kept);
                    state.counts.torn += 1;
                }
                _ => {
                    for at in (safe..state.bytes.len()).step_by(SECTOR_BYTES) {
                        if state.below(2) == 0 {
                            let end = (at + SECTOR_BYTES).min(state.bytes.len());
                            state.bytes[at..end].fill(0);
                        }
                    }
                    state.counts.torn += 1;
                }
            }
        }
        let len = state.bytes.len();
        state.syncs = vec![(now, len)];
        state.busy_until = now;
    }

    /// The whole file.
    pub(super) fn read(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// A read fails now.
    pub(super) fn read_fails(&self) -> bool {
        let mut state = self.lock();
        let permille = state.faults.read_fails_permille;
        let fails = state.happens(permille);
        state.counts.unread += u64::from(fails);
        fails
    }

    /// The byte at which a snapshot of this length is damaged, if it is.
    pub(super) fn rot(&self, len: usize) -> Option<usize> {
        let mut state = self.lock();
        let permille = state.faults.snapshot_rots_permille;
        if len == 0 || !state.happens(permille) {
            return None;
        }
        state.counts.rotten += 1;
        Some(state.below(len as u64) as usize)
    }

    /// Writes at a place, over whatever is there. After an error any part of it may have been written.
    pub(super) fn write(&self, at: usize, bytes: &[u8]) -> Result<(), WriteError> {
        let mut state = self.lock();
        let faults = state.faults;
        let fitting = faults.bytes_max.saturating_sub(at);
        let error = if bytes.len() > fitting {
            state.counts.full += 1;
            Some(WriteError::Full)
        } else if state.happens(faults.write_fails_permille) {
            state.counts.failed += 1;
            Some(WriteError::Failed)
        } else {
            None
        };
        let written = match error {
            None => bytes.len(),
            Some(_) => state.below(bytes.len().min(fitting) as u64 + 1) as usize,
        };
        let end = at + written;
        if state.bytes.len() < end {
            state.bytes.resize(end, 0);
        }
        state.bytes[at..end].copy_from_slice(&bytes[..written]);
        error.map_or(Ok(()), Err)
    }

    /// Makes everything before `end` safe from crashes, at [`SimulatedDisk::busy_until`].
    pub(super) fn sync(&self, end: usize) -> Result<(), WriteError> {
        let mut state = self.lock();
        let faults = state.faults;
        let spread = faults
            .sync_moments_max
            .saturating_sub(faults.sync_moments_min)
            + 1;
        let took = faults.sync_moments_min + state.below(spread);
        state.busy_until = state.busy_until.max(state.now) + took;
        if state.happens(faults.sync_fails_permille) {
            state.counts.failed += 1;
            return Err(WriteError::Failed);
        }
        let sync = (state.busy_until, end);
        state.syncs.push(sync);
        // Only the newest that has taken effect, and those that have not, are of account.
        let now = state.now;
        if let Some(newest) = state.syncs.iter().rposition(|(at, _)| *at <= now) {
            state.syncs.drain(..newest);
        }
        state.counts.syncs += 1;
        Ok(())
    }

    /// Cuts the file off: what lies behind is not part of anything.
    pub(super) fn cut(&self, end: usize) {
        let mut state = self.lock();
        state.bytes.truncate(end);
        let now = state.now;
        state.syncs = vec![(now, end)];
    }
}
