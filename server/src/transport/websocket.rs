//! Sessions over WebSocket: a binary message a frame, for networks and browsers without WebTransport.
//!
//! TCP carries everything in order, so a frame that may be lost is sent only while nothing else waits.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use bytes::Bytes;
use chalkboard_shared::limits::CLIENT_FRAME_BYTES_MAX;
use chalkboard_shared::reason::DisconnectReason;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::outbox::{Batch, Outbox, PushError};
use crate::outlet::Outlet;
use crate::session::{Ending, GOODBYE_WAIT, HELLO_WAIT, Received, Reception, Session, bye};
use crate::telemetry::Counters;

/// Added to a reason's code: 4000 to 4999 are the application's.
const CLOSE_CODE_BASE: u32 = 4000;
/// How often the peer is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Silence after which it is not; the same as on QUIC.
const IDLE_MAX: Duration = Duration::from_secs(15);
/// Largest message that is read at all: above a frame's limit, so that the peer can be told what was wrong.
const MESSAGE_BYTES_MAX: usize = 2 * CLIENT_FRAME_BYTES_MAX;
/// Bytes that wait in the library before they are written to the socket: a batch and its head.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

type Sink = SplitSink<WebSocket, Message>;

/// The socket's limits, to be set before it is upgraded.
pub(crate) fn limited(upgrade: WebSocketUpgrade) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(CLIENT_FRAME_BYTES_MAX / 4)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
}

/// Serves a socket until it ends, and closes it.
pub(crate) async fn serve(reception: &Reception, socket: WebSocket) {
    let _connected = reception.connected.enter();
    let (mut sink, mut stream) = socket.split();
    if let Ending::Told(reason) = serve_session(reception, &mut sink, &mut stream).await {
        close(sink, stream, reason).await;
    }
}

/// Tells a page whose origin is not allowed so: a refused upgrade would tell it nothing.
pub(crate) async fn refuse(reception: &Reception, socket: WebSocket, reason: DisconnectReason) {
    let _connected = reception.connected.enter();
    let (mut sink, stream) = socket.split();
    let _ = timeout(GOODBYE_WAIT, sink.send(Message::Binary(bye(reason)))).await;
    close(sink, stream, reason).await;
}

/// Sends the close and waits for the peer's, or else its kernel may throw away what it has not read.
async fn close(mut sink: Sink, mut stream: SplitStream<WebSocket>, reason: DisconnectReason) {
    let frame = CloseFrame {
        code: (CLOSE_CODE_BASE + reason.code()) as u16,
        reason: reason.to_string().into(),
    };
    let _ = timeout(GOODBYE_WAIT, async {
        if sink.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = stream.next().await {}
        }
    })
    .await;
}

async fn serve_session(
    reception: &Reception,
    sink: &mut Sink,
    stream: &mut SplitStream<WebSocket>,
) -> Ending {
    let came = Instant::now().into_std();
    let hello = match timeout(HELLO_WAIT, next_frame(stream)).await {
        Ok(Ok(frame)) => frame,
        Ok(Err(ending)) => return goodbye(sink, ending).await,
        Err(_) => return goodbye(sink, Ending::Told(DisconnectReason::Timeout)).await,
    };
    let outbox = Arc::new(Outbox::default());
    let opened = async {
        let hello = Session::read_hello(reception, hello)?;
        Session::join(reception, hello, came, Outlet::Queue(outbox.clone())).await
    };
    let session = match opened.await {
        Ok(session) => session,
        Err(reason) => return goodbye(sink, Ending::Told(reason)).await,
    };
    let writing = async {
        tokio::select! {
            ending = write_frames(sink, &session, &outbox, &reception.counters) => ending,
            reason = outbox.overdue(GOODBYE_WAIT) => Ending::Told(reason),
        }
    };
    let reading = read_frames(&session, &outbox, stream);
    tokio::pin!(writing);
    let ending = tokio::select! {
        ending = &mut writing => ending,
        ending = reading => match ending {
            Ending::Told(reason) => {
                // The outbox may hold an earlier reason, which is then the one that is told.
                outbox.close(reason);
                timeout(GOODBYE_WAIT, writing).await.unwrap_or(ending)
            }
            Ending::Gone => ending,
        }
    };
    session.log_ending(ending);
    ending
}

/// Says why before the close does: a client reads both transports alike.
async fn goodbye(sink: &mut Sink, ending: Ending) -> Ending {
    if let Ending::Told(reason) = ending {
        let _ = timeout(GOODBYE_WAIT, sink.send(Message::Binary(bye(reason)))).await;
    }
    ending
}

/// The next frame; control messages before it are passed over.
async fn next_frame(stream: &mut SplitStream<WebSocket>) -> Result<Bytes, Ending> {
    loop {
        match stream.next().await {
            Some(Ok(Message::Binary(frame))) if frame.len() > CLIENT_FRAME_BYTES_MAX => {
                return Err(Ending::Told(DisconnectReason::TooLarge));
            }
            Some(Ok(Message::Binary(frame))) => return Ok(frame),
            Some(Ok(Message::Text(_))) => return Err(Ending::Told(DisconnectReason::Malformed)),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Ending::Gone),
        }
    }
}

/// Reads until the peer has gone or been silent for too long. Any message, also a pong, is a sign of life.
async fn read_frames(
    session: &Session,
    outbox: &Outbox,
    stream: &mut SplitStream<WebSocket>,
) -> Ending {
    loop {
        let message = match timeout(IDLE_MAX, stream.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(_)) | None) => return Ending::Gone,
            Err(_) => return Ending::Told(DisconnectReason::Timeout),
        };
        let frame = match message {
            Message::Binary(frame) => frame,
            Message::Ping(_) | Message::Pong(_) => continue,
            Message::Text(_) => return Ending::Told(DisconnectReason::Malformed),
            Message::Close(_) => return Ending::Gone,
        };
        if frame.len() > CLIENT_FRAME_BYTES_MAX {
            return Ending::Told(DisconnectReason::TooLarge);
        }
        let bytes = frame.len();
        let taken = match session.receive(frame) {
            Ok(Received::Nothing) => Ok(()),
            Ok(Received::Answer(answer)) => match outbox.push(answer) {
                Ok(()) | Err(PushError::Ended) => Ok(()),
                Err(PushError::Full) => Err(DisconnectReason::TooSlow),
            },
            Ok(Received::Forward(input)) => session.send(input, bytes).await,
            Err(reason) => Err(reason),
        };
        if let Err(reason) = taken {
            return Ending::Told(reason);
        }
    }
}

async fn write_frames(
    sink: &mut Sink,
    session: &Session,
    outbox: &Outbox,
    counters: &Counters,
) -> Ending {
    let mut unreported = 0;
    let mut pings = interval(PING_INTERVAL);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset_at(Instant::now() + PING_INTERVAL);
    loop {
        let batch = tokio::select! {
            batch = outbox.next() => batch,
            _ = pings.tick() => {
                if sink.send(Message::Ping(Bytes::new())).await.is_err() {
                    return Ending::Gone;
                }
                continue;
            }
        };
        unreported += batch.reliable_bytes();
        let end = batch.end;
        if write(sink, batch, counters).await.is_err() {
            return Ending::Gone;
        }
        if let Some(reason) = end {
            return Ending::Told(reason);
        }
        if let Some(report) = session.written(unreported) {
            unreported = 0;
            if let Err(reason) = session.send(report, 0).await {
                // The room's own reason comes first if it has left one.
                outbox.close(reason);
            }
        }
    }
}

/// Writes a batch, and the goodbye if it is the last.
async fn write(sink: &mut Sink, batch: Batch, counters: &Counters) -> Result<(), axum::Error> {
    let goodbye = batch.end.map(bye);
    for frame in batch.reliable.into_iter().chain(goodbye) {
        sink.feed(Message::Binary(frame)).await?;
    }
    if batch.is_behind {
        counters.datagrams_skipped.add(batch.datagrams.len() as u64);
    } else {
        for frame in batch.datagrams {
            sink.feed(Message::Binary(frame)).await?;
        }
    }
    sink.flush().await
}
