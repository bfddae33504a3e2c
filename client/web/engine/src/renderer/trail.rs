//! The eraser's trail: where it has just been, fading.

use std::collections::VecDeque;

use chalkboard_client::viewport::DeviceView;
use chalkboard_shared::BoardPoint;

use super::sheet::{Area, Sheet};

/// Time in which a place fades, in milliseconds.
const FADE_MS: f64 = 180.0;
/// Places kept.
const PLACES_MAX: usize = 128;

/// Places of the eraser with their times.
#[derive(Default)]
pub(super) struct Trail {
    places: VecDeque<(BoardPoint, f64)>,
    /// What it covered last frame.
    drawn: Option<Area>,
}

impl Trail {
    /// The eraser is here.
    pub(super) fn push(&mut self, at: BoardPoint, now_ms: f64) {
        if self.places.back().is_none_or(|(last, _)| *last != at) {
            if self.places.len() == PLACES_MAX {
                self.places.pop_front();
            }
            self.places.push_back((at, now_ms));
        }
    }

    /// Forgets what has faded. Answers what looks different, as long as there is something to see.
    pub(super) fn age(&mut self, now_ms: f64, view: DeviceView, radius: f64) -> Option<Area> {
        while self
            .places
            .front()
            .is_some_and(|(_, at_ms)| now_ms - at_ms > FADE_MS)
        {
            self.places.pop_front();
        }
        let areas = self.places.iter().map(|(at, _)| {
            let (x, y) = view.place(*at);
            Area::around(x - radius, y - radius, x + radius, y + radius)
        });
        let covered = areas.reduce(Area::union);
        let before = std::mem::replace(&mut self.drawn, covered);
        before.into_iter().chain(covered).reduce(Area::union)
    }

    pub(super) fn draw(
        &self,
        sheet: &Sheet,
        now_ms: f64,
        view: DeviceView,
        radius: f64,
        dark: bool,
    ) {
        let context = &sheet.context;
        context.set_stroke_style_str(if dark { "#fff" } else { "#000" });
        context.set_line_cap("round");
        for ((from, _), (to, at_ms)) in self.places.iter().zip(self.places.iter().skip(1)) {
            let left = (1.0 - (now_ms - at_ms) / FADE_MS).clamp(0.0, 1.0);
            let ((x0, y0), (x1, y1)) = (view.place(*from), view.place(*to));
            context.set_global_alpha(0.14 * left);
            context.set_line_width(2.0 * radius * (0.3 + 0.7 * left));
            context.begin_path();
            context.move_to(x0, y0);
            context.line_to(x1, y1);
            context.stroke();
        }
        context.set_global_alpha(1.0);
    }
}
