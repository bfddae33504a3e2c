//! Questions that tests put to the engine, as plain objects beside the bridge protocol. Nobody else asks them, and
//! nothing is posted unasked.
//!
//! - `{probe: [x, y, width, height]}` (CSS pixels) is answered by `{probe: {pixels, width, height}}`: RGBA bytes.
//! - `{state: true}` is answered by `{state: {strokes, digest, position, saved, transport, sessions, frames, ..}}`.
//! - `{watch: true}` makes the engine post `{ink: {points, at}}` after each frame that shows new ink of others, `at`
//!   in milliseconds of Unix time.
//! - `{frames: true}` begins to note frames; `{frames: false}` is answered by `{frames: [began, took, ..]}`, two numbers
//!   for each frame that drew something since: when it began, and how long it took, in milliseconds.

use chalkboard_client::bridge::{SaveState, TransportKind};
use js_sys::{Array, Object, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

use crate::browser::{get, now_ms, object, scope, time_origin_ms};
use crate::engine::Engine;
use crate::renderer::Frame;

/// Largest edge of a probe in device pixels.
const EDGE_MAX: f64 = 4096.0;
/// Frames noted: ten minutes of them.
const FRAMES_MAX: usize = 36_000;

/// What tests count.
#[derive(Default)]
pub(crate) struct Watch {
    watching: bool,
    /// Frames that drew something.
    frames: u32,
    /// The longest time that a frame took since this was last asked, in milliseconds.
    frame_ms_max: f64,
    /// Points of others' ink that were shown, and when last.
    foreign_points: usize,
    foreign_at_ms: f64,
    /// When each frame began and how long it took, while somebody wants to know.
    noted: Option<Vec<(f64, f64)>>,
}

impl Watch {
    /// A frame was drawn.
    pub(crate) fn drawn(&mut self, began_ms: f64, frame: &Frame) {
        let now = now_ms();
        self.frame_ms_max = self.frame_ms_max.max(now - began_ms);
        self.frames += u32::from(frame.drawn);
        if let Some(noted) = &mut self.noted
            && frame.drawn
            && noted.len() < FRAMES_MAX
        {
            noted.push((began_ms, now - began_ms));
        }
        if frame.foreign_points > 0 {
            self.foreign_points += frame.foreign_points;
            self.foreign_at_ms = time_origin_ms() + now;
            if self.watching {
                let points = (frame.foreign_points as f64).into();
                post(
                    "ink",
                    &object(&[("points", points), ("at", self.foreign_at_ms.into())]),
                );
            }
        }
    }
}

/// Answers a question; others are nobody's business here.
pub(crate) fn answer(engine: Option<&mut Engine>, request: &Object) {
    let Some(engine) = engine else {
        // Not open yet: tests ask again.
        return post("state", &JsValue::NULL);
    };
    if let Ok(area) = get(request, "probe").dyn_into::<Array>() {
        probe(engine, &area);
    } else if get(request, "state").is_truthy() {
        post("state", &state(engine));
    } else if let Some(begin) = get(request, "frames").as_bool() {
        let noted = std::mem::replace(&mut engine.watch.noted, begin.then(Vec::new));
        let numbers: Vec<f64> = noted
            .into_iter()
            .flatten()
            .flat_map(<[f64; 2]>::from)
            .collect();
        let numbers = js_sys::Float64Array::from(numbers.as_slice());
        post("frames", &Array::from(&numbers));
    } else {
        let watch = get(request, "watch");
        if !watch.is_undefined() {
            engine.watch.watching = watch.is_truthy();
        }
    }
}

fn probe(engine: &mut Engine, area: &Array) {
    engine.frame(now_ms());
    let scale = engine.editor.viewport().scale();
    let number = |i: u32| (area.get(i).as_f64().unwrap_or(0.0) * scale).round();
    let (width, height) = (
        number(2).clamp(1.0, EDGE_MAX),
        number(3).clamp(1.0, EDGE_MAX),
    );
    let pixels = engine.renderer.pixels(number(0), number(1), width, height);
    let pixels = Uint8Array::from(pixels.unwrap_or_default().as_slice());
    post(
        "probe",
        &object(&[
            ("pixels", pixels.into()),
            ("width", width.into()),
            ("height", height.into()),
        ]),
    );
}

fn state(engine: &mut Engine) -> Object {
    let (client, watch) = (&engine.client, &mut engine.watch);
    let saved = match client.save_state() {
        SaveState::Saved => "saved",
        SaveState::Sent { .. } => "sent",
        SaveState::Local { .. } => "local",
    };
    let transport: JsValue = match engine.connection.transport() {
        Some(TransportKind::WebTransport) => "webtransport".into(),
        Some(TransportKind::WebSocket) => "websocket".into(),
        None => JsValue::NULL,
    };
    let viewport = engine.editor.viewport();
    let (left, top) = viewport.to_board(0.0, 0.0);
    let number = |value: usize| JsValue::from(value as f64);
    object(&[
        ("strokes", number(client.board().len())),
        ("confirmed", number(client.board().confirmed_len())),
        ("digest", hex(client.digest().0).into()),
        ("position", (client.position().0 as f64).into()),
        ("durable", (client.durable().0 as f64).into()),
        ("saved", saved.into()),
        ("loaded", client.is_loaded().into()),
        ("resumed", client.load().is_resumed.into()),
        (
            "actor",
            hex(client.actor().map_or(0, |actor| actor.0)).into(),
        ),
        ("transport", transport),
        ("sessions", number(client.people().len())),
        ("cursors", number(client.cursors().len())),
        ("crowds", number(client.cursors().crowds().count())),
        (
            "tickUs",
            client
                .pace()
                .map_or(JsValue::NULL, |pace| pace.tick_us.into()),
        ),
        (
            "roundTripMs",
            client.round_trip_ms().map_or(JsValue::NULL, JsValue::from),
        ),
        ("zoom", viewport.zoom().into()),
        ("left", left.into()),
        ("top", top.into()),
        ("frames", watch.frames.into()),
        ("frameMsMax", std::mem::take(&mut watch.frame_ms_max).into()),
        ("complete", engine.renderer.is_complete().into()),
        ("foreignPoints", number(watch.foreign_points)),
        ("foreignAt", watch.foreign_at_ms.into()),
    ])
}

fn hex(value: u64) -> String {
    (0..16)
        .rev()
        .filter_map(|digit| char::from_digit((value >> (4 * digit)) as u32 & 15, 16))
        .collect()
}

fn post(key: &str, value: &JsValue) {
    let _ = scope().post_message(&object(&[(key, value.clone())]));
}
