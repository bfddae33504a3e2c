//! On a way that loses packets ink shows before the stream has it again, and nothing else is different.

use std::collections::BTreeMap;

use chalkboard_client::bridge::{SaveState, TransportKind};
use chalkboard_shared::{BoardPoint, BoardRect, InkPoint};
use chalkboard_tests::dice::{Dice, seeds};
use chalkboard_tests::ensemble::{Ensemble, GOOD, LinkQuality};
use chalkboard_tests::server_process::ServerProcess;
use chalkboard_tests::udp_relay::UdpRelay;
use chalkboard_tests::waiting::{PATIENCE, wait_until};

/// A network of some 50 ms there and back that loses packets, which are sent again after two round trips.
const LOSSY: LinkQuality = LinkQuality {
    delay_ticks_min: 1,
    delay_ticks_max: 2,
    loss_percent: 8,
    resend_ticks: 6,
};
/// The same without losses.
const LOSSLESS: LinkQuality = LinkQuality {
    loss_percent: 0,
    ..LOSSY
};

/// Ticks of a run, in which each author adds points to a stroke in every third.
const TICKS: u64 = 900;
const STROKES: usize = 3;

/// When the reader, who is the last member, has seen how much.
struct Run {
    ensemble: Ensemble,
    /// By author: the tick in which each point was shown first.
    shown: Vec<Vec<u64>>,
}

fn run(seed: u64, quality: LinkQuality, tells_losses: bool) -> Run {
    let mut ensemble = Ensemble::of_editors(STROKES + 1, seed, quality);
    ensemble.tells_losses = tells_losses;
    let reader = STROKES;
    let point = |n: u64, author: usize| {
        let t = n as f32 / 60.0;
        let (x, y) = ((3.1 * t).sin() * 9000.0, (2.3 * t).cos() * 9000.0);
        let y = y as i32 + author as i32 * 40_000;
        InkPoint::new(x as i32 * 4, y, 90 + (n % 40) as u8)
    };
    let strokes: Vec<_> = (0..STROKES)
        .map(|author| {
            let style = ensemble.dice.style();
            let client = &mut ensemble.members[author].client;
            client.begin_stroke(style, &[point(0, author)])
        })
        .collect();
    ensemble.settle();
    let mut shown = vec![Vec::new(); STROKES];
    for tick in 1..=TICKS {
        for (author, &stroke) in strokes.iter().enumerate() {
            if (tick + author as u64).is_multiple_of(3) {
                let ink = [0, 1, 2].map(|n| point(tick * 3 + n, author));
                ensemble.members[author].client.extend_stroke(stroke, &ink);
            }
        }
        ensemble.step();
        // In the order of their authors, who never draw another.
        let board = ensemble.members[reader].client.board();
        let by_actor: BTreeMap<_, _> = board
            .strokes_in(BoardRect::EVERYTHING)
            .into_iter()
            .map(|stroke| (stroke.author(), stroke.point_count))
            .collect();
        for (author, shown) in shown.iter_mut().enumerate() {
            let count = by_actor.get(&ensemble.members[author].actor());
            shown.resize(count.map_or(0, |count| *count as usize), tick);
        }
    }
    for (author, &stroke) in strokes.iter().enumerate() {
        ensemble.members[author].client.finish_stroke(stroke);
    }
    ensemble.settle();
    Run { ensemble, shown }
}

/// How many ticks each point took from the hand to the reader's eye, in order.
fn delays(run: &Run) -> Vec<u64> {
    let mut delays = Vec::new();
    for (author, shown) in run.shown.iter().enumerate() {
        let drawn = (1..=TICKS).filter(|tick| (tick + author as u64).is_multiple_of(3));
        let drawn = drawn.flat_map(|tick| [tick; 3]);
        // The first point was there before.
        delays.extend(
            shown
                .iter()
                .skip(1)
                .zip(drawn)
                .map(|(shown, drawn)| shown - drawn),
        );
    }
    delays.sort_unstable();
    delays
}

#[test]
#[expect(clippy::print_stderr, reason = "how much sooner is told")]
fn on_a_way_that_loses_packets_ink_shows_earlier_and_the_board_is_the_same() {
    for seed in seeds(1, 8) {
        let mut with = run(seed, LOSSY, true);
        let mut without = run(seed, LOSSY, false);
        let reader = |run: &Run| run.ensemble.members[STROKES].live_ink;
        assert_eq!(reader(&without), (0, 0));
        assert!(reader(&with).0 > TICKS / 2, "{:?}", reader(&with));
        for (with, without) in with.shown.iter().zip(&without.shown) {
            let is_sooner = |(with, without): (&u64, &u64)| with <= without;
            assert!(with.iter().zip(without).all(is_sooner), "seed {seed}");
        }
        let (sooner, later) = (delays(&with), delays(&without));
        let (mean, percentile) = (
            |delays: &[u64]| delays.iter().sum::<u64>() as f64 / delays.len() as f64,
            |delays: &[u64], percent: usize| delays[delays.len() * percent / 100],
        );
        eprintln!(
            "seed {seed}: ticks from hand to eye, mean {:.2} for {:.2}, p95 {} for {}, p99 {} for {}; {:?} datagrams and bytes",
            mean(&sooner),
            mean(&later),
            percentile(&sooner, 95),
            percentile(&later, 95),
            percentile(&sooner, 99),
            percentile(&later, 99),
            reader(&with),
        );
        assert!(mean(&sooner) + 0.5 < mean(&later), "seed {seed}");
        assert!(
            percentile(&sooner, 95) + 3 <= percentile(&later, 95),
            "seed {seed}"
        );
        for run in [&mut with, &mut without] {
            run.ensemble.check_agreement();
        }
        assert_eq!(with.ensemble.room.digest(), without.ensemble.room.digest());
    }
}

#[test]
fn on_a_way_that_loses_nothing_ink_travels_once() {
    for quality in [GOOD, LOSSLESS] {
        let mut run = run(3, quality, true);
        assert!(
            run.ensemble
                .members
                .iter()
                .all(|member| member.live_ink == (0, 0))
        );
        run.ensemble.check_agreement();
    }
}

#[test]
fn a_way_that_loses_nothing_any_more_is_left_alone_again() {
    let mut ensemble = Ensemble::of_editors(2, 5, LOSSY);
    let style = ensemble.dice.style();
    let stroke = ensemble.members[0]
        .client
        .begin_stroke(style, &[InkPoint::new(0, 0, 1)]);
    let draw = |ensemble: &mut Ensemble, ticks: i32| {
        for n in 0..ticks {
            let ink = [InkPoint::new(n * 16, n, 128)];
            ensemble.members[0].client.extend_stroke(stroke, &ink);
            ensemble.step();
        }
        ensemble.members[1].live_ink.0
    };
    let lossy = draw(&mut ensemble, 200);
    assert!(lossy > 100, "{lossy}");
    ensemble.quality = LOSSLESS;
    let healed = draw(&mut ensemble, 400);
    assert!(healed > lossy);
    assert_eq!(draw(&mut ensemble, 100), healed);
    ensemble.members[0].client.finish_stroke(stroke);
    ensemble.check_agreement();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_notices_lost_packets_and_tells_ink_in_datagrams() {
    let server = ServerProcess::start().await;
    let mut doors = server.doors().await.expect("the ways in");
    let links = server.create_board().await;
    let window = BoardRect::from_corners(
        BoardPoint::new(-3200, -3200),
        BoardPoint::from_pixels(1280.0, 800.0),
    );
    let kind = TransportKind::WebTransport;
    let author = doors.client(kind, links.id, links.edit, window, 1);
    let port = server.quic_port();
    let relay = UdpRelay::to(port).await.expect("a port");
    let [from, to] = [port, relay.port()].map(|port| format!(":{port}/"));
    doors.web_transport = doors.web_transport.replace(&from, &to);
    let reader = doors.client(kind, links.id, links.view, window, 2);
    for client in [&author, &reader] {
        let loaded = client.wait_for(PATIENCE, chalkboard_client::Client::is_loaded);
        loaded.await.expect("it opens the board");
    }
    relay.lose_every(4);
    let style = Dice::new(1).style();
    let begun = author.with(move |client, _| client.begin_stroke(style, &[InkPoint::new(0, 0, 1)]));
    let stroke = begun.await.expect("the author is there");
    let mut n = 0;
    let ahead = wait_until("ink ahead of the stream", async || {
        n += 1;
        let ink = [InkPoint::new(n * 16, n * 5, 128)];
        let drawn = author.with(move |client, _| client.extend_stroke(stroke, &ink));
        drawn.await.expect("the author is there");
        let ahead = reader.with(|client, _| client.board().points_ahead());
        Some(ahead.await.expect("the reader is there")).filter(|&ahead| ahead > 20)
    })
    .await;
    assert!(ahead > 20 && relay.lost() > 1);
    relay.lose_every(0);
    let finished = author.with(move |client, _| client.finish_stroke(stroke));
    finished.await.expect("the author is there");
    let saved = author.wait_for(PATIENCE, |client| client.save_state() == SaveState::Saved);
    saved.await.expect("it is saved");
    let board = server.inspect(&links).await.expect("an answer");
    let (digest, position) = (board.digest.clone(), board.position);
    let same = reader.wait_for(PATIENCE, move |client| {
        client.digest().to_string() == digest
    });
    same.await.expect("the reader has the same board");
    assert!(position > 20);
}
