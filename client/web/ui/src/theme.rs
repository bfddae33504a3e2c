//! Light, dark, or as the system has it. Owns the choice and its way to the style sheet and the engine.

use chalkboard_client::bridge::Command;
use leptos::prelude::*;
use web_sys::{Event, MediaQueryList};

use crate::element::watch;
use crate::listener::{document, listen, root, window};
use crate::settings;
use crate::worker::Engine;

/// What a person chose.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// As the system has it.
    Auto,
    /// Always light.
    Light,
    /// Always dark.
    Dark,
}

impl Choice {
    /// All of them, in the order of the button.
    pub(crate) const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// For people.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Auto => "Auto",
            Self::Light => "Light",
            Self::Dark => "Dark",
        }
    }

    /// For storage; `index.html` reads it before the first paint.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    fn load() -> Self {
        let stored = settings::load("theme").unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|choice| choice.key() == stored)
            .unwrap_or(Self::Auto)
    }

    /// The one after it.
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Auto => Self::Light,
            Self::Light => Self::Dark,
            Self::Dark => Self::Auto,
        }
    }
}

/// The page's theme.
#[derive(Clone, Copy)]
pub(crate) struct Theme {
    choice: RwSignal<Choice>,
    system_dark: RwSignal<bool>,
}

impl Theme {
    /// Follows the choice and the system from now on.
    pub(crate) fn follow(engine: Engine) -> Self {
        let query: Option<MediaQueryList> = window()
            .match_media("(prefers-color-scheme: dark)")
            .ok()
            .flatten();
        let system_dark = RwSignal::new(query.as_ref().is_some_and(MediaQueryList::matches));
        if let Some(query) = query {
            let watched = query.clone();
            listen(&query, "change", move |_: Event| {
                system_dark.set(watched.matches());
            });
        }
        let theme = Self {
            choice: RwSignal::new(Choice::load()),
            system_dark,
        };
        watch(move || {
            let dark = theme.is_dark();
            let _ = root()
                .dataset()
                .set("theme", if dark { "dark" } else { "light" });
            tint_browser(dark);
            engine.send(Command::SetDark(dark));
        });
        theme
    }

    /// The choice; reactive.
    pub(crate) fn choice(self) -> Choice {
        self.choice.get()
    }

    /// Chooses and remembers.
    pub(crate) fn choose(self, choice: Choice) {
        settings::store("theme", choice.key());
        self.choice.set(choice);
    }

    /// Is the page dark? Reactive.
    pub(crate) fn is_dark(self) -> bool {
        match self.choice.get() {
            Choice::Auto => self.system_dark.get(),
            Choice::Light => false,
            Choice::Dark => true,
        }
    }
}

/// Tells the browser the colour of its own bars; the same as in `index.html`.
fn tint_browser(dark: bool) {
    let Ok(list) = document().query_selector_all("meta[name=theme-color]") else {
        return;
    };
    for index in 0..list.length() {
        if let Some(meta) = list
            .item(index)
            .and_then(|node| wasm_bindgen::JsCast::dyn_into::<web_sys::Element>(node).ok())
        {
            let _ = meta.set_attribute("content", if dark { "#15191a" } else { "#fafaf7" });
        }
    }
}
