//! Budgets: how many bytes of presence a session gets a second, and what is left out where that is too few.
//!
//! Sessions that receive the same cells with the same in the middle have one [`Outlook`] and share a [`Purse`], because
//! what is right for one is right for all of them. Keyframes build on each other and are never left out: groups tell
//! them less often where they would be too much, and large groups become crowds, those around a view first
//! ([`Restraint`]). What a tick has moved may be left out, as if it had been lost: what lies in the middle of a view
//! is taken first, and of a cell that does not fit whole, its groups in turn. Ops and answers are no business of this.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use chalkboard_shared::presence::{PresenceCell, PresenceStage};
use chalkboard_shared::wire::is_cursor_delta;
use chalkboard_shared::{BoardPoint, SessionId};

use crate::output::{Deferred, Recipients, Send};

/// Bytes of presence a second that a session gets at the most, where there are many or the room has too much to do.
const SESSION_BYTES: u32 = 12_000;
/// Bytes of presence a second that a room at ease sends at the most: a gigabit. 1,500 people who all see each other move
/// 20 times a second take some 115 million.
const ROOM_BYTES: u32 = 120_000_000;
/// What a purse holds at the most, and owes at the most, in milliseconds of its income.
const SAVED_MS: i64 = 250;
const OWED_MS: i64 = 1000;
/// Bytes of a cursor in a keyframe, those that are far apart in time included.
const KEYFRAME_CURSOR_BYTES: u64 = 3;
/// Time between two keyframes from which on a crowd tells more, in milliseconds, and below which cursors come back.
const CROWD_FROM_MS: u64 = 2000;
const CROWD_UNTIL_MS: u64 = 1500;
/// Fewer cursors than that in a cell are never told as a crowd for the budget's sake.
const CROWD_CURSORS_MIN: usize = 128;
/// How often it is looked at what cells cost.
const PLAN_INTERVAL_MS: u32 = 500;

/// The cells that a session receives, the most important ones first, and whether its view touches them.
pub(super) type Outlook = Arc<[(PresenceCell, bool)]>;

/// What somebody receives who looks at a point: nearest first, what the view touches before what is around it.
pub(super) fn outlook(cells: &[(PresenceCell, bool)], middle: BoardPoint) -> Outlook {
    let mut cells = cells.to_vec();
    cells.sort_by_key(|&(cell, is_near)| {
        let own = PresenceCell::at(cell.level, middle);
        let columns = cell.column.abs_diff(own.column);
        (!is_near, columns.max(cell.row.abs_diff(own.row)), cell)
    });
    cells.into()
}

/// What a cell must keep to for the sake of those who receive it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Restraint {
    /// Time between keyframes, in milliseconds, at the least.
    pub(super) interval_ms: u32,
    /// Its cursors are told as a crowd.
    pub(super) is_crowd: bool,
}

/// What a cell has told in a tick: which of the sends.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) cell: PresenceCell,
    pub(super) sends: Range<usize>,
}

/// What sessions of one outlook may still spend.
#[derive(Debug)]
struct Purse {
    sessions: BTreeSet<SessionId>,
    /// Bytes; less than none where more had to be told.
    bytes: i64,
    /// The group whose turn it is in the cell that does not fit whole.
    turn: usize,
}

/// The purses of a room.
#[derive(Debug)]
pub(super) struct Budgets {
    session_bytes: u32,
    purses: BTreeMap<Outlook, Purse>,
    restraints: BTreeMap<PresenceCell, Restraint>,
    planned_ms: Option<u32>,
    spent_ms: Option<u32>,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            session_bytes: SESSION_BYTES,
            purses: BTreeMap::new(),
            restraints: BTreeMap::new(),
            planned_ms: None,
            spent_ms: None,
        }
    }
}

/// What a cell has told, by what becomes of it.
#[derive(Default)]
struct Bill {
    /// Bytes that all get who receive the cell.
    fixed: i64,
    /// Frames that may be left out, by their place among the sends, and their bytes.
    moved: Vec<(usize, i64)>,
}

impl Budgets {
    /// Sessions get so many bytes a second where there are many of them.
    pub(super) const fn set_session_bytes(&mut self, bytes: u32) {
        self.session_bytes = bytes;
    }

    /// A session has another outlook, has come, or gone.
    pub(super) fn follow(
        &mut self,
        session: SessionId,
        before: Option<&Outlook>,
        now: Option<Outlook>,
    ) {
        if before == now.as_ref() {
            return;
        }
        if let Some(before) = before
            && let Some(purse) = self.purses.get_mut(before)
        {
            purse.sessions.remove(&session);
            if purse.sessions.is_empty() {
                self.purses.remove(before);
            }
        }
        if let Some(now) = now {
            let purse = self.purses.entry(now).or_insert_with(|| Purse {
                sessions: BTreeSet::new(),
                bytes: 0,
                turn: 0,
            });
            purse.sessions.insert(session);
        }
    }

    /// Bytes a second for each of so many sessions.
    fn income(&self, sessions: usize, stage: PresenceStage) -> u32 {
        let shared = ROOM_BYTES / u32::try_from(sessions.max(1)).unwrap_or(u32::MAX);
        if stage == PresenceStage::Full {
            self.session_bytes.max(shared)
        } else {
            self.session_bytes
        }
    }

    /// What a cell must keep to.
    pub(super) fn restraint(&self, cell: PresenceCell) -> Restraint {
        self.restraints.get(&cell).copied().unwrap_or_default()
    }

    /// Sees from time to time to it that keyframes take no more than two thirds of what there is. `count` tells how many
    /// cursors are in a cell.
    pub(super) fn plan(
        &mut self,
        time_ms: u32,
        sessions: usize,
        stage: PresenceStage,
        count: impl Fn(PresenceCell) -> usize,
    ) {
        let is_due = |planned: u32| time_ms.wrapping_sub(planned) >= PLAN_INTERVAL_MS;
        if !self.planned_ms.is_none_or(is_due) {
            return;
        }
        self.planned_ms = Some(time_ms);
        let income = u64::from(self.income(sessions, stage) / 3 * 2).max(1);
        let interval_ms = |cursors: usize| cursors as u64 * KEYFRAME_CURSOR_BYTES * 1000 / income;
        let before = std::mem::take(&mut self.restraints);
        let mut counts = Vec::new();
        for outlook in self.purses.keys() {
            counts.clear();
            counts.extend(outlook.iter().map(|&(cell, _)| count(cell)));
            let of = |wanted: bool| {
                let cells = outlook.iter().zip(&counts);
                cells
                    .filter(move |((_, is_near), _)| *is_near == wanted)
                    .map(|(_, count)| *count)
                    .sum::<usize>()
            };
            let near = of(true);
            let all = near + of(false);
            if interval_ms(all) == 0 {
                continue;
            }
            let mut told = 0;
            let mut crowds = Vec::new();
            for (&(cell, is_near), &count) in outlook.iter().zip(&counts) {
                let was_crowd = before.get(&cell).is_some_and(|before| before.is_crowd);
                let limit_ms = if was_crowd {
                    CROWD_UNTIL_MS
                } else {
                    CROWD_FROM_MS
                };
                let cost_ms = interval_ms(if is_near { near } else { all });
                if count >= CROWD_CURSORS_MIN && cost_ms > limit_ms {
                    crowds.push(cell);
                } else {
                    told += count;
                }
            }
            let interval_ms = u32::try_from(interval_ms(told)).unwrap_or(u32::MAX);
            for &(cell, _) in outlook.iter() {
                let restraint = self.restraints.entry(cell).or_default();
                restraint.interval_ms = restraint.interval_ms.max(interval_ms);
                restraint.is_crowd |= crowds.contains(&cell);
            }
        }
    }

    /// Pays for what cells have told in a tick, and takes those off the recipients of a frame who can't.
    pub(super) fn spend(
        &mut self,
        time_ms: u32,
        sessions: usize,
        stage: PresenceStage,
        told: &[Told],
        sends: &mut Vec<Send>,
    ) -> Deferred {
        let income = i64::from(self.income(sessions, stage));
        let since_ms = self.spent_ms.map_or(0, |spent| time_ms.wrapping_sub(spent));
        self.spent_ms = Some(time_ms);
        let income_now = income * i64::from(since_ms.min(1000)) / 1000;
        let (saved, owed) = (income * SAVED_MS / 1000, income * OWED_MS / 1000);
        let bills = bills(told, sends);
        let mut left_out: BTreeMap<usize, Vec<SessionId>> = BTreeMap::new();
        let mut deferred = Deferred::default();
        for (outlook, purse) in &mut self.purses {
            purse.bytes = (purse.bytes + income_now).min(saved);
            for (place, bytes) in purse.pay(outlook, &bills) {
                let sessions = purse.sessions.len() as u64;
                deferred.frames += sessions;
                deferred.bytes += sessions * bytes.unsigned_abs();
                left_out.entry(place).or_default().extend(&purse.sessions);
            }
            purse.bytes = purse.bytes.max(-owed);
        }
        if !left_out.is_empty() {
            take_off(&mut left_out, sends);
        }
        deferred
    }
}

impl Purse {
    /// Pays for a tick; answers what it can't pay.
    fn pay(
        &mut self,
        outlook: &Outlook,
        bills: &BTreeMap<PresenceCell, Bill>,
    ) -> Vec<(usize, i64)> {
        let mut unpaid = Vec::new();
        if bills.is_empty() {
            return unpaid;
        }
        let owing = || {
            outlook
                .iter()
                .filter_map(|(cell, is_near)| Some((bills.get(cell)?, *is_near)))
        };
        self.bytes -= owing().map(|(bill, _)| bill.fixed).sum::<i64>();
        for (bill, _) in owing().filter(|(_, is_near)| *is_near) {
            let count = bill.moved.len();
            let all: i64 = bill.moved.iter().map(|(_, bytes)| *bytes).sum();
            if unpaid.is_empty() && all <= self.bytes {
                self.bytes -= all;
                continue;
            }
            let has_turn = unpaid.is_empty();
            let start = if count == 0 { 0 } else { self.turn % count };
            let turns = bill.moved[start..].iter().chain(&bill.moved[..start]);
            let mut taken = 0;
            for &(place, bytes) in turns {
                if has_turn && unpaid.is_empty() && bytes <= self.bytes {
                    self.bytes -= bytes;
                    taken += 1;
                } else {
                    unpaid.push((place, bytes));
                }
            }
            if has_turn {
                self.turn = start + taken;
            }
        }
        unpaid
    }
}

fn bills(told: &[Told], sends: &[Send]) -> BTreeMap<PresenceCell, Bill> {
    let mut bills: BTreeMap<PresenceCell, Bill> = BTreeMap::new();
    for Told { cell, sends: own } in told {
        let bill = bills.entry(*cell).or_default();
        for (send, place) in sends[own.clone()].iter().zip(own.start..) {
            let bytes = send.frame.len() as i64;
            if !send.reliable && is_cursor_delta(&send.frame) {
                bill.moved.push((place, bytes));
            } else {
                bill.fixed += bytes;
            }
        }
    }
    bills
}

/// Takes sessions off the recipients of frames; a frame for nobody goes.
fn take_off(left_out: &mut BTreeMap<usize, Vec<SessionId>>, sends: &mut Vec<Send>) {
    for (&place, without) in left_out.iter_mut() {
        without.sort_unstable();
        let to = sends[place].to.as_slice();
        let left: Arc<[SessionId]> = to
            .iter()
            .copied()
            .filter(|session| without.binary_search(session).is_err())
            .collect();
        sends[place].to = Recipients::Many(left);
    }
    let mut place = 0;
    sends.retain(|send| {
        let is_empty = left_out.contains_key(&place) && send.to.as_slice().is_empty();
        place += 1;
        !is_empty
    });
}

#[cfg(test)]
mod tests;
