//! What the browser remembers between visits (local storage), and what a window remembers between reloads (session
//! storage). Knows keys and text, not what they mean.
//!
//! Storage may be forbidden or full: then nothing is remembered and everything else works.

use web_sys::Storage;

use crate::listener::window;

/// Everything here starts with this, since other software may live at the same origin.
const PREFIX: &str = "chalkboard.";

/// The text remembered by the browser, if there is any.
pub(crate) fn load(key: &str) -> Option<String> {
    read(local(), key)
}

/// Remembers a text between visits.
pub(crate) fn store(key: &str, value: &str) {
    write(local(), key, value);
}

/// The text remembered by this window, if there is any.
pub(crate) fn load_here(key: &str) -> Option<String> {
    read(session(), key)
}

/// Remembers a text while this window is open.
pub(crate) fn store_here(key: &str, value: &str) {
    write(session(), key, value);
}

fn read(storage: Option<Storage>, key: &str) -> Option<String> {
    storage?.get_item(&format!("{PREFIX}{key}")).ok()?
}

fn write(storage: Option<Storage>, key: &str, value: &str) {
    if let Some(storage) = storage {
        // A full storage is no reason to bother anybody.
        let _ = storage.set_item(&format!("{PREFIX}{key}"), value);
    }
}

fn local() -> Option<Storage> {
    window().local_storage().ok()?
}

fn session() -> Option<Storage> {
    window().session_storage().ok()?
}
