//! What a thread of the load counts, and how the threads' counts add up to a report.

use chalkboard_client::client::{Arrival, ArrivalKind};
use chalkboard_shared::presence::Pace;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::clock::age_us;
use crate::sample::Reservoir;

/// Longest time that a histogram tells apart, in microseconds; what is longer counts as this.
const TIME_US_MAX: u64 = 60_000_000;
/// Digits that a histogram is exact to.
const DIGITS: u8 = 2;

/// A histogram of microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, TIME_US_MAX, DIGITS);
        Self(histogram.expect("the bounds are in order"))
    }

    pub(crate) fn record(&mut self, us: u64) {
        self.0.saturating_record(us.clamp(1, TIME_US_MAX));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0
            .add(&other.0)
            .expect("all histograms have the same bounds");
    }

    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that this share (0 to 1) does not exceed, in milliseconds; 0 of none.
    pub(crate) fn percentile_ms(&self, share: f64) -> f64 {
        if self.is_empty() {
            return 0.0;
        }
        self.0.value_at_quantile(share) as f64 / 1000.0
    }

    /// The largest, in milliseconds.
    pub(crate) fn max_ms(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }
}

/// Counts of a short time, for the live table and the report's plots.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) sent: u64,
    pub(crate) got_cursor: u64,
    pub(crate) extrapolated_cursor: u64,
    pub(crate) got_stroke: u64,
    pub(crate) latency: Times,
    /// The pace that the room has told.
    pub(crate) pace: Option<Pace>,
    /// Clients whose connection is gone, since the beginning.
    pub(crate) dead: u64,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self {
            sent: 0,
            got_cursor: 0,
            extrapolated_cursor: 0,
            got_stroke: 0,
            latency: Times::new(),
            pace: None,
            dead: 0,
        }
    }

    /// Adds those of another thread.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.got_cursor += other.got_cursor;
        self.extrapolated_cursor += other.extrapolated_cursor;
        self.got_stroke += other.got_stroke;
        self.latency.add(&other.latency);
        self.pace = self.pace.or(other.pace);
        self.dead += other.dead;
    }
}

/// Counts of a thread since they were zeroed.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    pub(crate) sent_cursor: u64,
    pub(crate) sent_stroke: u64,
    got_cursor: u64,
    extrapolated_cursor: u64,
    got_stroke: u64,
    all_ms: Reservoir,
    cursor_ms: Reservoir,
    stroke_ms: Reservoir,
    max_us: u64,
    lag: Times,
    window: Window,
}

impl Counts {
    /// For thread `number`.
    pub(crate) fn new(number: u64) -> Self {
        Self {
            sent_cursor: 0,
            sent_stroke: 0,
            got_cursor: 0,
            extrapolated_cursor: 0,
            got_stroke: 0,
            all_ms: Reservoir::new(3 * number),
            cursor_ms: Reservoir::new(3 * number + 1),
            stroke_ms: Reservoir::new(3 * number + 2),
            max_us: 0,
            lag: Times::new(),
            window: Window::new(),
        }
    }

    /// Zeroes them.
    pub(crate) fn mark(&mut self) {
        (self.sent_cursor, self.sent_stroke) = (0, 0);
        (self.got_cursor, self.got_stroke) = (0, 0);
        self.extrapolated_cursor = 0;
        self.all_ms.clear();
        self.cursor_ms.clear();
        self.stroke_ms.clear();
        self.max_us = 0;
        self.lag.clear();
    }

    /// Updates were sent this long after they were due.
    pub(crate) fn sent(&mut self, is_cursor: bool, count: u32, lag_us: u64) {
        let sent = if is_cursor {
            &mut self.sent_cursor
        } else {
            &mut self.sent_stroke
        };
        *sent += u64::from(count);
        self.window.sent += u64::from(count);
        self.lag.record(lag_us);
    }

    /// Something of somebody else's came.
    pub(crate) fn arrived(&mut self, arrival: Arrival, now_ns: i64) {
        let us = age_us(arrival.stamp, now_ns);
        let ms = us as f32 / 1000.0;
        match arrival.kind {
            ArrivalKind::Cursor => {
                self.got_cursor += 1;
                self.window.got_cursor += 1;
                self.cursor_ms.offer(ms);
            }
            ArrivalKind::Op => {
                self.got_stroke += 1;
                self.window.got_stroke += 1;
                self.stroke_ms.offer(ms);
            }
        }
        self.all_ms.offer(ms);
        self.max_us = self.max_us.max(us);
        self.window.latency.record(us);
    }

    /// Others' cursors were where they were to be without having been told so often.
    pub(crate) const fn extrapolated(&mut self, count: u64) {
        self.extrapolated_cursor += count;
        self.window.extrapolated_cursor += count;
    }

    /// The room goes at this pace.
    pub(crate) const fn paced(&mut self, pace: Option<Pace>) {
        self.window.pace = pace;
    }

    /// What was counted since the last call, for the live table.
    pub(crate) fn take_window(&mut self) -> Window {
        let pace = self.window.pace;
        let window = std::mem::replace(&mut self.window, Window::new());
        // It holds until another is told.
        self.window.pace = pace;
        window
    }
}

/// What connections have seen of UDP and QUIC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// Of all packets that came, QUIC's overhead included.
    pub(crate) bytes: u64,
    /// That came, in UDP's datagrams.
    pub(crate) packets: u64,
    /// QUIC's datagrams that came in those.
    pub(crate) datagrams: u64,
    /// That were sent, in UDP's datagrams.
    pub(crate) packets_sent: u64,
}

impl Traffic {
    /// With that of others.
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            packets: self.packets + other.packets,
            datagrams: self.datagrams + other.datagrams,
            packets_sent: self.packets_sent + other.packets_sent,
        }
    }

    /// What has been added since.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            bytes: self.bytes - before.bytes,
            packets: self.packets - before.packets,
            datagrams: self.datagrams - before.datagrams,
            packets_sent: self.packets_sent - before.packets_sent,
        }
    }
}

/// What a thread answers to a report.
#[derive(Debug, Clone)]
pub(crate) struct ThreadReport {
    pub(crate) counts: Counts,
    pub(crate) observer_bytes: u64,
    /// Of the thin clients.
    pub(crate) thin: Traffic,
    pub(crate) dead: u64,
    /// CPU time over elapsed time, 0 to 1.
    pub(crate) util: f64,
}

/// The answer to `report`, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) sent_cursor: u64,
    pub(crate) sent_stroke: u64,
    pub(crate) got_cursor: u64,
    /// Cursor updates that were left out, because the observers had the cursor where it was.
    pub(crate) extrapolated_cursor: u64,
    pub(crate) got_stroke: u64,
    pub(crate) observer_bytes: u64,
    pub(crate) thin_bytes: u64,
    /// Of the thin clients, with those bytes: an addition of ours.
    #[serde(default)]
    pub(crate) thin: Traffic,
    pub(crate) lat_ms: Vec<f32>,
    pub(crate) lat_cursor_ms: Vec<f32>,
    pub(crate) lat_stroke_ms: Vec<f32>,
    pub(crate) lat_max_ms: f64,
    pub(crate) send_lag_p99_ms: f64,
    /// Of the busiest thread, 0 to 1.
    pub(crate) loop_util: f64,
    /// Of all threads together, of the cores that they share, 0 to 1: an addition of ours.
    #[serde(default)]
    pub(crate) cores_util: f64,
    pub(crate) dead: u64,
}

impl Report {
    /// Adds the threads up, which share so many cores.
    pub(crate) fn of(threads: &[ThreadReport], cores: usize) -> Self {
        let sum = |of: fn(&ThreadReport) -> u64| threads.iter().map(of).sum();
        let sample = |of: fn(&ThreadReport) -> &Reservoir| Reservoir::merge(threads.iter().map(of));
        let mut lag = Times::new();
        let mut thin = Traffic::default();
        for thread in threads {
            lag.add(&thread.counts.lag);
            thin = thin.plus(thread.thin);
        }
        // Threads that share a core may all wait for it though none is busy all the time.
        let busiest = threads.iter().map(|t| t.util).fold(0.0, f64::max);
        let shared = threads.iter().map(|t| t.util).sum::<f64>() / cores.max(1) as f64;
        Self {
            sent_cursor: sum(|t| t.counts.sent_cursor),
            sent_stroke: sum(|t| t.counts.sent_stroke),
            got_cursor: sum(|t| t.counts.got_cursor),
            extrapolated_cursor: sum(|t| t.counts.extrapolated_cursor),
            got_stroke: sum(|t| t.counts.got_stroke),
            observer_bytes: sum(|t| t.observer_bytes),
            thin_bytes: thin.bytes,
            thin,
            lat_ms: sample(|t| &t.counts.all_ms),
            lat_cursor_ms: sample(|t| &t.counts.cursor_ms),
            lat_stroke_ms: sample(|t| &t.counts.stroke_ms),
            lat_max_ms: threads
                .iter()
                .map(|t| t.counts.max_us as f64 / 1000.0)
                .fold(0.0, f64::max),
            send_lag_p99_ms: lag.percentile_ms(0.99),
            loop_util: busiest,
            cores_util: shared,
            dead: sum(|t| t.dead),
        }
    }

    /// What came, of either kind.
    pub(crate) const fn got(&self) -> u64 {
        self.got_cursor + self.got_stroke
    }
}

#[cfg(test)]
mod tests {
    use chalkboard_shared::presence::PresenceStage;

    use super::*;
    use crate::clock::stamp;

    #[test]
    fn threads_add_up() {
        let thread = |number: u64, ages_us: &[i64]| {
            let mut counts = Counts::new(number);
            counts.sent(true, 1, 200);
            counts.sent(false, 2, 400);
            counts.extrapolated(3);
            for &age in ages_us {
                let now_ns = 1_000_000_000;
                let kind = if age < 5000 {
                    ArrivalKind::Cursor
                } else {
                    ArrivalKind::Op
                };
                let stamp = stamp(now_ns - age * 1000);
                counts.arrived(Arrival { kind, stamp }, now_ns);
            }
            ThreadReport {
                counts,
                observer_bytes: 10,
                thin: Traffic {
                    bytes: 3,
                    packets: 2,
                    ..Traffic::default()
                },
                dead: number,
                util: number as f64 / 10.0,
            }
        };
        let threads = [thread(1, &[1000, 2000]), thread(2, &[9000])];
        let report = Report::of(&threads, 4);
        assert_eq!((report.sent_cursor, report.sent_stroke), (2, 4));
        assert_eq!((report.got_cursor, report.got_stroke), (2, 1));
        assert_eq!(report.extrapolated_cursor, 6);
        assert_eq!(report.lat_cursor_ms, [1.0, 2.0]);
        assert_eq!(report.lat_stroke_ms, [9.0]);
        assert_eq!(report.lat_max_ms, 9.0);
        assert_eq!((report.observer_bytes, report.thin_bytes), (20, 6));
        assert_eq!((report.thin.bytes, report.thin.packets), (6, 4));
        assert_eq!((report.dead, report.loop_util), (3, 0.2));
        assert!((report.send_lag_p99_ms - 0.4).abs() < 0.01);
        let util = Report::of(&threads, 1).cores_util;
        assert!((util - 0.3).abs() < 1e-9, "both on one core");
    }

    #[test]
    fn marking_zeroes_and_windows_go_on() {
        let mut counts = Counts::new(0);
        counts.sent(true, 5, 1);
        let pace = Some(Pace {
            tick_us: 16_667,
            presence: PresenceStage::Slow,
        });
        counts.paced(pace);
        counts.mark();
        assert_eq!(counts.sent_cursor, 0);
        let window = counts.take_window();
        assert_eq!((window.sent, window.pace), (5, pace));
        let window = counts.take_window();
        assert_eq!((window.sent, window.pace), (0, pace));
    }
}
