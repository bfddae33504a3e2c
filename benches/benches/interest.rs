//! Interest: changes put together for those who look at one place or at a hundred, and views that are followed.

#![expect(
    clippy::print_stderr,
    reason = "sizes stand beside times in what a bench prints"
)]

use chalkboard_benches::{Traffic, drawn_room, extent, join, join_at, moment, rest, room_of};
use chalkboard_shared::workload::{CANVAS_PX, begin, canvas};
use chalkboard_shared::{BoardPoint, BoardRect, SessionId};
use chalkboard_simulation::{Input, Now};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Sessions that look.
const SESSIONS: u32 = 100;
/// Strokes in a tick.
const STROKES_PER_TICK: u32 = 200;
/// Who draws, seeing nothing.
const AUTHOR: u32 = 1000;

/// One of a hundred windows of 1280 x 800 side by side, which overlap.
fn window(n: u32) -> BoardRect {
    let place = |n: u32| n as i32 % 10 * 700 * 16;
    let corner = BoardPoint::new(place(n), place(n / 10));
    BoardRect::from_corners(
        corner,
        BoardPoint::new(corner.x + 1280 * 16, corner.y + 800 * 16),
    )
}

fn updates(c: &mut Criterion) {
    let mut group = c.benchmark_group("interest/updates");
    group.sample_size(20);
    group.throughput(Throughput::Elements(STROKES_PER_TICK.into()));
    for (places, view) in [
        (1, (|_| canvas()) as fn(u32) -> BoardRect),
        (SESSIONS, window),
    ] {
        let author = join_at(AUTHOR, BoardRect::EMPTY);
        let others = (0..SESSIONS).map(|n| join_at(n, view(n)));
        let mut room = room_of(others.chain([author]));
        let mut tick = 0;
        let mut next = || {
            tick += 1;
            let first = (tick - 1) * STROKES_PER_TICK + 1;
            let ops = Input::Ops {
                session: SessionId(AUTHOR),
                first,
                stamp: None,
                ops: (first..first + STROKES_PER_TICK).map(begin).collect(),
            };
            (moment(tick, 30), [ops])
        };
        let mut traffic = Traffic::default();
        let (now, inputs) = next();
        traffic.add(&room.step(now, inputs));
        eprintln!(
            "interest/updates/{places}: {} bytes in {} frames, {:.0} to each session",
            traffic.bytes,
            traffic.frames,
            traffic.delivered_bytes as f64 / f64::from(SESSIONS)
        );
        group.bench_function(places.to_string(), |b| {
            b.iter_batched(
                &mut next,
                |(now, inputs)| room.step(now, inputs),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn follow(c: &mut Criterion) {
    let mut group = c.benchmark_group("interest/follow");
    group.sample_size(20);
    let strokes = extent(50_000, 500);
    for sessions in [extent(1, 1), extent(SESSIONS, 5)] {
        let mut room = drawn_room(strokes);
        room.step(Now::default(), (0..sessions).map(join));
        // Nobody reads: what is left is to find what they lack.
        rest(&mut room);
        let mut second = 0;
        let mut next = || {
            second += 1;
            let view = |n: u32| {
                let place = |n: u32| (u64::from(n) * 991 % (CANVAS_PX - 1280) as u64) as i32 * 16;
                let corner = BoardPoint::new(place(n + second), place(n + 3 * second));
                let end = BoardPoint::new(corner.x + 1280 * 16, corner.y + 800 * 16);
                Input::View {
                    session: SessionId(n),
                    view: BoardRect::from_corners(corner, end),
                }
            };
            (
                moment(second, 1),
                (0..sessions).map(view).collect::<Vec<_>>(),
            )
        };
        let mut traffic = Traffic::default();
        let (now, inputs) = next();
        traffic.add(&room.step(now, inputs));
        eprintln!(
            "interest/follow/{sessions}: {:.0} bytes to a session whose strokes wait",
            traffic.bytes as f64 / f64::from(sessions)
        );
        group.throughput(Throughput::Elements(sessions.into()));
        group.bench_function(sessions.to_string(), |b| {
            b.iter_batched(
                &mut next,
                |(now, inputs)| room.step(now, inputs),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, updates, follow);
criterion_main!(benches);
