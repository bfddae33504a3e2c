//! The server as a whole: starts its parts in order, and stops them in order.
//!
//! First what may be refused (certificate, ports, then the data folder), then rooms, and who connects is answered last.
//! The stop is the other way round: nobody new, then rooms (saved, visitors told), then connections, then storage.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chalkboard_shared::DisconnectReason;
use chalkboard_shared::workload::{BENCH_BOARD, BENCH_SECRET};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};

use crate::bench;
use crate::boards::{Boards, RoomIndex};
use crate::config::Config;
use crate::control::{self, ControlFile};
use crate::http::{self, Site};
use crate::origin::OriginPolicy;
use crate::past::Pasts;
use crate::reset_key::ResetKey;
use crate::session::{Gauge, Reception};
use crate::shard::{Shard, ShardError};
use crate::storage::repo::{Memory, Sqlite};
use crate::storage::{DataFolder, DataFolderError, LogWriter, StopError, StorageError};
use crate::telemetry::Counters;
use crate::tls::{CHECK_INTERVAL, Certificates, TlsError};
use crate::token_bucket::AddressBuckets;

/// Threads of the HTTP side, WebSocket sessions and joins included.
const HTTP_THREADS: usize = 2;
/// Threads that may block there: storage, files.
const HTTP_BLOCKING_THREADS: usize = 16;
/// New boards of one address a second, once it has used up what it may make at once.
const CREATIONS_PER_SECOND: f64 = 1.0;
/// How long sessions may take to end after they were told.
const SESSIONS_WAIT: Duration = Duration::from_secs(3);
/// How long HTTP requests may take after that.
const REQUESTS_WAIT: Duration = Duration::from_secs(1);

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it all")]
pub enum StartError {
    #[error(transparent)]
    Data(#[from] DataFolderError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot listen on {protocol} {address}: {source}; {advice}")]
    Listen {
        protocol: &'static str,
        address: SocketAddr,
        source: io::Error,
        advice: &'static str,
    },
    #[error("the operating system gives no threads or event queues: {0}; raise the limits on them")]
    System(#[from] io::Error),
    #[error("the operating system gives no random numbers: {0}")]
    Random(#[source] getrandom::Error),
    #[error("QUIC can't be set up: {0}")]
    Quic(String),
    #[error("the board to measure with can't be loaded: {0}; empty its folder (DIR)")]
    BenchBoard(DisconnectReason),
}

impl From<ShardError> for StartError {
    fn from(error: ShardError) -> Self {
        match error {
            ShardError::Io(error) => Self::System(error),
            ShardError::Tls(error) => Self::Tls(error),
            ShardError::NoSuite => Self::Quic(error.to_string()),
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    url: String,
    http_address: SocketAddr,
    stopping: watch::Sender<bool>,
    runtime: Runtime,
    shards: Vec<Shard>,
    boards: Arc<Boards>,
    reception: Arc<Reception>,
    certificates: Arc<Certificates>,
    log: LogWriter,
    counters: Arc<Counters>,
    _control: Option<ControlFile>,
}

impl Server {
    /// Starts everything; when it returns, connections are served.
    ///
    /// # Errors
    /// The first part that could not be started.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let counters = Arc::new(Counters::default());
        let index = Arc::new(RoomIndex::default());
        // What can be refused without touching the data folder is refused first.
        let operators = config
            .tls
            .clone()
            .map(Certificates::from_files)
            .transpose()?;
        let http = bind_tcp(SocketAddr::new(config.listen, config.port))?;
        let http_address = http.local_addr()?;
        let sockets = bind_shards(config, http_address.port())?;
        let (log, folder) = start_log(config, &index)?;
        if let Some(fill) = config.bench {
            bench::fill(&log.handle(), fill)?;
        }
        let certificates = Arc::new(match operators {
            Some(certificates) => certificates,
            None => Certificates::of_own_making(folder.as_ref().map(DataFolder::certificates))?,
        });

        let reset_key = ResetKey::load(folder.as_ref().map(DataFolder::certificates))
            .map_err(StartError::Random)?;
        let boards = Boards::start(
            index,
            log.handle(),
            counters.clone(),
            config.room_threads,
            config.tick_us(),
        )?;
        let boards = Arc::new(boards.with_presence_bytes(config.presence_bytes));
        let named = config.public_urls.iter().chain(&config.allow_origins);
        let reception = Arc::new(Reception {
            boards: boards.clone(),
            origins: OriginPolicy::new(
                config.listen,
                http_address.port(),
                certificates.is_operators(),
                named.cloned(),
            ),
            counters: counters.clone(),
            connected: Gauge::default(),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(HTTP_THREADS)
            .max_blocking_threads(HTTP_BLOCKING_THREADS)
            .thread_name("http")
            .enable_all()
            .build()?;
        let shards = sockets
            .into_iter()
            .zip(0..)
            .map(|(socket, number)| {
                Shard::start(
                    number,
                    socket,
                    &certificates,
                    &reset_key,
                    reception.clone(),
                    runtime.handle().clone(),
                )
            })
            .collect::<Result<Vec<_>, _>>()?;

        let site = Arc::new(Site {
            reception: reception.clone(),
            counters: counters.clone(),
            certificates: certificates.clone(),
            shards: shards.iter().map(Shard::share).collect(),
            creations: AddressBuckets::new(
                config.boards_burst.into(),
                CREATIONS_PER_SECOND,
                Instant::now(),
            ),
            pasts: Pasts::new(log.handle()),
            looks_back: http::past::looks_back(Instant::now()),
            sockets: Arc::new(Semaphore::new(http::SOCKETS_MAX)),
            policy: http::page::content_security_policy(),
        });
        let tls = certificates
            .is_operators()
            .then(|| certificates.server_config(&[b"h2", b"http/1.1"]))
            .transpose()?;
        if config.bench.is_some() {
            // The first client is to find the board loaded, as every later one does.
            let loaded = runtime.block_on(boards.inspect(BENCH_BOARD, BENCH_SECRET));
            loaded.map_err(StartError::BenchBoard)?;
        }
        let (stopping, is_stopping) = watch::channel(false);
        runtime.spawn(async move {
            let router = http::router(site);
            if let Err(error) = http::listener::serve(http, tls, router, is_stopping).await {
                tracing::error!(%error, "the HTTP listener failed; restart the server");
            }
        });
        runtime.spawn(maintain(certificates.clone()));
        let control = folder
            .as_ref()
            .map(|folder| control::open(folder.path(), boards.clone()))
            .transpose()?
            .map(|(listener, router, file)| {
                let is_stopping = stopping.subscribe();
                runtime.spawn(async move {
                    let served = http::listener::serve(listener, None, router, is_stopping).await;
                    if let Err(error) = served {
                        tracing::warn!(%error, "rooms can't be recorded until the server is restarted");
                    }
                });
                file
            });

        Ok(Self {
            url: url(config, http_address, certificates.is_operators()),
            http_address,
            stopping,
            runtime,
            shards,
            boards,
            reception,
            certificates,
            log,
            counters,
            _control: control,
        })
    }

    /// The address to open in a browser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where page, API and WebSocket are.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Where WebTransport is, by shard.
    pub fn quic_addresses(&self) -> Vec<SocketAddr> {
        self.shards.iter().map(Shard::address).collect()
    }

    /// Reads the operator's certificate again now, rather than when its files are next looked at.
    pub fn reload_certificate(&self) {
        self.certificates.reload();
    }

    /// Lets nobody new in, saves everything, tells everybody, ends. Blocks, usually for well under a second; every part
    /// of it is bounded, 20 seconds altogether.
    ///
    /// # Errors
    /// What could not be saved.
    pub fn stop(mut self) -> Result<(), StopError> {
        self.stopping.send_replace(true);
        self.boards.stop();
        let deadline = Instant::now() + SESSIONS_WAIT;
        while self.reception.connected.get() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        for shard in &mut self.shards {
            shard.ask_to_stop();
        }
        for shard in self.shards {
            shard.join();
        }
        self.runtime.shutdown_timeout(REQUESTS_WAIT);
        let stopped = self.log.stop();
        tracing::debug!(counters = ?self.counters.values(), "stopped");
        stopped
    }
}

/// Opens the store and starts the thread that writes to it.
fn start_log(
    config: &Config,
    index: &Arc<RoomIndex>,
) -> Result<(LogWriter, Option<DataFolder>), StartError> {
    let (durable, trouble) = (index.clone(), index.clone());
    let on_durable = move |board, position| durable.durable(board, position);
    let on_trouble = move |told| trouble.trouble(&told);
    if config.ephemeral {
        let log = LogWriter::start(Memory::new(), on_durable, on_trouble)?;
        return Ok((log, None));
    }
    let folder = DataFolder::open(&config.data)?;
    let log = LogWriter::start(Sqlite::open(&folder)?, on_durable, on_trouble)?;
    Ok((log, Some(folder)))
}

fn bind_tcp(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listener =
        TcpListener::bind(address).map_err(|source| cannot_listen("TCP", address, source))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn bind_udp(address: SocketAddr) -> Result<UdpSocket, StartError> {
    UdpSocket::bind(address).map_err(|source| cannot_listen("UDP", address, source))
}

fn cannot_listen(protocol: &'static str, address: SocketAddr, source: io::Error) -> StartError {
    let advice = match source.kind() {
        io::ErrorKind::AddrInUse => {
            "something else listens there, perhaps another Chalkboard; stop it, or choose other ports with --port and \
             --quic-port"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege; choose a higher one with --port and --quic-port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; choose another with --listen"
        }
        _ => "choose another address with --listen, or other ports with --port and --quic-port",
    };
    StartError::Listen {
        protocol,
        address,
        source,
        advice,
    }
}

/// A UDP socket for each shard: from the configured port on, or the HTTP port's number on, or any.
fn bind_shards(config: &Config, http_port: u16) -> Result<Vec<UdpSocket>, StartError> {
    let bind_from = |first: u16| {
        (0..config.shards)
            .map(|shard| {
                let port = if first == 0 {
                    0
                } else {
                    first.saturating_add(shard)
                };
                bind_udp(SocketAddr::new(config.listen, port))
            })
            .collect::<Result<Vec<_>, _>>()
    };
    match config.quic_port {
        Some(first) => bind_from(first),
        // The HTTP port is any free one, so the number matters to nobody; the same one is only nicer.
        None if config.port == 0 => bind_from(http_port).or_else(|_| bind_from(0)),
        None => bind_from(http_port),
    }
}

/// Renews certificates as long as the runtime lives.
async fn maintain(certificates: Arc<Certificates>) {
    let mut checks = tokio::time::interval(CHECK_INTERVAL);
    checks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        checks.tick().await;
        let certificates = certificates.clone();
        let checked = tokio::task::spawn_blocking(move || certificates.check()).await;
        if let Err(error) = checked {
            tracing::error!(%error, "looking after the certificate failed; it is tried again");
        }
    }
}

/// The address that people open.
fn url(config: &Config, address: SocketAddr, is_tls: bool) -> String {
    if let Some(public) = config.public_urls.first() {
        return format!("{public}/");
    }
    let scheme = if is_tls { "https" } else { "http" };
    let is_localhost = address.ip() == IpAddr::from([127, 0, 0, 1])
        || address.ip() == IpAddr::from(std::net::Ipv6Addr::LOCALHOST);
    let host = match address.ip() {
        ip if is_localhost || ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    format!("{scheme}://{host}:{}/", address.port())
}
