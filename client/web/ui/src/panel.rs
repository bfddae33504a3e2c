//! What opens over the board and closes again: at most one at a time, by a click outside or Escape.

use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::{HtmlElement, PointerEvent};

use crate::element::{Button, flag, focus_soon, group, watch, when};
use crate::listener::{document, expose, listen_first, target_element};

/// Everything that opens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Panel {
    /// Behind the logo.
    Menu,
    /// Colours and widths, where the tool bar is too narrow to hold them.
    Ink,
    /// Who is here.
    People,
    /// Links.
    Share,
    /// The sheet of keyboard shortcuts.
    Shortcuts,
}

impl Panel {
    /// Id of the button that opens it; focus goes back there.
    fn trigger(self) -> &'static str {
        match self {
            Self::Menu => "menu-trigger",
            Self::Ink => "ink-trigger",
            Self::People => "people-trigger",
            Self::Share => "share-trigger",
            Self::Shortcuts => "shortcuts-trigger",
        }
    }
}

/// Which panel is open.
#[derive(Clone, Copy)]
pub(crate) struct Panels(RwSignal<Option<Panel>>);

impl Panels {
    /// All closed; a press outside of an open one closes it from now on.
    pub(crate) fn watch() -> Self {
        let panels = Self(RwSignal::new(None));
        watch(move || {
            let name = if panels.is_open(Panel::Ink) {
                "ink"
            } else {
                ""
            };
            expose("panel", name);
        });
        // First, since the canvas need not let the press through.
        listen_first(&document(), "pointerdown", move |event: PointerEvent| {
            let inside = target_element(&event).and_then(|element| {
                element
                    .closest(".popover, [aria-haspopup], dialog")
                    .ok()
                    .flatten()
            });
            if inside.is_none() {
                panels.close();
            }
        });
        panels
    }

    /// Is it open? Reactive.
    pub(crate) fn is_open(self, panel: Panel) -> bool {
        self.0.get() == Some(panel)
    }

    /// Opens it instead of any other, or closes it.
    pub(crate) fn toggle(self, panel: Panel) {
        let open = self.0.get_untracked();
        self.0.set(if open == Some(panel) {
            None
        } else {
            Some(panel)
        });
    }

    /// Closes what is open; says whether anything was.
    pub(crate) fn close(self) -> bool {
        let open = self.0.get_untracked();
        if open.is_some() {
            self.0.set(None);
        }
        open.is_some()
    }

    /// Closes what is open and puts the focus back on its button.
    pub(crate) fn dismiss(self) -> bool {
        let trigger = self.0.get_untracked().map(Panel::trigger);
        if let Some(button) = trigger.and_then(|id| document().get_element_by_id(id)) {
            let _ = button.unchecked_ref::<HtmlElement>().focus();
        }
        self.close()
    }

    /// Makes a button open a panel.
    pub(crate) fn trigger(self, button: Button, panel: Panel) -> AnyView {
        button
            .opens(panel.trigger(), flag(move || self.is_open(panel)))
            .on_press(move || self.toggle(panel))
    }

    /// A panel that hangs on its button, while it is open. It takes the focus as it opens. `class` places it.
    pub(crate) fn popover(
        self,
        panel: Panel,
        class: &'static str,
        label: &'static str,
        content: impl Fn() -> Vec<AnyView> + Send + Sync + 'static,
    ) -> AnyView {
        when(flag(move || self.is_open(panel)), move || {
            focus_soon(".popover.island");
            group(class, "dialog", label, content())
        })
    }
}
