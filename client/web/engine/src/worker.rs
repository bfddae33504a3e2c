//! The Worker's message loop: the page's messages in, the engine's notices out.
//!
//! Owns the one engine of this Worker, and the order of the start: first the canvas, then [`Command::Open`]. Commands
//! that come before wait for both, so that a stroke drawn while the board is still being created is not lost.

use std::cell::RefCell;

use chalkboard_client::bridge::{self, BRIDGE_VERSION, Command, Notice};
use js_sys::{Object, Uint8Array};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{MessageEvent, OffscreenCanvas};

use crate::browser::{get, post_bytes, scope};
use crate::engine::Engine;
use crate::probe;
use crate::store::{self, Store};

/// Commands held before the board is opened: some ten seconds of drawing. Gestures beyond it are dropped.
const BACKLOG_MAX: usize = 1024;

#[derive(Default)]
struct Worker {
    canvas: Option<OffscreenCanvas>,
    backlog: Vec<Command>,
    engine: Option<Engine>,
}

/// What [`Command::Open`] asks for.
pub(crate) struct Opening {
    pub(crate) board: String,
    pub(crate) secret: String,
    pub(crate) name: String,
    pub(crate) color: u32,
    pub(crate) websocket_only: bool,
}

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
}

/// Takes over the message handler and reports that the engine is there.
pub(crate) fn start() {
    console_error_panic_hook::set_once();
    let callback =
        Closure::<dyn FnMut(MessageEvent)>::new(|event: MessageEvent| receive(&event.data()));
    scope().set_onmessage(Some(callback.into_js_value().unchecked_ref()));
    notify(&Notice::Started {
        version: BRIDGE_VERSION,
    });
}

/// Tells the page.
pub(crate) fn notify(notice: &Notice) {
    post_bytes(&bridge::encode(notice));
}

/// Lends the engine to a callback of the browser: a frame, a timer, the link. All of these are tasks of their own,
/// so that no two borrow it at once.
pub(crate) fn with_engine(callback: impl FnOnce(&mut Engine)) {
    WORKER.with_borrow_mut(|worker| {
        if let Some(engine) = &mut worker.engine {
            callback(engine);
        }
    });
}

fn receive(data: &JsValue) {
    if let Some(bytes) = data.dyn_ref::<Uint8Array>() {
        // The two halves come from one build; what does not decode is a stale cached file, which `Started` reveals.
        if let Some(command) = bridge::decode(&bytes.to_vec()) {
            WORKER.with_borrow_mut(|worker| worker.command(command));
        }
    } else if let Ok(canvas) = get(data, "canvas").dyn_into::<OffscreenCanvas>() {
        WORKER.with_borrow_mut(|worker| worker.canvas(canvas));
    } else if let Some(request) = data.dyn_ref::<Object>() {
        WORKER.with_borrow_mut(|worker| probe::answer(worker.engine.as_mut(), request));
    }
}

/// Opens a board with what the browser has kept of it. Commands wait meanwhile.
async fn open(canvas: OffscreenCanvas, opening: Opening) {
    let place = store::place(&opening.board, &opening.secret);
    let store = Store::open(place, false).await;
    WORKER.with_borrow_mut(|worker| {
        worker.engine = Engine::open(canvas, &opening, store);
        for command in std::mem::take(&mut worker.backlog) {
            worker.command(command);
        }
    });
}

impl Worker {
    fn canvas(&mut self, canvas: OffscreenCanvas) {
        self.canvas = Some(canvas);
        for command in std::mem::take(&mut self.backlog) {
            self.command(command);
        }
    }

    fn command(&mut self, command: Command) {
        if let Some(engine) = &mut self.engine {
            engine.command(command);
            return;
        }
        match (command, self.canvas.take()) {
            (
                Command::Open {
                    board,
                    secret,
                    name,
                    color,
                    websocket_only,
                },
                Some(canvas),
            ) => spawn_local(open(
                canvas,
                Opening {
                    board,
                    secret,
                    name,
                    color,
                    websocket_only,
                },
            )),
            (command, canvas) => {
                self.canvas = canvas;
                self.hold(command);
            }
        }
    }

    fn hold(&mut self, command: Command) {
        if self.backlog.len() >= BACKLOG_MAX {
            self.backlog
                .retain(|kept| !matches!(kept, Command::Pointer(_) | Command::Wheel { .. }));
        }
        if self.backlog.len() < BACKLOG_MAX {
            self.backlog.push(command);
        }
    }
}
