//! A person's hands on a page: mouse, keys and fingers, as the system reports them.

use chromiumoxide::cdp::browser_protocol::input::{
    DispatchKeyEventParams, DispatchKeyEventType, DispatchMouseEventParams, DispatchMouseEventType,
    DispatchTouchEventParams, DispatchTouchEventReturns, DispatchTouchEventType, MouseButton,
};
use chromiumoxide::types::{Command, Method, MethodId};
use serde_json::{Value, json};

use super::page::Page;
use crate::waiting::{wait_until, within};

/// Modifier bit of the Control key.
pub const CONTROL: i64 = 2;
/// Modifier bit of the Shift key.
pub const SHIFT: i64 = 8;

/// `Input.dispatchTouchEvent`, as it is: the library leaves an empty list of fingers out, and the end of a touch needs it.
#[derive(Debug, serde::Serialize)]
#[serde(transparent)]
struct Touches(Value);

impl Method for Touches {
    fn identifier(&self) -> MethodId {
        DispatchTouchEventParams::IDENTIFIER.into()
    }
}

impl Command for Touches {
    type Response = DispatchTouchEventReturns;
}

impl Page {
    /// Moves the mouse with a button down along points, CSS pixels.
    ///
    /// # Panics
    /// When the browser does not take it.
    pub async fn draw(&self, points: &[(f64, f64)]) {
        let (Some(first), Some(last)) = (points.first(), points.last()) else {
            return;
        };
        self.mouse(DispatchMouseEventType::MouseMoved, *first, false)
            .await;
        self.mouse(DispatchMouseEventType::MousePressed, *first, true)
            .await;
        for point in &points[1..] {
            self.mouse(DispatchMouseEventType::MouseMoved, *point, true)
                .await;
        }
        self.mouse(DispatchMouseEventType::MouseReleased, *last, false)
            .await;
    }

    /// Moves the mouse without a button.
    ///
    /// # Panics
    /// When the browser does not take it.
    pub async fn point_at(&self, x: f64, y: f64) {
        self.mouse(DispatchMouseEventType::MouseMoved, (x, y), false)
            .await;
    }

    /// A mouse event of the main button; `down` says whether it is held.
    ///
    /// # Panics
    /// When the browser does not take it.
    pub async fn mouse(&self, kind: DispatchMouseEventType, (x, y): (f64, f64), down: bool) {
        let is_press = kind == DispatchMouseEventType::MousePressed;
        let is_release = kind == DispatchMouseEventType::MouseReleased;
        let mut event = DispatchMouseEventParams::builder()
            .r#type(kind)
            .x(x)
            .y(y)
            .buttons(i64::from(down));
        if down || is_release {
            event = event.button(MouseButton::Left);
        }
        if is_press || is_release {
            event = event.click_count(1);
        }
        let event = event.build().expect("complete parameters");
        within("a mouse event", self.page.execute(event))
            .await
            .expect("the browser takes it");
    }

    /// Turns the wheel at a place, by CSS pixels; with [`CONTROL`] that zooms.
    ///
    /// # Panics
    /// When the browser does not take it.
    pub async fn wheel(&self, (x, y): (f64, f64), (dx, dy): (f64, f64), modifiers: i64) {
        let event = DispatchMouseEventParams::builder()
            .r#type(DispatchMouseEventType::MouseWheel)
            .x(x)
            .y(y)
            .delta_x(dx)
            .delta_y(dy)
            .modifiers(modifiers)
            .build()
            .expect("complete parameters");
        within("a turn of the wheel", self.page.execute(event))
            .await
            .expect("the browser takes it");
    }

    /// Clicks in the middle of the element with this `data-testid`.
    ///
    /// # Panics
    /// When there is none in sight.
    pub async fn click(&self, test_id: &str) {
        let place = wait_until(&format!("{test_id} in sight"), async || {
            let place = self
                .run(&format!(
                    "(() => {{ \
                         const element = document.querySelector('[data-testid=\"{test_id}\"]'); \
                         const area = element?.getBoundingClientRect(); \
                         return area?.width ? [area.x + area.width / 2, area.y + area.height / 2] : null; \
                     }})()"
                ))
                .await;
            Some((place[0].as_f64()?, place[1].as_f64()?))
        })
        .await;
        self.mouse(DispatchMouseEventType::MouseMoved, place, false)
            .await;
        self.mouse(DispatchMouseEventType::MousePressed, place, true)
            .await;
        self.mouse(DispatchMouseEventType::MouseReleased, place, false)
            .await;
    }

    /// Presses a letter with modifiers.
    ///
    /// # Panics
    /// When the browser does not take it.
    pub async fn press(&self, letter: char, modifiers: i64) {
        let upper = letter.to_ascii_uppercase();
        let key = if modifiers & SHIFT == 0 {
            letter
        } else {
            upper
        };
        for kind in [
            DispatchKeyEventType::RawKeyDown,
            DispatchKeyEventType::KeyUp,
        ] {
            let event = DispatchKeyEventParams::builder()
                .r#type(kind)
                .key(key)
                .code(format!("Key{upper}"))
                .windows_virtual_key_code(i64::from(u32::from(upper)))
                .modifiers(modifiers)
                .build()
                .expect("complete parameters");
            within("a key", self.page.execute(event))
                .await
                .expect("the browser takes it");
        }
    }

    /// Moves fingers: each inner list is one moment, with the places of all fingers that are down. They go down at the
    /// first and up after the last.
    ///
    /// # Panics
    /// When the browser does not take it.
    pub async fn touch(&self, moments: &[Vec<(f64, f64)>]) {
        for (n, places) in moments.iter().enumerate() {
            let kind = if n == 0 {
                DispatchTouchEventType::TouchStart
            } else {
                DispatchTouchEventType::TouchMove
            };
            self.touch_event(kind, places).await;
        }
        self.touch_event(DispatchTouchEventType::TouchEnd, &[])
            .await;
    }

    async fn touch_event(&self, kind: DispatchTouchEventType, places: &[(f64, f64)]) {
        let fingers = places.iter().enumerate();
        let fingers = fingers.map(|(id, (x, y))| json!({ "id": id, "x": x, "y": y }));
        let event = Touches(json!({ "type": kind, "touchPoints": fingers.collect::<Vec<_>>() }));
        within("a touch", self.page.execute(event))
            .await
            .expect("the browser takes it");
    }
}
