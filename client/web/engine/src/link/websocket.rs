//! The fallback: a WebSocket, each message a frame.

use std::rc::Rc;

use bytes::Bytes;
use chalkboard_client::bridge::TransportKind;
use chalkboard_shared::limits::SERVER_FRAME_BYTES_MAX;
use js_sys::{ArrayBuffer, Uint8Array};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use web_sys::{BinaryType, CloseEvent, Event, MessageEvent, WebSocket};

use super::{LinkEnd, LinkEvent, Shared, Wire};

/// Bytes waiting in the socket beyond which presence is left out: it would be old when it arrives.
const PRESENCE_BACKLOG_MAX: u32 = 16 * 1024;
/// Close codes of the protocol begin here.
const CODE_BASE: u16 = 4000;

/// An open socket. Dropping it closes it.
pub(super) struct Socket(WebSocket);

impl Socket {
    pub(super) fn send(&self, reliable: bool, frame: &[u8]) {
        if reliable || self.0.buffered_amount() < PRESENCE_BACKLOG_MAX {
            // Fails only before it is open; a socket that has closed drops silently and has reported its end.
            let _ = self.0.send_with_u8_array(frame);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        close(&self.0);
    }
}

fn close(socket: &WebSocket) {
    socket.set_onopen(None);
    socket.set_onmessage(None);
    socket.set_onclose(None);
    let _ = socket.close();
}

/// Begins to connect, once for a link.
pub(super) fn connect(shared: &Rc<Shared>, url: &str) {
    if shared.websocket_tried.replace(true) {
        return;
    }
    let Ok(socket) = WebSocket::new(url) else {
        return shared.emit(LinkEvent::Closed(LinkEnd::Broken));
    };
    socket.set_binary_type(BinaryType::Arraybuffer);

    let opened = {
        let (shared, socket) = (Rc::clone(shared), socket.clone());
        Closure::<dyn FnMut(Event)>::new(move |_| {
            if shared.is_undecided() {
                shared.win(
                    Wire::WebSocket(Socket(socket.clone())),
                    TransportKind::WebSocket,
                );
            } else {
                close(&socket);
            }
        })
    };
    let received = {
        let shared = Rc::clone(shared);
        Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            if let Ok(buffer) = event.data().dyn_into::<ArrayBuffer>()
                && buffer.byte_length() as usize <= SERVER_FRAME_BYTES_MAX
            {
                shared.emit(LinkEvent::Frame(Bytes::from(
                    Uint8Array::new(&buffer).to_vec(),
                )));
            }
        })
    };
    let closed = {
        let shared = Rc::clone(shared);
        Closure::<dyn FnMut(CloseEvent)>::new(move |event: CloseEvent| {
            shared.websocket_failed.set(true);
            let is_ours = match *shared.wire.borrow() {
                Wire::WebSocket(_) => true,
                Wire::WebTransport(_) => false,
                // WebTransport may yet win.
                Wire::None => !shared.webtransport_pending.get(),
            };
            if is_ours {
                let end = event
                    .code()
                    .checked_sub(CODE_BASE)
                    .map_or(LinkEnd::Broken, |code| LinkEnd::Code(code.into()));
                shared.emit(LinkEvent::Closed(end));
            }
        })
    };
    // The browser frees them with the socket.
    socket.set_onopen(Some(opened.into_js_value().unchecked_ref()));
    socket.set_onmessage(Some(received.into_js_value().unchecked_ref()));
    socket.set_onclose(Some(closed.into_js_value().unchecked_ref()));
}
