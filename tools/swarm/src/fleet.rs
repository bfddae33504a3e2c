//! The thin clients of a thread, by the thousand: one loop drives all of their QUIC connections.
//!
//! They send what they are told to, and take what comes: it is acknowledged, counted and dropped. A load must cost less
//! than the server that it loads, so packets gather for a moment before they are looked at, nothing wakes the thread but
//! the time, and what comes on the streams is dropped twice a second.

mod joining;
mod sockets;
mod thin_client;
mod timing_finder;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, anyhow};
use chalkboard_client::native::stranger_config;
use quinn_proto::{
    ClientConfig, ConnectionEvent, DatagramEvent, Endpoint, EndpointConfig,
    RandomConnectionIdGenerator,
};
use tokio::sync::mpsc;
use url::{Host, Url};

use self::joining::{Joining, Newcomer};
use self::sockets::{Packet, Places, Socket};
use self::thin_client::{News, ThinClient};
use crate::address::{Directory, Site};
use crate::agenda::{Agenda, Hand as _};
use crate::clock::{Clock, thread_cpu_ns};
use crate::counts::{Counts, ThreadReport, Traffic};
use crate::role::Role;
use crate::swarm::Command;

/// How long a client may take until it is in the room.
const WELCOME_WAIT: Duration = Duration::from_secs(30);
/// Clients of one socket: the system keeps about a hundred unread packets of each, a tick's for that many.
const CLIENTS_PER_SOCKET: usize = 64;
/// Bytes that name a connection among those of its thread.
const ID_BYTES: usize = 4;
/// Datagrams of a client that wait for nobody.
const DATAGRAM_BYTES: usize = 4 * 1024;
/// Between two looks at the network, and at what is due to be sent.
const LOOK_PAUSE: Duration = Duration::from_millis(1);
const SEND_PAUSE: Duration = Duration::from_micros(200);
/// How long it takes to drain all streams, in so many parts, so that sending is never held up for long.
const DRAIN_ROUND: Duration = Duration::from_millis(500);
const DRAIN_PARTS: usize = 20;
/// Packets of one connection that are sent in one turn.
const SENDS_PER_TURN: usize = 16;
/// Connections that are driven in one go before what is due is sent and the network is looked at again.
const DRIVEN_AT_ONCE: usize = 32;

/// What has come for a client that is in waits until it is to be acknowledged: after so long, or so many packets of which the
/// server wants to be told at once. Each look at a client brings much into the cache.
const UNHEARD_WAIT: Duration = Duration::from_millis(26);
const UNHEARD_MAX: usize = 8;

/// The thin clients of one thread.
pub(crate) struct Fleet {
    roles: Vec<Role>,
    site: Site,
    clock: Clock,
    endpoint: Endpoint,
    ports: Vec<Port>,
    places: Places,
    /// By the number that QUIC gives their connections.
    slots: Vec<Slot>,
    joining: Option<Joining>,
    agenda: Option<Agenda>,
    /// The slot of each role.
    players: Vec<u32>,
    touched: VecDeque<u32>,
    /// Slots for which something has come, and when to look at it.
    unheard: VecDeque<(Instant, u32)>,
    /// When which slot is to be looked at, if nothing happens before: rather too early than too late.
    deadlines: BinaryHeap<Reverse<(Instant, u32)>>,
    /// The next slot whose stream is drained.
    drained: usize,
    counts: Counts,
    dead: u64,
    /// Where counting began.
    cpu_from_ns: i64,
    from_ns: i64,
    buffer: Vec<u8>,
}

/// A socket, and what its clients connect with.
struct Port {
    socket: Socket,
    config: ClientConfig,
    clients: usize,
}

/// A place for a connection.
#[derive(Default)]
struct Slot {
    client: Option<Box<ThinClient>>,
    port: usize,
    is_touched: bool,
    /// What has come and was not looked at.
    unheard: Vec<ConnectionEvent>,
    /// The earliest of its deadlines that are noted.
    armed: Option<Instant>,
}

impl Fleet {
    /// Of these roles; nothing is connected yet.
    pub(crate) fn new(roles: Vec<Role>, site: Site, clock: Clock, number: u64) -> Self {
        let mut config = EndpointConfig::default();
        config.cid_generator(|| Box::new(RandomConnectionIdGenerator::new(ID_BYTES)));
        Self {
            players: vec![u32::MAX; roles.len()],
            roles,
            site,
            clock,
            endpoint: Endpoint::new(Arc::new(config), None, true, None),
            ports: Vec::new(),
            places: Places::for_batch(),
            slots: Vec::new(),
            joining: None,
            agenda: None,
            touched: VecDeque::new(),
            unheard: VecDeque::new(),
            deadlines: BinaryHeap::new(),
            drained: 0,
            counts: Counts::new(number),
            dead: 0,
            cpu_from_ns: thread_cpu_ns(),
            from_ns: clock.now_ns(),
            buffer: Vec::new(),
        }
    }

    /// Does what it is told until nobody tells anything any more.
    pub(crate) fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        let (mut look, mut drain) = (Instant::now(), Instant::now());
        loop {
            // Until it is told to connect there is nothing else to do.
            if self.joining.is_none() {
                match inbox.blocking_recv() {
                    Some(command) => self.hear(command),
                    None => return,
                }
            }
            loop {
                match inbox.try_recv() {
                    Ok(command) => self.hear(command),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return self.leave(),
                }
            }
            self.perform();
            let now = Instant::now();
            if now >= look {
                look = now + LOOK_PAUSE;
                self.receive(now);
                self.let_in(now);
            }
            if now >= drain {
                drain = now + DRAIN_ROUND / DRAIN_PARTS as u32;
                self.drain();
            }
            self.wake(now);
            self.drive_some(now);
            self.rest(look);
        }
    }

    /// Sleeps until the next look, or until something is due.
    fn rest(&self, look: Instant) {
        if !self.touched.is_empty() {
            return;
        }
        let now = Instant::now();
        let due = self.agenda.as_ref().and_then(Agenda::next_ns).map(|at_ns| {
            let left_ns = u64::try_from(at_ns - self.clock.now_ns()).unwrap_or(0);
            now + Duration::from_nanos(left_ns).max(SEND_PAUSE)
        });
        let until = due.map_or(look, |due| due.min(look));
        std::thread::sleep(until.saturating_duration_since(now));
    }

    fn hear(&mut self, command: Command) {
        // Whoever asked and does not listen has gone.
        match command {
            Command::Connect(answer) => match self.newcomers() {
                Ok(newcomers) => self.joining = Some(Joining::new(newcomers, answer)),
                Err(error) => drop(answer.send(Err(error))),
            },
            Command::Go(start_ns) => {
                let roles = self.roles.iter().enumerate();
                let clients = roles.map(|(place, role)| (place, role.client, role.part));
                self.agenda = Some(Agenda::new(clients, start_ns));
            }
            Command::Mark(answer) => {
                self.mark();
                let _ = answer.send(());
            }
            Command::Report(answer) => drop(answer.send(self.report())),
            Command::Window(answer) => {
                let mut window = self.counts.take_window();
                window.dead = self.dead;
                let _ = answer.send((window, 0));
            }
        }
    }

    fn clients(&self) -> impl Iterator<Item = &ThinClient> {
        self.slots.iter().filter_map(|slot| slot.client.as_deref())
    }

    fn mark(&mut self) {
        self.counts.mark();
        self.cpu_from_ns = thread_cpu_ns();
        self.from_ns = self.clock.now_ns();
        for client in self
            .slots
            .iter_mut()
            .filter_map(|slot| slot.client.as_mut())
        {
            client.counted_from = client.traffic();
        }
    }

    fn report(&self) -> ThreadReport {
        let elapsed_ns = (self.clock.now_ns() - self.from_ns).max(1);
        let traffic = |client: &ThinClient| client.traffic().since(client.counted_from);
        ThreadReport {
            counts: self.counts.clone(),
            observer_bytes: 0,
            thin: self
                .clients()
                .map(traffic)
                .fold(Traffic::default(), Traffic::plus),
            dead: self.dead,
            util: ((thread_cpu_ns() - self.cpu_from_ns) as f64 / elapsed_ns as f64).clamp(0.0, 1.0),
        }
    }

    /// Everybody, each with an address that the server has named.
    fn newcomers(&self) -> Result<Vec<Newcomer>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut directory = Directory::new(self.site.clone());
            let mut newcomers = Vec::new();
            for (place, role) in self.roles.iter().enumerate() {
                let address = directory.session(role.board.board).await?;
                newcomers.push(Newcomer::new(place, address));
            }
            Ok(newcomers)
        })
    }

    /// Begins the connections that it is time for, and gives those up that take too long.
    fn let_in(&mut self, now: Instant) {
        let is_late =
            |client: &ThinClient| client.is_joining() && now > client.begun + WELCOME_WAIT;
        if self.joining.as_ref().is_none_or(Joining::is_over) {
            return;
        }
        while let Some(newcomer) = self.joining.as_mut().and_then(|joining| joining.next(now)) {
            if let Err((newcomer, error)) = self.begin(newcomer, now) {
                self.failed(newcomer, error, now);
            }
        }
        for number in 0..self.slots.len() {
            if let Some(client) = self.slots[number].client.as_deref_mut()
                && is_late(client)
            {
                let newcomer = client.leave(now);
                self.touch(number as u32);
                if let Some(newcomer) = newcomer {
                    self.failed(newcomer, anyhow!("no welcome within {WELCOME_WAIT:?}"), now);
                }
            }
        }
    }

    fn begin(&mut self, newcomer: Newcomer, now: Instant) -> Result<(), (Newcomer, Error)> {
        let begun = locate(&newcomer.address.url).and_then(|(url, remote, name)| {
            let port = self.port(&newcomer, remote)?;
            let config = self.ports[port].config.clone();
            let (handle, quic) = self.endpoint.connect(now, config, remote, &name)?;
            Ok((url, port, handle, quic))
        });
        let (url, port, handle, quic) = match begun {
            Ok(begun) => begun,
            Err(error) => return Err((newcomer, error)),
        };
        if self.slots.len() <= handle.0 {
            self.slots.resize_with(handle.0 + 1, Slot::default);
        }
        self.ports[port].clients += 1;
        self.players[newcomer.place] = handle.0 as u32;
        let role = self.roles[newcomer.place];
        let client = ThinClient::new(quic, role, newcomer, url, now);
        self.slots[handle.0] = Slot {
            client: Some(Box::new(client)),
            port,
            ..Slot::default()
        };
        self.touch(handle.0 as u32);
        Ok(())
    }

    /// A socket that has room for one more.
    fn port(&mut self, newcomer: &Newcomer, remote: SocketAddr) -> Result<usize> {
        if self
            .ports
            .last()
            .is_none_or(|port| port.clients >= CLIENTS_PER_SOCKET)
        {
            self.ports.push(Port {
                socket: Socket::bind(remote)?,
                config: stranger_config(&newcomer.address.trust, DATAGRAM_BYTES)?,
                clients: 0,
            });
        }
        Ok(self.ports.len() - 1)
    }

    fn failed(&mut self, newcomer: Newcomer, error: Error, now: Instant) {
        let client = self.roles[newcomer.place].client;
        if let Some(joining) = &mut self.joining {
            joining.failed(newcomer, error, client, now);
        }
    }

    /// The best moment for a role's client, not before this one, to send something.
    fn best_ns(&self, place: usize, at_ns: i64) -> i64 {
        let slot = self.slots.get(self.players[place] as usize);
        let client = slot.and_then(|slot| slot.client.as_deref());
        client.map_or(at_ns, |client| client.best_ns(at_ns))
    }

    /// Has everything sent that is due.
    fn perform(&mut self) {
        let Some(mut agenda) = self.agenda.take() else {
            return;
        };
        let now_ns = self.clock.now_ns();
        while let Some(task) = agenda.pop(now_ns, |place, at_ns| self.best_ns(place, at_ns)) {
            let number = self.players[task.place];
            let slot = self.slots.get_mut(number as usize);
            if let Some(client) = slot.and_then(|slot| slot.client.as_deref_mut())
                && task.perform(client, now_ns, &mut self.counts)
            {
                // At once: other clients' packets are no reason for this one to be late.
                self.drive(number, Instant::now());
            }
        }
        self.agenda = Some(agenda);
    }

    /// Takes in what has come on all sockets.
    fn receive(&mut self, now: Instant) {
        let mut places = std::mem::take(&mut self.places);
        let mut packets = Vec::new();
        for port in 0..self.ports.len() {
            loop {
                let received = self.ports[port]
                    .socket
                    .receive(&mut places, |packet| packets.push(packet));
                for packet in packets.drain(..) {
                    self.take_packet(port, packet, now);
                }
                // What can't be read shows as silence.
                if !matches!(received, Ok(true)) {
                    break;
                }
            }
            // What is due does not wait for all of the sockets.
            self.perform();
        }
        self.places = places;
    }

    fn take_packet(&mut self, port: usize, packet: Packet, now: Instant) {
        let Packet {
            from,
            to,
            ecn,
            bytes,
        } = packet;
        self.buffer.clear();
        let event = self
            .endpoint
            .handle(now, from, to, ecn, bytes, &mut self.buffer);
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                self.put_off(handle.0 as u32, event, now);
            }
            Some(DatagramEvent::Response(transmit)) => {
                self.ports[port].socket.send(&transmit, &self.buffer);
            }
            // Nobody connects to clients.
            Some(DatagramEvent::NewConnection(incoming)) => self.endpoint.ignore(incoming),
            None => {}
        }
    }

    /// Keeps what has come for a client until it is time to look at it.
    fn put_off(&mut self, number: u32, event: ConnectionEvent, now: Instant) {
        let slot = &mut self.slots[number as usize];
        let Some(client) = slot.client.as_deref() else {
            return;
        };
        let is_first = slot.unheard.is_empty();
        slot.unheard.push(event);
        if !client.has_joined() || slot.unheard.len() >= UNHEARD_MAX {
            self.touch(number);
        } else if is_first {
            self.unheard.push_back((now + UNHEARD_WAIT, number));
        }
    }

    /// Has the slot looked at by then.
    fn arm(&mut self, number: u32, at: Instant) {
        let slot = &mut self.slots[number as usize];
        if slot.armed.is_none_or(|armed| at < armed) {
            slot.armed = Some(at);
            self.deadlines.push(Reverse((at, number)));
        }
    }

    /// Drops what has come on some of the streams.
    fn drain(&mut self) {
        for _ in 0..self.slots.len().div_ceil(DRAIN_PARTS) {
            self.drained = (self.drained + 1) % self.slots.len();
            let client = self.slots[self.drained].client.as_deref_mut();
            if client.is_some_and(ThinClient::drain) {
                self.touch(self.drained as u32);
            }
        }
    }

    fn touch(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        if !slot.is_touched {
            slot.is_touched = true;
            self.touched.push_back(number);
        }
    }

    /// Touches those whose time has come.
    fn wake(&mut self, now: Instant) {
        while let Some(&(at, number)) = self.unheard.front()
            && at <= now
        {
            self.unheard.pop_front();
            if !self.slots[number as usize].unheard.is_empty() {
                self.touch(number);
            }
        }
        while let Some(&Reverse((at, number))) = self.deadlines.peek()
            && at <= now
        {
            self.deadlines.pop();
            let slot = &mut self.slots[number as usize];
            if slot.armed == Some(at) {
                slot.armed = None;
                self.touch(number);
            }
        }
    }

    /// Lets some of those that were touched deal with it, and send.
    fn drive_some(&mut self, now: Instant) {
        for _ in 0..DRIVEN_AT_ONCE {
            let Some(number) = self.touched.pop_front() else {
                return;
            };
            self.slots[number as usize].is_touched = false;
            self.drive(number, now);
        }
    }

    fn drive(&mut self, number: u32, now: Instant) {
        let slot = &mut self.slots[number as usize];
        let Some(client) = slot.client.as_deref_mut() else {
            return;
        };
        for event in slot.unheard.drain(..) {
            client.quic.handle_event(event);
        }
        if client.quic.poll_timeout().is_some_and(|at| at <= now) {
            client.quic.handle_timeout(now);
        }
        let news = client.react(now);
        let mut is_drained = false;
        let handle = quinn_proto::ConnectionHandle(number as usize);
        while let Some(event) = client.quic.poll_endpoint_events() {
            is_drained |= event.is_drained();
            if let Some(event) = self.endpoint.handle_event(handle, event) {
                client.quic.handle_event(event);
            }
        }
        for _ in 0..SENDS_PER_TURN {
            self.buffer.clear();
            let Some(transmit) = client.quic.poll_transmit(now, 1, &mut self.buffer) else {
                break;
            };
            self.ports[slot.port].socket.send(&transmit, &self.buffer);
        }
        let deadline = client.quic.poll_timeout();
        if is_drained {
            slot.client = None;
            self.ports[slot.port].clients -= 1;
        } else if let Some(at) = deadline {
            self.arm(number, at);
        }
        match news {
            Some(News::Joined) => {
                if let Some(joining) = &mut self.joining {
                    joining.entered();
                }
            }
            Some(News::Refused(newcomer, error)) => self.failed(newcomer, error, now),
            Some(News::Lost) => self.dead += 1,
            None => {}
        }
    }

    /// Tells the server that everybody goes.
    fn leave(&mut self) {
        let now = Instant::now();
        for number in 0..self.slots.len() {
            if let Some(client) = self.slots[number].client.as_deref_mut() {
                client.leave(now);
                self.drive(number as u32, now);
            }
        }
    }
}

/// What a session's address names: itself, where that is, and the name that the certificate must bear.
fn locate(address: &str) -> Result<(Url, SocketAddr, String)> {
    let url = Url::parse(address).with_context(|| format!("no address: {address}"))?;
    let port = url.port_or_known_default().unwrap_or(443);
    let (remote, name) = match url.host().context("an address without a host")? {
        Host::Ipv4(ip) => ((ip, port).into(), ip.to_string()),
        Host::Ipv6(ip) => ((ip, port).into(), ip.to_string()),
        Host::Domain(name) => {
            let first = (name, port).to_socket_addrs()?.next();
            (first.context("a host without an address")?, name.to_owned())
        }
    };
    Ok((url, remote, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let (url, remote, name) = locate("https://127.0.0.1:4433/session").expect("an address");
        assert_eq!(url.path(), "/session");
        assert_eq!(
            (remote.to_string(), name),
            ("127.0.0.1:4433".into(), "127.0.0.1".into())
        );
        let (_, remote, name) = locate("https://[::1]:9/session").expect("an address");
        assert_eq!((remote.to_string(), name), ("[::1]:9".into(), "::1".into()));
        for none in ["", "127.0.0.1:4433", "data:,x"] {
            assert!(locate(none).is_err(), "{none}");
        }
    }
}
