//! Ink that is still wet: strokes that grow are kept off the layer and drawn over it, each frame only what is new.

use chalkboard_client::outline::{LiveOutline, PathStep};
use chalkboard_client::viewport::DeviceView;
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{BoardPoint, BoardRect, Stroke, StrokeId, StrokeStyle};
use glam::Vec2;
use web_sys::Path2d;

use super::ink::Ink;
use super::path_cache::path;
use super::sheet::Area;

/// Strokes kept wet at once; more go to the layer right away.
const LIVE_MAX: usize = 256;
/// A stroke that has not grown for this long goes to the layer although it is not finished.
const REST_MS: f64 = 3000.0;

/// All wet strokes, in the order in which they were begun here.
#[derive(Default)]
pub(super) struct LiveInk {
    strokes: Vec<LiveStroke>,
    steps: Vec<PathStep>,
    text: String,
}

struct LiveStroke {
    id: StrokeId,
    style: StrokeStyle,
    outline: LiveOutline,
    origin: BoardPoint,
    /// Points of the stroke that the outline has.
    points: usize,
    settled: Option<Path2d>,
    tail: Option<Path2d>,
    /// Extent of the tail in board pixels from the origin.
    tail_extent: (Vec2, Vec2),
    grown_ms: f64,
}

/// What became of a wet stroke.
pub(super) struct Growth {
    /// Points that are new.
    pub(super) points: usize,
    /// Where it looks different, in board pixels from `origin`.
    extent: (Vec2, Vec2),
    origin: BoardPoint,
}

impl Growth {
    /// The device pixels that look different.
    pub(super) fn area(&self, view: DeviceView) -> Area {
        let (x, y) = view.place(self.origin);
        let at = |v: Vec2| {
            (
                x + f64::from(v.x) * view.density,
                y + f64::from(v.y) * view.density,
            )
        };
        let ((left, top), (right, bottom)) = (at(self.extent.0), at(self.extent.1));
        Area::around(left, top, right, bottom)
    }
}

impl LiveInk {
    pub(super) fn holds(&self, id: StrokeId) -> bool {
        self.strokes.iter().any(|live| live.id == id)
    }

    pub(super) fn has_room(&self) -> bool {
        self.strokes.len() < LIVE_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.strokes.is_empty()
    }

    /// A stroke is, or stays, wet.
    pub(super) fn update(&mut self, now_ms: f64, stroke: &Stroke) -> Option<Growth> {
        let points = stroke.points();
        let style = stroke.style.value;
        let index = self.strokes.iter().position(|live| live.id == stroke.id);
        let fits = |live: &LiveStroke| live.style == style && live.points <= points.len();
        let index = match index {
            Some(index) if fits(&self.strokes[index]) => index,
            _ => {
                if let Some(index) = index {
                    self.strokes.remove(index);
                }
                self.strokes
                    .push(LiveStroke::new(stroke.id, style, points.first()?.at));
                self.strokes.len() - 1
            }
        };
        let live = &mut self.strokes[index];
        let new = points.len() - live.points;
        live.points = points.len();
        live.grown_ms = now_ms;
        live.outline.push(&points[points.len() - new..]);
        let mut changed = live.tail_extent;
        self.steps.clear();
        if live.outline.settle(&mut self.steps)
            && let Some(lot) = path(&self.steps, &mut self.text)
        {
            changed = union(changed, extent(&self.steps));
            match &live.settled {
                Some(settled) => settled.add_path(&lot),
                None => live.settled = Some(lot),
            }
        }
        self.steps.clear();
        live.outline.tail(&mut self.steps);
        live.tail = path(&self.steps, &mut self.text);
        live.tail_extent = extent(&self.steps);
        Some(Growth {
            points: new,
            extent: union(changed, live.tail_extent),
            origin: live.origin,
        })
    }

    /// A stroke is dry, or gone.
    pub(super) fn remove(&mut self, id: StrokeId) -> bool {
        let before = self.strokes.len();
        self.strokes.retain(|live| live.id != id);
        self.strokes.len() < before
    }

    /// Strokes that rest are wet no more; the caller puts them on the layer.
    pub(super) fn take_resting(&mut self, now_ms: f64) -> Vec<StrokeId> {
        let resting = self
            .strokes
            .extract_if(.., |live| now_ms - live.grown_ms > REST_MS);
        resting.map(|live| live.id).collect()
    }

    /// Draws all of it, highlighters first.
    pub(super) fn draw(&self, ink: &mut Ink<'_>, visible: impl Fn(StrokeId) -> bool) {
        for nib in [Nib::Highlighter, Nib::Pen] {
            for live in self
                .strokes
                .iter()
                .filter(|live| live.style.nib == nib && visible(live.id))
            {
                live.draw(ink);
            }
        }
    }
}

impl LiveStroke {
    fn new(id: StrokeId, style: StrokeStyle, origin: BoardPoint) -> Self {
        Self {
            id,
            style,
            outline: LiveOutline::new(style),
            origin,
            points: 0,
            settled: None,
            tail: None,
            tail_extent: (Vec2::INFINITY, Vec2::NEG_INFINITY),
            grown_ms: 0.0,
        }
    }

    fn draw(&self, ink: &mut Ink<'_>) {
        match (&self.settled, &self.tail) {
            (Some(settled), Some(tail)) if self.style.nib == Nib::Highlighter => {
                // Translucent ink must be filled once, or the two would show where they overlap.
                if let Ok(whole) = Path2d::new_with_other(settled) {
                    whole.add_path(tail);
                    ink.outline(self.style, &whole, self.origin);
                }
            }
            (settled, tail) => {
                for part in [settled, tail].into_iter().flatten() {
                    ink.outline(self.style, part, self.origin);
                }
            }
        }
    }
}

fn union(a: (Vec2, Vec2), b: (Vec2, Vec2)) -> (Vec2, Vec2) {
    (a.0.min(b.0), a.1.max(b.1))
}

fn extent(steps: &[PathStep]) -> (Vec2, Vec2) {
    let empty = (Vec2::INFINITY, Vec2::NEG_INFINITY);
    steps.iter().fold(empty, |(min, max), step| match *step {
        PathStep::Move(at) | PathStep::Line(at) => (min.min(at), max.max(at)),
        PathStep::Quad(control, at) => (min.min(control).min(at), max.max(control).max(at)),
        PathStep::Close => (min, max),
    })
}

/// The device pixels that a board rectangle covers.
pub(super) fn area_of(rect: BoardRect, view: DeviceView) -> Option<Area> {
    if rect.is_empty() {
        return None;
    }
    let ((left, top), (right, bottom)) = (view.place(rect.min), view.place(rect.max));
    // Ink that is hardly a pixel wide is drawn a little wider than it is.
    Some(Area::around(
        left - 1.0,
        top - 1.0,
        right + 1.0,
        bottom + 1.0,
    ))
}
