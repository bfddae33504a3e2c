//! Audience: who covers what, and an R-tree that finds the covered areas that a stroke lies in.
//!
//! Sessions that cover the same share an area. The tree changes only when somebody comes, goes or crosses cells, so
//! that a tick costs what has been touched and who is to be told of it, however many look elsewhere. What those are
//! told is decided by [`crate::interest`].

use core::ops::ControlFlow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bevy_ecs::prelude::*;
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::{BoardRect, SessionId};
use rstar::primitives::{GeomWithData, Rectangle};
use rstar::{AABB, RStarInsertionStrategy, RTree, RTreeParams};

/// Pairs of a touched stroke and an area that are noted in one tick, 8 bytes each. Above it each area is asked for each
/// stroke, which then costs little beside what is sent: each of so many pairs is an op that somebody is told.
const MEETINGS_MAX: usize = 1 << 20;

/// A covered area in the tree, by its place in [`Audience::areas`]. The numbers are whole; areas of rectangles of the
/// plane's size would leave the integers.
type Entry = GeomWithData<Rectangle<[f64; 2]>, u32>;

/// Wide nodes: there are far more questions than changes.
#[derive(Debug)]
struct WideNodes;

impl RTreeParams for WideNodes {
    const MIN_SIZE: usize = 4;
    const MAX_SIZE: usize = 16;
    const REINSERTION_COUNT: usize = 4;
    type DefaultInsertionStrategy = RStarInsertionStrategy;
}

/// What is covered, and by whom.
#[derive(Resource, Debug, Default)]
pub(crate) struct Audience {
    places: BTreeMap<Coverage, u32>,
    areas: Vec<Area>,
    /// Places in `areas` that nobody covers any more.
    vacant: Vec<u32>,
    tree: RTree<Entry, WideNodes>,
}

/// A part of the plane that somebody covers.
#[derive(Debug)]
pub(crate) struct Area {
    coverage: Coverage,
    sessions: BTreeSet<SessionId>,
    /// The sessions as they are handed on; made anew when they have changed.
    list: Option<Arc<[SessionId]>>,
}

impl Area {
    pub(crate) fn rect(&self) -> BoardRect {
        self.coverage.rect()
    }

    /// Those of these who cover it, in order.
    pub(crate) fn sessions_among(&self, others: &BTreeSet<SessionId>) -> Vec<SessionId> {
        self.sessions.intersection(others).copied().collect()
    }

    /// Those who cover it, in order.
    pub(crate) fn sessions(&mut self) -> Arc<[SessionId]> {
        let sessions = &self.sessions;
        self.list
            .get_or_insert_with(|| sessions.iter().copied().collect())
            .clone()
    }
}

impl Audience {
    /// A session covers something else than before, or has come, or gone.
    pub(crate) fn follow(
        &mut self,
        session: SessionId,
        before: Option<Coverage>,
        now: Option<Coverage>,
    ) {
        if before == now {
            return;
        }
        if let Some(coverage) = before {
            self.leave(session, coverage);
        }
        if let Some(coverage) = now {
            let place = self.place(coverage);
            let area = &mut self.areas[place as usize];
            area.sessions.insert(session);
            area.list = None;
        }
    }

    fn leave(&mut self, session: SessionId, coverage: Coverage) {
        let Some(&place) = self.places.get(&coverage) else {
            return;
        };
        let area = &mut self.areas[place as usize];
        area.sessions.remove(&session);
        area.list = None;
        if area.sessions.is_empty() {
            self.places.remove(&coverage);
            self.tree.remove(&entry(coverage, place));
            self.vacant.push(place);
        }
    }

    /// The place of an area, which comes to be if it is not there.
    fn place(&mut self, coverage: Coverage) -> u32 {
        if let Some(&place) = self.places.get(&coverage) {
            return place;
        }
        let area = Area {
            coverage,
            sessions: BTreeSet::new(),
            list: None,
        };
        let place = if let Some(place) = self.vacant.pop() {
            self.areas[place as usize] = area;
            place
        } else {
            self.areas.push(area);
            self.areas.len() as u32 - 1
        };
        self.places.insert(coverage, place);
        self.tree.insert(entry(coverage, place));
        place
    }

    /// Visits each area that meets some of the rectangles, with the numbers of those that it may meet, in order.
    pub(crate) fn visit_met(
        &mut self,
        rects: &[BoardRect],
        mut visit: impl FnMut(&mut Area, &[u32]),
    ) {
        let mut meetings = Vec::new();
        for (rect, number) in rects.iter().zip(0_u32..) {
            let found = self
                .tree
                .locate_in_envelope_intersecting_int(envelope(*rect), |entry| {
                    meetings.push((entry.data, number));
                    if meetings.len() < MEETINGS_MAX {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                });
            if found.is_break() {
                drop(meetings);
                let all: Vec<u32> = (0..rects.len() as u32).collect();
                for place in self.places.values() {
                    visit(&mut self.areas[*place as usize], &all);
                }
                return;
            }
        }
        meetings.sort_unstable();
        let mut numbers = Vec::new();
        for of_area in meetings.chunk_by(|a, b| a.0 == b.0) {
            numbers.clear();
            numbers.extend(of_area.iter().map(|(_, number)| *number));
            visit(&mut self.areas[of_area[0].0 as usize], &numbers);
        }
    }
}

fn corners(rect: BoardRect) -> [[f64; 2]; 2] {
    [rect.min, rect.max].map(|corner| [f64::from(corner.x), f64::from(corner.y)])
}

fn envelope(rect: BoardRect) -> AABB<[f64; 2]> {
    let [min, max] = corners(rect);
    AABB::from_corners(min, max)
}

fn entry(coverage: Coverage, place: u32) -> Entry {
    let [min, max] = corners(coverage.rect());
    GeomWithData::new(Rectangle::from_corners(min, max), place)
}

#[cfg(test)]
mod tests;
