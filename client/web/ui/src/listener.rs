//! DOM event listeners that live as long as the page, and the page's one-of-a-kind objects.
//!
//! Listeners of elements that come and go belong into their `view!`; these are for window, document and canvas.

use wasm_bindgen::JsCast;
use wasm_bindgen::convert::FromWasmAbi;
use wasm_bindgen::prelude::Closure;
use web_sys::{AddEventListenerOptions, Document, Element, EventTarget, HtmlElement, Window};

/// Calls `handler` for every event of this kind until the page goes. Never passive: the handler may call
/// `prevent_default`, also for wheel and touch events.
pub(crate) fn listen<E: FromWasmAbi + 'static>(
    target: &EventTarget,
    kind: &str,
    handler: impl FnMut(E) + 'static,
) {
    add(target, kind, handler, false);
}

/// As [`listen`], but before the event reaches its target, so that nobody inside can hide it.
pub(crate) fn listen_first<E: FromWasmAbi + 'static>(
    target: &EventTarget,
    kind: &str,
    handler: impl FnMut(E) + 'static,
) {
    add(target, kind, handler, true);
}

fn add<E: FromWasmAbi + 'static>(
    target: &EventTarget,
    kind: &str,
    handler: impl FnMut(E) + 'static,
    capture: bool,
) {
    let callback = Closure::<dyn FnMut(E)>::new(handler).into_js_value();
    let options = AddEventListenerOptions::new();
    options.set_passive(false);
    options.set_capture(capture);
    // Fails only for a callback that is no function.
    let _ = target.add_event_listener_with_callback_and_add_event_listener_options(
        kind,
        callback.unchecked_ref(),
        &options,
    );
}

/// The page's window.
pub(crate) fn window() -> Window {
    web_sys::window().expect("this module runs in a page only")
}

/// The page's document.
pub(crate) fn document() -> Document {
    window().document().expect("a page's window has a document")
}

/// The `<html>` element; its data attributes show the page's state to style sheets and tests.
pub(crate) fn root() -> HtmlElement {
    document()
        .document_element()
        .expect("a page has a root element")
        .unchecked_into()
}

/// Sets `data-<key>` on the `<html>` element.
pub(crate) fn expose(key: &str, value: &str) {
    // Fails only for keys that are no attribute names.
    let _ = root().dataset().set(key, value);
}

/// Sets a mark on the browser's performance time line, once.
pub(crate) fn mark(name: &str) {
    let Some(performance) = window().performance() else {
        return;
    };
    if performance.get_entries_by_name(name).length() == 0 {
        let _ = performance.mark(name);
    }
}

/// Is the page so narrow that the style sheet shows its small form?
pub(crate) fn is_small_screen() -> bool {
    document()
        .document_element()
        .is_some_and(|root| root.client_width() < 800)
}

/// The element that an event happened on.
pub(crate) fn target_element(event: &web_sys::Event) -> Option<Element> {
    event.target()?.dyn_into().ok()
}
