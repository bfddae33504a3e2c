//! The real server as a process of its own: started, asked over HTTP, killed, started again on the same folder and ports.
//!
//! What it writes on standard error is kept and shown when a test fails. A process that a test leaves behind is killed
//! by its own number when its [`ServerProcess`] is dropped.

pub mod connect;
pub mod http;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use chalkboard_shared::{BoardId, Secret};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::waiting::within;
use http::{Answer, Request};

/// Names the binary; `cargo xtask test` sets it.
const BINARY_VARIABLE: &str = "CHALKBOARD_BIN";
/// Names that of the load clients, likewise.
const SWARM_VARIABLE: &str = "CHALKBOARD_SWARM";

/// What the line that says that the server serves begins with.
const READY: &str = "Chalkboard is ready: ";

/// Bytes of standard error that are kept.
const LOG_BYTES_MAX: usize = 1024 * 1024;

/// The server's binary: the one that `CHALKBOARD_BIN` names, else the one beside the running test.
///
/// # Panics
/// When there is none.
pub fn binary() -> PathBuf {
    program(BINARY_VARIABLE, "chalkboard", "chalkboard-server")
}

/// The binary of the load clients: the one that `CHALKBOARD_SWARM` names, else the one beside the running test.
///
/// # Panics
/// When there is none.
pub fn swarm_binary() -> PathBuf {
    program(SWARM_VARIABLE, "chalkboard-swarm", "chalkboard-swarm")
}

fn program(variable: &str, name: &str, package: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    // Tests lie in `deps`, programs in the folder around it.
    let folder = test
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new("."));
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.is_file(),
        "there is no {name} at {}: run the tests by `cargo xtask test`, or build it first (cargo build -p {package})",
        path.display()
    );
    path
}

/// A command that runs one of them with nothing of this process's configuration.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CHALKBOARD_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs `chalkboard` with these arguments until it ends by itself.
///
/// # Panics
/// When it does not start, or goes on running.
pub async fn run_to_end(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = command(&binary());
    command.args(arguments).envs(environment.iter().copied());
    within("the server to end by itself", command.output())
        .await
        .expect("the server's binary runs")
}

/// How to start a server.
#[derive(Debug, Default)]
pub struct ServerOptions {
    /// The data folder; a temporary one if `None`.
    pub data: Option<PathBuf>,
    /// Further arguments of `chalkboard serve`.
    pub arguments: Vec<OsString>,
    /// A program and its arguments that becomes the server; the server's own command line follows them.
    pub wrapper: Vec<OsString>,
}

/// A board and the ways into it.
#[derive(Debug, Clone, Copy)]
pub struct BoardLinks {
    /// The board.
    pub id: BoardId,
    /// Of the link for drawing.
    pub edit: Secret,
    /// Of the link for looking.
    pub view: Secret,
}

/// What the server says about a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Place of the last accepted op.
    pub position: u64,
    /// Everything up to here is on disk.
    pub durable: u64,
    /// Digest of the whole board, 16 hexadecimal digits.
    pub digest: String,
    /// Strokes that people see.
    pub strokes: u64,
    /// Who is there.
    pub sessions: u64,
}

/// A running server.
#[derive(Debug)]
pub struct ServerProcess {
    child: Option<Child>,
    arguments: Vec<OsString>,
    wrapper: Vec<OsString>,
    folder: PathBuf,
    /// Kept to be removed at the end.
    _temporary: Option<TempDir>,
    url: String,
    port: u16,
    quic_port: u16,
    log: Arc<Mutex<Vec<u8>>>,
}

impl ServerProcess {
    /// Starts a server on a temporary folder.
    pub async fn start() -> Self {
        Self::start_with(ServerOptions::default()).await
    }

    /// Starts a server and waits until it serves.
    ///
    /// # Panics
    /// When it does not, with what it wrote.
    pub async fn start_with(options: ServerOptions) -> Self {
        let temporary = match options.data {
            Some(_) => None,
            None => Some(tempfile::tempdir().expect("a temporary folder")),
        };
        let folder = options
            .data
            .or_else(|| temporary.as_ref().map(|folder| folder.path().join("data")))
            .expect("one of the two is there");
        let mut server = Self {
            child: None,
            arguments: options.arguments,
            wrapper: options.wrapper,
            folder,
            _temporary: temporary,
            url: String::new(),
            port: 0,
            quic_port: 0,
            log: Arc::default(),
        };
        server.launch().await;
        server
    }

    /// Starts it again, on the same folder and ports.
    ///
    /// # Panics
    /// When it still runs, or does not come up again.
    pub async fn restart(&mut self) {
        assert!(self.child.is_none(), "the server still runs");
        self.launch().await;
    }

    async fn launch(&mut self) {
        let mut command = match self.wrapper.split_first() {
            None => command(&binary()),
            Some((program, arguments)) => {
                let mut wrapped = command(Path::new(program));
                wrapped.args(arguments).arg(binary());
                wrapped
            }
        };
        command
            .arg("serve")
            .arg("--data")
            .arg(&self.folder)
            .args(["--port", &self.port.to_string()])
            .args(["--quic-port", &self.quic_port.to_string()])
            .args(&self.arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the server's binary starts");
        let mut errors = child.stderr.take().expect("standard error is piped");
        let log = self.log.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = errors.read(&mut buffer).await {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                let room = LOG_BYTES_MAX.saturating_sub(log.len());
                log.extend_from_slice(&buffer[..count.min(room)]);
            }
        });
        let mut lines =
            BufReader::new(child.stdout.take().expect("standard output is piped")).lines();
        self.child = Some(child);
        let line = within("the server's ready line", lines.next_line())
            .await
            .expect("standard output can be read")
            .expect("the server ends instead of serving");
        // Nobody reads on: the ready line is all that standard output ever carries.
        let url = line
            .strip_prefix(READY)
            .unwrap_or_else(|| panic!("not the ready line: {line:?}"));
        self.url = url.trim_end_matches('/').to_owned();
        let port = self
            .url
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        self.port = port.expect("the address names its port");
        if !self.url.starts_with("https") {
            let (url, _) = self
                .addresses()
                .await
                .expect("the server tells its addresses");
            let port = url.trim_end_matches("/session").rsplit_once(':');
            self.quic_port = port
                .and_then(|(_, port)| port.parse().ok())
                .expect("the session's address names its port");
        }
    }

    /// `http://localhost:PORT`, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Port of page, API and WebSocket.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Port of WebTransport; 0 where the server has a certificate of its own.
    pub const fn quic_port(&self) -> u16 {
        self.quic_port
    }

    /// Makes sure that there is a page for browsers to open.
    ///
    /// # Panics
    /// When the server was built without it.
    pub async fn check_page(&self) {
        let page = self.get("/", &[]).await.expect("an answer").text();
        assert!(
            page.contains("/assets/"),
            "the server was built without its page: run the tests by `cargo xtask test`, or `cargo xtask web` and build \
             the server again"
        );
    }

    /// The data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The address of a board's page.
    pub fn page(&self, board: BoardId, secret: Secret) -> String {
        format!("{}/b/{board}#{secret}", self.url)
    }

    /// What it has written on standard error.
    pub fn log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Ends it at once, as a power failure would.
    ///
    /// # Panics
    /// When it does not run.
    pub async fn kill_hard(&mut self) {
        let mut child = self.child.take().expect("the server runs");
        child.kill().await.expect("a child can be killed");
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    ///
    /// # Panics
    /// When it does not run, or does not stop.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        let mut child = self.child.take().expect("the server runs");
        within("the server to stop", child.wait())
            .await
            .expect("a child can be waited for")
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("a child can be signalled");
    }

    /// From now on no file that it writes gets longer than this; `None` takes that back. The server must have been
    /// started with the signal ignored that ends a program at this limit.
    ///
    /// # Panics
    /// When it does not run.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = rustix::process::Rlimit {
            current: bytes,
            maximum: None,
        };
        let fsize = rustix::process::Resource::Fsize;
        rustix::process::prlimit(Some(self.pid()), fsize, limit).expect("a child can be limited");
    }

    /// A path as the server sees it, which may have mounted something there.
    ///
    /// # Panics
    /// When it does not run.
    pub fn seen(&self, path: &Path) -> PathBuf {
        let number = self.process().expect("the server runs");
        let root = PathBuf::from(format!("/proc/{number}/root"));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn pid(&self) -> rustix::process::Pid {
        let number = self.process().expect("the server runs");
        i32::try_from(number)
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("a process has a number")
    }

    fn process(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    /// Bytes of memory that it holds now, and the most that it ever held; `None` where the system does not tell.
    pub fn memory_bytes(&self) -> Option<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process()?)).ok()?;
        let kilobytes = |name: &str| -> Option<u64> {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        Some((kilobytes("VmRSS:")? * 1024, kilobytes("VmHWM:")? * 1024))
    }

    /// Sends a request without a body.
    ///
    /// # Errors
    /// No connection, or no HTTP.
    pub async fn get(&self, path: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        self.request("GET", path, fields, "").await
    }

    /// Sends a request.
    ///
    /// # Errors
    /// No connection, or no HTTP.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer> {
        request_at(self.port, method, path, fields, body).await
    }

    /// Makes a board.
    ///
    /// # Panics
    /// When the server does not.
    pub async fn create_board(&self) -> BoardLinks {
        create_board_at(self.port).await
    }

    /// Asks about a board.
    ///
    /// # Errors
    /// The server does not answer, or with an error.
    pub async fn inspect(&self, board: &BoardLinks) -> Result<Inspection> {
        let path = format!("/api/v1/boards/{}", board.id);
        let bearer = format!("Bearer {}", board.edit);
        let answer = self.get(&path, &[("Authorization", &bearer)]).await?;
        if answer.status != 200 {
            bail!("{}: {}", answer.status, answer.text());
        }
        let answer = answer.json();
        let number = |key: &str| {
            answer[key]
                .as_u64()
                .with_context(|| format!("{key} in {answer}"))
        };
        Ok(Inspection {
            position: number("position")?,
            durable: number("durable")?,
            digest: digest_text(&answer["digest"])?,
            strokes: number("strokes")?,
            sessions: number("sessions")?,
        })
    }

    /// Where sessions are: WebTransport's address, and the hashes of its certificate.
    ///
    /// # Errors
    /// The server does not answer, or not that.
    pub async fn addresses(&self) -> Result<(String, Vec<String>)> {
        ask_addresses(self.port).await
    }
}

/// Sends a request to a server at a port of this machine.
async fn request_at(
    port: u16,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Result<Answer> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let host = format!("localhost:{port}");
    let request = Request {
        method,
        path,
        host: &host,
        fields,
        body,
    };
    within("an answer", http::exchange(stream, &request)).await
}

/// Makes a board on a server at a port of this machine.
///
/// # Panics
/// When the server does not.
pub async fn create_board_at(port: u16) -> BoardLinks {
    let answer = request_at(port, "POST", "/api/v1/boards", &[], "{}")
        .await
        .expect("the server answers");
    assert_eq!(answer.status, 201, "{}", answer.text());
    let answer = answer.json();
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    BoardLinks {
        id: text("id").parse().expect("a board's id"),
        edit: text("edit_secret").parse().expect("a secret"),
        view: text("view_secret").parse().expect("a secret"),
    }
}

/// Asks a server at a port of this machine where its sessions are.
///
/// # Errors
/// It does not answer, or not that.
pub async fn ask_addresses(port: u16) -> Result<(String, Vec<String>)> {
    // Knowing a board's id opens nothing, so any will do.
    let path = format!("/api/v1/boards/{}/connect", BoardId([0; 16]));
    let answer = request_at(port, "GET", &path, &[], "").await?;
    session_addresses(&answer.json())
}

/// Reads the answer to `/connect`.
///
/// # Errors
/// It is another.
pub fn session_addresses(answer: &Value) -> Result<(String, Vec<String>)> {
    let webtransport = &answer["webtransport"];
    let url = webtransport["url"].as_str().context("a url")?;
    let hashes = webtransport["certificate_hashes"]
        .as_array()
        .context("hashes")?;
    let hashes = hashes.iter().filter_map(Value::as_str).map(str::to_owned);
    Ok((url.to_owned(), hashes.collect()))
}

fn digest_text(value: &Value) -> Result<String> {
    value.as_str().map(str::to_owned).context("a digest")
}

impl Drop for ServerProcess {
    #[expect(
        clippy::print_stderr,
        reason = "what helps to understand a failed test"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the server's log\n{}---", self.log());
        }
        if let Some(child) = &mut self.child {
            // Ended already, perhaps.
            let _ = child.start_kill();
        }
    }
}
