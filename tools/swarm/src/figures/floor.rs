//! What no server can avoid: to seal a packet for each of its peers, and to send it.
//!
//! A server that ticks sends its packets so many times a second, in one go, to another peer each, and does something else or
//! rests in between; what it needs is not in the processor's cache then. A loop that does nothing else takes some two
//! thirds of the time, and is no server's floor; it is measured all the same, for comparison with others' figures.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::clock::thread_cpu_ns;
use crate::own_server::stay_on;

/// Peers of one socket, as the load's clients share them.
pub(super) const PEERS_PER_SOCKET: usize = 64;
/// Between two looks at what has come; nobody waits for it, as nobody in the load does.
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// Packets that are sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    pub(super) peers: usize,
    /// Of a packet's content.
    pub(super) bytes: usize,
    /// To each peer, a second.
    pub(super) hz: f64,
}

/// Microseconds of CPU time for a packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Floor {
    /// At the stream's pace; without the wakes in between.
    pub(super) paced_us: f64,
    /// In a loop without a pause.
    pub(super) looped_us: f64,
}

/// Measures it on some cores, for a while; what is sent arrives on others.
pub(super) fn measure(
    stream: Stream,
    cores: &[usize],
    peer_cores: &[usize],
    span: Duration,
) -> Result<Floor> {
    let sockets: Vec<UdpSocket> = (0..stream.peers.div_ceil(PEERS_PER_SOCKET))
        .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<Result<_, _>>()?;
    let addresses = sockets.iter().map(UdpSocket::local_addr);
    let addresses: Vec<SocketAddr> = addresses.collect::<Result<_, _>>()?;
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(&sockets, peer_cores, &is_over));
        let sender = scope.spawn(|| {
            stay_on(cores)?;
            let mut sender = Sender::new(stream, &addresses)?;
            let paced_us = sender.send_for(span, Some(stream.hz))?;
            let looped_us = sender.send_for(span / 4, None)?;
            Ok(Floor {
                paced_us,
                looped_us,
            })
        });
        let floor = sender.join();
        is_over.store(true, Ordering::Release);
        let arrived = reader.join().map_err(|_| anyhow!("the reader failed"))??;
        ensure!(arrived > 0, "no packet of the floor has arrived");
        floor.map_err(|_| anyhow!("the sender failed"))?
    })
}

/// Takes what comes until it is over, and counts it.
fn read(sockets: &[UdpSocket], cores: &[usize], is_over: &AtomicBool) -> Result<u64> {
    stay_on(cores)?;
    for socket in sockets {
        socket.set_nonblocking(true)?;
    }
    let mut buffer = [0; 2048];
    let mut arrived = 0;
    loop {
        // What was sent before it was over is there in this look, the last one.
        let is_last = is_over.load(Ordering::Acquire);
        for socket in sockets {
            while socket.recv(&mut buffer).is_ok() {
                arrived += 1;
            }
        }
        if is_last {
            return Ok(arrived);
        }
        std::thread::sleep(LOOK_PAUSE);
    }
}

struct Sender {
    socket: UdpSocket,
    /// Where to, and the key.
    peers: Vec<(SocketAddr, LessSafeKey)>,
    content: Vec<u8>,
    packet: Vec<u8>,
    number: u64,
}

impl Sender {
    fn new(stream: Stream, addresses: &[SocketAddr]) -> Result<Self> {
        let peer = |number: usize| {
            let mut key = [7; 16];
            key[..8].copy_from_slice(&number.to_le_bytes());
            let key = UnboundKey::new(&AES_128_GCM, &key).ok().context("a key")?;
            let address = addresses[number / PEERS_PER_SOCKET];
            Ok((address, LessSafeKey::new(key)))
        };
        Ok(Self {
            socket: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?,
            peers: (0..stream.peers).map(peer).collect::<Result<_>>()?,
            content: vec![42; stream.bytes],
            packet: Vec::new(),
            number: 0,
        })
    }

    /// Sends to all, again and again, so often a second or without a pause; microseconds of CPU time for each packet.
    fn send_for(&mut self, span: Duration, hz: Option<f64>) -> Result<f64> {
        let begun = Instant::now();
        let (mut spent_ns, mut rounds) = (0, 0_u32);
        loop {
            let before = thread_cpu_ns();
            self.send_round()?;
            spent_ns += thread_cpu_ns() - before;
            rounds += 1;
            let elapsed = begun.elapsed();
            if elapsed >= span {
                break;
            }
            if let Some(hz) = hz {
                let next = Duration::from_secs_f64(f64::from(rounds) / hz.max(1.0));
                std::thread::sleep(next.saturating_sub(elapsed));
            }
        }
        let packets = f64::from(rounds) * self.peers.len() as f64;
        Ok(spent_ns as f64 / 1000.0 / packets)
    }

    fn send_round(&mut self) -> Result<()> {
        for (address, key) in &self.peers {
            self.packet.clear();
            self.packet.extend_from_slice(&self.content);
            self.number += 1;
            let mut nonce = [0; NONCE_LEN];
            nonce[..8].copy_from_slice(&self.number.to_le_bytes());
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(nonce, Aad::empty(), &mut self.packet)
                .ok()
                .context("a packet can be sealed")?;
            self.socket.send_to(&self.packet, address)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_time_at_a_pace_and_without() {
        let stream = Stream {
            peers: 65,
            bytes: 100,
            hz: 100.0,
        };
        let floor = measure(stream, &[], &[], Duration::from_millis(40)).expect("a floor");
        assert!(floor.paced_us > 0.0 && floor.looped_us > 0.0, "{floor:?}");
    }
}
