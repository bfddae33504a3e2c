//! The mirror: what it costs a client to take a room's updates, and the chunks of a part of a board.

#![expect(
    clippy::print_stderr,
    reason = "sizes stand beside times in what a bench prints"
)]

use std::hint::black_box;

use bytes::Bytes;
use chalkboard_benches::{come_in, drawn_room, extent, join_at, moment, room_of, settle_in};
use chalkboard_client::client::{Client, ClientOptions};
use chalkboard_shared::op::InkRun;
use chalkboard_shared::workload::{Curve, begin, canvas};
use chalkboard_shared::{
    ActorId, BoardId, BoardPoint, BoardRect, Op, OpId, Secret, SessionId, StrokeId,
};
use chalkboard_simulation::Input;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Who looks.
const OBSERVER: u32 = 500;
/// Who draws.
const DRAWERS: u32 = 10;

/// A client that is let in with these frames.
fn client(frames: &[Bytes]) -> Client {
    let mut client = Client::new(ClientOptions {
        board: BoardId([1; 16]),
        secret: Secret([2; 16]),
        key: [3; 16],
        name: "Ada".into(),
        color: 0,
        is_stamping: false,
    });
    client.set_view(canvas());
    client.connected(0.0);
    while client.poll_transmit().is_some() {}
    take(client, frames)
}

fn take(mut client: Client, frames: &[Bytes]) -> Client {
    for frame in frames {
        client
            .receive(1.0, black_box(frame).clone())
            .expect("the room sends what clients can read");
    }
    client
}

/// What each of those who draw does in the `tick`-th tick: begins a stroke, then extends it by a batch of 3 samples.
fn draw(n: u32, tick: u32) -> Input {
    let first = tick + 1;
    let op = if tick == 0 {
        begin(n)
    } else {
        let sample = |i: u32| Curve::of(n).pen(f64::from(3 * tick + i) / 60.0);
        Op::Extend {
            stroke: StrokeId(OpId {
                actor: ActorId(u64::from(n) + 1),
                counter: 1,
            }),
            ink: InkRun::new((0..3).map(sample).collect()),
        }
    };
    Input::Ops {
        session: SessionId(n),
        first,
        stamp: None,
        ops: vec![op],
    }
}

fn updates(c: &mut Criterion) {
    let mut room = room_of((0..DRAWERS).map(|n| join_at(n, BoardRect::EMPTY)));
    let welcome = settle_in(&mut room, OBSERVER, canvas()).concat();
    let ticks = extent(200, 5);
    let mut frames = Vec::new();
    for tick in 0..ticks {
        let output = room.step(moment(tick, 30), (0..DRAWERS).map(|n| draw(n, tick)));
        let own = output
            .sends
            .into_iter()
            .filter(|send| send.to.as_slice().contains(&SessionId(OBSERVER)));
        frames.extend(own.map(|send| send.frame));
    }
    let batches = DRAWERS * ticks;
    let bytes: usize = frames.iter().map(Bytes::len).sum();
    eprintln!(
        "mirror/updates/{batches}: {:.1} bytes a batch of 3 samples",
        bytes as f64 / f64::from(batches)
    );
    assert_eq!(take(client(&welcome), &frames).digest(), room.digest());
    let mut group = c.benchmark_group("mirror/updates");
    group.sample_size(20);
    group.throughput(Throughput::Elements(batches.into()));
    group.bench_function(batches.to_string(), |b| {
        b.iter_batched(
            || client(&welcome),
            |client| take(client, &frames),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn chunks(c: &mut Criterion) {
    let mut group = c.benchmark_group("mirror/chunks");
    group.sample_size(20);
    let mut room = drawn_room(extent(50_000, 500));
    let middle = BoardPoint::new(4096 * 16, 4096 * 16);
    let windows = [extent(500, 4000), extent(2000, 8000)];
    for pixels in windows {
        let corner = |side: i32| BoardPoint::new(middle.x + side * 8, middle.y + side * 8);
        let view = BoardRect::from_corners(corner(-(pixels as i32)), corner(pixels as i32));
        let frames = come_in(&mut room, OBSERVER, view).concat();
        let strokes = take(client(&[]), &frames).board().len() as u64;
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        eprintln!(
            "mirror/chunks/{strokes}: a window of {pixels} pixels, {bytes} bytes, {:.1} a stroke",
            bytes as f64 / strokes.max(1) as f64
        );
        group.throughput(Throughput::Elements(strokes));
        group.bench_function(strokes.to_string(), |b| {
            b.iter_batched(
                || client(&[]),
                |client| take(client, &frames),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, updates, chunks);
criterion_main!(benches);
