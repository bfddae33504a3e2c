//! Codecs: time and bytes of a stroke of 30 points and of a tick's cursors.

#![expect(
    clippy::print_stderr,
    reason = "sizes stand beside times in what a bench prints"
)]

use std::hint::black_box;

use chalkboard_benches::{pointer, stroke_points};
use chalkboard_shared::codec::{Reader, Writer};
use chalkboard_shared::cursor::{CursorDelta, CursorKeyframe, CursorState, CursorTool};
use chalkboard_shared::interest::Coverage;
use chalkboard_shared::{BoardPoint, BoardRect, PackedInk, SessionId, Tick};
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

fn cursors(c: &mut Criterion) {
    let area = Coverage::of_view(
        BoardRect::from_corners(BoardPoint::new(0, 0), BoardPoint::new(8192 * 16, 8192 * 16)),
        None,
    );
    let mut group = c.benchmark_group("codec/cursors");
    for count in [100u32, 1000] {
        let at = |t: f64| {
            (0..count).map(move |i| {
                let (x, y) = pointer(i, t);
                let at = BoardPoint::new(x as i32 * 16, y as i32 * 16);
                (
                    SessionId(i),
                    CursorState {
                        at,
                        tool: CursorTool::Pen,
                        pressed: false,
                    },
                )
            })
        };
        let keyframe = CursorKeyframe::new(1, area, at(10.0));
        let delta = CursorDelta {
            tick: Tick(600),
            gone: Vec::new(),
            changed: at(10.5).map(|(s, c)| (s, keyframe.snap(c))).collect(),
        };
        let encode = || {
            let mut w = Writer::new();
            delta.encode(&keyframe, usize::MAX / 2, &mut w);
            w.into_bytes()
        };
        let bytes = encode();
        eprintln!(
            "codec/cursors: {:.2} bytes a cursor, {count} moving, half a second after the keyframe",
            bytes.len() as f64 / f64::from(count)
        );
        group.bench_function(format!("encode/{count}"), |b| b.iter(encode));
        group.bench_function(format!("decode/{count}"), |b| {
            b.iter(|| CursorDelta::decode(black_box(&keyframe), &mut Reader::new(bytes.clone())));
        });
    }
    group.finish();
}

criterion_group!(benches, strokes, cursors);
criterion_main!(benches);
