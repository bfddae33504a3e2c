//! How smoothly a large board pans and zooms in a real browser: frames of the page's engine, on a board of 50,000 strokes,
//! alone and with 1,000 cursors that move.
//!
//! - Frame time: from one frame of the engine's Worker that drew something to the next, while the wheel turns sixty
//!   times a second. What the browser does with what was drawn is in it, since the next frame waits for that.
//! - Drawing: what the engine itself takes for a frame.
//!
//! Chromium draws in software here, and shares the machine with the server and with the load.
//!
//! ```text
//! cargo xtask web && cargo build --release -p chalkboard-server -p chalkboard-swarm
//! cargo bench -p chalkboard-benches --bench page_frames
//! ```
//!
//! Without `--bench` (as `cargo test` calls it) a small board and a few cursors are shown, as a check that it works.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use chalkboard_shared::workload::{BENCH_BOARD, BENCH_SECRET};
use chalkboard_tests::browser::{Browser, CONTROL, Page, Screen};
use chalkboard_tests::server_process::{binary, command, swarm_binary};
use chalkboard_tests::waiting::{wait_until, within};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::task::JoinSet;

/// How much is measured.
struct Extent {
    strokes: u32,
    cursors: u32,
    /// Turns of the wheel in each part.
    turns: u32,
}

const FULL: Extent = Extent {
    strokes: 50_000,
    cursors: 1000,
    turns: 360,
};
const SMALL: Extent = Extent {
    strokes: 500,
    cursors: 10,
    turns: 12,
};

/// Time between two turns of the wheel.
const TURN_EVERY: Duration = Duration::from_micros(16_667);

/// A frame that takes longer than this is seen to stutter, in milliseconds.
const SMOOTH_MS: f64 = 33.4;

/// Where the mouse is: in the middle of the page.
const MIDDLE: (f64, f64) = (640.0, 400.0);

/// What the server's line with its address begins with, and the line after which it serves.
const ADDRESS: &str = "Chalkboard is ready: ";
const READY: &str = "READY";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let extent = if std::env::args().any(|argument| argument == "--bench") {
        FULL
    } else {
        SMALL
    };
    let (server, url) = serve(extent.strokes).await;
    let browser = Browser::launch().await;
    let address = format!("{url}/b/{BENCH_BOARD}#{BENCH_SECRET}");
    let page = Arc::new(browser.open(&address, Screen::DESKTOP).await);
    page.wait_for(
        "a page: without one the server was built before `cargo xtask web`",
        "document.getElementById('app')",
    )
    .await;
    let strokes = extent.strokes;
    page.wait_for_state("the board", "state.loaded").await;
    show_all(&page, strokes).await;
    say(&format!(
        "{strokes} strokes, 1280 x 800, drawn in software on {} cores that server and load share",
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
    ));
    part("nobody_else", moves(&page, &extent, "nobody else")).await;

    let cursors = extent.cursors;
    let load = load(&url, cursors);
    show_all(&page, strokes).await;
    page.wait_for_state("the cursors", &format!("state.cursors * 1.05 >= {cursors}"))
        .await;
    let words = format!("{cursors} cursors move");
    part("cursors", moves(&page, &extent, &words)).await;
    let tick_us = page.state("tickUs").await.as_f64().unwrap_or(f64::NAN);
    say(&format!(
        "the server's tick at the end: {:.1} ms",
        tick_us / 1000.0
    ));
    drop(load);
    drop(server);
    browser.close().await;
}

/// Runs a part and says so in the words of criterion's test mode, which whoever counts tests understands.
async fn part(name: &str, run: impl Future<Output = ()>) {
    say(&format!("Testing page_frames/{name}"));
    run.await;
    say("Success");
}

#[expect(clippy::print_stdout, reason = "figures are what a benchmark is for")]
fn say(line: &str) {
    println!("{line}");
}

/// Starts a server with the standard board, in memory. It ends when it is dropped.
async fn serve(strokes: u32) -> (Child, String) {
    let mut child = command(&binary())
        .args(["serve", "--bench", "--log", "error"])
        .env("PORT", "0")
        .env("SEED", strokes.to_string())
        .env_remove("DIR")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server's binary starts");
    let output = child.stdout.take().expect("standard output is piped");
    let mut lines = BufReader::new(output).lines();
    let mut url = None;
    loop {
        let line = within("the server's ready line", lines.next_line()).await;
        let line = line
            .expect("standard output can be read")
            .expect("the server ends instead of serving");
        if let Some(address) = line.strip_prefix(ADDRESS) {
            url = Some(address.trim_end_matches('/').to_owned());
        } else if line == READY {
            return (child, url.expect("the address comes before"));
        }
    }
}

/// Starts clients that move their cursors over the whole canvas. They end when this is dropped.
fn load(url: &str, clients: u32) -> Child {
    let (_, port) = url.rsplit_once(':').expect("the address names its port");
    let clients = clients.to_string();
    command(&swarm_binary())
        .args(["crowd", "--port", port, "--clients", &clients])
        .args(["--drawers", "0", "--observers", "1", "--seconds", "600"])
        .stdout(Stdio::null())
        .spawn()
        .expect("the load's binary starts")
}

/// Presses Shift and 1 until all strokes are in view: what is far away comes when it is looked at.
async fn show_all(page: &Page, strokes: u32) {
    wait_until("every stroke", async || {
        show_everything(page).await;
        let held = page.state("strokes").await.as_u64();
        (held == Some(strokes.into())).then_some(())
    })
    .await;
    page.wait_for_state("a picture", "state.complete").await;
}

async fn show_everything(page: &Page) {
    page.run("dispatchEvent(new KeyboardEvent('keydown', { key: '!', code: 'Digit1', shiftKey: true })); 0")
        .await;
}

/// Pans over the whole board, zooms in and out, and pans where strokes are seen closely.
async fn moves(page: &Arc<Page>, extent: &Extent, words: &str) {
    let turns = extent.turns;
    let circle = |turn: u32| {
        let t = f64::from(turn) / 40.0;
        ((30.0 * t.cos(), 24.0 * t.sin()), 0)
    };
    // In and out again: as far as four notches of a usual wheel each way.
    let zoom = |turn: u32| {
        let inwards = turn % 80 < 40;
        ((0.0, if inwards { -10.0 } else { 10.0 }), CONTROL)
    };
    show_all(page, extent.strokes).await;
    for (name, turn_of) in [
        ("pan over everything", &circle as &dyn Fn(u32) -> _),
        ("zoom in and out", &zoom),
    ] {
        measure(page, turns, turn_of, &format!("{words}, {name}")).await;
    }
    // 100 %.
    page.run("dispatchEvent(new KeyboardEvent('keydown', { key: ')', code: 'Digit0', shiftKey: true })); 0")
        .await;
    page.wait_for_state("a picture", "state.complete").await;
    let zoom = page.state("zoom").await;
    let name = format!("{words}, pan at zoom {zoom}");
    measure(page, turns, &circle, &name).await;
}

/// Turns the wheel in time, and says what the engine's frames were like meanwhile.
async fn measure(
    page: &Arc<Page>,
    turns: u32,
    turn_of: &dyn Fn(u32) -> ((f64, f64), i64),
    words: &str,
) {
    page.run("askEngine({ frames: true }, 'frames').then(() => 0)")
        .await;
    let mut taken = JoinSet::new();
    let mut due = tokio::time::interval(TURN_EVERY);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for turn in 0..turns {
        due.tick().await;
        let (by, modifiers) = turn_of(turn);
        // The browser's word that it was taken comes a frame or two later; a hand does not wait for that.
        let page = Arc::clone(page);
        taken.spawn(async move { page.wheel(MIDDLE, by, modifiers).await });
    }
    while let Some(result) = taken.join_next().await {
        result.expect("the browser takes it");
    }
    let noted = page
        .run("askEngine({ frames: false }, 'frames').then((frames) => frames ?? [])")
        .await;
    let noted: Vec<f64> = noted
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_f64)
        .collect();
    let began: Vec<f64> = noted.iter().copied().step_by(2).collect();
    let took: Vec<f64> = noted.iter().copied().skip(1).step_by(2).collect();
    let times: Vec<f64> = began.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(times.len() > 2, "{words}: nothing was drawn");
    let late = times.iter().filter(|time| **time > SMOOTH_MS).count();
    say(&format!(
        "{words}: frame {}; {late} of {} over 33 ms; drawing {}",
        spread(&times),
        times.len(),
        spread(&took)
    ));
}

fn spread(samples: &[f64]) -> String {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let index = sorted.len().saturating_sub(1) * percent / 100;
        sorted.get(index).copied().unwrap_or(f64::NAN)
    };
    format!(
        "p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms",
        at(50),
        at(95),
        at(99)
    )
}
