//! Whether changes are safe and whether the server is there: quiet while all is well.

use std::time::Duration;

use chalkboard_client::bridge::{Command, ConnectionState, Pace, PresenceStage, SaveState};
use leptos::prelude::*;

use crate::element::{
    Button, dynamic, fixed, flag, span, status, text, titled_status, watch, when,
};
use crate::icon::{Icon, icon};
use crate::session::{Rights, Session};
use crate::worker::Engine;

/// Changes that are safe sooner than this are not talked about: it would flicker with every stroke.
const CALM: Duration = Duration::from_millis(600);

/// Check and "Saved", "Saving…", or how much is only on this device; for those who may only look, that they may.
pub(crate) fn saved_state(session: Session) -> AnyView {
    let shown = RwSignal::new(SaveState::Saved);
    let waiting = StoredValue::new(false);
    watch(move || {
        let state = session.saved.get();
        if state == SaveState::Saved || shown.get_untracked() != SaveState::Saved {
            shown.set(state);
        } else if !waiting.get_value() {
            waiting.set_value(true);
            set_timeout(
                move || {
                    waiting.set_value(false);
                    shown.set(session.saved.get_untracked());
                },
                CALM,
            );
        }
    });
    let online = flag(move || matches!(session.connection.get(), ConnectionState::Online(_)));
    let words = text(move || match shown.get() {
        SaveState::Saved => "Saved".to_owned(),
        SaveState::Sent { .. } => "Saving…".to_owned(),
        SaveState::Local { .. } if online.get() => "Sending…".to_owned(),
        SaveState::Local { pending } if !session.kept.get() => {
            [&pending.to_string(), " unsaved: keep this page open"].concat()
        }
        SaveState::Local { pending: 1 } => "1 change only on this device".to_owned(),
        SaveState::Local { pending } => format!("{pending} changes only on this device"),
    });
    let is_local = flag(move || !online.get() && matches!(shown.get(), SaveState::Local { .. }));
    let picture = move || match shown.get() {
        SaveState::Saved => Icon::Check,
        SaveState::Local { .. } if is_local.get() => Icon::Device,
        SaveState::Sent { .. } | SaveState::Local { .. } => Icon::Upload,
    };
    dynamic(move || match session.rights.get() {
        Rights::Unknown => Vec::new(),
        Rights::View => {
            vec![status(
                "saved",
                "view-only",
                vec![icon(Icon::Eye), span("", fixed("View only"))],
            )]
        }
        Rights::Edit => {
            let class = if is_local.get() {
                "saved unsafe"
            } else {
                "saved"
            };
            vec![status(
                class,
                "saved-state",
                vec![dynamic(move || vec![icon(picture())]), span("", words)],
            )]
        }
    })
}

/// Shown only while the board is not connected; offers to try at once.
pub(crate) fn connection(engine: Engine, session: Session) -> AnyView {
    let deadline_ms = StoredValue::new(0.0);
    let seconds = RwSignal::new(0_u32);
    let count_down = move || {
        let left_ms: f64 = deadline_ms.get_value() - js_sys::Date::now();
        seconds.set((left_ms / 1000.0).ceil().max(0.0) as u32);
    };
    watch(move || {
        if let ConnectionState::Reconnecting { retry_ms } = session.connection.get() {
            deadline_ms.set_value(js_sys::Date::now() + f64::from(retry_ms));
            count_down();
            if let Ok(interval) = set_interval_with_handle(count_down, Duration::from_millis(500)) {
                on_cleanup(move || interval.clear());
            }
        }
    });
    let is_first = flag(move || session.connection.get() == ConnectionState::Connecting);
    let is_lost = flag(move || {
        matches!(
            session.connection.get(),
            ConnectionState::Reconnecting { .. }
        )
    });
    let first = when(is_first, || {
        status(
            "connection island",
            "connection",
            vec![span("spinner", fixed("")), span("", fixed("Connecting…"))],
        )
    });
    let lost = when(is_lost, move || {
        let words = text(move || match seconds.get() {
            0 => "Reconnecting…".to_owned(),
            seconds => format!("Reconnecting in {seconds} s"),
        });
        let again = Button::new("small", "reconnect")
            .text("Try now")
            .on_press(move || engine.send(Command::NetworkOnline));
        status(
            "connection island lost",
            "connection",
            vec![icon(Icon::Offline), span("", words), again],
        )
    });
    vec![first, lost].into_any()
}

/// Shown only while the server has too much to do to tell of everybody as often as usual.
pub(crate) fn busy(session: Session) -> AnyView {
    let is_busy = flag(move || {
        session.busy.get().is_some()
            && matches!(session.connection.get(), ConnectionState::Online(_))
    });
    when(is_busy, move || {
        let words = text(move || session.busy.get().map_or("", busy_words).to_owned());
        let details = text(move || session.busy.get().map(busy_details).unwrap_or_default());
        titled_status(
            "connection island busy",
            "busy",
            details,
            vec![icon(Icon::Busy), span("", words)],
        )
    })
}

fn busy_words(pace: Pace) -> &'static str {
    match pace.presence {
        PresenceStage::Full => "Busy board: updates come less often",
        PresenceStage::Slow | PresenceStage::Sparse => "Busy board: cursors update less often",
        PresenceStage::Crowd => "Busy board: people are shown as crowds",
    }
}

fn busy_details(pace: Pace) -> String {
    let cursors = match pace.presence {
        PresenceStage::Full => "with every update",
        PresenceStage::Slow => "4 times a second",
        PresenceStage::Sparse => "once a second",
        PresenceStage::Crowd => "as crowds, twice a second",
    };
    [
        &(1_000_000 / pace.tick_us.max(1)).to_string(),
        " updates a second; cursors ",
        cursors,
        ".\nEvery change to the board still arrives and is saved.",
    ]
    .concat()
}
