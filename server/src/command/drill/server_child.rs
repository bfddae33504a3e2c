//! The drill's server: this same program as a process of its own, that can be killed.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use chalkboard_shared::{BoardId, Secret};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long a start, or an answer, may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// What the line that says that the server serves begins with.
const READY: &str = "Chalkboard is ready: http://localhost:";

#[derive(Debug, thiserror::Error)]
pub(super) enum ChildError {
    #[error("the drill's server can't be started or talked to: {0}")]
    Io(#[from] io::Error),
    #[error("the drill's server did not come up; what it says stands before this")]
    NotReady,
    #[error("the drill's server made no board; it answered: {0}")]
    NoBoard(String),
}

/// The board of the drill.
#[derive(Debug, Clone, Copy)]
pub(super) struct DrillBoard {
    pub(super) id: BoardId,
    pub(super) secret: Secret,
}

#[derive(Debug)]
pub(super) struct ServerChild {
    child: Child,
    pub(super) port: u16,
}

impl ServerChild {
    /// Starts a server on a folder and waits until it says that it serves.
    pub(super) async fn start(data: &Path) -> Result<Self, ChildError> {
        let mut command = Command::new(std::env::current_exe()?);
        // Nothing of this process's configuration is meant for it.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CHALKBOARD_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .arg("serve")
            .arg("--data")
            .arg(data)
            .args(["--port", "0", "--quic-port", "0", "--log", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = child.stdout.take().ok_or(ChildError::NotReady)?;
        let mut lines = BufReader::new(output).lines();
        let line = timeout(PATIENCE, lines.next_line())
            .await
            .map_err(|_| ChildError::NotReady)??
            .ok_or(ChildError::NotReady)?;
        let port = line
            .strip_prefix(READY)
            .and_then(|rest| rest.trim_end_matches('/').parse().ok())
            .ok_or(ChildError::NotReady)?;
        Ok(Self { child, port })
    }

    /// Ends it at once, without a word.
    pub(super) async fn kill(mut self) -> Result<(), ChildError> {
        Ok(self.child.kill().await?)
    }

    pub(super) async fn create_board(&self) -> Result<DrillBoard, ChildError> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let request = format!(
            "POST /api/v1/boards HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\
             Connection: close\r\n\r\n{{}}",
            self.port
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        let reading = stream.take(ANSWER_BYTES_MAX);
        tokio::pin!(reading);
        timeout(PATIENCE, reading.read_to_string(&mut answer))
            .await
            .map_err(|_| ChildError::NoBoard("nothing".to_owned()))??;
        let made = || {
            let body = answer.get(answer.find('{')?..=answer.rfind('}')?)?;
            let body: serde_json::Value = serde_json::from_str(body).ok()?;
            Some(DrillBoard {
                id: body["id"].as_str()?.parse().ok()?,
                secret: body["edit_secret"].as_str()?.parse().ok()?,
            })
        };
        made().ok_or_else(|| ChildError::NoBoard(answer.clone()))
    }
}
