//! `chalkboard-swarm bench`: a load that a harness commands over standard input and output, a line of JSON each.

use std::io::{BufRead, Write};

use anyhow::{Context as _, Result};
use chalkboard_shared::workload::canvas;
use serde::{Deserialize, Serialize};

use crate::address::{BENCH, Site};
use crate::clock::Clock;
use crate::counts::Report;
use crate::join::{JoinRun, join_often};
use crate::role::middle_screen;
use crate::spec::Spec;
use crate::swarm::{Swarm, make_rooms};

/// Longest command that is read.
const COMMAND_BYTES_MAX: usize = 4096;

/// What harnesses say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "lowercase")]
pub(crate) enum Command {
    Connect,
    Go,
    Mark,
    Report,
    Join,
    /// An addition of ours: joins with a screen in the middle of the canvas as the view.
    View,
    Quit,
}

/// What they are answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ev", rename_all = "lowercase")]
pub(crate) enum Answer {
    Hello,
    Connected {
        clients: usize,
    },
    Marked,
    Report(Box<Report>),
    Joined {
        runs: Vec<JoinRun>,
    },
    Viewed {
        runs: Vec<JoinRun>,
    },
    /// A command could not be done; the process ends.
    Failed {
        reason: String,
    },
}

/// What is commanded.
pub(crate) trait Load {
    fn connect(&mut self) -> Result<usize>;
    fn go(&mut self) -> Result<()>;
    fn mark(&mut self) -> Result<()>;
    fn report(&mut self) -> Result<Report>;
    fn join(&mut self, is_whole_board: bool) -> Result<Vec<JoinRun>>;
}

/// Runs `bench`, by what its environment says.
pub(crate) fn run(input: impl BufRead, output: impl Write) -> Result<()> {
    let clock = match std::env::var("BENCH_T0") {
        Ok(text) => Clock::from_zero(
            text.parse()
                .context("BENCH_T0 is no number of nanoseconds")?,
        ),
        Err(_) => Clock::start(),
    };
    let text = std::env::var("BENCH_SPEC").context("BENCH_SPEC is not set")?;
    let load = Commanded {
        spec: Spec::parse(&text)?,
        clock,
        swarm: None,
    };
    serve(input, output, load)
}

/// Answers commands until the last.
pub(crate) fn serve(
    mut input: impl BufRead,
    mut output: impl Write,
    mut load: impl Load,
) -> Result<()> {
    let mut say = |answer: &Answer| -> Result<()> {
        let line = serde_json::to_string(answer)?;
        writeln!(output, "{line}").and_then(|()| output.flush())?;
        Ok(())
    };
    say(&Answer::Hello)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = std::io::Read::take(&mut input, COMMAND_BYTES_MAX as u64);
        if limited.read_until(b'\n', &mut line)? == 0 {
            // The harness has gone.
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        if text.trim().is_empty() {
            continue;
        }
        let command = serde_json::from_str(text.trim())
            .with_context(|| format!("not a command: {}", text.trim()));
        match command.and_then(|command| answer(command, &mut load)) {
            Ok(Some(answer)) => say(&answer)?,
            Ok(None) if is_quit(&text) => return Ok(()),
            Ok(None) => {}
            Err(error) => {
                say(&Answer::Failed {
                    reason: format!("{error:#}"),
                })?;
                return Err(error);
            }
        }
    }
}

fn is_quit(text: &str) -> bool {
    serde_json::from_str(text.trim()).ok() == Some(Command::Quit)
}

fn answer(command: Command, load: &mut impl Load) -> Result<Option<Answer>> {
    Ok(match command {
        Command::Connect => Some(Answer::Connected {
            clients: load.connect()?,
        }),
        Command::Go => {
            load.go()?;
            None
        }
        Command::Mark => {
            load.mark()?;
            Some(Answer::Marked)
        }
        Command::Report => Some(Answer::Report(Box::new(load.report()?))),
        Command::Join => Some(Answer::Joined {
            runs: load.join(true)?,
        }),
        Command::View => Some(Answer::Viewed {
            runs: load.join(false)?,
        }),
        Command::Quit => None,
    })
}

/// The real load.
struct Commanded {
    spec: Spec,
    clock: Clock,
    swarm: Option<Swarm>,
}

impl Commanded {
    fn swarm(&self) -> Result<&Swarm> {
        self.swarm.as_ref().context("connect first")
    }
}

impl Load for Commanded {
    fn connect(&mut self) -> Result<usize> {
        let site = Site::local(self.spec.port);
        let rooms = make_rooms(&site, self.spec.rooms)?;
        let swarm = self
            .swarm
            .insert(Swarm::start(&self.spec, self.clock, &site, &rooms)?);
        swarm.connect()
    }

    fn go(&mut self) -> Result<()> {
        self.swarm()?.go(self.clock)
    }

    fn mark(&mut self) -> Result<()> {
        self.swarm()?.mark()
    }

    fn report(&mut self) -> Result<Report> {
        self.swarm()?.report()
    }

    fn join(&mut self, is_whole_board: bool) -> Result<Vec<JoinRun>> {
        let site = Site::local(self.spec.port);
        let (view, expect) = if is_whole_board {
            (canvas(), self.spec.expect)
        } else {
            (middle_screen(), 0)
        };
        let mut runs = join_often(&site, BENCH, view, self.spec.times, expect)?;
        if is_whole_board {
            // Other load harnesses read these; they know three members.
            for run in &mut runs {
                run.shown = None;
            }
        }
        Ok(runs)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[derive(Default)]
    struct Fake {
        went: u32,
        fails: bool,
    }

    impl Load for Fake {
        fn connect(&mut self) -> Result<usize> {
            anyhow::ensure!(!self.fails, "nobody there");
            Ok(7)
        }

        fn go(&mut self) -> Result<()> {
            self.went += 1;
            Ok(())
        }

        fn mark(&mut self) -> Result<()> {
            Ok(())
        }

        fn report(&mut self) -> Result<Report> {
            Ok(Report {
                sent_cursor: self.went.into(),
                lat_ms: vec![1.5],
                ..Report::default()
            })
        }

        fn join(&mut self, is_whole_board: bool) -> Result<Vec<JoinRun>> {
            let strokes = if is_whole_board { 50 } else { 5 };
            Ok(vec![JoinRun {
                shown: None,
                ms: 2.5,
                bytes: 1000,
                strokes,
            }])
        }
    }

    fn talk(input: &str, load: Fake) -> (Vec<Value>, Result<()>) {
        let mut output = Vec::new();
        let ended = serve(input.as_bytes(), &mut output, load);
        let lines = String::from_utf8_lossy(&output).into_owned();
        let lines = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"));
        (lines.collect(), ended)
    }

    #[test]
    fn each_command_has_its_answer() {
        let (said, ended) = talk(
            "{\"cmd\":\"connect\"}\n{\"cmd\":\"go\"}\n\n{\"cmd\":\"mark\"}\n{\"cmd\":\"report\"}\n{\"cmd\":\"join\"}\n{\"cmd\":\"quit\"}\n{\"cmd\":\"mark\"}\n",
            Fake::default(),
        );
        ended.expect("it ends well");
        assert_eq!(said[0], json!({"ev": "hello"}));
        assert_eq!(said[1], json!({"ev": "connected", "clients": 7}));
        assert_eq!(said[2], json!({"ev": "marked"}));
        assert_eq!(said[3]["ev"], "report");
        assert_eq!(said[3]["sent_cursor"], 1);
        assert_eq!(said[3]["lat_ms"], json!([1.5]));
        for key in [
            "sent_cursor",
            "sent_stroke",
            "got_cursor",
            "extrapolated_cursor",
            "got_stroke",
            "observer_bytes",
            "thin_bytes",
            "lat_ms",
            "lat_cursor_ms",
            "lat_stroke_ms",
            "lat_max_ms",
            "send_lag_p99_ms",
            "loop_util",
            "dead",
        ] {
            assert!(!said[3][key].is_null(), "{key}");
        }
        let run = json!({"ms": 2.5, "bytes": 1000, "strokes": 50});
        assert_eq!(said[4], json!({"ev": "joined", "runs": [run]}));
        assert_eq!(said.len(), 5, "nothing is answered after quit");
    }

    #[test]
    fn a_harness_that_goes_away_ends_it() {
        let (said, ended) = talk("{\"cmd\":\"view\"}\n", Fake::default());
        ended.expect("it ends well");
        assert_eq!(said[1]["ev"], "viewed");
    }

    #[test]
    fn what_fails_is_said() {
        for input in [
            "{\"cmd\":\"dance\"}\n",
            "connect\n",
            "{\"cmd\":\"connect\"}\n",
        ] {
            let load = Fake {
                fails: true,
                ..Fake::default()
            };
            let (said, ended) = talk(input, load);
            assert!(ended.is_err(), "{input}");
            assert_eq!(said[1]["ev"], "failed", "{input}");
        }
    }
}
