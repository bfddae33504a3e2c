//! The floating tool bar: tools, ink, history. One row where there is room; else the ink opens above the bar.

use chalkboard_client::bridge::{Command, ToolKind};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, HtmlInputElement, KeyboardEvent};

use crate::icon::{Icon, icon};
use crate::ink::{InkTool, Tools};
use crate::listener::{document, target_element};
use crate::palette::{self, WIDTH_NAMES};
use crate::panel::{Panel, Panels};
use crate::session::{Rights, Session};
use crate::worker::Engine;

/// The tool bar; not there for those who may only look.
#[component]
pub(crate) fn Toolbar(
    engine: Engine,
    session: Session,
    tools: Tools,
    panels: Panels,
) -> impl IntoView {
    let nib_color = move |ink_tool: InkTool| {
        format!("--tint: {}", palette::shown(tools.nib_of(ink_tool).color))
    };
    view! {
        <Show when=move || session.rights.get() != Rights::View>
            <div
                class="toolbar island"
                role="toolbar"
                aria-label="Drawing tools"
                aria-orientation="horizontal"
                data-testid="toolbar"
                on:keydown=|event| move_focus(&event)
            >
                <div class="group" role="group" aria-label="Tools">
                    <ToolButton tools kind=ToolKind::Hand picture=Icon::Hand name="Hand" key="H" id="tool-hand"/>
                    <ToolButton
                        tools
                        kind=ToolKind::Pen
                        picture=Icon::Pen
                        name="Pen"
                        key="P"
                        id="tool-pen"
                        style=Signal::derive(move || nib_color(InkTool::Pen))
                    />
                    <ToolButton
                        tools
                        kind=ToolKind::Highlighter
                        picture=Icon::Highlighter
                        name="Highlighter"
                        key="Shift D"
                        id="tool-highlighter"
                        style=Signal::derive(move || nib_color(InkTool::Highlighter))
                    />
                    <ToolButton
                        tools
                        kind=ToolKind::Eraser
                        picture=Icon::Eraser
                        name="Eraser"
                        key="E"
                        id="tool-eraser"
                    />
                </div>
                <span class="divider"></span>
                <button
                    type="button"
                    class="tool ink-trigger"
                    id=Panel::Ink.trigger()
                    data-testid="ink"
                    aria-label="Colour and width"
                    aria-haspopup="dialog"
                    aria-expanded=move || panels.is_open(Panel::Ink).to_string()
                    on:click=move |_| panels.toggle(Panel::Ink)
                >
                    <span class="ink-dot" style=move || nib_style(tools)></span>
                </button>
                <Ink tools panels/>
                <span class="divider"></span>
                <div class="group" role="group" aria-label="History">
                    <button
                        type="button"
                        class="tool"
                        aria-label="Undo"
                        data-tip="Undo"
                        data-key=command_key("Z")
                        data-testid="undo"
                        disabled=move || !session.can_undo.get()
                        on:click=move |_| engine.send(Command::Undo)
                    >
                        {icon(Icon::Undo)}
                    </button>
                    <button
                        type="button"
                        class="tool"
                        aria-label="Redo"
                        data-tip="Redo"
                        data-key=command_key("Shift Z")
                        data-testid="redo"
                        disabled=move || !session.can_redo.get()
                        on:click=move |_| engine.send(Command::Redo)
                    >
                        {icon(Icon::Redo)}
                    </button>
                </div>
            </div>
        </Show>
    }
}

/// Chooses a tool.
#[component]
fn ToolButton(
    tools: Tools,
    kind: ToolKind,
    picture: Icon,
    name: &'static str,
    key: &'static str,
    id: &'static str,
    #[prop(optional, into)] style: Signal<String>,
) -> impl IntoView {
    view! {
        <button
            type="button"
            class="tool"
            aria-label=name
            aria-pressed=move || (tools.tool.get() == kind).to_string()
            data-tip=name
            data-key=key
            data-testid=id
            style=style
            on:click=move |_| tools.select(kind)
        >
            {icon(picture)}
        </button>
    }
}

/// Colours and widths of the drawing tool in hand.
#[component]
fn Ink(tools: Tools, panels: Panels) -> impl IntoView {
    let custom = move || {
        let color = tools.nib().color;
        (!tools
            .ink_tool
            .get()
            .colors()
            .iter()
            .any(|swatch| swatch.color == color))
        .then_some(color)
    };
    let swatch = move |index: usize| {
        let offered = move || &tools.ink_tool.get().colors()[index];
        view! {
            <button
                type="button"
                class="swatch"
                role="radio"
                style=move || format!("--swatch: {}", palette::shown(offered().color))
                aria-label=move || offered().name
                aria-checked=move || (tools.nib().color == offered().color).to_string()
                data-tip=move || offered().name
                data-testid=format!("color-{}", index + 1)
                on:click=move |_| tools.set_color(tools.ink_tool.get_untracked().colors()[index].color)
            ></button>
        }
    };
    let width = move |index: usize| {
        let offered = move || tools.ink_tool.get().widths()[index];
        view! {
            <button
                type="button"
                class="tool width"
                role="radio"
                aria-label=WIDTH_NAMES[index]
                aria-checked=move || (tools.nib().width == offered()).to_string()
                data-tip=WIDTH_NAMES[index]
                data-testid=format!("width-{}", index + 1)
                on:click=move |_| tools.set_width(tools.ink_tool.get_untracked().widths()[index])
            >
                <span style=move || dot(tools.ink_tool.get(), offered())></span>
            </button>
        }
    };
    view! {
        <div class="ink popover" class:open=move || panels.is_open(Panel::Ink) role="group" aria-label="Ink">
            <div class="group colors" role="radiogroup" aria-label="Colour">
                {(0..8).map(swatch).collect_view()}
                <label
                    class="swatch custom"
                    class:chosen=move || custom().is_some()
                    data-tip="Other colour"
                    style=move || custom().map(|color| format!("--swatch: {}", palette::css(color)))
                >
                    <input
                        type="color"
                        aria-label="Other colour"
                        data-testid="color-custom"
                        prop:value=move || palette::css(tools.nib().color)
                        on:input=move |event| {
                            let input = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok());
                            if let Some(color) = input.and_then(|input| palette::parse(&input.value())) {
                                tools.set_color(color);
                            }
                        }
                    />
                </label>
            </div>
            <span class="divider"></span>
            <div
                class="group widths"
                role="radiogroup"
                aria-label="Width"
                style=move || format!("--tint: {}", palette::shown(tools.nib().color))
            >
                {(0..4).map(width).collect_view()}
            </div>
        </div>
    }
}

/// Size of the picture of a nib in CSS pixels: a dot for the pen, an upright chisel for the highlighter.
fn dot(ink_tool: InkTool, width: f32) -> String {
    match ink_tool {
        InkTool::Pen => {
            let size = 2.5 + width.sqrt() * 3.2;
            format!("width:{size:.1}px;height:{size:.1}px;border-radius:50%")
        }
        InkTool::Highlighter => {
            let height = 3.0 + width * 0.34;
            format!("width:7px;height:{height:.1}px;border-radius:2.5px;opacity:.85")
        }
    }
}

fn nib_style(tools: Tools) -> String {
    let nib = tools.nib();
    format!("--tint: {}", palette::shown(nib.color))
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

/// A shortcut with the system's command key, for tooltips.
pub(crate) fn command_key(key: &str) -> String {
    if crate::shortcuts::is_mac() {
        format!("⌘ {key}")
    } else {
        format!("Ctrl {key}")
    }
}
