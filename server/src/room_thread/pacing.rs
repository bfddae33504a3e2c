//! The pace of a room: how often it ticks and how much of presence it tells, by its size and by how late it is.
//!
//! What a tick costs is packets, so a tick less often is the largest saving there is, and it comes first; presence is
//! thinned out only when ticks can't become rarer. Ops are never touched. Lateness is the alarm, not CPU: a busy core
//! that keeps its times serves everybody. Pure arithmetic; the room's thread reads the clocks.

use std::time::Duration;

use chalkboard_shared::presence::{Pace, PresenceStage};

/// Lengths of a tick, from the shortest that any room has.
const TICKS_US: [u32; 9] = [
    12_500, 16_667, 20_000, 25_000, 33_333, 40_000, 50_000, 66_667, 100_000,
];
/// Sessions up to which a room may tick as often as the entry of [`TICKS_US`] says that is named beside. From 33 on those who send
/// keep to the room's beat, so that a longer tick is none that they wait for, and each costs a packet to everybody. From 65 on a
/// tick is as long as cursors are usually told apart.
const SIZES: [(usize, usize); 4] = [(32, 0), (64, 3), (3000, 6), (6000, 7)];
/// Sessions up to which a step is made early, after half a tick, when a message waits: what is drawn is seen and saved
/// sooner, and the packets that it costs are few where people are few. Cursors alone wait for the tick.
const EARLY_SESSIONS_MAX: usize = 16;
/// A room must have shrunk by so much below a size before it ticks more often again: 1 in 8.
const SHRUNK: usize = 8;
/// How long is watched before something is concluded.
const WINDOW: Duration = Duration::from_secs(1);
/// Windows without trouble after which a step back is tried. Doubled each time that the step back did not last.
const CALM_WINDOWS_MIN: u32 = 4;
const CALM_WINDOWS_MAX: u32 = 64;
/// Steps that thin out presence, behind those that slow ticks down.
const STAGES: usize = PresenceStage::ALL.len() - 1;

/// What a step was like.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Observation {
    /// Sessions in the room.
    pub(super) sessions: usize,
    /// How much later than planned the step began, and how much later than that its frames were sent.
    pub(super) late: Duration,
    /// How long it took.
    pub(super) busy: Duration,
}

/// A room's pace.
#[derive(Debug)]
pub(super) struct Pacing {
    /// The shortest tick that the server's configuration allows.
    tick_us_min: u32,
    /// Step of [`TICKS_US`] that the room's size asks for.
    size: usize,
    /// Steps further than that, because of lateness.
    relief: usize,
    /// The room is small enough for steps before their tick.
    is_small: bool,
    pace: Pace,
    window: Window,
    calm_windows: u32,
    calm_wanted: u32,
}

#[derive(Debug, Default)]
struct Window {
    elapsed: Duration,
    steps: u32,
    late: u32,
    uneasy: u32,
}

impl Pacing {
    /// Of a room with nobody in it.
    pub(super) fn new(tick_us_min: u32) -> Self {
        let mut new = Self {
            tick_us_min,
            size: 0,
            relief: 0,
            is_small: true,
            pace: Pace {
                tick_us: tick_us_min,
                presence: PresenceStage::Full,
            },
            window: Window::default(),
            calm_windows: 0,
            calm_wanted: CALM_WINDOWS_MIN,
        };
        new.pace = new.wanted();
        new
    }

    /// Length of a tick.
    pub(super) const fn tick(&self) -> Duration {
        Duration::from_micros(self.pace.tick_us as u64)
    }

    /// How long after a step the next may come before its tick, for messages that wait.
    pub(super) fn early(&self) -> Option<Duration> {
        (self.is_small && self.relief == 0).then(|| self.tick() / 2)
    }

    /// How far apart steps are, where they keep to that: those who send are told when to.
    pub(super) fn beat(&self) -> Option<Duration> {
        let is_kept = self.early().is_none() && self.pace.has_beat();
        is_kept.then(|| self.tick())
    }

    /// How much of presence is told.
    pub(super) const fn stage(&self) -> PresenceStage {
        self.pace.presence
    }

    /// Takes a step into account. The new pace if it has changed.
    pub(super) fn observe(&mut self, seen: Observation) -> Option<Pace> {
        self.fit_size(seen.sessions);
        self.is_small = seen.sessions <= EARLY_SESSIONS_MAX;
        let tick = self.tick();
        self.window.elapsed += tick.max(seen.busy);
        self.window.steps += 1;
        if seen.late > tick / 4 * 3 || seen.busy > tick {
            self.window.late += 1;
        }
        if seen.late > tick / 2 || seen.busy > tick / 2 {
            self.window.uneasy += 1;
        }
        if self.window.elapsed >= WINDOW {
            self.conclude();
        }
        let wanted = self.wanted();
        (wanted != self.pace).then(|| {
            self.pace = wanted;
            // What was seen was seen at another pace.
            self.window = Window::default();
            wanted
        })
    }

    fn fit_size(&mut self, sessions: usize) {
        let step = |sessions| {
            SIZES
                .iter()
                .find(|(most, _)| sessions <= *most)
                .map_or(TICKS_US.len() - 1, |(_, step)| *step)
        };
        let grown = step(sessions);
        let shrunk = step(sessions + sessions / SHRUNK);
        if grown > self.size || shrunk < self.size {
            self.size = if grown > self.size { grown } else { shrunk };
        }
    }

    fn conclude(&mut self) {
        let window = std::mem::take(&mut self.window);
        let relief_max = TICKS_US.len() - 1 - self.size + STAGES;
        if window.late * 4 > window.steps {
            if self.calm_windows > 0 && self.relief > 0 {
                self.calm_wanted = (self.calm_wanted * 2).min(CALM_WINDOWS_MAX);
            }
            self.relief = (self.relief + 1).min(relief_max);
            self.calm_windows = 0;
        } else if window.uneasy * 16 > window.steps {
            self.calm_windows = 0;
        } else {
            self.calm_windows += 1;
            if self.calm_windows >= self.calm_wanted && self.relief > 0 {
                self.relief -= 1;
                self.calm_windows = 0;
            } else if self.relief == 0 {
                self.calm_wanted = CALM_WINDOWS_MIN;
            }
        }
    }

    fn wanted(&self) -> Pace {
        let step = self.size + self.relief;
        let slowest = TICKS_US.len() - 1;
        let mut presence = PresenceStage::Full;
        for _ in slowest..step {
            presence = presence.sparser();
        }
        Pace {
            tick_us: TICKS_US[step.min(slowest)].max(self.tick_us_min),
            presence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(sessions: usize, late_ms: u64) -> Observation {
        Observation {
            sessions,
            late: Duration::from_millis(late_ms),
            busy: Duration::from_millis(1),
        }
    }

    /// So many seconds of steps like this.
    fn pass(pacing: &mut Pacing, seconds: f64, seen: Observation) {
        let mut left = seconds;
        while left > 0.0 {
            left -= pacing.tick().as_secs_f64();
            pacing.observe(seen);
        }
    }

    #[test]
    fn ticks_follow_the_size_and_do_not_flicker_at_its_edge() {
        let mut pacing = Pacing::new(12_500);
        let mut tick_at = |sessions| {
            pacing.observe(seen(sessions, 0));
            pacing.tick().as_millis()
        };
        assert_eq!(tick_at(32), 12);
        assert_eq!(tick_at(64), 25);
        assert_eq!(tick_at(65), 50);
        assert_eq!(tick_at(60), 50, "not small enough yet");
        assert_eq!(tick_at(56), 25);
        assert_eq!(tick_at(3000), 50);
        assert_eq!(tick_at(5000), 66);
        assert_eq!(tick_at(10_000), 100);
        assert_eq!(tick_at(10), 12);
    }

    #[test]
    fn a_late_room_ticks_less_often_then_tells_less_and_comes_back() {
        let mut pacing = Pacing::new(12_500);
        let mut last = pacing.pace;
        for _ in 0..40 {
            pass(&mut pacing, 1.1, seen(100, 90));
            assert!(pacing.pace.tick_us >= last.tick_us && pacing.pace.presence >= last.presence);
            let is_thinned = pacing.pace.presence > PresenceStage::Full;
            assert!(!is_thinned || pacing.pace.tick_us == 100_000, "ticks first");
            last = pacing.pace;
        }
        assert_eq!(last.presence, PresenceStage::Crowd);
        pass(&mut pacing, 2000.0, seen(100, 0));
        assert_eq!(
            (pacing.tick().as_millis(), pacing.stage()),
            (50, PresenceStage::Full)
        );
    }

    #[test]
    fn only_small_rooms_that_keep_their_times_step_early() {
        let mut pacing = Pacing::new(12_500);
        pacing.observe(seen(16, 0));
        assert_eq!(pacing.early(), Some(Duration::from_micros(6_250)));
        pacing.observe(seen(17, 0));
        assert_eq!(pacing.early(), None);
        pacing.observe(seen(2, 0));
        assert!(pacing.early().is_some());
        pass(&mut pacing, 1.1, seen(2, 90));
        assert_eq!(pacing.early(), None, "late as it is");
    }

    #[test]
    fn steps_keep_a_beat_where_none_comes_early_and_ticks_are_long_enough() {
        let mut pacing = Pacing::new(12_500);
        let mut beat_at = |sessions| {
            pacing.observe(seen(sessions, 0));
            pacing.beat()
        };
        assert_eq!(beat_at(32), None, "more often than a screen shows");
        assert_eq!(beat_at(33), Some(Duration::from_millis(25)));
        let mut slow = Pacing::new(40_000);
        slow.observe(seen(16, 0));
        assert_eq!(slow.beat(), None, "steps come early");
        slow.observe(seen(17, 0));
        assert_eq!(slow.beat(), Some(Duration::from_millis(40)));
    }

    #[test]
    fn one_hiccup_changes_nothing() {
        let mut pacing = Pacing::new(25_000);
        for n in 0..600 {
            let late = if n % 30 == 0 { 40 } else { 0 };
            assert_eq!(pacing.observe(seen(50, late)), None);
        }
    }

    #[test]
    fn a_slower_server_is_never_hurried() {
        let mut pacing = Pacing::new(50_000);
        pacing.observe(seen(10, 0));
        assert_eq!(pacing.tick().as_millis(), 50);
        pacing.observe(seen(10_000, 0));
        assert_eq!(pacing.tick().as_millis(), 100);
    }
}
