//! The host: a server as a process, with its rooms, its writer and its disk, stepped in virtual time.
//!
//! The writer, its queue, the store's rules and the loading of boards are the server's own; what a room thread does
//! with one room is done here in the same order without threads: what is held back first, then a step, then its record,
//! then a snapshot when one is due. A crash drops all of it but the disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use chalkboard_server::loading::{self, Loaded};
use chalkboard_server::storage::repo::simulated::{Simulated, SimulatedDisk};
use chalkboard_server::storage::{
    Answer, BoardRecord, LogBatch, LogHandle, LogLimits, Opened, Refusal, Repository as _,
    StorageError, Trouble, Turn, Writing,
};
use chalkboard_shared::{BoardId, DisconnectReason, Position, SessionId};
use chalkboard_simulation::{Input, Now, Output, Room};

use crate::simulated::scenario::Scenario;

/// Turns of the writer in one tick, where nothing takes time.
const TURNS_MAX: usize = 10_000;

/// Attempts to write everything before a stop gives up.
const STOP_ATTEMPTS_MAX: usize = 100;

/// What the writer says.
#[derive(Debug)]
pub enum Notice {
    /// A board is durable up to here.
    Durable(BoardId, Position),
    /// A board's batches were refused.
    Refused(BoardId, String),
}

type Notices = Rc<RefCell<Vec<(u64, Notice)>>>;
type OnDurable = Box<dyn Fn(BoardId, Position)>;
type OnTrouble = Box<dyn Fn(Trouble)>;

/// A running server.
pub struct Host {
    writing: Writing<Simulated, OnDurable, OnTrouble>,
    /// Gives the writer work and reads the store.
    pub log: LogHandle,
    disk: SimulatedDisk,
    notices: Notices,
    paused_until: u64,
    /// Boards that are loaded or being loaded.
    pub rooms: BTreeMap<BoardId, Slot>,
    /// Rooms that were loaded from an older snapshot, or from none, because one was damaged.
    pub fallbacks: u64,
    started: u64,
    clock_skew_ms: u64,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Host({} rooms)", self.rooms.len())
    }
}

/// A board on the host.
#[derive(Debug)]
pub enum Slot {
    /// Its load is being counted.
    Opening(Answer<Opened>),
    /// It is read, until this tick.
    Loading(Opened, u64),
    /// It is served.
    Live(Box<Hosted>),
}

/// A live room.
#[derive(Debug)]
pub struct Hosted {
    /// The room.
    pub room: Room,
    /// What has come in for its next step.
    pub inputs: Vec<Input>,
    /// Its sessions, with the links that they use.
    pub sessions: BTreeMap<SessionId, usize>,
    board: BoardId,
    held: Option<LogBatch>,
    durable: Position,
    told_durable: Position,
    snapshot_at: Position,
    next_session: u32,
    empty_since: u64,
    is_refused: bool,
}

/// What came of a room's tick.
#[derive(Debug)]
pub enum Stepped {
    /// It had nothing to do.
    Idle,
    /// The log's queue is full.
    Stalled,
    /// It made a step.
    Stepped(Box<Output>),
    /// It can't go on.
    Failed(DisconnectReason),
}

impl Host {
    /// A server starts on what its disk holds.
    ///
    /// # Errors
    /// The disk holds what can't be read.
    pub fn start(
        disk: &SimulatedDisk,
        scenario: &Scenario,
        tick: u64,
        clock_skew_ms: u64,
    ) -> Result<Self, StorageError> {
        let store = Simulated::open(disk)?;
        let notices = Notices::default();
        let limits = LogLimits {
            queue_requests: scenario.queue_requests,
            group_batches: scenario.group_batches,
            // Small ones, so that crashes and full disks fall between the pieces of a snapshot.
            piece_bytes: 2048,
            backoff_min: Duration::from_millis(100),
            ..LogLimits::default()
        };
        let (durable_disk, durable_notices) = (disk.clone(), notices.clone());
        let on_durable: OnDurable = Box::new(move |board, position| {
            // What is said before the sync is said before the sync, whatever call it is made from.
            let due = durable_disk.busy_until();
            let notice = Notice::Durable(board, position);
            durable_notices.borrow_mut().push((due, notice));
        });
        let (trouble_disk, trouble_notices) = (disk.clone(), notices.clone());
        let on_trouble: OnTrouble = Box::new(move |trouble| {
            if let Trouble::BoardRefused { board, message } = trouble {
                let due = trouble_disk.busy_until();
                let notice = Notice::Refused(board, message);
                trouble_notices.borrow_mut().push((due, notice));
            }
        });
        let (writing, log) = Writing::new(limits, store, on_durable, on_trouble)?;
        Ok(Self {
            writing,
            log,
            disk: disk.clone(),
            notices,
            paused_until: 0,
            rooms: BTreeMap::new(),
            fallbacks: 0,
            started: tick,
            clock_skew_ms,
        })
    }

    /// Makes boards on an empty disk.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn make_boards(
        disk: &SimulatedDisk,
        boards: impl Iterator<Item = BoardId>,
    ) -> Result<(), StorageError> {
        let mut store = Simulated::open(disk)?;
        for id in boards {
            store.create_board(&BoardRecord {
                id,
                edit_hash: [1; 32],
                view_hash: [2; 32],
                created_ms: 0,
            })?;
        }
        Ok(())
    }

    /// Some board is being loaded.
    pub fn is_loading(&self) -> bool {
        self.rooms
            .values()
            .any(|slot| !matches!(slot, Slot::Live(_)))
    }

    /// The room of a board, if it is live.
    pub fn room(&mut self, board: BoardId) -> Option<&mut Hosted> {
        match self.rooms.get_mut(&board) {
            Some(Slot::Live(hosted)) => Some(hosted),
            _ => None,
        }
    }

    /// Begins to load a board, unless that has begun.
    ///
    /// # Errors
    /// Writing fails, or the queue is full.
    pub fn open(&mut self, board: BoardId) -> Result<(), StorageError> {
        if !self.rooms.contains_key(&board) {
            let answer = self.log.begin_open_epoch(board)?;
            self.rooms.insert(board, Slot::Opening(answer));
        }
        Ok(())
    }

    /// Goes on with a load: `Some` when it is over, one way or the other.
    pub fn load(
        &mut self,
        board: BoardId,
        tick: u64,
        read_ticks: u64,
        tick_us: u32,
    ) -> Option<Result<Opened, String>> {
        let slot = self.rooms.get_mut(&board)?;
        match slot {
            Slot::Live(_) => None,
            // The answer is there when its commit is, which takes until then.
            Slot::Opening(_) if tick < self.disk.busy_until() => None,
            Slot::Opening(answer) => match answer.poll()? {
                Ok(opened) => {
                    *slot = Slot::Loading(opened, tick + read_ticks);
                    None
                }
                Err(error) => {
                    self.rooms.remove(&board);
                    Some(Err(error.to_string()))
                }
            },
            Slot::Loading(_, until) if tick < *until => None,
            Slot::Loading(opened, _) => {
                let opened = opened.clone();
                match loading::load(&self.log, board, tick_us, opened.clone()) {
                    Ok(Loaded {
                        room,
                        snapshot_at,
                        snapshots_damaged,
                    }) => {
                        self.fallbacks += u64::from(snapshots_damaged > 0);
                        let durable = room.position();
                        *slot = Slot::Live(Box::new(Hosted {
                            room,
                            inputs: Vec::new(),
                            sessions: BTreeMap::new(),
                            board,
                            held: None,
                            durable,
                            told_durable: durable,
                            snapshot_at,
                            next_session: 1,
                            empty_since: tick,
                            is_refused: false,
                        }));
                        Some(Ok(opened))
                    }
                    Err(error) => {
                        self.rooms.remove(&board);
                        Some(Err(error.to_string()))
                    }
                }
            }
        }
    }

    /// The clocks as this process reads them.
    pub fn now(&self, tick: u64, tick_ms: f64) -> Now {
        Now {
            unix_ms: self.clock_skew_ms + (tick as f64 * tick_ms) as u64,
            uptime_ms: ((tick - self.started) as f64 * tick_ms) as u32,
        }
    }

    /// A room's tick.
    pub fn step(&mut self, board: BoardId, now: Now, scenario: &Scenario) -> Stepped {
        let log = self.log.clone();
        self.room(board)
            .map_or(Stepped::Idle, |hosted| hosted.step(&log, now, scenario))
    }

    /// Lets the writer work while it has something to do and the disk is not busy.
    pub fn write(&mut self, tick: u64, tick_ms: f64) {
        for _ in 0..TURNS_MAX {
            if tick < self.paused_until || tick < self.disk.busy_until() {
                return;
            }
            match self.writing.turn() {
                Turn::Done => {}
                Turn::Idle => return,
                Turn::Failed(pause) => {
                    let ticks = (pause.as_secs_f64() * 1000.0 / tick_ms).ceil() as u64;
                    self.paused_until = tick + ticks.max(1);
                }
            }
        }
    }

    /// What the writer has said by now, in order.
    pub fn take_notices(&mut self, tick: u64) -> Vec<Notice> {
        let mut notices = self.notices.borrow_mut();
        let due = notices.extract_if(.., |(due, _)| *due <= tick);
        due.map(|(_, notice)| notice).collect()
    }

    /// Nothing waits for the writer, and it has said everything.
    pub fn is_written(&self, tick: u64) -> bool {
        self.log.counts().queued == 0
            && self.notices.borrow().is_empty()
            && tick >= self.disk.busy_until()
    }

    /// Takes rooms out in which nobody has been for a while and everything is saved; answers how many.
    pub fn unload(&mut self, tick: u64, ticks: u64) -> u64 {
        let log = self.log.clone();
        let before = self.rooms.len();
        self.rooms.retain(|_, slot| {
            let Slot::Live(hosted) = slot else {
                return true;
            };
            let is_done = hosted.sessions.is_empty()
                && hosted.held.is_none()
                && hosted.inputs.is_empty()
                && tick >= hosted.empty_since + ticks
                && hosted.durable >= hosted.room.position();
            if is_done {
                hosted.snapshot(&log);
            }
            !is_done
        });
        (before - self.rooms.len()) as u64
    }

    fn is_all_taken(&self) -> bool {
        let counts = self.log.counts();
        counts.queued == 0 && self.log.failing().is_none()
    }

    /// An orderly stop's last words to the log: snapshots, and everything written. Answers when it is over.
    pub fn stop(&mut self, tick: u64, tick_ms: f64) -> u64 {
        let log = self.log.clone();
        for slot in self.rooms.values_mut() {
            if let Slot::Live(hosted) = slot {
                hosted.offer_held(&log);
                hosted.snapshot(&log);
            }
        }
        // However long it takes: the process lives until then.
        let mut moment = tick;
        for _ in 0..STOP_ATTEMPTS_MAX {
            self.write(moment, tick_ms);
            if self.is_all_taken() {
                break;
            }
            moment = moment.max(self.disk.busy_until()).max(self.paused_until) + 1;
            self.disk.set_now(moment);
        }
        let over = moment.max(self.disk.busy_until());
        self.disk.set_now(over);
        over
    }
}

impl Hosted {
    /// Lets somebody in.
    pub fn admit(&mut self, link: usize) -> SessionId {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        self.sessions.insert(session, link);
        session
    }

    /// Somebody is gone.
    pub fn dismiss(&mut self, session: SessionId, tick: u64) {
        if self.sessions.remove(&session).is_some() {
            self.empty_since = tick;
        }
    }

    /// The log says that everything up to here is durable.
    pub fn set_durable(&mut self, position: Position) {
        self.durable = self.durable.max(position);
    }

    /// The log has refused this room's batches.
    pub const fn set_refused(&mut self) {
        self.is_refused = true;
    }

    /// Everything that it has accepted is durable, and it knows.
    pub fn is_saved(&self) -> bool {
        self.held.is_none()
            && self.durable >= self.room.position()
            && self.told_durable == self.durable
    }

    fn step(&mut self, log: &LogHandle, now: Now, scenario: &Scenario) -> Stepped {
        if self.is_refused {
            return Stepped::Failed(DisconnectReason::Storage);
        }
        if !self.offer_held(log) {
            return Stepped::Stalled;
        }
        if self.durable > self.told_durable {
            self.told_durable = self.durable;
            self.inputs.insert(0, Input::Durable(self.durable));
        }
        if self.inputs.is_empty() && !self.room.has_work() {
            return Stepped::Idle;
        }
        let output = self.room.step(now, std::mem::take(&mut self.inputs));
        if let Some(record) = &output.record {
            self.held = Some(LogBatch {
                board: self.board,
                first: record.first,
                last: record.last,
                record: record.bytes.clone(),
            });
            let is_due = self.room.position().0 - self.snapshot_at.0 >= scenario.snapshot_ops;
            if self.offer_held(log) && is_due {
                self.snapshot(log);
            }
        }
        Stepped::Stepped(Box::new(output))
    }

    /// Offers the log what it had no room for; true when nothing is held any more.
    fn offer_held(&mut self, log: &LogHandle) -> bool {
        let Some(batch) = self.held.take() else {
            return true;
        };
        match log.try_append(batch) {
            Ok(()) => true,
            Err(Refusal::Full(batch) | Refusal::Stopped(batch) | Refusal::TooLarge(batch)) => {
                self.held = Some(batch);
                false
            }
        }
    }

    fn snapshot(&mut self, log: &LogHandle) {
        let position = self.room.position();
        if position == self.snapshot_at || self.held.is_some() {
            return;
        }
        let snapshot = self.room.snapshot();
        if log.snapshot(self.board, position, snapshot).is_ok() {
            self.snapshot_at = position;
        }
    }
}
