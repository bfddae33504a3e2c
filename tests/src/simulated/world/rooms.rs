//! The server of a world at work: boards are loaded, rooms step, the log is written.

use chalkboard_shared::wire::ServerMessage;
use chalkboard_shared::{BoardId, DisconnectReason, Op, StrokeId};
use chalkboard_simulation::Output;

use super::World;
use crate::simulated::host::{Notice, Slot, Stepped};
use crate::simulated::telling::told;

impl World {
    pub(super) fn host_loads(&mut self) -> Result<(), String> {
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

    pub(super) fn rooms_step(&mut self) -> Result<(), String> {
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
    pub(super) fn carry(&mut self, board: BoardId, output: Output) -> Result<(), String> {
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

    pub(super) fn log_writes(&mut self) -> Result<(), String> {
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
