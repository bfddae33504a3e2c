//! As much HTTP/1.1 as tests need: one request a connection, the body read to its end.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A request.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// GET, POST ...
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// Value of `Host`.
    pub host: &'a str,
    /// Further header fields.
    pub fields: &'a [(&'a str, &'a str)],
    /// The body; sent as JSON.
    pub body: &'a str,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// 200, 404 ...
    pub status: u16,
    /// Names in lower case, and values.
    pub fields: Vec<(String, String)>,
    /// As it came, compressed or not.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header field; the name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Sends a request on a fresh connection and reads the answer.
///
/// # Errors
/// A connection that breaks, an answer that is no HTTP.
pub async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &Request<'_>,
) -> Result<Answer> {
    let Request {
        method,
        path,
        host,
        fields,
        body,
    } = request;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    if !body.is_empty() {
        let length = body.len();
        head += &format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
    }
    for (name, value) in *fields {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    head += body;
    stream.write_all(head.as_bytes()).await?;
    let mut bytes = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await {
        // A TLS peer that closes without saying so has still answered.
        Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(error.into()),
        _ => {}
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .context("an answer without an end of its head")?;
    let head = String::from_utf8_lossy(&bytes[..end]);
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .context("an answer without a status")?;
    let fields: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer = Answer {
        status,
        fields,
        body: bytes[end + 4..].to_vec(),
    };
    if answer.field("transfer-encoding") == Some("chunked") {
        answer.body = unchunked(&answer.body)?;
    }
    Ok(answer)
}

fn unchunked(mut bytes: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = bytes
            .windows(2)
            .position(|two| two == b"\r\n")
            .context("a chunk without a length")?;
        let length = String::from_utf8_lossy(&bytes[..line]);
        let length = usize::from_str_radix(length.trim(), 16)?;
        bytes = &bytes[line + 2..];
        if length == 0 {
            return Ok(body);
        }
        if bytes.len() < length + 2 {
            bail!("a chunk is cut off");
        }
        body.extend_from_slice(&bytes[..length]);
        bytes = &bytes[length + 2..];
    }
}
