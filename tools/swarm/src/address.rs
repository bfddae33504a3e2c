//! Where a board is: its link, and the addresses of sessions that its server hands out.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use chalkboard_client::native::{DATAGRAM_RECEIVE_BYTES_MAX, SharedSocket, Trust};
use chalkboard_shared::workload::{BENCH_BOARD, BENCH_SECRET};
use chalkboard_shared::{BoardId, Secret};
use data_encoding::BASE64;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A board and the right to draw on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BoardLink {
    pub(crate) board: BoardId,
    pub(crate) secret: Secret,
}

/// The board of the standard load.
pub(crate) const BENCH: BoardLink = BoardLink {
    board: BENCH_BOARD,
    secret: BENCH_SECRET,
};

/// A server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    /// Host and port, as in a URL.
    authority: String,
    is_tls: bool,
}

impl Site {
    /// The server at a port of this machine.
    pub(crate) fn local(port: u16) -> Self {
        Self {
            authority: format!("127.0.0.1:{port}"),
            is_tls: false,
        }
    }

    /// Where its WebSocket is.
    pub(crate) fn web_socket(&self) -> String {
        let scheme = if self.is_tls { "wss" } else { "ws" };
        format!("{scheme}://{}/api/v1/session", self.authority)
    }

    /// Takes a board's link apart: `http://host:port/b/ID#SECRET`.
    pub(crate) fn parse_link(link: &str) -> Result<(Self, BoardLink)> {
        let expected = "expected a board's link for drawing, http://host:port/b/ID#SECRET";
        let (scheme, rest) = link.split_once("://").context(expected)?;
        let is_tls = match scheme {
            "http" => false,
            "https" => true,
            _ => bail!(expected),
        };
        let (authority, path) = rest.split_once("/b/").context(expected)?;
        let (board, secret) = path.split_once('#').context(expected)?;
        ensure!(!authority.is_empty(), expected);
        let site = Self {
            authority: authority.to_owned(),
            is_tls,
        };
        let board = BoardLink {
            board: board.parse()?,
            secret: secret.parse()?,
        };
        Ok((site, board))
    }
}

/// Where a session is.
#[derive(Debug, Clone)]
pub(crate) struct SessionAddress {
    /// WebTransport's address.
    pub(crate) url: String,
    /// Whose certificate it bears.
    pub(crate) trust: Trust,
}

impl SessionAddress {
    /// A socket for clients of the library who go there; on a runtime.
    pub(crate) fn socket(&self) -> Result<SharedSocket> {
        let local: IpAddr = if self.url.contains('[') {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        Ok(SharedSocket::bind(
            local,
            &self.trust,
            DATAGRAM_RECEIVE_BYTES_MAX,
        )?)
    }
}

/// What a server says about a board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inspection {
    /// Place of the last accepted op.
    pub(crate) position: u64,
    /// Digest of the whole board, 16 hexadecimal digits.
    pub(crate) digest: String,
}

/// Asks a server, over one connection that is kept.
#[derive(Debug)]
pub(crate) struct Directory {
    site: Site,
    connection: Option<SendRequest<String>>,
}

impl Directory {
    pub(crate) const fn new(site: Site) -> Self {
        Self {
            site,
            connection: None,
        }
    }

    /// The address of a session on this board; to be asked for each, since the server spreads them.
    ///
    /// A server with a certificate of its operator's is taken to have its sessions on the number of its HTTPS port, where
    /// they are unless it was told otherwise.
    pub(crate) async fn session(&mut self, board: BoardId) -> Result<SessionAddress> {
        if self.site.is_tls {
            let default_port = !self.site.authority.ends_with(|c: char| c.is_ascii_digit());
            let port = if default_port { ":443" } else { "" };
            return Ok(SessionAddress {
                url: format!("https://{}{port}/session", self.site.authority),
                trust: Trust::System,
            });
        }
        let path = format!("/api/v1/boards/{board}/connect");
        let answer = self.ask(Method::GET, &path, None, "").await?;
        read_session(&answer).with_context(|| format!("no address of a session: {answer}"))
    }

    /// Makes a board.
    pub(crate) async fn create_board(&mut self) -> Result<BoardLink> {
        ensure!(!self.site.is_tls, "boards can be made over http only");
        let answer = self.ask(Method::POST, "/api/v1/boards", None, "{}").await?;
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        Ok(BoardLink {
            board: text("id").parse().context("a new board's id")?,
            secret: text("edit_secret")
                .parse()
                .context("a new board's secret")?,
        })
    }

    /// What the server says about a board.
    pub(crate) async fn inspect(&mut self, link: BoardLink) -> Result<Inspection> {
        let path = format!("/api/v1/boards/{}", link.board);
        let answer = self.ask(Method::GET, &path, Some(link.secret), "").await?;
        Ok(Inspection {
            position: answer["position"].as_u64().context("a position")?,
            digest: answer["digest"].as_str().context("a digest")?.to_owned(),
        })
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        bearer: Option<Secret>,
        body: &str,
    ) -> Result<Value> {
        let answer = self.ask_for_bytes(method, path, bearer, body).await?;
        Ok(serde_json::from_slice(&answer)?)
    }

    async fn ask_for_bytes(
        &mut self,
        method: Method,
        path: &str,
        bearer: Option<Secret>,
        body: &str,
    ) -> Result<Vec<u8>> {
        // A connection that was kept may have been closed meanwhile: once more on a fresh one.
        if let Some(mut kept) = self.connection.take()
            && let Ok(answer) = self.ask_on(&mut kept, &method, path, bearer, body).await
        {
            self.connection = Some(kept);
            return Ok(answer);
        }
        let stream = TcpStream::connect(&self.site.authority)
            .await
            .with_context(|| format!("no server at {}", self.site.authority))?;
        let (mut fresh, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            // Whoever asks on it hears of its end.
            let _ = connection.await;
        });
        let answer = self.ask_on(&mut fresh, &method, path, bearer, body).await?;
        self.connection = Some(fresh);
        Ok(answer)
    }

    /// The server's counters and histograms, as text.
    pub(crate) async fn metrics(&mut self) -> Result<String> {
        let text = self
            .ask_for_bytes(Method::GET, "/metrics", None, "")
            .await?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    async fn ask_on(
        &self,
        connection: &mut SendRequest<String>,
        method: &Method,
        path: &str,
        bearer: Option<Secret>,
        body: &str,
    ) -> Result<Vec<u8>> {
        connection.ready().await?;
        let mut request = Request::builder()
            .method(method.clone())
            .uri(path)
            .header("host", &self.site.authority)
            .header("content-type", "application/json");
        if let Some(secret) = bearer {
            request = request.header("authorization", format!("Bearer {secret}"));
        }
        let answer = connection
            .send_request(request.body(body.to_owned())?)
            .await?;
        let status = answer.status();
        let body = read_body(answer.into_body()).await?;
        ensure!(
            status == StatusCode::OK || status == StatusCode::CREATED,
            "{method} {path}: {status}, {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }
}

async fn read_body(mut body: Incoming) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let data: Bytes = frame?.into_data().unwrap_or_default();
        ensure!(
            bytes.len() + data.len() <= ANSWER_BYTES_MAX,
            "an answer of more than {ANSWER_BYTES_MAX} bytes"
        );
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

fn read_session(answer: &Value) -> Option<SessionAddress> {
    let webtransport = answer.get("webtransport")?;
    let hash = |value: &Value| {
        let bytes = BASE64.decode(value.as_str()?.as_bytes()).ok()?;
        <[u8; 32]>::try_from(bytes).ok()
    };
    let hashes = webtransport.get("certificate_hashes")?.as_array()?;
    let hashes: Option<Vec<_>> = hashes.iter().map(hash).collect();
    let hashes = hashes?;
    Some(SessionAddress {
        url: webtransport.get("url")?.as_str()?.to_owned(),
        trust: if hashes.is_empty() {
            Trust::System
        } else {
            Trust::Hashes(hashes)
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_taken_apart() {
        let link = format!("http://localhost:8080/b/{BENCH_BOARD}#{BENCH_SECRET}");
        let (site, board) = Site::parse_link(&link).expect("a link");
        assert_eq!(site.authority, "localhost:8080");
        assert!(!site.is_tls);
        assert_eq!(board, BENCH);
        let secure = link.replace("http://localhost:8080", "https://board.example");
        assert!(Site::parse_link(&secure).expect("a link").0.is_tls);
    }

    #[test]
    fn other_addresses_are_refused() {
        for link in [
            "",
            "localhost:8080",
            "http://x/b/short#short",
            "ftp://x/b/a#b",
            "http:///b/#",
        ] {
            assert!(Site::parse_link(link).is_err(), "{link}");
        }
    }

    #[test]
    fn an_answer_without_hashes_means_the_systems_trust() {
        let answer = serde_json::json!({"webtransport": {"url": "https://a:1/session", "certificate_hashes": []}});
        let address = read_session(&answer).expect("an address");
        assert!(matches!(address.trust, Trust::System));
        let bad =
            serde_json::json!({"webtransport": {"url": "https://a", "certificate_hashes": ["x"]}});
        assert!(read_session(&bad).is_none());
    }
}
