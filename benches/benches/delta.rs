//! Cursors of a group told to those who receive it: keyframes and deltas.

#![expect(
    clippy::print_stderr,
    reason = "sizes stand beside times in what a bench prints"
)]

use std::hint::black_box;

use chalkboard_shared::codec::{Reader, Writer};
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::presence::{CursorGroup, CursorSample, PresenceCell};
use chalkboard_shared::workload::Curve;
use chalkboard_shared::{BoardPoint, SessionId};
use criterion::{Criterion, criterion_group, criterion_main};

/// The level at which somebody sees who sees the load's whole canvas.
const LEVEL: u8 = 4;
/// Ticks between keyframes.
const TICKS: u32 = 5;

/// A cursor of the load as it was sent last at a moment: 20 times a second, each with its own phase.
fn sent(i: u32, time_ms: u32) -> CursorSample {
    let made_ms = time_ms - (time_ms + i * 7) % 50;
    let cursor = CursorState {
        at: Curve::of(i).pointer(f64::from(made_ms) / 1000.0),
        tool: CursorTool::Pen,
        pressed: false,
    };
    let cell = PresenceCell::at(LEVEL, BoardPoint::new(0, 0));
    CursorSample::new(cell, cursor, made_ms * 100)
}

fn cursors(c: &mut Criterion) {
    let mut group = c.benchmark_group("delta");
    let cell = PresenceCell::at(LEVEL, BoardPoint::new(0, 0));
    for count in [50u32, 190] {
        let at = |time_ms| (0..count).map(move |i| (SessionId(i), sent(i, time_ms)));
        let next = |group: &CursorGroup, time_ms| {
            let now: Vec<_> = at(time_ms).map(|(_, sample)| Some(sample)).collect();
            group.successor(time_ms, &now, [])
        };
        let mut before = CursorGroup::new(1, cell, 10_000, at(10_000));
        for n in 1..4 {
            before = next(&before, 10_000 + n * TICKS * 33);
        }
        let base = next(&before, 10_000 + 4 * TICKS * 33);
        let time_ms = base.time_ms() + 2 * 33;
        let changed: Vec<_> = (0..count)
            .filter(|i| sent(*i, time_ms) != sent(*i, time_ms - 33))
            .map(|i| (i as usize, sent(i, time_ms)))
            .collect();
        let delta = || {
            let mut w = Writer::new();
            base.encode_delta(time_ms, &changed, 1000, &mut w);
            w.into_bytes()
        };
        let keyframe = || {
            let mut w = Writer::new();
            base.encode_successor(&before, &mut w);
            w.into_bytes()
        };
        let (delta_bytes, keyframe_bytes) = (delta(), keyframe());
        eprintln!(
            "delta/{count}: {:.2} bytes a cursor that has moved ({} of them), {:.2} in a keyframe",
            delta_bytes.len() as f64 / changed.len() as f64,
            changed.len(),
            keyframe_bytes.len() as f64 / f64::from(count),
        );
        group.bench_function(format!("encode/{count}"), |b| b.iter(delta));
        group.bench_function(format!("decode/{count}"), |b| {
            b.iter(|| base.decode_delta(&mut Reader::new(black_box(&delta_bytes).clone())));
        });
        group.bench_function(format!("encode-keyframe/{count}"), |b| b.iter(keyframe));
        group.bench_function(format!("decode-keyframe/{count}"), |b| {
            b.iter(|| {
                before.decode_successor(&mut Reader::new(black_box(&keyframe_bytes).clone()))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, cursors);
criterion_main!(benches);
