//! The layer: a picture of all dry strokes, kept so that a frame costs what has changed.
//!
//! It is cut into tiles, each of which may hold a rectangle that is out of date. Those are drawn again one after the
//! other, nearest to the middle first, on a scratch sheet and in slices of a few milliseconds: a tile changes at once or
//! not yet, and a board of any size never blocks a frame. The layer has a view of its own. Panning moves its pixels;
//! while the zoom changes it is shown scaled, and drawn again once the zoom rests.

use chalkboard_client::board::Board;
use chalkboard_client::color::board_color;
use chalkboard_client::viewport::DeviceView;
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{BoardRect, Stroke, StrokeId};

use super::ink::{Ink, css};
use super::path_cache::PathCache;
use super::sheet::{Area, Sheet};
use crate::browser::now_ms;

/// Edge of a tile in device pixels.
const TILE: i32 = 512;
/// Strokes drawn between two looks at the clock.
const STROKES_PER_LOOK: usize = 32;

/// The picture of dry ink.
pub(super) struct Layer {
    front: Sheet,
    /// What the front is moved or scaled into; then they change places.
    back: Sheet,
    scratch: Sheet,
    /// One pixel, to which the scratch sheet is copied so that the browser paints what it has only noted down: else
    /// a tile's whole cost would fall on the frame that shows it.
    blotter: Sheet,
    size: (u32, u32),
    view: DeviceView,
    dark: bool,
    columns: i32,
    /// The rectangle of each tile that is out of date.
    tiles: Vec<Option<Area>>,
    job: Option<Job>,
}

/// A tile's rectangle being drawn.
struct Job {
    area: Area,
    /// In drawing order.
    strokes: Vec<StrokeId>,
    done: usize,
}

impl Layer {
    /// An empty one; `None` where the browser gives no canvas.
    pub(super) fn new(size: (u32, u32), view: DeviceView, dark: bool) -> Option<Self> {
        let tile = (TILE as u32, TILE as u32);
        let mut layer = Self {
            front: Sheet::new(size, true)?,
            back: Sheet::new(size, true)?,
            scratch: Sheet::new(tile, true)?,
            blotter: Sheet::new((1, 1), true)?,
            size,
            view,
            dark,
            columns: 0,
            tiles: Vec::new(),
            job: None,
        };
        layer.restart(size, view, dark);
        Some(layer)
    }

    pub(super) const fn view(&self) -> DeviceView {
        self.view
    }

    pub(super) const fn sheet(&self) -> &Sheet {
        &self.front
    }

    /// Everything is up to date.
    pub(super) fn is_complete(&self) -> bool {
        self.job.is_none() && self.tiles.iter().all(Option::is_none)
    }

    /// Begins anew: another size, or another theme. Shows plain paper until it is drawn.
    pub(super) fn restart(&mut self, size: (u32, u32), view: DeviceView, dark: bool) {
        if size != self.size {
            self.front.resize(size);
            self.back.resize(size);
        }
        self.size = size;
        self.view = view;
        self.dark = dark;
        self.columns = (size.0 as i32 + TILE - 1) / TILE;
        let rows = (size.1 as i32 + TILE - 1) / TILE;
        self.tiles.clear();
        self.tiles.resize((self.columns * rows) as usize, None);
        self.job = None;
        self.front
            .fill(Area::of_size(size), &css(board_color(dark)));
        self.mark(Area::of_size(size));
    }

    /// Another size, with what is there kept in place until it is drawn again.
    pub(super) fn resize(&mut self, size: (u32, u32), view: DeviceView) {
        let Some(kept) = Sheet::new(self.size, true) else {
            return self.restart(size, view, self.dark);
        };
        let (old_size, old_view) = (self.size, self.view);
        kept.copy(&self.front, Area::of_size(old_size), 0, 0);
        self.restart(size, view, self.dark);
        copy_scaled(&self.front, &kept, old_size, old_view, view);
    }

    /// Moves to a view of the same density: what stays in view is kept. Tells whether anything moved.
    pub(super) fn move_to(&mut self, view: DeviceView) -> bool {
        let (dx, dy) = (self.view.left - view.left, self.view.top - view.top);
        if dx == 0.0 && dy == 0.0 {
            return false;
        }
        let all = Area::of_size(self.size);
        self.view = view;
        if dx.abs() >= self.size.0.into() || dy.abs() >= self.size.1.into() {
            self.restart(self.size, view, self.dark);
            return true;
        }
        let (dx, dy) = (dx as i32, dy as i32);
        // A tile that is being drawn stays as it is: it only belongs elsewhere now.
        if let Some(job) = &mut self.job {
            job.area = job.area.moved(dx, dy);
            if !job.area.intersects(all) {
                self.job = None;
            }
        }
        self.back.copy(&self.front, all, dx, dy);
        std::mem::swap(&mut self.front, &mut self.back);
        let stale: Vec<Area> = self.tiles.iter_mut().filter_map(Option::take).collect();
        for area in stale {
            self.mark(area.moved(dx, dy));
        }
        // What came into view: a strip at one side, and one above or below.
        let width = self.size.0 as i32;
        let height = self.size.1 as i32;
        let beside = if dx > 0 {
            Area::new(0, 0, dx, height)
        } else {
            Area::new(width + dx, 0, width, height)
        };
        let above = if dy > 0 {
            Area::new(0, 0, width, dy)
        } else {
            Area::new(0, height + dy, width, height)
        };
        let paper = css(board_color(self.dark));
        for strip in [beside, above] {
            if !strip.is_empty() {
                self.front.fill(strip, &paper);
                self.mark(strip);
            }
        }
        true
    }

    /// Takes over a view of another density: shows the old picture scaled, and draws everything again.
    pub(super) fn scale_to(&mut self, view: DeviceView) {
        self.back
            .fill(Area::of_size(self.size), &css(board_color(self.dark)));
        copy_scaled(&self.back, &self.front, self.size, self.view, view);
        std::mem::swap(&mut self.front, &mut self.back);
        self.view = view;
        self.job = None;
        self.mark(Area::of_size(self.size));
    }

    /// An area is out of date.
    pub(super) fn mark(&mut self, area: Area) {
        let area = area.intersection(Area::of_size(self.size));
        if area.is_empty() {
            return;
        }
        for row in area.top / TILE..=(area.bottom - 1) / TILE {
            for column in area.left / TILE..=(area.right - 1) / TILE {
                let (left, top) = (column * TILE, row * TILE);
                let part = area.intersection(Area::new(left, top, left + TILE, top + TILE));
                let tile = &mut self.tiles[(row * self.columns + column) as usize];
                *tile = Some(tile.map_or(part, |stale| stale.union(part)));
            }
        }
    }

    /// Draws a stroke above everything else in its area, if that is where it belongs: the common case of a stroke that
    /// was just drawn. Tells whether it did; otherwise the area must be marked.
    pub(super) fn draw_topmost(
        &mut self,
        board: &Board,
        stroke: &Stroke,
        area: Area,
        paths: &mut PathCache,
    ) -> bool {
        let is_pen = stroke.style.value.nib == Nib::Pen;
        let undisturbed = self
            .job
            .as_ref()
            .is_none_or(|job| !job.area.intersects(area));
        if !is_pen
            || !undisturbed
            || board.strokes_in(stroke.extent()).last().map(|top| top.id) != Some(stroke.id)
        {
            return false;
        }
        let mut ink = Ink::new(&self.front.context, self.view, self.dark);
        ink.stroke(stroke, paths);
        ink.finish();
        true
    }

    /// Draws what is out of date until the clock says `until_ms`. `report` gets the areas that were renewed.
    pub(super) fn work(
        &mut self,
        board: &Board,
        paths: &mut PathCache,
        until_ms: f64,
        is_wet: impl Fn(StrokeId) -> bool,
        mut report: impl FnMut(Area),
    ) {
        loop {
            let Some(mut job) = self.job.take().or_else(|| self.next_job(board, &is_wet)) else {
                return;
            };
            let view = DeviceView {
                left: self.view.left + f64::from(job.area.left),
                top: self.view.top + f64::from(job.area.top),
                ..self.view
            };
            if job.done == 0 {
                let blank = Area::new(0, 0, job.area.width(), job.area.height());
                self.scratch.fill(blank, &css(board_color(self.dark)));
            }
            let mut ink = Ink::new(&self.scratch.context, view, self.dark);
            while job.done < job.strokes.len() {
                for id in job.strokes.iter().skip(job.done).take(STROKES_PER_LOOK) {
                    if let Some(stroke) = board.get(*id) {
                        ink.stroke(stroke, paths);
                    }
                }
                job.done += STROKES_PER_LOOK;
                ink.flush();
                self.blotter
                    .copy(&self.scratch, Area::new(0, 0, 1, 1), 0, 0);
                if now_ms() >= until_ms {
                    break;
                }
            }
            ink.finish();
            if job.done < job.strokes.len() {
                self.job = Some(job);
                return;
            }
            let drawn = Area::new(0, 0, job.area.width(), job.area.height());
            self.front
                .copy(&self.scratch, drawn, job.area.left, job.area.top);
            report(job.area);
            if now_ms() >= until_ms {
                return;
            }
        }
    }

    /// The stale tile that is nearest to the middle.
    fn next_job(&mut self, board: &Board, is_wet: impl Fn(StrokeId) -> bool) -> Option<Job> {
        let middle = (self.size.0 as i32 / 2, self.size.1 as i32 / 2);
        let distance = |area: &Area| {
            let (dx, dy) = (
                (area.left + area.right) / 2 - middle.0,
                (area.top + area.bottom) / 2 - middle.1,
            );
            dx * dx + dy * dy
        };
        let stale = self.tiles.iter_mut().filter(|tile| tile.is_some());
        let area = stale
            .min_by_key(|tile| tile.as_ref().map(distance))?
            .take()?;
        let rect = self.board_rect(area);
        let (markers, pens): (Vec<&Stroke>, Vec<&Stroke>) = board
            .strokes_in(rect)
            .into_iter()
            .partition(|stroke| stroke.style.value.nib == Nib::Highlighter);
        let strokes = markers
            .into_iter()
            .chain(pens)
            .map(|stroke| stroke.id)
            .filter(|id| !is_wet(*id));
        Some(Job {
            area,
            strokes: strokes.collect(),
            done: 0,
        })
    }

    fn board_rect(&self, area: Area) -> BoardRect {
        // Thin ink is drawn a little wider than its extent.
        let (left, top) = (f64::from(area.left) - 2.0, f64::from(area.top) - 2.0);
        self.view.board_rect(
            left,
            top,
            f64::from(area.right) + 2.0,
            f64::from(area.bottom) + 2.0,
        )
    }
}

/// Draws a picture made for one view as another view shows it.
pub(super) fn copy_scaled(
    to: &Sheet,
    from: &Sheet,
    size: (u32, u32),
    old: DeviceView,
    new: DeviceView,
) {
    let ratio = new.density / old.density;
    let _ = to.context.draw_image_with_offscreen_canvas_and_dw_and_dh(
        &from.canvas,
        old.left * ratio - new.left,
        old.top * ratio - new.top,
        f64::from(size.0) * ratio,
        f64::from(size.1) * ratio,
    );
}
