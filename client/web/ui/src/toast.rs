//! Short messages that go by themselves, such as a refused change.

use std::time::Duration;

use leptos::prelude::*;

use crate::element::{Button, dynamic, fixed, span, status};
use crate::icon::{Icon, icon};

/// How many are shown at once; the oldest makes room.
const TOASTS_MAX: usize = 3;
/// How long one stays.
const TOAST_TIME: Duration = Duration::from_secs(7);

/// The messages on show.
#[derive(Clone, Copy)]
pub(crate) struct Toasts {
    next_id: StoredValue<u32>,
    shown: RwSignal<Vec<(u32, String)>>,
}

impl Toasts {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            next_id: StoredValue::new(0),
            shown: RwSignal::new(Vec::new()),
        }
    }

    /// Shows a message; the same text is not shown twice at a time.
    pub(crate) fn show(self, text: String) {
        if self
            .shown
            .with_untracked(|shown| shown.iter().any(|(_, present)| *present == text))
        {
            return;
        }
        let id = self.next_id.get_value();
        self.next_id.set_value(id.wrapping_add(1));
        self.shown.update(|shown| {
            if shown.len() == TOASTS_MAX {
                shown.remove(0);
            }
            shown.push((id, text));
        });
        set_timeout(move || self.dismiss(id), TOAST_TIME);
    }

    fn dismiss(self, id: u32) {
        self.shown
            .update(|shown| shown.retain(|(other, _)| *other != id));
    }
}

/// Where the messages appear.
pub(crate) fn toast_list(toasts: Toasts) -> AnyView {
    let list = dynamic(move || {
        toasts
            .shown
            .get()
            .into_iter()
            .map(|(id, text)| toast(toasts, id, &text))
            .collect()
    });
    status("toasts", "toasts", vec![list])
}

fn toast(toasts: Toasts, id: u32, text: &str) -> AnyView {
    let close = Button::new("small", "toast-close")
        .label(fixed("Dismiss"))
        .icon(Icon::Close)
        .on_press(move || toasts.dismiss(id));
    status(
        "toast island",
        "toast",
        vec![icon(Icon::Alert), span("", fixed(text)), close],
    )
}
