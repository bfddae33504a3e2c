//! Telemetry: log lines on standard error, counters and timings.
//!
//! Log fields: `board` is the first eight characters of its id, `session` the room's number, `peer` an address. Secrets,
//! keys, names and ink are never logged.

pub(crate) mod histogram;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use chalkboard_shared::BoardId;
use chalkboard_shared::presence::PresenceStage;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};
use histogram::Histogram;

/// What others log about hostile or broken peers at a level of their own is one level too loud for us.
const QUIETED: &str =
    "web_transport_quinn=error,web_transport_proto=error,quinn=warn,quinn_proto=warn,rustls=warn";

/// Whether a filter can be read.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_filter(filter: &str) -> Result<(), String> {
    parse_filter(filter).map(|_| ())
}

fn parse_filter(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::builder()
        .parse(format!("{QUIETED},{filter}"))
        .map_err(|error| {
            format!("{error}; expected a level such as info, or levels by module such as info,chalkboard_server=debug")
        })
}

/// Sends log lines of this process to standard error.
///
/// # Errors
/// The filter can't be read, or a subscriber is there already.
pub(crate) fn start(config: &Config) -> Result<(), String> {
    use std::io::IsTerminal;

    let builder = tracing_subscriber::fmt()
        .with_env_filter(parse_filter(&config.log)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    match config.log_format {
        LogFormat::Text => builder.compact().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| error.to_string())
}

/// A board's id as it is logged: enough to tell boards apart, too little to open one.
#[derive(Clone, Copy)]
pub(crate) struct ShortBoard(pub(crate) BoardId);

impl fmt::Display for ShortBoard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(&text[..8])
    }
}

/// Declares counters that only go up.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened since the start.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: Counter,)*
            pub(crate) timings: Timings,
        }

        impl Counters {
            /// Names and values, for a summary.
            pub(crate) fn values(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get())),*]
            }
        }
    };
}

counters! {
    /// Boards made by `POST /api/v1/boards`.
    boards_created,
    /// Rooms loaded from storage.
    rooms_loaded,
    /// Snapshots that could not be used when a room was loaded; the one before it was, or the log alone.
    snapshots_damaged,
    /// Rooms unloaded.
    rooms_unloaded,
    /// Rooms dropped because a step panicked.
    rooms_panicked,
    /// Rooms that could not be recovered.
    recoveries_failed,
    /// Steps of all rooms.
    steps,
    /// Ticks that a room waited because the log's queue was full.
    log_stalls,
    /// Sessions that joined a room.
    sessions_joined,
    /// Sessions that ended, for whatever reason.
    sessions_ended,
    /// Sessions that were ended because they read too slowly.
    sessions_too_slow,
    /// Times that a session's way came to lose packets, so that it is told live ink in datagrams, too.
    sessions_lossy,
    /// Sessions that were ended because they sent more than anybody needs.
    sessions_flooding,
    /// Requests of pages that may not connect.
    origins_refused,
    /// QUIC connections that were asked to prove their address.
    quic_retries,
    /// QUIC connections that were refused or never finished their handshake.
    quic_refusals,
    /// Messages that could not be read.
    messages_malformed,
    /// Cursor messages dropped by rate or because the room was busy.
    cursors_dropped,
    /// Datagrams that are no cursor.
    datagrams_ignored,
    /// Frames that may be lost and were left out because a connection was behind, or its way half full.
    datagrams_skipped,
    /// Frames of presence that sessions did not get because they had had their share; what comes next makes up for it.
    presence_deferred,
    /// Bytes of those.
    presence_deferred_bytes,
    /// Times that a room changed its pace.
    pace_changes,
}

/// How long things take, and how far rooms have had to thin out what they tell.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    /// Of a room's step.
    pub(crate) tick: Histogram,
    /// From when a step was planned to when it began.
    pub(crate) tick_late: Histogram,
    /// From a step that accepted ops to the room's learning that they are synced.
    pub(crate) durable: Histogram,
    /// Rooms by what they tell of presence.
    pub(crate) stages: Stages,
}

/// Rooms by stage.
#[derive(Debug, Default)]
pub(crate) struct Stages([AtomicU64; PresenceStage::ALL.len()]);

impl Stages {
    /// A room is in a stage, until [`Stages::leave`].
    pub(crate) fn enter(&self, stage: PresenceStage) {
        self.0[stage as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A room has left a stage that it was in.
    pub(crate) fn leave(&self, stage: PresenceStage) {
        self.0[stage as usize].fetch_sub(1, Ordering::Relaxed);
    }

    /// Names and rooms.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let name = |stage| match stage {
            PresenceStage::Full => "full",
            PresenceStage::Slow => "slow",
            PresenceStage::Sparse => "sparse",
            PresenceStage::Crowd => "crowd",
        };
        PresenceStage::ALL
            .iter()
            .map(move |&stage| (name(stage), self.0[stage as usize].load(Ordering::Relaxed)))
    }
}

/// A number that only goes up.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// Some more.
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How many so far.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked() {
        for good in ["info", "debug", "info,chalkboard_server=trace", "off", ""] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        assert!(check_filter("chalkboard_server=loud").is_err());
    }

    #[test]
    fn a_logged_board_opens_nothing() {
        let board = BoardId([7; 16]);
        let logged = ShortBoard(board).to_string();
        assert_eq!(logged.len(), 8);
        assert!(board.to_string().starts_with(&logged));
    }
}
