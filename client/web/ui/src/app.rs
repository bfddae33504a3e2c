//! Puts the parts together: takes the engine over, opens the board that the address names, shows the chrome around it.

use chalkboard_client::bridge::{Command, SaveState, ToolKind};
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::{Event, HtmlElement, MouseEvent, VisibilityState};

use crate::address::{self, BoardKey, Destination};
use crate::board;
use crate::dialog::closed_dialog;
use crate::element::{Button, block, dynamic, fixed, text, watch};
use crate::guest;
use crate::icon::{Icon, icon};
use crate::ink::Tools;
use crate::listener::{document, listen, mark, target_element, window};
use crate::menu::{menu, theme_icon};
use crate::panel::{Panel, Panels};
use crate::past::{past, past_button};
use crate::people::{following, people};
use crate::session::{Rights, Session};
use crate::share::share;
use crate::shortcuts::{self, shortcut_sheet};
use crate::status::{busy, connection, saved_state};
use crate::theme::Theme;
use crate::toast::toast_list;
use crate::toolbar::toolbar;
use crate::worker::{Boot, Engine};
use crate::zoom::zoom_controls;

/// Mounts the user interface and opens the board.
pub(crate) fn mount() {
    let place = document()
        .get_element_by_id("app")
        .expect("index.html has a place for the user interface");
    let handle = leptos::mount::mount_to(place.unchecked_into::<HtmlElement>(), app);
    // The user interface lives as long as the page.
    handle.forget();
    if let Some(boot) = document().get_element_by_id("boot") {
        boot.remove();
    }
    mark("chalkboard-ui");
}

/// Everything around the board.
fn app() -> AnyView {
    let boot = Boot::take();
    let session = Session::new();
    let engine = Engine::connect(&boot, board::canvas(), session);
    board::connect(engine, session);
    watch_page(engine, session);
    let theme = Theme::follow(engine);
    let tools = Tools::load(engine, theme);
    watch(move || {
        if session.rights.get() == Rights::View {
            // There is nothing to draw with: drags move the view.
            tools.select(ToolKind::Hand);
        }
    });
    let panels = Panels::watch();
    shortcuts::connect(engine, session, tools, panels);
    let key = RwSignal::new(None);
    open(engine, session, boot, key);
    let asked_tick = StoredValue::new(address::tick());
    watch(move || {
        if session.rights.get() != Rights::Unknown
            && let Some(tick) = asked_tick.try_update_value(Option::take).flatten()
        {
            engine.send(Command::LookBack(Some(tick)));
        }
    });

    let theme_label = text(move || format!("Theme: {}", theme.choice().label()));
    let theme_button = Button::new("tool", "theme")
        .tip(theme_label)
        .child(dynamic(move || vec![icon(theme_icon(theme.choice()))]))
        .on_press(move || theme.choose(theme.choice().next()));
    let help = Button::new("tool", "help")
        .tip(fixed("Shortcuts"))
        .key("?")
        .icon(Icon::Help);
    let parts = vec![
        block(
            "corner top left",
            vec![
                block(
                    "island",
                    vec![menu(engine, session, panels, theme), saved_state(session)],
                ),
                connection(engine, session),
                busy(session),
            ],
        ),
        block(
            "corner top right",
            vec![block(
                "island",
                vec![people(engine, session, panels), share(session, panels, key)],
            )],
        ),
        following(engine, session),
        toast_list(session.toasts),
        toolbar(engine, session, tools, panels),
        past(engine, session, key),
        block(
            "corner bottom left",
            vec![block("island", vec![zoom_controls(engine, session, "")])],
        ),
        block(
            "corner bottom right",
            vec![block(
                "island",
                vec![
                    past_button(engine, session),
                    theme_button,
                    panels.trigger(help, Panel::Shortcuts),
                ],
            )],
        ),
        shortcut_sheet(panels),
        closed_dialog(session),
    ];
    listen(&document(), "mousedown", |event: MouseEvent| {
        keep_focus(&event);
    });
    block("chrome", parts)
}

/// Opens the board that the address names, or the one that the server has just made.
fn open(engine: Engine, session: Session, boot: Boot, key: RwSignal<Option<BoardKey>>) {
    let connect = move |found: BoardKey| {
        let guest = guest::load();
        engine.send(Command::Open {
            board: found.board.clone(),
            secret: found.secret.clone(),
            name: guest.name,
            color: guest.color,
            websocket_only: address::websocket_only(),
        });
        key.set(Some(found));
    };
    match address::destination() {
        Destination::Board(found) => connect(found),
        Destination::NewBoard => spawn_local(async move {
            match address::create(boot.created).await {
                Ok(found) => connect(found),
                Err(reason) => session.close(&reason),
            }
        }),
        Destination::SecretMissing => session.close(
            "The link is incomplete: the part after # is missing, and it is the key to the board. Ask whoever sent it \
             for the whole link, or start a board of your own.",
        ),
        Destination::Unknown => session.close("There is nothing at this address. Start a new board instead."),
    }
}

/// Tells the engine what happens to the page, and holds the page while changes are only here.
fn watch_page(engine: Engine, session: Session) {
    listen(&document(), "visibilitychange", move |_: Event| {
        engine.send(Command::Visible(
            document().visibility_state() == VisibilityState::Visible,
        ));
    });
    listen(&window(), "online", move |_: Event| {
        engine.send(Command::NetworkOnline);
    });
    listen(&window(), "beforeunload", move |event: Event| {
        if matches!(session.saved.get_untracked(), SaveState::Local { .. }) {
            event.prevent_default();
            // Older browsers look here.
            let _ = js_sys::Reflect::set(&event, &"returnValue".into(), &true.into());
        }
    });
    // Another link pasted into the address bar of an open board.
    listen(&window(), "hashchange", move |_: Event| address::reload());
}

/// A button pressed by mouse or finger does not take the focus: the next space bar is for the board, not for it.
fn keep_focus(event: &MouseEvent) {
    let wants_focus = "input, label, dialog, .popover, canvas";
    if target_element(event)
        .is_some_and(|element| element.closest(wants_focus).ok().flatten().is_none())
    {
        event.prevent_default();
    }
}
