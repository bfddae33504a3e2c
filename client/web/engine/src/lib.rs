//! The board in a Worker: link, mirror and an OffscreenCanvas.
//!
//! The page (`client/web/ui`) hands over its canvas and then speaks the bridge protocol; everything that a board is
//! happens here, so that neither drawing nor decoding ever waits for the page, or the page for them. What a board is and
//! what gestures mean is `chalkboard-client`'s business; this crate brings it a link (`link`), a clock and a canvas
//! (`renderer`).

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(target_arch = "wasm32")]
mod connection;
#[cfg(target_arch = "wasm32")]
mod engine;
#[cfg(target_arch = "wasm32")]
mod link;
#[cfg(target_arch = "wasm32")]
mod looking_back;
#[cfg(target_arch = "wasm32")]
mod probe;
#[cfg(target_arch = "wasm32")]
mod renderer;
#[cfg(target_arch = "wasm32")]
mod store;
#[cfg(target_arch = "wasm32")]
mod worker;

/// Called by the module's loader once the module is there.
#[cfg(target_arch = "wasm32")]
#[wasm_bindgen::prelude::wasm_bindgen(start)]
pub fn start() {
    worker::start();
}
