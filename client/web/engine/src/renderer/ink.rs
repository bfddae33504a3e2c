//! Drawing strokes: the outline where it shows, a plain line where ink is hardly a pixel wide.

use chalkboard_client::color;
use chalkboard_client::outline::{self, PathStep};
use chalkboard_client::viewport::DeviceView;
use chalkboard_shared::board_point::UNITS_PER_PIXEL;
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{BoardPoint, Stroke, StrokeStyle};
use glam::Vec2;
use web_sys::{OffscreenCanvasRenderingContext2d, Path2d};

use super::path_cache::{PathCache, path};

/// Nibs thinner than this on the screen, in device pixels, are drawn as plain lines.
const OUTLINE_WIDTH_MIN: f64 = 1.5;
/// Mean width of pressure ink in parts of its full width.
const MEAN_WIDTH: f64 = 0.78;
/// Nothing is drawn thinner than this, in device pixels: it would fade away.
const LINE_WIDTH_MIN: f64 = 0.7;
/// Distance of the points of a plain line in device pixels.
const LINE_SPACING: f64 = 1.2;
/// Points drawn with one call at the most.
const BATCH_POINTS_MAX: usize = 4000;

/// Draws strokes on one sheet, one after the other.
pub(super) struct Ink<'a> {
    context: &'a OffscreenCanvasRenderingContext2d,
    /// From board to the sheet.
    view: DeviceView,
    dark: bool,
    style: Option<(Nib, u32)>,
    /// Plain lines of one style that wait to be drawn with one call, in device pixels.
    batch: Vec<PathStep>,
    batch_width: f64,
    text: String,
}

impl<'a> Ink<'a> {
    pub(super) fn new(
        context: &'a OffscreenCanvasRenderingContext2d,
        view: DeviceView,
        dark: bool,
    ) -> Self {
        Self {
            context,
            view,
            dark,
            style: None,
            batch: Vec::new(),
            batch_width: 0.0,
            text: String::new(),
        }
    }

    /// Draws a stroke.
    pub(super) fn stroke(&mut self, stroke: &Stroke, paths: &mut PathCache) {
        let style = stroke.style.value;
        let width = f64::from(style.width) / f64::from(UNITS_PER_PIXEL) * self.view.density;
        if width < OUTLINE_WIDTH_MIN {
            self.line(stroke, width);
        } else if let Some((outline, origin)) = paths.outline(stroke) {
            self.flush();
            self.outline(style, outline, origin);
        }
    }

    /// Draws an outline that is relative to a board point.
    pub(super) fn outline(&mut self, style: StrokeStyle, outline: &Path2d, origin: BoardPoint) {
        self.dip(style);
        let (x, y) = self.view.place(origin);
        let density = self.view.density;
        let _ = self.context.set_transform(density, 0.0, 0.0, density, x, y);
        self.context.fill_with_path_2d(outline);
    }

    /// Draws what still waits, and leaves the context as it was.
    pub(super) fn finish(mut self) {
        self.flush();
        let _ = self.context.set_transform(1.0, 0.0, 0.0, 1.0, 0.0, 0.0);
        self.context.set_global_alpha(1.0);
        let _ = self.context.set_global_composite_operation("source-over");
    }

    fn line(&mut self, stroke: &Stroke, width: f64) {
        let style = stroke.style.value;
        let drawn = match style.nib {
            Nib::Pen => width * MEAN_WIDTH,
            Nib::Highlighter => width,
        };
        let drawn = drawn.max(LINE_WIDTH_MIN);
        if self.style != Some((style.nib, style.color))
            || self.batch_width != drawn
            || self.batch.len() > BATCH_POINTS_MAX
        {
            self.flush();
            self.dip(style);
            self.batch_width = drawn;
        }
        let spacing = (LINE_SPACING / self.view.density * f64::from(UNITS_PER_PIXEL))
            .clamp(1.0, f64::from(i32::MAX));
        let (view, batch) = (self.view, &mut self.batch);
        let begin = batch.len();
        outline::thin_out(&stroke.points(), spacing as i32, |at| {
            let (x, y) = view.place(at);
            let at = Vec2::new(x as f32, y as f32);
            batch.push(if batch.len() == begin {
                PathStep::Move(at)
            } else {
                PathStep::Line(at)
            });
        });
        if let [PathStep::Move(only)] = batch[begin..] {
            // A line without length is not drawn; a round dot is.
            batch.push(PathStep::Line(only + Vec2::new(0.01, 0.0)));
        }
    }

    /// Draws the plain lines that wait.
    pub(super) fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if let Some(lines) = path(&self.batch, &mut self.text) {
            let _ = self.context.set_transform(1.0, 0.0, 0.0, 1.0, 0.0, 0.0);
            self.context.set_line_width(self.batch_width);
            self.context.set_line_cap("round");
            self.context.set_line_join("bevel");
            self.context.stroke_with_path(&lines);
        }
        self.batch.clear();
    }

    /// Takes a style's colour. Highlighters colour what is light: the paper, not the ink on it.
    fn dip(&mut self, style: StrokeStyle) {
        if self.style == Some((style.nib, style.color)) {
            return;
        }
        self.style = Some((style.nib, style.color));
        let (color, alpha, operation) = match (style.nib, self.dark) {
            (Nib::Pen, dark) => (color::shown(style.color, dark), 1.0, "source-over"),
            (Nib::Highlighter, false) => (style.color, 0.55, "multiply"),
            (Nib::Highlighter, true) => (style.color, 0.38, "screen"),
        };
        let css = css(color);
        self.context.set_fill_style_str(&css);
        self.context.set_stroke_style_str(&css);
        self.context.set_global_alpha(alpha);
        let _ = self.context.set_global_composite_operation(operation);
    }
}

/// A colour as style sheets write it.
pub(super) fn css(color: u32) -> String {
    let mut text = String::with_capacity(7);
    text.push('#');
    for shift in [20, 16, 12, 8, 4, 0] {
        text.push(char::from_digit(color >> shift & 15, 16).unwrap_or('0'));
    }
    text
}
