//! The world: one server, one disk, one network and all people, a tick at a time.
//!
//! Each tick: what arrives at clients, what people do, what clients send, what arrives at the server, rooms, writer.
//! The server may end between any two of those. It knows no checks beyond what is seen in passing.

mod network;
mod rooms;
mod weather;

use std::collections::{BTreeMap, BTreeSet};

use chalkboard_client::bridge::SaveState;
use chalkboard_server::storage::repo::simulated::{NO_FAULTS, SimulatedDisk};
use chalkboard_shared::{BoardId, BoardRect, Rights, StrokeId};

use crate::dice::Dice;
use crate::simulated::evidence::BoardEvidence;
use crate::simulated::host::{Host, Slot};
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
}
