//! Figures of durability: how soon what is drawn is saved, and how soon everybody is back.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chalkboard_client::bridge::SaveState;
use chalkboard_client::client::SavedOp;
use chalkboard_client::native::NativeClient;
use chalkboard_shared::workload::{STYLE, canvas, stroke_points};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;
use tokio::time::{Instant as TokioInstant, MissedTickBehavior, interval_at};

use super::Bench;
use super::row::{Row, Verdict};
use crate::address::{BENCH, BoardLink, Directory, Site};
use crate::kills::people::{Ways, person};
use crate::kills::victim::Victim;
use crate::kills::{KillOptions, kill_often};
use crate::own_server::OwnServer;
use crate::role::middle_screen;
use crate::sample::Percentiles;

/// Ops of one stroke as it is drawn here: it begins with all of its points, and ends.
const OPS_PER_STROKE: f64 = 2.0;
/// Ops a second of the room that is busy, who draws them, and how soon they are to be saved.
const BUSY_RATE: f64 = 1000.0;
const BUSY_PEOPLE: u32 = 10;
const BUSY_P99_MS: f64 = 10.0;
/// Rooms that are active at once, ops a second of the one who draws in each, and how soon those are to be saved.
const ROOMS: u32 = 200;
const ROOMS_RATE: f64 = 10.0;
const ROOMS_P99_MS: f64 = 25.0;
/// Strokes of the board that is served again after a kill, and of the one that people come back to: 50,000 ops.
const STROKES: u32 = 25_000;
const RESTARTS: u32 = 5;
const RESTART_MS: f64 = 1000.0;
/// People who draw while the server is started again, ops a second of each, and how long what is drawn may wait meanwhile.
const PAUSE_PEOPLE: u32 = 20;
const PAUSE_RATE: f64 = 20.0;
const PAUSE_MS: f64 = 5000.0;
/// When they have drawn for so long it ends, and they go on as long again.
const PAUSE_AT: Duration = Duration::from_secs(3);
/// People who are cut off, ops a second that they miss, and how soon each is to have caught up.
const CUT_PEOPLE: u32 = 20;
const CUT_RATE: f64 = 100.0;
const RESUME_P95_MS: f64 = 150.0;
/// Points of a stroke that is drawn.
const POINTS: usize = 8;
/// How long anything may take before the figure fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs something with clients on the cores that are the load's.
fn on_load<T: Send>(bench: &Bench, work: impl AsyncFnOnce() -> Result<T> + Send) -> Result<T> {
    let cores = bench.load_cores();
    std::thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut set = CpuSet::new();
            for core in cores {
                set.set(*core);
            }
            sched_setaffinity(None, &set)?;
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(cores.len().clamp(1, 3))
                .enable_all()
                .build()?;
            runtime.block_on(work())
        });
        load.join()
            .unwrap_or_else(|_| anyhow::bail!("the load has failed"))
    })
}

async fn ways(site: &Site, link: BoardLink) -> Result<Ways> {
    let session = Directory::new(site.clone()).session(link.board).await?;
    Ok(Ways {
        web_transport: session.url,
        web_socket: site.web_socket(),
        trust: session.trust,
    })
}

async fn ready(client: &NativeClient) -> Result<()> {
    let is_there = |client: &chalkboard_client::Client| {
        client.is_loaded() && client.save_state() == SaveState::Saved
    };
    client
        .wait_for(PATIENCE, is_there)
        .await
        .context("somebody does not come in")
}

/// Draws `rate` ops a second until `end`; answers for every op that was saved in time how long that took.
async fn draw(
    client: Arc<NativeClient>,
    number: u32,
    rate: f64,
    begin: TokioInstant,
    warm_up: Duration,
    end: TokioInstant,
) -> Result<Vec<f32>> {
    let period = Duration::from_secs_f64(OPS_PER_STROKE / rate);
    // Not all in the same tick.
    let phase = period.mul_f64(f64::from(number) * 0.618 % 1.0);
    let mut strokes = interval_at(begin + phase, period);
    strokes.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut made: Vec<(u32, f64)> = Vec::new();
    let mut saved: Vec<SavedOp> = Vec::new();
    for stroke in number.. {
        let now = strokes.tick().await;
        if now >= end {
            break;
        }
        let points = stroke_points(stroke % 4096);
        let counts = now >= begin + warm_up;
        let (of_stroke, of_before) = client
            .with(move |client, now_ms| {
                let stroke = client.begin_stroke(STYLE, &points[..POINTS]);
                client.finish_stroke(stroke);
                ((stroke.0.counter, now_ms), client.take_saved())
            })
            .await?;
        if counts {
            made.push(of_stroke);
        }
        saved.extend(of_before);
    }
    ready(&client).await?;
    saved.extend(client.with(|client, _| client.take_saved()).await?);
    let took: Vec<f32> = made
        .iter()
        .flat_map(|&(counter, at_ms)| {
            let from = saved.partition_point(|op| op.counter < counter);
            let of_it = saved[from..]
                .iter()
                .take_while(move |op| op.counter <= counter + 1);
            of_it.map(move |op| (op.at_ms - at_ms) as f32)
        })
        .collect();
    ensure!(
        took.len() == made.len() * OPS_PER_STROKE as usize,
        "of {} strokes only {} ops were told to be saved",
        made.len(),
        took.len()
    );
    Ok(took)
}

pub(super) fn saved(bench: &mut Bench) -> Result<Vec<Row>> {
    let busy = saved_in(
        bench,
        1,
        BUSY_PEOPLE,
        BUSY_RATE / f64::from(BUSY_PEOPLE),
        BUSY_P99_MS,
    )?;
    let many = saved_in(bench, ROOMS, 1, ROOMS_RATE, ROOMS_P99_MS)?;
    let row = |figure: String, asked: f64, saving: &Saving| {
        let of = Percentiles::of(&saving.told);
        Row {
            figure,
            asked: format!("p99 <= {asked} ms"),
            measured: of.map_or_else(
                || "nothing was saved".to_owned(),
                |of| {
                    format!(
                        "p50 / p99 {:.1} / {:.1} ms, {:.0} at the most, {} ops; from the tick that accepts them to the sync \
                         {} % within {asked} ms",
                        of.p50,
                        of.p99,
                        of.max,
                        saving.told.len(),
                        saving
                            .synced_in_time
                            .map_or_else(|| "?".to_owned(), |share| format!("{:.1}", 100.0 * share))
                    )
                },
            ),
            verdict: Verdict::of(of.is_some_and(|of| of.p99 <= asked)),
            command: bench.command("saved"),
            details: json!({"ms": of, "ops": saving.told.len(), "synced_in_time": saving.synced_in_time}),
        }
    };
    Ok(vec![
        row(
            format!("from drawing to being told that it is saved, {BUSY_RATE} ops/s in one room"),
            BUSY_P99_MS,
            &busy,
        ),
        row(
            format!("the same with {ROOMS} rooms active, {ROOMS_RATE} ops/s each"),
            ROOMS_P99_MS,
            &many,
        ),
    ])
}

/// What was measured of saving.
struct Saving {
    /// From drawing to being told that it is saved, milliseconds.
    told: Vec<f32>,
    /// Share of the ticks that accepted ops whose record was synced within what is asked.
    synced_in_time: Option<f64>,
}

/// Share of a histogram's durations up to a bound in seconds, as metrics tell it.
fn share_within(metrics: &str, name: &str, bound: &str) -> Option<f64> {
    let number = |line: String| -> Option<f64> {
        let found = metrics.lines().find_map(|text| text.strip_prefix(&line))?;
        found.trim().parse().ok()
    };
    let within = number(format!("chalkboard_{name}_bucket{{le=\"{bound}\"}}"))?;
    let all = number(format!("chalkboard_{name}_count"))?;
    (all > 0.0).then(|| within / all)
}

fn saved_in(bench: &Bench, rooms: u32, people: u32, rate: f64, asked_ms: f64) -> Result<Saving> {
    let folder = tempfile::tempdir_in(&bench.options.disk)?;
    let mut server = bench.pinned();
    server.folder = Some(folder.path().to_owned());
    let server = OwnServer::start(&server)?;
    let site = Site::local(server.port());
    let lengths = bench.lengths();
    on_load(bench, async || {
        let mut directory = Directory::new(site.clone());
        let mut clients = Vec::new();
        for _ in 0..rooms {
            let link = directory.create_board().await?;
            let ways = ways(&site, link).await?;
            for _ in 0..people {
                let client = person(clients.len() as u32, &ways, link, canvas(), true)?;
                clients.push(Arc::new(client));
            }
        }
        for client in &clients {
            ready(client).await?;
        }
        let begin = TokioInstant::now();
        let end = begin + lengths.warm_up + lengths.measured;
        let drawing: Vec<_> = (0..)
            .zip(&clients)
            .map(|(number, client)| {
                let client = client.clone();
                tokio::spawn(draw(client, number, rate, begin, lengths.warm_up, end))
            })
            .collect();
        let mut told = Vec::new();
        for drawing in drawing {
            told.extend(drawing.await??);
        }
        let bound = (asked_ms / 1e3).to_string();
        let metrics = directory.metrics().await?;
        Ok(Saving {
            told,
            synced_in_time: share_within(&metrics, "durable_seconds", &bound),
        })
    })
}

/// Fills a folder with the standard board and ends the server that did it.
fn fill(bench: &Bench, folder: &Path) -> Result<()> {
    let mut server = bench.pinned();
    server.folder = Some(folder.to_owned());
    server.strokes = STROKES;
    drop(OwnServer::start(&server)?);
    Ok(())
}

pub(super) fn restart(bench: &mut Bench) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir_in(&bench.options.disk)?;
    fill(bench, folder.path())?;
    let arguments = bench.options.server.clone();
    let runs = on_load(bench, async || {
        let mut victim = Victim::new(folder.path().to_owned(), arguments);
        victim.launch()?;
        victim.ready().await?;
        let mut runs = Vec::new();
        for _ in 0..RESTARTS {
            // Somebody draws, and in the middle of that it is killed.
            let ways_before = ways(&victim.site(), BENCH).await?;
            let client = person(0, &ways_before, BENCH, middle_screen(), true)?;
            ready(&client).await?;
            for stroke in 0..200 {
                let points = stroke_points(stroke);
                let drawn = client.with(move |client, _| {
                    let stroke = client.begin_stroke(STYLE, &points);
                    client.finish_stroke(stroke);
                });
                drawn.await?;
            }
            victim.kill().await?;
            drop(client);
            let began = Instant::now();
            victim.launch()?;
            let ready_ms = victim.ready().await?.as_secs_f64() * 1e3;
            let ways = ways(&victim.site(), BENCH).await?;
            let client = person(0, &ways, BENCH, middle_screen(), true)?;
            let shown = client.wait_for(PATIENCE, chalkboard_client::Client::is_shown);
            shown.await.context("nobody is served")?;
            runs.push((began.elapsed().as_secs_f64() * 1e3, ready_ms));
        }
        victim.kill().await?;
        Ok(runs)
    })?;
    let worst = runs.iter().map(|(served, _)| *served).fold(0.0, f64::max);
    let ready = runs.iter().map(|(_, ready)| *ready).fold(0.0, f64::max);
    Ok(vec![Row {
        figure: format!(
            "from the start of the process after kill -9 to a screen of a board of {} ops, of {RESTARTS} the slowest",
            STROKES * OPS_PER_STROKE as u32
        ),
        asked: format!("<= {RESTART_MS} ms"),
        measured: format!("{worst:.0} ms (listening after {ready:.0} ms)"),
        verdict: Verdict::of(worst <= RESTART_MS),
        command: bench.command("restart"),
        details: json!({"served_and_ready_ms": runs}),
    }])
}

pub(super) fn pause(bench: &mut Bench) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir_in(&bench.options.disk)?;
    fill(bench, folder.path())?;
    let arguments = bench.options.server.clone();
    let (stopped, killed) = on_load(bench, async || {
        let mut victim = Victim::new(folder.path().to_owned(), arguments);
        victim.launch()?;
        victim.ready().await?;
        let ways = ways(&victim.site(), BENCH).await?;
        let port = ways
            .web_transport
            .split(['/', ':'])
            .find_map(|part| part.parse().ok());
        victim.keep_quic_port(port.context("no port for QUIC in the address")?);
        let mut clients = Vec::new();
        for number in 0..PAUSE_PEOPLE {
            let client = person(number, &ways, BENCH, middle_screen(), true)?;
            ready(&client).await?;
            clients.push(Arc::new(client));
        }
        let stopped = drawn_over(&mut victim, &clients, async |victim| victim.stop().await).await?;
        let killed = drawn_over(&mut victim, &clients, async |victim| victim.kill().await).await?;
        victim.kill().await?;
        Ok((stopped, killed))
    })?;
    let row = |what: &str, told: &[f32]| {
        let of = Percentiles::of(told);
        Row {
            figure: format!(
                "how long a stroke waits to be saved while the server {what} and is started again, of {PAUSE_PEOPLE} \
                 people who draw, {PAUSE_RATE} ops/s each, on a board of {} ops",
                STROKES * OPS_PER_STROKE as u32
            ),
            asked: format!("a short pause (<= {PAUSE_MS} ms), nothing lost"),
            measured: of.map_or_else(
                || "nothing was saved".to_owned(),
                |of| {
                    format!(
                        "at the most {:.0} ms, p50 {:.1} ms over all; all {} ops are saved",
                        of.max,
                        of.p50,
                        told.len()
                    )
                },
            ),
            verdict: Verdict::of(of.is_some_and(|of| of.max <= PAUSE_MS)),
            command: bench.command("pause"),
            details: json!({"ms": of, "ops": told.len()}),
        }
    };
    Ok(vec![row("stops", &stopped), row("is killed", &killed)])
}

/// Everybody draws; in the middle of that the server is ended and started again. How long each op took to be saved; that
/// none is missing is [`draw`]'s to see.
async fn drawn_over(
    victim: &mut Victim,
    clients: &[Arc<NativeClient>],
    end_it: impl AsyncFnOnce(&mut Victim) -> Result<()>,
) -> Result<Vec<f32>> {
    let begin = TokioInstant::now();
    let end = begin + 2 * PAUSE_AT;
    let drawing: Vec<_> = (0..)
        .zip(clients)
        .map(|(number, client)| {
            tokio::spawn(draw(
                client.clone(),
                number,
                PAUSE_RATE,
                begin,
                Duration::ZERO,
                end,
            ))
        })
        .collect();
    tokio::time::sleep_until(begin + PAUSE_AT).await;
    end_it(victim).await?;
    victim.launch()?;
    victim.ready().await?;
    let mut told = Vec::new();
    for drawing in drawing {
        told.extend(drawing.await??);
    }
    Ok(told)
}

pub(super) fn resume(bench: &mut Bench) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir_in(&bench.options.disk)?;
    let mut server = bench.pinned();
    server.folder = Some(folder.path().to_owned());
    server.strokes = STROKES;
    let server = OwnServer::start(&server)?;
    let site = Site::local(server.port());
    let cut = Duration::from_secs_f64(bench.options.cut.clamp(0.0, 3600.0));
    let took = on_load(bench, async || {
        let ways = ways(&site, BENCH).await?;
        let mut clients = Vec::new();
        for number in 0..CUT_PEOPLE {
            clients.push(person(number, &ways, BENCH, canvas(), true)?);
        }
        let drawer = Arc::new(person(CUT_PEOPLE, &ways, BENCH, canvas(), true)?);
        for client in &clients {
            ready(client).await?;
        }
        ready(&drawer).await?;
        for client in &clients {
            client.set_online(false).await?;
        }
        let begin = TokioInstant::now();
        let rate = CUT_RATE;
        draw(drawer.clone(), 0, rate, begin, Duration::ZERO, begin + cut).await?;
        let end = drawer.with(|client, _| client.position()).await?;
        let mut took = Vec::new();
        for client in &clients {
            let began = Instant::now();
            client.set_online(true).await?;
            let caught_up = client.wait_for(PATIENCE, move |client| {
                client.is_loaded() && client.position() >= end
            });
            caught_up.await.context("somebody does not come back")?;
            took.push(began.elapsed().as_secs_f32() * 1e3);
        }
        Ok(took)
    })?;
    let mut sorted = took.clone();
    sorted.sort_by(f32::total_cmp);
    let p95 = sorted
        .get((sorted.len() * 95).div_ceil(100).saturating_sub(1))
        .copied()
        .map_or(f64::INFINITY, f64::from);
    Ok(vec![Row {
        figure: format!(
            "from connecting again to being caught up, after {} s in which {CUT_RATE} ops/s were missed, on a board of \
             {} ops",
            cut.as_secs_f64(),
            STROKES * OPS_PER_STROKE as u32
        ),
        asked: format!("p95 <= {RESUME_P95_MS} ms after 60 s"),
        measured: format!(
            "p50 / p95 {:.0} / {p95:.0} ms of {} people",
            sorted.get(sorted.len() / 2).copied().unwrap_or_default(),
            sorted.len()
        ),
        verdict: Verdict::of(p95 <= RESUME_P95_MS),
        command: bench.command("resume"),
        details: json!({"ms": took, "cut_s": cut.as_secs_f64()}),
    }])
}

pub(super) fn kills(bench: &mut Bench) -> Result<Vec<Row>> {
    let rounds = bench.options.kills;
    let summary = kill_often(
        KillOptions {
            disk: Some(bench.options.disk.clone()),
            server: bench.options.server.clone(),
            ..KillOptions::of(rounds)
        },
        |_| {},
    )?;
    Ok(vec![Row {
        figure: format!(
            "ops that were shown as saved and are lost, in {rounds} kills (kill -9) under load"
        ),
        asked: "0".to_owned(),
        measured: format!(
            "0 of {}, {} kills with ops on their way, restart {:.0} ms at the most",
            summary.saved, summary.under_load, summary.restart_ms_max
        ),
        verdict: Verdict::of(summary.kills == rounds),
        command: format!("chalkboard-swarm kills --rounds {rounds}"),
        details: json!(summary),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_from_metrics() {
        let metrics = "chalkboard_durable_seconds_bucket{le=\"0.01\"} 30\n\
                       chalkboard_durable_seconds_bucket{le=\"+Inf\"} 40\nchalkboard_durable_seconds_count 40\n";
        assert_eq!(share_within(metrics, "durable_seconds", "0.01"), Some(0.75));
        assert_eq!(share_within(metrics, "durable_seconds", "0.02"), None);
        assert_eq!(share_within("", "durable_seconds", "0.01"), None);
    }
}
