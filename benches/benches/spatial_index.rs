//! The spatial index of a room's strokes, through the room: strokes that go and come back, and windows that are looked
//! up, on small and large boards.

#![expect(
    clippy::print_stderr,
    reason = "sizes stand beside times in what a bench prints"
)]

use chalkboard_benches::{Traffic, drawn_room, extent, join_at, moment, rest};
use chalkboard_shared::workload::CANVAS_PX;
use chalkboard_shared::{ActorId, BoardPoint, BoardRect, Op, OpId, SessionId, StrokeId};
use chalkboard_simulation::{Input, Now};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Strokes that go, or come back, in one tick.
const STROKES_PER_TICK: u32 = 256;

/// A window of 1280 x 800 that wanders over the canvas.
fn window(n: u32) -> BoardRect {
    let place = |n: u64, length: i32| (n * 997 % (CANVAS_PX - length) as u64) as i32 * 16;
    let n = u64::from(n);
    let corner = BoardPoint::new(place(n, 1280), place(n * 7, 800));
    BoardRect::from_corners(
        corner,
        BoardPoint::new(corner.x + 1280 * 16, corner.y + 800 * 16),
    )
}

fn index(c: &mut Criterion) {
    let mut group = c.benchmark_group("spatial_index");
    group.sample_size(20);
    for strokes in [extent(50_000, 500), extent(1_000_000, 1000)] {
        let mut room = drawn_room(strokes);
        // The author of all.
        room.step(Now::default(), [join_at(0, BoardRect::EMPTY)]);
        let mut counter = 2 * strokes;
        let count = STROKES_PER_TICK.min(strokes / 4);
        let mut next = || {
            counter += 1;
            let turn = counter - 2 * strokes - 1;
            // Spread over the board, others each time.
            let of = |i: u32| {
                let stroke = (turn / 2 * count + i * (strokes / count)) % strokes;
                StrokeId(OpId {
                    actor: ActorId(1),
                    counter: 2 * stroke + 1,
                })
            };
            let strokes = (0..count).map(of).collect();
            let op = if turn.is_multiple_of(2) {
                Op::Erase { strokes }
            } else {
                Op::Restore { strokes }
            };
            let ops = Input::Ops {
                session: SessionId(0),
                first: counter,
                stamp: None,
                ops: vec![op],
            };
            (moment(turn, 30), [ops])
        };
        let (now, inputs) = next();
        room.step(now, inputs);
        assert!(
            room.visible_stroke_count() < strokes as usize,
            "nothing was erased"
        );
        let (now, inputs) = next();
        room.step(now, inputs);
        assert_eq!(room.visible_stroke_count(), strokes as usize);
        group.throughput(Throughput::Elements(count.into()));
        group.bench_function(format!("remove-insert/{strokes}"), |b| {
            b.iter_batched(
                &mut next,
                |(now, inputs)| room.step(now, inputs),
                BatchSize::PerIteration,
            );
        });

        // Whoever does not read is sent no strokes after the first: what is left is the search.
        room.step(Now::default(), [join_at(2, window(0))]);
        rest(&mut room);
        let mut second = 1_000_000;
        let mut look = || {
            second += 1;
            let view = Input::View {
                session: SessionId(2),
                view: window(second),
            };
            (moment(second, 1), [view])
        };
        let mut last = Traffic::default();
        for _ in 0..200 {
            let (now, inputs) = look();
            last = Traffic::default();
            last.add(&room.step(now, inputs));
        }
        eprintln!(
            "spatial_index/query/{strokes}: {} bytes for a window whose strokes wait",
            last.bytes
        );
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("query/{strokes}"), |b| {
            b.iter_batched(
                &mut look,
                |(now, inputs)| room.step(now, inputs),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, index);
criterion_main!(benches);
