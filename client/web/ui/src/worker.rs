//! The line to the engine: takes over the Worker that `index.html` started and speaks the bridge protocol with it.
//!
//! Owns the order of the start: nothing is posted before the engine has said [`Notice::Started`], then the canvas,
//! then everything that was asked for meanwhile. What the notices mean is [`crate::session`]'s business.

use chalkboard_client::bridge::{BRIDGE_VERSION, Command, Notice, decode, encode};
use js_sys::{Array, Object, Promise, Reflect, Uint8Array};
use leptos::prelude::{LocalStorage, StoredValue, UpdateValue, WithValue};
use wasm_bindgen::prelude::Closure;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Event, HtmlCanvasElement, MessageEvent, Worker};

use crate::listener::{listen, mark, window};
use crate::session::Session;

/// Commands held while the engine starts. A person can draw some ten seconds at 100 events a second in that time.
const BACKLOG_MAX: usize = 1024;

/// A handle to the engine; copies speak to the same one.
#[derive(Clone, Copy)]
pub(crate) struct Engine(StoredValue<Port, LocalStorage>);

struct Port {
    worker: Option<Worker>,
    state: PortState,
}

enum PortState {
    /// The engine has not spoken yet.
    Starting {
        canvas: HtmlCanvasElement,
        backlog: Vec<Command>,
    },
    /// The engine listens.
    Running,
    /// There is no engine.
    Failed,
}

/// What `index.html` left for this module.
pub(crate) struct Boot {
    worker: Option<Worker>,
    inbox: Array,
    /// The server's reply to the request for a fresh board, on `/`.
    pub(crate) created: Option<Promise>,
}

impl Boot {
    /// Takes what the page's first script has left.
    pub(crate) fn take() -> Self {
        let boot = get(&window(), "chalkboard");
        Self {
            worker: get(&boot, "worker").dyn_into().ok(),
            inbox: get(&boot, "inbox").dyn_into().unwrap_or_default(),
            created: get(&boot, "created").dyn_into().ok(),
        }
    }
}

impl Engine {
    /// Takes the Worker over; `session` gets everything that it reports, and the reason where there is none to be had.
    pub(crate) fn connect(boot: &Boot, canvas: HtmlCanvasElement, session: Session) -> Self {
        let state = PortState::Starting {
            canvas,
            backlog: Vec::new(),
        };
        let engine = Self(StoredValue::new_local(Port {
            worker: boot.worker.clone(),
            state,
        }));
        let Some(worker) = boot.worker.clone() else {
            engine.fail(session, TOO_OLD);
            return engine;
        };
        worker.set_onerror(None);
        listen(&worker, "error", move |_: Event| {
            engine.notice_error(session);
        });
        // What came before: nothing is lost between here and the new handler, this is one task.
        for data in boot.inbox.iter() {
            if data.is_null() {
                engine.notice_error(session);
            } else {
                engine.receive(session, data);
            }
        }
        let callback = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            engine.receive(session, event.data());
        });
        worker.set_onmessage(Some(callback.into_js_value().unchecked_ref()));
        engine
    }

    fn receive(self, session: Session, data: JsValue) {
        let bytes = data.dyn_into::<Uint8Array>().ok();
        match bytes.and_then(|bytes| decode(&bytes.to_vec())) {
            Some(Notice::Started {
                version: BRIDGE_VERSION,
            }) => {
                mark("chalkboard-engine");
                if self.hand_over_canvas().is_none() {
                    self.fail(session, TOO_OLD);
                }
            }
            Some(Notice::Started { .. }) | None => self.fail(session, STALE),
            Some(notice) => session.apply(notice),
        }
    }

    /// Something was thrown in the Worker: before it has started there is no engine, later it may go on or not.
    fn notice_error(self, session: Session) {
        if self
            .0
            .with_value(|port| matches!(port.state, PortState::Starting { .. }))
        {
            self.fail(session, NOT_STARTED);
        } else {
            session.toasts.show(STUMBLED.to_owned());
        }
    }

    fn fail(self, session: Session, reason: &str) {
        self.0.update_value(|port| port.state = PortState::Failed);
        session.close(reason);
    }

    /// Asks something of the engine; kept until it has started.
    pub(crate) fn send(self, command: Command) {
        self.0.update_value(|port| match &mut port.state {
            PortState::Running => post(port.worker.as_ref(), &command),
            PortState::Starting { backlog, .. } => {
                if backlog.len() >= BACKLOG_MAX {
                    // Half a gesture is worse than none.
                    backlog.retain(|kept| {
                        !matches!(kept, Command::Pointer(_) | Command::Wheel { .. })
                    });
                    backlog.push(Command::Cancel);
                }
                if backlog.len() < BACKLOG_MAX {
                    backlog.push(command);
                }
            }
            PortState::Failed => {}
        });
    }

    /// Posts the canvas and everything that waited for it.
    fn hand_over_canvas(self) -> Option<()> {
        let mut done = None;
        self.0.update_value(|port| {
            let PortState::Starting { canvas, backlog } = &mut port.state else {
                return;
            };
            let backlog = std::mem::take(backlog);
            done = post_canvas(port.worker.as_ref(), canvas);
            for command in backlog {
                post(port.worker.as_ref(), &command);
            }
            port.state = PortState::Running;
        });
        done
    }
}

const TOO_OLD: &str = "This browser cannot draw in the background, which Chalkboard needs. Use a current version of \
    Chrome, Edge, Firefox or Safari.";
const NOT_STARTED: &str =
    "The drawing engine could not be loaded. Check your connection and reload the page.";

const STALE: &str = "Chalkboard was updated while this page was loading. Reload it to go on.";
const STUMBLED: &str =
    "Something went wrong in the drawing engine. If the board no longer answers, reload the page.";

fn post_canvas(worker: Option<&Worker>, canvas: &HtmlCanvasElement) -> Option<()> {
    if !has(canvas, "transferControlToOffscreen") {
        return None;
    }
    let offscreen = canvas.transfer_control_to_offscreen().ok()?;
    let message = Object::new();
    Reflect::set(&message, &"canvas".into(), &offscreen).ok()?;
    worker?
        .post_message_with_transfer(&message, &Array::of1(&offscreen))
        .ok()
}

fn post(worker: Option<&Worker>, command: &Command) {
    let bytes = Uint8Array::from(encode(command).as_slice());
    let buffer = bytes.buffer();
    if let Some(worker) = worker {
        // Fails only for buffers that were transferred before; this one is new.
        let _ = worker.post_message_with_transfer(&bytes, &Array::of1(&buffer));
    }
}

fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &key.into()).unwrap_or(JsValue::UNDEFINED)
}

/// Does this browser have that?
pub(crate) fn has(object: &JsValue, key: &str) -> bool {
    Reflect::has(object, &key.into()).unwrap_or(false)
}
