//! The floating tool bar: tools, ink, history. One row where there is room; else the ink opens above the bar.

use chalkboard_client::bridge::{Command, ToolKind};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, HtmlInputElement, KeyboardEvent};

use crate::element::{Button, fixed, flag, group, span, text, watch, when};
use crate::icon::Icon;
use crate::ink::{InkTool, Tools};
use crate::listener::{document, expose, listen, root, target_element};
use crate::palette::{self, WIDTH_NAMES};
use crate::panel::{Panel, Panels};
use crate::session::{Rights, Session};
use crate::shortcuts;
use crate::worker::Engine;

/// The tool bar; not there for those who may only look.
pub(crate) fn toolbar(engine: Engine, session: Session, tools: Tools, panels: Panels) -> AnyView {
    expose_ink(tools);
    listen(&document(), "keydown", |event: KeyboardEvent| {
        move_focus(&event);
    });
    when(
        flag(move || session.rights.get() != Rights::View),
        move || {
            let ink_trigger = Button::new("tool ink-trigger", "ink")
                .label(fixed("Colour and width"))
                .child(span("ink-dot", fixed("")));
            let parts = vec![
                group("group", "group", "Tools", tool_buttons(tools)),
                divider(),
                panels.trigger(ink_trigger, Panel::Ink),
                ink(tools),
                divider(),
                group(
                    "group",
                    "group",
                    "History",
                    history_buttons(engine, session),
                ),
            ];
            group("toolbar island", "toolbar", "Drawing tools", parts)
        },
    )
}

fn divider() -> AnyView {
    span("divider", fixed(""))
}

fn tool_buttons(tools: Tools) -> Vec<AnyView> {
    let button = |kind: ToolKind,
                  picture: Icon,
                  name: &'static str,
                  key: &'static str,
                  test_id: &'static str| {
        Button::new("tool", test_id)
            .tip(fixed(name))
            .key(key)
            .pressed(flag(move || tools.tool.get() == kind))
            .icon(picture)
    };
    let select = |kind| move || tools.select(kind);
    vec![
        button(ToolKind::Hand, Icon::Hand, "Hand", "H", "tool-hand")
            .on_press(select(ToolKind::Hand)),
        button(ToolKind::Pen, Icon::Pen, "Pen", "P", "tool-pen").on_press(select(ToolKind::Pen)),
        button(
            ToolKind::Highlighter,
            Icon::Highlighter,
            "Highlighter",
            "Shift D",
            "tool-highlighter",
        )
        .on_press(select(ToolKind::Highlighter)),
        button(ToolKind::Eraser, Icon::Eraser, "Eraser", "E", "tool-eraser")
            .on_press(select(ToolKind::Eraser)),
    ]
}

fn history_buttons(engine: Engine, session: Session) -> Vec<AnyView> {
    vec![
        Button::new("tool", "undo")
            .tip(fixed("Undo"))
            .key(&shortcuts::with_command_key("Z"))
            .disabled(flag(move || !session.can_undo.get()))
            .icon(Icon::Undo)
            .on_press(move || engine.send(Command::Undo)),
        Button::new("tool", "redo")
            .tip(fixed("Redo"))
            .key(&shortcuts::with_command_key("Shift Z"))
            .disabled(flag(move || !session.can_redo.get()))
            .icon(Icon::Redo)
            .on_press(move || engine.send(Command::Redo)),
    ]
}

/// Colours and widths of the drawing tool in hand. Always in the page: beside the tools or above them.
fn ink(tools: Tools) -> AnyView {
    let mut colors: Vec<AnyView> = (0..8).map(|index| swatch(tools, index)).collect();
    colors.push(custom_swatch(tools));
    let widths = (0..4).map(|index| width(tools, index)).collect();
    let parts = vec![
        group("group colors", "radiogroup", "Colour", colors),
        divider(),
        group("group widths", "radiogroup", "Width", widths),
    ];
    group("ink popover", "group", "Ink", parts)
}

fn swatch(tools: Tools, index: usize) -> AnyView {
    let offered = move || &tools.ink_tool.get().colors()[index];
    Button::new("swatch", format!("color-{}", index + 1))
        .tip(text(move || offered().name.to_owned()))
        .checked("radio", flag(move || tools.nib().color == offered().color))
        .style(text(move || {
            format!("--swatch:{}", tools.shown(offered().color))
        }))
        .on_press(move || tools.set_color(tools.ink_tool.get_untracked().colors()[index].color))
}

/// Any other colour, by the system's own picker.
fn custom_swatch(tools: Tools) -> AnyView {
    let is_chosen = flag(move || {
        let color = tools.nib().color;
        !tools
            .ink_tool
            .get()
            .colors()
            .iter()
            .any(|swatch| swatch.color == color)
    });
    let class = text(move || {
        if is_chosen.get() {
            "swatch custom chosen"
        } else {
            "swatch custom"
        }
        .to_owned()
    });
    let style = text(move || {
        if is_chosen.get() {
            format!("--swatch:{}", tools.shown(tools.nib().color))
        } else {
            String::new()
        }
    });
    let pick = move |event: web_sys::Event| {
        let input =
            target_element(&event).and_then(|element| element.dyn_into::<HtmlInputElement>().ok());
        if let Some(color) = input.and_then(|input| palette::parse(&input.value())) {
            tools.set_color(color);
        }
    };
    view! {
        <label class=class style=style data-tip="Other colour">
            <input
                type="color"
                aria-label="Other colour"
                data-testid="color-custom"
                prop:value=text(move || palette::css(tools.nib().color))
                on:input=pick
            />
        </label>
    }
    .into_any()
}

fn width(tools: Tools, index: usize) -> AnyView {
    Button::new(
        [
            "tool width size-1",
            "tool width size-2",
            "tool width size-3",
            "tool width size-4",
        ][index],
        format!("width-{}", index + 1),
    )
    .tip(fixed(WIDTH_NAMES[index]))
    .checked(
        "radio",
        flag(move || tools.nib().width == tools.ink_tool.get().widths()[index]),
    )
    .child(span("nib", fixed("")))
    .on_press(move || tools.set_width(tools.ink_tool.get_untracked().widths()[index]))
}

/// Shows the chosen ink to the style sheet: `--pen`, `--highlighter` and `--nib` are the colours, `data-ink` the tool.
fn expose_ink(tools: Tools) {
    let style = root().style();
    let set = move |name, ink_tool| {
        // Fails only for names that are none.
        let _ = style.set_property(name, &tools.shown(tools.nib_of(ink_tool).color));
    };
    watch(move || {
        let ink_tool = tools.ink_tool.get();
        set("--pen", InkTool::Pen);
        set("--highlighter", InkTool::Highlighter);
        set("--nib", ink_tool);
        expose("ink", ink_tool.key());
    });
}

/// Arrow keys walk along the bar, as people who use tool bars by keyboard expect.
fn move_focus(event: &KeyboardEvent) {
    let step = match event.key().as_str() {
        "ArrowRight" | "ArrowDown" => 1,
        "ArrowLeft" | "ArrowUp" => -1,
        _ => return,
    };
    let Some(current) = target_element(event) else {
        return;
    };
    let Ok(controls) =
        document().query_selector_all(".toolbar button:not(:disabled), .toolbar input")
    else {
        return;
    };
    let visible: Vec<HtmlElement> = (0..controls.length())
        .filter_map(|index| controls.item(index)?.dyn_into::<HtmlElement>().ok())
        .filter(|control| control.offset_parent().is_some())
        .collect();
    let Some(at) = visible
        .iter()
        .position(|control| control.is_same_node(Some(&current)))
    else {
        return;
    };
    let next = (at as i32 + step).rem_euclid(visible.len() as i32) as usize;
    event.prevent_default();
    event.stop_propagation();
    let _ = visible[next].focus();
}
