//! The view of one person: which part of the board fills the canvas.
//!
//! Owns the transform between canvas and board, in `f64` so that ink stays in place 67 million pixels from the origin
//! at 6400 %. It knows nothing of strokes or pointers; [`crate::editor`] moves it and renderers read it.

use chalkboard_shared::board_point::UNITS_PER_PIXEL;
use chalkboard_shared::limits::COORDINATE_MAX;
use chalkboard_shared::{BoardPoint, BoardRect};
use glam::DVec2;

/// Smallest zoom: 1 %.
pub const ZOOM_MIN: f64 = 0.01;
/// Largest zoom: 6400 %.
pub const ZOOM_MAX: f64 = 64.0;
/// Largest canvas edge in CSS pixels that is believed.
const EDGE_MAX: f64 = 16_384.0;
/// Device pixels per CSS pixel that are believed.
const SCALE_RANGE: (f64, f64) = (0.25, 8.0);
/// The board's edge in board pixels.
const WORLD_EDGE: f64 = (COORDINATE_MAX / UNITS_PER_PIXEL) as f64;

/// Position, zoom and size of a view. Screen positions are CSS pixels from the canvas's top left corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Viewport {
    /// Board pixels at the canvas's top left corner.
    origin: DVec2,
    zoom: f64,
    /// CSS pixels.
    size: DVec2,
    /// Device pixels per CSS pixel.
    scale: f64,
    sized: bool,
}

/// The transform to device pixels with its offset on whole pixels, so that a pan moves what was drawn exactly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeviceView {
    /// Device pixels per board pixel.
    pub density: f64,
    /// Device pixels from the board's origin to the canvas's left edge; a whole number.
    pub left: f64,
    /// Device pixels from the board's origin to the canvas's top edge; a whole number.
    pub top: f64,
}

impl Default for Viewport {
    fn default() -> Self {
        Self {
            origin: DVec2::ZERO,
            zoom: 1.0,
            size: DVec2::new(1.0, 1.0),
            scale: 1.0,
            sized: false,
        }
    }
}

impl Viewport {
    /// The canvas got this size in CSS pixels, and so many device pixels per CSS pixel. The first size centres the
    /// board's origin, so that everybody on a fresh board looks at the same place; later ones keep the top left corner.
    pub fn resize(&mut self, width: f64, height: f64, scale: f64) {
        if !(width.is_finite() && height.is_finite() && scale.is_finite()) {
            return;
        }
        self.size = DVec2::new(width, height).clamp(DVec2::ONE, DVec2::splat(EDGE_MAX));
        self.scale = scale.clamp(SCALE_RANGE.0, SCALE_RANGE.1);
        if !self.sized {
            self.sized = true;
            self.origin = -self.size / (2.0 * self.zoom);
        }
        self.keep_in_world();
    }

    /// Board pixels to CSS pixels: 1 is 100 %.
    pub const fn zoom(&self) -> f64 {
        self.zoom
    }

    /// Device pixels per CSS pixel.
    pub const fn scale(&self) -> f64 {
        self.scale
    }

    /// Size in CSS pixels.
    pub const fn size(&self) -> (f64, f64) {
        (self.size.x, self.size.y)
    }

    /// Size in device pixels: whole numbers, at least 1.
    pub fn device_size(&self) -> (u32, u32) {
        let pixels = (self.size * self.scale).round().max(DVec2::ONE);
        (pixels.x as u32, pixels.y as u32)
    }

    /// Moves the content by CSS pixels.
    pub fn pan(&mut self, dx: f64, dy: f64) {
        let by = DVec2::new(dx, dy);
        if by.is_finite() {
            self.origin -= by / self.zoom;
            self.keep_in_world();
        }
    }

    /// Sets the zoom (kept within its range) so that what is at a screen position stays there.
    pub fn zoom_to(&mut self, x: f64, y: f64, zoom: f64) {
        let at = DVec2::new(x, y);
        if !at.is_finite() || !zoom.is_finite() {
            return;
        }
        let fixed = self.origin + at / self.zoom;
        self.zoom = zoom.clamp(ZOOM_MIN, ZOOM_MAX);
        self.origin = fixed - at / self.zoom;
        self.keep_in_world();
    }

    /// Multiplies the zoom about a screen position.
    pub fn zoom_by(&mut self, x: f64, y: f64, factor: f64) {
        self.zoom_to(x, y, self.zoom * factor);
    }

    /// Shows a rectangle in the middle, with margins in CSS pixels at the sides (x) and above and below (y), at
    /// `zoom_max` at most. An empty rectangle shows the board's origin at 100 %.
    pub fn fit(&mut self, rect: BoardRect, margin: DVec2, zoom_max: f64) {
        let (middle, zoom) = if rect.is_empty() {
            (DVec2::ZERO, 1.0)
        } else {
            let (min, max) = (pixels(rect.min), pixels(rect.max));
            let room = (self.size - 2.0 * margin).max(self.size / 4.0);
            let fitting = room / (max - min).max(DVec2::ONE);
            ((min + max) / 2.0, fitting.min_element().min(zoom_max))
        };
        self.zoom = zoom.clamp(ZOOM_MIN, ZOOM_MAX);
        self.origin = middle - self.size / (2.0 * self.zoom);
        self.keep_in_world();
    }

    /// Goes some of the way, 0 to 1, to where all of a rectangle is in view and fills it. From far away it begins near: what
    /// lies between is of nobody's concern. `false` once it is there.
    pub fn approach(&mut self, rect: BoardRect, share: f64) -> bool {
        let mut goal = *self;
        goal.fit(rect, DVec2::ZERO, ZOOM_MAX);
        let way = (goal.origin - self.origin) * self.zoom.min(goal.zoom);
        let growth = goal.zoom - self.zoom;
        let is_there = way.length_squared() < 0.25 && growth.abs() < 1e-3 * self.zoom;
        if is_there || way.length_squared() > 16.0 * self.size.length_squared() {
            let is_new = *self != goal;
            *self = goal;
            return is_new;
        }
        self.origin += (goal.origin - self.origin) * share;
        self.zoom += growth * share;
        true
    }

    /// The board position in board pixels at a screen position.
    pub fn to_board(&self, x: f64, y: f64) -> (f64, f64) {
        let at = self.origin + DVec2::new(x, y) / self.zoom;
        (at.x, at.y)
    }

    /// The nearest board point at a screen position.
    pub fn board_point(&self, x: f64, y: f64) -> BoardPoint {
        let (x, y) = self.to_board(x, y);
        point(DVec2::new(x, y))
    }

    /// The screen position of a board position in board pixels.
    pub fn to_screen(&self, x: f64, y: f64) -> (f64, f64) {
        let at = (DVec2::new(x, y) - self.origin) * self.zoom;
        (at.x, at.y)
    }

    /// What of the board is in view.
    pub fn visible(&self) -> BoardRect {
        BoardRect::from_corners(
            point(self.origin),
            point(self.origin + self.size / self.zoom),
        )
    }

    /// The transform for drawing.
    pub fn device(&self) -> DeviceView {
        let density = self.zoom * self.scale;
        let offset = (self.origin * density).round();
        DeviceView {
            density,
            left: offset.x,
            top: offset.y,
        }
    }

    /// The middle of the view stays on the board: beyond it nobody finds back, and numbers stay small.
    fn keep_in_world(&mut self) {
        let half = self.size / (2.0 * self.zoom);
        self.origin =
            (self.origin + half).clamp(DVec2::splat(-WORLD_EDGE), DVec2::splat(WORLD_EDGE)) - half;
    }
}

impl DeviceView {
    /// Device pixels, with their fraction, of a board point.
    pub fn place(&self, at: BoardPoint) -> (f64, f64) {
        let at = pixels(at) * self.density;
        (at.x - self.left, at.y - self.top)
    }

    /// The board rectangle that covers a rectangle of device pixels (left, top, right, bottom).
    pub fn board_rect(&self, left: f64, top: f64, right: f64, bottom: f64) -> BoardRect {
        let corner = |x: f64, y: f64| DVec2::new(x + self.left, y + self.top) / self.density;
        BoardRect::from_corners(point(corner(left, top)), point(corner(right, bottom)))
    }
}

fn pixels(at: BoardPoint) -> DVec2 {
    DVec2::new(at.x.into(), at.y.into()) / f64::from(UNITS_PER_PIXEL)
}

fn point(at: DVec2) -> BoardPoint {
    let unit = |v: f64| {
        ((v * f64::from(UNITS_PER_PIXEL)).round() as i32).clamp(-COORDINATE_MAX, COORDINATE_MAX)
    };
    BoardPoint::new(unit(at.x), unit(at.y))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn view() -> Viewport {
        let mut view = Viewport::default();
        view.resize(1000.0, 800.0, 2.0);
        view
    }

    #[test]
    fn everybody_starts_at_the_same_place() {
        let mut other = Viewport::default();
        other.resize(300.0, 200.0, 1.0);
        assert_eq!(view().board_point(500.0, 400.0), BoardPoint::new(0, 0));
        assert_eq!(other.board_point(150.0, 100.0), BoardPoint::new(0, 0));
    }

    #[test]
    fn a_later_size_keeps_the_corner() {
        let mut view = view();
        let corner = view.to_board(0.0, 0.0);
        view.resize(400.0, 900.0, 1.0);
        assert_eq!(view.to_board(0.0, 0.0), corner);
    }

    #[test]
    fn zooming_keeps_the_place_under_the_pointer() {
        let mut view = view();
        let under = view.to_board(120.0, 700.0);
        view.zoom_by(120.0, 700.0, 3.5);
        let after = view.to_board(120.0, 700.0);
        assert!((under.0 - after.0).abs() < 1e-9 && (under.1 - after.1).abs() < 1e-9);
        assert!((view.zoom() - 3.5).abs() < 1e-12);
    }

    #[test]
    fn fitting_shows_all_of_a_rectangle_with_its_margin() {
        let mut view = view();
        let rect = BoardRect::from_corners(
            BoardPoint::new(-16_000, 320),
            BoardPoint::new(480_000, 90_000),
        );
        let margin = DVec2::new(50.0, 120.0);
        view.fit(rect, margin, 1.0);
        let (left, top) = view.to_screen(-1000.0, 20.0);
        let (right, bottom) = view.to_screen(30_000.0, 5625.0);
        assert!((left - 50.0).abs() < 0.01 && (right - 950.0).abs() < 0.01);
        assert!(top > 50.0 && bottom < 750.0 && (top - (800.0 - bottom)).abs() < 0.01);
        let tall = BoardRect::from_corners(BoardPoint::new(0, 0), BoardPoint::new(160, 480_000));
        view.fit(tall, margin, 1.0);
        let ((_, top), (_, bottom)) = (view.to_screen(0.0, 0.0), view.to_screen(0.0, 30_000.0));
        assert!((top - 120.0).abs() < 0.01 && (bottom - 680.0).abs() < 0.01);
        view.fit(BoardRect::around([BoardPoint::new(5, 5)]), margin, 1.0);
        assert_eq!(view.zoom(), 1.0, "a dot does not fill the screen");
        view.fit(BoardRect::EMPTY, margin, 1.0);
        assert_eq!(view.board_point(500.0, 400.0), BoardPoint::new(0, 0));
    }

    #[test]
    fn a_pan_moves_device_pixels_by_whole_numbers() {
        let mut view = view();
        view.zoom_by(0.0, 0.0, 1.37);
        let before = view.device();
        view.pan(3.3, -7.9);
        let after = view.device();
        assert_eq!(before.density, after.density);
        assert_eq!((after.left - before.left).fract(), 0.0);
        assert_eq!((after.top - before.top).fract(), 0.0);
    }

    #[test]
    fn an_approach_gets_there_step_by_step_and_stays() {
        let mut view = view();
        view.zoom_to(500.0, 400.0, 0.5);
        let rect = BoardRect::from_corners(
            BoardPoint::from_pixels(1000.0, 500.0),
            BoardPoint::from_pixels(1400.0, 600.0),
        );
        let mut steps = 0;
        while view.approach(rect, 0.2) {
            steps += 1;
            assert!(steps < 100, "it never arrives");
        }
        assert!(steps > 5, "a leap");
        assert!(view.visible().contains_rect(rect));
        assert!(
            (view.zoom() - 2.5).abs() < 1e-9
                && view.board_point(500.0, 400.0) == BoardPoint::from_pixels(1200.0, 550.0)
        );
        let there = view;
        assert!(!view.approach(rect, 0.2) && view == there);
        // A long way is not shown.
        let far = BoardRect::from_corners(
            BoardPoint::from_pixels(1.0e6, 0.0),
            BoardPoint::from_pixels(1.001e6, 800.0),
        );
        assert!(view.approach(far, 0.2) && !view.approach(far, 0.2));
    }

    proptest! {
        #[test]
        fn no_input_leaves_the_world(steps in proptest::collection::vec((0u8..4, any::<f64>(), any::<f64>(), any::<f64>()), 0..40)) {
            let mut view = view();
            for (kind, a, b, c) in steps {
                match kind {
                    0 => view.pan(a, b),
                    1 => view.zoom_by(a, b, c),
                    2 => view.resize(a, b, c),
                    _ => view.zoom_to(a, b, c),
                }
                prop_assert!((ZOOM_MIN..=ZOOM_MAX).contains(&view.zoom()));
                let (width, height) = view.size();
                let (x, y) = view.to_board(width / 2.0, height / 2.0);
                prop_assert!(x.abs() <= WORLD_EDGE * 1.000_001 && y.abs() <= WORLD_EDGE * 1.000_001);
                let device = view.device();
                prop_assert!(device.left.is_finite() && device.top.is_finite());
                prop_assert!(!view.visible().is_empty());
            }
        }
    }
}
