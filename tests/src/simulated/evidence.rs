//! Evidence: what clients have sent and were told, and what the server has promised, to be held against the log.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chalkboard_shared::{ActorId, Op, OpEntry, OpId, Position, StrokeId, Tick};
use chalkboard_simulation::{LogRecord, Record};

use crate::simulated::model::Model;

/// What is known of one actor, however its clients ended.
#[derive(Debug, Default)]
pub struct Testimony {
    /// Clients that have ended; the next was restored from what the one before had kept.
    former: Vec<Life>,
    /// The client that there is.
    life: Life,
    /// Ops that a room has refused.
    refused: BTreeSet<u32>,
    /// Ops that a store had kept when a client was restored from it.
    kept: BTreeSet<u32>,
}

/// One client of an actor.
#[derive(Debug, Default)]
struct Life {
    /// Every op that it has put on the wire.
    sent: BTreeMap<u32, Op>,
    /// All up to this one were shown as saved.
    saved_through: u32,
}

impl Testimony {
    /// Another client goes on from what a store has kept: the ops of these numbers.
    pub fn restored(&mut self, kept: impl IntoIterator<Item = u32>) {
        self.former.push(std::mem::take(&mut self.life));
        self.kept.extend(kept);
    }

    /// What was kept is cleared away: what the room does not have of it is gone.
    pub fn forgotten(&mut self) {
        self.kept.clear();
    }

    /// The client that there is has made the ops of these numbers, and everything is saved.
    ///
    /// # Errors
    /// One was never sent: its number was another's.
    pub fn check_made(
        &self,
        actor: ActorId,
        made: impl IntoIterator<Item = u32>,
    ) -> Result<(), String> {
        let mut made = made.into_iter();
        match made.find(|counter| !self.life.sent.contains_key(counter)) {
            None => Ok(()),
            Some(counter) => Err(format!(
                "{:?} was made and is said to be saved, but was never sent: its number was used before",
                OpId { actor, counter }
            )),
        }
    }

    /// An op was refused as it was made, not only what stood in for it.
    fn was_refused(&self, actor: ActorId, counter: u32) -> bool {
        let id = OpId { actor, counter };
        let is_real = |life: &Life| life.sent.get(&counter).is_some_and(|op| !is_filler(id, op));
        self.refused.contains(&counter) && self.lives().any(is_real)
    }

    fn lives(&self) -> impl Iterator<Item = &Life> + Clone {
        self.former.iter().chain([&self.life])
    }

    /// The client sends ops, numbered on from `first`.
    ///
    /// # Errors
    /// It has sent another op under one of these numbers.
    pub fn sends(&mut self, actor: ActorId, first: u32, ops: &[Op]) -> Result<(), String> {
        for (counter, op) in (first..).zip(ops) {
            let id = OpId { actor, counter };
            // Stands in for a refused op whose refusal the room has forgotten; it is refused again.
            let is_filler = is_filler(id, op);
            match self.life.sent.get(&counter) {
                Some(before) if before != op && !is_filler => {
                    return Err(format!(
                        "{id:?} is sent as {op:?}, and was sent as {before:?}"
                    ));
                }
                Some(_) => {}
                None => drop(self.life.sent.insert(counter, op.clone())),
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
        let more = through.saturating_sub(self.life.saved_through);
        self.life.saved_through += more;
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
    /// What a room has ever taken under a number, though it may have been lost since.
    taken: BTreeMap<OpId, Op>,
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
            let before = self.taken.insert(entry.id, entry.op.clone());
            if before.as_ref().is_some_and(|op| !is_same(op, &entry.op)) {
                return Err(format!(
                    "{:?} is used twice, for {before:?} and for {:?}",
                    entry.id, entry.op
                ));
            }
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
        let lives = self.actors.get(&entry.id.actor).into_iter();
        let mut sent = lives
            .flat_map(Testimony::lives)
            .filter_map(|life| life.sent.get(&entry.id.counter));
        if sent.clone().any(|sent| *sent == entry.op) {
            return Ok(());
        }
        let sent = sent.next();
        Err(format!("{entry:?} is in the log, and was sent as {sent:?}"))
    }

    fn check_saved(&self, records: &[Bytes]) -> Result<(), String> {
        let logged: BTreeMap<OpId, Op> = records
            .iter()
            .filter_map(|bytes| LogRecord::decode(bytes).ok())
            .flat_map(|record| record.entries)
            .map(|entry| (entry.id, entry.op))
            .collect();
        for (&actor, testimony) in &self.actors {
            for life in testimony.lives() {
                for (&counter, op) in life.sent.range(..=life.saved_through) {
                    let id = OpId { actor, counter };
                    let is_there = logged.get(&id) == Some(op);
                    if !is_there && !testimony.refused.contains(&counter) && !is_filler(id, op) {
                        let found = logged.get(&id);
                        return Err(format!(
                            "{id:?} was shown as saved and is not in the log: {op:?}, there is {found:?}"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Every op that a store had kept for a client that came back is in the log, or was refused: at the end.
    ///
    /// # Errors
    /// One that is lost.
    pub fn check_kept(&self, records: &[Bytes]) -> Result<u64, String> {
        let logged: BTreeSet<OpId> = records
            .iter()
            .filter_map(|bytes| LogRecord::decode(bytes).ok())
            .flat_map(|record| record.entries)
            .map(|entry| entry.id)
            .collect();
        let mut count = 0;
        for (&actor, testimony) in &self.actors {
            for &counter in &testimony.kept {
                let id = OpId { actor, counter };
                if !logged.contains(&id) && !testimony.was_refused(actor, counter) {
                    return Err(format!(
                        "{id:?} was kept by a browser and is not in the log"
                    ));
                }
                count += 1;
            }
        }
        Ok(count)
    }
}

/// Takes up a number, and is refused: it names a stroke that can't be.
fn is_filler(id: OpId, op: &Op) -> bool {
    matches!(op, Op::Finish { stroke } if *stroke == StrokeId(id))
}

/// One is the other, or what it was before more points were gathered in it.
fn is_same(one: &Op, other: &Op) -> bool {
    match (one, other) {
        (Op::Begin { ink: a, style: x }, Op::Begin { ink: b, style: y }) if x == y => {
            is_beginning(a.points(), b.points())
        }
        (Op::Extend { ink: a, stroke: x }, Op::Extend { ink: b, stroke: y }) if x == y => {
            is_beginning(a.points(), b.points())
        }
        _ => one == other,
    }
}

fn is_beginning<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    a.starts_with(b) || b.starts_with(a)
}
