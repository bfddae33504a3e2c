//! The write-ahead log's file, looked at before SQLite does: is what it holds whole?
//!
//! SQLite takes the first frame that is not as it was written for the end of the log, and drops what follows. That is
//! right where a crash has cut off a commit that was never synced, and it would lose what was saved where the file was
//! damaged later. What tells them apart: commits are synced one by one, so behind a commit that was cut off there is
//! none. Format: <https://www.sqlite.org/fileformat.html#the_write_ahead_log>

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const MAGIC: u32 = 0x377f_0682;
const PAGE_BYTES_MAX: u32 = 64 << 10;

/// What such a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteAhead {
    /// Nothing that counts.
    Empty,
    /// Commits, and at the end perhaps a commit that was cut off before it was synced.
    Whole {
        /// Those that are whole.
        commits: u64,
        /// Frames of the one that was cut off.
        torn_frames: u64,
    },
    /// Something that was synced is no longer as it was written.
    Damaged {
        /// Commits before the damage.
        commits: u64,
    },
}

#[derive(Clone, Copy)]
struct Checksum {
    sums: [u32; 2],
    is_big_endian: bool,
}

impl Checksum {
    /// Goes on over bytes, whose number is divisible by 8.
    fn over(mut self, bytes: &[u8]) -> Self {
        for pair in bytes.as_chunks::<8>().0 {
            let word = |at: usize| {
                let bytes = [pair[at], pair[at + 1], pair[at + 2], pair[at + 3]];
                if self.is_big_endian {
                    u32::from_be_bytes(bytes)
                } else {
                    u32::from_le_bytes(bytes)
                }
            };
            let [a, b] = self.sums;
            let a = a.wrapping_add(word(0)).wrapping_add(b);
            let b = b.wrapping_add(word(4)).wrapping_add(a);
            self.sums = [a, b];
        }
        self
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}

fn pair(bytes: &[u8], at: usize) -> [u32; 2] {
    [number(bytes, at), number(bytes, at + 4)]
}

/// Looks at the file, reading it once.
pub(crate) fn look(path: &Path) -> io::Result<WriteAhead> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(WriteAhead::Empty),
        opened => opened?,
    };
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut header = [0; HEADER_BYTES];
    if !fill(&mut file, &mut header)? {
        return Ok(WriteAhead::Empty);
    }
    let start = Checksum {
        sums: [0, 0],
        is_big_endian: number(&header, 0) & 1 == 1,
    }
    .over(&header[..24]);
    let page = number(&header, 8);
    let is_sound = number(&header, 0) & !1 == MAGIC
        && start.sums == pair(&header, 24)
        && page.is_power_of_two()
        && page <= PAGE_BYTES_MAX;
    if !is_sound {
        // The header is written before the first frame, in one piece that disks write whole, and synced with the first
        // commit. A log that was used before has frames of its former life behind it; one of zeros has not.
        let mut rest = Vec::new();
        file.take(u64::from(PAGE_BYTES_MAX))
            .read_to_end(&mut rest)?;
        let is_blank = rest.iter().all(|&byte| byte == 0);
        return Ok(if is_blank {
            WriteAhead::Empty
        } else {
            WriteAhead::Damaged { commits: 0 }
        });
    }
    frames(&mut file, start, pair(&header, 16), page as usize)
}

fn frames(
    file: &mut impl Read,
    start: Checksum,
    salts: [u32; 2],
    page: usize,
) -> io::Result<WriteAhead> {
    let mut frame = vec![0; FRAME_HEADER_BYTES + page];
    // The sum that the frame before stands for: its own, as long as all is whole.
    let mut before = start;
    let (mut commits, mut pending) = (0, 0_u64);
    let mut broken: Option<Broken> = None;
    while fill(file, &mut frame)? {
        let is_ours = pair(&frame, 8) == salts;
        let sum = before.over(&frame[..8]).over(&frame[FRAME_HEADER_BYTES..]);
        let stored = pair(&frame, 16);
        let is_right = is_ours && sum.sums == stored;
        let is_commit = number(&frame, 4) != 0;
        before.sums = stored;
        match &mut broken {
            None if is_right => {
                pending += 1;
                if is_commit {
                    commits += 1;
                    pending = 0;
                }
            }
            None => {
                // Frames of the log's former life begin here, or a commit was cut off, or something was damaged.
                broken = Some(Broken {
                    torn: u64::from(is_ours),
                    is_behind_commit: is_ours && is_commit,
                });
            }
            Some(broken) => {
                broken.torn += u64::from(is_ours);
                if is_right && broken.is_behind_commit {
                    return Ok(WriteAhead::Damaged { commits });
                }
                broken.is_behind_commit |= is_right && is_commit;
            }
        }
    }
    let torn_frames = pending + broken.map_or(0, |broken| broken.torn);
    Ok(WriteAhead::Whole {
        commits,
        torn_frames,
    })
}

/// What is known behind the first frame that is not right.
struct Broken {
    /// Frames of this life of the log since.
    torn: u64,
    /// A commit has ended since.
    is_behind_commit: bool,
}

/// Reads a whole buffer; `false` where the file ends before.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
