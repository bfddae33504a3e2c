//! A load in a process of its own, commanded over the bench interface as any harness would.

use std::io::Write;
use std::process::{Child, ChildStdin, Command as Program, Stdio};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::clock::Clock;
use crate::counts::Report;
use crate::join::JoinRun;
use crate::own_server::{read_lines, spawn_on};
use crate::protocol::{Answer, Command};
use crate::spec::Spec;

/// How long an answer may take: thousands connect.
const ANSWER_WAIT: Duration = Duration::from_secs(300);

/// A running load; ended when dropped.
#[derive(Debug)]
pub(crate) struct LoadProcess {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl LoadProcess {
    /// Starts this program again as a load on these cores.
    pub(crate) fn start(spec: &Spec, cores: &[usize]) -> Result<Self> {
        let mut program = Program::new(std::env::current_exe()?);
        program
            .arg("bench")
            .env("BENCH_T0", Clock::start().zero_ns().to_string())
            .env("BENCH_SPEC", serde_json::to_string(spec)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = spawn_on(cores, &mut program).context("the load does not start")?;
        let input = child.stdin.take().context("standard input is piped")?;
        let lines = read_lines(child.stdout.take().context("standard output is piped")?);
        let load = Self {
            child,
            input,
            lines,
        };
        match load.answer()? {
            Answer::Hello => Ok(load),
            other => bail!("the load began with {other:?}"),
        }
    }

    /// Connects all clients.
    pub(crate) fn connect(&mut self) -> Result<usize> {
        match self.ask(Command::Connect)? {
            Answer::Connected { clients } => Ok(clients),
            other => bail!("the load answered {other:?}"),
        }
    }

    /// Begins to send.
    pub(crate) fn go(&mut self) -> Result<()> {
        self.say(Command::Go)
    }

    /// Zeroes its counts.
    pub(crate) fn mark(&mut self) -> Result<()> {
        match self.ask(Command::Mark)? {
            Answer::Marked => Ok(()),
            other => bail!("the load answered {other:?}"),
        }
    }

    /// What it has counted.
    pub(crate) fn report(&mut self) -> Result<Report> {
        match self.ask(Command::Report)? {
            Answer::Report(report) => Ok(*report),
            other => bail!("the load answered {other:?}"),
        }
    }

    /// Times joins, of the whole board or of a screen.
    pub(crate) fn join(&mut self, is_whole_board: bool) -> Result<Vec<JoinRun>> {
        let command = if is_whole_board {
            Command::Join
        } else {
            Command::View
        };
        match self.ask(command)? {
            Answer::Joined { runs } | Answer::Viewed { runs } => Ok(runs),
            other => bail!("the load answered {other:?}"),
        }
    }

    fn ask(&mut self, command: Command) -> Result<Answer> {
        self.say(command)?;
        self.answer()
    }

    fn say(&mut self, command: Command) -> Result<()> {
        let line = serde_json::to_string(&command)?;
        writeln!(self.input, "{line}")
            .and_then(|()| self.input.flush())
            .context("the load has ended")
    }

    fn answer(&self) -> Result<Answer> {
        let line = self
            .lines
            .recv_timeout(ANSWER_WAIT)
            .context("the load ended, or does not answer")?;
        match serde_json::from_str(&line)? {
            Answer::Failed { reason } => bail!("the load failed: {reason}"),
            answer => Ok(answer),
        }
    }
}

impl Drop for LoadProcess {
    fn drop(&mut self) {
        // It has nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
