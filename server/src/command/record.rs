//! `chalkboard record`: writes down what comes into a board's room on the server that runs on this machine.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use chalkboard_shared::BoardId;
use chalkboard_simulation::RecordingEnd;

use super::{FAILURE, fail};
use crate::control::{Control, RECORDING_SECONDS_MAX};

pub(super) const ABOUT: &str = "\
Write down what comes into a board's room, for `chalkboard replay`.

Asks the server that uses the data folder on this machine, while it runs; only who may read that folder can. The file \
begins with the whole board and holds everything that people then do to it, and their names: give it to those alone \
who may see the board. It holds no link's secret and lets nobody into the board. Nobody who draws notices anything.

It ends after --seconds, at --bytes-max, when the room is closed, or by Ctrl+C; a file that breaks off can be replayed \
up to there.";

pub(super) const EXAMPLES: &str = "\
Examples:
  The next ten minutes of a board:
      chalkboard record --data /var/lib/chalkboard --board Y2hhbGtib2FyZC1iZW5jaA --seconds 600 --out incident.chalk

  What happened in it, op by op:
      chalkboard replay incident.chalk --ops

Exit codes: 0 recorded, 1 not recorded, or broken off, 2 the arguments can't be used.";

/// How long the server may take to answer: loading a large board, at the most.
const ANSWER_WAIT: Duration = Duration::from_secs(60);
/// Bytes of the head of its answer at the most.
const HEAD_BYTES_MAX: u64 = 16 * 1024;

/// Arguments of `record`.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RecordArguments {
    /// Data folder of the running server
    #[arg(long, default_value = "./data", value_name = "FOLDER")]
    data: PathBuf,
    /// The board: its id, as in its links
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    board: BoardId,
    /// How long to record, up to a day
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=RECORDING_SECONDS_MAX))]
    seconds: u64,
    /// Largest file
    #[arg(long, default_value_t = 256 << 20, value_name = "BYTES")]
    bytes_max: u64,
    /// The file to write; it must not be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum RecordFailure {
    #[error(
        "{folder} names no running server ({source}); start it with `chalkboard serve --data {folder}`, or name its data \
         folder by --data"
    )]
    NoControl { folder: String, source: io::Error },
    #[error(
        "the server that used the data folder does not answer ({0}); it has been ended, or is about to: start it and \
         try again"
    )]
    NoServer(io::Error),
    #[error("the server refuses: {0}")]
    Refused(String),
    #[error("{path} can't be written ({source}); name another file by --out")]
    Out { path: String, source: io::Error },
    #[error(
        "the recording broke off ({0}); what was written until then is in the file and can be replayed"
    )]
    BrokenOff(io::Error),
}

pub(super) fn run(arguments: &RecordArguments) -> ExitCode {
    match record(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILURE, &error),
    }
}

fn record(arguments: &RecordArguments) -> Result<(), RecordFailure> {
    let control = Control::read(&arguments.data).map_err(|source| RecordFailure::NoControl {
        folder: arguments.data.display().to_string(),
        source,
    })?;
    let mut answer = ask(&control, arguments)?;
    let out = |source| RecordFailure::Out {
        path: arguments.out.display().to_string(),
        source,
    };
    let mut file = create(&arguments.out).map_err(out)?;
    say(&format!(
        "recording for {} s into {} ...",
        arguments.seconds,
        arguments.out.display()
    ));
    let mut buffer = vec![0; 64 * 1024];
    let mut written = 0u64;
    // The end of the file, of which the last frame is told.
    let mut last = Vec::new();
    loop {
        let count = match answer.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(RecordFailure::BrokenOff(error)),
        };
        let Some(bytes) = buffer.get(..count) else {
            break;
        };
        file.write_all(bytes).map_err(out)?;
        written += count as u64;
        last.extend_from_slice(bytes);
        last.drain(..last.len().saturating_sub(RecordingEnd::FRAME_BYTES));
    }
    file.sync_all().map_err(out)?;
    let why = RecordingEnd::of_file(&last).map_or_else(
        || "the server broke it off".to_owned(),
        |why| why.to_string(),
    );
    say(&format!(
        "{written} bytes, ended because {why}. See it with: chalkboard replay {} --ops",
        arguments.out.display()
    ));
    Ok(())
}

/// For this user alone, and only where nothing is.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Asks, and reads up to the recording itself. The connection ends with it, so nothing has to be unpacked.
fn ask(
    control: &Control,
    arguments: &RecordArguments,
) -> Result<BufReader<TcpStream>, RecordFailure> {
    let mut stream = TcpStream::connect(control.address).map_err(RecordFailure::NoServer)?;
    let request = format!(
        "GET /recordings/{}?seconds={}&bytes={} HTTP/1.0\r\nAuthorization: Bearer {}\r\n\r\n",
        arguments.board, arguments.seconds, arguments.bytes_max, control.token
    );
    let mut asking = || {
        stream.set_read_timeout(Some(ANSWER_WAIT))?;
        stream.write_all(request.as_bytes())?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut head = String::new();
        let mut limited = reader.by_ref().take(HEAD_BYTES_MAX);
        while limited.read_line(&mut head)? > 2 {}
        io::Result::Ok((reader, head))
    };
    let (reader, head) = asking().map_err(RecordFailure::NoServer)?;
    if head.split(' ').nth(1) != Some("200") {
        let mut why = String::new();
        // Whatever came of it.
        let _ = reader.take(HEAD_BYTES_MAX).read_to_string(&mut why);
        return Err(RecordFailure::Refused(if why.is_empty() {
            head.trim().to_owned()
        } else {
            why
        }));
    }
    // A quiet room sends nothing for as long as it is quiet.
    let longest = Duration::from_secs(arguments.seconds) + ANSWER_WAIT;
    reader
        .get_ref()
        .set_read_timeout(Some(longest))
        .map_err(RecordFailure::NoServer)?;
    Ok(reader)
}

#[expect(
    clippy::print_stderr,
    reason = "a command line tool tells what it does"
)]
fn say(line: &str) {
    eprintln!("{line}");
}
