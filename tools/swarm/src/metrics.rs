//! What a server on this machine tells of itself at `/metrics`: how long its rooms' ticks take, and how late they are.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// How long an answer may take.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Bytes of an answer, many times what there is.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// Durations by size, as a histogram of Prometheus has them: cumulative counts by upper bound.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Durations {
    /// Upper bounds in milliseconds, the last one infinite, and how many were not longer.
    buckets: Vec<(f64, u64)>,
}

/// Times of all rooms.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RoomTimes {
    /// What ticks took.
    pub(crate) tick: Durations,
    /// How much later than planned they began.
    pub(crate) late: Durations,
}

/// Asks the server at a port of this machine.
///
/// # Errors
/// It does not answer, or not with what was expected.
pub(crate) fn room_times(port: u16) -> Result<RoomTimes> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_string(&mut answer)
        .context("the server's metrics can't be read")?;
    ensure!(
        answer.starts_with("HTTP/1.1 200"),
        "the server tells no metrics: {}",
        answer.lines().next().unwrap_or("nothing")
    );
    Ok(RoomTimes {
        tick: Durations::find(&answer, "chalkboard_tick_seconds_bucket"),
        late: Durations::find(&answer, "chalkboard_tick_late_seconds_bucket"),
    })
}

impl RoomTimes {
    /// What has been added since.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            tick: self.tick.since(&before.tick),
            late: self.late.since(&before.late),
        }
    }
}

impl Durations {
    fn find(text: &str, name: &str) -> Self {
        let bucket = |line: &str| {
            let rest = line.strip_prefix(name)?.strip_prefix("{le=\"")?;
            let (bound, count) = rest.split_once("\"}")?;
            let bound_s: f64 = bound.replace("+Inf", "inf").parse().ok()?;
            Some((bound_s * 1e3, count.trim().parse().ok()?))
        };
        Self {
            buckets: text.lines().filter_map(bucket).collect(),
        }
    }

    fn since(&self, before: &Self) -> Self {
        let count_before = |bound: f64| {
            let bucket = before.buckets.iter().find(|(other, _)| *other == bound);
            bucket.map_or(0, |(_, count)| *count)
        };
        let left =
            |&(bound, count): &(f64, u64)| (bound, count.saturating_sub(count_before(bound)));
        Self {
            buckets: self.buckets.iter().map(left).collect(),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.last().map_or(0, |(_, count)| *count)
    }

    /// The smallest bound that this share (0 to 1) does not exceed, in milliseconds; `None` of none.
    pub(crate) fn percentile_ms(&self, share: f64) -> Option<f64> {
        let wanted = share * self.count() as f64;
        let mut buckets = self.buckets.iter();
        let found = buckets.find(|(_, count)| *count > 0 && *count as f64 >= wanted);
        found.map(|(bound, _)| *bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "chalkboard_tick_seconds_bucket{le=\"0.0001\"} 90\n\
        chalkboard_tick_seconds_bucket{le=\"0.004\"} 99\n\
        chalkboard_tick_seconds_bucket{le=\"+Inf\"} 100\n\
        chalkboard_tick_seconds_sum 1\n";

    #[test]
    fn histograms_are_read_and_compared() {
        let all = Durations::find(TEXT, "chalkboard_tick_seconds_bucket");
        assert_eq!(all.count(), 100);
        assert_eq!(all.percentile_ms(0.9), Some(0.1));
        assert_eq!(all.percentile_ms(0.99), Some(4.0));
        assert_eq!(all.percentile_ms(1.0), Some(f64::INFINITY));
        let nothing = all.since(&all);
        assert_eq!((nothing.count(), nothing.percentile_ms(0.5)), (0, None));
        assert_eq!(Durations::find(TEXT, "another").count(), 0);
    }
}
