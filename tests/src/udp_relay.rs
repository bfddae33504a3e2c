//! A network that loses packets of the server's, each so-manieth, between one client and the server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Bytes of the largest packet.
const PACKET_BYTES_MAX: usize = 64 * 1024;

/// A relay at work, until it is dropped. It serves the client whose packet came last.
#[derive(Debug)]
pub struct UdpRelay {
    task: JoinHandle<()>,
    port: u16,
    losses: Arc<Losses>,
}

#[derive(Debug, Default)]
struct Losses {
    /// Of so many packets of the server's one is lost; 0: none.
    every: AtomicU64,
    lost: AtomicU64,
}

impl UdpRelay {
    /// Relays to a server's port on this machine.
    ///
    /// # Errors
    /// No UDP port is to be had.
    pub async fn to(server_port: u16) -> Result<Self> {
        let outside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let inside = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        inside.connect((Ipv4Addr::LOCALHOST, server_port)).await?;
        let port = outside.local_addr()?.port();
        let losses = Arc::<Losses>::default();
        let task = tokio::spawn(relay(outside, inside, losses.clone()));
        Ok(Self { task, port, losses })
    }

    /// The port for the client.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// From now on one of so many packets of the server's is lost; 0: none.
    pub fn lose_every(&self, count: u64) {
        self.losses.every.store(count, Ordering::Relaxed);
    }

    /// Packets lost so far.
    pub fn lost(&self) -> u64 {
        self.losses.lost.load(Ordering::Relaxed)
    }
}

impl Drop for UdpRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(outside: UdpSocket, inside: UdpSocket, losses: Arc<Losses>) {
    let mut client: Option<SocketAddr> = None;
    let mut came = 0_u64;
    let (mut up, mut down) = (vec![0; PACKET_BYTES_MAX], vec![0; PACKET_BYTES_MAX]);
    loop {
        // What can't be sent is lost, as packets are; an error of the socket is about an earlier one.
        tokio::select! {
            packet = outside.recv_from(&mut up) => if let Ok((bytes, from)) = packet {
                client = Some(from);
                let _ = inside.send(&up[..bytes]).await;
            },
            packet = inside.recv(&mut down) => if let (Ok(bytes), Some(client)) = (packet, client) {
                came += 1;
                let every = losses.every.load(Ordering::Relaxed);
                if every > 0 && came.is_multiple_of(every) {
                    losses.lost.fetch_add(1, Ordering::Relaxed);
                } else {
                    let _ = outside.send_to(&down[..bytes], client).await;
                }
            },
        }
    }
}
