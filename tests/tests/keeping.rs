//! What is stored can be checked, copied while people draw, and brought back as of any moment; damage is named.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, SystemTime};

use chalkboard_client::Client;
use chalkboard_client::bridge::{SaveState, TransportKind};
use chalkboard_client::native::NativeClient;
use chalkboard_shared::{BoardRect, DisconnectReason, InkPoint};
use chalkboard_tests::dice::Dice;
use chalkboard_tests::server_process::{BoardLinks, ServerOptions, ServerProcess, run_to_end};
use chalkboard_tests::waiting::PATIENCE;
use serde_json::Value;

async fn enter(server: &ServerProcess, links: &BoardLinks) -> NativeClient {
    let doors = server.doors().await.expect("the ways in");
    let everything = BoardRect::EVERYTHING;
    let client = doors.client(
        TransportKind::WebSocket,
        links.id,
        links.edit,
        everything,
        1,
    );
    client
        .wait_for(PATIENCE, Client::is_loaded)
        .await
        .expect("it is let in");
    client
}

/// Draws strokes and waits until they are shown as saved.
async fn draw(client: &NativeClient, dice: &mut Dice, count: usize) {
    for _ in 0..count {
        let (style, at) = (dice.style(), dice.point(2000));
        client
            .with(move |client, _| {
                let points = [
                    InkPoint::new(at.x, at.y, 9),
                    InkPoint::new(at.x + 40, at.y, 8),
                ];
                let stroke = client.begin_stroke(style, &points);
                client.finish_stroke(stroke);
            })
            .await
            .expect("the client is there");
    }
    client
        .wait_for(PATIENCE, |client| client.save_state() == SaveState::Saved)
        .await
        .expect("it is saved");
}

async fn chalkboard(arguments: &[&str]) -> Output {
    run_to_end(arguments, &[]).await
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ASCII")
}

/// Expects an exit code; all that was written.
fn expect_code(output: &Output, code: i32) -> String {
    let told = [&output.stdout[..], &output.stderr[..]].concat();
    let told = String::from_utf8_lossy(&told).into_owned();
    assert_eq!(output.status.code(), Some(code), "{told}");
    told
}

async fn digest_of(data: &Path, links: &BoardLinks) -> (String, u64) {
    let server = ServerProcess::start_with(ServerOptions {
        data: Some(data.to_owned()),
        ..ServerOptions::default()
    })
    .await;
    let board = server
        .inspect(links)
        .await
        .expect("the link still opens it");
    (board.digest, board.strokes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_while_people_draw_brings_back_all_that_was_saved_before_it() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let (data, file) = (root.path().join("data"), root.path().join("backup"));
    let server = ServerProcess::start_with(ServerOptions {
        data: Some(data.clone()),
        ..ServerOptions::default()
    })
    .await;
    let links = server.create_board().await;
    let client = enter(&server, &links).await;
    let mut dice = Dice::new(1);
    draw(&client, &mut dice, 20).await;
    let saved = server.inspect(&links).await.expect("an answer").durable;

    let backup = ["backup", "--data", text(&data), "--to", text(&file)];
    let mut told = String::new();
    let making = async {
        for _ in 0..4 {
            told = expect_code(&chalkboard(&backup).await, 0);
        }
    };
    let drawing = async {
        for _ in 0..10 {
            draw(&client, &mut dice, 3).await;
        }
    };
    tokio::join!(making, drawing);
    assert!(told.contains("added to"), "{told}");

    let restored = root.path().join("restored");
    let restore = ["restore", "--from", text(&file), "--data", text(&restored)];
    expect_code(&chalkboard(&restore).await, 0);
    let (_, strokes) = digest_of(&restored, &links).await;
    assert!(strokes >= 20, "{strokes} strokes of {saved} positions");
    let told = expect_code(&chalkboard(&restore).await, 1);
    assert!(told.contains("not empty"), "{told}");

    // What was restored lacks this for certain, however soon the drawing above ended.
    draw(&client, &mut dice, 1).await;

    // With nobody drawing, the backup that was added to is the board itself.
    let told = expect_code(&chalkboard(&backup).await, 0);
    assert!(told.contains("is whole"), "{told}");
    let live = server.inspect(&links).await.expect("an answer");
    let again = root.path().join("again");
    let restore = ["restore", "--from", text(&file), "--data", text(&again)];
    expect_code(&chalkboard(&restore).await, 0);
    assert_eq!(digest_of(&again, &links).await, (live.digest, live.strokes));

    // Another store's backup is never added to.
    let doctor = ["doctor", "--data", text(&data)];
    expect_code(&chalkboard(&doctor).await, 0);
    let other = ["backup", "--data", text(&restored), "--to", text(&file)];
    let told = expect_code(&chalkboard(&other).await, 1);
    assert!(told.contains("no earlier backup"), "{told}");
    client.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_comes_back_as_of_a_time_and_of_a_position() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let data = root.path().join("data");
    let server = ServerProcess::start_with(ServerOptions {
        data: Some(data.clone()),
        ..ServerOptions::default()
    })
    .await;
    let links = server.create_board().await;
    let client = enter(&server, &links).await;
    let mut dice = Dice::new(2);
    draw(&client, &mut dice, 5).await;
    let early = server.inspect(&links).await.expect("an answer");
    let moment = SystemTime::now();
    // What follows is later by the clock of the records, which counts milliseconds.
    while moment.elapsed().unwrap_or_default() < Duration::from_millis(5) {
        tokio::task::yield_now().await;
    }
    draw(&client, &mut dice, 7).await;
    let time = time::OffsetDateTime::from(moment)
        .format(&time::format_description::well_known::Rfc3339)
        .expect("a time of this era");
    let id = links.id.to_string();
    let position = format!("position:{}", early.position);
    for (name, more) in [
        ("time", vec!["--at", time.as_str()]),
        ("position", vec!["--board", &id, "--at", &position]),
    ] {
        let to = root.path().join(name);
        let arguments = ["restore", "--from", text(&data), "--data", text(&to)];
        let arguments = [&arguments[..], &more[..]].concat();
        expect_code(&chalkboard(&arguments).await, 0);
        let expected = (early.digest.clone(), 5);
        assert_eq!(digest_of(&to, &links).await, expected, "{name}");
    }
    client.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_board_is_named_and_refused_and_all_others_are_served() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let data = root.path().join("data");
    let options = || ServerOptions {
        data: Some(data.clone()),
        ..ServerOptions::default()
    };
    let mut server = ServerProcess::start_with(options()).await;
    let (damaged, whole) = (server.create_board().await, server.create_board().await);
    for links in [&damaged, &whole] {
        let client = enter(&server, links).await;
        let mut dice = Dice::new(3);
        for _ in 0..6 {
            draw(&client, &mut dice, 1).await;
        }
        client.stop().await;
    }
    server.kill_hard().await;
    let database = rusqlite::Connection::open(data.join("boards.sqlite3")).expect("it opens");
    let id: [u8; 16] = damaged.id.0;
    let damage = "UPDATE log SET record = zeroblob(length(record)) WHERE board = ?1 AND first = (
                  SELECT first FROM log WHERE board = ?1 ORDER BY first LIMIT 1 OFFSET 2)";
    assert_eq!(database.execute(damage, [id]).expect("it is there"), 1);
    let rows =
        "SELECT group_concat(first || '-' || last || ':' || hex(record)) FROM log WHERE board = ?1";
    let contents = || -> String {
        let row = database.query_row(rows, [id], |row| row.get(0));
        row.expect("it can be read")
    };
    let before = contents();

    let doctor = ["doctor", "--data", text(&data)];
    let told = expect_code(&chalkboard(&doctor).await, 3);
    assert!(told.contains(&damaged.id.to_string()), "{told}");
    assert!(told.contains("chalkboard restore"), "{told}");
    let json = chalkboard(&[&doctor[..], &["--json"]].concat()).await;
    let report: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    let board = |id: String| {
        let boards = report["boards"].as_array().expect("boards");
        boards
            .iter()
            .find(|board| board["board"] == id)
            .cloned()
            .expect("it is told of")
    };
    assert_eq!(
        board(whole.id.to_string())["problems"],
        Value::Array(vec![])
    );
    let whole_through = board(damaged.id.to_string())["whole_through"]
        .as_u64()
        .expect("a position");
    assert!(
        whole_through >= 2
            && whole_through
                < board(damaged.id.to_string())["end"]
                    .as_u64()
                    .expect("a position")
    );

    server.restart().await;
    let client = enter(&server, &whole).await;
    draw(&client, &mut Dice::new(4), 1).await;
    client.stop().await;
    let refused = server.inspect(&damaged).await.expect_err("it is damaged");
    let reason = DisconnectReason::Damaged.to_string();
    assert!(refused.to_string().contains(&reason), "{refused}");
    let log = server.log();
    for part in [
        damaged.id.to_string(),
        format!("position {whole_through}"),
        "chalkboard doctor".into(),
        "chalkboard restore".into(),
    ] {
        assert!(log.contains(&part), "{part} in {log}");
    }
    let doctor_repair = ["doctor", "--data", text(&data), "--repair"];
    let told = expect_code(&chalkboard(&doctor_repair).await, 3);
    assert!(told.contains("DAMAGED"), "{told}");
    server.kill_hard().await;
    assert_eq!(contents(), before, "nothing is made worse");

    let cut = format!("{}@{whole_through}", damaged.id);
    let arguments = [&doctor_repair[..], &["--cut", cut.as_str()]].concat();
    let told = expect_code(&chalkboard(&arguments).await, 0);
    assert!(told.contains("gave up"), "{told}");
    server.restart().await;
    let board = server.inspect(&damaged).await.expect("it is whole");
    assert_eq!(board.position, whole_through);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_keeps_its_promises_and_writes_a_report() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let file = root.path().join("drill.md");
    let arguments = [
        "drill",
        "--rounds",
        "1",
        "--folder",
        text(root.path()),
        "--report",
        text(&file),
    ];
    expect_code(&chalkboard(&arguments).await, 0);
    let report = std::fs::read_to_string(&file).expect("a report");
    for part in [
        "Every promise was kept",
        "RPO of a crash",
        "RTO of a lost folder",
    ] {
        assert!(report.contains(part), "{part} in {report}");
    }
    let left = std::fs::read_dir(root.path()).expect("a folder").count();
    assert_eq!(left, 1, "nothing but the report is left");
}
