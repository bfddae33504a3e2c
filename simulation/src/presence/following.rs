//! Who follows whom: what they see is told to those who follow them, and where they point is, exactly.
//!
//! Each of the most followed is a group of cursors of their own, encoded once for all who follow them; whoever presents
//! needs none, because everybody is told of them already ([`super::presenting`]). Whom nobody follows costs nothing.

use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use chalkboard_shared::limits::FOLLOWED_EXACTLY_MAX;
use chalkboard_shared::presence::{PresenceCell, PresenceStage};
use chalkboard_shared::wire::{FollowNews, ServerMessage};
use chalkboard_shared::{BoardRect, SessionId};

use super::group::{EXACT_INTERVAL_MS, Group};
use super::presenting::{Presenting, exact};
use super::{Numbers, Pointer};
use crate::output::{Output, Recipients};

/// People who follow one another in a row, at the most: whether somebody would follow themselves is found within so many
/// steps.
const CHAIN_MAX: usize = 16;
/// Time between two choices of the most followed, where not all can be, in milliseconds.
const CHOSEN_EVERY_MS: u32 = 500;
/// Views of those beyond the most followed that are told in a tick.
const OTHER_VIEWS_PER_TICK: usize = 64;
/// A view that has rested so long is told once more, and surely, in milliseconds.
const VIEW_RESTS_MS: u32 = 200;

/// All that is known of following in the room.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// Whom each session follows.
    wishes: BTreeMap<SessionId, SessionId>,
    followed: BTreeMap<SessionId, Followed>,
    /// Followers who were not told yet in what form, by whom they follow.
    beginning: BTreeMap<SessionId, BTreeSet<SessionId>>,
    /// Those among the followed who have a group.
    exact: BTreeSet<SessionId>,
    is_choice_stale: bool,
    chosen_ms: Option<u32>,
    /// Followed people who see something else since it was told.
    views: BTreeSet<SessionId>,
    /// Of those beyond the most followed the last whose view was told: the next ones have their turn.
    turn: Option<SessionId>,
    /// Of the most followed when a view was told that may have been lost.
    unsure: BTreeMap<SessionId, u32>,
    /// Whom to tell that they do not follow them, or no more.
    ended: Vec<(Recipients, SessionId)>,
    is_busy: bool,
}

/// Somebody who is followed.
#[derive(Debug, Default)]
struct Followed {
    followers: BTreeSet<SessionId>,
    /// As they are handed on; rebuilt when they change.
    list: Arc<[SessionId]>,
    is_list_stale: bool,
    group: Option<Group>,
}

impl Followed {
    fn refresh_list(&mut self) {
        if core::mem::take(&mut self.is_list_stale) {
            self.list = self.followers.iter().copied().collect();
        }
    }

    /// What there is to see of them.
    fn news(
        &self,
        session: SessionId,
        view_of: impl Fn(SessionId) -> Option<BoardRect>,
    ) -> Option<Bytes> {
        let group = self.group.as_ref().map_or(0, Group::number);
        let view = view_of(session)?;
        let news = Some(FollowNews { group, view });
        Some(ServerMessage::Followed { session, news }.encode())
    }
}

impl Following {
    pub(super) fn has_work(&self) -> bool {
        self.is_busy
            || self.is_choice_stale
            || !self.beginning.is_empty()
            || !self.views.is_empty()
            || !self.unsure.is_empty()
            || !self.ended.is_empty()
    }

    /// A session follows somebody else, who is in the room, or nobody any more.
    pub(super) fn follow(
        &mut self,
        session: SessionId,
        followed: Option<SessionId>,
        numbers: &mut Numbers,
    ) {
        self.end(session, numbers);
        let Some(followed) = followed else { return };
        if self.leads_to(followed, session) {
            self.refuse(session, followed);
            return;
        }
        self.wishes.insert(session, followed);
        let entry = self.followed.entry(followed).or_default();
        entry.followers.insert(session);
        self.beginning.entry(followed).or_default().insert(session);
        entry.is_list_stale = true;
        self.is_choice_stale = true;
    }

    /// A session can't follow that one.
    pub(super) fn refuse(&mut self, session: SessionId, followed: SessionId) {
        self.ended.push((session.into(), followed));
    }

    /// Whoever follows the first would see what the second does; or the way there is too long to tell.
    fn leads_to(&self, first: SessionId, second: SessionId) -> bool {
        let mut at = first;
        for _ in 0..CHAIN_MAX {
            if at == second {
                return true;
            }
            let Some(next) = self.wishes.get(&at) else {
                return false;
            };
            at = *next;
        }
        true
    }

    fn end(&mut self, session: SessionId, numbers: &mut Numbers) {
        let Some(followed) = self.wishes.remove(&session) else {
            return;
        };
        let Some(entry) = self.followed.get_mut(&followed) else {
            return;
        };
        entry.followers.remove(&session);
        if let Some(beginning) = self.beginning.get_mut(&followed) {
            beginning.remove(&session);
        }
        entry.is_list_stale = true;
        self.is_choice_stale = true;
        if entry.followers.is_empty() {
            self.drop_followed(followed, numbers);
        }
    }

    fn drop_followed(&mut self, followed: SessionId, numbers: &mut Numbers) -> Option<Followed> {
        let entry = self.followed.remove(&followed)?;
        if let Some(group) = &entry.group {
            numbers.give_back(group.number());
        }
        self.beginning.remove(&followed);
        self.exact.remove(&followed);
        self.views.remove(&followed);
        self.unsure.remove(&followed);
        self.is_choice_stale = true;
        Some(entry)
    }

    /// A session has left.
    pub(super) fn forget(&mut self, session: SessionId, numbers: &mut Numbers) {
        self.end(session, numbers);
        if let Some(entry) = self.drop_followed(session, numbers) {
            for follower in &entry.followers {
                self.wishes.remove(follower);
            }
            let followers: Arc<[_]> = entry.followers.into_iter().collect();
            self.ended.push((followers.into(), session));
        }
    }

    /// A session sees something else.
    pub(super) fn note_view(&mut self, session: SessionId) {
        if self.followed.contains_key(&session) {
            self.views.insert(session);
        }
    }

    /// Others present than before: who needs a group of their own is another question now.
    pub(super) fn note_presenters(&mut self) {
        self.is_choice_stale |= !self.followed.is_empty();
    }

    /// Those who are told exactly to their followers, in a group of their own.
    pub(super) fn exact(&self) -> impl Iterator<Item = &SessionId> {
        self.exact.iter()
    }

    /// A session's cursor is elsewhere.
    pub(super) fn put(&mut self, session: SessionId, pointer: Pointer) {
        if let Some(entry) = self.followed.get_mut(&session)
            && let Some(group) = &mut entry.group
        {
            group.come(session, exact(pointer));
            self.is_busy = true;
        }
    }

    /// The group of the one whom a session follows, if this is its number.
    pub(super) fn send_group(&self, number: u16, session: SessionId, output: &mut Output) {
        let followed = self.wishes.get(&session);
        let group = followed.and_then(|followed| self.followed.get(followed)?.group.as_ref());
        if let Some(group) = group
            && group.number() == number
            && !group.is_new()
        {
            output.reliable(session, group.whole());
        }
    }

    /// Tells what has changed.
    pub(super) fn tell(
        &mut self,
        time_ms: u32,
        presenting: &Presenting,
        view_of: impl Fn(SessionId) -> Option<BoardRect>,
        pointer_of: impl Fn(SessionId) -> Option<Pointer>,
        numbers: &mut Numbers,
        output: &mut Output,
    ) {
        for (to, session) in self.ended.drain(..) {
            let news = None;
            output.reliable(to, ServerMessage::Followed { session, news }.encode());
        }
        if self.is_choice_stale {
            self.choose(time_ms, presenting, pointer_of, numbers);
        }
        self.tell_beginning(&view_of, output);
        self.tell_views(time_ms, presenting, view_of, output);
        self.is_busy = false;
        for session in &self.exact {
            let Some(entry) = self.followed.get_mut(session) else {
                continue;
            };
            entry.refresh_list();
            if let Some(group) = &mut entry.group {
                let (stage, list) = (PresenceStage::Full, &entry.list);
                self.is_busy |= group.tell(time_ms, stage, EXACT_INTERVAL_MS, list, list, output);
            }
        }
    }

    /// Gives groups to those who are to have one, at once where there are enough, and now and then where there are not.
    fn choose(
        &mut self,
        time_ms: u32,
        presenting: &Presenting,
        pointer_of: impl Fn(SessionId) -> Option<Pointer>,
        numbers: &mut Numbers,
    ) {
        let is_early = self
            .chosen_ms
            .is_some_and(|chosen| time_ms.wrapping_sub(chosen) < CHOSEN_EVERY_MS);
        if self.followed.len() > FOLLOWED_EXACTLY_MAX && is_early {
            return;
        }
        self.is_choice_stale = false;
        self.chosen_ms = Some(time_ms);
        let wanting = self.followed.iter();
        let mut wanting: Vec<_> = wanting
            .filter(|(session, _)| !presenting.sessions().contains(session))
            .map(|(session, entry)| (core::cmp::Reverse(entry.followers.len()), *session))
            .collect();
        if wanting.len() > FOLLOWED_EXACTLY_MAX {
            wanting.select_nth_unstable(FOLLOWED_EXACTLY_MAX);
            wanting.truncate(FOLLOWED_EXACTLY_MAX);
        }
        let chosen: BTreeSet<_> = wanting.into_iter().map(|(_, session)| session).collect();
        let before = core::mem::replace(&mut self.exact, chosen);
        for session in before.difference(&self.exact) {
            if let Some(entry) = self.followed.get_mut(session) {
                if let Some(group) = entry.group.take() {
                    numbers.give_back(group.number());
                }
                self.beginning.insert(*session, entry.followers.clone());
            }
        }
        for session in self.exact.difference(&before) {
            if let Some(entry) = self.followed.get_mut(session) {
                let number = numbers.take(PresenceCell::EVERYWHERE);
                let mut group = Group::new(number, PresenceCell::EVERYWHERE);
                if let Some(pointer) = pointer_of(*session) {
                    group.come(*session, exact(pointer));
                }
                entry.group = Some(group);
                self.beginning.insert(*session, entry.followers.clone());
            }
        }
    }

    /// Tells followers in what form they follow from now on, and what there is to see.
    fn tell_beginning(
        &mut self,
        view_of: impl Fn(SessionId) -> Option<BoardRect>,
        output: &mut Output,
    ) {
        for (session, followers) in core::mem::take(&mut self.beginning) {
            let Some(entry) = self
                .followed
                .get(&session)
                .filter(|_| !followers.is_empty())
            else {
                continue;
            };
            let to: Arc<[_]> = followers.into_iter().collect();
            if let Some(frame) = entry.news(session, &view_of) {
                output.reliable(to.clone(), frame);
            }
            let group = entry.group.as_ref();
            // One that is new is sent to all when the tick is told.
            if let Some(group) = group.filter(|group| !group.is_new()) {
                output.reliable(to, group.whole());
            }
        }
    }

    /// Tells followers of views that have changed: of the most followed and of those who present at once, of others in
    /// turn.
    fn tell_views(
        &mut self,
        time_ms: u32,
        presenting: &Presenting,
        view_of: impl Fn(SessionId) -> Option<BoardRect>,
        output: &mut Output,
    ) {
        let rested = |told: u32| time_ms.wrapping_sub(told) >= VIEW_RESTS_MS;
        let unsure = self.unsure.iter();
        let sure: Vec<_> = unsure
            .filter(|(session, told)| rested(**told) && !self.views.contains(session))
            .map(|(session, _)| *session)
            .collect();
        for session in sure {
            self.unsure.remove(&session);
            self.tell_view(session, true, &view_of, output);
        }
        if self.views.is_empty() {
            return;
        }
        let at_once = self.exact.iter().chain(presenting.sessions()).copied();
        let at_once: Vec<_> = at_once.filter(|s| self.views.contains(s)).collect();
        for session in at_once {
            self.unsure.insert(session, time_ms);
            self.tell_view(session, false, &view_of, output);
        }
        let turn = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let others = self.views.range((turn, Bound::Unbounded));
        let count = self.views.len().min(OTHER_VIEWS_PER_TICK);
        let others: Vec<_> = others.chain(&self.views).take(count).copied().collect();
        for session in others {
            self.turn = Some(session);
            self.tell_view(session, true, &view_of, output);
        }
    }

    fn tell_view(
        &mut self,
        session: SessionId,
        is_sure: bool,
        view_of: impl Fn(SessionId) -> Option<BoardRect>,
        output: &mut Output,
    ) {
        self.views.remove(&session);
        let Some(entry) = self.followed.get_mut(&session) else {
            return;
        };
        entry.refresh_list();
        let Some(frame) = entry.news(session, view_of) else {
            return;
        };
        if is_sure {
            output.reliable(entry.list.clone(), frame);
        } else {
            output.datagram(entry.list.clone(), frame);
        }
    }
}
