//! What this browser keeps of a board: the outbox of each window, and the board as it was last seen.
//!
//! A window is known to the room by its key, and its outbox belongs to the key. Keys outlive windows: a new one takes
//! the key of one that has gone, best one that has left something unsaved, and holds it under a lock, so that no two
//! windows ever have the same. Where the browser keeps nothing (a private window, a full disk, an old browser) there is
//! no store, and the page says so. What the pieces hold is `chalkboard_client::journal`'s business, and the database and
//! its locks are `assets/web/store.js`'s.

use chalkboard_client::journal::JournalChange;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use wasm_bindgen_futures::{JsFuture, spawn_local};

use crate::worker::with_engine;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_namespace = chalkboardStore)]
    async fn open(place: &str, only_left: bool) -> Result<JsValue, JsValue>;

    type Window;
    #[wasm_bindgen(method)]
    fn next(this: &Window) -> Option<Vec<u8>>;
    #[wasm_bindgen(method)]
    fn put(this: &Window, number: u32, piece: &[u8]);
    #[wasm_bindgen(method)]
    fn keep(this: &Window, first: f64) -> js_sys::Promise;
    #[wasm_bindgen(method, catch, js_name = keepBoard)]
    fn keep_board(this: &Window, board: &[u8]) -> Result<(), JsValue>;
    #[wasm_bindgen(method)]
    fn release(this: &Window);
}

/// A store for one window; its key is let go of with it.
pub(crate) struct Store {
    window: Window,
    place: String,
    /// A change of the outbox is being stored.
    is_busy: bool,
}

/// What was kept for a window.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) key: [u8; 16],
    pub(crate) head: Option<Vec<u8>>,
    pub(crate) ops: Vec<Vec<u8>>,
    pub(crate) board: Option<Vec<u8>>,
}

impl Store {
    /// Takes over what was kept for a window of a place that has gone: only one that has left something, or, if that is
    /// not asked for, else any or a new one. `None` where there is none, or the browser keeps nothing.
    pub(crate) async fn open(place: String, only_left: bool) -> Option<(Self, Kept)> {
        let window: Window = open(&place, only_left).await.ok()?.into();
        let store = Self {
            window,
            place,
            is_busy: false,
        };
        let mut pieces = std::iter::repeat_with(|| store.window.next());
        let key = pieces.next()??.try_into().ok()?;
        let board = pieces.next()?;
        let head = pieces.next()?;
        let ops = pieces.map_while(|piece| piece).collect();
        let kept = Kept {
            key,
            head,
            ops,
            board,
        };
        Some((store, kept))
    }

    /// The board by its link.
    pub(crate) fn place(&self) -> String {
        self.place.clone()
    }

    /// A change can be stored now; otherwise the engine is told when it can.
    pub(crate) const fn is_ready(&self) -> bool {
        !self.is_busy
    }

    /// Stores a change of the outbox.
    pub(crate) fn keep(&mut self, change: &JournalChange) {
        self.window.put(0, &change.head);
        for (counter, piece) in &change.ops {
            self.window.put(*counter, piece);
        }
        let gone = if change.is_anew {
            f64::INFINITY
        } else {
            f64::from(change.first)
        };
        let kept = self.window.keep(gone);
        self.is_busy = true;
        spawn_local(async move {
            let result = JsFuture::from(kept).await;
            with_engine(|engine| engine.on_kept(result.is_ok()));
        });
    }

    /// The last change is stored.
    pub(crate) const fn done(&mut self) {
        self.is_busy = false;
    }

    /// Stores the board. Where that fails, the outbox may still fit.
    pub(crate) fn keep_board(&self, board: &[u8]) {
        let _ = self.window.keep_board(board);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.window.release();
    }
}

/// Names a board by a link, without the link's secret: what may be done by one may not be by the other.
pub(crate) fn place(board: &str, secret: &str) -> String {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let tag = secret.bytes().fold(0x811c_9dc5, step);
    [board, ".", &tag.to_string()].concat()
}
