//! Scenarios for people: a load with a name, watched while it runs, and told about afterwards.
//!
//! They run against any server by a board's link, against one on this machine that was started with `--bench`, or
//! against one of their own.

mod moment;
mod table;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use chalkboard_shared::workload::canvas;

use crate::address::{BENCH, BoardLink, Site};
use crate::clock::Clock;
use crate::join::join_often;
use crate::own_server::{OwnServer, ServerOptions};
use crate::report;
use crate::role::middle_screen;
use crate::spec::{Mode, Spec, View};
use crate::swarm::Swarm;
use moment::Watch;
pub(crate) use moment::{Ending, Moment};
use table::Table;

/// How often a moment is taken.
const MOMENT: Duration = Duration::from_secs(1);
/// Clients that decode everything, unless told otherwise.
const OBSERVERS: u32 = 4;
/// Joins of the scenario of that name, unless told otherwise.
const JOINS: u32 = 10;

/// Which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Everybody moves and one in ten draws, all on one canvas.
    Workshop,
    /// One draws, the others watch and seldom move.
    Lecture,
    /// Very many, each looking at a screenful, hardly anybody drawing.
    Crowd,
    /// Ten draw as fast as they are told, twenty receive.
    Ops,
    /// Strangers come one after another, and each waits for the board.
    Join,
}

/// Options of every scenario.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ScenarioOptions {
    /// Link of a board to draw on; whatever the load draws stays there. [default: a server of our own]
    #[arg(long, value_name = "LINK", conflicts_with = "port")]
    url: Option<String>,
    /// Port of a server on this machine that runs with --bench
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Clients altogether
    #[arg(long, short = 'n', value_name = "COUNT")]
    clients: Option<u32>,
    /// Clients that decode everything by the real client library; the others only count bytes [default: 4]
    #[arg(long, value_name = "COUNT")]
    observers: Option<u32>,
    /// Moves of a cursor a second
    #[arg(long)]
    hz: Option<f64>,
    /// Share of the clients that draw, 0 to 1
    #[arg(long, value_name = "SHARE")]
    drawers: Option<f64>,
    /// Stroke ops a second altogether (ops)
    #[arg(long)]
    rate: Option<f64>,
    /// Joins, one after another (join) [default: 10]
    #[arg(long, value_name = "COUNT")]
    times: Option<u32>,
    /// Strokes that the board of our own server holds at the start [default: 0; join: 50000]
    #[arg(long, value_name = "COUNT")]
    strokes: Option<u32>,
    /// Seconds that it lasts
    #[arg(long, default_value_t = 20.0, value_name = "S")]
    seconds: f64,
    /// Threads of the load [default: one a core]
    #[arg(
        long,
        default_value_t = 0,
        hide_default_value = true,
        value_name = "COUNT"
    )]
    threads: usize,
    /// Writes a line of JSON for each second, and one about the whole at the end
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes a page with plots: one file that needs no other
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Further arguments of our own server, such as --server=--tick-hz=30; repeat it
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    server: Vec<String>,
}

impl Scenario {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Workshop => "workshop",
            Self::Lecture => "lecture",
            Self::Crowd => "crowd",
            Self::Ops => "ops",
            Self::Join => "join",
        }
    }

    /// The load, with what the options say.
    fn spec(self, options: &ScenarioOptions) -> Result<Spec> {
        let usual = Spec::default();
        let (mode, n, hz, view) = match self {
            Self::Workshop => (Mode::Workshop, 100, 20.0, View::Canvas),
            Self::Lecture => (Mode::Workshop, 200, 1.0, View::Canvas),
            Self::Crowd => (Mode::Workshop, 1000, 20.0, View::Screen),
            Self::Ops => (Mode::Ops, 20, 0.0, View::Canvas),
            Self::Join => (Mode::Workshop, 1, 0.0, View::Canvas),
        };
        let n = options.clients.unwrap_or(n).max(1);
        let drawers = match self {
            Self::Workshop => 0.1,
            Self::Lecture => 1.0 / f64::from(n),
            Self::Crowd => 0.02,
            Self::Ops | Self::Join => 0.0,
        };
        let observers = options.observers.unwrap_or(OBSERVERS).min(n);
        // Senders of ops come first and are thin, so observers come from the other end.
        let (observing, rest) = match mode {
            Mode::Workshop => (0..observers, observers..n),
            Mode::Ops => (n - observers..n, 0..n - observers),
        };
        let spec = Spec {
            mode,
            n,
            hz: options.hz.unwrap_or(hz),
            drawers: options.drawers.unwrap_or(drawers),
            rate: options.rate.unwrap_or(10_000.0),
            observers: observing.collect(),
            thin: rest.collect(),
            times: options.times.unwrap_or(JOINS),
            threads: options.threads,
            view,
            ..usual
        };
        spec.check()?;
        Ok(spec)
    }
}

/// Runs one.
pub(crate) fn run(scenario: Scenario, options: &ScenarioOptions) -> Result<()> {
    ensure!(
        options.seconds.is_finite() && (1.0..=86_400.0).contains(&options.seconds),
        "--seconds {}: allowed are 1 to 86400",
        options.seconds
    );
    let spec = scenario.spec(options)?;
    let (own, site, board) = find_server(scenario, options)?;
    if scenario == Scenario::Join {
        return join(&site, board, &spec, options);
    }
    let clock = Clock::start();
    let swarm = Swarm::start(&spec, clock, &site, &[board])?;
    say(&format!(
        "{}: connecting {} clients ...",
        scenario.name(),
        spec.n
    ));
    let began = Instant::now();
    let sessions = swarm.connect()?;
    let connect_s = began.elapsed().as_secs_f64();
    say(&format!("{sessions} clients joined in {connect_s:.1} s"));
    let mut watch = Watch::begin(&spec, own.as_ref())?;
    swarm.go(clock)?;
    swarm.mark()?;
    let mut table = Table::default();
    let mut moments = Vec::new();
    let mut lines = options.json.as_deref().map(create).transpose()?;
    let began = Instant::now();
    for second in 1.. {
        let at = MOMENT * second;
        if at.as_secs_f64() > options.seconds {
            break;
        }
        std::thread::sleep((began + at).saturating_duration_since(Instant::now()));
        let (window, observer_bytes) = swarm.window()?;
        let moment = watch.moment(&window, observer_bytes, own.as_ref())?;
        say(&table.lines(&moment));
        if let Some(file) = &mut lines {
            writeln!(file, "{}", serde_json::to_string(&moment)?)?;
        }
        moments.push(moment);
    }
    let report = swarm.report()?;
    let ending = Ending::new(scenario.name(), &spec, &report, connect_s, &moments);
    say(&ending.text());
    if let Some(file) = &mut lines {
        writeln!(file, "{}", serde_json::to_string(&ending)?)?;
    }
    if let Some(path) = &options.report {
        let page = report::page(&ending, &moments, &report.lat_ms);
        std::fs::write(path, page)
            .with_context(|| format!("{} can't be written", path.display()))?;
        say(&format!("the report is in {}", path.display()));
    }
    Ok(())
}

fn find_server(
    scenario: Scenario,
    options: &ScenarioOptions,
) -> Result<(Option<OwnServer>, Site, BoardLink)> {
    if let Some(link) = &options.url {
        let (site, board) = Site::parse_link(link)?;
        return Ok((None, site, board));
    }
    if let Some(port) = options.port {
        return Ok((None, Site::local(port), BENCH));
    }
    let usual = if scenario == Scenario::Join {
        50_000
    } else {
        0
    };
    let server = OwnServer::start(&ServerOptions {
        strokes: options.strokes.unwrap_or(usual),
        arguments: options.server.clone(),
        ..ServerOptions::default()
    })?;
    say(&server.setup);
    let site = Site::local(server.port());
    Ok((Some(server), site, BENCH))
}

fn join(site: &Site, board: BoardLink, spec: &Spec, options: &ScenarioOptions) -> Result<()> {
    let mut lines = options.json.as_deref().map(create).transpose()?;
    say("what              run       ms        bytes    strokes");
    for (what, view) in [("whole board", canvas()), ("one screen", middle_screen())] {
        let runs = join_often(site, board, view, spec.times, 0)?;
        for (number, run) in (1..).zip(&runs) {
            say(&format!(
                "{what:<15} {number:>5} {:>8.1} {:>12} {:>10}",
                run.ms, run.bytes, run.strokes
            ));
            if let Some(file) = &mut lines {
                let line = serde_json::json!({"what": what, "run": run});
                writeln!(file, "{line}")?;
            }
        }
        if let Some(path) = options.report.as_ref().filter(|_| what == "whole board") {
            std::fs::write(path, report::join_page(&runs))
                .with_context(|| format!("{} can't be written", path.display()))?;
        }
    }
    Ok(())
}

fn create(path: &Path) -> Result<std::fs::File> {
    std::fs::File::create(path).with_context(|| format!("{} can't be written", path.display()))
}

#[expect(clippy::print_stdout, reason = "the table is the product")]
fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_a_load() {
        for scenario in [
            Scenario::Workshop,
            Scenario::Lecture,
            Scenario::Crowd,
            Scenario::Ops,
            Scenario::Join,
        ] {
            let spec = scenario.spec(&ScenarioOptions::default());
            let spec = spec.unwrap_or_else(|error| panic!("{}: {error}", scenario.name()));
            assert_eq!(spec.clients().count() as u32, spec.n);
        }
        let lecture = Scenario::Lecture.spec(&ScenarioOptions::default());
        assert_eq!(lecture.expect("a load").drawing(), 1);
    }

    #[test]
    fn options_count_more_than_the_scenario() {
        let options = ScenarioOptions {
            clients: Some(7),
            hz: Some(3.0),
            observers: Some(20),
            ..ScenarioOptions::default()
        };
        let spec = Scenario::Workshop.spec(&options).expect("a load");
        assert_eq!((spec.n, spec.hz), (7, 3.0));
        assert_eq!(spec.observers.len(), 7, "no more than there are");
        let ops = Scenario::Ops.spec(&ScenarioOptions::default());
        assert_eq!(ops.expect("a load").observers, [16, 17, 18, 19]);
    }
}
