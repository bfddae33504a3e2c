//! A level of detail: where every cursor is among its cells, and which cells are received.

use std::collections::{BTreeMap, BTreeSet};

use chalkboard_shared::SessionId;
use chalkboard_shared::presence::{CursorSample, PresenceCell, PresenceStage};

use super::budget::{Budgets, Told};
use super::cell::Cell;
use super::{Numbers, Pointer};
use crate::output::Output;

/// Cells of one level.
#[derive(Debug)]
pub(super) struct Level {
    level: u8,
    cells: BTreeMap<PresenceCell, Cell>,
    /// Which cell each cursor is in.
    places: BTreeMap<SessionId, PresenceCell>,
    /// Cells that are received, counted by session.
    subscriptions: usize,
    /// Cells with something to tell.
    busy: BTreeSet<PresenceCell>,
}

impl Level {
    /// With all cursors of the room in their places.
    pub(super) fn with(level: u8, pointers: impl Iterator<Item = (SessionId, Pointer)>) -> Self {
        let mut new = Self {
            level,
            cells: BTreeMap::new(),
            places: BTreeMap::new(),
            subscriptions: 0,
            busy: BTreeSet::new(),
        };
        // Nothing is received yet, so no group is made and no number taken.
        let mut numbers = Numbers::default();
        for (session, pointer) in pointers {
            new.put(session, pointer, &mut numbers);
        }
        new
    }

    pub(super) fn has_work(&self) -> bool {
        !self.busy.is_empty()
    }

    /// Cursors in a cell.
    pub(super) fn count_in(&self, cell: PresenceCell) -> usize {
        self.cells.get(&cell).map_or(0, Cell::count)
    }

    /// The cells that somebody is told cursors of.
    pub(super) fn told(&self) -> impl Iterator<Item = &Cell> {
        let cells = self.cells.values();
        cells.filter(|cell| cell.is_received() && cell.count() > 0)
    }

    /// Somebody receives some cell.
    pub(super) const fn is_received(&self) -> bool {
        self.subscriptions > 0
    }

    pub(super) fn subscribe(
        &mut self,
        session: SessionId,
        cell: PresenceCell,
        is_near: bool,
        numbers: &mut Numbers,
    ) {
        let place = self.cells.entry(cell).or_insert_with(|| Cell::new(cell));
        if place.subscribe(session, is_near, numbers) {
            self.subscriptions += 1;
        }
        self.busy.insert(cell);
    }

    pub(super) fn unsubscribe(
        &mut self,
        session: SessionId,
        cell: PresenceCell,
        numbers: &mut Numbers,
    ) {
        if let Some(place) = self.cells.get_mut(&cell)
            && place.unsubscribe(session, numbers)
        {
            self.subscriptions -= 1;
            self.drop_if_unused(cell);
        }
    }

    fn drop_if_unused(&mut self, cell: PresenceCell) {
        if self.cells.get(&cell).is_some_and(Cell::is_unused) {
            self.cells.remove(&cell);
            self.busy.remove(&cell);
        }
    }

    /// A cursor is here now.
    pub(super) fn put(&mut self, session: SessionId, pointer: Pointer, numbers: &mut Numbers) {
        let before = self.places.get(&session).copied();
        let cell = match before {
            Some(cell) if cell.keeps(pointer.state.at) => cell,
            _ => PresenceCell::at(self.level, pointer.state.at),
        };
        if before != Some(cell) {
            if let Some(before) = before {
                self.leave(session, before);
            }
            self.places.insert(session, cell);
        }
        let sample = CursorSample::new(cell, pointer.state, pointer.stamp);
        let place = self.cells.entry(cell).or_insert_with(|| Cell::new(cell));
        place.put(session, sample, numbers);
        if place.is_received() {
            self.busy.insert(cell);
        }
    }

    /// A session's cursor is gone.
    pub(super) fn remove(&mut self, session: SessionId) {
        if let Some(cell) = self.places.remove(&session) {
            self.leave(session, cell);
        }
    }

    fn leave(&mut self, session: SessionId, cell: PresenceCell) {
        if let Some(place) = self.cells.get_mut(&cell) {
            place.leave(session);
            if place.is_received() {
                self.busy.insert(cell);
            }
            self.drop_if_unused(cell);
        }
    }

    /// All groups of a cell, for a session that receives it from now on.
    pub(super) fn send_groups(&self, cell: PresenceCell, session: SessionId, output: &mut Output) {
        if let Some(cell) = self.cells.get(&cell) {
            cell.send_groups(session, output);
        }
    }

    /// One group of a cell, for a session that has lost track of it.
    pub(super) fn send_group(
        &self,
        cell: PresenceCell,
        number: u16,
        session: SessionId,
        output: &mut Output,
    ) {
        if let Some(cell) = self.cells.get(&cell) {
            cell.send_group(number, session, output);
        }
    }

    /// Tells what has changed to those who receive it, and which cell has told what.
    pub(super) fn tell(
        &mut self,
        time_ms: u32,
        stage: PresenceStage,
        budgets: &Budgets,
        numbers: &mut Numbers,
        told: &mut Vec<Told>,
        output: &mut Output,
    ) {
        let cells = &mut self.cells;
        self.busy.retain(|&cell| {
            let start = output.sends.len();
            let restraint = budgets.restraint(cell);
            let is_busy = cells
                .get_mut(&cell)
                .is_some_and(|cell| cell.tell(time_ms, stage, restraint, numbers, output));
            let sends = start..output.sends.len();
            if !sends.is_empty() {
                told.push(Told { cell, sends });
            }
            is_busy
        });
    }
}
