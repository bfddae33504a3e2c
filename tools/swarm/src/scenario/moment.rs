//! A second of a scenario in numbers, and the whole of it.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;

use crate::counts::{Report, Window};
use crate::own_server::OwnServer;
use crate::sample::Percentiles;
use crate::spec::Spec;

/// A second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Moment {
    /// Since sending began, in seconds.
    pub(crate) at_s: f64,
    /// Clients whose connection lives.
    pub(crate) sessions: u64,
    /// Updates sent a second, by all clients.
    pub(crate) sent_hz: f64,
    /// Updates delivered a second, to all clients (as many to each as to the observers).
    pub(crate) delivered_hz: f64,
    /// From sending to decoding; `None` where nothing came.
    pub(crate) latency_ms: Option<Percentiles>,
    /// Cursor updates that did not come, of those that should have, 0 to 1.
    pub(crate) cursor_loss: f64,
    /// Ticks of the room a second, as it tells.
    pub(crate) tick_hz: Option<f64>,
    /// How much of presence it tells: 0 everything, up to 3 where only crowds are shown.
    pub(crate) presence_stage: Option<u8>,
    /// Bytes that one client receives a second (UDP payload).
    pub(crate) client_bytes_hz: f64,
    /// The same per update; `None` where nothing came.
    pub(crate) bytes_per_update: Option<f64>,
    /// Cores that the server used; `None` where it is not ours.
    pub(crate) server_cores: Option<f64>,
    /// Server CPU seconds per million delivered updates.
    pub(crate) cpu_s_per_million: Option<f64>,
    /// Memory of the server in bytes.
    pub(crate) server_memory_bytes: Option<u64>,
}

/// Takes moments.
#[derive(Debug)]
pub(crate) struct Watch {
    n: f64,
    observers: f64,
    nominal_cursor_hz: f64,
    began: Instant,
    last: Instant,
    last_bytes: Option<u64>,
    last_cpu_s: Option<f64>,
}

impl Watch {
    pub(crate) fn begin(spec: &Spec, server: Option<&OwnServer>) -> Result<Self> {
        let now = Instant::now();
        Ok(Self {
            n: spec.n.into(),
            observers: spec.observers.len().max(1) as f64,
            nominal_cursor_hz: spec.nominal_cursor_hz(),
            began: now,
            last: now,
            last_bytes: None,
            last_cpu_s: server.map(OwnServer::cpu_s).transpose()?,
        })
    }

    /// What happened since the last.
    pub(crate) fn moment(
        &mut self,
        window: &Window,
        observer_bytes: u64,
        server: Option<&OwnServer>,
    ) -> Result<Moment> {
        let now = Instant::now();
        let seconds = (now - self.last).as_secs_f64().max(1e-3);
        self.last = now;
        let cpu_s = server.map(OwnServer::cpu_s).transpose()?;
        let used = cpu_s.zip(self.last_cpu_s).map(|(now, last)| now - last);
        self.last_cpu_s = cpu_s;
        let bytes = self
            .last_bytes
            .replace(observer_bytes)
            .map_or(0, |last| observer_bytes.saturating_sub(last)) as f64;
        let got = (window.got_cursor + window.got_stroke) as f64;
        let delivered = got / self.observers * self.n;
        let nominal = self.nominal_cursor_hz * self.observers * seconds;
        let latency = &window.latency;
        Ok(Moment {
            at_s: (now - self.began).as_secs_f64(),
            sessions: (self.n as u64).saturating_sub(window.dead),
            sent_hz: window.sent as f64 / seconds,
            delivered_hz: delivered / seconds,
            latency_ms: (!latency.is_empty()).then(|| Percentiles {
                p50: latency.percentile_ms(0.5),
                p90: latency.percentile_ms(0.9),
                p99: latency.percentile_ms(0.99),
                max: latency.max_ms(),
            }),
            cursor_loss: if nominal > 0.0 {
                let known = window.got_cursor + window.extrapolated_cursor;
                (1.0 - known as f64 / nominal).max(0.0)
            } else {
                0.0
            },
            tick_hz: window.pace.map(|pace| 1e6 / f64::from(pace.tick_us.max(1))),
            presence_stage: window.pace.map(|pace| pace.presence as u8),
            client_bytes_hz: bytes / self.observers / seconds,
            bytes_per_update: (got > 0.0 && bytes > 0.0).then(|| bytes / got),
            server_cores: used.map(|used| used / seconds),
            cpu_s_per_million: used
                .filter(|_| delivered > 0.0)
                .map(|used| used / delivered * 1e6),
            server_memory_bytes: server.map(OwnServer::memory_bytes).transpose()?,
        })
    }
}

/// The whole of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Ending {
    pub(crate) scenario: String,
    pub(crate) clients: u32,
    pub(crate) observers: usize,
    pub(crate) seconds: f64,
    pub(crate) connect_s: f64,
    pub(crate) sent: u64,
    /// To all clients, by what came to the observers.
    pub(crate) delivered: f64,
    pub(crate) latency_ms: Option<Percentiles>,
    pub(crate) cursor_latency_ms: Option<Percentiles>,
    pub(crate) stroke_latency_ms: Option<Percentiles>,
    pub(crate) bytes_per_update: Option<f64>,
    /// Means over all seconds but the first.
    pub(crate) server_cores: Option<f64>,
    pub(crate) cpu_s_per_million: Option<f64>,
    pub(crate) cursor_loss: f64,
    pub(crate) dead: u64,
    /// The load's own lateness: where this is large, the load was what was slow.
    pub(crate) send_lag_p99_ms: f64,
    pub(crate) loop_util: f64,
}

impl Ending {
    pub(crate) fn new(
        scenario: &str,
        spec: &Spec,
        report: &Report,
        connect_s: f64,
        moments: &[Moment],
    ) -> Self {
        // The first second is half a start.
        let steady = moments.get(1..).unwrap_or_default();
        let mean = |of: fn(&Moment) -> Option<f64>| {
            let values: Vec<f64> = steady.iter().filter_map(of).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let observers = spec.observers.len();
        Self {
            scenario: scenario.to_owned(),
            clients: spec.n,
            observers,
            seconds: moments.last().map_or(0.0, |moment| moment.at_s),
            connect_s,
            sent: report.sent_cursor + report.sent_stroke,
            delivered: report.got() as f64 / observers.max(1) as f64 * f64::from(spec.n),
            latency_ms: Percentiles::of(&report.lat_ms),
            cursor_latency_ms: Percentiles::of(&report.lat_cursor_ms),
            stroke_latency_ms: Percentiles::of(&report.lat_stroke_ms),
            bytes_per_update: (report.got() > 0)
                .then(|| report.observer_bytes as f64 / report.got() as f64),
            server_cores: mean(|moment| moment.server_cores),
            cpu_s_per_million: mean(|moment| moment.cpu_s_per_million),
            cursor_loss: mean(|moment| Some(moment.cursor_loss)).unwrap_or(0.0),
            dead: report.dead,
            send_lag_p99_ms: report.send_lag_p99_ms,
            loop_util: report.loop_util,
        }
    }

    /// In words.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "\n{}: {} clients, {:.0} s: {} updates sent, {:.0} delivered",
            self.scenario, self.clients, self.seconds, self.sent, self.delivered
        );
        let of = |name: &str, of: &Option<Percentiles>| match of {
            Some(of) => format!(
                "\n  {name:<8} p50 {:>7.1}  p90 {:>7.1}  p99 {:>7.1}  max {:>7.1} ms",
                of.p50, of.p90, of.p99, of.max
            ),
            None => format!("\n  {name:<8} nothing came"),
        };
        text += &of("all", &self.latency_ms);
        text += &of("cursors", &self.cursor_latency_ms);
        text += &of("ink", &self.stroke_latency_ms);
        // Writing to a string does not fail.
        if let Some(bytes) = self.bytes_per_update {
            let _ = write!(text, "\n  {bytes:.2} bytes per delivered update");
        }
        if let (Some(cores), Some(cost)) = (self.server_cores, self.cpu_s_per_million) {
            let _ = write!(
                text,
                "\n  server: {cores:.2} cores, {cost:.3} CPU seconds per million delivered updates"
            );
        }
        let _ = write!(
            text,
            "\n  {:.1} % of cursor updates lost or left out, {} connections lost; the load's own lateness p99 {:.2} ms",
            100.0 * self.cursor_loss,
            self.dead,
            self.send_lag_p99_ms
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::presence::{Pace, PresenceStage};

    use super::*;

    #[test]
    fn a_moment_speaks_for_all_clients() {
        let spec = Spec {
            n: 50,
            observers: vec![0, 1],
            ..Spec::default()
        };
        let mut watch = Watch::begin(&spec, None).expect("nothing to ask");
        let mut window = Window::new();
        window.got_cursor = 100;
        window.pace = Some(Pace {
            tick_us: 50_000,
            presence: PresenceStage::Sparse,
        });
        window.dead = 1;
        watch.moment(&window, 500, None).expect("nothing to ask");
        let moment = watch.moment(&window, 900, None).expect("nothing to ask");
        assert_eq!(moment.sessions, 49);
        assert_eq!(moment.bytes_per_update, Some(4.0));
        assert_eq!(
            (moment.tick_hz, moment.presence_stage),
            (Some(20.0), Some(2))
        );
        assert_eq!(moment.server_cores, None);
        assert_eq!(moment.latency_ms, None);
        assert!(moment.delivered_hz > 0.0);
    }
}
