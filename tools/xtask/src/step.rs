//! Progress: a line for each step with the time it took.
//!
//! On a terminal the line of the running step is rewritten in place; elsewhere a step shows when it is over. A step
//! that is dropped without [`Step::done`] failed, and says so.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Longest detail shown on the rewritten line: a line that wraps cannot be rewritten.
const DETAIL_CHARS_MAX: usize = 48;

/// One thing that takes time.
pub(crate) struct Step {
    name: &'static str,
    started: Instant,
    /// The line is rewritten in place.
    live: bool,
    finished: bool,
}

impl Step {
    /// Starts a step whose own output is held back.
    pub(crate) fn start(name: &'static str) -> Self {
        let live = std::io::stdout().is_terminal();
        let step = Self {
            name,
            started: Instant::now(),
            live,
            finished: false,
        };
        step.progress("");
        step
    }

    /// Starts a step whose output streams below a heading.
    pub(crate) fn start_streaming(name: &'static str) -> Self {
        say(&format!("\n=== {name}"));
        Self {
            name,
            started: Instant::now(),
            live: false,
            finished: false,
        }
    }

    /// Shows what the step is at, on terminals.
    pub(crate) fn progress(&self, detail: &str) {
        if self.live {
            let detail: String = detail.chars().take(DETAIL_CHARS_MAX).collect();
            print(&format!(
                "\r\x1b[K{} {}: {detail}",
                clock(self.started.elapsed()),
                self.name
            ));
        }
    }

    /// Ends the step well, with a word on what came out of it.
    pub(crate) fn done(mut self, detail: &str) -> Taken {
        self.finished = true;
        let taken = Taken {
            name: self.name,
            time: self.started.elapsed(),
        };
        let start = if self.live { "\r\x1b[K" } else { "" };
        say(&format!(
            "{start}{} {}: {detail}",
            clock(taken.time),
            self.name
        ));
        taken
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.finished {
            let start = if self.live { "\r\x1b[K" } else { "" };
            say(&format!(
                "{start}{} {}: FAILED",
                clock(self.started.elapsed()),
                self.name
            ));
        }
    }
}

/// A step that is over, and how long it took.
pub(crate) struct Taken {
    name: &'static str,
    time: Duration,
}

/// A table of steps and their sum.
pub(crate) fn table(steps: &[Taken]) -> String {
    let mut table = String::from("\nTime by step\n");
    for step in steps {
        let _ = writeln!(table, "{} {}", clock(step.time), step.name);
    }
    let _ = write!(
        table,
        "{} total",
        clock(steps.iter().map(|step| step.time).sum())
    );
    table
}

/// A duration as `[   12.3 s]` or `[ 3 m 04 s]`: always as wide.
pub(crate) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("[{:7.1} s]", time.as_secs_f64())
    } else {
        format!("[{:2} m {:02} s]", seconds / 60, seconds % 60)
    }
}

/// Prints a line.
pub(crate) fn say(line: &str) {
    print(&format!("{line}\n"));
}

fn print(text: &str) {
    // Nobody is left to be told when standard output is closed.
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_line_up() {
        let times = [0, 900, 59_999, 60_000, 184_000, 3_599_000]
            .map(Duration::from_millis)
            .map(clock);
        assert_eq!(
            times,
            [
                "[    0.0 s]",
                "[    0.9 s]",
                "[   60.0 s]",
                "[ 1 m 00 s]",
                "[ 3 m 04 s]",
                "[59 m 59 s]"
            ]
        );
    }
}
