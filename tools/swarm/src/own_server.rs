//! A server of our own, started as `chalkboard serve --bench`, and what the system tells of its process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Names the server's binary, where it is not the one beside this program.
const BINARY_VARIABLE: &str = "CHALKBOARD_BIN";
/// How long a server may take until it serves: a million strokes are made and loaded.
const READY_WAIT: Duration = Duration::from_secs(120);
/// How long it may take to stop.
const STOP_WAIT: Duration = Duration::from_secs(25);
/// Lines of its standard output that wait to be read; it writes three.
const LINES_MAX: usize = 16;
/// What the line with its address begins with.
pub(crate) const ADDRESS: &str = "Chalkboard is ready: ";

/// How to start it.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServerOptions {
    /// Strokes in the room `bench`.
    pub(crate) strokes: u32,
    /// Canvases that they are spread over; 0 is one.
    pub(crate) canvases: u32,
    /// Where it keeps boards; in memory if `None`.
    pub(crate) folder: Option<PathBuf>,
    /// Cores that it may use; all if empty.
    pub(crate) cores: Vec<usize>,
    /// Further arguments of `chalkboard serve`.
    pub(crate) arguments: Vec<String>,
}

/// A running server; stopped when dropped.
#[derive(Debug)]
pub(crate) struct OwnServer {
    child: Child,
    port: u16,
    /// The line that says how it is set up.
    pub(crate) setup: String,
}

/// The server's binary.
pub(crate) fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(BINARY_VARIABLE).filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    let own = std::env::current_exe().context("this program does not know its own path")?;
    let name = format!("chalkboard{}", std::env::consts::EXE_SUFFIX);
    let path = own.parent().unwrap_or(Path::new(".")).join(name);
    ensure!(
        path.is_file(),
        "there is no server at {}; build it (cargo build --release -p chalkboard-server), or name it by {BINARY_VARIABLE}",
        path.display()
    );
    Ok(path)
}

/// Has this thread run on these cores alone; on all for none.
pub(crate) fn stay_on(cores: &[usize]) -> std::io::Result<()> {
    if cores.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// Starts a program on these cores alone; on all for none.
pub(crate) fn spawn_on(cores: &[usize], command: &mut Command) -> Result<Child> {
    // A child inherits the affinity of the thread that starts it, so a thread of its own does.
    std::thread::scope(|scope| {
        let spawner = scope.spawn(|| {
            stay_on(cores)?;
            command.spawn()
        });
        match spawner.join() {
            Ok(child) => Ok(child?),
            Err(_) => bail!("a program could not be started on cores {cores:?}"),
        }
    })
}

impl OwnServer {
    /// Starts it and waits until it serves.
    pub(crate) fn start(options: &ServerOptions) -> Result<Self> {
        let mut command = Command::new(binary()?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHALKBOARD_") {
                command.env_remove(name);
            }
        }
        command
            .args(["serve", "--bench", "--log", "error"])
            .args(&options.arguments)
            .env("PORT", "0")
            .env("SEED", options.strokes.to_string())
            .env("CANVASES", options.canvases.to_string())
            .env("DIR", options.folder.clone().unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child =
            spawn_on(&options.cores, &mut command).context("the server does not start")?;
        let lines = read_lines(child.stdout.take().context("standard output is piped")?);
        let mut server = Self {
            child,
            port: 0,
            setup: String::new(),
        };
        let deadline = Instant::now() + READY_WAIT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = lines
                .recv_timeout(left)
                .context("the server ended, or took too long, before it was ready")?;
            if let Some(url) = line.strip_prefix(ADDRESS) {
                let port = url.trim_end_matches('/').rsplit_once(':');
                server.port = port
                    .and_then(|(_, port)| port.parse().ok())
                    .with_context(|| format!("no port in {url:?}"))?;
            } else if line == "READY" {
                return Ok(server);
            } else {
                server.setup = line;
            }
        }
    }

    /// Its port on this machine.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// CPU time of all its threads since it was started, in seconds.
    pub(crate) fn cpu_s(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let ticks = parse_cpu_ticks(&stat).context("no CPU times in /proc")?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// CPU time of its threads whose names begin so, in seconds.
    pub(crate) fn threads_cpu_s(&self, name: &str) -> Result<f64> {
        threads_cpu_s(self.child.id(), name)
    }

    /// Memory that it holds now, in bytes.
    pub(crate) fn memory_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        parse_memory_bytes(&status).context("no memory size in /proc")
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let number = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(number) = number {
            // Gone already, perhaps.
            let _ = kill_process(number, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_WAIT;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The lines of a program, read by a thread that ends with it.
pub(crate) fn read_lines(output: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = sync_channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// CPU time of a process's threads whose names begin so, in seconds.
pub(crate) fn threads_cpu_s(process: u32, name: &str) -> Result<f64> {
    let mut sum_ns = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.starts_with(name) {
            let schedstat = std::fs::read_to_string(task.join("schedstat"))?;
            sum_ns += parse_run_ns(&schedstat).context("no CPU time in /proc")?;
        }
    }
    Ok(sum_ns as f64 / 1e9)
}

/// User and system time of `/proc/PID/stat`, in clock ticks.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    // The program's name may hold spaces and brackets; what follows the last bracket has neither.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The first number of `/proc/PID/task/TID/schedstat`: nanoseconds on a processor.
fn parse_run_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

fn parse_memory_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_figures_are_read() {
        let stat = "77 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20 0 4 0 9 9 9";
        assert_eq!(parse_cpu_ticks(stat), Some(150));
        assert_eq!(parse_cpu_ticks("77 (x"), None);
        let status = "Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t  2048 kB\n";
        assert_eq!(parse_memory_bytes(status), Some(2048 * 1024));
        assert_eq!(parse_run_ns("123456789 42 7\n"), Some(123_456_789));
        assert_eq!(parse_run_ns(""), None);
    }

    #[test]
    fn a_program_runs_on_its_cores_alone() {
        let allowed = rustix::thread::sched_getaffinity(None).expect("an affinity");
        let core = (0..CpuSet::MAX_CPU).find(|core| allowed.is_set(*core));
        let core = core.expect("this test runs on one");
        let mut command = Command::new("cat");
        command.arg("/proc/self/status").stdout(Stdio::piped());
        let child = spawn_on(&[core], &mut command).expect("cat starts");
        let output = child.wait_with_output().expect("cat ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text
            .lines()
            .find(|line| line.starts_with("Cpus_allowed_list:"));
        assert_eq!(line, Some(format!("Cpus_allowed_list:\t{core}").as_str()));
        let own = rustix::thread::sched_getaffinity(None).expect("an affinity");
        assert_eq!(
            own.count(),
            allowed.count(),
            "this process stays where it was"
        );
    }
}
