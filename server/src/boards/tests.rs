//! Boards, room threads and log together, over a store in memory and without sockets.

use std::sync::Arc;

use chalkboard_shared::ink::InkPoint;
use chalkboard_shared::op::InkRun;
use chalkboard_shared::stroke::{Nib, StrokeStyle};
use chalkboard_shared::wire::{Profile, ServerMessage};
use chalkboard_shared::{BoardPoint, BoardRect, Op};
use chalkboard_simulation::Input;

use super::*;
use crate::outbox::Outbox;
use crate::storage::LogWriter;
use crate::storage::repo::Memory;

struct Host {
    boards: Arc<Boards>,
    index: Arc<RoomIndex>,
    counters: Arc<Counters>,
    log: LogWriter,
}

impl Host {
    fn new() -> Self {
        let index = Arc::new(RoomIndex::default());
        let told = index.clone();
        let log = LogWriter::start(
            Memory::new(),
            move |board, position| told.durable(board, position),
            |_| {},
        )
        .expect("the log starts");
        Self::on(log, index)
    }

    fn on(log: LogWriter, index: Arc<RoomIndex>) -> Self {
        let counters = Arc::new(Counters::default());
        let boards = Boards::start(index.clone(), log.handle(), counters.clone(), 2, 1000)
            .map(Arc::new)
            .expect("threads start");
        Self {
            boards,
            index,
            counters,
            log,
        }
    }

    /// Another process's life on the same store.
    fn restarted(self) -> Self {
        self.boards.stop();
        Self::on(self.log, self.index)
    }

    async fn join(
        &self,
        board: BoardId,
        secret: Secret,
        key: u8,
    ) -> Result<(Membership, Arc<Outbox>), DisconnectReason> {
        self.join_by(board, secret, key, Instant::now()).await
    }

    /// By a connection that came then.
    async fn join_by(
        &self,
        board: BoardId,
        secret: Secret,
        key: u8,
        came: Instant,
    ) -> Result<(Membership, Arc<Outbox>), DisconnectReason> {
        let outbox = Arc::new(Outbox::default());
        let hello = Hello {
            board,
            secret,
            key: [key; 16],
            profile: Profile::default(),
            view: BoardRect::from_corners(BoardPoint::new(0, 0), BoardPoint::new(999, 999)),
            resume: None,
        };
        let membership = self
            .boards
            .join(hello, came, Outlet::Queue(outbox.clone()))
            .await?;
        Ok((membership, outbox))
    }
}

/// Messages out of an outbox until one is as wanted.
async fn wait_for(outbox: &Outbox, is_it: impl Fn(&ServerMessage) -> bool) -> ServerMessage {
    loop {
        let batch = outbox.next().await;
        for frame in batch.reliable {
            let message = ServerMessage::decode(frame).expect("a message of the server");
            if is_it(&message) {
                return message;
            }
        }
        assert_eq!(batch.end, None, "ended before it came");
    }
}

/// Reads until the session ends.
async fn end_of(outbox: &Outbox) -> DisconnectReason {
    loop {
        if let Some(reason) = outbox.next().await.end {
            return reason;
        }
    }
}

async fn draw(member: &Membership) {
    let style = StrokeStyle {
        nib: Nib::Pen,
        color: 0,
        width: 64,
    };
    let ink = InkRun::new(vec![InkPoint::new(10, 10, 128)]);
    let input = Input::Ops {
        session: member.session,
        first: 1,
        stamp: None,
        ops: vec![Op::Begin { style, ink }],
    };
    member
        .door
        .send(Message::Input(input), 100)
        .await
        .expect("the room is open");
}

#[tokio::test]
async fn however_many_come_at_once_a_room_is_loaded_once() {
    let host = Host::new();
    let board = host.boards.create().expect("a board");
    let joins = (0..20).map(|key| host.join(board.id, board.edit_secret, key));
    let members: Vec<_> = futures::future::join_all(joins)
        .await
        .into_iter()
        .collect::<Result<_, _>>()
        .expect("everybody comes in");
    assert_eq!(host.counters.rooms_loaded.get(), 1);
    let (_, inspection) = host
        .boards
        .inspect(board.id, board.view_secret)
        .await
        .expect("a room");
    assert_eq!(inspection.sessions, 20);
    drop(members);
    // The question comes after the goodbyes.
    let (_, inspection) = host
        .boards
        .inspect(board.id, board.view_secret)
        .await
        .expect("a room");
    assert_eq!(inspection.sessions, 0);
    assert_eq!(host.counters.sessions_ended.get(), 20);
    host.boards.stop();
}

#[tokio::test]
async fn secrets_decide_and_only_editors_get_the_view_secret() {
    let host = Host::new();
    let board = host.boards.create().expect("a board");
    for (secret, expected) in [
        (board.edit_secret, (Rights::Edit, Some(board.view_secret))),
        (board.view_secret, (Rights::View, None)),
    ] {
        let (_member, outbox) = host.join(board.id, secret, 1).await.expect("comes in");
        let ServerMessage::Welcome(welcome) =
            wait_for(&outbox, |m| matches!(m, ServerMessage::Welcome(_))).await
        else {
            unreachable!("that was waited for");
        };
        assert_eq!((welcome.rights, welcome.view_secret), expected);
    }
    for (id, secret) in [
        (board.id, Secret([1; 16])),
        (BoardId([1; 16]), board.edit_secret),
    ] {
        let refused = host.join(id, secret, 1).await.err();
        assert_eq!(refused, Some(DisconnectReason::NoAccess));
    }
    host.boards.stop();
}

#[tokio::test]
async fn what_was_drawn_is_saved_and_there_after_a_restart() {
    let host = Host::new();
    let board = host.boards.create().expect("a board");
    let (member, outbox) = host
        .join(board.id, board.edit_secret, 1)
        .await
        .expect("comes in");
    draw(&member).await;
    wait_for(&outbox, |m| *m == ServerMessage::Durable(Position(1))).await;
    let inspect = async |host: &Host| {
        let (_, inspection) = host
            .boards
            .inspect(board.id, board.view_secret)
            .await
            .expect("a room");
        (inspection.digest, inspection.position, inspection.durable)
    };
    let before = inspect(&host).await;
    assert_eq!((before.1, before.2), (Position(1), Position(1)));

    let host = host.restarted();
    assert_eq!(end_of(&outbox).await, DisconnectReason::Stopping);
    assert_eq!(inspect(&host).await, before);
    host.boards.stop();
}

#[tokio::test]
async fn a_stop_saves_what_had_come_in_and_lets_nobody_in() {
    let host = Host::new();
    let board = host.boards.create().expect("a board");
    let (member, outbox) = host
        .join(board.id, board.edit_secret, 1)
        .await
        .expect("comes in");
    draw(&member).await;
    host.boards.stop();
    wait_for(&outbox, |m| *m == ServerMessage::Durable(Position(1))).await;
    assert_eq!(end_of(&outbox).await, DisconnectReason::Stopping);
    let refused = host.join(board.id, board.edit_secret, 2).await.err();
    assert_eq!(refused, Some(DisconnectReason::Stopping));
    let stored = host.log.handle().load(board.id).expect("can be read");
    assert_eq!(stored.end(), Position(1));
    assert!(stored.snapshot.is_some(), "the next load is quick");
}

#[tokio::test]
async fn a_room_that_the_store_refuses_is_loaded_again() {
    let host = Host::new();
    let board = host.boards.create().expect("a board");
    let (_member, outbox) = host
        .join(board.id, board.edit_secret, 1)
        .await
        .expect("comes in");
    host.index.trouble(&Trouble::BoardRefused {
        board: board.id,
        message: "for a test".to_owned(),
    });
    assert_eq!(end_of(&outbox).await, DisconnectReason::Storage);
    let again = host.join(board.id, board.edit_secret, 1).await;
    assert!(again.is_ok());
    assert_eq!(host.counters.rooms_loaded.get(), 2);
    host.boards.stop();
}

#[tokio::test]
async fn a_session_that_reads_nothing_is_ended_and_the_room_goes_on() {
    let host = Host::new();
    let board = host.boards.create().expect("a board");
    let (_slow, slow_outbox) = host
        .join(board.id, board.view_secret, 1)
        .await
        .expect("comes in");
    // As if its connection had stood still for long.
    for bytes in [1024, 1] {
        while slow_outbox.push(vec![0; bytes].into()).is_ok() {}
    }
    let (member, outbox) = host
        .join(board.id, board.edit_secret, 2)
        .await
        .expect("comes in");
    draw(&member).await;
    wait_for(&outbox, |m| *m == ServerMessage::Durable(Position(1))).await;
    assert_eq!(end_of(&slow_outbox).await, DisconnectReason::TooSlow);
    assert_eq!(host.counters.sessions_too_slow.get(), 1);
    host.boards.stop();
}

#[tokio::test]
async fn a_hello_that_comes_late_on_a_link_given_up_does_not_end_the_newer_one() {
    let host = Host::new();
    let board = host.boards.create().expect("a board");
    let older = Instant::now();
    let newer = older + Duration::from_millis(5);
    let join = |came| host.join_by(board.id, board.edit_secret, 1, came);
    let (member, outbox) = join(newer).await.expect("comes in");
    let (_late, late_outbox) = join(older).await.expect("is heard");
    assert_eq!(end_of(&late_outbox).await, DisconnectReason::Replaced);
    draw(&member).await;
    wait_for(&outbox, |m| *m == ServerMessage::Durable(Position(1))).await;
    // One that comes later still takes its place.
    let (_latest, _) = join(Instant::now() + Duration::from_secs(1))
        .await
        .expect("comes in");
    assert_eq!(end_of(&outbox).await, DisconnectReason::Replaced);
    host.boards.stop();
}
