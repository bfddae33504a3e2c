//! What a session is sent a second, by kind of message: counted, not timed, in rooms as large as they get.
//!
//! Everybody looks at the whole canvas. What a connection adds (heads of packets, acknowledgements) is not in it.

#![expect(
    clippy::print_stdout,
    reason = "a table of bytes is what this bench is for"
)]

use std::collections::BTreeMap;

use chalkboard_benches::{extent, join, moment, room_of};
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::op::InkRun;
use chalkboard_shared::presence::{Pace, PresenceStage};
use chalkboard_shared::workload::{Curve, PEN_HZ, STYLE, hash};
use chalkboard_shared::{ActorId, Op, OpId, Position, SessionId, StrokeId};
use chalkboard_simulation::Input;

/// Batches of samples that somebody who draws sends a second, samples of a batch, and batches of a stroke.
const BATCH_HZ: u32 = 20;
const BATCH_SAMPLES: u32 = PEN_HZ / BATCH_HZ;
const STROKE_BATCHES: u32 = 40;
/// Seconds that count, after as many for the room to settle.
const SECONDS: u32 = 5;
/// Stamps a second.
const STAMP_HZ: f64 = 1e5;

/// A room and its load.
struct Case {
    name: &'static str,
    sessions: u32,
    tick_hz: u32,
    cursor_hz: u32,
    /// One in so many draws.
    drawers_every: u32,
    stage: PresenceStage,
    has_stamps: bool,
}

/// Somebody who draws without pause.
#[derive(Default)]
struct Drawer {
    counter: u32,
    stroke: u32,
    batches: u32,
}

impl Drawer {
    fn draw(&mut self, n: u32, time_s: f64, has_stamps: bool) -> Vec<Input> {
        let samples = (0..BATCH_SAMPLES)
            .rev()
            .map(|before| Curve::of(n).pen(time_s - f64::from(before) / f64::from(PEN_HZ)));
        let ink = InkRun::new(samples.collect());
        let stroke = |counter| {
            StrokeId(OpId {
                actor: ActorId(u64::from(n) + 1),
                counter,
            })
        };
        let ops = |first, stamp, op| Input::Ops {
            session: SessionId(n),
            first,
            stamp,
            ops: vec![op],
        };
        let mut inputs = Vec::new();
        if self.batches.is_multiple_of(STROKE_BATCHES) {
            if self.batches > 0 {
                self.counter += 1;
                let stroke = stroke(self.stroke);
                inputs.push(ops(self.counter, None, Op::Finish { stroke }));
            }
            self.stroke = self.counter + 1;
        }
        self.counter += 1;
        let op = if self.stroke == self.counter {
            Op::Begin { style: STYLE, ink }
        } else {
            let stroke = stroke(self.stroke);
            Op::Extend { stroke, ink }
        };
        let stamp = has_stamps.then_some((time_s * STAMP_HZ) as u32);
        inputs.push(ops(self.counter, stamp, op));
        self.batches += 1;
        inputs
    }
}

impl Case {
    /// Bytes that session 1, who draws nothing, gets, and frames, by kind.
    fn count(&self) -> BTreeMap<u8, (usize, usize)> {
        let mut room = room_of((0..self.sessions).map(join));
        let pace = Pace {
            tick_us: 1_000_000 / self.tick_hz,
            presence: self.stage,
        };
        room.step(moment(0, self.tick_hz), [Input::Pace(pace)]);
        let mut drawers: Vec<Drawer> = Vec::new();
        drawers.resize_with(
            self.sessions.div_ceil(self.drawers_every) as usize,
            Drawer::default,
        );
        let mut kinds: BTreeMap<u8, (usize, usize)> = BTreeMap::new();
        let (settling, all) = (SECONDS * self.tick_hz, 2 * SECONDS * self.tick_hz);
        for tick in 1..=all {
            let (from, to) = (self.time_s(tick), self.time_s(tick + 1));
            let mut inputs = vec![Input::Durable(Position(u64::MAX))];
            for n in 0..self.sessions {
                for (time_s, number) in turns(n, self.cursor_hz, from, to) {
                    inputs.push(cursor(n, number, time_s));
                }
                if n % self.drawers_every == 0 {
                    let drawer = &mut drawers[(n / self.drawers_every) as usize];
                    for (time_s, _) in turns(n, BATCH_HZ, from, to) {
                        inputs.extend(drawer.draw(n, time_s, self.has_stamps));
                    }
                }
            }
            let output = room.step(moment(tick, self.tick_hz), inputs);
            if tick <= settling {
                continue;
            }
            let me = SessionId(1);
            for send in output.sends {
                if send.to.as_slice().binary_search(&me).is_ok() {
                    let of = kinds.entry(send.frame[0]).or_default();
                    *of = (of.0 + send.frame.len(), of.1 + 1);
                }
            }
        }
        kinds
    }

    fn time_s(&self, tick: u32) -> f64 {
        f64::from(tick) / f64::from(self.tick_hz)
    }
}

/// When somebody who acts so many times a second does from one moment to another; everybody at their own times.
fn turns(n: u32, hz: u32, from: f64, to: f64) -> impl Iterator<Item = (f64, u32)> {
    let (hz, phase) = (f64::from(hz), hash(f64::from(n)));
    let first = (from * hz - phase).ceil().max(0.0) as u32;
    (first..)
        .map(move |turn| ((f64::from(turn) + phase) / hz, turn))
        .take_while(move |(time_s, _)| *time_s < to)
}

fn cursor(n: u32, number: u32, time_s: f64) -> Input {
    Input::Cursor {
        session: SessionId(n),
        sequence: number + 1,
        stamp: Some((time_s * STAMP_HZ) as u32),
        cursor: CursorState {
            at: Curve::of(n).pointer(time_s),
            tool: CursorTool::Pen,
            pressed: false,
        },
    }
}

const fn name(kind: u8) -> &'static str {
    match kind {
        20 => "updates",
        21 => "answers",
        22 => "saved",
        23 => "people",
        24 => "cursors, whole",
        25 => "cursors, moved",
        27 => "cursors, keyframe",
        28 => "crowds",
        29 => "pace",
        _ => "other",
    }
}

fn main() {
    let crowd = |name, stage, has_stamps| Case {
        name,
        sessions: extent(10_000, 40),
        tick_hz: 10,
        cursor_hz: 5,
        drawers_every: extent(100, 10),
        stage,
        has_stamps,
    };
    let cases = [
        Case {
            name: "exact/400",
            sessions: extent(400, 20),
            tick_hz: 30,
            cursor_hz: 20,
            drawers_every: 10,
            stage: PresenceStage::Full,
            has_stamps: true,
        },
        crowd("crowds/10000", PresenceStage::Crowd, true),
        crowd("crowds_without_stamps/10000", PresenceStage::Crowd, false),
        crowd("at_ease/10000", PresenceStage::Full, true),
    ];
    for case in cases {
        println!("Testing session_bytes/{}", case.name);
        let kinds = case.count();
        let each = |v: usize| v as f64 / f64::from(SECONDS);
        let all: usize = kinds.values().map(|(bytes, _)| bytes).sum();
        println!("{:.0} bytes a second to a session", each(all));
        for (kind, (bytes, frames)) in kinds {
            println!(
                "  {:20} {:8.0} in {:6.1} frames",
                name(kind),
                each(bytes),
                each(frames)
            );
        }
        println!("Success");
    }
}
