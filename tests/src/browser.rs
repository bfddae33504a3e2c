//! A real browser: Chromium without a window, driven over its DevTools protocol.
//!
//! Input is dispatched as the system would (mouse, touch, keys), so that everything from the browser's event loop to
//! the pixels is under test. One browser holds many pages; each page is a window of its own, since browsers slow down
//! those that are covered.

mod hand;
mod page;

use std::path::PathBuf;

use chromiumoxide::browser::{Browser as Chromium, BrowserConfig};
use chromiumoxide::cdp::browser_protocol::browser::BrowserContextId;
use chromiumoxide::cdp::browser_protocol::target::{
    CreateBrowserContextParams, CreateTargetParams,
};
use futures::StreamExt as _;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;

pub use hand::{CONTROL, SHIFT};
pub use page::{Page, Pixels, Screen};

use crate::waiting::{PATIENCE, within};

/// Names the browser; `cargo xtask test` sets it.
const VARIABLE: &str = "CHALKBOARD_CHROMIUM";

/// Where it is otherwise.
const DEFAULT: &str = "/usr/bin/chromium";

/// Its flags, beside those of headless mode: nothing of its own on the network, no sandbox (tests may run as root, and
/// open nothing but our own pages), no shared memory that containers keep small, no slowing down of hidden pages.
const FLAGS: [&str; 14] = [
    "disable-gpu",
    "no-first-run",
    "no-default-browser-check",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "disable-default-apps",
    "disable-breakpad",
    "disable-dev-shm-usage",
    "disable-background-timer-throttling",
    "disable-backgrounding-occluded-windows",
    "disable-renderer-backgrounding",
    "use-mock-keychain",
    "disable-hang-monitor",
];

/// Browsers at once, so that tests that run side by side do not starve each other.
static TURNS: Semaphore = Semaphore::const_new(2);

/// Somebody at the browser: windows of theirs share what the browser keeps for pages.
#[derive(Debug, Clone)]
pub struct Person(BrowserContextId);

/// A running browser with a fresh profile.
#[derive(Debug)]
pub struct Browser {
    _turn: SemaphorePermit<'static>,
    chromium: Chromium,
    events: JoinHandle<()>,
    profile: TempDir,
}

impl Browser {
    /// Starts Chromium.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn launch() -> Self {
        let turn = TURNS.acquire().await.expect("never closed");
        let program = std::env::var_os(VARIABLE)
            .filter(|path| !path.is_empty())
            .map_or_else(|| PathBuf::from(DEFAULT), PathBuf::from);
        let profile = tempfile::tempdir().expect("a temporary folder");
        let config = BrowserConfig::builder()
            .chrome_executable(&program)
            .disable_default_args()
            .args(FLAGS)
            .arg(("password-store", "basic"))
            .arg(("force-color-profile", "srgb"))
            .arg(("lang", "en-US"))
            .new_headless_mode()
            .no_sandbox()
            .viewport(None)
            .window_size(Screen::DESKTOP.width, Screen::DESKTOP.height)
            .user_data_dir(profile.path())
            // What it leaves lying about goes with the profile.
            .env("TMPDIR", profile.path().to_string_lossy())
            .launch_timeout(PATIENCE)
            .request_timeout(PATIENCE)
            .build()
            .expect("a complete configuration");
        let (chromium, mut handler) = Chromium::launch(config)
            .await
            .unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
        let events = tokio::spawn(async move {
            // A message that is not understood is of no account; the connection's end ends this.
            while handler.next().await.is_some() {}
        });
        Self {
            _turn: turn,
            chromium,
            events,
            profile,
        }
    }

    /// Opens an address in a window of its own, as somebody with a profile of their own. Does not wait for anything on it.
    ///
    /// # Panics
    /// When the browser does not.
    pub async fn open(&self, url: &str, screen: Screen) -> Page {
        let profile = self.person().await;
        self.open_as(&profile, url, screen).await
    }

    /// Somebody new, with a profile of their own.
    ///
    /// # Panics
    /// When the browser makes none.
    pub async fn person(&self) -> Person {
        let profile = self
            .chromium
            .create_browser_context(CreateBrowserContextParams::default());
        let profile = within("a new profile", profile).await;
        Person(profile.expect("the browser makes a profile"))
    }

    /// Opens an address in a window of its own, as somebody who may have others open. Does not wait for anything on it.
    ///
    /// # Panics
    /// When the browser does not.
    pub async fn open_as(&self, person: &Person, url: &str, screen: Screen) -> Page {
        let window = CreateTargetParams::builder()
            .url("about:blank")
            .browser_context_id(person.0.clone())
            .new_window(true)
            .width(screen.width)
            .height(screen.height)
            .build()
            .expect("complete parameters");
        let page = within("a new page", self.chromium.new_page(window))
            .await
            .expect("the browser opens a page");
        let page = Page::prepare(page, screen).await;
        page.go(url).await;
        page
    }

    /// Ends it.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn close(mut self) {
        // Ended already, perhaps; what counts is that the process has gone.
        let _ = self.chromium.close().await;
        let waited = within("the browser to end", self.chromium.wait()).await;
        waited.expect("a child can be waited for");
        self.events.abort();
        // Its helpers may still be writing; what remains lies in the system's temporary folder.
        let _ = self.profile.close();
    }
}
