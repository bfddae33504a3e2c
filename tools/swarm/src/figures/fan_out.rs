//! What it costs the server to tell everybody: CPU time of its sending threads for a datagram, as a ratio to the floor
//! that is measured in the same run.
//!
//! What counts is all that those threads do for it: take cursors and acknowledgements in, assemble, seal, send.
//!
//! A ratio like that depends on how much there is to do at a time. Whoever sends without a pause has everything in the
//! processor's cache and shares each wake among many packets; whoever says something twenty times a second and sleeps in
//! between pays for both. So it is measured where a core sends nearly all the time, which is what the figures of others are
//! of, and in single rooms, between whose ticks it rests; and the QUIC library alone is measured beside it, at the same pace.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Error, Result, bail, ensure};
use serde_json::json;

use super::Bench;
use super::floor::{self, Floor, Stream};
use super::quinn_alone::QuinnAlone;
use super::row::{Row, Verdict};
use crate::counts::Traffic;
use crate::load_process::LoadProcess;
use crate::own_server::OwnServer;
use crate::spec::Spec;

/// The ratio that was asked for of a core that sends nearly all the time, and the QUIC library's own then.
const RATIO_MAX: f64 = 4.5;
const QUINN_RATIO: f64 = 4.0;
/// How often the library sends to each of its peers where that was measured, and to how many.
const QUINN_HZ: f64 = 400.0;
const QUINN_PEERS: usize = 100;
/// A machine's speed is not the same all the time: server and floor are measured right after one another, so many times.
const WINDOWS: u32 = 5;
/// Bytes of a packet that are not its content: QUIC's tag, and about what its head takes.
const HEAD_BYTES: u64 = 20;

/// People in one room or more, of whom some move their cursor and nobody draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    people: u32,
    moving: u32,
    rooms: u32,
}

impl Case {
    /// A core that sends nearly all the time.
    const SUSTAINED: Self = Self::new(400, 160, 16);
    const ALL: [Self; 5] = [
        Self::SUSTAINED,
        Self::new(100, 30, 1),
        Self::new(100, 100, 1),
        Self::new(400, 40, 1),
        Self::new(400, 400, 1),
    ];

    const fn new(people: u32, moving: u32, rooms: u32) -> Self {
        Self {
            people,
            moving,
            rooms,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.people, self.moving, self.rooms)
    }
}

impl FromStr for Case {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers: Vec<u32> = text.split(':').map(str::parse).collect::<Result<_, _>>()?;
        let case = match numbers[..] {
            [people, moving] => Self::new(people, moving, 1),
            [people, moving, rooms] => Self::new(people, moving, rooms),
            _ => bail!("not PEOPLE:MOVING or PEOPLE:MOVING:ROOMS"),
        };
        ensure!(
            case.people > 0 && (1..=case.people).contains(&case.moving),
            "one of them must move, and no more than there are"
        );
        ensure!(
            (1..=case.moving).contains(&case.rooms),
            "somebody must move in each room"
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
    /// What the server has sent.
    stream: Stream,
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
    let (windows, setup) = windows(bench, case)?;
    let middle = windows[windows.len() / 2];
    let Window {
        shard_us,
        room_us,
        floor,
        traffic,
        stream,
    } = middle;
    let quinn = quinn_alone(bench, stream, case.moving as usize)?;
    let mut measured = format!(
        "{:.1} ({:.1} to {:.1}): {shard_us:.1} us over {:.1} us at the same pace ({:.1} over {:.1} us in a loop); \
         {:.0} B a datagram, {:.0} a second to each, with each {:.2} packets out, {:.2} in; the room's thread {room_us:.1} us; \
         quinn alone, for the same people: {quinn}",
        middle.ratio(),
        windows[0].ratio(),
        windows[windows.len() - 1].ratio(),
        floor.paced_us,
        shard_us / floor.looped_us,
        floor.looped_us,
        middle.each(traffic.bytes),
        stream.hz,
        middle.each(traffic.packets),
        middle.each(traffic.packets_sent),
    );
    let mut details = json!({
        "case": case.to_string(), "ratio": middle.ratio(), "shard_us": shard_us, "room_us": room_us,
        "floor_paced_us": floor.paced_us, "floor_looped_us": floor.looped_us, "traffic": traffic,
        "quinn_alone_us": quinn.us, "quinn_alone_floor_us": quinn.floor_us,
        "ratios": windows.iter().map(Window::ratio).collect::<Vec<_>>(), "setup": setup,
    });
    let (asked, is_met) = if case == Case::SUSTAINED {
        let best = Stream {
            peers: QUINN_PEERS,
            hz: QUINN_HZ,
            ..stream
        };
        let best = quinn_alone(bench, best, 0)?;
        // Writing to a string does not fail.
        let _ = write!(
            measured,
            "; for {QUINN_PEERS} who send nothing, {QUINN_HZ} a second to each: {best}"
        );
        details["quinn_alone_best_us"] = json!(best.us);
        details["quinn_alone_best_floor_us"] = json!(best.floor_us);
        let asked = format!("<= {RATIO_MAX} where quinn alone takes {QUINN_RATIO}");
        (asked, middle.ratio() <= RATIO_MAX)
    } else {
        let share = RATIO_MAX / QUINN_RATIO;
        let asked = format!("<= {share} times quinn alone");
        (asked, middle.ratio() <= share * quinn.ratio())
    };
    let Case {
        people,
        moving,
        rooms,
    } = case;
    Ok(Row {
        figure: format!(
            "server CPU per datagram, over a raw UDP send and AES seal: {people} people, {moving} moving, rooms: {rooms}"
        ),
        asked,
        measured,
        verdict: Verdict::of(is_met),
        command: bench.command(&format!("fan-out --fan-out {case}")),
        details,
    })
}

/// Measures a server again and again, by ratio; also how it is set up.
fn windows(bench: &Bench, case: Case) -> Result<(Vec<Window>, String)> {
    let Case {
        people,
        moving,
        rooms,
    } = case;
    let server = OwnServer::start(&bench.pinned())?;
    let spec = Spec {
        port: server.port(),
        n: people,
        drawers: 0.0,
        movers: f64::from(moving) / f64::from(people),
        rooms,
        thin: (0..people).collect(),
        ..Spec::default()
    };
    let mut load = LoadProcess::start(&spec, bench.load_cores())?;
    load.connect()?;
    load.go()?;
    let lengths = bench.lengths();
    std::thread::sleep(lengths.warm_up);
    let span = lengths.measured / WINDOWS;
    let mut windows = Vec::new();
    for _ in 0..WINDOWS {
        windows.push(window(bench, case, &server, &mut load, span)?);
    }
    windows.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    Ok((windows, server.setup.clone()))
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
        stream,
    })
}

/// What the QUIC library takes by itself for such a stream.
#[derive(Debug, Clone, Copy)]
struct Alone {
    us: f64,
    floor_us: f64,
}

impl Alone {
    fn ratio(&self) -> f64 {
        self.us / self.floor_us
    }
}

impl fmt::Display for Alone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { us, floor_us } = self;
        write!(f, "{:.1} ({us:.1} over {floor_us:.1} us)", self.ratio())
    }
}

/// Measures the library alone, each time with the floor right after it, as with the server.
fn quinn_alone(bench: &Bench, stream: Stream, moving: usize) -> Result<Alone> {
    let lengths = bench.lengths();
    let span = lengths.measured / WINDOWS;
    let (cores, peer_cores) = (&bench.cores[..1], bench.load_cores());
    let mut quinn = QuinnAlone::start(stream, moving, cores, peer_cores)?;
    std::thread::sleep(lengths.warm_up);
    let mut windows = Vec::new();
    for _ in 0..WINDOWS {
        let us = quinn.measure(span)?;
        let floor = floor::measure(stream, cores, peer_cores, span.div_f64(2.0))?;
        windows.push(Alone {
            us,
            floor_us: floor.paced_us,
        });
    }
    windows.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    Ok(windows[windows.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_read() {
        let case: Case = "100:30".parse().expect("a case");
        assert_eq!(case, Case::new(100, 30, 1));
        let case = Case::SUSTAINED;
        assert_eq!(case.to_string().parse::<Case>().expect("a case"), case);
        for nonsense in [
            "", "100", "0:0", "10:0", "10:11", "x:1", "-1:1", "9:2:3", "9:2:0", "9:2:1:1",
        ] {
            assert!(nonsense.parse::<Case>().is_err(), "{nonsense}");
        }
    }
}
