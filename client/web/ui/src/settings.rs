//! What the browser remembers between visits (local storage). Knows keys and text, not what they mean.
//!
//! Storage may be forbidden or full: then nothing is remembered and everything else works.

use web_sys::Storage;

use crate::listener::window;

/// Everything here starts with this, since other software may live at the same origin.
const PREFIX: &str = "chalkboard.";

/// The remembered text, if there is any.
pub(crate) fn load(key: &str) -> Option<String> {
    storage()?.get_item(&format!("{PREFIX}{key}")).ok()?
}

/// Remembers a text.
pub(crate) fn store(key: &str, value: &str) {
    if let Some(storage) = storage() {
        // A full storage is no reason to bother anybody.
        let _ = storage.set_item(&format!("{PREFIX}{key}"), value);
    }
}

fn storage() -> Option<Storage> {
    window().local_storage().ok()?
}
