//! What it costs the server to tell everybody: CPU time of its sending threads for a datagram, as a ratio to the floor
//! that is measured in the same run.
//!
//! What counts is all that those threads do for it: take cursors and acknowledgements in, assemble, seal, send.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, ensure};
use serde_json::json;

use super::Bench;
use super::floor::{self, Floor, Stream};
use super::row::{Row, Verdict};
use crate::counts::Traffic;
use crate::load_process::LoadProcess;
use crate::own_server::OwnServer;
use crate::spec::Spec;

/// The ratio that was asked for.
const RATIO_MAX: f64 = 4.5;
/// A machine's speed is not the same all the time: server and floor are measured right after one another, so many times.
const WINDOWS: u32 = 5;
/// Bytes of a packet that are not its content: QUIC's tag, and about what its head takes.
const HEAD_BYTES: u64 = 20;

/// People in a room, of whom some move their cursor and nobody draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    people: u32,
    moving: u32,
}

impl Case {
    const ALL: [Self; 4] = [
        Self::new(100, 30),
        Self::new(100, 100),
        Self::new(400, 40),
        Self::new(400, 400),
    ];

    const fn new(people: u32, moving: u32) -> Self {
        Self { people, moving }
    }
}

impl FromStr for Case {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (people, moving) = text.split_once(':').context("not PEOPLE:MOVING")?;
        let case = Self::new(people.parse()?, moving.parse()?);
        ensure!(
            case.people > 0 && (1..=case.people).contains(&case.moving),
            "one of them must move, and no more than there are"
        );
        Ok(case)
    }
}

/// What a stretch of time has shown.
#[derive(Debug, Clone, Copy)]
struct Window {
    shard_us: f64,
    room_us: f64,
    floor: Floor,
    traffic: Traffic,
}

impl Window {
    fn ratio(&self) -> f64 {
        self.shard_us / self.floor.paced_us
    }

    /// So many for each datagram.
    fn each(&self, count: u64) -> f64 {
        count as f64 / self.traffic.datagrams as f64
    }
}

pub(super) fn fan_out(bench: &mut Bench) -> Result<Vec<Row>> {
    let cases = match &bench.options.fan_out[..] {
        [] => Case::ALL.to_vec(),
        some => some.to_vec(),
    };
    cases.into_iter().map(|case| row(bench, case)).collect()
}

fn row(bench: &Bench, case: Case) -> Result<Row> {
    let Case { people, moving } = case;
    let server = OwnServer::start(&bench.pinned())?;
    let spec = Spec {
        port: server.port(),
        n: people,
        drawers: 0.0,
        movers: f64::from(moving) / f64::from(people),
        thin: (0..people).collect(),
        ..Spec::default()
    };
    let mut load = LoadProcess::start(&spec, bench.load_cores())?;
    load.connect()?;
    load.go()?;
    let lengths = bench.lengths();
    std::thread::sleep(lengths.warm_up);
    let mut windows = Vec::new();
    for _ in 0..WINDOWS {
        windows.push(window(
            bench,
            case,
            &server,
            &mut load,
            lengths.measured / WINDOWS,
        )?);
    }
    windows.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let middle = windows[windows.len() / 2];
    let Window {
        shard_us,
        room_us,
        floor,
        traffic,
    } = middle;
    Ok(Row {
        figure: format!(
            "server CPU per datagram, over a raw UDP send and AES seal: {people} people, {moving} moving"
        ),
        asked: format!("<= {RATIO_MAX}"),
        measured: format!(
            "{:.1} ({:.1} to {:.1}): {shard_us:.1} us over {:.1} us at the same pace ({:.1} over {:.1} us in a loop); \
             {:.0} B a datagram, with each {:.2} packets out, {:.2} in; the room's thread {room_us:.1} us",
            middle.ratio(),
            windows[0].ratio(),
            windows[windows.len() - 1].ratio(),
            floor.paced_us,
            shard_us / floor.looped_us,
            floor.looped_us,
            middle.each(traffic.bytes),
            middle.each(traffic.packets),
            middle.each(traffic.packets_sent),
        ),
        verdict: Verdict::of(middle.ratio() <= RATIO_MAX),
        command: bench.command(&format!("fan-out --fan-out {people}:{moving}")),
        details: json!({
            "people": people, "moving": moving, "ratio": middle.ratio(), "shard_us": shard_us, "room_us": room_us,
            "floor_paced_us": floor.paced_us, "floor_looped_us": floor.looped_us, "traffic": traffic,
            "ratios": windows.iter().map(Window::ratio).collect::<Vec<_>>(), "setup": server.setup,
        }),
    })
}

/// Measures the server, and then the floor with the same packets.
fn window(
    bench: &Bench,
    case: Case,
    server: &OwnServer,
    load: &mut LoadProcess,
    span: Duration,
) -> Result<Window> {
    load.mark()?;
    let shard_s = server.threads_cpu_s("shard-")?;
    let room_s = server.threads_cpu_s("rooms-")?;
    std::thread::sleep(span);
    let traffic = load.report()?.thin;
    let shard_s = server.threads_cpu_s("shard-")? - shard_s;
    let room_s = server.threads_cpu_s("rooms-")? - room_s;
    ensure!(traffic.datagrams > 0, "no datagram came");
    let datagrams = traffic.datagrams as f64;
    let bytes = (traffic.bytes / traffic.packets.max(1)).saturating_sub(HEAD_BYTES);
    let stream = Stream {
        peers: case.people as usize,
        bytes: bytes as usize,
        hz: datagrams / f64::from(case.people) / span.as_secs_f64(),
    };
    let floor = floor::measure(
        stream,
        &bench.cores[..1],
        bench.load_cores(),
        span.div_f64(2.0),
    )?;
    Ok(Window {
        shard_us: shard_s * 1e6 / datagrams,
        room_us: room_s * 1e6 / datagrams,
        floor,
        traffic,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_read() {
        let case: Case = "100:30".parse().expect("a case");
        assert_eq!(case, Case::new(100, 30));
        for nonsense in ["", "100", "0:0", "10:0", "10:11", "x:1", "-1:1"] {
            assert!(nonsense.parse::<Case>().is_err(), "{nonsense}");
        }
    }
}
