//! What a load consists of: how many clients, what each of them does, and which of them this process plays.
//!
//! The form in which harnesses write it (`BENCH_SPEC`) is that of the bench interface; the fields below the line are
//! additions of ours and may be left out.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use chalkboard_shared::limits::SESSIONS_PER_ROOM_MAX;
use serde::{Deserialize, Serialize};

/// Updates a second of one client, at the most: what a server takes of cursors, and ops in tens of thousands.
const HZ_MAX: f64 = 1000.0;
const RATE_MAX: f64 = 10_000_000.0;
/// Threads of one process.
const THREADS_MAX: usize = 256;
/// Rooms of one load.
const ROOMS_MAX: u32 = 16 * 1024;
/// Joins that are timed in one go.
const TIMES_MAX: u32 = 10_000;

/// Updates of a drawer's ink a second, each of three samples.
pub(crate) const INK_HZ: f64 = 20.0;
/// Batches of a stroke, after which it is completed.
pub(crate) const BATCHES_PER_STROKE: u32 = 40;

/// Which workload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// Everybody moves, some draw.
    #[default]
    Workshop,
    /// Some draw as fast as they are told, all receive.
    Ops,
}

/// What clients look at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum View {
    /// The whole canvas.
    #[default]
    Canvas,
    /// A screen of 1920 x 1080 px around where the client's pointer begins.
    Screen,
}

/// A load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Spec {
    /// Base port of the server on this machine.
    pub(crate) port: u16,
    pub(crate) mode: Mode,
    /// Clients altogether, in all processes.
    pub(crate) n: u32,
    /// Moves of a cursor a second.
    pub(crate) hz: f64,
    /// Share of the clients that draw, 0 to 1: the last ones.
    pub(crate) drawers: f64,
    /// Clients that send ops, in mode "ops": the first ones.
    pub(crate) senders: u32,
    /// Ops a second of all of them together.
    pub(crate) rate: f64,
    /// Clients of this process that decode everything.
    pub(crate) observers: Vec<u32>,
    /// Clients of this process that only count bytes.
    pub(crate) thin: Vec<u32>,
    /// Joins to time.
    pub(crate) times: u32,
    /// Strokes that a join must find at the least.
    pub(crate) expect: u64,

    // ---
    /// Share of the clients that move their cursor, 0 to 1, in mode "workshop": the last ones. The others look on.
    pub(crate) movers: f64,
    /// Rooms that the clients spread over in turn; 1: all in the room `bench`.
    pub(crate) rooms: u32,
    pub(crate) view: View,
    /// Threads of this process; 0: one a core that it may use.
    pub(crate) threads: usize,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            port: 8080,
            mode: Mode::Workshop,
            n: 20,
            hz: 20.0,
            drawers: 0.1,
            senders: 10,
            rate: 1000.0,
            observers: Vec::new(),
            thin: Vec::new(),
            times: 1,
            expect: 0,
            movers: 1.0,
            rooms: 1,
            view: View::Canvas,
            threads: 0,
        }
    }
}

/// What one client does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Part {
    /// Moves of the cursor a second; 0: it rests.
    pub(crate) cursor_hz: f64,
    /// Batches of ink a second; 0: it does not draw.
    pub(crate) ink_hz: f64,
    /// Samples of a batch.
    pub(crate) samples: u32,
}

impl Spec {
    /// Reads and checks a spec.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let spec: Self =
            serde_json::from_str(text).context("BENCH_SPEC is not what it should be")?;
        spec.check()?;
        Ok(spec)
    }

    /// Refuses what makes no sense.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(
            self.hz.is_finite() && (0.0..=HZ_MAX).contains(&self.hz),
            "hz = {}: allowed are 0 to {HZ_MAX}",
            self.hz
        );
        ensure!(
            self.rate.is_finite() && (0.0..=RATE_MAX).contains(&self.rate),
            "rate = {}: allowed are 0 to {RATE_MAX}",
            self.rate
        );
        ensure!(
            (0.0..=1.0).contains(&self.drawers),
            "drawers = {}: a share from 0 to 1",
            self.drawers
        );
        ensure!(
            (0.0..=1.0).contains(&self.movers),
            "movers = {}: a share from 0 to 1",
            self.movers
        );
        ensure!(
            (1..=ROOMS_MAX).contains(&self.rooms),
            "rooms = {}: allowed are 1 to {ROOMS_MAX}",
            self.rooms
        );
        ensure!(
            self.threads <= THREADS_MAX,
            "more than {THREADS_MAX} threads"
        );
        ensure!(self.times <= TIMES_MAX, "more than {TIMES_MAX} joins");
        let room_max = SESSIONS_PER_ROOM_MAX as u64;
        ensure!(
            u64::from(self.n) <= room_max * u64::from(self.rooms),
            "{} clients: a room holds {room_max}",
            self.n
        );
        let mut seen = BTreeSet::new();
        for client in self.clients() {
            if client >= self.n || !seen.insert(client) {
                bail!(
                    "client {client} is listed twice, or not below n = {}",
                    self.n
                );
            }
        }
        Ok(())
    }

    /// The clients that this process plays.
    pub(crate) fn clients(&self) -> impl Iterator<Item = u32> {
        self.observers.iter().chain(&self.thin).copied()
    }

    /// What a client does.
    pub(crate) fn part(&self, client: u32) -> Part {
        match self.mode {
            Mode::Workshop => Part {
                cursor_hz: if client >= self.n.saturating_sub(self.moving()) {
                    self.hz
                } else {
                    0.0
                },
                ink_hz: if client >= self.n.saturating_sub(self.drawing()) {
                    INK_HZ
                } else {
                    0.0
                },
                samples: 3,
            },
            Mode::Ops => Part {
                cursor_hz: 0.0,
                ink_hz: if client < self.senders {
                    self.rate / f64::from(self.senders)
                } else {
                    0.0
                },
                samples: 1,
            },
        }
    }

    /// How many move their cursor.
    fn moving(&self) -> u32 {
        (self.movers * f64::from(self.n)).round() as u32
    }

    /// How many draw.
    pub(crate) fn drawing(&self) -> u32 {
        match self.mode {
            Mode::Workshop => (self.drawers * f64::from(self.n)).round() as u32,
            Mode::Ops => self.senders.min(self.n),
        }
    }

    /// Cursor states that one client should receive of the others in its room, a second.
    pub(crate) fn nominal_cursor_hz(&self) -> f64 {
        match self.mode {
            Mode::Workshop => {
                let others = (f64::from(self.n) / f64::from(self.rooms) - 1.0).max(0.0);
                self.hz * self.movers * others
            }
            Mode::Ops => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_harness_spec_is_read() {
        let spec = Spec::parse(
            r#"{"port":4000,"mode":"workshop","n":100,"hz":20,"drawers":0.1,"senders":0,"rate":0,
                "observers":[0,1],"thin":[2,3,99],"times":0,"expect":0}"#,
        )
        .expect("a spec");
        assert_eq!(spec.clients().collect::<Vec<_>>(), [0, 1, 2, 3, 99]);
        assert_eq!(spec.drawing(), 10);
        assert_eq!(spec.part(99).ink_hz, INK_HZ);
        assert_eq!(spec.part(89).ink_hz, 0.0);
        assert_eq!(spec.nominal_cursor_hz(), 1980.0);
        assert_eq!(spec.rooms, 1);
    }

    #[test]
    fn some_may_only_look_on() {
        let spec = Spec::parse(r#"{"n":10,"hz":20,"movers":0.3}"#).expect("a spec");
        let moving: Vec<u32> = (0..10)
            .filter(|client| spec.part(*client).cursor_hz > 0.0)
            .collect();
        assert_eq!(moving, [7, 8, 9]);
        assert_eq!(spec.nominal_cursor_hz(), 54.0);
    }

    #[test]
    fn ops_are_shared_among_senders() {
        let spec = Spec::parse(r#"{"mode":"ops","n":20,"senders":10,"rate":5000,"thin":[0]}"#);
        let spec = spec.expect("a spec");
        assert_eq!(spec.part(9).ink_hz, 500.0);
        assert_eq!(spec.part(10).ink_hz, 0.0);
        assert_eq!(spec.part(3).cursor_hz, 0.0);
        assert_eq!(spec.part(3).samples, 1);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "{",
            r#"{"mode":"party"}"#,
            r#"{"n":2,"thin":[2]}"#,
            r#"{"n":2,"thin":[1],"observers":[1]}"#,
            r#"{"hz":-1}"#,
            r#"{"hz":1e9}"#,
            r#"{"drawers":2}"#,
            r#"{"movers":-0.1}"#,
            r#"{"rooms":0}"#,
            r#"{"n":4000000000}"#,
        ] {
            assert!(Spec::parse(text).is_err(), "{text}");
        }
    }
}
