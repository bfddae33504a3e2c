//! Whether changes are safe and whether the server is there: quiet while all is well.

use std::time::Duration;

use chalkboard_client::bridge::{Command, ConnectionState, SaveState};
use leptos::prelude::*;

use crate::icon::{Icon, icon};
use crate::session::{Rights, Session};
use crate::worker::Engine;

/// Changes that are safe sooner than this are not talked about: it would flicker with every stroke.
const CALM: Duration = Duration::from_millis(600);

/// Check and "Saved", "Saving…", or how much is only on this device.
#[component]
pub(crate) fn SavedState(session: Session) -> impl IntoView {
    let shown = RwSignal::new(SaveState::Saved);
    let waiting = StoredValue::new(false);
    Effect::new(move |_| {
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
    let online = move || matches!(session.connection.get(), ConnectionState::Online(_));
    let text = move || match shown.get() {
        SaveState::Saved => "Saved".to_owned(),
        SaveState::Sent { .. } => "Saving…".to_owned(),
        SaveState::Local { .. } if online() => "Sending…".to_owned(),
        SaveState::Local { pending: 1 } => "1 change only on this device".to_owned(),
        SaveState::Local { pending } => format!("{pending} changes only on this device"),
    };
    let symbol = Memo::new(move |_| match shown.get() {
        SaveState::Saved => Icon::Check,
        SaveState::Local { .. } if !online() => Icon::Device,
        SaveState::Sent { .. } | SaveState::Local { .. } => Icon::Upload,
    });
    view! {
        <Show when=move || session.rights.get() == Rights::Edit>
            <div class="saved" class:unsafe=move || symbol.get() == Icon::Device data-testid="saved-state" role="status">
                {move || icon(symbol.get())}
                <span>{text}</span>
            </div>
        </Show>
        <Show when=move || session.rights.get() == Rights::View>
            <div class="saved" data-testid="view-only" title="This link lets you look, but not draw">
                {icon(Icon::Eye)}
                <span>"View only"</span>
            </div>
        </Show>
    }
}

/// Shown only while the board is not connected; offers to try at once.
#[component]
pub(crate) fn Connection(engine: Engine, session: Session) -> impl IntoView {
    let deadline_ms = StoredValue::new(0.0);
    let seconds = RwSignal::new(0_u32);
    let count_down = move || {
        let left_ms = deadline_ms.get_value() - js_sys::Date::now();
        seconds.set((left_ms / 1000.0).ceil().max(0.0) as u32);
    };
    Effect::new(move |_| {
        if let ConnectionState::Reconnecting { retry_ms } = session.connection.get() {
            deadline_ms.set_value(js_sys::Date::now() + f64::from(retry_ms));
            count_down();
            if let Ok(interval) = set_interval_with_handle(count_down, Duration::from_millis(500)) {
                on_cleanup(move || interval.clear());
            }
        }
    });
    let kind = Memo::new(move |_| match session.connection.get() {
        ConnectionState::Connecting => Some(false),
        ConnectionState::Reconnecting { .. } => Some(true),
        ConnectionState::Online(_) | ConnectionState::Closed(_) => None,
    });
    move || {
        kind.get().map(|lost| {
            let text = move || match (lost, seconds.get()) {
                (false, _) => "Connecting…".to_owned(),
                (true, 0) => "Reconnecting…".to_owned(),
                (true, seconds) => format!("Reconnecting in {seconds} s"),
            };
            view! {
                <div class="connection island" class:lost=lost data-testid="connection">
                    {if lost { icon(Icon::Offline).into_any() } else { view! { <span class="spinner"></span> }.into_any() }}
                    <span role="status">{text}</span>
                    {lost
                        .then(|| {
                            view! {
                                <button
                                    type="button"
                                    class="small"
                                    data-testid="reconnect"
                                    on:click=move |_| engine.send(Command::NetworkOnline)
                                >
                                    "Try now"
                                </button>
                            }
                        })}
                </div>
            }
        })
    }
}
