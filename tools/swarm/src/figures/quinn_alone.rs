//! What the QUIC library takes by itself: its own endpoint, sockets and tasks, with nothing behind them.
//!
//! As many peers, of whom as many move, get as many datagrams as large as often; what comes from them is thrown away. So it
//! can be told how much of a server's ratio to the floor is the library's, on this machine and at this pace.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::Bytes;
use chalkboard_client::native::{Trust, stranger_config};
use quinn::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use quinn::{Connection, Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::floor::{PEERS_PER_SOCKET, Stream};
use crate::own_server::{stay_on, threads_cpu_s};

/// What a moving cursor takes.
const CURSOR_BYTES: usize = 32;
const ALPN: &[u8] = b"h3";
/// Of the thread that sends.
const THREAD: &str = "quinn-alone";
/// Between two looks at what has arrived.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// Bytes of datagrams that wait to be read.
const DATAGRAM_BYTES: usize = 64 * 1024;

/// A sender and its peers; they end when it is dropped.
pub(super) struct QuinnAlone {
    arrived: Arc<AtomicU64>,
    over: Option<watch::Sender<()>>,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl QuinnAlone {
    /// Starts it on some cores, and its peers, of whom some move, on others; it sends already.
    pub(super) fn start(
        stream: Stream,
        moving: usize,
        cores: &[usize],
        peer_cores: &[usize],
    ) -> Result<Self> {
        let arrived = Arc::new(AtomicU64::new(0));
        let (over, is_over) = watch::channel(());
        let identity = Identity::new()?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = socket.local_addr()?;
        let peers = Peers {
            stream,
            moving,
            address,
            certificate: identity.certificate.clone(),
            arrived: arrived.clone(),
        };
        let sender = spawn(THREAD, cores, is_over.clone(), move || {
            serve(identity, socket, stream)
        })?;
        let peers = spawn("quinn-peers", peer_cores, is_over, move || peers.stay())?;
        let mut quinn = Self {
            arrived,
            over: Some(over),
            threads: vec![sender, peers],
        };
        quinn.await_more(0)?;
        Ok(quinn)
    }

    /// Waits until more datagrams have arrived than this; how many have.
    fn await_more(&mut self, than: u64) -> Result<u64> {
        loop {
            if let Some(place) = self.threads.iter().position(JoinHandle::is_finished) {
                let ended = self.threads.swap_remove(place).join();
                let ended = ended.map_err(|_| anyhow!("a thread with quinn alone failed"))?;
                ended.context("quinn alone does not go on")?;
                bail!("quinn alone has ended too soon");
            }
            let arrived = self.arrived.load(Ordering::Relaxed);
            if arrived > than {
                return Ok(arrived);
            }
            std::thread::sleep(LOOK_PAUSE);
        }
    }

    /// Microseconds of CPU time for each datagram that arrives meanwhile; it takes longer if none does.
    pub(super) fn measure(&mut self, span: Duration) -> Result<f64> {
        let before = self.arrived.load(Ordering::Relaxed);
        let cpu_s = threads_cpu_s(std::process::id(), THREAD)?;
        std::thread::sleep(span);
        let arrived = self.await_more(before)? - before;
        let cpu_s = threads_cpu_s(std::process::id(), THREAD)? - cpu_s;
        Ok(cpu_s * 1e6 / arrived as f64)
    }
}

impl Drop for QuinnAlone {
    fn drop(&mut self) {
        drop(self.over.take());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Has a thread do something until it is over.
fn spawn<F: Future<Output = Result<()>>>(
    name: &str,
    cores: &[usize],
    mut is_over: watch::Receiver<()>,
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<JoinHandle<Result<()>>> {
    let cores = cores.to_vec();
    let thread = std::thread::Builder::new().name(name.to_owned());
    Ok(thread.spawn(move || {
        stay_on(&cores)?;
        let runtime: Runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::select! {
                done = work() => done,
                _ = is_over.changed() => Ok(()),
            }
        })
    })?)
}

/// A certificate and its key.
struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    fn new() -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        Ok(Self {
            certificate: made.cert.der().clone(),
            key: PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into(),
        })
    }
}

/// Takes in all peers, and sends them datagrams from then on.
async fn serve(identity: Identity, socket: UdpSocket, stream: Stream) -> Result<()> {
    let provider = Arc::new(quinn::rustls::crypto::ring::default_provider());
    let mut tls = quinn::rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&quinn::rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate], identity.key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls)?;
    let config = ServerConfig::with_crypto(Arc::new(crypto));
    let endpoint = Endpoint::new(
        EndpointConfig::default(),
        Some(config),
        socket,
        Arc::new(TokioRuntime),
    )?;
    let mut peers = Vec::new();
    while peers.len() < stream.peers {
        let peer = endpoint.accept().await.context("it still takes peers in")?;
        let peer = peer.await?;
        tokio::spawn(drop_all(peer.clone()));
        peers.push(peer);
    }
    let content = Bytes::from(vec![42; stream.bytes]);
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / stream.hz.max(1.0)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for peer in &peers {
            peer.send_datagram(content.clone())?;
        }
    }
}

async fn drop_all(peer: Connection) {
    while peer.read_datagram().await.is_ok() {}
}

/// Those to whom it sends.
struct Peers {
    stream: Stream,
    moving: usize,
    address: SocketAddr,
    certificate: CertificateDer<'static>,
    arrived: Arc<AtomicU64>,
}

impl Peers {
    async fn stay(self) -> Result<()> {
        let config = stranger_config(&Trust::Roots(vec![self.certificate]), DATAGRAM_BYTES)
            .map_err(|error| anyhow!("{error}"))?;
        let mut endpoint = None;
        let pause = Duration::from_secs_f64(1.0 / self.stream.hz.max(1.0));
        for number in 0..self.stream.peers {
            if number % PEERS_PER_SOCKET == 0 {
                endpoint = Some(Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?);
            }
            let endpoint = endpoint.as_ref().context("the first one opens it")?;
            let peer = endpoint.connect_with(config.clone(), self.address, "localhost")?;
            let peer = peer.await?;
            tokio::spawn(count(peer.clone(), self.arrived.clone()));
            if number < self.moving {
                // Nobody's clock is another's.
                let phase = pause.mul_f64(number as f64 / self.moving as f64);
                tokio::spawn(move_cursor(peer, phase, pause));
            }
        }
        std::future::pending().await
    }
}

async fn count(peer: Connection, arrived: Arc<AtomicU64>) {
    while peer.read_datagram().await.is_ok() {
        arrived.fetch_add(1, Ordering::Relaxed);
    }
}

async fn move_cursor(peer: Connection, phase: Duration, pause: Duration) {
    let start = tokio::time::Instant::now() + phase;
    let mut moves = tokio::time::interval_at(start, pause);
    let content = Bytes::from(vec![42; CURSOR_BYTES]);
    loop {
        moves.tick().await;
        if peer.send_datagram(content.clone()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_sends_arrives_and_takes_time() {
        let stream = Stream {
            peers: 3,
            bytes: 100,
            hz: 50.0,
        };
        let mut quinn = QuinnAlone::start(stream, 1, &[], &[]).expect("it starts");
        let us = quinn.measure(Duration::from_millis(100));
        assert!(us.expect("it still sends") > 0.0);
    }
}
