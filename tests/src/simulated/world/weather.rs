//! What befalls a world: cuts, crashes of clients and of the server, windows that take over from others, bad disks.

use chalkboard_client::bridge::SaveState;
use chalkboard_server::storage::repo::simulated::DiskFaults;

use super::{End, World};
use crate::simulated::host::{Host, Notice};
use crate::simulated::person::{Person, Presence};
use crate::simulated::store::Store;

impl World {
    /// What goes wrong by itself.
    pub(super) fn weather(&mut self) -> Result<(), String> {
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
    pub(super) fn client_crashes(&mut self, n: usize) -> Result<(), String> {
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
    pub(super) fn restore(&mut self, n: usize, store: Store) -> Result<(), String> {
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
    pub(super) fn take_over(&mut self, n: usize) -> Result<(), String> {
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

    pub(super) fn disk_weather(&mut self) {
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

    pub(super) fn start_host(&mut self) -> Result<(), String> {
        // The machine's clock may be another one after it was off.
        let skew = 1_700_000_000_000 + self.dice.below(100_000_000);
        let host = Host::start(&self.disk, &self.scenario, self.tick, skew);
        self.host = Some(host.map_err(|error| format!("the server does not start: {error}"))?);
        self.trace.note(|| "the server starts".to_owned());
        Ok(())
    }

    /// The server ends, if it is to do so before this part of the tick.
    pub(super) fn may_end(&mut self, part: u64) -> Result<(), String> {
        let Some((at, end)) = self.end else {
            return Ok(());
        };
        if at != part {
            return Ok(());
        }
        self.end = None;
        self.end_host(part, end)
    }

    pub(super) fn end_host(&mut self, part: u64, end: End) -> Result<(), String> {
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
}
