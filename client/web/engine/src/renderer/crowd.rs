//! Crowds: where people are too many to tell each, how many are where, as a soft cloud with numbers in it.
//!
//! A map is a small picture, a pixel a square, which the browser smooths as it enlarges it: a frame costs a picture a map
//! however many people there are. When another map comes, what is shown moves over to it.

use chalkboard_client::viewport::DeviceView;
use chalkboard_shared::presence::{CROWD_SIDE, CrowdMap, PresenceCell};
use wasm_bindgen::Clamped;
use web_sys::ImageData;

use super::live::area_of;
use super::sheet::{Area, Sheet};

/// Squares.
const SQUARES: usize = CROWD_SIDE * CROWD_SIDE;
/// Squares around the map that stay empty, so that a cloud ends softly.
const RIM: usize = 1;
/// Pixels of a side of the picture.
const SIDE: usize = CROWD_SIDE + 2 * RIM;
/// Time in which a map becomes the next, in milliseconds: maps come twice a second.
const TURN_MS: f64 = 500.0;
/// Steps in which it does: each is a picture made anew.
const STEPS: f64 = 10.0;
/// Opacity where people are most.
const ALPHA_MAX: f32 = 0.62;
/// A square with so many is as opaque as a cloud gets.
const FULL: f32 = 60.0;
/// Squares along a side of a block that shows one number: the smallest block that is wide enough.
const BLOCKS: [usize; 5] = [1, 2, 4, 8, 16];
/// People in a block from which on their number is shown.
const NUMBER_MIN: u32 = 5;
/// Width of a block on the screen in CSS pixels at the least: numbers that are closer would not be read.
const BLOCK_CSS_MIN: f64 = 110.0;
const FONT_CSS: f64 = 12.0;

/// The clouds.
#[derive(Default)]
pub(super) struct CrowdLayer {
    /// One a cell; a view has a handful.
    clouds: Vec<Cloud>,
    dark: bool,
    scale: f64,
}

struct Cloud {
    cell: PresenceCell,
    picture: Sheet,
    /// The map that it becomes.
    counts: Box<[u16; SQUARES]>,
    /// What was shown when that came.
    before: [f32; SQUARES],
    came_ms: f64,
    /// Steps taken of [`STEPS`]; as many when it rests.
    step: f64,
    /// Nobody is there any more: it fades and goes.
    is_leaving: bool,
}

impl CrowdLayer {
    /// The theme or the density changed.
    pub(super) fn restyle(&mut self, dark: bool, scale: f64) {
        if (dark, scale) != (self.dark, self.scale) {
            (self.dark, self.scale) = (dark, scale);
            self.clouds.iter().for_each(|cloud| cloud.paint(dark));
        }
    }

    /// Takes the maps over. `changed` gets the areas that look different from the last frame. Tells whether there is
    /// more to come.
    pub(super) fn update<'a>(
        &mut self,
        now_ms: f64,
        maps: impl Iterator<Item = &'a CrowdMap>,
        view: DeviceView,
        mut changed: impl FnMut(Area),
    ) -> bool {
        for cloud in &mut self.clouds {
            cloud.is_leaving = true;
        }
        for map in maps {
            let known = self.clouds.iter_mut().find(|cloud| cloud.cell == map.cell);
            if let Some(cloud) = known {
                cloud.is_leaving = false;
                cloud.follow(now_ms, &map.counts);
            } else if let Some(cloud) = Cloud::new(now_ms, map) {
                self.clouds.push(cloud);
            }
        }
        let dark = self.dark;
        let mut is_turning = false;
        self.clouds.retain_mut(|cloud| {
            if cloud.is_leaving {
                cloud.follow(now_ms, &[0; SQUARES]);
            }
            let step = cloud.step;
            if cloud.turn(now_ms) != step {
                cloud.paint(dark);
                if let Some(area) = cloud_area(cloud.cell, view) {
                    changed(area);
                }
            }
            let rests = cloud.step == STEPS;
            is_turning |= !rests;
            !(rests && cloud.is_leaving)
        });
        is_turning
    }

    /// Draws them.
    pub(super) fn draw(&self, sheet: &Sheet, within: &[Area], view: DeviceView) {
        for cloud in &self.clouds {
            let Some((area, square)) = frame_of(cloud.cell, view) else {
                continue;
            };
            let covered = Area::around(area.0, area.1, area.0 + area.2, area.1 + area.2);
            if within.iter().any(|part| part.intersects(covered)) {
                let _ = sheet
                    .context
                    .draw_image_with_offscreen_canvas_and_dw_and_dh(
                        &cloud.picture.canvas,
                        area.0,
                        area.1,
                        area.2,
                        area.2,
                    );
                self.number(sheet, cloud, (area.0, area.1), square);
            }
        }
    }

    fn number(&self, sheet: &Sheet, cloud: &Cloud, corner: (f64, f64), square: f64) {
        let width_min = BLOCK_CSS_MIN * self.scale;
        let Some(block) = BLOCKS
            .into_iter()
            .find(|block| *block as f64 * square >= width_min)
        else {
            return;
        };
        let context = &sheet.context;
        let (ink, paper) = if self.dark {
            ("#eef4f2", "rgba(24,29,30,.8)")
        } else {
            ("#123a30", "rgba(255,255,255,.85)")
        };
        let size = FONT_CSS * self.scale;
        context.set_font(
            &[
                "600 ",
                &(size as u32).to_string(),
                "px Inter,system-ui,sans-serif",
            ]
            .concat(),
        );
        context.set_text_align("center");
        context.set_text_baseline("middle");
        context.set_line_join("round");
        context.set_line_width(3.0 * self.scale);
        context.set_stroke_style_str(paper);
        context.set_fill_style_str(ink);
        let blocks = CROWD_SIDE / block;
        for n in 0..blocks * blocks {
            let (left, top) = (n % blocks * block, n / blocks * block);
            if let Some((count, x, y)) = cloud.middle_of(left, top, block) {
                let text = count.to_string();
                let at = |v: f64, corner: f64| corner + (v + RIM as f64) * square;
                let (x, y) = (at(x, corner.0), at(y, corner.1));
                let _ = context.stroke_text(&text, x, y);
                let _ = context.fill_text(&text, x, y);
            }
        }
        context.set_text_align("start");
    }

    /// Takes all of them off.
    pub(super) fn clear(&mut self, view: DeviceView, mut changed: impl FnMut(Area)) {
        for cloud in self.clouds.drain(..) {
            if let Some(area) = cloud_area(cloud.cell, view) {
                changed(area);
            }
        }
    }
}

impl Cloud {
    fn new(now_ms: f64, map: &CrowdMap) -> Option<Self> {
        Some(Self {
            picture: Sheet::new((SIDE as u32, SIDE as u32), false)?,
            cell: map.cell,
            counts: map.counts.clone(),
            before: [0.0; SQUARES],
            came_ms: now_ms,
            step: 0.0,
            is_leaving: false,
        })
    }

    /// Becomes this from now on.
    fn follow(&mut self, now_ms: f64, counts: &[u16; SQUARES]) {
        if *self.counts != *counts {
            self.before = core::array::from_fn(|square| self.shown(square));
            *self.counts = *counts;
            self.came_ms = now_ms;
            self.step = 0.0;
        }
    }

    fn turn(&mut self, now_ms: f64) -> f64 {
        let share = ((now_ms - self.came_ms) / TURN_MS).clamp(0.0, 1.0);
        self.step = (share * STEPS).floor();
        self.step
    }

    /// People in a square as they are shown now.
    fn shown(&self, square: usize) -> f32 {
        let (before, after) = (self.before[square], f32::from(self.counts[square]));
        before + (after - before) * (self.step / STEPS) as f32
    }

    /// Opacity by the root: few are seen, and many do not hide the board.
    fn paint(&self, dark: bool) {
        let [red, green, blue] = if dark { [69, 196, 160] } else { [14, 132, 104] };
        let mut pixels = [0; SIDE * SIDE * 4];
        for square in 0..SQUARES {
            let (x, y) = (square % CROWD_SIDE + RIM, square / CROWD_SIDE + RIM);
            let share = (self.shown(square) / FULL).min(1.0).sqrt();
            let alpha = (255.0 * ALPHA_MAX * share) as u8;
            let at = (y * SIDE + x) * 4;
            pixels[at..at + 4].copy_from_slice(&[red, green, blue, alpha]);
        }
        if let Ok(image) = ImageData::new_with_u8_clamped_array(Clamped(&pixels), SIDE as u32) {
            let _ = self.picture.context.put_image_data(&image, 0.0, 0.0);
        }
    }

    /// People in a block and the middle of where they are, in squares; `None` for a few.
    fn middle_of(&self, left: usize, top: usize, block: usize) -> Option<(u32, f64, f64)> {
        let (mut count, mut x, mut y) = (0, 0.0, 0.0);
        for row in top..top + block {
            for column in left..left + block {
                let here = self.counts[row * CROWD_SIDE + column];
                count += u32::from(here);
                x += f64::from(here) * (column as f64 + 0.5);
                y += f64::from(here) * (row as f64 + 0.5);
            }
        }
        let people = f64::from(count);
        (count >= NUMBER_MIN).then(|| (count, x / people, y / people))
    }
}

/// Left, top and side of a cell's picture with its rim, and the side of a square, in device pixels.
fn frame_of(cell: PresenceCell, view: DeviceView) -> Option<((f64, f64, f64), f64)> {
    let rect = cell.rect();
    // The outermost cells are cut at the plane's edge, where nobody can be.
    if rect.is_empty() {
        return None;
    }
    let ((left, top), (right, _)) = (view.place(rect.min), view.place(rect.max));
    let square = (right - left) / CROWD_SIDE as f64;
    let rim = square * RIM as f64;
    let frame = (left - rim, top - rim, square * SIDE as f64);
    Some((frame, square))
}

fn cloud_area(cell: PresenceCell, view: DeviceView) -> Option<Area> {
    let area = area_of(cell.rect(), view)?;
    let rim = area.width() / CROWD_SIDE as i32 * RIM as i32 + 1;
    Some(Area::new(
        area.left.saturating_sub(rim),
        area.top.saturating_sub(rim),
        area.right.saturating_add(rim),
        area.bottom.saturating_add(rim),
    ))
}
