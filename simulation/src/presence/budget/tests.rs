//! Rooms in virtual time in which thousands move: what one of them is sent of it.

use std::collections::BTreeMap;

use chalkboard_shared::cursor::{CursorState, CursorTool};
use chalkboard_shared::op::InkRun;
use chalkboard_shared::presence::{Pace, PresenceStage};
use chalkboard_shared::stroke::{Nib, StrokeStyle};
use chalkboard_shared::wire::{Profile, ServerMessage, Update};
use chalkboard_shared::{
    ActorId, BoardPoint, BoardRect, InkPoint, Op, OpId, Rights, SessionId, StrokeId,
};

use super::SESSION_BYTES;
use crate::{Input, Join, Now, Output, Room, RoomConfig};

/// Who is watched. They draw, and never point.
const ME: SessionId = SessionId(1);
const TICK_MS: u32 = 50;

/// What the watched session got in a second.
#[derive(Debug, Default)]
struct Second {
    presence_bytes: u32,
    /// Groups by number: frames about what has moved.
    moved: BTreeMap<u16, u32>,
    keyframes: BTreeMap<u16, u32>,
    crowds: u32,
    ops: u32,
}

/// A room in virtual time in which everybody moves.
struct Scene {
    room: Room,
    people: Vec<BoardPoint>,
    /// Of so many ticks everybody moves in one.
    turns: u32,
    tick: u32,
    drawn: u32,
    deferred: u64,
}

fn px(x: i32, y: i32) -> BoardPoint {
    BoardPoint::new(x * 16, y * 16)
}

fn screen() -> BoardRect {
    BoardRect::from_corners(px(0, 0), px(1000, 800))
}

/// So many places in a rectangle of pixels, spread out.
fn spread(count: u32, from: (i32, i32), size: (i32, i32)) -> impl Iterator<Item = BoardPoint> {
    (0..count as i32).map(move |n| px(from.0 + n * 37 % size.0, from.1 + n * 91 % size.1))
}

impl Scene {
    fn of(people: impl IntoIterator<Item = BoardPoint>, stage: PresenceStage, turns: u32) -> Self {
        let people: Vec<_> = people.into_iter().collect();
        let mut room = Room::new(RoomConfig {
            epoch: 1,
            epoch_starts: Vec::new(),
            tick_us: TICK_MS * 1000,
        });
        let joins = (0..=people.len() as u32).map(|n| {
            Input::Join(Box::new(Join {
                session: SessionId(ME.0 + n),
                actor: ActorId(u64::from(ME.0 + n)),
                rights: Rights::Edit,
                profile: Profile::default(),
                view: screen(),
                view_secret: None,
                resume: None,
            }))
        });
        let pace = Pace {
            tick_us: TICK_MS * 1000,
            presence: stage,
        };
        room.step(Now::default(), joins.chain([Input::Pace(pace)]));
        Self {
            room,
            people,
            turns,
            tick: 0,
            drawn: 0,
            deferred: 0,
        }
    }

    fn step(&mut self) -> Output {
        self.tick += 1;
        let (tick, time_ms, turns) = (self.tick, self.tick * TICK_MS, self.turns);
        let people = self.people.iter().zip(0_u32..);
        let moving = people.filter(|(_, n)| tick == 1 || (tick + n).is_multiple_of(turns));
        let mut inputs: Vec<_> = moving
            .map(|(place, n)| {
                let swing = f64::from(time_ms) / 900.0 + f64::from(n);
                let (x, y) = ((swing.sin() * 60.0) as i32, (swing.cos() * 60.0) as i32);
                Input::Cursor {
                    session: SessionId(ME.0 + 1 + n),
                    sequence: tick,
                    stamp: Some(time_ms * 100),
                    cursor: CursorState {
                        at: BoardPoint::new(place.x + x * 16, place.y + y * 16),
                        tool: CursorTool::Pen,
                        pressed: false,
                    },
                }
            })
            .collect();
        inputs.push(self.draw());
        let output = self.room.step(
            Now {
                unix_ms: time_ms.into(),
                uptime_ms: time_ms,
            },
            inputs,
        );
        self.deferred += output.deferred.frames;
        output
    }

    fn draw(&mut self) -> Input {
        self.drawn += 1;
        let at = (self.drawn % 500) as i32;
        let ink = InkRun::new(vec![InkPoint::new(at * 16, at * 8, 100)]);
        let op = if self.drawn == 1 {
            let style = StrokeStyle {
                nib: Nib::Pen,
                color: 0,
                width: 32,
            };
            Op::Begin { style, ink }
        } else {
            let stroke = StrokeId(OpId {
                actor: ActorId(ME.0.into()),
                counter: 1,
            });
            Op::Extend { stroke, ink }
        };
        Input::Ops {
            session: ME,
            first: self.drawn,
            stamp: None,
            ops: vec![op],
        }
    }

    fn second(&mut self) -> Second {
        let mut second = Second::default();
        for _ in 0..1000 / TICK_MS {
            for send in self.step().sends {
                if send.to.as_slice().binary_search(&ME).is_err() {
                    continue;
                }
                let number = u16::from_le_bytes([send.frame[1], send.frame[2]]);
                let bytes = send.frame.len() as u32;
                match ServerMessage::decode(send.frame).expect("the room speaks its own language") {
                    ServerMessage::CursorDelta(_) => *second.moved.entry(number).or_default() += 1,
                    ServerMessage::CursorKeyframe(_) => {
                        *second.keyframes.entry(number).or_default() += 1;
                    }
                    ServerMessage::Crowd(_) => second.crowds += 1,
                    ServerMessage::CursorGroup(_) => {}
                    ServerMessage::Updates { updates, .. } => {
                        let is_op = |update: &&Update| !matches!(update, Update::Stroke(_));
                        second.ops += updates.iter().filter(is_op).count() as u32;
                        continue;
                    }
                    _ => continue,
                }
                second.presence_bytes += bytes;
            }
        }
        second
    }

    fn seconds(&mut self, count: u32) -> Vec<Second> {
        (0..count).map(|_| self.second()).collect()
    }
}

/// What was saved up may be spent in one second, and has come in over the others.
fn assert_within(seconds: &[Second], bytes: u32) {
    for second in seconds {
        assert!(
            second.presence_bytes <= bytes / 4 * 5,
            "{bytes}: {second:?}"
        );
    }
    let all: u32 = seconds.iter().map(|second| second.presence_bytes).sum();
    let budget = bytes * seconds.len() as u32;
    assert!(all <= budget + bytes / 4, "{bytes}: {seconds:?}");
    assert!(all >= budget / 4, "much less than there is: {seconds:?}");
}

#[test]
fn thousands_of_cursors_take_no_more_than_the_budget_of_a_room_in_trouble() {
    let mut scene = Scene::of(spread(3000, (100, 100), (800, 600)), PresenceStage::Slow, 4);
    scene.seconds(6);
    let seconds = scene.seconds(8);
    assert_within(&seconds, SESSION_BYTES);
    let ops: u32 = seconds.iter().map(|second| second.ops).sum();
    assert_eq!(ops, 8 * 1000 / TICK_MS, "ops are never left out");
}

#[test]
fn what_does_not_fit_comes_in_turn() {
    let people = 2500;
    let mut scene = Scene::of(
        spread(people, (100, 100), (800, 600)),
        PresenceStage::Full,
        1,
    );
    scene.seconds(6);
    let before = scene.deferred;
    let seconds = scene.seconds(4);
    assert_within(&seconds, super::ROOM_BYTES / people);
    assert!(scene.deferred > before, "more has moved than fits");
    let groups = people.div_ceil(256) as usize;
    let (mut moved, mut keyframes) = (BTreeMap::new(), BTreeMap::new());
    for second in &seconds {
        for (number, count) in &second.moved {
            *moved.entry(*number).or_insert(0) += count;
        }
        for (number, count) in &second.keyframes {
            *keyframes.entry(*number).or_insert(0) += count;
        }
    }
    assert_eq!((moved.len(), keyframes.len()), (groups, groups));
    let (least, most) = (moved.values().min(), moved.values().max());
    assert!(most <= least.map(|least| least * 2).as_ref(), "{moved:?}");
}

#[test]
fn what_is_around_a_view_becomes_a_crowd_before_what_is_in_it() {
    let around =
        spread(3000, (-1500, 100), (1400, 600)).chain(spread(3000, (100, -1500), (800, 1400)));
    let mut scene = Scene::of(
        around.chain(spread(500, (100, 100), (800, 600))),
        PresenceStage::Slow,
        4,
    );
    scene.seconds(6);
    let seconds = scene.seconds(8);
    assert_within(&seconds, SESSION_BYTES);
    for second in &seconds {
        assert!(
            second.crowds > 0 && second.keyframes.len() == 2,
            "{second:?}"
        );
    }
}

#[test]
fn a_room_at_ease_leaves_nothing_out() {
    let mut scene = Scene::of(spread(1000, (100, 100), (800, 600)), PresenceStage::Full, 1);
    scene.seconds(3);
    assert_eq!(scene.deferred, 0);
    let moved: Vec<_> = scene
        .seconds(2)
        .into_iter()
        .map(|second| second.moved)
        .collect();
    for groups in moved {
        // Those ticks that have no keyframe.
        assert!(groups.values().all(|count| *count >= 12), "{groups:?}");
    }
}
