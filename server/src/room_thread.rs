//! A room thread: steps many rooms, each when it has something to do and no more often than its [`pacing`] says.
//!
//! The thread sleeps until a room's bell rings ([`Wake`]) or a tick is due. An idle room's first input is acted on at
//! once; after that its steps are a tick apart, or half of one where few are in it and one of them has sent something
//! other than a cursor. What a room does in a step is [`hosted_room`]'s; a room that panics is closed and the others
//! go on.

mod arrivals;
mod dispatch;
mod hearing;
mod hosted_room;
mod pacing;
mod snapshot_plan;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chalkboard_shared::BoardId;
use chalkboard_shared::presence::PresenceStage;
use chalkboard_shared::reason::DisconnectReason;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

pub(crate) use hosted_room::HostedRoom;

use crate::boards::{ROOMS_MAX, RoomIndex};
use crate::shard::NextStep;
use crate::storage::LogHandle;
use crate::telemetry::{Counters, ShortBoard};
use hearing::{Hearing, Verdict};
use hosted_room::Stepped;
use pacing::{Observation, Pacing};

/// Places in a thread's queue: every room rings once, its log rings once, and it is opened once at the most.
const WAKES_MAX: usize = 3 * ROOMS_MAX + 1;
/// Wakes that are taken before due rooms are stepped.
const WAKES_PER_TURN_MAX: usize = 1024;
/// How often rooms are looked at that nothing happens in.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Steps that a stopping room makes at the most: ops in flight over ops a tick, for one session, and some.
const LAST_STEPS_MAX: usize = 64;
/// How long a stopping thread waits for the log to take its rooms' last records.
const LAST_RECORDS_WAIT: Duration = Duration::from_secs(8);
/// Pause between two offers to a log that is full, while stopping.
const LAST_RECORDS_PAUSE: Duration = Duration::from_millis(5);

/// A step of a room whose people keep to its beat takes what has come until so long before at least.
const HEARD_BEFORE: Duration = Duration::from_millis(4);
/// How often a step that waits for that looks whether it is there.
const HEARING_PAUSE: Duration = Duration::from_micros(500);

/// What wakes a room thread.
#[derive(Debug)]
pub(crate) enum Wake {
    /// Something came in for a board's room.
    Ready(BoardId),
    /// The log has synced something of a board.
    Durable(BoardId),
    /// A loaded room to take over.
    Open(Box<HostedRoom>),
    /// Finish everything and end.
    Stop,
}

impl std::fmt::Debug for HostedRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostedRoom({})", ShortBoard(self.door().board()))
    }
}

/// A running room thread. Its rooms end with it.
#[derive(Debug)]
pub(crate) struct RoomThread {
    wakes: Sender<Wake>,
    handle: JoinHandle<()>,
}

impl RoomThread {
    /// Starts a thread whose rooms tick every `tick`.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn start(
        number: u16,
        tick: Duration,
        index: Arc<RoomIndex>,
        log: LogHandle,
        counters: Arc<Counters>,
    ) -> std::io::Result<Self> {
        let (wakes, receiver) = bounded(WAKES_MAX);
        let rooms = Rooms {
            tick,
            index,
            log,
            counters,
            wakes: receiver,
            rooms: HashMap::new(),
            due: BinaryHeap::new(),
        };
        let handle = std::thread::Builder::new()
            .name(format!("rooms-{number}"))
            .spawn(move || rooms.run())?;
        Ok(Self { wakes, handle })
    }

    /// Where its rooms ring.
    pub(crate) fn wakes(&self) -> &Sender<Wake> {
        &self.wakes
    }

    /// Asks it to finish.
    pub(crate) fn ask_to_stop(&self) {
        // A full queue takes one more as soon as the thread takes one out; a closed one has stopped.
        let _ = self.wakes.send(Wake::Stop);
    }

    /// Waits until it has finished.
    pub(crate) fn join(self) {
        if self.handle.join().is_err() {
            tracing::error!("a room thread died; its boards are as of what was saved last");
        }
    }
}

struct Rooms {
    tick: Duration,
    index: Arc<RoomIndex>,
    log: LogHandle,
    counters: Arc<Counters>,
    wakes: Receiver<Wake>,
    rooms: HashMap<BoardId, Scheduled>,
    /// When which room is to be stepped; an entry that is not its room's `due` is out of date.
    due: BinaryHeap<Reverse<(Instant, BoardId)>>,
}

struct Scheduled {
    room: HostedRoom,
    pacing: Pacing,
    /// When it is to be stepped; `None` until something comes in.
    due: Option<Instant>,
    /// That is before its tick: it is stepped only if a message waits, and else at its tick.
    is_early: bool,
    /// When the last step was due.
    stepped: Option<Instant>,
    /// How its steps wait for what is about to come.
    hearing: Hearing,
}

impl Scheduled {
    /// When a step was due that may begin now; `None` if it waits for what is about to come.
    fn hear(&mut self, due: Instant, now: Instant) -> Option<Instant> {
        let Some(tick) = self.pacing.beat() else {
            self.hearing.forget();
            return Some(due);
        };
        let first_due = self.hearing.due(due);
        let have_shards_looked = self.room.have_shards_looked(first_due - HEARD_BEFORE);
        let messages = self.room.waiting_messages();
        match self
            .hearing
            .judge(now, due, tick, have_shards_looked, messages)
        {
            Verdict::Begin { due } => Some(due),
            Verdict::AwaitShard => None,
            Verdict::AwaitPeople => {
                self.room.have_shards_look();
                None
            }
        }
    }

    /// Draws conclusions from a step.
    fn observe(&mut self, late: Duration, busy: Duration, counters: &Counters) {
        counters.timings.tick.record(busy);
        counters.timings.tick_late.record(late);
        let before = self.pacing.stage();
        let seen = Observation {
            sessions: self.room.session_count(),
            late: late + self.room.sending_delay(),
            busy,
        };
        if let Some(pace) = self.pacing.observe(seen) {
            counters.pace_changes.increment();
            counters.timings.stages.leave(before);
            counters.timings.stages.enter(pace.presence);
            self.room.set_pace(pace);
            tracing::info!(
                board = %ShortBoard(self.room.door().board()),
                sessions = seen.sessions,
                tick_ms = pace.tick_us / 1000,
                presence = ?pace.presence,
                "a room has changed its pace"
            );
        }
    }
}

impl Rooms {
    fn run(mut self) {
        let mut housekeeping = Instant::now() + HOUSEKEEPING;
        loop {
            let next_tick = self.due.peek().map(|Reverse((due, _))| *due);
            let deadline = next_tick.map_or(housekeeping, |due| due.min(housekeeping));
            let wake = if self.rooms.is_empty() {
                self.wakes
                    .recv()
                    .map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.wakes.recv_deadline(deadline)
            };
            match wake {
                Ok(wake) => {
                    let mut is_last = self.hear(wake);
                    for _ in 0..WAKES_PER_TURN_MAX {
                        let Ok(wake) = self.wakes.try_recv() else {
                            break;
                        };
                        is_last |= self.hear(wake);
                    }
                    if is_last {
                        return self.finish();
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
            let now = Instant::now();
            self.step_due(now);
            if now >= housekeeping {
                housekeeping = now + HOUSEKEEPING;
                self.keep_house(now);
            }
        }
    }

    /// Takes a wake; `true` for the last one.
    fn hear(&mut self, wake: Wake) -> bool {
        match wake {
            Wake::Ready(board) => {
                self.schedule(board, Instant::now());
            }
            Wake::Open(room) => {
                let board = room.door().board();
                let before = self.rooms.insert(
                    board,
                    Scheduled {
                        room: *room,
                        pacing: Pacing::new(self.tick.as_micros() as u32),
                        due: None,
                        is_early: false,
                        stepped: None,
                        hearing: Hearing::default(),
                    },
                );
                debug_assert!(before.is_none(), "the index lets a board be loaded once");
                self.counters.timings.stages.enter(PresenceStage::Full);
                self.hear_durable(board);
                self.schedule(board, Instant::now());
            }
            Wake::Durable(board) => self.hear_durable(board),
            Wake::Stop => return true,
        }
        false
    }

    /// The log has synced something: those who wait for it are told, at once where they are few. Where they are many the
    /// bell rings no more until the room sleeps: each step looks how far the log is, and a wake for nothing costs as much
    /// as a part of one.
    fn hear_durable(&mut self, board: BoardId) {
        let Some(scheduled) = self.rooms.get_mut(&board) else {
            return;
        };
        let room = &mut scheduled.room;
        if !room.tells_durable_at_once() {
            self.schedule(board, Instant::now());
            return;
        }
        room.door().answer_durable_bell();
        match guarded(&self.counters, board, || room.tell_durable()) {
            Some(false) => {}
            Some(true) => self.schedule(board, Instant::now()),
            None => self.close(board, DisconnectReason::Storage),
        }
    }

    /// Plans a step: now, but not before a tick after the last one, or a part of it where steps may be early.
    fn schedule(&mut self, board: BoardId, now: Instant) {
        if let Some(scheduled) = self.rooms.get_mut(&board)
            && scheduled.due.is_none()
        {
            let tick = scheduled.pacing.tick();
            let early = scheduled.pacing.early();
            let due = scheduled
                .stepped
                .map_or(now, |stepped| now.max(stepped + early.unwrap_or(tick)));
            scheduled.is_early = scheduled
                .stepped
                .is_some_and(|stepped| due < stepped + tick);
            scheduled.due = Some(due);
            self.due.push(Reverse((due, board)));
        }
    }

    /// Steps every room whose time has come, once.
    fn step_due(&mut self, now: Instant) {
        while let Some(Reverse((due, board))) = self.due.peek().copied()
            && due <= now
        {
            self.due.pop();
            let Some(scheduled) = self.rooms.get_mut(&board) else {
                continue;
            };
            if scheduled.due != Some(due) {
                continue;
            }
            if scheduled.is_early && !scheduled.room.has_messages() {
                let tick = scheduled.pacing.tick();
                let due = scheduled.stepped.map_or(now, |stepped| stepped + tick);
                scheduled.is_early = false;
                scheduled.due = Some(due);
                self.due.push(Reverse((due, board)));
                continue;
            }
            let begun = Instant::now();
            let Some(due) = scheduled.hear(due, begun) else {
                scheduled.due = Some(begun + HEARING_PAUSE);
                self.due.push(Reverse((begun + HEARING_PAUSE, board)));
                continue;
            };
            scheduled.due = None;
            let late = begun - due;
            // Steps keep their distance without drifting, but a late one is not made up for.
            let counted = if late < scheduled.pacing.tick() {
                due
            } else {
                begun
            };
            scheduled.stepped = Some(counted);
            let pacing = &scheduled.pacing;
            let next_step = NextStep {
                at: counted + pacing.early().unwrap_or(pacing.tick()),
                tick: pacing.beat(),
            };
            let stepped = step(&mut scheduled.room, Some(next_step), &self.counters);
            scheduled.observe(late, begun.elapsed(), &self.counters);
            if stepped == Stepped::Idle || scheduled.room.tells_durable_at_once() {
                scheduled.room.door().answer_durable_bell();
            }
            match stepped {
                Stepped::Idle => {
                    // Only a room that sleeps is to be woken: what comes in before a planned step waits for it.
                    scheduled.room.door().answer_bell();
                    if scheduled.room.has_news() {
                        self.schedule(board, now);
                    }
                }
                Stepped::Busy | Stepped::Stalled => self.schedule(board, now),
                Stepped::Failed(reason) => self.close(board, reason),
            }
        }
    }

    /// Unloads rooms that nobody needs any more and finds sessions that ended without a word.
    fn keep_house(&mut self, now: Instant) {
        let mut done = Vec::new();
        let mut abandoned = Vec::new();
        for (board, scheduled) in &mut self.rooms {
            if scheduled.room.dismiss_abandoned() {
                abandoned.push(*board);
            } else if scheduled.room.is_done() {
                done.push(*board);
            }
        }
        for board in abandoned {
            self.schedule(board, now);
        }
        for board in done {
            if let Some(scheduled) = self.rooms.get_mut(&board) {
                scheduled.room.request_snapshot();
            }
            self.counters.rooms_unloaded.increment();
            tracing::debug!(board = %ShortBoard(board), "room unloaded");
            self.forget(board);
        }
    }

    /// Ends a room and its sessions; the next visitor loads the board anew.
    fn close(&mut self, board: BoardId, reason: DisconnectReason) {
        if let Some(scheduled) = self.rooms.get_mut(&board) {
            scheduled.room.close(reason);
        }
        self.forget(board);
    }

    /// From here on the board may be loaded again: what has come in since is turned away and tries again there.
    fn forget(&mut self, board: BoardId) {
        if let Some(scheduled) = self.rooms.remove(&board) {
            let stage = scheduled.pacing.stage();
            self.counters.timings.stages.leave(stage);
            self.index.forget(scheduled.room.door());
        }
    }

    /// Saves everything and tells everybody.
    fn finish(mut self) {
        let deadline = Instant::now() + LAST_RECORDS_WAIT;
        let boards: Vec<BoardId> = self.rooms.keys().copied().collect();
        for board in boards {
            let Some(scheduled) = self.rooms.get_mut(&board) else {
                continue;
            };
            if let Err(reason) = last_steps(&mut scheduled.room, &self.counters, deadline) {
                self.close(board, reason);
                continue;
            }
            guarded(&self.counters, board, || scheduled.room.snapshot());
        }
        if let Err(error) = self.log.flush() {
            tracing::warn!(%error, "the last changes were not saved in time; the log goes on trying");
        }
        for scheduled in self.rooms.values_mut() {
            // Sessions learn what is saved, then that the server stops.
            step(&mut scheduled.room, None, &self.counters);
            scheduled.room.close(DisconnectReason::Stopping);
            self.index.forget(scheduled.room.door());
        }
    }
}

/// Steps a room until nothing is left of what had come in, and the log has it all.
fn last_steps(
    room: &mut HostedRoom,
    counters: &Counters,
    deadline: Instant,
) -> Result<(), DisconnectReason> {
    let mut steps = 0;
    while steps < LAST_STEPS_MAX {
        let before = room.position();
        match step(room, None, counters) {
            Stepped::Failed(reason) => return Err(reason),
            Stepped::Stalled => {
                if Instant::now() >= deadline {
                    return Err(DisconnectReason::Storage);
                }
                std::thread::sleep(LAST_RECORDS_PAUSE);
                continue;
            }
            // Keyframes of cursors are work without end; only ops are waited for.
            Stepped::Busy | Stepped::Idle => {
                if room.position() == before && !room.has_messages() {
                    break;
                }
            }
        }
        steps += 1;
    }
    while !room.is_handed_over() && Instant::now() < deadline {
        std::thread::sleep(LAST_RECORDS_PAUSE);
        if let Stepped::Failed(reason) = step(room, None, counters) {
            return Err(reason);
        }
    }
    Ok(())
}

fn step(room: &mut HostedRoom, next_step: Option<NextStep>, counters: &Counters) -> Stepped {
    let board = room.door().board();
    guarded(counters, board, || room.step(next_step))
        .unwrap_or(Stepped::Failed(DisconnectReason::Storage))
}

/// Does something with a room whose panic must not be that of the others. The room is not used after one.
fn guarded<T>(counters: &Counters, board: BoardId, act: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(result) => Some(result),
        Err(panic) => {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            counters.rooms_panicked.increment();
            tracing::error!(board = %ShortBoard(board), panic = message, "a room failed and is loaded again; other rooms go on. Please report this");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_where_it_happens() {
        let counters = Counters::default();
        let board = BoardId([1; 16]);
        assert_eq!(guarded(&counters, board, || 7), Some(7));
        let nothing: Option<()> = guarded(&counters, board, || panic!("for a test"));
        assert_eq!(nothing, None);
        assert_eq!(counters.rooms_panicked.get(), 1);
    }
}
