//! The protocol between a page's DOM (`ui`) and the engine that runs in a Worker.
//!
//! Both directions are plain values, encoded with bitcode into one `Uint8Array` a message. The engine never
//! touches the DOM and the UI never touches the board: what a person does crosses as a [`Command`], what the
//! chrome around the board must show crosses back as a [`Notice`].

use bitcode::{Decode, Encode};
pub use chalkboard_shared::presence::{Pace, PresenceStage};

/// Format of the messages here; both halves are built together, so it only guards against a stale cached file.
pub const BRIDGE_VERSION: u8 = 4;

/// What the UI asks of the engine. Positions are CSS pixels from the canvas's top left corner.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Command {
    /// Connect to a board. Sent once, after the canvas was handed over.
    Open {
        /// Text form of the board's id.
        board: String,
        /// The capability from the link's fragment: an edit or a view secret.
        secret: String,
        /// Display name of this person.
        name: String,
        /// This person's colour, 0xRRGGBB.
        color: u32,
        /// Never try WebTransport: used by people on networks that break UDP, and by tests (`?transport=ws`).
        websocket_only: bool,
    },
    /// The canvas's new size in CSS pixels, and device pixels per CSS pixel.
    Resize {
        /// Width in CSS pixels.
        width: f32,
        /// Height in CSS pixels.
        height: f32,
        /// Device pixels per CSS pixel (0.25 to 8).
        scale: f32,
    },
    /// Pointer activity, oldest first, coalesced samples included.
    Pointer(Vec<PointerSample>),
    /// A turn of the wheel at a place: pans, or zooms when `zoom` is set (Ctrl held or a trackpad pinch).
    Wheel {
        /// Place of the pointer.
        x: f32,
        /// Place of the pointer.
        y: f32,
        /// Horizontal scroll in CSS pixels.
        dx: f32,
        /// Vertical scroll in CSS pixels.
        dy: f32,
        /// Zoom about the pointer rather than pan.
        zoom: bool,
    },
    /// Choose the tool that the main pointer works with.
    SelectTool(ToolKind),
    /// While held, the hand takes the place of the chosen tool (space bar).
    HoldHand(bool),
    /// Ink colour for new strokes, 0xRRGGBB.
    SetColor(u32),
    /// Nib width for new strokes in board pixels.
    SetWidth(f32),
    /// Take back this person's last change.
    Undo,
    /// Bring it back again.
    Redo,
    /// Change the zoom by a factor about the middle of the canvas.
    ZoomBy(f32),
    /// Set the zoom to 100 % about the middle of the canvas.
    ZoomReset,
    /// Show everything that is on the board.
    ZoomFit,
    /// Move the view by CSS pixels (arrow keys).
    PanBy {
        /// To the right.
        dx: f32,
        /// Downwards.
        dy: f32,
    },
    /// Abandon the gesture in progress (Escape).
    Cancel,
    /// Draw for a dark page.
    SetDark(bool),
    /// Change this person's display name.
    Rename(String),
    /// See what this session sees. Own moves of the view and [`Command::Cancel`] end it.
    Follow(u32),
    /// Begin to present, or end it.
    Present(bool),
    /// Show other people's cursors.
    ShowCursors(bool),
    /// The page became visible (true) or hidden: hidden pages draw nothing.
    Visible(bool),
    /// The browser says that the network is back: try to connect now.
    NetworkOnline,
    /// Draw the visible board into a PNG; answered by [`Notice::Picture`].
    TakePicture,
    /// Look at the board's past, from this tick on or from its end; answered by [`Notice::Past`] from now on,
    /// and at last by [`Notice::Now`].
    LookBack(Option<String>),
    /// Back to the live board.
    LookAtNow,
    /// Go to a place on the time line, in milliseconds.
    Seek(u32),
    /// Go to the next tick that changed something (true), or to the one before.
    StepTick(bool),
    /// Play so many times as fast as it was drawn; 0 stops.
    Play(f32),
    /// Make the live board look as at this moment, and go back to it.
    BringBack,
}

/// One sample of one pointer.
#[derive(Debug, Clone, Copy, PartialEq, Encode, Decode)]
pub struct PointerSample {
    /// The browser's `pointerId`.
    pub id: i32,
    /// What happened.
    pub phase: PointerPhase,
    /// Mouse, touch or pen.
    pub device: PointerDevice,
    /// CSS pixels from the canvas's left edge.
    pub x: f32,
    /// CSS pixels from the canvas's top edge.
    pub y: f32,
    /// 0 to 1; 0.5 for devices that do not measure it.
    pub pressure: f32,
    /// Button that is down: 0 main, 1 middle, 2 secondary, 5 a pen's eraser end; -1 none.
    pub button: i8,
    /// `event.timeStamp` in milliseconds.
    pub time_ms: f64,
}

/// What a pointer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum PointerPhase {
    /// A button went down or a finger touched.
    Down,
    /// It moved, pressed or hovering.
    Move,
    /// It was released.
    Up,
    /// The browser took the pointer away.
    Cancel,
    /// A hovering pointer left the canvas.
    Leave,
}

/// The kind of device behind a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum PointerDevice {
    /// A mouse or trackpad.
    Mouse,
    /// A finger.
    Touch,
    /// A stylus.
    Pen,
}

/// The tools of the tool bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub enum ToolKind {
    /// Pressure ink.
    Pen,
    /// Wide translucent ink below other ink.
    Highlighter,
    /// Removes whole strokes that it touches.
    Eraser,
    /// Moves the view.
    Hand,
}

/// What the engine tells the UI.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum Notice {
    /// The worker runs and waits for the canvas and [`Command::Open`].
    Started {
        /// [`BRIDGE_VERSION`] of the engine.
        version: u8,
    },
    /// State of the connection changed.
    Connection(ConnectionState),
    /// The board was opened with these rights.
    Opened {
        /// May this session change the board?
        can_edit: bool,
        /// The secret of a view link, for those who may edit.
        view_secret: Option<String>,
    },
    /// Everything in view has arrived.
    Loaded {
        /// Strokes held by the mirror.
        strokes: u32,
    },
    /// How safe this person's changes are.
    Saved(SaveState),
    /// The server has so much to do that it tells less often than usual; `None` when it does not.
    Busy(Option<Pace>),
    /// The people on the board, this person first.
    People(Vec<Person>),
    /// What the history buttons can do.
    History {
        /// Something can be undone.
        can_undo: bool,
        /// Something can be redone.
        can_redo: bool,
    },
    /// The view changed.
    View {
        /// Zoom: 1 is 100 %.
        zoom: f32,
    },
    /// The server refused a change; the text says why and what to do next.
    Refused(String),
    /// The shape of the mouse cursor over the canvas changed.
    Pointer(PointerShape),
    /// A PNG file of what is in view.
    Picture(Vec<u8>),
    /// This person looks at a moment of the past.
    Past {
        /// Place on the time line, in milliseconds.
        at_ms: u32,
        /// Length of the time line, in milliseconds.
        end_ms: u32,
        /// The last tick that changed the board, as links name it.
        tick: String,
        /// When that was, in seconds since 1970 UTC; 0 before anything.
        unix_s: u32,
        /// Who changed the board then.
        authors: Vec<Person>,
        /// It plays.
        is_playing: bool,
        /// What is wanted is on its way.
        is_loading: bool,
        /// The server did not give what was asked for.
        has_failed: bool,
    },
    /// This person looks at the live board again.
    Now,
    /// How much was done when, and by whom: the inside of an SVG picture of 256 x 100. Colours and numbers only.
    Graph(String),
    /// The browser keeps what was not saved beyond the end of the page, or does not.
    Kept(bool),
}

/// The shape of the mouse cursor over the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum PointerShape {
    /// Drawing.
    Crosshair,
    /// Erasing: a ring of this diameter in CSS pixels.
    Ring(u8),
    /// The hand, open.
    Grab,
    /// The hand, closed.
    Grabbing,
    /// Nothing can be done here (a view link).
    Default,
}

/// State of the connection to the server.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ConnectionState {
    /// The first connection is being made.
    Connecting,
    /// Connected and live.
    Online(TransportKind),
    /// The connection broke; trying again by itself. Drawing goes on locally.
    Reconnecting {
        /// Milliseconds until the next try; 0 while it is being made.
        retry_ms: u32,
    },
    /// It will not be tried again; the text says why and what to do next.
    Closed(String),
}

/// The transport in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum TransportKind {
    /// WebTransport over QUIC.
    WebTransport,
    /// The fallback.
    WebSocket,
}

/// The least safe of this person's changes decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum SaveState {
    /// Everything is on the server's disk.
    Saved,
    /// `pending` changes are with the server but not yet on its disk.
    Sent {
        /// How many.
        pending: u32,
    },
    /// `pending` changes are only here.
    Local {
        /// How many.
        pending: u32,
    },
}

/// Somebody on the board.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Person {
    /// Number of the session in its room.
    pub session: u32,
    /// Display name.
    pub name: String,
    /// 0xRRGGBB.
    pub color: u32,
    /// This is the person at this page.
    pub me: bool,
    /// May change the board.
    pub can_edit: bool,
    /// Presents: everybody sees their cursor exactly.
    pub presents: bool,
    /// The person at this page sees what they see.
    pub followed: bool,
}

/// Encodes a message for `postMessage`.
pub fn encode<T: Encode>(message: &T) -> Vec<u8> {
    bitcode::encode(message)
}

/// Decodes a message of the other half; `None` when the halves do not fit together.
pub fn decode<T: for<'a> Decode<'a>>(bytes: &[u8]) -> Option<T> {
    bitcode::decode(bytes).ok()
}
