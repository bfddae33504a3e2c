//! The strokes of a mirror, one behind another, found by their names.
//!
//! A join brings tens of thousands, chunk by chunk. A chunk's are put in together, and none of them is moved again as
//! their number grows: what is hashed are only the numbers of their places.

use chalkboard_shared::{Stroke, StrokeId};

use super::StrokeMap;

/// Strokes, none of them twice.
#[derive(Debug, Default)]
pub(super) struct Holdings {
    strokes: Vec<Stroke>,
    /// By place: the connection in which it was last known to be there.
    generations: Vec<u32>,
    places: StrokeMap<u32>,
}

impl Holdings {
    pub(super) const fn len(&self) -> usize {
        self.strokes.len()
    }

    pub(super) fn iter(&self) -> core::slice::Iter<'_, Stroke> {
        self.strokes.iter()
    }

    /// Where a stroke is, until another is taken.
    pub(super) fn place(&self, id: StrokeId) -> Option<usize> {
        self.places.get(&id).map(|place| *place as usize)
    }

    pub(super) fn get(&self, id: StrokeId) -> Option<&Stroke> {
        self.place(id).map(|place| self.at(place))
    }

    pub(super) fn at(&self, place: usize) -> &Stroke {
        &self.strokes[place]
    }

    pub(super) fn at_mut(&mut self, place: usize) -> &mut Stroke {
        &mut self.strokes[place]
    }

    pub(super) fn generation(&self, place: usize) -> u32 {
        self.generations[place]
    }

    /// Adds a stroke that it does not hold.
    pub(super) fn push(&mut self, stroke: Stroke, generation: u32) {
        self.places.insert(stroke.id, self.strokes.len() as u32);
        self.strokes.push(stroke);
        self.generations.push(generation);
    }

    /// Puts a stroke in the place of another of its name.
    pub(super) fn exchange(&mut self, place: usize, stroke: Stroke, generation: u32) -> Stroke {
        self.generations[place] = generation;
        core::mem::replace(&mut self.strokes[place], stroke)
    }

    /// Takes a stroke out; the last one goes in its place.
    pub(super) fn take(&mut self, place: usize) -> Stroke {
        let stroke = self.strokes.swap_remove(place);
        self.generations.swap_remove(place);
        self.places.remove(&stroke.id);
        if let Some(moved) = self.strokes.get(place) {
            self.places.insert(moved.id, place as u32);
        }
        stroke
    }

    /// Adds those strokes that are `wanted` and that it does not hold, in their order. Answers the others.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn append(
        &mut self,
        mut strokes: Vec<Stroke>,
        generation: u32,
        wanted: impl Fn(&Stroke) -> bool,
    ) -> Vec<Stroke> {
        use std::collections::hash_map::Entry;

        let mut next = self.strokes.len() as u32;
        let places = &mut self.places;
        places.reserve(strokes.len());
        let others = strokes.extract_if(.., |stroke| {
            if wanted(stroke)
                && let Entry::Vacant(place) = places.entry(stroke.id)
            {
                place.insert(next);
                next += 1;
                return false;
            }
            true
        });
        let others = others.collect();
        self.strokes.append(&mut strokes);
        self.generations.resize(self.strokes.len(), generation);
        others
    }

    /// The strokes in the places behind the first `count`.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn behind(&self, count: usize) -> &[Stroke] {
        self.strokes.get(count..).unwrap_or_default()
    }
}
