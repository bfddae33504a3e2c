//! The icons, drawn on a 24 x 24 grid with a round 1.75 pen; `style.css` gives them their size and colour.
//!
//! Parts of a `tint` class take the colour of the tool's ink.

use leptos::prelude::*;

/// Every icon of the page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    Pen,
    Highlighter,
    Eraser,
    Hand,
    Undo,
    Redo,
    Plus,
    Minus,
    Fit,
    Sun,
    Moon,
    Contrast,
    Check,
    Upload,
    Device,
    Share,
    Link,
    Eye,
    Rename,
    Close,
    Help,
    Chevron,
    Picture,
    Cursor,
    Page,
    Offline,
    Alert,
    Busy,
    Past,
    Play,
    Pause,
    Before,
    After,
}

/// The icon as an element that screen readers skip.
pub(crate) fn icon(icon: Icon) -> AnyView {
    svg("icon", "0 0 24 24", drawing(icon))
}

/// The mark of the project.
pub(crate) fn logo() -> AnyView {
    svg("logo", "0 0 32 32", LOGO)
}

fn svg(class: &'static str, area: &'static str, drawing: &'static str) -> AnyView {
    view! { <svg class=class viewBox=area aria-hidden="true" inner_html=drawing></svg> }.into_any()
}

const LOGO: &str = r##"<rect width="32" height="32" rx="9" fill="#14725c"/><path d="M7.5 19.5c2.2-6.6 5.4-9.6 6.9-8.6 2.3 1.5-2.7 9 .2 9.9 2.3.7 3.6-5.4 5.9-4.9 1.5.4.5 3.2 4 2.3" fill="none" stroke="#fff" stroke-width="2.9" stroke-linecap="round" stroke-linejoin="round"/>"##;

fn drawing(icon: Icon) -> &'static str {
    match icon {
        Icon::Pen => {
            r#"<path class="tint-pen" d="M3.8 20.2l1.1-4.6 3.5 3.5z"/><path d="M3.8 20.2l1.1-4.6L15.9 4.6a2 2 0 0 1 2.8 0l.7.7a2 2 0 0 1 0 2.8L8.4 19.1z"/><path d="M13.6 6.9l3.5 3.5"/>"#
        }
        Icon::Highlighter => {
            r#"<path class="tint-highlighter" d="M7.3 13.6L5.8 17.9l1.8 1.4h1.7l1.9-1.8z"/><path d="M7.3 13.6l8.6-8.9a1.7 1.7 0 0 1 2.4 0l1.8 1.8a1.7 1.7 0 0 1 0 2.4l-8.9 8.6z"/><path d="M7.3 13.6L5.6 18l1.2 1.2 4.4-1.7"/><path class="tint-line" d="M4 22h9.5"/>"#
        }
        Icon::Eraser => {
            r#"<path d="M9.3 19.4l-4.8-4.8a2 2 0 0 1 0-2.8l7.6-7.6a2 2 0 0 1 2.8 0l4.6 4.6a2 2 0 0 1 0 2.8l-7.8 7.8z"/><path d="M8.3 8l7.6 7.6"/><path d="M9.3 19.4h10.2"/>"#
        }
        Icon::Hand => {
            r#"<path d="M7.6 13V6.4a1.45 1.45 0 0 1 2.9 0v4.8"/><path d="M10.5 10.8V4.7a1.45 1.45 0 0 1 2.9 0v6.1"/><path d="M13.4 10.9V5.8a1.45 1.45 0 0 1 2.9 0v6"/><path d="M16.3 11.6V8.7a1.45 1.45 0 0 1 2.9 0v5.6c0 4-2.6 6.6-6.2 6.6-2.8 0-4.5-1.1-5.9-3.4L4.6 13.6a1.5 1.5 0 0 1 2.4-1.7l.6.8"/>"#
        }
        Icon::Undo => {
            r#"<path d="M8.2 5L4.4 8.8l3.8 3.8"/><path d="M4.8 8.8h9.4a5.2 5.2 0 0 1 0 10.4H9.6"/>"#
        }
        Icon::Redo => {
            r#"<path d="M15.8 5l3.8 3.8-3.8 3.8"/><path d="M19.2 8.8H9.8a5.2 5.2 0 0 0 0 10.4h4.6"/>"#
        }
        Icon::Plus => r#"<path d="M12 5.5v13M5.5 12h13"/>"#,
        Icon::Minus => r#"<path d="M5.5 12h13"/>"#,
        Icon::Fit => {
            r#"<path d="M4.5 9V6.5a2 2 0 0 1 2-2H9M15 4.5h2.5a2 2 0 0 1 2 2V9M19.5 15v2.5a2 2 0 0 1-2 2H15M9 19.5H6.5a2 2 0 0 1-2-2V15"/><path d="M9.5 12h5"/>"#
        }
        Icon::Sun => {
            r#"<circle cx="12" cy="12" r="3.8"/><path d="M12 3v1.8M12 19.2V21M3 12h1.8M19.2 12H21M5.6 5.6l1.3 1.3M17.1 17.1l1.3 1.3M5.6 18.4l1.3-1.3M17.1 6.9l1.3-1.3"/>"#
        }
        Icon::Moon => r#"<path d="M19.8 14.3A8.2 8.2 0 0 1 9.7 4.2a8.2 8.2 0 1 0 10.1 10.1z"/>"#,
        Icon::Contrast => {
            r#"<circle cx="12" cy="12" r="8"/><path d="M12 4a8 8 0 0 1 0 16z" fill="currentColor"/>"#
        }
        Icon::Check => r#"<path d="M5 12.8l4.4 4.4L19 7.4"/>"#,
        Icon::Upload => r#"<path d="M12 18.5V6M6.5 11.2L12 5.7l5.5 5.5"/>"#,
        Icon::Device => {
            r#"<rect x="5" y="5" width="14" height="10" rx="1.8"/><path d="M2.8 18.8h18.4"/>"#
        }
        Icon::Share => {
            r#"<circle cx="9.6" cy="8.2" r="3.5"/><path d="M3.3 19.6c.5-3.7 2.9-5.8 6.3-5.8 1.5 0 2.8.4 3.8 1.2"/><path d="M18 14v6M15 17h6"/>"#
        }
        Icon::Link => {
            r#"<path d="M10 13.9a4 4 0 0 0 5.9.2l3-3a4 4 0 0 0-5.7-5.7l-1.4 1.4"/><path d="M14 10.1a4 4 0 0 0-5.9-.2l-3 3a4 4 0 0 0 5.7 5.7l1.4-1.4"/>"#
        }
        Icon::Eye => {
            r#"<path d="M2.8 12S6 5.8 12 5.8 21.2 12 21.2 12 18 18.2 12 18.2 2.8 12 2.8 12z"/><circle cx="12" cy="12" r="2.7"/>"#
        }
        Icon::Rename => {
            r#"<path d="M5 19l.9-3.6L15.6 5.7a1.6 1.6 0 0 1 2.3 0l.4.4a1.6 1.6 0 0 1 0 2.3L8.6 18.1z"/>"#
        }
        Icon::Close => r#"<path d="M6.5 6.5l11 11M17.5 6.5l-11 11"/>"#,
        Icon::Help => {
            r#"<path d="M8.7 9.2a3.4 3.4 0 0 1 6.6.9c0 2.3-3.3 2.7-3.3 4.9"/><path d="M12 18.6v.1"/>"#
        }
        Icon::Chevron => r#"<path d="M7.5 10l4.5 4.5 4.5-4.5"/>"#,
        Icon::Picture => {
            r#"<rect x="4" y="4.5" width="16" height="15" rx="2.4"/><circle cx="9" cy="9.7" r="1.5"/><path d="M4.6 17.2l4.3-4 3 2.6 3.7-3.9 4.2 4.2"/>"#
        }
        Icon::Cursor => r#"<path d="M5.5 4.8l13.3 5.6-5.8 2.3-2.4 5.9z"/>"#,
        Icon::Page => {
            r#"<path d="M13.5 4H8a2 2 0 0 0-2 2v12a2 2 0 0 0 2 2h8a2 2 0 0 0 2-2V8.5z"/><path d="M12 10.5v5M9.5 13h5"/>"#
        }
        Icon::Offline => {
            r#"<path d="M4 4l16 16M8.6 13.2a5 5 0 0 1 3.2-1.2M5.3 9.9a9.6 9.6 0 0 1 3.5-2.1M12 6.9c2.6 0 5 1.1 6.7 3M15.3 13.2l.2.2M12 17.2v.1"/>"#
        }
        Icon::Busy => r#"<path d="M4.6 16.8a8.2 8.2 0 1 1 14.8 0M12 13.6l3.6-4.3M12 13.6v.1"/>"#,
        Icon::Past => {
            r#"<path d="M4.6 8.5A8.2 8.2 0 1 1 3.8 12M4.2 4.6v4h4"/><path d="M12 7.8V12l2.8 1.9"/>"#
        }
        Icon::Play => r#"<path d="M8 5.8l10 6.2-10 6.2z" fill="currentColor"/>"#,
        Icon::Pause => r#"<path d="M8.6 6v12M15.4 6v12" stroke-width="3"/>"#,
        Icon::Before => r#"<path d="M14.5 6.5L9 12l5.5 5.5"/>"#,
        Icon::After => r#"<path d="M9.5 6.5L15 12l-5.5 5.5"/>"#,
        Icon::Alert => r#"<circle cx="12" cy="12" r="8.2"/><path d="M12 8v4.6M12 15.9v.1"/>"#,
    }
}
