//! Sessions over WebTransport: one bidirectional stream that the client opens, and datagrams.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chalkboard_shared::limits::CLIENT_FRAME_BYTES_MAX;
use chalkboard_shared::reason::DisconnectReason;
use chalkboard_shared::wire::frame::{self, FrameDecoder};
use tokio::time::timeout;
use web_transport_quinn::{RecvStream, SendStream, Session as Connection};

use crate::outbox::{Batch, Outbox};
use crate::session::{Ending, GOODBYE_WAIT, HELLO_WAIT, Reception, Session, bye};
use crate::telemetry::Counters;

/// Bytes that are taken off the stream at once.
const READ_BYTES_MAX: usize = 16 * 1024;
/// From this size on a frame is passed on as it is; smaller ones are copied together.
const FRAME_BYTES_UNCOPIED: usize = 4 * 1024;

/// Serves a connection until it ends, and closes it.
pub(crate) async fn serve(reception: &Reception, connection: Connection) {
    let _connected = reception.connected.enter();
    match serve_session(reception, &connection).await {
        Ending::Told(reason) => close(&connection, reason).await,
        // Where only the session has ended, not the connection beneath it.
        Ending::Gone => connection.close(0, b""),
    }
}

/// Closes a connection with a reason that the page can read.
pub(crate) async fn close(connection: &Connection, reason: DisconnectReason) {
    connection.close(reason.code(), reason.to_string().as_bytes());
    // Bounded: the library gives the peer three round trips, then closes by force.
    let _ = timeout(GOODBYE_WAIT, connection.closed()).await;
}

async fn serve_session(reception: &Reception, connection: &Connection) -> Ending {
    let hello = async {
        let (send, recv) = connection.accept_bi().await.map_err(|_| Ending::Gone)?;
        let mut reader = Reader::new(recv);
        let hello = reader.next().await?;
        Ok((send, reader, hello))
    };
    let (mut send, reader, hello) = match timeout(HELLO_WAIT, hello).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(ending)) => return ending,
        Err(_) => return Ending::Told(DisconnectReason::Timeout),
    };
    let outbox = Arc::new(Outbox::default());
    let opened = tokio::select! {
        opened = Session::open(reception, hello, outbox.clone()) => opened,
        _ = connection.closed() => return Ending::Gone,
    };
    let session = match opened {
        Ok(session) => session,
        Err(reason) => {
            let last = Batch {
                end: Some(reason),
                ..Batch::default()
            };
            let _ = timeout(GOODBYE_WAIT, write(&mut send, last)).await;
            return Ending::Told(reason);
        }
    };
    let ending = exchange(reception, connection, &session, &outbox, send, reader).await;
    session.log_ending(ending);
    ending
}

/// Carries frames in both directions until one of them ends.
async fn exchange(
    reception: &Reception,
    connection: &Connection,
    session: &Session,
    outbox: &Outbox,
    send: SendStream,
    reader: Reader,
) -> Ending {
    let writing = async {
        tokio::select! {
            ending = write_frames(connection, session, outbox, send, &reception.counters) => ending,
            reason = outbox.overdue(GOODBYE_WAIT) => Ending::Told(reason),
        }
    };
    let reading = read_frames(session, reader);
    let datagrams = read_datagrams(connection, session);
    tokio::pin!(writing);
    tokio::select! {
        ending = &mut writing => ending,
        ending = reading => finish(outbox, writing, ending).await,
        ending = datagrams => finish(outbox, writing, ending).await,
    }
}

/// Lets the writer say goodbye, which only it can: it may be in the middle of a frame.
async fn finish(outbox: &Outbox, writing: impl Future<Output = Ending>, ending: Ending) -> Ending {
    if let Ending::Told(reason) = ending {
        outbox.close(reason);
        // The outbox may hold an earlier reason, which is then the one that is told. What can't be written in time is
        // told by the close alone.
        return timeout(GOODBYE_WAIT, writing).await.unwrap_or(ending);
    }
    ending
}

/// Frames off the stream.
struct Reader {
    stream: RecvStream,
    decoder: FrameDecoder,
}

impl Reader {
    fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            decoder: FrameDecoder::new(CLIENT_FRAME_BYTES_MAX),
        }
    }

    async fn next(&mut self) -> Result<Bytes, Ending> {
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => return Ok(frame),
                Ok(None) => {}
                Err(error) if error.len == 0 => {
                    return Err(Ending::Told(DisconnectReason::Malformed));
                }
                Err(_) => return Err(Ending::Told(DisconnectReason::TooLarge)),
            }
            match self.stream.read_chunk(READ_BYTES_MAX, true).await {
                Ok(Some(chunk)) => self.decoder.feed(&chunk.bytes),
                // The client has ended its stream, and so the session.
                Ok(None) | Err(_) => return Err(Ending::Gone),
            }
        }
    }
}

async fn read_frames(session: &Session, mut reader: Reader) -> Ending {
    loop {
        let frame = match reader.next().await {
            Ok(frame) => frame,
            Err(ending) => return ending,
        };
        if let Err(reason) = session.receive(frame).await {
            return Ending::Told(reason);
        }
    }
}

async fn read_datagrams(connection: &Connection, session: &Session) -> Ending {
    loop {
        match connection.read_datagram().await {
            Ok(frame) => session.receive_datagram(frame),
            Err(_) => return Ending::Gone,
        }
    }
}

async fn write_frames(
    connection: &Connection,
    session: &Session,
    outbox: &Outbox,
    mut send: SendStream,
    counters: &Counters,
) -> Ending {
    let mut unreported = 0;
    loop {
        let mut batch = outbox.next().await;
        for fragment in batch.datagrams.drain(..) {
            let mut datagram = BytesMut::with_capacity(frame::packed_bytes(&fragment));
            frame::pack(&fragment, &mut datagram);
            let datagram = datagram.freeze();
            // A connection that is behind gets the next tick's instead: what is old when it arrives is no use.
            if connection.datagram_send_buffer_space() < datagram.len()
                || connection.send_datagram(datagram).is_err()
            {
                counters.datagrams_skipped.increment();
            }
        }
        unreported += batch.reliable_bytes();
        let end = batch.end;
        if write(&mut send, batch).await.is_err() {
            return Ending::Gone;
        }
        if let Some(reason) = end {
            return Ending::Told(reason);
        }
        if let Err(reason) = session.report_written(&mut unreported).await {
            // The room's own reason comes first if it has left one.
            outbox.close(reason);
        }
    }
}

/// Writes a batch's reliable frames, and the goodbye if it is the last.
async fn write(send: &mut SendStream, batch: Batch) -> Result<(), web_transport_quinn::WriteError> {
    let goodbye = batch.end.map(bye);
    let mut parts: Vec<Bytes> = Vec::new();
    let mut small = BytesMut::new();
    for frame in batch.reliable.into_iter().chain(goodbye) {
        small.extend_from_slice(&frame::head(&frame));
        if frame.len() < FRAME_BYTES_UNCOPIED {
            small.extend_from_slice(&frame);
        } else {
            parts.push(small.split().freeze());
            parts.push(frame);
        }
    }
    if !small.is_empty() {
        parts.push(small.freeze());
    }
    send.write_all_chunks(&mut parts).await?;
    if batch.end.is_some() {
        // Nothing follows; closed already is as good.
        let _ = send.finish();
    }
    Ok(())
}
