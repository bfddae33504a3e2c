//! `kills`: the promise that what is shown as saved is kept, held against `kill -9` at any moment.
//!
//! Servers of our own, the real binary on a real folder, are killed while people draw, commit by commit, while they
//! start, stop and write snapshots. After every kill each op that any client was shown as saved is looked for in the
//! log, by its name, exactly once; the restarted server's board and everybody's are compared with it. Kills end
//! processes, not the machine: what the system had not yet written to the disk survives them. (For that, see the
//! simulated disk in the tests.)
//!
//! Neighbours: [`life`] is one server and its rounds, [`victim`] its process, [`people`] draw, [`account`] checks.

mod account;
mod life;
pub(crate) mod people;
pub(crate) mod victim;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::json;

use crate::sample::Dice;
use life::{Circumstances, Life, Round};

/// Threads that clients run on.
const THREADS: usize = 2;
/// Lines between two heads of the table.
const HEAD_EVERY: usize = 20;
const HEAD: &str =
    " round server  aimed at   saved     new pending  log end snapshot  WAL KB restart ms back ms";

/// Options of `kills`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct KillOptions {
    /// Kills altogether
    #[arg(long, default_value_t = 100)]
    pub(crate) rounds: u32,
    /// People who draw on each server
    #[arg(long, default_value_t = 4, value_name = "COUNT")]
    pub(crate) senders: u32,
    /// Ops a second of each of them
    #[arg(long, default_value_t = 500)]
    pub(crate) rate: u32,
    /// Servers at the same time
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    pub(crate) servers: u32,
    /// Kills of a server until a fresh one on an empty folder takes its place
    #[arg(long, default_value_t = 20, value_name = "COUNT")]
    pub(crate) rounds_per_board: u32,
    /// Chance: the same seed plans the same kills, though no two runs hit the same instruction
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Folder for the data folders, on the disk that is to be tested [default: the system's for temporary files]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) disk: Option<PathBuf>,
    /// Writes a line of JSON for each kill, and one about the whole at the end
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Further arguments of the servers; --server=--ephemeral must be found at the first kill
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    pub(crate) server: Vec<String>,
    /// Cuts so many bytes off the write-ahead log after each kill, to see that the check finds it
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    pub(crate) cut_tail: u64,
}

impl KillOptions {
    /// So many kills, and everything else as usual.
    pub(crate) fn of(rounds: u32) -> Self {
        Self {
            rounds,
            senders: 4,
            rate: 500,
            servers: 1,
            rounds_per_board: 20,
            seed: 1,
            disk: None,
            json: None,
            server: Vec::new(),
            cut_tail: 0,
        }
    }
}

/// What all kills came to.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Summary {
    /// Kills, each with its check.
    pub(crate) kills: u32,
    /// Kills by where they were aimed.
    pub(crate) by_aim: std::collections::BTreeMap<&'static str, u32>,
    /// Ops that were shown as saved before a kill; every one was found.
    pub(crate) saved: u64,
    /// Ops that had been drawn and not been shown as saved, over all kills.
    pub(crate) pending: u64,
    /// Kills at which there were such.
    pub(crate) under_load: u32,
    pub(crate) restart_ms_max: f64,
    pub(crate) restart_ms_mean: f64,
    pub(crate) seconds: f64,
}

/// What servers of one run share.
struct Run {
    options: KillOptions,
    disk: PathBuf,
    next: AtomicU32,
    told: Mutex<Told>,
    say: fn(&str),
}

#[derive(Default)]
struct Told {
    summary: Summary,
    lines: usize,
    file: Option<std::fs::File>,
}

/// Runs it as a command.
///
/// # Errors
/// The first loss, with what repeats the plan that found it.
pub(crate) fn run(options: KillOptions) -> Result<()> {
    let summary = kill_often(options, say)?;
    say(&format!(
        "{} kills ({}), {} of them with ops on their way ({} ops); {} ops that were shown as saved, 0 lost, 0 twice, all \
         boards equal; restart {:.0} ms on average, {:.0} ms at the most; {:.0} s",
        summary.kills,
        summary
            .by_aim
            .iter()
            .map(|(aim, count)| format!("{aim} {count}"))
            .collect::<Vec<_>>()
            .join(", "),
        summary.under_load,
        summary.pending,
        summary.saved,
        summary.restart_ms_mean,
        summary.restart_ms_max,
        summary.seconds,
    ));
    Ok(())
}

/// Kills, checks, tells a line each.
///
/// # Errors
/// The first loss, with what repeats the plan that found it.
pub(crate) fn kill_often(options: KillOptions, say: fn(&str)) -> Result<Summary> {
    ensure!(
        (1..=1_000_000).contains(&options.rounds)
            && (1..=64).contains(&options.servers)
            && (1..=64).contains(&options.senders)
            && (1..=10_000).contains(&options.rate)
            && options.rounds_per_board > 0,
        "allowed are 1 to 1,000,000 rounds, 1 to 64 servers and senders, 1 to 10,000 ops a second"
    );
    let began = Instant::now();
    let file = options
        .json
        .as_ref()
        .map(std::fs::File::create)
        .transpose()
        .context("the file for JSON can't be written")?;
    let run = Arc::new(Run {
        disk: options.disk.clone().unwrap_or_else(std::env::temp_dir),
        next: AtomicU32::new(0),
        told: Mutex::new(Told {
            file,
            ..Told::default()
        }),
        options,
        say,
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut servers = tokio::task::JoinSet::new();
        for number in 0..run.options.servers {
            servers.spawn(lives(run.clone(), number));
        }
        while let Some(ended) = servers.join_next().await {
            // The others are dropped with the set, and their servers with them.
            ended.context("a server's task has failed")??;
        }
        anyhow::Ok(())
    })?;
    let mut told = run.told.lock().unwrap_or_else(PoisonError::into_inner);
    told.summary.seconds = began.elapsed().as_secs_f64();
    told.summary.restart_ms_mean /= f64::from(told.summary.kills.max(1));
    let summary = told.summary.clone();
    if let Some(file) = &mut told.file {
        writeln!(
            file,
            "{}",
            json!({"summary": &summary, "seed": run.options.seed})
        )?;
    }
    Ok(summary)
}

/// Servers one after another, as long as there are rounds left.
async fn lives(run: Arc<Run>, server: u32) -> Result<()> {
    let options = &run.options;
    let mut generation = 0u64;
    loop {
        let mut round = run.next.fetch_add(1, Ordering::Relaxed);
        if round >= options.rounds {
            return Ok(());
        }
        let folder = tempfile::Builder::new()
            .prefix("chalkboard-kills-")
            .tempdir_in(&run.disk)?;
        let circumstances = Circumstances {
            people: options.senders,
            rate: options.rate,
            arguments: options.server.clone(),
            cut_bytes: options.cut_tail,
        };
        let seed = Dice::new(options.seed ^ (u64::from(server) << 32) ^ (generation << 48)).bits();
        generation += 1;
        let mut life =
            Life::begin(circumstances, folder.path().join("data"), Dice::new(seed)).await?;
        for left in (0..options.rounds_per_board).rev() {
            match life.round().await {
                Ok(of) => run.tell(round, server, &of)?,
                Err(error) => {
                    let log = std::fs::read_to_string(life.log_file()).unwrap_or_default();
                    let kept = folder.keep();
                    return Err(error.context(format!(
                        "round {round} on server {server}, seed {}; the data folder is kept at {}; the server said: {}",
                        options.seed,
                        kept.display(),
                        log.trim()
                    )));
                }
            }
            if left > 0 {
                round = run.next.fetch_add(1, Ordering::Relaxed);
                if round >= options.rounds {
                    break;
                }
            }
        }
        life.end().await?;
    }
}

impl Run {
    fn tell(&self, number: u32, server: u32, round: &Round) -> Result<()> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let summary = &mut told.summary;
        summary.kills += 1;
        *summary.by_aim.entry(round.aim.word()).or_default() += 1;
        summary.saved += round.saved_new as u64;
        summary.pending += u64::from(round.pending);
        summary.under_load += u32::from(round.pending > 0);
        summary.restart_ms_max = summary.restart_ms_max.max(round.restart_ms);
        summary.restart_ms_mean += round.restart_ms;
        if told.lines.is_multiple_of(HEAD_EVERY) {
            (self.say)(HEAD);
        }
        told.lines += 1;
        (self.say)(&format!(
            "{number:>6} {server:>6} {:>9} {:>7} {:>7} {:>7} {:>8} {:>8} {:>7} {:>10.0} {:>7.0}",
            round.aim.word(),
            round.saved,
            round.saved_new,
            round.pending,
            round.end,
            round.snapshot_at,
            round.wal_bytes / 1000,
            round.restart_ms,
            round.back_ms,
        ));
        if let Some(file) = &mut told.file {
            writeln!(
                file,
                "{}",
                json!({"round": number, "server": server, "kill": round})
            )?;
        }
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "the table is the product")]
fn say(line: &str) {
    println!("{line}");
}
