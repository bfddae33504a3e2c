//! The world: one server, one disk, one network and all people, a tick at a time.
//!
//! Each tick: what arrives at clients, what people do, what clients send, what arrives at the server, rooms, writer.
//! The server may end between any two of those. It knows no checks beyond what is seen in passing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chalkboard_client::bridge::SaveState;
use chalkboard_client::client::Event;
use chalkboard_server::storage::repo::simulated::{DiskFaults, NO_FAULTS, SimulatedDisk};
use chalkboard_shared::op::Taken;
use chalkboard_shared::wire::{ClientMessage, Hello, ServerMessage, Update};
use chalkboard_shared::{
    ActorId, BoardId, BoardRect, DisconnectReason, Op, OpEntry, OpId, Rights, SessionId, Stroke,
    StrokeId,
};
use chalkboard_simulation::{Input, Join, Output};

use crate::dice::Dice;
use crate::simulated::evidence::BoardEvidence;
use crate::simulated::host::{Host, Notice, Slot, Stepped};
use crate::simulated::link::{Link, LinkQuality};
use crate::simulated::person::{Person, Presence};
use crate::simulated::scenario::Scenario;
use crate::simulated::store::Store;
use crate::simulated::trace::{Tally, Trace};

/// Ticks in which a world that was left alone must have come to rest.
const REST_TICKS_MAX: u64 = 20_000;

/// Ticks between two looks at whole rooms.
const AUDIT_TICKS: u64 = 32;

/// How a server ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The power fails.
    Power,
    /// The process is killed; what it has written is there.
    Kill,
    /// It is stopped and writes everything down.
    Stop,
}

/// Everything.
pub struct World {
    /// What the seed has made of it.
    pub scenario: Scenario,
    /// All boards.
    pub boards: Vec<BoardId>,
    /// All people.
    pub people: Vec<Person>,
    /// The server, while it runs.
    pub host: Option<Host>,
    /// What is known of each board.
    pub evidence: BTreeMap<BoardId, BoardEvidence>,
    /// What was covered.
    pub tally: Tally,
    /// The source of all chance but the disk's.
    pub dice: Dice,
    /// The source of all chance of browsers' stores: what they keep changes nothing else by that.
    store_dice: Dice,
    /// Windows that are gone, whose keys nobody has taken over yet.
    left: Vec<(BoardId, Rights, Store)>,
    /// Its disk.
    pub disk: SimulatedDisk,
    /// What happened.
    pub trace: Trace,
    /// Every stroke that was ever begun, by board.
    known: BTreeMap<BoardId, BTreeSet<StrokeId>>,
    links: Vec<Link>,
    tick: u64,
    host_starts: u64,
    full_until: u64,
    is_healed: bool,
    /// The server ends in this tick, before this part of it.
    end: Option<(u64, End)>,
    has_snapshot_queued: bool,
}

impl World {
    /// The world of a seed.
    ///
    /// # Errors
    /// It can't begin.
    pub fn new(seed: u64, trace: Trace) -> Result<Self, String> {
        let mut dice = Dice::new(seed);
        // The first throws of neighbouring seeds are much alike.
        for _ in 0..16 {
            dice.bits();
        }
        let scenario = Scenario::of(seed, &mut dice);
        trace.note(|| format!("seed {seed}: {scenario:?}"));
        let boards: Vec<_> = (0..scenario.boards)
            .map(|n| BoardId([n as u8 + 1; 16]))
            .collect();
        let people = (0..scenario.people)
            .map(|n| {
                let board = boards[n % boards.len()];
                let is_viewer = n >= boards.len() && dice.below(scenario.viewer_of.max(1)) == 1;
                let rights = if is_viewer {
                    Rights::View
                } else {
                    Rights::Edit
                };
                let mut person = Person::new(board, rights, &mut dice);
                person.store = Some(Store::new(person.actor));
                person
            })
            .collect();
        let disk = SimulatedDisk::new(dice.bits());
        Host::make_boards(&disk, boards.iter().copied()).map_err(|error| error.to_string())?;
        disk.set_faults(scenario.disk);
        let evidence = boards
            .iter()
            .map(|board| (*board, BoardEvidence::default()));
        let known = boards.iter().map(|board| (*board, BTreeSet::new()));
        Ok(Self {
            evidence: evidence.collect(),
            known: known.collect(),
            scenario,
            boards,
            people,
            host: None,
            tally: Tally::default(),
            dice,
            store_dice: Dice::new(!seed),
            left: Vec::new(),
            disk,
            trace,
            links: Vec::new(),
            tick: 0,
            host_starts: 1,
            full_until: 0,
            is_healed: false,
            end: None,
            has_snapshot_queued: false,
        })
    }

    /// Lets everything happen, then lets everything heal, and checks.
    ///
    /// # Errors
    /// What is wrong.
    pub fn run(mut self) -> Result<Tally, String> {
        let outcome = self.live();
        let tick = self.tick;
        outcome.map_err(|what| format!("tick {tick}: {what}"))?;
        self.tally.runs = 1;
        self.tally.ticks = self.tick;
        let disk = self.disk.counts();
        self.tally.torn = disk.torn;
        self.tally.forgotten = disk.forgotten;
        self.tally.full = disk.full;
        self.tally.failed = disk.failed;
        self.tally.unread = disk.unread;
        Ok(self.tally)
    }

    fn live(&mut self) -> Result<(), String> {
        for _ in 0..self.scenario.ticks {
            self.step()?;
        }
        self.heal();
        self.rest()?;
        self.check_end()
    }

    /// Milliseconds since the beginning.
    pub fn now_ms(&self) -> f64 {
        self.tick as f64 * self.scenario.tick_ms
    }

    /// From now on nothing goes wrong, and everybody comes back.
    fn heal(&mut self) {
        self.is_healed = true;
        self.full_until = 0;
        self.end = None;
        self.disk.set_faults(NO_FAULTS);
        self.scenario.quality = LinkQuality {
            delay_ticks_min: 0,
            delay_ticks_max: 1,
            loss_percent: 0,
        };
        for link in &mut self.links {
            link.up.heal();
            link.down.heal();
        }
        for person in &mut self.people {
            person.rest();
            person.presence = Presence::Here(0);
        }
        self.host_starts = self.host_starts.min(self.tick + 1);
        self.trace.note(|| "everything heals".to_owned());
    }

    /// The server is stopped in order and starts again.
    ///
    /// # Errors
    /// What was found on the way.
    pub fn restart(&mut self) -> Result<(), String> {
        self.end_host(0, End::Stop)
    }

    /// Somebody comes who sees everything and changes nothing; answers their place.
    pub fn add_witness(&mut self, board: BoardId) -> usize {
        let mut person = Person::new(board, Rights::View, &mut self.dice);
        person.client.set_view(BoardRect::EVERYTHING);
        self.people.push(person);
        self.people.len() - 1
    }

    /// Steps until everything has arrived and everything is saved.
    ///
    /// # Errors
    /// That takes too long.
    pub fn rest(&mut self) -> Result<(), String> {
        for _ in 0..REST_TICKS_MAX {
            self.step()?;
            if self.is_at_rest() {
                return Ok(());
            }
        }
        let clients: Vec<_> = self
            .people
            .iter()
            .map(|person| (person.client.is_loaded(), person.client.save_state()))
            .collect();
        Err(format!(
            "the world does not come to rest: {:?}, clients (loaded, how safe): {clients:?}",
            self.host
        ))
    }

    fn is_at_rest(&mut self) -> bool {
        let are_clients = self.people.iter().all(|person| {
            let is_quiet = |n: usize| {
                let link = &self.links[n];
                // A link that is cut carries nothing, though its ends may not know yet.
                let is_cut = link.client_learns.is_some() || link.server_learns.is_some();
                link.is_server_open && !is_cut && link.up.is_empty() && link.down.is_empty()
            };
            person.link.is_some_and(is_quiet)
                && person.client.is_loaded()
                && person.client.save_state() == SaveState::Saved
        });
        let tick = self.tick;
        are_clients
            && self.host.as_ref().is_some_and(|host| {
                host.is_written(tick)
                    && host.rooms.values().all(|slot| match slot {
                        Slot::Live(hosted) => {
                            hosted.is_saved() && hosted.inputs.is_empty() && !hosted.room.has_work()
                        }
                        _ => false,
                    })
            })
    }

    /// One tick.
    ///
    /// # Errors
    /// What was found in passing.
    pub fn step(&mut self) -> Result<(), String> {
        self.tick += 1;
        self.trace.set_tick(self.tick);
        self.disk.set_now(self.tick);
        self.links_end();
        if !self.is_healed {
            self.weather()?;
        }
        if self.host.is_none() && self.tick >= self.host_starts {
            self.start_host()?;
        }
        self.clients_receive()?;
        self.people_act()?;
        self.clients_send()?;
        self.may_end(0)?;
        self.server_receives()?;
        self.may_end(1)?;
        self.rooms_step()?;
        self.may_end(2)?;
        self.log_writes()?;
        self.may_end(3)?;
        if self.tick.is_multiple_of(AUDIT_TICKS) {
            self.audit()?;
        }
        Ok(())
    }

    /// What goes wrong by itself.
    fn weather(&mut self) -> Result<(), String> {
        let tick = self.tick;
        for n in 0..self.links.len() {
            if self.links[n].is_over() {
                continue;
            }
            if self.dice.below(1000) < self.scenario.cut_permille {
                self.tally.cuts += 1;
                self.trace.note(|| format!("link {n} is cut"));
                self.cut(n);
            }
            if self.dice.below(1000) < self.scenario.part_permille {
                let until = tick + 1 + self.dice.below(200);
                let ways = 1 + self.dice.below(3);
                self.trace
                    .note(|| format!("link {n} is parted until {until}, ways {ways}"));
                if ways & 1 > 0 {
                    self.links[n].up.part(until);
                    self.tally.parted += 1;
                }
                if ways & 2 > 0 {
                    self.links[n].down.part(until);
                    self.tally.parted += 1;
                }
            }
        }
        for n in 0..self.people.len() {
            if self.dice.below(1000) < self.scenario.leave_permille {
                let until = tick + 20 + self.dice.below(200);
                self.people[n].presence = if self.dice.chance(60) {
                    Presence::Offline(until)
                } else {
                    Presence::Asleep(until)
                };
                self.tally.absences += 1;
                self.trace
                    .note(|| format!("person {n} is offline until {until}"));
                self.leave(n);
            }
            if self.dice.below(1000) < self.scenario.client_crash_permille {
                self.tally.client_crashes += 1;
                self.client_crashes(n)?;
            }
        }
        self.disk_weather();
        self.end = None;
        if let Some(host) = &self.host {
            let mut permille = self.scenario.server_crash_permille;
            if permille > 0 && (host.is_loading() || self.has_snapshot_queued) {
                permille = (permille * 5).min(300);
            }
            if self.dice.below(1000) < permille {
                let end = match self.dice.below(10) {
                    0..=4 => End::Power,
                    5..=7 => End::Kill,
                    _ => End::Stop,
                };
                self.end = Some((self.dice.below(4), end));
            }
        }
        self.has_snapshot_queued = false;
        Ok(())
    }

    /// A client is gone, and somebody comes again: with nothing, or with what the browser has kept.
    fn client_crashes(&mut self, n: usize) -> Result<(), String> {
        self.trace.note(|| format!("client {n} crashes"));
        self.leave(n);
        let Person { board, rights, .. } = self.people[n];
        let until = self.tick + self.dice.below(50);
        let fresh = Person::new(board, rights, &mut self.dice);
        let before = std::mem::replace(&mut self.people[n], fresh);
        let person = &mut self.people[n];
        person.presence = Presence::Asleep(until);
        let Person {
            mut client,
            store,
            left,
            actor,
            ..
        } = before;
        self.left.extend(left.map(|left| (board, rights, left)));
        let dice = &mut self.store_dice;
        let store = store.and_then(|mut store| {
            store.crash(&mut client, dice);
            store.has_outbox().then_some(store)
        });
        match (store, dice.below(10)) {
            (Some(store), 0..=5) => self.restore(n, store)?,
            (Some(store), 6..=7) => {
                self.people[n].left = Some(store);
                self.people[n].store = Some(Store::new(self.people[n].actor));
            }
            // A private window comes after this one, which may be found again later.
            (Some(store), 8) => self.left.push((board, rights, store)),
            // Everything that the browser had kept is cleared away.
            _ => {
                let known = self.evidence.get_mut(&board);
                if let Some(testimony) = known.and_then(|known| known.actors.get_mut(&actor)) {
                    testimony.forgotten();
                }
            }
        }
        Ok(())
    }

    /// Somebody goes on as a client that is gone.
    fn restore(&mut self, n: usize, store: Store) -> Result<(), String> {
        self.tally.restores += 1;
        let person = &mut self.people[n];
        self.trace.note(|| {
            format!(
                "client {n} goes on as {:04x}, with ops {:?} to {:?}",
                store.actor.0 >> 48,
                store.numbers().next(),
                store.numbers().last(),
            )
        });
        if let Some(known) = self.evidence.get_mut(&person.board) {
            let testimony = known.actors.entry(store.actor).or_default();
            testimony.restored(store.numbers());
        }
        person.restore(store)
    }

    /// Windows that have seen everything saved look for what others have left, and go on as those.
    fn take_over(&mut self, n: usize) -> Result<(), String> {
        let person = &mut self.people[n];
        let is_time = person.client.is_loaded() && person.client.save_state() == SaveState::Saved;
        let Some(mut store) = person.left.take_if(|_| is_time) else {
            return Ok(());
        };
        if !person.is_idle() {
            self.left.push((person.board, person.rights, store));
            return Ok(());
        }
        self.tally.takeovers += 1;
        store.set_board(person.client.board_to_keep());
        self.leave(n);
        self.restore(n, store)
    }

    /// What windows have left is found by others.
    ///
    /// # Errors
    /// It can't be read.
    pub fn open_left(&mut self) -> Result<(), String> {
        let waiting = self.people.iter_mut().filter_map(|person| {
            let store = person.left.take()?;
            Some((person.board, person.rights, store))
        });
        self.left.extend(waiting);
        for (board, rights, store) in std::mem::take(&mut self.left) {
            let person = Person::new(board, rights, &mut self.store_dice);
            self.people.push(person);
            self.restore(self.people.len() - 1, store)?;
        }
        Ok(())
    }

    fn disk_weather(&mut self) {
        if self.full_until > 0 && self.tick >= self.full_until {
            self.full_until = 0;
            self.disk.set_faults(self.scenario.disk);
            self.trace.note(|| "the disk has space again".to_owned());
        } else if self.full_until == 0 && self.dice.below(1000) < self.scenario.full_permille {
            self.full_until = self.tick + 1 + self.dice.below(100);
            let bytes_max = self.disk.size() + self.dice.below(2000) as usize;
            self.disk.set_faults(DiskFaults {
                bytes_max,
                ..self.scenario.disk
            });
            self.trace
                .note(|| format!("the disk is full at {bytes_max}"));
        }
    }

    fn start_host(&mut self) -> Result<(), String> {
        // The machine's clock may be another one after it was off.
        let skew = 1_700_000_000_000 + self.dice.below(100_000_000);
        let host = Host::start(&self.disk, &self.scenario, self.tick, skew);
        self.host = Some(host.map_err(|error| format!("the server does not start: {error}"))?);
        self.trace.note(|| "the server starts".to_owned());
        Ok(())
    }

    /// The server ends, if it is to do so before this part of the tick.
    fn may_end(&mut self, part: u64) -> Result<(), String> {
        let Some((at, end)) = self.end else {
            return Ok(());
        };
        if at != part {
            return Ok(());
        }
        self.end = None;
        self.end_host(part, end)
    }

    fn end_host(&mut self, part: u64, end: End) -> Result<(), String> {
        let Some(mut host) = self.host.take() else {
            return Ok(());
        };
        self.tally.crashes_in_load += u64::from(host.is_loading());
        self.tally.crashes_in_sync += u64::from(self.disk.busy_until() > self.tick);
        self.trace
            .note(|| format!("the server ends by {end:?} before part {part}"));
        let mut down = 1 + self.dice.below(40);
        match end {
            End::Power => {
                self.tally.power_failures += 1;
                drop(host);
                self.disk.crash();
            }
            End::Kill => self.tally.kills += 1,
            End::Stop => {
                self.tally.stops += 1;
                let over = host.stop(self.tick, self.scenario.tick_ms);
                down += over - self.tick;
                for notice in host.take_notices(over) {
                    if let Notice::Durable(board, position) = notice
                        && let Some(known) = self.evidence.get_mut(&board)
                    {
                        known.is_durable(position)?;
                    }
                }
            }
        }
        self.host_starts = self.tick + down;
        for n in 0..self.links.len() {
            let link = &mut self.links[n];
            if !link.is_server_open {
                continue;
            }
            link.up.lose();
            if self.dice.chance(50) {
                link.down.lose();
            }
            let learns = self.tick + self.dice.below(30);
            self.server_closes(n, learns);
        }
        Ok(())
    }

    /// The server's end of a link is gone; the client learns of it then.
    fn server_closes(&mut self, n: usize, client_learns: u64) {
        let link = &mut self.links[n];
        link.is_server_open = false;
        link.session = None;
        link.hello = None;
        link.client_learns = Some(client_learns);
    }

    /// The client's end of a link is gone; the server learns of it later, if it is there.
    fn client_closes(&mut self, n: usize, server_learns: u64) {
        let now = self.now_ms();
        let link = &mut self.links[n];
        link.is_client_open = false;
        link.server_learns = Some(server_learns);
        link.down.lose();
        let person = &mut self.people[link.person];
        if person.link == Some(n) {
            person.link = None;
            person.client.disconnected(now);
        }
    }

    /// A link breaks: each end learns of it at some time, and what is on the way may arrive or not.
    fn cut(&mut self, n: usize) {
        let (a, b) = (self.dice.below(40), self.dice.below(40));
        let link = &mut self.links[n];
        for pipe in [&mut link.up, &mut link.down] {
            pipe.end();
            if self.dice.chance(60) {
                pipe.lose();
            }
        }
        link.client_learns.get_or_insert(self.tick + a);
        link.server_learns.get_or_insert(self.tick + b);
    }

    /// A person goes away from their link.
    fn leave(&mut self, n: usize) {
        if let Some(link) = self.people[n].link {
            let learns = self.tick + self.dice.below(60);
            if self.dice.chance(50) {
                self.links[link].up.lose();
            }
            self.client_closes(link, learns);
        }
    }

    /// Ends learn that their links are gone.
    fn links_end(&mut self) {
        for n in 0..self.links.len() {
            let link = &self.links[n];
            let is_due = |at: Option<u64>| at.is_some_and(|at| at <= self.tick);
            let client_learns = link.is_client_open && is_due(link.client_learns);
            let server_learns = link.is_server_open && is_due(link.server_learns);
            if client_learns {
                let learns = self.tick + self.dice.below(40);
                self.client_closes(n, learns);
            }
            if server_learns {
                self.server_loses(n);
            }
        }
    }

    /// The server finds that a client is gone.
    fn server_loses(&mut self, n: usize) {
        let tick = self.tick;
        let link = &mut self.links[n];
        link.is_server_open = false;
        link.up.lose();
        link.hello = None;
        let board = self.people[link.person].board;
        if let Some(session) = link.session.take()
            && let Some(hosted) = self.host.as_mut().and_then(|host| host.room(board))
        {
            hosted.dismiss(session, tick);
            hosted.inputs.push(Input::Leave(session));
        }
    }

    fn clients_receive(&mut self) -> Result<(), String> {
        let now = self.now_ms();
        for n in 0..self.people.len() {
            let person = &mut self.people[n];
            if let Some(at) = person.link {
                let link = &mut self.links[at];
                let (frames, bytes) = link.down.arrived(self.tick);
                if bytes > 0
                    && let Some(session) = link.session
                    && let Some(hosted) =
                        self.host.as_mut().and_then(|host| host.room(person.board))
                {
                    hosted.inputs.push(Input::Written { session, bytes });
                }
                for frame in frames {
                    self.trace
                        .note(|| format!("client {n} gets {}", glance(frame.clone())));
                    person.client.receive(now, frame.clone()).map_err(|error| {
                        let message = ServerMessage::decode(frame);
                        format!("client {n} can't read {message:?}: {error}")
                    })?;
                }
            }
            person.client.tick(now);
            let mut is_over = false;
            while let Some(event) = person.client.poll_event() {
                match event {
                    Event::Closed(reason) if reason.is_retryable() => is_over = true,
                    Event::Closed(reason) => {
                        return Err(format!("client {n} was sent away: {reason:?}"));
                    }
                    Event::LinkDead => {
                        self.tally.dead_links += 1;
                        is_over = true;
                    }
                    Event::History { can_undo, .. } => person.can_undo = can_undo,
                    Event::OutboxFull => return Err(format!("the outbox of client {n} is full")),
                    _ => {}
                }
            }
            let saved = person.client.saved_through();
            if let Some(actor) = person.client.actor()
                && let Some(known) = self.evidence.get_mut(&person.board)
            {
                self.tally.saved += known.actors.entry(actor).or_default().saved(saved);
            }
            if is_over && let Some(at) = person.link {
                self.trace.note(|| format!("client {n} gives link {at} up"));
                let learns = self.tick + self.dice.below(60);
                self.client_closes(at, learns);
                self.people[n].presence = Presence::Here(self.tick + self.dice.below(20));
            }
        }
        Ok(())
    }

    fn people_act(&mut self) -> Result<(), String> {
        let now = self.now_ms();
        for n in 0..self.people.len() {
            let person = &mut self.people[n];
            match person.presence {
                Presence::Here(from) if self.tick >= from && person.link.is_none() => {
                    self.trace
                        .note(|| format!("client {n} connects by link {}", self.links.len()));
                    person.link = Some(self.links.len());
                    person.client.connected(now);
                    self.tally.resumes += u64::from(person.has_been_here);
                    person.has_been_here = true;
                    self.links.push(Link::new(n, person.actor));
                }
                Presence::Offline(until) | Presence::Asleep(until) if self.tick >= until => {
                    person.presence = Presence::Here(self.tick);
                }
                Presence::Asleep(_) => continue,
                Presence::Here(_) | Presence::Offline(_) => {}
            }
            if self.is_healed || !self.dice.chance(self.scenario.busy_percent) {
                continue;
            }
            let known = &self.known[&person.board];
            let (what, is_turn) = person.act(now, known, &mut self.dice)?;
            self.tally.undos += u64::from(is_turn);
            self.trace.note(|| format!("person {n} {what}"));
        }
        Ok(())
    }

    fn clients_send(&mut self) -> Result<(), String> {
        for n in 0..self.people.len() {
            self.take_over(n)?;
            let person = &mut self.people[n];
            if let Some(store) = &mut person.store {
                store.keep(self.tick, &mut person.client, &mut self.store_dice);
            }
            let Some(at) = person.link else { continue };
            while let Some(transmit) = person.client.poll_transmit() {
                if transmit.reliable
                    && let Ok(ClientMessage::Ops { first, ops, .. }) =
                        ClientMessage::decode(transmit.frame.clone())
                {
                    self.trace
                        .note(|| format!("client {n} sends ops {first} and on, {}", ops.len()));
                    let actor = person.actor;
                    let ops: Vec<_> = ops.into_iter().map(|op| op.signed_by(actor)).collect();
                    if let Some(known) = self.evidence.get_mut(&person.board) {
                        let testimony = known.actors.entry(actor).or_default();
                        testimony.sends(actor, first, &ops)?;
                    }
                }
                self.links[at].up.send(
                    self.tick,
                    transmit.reliable,
                    transmit.frame,
                    self.scenario.quality,
                    &mut self.dice,
                );
            }
        }
        Ok(())
    }

    fn server_receives(&mut self) -> Result<(), String> {
        let tick = self.tick;
        for n in 0..self.links.len() {
            if !self.links[n].is_server_open {
                continue;
            }
            let frames = self.links[n].up.arrived(tick).0;
            if self.host.is_none() {
                // Nobody listens.
                if !frames.is_empty() {
                    let learns = tick + self.dice.below(10);
                    self.server_closes(n, learns);
                }
                continue;
            }
            for frame in frames {
                let message = ClientMessage::decode(frame)
                    .map_err(|error| format!("the server can't read a client: {error}"))?;
                self.server_takes(n, message);
            }
        }
        self.host_loads()?;
        for n in 0..self.links.len() {
            self.let_in(n);
        }
        Ok(())
    }

    fn server_takes(&mut self, n: usize, message: ClientMessage) {
        let link = &mut self.links[n];
        let person = &self.people[link.person];
        let (board, actor) = (person.board, link.actor);
        if let ClientMessage::Hello(hello) = message {
            self.trace.note(|| {
                format!(
                    "client {} says hello, sees {:?}, holds {:?}",
                    link.person, hello.view, hello.resume
                )
            });
            link.hello = Some(hello);
            return;
        }
        let Some(session) = link.session else { return };
        if let ClientMessage::Ping(nonce) = message {
            let pong = ServerMessage::Pong(nonce).encode();
            let quality = self.scenario.quality;
            link.down
                .send(self.tick, true, pong, quality, &mut self.dice);
            return;
        }
        if let Some(hosted) = self.host.as_mut().and_then(|host| host.room(board)) {
            hosted.inputs.extend(input_of(session, actor, message));
        }
    }

    fn let_in(&mut self, n: usize) {
        let link = &mut self.links[n];
        let Some(hello) = link.hello.take_if(|_| link.is_server_open) else {
            return;
        };
        let person = &self.people[link.person];
        let (board, actor, rights) = (person.board, link.actor, person.rights);
        let (Some(host), links) = (&mut self.host, &self.links) else {
            return;
        };
        if let Some(hosted) = host.room(board) {
            // Links are numbered as they come.
            let mut present = hosted.sessions.values();
            if present.any(|&other| other > n && links[other].actor == actor) {
                self.trace
                    .note(|| format!("link {n} says hello too late, a newer one is there"));
                self.send_away(n, DisconnectReason::Replaced);
                return;
            }
            let session = hosted.admit(n);
            hosted.inputs.push(join_of(session, actor, rights, *hello));
            self.links[n].session = Some(session);
            return;
        }
        match host.open(board) {
            Ok(()) => self.links[n].hello = Some(hello),
            Err(error) => {
                self.trace
                    .note(|| format!("link {n} is turned away: {error}"));
                self.send_away(n, DisconnectReason::Storage);
            }
        }
    }

    /// Says goodbye on a link and closes it.
    fn send_away(&mut self, n: usize, reason: DisconnectReason) {
        let bye = ServerMessage::Bye(reason).encode();
        let quality = self.scenario.quality;
        self.links[n]
            .down
            .send(self.tick, true, bye, quality, &mut self.dice);
        let learns = self.tick + quality.delay_ticks_max + 1 + self.dice.below(10);
        self.server_closes(n, learns);
    }

    fn host_loads(&mut self) -> Result<(), String> {
        let tick_us = (self.scenario.tick_ms * 1000.0) as u32;
        for board in self.boards.clone() {
            let read_ticks = self.dice.below(8);
            let Some(host) = &mut self.host else {
                return Ok(());
            };
            let loaded = host.load(board, self.tick, read_ticks, tick_us);
            self.tally.fallbacks += std::mem::take(&mut host.fallbacks);
            match loaded {
                None => {}
                Some(Ok(opened)) => {
                    self.tally.loads += 1;
                    self.trace
                        .note(|| format!("board {} is loaded, epoch {}", board.0[0], opened.epoch));
                    if let Some(known) = self.evidence.get_mut(&board) {
                        known.opens(opened.epoch)?;
                    }
                    self.check_board(board)?;
                }
                Some(Err(error)) => {
                    self.trace
                        .note(|| format!("board {} is not loaded: {error}", board.0[0]));
                    for n in 0..self.links.len() {
                        let link = &self.links[n];
                        if link.hello.is_some() && self.people[link.person].board == board {
                            self.send_away(n, DisconnectReason::Storage);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn rooms_step(&mut self) -> Result<(), String> {
        for board in self.boards.clone() {
            let Some(host) = &mut self.host else {
                return Ok(());
            };
            let now = host.now(self.tick, self.scenario.tick_ms);
            match host.step(board, now, &self.scenario) {
                Stepped::Idle => {}
                Stepped::Stalled => self.tally.stalls += 1,
                Stepped::Stepped(output) => self.carry(board, *output)?,
                Stepped::Failed(reason) => {
                    self.trace
                        .note(|| format!("room {} fails: {reason:?}", board.0[0]));
                    let slot = host.rooms.remove(&board);
                    if let Some(Slot::Live(hosted)) = slot {
                        for link in hosted.sessions.into_values() {
                            self.send_away(link, reason);
                        }
                    }
                }
            }
        }
        if let Some(host) = &mut self.host {
            let unloaded = host.unload(self.tick, self.scenario.unload_ticks);
            self.tally.unloads += unloaded;
            if unloaded > 0 {
                self.trace.note(|| format!("{unloaded} rooms are unloaded"));
            }
        }
        Ok(())
    }

    /// What a room's step sends, closes and records.
    fn carry(&mut self, board: BoardId, output: Output) -> Result<(), String> {
        let quality = self.scenario.quality;
        let Some(hosted) = self.host.as_mut().and_then(|host| host.room(board)) else {
            return Ok(());
        };
        for send in &output.sends {
            for session in send.to.as_slice() {
                let Some(&n) = hosted.sessions.get(session) else {
                    continue;
                };
                let link = &mut self.links[n];
                link.down.send(
                    self.tick,
                    send.reliable,
                    send.frame.clone(),
                    quality,
                    &mut self.dice,
                );
                if send.reliable
                    && send.to.as_slice().len() == 1
                    && let Ok(ServerMessage::Ack { rejected, .. }) =
                        ServerMessage::decode(send.frame.clone())
                    && let Some(known) = self.evidence.get_mut(&board)
                {
                    let testimony = known.actors.entry(link.actor).or_default();
                    for (counter, reason) in rejected {
                        self.trace
                            .note(|| format!("op {counter} of link {n} is refused: {reason:?}"));
                        testimony.refused(counter);
                    }
                }
            }
        }
        let mut closed = Vec::new();
        for (session, reason) in output.closes {
            if let Some(&n) = hosted.sessions.get(&session) {
                hosted.dismiss(session, self.tick);
                closed.push((n, reason));
            }
        }
        if let Some(record) = output.record {
            let entries = chalkboard_simulation::LogRecord::decode(&record.bytes)
                .map_err(|error| error.to_string())?
                .entries;
            for entry in &entries {
                self.trace
                    .note(|| format!("room {} takes {}", board.0[0], told(entry)));
            }
            let begun = entries
                .iter()
                .filter(|entry| matches!(entry.op, Op::Begin { .. }))
                .map(|entry| StrokeId(entry.id));
            self.known.entry(board).or_default().extend(begun);
            if let Some(known) = self.evidence.get_mut(&board) {
                known.writes(&record)?;
            }
        }
        for (n, reason) in closed {
            self.trace
                .note(|| format!("link {n} is closed by its room: {reason:?}"));
            let learns = self.tick + quality.delay_ticks_max + 1;
            self.server_closes(n, learns);
        }
        Ok(())
    }

    fn log_writes(&mut self) -> Result<(), String> {
        let Some(host) = &mut self.host else {
            return Ok(());
        };
        let before = host.log.counts();
        host.write(self.tick, self.scenario.tick_ms);
        let after = host.log.counts();
        self.tally.snapshots += after.snapshots - before.snapshots;
        self.has_snapshot_queued = after.snapshots > before.snapshots;
        for notice in host.take_notices(self.tick) {
            match notice {
                Notice::Durable(board, position) => {
                    self.trace
                        .note(|| format!("board {} is durable to {}", board.0[0], position.0));
                    if let Some(known) = self.evidence.get_mut(&board) {
                        known.is_durable(position)?;
                    }
                    if let Some(hosted) = host.room(board) {
                        hosted.set_durable(position);
                    }
                }
                Notice::Refused(board, message) => {
                    self.trace
                        .note(|| format!("board {} is refused: {message}", board.0[0]));
                    if let Some(hosted) = host.room(board) {
                        hosted.set_refused();
                    }
                }
            }
        }
        Ok(())
    }
}

/// A frame, for the trace.
fn glance(frame: Bytes) -> String {
    const CHARS_MAX: usize = 160;
    let list = |pieces: Vec<String>| pieces.join("; ");
    match ServerMessage::decode(frame) {
        Ok(ServerMessage::Chunk(strokes)) => {
            format!("a chunk: {}", list(strokes.iter().map(sketch).collect()))
        }
        Ok(ServerMessage::Updates { tick, updates }) => {
            let updates = updates.iter().map(|update| match update {
                Update::Op(entry, _) => told(entry),
                Update::Growth {
                    position, growth, ..
                } => {
                    format!("{} growth of the stroke at {}", position.0, growth.begin.0)
                }
                Update::End { position, end, .. } => {
                    format!("{} end of the stroke at {}", position.0, end.begin.0)
                }
                Update::Stroke(stroke) => format!("whole: {}", sketch(stroke)),
            });
            format!("updates of {}: {}", tick.0, list(updates.collect()))
        }
        Ok(message) => format!("{message:?}").chars().take(CHARS_MAX).collect(),
        Err(error) => format!("what can't be read: {error}"),
    }
}

/// A stroke in a few words, for the trace and for what differs.
pub fn sketch(stroke: &Stroke) -> String {
    let name = |id: OpId| format!("{:04x}/{}", id.actor.0 >> 48, id.counter);
    let extent = stroke.extent();
    format!(
        "{} at {}, {} points{}, {} by {}, styled by {}, ({}, {}) to ({}, {})",
        name(stroke.id.0),
        stroke.z.0,
        stroke.point_count,
        if stroke.is_finished() { ", whole" } else { "" },
        if stroke.erased.value {
            "hidden"
        } else {
            "shown"
        },
        name(stroke.erased.by),
        name(stroke.style.by),
        extent.min.x,
        extent.min.y,
        extent.max.x,
        extent.max.y,
    )
}

/// An op, for the trace.
fn told(entry: &OpEntry) -> String {
    let name = |id: OpId| format!("{:04x}/{}", id.actor.0 >> 48, id.counter);
    let list = |strokes: &[StrokeId]| {
        let names: Vec<_> = strokes.iter().map(|stroke| name(stroke.0)).collect();
        names.join(" ")
    };
    let what = match &entry.op {
        Op::Begin { ink, .. } => format!("begins, {} points", ink.points().len()),
        Op::Extend { stroke, ink } => {
            format!("extends {}, {} points", name(stroke.0), ink.points().len())
        }
        Op::Finish { stroke } => format!("finishes {}", name(stroke.0)),
        Op::Erase { strokes } => format!("erases {}", list(strokes)),
        Op::Restore { strokes } => format!("restores {}", list(strokes)),
        Op::Restyle { strokes, .. } => format!("restyles {}", list(strokes)),
        Op::TakeBack { taken, former } => {
            let told = |taken: &Taken| format!("{} of {}", taken.counter, name(taken.stroke.0));
            let taken: Vec<_> = taken.iter().map(told).collect();
            format!("takes back {} to {former:?}", taken.join(", "))
        }
    };
    format!("{:4} {} {what}", entry.position.0, name(entry.id))
}

fn join_of(session: SessionId, actor: ActorId, rights: Rights, hello: Hello) -> Input {
    let Hello {
        profile,
        view,
        resume,
        ..
    } = hello;
    Input::Join(Box::new(Join {
        session,
        actor,
        rights,
        profile,
        view,
        view_secret: None,
        resume,
    }))
}

/// What the server's session makes of a message.
fn input_of(session: SessionId, actor: ActorId, message: ClientMessage) -> Option<Input> {
    Some(match message {
        ClientMessage::Ops { first, stamp, ops } => Input::Ops {
            session,
            first,
            stamp,
            ops: ops.into_iter().map(|op| op.signed_by(actor)).collect(),
        },
        ClientMessage::View(view) => Input::View { session, view },
        ClientMessage::NamesWanted(of) => Input::NamesWanted { session, of },
        ClientMessage::Follow(followed) => Input::Follow { session, followed },
        ClientMessage::Present(is_presenting) => Input::Present {
            session,
            is_presenting,
        },
        ClientMessage::CursorsWanted(group) => Input::CursorsWanted { session, group },
        ClientMessage::Profile(profile) => Input::Profile {
            session,
            profile: profile.tidied(),
        },
        ClientMessage::Cursor {
            sequence,
            stamp,
            cursor,
        } => Input::Cursor {
            stamp,
            session,
            sequence,
            cursor,
        },
        ClientMessage::Hello(_) | ClientMessage::Ping(_) => return None,
    })
}
