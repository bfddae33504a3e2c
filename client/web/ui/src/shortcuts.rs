//! The keyboard: what keys do, and the sheet that lists them. Keys typed into a field are the field's.

use chalkboard_client::bridge::{Command, ToolKind};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{Element, Event, HtmlInputElement, KeyboardEvent};

use crate::dialog::dialog;
use crate::element::{Button, block, fixed, flag, markup, when};
use crate::icon::Icon;
use crate::ink::Tools;
use crate::listener::{document, listen, target_element, window};
use crate::panel::{Panel, Panels};
use crate::past;
use crate::session::{Rights, Session};
use crate::worker::Engine;
use crate::zoom::ZOOM_STEP;

/// How far an arrow key moves the view, in CSS pixels.
const PAN_STEP: f32 = 60.0;
/// With Shift that much farther.
const PAN_SHIFT: f32 = 5.0;

/// Listens to the keyboard from now on.
pub(crate) fn connect(engine: Engine, session: Session, tools: Tools, panels: Panels) {
    let holding = StoredValue::new(false);
    let release = move || {
        if holding.get_value() {
            holding.set_value(false);
            engine.send(Command::HoldHand(false));
        }
    };
    listen(&window(), "keydown", move |event: KeyboardEvent| {
        let target = target_element(&event);
        if target.as_ref().is_some_and(is_field) {
            if event.key() == "Escape" {
                panels.dismiss();
            }
            return;
        }
        if dialog_is_open() {
            if event.key() == "Escape" {
                panels.dismiss();
            }
            return;
        }
        if event.code() == "Space" && !has_modifier(&event) {
            // A button that was reached by keyboard is pressed by the space bar.
            if target.is_some_and(|target| {
                target
                    .closest("button:focus-visible")
                    .ok()
                    .flatten()
                    .is_some()
            }) {
                return;
            }
            event.prevent_default();
            if !event.repeat() && !holding.get_value() {
                holding.set_value(true);
                engine.send(Command::HoldHand(true));
            }
            return;
        }
        let in_panel =
            target.is_some_and(|target| target.closest(".popover").ok().flatten().is_some());
        if in_panel && event.key().starts_with("Arrow") {
            return;
        }
        let can_draw = session.rights.get_untracked() != Rights::View;
        if press(&event, engine, session, tools, panels, can_draw) {
            event.prevent_default();
        }
    });
    listen(&window(), "keyup", move |event: KeyboardEvent| {
        if event.code() == "Space" {
            release();
        }
    });
    // A key released in another window is never heard of.
    listen(&window(), "blur", move |_: Event| release());
}

/// Does what the key asks for; says whether it asked for anything.
fn press(
    event: &KeyboardEvent,
    engine: Engine,
    session: Session,
    tools: Tools,
    panels: Panels,
    can_draw: bool,
) -> bool {
    let (command, shift) = (event.ctrl_key() || event.meta_key(), event.shift_key());
    if event.alt_key() {
        return false;
    }
    let key = letter(event);
    let pan = |x: f32, y: f32| {
        let step = if shift {
            PAN_STEP * PAN_SHIFT
        } else {
            PAN_STEP
        };
        engine.send(Command::PanBy {
            dx: x * step,
            dy: y * step,
        });
    };
    match (key.as_str(), command, shift) {
        ("z", true, false) if can_draw => engine.send(Command::Undo),
        ("z", true, true) | ("y", true, false) if can_draw => engine.send(Command::Redo),
        ("+" | "=", true, _) => engine.send(Command::ZoomBy(ZOOM_STEP)),
        ("-" | "_", true, _) => engine.send(Command::ZoomBy(1.0 / ZOOM_STEP)),
        ("0", true, _) | ("0", false, true) => engine.send(Command::ZoomReset),
        ("1", false, true) => engine.send(Command::ZoomFit),
        ("h", false, false) if can_draw => tools.select(ToolKind::Hand),
        ("p" | "d", false, false) if can_draw => tools.select(ToolKind::Pen),
        ("d", false, true) if can_draw => tools.select(ToolKind::Highlighter),
        ("e", false, false) if can_draw => tools.select(ToolKind::Eraser),
        ("arrowleft", false, _) => pan(-1.0, 0.0),
        ("arrowright", false, _) => pan(1.0, 0.0),
        ("arrowup", false, _) => pan(0.0, -1.0),
        ("arrowdown", false, _) => pan(0.0, 1.0),
        ("escape", false, _) => {
            if !panels.dismiss() {
                engine.send(Command::Cancel);
            }
        }
        ("t", false, true) => past::toggle(engine, session),
        ("?", false, _) => panels.toggle(Panel::Shortcuts),
        _ => return false,
    }
    true
}

/// The key as our layouts name it: digits by their place, since Shift changes them, and letters by their place on
/// keyboards that have no Latin ones.
fn letter(event: &KeyboardEvent) -> String {
    let (key, code) = (event.key(), event.code());
    if let Some(digit) = code.strip_prefix("Digit") {
        return digit.to_owned();
    }
    let is_foreign = key.chars().count() == 1 && !key.is_ascii();
    if is_foreign && let Some(letter) = code.strip_prefix("Key") {
        return letter.to_ascii_lowercase();
    }
    key.to_ascii_lowercase()
}

fn has_modifier(event: &KeyboardEvent) -> bool {
    event.ctrl_key() || event.meta_key() || event.alt_key()
}

fn is_field(element: &Element) -> bool {
    let typed = |input: &HtmlInputElement| !matches!(input.type_().as_str(), "color" | "button");
    element.dyn_ref::<HtmlInputElement>().is_some_and(typed) || element.tag_name() == "TEXTAREA"
}

fn dialog_is_open() -> bool {
    document()
        .query_selector("dialog[open]")
        .ok()
        .flatten()
        .is_some()
}

/// What the system calls its command key.
fn command_key() -> &'static str {
    let platform = window().navigator().platform().unwrap_or_default();
    if platform.starts_with("Mac") || platform.starts_with("iP") {
        "⌘"
    } else {
        "Ctrl"
    }
}

/// A shortcut with the system's command key, for tips.
pub(crate) fn with_command_key(key: &str) -> String {
    format!("{} {key}", command_key())
}

/// The sheet of shortcuts, while it is open.
pub(crate) fn shortcut_sheet(panels: Panels) -> AnyView {
    when(flag(move || panels.is_open(Panel::Shortcuts)), move || {
        let close = move || {
            panels.dismiss();
        };
        let button = Button::new("tool", "shortcuts-close")
            .label(fixed("Close"))
            .icon(Icon::Close)
            .on_press(close);
        let title = markup("<h1>Keyboard shortcuts</h1>".to_owned());
        dialog(
            "shortcuts",
            "Keyboard shortcuts",
            close,
            vec![block("header", vec![title, button]), markup(sheet_html())],
        )
    })
}

fn sheet_html() -> String {
    let command = command_key();
    let mut html = "<div class=columns>".to_owned();
    for (title, lines) in SHEET {
        html += &format!("<section><h2>{title}</h2><dl>");
        for (name, keys) in lines {
            html += &format!("<div><dt>{name}</dt><dd>");
            for key in keys.split(' ') {
                match key {
                    "or" | "drag" | "wheel" | "pinch" => html += &format!("<span>{key}</span>"),
                    "Mod" => html += &format!("<kbd>{command}</kbd>"),
                    key => html += &format!("<kbd>{key}</kbd>"),
                }
            }
            html += "</dd></div>";
        }
        html += "</dl></section>";
    }
    html + "</div>"
}

type Section = (&'static str, &'static [(&'static str, &'static str)]);

/// What the sheet lists and [`press`] does. Keys stand apart by spaces; `Mod` is the system's command key.
const SHEET: [Section; 4] = [
    (
        "Tools",
        &[
            ("Hand", "H"),
            ("Pen", "P or D"),
            ("Highlighter", "Shift D"),
            ("Eraser", "E"),
        ],
    ),
    (
        "Edit",
        &[
            ("Undo", "Mod Z"),
            ("Redo", "Mod Shift Z or Mod Y"),
            ("Cancel, close", "Esc"),
            ("Time line", "Shift T"),
            ("This sheet", "?"),
        ],
    ),
    (
        "Move",
        &[
            ("Pan", "← ↑ ↓ →"),
            ("Pan farther", "Shift ← ↑ ↓ →"),
            ("Hand while held", "Space drag"),
            ("Scroll", "wheel"),
        ],
    ),
    (
        "Zoom",
        &[
            ("In", "Mod +"),
            ("Out", "Mod −"),
            ("100%", "Shift 0 or Mod 0"),
            ("Show everything", "Shift 1"),
            ("At the pointer", "Mod wheel or pinch"),
        ],
    ),
];
