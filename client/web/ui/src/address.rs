//! The address bar: which board, by which right, and the links that people share.
//!
//! `/` asks for a fresh board; `/b/<id>#<secret>` names one. The secret never leaves the fragment, so it is in no
//! log of any server on the way.

use js_sys::{Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::Response;

use crate::listener::window;

/// What the address asks for.
pub(crate) enum Destination {
    /// A board that is yet to be made.
    NewBoard,
    /// A board that exists, or so the link says.
    Board(BoardKey),
    /// A board's address without its secret.
    SecretMissing,
    /// Nothing that this page knows.
    Unknown,
}

/// A board and a capability for it.
#[derive(Clone, PartialEq)]
pub(crate) struct BoardKey {
    /// Text form of the board's id.
    pub(crate) board: String,
    /// Edit or view secret.
    pub(crate) secret: String,
}

/// Reads the address bar.
pub(crate) fn destination() -> Destination {
    let location = window().location();
    let path = location.pathname().unwrap_or_default();
    if path == "/" {
        return Destination::NewBoard;
    }
    let Some(board) = path
        .strip_prefix("/b/")
        .map(|rest| rest.trim_end_matches('/'))
    else {
        return Destination::Unknown;
    };
    if board.is_empty() || board.contains('/') {
        return Destination::Unknown;
    }
    let hash = location.hash().unwrap_or_default();
    match hash.trim_start_matches('#') {
        "" => Destination::SecretMissing,
        secret => Destination::Board(BoardKey {
            board: board.to_owned(),
            secret: secret.to_owned(),
        }),
    }
}

/// Does the address forbid WebTransport?
pub(crate) fn websocket_only() -> bool {
    let query = window().location().search().unwrap_or_default();
    query
        .trim_start_matches('?')
        .split('&')
        .any(|pair| pair == "transport=ws")
}

/// The tick that the address asks for.
pub(crate) fn tick() -> Option<String> {
    let query = window().location().search().unwrap_or_default();
    let tick = query
        .trim_start_matches('?')
        .split('&')
        .find_map(|pair| pair.strip_prefix("t="))?;
    (!tick.is_empty()).then(|| tick.to_owned())
}

/// Takes the tick out of the address bar: a reload shows what is shown now.
pub(crate) fn forget_tick() {
    if tick().is_none() {
        return;
    }
    let location = window().location();
    let query = location.search().unwrap_or_default();
    let mut rest = String::new();
    for pair in query.trim_start_matches('?').split('&') {
        if !pair.starts_with("t=") {
            rest += if rest.is_empty() { "?" } else { "&" };
            rest += pair;
        }
    }
    let path = location.pathname().unwrap_or_default();
    let hash = location.hash().unwrap_or_default();
    if let Ok(history) = window().history() {
        let address = [path, rest, hash].concat();
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&address));
    }
}

/// The link that opens a board at a tick.
pub(crate) fn link_at(board: &str, tick: &str, secret: &str) -> String {
    let board = [board, "?t=", tick].concat();
    link(&board, secret)
}

/// The board that `index.html` has asked the server for, put into the address bar.
///
/// # Errors
/// A sentence for the person at the page.
pub(crate) async fn create(reply: Option<Promise>) -> Result<BoardKey, String> {
    let reply = reply.ok_or("The page did not load completely. Reload it.")?;
    let response: Response = JsFuture::from(reply)
        .await
        .map_err(|_| "The server cannot be reached. Check your connection and try again.")?
        .unchecked_into();
    if !response.ok() {
        return Err(match response.status() {
            429 => "Too many new boards from here. Wait a minute and try again.".to_owned(),
            503 | 507 => {
                "The server has no room for a new board right now. Try again later.".to_owned()
            }
            status => {
                format!("The server could not make a new board (status {status}). Try again later.")
            }
        });
    }
    let key = read_key(&response)
        .await
        .ok_or("The server's answer was not understood. Reload the page.")?;
    let query = window().location().search().unwrap_or_default();
    let address = format!("/b/{}{query}#{}", key.board, key.secret);
    if let Ok(history) = window().history() {
        // A page without history still draws; only its address would not name the board.
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&address));
    }
    Ok(key)
}

async fn read_key(response: &Response) -> Option<BoardKey> {
    let reply = JsFuture::from(response.json().ok()?).await.ok()?;
    let text = |key: &str| {
        Reflect::get(&reply, &key.into())
            .ok()?
            .as_string()
            .filter(|text| !text.is_empty())
    };
    Some(BoardKey {
        board: text("id")?,
        secret: text("edit_secret")?,
    })
}

/// The link that opens a board with a secret.
pub(crate) fn link(board: &str, secret: &str) -> String {
    let origin = window().location().origin().unwrap_or_default();
    format!("{origin}/b/{board}#{secret}")
}

/// Leaves for a fresh board.
pub(crate) fn go_to_new_board() {
    let query = window().location().search().unwrap_or_default();
    // Fails only for addresses that cannot be parsed.
    let _ = window().location().assign(&format!("/{query}"));
}

/// Loads the page again.
pub(crate) fn reload() {
    let _ = window().location().reload();
}
