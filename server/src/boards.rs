//! The boards: who may open which, and the directory of loaded rooms.
//!
//! A board's room is loaded when somebody comes, once however many come at once, on a thread that may block; then it is
//! pinned to the room thread with the fewest rooms. Everything about a live room goes through its [`RoomDoor`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chalkboard_shared::reason::DisconnectReason;
use chalkboard_shared::wire::Hello;
use chalkboard_shared::{ActorId, BoardId, Position, Rights, Secret, SessionId};
use tokio::sync::{OnceCell, Semaphore, oneshot};

use crate::access;
use crate::clock;
use crate::loading::{self, LoadError, Loaded};
use crate::outlet::Outlet;
use crate::recorder::{RecordingLimits, RecordingReader, recording};
use crate::room_door::{Guest, Inspection, Message, RoomDoor};
use crate::room_thread::{HostedRoom, RoomThread, Wake};
use crate::snapshots::SnapshotThread;
use crate::storage::{BoardRecord, LogHandle, StorageError, Trouble};
use crate::telemetry::{Counters, ShortBoard};

/// Rooms that may be loaded at once: an empty one takes about 105 KB.
pub(crate) const ROOMS_MAX: usize = 16 * 1024;
/// Boards that are being loaded at once; each may take a core and a few times the board's size in memory.
const LOADS_MAX: usize = 4;
/// How often somebody is let in anew who came as the room closed.
const ENTRIES_MAX: usize = 8;
/// Pause before such another try.
const ENTRY_PAUSE: Duration = Duration::from_millis(20);
/// How long a room may take to let somebody in: it steps at once unless its log is stalled.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Bytes that a guest counts in the room's queue.
const GUEST_BYTES: usize = 512;

/// The directory: loaded rooms by board.
#[derive(Debug, Default)]
pub(crate) struct RoomIndex {
    rooms: Mutex<HashMap<BoardId, Slot>>,
}

/// A place in the directory: empty while the room is being loaded.
type Slot = Arc<OnceCell<Arc<RoomDoor>>>;

impl RoomIndex {
    fn lock(&self) -> MutexGuard<'_, HashMap<BoardId, Slot>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The board's place, made if it is missing; `None` when there is no place for another.
    fn slot(&self, board: BoardId) -> Option<Slot> {
        let mut rooms = self.lock();
        if rooms.len() >= ROOMS_MAX && !rooms.contains_key(&board) {
            return None;
        }
        Some(rooms.entry(board).or_default().clone())
    }

    fn door(&self, board: BoardId) -> Option<Arc<RoomDoor>> {
        self.lock().get(&board)?.get().cloned()
    }

    /// Takes a room out: the next who comes loads the board again.
    pub(crate) fn forget(&self, door: &Arc<RoomDoor>) {
        let mut rooms = self.lock();
        let is_same = rooms
            .get(&door.board())
            .and_then(|slot| slot.get())
            .is_some_and(|known| Arc::ptr_eq(known, door));
        if is_same {
            rooms.remove(&door.board());
        }
    }

    /// Takes an empty place out: its load has failed.
    fn forget_empty(&self, board: BoardId, slot: &Slot) {
        let mut rooms = self.lock();
        if rooms
            .get(&board)
            .is_some_and(|known| Arc::ptr_eq(known, slot) && known.get().is_none())
        {
            rooms.remove(&board);
        }
    }

    fn holds(&self, board: BoardId, slot: &Slot) -> bool {
        self.lock()
            .get(&board)
            .is_some_and(|known| Arc::ptr_eq(known, slot))
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    /// Told by the log: a board is durable up to here. Never blocks for long.
    pub(crate) fn durable(&self, board: BoardId, position: Position) {
        if let Some(door) = self.door(board) {
            door.set_durable(position);
        }
    }

    /// Told by the log when something is wrong with it. It has logged what.
    pub(crate) fn trouble(&self, trouble: &Trouble) {
        if let Trouble::BoardRefused { board, .. } = trouble
            && let Some(door) = self.door(*board)
        {
            door.set_refused();
        }
    }
}

/// Boards and their rooms.
#[derive(Debug)]
pub(crate) struct Boards {
    index: Arc<RoomIndex>,
    log: LogHandle,
    counters: Arc<Counters>,
    tick_us: u32,
    /// Bytes of presence a second that a session gets; `None` for as many as rooms have by themselves.
    presence_bytes: Option<u32>,
    loads: Semaphore,
    is_stopping: AtomicBool,
    next_thread: AtomicUsize,
    wakes: Vec<crossbeam_channel::Sender<Wake>>,
    threads: Mutex<Vec<RoomThread>>,
    snapshots: Mutex<Option<SnapshotThread>>,
}

/// Why a board could not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EntryError {
    /// To be told to whoever came.
    Refused(DisconnectReason),
    /// The room closed meanwhile; come again.
    Closed,
}

/// A session's place in a room. Dropping it leaves the room.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) door: Arc<RoomDoor>,
    pub(crate) session: SessionId,
    pub(crate) actor: ActorId,
    outlet: Outlet,
}

impl Drop for Membership {
    fn drop(&mut self) {
        // If there is no room for the message now, the room finds the abandoned outlet when it next keeps house.
        self.outlet.abandon();
        self.door
            .try_send(Message::Input(chalkboard_simulation::Input::Leave(
                self.session,
            )));
    }
}

/// Marks an outlet as abandoned unless it was handed over.
struct Abandon(Option<Outlet>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if let Some(outlet) = self.0.take() {
            outlet.abandon();
        }
    }
}

/// A board that was just made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewBoard {
    pub(crate) id: BoardId,
    pub(crate) edit_secret: Secret,
    pub(crate) view_secret: Secret,
}

/// Why a board was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Random(#[from] access::NoRandomness),
    #[error("the server is stopping; try again when it is back")]
    Stopping,
}

/// Why a room is not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("there is no such board; its id is in its links, between /b/ and #")]
    Unknown,
    #[error("somebody records this room already; wait until that ends")]
    Recorded,
    #[error("the room can't be reached: {0}; the server's log says more")]
    Refused(DisconnectReason),
}

impl Boards {
    /// Starts the room threads.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn start(
        index: Arc<RoomIndex>,
        log: LogHandle,
        counters: Arc<Counters>,
        room_threads: u16,
        tick_us: u32,
    ) -> std::io::Result<Self> {
        let tick = Duration::from_micros(tick_us.into());
        let threads = (0..room_threads)
            .map(|number| {
                RoomThread::start(number, tick, index.clone(), log.clone(), counters.clone())
            })
            .collect::<Result<Vec<_>, _>>()?;
        let snapshots = SnapshotThread::start(log.clone(), counters.clone())?;
        Ok(Self {
            index,
            snapshots: Mutex::new(Some(snapshots)),
            log,
            counters,
            tick_us,
            presence_bytes: None,
            loads: Semaphore::new(LOADS_MAX),
            is_stopping: AtomicBool::new(false),
            next_thread: AtomicUsize::new(0),
            wakes: threads
                .iter()
                .map(|thread| thread.wakes().clone())
                .collect(),
            threads: Mutex::new(threads),
        })
    }

    /// With rooms in which a session gets so many bytes of presence a second, where there are thousands.
    pub(crate) const fn with_presence_bytes(mut self, bytes: u32) -> Self {
        self.presence_bytes = Some(bytes);
        self
    }

    /// Makes a board with an empty log. Blocks for a commit: call it where that is allowed.
    pub(crate) fn create(&self) -> Result<NewBoard, CreateError> {
        if self.is_stopping() {
            return Err(CreateError::Stopping);
        }
        let id = access::random_board()?;
        let edit_secret = access::random_secret()?;
        let view_secret = access::view_secret(edit_secret);
        self.log.create_board(BoardRecord {
            id,
            edit_hash: access::hash(edit_secret),
            view_hash: access::hash(view_secret),
            created_ms: clock::unix_ms(),
        })?;
        self.counters.boards_created.increment();
        Ok(NewBoard {
            id,
            edit_secret,
            view_secret,
        })
    }

    /// Lets somebody into a room whose connection came then.
    ///
    /// # Errors
    /// What to tell them.
    pub(crate) async fn join(
        self: &Arc<Self>,
        hello: Hello,
        came: Instant,
        outlet: Outlet,
    ) -> Result<Membership, DisconnectReason> {
        let mut abandon = Abandon(Some(outlet.clone()));
        let (record, rights) = self.authorize(hello.board, hello.secret).await?;
        let actor = access::actor(hello.board, hello.key);
        let view_secret = (rights == Rights::Edit).then(|| access::view_secret(hello.secret));
        for _ in 0..ENTRIES_MAX {
            let entered = self
                .enter(&record, |answer| {
                    Message::Guest(Box::new(Guest {
                        actor,
                        rights,
                        profile: hello.profile.clone(),
                        view: hello.view,
                        view_secret,
                        resume: hello.resume,
                        came,
                        outlet: outlet.clone(),
                        answer,
                    }))
                })
                .await;
            match entered {
                Ok((door, session)) => {
                    abandon.0 = None;
                    return Ok(Membership {
                        door,
                        session,
                        actor,
                        outlet,
                    });
                }
                Err(EntryError::Refused(reason)) => return Err(reason),
                Err(EntryError::Closed) => tokio::time::sleep(ENTRY_PAUSE).await,
            }
        }
        Err(DisconnectReason::Storage)
    }

    /// What a board's room says about itself, and what the secret allows.
    ///
    /// # Errors
    /// [`DisconnectReason::NoAccess`] for an unknown board and for a wrong secret alike.
    pub(crate) async fn inspect(
        self: &Arc<Self>,
        board: BoardId,
        secret: Secret,
    ) -> Result<(Rights, Inspection), DisconnectReason> {
        let (record, rights) = self.authorize(board, secret).await?;
        for _ in 0..ENTRIES_MAX {
            match self.enter(&record, Message::Inspect).await {
                Ok((_, inspection)) => return Ok((rights, inspection)),
                Err(EntryError::Refused(reason)) => return Err(reason),
                Err(EntryError::Closed) => tokio::time::sleep(ENTRY_PAUSE).await,
            }
        }
        Err(DisconnectReason::Storage)
    }

    /// What a secret allows on a board.
    ///
    /// # Errors
    /// [`DisconnectReason::NoAccess`] for an unknown board and for a wrong secret alike.
    pub(crate) async fn rights(
        &self,
        board: BoardId,
        secret: Secret,
    ) -> Result<Rights, DisconnectReason> {
        let (_, rights) = self.authorize(board, secret).await?;
        Ok(rights)
    }

    /// Begins to record what comes into a board's room. For the data folder's owner: no secret is asked for.
    pub(crate) async fn record(
        self: &Arc<Self>,
        board: BoardId,
        limits: RecordingLimits,
    ) -> Result<RecordingReader, RecordError> {
        let log = self.log.clone();
        let looked_up = tokio::task::spawn_blocking(move || log.board(board)).await;
        let storage = RecordError::Refused(DisconnectReason::Storage);
        let known = looked_up.map_err(|_| storage)?.map_err(|_| storage)?;
        let record = known.ok_or(RecordError::Unknown)?;
        for _ in 0..ENTRIES_MAX {
            let (recorder, reader) = recording(limits);
            let asked = |answer| Message::Record(Box::new(recorder), answer);
            match self.enter(&record, asked).await {
                Ok((_, true)) => return Ok(reader),
                Ok((_, false)) => return Err(RecordError::Recorded),
                Err(EntryError::Refused(reason)) => return Err(RecordError::Refused(reason)),
                Err(EntryError::Closed) => tokio::time::sleep(ENTRY_PAUSE).await,
            }
        }
        Err(storage)
    }

    /// What is the matter with saving, if anything.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.log.failing()
    }

    /// Rooms that are loaded or being loaded.
    pub(crate) fn room_count(&self) -> usize {
        self.index.len()
    }

    /// The server is stopping: nobody is let in any more.
    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Lets nobody in any more, saves every room, tells everybody in it, and returns when that is done.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in &threads {
            thread.ask_to_stop();
        }
        for thread in threads {
            thread.join();
        }
        let snapshots = self.lock_snapshots().take();
        if let Some(snapshots) = snapshots {
            snapshots.stop();
        }
    }

    fn lock_snapshots(&self) -> MutexGuard<'_, Option<SnapshotThread>> {
        self.snapshots
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn authorize(
        &self,
        board: BoardId,
        secret: Secret,
    ) -> Result<(BoardRecord, Rights), DisconnectReason> {
        if self.is_stopping() {
            return Err(DisconnectReason::Stopping);
        }
        let record = match self.index.door(board) {
            Some(door) => Some(door.record().clone()),
            None => {
                let log = self.log.clone();
                match tokio::task::spawn_blocking(move || log.board(board)).await {
                    Ok(Ok(record)) => record,
                    Ok(Err(error)) => {
                        tracing::error!(board = %ShortBoard(board), %error, "a board could not be looked up");
                        return Err(DisconnectReason::Storage);
                    }
                    Err(_) => return Err(DisconnectReason::Storage),
                }
            }
        };
        let record = record.ok_or(DisconnectReason::NoAccess)?;
        let rights = access::rights(secret, &record.edit_hash, &record.view_hash)
            .ok_or(DisconnectReason::NoAccess)?;
        Ok((record, rights))
    }

    /// Sends a message to a board's room, loading it if need be, and waits for the answer.
    async fn enter<T>(
        self: &Arc<Self>,
        record: &BoardRecord,
        message: impl FnOnce(oneshot::Sender<T>) -> Message,
    ) -> Result<(Arc<RoomDoor>, T), EntryError> {
        let door = self.open(record).await?;
        let (sender, answer) = oneshot::channel();
        let asked = async {
            door.send(message(sender), GUEST_BYTES)
                .await
                .map_err(|_| EntryError::Closed)?;
            answer.await.map_err(|_| EntryError::Closed)
        };
        match tokio::time::timeout(ANSWER_WAIT, asked).await {
            Ok(Ok(answer)) => Ok((door, answer)),
            Ok(Err(error)) => {
                // The thread has done so, unless the room failed before its door was in the directory.
                self.index.forget(&door);
                Err(error)
            }
            Err(_) => Err(EntryError::Refused(DisconnectReason::Storage)),
        }
    }

    /// The door of a board's room, loaded if need be.
    async fn open(self: &Arc<Self>, record: &BoardRecord) -> Result<Arc<RoomDoor>, EntryError> {
        if self.is_stopping() {
            return Err(EntryError::Refused(DisconnectReason::Stopping));
        }
        let board = record.id;
        let Some(slot) = self.index.slot(board) else {
            tracing::warn!(
                rooms = ROOMS_MAX,
                "as many rooms are loaded as may be; a visitor was turned away"
            );
            return Err(EntryError::Refused(DisconnectReason::RoomFull));
        };
        let opened = slot
            .get_or_try_init(|| self.load(record, &slot))
            .await
            .cloned();
        if opened.is_err() {
            self.index.forget_empty(board, &slot);
        }
        opened
    }

    async fn load(&self, record: &BoardRecord, slot: &Slot) -> Result<Arc<RoomDoor>, EntryError> {
        let storage = EntryError::Refused(DisconnectReason::Storage);
        // Never closed.
        let _place = self.loads.acquire().await.map_err(|_| storage)?;
        let (log, tick_us, board) = (self.log.clone(), self.tick_us, record.id);
        let loaded = tokio::task::spawn_blocking(move || load_room(&log, board, tick_us)).await;
        let Loaded {
            room,
            snapshot_at,
            snapshots_damaged,
        } = match loaded {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(error)) => {
                self.counters.recoveries_failed.increment();
                tracing::error!(board = %ShortBoard(board), %error, "a board could not be loaded; others go on");
                return Err(if error.is_damage() {
                    EntryError::Refused(DisconnectReason::Damaged)
                } else {
                    storage
                });
            }
            Err(panic) => {
                self.counters.recoveries_failed.increment();
                tracing::error!(board = %ShortBoard(board), %panic, "loading a board failed; others go on. Please report this, and restore the data folder from a backup if the board is needed");
                return Err(storage);
            }
        };
        // From here to the hand-over nothing waits, so it happens whole or not at all. A place that was taken out
        // meanwhile may have been given to another load: one board never has two rooms.
        if !self.index.holds(board, slot) {
            return Err(EntryError::Closed);
        }
        let thread = self.next_thread.fetch_add(1, Ordering::Relaxed) % self.wakes.len();
        let wakes = &self.wakes[thread];
        let (door, inbox) = RoomDoor::new(record.clone(), wakes.clone());
        let snapshots = self
            .lock_snapshots()
            .as_ref()
            .map(SnapshotThread::requests)
            .ok_or(EntryError::Refused(DisconnectReason::Stopping))?;
        let mut room = room;
        if let Some(bytes) = self.presence_bytes {
            room.limit_presence(bytes);
        }
        let hosted = HostedRoom::new(
            room,
            snapshot_at,
            door.clone(),
            inbox,
            self.log.clone(),
            snapshots,
            self.counters.clone(),
        );
        wakes
            .try_send(Wake::Open(Box::new(hosted)))
            .map_err(|_| EntryError::Refused(DisconnectReason::Stopping))?;
        self.counters.rooms_loaded.increment();
        self.counters.snapshots_damaged.add(snapshots_damaged);
        tracing::debug!(board = %ShortBoard(board), "room loaded");
        Ok(door)
    }
}

/// Reads a board and makes its room. Blocks.
fn load_room(log: &LogHandle, board: BoardId, tick_us: u32) -> Result<Loaded, LoadError> {
    // First the epoch: when it is counted, what a former room of the board has written last is committed.
    let opened = log.open_epoch(board)?;
    loading::load(log, board, tick_us, opened)
}

#[cfg(test)]
mod tests;
