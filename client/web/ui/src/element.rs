//! The few shapes of element that the page is made of, with their types erased.
//!
//! Leptos compiles every distinct shape of `view!` and every distinct reactive closure into code of its own, a few
//! kilobytes each. The page is downloaded before anything can be drawn, so its parts are put together from these
//! instead: one button, one block, one text, whatever is in them. They are never inlined, for the same reason. Written
//! as a component per control, the same page was 175 KB of wasm (brotli) instead of 100.

use std::sync::Arc;

use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use crate::icon::{Icon, icon};
use crate::listener::document;

/// Text that follows signals.
pub(crate) fn text(compute: impl Fn() -> String + Send + Sync + 'static) -> Signal<String> {
    #[inline(never)]
    fn erased(compute: Arc<dyn Fn() -> String + Send + Sync>) -> Signal<String> {
        Signal::derive(move || compute())
    }
    erased(Arc::new(compute))
}

/// Text that stays.
#[inline(never)]
pub(crate) fn fixed(text: &str) -> Signal<String> {
    Signal::stored(text.to_owned())
}

/// A condition that follows signals.
pub(crate) fn flag(compute: impl Fn() -> bool + Send + Sync + 'static) -> Signal<bool> {
    #[inline(never)]
    fn erased(compute: Arc<dyn Fn() -> bool + Send + Sync>) -> Signal<bool> {
        Signal::derive(move || compute())
    }
    erased(Arc::new(compute))
}

/// Runs at once and whenever a signal that it reads has changed.
pub(crate) fn watch(run: impl Fn() + 'static) {
    #[inline(never)]
    fn erased(run: Box<dyn Fn()>) {
        Effect::new(move |_| run());
    }
    erased(Box::new(run));
}

/// A part that is made anew whenever a signal that it reads has changed.
pub(crate) fn dynamic(view: impl Fn() -> Vec<AnyView> + Send + Sync + 'static) -> AnyView {
    #[inline(never)]
    fn erased(view: Arc<dyn Fn() -> Vec<AnyView> + Send + Sync>) -> AnyView {
        (move || view()).into_any()
    }
    erased(Arc::new(view))
}

/// A part that is there while a condition holds.
pub(crate) fn when(
    condition: Signal<bool>,
    view: impl Fn() -> AnyView + Send + Sync + 'static,
) -> AnyView {
    #[inline(never)]
    fn erased(condition: Signal<bool>, view: Arc<dyn Fn() -> AnyView + Send + Sync>) -> AnyView {
        // Else each change of a signal behind the condition would make the part anew.
        let holds = Memo::new(move |_| condition.get());
        dynamic(move || {
            if holds.get() {
                vec![untrack(|| view())]
            } else {
                Vec::new()
            }
        })
    }
    erased(condition, Arc::new(view))
}

/// A `<div>`.
pub(crate) fn block(class: &'static str, children: Vec<AnyView>) -> AnyView {
    div(class, None, None, None, None, children)
}

/// A `<div>` that means something to screen readers. A dialog can take the focus, though not by the tabulator.
pub(crate) fn group(
    class: &'static str,
    role: &'static str,
    label: &'static str,
    children: Vec<AnyView>,
) -> AnyView {
    div(class, Some(role), Some(label), None, None, children)
}

/// A `<div>` that tests look for and screen readers speak when it changes.
pub(crate) fn status(
    class: &'static str,
    test_id: &'static str,
    children: Vec<AnyView>,
) -> AnyView {
    div(class, Some("status"), None, Some(test_id), None, children)
}

/// The same with more to read while the mouse rests on it.
pub(crate) fn titled_status(
    class: &'static str,
    test_id: &'static str,
    title: Signal<String>,
    children: Vec<AnyView>,
) -> AnyView {
    div(
        class,
        Some("status"),
        None,
        Some(test_id),
        Some(title),
        children,
    )
}

#[inline(never)]
fn div(
    class: &'static str,
    role: Option<&'static str>,
    label: Option<&'static str>,
    test_id: Option<&'static str>,
    title: Option<Signal<String>>,
    children: Vec<AnyView>,
) -> AnyView {
    let tabindex = (role == Some("dialog")).then_some("-1");
    view! {
        <div class=class role=role aria-label=label tabindex=tabindex data-testid=test_id title=title>{children}</div>
    }
    .into_any()
}

/// A `<span>` of text.
pub(crate) fn span(class: &'static str, text: Signal<String>) -> AnyView {
    tested_span(class, None, text)
}

/// A `<span>` of text that tests look for.
#[inline(never)]
pub(crate) fn tested_span(
    class: &'static str,
    test_id: Option<&'static str>,
    text: Signal<String>,
) -> AnyView {
    view! { <span class=class data-testid=test_id>{text}</span> }.into_any()
}

/// Markup of our own that never changes. Never for text of people.
#[inline(never)]
pub(crate) fn markup(html: String) -> AnyView {
    view! { <div style="display:contents" inner_html=html></div> }.into_any()
}

/// Moves the focus, once what is being made is in the page.
pub(crate) fn focus_soon(selector: &str) {
    let selector = selector.to_owned();
    queue_microtask(move || {
        if let Some(element) = document().query_selector(&selector).ok().flatten() {
            let _ = element.unchecked_ref::<HtmlElement>().focus();
        }
    });
}

/// A button: everything that one can have on this page.
pub(crate) struct Button {
    class: &'static str,
    test_id: String,
    id: Option<&'static str>,
    role: Option<&'static str>,
    label: Option<Signal<String>>,
    tip: Option<Signal<String>>,
    key: Option<String>,
    pressed: Option<Signal<String>>,
    checked: Option<Signal<String>>,
    expanded: Option<Signal<String>>,
    disabled: Signal<bool>,
    style: Signal<String>,
    content: Vec<AnyView>,
}

impl Button {
    /// An empty one.
    pub(crate) fn new(class: &'static str, test_id: impl Into<String>) -> Self {
        Self::named(class, test_id.into())
    }

    #[inline(never)]
    fn named(class: &'static str, test_id: String) -> Self {
        Self {
            class,
            test_id,
            id: None,
            role: None,
            label: None,
            tip: None,
            key: None,
            pressed: None,
            checked: None,
            expanded: None,
            disabled: Signal::stored(false),
            style: Signal::stored(String::new()),
            content: Vec::new(),
        }
    }

    /// What screen readers call it, where its content does not say it.
    #[inline(never)]
    pub(crate) fn label(mut self, label: Signal<String>) -> Self {
        self.label = Some(label);
        self
    }

    /// As [`Button::label`], and shown while the mouse rests on it.
    #[inline(never)]
    pub(crate) fn tip(self, tip: Signal<String>) -> Self {
        Self {
            tip: Some(tip),
            ..self.label(tip)
        }
    }

    /// The shortcut in its tip.
    #[inline(never)]
    pub(crate) fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// A toggle, on while this holds.
    #[inline(never)]
    pub(crate) fn pressed(mut self, holds: Signal<bool>) -> Self {
        self.pressed = Some(spelled(holds));
        self
    }

    /// A radio button or a switch.
    #[inline(never)]
    pub(crate) fn checked(mut self, role: &'static str, holds: Signal<bool>) -> Self {
        self.role = Some(role);
        self.checked = Some(spelled(holds));
        self
    }

    /// Opens something; `id` finds it for the focus's way back.
    #[inline(never)]
    pub(crate) fn opens(mut self, id: &'static str, is_open: Signal<bool>) -> Self {
        self.id = Some(id);
        self.expanded = Some(spelled(is_open));
        self
    }

    /// Cannot be pressed while this holds.
    #[inline(never)]
    pub(crate) fn disabled(mut self, holds: Signal<bool>) -> Self {
        self.disabled = holds;
        self
    }

    /// Inline style, for colours that are data.
    #[inline(never)]
    pub(crate) fn style(mut self, style: Signal<String>) -> Self {
        self.style = style;
        self
    }

    /// Adds an icon.
    #[inline(never)]
    pub(crate) fn icon(self, picture: Icon) -> Self {
        self.child(icon(picture))
    }

    /// Adds a text.
    #[inline(never)]
    pub(crate) fn text(self, text: &'static str) -> Self {
        self.child(span("", fixed(text)))
    }

    /// Adds anything.
    #[inline(never)]
    pub(crate) fn child(mut self, child: AnyView) -> Self {
        self.content.push(child);
        self
    }

    /// Finishes it with what a press does.
    pub(crate) fn on_press(self, act: impl Fn() + 'static) -> AnyView {
        self.build(Box::new(act))
    }

    #[inline(never)]
    fn build(self, act: Box<dyn Fn()>) -> AnyView {
        view! {
            <button
                type="button"
                class=self.class
                id=self.id
                role=self.role
                style=self.style
                disabled=self.disabled
                aria-label=self.label
                aria-pressed=self.pressed
                aria-checked=self.checked
                aria-expanded=self.expanded
                aria-haspopup=self.expanded.map(|_| "dialog")
                data-tip=self.tip
                data-key=self.key
                data-testid=self.test_id
                on:click=move |_| act()
            >
                {self.content}
            </button>
        }
        .into_any()
    }
}

/// ARIA wants the words.
#[inline(never)]
fn spelled(holds: Signal<bool>) -> Signal<String> {
    text(move || if holds.get() { "true" } else { "false" }.to_owned())
}
