//! The menu behind the logo: what is not needed while drawing, and what small screens have no room for.

use chalkboard_client::bridge::Command;
use leptos::prelude::*;

use crate::address;
use crate::icon::{Icon, icon, logo};
use crate::panel::{Panel, Panels, Popover};
use crate::session::Session;
use crate::theme::{Choice, Theme};
use crate::worker::Engine;
use crate::zoom::ZoomControls;

/// The logo, its menu.
#[component]
pub(crate) fn Menu(
    engine: Engine,
    session: Session,
    panels: Panels,
    theme: Theme,
) -> impl IntoView {
    let cursors = RwSignal::new(true);
    Effect::new(move |_| engine.send(Command::ShowCursors(cursors.get())));
    view! {
        <div class="anchor">
            <button
                type="button"
                class="brand"
                id=Panel::Menu.trigger()
                data-testid="menu"
                aria-label="Chalkboard menu"
                aria-haspopup="dialog"
                aria-expanded=move || panels.is_open(Panel::Menu).to_string()
                on:click=move |_| panels.toggle(Panel::Menu)
            >
                {logo()}
                <span class="wordmark">"Chalkboard"</span>
                {icon(Icon::Chevron)}
            </button>
            <Popover panels panel=Panel::Menu label="Menu" class="menu">
                <button type="button" class="row" data-testid="menu-new" on:click=|_| address::go_to_new_board()>
                    {icon(Icon::Page)}
                    "New board"
                </button>
                <button
                    type="button"
                    class="row"
                    data-testid="menu-picture"
                    on:click=move |_| {
                        engine.send(Command::TakePicture);
                        panels.close();
                    }
                >
                    {icon(Icon::Picture)}
                    "Save view as PNG"
                </button>
                <button
                    type="button"
                    class="row"
                    role="switch"
                    data-testid="menu-cursors"
                    aria-checked=move || cursors.get().to_string()
                    on:click=move |_| cursors.update(|shown| *shown = !*shown)
                >
                    {icon(Icon::Cursor)}
                    "Other people's cursors"
                    <span class="switch"></span>
                </button>
                <hr/>
                <div class="row-label">"Theme"</div>
                <div class="segments" role="radiogroup" aria-label="Theme">
                    {Choice::ALL
                        .into_iter()
                        .map(|choice| {
                            view! {
                                <button
                                    type="button"
                                    role="radio"
                                    data-testid=format!("theme-{}", choice.key())
                                    aria-checked=move || (theme.choice() == choice).to_string()
                                    on:click=move |_| theme.choose(choice)
                                >
                                    {icon(theme_icon(choice))}
                                    {choice.label()}
                                </button>
                            }
                        })
                        .collect_view()}
                </div>
                <div class="small-only">
                    <div class="row-label">"Zoom"</div>
                    <ZoomControls engine session prefix="menu-"/>
                </div>
                <hr/>
                <button
                    type="button"
                    class="row"
                    data-testid="menu-shortcuts"
                    on:click=move |_| panels.toggle(Panel::Shortcuts)
                >
                    {icon(Icon::Help)}
                    "Keyboard shortcuts"
                    <kbd>"?"</kbd>
                </button>
            </Popover>
        </div>
    }
}

/// The icon of a theme.
pub(crate) fn theme_icon(choice: Choice) -> Icon {
    match choice {
        Choice::Auto => Icon::Contrast,
        Choice::Light => Icon::Sun,
        Choice::Dark => Icon::Moon,
    }
}
