//! `GET /metrics`: counters and histograms in Prometheus' text format, for this machine only.
//!
//! They hold no names, boards or addresses, but tell how busy a server is; who wants them elsewhere puts a proxy in
//! front that asks who they are.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, http::StatusCode};

use super::{Peer, Site};
use crate::telemetry::histogram::{BOUNDS_US, Histogram};

/// The format's version, which its readers ask for.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that is measured.
pub(crate) async fn metrics(
    State(site): State<Arc<Site>>,
    Extension(Peer(peer)): Extension<Peer>,
) -> Response {
    if !peer.ip().to_canonical().is_loopback() {
        return (
            StatusCode::FORBIDDEN,
            "metrics are for this machine; put a proxy in front to read them from elsewhere\n",
        )
            .into_response();
    }
    (
        [
            (header::CONTENT_TYPE, CONTENT_TYPE),
            (header::CACHE_CONTROL, "no-store"),
        ],
        render(&site),
    )
        .into_response()
}

fn render(site: &Site) -> String {
    let mut text = String::new();
    let gauges = [
        ("rooms", site.reception.boards.room_count()),
        ("sessions", site.reception.connected.get()),
    ];
    for (name, value) in gauges {
        let _ = writeln!(
            text,
            "# TYPE chalkboard_{name} gauge\nchalkboard_{name} {value}"
        );
    }
    for (name, value) in site.counters.values() {
        let _ = writeln!(
            text,
            "# TYPE chalkboard_{name}_total counter\nchalkboard_{name}_total {value}"
        );
    }
    let timings = &site.counters.timings;
    histogram(&mut text, "tick_seconds", &timings.tick);
    histogram(&mut text, "tick_late_seconds", &timings.tick_late);
    histogram(&mut text, "durable_seconds", &timings.durable);
    let _ = writeln!(text, "# TYPE chalkboard_rooms_by_presence gauge");
    for (stage, count) in timings.stages.counts() {
        let _ = writeln!(
            text,
            "chalkboard_rooms_by_presence{{stage=\"{stage}\"}} {count}"
        );
    }
    text
}

fn histogram(text: &mut String, name: &str, histogram: &Histogram) {
    let (counts, sum) = histogram.cumulative();
    let _ = writeln!(text, "# TYPE chalkboard_{name} histogram");
    for (bound, count) in BOUNDS_US.iter().zip(counts) {
        let bound = *bound as f64 / 1e6;
        let _ = writeln!(text, "chalkboard_{name}_bucket{{le=\"{bound}\"}} {count}");
    }
    let all = counts[BOUNDS_US.len()];
    let _ = writeln!(
        text,
        "chalkboard_{name}_bucket{{le=\"+Inf\"}} {all}\nchalkboard_{name}_sum {sum}\nchalkboard_{name}_count {all}"
    );
}
