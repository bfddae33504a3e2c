//! A network that lets TCP through and no UDP, as some offices and hotels have it.
//!
//! Browsers reach the server's HTTP port by a relay. It names another UDP port than the server's to pages that ask how
//! to connect: one that takes packets and never answers, as a firewall that drops them looks from within.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinHandle;

/// Sockets that are tried for one whose number is as long as the server's.
const TRIES_MAX: usize = 1000;

/// A relay that is not up yet: the server must know its address before it starts.
#[derive(Debug)]
pub struct TcpRelay {
    listener: TcpListener,
    port: u16,
}

/// A relay at work, until it is dropped.
#[derive(Debug)]
pub struct RunningRelay {
    task: JoinHandle<()>,
    url: String,
    /// Takes packets and never answers.
    _silence: UdpSocket,
}

impl TcpRelay {
    /// Takes a port.
    ///
    /// # Errors
    /// None is free.
    pub async fn bind() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    /// The page's address by this relay, without a slash at its end.
    pub fn url(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Relays to a server whose WebTransport is at `quic_port`.
    ///
    /// # Errors
    /// No UDP port is to be had.
    pub async fn run(self, server_port: u16, quic_port: u16) -> Result<RunningRelay> {
        let silence = silent_socket(quic_port).await?;
        let real = format!(":{quic_port}/session");
        let dead = format!(":{}/session", silence.local_addr()?.port());
        let url = self.url();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = self.listener.accept().await {
                let (real, dead) = (real.clone(), dead.clone());
                tokio::spawn(async move {
                    // A connection that ends badly is the business of those who speak over it.
                    let _ = relay(stream, server_port, real.as_bytes(), dead.as_bytes()).await;
                });
            }
        });
        Ok(RunningRelay {
            task,
            url,
            _silence: silence,
        })
    }
}

impl RunningRelay {
    /// The page's address by this relay, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for RunningRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A socket that nobody reads, with a number as long as the other's, so that an answer keeps its length.
async fn silent_socket(other: u16) -> Result<UdpSocket> {
    let digits = other.to_string().len();
    let mut others = Vec::new();
    for _ in 0..TRIES_MAX {
        let socket = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        if socket.local_addr()?.port().to_string().len() == digits {
            return Ok(socket);
        }
        others.push(socket);
    }
    None.context("a UDP port with as many digits")
}

async fn relay(mut page: TcpStream, port: u16, real: &[u8], dead: &[u8]) -> Result<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    page.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_page, mut to_page) = page.split();
    let (mut from_server, mut to_server) = server.split();
    let up = tokio::io::copy(&mut from_page, &mut to_server);
    let down = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from_server.read(&mut buffer).await?;
            if count == 0 {
                return to_page.shutdown().await;
            }
            // The answer is a few hundred bytes, which come at once.
            let bytes = &mut buffer[..count];
            if let Some(at) = bytes.windows(real.len()).position(|part| part == real) {
                bytes[at..at + real.len()].copy_from_slice(dead);
            }
            to_page.write_all(bytes).await?;
        }
    };
    tokio::try_join!(up, down)?;
    Ok(())
}
