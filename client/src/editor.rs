//! What a person does to the board: tools, gestures and the view, turned into calls of a [`Surface`].
//!
//! It owns the chosen tool and the [`Viewport`], and knows neither links nor canvases. Whoever feeds it pointer samples
//! gets the points to the surface within the same call, so that ink is as early as its event.

use chalkboard_shared::board_point::UNITS_PER_PIXEL;
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::limits::WIDTH_MAX;
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{BoardPoint, BoardRect, InkPoint, Rights, StrokeId, StrokeStyle};
use glam::DVec2;

use crate::bridge::{PointerPhase, PointerSample, PointerShape, ToolKind};
use crate::client::Client;
use crate::gesture::{Gestures, Intent, Purpose};
use crate::hit::touches;
use crate::viewport::Viewport;

/// Radius of the eraser in CSS pixels, at every zoom.
pub const ERASER_RADIUS: f64 = 10.0;
/// Margins around everything when the view is fitted to it, in CSS pixels: above and below is the page's chrome, the
/// sides are free, and phones have little to give away there.
const FIT_MARGIN: DVec2 = DVec2::new(24.0, 72.0);
/// Wheel pixels that count in one event: a notch of a mouse wheel would leap otherwise, trackpads send a few each.
const WHEEL_ZOOM_MAX: f64 = 24.0;
/// Zoom for each wheel pixel, as a natural logarithm; what browsers make of a pinch.
const WHEEL_ZOOM_RATE: f64 = 0.01;
/// In this time the view gets half of the way to that of somebody who is followed, in milliseconds.
const APPROACH_MS: f64 = 90.0;
/// Changes of pressure in place that are the pen's noise.
const PRESSURE_NOISE: u8 = 8;

/// What tools work on.
pub trait Surface {
    /// May tools change it now?
    fn can_edit(&self) -> bool;
    /// Begins a stroke.
    fn begin_stroke(&mut self, style: StrokeStyle, points: &[InkPoint]) -> StrokeId;
    /// Adds points to it.
    fn extend_stroke(&mut self, stroke: StrokeId, points: &[InkPoint]);
    /// Ends it.
    fn finish_stroke(&mut self, stroke: StrokeId);
    /// Takes it back as if it had never been.
    fn abandon_stroke(&mut self, stroke: StrokeId);
    /// Begins changes that make up one step of undo.
    fn begin_gesture(&mut self);
    /// Ends them.
    fn end_gesture(&mut self);
    /// Erases what an eraser of `radius` (1/16 px) touches on a straight way; tells whether there was anything.
    fn erase_along(&mut self, from: BoardPoint, to: BoardPoint, radius: i32) -> bool;
    /// Takes back the last step.
    fn undo(&mut self) -> bool;
    /// This person's pointer is here.
    fn set_cursor(&mut self, now_ms: f64, cursor: CursorState);
    /// This person sees this.
    fn set_view(&mut self, view: BoardRect);
}

impl Surface for Client {
    fn can_edit(&self) -> bool {
        // Until the server has said it, drawing is allowed: nobody should wait for a connection to begin.
        self.rights() != Some(Rights::View)
    }

    fn begin_stroke(&mut self, style: StrokeStyle, points: &[InkPoint]) -> StrokeId {
        self.begin_stroke(style, points)
    }

    fn extend_stroke(&mut self, stroke: StrokeId, points: &[InkPoint]) {
        self.extend_stroke(stroke, points);
    }

    fn finish_stroke(&mut self, stroke: StrokeId) {
        self.finish_stroke(stroke);
    }

    fn abandon_stroke(&mut self, stroke: StrokeId) {
        self.abandon_stroke(stroke);
    }

    fn begin_gesture(&mut self) {
        self.begin_gesture();
    }

    fn end_gesture(&mut self) {
        self.end_gesture();
    }

    fn erase_along(&mut self, from: BoardPoint, to: BoardPoint, radius: i32) -> bool {
        let swept = BoardRect::from_corners(from, to).inflate(radius);
        let near = self.board().strokes_in(swept).into_iter();
        let touched: Vec<StrokeId> = near
            .filter(|stroke| touches(stroke, from, to, radius))
            .map(|stroke| stroke.id)
            .collect();
        self.erase(&touched);
        !touched.is_empty()
    }

    fn undo(&mut self) -> bool {
        self.undo()
    }

    fn set_cursor(&mut self, now_ms: f64, cursor: CursorState) {
        self.set_cursor(now_ms, cursor);
    }

    fn set_view(&mut self, view: BoardRect) {
        self.set_view(view);
    }
}

/// What is being done with a tool.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Work {
    Nothing,
    Drawing { stroke: StrokeId, last: InkPoint },
    Erasing { last: BoardPoint, erased: bool },
}

/// Tools, gestures and the view of one person.
pub struct Editor {
    viewport: Viewport,
    gestures: Gestures,
    tool: ToolKind,
    hand_held: bool,
    color: u32,
    /// 1/16 px.
    width: u16,
    work: Work,
    /// Points of the current event, for the stroke in progress.
    batch: Vec<InkPoint>,
    intents: Vec<Intent>,
    view_moved: bool,
}

impl Default for Editor {
    fn default() -> Self {
        Self {
            viewport: Viewport::default(),
            gestures: Gestures::default(),
            tool: ToolKind::Pen,
            hand_held: false,
            color: 0x1f_2328,
            width: 4 * UNITS_PER_PIXEL as u16,
            work: Work::Nothing,
            batch: Vec::new(),
            intents: Vec::new(),
            view_moved: false,
        }
    }
}

impl Editor {
    /// The view.
    pub const fn viewport(&self) -> &Viewport {
        &self.viewport
    }

    /// A gesture is in progress.
    pub const fn is_active(&self) -> bool {
        self.gestures.is_working() || self.gestures.is_moving_view()
    }

    /// The stroke under the pen.
    pub const fn drawing(&self) -> Option<StrokeId> {
        match self.work {
            Work::Drawing { stroke, .. } => Some(stroke),
            Work::Nothing | Work::Erasing { .. } => None,
        }
    }

    /// Where the eraser is at work.
    pub const fn erasing(&self) -> Option<BoardPoint> {
        match self.work {
            Work::Erasing { last, .. } => Some(last),
            Work::Nothing | Work::Drawing { .. } => None,
        }
    }

    /// The view changed since this was last asked.
    pub const fn take_view_moved(&mut self) -> bool {
        let moved = self.view_moved;
        self.view_moved = false;
        moved
    }

    /// The mouse cursor that fits.
    pub fn shape(&self, can_edit: bool) -> PointerShape {
        if self.gestures.is_moving_view() {
            return PointerShape::Grabbing;
        }
        match (self.purpose(can_edit), self.tool) {
            (Purpose::Pan, _) => PointerShape::Grab,
            (Purpose::Nothing, _) => PointerShape::Default,
            (Purpose::Work, ToolKind::Eraser) => PointerShape::Ring((ERASER_RADIUS * 2.0) as u8),
            (Purpose::Work, _) => PointerShape::Crosshair,
        }
    }

    /// Takes pointer samples, oldest first.
    pub fn pointer(&mut self, surface: &mut impl Surface, now_ms: f64, samples: &[PointerSample]) {
        for sample in samples {
            let purpose = self.purpose(surface.can_edit());
            let mut intents = std::mem::take(&mut self.intents);
            self.gestures
                .pointer(sample, purpose, &mut |intent| intents.push(intent));
            for intent in intents.drain(..) {
                self.carry_out(surface, intent);
            }
            self.intents = intents;
        }
        self.flush(surface);
        if let Some(last) = samples.iter().rev().find(|sample| is_pointing(sample)) {
            let at = self.viewport.board_point(last.x.into(), last.y.into());
            let pressed = self.work != Work::Nothing;
            surface.set_cursor(
                now_ms,
                CursorState {
                    at,
                    tool: self.cursor_tool(surface.can_edit()),
                    pressed,
                },
            );
        }
        self.report_view(surface);
    }

    /// A turn of the wheel over a place, in CSS pixels.
    pub fn wheel(
        &mut self,
        surface: &mut impl Surface,
        at: (f64, f64),
        by: (f64, f64),
        zoom: bool,
    ) {
        if zoom {
            let turn = by.1.clamp(-WHEEL_ZOOM_MAX, WHEEL_ZOOM_MAX);
            // The exponential function, to a thousandth: forth and back is where it was.
            let half = -turn * WHEEL_ZOOM_RATE / 2.0;
            self.viewport
                .zoom_by(at.0, at.1, (1.0 + half) / (1.0 - half));
        } else {
            self.viewport.pan(-by.0, -by.1);
        }
        self.view_moved = true;
        self.report_view(surface);
    }

    /// Chooses a tool; what was in progress is finished with the old one.
    pub fn select_tool(&mut self, surface: &mut impl Surface, tool: ToolKind) {
        if tool != self.tool {
            self.finish(surface);
            self.tool = tool;
        }
    }

    /// While held, the hand takes the place of the tool for the next gesture.
    pub const fn hold_hand(&mut self, held: bool) {
        self.hand_held = held;
    }

    /// Colour of new strokes, 0xRRGGBB.
    pub const fn set_color(&mut self, color: u32) {
        self.color = color & 0xff_ffff;
    }

    /// Width of new strokes in board pixels, kept within what the protocol takes.
    pub fn set_width(&mut self, width: f32) {
        self.width = (width * UNITS_PER_PIXEL as f32)
            .round()
            .clamp(1.0, f32::from(WIDTH_MAX)) as u16;
    }

    /// The canvas's size in CSS pixels, and device pixels per CSS pixel.
    pub fn resize(&mut self, surface: &mut impl Surface, width: f32, height: f32, scale: f32) {
        self.viewport
            .resize(width.into(), height.into(), scale.into());
        self.view_moved = true;
        self.report_view(surface);
    }

    /// Multiplies the zoom about the middle.
    pub fn zoom_by(&mut self, surface: &mut impl Surface, factor: f32) {
        self.zoom_to(surface, self.viewport.zoom() * f64::from(factor));
    }

    /// Sets the zoom about the middle.
    pub fn zoom_to(&mut self, surface: &mut impl Surface, zoom: f64) {
        let (width, height) = self.viewport.size();
        self.viewport.zoom_to(width / 2.0, height / 2.0, zoom);
        self.view_moved = true;
        self.report_view(surface);
    }

    /// Shows a rectangle of the board, at 100 % at most.
    pub fn fit(&mut self, surface: &mut impl Surface, rect: BoardRect) {
        self.viewport.fit(rect, FIT_MARGIN, 1.0);
        self.view_moved = true;
        self.report_view(surface);
    }

    /// Moves the view towards that of somebody else, for so long; not while something is being done here. `false` once
    /// it is there.
    pub fn approach(&mut self, surface: &mut impl Surface, rect: BoardRect, ms: f64) -> bool {
        if self.is_active() {
            return false;
        }
        let is_moving = self.viewport.approach(rect, ms / (ms + APPROACH_MS));
        self.view_moved |= is_moving;
        self.report_view(surface);
        is_moving
    }

    /// A gesture moves the view.
    pub const fn is_moving_view(&self) -> bool {
        self.gestures.is_moving_view()
    }

    /// Moves the view by CSS pixels.
    pub fn pan_by(&mut self, surface: &mut impl Surface, dx: f32, dy: f32) {
        self.viewport.pan(-f64::from(dx), -f64::from(dy));
        self.view_moved = true;
        self.report_view(surface);
    }

    /// Takes back the gesture in progress.
    pub fn cancel(&mut self, surface: &mut impl Surface) {
        let mut abandoned = false;
        self.gestures
            .cancel(&mut |intent| abandoned |= intent == Intent::Abandon);
        if abandoned {
            self.carry_out(surface, Intent::Abandon);
        }
    }

    /// Ends the gesture in progress and keeps what it did: before undo, and when the tool changes.
    pub fn finish(&mut self, surface: &mut impl Surface) {
        self.gestures.cancel(&mut |_| {});
        self.carry_out(surface, Intent::Release);
    }

    fn purpose(&self, can_edit: bool) -> Purpose {
        if self.hand_held || self.tool == ToolKind::Hand {
            Purpose::Pan
        } else if can_edit {
            Purpose::Work
        } else {
            Purpose::Nothing
        }
    }

    fn carry_out(&mut self, surface: &mut impl Surface, intent: Intent) {
        match intent {
            Intent::Press {
                at,
                pressure,
                eraser,
            } => self.press(surface, at, pressure, eraser),
            Intent::Drag { at, pressure } => self.drag(surface, at, pressure),
            Intent::Release => {
                self.flush(surface);
                match std::mem::replace(&mut self.work, Work::Nothing) {
                    Work::Nothing => {}
                    Work::Drawing { stroke, .. } => surface.finish_stroke(stroke),
                    Work::Erasing { .. } => surface.end_gesture(),
                }
            }
            Intent::Abandon => {
                self.batch.clear();
                match std::mem::replace(&mut self.work, Work::Nothing) {
                    Work::Nothing => {}
                    Work::Drawing { stroke, .. } => surface.abandon_stroke(stroke),
                    Work::Erasing { erased, .. } => {
                        surface.end_gesture();
                        if erased {
                            surface.undo();
                        }
                    }
                }
            }
            Intent::Pan { by } => {
                self.viewport.pan(by.x, by.y);
                self.view_moved = true;
            }
            Intent::Pinch { from, to, factor } => {
                self.viewport.pan(to.x - from.x, to.y - from.y);
                self.viewport.zoom_by(to.x, to.y, factor);
                self.view_moved = true;
            }
            Intent::Grab | Intent::Rest | Intent::Hover { .. } => {}
        }
    }

    fn press(&mut self, surface: &mut impl Surface, at: DVec2, pressure: u8, eraser: bool) {
        let at = self.viewport.board_point(at.x, at.y);
        if eraser || self.tool == ToolKind::Eraser {
            surface.begin_gesture();
            let erased = surface.erase_along(at, at, self.eraser_radius());
            self.work = Work::Erasing { last: at, erased };
        } else {
            let nib = if self.tool == ToolKind::Highlighter {
                Nib::Highlighter
            } else {
                Nib::Pen
            };
            let style = StrokeStyle {
                nib,
                color: self.color,
                width: self.width,
            };
            let last = InkPoint { at, pressure };
            self.work = Work::Drawing {
                stroke: surface.begin_stroke(style, &[last]),
                last,
            };
        }
    }

    fn drag(&mut self, surface: &mut impl Surface, at: DVec2, pressure: u8) {
        let at = self.viewport.board_point(at.x, at.y);
        let radius = self.eraser_radius();
        match &mut self.work {
            Work::Nothing => {}
            Work::Drawing { last, .. } => {
                if at != last.at || pressure.abs_diff(last.pressure) >= PRESSURE_NOISE {
                    *last = InkPoint { at, pressure };
                    self.batch.push(*last);
                }
            }
            Work::Erasing { last, erased } => {
                if at != *last {
                    *erased |= surface.erase_along(*last, at, radius);
                    *last = at;
                }
            }
        }
    }

    /// Hands the points of this event on in one piece.
    fn flush(&mut self, surface: &mut impl Surface) {
        if let Work::Drawing { stroke, .. } = self.work
            && !self.batch.is_empty()
        {
            surface.extend_stroke(stroke, &self.batch);
        }
        self.batch.clear();
    }

    fn eraser_radius(&self) -> i32 {
        (ERASER_RADIUS / self.viewport.zoom() * f64::from(UNITS_PER_PIXEL)).round() as i32
    }

    fn cursor_tool(&self, can_edit: bool) -> CursorTool {
        if matches!(self.work, Work::Erasing { .. }) {
            return CursorTool::Eraser;
        }
        match (self.purpose(can_edit), self.tool) {
            (Purpose::Pan | Purpose::Nothing, _) | (_, ToolKind::Hand) => CursorTool::Hand,
            (_, ToolKind::Pen) => CursorTool::Pen,
            (_, ToolKind::Highlighter) => CursorTool::Highlighter,
            (_, ToolKind::Eraser) => CursorTool::Eraser,
        }
    }

    fn report_view(&self, surface: &mut impl Surface) {
        if self.view_moved {
            surface.set_view(self.viewport.visible());
        }
    }
}

/// The sample tells where a person points.
fn is_pointing(sample: &PointerSample) -> bool {
    matches!(
        sample.phase,
        PointerPhase::Down | PointerPhase::Move | PointerPhase::Up
    )
}

#[cfg(test)]
mod tests;
