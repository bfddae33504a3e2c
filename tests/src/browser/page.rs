//! One page: where it goes, and what can be seen of it. What a person does on it is in `hand`.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chromiumoxide::cdp::browser_protocol::emulation::{
    MediaFeature, SetDeviceMetricsOverrideParams, SetEmulatedMediaParams,
};
use chromiumoxide::cdp::browser_protocol::log::{EventEntryAdded, LogEntryLevel};
use chromiumoxide::cdp::browser_protocol::page::{
    AddScriptToEvaluateOnNewDocumentParams, CaptureScreenshotFormat, NavigateParams, ReloadParams,
};
use chromiumoxide::cdp::browser_protocol::target::CloseTargetParams;
use chromiumoxide::cdp::js_protocol::runtime::{EvaluateParams, EventExceptionThrown};
use chromiumoxide::error::CdpError;
use chromiumoxide::page::ScreenshotParams;
use data_encoding::BASE64;
use futures::StreamExt as _;
use serde_json::Value;

use crate::waiting::{seen_in_time, wait_until, within};

/// Runs before anything of the page: keeps the engine's Worker at hand, and the engine's answers to probes (plain
/// objects) from the page, which knows bytes alone.
const KEEP_WORKER: &str = r"
    const Plain = window.Worker;
    window.Worker = class extends Plain {
        constructor(...given) {
            super(...given);
            window.engineUnderTest = this;
            this.addEventListener('message', (event) => {
                if (event.data instanceof Uint8Array) return;
                event.stopImmediatePropagation();
                window.dispatchEvent(new CustomEvent('probed', { detail: event.data }));
            });
        }
    };
    window.askEngine = (request, key) => new Promise((done) => {
        if (!window.engineUnderTest) return done(null);
        const answered = ({ detail }) => {
            if (!detail || !(key in detail)) return;
            window.removeEventListener('probed', answered);
            done(detail[key]);
        };
        window.addEventListener('probed', answered);
        window.engineUnderTest.postMessage(request);
        // An engine that has no board yet answers nothing; whoever asks tries again. Pictures may take their time: a late
        // one would be taken for the next.
        const patience = key === 'probe' ? 5000 : 100;
        setTimeout(() => { window.removeEventListener('probed', answered); done(null); }, patience);
    });
";

/// Size of a page in CSS pixels, and what kind of device it pretends to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Screen {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
    /// Device pixels per CSS pixel.
    pub scale: f64,
    /// A phone rather than a desk.
    pub mobile: bool,
    /// Prefers dark pages.
    pub dark: bool,
}

impl Screen {
    /// A usual window.
    pub const DESKTOP: Self = Self {
        width: 1280,
        height: 800,
        scale: 1.0,
        mobile: false,
        dark: false,
    };
    /// A usual phone.
    pub const PHONE: Self = Self {
        width: 390,
        height: 844,
        scale: 2.0,
        mobile: true,
        dark: false,
    };

    /// The same in the dark.
    pub const fn in_the_dark(self) -> Self {
        Self { dark: true, ..self }
    }
}

/// A part of the board as it was drawn, RGBA, device pixels.
#[derive(Debug, Clone)]
pub struct Pixels {
    /// Width in device pixels.
    pub width: usize,
    /// Four bytes a pixel, row by row.
    pub rgba: Vec<u8>,
}

impl Pixels {
    /// How many differ clearly from the first, which a test takes from empty board.
    pub fn inked(&self) -> usize {
        let Some(ground) = self.rgba.first_chunk::<4>() else {
            return 0;
        };
        let differs = |pixel: &&[u8]| {
            let pairs = pixel.iter().zip(ground);
            pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>() > 60
        };
        self.rgba.chunks_exact(4).filter(differs).count()
    }
}

/// A page.
#[derive(Debug)]
pub struct Page {
    pub(super) page: chromiumoxide::Page,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Page {
    pub(super) async fn prepare(page: chromiumoxide::Page, screen: Screen) -> Self {
        let metrics = SetDeviceMetricsOverrideParams::new(
            screen.width,
            screen.height,
            screen.scale,
            screen.mobile,
        );
        page.execute(metrics).await.expect("a screen of that size");
        let scheme = if screen.dark { "dark" } else { "light" };
        let media = SetEmulatedMediaParams::builder()
            .feature(MediaFeature::new("prefers-color-scheme", scheme))
            .build();
        page.execute(media).await.expect("a colour scheme");
        let script = AddScriptToEvaluateOnNewDocumentParams::new(KEEP_WORKER);
        page.execute(script).await.expect("a script for every page");
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let mut thrown = page
            .event_listener::<EventExceptionThrown>()
            .await
            .expect("a listener");
        let mut entries = page
            .event_listener::<EventEntryAdded>()
            .await
            .expect("a listener");
        let kept = complaints.clone();
        let keep = move |text: String| {
            kept.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(text);
        };
        let keep_entry = keep.clone();
        tokio::spawn(async move {
            while let Some(event) = thrown.next().await {
                let details = &event.exception_details;
                let what = details
                    .exception
                    .as_ref()
                    .and_then(|e| e.description.clone());
                keep(what.unwrap_or_else(|| details.text.clone()));
            }
        });
        tokio::spawn(async move {
            while let Some(event) = entries.next().await {
                if event.entry.level == LogEntryLevel::Error {
                    let place = event.entry.url.clone().unwrap_or_default();
                    keep_entry(format!("{} {place}", event.entry.text));
                }
            }
        });
        Self { page, complaints }
    }

    /// Goes to an address.
    ///
    /// # Panics
    /// When the browser can't.
    pub async fn go(&self, url: &str) {
        let going = self.page.execute(NavigateParams::new(url));
        let gone = within("a page to be found", going)
            .await
            .expect("the browser navigates");
        assert_eq!(gone.result.error_text, None, "{url}");
    }

    /// Loads the page again.
    ///
    /// # Panics
    /// When the browser can't.
    pub async fn reload(&self) {
        // So that nothing of the old page is taken for the new one.
        self.run("window.isOld = true").await;
        self.page
            .execute(ReloadParams::default())
            .await
            .expect("the browser reloads");
        self.wait_for("the new page", "!window.isOld").await;
    }

    /// Closes it, as its person would.
    ///
    /// # Panics
    /// When the browser can't.
    pub async fn close(self) {
        within("a page to close", self.page.close())
            .await
            .expect("the browser closes a page");
    }

    /// Takes it away without asking whether anything would be lost, as a crash or a closed laptop does.
    ///
    /// # Panics
    /// When the browser can't.
    pub async fn kill(self) {
        let target = CloseTargetParams::new(self.page.target_id().clone());
        within("a page to end", self.page.execute(target))
            .await
            .expect("the browser ends a page");
    }

    /// Everything that went wrong on the page, as its console shows it: exceptions, failed requests, forbidden things.
    pub fn complaints(&self) -> Vec<String> {
        self.complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The value of an expression; of a promise what it comes to.
    ///
    /// # Panics
    /// When it throws.
    pub async fn run(&self, expression: &str) -> Value {
        let parameters = EvaluateParams::builder()
            .expression(expression)
            .await_promise(true)
            .return_by_value(true)
            .build()
            .expect("complete parameters");
        match within(expression, self.page.execute(parameters)).await {
            Ok(answer) => {
                if let Some(thrown) = &answer.result.exception_details {
                    panic!("{expression}: {} {:?}", thrown.text, thrown.exception);
                }
                answer.result.result.value.clone().unwrap_or_default()
            }
            // The page was just replaced by another, which may also leave a question without an answer: whoever asks
            // asks again.
            Err(CdpError::Chrome(_) | CdpError::Timeout) => Value::Null,
            Err(error) => panic!("{expression}: {error}"),
        }
    }

    /// Waits until an expression is true.
    ///
    /// # Panics
    /// When it does not become so, with what the page shows by then.
    pub async fn wait_for(&self, what: &str, expression: &str) {
        let asked = format!("Promise.resolve({expression}).then(Boolean)");
        let seen =
            seen_in_time(async || (self.run(&asked).await == Value::Bool(true)).then_some(()));
        if seen.await.is_none() {
            let data = self
                .run("JSON.stringify(document.documentElement.dataset)")
                .await;
            let state = self
                .run("askEngine({ state: true }, 'state').then(JSON.stringify)")
                .await;
            let complaints = self.complaints();
            panic!("waited for {what}; page: {data}; engine: {state}; console: {complaints:?}");
        }
    }

    /// Waits until an attribute `data-<key>` of the page has a value; see the page's status lines.
    ///
    /// # Panics
    /// When it does not get it.
    pub async fn wait_for_data(&self, key: &str, value: &str) {
        let expression = format!("document.documentElement.dataset.{key} === '{value}'");
        self.wait_for(&format!("{key} = {value}"), &expression)
            .await;
    }

    /// Waits until a value of the engine's state is true; `state` is the name in the expression.
    ///
    /// # Panics
    /// When it does not become so.
    pub async fn wait_for_state(&self, what: &str, expression: &str) {
        let asked = format!(
            "askEngine({{ state: true }}, 'state').then((state) => Boolean(state && ({expression})))"
        );
        self.wait_for(what, &asked).await;
    }

    /// A value of the engine's state; null while it has none.
    pub async fn state(&self, key: &str) -> Value {
        let asked =
            format!("askEngine({{ state: true }}, 'state').then((state) => state && state.{key})");
        self.run(&asked).await
    }

    /// What is drawn in a rectangle, CSS pixels.
    ///
    /// # Panics
    /// When the engine does not say.
    pub async fn probe(&self, x: f64, y: f64, width: f64, height: f64) -> Pixels {
        let asked = format!(
            "askEngine({{ probe: [{x}, {y}, {width}, {height}] }}, 'probe').then((answer) => answer && ({{ \
                 width: answer.width, \
                 rgba: btoa(Array.from(answer.pixels, (byte) => String.fromCharCode(byte)).join('')), \
             }}))"
        );
        let answer = wait_until("an answer of the engine", async || {
            Some(self.run(&asked).await).filter(|answer| !answer.is_null())
        })
        .await;
        let rgba = answer["rgba"].as_str().unwrap_or_default();
        Pixels {
            width: answer["width"].as_f64().unwrap_or_default() as usize,
            rgba: BASE64.decode(rgba.as_bytes()).expect("pixels"),
        }
    }

    /// Is an element with this `data-testid` in sight?
    pub async fn shows(&self, test_id: &str) -> bool {
        let expression = format!(
            "Boolean(document.querySelector('[data-testid=\"{test_id}\"]')?.getClientRects().length)"
        );
        self.run(&expression).await == Value::Bool(true)
    }

    /// Saves a picture of the page.
    ///
    /// # Panics
    /// When that fails.
    pub async fn save_screenshot(&self, path: &Path) {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).expect("a folder for pictures");
        }
        let format = ScreenshotParams::builder().format(CaptureScreenshotFormat::Png);
        let picture = within("a picture", self.page.screenshot(format.build()))
            .await
            .expect("the browser takes a picture");
        std::fs::write(path, picture).expect("a picture is written");
    }

    /// The address that the page shows.
    pub async fn address(&self) -> String {
        let address = self.run("location.href").await;
        address.as_str().unwrap_or_default().to_owned()
    }
}
