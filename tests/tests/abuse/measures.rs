//! What a hostile session may cost its room a tick or a second, whatever it sends and however it reads.

use bytes::Bytes;
use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::limits::{CHUNK_POINTS_MAX, SESSION_QUEUE_BYTES_MAX};
use chalkboard_shared::op::InkRun;
use chalkboard_shared::wire::ServerMessage;
use chalkboard_shared::{BoardPoint, BoardRect, InkPoint, Op, Rights, SessionId};
use chalkboard_simulation::{Input, Output};
use chalkboard_tests::dice::Dice;
use chalkboard_tests::stage::{Stage, chunk_strokes, join, ops};

use super::scene::STYLE;

/// Steps of a stage that make a second, and somewhat more.
const SECOND_TICKS: u32 = 64;

/// Bytes of a chunk at the most: wild points of 9 bytes each.
const CHUNK_BYTES_MAX: usize = CHUNK_POINTS_MAX * 9;

/// Whoever sees everything that there is, and more.
const HUGE: BoardRect = BoardRect {
    min: BoardPoint::new(i32::MIN, i32::MIN),
    max: BoardPoint::new(i32::MAX, i32::MAX),
};

/// A window of 1600 x 1600 pixels, so many pixels to the right.
fn window(right: i32) -> BoardRect {
    let corner = BoardPoint::new(right * 16, 0);
    BoardRect::from_corners(corner, BoardPoint::new(corner.x + 25_600, 25_600))
}

/// Two heaps of so many wild strokes, 100,000 pixels from each other, drawn by session 1.
fn heaps(strokes: u32) -> Stage {
    let mut stage = Stage::default();
    let mut dice = Dice::new(9);
    stage.step([join(1, Rights::Edit, BoardRect::EMPTY)]);
    for first in (1..=2 * strokes).step_by(100) {
        let begin = |n: u32| {
            let right = (n % 2) as i32 * 1_600_000;
            let points = (0..200).map(|_| {
                let at = dice.point(700);
                InkPoint::new(right + at.x, at.y, dice.below(256) as u8)
            });
            let ink = InkRun::new(points.collect());
            Op::Begin { style: STYLE, ink }
        };
        stage.step([ops(1, first, (first..first + 100).map(begin).collect())]);
    }
    stage.settle();
    stage
}

/// Bytes for a session.
fn bytes_to(output: &Output, session: u32) -> usize {
    let own = output
        .sends
        .iter()
        .filter(|send| send.to.as_slice().contains(&SessionId(session)));
    own.map(|send| send.frame.len()).sum()
}

fn point(session: u32, sequence: u32) -> Input {
    Input::Cursor {
        session: SessionId(session),
        sequence,
        stamp: None,
        cursor: CursorState {
            at: BoardPoint::new((sequence % 900) as i32 * 16, 160),
            tool: CursorTool::Pen,
            pressed: false,
        },
    }
}

fn look(session: u32, view: BoardRect) -> Input {
    Input::View {
        session: SessionId(session),
        view,
    }
}

/// The transport has taken all that a step sent to a session.
fn written(output: &Output, session: u32) -> Input {
    Input::Written {
        session: SessionId(session),
        bytes: bytes_to(output, session) as u32,
    }
}

/// Somebody else comes in, reads all that they are sent, and has their view after few ticks.
fn check_newcomer(stage: &mut Stage, mut each_tick: impl FnMut(u32) -> Vec<Input>) {
    let strokes = stage.room.stroke_count() / 2;
    let mut inputs = vec![join(3, Rights::Edit, window(0))];
    for n in 0..200 {
        inputs.extend(each_tick(n));
        let output = stage.step(inputs);
        let is_covered = output.sends.iter().any(|send| {
            send.to.as_slice() == [SessionId(3)] && send.frame == ServerMessage::Covered.encode()
        });
        if is_covered {
            assert_eq!(chunk_strokes(&stage.take(3)).len(), strokes);
            return;
        }
        inputs = vec![written(&output, 3)];
    }
    panic!("somebody else waits for what they see");
}

#[test]
fn a_huge_view_that_is_not_read_costs_a_queue_and_a_chunk() {
    let mut stage = heaps(2000);
    let first = stage.step([join(2, Rights::View, window(0)), look(2, HUGE)]);
    let later: usize = (0..200).map(|_| bytes_to(&stage.step([]), 2)).sum();
    let sent = bytes_to(&first, 2) + later;
    assert!(
        (SESSION_QUEUE_BYTES_MAX / 4..SESSION_QUEUE_BYTES_MAX / 2 + CHUNK_BYTES_MAX)
            .contains(&sent),
        "{sent} bytes"
    );
    assert!(
        !stage.room.has_work(),
        "a room that waits for a reader rests"
    );
    check_newcomer(&mut stage, |_| vec![look(2, HUGE)]);
}

#[test]
fn a_view_that_jumps_every_tick_is_followed_a_few_times_a_second() {
    let mut stage = heaps(2000);
    stage.step([join(2, Rights::View, HUGE)]);
    stage.settle();
    stage.take(2);
    // Also from zoom to zoom: another level of cursors each time.
    let places = |n: u32| match n % 3 {
        0 => window(0),
        1 => window(100_000),
        _ => HUGE,
    };
    let mut inputs = Vec::new();
    let mut most = 0;
    for n in 0..SECOND_TICKS {
        inputs.push(look(2, places(n)));
        let output = stage.step(inputs);
        most = most.max(bytes_to(&output, 2));
        inputs = vec![written(&output, 2)];
    }
    let areas = |messages: &[ServerMessage]| {
        let areas = messages.iter().filter_map(|message| match message {
            ServerMessage::Coverage(coverage) => Some(*coverage),
            _ => None,
        });
        areas.collect::<Vec<_>>()
    };
    let followed = areas(&stage.take(2)).len();
    assert!(
        (10..=32).contains(&followed),
        "{followed} areas in a second"
    );
    assert!(
        most < SESSION_QUEUE_BYTES_MAX / 2 + CHUNK_BYTES_MAX,
        "{most} bytes in a tick"
    );
    check_newcomer(&mut stage, |n| vec![look(2, places(n))]);
    // Where it comes to rest counts, and soon.
    stage.take(2);
    let last = window(50_000);
    stage.step([look(2, last)]);
    for _ in 0..SECOND_TICKS {
        stage.step([]);
    }
    let seen = areas(&stage.take(2));
    assert!(
        seen.last()
            .is_some_and(|coverage| coverage.rect().contains_rect(last)),
        "{seen:?}"
    );
}

#[test]
fn who_looks_here_and_there_without_end_is_sent_so_much_a_second() {
    let mut stage = heaps(4000);
    stage.step([join(2, Rights::View, window(0))]);
    let mut inputs = Vec::new();
    let mut by_second = Vec::new();
    let mut chunk_bytes = |stage: &mut Stage, second: u32| {
        let mut sent = 0;
        for n in 0..SECOND_TICKS {
            let here = (second * SECOND_TICKS + n) / 4 % 2;
            inputs.push(look(2, window(here as i32 * 100_000)));
            let output = stage.step(std::mem::take(&mut inputs));
            sent += bytes_to(&output, 2);
            inputs.push(written(&output, 2));
        }
        stage.take(2);
        sent
    };
    for second in 0..12 {
        by_second.push(chunk_bytes(&mut stage, second));
    }
    // At first as fast as the connection takes it, as somebody who has just come needs it.
    assert!(by_second[0] > 10_000_000, "{by_second:?}");
    assert!(by_second[11] < 10_000_000, "{by_second:?}");
}

#[test]
fn cursors_asked_for_without_end_are_sent_a_few_times_a_second() {
    let mut stage = Stage::default();
    stage.step([1, 2].map(|n| join(n, Rights::Edit, window(0))));
    stage.step([point(1, 1)]);
    stage.settle();
    let group = stage.take(2).into_iter().find_map(|message| match message {
        ServerMessage::CursorGroup(group) => Some(group.number),
        _ => None,
    });
    let group = group.expect("the cursor is in a group");
    for _ in 0..SECOND_TICKS {
        let asked = [group, group, 0, group.wrapping_add(1)];
        stage.step(asked.map(|group| Input::CursorsWanted {
            session: SessionId(2),
            group,
        }));
    }
    let answers = stage.take(2);
    let groups = answers
        .iter()
        .filter(|message| matches!(message, ServerMessage::CursorGroup(_)))
        .count();
    // A second of the room's clock may begin in between.
    assert!((8..=16).contains(&groups), "{groups} answers");
    assert_eq!(groups, answers.len(), "{answers:?}");
}

#[test]
fn names_asked_for_without_end_are_told_a_few_times_a_second() {
    let mut stage = Stage::default();
    stage.step([1, 2].map(|n| join(n, Rights::Edit, window(0))));
    stage.settle();
    stage.take(2);
    for _ in 0..SECOND_TICKS {
        stage.step((0..4).map(|_| Input::NamesWanted {
            session: SessionId(2),
            of: vec![SessionId(1); 9],
        }));
    }
    let answers = stage.take(2).len();
    assert!((8..=16).contains(&answers), "{answers} answers");
}

#[test]
fn a_cursor_that_moves_at_10_khz_is_told_like_any_other() {
    let frames = |per_tick: u32| {
        let mut stage = Stage::default();
        stage.step([1, 2].map(|n| join(n, Rights::Edit, window(0))));
        let mut frames = 0;
        let mut bytes = 0;
        for n in 0..SECOND_TICKS {
            let last = (n + 1) * 170;
            let cursors = last + 1 - per_tick..=last;
            let output = stage.step(cursors.map(|sequence| point(1, sequence)));
            let to_other = output
                .sends
                .iter()
                .filter(|send| send.to.as_slice().contains(&SessionId(2)));
            let to_other: Vec<Bytes> = to_other.map(|send| send.frame.clone()).collect();
            frames += to_other.len();
            bytes += to_other.iter().map(Bytes::len).sum::<usize>();
        }
        (frames, bytes)
    };
    assert_eq!(frames(170), frames(1));
}
