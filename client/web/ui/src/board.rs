//! The canvas: its size, everything that pointers and wheels do over it, and the mouse cursor.
//!
//! Events go to the engine one command a DOM event, at once: waiting for the next frame would add up to 16 ms to
//! every stroke. What a gesture means is the engine's business.

use chalkboard_client::bridge::{
    Command, PointerDevice, PointerPhase, PointerSample, PointerShape,
};
use js_sys::Reflect;
use leptos::prelude::*;
use wasm_bindgen::prelude::{Closure, wasm_bindgen};
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{Event, HtmlCanvasElement, PointerEvent, ResizeObserver, WheelEvent};

use crate::element::watch;
use crate::listener::{document, listen, window};
use crate::session::Session;
use crate::worker::{Engine, has};

/// Height of a line of text, for mice that scroll by lines.
const WHEEL_LINE: f64 = 18.0;
/// Most samples of one event; browsers send fewer than 30 even after a long pause.
const SAMPLES_MAX: usize = 256;
/// Largest mouse cursor that browsers draw, less its margin.
const RING_MAX: u8 = 120;

#[wasm_bindgen]
extern "C" {
    /// The place of a mouse or pointer event with its fraction, which `web-sys` rounds away: pens and touch screens
    /// are finer than a CSS pixel, and rounding makes ink wobble.
    #[wasm_bindgen(js_name = MouseEvent)]
    type Place;
    #[wasm_bindgen(method, getter, structural, js_name = clientX)]
    fn client_x(this: &Place) -> f32;
    #[wasm_bindgen(method, getter, structural, js_name = clientY)]
    fn client_y(this: &Place) -> f32;
}

/// The canvas of `index.html`, for as long as this page.
pub(crate) fn canvas() -> HtmlCanvasElement {
    let element = document().get_element_by_id("board");
    element
        .and_then(|element| element.dyn_into().ok())
        .expect("index.html has the canvas")
}

/// Sends everything that happens on the canvas to the engine, and lets the engine choose the mouse cursor.
pub(crate) fn connect(engine: Engine, session: Session) {
    let canvas = canvas();
    watch_size(&canvas, engine);
    watch_pointers(&canvas, engine);
    watch_wheel(&canvas, engine);
    for kind in ["contextmenu", "gesturestart", "gestureend", "touchmove"] {
        // `touchmove`: else iPadOS takes pen strokes for handwriting; `gesture*`: else Safari zooms the page.
        listen(&canvas, kind, |event: Event| event.prevent_default());
    }
    watch(move || {
        let _ = web_sys::HtmlElement::style(&canvas)
            .set_property("cursor", &cursor(session.pointer.get()));
    });
}

fn watch_size(canvas: &HtmlCanvasElement, engine: Engine) {
    let report = {
        let canvas = canvas.clone();
        move || {
            let area = canvas.get_bounding_client_rect();
            let (width, height) = (area.width() as f32, area.height() as f32);
            let scale = (window().device_pixel_ratio() as f32).clamp(0.25, 8.0);
            if width > 0.0 && height > 0.0 {
                engine.send(Command::Resize {
                    width,
                    height,
                    scale,
                });
            }
        }
    };
    report();
    watch_density(report.clone());
    let callback = Closure::<dyn FnMut()>::new(report).into_js_value();
    if let Ok(observer) = ResizeObserver::new(callback.unchecked_ref()) {
        observer.observe(canvas);
        // The observer lives as long as what it observes.
    }
}

/// Reports when the page's density changes (browser zoom, another monitor): a media query names one density, so a new
/// one is asked after each change.
fn watch_density(report: impl Fn() + Clone + 'static) {
    let density = js_sys::Number::from(window().device_pixel_ratio());
    let density = density
        .to_string_with_radix(10)
        .map_or_else(|_| String::new(), String::from);
    let query = format!("(resolution: {density}dppx)");
    let Ok(Some(list)) = window().match_media(&query) else {
        return;
    };
    let callback = Closure::once_into_js(move || {
        report();
        watch_density(report);
    });
    let options = web_sys::AddEventListenerOptions::new();
    options.set_once(true);
    let _ = list.add_event_listener_with_callback_and_add_event_listener_options(
        "change",
        callback.unchecked_ref(),
        &options,
    );
}

fn watch_pointers(canvas: &HtmlCanvasElement, engine: Engine) {
    let coalesces = has(&event_prototype(), "getCoalescedEvents");
    // Moves arrive here before the browser lines them up with its frames; where it is missing `pointermove` does.
    let raw = has(canvas, "onpointerrawupdate");

    let target = canvas.clone();
    listen(canvas, "pointerdown", move |event: PointerEvent| {
        // Fails for a pointer that is gone already.
        let _ = target.set_pointer_capture(event.pointer_id());
        send(engine, &event, PointerPhase::Down);
    });
    let on_move = move |event: &PointerEvent| {
        let mut samples = Vec::new();
        if coalesces {
            for part in event.get_coalesced_events().iter().take(SAMPLES_MAX) {
                samples.push(sample(part.unchecked_ref(), PointerPhase::Move));
            }
        }
        if samples.is_empty() {
            samples.push(sample(event, PointerPhase::Move));
        }
        engine.send(Command::Pointer(samples));
    };
    if raw {
        listen(canvas, "pointerrawupdate", move |event: PointerEvent| {
            on_move(&event);
        });
    }
    listen(canvas, "pointermove", move |event: PointerEvent| {
        // Scripted events have no raw counterpart.
        if !raw || !event.is_trusted() {
            on_move(&event);
        }
    });
    for (kind, phase) in [
        ("pointerup", PointerPhase::Up),
        ("pointercancel", PointerPhase::Cancel),
        ("pointerleave", PointerPhase::Leave),
    ] {
        listen(canvas, kind, move |event: PointerEvent| {
            send(engine, &event, phase);
        });
    }
}

fn event_prototype() -> JsValue {
    let class = Reflect::get(&window(), &"PointerEvent".into()).unwrap_or_default();
    Reflect::get(&class, &"prototype".into())
        .ok()
        .filter(JsValue::is_object)
        .unwrap_or_else(|| js_sys::Object::new().into())
}

fn send(engine: Engine, event: &PointerEvent, phase: PointerPhase) {
    engine.send(Command::Pointer(vec![sample(event, phase)]));
}

fn sample(event: &PointerEvent, phase: PointerPhase) -> PointerSample {
    let device = match event.pointer_type().as_str() {
        "touch" => PointerDevice::Touch,
        "pen" => PointerDevice::Pen,
        _ => PointerDevice::Mouse,
    };
    let button = match phase {
        PointerPhase::Down | PointerPhase::Up => event.button().clamp(-1, 127) as i8,
        _ => held_button(event.buttons()),
    };
    let place: &Place = event.unchecked_ref();
    PointerSample {
        id: event.pointer_id(),
        phase,
        device,
        // The canvas fills the window: its corner is the window's.
        x: place.client_x(),
        y: place.client_y(),
        pressure: if device == PointerDevice::Mouse {
            0.5
        } else {
            event.pressure()
        },
        button,
        time_ms: event.time_stamp(),
    }
}

/// The button that `event.buttons` says is down, numbered as `event.button` is; -1 for none.
fn held_button(buttons: u16) -> i8 {
    for (bit, button) in [(1, 0), (4, 1), (2, 2), (32, 5)] {
        if buttons & bit != 0 {
            return button;
        }
    }
    -1
}

fn watch_wheel(canvas: &HtmlCanvasElement, engine: Engine) {
    listen(canvas, "wheel", move |event: WheelEvent| {
        event.prevent_default();
        let unit = match event.delta_mode() {
            WheelEvent::DOM_DELTA_LINE => WHEEL_LINE,
            WheelEvent::DOM_DELTA_PAGE => 400.0,
            _ => 1.0,
        };
        let (mut dx, mut dy) = (event.delta_x() * unit, event.delta_y() * unit);
        if event.shift_key() && dx == 0.0 {
            // Some systems swap the axes by themselves, some leave it to the page.
            (dx, dy) = (dy, 0.0);
        }
        engine.send(Command::Wheel {
            x: event.client_x() as f32,
            y: event.client_y() as f32,
            dx: dx as f32,
            dy: dy as f32,
            zoom: event.ctrl_key() || event.meta_key(),
        });
    });
    // Safari on a Mac reports a trackpad pinch as gestures, elsewhere it is a wheel with Ctrl. On touch screens the
    // engine sees the fingers themselves.
    let touch = window().navigator().max_touch_points() > 0;
    let mut last_scale = 1.0;
    listen(canvas, "gesturechange", move |event: Event| {
        event.prevent_default();
        let number = |key: &str| {
            Reflect::get(&event, &key.into())
                .ok()
                .and_then(|value| value.as_f64())
        };
        let (Some(scale), Some(x), Some(y)) =
            (number("scale"), number("clientX"), number("clientY"))
        else {
            return;
        };
        // Each gesture's scale begins at 1; a jump back to there is a new gesture.
        let ratio: f64 = scale / last_scale;
        last_scale = scale;
        if !touch && (0.5..2.0).contains(&ratio) {
            // As browsers translate a pinch into a wheel, by its logarithm: to a hundredth.
            let z = (ratio - 1.0) / (ratio + 1.0);
            let dy = (-200.0 * (z + z * z * z / 3.0)) as f32;
            engine.send(Command::Wheel {
                x: x as f32,
                y: y as f32,
                dx: 0.0,
                dy,
                zoom: true,
            });
        }
    });
}

/// The style sheet's word for a mouse cursor.
fn cursor(shape: PointerShape) -> String {
    match shape {
        PointerShape::Crosshair => "crosshair".to_owned(),
        PointerShape::Ring(diameter) => ring(diameter.clamp(4, RING_MAX)),
        PointerShape::Grab => "grab".to_owned(),
        PointerShape::Grabbing => "grabbing".to_owned(),
        PointerShape::Default => "default".to_owned(),
    }
}

/// A ring that shows on light and dark. Drawn at twice its size, so that every length is a whole number.
fn ring(diameter: u8) -> String {
    let size = u32::from(diameter) + 4;
    let (twice, hot) = (size * 2, size / 2);
    let circle = |color: &str, width: u32| {
        format!(
            "<circle cx='{size}' cy='{size}' r='{diameter}' fill='none' stroke='{color}' stroke-width='{width}'/>"
        )
    };
    let (halo, line) = (circle("white", 6), circle("%23333", 3));
    format!(
        "url(\"data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='{size}' height='{size}' \
         viewBox='0 0 {twice} {twice}'>{halo}{line}</svg>\") {hot} {hot}, crosshair"
    )
}
