//! A harness can measure: the server serves the standard load, and the load clients do as they are told over pipes.

use std::process::Stdio;

use chalkboard_tests::server_process::{binary, command, swarm_binary};
use chalkboard_tests::waiting::within;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

/// A server as harnesses start it.
struct BenchServer {
    child: Child,
    /// What it printed before it was ready.
    said: Vec<String>,
    port: u16,
}

async fn serve(strokes: u32, folder: &str) -> BenchServer {
    let mut child = command(&binary())
        .args(["serve", "--bench", "--log", "error"])
        .envs([("PORT", "0"), ("DIR", folder)])
        .env("SEED", strokes.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the server's binary starts");
    let mut lines = lines(&mut child);
    let mut said = Vec::new();
    loop {
        let line = next(&mut lines).await;
        if line == "READY" {
            break;
        }
        said.push(line);
    }
    let port = said[0]
        .trim_end_matches('/')
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok())
        .expect("the first line names the port");
    BenchServer { child, said, port }
}

fn lines(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().expect("standard output is piped")).lines()
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    within("a line", lines.next_line())
        .await
        .expect("standard output can be read")
        .expect("it goes on")
}

/// A load, commanded.
struct Load {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Load {
    async fn start(spec: &Value) -> Self {
        let mut child = command(&swarm_binary())
            .arg("bench")
            .env("BENCH_T0", "0")
            .env("BENCH_SPEC", spec.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary of the load clients starts");
        let mut load = Self {
            input: child.stdin.take().expect("standard input is piped"),
            output: lines(&mut child),
            child,
        };
        assert_eq!(load.hear().await, json!({"ev": "hello"}));
        load
    }

    async fn say(&mut self, command: &str) {
        let line = format!("{}\n", json!({"cmd": command}));
        let written = self.input.write_all(line.as_bytes()).await;
        written.expect("the load listens");
    }

    async fn hear(&mut self) -> Value {
        serde_json::from_str(&next(&mut self.output).await).expect("a line of JSON")
    }

    async fn ask(&mut self, command: &str) -> Value {
        self.say(command).await;
        self.hear().await
    }

    /// Asks for reports until one is as `is_so` wants it.
    async fn report_when(&mut self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        within(what, async {
            loop {
                let report = self.ask("report").await;
                if is_so(&report) {
                    return report;
                }
            }
        })
        .await
    }
}

fn number(report: &Value, key: &str) -> u64 {
    report[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} in {report}"))
}

#[tokio::test]
async fn a_harness_measures_a_workshop() {
    let server = serve(0, "").await;
    let mut load = Load::start(&json!({
        "port": server.port, "mode": "workshop", "n": 4, "hz": 20, "drawers": 0.5, "senders": 0, "rate": 0,
        "observers": [0, 3], "thin": [1, 2], "times": 0, "expect": 0,
    }))
    .await;
    assert_eq!(
        load.ask("connect").await,
        json!({"ev": "connected", "clients": 4})
    );
    load.say("go").await;
    assert_eq!(load.ask("mark").await, json!({"ev": "marked"}));
    let report = load
        .report_when("updates to be delivered", |report| {
            number(report, "got_cursor") > 20 && number(report, "got_stroke") > 20
        })
        .await;
    assert!(number(&report, "sent_cursor") > 0, "{report}");
    assert!(number(&report, "sent_stroke") > 0, "{report}");
    assert!(number(&report, "observer_bytes") > 0, "{report}");
    assert!(number(&report, "thin_bytes") > 0, "{report}");
    assert_eq!(number(&report, "dead"), 0, "{report}");
    for (key, count) in [
        ("lat_stroke_ms", number(&report, "got_stroke")),
        ("lat_cursor_ms", number(&report, "got_cursor")),
    ] {
        let latencies = report[key].as_array().expect("a list");
        assert_eq!(latencies.len() as u64, count, "{key}");
        for latency in latencies {
            let ms = latency.as_f64().expect("a number");
            assert!((0.0..60_000.0).contains(&ms), "one clock: {ms} ms");
        }
    }
    load.say("quit").await;
    let ended = within("the load to end", load.child.wait()).await;
    assert!(ended.expect("it can be waited for").success());
}

#[tokio::test]
async fn joins_bring_the_board_that_was_filled_beforehand() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("a plain name");
    for time in 0..2 {
        let mut server = serve(500, path).await;
        let setup = server.said.last().expect("it tells its configuration");
        assert!(setup.contains("strokes=500"), "{setup}");
        assert!(setup.contains("lifted="), "{setup}");
        let mut load = Load::start(&json!({"port": server.port, "times": 2, "expect": 500})).await;
        let joined = load.ask("join").await;
        let runs = joined["runs"].as_array().expect("a list");
        assert_eq!(runs.len(), 2, "{joined}");
        for run in runs {
            assert_eq!(number(run, "strokes"), 500, "start {time}");
            assert!(number(run, "bytes") > 500 * 30, "{run}");
            assert!(run["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{run}");
        }
        // The second time it finds the board in its folder, even after the first was ended like this.
        server.child.kill().await.expect("a child can be killed");
    }
}

#[tokio::test]
async fn a_load_without_a_server_fails_and_says_so() {
    let spec = json!({"port": 1, "n": 1, "thin": [0]});
    let mut load = Load::start(&spec).await;
    let failed = load.ask("connect").await;
    assert_eq!(failed["ev"], "failed", "{failed}");
    let ended = within("the load to end", load.child.wait()).await;
    assert!(!ended.expect("it can be waited for").success());
}
