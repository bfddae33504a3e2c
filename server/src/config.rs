//! The configuration: parsed once, checked as a whole, then passed explicitly.
//!
//! Sources and their precedence are in `sources`, the options themselves in `options`. Nothing else of the server
//! reads the environment or a configuration file.

mod options;
mod sources;
mod suggestion;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

pub use options::LogFormat;
pub(crate) use options::Options;
pub(crate) use sources::{ServeArguments, merge, without_environment};

use crate::origin::Origin;

/// UDP ports at the most, one a shard.
const SHARDS_MAX: u16 = 64;
/// Threads that step rooms, at the most.
const ROOM_THREADS_MAX: u16 = 256;
/// New boards of one address at once: a class of pupils, each with one.
const BOARDS_BURST: u32 = 60;
/// Bytes of presence a second for a session, if nothing is said, at the least, which is a map of a crowd now and then, and
/// at the most.
const PRESENCE_BYTES: u32 = 12_000;
const PRESENCE_BYTES_MIN: u32 = 1_000;
const PRESENCE_BYTES_MAX: u32 = 10_000_000;
/// Steps a second, at the most: beyond, no screen shows a difference.
const TICK_HZ_MAX: u32 = 240;

/// What the server was told to do. [`Config::default`] is what it does untold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Folder of boards and certificates.
    pub data: PathBuf,
    /// Boards live in memory only.
    pub ephemeral: bool,
    /// Address to listen on, TCP and UDP.
    pub listen: IpAddr,
    /// TCP port; 0 for any free one.
    pub port: u16,
    /// UDP port of the first shard; 0 for any free one each; `None` for the TCP port's number.
    pub quic_port: Option<u16>,
    /// Origins under which this server is reached.
    pub public_urls: Vec<Origin>,
    /// Origins of other pages that may connect.
    pub allow_origins: Vec<Origin>,
    /// Plain HTTP on an address that is not loopback is meant.
    pub allow_plain_http: bool,
    /// The operator's certificate; without one WebTransport uses a self-signed one and the page is plain HTTP.
    pub tls: Option<TlsFiles>,
    /// QUIC endpoints, 1 to 64.
    pub shards: u16,
    /// Threads that step rooms, 1 to 256.
    pub room_threads: u16,
    /// Steps a second of a room in use, 1 to 240.
    pub tick_hz: u32,
    /// Bytes of presence a second that a session gets at the most, where there are thousands or a room has too much to do.
    pub presence_bytes: u32,
    /// A board of the standard load is made and filled before anybody is let in.
    pub bench: Option<BenchFill>,
    /// New boards that one address may make at once, before it is held to one a second.
    pub boards_burst: u32,
    /// Filter of log lines.
    pub log: String,
    /// Form of log lines.
    pub log_format: LogFormat,
}

/// What the board of the standard load holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BenchFill {
    /// Strokes, up to `shared::limits::STROKES_PER_BOARD_MAX`.
    pub strokes: u32,
    /// Canvases that they are spread over, 1 to 4,096.
    pub canvases: u32,
}

/// Certificate and key of the operator, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key of the first certificate.
    pub key: PathBuf,
}

/// The configuration can't be used; each says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it all")]
pub enum ConfigError {
    #[error("{}: unknown option `{key}`;{} `chalkboard serve --help` lists them all", path.display(), did_you_mean(hint))]
    UnknownKey {
        path: PathBuf,
        key: String,
        hint: Option<String>,
    },
    #[error(
        "unknown environment variable {name};{} Unset it or correct it",
        did_you_mean(hint)
    )]
    UnknownVariable { name: String, hint: Option<String> },
    #[error("environment variable {name}: {reason}; `chalkboard serve --help` says what it takes")]
    BadVariable { name: String, reason: String },
    #[error("cannot read the configuration file {}: {reason}; check --config", path.display())]
    UnreadableFile { path: PathBuf, reason: String },
    #[error("{}: {reason}", path.display())]
    BadFile { path: PathBuf, reason: String },
    #[error("{option} = {value}: {reason}")]
    BadValue {
        option: &'static str,
        value: String,
        reason: String,
    },
    #[error(
        "--tls-cert and --tls-key belong together and only {given} is given; give both, or none for a self-signed \
         certificate on this machine"
    )]
    HalfTls { given: &'static str },
    #[error(
        "refusing to listen on {listen} without TLS: browsers give WebTransport, clipboard and more only to secure \
         pages, and links with their secrets would cross the network in the clear. Give --tls-cert and --tls-key; or, \
         behind something that adds TLS, --allow-plain-http; or listen on 127.0.0.1"
    )]
    PlainHttp { listen: IpAddr },
}

fn did_you_mean(hint: &Option<String>) -> String {
    hint.as_ref()
        .map_or_else(String::new, |hint| format!(" did you mean `{hint}`?"))
}

impl Default for Config {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            data: PathBuf::from("./data"),
            ephemeral: false,
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8080,
            quic_port: None,
            public_urls: Vec::new(),
            allow_origins: Vec::new(),
            allow_plain_http: false,
            tls: None,
            shards: 1,
            room_threads: u16::try_from(cores / 2)
                .unwrap_or(ROOM_THREADS_MAX)
                .clamp(1, ROOM_THREADS_MAX),
            tick_hz: 80,
            presence_bytes: PRESENCE_BYTES,
            bench: None,
            boards_burst: BOARDS_BURST,
            log: "info".to_owned(),
            log_format: LogFormat::default(),
        }
    }
}

impl Config {
    /// Fills in what was not given and checks the whole.
    ///
    /// # Errors
    /// A value out of range, or a combination that makes no sense.
    pub(crate) fn from_options(options: Options) -> Result<Self, ConfigError> {
        let default = Self::default();
        let tls = match (options.tls_cert, options.tls_key) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(ConfigError::HalfTls {
                    given: "--tls-cert",
                });
            }
            (None, Some(_)) => return Err(ConfigError::HalfTls { given: "--tls-key" }),
        };
        let config = Self {
            data: options.data.unwrap_or(default.data),
            ephemeral: options.ephemeral.unwrap_or(default.ephemeral),
            listen: options
                .listen
                .map_or(Ok(default.listen), |text| parse_address(&text))?,
            port: options.port.unwrap_or(default.port),
            quic_port: options.quic_port,
            public_urls: parse_origins("public_url", options.public_url)?,
            allow_origins: parse_origins("allow_origin", options.allow_origin)?,
            allow_plain_http: options.allow_plain_http.unwrap_or(false),
            tls,
            shards: options.shards.unwrap_or(default.shards),
            room_threads: options.room_threads.unwrap_or(default.room_threads),
            tick_hz: options.tick_hz.unwrap_or(default.tick_hz),
            presence_bytes: options.presence_bytes.unwrap_or(default.presence_bytes),
            bench: None,
            boards_burst: default.boards_burst,
            log: options.log.unwrap_or(default.log),
            log_format: options.log_format.unwrap_or_default(),
        };
        config.check()?;
        Ok(config)
    }

    /// Checks ranges and combinations.
    ///
    /// # Errors
    /// The first thing that can't be used.
    pub fn check(&self) -> Result<(), ConfigError> {
        in_range("shards", self.shards.into(), 1, SHARDS_MAX.into())?;
        in_range(
            "room_threads",
            self.room_threads.into(),
            1,
            ROOM_THREADS_MAX.into(),
        )?;
        in_range("tick_hz", self.tick_hz, 1, TICK_HZ_MAX)?;
        let (least, most) = (PRESENCE_BYTES_MIN, PRESENCE_BYTES_MAX);
        in_range("presence_bytes", self.presence_bytes, least, most)?;
        let first = self.quic_port.unwrap_or(self.port);
        if first.checked_add(self.shards - 1).is_none() {
            return Err(ConfigError::BadValue {
                option: "quic_port",
                value: first.to_string(),
                reason: format!(
                    "{} shards need ports up to {}, and 65535 is the last; choose a lower one",
                    self.shards,
                    u32::from(first) + u32::from(self.shards) - 1
                ),
            });
        }
        crate::telemetry::check_filter(&self.log).map_err(|reason| ConfigError::BadValue {
            option: "log",
            value: self.log.clone(),
            reason,
        })?;
        if !self.listen.is_loopback() && self.tls.is_none() && !self.allow_plain_http {
            return Err(ConfigError::PlainHttp {
                listen: self.listen,
            });
        }
        Ok(())
    }

    /// Length of a tick in microseconds.
    pub(crate) fn tick_us(&self) -> u32 {
        (1_000_000 + self.tick_hz / 2) / self.tick_hz
    }
}

fn in_range(option: &'static str, value: u32, min: u32, max: u32) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::BadValue {
        option,
        value: value.to_string(),
        reason: format!("allowed are {min} to {max}"),
    })
}

fn parse_address(text: &str) -> Result<IpAddr, ConfigError> {
    if text == "localhost" {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse().map_err(|_| ConfigError::BadValue {
        option: "listen",
        value: text.to_owned(),
        reason:
            "expected an IP address such as 127.0.0.1, 0.0.0.0 or ::; the port goes into --port"
                .to_owned(),
    })
}

fn parse_origins(
    option: &'static str,
    texts: Option<Vec<String>>,
) -> Result<Vec<Origin>, ConfigError> {
    let parse = |text: String| {
        Origin::parse_url(&text).ok_or_else(|| ConfigError::BadValue {
            option,
            reason: "expected an address such as https://board.example or http://10.0.0.5:8080"
                .to_owned(),
            value: text,
        })
    };
    texts.unwrap_or_default().into_iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(options: Options) -> String {
        Config::from_options(options)
            .expect_err("should be refused")
            .to_string()
    }

    #[test]
    fn nothing_given_is_the_default() {
        assert_eq!(
            Config::from_options(Options::default()),
            Ok(Config::default())
        );
        assert_eq!(Config::default().tick_us(), 12_500);
    }

    #[test]
    fn an_address_that_is_not_loopback_wants_tls() {
        let listen = |text: &str| Options {
            listen: Some(text.to_owned()),
            ..Options::default()
        };
        for text in ["0.0.0.0", "::", "[::]", "192.168.1.5"] {
            let message = refused(listen(text));
            assert!(message.contains("--tls-cert"), "{message}");
            assert!(message.contains("--allow-plain-http"), "{message}");
        }
        for text in ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost"] {
            assert!(Config::from_options(listen(text)).is_ok(), "{text}");
        }
        let plain = Options {
            allow_plain_http: Some(true),
            ..listen("0.0.0.0")
        };
        assert!(Config::from_options(plain).is_ok());
        let tls = Options {
            tls_cert: Some("c.pem".into()),
            tls_key: Some("k.pem".into()),
            ..listen("0.0.0.0")
        };
        assert!(Config::from_options(tls).is_ok());
        assert!(refused(listen("board.example")).contains("IP address"));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let message = refused(Options {
            shards: Some(0),
            ..Options::default()
        });
        assert_eq!(message, "shards = 0: allowed are 1 to 64");
        assert!(
            refused(Options {
                tick_hz: Some(0),
                ..Options::default()
            })
            .contains("1 to 240")
        );
        assert!(
            refused(Options {
                quic_port: Some(65_535),
                shards: Some(2),
                ..Options::default()
            })
            .contains("65536")
        );
        assert!(
            refused(Options {
                public_url: Some(vec!["board.example".to_owned()]),
                ..Options::default()
            })
            .contains("https://board.example")
        );
        assert!(
            refused(Options {
                log: Some("chalkboard_server=loud".to_owned()),
                ..Options::default()
            })
            .starts_with("log = ")
        );
    }

    #[test]
    fn half_a_certificate_is_refused() {
        let message = refused(Options {
            tls_cert: Some("c.pem".into()),
            ..Options::default()
        });
        assert!(message.contains("only --tls-cert is given"), "{message}");
    }
}
