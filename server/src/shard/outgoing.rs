//! What a connection has to send: frames for the session's stream, and the datagrams of a tick.
//!
//! Reliable frames keep their order and wait here when QUIC takes no more; too many of them end the session. Frames that
//! may be lost are packed into as few datagrams as they fit; a connection that has not sent the last tick's yet gets none
//! of this tick's: what is old when it arrives is no use. Nor does one whose way is half full: what is drawn goes first.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chalkboard_shared::limits::SESSION_QUEUE_BYTES_MAX;
use chalkboard_shared::wire::frame;
use quinn_proto::{Connection as Quic, StreamId, WriteError};

use super::bundle::{Bundle, Form};
use super::congestion::Way;
use crate::telemetry::Counters;
use crate::transport::webtransport::WebTransport;

/// Bytes that wait before QUIC's own window at the most; the other quarter waits in it.
const WAITING_BYTES_MAX: usize = SESSION_QUEUE_BYTES_MAX / 4 * 3;
/// Pieces that wait: a minute of a frame each tick.
const PIECES_MAX: usize = 4096;
/// From this size on a frame is passed on as it is; smaller ones are copied together.
const FRAME_BYTES_UNCOPIED: usize = 4 * 1024;
/// Pieces handed to QUIC in one call.
const PIECES_PER_WRITE: usize = 16;

/// As much waits as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// The peer wants nothing more on the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stopped;

/// What waits to be sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    way: Arc<Way>,
    stream: Option<StreamId>,
    /// Heads and frames that QUIC has not taken.
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    /// Small frames behind those.
    small: BytesMut,
    /// Frames that may be lost, packed as others have them too. What is added makes it one of its own.
    shared: Bytes,
    /// Frames that may be lost, packed for this connection alone.
    datagram: BytesMut,
    pass: Pass,
    /// Bytes that QUIC has taken since this was last asked.
    written: usize,
}

/// What becomes of this pass's datagrams.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// There were none yet.
    #[default]
    Fresh,
    /// They are sent, in this form.
    Open(Form),
    /// They are left out.
    Skipped,
}

impl Outgoing {
    /// Of a connection with this way, which has nothing to send.
    pub(super) fn new(way: Arc<Way>) -> Self {
        Self {
            way,
            ..Self::default()
        }
    }

    /// It goes another way from now on.
    pub(super) fn take_way(&mut self, way: Arc<Way>) {
        self.way = way;
    }

    /// The session's stream is there.
    pub(super) fn open(&mut self, stream: StreamId) {
        self.stream = Some(stream);
    }

    /// The session's stream.
    pub(super) fn stream(&self) -> Option<StreamId> {
        self.stream
    }

    /// Adds a frame that must arrive. A single frame is always taken, whatever its size.
    pub(super) fn push(&mut self, frame: &Bytes) -> Result<(), Full> {
        self.check_place(frame.len())?;
        self.small
            .reserve(frame::HEAD_BYTES + frame.len().min(FRAME_BYTES_UNCOPIED));
        self.small.extend_from_slice(&frame::head(frame));
        if frame.len() < FRAME_BYTES_UNCOPIED {
            self.small.extend_from_slice(frame);
        } else {
            self.close_small();
            self.waiting_bytes += frame.len();
            self.waiting.push_back(frame.clone());
        }
        Ok(())
    }

    /// Adds frames that must arrive, each with its head, as they are.
    pub(super) fn push_piece(&mut self, piece: Bytes) -> Result<(), Full> {
        self.check_place(piece.len())?;
        self.close_small();
        self.waiting_bytes += piece.len();
        self.waiting.push_back(piece);
        Ok(())
    }

    fn check_place(&self, bytes: usize) -> Result<(), Full> {
        let waiting = self.waiting_bytes + self.small.len();
        let is_full = waiting > 0 && waiting + bytes > WAITING_BYTES_MAX;
        if is_full || self.waiting.len() >= PIECES_MAX {
            return Err(Full);
        }
        Ok(())
    }

    /// Adds a frame that may be lost.
    pub(super) fn push_fragment(
        &mut self,
        fragment: &Bytes,
        quic: &mut Quic,
        web: &WebTransport,
        counters: &Counters,
    ) {
        match self.form(quic, web) {
            Some(form) => self.add(fragment, form, quic, counters),
            None => counters.datagrams_skipped.increment(),
        }
    }

    /// Adds a bundle's frames that may be lost.
    pub(super) fn push_fragments(
        &mut self,
        bundle: &Bundle,
        quic: &mut Quic,
        web: &WebTransport,
        counters: &Counters,
    ) {
        if bundle.fragments.is_empty() {
            return;
        }
        let Some(form) = self.form(quic, web) else {
            counters
                .datagrams_skipped
                .add(bundle.fragments.len() as u64);
            return;
        };
        let is_alone = self.shared.is_empty() && self.datagram.is_empty();
        let packed = if is_alone {
            bundle.datagrams(form)
        } else {
            None
        };
        let Some((last, full)) = packed.and_then(<[Bytes]>::split_last) else {
            for fragment in &bundle.fragments {
                self.add(fragment, form, quic, counters);
            }
            return;
        };
        for datagram in full {
            send_datagram(datagram.clone(), quic, counters);
        }
        self.shared = last.clone();
    }

    /// The form of this pass's datagrams, if there are to be any.
    fn form(&mut self, quic: &mut Quic, web: &WebTransport) -> Option<Form> {
        if self.pass == Pass::Fresh {
            let datagrams = quic.datagrams();
            let size_max = datagrams.max_size().unwrap_or(0);
            let is_behind = datagrams.send_buffer_space() < super::quic::DATAGRAM_SPACE_EMPTY;
            self.pass = if is_behind || size_max == 0 || self.way.is_half_full() {
                Pass::Skipped
            } else {
                let session = web.datagram_session();
                Pass::Open(Form { session, size_max })
            };
        }
        match self.pass {
            Pass::Open(form) => Some(form),
            Pass::Fresh | Pass::Skipped => None,
        }
    }

    fn add(&mut self, fragment: &Bytes, form: Form, quic: &mut Quic, counters: &Counters) {
        if !self.shared.is_empty() {
            let shared = std::mem::take(&mut self.shared);
            self.datagram.reserve(form.size_max);
            self.datagram.extend_from_slice(&shared);
        }
        if let Some(full) = form.add(fragment, &mut self.datagram) {
            send_datagram(full, quic, counters);
        }
    }

    /// Nothing of what waits is to be sent.
    pub(super) fn clear(&mut self) {
        self.waiting = VecDeque::new();
        self.waiting_bytes = 0;
        self.small = BytesMut::new();
        self.shared = Bytes::new();
        self.datagram = BytesMut::new();
        self.pass = Pass::Skipped;
    }

    /// Hands QUIC what it takes; `true` when nothing waits any more.
    pub(super) fn flush(&mut self, quic: &mut Quic, counters: &Counters) -> Result<bool, Stopped> {
        if !self.shared.is_empty() {
            send_datagram(std::mem::take(&mut self.shared), quic, counters);
        }
        if !self.datagram.is_empty() {
            let datagram = std::mem::take(&mut self.datagram).freeze();
            send_datagram(datagram, quic, counters);
        }
        self.pass = Pass::Fresh;
        self.close_small();
        let Some(stream) = self.stream else {
            return Ok(self.waiting.is_empty());
        };
        while !self.waiting.is_empty() {
            let count = self.waiting.len().min(PIECES_PER_WRITE);
            let pieces = &mut self.waiting.make_contiguous()[..count];
            match quic.send_stream(stream).write_chunks(pieces) {
                Ok(written) => {
                    self.waiting.drain(..written.chunks);
                    self.waiting_bytes -= written.bytes;
                    self.written += written.bytes;
                }
                Err(WriteError::Blocked) => return Ok(false),
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return Err(Stopped),
            }
        }
        // A queue that was long once would keep its place for ever.
        if self.waiting.capacity() > PIECES_PER_WRITE {
            self.waiting = VecDeque::new();
        }
        Ok(true)
    }

    /// QUIC has taken everything.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.small.is_empty()
    }

    /// Bytes that QUIC has taken and that were not [told](Self::told) yet.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Those bytes have been told.
    pub(super) fn told(&mut self) {
        self.written = 0;
    }

    fn close_small(&mut self) {
        if !self.small.is_empty() {
            let piece = std::mem::take(&mut self.small).freeze();
            self.waiting_bytes += piece.len();
            self.waiting.push_back(piece);
        }
    }
}

fn send_datagram(datagram: Bytes, quic: &mut Quic, counters: &Counters) {
    if quic.datagrams().send(datagram, false).is_err() {
        counters.datagrams_skipped.increment();
    }
}
