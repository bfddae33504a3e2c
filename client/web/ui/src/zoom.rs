//! Zoom: out, percent (a click makes it 100 %), in, and everything in view.

use chalkboard_client::bridge::Command;
use leptos::prelude::*;

use crate::icon::{Icon, icon};
use crate::session::Session;
use crate::worker::Engine;

/// One step of the buttons and keys.
pub(crate) const ZOOM_STEP: f32 = 1.25;

/// The four controls. They are in the page twice (a bar of their own, and the menu on small screens), so `prefix`
/// keeps their test ids apart.
#[component]
pub(crate) fn ZoomControls(
    engine: Engine,
    session: Session,
    /// Put before each test id.
    prefix: &'static str,
) -> impl IntoView {
    let percent = move || {
        let percent = session.zoom.get() * 100.0;
        if percent < 10.0 {
            format!("{percent:.1}%")
        } else {
            format!("{percent:.0}%")
        }
    };
    let id = move |name: &str| format!("{prefix}zoom-{name}");
    view! {
        <div class="zoom" role="group" aria-label="Zoom">
            <button
                type="button"
                class="tool"
                aria-label="Zoom out"
                data-tip="Zoom out"
                data-testid=id("out")
                on:click=move |_| engine.send(Command::ZoomBy(1.0 / ZOOM_STEP))
            >
                {icon(Icon::Minus)}
            </button>
            <button
                type="button"
                class="tool percent"
                aria-label=move || format!("Zoom is {}. Set it to 100%", percent())
                data-tip="Back to 100%"
                data-testid=id("percent")
                on:click=move |_| engine.send(Command::ZoomReset)
            >
                {percent}
            </button>
            <button
                type="button"
                class="tool"
                aria-label="Zoom in"
                data-tip="Zoom in"
                data-testid=id("in")
                on:click=move |_| engine.send(Command::ZoomBy(ZOOM_STEP))
            >
                {icon(Icon::Plus)}
            </button>
            <button
                type="button"
                class="tool"
                aria-label="Show everything"
                data-tip="Show everything"
                data-testid=id("fit")
                on:click=move |_| engine.send(Command::ZoomFit)
            >
                {icon(Icon::Fit)}
            </button>
        </div>
    }
}
