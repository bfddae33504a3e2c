//! The tick of a room: idle, with moving cursors, with ink.

use chalkboard_benches::room;
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::op::InkRun;
use chalkboard_shared::workload::{Curve, begin};
use chalkboard_shared::{ActorId, Op, OpId, SessionId, StrokeId};
use chalkboard_simulation::{Input, Now};
use criterion::{Criterion, criterion_group, criterion_main};

fn idle(c: &mut Criterion) {
    let mut room = room(100);
    c.bench_function("tick/idle/100", |b| {
        b.iter(|| room.step(Now::default(), []));
    });
}

fn moving(c: &mut Criterion) {
    let mut group = c.benchmark_group("tick/cursors");
    for sessions in [100u32, 1000] {
        let mut room = room(sessions);
        let mut sequence = 0;
        group.bench_function(sessions.to_string(), |b| {
            b.iter(|| {
                sequence += 1;
                let cursor = |i| {
                    let at = Curve::of(i).pointer(f64::from(sequence) / 60.0);
                    let cursor = CursorState {
                        at,
                        tool: CursorTool::Pen,
                        pressed: false,
                    };
                    Input::Cursor {
                        session: SessionId(i),
                        sequence,
                        stamp: None,
                        cursor,
                    }
                };
                room.step(Now::default(), (0..sessions).map(cursor))
            });
        });
    }
    group.finish();
}

fn ink(c: &mut Criterion) {
    let mut group = c.benchmark_group("tick/ops");
    for ops in [10u32, 500] {
        let mut room = room(20);
        let mut counter = 1;
        room.step(
            Now::default(),
            (0..10).map(|n| Input::Ops {
                session: SessionId(n),
                first: 1,
                stamp: None,
                ops: vec![begin(n)],
            }),
        );
        let mut since_begin = 0;
        group.bench_function(ops.to_string(), |b| {
            b.iter(|| {
                // A stroke holds 10,000 points at the most: begin anew before that.
                since_begin += ops / 10;
                let anew = since_begin > 9000;
                if anew {
                    since_begin = 0;
                }
                let first = counter + 1;
                counter += ops / 10;
                let stroke_counter = if anew {
                    first
                } else {
                    first - (since_begin - ops / 10) - 1
                };
                let inputs = (0..10).map(|n| {
                    let actor = ActorId(u64::from(n) + 1);
                    let stroke = StrokeId(OpId {
                        actor,
                        counter: stroke_counter,
                    });
                    let ops = (0..ops / 10).map(|i| {
                        if anew && i == 0 {
                            begin(n)
                        } else {
                            Op::Extend {
                                stroke,
                                ink: InkRun::new(vec![
                                    Curve::of(n).pen(f64::from(counter + i) / 60.0),
                                ]),
                            }
                        }
                    });
                    Input::Ops {
                        session: SessionId(n),
                        first,
                        stamp: None,
                        ops: ops.collect(),
                    }
                });
                room.step(Now::default(), inputs)
            });
        });
        assert!(
            room.position().0 > u64::from(counter),
            "ops of the bench were refused"
        );
    }
    group.finish();
}

criterion_group!(benches, idle, moving, ink);
criterion_main!(benches);
