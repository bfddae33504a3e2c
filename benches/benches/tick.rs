//! The tick of a room: idle, and under the standard load: everybody's cursor moves 20 times a second, one in ten draws.

#![expect(
    clippy::print_stderr,
    reason = "sizes stand beside times in what a bench prints"
)]

use chalkboard_benches::{Traffic, extent, join, join_at, moment, room, room_of};
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::op::InkRun;
use chalkboard_shared::workload::{CANVAS_PX, Curve, PEN_HZ, STYLE, canvas};
use chalkboard_shared::{
    ActorId, BoardPoint, BoardRect, InkPoint, Op, OpId, Position, SessionId, StrokeId,
};
use chalkboard_simulation::{Input, Now, Room};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

/// Ticks a second.
const TICK_HZ: u32 = 30;
/// Of so many ticks a session sends something in all but one: 20 times a second.
const TURNS: u32 = 3;
/// One in so many draws.
const DRAWERS_EVERY: u32 = 10;
/// Samples of a batch, and batches of a stroke.
const BATCH_SAMPLES: u32 = 3;
const STROKE_BATCHES: u32 = 40;
/// Canvases in a row where everybody has their own, with as much room between them.
const CANVASES_PER_ROW: u32 = 100;

fn idle(c: &mut Criterion) {
    let mut room = room(100);
    c.bench_function("tick/idle/100", |b| {
        b.iter(|| room.step(Now::default(), []));
    });
}

/// Everybody in a room, and what they send.
struct Load {
    people: Vec<Person>,
    tick: u32,
    has_own_canvas: bool,
}

struct Person {
    curve: Curve,
    corner: BoardPoint,
    /// Number of the last op, and of the stroke's first.
    counter: u32,
    stroke: u32,
    batches: u32,
}

impl Load {
    fn of(sessions: u32, has_own_canvas: bool) -> Self {
        let person = |i| Person {
            curve: Curve::of(i),
            corner: if has_own_canvas {
                let far = |n: u32| n as i32 * 2 * CANVAS_PX * 16;
                BoardPoint::new(far(i % CANVASES_PER_ROW), far(i / CANVASES_PER_ROW))
            } else {
                BoardPoint::default()
            },
            counter: 0,
            stroke: 0,
            batches: 0,
        };
        Self {
            people: (0..sessions).map(person).collect(),
            tick: 0,
            has_own_canvas,
        }
    }

    fn room(&self) -> Room {
        let joins = self.people.iter().zip(0..).map(|(person, n)| {
            if self.has_own_canvas {
                let far = canvas().max;
                let end = BoardPoint::new(person.corner.x + far.x, person.corner.y + far.y);
                join_at(n, BoardRect::from_corners(person.corner, end))
            } else {
                join(n)
            }
        });
        room_of(joins)
    }

    /// The inputs of the next tick.
    fn next(&mut self) -> (Now, Vec<Input>) {
        self.tick += 1;
        let tick = self.tick;
        let time_s = f64::from(tick) / f64::from(TICK_HZ);
        let mut inputs = vec![Input::Durable(Position(u64::MAX))];
        for (person, n) in self.people.iter_mut().zip(0..) {
            if (tick + n).is_multiple_of(TURNS) {
                continue;
            }
            inputs.push(person.point(n, tick, time_s));
            if n % DRAWERS_EVERY == 0 {
                inputs.push(person.draw(n, time_s));
            }
        }
        (moment(tick, TICK_HZ), inputs)
    }
}

impl Person {
    fn place(&self, at: BoardPoint) -> BoardPoint {
        BoardPoint::new(self.corner.x + at.x, self.corner.y + at.y)
    }

    fn point(&self, n: u32, tick: u32, time_s: f64) -> Input {
        let cursor = CursorState {
            at: self.place(self.curve.pointer(time_s)),
            tool: CursorTool::Pen,
            pressed: false,
        };
        Input::Cursor {
            session: SessionId(n),
            sequence: tick,
            stamp: Some((time_s * 1e5) as u32),
            cursor,
        }
    }

    fn draw(&mut self, n: u32, time_s: f64) -> Input {
        let samples = (0..BATCH_SAMPLES).map(|sample| {
            let before = f64::from(BATCH_SAMPLES - 1 - sample) / f64::from(PEN_HZ);
            let point = self.curve.pen(time_s - before);
            InkPoint {
                at: self.place(point.at),
                pressure: point.pressure,
            }
        });
        let ink = InkRun::new(samples.collect());
        let stroke = StrokeId(OpId {
            actor: ActorId(u64::from(n) + 1),
            counter: self.stroke,
        });
        let first = self.counter + 1;
        let mut ops = Vec::new();
        if self.batches.is_multiple_of(STROKE_BATCHES) {
            if self.batches > 0 {
                ops.push(Op::Finish { stroke });
            }
            self.stroke = first + ops.len() as u32;
            ops.push(Op::Begin { style: STYLE, ink });
        } else {
            ops.push(Op::Extend { stroke, ink });
        }
        self.batches += 1;
        self.counter += ops.len() as u32;
        Input::Ops {
            session: SessionId(n),
            first,
            stamp: Some((time_s * 1e5) as u32),
            ops,
        }
    }
}

fn load(c: &mut Criterion) {
    for (name, has_own_canvas) in [("together", false), ("apart", true)] {
        let mut group = c.benchmark_group(format!("tick/{name}"));
        group.sample_size(20);
        for sessions in [extent(100, 10), extent(1000, 20), extent(10_000, 40)] {
            let mut load = Load::of(sessions, has_own_canvas);
            let mut room = load.room();
            for _ in 0..TICK_HZ {
                let (now, inputs) = load.next();
                room.step(now, inputs);
            }
            let mut traffic = Traffic::default();
            for _ in 0..TICK_HZ {
                let (now, inputs) = load.next();
                traffic.add(&room.step(now, inputs));
            }
            eprintln!(
                "tick/{name}/{sessions}: {} bytes encoded a tick in {} frames, {:.1} kB a second to a session, {} bytes \
                 of log a second",
                traffic.bytes / TICK_HZ as usize,
                traffic.frames / TICK_HZ as usize,
                traffic.delivered_bytes as f64 / f64::from(sessions) / 1e3,
                traffic.log_bytes,
            );
            group.bench_function(sessions.to_string(), |b| {
                b.iter_batched(
                    || load.next(),
                    |(now, inputs)| room.step(now, inputs),
                    BatchSize::PerIteration,
                );
            });
            let drawn: u64 = load
                .people
                .iter()
                .map(|person| u64::from(person.counter))
                .sum();
            // What the last setup of a measurement made may not have been stepped.
            let pending = u64::from(sessions);
            assert!(room.position().0 + pending >= drawn, "ops were refused");
        }
        group.finish();
    }
}

criterion_group!(benches, idle, load);
criterion_main!(benches);
