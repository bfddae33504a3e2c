//! Figure of a flood of handshakes: whether the people in a room notice that strangers knock without end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use chalkboard_client::native::Link;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::json;
use tokio::time::timeout;

use super::Bench;
use super::room::{percentiles, workshop};
use super::row::{Row, Verdict};
use super::run::{Run, run, run_beside};
use crate::address::{BENCH, Directory, Site};

/// People in the room.
const PEOPLE: u32 = 100;
/// Handshakes that are kept under way: as many as a shard lets begin.
const KNOCKING: usize = 256;
/// After so long one is given up, and the next begins.
const PATIENCE: Duration = Duration::from_millis(500);
/// Lateness at which a room becomes uneasy: half a tick of the shortest that it has with so many.
const LATE_MAX_MS: f64 = 6.25;

/// Strangers who connect, and leave as soon as they are in. They stop when this is dropped.
struct Flood {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Flood {
    fn start(port: u16, cores: &[usize]) -> Self {
        let (stop, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (until, count, cores) = (stop.clone(), done.clone(), cores.to_vec());
        let thread = std::thread::spawn(move || {
            let mut set = CpuSet::new();
            for core in cores {
                set.set(core);
            }
            sched_setaffinity(None, &set)?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(knock(port, &until, &count))
        });
        Self {
            stop,
            done,
            thread: Some(thread),
        }
    }

    fn end(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(_)) => anyhow::bail!("the flood has failed"),
            None => Ok(()),
        }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // Whoever wants to know calls `end`.
        let _ = self.end();
    }
}

async fn knock(port: u16, until: &AtomicBool, count: &AtomicU64) -> Result<()> {
    let address = Directory::new(Site::local(port))
        .session(BENCH.board)
        .await?;
    let socket = address.socket()?;
    let stranger = async || {
        while !until.load(Ordering::Relaxed) {
            let link = Link::web_transport_on(&socket, &address.url, None);
            if let Ok(Ok(link)) = timeout(PATIENCE, link).await {
                count.fetch_add(1, Ordering::Relaxed);
                link.close(0, "").await;
            }
        }
    };
    futures::future::join_all((0..KNOCKING).map(|_| stranger())).await;
    Ok(())
}

pub(super) fn flood(bench: &mut Bench) -> Result<Vec<Row>> {
    let (server, cores, lengths) = (bench.pinned(), bench.load_cores(), bench.lengths());
    let quiet = run(&server, workshop(PEOPLE), cores, lengths)?;
    let (flooded, mut flood) = run_beside(&server, workshop(PEOPLE), cores, lengths, |port| {
        Flood::start(port, cores)
    })?;
    flood.end()?;
    let knocked = flood.done.load(Ordering::Relaxed) as f64
        / (flooded.seconds + lengths.warm_up.as_secs_f64());
    let late = |run: &Run| run.times.late.percentile_ms(0.99);
    let tell = |run: &Run| {
        format!(
            "ticks late by {} ms at p99 at most, sync {}",
            late(run).map_or_else(|| "?".to_owned(), |ms| ms.to_string()),
            percentiles(run.latency())
        )
    };
    Ok(vec![Row {
        figure: format!(
            "{PEOPLE} people on one core while {KNOCKING} strangers at a time shake hands without end"
        ),
        asked: format!("the tick does not move (late by <= {LATE_MAX_MS} ms at p99), nobody lost"),
        measured: format!(
            "{}; without them {}; {knocked:.0} handshakes a second got through{}",
            tell(&flooded),
            tell(&quiet),
            flooded.caveat()
        ),
        verdict: Verdict::of(
            flooded.report.dead == 0 && late(&flooded).is_some_and(|ms| ms <= LATE_MAX_MS),
        ),
        command: bench.command("flood"),
        details: json!({"flooded": flooded.details(), "quiet": quiet.details(), "handshakes_per_s": knocked}),
    }])
}
