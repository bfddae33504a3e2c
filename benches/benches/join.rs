//! Joining: what it costs a room to send a board, and a client to take it.

#![expect(
    clippy::print_stderr,
    reason = "sizes stand beside times in what a bench prints"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chalkboard_benches::{come_in, drawn_room, extent};
use chalkboard_client::client::{Client, ClientOptions};
use chalkboard_shared::wire::ServerMessage;
use chalkboard_shared::{BoardId, BoardPoint, BoardRect, Secret, workload};
use chalkboard_simulation::Room;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

/// A window of 1280 x 800 in the middle of the canvas.
const WINDOW: BoardRect = BoardRect {
    min: BoardPoint::new((4096 - 640) * 16, (4096 - 400) * 16),
    max: BoardPoint::new((4096 + 640) * 16, (4096 + 400) * 16),
};

/// Says what a join brings.
fn describe(name: &str, ticks: &[Vec<Bytes>]) {
    let (mut strokes, mut bytes) = (0, 0);
    for frame in ticks.iter().flatten() {
        if let Ok(ServerMessage::Chunk(chunk)) = ServerMessage::decode(frame.clone()) {
            strokes += chunk.len();
            bytes += frame.len();
        }
    }
    eprintln!(
        "{name}: {strokes} strokes in {} ticks, {:.1} bytes a stroke",
        ticks.len(),
        bytes as f64 / strokes.max(1) as f64
    );
}

/// The first join to a room encodes everything that it is sent; a second one does not.
fn first(room: &mut Room, name: &str) {
    let mut longest = Duration::ZERO;
    let covered = ServerMessage::Covered.encode();
    let start = Instant::now();
    let mut inputs = vec![chalkboard_benches::join(1)];
    let mut ticks = 0;
    loop {
        let begun = Instant::now();
        let output = room.step(chalkboard_simulation::Now::default(), inputs);
        longest = longest.max(begun.elapsed());
        ticks += 1;
        if output.sends.iter().any(|send| send.frame == covered) {
            break;
        }
        let bytes: usize = output.sends.iter().map(|send| send.frame.len()).sum();
        inputs = vec![chalkboard_simulation::Input::Written {
            session: chalkboard_shared::SessionId(1),
            bytes: bytes as u32,
        }];
    }
    eprintln!(
        "{name}: the whole canvas for the first time in {ticks} ticks, {:.1} ms of work, the longest tick {:.1} ms",
        start.elapsed().as_secs_f64() * 1e3,
        longest.as_secs_f64() * 1e3
    );
    let left = chalkboard_simulation::Input::Leave(chalkboard_shared::SessionId(1));
    room.step(chalkboard_simulation::Now::default(), [left]);
}

fn rooms(c: &mut Criterion) {
    let mut group = c.benchmark_group("join/room");
    group.sample_size(20);
    for strokes in [extent(50_000, 500), extent(1_000_000, 1000)] {
        let mut room = drawn_room(strokes);
        let begun = Instant::now();
        let window = come_in(&mut room, 2, WINDOW);
        eprintln!(
            "join/room/window/{strokes}: for the first time {:.1} ms of work",
            begun.elapsed().as_secs_f64() * 1e3
        );
        describe(&format!("join/room/window/{strokes}"), &window);
        first(&mut room, &format!("join/room/canvas/{strokes}"));
        let canvas = come_in(&mut room, 2, workload::canvas());
        describe(&format!("join/room/canvas/{strokes}"), &canvas);
        let mut session = 10;
        for (name, view) in [("window", WINDOW), ("canvas", workload::canvas())] {
            group.bench_function(format!("{name}/{strokes}"), |b| {
                b.iter(|| {
                    session += 1;
                    come_in(&mut room, session, view)
                });
            });
        }
    }
    group.finish();
}

fn clients(c: &mut Criterion) {
    let strokes = extent(50_000, 500);
    let frames: Vec<Bytes> = come_in(&mut drawn_room(strokes), 1, workload::canvas()).concat();
    let client = || {
        let mut client = Client::new(ClientOptions {
            board: BoardId([1; 16]),
            secret: Secret([2; 16]),
            key: [3; 16],
            name: "Ada".into(),
            color: 0,
            is_stamping: false,
        });
        client.set_view(workload::canvas());
        client.connected(0.0);
        while client.poll_transmit().is_some() {}
        client
    };
    let take = |mut client: Client| {
        for frame in &frames {
            client
                .receive(1.0, black_box(frame).clone())
                .expect("the room sends what clients can read");
        }
        client
    };
    assert_eq!(take(client()).board().len(), strokes as usize);
    let mut group = c.benchmark_group("join/client");
    group.sample_size(20);
    group.bench_function(format!("canvas/{strokes}"), |b| {
        b.iter_batched(client, take, BatchSize::PerIteration);
    });
    let chunks: Vec<_> = frames
        .iter()
        .filter(|frame| {
            matches!(
                ServerMessage::decode((*frame).clone()),
                Ok(ServerMessage::Chunk(_))
            )
        })
        .collect();
    group.bench_function(format!("decode/{strokes}"), |b| {
        b.iter(|| {
            for chunk in &chunks {
                black_box(ServerMessage::decode((*chunk).clone()).expect("is a chunk"));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, rooms, clients);
criterion_main!(benches);
