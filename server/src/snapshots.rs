//! Snapshots while rooms live: made from what is stored, on a thread of their own, so that no tick waits for one.
//!
//! A board is read back and folded as a restart would, which also finds damage of its log while its people are still
//! there. One board at a time, so that there is never more than one copy of a board in memory beside its room.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use chalkboard_shared::BoardId;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::loading::{self, LoadError};
use crate::storage::LogHandle;
use crate::telemetry::{Counters, ShortBoard};

/// Boards that wait for their snapshot. One that finds no place asks again later: its log is longer until then.
const WAITING_MAX: usize = 64;

/// Asks for snapshots. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    boards: Sender<BoardId>,
}

impl Snapshots {
    /// Asks for a snapshot of what is stored of a board; `false` where too many wait. Never blocks.
    pub(crate) fn request(&self, board: BoardId) -> bool {
        self.boards.try_send(board).is_ok()
    }
}

/// The thread.
#[derive(Debug)]
pub(crate) struct SnapshotThread {
    requests: Snapshots,
    is_stopping: Arc<AtomicBool>,
    handle: JoinHandle<()>,
}

impl SnapshotThread {
    /// Starts it.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn start(log: LogHandle, counters: Arc<Counters>) -> std::io::Result<Self> {
        let (boards, requests) = bounded(WAITING_MAX);
        let is_stopping = Arc::new(AtomicBool::new(false));
        let stopping = is_stopping.clone();
        let handle = std::thread::Builder::new()
            .name("snapshots".to_owned())
            .spawn(move || run(&requests, &log, &counters, &stopping))?;
        Ok(Self {
            requests: Snapshots { boards },
            is_stopping,
            handle,
        })
    }

    pub(crate) fn requests(&self) -> Snapshots {
        self.requests.clone()
    }

    /// Finishes the snapshot in progress, leaves out those that wait, and ends. All rooms must be gone.
    pub(crate) fn stop(self) {
        self.is_stopping.store(true, Ordering::Release);
        drop(self.requests);
        if self.handle.join().is_err() {
            tracing::error!("the thread that writes snapshots died; boards are whole without them");
        }
    }
}

fn run(
    requests: &Receiver<BoardId>,
    log: &LogHandle,
    counters: &Counters,
    is_stopping: &AtomicBool,
) {
    while let Ok(board) = requests.recv() {
        if is_stopping.load(Ordering::Acquire) {
            continue;
        }
        match catch_unwind(AssertUnwindSafe(|| take(log, board))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                counters.recoveries_failed.increment();
                tracing::error!(board = %ShortBoard(board), %error, "what is stored of a board can't be read, while people may still be drawing on it; what they see is whole");
            }
            Err(_) => {
                counters.rooms_panicked.increment();
                tracing::error!(board = %ShortBoard(board), "a snapshot could not be made; others go on. Please report this");
            }
        }
    }
}

fn take(log: &LogHandle, board: BoardId) -> Result<(), LoadError> {
    let (fold, snapshot_at) = loading::fold(log, board)?;
    if fold.position() > snapshot_at
        && let Err(refusal) = log.snapshot(board, fold.position(), fold.snapshot())
    {
        // Costs time at the next load, nothing else.
        tracing::debug!(board = %ShortBoard(board), %refusal, "a snapshot was not written");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use chalkboard_shared::ink::InkPoint;
    use chalkboard_shared::op::InkRun;
    use chalkboard_shared::stroke::{Nib, StrokeStyle};
    use chalkboard_shared::{ActorId, Op, OpEntry, OpId, Position, Tick};
    use chalkboard_simulation::{LogRecord, RecoveryError};

    use super::*;
    use crate::storage::repo::{Memory, Repository};
    use crate::storage::{BoardRecord, LogBatch, LogWriter};

    const BOARD: BoardId = BoardId([1; 16]);

    fn batch(position: u64) -> LogBatch {
        let style = StrokeStyle {
            nib: Nib::Pen,
            color: 1,
            width: 16,
        };
        let entry = OpEntry {
            position: Position(position),
            id: OpId {
                actor: ActorId(1),
                counter: position as u32,
            },
            op: Op::Begin {
                style,
                ink: InkRun::new(vec![InkPoint::new(position as i32, 2, 3)]),
            },
        };
        LogBatch {
            board: BOARD,
            first: Position(position),
            last: Position(position),
            record: LogRecord::encode_entries(Tick(position), 0, &[entry]),
        }
    }

    fn writer(batches: &[LogBatch]) -> LogWriter {
        let mut store = Memory::new();
        store
            .create_board(&BoardRecord {
                id: BOARD,
                edit_hash: [0; 32],
                view_hash: [0; 32],
                created_ms: 0,
            })
            .expect("it is new");
        store.append(batches).expect("it begins");
        LogWriter::start(store, |_, _| {}, |_| {}).expect("it starts")
    }

    #[test]
    fn a_snapshot_of_what_is_stored_goes_on_from_the_last() {
        let writer = writer(&[batch(1), batch(2)]);
        let log = writer.handle();
        for end in [2, 3] {
            take(&log, BOARD).expect("it is readable");
            log.flush().expect("it answers");
            let stored = log.load(BOARD).expect("it loads");
            let (position, snapshot) = stored.snapshot.expect("there is one");
            assert_eq!((position, stored.tail.len()), (Position(end), 0));
            let fold = chalkboard_simulation::Fold::new(Some((position, snapshot)), [])
                .expect("it is readable");
            assert_eq!(fold.strokes().count() as u64, end);
            log.try_append(batch(end + 1)).expect("there is room");
            log.flush().expect("it answers");
        }
    }

    #[test]
    fn damage_of_the_log_is_found_and_named_and_no_snapshot_covers_it() {
        let damaged = LogBatch {
            record: Bytes::from_static(b"damaged"),
            ..batch(2)
        };
        let writer = writer(&[batch(1), damaged, batch(3)]);
        let log = writer.handle();
        let refused = take(&log, BOARD).expect_err("it is damaged");
        let LoadError::Damaged { error, end, .. } = &refused else {
            panic!("{refused:?}")
        };
        assert_eq!(*end, Position(3));
        assert!(matches!(
            error,
            RecoveryError::Record {
                after: Position(1),
                ..
            }
        ));
        let message = refused.to_string();
        for part in [
            "position 1",
            "position 3",
            "chalkboard doctor",
            "chalkboard restore",
            &BOARD.to_string(),
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
        log.flush().expect("it answers");
        assert_eq!(log.load(BOARD).expect("it loads").snapshot, None);
    }
}
