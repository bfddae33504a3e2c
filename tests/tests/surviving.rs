//! Whatever happens to the server, nothing that was shown as saved is lost, and everybody comes back by themselves.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chalkboard_client::Client;
use chalkboard_client::bridge::{SaveState, TransportKind};
use chalkboard_client::native::NativeClient;
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::{BoardPoint, BoardRect, InkPoint, StrokeId};
use chalkboard_tests::dice::Dice;
use chalkboard_tests::server_process::{BoardLinks, ServerProcess};
use chalkboard_tests::waiting::{PATIENCE, wait_until, within};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// One sample of a pointer, as screens give them.
const FRAME: Duration = Duration::from_millis(16);

/// Strokes and how many points of each were there.
type Strokes = BTreeMap<StrokeId, u32>;

fn strokes(client: &Client) -> Strokes {
    let strokes = client.board().strokes_in(BoardRect::EVERYTHING);
    strokes
        .iter()
        .map(|stroke| (stroke.id, stroke.point_count))
        .collect()
}

async fn enter(server: &ServerProcess, links: &BoardLinks, number: u8) -> NativeClient {
    let kind = if number.is_multiple_of(2) {
        TransportKind::WebTransport
    } else {
        TransportKind::WebSocket
    };
    let doors = server.doors().await.expect("the ways in");
    let client = doors.client(kind, links.id, links.edit, BoardRect::EVERYTHING, number);
    wait_for(&client, Client::is_loaded).await;
    client
}

async fn wait_for(client: &NativeClient, is_so: impl FnMut(&Client) -> bool + Send + 'static) {
    client
        .wait_for(PATIENCE, is_so)
        .await
        .expect("it comes to be so");
}

/// Draws stroke after stroke at the pace of a pointer until told to stop. `patient` people wait after every third until
/// it is shown as saved, and remember what was.
async fn draw_on(
    client: Arc<NativeClient>,
    mut dice: Dice,
    patient: bool,
    shown_saved: Arc<Mutex<Strokes>>,
    mut stop: watch::Receiver<bool>,
) {
    let drawing = async {
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
        for n in 1.. {
            let (style, start) = (dice.style(), dice.point(2000));
            let begun = client.with(move |client, _| {
                client.begin_stroke(style, &[InkPoint::new(start.x, start.y, 90)])
            });
            let stroke = begun.await.expect("the client is there");
            for step in 1..8 {
                frames.tick().await;
                let point = InkPoint::new(start.x + 130 * step, start.y + 20 * step * step, 120);
                let extended = client.with(move |client, _| client.extend_stroke(stroke, &[point]));
                extended.await.expect("the client is there");
            }
            let finished = client.with(move |client, _| client.finish_stroke(stroke));
            finished.await.expect("the client is there");
            if patient && n % 3 == 0 {
                wait_for(&client, |client| client.save_state() == SaveState::Saved).await;
                let saved = client.with(|client, _| {
                    let me = client.actor()?;
                    let mut mine = strokes(client);
                    mine.retain(|id, _| id.actor() == me);
                    (client.save_state() == SaveState::Saved).then_some(mine)
                });
                if let Some(mine) = saved.await.expect("the client is there") {
                    shown_saved
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend(mine);
                }
            }
        }
    };
    tokio::select! {
        () = drawing => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Somebody new looks at the board: what is there?
async fn look(server: &ServerProcess, links: &BoardLinks) -> Strokes {
    let newcomer = enter(server, links, 250).await;
    let seen = newcomer.with(|client, _| strokes(client)).await;
    newcomer.stop().await;
    seen.expect("the newcomer is there")
}

fn check_contains(seen: &Strokes, expected: &Strokes, what: &str) {
    for (id, points) in expected {
        let found = seen.get(id);
        assert!(
            found.is_some_and(|found| found >= points),
            "{what}: stroke {id:?} of {points} points; found {found:?}"
        );
    }
}

/// Everybody is back, has nothing unsaved, and holds the room's board.
async fn check_agreement(
    server: &ServerProcess,
    links: &BoardLinks,
    clients: &[Arc<NativeClient>],
) {
    for client in clients {
        wait_for(client, |client| {
            client.is_loaded() && client.save_state() == SaveState::Saved
        })
        .await;
    }
    let board = server.inspect(links).await.expect("an answer");
    assert_eq!(board.durable, board.position);
    for client in clients {
        let digest = board.digest.clone();
        wait_for(client, move |client| client.digest().to_string() == digest).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_minus_nine_loses_nothing_that_was_shown_as_saved() {
    let mut server = ServerProcess::start().await;
    let links = server.create_board().await;
    let mut clients = Vec::new();
    for number in 0..4 {
        clients.push(Arc::new(enter(&server, &links, number).await));
    }
    for round in 0..4u64 {
        let shown_saved = Arc::new(Mutex::new(Strokes::new()));
        let (stop, stopped) = watch::channel(false);
        let people: Vec<_> = (0..)
            .zip(&clients)
            .map(|(n, client)| {
                let dice = Dice::new(100 * round + n);
                tokio::spawn(draw_on(
                    client.clone(),
                    dice,
                    n < 2,
                    shown_saved.clone(),
                    stopped.clone(),
                ))
            })
            .collect();
        let enough = 8 * (round as usize + 1);
        wait_until("strokes that are shown as saved", async || {
            let saved = shown_saved.lock().unwrap_or_else(PoisonError::into_inner);
            (saved.len() >= enough).then_some(())
        })
        .await;
        // In the middle of everybody's strokes.
        server.kill_hard().await;
        let is_alone = round % 2 == 0;
        if is_alone {
            // Nobody may make up for what the server has lost.
            for client in &clients {
                client.set_online(false).await.expect("the client is there");
            }
        }
        stop.send(true).expect("people listen");
        for person in people {
            within("people to stop", person)
                .await
                .expect("nobody panics");
        }
        let shown_saved = shown_saved
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        server.restart().await;
        if is_alone {
            let seen = look(&server, &links).await;
            check_contains(&seen, &shown_saved, &format!("round {round}"));
            for client in &clients {
                client.set_online(true).await.expect("the client is there");
            }
        }
        check_agreement(&server, &links, &clients).await;
        let seen = look(&server, &links).await;
        check_contains(
            &seen,
            &shown_saved,
            &format!("round {round}, everybody back"),
        );
        for client in &clients {
            assert_eq!(
                client.closed().await,
                Ok(None),
                "nobody was thrown out for good"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_stop_saves_what_was_only_sent() {
    let mut server = ServerProcess::start().await;
    let links = server.create_board().await;
    let mut clients = Vec::new();
    for number in 0..4 {
        clients.push(Arc::new(enter(&server, &links, number).await));
    }
    for round in 0..3u64 {
        let (stop, stopped) = watch::channel(false);
        let people: Vec<_> = (0..)
            .zip(&clients)
            .map(|(n, client)| {
                let dice = Dice::new(7000 + 100 * round + n);
                tokio::spawn(draw_on(
                    client.clone(),
                    dice,
                    false,
                    Arc::default(),
                    stopped.clone(),
                ))
            })
            .collect();
        let before = server.inspect(&links).await.expect("an answer").strokes;
        wait_until("strokes", async || {
            let board = server.inspect(&links).await.expect("an answer");
            (board.strokes >= before + 12).then_some(())
        })
        .await;
        let status = server.stop().await;
        assert_eq!(status.code(), Some(0), "{}", server.log());
        for client in &clients {
            client.set_online(false).await.expect("the client is there");
        }
        stop.send(true).expect("people listen");
        for person in people {
            within("people to stop", person)
                .await
                .expect("nobody panics");
        }
        // What anybody has from the room was accepted by it, and so must have been saved by the stop.
        let mut accepted = Vec::new();
        for client in &clients {
            let strokes = client.with(|client, _| {
                let everything = client.board().strokes_in(BoardRect::EVERYTHING);
                let accepted = everything.iter().filter(|stroke| stroke.z.0 > 0);
                accepted.map(|stroke| stroke.id).collect::<Vec<_>>()
            });
            accepted.extend(strokes.await.expect("the client is there"));
        }
        server.restart().await;
        let seen = look(&server, &links).await;
        assert!(seen.len() as u64 >= before + 12);
        for id in accepted {
            assert!(
                seen.contains_key(&id),
                "round {round}: {id:?} was accepted before the stop"
            );
        }
        for client in &clients {
            client.set_online(true).await.expect("the client is there");
        }
        check_agreement(&server, &links, &clients).await;
        for client in &clients {
            let load = client.with(|client, _| client.load()).await;
            let load = load.expect("the client is there");
            assert!(load.is_resumed, "round {round}: {load:?}");
        }
    }
}

/// How long people draw: five seconds' worth of frames, or a minute's with `CHALKBOARD_LONG=1`.
fn frames() -> u32 {
    match std::env::var_os("CHALKBOARD_LONG") {
        Some(value) if value == "1" => 3750,
        _ => 300,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_people_draw_at_once_and_end_with_the_rooms_board() {
    let server = ServerProcess::start().await;
    let links = server.create_board().await;
    let mut clients = Vec::new();
    for number in 0..20 {
        clients.push(Arc::new(enter(&server, &links, number).await));
    }
    let frames = frames();
    let people: Vec<_> = (0..)
        .zip(&clients)
        .map(|(seed, client)| tokio::spawn(play(client.clone(), Dice::new(seed), frames)))
        .collect();
    for person in people {
        person.await.expect("nobody panics");
    }
    check_agreement(&server, &links, &clients).await;
    let board = server.inspect(&links).await.expect("an answer");
    assert_eq!(board.sessions, 20);
    assert!(board.position > u64::from(20 * frames / 2), "{board:?}");
    for client in &clients {
        let events = client.take_events().await.expect("the client is there");
        let refused = events.iter().find(|event| {
            matches!(
                event,
                chalkboard_client::Event::Refused(_) | chalkboard_client::Event::Closed(_)
            )
        });
        assert_eq!(refused, None);
    }
}

/// Draws, points, erases, undoes and redoes for so many frames.
async fn play(client: Arc<NativeClient>, mut dice: Dice, frames: u32) {
    let mut ticks = interval(FRAME);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let started = Instant::now();
    let mut frame = 0;
    while frame < frames {
        let (style, start) = (dice.style(), dice.point(2000));
        let begun = client.with(move |client, _| {
            client.begin_stroke(style, &[InkPoint::new(start.x, start.y, 90)])
        });
        let stroke = begun.await.expect("the client is there");
        for step in 1..=20 {
            ticks.tick().await;
            frame += 1;
            let at = BoardPoint::new(start.x + 90 * step, start.y + dice.between(-40, 40) * step);
            let extended = client.with(move |client, now_ms| {
                client.extend_stroke(stroke, &[InkPoint::new(at.x, at.y, 120)]);
                client.set_cursor(
                    now_ms,
                    CursorState {
                        at,
                        tool: CursorTool::Pen,
                        pressed: true,
                    },
                );
            });
            extended.await.expect("the client is there");
        }
        let (deed, choice) = (dice.below(8), dice.bits());
        let done = client.with(move |client, _| {
            client.finish_stroke(stroke);
            match deed {
                0 => drop(client.undo()),
                1 => drop(client.undo() && client.redo()),
                // Anybody's, that somebody else may be erasing or drawing just now.
                2 => {
                    let seen = client.board().strokes_in(BoardRect::EVERYTHING);
                    let chosen = seen.get((choice % seen.len().max(1) as u64) as usize);
                    if let Some(id) = chosen.map(|stroke| stroke.id) {
                        client.erase(&[id]);
                    }
                }
                _ => {}
            }
        });
        done.await.expect("the client is there");
    }
    // A slow machine may take longer, never less.
    assert!(started.elapsed() >= FRAME * (frames / 2));
}
