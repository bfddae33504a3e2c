//! The project's figures: measured anew, one row each, with what was asked beside it.
//!
//! Each starts a server of its own (`chalkboard serve --bench`) on one core and the load on the others, unless it says
//! otherwise. A figure that is not reached says MISS; one that could not be shown says OPEN.

mod durable;
mod fan_out;
mod flood;
mod floor;
mod large;
mod quinn_alone;
mod room;
mod row;
mod run;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity};
use serde_json::json;

use crate::own_server::ServerOptions;
use fan_out::Case;
use row::{Row, Verdict};
use run::{Lengths, Run};

/// Options of `figures`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct FigureOptions {
    /// Which; all if none is named: cpu bytes latency largest adaptive ops join join-million sessions idle rooms
    /// flood fan-out saved restart pause resume kills
    names: Vec<String>,
    /// Seconds that each run is measured for
    #[arg(long, default_value_t = 10.0, value_name = "S")]
    seconds: f64,
    /// Seconds before that
    #[arg(long, default_value_t = 3.0, value_name = "S")]
    warm_up: f64,
    /// Folder on a real disk, for the figures that are durable
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    disk: PathBuf,
    /// Writes rows and everything measured with them there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Further arguments of the server, such as --server=--tick-hz=30; repeat it
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    server: Vec<String>,
    /// Sessions of the figure "sessions"
    #[arg(long, default_value_t = 10_000)]
    sessions: u32,
    /// Moves of a cursor a second where thousands share the machine with the server
    #[arg(long, default_value_t = 5.0)]
    crowd_hz: f64,
    /// Seconds that people of the figure "resume" are cut off
    #[arg(long, default_value_t = 60.0, value_name = "S")]
    cut: f64,
    /// People of the figure "fan-out", how many of them move, and in how many rooms (1 if not said), in place of all its
    /// cases; repeat it
    #[arg(long, value_name = "PEOPLE:MOVING:ROOMS")]
    fan_out: Vec<Case>,
    /// Kills of the figure "kills"
    #[arg(long, default_value_t = 100)]
    kills: u32,
}

/// What figures are measured with.
#[derive(Debug)]
struct Bench {
    options: FigureOptions,
    cores: Vec<usize>,
    /// Runs of the workshop that several figures look at.
    workshops: Vec<(u32, Run)>,
}

type Figure = fn(&mut Bench) -> Result<Vec<Row>>;

/// All figures.
const FIGURES: [(&str, Figure); 18] = [
    ("cpu", room::cpu),
    ("bytes", room::bytes),
    ("latency", room::latency),
    ("largest", room::largest),
    ("adaptive", room::adaptive),
    ("ops", room::ops),
    ("join", large::join),
    ("join-million", large::join_million),
    ("sessions", large::sessions),
    ("idle", large::idle),
    ("rooms", large::rooms),
    ("flood", flood::flood),
    ("fan-out", fan_out::fan_out),
    ("saved", durable::saved),
    ("restart", durable::restart),
    ("pause", durable::pause),
    ("resume", durable::resume),
    ("kills", durable::kills),
];

/// Measures and prints.
pub(crate) fn run(options: FigureOptions) -> Result<()> {
    let chosen: Vec<_> = if options.names.is_empty() {
        FIGURES.to_vec()
    } else {
        options
            .names
            .iter()
            .map(|name| find(name))
            .collect::<Result<_>>()?
    };
    let json_file = options.json.clone();
    let mut bench = Bench {
        cores: cores()?,
        options,
        workshops: Vec::new(),
    };
    say(Row::HEAD);
    let mut rows = Vec::new();
    for (name, measure) in chosen {
        // One that fails says so, and the others follow all the same.
        let measured = measure(&mut bench).unwrap_or_else(|error| {
            vec![Row {
                figure: name.to_owned(),
                asked: "to be measured".to_owned(),
                measured: format!("failed: {error:#}"),
                verdict: Verdict::Miss,
                command: bench.command(name),
                details: json!(null),
            }]
        });
        for row in measured {
            say(&row.line());
            rows.push(row);
        }
    }
    if let Some(path) = json_file {
        std::fs::write(&path, serde_json::to_string_pretty(&rows)?)
            .with_context(|| format!("{} can't be written", path.display()))?;
    }
    Ok(())
}

fn find(name: &str) -> Result<(&'static str, Figure)> {
    match FIGURES.iter().find(|(known, _)| *known == name) {
        Some(figure) => Ok(*figure),
        None => {
            let known: Vec<_> = FIGURES.iter().map(|(known, _)| *known).collect();
            bail!(
                "there is no figure {name:?}; there are: {}",
                known.join(" ")
            )
        }
    }
}

/// The cores that this process may use.
fn cores() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|core| allowed.is_set(*core))
        .collect())
}

#[expect(clippy::print_stdout, reason = "the table is the product")]
fn say(line: &str) {
    println!("{line}");
}

impl Bench {
    fn lengths(&self) -> Lengths {
        Lengths {
            warm_up: Duration::from_secs_f64(self.options.warm_up.clamp(0.0, 600.0)),
            measured: Duration::from_secs_f64(self.options.seconds.clamp(0.1, 3600.0)),
        }
    }

    /// A server on the first core, with as many threads as that can use.
    fn pinned(&self) -> ServerOptions {
        let mut server = self.spread(1);
        server.cores = self.cores[..1].to_vec();
        server
    }

    /// A server on all cores, with so many shards.
    fn spread(&self, shards: usize) -> ServerOptions {
        let mut arguments = vec![format!("--shards={shards}"), "--room-threads=1".to_owned()];
        arguments.extend(self.options.server.iter().cloned());
        ServerOptions {
            arguments,
            ..ServerOptions::default()
        }
    }

    /// The cores that a pinned server leaves; the same one where there is no other.
    fn load_cores(&self) -> &[usize] {
        match &self.cores[..] {
            [_, rest @ ..] if !rest.is_empty() => rest,
            all => all,
        }
    }

    fn command(&self, name: &str) -> String {
        format!("chalkboard-swarm figures {name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_name() {
        assert_eq!(find("ops").expect("it is there").0, "ops");
        let error = find("speed").expect_err("there is none").to_string();
        assert!(error.contains("latency"), "{error}");
    }
}
