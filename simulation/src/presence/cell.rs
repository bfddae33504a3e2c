//! A cell: the cursors in it, who receives it, and in what form: groups of cursors, or a map of the crowd.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chalkboard_shared::SessionId;
use chalkboard_shared::presence::{CrowdMap, CursorSample, PresenceCell, PresenceStage};
use chalkboard_shared::wire::ServerMessage;

use super::Numbers;
use super::budget::Restraint;
use super::group::Group;
use crate::output::Output;

/// Cursors in a cell above which they are told as a crowd: at 20 a second each they would be 200 KB a second.
const CURSORS_MAX: usize = 4096;
/// A crowd becomes cursors again when it is so much smaller.
const CURSORS_AGAIN_MAX: usize = CURSORS_MAX / 4 * 3;
/// Time between maps of a crowd, in milliseconds.
const CROWD_INTERVAL_MS: u32 = 500;
/// How long somebody who is alone is still told of their own cursor, in milliseconds: by these keyframes they learn who
/// has gone, though one be lost.
const GOODBYE_MS: u32 = 1000;

/// A square of the plane with its cursors.
#[derive(Debug)]
pub(super) struct Cell {
    cell: PresenceCell,
    /// Cursors in it, and the group that each is in if somebody receives the cell.
    members: BTreeMap<SessionId, Member>,
    near: BTreeSet<SessionId>,
    far: BTreeSet<SessionId>,
    /// `near`, and both, as they are handed on; rebuilt when they change.
    near_list: Arc<[SessionId]>,
    list: Arc<[SessionId]>,
    is_list_stale: bool,
    groups: Vec<Group>,
    crowd: Option<Crowd>,
    /// Since when the one cursor here is that of the one who receives the cell.
    alone_since_ms: Option<u32>,
}

#[derive(Debug)]
struct Member {
    sample: CursorSample,
    group: u16,
}

/// When a crowd was told.
#[derive(Debug, Default)]
struct Crowd {
    told_ms: Option<u32>,
    has_moved: bool,
}

impl Cell {
    pub(super) fn new(cell: PresenceCell) -> Self {
        Self {
            cell,
            members: BTreeMap::new(),
            near: BTreeSet::new(),
            far: BTreeSet::new(),
            near_list: Arc::default(),
            list: Arc::default(),
            is_list_stale: false,
            groups: Vec::new(),
            crowd: None,
            alone_since_ms: None,
        }
    }

    pub(super) fn is_received(&self) -> bool {
        !self.near.is_empty() || !self.far.is_empty()
    }

    /// Cursors in it.
    pub(super) fn count(&self) -> usize {
        self.members.len()
    }

    /// They are told as a crowd.
    pub(super) const fn is_crowd(&self) -> bool {
        self.crowd.is_some()
    }

    pub(super) fn is_unused(&self) -> bool {
        !self.is_received() && self.members.is_empty()
    }

    /// `true` for a session that has not received it before.
    pub(super) fn subscribe(
        &mut self,
        session: SessionId,
        is_near: bool,
        numbers: &mut Numbers,
    ) -> bool {
        let is_first = !self.is_received();
        let (to, from) = if is_near {
            (&mut self.near, &mut self.far)
        } else {
            (&mut self.far, &mut self.near)
        };
        let is_new = !from.remove(&session);
        let is_new = to.insert(session) && is_new;
        self.is_list_stale = true;
        if is_first {
            self.gather(numbers);
        }
        if is_new && let Some(crowd) = &mut self.crowd {
            crowd.told_ms = None;
        }
        is_new
    }

    /// `true` for a session that has received it.
    pub(super) fn unsubscribe(&mut self, session: SessionId, numbers: &mut Numbers) -> bool {
        let was_there = self.near.remove(&session) || self.far.remove(&session);
        self.is_list_stale |= was_there;
        if was_there && !self.is_received() {
            self.scatter(numbers);
            self.crowd = None;
        }
        was_there
    }

    /// Puts all members into groups.
    fn gather(&mut self, numbers: &mut Numbers) {
        for (&session, member) in &mut self.members {
            member.group = enter(&mut self.groups, self.cell, session, member.sample, numbers);
        }
    }

    /// Forgets all groups.
    fn scatter(&mut self, numbers: &mut Numbers) {
        for group in self.groups.drain(..) {
            numbers.give_back(group.number());
        }
    }

    /// A cursor is here.
    pub(super) fn put(&mut self, session: SessionId, sample: CursorSample, numbers: &mut Numbers) {
        let is_grouped = self.is_received() && self.crowd.is_none();
        if let Some(crowd) = &mut self.crowd {
            crowd.has_moved = true;
        }
        if let Some(member) = self.members.get_mut(&session) {
            member.sample = sample;
            if is_grouped && let Some(group) = find(&mut self.groups, member.group) {
                group.put(session, sample);
            }
            return;
        }
        let group = if is_grouped {
            enter(&mut self.groups, self.cell, session, sample, numbers)
        } else {
            0
        };
        self.members.insert(session, Member { sample, group });
    }

    /// A cursor has gone.
    pub(super) fn leave(&mut self, session: SessionId) {
        if let Some(crowd) = &mut self.crowd {
            crowd.has_moved = true;
        }
        if let Some(member) = self.members.remove(&session)
            && let Some(group) = find(&mut self.groups, member.group)
        {
            group.leave(session);
        }
    }

    pub(super) fn send_groups(&self, session: SessionId, output: &mut Output) {
        // Those that are new are sent to all when the tick is told.
        for group in self.groups.iter().filter(|group| !group.is_new()) {
            output.reliable(session, group.whole());
        }
    }

    pub(super) fn send_group(&self, number: u16, session: SessionId, output: &mut Output) {
        let group = self.groups.iter().find(|group| group.number() == number);
        if let Some(group) = group.filter(|group| !group.is_new()) {
            output.reliable(session, group.whole());
        }
    }

    /// Tells what has changed. `true` if something remains to be told.
    pub(super) fn tell(
        &mut self,
        time_ms: u32,
        stage: PresenceStage,
        restraint: Restraint,
        numbers: &mut Numbers,
        output: &mut Output,
    ) -> bool {
        if !self.is_received() {
            return false;
        }
        self.refresh_lists();
        self.choose_form(stage, restraint, numbers);
        if self.crowd.is_some() {
            return self.tell_crowd(time_ms, output);
        }
        let mut has_more = false;
        let alone = self.alone();
        let is_left = if alone.is_some() {
            let since_ms = *self.alone_since_ms.get_or_insert(time_ms);
            time_ms.wrapping_sub(since_ms) >= GOODBYE_MS
        } else {
            self.alone_since_ms = None;
            false
        };
        for group in &mut self.groups {
            if is_left && alone.is_some_and(|session| group.is_only_of(session)) {
                continue;
            }
            has_more |= group.tell(
                time_ms,
                stage,
                restraint.interval_ms,
                &self.near_list,
                &self.list,
                output,
            );
        }
        self.groups.retain(|group| {
            if group.is_over() {
                numbers.give_back(group.number());
            }
            !group.is_over()
        });
        has_more
    }

    /// Somebody who is the only one here, and the only one to be told: people know where they point themselves.
    fn alone(&self) -> Option<SessionId> {
        let [session] = *self.list else { return None };
        (self.members.len() == 1 && self.members.contains_key(&session)).then_some(session)
    }

    fn refresh_lists(&mut self) {
        if core::mem::take(&mut self.is_list_stale) {
            self.near_list = self.near.iter().copied().collect();
            self.list = if self.far.is_empty() {
                self.near_list.clone()
            } else {
                self.near.union(&self.far).copied().collect()
            };
        }
    }

    fn choose_form(&mut self, stage: PresenceStage, restraint: Restraint, numbers: &mut Numbers) {
        let count = self.members.len();
        let is_crowd = stage == PresenceStage::Crowd
            || restraint.is_crowd
            || count > CURSORS_MAX
            || (self.crowd.is_some() && count > CURSORS_AGAIN_MAX);
        if is_crowd && self.crowd.is_none() {
            self.scatter(numbers);
            self.crowd = Some(Crowd::default());
        } else if !is_crowd && self.crowd.is_some() {
            self.crowd = None;
            self.gather(numbers);
        }
    }

    fn tell_crowd(&mut self, time_ms: u32, output: &mut Output) -> bool {
        let Some(crowd) = &mut self.crowd else {
            return false;
        };
        let is_due = crowd
            .told_ms
            .is_none_or(|told| time_ms.wrapping_sub(told) >= CROWD_INTERVAL_MS);
        if crowd.told_ms.is_some() && !crowd.has_moved {
            return false;
        }
        if !is_due {
            return true;
        }
        let mut map = CrowdMap::new(self.cell);
        for member in self.members.values() {
            map.add((member.sample.x, member.sample.y));
        }
        // The first one replaces cursors, and must arrive; so must the last, which comes when nobody has moved since.
        let frame = ServerMessage::Crowd(map).encode();
        if crowd.told_ms.is_none() {
            output.reliable(self.list.clone(), frame);
        } else {
            output.datagram(self.list.clone(), frame);
        }
        crowd.told_ms = Some(time_ms);
        crowd.has_moved = false;
        false
    }
}

fn find(groups: &mut [Group], number: u16) -> Option<&mut Group> {
    groups.iter_mut().find(|group| group.number() == number)
}

/// Puts a cursor into a group that has room, or into a new one.
fn enter(
    groups: &mut Vec<Group>,
    cell: PresenceCell,
    session: SessionId,
    sample: CursorSample,
    numbers: &mut Numbers,
) -> u16 {
    let group = match groups.iter_mut().position(|group| group.has_room()) {
        Some(at) => &mut groups[at],
        None => {
            groups.push(Group::new(numbers.take(cell), cell));
            groups.last_mut().expect("just added")
        }
    };
    group.come(session, sample);
    group.number()
}
