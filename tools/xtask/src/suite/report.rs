//! What the tests printed, understood: which binary passed how many, what failed, how long it took.
//!
//! It reads the lines of `cargo test` one by one and knows nothing of processes. Two formats are understood: libtest's
//! (`test result: ok. 5 passed; ...`) and criterion's test mode (`Testing NAME`, then `Success`).

use std::fmt::Write as _;
use std::time::Duration;

use crate::step::clock;

/// Names of failed tests that are repeated in the summary; more than anybody reads at once.
const FAILED_NAMES_MAX: usize = 100;

/// The tests of one or more runs of `cargo test`.
#[derive(Default)]
pub(crate) struct Report {
    binaries: Vec<Binary>,
    /// The binary that is running, and when it started within its run.
    running: Option<(Binary, Duration)>,
    failed_names: Vec<String>,
    /// Failed tests of the runs that are over.
    failed_earlier: u32,
    /// A run of cargo failed in a way that no binary accounts for.
    cargo_failed: bool,
}

/// A test binary, or the doctests of a library.
#[derive(Debug, Default, PartialEq, Eq)]
struct Binary {
    name: String,
    passed: u32,
    failed: u32,
    ignored: u32,
    /// It said how its tests went.
    concluded: bool,
    time: Duration,
}

impl Report {
    /// Takes a line of output, `elapsed` after its run of cargo began.
    pub(crate) fn read_line(&mut self, line: &str, elapsed: Duration) {
        let line = without_colors(line);
        if let Some(name) = started_binary(&line) {
            self.end_binary(elapsed);
            self.running = Some((
                Binary {
                    name,
                    ..Binary::default()
                },
                elapsed,
            ));
            return;
        }
        let line = line.trim();
        let Some((binary, _)) = &mut self.running else {
            return;
        };
        if let Some([passed, failed, ignored]) = result(line) {
            // Doctests conclude more than once: those that were merged into one program, and the others.
            binary.passed += passed;
            binary.failed += failed;
            binary.ignored += ignored;
            binary.concluded = true;
        } else if line == "Success" {
            binary.passed += 1;
            binary.concluded = true;
        } else if ["test", "bench", "doctest"]
            .iter()
            .any(|kind| is_failure_of(kind, line))
        {
            // A crash has no result; neither has a benchmark that panics.
            binary.failed = binary.failed.max(1);
            binary.concluded = true;
        } else if let Some(name) = failed_test(line)
            && self.failed_names.len() < FAILED_NAMES_MAX
        {
            self.failed_names.push(format!("{} {name}", binary.name));
        }
    }

    /// A run of cargo is over.
    pub(crate) fn end_run(&mut self, success: bool, elapsed: Duration) {
        self.end_binary(elapsed);
        let failed = self.total(|binary| binary.failed);
        if !success && failed == self.failed_earlier {
            self.cargo_failed = true;
        }
        self.failed_earlier = failed;
    }

    fn end_binary(&mut self, elapsed: Duration) {
        let Some((mut binary, started)) = self.running.take() else {
            return;
        };
        if !binary.concluded {
            // It ended without a word: that is no success.
            binary.failed = 1;
        }
        binary.time = elapsed.saturating_sub(started);
        self.binaries.push(binary);
    }

    fn total(&self, of: fn(&Binary) -> u32) -> u32 {
        self.binaries.iter().map(of).sum()
    }

    /// Whether at least one test ran and none failed.
    pub(crate) fn is_good(&self) -> bool {
        self.total(|binary| binary.failed) == 0
            && self.total(|binary| binary.passed) > 0
            && !self.cargo_failed
    }

    /// A line for each binary that has tests, what failed, and what else went wrong.
    pub(crate) fn summary(&self) -> String {
        let shown: Vec<&Binary> = self
            .binaries
            .iter()
            .filter(|binary| binary.ran() > 0)
            .collect();
        let width = shown
            .iter()
            .map(|binary| binary.name.chars().count())
            .max()
            .unwrap_or(0);
        let mut text = String::from("\nTests by binary\n");
        for binary in &shown {
            let Binary {
                name,
                passed,
                failed,
                ignored,
                time,
                ..
            } = binary;
            let _ = write!(
                text,
                "{} {name:width$} {passed:5} passed {failed:3} failed",
                clock(*time)
            );
            if *ignored > 0 {
                let _ = write!(text, " {ignored:3} ignored");
            }
            text.push('\n');
        }
        let time = self.binaries.iter().map(|binary| binary.time).sum();
        let _ = writeln!(
            text,
            "{} total, {} binaries without a test that ran",
            clock(time),
            self.binaries.len() - shown.len()
        );
        if !self.failed_names.is_empty() {
            let _ = writeln!(text, "\nFailed tests\n  {}", self.failed_names.join("\n  "));
        }
        if self.cargo_failed {
            text.push_str("\ncargo failed before or beside the tests: see above\n");
        }
        if self.total(Binary::ran) == 0 {
            text.push_str(
                "\nNo test ran, which counts as a failure: does the filter match anything?\n",
            );
        }
        text
    }

    /// `N passed, N failed`.
    pub(crate) fn closing_line(&self) -> String {
        format!(
            "{} passed, {} failed",
            self.total(|binary| binary.passed),
            self.total(|binary| binary.failed)
        )
    }
}

impl Binary {
    fn ran(&self) -> u32 {
        self.passed + self.failed
    }
}

/// The name of a binary that cargo says it starts: `     Running tests/main.rs (target/debug/deps/promises-0123abcd)`.
fn started_binary(line: &str) -> Option<String> {
    // Cargo right-aligns its verbs in twelve columns; a test that prints such a word hardly does.
    if let Some(library) = line.strip_prefix("   Doc-tests ") {
        return Some(format!("{library} (documentation)"));
    }
    let (source, program) = line
        .strip_prefix("     Running ")?
        .strip_suffix(')')?
        .split_once(" (")?;
    let program = program.rsplit(['/', '\\']).next()?.trim_end_matches(".exe");
    let name = program.rsplit_once('-').map_or(program, |(name, _)| name);
    Some(format!(
        "{name} ({})",
        source.trim_start_matches("unittests ")
    ))
}

/// Passed, failed and ignored of `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; ...`.
fn result(line: &str) -> Option<[u32; 3]> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |word: &str| {
        let count = counts
            .split("; ")
            .find_map(|part| part.strip_suffix(word))?;
        count.trim().parse().ok()
    };
    Some([count("passed")?, count("failed")?, count("ignored")?])
}

fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

fn is_failure_of(kind: &str, line: &str) -> bool {
    line.strip_prefix("error: ").is_some_and(|rest| {
        rest.strip_prefix(kind)
            .is_some_and(|rest| rest.starts_with(" failed, to rerun"))
    })
}

/// Takes terminal colours (`ESC [ ... letter`) out.
fn without_colors(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, sequence)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = sequence
            .split_once(|end: char| end.is_ascii_alphabetic())
            .map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str, success: bool) -> Report {
        let mut report = Report::default();
        add(&mut report, output, success);
        report
    }

    /// Each line comes a second after the one before.
    fn add(report: &mut Report, output: &str, success: bool) {
        let mut elapsed = Duration::ZERO;
        for line in output.lines() {
            report.read_line(line, elapsed);
            elapsed += Duration::from_secs(1);
        }
        report.end_run(success, elapsed);
    }

    const GOOD: &str = "   Compiling x v0.1.0
\x1b[1m\x1b[92m     Running\x1b[0m unittests src/lib.rs (/t/debug/deps/chalkboard_shared-17be3ea5c2cfeed1)

running 3 tests
test ids::round_trip ... ok
test result: \x1b[32mok\x1b[0m. 2 passed; 0 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.00s

     Running unittests src/main.rs (/t/debug/deps/chalkboard-00ff00ff00ff00ff)
test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
   Doc-tests chalkboard_shared
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn results_are_counted_by_binary() {
        let report = read(GOOD, true);
        assert!(report.is_good());
        assert_eq!(report.closing_line(), "5 passed, 0 failed");
        let names: Vec<&str> = report
            .binaries
            .iter()
            .map(|binary| binary.name.as_str())
            .collect();
        let expected = [
            "chalkboard_shared (src/lib.rs)",
            "chalkboard (src/main.rs)",
            "chalkboard_shared (documentation)",
        ];
        assert_eq!(names, expected);
        assert_eq!(report.binaries[0].time, Duration::from_secs(6));
        assert_eq!(report.binaries[2].passed, 3);
        let summary = report.summary();
        assert!(
            summary.contains("    2 passed   0 failed   1 ignored"),
            "{summary}"
        );
        assert!(
            !summary.contains("chalkboard (src/main.rs)"),
            "it has no tests: {summary}"
        );
    }

    #[test]
    fn failures_are_counted_and_named() {
        let report = read(
            "     Running tests/main.rs (target/debug/deps/promises-1)
test drawing::two_draw ... FAILED
test result: FAILED. 7 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
error: test failed, to rerun pass `-p chalkboard-tests --test promises`
error: 1 target failed:",
            false,
        );
        assert!(!report.is_good());
        assert_eq!(report.closing_line(), "7 passed, 1 failed");
        assert!(
            report
                .summary()
                .contains("promises (tests/main.rs) drawing::two_draw"),
            "{}",
            report.summary()
        );
    }

    #[test]
    fn a_binary_that_crashes_is_a_failure() {
        let crash = "     Running tests/main.rs (target/debug/deps/promises-1)
running 3 tests
error: test failed, to rerun pass `-p chalkboard-tests --test promises`";
        assert_eq!(read(crash, false).closing_line(), "0 passed, 1 failed");
        let silent = "     Running tests/main.rs (target/debug/deps/promises-1)\nrunning 3 tests";
        assert_eq!(read(silent, true).closing_line(), "0 passed, 1 failed");
    }

    #[test]
    fn benchmarks_count_each_success() {
        let benches = "     Running benches/tick.rs (target/debug/deps/tick-1)
Testing tick/idle
Success
Testing tick/100 users
Success
     Running benches/codec.rs (target/debug/deps/codec-1)
Testing codec/decode
error: bench failed, to rerun pass `-p chalkboard-benches --bench codec`";
        assert_eq!(read(benches, false).closing_line(), "2 passed, 1 failed");
    }

    #[test]
    fn no_test_at_all_is_no_success() {
        let none = "     Running tests/main.rs (target/debug/deps/promises-1)
test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.00s";
        let report = read(none, true);
        assert!(!report.is_good());
        assert_eq!(report.closing_line(), "0 passed, 0 failed");
        assert!(report.summary().contains("No test ran"));
    }

    #[test]
    fn a_failure_of_cargo_itself_is_no_success() {
        let mut report = read(GOOD, true);
        add(&mut report, "error: could not compile `x`", false);
        assert_eq!(report.closing_line(), "5 passed, 0 failed");
        assert!(!report.is_good());
        assert!(report.summary().contains("cargo failed"));
    }
}
