//! Dialogs in the middle of the page: the browser's own modal ones, with their focus trap, Escape and backdrop.

use chalkboard_client::bridge::ConnectionState;
use leptos::prelude::*;
use web_sys::Event;

use crate::address;
use crate::icon::logo;
use crate::session::Session;

/// A modal dialog for as long as it is in the page.
#[component]
pub(crate) fn Dialog(
    /// What it is, for screen readers.
    label: &'static str,
    /// Style sheet class and test id.
    class: &'static str,
    /// Called as the person wants it closed; one that does nothing makes the dialog stay.
    on_close: impl Fn() + Copy + 'static,
    children: Children,
) -> impl IntoView {
    let element = NodeRef::<leptos::html::Dialog>::new();
    Effect::new(move |_| {
        if let Some(element) = element.get() {
            // Fails only for one that is open already.
            let _ = element.show_modal();
        }
    });
    view! {
        <dialog
            node_ref=element
            class=class
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
            <div class="sheet">{children()}</div>
        </dialog>
    }
}

/// Says why there is no board here, and what to do next.
#[component]
pub(crate) fn ClosedDialog(session: Session) -> impl IntoView {
    let reason = Memo::new(move |_| match session.connection.get() {
        ConnectionState::Closed(text) => Some(text),
        _ => None,
    });
    move || {
        reason.get().map(|text| {
            view! {
                <Dialog label="This board is not open" class="closed" on_close=|| ()>
                    {logo()}
                    <h1>"This board is not open"</h1>
                    <p data-testid="closed-reason">{text}</p>
                    <div class="actions">
                        <button type="button" class="plain" data-testid="retry" on:click=|_| address::reload()>
                            "Try again"
                        </button>
                        <button
                            type="button"
                            class="primary"
                            data-testid="new-board"
                            on:click=|_| address::go_to_new_board()
                        >
                            "New board"
                        </button>
                    </div>
                </Dialog>
            }
        })
    }
}
