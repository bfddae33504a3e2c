//! The picture of the board: a layer of dry ink, wet ink over it, then cursors. Only what changed is drawn.
//!
//! It reads the board and a view and knows nothing of links or gestures. [`layer`] keeps the dry ink, [`live`] the
//! strokes that grow, [`cursor`] other people's pointers, [`crowd`] how many are where they are too many to tell each; here they meet on the canvas.

mod crowd;
mod cursor;
mod ink;
mod layer;
mod live;
mod path_cache;
mod sheet;
mod trail;

use chalkboard_client::board::{Board, BoardChange};
use chalkboard_client::bridge::Person;
use chalkboard_client::color::board_color;
use chalkboard_client::cursors::Cursors;
use chalkboard_client::editor::ERASER_RADIUS;
use chalkboard_client::viewport::{DeviceView, Viewport};
use chalkboard_shared::{ActorId, BoardPoint, Stroke};
use web_sys::OffscreenCanvas;

use crowd::CrowdLayer;
use cursor::CursorLayer;
use ink::{Ink, css};
use layer::{Layer, copy_scaled};
use live::{LiveInk, area_of};
use path_cache::PathCache;
use sheet::{Area, Damage, Sheet};
use trail::Trail;

/// Time a frame spends on the layer, in milliseconds: during a gesture, and while the view moves, it leaves room in a
/// frame of 16 for pointers and for the browser, which paints after us; otherwise for messages.
const LAYER_MS_BUSY: f64 = 6.0;
const LAYER_MS_IDLE: f64 = 11.0;
/// The zoom rests when it has not changed for this long, in milliseconds.
const ZOOM_REST_MS: f64 = 120.0;
/// The view rests when it has not changed for this long, in milliseconds.
const MOVE_REST_MS: f64 = 60.0;
/// Scaled by more than this, a picture is drawn anew even while the zoom still changes.
const ZOOM_STRETCH_MAX: f64 = 2.5;
/// With more changes than this at once the board is being loaded: areas are marked without a closer look.
const CHANGES_LOOKED_AT_MAX: usize = 64;

/// Draws a board.
pub(crate) struct Renderer {
    screen: Sheet,
    layer: Layer,
    paths: PathCache,
    live: LiveInk,
    crowds: CrowdLayer,
    cursors: CursorLayer,
    trail: Trail,
    damage: Damage,
    size: (u32, u32),
    view: DeviceView,
    dark: bool,
    zoomed_ms: f64,
    moved_ms: f64,
}

/// What a frame is made of.
pub(crate) struct Scene<'a> {
    /// The board.
    pub(crate) board: &'a Board,
    /// What changed on it since the last frame.
    pub(crate) changes: &'a [BoardChange],
    /// The view.
    pub(crate) viewport: &'a Viewport,
    /// Cursors, unless they are hidden.
    pub(crate) cursors: Option<&'a Cursors>,
    /// A gesture is in progress.
    pub(crate) busy: bool,
    /// Where this person's eraser is.
    pub(crate) eraser: Option<BoardPoint>,
    /// This person.
    pub(crate) me: ActorId,
}

/// What came of a frame.
#[derive(Default)]
pub(crate) struct Frame {
    /// There is more to do: call again at the next one.
    pub(crate) unfinished: bool,
    /// Something was drawn.
    pub(crate) drawn: bool,
    /// Points of other people's ink that this frame shows for the first time.
    pub(crate) foreign_points: usize,
}

impl Renderer {
    /// Takes the canvas; `None` where the browser cannot draw on it.
    pub(crate) fn new(canvas: OffscreenCanvas, viewport: &Viewport) -> Option<Self> {
        let size = viewport.device_size();
        let screen = Sheet::of(canvas, true)?;
        screen.resize(size);
        let view = viewport.device();
        let mut renderer = Self {
            screen,
            layer: Layer::new(size, view, false)?,
            paths: PathCache::default(),
            live: LiveInk::default(),
            crowds: CrowdLayer::default(),
            cursors: CursorLayer::default(),
            trail: Trail::default(),
            damage: Damage::default(),
            size,
            view,
            dark: false,
            zoomed_ms: f64::NEG_INFINITY,
            moved_ms: f64::NEG_INFINITY,
        };
        renderer.damage.add_everything();
        Some(renderer)
    }

    /// Draws for a light or a dark page.
    pub(crate) fn set_dark(&mut self, dark: bool) {
        if dark != self.dark {
            self.dark = dark;
            self.layer.restart(self.size, self.layer.view(), dark);
            self.damage.add_everything();
        }
    }

    /// Another board is shown from now on: everything is drawn again, over what is there.
    pub(crate) fn look_elsewhere(&mut self) {
        self.live = LiveInk::default();
        self.layer.mark(Area::of_size(self.size));
        self.damage.add_everything();
    }

    /// Names and colours of everybody.
    pub(crate) fn set_people(&mut self, people: &[Person]) {
        self.cursors.set_people(people);
        self.damage.add_everything();
    }

    /// Draws what has changed.
    pub(crate) fn frame(&mut self, started_ms: f64, scene: &Scene<'_>) -> Frame {
        let mut frame = Frame::default();
        self.follow(started_ms, scene.viewport);
        let loading = scene.changes.len() > CHANGES_LOOKED_AT_MAX;
        for change in scene.changes {
            self.apply(started_ms, scene, change, loading, &mut frame);
        }
        for id in self.live.take_resting(started_ms) {
            if let Some(stroke) = scene.board.get(id) {
                self.mark(area_of(stroke.extent(), self.layer.view()));
            }
        }
        let is_moving = started_ms - self.moved_ms < MOVE_REST_MS;
        let layer_ms = if scene.busy || is_moving {
            LAYER_MS_BUSY
        } else {
            LAYER_MS_IDLE
        };
        let (live, damage, (from, to)) =
            (&self.live, &mut self.damage, (self.layer.view(), self.view));
        self.layer.work(
            scene.board,
            &mut self.paths,
            started_ms + layer_ms,
            |id| live.holds(id),
            |area| {
                damage.add(shifted(area, from, to));
            },
        );
        frame.unfinished |= !self.layer.is_complete();

        frame.unfinished |= self.place_cursors(started_ms, scene);
        let radius = ERASER_RADIUS * scene.viewport.scale();
        if let Some(at) = scene.eraser {
            self.trail.push(at, started_ms);
        }
        if let Some(area) = self.trail.age(started_ms, self.view, radius) {
            self.damage.add(area);
            frame.unfinished = true;
        }
        if self.layer.view().density != self.view.density {
            frame.unfinished = true;
        }
        if !self.damage.is_empty() {
            self.compose(started_ms, scene.board, radius);
            frame.drawn = true;
        }
        frame
    }

    /// A PNG of what is in view without the cursors, as a promise of a `Blob`.
    pub(crate) fn picture(&self, board: &Board) -> Option<js_sys::Promise> {
        let sheet = Sheet::new(self.size, true)?;
        self.draw_ink(&sheet, board);
        sheet.canvas.convert_to_blob().ok()
    }

    /// All dry ink is drawn.
    pub(crate) fn is_complete(&self) -> bool {
        self.layer.is_complete() && self.layer.view() == self.view
    }

    /// Pixels of the screen as RGBA bytes, for tests.
    pub(crate) fn pixels(&self, left: f64, top: f64, width: f64, height: f64) -> Option<Vec<u8>> {
        let pixels = self
            .screen
            .context
            .get_image_data(left, top, width, height)
            .ok()?;
        Some(pixels.data().0)
    }

    /// Takes over the view, as far as that can be done at once.
    fn follow(&mut self, now_ms: f64, viewport: &Viewport) {
        let (size, view) = (viewport.device_size(), viewport.device());
        self.crowds.restyle(self.dark, viewport.scale());
        self.cursors.restyle(self.dark, viewport.scale());
        if size != self.size {
            self.size = size;
            self.view = view;
            self.screen.resize(size);
            self.layer.resize(size, view);
            self.damage.add_everything();
            return;
        }
        if view != self.view {
            if view.density != self.view.density {
                self.zoomed_ms = now_ms;
            }
            self.view = view;
            self.moved_ms = now_ms;
            self.damage.add_everything();
        }
        let stretch = view.density / self.layer.view().density;
        if stretch == 1.0 {
            if self.layer.move_to(view) {
                self.damage.add_everything();
            }
        } else if now_ms - self.zoomed_ms >= ZOOM_REST_MS
            || !(1.0 / ZOOM_STRETCH_MAX..=ZOOM_STRETCH_MAX).contains(&stretch)
        {
            self.layer.scale_to(view);
            self.damage.add_everything();
        }
    }

    fn apply(
        &mut self,
        now_ms: f64,
        scene: &Scene<'_>,
        change: &BoardChange,
        loading: bool,
        frame: &mut Frame,
    ) {
        let stroke = scene
            .board
            .get(change.id)
            .filter(|_| !change.after.is_empty());
        let was_live = self.live.holds(change.id);
        let is_new = change.before.is_empty();
        if let Some(stroke) = stroke.filter(|stroke| !stroke.is_finished())
            // What has lost points, as in the past it may, is drawn anew like any other.
            && (was_live && (is_new || change.grown_only)
                || ((is_new && !loading || change.grown_only) && self.live.has_room()))
            && let Some(growth) = self.live.update(now_ms, stroke)
        {
            if !was_live && !is_new {
                // It rested on the layer, which must give it back.
                self.mark(area_of(change.before, self.layer.view()));
            }
            self.damage.add(growth.area(self.view));
            if scene.me != stroke.author() {
                frame.foreign_points += growth.points;
            }
            return;
        }
        if self.live.remove(change.id) {
            for rect in [change.before, change.after] {
                self.damage_screen(area_of(rect, self.view));
            }
        }
        if let Some(stroke) = stroke
            && is_new
            && scene.me != stroke.author()
        {
            frame.foreign_points += stroke.point_count as usize;
        }
        let after = area_of(change.after, self.layer.view());
        if let (Some(stroke), Some(area)) = (stroke, after)
            && (is_new || was_live)
            && !loading
            && self.draw_topmost(scene.board, stroke, area)
        {
            return;
        }
        if !was_live {
            self.mark(area_of(change.before, self.layer.view()));
        }
        self.mark(after);
    }

    fn draw_topmost(&mut self, board: &Board, stroke: &Stroke, area: Area) -> bool {
        let visible = area.intersects(Area::of_size(self.size));
        let drawn = !visible
            || self
                .layer
                .draw_topmost(board, stroke, area, &mut self.paths);
        if drawn && visible {
            self.damage_screen(area_of(stroke.extent(), self.view));
        }
        drawn
    }

    fn mark(&mut self, area: Option<Area>) {
        if let Some(area) = area {
            self.layer.mark(area);
        }
    }

    fn damage_screen(&mut self, area: Option<Area>) {
        if let Some(area) = area {
            self.damage.add(area);
        }
    }

    /// Cursors and crowds; tells whether there is more of them to show than this frame does.
    fn place_cursors(&mut self, now_ms: f64, scene: &Scene<'_>) -> bool {
        let damage = &mut self.damage;
        if let Some(cursors) = scene.cursors {
            let is_short = self
                .cursors
                .place(cursors.at(now_ms), scene.viewport, |area| damage.add(area));
            let maps = cursors.crowds();
            let is_turning = self
                .crowds
                .update(now_ms, maps, self.view, |area| damage.add(area));
            is_short || is_turning
        } else {
            self.cursors.clear(|area| damage.add(area));
            self.crowds.clear(self.view, |area| damage.add(area));
            false
        }
    }

    fn compose(&mut self, now_ms: f64, board: &Board, eraser_radius: f64) {
        let areas = self.damage.take(Area::of_size(self.size));
        let context = &self.screen.context;
        context.save();
        context.begin_path();
        for area in &areas {
            context.rect(
                area.left.into(),
                area.top.into(),
                area.width().into(),
                area.height().into(),
            );
        }
        context.clip();
        self.draw_ink(&self.screen, board);
        self.trail
            .draw(&self.screen, now_ms, self.view, eraser_radius, self.dark);
        self.crowds.draw(&self.screen, &areas, self.view);
        self.cursors.draw(&self.screen, &areas);
        context.restore();
    }

    /// Dry and wet ink.
    fn draw_ink(&self, sheet: &Sheet, board: &Board) {
        let layer = self.layer.sheet();
        let all = Area::of_size(self.size);
        if self.layer.view() == self.view {
            sheet.copy(layer, all, 0, 0);
        } else {
            sheet.fill(all, &css(board_color(self.dark)));
            copy_scaled(sheet, layer, self.size, self.layer.view(), self.view);
        }
        if !self.live.is_empty() {
            let mut ink = Ink::new(&sheet.context, self.view, self.dark);
            self.live.draw(&mut ink, |id| board.get(id).is_some());
            ink.finish();
        }
    }
}

/// An area of the layer on the screen.
fn shifted(area: Area, from: DeviceView, to: DeviceView) -> Area {
    let ratio = to.density / from.density;
    let x = |v: i32| (f64::from(v) + from.left) * ratio - to.left;
    let y = |v: i32| (f64::from(v) + from.top) * ratio - to.top;
    Area::around(x(area.left), y(area.top), x(area.right), y(area.bottom))
}
