//! Merging: ops that a room takes, applies, logs and hands on, by what they do.

#![expect(
    clippy::print_stderr,
    reason = "sizes stand beside times in what a bench prints"
)]

use chalkboard_benches::{Traffic, extent, moment, room};
use chalkboard_shared::limits::OPS_PER_TICK_MAX;
use chalkboard_shared::op::InkRun;
use chalkboard_shared::workload::{Curve, STYLE, begin};
use chalkboard_shared::{ActorId, Op, OpId, SessionId, StrokeId};
use chalkboard_simulation::{Input, Now, Room};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Sessions that draw, of those who see it.
const SENDERS: u32 = 4;
const RECEIVERS: u32 = 20;

/// A kind of op, as much of it as one session may do in a tick: sender `n`, and the number of the first op.
type Batch = fn(n: u32, first: u32, count: u32) -> Vec<Op>;

const fn stroke(n: u32, counter: u32) -> StrokeId {
    StrokeId(OpId {
        actor: ActorId(n as u64 + 1),
        counter,
    })
}

/// A stroke that grows point by point: hardly anything but extending.
fn extend(n: u32, first: u32, count: u32) -> Vec<Op> {
    let sample = |i: u32| InkRun::new(vec![Curve::of(n).pen(f64::from(first + i) / 60.0)]);
    let own = stroke(n, first);
    let mut ops = vec![Op::Begin {
        style: STYLE,
        ink: sample(0),
    }];
    ops.extend((1..count - 1).map(|i| Op::Extend {
        stroke: own,
        ink: sample(i),
    }));
    ops.push(Op::Finish { stroke: own });
    ops
}

/// Whole strokes of 30 points.
fn begin_and_finish(_: u32, first: u32, count: u32) -> Vec<Op> {
    let ops = (0..count / 2).flat_map(|i| {
        let finish = Op::Finish {
            stroke: stroke(0, 0),
        };
        [begin(first + i), finish]
    });
    ops.collect()
}

/// Strokes of a point, each erased at once.
fn erase(n: u32, first: u32, count: u32) -> Vec<Op> {
    let ops = (0..count / 2).flat_map(|i| {
        let point = Curve::of(n).pen(f64::from(first + i));
        let begin = Op::Begin {
            style: STYLE,
            ink: InkRun::new(vec![point]),
        };
        let strokes = vec![stroke(n, first + 2 * i)];
        [begin, Op::Erase { strokes }]
    });
    ops.collect()
}

/// The inputs of a tick.
fn inputs(batch: Batch, tick: u32, count: u32) -> (Now, Vec<Input>) {
    let first = tick * count + 1;
    let inputs = (0..SENDERS).map(|n| {
        let mut ops = batch(n, first, count);
        for (op, counter) in ops.iter_mut().zip(first..) {
            if let Op::Finish { stroke: of } = op
                && of.0.counter == 0
            {
                *of = stroke(n, counter - 1);
            }
        }
        Input::Ops {
            session: SessionId(n),
            first,
            stamp: None,
            ops,
        }
    });
    (moment(tick, 60), inputs.collect())
}

fn merge(c: &mut Criterion) {
    let mut group = c.benchmark_group("merge");
    group.sample_size(20);
    let count = extent(OPS_PER_TICK_MAX as u32, 8);
    let all = SENDERS * count;
    let kinds: [(&str, Batch); 3] = [
        ("extend", extend),
        ("begin-finish", begin_and_finish),
        ("begin-erase", erase),
    ];
    for (name, batch) in kinds {
        let mut room: Room = room(RECEIVERS);
        let mut traffic = Traffic::default();
        let (now, first) = inputs(batch, 0, count);
        traffic.add(&room.step(now, first));
        assert_eq!(room.position().0, u64::from(all), "ops were refused");
        eprintln!(
            "merge/{name}/{all}: {:.1} bytes an op to each session, {:.1} in the log",
            traffic.delivered_bytes as f64 / f64::from(RECEIVERS) / f64::from(all),
            traffic.log_bytes as f64 / f64::from(all),
        );
        group.throughput(Throughput::Elements(all.into()));
        let mut tick = 0;
        group.bench_function(format!("{name}/{all}"), |b| {
            b.iter_batched(
                || {
                    tick += 1;
                    inputs(batch, tick, count)
                },
                |(now, inputs)| room.step(now, inputs),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, merge);
criterion_main!(benches);
