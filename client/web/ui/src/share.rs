//! Links to this board: one to draw, one to look. Those who may only look have only the second.

use std::time::Duration;

use js_sys::{Function, Reflect};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::HtmlInputElement;

use crate::address::{self, BoardKey};
use crate::element::{Button, block, dynamic, fixed, flag, markup, span, text, when};
use crate::icon::{Icon, icon};
use crate::listener::{document, window};
use crate::panel::{Panel, Panels};
use crate::session::{Rights, Session};

/// How long a button says that it has copied.
const COPIED_TIME: Duration = Duration::from_secs(2);

/// The button and its panel.
pub(crate) fn share(session: Session, panels: Panels, key: RwSignal<Option<BoardKey>>) -> AnyView {
    when(
        flag(move || session.rights.get() != Rights::Unknown),
        move || {
            let button = Button::new("primary share", "share")
                .label(fixed("Share"))
                .icon(Icon::Share)
                .text("Share");
            let content = move || {
                let heading = "<h2>Share this board</h2><p>Whoever has a link can open it. No account needed.</p>";
                vec![
                    markup(heading.to_owned()),
                    dynamic(move || links(session, key)),
                ]
            };
            block(
                "anchor",
                vec![
                    panels.trigger(button, Panel::Share),
                    panels.popover(
                        Panel::Share,
                        "popover island links",
                        "Share this board",
                        content,
                    ),
                ],
            )
        },
    )
}

fn links(session: Session, key: RwSignal<Option<BoardKey>>) -> Vec<AnyView> {
    let Some(key) = key.get() else {
        return Vec::new();
    };
    let can_edit = session.rights.get() == Rights::Edit;
    let view_secret = if can_edit {
        session.view_secret.get()
    } else {
        Some(key.secret.clone())
    };
    let mut links = Vec::new();
    if can_edit {
        let address = address::link(&key.board, &key.secret);
        links.push(link(
            address,
            "edit",
            "Anyone with this link can draw",
            Icon::Rename,
        ));
    }
    if let Some(secret) = view_secret {
        let address = address::link(&key.board, &secret);
        links.push(link(
            address,
            "view",
            "Anyone with this link can only look",
            Icon::Eye,
        ));
    }
    links
}

/// One link with its button.
fn link(address: String, id: &'static str, title: &'static str, picture: Icon) -> AnyView {
    let copied = RwSignal::new(false);
    let value = address.clone();
    let copy = move || {
        let address = address.clone();
        spawn_local(async move {
            if write_clipboard(&address).await || copy_selected(id) {
                // The panel may have been closed meanwhile, and the signal with it.
                let _ = copied.try_set(true);
                set_timeout(
                    move || {
                        let _ = copied.try_set(false);
                    },
                    COPIED_TIME,
                );
            }
        });
    };
    let button = Button::new("plain", format!("copy-{id}-link"))
        .label(text(move || {
            format!("{} {id} link", if copied.get() { "Copied" } else { "Copy" })
        }))
        .child(dynamic(move || {
            let (picture, word) = if copied.get() {
                (Icon::Check, "Copied")
            } else {
                (Icon::Link, "Copy")
            };
            vec![icon(picture), span("", fixed(word))]
        }))
        .on_press(copy);
    let field = view! {
        <input
            type="text"
            readonly
            id=field_id(id)
            aria-label=title
            data-testid=field_id(id)
            prop:value=value
            on:focus=move |_| {
                if let Some(field) = field(id) {
                    field.select();
                }
            }
        />
    };
    block(
        "link",
        vec![
            block("link-title", vec![icon(picture), span("", fixed(title))]),
            block("link-row", vec![field.into_any(), button]),
        ],
    )
}

fn field_id(id: &str) -> String {
    format!("{id}-link")
}

fn field(id: &str) -> Option<HtmlInputElement> {
    document().get_element_by_id(&field_id(id))?.dyn_into().ok()
}

/// The clipboard is missing on pages that are not secure, and may be forbidden.
pub(crate) async fn write_clipboard(text: &str) -> bool {
    let navigator = window().navigator();
    if !Reflect::get(&navigator, &"clipboard".into()).is_ok_and(|clipboard| clipboard.is_object()) {
        return false;
    }
    JsFuture::from(navigator.clipboard().write_text(text))
        .await
        .is_ok()
}

/// The way of old: selects the field and asks the document to copy. Where that fails too, the selected link is left for
/// the person to copy.
fn copy_selected(id: &str) -> bool {
    let Some(field) = field(id) else { return false };
    let _ = field.focus();
    field.select();
    let document = document();
    let command = Reflect::get(&document, &"execCommand".into())
        .ok()
        .and_then(|value| value.dyn_into::<Function>().ok());
    command.is_some_and(|command| {
        command
            .call1(&document, &"copy".into())
            .is_ok_and(|done| done.is_truthy())
    })
}
