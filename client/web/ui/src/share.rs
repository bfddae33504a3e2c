//! Links to this board: one to draw, one to look. Those who may only look have only the second.

use std::time::Duration;

use js_sys::Reflect;
use leptos::prelude::*;
use leptos::task::spawn_local;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::JsFuture;
use web_sys::HtmlInputElement;

use crate::address::{self, BoardKey};
use crate::icon::{Icon, icon};
use crate::listener::window;
use crate::panel::{Panel, Panels, Popover};
use crate::session::{Rights, Session};

/// How long a button says that it has copied.
const COPIED_TIME: Duration = Duration::from_millis(2000);

/// The button and its panel.
#[component]
pub(crate) fn Share(
    session: Session,
    panels: Panels,
    key: RwSignal<Option<BoardKey>>,
) -> impl IntoView {
    let edit_link = Memo::new(move |_| {
        let key = key.get()?;
        (session.rights.get() == Rights::Edit).then(|| address::link(&key.board, &key.secret))
    });
    let view_link = Memo::new(move |_| {
        let key = key.get()?;
        match session.rights.get() {
            Rights::Edit => session
                .view_secret
                .get()
                .map(|secret| address::link(&key.board, &secret)),
            Rights::View => Some(address::link(&key.board, &key.secret)),
            Rights::Unknown => None,
        }
    });
    view! {
        <Show when=move || session.rights.get() != Rights::Unknown>
            <div class="anchor">
                <button
                    type="button"
                    class="primary share"
                    id=Panel::Share.trigger()
                    data-testid="share"
                    aria-label="Share"
                    aria-haspopup="dialog"
                    aria-expanded=move || panels.is_open(Panel::Share).to_string()
                    on:click=move |_| panels.toggle(Panel::Share)
                >
                    {icon(Icon::Share)}
                    <span>"Share"</span>
                </button>
                <Popover panels panel=Panel::Share label="Share this board" class="links">
                    <h2>"Share this board"</h2>
                    <p>"Whoever has a link can open it. No account needed."</p>
                    {move || {
                        edit_link.get().map(|link| {
                            view! { <Link link title="Anyone with this link can draw" id="edit" picture=Icon::Rename/> }
                        })
                    }}
                    {move || {
                        view_link.get().map(|link| {
                            view! { <Link link title="Anyone with this link can look" id="view" picture=Icon::Eye/> }
                        })
                    }}
                </Popover>
            </div>
        </Show>
    }
}

/// One link with its button.
#[component]
fn Link(link: String, title: &'static str, id: &'static str, picture: Icon) -> impl IntoView {
    let copied = RwSignal::new(false);
    let field = NodeRef::<leptos::html::Input>::new();
    let text = link.clone();
    let copy = move |_| {
        let text = text.clone();
        spawn_local(async move {
            if write_clipboard(&text).await
                || field
                    .get_untracked()
                    .is_some_and(|field| copy_selected(&field))
            {
                copied.set(true);
                // The panel may have been closed meanwhile, and the signal with it.
                set_timeout(
                    move || {
                        let _ = copied.try_set(false);
                    },
                    COPIED_TIME,
                );
            }
        });
    };
    view! {
        <div class="link">
            <div class="link-title">{icon(picture)} {title}</div>
            <div class="link-row">
                <input
                    type="text"
                    readonly
                    node_ref=field
                    aria-label=title
                    data-testid=format!("{id}-link")
                    prop:value=link
                    on:focus=move |_| {
                        if let Some(field) = field.get_untracked() {
                            field.select();
                        }
                    }
                />
                <button
                    type="button"
                    class="plain"
                    class:done=copied
                    aria-label=format!("Copy {id} link")
                    data-testid=format!("copy-{id}-link")
                    on:click=copy
                >
                    {move || icon(if copied.get() { Icon::Check } else { Icon::Link })}
                    <span aria-live="polite">{move || if copied.get() { "Copied" } else { "Copy" }}</span>
                </button>
            </div>
        </div>
    }
}

/// The clipboard is missing on pages that are not secure, and may be forbidden.
async fn write_clipboard(text: &str) -> bool {
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
fn copy_selected(field: &HtmlInputElement) -> bool {
    let _ = field.focus();
    field.select();
    let document = crate::listener::document();
    let Ok(command) = Reflect::get(&document, &"execCommand".into()) else {
        return false;
    };
    let Some(command) = command.dyn_ref::<js_sys::Function>() else {
        return false;
    };
    command
        .call1(&document, &"copy".into())
        .is_ok_and(|done| done.is_truthy())
}
