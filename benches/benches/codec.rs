//! Codecs: time and bytes of a stroke of 30 points.

#![expect(
    clippy::print_stderr,
    reason = "sizes stand beside times in what a bench prints"
)]

use std::hint::black_box;

use chalkboard_shared::chunk;
use chalkboard_shared::codec::{Reader, Writer};
use chalkboard_shared::workload::{STYLE, stroke_points};
use chalkboard_shared::{ActorId, OpId, PackedInk, Position, Stroke, StrokeId};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn strokes(c: &mut Criterion) {
    let strokes: Vec<_> = (0..1000).map(stroke_points).collect();
    let packed: Vec<_> = strokes
        .iter()
        .map(|points| PackedInk::pack(points))
        .collect();
    let bytes: usize = packed.iter().map(|packed| packed.as_bytes().len()).sum();
    eprintln!(
        "codec/stroke: {:.1} bytes a stroke of 30 points with pressure",
        bytes as f64 / packed.len() as f64
    );
    let mut group = c.benchmark_group("codec/stroke");
    let mut next = (0..strokes.len()).cycle();
    group.bench_function("pack/30", |b| {
        b.iter(|| PackedInk::pack(black_box(&strokes[next.next().unwrap_or(0)])));
    });
    let mut next = (0..strokes.len()).cycle();
    group.bench_function("unpack/30", |b| {
        b.iter(|| black_box(&packed[next.next().unwrap_or(0)]).unpack());
    });
    group.finish();
}

fn chunks(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/chunk");
    for count in [50u32, 700] {
        // As a cell holds them: every so-manieth stroke of a board.
        let strokes: Vec<_> = (0..count).map(|n| stroke(n * 71)).collect();
        let encode = || {
            let mut w = Writer::new();
            chunk::encode(black_box(&strokes), &mut w);
            w.into_bytes()
        };
        let bytes = encode();
        eprintln!(
            "codec/chunk/{count}: {:.1} bytes a stroke of 30 points with all that belongs to it",
            bytes.len() as f64 / f64::from(count)
        );
        group.throughput(Throughput::Elements(count.into()));
        group.bench_function(format!("encode/{count}"), |b| b.iter(encode));
        group.bench_function(format!("decode/{count}"), |b| {
            b.iter(|| chunk::decode(&mut Reader::new(black_box(&bytes).clone())));
        });
    }
    group.finish();
}

/// Stroke `i` of a bench board as the room keeps it.
fn stroke(i: u32) -> Stroke {
    let id = StrokeId(OpId {
        actor: ActorId(1),
        counter: 2 * i + 1,
    });
    let mut stroke = Stroke::new(id, Position((2 * i + 1).into()), STYLE);
    stroke.push(&stroke_points(i));
    stroke.finish();
    stroke
}

criterion_group!(benches, strokes, chunks);
criterion_main!(benches);
