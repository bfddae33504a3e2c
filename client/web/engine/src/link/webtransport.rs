//! WebTransport: one stream of frames that this side opens, and datagrams; those that come hold several frames.
//!
//! The bindings are our own, because `web-sys` has WebTransport only behind an unstable flag.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use chalkboard_client::bridge::TransportKind;
use chalkboard_shared::limits::SERVER_FRAME_BYTES_MAX;
use chalkboard_shared::wire::frame::{DatagramFrames, FrameDecoder, head};
use js_sys::{Array, Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};

use super::address::WebTransportAddress;
use super::{LinkEnd, LinkEvent, Shared, Wire};
use crate::browser::{get, object};

/// Datagrams that may wait for this Worker: two seconds of presence. The browser drops the oldest.
const INCOMING_DATAGRAMS_MAX: f64 = 128.0;

#[wasm_bindgen]
extern "C" {
    #[derive(Clone)]
    type WebTransport;
    #[wasm_bindgen(catch, constructor)]
    fn new(url: &str, options: &Object) -> Result<WebTransport, JsValue>;
    #[wasm_bindgen(method, getter)]
    fn ready(this: &WebTransport) -> Promise;
    #[wasm_bindgen(method, getter)]
    fn closed(this: &WebTransport) -> Promise;
    #[wasm_bindgen(method, getter)]
    fn datagrams(this: &WebTransport) -> Duplex;
    #[wasm_bindgen(method, js_name = createBidirectionalStream)]
    fn create_bidirectional_stream(this: &WebTransport) -> Promise;
    #[wasm_bindgen(catch, method)]
    fn close(this: &WebTransport) -> Result<(), JsValue>;

    #[derive(Clone)]
    type Duplex;
    #[wasm_bindgen(method, getter)]
    fn readable(this: &Duplex) -> Readable;
    #[wasm_bindgen(method, getter)]
    fn writable(this: &Duplex) -> Option<Writable>;
    /// Newer name of `writable` for datagrams.
    #[wasm_bindgen(catch, method, js_name = createWritable)]
    fn create_writable(this: &Duplex) -> Result<Writable, JsValue>;
    #[wasm_bindgen(method, getter, js_name = maxDatagramSize)]
    fn max_datagram_size(this: &Duplex) -> f64;

    type Readable;
    #[wasm_bindgen(catch, method, js_name = getReader)]
    fn get_reader(this: &Readable) -> Result<Reader, JsValue>;

    type Reader;
    #[wasm_bindgen(method)]
    fn read(this: &Reader) -> Promise;

    type Writable;
    #[wasm_bindgen(catch, method, js_name = getWriter)]
    fn get_writer(this: &Writable) -> Result<Writer, JsValue>;

    #[derive(Clone)]
    type Writer;
    #[wasm_bindgen(method)]
    fn write(this: &Writer, bytes: &Uint8Array) -> Promise;
}

/// An open session. Dropping it closes it.
pub(super) struct Session {
    transport: WebTransport,
    stream: Writer,
    datagrams: Duplex,
    datagram_writer: Writer,
    newest: Rc<RefCell<Newest>>,
}

/// Datagrams on their way out: one is being written, and only the newest waits behind it.
#[derive(Default)]
struct Newest {
    is_writing: bool,
    waiting: Option<Vec<u8>>,
}

impl Session {
    pub(super) fn send(&self, reliable: bool, frame: &[u8]) {
        if reliable {
            let bytes = Uint8Array::new_with_length((frame.len() + 4) as u32);
            bytes.set(&Uint8Array::from(&head(frame)[..]), 0);
            bytes.subarray(4, bytes.length()).copy_from(frame);
            // The queue is as long as the client lets it be: it keeps a bounded number of ops in flight.
            forget(self.stream.write(&bytes));
        } else if frame.len() as f64 <= self.datagrams.max_datagram_size() {
            self.send_datagram(frame);
        }
    }

    fn send_datagram(&self, frame: &[u8]) {
        let mut newest = self.newest.borrow_mut();
        if newest.is_writing {
            newest.waiting = Some(frame.to_vec());
            return;
        }
        newest.is_writing = true;
        let (writer, newest, first) = (
            self.datagram_writer.clone(),
            Rc::clone(&self.newest),
            Uint8Array::from(frame),
        );
        spawn_local(async move {
            let mut next = Some(first);
            while let Some(bytes) = next {
                // A failure means that the session is over, which its reader reports.
                let _ = JsFuture::from(writer.write(&bytes)).await;
                let mut newest = newest.borrow_mut();
                next = newest
                    .waiting
                    .take()
                    .map(|bytes| Uint8Array::from(bytes.as_slice()));
                newest.is_writing = next.is_some();
            }
        });
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.transport.close();
    }
}

/// Does this browser have it?
pub(super) fn is_supported() -> bool {
    get(&js_sys::global(), "WebTransport").is_function()
}

/// Connects, and if it wins carries frames until the end, which it reports. `None` when it failed before.
pub(super) async fn run(shared: &Rc<Shared>, address: &WebTransportAddress) -> Option<()> {
    let transport = WebTransport::new(&address.url, &options(address)).ok()?;
    // Settled in any case; without a handler browsers complain about it.
    let closed = transport.closed();
    forget(closed.clone());
    let opened = open(&transport).await;
    let Some((stream, session)) = opened else {
        let _ = transport.close();
        return None;
    };
    let datagrams = session.datagrams.clone();
    if !shared.win(Wire::WebTransport(session), TransportKind::WebTransport) {
        // The WebSocket was faster; the session closed as it was dropped.
        return Some(());
    }
    spawn_local(read_datagrams(Rc::clone(shared), datagrams));
    read_stream(shared, &stream).await;
    // The server closes the session with a code; a broken one is rejected without.
    let end = match JsFuture::from(closed).await {
        Ok(info) => get(&info, "closeCode")
            .as_f64()
            .filter(|code| *code > 0.0)
            .map_or(LinkEnd::Broken, |code| LinkEnd::Code(code as u32)),
        Err(_) => LinkEnd::Broken,
    };
    shared.emit(LinkEvent::Closed(end));
    Some(())
}

fn options(address: &WebTransportAddress) -> Object {
    let options = object(&[
        ("congestionControl", "low-latency".into()),
        ("requireUnreliable", true.into()),
    ]);
    if !address.certificate_hashes.is_empty() {
        let hashes = Array::new();
        for hash in &address.certificate_hashes {
            let value = Uint8Array::from(hash.as_slice());
            hashes.push(&object(&[
                ("algorithm", "sha-256".into()),
                ("value", value.into()),
            ]));
        }
        let _ = Reflect::set(&options, &"serverCertificateHashes".into(), &hashes);
    }
    options
}

async fn open(transport: &WebTransport) -> Option<(Duplex, Session)> {
    JsFuture::from(transport.ready()).await.ok()?;
    let datagrams = transport.datagrams();
    // The default of 1 would drop all but one of the datagrams of a burst.
    let _ = Reflect::set(
        &datagrams,
        &"incomingHighWaterMark".into(),
        &INCOMING_DATAGRAMS_MAX.into(),
    );
    let datagram_writable = match datagrams.writable() {
        Some(writable) => writable,
        None => datagrams.create_writable().ok()?,
    };
    let stream: Duplex = JsFuture::from(transport.create_bidirectional_stream())
        .await
        .ok()?
        .unchecked_into();
    let session = Session {
        transport: transport.clone(),
        stream: stream.writable()?.get_writer().ok()?,
        datagrams,
        datagram_writer: datagram_writable.get_writer().ok()?,
        newest: Rc::default(),
    };
    Some((stream, session))
}

async fn read_stream(shared: &Shared, stream: &Duplex) {
    let Ok(reader) = stream.readable().get_reader() else {
        return;
    };
    let mut decoder = FrameDecoder::new(SERVER_FRAME_BYTES_MAX);
    while let Some(bytes) = read(&reader).await {
        if !shared.is_open() {
            return;
        }
        decoder.feed(&bytes);
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => shared.emit(LinkEvent::Frame(frame)),
                Ok(None) => break,
                // Nothing after it can be read: the same as a break, and the next attempt begins anew.
                Err(_) => return shared.emit(LinkEvent::Closed(LinkEnd::Broken)),
            }
        }
    }
}

async fn read_datagrams(shared: Rc<Shared>, datagrams: Duplex) {
    let Ok(reader) = datagrams.readable().get_reader() else {
        return;
    };
    while let Some(bytes) = read(&reader).await {
        if !shared.is_open() {
            return;
        }
        // What is damaged is as good as lost.
        for frame in DatagramFrames::new(Bytes::from(bytes)).flatten() {
            shared.emit(LinkEvent::Frame(frame));
        }
    }
}

/// The next bytes; `None` at the end.
async fn read(reader: &Reader) -> Option<Vec<u8>> {
    let result = JsFuture::from(reader.read()).await.ok()?;
    get(&result, "value")
        .dyn_into::<Uint8Array>()
        .ok()
        .map(|bytes| bytes.to_vec())
}

/// Lets a promise run whose failure shows elsewhere.
fn forget(promise: Promise) {
    spawn_local(async move {
        let _ = JsFuture::from(promise).await;
    });
}
