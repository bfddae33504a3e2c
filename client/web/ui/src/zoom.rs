//! Zoom: out, percent (a click makes it 100 %), in, and everything in view.

use chalkboard_client::bridge::Command;
use leptos::prelude::*;

use crate::element::{Button, fixed, group, span, text};
use crate::icon::Icon;
use crate::session::Session;
use crate::worker::Engine;

/// One step of the buttons and keys.
pub(crate) const ZOOM_STEP: f32 = 1.25;

/// The four controls. They are in the page twice (a bar of their own, and the menu on small screens), so `prefix`
/// keeps their test ids apart.
pub(crate) fn zoom_controls(engine: Engine, session: Session, prefix: &'static str) -> AnyView {
    let percent = move || percent(session.zoom.get());
    let button = |name: &str, class| Button::new(class, format!("{prefix}zoom-{name}"));
    group(
        "zoom",
        "group",
        "Zoom",
        vec![
            button("out", "tool")
                .tip(fixed("Zoom out"))
                .icon(Icon::Minus)
                .on_press(move || engine.send(Command::ZoomBy(1.0 / ZOOM_STEP))),
            button("percent", "tool percent")
                .tip(fixed("Back to 100%"))
                .label(text(move || format!("Zoom is {}. Back to 100%", percent())))
                .child(span("", text(percent)))
                .on_press(move || engine.send(Command::ZoomReset)),
            button("in", "tool")
                .tip(fixed("Zoom in"))
                .icon(Icon::Plus)
                .on_press(move || engine.send(Command::ZoomBy(ZOOM_STEP))),
            button("fit", "tool")
                .tip(fixed("Show everything"))
                .icon(Icon::Fit)
                .on_press(move || engine.send(Command::ZoomFit)),
        ],
    )
}

/// A zoom for people: with a decimal below 10 %, where whole percents are coarse.
fn percent(zoom: f32) -> String {
    let tenths = (zoom * 1000.0).round() as u32;
    if tenths < 100 {
        format!("{}.{}%", tenths / 10, tenths % 10)
    } else {
        format!("{}%", (tenths + 5) / 10)
    }
}
