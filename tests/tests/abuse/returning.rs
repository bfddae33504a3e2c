//! Returning: whoever was let go for reading too slowly goes on with what they hold. They are told what has changed
//! meanwhile and not the board again, and what they drew while nothing reached them counts once.

use std::time::Instant;

use chalkboard_client::bridge::{SaveState, TransportKind};
use chalkboard_client::client::{Client, ClientOptions};
use chalkboard_client::native::{Link, LinkError};
use chalkboard_shared::wire::{ClientMessage, ServerMessage};
use chalkboard_shared::{BoardRect, DisconnectReason, InkPoint, Op, StrokeId};
use chalkboard_tests::dice::Dice;
use chalkboard_tests::waiting::{PATIENCE, wait_until, within};

use super::scene::{MYSELF, STYLE, Scene, begin, next, stroke};

const KIND: TransportKind = TransportKind::WebTransport;

/// Strokes on the board before anybody falls behind.
const STROKES: u32 = 2048;
/// Points of each; wild ones, so that they pack badly.
const POINTS: usize = 30;
/// Strokes that are drawn by one message.
const STROKES_PER_MESSAGE: u32 = 64;
/// Of those, how many are erased and brought back over and over: what that tells is much, what it changes is little.
const CHURNED: u32 = 256;
/// Times that they are at the most: some 50 KB each, so several times what the way to a reader takes up.
const ROUNDS_MAX: u32 = 400;
/// Strokes that stay erased.
const ERASED: u32 = 10;

/// Draws the board, changes it, and waits for each answer.
struct Artist {
    link: Link,
    /// Ops so far.
    ops: u32,
}

impl Artist {
    async fn act(&mut self, ops: Vec<Op>) {
        let first = self.ops + 1;
        self.ops += ops.len() as u32;
        let message = ClientMessage::Ops {
            first,
            stamp: None,
            ops,
        };
        let sent = self.link.send(message.encode()).await;
        sent.expect("the link is there");
        loop {
            let message = next(&mut self.link).await.expect("who reads stays");
            if let ServerMessage::Ack {
                through, rejected, ..
            } = message
            {
                assert_eq!(rejected, []);
                if through == self.ops {
                    return;
                }
            }
        }
    }

    async fn draw_the_board(&mut self) {
        let mut dice = Dice::new(7);
        for _ in 0..STROKES / STROKES_PER_MESSAGE {
            let mut ops = Vec::new();
            for _ in 0..STROKES_PER_MESSAGE {
                let wild = (0..POINTS).map(|_| {
                    let at = dice.point(500);
                    InkPoint::new(at.x, at.y, dice.below(256) as u8)
                });
                ops.push(begin(&wild.collect::<Vec<_>>()));
                let counter = self.ops + ops.len() as u32;
                ops.push(Op::Finish {
                    stroke: stroke(MYSELF, counter),
                });
            }
            self.act(ops).await;
        }
    }

    /// The first strokes of the board.
    fn strokes(count: u32) -> Vec<StrokeId> {
        (0..count).map(|n| stroke(MYSELF, 1 + 2 * n)).collect()
    }
}

/// The client library on a link that is read when the test wants it.
struct Reader {
    client: Client,
    link: Link,
    started: Instant,
}

impl Reader {
    async fn join(scene: &Scene) -> Self {
        let mut client = Client::new(ClientOptions {
            board: scene.links.id,
            secret: scene.links.edit,
            key: [3; 16],
            name: "who reads when they like".to_owned(),
            color: 0,
            is_stamping: false,
        });
        client.set_view(BoardRect::EVERYTHING);
        client.connected(0.0);
        let mut reader = Self {
            client,
            link: scene.link(KIND).await,
            started: Instant::now(),
        };
        while !reader.client.is_loaded() {
            reader.send().await;
            let read = reader.read().await;
            read.expect("it is let in");
        }
        reader
    }

    fn now_ms(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1000.0
    }

    /// Sends whatever the client has to say.
    async fn send(&mut self) {
        while let Some(transmit) = self.client.poll_transmit() {
            // Nobody may be there any more.
            let _ = if transmit.reliable {
                self.link.send(transmit.frame).await
            } else {
                self.link.send_datagram(transmit.frame).await
            };
        }
    }

    async fn read(&mut self) -> Result<(), LinkError> {
        let frame = within("a frame", self.link.recv()).await?;
        let received = self.client.receive(self.now_ms(), frame);
        received.expect("the server sends readable messages");
        Ok(())
    }

    async fn draw(&mut self, n: u32) {
        let x = 160 * n.cast_signed();
        let points = [InkPoint::new(x, -9000, 99), InkPoint::new(x, -9900, 99)];
        let stroke = self.client.begin_stroke(STYLE, &points);
        self.client.finish_stroke(stroke);
        self.send().await;
    }

    /// Reads what still comes until the link ends; answers why it did.
    async fn read_to_the_end(&mut self) -> Option<DisconnectReason> {
        loop {
            if let Err(error) = self.read().await {
                return error.reason();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_too_slow_comes_back_to_what_they_lack_and_no_more() {
    let scene = Scene::set().await;
    let (link, _) = scene.guest(KIND, scene.links.edit, 1).await;
    let mut artist = Artist { link, ops: 0 };
    artist.draw_the_board().await;
    let mut reader = Reader::join(&scene).await;

    // From here on the reader sends and does not read. It is told of its first strokes, and never of the last ones.
    let mut drawn = 0;
    let is_let_go = async || scene.count("sessions_too_slow").await == 1;
    while !is_let_go().await {
        assert!(drawn < ROUNDS_MAX, "nobody is let go");
        drawn += 1;
        reader.draw(drawn).await;
        wait_until("the reader's stroke to count", async || {
            let board = scene.server.inspect(&scene.links).await.ok()?;
            let has_come = board.strokes == u64::from(STROKES + drawn);
            (has_come || is_let_go().await).then_some(())
        })
        .await;
        let strokes = || Artist::strokes(CHURNED);
        artist.act(vec![Op::Erase { strokes: strokes() }]).await;
        artist.act(vec![Op::Restore { strokes: strokes() }]).await;
        // Whoever reads is not to fall behind.
        let position = scene.server.inspect(&scene.links).await;
        let position = position.expect("an answer").position;
        let follows = scene
            .bystander
            .wait_for(PATIENCE, move |client| client.position().0 >= position);
        follows.await.expect("the bystander is served");
    }
    let reason = reader.read_to_the_end().await;
    assert_eq!(reason, Some(DisconnectReason::TooSlow));
    let held = reader.client.position();
    let SaveState::Local { pending } = reader.client.save_state() else {
        panic!("all was answered: {:?}", reader.client.save_state());
    };
    assert!(
        pending < 2 * drawn,
        "nothing was answered, so it has not read at all"
    );

    // What it misses altogether.
    let strokes = Artist::strokes(ERASED);
    artist.act(vec![Op::Erase { strokes }]).await;
    scene.check_bystander("a reader who was too slow").await;

    let now_ms = reader.now_ms();
    reader.client.disconnected(now_ms);
    let back = scene.doors.adopt(KIND, reader.client);
    let has_caught_up =
        |client: &Client| client.is_loaded() && client.save_state() == SaveState::Saved;
    let returned = back.wait_for(PATIENCE, has_caught_up).await;
    returned.expect("it gets in again, and its strokes are saved");
    let board = scene.server.inspect(&scene.links).await;
    let board = board.expect("an answer");
    assert!(held.0 < board.position);
    let expected = STROKES - ERASED + drawn + 1;
    assert_eq!(
        board.strokes,
        u64::from(expected),
        "each of the reader's {drawn} strokes counts once"
    );
    let digest = board.digest.clone();
    let agrees = back.wait_for(PATIENCE, move |client| {
        client.digest().to_string() == digest
    });
    agrees.await.expect("its board is the room's");
    let resumed = back.with(|client, _| (client.load(), client.actor()));
    let (resumed, reader) = resumed.await.expect("it is there");
    assert!(resumed.is_resumed, "{} bytes came", resumed.bytes);

    // Somebody who holds nothing.
    let newcomer = scene.doors.client(
        KIND,
        scene.links.id,
        scene.links.view,
        BoardRect::EVERYTHING,
        9,
    );
    let joined = newcomer.wait_for(PATIENCE, Client::is_loaded).await;
    joined.expect("a newcomer gets in");
    let whole = newcomer.with(move |client, _| {
        let strokes = client.board().strokes_in(BoardRect::EVERYTHING);
        let own = strokes
            .iter()
            .filter(|stroke| Some(stroke.id.actor()) == reader);
        (client.load().bytes, own.count())
    });
    let (whole_bytes, own) = whole.await.expect("it is there");
    assert_eq!(own, drawn as usize);
    assert!(
        resumed.bytes * 4 < whole_bytes,
        "{} bytes to come back, {whole_bytes} to join",
        resumed.bytes
    );
    scene.end().await;
}
