//! The time line: a panel at the bottom in place of the tools, to look at the board as it was, play it, and bring a
//! moment back.
//!
//! It shows what the engine reports and asks the engine for the rest. The slider and the choice of speed are plain markup
//! whose events are caught at the document, since they are the only ones of their kind.

use chalkboard_client::bridge::{Command, Person};
use js_sys::{Date, Object, Reflect};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{Element, Event, HtmlInputElement, KeyboardEvent};

use crate::address::{self, BoardKey};
use crate::element::{
    Button, block, dynamic, fixed, flag, group, markup, span, status, text, watch, when,
};
use crate::icon::{Icon, icon};
use crate::listener::{document, listen_first, target_element, window};
use crate::people::face;
use crate::session::{Rights, Session};
use crate::share::write_clipboard;
use crate::worker::Engine;

const SLIDER: &str = "past-slider";
const SPEED: &str = "past-speed";
/// Said when a moment has been brought back.
const RESTORED: &str = "The board looks like that version again. Undo takes this back.";
/// Names of authors beside the moment.
const AUTHORS_MAX: usize = 3;

/// A moment of the past, as the engine reports it.
#[derive(Clone, Copy)]
pub(crate) struct Past {
    pub(crate) is_open: RwSignal<bool>,
    /// The last tick that changed the board.
    pub(crate) tick: RwSignal<String>,
    /// When that was, in words.
    pub(crate) when: RwSignal<String>,
    pub(crate) is_playing: RwSignal<bool>,
    /// What is shown is what was asked for.
    pub(crate) is_ready: RwSignal<bool>,
    /// Who changed the board then.
    pub(crate) authors: RwSignal<Vec<Person>>,
    /// The present moment is being brought back.
    is_restoring: RwSignal<bool>,
    /// How many times as fast as it was drawn it is played.
    speed: RwSignal<f32>,
}

impl Past {
    /// Before anybody looked back. What was drawn in a minute is played in fifteen seconds.
    pub(crate) fn new() -> Self {
        Self {
            is_open: RwSignal::new(false),
            tick: RwSignal::new(String::new()),
            when: RwSignal::new(String::new()),
            is_playing: RwSignal::new(false),
            is_ready: RwSignal::new(false),
            authors: RwSignal::new(Vec::new()),
            is_restoring: RwSignal::new(false),
            speed: RwSignal::new(4.0),
        }
    }

    fn play(self, engine: Engine) {
        let speed = if self.is_playing.get_untracked() {
            0.0
        } else {
            self.speed.get_untracked()
        };
        engine.send(Command::Play(speed));
    }
}

/// Opens the time line, or closes it.
pub(crate) fn toggle(engine: Engine, session: Session) {
    engine.send(if session.past.is_open.get_untracked() {
        Command::LookAtNow
    } else {
        Command::LookBack(None)
    });
}

/// The button that opens it.
pub(crate) fn past_button(engine: Engine, session: Session) -> AnyView {
    Button::new("tool", "past")
        .tip(fixed("Time line"))
        .key("Shift T")
        .pressed(session.past.is_open.into())
        .icon(Icon::Past)
        .on_press(move || toggle(engine, session))
}

/// The panel; there while somebody looks back.
pub(crate) fn past(engine: Engine, session: Session, key: RwSignal<Option<BoardKey>>) -> AnyView {
    let past = session.past;
    catch_events(engine, past);
    watch(move || {
        if past.is_open.get() {
            past.is_restoring.set(false);
        } else if !past.tick.get_untracked().is_empty() {
            address::forget_tick();
            if past.is_restoring.get_untracked() {
                session.toasts.show(RESTORED.to_owned());
            }
        }
    });
    when(past.is_open.into(), move || panel(engine, session, key))
}

#[inline(never)]
fn panel(engine: Engine, session: Session, key: RwSignal<Option<BoardKey>>) -> AnyView {
    let past = session.past;
    let picture = move || {
        let graph = session.graph.get();
        let frame = "<svg viewBox=\"0 0 256 100\" preserveAspectRatio=none aria-hidden=true>";
        vec![markup([frame, &graph, "</svg>"].concat())]
    };
    let step = move |test_id, name, key, picture, forwards| {
        Button::new("tool", test_id)
            .tip(fixed(name))
            .key(key)
            .icon(picture)
            .on_press(move || engine.send(Command::StepTick(forwards)))
    };
    let (play_tip, play_icon) = (
        move || {
            if past.is_playing.get() {
                "Pause"
            } else {
                "Play"
            }
            .to_owned()
        },
        move || {
            if past.is_playing.get() {
                Icon::Pause
            } else {
                Icon::Play
            }
        },
    );
    let play = Button::new("tool", "past-play")
        .tip(text(play_tip))
        .key("Space")
        .child(dynamic(move || vec![icon(play_icon())]))
        .on_press(move || past.play(engine));
    let is_viewer = flag(move || session.rights.get() != Rights::Edit);
    let is_unready = flag(move || is_viewer.get() || !past.is_ready.get());
    let restore = Button::new("plain", "past-restore")
        .tip(fixed("Nothing is lost: undo takes it back"))
        .disabled(is_unready)
        .text("Restore this version")
        .on_press(move || {
            past.is_restoring.set(true);
            engine.send(Command::BringBack);
        });
    let link = Button::new("tool", "past-link")
        .tip(fixed("Copy link to this moment"))
        .icon(Icon::Link)
        .on_press(move || copy_link(session, key));
    let back = Button::new("primary", "past-now")
        .text("Back to now")
        .on_press(move || engine.send(Command::LookAtNow));
    let authors = move || {
        let mut parts = Vec::new();
        for person in past.authors.get().iter().take(AUTHORS_MAX) {
            parts.push(face(person));
            parts.push(span("name", fixed(&person.name)));
        }
        parts
    };
    let buttons = vec![
        step("past-back", "Previous change", "←", Icon::Before, false),
        play,
        step("past-on", "Next change", "→", Icon::After, true),
        markup(speed_markup()),
    ];
    let moment = vec![span("past-when", past.when.into()), dynamic(authors)];
    let row = vec![
        block("group", buttons),
        status("past-moment", "past-moment", moment),
        block("group past-ends", vec![link, restore, back]),
    ];
    let track = vec![dynamic(picture), markup(SLIDER_MARKUP.to_owned())];
    let rows = vec![block("past-track", track), block("past-row", row)];
    group("past island", "region", "Time line", rows)
}

const SLIDER_MARKUP: &str = "<input type=range id=past-slider data-testid=past-slider min=0 max=0 value=0 aria-label=Moment><div class=past-rest></div>";

/// From half as fast to 64 times: each twice as fast as the one before.
fn speed_markup() -> String {
    let mut html = "<select id=past-speed data-testid=past-speed aria-label=Speed>".to_owned();
    for name in ["½", "1", "2", "4", "8", "16", "32", "64"] {
        let start = if name == "4" {
            "<option selected>"
        } else {
            "<option>"
        };
        html += &[start, name, "×</option>"].concat();
    }
    html + "</select>"
}

/// The slider, the speeds and the keys.
fn catch_events(engine: Engine, past: Past) {
    listen_first(&document(), "input", move |event: Event| {
        if let Some(slider) = named(&event, SLIDER) {
            engine.send(Command::Seek(number(&slider, "valueAsNumber") as u32));
        }
    });
    listen_first(&document(), "change", move |event: Event| {
        if let Some(list) = named(&event, SPEED) {
            let index = number(&list, "selectedIndex") as u32;
            past.speed.set((1u32 << index.min(7)) as f32 / 2.0);
            if past.is_playing.get_untracked() {
                engine.send(Command::Play(past.speed.get_untracked()));
            }
        }
    });
    // Before the shortcuts of the live board, whose keys mean something else here.
    listen_first(&window(), "keydown", move |event: KeyboardEvent| {
        let is_command = event.ctrl_key() || event.meta_key() || event.alt_key();
        if !past.is_open.get_untracked() || is_command {
            return;
        }
        let target = target_element(&event);
        let is_in = |selector| {
            let closest = target
                .as_ref()
                .and_then(|target| target.closest(selector).ok());
            closest.flatten().is_some()
        };
        if is_in("dialog, .popover, select, input:not([type=range])") {
            return;
        }
        match event.key().as_str() {
            "ArrowLeft" => engine.send(Command::StepTick(false)),
            "ArrowRight" => engine.send(Command::StepTick(true)),
            // A button that was reached by keyboard is pressed by the space bar.
            " " if !is_in("button:focus-visible") => past.play(engine),
            "Escape" => engine.send(Command::LookAtNow),
            _ => return,
        }
        event.prevent_default();
        event.stop_propagation();
    });
}

fn named(event: &Event, id: &str) -> Option<Element> {
    target_element(event).filter(|element| element.id() == id)
}

fn number(element: &Element, property: &str) -> f64 {
    let value = Reflect::get(element, &property.into()).unwrap_or_default();
    value.as_f64().unwrap_or_default()
}

/// Moves the slider to where the engine is.
pub(crate) fn show_place(at_ms: u32, end_ms: u32, words: String) {
    // The panel may be made only after this.
    queue_microtask(move || {
        let Some(slider) = document().get_element_by_id(SLIDER) else {
            return;
        };
        let _ = slider.set_attribute("max", &end_ms.to_string());
        let _ = slider.set_attribute("aria-valuetext", &words);
        if let Some(track) = slider.closest(".past-track").ok().flatten() {
            // Whole numbers: fractions would bring all the machinery that writes them.
            let share = u64::from(at_ms.min(end_ms)) * 10_000 / u64::from(end_ms.max(1));
            let style = ["--at:calc(", &(share as u32).to_string(), "*.01%)"];
            let _ = track.set_attribute("style", &style.concat());
        }
        slider
            .unchecked_into::<HtmlInputElement>()
            .set_value(&at_ms.to_string());
    });
}

/// For style sheets and tests.
pub(crate) const fn state_name(is_loading: bool, has_failed: bool) -> &'static str {
    if has_failed {
        "failed"
    } else if is_loading {
        "loading"
    } else {
        "there"
    }
}

/// When a moment was.
pub(crate) fn when_words(unix_s: u32, is_loading: bool, has_failed: bool) -> String {
    if has_failed {
        return "This moment could not be loaded. Try again.".to_owned();
    }
    if unix_s == 0 {
        return if is_loading {
            "Loading…"
        } else {
            "Before the first stroke"
        }
        .to_owned();
    }
    let date = Date::new(&(f64::from(unix_s) * 1000.0).into());
    let language = window().navigator().language().unwrap_or_default();
    let options = Object::new();
    for key in ["dateStyle", "timeStyle"] {
        // Fails for frozen objects only.
        let _ = Reflect::set(&options, &key.into(), &"medium".into());
    }
    date.to_locale_string(&language, &options).into()
}

/// A link for looking, whoever copies it: a moment is for being seen.
fn copy_link(session: Session, key: RwSignal<Option<BoardKey>>) {
    let Some(key) = key.get_untracked() else {
        return;
    };
    let secret = session.view_secret.get_untracked().unwrap_or(key.secret);
    let link = address::link_at(&key.board, &session.past.tick.get_untracked(), &secret);
    spawn_local(async move {
        let is_copied = write_clipboard(&link).await;
        session.toasts.show(if is_copied {
            "Link copied: whoever has it can look at the board from this moment on.".to_owned()
        } else {
            link
        });
    });
}
