//! What the engine reports, as signals. Owns no board: only what the chrome around it must show.

use chalkboard_client::bridge::{
    ConnectionState, Notice, Pace, Person, PointerShape, SaveState, TransportKind,
};
use leptos::prelude::*;

use crate::listener::{expose, mark};
use crate::past::{self, Past};
use crate::picture;
use crate::toast::Toasts;

/// What this session may do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// The board is not open yet.
    Unknown,
    /// Draw and look.
    Edit,
    /// Look.
    View,
}

/// The state of this session of the board.
#[derive(Clone, Copy)]
pub(crate) struct Session {
    /// State of the connection.
    pub(crate) connection: RwSignal<ConnectionState>,
    /// How safe this person's changes are.
    pub(crate) saved: RwSignal<SaveState>,
    /// The browser keeps what is not saved when the page is closed.
    pub(crate) kept: RwSignal<bool>,
    /// The server is busy, and tells as often as this.
    pub(crate) busy: RwSignal<Option<Pace>>,
    /// Who is here; this person first.
    pub(crate) people: RwSignal<Vec<Person>>,
    /// Something can be undone.
    pub(crate) can_undo: RwSignal<bool>,
    /// Something can be redone.
    pub(crate) can_redo: RwSignal<bool>,
    /// Zoom of the view: 1 is 100 %.
    pub(crate) zoom: RwSignal<f32>,
    /// What this session may do.
    pub(crate) rights: RwSignal<Rights>,
    /// Secret of the view link, for those who may edit.
    pub(crate) view_secret: RwSignal<Option<String>>,
    /// Shape of the mouse cursor over the board.
    pub(crate) pointer: RwSignal<PointerShape>,
    /// This person looks at the past.
    pub(crate) past: Past,
    /// The graph of the time line: the inside of an SVG picture.
    pub(crate) graph: RwSignal<String>,
    /// What the server refused, among others.
    pub(crate) toasts: Toasts,
}

impl Session {
    /// Before anything was reported.
    pub(crate) fn new() -> Self {
        Self {
            connection: RwSignal::new(ConnectionState::Connecting),
            saved: RwSignal::new(SaveState::Saved),
            kept: RwSignal::new(true),
            busy: RwSignal::new(None),
            people: RwSignal::new(Vec::new()),
            can_undo: RwSignal::new(false),
            can_redo: RwSignal::new(false),
            zoom: RwSignal::new(1.0),
            rights: RwSignal::new(Rights::Unknown),
            view_secret: RwSignal::new(None),
            pointer: RwSignal::new(PointerShape::Crosshair),
            past: Past::new(),
            graph: RwSignal::new(String::new()),
            toasts: Toasts::new(),
        }
    }

    /// Takes in what the engine reports.
    pub(crate) fn apply(self, notice: Notice) {
        match notice {
            // The worker's own business.
            Notice::Started { .. } => {}
            Notice::Connection(state) => self.set_connection(state),
            Notice::Opened {
                can_edit,
                view_secret,
            } => {
                let (rights, name) = if can_edit {
                    (Rights::Edit, "edit")
                } else {
                    (Rights::View, "view")
                };
                expose("rights", name);
                mark("chalkboard-opened");
                self.rights.set(rights);
                self.view_secret.set(view_secret);
            }
            Notice::Loaded { strokes } => {
                expose("strokes", &strokes.to_string());
                mark("chalkboard-loaded");
            }
            Notice::Saved(state) => {
                expose(
                    "saved",
                    match state {
                        SaveState::Saved => "saved",
                        SaveState::Sent { .. } => "sent",
                        SaveState::Local { .. } => "local",
                    },
                );
                self.saved.set(state);
            }
            Notice::Kept(is_kept) => {
                expose("kept", if is_kept { "yes" } else { "no" });
                self.kept.set(is_kept);
            }
            Notice::Busy(pace) => self.busy.set(pace),
            Notice::People(people) => self.people.set(people),
            Notice::History { can_undo, can_redo } => {
                self.can_undo.set(can_undo);
                self.can_redo.set(can_redo);
            }
            Notice::View { zoom } => self.zoom.set(zoom),
            Notice::Refused(text) => self.toasts.show(text),
            Notice::Pointer(shape) => self.pointer.set(shape),
            Notice::Picture(bytes) => picture::save(&bytes),
            Notice::Past {
                at_ms,
                end_ms,
                tick,
                unix_s,
                authors,
                is_playing,
                is_loading,
                has_failed,
            } => {
                let past = self.past;
                expose("past", &tick);
                expose("pastState", past::state_name(is_loading, has_failed));
                past.is_open.set(true);
                past.tick.set(tick);
                past.is_playing.set(is_playing);
                past.is_ready.set(!is_loading && !has_failed);
                past.authors.set(authors);
                let words = past::when_words(unix_s, is_loading, has_failed);
                past::show_place(at_ms, end_ms, words.clone());
                past.when.set(words);
            }
            Notice::Now => {
                expose("past", "");
                self.past.is_open.set(false);
            }
            Notice::Graph(graph) => self.graph.set(graph),
        }
    }

    /// The connection will not be tried again; `text` says why and what to do next.
    pub(crate) fn close(self, text: &str) {
        self.set_connection(ConnectionState::Closed(text.to_owned()));
    }

    fn set_connection(self, state: ConnectionState) {
        expose(
            "connection",
            match state {
                ConnectionState::Connecting => "connecting",
                ConnectionState::Online(TransportKind::WebTransport) => "online-webtransport",
                ConnectionState::Online(TransportKind::WebSocket) => "online-websocket",
                ConnectionState::Reconnecting { .. } => "reconnecting",
                ConnectionState::Closed(_) => "closed",
            },
        );
        if matches!(state, ConnectionState::Online(_)) {
            mark("chalkboard-online");
        }
        self.connection.set(state);
    }
}
