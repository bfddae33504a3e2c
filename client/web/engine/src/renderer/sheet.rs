//! A sheet to draw on: an OffscreenCanvas with its context, and rectangles of its device pixels.

use js_sys::Object;
use wasm_bindgen::JsCast;
use web_sys::{OffscreenCanvas, OffscreenCanvasRenderingContext2d};

use crate::browser::object;

/// A canvas and its context.
pub(super) struct Sheet {
    pub(super) canvas: OffscreenCanvas,
    pub(super) context: OffscreenCanvasRenderingContext2d,
}

impl Sheet {
    /// Takes a canvas. Opaque sheets are copied without blending.
    pub(super) fn of(canvas: OffscreenCanvas, opaque: bool) -> Option<Self> {
        let options: Object = object(&[("alpha", (!opaque).into())]);
        let context = canvas
            .get_context_with_context_options("2d", &options)
            .ok()??;
        Some(Self {
            canvas,
            context: context.unchecked_into(),
        })
    }

    /// A new one.
    pub(super) fn new(size: (u32, u32), opaque: bool) -> Option<Self> {
        Self::of(OffscreenCanvas::new(size.0, size.1).ok()?, opaque)
    }

    /// Gives it another size, which clears it.
    pub(super) fn resize(&self, size: (u32, u32)) {
        self.canvas.set_width(size.0);
        self.canvas.set_height(size.1);
    }

    /// Fills a rectangle with a plain colour.
    pub(super) fn fill(&self, area: Area, css: &str) {
        self.context.set_fill_style_str(css);
        self.context.fill_rect(
            area.left.into(),
            area.top.into(),
            area.width().into(),
            area.height().into(),
        );
    }

    /// Copies an area of another sheet to a place.
    pub(super) fn copy(&self, from: &Self, area: Area, left: i32, top: i32) {
        let (width, height) = (f64::from(area.width()), f64::from(area.height()));
        let (x, y) = (area.left.into(), area.top.into());
        let _ = self
            .context
            .draw_image_with_offscreen_canvas_and_sw_and_sh_and_dx_and_dy_and_dw_and_dh(
                &from.canvas,
                x,
                y,
                width,
                height,
                left.into(),
                top.into(),
                width,
                height,
            );
    }
}

/// A rectangle of device pixels; right and bottom are outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: i32,
    pub(super) top: i32,
    pub(super) right: i32,
    pub(super) bottom: i32,
}

impl Area {
    pub(super) const fn new(left: i32, top: i32, right: i32, bottom: i32) -> Self {
        Self {
            left,
            top,
            right,
            bottom,
        }
    }

    /// All of a sheet of this size.
    pub(super) const fn of_size(size: (u32, u32)) -> Self {
        Self::new(0, 0, size.0 as i32, size.1 as i32)
    }

    /// The pixels that a rectangle with fractions touches, and one more around for smoothed edges. Saturates.
    pub(super) fn around(left: f64, top: f64, right: f64, bottom: f64) -> Self {
        // The casts saturate; one less than the extremes keeps widths within an i32's half.
        let low = |v: f64| ((v - 1.0).floor() as i32).clamp(-FAR, FAR);
        let high = |v: f64| ((v + 1.0).ceil() as i32).clamp(-FAR, FAR);
        Self::new(low(left), low(top), high(right), high(bottom))
    }

    pub(super) const fn width(self) -> i32 {
        self.right - self.left
    }

    pub(super) const fn height(self) -> i32 {
        self.bottom - self.top
    }

    pub(super) const fn is_empty(self) -> bool {
        self.left >= self.right || self.top >= self.bottom
    }

    pub(super) fn intersection(self, other: Self) -> Self {
        Self::new(
            self.left.max(other.left),
            self.top.max(other.top),
            self.right.min(other.right),
            self.bottom.min(other.bottom),
        )
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self::new(
            self.left.min(other.left),
            self.top.min(other.top),
            self.right.max(other.right),
            self.bottom.max(other.bottom),
        )
    }

    pub(super) fn intersects(self, other: Self) -> bool {
        !self.intersection(other).is_empty()
    }

    pub(super) fn moved(self, dx: i32, dy: i32) -> Self {
        let add = |v: i32, by: i32| v.saturating_add(by).clamp(-FAR, FAR);
        Self::new(
            add(self.left, dx),
            add(self.top, dy),
            add(self.right, dx),
            add(self.bottom, dy),
        )
    }
}

/// Farther off screen than any sheet, and small enough for sums.
const FAR: i32 = 1 << 28;

/// What must be drawn anew: a few areas, or everything.
#[derive(Debug, Default)]
pub(super) struct Damage {
    areas: Vec<Area>,
    everything: bool,
}

/// Areas told apart; beyond it drawing everything costs no more.
const AREAS_MAX: usize = 16;

impl Damage {
    pub(super) fn add(&mut self, area: Area) {
        if self.everything || area.is_empty() {
            return;
        }
        let mut area = area;
        // Areas that overlap become one, which may then overlap others.
        while let Some(i) = self.areas.iter().position(|other| other.intersects(area)) {
            area = area.union(self.areas.swap_remove(i));
        }
        self.areas.push(area);
        self.everything = self.areas.len() > AREAS_MAX;
    }

    pub(super) const fn add_everything(&mut self) {
        self.everything = true;
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.everything && self.areas.is_empty()
    }

    /// The areas within a sheet, and begins anew.
    pub(super) fn take(&mut self, sheet: Area) -> Vec<Area> {
        let areas = std::mem::take(&mut self.areas);
        if std::mem::take(&mut self.everything) {
            return vec![sheet];
        }
        areas
            .into_iter()
            .map(|area| area.intersection(sheet))
            .filter(|area| !area.is_empty())
            .collect()
    }
}
