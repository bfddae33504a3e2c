//! Every protocol limit in one place, each with its arithmetic.
//!
//! A peer that passes one is answered with a reason (`RejectReason`, `DisconnectReason`); nothing grows without one.

/// Version of the wire protocol; the handshake refuses any other.
pub const PROTOCOL_VERSION: u16 = 4;

/// Largest |coordinate| in 1/16 px: 2^30 is 67 million pixels each way, and leaves room for sums in an `i32`.
pub const COORDINATE_MAX: i32 = 1 << 30;

/// Largest frame a client may send on its stream, in bytes: an `Extend` of [`POINTS_PER_OP_MAX`] points is at most
/// 256 x 9 B + 32 B = 2.4 KB, and a batch is cut at half of this.
pub const CLIENT_FRAME_BYTES_MAX: usize = 64 * 1024;

/// Largest frame the server sends on a stream, in bytes: a chunk of [`CHUNK_POINTS_MAX`] random points is 600 KB, a
/// tick's ops at most 1 MiB (the outbound bound).
pub const SERVER_FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Points in one chunk: 512 KB of memory. A chunk of random ones is 600 KB, one of a hand's 100 KB.
pub const CHUNK_POINTS_MAX: usize = 64 * 1024;

/// Strokes in one chunk: at about 150 B each in memory 600 KB.
pub const CHUNK_STROKES_MAX: usize = 4096;

/// Largest frame that travels in datagrams, in bytes: Firefox takes datagrams of 1,024 and QUIC's own minimum leaves
/// 1,100 and more; a datagram holds frames, each behind a length of at most 2 bytes.
pub const DATAGRAM_FRAME_BYTES_MAX: usize = 1000;

/// Points in one op: 60 to 240 samples a second arrive, so an op holds a second and more.
pub const POINTS_PER_OP_MAX: usize = 256;

/// Points in one stroke: 3 minutes at 60 Hz. Clients begin a new stroke before they reach it.
pub const POINTS_PER_STROKE_MAX: usize = 10_000;

/// Strokes named by one erase, restore or restyle op: 12 B each, 6 KB.
pub const STROKES_PER_OP_MAX: usize = 512;

/// Ops in one message.
pub const OPS_PER_MESSAGE_MAX: usize = 1024;

/// Ops of one session that the room holds but has not applied. Clients keep no more than this many unacknowledged
/// ops in flight, so only a flood passes it.
pub const OPS_IN_FLIGHT_MAX: usize = 4096;

/// Ops of one session applied in one tick; the rest wait their turn: 1,024 x 60 Hz is 61,440 ops a second, and at the
/// slowest tick 10,240.
pub const OPS_PER_TICK_MAX: usize = 1024;

/// Points of one session's ops applied in one tick, beyond which the rest wait their turn: some 40 KB, 3 MB a second, so
/// that nobody draws faster than others can read.
pub const POINTS_PER_TICK_MAX: usize = 16 * 1024;

/// Strokes on one board, erased ones included: at about 400 B each in memory 400 MB.
pub const STROKES_PER_BOARD_MAX: usize = 1_000_000;

/// Actors that ever changed a board: 24 B each, 24 MB.
pub const ACTORS_PER_BOARD_MAX: usize = 1_000_000;

/// Sessions in one room; the goal is 10,000.
pub const SESSIONS_PER_ROOM_MAX: usize = 12_000;

/// People of a room that everybody is told of, beyond whom a client asks for the names that it shows: 1,024 of some 30
/// bytes are 30 KB for each who joins.
pub const PEOPLE_TOLD_MAX: usize = 1024;

/// People who present at the same time, and whose cursors everybody is told exactly: 8 are at most some 30 bytes a tick
/// for each session.
pub const PRESENTERS_MAX: usize = 8;

/// People of a room whose cursors are told exactly to those who follow them: each takes an encoding of its own a tick. Of
/// more the most followed are; the others are told as to everybody.
pub const FOLLOWED_EXACTLY_MAX: usize = 64;

/// Names in one question.
pub const NAMES_WANTED_MAX: usize = 64;

/// Nib width in 1/16 px: 512 px.
pub const WIDTH_MAX: u16 = 512 * 16;

/// Bytes of a display name (UTF-8): 32 letters of any script.
pub const NAME_BYTES_MAX: usize = 128;

/// Bytes that may wait for one session, in its queues: a reader slower than that is disconnected as too slow.
pub const SESSION_QUEUE_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a message that goes with a refusal or a close.
pub const REASON_BYTES_MAX: usize = 512;

/// Ops of one segment of a board's past, beyond which the next one begins: at 60 B each 250 KB, folded in some
/// milliseconds.
pub const SEGMENT_OPS: u64 = 4096;

/// Bytes of a segment or of a board as the past is told: 1,000,000 strokes at 42 B, with room for long ones.
pub const PAST_BYTES_MAX: usize = 128 * 1024 * 1024;

/// The longest pause between two moments of a time line, in milliseconds: whoever looks at it waits no longer.
pub const PAST_PAUSE_MS_MAX: u64 = 1500;

/// Authors that a time line tells by name; the rest count as others.
pub const PAST_AUTHORS_MAX: usize = 64;

/// Actors that a time line tells of all its authors together: 8 B each, 32 KB.
pub const PAST_ACTORS_MAX: usize = 4096;

/// Parts that a time line's graph is cut into, at the most: a part is a pixel or two.
pub const PAST_BUCKETS_MAX: usize = 512;
