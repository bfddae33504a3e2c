//! Other people's cursors: pictures of arrows and names, made once and stamped each frame.

use std::collections::HashMap;

use chalkboard_client::bridge::Person;
use chalkboard_client::color::text_on;
use chalkboard_client::cursors::CursorView;
use chalkboard_client::viewport::Viewport;
use chalkboard_shared::cursor::CursorTool;
use chalkboard_shared::order::sort_by_key;

use super::ink::css;
use super::sheet::{Area, Sheet};

/// Cursors that show a name; of a crowd those nearest to the middle.
const NAMES_MAX: usize = 50;
/// Cursors in view up to which names may lie on each other; with more, only those show that have room.
const NAMES_PILED_MAX: usize = 12;
/// Cursors drawn at all.
const CURSORS_MAX: usize = 1500;
/// Pictures of names kept; beyond it those that are not in sight go.
const NAME_PICTURES_MAX: usize = 512;
/// Pictures of arrows kept: more than are drawn at once; beyond it all are made anew as they are needed.
const ARROW_PICTURES_MAX: usize = 2048;
/// Pictures made in one frame, which takes half a millisecond each: the others wait for the next.
const NEW_PICTURES_MAX: usize = 12;
/// Letters of a name that are shown.
const NAME_LETTERS_MAX: usize = 24;

/// CSS pixels of an arrow's picture and where its tip is in it.
const ARROW_SIZE: f64 = 26.0;
const ARROW_TIP: f64 = 4.0;
/// CSS pixels from the tip to the name.
const NAME_AT: (f64, f64) = (13.0, 17.0);
const NAME_HEIGHT: f64 = 20.0;
const NAME_PADDING: f64 = 8.0;
/// Room for the shadow around a name, CSS pixels.
const NAME_MARGIN: f64 = 3.0;
const FONT: &str = "600 11.5px Inter,system-ui,-apple-system,\"Segoe UI\",Roboto,sans-serif";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Arrow,
    Ring,
    Outline,
}

/// Stamps and what they were last put on.
#[derive(Default)]
pub(super) struct CursorLayer {
    people: HashMap<u32, Somebody>,
    /// Pictures of names that are kept.
    names: usize,
    /// Counts frames.
    clock: u32,
    /// Pictures that this frame may still make.
    room: usize,
    /// By [`arrow_key`].
    arrows: HashMap<u32, Sheet>,
    /// Stamps of the last frame, in the order in which they are put.
    stamps: Vec<Stamp>,
    /// Device pixels of the view.
    view: (i32, i32),
    dark: bool,
    scale: f64,
}

struct Somebody {
    name: String,
    color: u32,
    picture: Option<Sheet>,
    /// Frame in which the name was last shown.
    named: u32,
}

#[derive(Clone, PartialEq)]
struct Stamp {
    session: u32,
    shape: Shape,
    pressed: bool,
    named: bool,
    /// Device pixels of the tip.
    at: (i32, i32),
    /// 1 to 32: alpha in steps, so that a fade is a few frames.
    alpha: u8,
    area: Area,
}

impl CursorLayer {
    /// Names and colours of everybody.
    pub(super) fn set_people(&mut self, people: &[Person]) {
        let mut before = std::mem::take(&mut self.people);
        for person in people {
            let (name, color) = (tidy(&person.name), person.color);
            let known = before.remove(&person.session);
            let known = known.filter(|known| known.name == name && known.color == color);
            self.people.insert(
                person.session,
                known.unwrap_or(Somebody {
                    name,
                    color,
                    picture: None,
                    named: 0,
                }),
            );
        }
    }

    /// The theme or the density changed.
    pub(super) fn restyle(&mut self, dark: bool, scale: f64) {
        if (dark, scale) != (self.dark, self.scale) {
            (self.dark, self.scale) = (dark, scale);
            self.arrows.clear();
            self.forget_names();
        }
    }

    fn forget_names(&mut self) {
        self.names = 0;
        self.people
            .values_mut()
            .for_each(|somebody| somebody.picture = None);
    }

    /// Places the cursors; `changed` gets the areas that look different from the last frame. Tells whether pictures are
    /// still to be made.
    pub(super) fn place(
        &mut self,
        cursors: impl Iterator<Item = CursorView>,
        viewport: &Viewport,
        mut changed: impl FnMut(Area),
    ) -> bool {
        self.clock = self.clock.wrapping_add(1);
        self.room = NEW_PICTURES_MAX;
        let mut is_short = false;
        let (width, height) = viewport.size();
        let device = |length: f64| (length * self.scale).round() as i32;
        self.view = (device(width), device(height));
        let mut shown: Vec<(CursorView, f64, f64)> = cursors
            .map(|cursor| {
                let (x, y) = viewport.to_screen(cursor.x.into(), cursor.y.into());
                (cursor, x, y)
            })
            .filter(|(_, x, y)| {
                *x > -ARROW_SIZE
                    && *y > -ARROW_SIZE
                    && *x < width + ARROW_SIZE
                    && *y < height + ARROW_SIZE
            })
            .collect();
        let from_middle = |x: f64, y: f64| (x - width / 2.0).powi(2) + (y - height / 2.0).powi(2);
        // Squares have no sign: their bits are in the same order.
        sort_by_key(&mut shown, |(_, x, y)| {
            std::cmp::Reverse(from_middle(*x, *y).to_bits())
        });
        let surplus = shown.len().saturating_sub(CURSORS_MAX);
        let shown = &shown[surplus..];
        let mut named = vec![false; shown.len()];
        let mut names: Vec<Area> = Vec::new();
        for (i, (cursor, x, y)) in shown.iter().enumerate().rev().take(NAMES_MAX) {
            let session = cursor.session.0;
            if !self.draw_name(session) {
                is_short = true;
                continue;
            }
            let area = self.name_area(self.device(*x, *y), session);
            let is_free = !names.iter().any(|other| other.intersects(area));
            if is_free || shown.len() <= NAMES_PILED_MAX {
                named[i] = true;
                names.push(area);
            }
        }

        let mut stamps = Vec::with_capacity(shown.len());
        for (i, (cursor, x, y)) in shown.iter().enumerate() {
            let Some(somebody) = self.people.get(&cursor.session.0) else {
                continue;
            };
            let (color, named) = (somebody.color, named[i] && !somebody.name.is_empty());
            let at = self.device(*x, *y);
            let shape = match cursor.tool {
                CursorTool::Pen | CursorTool::Highlighter => Shape::Arrow,
                CursorTool::Eraser => Shape::Ring,
                CursorTool::Hand => Shape::Outline,
            };
            let alpha = (cursor.alpha * 32.0).round().clamp(1.0, 32.0) as u8;
            let mut area = self.arrow_area(at);
            if !self.draw_arrow(color, shape, cursor.pressed) {
                is_short = true;
                continue;
            }
            if named {
                area = area.union(self.name_area(at, cursor.session.0));
            }
            stamps.push(Stamp {
                session: cursor.session.0,
                shape,
                pressed: cursor.pressed,
                named,
                at,
                alpha,
                area,
            });
        }
        if stamps != self.stamps {
            // Most of a crowd moves or nobody: pairs by place in the order find the few that did.
            for i in 0..stamps.len().max(self.stamps.len()) {
                let (new, old) = (stamps.get(i), self.stamps.get(i));
                if new != old {
                    new.into_iter()
                        .chain(old)
                        .for_each(|stamp| changed(stamp.area));
                }
            }
            self.stamps = stamps;
        }
        is_short
    }

    /// Puts the stamps on a sheet.
    pub(super) fn draw(&self, sheet: &Sheet, within: &[Area]) {
        let context = &sheet.context;
        for stamp in self
            .stamps
            .iter()
            .filter(|stamp| within.iter().any(|area| area.intersects(stamp.area)))
        {
            let Some(somebody) = self.people.get(&stamp.session) else {
                continue;
            };
            context.set_global_alpha(f64::from(stamp.alpha) / 32.0);
            if let Some(arrow) =
                self.arrows
                    .get(&arrow_key(somebody.color, stamp.shape, stamp.pressed))
            {
                let area = self.arrow_area(stamp.at);
                let _ = context.draw_image_with_offscreen_canvas(
                    &arrow.canvas,
                    area.left.into(),
                    area.top.into(),
                );
            }
            if stamp.named
                && let Some(picture) = &somebody.picture
            {
                let area = self.name_area(stamp.at, stamp.session);
                let _ = context.draw_image_with_offscreen_canvas(
                    &picture.canvas,
                    area.left.into(),
                    area.top.into(),
                );
            }
        }
        context.set_global_alpha(1.0);
    }

    /// Takes all of them off.
    pub(super) fn clear(&mut self, mut changed: impl FnMut(Area)) {
        self.stamps.drain(..).for_each(|stamp| changed(stamp.area));
    }

    /// CSS pixels as device pixels.
    fn device(&self, x: f64, y: f64) -> (i32, i32) {
        (
            (x * self.scale).round() as i32,
            (y * self.scale).round() as i32,
        )
    }

    fn arrow_area(&self, at: (i32, i32)) -> Area {
        let tip = (ARROW_TIP * self.scale).round() as i32;
        let size = (ARROW_SIZE * self.scale).ceil() as i32;
        Area::new(at.0 - tip, at.1 - tip, at.0 - tip + size, at.1 - tip + size)
    }

    /// Makes the picture if there is none; false if that must wait.
    fn draw_arrow(&mut self, color: u32, shape: Shape, pressed: bool) -> bool {
        let key = arrow_key(color, shape, pressed);
        if self.arrows.contains_key(&key) {
            return true;
        }
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        if self.arrows.len() >= ARROW_PICTURES_MAX {
            self.arrows.clear();
        }
        let size = (ARROW_SIZE * self.scale).ceil() as u32;
        let Some(sheet) = Sheet::new((size, size), false) else {
            return true;
        };
        let context = &sheet.context;
        let _ = context.scale(self.scale, self.scale);
        let _ = context.translate(ARROW_TIP, ARROW_TIP);
        let (fill, edge) = match shape {
            Shape::Outline => ("#fff".to_owned(), css(color)),
            Shape::Arrow | Shape::Ring => (css(color), "#fff".to_owned()),
        };
        context.set_line_join("round");
        context.begin_path();
        if shape == Shape::Ring {
            let _ = context.arc(8.0, 8.0, 7.0, 0.0, core::f64::consts::TAU);
            context.set_stroke_style_str("rgba(255,255,255,.9)");
            context.set_line_width(4.5);
            context.stroke();
            context.set_stroke_style_str(&fill);
            context.set_line_width(2.25);
            context.stroke();
            if pressed {
                context.set_global_alpha(0.25);
                context.set_fill_style_str(&fill);
                context.fill();
            }
        } else {
            let reach = if pressed { 0.9 } else { 1.0 };
            let points = [(0.6, 0.6), (4.9, 16.2), (8.2, 9.6), (15.4, 7.2)];
            for (i, (x, y)) in points.into_iter().enumerate() {
                if i == 0 {
                    context.move_to(x * reach, y * reach);
                } else {
                    context.line_to(x * reach, y * reach);
                }
            }
            context.close_path();
            context.set_shadow_color("rgba(0,0,0,.28)");
            context.set_shadow_blur(2.5 * self.scale);
            context.set_shadow_offset_y(self.scale);
            context.set_stroke_style_str(&edge);
            context.set_line_width(3.0);
            context.stroke();
            context.set_shadow_color("transparent");
            context.set_fill_style_str(&fill);
            context.fill();
        }
        self.arrows.insert(key, sheet);
        true
    }

    /// Makes the picture if there is none; false if that must wait.
    fn draw_name(&mut self, session: u32) -> bool {
        let Some(somebody) = self.people.get_mut(&session) else {
            return true;
        };
        somebody.named = self.clock;
        if somebody.picture.is_some() {
            return true;
        }
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        somebody.picture = name_picture(somebody.color, &somebody.name, self.scale);
        self.names += 1;
        if self.names > NAME_PICTURES_MAX {
            self.names = 0;
            for somebody in self.people.values_mut() {
                if self.clock.wrapping_sub(somebody.named) > 1 {
                    somebody.picture = None;
                }
                self.names += usize::from(somebody.picture.is_some());
            }
        }
        true
    }

    fn name_area(&self, at: (i32, i32), session: u32) -> Area {
        let picture = self
            .people
            .get(&session)
            .and_then(|somebody| somebody.picture.as_ref());
        let size = picture.map_or((0, 0), |picture| {
            (
                picture.canvas.width() as i32,
                picture.canvas.height() as i32,
            )
        });
        // Beside and below the arrow, or on its other side where the view ends.
        let start = |tip: i32, offset: f64, length: i32, end: i32| {
            let start = tip + ((offset - NAME_MARGIN) * self.scale).round() as i32;
            if start + length <= end {
                start
            } else {
                tip - length + (NAME_MARGIN * self.scale).round() as i32
            }
        };
        let left = start(at.0, NAME_AT.0, size.0, self.view.0);
        let top = start(at.1, NAME_AT.1, size.1, self.view.1);
        Area::new(left, top, left + size.0, top + size.1)
    }
}

/// Colour in the low 24 bits, looks above.
const fn arrow_key(color: u32, shape: Shape, pressed: bool) -> u32 {
    (shape as u32) << 25 | (pressed as u32) << 24 | color & 0xff_ffff
}

fn name_picture(color: u32, name: &str, scale: f64) -> Option<Sheet> {
    let sheet = Sheet::new((1, 1), false)?;
    let context = &sheet.context;
    context.set_font(FONT);
    let text_width = context.measure_text(name).ok()?.width().ceil();
    let width = text_width + 2.0 * NAME_PADDING;
    let pixels = |css: f64| ((css + 2.0 * NAME_MARGIN) * scale).ceil() as u32;
    sheet.resize((pixels(width), pixels(NAME_HEIGHT)));
    let _ = context.scale(scale, scale);
    let _ = context.translate(NAME_MARGIN, NAME_MARGIN);
    context.set_font(FONT);
    context.begin_path();
    let _ = context.round_rect_with_f64(0.0, 0.0, width, NAME_HEIGHT, NAME_HEIGHT / 2.0);
    context.set_shadow_color("rgba(0,0,0,.22)");
    context.set_shadow_blur(2.0 * scale);
    context.set_shadow_offset_y(0.75 * scale);
    context.set_fill_style_str(&css(color));
    context.fill();
    context.set_shadow_color("transparent");
    context.set_fill_style_str(&css(text_on(color)));
    context.set_text_baseline("middle");
    let _ = context.fill_text(name, NAME_PADDING, NAME_HEIGHT / 2.0 + 0.5);
    Some(sheet)
}

/// A name short enough for a label.
fn tidy(name: &str) -> String {
    match name.char_indices().nth(NAME_LETTERS_MAX) {
        Some((cut, _)) => [name[..cut].trim_end(), "…"].concat(),
        None => name.trim().to_owned(),
    }
}
