//! Timed joins: from the first packet to a board that the library holds.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chalkboard_client::native::Link;
use chalkboard_shared::BoardRect;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::address::{BoardLink, Directory, Site};
use crate::clock::Clock;
use crate::observer::{Observer, library_client};

/// How long one join may take.
const JOIN_WAIT: Duration = Duration::from_secs(120);

/// One join.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct JoinRun {
    /// From connecting (the address is known) to the last stroke, in milliseconds.
    pub(crate) ms: f64,
    /// UDP payload that came until then.
    pub(crate) bytes: u64,
    /// Strokes that the client holds.
    pub(crate) strokes: u64,
    /// When what is in view was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shown: Option<Shown>,
}

/// How far a join had come when everything in view was there, or, of more than can come at once, what lies on top of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// From connecting, in milliseconds.
    pub(crate) ms: f64,
    /// UDP payload that had come until then.
    pub(crate) bytes: u64,
    /// Strokes that the client held.
    pub(crate) strokes: u64,
}

/// Joins one after another, each as a stranger, until everything in `view` is there.
///
/// # Errors
/// A join that fails, takes too long, or ends with fewer than `expect` strokes.
pub(crate) fn join_often(
    site: &Site,
    board: BoardLink,
    view: BoardRect,
    times: u32,
    expect: u64,
) -> Result<Vec<JoinRun>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut directory = Directory::new(site.clone());
        let mut runs = Vec::new();
        for time in 0..times {
            let run = timeout(JOIN_WAIT, join(&mut directory, board, view, time));
            let run = run.await.context("a join took too long")??;
            ensure!(
                run.strokes >= expect,
                "a join brought {} strokes of {expect}",
                run.strokes
            );
            runs.push(run);
        }
        Ok(runs)
    })
}

async fn join(
    directory: &mut Directory,
    board: BoardLink,
    view: BoardRect,
    time: u32,
) -> Result<JoinRun> {
    let address = directory.session(board.board).await?;
    let socket = address.socket()?;
    let client = library_client(time, board, view)?;
    let clock = Clock::start();
    let link = Link::web_transport_on(&socket, &address.url, None).await?;
    let meter = link.meter().context("WebTransport has a meter")?;
    let mut observer = Observer::greet(client, link, clock).await?;
    while !observer.client.is_shown() {
        observer.receive().await?;
    }
    let shown = Shown {
        ms: clock.now_ms(),
        bytes: meter.received_bytes(),
        strokes: observer.client.board().len() as u64,
    };
    while !observer.client.is_loaded() {
        observer.receive().await?;
    }
    let run = JoinRun {
        shown: Some(shown),
        ms: clock.now_ms(),
        bytes: meter.received_bytes(),
        strokes: observer.client.board().len() as u64,
    };
    observer.close().await;
    Ok(run)
}
