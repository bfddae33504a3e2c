//! The report: one HTML page with everything in it, readable by day and by night, that asks for nothing from elsewhere.

mod plot;

use std::fmt::Write as _;

use crate::join::JoinRun;
use crate::sample::Percentiles;
use crate::scenario::{Ending, Moment};
use plot::{Line, Plot};

/// Bars of the latency's distribution.
const BARS: usize = 48;

const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#fff;--ink:#1d1d1f;--soft:#6b6a67;--rule:#e6e3dc;\
--a:#1f6feb;--b:#0f9d76;--c:#d9742b;--d:#b3379a}\
@media(prefers-color-scheme:dark){:root{--paper:#161719;--card:#1f2124;--ink:#ececea;--soft:#9c9b98;--rule:#33363a;\
--a:#6ea8ff;--b:#4fd1a5;--c:#f2a266;--d:#e58ad0}}\
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);\
font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;font-variant-numeric:tabular-nums}\
main{max-width:1080px;margin:0 auto;padding:40px 24px 64px}h1{font-size:28px;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}\
p.lead{margin:0 0 28px;color:var(--soft)}\
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(128px,1fr));gap:12px;margin:0 0 20px}\
.tile,figure{background:var(--card);border:1px solid var(--rule);border-radius:12px}\
.tile{padding:14px 16px}.tile b{display:block;font-size:22px;font-weight:600;letter-spacing:-.01em}\
.tile span{color:var(--soft);font-size:13px}\
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(480px,100%),1fr));gap:16px}\
figure{margin:0;padding:16px 16px 10px}figcaption{display:flex;flex-wrap:wrap;gap:4px 14px;align-items:baseline;\
margin:0 0 8px;font-weight:600}figcaption small{font-weight:400;color:var(--soft)}\
figcaption i{font-style:normal;font-weight:400;font-size:13px;color:var(--soft)}\
figcaption i::before{content:'';display:inline-block;width:14px;height:3px;border-radius:2px;margin:0 6px 3px 0;background:var(--k)}\
svg{display:block;width:100%;height:auto;overflow:visible}svg text{font-size:11px;fill:var(--soft)}\
svg .grid{stroke:var(--rule)}svg path{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}\
footer{margin-top:28px;color:var(--soft);font-size:13px}";

/// The page about a load.
pub(crate) fn page(ending: &Ending, moments: &[Moment], latencies_ms: &[f32]) -> String {
    let mut tiles = String::new();
    let latency = ending.latency_ms.unwrap_or_default();
    let mut tile = |value: String, name: &str| {
        // Writing to a string does not fail.
        let _ = write!(
            tiles,
            "<div class=tile><b>{value}</b><span>{name}</span></div>"
        );
    };
    tile(short(f64::from(ending.clients)), "clients");
    tile(
        short(ending.delivered / ending.seconds.max(1.0)),
        "updates delivered a second",
    );
    tile(format!("{:.1} ms", latency.p50), "half arrive within");
    tile(format!("{:.1} ms", latency.p99), "99 % arrive within");
    if let Some(bytes) = ending.bytes_per_update {
        tile(format!("{bytes:.2} B"), "per delivered update");
    }
    if let Some(cost) = ending.cpu_s_per_million {
        tile(format!("{cost:.3} s"), "server CPU per million updates");
    }
    tile(
        format!("{:.1} %", 100.0 * ending.cursor_loss),
        "of cursor updates left out",
    );

    let latency_at =
        |of: fn(&Percentiles) -> f64| over(moments, |moment| moment.latency_ms.as_ref().map(of));
    let plots = [
        Plot::new("Latency", "ms, from sending to decoding")
            .line(Line::new("p50", 'b', latency_at(|of| of.p50)))
            .line(Line::new("p90", 'a', latency_at(|of| of.p90)))
            .line(Line::new("p99", 'c', latency_at(|of| of.p99)))
            .draw(),
        plot::bars("Distribution of latency", "ms", &histogram(latencies_ms)),
        Plot::new("Updates", "a second")
            .line(Line::new(
                "delivered",
                'a',
                over(moments, |m| Some(m.delivered_hz)),
            ))
            .line(Line::new("sent", 'b', over(moments, |m| Some(m.sent_hz))))
            .draw(),
        Plot::new("Bytes per delivered update", "B of UDP payload")
            .line(Line::new(
                "bytes",
                'd',
                over(moments, |m| m.bytes_per_update),
            ))
            .draw(),
        Plot::new("Server CPU per million delivered updates", "s")
            .line(Line::new(
                "CPU",
                'c',
                over(moments, |m| m.cpu_s_per_million),
            ))
            .draw(),
        Plot::new("Server", "cores in use")
            .line(Line::new("cores", 'a', over(moments, |m| m.server_cores)))
            .draw(),
        Plot::new("Pace of the room", "ticks a second; it follows the load")
            .line(Line::new("ticks", 'b', over(moments, |m| m.tick_hz)))
            .draw(),
        Plot::new(
            "Degradation of presence",
            "0 every move, 1 slow, 2 sparse, 3 crowds only",
        )
        .line(Line::new(
            "stage",
            'd',
            over(moments, |m| m.presence_stage.map(f64::from)),
        ))
        .draw(),
        Plot::new("Cursor updates left out", "% of nominal")
            .line(Line::new(
                "left out",
                'c',
                over(moments, |m| Some(100.0 * m.cursor_loss)),
            ))
            .draw(),
    ]
    .concat();
    let lead = format!(
        "{:.0} seconds, {} clients of which {} decode everything; all joined within {:.1} s. The load itself was late by \
         {:.2} ms at p99, its busiest thread {:.0} % busy; {} connections were lost.",
        ending.seconds,
        ending.clients,
        ending.observers,
        ending.connect_s,
        ending.send_lag_p99_ms,
        100.0 * ending.loop_util,
        ending.dead
    );
    frame(&ending.scenario, &lead, &tiles, &plots)
}

/// The page about joins.
pub(crate) fn join_page(runs: &[JoinRun]) -> String {
    let mut tiles = String::new();
    let of = Percentiles::of(&runs.iter().map(|run| run.ms as f32).collect::<Vec<_>>());
    let of = of.unwrap_or_default();
    let last = runs.last();
    for (value, name) in [
        (runs.len().to_string(), "joins"),
        (format!("{:.1} ms", of.p50), "half are done within"),
        (format!("{:.1} ms", of.max), "the slowest"),
        (
            short(last.map_or(0.0, |run| run.bytes as f64)),
            "bytes each",
        ),
        (
            short(last.map_or(0.0, |run| run.strokes as f64)),
            "strokes each",
        ),
    ] {
        let _ = write!(
            tiles,
            "<div class=tile><b>{value}</b><span>{name}</span></div>"
        );
    }
    let times = (1..).map(f64::from).zip(runs.iter().map(|run| run.ms));
    let plot = Plot::new(
        "Time of each join",
        "ms, from connecting to the whole board",
    )
    .line(Line::new("join", 'a', times.collect()))
    .draw();
    frame("join", "Strangers came one after another.", &tiles, &plot)
}

fn frame(scenario: &str, lead: &str, tiles: &str, plots: &str) -> String {
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Chalkboard: {scenario}</title><style>{STYLE}</style><main><h1>Chalkboard under load: {scenario}</h1>\
         <p class=lead>{lead}</p><div class=tiles>{tiles}</div><div class=plots>{plots}</div>\
         <footer>chalkboard-swarm {}. Delivered updates are those of the clients that decode everything, times how many \
         clients there are to each; bytes are UDP payload, QUIC included.</footer></main></html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn over(moments: &[Moment], of: impl Fn(&Moment) -> Option<f64>) -> Vec<(f64, f64)> {
    let point = |moment: &Moment| Some((moment.at_s, of(moment)?));
    moments.iter().filter_map(point).collect()
}

/// Bars of equal width up to the 99.5th percentile, the last one with all that is above: lower bound, share.
fn histogram(values: &[f32]) -> Vec<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let Some(end) = sorted.get(sorted.len() * 199 / 200) else {
        return Vec::new();
    };
    let width = (f64::from(*end) / BARS as f64).max(1e-3);
    let mut bars: Vec<(f64, f64)> = (0..BARS).map(|bar| (bar as f64 * width, 0.0)).collect();
    for value in &sorted {
        let bar = ((f64::from(*value) / width) as usize).min(BARS - 1);
        bars[bar].1 += 1.0 / sorted.len() as f64;
    }
    bars
}

/// 1234567 as "1.23 M".
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v if v >= 1e4 => format!("{:.1} k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::Report;
    use crate::spec::Spec;

    fn moment(at_s: f64) -> Moment {
        Moment {
            at_s,
            sessions: 10,
            sent_hz: 200.0,
            delivered_hz: 1800.0,
            latency_ms: (at_s > 1.0).then_some(Percentiles {
                p50: 9.0,
                p90: 12.0,
                p99: 15.0 + at_s,
                max: 40.0,
            }),
            cursor_loss: 0.01,
            tick_hz: Some(60.0),
            presence_stage: Some(0),
            client_bytes_hz: 5000.0,
            bytes_per_update: Some(2.75),
            server_cores: Some(0.2),
            cpu_s_per_million: Some(0.1),
            server_memory_bytes: None,
        }
    }

    #[test]
    fn the_page_is_whole_and_asks_for_nothing() {
        let moments: Vec<_> = (1..8).map(|s| moment(f64::from(s))).collect();
        let report = Report {
            got_cursor: 900,
            observer_bytes: 2475,
            lat_ms: (0..900).map(|v| v as f32 / 40.0).collect(),
            ..Report::default()
        };
        let spec = Spec {
            observers: vec![0],
            ..Spec::default()
        };
        let ending = Ending::new("workshop", &spec, &report, 0.4, &moments);
        let page = page(&ending, &moments, &report.lat_ms);
        assert_eq!(page.matches("<figure>").count(), 9);
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        for absent in [
            "http://", "https://", "src=", "<script", "@import", "url(", "NaN", "inf",
        ] {
            assert!(!page.contains(absent), "{absent}");
        }
        assert!(page.contains("prefers-color-scheme:dark"));
        assert!(page.contains("2.75 B"));
    }

    #[test]
    fn a_page_about_nothing_is_a_page() {
        let ending = Ending::new("lecture", &Spec::default(), &Report::default(), 0.0, &[]);
        let page = page(&ending, &[], &[]);
        assert!(page.contains("nothing came") && !page.contains("NaN"));
        assert!(join_page(&[]).contains("joins"));
    }

    #[test]
    fn a_histogram_holds_everything() {
        let values: Vec<f32> = (0..1000).map(|v| v as f32).collect();
        let bars = histogram(&values);
        assert_eq!(bars.len(), BARS);
        assert!((bars.iter().map(|bar| bar.1).sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(histogram(&[]).is_empty());
    }

    #[test]
    fn large_numbers_are_short() {
        assert_eq!(short(21_978_000.0), "21.98 M");
        assert_eq!(short(12_345.0), "12.3 k");
        assert_eq!(short(999.4), "999");
    }
}
