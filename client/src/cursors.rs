//! Other people's cursors: keyframes and deltas in, smoothly moving pointers out.
//!
//! Positions come at the room's ticks and with the network's jitter. Each gets the local time at which its tick is
//! expected to arrive (the smoothed difference between tick time and local clock), and what is shown lies two ticks
//! behind, between two known positions: nothing is guessed, so nothing overshoots. When data stays out, a cursor rests
//! at its last known place. Owns no socket and draws nothing.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use chalkboard_shared::codec::Reader;
use chalkboard_shared::cursor::{CursorDelta, CursorKeyframe, CursorState, CursorTool};
use chalkboard_shared::limits::SESSIONS_PER_ROOM_MAX;
use chalkboard_shared::{DecodeError, SessionId, Tick};

/// How far behind the newest tick cursors are shown, in ticks: one lost datagram goes unnoticed.
const DELAY_TICKS: f64 = 2.0;

/// Positions kept of one cursor: the two around the shown moment and what arrives in a burst.
const SAMPLES_MAX: usize = 8;

/// A pause of more than this is rest, in milliseconds: the way after it begins when it ends, not when the pause began.
const REST_MS: f64 = 100.0;

/// How long a cursor takes for its first way after a rest, in milliseconds.
const START_MS: f64 = 50.0;

/// After a rest a cursor that is farther away than this (board px) is put there instead of flying over the board.
const SNAP_PX: f32 = 600.0;

/// A clock that is off by more than this has jumped (the room had slept), in milliseconds.
const CLOCK_JUMP_MS: f64 = 100.0;

/// A cursor that has rested for this long fades, in milliseconds, over [`FADE_MS`], down to [`ALPHA_MIN`].
const FADE_AFTER_MS: f64 = 20_000.0;
const FADE_MS: f64 = 1000.0;
const ALPHA_MIN: f32 = 0.35;

/// A cursor as it is to be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CursorView {
    /// Whose.
    pub session: SessionId,
    /// Where, in board px.
    pub x: f32,
    /// Where, in board px.
    pub y: f32,
    /// What it is in the hand of.
    pub tool: CursorTool,
    /// A button is down or the pen touches.
    pub pressed: bool,
    /// Opacity, 0.35 (has rested for long) to 1.
    pub alpha: f32,
}

/// All cursors of others in the covered area.
#[derive(Debug)]
pub struct Cursors {
    own: Option<SessionId>,
    keyframe: Option<CursorKeyframe>,
    tracks: HashMap<SessionId, Track>,
    tick_ms: f64,
    /// Local time minus tick time, smoothed.
    clock_ms: Option<f64>,
    last_tick: Tick,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at_ms: f64,
    x: f32,
    y: f32,
}

#[derive(Debug)]
struct Track {
    samples: VecDeque<Sample>,
    state: CursorState,
}

impl Cursors {
    pub(crate) fn new() -> Self {
        Self {
            own: None,
            keyframe: None,
            tracks: HashMap::new(),
            tick_ms: 1000.0 / 60.0,
            clock_ms: None,
            last_tick: Tick(0),
        }
    }

    /// Where they are to be drawn now.
    pub fn at(&self, now_ms: f64) -> impl Iterator<Item = CursorView> + '_ {
        let shown_ms = now_ms - DELAY_TICKS * self.tick_ms;
        self.tracks.iter().filter_map(move |(session, track)| {
            let (x, y) = track.place_at(shown_ms)?;
            let rested = shown_ms - track.samples.back()?.at_ms;
            let faded = ((rested - FADE_AFTER_MS) / FADE_MS).clamp(0.0, 1.0) as f32;
            Some(CursorView {
                session: *session,
                x,
                y,
                tool: track.state.tool,
                pressed: track.state.pressed,
                alpha: 1.0 - faded * (1.0 - ALPHA_MIN),
            })
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tracks.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Some of them will be elsewhere, or paler, shortly after `now_ms`: draw again.
    pub fn is_moving(&self, now_ms: f64) -> bool {
        let shown_ms = now_ms - DELAY_TICKS * self.tick_ms;
        self.tracks.values().any(|track| {
            track.samples.back().is_some_and(|last| {
                let rested = shown_ms - last.at_ms;
                rested < START_MS
                    || (rested > FADE_AFTER_MS && rested < FADE_AFTER_MS + 2.0 * FADE_MS)
            })
        })
    }

    /// A connection begins.
    pub(crate) fn connected(&mut self, own: SessionId, tick: Tick, tick_us: u32) {
        self.clear();
        self.own = Some(own);
        self.last_tick = tick;
        // A tick is 1 ms to 1 s, whatever the server says.
        self.tick_ms = (f64::from(tick_us) / 1000.0).clamp(1.0, 1000.0);
    }

    /// Nobody is seen any more.
    pub(crate) fn clear(&mut self) {
        self.keyframe = None;
        self.tracks.clear();
        self.clock_ms = None;
    }

    /// Somebody left.
    pub(crate) fn remove(&mut self, session: SessionId) {
        self.tracks.remove(&session);
    }

    /// All cursors of the area. It comes on the stream, in front of every delta against it.
    pub(crate) fn keyframe(&mut self, now_ms: f64, keyframe: CursorKeyframe) {
        let listed = keyframe.cursors();
        self.tracks
            .retain(|session, _| listed.binary_search_by_key(session, |(s, _)| *s).is_ok());
        for (session, cursor) in listed {
            self.moved(now_ms, *session, *cursor);
        }
        self.keyframe = Some(keyframe);
    }

    /// What changed since a keyframe. One against another keyframe is too early or too late, and passed over; so is
    /// one that later ones have overtaken.
    ///
    /// # Errors
    /// Bytes that are no delta against the keyframe.
    pub(crate) fn delta(&mut self, now_ms: f64, delta: Bytes) -> Result<(), DecodeError> {
        let Some(keyframe) = &self.keyframe else {
            return Ok(());
        };
        if CursorDelta::keyframe_id(&delta)? != keyframe.id {
            return Ok(());
        }
        let delta = CursorDelta::decode(keyframe, &mut Reader::new(delta))?;
        if delta.tick < self.last_tick {
            return Ok(());
        }
        self.last_tick = delta.tick;
        let at_ms = self.local_time(now_ms, delta.tick);
        for session in delta.gone {
            self.tracks.remove(&session);
        }
        for (session, cursor) in delta.changed {
            self.moved(at_ms, session, cursor);
        }
        Ok(())
    }

    /// When a tick is expected here, in local time. Early arrivals pull the estimate fast, late ones slowly, so that
    /// it follows the undisturbed way and not the queues.
    fn local_time(&mut self, now_ms: f64, tick: Tick) -> f64 {
        let tick_ms = tick.0 as f64 * self.tick_ms;
        let seen = now_ms - tick_ms;
        let clock = match self.clock_ms {
            Some(clock) if (seen - clock).abs() < CLOCK_JUMP_MS => {
                let share = if seen < clock { 0.25 } else { 0.05 };
                clock + (seen - clock) * share
            }
            _ => seen,
        };
        self.clock_ms = Some(clock);
        tick_ms + clock
    }

    fn moved(&mut self, at_ms: f64, session: SessionId, state: CursorState) {
        if self.own == Some(session) {
            return;
        }
        if self.tracks.len() >= SESSIONS_PER_ROOM_MAX && !self.tracks.contains_key(&session) {
            return;
        }
        let track = self.tracks.entry(session).or_insert_with(|| Track {
            samples: VecDeque::with_capacity(SAMPLES_MAX),
            state,
        });
        let is_same_place = track.state.at == state.at;
        track.state = state;
        let (x, y) = state.at.to_pixels();
        if is_same_place && !track.samples.is_empty() {
            return;
        }
        track.add(Sample { at_ms, x, y });
    }
}

impl Track {
    fn add(&mut self, mut sample: Sample) {
        if let Some(last) = self.samples.back().copied() {
            sample.at_ms = sample.at_ms.max(last.at_ms + 1.0);
            let distance = (sample.x - last.x).hypot(sample.y - last.y);
            if sample.at_ms - last.at_ms > REST_MS {
                self.samples.clear();
                if distance <= SNAP_PX {
                    let at_ms = sample.at_ms - START_MS;
                    self.samples.push_back(Sample { at_ms, ..last });
                }
            }
        }
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    fn place_at(&self, at_ms: f64) -> Option<(f32, f32)> {
        let mut before = *self.samples.front()?;
        for after in &self.samples {
            if after.at_ms > at_ms {
                let span = after.at_ms - before.at_ms;
                let share = if span > 0.0 {
                    ((at_ms - before.at_ms) / span).clamp(0.0, 1.0) as f32
                } else {
                    1.0
                };
                return Some((
                    before.x + (after.x - before.x) * share,
                    before.y + (after.y - before.y) * share,
                ));
            }
            before = *after;
        }
        Some((before.x, before.y))
    }
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::codec::Writer;
    use chalkboard_shared::interest::Coverage;
    use chalkboard_shared::{BoardPoint, BoardRect};

    use super::*;

    const TICK_MS: f64 = 1000.0 / 60.0;

    fn cursor(x: i32, y: i32) -> CursorState {
        CursorState {
            at: BoardPoint::new(x * 16, y * 16),
            tool: CursorTool::Pen,
            pressed: false,
        }
    }

    fn keyframe(id: u32, rows: &[(u32, CursorState)]) -> CursorKeyframe {
        let view = BoardRect::from_corners(BoardPoint::new(0, 0), BoardPoint::new(20_000, 20_000));
        let rows = rows.iter().map(|(session, c)| (SessionId(*session), *c));
        CursorKeyframe::new(id, Coverage::of_view(view, None), rows)
    }

    fn delta(
        base: &CursorKeyframe,
        tick: u64,
        gone: &[u32],
        changed: &[(u32, CursorState)],
    ) -> Bytes {
        let delta = CursorDelta {
            tick: Tick(tick),
            gone: gone.iter().map(|s| SessionId(*s)).collect(),
            changed: changed
                .iter()
                .map(|(s, c)| (SessionId(*s), base.snap(*c)))
                .collect(),
        };
        let mut w = Writer::new();
        delta.encode(base, 1000, &mut w);
        w.into_bytes()
    }

    fn connected() -> Cursors {
        let mut cursors = Cursors::new();
        cursors.connected(SessionId(0), Tick(1), 16_667);
        cursors
    }

    fn place(cursors: &Cursors, session: u32, now_ms: f64) -> Option<(f32, f32)> {
        cursors
            .at(now_ms)
            .find(|view| view.session == SessionId(session))
            .map(|view| (view.x, view.y))
    }

    #[test]
    fn a_moving_cursor_advances_evenly_though_datagrams_are_lost_and_late() {
        let mut cursors = connected();
        let base = keyframe(1, &[(0, cursor(5, 5)), (1, cursor(100, 100))]);
        cursors.keyframe(1000.0, base.clone());
        let mut shown = Vec::new();
        for n in 1..90u64 {
            let now = 1000.0 + n as f64 * TICK_MS;
            // Every seventh is lost; the others come up to 6 ms late.
            if n % 7 != 0 {
                let late = (n * 5 % 7) as f64;
                let bytes = delta(&base, n, &[], &[(1, cursor(100 + 4 * n as i32, 100))]);
                cursors.delta(now + late, bytes).expect("a delta");
            }
            if n > 20 {
                shown.push(place(&cursors, 1, now + 7.0).expect("is there").0);
            }
        }
        for pair in shown.windows(2) {
            let step = pair[1] - pair[0];
            // 4 px a tick on average; a stall or a leap would show.
            assert!((1.5..=7.0).contains(&step), "{step} of {shown:?}");
        }
        assert_eq!(cursors.len(), 1, "one's own is not shown");
    }

    #[test]
    fn nothing_moves_past_the_last_known_place() {
        let mut cursors = connected();
        let base = keyframe(1, &[(1, cursor(100, 100))]);
        cursors.keyframe(0.0, base.clone());
        for n in 1..10u64 {
            let bytes = delta(&base, n, &[], &[(1, cursor(100 + 9 * n as i32, 100))]);
            cursors.delta(n as f64 * TICK_MS, bytes).expect("a delta");
        }
        let (x, _) = place(&cursors, 1, 2000.0).expect("is there");
        assert!((x - 181.0).abs() <= 0.3, "{x}");
        assert!(!cursors.is_moving(2000.0));
    }

    #[test]
    fn after_a_rest_the_way_begins_anew_and_long_ways_are_jumped() {
        let mut cursors = connected();
        let base = keyframe(1, &[(1, cursor(100, 100)), (2, cursor(100, 100))]);
        cursors.keyframe(0.0, base.clone());
        let now = 3000.0;
        let changed = [(1, cursor(140, 100)), (2, cursor(1100, 100))];
        cursors
            .delta(now, delta(&base, 180, &[], &changed))
            .expect("a delta");
        let (near, _) = place(&cursors, 1, now).expect("is there");
        assert!((100.0..130.0).contains(&near), "{near}");
        let (far, _) = place(&cursors, 2, now).expect("is there");
        assert!((far - 1100.0).abs() <= 0.3, "{far}");
    }

    #[test]
    fn keyframes_heal_and_old_or_foreign_deltas_are_passed_over() {
        let mut cursors = connected();
        let first = keyframe(1, &[(1, cursor(1, 1)), (2, cursor(2, 2))]);
        cursors.keyframe(0.0, first.clone());
        cursors
            .delta(20.0, delta(&first, 9, &[2], &[(3, cursor(3, 3))]))
            .expect("a delta");
        assert_eq!(cursors.len(), 2);
        // Overtaken, then one against a keyframe that is not here yet.
        let overtaken = delta(&first, 8, &[1], &[]);
        cursors.delta(21.0, overtaken).expect("a delta");
        let second = keyframe(2, &[(2, cursor(2, 2))]);
        let early = delta(&second, 10, &[], &[(1, cursor(9, 9))]);
        cursors.delta(22.0, early).expect("passed over");
        assert_eq!(cursors.len(), 2);
        cursors.keyframe(30.0, second.clone());
        let sessions: Vec<_> = cursors.at(100.0).map(|v| v.session.0).collect();
        assert_eq!(sessions, [2]);
        let late = delta(&first, 11, &[2], &[]);
        cursors.delta(31.0, late).expect("passed over");
        assert_eq!(cursors.len(), 1);
    }

    #[test]
    fn a_cursor_that_rests_for_long_fades() {
        let mut cursors = connected();
        cursors.keyframe(0.0, keyframe(1, &[(1, cursor(1, 1))]));
        let alpha = |at: f64| cursors.at(at).next().map(|v| v.alpha);
        assert_eq!(alpha(1000.0), Some(1.0));
        let faded = alpha(60_000.0).expect("is there");
        assert!((faded - ALPHA_MIN).abs() < 1e-4, "{faded}");
    }
}
