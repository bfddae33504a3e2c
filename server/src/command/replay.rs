//! `chalkboard replay`: steps a recorded room again, tick by tick, and says whether it becomes the same.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use chalkboard_shared::{Op, OpEntry};
use chalkboard_simulation::{LogRecord, RecordingError, Replay, ReplayedStep};
use time::OffsetDateTime;
use time::macros::format_description;

use super::{FAILURE, fail};

pub(super) const ABOUT: &str = "\
Step a recorded room again, tick by tick, on any machine.

Prints a line for each tick that changed the board (each at all with --all): tick, time, inputs, ops, position and \
digest. The digest is compared with that of the room that was recorded; the first tick at which they differ is named, \
and then the exit code is 1.";

pub(super) const EXAMPLES: &str = "\
Examples:
  Does this program make the same board of it?
      chalkboard replay incident.chalk

  The ops of everybody up to a tick:
      chalkboard replay incident.chalk --until 4711 --ops

Exit codes: 0 the same board at every tick, 1 it differs, or the file can't be read, 2 the arguments can't be used.";

/// Arguments of `replay`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ReplayArguments {
    /// What `chalkboard record` has written
    file: PathBuf,
    /// Stop after this tick
    #[arg(long, value_name = "TICK")]
    until: Option<u64>,
    /// Print the ops
    #[arg(long)]
    ops: bool,
    /// Print ticks that changed nothing, too
    #[arg(long)]
    all: bool,
}

#[derive(Debug, thiserror::Error)]
enum ReplayFailure {
    #[error("{path} can't be read ({source}); name a file that `chalkboard record` has written")]
    File { path: String, source: io::Error },
    #[error(transparent)]
    Recording(#[from] RecordingError),
    #[error(
        "the board differs from tick {tick} on: it is {replayed} at position {replayed_at}, the one recorded was \
         {recorded} at {recorded_at}. Either this is another version of the program, or something in it does not follow \
         from what came in: please report this with the file"
    )]
    Different {
        tick: u64,
        replayed: String,
        replayed_at: u64,
        recorded: String,
        recorded_at: u64,
    },
    #[error("the output can't be written: {0}")]
    Output(#[from] io::Error),
}

pub(super) fn run(arguments: &ReplayArguments) -> ExitCode {
    match replay(arguments, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads it has seen enough.
        Err(ReplayFailure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => fail(FAILURE, &error),
    }
}

fn replay(arguments: &ReplayArguments, out: &mut impl Write) -> Result<(), ReplayFailure> {
    let file = std::fs::read(&arguments.file).map_err(|source| ReplayFailure::File {
        path: arguments.file.display().to_string(),
        source,
    })?;
    let mut replay = Replay::open(&file.into())?;
    let (from, began) = (replay.room().tick().0, replay.room().position().0);
    writeln!(
        out,
        "begins after tick {from} at position {began} with board {}",
        replay.room().digest()
    )?;
    let mut last = from;
    let (mut steps, mut ops) = (0u64, 0u64);
    while arguments.until.is_none_or(|until| last < until)
        && let Some(step) = replay.step()?
    {
        let entries = match &step.output.record {
            Some(record) => LogRecord::decode(&record.bytes).map_or(Vec::new(), |r| r.entries),
            None => Vec::new(),
        };
        last = step.output.tick.0;
        steps += 1;
        ops += entries.len() as u64;
        if arguments.all || !entries.is_empty() || !step.agrees() {
            writeln!(out, "{}", line(&step, entries.len()))?;
        }
        if arguments.ops {
            for entry in &entries {
                writeln!(out, "    {}", told(entry))?;
            }
        }
        if !step.agrees() {
            let (tick, recorded_at, recorded) = step.recorded;
            return Err(ReplayFailure::Different {
                tick: tick.0,
                replayed: step.replayed.1.to_string(),
                replayed_at: step.replayed.0.0,
                recorded: recorded.to_string(),
                recorded_at: recorded_at.0,
            });
        }
    }
    let end = match replay.end() {
        Some(end) => format!("the recording ended because {end}"),
        None if arguments.until.is_some_and(|until| last >= until) => "stopped there".to_owned(),
        None => "the recording breaks off here".to_owned(),
    };
    writeln!(
        out,
        "{steps} ticks and {ops} ops to tick {last}, position {}, board {}: the same as recorded at every tick; {end}",
        replay.room().position().0,
        replay.room().digest()
    )?;
    Ok(())
}

fn line(step: &ReplayedStep, ops: usize) -> String {
    let (position, digest) = step.replayed;
    format!(
        "tick {:>9}  {}  inputs {:>4}  ops {ops:>4}  position {:>9}  board {digest}",
        step.output.tick.0,
        clock(step.now.unix_ms),
        step.inputs.len(),
        position.0,
    )
}

fn clock(unix_ms: u64) -> String {
    let format =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second].[subsecond digits:3]");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000)
        .ok()
        .and_then(|at| at.format(&format).ok())
        .unwrap_or_else(|| format!("{unix_ms} ms"))
}

/// An op in words.
fn told(entry: &OpEntry) -> String {
    let what = match &entry.op {
        Op::Begin { style, ink } => format!(
            "begins a stroke of {} points, {:?}, #{:06x}, width {}",
            ink.points().len(),
            style.nib,
            style.color,
            style.width
        ),
        Op::Extend { stroke, ink } => {
            format!("adds {} points to {stroke:?}", ink.points().len())
        }
        Op::Finish { stroke } => format!("finishes {stroke:?}"),
        Op::Erase { strokes } => format!("erases {strokes:?}"),
        Op::Restore { strokes } => format!("restores {strokes:?}"),
        Op::Restyle { strokes, style } => format!("makes {strokes:?} look {style:?}"),
        Op::TakeBack { taken, former } => {
            let taken = taken.iter().map(|taken| (taken.counter, taken.stroke));
            let taken: Vec<_> = taken.collect();
            format!("takes back, to {former:?}, {taken:?}")
        }
    };
    format!(
        "{} actor {:016x} op {}: {what}",
        entry.position.0, entry.id.actor.0, entry.id.counter
    )
}
