//! The live table: a line a second, its head again now and then.

use super::Moment;

/// Lines between two heads: a terminal's height.
const HEAD_EVERY: usize = 20;

const HEAD: &str = "     t  sessions     sent/s  delivered/s    p50    p90    p99     max  lost  tick/s stage  kB/s each  B/update  cores  CPU s/M     MB";

/// Writes lines.
#[derive(Debug, Default)]
pub(super) struct Table {
    lines: usize,
}

impl Table {
    /// The moment's line, with the head before it where one is due.
    pub(super) fn lines(&mut self, moment: &Moment) -> String {
        let mut text = String::new();
        if self.lines.is_multiple_of(HEAD_EVERY) {
            text.push_str(HEAD);
            text.push('\n');
        }
        self.lines += 1;
        text + &line(moment)
    }
}

fn line(moment: &Moment) -> String {
    let latency = moment.latency_ms;
    let ms = |of: Option<f64>| optional(of, 1);
    format!(
        "{:>6.0} {:>9} {:>10.0} {:>12.0} {:>6} {:>6} {:>6} {:>7} {:>4.0}% {:>7} {:>5} {:>10.1} {:>9} {:>6} {:>8} {:>6}",
        moment.at_s,
        moment.sessions,
        moment.sent_hz,
        moment.delivered_hz,
        ms(latency.map(|of| of.p50)),
        ms(latency.map(|of| of.p90)),
        ms(latency.map(|of| of.p99)),
        ms(latency.map(|of| of.max)),
        100.0 * moment.cursor_loss,
        optional(moment.tick_hz, 0),
        optional(moment.presence_stage.map(f64::from), 0),
        moment.client_bytes_hz / 1000.0,
        optional(moment.bytes_per_update, 2),
        optional(moment.server_cores, 2),
        optional(moment.cpu_s_per_million, 3),
        optional(
            moment.server_memory_bytes.map(|bytes| bytes as f64 / 1e6),
            0
        ),
    )
}

fn optional(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sample::Percentiles;

    #[test]
    fn columns_stand_under_their_heads() {
        let moment = Moment {
            at_s: 3.0,
            sessions: 1000,
            sent_hz: 22_000.0,
            delivered_hz: 21_978_000.0,
            latency_ms: Some(Percentiles {
                p50: 17.2,
                p90: 25.0,
                p99: 31.4,
                max: 120.0,
            }),
            cursor_loss: 0.02,
            tick_hz: Some(30.0),
            presence_stage: Some(1),
            client_bytes_hz: 61_000.0,
            bytes_per_update: None,
            server_cores: Some(0.93),
            cpu_s_per_million: Some(0.042),
            server_memory_bytes: Some(85_000_000),
        };
        let mut table = Table::default();
        let first = table.lines(&moment);
        let (head, line) = first.split_once('\n').expect("a head and a line");
        assert_eq!(head.len(), line.len(), "\n{head}\n{line}");
        for (name, value) in [
            ("p99", "31.4"),
            ("tick/s", "30"),
            ("stage", "1"),
            ("CPU s/M", "0.042"),
            ("lost", "2%"),
        ] {
            let end = head.find(name).expect(name) + name.len();
            assert!(line[..end].ends_with(value), "{name}\n{head}\n{line}");
        }
        assert!(
            !table.lines(&moment).contains("sessions"),
            "no head on each line"
        );
    }
}
