//! One client of the load, from its connection on: it sends when it is told to, at the pace that the room tells.
//!
//! An observer is the real client library, which decodes and keeps everything, in a task of its own. A thin client says
//! what the library would say, but drops what comes all but unread ([`crate::thin`]); QUIC acknowledges it all the same.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use chalkboard_client::client::{Client, ClientOptions, Event};
use chalkboard_client::native::{Link, LinkMeter, LinkReceiver, LinkSender, SharedSocket};
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::presence::Pace;
use chalkboard_shared::wire::{ClientMessage, Hello, Profile, ServerMessage};
use chalkboard_shared::workload::{Curve, STYLE};
use chalkboard_shared::{BoardRect, StrokeId};
use futures::FutureExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout};

use crate::address::BoardLink;
use crate::clock::{Clock, stamp};
use crate::counts::Counts;
use crate::pen::{Batch, Pen, Writer};
use crate::spec::Part;
use crate::thin::{CursorRhythm, ThinLink};
use crate::walkers::Walkers;

/// How long a client may take from its handshake to its welcome, and to everything that it is to see.
const WELCOME_WAIT: Duration = Duration::from_secs(30);
const LOADED_WAIT: Duration = Duration::from_secs(120);

/// What waits to be sent by a client's task; beyond that the server takes nothing, and what is due is not sent.
const WAITING_MAX: usize = 256;

const NS_PER_MS: i64 = 1_000_000;

/// How often an observer's timers are looked at.
const OBSERVER_TICK: Duration = Duration::from_millis(500);

/// What all clients of a thread have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) counts: RefCell<Counts>,
    pub(crate) dead: Cell<u64>,
    /// What its thin clients receive.
    pub(crate) thin: RefCell<Vec<ThinLink>>,
}

/// Which client it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Role {
    pub(crate) client: u32,
    pub(crate) board: BoardLink,
    pub(crate) part: Part,
    pub(crate) view: BoardRect,
    pub(crate) is_observer: bool,
}

/// A client that has joined.
#[derive(Debug)]
pub(crate) struct Player {
    pub(crate) role: Role,
    pub(crate) meter: LinkMeter,
    curve: Curve,
    sequence: u32,
    /// As the room has told it.
    pace: Rc<Cell<Pace>>,
    cursors: CursorRhythm,
    way: Way,
}

/// How what it sends gets out.
#[derive(Debug)]
enum Way {
    /// A thin client that never draws: straight into the connection.
    Direct(LinkSender),
    /// A thin client that draws: its stream may have to wait, so a task of its own writes.
    Queued(mpsc::Sender<Outgoing>, Box<Writer>),
    /// An observer: its task owns the library's client.
    Observer(mpsc::Sender<Action>, Pen),
}

#[derive(Debug)]
struct Outgoing {
    is_reliable: bool,
    frame: Bytes,
}

#[derive(Debug)]
enum Action {
    /// Where it is, and since when on the clock, in milliseconds.
    Cursor(CursorState, f64),
    Ink(Vec<Batch>),
}

impl Player {
    /// Connects and joins. What is to be received is received from here on.
    pub(crate) async fn join(
        role: Role,
        socket: &SharedSocket,
        url: &str,
        shared: &Rc<Shared>,
    ) -> Result<Self> {
        let link = Link::web_transport_on(socket, url, None).await?;
        let meter = link.meter().context("WebTransport has a meter")?;
        let curve = Curve::of(role.client);
        let pen = Pen::new(curve, role.part.samples);
        let (way, pace) = if role.is_observer {
            let client = timeout(LOADED_WAIT, open_observer(role, link, shared.clock)).await??;
            let pace = client.client.pace().context("whoever is in was told")?;
            let pace = Rc::new(Cell::new(pace));
            let (actions, inbox) = mpsc::channel(WAITING_MAX);
            let ended = observe(
                client,
                role.part.cursor_hz,
                inbox,
                pace.clone(),
                shared.clone(),
            );
            tokio::task::spawn_local(ended);
            (Way::Observer(actions, pen), pace)
        } else {
            let (sender, receiver, pace) = timeout(WELCOME_WAIT, open_thin(role, link)).await??;
            let pace = Rc::new(Cell::new(pace));
            let link = ThinLink::new(receiver, pace.clone());
            shared.thin.borrow_mut().push(link);
            let way = if role.part.ink_hz > 0.0 {
                let (frames, queue) = mpsc::channel(WAITING_MAX);
                tokio::task::spawn_local(write(sender, queue));
                Way::Queued(frames, Box::new(Writer::new(pen)))
            } else {
                Way::Direct(sender)
            };
            (way, pace)
        };
        Ok(Self {
            role,
            meter,
            curve,
            sequence: 0,
            pace,
            cursors: CursorRhythm::default(),
            way,
        })
    }

    /// Moves the cursor to where it is at this moment of the schedule. That moment, to the millisecond as ordinary
    /// clients tell it, is also its stamp: what the load itself is late counts as latency. `false` where that is not
    /// worth sending at the room's pace.
    pub(crate) fn point(&mut self, due_ns: i64) -> bool {
        if !self.cursors.takes(due_ns, self.pace.get()) {
            return false;
        }
        let due_ms = due_ns / NS_PER_MS;
        let t = due_ms as f64 / 1000.0;
        let cursor = CursorState {
            at: self.curve.pointer(t),
            tool: CursorTool::Pen,
            pressed: self.role.part.ink_hz > 0.0,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let frame = || {
            ClientMessage::Cursor {
                sequence: self.sequence,
                stamp: Some(stamp(due_ms * NS_PER_MS)),
                cursor,
            }
            .encode()
        };
        // What can't be sent is late anyway: the connection is gone, or takes nothing.
        match &mut self.way {
            Way::Direct(sender) => {
                let _ = sender.send_datagram(frame()).now_or_never();
            }
            Way::Queued(frames, _) => {
                let _ = frames.try_send(Outgoing {
                    is_reliable: false,
                    frame: frame(),
                });
            }
            Way::Observer(actions, _) => {
                let _ = actions.try_send(Action::Cursor(cursor, due_ms as f64));
            }
        }
        true
    }

    /// Draws the batches of these moments, in seconds. False if they could not be sent.
    pub(crate) fn draw(&mut self, times: impl Iterator<Item = f64>, now_ns: i64) -> bool {
        match &mut self.way {
            Way::Direct(_) => false,
            Way::Queued(frames, writer) => {
                // Room first: the numbers of what is written must not have gaps.
                if frames.capacity() < WAITING_MAX / 2 {
                    return false;
                }
                let written = writer.frames(times, stamp(now_ns));
                written.into_iter().all(|frame| {
                    let is_reliable = true;
                    frames.try_send(Outgoing { is_reliable, frame }).is_ok()
                })
            }
            Way::Observer(actions, pen) => {
                let batches = times.map(|t| pen.batch(t)).collect();
                actions.try_send(Action::Ink(batches)).is_ok()
            }
        }
    }
}

fn name(client: u32) -> String {
    format!("client {client}")
}

fn random_key() -> Result<[u8; 16]> {
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(key)
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

async fn open_thin(role: Role, mut link: Link) -> Result<(LinkSender, LinkReceiver, Pace)> {
    let hello = ClientMessage::Hello(Box::new(Hello {
        board: role.board.board,
        secret: role.board.secret,
        key: random_key()?,
        profile: Profile {
            name: name(role.client),
            color: role.client & 0xff_ff_ff,
        },
        view: role.view,
        resume: None,
    }));
    link.send(hello.encode()).await?;
    loop {
        let frame = link.recv().await?;
        match ServerMessage::decode(frame)? {
            ServerMessage::Welcome(welcome) => {
                let (sender, receiver) = link.split();
                return Ok((sender, receiver, welcome.pace));
            }
            ServerMessage::Bye(reason) => bail!("turned away: {reason}"),
            _ => {}
        }
    }
}

async fn write(mut sender: LinkSender, mut queue: mpsc::Receiver<Outgoing>) {
    while let Some(Outgoing { is_reliable, frame }) = queue.recv().await {
        let sent = if is_reliable {
            sender.send(frame).await
        } else {
            sender.send_datagram(frame).await
        };
        if sent.is_err() {
            return;
        }
    }
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
    pace: Rc<Cell<Pace>>,
    shared: Rc<Shared>,
) {
    let ended = watch(&mut observer, cursor_hz, &mut actions, &pace, &shared).await;
    if ended.is_err() {
        shared.dead.set(shared.dead.get() + 1);
    }
}

async fn watch(
    observer: &mut Observer,
    cursor_hz: f64,
    actions: &mut mpsc::Receiver<Action>,
    pace: &Cell<Pace>,
    shared: &Shared,
) -> Result<()> {
    let mut stroke = None;
    let mut walkers = Walkers::new(cursor_hz);
    let mut ticks = interval_at(Instant::now() + OBSERVER_TICK, OBSERVER_TICK);
    loop {
        tokio::select! {
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
                Some(Action::Cursor(cursor, moved_ms)) => observer.client.set_cursor(moved_ms, cursor),
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
                if let Some(told) = observer.client.pace() {
                    pace.set(told);
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
