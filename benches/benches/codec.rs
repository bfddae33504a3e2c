//! Codecs: time and bytes of a stroke of 30 points.

#![expect(
    clippy::print_stderr,
    reason = "sizes stand beside times in what a bench prints"
)]

use std::hint::black_box;

use chalkboard_shared::PackedInk;
use chalkboard_shared::workload::stroke_points;
use criterion::{Criterion, criterion_group, criterion_main};

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

criterion_group!(benches, strokes);
criterion_main!(benches);
