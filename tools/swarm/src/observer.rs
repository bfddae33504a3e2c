//! The observers of a thread: real clients of the library, which decode and keep everything they receive.
//!
//! Each has a task of its own on the thread's runtime, and a socket of its own, as a person's client has. What they see
//! of others is what the load measures.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use chalkboard_client::client::{Client, ClientOptions, Event};
use chalkboard_client::native::{Link, LinkMeter};
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::workload::{Curve, STYLE};
use chalkboard_shared::{BoardRect, StrokeId};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{Instant, interval_at, sleep_until, timeout};

use crate::address::{BoardLink, Directory, Site};
use crate::agenda::{Agenda, Hand};
use crate::clock::{Alarm, Clock, thread_cpu_ns};
use crate::counts::{Counts, ThreadReport, Traffic};
use crate::pen::{Batch, Pen};
use crate::rhythm::{CursorRhythm, Timing};
use crate::role::{Role, name, random_key};
use crate::swarm::Command;
use crate::walkers::Walkers;

/// Observers of a thread that connect at the same time.
const CONNECTS_AT_ONCE: usize = 12;
/// Attempts of one of them, and the pause before the next: a server under load refuses some.
const ATTEMPTS_MAX: u32 = 6;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(300);
/// How long one may take until everything is there that it is to see.
const LOADED_WAIT: Duration = Duration::from_secs(120);
/// What waits to be done by an observer's task; beyond that the server takes nothing, and what is due is not sent.
const WAITING_MAX: usize = 256;
/// Senders wake up no more often than this: what is due within it goes together.
const WAKE_NS_MIN: i64 = 100_000;
/// How often an observer is looked at at the least.
const OBSERVER_TICK: Duration = Duration::from_millis(500);
const NS_PER_MS: i64 = 1_000_000;

/// The observers of one thread, before they are started.
pub(crate) struct Observers {
    pub(crate) roles: Vec<Role>,
    pub(crate) site: Site,
    pub(crate) clock: Clock,
    /// The thread's.
    pub(crate) number: u64,
}

/// What all observers of a thread have in common.
#[derive(Debug)]
struct Shared {
    clock: Clock,
    counts: RefCell<Counts>,
    dead: Cell<u64>,
}

/// An observer that has joined, as those see it who tell it what to do.
#[derive(Debug)]
struct Player {
    role: Role,
    meter: LinkMeter,
    curve: Curve,
    pen: Pen,
    /// As the room has told it.
    timing: Rc<Cell<Timing>>,
    cursors: CursorRhythm,
    actions: mpsc::Sender<Action>,
}

#[derive(Debug)]
enum Action {
    /// Where it is, and since when on the clock, in milliseconds.
    Cursor(CursorState, f64),
    Ink(Vec<Batch>),
}

/// Where counting began.
struct Base {
    cpu_ns: i64,
    at_ns: i64,
    received: u64,
}

impl Observers {
    /// Does what it is told until nobody tells anything any more.
    pub(crate) fn run(self, inbox: mpsc::Receiver<Command>) {
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
        });
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
                    let _ = answer.send((window, received_bytes(&players.borrow())));
                }
            }
        }
    }

    async fn connect(&self, shared: &Rc<Shared>) -> Result<Vec<Player>> {
        let directory = tokio::sync::Mutex::new(Directory::new(self.site.clone()));
        stream::iter(&self.roles)
            .map(|role| join(*role, &directory, shared))
            .buffered(CONNECTS_AT_ONCE)
            .try_collect()
            .await
    }
}

async fn join(
    role: Role,
    directory: &tokio::sync::Mutex<Directory>,
    shared: &Rc<Shared>,
) -> Result<Player> {
    let mut attempt = 1;
    loop {
        match Player::join(role, directory, shared).await {
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

fn received_bytes(players: &[Player]) -> u64 {
    players
        .iter()
        .map(|player| player.meter.received_bytes())
        .sum()
}

impl Base {
    fn now(clock: Clock, players: &[Player]) -> Self {
        Self {
            cpu_ns: thread_cpu_ns(),
            at_ns: clock.now_ns(),
            received: received_bytes(players),
        }
    }

    fn report(&self, shared: &Shared, players: &[Player]) -> ThreadReport {
        let elapsed_ns = (shared.clock.now_ns() - self.at_ns).max(1);
        ThreadReport {
            counts: shared.counts.borrow().clone(),
            observer_bytes: received_bytes(players).saturating_sub(self.received),
            thin: Traffic::default(),
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
    let places = players
        .borrow()
        .iter()
        .map(|player| player.role)
        .enumerate()
        .collect::<Vec<_>>();
    let clients = places
        .into_iter()
        .map(|(place, role)| (place, role.client, role.part));
    let mut agenda = Agenda::new(clients, start_ns);
    let best_ns = |place: usize, at_ns| {
        let players = players.borrow();
        players
            .get(place)
            .map_or(at_ns, |player: &Player| player.best_ns(at_ns))
    };
    while let Some(next_ns) = agenda.next_ns() {
        let wake_ns = next_ns.max(shared.clock.now_ns() + WAKE_NS_MIN);
        if alarm.wait_until(wake_ns).await.is_err() {
            return;
        }
        let now_ns = shared.clock.now_ns();
        while let Some(task) = agenda.pop(now_ns, best_ns) {
            if let Some(player) = players.borrow_mut().get_mut(task.place) {
                task.perform(player, now_ns, &mut shared.counts.borrow_mut());
            }
        }
    }
}

impl Player {
    /// Connects and joins. What is to be received is received from here on.
    async fn join(
        role: Role,
        directory: &tokio::sync::Mutex<Directory>,
        shared: &Rc<Shared>,
    ) -> Result<Self> {
        let address = directory.lock().await.session(role.board.board).await?;
        let link = Link::web_transport_on(&address.socket()?, &address.url, None).await?;
        let meter = link.meter().context("WebTransport has a meter")?;
        let observer = timeout(LOADED_WAIT, open_observer(role, link, shared.clock)).await??;
        let pace = observer.client.pace().context("whoever is in was told")?;
        let timing = Rc::new(Cell::new(Timing::of(pace)));
        let (actions, inbox) = mpsc::channel(WAITING_MAX);
        let cursor_hz = role.part.cursor_hz;
        let observing = observe(observer, cursor_hz, inbox, timing.clone(), shared.clone());
        tokio::task::spawn_local(observing);
        let curve = Curve::of(role.client);
        Ok(Self {
            role,
            meter,
            curve,
            pen: Pen::new(curve, role.part.samples),
            timing,
            cursors: CursorRhythm::default(),
            actions,
        })
    }
}

impl Hand for Player {
    fn best_ns(&self, at_ns: i64) -> i64 {
        self.timing.get().best_ns(at_ns)
    }

    /// The moment of the schedule, to the millisecond as ordinary clients tell it, is also the cursor's stamp: what the
    /// load itself is late counts as latency.
    fn point(&mut self, due_ns: i64) -> bool {
        if !self.cursors.takes(due_ns, self.timing.get().pace) {
            return false;
        }
        let due_ms = due_ns / NS_PER_MS;
        let cursor = CursorState {
            at: self.curve.pointer(due_ms as f64 / 1000.0),
            tool: CursorTool::Pen,
            pressed: self.role.part.ink_hz > 0.0,
        };
        // What can't be sent is late anyway: the connection is gone, or takes nothing.
        let _ = self.actions.try_send(Action::Cursor(cursor, due_ms as f64));
        true
    }

    fn draw(&mut self, times: impl Iterator<Item = f64>, _now_ns: i64) -> bool {
        let batches = times.map(|t| self.pen.batch(t)).collect();
        self.actions.try_send(Action::Ink(batches)).is_ok()
    }
}

/// A client of the library that stamps what it sends.
pub(crate) fn library_client(client: u32, board: BoardLink, view: BoardRect) -> Result<Client> {
    let mut library = Client::new(ClientOptions {
        board: board.board,
        secret: board.secret,
        key: random_key()?,
        name: name(client),
        color: client.wrapping_mul(0x9e_37_79) & 0xff_ff_ff,
        is_stamping: true,
    });
    library.set_view(view);
    Ok(library)
}

/// An observer's client and its link.
#[derive(Debug)]
pub(crate) struct Observer {
    pub(crate) client: Client,
    link: Link,
    clock: Clock,
}

impl Observer {
    /// Says hello.
    pub(crate) async fn greet(mut client: Client, link: Link, clock: Clock) -> Result<Self> {
        client.connected(clock.now_ms());
        let mut observer = Self {
            client,
            link,
            clock,
        };
        observer.transmit().await?;
        Ok(observer)
    }

    /// Takes one frame.
    pub(crate) async fn receive(&mut self) -> Result<()> {
        let frame = self.link.recv().await?;
        self.take(frame)?;
        self.transmit().await
    }

    fn take(&mut self, frame: Bytes) -> Result<()> {
        self.client.receive(self.clock.now_ms(), frame)?;
        Ok(())
    }

    /// When its timers are to be looked at.
    fn due(&self, now: Instant) -> Instant {
        let left_ms = self
            .client
            .poll_timeout()
            .map(|at_ms| at_ms - self.clock.now_ms());
        let left = Duration::try_from_secs_f64(left_ms.unwrap_or_default().max(0.0) / 1000.0);
        now + left.map_or(OBSERVER_TICK, |left| left.min(OBSERVER_TICK))
    }

    async fn transmit(&mut self) -> Result<()> {
        while let Some(transmit) = self.client.poll_transmit() {
            if transmit.reliable {
                self.link.send(transmit.frame).await?;
            } else {
                self.link.send_datagram(transmit.frame).await?;
            }
        }
        Ok(())
    }

    /// Leaves.
    pub(crate) async fn close(self) {
        self.link.close(0, "").await;
    }

    /// Events that end it; the others are for people.
    fn check(&mut self) -> Result<()> {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Closed(reason) => bail!("turned away: {reason}"),
                Event::LinkDead => bail!("nothing comes any more"),
                _ => {}
            }
        }
        // Nobody draws what it sees.
        self.client.board_mut().take_changes();
        Ok(())
    }
}

async fn open_observer(role: Role, link: Link, clock: Clock) -> Result<Observer> {
    let client = library_client(role.client, role.board, role.view)?;
    let mut observer = Observer::greet(client, link, clock).await?;
    while !observer.client.is_loaded() {
        observer.receive().await?;
        observer.check()?;
    }
    Ok(observer)
}

async fn observe(
    mut observer: Observer,
    cursor_hz: f64,
    mut actions: mpsc::Receiver<Action>,
    timing: Rc<Cell<Timing>>,
    shared: Rc<Shared>,
) {
    let ended = watch(&mut observer, cursor_hz, &mut actions, &timing, &shared).await;
    if ended.is_err() {
        shared.dead.set(shared.dead.get() + 1);
    }
}

async fn watch(
    observer: &mut Observer,
    cursor_hz: f64,
    actions: &mut mpsc::Receiver<Action>,
    timing: &Cell<Timing>,
    shared: &Shared,
) -> Result<()> {
    let mut stroke = None;
    let mut walkers = Walkers::new(cursor_hz);
    let mut ticks = interval_at(Instant::now() + OBSERVER_TICK, OBSERVER_TICK);
    loop {
        let due = observer.due(Instant::now());
        tokio::select! {
            () = sleep_until(due) => observer.client.tick(shared.clock.now_ms()),
            frame = observer.link.recv() => {
                observer.take(frame?)?;
                let arrivals = observer.client.take_arrivals();
                if !arrivals.is_empty() {
                    let now_ns = shared.clock.now_ns();
                    let mut counts = shared.counts.borrow_mut();
                    for arrival in arrivals {
                        counts.arrived(arrival, now_ns);
                    }
                }
                for passage in observer.client.take_passages() {
                    let now_ns = shared.clock.now_ns();
                    let count = walkers.left_out(&observer.client, &passage, now_ns);
                    shared.counts.borrow_mut().extrapolated(count);
                }
            }
            action = actions.recv() => match action {
                Some(Action::Cursor(cursor, moved_ms)) => {
                    observer.client.set_cursor(moved_ms, cursor);
                    observer.client.tick(shared.clock.now_ms());
                }
                Some(Action::Ink(batches)) => {
                    observer.client.tick(shared.clock.now_ms());
                    for batch in batches {
                        draw(&mut observer.client, &mut stroke, &batch);
                        // Each batch is an op: the library would put what waits together.
                        observer.transmit().await?;
                    }
                }
                // The load is over.
                None => return Ok(()),
            },
            _ = ticks.tick() => {
                walkers.may_look_again();
                observer.client.tick(shared.clock.now_ms());
                observer.check()?;
                if let Some(pace) = observer.client.pace() {
                    let beat = *observer.client.beat();
                    timing.set(Timing { pace, beat });
                }
                shared.counts.borrow_mut().paced(observer.client.pace());
            }
        }
        observer.transmit().await?;
    }
}

fn draw(client: &mut Client, stroke: &mut Option<StrokeId>, batch: &Batch) {
    match *stroke {
        Some(stroke) if !batch.is_first => client.extend_stroke(stroke, &batch.points),
        _ => *stroke = Some(client.begin_stroke(STYLE, &batch.points)),
    }
    if batch.is_last
        && let Some(stroke) = stroke.take()
    {
        client.finish_stroke(stroke);
    }
}
