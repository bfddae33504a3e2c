//! The page around the board: tool bar, people, sharing, status.
//!
//! Owns the DOM and nothing of the board: the engine runs in a Worker, draws on the page's canvas by itself and
//! is spoken to in [`chalkboard_client::bridge`] only. `index.html` has started the Worker before this module
//! arrives; `worker` takes it over. What the engine reports lands in `session` as signals, what a person
//! does leaves through `worker::Engine::send`.

mod address;
mod app;
mod board;
mod dialog;
mod element;
mod guest;
mod icon;
mod ink;
mod listener;
mod menu;
mod palette;
mod panel;
mod past;
mod people;
mod picture;
mod session;
mod settings;
mod share;
mod shortcuts;
mod status;
mod theme;
mod toast;
mod toolbar;
mod worker;
mod zoom;

use wasm_bindgen::prelude::wasm_bindgen;

/// Entry of the wasm module: puts the user interface into the page.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
    app::mount();
}
