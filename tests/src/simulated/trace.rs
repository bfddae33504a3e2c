//! What happened in a run: the lines of its trace, and the counts of what was covered.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// Lines in order, if anybody wants them. Clones write to the same.
#[derive(Debug, Clone)]
pub struct Trace {
    lines: Option<Rc<RefCell<Vec<String>>>>,
    tick: u64,
}

impl Trace {
    /// A trace that keeps its lines or does not.
    pub fn new(is_kept: bool) -> Self {
        Self {
            lines: is_kept.then(Rc::default),
            tick: 0,
        }
    }

    /// It is this tick now.
    pub const fn set_tick(&mut self, tick: u64) {
        self.tick = tick;
    }

    /// Notes a line.
    pub fn note(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            let line = format!("tick {:5}  {}", self.tick, line());
            lines.borrow_mut().push(line);
        }
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines
            .as_ref()
            .map(|lines| lines.borrow().clone())
            .unwrap_or_default()
    }
}

macro_rules! tally {
    ($($(#[doc = $doc:literal])* $field:ident: $label:literal,)*) => {
        /// What runs have covered.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct Tally {
            $($(#[doc = $doc])* pub $field: u64,)*
        }

        impl Tally {
            /// Adds another run's.
            pub const fn add(&mut self, other: &Self) {
                $(self.$field += other.$field;)*
            }
        }

        impl fmt::Display for Tally {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let counts = [$((self.$field, $label),)*];
                for (at, (count, label)) in counts.into_iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(f, "{comma}{count} {label}")?;
                }
                Ok(())
            }
        }
    };
}

tally! {
    /// Runs.
    runs: "runs",
    /// Ticks.
    ticks: "ticks",
    /// Ops in logs.
    ops: "ops",
    /// Ops that a client was told are saved.
    saved: "told saved",
    /// Undos and redos that did something.
    undos: "undos and redos",
    /// Links cut.
    cuts: "cuts",
    /// Directions of links parted.
    parted: "partitions",
    /// Links that a client gave up as dead.
    dead_links: "dead links",
    /// Clients that came back on a new link to a board that they held.
    resumes: "resumes",
    /// Clients that crashed.
    client_crashes: "client crashes",
    /// Clients restored from what their browser had kept.
    restores: "restores",
    /// Of these, by another window than the one that crashed.
    takeovers: "takeovers",
    /// Ops that browsers had kept for them.
    kept: "kept ops",
    /// Times somebody was offline for long.
    absences: "absences",
    /// Power failures.
    power_failures: "power failures",
    /// Kills of the server that left the disk as it was.
    kills: "kills",
    /// Orderly stops.
    stops: "stops",
    /// Ends of the server while a board was being loaded.
    crashes_in_load: "ends while loading",
    /// Ends of the server while a sync was under way.
    crashes_in_sync: "ends while syncing",
    /// Crashes that tore a write.
    torn: "torn writes",
    /// Crashes that lost all that was not synced.
    forgotten: "forgotten writes",
    /// Writes that found no space.
    full: "writes to a full disk",
    /// Writes and syncs that failed.
    failed: "failed writes and syncs",
    /// Reads that failed.
    unread: "failed reads",
    /// Rooms loaded.
    loads: "loads",
    /// Rooms loaded from an older snapshot, or from none, because one was damaged.
    fallbacks: "fallbacks",
    /// Rooms unloaded because nobody was there.
    unloads: "unloads",
    /// Snapshots stored.
    snapshots: "snapshots",
    /// Ticks in which a room waited for the log.
    stalls: "stalls",
}
