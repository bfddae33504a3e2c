//! Every moment can be seen again, and brought back as one more change: nothing is erased by that.

use chalkboard_shared::past::Difference;
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::{BoardRect, InkPoint, StrokeStyle};
use chalkboard_simulation::{Fold, Look, difference};
use chalkboard_tests::browser::{Browser, Page, SHIFT, Screen};
use chalkboard_tests::ensemble::{Ensemble, GOOD};
use chalkboard_tests::server_process::{BoardLinks, ServerProcess, binary};
use chalkboard_tests::waiting::wait_until;
use serde_json::Value;

/// What brings the board back as it was at a position of the log.
fn difference_to(ensemble: &Ensemble, position: u64) -> Difference {
    let mut now = Fold::default();
    let mut then = (position == 0).then(Look::default);
    for record in ensemble.records() {
        now.follow(record).expect("own records");
        if now.position().0 >= position && then.is_none() {
            then = Some(Look::of(&now));
        }
    }
    difference(&then.unwrap_or_default(), &now)
}

fn draw(ensemble: &mut Ensemble, who: usize, y: i32) {
    let style = StrokeStyle {
        nib: Nib::Pen,
        color: 0x22_44_66,
        width: 48,
    };
    let points: Vec<_> = (0..20)
        .map(|x| InkPoint::new(x * 100, y * 400, 128))
        .collect();
    let client = &mut ensemble.members[who].client;
    let stroke = client.begin_stroke(style, &points[..10]);
    client.extend_stroke(stroke, &points[10..]);
    client.finish_stroke(stroke);
}

#[test]
fn a_restored_moment_is_exactly_that_board_and_undo_brings_now_back() {
    let mut ensemble = Ensemble::of_editors(2, 5, GOOD);
    ensemble.settle();
    for n in 0..6 {
        draw(&mut ensemble, n % 2, n as i32);
    }
    ensemble.settle();
    let (then, position) = (ensemble.room.digest(), ensemble.room.position().0);
    // What happens afterwards: more ink, another style, and strokes that go.
    draw(&mut ensemble, 0, 9);
    draw(&mut ensemble, 1, 10);
    let board = ensemble.members[1].client.board();
    let all: Vec<_> = board
        .strokes_in(BoardRect::EVERYTHING)
        .iter()
        .map(|stroke| (stroke.id, stroke.style.value))
        .collect();
    let client = &mut ensemble.members[1].client;
    client.restyle(
        &[all[0].0],
        StrokeStyle {
            color: 0xff_00_00,
            ..all[0].1
        },
    );
    client.erase(&[all[1].0, all[2].0]);
    ensemble.settle();
    let now = ensemble.room.digest();
    assert_ne!(now, then);

    let difference = difference_to(&ensemble, position);
    assert_eq!(
        (
            difference.erase.len(),
            difference.restore.len(),
            difference.restyle.len()
        ),
        (2, 2, 1)
    );
    assert!(ensemble.members[0].client.bring_back(&difference));
    ensemble.settle();
    assert_eq!(ensemble.room.digest(), then, "the board of that moment");
    ensemble.check_agreement();

    assert!(ensemble.members[0].client.undo());
    ensemble.settle();
    assert_eq!(ensemble.room.digest(), now, "undo takes it back as a whole");
    assert!(ensemble.members[0].client.redo());
    ensemble.settle();
    assert_eq!(ensemble.room.digest(), then);
    ensemble.check_agreement();
}

#[test]
fn a_moment_is_brought_back_also_where_nobody_looks() {
    let mut ensemble = Ensemble::of_editors(1, 6, GOOD);
    ensemble.settle();
    for n in 0..600 {
        draw(&mut ensemble, 0, n);
        if n % 50 == 0 {
            ensemble.settle();
        }
    }
    ensemble.settle();
    let now = ensemble.room.digest();
    // Somebody who sees next to nothing of the board brings back the empty one.
    let corner = BoardRect::from_corners(
        chalkboard_shared::BoardPoint::new(-900_000, -900_000),
        chalkboard_shared::BoardPoint::new(-890_000, -890_000),
    );
    let other = ensemble.add(chalkboard_shared::Rights::Edit, corner);
    ensemble.settle();
    assert_eq!(ensemble.members[other].client.board().len(), 0);
    let difference = difference_to(&ensemble, 0);
    assert_eq!(difference.erase.len(), 600);
    assert!(ensemble.members[other].client.bring_back(&difference));
    ensemble.settle();
    assert_eq!(ensemble.room.visible_stroke_count(), 0);
    assert_eq!(ensemble.room.stroke_count(), 600, "nothing is gone");
    assert!(ensemble.members[other].client.undo());
    ensemble.settle();
    assert_eq!(ensemble.room.digest(), now);
}

/// Waits until a page shows a moment, and everything of it is drawn.
async fn wait_for_moment(page: &Page) {
    page.wait_for_data("pastState", "there").await;
    page.wait_for_state("a picture that is complete", "state.complete")
        .await;
}

async fn wait_for_ink(page: &Page, is_there: bool, area: (f64, f64, f64, f64)) {
    let what = format!("ink: {is_there}, in {area:?}");
    wait_until(&what, async || {
        let inked = page.probe(area.0, area.1, area.2, area.3).await.inked();
        (if is_there { inked > 40 } else { inked == 0 }).then_some(())
    })
    .await;
}

async fn draw_line(page: &Page, y: f64) {
    let points: Vec<_> = (0..30).map(|x| (200.0 + f64::from(x) * 12.0, y)).collect();
    page.draw(&points).await;
}

/// Moves the slider, as a hand or a key would.
async fn seek(page: &Page, share: &str) {
    page.run(&format!(
        "(() => {{ const s = document.getElementById('past-slider'); s.value = {share}; \
         s.dispatchEvent(new Event('input', {{ bubbles: true }})); }})()"
    ))
    .await;
}

async fn wait_for_board(server: &ServerProcess, links: &BoardLinks, strokes: u64) {
    wait_until(&format!("{strokes} strokes on the server"), async || {
        let board = server.inspect(links).await.expect("an answer");
        (board.strokes == strokes && board.position == board.durable).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_looks_back_while_the_room_runs_and_brings_a_moment_back() {
    let server = ServerProcess::start().await;
    server.check_page().await;
    let links = server.create_board().await;
    let browser = Browser::launch().await;
    let address = server.page(links.id, links.edit);
    let open = async |address: &str| {
        let page = browser.open(address, Screen::DESKTOP).await;
        page.wait_for_state("a board that is loaded", "state.loaded")
            .await;
        page
    };
    let ann = open(&address).await;
    let bob = open(&address).await;
    let (high, low) = ((190.0, 190.0, 380.0, 20.0), (190.0, 390.0, 380.0, 20.0));
    draw_line(&ann, 200.0).await;
    wait_for_board(&server, &links, 1).await;
    draw_line(&bob, 400.0).await;
    wait_for_board(&server, &links, 2).await;
    for page in [&ann, &bob] {
        wait_for_ink(page, true, high).await;
        wait_for_ink(page, true, low).await;
    }

    // The end of the time line is the board as it is; its start is empty but for the first touch of the pen.
    ann.press('t', SHIFT).await;
    wait_for_moment(&ann).await;
    wait_for_ink(&ann, true, low).await;
    assert!(!ann.shows("tool-pen").await, "the past can't be drawn on");
    seek(&ann, "0").await;
    wait_for_ink(&ann, false, low).await;
    seek(&ann, "Number(s.max)").await;
    wait_for_ink(&ann, true, low).await;

    // One step back is one change back, and playing ends where the time line does.
    let last = ann.run("document.documentElement.dataset.past").await;
    ann.click("past-back").await;
    ann.wait_for(
        "an earlier tick",
        &format!("document.documentElement.dataset.past !== {last}"),
    )
    .await;
    seek(&ann, "0").await;
    wait_for_ink(&ann, false, low).await;
    ann.click("past-play").await;
    wait_for_ink(&ann, true, low).await;

    // Before Bob's stroke, and a link to it.
    let first = wait_until("the end of the first stroke", async || {
        ann.click("past-back").await;
        wait_for_moment(&ann).await;
        let is_gone = ann.probe(low.0, low.1, low.2, low.3).await.inked() == 0;
        let tick = ann.run("document.documentElement.dataset.past").await;
        is_gone.then(|| tick.as_str().unwrap_or_default().to_owned())
    })
    .await;
    wait_for_ink(&ann, true, high).await;

    // The room runs on meanwhile, and nothing of that shows here.
    let third = (190.0, 290.0, 380.0, 20.0);
    draw_line(&bob, 300.0).await;
    wait_for_board(&server, &links, 3).await;
    wait_for_ink(&bob, true, third).await;
    wait_for_ink(&ann, false, third).await;
    let view = link_at(&server, &links, &first);
    let guest = open(&view).await;
    wait_for_moment(&guest).await;
    wait_for_ink(&guest, true, high).await;
    wait_for_ink(&guest, false, low).await;
    assert_eq!(
        guest.run("document.documentElement.dataset.past").await,
        Value::from(first)
    );
    assert_eq!(
        guest
            .run("document.querySelector('[data-testid=past-restore]').disabled")
            .await,
        Value::from(true),
        "a view link changes nothing"
    );
    guest.click("past-now").await;
    wait_for_ink(&guest, true, low).await;
    assert!(!guest.address().await.contains("t="), "a reload shows now");

    // Out of the way: pointers are ink to a probe.
    bob.point_at(900.0, 560.0).await;

    // Brought back, it is so for everybody; undo brings back what was.
    ann.click("past-restore").await;
    wait_for_board(&server, &links, 1).await;
    ann.wait_for_data("past", "").await;
    for page in [&ann, &bob, &guest] {
        wait_for_ink(page, true, high).await;
        wait_for_ink(page, false, low).await;
        wait_for_ink(page, false, third).await;
    }
    ann.click("undo").await;
    wait_for_board(&server, &links, 3).await;
    for page in [&ann, &bob, &guest] {
        wait_for_ink(page, true, low).await;
        wait_for_ink(page, true, third).await;
        assert_eq!(page.complaints(), Vec::<String>::new());
    }
    browser.close().await;
}

fn link_at(server: &ServerProcess, links: &BoardLinks, tick: &str) -> String {
    format!("{}/b/{}?t={tick}#{}", server.url(), links.id, links.view)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_of_the_time_line_are_kept() {
    let server = ServerProcess::start().await;
    server.check_page().await;
    let links = server.create_board().await;
    let address = server.page(links.id, links.edit);
    let browser = Browser::launch().await;
    let mut pages = Vec::new();
    for (screen, name) in [
        (Screen::DESKTOP, "past-light"),
        (Screen::DESKTOP.in_the_dark(), "past-dark"),
        (Screen::PHONE, "past-phone"),
    ] {
        let page = browser.open(&address, screen).await;
        page.wait_for_state("a board that is loaded", "state.loaded")
            .await;
        pages.push((page, name));
    }
    for (n, color) in ["color-1", "color-3", "color-5", "color-2"]
        .into_iter()
        .enumerate()
    {
        let page = &pages[n % 2].0;
        page.click(color).await;
        let wave = |x: i32| {
            let x = f64::from(x);
            (
                220.0 + x * 9.0,
                180.0 + 90.0 * n as f64 + 30.0 * (x / 6.0).sin(),
            )
        };
        page.draw(&(0..80).map(wave).collect::<Vec<_>>()).await;
    }
    wait_for_board(&server, &links, 4).await;
    let folder = binary()
        .ancestors()
        .nth(2)
        .expect("the server lies in a target folder")
        .join("test-artifacts");
    for (page, name) in &pages {
        page.run("dispatchEvent(new KeyboardEvent('keydown', { key: '!', code: 'Digit1', shiftKey: true }))").await;
        page.press('t', SHIFT).await;
        wait_for_moment(page).await;
        seek(page, "Number(s.max) * 0.7").await;
        wait_for_moment(page).await;
        page.wait_for(
            "the graph",
            "document.querySelectorAll('.past-track path').length > 0",
        )
        .await;
        let path = folder.join(format!("{name}.png"));
        page.save_screenshot(&path).await;
        assert!(std::fs::metadata(&path).expect("a picture").len() > 10_000);
        assert_eq!(page.complaints(), Vec::<String>::new());
    }
    browser.close().await;
}
