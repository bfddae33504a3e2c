//! All clients of a process, on a few threads: each a runtime of its own with its share of the clients.
//!
//! The thread that commands them speaks to each through a bounded queue and waits for the answers of all.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use chalkboard_client::native::{DATAGRAM_RECEIVE_BYTES_MAX, SharedSocket, Trust};
use chalkboard_shared::board_point::UNITS_PER_PIXEL;
use chalkboard_shared::workload::{CANVAS_PX, Curve, canvas};
use chalkboard_shared::{BoardPoint, BoardRect};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use crate::address::{BENCH, BoardLink, Directory, SessionAddress, Site};
use crate::clock::{Alarm, Clock, thread_cpu_ns};
use crate::counts::{Counts, Report, ThreadReport, Window};
use crate::player::{Player, Role, Shared};
use crate::schedule::{Due, Schedule, phase};
use crate::spec::{Spec, View};
use crate::thin;

/// Clients of a thread that connect at the same time: a server lets some hundred handshakes run at once.
const CONNECTS_AT_ONCE: usize = 12;
/// Attempts of one client, and the pause before the next: a server under load refuses some.
const ATTEMPTS_MAX: u32 = 6;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(300);
/// Clients of one socket: the system keeps about a hundred unread packets of each, a tick's for that many.
const CLIENTS_PER_SOCKET: usize = 64;
/// Datagrams of a thin client that wait for nobody.
const THIN_DATAGRAM_BYTES: usize = 4 * 1024;
/// From the command to the first updates.
const START_AFTER_NS: i64 = 20_000_000;
/// Updates sent in one go before what has come gets its turn.
const SENDS_AT_ONCE: usize = 32;
/// Senders wake up no more often than this: what is due within it goes together.
const WAKE_NS_MIN: i64 = 100_000;
/// Commands that wait for a thread.
const COMMANDS_MAX: usize = 8;
/// Half of a screen, in 1/16 px.
const HALF_SCREEN: (i32, i32) = (960 * UNITS_PER_PIXEL, 540 * UNITS_PER_PIXEL);

/// A running load.
#[derive(Debug)]
pub(crate) struct Swarm {
    threads: Vec<Thread>,
}

#[derive(Debug)]
struct Thread {
    commands: mpsc::Sender<Command>,
    handle: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Command {
    Connect(SyncSender<Result<usize>>),
    Go(i64),
    Mark(SyncSender<()>),
    Report(SyncSender<ThreadReport>),
    Window(SyncSender<(Window, u64)>),
}

impl Swarm {
    /// Starts the threads; nothing is connected yet. The first of `rooms` is that of client 0, and so on in turn.
    pub(crate) fn start(
        spec: &Spec,
        clock: Clock,
        site: &Site,
        rooms: &[BoardLink],
    ) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let wanted = if spec.threads == 0 {
            cores
        } else {
            spec.threads
        };
        let count = wanted.clamp(1, spec.clients().count().max(1));
        let roles: Vec<Role> = roles(spec, rooms).collect();
        let threads = (0..count)
            .map(|number| {
                let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
                let clients = Clients {
                    // In turn, so that observers are not all in one.
                    roles: roles.iter().skip(number).step_by(count).copied().collect(),
                    site: site.clone(),
                    clock,
                    number: number as u64,
                };
                let handle = std::thread::Builder::new()
                    .name(format!("load-{number}"))
                    .spawn(move || clients.run(inbox))
                    .context("no thread")?;
                Ok(Thread {
                    commands,
                    handle: Some(handle),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { threads })
    }

    /// Connects all clients; returns when all have joined.
    pub(crate) fn connect(&self) -> Result<usize> {
        let joined = self.ask(Command::Connect)?;
        joined.into_iter().sum()
    }

    /// Begins to send.
    pub(crate) fn go(&self, clock: Clock) -> Result<()> {
        let start_ns = clock.now_ns() + START_AFTER_NS;
        self.threads
            .iter()
            .try_for_each(|thread| thread.send(Command::Go(start_ns)))
    }

    /// Zeroes all counts.
    pub(crate) fn mark(&self) -> Result<()> {
        self.ask(Command::Mark).map(drop)
    }

    /// What was counted since.
    pub(crate) fn report(&self) -> Result<Report> {
        Ok(Report::of(&self.ask(Command::Report)?))
    }

    /// What was counted since the last call of this, and the bytes that the observers have received altogether.
    pub(crate) fn window(&self) -> Result<(Window, u64)> {
        let mut all = (Window::new(), 0);
        for (window, observer_bytes) in self.ask(Command::Window)? {
            all.0.add(&window);
            all.1 += observer_bytes;
        }
        Ok(all)
    }

    /// Asks all threads and waits for all answers.
    fn ask<T>(&self, command: impl Fn(SyncSender<T>) -> Command) -> Result<Vec<T>> {
        let answers: Vec<Receiver<T>> = self
            .threads
            .iter()
            .map(|thread| {
                let (answer, answered) = sync_channel(1);
                thread.send(command(answer))?;
                Ok(answered)
            })
            .collect::<Result<_>>()?;
        answers
            .into_iter()
            .map(|answered| answered.recv().context("a thread of the load has died"))
            .collect()
    }
}

impl Thread {
    fn send(&self, command: Command) -> Result<()> {
        self.commands
            .blocking_send(command)
            .map_err(|_| anyhow!("a thread of the load has died"))
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        for thread in std::mem::take(&mut self.threads) {
            drop(thread.commands);
            if let Some(handle) = thread.handle {
                // Where it has panicked there is nothing left to end.
                let _ = handle.join();
            }
        }
    }
}

/// Makes the boards of a load: the room `bench` first, further ones anew.
pub(crate) fn make_rooms(site: &Site, count: u32) -> Result<Vec<BoardLink>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut directory = Directory::new(site.clone());
        let mut rooms = vec![BENCH];
        for _ in 1..count {
            rooms.push(directory.create_board().await?);
        }
        Ok(rooms)
    })
}

fn roles<'a>(spec: &'a Spec, rooms: &'a [BoardLink]) -> impl Iterator<Item = Role> + 'a {
    spec.clients().enumerate().map(|(at, client)| Role {
        client,
        board: rooms[client as usize % rooms.len()],
        part: spec.part(client),
        view: match spec.view {
            View::Canvas => canvas(),
            View::Screen => screen(client),
        },
        is_observer: at < spec.observers.len(),
    })
}

/// What a client sees on a screen that shows where its pointer begins.
fn screen(client: u32) -> BoardRect {
    screen_around(Curve::of(client).pointer(0.0))
}

/// A screen in the middle of the canvas.
pub(crate) fn middle_screen() -> BoardRect {
    let middle = CANVAS_PX / 2 * UNITS_PER_PIXEL;
    screen_around(BoardPoint::new(middle, middle))
}

/// A screen within the canvas, around a point as far as there is room.
fn screen_around(at: BoardPoint) -> BoardRect {
    let far = CANVAS_PX * UNITS_PER_PIXEL;
    let middle = |v: i32, half: i32| v.clamp(half, far - half);
    let (x, y) = (middle(at.x, HALF_SCREEN.0), middle(at.y, HALF_SCREEN.1));
    BoardRect::from_corners(
        BoardPoint::new(x - HALF_SCREEN.0, y - HALF_SCREEN.1),
        BoardPoint::new(x + HALF_SCREEN.0, y + HALF_SCREEN.1),
    )
}

/// A socket that suits an address.
pub(crate) fn bind(address: &SessionAddress, datagram_bytes_max: usize) -> Result<SharedSocket> {
    let local: IpAddr = if address.url.contains('[') {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    };
    let trust: &Trust = &address.trust;
    Ok(SharedSocket::bind(local, trust, datagram_bytes_max)?)
}

/// The clients of one thread.
struct Clients {
    roles: Vec<Role>,
    site: Site,
    clock: Clock,
    number: u64,
}

/// Where counting began.
struct Base {
    cpu_ns: i64,
    at_ns: i64,
    received: Vec<u64>,
}

impl Clients {
    fn run(self, inbox: mpsc::Receiver<Command>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        // Without one the thread ends, which is what whoever waits for it is told.
        if let Ok(runtime) = runtime {
            LocalSet::new().block_on(&runtime, self.serve(inbox));
        }
    }

    async fn serve(self, mut inbox: mpsc::Receiver<Command>) {
        let shared = Rc::new(Shared {
            clock: self.clock,
            counts: RefCell::new(Counts::new(self.number)),
            dead: Cell::new(0),
            thin: RefCell::new(Vec::new()),
        });
        tokio::task::spawn_local(thin::drain(shared.clone()));
        let players = Rc::new(RefCell::new(Vec::new()));
        let mut base = Base::now(self.clock, &players.borrow());
        while let Some(command) = inbox.recv().await {
            // Whoever asked and does not listen has gone.
            match command {
                Command::Connect(answer) => {
                    let joined = self.connect(&shared).await;
                    let joined = joined.map(|joined| {
                        *players.borrow_mut() = joined;
                        players.borrow().len()
                    });
                    base = Base::now(self.clock, &players.borrow());
                    let _ = answer.send(joined);
                }
                Command::Go(start_ns) => {
                    tokio::task::spawn_local(send(players.clone(), shared.clone(), start_ns));
                }
                Command::Mark(answer) => {
                    shared.counts.borrow_mut().mark();
                    base = Base::now(self.clock, &players.borrow());
                    let _ = answer.send(());
                }
                Command::Report(answer) => {
                    let _ = answer.send(base.report(&shared, &players.borrow()));
                }
                Command::Window(answer) => {
                    let mut window = shared.counts.borrow_mut().take_window();
                    window.dead = shared.dead.get();
                    let players = players.borrow();
                    let observers = players.iter().filter(|player| player.role.is_observer);
                    let bytes = observers.map(|player| player.meter.received_bytes()).sum();
                    let _ = answer.send((window, bytes));
                }
            }
        }
    }

    async fn connect(&self, shared: &Rc<Shared>) -> Result<Vec<Player>> {
        let offices = tokio::sync::Mutex::new(Office {
            directory: Directory::new(self.site.clone()),
            thin: Vec::new(),
            thin_count: 0,
            observers: Vec::new(),
        });
        stream::iter(&self.roles)
            .map(|role| join(*role, &offices, shared))
            .buffered(CONNECTS_AT_ONCE)
            .try_collect()
            .await
    }
}

/// Gives out addresses and sockets.
struct Office {
    directory: Directory,
    thin: Vec<SharedSocket>,
    thin_count: usize,
    observers: Vec<SharedSocket>,
}

impl Office {
    async fn socket(&mut self, role: Role) -> Result<(SharedSocket, String)> {
        let address = self.directory.session(role.board.board).await?;
        let socket = if role.is_observer {
            // As a person's client, each has its own.
            let socket = bind(&address, DATAGRAM_RECEIVE_BYTES_MAX)?;
            self.observers.push(socket.clone());
            socket
        } else {
            if self.thin_count.is_multiple_of(CLIENTS_PER_SOCKET) {
                self.thin.push(bind(&address, THIN_DATAGRAM_BYTES)?);
            }
            self.thin_count += 1;
            self.thin.last().context("a socket was bound")?.clone()
        };
        Ok((socket, address.url))
    }
}

async fn join(
    role: Role,
    office: &tokio::sync::Mutex<Office>,
    shared: &Rc<Shared>,
) -> Result<Player> {
    let mut attempt = 1;
    loop {
        let joined = async {
            let (socket, url) = office.lock().await.socket(role).await?;
            Player::join(role, &socket, &url, shared).await
        };
        match joined.await {
            Ok(player) => return Ok(player),
            Err(error) if attempt >= ATTEMPTS_MAX => {
                return Err(error.context(format!("client {} could not join", role.client)));
            }
            Err(_) => {
                tokio::time::sleep(ATTEMPT_PAUSE * attempt).await;
                attempt += 1;
            }
        }
    }
}

impl Base {
    fn now(clock: Clock, players: &[Player]) -> Self {
        Self {
            cpu_ns: thread_cpu_ns(),
            at_ns: clock.now_ns(),
            received: players.iter().map(|p| p.meter.received_bytes()).collect(),
        }
    }

    fn report(&self, shared: &Shared, players: &[Player]) -> ThreadReport {
        let bytes = |is_observer: bool| {
            players
                .iter()
                .zip(&self.received)
                .filter(|(player, _)| player.role.is_observer == is_observer)
                .map(|(player, before)| player.meter.received_bytes().saturating_sub(*before))
                .sum()
        };
        let elapsed_ns = (shared.clock.now_ns() - self.at_ns).max(1);
        ThreadReport {
            counts: shared.counts.borrow().clone(),
            observer_bytes: bytes(true),
            thin_bytes: bytes(false),
            dead: shared.dead.get(),
            util: ((thread_cpu_ns() - self.cpu_ns) as f64 / elapsed_ns as f64).clamp(0.0, 1.0),
        }
    }
}

/// Sends everything that is due, until nobody sends any more.
async fn send(players: Rc<RefCell<Vec<Player>>>, shared: Rc<Shared>, start_ns: i64) {
    let Ok(mut alarm) = Alarm::new(shared.clock) else {
        return;
    };
    let mut schedule = Schedule::default();
    // Of each sender: whose, and whether it is the cursor.
    let mut lines = Vec::new();
    for (at, player) in players.borrow().iter().enumerate() {
        let part = player.role.part;
        for (is_cursor, hz, salt) in [(true, part.cursor_hz, 0.0), (false, part.ink_hz, 0.37)] {
            if hz > 0.0 {
                schedule.add(start_ns, hz, phase(player.role.client, salt));
                lines.push((at, is_cursor, hz));
            }
        }
    }
    while let Some(next_ns) = schedule.next_ns() {
        let wake_ns = next_ns.max(shared.clock.now_ns() + WAKE_NS_MIN);
        if alarm.wait_until(wake_ns).await.is_err() {
            return;
        }
        let mut now_ns = shared.clock.now_ns();
        let mut sends = 0;
        while let Some(due) = schedule.pop(now_ns) {
            let (at, is_cursor, hz) = lines[due.sender];
            {
                let mut players = players.borrow_mut();
                let Some(player) = players.get_mut(at) else {
                    return;
                };
                act(player, due, is_cursor, hz, now_ns, &shared);
            }
            sends += 1;
            if sends % SENDS_AT_ONCE == 0 {
                tokio::task::yield_now().await;
            }
            now_ns = shared.clock.now_ns();
        }
    }
}

fn act(player: &mut Player, due: Due, is_cursor: bool, hz: f64, now_ns: i64, shared: &Shared) {
    let lag_us = ((now_ns - due.at_ns).max(0) / 1000) as u64;
    let at_s = |k: u32| due.at_ns as f64 / 1e9 + f64::from(k) / hz;
    let sent = if is_cursor {
        // Of several that are due only the newest place is worth telling.
        let newest_ns = due.at_ns + (f64::from(due.count - 1) / hz * 1e9) as i64;
        u32::from(player.point(newest_ns))
    } else if player.draw((0..due.count).map(at_s), now_ns) {
        due.count
    } else {
        0
    };
    if sent > 0 {
        let mut counts = shared.counts.borrow_mut();
        counts.sent(is_cursor, sent, lag_us);
    }
}
