//! The floating tool bar: tools, ink, history. One row where there is room; else the ink opens above the bar.

use chalkboard_client::bridge::{Command, ToolKind};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, HtmlInputElement, KeyboardEvent};

use crate::element::{Button, fixed, flag, group, span, text, when};
use crate::icon::Icon;
use crate::ink::{InkTool, Tools};
use crate::listener::{document, target_element};
use crate::palette::{self, WIDTH_NAMES};
use crate::panel::{Panel, Panels};
use crate::session::{Rights, Session};
use crate::shortcuts;
use crate::worker::Engine;

/// The tool bar; not there for those who may only look.
pub(crate) fn toolbar(engine: Engine, session: Session, tools: Tools, panels: Panels) -> AnyView {
    when(
        flag(move || session.rights.get() != Rights::View),
        move || {
            let ink_trigger = Button::new("tool ink-trigger", "ink")
                .label(fixed("Colour and width"))
                .style(nib_tint(tools))
                .child(span("ink-dot", fixed("")));
            let parts = vec![
                group("group", "group", "Tools", tool_buttons(tools)),
                divider(),
                panels.trigger(ink_trigger, Panel::Ink),
                ink(tools, panels),
                divider(),
                group(
                    "group",
                    "group",
                    "History",
                    history_buttons(engine, session),
                ),
            ];
            view! {
                <div
                    class="toolbar island"
                    role="toolbar"
                    aria-label="Drawing tools"
                    data-testid="toolbar"
                    on:keydown=|event| move_focus(&event)
                >
                    {parts}
                </div>
            }
            .into_any()
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
    let tint = |ink_tool| text(move || tint(tools, tools.nib_of(ink_tool).color));
    let select = |kind| move || tools.select(kind);
    vec![
        button(ToolKind::Hand, Icon::Hand, "Hand", "H", "tool-hand")
            .on_press(select(ToolKind::Hand)),
        button(ToolKind::Pen, Icon::Pen, "Pen", "P", "tool-pen")
            .style(tint(InkTool::Pen))
            .on_press(select(ToolKind::Pen)),
        button(
            ToolKind::Highlighter,
            Icon::Highlighter,
            "Highlighter",
            "Shift D",
            "tool-highlighter",
        )
        .style(tint(InkTool::Highlighter))
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
fn ink(tools: Tools, panels: Panels) -> AnyView {
    let mut colors: Vec<AnyView> = (0..8).map(|index| swatch(tools, index)).collect();
    colors.push(custom_swatch(tools));
    let widths = (0..4).map(|index| width(tools, index)).collect();
    let parts = vec![
        group("group colors", "radiogroup", "Colour", colors),
        divider(),
        group("group widths", "radiogroup", "Width", widths),
    ];
    let class = text(move || {
        if panels.is_open(Panel::Ink) {
            "ink popover open"
        } else {
            "ink popover"
        }
        .to_owned()
    });
    view! { <div class=class style=nib_tint(tools)>{parts}</div> }.into_any()
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
    let picture = move || match tools.ink_tool.get() {
        InkTool::Pen => "dot",
        InkTool::Highlighter => "chisel",
    };
    let dot =
        view! { <span class=text(move || format!("{} size-{}", picture(), index + 1))></span> };
    Button::new("tool width", format!("width-{}", index + 1))
        .tip(fixed(WIDTH_NAMES[index]))
        .checked(
            "radio",
            flag(move || tools.nib().width == tools.ink_tool.get().widths()[index]),
        )
        .child(dot.into_any())
        .on_press(move || tools.set_width(tools.ink_tool.get_untracked().widths()[index]))
}

fn nib_tint(tools: Tools) -> Signal<String> {
    text(move || tint(tools, tools.nib().color))
}

fn tint(tools: Tools, color: u32) -> String {
    format!("--tint:{}", tools.shown(color))
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
