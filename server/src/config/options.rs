//! Every option once: its flag, its environment variable, its key in the file, and its help.
//!
//! The same struct is read from all three, so that they can't disagree in names. An option that was not given is
//! `None`; defaults and ranges are [`super::Config`]'s.

use std::path::PathBuf;

use serde::Deserialize;

/// Options as they were given; see `chalkboard serve --help`.
#[allow(
    rustdoc::bare_urls,
    reason = "the comments are the command line's help, which knows no markup"
)]
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Options {
    /// Folder that holds everything: boards, certificates. Made if it is not there; one server at a time uses it.
    /// [default: ./data]
    #[arg(
        long,
        env = "CHALKBOARD_DATA",
        value_name = "FOLDER",
        help_heading = "Storage"
    )]
    pub(crate) data: Option<PathBuf>,

    /// Keep boards in memory only: they are gone when the server stops. For trying things out. [default: false]
    #[arg(
        long,
        env = "CHALKBOARD_EPHEMERAL",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new(),
        help_heading = "Storage"
    )]
    pub(crate) ephemeral: Option<bool>,

    /// IP address to listen on. Others than this machine can only connect to an address that is not loopback (0.0.0.0
    /// or :: for all), and that asks for --tls-cert and --tls-key. [default: 127.0.0.1]
    #[arg(
        long,
        env = "CHALKBOARD_LISTEN",
        value_name = "IP",
        help_heading = "Network"
    )]
    pub(crate) listen: Option<String>,

    /// TCP port of page, API and WebSocket; 0 takes any free one. [default: 8080]
    #[arg(
        long,
        env = "CHALKBOARD_PORT",
        value_name = "PORT",
        help_heading = "Network"
    )]
    pub(crate) port: Option<u16>,

    /// First UDP port of WebTransport; shard i listens on this + i. 0 takes any free ones. [default: the number of
    /// --port]
    #[arg(
        long,
        env = "CHALKBOARD_QUIC_PORT",
        value_name = "PORT",
        help_heading = "Network"
    )]
    pub(crate) quic_port: Option<u16>,

    /// Address under which people reach this server, where that is not what it listens on (behind a reverse proxy);
    /// pages from there may connect. Repeat it, or separate several by commas. [default: none]
    #[arg(
        long,
        env = "CHALKBOARD_PUBLIC_URL",
        value_name = "URL",
        value_delimiter = ',',
        help_heading = "Network"
    )]
    pub(crate) public_url: Option<Vec<String>>,

    /// Origin of other pages that may connect, such as https://intranet.example. Repeat it, or separate several by
    /// commas. [default: none]
    #[arg(
        long,
        env = "CHALKBOARD_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ',',
        help_heading = "Network"
    )]
    pub(crate) allow_origin: Option<Vec<String>>,

    /// Listen without TLS on an address that is not loopback: only behind something that adds TLS, since browsers give
    /// WebTransport to secure pages alone. [default: false]
    #[arg(
        long,
        env = "CHALKBOARD_ALLOW_PLAIN_HTTP",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new(),
        help_heading = "Network"
    )]
    pub(crate) allow_plain_http: Option<bool>,

    /// Certificate chain (PEM) for page, WebSocket and WebTransport alike; read again when it changes. Without it the
    /// page is plain HTTP and WebTransport uses a self-signed certificate that is made and rotated by itself.
    /// [default: none]
    #[arg(
        long,
        env = "CHALKBOARD_TLS_CERT",
        value_name = "FILE",
        help_heading = "TLS"
    )]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Private key (PEM) of --tls-cert; read again when it changes. [default: none]
    #[arg(
        long,
        env = "CHALKBOARD_TLS_KEY",
        value_name = "FILE",
        help_heading = "TLS"
    )]
    pub(crate) tls_key: Option<PathBuf>,

    /// QUIC endpoints, each on a core and a UDP port of its own (1 to 64): one serves some 1,600 people at 30 Hz.
    /// [default: 1]
    #[arg(
        long,
        env = "CHALKBOARD_SHARDS",
        value_name = "COUNT",
        help_heading = "Capacity"
    )]
    pub(crate) shards: Option<u16>,

    /// Threads that step rooms (1 to 256); each owns many boards. [default: half of the cores, at least 1]
    #[arg(
        long,
        env = "CHALKBOARD_ROOM_THREADS",
        value_name = "COUNT",
        help_heading = "Capacity"
    )]
    pub(crate) room_threads: Option<u16>,

    /// Steps a second of a small room in use, at the most (1 to 240 Hz); larger and busier ones step less often. [default: 80]
    #[arg(
        long,
        env = "CHALKBOARD_TICK_HZ",
        value_name = "HZ",
        help_heading = "Capacity"
    )]
    pub(crate) tick_hz: Option<u32>,

    /// Bytes of cursors a second that each person is sent, where there are thousands in a room or it has too much to do
    /// (1,000 to 10,000,000); a room at ease sends more. What is drawn is always sent. [default: 12000]
    #[arg(
        long,
        env = "CHALKBOARD_PRESENCE_BYTES",
        value_name = "BYTES",
        help_heading = "Capacity"
    )]
    pub(crate) presence_bytes: Option<u32>,

    /// Serve the standard load of the load clients: a board under a known link, filled beforehand, and a line READY on
    /// standard output. The environment says PORT (TCP, and UDP from there on), SEED (strokes to fill the board with),
    /// CANVASES (that these are spread over; 1) and DIR (folder to keep it in; empty: memory), and these count more than
    /// the options of that kind. Not for people: whoever knows the project knows the link. [default: false]
    #[arg(
        long,
        env = "CHALKBOARD_BENCH",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new(),
        help_heading = "Measuring"
    )]
    pub(crate) bench: Option<bool>,

    /// What is logged, on standard error: a level (error, warn, info, debug, trace), or levels by module, such as
    /// info,chalkboard_server=debug. [default: info]
    #[arg(
        long,
        env = "CHALKBOARD_LOG",
        value_name = "FILTER",
        help_heading = "Logs"
    )]
    pub(crate) log: Option<String>,

    /// Form of log lines: text for people, json for machines. [default: text]
    #[arg(
        long,
        env = "CHALKBOARD_LOG_FORMAT",
        value_name = "FORMAT",
        help_heading = "Logs"
    )]
    pub(crate) log_format: Option<LogFormat>,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Options {
    /// These, and where one is missing the other's.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            data: self.data.or(other.data),
            ephemeral: self.ephemeral.or(other.ephemeral),
            listen: self.listen.or(other.listen),
            port: self.port.or(other.port),
            quic_port: self.quic_port.or(other.quic_port),
            public_url: self.public_url.or(other.public_url),
            allow_origin: self.allow_origin.or(other.allow_origin),
            allow_plain_http: self.allow_plain_http.or(other.allow_plain_http),
            tls_cert: self.tls_cert.or(other.tls_cert),
            tls_key: self.tls_key.or(other.tls_key),
            shards: self.shards.or(other.shards),
            room_threads: self.room_threads.or(other.room_threads),
            tick_hz: self.tick_hz.or(other.tick_hz),
            presence_bytes: self.presence_bytes.or(other.presence_bytes),
            bench: self.bench.or(other.bench),
            log: self.log.or(other.log),
            log_format: self.log_format.or(other.log_format),
        }
    }
}
