//! The engine of one board: the client, the person's hand, the picture and the connection, and who is told what.
//!
//! It lives in the Worker's single thread and is entered by commands of the page, news of the link, timers and frames.
//! After each of these [`Engine::settle`] passes on what came of it, frames to the server first.

use bytes::Bytes;
use chalkboard_client::bridge::{Command, Notice, Person, PointerShape, SaveState};
use chalkboard_client::editor::{Editor, Surface};
use chalkboard_client::past::Wanted;
use chalkboard_client::{Client, ClientOptions, Event};
use chalkboard_shared::presence::{Pace, PresenceStage};
use chalkboard_shared::{ActorId, DisconnectReason, Position, Rights, SessionId};
use js_sys::Uint8Array;
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::Closure;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Blob, OffscreenCanvas};

use crate::browser::{now_ms, random_bytes, scope, set_timeout};
use crate::connection::Connection;
use crate::link::{LinkEnd, LinkEvent};
use crate::looking_back::LookingBack;
use crate::probe::Watch;
use crate::renderer::{Renderer, Scene};
use crate::store::{Kept, Store};
use crate::worker::{Opening, notify, with_engine};

/// Ink is drawn within its event's task unless a frame was drawn this recently, in milliseconds: mice report up to a
/// thousand times a second, screens show a few hundred pictures.
const FRAME_MS_MIN: f64 = 4.0;
/// The longest sleep between two looks at the client, in milliseconds.
const TICK_MS_MAX: f64 = 1000.0;
const TICK_MS_MIN: f64 = 4.0;
/// A room that ticks more slowly than this is busy, in microseconds: until then nobody notices.
const TICK_US_CALM: u32 = 40_000;
/// The board is kept at most this often, in milliseconds, while nobody has done anything for [`IDLE_MS`]: that takes some
/// milliseconds on a large one.
const KEEP_BOARD_MS: f64 = 10_000.0;
const IDLE_MS: f64 = 1500.0;

/// A board that is open, or on its way to be.
pub(crate) struct Engine {
    pub(crate) client: Client,
    pub(crate) connection: Connection,
    pub(crate) renderer: Renderer,
    pub(crate) editor: Editor,
    pub(crate) watch: Watch,
    past: LookingBack,
    color: u32,
    cursors_shown: bool,
    visible: bool,
    frame_wanted: bool,
    frame_requested: bool,
    on_frame: Closure<dyn FnMut(f64)>,
    last_frame_ms: f64,
    /// When the next look at the client is due.
    timer_due_ms: f64,
    loaded_once: bool,
    told_shape: Option<PointerShape>,
    told_zoom: f32,
    told_busy: Option<Pace>,
    /// `None` where the browser keeps nothing.
    store: Option<Store>,
    /// When something was last asked of this engine, when it last kept the board, and at what position.
    busy_ms: f64,
    kept_board_ms: f64,
    kept_board: Position,
    /// It was looked whether another window has left something.
    has_looked: bool,
    /// This window has done something that can be undone.
    can_undo: bool,
}

impl Engine {
    /// Opens a board on a canvas, with what the browser has kept of it. `None` where that can't work, which the page is
    /// told.
    pub(crate) fn open(
        canvas: OffscreenCanvas,
        opening: &Opening,
        store: Option<(Store, Kept)>,
    ) -> Option<Self> {
        let Opening {
            board,
            secret,
            name,
            color,
            websocket_only,
        } = opening;
        let refuse = |text: String| {
            notify(&Notice::Connection(
                chalkboard_client::bridge::ConnectionState::Closed(text),
            ));
            None
        };
        let secret_text = secret;
        let (Ok(board_id), Ok(secret)) = (board.parse(), secret.parse()) else {
            return refuse(DisconnectReason::NoAccess.to_string());
        };
        let is_kept = store.is_some();
        let (store, kept) = match store {
            Some((store, kept)) => (Some(store), kept),
            None => (None, Kept::default()),
        };
        let key = if is_kept {
            Some(kept.key)
        } else {
            random_bytes()
        };
        let Some(key) = key else {
            return refuse(
                "this browser has no randomness to make a key of; use a current one".to_owned(),
            );
        };
        let editor = Editor::default();
        let Some(renderer) = Renderer::new(canvas, editor.viewport()) else {
            return refuse(
                "this browser cannot draw in the background; use a current one".to_owned(),
            );
        };
        let mut client = Client::new(ClientOptions {
            board: board_id,
            secret,
            key,
            name: name.clone(),
            color: *color,
            is_stamping: false,
        });
        if let Some(head) = &kept.head
            && client.restore(head, kept.ops).is_err()
        {
            return refuse(
                "what this browser has kept of your drawing was made by a newer version; reload the page"
                    .to_owned(),
            );
        }
        if let Some(board) = &kept.board {
            // A damaged one is of no loss: the room sends it anew.
            let _ = client.restore_board(board);
        }
        notify(&Notice::Kept(is_kept));
        let mut engine = Self {
            client,
            connection: Connection::open(board.clone(), *websocket_only),
            renderer,
            editor,
            watch: Watch::default(),
            past: LookingBack::new(board, secret_text),
            color: *color,
            cursors_shown: true,
            visible: true,
            frame_wanted: true,
            frame_requested: false,
            on_frame: Closure::new(|_| {
                with_engine(|engine| {
                    engine.frame_requested = false;
                    engine.frame(now_ms());
                    engine.settle();
                });
            }),
            last_frame_ms: f64::NEG_INFINITY,
            timer_due_ms: f64::INFINITY,
            loaded_once: false,
            told_shape: None,
            told_zoom: 0.0,
            told_busy: None,
            store,
            busy_ms: now_ms(),
            kept_board_ms: f64::NEG_INFINITY,
            kept_board: Position(0),
            has_looked: false,
            can_undo: false,
        };
        engine.kept_board = engine.client.position();
        Some(engine)
    }

    /// A change of the outbox was stored, or could not be.
    pub(crate) fn on_kept(&mut self, is_kept: bool) {
        match &mut self.store {
            Some(store) if is_kept => store.done(),
            _ => self.keep_nothing(),
        }
        self.settle();
    }

    fn keep_nothing(&mut self) {
        if self.store.take().is_some() {
            notify(&Notice::Kept(false));
        }
    }

    /// Once all is well here, and before anybody begins to draw, looks for windows that have gone and have left something.
    fn look_for_left(&mut self) {
        let is_time = !self.has_looked
            && self.client.is_loaded()
            && self.client.save_state() == SaveState::Saved;
        if let Some(store) = &self.store
            && is_time
        {
            self.has_looked = true;
            let left = Store::open(store.place(), true);
            spawn_local(async move {
                if let Some((store, kept)) = left.await {
                    with_engine(|engine| engine.take_over(store, kept));
                }
            });
        }
    }

    /// Goes on as a window that has gone, with what it has left; what is on the screen stays. Where something was drawn
    /// meanwhile, the next window may have it.
    fn take_over(&mut self, store: Store, kept: Kept) {
        let is_idle = self.client.save_state() == SaveState::Saved
            && !self.can_undo
            && !self.editor.is_active();
        let Some(head) = kept.head.filter(|_| is_idle) else {
            return;
        };
        let mut client = self.client.successor(kept.key);
        if client.restore(&head, kept.ops).is_err() {
            return;
        }
        if let Some(board) = self.client.board_to_keep() {
            let _ = client.restore_board(&board);
        }
        client.set_view(self.editor.viewport().visible());
        self.client = client;
        self.store = Some(store);
        self.has_looked = false;
        self.connection.renew();
        self.frame_wanted = true;
        self.settle();
    }

    /// Stores what the journal lacks, and now and then the board.
    fn keep(&mut self, now_ms: f64) {
        let Some(store) = &mut self.store else {
            return;
        };
        if store.is_ready()
            && let Some(change) = self.client.take_journal()
        {
            store.keep(&change);
        }
        // A page that goes out of sight may not come back.
        let (interval_ms, idle_ms) = if self.visible {
            (KEEP_BOARD_MS, IDLE_MS)
        } else {
            (IDLE_MS, 0.0)
        };
        let is_due = now_ms - self.kept_board_ms >= interval_ms
            && now_ms - self.busy_ms >= idle_ms
            && !self.editor.is_active();
        let position = self.client.position();
        if is_due && self.kept_board != position && self.client.is_loaded() {
            (self.kept_board_ms, self.kept_board) = (now_ms, position);
            if let Some(board) = self.client.board_to_keep() {
                store.keep_board(&board);
            }
        }
    }

    /// Does what the page asks.
    pub(crate) fn command(&mut self, command: Command) {
        let now = now_ms();
        let is_own_way = matches!(
            command,
            Command::Wheel { .. }
                | Command::ZoomBy(_)
                | Command::ZoomReset
                | Command::ZoomFit
                | Command::PanBy { .. }
                | Command::Cancel
                | Command::LookBack(_)
        );
        if is_own_way {
            self.client.follow(None);
        }
        if self
            .past
            .command(&command, now, &mut self.client, &mut self.editor)
        {
            self.frame_wanted = true;
            return self.settle();
        }
        self.busy_ms = now;
        let (client, editor) = (&mut self.client, &mut self.editor);
        match command {
            Command::Resize {
                width,
                height,
                scale,
            } => {
                editor.resize(client, width, height, scale);
                if !self.client.board().is_empty() {
                    // What was kept shows before anything has come.
                    self.show_something();
                }
                // A canvas that has changed its size is blank until something is drawn.
                self.frame(now);
            }
            Command::Pointer(samples) => {
                editor.pointer(client, now, &samples);
                if editor.is_moving_view() {
                    client.follow(None);
                }
                if editor.is_active() && now - self.last_frame_ms >= FRAME_MS_MIN {
                    self.frame(now);
                }
            }
            Command::Wheel { x, y, dx, dy, zoom } => {
                editor.wheel(client, (x.into(), y.into()), (dx.into(), dy.into()), zoom);
            }
            Command::SelectTool(tool) => editor.select_tool(client, tool),
            Command::HoldHand(held) => editor.hold_hand(held),
            Command::SetColor(color) => editor.set_color(color),
            Command::SetWidth(width) => editor.set_width(width),
            Command::Undo => {
                editor.finish(client);
                client.undo();
            }
            Command::Redo => {
                editor.finish(client);
                client.redo();
            }
            Command::ZoomBy(factor) => editor.zoom_by(client, factor),
            Command::ZoomReset => editor.zoom_to(client, 1.0),
            Command::ZoomFit => {
                let everything = self.past.shown().unwrap_or(client.board()).bounds();
                editor.fit(client, everything);
            }
            Command::PanBy { dx, dy } => editor.pan_by(client, dx, dy),
            Command::Cancel => editor.cancel(client),
            Command::SetDark(dark) => self.renderer.set_dark(dark),
            Command::Rename(name) => client.rename(name, self.color),
            Command::Follow(session) => client.follow(Some(SessionId(session))),
            Command::Present(is_presenting) => client.present(is_presenting),
            Command::ShowCursors(shown) => self.cursors_shown = shown,
            Command::Visible(visible) => self.visible = visible,
            Command::NetworkOnline => self.connection.hurry(),
            Command::TakePicture => self.take_picture(),
            Command::Open { .. }
            | Command::LookBack(_)
            | Command::LookAtNow
            | Command::Seek(_)
            | Command::StepTick(_)
            | Command::Play(_)
            | Command::BringBack => {}
        }
        self.frame_wanted = true;
        self.settle();
    }

    /// What the past has asked for has come, or not.
    pub(crate) fn on_past(&mut self, attempt: u32, wanted: Wanted, answer: Option<Bytes>) {
        self.past.on_answer(attempt, wanted, answer);
        self.frame_wanted = true;
        self.settle();
    }

    /// News of the link.
    pub(crate) fn on_link(&mut self, attempt: u32, event: LinkEvent) {
        if !self.connection.is_current(attempt) {
            return;
        }
        let now = now_ms();
        match event {
            LinkEvent::Ready(transport) => {
                self.client.connected(now);
                self.connection.ready(now, transport);
            }
            LinkEvent::Frame(frame) => {
                if self.client.receive(now, frame).is_err() {
                    self.lost(now, &LinkEnd::Broken);
                }
            }
            LinkEvent::Closed(end) => self.lost(now, &end),
        }
        self.frame_wanted = true;
        self.settle();
    }

    fn lost(&mut self, now_ms: f64, end: &LinkEnd) {
        self.client.disconnected(now_ms);
        self.connection.ended(now_ms, end);
    }

    /// Passes on what came of whatever happened: frames, events, the view, the next timer, the next picture.
    fn settle(&mut self) {
        let now = now_ms();
        self.client.tick(now);
        self.keep(now);
        self.look_for_left();
        while let Some(transmit) = self.client.poll_transmit() {
            self.connection.send(transmit.reliable, &transmit.frame);
        }
        while let Some(event) = self.client.poll_event() {
            self.tell(now, event);
        }
        self.frame_wanted |= self.past.settle(now, &mut self.client, &mut self.editor);
        let can_edit = Surface::can_edit(&self.client);
        let shape = self.editor.shape(can_edit);
        if self.told_shape != Some(shape) {
            self.told_shape = Some(shape);
            notify(&Notice::Pointer(shape));
        }
        if self.editor.take_view_moved() {
            let zoom = self.editor.viewport().zoom() as f32;
            if self.told_zoom != zoom {
                self.told_zoom = zoom;
                notify(&Notice::View { zoom });
            }
        }
        let busy = self.client.pace().filter(is_busy);
        if self.told_busy != busy {
            self.told_busy = busy;
            notify(&Notice::Busy(busy));
        }
        self.request_frame();
        self.set_timer(now);
    }

    fn tell(&mut self, now_ms: f64, event: Event) {
        match event {
            Event::Opened {
                rights,
                view_secret,
            } => notify(&Notice::Opened {
                can_edit: rights == Rights::Edit,
                view_secret: view_secret.map(|secret| secret.to_string()),
            }),
            Event::Loaded => {
                self.show_something();
                notify(&Notice::Loaded {
                    strokes: self.client.board().confirmed_len() as u32,
                });
            }
            Event::People => {
                let people: Vec<Person> = self.client.people();
                self.renderer.set_people(&people);
                notify(&Notice::People(people));
            }
            Event::Saved(state) => notify(&Notice::Saved(state)),
            Event::History { can_undo, can_redo } => {
                self.can_undo = can_undo || can_redo;
                notify(&Notice::History { can_undo, can_redo });
            }
            Event::Refused(reason) => notify(&Notice::Refused(reason.to_string())),
            Event::OutboxFull => notify(&Notice::Refused(
                "too many changes wait for the server; they are kept here, wait for the connection"
                    .to_owned(),
            )),
            Event::LinkDead => self.lost(now_ms, &LinkEnd::Broken),
            Event::Closed(reason) => {
                self.client.disconnected(now_ms);
                self.connection.said(now_ms, reason);
            }
        }
    }

    /// Whoever opens a board whose drawing lies elsewhere should see it, not blank paper.
    fn show_something(&mut self) {
        if std::mem::replace(&mut self.loaded_once, true) {
            return;
        }
        let board = self.client.board();
        let everything = board.bounds();
        let blank = !everything.is_empty()
            && board
                .strokes_in(self.editor.viewport().visible())
                .is_empty();
        if blank {
            self.editor.fit(&mut self.client, everything);
        }
    }

    /// Draws what has changed, and asks for another frame while there is more.
    pub(crate) fn frame(&mut self, now_ms: f64) {
        if !self.visible {
            return;
        }
        let view = self.client.followed_view();
        let approaches = view.is_some_and(|view| {
            let ms = now_ms - self.last_frame_ms;
            self.editor.approach(&mut self.client, view, ms)
        });
        if self.past.has_turned() {
            self.renderer.look_elsewhere();
        }
        // What happens on the live board meanwhile is drawn when it is shown again.
        let live_changes = self.client.board_mut().take_changes();
        let changes = self.past.take_changes().unwrap_or(live_changes);
        let past = self.past.shown();
        let is_live = past.is_none();
        let board = past.unwrap_or(self.client.board());
        let cursors = (self.cursors_shown && is_live).then(|| self.client.cursors());
        let scene = Scene {
            board,
            changes: &changes,
            viewport: self.editor.viewport(),
            cursors,
            busy: self.editor.is_active(),
            eraser: self.editor.erasing(),
            // Own strokes have no lasting name before the first welcome.
            me: self.client.actor().unwrap_or(ActorId(0)),
        };
        let frame = self.renderer.frame(now_ms, &scene);
        let moving = cursors.is_some_and(|cursors| cursors.is_moving(now_ms));
        self.frame_wanted = frame.unfinished || moving || approaches || self.past.is_playing();
        self.last_frame_ms = now_ms;
        self.watch.drawn(now_ms, &frame);
    }

    fn request_frame(&mut self) {
        if self.frame_wanted && self.visible && !self.frame_requested {
            let callback = self.on_frame.as_ref().unchecked_ref();
            self.frame_requested = scope().request_animation_frame(callback).is_ok();
        }
    }

    /// Wakes up when the client next has something to do by itself.
    fn set_timer(&mut self, now: f64) {
        let wanted = self
            .client
            .poll_timeout()
            .unwrap_or(f64::INFINITY)
            .min(now + TICK_MS_MAX);
        // A timer that is due earlier looks again by itself.
        if wanted >= self.timer_due_ms {
            return;
        }
        self.timer_due_ms = wanted;
        set_timeout((wanted - now).max(TICK_MS_MIN), move || {
            with_engine(|engine| {
                if engine.timer_due_ms == wanted {
                    engine.timer_due_ms = f64::INFINITY;
                    engine.frame_wanted |= engine.client.cursors().is_moving(now_ms());
                    engine.settle();
                }
            });
        });
    }

    fn take_picture(&mut self) {
        self.frame(now_ms());
        let Some(blob) = self
            .renderer
            .picture(self.past.shown().unwrap_or(self.client.board()))
        else {
            return;
        };
        spawn_local(async move {
            let Ok(blob) = JsFuture::from(blob).await else {
                return;
            };
            let blob: Blob = blob.unchecked_into();
            if let Ok(buffer) = JsFuture::from(blob.array_buffer()).await {
                notify(&Notice::Picture(Uint8Array::new(&buffer).to_vec()));
            }
        });
    }
}

/// Other people would notice that they are told of less often.
fn is_busy(pace: &Pace) -> bool {
    pace.presence > PresenceStage::Full || pace.tick_us > TICK_US_CALM
}
