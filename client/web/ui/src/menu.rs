//! The menu behind the logo: what is not needed while drawing, and what small screens have no room for.

use chalkboard_client::bridge::Command;
use leptos::prelude::*;

use crate::address;
use crate::element::{Button, block, fixed, flag, group, markup, span, watch};
use crate::icon::{Icon, icon, logo};
use crate::panel::{Panel, Panels};
use crate::session::Session;
use crate::theme::{Choice, Theme};
use crate::worker::Engine;
use crate::zoom::zoom_controls;

/// The logo, its menu.
pub(crate) fn menu(engine: Engine, session: Session, panels: Panels, theme: Theme) -> AnyView {
    let cursors = RwSignal::new(true);
    watch(move || engine.send(Command::ShowCursors(cursors.get())));
    let brand = Button::new("brand", "menu")
        .label(fixed("Chalkboard menu"))
        .child(logo())
        .child(span("wordmark", fixed("Chalkboard")))
        .icon(Icon::Chevron);
    let content = move || {
        vec![
            Button::new("row", "menu-new")
                .icon(Icon::Page)
                .text("New board")
                .on_press(address::go_to_new_board),
            Button::new("row", "menu-picture")
                .icon(Icon::Picture)
                .text("Save view as PNG")
                .on_press(move || {
                    engine.send(Command::TakePicture);
                    panels.close();
                }),
            Button::new("row", "menu-cursors")
                .checked("switch", cursors.into())
                .icon(Icon::Cursor)
                .text("Other people's cursors")
                .child(span("switch", fixed("")))
                .on_press(move || cursors.set(!cursors.get_untracked())),
            markup("<hr><div class=row-label>Theme</div>".to_owned()),
            group(
                "segments",
                "radiogroup",
                "Theme",
                Choice::ALL
                    .into_iter()
                    .map(|choice| theme_button(theme, choice))
                    .collect(),
            ),
            block(
                "small-only",
                vec![
                    markup("<div class=row-label>Zoom</div>".to_owned()),
                    zoom_controls(engine, session, "menu-"),
                ],
            ),
            markup("<hr>".to_owned()),
            Button::new("row", "menu-past")
                .icon(Icon::Past)
                .text("Time line")
                .child(markup("<kbd>Shift T</kbd>".to_owned()))
                .on_press(move || {
                    panels.close();
                    crate::past::toggle(engine, session);
                }),
            Button::new("row", "menu-shortcuts")
                .icon(Icon::Help)
                .text("Keyboard shortcuts")
                .child(markup("<kbd>?</kbd>".to_owned()))
                .on_press(move || panels.toggle(Panel::Shortcuts)),
        ]
    };
    block(
        "anchor",
        vec![
            panels.trigger(brand, Panel::Menu),
            panels.popover(Panel::Menu, "popover island menu", "Menu", content),
        ],
    )
}

fn theme_button(theme: Theme, choice: Choice) -> AnyView {
    Button::new("", format!("theme-{}", choice.key()))
        .checked("radio", flag(move || theme.choice() == choice))
        .child(icon(theme_icon(choice)))
        .text(choice.label())
        .on_press(move || theme.choose(choice))
}

/// The icon of a theme.
pub(crate) fn theme_icon(choice: Choice) -> Icon {
    match choice {
        Choice::Auto => Icon::Contrast,
        Choice::Light => Icon::Sun,
        Choice::Dark => Icon::Moon,
    }
}
