//! Presence: cursors, told by cell and level of detail, each encoded once for all who receive the cell.
//!
//! A session receives the cells that its coverage touches, at the level of its zoom: every change in those that its
//! view touches, keyframes alone in the ring around it. Every cursor is in one cell of each level that somebody
//! receives, so that a tick costs what has moved, times the levels in use, and not people times people. Beside that
//! the cursors of people who present are told to everybody, and those of people who are followed to their followers,
//! exactly, wherever they are and however much there is to do. Nothing here is
//! logged and everything may be lost: later keyframes heal it, and who has missed one asks.

mod budget;
mod cell;
mod following;
mod group;
mod level;
mod pace;
mod presenting;

use std::collections::{BTreeMap, BTreeSet};

use bevy_app::{App, Plugin};
use bevy_ecs::prelude::*;
use bevy_ecs::schedule::IntoScheduleConfigs;
use chalkboard_shared::cursor::CursorState;
use chalkboard_shared::presence::PresenceCell;
use chalkboard_shared::{BoardRect, SessionId};

use crate::output::Output;
use crate::people::{Cursor, People, User, Viewport};
use crate::room::{Clock, RoomSystems, RoomTick};
use budget::{Budgets, Outlook, outlook};
use cell::Cell;
use following::Following;
use level::Level;
use pace::ToldPace;
use presenting::Presenting;

/// Questions of one session that are answered in a second, after groups or names: a client that loses many packets asks
/// for a few, and one whose view has changed for the names in it.
const ANSWERS_PER_SECOND: u8 = 8;

/// What a session receives of presence.
#[derive(Component, Debug, Default)]
pub(crate) struct Attention {
    /// Cells, and whether the view touches them.
    cells: Vec<(PresenceCell, bool)>,
    /// The same by importance; sessions that have it in common have their budget in common.
    outlook: Option<Outlook>,
    /// The second of the room's clock in which questions were answered, and how many.
    answered: (u32, u8),
}

impl Attention {
    /// One more question of the session is to be answered.
    pub(crate) fn may_be_answered(&mut self, time_ms: u32) -> bool {
        let second = time_ms / 1000;
        if self.answered.0 != second {
            self.answered = (second, 0);
        }
        self.answered.1 += u8::from(self.answered.1 <= ANSWERS_PER_SECOND);
        self.answered.1 <= ANSWERS_PER_SECOND
    }
}

/// Where a cursor is, and when by its sender's clock.
#[derive(Debug, Clone, Copy)]
struct Pointer {
    state: CursorState,
    stamp: u32,
}

/// Groups in use by number, which says where they are. None has the number 0.
#[derive(Debug, Default)]
struct Numbers {
    cells: BTreeMap<u16, PresenceCell>,
    last: u16,
}

impl Numbers {
    /// A number for a group in a cell. There are far fewer groups than numbers: a group has some cursor of a room's.
    fn take(&mut self, cell: PresenceCell) -> u16 {
        loop {
            self.last = self.last.wrapping_add(1).max(1);
            if let std::collections::btree_map::Entry::Vacant(place) = self.cells.entry(self.last) {
                place.insert(cell);
                return self.last;
            }
        }
    }

    fn give_back(&mut self, number: u16) {
        self.cells.remove(&number);
    }
}

/// All that is known of presence in the room.
#[derive(Resource, Debug, Default)]
pub(crate) struct Presence {
    levels: BTreeMap<u8, Level>,
    numbers: Numbers,
    /// Cursors that have moved since the last tick.
    moved: BTreeSet<SessionId>,
    following: Following,
    presenting: Presenting,
    pace: ToldPace,
    budgets: Budgets,
}

impl Presence {
    /// Something remains to be told though nobody moves.
    pub(crate) fn has_work(&self) -> bool {
        self.following.has_work()
            || self.presenting.has_work()
            || self.levels.values().any(Level::has_work)
    }

    /// A session's cursor is elsewhere.
    pub(crate) fn note_moved(&mut self, session: SessionId) {
        self.moved.insert(session);
    }

    /// A session has come.
    pub(crate) fn enter(&mut self, session: SessionId) {
        self.presenting.enter(session);
    }

    /// A session wants to follow somebody, who may be in the room, or nobody any more.
    pub(crate) fn follow(
        &mut self,
        session: SessionId,
        followed: Option<SessionId>,
        is_here: bool,
    ) {
        if let Some(gone) = followed.filter(|_| !is_here) {
            self.following.follow(session, None, &mut self.numbers);
            self.following.refuse(session, gone);
        } else {
            self.following.follow(session, followed, &mut self.numbers);
        }
    }

    /// A session that may edit begins to present, or ends it.
    pub(crate) fn present(&mut self, session: SessionId, is_presenting: bool) {
        self.presenting.present(session, is_presenting);
    }

    /// A session sees something else.
    pub(crate) fn note_view(&mut self, session: SessionId) {
        self.following.note_view(session);
    }

    /// Cursors are told, and all of them as crowds.
    fn is_crowded(&self) -> bool {
        let mut cells = self.levels.values().flat_map(Level::told).peekable();
        cells.peek().is_some() && cells.all(Cell::is_crowd)
    }

    /// Sessions get so many bytes of presence a second where there are many of them.
    pub(crate) const fn limit(&mut self, session_bytes: u32) {
        self.budgets.set_session_bytes(session_bytes);
    }

    /// A session has left.
    pub(crate) fn forget(&mut self, session: SessionId, attention: &Attention) {
        self.moved.remove(&session);
        self.budgets
            .follow(session, attention.outlook.as_ref(), None);
        self.following.forget(session, &mut self.numbers);
        self.presenting.forget(session);
        for &(cell, _) in &attention.cells {
            self.unsubscribe(session, cell);
        }
        for level in self.levels.values_mut() {
            level.remove(session);
        }
    }

    /// A session asks for a group that it has lost track of.
    pub(crate) fn answer(
        &self,
        session: SessionId,
        attention: &mut Attention,
        number: u16,
        time_ms: u32,
        output: &mut Output,
    ) {
        let Some(&cell) = self.numbers.cells.get(&number) else {
            return;
        };
        if cell == PresenceCell::EVERYWHERE {
            if attention.may_be_answered(time_ms) {
                self.following.send_group(number, session, output);
                self.presenting.send_group(number, session, output);
            }
            return;
        }
        let is_received = attention.cells.iter().any(|(own, _)| *own == cell);
        if is_received
            && let Some(level) = self.levels.get(&cell.level)
            && attention.may_be_answered(time_ms)
        {
            level.send_group(cell, number, session, output);
        }
    }

    fn unsubscribe(&mut self, session: SessionId, cell: PresenceCell) {
        if let Some(level) = self.levels.get_mut(&cell.level) {
            level.unsubscribe(session, cell, &mut self.numbers);
            if !level.is_received() {
                self.levels.remove(&cell.level);
            }
        }
    }
}

/// Tells where people point.
pub(crate) struct PresencePlugin;

impl Plugin for PresencePlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<Presence>();
        app.add_systems(
            RoomTick,
            (
                follow_attention,
                move_cursors,
                tell_cursors,
                tell_exactly,
                tell_pace,
            )
                .chain()
                .in_set(RoomSystems::Encode),
        );
    }
}

/// Sessions whose view or coverage has changed receive other cells.
fn follow_attention(
    people: Res<People>,
    mut sessions: Query<(&Viewport, &mut Attention), Changed<Viewport>>,
    cursors: Query<(&User, &Cursor)>,
    mut presence: ResMut<Presence>,
    mut output: ResMut<Output>,
) {
    if sessions.is_empty() {
        return;
    }
    let presence = presence.as_mut();
    for (&session, &entity) in &people.sessions {
        let Ok((viewport, mut attention)) = sessions.get_mut(entity) else {
            continue;
        };
        let Some(coverage) = viewport.coverage else {
            continue;
        };
        let level = PresenceCell::level_of(coverage);
        let cells: Vec<_> = PresenceCell::touching(level, coverage.rect())
            .map(|cell| (cell, cell.rect().intersects(viewport.view)))
            .collect();
        let outlook = outlook(&cells, viewport.view.center());
        let budgets = &mut presence.budgets;
        budgets.follow(session, attention.outlook.as_ref(), Some(outlook.clone()));
        attention.outlook = Some(outlook);
        if attention.cells == cells {
            continue;
        }
        for &(cell, is_near) in &cells {
            let before = attention.cells.iter().find(|(own, _)| *own == cell);
            if before == Some(&(cell, is_near)) {
                continue;
            }
            let level = presence
                .levels
                .entry(level)
                .or_insert_with(|| Level::with(level, all_pointers(&cursors)));
            level.subscribe(session, cell, is_near, &mut presence.numbers);
            if before.is_none() {
                level.send_groups(cell, session, &mut output);
            }
        }
        let left = attention
            .cells
            .iter()
            .filter(|(cell, _)| cells.iter().all(|(own, _)| own != cell));
        for &(cell, _) in left {
            presence.unsubscribe(session, cell);
        }
        attention.cells = cells;
    }
}

fn all_pointers<'a>(
    cursors: &'a Query<(&User, &Cursor)>,
) -> impl Iterator<Item = (SessionId, Pointer)> + 'a {
    cursors
        .iter()
        .filter_map(|(user, cursor)| Some((user.0.session, cursor.pointer()?)))
}

impl Cursor {
    fn pointer(&self) -> Option<Pointer> {
        Some(Pointer {
            state: self.state?,
            stamp: self.stamp,
        })
    }
}

fn move_cursors(people: Res<People>, cursors: Query<&Cursor>, mut presence: ResMut<Presence>) {
    if presence.moved.is_empty() {
        return;
    }
    let presence = presence.as_mut();
    for session in core::mem::take(&mut presence.moved) {
        let pointer = people
            .sessions
            .get(&session)
            .and_then(|&entity| cursors.get(entity).ok()?.pointer());
        let Some(pointer) = pointer else { continue };
        presence.following.put(session, pointer);
        presence.presenting.put(session, pointer);
        for level in presence.levels.values_mut() {
            level.put(session, pointer, &mut presence.numbers);
        }
    }
}

fn tell_cursors(
    clock: Res<Clock>,
    people: Res<People>,
    mut presence: ResMut<Presence>,
    mut output: ResMut<Output>,
) {
    let presence = presence.as_mut();
    let (time_ms, stage) = (clock.now.uptime_ms, clock.pace.presence);
    let levels = &presence.levels;
    presence
        .budgets
        .plan(time_ms, people.sessions.len(), stage, |cell| {
            levels
                .get(&cell.level)
                .map_or(0, |level| level.count_in(cell))
        });
    let mut told = Vec::new();
    for level in presence.levels.values_mut() {
        level.tell(
            time_ms,
            stage,
            &presence.budgets,
            &mut presence.numbers,
            &mut told,
            &mut output,
        );
    }
    let sessions = people.sessions.len();
    let output = output.as_mut();
    output.deferred = presence
        .budgets
        .spend(time_ms, sessions, stage, &told, &mut output.sends);
}

/// Cursors and views of those who present or are followed.
fn tell_exactly(
    clock: Res<Clock>,
    people: Res<People>,
    sessions: Query<(&Cursor, &Viewport)>,
    mut presence: ResMut<Presence>,
    mut output: ResMut<Output>,
) {
    let Presence {
        following,
        presenting,
        numbers,
        ..
    } = presence.as_mut();
    if !following.has_work() && !presenting.has_work() {
        return;
    }
    let time_ms = clock.now.uptime_ms;
    let of = |session| sessions.get(*people.sessions.get(&session)?).ok();
    let pointer_of = |session| of(session)?.0.pointer();
    let view_of = |session| {
        let (_, viewport) = of(session)?;
        Some(viewport.view.intersection(BoardRect::EVERYTHING)).filter(|view| !view.is_empty())
    };
    let everybody = people.sessions.keys().copied();
    if presenting.tell(time_ms, everybody, pointer_of, numbers, &mut output) {
        following.note_presenters();
    }
    following.tell(
        time_ms,
        presenting,
        view_of,
        pointer_of,
        numbers,
        &mut output,
    );
}

/// Everybody goes by what they are told in this tick from now on.
fn tell_pace(
    mut clock: ResMut<Clock>,
    people: Res<People>,
    mut presence: ResMut<Presence>,
    mut output: ResMut<Output>,
) {
    let is_crowded = presence.is_crowded();
    let Presence {
        following,
        presenting,
        pace,
        ..
    } = presence.as_mut();
    let exact = following.exact().chain(presenting.sessions()).copied();
    let people = &people.sessions;
    pace.tell(&mut clock, is_crowded, exact, people, &mut output);
}
