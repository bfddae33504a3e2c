//! The stage for abuse: a server, a board, somebody well-behaved on it, and links for those who are not.

use bytes::{BufMut as _, Bytes, BytesMut};
use chalkboard_client::bridge::{SaveState, TransportKind};
use chalkboard_client::native::{Link, LinkError, NativeClient};
use chalkboard_shared::op::InkRun;
use chalkboard_shared::stroke::{Nib, StrokeStyle};
use chalkboard_shared::wire::frame;
use chalkboard_shared::wire::{ClientMessage, Hello, Profile, ServerMessage, Welcome};
use chalkboard_shared::{
    ActorId, BoardId, BoardRect, DisconnectReason, InkPoint, Op, OpId, Secret, StrokeId,
};
use chalkboard_tests::server_process::connect::Doors;
use chalkboard_tests::server_process::{BoardLinks, ServerProcess};
use chalkboard_tests::waiting::{PATIENCE, within};

pub(super) const KINDS: [TransportKind; 2] =
    [TransportKind::WebTransport, TransportKind::WebSocket];

/// The most memory that the server may ever have held here: some 20 MB it needs to run at all, the rest is room for what
/// a few hostile peers can make it keep: 4 MiB of messages that wait, decoded into a few times as much, and 1 MiB for
/// each reader who is behind.
const MEMORY_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Names one's own strokes in messages.
pub(super) const MYSELF: ActorId = ActorId(0);

pub(super) const STYLE: StrokeStyle = StrokeStyle {
    nib: Nib::Pen,
    color: 0x20_4060,
    width: 48,
};

pub(super) fn begin(points: &[InkPoint]) -> Op {
    Op::Begin {
        style: STYLE,
        ink: InkRun::new(points.to_vec()),
    }
}

pub(super) const fn stroke(actor: ActorId, counter: u32) -> StrokeId {
    StrokeId(OpId { actor, counter })
}

pub(super) fn hello(board: BoardId, secret: Secret, number: u8) -> Bytes {
    let hello = Hello {
        board,
        secret,
        key: [number; 16],
        profile: Profile {
            name: format!("guest {number}"),
            color: 0,
        },
        view: BoardRect::EVERYTHING,
        resume: None,
    };
    ClientMessage::Hello(Box::new(hello)).encode()
}

/// A server, a board, and somebody well-behaved on it.
pub(super) struct Scene {
    pub(super) server: ServerProcess,
    pub(super) doors: Doors,
    pub(super) links: BoardLinks,
    pub(super) bystander: NativeClient,
}

impl Scene {
    pub(super) async fn set() -> Self {
        let server = ServerProcess::start().await;
        let doors = server.doors().await.expect("the ways in");
        let links = server.create_board().await;
        let kind = TransportKind::WebTransport;
        let bystander = doors.client(kind, links.id, links.edit, BoardRect::EVERYTHING, 200);
        let opened = bystander.wait_for(PATIENCE, chalkboard_client::Client::is_loaded);
        opened.await.expect("the bystander gets in");
        Self {
            server,
            doors,
            links,
            bystander,
        }
    }

    pub(super) async fn link(&self, kind: TransportKind) -> Link {
        self.doors.link(kind, None).await.expect("a link")
    }

    /// A guest who has been let in.
    pub(super) async fn guest(
        &self,
        kind: TransportKind,
        secret: Secret,
        number: u8,
    ) -> (Link, Welcome) {
        let mut link = self.link(kind).await;
        link.send(hello(self.links.id, secret, number))
            .await
            .expect("the hello goes out");
        let message = next(&mut link).await.expect("a welcome");
        let ServerMessage::Welcome(welcome) = message else {
            panic!("a welcome comes first, not {message:?}");
        };
        (link, *welcome)
    }

    /// Draws something as the bystander and waits until it is saved.
    pub(super) async fn check_bystander(&self, after: &str) {
        let drawn = self.bystander.with(|client, _| {
            let stroke = client.begin_stroke(
                STYLE,
                &[InkPoint::new(0, 0, 99), InkPoint::new(800, 160, 99)],
            );
            client.finish_stroke(stroke);
        });
        drawn.await.expect("the bystander is there");
        let saved = self
            .bystander
            .wait_for(PATIENCE, |client| client.save_state() == SaveState::Saved);
        saved
            .await
            .unwrap_or_else(|error| panic!("the bystander is not served after {after}: {error}"));
    }

    /// A counter of the server's.
    pub(super) async fn count(&self, name: &str) -> u64 {
        let answer = self.server.get("/metrics", &[]).await.expect("an answer");
        let text = answer.text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("chalkboard_{name}_total ")));
        line.and_then(|value| value.parse().ok())
            .unwrap_or_else(|| panic!("no counter {name} in {text}"))
    }

    /// Nothing has happened to the bystander, and its board is the room's.
    pub(super) async fn end(self) {
        self.check_bystander("everything").await;
        let events = self
            .bystander
            .take_events()
            .await
            .expect("the bystander is there");
        let opened = events
            .iter()
            .filter(|event| matches!(event, chalkboard_client::Event::Opened { .. }))
            .count();
        assert!(
            opened <= 1,
            "the bystander was thrown out in between: {events:?}"
        );
        assert_eq!(self.bystander.closed().await, Ok(None));
        // Others' strokes may still be on their way to it.
        let digest = self
            .server
            .inspect(&self.links)
            .await
            .expect("an answer")
            .digest;
        let agrees = self.bystander.wait_for(PATIENCE, move |client| {
            client.digest().to_string() == digest
        });
        agrees.await.expect("the bystander's board is the room's");
        if let Some((_, most)) = self.server.memory_bytes() {
            assert!(most < MEMORY_BYTES_MAX, "the server has held {most} bytes");
        }
    }
}

pub(super) async fn next(link: &mut Link) -> Result<ServerMessage, LinkError> {
    let frame = within("a frame", link.recv()).await?;
    Ok(ServerMessage::decode(frame).expect("the server sends readable messages"))
}

/// Reads until the server closes: the reason in its goodbye, and the close's own code and words.
async fn ending(link: &mut Link) -> (Option<DisconnectReason>, u32, String) {
    let mut goodbye = None;
    loop {
        match next(link).await {
            Ok(ServerMessage::Bye(reason)) => goodbye = Some(reason),
            Ok(_) => {}
            Err(LinkError::Closed { code, reason }) => return (goodbye, code, reason),
            Err(error) => panic!("no close with a reason: {error}"),
        }
    }
}

/// The connection is closed for this reason, where nothing else than the close itself gets through. The library's own
/// task may be the first to see that; then it takes the close for its own and the words are lost, but a close it is:
/// without one the connection would time out.
pub(super) async fn expect_close(link: &mut Link, expected: DisconnectReason, what: &str) {
    loop {
        match next(link).await {
            Ok(_) => {}
            Err(LinkError::Closed { code, reason }) => {
                assert_eq!(
                    (code, reason),
                    (expected.code(), expected.to_string()),
                    "{what}"
                );
                return;
            }
            Err(LinkError::Broken(words)) if words.ends_with(": closed") => return,
            Err(error) => panic!("{what}: not closed: {error}"),
        }
    }
}

/// The link ends for this reason, told by code and in words.
pub(super) async fn expect_ending(link: &mut Link, expected: DisconnectReason, what: &str) {
    let kind = link.kind();
    let (goodbye, code, words) = ending(link).await;
    assert_eq!(
        (code, words),
        (expected.code(), expected.to_string()),
        "{what} over {kind:?}"
    );
    assert!(
        goodbye.is_none_or(|goodbye| goodbye == expected),
        "{what} over {kind:?}: {goodbye:?}"
    );
}

/// The link still works: a ping is answered.
pub(super) async fn expect_alive(link: &mut Link) -> Vec<ServerMessage> {
    let nonce = 77_123;
    link.send(ClientMessage::Ping(nonce).encode())
        .await
        .expect("the link is there");
    let mut seen = Vec::new();
    loop {
        match next(link).await.expect("the link is there") {
            ServerMessage::Pong(answer) if answer == nonce => return seen,
            other => seen.push(other),
        }
    }
}

/// Bytes as they travel: behind their length on a stream, alone as a message.
pub(super) fn framed(kind: TransportKind, body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    if kind == TransportKind::WebTransport {
        bytes.put_slice(&frame::head(body));
    }
    bytes.put_slice(body);
    bytes.freeze()
}
