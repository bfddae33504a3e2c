//! Keeps a link to the board up: when to connect, when to try again, when to give up, and what the page is told.

use chalkboard_client::bridge::{ConnectionState, Notice, TransportKind};
use chalkboard_client::reconnect::Backoff;
use chalkboard_shared::DisconnectReason;
use js_sys::Math;

use crate::browser::{scope, set_timeout};
use crate::link::{Link, LinkEnd};
use crate::worker::{notify, with_engine};

/// Online for so long, a connection has worked: the next failure begins with the shortest delay.
const PROVEN_MS: f64 = 10_000.0;

/// The connection to one board.
pub(crate) struct Connection {
    board: String,
    websocket_only: bool,
    backoff: Backoff,
    /// Number of the current attempt; events of older ones are nobody's business any more.
    attempt: u32,
    state: State,
    was_online: bool,
}

enum State {
    /// An attempt is being made.
    Connecting(Link),
    Online {
        link: Link,
        transport: TransportKind,
        since_ms: f64,
    },
    /// The timer tries again.
    Waiting { timer: Option<i32> },
    /// For good.
    Closed,
}

impl Connection {
    /// Begins to connect.
    pub(crate) fn open(board: String, websocket_only: bool) -> Self {
        let link = Link::open(0, &board, websocket_only);
        notify(&Notice::Connection(ConnectionState::Connecting));
        Self {
            board,
            websocket_only,
            backoff: Backoff::new(),
            attempt: 0,
            state: State::Connecting(link),
            was_online: false,
        }
    }

    /// Is this the attempt that counts?
    pub(crate) fn is_current(&self, attempt: u32) -> bool {
        attempt == self.attempt && !matches!(self.state, State::Closed | State::Waiting { .. })
    }

    /// The link is up.
    pub(crate) fn ready(&mut self, now_ms: f64, transport: TransportKind) {
        if let State::Connecting(link) = std::mem::replace(&mut self.state, State::Closed) {
            self.state = State::Online {
                link,
                transport,
                since_ms: now_ms,
            };
            self.was_online = true;
            notify(&Notice::Connection(ConnectionState::Online(transport)));
        }
    }

    /// Sends a frame while online.
    pub(crate) fn send(&self, reliable: bool, frame: &[u8]) {
        if let State::Online { link, .. } = &self.state {
            link.send(reliable, frame);
        }
    }

    /// The transport in use.
    pub(crate) fn transport(&self) -> Option<TransportKind> {
        match &self.state {
            State::Online { transport, .. } => Some(*transport),
            State::Connecting(_) | State::Waiting { .. } | State::Closed => None,
        }
    }

    /// The link ended: tries again later, or not at all.
    pub(crate) fn ended(&mut self, now_ms: f64, end: &LinkEnd) {
        match end {
            LinkEnd::UnknownBoard => self.close(DisconnectReason::NoAccess),
            LinkEnd::Broken => self.retry(now_ms),
            LinkEnd::Code(code) => match DisconnectReason::from_code(*code) {
                Some(reason) => self.said(now_ms, reason),
                None => self.retry(now_ms),
            },
        }
    }

    /// The server said why it ends the connection.
    pub(crate) fn said(&mut self, now_ms: f64, reason: DisconnectReason) {
        if reason.is_retryable() {
            self.retry(now_ms);
        } else {
            self.close(reason);
        }
    }

    /// Tries now instead of later.
    pub(crate) fn hurry(&mut self) {
        if let State::Waiting { timer } = self.state {
            if let Some(timer) = timer {
                scope().clear_timeout_with_handle(timer);
            }
            self.connect();
        }
    }

    /// Connects anew, as somebody else: the server gets to know who by the hello.
    pub(crate) fn renew(&mut self) {
        self.connect();
    }

    fn retry(&mut self, now_ms: f64) {
        if let State::Online { since_ms, .. } = self.state
            && now_ms - since_ms >= PROVEN_MS
        {
            self.backoff.succeeded();
        }
        let delay_ms = self.backoff.next_delay_ms(Math::random());
        let attempt = self.attempt;
        let timer = set_timeout(delay_ms, move || {
            with_engine(|engine| {
                if engine.connection.attempt == attempt
                    && matches!(engine.connection.state, State::Waiting { .. })
                {
                    engine.connection.connect();
                }
            });
        });
        self.state = State::Waiting { timer };
        self.tell(delay_ms as u32);
    }

    fn connect(&mut self) {
        self.attempt = self.attempt.wrapping_add(1);
        self.state = State::Connecting(Link::open(self.attempt, &self.board, self.websocket_only));
        self.tell(0);
    }

    fn close(&mut self, reason: DisconnectReason) {
        self.state = State::Closed;
        notify(&Notice::Connection(ConnectionState::Closed(
            reason.to_string(),
        )));
    }

    fn tell(&self, retry_ms: u32) {
        // Until it has worked once, nothing was lost that could be regained.
        let state = if self.was_online {
            ConnectionState::Reconnecting { retry_ms }
        } else {
            ConnectionState::Connecting
        };
        notify(&Notice::Connection(state));
    }
}
