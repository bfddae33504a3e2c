//! Who is here: faces at the top right, the list behind them, one's own name in it, and whom one follows.

use chalkboard_client::bridge::{Command, Person};
use chalkboard_client::color;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{Event, HtmlInputElement, KeyboardEvent};

use crate::element::{
    Button, block, dynamic, fixed, flag, focus_soon, group, span, tested_span, text, when,
};
use crate::guest;
use crate::icon::{Icon, icon};
use crate::listener::{document, is_small_screen, target_element};
use crate::palette;
use crate::panel::{Panel, Panels};
use crate::session::Session;
use crate::worker::Engine;

/// Faces side by side; the others become a number.
const FACES_MAX: usize = 4;
/// The same on a phone.
const FACES_SMALL_MAX: usize = 2;
/// Rows of the list; a crowd of thousands would only slow the page down.
const ROWS_MAX: usize = 200;

/// The faces and the list.
pub(crate) fn people(engine: Engine, session: Session, panels: Panels) -> AnyView {
    let count = move || session.people.with(Vec::len);
    let label = text(move || match count() {
        1 => "1 person on this board".to_owned(),
        count => format!("{count} people on this board"),
    });
    when(flag(move || count() > 0), move || {
        let number = tested_span(
            "unseen",
            Some("people-count"),
            text(move || count().to_string()),
        );
        let button = Button::new("faces", "people")
            .label(label)
            .child(dynamic(move || session.people.with(|people| faces(people))))
            .child(number);
        let list = move || {
            let rows = dynamic(move || {
                keep_focus();
                session.people.with(|people| rows(engine, people))
            });
            vec![
                span("row-label", label),
                group("rows", "list", "People", vec![rows]),
            ]
        };
        block(
            "anchor",
            vec![
                panels.trigger(button, Panel::People),
                panels.popover(
                    Panel::People,
                    "popover island people",
                    "People on this board",
                    list,
                ),
            ],
        )
    })
}

fn faces(people: &[Person]) -> Vec<AnyView> {
    let room = if is_small_screen() {
        FACES_SMALL_MAX
    } else {
        FACES_MAX
    };
    let shown = if people.len() > room { room - 1 } else { room };
    let mut faces: Vec<AnyView> = people.iter().take(shown).map(face).collect();
    if people.len() > shown {
        faces.push(span(
            "face more",
            fixed(&format!("+{}", people.len() - shown)),
        ));
    }
    faces
}

fn rows(engine: Engine, people: &[Person]) -> Vec<AnyView> {
    let mut rows: Vec<AnyView> = people
        .iter()
        .take(ROWS_MAX)
        .map(|person| row(engine, person))
        .collect();
    if people.len() > ROWS_MAX {
        rows.push(span(
            "row-label",
            fixed(&format!("and {} more", people.len() - ROWS_MAX)),
        ));
    }
    rows
}

/// Somebody's initials on their colour.
pub(crate) fn face(person: &Person) -> AnyView {
    let style = format!(
        "--face:{};color:{}",
        palette::css(person.color),
        palette::css(color::text_on(person.color))
    );
    view! { <span class="face" style=style title=person.name.clone()>{guest::initials(&person.name)}</span> }.into_any()
}

fn row(engine: Engine, person: &Person) -> AnyView {
    let &Person {
        session,
        me,
        presents,
        followed,
        ..
    } = person;
    let mut parts = vec![face(person)];
    if me {
        parts.push(name_field(engine, &person.name));
        parts.push(span("mark", fixed("you")));
    } else {
        parts.push(span("name", fixed(&person.name)));
    }
    if !person.can_edit {
        parts.push(icon(Icon::Eye));
        parts.push(span("unseen", fixed("View only")));
    } else if me {
        let button = Button::new("small", "present")
            .pressed(Signal::stored(presents))
            .text("Present")
            .on_press(move || engine.send(Command::Present(!presents)));
        parts.push(button);
    } else if presents {
        parts.push(span("mark", fixed("presents")));
    }
    if me {
        return group("person", "listitem", "", parts);
    }
    let mut button = Button::new("person row", ["follow-", &session.to_string()].concat())
        .pressed(Signal::stored(followed));
    for part in parts {
        button = button.child(part);
    }
    let press = move || {
        engine.send(if followed {
            Command::Cancel
        } else {
            Command::Follow(session)
        });
    };
    group("", "listitem", "", vec![button.on_press(press)])
}

/// The list is about to be made anew: what has the focus in it gets it back.
fn keep_focus() {
    let focused = document().query_selector(".rows :focus").ok().flatten();
    if let Some(id) = focused.and_then(|element| element.get_attribute("data-testid")) {
        focus_soon(&["[data-testid=", &id, "]"].concat());
    }
}

/// Whose view this is, while it is somebody's; ends it.
pub(crate) fn following(engine: Engine, session: Session) -> AnyView {
    let tell = move |tell: fn(&Person) -> String| {
        text(move || {
            session.people.with(|people| {
                let followed = people.iter().find(|person| person.followed);
                followed.map(tell).unwrap_or_default()
            })
        })
    };
    let words = tell(|person| ["Following ", &person.name].concat());
    let style = tell(|person| ["--face:", &palette::css(person.color)].concat());
    let chip = when(flag(move || !words.get().is_empty()), move || {
        Button::new("following", "following")
            .style(style)
            .child(span("", words))
            .icon(Icon::Close)
            .on_press(move || engine.send(Command::Cancel))
    });
    group("", "status", "", vec![chip])
}

/// One's own name, which can be changed in place.
fn name_field(engine: Engine, present: &str) -> AnyView {
    let unchanged = present.to_owned();
    let commit = move |event: Event| {
        let Some(input) = input_of(&event) else {
            return;
        };
        match guest::tidy(&input.value()) {
            Some(name) if name != unchanged => {
                guest::remember_name(&name);
                input.set_value(&name);
                engine.send(Command::Rename(name));
            }
            // Nothing new, or nothing at all: as it was.
            _ => input.set_value(&unchanged),
        }
    };
    let leave_on_enter = |event: KeyboardEvent| {
        if event.key() == "Enter"
            && let Some(input) = input_of(&event)
        {
            // Leaving the field commits it.
            let _ = input.blur();
        }
    };
    view! {
        <label class="name-field">
            <input
                type="text"
                aria-label="Your name"
                data-testid="my-name"
                maxlength=guest::NAME_CHARS_MAX.to_string()
                autocomplete="off"
                spellcheck="false"
                prop:value=present.to_owned()
                on:change=commit
                on:keydown=leave_on_enter
            />
            {icon(Icon::Rename)}
        </label>
    }
    .into_any()
}

fn input_of(event: &Event) -> Option<HtmlInputElement> {
    target_element(event)?.dyn_into().ok()
}
