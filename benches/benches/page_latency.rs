//! How long it takes from one person's hand to another person's screen, and from an address to the first stroke, in real
//! browsers on the real server.
//!
//! - Hand to screen: time of the pointer event in page A (its own `timeStamp`) to the end of the frame in which page B's
//!   engine drew that ink. The screen shows it at its next refresh, which a browser without a window does not have.
//! - Cold load: a browser with a fresh profile opens `/`; counted from the start of the navigation.
//!
//! ```text
//! cargo xtask web && cargo build --release -p chalkboard-server
//! cargo bench -p chalkboard-benches --bench page_latency
//! ```
//!
//! Without `--bench` (as `cargo test` calls it) a few samples are taken, as a check that it works.

use std::time::Duration;

use chalkboard_tests::browser::{Browser, Page, Screen};
use chalkboard_tests::server_process::ServerProcess;
use chalkboard_tests::waiting::wait_until;
use chromiumoxide::cdp::browser_protocol::input::DispatchMouseEventType;

/// How much is measured.
struct Extent {
    /// Moves of the pointer.
    moves: usize,
    /// Moves before those, that are not counted: caches and compilers warm up.
    warm_up: usize,
    /// Browsers with fresh profiles.
    cold_loads: usize,
}

const FULL: Extent = Extent {
    moves: 400,
    warm_up: 60,
    cold_loads: 5,
};
const SMALL: Extent = Extent {
    moves: 10,
    warm_up: 2,
    cold_loads: 1,
};

/// Moves of one stroke.
const MOVES_PER_STROKE: usize = 40;

/// Time between two moves: 20 to 30 a second, spread over the frames of both pages and the ticks of the server.
fn pause(n: usize) -> Duration {
    Duration::from_millis(33 + (n as u64 * 7) % 17)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let extent = if std::env::args().any(|argument| argument == "--bench") {
        FULL
    } else {
        SMALL
    };
    let server = ServerProcess::start().await;
    let page = server.get("/", &[]).await.expect("an answer").text();
    if !page.contains("/assets/") {
        say("the server was built without its page: `cargo xtask web` first, then build it again");
        return;
    }
    part("sizes", sizes(&server, &page)).await;
    part("hand_to_screen", hand_to_screen(&server, &extent)).await;
    part("cold_loads", cold_loads(&server, &extent)).await;
}

/// Runs a part and says so in the words of criterion's test mode, which whoever counts tests understands.
async fn part(name: &str, run: impl Future<Output = ()>) {
    say(&format!("Testing page_latency/{name}"));
    run.await;
    say("Success");
}

#[expect(clippy::print_stdout, reason = "figures are what a benchmark is for")]
fn say(line: &str) {
    println!("{line}");
}

fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let index = (last as f64 * percent / 100.0).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

fn summary(name: &str, mut samples: Vec<f64>) {
    samples.sort_by(f64::total_cmp);
    let at = |percent| percentile(&samples, percent);
    say(&format!(
        "{name}: min {:.1} ms, p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, max {:.1} ms ({} samples)",
        at(0.0),
        at(50.0),
        at(95.0),
        at(99.0),
        at(100.0),
        samples.len()
    ));
}

/// Bytes of everything that a page loads, as sent to browsers that take brotli.
async fn sizes(server: &ServerProcess, page: &str) {
    let fields = [("Accept-Encoding", "br")];
    let mut files = vec!["/".to_owned()];
    let mut total = 0;
    let mut n = 0;
    files.extend(assets(page));
    while let Some(file) = files.get(n).cloned() {
        let plain = server.get(&file, &[]).await.expect("an answer");
        let bytes = server
            .get(&file, &fields)
            .await
            .expect("an answer")
            .body
            .len();
        total += bytes;
        if file.ends_with(".wasm") {
            say(&format!("{file}: {:.1} KB brotli", bytes as f64 / 1000.0));
        }
        if file.ends_with(".js") {
            for asset in assets(&plain.text()) {
                if !files.contains(&asset) {
                    files.push(asset);
                }
            }
        }
        n += 1;
    }
    say(&format!(
        "page as a whole: {:.1} KB brotli in {n} files",
        total as f64 / 1000.0
    ));
}

fn assets(text: &str) -> Vec<String> {
    let mut found: Vec<String> = text
        .split(['"', '\''])
        .filter(|part| part.starts_with("/assets/") && !part.contains(char::is_whitespace))
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

async fn loaded(page: &Page) {
    page.wait_for_state("a board that is loaded", "state.loaded")
        .await;
    page.wait_for_data("connection", "online-webtransport")
        .await;
}

async fn hand_to_screen(server: &ServerProcess, extent: &Extent) {
    let links = server.create_board().await;
    let browser = Browser::launch().await;
    let address = server.page(links.id, links.edit);
    let ann = browser.open(&address, Screen::DESKTOP).await;
    let bob = browser.open(&address, Screen::DESKTOP).await;
    loaded(&ann).await;
    loaded(&bob).await;
    ann.run(
        "window.moved = 0; \
         addEventListener('pointerrawupdate', (event) => { \
             if (event.buttons) window.moved = performance.timeOrigin + event.timeStamp; \
         }, { capture: true }); 0",
    )
    .await;
    bob.run(
        "window.shown = []; \
         addEventListener('probed', ({ detail }) => { if (detail.ink) window.shown.push(detail.ink.at); }); \
         engineUnderTest.postMessage({ watch: true }); 0",
    )
    .await;
    let mut samples = Vec::new();
    for n in 0..extent.warm_up + extent.moves {
        let step = n % MOVES_PER_STROKE;
        let line = n / MOVES_PER_STROKE;
        let place = (
            150.0 + 22.0 * step as f64,
            150.0 + 30.0 * (line % 16) as f64 + (step % 3) as f64 * 4.0,
        );
        if step == 0 {
            let start = (place.0 - 20.0, place.1);
            ann.mouse(DispatchMouseEventType::MouseMoved, start, false)
                .await;
            ann.mouse(DispatchMouseEventType::MousePressed, start, true)
                .await;
            tokio::time::sleep(pause(n)).await;
            bob.run("shown.length = 0").await;
        }
        ann.mouse(DispatchMouseEventType::MouseMoved, place, true)
            .await;
        let moved = wait_until("the pointer event", async || {
            ann.run("moved").await.as_f64().filter(|moved| *moved > 0.0)
        })
        .await;
        let shown = wait_until("ink on the other page", async || {
            bob.run(&format!("shown.find((at) => at > {moved}) ?? null"))
                .await
                .as_f64()
        })
        .await;
        ann.run("moved = 0").await;
        if n >= extent.warm_up {
            samples.push(shown - moved);
        }
        if step + 1 == MOVES_PER_STROKE {
            ann.mouse(DispatchMouseEventType::MouseReleased, place, false)
                .await;
        }
        tokio::time::sleep(pause(n)).await;
        bob.run("shown.length = 0").await;
    }
    assert_eq!(samples.len(), extent.moves);
    summary("hand in page A to ink in page B", samples);
    browser.close().await;
}

async fn cold_loads(server: &ServerProcess, extent: &Extent) {
    let mut interactive = Vec::new();
    let mut online = Vec::new();
    let mut inked = Vec::new();
    for _ in 0..extent.cold_loads {
        let browser = Browser::launch().await;
        let page = browser.open(server.url(), Screen::DESKTOP).await;
        page.wait_for(
            "the page's start",
            "performance.getEntriesByName('chalkboard-engine').length",
        )
        .await;
        page.draw(&[(300.0, 300.0), (340.0, 310.0), (400.0, 330.0)])
            .await;
        let drawn = "state.strokes >= 1 && state.complete";
        page.wait_for_state("the first stroke", drawn).await;
        inked.extend(page.run("performance.now()").await.as_f64());
        page.wait_for_data("connection", "online-webtransport")
            .await;
        for (mark, times) in [
            ("chalkboard-engine", &mut interactive),
            ("chalkboard-online", &mut online),
        ] {
            let time = page
                .run(&format!(
                    "performance.getEntriesByName('{mark}')[0].startTime"
                ))
                .await;
            times.extend(time.as_f64());
        }
        page.wait_for_data("saved", "saved").await;
        browser.close().await;
    }
    assert_eq!(inked.len(), extent.cold_loads);
    summary("cold load to a board that takes strokes", interactive);
    summary("cold load to connected", online);
    summary("cold load to the first stroke drawn", inked);
}
