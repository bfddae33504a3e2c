//! `serve --bench`: the server as load harnesses start it.
//!
//! Owns what the harness's environment means (PORT, SEED, CANVASES, DIR), the line it waits for, and the board of the standard
//! load (`shared::workload`), which it puts into the store as records of the log, as if it had been drawn. From there on
//! it is a server like any other: same tick, same encryption, same limits but the one that [`summary`] names.

use std::ffi::OsString;
use std::time::Duration;

use chalkboard_shared::limits::STROKES_PER_BOARD_MAX;
use chalkboard_shared::workload::{BENCH_BOARD, BENCH_SECRET, begin_on};
use chalkboard_shared::{ActorId, Op, OpEntry, OpId, Position, StrokeId, Tick};
use chalkboard_simulation::LogRecord;

use crate::access;
use crate::clock;
use crate::config::{BenchFill, Config, ConfigError};
use crate::storage::{BoardRecord, LogBatch, LogHandle, Refusal, StorageError};

/// The line on standard output that says that clients are let in.
pub(crate) const READY: &str = "READY";

/// New boards that a harness may make at once: loads of many rooms make one each.
const BOARDS_BURST: u32 = 16 * 1024;

/// Who has drawn the strokes that are there before anybody comes.
const ACTOR: ActorId = ActorId(1);

/// Canvases that strokes may be spread over.
const CANVASES_MAX: u32 = 4096;

/// Strokes of one record: about 220 KB, as long a tick as a log has ever seen.
const STROKES_PER_RECORD: u32 = 4096;

/// Ops that begin and end a stroke.
const OPS_PER_STROKE: u32 = 2;

/// Pause before another try where the log's queue is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(2);

/// Makes a configuration one for the standard load, by the harness's environment.
///
/// # Errors
/// A variable that is no number, or a configuration that can't be used.
pub(crate) fn configure(
    mut config: Config,
    environment: &[(OsString, OsString)],
) -> Result<Config, ConfigError> {
    let variable = |name: &str| {
        let (_, value) = environment.iter().find(|(known, _)| known == name)?;
        (!value.is_empty()).then_some(value)
    };
    if let Some(port) = number(variable("PORT"), "PORT", u16::MAX.into())? {
        config.port = port as u16;
        config.quic_port = None;
    }
    let strokes = number(variable("SEED"), "SEED", STROKES_PER_BOARD_MAX as u32)?;
    let canvases = number(variable("CANVASES"), "CANVASES", CANVASES_MAX)?;
    match variable("DIR") {
        Some(folder) => {
            config.data = folder.into();
            config.ephemeral = false;
        }
        None => config.ephemeral = true,
    }
    config.boards_burst = BOARDS_BURST;
    config.bench = Some(BenchFill {
        strokes: strokes.unwrap_or(0),
        canvases: canvases.unwrap_or(1).max(1),
    });
    config.check()?;
    Ok(config)
}

fn number(value: Option<&OsString>, name: &str, max: u32) -> Result<Option<u32>, ConfigError> {
    let Some(value) = value else { return Ok(None) };
    let parsed = value.to_str().and_then(|text| text.parse().ok());
    match parsed.filter(|number| *number <= max) {
        Some(number) => Ok(Some(number)),
        None => Err(ConfigError::BadVariable {
            name: name.to_owned(),
            reason: format!("{value:?} is no whole number from 0 to {max}"),
        }),
    }
}

/// The configuration that figures are measured under, in a line.
pub(crate) fn summary(config: &Config, fill: BenchFill) -> String {
    let storage = if config.ephemeral {
        "memory".to_owned()
    } else {
        config.data.display().to_string()
    };
    format!(
        "bench: strokes={} canvases={} storage={storage} shards={} room_threads={} tick_hz={} encryption=TLS1.3 \
         lifted=new_boards_of_one_address({} at once, as others 60)",
        fill.strokes,
        fill.canvases,
        config.shards,
        config.room_threads,
        config.tick_hz,
        config.boards_burst
    )
}

/// Makes the board and fills its log, unless the store has it already. Returns when everything is committed.
///
/// # Errors
/// The store does not take it.
pub(crate) fn fill(log: &LogHandle, fill: BenchFill) -> Result<(), StorageError> {
    if log.board(BENCH_BOARD)?.is_some() {
        // A harness may start a server again on what it measured before.
        return Ok(());
    }
    let created_ms = clock::unix_ms();
    log.create_board(BoardRecord {
        id: BENCH_BOARD,
        edit_hash: access::hash(BENCH_SECRET),
        view_hash: access::hash(access::view_secret(BENCH_SECRET)),
        created_ms,
    })?;
    // Strokes are dear to make and cheap to store: every core makes one record at a time.
    let makers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let firsts: Vec<u32> = (0..fill.strokes)
        .step_by(STROKES_PER_RECORD as usize)
        .collect();
    for firsts in firsts.chunks(makers) {
        let batches: Vec<LogBatch> = std::thread::scope(|scope| {
            let making: Vec<_> = firsts
                .iter()
                .map(|&first| {
                    let count = STROKES_PER_RECORD.min(fill.strokes - first);
                    scope.spawn(move || batch(first, count, fill.canvases, created_ms))
                })
                .collect();
            making
                .into_iter()
                .map(|made| made.join().expect("making strokes does not fail"))
                .collect()
        });
        for batch in batches {
            append(log, batch)?;
        }
    }
    log.flush()
}

fn append(log: &LogHandle, mut batch: LogBatch) -> Result<(), StorageError> {
    loop {
        batch = match log.try_append(batch) {
            Ok(()) => return Ok(()),
            Err(Refusal::Full(batch)) => batch,
            Err(Refusal::Stopped(_)) => return Err(StorageError::Stopped),
            Err(Refusal::TooLarge(batch)) => {
                let (board, bytes) = (batch.board, batch.record.len());
                return Err(StorageError::TooLarge { board, bytes });
            }
        };
        std::thread::sleep(QUEUE_PAUSE);
    }
}

/// Strokes from `first` on, each begun with all of its points and finished.
fn batch(first: u32, count: u32, canvases: u32, unix_ms: u64) -> LogBatch {
    let entries: Vec<OpEntry> = (first..first + count)
        .flat_map(|stroke| {
            let counter = stroke * OPS_PER_STROKE + 1;
            let entry = |counter: u32, op| OpEntry {
                position: Position(counter.into()),
                id: OpId {
                    actor: ACTOR,
                    counter,
                },
                op,
            };
            let finish = Op::Finish {
                stroke: StrokeId(OpId {
                    actor: ACTOR,
                    counter,
                }),
            };
            [
                entry(counter, begin_on(stroke, canvases)),
                entry(counter + 1, finish),
            ]
        })
        .collect();
    let position = |counter: u32| Position(counter.into());
    LogBatch {
        board: BENCH_BOARD,
        first: position(first * OPS_PER_STROKE + 1),
        last: position((first + count) * OPS_PER_STROKE),
        record: LogRecord::encode_entries(Tick(0), unix_ms, &entries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::LogWriter;
    use crate::storage::repo::Memory;
    use chalkboard_shared::workload::stroke_points;
    use chalkboard_simulation::{Room, RoomConfig};

    fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    #[test]
    fn the_environment_says_where_and_how_much() {
        let given = environment(&[
            ("PORT", "4000"),
            ("SEED", "50000"),
            ("CANVASES", "20"),
            ("DIR", "/some/disk"),
        ]);
        let config = configure(Config::default(), &given).expect("a configuration");
        assert_eq!((config.port, config.quic_port), (4000, None));
        let asked = BenchFill {
            strokes: 50_000,
            canvases: 20,
        };
        assert_eq!(config.bench, Some(asked));
        assert!(!config.ephemeral);
        assert_eq!(config.data, std::path::Path::new("/some/disk"));
        let text = summary(&config, asked);
        assert!(
            text.contains("strokes=50000 canvases=20") && text.contains("lifted="),
            "{text}"
        );
    }

    #[test]
    fn without_a_folder_it_stays_in_memory() {
        for given in [environment(&[("DIR", "")]), environment(&[])] {
            let config = configure(Config::default(), &given).expect("a configuration");
            assert!(config.ephemeral);
            assert_eq!(
                config.bench,
                Some(BenchFill {
                    strokes: 0,
                    canvases: 1
                })
            );
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for (name, value) in [("PORT", "70000"), ("SEED", "many"), ("SEED", "1000001")] {
            let error = configure(Config::default(), &environment(&[(name, value)]));
            let message = error.expect_err("not a number in range").to_string();
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn the_board_that_is_filled_opens() {
        let log = LogWriter::start(Memory::new(), |_, _| {}, |_| {}).expect("a log");
        let handle = log.handle();
        let strokes = STROKES_PER_RECORD + 3;
        let asked = BenchFill {
            strokes,
            canvases: 1,
        };
        fill(&handle, asked).expect("filled");
        fill(&handle, asked).expect("a board that is there is left alone");
        let stored = handle.load(BENCH_BOARD).expect("the board is there");
        assert_eq!(stored.end(), Position(u64::from(strokes * OPS_PER_STROKE)));
        let config = RoomConfig {
            epoch: 1,
            epoch_starts: Vec::new(),
            tick_us: 16_667,
        };
        let records = stored.tail.into_iter().map(|batch| batch.record);
        let room = Room::recover(config, stored.snapshot, records).expect("it opens");
        assert_eq!(room.stroke_count(), strokes as usize);
        assert_eq!(stroke_points(strokes - 1).len(), 30);
        log.stop().expect("stopped");
    }
}
