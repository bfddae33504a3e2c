//! Figures of large boards, many sessions and many rooms.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::Bench;
use super::room::{percentiles, workshop};
use super::row::{Row, Verdict};
use super::run::run;
use crate::join::JoinRun;
use crate::load_process::LoadProcess;
use crate::own_server::OwnServer;
use crate::sample::Percentiles;
use crate::spec::Spec;

/// Joins that count; one before them finds caches cold.
const JOINS: u32 = 10;
/// Sessions of the figure about idle ones, and how long they rest before it is taken.
const IDLE_SESSIONS: u32 = 2000;
const IDLE_WAIT: Duration = Duration::from_secs(5);
const KB: u64 = 1000;
const MB: u64 = 1_000_000;

pub(super) fn join(bench: &mut Bench) -> Result<Vec<Row>> {
    let goal = Some((100.0, 2.8e6, 100 * MB));
    join_of(bench, "join", 50_000, 1, goal)
}

pub(super) fn join_million(bench: &mut Bench) -> Result<Vec<Row>> {
    // As full as a board of 50,000 and 20 times as large; and all of it where those lie.
    let mut rows = join_of(bench, "join-million", 1_000_000, 20, None)?;
    rows.extend(join_of(bench, "join-million", 1_000_000, 1, None)?);
    Ok(rows)
}

fn join_of(
    bench: &Bench,
    name: &str,
    strokes: u32,
    canvases: u32,
    goal: Option<(f64, f64, u64)>,
) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir_in(&bench.options.disk)?;
    let mut options = bench.pinned();
    options.strokes = strokes;
    options.canvases = canvases;
    options.folder = Some(folder.path().to_owned());
    let server = OwnServer::start(&options)?;
    let spec = Spec {
        port: server.port(),
        times: JOINS + 1,
        expect: strokes.into(),
        ..Spec::default()
    };
    let mut load = LoadProcess::start(&spec, bench.load_cores())?;
    // Of a million only the screen is asked for: the whole of it is a download, not a join.
    let whole = if goal.is_some() {
        Some(median(load.join(true)?))
    } else {
        None
    };
    let screen = median(load.join(false)?);
    let shown = screen
        .shown
        .context("a join of a screen tells when it is shown")?;
    let memory = server.memory_bytes()?;
    let mut rows = Vec::new();
    if let (Some(whole), Some((ms, bytes, memory_max))) = (whole, goal) {
        rows.push(Row {
            figure: format!(
                "join of {strokes} strokes x 30 points: whole board / bytes / server memory"
            ),
            asked: format!(
                "<= {ms} ms, <= {} MB, <= {} MB",
                bytes / 1e6,
                memory_max / MB
            ),
            measured: format!(
                "{:.0} ms, {:.2} MB ({:.1} B a stroke), {} MB",
                whole.ms,
                whole.bytes as f64 / 1e6,
                whole.bytes as f64 / f64::from(strokes),
                memory / MB
            ),
            verdict: Verdict::of(
                whole.ms <= ms && whole.bytes as f64 <= bytes && memory <= memory_max,
            ),
            command: bench.command(name),
            details: json!({"whole": whole, "memory_bytes": memory, "setup": server.setup}),
        });
    }
    rows.push(Row {
        figure: format!(
            "join of {strokes} strokes on {canvases} canvas{}: a screen of 1920 x 1080 px",
            if canvases == 1 { "" } else { "es" }
        ),
        asked: "<= 30 ms".to_owned(),
        measured: format!(
            "shown in {:.0} ms by {} strokes, {:.2} MB; all of it and what is around it in {:.0} ms, {} strokes, \
             {:.2} MB; server {} MB",
            shown.ms,
            shown.strokes,
            shown.bytes as f64 / 1e6,
            screen.ms,
            screen.strokes,
            screen.bytes as f64 / 1e6,
            memory / MB
        ),
        verdict: Verdict::of(shown.ms <= 30.0),
        command: bench.command(name),
        details: json!({"screen": screen, "memory_bytes": memory, "setup": server.setup}),
    });
    Ok(rows)
}

/// The run of the middle time, without the first.
fn median(mut runs: Vec<JoinRun>) -> JoinRun {
    if runs.len() > 1 {
        runs.remove(0);
    }
    runs.sort_by(|a, b| a.ms.total_cmp(&b.ms));
    runs[runs.len() / 2]
}

pub(super) fn sessions(bench: &mut Bench) -> Result<Vec<Row>> {
    let n = bench.options.sessions;
    let spec = Spec {
        hz: bench.options.crowd_hz,
        drawers: 0.01,
        ..workshop(n)
    };
    let shards = bench.cores.len().div_ceil(2);
    // A crowd takes its time to come, and the server to adapt to it.
    let mut lengths = bench.lengths();
    lengths.warm_up *= 3;
    let run = run(&bench.spread(shards), spec, &bench.cores, lengths)?;
    let each =
        (run.report.observer_bytes + run.report.thin_bytes) as f64 / f64::from(n) / run.seconds;
    let ops = Percentiles::of(&run.report.lat_stroke_ms);
    let is_met =
        run.report.dead == 0 && each <= 12.0 * KB as f64 && ops.is_some_and(|of| of.p99 < 150.0);
    Ok(vec![Row {
        figure: format!(
            "{n} sessions in one room on {} cores shared with the load (cursors at {} Hz, 1 % drawing)",
            bench.cores.len(),
            bench.options.crowd_hz
        ),
        asked: "connects, stays, <= 12 kB/s each, ops p99 < 150 ms".to_owned(),
        measured: format!(
            "connected in {:.0} s, {} lost, {:.1} kB/s each, ops {}, cursors {} ({:.0} % of nominal){}",
            run.connect_s,
            run.report.dead,
            each / KB as f64,
            percentiles(ops),
            percentiles(Percentiles::of(&run.report.lat_cursor_ms)),
            100.0 * run.cursor_share(),
            run.caveat()
        ),
        verdict: Verdict::of(is_met),
        command: bench.command("sessions"),
        details: run.details(),
    }])
}

pub(super) fn idle(bench: &mut Bench) -> Result<Vec<Row>> {
    let server = OwnServer::start(&bench.pinned())?;
    let spec = Spec {
        port: server.port(),
        n: IDLE_SESSIONS,
        hz: 0.0,
        drawers: 0.0,
        thin: (0..IDLE_SESSIONS).collect(),
        ..Spec::default()
    };
    let before = server.memory_bytes()?;
    let mut load = LoadProcess::start(&spec, bench.load_cores())?;
    load.connect()?;
    std::thread::sleep(IDLE_WAIT);
    let after = server.memory_bytes()?;
    let dead = load.report()?.dead;
    let each = after.saturating_sub(before) / u64::from(IDLE_SESSIONS);
    Ok(vec![Row {
        figure: format!("memory per idle session ({IDLE_SESSIONS} in one room)"),
        asked: "<= 60 KB".to_owned(),
        measured: format!("{:.1} KB", each as f64 / KB as f64),
        verdict: Verdict::of(dead == 0 && each <= 60 * KB),
        command: bench.command("idle"),
        details: json!({"before": before, "after": after, "dead": dead, "setup": server.setup}),
    }])
}

pub(super) fn rooms(bench: &mut Bench) -> Result<Vec<Row>> {
    let (rooms, each) = (500, 20);
    let n = rooms * each;
    // One observer in each of some rooms, all over.
    let observers: Vec<u32> = (0..rooms).step_by(25).collect();
    let spec = Spec {
        n,
        rooms,
        hz: bench.options.crowd_hz,
        drawers: 0.0,
        thin: (0..n)
            .filter(|client| !observers.contains(client))
            .collect(),
        observers,
        ..Spec::default()
    };
    let shards = bench.cores.len().div_ceil(2);
    let run = run(&bench.spread(shards), spec, &bench.cores, bench.lengths())?;
    let times = &run.times;
    let (p50, p99) = (
        times.tick.percentile_ms(0.5),
        times.tick.percentile_ms(0.99),
    );
    let late = times.late.percentile_ms(0.99);
    // A room at its slowest pace ticks ten times a second, and nobody moves for a part of none.
    let is_each_served = times.tick.count() as f64 >= 9.0 * f64::from(rooms) * run.seconds;
    let up_to = |ms: Option<f64>| ms.map_or_else(|| "nothing".to_owned(), |ms| format!("{ms}"));
    Ok(vec![Row {
        figure: format!(
            "{rooms} rooms x {each} moving users ({} Hz), one room thread, all cores shared with the load",
            bench.options.crowd_hz
        ),
        asked: "tick time p99 < 4 ms a room, no room starves".to_owned(),
        measured: format!(
            "tick p50 / p99 within {} / {} ms, begun late by {} ms at p99 at most, {:.0} ticks a second and room; \
             latency {}, {:.0} % of cursor updates, {} lost; {:.2} cores{}",
            up_to(p50),
            up_to(p99),
            up_to(late),
            times.tick.count() as f64 / f64::from(rooms) / run.seconds,
            percentiles(run.latency()),
            100.0 * run.cursor_share(),
            run.report.dead,
            run.server_cores(),
            run.caveat()
        ),
        verdict: Verdict::of(
            p99.is_some_and(|ms| ms <= 4.0) && is_each_served && run.report.dead == 0,
        ),
        command: bench.command("rooms"),
        details: run.details(),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_leaves_the_first_out() {
        let runs = [900.0, 3.0, 1.0, 2.0].map(|ms| JoinRun {
            shown: None,
            ms,
            bytes: 0,
            strokes: 0,
        });
        assert_eq!(median(runs.to_vec()).ms, 2.0);
        assert_eq!(median(runs[..1].to_vec()).ms, 900.0);
    }
}
