//! The client against a small room: prediction, rebase, resending, undo, coverage, pace, and random interleavings.

use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::limits::POINTS_PER_STROKE_MAX;
use chalkboard_shared::op::InkRun;
use chalkboard_shared::presence::PresenceStage;
use chalkboard_shared::stroke::Nib;
use chalkboard_shared::wire::{ServerMessage, Update};
use chalkboard_shared::{InkPoint, Op, OpEntry, OpId, Stroke, StrokeStyle};
use proptest::prelude::*;

use super::fake_room::{VIEW_SECRET, World, options};
use super::*;

const STYLE: StrokeStyle = StrokeStyle {
    nib: Nib::Pen,
    color: 0x22_4466,
    width: 64,
};

fn line(x: i32, y: i32, count: usize) -> Vec<InkPoint> {
    let point = |n: i32| InkPoint::new((x + n % 900) * 16, (y + n / 900) * 16, 128);
    (0..count as i32).map(point).collect()
}

fn draw(client: &mut Client, x: i32, y: i32) -> StrokeId {
    let stroke = client.begin_stroke(STYLE, &line(x, y, 3));
    client.extend_stroke(stroke, &line(x + 3, y, 4));
    client.finish_stroke(stroke);
    stroke
}

fn visible(client: &Client) -> usize {
    client.board().len()
}

fn events(client: &mut Client) -> Vec<Event> {
    std::iter::from_fn(|| client.poll_event()).collect()
}

fn px(x0: i32, y0: i32, x1: i32, y1: i32) -> BoardRect {
    BoardRect::from_corners(
        BoardPoint::new(x0 * 16, y0 * 16),
        BoardPoint::new(x1 * 16, y1 * 16),
    )
}

fn assert_converged(world: &World) {
    for client in &world.clients {
        assert_eq!(client.digest(), world.room.digest());
        // Nothing is predicted any more: what is seen is what is confirmed.
        let seen = client.board().strokes_in(BoardRect::EVERYTHING);
        let mut digest = Digest::default();
        for stroke in &seen {
            digest.replace(0, stroke.digest());
        }
        assert_eq!(digest, client.digest());
        assert_eq!(seen.len(), client.board().len());
    }
}

#[test]
fn ink_shows_at_once_and_keeps_its_look_when_it_is_confirmed() {
    let mut world = World::new(2);
    let stroke = world.clients[0].begin_stroke(STYLE, &line(10, 10, 3));
    world.clients[0].extend_stroke(stroke, &line(13, 10, 5));
    let seen = world.clients[0].board().get(stroke).expect("at once");
    assert_eq!((seen.point_count, seen.z), (8, Position(0)));
    let changes = world.clients[0].board_mut().take_changes();
    assert_eq!(changes.len(), 1);
    assert!(changes[0].before.is_empty() && !changes[0].grown_only);

    world.turn();
    let seen = world.clients[0].board().get(stroke).expect("confirmed");
    assert_eq!((seen.point_count, seen.z), (8, Position(1)));
    // It only got its place in the order, on top: nothing must be drawn anew.
    let changes = world.clients[0].board_mut().take_changes();
    assert!(
        changes.iter().all(|c| c.grown_only && c.before == c.after),
        "{changes:?}"
    );

    world.clients[0].extend_stroke(stroke, &line(18, 10, 2));
    world.clients[0].finish_stroke(stroke);
    let changes = world.clients[0].board_mut().take_changes();
    assert!(changes[0].grown_only);
    world.settle();
    assert_eq!(
        world.clients[1].board().get(stroke).map(|s| s.point_count),
        Some(10)
    );
    assert_converged(&world);
}

#[test]
fn a_prediction_is_rebased_over_what_others_do_meanwhile() {
    let mut world = World::new(2);
    let stroke = draw(&mut world.clients[0], 10, 10);
    world.settle();
    // The first client erases and shows again while the room hears of a new style from somebody else first.
    world.clients[0].erase(&[stroke]);
    assert_eq!(visible(&world.clients[0]), 0);
    let red = StrokeStyle {
        color: 0xff0000,
        ..STYLE
    };
    let restyle = OpEntry {
        position: world.clients[0].position().next(),
        id: OpId {
            actor: ActorId(55),
            counter: 1,
        },
        op: Op::Restyle {
            strokes: vec![stroke],
            style: red,
        },
    };
    let updates = vec![Update::Op(restyle, None)];
    let frame = ServerMessage::Updates {
        tick: chalkboard_shared::Tick(1),
        updates,
    };
    world.clients[0]
        .receive(1.0, frame.encode())
        .expect("an update");
    assert_eq!(visible(&world.clients[0]), 0, "still erased");
    assert!(world.clients[0].undo());
    let seen = world.clients[0].board().get(stroke).expect("shown again");
    assert_eq!((seen.style.value, seen.point_count), (red, 7));
}

#[test]
fn a_refused_op_rolls_back_and_is_not_undoable() {
    let mut world = World::new(1);
    events(&mut world.clients[0]);
    world.room.refuse_next = Some(RejectReason::BoardFull);
    let stroke = draw(&mut world.clients[0], 10, 10);
    assert_eq!(visible(&world.clients[0]), 1);
    world.turn();
    assert_eq!(visible(&world.clients[0]), 0);
    assert!(world.clients[0].board().look_up(stroke).is_none());
    let told = events(&mut world.clients[0]);
    assert!(
        told.contains(&Event::Refused(RejectReason::BoardFull)),
        "{told:?}"
    );
    assert!(!world.clients[0].undo());
    let next = draw(&mut world.clients[0], 50, 50);
    world.settle();
    assert!(world.clients[0].board().get(next).is_some());
    assert_converged(&world);
}

#[test]
fn what_the_room_has_not_answered_is_sent_again_and_counts_once() {
    let mut world = World::new(2);
    let first = draw(&mut world.clients[0], 10, 10);
    // The room takes it, but the link breaks before the answer comes.
    world.upload(0);
    world.room.step(256);
    world.cut(0);
    let second = draw(&mut world.clients[0], 10, 60);
    assert!(matches!(
        world.clients[0].save_state(),
        SaveState::Local { .. }
    ));
    world.connect(0);
    // Between welcome and chunks nothing may flicker.
    for _ in 0..20 {
        world.download(0, 1);
        assert_eq!(visible(&world.clients[0]), 2);
        assert_eq!(
            world.clients[0].board().get(first).map(|s| s.point_count),
            Some(7)
        );
    }
    world.settle();
    assert_eq!(world.clients[0].save_state(), SaveState::Saved);
    let counts = [first, second].map(|id| world.clients[1].board().get(id).map(|s| s.point_count));
    assert_eq!(counts, [Some(7), Some(7)]);
    assert_converged(&world);
}

#[test]
fn a_server_that_forgets_what_it_had_not_saved_is_told_again() {
    let mut world = World::new(2);
    draw(&mut world.clients[0], 10, 10);
    world.settle();
    let second = draw(&mut world.clients[0], 10, 40);
    world.turn();
    assert!(matches!(
        world.clients[0].save_state(),
        SaveState::Sent { .. }
    ));
    world.crash();
    assert_eq!(visible(&world.clients[0]), 2);
    world.connect(1);
    world.turn();
    assert_eq!(
        visible(&world.clients[1]),
        1,
        "the room has lost the second"
    );
    world.connect(0);
    world.settle();
    assert_eq!(
        world.clients[1].board().get(second).map(|s| s.point_count),
        Some(7)
    );
    assert_converged(&world);
}

#[test]
fn numbers_of_refused_ops_that_a_crash_forgot_leave_no_gap() {
    let mut world = World::new(1);
    draw(&mut world.clients[0], 10, 10);
    world.settle();
    world.room.refuse_next = Some(RejectReason::BoardFull);
    draw(&mut world.clients[0], 20, 20);
    world.settle();
    world.crash();
    draw(&mut world.clients[0], 30, 30);
    world.connect(0);
    events(&mut world.clients[0]);
    // The fake room insists on numbers without gaps.
    world.settle();
    assert_eq!(visible(&world.clients[0]), 2);
    assert!(
        !events(&mut world.clients[0])
            .iter()
            .any(|e| matches!(e, Event::Refused(_)))
    );
    assert_converged(&world);
}

#[test]
fn drawing_before_the_first_connection_is_kept() {
    let mut world = World::of(vec![Client::new(options(1, Secret([1; 16])))]);
    let early = world.clients[0].begin_stroke(STYLE, &line(5, 5, 3));
    assert_eq!(visible(&world.clients[0]), 1);
    world.connect(0);
    world.download(0, usize::MAX);
    assert_eq!(visible(&world.clients[0]), 1);
    // The caller goes on with the name that it knows.
    world.clients[0].extend_stroke(early, &line(8, 5, 4));
    world.clients[0].finish_stroke(early);
    world.settle();
    assert_eq!(
        world
            .room
            .board
            .0
            .values()
            .map(|s| s.point_count)
            .collect::<Vec<_>>(),
        [7]
    );
    assert_converged(&world);
    assert!(world.clients[0].undo());
    world.settle();
    assert_eq!(visible(&world.clients[0]), 0);
}

#[test]
fn a_second_life_of_a_key_goes_on_after_the_numbers_of_the_first() {
    let mut world = World::new(1);
    draw(&mut world.clients[0], 10, 10);
    world.settle();
    world.cut(0);
    world.clients[0] = Client::new(options(1, Secret([1; 16])));
    let early = draw(&mut world.clients[0], 30, 30);
    world.connect(0);
    world.settle();
    assert_eq!(visible(&world.clients[0]), 2);
    assert_converged(&world);
    world.clients[0].erase(&[early]);
    world.settle();
    assert_eq!(visible(&world.clients[0]), 1);
}

#[test]
fn undo_and_redo_take_back_and_bring_back_everything() {
    let mut world = World::new(2);
    let mut digests = vec![world.room.digest()];
    let mut strokes = Vec::new();
    for n in 0..6 {
        let client = &mut world.clients[0];
        if n % 3 == 2 {
            client.begin_gesture();
            client.erase(&strokes[..1]);
            client.erase(&strokes[1..2]);
            client.end_gesture();
            strokes.drain(..2);
        } else {
            strokes.push(draw(client, 10 * n, 10 * n));
        }
        world.settle();
        digests.push(world.room.digest());
    }
    for expect in digests.iter().rev().skip(1) {
        assert!(world.clients[0].undo());
        world.settle();
        assert_eq!(world.room.digest(), *expect);
    }
    assert!(!world.clients[0].undo());
    for expect in &digests[1..] {
        assert!(world.clients[0].redo());
        world.settle();
        assert_eq!(world.room.digest(), *expect);
    }
    assert!(!world.clients[0].redo());
    assert_converged(&world);
}

#[test]
fn undo_never_takes_anothers_work_away() {
    let mut world = World::new(2);
    let mine = draw(&mut world.clients[0], 10, 10);
    let kept = draw(&mut world.clients[0], 10, 40);
    world.settle();
    // I erase both; the other one restores the first by undoing an erasure of their own.
    world.clients[1].erase(&[mine]);
    world.settle();
    assert!(!world.clients[1].redo());
    world.clients[1].undo();
    world.settle();
    assert_eq!(visible(&world.clients[0]), 2);
    // The last who wrote whether `mine` shows is the other one: my undo passes over it, to nothing.
    assert!(world.clients[0].undo(), "takes back `kept`");
    world.settle();
    assert!(world.clients[0].board().get(kept).is_none());
    assert!(!world.clients[0].undo(), "`mine` is the other's to show");
    assert!(world.clients[0].board().get(mine).is_some());
    // My erasure of something that the other has erased and shown since is not mine to turn either.
    world.clients[0].erase(&[mine]);
    world.settle();
    assert!(!world.clients[1].redo());
    assert!(world.clients[0].undo());
    world.settle();
    assert_converged(&world);
}

#[test]
fn a_new_change_ends_what_could_be_redone() {
    let mut world = World::new(1);
    draw(&mut world.clients[0], 10, 10);
    world.clients[0].undo();
    draw(&mut world.clients[0], 10, 20);
    assert!(!world.clients[0].redo());
    events(&mut world.clients[0]);
    world.clients[0].undo();
    let told = events(&mut world.clients[0]);
    assert!(
        told.contains(&Event::History {
            can_undo: false,
            can_redo: true
        }),
        "{told:?}"
    );
}

#[test]
fn an_abandoned_stroke_leaves_no_step_and_no_ink() {
    let mut world = World::new(2);
    let stroke = world.clients[0].begin_stroke(STYLE, &line(0, 0, 3));
    world.turn();
    world.clients[0].abandon_stroke(stroke);
    assert_eq!(visible(&world.clients[0]), 0);
    world.settle();
    assert_eq!(visible(&world.clients[1]), 0);
    assert!(!world.clients[0].undo());
}

#[test]
fn an_erasure_can_be_undone_after_the_view_was_elsewhere() {
    let mut world = World::new(2);
    let home = px(0, 0, 1000, 700);
    world.clients[0].set_view(home);
    let stroke = draw(&mut world.clients[0], 100, 100);
    world.settle();
    world.clients[0].erase(&[stroke]);
    world.settle();
    world.clients[0].set_view(px(50_000, 0, 51_000, 700));
    world.settle();
    world.clients[0].set_view(home);
    world.settle();
    assert_eq!(world.clients[0].board().confirmed_len(), 0);
    assert!(world.clients[0].undo());
    world.settle();
    assert!(world.clients[0].board().get(stroke).is_some());
    assert_converged(&world);
}

#[test]
fn what_another_erased_meanwhile_is_not_brought_back_by_redo() {
    let mut world = World::new(2);
    let stroke = draw(&mut world.clients[0], 10, 10);
    world.settle();
    world.cut(0);
    world.clients[1].erase(&[stroke]);
    world.settle();
    world.connect(0);
    world.settle();
    assert_eq!(visible(&world.clients[0]), 0);
    assert!(!world.clients[0].undo());
    assert!(!world.clients[0].redo());
}

#[test]
fn what_leaves_the_coverage_is_dropped_and_comes_back_whole() {
    let mut world = World::new(2);
    let stroke = draw(&mut world.clients[0], 100, 100);
    world.settle();
    world.clients[1].set_view(px(20_000, 0, 21_000, 700));
    world.settle();
    assert_eq!(world.clients[1].board().confirmed_len(), 0);
    assert!(world.clients[1].board().bounds().is_empty());
    let far = draw(&mut world.clients[1], 20_100, 100);
    world.settle();
    assert!(world.clients[0].board().get(far).is_none());
    world.clients[1].set_view(px(0, 0, 1000, 700));
    world.settle();
    assert_eq!(
        world.clients[1].board().get(stroke).map(|s| s.point_count),
        Some(7)
    );
    assert!(world.clients[1].board().get(far).is_none());
}

#[test]
fn a_stroke_that_a_thinner_pen_takes_out_of_the_coverage_is_dropped_after_the_tick() {
    let mut world = World::new(1);
    let client = &mut world.clients[0];
    let edge = client.coverage().expect("is covered").rect().min;
    let id = |counter| OpId {
        actor: ActorId(55),
        counter,
    };
    let stroke = StrokeId(id(1));
    let ink = |x: i32| InkRun::new(vec![InkPoint::new(edge.x + x, 0, 128)]);
    let mut position = client.position();
    let mut tick = |n: u64, ops: Vec<(u32, Op)>| {
        let update = |(counter, op)| {
            position = position.next();
            let id = id(counter);
            Update::Op(OpEntry { position, id, op }, None)
        };
        let updates = ops.into_iter().map(update).collect();
        let tick = chalkboard_shared::Tick(n);
        ServerMessage::Updates { tick, updates }.encode()
    };
    let restyle = |width| Op::Restyle {
        strokes: vec![stroke],
        style: StrokeStyle { width, ..STYLE },
    };
    let begin = Op::Begin {
        style: STYLE,
        ink: ink(-20),
    };
    let extend = Op::Extend {
        stroke,
        ink: ink(-4),
    };
    let frames = [
        tick(1, vec![(1, begin)]),
        // It leaves and comes back within a tick, as it may while it grows.
        tick(2, vec![(2, restyle(4)), (3, extend), (4, restyle(64))]),
        tick(3, vec![(5, restyle(2))]),
    ];
    for frame in frames {
        client.receive(1.0, frame).expect("an update");
        assert!(client.board().is_confirmed(stroke));
    }
    client
        .receive(1.0, tick(4, vec![]))
        .expect("another tick has begun");
    assert!(!client.board().is_confirmed(stroke));
}

#[test]
fn ink_that_runs_into_the_coverage_counts_once() {
    let mut world = World::new(1);
    // Begun where the room does not cover, because the view has moved away meanwhile.
    world.clients[0].set_view(px(20_000, 0, 21_000, 700));
    let stroke = world.clients[0].begin_stroke(STYLE, &line(0, 0, 2));
    world.turn();
    world.turn();
    world.clients[0].extend_stroke(stroke, &line(20_100, 10, 3));
    world.turn();
    world.clients[0].extend_stroke(stroke, &line(20_200, 10, 3));
    world.settle();
    assert_eq!(
        world.clients[0].board().get(stroke).map(|s| s.point_count),
        Some(8)
    );
    assert_converged(&world);
}

#[test]
fn a_stroke_that_is_full_goes_on_in_another_as_one_step() {
    let mut world = World::new(2);
    let stroke = world.clients[0].begin_stroke(STYLE, &line(0, 0, 1));
    for n in 0..30 {
        world.clients[0].extend_stroke(stroke, &line(0, n, 700));
        world.turn();
    }
    world.clients[0].finish_stroke(stroke);
    world.settle();
    let counts: Vec<_> = world
        .room
        .board
        .0
        .values()
        .map(|s| s.point_count as usize)
        .collect();
    assert_eq!(counts.len(), 3);
    assert_eq!(counts[..2], [POINTS_PER_STROKE_MAX; 2]);
    // Each of the two seams repeats one point.
    assert_eq!(counts.iter().sum::<usize>(), 1 + 30 * 700 + 2);
    assert_converged(&world);
    assert!(world.clients[0].undo());
    assert_eq!(visible(&world.clients[0]), 0);
}

#[test]
fn a_view_link_draws_nothing() {
    let mut world = World::of(vec![
        Client::new(options(1, VIEW_SECRET)),
        Client::new(options(2, Secret([1; 16]))),
    ]);
    world.clients[0].begin_stroke(STYLE, &line(0, 0, 3));
    world.connect(0);
    world.connect(1);
    world.settle();
    assert_eq!(
        visible(&world.clients[0]),
        0,
        "what was drawn too early is taken back"
    );
    assert_eq!(world.clients[0].rights(), Some(Rights::View));
    events(&mut world.clients[0]);
    let none = draw(&mut world.clients[0], 0, 0);
    assert!(world.clients[0].board().get(none).is_none());
    let told = events(&mut world.clients[0]);
    assert_eq!(told, [Event::Refused(RejectReason::ReadOnly)]);
    let stroke = draw(&mut world.clients[1], 9, 9);
    world.settle();
    world.clients[0].erase(&[stroke]);
    world.settle();
    assert_eq!(visible(&world.clients[0]), 1);
}

#[test]
fn offline_drawing_gathers_into_few_ops_and_all_of_it_arrives() {
    let mut world = World::new(2);
    world.cut(0);
    let stroke = world.clients[0].begin_stroke(STYLE, &line(0, 0, 1));
    for n in 0..1000 {
        world.clients[0].extend_stroke(stroke, &line(n % 900, n / 900, 2));
    }
    world.clients[0].finish_stroke(stroke);
    let SaveState::Local { pending } = world.clients[0].save_state() else {
        panic!("nothing was sent");
    };
    assert!(pending < 12, "{pending} ops");
    world.connect(0);
    world.settle();
    assert_eq!(
        world.clients[1].board().get(stroke).map(|s| s.point_count),
        Some(2001)
    );
    assert_converged(&world);
}

#[test]
fn cursors_views_and_pings_keep_their_pace() {
    let mut world = World::new(1);
    let views = world.room.views;
    let mut now = world.now_ms;
    let cursor = |x: i32| CursorState {
        at: BoardPoint::new(x, 0),
        tool: CursorTool::Pen,
        pressed: false,
    };
    for n in 0..100 {
        now += 1.0;
        world.clients[0].set_cursor(now, cursor(n));
        world.clients[0].set_view(px(n, 0, 1000 + n, 700));
        world.clients[0].tick(now);
        world.upload(0);
    }
    assert!(
        (6..=8).contains(&world.room.cursors.len()),
        "{:?}",
        world.room.cursors
    );
    assert!(world.room.views - views <= 3, "{}", world.room.views);
    for _ in 0..1000 {
        now += 10.0;
        world.clients[0].set_cursor(now, cursor(99));
        world.clients[0].tick(now);
        world.upload(0);
        world.download(0, usize::MAX);
    }
    // The last position once more, and then silence.
    assert!(
        (8..=9).contains(&world.room.cursors.len()),
        "{:?}",
        world.room.cursors
    );
    assert!(world.room.cursors.is_sorted());
    assert_eq!(world.room.pings, 2);
    assert!(world.clients[0].round_trip_ms().is_some());
}

/// Cursors that a client sends of one that moves each millisecond for so long.
fn cursors_sent(world: &mut World, now: &mut f64, ms: u32) -> usize {
    let before = world.room.cursors.len();
    for _ in 0..ms {
        *now += 1.0;
        let cursor = CursorState {
            at: BoardPoint::new(*now as i32, 0),
            tool: CursorTool::Pen,
            pressed: false,
        };
        world.clients[0].set_cursor(*now, cursor);
        world.clients[0].tick(*now);
        world.upload(0);
    }
    world.room.cursors.len() - before
}

#[test]
fn cursors_are_sent_as_often_as_the_room_tells_them() {
    let mut world = World::new(1);
    let mut now = world.now_ms;
    let told = |world: &mut World, now: f64, tick_us, presence| {
        let frame = ServerMessage::Pace(Pace { tick_us, presence }).encode();
        world.clients[0].receive(now, frame).expect("a pace");
    };
    for (tick_us, presence, most) in [
        (12_500, PresenceStage::Full, 63),
        (50_000, PresenceStage::Full, 21),
        (100_000, PresenceStage::Full, 11),
        (100_000, PresenceStage::Slow, 5),
        (100_000, PresenceStage::Crowd, 3),
        (100_000, PresenceStage::Sparse, 2),
    ] {
        told(&mut world, now, tick_us, presence);
        let sent = cursors_sent(&mut world, &mut now, 1000);
        assert!((most - 1..=most).contains(&sent), "{presence:?}: {sent}");
    }
    // A faster pace holds at once, also for what waits.
    told(&mut world, now, 16_667, PresenceStage::Sparse);
    while cursors_sent(&mut world, &mut now, 1) == 0 {}
    assert_eq!(cursors_sent(&mut world, &mut now, 100), 0);
    told(&mut world, now, 16_667, PresenceStage::Full);
    assert_eq!(cursors_sent(&mut world, &mut now, 10), 1);
    // The last place is sent in the end, and once more, at this pace as well.
    told(&mut world, now, 16_667, PresenceStage::Sparse);
    let before = world.room.cursors.len();
    let mut times = Vec::new();
    for _ in 0..100 {
        now += 50.0;
        world.clients[0].tick(now);
        let count = world.room.cursors.len();
        world.upload(0);
        if world.room.cursors.len() > count {
            times.push(now);
        }
        world.download(0, usize::MAX);
    }
    assert_eq!(world.room.cursors.len() - before, 2);
    assert!(times[1] - times[0] >= 998.0, "{times:?}");
}

#[test]
fn what_is_drawn_and_pointed_at_goes_out_on_the_beat() {
    const TICK_MS: f64 = 25.0;
    let mut world = World::new(2);
    let mut now = world.now_ms;
    let told = |world: &mut World, now: f64, message: ServerMessage| {
        world.clients[0]
            .receive(now, message.encode())
            .expect("told");
    };
    let pace = Pace {
        tick_us: (TICK_MS * 1000.0) as u32,
        presence: PresenceStage::Full,
    };
    told(&mut world, now, ServerMessage::Pace(pace));
    let stroke = world.clients[0].begin_stroke(STYLE, &line(10, 10, 2));
    // When it sends, of a pen and a cursor that move each millisecond and a timer that is up to 2 ms late.
    let go_on = |world: &mut World, now: &mut f64, ms: u32| {
        let mut sent = (Vec::new(), Vec::new());
        for n in 0..ms {
            *now += 1.0;
            let client = &mut world.clients[0];
            client.extend_stroke(stroke, &line(10 + n as i32, 11, 1));
            let at = BoardPoint::new(*now as i32, 0);
            client.set_cursor(
                *now,
                CursorState {
                    at,
                    tool: CursorTool::Pen,
                    pressed: true,
                },
            );
            let due = client.poll_timeout().expect("something is to be sent");
            if *now < due.ceil() + f64::from(n % 3) {
                continue;
            }
            client.tick(*now);
            while let Some(transmit) = client.poll_transmit() {
                match ClientMessage::decode(transmit.frame) {
                    Ok(ClientMessage::Ops { .. }) => sent.0.push(*now),
                    Ok(ClientMessage::Cursor { .. }) => sent.1.push(*now),
                    other => panic!("{other:?}"),
                }
            }
        }
        sent
    };
    let (ops, _) = go_on(&mut world, &mut now, 100);
    assert!(ops.len() > 30, "as they come: {ops:?}");
    // The first word counts from when something was sent last, the second from the beat.
    let last = *ops.last().expect("sent");
    told(&mut world, now, ServerMessage::Beat(7000));
    told(&mut world, now, ServerMessage::Beat(-3000));
    let (ops, cursors) = go_on(&mut world, &mut now, 500);
    for sent in [&ops, &cursors] {
        assert!((19..=21).contains(&sent.len()), "{sent:?}");
        for at in &sent[1..] {
            let behind = (at - last - 4.0).rem_euclid(TICK_MS);
            assert!(behind <= 3.0, "{behind} {sent:?}");
        }
    }
    // Ticks of another length have another beat.
    told(&mut world, now, ServerMessage::Pace(pace));
    let (ops, _) = go_on(&mut world, &mut now, 100);
    assert!(ops.len() > 30, "{ops:?}");
}

#[test]
fn a_link_that_went_silent_is_reported() {
    let mut world = World::new(1);
    let start = world.now_ms;
    events(&mut world.clients[0]);
    let mut dead_ms = None;
    for n in 0..200 {
        let now = start + f64::from(n) * 100.0;
        world.clients[0].tick(now);
        while world.clients[0].poll_transmit().is_some() {}
        if events(&mut world.clients[0]).contains(&Event::LinkDead) {
            dead_ms.get_or_insert(now - start);
        }
    }
    let dead_ms = dead_ms.expect("noticed");
    assert!((14_000.0..=15_100.0).contains(&dead_ms), "{dead_ms}");
}

#[test]
fn bytes_that_no_server_sends_are_an_error() {
    let frames = [
        ServerMessage::Ack {
            through: 5000,
            position: Position(1),
            rejected: vec![],
        }
        .encode(),
        Bytes::from_static(&[]),
        Bytes::from_static(&[200, 1, 2]),
        Bytes::from_static(&[18, 1, 2, 3]),
    ];
    for frame in frames {
        let mut world = World::new(1);
        assert!(world.clients[0].receive(0.0, frame).is_err());
    }
    let mut fresh = Client::new(options(1, Secret([1; 16])));
    fresh.connected(0.0);
    fresh.poll_transmit();
    let early = ServerMessage::Covered.encode();
    assert!(fresh.receive(0.0, early).is_err());
}

#[test]
fn a_bye_ends_the_conversation() {
    let mut world = World::new(1);
    events(&mut world.clients[0]);
    let bye = ServerMessage::Bye(DisconnectReason::TooSlow).encode();
    world.clients[0].receive(0.0, bye).expect("a bye");
    assert_eq!(
        events(&mut world.clients[0]),
        [Event::Closed(DisconnectReason::TooSlow)]
    );
    draw(&mut world.clients[0], 1, 1);
    assert_eq!(world.clients[0].poll_transmit(), None);
    assert_eq!(world.clients[0].poll_timeout(), None);
}

#[test]
fn events_do_not_pile_up() {
    let mut client = Client::new(options(1, Secret([1; 16])));
    for n in 0..1000 {
        client.rename(format!("name {n}"), 0);
    }
    assert_eq!(events(&mut client), [Event::People]);
    assert_eq!(client.people()[0].name, "name 999");
}

#[test]
fn ink_drawn_ahead_of_its_coverage_does_not_flicker() {
    for is_sent in [true, false] {
        let mut world = World::new(1);
        let client = &mut world.clients[0];
        let far = px(20_000, 0, 21_000, 700);
        client.set_view(far);
        let stroke = draw(client, 20_100, 100);
        while client.poll_transmit().is_some() {}
        let ack = ServerMessage::Ack {
            through: 2,
            position: Position(2),
            rejected: vec![],
        };
        // The room applied it before it followed the view, and the chunks of the view take their time.
        let coverage = Coverage::of_view(far, None);
        for message in [ack, ServerMessage::Coverage(coverage)] {
            client.receive(1.0, message.encode()).expect("in order");
            assert_eq!(client.board().get(stroke).map(|s| s.point_count), Some(7));
        }
        if is_sent {
            let mut whole = Stroke::new(stroke, Position(1), STYLE);
            whole.push(&line(20_100, 100, 7));
            whole.finish();
            let chunk = ServerMessage::Chunk(vec![whole]);
            client.receive(1.0, chunk.encode()).expect("a chunk");
            assert_eq!(client.board().get(stroke).map(|s| s.point_count), Some(7));
        }
        let covered = ServerMessage::Covered.encode();
        client.receive(1.0, covered).expect("in order");
        // What has not come by now is not there.
        assert_eq!(client.board().get(stroke).is_some(), is_sent);
        assert_eq!(client.board().confirmed_len(), usize::from(is_sent));
    }
}

/// What happens next in a random run.
#[derive(Debug, Clone)]
enum Act {
    Begin(usize, i32),
    Extend(usize, usize, u8),
    Finish(usize, usize),
    Erase(usize, usize),
    Undo(usize),
    Redo(usize),
    Upload(usize),
    Download(usize, usize),
    Step(usize),
    Sync,
    Cut(usize),
    Connect(usize),
    Crash,
    Refuse,
    View(usize, i32),
}

fn any_act() -> impl Strategy<Value = Act> {
    let who = 0usize..2;
    let which = 0usize..6;
    prop_oneof![
        4 => (who.clone(), 0..60i32).prop_map(|(a, x)| Act::Begin(a, x)),
        6 => (who.clone(), which.clone(), 1u8..40).prop_map(|(a, s, n)| Act::Extend(a, s, n)),
        3 => (who.clone(), which.clone()).prop_map(|(a, s)| Act::Finish(a, s)),
        3 => (who.clone(), which).prop_map(|(a, s)| Act::Erase(a, s)),
        3 => who.clone().prop_map(Act::Undo),
        2 => who.clone().prop_map(Act::Redo),
        8 => who.clone().prop_map(Act::Upload),
        8 => (who.clone(), 1usize..6).prop_map(|(a, n)| Act::Download(a, n)),
        8 => (1usize..6).prop_map(Act::Step),
        2 => Just(Act::Sync),
        1 => who.clone().prop_map(Act::Cut),
        2 => who.clone().prop_map(Act::Connect),
        1 => Just(Act::Crash),
        1 => Just(Act::Refuse),
        2 => (who, 0..4i32).prop_map(|(a, v)| Act::View(a, v)),
    ]
}

fn view(n: i32) -> BoardRect {
    px(n * 3000, 0, n * 3000 + 1000, 700)
}

fn act(world: &mut World, begun: &mut [Vec<StrokeId>], act: &Act) {
    let pick = |begun: &[Vec<StrokeId>], a: usize, s: usize| {
        let len = begun[a].len();
        (len > 0).then(|| begun[a][s % len])
    };
    world.now_ms += 5.0;
    match *act {
        Act::Begin(a, x) => {
            let stroke = world.clients[a].begin_stroke(STYLE, &line(x * 200, 5, 2));
            begun[a].push(stroke);
        }
        Act::Extend(a, s, n) => {
            if let Some(stroke) = pick(begun, a, s) {
                world.clients[a].extend_stroke(stroke, &line(i32::from(n) * 300, 50, n.into()));
            }
        }
        Act::Finish(a, s) => {
            if let Some(stroke) = pick(begun, a, s) {
                world.clients[a].finish_stroke(stroke);
            }
        }
        Act::Erase(a, s) => {
            let seen: Vec<_> = world.clients[a]
                .board()
                .strokes_in(BoardRect::EVERYTHING)
                .iter()
                .map(|stroke: &&Stroke| stroke.id)
                .collect();
            if !seen.is_empty() {
                world.clients[a].erase(&[seen[s % seen.len()]]);
            }
        }
        Act::Undo(a) => drop(world.clients[a].undo()),
        Act::Redo(a) => drop(world.clients[a].redo()),
        Act::Upload(a) => {
            let now_ms = world.now_ms;
            world.clients[a].tick(now_ms);
            world.upload(a);
        }
        Act::Download(a, n) => world.download(a, n),
        Act::Step(n) => world.room.step(n),
        Act::Sync => world.room.sync(),
        Act::Cut(a) => world.cut(a),
        Act::Connect(a) => {
            if !world.is_linked(a) {
                world.connect(a);
            }
        }
        Act::Crash => world.crash(),
        Act::Refuse => world.room.refuse_next = Some(RejectReason::OutOfRange),
        Act::View(a, v) => world.clients[a].set_view(view(v)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn clients_and_room_converge_whatever_happens(acts in proptest::collection::vec(any_act(), 1..120)) {
        let mut world = World::new(2);
        let mut begun = [Vec::new(), Vec::new()];
        for next in &acts {
            act(&mut world, &mut begun, next);
            for client in &mut world.clients {
                client.board_mut().take_changes();
            }
        }
        world.room.refuse_next = None;
        for at in 0..2 {
            if !world.is_linked(at) {
                world.connect(at);
            }
            // Everything that was drawn lies in here.
            world.clients[at].set_view(px(-1000, -1000, 30_000, 1000));
        }
        world.settle();
        world.settle();
        for client in &world.clients {
            prop_assert_eq!(client.save_state(), SaveState::Saved);
        }
        assert_converged(&world);
    }

    #[test]
    fn changes_tell_every_difference(acts in proptest::collection::vec(any_act(), 1..80)) {
        let mut world = World::new(2);
        let mut begun = [Vec::new(), Vec::new()];
        let mut shown = std::collections::BTreeMap::new();
        for next in &acts {
            act(&mut world, &mut begun, next);
            let board = world.clients[0].board_mut();
            for change in board.take_changes() {
                let before = shown.get(&change.id).map_or(BoardRect::EMPTY, Stroke::extent);
                prop_assert_eq!(change.before, before);
                let now = board.get(change.id).cloned();
                prop_assert_eq!(change.after, now.as_ref().map_or(BoardRect::EMPTY, Stroke::extent));
                if change.grown_only {
                    let (old, new) = (&shown[&change.id], now.as_ref().expect("visible"));
                    let (old, new) = (old.points(), new.points());
                    prop_assert_eq!(&new[..old.len()], &old[..]);
                }
                match now {
                    Some(stroke) => drop(shown.insert(change.id, stroke)),
                    None => drop(shown.remove(&change.id)),
                }
            }
            prop_assert_eq!(shown.len(), board.len());
            for stroke in board.strokes_in(BoardRect::EVERYTHING) {
                let same = shown.get(&stroke.id).is_some_and(|s| {
                    s.digest() == stroke.digest()
                });
                prop_assert!(same, "{:?}", stroke.id);
            }
        }
    }
}

#[test]
fn a_new_style_is_everybodys_and_counts_as_saved_when_the_log_is() {
    let mut world = World::new(2);
    let stroke = draw(&mut world.clients[0], 0, 0);
    world.settle();
    let red = StrokeStyle {
        color: 0xff_00_00,
        ..STYLE
    };
    world.clients[1].restyle(
        &[
            stroke,
            StrokeId(OpId {
                counter: 99,
                ..stroke.0
            }),
        ],
        red,
    );
    let color = |client: &Client| client.board().get(stroke).map(|s| s.style.value.color);
    assert_eq!(color(&world.clients[1]), Some(red.color), "at once");
    assert_eq!(world.clients[1].saved_through(), 0);
    world.settle();
    assert_eq!(color(&world.clients[0]), Some(red.color));
    assert_eq!(world.clients[1].saved_through(), 1);
    assert_converged(&world);
}

#[test]
fn who_goes_on_is_told_how_safe_everything_is_even_if_all_is() {
    let mut world = World::new(1);
    let saved = Event::Saved(SaveState::Saved);
    let old = &mut world.clients[0];
    assert!(!events(old).contains(&saved), "nobody has done anything");
    draw(old, 0, 0);
    assert!(!events(old).contains(&saved), "it is only here");
    world.settle();
    let old = &mut world.clients[0];
    assert!(events(old).contains(&saved));
    let head = old.take_journal().expect("never taken").head;
    let mut new = old.successor([9; 16]);
    new.restore(&head, Vec::new()).expect("its own head");
    assert_eq!(events(&mut new), [saved]);
}
