//! What people do and see in real browsers, on the real server.

use std::path::PathBuf;

use chalkboard_shared::DisconnectReason;
use chalkboard_tests::browser::{Browser, CONTROL, Page, SHIFT, Screen};
use chalkboard_tests::server_process::{BoardLinks, ServerOptions, ServerProcess, binary};
use chalkboard_tests::tcp_relay::TcpRelay;
use chalkboard_tests::waiting::wait_until;
use serde_json::{Value, json};

/// A stroke from one place to another in a slight curve, CSS pixels.
fn curve(from: (f64, f64), to: (f64, f64)) -> Vec<(f64, f64)> {
    curve_of(from, to, 30.0)
}

fn curve_of(from: (f64, f64), to: (f64, f64), bulge: f64) -> Vec<(f64, f64)> {
    let steps = 16;
    (0..=steps)
        .map(|n| {
            let t = f64::from(n) / f64::from(steps);
            let bulge = bulge * (t * std::f64::consts::PI).sin();
            (
                from.0 + (to.0 - from.0) * t,
                from.1 + (to.1 - from.1) * t + bulge,
            )
        })
        .collect()
}

/// A server with its page.
async fn serve() -> ServerProcess {
    let server = ServerProcess::start().await;
    server.check_page().await;
    server
}

/// Opens a board and waits until it is there.
async fn visit(browser: &Browser, url: &str, screen: Screen) -> Page {
    let page = browser.open(url, screen).await;
    page.wait_for_state("a board that is loaded", "state.loaded")
        .await;
    page
}

async fn wait_for_strokes(page: &Page, count: usize) {
    page.wait_for_state(
        &format!("{count} strokes"),
        &format!("state.strokes === {count}"),
    )
    .await;
}

/// Waits until there is ink in a rectangle, CSS pixels, or none.
async fn wait_for_ink(page: &Page, (x, y, width, height): (f64, f64, f64, f64), is_there: bool) {
    let what = if is_there {
        "ink in sight"
    } else {
        "no ink in sight"
    };
    wait_until(what, async || {
        let inked = page.probe(x, y, width, height).await.inked();
        (if is_there { inked > 40 } else { inked == 0 }).then_some(())
    })
    .await;
}

async fn wait_for_board(server: &ServerProcess, links: &BoardLinks, strokes: u64) {
    wait_until(&format!("{strokes} strokes on the server"), async || {
        let board = server.inspect(links).await.expect("an answer");
        (board.strokes == strokes).then_some(())
    })
    .await;
}

/// Every page comes to hold the room's board.
async fn check_agreement(server: &ServerProcess, links: &BoardLinks, pages: &[&Page]) {
    wait_until("the room's board on every page", async || {
        // Asked anew each time: the last of what was drawn may still be on its way to the room.
        let digest = Value::from(server.inspect(links).await.expect("an answer").digest);
        for page in pages {
            if page.state("digest").await != digest {
                return None;
            }
        }
        Some(())
    })
    .await;
}

async fn draw_together(query: &str, connection: &str) {
    let server = serve().await;
    let links = server.create_board().await;
    let address = format!("{}/b/{}{query}#{}", server.url(), links.id, links.edit);
    let browser = Browser::launch().await;
    let ann = visit(&browser, &address, Screen::DESKTOP).await;
    let bob = visit(&browser, &address, Screen::DESKTOP).await;
    for page in [&ann, &bob] {
        page.wait_for_data("connection", connection).await;
        page.wait_for_data("rights", "edit").await;
        page.wait_for_state("two people", "state.sessions === 2")
            .await;
    }

    // Ann draws, Bob sees it; then the other way round.
    let (anns, bobs) = ((180.0, 170.0, 340.0, 120.0), (680.0, 370.0, 340.0, 120.0));
    assert_eq!(bob.probe(anns.0, anns.1, anns.2, anns.3).await.inked(), 0);
    ann.draw(&curve((200.0, 200.0), (500.0, 240.0))).await;
    wait_for_strokes(&bob, 1).await;
    wait_for_ink(&bob, anns, true).await;
    bob.draw(&curve((700.0, 400.0), (1000.0, 440.0))).await;
    wait_for_strokes(&ann, 2).await;
    wait_for_ink(&ann, bobs, true).await;
    ann.wait_for_data("saved", "saved").await;
    bob.wait_for_data("saved", "saved").await;
    check_agreement(&server, &links, &[&ann, &bob]).await;

    // Where Ann points, Bob sees her.
    let near = (560.0, 560.0, 120.0, 120.0);
    wait_for_ink(&bob, near, false).await;
    ann.point_at(600.0, 600.0).await;
    bob.wait_for_state("Ann's cursor", "state.cursors === 1")
        .await;
    wait_for_ink(&bob, near, true).await;
    // At the edge her name is on the other side of the arrow.
    let beside = (1170.0, 540.0, 80.0, 60.0);
    wait_for_ink(&bob, beside, false).await;
    ann.point_at(1272.0, 560.0).await;
    wait_for_ink(&bob, beside, true).await;
    ann.point_at(80.0, 700.0).await;
    wait_for_ink(&bob, near, false).await;

    // Everybody takes back their own work alone.
    ann.press('z', CONTROL).await;
    wait_for_strokes(&bob, 1).await;
    wait_for_ink(&bob, anns, false).await;
    wait_for_ink(&bob, bobs, true).await;
    ann.press('z', CONTROL).await;
    ann.press('z', CONTROL | SHIFT).await;
    wait_for_strokes(&bob, 2).await;
    wait_for_ink(&bob, anns, true).await;

    // The eraser takes what it touches, also Bob's.
    ann.press('e', 0).await;
    ann.draw(&curve((850.0, 350.0), (860.0, 500.0))).await;
    wait_for_strokes(&bob, 1).await;
    wait_for_ink(&bob, bobs, false).await;
    ann.press('z', CONTROL).await;
    wait_for_strokes(&bob, 2).await;
    check_agreement(&server, &links, &[&ann, &bob]).await;

    // The board outlives the page.
    bob.reload().await;
    bob.wait_for_state("a board that is loaded", "state.loaded")
        .await;
    bob.wait_for_data("connection", connection).await;
    wait_for_strokes(&bob, 2).await;
    wait_for_ink(&bob, anns, true).await;
    wait_for_ink(&bob, bobs, true).await;
    check_agreement(&server, &links, &[&ann, &bob]).await;

    // Who leaves is seen to leave.
    bob.close().await;
    ann.wait_for_state("nobody else", "state.sessions === 1")
        .await;
    assert_eq!(ann.complaints(), Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_draw_together_over_webtransport() {
    draw_together("", "online-webtransport").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_people_draw_together_over_the_fallback() {
    draw_together("?transport=ws", "online-websocket").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_without_udp_is_no_obstacle() {
    let relay = TcpRelay::bind().await.expect("a relay");
    let server = ServerProcess::start_with(ServerOptions {
        arguments: vec!["--allow-origin".into(), relay.url().into()],
        ..ServerOptions::default()
    })
    .await;
    server.check_page().await;
    let links = server.create_board().await;
    let relay = relay
        .run(server.port(), server.quic_port())
        .await
        .expect("a relay");
    let browser = Browser::launch().await;
    let inside = format!("{}/b/{}#{}", relay.url(), links.id, links.edit);
    let inside = visit(&browser, &inside, Screen::DESKTOP).await;
    inside.wait_for_data("connection", "online-websocket").await;
    let outside = visit(
        &browser,
        &server.page(links.id, links.edit),
        Screen::DESKTOP,
    )
    .await;
    outside
        .wait_for_data("connection", "online-webtransport")
        .await;
    inside.draw(&curve((200.0, 200.0), (500.0, 240.0))).await;
    outside.draw(&curve((200.0, 400.0), (500.0, 440.0))).await;
    wait_for_strokes(&inside, 2).await;
    wait_for_strokes(&outside, 2).await;
    check_agreement(&server, &links, &[&inside, &outside]).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_visitor_gets_a_fresh_board_and_a_view_link_cannot_draw() {
    let server = serve().await;
    let browser = Browser::launch().await;
    let host = visit(&browser, server.url(), Screen::DESKTOP).await;
    let address = host.address().await;
    let link = address.strip_prefix(&format!("{}/b/", server.url()));
    let (id, edit) = link
        .and_then(|link| link.split_once('#'))
        .expect("a board's address");
    host.draw(&curve((300.0, 300.0), (600.0, 320.0))).await;
    host.wait_for_data("saved", "saved").await;

    // The link that the page offers for looking.
    host.click("share").await;
    host.wait_for(
        "the link",
        "document.querySelector('[data-testid=\"view-link\"]')?.value",
    )
    .await;
    let offered = host
        .run("document.querySelector('[data-testid=\"view-link\"]').value")
        .await;
    let offered = offered.as_str().expect("a link");
    let (_, view) = offered.split_once('#').expect("a link with a secret");
    let links = BoardLinks {
        id: id.parse().expect("a board"),
        edit: edit.parse().expect("a secret"),
        view: view.parse().expect("a secret"),
    };
    assert_ne!(links.edit, links.view);

    let guest = visit(&browser, offered, Screen::DESKTOP).await;
    guest.wait_for_data("rights", "view").await;
    wait_for_strokes(&guest, 1).await;
    wait_for_ink(&guest, (280.0, 280.0, 340.0, 90.0), true).await;
    assert!(guest.shows("view-only").await);
    for hidden in ["toolbar", "tool-pen", "undo"] {
        assert!(!guest.shows(hidden).await, "{hidden} is of no use here");
    }
    guest.press('p', 0).await;
    guest.draw(&curve((300.0, 500.0), (600.0, 520.0))).await;
    guest.press('e', 0).await;
    guest.draw(&curve((450.0, 250.0), (450.0, 400.0))).await;
    guest.press('z', CONTROL).await;
    // What the host does next comes after whatever the guest could have done.
    host.press('p', 0).await;
    host.draw(&curve((700.0, 300.0), (900.0, 320.0))).await;
    host.wait_for_data("saved", "saved").await;
    wait_for_board(&server, &links, 2).await;
    check_agreement(&server, &links, &[&host, &guest]).await;
    assert_eq!(host.complaints(), Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_finger_draws_and_two_zoom() {
    let server = serve().await;
    let links = server.create_board().await;
    let browser = Browser::launch().await;
    let phone = visit(&browser, &server.page(links.id, links.edit), Screen::PHONE).await;
    let finger: Vec<_> = curve((80.0, 300.0), (300.0, 320.0))
        .into_iter()
        .map(|place| vec![place])
        .collect();
    phone.touch(&finger).await;
    wait_for_strokes(&phone, 1).await;
    wait_for_ink(&phone, (60.0, 280.0, 270.0, 90.0), true).await;
    phone.wait_for_data("saved", "saved").await;

    let before = phone.state("zoom").await.as_f64().expect("a zoom");
    let pinch: Vec<_> = (0..12)
        .map(|n| {
            vec![
                (180.0 - f64::from(n) * 8.0, 420.0),
                (220.0 + f64::from(n) * 8.0, 420.0),
            ]
        })
        .collect();
    phone.touch(&pinch).await;
    phone
        .wait_for_state("a closer view", &format!("state.zoom > {before} * 2"))
        .await;
    phone.wait_for_data("saved", "saved").await;
    wait_for_strokes(&phone, 1).await;
    wait_for_board(&server, &links, 1).await;
    check_agreement(&server, &links, &[&phone]).await;
    assert_eq!(phone.complaints(), Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_the_server_costs_nothing() {
    let mut server = serve().await;
    let links = server.create_board().await;
    let browser = Browser::launch().await;
    let ann = visit(
        &browser,
        &server.page(links.id, links.edit),
        Screen::DESKTOP,
    )
    .await;
    let bob = visit(
        &browser,
        &server.page(links.id, links.edit),
        Screen::DESKTOP,
    )
    .await;
    for n in 0..3 {
        let y = 200.0 + 80.0 * f64::from(n);
        ann.draw(&curve((200.0, y), (500.0, y))).await;
    }
    ann.wait_for_data("saved", "saved").await;
    wait_for_strokes(&bob, 3).await;
    server.kill_hard().await;

    // Both go on drawing.
    ann.draw(&curve((600.0, 200.0), (900.0, 200.0))).await;
    bob.draw(&curve((600.0, 400.0), (900.0, 400.0))).await;
    ann.wait_for_data("connection", "reconnecting").await;
    ann.wait_for_data("saved", "local").await;
    wait_for_strokes(&ann, 4).await;
    wait_for_strokes(&bob, 4).await;

    server.restart().await;
    let board = server.inspect(&links).await.expect("an answer");
    assert!(
        board.strokes >= 3,
        "what was shown as saved is there: {board:?}"
    );
    for page in [&ann, &bob] {
        page.wait_for_data("connection", "online-webtransport")
            .await;
        page.wait_for_data("saved", "saved").await;
        wait_for_strokes(page, 5).await;
    }
    wait_for_board(&server, &links, 5).await;
    wait_for_ink(&ann, (580.0, 380.0, 340.0, 90.0), true).await;
    wait_for_ink(&bob, (580.0, 180.0, 340.0, 90.0), true).await;
    check_agreement(&server, &links, &[&ann, &bob]).await;
    browser.close().await;
}

/// Waits until the page's store holds so many ops that were not saved, its head left out.
async fn wait_for_kept(page: &Page, ops: usize) {
    let count = format!(
        "new Promise((resolve) => {{
            const open = indexedDB.open('chalkboard');
            open.onsuccess = () => {{
                const keys = open.result.transaction('outbox').objectStore('outbox').getAllKeys();
                keys.onsuccess = () => {{
                    open.result.close();
                    resolve(keys.result.filter((key) => key[2] > 0).length);
                }};
            }};
        }}).then((kept) => {})",
        if ops == 0 {
            "kept === 0".to_owned()
        } else {
            format!("kept >= {ops}")
        }
    );
    page.wait_for(&format!("{ops} ops in the store"), &count)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_drawn_while_the_server_was_gone_outlives_the_tab() {
    let mut server = serve().await;
    let links = server.create_board().await;
    let browser = Browser::launch().await;
    let address = server.page(links.id, links.edit);
    let ann = browser.person().await;
    let page = browser.open_as(&ann, &address, Screen::DESKTOP).await;
    page.wait_for_state("a board that is loaded", "state.loaded")
        .await;
    page.draw(&curve((200.0, 200.0), (500.0, 200.0))).await;
    page.wait_for_data("saved", "saved").await;
    let other = browser.open_as(&ann, &address, Screen::DESKTOP).await;
    wait_for_strokes(&other, 1).await;
    wait_for_kept(&page, 0).await;
    server.kill_hard().await;
    other.wait_for_data("connection", "reconnecting").await;
    other.draw(&curve((600.0, 300.0), (900.0, 300.0))).await;
    wait_for_strokes(&other, 2).await;
    wait_for_kept(&other, 2).await;
    other.kill().await;
    page.draw(&curve((200.0, 300.0), (500.0, 300.0))).await;
    page.draw(&curve((200.0, 400.0), (500.0, 400.0))).await;
    page.wait_for_data("saved", "local").await;
    wait_for_strokes(&page, 3).await;
    wait_for_kept(&page, 6).await;
    page.kill().await;

    server.restart().await;
    wait_for_board(&server, &links, 1).await;
    let page = browser.open_as(&ann, &address, Screen::DESKTOP).await;
    // What both tabs have left comes, one after the other.
    wait_for_strokes(&page, 4).await;
    page.wait_for_data("saved", "saved").await;
    wait_for_board(&server, &links, 4).await;
    check_agreement(&server, &links, &[&page]).await;
    wait_for_kept(&page, 0).await;
    // Once: another reload brings nothing again.
    page.reload().await;
    page.wait_for_state("a board that is loaded", "state.loaded")
        .await;
    page.wait_for_data("saved", "saved").await;
    wait_for_board(&server, &links, 4).await;
    assert_eq!(page.complaints(), Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tabs_of_one_browser_are_two_and_a_reload_is_the_same() {
    let server = serve().await;
    let links = server.create_board().await;
    let browser = Browser::launch().await;
    let address = server.page(links.id, links.edit);
    let ann = browser.person().await;
    let mut pages = Vec::new();
    for n in 0..2 {
        let page = browser.open_as(&ann, &address, Screen::DESKTOP).await;
        page.wait_for_state("a board that is loaded", "state.loaded")
            .await;
        let y = 200.0 + 100.0 * f64::from(n);
        page.draw(&curve((200.0, y), (500.0, y))).await;
        page.wait_for_data("saved", "saved").await;
        pages.push(page);
    }
    for page in &pages {
        page.wait_for_state("two people", "state.sessions === 2")
            .await;
        wait_for_strokes(page, 2).await;
    }
    let actor = pages[1].state("actor").await;
    assert_ne!(actor, pages[0].state("actor").await);
    pages[1].reload().await;
    pages[1]
        .wait_for_state("a board that is loaded", "state.loaded")
        .await;
    assert_eq!(actor, pages[1].state("actor").await);
    pages[1].draw(&curve((600.0, 300.0), (900.0, 300.0))).await;
    pages[1].wait_for_data("saved", "saved").await;
    wait_for_board(&server, &links, 3).await;
    check_agreement(&server, &links, &[&pages[0], &pages[1]]).await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_was_seen_before_is_there_at_once_and_only_news_comes() {
    let server = serve().await;
    let links = server.create_board().await;
    let browser = Browser::launch().await;
    let address = server.page(links.id, links.edit);
    let ann = browser.person().await;
    let page = browser.open_as(&ann, &address, Screen::DESKTOP).await;
    page.wait_for_state("a board that is loaded", "state.loaded")
        .await;
    for n in 0..4 {
        let y = 200.0 + 80.0 * f64::from(n);
        page.draw(&curve((200.0, y), (500.0, y))).await;
    }
    page.wait_for_data("saved", "saved").await;
    wait_until("the board in the store", async || {
        let kept = "new Promise((resolve) => {
            const open = indexedDB.open('chalkboard');
            open.onsuccess = () => {
                const boards = open.result.transaction('board').objectStore('board').count();
                boards.onsuccess = () => { open.result.close(); resolve(boards.result); };
            };
        })";
        (page.run(kept).await == json!(1)).then_some(())
    })
    .await;
    page.reload().await;
    page.wait_for_state("a board that is loaded", "state.loaded")
        .await;
    assert_eq!(page.state("resumed").await, json!(true));
    wait_for_strokes(&page, 4).await;
    check_agreement(&server, &links, &[&page]).await;
    assert_eq!(page.complaints(), Vec::<String>::new());
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_that_is_slow_says_so_and_others_do_not() {
    let browser = Browser::launch().await;
    for (hz, is_busy) in [("60", false), ("20", true)] {
        let server = ServerProcess::start_with(ServerOptions {
            arguments: vec!["--tick-hz".into(), hz.into()],
            ..ServerOptions::default()
        })
        .await;
        server.check_page().await;
        let links = server.create_board().await;
        let page = visit(
            &browser,
            &server.page(links.id, links.edit),
            Screen::DESKTOP,
        )
        .await;
        // What a page has drawn and saved has heard of the room's pace long before.
        page.draw(&curve((300.0, 300.0), (600.0, 320.0))).await;
        page.wait_for_data("saved", "saved").await;
        wait_for_board(&server, &links, 1).await;
        assert_eq!(page.shows("busy").await, is_busy, "{hz} ticks a second");
        if is_busy {
            let title = page
                .run("document.querySelector('[data-testid=\"busy\"]').title")
                .await;
            let title = title.as_str().unwrap_or_default();
            assert!(title.starts_with("20 updates a second"), "{title:?}");
        }
        page.close().await;
    }
    browser.close().await;
}

/// Where pictures are kept: beside what cargo builds.
fn artifacts() -> PathBuf {
    let server = binary();
    let target = server
        .ancestors()
        .nth(2)
        .expect("the server lies in a target folder");
    target.join("test-artifacts")
}

/// Strokes that look like something, as if by hand: a sun over hills, a house, and the loops that people try a pen with.
fn sketch() -> Vec<(&'static str, Vec<(f64, f64)>)> {
    use std::f64::consts::TAU;
    let line = |points: &[(f64, f64)]| {
        let pairs = points.windows(2);
        pairs
            .flat_map(|pair| curve_of(pair[0], pair[1], 0.0))
            .collect::<Vec<_>>()
    };
    let mut strokes = Vec::new();
    let circle = (0..=48).map(|n| TAU * f64::from(n) / 46.0);
    let sun = circle.map(|t| (960.0 + 54.0 * t.cos(), 190.0 + 52.0 * t.sin()));
    strokes.push(("color-4", sun.collect()));
    for ray in 0..11 {
        let t = TAU * f64::from(ray) / 11.0 + 0.2;
        let along = (0..=6).map(|n| 74.0 + 5.0 * f64::from(n) + f64::from(ray % 3) * 3.0);
        strokes.push((
            "color-4",
            along
                .map(|r| (960.0 + r * t.cos(), 190.0 + r * t.sin()))
                .collect(),
        ));
    }
    for (n, color) in [(0.0, "color-6"), (1.0, "color-5")] {
        let hill = (0..=90).map(|step| {
            let x = 200.0 + 10.0 * f64::from(step);
            let wave = (x / (150.0 + 30.0 * n) + 1.7 * n).sin() * (60.0 - 20.0 * n);
            (x, 440.0 + 80.0 * n - wave)
        });
        strokes.push((color, hill.collect()));
    }
    strokes.push((
        "color-1",
        line(&[
            (760.0, 460.0),
            (760.0, 590.0),
            (900.0, 590.0),
            (900.0, 460.0),
        ]),
    ));
    strokes.push((
        "color-2",
        line(&[(742.0, 470.0), (828.0, 400.0), (918.0, 468.0)]),
    ));
    strokes.push((
        "color-1",
        line(&[
            (812.0, 590.0),
            (812.0, 520.0),
            (850.0, 520.0),
            (850.0, 588.0),
        ]),
    ));
    let loops = (0..=220).map(|n| {
        let t = f64::from(n) / 220.0 * 7.0 * TAU;
        (250.0 + t * 9.0 + 22.0 * t.sin(), 210.0 - 34.0 * t.cos() - t)
    });
    strokes.push(("color-7", loops.collect()));
    strokes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_of_the_board_are_kept() {
    let server = serve().await;
    let links = server.create_board().await;
    let address = server.page(links.id, links.edit);
    let browser = Browser::launch().await;
    let ann = visit(&browser, &address, Screen::DESKTOP).await;
    let night = visit(&browser, &address, Screen::DESKTOP.in_the_dark()).await;
    let phone = visit(&browser, &address, Screen::PHONE).await;
    let strokes = sketch();
    for (color, points) in &strokes {
        ann.click(color).await;
        ann.draw(points).await;
    }
    ann.press('d', SHIFT).await;
    ann.draw(&curve_of((250.0, 262.0), (650.0, 222.0), 6.0))
        .await;
    ann.press('p', 0).await;
    ann.wait_for_data("saved", "saved").await;
    // Everybody points somewhere.
    ann.point_at(560.0, 330.0).await;
    night.point_at(1010.0, 360.0).await;
    for page in [&ann, &night, &phone] {
        wait_for_strokes(page, strokes.len() + 1).await;
        page.wait_for_state("everybody", "state.sessions === 3")
            .await;
        page.wait_for_state("a picture that is complete", "state.complete")
            .await;
    }
    // The phone shows all of it.
    phone.run("dispatchEvent(new KeyboardEvent('keydown', { key: '!', code: 'Digit1', shiftKey: true }))").await;
    ann.wait_for_state("the other cursor", "state.cursors === 1")
        .await;
    night
        .wait_for_state("the other cursor", "state.cursors === 1")
        .await;
    let folder = artifacts();
    for (page, name) in [
        (&ann, "board-light"),
        (&night, "board-dark"),
        (&phone, "board-phone"),
    ] {
        page.wait_for_state("a picture that is complete", "state.complete")
            .await;
        let path = folder.join(format!("{name}.png"));
        page.save_screenshot(&path).await;
        assert!(
            std::fs::metadata(&path).expect("a picture").len() > 10_000,
            "{name} shows something"
        );
    }
    assert_eq!(
        ann.run("document.documentElement.dataset.theme").await,
        Value::from("light")
    );
    assert_eq!(
        night.run("document.documentElement.dataset.theme").await,
        Value::from("dark")
    );
    for page in [&ann, &night, &phone] {
        assert_eq!(page.complaints(), Vec::<String>::new());
    }
    browser.close().await;
}

/// The middle of what a page sees, board pixels.
async fn middle_of(page: &Page, screen: Screen) -> (f64, f64) {
    let number = async |key: &str| page.state(key).await.as_f64().unwrap_or(f64::NAN);
    let half = 0.5 / number("zoom").await;
    (
        number("left").await + f64::from(screen.width) * half,
        number("top").await + f64::from(screen.height) * half,
    )
}

/// Waits until a page looks where another one does.
async fn wait_for_middle(page: &Page, screen: Screen, (x, y): (f64, f64)) {
    let (width, height) = (screen.width, screen.height);
    page.wait_for_state(
        &format!("a view around {x}, {y}"),
        &format!(
            "Math.hypot(state.left + {width} / 2 / state.zoom - {x}, state.top + {height} / 2 / state.zoom - {y}) < 2"
        ),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_sees_what_the_followed_sees() {
    let server = serve().await;
    let links = server.create_board().await;
    let address = server.page(links.id, links.edit);
    let browser = Browser::launch().await;
    let ann = visit(&browser, &address, Screen::DESKTOP).await;
    let night = Screen::DESKTOP.in_the_dark();
    let bob = visit(&browser, &address, night).await;
    let phone = visit(&browser, &address, Screen::PHONE).await;
    for page in [&ann, &bob, &phone] {
        page.wait_for_state("everybody", "state.sessions === 3")
            .await;
    }
    // Far from everybody else.
    for _ in 0..20 {
        ann.wheel((600.0, 400.0), (900.0, 700.0), 0).await;
    }
    ann.draw(&curve((300.0, 300.0), (800.0, 340.0))).await;
    ann.wait_for_data("saved", "saved").await;
    let far = middle_of(&ann, Screen::DESKTOP).await;
    assert!(far.0 > 10_000.0, "{far:?}");
    let name = ann
        .run("document.querySelector('.face').title")
        .await
        .as_str()
        .expect("a name")
        .to_owned();
    for (page, screen) in [(&bob, night), (&phone, Screen::PHONE)] {
        page.click("people").await;
        let row = format!(
            "[...document.querySelectorAll('.person.row')].find((row) => row.innerText.includes('{name}'))"
        );
        let id = page.run(&format!("{row}.dataset.testid")).await;
        page.click(id.as_str().expect("the row of Ann")).await;
        wait_for_middle(page, screen, far).await;
        assert_eq!(
            page.run(&format!("{row}.ariaPressed")).await,
            Value::from("true")
        );
        page.run("dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))")
            .await;
        assert!(
            page.shows("following").await,
            "the first Escape closes the list"
        );
    }
    ann.point_at(640.0, 420.0).await;
    for page in [&bob, &phone] {
        wait_for_strokes(page, 1).await;
        page.wait_for_state("Ann's cursor", "state.cursors === 1 && state.complete")
            .await;
    }
    let folder = artifacts();
    bob.save_screenshot(&folder.join("following-dark.png"))
        .await;
    phone
        .save_screenshot(&folder.join("following-phone.png"))
        .await;
    // It goes on, and an own way ends it.
    ann.wheel((600.0, 400.0), (-500.0, -300.0), CONTROL).await;
    ann.wheel((600.0, 400.0), (-500.0, -300.0), 0).await;
    let there = middle_of(&ann, Screen::DESKTOP).await;
    wait_for_middle(&bob, night, there).await;
    wait_for_middle(&phone, Screen::PHONE, there).await;
    bob.wheel((600.0, 400.0), (300.0, 0.0), 0).await;
    phone
        .run("dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }))")
        .await;
    for page in [&bob, &phone] {
        page.wait_for(
            "nobody who is followed",
            "!document.querySelector('[data-testid=following]')",
        )
        .await;
    }

    // Who presents is seen by those who look elsewhere.
    let away = middle_of(&bob, night).await;
    for page in [&ann, &bob] {
        page.click("people").await;
    }
    ann.click("present").await;
    ann.wait_for(
        "a button that is pressed",
        "document.querySelector('[data-testid=present]').ariaPressed === 'true'",
    )
    .await;
    bob.wait_for(
        "Ann marked",
        "[...document.querySelectorAll('.person.row .mark')].some((mark) => mark.innerText === 'presents')",
    )
    .await;
    for _ in 0..20 {
        ann.wheel((600.0, 400.0), (900.0, 700.0), 0).await;
    }
    ann.point_at(600.0, 400.0).await;
    for page in [&bob, &phone] {
        page.wait_for_state("the presenter's cursor", "state.cursors === 1")
            .await;
    }
    assert_eq!(middle_of(&bob, night).await, away);
    ann.save_screenshot(&folder.join("presenting-light.png"))
        .await;
    bob.save_screenshot(&folder.join("people-dark.png")).await;
    for page in [&ann, &bob, &phone] {
        assert_eq!(page.complaints(), Vec::<String>::new());
    }
    browser.close().await;
}

/// Speaks WebTransport by hand from our own page, without the client, and gives the code and the words of the close.
async fn closed_after(what_it_does: &str) -> Value {
    let server = ServerProcess::start().await;
    let (url, hashes) = server.addresses().await.expect("the way in");
    let hash = hashes.first().expect("a certificate of its own making");
    let browser = Browser::launch().await;
    let page = browser.open(server.url(), Screen::DESKTOP).await;
    let closed = page
        .run(&format!(
            "(async () => {{
                const value = Uint8Array.from(atob('{hash}'), (c) => c.charCodeAt(0));
                const transport = new WebTransport('{url}', {{
                    serverCertificateHashes: [{{ algorithm: 'sha-256', value }}],
                }});
                await transport.ready;
                {what_it_does}
                const closed = await transport.closed;
                return [closed.closeCode, closed.reason];
            }})()"
        ))
        .await;
    browser.close().await;
    closed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_can_read_why_its_session_was_closed() {
    let closed = closed_after(
        "const stream = await transport.createBidirectionalStream();
        await stream.writable.getWriter().write(new Uint8Array([3, 0, 0, 0, 250, 1, 2]));",
    )
    .await;
    let reason = DisconnectReason::Malformed;
    assert_eq!(closed, json!([reason.code(), reason.to_string()]));
}
