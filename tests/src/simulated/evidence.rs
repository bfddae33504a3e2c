//! Evidence: what clients have sent and were told, and what the server has promised, to be held against the log.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chalkboard_shared::{ActorId, Op, OpEntry, OpId, Position, StrokeId, Tick};
use chalkboard_simulation::{LogRecord, Record};

use crate::simulated::model::Model;

/// What is known of one actor, however its client ended.
#[derive(Debug, Default)]
pub struct Testimony {
    /// Every op that its client has put on the wire.
    sent: BTreeMap<u32, Op>,
    /// Those that a room has refused.
    refused: BTreeSet<u32>,
    /// All up to this one were shown as saved.
    saved_through: u32,
}

impl Testimony {
    /// The client sends ops, numbered on from `first`.
    ///
    /// # Errors
    /// It has sent another op under one of these numbers.
    pub fn sends(&mut self, actor: ActorId, first: u32, ops: &[Op]) -> Result<(), String> {
        for (counter, op) in (first..).zip(ops) {
            let id = OpId { actor, counter };
            // Stands in for a refused op whose refusal the room has forgotten; it is refused again.
            let is_filler = matches!(op, Op::Finish { stroke } if *stroke == StrokeId(id));
            match self.sent.get(&counter) {
                Some(before) if before != op && !is_filler => {
                    return Err(format!(
                        "{id:?} is sent as {op:?}, and was sent as {before:?}"
                    ));
                }
                Some(_) => {}
                None => drop(self.sent.insert(counter, op.clone())),
            }
        }
        Ok(())
    }

    /// A room refuses an op.
    pub fn refused(&mut self, counter: u32) {
        self.refused.insert(counter);
    }

    /// The client shows everything up to here as saved; answers how many ops more than before.
    pub fn saved(&mut self, through: u32) -> u64 {
        let more = through.saturating_sub(self.saved_through);
        self.saved_through += more;
        more.into()
    }
}

/// What is known of one board.
#[derive(Debug, Default)]
pub struct BoardEvidence {
    /// Who has changed it.
    pub actors: BTreeMap<ActorId, Testimony>,
    /// What its room has written, by position; those beyond what is durable may come to nothing.
    written: BTreeMap<u64, Bytes>,
    /// Everything up to here was reported as durable.
    durable: Position,
    /// The last tick in which something was written that is durable.
    epoch: u64,
}

impl BoardEvidence {
    /// The room has made a record.
    ///
    /// # Errors
    /// It writes over what is durable, or makes no sense.
    pub fn writes(&mut self, record: &Record) -> Result<(), String> {
        let read = LogRecord::decode(&record.bytes).map_err(|error| error.to_string())?;
        if record.first <= self.durable {
            return Err(format!(
                "the room writes at {}, and {} is durable",
                record.first.0, self.durable.0
            ));
        }
        let first = read.entries.first().map(|entry| entry.position);
        let last = read.entries.last().map(|entry| entry.position);
        if (first, last) != (Some(record.first), Some(record.last)) {
            return Err(format!("a record says it is {first:?} to {last:?}"));
        }
        self.written.split_off(&record.first.0);
        for entry in &read.entries {
            self.written.insert(entry.position.0, entry.encode_body());
        }
        Ok(())
    }

    /// The log reports that everything up to here is durable.
    ///
    /// # Errors
    /// Nobody has written that, or less than before is durable.
    pub fn is_durable(&mut self, position: Position) -> Result<(), String> {
        if position < self.durable {
            return Err(format!(
                "{} is durable, and {} was",
                position.0, self.durable.0
            ));
        }
        if self.written.last_key_value().map_or(0, |(last, _)| *last) < position.0 {
            return Err(format!("{} is durable, and never written", position.0));
        }
        self.durable = position;
        Ok(())
    }

    /// What was reported as durable.
    pub const fn durable(&self) -> Position {
        self.durable
    }

    /// The board is loaded for this time.
    ///
    /// # Errors
    /// It was loaded under this number before.
    pub fn opens(&mut self, epoch: u64) -> Result<(), String> {
        if epoch <= self.epoch {
            return Err(format!("epoch {epoch} is opened, and {} was", self.epoch));
        }
        self.epoch = epoch;
        Ok(())
    }

    /// Holds a whole log against everything that is known; answers what it makes of the board.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check_log(&mut self, records: &[Bytes]) -> Result<Model, String> {
        let mut model = Model::default();
        let mut last = Position(0);
        let mut last_tick = Tick(0);
        let mut counters: BTreeMap<ActorId, u32> = BTreeMap::new();
        for bytes in records {
            let record = LogRecord::decode(bytes).map_err(|error| error.to_string())?;
            if record.tick <= last_tick {
                return Err(format!(
                    "tick {} follows tick {} in the log",
                    record.tick.0, last_tick.0
                ));
            }
            last_tick = record.tick;
            for entry in &record.entries {
                if entry.position != last.next() {
                    return Err(format!(
                        "position {} follows {} in the log",
                        entry.position.0, last.0
                    ));
                }
                last = entry.position;
                let counter = counters.entry(entry.id.actor).or_default();
                if entry.id.counter <= *counter {
                    return Err(format!(
                        "{:?} is in the log after {counter} of the same actor: twice, or out of order",
                        entry.id
                    ));
                }
                *counter = entry.id.counter;
                self.check_entry(entry)?;
                model.apply(entry)?;
            }
        }
        if last < self.durable {
            return Err(format!(
                "{} was reported as durable, and the log ends at {}",
                self.durable.0, last.0
            ));
        }
        self.check_saved(records)?;
        // A log may end with what was never reported; from now on it is what happened.
        Ok(model)
    }

    fn check_entry(&self, entry: &OpEntry) -> Result<(), String> {
        let written = self.written.get(&entry.position.0);
        if entry.position <= self.durable && written != Some(&entry.encode_body()) {
            return Err(format!(
                "position {} holds {entry:?}, which is not what was durable there",
                entry.position.0
            ));
        }
        let actor = self.actors.get(&entry.id.actor);
        match actor.and_then(|actor| actor.sent.get(&entry.id.counter)) {
            Some(sent) if *sent == entry.op => Ok(()),
            sent => Err(format!("{entry:?} is in the log, and was sent as {sent:?}")),
        }
    }

    fn check_saved(&self, records: &[Bytes]) -> Result<(), String> {
        let logged: BTreeSet<OpId> = records
            .iter()
            .filter_map(|bytes| LogRecord::decode(bytes).ok())
            .flat_map(|record| record.entries)
            .map(|entry| entry.id)
            .collect();
        for (&actor, testimony) in &self.actors {
            let saved = testimony.sent.range(..=testimony.saved_through);
            for (&counter, op) in saved {
                let id = OpId { actor, counter };
                if !testimony.refused.contains(&counter) && !logged.contains(&id) {
                    return Err(format!(
                        "{id:?} was shown as saved and is not in the log: {op:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}
