//! The server that is killed: a process of its own on a data folder of its own, started again on the same ports.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::address::Site;
use crate::own_server::{ADDRESS, binary};

/// How long it may take until it serves, on a machine that is busy with others.
const READY_WAIT: Duration = Duration::from_secs(60);

/// A server.
#[derive(Debug)]
pub(crate) struct Victim {
    folder: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
    output: Option<ChildStdout>,
    started: Instant,
    http_port: u16,
    quic_port: u16,
}

impl Victim {
    /// One that does not run yet.
    pub(crate) fn new(folder: PathBuf, arguments: Vec<String>) -> Self {
        Self {
            folder,
            arguments,
            child: None,
            output: None,
            started: Instant::now(),
            http_port: 0,
            quic_port: 0,
        }
    }

    /// Its data folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it writes on standard error, over all of its starts.
    pub(crate) fn log_file(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    /// Where it serves.
    pub(crate) fn site(&self) -> Site {
        Site::local(self.http_port)
    }

    /// Starts the process; it does not serve yet.
    pub(crate) fn launch(&mut self) -> Result<()> {
        let mut command = Command::new(binary()?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHALKBOARD_") {
                command.env_remove(name);
            }
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        command
            .args(["serve", "--log", "error", "--shards=1", "--room-threads=1"])
            .arg("--data")
            .arg(&self.folder)
            .args(["--port", &self.http_port.to_string()])
            .args(["--quic-port", &self.quic_port.to_string()])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        self.started = Instant::now();
        let mut child = command.spawn().context("the server does not start")?;
        self.output = child.stdout.take();
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it serves; answers how long that took from the start of the process.
    pub(crate) async fn ready(&mut self) -> Result<Duration> {
        let output = self.output.take().context("it was launched")?;
        let mut lines = BufReader::new(output).lines();
        let line = tokio::time::timeout(READY_WAIT, lines.next_line())
            .await
            .context("the server took too long until it served")??;
        let took = self.started.elapsed();
        let Some(line) = line else {
            let said = std::fs::read_to_string(self.log_file()).unwrap_or_default();
            bail!(
                "the server ended instead of serving; it said: {}",
                said.trim()
            );
        };
        let port = line
            .strip_prefix(ADDRESS)
            .and_then(|url| url.trim_end_matches('/').rsplit_once(':'));
        self.http_port = port
            .and_then(|(_, port)| port.parse().ok())
            .with_context(|| format!("no port in {line:?}"))?;
        // Kept open, so that the server can go on writing there.
        self.output = Some(lines.into_inner().into_inner());
        Ok(took)
    }

    /// From now on it is started on this port for QUIC.
    pub(crate) const fn keep_quic_port(&mut self, port: u16) {
        self.quic_port = port;
    }

    /// The process, while it runs.
    pub(crate) fn process(&self) -> Result<Pid> {
        let number = self.child.as_ref().and_then(Child::id);
        number
            .and_then(|number| Pid::from_raw(i32::try_from(number).ok()?))
            .context("the server does not run")
    }

    /// Asks it to stop, without waiting for that.
    pub(crate) fn ask_to_stop(&self) -> Result<()> {
        Ok(kill_process(self.process()?, Signal::TERM)?)
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.ask_to_stop()?;
        if let Some(mut child) = self.child.take() {
            child.wait().await?;
        }
        self.output = None;
        Ok(())
    }

    /// Ends it at once, wherever it is. It may have ended by itself.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            // Has no effect on one that has ended.
            let _ = child.start_kill();
            child.wait().await?;
        }
        self.output = None;
        Ok(())
    }
}
