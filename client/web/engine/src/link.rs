//! One connection to the server: finds out where it is, tries WebTransport, falls back on a WebSocket.
//!
//! A link is made for one attempt and thrown away after it; [`crate::connection`] decides about the next. It carries
//! frames and knows nothing of what is in them. Everything it has to say reaches the engine as [`LinkEvent`]s.

mod address;
mod websocket;
mod webtransport;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use chalkboard_client::bridge::TransportKind;
use wasm_bindgen_futures::spawn_local;

use crate::browser::sleep;
use crate::worker::with_engine;

/// WebTransport gets this long before the WebSocket is tried as well: some browsers take 30 s to say no.
const HEAD_START_MS: f64 = 1500.0;

/// News of a link.
pub(crate) enum LinkEvent {
    /// Frames can be sent and will come.
    Ready(TransportKind),
    /// A frame, from stream or datagram.
    Frame(Bytes),
    /// It ended, or never came about.
    Closed(LinkEnd),
}

/// Why a link ended.
pub(crate) enum LinkEnd {
    /// The server said why: code of a `DisconnectReason`.
    Code(u32),
    /// The network broke, or the server can't be reached.
    Broken,
    /// There is no such board here.
    UnknownBoard,
}

/// A connection, or the attempt at one. Dropping it closes it.
pub(crate) struct Link(Rc<Shared>);

struct Shared {
    /// Which attempt of the engine's this is.
    attempt: u32,
    wire: RefCell<Wire>,
    ended: Cell<bool>,
    websocket_tried: Cell<bool>,
    websocket_failed: Cell<bool>,
    webtransport_pending: Cell<bool>,
}

/// What carries the frames.
#[derive(Default)]
enum Wire {
    /// Being made: what may still win.
    #[default]
    None,
    WebTransport(webtransport::Session),
    WebSocket(websocket::Socket),
}

impl Link {
    /// Begins to connect to a board.
    pub(crate) fn open(attempt: u32, board: &str, websocket_only: bool) -> Self {
        let shared = Rc::new(Shared {
            attempt,
            wire: RefCell::default(),
            ended: Cell::new(false),
            websocket_tried: Cell::new(false),
            websocket_failed: Cell::new(false),
            webtransport_pending: Cell::new(false),
        });
        spawn_local(connect(
            Rc::clone(&shared),
            board.to_owned(),
            websocket_only,
        ));
        Self(shared)
    }

    /// Sends a frame; what is not reliable is dropped where it would have to wait. Nothing happens before
    /// [`LinkEvent::Ready`].
    pub(crate) fn send(&self, reliable: bool, frame: &[u8]) {
        match &*self.0.wire.borrow() {
            Wire::None => {}
            Wire::WebTransport(session) => session.send(reliable, frame),
            Wire::WebSocket(socket) => socket.send(reliable, frame),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.0.ended.set(true);
        self.0.wire.take();
    }
}

impl Shared {
    fn is_open(&self) -> bool {
        !self.ended.get()
    }

    fn is_undecided(&self) -> bool {
        self.is_open() && matches!(*self.wire.borrow(), Wire::None)
    }

    /// The first transport that is ready wins; tells whether this one did. The other one closes itself.
    fn win(&self, wire: Wire, kind: TransportKind) -> bool {
        if !self.is_undecided() {
            return false;
        }
        *self.wire.borrow_mut() = wire;
        self.emit(LinkEvent::Ready(kind));
        true
    }

    fn emit(&self, event: LinkEvent) {
        if self.is_open() {
            if matches!(event, LinkEvent::Closed(_)) {
                self.ended.set(true);
            }
            with_engine(|engine| engine.on_link(self.attempt, event));
        }
    }
}

async fn connect(shared: Rc<Shared>, board: String, websocket_only: bool) {
    let address = match address::fetch(&board).await {
        Ok(address) => address,
        Err(end) => return shared.emit(LinkEvent::Closed(end)),
    };
    if !shared.is_open() {
        return;
    }
    let address = Rc::new(address);
    let webtransport = address
        .webtransport
        .as_ref()
        .filter(|_| !websocket_only && webtransport::is_supported());
    let Some(target) = webtransport.cloned() else {
        return websocket::connect(&shared, &address.websocket);
    };
    spawn_local({
        let (shared, address) = (Rc::clone(&shared), Rc::clone(&address));
        async move {
            sleep(HEAD_START_MS).await;
            if shared.is_undecided() {
                websocket::connect(&shared, &address.websocket);
            }
        }
    });
    shared.webtransport_pending.set(true);
    let carried = webtransport::run(&shared, &target).await;
    shared.webtransport_pending.set(false);
    if carried.is_none() && shared.is_undecided() {
        if shared.websocket_failed.get() {
            shared.emit(LinkEvent::Closed(LinkEnd::Broken));
        } else {
            websocket::connect(&shared, &address.websocket);
        }
    }
}
