//! Who is here: faces at the top right, the list behind them, and one's own name in it.

use chalkboard_client::bridge::{Command, Person};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{HtmlInputElement, KeyboardEvent};

use crate::guest;
use crate::icon::{Icon, icon};
use crate::palette;
use crate::panel::{Panel, Panels, Popover};
use crate::session::Session;
use crate::worker::Engine;

/// Faces side by side; the others become a number.
const FACES_MAX: usize = 4;
/// Rows of the list; a crowd of thousands would only slow the page down.
const ROWS_MAX: usize = 200;

/// The faces and the list.
#[component]
pub(crate) fn People(engine: Engine, session: Session, panels: Panels) -> impl IntoView {
    let count = Memo::new(move |_| session.people.with(Vec::len));
    let faces = move || {
        let shown = if count.get() > FACES_MAX {
            FACES_MAX - 1
        } else {
            FACES_MAX
        };
        session
            .people
            .with(|people| people.iter().take(shown).map(face).collect_view())
    };
    let more = move || {
        let count = count.get();
        (count > FACES_MAX).then(
            || view! { <span class="face more">{format!("+{}", count - FACES_MAX + 1)}</span> },
        )
    };
    let label = move || match count.get() {
        1 => "1 person on this board".to_owned(),
        count => format!("{count} people on this board"),
    };
    view! {
        <Show when=move || { count.get() > 0 }>
            <div class="anchor">
                <button
                    type="button"
                    class="faces"
                    id=Panel::People.trigger()
                    data-testid="people"
                    aria-label=label
                    aria-haspopup="dialog"
                    aria-expanded=move || panels.is_open(Panel::People).to_string()
                    on:click=move |_| panels.toggle(Panel::People)
                >
                    {faces}
                    {more}
                    <span class="unseen" data-testid="people-count">{count}</span>
                </button>
                <Popover panels panel=Panel::People label="People on this board" class="people">
                    <div class="row-label">{label}</div>
                    <ul>
                        <Myself engine session/>
                        {move || {
                            session
                                .people
                                .with(|people| people.iter().filter(|person| !person.me).take(ROWS_MAX).map(row).collect_view())
                        }}
                    </ul>
                    {move || {
                        let hidden = count.get().saturating_sub(ROWS_MAX + 1);
                        (hidden > 0).then(|| view! { <div class="row-label">{format!("and {hidden} more")}</div> })
                    }}
                </Popover>
            </div>
        </Show>
    }
}

fn face(person: &Person) -> impl IntoView + use<> {
    view! {
        <span
            class="face"
            class:bright=palette::is_bright(person.color)
            style=format!("--face: {}", palette::css(person.color))
            title=person.name.clone()
        >
            {guest::initials(&person.name)}
        </span>
    }
}

fn row(person: &Person) -> impl IntoView + use<> {
    view! {
        <li>
            {face(person)}
            <span class="name">{person.name.clone()}</span>
            {(!person.can_edit).then(view_only_mark)}
        </li>
    }
}

fn view_only_mark() -> impl IntoView {
    view! { <span class="mark" title="View only">{icon(Icon::Eye)}<span class="unseen">"View only"</span></span> }
}

/// The first row: this person, whose name can be changed in place.
#[component]
fn Myself(engine: Engine, session: Session) -> impl IntoView {
    let me = Memo::new(move |_| {
        session
            .people
            .with(|people| people.iter().find(|person| person.me).cloned())
    });
    let commit = move |input: &HtmlInputElement| {
        let present = me
            .with_untracked(|me| me.as_ref().map(|me| me.name.clone()))
            .unwrap_or_default();
        match guest::tidy(&input.value()) {
            Some(name) if name != present => {
                guest::remember_name(&name);
                engine.send(Command::Rename(name));
            }
            // Nothing new, or nothing at all: as it was.
            _ => input.set_value(&present),
        }
    };
    view! {
        {move || {
            me.get().map(|me| {
                view! {
                    <li>
                        {face(&me)}
                        <label class="name-field">
                            <input
                                type="text"
                                aria-label="Your name"
                                data-testid="my-name"
                                maxlength=guest::NAME_CHARS_MAX.to_string()
                                autocomplete="off"
                                spellcheck="false"
                                prop:value=me.name
                                on:change=move |event| {
                                    if let Some(input) = input_of(event.target()) {
                                        commit(&input);
                                    }
                                }
                                on:keydown=move |event: KeyboardEvent| {
                                    if event.key() == "Enter" && let Some(input) = input_of(event.target()) {
                                        // Leaving the field commits it.
                                        let _ = input.blur();
                                    }
                                }
                            />
                            {icon(Icon::Rename)}
                        </label>
                        <span class="mark">"you"</span>
                        {(!me.can_edit).then(view_only_mark)}
                    </li>
                }
            })
        }}
    }
}

fn input_of(target: Option<web_sys::EventTarget>) -> Option<HtmlInputElement> {
    target?.dyn_into().ok()
}
