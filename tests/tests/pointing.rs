//! Cursors on the move: what goes on as it has costs nothing and is shown where it is; what turns or stops is told.

use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::presence::{COURSE_MS_MAX, PresenceCell};
use chalkboard_shared::{BoardPoint, BoardRect, Rights};
use chalkboard_tests::ensemble::{Ensemble, LinkQuality, TICK_MS};

/// Every frame takes a tick.
const STEADY: LinkQuality = LinkQuality {
    delay_ticks_min: 1,
    delay_ticks_max: 1,
    loss_percent: 0,
    resend_ticks: 0,
};

/// How long after a cursor has been somewhere it is shown there, in milliseconds: a tick up, up to two down, 20 ms for
/// those that are late, and the time between two ticks.
const BEHIND_MS_MAX: f64 = 3.0 * TICK_MS + 20.0 + TICK_MS;

/// Somebody who moves, and somebody who looks on.
struct Scene {
    ensemble: Ensemble,
    watcher: usize,
    /// Where the cursor is, in pixels.
    at: (f64, f64),
    /// Where it was, and when.
    past: Vec<(f64, (f64, f64))>,
    /// A step of the watcher's raster, in pixels.
    raster: f64,
}

impl Scene {
    fn new() -> Self {
        let mut ensemble = Ensemble::of_editors(1, 11, STEADY);
        let corner = |x, y| BoardPoint::from_pixels(x, y);
        let view = BoardRect::from_corners(corner(0.0, 0.0), corner(1900.0, 1000.0));
        let watcher = ensemble.add(Rights::Edit, view);
        ensemble.settle();
        let coverage = ensemble.members[watcher].client.coverage();
        let level = PresenceCell::level_of(coverage.expect("loaded"));
        let cell = PresenceCell::at(level, BoardPoint::new(0, 0));
        let raster = f64::from(cell.place(1, 0).to_pixels().0 - cell.place(0, 0).to_pixels().0);
        Self {
            ensemble,
            watcher,
            at: (60.0, 500.0),
            past: Vec::new(),
            raster,
        }
    }

    /// Moves by so much in each of so many ticks, and answers where it was shown after each.
    fn go(&mut self, (dx, dy): (f64, f64), ticks: usize) -> Vec<(f64, f64)> {
        let mut shown = Vec::new();
        for _ in 0..ticks {
            self.at = (self.at.0 + dx, self.at.1 + dy);
            let now = self.ensemble.now_ms();
            self.past.push((now, self.at));
            let cursor = CursorState {
                at: BoardPoint::from_pixels(self.at.0 as f32, self.at.1 as f32),
                tool: CursorTool::Pen,
                pressed: false,
            };
            self.ensemble.members[0].client.set_cursor(now, cursor);
            self.ensemble.step();
            shown.extend(self.shown());
        }
        shown
    }

    fn shown(&self) -> Option<(f64, f64)> {
        let me = self.ensemble.members[0].client.session();
        let cursors = self.ensemble.members[self.watcher].client.cursors();
        cursors
            .at(self.ensemble.now_ms())
            .find(|view| Some(view.session) == me)
            .map(|view| (view.x.into(), view.y.into()))
    }

    fn datagrams(&self) -> u64 {
        self.ensemble.members[self.watcher].datagrams
    }

    /// How far what is shown is from the nearest place where it was lately, in pixels.
    fn off(&self, (x, y): (f64, f64)) -> f64 {
        let since = self.ensemble.now_ms() - BEHIND_MS_MAX - TICK_MS;
        let lately = self.past.iter().skip_while(|(at, _)| *at < since);
        let mut last = None;
        let mut off = f64::INFINITY;
        for &(_, (px, py)) in lately.chain(self.past.last()) {
            let (fx, fy) = last.unwrap_or((px, py));
            // The nearest point between two places.
            for part in 0..=20 {
                let part = f64::from(part) / 20.0;
                let (nx, ny) = (fx + (px - fx) * part, fy + (py - fy) * part);
                off = off.min((x - nx).hypot(y - ny));
            }
            last = Some((px, py));
        }
        off
    }
}

#[test]
fn an_even_way_costs_keyframes_alone_and_is_shown_as_it_is() {
    let mut scene = Scene::new();
    scene.go((4.0, -1.0), 60);
    let before = scene.datagrams();
    let mut last = scene.shown().expect("it is seen").0;
    for _ in 0..120 {
        let shown = scene.go((4.0, -1.0), 1)[0];
        let off = scene.off(shown);
        // The place within a step of the raster, and the step by which a course may be off.
        assert!(off <= 2.0 * scene.raster, "{off} px off at {shown:?}");
        let step = shown.0 - last;
        assert!((2.0..=6.0).contains(&step), "{step} px in a tick");
        last = shown.0;
    }
    let datagrams = scene.datagrams() - before;
    let keyframes = (120.0 * TICK_MS / 160.0).ceil() as u64;
    assert!(datagrams <= keyframes, "{datagrams} datagrams in 2 s");
}

#[test]
fn a_turn_is_told_at_once_and_nothing_is_shown_beyond_it() {
    let mut scene = Scene::new();
    scene.go((5.0, 0.0), 60);
    for n in 0..20 {
        // Turns at different times after a keyframe.
        scene.go((5.0, 0.0), 40 + n);
        let before = scene.datagrams();
        for _ in 0..6 {
            let shown = scene.go((-5.0, 3.0), 1)[0];
            let off = scene.off(shown);
            // The corner is cut, by less than the cursor goes in a tick.
            assert!(off <= 4.0, "{off} px off at {shown:?}");
        }
        assert!(scene.datagrams() >= before + 4, "the turn is told");
        scene.go((-5.0, 0.0), 35 + n);
    }
}

#[test]
fn a_cursor_that_falls_silent_comes_to_rest_where_it_was() {
    for n in 0..12 {
        let mut scene = Scene::new();
        scene.go((8.0, 0.0), 60 + n);
        let end = scene.at;
        let mut beyond = f64::NEG_INFINITY;
        for tick in 1..=60 {
            scene.ensemble.step();
            let (x, y) = scene.shown().expect("it is seen");
            beyond = beyond.max(x - end.0);
            assert!((y - end.1).abs() <= scene.raster);
            // Told within two sending intervals and what it may be late, back in 50 ms more.
            if f64::from(tick) * TICK_MS > 2.0 * TICK_MS + 20.0 + BEHIND_MS_MAX + 50.0 {
                assert!((x - end.0).abs() <= scene.raster, "{x} after {tick} ticks");
            }
        }
        // A sending interval, what it may be late, and two ticks: less what is shown behind.
        assert!(beyond <= 8.0 * 3.0 + scene.raster, "{beyond} px beyond");
    }
}

#[test]
fn who_hears_nothing_any_more_sees_it_rest() {
    let mut scene = Scene::new();
    scene.go((8.0, 0.0), 60);
    scene.ensemble.quality.loss_percent = 100;
    let end = scene.at;
    scene.go((0.0, 0.0), 60);
    let (x, _) = scene.shown().expect("it is seen");
    let run = x - end.0;
    let course = 8.0 / TICK_MS * f64::from(COURSE_MS_MAX);
    assert!(run <= course, "{run} px beyond");
    scene.ensemble.run(60);
    assert_eq!(scene.shown().expect("it is seen").0, x, "it rests");
}
