//! What it costs the server to tell everybody: CPU of its sending threads per datagram, as a ratio to the floor measured
//! in the same run. It is the figure `fan-out` of `chalkboard-swarm`, which has the clients for it, on cores of their own.
//!
//! ```text
//! cargo build --release -p chalkboard-server -p chalkboard-swarm
//! cargo bench -p chalkboard-benches --bench fan_out
//! ```
//!
//! Without `--bench` (as `cargo test` calls it) a few sessions are served for a moment, as a check that it works.

use std::process::Command;

use chalkboard_tests::server_process::{binary, swarm_binary};

fn main() {
    say("Testing fan_out\n");
    let mut figures = Command::new(swarm_binary());
    figures
        .args(["figures", "fan-out"])
        .env("CHALKBOARD_BIN", binary());
    if !std::env::args().any(|argument| argument == "--bench") {
        figures.args(["--fan-out=4:2", "--seconds=1", "--warm-up=0.5"]);
    }
    let output = figures.output().expect("the figure is measured");
    let table = String::from_utf8_lossy(&output.stdout);
    say(&table);
    assert!(output.status.success(), "it ended by {}", output.status);
    assert!(table.contains("us over"), "a row that was measured");
    say("Success\n");
}

#[expect(clippy::print_stdout, reason = "figures are what a benchmark is for")]
fn say(text: &str) {
    print!("{text}");
}
