//! What it costs the server to tell everybody: CPU of its sending threads per datagram, as a ratio to the floor measured
//! in the same run.
//!
//! The floor is what no server can avoid: sealing a payload of that size with AES-128-GCM and one `send` of it. The server
//! is the real one in a process of its own; its shards' threads are what is counted, with everything that they do for a
//! datagram: take cursors and acknowledgements in, assemble, seal, send. Idle sessions tell what one costs in memory.
//!
//! ```text
//! cargo build --release -p chalkboard-server
//! cargo bench -p chalkboard-benches --bench fan_out
//! ```
//!
//! Without `--bench` (as `cargo test` calls it) a few sessions are served for a moment, as a check that it works.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chalkboard_client::native::{DATAGRAM_RECEIVE_BYTES_MAX, Trust, transport_config};
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::wire::{ClientMessage, Hello, Profile, frame};
use chalkboard_shared::{BoardPoint, BoardRect};
use chalkboard_tests::server_process::{BoardLinks, ServerOptions, ServerProcess};
use chalkboard_tests::waiting::wait_until;
use quinn::crypto::rustls::QuicClientConfig;
use ring::aead;
use tokio::task::JoinSet;
use tokio::time::interval;
use web_transport_quinn::Session;

/// Steps a second of the room.
const TICK_HZ: u32 = 30;
/// Cursors a second of each who moves.
const CURSOR_HZ: u32 = 20;
/// Connections of one of the clients' UDP ports.
const CONNECTIONS_PER_ENDPOINT: usize = 50;
/// Joins under way at once.
const JOINS_AT_ONCE: usize = 16;
/// QUIC's tag, and about what a packet carries besides the payload.
const PACKET_HEAD_BYTES: usize = 20;

/// How much is measured.
struct Extent {
    /// Sessions, and how many of them move.
    cases: &'static [(usize, usize)],
    /// Sessions that do nothing.
    idle: usize,
    /// How often a case is measured; the median counts.
    windows: usize,
    /// How long each time.
    span: Duration,
    /// Packets of the floor.
    floor_packets: u32,
}

const FULL: Extent = Extent {
    cases: &[(100, 30), (100, 100), (400, 40), (400, 400)],
    idle: 2000,
    windows: 5,
    span: Duration::from_secs(2),
    floor_packets: 20_000,
};
const SMALL: Extent = Extent {
    cases: &[(4, 2)],
    idle: 4,
    windows: 1,
    span: Duration::from_millis(300),
    floor_packets: 500,
};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let extent = if std::env::args().any(|argument| argument == "--bench") {
        FULL
    } else {
        SMALL
    };
    for &(sessions, movers) in extent.cases {
        say(&format!(
            "Testing fan_out/{sessions}_sessions_{movers}_moving"
        ));
        fan_out(&extent, sessions, movers).await;
        say("Success");
    }
    say(&format!("Testing fan_out/{}_idle", extent.idle));
    idle(extent.idle).await;
    say("Success");
}

#[expect(clippy::print_stdout, reason = "figures are what a benchmark is for")]
fn say(line: &str) {
    println!("{line}");
}

/// A server, a board on it, and how to connect.
struct Scene {
    server: ServerProcess,
    links: BoardLinks,
    url: String,
    config: quinn::ClientConfig,
    endpoints: Vec<quinn::Endpoint>,
}

impl Scene {
    async fn set(sessions: usize) -> Self {
        let hz = format!("--tick-hz={TICK_HZ}");
        let server = ServerProcess::start_with(ServerOptions {
            arguments: vec![hz.into(), "--shards=1".into(), "--room-threads=1".into()],
            ..ServerOptions::default()
        })
        .await;
        let links = server.create_board().await;
        let doors = server.doors().await.expect("the ways in");
        let Trust::Hashes(hashes) = &doors.trust else {
            panic!("the server's certificate is of its own making");
        };
        let endpoints = (0..sessions.div_ceil(CONNECTIONS_PER_ENDPOINT))
            .map(|_| quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).expect("a UDP port"))
            .collect();
        Self {
            config: client_config(hashes),
            server,
            links,
            url: doors.web_transport,
            endpoints,
        }
    }

    /// Connects all, the first ones of which move.
    async fn fill(&self, sessions: usize, movers: usize) -> Crowd {
        let mut connections = Vec::new();
        let mut tasks = JoinSet::new();
        let mut joining = JoinSet::new();
        for n in 0..sessions {
            if joining.len() >= JOINS_AT_ONCE {
                let joined = joining.join_next().await.expect("one is under way");
                self.take_in(
                    joined.expect("it joins"),
                    movers,
                    &mut connections,
                    &mut tasks,
                );
            }
            let endpoint = self.endpoints[n / CONNECTIONS_PER_ENDPOINT].clone();
            let (config, url, links) = (self.config.clone(), self.url.clone(), self.links);
            joining.spawn(join(endpoint, config, url, links, n));
        }
        while let Some(joined) = joining.join_next().await {
            self.take_in(
                joined.expect("it joins"),
                movers,
                &mut connections,
                &mut tasks,
            );
        }
        Crowd {
            connections,
            _tasks: tasks,
        }
    }

    fn take_in(
        &self,
        joined: Joined,
        movers: usize,
        connections: &mut Vec<quinn::Connection>,
        tasks: &mut JoinSet<()>,
    ) {
        connections.push((*joined.session).clone());
        if joined.number < movers {
            tasks.spawn(move_about(joined.session.clone(), joined.number));
        }
        tasks.spawn(read(joined));
    }
}

/// Connected sessions; they end when it is dropped.
struct Crowd {
    connections: Vec<quinn::Connection>,
    _tasks: JoinSet<()>,
}

/// What all connections together have seen.
#[derive(Clone, Copy, Default)]
struct Traffic {
    datagrams: u64,
    packets_in: u64,
    bytes_in: u64,
    packets_out: u64,
    acks_in: u64,
}

impl Traffic {
    fn since(&self, before: &Self) -> Self {
        Self {
            datagrams: self.datagrams - before.datagrams,
            packets_in: self.packets_in - before.packets_in,
            bytes_in: self.bytes_in - before.bytes_in,
            packets_out: self.packets_out - before.packets_out,
            acks_in: self.acks_in - before.acks_in,
        }
    }
}

impl Crowd {
    fn traffic(&self) -> Traffic {
        let mut sum = Traffic::default();
        for connection in &self.connections {
            let stats = connection.stats();
            sum.datagrams += stats.frame_rx.datagram;
            sum.packets_in += stats.udp_rx.datagrams;
            sum.bytes_in += stats.udp_rx.bytes;
            sum.packets_out += stats.udp_tx.datagrams;
            sum.acks_in += stats.frame_rx.acks;
        }
        sum
    }
}

/// A session that is in the room.
struct Joined {
    number: usize,
    session: Session,
    send: web_transport_quinn::SendStream,
    recv: web_transport_quinn::RecvStream,
}

/// What is settled for a client's connection as [`chalkboard_client::native`] does it, with any certificate of these.
fn client_config(hashes: &[[u8; 32]]) -> quinn::ClientConfig {
    let tls = Trust::Hashes(hashes.to_vec())
        .config(&[web_transport_quinn::ALPN.as_bytes()])
        .expect("TLS");
    let crypto = QuicClientConfig::try_from(tls).expect("TLS that suits QUIC");
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport_config(DATAGRAM_RECEIVE_BYTES_MAX)));
    config
}

async fn join(
    endpoint: quinn::Endpoint,
    config: quinn::ClientConfig,
    url: String,
    links: BoardLinks,
    number: usize,
) -> Joined {
    let url: url::Url = url.parse().expect("an address");
    let port = url.port().expect("a port");
    let connection = endpoint
        .connect_with(config, ([127, 0, 0, 1], port).into(), "127.0.0.1")
        .expect("a connection begins")
        .await
        .expect("a connection");
    let session = Session::connect(connection, url).await.expect("a session");
    let (mut send, mut recv) = session.open_bi().await.expect("a stream");
    let mut key = [7; 16];
    key[..8].copy_from_slice(&(number as u64).to_le_bytes());
    let hello = ClientMessage::Hello(Box::new(Hello {
        board: links.id,
        secret: links.edit,
        key,
        profile: Profile {
            name: format!("person {number}"),
            color: number as u32,
        },
        view: BoardRect::from_corners(
            BoardPoint::from_pixels(0.0, 0.0),
            BoardPoint::from_pixels(8192.0, 8192.0),
        ),
        resume: None,
    }))
    .encode();
    send.write_all(&frame::head(&hello)).await.expect("a hello");
    send.write_all(&hello).await.expect("a hello");
    let mut buffer = [0; 4096];
    recv.read(&mut buffer).await.expect("an answer");
    Joined {
        number,
        session,
        send,
        recv,
    }
}

/// Reads and forgets.
async fn read(joined: Joined) {
    let Joined {
        session,
        send: _kept_open,
        mut recv,
        ..
    } = joined;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        tokio::select! {
            read = recv.read(&mut buffer) => if !matches!(read, Ok(Some(_))) { return },
            read = session.read_datagram() => if read.is_err() { return },
        }
    }
}

/// Moves a cursor in circles.
async fn move_about(session: Session, number: usize) {
    let mut moves = interval(Duration::from_secs(1) / CURSOR_HZ);
    for sequence in 0.. {
        moves.tick().await;
        let angle = sequence as f32 * 0.1 + number as f32;
        let cursor = CursorState {
            at: BoardPoint::from_pixels(
                4096.0 + 3000.0 * angle.cos(),
                4096.0 + 3000.0 * angle.sin(),
            ),
            tool: CursorTool::Pen,
            pressed: false,
        };
        let message = ClientMessage::Cursor {
            sequence,
            stamp: None,
            cursor,
        };
        if session.send_datagram(message.encode()).is_err() {
            return;
        }
    }
}

async fn fan_out(extent: &Extent, sessions: usize, movers: usize) {
    let scene = Scene::set(sessions).await;
    let crowd = scene.fill(sessions, movers).await;
    tokio::time::sleep(extent.span).await;
    let mut windows = Vec::new();
    for _ in 0..extent.windows {
        windows.push(window(extent, &scene, &crowd).await);
    }
    windows.sort_by(|a, b| a.ratio().total_cmp(&b.ratio()));
    let Window {
        shard_us,
        room_us,
        floor_us,
        per_second,
        traffic,
        payload,
    } = windows[windows.len() / 2];
    let ratio = shard_us / floor_us;
    let each = |count: u64| count as f64 / traffic.datagrams as f64;
    say(&format!(
        "{sessions} sessions, {movers} moving, {TICK_HZ} Hz: {ratio:.2} x the floor ({:.2} to {:.2}; {shard_us:.2} us of the \
         shard's thread a datagram, floor {floor_us:.2} us for {payload} B); {per_second:.0} datagrams/s, with each \
         {:.2} packets out, {:.2} in, {:.2} acknowledgements out; room's thread {room_us:.2} us a datagram",
        windows[0].ratio(),
        windows[windows.len() - 1].ratio(),
        each(traffic.packets_in),
        each(traffic.packets_out),
        each(traffic.acks_in),
    ));
}

/// What one stretch of time has shown.
#[derive(Clone, Copy)]
struct Window {
    shard_us: f64,
    room_us: f64,
    floor_us: f64,
    per_second: f64,
    traffic: Traffic,
    payload: usize,
}

impl Window {
    fn ratio(&self) -> f64 {
        self.shard_us / self.floor_us
    }
}

/// Measures server and floor, one right after the other, since a machine's speed is not the same all the time.
async fn window(extent: &Extent, scene: &Scene, crowd: &Crowd) -> Window {
    let shard = || scene.server.thread_seconds("shard-");
    let room = || scene.server.thread_seconds("rooms-");
    let (before, shard_before, room_before) = (crowd.traffic(), shard(), room());
    let begin = Instant::now();
    tokio::time::sleep(extent.span).await;
    let seconds = begin.elapsed().as_secs_f64();
    let (after, shard_after, room_after) = (crowd.traffic(), shard(), room());
    let traffic = after.since(&before);
    assert!(traffic.datagrams > 0, "cursors arrive as datagrams");
    let datagrams = traffic.datagrams as f64;
    let payload = (traffic.bytes_in / traffic.packets_in.max(1)) as usize;
    let payload = payload.saturating_sub(PACKET_HEAD_BYTES);
    let packets = extent.floor_packets;
    let floored = tokio::task::spawn_blocking(move || floor(payload, packets)).await;
    Window {
        shard_us: (shard_after - shard_before) * 1e6 / datagrams,
        room_us: (room_after - room_before) * 1e6 / datagrams,
        floor_us: floored.expect("the floor is measured"),
        per_second: datagrams / seconds,
        traffic,
        payload,
    }
}

/// Microseconds of CPU time of sealing and sending a packet of this many bytes.
fn floor(payload: usize, packets: u32) -> f64 {
    let sink = UdpSocket::bind(("127.0.0.1", 0)).expect("a UDP port");
    sink.set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a timeout");
    let source = UdpSocket::bind(("127.0.0.1", 0)).expect("a UDP port");
    let target = sink.local_addr().expect("an address");
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        // Until nothing comes any more.
        while sink.recv(&mut buffer).is_ok() {}
    });
    let key = aead::UnboundKey::new(&aead::AES_128_GCM, &[7; 16]).expect("a key");
    let key = aead::LessSafeKey::new(key);
    let data = vec![42u8; payload];
    let begin = thread_time();
    for number in 0..packets {
        let mut packet = data.clone();
        let mut nonce = [0; 12];
        nonce[8..].copy_from_slice(&number.to_be_bytes());
        let nonce = aead::Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, aead::Aad::empty(), &mut packet)
            .expect("it can be sealed");
        source.send_to(&packet, target).expect("it goes out");
    }
    let spent = thread_time() - begin;
    reader.join().expect("the reader ends");
    spent.as_secs_f64() * 1e6 / f64::from(packets)
}

/// CPU time of this thread.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

async fn idle(sessions: usize) {
    let scene = Scene::set(sessions).await;
    // What the first ones make the allocator and the room take is not theirs.
    let first = scene.fill(sessions.div_ceil(20), 0).await;
    let before = memory(&scene.server).await;
    let crowd = scene.fill(sessions, 0).await;
    let after = memory(&scene.server).await;
    let each = after.saturating_sub(before) as f64 / crowd.connections.len() as f64;
    say(&format!(
        "{sessions} idle sessions: {:.1} KB each in the server",
        each / 1000.0
    ));
    drop(first);
}

/// Resident memory when it has come to rest.
async fn memory(server: &ServerProcess) -> u64 {
    let mut last = 0;
    wait_until("memory that does not change", async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (now, _) = server.memory_bytes()?;
        let is_at_rest = now.abs_diff(last) < 100_000;
        last = now;
        is_at_rest.then_some(now)
    })
    .await
}
