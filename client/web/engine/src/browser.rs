//! What the Worker's surroundings offer: its scope, clock, timers, randomness, and properties of plain objects.

use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::{Closure, wasm_bindgen};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::DedicatedWorkerGlobalScope;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
    #[wasm_bindgen(catch, js_namespace = crypto, js_name = getRandomValues)]
    fn get_random_values(bytes: &mut [u8]) -> Result<(), JsValue>;
    #[wasm_bindgen(catch)]
    fn atob(text: &str) -> Result<String, JsValue>;
}

/// The Worker's global scope.
pub(crate) fn scope() -> DedicatedWorkerGlobalScope {
    js_sys::global().unchecked_into()
}

/// Milliseconds since the Worker began; never goes back.
pub(crate) fn now_ms() -> f64 {
    performance_now()
}

/// Milliseconds of Unix time at which [`now_ms`] was 0: comparable between pages of one machine.
pub(crate) fn time_origin_ms() -> f64 {
    scope()
        .performance()
        .map_or(0.0, |performance| performance.time_origin())
}

/// 16 bytes of the browser's cryptographic randomness. `None` where there is none, which no secure context is.
pub(crate) fn random_bytes() -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    get_random_values(&mut bytes).ok()?;
    Some(bytes)
}

/// Calls back once after `delay_ms`; the handle cancels it.
pub(crate) fn set_timeout(delay_ms: f64, callback: impl FnOnce() + 'static) -> Option<i32> {
    let callback = Closure::once_into_js(callback);
    scope()
        .set_timeout_with_callback_and_timeout_and_arguments_0(
            callback.unchecked_ref(),
            delay_ms as i32,
        )
        .ok()
}

/// Waits in a task.
pub(crate) async fn sleep(delay_ms: f64) {
    let promise = js_sys::Promise::new(&mut |resolve, _| {
        let _ = scope()
            .set_timeout_with_callback_and_timeout_and_arguments_0(&resolve, delay_ms as i32);
    });
    let _ = JsFuture::from(promise).await;
}

/// A property; `undefined` for a missing one.
pub(crate) fn get(object: &JsValue, key: &str) -> JsValue {
    Reflect::get(object, &JsValue::from_str(key)).unwrap_or(JsValue::UNDEFINED)
}

/// A property that is text.
pub(crate) fn get_text(object: &JsValue, key: &str) -> Option<String> {
    get(object, key).as_string()
}

/// A plain object of these properties.
pub(crate) fn object(entries: &[(&str, JsValue)]) -> Object {
    let object = Object::new();
    for (key, value) in entries {
        // Fails for frozen objects only.
        let _ = Reflect::set(&object, &JsValue::from_str(key), value);
    }
    object
}

/// Posts bytes to the page, moving their buffer.
pub(crate) fn post_bytes(bytes: &[u8]) {
    let bytes = Uint8Array::from(bytes);
    let buffer = bytes.buffer();
    // Fails for buffers that were moved before; this one is new.
    let _ = scope().post_message_with_transfer(&bytes, &Array::of1(&buffer));
}

/// The bytes of base64 text, if it is that. The browser's own decoder costs nothing to download.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    // Each character of the answer is a byte.
    atob(text)
        .ok()?
        .chars()
        .map(|c| u8::try_from(u32::from(c)).ok())
        .collect()
}
