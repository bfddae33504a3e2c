//! The task behind a native client: it owns the client and its link, and keeps both going.

use std::collections::VecDeque;
use std::future::pending;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use chalkboard_shared::DisconnectReason;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::Endpoints;
use super::link::{Link, LinkError, LinkReceiver};
use super::trust::Trust;
use crate::client::{Client, Event, Transmit};
use crate::reconnect::Backoff;

/// Frames that wait to be written. The client holds everything else and decides late what to send.
const WRITES_MAX: usize = 8;

/// Events kept for whoever asks; the oldest go first.
const EVENTS_MAX: usize = 256;

/// Callers that wait for something at the same time; further ones are told at once that it did not happen.
const WAITERS_MAX: usize = 64;

/// How long one transport may take to connect before the next is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long what is queued may take to be written when the client stops.
const STOP_WAIT: Duration = Duration::from_secs(2);

pub(super) type Act = Box<dyn FnOnce(&mut Client, f64) + Send>;

pub(super) enum Command {
    With(Act),
    Wait(Waiter),
    Events(oneshot::Sender<Vec<Event>>),
    Closed(oneshot::Sender<Option<DisconnectReason>>),
    Online(bool),
}

pub(super) struct Waiter {
    pub(super) is_so: Box<dyn FnMut(&Client) -> bool + Send>,
    pub(super) done: oneshot::Sender<()>,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Link, LinkError>> + Send>>;

/// A link that is up.
struct Live {
    receiver: LinkReceiver,
    writes: mpsc::Sender<Transmit>,
    /// Ends when `writes` is dropped: what was queued is written, then the link is closed.
    writer: JoinHandle<()>,
}

pub(super) struct Driver {
    client: Client,
    endpoints: Endpoints,
    trust: Trust,
    commands: mpsc::Receiver<Command>,
    waiters: Vec<Waiter>,
    events: VecDeque<Event>,
    started: Instant,
    online: bool,
    closed: Option<DisconnectReason>,
    backoff: Backoff,
    retry_at: Option<Instant>,
    connecting: Option<Connecting>,
    live: Option<Live>,
    next: Option<Transmit>,
}

/// What happened.
enum Step {
    Command(Option<Command>),
    Connected(Result<Link, LinkError>),
    Frame(Result<Bytes, LinkError>),
    /// There is room for a frame, or there never will be again.
    Writable(bool),
    Time,
}

impl Driver {
    pub(super) fn new(
        client: Client,
        endpoints: Endpoints,
        trust: Trust,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        let now = Instant::now();
        Self {
            client,
            endpoints,
            trust,
            commands,
            waiters: Vec::new(),
            events: VecDeque::new(),
            started: now,
            online: true,
            closed: None,
            backoff: Backoff::new(),
            retry_at: Some(now),
            connecting: None,
            live: None,
            next: None,
        }
    }

    /// Runs until nobody commands any more; gives the client back, disconnected.
    pub(super) async fn run(mut self) -> Client {
        loop {
            match self.step().await {
                Step::Command(None) => break,
                Step::Command(Some(command)) => self.command(command),
                Step::Connected(Ok(link)) => self.connected(link),
                Step::Connected(Err(error)) | Step::Frame(Err(error)) => self.lost(error.reason()),
                Step::Frame(Ok(frame)) => {
                    let now_ms = self.now_ms();
                    if self.client.receive(now_ms, frame).is_err() {
                        self.lost(None);
                    }
                }
                Step::Writable(true) => {
                    if let (Some(live), Some(next)) = (&self.live, self.next.take()) {
                        // The one who queues is this task, so the room that was seen is still there.
                        let _ = live.writes.try_send(next);
                    }
                }
                // The reader will say why.
                Step::Writable(false) => self.next = None,
                Step::Time => self.time_passed(),
            }
            self.settle();
        }
        if let Some(Live { writes, writer, .. }) = self.live.take() {
            if let Some(last) = self.next.take() {
                let _ = writes.try_send(last);
            }
            drop(writes);
            let _ = timeout(STOP_WAIT, writer).await;
        }
        let now_ms = self.now_ms();
        self.client.disconnected(now_ms);
        self.client
    }

    async fn step(&mut self) -> Step {
        if self.live.is_some() && self.next.is_none() {
            self.next = self.client.poll_transmit();
        }
        let wake_at = self.wake_at();
        let has_next = self.next.is_some();
        let (mut reader, writes) = match &mut self.live {
            Some(live) => (Some(&mut live.receiver), Some(&live.writes)),
            None => (None, None),
        };
        tokio::select! {
            command = self.commands.recv() => Step::Command(command),
            linked = async {
                match &mut self.connecting {
                    Some(connecting) => connecting.await,
                    None => pending().await,
                }
            } => Step::Connected(linked),
            frame = async {
                match &mut reader {
                    Some(reader) => reader.recv().await,
                    None => pending().await,
                }
            } => Step::Frame(frame),
            is_open = async {
                match writes {
                    Some(writes) if has_next => writes.reserve().await.is_ok(),
                    _ => pending().await,
                }
            } => Step::Writable(is_open),
            () = async {
                match wake_at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            } => Step::Time,
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        if self.live.is_some() {
            let at_ms = self.client.poll_timeout()?;
            // Far ahead stands for never; sooner than a millisecond would be a busy loop.
            let wait_ms = (at_ms - self.now_ms()).clamp(1.0, 60_000.0);
            return Some(Instant::now() + Duration::from_secs_f64(wait_ms / 1000.0));
        }
        self.retry_at
    }

    fn now_ms(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1000.0
    }

    fn command(&mut self, command: Command) {
        let now_ms = self.now_ms();
        match command {
            Command::With(act) => {
                self.client.tick(now_ms);
                act(&mut self.client, now_ms);
            }
            Command::Wait(waiter) => {
                if self.waiters.len() < WAITERS_MAX {
                    self.waiters.push(waiter);
                }
            }
            Command::Events(answer) => {
                let _ = answer.send(self.events.drain(..).collect());
            }
            Command::Closed(answer) => {
                let _ = answer.send(self.closed);
            }
            Command::Online(online) => {
                self.online = online;
                if online {
                    if self.live.is_none() && self.connecting.is_none() && self.closed.is_none() {
                        self.retry_at = Some(Instant::now());
                    }
                } else {
                    self.drop_link();
                    self.retry_at = None;
                }
            }
        }
    }

    fn connected(&mut self, link: Link) {
        self.connecting = None;
        let (mut sender, receiver) = link.split();
        let (writes, mut queue) = mpsc::channel::<Transmit>(WRITES_MAX);
        let writer = tokio::spawn(async move {
            while let Some(Transmit { reliable, frame }) = queue.recv().await {
                let sent = if reliable {
                    sender.send(frame).await
                } else {
                    sender.send_datagram(frame).await
                };
                if sent.is_err() {
                    return;
                }
            }
            sender.close(0, "").await;
        });
        self.live = Some(Live {
            receiver,
            writes,
            writer,
        });
        let now_ms = self.now_ms();
        self.client.connected(now_ms);
    }

    /// The link is gone, or could not be made.
    fn lost(&mut self, reason: Option<DisconnectReason>) {
        self.drop_link();
        if let Some(reason) = reason.filter(|reason| !reason.is_retryable()) {
            self.close(reason);
        } else if self.online && self.closed.is_none() {
            let delay_ms = self.backoff.next_delay_ms(random());
            self.retry_at = Some(Instant::now() + Duration::from_secs_f64(delay_ms / 1000.0));
        }
    }

    fn close(&mut self, reason: DisconnectReason) {
        if self.closed.is_none() {
            self.closed = Some(reason);
            self.remember(Event::Closed(reason));
        }
        self.retry_at = None;
    }

    fn drop_link(&mut self) {
        self.connecting = None;
        self.next = None;
        if self.live.take().is_some() {
            let now_ms = self.now_ms();
            self.client.disconnected(now_ms);
        }
    }

    fn time_passed(&mut self) {
        let now = Instant::now();
        if self.live.is_some() {
            let now_ms = self.now_ms();
            self.client.tick(now_ms);
        } else if self.online && self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            let (endpoints, trust) = (self.endpoints.clone(), self.trust.clone());
            self.connecting = Some(Box::pin(link_up(endpoints, trust)));
        }
    }

    /// After everything that happens: what the client has to say, and who has waited for it.
    fn settle(&mut self) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::LinkDead => self.lost(None),
                Event::Closed(reason) if reason.is_retryable() => self.lost(Some(reason)),
                Event::Closed(reason) => {
                    self.drop_link();
                    self.close(reason);
                    continue;
                }
                Event::Opened { .. } => self.backoff.succeeded(),
                _ => {}
            }
            self.remember(event);
        }
        let client = &self.client;
        let mut at = 0;
        while let Some(waiter) = self.waiters.get_mut(at) {
            if waiter.done.is_closed() {
                self.waiters.swap_remove(at);
            } else if (waiter.is_so)(client) {
                let _ = self.waiters.swap_remove(at).done.send(());
            } else {
                at += 1;
            }
        }
        if self.closed.is_some() {
            // It will not happen any more.
            self.waiters.clear();
        }
    }

    fn remember(&mut self, event: Event) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

/// A link by the first transport that works.
async fn link_up(endpoints: Endpoints, trust: Trust) -> Result<Link, LinkError> {
    let origin = endpoints.origin.as_deref();
    let mut failed = LinkError::Address("(none)".to_owned());
    let timed_out = |_| LinkError::Connect(format!("no answer within {CONNECT_TIMEOUT:?}"));
    if let Some(url) = &endpoints.web_transport {
        match timeout(CONNECT_TIMEOUT, Link::web_transport(url, origin, &trust)).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(error)) => failed = error,
            Err(elapsed) => failed = timed_out(elapsed),
        }
    }
    if let Some(url) = &endpoints.web_socket {
        match timeout(CONNECT_TIMEOUT, Link::web_socket(url, origin, &trust)).await {
            Ok(Ok(link)) => return Ok(link),
            Ok(Err(error)) => failed = error,
            Err(elapsed) => failed = timed_out(elapsed),
        }
    }
    Err(failed)
}

/// Uniform in 0..1; without an entropy source the longest delay is the safe one.
fn random() -> f64 {
    getrandom::u32().map_or(1.0, |n| f64::from(n) / f64::from(u32::MAX))
}
