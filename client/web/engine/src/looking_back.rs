//! Looking back: the past that is shown in place of the live board, and what it needs from the server.
//!
//! The live client goes on beneath and knows nothing of it. Until the first moment has come the live board stays in
//! sight. While somebody looks back the hand is the tool, whatever was chosen: the past can't be drawn on.

use bytes::Bytes;
use chalkboard_client::bridge::{Command, Notice, Person};
use chalkboard_client::editor::Editor;
use chalkboard_client::past::{Past, Wanted};
use chalkboard_client::{Board, BoardChange, Client};
use chalkboard_shared::Tick;
use js_sys::Uint8Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{RequestInit, Response};

use crate::browser::{object, scope};
use crate::worker::{notify, with_engine};

/// The past, while somebody looks at it.
pub(crate) struct LookingBack {
    /// Where the board's API is.
    address: String,
    authorization: String,
    past: Option<Past>,
    /// The past's board is what is drawn.
    is_shown: bool,
    has_turned: bool,
    /// Counts the looks back: answers to an earlier one are of no use.
    attempt: u32,
    /// What the page was told last: tick, place, length and flags.
    told: (u64, u32, u32, u8),
}

impl LookingBack {
    pub(crate) fn new(board: &str, secret: &str) -> Self {
        let origin = scope().location().origin();
        Self {
            address: [&origin, "/api/v1/boards/", board, "/"].concat(),
            authorization: ["Bearer ", secret].concat(),
            past: None,
            is_shown: false,
            has_turned: false,
            attempt: 0,
            told: (0, 0, 0, 0),
        }
    }

    /// The board of the past, while it is what is shown.
    pub(crate) fn shown(&self) -> Option<&Board> {
        self.past
            .as_ref()
            .filter(|_| self.is_shown)
            .map(Past::board)
    }

    /// What has changed on it.
    pub(crate) fn take_changes(&mut self) -> Option<Vec<BoardChange>> {
        let past = self.past.as_mut().filter(|_| self.is_shown)?;
        Some(past.board_mut().take_changes())
    }

    /// Another board is shown than at the last call.
    pub(crate) fn has_turned(&mut self) -> bool {
        std::mem::take(&mut self.has_turned)
    }

    pub(crate) fn is_playing(&self) -> bool {
        self.past.as_ref().is_some_and(Past::is_playing)
    }

    /// Does what the page asks, if that is about the past or can't be done in it.
    pub(crate) fn command(
        &mut self,
        command: &Command,
        now_ms: f64,
        client: &mut Client,
        editor: &mut Editor,
    ) -> bool {
        if let Command::LookBack(tick) = command {
            editor.finish(client);
            editor.hold_hand(true);
            self.attempt += 1;
            let tick = tick.as_ref().and_then(|tick| tick.parse().ok());
            self.past = Some(Past::new(now_ms, tick.map(Tick)));
            // No tick is 0: the first moment is told in any case.
            self.told = (0, 0, 0, u8::MAX);
            return true;
        }
        let Some(past) = &mut self.past else {
            return false;
        };
        match command {
            Command::LookAtNow => self.leave(editor),
            Command::Seek(at_ms) => past.seek((*at_ms).into()),
            Command::StepTick(forwards) => past.step(*forwards),
            Command::Play(speed) => past.play((*speed > 0.0).then_some((*speed).into())),
            Command::BringBack => past.ask_difference(),
            // Nobody changes the past, nor the present without seeing it.
            Command::Undo | Command::Redo | Command::HoldHand(_) => {}
            _ => return false,
        }
        true
    }

    fn leave(&mut self, editor: &mut Editor) {
        editor.hold_hand(false);
        self.past = None;
        self.has_turned |= std::mem::take(&mut self.is_shown);
        notify(&Notice::Now);
    }

    /// Lets time pass, asks the server for what is missing, and tells the page. Answers whether there is more to draw.
    pub(crate) fn settle(&mut self, now_ms: f64, client: &mut Client, editor: &mut Editor) -> bool {
        let Some(past) = &mut self.past else {
            return false;
        };
        let is_moving = past.tick(now_ms);
        if let Some(difference) = past.take_difference() {
            client.bring_back(&difference);
            self.leave(editor);
            return true;
        }
        if let Some(wanted) = past.poll_wanted() {
            let url = [self.address.as_str(), &wanted.path()].concat();
            let (attempt, authorization) = (self.attempt, self.authorization.clone());
            spawn_local(async move {
                let answer = fetch(&url, &authorization).await.ok();
                with_engine(|engine| engine.on_past(attempt, wanted, answer));
            });
        }
        if let Some(graph) = past.take_graph() {
            notify(&Notice::Graph(graph));
        }
        if past.is_there() && !self.is_shown {
            self.is_shown = true;
            self.has_turned = true;
        }
        let state = past.state();
        let (at_ms, end_ms) = (state.at_ms as u32, state.end_ms as u32);
        let flags = u8::from(state.is_playing)
            | u8::from(state.is_loading) << 1
            | u8::from(state.has_failed) << 2;
        let told = (state.moment.tick.0, at_ms, end_ms, flags);
        if self.told != told {
            self.told = told;
            let person = |(name, color)| Person {
                session: 0,
                name,
                color,
                me: false,
                can_edit: true,
                presents: false,
                followed: false,
            };
            notify(&Notice::Past {
                at_ms,
                end_ms,
                tick: state.moment.tick.0.to_string(),
                unix_s: (state.moment.unix_ms / 1000) as u32,
                authors: state.authors.into_iter().map(person).collect(),
                is_playing: state.is_playing,
                is_loading: state.is_loading,
                has_failed: state.has_failed,
            });
        }
        is_moving
    }

    /// What was asked for has come, or not.
    pub(crate) fn on_answer(&mut self, attempt: u32, wanted: Wanted, answer: Option<Bytes>) {
        let Some(past) = self.past.as_mut().filter(|_| attempt == self.attempt) else {
            return;
        };
        match answer {
            // What can't be read is said to have failed, too.
            Some(bytes) => drop(past.fetched(wanted, bytes)),
            None => past.failed(),
        }
    }
}

async fn fetch(url: &str, authorization: &str) -> Result<Bytes, JsValue> {
    let init = RequestInit::new();
    init.set_headers(&object(&[("authorization", authorization.into())]));
    let response = JsFuture::from(scope().fetch_with_str_and_init(url, &init)).await?;
    let response: Response = response.unchecked_into();
    if !response.ok() {
        return Err(JsValue::NULL);
    }
    let buffer = JsFuture::from(response.array_buffer()?).await?;
    Ok(Uint8Array::new(&buffer).to_vec().into())
}
