//! Figures of one room on one core.

use anyhow::Result;
use serde_json::json;

use super::Bench;
use super::row::{Row, Verdict};
use super::run::{Lengths, Run, run};
use crate::sample::Percentiles;
use crate::spec::{Mode, Spec};

/// Observers of a run: enough for percentiles, few enough that decoding is not what is measured.
const OBSERVERS: u32 = 4;
/// Latency that counts as smooth, in milliseconds, and the share of cursor updates that must come.
const SMOOTH_P99_MS: f64 = 50.0;
const SMOOTH_SHARE: f64 = 0.95;
/// Where the search for the largest room looks, and how close it comes.
const ROOM_STEPS: [u32; 12] = [
    50, 100, 200, 400, 800, 1000, 1200, 1500, 2000, 3000, 4000, 6000,
];
const ROOM_GOAL: u32 = 1000;
/// Where the search for the largest room that thins out its cursors looks, and what is still usable there: what is drawn
/// appears while the eye is on it.
const ADAPTIVE_STEPS: [u32; 6] = [1500, 2000, 3000, 4000, 5000, 6000];
const ADAPTIVE_GOAL: u32 = 3000;
const ADAPTIVE_P99_MS: f64 = 250.0;
/// Where the search for the most ops looks.
const OPS_STEPS: [f64; 11] = [
    1e3, 2e3, 4e3, 8e3, 16e3, 32e3, 48e3, 64e3, 100e3, 128e3, 256e3,
];
const OPS_GOAL: f64 = 32e3;
const OPS_CLIENTS: u32 = 20;
const OPS_SENDERS: u32 = 10;

/// A load of `n` clients of which the first few observe.
pub(super) fn workshop(n: u32) -> Spec {
    let observers = OBSERVERS.min(n);
    Spec {
        n,
        observers: (0..observers).collect(),
        thin: (observers..n).collect(),
        ..Spec::default()
    }
}

impl Bench {
    fn workshop(&mut self, n: u32) -> Result<Run> {
        if let Some((_, run)) = self.workshops.iter().find(|(known, _)| *known == n) {
            return Ok(run.clone());
        }
        let run = run(
            &self.pinned(),
            workshop(n),
            self.load_cores(),
            self.lengths(),
        )?;
        self.workshops.push((n, run.clone()));
        Ok(run)
    }
}

pub(super) fn cpu(bench: &mut Bench) -> Result<Vec<Row>> {
    [(100, 0.35), (400, 0.08), (800, 0.035)]
        .into_iter()
        .map(|(n, goal)| {
            let run = bench.workshop(n)?;
            let cost = run.cpu_per_million();
            let verdict = match cost {
                Some(cost) if run.saw_all_kinds() => {
                    Verdict::of(cost <= goal && run.cursor_share() >= SMOOTH_SHARE)
                }
                _ => Verdict::Open,
            };
            Ok(Row {
                figure: format!("server CPU seconds per million delivered updates, n = {n}"),
                asked: format!("<= {goal}"),
                measured: format!(
                    "{} ({:.0} % of a core, {:.1} % of cursor updates){}",
                    number(cost, 3),
                    100.0 * run.server_cores(),
                    100.0 * run.cursor_share(),
                    run.caveat()
                ),
                verdict,
                command: bench.command("cpu"),
                details: run.details(),
            })
        })
        .collect()
}

pub(super) fn bytes(bench: &mut Bench) -> Result<Vec<Row>> {
    let run = bench.workshop(400)?;
    let bytes = run.bytes_per_update();
    let verdict = match bytes {
        Some(bytes) if run.saw_all_kinds() => {
            Verdict::of(bytes <= 3.0 && run.cursor_share() >= SMOOTH_SHARE)
        }
        _ => Verdict::Open,
    };
    Ok(vec![Row {
        figure: "bytes on the wire per delivered update, n = 400 (UDP payload, QUIC included)"
            .to_owned(),
        asked: "<= 3".to_owned(),
        measured: number(bytes, 2) + &run.caveat(),
        verdict,
        command: bench.command("bytes"),
        details: run.details(),
    }])
}

pub(super) fn latency(bench: &mut Bench) -> Result<Vec<Row>> {
    [(100, 9.0, 19.0), (1000, 20.0, 45.0)]
        .into_iter()
        .map(|(n, p50, p99)| {
            let run = bench.workshop(n)?;
            let verdict = match run.latency() {
                Some(of) if run.saw_all_kinds() => Verdict::of(of.p50 <= p50 && of.p99 <= p99),
                _ => Verdict::Open,
            };
            Ok(Row {
                figure: format!("p50 / p99 from sending to decoding, n = {n}"),
                asked: format!("<= {p50} / {p99} ms"),
                measured: percentiles(run.latency()) + &run.caveat(),
                verdict,
                command: bench.command("latency"),
                details: run.details(),
            })
        })
        .collect()
}

fn is_smooth(run: &Run) -> bool {
    run.report.dead == 0
        && run.saw_all_kinds()
        && run.cursor_share() >= SMOOTH_SHARE
        && run.latency().is_some_and(|of| of.p99 < SMOOTH_P99_MS)
}

pub(super) fn largest(bench: &mut Bench) -> Result<Vec<Row>> {
    let mut tried = Vec::new();
    let mut measure = |bench: &mut Bench, n: u32| -> Result<bool> {
        let run = bench.workshop(n)?;
        tried.push(run.details());
        Ok(is_smooth(&run))
    };
    let (mut good, mut bad) = (0, None);
    for n in ROOM_STEPS {
        if measure(bench, n)? {
            good = n;
        } else {
            bad = Some(n);
            break;
        }
    }
    // One step closer from both sides.
    if let Some(bad) = bad
        && good > 0
        && bad - good > good / 10
        && measure(bench, good.midpoint(bad))?
    {
        good = good.midpoint(bad);
    }
    Ok(vec![Row {
        figure: "largest n on one core, p99 < 50 ms and >= 95 % of nominal cursor updates"
            .to_owned(),
        asked: format!(">= {ROOM_GOAL}"),
        measured: if good == 0 {
            format!("below {}", ROOM_STEPS[0])
        } else {
            good.to_string()
        },
        verdict: Verdict::of(good >= ROOM_GOAL),
        command: bench.command("largest"),
        details: json!({"tried": tried}),
    }])
}

pub(super) fn adaptive(bench: &mut Bench) -> Result<Vec<Row>> {
    let mut best: Option<Run> = None;
    let mut tried = Vec::new();
    for n in ADAPTIVE_STEPS {
        // A room that has grown by thousands takes some seconds to find its pace.
        let mut lengths = bench.lengths();
        lengths.warm_up *= 5;
        let run = run(&bench.pinned(), workshop(n), bench.load_cores(), lengths)?;
        tried.push(run.details());
        let is_usable = run.report.dead == 0
            && run.stroke_share() >= SMOOTH_SHARE
            && ink(&run).is_some_and(|of| of.p99 < ADAPTIVE_P99_MS);
        if !is_usable {
            break;
        }
        best = Some(run);
    }
    let most = best.as_ref().map_or(0, |run| run.spec.n);
    Ok(vec![Row {
        figure: format!(
            "most people on one core with adaptive rate: nobody lost, all ink there, p99 of ink < {ADAPTIVE_P99_MS} ms"
        ),
        asked: format!(">= {ADAPTIVE_GOAL}"),
        measured: match &best {
            Some(run) => format!(
                "{most}: ink {}, {:.0} % of cursor updates, the rest as crowds or at a slower rate{}",
                percentiles(ink(run)),
                100.0 * run.cursor_share(),
                run.caveat()
            ),
            None => format!("below {}", ADAPTIVE_STEPS[0]),
        },
        verdict: Verdict::of(most >= ADAPTIVE_GOAL),
        command: bench.command("adaptive"),
        details: json!({"tried": tried}),
    }])
}

fn ink(run: &Run) -> Option<Percentiles> {
    Percentiles::of(&run.report.lat_stroke_ms)
}

pub(super) fn ops(bench: &mut Bench) -> Result<Vec<Row>> {
    let (mut best, mut tried) = (None, Vec::new());
    for rate in OPS_STEPS {
        let run = ops_run(bench, rate, bench.lengths())?;
        let latency = run.latency();
        tried.push(run.details());
        let is_good = run.report.dead == 0
            && run.stroke_share() >= SMOOTH_SHARE
            && run.report.sent_stroke as f64 >= SMOOTH_SHARE * rate * run.seconds
            && latency.is_some_and(|of| of.p99 < SMOOTH_P99_MS);
        if !is_good {
            break;
        }
        best = Some((rate, latency));
    }
    let rate = best.map_or(0.0, |(rate, _)| rate);
    Ok(vec![Row {
        figure: "stroke ops a second in one room, 10 senders, 20 receivers, durable, p99 < 50 ms"
            .to_owned(),
        asked: format!(">= {OPS_GOAL}"),
        measured: match best {
            Some((rate, latency)) => format!("{rate} at p50 / p99 {}", percentiles(latency)),
            None => format!("below {}", OPS_STEPS[0]),
        },
        verdict: Verdict::of(rate >= OPS_GOAL),
        command: bench.command("ops"),
        details: json!({"tried": tried}),
    }])
}

fn ops_run(bench: &Bench, rate: f64, lengths: Lengths) -> Result<Run> {
    let folder = tempfile::tempdir_in(&bench.options.disk)?;
    let mut server = bench.pinned();
    server.folder = Some(folder.path().to_owned());
    let spec = Spec {
        mode: Mode::Ops,
        n: OPS_CLIENTS,
        senders: OPS_SENDERS,
        rate,
        // Those who only receive observe; the senders are thin and receive as well.
        thin: (0..OPS_CLIENTS - OBSERVERS).collect(),
        observers: (OPS_CLIENTS - OBSERVERS..OPS_CLIENTS).collect(),
        ..Spec::default()
    };
    run(&server, spec, bench.load_cores(), lengths)
}

/// "9.1 / 18.4 ms".
pub(super) fn percentiles(of: Option<Percentiles>) -> String {
    of.map_or_else(
        || "nothing came".to_owned(),
        |of| format!("{:.1} / {:.1} ms", of.p50, of.p99),
    )
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(
        || "nothing came".to_owned(),
        |value| format!("{value:.digits$}"),
    )
}
