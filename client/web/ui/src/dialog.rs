//! Dialogs in the middle of the page: the browser's own modal ones, with their focus trap, Escape and backdrop.

use chalkboard_client::bridge::ConnectionState;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{Event, HtmlDialogElement};

use crate::address;
use crate::element::{Button, block, flag, markup, tested_span, text, when};
use crate::icon::logo;
use crate::listener::document;
use crate::session::Session;

/// A modal dialog for as long as it is in the page. `class` is its test id, too; `on_close` is called as the person
/// wants it closed: one that does nothing makes the dialog stay.
pub(crate) fn dialog(
    class: &'static str,
    label: &'static str,
    on_close: impl Fn() + Copy + 'static,
    content: Vec<AnyView>,
) -> AnyView {
    queue_microtask(|| {
        let element = document()
            .query_selector("dialog:not([open])")
            .ok()
            .flatten();
        if let Some(element) =
            element.and_then(|element| element.dyn_into::<HtmlDialogElement>().ok())
        {
            // Fails only for one that has left the page.
            let _ = element.show_modal();
            // Else its first button would look chosen.
            let _ = element.focus();
        }
    });
    view! {
        <dialog
            class=class
            tabindex="-1"
            aria-label=label
            data-testid=class
            on:cancel=move |event: Event| {
                event.prevent_default();
                on_close();
            }
            on:click=move |event| {
                // The dialog's own box is filled by its content: only the backdrop is left.
                if event.target() == event.current_target() {
                    on_close();
                }
            }
        >
            {block("sheet", content)}
        </dialog>
    }
    .into_any()
}

/// Says why there is no board here, and what to do next.
pub(crate) fn closed_dialog(session: Session) -> AnyView {
    let is_closed = flag(move || matches!(session.connection.get(), ConnectionState::Closed(_)));
    let reason = text(move || match session.connection.get() {
        ConnectionState::Closed(reason) => reason,
        _ => String::new(),
    });
    when(is_closed, move || {
        let content = vec![
            logo(),
            markup("<h1>This board is not open</h1>".to_owned()),
            block(
                "reason",
                vec![tested_span("", Some("closed-reason"), reason)],
            ),
            block(
                "actions",
                vec![
                    Button::new("plain", "retry")
                        .text("Try again")
                        .on_press(address::reload),
                    Button::new("primary", "new-board")
                        .text("New board")
                        .on_press(address::go_to_new_board),
                ],
            ),
        ];
        dialog("closed", "This board is not open", || (), content)
    })
}
