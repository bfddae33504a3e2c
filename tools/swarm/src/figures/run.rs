//! One measured run: a server of our own and a load beside it, warmed up, then measured for some seconds.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::counts::Report;
use crate::load_process::LoadProcess;
use crate::metrics::{RoomTimes, room_times};
use crate::own_server::{OwnServer, ServerOptions};
use crate::sample::Percentiles;
use crate::spec::Spec;

/// How long a run takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lengths {
    /// Before anything counts.
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) spec: Spec,
    pub(crate) report: Report,
    pub(crate) seconds: f64,
    pub(crate) cpu_s: f64,
    pub(crate) connect_s: f64,
    pub(crate) memory_bytes: u64,
    /// Of all rooms, while it was measured.
    pub(crate) times: RoomTimes,
    pub(crate) setup: String,
}

/// Runs a load against a fresh server.
pub(crate) fn run(
    server: &ServerOptions,
    spec: Spec,
    load_cores: &[usize],
    lengths: Lengths,
) -> Result<Run> {
    Ok(run_beside(server, spec, load_cores, lengths, |_| ())?.0)
}

/// The same with something beside it, which is started with the server's port when all clients are in.
pub(crate) fn run_beside<T>(
    server: &ServerOptions,
    mut spec: Spec,
    load_cores: &[usize],
    lengths: Lengths,
    beside: impl FnOnce(u16) -> T,
) -> Result<(Run, T)> {
    let server = OwnServer::start(server)?;
    spec.port = server.port();
    let mut load = LoadProcess::start(&spec, load_cores)?;
    let began = Instant::now();
    let clients = load.connect()?;
    let connect_s = began.elapsed().as_secs_f64();
    ensure!(
        clients == spec.clients().count(),
        "only {clients} clients joined"
    );
    let beside = beside(server.port());
    load.go()?;
    std::thread::sleep(lengths.warm_up);
    load.mark()?;
    let times = room_times(server.port())?;
    let (began, cpu_s) = (Instant::now(), server.cpu_s()?);
    std::thread::sleep(lengths.measured);
    // Both ends in the same order, so that both spans are alike.
    let report = load.report()?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu_s = server.cpu_s()? - cpu_s;
    let times = room_times(server.port())?.since(&times);
    let run = Run {
        spec,
        report,
        seconds,
        cpu_s,
        connect_s,
        memory_bytes: server.memory_bytes()?,
        times,
        setup: server.setup.clone(),
    };
    Ok((run, beside))
}

impl Run {
    /// Updates delivered to all clients, counted at the observers.
    pub(crate) fn delivered(&self) -> f64 {
        let observers = self.spec.observers.len().max(1) as f64;
        self.report.got() as f64 / observers * f64::from(self.spec.n)
    }

    /// Server CPU seconds per million delivered updates; `None` where nothing was.
    pub(crate) fn cpu_per_million(&self) -> Option<f64> {
        let delivered = self.delivered();
        (delivered > 0.0).then(|| self.cpu_s / delivered * 1e6)
    }

    /// Bytes on the wire per delivered update; `None` where nothing was.
    pub(crate) fn bytes_per_update(&self) -> Option<f64> {
        let got = self.report.got();
        (got > 0).then(|| self.report.observer_bytes as f64 / got as f64)
    }

    /// Cursor updates that came, or were left out where observers had the cursor already, of those that were to come.
    pub(crate) fn cursor_share(&self) -> f64 {
        let nominal =
            self.spec.nominal_cursor_hz() * self.spec.observers.len() as f64 * self.seconds;
        if nominal == 0.0 {
            return 1.0;
        }
        (self.report.got_cursor + self.report.extrapolated_cursor) as f64 / nominal
    }

    /// Stroke batches that came, of those that were sent while it was counted (and some before).
    pub(crate) fn stroke_share(&self) -> f64 {
        let observers = self.spec.observers.len() as f64;
        let nominal = self.report.sent_stroke as f64 * observers / f64::from(self.spec.rooms);
        if nominal == 0.0 {
            return 1.0;
        }
        self.report.got_stroke as f64 / nominal
    }

    /// Latency of everything.
    pub(crate) fn latency(&self) -> Option<Percentiles> {
        Percentiles::of(&self.report.lat_ms)
    }

    /// Cursors and ink each came.
    pub(crate) fn saw_all_kinds(&self) -> bool {
        let (cursor, ink) = (self.spec.nominal_cursor_hz(), self.spec.drawing());
        (cursor == 0.0 || self.report.got_cursor > 0) && (ink == 0 || self.report.got_stroke > 0)
    }

    /// The load was not what was slow.
    pub(crate) fn is_load_sound(&self) -> bool {
        self.report.send_lag_p99_ms < 5.0 && self.busy() < 0.95
    }

    /// How busy the load was, 0 to 1: its busiest thread, or all of them where they share cores.
    fn busy(&self) -> f64 {
        self.report.loop_util.max(self.report.cores_util)
    }

    /// What has to be said beside a figure where the load was slow itself; else nothing.
    pub(crate) fn caveat(&self) -> String {
        if self.is_load_sound() {
            return String::new();
        }
        format!(
            " (NOT SOUND: the load itself was late by {:.0} ms at p99, {:.0} % busy)",
            self.report.send_lag_p99_ms,
            100.0 * self.busy()
        )
    }

    /// Share of a core that the server used.
    pub(crate) fn server_cores(&self) -> f64 {
        self.cpu_s / self.seconds
    }

    /// Everything, for whoever wants to know more.
    pub(crate) fn details(&self) -> Value {
        let report = &self.report;
        json!({
            "n": self.spec.n, "hz": self.spec.hz, "rate": self.spec.rate, "rooms": self.spec.rooms,
            "observers": self.spec.observers.len(), "seconds": self.seconds, "setup": self.setup,
            "sent_cursor": report.sent_cursor, "sent_stroke": report.sent_stroke,
            "got_cursor": report.got_cursor, "got_stroke": report.got_stroke,
            "extrapolated_cursor": report.extrapolated_cursor,
            "cursor_share": self.cursor_share(), "stroke_share": self.stroke_share(),
            "latency_ms": self.latency(),
            "latency_cursor_ms": Percentiles::of(&report.lat_cursor_ms),
            "latency_stroke_ms": Percentiles::of(&report.lat_stroke_ms),
            "latency_max_ms": report.lat_max_ms,
            "observer_bytes": report.observer_bytes, "thin_bytes": report.thin_bytes,
            "bytes_per_update": self.bytes_per_update(),
            "server_cpu_s": self.cpu_s, "server_cores": self.server_cores(),
            "cpu_s_per_million": self.cpu_per_million(),
            "ticks": self.times.tick.count(), "tick_p50_ms": self.times.tick.percentile_ms(0.5),
            "tick_p99_ms": self.times.tick.percentile_ms(0.99), "tick_late_p99_ms": self.times.late.percentile_ms(0.99),
            "server_memory_bytes": self.memory_bytes, "connect_s": self.connect_s,
            "send_lag_p99_ms": report.send_lag_p99_ms, "loop_util": report.loop_util, "cores_util": report.cores_util,
            "dead": report.dead, "load_is_sound": self.is_load_sound(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_costs_follow_from_counts() {
        let spec = Spec {
            n: 101,
            observers: vec![0, 1],
            ..Spec::default()
        };
        let run = Run {
            report: Report {
                got_cursor: 37_000,
                extrapolated_cursor: 1_000,
                got_stroke: 3_000,
                sent_stroke: 1_500,
                observer_bytes: 120_000,
                ..Report::default()
            },
            spec,
            seconds: 10.0,
            cpu_s: 4.04,
            connect_s: 0.1,
            memory_bytes: 1,
            times: RoomTimes::default(),
            setup: String::new(),
        };
        assert_eq!(run.cursor_share(), 0.95);
        assert_eq!(run.stroke_share(), 1.0);
        // What was left out makes nothing else cheaper.
        assert_eq!(run.bytes_per_update(), Some(3.0));
        assert_eq!(run.delivered(), 2_020_000.0);
        assert!((run.cpu_per_million().expect("some came") - 2.0).abs() < 1e-9);
        assert!(run.saw_all_kinds());
        assert_eq!(run.caveat(), "");
    }

    #[test]
    fn a_load_that_was_slow_itself_is_named() {
        let run = Run {
            report: Report {
                send_lag_p99_ms: 40.0,
                ..Report::default()
            },
            spec: Spec::default(),
            seconds: 10.0,
            cpu_s: 1.0,
            connect_s: 0.1,
            memory_bytes: 1,
            times: RoomTimes::default(),
            setup: String::new(),
        };
        assert!(run.caveat().contains("40 ms"));
        assert_eq!(run.cpu_per_million(), None, "nothing came");
    }
}
